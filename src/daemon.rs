//! The daemon's side of the protocol, as guards: what is held cannot be forgotten, and what is
//! dropped, or lost with the process, is released.
//!
//! Every call blocks its thread, if only for a system call: an async daemon makes them where it may
//! block (`spawn_blocking`). Each says for how long. All types here are [`Send`] and [`Sync`].
//!
//! ```no_run
//! use std::time::SystemTime;
//! use hls_cache::daemon::{Cache, Lookup, Start};
//!
//! # fn transcode(_: &std::path::Path) -> bool { true }
//! # fn main() -> Result<(), hls_cache::Problem> {
//! let cache = Cache::open("/srv/hls")?;
//! let key = Cache::key_for("/media/film.mkv".as_ref(), "1080p", -1)?;
//! let pin = match cache.lookup(key)? {
//!     Lookup::Hit(pin) => {
//!         cache.record_hit(key, SystemTime::now());
//!         pin
//!     }
//!     Lookup::Miss => match cache.start(key)? {
//!         Start::Sealed(pin) => pin,
//!         Start::Writer(writer) => {
//!             cache.record_miss(key, SystemTime::now());
//!             if !transcode(writer.path()) {
//!                 writer.discard()?;
//!                 return Ok(());
//!             }
//!             // The error gives the writer back, to serve from; dropped, it leaves the segments.
//!             writer.seal()?
//!         }
//!         Start::Busy(_) => return Ok(()), // transcode elsewhere, uncached
//!     },
//!     Lookup::Busy(_) => return Ok(()), // being removed, or it cannot be pinned: serve uncached
//! };
//! // Serve from pin.path() for as long as `pin` lives.
//! # drop(pin);
//! # Ok(())
//! # }
//! ```

use std::error::Error;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustix::fs::{Access, AtFlags, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use rustix::io::{Errno, retry_on_intr};

use crate::events::{self, Event, EventKind};
use crate::evict::Remover;
use crate::fd;
use crate::key::{self, EmptySource, Key, KeyInputs};
use crate::layout;
use crate::lock::{self, Held, READER_PATIENCE};
use crate::maintain::{self, Options, Outcome, Refused};
use crate::plan::{Fate, Policy, Protection, Sweep, Which};
use crate::problem::Problem;
use crate::root::Root;
use crate::stats::Stats;
use crate::units::unix_seconds;
use crate::verify::{self, Checks, Health};
use crate::view::{self, State};
use crate::walk::Buffer;

pub use crate::lock::Busy;

/// A cache that a daemon takes part in. Cheap to clone; clones share the open root.
#[derive(Clone, Debug)]
pub struct Cache {
    root: Arc<Root>,
}

/// What a look for a sealed entry came to.
#[derive(Debug)]
#[must_use]
pub enum Lookup {
    /// Serve it, for as long as the pin lives.
    Hit(Pin),
    /// There is none: [`Cache::start`] one.
    Miss,
    /// It cannot be pinned, because a remover held it for [`READER_PATIENCE`], or because there is no
    /// lockfile and none can be made: serve uncached.
    Busy(Busy),
}

/// What a try to write an entry came to.
#[derive(Debug)]
#[must_use]
pub enum Start {
    /// Write it, then [`Writer::seal`].
    Writer(Writer),
    /// Somebody sealed it meanwhile.
    Sealed(Pin),
    /// Somebody else writes it, a remover holds it, or the cache cannot be written to: transcode
    /// elsewhere, uncached.
    Busy(Busy),
}

/// An entry in use: nobody removes it until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Pin {
    root: Arc<Root>,
    key: Key,
    path: PathBuf,
    held: Held,
}

/// The right to write an entry, which is pinned meanwhile. Dropped without [`Writer::seal`], it
/// leaves a partial entry, whose segments a later session may reuse.
#[derive(Debug)]
#[must_use]
pub struct Writer {
    pin: Pin,
    /// Held since mkdir, so that the marker cannot land in another directory of that name.
    directory: OwnedFd,
    lock: Held,
    /// Why the segments may not have reached the disk. The kernel says so once, and would say that all is
    /// well when asked again.
    lost: Option<Errno>,
}

/// Why an entry was not sealed, with the writer: what was written can be served, removed with
/// [`Writer::discard`], sealed after all when the disk has room again, or left to a later session by
/// dropping this. The entry stays pinned for as long as this lives.
#[derive(Debug)]
pub struct SealError {
    /// The writer of the entry, which is partial.
    pub writer: Writer,
    /// What failed.
    pub problem: Problem,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the entry {} is not sealed", self.writer.key())
    }
}

