//! Removal: the only code that deletes, and only with proof that it may.
//!
//! An entry leaves its name by one rename to a sibling `.trash.{key}.{random}`, under the exclusive
//! pin and after a second look; the lock is released and the trash deleted at leisure. So no reader
//! sees half an entry, and `.complete` under a live name means whole at every instant and after any
//! crash. Only where the rename has no room (`ENOSPC`, `EDQUOT`) or cannot be (`EXDEV`, a mergerfs
//! that leaves the source behind) is the entry deleted in place, `.complete` first, under the lock.
#![allow(clippy::disallowed_methods, reason = "this is the module that may delete and rename")]

use std::ffi::{CStr, CString};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, FileType};
use rustix::io::{Errno, retry_on_intr};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::fd;
use crate::key::Key;
use crate::layout;
use crate::lock::{self, Claim, Exclusive};
use crate::parallel;
use crate::plan::{Forced, Reason};
use crate::problem::Problem;
use crate::progress::{Progress, Task};
use crate::root::{self, Root};
use crate::view::{self, Entry, State};
use crate::walk::{self, Buffer, Failure, Step, Visitor};

/// What a second look, under the lock, says of an entry.
pub(crate) enum Look {
    /// Still to be removed; as it is now.
    Remove(Entry),
    /// Not any more.
    Keep(Reason),
    /// Somebody else has removed it.
    Gone,
}

/// What became of an entry that was to be removed.
#[must_use]
pub(crate) enum Removal {
    /// It left its name; its files are in the trash, or already deleted where there is none.
    Removed { entry: Entry, trash: Option<CString> },
    /// It was gone.
    Gone,
    /// It stays.
    Kept(Reason),
    /// It could not be locked, looked at or removed.
    Failed(Problem),
}

/// What removing takes: without one of the two it does not compile.
enum Warrant {
    Locked(Exclusive),
    Forced(Key, #[allow(dead_code, reason = "having it is the point")] Forced),
}

/// Takes the entry `key` out of the cache if it is not pinned (or `force` says so) and if
/// `second_look` still wants it gone.
pub(crate) fn remove(
    root: &Root,
    key: Key,
    force: Option<Forced>,
    second_look: &mut dyn FnMut() -> Result<Look, Problem>,
) -> Removal {
    let claim = match lock::claim(root, key) {
        Ok(claim) => claim,
        Err(problem) => return Removal::Failed(problem),
    };
    match root.mounted() {
        Ok(mounted) if mounted.contains(root::os_name(&key.to_hex())) => {
            return Removal::Kept(Reason::Mounted);
        }
        Ok(_) => {}
        Err(problem) => return Removal::Failed(problem),
    }
    let claimed = match (claim, force) {
        (Claim::Locked(proof), _) => Ok(Warrant::Locked(proof)),
        (Claim::Pinned, Some(forced)) => Ok(Warrant::Forced(key, forced)),
        (Claim::Pinned, None) => return Removal::Kept(Reason::Pinned),
        (Claim::NoSpace(no_space), _) => Err(no_space),
    };
    let entry = match second_look() {
        Ok(Look::Remove(entry)) => entry,
        Ok(Look::Keep(reason)) => return Removal::Kept(reason),
        Ok(Look::Gone) => return Removal::Gone,
        Err(problem) => return Removal::Failed(problem),
    };
    if let Err(problem) = can_delete(root, key) {
        return Removal::Failed(problem);
    }
    let warrant = match claimed {
        Ok(warrant) => warrant,
        Err(no_space) => {
            let settled = unseal(root, key).and_then(|()| no_space.settle(root));
            match (settled, force) {
                // Not what was looked at without the lock: somebody found room meanwhile.
                (Ok(Claim::Locked(_)), _) if !is_unsealed(root, &entry) => {
                    return Removal::Kept(Reason::Changed);
                }
                (Ok(Claim::Locked(proof)), _) => Warrant::Locked(proof),
                (Ok(Claim::Pinned), Some(forced)) => Warrant::Forced(key, forced),
                (Ok(Claim::Pinned | Claim::NoSpace(_)), _) => {
                    return Removal::Kept(Reason::Pinned);
                }
                (Err(problem), _) => return Removal::Failed(problem),
            }
        }
    };
    match leave(root, warrant, &entry) {
        Ok(Left::Trashed(trash)) => Removal::Removed { entry, trash: Some(trash) },
        Ok(Left::Deleted) => Removal::Removed { entry, trash: None },
        Ok(Left::Gone) => Removal::Gone,
        Err(problem) => Removal::Failed(problem),
    }
}

/// Whether what is in the entry could be deleted once it has left its name: who may write the root but
/// not the entry would otherwise empty the cache and free nothing.
fn can_delete(root: &Root, key: Key) -> Result<(), Problem> {
    let name = key.to_string();
    for below in ["", layout::VIDEO, layout::SUBS] {
        let path = Path::new(&name).join(below);
        // What is no directory is unlinked, which asks nothing of it.
        let is_directory = fd::stat(root.fd(), &path)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
        let access = Access::WRITE_OK | Access::EXEC_OK;
        // Any other answer is the deletion's to find out.
        if is_directory
            && let Err(error @ Errno::ACCESS) =
                rustix::fs::accessat(root.fd(), &path, access, AtFlags::EACCESS)
        {
            let error = io::Error::from(error);
            return Err(Problem::new(root.path().join(path), "cannot delete in it", error));
        }
    }
    Ok(())
}

/// How an entry left its name.
enum Left {
    Trashed(CString),
    Deleted,
    Gone,
}

/// Takes an entry from its name. Consumes the warrant: the lock is released when it has left.
fn leave(root: &Root, warrant: Warrant, entry: &Entry) -> Result<Left, Problem> {
    let key = match &warrant {
        Warrant::Locked(proof) => proof.key(),
        Warrant::Forced(key, _) => *key,
    };
    let name = key.to_string();
    let trash = trash_name(root, key)?;
    let renamed = retry_on_intr(|| rustix::fs::renameat(root.fd(), &*name, root.fd(), &*trash));
    match (renamed, &warrant) {
        (Ok(()), _) => {}
        (Err(Errno::NOSPC | Errno::DQUOT | Errno::XDEV), Warrant::Locked(proof)) => {
            return delete_in_place(root, proof).map(|()| Left::Deleted);
        }
        (Err(Errno::NOENT), _) => return Ok(Left::Gone),
        (Err(error), _) => {
            let reason = io::Error::from(error);
            return Err(Problem::new(root.entry_path(key), "cannot rename to the trash", reason));
        }
    }
    // On mergerfs a rename can return 0 and leave (a branch of) the source behind. What has another
    // inode and no marker is a new entry, of a daemon that takes no locks: nobody seals that fast.
    let left_behind = view::glance(root, key)?
        .is_some_and(|now| now.identity == entry.identity || now.state == State::Sealed);
    if left_behind {
        match &warrant {
            Warrant::Locked(proof) => delete_in_place(root, proof)?,
            Warrant::Forced(..) => {
                let problem = "its name is still there after the rename, and it is in use";
                return Err(Problem::new(root.entry_path(key), "cannot remove", problem));
            }
        }
    }
    drop(warrant);
    Ok(Left::Trashed(trash))
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
pub(crate) fn delete_trash(
    root: &Root,
    trash: &[CString],
    progress: &dyn Progress,
) -> Vec<Result<(), Problem>> {
    if trash.is_empty() {
        return Vec::new();
    }
    progress.start(Task::Delete, trash.len());
    let results = parallel::map(trash, Buffer::new, |buffer, name| {
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
