//! What is in the cache: one look at the disk, as values.

use std::collections::HashSet;
use std::ffi::{CStr, CString, OsString};
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use crate::fd;
use crate::holders::{self, Holder};
use crate::key::Key;
use crate::layout::{self, RootName};
use crate::lock;
use crate::notice::Notice;
use crate::parallel;
use crate::problem::Problem;
use crate::progress::{Progress, Task};
use crate::root::{self, Root};
use crate::units::instant;
use crate::walk::{self, Buffer, Step, Visitor};

/// Whether an encode has finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// `.complete` exists: every segment is on disk.
    Sealed,
    /// An encode in progress, or the leftovers of one that died.
    Partial,
}

impl State {
    /// The stable name, as in JSON.
    pub fn code(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Partial => "partial",
        }
    }
}

/// Who holds the pin of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// Nobody.
    Free,
    /// Somebody; the processes are those that could be identified, possibly none.
    Held(Vec<Holder>),
    /// It could not be told; the problem is among the view's.
    Unknown,
}

/// One entry as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub key: Key,
    /// Sealed or partial.
    pub state: State,
    /// Everything in it that is not a directory.
    pub files: u64,
    /// Sum of `st_size` of these files, symlinks as themselves.
    pub bytes: u64,
    /// Sum of `st_blocks × 512` of these files.
    pub allocated_bytes: u64,
    /// The LRU clock: mtime of the entry's directory, which a daemon sets on every hit.
    pub last_used: SystemTime,
    /// The newest mtime of anything in the entry; the directory's own while nothing is in it.
    pub last_written: SystemTime,
    /// Device and inode of the entry's directory.
    pub identity: (u64, u64),
    /// Who uses it.
    pub pin: Pin,
    /// Whether a daemon that follows the lock protocol made it: maintainers never create `.write`.
    pub has_writer_lockfile: bool,
}

/// A removed entry whose files are still being deleted, or whose remover died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trash {
    /// Its name in the root.
    pub name: CString,
    /// Sum of `st_size`.
    pub bytes: u64,
    /// Sum of `st_blocks × 512`.
    pub allocated_bytes: u64,
}

/// An entry that is there but cannot be judged, and so is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Its name.
    pub key: Key,
    /// What failed.
    pub problem: Problem,
}

/// The cache at one instant.
#[derive(Clone, Debug, Default)]
pub struct CacheView {
    /// The entries, by key.
    pub entries: Vec<Entry>,
    /// Entries that could not be read in full; they count towards nothing.
    pub unreadable: Vec<Unreadable>,
    /// Entries with something mounted on or under them; never looked into.
    pub mounted: Vec<Key>,
    /// Leftover trash.
    pub trash: Vec<Trash>,
    /// The names in the root that are nobody's here, sorted.
    pub foreign: Vec<CString>,
    /// That this may not be a cache at all.
    pub no_entries: Option<Notice>,
    /// How long the look took: a hit meanwhile sets a time that late.
    pub took: Duration,
    /// What else failed: pins that could not be probed, trash that could not be read.
    pub problems: Vec<Problem>,
}

/// The names in the root, sorted by what they are.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) entries: Vec<Key>,
    pub(crate) mounted: Vec<Key>,
    pub(crate) trash: Vec<CString>,
    pins: HashSet<Key>,
    writers: HashSet<Key>,
    foreign: Vec<CString>,
    /// What maintainers make in any directory that they take for a cache.
    own: Vec<CString>,
}

impl Listing {
    /// Lists the root. Fails only as a whole.
    pub(crate) fn read(root: &Root) -> Result<Self, Problem> {
        let mounted = root.mounted()?;
        let unreadable =
            |e: Errno| Problem::new(root.path(), "cannot read the cache root", io::Error::from(e));
        let top = fd::open_dir(root.fd(), c".").map_err(unreadable)?;
        let mut names = Names { listing: Self::default(), mounted };
        walk::walk(top, &mut Buffer::new(), &mut names)
            .map_err(|failure| failure.problem(root.path(), "cannot read the cache root"))?;
        Ok(names.listing.sorted())
    }

