//! One lockfile: open or create it, lock it, and check that it still has its name.

use std::ops::RangeInclusive;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FileType, FlockOperation, Gid, Mode, OFlags, Uid};
use rustix::io::{Errno, retry_on_intr};

use crate::error::{Error, Operation, Reason};
use crate::root::Root;

/// Pause between two tries of a refused lock, since flock has no timeout of its own: a hundredth of the
/// patience, clamped to this range.
const POLL: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_millis(100);

/// How often a lockfile may be unlinked while we lock it before we report an error: no honest program
/// unlinks lockfiles at all.
const REOPENS: u32 = 64;

/// A held lock, released on drop or by the kernel at death.
#[derive(Debug)]
pub(crate) struct Held {
    pub(super) _fd: OwnedFd,
}

#[derive(Clone, Copy)]
pub(super) enum LockMode {
    Shared,
    Exclusive,
}

/// What to do about a lockfile that does not exist.
#[derive(Clone, Copy)]
pub(super) enum Missing {
    Create,
    Leave,
}

pub(super) enum Acquired {
    Held(Held),
    Refused,
    Missing,
}

/// Why a lockfile could not be locked. `Create` is separate because rule 5 depends on it.
#[derive(Clone, Copy, Debug)]
pub(super) enum LockError {
    Open(Errno),
    Create(Errno),
    NotRegular,
    Lock(Errno),
}

impl LockError {
    pub(super) fn into_error(self, root: &Root, name: &str) -> Error {
        let (operation, reason) = match self {
            Self::Open(Errno::LOOP) => (Operation::OpenLockfile, Reason::Symlink),
            Self::Open(errno) => (Operation::OpenLockfile, errno.into()),
            Self::Create(errno) => (Operation::CreateLockfile, errno.into()),
            Self::NotRegular => (Operation::UseLockfile, Reason::NotRegular),
            Self::Lock(errno) => (Operation::Lock, errno.into()),
        };
        Error::new(operation, root.path().join(name), reason)
    }
}

pub(super) fn acquire(
    root: &Root,
    name: &str,
    mode: LockMode,
    patience: Duration,
    missing: Missing,
) -> Result<Acquired, LockError> {
    let operation = match mode {
        LockMode::Shared => FlockOperation::NonBlockingLockShared,
        LockMode::Exclusive => FlockOperation::NonBlockingLockExclusive,
    };
    let began = Instant::now();
    let poll = (patience / 100).clamp(*POLL.start(), *POLL.end());
    for _ in 0..REOPENS {
        let Some(fd) = open(root, name, missing)? else { return Ok(Acquired::Missing) };
        let is_locked = loop {
            match retry_on_intr(|| rustix::fs::flock(&fd, operation)) {
                Ok(()) => break true,
                Err(Errno::WOULDBLOCK) if began.elapsed() >= patience => break false,
                Err(Errno::WOULDBLOCK) => thread::sleep(poll),
                Err(errno) => return Err(LockError::Lock(errno)),
            }
        };
        // One look for both questions, and after the lock: a scan asks them of every entry.
        let stat = rustix::fs::fstat(&fd).map_err(LockError::Lock)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(LockError::NotRegular);
        }
        if !is_locked {
            return Ok(Acquired::Refused);
        }
        if stat.st_nlink > 0 {
            return Ok(Acquired::Held(Held { _fd: fd }));
        }
    }
    Err(LockError::Lock(Errno::STALE))
}

fn open(root: &Root, name: &str, missing: Missing) -> Result<Option<OwnedFd>, LockError> {
    for _ in 0..REOPENS {
        match open_existing(root, name) {
            Ok(fd) => return Ok(Some(fd)),
            Err(LockError::Open(Errno::NOENT)) => {}
            Err(failure) => return Err(failure),
        }
        match missing {
            Missing::Leave => return Ok(None),
            Missing::Create => match create(root, name) {
                Ok(fd) => return Ok(Some(fd)),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(LockError::Create(errno)),
            },
        }
    }
    Err(LockError::Open(Errno::STALE))
}

fn open_existing(root: &Root, name: &str) -> Result<OwnedFd, LockError> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let open = |access| {
        retry_on_intr(|| rustix::fs::openat(root.fd(), name, access | flags, Mode::empty()))
    };
    // Open it writable if possible: NFS grants an exclusive lock on writable descriptors only.
    match open(OFlags::RDWR) {
        Err(Errno::ACCESS | Errno::ROFS) => open(OFlags::RDONLY),
        other => other,
    }
    .map_err(|errno| match errno {
        Errno::ISDIR | Errno::NXIO => LockError::NotRegular,
        errno => LockError::Open(errno),
    })
}