impl Error for SealError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.problem)
    }
}

impl From<SealError> for Problem {
    /// Drops the writer.
    fn from(error: SealError) -> Self {
        error.problem
    }
}

impl Cache {
    /// Opens the cache at `path`, which must be the same mount of it that maintainers use. Blocks for a few
    /// system calls.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Problem> {
        Ok(Self { root: Arc::new(Root::open(path)?) })
    }

    /// The root, for the library's other functions.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The key of a source, made absolute by text alone; `audio` is -1 for the default track. Asks the
    /// system for the working directory if the path is relative, else for nothing.
    pub fn key_for(source: &Path, quality: &str, audio: i64) -> Result<Key, Problem> {
        let bytes = source.as_os_str().as_bytes();
        if bytes.is_empty() {
            return Err(Problem::new(source, "cannot compute a key", EmptySource));
        }
        let working_dir = || key::working_dir(std::env::var_os("PWD").as_deref());
        let source = key::absolute(bytes, working_dir)
            .map_err(|e| Problem::new(source, "cannot make it absolute", e))?;
        Ok(KeyInputs { source: &source, quality: quality.as_bytes(), audio }.key())
    }

    /// Where the entry `key` is, or would be.
    pub fn dir_for(&self, key: Key) -> PathBuf {
        self.root.entry_path(key)
    }

    /// Whether the entry is sealed right now. A hint: only a [`Pin`] keeps it so. Blocks for a few
    /// system calls.
    pub fn has_complete(&self, key: Key) -> Result<bool, Problem> {
        Ok(view::glance(&self.root, key)?.is_some_and(|glance| glance.state == State::Sealed))
    }

    /// Pins the entry and, if it is sealed, marks it as used now. Blocks for as long as a remover holds
    /// the entry, at most for [`READER_PATIENCE`]; else for a few system calls.
    ///
    /// Where the disk is full or read-only, or this user may not write to the root, an entry whose pin
    /// exists is a hit, and one without is [`Lookup::Busy`].
    pub fn lookup(&self, key: Key) -> Result<Lookup, Problem> {
        let pin = match self.try_pin(key)? {
            Ok(pin) => pin,
            Err(busy) => return Ok(Lookup::Busy(busy)),
        };
        // Only under the lock: before it, a remover could still take the entry away.
        if !self.has_complete(key)? {
            return Ok(Lookup::Miss);
        }
        pin.touch();
        Ok(Lookup::Hit(pin))
    }

    /// Pins `key` whatever its state; `None` where [`Cache::lookup`] is busy, and blocks for as long.
    pub fn pin(&self, key: Key) -> Result<Option<Pin>, Problem> {
        Ok(self.try_pin(key)?.ok())
    }

    fn try_pin(&self, key: Key) -> Result<Result<Pin, Busy>, Problem> {
        let held = lock::pin(&self.root, key, READER_PATIENCE)?;
        Ok(held.map(|held| Pin { root: self.root.clone(), key, path: self.dir_for(key), held }))
    }

    /// Becomes the writer of the entry, whose directory and `video/` in it are made. Blocks as
    /// [`Cache::lookup`] does; does not wait for another writer.
    pub fn start(&self, key: Key) -> Result<Start, Problem> {
        let lock = match lock::writer(&self.root, key)? {
            Ok(lock) => lock,
            Err(busy) => return Ok(Start::Busy(busy)),
        };
        // Before mkdir, so that no maintainer ever sees the entry unpinned.
        let pin = match self.try_pin(key)? {
            Ok(pin) => pin,
            Err(busy) => return Ok(Start::Busy(busy)),
        };
        if self.has_complete(key)? {
            return Ok(Start::Sealed(pin));
        }
        let directory = match self.make_directory(key) {
            Ok(directory) => directory,
            Err(error) => {
                let problem = self.problem(key, "cannot make the entry", error);
                return if lock::is_unwritable(error) {
                    Ok(Start::Busy(Busy::CannotWrite(problem)))
                } else {
                    Err(problem)
                };
            }
        };
        Ok(Start::Writer(Writer { pin, directory, lock, lost: None }))
    }

    fn make_directory(&self, key: Key) -> rustix::io::Result<OwnedFd> {
        // The daemon's umask decides, as for the segments that ffmpeg writes.
        let mode = Mode::from_raw_mode(0o777);
        let make = |result| match result {
            Err(Errno::EXIST) => Ok(()),
            other => other,
        };
        let name = key.to_string();
        make(retry_on_intr(|| rustix::fs::mkdirat(self.root.fd(), &*name, mode)))?;
        let directory = fd::open_dir(self.root.fd(), &*name)?;
        make(retry_on_intr(|| rustix::fs::mkdirat(&directory, layout::VIDEO, mode)))?;
        // Something else of that name, a symlink above all, would take the segments elsewhere.
        let video = fd::open_dir(&directory, layout::VIDEO)?;
        // What an earlier session left is there on a read-only disk too.
        let access = Access::WRITE_OK | Access::EXEC_OK;
        match rustix::fs::accessat(&video, c".", access, AtFlags::EACCESS) {
            Err(error @ (Errno::ROFS | Errno::ACCESS)) => Err(error),
            // Any other answer is the first segment's to find out.
            _ => Ok(directory),
        }
    }

    /// Logs that the entry was served from the cache. Failing is no error: statistics miss a line. Blocks
    /// for a few system calls.
    pub fn record_hit(&self, key: Key, now: SystemTime) {
        self.record(EventKind::Hit, key, now);
    }

    /// Logs that the entry had to be transcoded, as [`Cache::record_hit`] does.
    pub fn record_miss(&self, key: Key, now: SystemTime) {
        self.record(EventKind::Miss, key, now);
    }

    fn record(&self, kind: EventKind, key: Key, now: SystemTime) {
        let _ = events::append(&self.root, &Event::new(unix_seconds(now), kind, key));
    }

    /// Verifies one entry. Blocks for as long as it takes to list it and, with `deep`, to read a few
    /// kilobytes of each of its files.
    pub fn verify(&self, key: Key, checks: Checks) -> Result<Health, Problem> {
        verify::entry(&self.root, key, checks, &mut Buffer::new())
    }

    /// Adds up what is in the cache. Blocks for as long as it takes to look at every file, and then
    /// 100 ms ([`lock::PATIENCE`]) if anything is pinned.
    pub fn stats(&self, now: SystemTime) -> Result<Stats, Problem> {
        Stats::gather(&self.root, now, &())
    }

    /// Evicts least recently used entries down to the limits of `sweep`. Blocks as [`Cache::stats`] does,
    /// 100 ms for each entry that is pinned in between, and for as long as it takes to delete what goes
    /// and, with `min_free`, to sync the file system. Does not wait for another maintainer.
    pub fn sweep(&self, sweep: Sweep, now: SystemTime) -> Result<Outcome, Refused> {
        // A daemon that calls this takes locks itself: there is nothing to warn it of.
        let options = Options { ages_given: true, ..Options::default() };
        maintain::run(&self.root, &Policy::Sweep(sweep), options, now, &())
    }

    /// Removes entries whatever their age, unless they are pinned. Blocks as [`Cache::sweep`] does without
    /// `min_free`.
    pub fn invalidate(&self, keys: Vec<Key>, now: SystemTime) -> Result<Outcome, Refused> {
        let policy = Policy::Invalidate { which: Which::Keys(keys), force: None };
        maintain::run(&self.root, &policy, Options::default(), now, &())
    }

    fn problem(&self, key: Key, action: &str, error: Errno) -> Problem {
        Problem::new(self.dir_for(key), action, io::Error::from(error))
    }
}

