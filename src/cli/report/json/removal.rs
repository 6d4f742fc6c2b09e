//! The JSON of `sweep`, `gc-orphans` and `invalidate`.

use hls_cache::maintain::{Decision, Outcome};
use serde::Serialize;

use super::{Entry, Limits, Totals};
use crate::cli::library::Librarian;
use crate::cli::report::account;
use crate::cli::report::outcome::Removal;

#[derive(Serialize)]
pub struct Removing<'a> {
    dry_run: bool,
    before: Totals,
    after: Totals,
    pinned: Totals,
    open: Totals,
    writing: Totals,
    read: Totals,
    removed: u64,
    freed_bytes: u64,
    failed: u64,
    entries: Vec<Decided<'a>>,
    #[serde(flatten)]
    sweep: Option<Sweep>,
}

#[derive(Serialize)]
struct Decided<'a> {
    #[serde(flatten)]
    entry: Entry<'a>,
    action: &'static str,
    reason: Option<&'static str>,
}

#[derive(Serialize)]
struct Sweep {
    limits: Limits,
    unmet: Vec<&'static str>,
    target_met: bool,
}

/// Whether the entry is listed.
pub fn lists(decision: &Decision, verbose: bool) -> bool {
    verbose || decision.fate.is_turn()
}

impl<'a> Removing<'a> {
    /// `verbose` also lists the entries that the plan kept.
    pub fn new(removal: &'a Removal<'_>, verbose: bool) -> Self {
        let Removal { outcome, librarian } = removal;
        let listed = outcome.decisions.iter().filter(|decision| lists(decision, verbose));
        let decided = |decision| Decided::new(outcome, decision, librarian);
        Self {
            dry_run: outcome.dry_run,
            before: outcome.before.into(),
            after: outcome.after.into(),
            pinned: outcome.pinned.into(),
            open: outcome.open.into(),
            writing: outcome.writing.into(),
            read: outcome.read.into(),
            removed: outcome.removed,
            freed_bytes: outcome.freed_bytes,
            failed: outcome.failed,
            entries: listed.map(decided).collect(),
            sweep: outcome.limits.map(|limits| Sweep {
                limits: Limits(limits),
                unmet: outcome.unmet.iter().map(|unmet| unmet.limit.name()).collect(),
                target_met: outcome.unmet.is_empty(),
            }),
        }
    }
}

impl<'a> Decided<'a> {
    fn new(outcome: &Outcome, decision: &'a Decision, librarian: &'a Librarian) -> Self {
        let Decision { key, entry, fate, .. } = decision;
        // First the use found under the lock, then the use found by the scan.
        let found = entry.as_ref().and_then(|entry| outcome.shield.protection(entry, outcome.now));
        let uses = [fate.protection(), found];
        Self {
            entry: Entry::new(*key, librarian.source(*key), entry.as_ref(), uses, outcome.now),
            action: account::action(outcome, fate),
            reason: account::reason(fate),
        }
    }
}
