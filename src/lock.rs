//! The lockfile protocol: who may use an entry, who may write it, who may remove it.
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
//!    (`NoSpace`): held, the partial entry stays; still impossible, nobody holds it.
//! 6. **A lockfile belongs to the cache, not to who came first.** It is created with the root
//!    directory's mode & 0666 whatever the umask, and by root with the root directory's owner and
//!    group. It gets its name only after that, so that a process killed in between leaves nothing a
//!    daemon cannot open. Owner and mode of a file that this process did not create never change: a
//!    planted hard link would hand over any file.
//! 7. **Only a regular file will do**, opened without following a symlink and without blocking.
//! 8. **The maintenance lock is for manners.** Two sweeps at once are safe, only wasteful.
//! 9. **Looking creates nothing.** A probe finds no pin file and knows the key is not pinned.

use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FileType, FlockOperation, Gid, Mode, OFlags, Uid};
use rustix::io::{Errno, retry_on_intr};

use crate::key::Key;
use crate::layout;
use crate::problem::Problem;
use crate::root::Root;

/// How long a remover retries a refused lock before it means 'pinned': long against another tool's
/// probe, short against a viewer's film.
pub const PATIENCE: Duration = Duration::from_millis(100);

/// How long a reader waits for a remover: a rename takes 60 µs, but a deletion in place (a full disk)
/// can take longer than a viewer should wait for the first segment.
pub const READER_PATIENCE: Duration = Duration::from_secs(1);

/// Between two tries of a refused lock, since flock has no timeout of its own: a hundredth of the
/// patience, but within these.
const POLL: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_millis(100);

/// Times a lockfile may be unlinked under us before that is called an attack and an error.
const REOPENS: u32 = 64;

/// A held lock, released on drop or by the kernel at death.
#[derive(Debug)]
pub(crate) struct Held {
    _fd: OwnedFd,
}

/// Proof that nobody else can hold the pin of an entry: what removing takes. Only [`claim`] and
/// [`NoSpace::settle`] make it.
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
pub(crate) enum Claim {
    /// The entry may be removed, after a second look.
    Locked(Exclusive),
    /// Somebody uses it.
    Pinned,
    /// The pin does not exist, and the full disk has no room for it.
    NoSpace(NoSpace),
}

/// The exception of rule 5, half way: `.complete` must be unlinked before [`NoSpace::settle`].
#[derive(Debug)]
#[must_use]
pub(crate) struct NoSpace(Key);

impl NoSpace {
    /// Tries for the lock once more. Never answers `NoSpace`: still no room is nobody's pin.
    pub(crate) fn settle(self, root: &Root) -> Result<Claim, Problem> {
        Ok(match claim(root, self.0)? {
            Claim::NoSpace(NoSpace(key)) => Claim::Locked(Exclusive { key, held: None }),
            claim => claim,
        })
    }
}

/// Tries to lock the pin of `key` for removal, creating the lockfile if need be.
pub(crate) fn claim(root: &Root, key: Key) -> Result<Claim, Problem> {
    let name = layout::pin(key);
    match acquire(root, &name, Hold::Exclusive, PATIENCE, Missing::Create) {
        Ok(Acquired::Held(held)) => Ok(Claim::Locked(Exclusive { key, held: Some(held) })),
        Ok(Acquired::Refused | Acquired::Missing) => Ok(Claim::Pinned),
        Err(Failure::Create(Errno::NOSPC | Errno::DQUOT)) => Ok(Claim::NoSpace(NoSpace(key))),
        Err(failure) => Err(failure.problem(root, &name)),
    }
}

/// Whether `key` is pinned right now: one try, no retry, nothing created. `true` can be another
/// tool's probe; ask again until [`PATIENCE`] is over.
pub(crate) fn probe(root: &Root, key: Key) -> Result<bool, Problem> {
    let name = layout::pin(key);
    match acquire(root, &name, Hold::Exclusive, Duration::ZERO, Missing::Leave) {
        Ok(acquired) => Ok(matches!(acquired, Acquired::Refused)),
        Err(failure) => Err(failure.problem(root, &name)),
    }
}

