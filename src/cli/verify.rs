//! `verify`: check entries for missing or damaged segments.

use hls_cache::maintain::{self, Selection};
use hls_cache::plan::Shield;
use hls_cache::verify::Checks;

use super::Context;
use crate::cli::args::VerifyArgs;
use crate::cli::exit::{Exit, UsageError};
use crate::cli::library::Librarian;
use crate::cli::report::verification::Verified;

pub fn run(context: &Context<'_>, args: VerifyArgs) -> anyhow::Result<Exit> {
    if args.segments.is_some() && args.key.len() != 1 {
        return Err(UsageError::new("--segments is for one entry; name exactly one KEY").into());
    }
    let selection = match args.subset.map(|part| part.at(context.now)) {
        Some(subset) => Selection::Subset(subset),
        None if args.key.is_empty() => Selection::All,
        None => Selection::Keys(args.key),
    };
    let checks = Checks { segments: args.segments, deep: args.deep };
    let root = context.open_root()?;
    let named: &[_] = if let Selection::Keys(keys) = &selection { keys } else { &[] };
    let librarian = Librarian::new(&root, &args.names, named.iter().copied(), context.now)?;
    let live = context.live(&root, &librarian);
    let verification = maintain::verify(
        &root,
        &selection,
        checks,
        args.fix.then(|| Shield { locks_only: args.locks_only, ..Shield::default() }),
        context.now,
        &live,
    )?;
    let report = Verified { verification, librarian: &librarian };
    if context.global.json && report.verification.has_finding() {
        // Before the warnings, which say what of the library could not be read.
        librarian.names();
    }
    context.finish(&root, &report, live.into_result())
}