/// Creates the file `name` with the owner and mode of the cache (rule 6); `EEXIST` if it exists.
pub(crate) fn create(root: &Root, name: &str) -> rustix::io::Result<OwnedFd> {
    if let Ok(fd) = create_nameless(root) {
        // On any error but EEXIST, try the plain way, which works on every file system.
        match give_name(root, fd.as_fd(), name) {
            Ok(()) => return Ok(fd),
            Err(Errno::EXIST) => return Err(Errno::EXIST),
            Err(_) => {}
        }
    }
    create_named(root, name)
}

/// The same where there is no `O_TMPFILE`: NFS, FUSE, old kernels. A process killed between these calls leaves a
/// lockfile with the mode that its umask gave, which cannot be avoided.
fn create_named(root: &Root, name: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = retry_on_intr(|| rustix::fs::openat(root.fd(), name, flags, shared_mode(root)))?;
    set_owner_and_mode(root, &fd);
    Ok(fd)
}

/// Creates a file with the owner and mode of the cache and without a name, which [`give_name`] gives it.
pub(crate) fn create_nameless(root: &Root) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let fd = retry_on_intr(|| rustix::fs::openat(root.fd(), c".", flags, shared_mode(root)))?;
    set_owner_and_mode(root, &fd);
    Ok(fd)
}

/// Gives a nameless file the name `name`; `EEXIST` if something has it.
pub(crate) fn give_name(root: &Root, fd: BorrowedFd<'_>, name: &str) -> rustix::io::Result<()> {
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    retry_on_intr(|| {
        rustix::fs::linkat(rustix::fs::CWD, &link, root.fd(), name, AtFlags::SYMLINK_FOLLOW)
    })
}

fn shared_mode(root: &Root) -> Mode {
    Mode::from_raw_mode(root.mode & 0o666)
}

/// Ignores failures: the lock works for this process anyway, and some file systems have no owners and modes.
fn set_owner_and_mode(root: &Root, fd: impl AsFd) {
    let _ = rustix::fs::fchmod(&fd, shared_mode(root));
    if rustix::process::geteuid().is_root() {
        let (uid, gid) = (Uid::from_raw(root.uid), Gid::from_raw(root.gid));
        let _ = rustix::fs::fchown(&fd, Some(uid), Some(gid));
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "a test unlinks a lockfile, which the library never does"
)]
mod tests {
    use super::*;
    use crate::locks::tests::cache;
    use rustix::io::FdFlags;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    const NAME: &str = "lockfile";

    fn is_inherited(fd: &OwnedFd) -> bool {
        !rustix::io::fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC)
    }

    /// A daemon's ffmpeg that inherited a pin would hold it for as long as it runs.
    #[test]
    fn no_child_inherits_a_lock_and_no_pipe_in_its_place_is_waited_for() {
        let (_dir, root, _) = cache();
        assert!(!is_inherited(&create_named(&root, "named").unwrap()));
        assert!(!is_inherited(&create(&root, NAME).unwrap()));
        let existing = open_existing(&root, NAME).unwrap();
        assert!(!is_inherited(&existing));
        assert!(rustix::fs::fcntl_getfl(&existing).unwrap().contains(OFlags::NONBLOCK));
    }

    #[test]
    fn what_has_the_name_already_is_neither_opened_nor_followed_by_who_creates() {
        let (dir, root, _) = cache();
        fs::write(dir.path().join("file"), "").unwrap();
        symlink("elsewhere", dir.path().join("symlink")).unwrap();
        for create in [create, create_named] {
            for name in ["file", "symlink"] {
                assert_eq!(create(&root, name).err(), Some(Errno::EXIST), "{name}");
            }
        }
        assert!(!dir.path().join("elsewhere").exists());
    }

    /// Rule 8: whoever finds the lock now finds it by its name.
    #[test]
    fn a_lock_that_was_waited_for_is_on_the_file_that_has_the_name_now() {
        const LONG: Duration = Duration::from_secs(60);
        let (dir, root, _) = cache();
        let path = dir.path().join(NAME);
        // What `O_TMPFILE` made is not shown with its name.
        fs::write(&path, "").unwrap();
        let lock = |patience| acquire(&root, NAME, LockMode::Exclusive, patience, Missing::Create);
        let first = lock(Duration::ZERO).unwrap();
        let open = || {
            let fds = fs::read_dir("/proc/self/fd").unwrap().flatten();
            fds.filter(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == path)).count()
        };
        thread::scope(|scope| {
            let second = scope.spawn(|| lock(LONG));
            let began = Instant::now();
            while open() < 2 {
                assert!(began.elapsed() < LONG, "the second never opened it");
                thread::yield_now();
            }
            fs::remove_file(&path).unwrap();
            drop(first);
            let Ok(Acquired::Held(Held { _fd: second })) = second.join().unwrap() else {
                panic!("not locked")
            };
            let inode = rustix::fs::fstat(second).unwrap().st_ino;
            assert_eq!(inode, fs::metadata(&path).unwrap().ino());
        });
    }
}