impl Pin {
    /// The entry.
    pub fn key(&self) -> Key {
        self.key
    }

    /// The entry's directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Marks the entry as used now. Failing is no error: the entry is evicted a little early. Blocks for
    /// one system call.
    pub fn touch(&self) {
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let unchanged = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let times = Timestamps { last_access: unchanged, last_modification: now };
        let name = self.key.to_string();
        let _ = rustix::fs::utimensat(self.root.fd(), &*name, &times, AtFlags::SYMLINK_NOFOLLOW);
    }

    /// Removes the entry if it is damaged, as found while serving it, and if nobody else uses it.
    /// Returns whether it is gone. Blocks as [`Cache::verify`] and [`Writer::discard`] do together.
    pub fn discard_damaged(self, checks: Checks) -> Result<bool, Problem> {
        // The writer's lock first, so that nobody writes into what is about to go.
        let _lock = match lock::writer(&self.root, self.key)? {
            Ok(lock) => lock,
            Err(Busy::Locked) => return Ok(false),
            Err(Busy::CannotWrite(problem)) => return Err(problem),
        };
        let Self { root, key, held, .. } = self;
        // Closed, not upgraded: a failed upgrade would lose it all the same.
        drop(held);
        let mut remover = Remover::new(&root, &());
        let buffer = &mut Buffer::new();
        let result = verify::remove_if_damaged(&mut remover, &root, key, checks, buffer);
        finish(&root, remover, result.map(drop))
    }
}