/// Why an entry cannot be used at the moment. No error: a daemon serves uncached, and asks again for the
/// next viewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Busy {
    /// Another process holds the lock: a remover, or another writer.
    Locked,
    /// It takes writing to the cache, and that fails: the disk is full or read-only, or this user may
    /// not. Worth a line in the daemon's log.
    CannotWrite(Problem),
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked => f.write_str("another process holds its lock"),
            Self::CannotWrite(problem) => problem.fmt(f),
        }
    }
}

/// Whether writing failed for the state of the disk or for want of a right: nothing is wrong with the cache.
pub(crate) fn is_unwritable(errno: Errno) -> bool {
    use Errno as E;
    matches!(errno, E::NOSPC | E::DQUOT | E::ROFS | E::ACCESS | E::PERM)
}

/// Pins `key` as a reader or as its writer, waiting up to `patience` for a remover.
pub(crate) fn pin(
    root: &Root,
    key: Key,
    patience: Duration,
) -> Result<Result<Held, Busy>, Problem> {
    named(root, &layout::pin(key), Hold::Shared, patience)
}

/// Becomes the one writer of `key`, unless another process is.
pub(crate) fn writer(root: &Root, key: Key) -> Result<Result<Held, Busy>, Problem> {
    named(root, &layout::write(key), Hold::Exclusive, Duration::ZERO)
}

/// Becomes the one maintainer, waiting up to `wait` for another; `None` when it is still at work.
pub(crate) fn maintenance(root: &Root, wait: Duration) -> Result<Option<Held>, Problem> {
    match named(root, layout::MAINTENANCE_LOCK, Hold::Exclusive, wait)? {
        Ok(held) => Ok(Some(held)),
        Err(Busy::Locked) => Ok(None),
        Err(Busy::CannotWrite(problem)) => Err(problem),
    }
}

fn named(
    root: &Root,
    name: &str,
    mode: Hold,
    patience: Duration,
) -> Result<Result<Held, Busy>, Problem> {
    match acquire(root, name, mode, patience, Missing::Create) {
        Ok(Acquired::Held(held)) => Ok(Ok(held)),
        Ok(Acquired::Refused | Acquired::Missing) => Ok(Err(Busy::Locked)),
        Err(failure @ Failure::Create(errno)) if is_unwritable(errno) => {
            Ok(Err(Busy::CannotWrite(failure.problem(root, name))))
        }
        Err(failure) => Err(failure.problem(root, name)),
    }
}

#[derive(Clone, Copy)]
enum Hold {
    Shared,
    Exclusive,
}

/// What to do about a lockfile that does not exist.
#[derive(Clone, Copy)]
enum Missing {
    Create,
    Leave,
}

enum Acquired {
    Held(Held),
    Refused,
    Missing,
}

/// Why a lockfile could not be had; creating is told apart because of rule 5.
#[derive(Clone, Copy, Debug)]
enum Failure {
    Open(Errno),
    Create(Errno),
    NotRegular,
    Lock(Errno),
}

impl Failure {
    fn problem(self, root: &Root, name: &str) -> Problem {
        let path = root.path().join(name);
        let reason = |errno| io::Error::from(errno);
        match self {
            Self::Open(Errno::LOOP) => {
                Problem::new(path, "cannot open the lockfile", "it is a symlink")
            }
            Self::Open(errno) => Problem::new(path, "cannot open the lockfile", reason(errno)),
            Self::Create(errno) => Problem::new(path, "cannot create the lockfile", reason(errno)),
            Self::NotRegular => {
                Problem::new(path, "cannot use the lockfile", "it is not a regular file")
            }
            Self::Lock(errno) => Problem::new(path, "cannot lock", reason(errno)),
        }
    }
}

