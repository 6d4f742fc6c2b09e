//! A directory tree, visited through descriptors: no path is resolved twice, no symlink followed, no
//! mount crossed, and neither the depth nor the width of a hostile tree exhausts descriptors or stack.

use std::ffi::{CStr, CString, OsStr};
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, RawDir};
use rustix::io::{Errno, Result, retry_on_intr};

use crate::error::{Error, Operation};
use crate::sys::fd;

/// Directories kept open on the way down. Entries are two deep; below this many levels the oldest
/// is closed and reopened through `..`, so that all threads together fit under a limit of 64
/// descriptors, whatever the trees they meet.
const OPEN_LEVELS: usize = 4;

/// Bytes of names read by one getdents: about a thousand segments, more gains nothing.
const BUFFER: usize = 32 * 1024;

/// Room for the names of one directory, reused from walk to walk.
pub(crate) struct Buffer(Vec<MaybeUninit<u8>>);

impl Buffer {
    pub(crate) fn new() -> Self {
        Self(vec![MaybeUninit::uninit(); BUFFER])
    }
}

/// What to do about a name.
pub(crate) enum Visit {
    /// Nothing more.
    Done,
    /// It is a directory: visit what is in it.
    Descend,
}

/// A failure during a walk.
#[derive(Debug)]
pub(crate) struct WalkError {
    /// Relative to the top.
    pub(crate) path: PathBuf,
    pub(crate) error: Errno,
}

impl WalkError {
    /// The error to report, for a walk below `top`.
    pub(crate) fn into_error(self, operation: Operation, top: &Path) -> Error {
        let is_top = self.path.as_os_str().is_empty();
        let path = if is_top { top.to_path_buf() } else { top.join(&self.path) };
        Error::new(operation, path, self.error)
    }
}

/// The actions of a walk.
pub(crate) trait Visitor {
    /// Called for each name in `dir`, which is `depth` levels below the top. `kind` can be `Unknown`.
    fn name(
        &mut self,
        dir: BorrowedFd<'_>,
        depth: usize,
        name: &CStr,
        kind: FileType,
    ) -> Result<Visit>;

    /// Called after everything in the directory `name` of `parent` has been visited.
    fn left(&mut self, _parent: BorrowedFd<'_>, _name: &CStr) -> Result<()> {
        Ok(())
    }

    /// Whether a failure ends the walk. Vanished files are not failures.
    fn failed(&mut self, failure: WalkError) -> ControlFlow<WalkError> {
        ControlFlow::Break(failure)
    }
}

struct Level {
    name: CString,
    /// Closed while the walk is far below; `identity` verifies it when it is reopened.
    fd: Option<OwnedFd>,
    identity: (u64, u64),
    pending: Vec<CString>,
}

/// Visits the tree below `top`, each directory before the directories in it. Fails with the failure at
/// which the visitor ended it.
pub(crate) fn walk(
    top: OwnedFd,
    buffer: &mut Buffer,
    visitor: &mut impl Visitor,
) -> std::result::Result<(), WalkError> {
    match visit(top, buffer, visitor) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(failure) => Err(failure),
    }
}

fn visit(top: OwnedFd, buffer: &mut Buffer, visitor: &mut impl Visitor) -> ControlFlow<WalkError> {
    let mut levels = Vec::new();
    enter(&mut levels, CString::default(), top, buffer, visitor)?;
    while let Some(level) = levels.last_mut() {
        if let Some((parent, name)) = level.fd.as_ref().zip(level.pending.pop()) {
            match fd::open_dir(parent, &*name) {
                Ok(fd) => enter(&mut levels, name, fd, buffer, visitor)?,
                Err(Errno::NOENT) => {}
                Err(error) => visitor.failed(failure(&levels, &name, error))?,
            }
            continue;
        }
        let Some(done) = levels.pop() else { break };
        let Some(parent) = levels.last_mut() else { break };
        if parent.fd.is_none() {
            match reopen(&done, parent.identity) {
                Ok(fd) => parent.fd = Some(fd),
                Err(error) => {
                    visitor.failed(failure(&levels, c"", error))?;
                    // Without the parent, nothing above can be finished.
                    break;
                }
            }
        }
        if let Some(fd) = &parent.fd
            && let Err(error) = visitor.left(fd.as_fd(), &done.name)
            && error != Errno::NOENT
        {
            visitor.failed(failure(&levels, &done.name, error))?;
        }
    }
    ControlFlow::Continue(())
}

/// Reads the directory `fd` to its end and makes it the deepest level.
fn enter(
    levels: &mut Vec<Level>,
    name: CString,
    fd: OwnedFd,
    buffer: &mut Buffer,
    visitor: &mut impl Visitor,
) -> ControlFlow<WalkError> {
    let depth = levels.len();
    levels.push(Level { name, fd: None, identity: (0, 0), pending: Vec::new() });
    let mut pending = Vec::new();
    let mut names = RawDir::new(&fd, &mut buffer.0);
    while let Some(read) = names.next() {
        let (name, result) = match &read {
            Ok(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..") => continue,
            Ok(entry) => {
                let name = entry.file_name();
                (name, visitor.name(fd.as_fd(), depth, name, entry.file_type()))
            }
            Err(Errno::INTR) => continue,
            Err(error) => (c"", Err(*error)),
        };
        match result {
            Ok(Visit::Done) => {}
            Ok(Visit::Descend) => pending.push(name.to_owned()),
            Err(error) => {
                if error != Errno::NOENT {
                    visitor.failed(failure(levels, name, error))?;
                }
                if read.is_err() {
                    break;
                }
            }
        }
    }
    // A deleted or stopped directory stays on the stack: `left` is called for it like for the rest.
    if let Some(level) = levels.last_mut() {
        level.fd = Some(fd);
        level.pending = pending;
    }
    if let Some(index) = depth.checked_sub(OPEN_LEVELS) {
        let far = &mut levels[index];
        if let Some(fd) = far.fd.take() {
            match rustix::fs::fstat(&fd) {
                Ok(stat) => far.identity = (stat.st_dev, stat.st_ino),
                Err(error) => visitor.failed(failure(levels, c"", error))?,
            }
        }
    }
    ControlFlow::Continue(())
}

/// Opens the directory above `child`, which must still be the one that was walked.
fn reopen(child: &Level, identity: (u64, u64)) -> Result<OwnedFd> {
    let child = child.fd.as_ref().ok_or(Errno::BADF)?;
    let fd = fd::open_dir(child, c"..")?;
    let stat = retry_on_intr(|| rustix::fs::fstat(&fd))?;
    if (stat.st_dev, stat.st_ino) == identity { Ok(fd) } else { Err(Errno::STALE) }
}

fn failure(levels: &[Level], name: &CStr, error: Errno) -> WalkError {
    let names = levels.iter().map(|level| &*level.name).chain([name]);
    let names = names.filter(|name| !name.is_empty());
    WalkError { path: names.map(|name| OsStr::from_bytes(name.to_bytes())).collect(), error }
}
