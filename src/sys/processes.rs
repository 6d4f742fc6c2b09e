//! The files that other processes have open, from the links in `/proc`. Reading a link accesses no other file
//! system; following it does and can hang on a dead mount, so that is left to the caller.

use std::ffi::CStr;
use std::fs;
use std::mem::MaybeUninit;
use std::path::PathBuf;

use rustix::fs::{CWD, Mode, OFlags, RawDir};
use rustix::io::{Errno, retry_on_intr};

use super::parallel;

/// A link of a process to a file or directory that it has open, or to its working directory.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) pid: u32,
    /// The link's path in `/proc`; following it opens the file itself.
    pub(crate) path: PathBuf,
    /// The file's path as that process sees it.
    pub(crate) target: Vec<u8>,
}

/// How many processes could be examined. Excludes kernel threads, which have nothing open, and this
/// process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessCount {
    /// Processes that this one can see.
    pub seen: u64,
    /// Of these, the ones whose open files this user may not inspect.
    pub unreadable: u64,
}

/// Bytes for one link: the kernel returns at most a page.
const PAGE: usize = 4096;
/// Bytes for a few hundred descriptor names.
const NAMES: usize = 8192;

struct Scratch {
    names: Vec<MaybeUninit<u8>>,
    target: Vec<MaybeUninit<u8>>,
}

/// Reads the links of every other process, and keeps those whose target `is_wanted`.
pub(crate) fn links(is_wanted: impl Fn(&[u8]) -> bool + Sync) -> (Vec<Link>, ProcessCount) {
    let own = std::process::id();
    let names = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids: Vec<u32> = names
        .filter_map(|name| name.file_name().to_str()?.parse().ok())
        .filter(|&pid| pid != own)
        .collect();
    let scratch = || Scratch {
        names: vec![MaybeUninit::uninit(); NAMES],
        target: vec![MaybeUninit::uninit(); PAGE],
    };
    let read = parallel::map(&pids, scratch, |scratch, &pid| links_of(pid, scratch, &is_wanted));
    let (mut links, mut count) = (Vec::new(), ProcessCount::default());
    for (pid, found) in pids.into_iter().zip(read) {
        match found {
            Ok(found) => {
                count.seen += 1;
                links.extend(found);
            }
            Err(Errno::ACCESS | Errno::PERM) if !is_kernel_thread(pid) => {
                count.seen += 1;
                count.unreadable += 1;
            }
            // It has ended, or is a kernel thread.
            Err(_) => {}
        }
    }
    (links, count)
}

fn links_of(
    pid: u32,
    scratch: &mut Scratch,
    is_wanted: &(impl Fn(&[u8]) -> bool + Sync),
) -> Result<Vec<Link>, Errno> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open =
        |path: &PathBuf| retry_on_intr(|| rustix::fs::openat(CWD, path, flags, Mode::empty()));
    let (fds, cwd) = (process.join("fd"), process.join("cwd"));
    let directory = open(&fds)?;
    let mut links = Vec::new();
    let mut keep = |path: PathBuf, target: &[u8]| {
        if is_wanted(target) {
            links.push(Link { pid, path, target: target.to_vec() });
        }
    };
    match rustix::fs::readlinkat_raw(CWD, &cwd, &mut scratch.target[..]) {
        Ok((target, _)) => keep(cwd, target),
        // If a process of this user has more capabilities or is in another user namespace, its descriptors
        // can be listed, but their links cannot be read.
        Err(denied @ (Errno::ACCESS | Errno::PERM)) => return Err(denied),
        Err(_) => {}
    }
    let mut names = RawDir::new(&directory, &mut scratch.names);
    while let Some(entry) = names.next() {
        let Ok(entry) = entry else { break };
        let name: &CStr = entry.file_name();
        if name.to_bytes().starts_with(b".") {
            continue;
        }
        let read = rustix::fs::readlinkat_raw(&directory, name, &mut scratch.target[..]);
        if let (Ok((target, _)), Ok(name)) = (read, name.to_str()) {
            keep(fds.join(name), target);
        }
    }
    Ok(links)
}

/// Ordinary users may not list the open files of kernel threads, although there are none.
fn is_kernel_thread(pid: u32) -> bool {
    const PF_KTHREAD: u32 = 0x0020_0000;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    flags(&stat).is_some_and(|flags| flags & PF_KTHREAD != 0)
}

/// The kernel's flags of a process, from its `stat`.
fn flags(stat: &str) -> Option<u32> {
    // The name in parentheses may hold anything; the flags are the seventh field after it.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(6)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::mutated::mutated_text;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_name_of_a_process_hides_its_flags(name in "\\PC{0,15}", parent: u32, wanted: u32) {
            let stat = format!("7 ({name}) S {parent} 7 7 0 -1 {wanted} 0 0 0 0 20 0 1 0\n");
            prop_assert_eq!(flags(&stat), Some(wanted));
        }

        #[test]
        fn no_stat_makes_the_reader_panic(
            stat in mutated_text("7 (kworker/0:1) S 2 0 0 0 -1 69238880 0 0 0 0 20 0 1 0\n"), text: String,
        ) {
            flags(&stat);
            flags(&text);
        }
    }
}
