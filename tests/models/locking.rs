//! Locking the pin: `locks::acquire`, one system call a step (rules 1, 2 and 8).

use crate::call::{self, Call};
use crate::omission::Omission;
use crate::party::{At, Mode, Purpose, Role, Warrant};
use crate::turn::{Step, Turn};

impl Turn<'_> {
    pub fn open_lockfile(&mut self) -> Step {
        let Some(pin) = self.disk().pin else {
            return self.locks(At::CreateLockfile, call::OPEN_EXISTING, "ENOENT");
        };
        if self.omits(Omission::PinnedMeansExists) {
            return match self.party().purpose {
                Purpose::Pin => {
                    self.party().lock = Some(Mode::Shared);
                    self.is_held(call::OPEN_EXISTING, "exists")
                }
                _ => self.is_refused(call::OPEN_EXISTING, "exists"),
            };
        }
        self.party().pin = Some(pin);
        self.locks(At::Flock, call::OPEN_EXISTING, "opened")
    }

    /// `O_CREAT|O_EXCL`, or a link that is as exclusive.
    pub fn create_lockfile(&mut self) -> Step {
        if self.disk().pin.is_some() {
            return self.locks(At::OpenLockfile, call::CREATE, "EEXIST");
        }
        if !self.has_room {
            return self.finds_no_room(call::CREATE, "no room");
        }
        self.disk().create_pin();
        if self.omits(Omission::PinnedMeansExists) {
            self.party().lock = Some(Mode::Exclusive);
            return self.is_held(call::CREATE, "created");
        }
        self.party().pin = self.disk().pin;
        self.locks(At::Flock, call::CREATE, "created")
    }

    /// Non-blocking. A step may come at any time, so that a refusal stands for one after all retries.
    pub fn flock(&mut self) -> Step {
        let mode = match self.state.parties[self.me].purpose {
            Purpose::Pin => Mode::Shared,
            _ if self.omits(Omission::RemoverLocksShared) => Mode::Shared,
            _ => Mode::Exclusive,
        };
        if self.conflicts(mode) {
            self.party().pin = None;
            return self.is_refused(call::ACQUIRE, "refused");
        }
        self.party().lock = Some(mode);
        let how = if mode == Mode::Shared { "locked shared" } else { "locked exclusively" };
        self.locks(At::CheckLinkCount, call::ACQUIRE, how)
    }

    /// Rule 8: a lock on a file without a name is no lock.
    pub fn check_link_count(&mut self) -> Step {
        let has_name = self.state.parties[self.me].pin == self.state.disk.pin;
        if !has_name && !self.omits(Omission::LinkCountIsIgnored) {
            let party = self.party();
            (party.pin, party.lock) = (None, None);
            return self.locks(At::OpenLockfile, call::ACQUIRE, "link count 0");
        }
        self.is_held(call::ACQUIRE, "held")
    }

    /// Whether another process's lock on the same inode excludes this one.
    pub fn conflicts(&self, mode: Mode) -> bool {
        let pin = self.state.parties[self.me].pin;
        self.others().any(|other| {
            other.pin == pin
                && other.lock.is_some_and(|held| held == Mode::Exclusive || mode == Mode::Exclusive)
        })
    }

    /// Closes the lockfile, if it is open.
    pub fn let_go(&mut self) {
        let deletes =
            self.omits(Omission::PinIsUnlinked) || self.omits(Omission::PinnedMeansExists);
        if deletes && self.party().lock.is_some() {
            self.disk().pin = None;
        }
        let party = self.party();
        (party.pin, party.lock, party.is_pinning, party.lost) = (None, None, false, None);
    }

    fn is_held(&mut self, within: Call, outcome: &'static str) -> Step {
        let purpose = self.party().purpose;
        let step = self.locks(At::Gone, within, outcome);
        if purpose == Purpose::Pin {
            self.party().is_pinning = true;
            self.party().at = match self.role {
                Role::Writer | Role::FailedWriter if self.omits(Omission::WriterLooksOnce) => {
                    At::MakeDirectory
                }
                Role::Writer | Role::FailedWriter => At::LookAgain,
                _ if self.omits(Omission::ReaderLooksFirst) => self.begins_to_serve(),
                _ => At::LookUp,
            };
        } else {
            self.claims(Warrant::Locked);
        }
        step
    }

    fn is_refused(&mut self, within: Call, outcome: &'static str) -> Step {
        let step = self.locks(At::Gone, within, outcome);
        let may_force = !matches!(self.party().purpose, Purpose::Pin | Purpose::InPlace);
        if may_force && self.role == Role::Force {
            self.claims(Warrant::Forced);
        } else {
            self.end(step.call, outcome);
        }
        step
    }

    fn finds_no_room(&mut self, within: Call, outcome: &'static str) -> Step {
        let step = self.locks(At::Gone, within, outcome);
        let party = *self.party();
        let keeps_trash = self.omission.is_some_and(Omission::keeps_own_trash);
        match party.purpose {
            Purpose::Pin => _ = self.end(step.call, outcome),
            _ if self.omits(Omission::NoException) || self.role == Role::Tidier => {
                self.end(step.call, outcome);
            }
            // Rule 9: first delete what this run has in the trash already.
            Purpose::Removal if party.has_own_trash && !keeps_trash => {
                self.party().at = At::EmptyOwnTrash;
            }
            Purpose::Removal | Purpose::RemovalAgain => self.claims(Warrant::NoRoom),
            Purpose::Settle => self.claims(Warrant::Unheld),
            Purpose::InPlace => self.party().at = At::DeleteLast,
        }
        step
    }

    /// The outer call is the one that the lock is for.
    fn locks(&mut self, at: At, within: Call, outcome: &'static str) -> Step {
        let call = match self.party().purpose {
            Purpose::Pin => call::PIN,
            Purpose::Removal | Purpose::RemovalAgain | Purpose::InPlace => call::LOCK_FOR_REMOVAL,
            Purpose::Settle => call::SETTLE,
        };
        Step { within: Some(within), ..self.goes(at, call, outcome) }
    }
}
