//! The command line: definitions and nothing else. The file of each command resolves what options mean together.

use std::ffi::OsString;
use std::num::NonZero;
use std::path::PathBuf;
use std::time::SystemTime;

use clap::{
    ArgAction, ArgGroup, Args, ColorChoice, CommandFactory, Parser, Subcommand, ValueEnum,
    ValueHint,
};
use hls_cache::Key;
use hls_cache::maintain::Subset;
use hls_cache::units::{FreeSpace, Percent, Size, TimeSpan};

use super::library::LibraryArgs;
use super::limits::LimitArgs;

/// Keeps the short help on the smallest terminal, 24 lines of 80 columns.
const TEMPLATE: &str = "\
{about}
{usage-heading} {usage}

{all-args}{after-help}";

/// Columns of the help: two less than the smallest terminal has.
const WIDTH: usize = 78;

const AFTER_HELP: &str = "\
First:  hls-cache --root DIR stats                      look at the cache
Then:   hls-cache --root DIR sweep --max-size 200G -n   preview a sweep
Exit:   0 done, 1 error, 2 wrong usage, 3 done with a finding, 4 busy
Env:    HLS_CACHE_MAX_SIZE, HLS_CACHE_MIN_FREE, HLS_CACHE_KEEP_RECENT (sweep)";

const STATS_EXAMPLES: &str = "\
Examples:
  hls-cache stats --sort size --library /media | head   the largest, by film
  hls-cache stats --history                             find a --max-size
  hls-cache stats --check --max-size 200G               for monitoring
  hls-cache stats --textfile /var/lib/node_exporter/hls.prom  from a timer
All options: hls-cache stats --help";

const SWEEP_EXAMPLES: &str = "\
The least recently used go first, and never an entry in use. Limits may also
come from HLS_CACHE_MAX_SIZE and HLS_CACHE_MIN_FREE.

Examples:
  hls-cache sweep --max-size 200G --dry-run            preview, with reasons
  hls-cache sweep --max-size 200G --keep-recent 4h -q  from a timer
  hls-cache sweep --min-free 10% --older-than 90d -v   list kept entries too
All options: hls-cache sweep --help";

const GC_ORPHANS_EXAMPLES: &str = "\
Examples:
  hls-cache gc-orphans --dry-run        preview
  hls-cache gc-orphans --min-age 12h    from a timer
All options: hls-cache gc-orphans --help";

const VERIFY_EXAMPLES: &str = "\
Examples:
  hls-cache verify                               all of it, by names and sizes
  hls-cache verify --deep 9cd7e7a0505d91ac       one, inside too
  hls-cache verify --deep --subset today/30      a thirtieth, from a daily timer
  hls-cache verify --fix                         and remove what is damaged
All options: hls-cache verify --help";

const INVALIDATE_EXAMPLES: &str = "\
Examples:
  hls-cache invalidate 9cd7e7a0505d91ac               remove one entry
  hls-cache invalidate --source /media/film.mkv -n    all of a film, preview
  hls-cache key --quality 1080p F | hls-cache invalidate --stdin
All options: hls-cache invalidate --help";

const KEY_EXAMPLES: &str = "\
Examples:
  hls-cache key --quality 1080p /media/film.mkv
  find /media -type f -print0 | hls-cache key --quality 1080p --stdin -0
All options: hls-cache key --help";

/// The command line to parse. `-h` shows what is used most, of a command only its own options, and fits a screen;
/// `--help`, if it is `wanted`, shows all, a line an option.
pub fn command(wanted: Help) -> clap::Command {
    let mut command = Cli::command().mut_subcommands(|command| command.help_template(TEMPLATE));
    match wanted {
        Help::Full => {
            let show = |arg: clap::Arg| arg.hide_short_help(false);
            command.mut_args(show).mut_subcommands(|command| command.mut_args(show))
        }
        Help::Short => {
            // Hands the options of every command down, which the help of one leaves out.
            command.build();
            command.mut_subcommands(|command| {
                command.mut_args(|arg| {
                    let is_hidden = arg.is_global_set() || arg.is_hide_short_help_set();
                    arg.hide_short_help(is_hidden)
                })
            })
        }
    }
}

/// How much of the command line the help shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Help {
    Short,
    Full,
}

impl Help {
    /// What these arguments ask for, should they ask for help.
    pub fn wanted(mut args: impl Iterator<Item = OsString>) -> Self {
        if args.any(|arg| arg == "--help" || arg == "help") { Self::Full } else { Self::Short }
    }
}

