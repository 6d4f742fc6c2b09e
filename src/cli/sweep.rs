//! `sweep`: evict down to the limits.

use hls_cache::maintain::Notice;
use hls_cache::maintain::Options;
use hls_cache::plan::{MIN_AGE, Policy, Sweep};
use hls_cache::units::{Percent, Size, TimeSpan, human_size};

use super::{Context, environment, maintain};
use crate::cli::args::{Budget, SweepArgs};
use crate::cli::exit::{Exit, UsageError};

pub fn run(context: &Context<'_>, mut args: SweepArgs) -> anyhow::Result<Exit> {
    let max_size_name = add_environment(&mut args)?;
    let mut notices = Vec::new();
    let max_size = args
        .max_size
        .map(|budget| at_least(args.min_budget, budget, max_size_name, &mut notices))
        .transpose()?;
    let policy = Policy::Sweep(Sweep {
        older_than: args.older_than.map(|TimeSpan(age)| age),
        max_entries: args.max_entries,
        max_size,
        low_water: args.low_water.unwrap_or(Percent::ALL),
        min_free: args.min_free,
        min_budget: args.min_budget.0,
        keep_recent: args.keep_recent.map_or_else(Default::default, |TimeSpan(age)| age),
        min_age: args.min_age.map_or(MIN_AGE, |TimeSpan(age)| age),
        best_effort: args.best_effort,
        locks_only: args.maintenance.locks_only,
    });
    let options = Options {
        dry_run: args.maintenance.dry_run,
        wait: args.maintenance.wait.map_or_else(Default::default, |TimeSpan(wait)| wait),
        ages_given: args.keep_recent.is_some() || args.min_age.is_some(),
    };
    maintain(context, &policy, options, notices)
}

/// The environment's limits apply only where the command line names none, its protection always.
/// Returns what named `max_size`.
fn add_environment(args: &mut SweepArgs) -> Result<&'static str, UsageError> {
    const MAX_SIZE: &str = "HLS_CACHE_MAX_SIZE";
    let names_none = |args: &SweepArgs| {
        args.max_size.is_none()
            && args.min_free.is_none()
            && args.older_than.is_none()
            && args.max_entries.is_none()
    };
    let is_environments = names_none(args);
    if is_environments {
        args.max_size = environment(MAX_SIZE)?;
        args.min_free = environment("HLS_CACHE_MIN_FREE")?;
    }
    if names_none(args) {
        return Err(UsageError::new(
            "no limit named; give --max-size, --min-free, --older-than or --max-entries",
        ));
    }
    if args.low_water.is_some() && args.max_size.is_none() {
        return Err(UsageError::new(
            "--low-water is a percentage of --max-size, which is missing; add --max-size SIZE",
        ));
    }
    if args.keep_recent.is_none() {
        args.keep_recent = environment("HLS_CACHE_KEEP_RECENT")?;
    }
    Ok(if is_environments { MAX_SIZE } else { "--max-size" })
}

/// The budget in bytes. One under `least` is refused if it is a bare number, since whoever wrote
/// `--max-size 150` meant 150G and would have the cache emptied; with a unit it is raised.
fn at_least(
    Size(least): Size,
    budget: Budget,
    name: &str,
    notices: &mut Vec<Notice>,
) -> Result<u64, UsageError> {
    let Budget { size: Size(bytes), bare } = budget;
    if bytes >= least {
        return Ok(bytes);
    }
    if let Some(number) = bare {
        let unit = if bytes == 1 { "byte" } else { "bytes" };
        return Err(UsageError::with_remedy(format!(
            "{name} {number} means {bytes} {unit}; write {number}G, or {number}B with --min-budget 0"
        )));
    }
    notices.push(Notice::Caller(format!(
        "{name} {} is under the safety floor and raised to {}; use a smaller --min-budget to allow it",
        human_size(bytes),
        human_size(least)
    )));
    Ok(least)
}
