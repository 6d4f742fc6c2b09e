//! One step of one process. The steps of each kind are in `locking`, `daemons`, `remover` and `no_room`.

use std::fmt;

use crate::call::{self, Call};
use crate::disk::{Disk, Ino};
use crate::omission::Omission;
use crate::party::{At, Party, Role, Seen, Use, Warrant};

/// The most processes in a cast.
pub const PARTIES: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    pub disk: Disk,
    pub parties: [Party; PARTIES],
    pub broken: Broken,
}

/// Promises that a step broke, where the state after it does not show it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Broken {
    /// An entry left its name, or lost a file, while it was pinned.
    pub took_pinned: bool,
    /// A sweep took what had changed after its plan and before its claim.
    pub took_changed: bool,
    /// `verify --fix` took an entry that is not damaged.
    pub took_healthy: bool,
    /// A remover deleted, for good, what others had pinned before it left its name.
    pub deleted_pinned: bool,
    /// A run unsealed an entry without a lock while it had trash to delete.
    pub unsealed_needlessly: bool,
}

/// What a process did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    pub call: Call,
    /// The function under it whose system call this was.
    pub within: Option<Call>,
    pub outcome: &'static str,
}

impl Step {
    pub fn new(call: Call, outcome: &'static str) -> Self {
        Self { call, within: None, outcome }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, within, outcome } = self;
        match within {
            Some(within) => write!(f, "{call}, {within}: {outcome}"),
            None => write!(f, "{call}: {outcome}"),
        }
    }
}

/// A process whose turn it is.
pub struct Turn<'a> {
    pub state: &'a mut State,
    pub me: usize,
    pub role: Role,
    /// Whether the disk, and the quota of this process's user, has room for what the step creates.
    pub has_room: bool,
    pub omission: Option<Omission>,
}

