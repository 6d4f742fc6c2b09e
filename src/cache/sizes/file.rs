//! The file that keeps the records, read and replaced.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use rustix::fs::{FileType, Mode, Stat};
use rustix::io::{Errno, retry_on_intr};

use super::record::{Record, Stamp};
use super::text;
use crate::key::Key;
use crate::layout::{NEW_SIZES, SIZES};
use crate::locks::{self, Held};
use crate::root::Root;
use crate::sys::fd;

/// Longer files are not read: a million entries take a fifth of it.
const LONGEST: u64 = 1 << 30;

/// The mode bits with which group and others may write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The records that a scan may believe. Empty where there are none, and then everything is measured.
#[derive(Clone, Debug, Default)]
pub struct Memory(Vec<Record>);

impl Memory {
    /// Reads `.sizes`. Empty for whatever reason it cannot be used: a scan does without.
    pub fn read(root: &Root) -> Self {
        Self(try_read(root).unwrap_or_default())
    }

    /// The same, but nothing of these entries, so that a scan measures them.
    #[must_use]
    pub fn without(mut self, keys: &[Key]) -> Self {
        self.0.retain(|record| !keys.contains(&record.key));
        self
    }

    pub(in crate::cache) fn get(&self, key: Key) -> Option<&Record> {
        self.0.binary_search_by_key(&key, |record| record.key).ok().map(|place| &self.0[place])
    }
}

fn try_read(root: &Root) -> Option<Vec<Record>> {
    if !notes_every_change(root) {
        return None;
    }
    let (file, size) = fd::open_regular(root.fd(), SIZES).ok()??;
    let stat = rustix::fs::fstat(&file).ok()?;
    if !is_trusted(&stat, root, rustix::process::geteuid().as_raw()) || size > LONGEST {
        return None;
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).ok()?;
    text::parse(&text)
}

/// Whether nobody but a maintainer of this cache can have written the file.
fn is_trusted(stat: &Stat, root: &Root, me: u32) -> bool {
    let is_ours = [0, me, root.uid].contains(&stat.st_uid);
    is_ours && stat.st_nlink == 1 && stat.st_mode & WRITABLE_BY_OTHERS == 0
}

/// Whether the file system is known to move a directory's ctime whenever a name in it comes or goes. Measured:
/// these do; mergerfs over two branches, FAT and FUSE do not. NFS is unknown.
fn notes_every_change(root: &Root) -> bool {
    const EXT: u64 = 0xef53;
    const XFS: u64 = 0x5846_5342;
    const BTRFS: u64 = 0x9123_683e;
    const TMPFS: u64 = 0x0102_1994;
    const OVERLAYFS: u64 = 0x794c_7630;
    let Ok(found) = rustix::fs::fstatfs(root.fd()) else { return false };
    u64::try_from(found.f_type)
        .is_ok_and(|kind| [EXT, XFS, BTRFS, TMPFS, OVERLAYFS].contains(&kind))
}

/// The file to come. It has no name before it is whole, so that a sweep that dies leaves nothing.
pub(crate) struct Draft {
    file: File,
    /// The file system's clock before the scan, in nanoseconds.
    clock: i128,
}

impl Draft {
    /// Begins a new file, before the entries are read. `None` where there can be none. Only one maintainer at a
    /// time replaces the file.
    pub(crate) fn begin(root: &Root, _: &Held) -> Option<Self> {
        if !notes_every_change(root) {
            return None;
        }
        let file = File::from(locks::create_nameless(root).ok()?);
        // Nobody needs to write to it, and what others can write to is not believed.
        let stat = rustix::fs::fstat(&file).ok()?;
        let mode = Mode::from_raw_mode(stat.st_mode & !WRITABLE_BY_OTHERS);
        rustix::fs::fchmod(&file, mode).ok()?;
        let clock = Stamp::of(&rustix::fs::fstat(&file).ok()?).changed;
        Some(Self { file, clock })
    }

    /// Puts what a scan has measured, and what it remembered, in the place of what is in the file, `known`. Costs
    /// nothing if they are the same. A failure is none: the next scan measures.
    pub(crate) fn save(self, root: &Root, known: &Memory, mut records: Vec<Record>) {
        let is_remembered = |record: &Record| known.get(record.key) == Some(record);
        records.retain(|record| is_remembered(record) || record.marks.are_quiet(self.clock));
        if records != known.0 {
            let _ = self.replace(root, &text::write(&records));
        }
    }

    fn replace(self, root: &Root, text: &str) -> io::Result<()> {
        (&self.file).write_all(text.as_bytes())?;
        if !(is_ours(root, SIZES)? && is_ours(root, NEW_SIZES)?) {
            return Err(Errno::EXIST.into());
        }
        if locks::give_name(root, self.file.as_fd(), NEW_SIZES) == Err(Errno::EXIST) {
            // A sweep died right after it had named its file, which is whole.
            rename(root)?;
            locks::give_name(root, self.file.as_fd(), NEW_SIZES)?;
        }
        Ok(rename(root)?)
    }
}

/// Whether the name is free, or a regular file's; anything else there is foreign.
fn is_ours(root: &Root, name: &str) -> rustix::io::Result<bool> {
    match fd::stat(root.fd(), name) {
        Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile),
        Err(Errno::NOENT) => Ok(true),
        Err(error) => Err(error),
    }
}

#[allow(clippy::disallowed_methods, reason = "replacing the file of sizes removes no entry")]
fn rename(root: &Root) -> rustix::io::Result<()> {
    retry_on_intr(|| rustix::fs::renameat(root.fd(), NEW_SIZES, root.fd(), SIZES))
}
