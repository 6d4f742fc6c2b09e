//! The lockfile protocol: who may use an entry, who may write it, who may remove it.
//!
//! Here: lockfiles, and the processes that use an entry. Not here: the content of entries, and the work
//! done under a lock.
//!
//! The rules, each with its reason, found by measurement:
//!
//! 1. **Pinned means locked.** A key is pinned exactly while some process holds `flock` on
//!    `.{key}.pin`. The file's existence, content and age mean nothing. The kernel releases the lock of
//!    a crashed holder, and locks work across containers and user ids on one kernel.
//! 2. **Readers and the writer hold it shared; only a remover locks it exclusively**, non-blocking, on
//!    a descriptor of its own. Nobody upgrades a shared lock: a failed upgrade loses it. A remover
//!    retries for [`PATIENCE`], because another tool's probe holds the lock for microseconds.
//! 3. **After locking, read the entry again.** It may have changed before the lock was taken.
//! 4. **Lockfiles are never unlinked, read or written.** Unlinking one would let two processes hold
//!    "the" lock on two inodes. After locking, reopen the file if its link count is 0.
//! 5. **A remover that cannot lock the pin keeps the entry**, with one exception: the pin does not exist
//!    and cannot be created because the disk is full, which is when eviction matters most. Then the
//!    remover unlinks `.complete`, so that later readers see a miss, and tries to lock once more
//!    (`NoRoom`). If another process holds the pin by then, the partial entry stays; if the pin still
//!    cannot be created, nobody can hold it.
//! 6. **A lockfile belongs to the owner of the cache, not to the process that created it.** It gets the
//!    root directory's mode & 0666 whatever the umask, and from root also the root directory's owner and
//!    group. It gets its name only after that, so that a process killed in between leaves no lockfile
//!    that a daemon cannot open. A process never changes owner or mode of a file that it did not
//!    create: through a planted hard link it would give away any file.
//! 7. **A lockfile must be a regular file**, opened without following a symlink and without blocking.
//! 8. **The maintenance lock is not needed for safety.** Two sweeps at once are safe, only wasteful.
//! 9. **A probe creates nothing.** If there is no pin file, the key is not pinned.

mod holders;
mod lockfile;
mod open;
#[cfg(test)]
mod tests;

use std::time::Duration;

use rustix::io::Errno;

use self::lockfile::{Acquired, LockError, LockMode, Missing, acquire};
use crate::error::Error;
use crate::key::Key;
use crate::layout;
use crate::root::Root;

pub use self::holders::Holder;
pub(crate) use self::holders::{of_maintenance_lock, of_pins};
pub(crate) use self::lockfile::{Held, create, create_nameless, give_name};
pub(crate) use self::open::OpenFiles;
pub use crate::sys::processes::ProcessCount;

/// How long a remover retries a refused lock before it takes the entry for pinned: much longer than
/// another tool's probe (microseconds), much shorter than a reader holds the pin.
pub const PATIENCE: Duration = Duration::from_millis(100);

/// How long a reader waits for a remover. A rename takes 60 µs, but deleting an entry in place (on a full
/// disk) can take longer than a viewer should wait for the first segment.
pub const READER_PATIENCE: Duration = Duration::from_secs(1);

/// Proof that no other process can hold the pin of an entry, which removing it requires. Only
/// [`lock_for_removal`] and [`NoRoom::settle`] make it.
#[derive(Debug)]
#[must_use]
pub(crate) struct Exclusive {
    key: Key,
    /// `None` under rule 5: the pin does not exist and cannot be created, so nobody holds it.
    held: Option<Held>,
}

impl Exclusive {
    /// The entry whose pin is locked.
    pub(crate) fn key(&self) -> Key {
        self.key
    }

    /// Whether this process holds the lock; false under rule 5.
    pub(crate) fn is_held(&self) -> bool {
        self.held.is_some()
    }
}

/// Result of a remover's try to lock a pin.
#[derive(Debug)]
#[must_use]
pub(crate) enum LockForRemoval {
    /// The caller may remove the entry after reading it again.
    Locked(Exclusive),
    /// Another process holds the pin.
    Pinned,
    /// The pin does not exist, and the disk is too full to create it.
    NoRoom(NoRoom),
}