fn acquire(
    root: &Root,
    name: &str,
    mode: Hold,
    patience: Duration,
    missing: Missing,
) -> Result<Acquired, Failure> {
    let operation = match mode {
        Hold::Shared => FlockOperation::NonBlockingLockShared,
        Hold::Exclusive => FlockOperation::NonBlockingLockExclusive,
    };
    let start = Instant::now();
    let poll = (patience / 100).clamp(*POLL.start(), *POLL.end());
    for _ in 0..REOPENS {
        let Some(fd) = open(root, name, missing)? else { return Ok(Acquired::Missing) };
        loop {
            match retry_on_intr(|| rustix::fs::flock(&fd, operation)) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) if start.elapsed() >= patience => {
                    return Ok(Acquired::Refused);
                }
                Err(Errno::WOULDBLOCK) => thread::sleep(poll),
                Err(errno) => return Err(Failure::Lock(errno)),
            }
        }
        if rustix::fs::fstat(&fd).map_err(Failure::Lock)?.st_nlink > 0 {
            return Ok(Acquired::Held(Held { _fd: fd }));
        }
    }
    Err(Failure::Lock(Errno::STALE))
}

fn open(root: &Root, name: &str, missing: Missing) -> Result<Option<OwnedFd>, Failure> {
    for _ in 0..REOPENS {
        match open_existing(root, name) {
            Ok(fd) => return Ok(Some(fd)),
            Err(Failure::Open(Errno::NOENT)) => {}
            Err(failure) => return Err(failure),
        }
        match missing {
            Missing::Leave => return Ok(None),
            Missing::Create => match create(root, name) {
                Ok(fd) => return Ok(Some(fd)),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(Failure::Create(errno)),
            },
        }
    }
    Err(Failure::Open(Errno::STALE))
}

fn open_existing(root: &Root, name: &str) -> Result<OwnedFd, Failure> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let open = |access| {
        retry_on_intr(|| rustix::fs::openat(root.fd(), name, access | flags, Mode::empty()))
    };
    // Writable where it can be: NFS grants an exclusive lock on nothing else.
    let fd = match open(OFlags::RDWR) {
        Err(Errno::ACCESS | Errno::ROFS) => open(OFlags::RDONLY),
        other => other,
    }
    .map_err(|errno| match errno {
        Errno::ISDIR | Errno::NXIO => Failure::NotRegular,
        errno => Failure::Open(errno),
    })?;
    let stat = rustix::fs::fstat(&fd).map_err(Failure::Open)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(fd),
        _ => Err(Failure::NotRegular),
    }
}

/// Creates the file `name` for everybody who uses the cache (rule 6); `EEXIST` if it exists.
pub(crate) fn create(root: &Root, name: &str) -> rustix::io::Result<OwnedFd> {
    if let Ok(fd) = create_nameless(root) {
        // An error but EEXIST is the plain way's to report: it is the one every file system has.
        let link = format!("/proc/self/fd/{}", rustix::fd::AsRawFd::as_raw_fd(&fd));
        match retry_on_intr(|| {
            rustix::fs::linkat(rustix::fs::CWD, &link, root.fd(), name, AtFlags::SYMLINK_FOLLOW)
        }) {
            Ok(()) => return Ok(fd),
            Err(Errno::EXIST) => return Err(Errno::EXIST),
            Err(_) => {}
        }
    }
    // NFS, FUSE and old kernels have no nameless files; between these calls a kill leaves a lockfile
    // of our own umask, which is the best they allow.
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = retry_on_intr(|| rustix::fs::openat(root.fd(), name, flags, shared_mode(root)))?;
    give_to_cache(root, &fd);
    Ok(fd)
}

fn create_nameless(root: &Root) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let fd = retry_on_intr(|| rustix::fs::openat(root.fd(), c".", flags, shared_mode(root)))?;
    give_to_cache(root, &fd);
    Ok(fd)
}

fn shared_mode(root: &Root) -> Mode {
    Mode::from_raw_mode(root.mode & 0o666)
}

