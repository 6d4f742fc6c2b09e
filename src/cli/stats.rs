//! `stats`: show what the cache holds.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::time::{Duration, SystemTime};

use hls_cache::cache::events::{Event, Summary};
use hls_cache::cache::{self, CacheView, Memory};
use hls_cache::history::{Calendar, Evictions, EvictionsLog, History, Recorder};
use hls_cache::plan::{self, Limit, Policy, Sweep};
use hls_cache::stats::Stats;
use hls_cache::units::{FreeSpace, Size, TimeSpan};
use hls_cache::{Error, Escaped, Key, Operation, Root};

use super::{Context, environment, output_error, report_diagnostics};
use crate::cli::args::StatsArgs;
use crate::cli::exit::{Exit, UsageError};
use crate::cli::library::Librarian;
use crate::cli::report::about::{About, Standings};
use crate::cli::report::check::Check;
use crate::cli::report::histogram::Histogram;
use crate::cli::report::next::{Next, Situation};
use crate::cli::report::stats::StatsReport;
use crate::cli::report::{self, prometheus};

pub fn run(context: &Context<'_>, args: &StatsArgs) -> anyhow::Result<Exit> {
    // clap misses the conflict if one stands before the command and one after it.
    if args.prometheus && context.global.json {
        return Err(
            UsageError::new("--prometheus and --json cannot be used together; drop one").into()
        );
    }
    let limit = match args.max_size {
        Some(limit) => Some(limit),
        None => environment("HLS_CACHE_MAX_SIZE")?,
    };
    if args.check && limit.is_none() && args.min_free.is_none() {
        let min_free: Option<FreeSpace> = environment("HLS_CACHE_MIN_FREE")?;
        if min_free.is_none() {
            let message = "--check needs a limit; add --max-size SIZE or --min-free SIZE";
            return Err(UsageError::new(message).into());
        }
    }
    let root = context.open_root()?;
    let mut asked = Asked::new(context, &root, args)?;
    let mut log = Log::new(args, context.now);
    let memory = if args.full_scan { Memory::default() } else { Memory::read(&root) };
    let memory = memory.without(&asked.keys);
    let progress = context.progress();
    let stats = Stats::gather_with(&root, &memory, context.now, &progress, &mut |event| {
        log.record(event);
        asked.record(event);
    })?;
    let given = limit.map(|Size(bytes)| bytes);
    let limit = given.or_else(|| stats.events.last_sweep?.limits.get(Limit::MaxSize));
    let (history, evictions) = log.finish(&stats, limit);
    let is_listed = args.entries || args.unnamed || args.sort.is_some();
    let Asked { librarian, keys, there, events, warnings } = asked;
    let sweep = next_sweep(args, &stats, given)?;
    let check = args.check.then(|| Check::of(&stats, &sweep, context.now));
    // With --textfile, usually a timer's, print a report only if another option requests one.
    let is_requested = context.global.json || is_listed || args.histogram || args.history;
    let is_printed = !args.prometheus && (args.textfile.is_none() || is_requested);
    let is_about_some = !keys.is_empty() || !args.source.is_empty();
    // Only the summary advises, and a timer writes metrics every few minutes.
    let shows_summary =
        is_printed && !(context.global.json || context.global.quiet || is_about_some || args.check);
    let next = shows_summary.then(|| next(context, &root, &stats, &sweep));
    let standings = is_about_some.then(|| standings(context, &stats, &there, &keys, events, sweep));
    let shows_names =
        if context.global.json { is_listed || standings.is_some() } else { !context.global.quiet };
    if is_printed && shows_names {
        // Before the warnings, which say what of the library could not be read.
        librarian.names();
    }
    let mut report = StatsReport {
        librarian: &librarian,
        only_unnamed: args.unnamed,
        standings,
        next,
        check,
        warnings,
        limit,
        list: is_listed,
        histogram: args.histogram.then(|| Histogram::of(&stats.entries, context.now)),
        stats,
        now: context.now,
        history,
        is_limit_of_last_sweep: given.is_none() && limit.is_some(),
    };
    report.sort(args.sort.unwrap_or_default());
    let metrics = |report: &StatsReport<'_>, out: &mut dyn Write| {
        let (root, stats) = (root.path(), &report.stats);
        prometheus::write(out, root, stats, report.limit, context.now, &evictions)
    };
    if let Some(file) = &args.textfile {
        let mut text = Vec::new();
        let written = metrics(&report, &mut text)
            .map_err(|reason| Error::new(Operation::WriteMetrics, file, reason))
            .and_then(|()| prometheus::replace(file, &text));
        report.stats.errors.extend(written.err());
    }
    if args.prometheus {
        let exit = report_diagnostics(&root, &report);
        report::print(|out| metrics(&report, out)).map_err(output_error)?;
        Ok(exit)
    } else if !is_printed {
        Ok(report_diagnostics(&root, &report))
    } else {
        context.finish(&root, &report, Ok(()))
    }
}

/// The entries that the user asks about by name, and what the log says about them.
struct Asked {
    librarian: Librarian,
    /// In the order in which they were named.
    keys: Vec<Key>,
    /// The entries that are there, readable or not, if any is asked about.
    there: HashSet<Key>,
    events: HashMap<Key, Vec<Event>>,
    warnings: Vec<String>,
}