impl Writer {
    /// The entry.
    pub fn key(&self) -> Key {
        self.pin.key
    }

    /// The entry's directory.
    pub fn path(&self) -> &Path {
        &self.pin.path
    }

    /// Seals the entry, whose segments must be written and closed, and goes on as its reader. Blocks for
    /// as long as the disk takes to write all that is still in memory for it, other programs' files too:
    /// seconds to minutes.
    ///
    /// Everything is on disk before the marker is: without that, a power cut 7 s later left a sealed
    /// entry with every segment wrong. For the same reason no entry is sealed once writing it back has
    /// failed, however often this is called.
    pub fn seal(mut self) -> Result<Pin, SealError> {
        match self.mark_complete() {
            Ok(()) => Ok(self.pin),
            Err(error) => {
                let reason = io::Error::from(error);
                let problem = Problem::new(&self.pin.path, "cannot seal", reason);
                Err(SealError { writer: self, problem })
            }
        }
    }

    fn mark_complete(&mut self) -> rustix::io::Result<()> {
        let Self { pin, directory, lost, .. } = self;
        if lost.is_none() {
            *lost = retry_on_intr(|| rustix::fs::syncfs(&*directory)).err();
        }
        if let Some(error) = *lost {
            return Err(error);
        }
        let named = fd::stat(pin.root.fd(), &*pin.key.to_string())?;
        let written = rustix::fs::fstat(&*directory)?;
        if view::identity(&named) != view::identity(&written) {
            return Err(Errno::STALE);
        }
        // NONBLOCK: a FIFO of that name would hang the daemon.
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o666);
        retry_on_intr(|| rustix::fs::openat(&*directory, layout::COMPLETE, flags, mode))?;
        Ok(())
    }

    /// Removes the entry after a failed encode. Returns whether it is gone: somebody who reads it, or who
    /// has put another in its place, keeps it. Blocks for up to 100 ms ([`lock::PATIENCE`]), and for as long as
    /// it takes to delete what was written.
    ///
    /// On an error the entry may be there still, partial, or be in the trash with some of its files. There
    /// is no writer to give back, because removing takes letting go of the pin: [`Cache::start`] makes one of
    /// what is there. Else `gc-orphans` removes it, and any sweep what is in the trash.
    pub fn discard(self) -> Result<bool, Problem> {
        let Self { pin: Pin { root, key, held, .. }, directory, lock: _lock, .. } = self;
        let written = rustix::fs::fstat(&directory)
            .map_err(|e| Problem::new(root.entry_path(key), "cannot read", io::Error::from(e)))?;
        drop(held);
        let mut remover = Remover::new(&root, &());
        let result = remove_partial(&mut remover, &root, key, view::identity(&written));
        finish(&root, remover, result)
    }
}

/// Removes the entry if it still is that directory, and nobody sealed it.
fn remove_partial(
    remover: &mut Remover<'_>,
    root: &Root,
    key: Key,
    identity: (u64, u64),
) -> Result<(), Fate> {
    let claim = remover.claim(key, None)?;
    let entry = view::look(root, key, &mut Buffer::new())?.ok_or(Fate::Absent)?;
    if entry.state == State::Sealed || entry.identity != identity {
        return Err(Fate::Kept(Protection::Changed));
    }
    remover.take_out(claim, &entry)
}

/// Deletes what a removal left in the trash; whether the entry is gone.
fn finish(root: &Root, remover: Remover<'_>, result: Result<(), Fate>) -> Result<bool, Problem> {
    let deleted = remover.finish();
    match (result, deleted.problems.into_iter().next()) {
        (Ok(()), Some(problem)) | (Err(Fate::Failed(problem)), _) => Err(problem),
        (Ok(()) | Err(Fate::Absent), None) => Ok(true),
        (Err(Fate::Denied(denied)), _) => Err(denied.problem(root)),
        (Err(_), _) => Ok(false),
    }
}