    /// In order, and each name once: one that is removed and created again while the directory is read
    /// can be read twice.
    fn sorted(mut self) -> Self {
        for keys in [&mut self.entries, &mut self.mounted] {
            keys.sort_unstable();
            keys.dedup();
        }
        for names in [&mut self.trash, &mut self.foreign, &mut self.own] {
            names.sort_unstable();
            names.dedup();
        }
        self
    }

    /// Says where the root has names, but nothing that only a cache has. Lockfiles of entries and trash
    /// stay behind when all entries are gone; the maintenance lock and the log do not count, because the
    /// tool makes them wherever it is told to sweep.
    pub(crate) fn no_entries(&self, root: &Root) -> Option<Notice> {
        let is_cache = !self.entries.is_empty()
            || !self.mounted.is_empty()
            || !self.trash.is_empty()
            || !self.pins.is_empty()
            || !self.writers.is_empty();
        let name = self.foreign.first().or(self.own.first()).filter(|_| !is_cache)?;
        let name = root::os_name(name.to_bytes()).into();
        Some(Notice::NoEntries { root: root.path().into(), name })
    }
}

struct Names {
    listing: Listing,
    mounted: HashSet<OsString>,
}

impl Visitor for Names {
    fn name(
        &mut self,
        dir: BorrowedFd<'_>,
        _: usize,
        name: &CStr,
        kind: FileType,
    ) -> rustix::io::Result<Step> {
        let kind = match kind {
            FileType::Unknown => FileType::from_raw_mode(fd::stat(dir, name)?.st_mode),
            kind => kind,
        };
        let mounted = self.mounted.contains(root::os_name(name.to_bytes()));
        let listing = &mut self.listing;
        match (RootName::parse(name.to_bytes()), kind) {
            (RootName::Entry(key), FileType::Directory) if mounted => listing.mounted.push(key),
            (RootName::Entry(key), FileType::Directory) => listing.entries.push(key),
            (RootName::Trash(_), FileType::Directory) if !mounted => {
                listing.trash.push(name.to_owned());
            }
            (RootName::Pin(key), kind) => {
                // Whatever it is: a pin that is no lockfile means that the entry cannot be locked.
                listing.pins.insert(key);
                if kind != FileType::RegularFile {
                    listing.foreign.push(name.to_owned());
                }
            }
            (RootName::Write(key), FileType::RegularFile) => drop(listing.writers.insert(key)),
            (RootName::Own, FileType::RegularFile) => listing.own.push(name.to_owned()),
            _ => listing.foreign.push(name.to_owned()),
        }
        Ok(Step::Next)
    }
}

impl CacheView {
    /// Looks at everything in the root once. Fails only where the root itself cannot be listed.
    pub fn scan(root: &Root, progress: &dyn Progress) -> Result<Self, Problem> {
        let began = Instant::now();
        let listing = Listing::read(root)?;
        progress.start(Task::Scan, listing.entries.len());
        let looks = parallel::map(&listing.entries, Buffer::new, |buffer, &key| {
            let entry = look(root, key, buffer);
            let pinned = match &entry {
                Ok(Some(_)) if listing.pins.contains(&key) => lock::probe(root, key),
                _ => Ok(false),
            };
            progress.step();
            (entry, pinned)
        });
        let since = Instant::now();
        let trash =
            parallel::map(&listing.trash, Buffer::new, |buffer, name| measure(root, name, buffer));
        progress.finish();

        let no_entries = listing.no_entries(root);
        let mut view = Self {
            mounted: listing.mounted,
            foreign: listing.foreign,
            no_entries,
            ..Self::default()
        };
        let mut refused = Vec::new();
        for (key, (entry, pinned)) in listing.entries.iter().zip(looks) {
            match entry {
                Ok(None) => {}
                Err(problem) => view.unreadable.push(Unreadable { key: *key, problem }),
                Ok(Some(mut entry)) => {
                    entry.has_writer_lockfile = listing.writers.contains(key);
                    match pinned {
                        Ok(false) => {}
                        Ok(true) => refused.push(view.entries.len()),
                        Err(problem) => {
                            entry.pin = Pin::Unknown;
                            view.problems.push(problem);
                        }
                    }
                    view.entries.push(entry);
                }
            }
        }
        view.settle_pins(root, refused, since);
        for measured in trash {
            match measured {
                Ok(Some(trash)) => view.trash.push(trash),
                Ok(None) => {}
                Err(problem) => view.problems.push(problem),
            }
        }
        view.took = began.elapsed();
        Ok(view)
    }

