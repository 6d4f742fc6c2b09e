//! Descriptor-relative file access that never follows a symlink, never blocks and never crosses a mount: if
//! an attacker swaps a directory for a symlink in mid-run, the access fails.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::{Errno, retry_on_intr};
use rustix::path::Arg;

/// Opens the directory `name` in `parent`. Fails with `ELOOP`/`ENOTDIR` if it is not a directory, with
/// `EXDEV` if something is mounted on it.
pub(crate) fn open_dir<P: Arg + Copy>(parent: impl AsFd, name: P) -> rustix::io::Result<OwnedFd> {
    let parent = parent.as_fd();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let beneath = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    match retry_on_intr(|| rustix::fs::openat2(parent, name, flags, Mode::empty(), beneath)) {
        // Linux before 5.6, and sandboxes that filter the call; the caller has checked mountinfo.
        Err(Errno::NOSYS | Errno::PERM) => {
            retry_on_intr(|| rustix::fs::openat(parent, name, flags, Mode::empty()))
        }
        other => other,
    }
}

/// Opens the directory `name` in `parent` like [`open_dir`]; `None` if there is no such name (any more) or
/// it is not a directory.
pub(crate) fn find_dir<P: Arg + Copy>(
    parent: impl AsFd,
    name: P,
) -> rustix::io::Result<Option<OwnedFd>> {
    match open_dir(parent, name) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => Err(error),
    }
}

/// `lstat` of `name` in `parent`.
pub(crate) fn stat<P: Arg + Copy>(parent: impl AsFd, name: P) -> rustix::io::Result<Stat> {
    let parent = parent.as_fd();
    retry_on_intr(|| rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW))
}

/// Opens `name` in `parent` for reading if it is a regular file; `None` if it is anything else. Returns the
/// size in bytes with it.
pub(crate) fn open_regular<P: Arg + Copy>(
    parent: impl AsFd,
    name: P,
) -> rustix::io::Result<Option<(File, u64)>> {
    let parent = parent.as_fd();
    // NONBLOCK: opening a FIFO that nobody writes to would hang the run.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let open = |flags| retry_on_intr(|| rustix::fs::openat(parent, name, flags, Mode::empty()));
    // NOATIME: a read by this tool must not look like a viewer's. Only the file's owner may use it.
    let opened = match open(flags | OFlags::NOATIME) {
        Err(Errno::PERM) => open(flags),
        other => other,
    };
    let fd = match opened {
        Ok(fd) => fd,
        // A symlink, a socket, or a device without a driver.
        Err(Errno::LOOP | Errno::NXIO | Errno::NODEV) => return Ok(None),
        Err(error) => return Err(error),
    };
    let stat = rustix::fs::fstat(&fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    Ok(Some((File::from(fd), size(&stat))))
}

/// `st_size`, which the kernel types as signed and never makes negative.
pub(crate) fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}
