//! `sweep`: evict down to the limits.

use hls_cache::maintain::Options;
use hls_cache::plan::{MIN_AGE, Policy, Sweep};
use hls_cache::units::{Percent, TimeSpan};

use super::{Context, environment, maintain};
use crate::cli::args::SweepArgs;
use crate::cli::exit::{Exit, UsageError};
use crate::cli::library::Librarian;

pub fn run(context: &Context<'_>, args: SweepArgs) -> anyhow::Result<Exit> {
    let keep_recent = match args.keep_recent {
        Some(given) => Some(given),
        // A protection applies always, whatever names the limits.
        None => environment("HLS_CACHE_KEEP_RECENT")?,
    };
    let mut sweep = Sweep::default();
    sweep.low_water = args.low_water.unwrap_or(Percent::ALL);
    sweep.min_budget = args.min_budget.0;
    sweep.keep_recent = keep_recent.map_or_else(Default::default, |TimeSpan(age)| age);
    sweep.min_age = args.min_age.map_or(MIN_AGE, |TimeSpan(age)| age);
    sweep.best_effort = args.best_effort;
    sweep.locks_only = args.maintenance.locks_only;
    let mut notices = Vec::new();
    args.limits.apply(&mut sweep, &mut notices)?;
    if args.low_water.is_some() && sweep.max_size.is_none() {
        return Err(UsageError::new(
            "--low-water is a percentage of --max-size, which is missing; add --max-size SIZE",
        )
        .into());
    }
    let options = Options {
        dry_run: args.maintenance.dry_run,
        wait: args.maintenance.wait.map_or_else(Default::default, |TimeSpan(wait)| wait),
        full_scan: args.full_scan,
        ages_given: keep_recent.is_some() || args.min_age.is_some(),
    };
    let root = context.open_root()?;
    let librarian = Librarian::new(&root, &args.names, [], context.now)?
        .keep(&args.keep_source)?
        .prefer_unnamed(args.prefer_unnamed)?;
    maintain(context, &root, &librarian, &Policy::Sweep(sweep), options, notices)
}
