//! Appending to the log, and starting a new one.

use std::fmt;
use std::os::unix::fs::FileExt;

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

use super::Event;
use crate::error::{Error, Operation, Reason};
use crate::layout::{EVENTS_LOG, OLD_EVENTS_LOG};
use crate::locks::{self, Held};
use crate::root::Root;
use crate::sys::fd;

/// The log as one run writes it. Keeps the events that a full disk had no room for and tries once more when
/// the run has made room. A log that cannot be written to is one error, however many events are lost.
#[derive(Debug)]
#[must_use]
pub(crate) struct Journal<'a> {
    root: &'a Root,
    unlogged: Vec<Event>,
    /// The log ends in mid-line, so the next event needs a line feed before it.
    torn: bool,
}

impl<'a> Journal<'a> {
    pub(crate) fn new(root: &'a Root) -> Self {
        Self { root, unlogged: Vec::new(), torn: ends_in_mid_line(root) }
    }

    /// Logs `event` now, or when the journal is finished.
    pub(crate) fn append(&mut self, event: Event) {
        if self.try_append(&event).is_err() {
            self.unlogged.push(event);
        }
    }

    /// Tries once more to log the unlogged events; returns the first error.
    pub(crate) fn finish(mut self) -> Option<Error> {
        let unlogged = std::mem::take(&mut self.unlogged);
        let failed: Vec<Reason> =
            unlogged.iter().filter_map(|event| self.try_append(event).err()).collect();
        failed.into_iter().next().map(|reason| cannot_append(self.root, reason))
    }

    /// Creates the log like a lockfile if need be, so that a daemon of another user can append after
    /// root's cron has.
    fn try_append(&mut self, event: &impl fmt::Display) -> Result<(), Reason> {
        let log = open_to_append(self.root)?;
        let stat = rustix::fs::fstat(&log)?;
        // Refuse hard links: through one planted here we would write into another user's file.
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink > 1 {
            return Err(Reason::NotRegularWithOneName);
        }
        let line = format!("{}{event}\n", if self.torn { "\n" } else { "" });
        let written = retry_on_intr(|| rustix::io::write(&log, line.as_bytes()))?;
        self.torn = line.as_bytes()[..written].last().map_or(self.torn, |&byte| byte != b'\n');
        if written < line.len() { Err(Errno::NOSPC.into()) } else { Ok(()) }
    }
}

/// Appends a single event, an [`Event`] or a [`SweepEvent`], without a retry.
pub(crate) fn append(root: &Root, event: &impl fmt::Display) -> Result<(), Error> {
    Journal::new(root).try_append(event).map_err(|reason| cannot_append(root, reason))
}

fn cannot_append(root: &Root, reason: Reason) -> Error {
    Error::new(Operation::AppendEvent, root.path().join(EVENTS_LOG), reason)
}

/// Whether the last line was cut short, as by a full disk. False if the log cannot be read.
fn ends_in_mid_line(root: &Root) -> bool {
    let mut last = [b'\n'];
    if let Ok(Some((log, size))) = fd::open_regular(root.fd(), EVENTS_LOG) {
        let _ = log.read_at(&mut last, size.saturating_sub(1));
    }
    last != [b'\n']
}

/// In bytes. A larger log is rotated; this holds a million events, which `stats` reads in 0.2 s.
pub(crate) const LARGE_LOG: u64 = 64 << 20;

/// Renames a log of more than `large` bytes, replacing the old log. Requires the maintenance lock: two
/// processes rotating at once could replace the old log with an empty one.
pub(crate) fn rotate(root: &Root, large: u64, _maintenance: &Held) -> Result<(), Error> {
    try_rotate(root, large).map_err(|reason| {
        Error::new(Operation::RotateEventLog, root.path().join(OLD_EVENTS_LOG), reason)
    })
}

#[allow(clippy::disallowed_methods, reason = "renaming the log removes no entry")]
pub(super) fn try_rotate(root: &Root, large: u64) -> Result<(), Reason> {
    let stat = |name| match fd::stat(root.fd(), name) {
        Err(Errno::NOENT) => Ok(None),
        found => found.map(Some),
    };
    let is_regular = |stat: &Stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    let is_due = |log: &Stat| is_regular(log) && log.st_nlink == 1 && fd::size(log) > large;
    if !stat(EVENTS_LOG)?.is_some_and(|log| is_due(&log)) {
        return Ok(());
    }
    if stat(OLD_EVENTS_LOG)?.is_some_and(|old| !is_regular(&old)) {
        return Err(Reason::NotRegular);
    }
    retry_on_intr(|| rustix::fs::renameat(root.fd(), EVENTS_LOG, root.fd(), OLD_EVENTS_LOG))?;
    Ok(())
}

fn open_to_append(root: &Root) -> rustix::io::Result<rustix::fd::OwnedFd> {
    let flags =
        OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let open = || retry_on_intr(|| rustix::fs::openat(root.fd(), EVENTS_LOG, flags, Mode::empty()));
    match open() {
        Err(Errno::NOENT) => match locks::create(root, EVENTS_LOG) {
            // Open it again, because the created descriptor does not append.
            Ok(_) | Err(Errno::EXIST) => open(),
            Err(error) => Err(error),
        },
        other => other,
    }
}
