//! `sweep`: evict down to the limits.

use hls_cache::maintain::Options;
use hls_cache::notice::Notice;
use hls_cache::plan::{MIN_AGE, Policy, Sweep};
use hls_cache::units::{Percent, Size, Span};

use super::{Context, Stop, environment, maintain};
use crate::cli::SweepArgs;
use crate::exit::Exit;

const KEEP_RECENT: &str = "HLS_CACHE_KEEP_RECENT";

pub fn run(context: &Context<'_>, args: SweepArgs) -> Result<Exit, Stop> {
    let mut warnings = Vec::new();
    let args = with_environment(args)?;
    let Size(least) = args.min_budget;
    let max_size = args.max_size.map(|Size(budget)| {
        if budget < least {
            warnings.push(Notice::RaisedBudget { given: budget, raised_to: least });
        }
        budget.max(least)
    });
    let policy = Policy::Sweep(Sweep {
        older_than: args.older_than.map(|Span(age)| age),
        max_entries: args.max_entries,
        max_size,
        low_water: args.low_water.unwrap_or(Percent::ALL),
        min_free: args.min_free,
        min_budget: least,
        keep_recent: args.keep_recent.map_or_else(Default::default, |Span(age)| age),
        min_age: args.min_age.map_or(MIN_AGE, |Span(age)| age),
        best_effort: args.best_effort,
    });
    let options = Options {
        dry_run: args.maintenance.dry_run,
        wait: args.maintenance.wait.map_or_else(Default::default, |Span(wait)| wait),
        ages_given: args.keep_recent.is_some() || args.min_age.is_some(),
    };
    let (root, outcome) = maintain(context, &policy, options, warnings)?;
    context.finish(&root, &outcome)
}

/// Limits of the environment apply only when the command line names none.
fn with_environment(mut args: SweepArgs) -> Result<SweepArgs, Stop> {
    let names_none = |args: &SweepArgs| {
        args.max_size.is_none()
            && args.min_free.is_none()
            && args.older_than.is_none()
            && args.max_entries.is_none()
    };
    if names_none(&args) {
        args.max_size = environment("HLS_CACHE_MAX_SIZE")?;
        args.min_free = environment("HLS_CACHE_MIN_FREE")?;
    }
    // A protection, not a limit: it applies whatever is named.
    args.keep_recent =
        args.keep_recent.map_or_else(|| environment(KEEP_RECENT), |age| Ok(Some(age)))?;
    if names_none(&args) {
        return Err(Stop::Usage(
            "no limit named: give --max-size, --min-free, --older-than or --max-entries".into(),
        ));
    }
    if args.low_water.is_some() && args.max_size.is_none() {
        return Err(Stop::Usage("--low-water is a share of --max-size, which is not given".into()));
    }
    Ok(args)
}