impl Turn<'_> {
    pub fn step(&mut self) -> Step {
        match self.party().at {
            At::OpenLockfile => self.open_lockfile(),
            At::CreateLockfile => self.create_lockfile(),
            At::Flock => self.flock(),
            At::CheckLinkCount => self.check_link_count(),
            At::LookUp => self.look_up(),
            At::Touch => self.touch(),
            At::Serve => self.serve(),
            At::TakeWriteToRepair => self.take_write_to_repair(),
            At::ClosePinToRepair => self.close_pin_to_repair(),
            At::ServeOn => self.end(call::CLOSES, "its pin"),
            At::TakeWrite => self.take_write(),
            At::LookAgain => self.look_again(),
            At::MakeDirectory => self.make_directory(),
            At::OpenDirectory => self.open_directory(),
            At::OpenSegment => self.open_segment(),
            At::CloseSegment => self.close_segment(),
            At::ClosePinToDiscard => self.close_pin_to_discard(),
            At::CheckName => self.check_name(),
            At::Seal => self.seal(),
            At::LookUnlocked => self.look_unlocked(),
            At::TouchUnlocked => self.touch_unlocked(),
            At::OpenUnlocked => self.open_unlocked(),
            At::CloseUnlocked => self.end(call::WITHOUT_LOCKS, "closes its file"),
            At::DeleteLeftovers => self.delete_leftovers(),
            At::Scan => self.scan(),
            At::CheckUnused => self.check_unused(),
            At::Rescan => self.rescan(),
            At::RenameOut => self.rename_out(),
            At::CheckLeftBehind => self.check_left_behind(),
            At::UnsealInPlace => self.unseal_in_place(),
            At::DeleteTree => self.delete_tree(),
            At::Release => self.release(),
            At::EmptyTrash => self.empty_trash(),
            At::EmptyOwnTrash => self.empty_own_trash(),
            At::UnsealWithoutLock => self.unseal_without_lock(),
            At::CheckUnsealed => self.check_unsealed(),
            At::ProbeAfterRename => self.probe_after_rename(),
            At::RenameBack => self.rename_back(),
            At::DeleteLast => self.delete_last(),
            At::UnlinkPin => self.unlink_pin(),
            At::Gone => unreachable!("its process is gone"),
        }
    }

    pub fn party(&mut self) -> &mut Party {
        &mut self.state.parties[self.me]
    }

    pub fn disk(&mut self) -> &mut Disk {
        &mut self.state.disk
    }

    pub fn others(&self) -> impl Iterator<Item = &Party> {
        let me = self.me;
        self.state
            .parties
            .iter()
            .enumerate()
            .filter_map(move |(n, party)| (n != me).then_some(party))
    }

    pub fn omits(&self, omission: Omission) -> bool {
        self.omission == Some(omission)
    }

    /// Takes the step, after which the process is at `at`.
    pub fn goes(&mut self, at: At, call: Call, outcome: &'static str) -> Step {
        self.party().at = at;
        Step::new(call, outcome)
    }

    /// Takes the step, after which the process ends and closes its lockfiles.
    pub fn end(&mut self, call: Call, outcome: &'static str) -> Step {
        self.let_go();
        *self.party() = Party::GONE;
        Step::new(call, outcome)
    }

    /// What the name leads to.
    pub fn seen(&self) -> Option<Seen> {
        let disk = &self.state.disk;
        let (ino, entry) = (disk.name?, disk.named()?);
        let written = if entry.complete { 0 } else { entry.written };
        Some(Seen { ino, used: entry.used, complete: entry.complete, written })
    }

    /// Notes what it breaks that this process now takes `ino` from its name, or a file from it. A forced
    /// rename may: it ends the claims of those who use the entry.
    pub fn takes(&mut self, ino: Ino, is_rename: bool) {
        let (role, me) = (self.role, *self.party());
        let is_forced_rename = role == Role::Force && is_rename;
        let is_pinned = self.others().any(|other| other.is_pinning);
        let is_used = self.others().any(|other| other.is_using(ino) && !other.is_robbed);
        let state = &mut *self.state;
        if is_forced_rename {
            for other in state.parties.iter_mut().filter(|other| other.is_using(ino)) {
                other.is_robbed = true;
            }
        } else {
            state.broken.took_pinned |= is_pinned;
        }
        if me.warrant == Warrant::Unheld && is_rename && !is_forced_rename {
            for other in state.parties.iter_mut().filter(|other| other.is_pinning) {
                other.lost = Some(ino);
            }
        } else if me.warrant == Warrant::Unheld && !is_rename {
            state.broken.deleted_pinned |= is_used;
        }
        let is_damaged = state.disk.entries[ino].is_some_and(|entry| entry.damaged);
        state.broken.took_healthy |= role == Role::Verify && !is_damaged;
        state.broken.took_changed |= role == Role::Sweep && me.is_changed();
    }

    /// Deletes what this process has in the trash.
    pub fn delete_trash(&mut self, ino: Ino) {
        let name = self.disk().name;
        let is_missed = self.others().any(|other| other.misses(ino, name));
        self.state.broken.deleted_pinned |= is_missed;
        self.disk().entries[ino] = None;
    }
}

impl Party {
    /// Whether the entry had changed between its plan and its claim.
    fn is_changed(&self) -> bool {
        match (self.planned, self.at_claim) {
            // Unsealing is a change of its own, and moves the mtime.
            (Some(planned), Some(found))
                if self.has_unsealed && self.warrant == Warrant::Locked =>
            {
                found.ino != planned.ino || found.complete
            }
            (planned, Some(found)) => planned != Some(found),
            // Renamed back under the lock, as it was.
            (_, None) => false,
        }
    }
}

impl State {
    pub fn serves(&self, n: usize) -> Option<Ino> {
        match self.parties[n].uses {
            Use::Serves(ino) if !self.parties[n].is_robbed => Some(ino),
            _ => None,
        }
    }
}
