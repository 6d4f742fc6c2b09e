//! Renaming an entry to the trash, and back.
#![allow(clippy::disallowed_methods, reason = "this is the module that renames")]

use std::ffi::{CStr, CString};
use std::io;

use rustix::fs::RenameFlags;
use rustix::io::{Errno, retry_on_intr};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::cache::{Entry, State, stat_entry};
use crate::error::{Error, Operation};
use crate::key::Key;
use crate::layout;
use crate::root::Root;

/// Result of renaming an entry to the trash.
pub(super) enum Renamed {
    To(CString),
    /// The disk has no room for another name, or the file system cannot rename a directory.
    NoRoom,
    Absent,
}

pub(super) fn rename_out(root: &Root, key: Key) -> Result<Renamed, Error> {
    let name = key.to_string();
    let trash = trash_name(root, key)?;
    match retry_on_intr(|| rustix::fs::renameat(root.fd(), &*name, root.fd(), &*trash)) {
        Ok(()) => Ok(Renamed::To(trash)),
        Err(Errno::NOSPC | Errno::DQUOT | Errno::XDEV) => Ok(Renamed::NoRoom),
        Err(Errno::NOENT) => Ok(Renamed::Absent),
        Err(error) => Err(Error::new(Operation::RenameToTrash, root.entry_path(key), error)),
    }
}

/// Renames an entry back from the trash, unless another entry has its name by now. Returns whether it did.
pub(super) fn rename_back(root: &Root, trash: &CStr, key: Key) -> Result<bool, Error> {
    let name = key.to_string();
    let rename = |flags| {
        retry_on_intr(|| rustix::fs::renameat_with(root.fd(), trash, root.fd(), &*name, flags))
    };
    let renamed = match rename(RenameFlags::NOREPLACE) {
        // Not every file system supports the flag; a plain rename replaces at most an empty directory.
        Err(Errno::INVAL) => rename(RenameFlags::empty()),
        other => other,
    };
    match renamed {
        Ok(()) => Ok(true),
        // NOENT: another process deleted the trash.
        Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOENT) => Ok(false),
        Err(error) => Err(Error::new(Operation::RenameBack, root.entry_path(key), error)),
    }
}

/// Whether the entry still has its name after the rename: on mergerfs a rename can return 0 and leave
/// (a branch of) the source behind. A directory with another inode and no `.complete` is a new entry of a
/// daemon that takes no locks; a sealed one is old, since no daemon seals that fast.
pub(super) fn is_left_behind(root: &Root, entry: &Entry) -> Result<bool, Error> {
    let now = stat_entry(root, entry.key)?;
    Ok(now.is_some_and(|now| now.identity == entry.identity || now.state == State::Sealed))
}

fn trash_name(root: &Root, key: Key) -> Result<CString, Error> {
    let failed = |reason: io::Error| Error::new(Operation::NameTrash, root.entry_path(key), reason);
    let mut random = [0; 8];
    retry_on_intr(|| getrandom(&mut random, GetRandomFlags::empty()))
        .map_err(|error| failed(error.into()))?;
    CString::new(layout::trash(key, random)).map_err(|error| failed(error.into()))
}
