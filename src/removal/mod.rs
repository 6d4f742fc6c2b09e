//! Removal: the only code that deletes, and only with proof that it may.
//!
//! An entry leaves its name by one rename to a sibling `.trash.{key}.{random}`, under the exclusive
//! pin and after a second look; the lock is released and the trash deleted at leisure. So no reader
//! sees half an entry, and `.complete` under a live name means whole at every instant and after any
//! crash. Only where the rename has no room (`ENOSPC`, `EDQUOT`) or cannot be (`EXDEV`, a mergerfs
//! that leaves the source behind) is the entry deleted in place, `.complete` first, under the lock.
//!
//! Here: claiming an entry, taking it out of its name, deleting trees. Not here: which entry, or whether it
//! still is the one that was planned, which is for the caller to see between the first step and the last.
//!
//! A caller goes through three steps, and acts only if each lets it: [`Remover::claim`] the entry, look
//! at it again, [`Remover::take_out`] what was seen.

mod delete;
mod in_place;
mod permission;
mod rename;

use std::ffi::{CStr, CString};

use self::in_place::{delete_in_place, is_unsealed, unseal};
use self::rename::{Renamed, is_left_behind, rename_back, rename_out};
use crate::cache::Entry;
use crate::error::{Error, Operation, Reason};
use crate::key::Key;
use crate::locks::{self, Exclusive, LockForRemoval, NoRoom};
use crate::plan::{Fate, Forced, Protection};
use crate::progress::Progress;
use crate::root::{self, Root};

pub(crate) use self::delete::delete_trash;
pub(crate) use self::permission::check_may_delete;

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
    NoRoom(NoRoom, Option<Forced>),
}

/// Removes entries, and deletes what has left its name when told to or when its room is needed.
pub(crate) struct Remover<'a> {
    root: &'a Root,
    progress: &'a dyn Progress,
    trash: Vec<Trashed>,
    freed_bytes: u64,
    errors: Vec<Error>,
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
    pub(crate) errors: Vec<Error>,
}

impl<'a> Remover<'a> {
    pub(crate) fn new(root: &'a Root, progress: &'a dyn Progress) -> Self {
        Self { root, progress, trash: Vec::new(), freed_bytes: 0, errors: Vec::new() }
    }

    /// Locks the entry `key` for removal. It is `Kept` where somebody has pinned it, unless `force`
    /// says so, or where something is mounted in it.
    pub(crate) fn claim(&mut self, key: Key, force: Option<Forced>) -> Result<Claim, Fate> {
        let mut tried = locks::lock_for_removal(self.root, key)?;
        if matches!(tried, LockForRemoval::NoRoom(_)) && !self.trash.is_empty() {
            // What this run has removed is nearly always room enough for a lockfile.
            self.empty_trash();
            tried = locks::lock_for_removal(self.root, key)?;
        }
        let warrant = match (tried, force) {
            (LockForRemoval::Locked(exclusive), _) => Warrant::Locked(exclusive),
            (LockForRemoval::Pinned, Some(forced)) => Warrant::Forced(forced),
            (LockForRemoval::Pinned, None) => return Err(Fate::Kept(Protection::Pinned)),
            (LockForRemoval::NoRoom(no_room), force) => Warrant::NoRoom(no_room, force),
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
            Warrant::NoRoom(no_room, force) => {
                self.take_out_without_room(key, no_room, force, entry)
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
            |reason| Error::new(Operation::Remove, self.root.entry_path(entry.key), reason);
        match rename_out(self.root, entry.key)? {
            Renamed::To(trash) => self.trash.push(Trashed { name: trash, bytes: entry.bytes }),
            Renamed::NoRoom => {
                return Err(failed(Reason::InUseWithoutRoom).into());
            }
            Renamed::Absent => return Err(Fate::Absent),
        }
        if is_left_behind(self.root, entry)? {
            return Err(failed(Reason::InUseAfterRename).into());
        }
        Ok(())
    }

    /// The one exception to 'no lock, no removal': nobody can hold a pin that does not exist and that
    /// the full disk has no room for. But another user may have room left, or find some meanwhile, so
    /// nobody may take the entry for whole from here on, and the pin is asked for at every step.
    fn take_out_without_room(
        &mut self,
        key: Key,
        no_room: NoRoom,
        force: Option<Forced>,
        entry: &Entry,
    ) -> Result<(), Fate> {
        unseal(self.root, key)?;
        let exclusive = match no_room.settle(self.root)? {
            LockForRemoval::Locked(exclusive) => exclusive,
            LockForRemoval::Pinned | LockForRemoval::NoRoom(_) => match force {
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
            Renamed::NoRoom if locks::probe(self.root, key)? => {
                return Err(Fate::Kept(Protection::Pinned));
            }
            Renamed::NoRoom => return self.delete_in_place(&exclusive, entry),
        };
        if force.is_none() && locks::probe(self.root, key)? && rename_back(self.root, &trash, key)?
        {
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
                Err(error) => self.errors.push(error),
            }
        }
    }

    /// Deletes what has left its name, and says what all of it came to.
    pub(crate) fn finish(mut self) -> Deleted {
        self.empty_trash();
        Deleted { freed_bytes: self.freed_bytes, errors: self.errors }
    }
}