/// First half of the exception of rule 5: unlink `.complete`, then call [`NoRoom::settle`].
#[derive(Debug)]
#[must_use]
pub(crate) struct NoRoom(Key);

impl NoRoom {
    /// Tries to lock once more. Never returns `NoRoom`: if there is still no room for the pin, nobody can
    /// hold it.
    pub(crate) fn settle(self, root: &Root) -> Result<LockForRemoval, Error> {
        Ok(match lock_for_removal(root, self.0)? {
            LockForRemoval::NoRoom(NoRoom(key)) => {
                LockForRemoval::Locked(Exclusive { key, held: None })
            }
            other => other,
        })
    }
}

/// Tries to lock the pin of `key` for removal, and creates the lockfile if there is none.
pub(crate) fn lock_for_removal(root: &Root, key: Key) -> Result<LockForRemoval, Error> {
    let name = layout::pin(key);
    match acquire(root, &name, LockMode::Exclusive, PATIENCE, Missing::Create) {
        Ok(Acquired::Held(held)) => Ok(LockForRemoval::Locked(Exclusive { key, held: Some(held) })),
        Ok(Acquired::Refused | Acquired::Missing) => Ok(LockForRemoval::Pinned),
        Err(LockError::Create(Errno::NOSPC | Errno::DQUOT)) => {
            Ok(LockForRemoval::NoRoom(NoRoom(key)))
        }
        Err(failure) => Err(failure.into_error(root, &name)),
    }
}

/// Whether `key` is pinned right now. Tries once and creates nothing. `true` can be another tool's probe:
/// ask again until [`PATIENCE`] is over.
pub(crate) fn probe(root: &Root, key: Key) -> Result<bool, Error> {
    let name = layout::pin(key);
    match acquire(root, &name, LockMode::Exclusive, Duration::ZERO, Missing::Leave) {
        Ok(acquired) => Ok(matches!(acquired, Acquired::Refused)),
        Err(failure) => Err(failure.into_error(root, &name)),
    }
}

/// Why an entry cannot be used at the moment. This is not an error: a daemon serves uncached and tries
/// again for the next viewer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    /// Another process holds the lock: a remover, or another writer.
    #[error("another process holds its lock")]
    Locked,
    /// Using the entry requires writing to the cache, which failed: the disk is full or read-only, or this
    /// user lacks the permission. A daemon should log it.
    #[error(transparent)]
    CannotWrite(Error),
}

/// Whether writing failed because the disk is full or read-only or for lack of permission; the cache itself
/// is fine.
pub(crate) fn is_unwritable(errno: Errno) -> bool {
    use Errno as E;
    matches!(errno, E::NOSPC | E::DQUOT | E::ROFS | E::ACCESS | E::PERM)
}

/// Pins `key` as a reader or as its writer, waiting up to `patience` for a remover.
pub(crate) fn pin(root: &Root, key: Key, patience: Duration) -> Result<Result<Held, Busy>, Error> {
    named(root, &layout::pin(key), LockMode::Shared, patience)
}

/// Locks `.write` of `key`; `Busy` if another process is the writer.
pub(crate) fn writer(root: &Root, key: Key) -> Result<Result<Held, Busy>, Error> {
    named(root, &layout::write(key), LockMode::Exclusive, Duration::ZERO)
}

/// Takes the maintenance lock, waiting up to `wait` for another maintainer; `None` if it is still busy.
pub(crate) fn maintenance(root: &Root, wait: Duration) -> Result<Option<Held>, Error> {
    match named(root, layout::MAINTENANCE_LOCK, LockMode::Exclusive, wait)? {
        Ok(held) => Ok(Some(held)),
        Err(Busy::Locked) => Ok(None),
        Err(Busy::CannotWrite(error)) => Err(error),
    }
}

fn named(
    root: &Root,
    name: &str,
    mode: LockMode,
    patience: Duration,
) -> Result<Result<Held, Busy>, Error> {
    match acquire(root, name, mode, patience, Missing::Create) {
        Ok(Acquired::Held(held)) => Ok(Ok(held)),
        Ok(Acquired::Refused | Acquired::Missing) => Ok(Err(Busy::Locked)),
        Err(failure @ LockError::Create(errno)) if is_unwritable(errno) => {
            Ok(Err(Busy::CannotWrite(failure.into_error(root, name))))
        }
        Err(failure) => Err(failure.into_error(root, name)),
    }
}
