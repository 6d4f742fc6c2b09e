//! The processes: what each is, and what it knows.

use std::fmt;

use crate::disk::{Disk, Ino};

/// What a process was started to do. Each does it once; a cast may hold one twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Nobody,
    /// A daemon's hit: pin, look, serve, close.
    Reader,
    /// A daemon's hit that serves, finds damage and removes the entry.
    Repairer,
    /// A daemon's miss: write, seal, serve, close.
    Writer,
    /// A daemon's miss whose encode fails: it removes what it wrote.
    FailedWriter,
    /// A daemon that takes no locks: look, set the mtime, open a file, close it.
    Unlocked,
    Sweep,
    /// `verify --fix`.
    Verify,
    Invalidate,
    /// `invalidate --force`.
    Force,
    /// Another program, which deletes lockfiles that nobody holds.
    Tidier,
    /// Another program, which deletes entries as `rm -r` does.
    Stranger,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nobody => "nobody",
            Self::Reader => "reader",
            Self::Repairer => "repairer",
            Self::Writer => "writer",
            Self::FailedWriter => "failed writer",
            Self::Unlocked => "daemon without locks",
            Self::Sweep => "sweep",
            Self::Verify => "verify --fix",
            Self::Invalidate => "invalidate",
            Self::Force => "invalidate --force",
            Self::Tidier => "tidier",
            Self::Stranger => "rm -r",
        })
    }
}

/// The next step of a process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum At {
    // Locking the pin, for whichever reason.
    OpenLockfile,
    CreateLockfile,
    Flock,
    CheckLinkCount,
    // A hit.
    LookUp,
    Touch,
    Serve,
    // A hit that finds damage.
    TakeWriteToRepair,
    ClosePinToRepair,
    ServeOn,
    // A miss.
    TakeWrite,
    LookAgain,
    MakeDirectory,
    OpenDirectory,
    OpenSegment,
    CloseSegment,
    ClosePinToDiscard,
    CheckName,
    Seal,
    // A hit without locks.
    LookUnlocked,
    TouchUnlocked,
    OpenUnlocked,
    CloseUnlocked,
    // Removal.
    DeleteLeftovers,
    Scan,
    CheckUnused,
    Rescan,
    RenameOut,
    CheckLeftBehind,
    UnsealInPlace,
    DeleteTree,
    Release,
    EmptyTrash,
    // Removal on a full disk.
    EmptyOwnTrash,
    UnsealWithoutLock,
    CheckUnsealed,
    ProbeAfterRename,
    RenameBack,
    DeleteLast,
    // Another program's.
    UnlinkPin,
    /// Finished or killed.
    Gone,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mode {
    Shared,
    Exclusive,
}

/// Why a process locks the pin.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Purpose {
    Pin,
    Removal,
    /// Removal, after the run has emptied its own trash.
    RemovalAgain,
    /// Removal, after the entry was unsealed without a lock.
    Settle,
    /// Deletion in place without a lock, before each file.
    InPlace,
}

/// `removal::Warrant`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Warrant {
    None,
    Locked,
    Forced,
    /// No room for the pin.
    NoRoom,
    /// Still no room for the pin after the entry was unsealed.
    Unheld,
}

/// What an entry's name led to when a process looked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Seen {
    pub ino: Ino,
    pub used: u8,
    pub complete: bool,
    /// Of a partial entry; a sealed one is not written to.
    pub written: u8,
}

/// What a process does with an entry, which the promises are about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Use {
    Nothing,
    Serves(Ino),
    Writes(Ino),
    /// Has a file of it open, without a lock.
    HasOpen(Ino),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Party {
    pub at: At,
    pub purpose: Purpose,
    /// The open lockfile.
    pub pin: Option<Ino>,
    /// The lock that the kernel holds for it.
    pub lock: Option<Mode>,
    /// Whether it believes to have pinned the entry.
    pub is_pinning: bool,
    /// Whether it has locked `.write`.
    pub is_writer: bool,
    pub uses: Use,
    /// Whether a forced removal took what it uses.
    pub is_robbed: bool,
    /// What left its name, without a lock, while this process had pinned it.
    pub lost: Option<Ino>,
    /// The directory that a writer has open, or that a reader found.
    pub entry: Option<Ino>,
    pub segment: usize,
    pub warrant: Warrant,
    pub planned: Option<Seen>,
    /// What the name really led to when the process claimed it, whether it looked or not.
    pub at_claim: Option<Seen>,
    pub has_unsealed: bool,
    pub trash: Option<Ino>,
    /// Whether this run has removed other entries whose trash it has not deleted yet.
    pub has_own_trash: bool,
}

impl Party {
    pub const GONE: Self = Self {
        at: At::Gone,
        purpose: Purpose::Pin,
        pin: None,
        lock: None,
        is_pinning: false,
        is_writer: false,
        uses: Use::Nothing,
        is_robbed: false,
        lost: None,
        entry: None,
        segment: 0,
        warrant: Warrant::None,
        planned: None,
        at_claim: None,
        has_unsealed: false,
        trash: None,
        has_own_trash: false,
    };

    pub fn new(role: Role, has_own_trash: bool, looks_first: bool) -> Self {
        let (at, purpose) = match role {
            Role::Nobody => (At::Gone, Purpose::Pin),
            Role::Reader if looks_first => (At::LookUp, Purpose::Pin),
            Role::Reader | Role::Repairer => (At::OpenLockfile, Purpose::Pin),
            Role::Writer | Role::FailedWriter => (At::TakeWrite, Purpose::Pin),
            Role::Unlocked => (At::LookUnlocked, Purpose::Pin),
            Role::Sweep => (At::DeleteLeftovers, Purpose::Removal),
            Role::Verify | Role::Invalidate | Role::Force => (At::Scan, Purpose::Removal),
            Role::Tidier => (At::OpenLockfile, Purpose::Removal),
            Role::Stranger => (At::DeleteTree, Purpose::Removal),
        };
        Self { at, purpose, has_own_trash, ..Self::GONE }
    }

    pub fn is_gone(&self) -> bool {
        self.at == At::Gone
    }

    /// Whether the next step creates a file or a directory.
    pub fn needs_room(&self, disk: &Disk) -> bool {
        match self.at {
            At::CreateLockfile => disk.pin.is_none(),
            At::TakeWrite | At::TakeWriteToRepair => !disk.has_write,
            At::MakeDirectory => disk.name.is_none(),
            At::OpenSegment | At::Seal => true,
            _ => false,
        }
    }

    /// Whether it misses `ino`, which left its name while pinned, when that is deleted for good. Who has pinned the key and then finds another
    /// entry of that name misses nothing.
    pub fn misses(&self, ino: Ino, name: Option<Ino>) -> bool {
        let is_using = self.is_using(ino) && !self.is_robbed;
        self.lost == Some(ino) && (is_using || name.is_none())
    }

    pub fn is_using(&self, ino: Ino) -> bool {
        matches!(self.uses, Use::Serves(used) | Use::Writes(used) if used == ino)
    }
}