    /// What about the view as a whole the user should know, at `now`.
    pub fn notices(&self, root: &Root, now: SystemTime) -> Vec<Notice> {
        /// A NAS's clock is off by seconds, which is not worth a warning.
        const SLACK: Duration = Duration::from_secs(60);
        let late = now.checked_add(SLACK + self.took).unwrap_or(now);
        let future = self.entries.iter().filter(|e| e.last_used.max(e.last_written) > late).count();
        let mut notices: Vec<Notice> =
            self.mounted.iter().map(|&key| Notice::Mounted(root.entry_path(key))).collect();
        if future > 0 {
            notices.push(Notice::FutureTimes(future as u64));
        }
        notices.extend(self.no_entries.clone());
        notices
    }

    /// Asks again about every pin that refused a probe, all together, until their patience is over.
    fn settle_pins(&mut self, root: &Root, mut refused: Vec<usize>, since: Instant) {
        while !refused.is_empty() {
            let last = since.elapsed() >= lock::PATIENCE;
            if !last {
                std::thread::sleep(lock::PATIENCE / 10);
            }
            refused.retain(|&index| match lock::probe(root, self.entries[index].key) {
                Ok(pinned) => pinned,
                Err(problem) => {
                    self.entries[index].pin = Pin::Unknown;
                    self.problems.push(problem);
                    false
                }
            });
            if last {
                break;
            }
        }
        let keys: Vec<Key> = refused.iter().map(|&index| self.entries[index].key).collect();
        for (index, holders) in refused.into_iter().zip(holders::of_pins(root, &keys)) {
            self.entries[index].pin = Pin::Held(holders);
        }
    }
}

/// Why an entry is left alone, whatever is asked.
pub(crate) fn mount_in_the_way(root: &Root, key: Key) -> Problem {
    Problem::new(root.entry_path(key), "skipped", "something is mounted on or under it")
}

/// What a look at an entry's directory and marker alone tells.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Glance {
    pub(crate) identity: (u64, u64),
    pub(crate) last_used: SystemTime,
    pub(crate) state: State,
}

/// Looks at the directory and the marker of an entry, and at none of its files; `None` if there is no
/// entry of that name.
pub(crate) fn glance(root: &Root, key: Key) -> Result<Option<Glance>, Problem> {
    let unreadable =
        |e: Errno| Problem::new(root.entry_path(key), "cannot read", io::Error::from(e));
    let Some(top) = fd::find_dir(root.fd(), &*key.to_string()).map_err(unreadable)? else {
        return Ok(None);
    };
    let stat = rustix::fs::fstat(&top).map_err(unreadable)?;
    let state = match fd::stat(&top, layout::COMPLETE) {
        Ok(_) => State::Sealed,
        Err(Errno::NOENT) => State::Partial,
        Err(error) => return Err(unreadable(error)),
    };
    Ok(Some(Glance { identity: identity(&stat), last_used: modified(&stat), state }))
}

