//! Entries and trash: read in full, or by the entry's directory and marker alone.

use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;
use std::time::SystemTime;

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

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
    /// The probe failed; the view has the error.
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
    /// When a file in it was last read (by atime) after it was written; `None` if none was.
    pub last_read: Option<SystemTime>,
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
    let last_used = modified(&stat);
    Ok(Some(Entry {
        key,
        state: if tally.sealed { State::Sealed } else { State::Partial },
        files: tally.files,
        bytes: tally.bytes,
        allocated_bytes: tally.allocated_bytes,
        last_used,
        last_written: tally.last_written.unwrap_or(last_used),
        last_read: tally.last_read,
        identity: identity(&stat),
        pin: PinState::Free,
        open_in: Vec::new(),
        has_writer_lockfile: false,
        is_kept: false,
        goes_first: false,
    }))
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
    sealed: bool,
    files: u64,
    bytes: u64,
    allocated_bytes: u64,
    last_written: Option<SystemTime>,
    last_read: Option<SystemTime>,
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
        self.sealed |= depth == 0 && name.to_bytes() == layout::COMPLETE.as_bytes();
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
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
}
