//! `sweep`: evict down to the limits.

use hls_cache::maintain::Options;
use hls_cache::plan::{MIN_AGE, Policy, Sweep};
use hls_cache::units::{Percent, Size, Span, human_size};

use super::{Context, Stop, environment, maintain};
use crate::cli::SweepArgs;
use crate::exit::Exit;

const KEEP_RECENT: &str = "HLS_CACHE_KEEP_RECENT";

pub fn run(context: &Context<'_>, args: SweepArgs) -> Result<Exit, Stop> {
    let mut warnings = Vec::new();
    let args = with_environment(args, &mut warnings)?;
    let Size(least) = args.min_budget;
    let max_size = args.max_size.map(|Size(budget)| {
        if budget < least {
            warnings.push(format!(
                "--max-size {} is raised to {}; --min-budget allows less",
                human_size(budget),
                human_size(least)
            ));
        }
        budget.max(least)
    });
    let policy = Policy::Sweep(Sweep {
        older_than: args.older_than.map(|Span(age)| age),
        max_entries: args.max_entries,
        max_size,
        low_water: args.low_water.unwrap_or(Percent::ALL),
        min_free: args.min_free,
        keep_recent: args.keep_recent.map_or_else(Default::default, |Span(age)| age),
        min_age: args.min_age.map_or(MIN_AGE, |Span(age)| age),
        best_effort: args.best_effort,
    });
    let options = Options {
        dry_run: args.maintenance.dry_run,
        wait: args.maintenance.wait.map_or_else(Default::default, |Span(wait)| wait),
        ages_given: args.keep_recent.is_some() || args.min_age.is_some(),
    };
    maintain(context, &policy, options, warnings)
}

/// Limits of the environment apply only when the command line names none.
fn with_environment(mut args: SweepArgs, warnings: &mut Vec<String>) -> Result<SweepArgs, Stop> {
    let names_none = |args: &SweepArgs| {
        args.max_size.is_none()
            && args.min_free.is_none()
            && args.older_than.is_none()
            && args.max_entries.is_none()
    };
    if names_none(&args) {
        args.max_size = environment("HLS_CACHE_MAX_SIZE")?;
        args.min_free = environment("HLS_CACHE_MIN_FREE")?;
        args.keep_recent =
            args.keep_recent.map_or_else(|| environment(KEEP_RECENT), |age| Ok(Some(age)))?;
    } else if args.keep_recent.is_none()
        && std::env::var_os(KEEP_RECENT).is_some_and(|value| !value.is_empty())
    {
        // A protection must not go unnoticed.
        warnings.push(format!("{KEEP_RECENT} does not apply, because the command line names a limit; give --keep-recent"));
    }
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
