//! The processes that hold a lock, as far as the kernel shows them. A process counts only if `/proc/locks`
//! names it and it still has the locked file open.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::fs;

use crate::escape::Escaped;
use crate::key::Key;
use crate::layout;
use crate::root::Root;
use crate::sys::fd;
use crate::sys::mounts::{Device, MountTable};

/// A process that holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// Process id in the pid namespace of this process.
    pub pid: u32,
    /// Command name (at most 15 bytes, the kernel's limit), converted lossily to UTF-8.
    pub command: String,
}

impl fmt::Display for Holder {
    /// `mpv[1234]`. Control characters in the name are escaped, since a process can choose its name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", Escaped::new(&self.command), self.pid)
    }
}

/// The holders of each pin of `keys`, in that order; an empty list where they are unknown.
pub(crate) fn of_pins(root: &Root, keys: &[Key]) -> Vec<Vec<Holder>> {
    of_lockfiles(root, keys.iter().map(|&key| layout::pin(key)))
}

/// The process that holds the maintenance lock; empty where it is unknown.
pub(crate) fn of_maintenance_lock(root: &Root) -> Vec<Holder> {
    of_lockfiles(root, [layout::MAINTENANCE_LOCK.into()]).into_iter().flatten().collect()
}

/// The holders of the lock on each of these files. Reads each process once, however many locks it holds.
fn of_lockfiles(root: &Root, names: impl IntoIterator<Item = String>) -> Vec<Vec<Holder>> {
    /// How often to read `/proc/locks` until every lock is found. The kernel returns the list page by page
    /// and continues by position, so a list that shrinks meanwhile lacks locks that are held: measured, in
    /// 2 of 300 readings beside a process that takes and releases 300 locks.
    const READS: u32 = 3;
    let inode = |name: String| fd::stat(root.fd(), &*name).ok().map(|stat| stat.st_ino);
    let inodes: Vec<Option<u64>> = names.into_iter().map(inode).collect();
    let mut holders: HashMap<u64, Vec<Holder>> =
        inodes.iter().flatten().map(|&inode| (inode, Vec::new())).collect();
    if holders.is_empty() {
        return vec![Vec::new(); inodes.len()];
    }
    let devices = devices(root);
    let mut suspects: BTreeMap<u32, HashSet<Lock>> = BTreeMap::new();
    let mut unknown: HashSet<u64> = holders.keys().copied().collect();
    for _ in 0..READS {
        let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
        for lock in locks.lines().filter_map(Lock::parse) {
            if devices.contains(&lock.device) && holders.contains_key(&lock.inode) {
                unknown.remove(&lock.inode);
                suspects.entry(lock.pid).or_default().insert(lock);
            }
        }
        if unknown.is_empty() {
            break;
        }
    }
    for (pid, locks) in suspects {
        let held = held_by(pid);
        let Some(holder) = identify(pid) else { continue };
        let inodes: HashSet<u64> = locks.intersection(&held).map(|lock| lock.inode).collect();
        for inode in inodes {
            holders.entry(inode).or_default().push(holder.clone());
        }
    }
    let of_inode = |inode| holders.get(&inode).cloned().unwrap_or_default();
    inodes.into_iter().map(|inode| inode.map(of_inode).unwrap_or_default()).collect()
}

/// The device numbers that the kernel may use for the root in its lists of locks: the one of `stat` and the
/// one of mountinfo, which differ on btrfs and overlayfs.
fn devices(root: &Root) -> Vec<Device> {
    let stat = rustix::fs::fstat(root.fd()).ok();
    let of_stat = stat.map(|stat| (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev)));
    let table = MountTable::read().unwrap_or_default();
    let of_mount = table.of(root.fd()).map(|mount| mount.device);
    of_stat.into_iter().chain(of_mount).collect()
}

/// A held flock, from a line of `/proc/locks` or of a `fdinfo` file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Lock {
    pid: u32,
    device: Device,
    inode: u64,
}

impl Lock {
    /// `1: FLOCK  ADVISORY  READ  1234 08:02:5678 0 EOF`. The line of a waiting process has `->` as its
    /// second field and is not parsed.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace().skip(1);
        if fields.next() != Some("FLOCK") {
            return None;
        }
        let pid = fields.nth(2)?.parse().ok()?;
        let mut file = fields.next()?.split(':');
        let mut part = || u32::from_str_radix(file.next()?, 16).ok();
        let device = (part()?, part()?);
        let inode = file.next()?.parse().ok()?;
        Some(Self { pid, device, inode })
    }
}

