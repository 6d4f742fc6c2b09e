//! Removal: the only code that deletes, and only with proof that it may.
//!
//! An entry leaves its name by one rename to a sibling `.trash.{key}.{random}`, under the exclusive
//! pin and after a second look; the lock is released and the trash deleted at leisure. So no reader
//! sees half an entry, and `.complete` under a live name means whole at every instant and after any
//! crash. Only where the rename has no room (`ENOSPC`, `EDQUOT`) or cannot be (`EXDEV`, a mergerfs
//! that leaves the source behind) is the entry deleted in place, `.complete` first, under the lock.
//!
//! A caller goes through three steps, and acts only if each lets it: [`Remover::claim`] the entry, look
//! at it again, [`Remover::take_out`] what was seen.
#![allow(clippy::disallowed_methods, reason = "this is the module that may delete and rename")]

use std::ffi::{CStr, CString};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, FileType, Mode, RenameFlags, Stat, StatxAttributes, StatxFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::fd;
use crate::key::Key;
use crate::layout;
use crate::lock::{self, Exclusive, NoSpace};
use crate::parallel;
use crate::plan::{Fate, Forced, Protection};
use crate::problem::Problem;
use crate::progress::{Progress, Task};
use crate::root::{self, Root};
use crate::view::{self, Entry, State};
use crate::walk::{self, Buffer, Failure, Step, Visitor};

/// A directory that this process may not delete in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Where, relative to the root.
    pub place: PathBuf,
    /// `EACCES`, `EROFS` (a read-only disk or snapshot) or `EPERM` (immutable, append-only, or a sticky
    /// directory).
    pub reason: Errno,
    /// The user whose directory it is.
    pub owner: u32,
}

impl Denied {
    /// As an error about one directory of `root`.
    pub(crate) fn problem(&self, root: &Root) -> Problem {
        let reason = io::Error::from(self.reason);
        Problem::new(root.path().join(&self.place), "cannot delete in it", reason)
    }
}

/// The right to take one entry out of its name.
#[must_use]
pub(crate) struct Claim {
    key: Key,
    warrant: Warrant,
}

/// What removing takes: without one of these it does not compile.
enum Warrant {
    Locked(Exclusive),
    Forced(#[allow(dead_code, reason = "having it is the point")] Forced),
    /// The pin does not exist, and the full disk has no room for it.
    NoRoom(NoSpace, Option<Forced>),
}

/// Removes entries, and deletes what has left its name when told to or when its room is needed.
pub(crate) struct Remover<'a> {
    root: &'a Root,
    progress: &'a dyn Progress,
    trash: Vec<Trashed>,
    freed_bytes: u64,
    problems: Vec<Problem>,
}

/// An entry that has left its name and is not deleted yet.
struct Trashed {
    name: CString,
    bytes: u64,
}

/// What a run's removals have come to.
#[derive(Debug, Default)]
pub(crate) struct Deleted {
    /// Bytes of the entries whose files are deleted.
    pub(crate) freed_bytes: u64,
    /// What could not be deleted.
    pub(crate) problems: Vec<Problem>,
}

impl<'a> Remover<'a> {
    pub(crate) fn new(root: &'a Root, progress: &'a dyn Progress) -> Self {
        Self { root, progress, trash: Vec::new(), freed_bytes: 0, problems: Vec::new() }
    }

    /// Locks the entry `key` for removal. It is `Kept` where somebody has pinned it, unless `force`
    /// says so, or where something is mounted in it.
    pub(crate) fn claim(&mut self, key: Key, force: Option<Forced>) -> Result<Claim, Fate> {
        let mut tried = lock::claim(self.root, key)?;
        if matches!(tried, lock::Claim::NoSpace(_)) && !self.trash.is_empty() {
            // What this run has removed is nearly always room enough for a lockfile.
            self.empty_trash();
            tried = lock::claim(self.root, key)?;
        }
        let warrant = match (tried, force) {
            (lock::Claim::Locked(exclusive), _) => Warrant::Locked(exclusive),
            (lock::Claim::Pinned, Some(forced)) => Warrant::Forced(forced),
            (lock::Claim::Pinned, None) => return Err(Fate::Kept(Protection::Pinned)),
            (lock::Claim::NoSpace(no_space), force) => Warrant::NoRoom(no_space, force),
        };
        // Something may have been mounted since the scan.
        if self.root.mounted()?.contains(root::os_name(&key.to_hex())) {
            return Err(Fate::Kept(Protection::Mounted));
        }
        Ok(Claim { key, warrant })
    }

