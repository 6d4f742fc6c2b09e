//! Use that is visible without locks: another process has a file of an entry open or has its working
//! directory there. This shows daemons that take no locks, and every ffmpeg that is encoding.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::holders::{self, Holder};
use crate::key::Key;
use crate::root::Root;
use crate::sys::fd;
use crate::sys::processes::{self, Link, ProcessCount};

/// Before an entry is removed, a reading older than this is repeated. Reading the links of 500 processes
/// with 1,000 open files each takes about as long.
const STALE: Duration = Duration::from_secs(1);

/// Which entries other processes had open when `/proc` was read.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    users: HashMap<Key, Vec<Holder>>,
    processes: ProcessCount,
    read_at: Instant,
}

impl OpenFiles {
    /// Reads `/proc`. Call it before taking a lock: it can take a second, and a daemon waits no longer than
    /// that for the lock.
    pub(crate) fn read(root: &Root) -> Self {
        let (links, processes) = processes::links(|target| places(target).next().is_some());
        let mut users: HashMap<Key, Vec<Holder>> = HashMap::new();
        for link in links {
            for (key, below) in places(&link.target) {
                if leads_into(root, key, &below, &link)
                    && let Some(user) = holders::identify(link.pid)
                {
                    let users = users.entry(key).or_default();
                    if !users.contains(&user) {
                        users.push(user);
                    }
                }
            }
        }
        for users in users.values_mut() {
            users.sort_unstable();
        }
        // Measured from its end: a reading that took a second would be stale at once.
        Self { users, processes, read_at: Instant::now() }
    }

    /// The last reading, or a new one if there is none or it is too old to decide by.
    pub(crate) fn fresh<'r>(last: &'r mut Option<Self>, root: &Root) -> &'r Self {
        if last.as_ref().is_some_and(|open| open.read_at.elapsed() >= STALE) {
            *last = None;
        }
        last.get_or_insert_with(|| Self::read(root))
    }

    /// The processes that had a file of the entry open or their working directory in it.
    pub(crate) fn users(&self, key: Key) -> &[Holder] {
        self.users.get(&key).map_or(&[], Vec::as_slice)
    }

    /// How many processes could be examined.
    pub(crate) fn processes(&self) -> ProcessCount {
        self.processes
    }
}

/// The places in entries that a path of another process may refer to: the start of a path differs between
/// mount namespaces, but the part after the entry's name is the same in all.
fn places(target: &[u8]) -> impl Iterator<Item = (Key, PathBuf)> {
    let starts = target.iter().enumerate().filter(|&(_, &byte)| byte == b'/').map(|(at, _)| at + 1);
    starts.filter_map(|start| {
        let name = target.get(start..start + Key::LEN)?;
        let below = match target.get(start + Key::LEN) {
            None => &[][..],
            Some(b'/') => &target[start + Key::LEN + 1..],
            Some(_) => return None,
        };
        Some((Key::from_bytes(name)?, PathBuf::from(OsStr::from_bytes(below))))
    })
}

/// Whether the link leads to the file at that place in this cache's entry, and not to a file of the same
/// name elsewhere. Called only for links that match by name, so that a dead mount elsewhere cannot hang the
/// run.
fn leads_into(root: &Root, key: Key, below: &Path, link: &Link) -> bool {
    let here = fd::stat(root.fd(), &Path::new(&key.to_string()).join(below));
    here.is_ok_and(|here| {
        rustix::fs::stat(&link.path)
            .is_ok_and(|there| (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_an_entry_is_what_follows_a_key() {
        let found = |target: &[u8]| {
            let text = |(key, below): (Key, PathBuf)| format!("{key} {}", below.display());
            places(target).map(text).collect::<Vec<_>>()
        };
        assert_eq!(
            found(b"/srv/hls/0123456789abcdef/video/seg-1.m4s"),
            ["0123456789abcdef video/seg-1.m4s"]
        );
        assert_eq!(found(b"/in/a/container/0123456789abcdef"), ["0123456789abcdef "]);
        assert_eq!(
            found(b"/0123456789abcdef/fedcba9876543210/x"),
            ["0123456789abcdef fedcba9876543210/x", "fedcba9876543210 x"]
        );
        for none in [
            &b"socket:[123456789012345]"[..],
            b"/srv/hls/0123456789abcdef0/video",
            b"/srv/hls/0123456789ABCDEF/video",
            b"/srv/hls/.0123456789abcdef.pin",
            b"0123456789abcdef",
            b"",
        ] {
            assert_eq!(found(none), [""; 0], "{}", none.escape_ascii());
        }
    }

    #[test]
    fn this_process_is_no_user_of_its_own_entries() {
        let directory = tempfile::tempdir().unwrap();
        let key: Key = "0123456789abcdef".parse().unwrap();
        let path = directory.path().join(key.to_string());
        std::fs::create_dir(&path).unwrap();
        let _open = std::fs::File::open(&path).unwrap();
        let root = Root::open(directory.path()).unwrap();
        let open = OpenFiles::read(&root);
        assert_eq!(open.users(key), []);
        assert!(open.processes().seen > 0, "at least the test's parent");
    }
}
