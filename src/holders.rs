//! Which processes hold a pin, as far as the kernel tells. Nothing is made up: a process counts only
//! if `/proc/locks` names it and it still has the lockfile open.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::escape::Escaped;
use crate::fd;
use crate::key::Key;
use crate::layout;
use crate::root::Root;

/// A process that holds a pin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// Its process id, in this process's pid namespace.
    pub pid: u32,
    /// Its command name (at most 15 bytes, the kernel's limit); lossy.
    pub command: String,
}

impl fmt::Display for Holder {
    /// `mpv[1234]`; control characters of the name are escaped, since processes name themselves.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", Escaped::new(&self.command), self.pid)
    }
}

/// The holders of each pin of `keys`, in that order; an empty list where they cannot be known.
pub(crate) fn of_pins(root: &Root, keys: &[Key]) -> Vec<Vec<Holder>> {
    if keys.is_empty() {
        return Vec::new();
    }
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let locks: Vec<Lock> = locks.lines().filter_map(Lock::parse).collect();
    keys.iter()
        .map(|&key| {
            let Ok(stat) = fd::stat(root.fd(), &*layout::pin(key)) else { return Vec::new() };
            let mut holders: Vec<Holder> = locks
                .iter()
                .filter(|lock| lock.inode == stat.st_ino)
                .filter_map(|lock| identify(lock.pid, (stat.st_dev, stat.st_ino)))
                .collect();
            holders.sort_unstable();
            holders.dedup();
            holders
        })
        .collect()
}

/// A line of `/proc/locks` about a held flock. Its device number is not used: on btrfs and overlayfs
/// it is another than stat's.
#[derive(Debug, PartialEq, Eq)]
struct Lock {
    pid: u32,
    inode: u64,
}

impl Lock {
    /// `1: FLOCK  ADVISORY  READ  1234 08:02:5678 0 EOF`; a waiting process's line has `->` second.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace().skip(1);
        if fields.next() != Some("FLOCK") {
            return None;
        }
        let pid = fields.nth(2)?.parse().ok()?;
        let inode = fields.next()?.rsplit(':').next()?.parse().ok()?;
        Some(Self { pid, inode })
    }
}

/// The process `pid`, if it has the file open: the one that locked may have died and left the lock to
/// a child, and its number may be another's by now.
fn identify(pid: u32, file: (u64, u64)) -> Option<Holder> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let has_it = open
        .flatten()
        .filter_map(|link| fs::metadata(link.path()).ok())
        .any(|meta| (meta.dev(), meta.ino()) == file);
    let command = fs::read(format!("/proc/{pid}/comm")).ok()?;
    has_it.then(|| Holder {
        pid,
        command: String::from_utf8_lossy(command.trim_ascii_end()).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_held_flocks_are_read() {
        let lock = Lock::parse("1: FLOCK  ADVISORY  READ  1234 08:02:5678 0 EOF");
        assert_eq!(lock, Some(Lock { pid: 1234, inode: 5678 }));
        for line in [
            "",
            "1:",
            "1: -> FLOCK  ADVISORY  WRITE 1234 08:02:5678 0 EOF",
            "2: POSIX  ADVISORY  WRITE 1234 08:02:5678 0 EOF",
            "2: OFDLCK ADVISORY  WRITE -1 08:02:5678 0 EOF",
            "3: FLOCK  ADVISORY  WRITE -1 08:02:5678 0 EOF",
        ] {
            assert_eq!(Lock::parse(line), None, "{line}");
        }
    }
}