    /// Takes `entry`, as it was seen after it was claimed, out of its name, and then releases the lock.
    pub(crate) fn take_out(&mut self, claim: Claim, entry: &Entry) -> Result<(), Fate> {
        let Claim { key, warrant } = claim;
        match warrant {
            Warrant::Locked(exclusive) => self.take_out_locked(&exclusive, entry),
            Warrant::Forced(_) => self.take_out_forced(entry),
            Warrant::NoRoom(no_space, force) => {
                self.take_out_without_room(key, no_space, force, entry)
            }
        }
    }

    fn take_out_locked(&mut self, exclusive: &Exclusive, entry: &Entry) -> Result<(), Fate> {
        match rename_out(self.root, entry.key)? {
            Renamed::To(trash) => self.trash.push(Trashed { name: trash, bytes: entry.bytes }),
            Renamed::NoRoom => return self.delete_in_place(exclusive, entry),
            Renamed::Absent => return Err(Fate::Absent),
        }
        if is_left_behind(self.root, entry)? {
            delete_in_place(self.root, exclusive)?;
        }
        Ok(())
    }

    /// By rename only: whoever holds the pin must not see the entry go piece by piece.
    fn take_out_forced(&mut self, entry: &Entry) -> Result<(), Fate> {
        let failed =
            |reason| Problem::new(self.root.entry_path(entry.key), "cannot remove", reason);
        match rename_out(self.root, entry.key)? {
            Renamed::To(trash) => self.trash.push(Trashed { name: trash, bytes: entry.bytes }),
            Renamed::NoRoom => {
                return Err(failed("it is in use, and the disk has no room to rename it").into());
            }
            Renamed::Absent => return Err(Fate::Absent),
        }
        if is_left_behind(self.root, entry)? {
            return Err(failed("it is in use, and still there after the rename").into());
        }
        Ok(())
    }

    /// The one exception to 'no lock, no removal': nobody can hold a pin that does not exist and that
    /// the full disk has no room for. But another user may have room left, or find some meanwhile, so
    /// nobody may take the entry for whole from here on, and the pin is asked for at every step.
    fn take_out_without_room(
        &mut self,
        key: Key,
        no_space: NoSpace,
        force: Option<Forced>,
        entry: &Entry,
    ) -> Result<(), Fate> {
        unseal(self.root, key)?;
        let exclusive = match no_space.settle(self.root)? {
            lock::Claim::Locked(exclusive) => exclusive,
            lock::Claim::Pinned | lock::Claim::NoSpace(_) => match force {
                Some(_) => return self.take_out_forced(entry),
                None => return Err(Fate::Kept(Protection::Pinned)),
            },
        };
        if exclusive.is_held() {
            // There is room by now, and what was looked at without the lock may have changed.
            if !is_unsealed(self.root, entry) {
                return Err(Fate::Kept(Protection::Changed));
            }
            return self.take_out_locked(&exclusive, entry);
        }
        let trash = match rename_out(self.root, key)? {
            Renamed::To(trash) => trash,
            Renamed::Absent => return Err(Fate::Absent),
            Renamed::NoRoom if lock::probe(self.root, key)? => {
                return Err(Fate::Kept(Protection::Pinned));
            }
            Renamed::NoRoom => return self.delete_in_place(&exclusive, entry),
        };
        if force.is_none() && lock::probe(self.root, key)? && rename_back(self.root, &trash, key)? {
            return Err(Fate::Kept(Protection::Pinned));
        }
        self.trash.push(Trashed { name: trash, bytes: entry.bytes });
        if is_left_behind(self.root, entry)? {
            delete_in_place(self.root, &exclusive)?;
        }
        Ok(())
    }

    fn delete_in_place(&mut self, exclusive: &Exclusive, entry: &Entry) -> Result<(), Fate> {
        delete_in_place(self.root, exclusive)?;
        self.freed_bytes = self.freed_bytes.saturating_add(entry.bytes);
        Ok(())
    }

    /// Deletes what has left its name.
    pub(crate) fn empty_trash(&mut self) {
        let trash = std::mem::take(&mut self.trash);
        let names: Vec<&CStr> = trash.iter().map(|trashed| &*trashed.name).collect();
        for (trashed, deleted) in trash.iter().zip(delete_trash(self.root, &names, self.progress)) {
            match deleted {
                Ok(()) => self.freed_bytes = self.freed_bytes.saturating_add(trashed.bytes),
                Err(problem) => self.problems.push(problem),
            }
        }
    }

    /// Deletes what has left its name, and says what all of it came to.
    pub(crate) fn finish(mut self) -> Deleted {
        self.empty_trash();
        Deleted { freed_bytes: self.freed_bytes, problems: self.problems }
    }
}

