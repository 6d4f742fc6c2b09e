//! A remover's side: scan, lock, look again, rename, delete (rules 3 to 6).

use crate::call;
use crate::disk::{Rename, Segment};
use crate::omission::Omission;
use crate::party::{At, Purpose, Role, Use, Warrant};
use crate::turn::{Step, Turn};

impl Turn<'_> {
    pub fn delete_leftovers(&mut self) -> Step {
        let trash: Vec<_> = self.disk().trash().collect();
        for ino in trash {
            self.disk().entries[ino] = None;
        }
        self.goes(At::Scan, call::DELETE_LEFTOVER_TRASH, "done")
    }

    pub fn scan(&mut self) -> Step {
        let is_verify = self.role == Role::Verify;
        let call = if is_verify { call::CHECK_ENTRY } else { call::SCAN };
        self.party().planned = self.seen();
        match self.disk().named() {
            None => self.end(call, "absent"),
            Some(entry) if is_verify && !(entry.complete && entry.damaged) => {
                self.end(call, "healthy")
            }
            // An entry that the user names is protected by locks alone.
            Some(_) if matches!(self.role, Role::Invalidate | Role::Force) => {
                self.goes(At::OpenLockfile, call, "to be removed")
            }
            Some(_) => self.goes(At::CheckUnused, call, "to be removed"),
        }
    }

    pub fn check_unused(&mut self) -> Step {
        let planned = self.party().planned.map(|planned| Use::HasOpen(planned.ino));
        if self.others().any(|other| Some(other.uses) == planned) {
            return self.end(call::CHECK_UNUSED, "open");
        }
        self.goes(At::OpenLockfile, call::CHECK_UNUSED, "unused")
    }

    /// Goes on with a lock, or with a reason to do without.
    pub fn claims(&mut self, warrant: Warrant) {
        let seen = self.seen();
        let had_claim = matches!(self.party().purpose, Purpose::Settle | Purpose::InPlace);
        let party = self.party();
        party.warrant = warrant;
        if !had_claim || warrant == Warrant::Locked {
            party.at_claim = seen;
        }
        self.party().at = match (self.role, warrant) {
            (Role::Tidier, _) => At::UnlinkPin,
            (_, Warrant::Locked) if had_claim => self.after_settling(),
            _ if had_claim => self.out(),
            _ if self.omits(Omission::RemoverLooksOnce) => self.out(),
            _ => At::Rescan,
        };
    }

    /// The way out of the name, for a process that may take it.
    fn out(&mut self) -> At {
        match self.state.parties[self.me].warrant {
            Warrant::NoRoom if self.omits(Omission::NotUnsealed) => self.settles(),
            Warrant::NoRoom => At::UnsealWithoutLock,
            // Rule 5: one rename.
            _ if self.omits(Omission::DeletedUnderItsName) => At::DeleteTree,
            _ => At::RenameOut,
        }
    }

    /// Rules 3 and 4: the entry as it is under the lock.
    pub fn rescan(&mut self) -> Step {
        let (now, party) = (self.seen(), *self.party());
        let entry = self.disk().named();
        let is_damaged = entry.is_some_and(|entry| entry.complete && entry.damaged);
        let is_own = now.is_some_and(|now| !now.complete && Some(now.ino) == party.entry);
        let (call, may_go) = match self.role {
            Role::Verify | Role::Repairer => (call::CHECK_DAMAGED, is_damaged),
            Role::FailedWriter => (call::REMOVE_PARTIAL, is_own),
            Role::Sweep if self.omits(Omission::NotComparedWithPlan) => {
                (call::RESCAN_UNCHANGED, now.is_some())
            }
            Role::Sweep => (call::RESCAN_UNCHANGED, now.is_some() && now == party.planned),
            _ => (call::RESCAN_LOCKED, now.is_some()),
        };
        if !may_go {
            return self.end(call, "changed");
        }
        if self.role != Role::Sweep {
            self.party().planned = now;
        }
        let at = self.out();
        self.goes(at, call, "still to be removed")
    }

    pub fn rename_out(&mut self) -> Step {
        let (warrant, rename) = (self.party().warrant, self.disk().rename);
        let Some(ino) = self.disk().name else {
            return self.end(call::RENAME_OUT, "ENOENT");
        };
        let after = if self.omits(Omission::RenameIsBelieved) {
            At::Release
        } else if warrant == Warrant::Unheld && !self.omission.is_some_and(Omission::probes_not) {
            At::ProbeAfterRename
        } else {
            At::CheckLeftBehind
        };
        match rename {
            Rename::Works => {
                self.takes(ino, true);
                self.disk().name = None;
                self.party().trash = Some(ino);
                self.goes(after, call::RENAME_OUT, "renamed")
            }
            Rename::LeavesSource => self.goes(after, call::RENAME_OUT, "0, but the source stays"),
            // Rule 6: in place, under the lock. Rule 4: never by force.
            Rename::Fails => match warrant {
                Warrant::Unheld if !self.omission.is_some_and(Omission::probes_not) => {
                    let at = self.in_place_without_lock();
                    self.goes(at, call::RENAME_OUT, "EXDEV")
                }
                Warrant::Forced if !self.omits(Omission::ForcedInPlace) => {
                    self.end(call::RENAME_OUT, "EXDEV")
                }
                _ => {
                    if self.omits(Omission::InPlaceWithoutLock) {
                        self.let_go();
                    }
                    self.goes(At::UnsealInPlace, call::RENAME_OUT, "EXDEV")
                }
            },
        }
    }

    /// Rule 5: the old name must be gone.
    pub fn check_left_behind(&mut self) -> Step {
        let planned = self.party().planned.map(|planned| planned.ino);
        let is_left = self.seen().is_some_and(|now| Some(now.ino) == planned || now.complete);
        match self.party().warrant {
            _ if !is_left => self.goes(At::Release, call::IS_LEFT_BEHIND, "the name is free"),
            Warrant::Unheld => {
                let at = self.in_place_without_lock();
                self.goes(at, call::IS_LEFT_BEHIND, "left behind")
            }
            Warrant::Forced => self.end(call::IS_LEFT_BEHIND, "left behind"),
            _ => self.goes(At::UnsealInPlace, call::IS_LEFT_BEHIND, "left behind"),
        }
    }

    /// Rule 6: `.complete` first.
    pub fn unseal_in_place(&mut self) -> Step {
        if self.omits(Omission::CompleteGoesLast) {
            return self.goes(At::DeleteTree, call::UNSEAL, "left out");
        }
        if let Some(ino) = self.disk().name {
            self.takes(ino, false);
        }
        self.unseal();
        self.goes(At::DeleteTree, call::UNSEAL, "unlinks .complete")
    }

    pub fn unseal(&mut self) {
        if let Some(entry) = self.disk().named_mut().filter(|entry| entry.complete) {
            entry.complete = false;
            entry.used += 1;
        }
    }

    /// One file a step, the last segment first.
    pub fn delete_tree(&mut self) -> Step {
        let Some(ino) = self.disk().name else {
            return self.goes(At::Release, call::DELETE_IN_PLACE, "ENOENT");
        };
        self.takes(ino, false);
        let from_the_first = self.omits(Omission::FirstSegmentGoesFirst);
        let entry = self.disk().named_mut().expect("a name leads somewhere");
        let is_there = |file: &Segment| *file != Segment::Absent;
        let mut files = entry.segments.iter();
        let next =
            if from_the_first { files.position(is_there) } else { files.rposition(is_there) };
        if let Some(next) = next {
            entry.segments[next] = Segment::Absent;
            return self.goes(At::DeleteTree, call::DELETE_IN_PLACE, "unlinks a segment");
        }
        if entry.complete {
            entry.complete = false;
            return self.goes(At::DeleteTree, call::DELETE_IN_PLACE, "unlinks .complete");
        }
        let disk = self.disk();
        disk.entries[ino] = None;
        disk.name = None;
        self.goes(At::Release, call::DELETE_IN_PLACE, "removes the directory")
    }

    /// The entry has left its name, and the lock is no longer needed.
    pub fn release(&mut self) -> Step {
        self.let_go();
        if self.party().trash.is_none() {
            return self.end(call::TAKE_OUT, "releases the lock");
        }
        self.goes(At::EmptyTrash, call::TAKE_OUT, "releases the lock")
    }

    pub fn empty_trash(&mut self) -> Step {
        if let Some(ino) = self.party().trash {
            self.delete_trash(ino);
        }
        self.end(call::EMPTY_TRASH, "deletes the trash")
    }

    /// Another program's: it holds the lock, so that nobody else does.
    pub fn unlink_pin(&mut self) -> Step {
        self.disk().pin = None;
        self.end(call::UNLINKS, "the pin file")
    }
}
