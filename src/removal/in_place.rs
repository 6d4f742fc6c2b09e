//! Deleting an entry in place where it cannot be renamed: `.complete` first.

use std::ffi::CString;
use std::os::fd::AsFd;

use rustix::io::Errno;

use super::delete::{delete_tree, unlink};
use crate::cache::{Entry, State, stat_entry};
use crate::error::{Error, Operation};
use crate::key::Key;
use crate::layout;
use crate::locks::Exclusive;
use crate::root::Root;
use crate::sys::fd;
use crate::sys::walk::Buffer;

/// Unlinks `.complete`, so that from now on a daemon sees a miss.
pub(super) fn unseal(root: &Root, key: Key) -> Result<(), Error> {
    let path = || root.entry_path(key).join(layout::COMPLETE);
    let failed = |e: Errno| Error::new(Operation::Unseal, path(), e);
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

/// Whether the name still leads to `entry`, now without `.complete`.
pub(super) fn is_unsealed(root: &Root, entry: &Entry) -> bool {
    stat_entry(root, entry.key).is_ok_and(|now| {
        now.is_some_and(|now| now.identity == entry.identity && now.state == State::Partial)
    })
}

/// Requires the exclusive lock: a reader of a pinned entry must not see files vanish one by one.
pub(super) fn delete_in_place(root: &Root, proof: &Exclusive) -> Result<(), Error> {
    let key = proof.key();
    unseal(root, key)?;
    let name = CString::new(key.to_hex()).unwrap_or_default();
    delete_tree(root.fd(), &name, &root.entry_path(key), &mut Buffer::new())
}
