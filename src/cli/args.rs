//! The command line: definitions and nothing else. What they mean together is resolved in `commands`.

use std::ffi::OsString;
use std::num::NonZero;
use std::path::PathBuf;
use std::time::SystemTime;

use clap::{ArgAction, ArgGroup, Args, Parser, Subcommand, ValueEnum, ValueHint};
use hls_cache::Key;
use hls_cache::maintain::Subset;
use hls_cache::units::{FreeSpace, InvalidUnit, Percent, Size, TimeSpan};

/// The whole help fits the smallest terminal, 24 lines of 80 columns.
const TEMPLATE: &str = "\
{about}
{usage-heading} {usage}

{all-args}{after-help}";

const AFTER_HELP: &str = "\
First:  hls-cache --root DIR stats                            what is there
Then:   hls-cache --root DIR sweep --max-size 200G --dry-run  what would go
Exit:   0 done, 1 error, 2 wrong usage, 3 done with a finding, 4 busy
Env:    HLS_CACHE_MAX_SIZE, HLS_CACHE_MIN_FREE, HLS_CACHE_KEEP_RECENT (sweep)";

const STATS_EXAMPLES: &str = "\
Examples:
  hls-cache stats --entries --sort size | head      the largest entries
  hls-cache stats --histogram                       where to set --older-than
  hls-cache stats --textfile /var/lib/node_exporter/hls.prom
                                                    from a timer; prints nothing

Sizes are sums of file sizes, as --max-size counts them. Without --max-size the
budget is HLS_CACHE_MAX_SIZE. Hits and misses come from .events.log in the cache.";

const SWEEP_EXAMPLES: &str = "\
Least recently used entries go first. An entry that a process has pinned is never
evicted. Where no limit is named, HLS_CACHE_MAX_SIZE and HLS_CACHE_MIN_FREE are the
limits. HLS_CACHE_KEEP_RECENT applies always, unless --keep-recent is given.

Examples:
  hls-cache sweep --max-size 200G --dry-run            what would go, and why
  hls-cache sweep --max-size 200G --keep-recent 4h -q  from a timer
  hls-cache sweep --min-free 10% --older-than 90d -v   and what stays, and why";

/// Inspect, verify and shrink an HLS segment cache beside the daemon that serves it
#[derive(Debug, Parser)]
#[command(name = "hls-cache", version, after_help = AFTER_HELP, propagate_version = true)]
#[command(arg_required_else_help = true, subcommand_required = true)]
#[command(help_template = TEMPLATE, disable_help_flag = true, disable_version_flag = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Under a heading of their own, with clap's two, so that a command's help begins with its own options.
#[derive(Args, Debug)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        help = "The cache's directory [env: HLS_CACHE_ROOT]"
    )]
    #[arg(value_hint = ValueHint::DirPath)]
    pub root: Option<OsString>,
    /// Print one JSON object (key: one a line)
    #[arg(long, global = true)]
    pub json: bool,
    /// Print nothing but warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Also say of every entry that stays why
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Print help
    #[arg(short, long, global = true, action = ArgAction::Help)]
    help: Option<bool>,
    /// Print version
    #[arg(short = 'V', long, global = true, action = ArgAction::Version)]
    version: Option<bool>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the cache key of sources, one a line
    Key(KeyArgs),
    /// Tell whole entries from damaged ones
    Verify(VerifyArgs),
    /// Evict least recently used entries down to the limits
    Sweep(SweepArgs),
    /// Show what is in the cache
    Stats(StatsArgs),
    /// Remove what dead encodes left behind
    GcOrphans(GcOrphansArgs),
    /// Remove entries whatever their age
    Invalidate(InvalidateArgs),
}

/// Keys come source by source, in each quality by quality, in each audio track by audio track.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("sources").required(true).args(["source", "stdin"]))]
pub struct KeyArgs {
    /// Path of a source; it need not exist, and no symlink in it is resolved
    #[arg(value_hint = ValueHint::FilePath)]
    pub source: Vec<OsString>,
    /// Quality, taken as it is; repeat for several
    #[arg(long, value_name = "Q", required = true, action = ArgAction::Append)]
    pub quality: Vec<OsString>,
    /// Audio track, -1 for the default one; repeat for several
    #[arg(long, value_name = "N", default_value = "0", allow_negative_numbers = true, action = ArgAction::Append)]
    pub audio: Vec<i64>,
    /// Read sources from standard input, one a line
    #[arg(long)]
    pub stdin: bool,
    /// End records with NUL instead of newline, in and out
    #[arg(short = '0', long)]
    pub null: bool,
    /// Print KEY TAB QUALITY TAB AUDIO TAB SOURCE
    #[arg(long)]
    pub long: bool,
    /// Print the path of the entry instead of its key
    #[arg(long, conflicts_with = "long")]
    pub dir: bool,
}

#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// Keys of the entries to verify; all sealed ones without
    pub key: Vec<Key>,
    /// How many segments the one KEY must have
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), requires = "key")]
    pub segments: Option<u64>,
    /// Also read box headers, the timeline and subtitles; never the media data
    #[arg(long)]
    pub deep: bool,
    /// Verify only part I of N; with today/N another part every day
    #[arg(long, value_name = "I/N", conflicts_with = "key")]
    pub subset: Option<Part>,
    /// Remove what is damaged and not in use
    #[arg(long)]
    pub fix: bool,
    /// With --fix, protect by locks alone, not by open files and recent reads
    #[arg(long, requires = "fix")]
    pub locks_only: bool,
}

/// `I/N`, or `today/N` for a timer: another part every day.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    Fixed(Subset),
    Today { of: NonZero<u64> },
}

