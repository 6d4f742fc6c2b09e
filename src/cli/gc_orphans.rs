//! `gc-orphans`: remove leftovers of encodes that died.

use hls_cache::maintain::Options;
use hls_cache::plan::{MIN_AGE, Policy};
use hls_cache::units::TimeSpan;

use super::{Context, maintain};
use crate::cli::args::GcOrphansArgs;
use crate::cli::exit::Exit;
use crate::cli::library::Librarian;

pub fn run(context: &Context<'_>, args: &GcOrphansArgs) -> anyhow::Result<Exit> {
    let policy = Policy::Orphans {
        min_age: args.min_age.map_or(MIN_AGE, |TimeSpan(age)| age),
        locks_only: args.maintenance.locks_only,
    };
    let options = Options {
        dry_run: args.maintenance.dry_run,
        wait: args.maintenance.wait.map_or_else(Default::default, |TimeSpan(wait)| wait),
        ages_given: args.min_age.is_some(),
        ..Options::default()
    };
    let root = context.open_root()?;
    let librarian = Librarian::new(&root, &args.names, [], context.now)?;
    maintain(context, &root, &librarian, &policy, options, Vec::new())
}