/// Whether this process might delete the directory `name` of the root and what is in it, as far as the
/// directories of an entry tell: whoever can write the root but not the entries would otherwise empty
/// the cache and free nothing, and an entry in a read-only snapshot would fail every later run from the
/// trash. A dry run asks, too.
pub(crate) fn check_may_delete(root: &Root, name: impl AsRef<Path>) -> Result<(), Fate> {
    let name = name.as_ref();
    for place in [Path::new("."), name, &name.join(layout::VIDEO), &name.join(layout::SUBS)] {
        // What is no directory is unlinked, which asks nothing of it.
        let Ok(stat) = fd::stat(root.fd(), place) else { continue };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory
            && let Some(reason) = refusal(root, place, &stat)
        {
            return Err(Fate::Denied(Denied { place: place.into(), reason, owner: stat.st_uid }));
        }
    }
    Ok(())
}

/// Why the kernel would refuse to delete in this directory, or the directory itself. Any answer but
/// these is the removal's to find out.
fn refusal(root: &Root, place: &Path, stat: &Stat) -> Option<Errno> {
    let access = Access::WRITE_OK | Access::EXEC_OK;
    let asked = rustix::fs::accessat(root.fd(), place, access, AtFlags::EACCESS);
    if let Err(error @ (Errno::ACCESS | Errno::ROFS | Errno::PERM)) = asked {
        return Some(error);
    }
    // What access(2) does not tell: names can be added there, and none taken away.
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let attributes = rustix::fs::statx(root.fd(), place, flags, StatxFlags::empty());
    if attributes.is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::APPEND)) {
        return Some(Errno::PERM);
    }
    let user = rustix::process::geteuid();
    let is_in_root = place.components().count() == 1 && place != Path::new(".");
    let is_others = |owner: u32| !user.is_root() && user.as_raw() != owner;
    let is_sticky = Mode::from_raw_mode(root.mode).contains(Mode::SVTX);
    (is_sticky && is_in_root && is_others(root.uid) && is_others(stat.st_uid))
        .then_some(Errno::PERM)
}

/// What renaming an entry to the trash came to.
enum Renamed {
    To(CString),
    /// The disk has no room for another name, or the file system cannot.
    NoRoom,
    Absent,
}

fn rename_out(root: &Root, key: Key) -> Result<Renamed, Problem> {
    let name = key.to_string();
    let trash = trash_name(root, key)?;
    match retry_on_intr(|| rustix::fs::renameat(root.fd(), &*name, root.fd(), &*trash)) {
        Ok(()) => Ok(Renamed::To(trash)),
        Err(Errno::NOSPC | Errno::DQUOT | Errno::XDEV) => Ok(Renamed::NoRoom),
        Err(Errno::NOENT) => Ok(Renamed::Absent),
        Err(error) => {
            let reason = io::Error::from(error);
            Err(Problem::new(root.entry_path(key), "cannot rename to the trash", reason))
        }
    }
}

/// Gives an entry its name back, unless another entry has it by now; whether it did.
fn rename_back(root: &Root, trash: &CStr, key: Key) -> Result<bool, Problem> {
    let name = key.to_string();
    let rename = |flags| {
        retry_on_intr(|| rustix::fs::renameat_with(root.fd(), trash, root.fd(), &*name, flags))
    };
    let renamed = match rename(RenameFlags::NOREPLACE) {
        // Not every file system has the flag; without it only an empty directory is replaced.
        Err(Errno::INVAL) => rename(RenameFlags::empty()),
        other => other,
    };
    match renamed {
        Ok(()) => Ok(true),
        // Anybody may have deleted it from the trash.
        Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOENT) => Ok(false),
        Err(error) => {
            let reason = io::Error::from(error);
            Err(Problem::new(root.entry_path(key), "cannot rename back", reason))
        }
    }
}

/// Whether the entry still has its name after the rename: on mergerfs a rename can return 0 and leave
/// (a branch of) the source behind. What has another inode and no marker is a new entry, of a daemon
/// that takes no locks: nobody seals that fast.
fn is_left_behind(root: &Root, entry: &Entry) -> Result<bool, Problem> {
    let now = view::glance(root, entry.key)?;
    Ok(now.is_some_and(|now| now.identity == entry.identity || now.state == State::Sealed))
}

fn trash_name(root: &Root, key: Key) -> Result<CString, Problem> {
    let failed =
        |reason: io::Error| Problem::new(root.entry_path(key), "cannot name its trash", reason);
    let mut random = [0; 8];
    retry_on_intr(|| getrandom(&mut random, GetRandomFlags::empty()))
        .map_err(|e| failed(e.into()))?;
    CString::new(layout::trash(key, u64::from_ne_bytes(random))).map_err(|e| failed(e.into()))
}

