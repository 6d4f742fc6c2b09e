//! An entry being written.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::Pin;
use super::discard::{finish, remove_partial};
use crate::cache::identity;
use crate::error::{Error, Operation};
use crate::key::Key;
use crate::layout;
use crate::locks::Held;
use crate::removal::Remover;
use crate::sys::fd;

/// The right to write an entry, which it pins. If it is dropped without [`Writer::seal`], the entry stays
/// partial, and a later session may reuse its segments.
#[derive(Debug)]
#[must_use]
pub struct Writer {
    pub(super) pin: Pin,
    /// Held since mkdir, so that the marker cannot land in another directory of that name.
    pub(super) directory: OwnedFd,
    pub(super) lock: Held,
    /// The error of writing back the segments. The kernel reports it once; a second `syncfs` would succeed.
    pub(super) lost: Option<Errno>,
}

/// The error of sealing, with the writer. The caller can serve what was written, remove it with
/// [`Writer::discard`], seal again when the disk has room, or drop this and leave the segments to a later
/// session. The entry stays pinned for as long as this lives.
#[derive(Debug, thiserror::Error)]
#[error("the entry {} is not sealed", .writer.key())]
pub struct SealError {
    /// The writer of the entry, which is partial.
    pub writer: Writer,
    /// What failed.
    #[source]
    pub error: Error,
}

impl From<SealError> for Error {
    /// Drops the writer.
    fn from(failed: SealError) -> Self {
        failed.error
    }
}

impl Writer {
    /// The entry's key.
    pub fn key(&self) -> Key {
        self.pin.key
    }

    /// The entry's directory.
    pub fn path(&self) -> &Path {
        &self.pin.path
    }

    /// Seals the entry, whose segments must be written and closed, and becomes its reader. Blocks until the
    /// disk has written all data that is still in memory, including other programs': seconds to minutes.
    ///
    /// Everything is on disk before the marker is: without that, a power cut 7 s later left a sealed entry
    /// with every segment wrong. For the same reason this never seals an entry once writing it back has
    /// failed.
    pub fn seal(mut self) -> Result<Pin, SealError> {
        match self.mark_complete() {
            Ok(()) => Ok(self.pin),
            Err(errno) => {
                let error = Error::new(Operation::Seal, &self.pin.path, errno);
                Err(SealError { writer: self, error })
            }
        }
    }

    fn mark_complete(&mut self) -> rustix::io::Result<()> {
        let Self { pin, directory, lost, .. } = self;
        if lost.is_none() {
            *lost = retry_on_intr(|| rustix::fs::syncfs(&*directory)).err();
        }
        if let Some(error) = *lost {
            return Err(error);
        }
        let named = fd::stat(pin.root.fd(), &*pin.key.to_string())?;
        let written = rustix::fs::fstat(&*directory)?;
        if identity(&named) != identity(&written) {
            return Err(Errno::STALE);
        }
        // NONBLOCK: a FIFO of that name would hang the daemon.
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o666);
        retry_on_intr(|| rustix::fs::openat(&*directory, layout::COMPLETE, flags, mode))?;
        Ok(())
    }

    /// Removes the entry after a failed encode. Returns whether it is gone: it stays if another process
    /// reads it or has replaced it. Blocks for up to 100 ms ([`PATIENCE`](crate::locks::PATIENCE)), and for
    /// as long as it takes to delete the files.
    ///
    /// After an error the entry may still exist as partial, or be in the trash with some of its files. The
    /// writer is not returned, because removal requires releasing the pin;
    /// [`Cache::start`](super::Cache::start) makes a new one for the remaining entry. Otherwise
    /// `gc-orphans` removes the entry, and any sweep deletes the trash.
    pub fn discard(self) -> Result<bool, Error> {
        let Self { pin: Pin { root, key, held, .. }, directory, lock: _lock, .. } = self;
        let written = rustix::fs::fstat(&directory)
            .map_err(|e| Error::new(Operation::Read, root.entry_path(key), e))?;
        drop(held);
        let mut remover = Remover::new(&root, &());
        let result = remove_partial(&mut remover, &root, key, identity(&written));
        finish(remover, result)
    }
}
