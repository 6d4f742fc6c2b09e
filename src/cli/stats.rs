//! `stats`: show what the cache holds.

use std::io::Write;

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
    let stats = Stats::gather(&root, context.now, &context.progress())?;
    let mut report = StatsReport {
        limit: limit.map(|Size(bytes)| bytes),
        list: args.entries,
        histogram: args.histogram.then(|| Histogram::of(&stats.entries, context.now)),
        stats,
        now: context.now,
    };
    report.sort(args.sort);
    let metrics = |report: &StatsReport, out: &mut dyn Write| {
        prometheus::write(out, root.path(), &report.stats, report.limit, context.now)
    };
    if let Some(file) = &args.textfile {
        let mut text = Vec::new();
        let written = metrics(&report, &mut text)
            .map_err(|reason| Error::new(Operation::WriteMetrics, file, reason))
            .and_then(|()| prometheus::replace(file, &text));
        report.stats.errors.extend(written.err());
    }
    // With --textfile, usually a timer's, print a report only if another option requests one.
    let is_requested = context.global.json || args.entries || args.histogram;
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
