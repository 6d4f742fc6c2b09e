//! A pinned entry.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

use super::Busy;
use super::discard::finish;
use crate::error::Error;
use crate::key::Key;
use crate::locks::{self, Held};
use crate::maintain;
use crate::removal::Remover;
use crate::root::Root;
use crate::sys::walk::Buffer;
use crate::verify::Checks;

/// A pinned entry: no maintainer removes it until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Pin {
    pub(super) root: Arc<Root>,
    pub(super) key: Key,
    pub(super) path: PathBuf,
    pub(super) held: Held,
}

impl Pin {
    /// The entry's key.
    pub fn key(&self) -> Key {
        self.key
    }

    /// The entry's directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Marks the entry as used now. Ignores failures: the entry is evicted a little early. Blocks for one
    /// system call.
    pub fn touch(&self) {
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let unchanged = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let times = Timestamps { last_access: unchanged, last_modification: now };
        let name = self.key.to_string();
        let _ = rustix::fs::utimensat(self.root.fd(), &*name, &times, AtFlags::SYMLINK_NOFOLLOW);
    }

    /// Removes the entry if it is damaged and no other process uses it. Returns whether it is gone. Blocks
    /// as [`Cache::verify`](super::Cache::verify) and [`Writer::discard`](super::Writer::discard) do
    /// together.
    pub fn discard_damaged(self, checks: Checks) -> Result<bool, Error> {
        // Take the writer's lock first, so that nobody writes into the entry during its removal.
        let _lock = match locks::writer(&self.root, self.key)? {
            Ok(lock) => lock,
            Err(Busy::Locked) => return Ok(false),
            Err(Busy::CannotWrite(error)) => return Err(error),
        };
        let Self { root, key, held, .. } = self;
        // Close the shared lock instead of upgrading it: a failed upgrade would lose it, too.
        drop(held);
        let mut remover = Remover::new(&root, &());
        let buffer = &mut Buffer::new();
        let result = maintain::remove_if_damaged(&mut remover, &root, key, checks, buffer);
        finish(remover, result)
    }
}
