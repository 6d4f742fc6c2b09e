//! The cache's root directory: resolved and opened once, so that everything a run does happens in
//! the directory it started with.

use std::collections::HashSet;
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::error::{Error, Operation, Reason};
use crate::key::Key;
use crate::sys::mounts::MountTable;

pub use crate::sys::mounts::Atime;

/// An open cache root.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    path: PathBuf,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u32,
}

/// Space on the root's file system, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// The file system's size: `f_blocks × f_frsize`.
    pub total: u64,
    /// Bytes that an ordinary user can still write: `f_bavail × f_frsize`. Stays 0 while root's reserve is
    /// partly used.
    pub available: u64,
    /// Unused bytes, root's reserve included: `f_bfree × f_frsize`.
    pub free: u64,
}

impl Root {
    /// Opens the cache at `path`, which may be a symlink. Fails if it does not exist or is not a directory:
    /// an unmounted disk must not look like an empty cache.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        Self::try_open(path).map_err(|reason| Error::new(Operation::OpenRoot, path, reason))
    }

    fn try_open(path: &Path) -> Result<Self, Reason> {
        let resolved = std::fs::canonicalize(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&resolved, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&fd)?;
        Ok(Self { fd, path: resolved, uid: stat.st_uid, gid: stat.st_gid, mode: stat.st_mode })
    }

    /// The root's absolute path, without symlinks.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Path of the entry `key`.
    pub fn entry_path(&self, key: Key) -> PathBuf {
        self.path.join(key.to_string())
    }

    /// How the mount of the root records read times.
    pub fn atime(&self) -> Atime {
        let table = MountTable::read().unwrap_or_default();
        table.of(&self.fd).map_or(Atime::Unknown, |mount| mount.atime)
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Reads how much space the file system has now.
    pub fn space(&self) -> Result<Space, Error> {
        let vfs = rustix::fs::fstatvfs(&self.fd)
            .map_err(|error| Error::new(Operation::ReadSpace, &self.path, error))?;
        Ok(Space {
            total: vfs.f_blocks.saturating_mul(vfs.f_frsize),
            available: vfs.f_bavail.saturating_mul(vfs.f_frsize),
            free: vfs.f_bfree.saturating_mul(vfs.f_frsize),
        })
    }

    /// Waits until the space of deleted files is free; file systems with delayed allocation count it only
    /// then.
    pub(crate) fn sync(&self) -> rustix::io::Result<()> {
        rustix::fs::syncfs(&self.fd)
    }

    /// The names in the root with something mounted on or under them.
    pub(crate) fn mounted(&self) -> Result<HashSet<OsString>, Error> {
        let table = MountTable::read()?;
        Ok(table.names_under(&self.path, table.of(&self.fd)).into_iter().collect())
    }
}

/// A name in the type that the mount table uses.
pub(crate) fn os_name(name: &[u8]) -> &std::ffi::OsStr {
    std::ffi::OsStr::from_bytes(name)
}
