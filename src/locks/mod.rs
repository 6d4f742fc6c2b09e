//! The lockfile protocol: who may use an entry, who may write it, who may remove it.
//!
//! Here: lockfiles, who holds them, and nothing of what an entry holds. Not here: what follows from a lock.
//!
//! Rules, each with the reason that measurement gave it:
//!
//! 1. **Pinned means locked.** A key is pinned exactly while some process holds `flock` on
//!    `.{key}.pin`. That the file exists, what is in it and how old it is mean nothing: the kernel
//!    releases a crashed holder's lock, across containers and user ids on one kernel.
//! 2. **Readers and the writer hold it shared; only a remover takes it exclusive**, non-blocking, on
//!    a descriptor of its own. A shared lock is never upgraded: a failed upgrade loses it. A refusal
//!    is retried for [`PATIENCE`], because another tool's probe holds the lock for microseconds.
//! 3. **After locking, look again.** Whatever was seen before the lock may have changed.
//! 4. **Lockfiles are never unlinked, read or written.** Unlinking one would let two processes hold
//!    "the" lock on two inodes; so a descriptor whose file has no name any more is opened anew.
//! 5. **Failing to lock means do not remove**, with one exception: a pin that does not exist and
//!    cannot be created because the disk is full, which is when eviction matters most. Then the
//!    remover unlinks `.complete`, so that whoever pins from now on sees a miss, and tries once more
//!    (`NoRoom`): held, the partial entry stays; still impossible, nobody holds it.
//! 6. **A lockfile belongs to the cache, not to who came first.** It is created with the root
//!    directory's mode & 0666 whatever the umask, and by root with the root directory's owner and
//!    group. It gets its name only after that, so that a process killed in between leaves nothing a
//!    daemon cannot open. Owner and mode of a file that this process did not create never change: a
//!    planted hard link would hand over any file.
//! 7. **Only a regular file will do**, opened without following a symlink and without blocking.
//! 8. **The maintenance lock is for manners.** Two sweeps at once are safe, only wasteful.
//! 9. **Looking creates nothing.** A probe finds no pin file and knows the key is not pinned.

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
pub(crate) use self::lockfile::{Held, create};
pub(crate) use self::open::OpenFiles;
pub use crate::sys::processes::ProcessCount;

/// How long a remover retries a refused lock before it means 'pinned': long against another tool's
/// probe, short against a viewer's film.
pub const PATIENCE: Duration = Duration::from_millis(100);

/// How long a reader waits for a remover: a rename takes 60 µs, but a deletion in place (a full disk)
/// can take longer than a viewer should wait for the first segment.
pub const READER_PATIENCE: Duration = Duration::from_secs(1);

/// Proof that nobody else can hold the pin of an entry: what removing takes. Only [`lock_for_removal`] and
/// [`NoRoom::settle`] make it.
#[derive(Debug)]
#[must_use]
pub(crate) struct Exclusive {
    key: Key,
    /// `None` under rule 5: the pin cannot exist, so nobody holds it.
    held: Option<Held>,
}

impl Exclusive {
    /// The entry this is the proof for.
    pub(crate) fn key(&self) -> Key {
        self.key
    }

    /// Whether it is a lock, and not just that nobody can have one.
    pub(crate) fn is_held(&self) -> bool {
        self.held.is_some()
    }
}

/// What a remover's try for the pin came to.
#[derive(Debug)]
#[must_use]
pub(crate) enum LockForRemoval {
    /// The entry may be removed, after a second look.
    Locked(Exclusive),
    /// Somebody uses it.
    Pinned,
    /// The pin does not exist, and the full disk has no room for it.
    NoRoom(NoRoom),
}

/// The exception of rule 5, half way: `.complete` must be unlinked before [`NoRoom::settle`].
#[derive(Debug)]
#[must_use]
pub(crate) struct NoRoom(Key);

impl NoRoom {
    /// Tries for the lock once more. Never answers `NoRoom`: still no room is nobody's pin.
    pub(crate) fn settle(self, root: &Root) -> Result<LockForRemoval, Error> {
        Ok(match lock_for_removal(root, self.0)? {
            LockForRemoval::NoRoom(NoRoom(key)) => {
                LockForRemoval::Locked(Exclusive { key, held: None })
            }
            other => other,
        })
    }
}

/// Tries to lock the pin of `key` for removal, creating the lockfile if need be.
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

/// Whether `key` is pinned right now: one try, no retry, nothing created. `true` can be another
/// tool's probe; ask again until [`PATIENCE`] is over.
pub(crate) fn probe(root: &Root, key: Key) -> Result<bool, Error> {
    let name = layout::pin(key);
    match acquire(root, &name, LockMode::Exclusive, Duration::ZERO, Missing::Leave) {
        Ok(acquired) => Ok(matches!(acquired, Acquired::Refused)),
        Err(failure) => Err(failure.into_error(root, &name)),
    }
}

/// Why an entry cannot be used at the moment. No error: a daemon serves uncached, and asks again for the
/// next viewer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    /// Another process holds the lock: a remover, or another writer.
    #[error("another process holds its lock")]
    Locked,
    /// It takes writing to the cache, and that fails: the disk is full or read-only, or this user may
    /// not. Worth a line in the daemon's log.
    #[error(transparent)]
    CannotWrite(Error),
}

/// Whether writing failed for the state of the disk or for want of a right: nothing is wrong with the cache.
pub(crate) fn is_unwritable(errno: Errno) -> bool {
    use Errno as E;
    matches!(errno, E::NOSPC | E::DQUOT | E::ROFS | E::ACCESS | E::PERM)
}

/// Pins `key` as a reader or as its writer, waiting up to `patience` for a remover.
pub(crate) fn pin(root: &Root, key: Key, patience: Duration) -> Result<Result<Held, Busy>, Error> {
    named(root, &layout::pin(key), LockMode::Shared, patience)
}

/// Becomes the one writer of `key`, unless another process is.
pub(crate) fn writer(root: &Root, key: Key) -> Result<Result<Held, Busy>, Error> {
    named(root, &layout::write(key), LockMode::Exclusive, Duration::ZERO)
}

/// Becomes the one maintainer, waiting up to `wait` for another; `None` when it is still at work.
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
