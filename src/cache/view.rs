//! The whole cache at one instant.

use std::collections::HashSet;
use std::ffi::CString;
use std::time::{Duration, Instant, SystemTime};

use super::entry::{Entry, Measured, PinState, Trash, measure, scan_trash};
use super::listing::Listing;
use super::sizes::{self, Record};
use super::{CacheNotice, Memory};
use crate::error::{Error, Operation, Reason};
use crate::key::Key;
use crate::locks::{self, OpenFiles};
use crate::progress::{Progress, Task};
use crate::root::Root;
use crate::sys::parallel;
use crate::sys::walk::Buffer;
use crate::units::unix_seconds;

/// An entry that could not be read, and so is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Unreadable {
    pub key: Key,
    pub error: Error,
}

/// What the caller knows of entries and the disk does not tell.
#[derive(Clone, Debug, Default)]
pub struct Advice {
    /// Entries that must stay, because the user keeps their sources.
    pub keep: HashSet<Key>,
    /// Entries to evict before all others.
    pub first: HashSet<Key>,
}

/// The cache at one instant.
#[derive(Clone, Debug, Default)]
pub struct CacheView {
    /// The entries, by key.
    pub entries: Vec<Entry>,
    /// Entries that could not be read in full; no total includes them.
    pub unreadable: Vec<Unreadable>,
    /// Entries with something mounted on or under them; not scanned.
    pub mounted: Vec<Key>,
    /// Leftover trash.
    pub trash: Vec<Trash>,
    /// Names of the foreign files and directories in the root, sorted.
    pub foreign: Vec<CString>,
    /// Set if the root may not be a cache at all.
    pub no_entries: Option<CacheNotice>,
    /// How long the scan took: a hit during the scan sets a time up to this much after its start.
    pub took: Duration,
    /// Other failures: pins that could not be probed, trash that could not be read.
    pub errors: Vec<Error>,
    /// Of each entry, what a later scan may remember; `None` if nothing.
    pub(crate) records: Vec<Option<Record>>,
}

impl CacheView {
    /// A view of nothing but these entries, which are sorted by key.
    pub fn of(entries: Vec<Entry>) -> Self {
        Self { records: vec![None; entries.len()], entries, ..Self::default() }
    }

    /// Reads everything in the root once, but for the files of entries that `memory` has as they are. Ages count
    /// from `now`. Fails only if the root itself cannot be listed.
    pub fn scan(
        root: &Root,
        memory: &Memory,
        now: SystemTime,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        let began = Instant::now();
        let listing = Listing::read(root)?;
        progress.start(Task::Scan, listing.entries.len());
        let scanned = parallel::map(&listing.entries, Buffer::new, |buffer, &key| {
            let entry = read(root, key, memory, now, buffer);
            let pinned = match &entry {
                Ok(Some(_)) if listing.pins.contains(&key) => locks::probe(root, key),
                _ => Ok(false),
            };
            progress.step();
            (entry, pinned)
        });
        let since = Instant::now();
        let trash = parallel::map(&listing.trash, Buffer::new, |buffer, name| {
            scan_trash(root, name, buffer)
        });
        progress.finish();

        let no_entries = listing.no_entries(root);
        let mut view = Self {
            mounted: listing.mounted,
            foreign: listing.foreign,
            no_entries,
            ..Self::default()
        };
        let mut refused = Vec::new();
        for (key, (entry, pinned)) in listing.entries.iter().zip(scanned) {
            match entry {
                Ok(None) => {}
                Err(error) => view.unreadable.push(Unreadable { key: *key, error }),
                Ok(Some((mut entry, record))) => {
                    entry.has_writer_lockfile = listing.writers.contains(key);
                    match pinned {
                        Ok(false) => {}
                        Ok(true) => refused.push(view.entries.len()),
                        Err(error) => {
                            entry.pin = PinState::Unknown;
                            view.errors.push(error);
                        }
                    }
                    view.entries.push(entry);
                    view.records.push(record);
                }
            }
        }
        view.settle_pins(root, refused, since);
        for measured in trash {
            match measured {
                Ok(Some(trash)) => view.trash.push(trash),
                Ok(None) => {}
                Err(error) => view.errors.push(error),
            }
        }
        view.took = began.elapsed();
        Ok(view)
    }