impl std::str::FromStr for Part {
    type Err = <Subset as std::str::FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("today/").and_then(|of| of.parse().ok()) {
            Some(of) => Ok(Self::Today { of }),
            None => text.parse().map(Self::Fixed),
        }
    }
}

impl Part {
    /// The part at `now`. Days are UTC's, since 1970.
    pub fn at(self, now: SystemTime) -> Subset {
        match self {
            Self::Fixed(subset) => subset,
            Self::Today { of } => {
                let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                Subset::of_turn(since_1970.as_secs() / (24 * 60 * 60), of)
            }
        }
    }
}

#[derive(Args, Debug)]
#[command(after_help = SWEEP_EXAMPLES, next_help_heading = "Options")]
pub struct SweepArgs {
    /// Evict until all entries are at most this large together (500M, 2TB)
    #[arg(long, value_name = "SIZE", help_heading = "Limits (at least one)")]
    pub max_size: Option<Budget>,
    /// Evict until this much of the disk is free (50G, 10%)
    #[arg(long, value_name = "SIZE|N%", help_heading = "Limits (at least one)")]
    pub min_free: Option<FreeSpace>,
    /// Evict what was not used for this long (90s, 10m, 24h, 7d)
    #[arg(long, value_name = "DUR", help_heading = "Limits (at least one)")]
    pub older_than: Option<TimeSpan>,
    /// Evict until there are at most this many entries
    #[arg(long, value_name = "N", help_heading = "Limits (at least one)")]
    pub max_entries: Option<u64>,
    /// Once over --max-size, evict down to this share of it, 1 to 100
    #[arg(long, value_name = "PCT")]
    pub low_water: Option<Percent>,
    /// Keep what was used more recently than this
    #[arg(long, value_name = "DUR")]
    pub keep_recent: Option<TimeSpan>,
    /// Evict what can go even if what is in use exceeds --max-size alone
    #[arg(long)]
    pub best_effort: bool,
    /// Safety floor for --max-size, against typos; --min-free leaves this much
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    pub min_budget: Size,
    /// Take partial entries written more recently than this for being written [default: 10m]
    #[arg(long, value_name = "DUR")]
    pub min_age: Option<TimeSpan>,
    #[command(flatten)]
    pub maintenance: MaintenanceArgs,
}

/// The size of `sweep --max-size`, and the number where no unit was written: a slip, if it is small.
#[derive(Clone, Debug)]
pub struct Budget {
    pub size: Size,
    pub bare: Option<String>,
}

impl std::str::FromStr for Budget {
    type Err = InvalidUnit;

    fn from_str(text: &str) -> Result<Self, InvalidUnit> {
        let size = text.parse()?;
        let is_bare = text.ends_with(|last: char| last.is_ascii_digit());
        Ok(Self { size, bare: is_bare.then(|| text.to_owned()) })
    }
}

#[derive(Args, Debug)]
pub struct MaintenanceArgs {
    /// Protect by locks and writes alone, not by open files and recent reads
    #[arg(long)]
    pub locks_only: bool,
    /// Say what would be done and do nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Wait this long for another maintainer instead of giving up at once
    #[arg(long, value_name = "DUR")]
    pub wait: Option<TimeSpan>,
}

#[derive(Args, Debug)]
#[command(after_help = STATS_EXAMPLES)]
pub struct StatsArgs {
    /// List the entries, and what keeps each
    #[arg(long)]
    pub entries: bool,
    /// Order of the list: longest unused first, largest first, or by key
    #[arg(long, value_enum, default_value = "used", requires = "entries")]
    pub sort: Sort,
    #[arg(long, value_name = "SIZE", help = "Compare with this budget [env: HLS_CACHE_MAX_SIZE]")]
    pub max_size: Option<Size>,
    /// Draw size by time since the last use, and entries by size
    #[arg(long)]
    pub histogram: bool,
    /// Print metrics for Prometheus instead
    #[arg(long, conflicts_with_all = ["json", "entries", "histogram"])]
    pub prometheus: bool,
    /// Replace FILE by metrics for a textfile collector; prints nothing unless asked
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub textfile: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    Used,
    Size,
    Key,
}

#[derive(Args, Debug)]
pub struct GcOrphansArgs {
    /// Take partial entries for abandoned when nothing was written for this long [default: 10m]
    #[arg(long, value_name = "DUR")]
    pub min_age: Option<TimeSpan>,
    #[command(flatten)]
    pub maintenance: MaintenanceArgs,
}

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("which").required(true).args(["key", "stdin", "all"]))]
pub struct InvalidateArgs {
    /// Keys of the entries to remove
    pub key: Vec<Key>,
    /// Read keys from standard input, one a line
    #[arg(long)]
    pub stdin: bool,
    /// Remove every entry that is not being written
    #[arg(long)]
    pub all: bool,
    /// Remove even what is in use (with --all, not what is being written)
    #[arg(long)]
    pub force: bool,
    /// Say what would be done and do nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_round_of_days_takes_every_part_once_and_begins_anew() {
        let part = |text: &str, now| text.parse::<Part>().unwrap().at(now);
        let on = |day: u64| {
            let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(day * 86400 + 43200);
            part("today/30", noon)
        };
        let expected = |part| Subset::new(part, 30).unwrap();
        let round = || (1..=30).map(expected);
        assert_eq!((0..60).map(on).collect::<Vec<_>>(), round().chain(round()).collect::<Vec<_>>());
        let before_1970 = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(part("today/30", before_1970), expected(1));
        assert_eq!(part("7/30", before_1970), expected(7));
    }
}