/// Looks at one entry; `None` if there is none of that name (any more). The pin is not looked at.
pub(crate) fn look(root: &Root, key: Key, buffer: &mut Buffer) -> Result<Option<Entry>, Problem> {
    let name = key.to_string();
    let unreadable =
        |e: Errno| Problem::new(root.entry_path(key), "cannot read", io::Error::from(e));
    let Some(top) = fd::find_dir(root.fd(), &*name).map_err(unreadable)? else { return Ok(None) };
    let mut tally = Tally::default();
    let opened = rustix::fs::fstat(&top).map_err(unreadable)?;
    let walked = walk::walk(top, buffer, &mut tally);
    // What was read counts only if it is still the entry: one renamed away in mid-look read as
    // empty, and a hit in mid-look moved the clock.
    let stat = match fd::stat(root.fd(), &*name) {
        Ok(stat) if identity(&stat) == identity(&opened) => stat,
        Ok(_) | Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    walked.map_err(|failure| failure.problem(&root.entry_path(key), "cannot read"))?;
    let last_used = modified(&stat);
    Ok(Some(Entry {
        key,
        state: if tally.sealed { State::Sealed } else { State::Partial },
        files: tally.files,
        bytes: tally.bytes,
        allocated_bytes: tally.allocated_bytes,
        last_used,
        last_written: tally.last_written.unwrap_or(last_used),
        identity: identity(&stat),
        pin: Pin::Free,
        has_writer_lockfile: false,
    }))
}

/// The size of the trash `name`; `None` if it is gone.
pub(crate) fn measure(
    root: &Root,
    name: &CStr,
    buffer: &mut Buffer,
) -> Result<Option<Trash>, Problem> {
    let path = || root.path().join(root::os_name(name.to_bytes()));
    let unreadable = |e: Errno| Problem::new(path(), "cannot read", io::Error::from(e));
    let Some(top) = fd::find_dir(root.fd(), name).map_err(unreadable)? else { return Ok(None) };
    let mut tally = Tally::default();
    walk::walk(top, buffer, &mut tally)
        .map_err(|failure| failure.problem(&path(), "cannot read"))?;
    Ok(Some(Trash {
        name: name.to_owned(),
        bytes: tally.bytes,
        allocated_bytes: tally.allocated_bytes,
    }))
}

pub(crate) fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

pub(crate) fn modified(stat: &Stat) -> SystemTime {
    instant(stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0))
}

/// Sums up a tree.
#[derive(Default)]
struct Tally {
    sealed: bool,
    files: u64,
    bytes: u64,
    allocated_bytes: u64,
    last_written: Option<SystemTime>,
}

impl Visitor for Tally {
    fn name(
        &mut self,
        dir: BorrowedFd<'_>,
        depth: usize,
        name: &CStr,
        _: FileType,
    ) -> rustix::io::Result<Step> {
        /// The unit of `st_blocks`, whatever the file system's own block size is.
        const BLOCK: u64 = 512;
        let stat = fd::stat(dir, name)?;
        self.last_written = self.last_written.max(Some(modified(&stat)));
        self.sealed |= depth == 0 && name.to_bytes() == layout::COMPLETE.as_bytes();
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Ok(Step::Descend);
        }
        self.files += 1;
        self.bytes = self.bytes.saturating_add(fd::size(&stat));
        let allocated = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(BLOCK);
        self.allocated_bytes = self.allocated_bytes.saturating_add(allocated);
        Ok(Step::Next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    /// A name that is removed and created again while the directory is read can come twice.
    #[test]
    fn a_name_that_is_listed_twice_counts_once() {
        let directory = tempfile::tempdir().unwrap();
        let fd = std::fs::File::open(directory.path()).unwrap();
        let mounted = HashSet::from(["1111111111111111".into()]);
        let mut names = Names { listing: Listing::default(), mounted };
        for _ in 0..2 {
            for name in [
                c"0000000000000000",
                c"1111111111111111",
                c".trash.0000000000000000.0000000000000000",
                c"foreign",
            ] {
                names.name(fd.as_fd(), 0, name, FileType::Directory).unwrap();
            }
        }
        let listing = names.listing.sorted();
        let counts = (listing.entries.len(), listing.mounted.len(), listing.trash.len());
        assert_eq!((counts, listing.foreign.len()), ((1, 1, 1), 1));
    }
}