impl Asked {
    fn new(context: &Context<'_>, root: &Root, args: &StatsArgs) -> anyhow::Result<Self> {
        let mut keys = args.key.clone();
        let mut there = HashSet::new();
        if !keys.is_empty() || !args.source.is_empty() {
            there.extend(cache::entry_keys(root)?);
        }
        let mut known = keys.clone();
        if !args.source.is_empty() {
            known.extend(&there);
            // A source's entries may be gone, and then only the log has their keys.
            Summary::read_with(root, context.now, &mut |event| known.push(event.key))?;
        }
        let mut librarian = Librarian::new(root, &args.names, known, context.now)?;
        if args.unnamed && !librarian.has_library() {
            return Err(
                UsageError::new("--unnamed needs a media library; add --library DIR").into()
            );
        }
        let mut warnings = Vec::new();
        for source in &args.source {
            let of_source = librarian.find(source)?;
            if of_source.is_empty() {
                let source = Escaped::new(source);
                warnings.push(format!(
                    "{source}: no entry and no event of this source at any of --qualities and --tracks"
                ));
            }
            keys.extend(of_source);
        }
        let mut seen = HashSet::new();
        keys.retain(|key| seen.insert(*key));
        let events = keys.iter().map(|&key| (key, Vec::new())).collect();
        Ok(Self { librarian, keys, there, events, warnings })
    }

    fn record(&mut self, event: &Event) {
        if let Some(events) = self.events.get_mut(&event.key) {
            events.push(*event);
        }
    }
}

/// What would help with what `stats` shows.
fn next(context: &Context<'_>, root: &Root, stats: &Stats, sweep: &Sweep) -> Next {
    let elsewhere = stats.entries.is_empty().then(|| cache::entries_near(root, &stats.foreign));
    let elsewhere = elsewhere.flatten();
    Next::of(&Situation {
        stats,
        sweep,
        root: context.root_option(),
        elsewhere: elsewhere.as_ref().map(|path| path.as_os_str()),
        now: context.now,
    })
}

/// The next sweep, as far as it is known: with the limits given here, else those of the environment, else those of the
/// last one.
fn next_sweep(args: &StatsArgs, stats: &Stats, max_size: Option<u64>) -> Result<Sweep, UsageError> {
    let mut sweep = Sweep::default();
    sweep.max_size = max_size;
    sweep.min_free = match args.min_free {
        None if args.max_size.is_none() => environment("HLS_CACHE_MIN_FREE")?,
        given => given,
    };
    let last = stats.events.last_sweep.map(|sweep| sweep.limits).unwrap_or_default();
    let seconds = |limit| last.get(limit).map(Duration::from_secs);
    if !sweep.has_limit() {
        sweep.max_size = last.get(Limit::MaxSize);
        sweep.max_entries = last.get(Limit::MaxEntries);
        sweep.older_than = seconds(Limit::OlderThan);
        sweep.min_free = last.get(Limit::MinFree).map(FreeSpace::Bytes);
    }
    sweep.keep_recent = match environment("HLS_CACHE_KEEP_RECENT")? {
        Some(TimeSpan(recent)) => recent,
        None => seconds(Limit::KeepRecent).unwrap_or_default(),
    };
    Ok(sweep)
}

/// Where the entries `keys` stand in a sweep.
fn standings(
    context: &Context<'_>,
    stats: &Stats,
    there: &HashSet<Key>,
    keys: &[Key],
    mut events: HashMap<Key, Vec<Event>>,
    sweep: Sweep,
) -> Standings {
    let view = CacheView::of(stats.entries.clone());
    let space = stats.space.unwrap_or_default();
    let limits = sweep.limits(space.total);
    let all = plan::standings(&view, &Policy::Sweep(sweep), context.now, space);
    let about = keys.iter().map(|&key| {
        let place = view.entries.binary_search_by_key(&key, |entry| entry.key).ok();
        About {
            key,
            is_absent: place.is_none() && !there.contains(&key),
            entry: place.map(|place| view.entries[place].clone()),
            standing: place.map(|place| all[place]).unwrap_or_default(),
            log: events.remove(&key).unwrap_or_default(),
        }
    });
    let about = about.collect();
    let evictable = all.iter().filter(|standing| standing.protection.is_none()).count() as u64;
    Standings { about, evictable, limits }
}

/// What is kept of the event log while it is read, besides the sums: no more than is asked for.
enum Log {
    Nothing,
    /// The metrics tell of these.
    Evictions(EvictionsLog),
    History(Box<Recorder>),
}

impl Log {
    fn new(args: &StatsArgs, now: SystemTime) -> Self {
        if args.history {
            let zone = jiff::tz::TimeZone::system();
            Self::History(Box::new(Recorder::new(Calendar::ending(now, &zone))))
        } else if args.prometheus || args.textfile.is_some() {
            Self::Evictions(EvictionsLog::default())
        } else {
            Self::Nothing
        }
    }

    fn record(&mut self, event: &Event) {
        match self {
            Self::Nothing => {}
            Self::Evictions(evictions) => evictions.record(event),
            Self::History(recorder) => recorder.record(event),
        }
    }

    /// Without a limit, other sizes are compared with what is there.
    fn finish(self, stats: &Stats, limit: Option<u64>) -> (Option<History>, Evictions) {
        match self {
            Self::Nothing => (None, Evictions::default()),
            Self::Evictions(evictions) => (None, evictions.finish(&stats.entries)),
            Self::History(recorder) => {
                let budget = limit.unwrap_or(stats.totals.bytes);
                let history = recorder.finish(&stats.entries, budget);
                let evictions = history.evictions;
                (Some(history), evictions)
            }
        }
    }
}
