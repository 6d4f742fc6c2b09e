//! The figures of `stats`: totals of the entries, and the summary of the event log.

use std::ffi::CString;
use std::time::SystemTime;

use crate::cache::events::{Event, Summary};
use crate::cache::{CacheNotice, CacheView, Entry, Memory, State, Trash};
use crate::error::Error;
use crate::locks::{OpenFiles, ProcessCount};
use crate::plan::{Protection, Shield, Totals};
use crate::progress::Progress;
use crate::root::{Atime, Root, Space};

/// The content of the cache, in numbers.
#[derive(Clone, Debug)]
#[must_use]
#[allow(missing_docs, reason = "only what the names do not say")]
pub struct Stats {
    /// The readable entries, by key.
    pub entries: Vec<Entry>,
    pub totals: Totals,
    pub sealed: Totals,
    pub partial: Totals,
    /// Files in all entries.
    pub files: u64,
    /// Entries whose files were not looked at, because a sweep remembers what they measured.
    pub remembered: u64,
    /// The entries that are not in use, as far as this process can see.
    pub evictable: Totals,
    pub pinned: Totals,
    /// Entries that another process has a file open in and that are not pinned.
    pub open: Totals,
    /// Entries that were read lately and are in no other use.
    pub read: Totals,
    /// How many processes could be examined.
    pub processes: ProcessCount,
    /// How the mount of the cache records read times.
    pub atime: Atime,
    /// Partial entries written to within [`crate::plan::MIN_AGE`], and neither pinned nor open.
    pub writing: Totals,
    /// Entries whose pin could not be probed; `errors` says why.
    pub unknown: Totals,
    /// Partial entries that are evictable.
    pub abandoned: Totals,
    /// Removed entries whose files are still there.
    pub trash: Totals,
    /// Names of the foreign files and directories in the root, sorted.
    pub foreign: Vec<CString>,
    /// Entries that could not be read in full; no total includes them.
    pub unreadable: u64,
    /// Entries with something mounted on or under them; not scanned.
    pub mounted: u64,
    /// Space on the file system; `None` if it could not be read.
    pub space: Option<Space>,
    pub events: Summary,
    pub notices: Vec<CacheNotice>,
    pub errors: Vec<Error>,
}

impl Stats {
    /// Reads the cache. Fails only if the root itself cannot be read.
    pub fn gather(root: &Root, now: SystemTime, progress: &dyn Progress) -> Result<Self, Error> {
        Self::gather_with(root, &Memory::read(root), now, progress, &mut |_| ())
    }

    /// The same, believing of the entries what `memory` has, and hands each event about an entry to `listen`, as
    /// [`Summary::read_with`] does.
    pub fn gather_with(
        root: &Root,
        memory: &Memory,
        now: SystemTime,
        progress: &dyn Progress,
        listen: &mut dyn FnMut(&Event),
    ) -> Result<Self, Error> {
        let mut view = CacheView::scan(root, memory, now, progress)?;
        let open = OpenFiles::read(root);
        view.add_open(&open);
        let notices = view.notices(root, now);
        let CacheView { entries, unreadable, mounted, trash, foreign, mut errors, .. } = view;
        let unreadable_entries = unreadable.len() as u64;
        errors.extend(unreadable.into_iter().map(|unreadable| unreadable.error));
        let events = Summary::read_with(root, now, listen).unwrap_or_else(|error| {
            errors.push(error);
            Summary::default()
        });
        let of = |is: &dyn Fn(&Entry) -> bool| Totals::of(entries.iter().filter(|entry| is(entry)));
        let shield = Shield::default();
        let protection = |entry: &Entry| shield.protection(entry, now);
        let kept = |reason| of(&|entry| protection(entry) == Some(reason));
        let is_evictable = |entry: &Entry| protection(entry).is_none();
        Ok(Self {
            totals: Totals::of(&entries),
            sealed: of(&|entry| entry.state == State::Sealed),
            partial: of(&|entry| entry.state == State::Partial),
            files: entries.iter().fold(0, |sum, entry| sum.saturating_add(entry.files)),
            remembered: entries.iter().filter(|entry| entry.is_remembered).count() as u64,
            evictable: of(&is_evictable),
            pinned: kept(Protection::Pinned),
            open: kept(Protection::Open),
            writing: kept(Protection::Writing),
            read: kept(Protection::Read),
            processes: open.processes(),
            atime: root.atime(),
            unknown: kept(Protection::Error),
            abandoned: of(&|entry| entry.state == State::Partial && is_evictable(entry)),
            trash: total(&trash),
            foreign,
            unreadable: unreadable_entries,
            mounted: mounted.len() as u64,
            // Ignore a failure: the report is useful without it.
            space: root.space().ok(),
            events,
            notices,
            errors,
            entries,
        })
    }

    /// The entries in use, but for those being encoded.
    pub fn in_use(&self) -> Totals {
        [self.pinned, self.open, self.read].into_iter().fold(Totals::default(), Totals::plus)
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
    let mut total = Totals::default();
    for trash in trash {
        total.add(trash.bytes, trash.allocated_bytes);
    }
    total
}
