//! What becomes of an entry, and why: one type from the plan over the removal to the report.

use crate::evict::Denied;
use crate::problem::Problem;

/// Why an entry is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// All entries together are larger than `max_size`.
    OverBudget,
    /// It was unused for `older_than`.
    OlderThan,
    /// There are more entries than `max_entries`.
    MaxEntries,
    /// Less of the disk is free than `min_free`.
    MinFree,
    /// It is abandoned: partial, and nobody uses or writes it.
    Orphan,
    /// The user named it.
    Invalidated,
    /// It is sealed and not whole.
    Damaged,
}

impl Cause {
    const ALL: [Self; 7] = [
        Self::OverBudget,
        Self::OlderThan,
        Self::MaxEntries,
        Self::MinFree,
        Self::Orphan,
        Self::Invalidated,
        Self::Damaged,
    ];

    /// The cause of that stable name.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.code() == code)
    }

    /// The stable name, as in JSON and in the event log.
    pub fn code(self) -> &'static str {
        match self {
            Self::OverBudget => "over-budget",
            Self::OlderThan => "older-than",
            Self::MaxEntries => "max-entries",
            Self::MinFree => "min-free",
            Self::Orphan => "orphan",
            Self::Invalidated => "invalidated",
            Self::Damaged => "damaged",
        }
    }
}

/// Why an entry stays. The order is that in which reasons are named where several apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protection {
    /// Whether it is in use could not be found out.
    Error,
    /// Something is mounted on or under it.
    Mounted,
    /// A process holds its pin.
    Pinned,
    /// Partial, and written to lately.
    Writing,
    /// Used more recently than `keep_recent`.
    Recent,
    /// Not as it was when it was planned.
    Changed,
}

impl Protection {
    /// All of them, in order.
    pub const ALL: [Self; 6] =
        [Self::Error, Self::Mounted, Self::Pinned, Self::Writing, Self::Recent, Self::Changed];

    /// The stable name, as in JSON.
    pub fn code(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Mounted => "mounted",
            Self::Pinned => "pinned",
            Self::Writing => "writing",
            Self::Recent => "recent",
            Self::Changed => "changed",
        }
    }

    /// Whether somebody uses the entry, as far as can be seen.
    pub fn is_use(self) -> bool {
        matches!(self, Self::Pinned | Self::Writing)
    }
}

/// What became of an entry, or in a dry run would become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was never its turn; with what would have protected it.
    Untouched(Option<Protection>),
    /// It was its turn, and it stays.
    Kept(Protection),
    /// It has left its name.
    Removed(Cause),
    /// It was its turn, and there is no entry of that name (any more).
    Absent,
    /// It could not be locked, looked at or removed.
    Failed(Problem),
    /// This process may not delete it, so it was not touched.
    Denied(Denied),
}

impl Fate {
    /// Whether it was the entry's turn.
    pub fn is_turn(&self) -> bool {
        !matches!(self, Self::Untouched(_))
    }

    /// What keeps the entry, or would keep it.
    pub fn protection(&self) -> Option<Protection> {
        match self {
            Self::Untouched(protection) => *protection,
            Self::Kept(protection) => Some(*protection),
            Self::Failed(_) | Self::Denied(_) => Some(Protection::Error),
            Self::Removed(_) | Self::Absent => None,
        }
    }

    /// Whether the entry is not in the cache any more.
    pub fn has_left(&self) -> bool {
        matches!(self, Self::Removed(_) | Self::Absent)
    }

    /// Whether removing was tried in vain.
    pub fn has_failed(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Denied(_))
    }
}

impl From<Problem> for Fate {
    fn from(problem: Problem) -> Self {
        Self::Failed(problem)
    }
}