/// Unlinks `.complete`: from now on nobody takes the entry for whole.
fn unseal(root: &Root, key: Key) -> Result<(), Problem> {
    let path = || root.entry_path(key).join(layout::COMPLETE);
    let failed = |e: Errno| Problem::new(path(), "cannot unseal", io::Error::from(e));
    let entry = match fd::open_dir(root.fd(), &*key.to_string()) {
        Err(Errno::NOENT) => return Ok(()),
        other => other.map_err(failed)?,
    };
    match unlink(entry.as_fd(), layout::COMPLETE) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR) => delete_tree(entry.as_fd(), c".complete", &path(), &mut Buffer::new()),
        Err(error) => Err(failed(error)),
    }
}

/// Whether the name still leads to `entry`, and it has no marker (any more).
fn is_unsealed(root: &Root, entry: &Entry) -> bool {
    view::glance(root, entry.key).is_ok_and(|now| {
        now.is_some_and(|now| now.identity == entry.identity && now.state == State::Partial)
    })
}

/// Takes the lock itself as proof: who reads a pinned entry must not see it go piece by piece.
fn delete_in_place(root: &Root, proof: &Exclusive) -> Result<(), Problem> {
    let key = proof.key();
    unseal(root, key)?;
    let name = CString::new(key.to_hex()).unwrap_or_default();
    delete_tree(root.fd(), &name, &root.entry_path(key), &mut Buffer::new())
}

/// Deletes trash on several threads; one failure does not stop the others. The results are in the
/// order of the names.
pub(crate) fn delete_trash<N: AsRef<CStr> + Sync>(
    root: &Root,
    trash: &[N],
    progress: &dyn Progress,
) -> Vec<Result<(), Problem>> {
    if trash.is_empty() {
        return Vec::new();
    }
    progress.start(Task::Delete, trash.len());
    let results = parallel::map(trash, Buffer::new, |buffer, name| {
        let name = name.as_ref();
        let path = root.path().join(root::os_name(name.to_bytes()));
        let deleted = delete_tree(root.fd(), name, &path, buffer);
        progress.step();
        deleted
    });
    progress.finish();
    results
}

/// Deletes the directory `name` of `parent` and everything in it, as far as it goes. What somebody
/// else deletes meanwhile is as good.
fn delete_tree(
    parent: BorrowedFd<'_>,
    name: &CStr,
    path: &Path,
    buffer: &mut Buffer,
) -> Result<(), Problem> {
    /// Rounds while somebody still writes into the tree, or swaps what is in it.
    const ROUNDS: u32 = 3;
    let mut last = Failure { path: PathBuf::new(), error: Errno::NOTEMPTY };
    for _ in 0..ROUNDS {
        let mut deleter = Deleter::default();
        let walked = match fd::open_dir(parent, name) {
            Ok(top) => walk::walk(top, buffer, &mut deleter),
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => Err(Failure { path: PathBuf::new(), error }),
        };
        let emptied = walked.and(deleter.failure.map_or(Ok(()), Err));
        last = match (rmdir(parent, name), emptied) {
            (Ok(()) | Err(Errno::NOENT), _) => return Ok(()),
            (Err(_), Err(failure)) => failure,
            (Err(error), Ok(())) => Failure { path: PathBuf::new(), error },
        };
        if !matches!(last.error, Errno::NOTEMPTY | Errno::LOOP | Errno::NOTDIR) {
            break;
        }
    }
    Err(last.problem(path, "cannot delete"))
}

/// Deletes what a walk passes, remembering the first failure.
#[derive(Default)]
struct Deleter {
    failure: Option<Failure>,
}

impl Visitor for Deleter {
    fn name(
        &mut self,
        dir: BorrowedFd<'_>,
        _: usize,
        name: &CStr,
        kind: FileType,
    ) -> rustix::io::Result<Step> {
        if kind == FileType::Directory {
            return Ok(Step::Descend);
        }
        match unlink(dir, name) {
            Ok(()) => Ok(Step::Next),
            Err(Errno::ISDIR) => Ok(Step::Descend),
            Err(error) => Err(error),
        }
    }

    fn left(&mut self, parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<()> {
        rmdir(parent, name)
    }

    fn failed(&mut self, failure: Failure) -> ControlFlow<Failure> {
        self.failure.get_or_insert(failure);
        ControlFlow::Continue(())
    }
}

fn unlink(dir: BorrowedFd<'_>, name: impl rustix::path::Arg + Copy) -> rustix::io::Result<()> {
    retry_on_intr(|| rustix::fs::unlinkat(dir, name, AtFlags::empty()))
}

fn rmdir(dir: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<()> {
    retry_on_intr(|| rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR))
}