/// Inspect, verify and shrink an HLS segment cache beside its daemon
#[derive(Debug, Parser)]
#[command(name = "hls-cache", version, after_help = AFTER_HELP, propagate_version = true)]
#[command(arg_required_else_help = true, subcommand_required = true)]
#[command(help_template = TEMPLATE, disable_help_flag = true, disable_version_flag = true)]
#[command(max_term_width = WIDTH)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command. They and clap's two have their own heading, so that a command's help begins
/// with its own options.
#[derive(Args, Debug)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        help = "Use the cache in directory DIR [env: HLS_CACHE_ROOT]"
    )]
    #[arg(value_hint = ValueHint::DirPath)]
    pub root: Option<OsString>,
    /// Print one JSON object (key: one per line)
    #[arg(long, global = true)]
    pub json: bool,
    /// Print only warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Also list entries that are kept, with the reason
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Colour the output: auto, always or never
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true
    )]
    #[arg(hide_default_value = true, hide_short_help = true)]
    pub color: ColorChoice,
    /// Print help
    #[arg(short, long, global = true, action = ArgAction::Help)]
    help: Option<bool>,
    /// Print version
    #[arg(short = 'V', long, global = true, action = ArgAction::Version, hide_short_help = true)]
    version: Option<bool>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the entries, sizes, use and hit rate of the cache
    Stats(StatsArgs),
    /// Evict least recently used entries down to the limits
    Sweep(SweepArgs),
    /// Remove leftovers of encodes that died
    GcOrphans(GcOrphansArgs),
    /// Check entries for missing or damaged segments
    Verify(VerifyArgs),
    /// Remove entries regardless of their age
    Invalidate(InvalidateArgs),
    /// Print the cache keys of sources, one per line
    Key(KeyArgs),
}

/// Keys are printed in the order of the sources, then of the qualities, the audio tracks and the burnt-in
/// subtitles.
#[derive(Args, Debug)]
#[command(after_help = KEY_EXAMPLES)]
#[command(group = ArgGroup::new("sources").required(true).args(["source", "stdin"]))]
pub struct KeyArgs {
    /// Media file, which need not exist; symlinks are not resolved
    #[arg(value_hint = ValueHint::FilePath)]
    pub source: Vec<OsString>,
    /// Take quality Q, verbatim (repeatable)
    #[arg(long, value_name = "Q", required = true, action = ArgAction::Append)]
    pub quality: Vec<OsString>,
    /// Take audio track N; -1 is the default track (repeatable)
    #[arg(long, value_name = "N", default_value = "0", allow_negative_numbers = true, action = ArgAction::Append)]
    pub audio: Vec<i64>,
    /// Compute five-part keys, with encoder settings TEXT
    #[arg(long, value_name = "TEXT")]
    pub encode: Option<OsString>,
    /// Compute five-part keys, with the cache's .encode-stamp
    #[arg(long)]
    #[arg(hide_short_help = true)]
    pub stamp: bool,
    /// Take burnt-in subtitle N; -1 is none (repeatable) [default: -1]
    #[arg(long, value_name = "N", allow_negative_numbers = true, action = ArgAction::Append)]
    pub burn: Vec<i64>,
    /// Take SOURCE as an id, used verbatim, not as a path
    #[arg(long)]
    #[arg(hide_short_help = true)]
    pub id: bool,
    /// Read sources from standard input, one per line
    #[arg(long)]
    pub stdin: bool,
    /// End records with NUL, not newline, in input and output
    #[arg(short = '0', long)]
    pub null: bool,
    /// Print KEY TAB QUALITY TAB AUDIO TAB [BURN TAB] SOURCE
    #[arg(long)]
    pub long: bool,
    /// Print the path of the entry instead of its key
    #[arg(long, conflicts_with = "long")]
    #[arg(hide_short_help = true)]
    pub dir: bool,
}

