//! Removal where there is no room for the pin: `Remover::take_out_without_room` (rule 9).

use crate::call;
use crate::disk::{Entry, Segment};
use crate::omission::Omission;
use crate::party::{At, Purpose, Role, Warrant};
use crate::turn::{Step, Turn};

impl Turn<'_> {
    /// First what this run has in the trash already, which nearly always makes room.
    pub fn empty_own_trash(&mut self) -> Step {
        let party = self.party();
        (party.has_own_trash, party.purpose) = (false, Purpose::RemovalAgain);
        self.goes(At::OpenLockfile, call::EMPTY_TRASH, "deletes its trash")
    }

    /// Whoever pins from now on sees a miss.
    pub fn unseal_without_lock(&mut self) -> Step {
        self.state.broken.unsealed_needlessly |= self.party().has_own_trash;
        self.unseal();
        self.party().has_unsealed = true;
        let at = self.settles();
        self.goes(at, call::UNSEAL, "unlinks .complete")
    }

    /// Tries the lock once more.
    pub fn settles(&mut self) -> At {
        self.party().purpose = Purpose::Settle;
        if self.omits(Omission::NotTriedAgain) {
            self.party().warrant = Warrant::Unheld;
            return At::RenameOut;
        }
        At::OpenLockfile
    }

    /// Where to go with the lock that was got at the second try: the entry was read without it (rule 3).
    pub fn after_settling(&mut self) -> At {
        if self.omits(Omission::TriedAgainLooksOnce) {
            At::RenameOut
        } else if self.omits(Omission::NotUnsealed) {
            At::Rescan
        } else {
            At::CheckUnsealed
        }
    }

    pub fn check_unsealed(&mut self) -> Step {
        let planned = self.party().planned.map(|planned| planned.ino);
        if self.seen().is_some_and(|now| Some(now.ino) == planned && !now.complete) {
            return self.goes(At::RenameOut, call::IS_UNSEALED, "still to be removed");
        }
        self.end(call::IS_UNSEALED, "changed")
    }

    /// Somebody else may have found room, or has another quota.
    pub fn probe_after_rename(&mut self) -> Step {
        if self.is_pinned() && self.role != Role::Force {
            return self.goes(At::RenameBack, call::PROBE, "pinned");
        }
        self.goes(At::CheckLeftBehind, call::PROBE, "not pinned")
    }

    /// Without replacing what has the name by now.
    pub fn rename_back(&mut self) -> Step {
        let trash = self.party().trash.filter(|&ino| self.state.disk.entries[ino].is_some());
        let in_the_way = self.disk().name;
        let Some(ino) = trash else {
            return self.goes(At::CheckLeftBehind, call::RENAME_BACK, "ENOENT");
        };
        if let Some(other) = in_the_way {
            let is_empty = self.disk().named().is_some_and(Entry::is_empty);
            if !(self.omits(Omission::BackReplaces) && is_empty) {
                return self.goes(At::CheckLeftBehind, call::RENAME_BACK, "EEXIST");
            }
            let is_pinned = self.others().any(|other| other.is_pinning);
            self.state.broken.deleted_pinned |= is_pinned;
            self.disk().entries[other] = None;
        }
        self.disk().name = Some(ino);
        for party in &mut self.state.parties {
            party.lost = None;
        }
        self.end(call::RENAME_BACK, "has its name again")
    }

    /// Neither the pin nor the rename has room: the lock is tried before each file that goes.
    pub fn in_place_without_lock(&mut self) -> At {
        self.party().purpose = Purpose::InPlace;
        At::OpenLockfile
    }

    pub fn delete_last(&mut self) -> Step {
        let planned = self.party().planned.map(|planned| planned.ino);
        let found = self.seen().filter(|now| Some(now.ino) == planned && !now.complete);
        let Some(now) = found else { return self.end(call::DELETE_LAST, "changed") };
        self.takes(now.ino, false);
        let entry = self.disk().named_mut().expect("it was seen");
        if let Some(file) = entry.segments.iter_mut().rev().find(|file| **file != Segment::Absent) {
            *file = Segment::Absent;
            let at = self.in_place_without_lock();
            return self.goes(at, call::DELETE_LAST, "unlinks the last segment");
        }
        let disk = self.disk();
        disk.entries[now.ino] = None;
        disk.name = None;
        self.goes(At::Release, call::DELETE_LAST, "removes the directory")
    }

    fn is_pinned(&self) -> bool {
        let pin = self.state.disk.pin;
        pin.is_some() && self.others().any(|other| other.pin == pin && other.lock.is_some())
    }
}