/// The flocks on the files that the process has open. `/proc/locks` alone is not enough: the process that
/// locked may have died and left the lock to a child, and its pid may have been reused. Reads `fdinfo`
/// rather than `stat`ing `fd/*`, which would access every file system the process uses and could hang.
fn held_by(pid: u32) -> HashSet<Lock> {
    let open = fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
    let mut locks = HashSet::new();
    for info in open.filter_map(|file| fs::read_to_string(file.path()).ok()) {
        locks.extend(locks_in(&info));
    }
    locks
}

/// The flocks in the `fdinfo` of an open file.
fn locks_in(fdinfo: &str) -> impl Iterator<Item = Lock> {
    let lines = fdinfo.lines().filter_map(|line| line.strip_prefix("lock:"));
    lines.filter_map(|line| Lock::parse(line.trim_start()))
}

/// The process `pid` with its command name; `None` if it has ended.
pub(super) fn identify(pid: u32) -> Option<Holder> {
    let command = fs::read(format!("/proc/{pid}/comm")).ok()?;
    let command = String::from_utf8_lossy(command.trim_ascii_end()).into_owned();
    Some(Holder { pid, command })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::mutated::mutated_text;
    use proptest::prelude::*;
    use rustix::fs::FlockOperation;

    #[test]
    fn only_held_flocks_are_read() {
        let lock = Lock::parse("1: FLOCK  ADVISORY  READ  1234 08:1a:5678 0 EOF");
        assert_eq!(lock, Some(Lock { pid: 1234, device: (8, 26), inode: 5678 }));
        for line in [
            "",
            "1:",
            "1: -> FLOCK  ADVISORY  WRITE 1234 08:02:5678 0 EOF",
            "2: POSIX  ADVISORY  WRITE 1234 08:02:5678 0 EOF",
            "2: OFDLCK ADVISORY  WRITE -1 08:02:5678 0 EOF",
            "3: FLOCK  ADVISORY  WRITE -1 08:02:5678 0 EOF",
            "3: FLOCK  ADVISORY  WRITE 1234 08:5678 0 EOF",
        ] {
            assert_eq!(Lock::parse(line), None, "{line}");
        }
    }

    #[test]
    fn each_pin_that_a_process_holds_names_it_and_one_that_it_only_opened_does_not() {
        /// Fewer than the descriptors that a process may have.
        const PINS: u64 = 400;
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path()).unwrap();
        let keys: Vec<Key> =
            (0..PINS).map(|number| format!("{number:016x}").parse().unwrap()).collect();
        let pins: Vec<fs::File> = keys
            .iter()
            .map(|&key| fs::File::create(directory.path().join(layout::pin(key))).unwrap())
            .collect();
        for pin in &pins[1..] {
            rustix::fs::flock(pin, FlockOperation::NonBlockingLockShared).unwrap();
        }
        let holders = of_pins(&root, &keys);
        assert_eq!(holders[0], []);
        for holders in &holders[1..] {
            assert_eq!(holders.iter().map(|h| h.pid).collect::<Vec<_>>(), [std::process::id()]);
        }
    }

    proptest! {
        #[test]
        fn every_flock_is_read_as_the_kernel_writes_it(pid: u32, major: u32, minor: u32, inode: u64) {
            let lock = Lock { pid, device: (major, minor), inode };
            let line = format!("1: FLOCK  ADVISORY  WRITE {pid} {major:02x}:{minor:02x}:{inode} 0 EOF");
            prop_assert_eq!(Lock::parse(&line), Some(lock));
            let fdinfo = format!("pos:\t0\nflags:\t0100002\nmnt_id:\t29\nino:\t5\nlock:\t{line}\n");
            prop_assert_eq!(locks_in(&fdinfo).collect::<Vec<_>>(), [lock]);
        }

        #[test]
        fn a_changed_line_never_panics_and_one_of_another_kind_is_no_flock(
            line in mutated_text("1: FLOCK  ADVISORY  WRITE 1234 08:02:5678 0 EOF"), text: String,
        ) {
            let lock = Lock::parse(&line);
            prop_assert!(lock.is_none() || line.contains("FLOCK"));
            Lock::parse(&text);
            locks_in(&format!("lock:\t{text}\nlock:{line}")).for_each(drop);
        }
    }
}