/// Failing is no error: the lock works for this process, and a file system that keeps no owners and
/// modes has none to get wrong.
fn give_to_cache(root: &Root, fd: impl AsFd) {
    let _ = rustix::fs::fchmod(&fd, shared_mode(root));
    if rustix::process::geteuid().is_root() {
        let (uid, gid) = (Uid::from_raw(root.uid), Gid::from_raw(root.gid));
        let _ = rustix::fs::fchown(&fd, Some(uid), Some(gid));
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests unlink what the library never does")]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn cache() -> (tempfile::TempDir, Root, Key) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        (dir, root, "0123456789abcdef".parse().unwrap())
    }

    fn is_locked(claim: &Claim) -> bool {
        matches!(claim, Claim::Locked(_))
    }

    #[test]
    fn readers_share_a_pin() {
        let (_dir, root, key) = cache();
        let _first = pin(&root, key, Duration::ZERO).unwrap().unwrap();
        assert!(pin(&root, key, Duration::ZERO).unwrap().is_ok());
    }

    #[test]
    fn a_reader_keeps_removers_out_and_its_end_lets_them_in() {
        let (_dir, root, key) = cache();
        let reader = pin(&root, key, Duration::ZERO).unwrap().unwrap();
        assert!(matches!(claim(&root, key).unwrap(), Claim::Pinned));
        assert!(probe(&root, key).unwrap());
        drop(reader);
        assert!(!probe(&root, key).unwrap());
        assert!(is_locked(&claim(&root, key).unwrap()));
    }

    #[test]
    fn a_remover_keeps_readers_and_removers_out() {
        let (_dir, root, key) = cache();
        let removing = claim(&root, key).unwrap();
        assert!(is_locked(&removing));
        assert_eq!(pin(&root, key, Duration::from_millis(5)).unwrap().unwrap_err(), Busy::Locked);
        assert!(matches!(claim(&root, key).unwrap(), Claim::Pinned));
        drop(removing);
        assert!(pin(&root, key, Duration::ZERO).unwrap().is_ok());
    }

    #[test]
    fn there_is_one_writer_and_it_does_not_pin() {
        let (_dir, root, key) = cache();
        let _writer = writer(&root, key).unwrap().unwrap();
        assert_eq!(writer(&root, key).unwrap().unwrap_err(), Busy::Locked);
        assert!(is_locked(&claim(&root, key).unwrap()));
    }

    #[test]
    fn there_is_one_maintainer() {
        let (_dir, root, _) = cache();
        let _held = maintenance(&root, Duration::ZERO).unwrap().unwrap();
        assert!(maintenance(&root, Duration::from_millis(5)).unwrap().is_none());
    }

    #[test]
    fn probing_creates_nothing() {
        let (dir, root, key) = cache();
        assert!(!probe(&root, key).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_lock_on_an_unlinked_file_is_not_taken_for_the_lock() {
        let (dir, root, key) = cache();
        let name = layout::pin(key);
        let path = dir.path().join(&name);
        let _reader = pin(&root, key, Duration::ZERO).unwrap().unwrap();
        fs::remove_file(&path).unwrap();
        let Ok(Claim::Locked(_held)) = claim(&root, key) else { panic!("not locked") };
        assert!(path.exists(), "the new lock has a name that others can find");
    }

    #[test]
    fn a_new_lockfile_has_the_root_directorys_mode() {
        let (dir, _, key) = cache();
        for (directory, file) in [(0o2770, 0o660), (0o755, 0o644), (0o700, 0o600), (0o777, 0o666)] {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(directory)).unwrap();
            let root = Root::open(dir.path()).unwrap();
            let path = dir.path().join(layout::pin(key));
            let _ = pin(&root, key, Duration::ZERO).unwrap();
            assert_eq!(path.metadata().unwrap().mode() & 0o7777, file, "{directory:o}");
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn only_a_regular_file_locks_and_none_is_changed() {
        let (dir, root, key) = cache();
        let path = dir.path().join(layout::pin(key));
        let outside = dir.path().join("outside");
        fs::write(&outside, "x").unwrap();
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o400)).unwrap();
        symlink(&outside, &path).unwrap();
        assert!(claim(&root, key).is_err());
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(claim(&root, key).is_err());
        fs::remove_dir(&path).unwrap();
        fs::hard_link(&outside, &path).unwrap();
        let _ = claim(&root, key).unwrap();
        assert_eq!(outside.metadata().unwrap().mode() & 0o7777, 0o400);
    }
}
