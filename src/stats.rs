//! What is in the cache, added up.

use std::time::SystemTime;

use crate::events::Summary;
use crate::plan::{self, MIN_AGE, Totals};
use crate::problem::Problem;
use crate::progress::Progress;
use crate::root::{Root, Space};
use crate::view::{CacheView, Entry, Pin, State, Trash};

/// What is in the cache.
#[derive(Clone, Debug)]
#[must_use]
pub struct Stats {
    /// The readable entries, by key.
    pub entries: Vec<Entry>,
    /// All of them.
    pub totals: Totals,
    /// The sealed ones.
    pub sealed: Totals,
    /// The partial ones.
    pub partial: Totals,
    /// Files in all entries.
    pub files: u64,
    /// The entries that somebody uses.
    pub pinned: Totals,
    /// The partial entries that nobody pins and that were written to within [`MIN_AGE`].
    pub writing: Totals,
    /// Removed entries whose files are still there.
    pub trash: Totals,
    /// Names in the root that are nobody's here.
    pub foreign: u64,
    /// Entries that could not be read in full; they count towards nothing.
    pub unreadable: u64,
    /// Entries with something mounted on or under them; never looked into.
    pub mounted: u64,
    /// What the file system has; `None` where it does not say.
    pub space: Option<Space>,
    /// The event log.
    pub events: Summary,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// What could not be read.
    pub problems: Vec<Problem>,
}

impl Stats {
    /// Looks at the whole cache. Fails only where the root itself cannot be read.
    pub fn gather(root: &Root, now: SystemTime, progress: &dyn Progress) -> Result<Self, Problem> {
        let view = CacheView::scan(root, progress)?;
        let warnings = view.warnings(root, now);
        let CacheView { entries, unreadable, mounted, trash, foreign, mut problems, .. } = view;
        let unreadable_entries = unreadable.len() as u64;
        problems.extend(unreadable.into_iter().map(|unreadable| unreadable.problem));
        let events = Summary::read(root, now).unwrap_or_else(|problem| {
            problems.push(problem);
            Summary::default()
        });
        let of = |is: &dyn Fn(&Entry) -> bool| Totals::of(entries.iter().filter(|entry| is(entry)));
        let is_pinned = |entry: &Entry| matches!(entry.pin, Pin::Held(_));
        Ok(Self {
            totals: Totals::of(&entries),
            sealed: of(&|entry| entry.state == State::Sealed),
            partial: of(&|entry| entry.state == State::Partial),
            files: entries.iter().map(|entry| entry.files).sum(),
            pinned: of(&is_pinned),
            writing: of(&|entry| !is_pinned(entry) && plan::is_writing(entry, MIN_AGE, now)),
            trash: total(&trash),
            foreign,
            unreadable: unreadable_entries,
            mounted: mounted.len() as u64,
            // Beside the point: a report without it is still whole.
            space: root.space().ok(),
            events,
            warnings,
            problems,
            entries,
        })
    }

    /// When the least recently used entry was used.
    pub fn oldest_used(&self) -> Option<SystemTime> {
        self.entries.iter().map(|entry| entry.last_used).min()
    }

    /// When the most recently used entry was used.
    pub fn newest_used(&self) -> Option<SystemTime> {
        self.entries.iter().map(|entry| entry.last_used).max()
    }
}

fn total(trash: &[Trash]) -> Totals {
    trash.iter().fold(Totals::default(), |sum, trash| Totals {
        entries: sum.entries + 1,
        bytes: sum.bytes.saturating_add(trash.bytes),
        allocated_bytes: sum.allocated_bytes.saturating_add(trash.allocated_bytes),
    })
}