#[derive(Args, Debug)]
#[command(after_help = VERIFY_EXAMPLES)]
pub struct VerifyArgs {
    /// Entries to verify [default: all sealed]
    pub key: Vec<Key>,
    /// Expect N segments (one KEY only)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), requires = "key")]
    pub segments: Option<u64>,
    /// Also check boxes, timeline and subtitles, not the media data
    #[arg(long)]
    pub deep: bool,
    /// Verify only part I of N; today/N: another part every day
    #[arg(long, value_name = "I/N", conflicts_with = "key")]
    pub subset: Option<Part>,
    /// Remove damaged entries that are not in use
    #[arg(long)]
    pub fix: bool,
    /// With --fix, do not protect by open files or recent reads
    #[arg(long, requires = "fix")]
    #[arg(hide_short_help = true)]
    pub locks_only: bool,
    #[command(flatten)]
    pub names: LibraryArgs,
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
    /// The part to verify at `now`. Days are counted in UTC, since 1970.
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
#[command(override_usage = "hls-cache [--root DIR] sweep LIMIT... [OPTIONS]")]
pub struct SweepArgs {
    #[command(flatten)]
    pub limits: LimitArgs,
    /// When over --max-size, evict down to PCT% of it
    #[arg(long, value_name = "PCT")]
    pub low_water: Option<Percent>,
    /// Keep entries that were used within DUR
    #[arg(long, value_name = "DUR")]
    pub keep_recent: Option<TimeSpan>,
    /// Evict what can go even if entries in use alone exceed --max-size
    #[arg(long)]
    #[arg(hide_short_help = true)]
    pub best_effort: bool,
    /// Set the least --max-size (against typos), and what --min-free leaves
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    #[arg(hide_short_help = true)]
    pub min_budget: Size,
    /// Keep partial entries written to, and any read, within DUR [default: 10m]
    #[arg(long, value_name = "DUR")]
    #[arg(hide_short_help = true)]
    pub min_age: Option<TimeSpan>,
    /// Never evict entries of PATH or of files below it (repeatable)
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    #[arg(hide_short_help = true)]
    pub keep_source: Vec<OsString>,
    /// Evict entries first that no library file names, unused for 7d
    #[arg(long)]
    #[arg(hide_short_help = true)]
    pub prefer_unnamed: bool,
    /// Measure every entry, not only what has changed since a sweep did
    #[arg(long)]
    #[arg(hide_short_help = true)]
    pub full_scan: bool,
    #[command(flatten)]
    pub maintenance: MaintenanceArgs,
    #[command(flatten)]
    pub names: LibraryArgs,
}

#[derive(Args, Debug)]
pub struct MaintenanceArgs {
    /// Do not protect by open files or recent reads
    #[arg(long)]
    #[arg(hide_short_help = true)]
    pub locks_only: bool,
    /// Show what would be removed, and remove nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Wait up to DUR for another maintainer to finish
    #[arg(long, value_name = "DUR")]
    pub wait: Option<TimeSpan>,
}

#[derive(Args, Debug)]
#[command(after_help = STATS_EXAMPLES)]
pub struct StatsArgs {
    /// Show all about these entries instead of the whole cache
    #[arg(conflicts_with_all = ["entries", "unnamed", "sort", "histogram", "history", "prometheus", "textfile"])]
    pub key: Vec<Key>,
    /// Show all about the source PATH
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    #[arg(conflicts_with_all = ["entries", "unnamed", "sort", "histogram", "history", "prometheus", "textfile"])]
    pub source: Vec<OsString>,
    /// List the entries, and say which are in use
    #[arg(long)]
    pub entries: bool,
    /// List only entries without a name in the media library
    #[arg(long)]
    #[arg(hide_short_help = true)]
    pub unnamed: bool,
    /// List the entries by this [default: used]
    #[arg(long, value_enum, hide_possible_values = true, value_name = "used|size|key")]
    pub sort: Option<Sort>,
    #[arg(long, value_name = "SIZE", help = "Compare with SIZE [env: HLS_CACHE_MAX_SIZE]")]
    pub max_size: Option<Size>,
    /// Compare the disk with this limit too
    #[arg(long, value_name = "SIZE|N%")]
    pub min_free: Option<FreeSpace>,
    /// Exit with 3 if these limits are not met
    #[arg(long, conflicts_with_all = ["key", "source", "entries", "unnamed", "sort", "histogram", "history", "prometheus"])]
    pub check: bool,
    /// Draw histograms of last uses and entry sizes
    #[arg(long)]
    pub histogram: bool,
    /// Show days, regret, and what other sizes would do
    #[arg(long)]
    pub history: bool,
    /// Print metrics for Prometheus instead of the report
    #[arg(long, conflicts_with_all = ["json", "entries", "unnamed", "sort", "histogram", "history"])]
    #[arg(hide_short_help = true)]
    pub prometheus: bool,
    /// Write metrics to FILE atomically
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub textfile: Option<PathBuf>,
    /// Measure every entry, not only what has changed since a sweep did
    #[arg(long)]
    #[arg(hide_short_help = true)]
    pub full_scan: bool,
    #[command(flatten)]
    pub names: LibraryArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    #[default]
    Used,
    Size,
    Key,
}

#[derive(Args, Debug)]
#[command(after_help = GC_ORPHANS_EXAMPLES)]
pub struct GcOrphansArgs {
    /// Remove what nobody wrote to for DUR [default: 10m]
    #[arg(long, value_name = "DUR")]
    pub min_age: Option<TimeSpan>,
    #[command(flatten)]
    pub maintenance: MaintenanceArgs,
    #[command(flatten)]
    pub names: LibraryArgs,
}

#[derive(Args, Debug)]
#[command(after_help = INVALIDATE_EXAMPLES)]
#[command(group = ArgGroup::new("which").required(true).multiple(true).args(["key", "stdin", "all", "source"]))]
pub struct InvalidateArgs {
    /// Keys of the entries to remove
    pub key: Vec<Key>,
    /// Remove all of the source PATH, or of files below it (repeatable)
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub source: Vec<OsString>,
    /// Read keys from standard input, one per line
    #[arg(long, conflicts_with_all = ["key", "all"])]
    pub stdin: bool,
    /// Remove all entries that are not in use
    #[arg(long, conflicts_with_all = ["key", "source"])]
    pub all: bool,
    /// Remove pinned entries too (with --all, not those being encoded)
    #[arg(long)]
    pub force: bool,
    /// Show what would be removed, and remove nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub names: LibraryArgs,
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
