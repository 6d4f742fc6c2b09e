//! The cache's root directory: resolved and opened once, so that everything a run does happens in
//! the directory it started with.

use std::collections::HashSet;
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::key::Key;
use crate::problem::Problem;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// The file system's size: `f_blocks × f_frsize`.
    pub total: u64,
    /// What an ordinary user could still write: `f_bavail × f_frsize`.
    pub available: u64,
}

impl Root {
    /// Opens the cache at `path`, which may be a symlink. Fails where it does not exist or is no
    /// directory: an unmounted disk must not look like an empty cache.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Problem> {
        let path = path.as_ref();
        let failed = |reason: std::io::Error| {
            let hint = match reason.kind() {
                std::io::ErrorKind::NotFound => "; is its disk mounted?",
                _ => "",
            };
            Problem::new(path, "cannot open the cache root", format!("{reason}{hint}"))
        };
        let resolved = std::fs::canonicalize(path).map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&resolved, flags, Mode::empty()).map_err(|e| failed(e.into()))?;
        let stat = rustix::fs::fstat(&fd).map_err(|e| failed(e.into()))?;
        Ok(Self { fd, path: resolved, uid: stat.st_uid, gid: stat.st_gid, mode: stat.st_mode })
    }

    /// The root's absolute path, free of symlinks.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Path of the entry `key`.
    pub fn entry_path(&self, key: Key) -> PathBuf {
        self.path.join(key.to_string())
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Reads how much space the file system has now.
    pub fn space(&self) -> Result<Space, Problem> {
        let vfs = rustix::fs::fstatvfs(&self.fd).map_err(|e| {
            Problem::new(&self.path, "cannot read the free space", std::io::Error::from(e))
        })?;
        Ok(Space {
            total: vfs.f_blocks.saturating_mul(vfs.f_frsize),
            available: vfs.f_bavail.saturating_mul(vfs.f_frsize),
        })
    }

    /// Waits until what was deleted is free: delayed allocation counts it only after that.
    pub(crate) fn sync(&self) -> rustix::io::Result<()> {
        rustix::fs::syncfs(&self.fd)
    }

    /// The names in the root with something mounted on or under them, from mountinfo: device
    /// numbers do not tell bind mounts of the same file system.
    pub(crate) fn mounted(&self) -> Result<HashSet<OsString>, Problem> {
        const MOUNTINFO: &str = "/proc/self/mountinfo";
        let table = std::fs::read(MOUNTINFO)
            .map_err(|e| Problem::new(MOUNTINFO, "cannot read what is mounted", e))?;
        Ok(mounted_under(&table, &self.path))
    }
}

/// First component below `root` of every mount point in the mountinfo `table`.
fn mounted_under(table: &[u8], root: &Path) -> HashSet<OsString> {
    table
        .split(|&byte| byte == b'\n')
        .filter_map(|line| line.split(|&byte| byte == b' ').nth(4))
        .filter_map(|point| {
            let point = PathBuf::from(OsString::from_vec(unescape(point)));
            let below = point.strip_prefix(root).ok()?;
            Some(below.components().next()?.as_os_str().to_owned())
        })
        .collect()
}

/// Undoes mountinfo's `\040` for the bytes that would break its lines.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        let octal = (byte == b'\\')
            .then(|| tail.get(..3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(octal.unwrap_or(byte));
        rest = if octal.is_some() { &tail[3..] } else { tail };
    }
    bytes
}

/// A name as the table of mounts has it.
pub(crate) fn os_name(name: &[u8]) -> &std::ffi::OsStr {
    std::ffi::OsStr::from_bytes(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_on_and_under_a_name_are_found_and_neighbours_are_not() {
        let table = b"36 35 98:0 / /srv/my\\040cache/aaaa rw - ext4 /dev/a rw\n\
            37 35 98:0 / /srv/my\\040cache/bbbb/video/deep rw - ext4 /dev/a rw\n\
            38 35 98:0 / /srv/my\\040cache2/cccc rw - ext4 /dev/a rw\n\
            39 35 98:0 / /srv/my\\040cache rw - ext4 /dev/a rw\n\
            garbage\n";
        let mounted = mounted_under(table, Path::new("/srv/my cache"));
        assert_eq!(mounted, HashSet::from(["aaaa".into(), "bbbb".into()]));
    }

    #[test]
    fn a_stray_backslash_stays() {
        assert_eq!(unescape(b"a\\134b\\9\\04"), b"a\\b\\9\\04");
    }
}
