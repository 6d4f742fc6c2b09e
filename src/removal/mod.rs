//! Removal: the only code that deletes, and only with proof that it may.
//!
//! The holder of the exclusive pin reads the entry again, renames it to a sibling
//! `.trash.{key}.{random}`, releases the lock, and deletes the trash later. So no reader sees half an
//! entry, and an entry with `.complete` is complete at every instant and after any crash. Only where the
//! rename has no room (`ENOSPC`, `EDQUOT`) or does not work (`EXDEV`, a mergerfs that leaves the source
//! behind) does the remover delete the entry in place, `.complete` first, while it holds the lock.
//!
//! Here: claiming an entry, renaming it to trash, deleting trees. Not here: choosing entries, and checking
//! that an entry has not changed since the plan, which the caller does between the two calls.
//!
//! A caller takes three steps, each only if the one before succeeded: [`Remover::claim`] the entry, read it
//! again, [`Remover::take_out`] the entry as read.

mod delete;
mod in_place;
mod permission;
mod rename;
#[cfg(test)]
mod tests;

use std::ffi::{CStr, CString};

use self::in_place::{Last, delete_in_place, delete_last, is_unsealed, unseal};
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

/// The right to rename one entry to the trash.
#[must_use]
pub(crate) struct Claim {
    key: Key,
    warrant: Warrant,
}

/// Proof that the entry may be removed; no code can remove an entry without one.
enum Warrant {
    Locked(Exclusive),
    Forced(#[allow(dead_code, reason = "it exists as proof only")] Forced),
    /// The pin does not exist, and the disk is too full to create it.
    NoRoom(NoRoom, Option<Forced>),
}

/// Removes entries, and deletes their trash when told to or when the disk is too full for a lockfile.
pub(crate) struct Remover<'a> {
    root: &'a Root,
    progress: &'a dyn Progress,
    trash: Vec<Trashed>,
    freed_bytes: u64,
    errors: Vec<Error>,
}

/// An entry that was renamed to the trash and is not deleted yet.
struct Trashed {
    name: CString,
    bytes: u64,
}

/// Result of all removals of a run.
#[derive(Debug, Default)]
pub(crate) struct Deleted {
    /// Bytes of the entries whose files are deleted.
    pub(crate) freed_bytes: u64,
    /// Failures to delete trash.
    pub(crate) errors: Vec<Error>,
}

impl<'a> Remover<'a> {
    pub(crate) fn new(root: &'a Root, progress: &'a dyn Progress) -> Self {
        Self { root, progress, trash: Vec::new(), freed_bytes: 0, errors: Vec::new() }
    }

    /// Locks the entry `key` for removal. Returns `Kept` if another process has pinned it, unless `force` is
    /// given, or if something is mounted on or under it.
    pub(crate) fn claim(&mut self, key: Key, force: Option<Forced>) -> Result<Claim, Fate> {
        let mut tried = locks::lock_for_removal(self.root, key)?;
        if matches!(tried, LockForRemoval::NoRoom(_)) && !self.trash.is_empty() {
            // Deleting this run's trash nearly always makes room for a lockfile.
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

    /// Renames `entry`, as read after the claim, to the trash and then releases the lock.
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

    /// Removes by rename only: the holder of the pin must not see files vanish one by one.
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
    /// the disk is too full to create. But another user may have room left, or get some meanwhile. So this
    /// unseals the entry first, and probes the pin again at every step.
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
            // The pin could be created after all; the entry was read without the lock and may have changed.
            if !is_unsealed(self.root, entry) {
                return Err(Fate::Kept(Protection::Changed));
            }
            return self.take_out_locked(&exclusive, entry);
        }
        match rename_out(self.root, key)? {
            Renamed::To(trash) => {
                let is_pinned = force.is_none() && locks::probe(self.root, key)?;
                if is_pinned && rename_back(self.root, &trash, key)? {
                    return Err(Fate::Kept(Protection::Pinned));
                }
                self.trash.push(Trashed { name: trash, bytes: entry.bytes });
                if !is_left_behind(self.root, entry)? {
                    return Ok(());
                }
            }
            Renamed::NoRoom => {}
            Renamed::Absent => return Err(Fate::Absent),
        }
        self.delete_until_locked(entry)
    }

    /// Deletes in place where there is not even room for the pin: one file, which makes some, then the lock is tried
    /// again, and so on. With the lock it goes on as ever; whoever else gets it keeps what is left, which is the
    /// beginning of a film without `.complete`.
    fn delete_until_locked(&mut self, entry: &Entry) -> Result<(), Fate> {
        loop {
            match locks::lock_for_removal(self.root, entry.key)? {
                LockForRemoval::Locked(exclusive) if is_unsealed(self.root, entry) => {
                    return self.take_out_locked(&exclusive, entry);
                }
                LockForRemoval::Locked(_) => return Err(Fate::Kept(Protection::Changed)),
                LockForRemoval::Pinned => return Err(Fate::Kept(Protection::Pinned)),
                LockForRemoval::NoRoom(_) => {}
            }
            match delete_last(self.root, entry)? {
                Last::Deleted => {}
                Last::Changed => return Err(Fate::Kept(Protection::Changed)),
                Last::Emptied => {
                    self.freed_bytes = self.freed_bytes.saturating_add(entry.bytes);
                    return Ok(());
                }
            }
        }
    }

    fn delete_in_place(&mut self, exclusive: &Exclusive, entry: &Entry) -> Result<(), Fate> {
        delete_in_place(self.root, exclusive)?;
        self.freed_bytes = self.freed_bytes.saturating_add(entry.bytes);
        Ok(())
    }

    /// Deletes the trash of this run.
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

    /// Deletes the trash of this run and returns the result of all removals.
    pub(crate) fn finish(mut self) -> Deleted {
        self.empty_trash();
        Deleted { freed_bytes: self.freed_bytes, errors: self.errors }
    }
}
