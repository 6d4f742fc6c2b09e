//! What a run should remove, and what it must keep.

use std::time::{Duration, SystemTime};

use super::fate::Protection;
use super::limits::{MIN_AGE, Sweep};
use crate::cache::{Entry, PinState, State};
use crate::key::Key;
use crate::units::age;

/// Permission to remove a pinned entry. Only [`Policy::invalidate`] gives it.
#[derive(Clone, Copy, Debug)]
pub struct Forced(());

/// Which entries `invalidate` removes.
#[derive(Clone, Debug)]
pub enum Which {
    /// These, protected by locks alone.
    Keys(Vec<Key>),
    /// All of them but those being encoded.
    All,
}

/// What a removing command wants.
#[derive(Clone, Debug)]
pub enum Policy {
    /// Least recently used entries down to limits.
    Sweep(Sweep),
    /// Partial entries that nobody uses or writes.
    Orphans {
        /// Abandoned after this long without a write.
        min_age: Duration,
        /// As in [`Sweep::locks_only`].
        locks_only: bool,
    },
    /// Entries that the user names.
    Invalidate {
        /// These.
        which: Which,
        /// Even if pinned.
        force: Option<Forced>,
    },
}

impl Policy {
    /// Removes the entries that the user names; with `even_if_pinned` also pinned ones, which no other policy
    /// can.
    pub fn invalidate(which: Which, even_if_pinned: bool) -> Self {
        Self::Invalidate { which, force: even_if_pinned.then_some(Forced(())) }
    }

    /// The protections under this policy.
    pub fn shield(&self) -> Shield {
        let usual = Shield::default();
        match self {
            Self::Sweep(Sweep { min_age, keep_recent, locks_only, .. }) => Shield {
                min_age: *min_age,
                keep_recent: *keep_recent,
                locks_only: *locks_only,
                ..usual
            },
            Self::Orphans { min_age, locks_only } => {
                Shield { min_age: *min_age, locks_only: *locks_only, ..usual }
            }
            Self::Invalidate { which: Which::All, force } => {
                Shield { ignore_pins: force.is_some(), ..usual }
            }
            Self::Invalidate { which: Which::Keys(_), force } => Shield {
                ignore_pins: force.is_some(),
                min_age: Duration::ZERO,
                locks_only: true,
                ..usual
            },
        }
    }
}

/// What protects entries. Only here is the order of the reasons defined. The default holds for every
/// command unless the user says otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Shield {
    /// A partial entry written to more recently than this counts as being encoded, and one read more
    /// recently than this as being watched.
    pub min_age: Duration,
    /// What was used more recently than this stays.
    pub keep_recent: Duration,
    /// A pin does not protect: the user forces it.
    pub ignore_pins: bool,
    /// Open files and recent reads do not protect.
    pub locks_only: bool,
}

impl Default for Shield {
    fn default() -> Self {
        Self {
            min_age: MIN_AGE,
            keep_recent: Duration::ZERO,
            ignore_pins: false,
            locks_only: false,
        }
    }
}

impl Shield {
    /// The first reason that protects the entry at `now`.
    pub fn protection(&self, entry: &Entry, now: SystemTime) -> Option<Protection> {
        if entry.pin == PinState::Unknown {
            return Some(Protection::Error);
        }
        if matches!(entry.pin, PinState::Held(_)) && !self.ignore_pins {
            return Some(Protection::Pinned);
        }
        if !self.locks_only && !entry.open_in.is_empty() {
            return Some(Protection::Open);
        }
        if entry.state == State::Partial && age(now, entry.last_written) < self.min_age {
            return Some(Protection::Writing);
        }
        if self.is_read(entry, now) {
            return Some(Protection::Read);
        }
        if entry.is_kept {
            return Some(Protection::KeepSource);
        }
        (age(now, entry.last_used) < self.keep_recent).then_some(Protection::Recent)
    }

    /// Whether a file in the entry was read lately, after it was written.
    pub fn is_read(&self, entry: &Entry, now: SystemTime) -> bool {
        let is_recent = |read| age(now, read) < self.min_age;
        !self.locks_only && entry.last_read.is_some_and(is_recent)
    }
}

/// Whether somebody may be watching the entry unseen: no daemon that takes locks made it (maintainers
/// never create `.write`), and it was used or written lately.
pub fn is_perhaps_watched(entry: &Entry, now: SystemTime) -> bool {
    !entry.has_writer_lockfile && age(now, entry.last_used.max(entry.last_written)) < A_FILM
}

/// About the longest film with a long pause.
pub const A_FILM: Duration = Duration::from_secs(4 * 60 * 60);

/// Whether to evict nothing for `--max-size`: the bytes in use, `stuck`, alone reach the budget, so evicting
/// all other entries would empty the cache and still not meet it.
pub fn is_hopeless(stuck: u64, budget: u64) -> bool {
    stuck > 0 && stuck >= budget
}
