//! The result of a run.

use std::time::SystemTime;

use super::{Notice, Options};
use crate::cache::{Entry, Totals};
use crate::error::Error;
use crate::key::Key;
use crate::plan::{Fate, Limits, Policy, Protection, Shield, Unmet};

/// What became, or in a dry run would become, of one entry.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Decision {
    /// Its name.
    pub key: Key,
    /// What the view knew of it; `None` where it could not be read, or is not there.
    pub entry: Option<Entry>,
    /// What became of it.
    pub fate: Fate,
}

/// What kind of run it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Down to limits.
    #[default]
    Sweep,
    /// What dead encodes left.
    Orphans,
    /// What the user named.
    Invalidate,
}

/// What a run did, or in a dry run would do.
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub struct Outcome {
    /// Ages count from here: the time given by the caller plus the wait for another maintainer.
    pub now: SystemTime,
    /// What it was for.
    pub kind: Kind,
    /// Decides whether an entry counts as in use in the report, even where the user named or forced it.
    pub shield: Shield,
    /// Whether it was a dry run.
    pub dry_run: bool,
    /// The readable entries before.
    pub before: Totals,
    /// Of those before, the ones whose sizes were remembered when the run began.
    pub remembered: u64,
    /// The readable entries after.
    pub after: Totals,
    /// Of those after, the pinned.
    pub pinned: Totals,
    /// Of those after, the ones that other processes have open, and that are not pinned.
    pub open: Totals,
    /// Of those after, the ones being encoded, and neither pinned nor open.
    pub writing: Totals,
    /// Of those after, the ones that were read lately, and none of these.
    pub read: Totals,
    /// How many entries were removed.
    pub removed: u64,
    /// Bytes of the removed entries whose files are deleted.
    pub freed_bytes: u64,
    /// How many removals failed.
    pub failed: u64,
    /// Every entry, in eviction order; those that cannot be judged first.
    pub decisions: Vec<Decision>,
    /// The limits in force, of `sweep`.
    pub limits: Option<Limits>,
    /// The limits that are still exceeded.
    pub unmet: Vec<Unmet>,
    /// Leftovers of dead removers, deleted; of a dry run: to be deleted.
    pub reaped: u64,
    /// What the user should know.
    pub notices: Vec<Notice>,
    /// What could not be read, locked or removed, besides what the decisions say.
    pub errors: Vec<Error>,
    /// Trash that this process may not delete.
    pub denied_trash: Vec<Error>,
}

impl Outcome {
    pub(super) fn new(policy: &Policy, options: Options, now: SystemTime) -> Self {
        let kind = match policy {
            Policy::Sweep(_) => Kind::Sweep,
            Policy::Orphans { .. } => Kind::Orphans,
            Policy::Invalidate { .. } => Kind::Invalidate,
        };
        Self {
            now,
            kind,
            shield: if kind == Kind::Invalidate { Shield::default() } else { policy.shield() },
            dry_run: options.dry_run,
            before: Totals::default(),
            remembered: 0,
            after: Totals::default(),
            pinned: Totals::default(),
            open: Totals::default(),
            writing: Totals::default(),
            read: Totals::default(),
            removed: 0,
            freed_bytes: 0,
            failed: 0,
            decisions: Vec::new(),
            limits: None,
            unmet: Vec::new(),
            reaped: 0,
            notices: Vec::new(),
            errors: Vec::new(),
            denied_trash: Vec::new(),
        }
    }

    /// The entries that the user asked to remove and that were kept because they are in use or have changed.
    /// Empty for other runs, whose unmet limits tell the same.
    pub fn left_in_use(&self) -> impl Iterator<Item = &Decision> {
        let is_invalidation = self.kind == Kind::Invalidate;
        self.decisions.iter().filter(move |decision| {
            let Fate::Kept(protection) = decision.fate else { return false };
            is_invalidation && !matches!(protection, Protection::Mounted | Protection::Error)
        })
    }

    /// Whether something could not be read, locked or removed.
    pub fn has_failed(&self) -> bool {
        let failed = |decision: &Decision| decision.fate.has_failed();
        !self.errors.is_empty()
            || !self.denied_trash.is_empty()
            || self.decisions.iter().any(failed)
    }

    /// Whether a run without failures still has something to say: a limit that is not met, or an entry
    /// that was asked for and is in use.
    pub fn has_finding(&self) -> bool {
        let is_missing = |notice: &Notice| matches!(notice, Notice::NoEntryOf(_));
        !self.unmet.is_empty()
            || self.left_in_use().next().is_some()
            || self.notices.iter().any(is_missing)
    }
}
