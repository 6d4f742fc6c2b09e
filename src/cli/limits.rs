//! The limits that a user can give: the options, what stands for them in the environment, and what they mean
//! to a sweep.

use std::str::FromStr;

use clap::Args;
use hls_cache::maintain::Notice;
use hls_cache::plan::Sweep;
use hls_cache::units::{FreeSpace, InvalidUnit, Size, TimeSpan, human_size};

use super::environment;
use super::exit::UsageError;

/// `next_help_heading` would reach into the options after these.
const HEADING: &str = "Limits (at least one)";

#[derive(Args, Debug)]
pub struct LimitArgs {
    /// Evict until all entries are at most SIZE (500M)
    #[arg(long, value_name = "SIZE", help_heading = HEADING)]
    max_size: Option<Budget>,
    /// Evict until SIZE or N% of the disk is free (10%)
    #[arg(long, value_name = "SIZE|N%", help_heading = HEADING)]
    min_free: Option<FreeSpace>,
    /// Evict what was not used for DUR (10m, 24h, 7d)
    #[arg(long, value_name = "DUR", help_heading = HEADING)]
    older_than: Option<TimeSpan>,
    /// Evict until at most N entries remain
    #[arg(long, value_name = "N", help_heading = HEADING)]
    max_entries: Option<u64>,
}

/// The size given as `--max-size`. `bare` holds the number if it had no unit: a small one is a typo.
#[derive(Clone, Debug)]
struct Budget {
    size: Size,
    bare: Option<String>,
}

impl FromStr for Budget {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, InvalidUnit> {
        let size = text.parse()?;
        let is_bare = text.ends_with(|last: char| last.is_ascii_digit());
        Ok(Self { size, bare: is_bare.then(|| text.to_owned()) })
    }
}

impl LimitArgs {
    fn is_empty(&self) -> bool {
        let Self { max_size, min_free, older_than, max_entries } = self;
        max_size.is_none() && min_free.is_none() && older_than.is_none() && max_entries.is_none()
    }

    /// Adds the limits to `sweep`, whose `min_budget` is set. The environment's apply only if the command line
    /// names none.
    pub fn apply(mut self, sweep: &mut Sweep, notices: &mut Vec<Notice>) -> Result<(), UsageError> {
        const MAX_SIZE: &str = "HLS_CACHE_MAX_SIZE";
        let mut max_size_name = "--max-size";
        if self.is_empty() {
            max_size_name = MAX_SIZE;
            self.max_size = environment(MAX_SIZE)?;
            self.min_free = environment("HLS_CACHE_MIN_FREE")?;
        }
        if self.is_empty() {
            return Err(UsageError::new(
                "no limit named; give --max-size, --min-free, --older-than or --max-entries",
            ));
        }
        sweep.older_than = self.older_than.map(|TimeSpan(age)| age);
        sweep.max_entries = self.max_entries;
        sweep.min_free = self.min_free;
        let at_least = |budget| at_least(sweep.min_budget, budget, max_size_name, notices);
        sweep.max_size = self.max_size.map(at_least).transpose()?;
        Ok(())
    }
}

/// The budget in bytes. One under `least` is refused if it is a bare number, since whoever wrote
/// `--max-size 150` meant 150G and would have the cache emptied; with a unit it is raised.
fn at_least(
    least: u64,
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
