//! The result for an entry, and its reason: one type for the plan, the removal and the report.

use crate::cache::Cause;
use crate::error::Error;

/// Why an entry stays. The order is that in which reasons are named where several apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protection {
    /// Whether it is in use could not be found out.
    Error,
    /// Something is mounted on or under it.
    Mounted,
    /// A process holds its pin.
    Pinned,
    /// Another process has something in it open.
    Open,
    /// Partial, and written to lately.
    Writing,
    /// Read lately, after it was written.
    Read,
    /// The user keeps its source.
    KeepSource,
    /// Used more recently than `keep_recent`.
    Recent,
    /// Not as it was when it was planned.
    Changed,
}

impl Protection {
    /// All of them, in order.
    pub const ALL: [Self; 9] = [
        Self::Error,
        Self::Mounted,
        Self::Pinned,
        Self::Open,
        Self::Writing,
        Self::Read,
        Self::KeepSource,
        Self::Recent,
        Self::Changed,
    ];

    /// The stable name, as in JSON.
    pub fn code(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Mounted => "mounted",
            Self::Pinned => "pinned",
            Self::Open => "open",
            Self::Writing => "writing",
            Self::Read => "read",
            Self::KeepSource => "keep-source",
            Self::Recent => "recent",
            Self::Changed => "changed",
        }
    }

    /// Whether somebody uses the entry, as far as can be seen.
    pub fn is_use(self) -> bool {
        matches!(self, Self::Pinned | Self::Open | Self::Writing | Self::Read)
    }
}

/// What became of an entry, or in a dry run would become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was no candidate; with the protection that it would have had.
    Untouched(Option<Protection>),
    /// It was a candidate and was kept.
    Kept(Protection),
    /// It was renamed to the trash or deleted.
    Removed(Cause),
    /// It was a candidate, but there is no entry of that name (any more).
    Absent,
    /// It could not be locked, looked at or removed; with [`Reason::Denied`](crate::error::Reason::Denied) it was
    /// not touched.
    Failed(Error),
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
            Self::Failed(_) => Some(Protection::Error),
            Self::Removed(_) | Self::Absent => None,
        }
    }

    /// Whether the entry is not in the cache any more.
    pub fn has_left(&self) -> bool {
        matches!(self, Self::Removed(_) | Self::Absent)
    }

    /// Whether removing was tried in vain.
    pub fn has_failed(&self) -> bool {
        matches!(self, Self::Failed(_))
    }
}

impl From<Error> for Fate {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}
