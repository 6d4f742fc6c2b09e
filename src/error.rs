//! The library's error: what could not be done, to which path, and why.
//!
//! A run reports each error, continues, and exits with 1; a daemon can ask for the system's error number.

use std::fmt;
use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::escape::Escaped;
use crate::key::EmptySource;

/// What could not be done, to which path, and why.
///
/// [`source`](std::error::Error::source) is the [`Reason`]. A daemon that only needs to tell a full disk
/// from missing permission asks for the kind:
///
/// ```
/// use std::io::ErrorKind;
/// use hls_cache::Error;
///
/// fn advice(error: &Error) -> &'static str {
///     match error.io_error_kind() {
///         Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => "make room",
///         Some(ErrorKind::PermissionDenied) => "run as the owner of the cache",
///         _ => "look at the path",
///     }
/// }
///
/// let error = hls_cache::Cache::open("/nonexistent").unwrap_err();
/// assert_eq!(error.raw_os_error(), Some(2), "ENOENT");
/// assert_eq!(advice(&error), "look at the path");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
// One line, whatever characters the path contains.
#[error("{}: {}", Escaped::new(path), Escaped::new(&self.message()))]
#[non_exhaustive]
pub struct Error {
    /// The path that the operation failed on, absolute where the root is.
    pub path: PathBuf,
    /// What was tried.
    pub operation: Operation,
    /// Why it failed.
    #[source]
    pub reason: Reason,
}

impl Error {
    /// The error that `operation` on `path` failed for `reason`.
    pub fn new(operation: Operation, path: impl Into<PathBuf>, reason: impl Into<Reason>) -> Self {
        Self { path: path.into(), operation, reason: reason.into() }
    }

    /// The message without the path, on one line: `cannot read: Permission denied (os error 13)`.
    pub fn message(&self) -> String {
        let hint = match (self.operation, self.io_error_kind()) {
            (Operation::OpenRoot, Some(io::ErrorKind::NotFound)) => "; is its disk mounted?",
            _ => "",
        };
        format!("{}: {}{hint}", self.operation, self.reason)
    }

    /// The system's error number, such as `ENOSPC`; `None` if the reason is not a system error.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.reason.errno().map(Errno::raw_os_error)
    }

    /// The kind of a system or standard library error; `None` for a reason defined by this library.
    pub fn io_error_kind(&self) -> Option<io::ErrorKind> {
        match &self.reason {
            Reason::Io { kind, .. } => Some(*kind),
            reason => reason.errno().map(Errno::kind),
        }
    }
}

