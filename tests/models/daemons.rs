//! A daemon's side: hit and miss, with locks and without ("What a daemon does").

use crate::call;
use crate::disk::{SEGMENTS, Segment};
use crate::omission::Omission;
use crate::party::{At, Mode, Purpose, Role, Use};
use crate::turn::{Step, Turn};

impl Turn<'_> {
    /// Rule 3: under the lock.
    pub fn look_up(&mut self) -> Step {
        if !self.disk().named().is_some_and(|entry| entry.complete) {
            return self.end(call::LOOKUP, "miss");
        }
        self.party().entry = self.disk().name;
        let at = if self.party().is_pinning { self.begins_to_serve() } else { At::OpenLockfile };
        self.goes(at, call::LOOKUP, "hit")
    }

    pub fn begins_to_serve(&mut self) -> At {
        let party = self.party();
        party.uses = party.entry.map_or(Use::Nothing, Use::Serves);
        At::Touch
    }

    pub fn touch(&mut self) -> Step {
        if let Some(entry) = self.disk().named_mut() {
            entry.used += 1;
        }
        self.goes(At::Serve, call::TOUCH, "sets the mtime")
    }

    pub fn serve(&mut self) -> Step {
        let entry = self.party().entry.and_then(|ino| self.disk().entries[ino]);
        if self.role == Role::Repairer && entry.is_some_and(|entry| entry.damaged) {
            return self.goes(At::TakeWriteToRepair, call::SERVES, "finds damage");
        }
        self.end(call::CLOSES, "its pin")
    }

    pub fn take_write_to_repair(&mut self) -> Step {
        if self.others().any(|other| other.is_writer) || !(self.disk().has_write || self.has_room) {
            return self.end(call::DISCARD_DAMAGED, "cannot lock .write");
        }
        self.disk().has_write = true;
        self.party().is_writer = true;
        self.goes(At::ClosePinToRepair, call::DISCARD_DAMAGED, "locks .write")
    }

    /// Rule 2: the shared lock is closed, not upgraded.
    pub fn close_pin_to_repair(&mut self) -> Step {
        if self.omits(Omission::LockIsUpgraded) {
            if self.conflicts(Mode::Exclusive) {
                // flock(2): the lock that was held is lost.
                self.party().lock = None;
                return self.goes(At::ServeOn, call::DISCARD_DAMAGED, "the upgrade fails");
            }
            let party = self.party();
            (party.lock, party.is_pinning) = (Some(Mode::Exclusive), false);
            party.uses = Use::Nothing;
            party.purpose = Purpose::Removal;
            return self.goes(At::CheckLinkCount, call::DISCARD_DAMAGED, "upgrades its lock");
        }
        self.let_go();
        let party = self.party();
        (party.uses, party.purpose) = (Use::Nothing, Purpose::Removal);
        self.goes(At::OpenLockfile, call::DISCARD_DAMAGED, "closes its pin")
    }

    pub fn take_write(&mut self) -> Step {
        if self.others().any(|other| other.is_writer) {
            return self.end(call::WRITER, "refused");
        }
        if !(self.disk().has_write || self.has_room) {
            return self.end(call::WRITER, "no room");
        }
        self.disk().has_write = true;
        self.party().is_writer = true;
        self.goes(At::OpenLockfile, call::WRITER, "locked")
    }

    /// Rule 3: another writer may have sealed the entry meanwhile.
    pub fn look_again(&mut self) -> Step {
        if !self.disk().named().is_some_and(|entry| entry.complete) {
            return self.goes(At::MakeDirectory, call::START, "not sealed");
        }
        let name = self.disk().name;
        let party = self.party();
        (party.entry, party.is_writer) = (name, false);
        self.begins_to_serve();
        self.goes(At::Serve, call::START, "sealed meanwhile")
    }

    pub fn make_directory(&mut self) -> Step {
        if self.disk().name.is_some() {
            return self.goes(At::OpenDirectory, call::MAKE_DIRECTORY, "EEXIST");
        }
        if !self.has_room {
            return self.end(call::MAKE_DIRECTORY, "no room");
        }
        self.disk().make_directory();
        self.goes(At::OpenDirectory, call::MAKE_DIRECTORY, "made")
    }

    /// A partial entry is resumed at its last segment, which may be half a one.
    pub fn open_directory(&mut self) -> Step {
        let name = self.disk().name;
        let (Some(ino), Some(entry)) = (name, self.disk().named_mut()) else {
            return self.end(call::MAKE_DIRECTORY, "ENOENT");
        };
        entry.has_video = true;
        let is_there = |segment: &Segment| *segment != Segment::Absent;
        let last = entry.segments.iter().rposition(is_there);
        let party = self.party();
        party.entry = Some(ino);
        party.uses = Use::Writes(ino);
        party.segment = last.unwrap_or(0);
        self.goes(At::OpenSegment, call::MAKE_DIRECTORY, "opened")
    }

    /// By path, as ffmpeg does.
    pub fn open_segment(&mut self) -> Step {
        let (segment, has_room) = (self.party().segment, self.has_room);
        match self.disk().named_mut() {
            Some(entry) if has_room => {
                entry.segments[segment] = Segment::Half;
                entry.written += 1;
                self.goes(At::CloseSegment, call::ENCODER, "opens a segment")
            }
            Some(_) => self.end(call::ENCODER, "no room"),
            None => self.end(call::ENCODER, "ENOENT"),
        }
    }

    pub fn close_segment(&mut self) -> Step {
        let segment = self.party().segment;
        let written = self.party().entry.and_then(|ino| self.disk().entries[ino].as_mut());
        let open = written.map(|entry| &mut entry.segments[segment]);
        // Absent: it was unlinked, and what was written is lost.
        if let Some(open @ Segment::Half) = open {
            *open = Segment::Whole;
        }
        let at = match self.role {
            Role::FailedWriter => At::ClosePinToDiscard,
            _ if segment + 1 < SEGMENTS => At::OpenSegment,
            _ => At::CheckName,
        };
        self.party().segment += 1;
        self.goes(at, call::ENCODER, "closes the segment")
    }

    pub fn close_pin_to_discard(&mut self) -> Step {
        self.let_go();
        let party = self.party();
        (party.uses, party.purpose) = (Use::Nothing, Purpose::Removal);
        self.goes(At::OpenLockfile, call::DISCARD, "closes its pin")
    }

    pub fn check_name(&mut self) -> Step {
        if self.state.parties[self.me].entry != self.state.disk.name {
            return self.end(call::MARK_COMPLETE, "another directory has the name");
        }
        self.goes(At::Seal, call::MARK_COMPLETE, "the name is its own")
    }

    /// Through the descriptor that is open since mkdir.
    pub fn seal(&mut self) -> Step {
        let (ino, has_room) = (self.party().entry, self.has_room);
        match ino.and_then(|ino| self.disk().entries[ino].as_mut()) {
            Some(entry) if has_room => {
                entry.complete = true;
                entry.used += 1;
                self.party().is_writer = false;
                self.begins_to_serve();
                self.goes(At::Serve, call::MARK_COMPLETE, "sealed")
            }
            Some(_) => self.end(call::MARK_COMPLETE, "no room"),
            None => self.end(call::MARK_COMPLETE, "ENOENT"),
        }
    }

    pub fn look_unlocked(&mut self) -> Step {
        if self.disk().named().is_some_and(|entry| entry.complete) {
            return self.goes(At::TouchUnlocked, call::WITHOUT_LOCKS, "hit");
        }
        self.end(call::WITHOUT_LOCKS, "miss")
    }

    pub fn touch_unlocked(&mut self) -> Step {
        if let Some(entry) = self.disk().named_mut() {
            entry.used += 1;
        }
        self.goes(At::OpenUnlocked, call::WITHOUT_LOCKS, "sets the mtime")
    }

    pub fn open_unlocked(&mut self) -> Step {
        let Some(ino) = self.disk().name else {
            return self.end(call::WITHOUT_LOCKS, "ENOENT");
        };
        self.party().uses = Use::HasOpen(ino);
        self.goes(At::CloseUnlocked, call::WITHOUT_LOCKS, "opens a file")
    }
}
