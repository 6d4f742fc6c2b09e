//! Removal of an entry by a daemon that uses it: after a failed encode, or because it is damaged.

use crate::cache::{State, scan_entry};
use crate::error::Error;
use crate::key::Key;
use crate::plan::{Fate, Protection};
use crate::removal::Remover;
use crate::root::Root;
use crate::sys::walk::Buffer;

/// Removes the entry if it is still partial and its name still refers to that directory.
pub(super) fn remove_partial(
    remover: &mut Remover<'_>,
    root: &Root,
    key: Key,
    identity: (u64, u64),
) -> Result<(), Fate> {
    let claim = remover.claim(key, None)?;
    let entry = scan_entry(root, key, &mut Buffer::new())?.ok_or(Fate::Absent)?;
    if entry.state == State::Sealed || entry.identity != identity {
        return Err(Fate::Kept(Protection::Changed));
    }
    remover.take_out(claim, &entry)
}

/// Deletes the removal's trash; returns whether the entry is gone.
pub(super) fn finish(remover: Remover<'_>, result: Result<(), Fate>) -> Result<bool, Error> {
    let deleted = remover.finish();
    match (result, deleted.errors.into_iter().next()) {
        (Ok(()), Some(error)) | (Err(Fate::Failed(error)), _) => Err(error),
        (Ok(()) | Err(Fate::Absent), None) => Ok(true),
        (Err(_), _) => Ok(false),
    }
}