    /// Measures the entries at `places`. Returns whether they hold what was remembered of them: what `st_blocks`
    /// says does not count, since xfs gives back what it allocated ahead minutes later.
    pub(crate) fn measure(
        &mut self,
        root: &Root,
        places: &[usize],
        now: SystemTime,
        progress: &dyn Progress,
    ) -> bool {
        let nothing = Memory::default();
        progress.start(Task::Scan, places.len());
        let measured = parallel::map(places, Buffer::new, |buffer, &place| {
            let measured = read(root, self.entries[place].key, &nothing, now, buffer);
            progress.step();
            measured
        });
        progress.finish();
        let mut is_true = true;
        for (&place, measured) in places.iter().zip(measured) {
            let entry = &mut self.entries[place];
            entry.is_remembered = false;
            self.records[place] = None;
            match measured {
                Ok(Some((found, record))) if found.identity == entry.identity => {
                    is_true &= (found.files, found.bytes) == (entry.files, entry.bytes);
                    self.records[place] = record;
                    entry.files = found.files;
                    entry.bytes = found.bytes;
                    entry.allocated_bytes = found.allocated_bytes;
                    entry.last_written = found.last_written;
                    entry.last_read = found.last_read;
                }
                // Gone, or another one by now: whoever wants to remove it looks again and finds that.
                Ok(_) => {}
                Err(error) => {
                    entry.pin = PinState::Unknown;
                    self.errors.push(error);
                }
            }
        }
        is_true
    }

    /// The places of the entries that are only remembered.
    pub(crate) fn remembered(&self) -> Vec<usize> {
        let entries = self.entries.iter().enumerate();
        entries.filter(|(_, entry)| entry.is_remembered).map(|(place, _)| place).collect()
    }

    /// Records which other processes have a file of an entry open.
    pub(crate) fn add_open(&mut self, open: &OpenFiles) {
        for entry in &mut self.entries {
            entry.open_in = open.users(entry.key).to_vec();
        }
    }

    /// Adds what the caller knows.
    pub(crate) fn add_advice(&mut self, advice: &Advice) {
        for entry in &mut self.entries {
            entry.is_kept = advice.keep.contains(&entry.key);
            entry.goes_first = advice.first.contains(&entry.key);
        }
    }

    /// Notices about the cache as a whole, at `now`.
    pub fn notices(&self, root: &Root, now: SystemTime) -> Vec<CacheNotice> {
        /// A NAS's clock is off by seconds, which is not worth a warning.
        const SLACK: Duration = Duration::from_secs(60);
        let late = now.checked_add(SLACK + self.took).unwrap_or(now);
        let future = self.entries.iter().filter(|e| e.last_used.max(e.last_written) > late).count();
        let mut notices: Vec<CacheNotice> =
            self.mounted.iter().map(|&key| CacheNotice::Mounted(root.entry_path(key))).collect();
        if future > 0 {
            notices.push(CacheNotice::FutureTimes(future as u64));
        }
        notices.extend(self.no_entries.clone());
        notices
    }

    /// Probes every refused pin again, all together, until [`locks::PATIENCE`] is over.
    fn settle_pins(&mut self, root: &Root, mut refused: Vec<usize>, since: Instant) {
        while !refused.is_empty() {
            let last = since.elapsed() >= locks::PATIENCE;
            if !last {
                std::thread::sleep(locks::PATIENCE / 10);
            }
            refused.retain(|&index| match locks::probe(root, self.entries[index].key) {
                Ok(pinned) => pinned,
                Err(error) => {
                    self.entries[index].pin = PinState::Unknown;
                    self.errors.push(error);
                    false
                }
            });
            if last {
                break;
            }
        }
        let keys: Vec<Key> = refused.iter().map(|&index| self.entries[index].key).collect();
        for (index, holders) in refused.into_iter().zip(locks::of_pins(root, &keys)) {
            self.entries[index].pin = PinState::Held(holders);
        }
    }
}

/// Reads one entry, as far as it is not as `memory` has it, and returns with it what a later scan may remember.
fn read(
    root: &Root,
    key: Key,
    memory: &Memory,
    now: SystemTime,
    buffer: &mut Buffer,
) -> Result<Option<(Entry, Option<Record>)>, Error> {
    if let Some(record) = memory.get(key)
        && let Some(entry) = sizes::recall(root, record, now)
    {
        return Ok(Some((entry, Some(*record))));
    }
    Ok(measure(root, key, buffer)?.map(|Measured { entry, marks }| {
        let measured = unix_seconds(now);
        let record = marks.map(|marks| Record { key, measured, marks, sums: entry.sums() });
        (entry, record)
    }))
}

/// The error for an entry with something mounted on or under it.
pub(crate) fn mounted_error(root: &Root, key: Key) -> Error {
    Error::new(Operation::Enter, root.entry_path(key), Reason::Mounted)
}