/// What was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages below say it")]
pub enum Operation {
    OpenRoot,
    ReadRoot,
    ReadSpace,
    ReadMounts,
    ComputeKey,
    MakeAbsolute,
    FindWorkingDir,
    Open,
    Read,
    List,
    /// Reading an entry that may have something mounted on or under it.
    Enter,
    Verify,
    MakeEntry,
    Seal,
    OpenLockfile,
    CreateLockfile,
    UseLockfile,
    Lock,
    ReadEncodeStamp,
    ReadEventLog,
    ReadLibrary,
    AppendEvent,
    RotateEventLog,
    /// Checking in advance whether names in a directory may be deleted.
    DeleteIn,
    NameTrash,
    RenameToTrash,
    RenameBack,
    Unseal,
    Remove,
    Delete,
    Write,
    WriteMetrics,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenRoot => "cannot open the cache root",
            Self::ReadRoot => "cannot read the cache root",
            Self::ReadSpace => "cannot read the free space",
            Self::ReadMounts => "cannot read the mount table",
            Self::ComputeKey => "cannot compute a key",
            Self::MakeAbsolute => "cannot make it absolute",
            Self::FindWorkingDir => "cannot compute its key without the working directory",
            Self::Open => "cannot open",
            Self::Read => "cannot read",
            Self::List => "cannot list",
            Self::Enter => "skipped",
            Self::Verify => "cannot verify",
            Self::MakeEntry => "cannot make the entry",
            Self::Seal => "cannot seal",
            Self::OpenLockfile => "cannot open the lockfile",
            Self::CreateLockfile => "cannot create the lockfile",
            Self::UseLockfile => "cannot use the lockfile",
            Self::Lock => "cannot lock",
            Self::ReadEncodeStamp => "cannot read the encoder settings",
            Self::ReadEventLog => "cannot read the event log",
            Self::ReadLibrary => "cannot read the media library",
            Self::AppendEvent => "cannot append to the event log",
            Self::RotateEventLog => "cannot start a new event log",
            Self::DeleteIn => "cannot delete in it",
            Self::NameTrash => "cannot name its trash",
            Self::RenameToTrash => "cannot rename to the trash",
            Self::RenameBack => "cannot rename back",
            Self::Unseal => "cannot unseal",
            Self::Remove => "cannot remove",
            Self::Delete => "cannot delete",
            Self::Write => "cannot write",
            Self::WriteMetrics => "cannot write the metrics",
        })
    }
}

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// An error of the operating system.
    #[error("{0}")]
    System(#[from] Errno),
    /// This process may not delete in the directory, so nothing in it was touched: `EACCES`, `EROFS` (a
    /// read-only disk or snapshot) or `EPERM` (immutable, append-only, or a sticky directory).
    #[error("{errno}")]
    Denied {
        /// The error that the system would return.
        errno: Errno,
        /// User id of the directory's owner.
        owner: u32,
    },
    /// An error of the standard library that has no system error number.
    #[error("{message}")]
    #[allow(missing_docs, reason = "the names say it")]
    Io { kind: io::ErrorKind, message: Box<str> },
    /// The source is the empty path, which has no key.
    #[error(transparent)]
    EmptySource(#[from] EmptySource),
    /// Somebody put a symlink in the file's place.
    #[error("it is a symlink")]
    Symlink,
    /// Nothing is in the directory, which is perhaps where a disk is not mounted.
    #[error("it is empty; is its disk mounted?")]
    EmptyDirectory,
    /// A regular file is required.
    #[error("it is not a regular file")]
    NotRegular,
    /// A regular file with a single name (no hard links) is required.
    #[error("it is not a regular file with one name")]
    NotRegularWithOneName,
    /// No file of this purpose is that large.
    #[error("it is larger than {limit} bytes")]
    TooLarge {
        /// In bytes.
        limit: u64,
    },
    /// The file should be JSON in UTF-8.
    #[error("it is not JSON (line {line}, column {column})")]
    NotJson {
        /// Where, from 1.
        line: usize,
        /// In bytes, from 1; 0 in a line without any.
        column: usize,
    },
    /// The encoder settings are the string `fingerprint` of a JSON object.
    #[error("it has no string named fingerprint")]
    NoFingerprint,
    /// Something is mounted on or under the entry.
    #[error("something is mounted on or under it")]
    Mounted,
    /// The entry was replaced at every try.
    #[error("another process keeps replacing it")]
    ReplacedAgainAndAgain,
    /// The entry is pinned and cannot be renamed, and a pinned entry is never deleted in place.
    #[error("it is in use, and the disk has no room to rename it")]
    InUseWithoutRoom,
    /// The entry is pinned and still has its name after the rename.
    #[error("it is in use, and still there after the rename")]
    InUseAfterRename,
}

impl Reason {
    fn errno(&self) -> Option<Errno> {
        match self {
            Self::System(errno) | Self::Denied { errno, .. } => Some(*errno),
            _ => None,
        }
    }
}

impl From<io::Error> for Reason {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(errno) => Self::System(errno),
            None => Self::Io { kind: error.kind(), message: error.to_string().into() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn a_full_disk_and_missing_permission_are_told_apart() {
        let denied = Reason::Denied { errno: Errno::ACCESS, owner: 0 };
        for (reason, number, kind) in [
            (Errno::NOSPC.into(), Some(28), Some(io::ErrorKind::StorageFull)),
            (Errno::DQUOT.into(), Some(122), Some(io::ErrorKind::QuotaExceeded)),
            (Errno::ACCESS.into(), Some(13), Some(io::ErrorKind::PermissionDenied)),
            (denied, Some(13), Some(io::ErrorKind::PermissionDenied)),
            (io::Error::from_raw_os_error(28).into(), Some(28), Some(io::ErrorKind::StorageFull)),
            (io::Error::other("so").into(), None, Some(io::ErrorKind::Other)),
            (Reason::Symlink, None, None),
        ] {
            let error = Error::new(Operation::Seal, "/c", reason);
            assert_eq!((error.raw_os_error(), error.io_error_kind()), (number, kind), "{error:?}");
        }
    }

    #[test]
    fn an_error_is_one_line_and_its_reason_is_its_source() {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        for (error, line) in [
            (
                Error::new(Operation::Read, "/c/a\nb", Errno::ACCESS),
                "/c/a\\nb: cannot read: Permission denied (os error 13)",
            ),
            (
                Error::new(Operation::OpenRoot, "/c", Errno::NOENT),
                "/c: cannot open the cache root: No such file or directory (os error 2); is its disk mounted?",
            ),
            (Error::new(Operation::Read, "/c", missing()), "/c: cannot read: entity not found"),
            (
                Error::new(Operation::ComputeKey, "", EmptySource),
                ": cannot compute a key: the source is empty: name a file",
            ),
            (
                Error::new(Operation::OpenLockfile, "/c/.p", Reason::Symlink),
                "/c/.p: cannot open the lockfile: it is a symlink",
            ),
        ] {
            assert_eq!(error.to_string(), line);
            assert_eq!(error.source().unwrap().to_string(), error.reason.to_string());
        }
    }
}
