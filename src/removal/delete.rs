//! Deleting directory trees: trash, and entries that cannot be renamed.
#![allow(clippy::disallowed_methods, reason = "this is the module that deletes")]

use std::ffi::CStr;
use std::ops::ControlFlow;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType};
use rustix::io::{Errno, retry_on_intr};

use crate::error::{Error, Operation};
use crate::progress::{Progress, Task};
use crate::root::{self, Root};
use crate::sys::walk::{self, Buffer, Visit, Visitor, WalkError};
use crate::sys::{fd, parallel};

/// Deletes trash on several threads; one failure does not stop the others. The results are in the
/// order of the names.
pub(crate) fn delete_trash<N: AsRef<CStr> + Sync>(
    root: &Root,
    trash: &[N],
    progress: &dyn Progress,
) -> Vec<Result<(), Error>> {
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

/// Deletes the directory `name` of `parent` and everything in it, and continues after a failure. A file
/// that another process deletes meanwhile is not a failure.
pub(super) fn delete_tree(
    parent: BorrowedFd<'_>,
    name: &CStr,
    path: &Path,
    buffer: &mut Buffer,
) -> Result<(), Error> {
    /// How often to try while another process still writes into the tree or swaps directories in it.
    const ROUNDS: u32 = 3;
    let mut last = WalkError { path: PathBuf::new(), error: Errno::NOTEMPTY };
    for _ in 0..ROUNDS {
        let mut deleter = Deleter::default();
        let walked = match fd::open_dir(parent, name) {
            Ok(top) => walk::walk(top, buffer, &mut deleter),
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => Err(WalkError { path: PathBuf::new(), error }),
        };
        let emptied = walked.and(deleter.failure.map_or(Ok(()), Err));
        last = match (rmdir(parent, name), emptied) {
            (Ok(()) | Err(Errno::NOENT), _) => return Ok(()),
            (Err(_), Err(failure)) => failure,
            (Err(error), Ok(())) => WalkError { path: PathBuf::new(), error },
        };
        if !matches!(last.error, Errno::NOTEMPTY | Errno::LOOP | Errno::NOTDIR) {
            break;
        }
    }
    Err(last.into_error(Operation::Delete, path))
}

/// Deletes everything that a walk visits and keeps the first failure.
#[derive(Default)]
struct Deleter {
    failure: Option<WalkError>,
}

impl Visitor for Deleter {
    fn name(
        &mut self,
        dir: BorrowedFd<'_>,
        _: usize,
        name: &CStr,
        kind: FileType,
    ) -> rustix::io::Result<Visit> {
        if kind == FileType::Directory {
            return Ok(Visit::Descend);
        }
        match unlink(dir, name) {
            Ok(()) => Ok(Visit::Done),
            Err(Errno::ISDIR) => Ok(Visit::Descend),
            Err(error) => Err(error),
        }
    }

    fn left(&mut self, parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<()> {
        rmdir(parent, name)
    }

    fn failed(&mut self, failure: WalkError) -> ControlFlow<WalkError> {
        self.failure.get_or_insert(failure);
        ControlFlow::Continue(())
    }
}

/// Deletes one file somewhere below `top`, if there is any.
pub(super) fn delete_a_file(top: OwnedFd) -> rustix::io::Result<bool> {
    let mut first = First(false);
    match walk::walk(top, &mut Buffer::new(), &mut first) {
        Ok(()) => Ok(first.0),
        Err(failure) => Err(failure.error),
    }
}

/// Deletes the first file that a walk visits.
struct First(bool);

impl Visitor for First {
    fn name(
        &mut self,
        dir: BorrowedFd<'_>,
        _: usize,
        name: &CStr,
        kind: FileType,
    ) -> rustix::io::Result<Visit> {
        if self.0 {
            return Ok(Visit::Done);
        }
        if kind == FileType::Directory {
            return Ok(Visit::Descend);
        }
        match unlink(dir, name) {
            Err(Errno::ISDIR) => return Ok(Visit::Descend),
            unlinked => unlinked?,
        }
        self.0 = true;
        Ok(Visit::Done)
    }
}

/// Removes the directory `name` of the root and those in it, but no file: whether there was none.
pub(super) fn remove_empty(root: &Root, name: &CStr) -> rustix::io::Result<bool> {
    let Some(top) = fd::find_dir(root.fd(), name)? else { return Ok(true) };
    let walked = walk::walk(top, &mut Buffer::new(), &mut Empty);
    match walked.map_err(|failure| failure.error).and_then(|()| rmdir(root.fd(), name)) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes directories that are empty.
struct Empty;

impl Visitor for Empty {
    fn name(
        &mut self,
        _: BorrowedFd<'_>,
        _: usize,
        _: &CStr,
        kind: FileType,
    ) -> rustix::io::Result<Visit> {
        Ok(if kind == FileType::Directory { Visit::Descend } else { Visit::Done })
    }

    fn left(&mut self, parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<()> {
        rmdir(parent, name)
    }
}

pub(super) fn unlink(
    dir: BorrowedFd<'_>,
    name: impl rustix::path::Arg + Copy,
) -> rustix::io::Result<()> {
    retry_on_intr(|| rustix::fs::unlinkat(dir, name, AtFlags::empty()))
}

fn rmdir(dir: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<()> {
    retry_on_intr(|| rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR))
}
