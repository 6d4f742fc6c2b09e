//! Entries and trash: measured, which reads every file's inode, or by the entry's directory and marker alone.

use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;
use std::time::SystemTime;

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::sizes::{Marks, Stamp};
use crate::error::{Error, Operation};
use crate::key::Key;
use crate::layout;
use crate::locks::Holder;
use crate::root::{self, Root};
use crate::sys::fd;
use crate::sys::walk::{self, Buffer, Visit, Visitor};
use crate::units::instant;

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
pub enum PinState {
    /// No process.
    Free,
    /// At least one process; lists those that could be identified, possibly none.
    Held(Vec<Holder>),
    /// The probe failed, or the entry could not be measured; the view has the error.
    Unknown,
}

/// One entry at the time of the scan.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "only what the names do not say")]
pub struct Entry {
    pub key: Key,
    pub state: State,
    /// Everything in it that is not a directory.
    pub files: u64,
    /// Sum of `st_size` of these files, symlinks as themselves.
    pub bytes: u64,
    /// Sum of `st_blocks × 512` of these files.
    pub allocated_bytes: u64,
    /// The LRU clock: mtime of the entry's directory, which a daemon sets on every hit.
    pub last_used: SystemTime,
    /// The newest mtime of anything in the entry; the directory's own if it is empty.
    pub last_written: SystemTime,
    /// When a file in it was last read (by atime) after it was written; `None` if none was, or if the entry is
    /// remembered.
    pub last_read: Option<SystemTime>,
    /// Its files were not looked at: `files`, `bytes`, `allocated_bytes` and `last_written` are what a sweep
    /// measured before, and nothing has come or gone since.
    pub is_remembered: bool,
    /// Device and inode of the entry's directory.
    pub identity: (u64, u64),
    pub pin: PinState,
    /// Other processes that have a file in it open; empty until the view has read `/proc`.
    pub open_in: Vec<Holder>,
    /// Whether a daemon that follows the lock protocol made it: maintainers never create `.write`.
    pub has_writer_lockfile: bool,
    /// The user keeps its source ([`Advice`](super::Advice)).
    pub is_kept: bool,
    /// It goes before entries that were used longer ago ([`Advice`](super::Advice)).
    pub goes_first: bool,
}

/// What the files of an entry add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) allocated_bytes: u64,
    pub(crate) last_written: SystemTime,
}

impl Entry {
    /// An entry that nobody is known to use. `stat` is its directory's.
    pub(crate) fn new(key: Key, state: State, stat: &Stat, sums: Sums) -> Self {
        let Sums { files, bytes, allocated_bytes, last_written } = sums;
        Self {
            key,
            state,
            files,
            bytes,
            allocated_bytes,
            last_used: modified(stat),
            last_written,
            last_read: None,
            is_remembered: false,
            identity: identity(stat),
            pin: PinState::Free,
            open_in: Vec::new(),
            has_writer_lockfile: false,
            is_kept: false,
            goes_first: false,
        }
    }

    pub(crate) fn sums(&self) -> Sums {
        let Self { files, bytes, allocated_bytes, last_written, .. } = *self;
        Sums { files, bytes, allocated_bytes, last_written }
    }
}

/// An entry whose files were all looked at.
pub(crate) struct Measured {
    pub(crate) entry: Entry,
    /// What a change to it would move; `None` if not every change would, or if it changed meanwhile.
    pub(crate) marks: Option<Marks>,
}

/// A removed entry whose files are still being deleted, or whose remover died.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "only what the names do not say")]
pub struct Trash {
    pub name: CString,
    /// Sum of `st_size`.
    pub bytes: u64,
    /// Sum of `st_blocks × 512`.
    pub allocated_bytes: u64,
}

/// What the directory and the marker of an entry say, without its files.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StatEntry {
    pub(crate) identity: (u64, u64),
    pub(crate) last_used: SystemTime,
    pub(crate) state: State,
}

/// Stats the directory and the marker of an entry, but none of its files; `None` if there is no entry of
/// that name.
pub(crate) fn stat_entry(root: &Root, key: Key) -> Result<Option<StatEntry>, Error> {
    let unreadable = |e: Errno| Error::new(Operation::Read, root.entry_path(key), e);
    let Some(top) = fd::find_dir(root.fd(), &*key.to_string()).map_err(unreadable)? else {
        return Ok(None);
    };
    let stat = rustix::fs::fstat(&top).map_err(unreadable)?;
    let state = match fd::stat(&top, layout::COMPLETE) {
        Ok(_) => State::Sealed,
        Err(Errno::NOENT) => State::Partial,
        Err(error) => return Err(unreadable(error)),
    };
    Ok(Some(StatEntry { identity: identity(&stat), last_used: modified(&stat), state }))
}

/// Reads one entry in full; `None` if there is no entry of that name (any more). Does not probe the pin.
pub(crate) fn scan_entry(
    root: &Root,
    key: Key,
    buffer: &mut Buffer,
) -> Result<Option<Entry>, Error> {
    Ok(measure(root, key, buffer)?.map(|measured| measured.entry))
}

