//! `stats`: show what is there.

use hls_cache::stats::Stats;
use hls_cache::units::Size;

use super::{Context, Stop, environment};
use crate::cli::StatsArgs;
use crate::exit::Exit;
use crate::report::stats::StatsReport;

pub fn run(context: &Context<'_>, args: &StatsArgs) -> Result<Exit, Stop> {
    let limit = match args.max_size {
        Some(limit) => Some(limit),
        None => environment("HLS_CACHE_MAX_SIZE")?,
    };
    let root = context.open_root()?;
    let stats = Stats::gather(&root, context.now, &context.progress())?;
    let report =
        StatsReport::new(stats, limit.map(|Size(bytes)| bytes), args.entries.then_some(args.sort));
    context.finish(&root, &report)
}
