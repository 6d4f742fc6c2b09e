//! `stats`: show what the cache holds.

use std::io::Write;
use std::time::SystemTime;

use hls_cache::cache::events::Event;
use hls_cache::history::{Calendar, Evictions, EvictionsLog, History, Recorder};
use hls_cache::plan::Limit;
use hls_cache::stats::Stats;
use hls_cache::units::Size;
use hls_cache::{Error, Operation};

use super::{Context, environment, output_error, report_diagnostics};
use crate::cli::args::StatsArgs;
use crate::cli::exit::{Exit, UsageError};
use crate::cli::report::histogram::Histogram;
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
    let root = context.open_root()?;
    let mut log = Log::new(args, context.now);
    let stats = Stats::gather_with(&root, context.now, &context.progress(), &mut |event| {
        log.record(event);
    })?;
    let given = limit.map(|Size(bytes)| bytes);
    let limit = given.or_else(|| stats.events.last_sweep?.limits.get(Limit::MaxSize));
    let (history, evictions) = log.finish(&stats, limit);
    let mut report = StatsReport {
        limit,
        list: args.entries,
        histogram: args.histogram.then(|| Histogram::of(&stats.entries, context.now)),
        stats,
        now: context.now,
        history,
        is_limit_of_last_sweep: given.is_none() && limit.is_some(),
    };
    report.sort(args.sort);
    let metrics = |report: &StatsReport, out: &mut dyn Write| {
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
    // With --textfile, usually a timer's, print a report only if another option requests one.
    let is_requested = context.global.json || args.entries || args.histogram || args.history;
    if args.prometheus {
        let exit = report_diagnostics(&root, &report);
        report::print(|out| metrics(&report, out)).map_err(output_error)?;
        Ok(exit)
    } else if args.textfile.is_some() && !is_requested {
        Ok(report_diagnostics(&root, &report))
    } else {
        context.finish(&root, &report, Ok(()))
    }
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