/// The same, with what a record of it needs.
pub(crate) fn measure(
    root: &Root,
    key: Key,
    buffer: &mut Buffer,
) -> Result<Option<Measured>, Error> {
    let name = key.to_string();
    let unreadable = |e: Errno| Error::new(Operation::Read, root.entry_path(key), e);
    let Some(top) = fd::find_dir(root.fd(), &*name).map_err(unreadable)? else { return Ok(None) };
    let mut tally = Tally::default();
    let opened = rustix::fs::fstat(&top).map_err(unreadable)?;
    let walked = walk::walk(top, buffer, &mut tally);
    // Stat the name again: an entry that is renamed during the scan reads as empty, and a hit during the
    // scan sets `last_used`.
    let stat = match fd::stat(root.fd(), &*name) {
        Ok(stat) if identity(&stat) == identity(&opened) => stat,
        Ok(_) | Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    walked.map_err(|failure| failure.into_error(Operation::Read, &root.entry_path(key)))?;
    let state = if tally.complete.is_some() { State::Sealed } else { State::Partial };
    let directory = Some(Stamp::of(&stat)).filter(|stamp| *stamp == Stamp::of(&opened));
    let marks = tally.marks(directory);
    let entry = Entry::new(key, state, &stat, tally.sums(modified(&stat)));
    Ok(Some(Measured { entry: Entry { last_read: tally.last_read, ..entry }, marks }))
}

/// The size of the trash `name`; `None` if it is gone.
pub(crate) fn scan_trash(
    root: &Root,
    name: &CStr,
    buffer: &mut Buffer,
) -> Result<Option<Trash>, Error> {
    let path = || root.path().join(root::os_name(name.to_bytes()));
    let unreadable = |e: Errno| Error::new(Operation::Read, path(), e);
    let Some(top) = fd::find_dir(root.fd(), name).map_err(unreadable)? else { return Ok(None) };
    let mut tally = Tally::default();
    walk::walk(top, buffer, &mut tally)
        .map_err(|failure| failure.into_error(Operation::Read, &path()))?;
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

fn accessed(stat: &Stat) -> SystemTime {
    instant(stat.st_atime, u32::try_from(stat.st_atime_nsec).unwrap_or(0))
}

/// Sums up a tree.
#[derive(Default)]
struct Tally {
    files: u64,
    bytes: u64,
    allocated_bytes: u64,
    last_written: Option<SystemTime>,
    last_read: Option<SystemTime>,
    complete: Option<Stamp>,
    video: Option<Stamp>,
    subs: Option<Stamp>,
    /// A directory changed while it was read, or lies where a change in it moves nothing that is stamped.
    is_unstable: bool,
}

impl Tally {
    /// `empty` is when an entry without any file was written.
    fn sums(&self, empty: SystemTime) -> Sums {
        Sums {
            files: self.files,
            bytes: self.bytes,
            allocated_bytes: self.allocated_bytes,
            last_written: self.last_written.unwrap_or(empty),
        }
    }

    fn marks(&self, directory: Option<Stamp>) -> Option<Marks> {
        let (directory, complete) = directory.zip(self.complete).filter(|_| !self.is_unstable)?;
        Some(Marks { directory, complete, video: self.video, subs: self.subs })
    }

    /// The directories whose changes are seen without listing them.
    fn stamped(&mut self, name: &CStr) -> Option<&mut Option<Stamp>> {
        match name.to_str() {
            Ok(layout::VIDEO) => Some(&mut self.video),
            Ok(layout::SUBS) => Some(&mut self.subs),
            _ => None,
        }
    }
}

impl Visitor for Tally {
    fn name(
        &mut self,
        dir: BorrowedFd<'_>,
        depth: usize,
        name: &CStr,
        _: FileType,
    ) -> rustix::io::Result<Visit> {
        /// The unit of `st_blocks`, whatever the file system's own block size is.
        const BLOCK: u64 = 512;
        let stat = fd::stat(dir, name)?;
        self.last_written = self.last_written.max(Some(modified(&stat)));
        if depth == 0 && name.to_bytes() == layout::COMPLETE.as_bytes() {
            self.complete = Some(Stamp::of(&stat));
        }
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            match self.stamped(name).filter(|_| depth == 0) {
                Some(stamp) => *stamp = Some(Stamp::of(&stat)),
                None => self.is_unstable = true,
            }
            return Ok(Visit::Descend);
        }
        let read = accessed(&stat);
        if kind == FileType::RegularFile && read > modified(&stat) {
            self.last_read = self.last_read.max(Some(read));
        }
        self.files += 1;
        self.bytes = self.bytes.saturating_add(fd::size(&stat));
        let allocated = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(BLOCK);
        self.allocated_bytes = self.allocated_bytes.saturating_add(allocated);
        Ok(Visit::Done)
    }

    fn left(&mut self, parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<()> {
        let after = fd::stat(parent, name).map(|stat| Stamp::of(&stat)).ok();
        self.is_unstable |= self.stamped(name).is_none_or(|before| *before != after);
        Ok(())
    }
}
