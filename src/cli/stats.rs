//! `stats`: show what is there.

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
    // clap does not see it where one stands before the command and one after.
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
    // A timer that writes a file has no reader for the rest, unless it is asked for.
    let is_asked_for = context.global.json || args.entries || args.histogram;
    if args.prometheus {
        let exit = report_diagnostics(&root, &report);
        report::print(|out| metrics(&report, out)).map_err(output_error)?;
        Ok(exit)
    } else if args.textfile.is_some() && !is_asked_for {
        Ok(report_diagnostics(&root, &report))
    } else {
        context.finish(&root, &report, Ok(()))
    }
}
