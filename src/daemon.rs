//! The daemon's side of the protocol, as guards: what is held cannot be forgotten, and what is
//! dropped, or lost with the process, is released.
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
//!         cache.record_hit(key, SystemTime::now())?;
//!         pin
//!     }
//!     Lookup::Miss => match cache.start(key)? {
//!         Start::Sealed(pin) => pin,
//!         Start::Writer(writer) => {
//!             cache.record_miss(key, SystemTime::now())?;
//!             if !transcode(writer.path()) {
//!                 return writer.discard();
//!             }
//!             writer.seal()?
//!         }
//!         Start::Busy => return Ok(()), // transcode elsewhere, uncached
//!     },
//!     Lookup::Busy => return Ok(()), // being removed: serve uncached
//! };
//! // Serve from pin.path() for as long as `pin` lives.
//! # drop(pin);
//! # Ok(())
//! # }
//! ```

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
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
    /// A remover held it for [`READER_PATIENCE`]: serve uncached.
    Busy,
}

/// What a try to write an entry came to.
#[derive(Debug)]
#[must_use]
pub enum Start {
    /// Write it, then [`Writer::seal`].
    Writer(Writer),
    /// Somebody sealed it meanwhile.
    Sealed(Pin),
    /// Somebody else writes it, or a remover holds it: transcode elsewhere, uncached.
    Busy,
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
}

impl Cache {
    /// Opens the cache at `path`, which must be the same mount of it that maintainers use.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Problem> {
        Ok(Self { root: Arc::new(Root::open(path)?) })
    }

    /// The root, for the library's other functions.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The key of a source, made absolute by text alone; `audio` is -1 for the default track.
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

    /// Whether the entry is sealed right now. A hint: only a [`Pin`] keeps it so.
    pub fn has_complete(&self, key: Key) -> Result<bool, Problem> {
        Ok(view::glance(&self.root, key)?.is_some_and(|glance| glance.state == State::Sealed))
    }

    /// Pins the entry and, if it is sealed, marks it as used now.
    pub fn lookup(&self, key: Key) -> Result<Lookup, Problem> {
        let Some(pin) = self.pin(key)? else { return Ok(Lookup::Busy) };
        // Only under the lock: before it, a remover could still take the entry away.
        if !self.has_complete(key)? {
            return Ok(Lookup::Miss);
        }
        pin.touch();
        Ok(Lookup::Hit(pin))
    }

    /// Pins `key` whatever its state; `None` when a remover held it for [`READER_PATIENCE`].
    pub fn pin(&self, key: Key) -> Result<Option<Pin>, Problem> {
        let held = lock::pin(&self.root, key, READER_PATIENCE)?;
        Ok(held.map(|held| Pin { root: self.root.clone(), key, path: self.dir_for(key), held }))
    }

    /// Becomes the writer of the entry, whose directory and `video/` in it are made.
    pub fn start(&self, key: Key) -> Result<Start, Problem> {
        let Some(lock) = lock::writer(&self.root, key)? else { return Ok(Start::Busy) };
        // Before mkdir, so that no maintainer ever sees the entry unpinned.
        let Some(pin) = self.pin(key)? else { return Ok(Start::Busy) };
        if self.has_complete(key)? {
            return Ok(Start::Sealed(pin));
        }
        let directory =
            self.make_directory(key).map_err(|e| self.problem(key, "cannot make the entry", e))?;
        Ok(Start::Writer(Writer { pin, directory, lock }))
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
        fd::open_dir(&directory, layout::VIDEO)?;
        Ok(directory)
    }

    /// Logs that the entry was served from the cache.
    pub fn record_hit(&self, key: Key, now: SystemTime) -> Result<(), Problem> {
        self.record(EventKind::Hit, key, now)
    }

    /// Logs that the entry had to be transcoded.
    pub fn record_miss(&self, key: Key, now: SystemTime) -> Result<(), Problem> {
        self.record(EventKind::Miss, key, now)
    }

    fn record(&self, kind: EventKind, key: Key, now: SystemTime) -> Result<(), Problem> {
        events::append(&self.root, &Event::new(unix_seconds(now), kind, key))
    }

    /// Verifies one entry.
    pub fn verify(&self, key: Key, checks: Checks) -> Result<Health, Problem> {
        verify::entry(&self.root, key, checks, &mut Buffer::new())
    }

    /// Adds up what is in the cache.
    pub fn stats(&self, now: SystemTime) -> Result<Stats, Problem> {
        Stats::gather(&self.root, now, &())
    }

    /// Evicts least recently used entries down to the limits of `sweep`.
    pub fn sweep(&self, sweep: Sweep, now: SystemTime) -> Result<Outcome, Refused> {
        // A daemon that calls this takes locks itself: there is nothing to warn it of.
        let options = Options { ages_given: true, ..Options::default() };
        maintain::run(&self.root, &Policy::Sweep(sweep), options, now, &())
    }

    /// Removes entries whatever their age, unless they are pinned.
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

    /// Marks the entry as used now. Failing is no error: the entry is evicted a little early.
    pub fn touch(&self) {
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let unchanged = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let times = Timestamps { last_access: unchanged, last_modification: now };
        let name = self.key.to_string();
        let _ = rustix::fs::utimensat(self.root.fd(), &*name, &times, AtFlags::SYMLINK_NOFOLLOW);
    }

    /// Removes the entry if it is damaged, as found while serving it, and if nobody else uses it.
    /// Returns whether it is gone.
    pub fn discard_damaged(self, checks: Checks) -> Result<bool, Problem> {
        // The writer's lock first, so that nobody writes into what is about to go.
        let Some(_lock) = lock::writer(&self.root, self.key)? else { return Ok(false) };
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

    /// Seals the entry, whose segments must be written and closed, and goes on as its reader.
    ///
    /// Everything is on disk before the marker is: without that, a power cut 7 s later left a sealed
    /// entry with every segment wrong.
    pub fn seal(self) -> Result<Pin, Problem> {
        let Self { pin, directory, lock } = self;
        let failed = |error: Errno| Problem::new(&pin.path, "cannot seal", io::Error::from(error));
        retry_on_intr(|| rustix::fs::syncfs(&directory)).map_err(failed)?;
        let named = fd::stat(pin.root.fd(), &*pin.key.to_string()).map_err(failed)?;
        let written = rustix::fs::fstat(&directory).map_err(failed)?;
        if view::identity(&named) != view::identity(&written) {
            return Err(failed(Errno::STALE));
        }
        // NONBLOCK: a FIFO of that name would hang the daemon.
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o666);
        retry_on_intr(|| rustix::fs::openat(&directory, layout::COMPLETE, flags, mode))
            .map_err(failed)?;
        drop(lock);
        Ok(pin)
    }

    /// Removes the entry after a failed encode. Somebody who reads it keeps it.
    pub fn discard(self) -> Result<(), Problem> {
        let Self { pin: Pin { root, key, held, .. }, directory, lock: _lock } = self;
        let written = rustix::fs::fstat(&directory)
            .map_err(|e| Problem::new(root.entry_path(key), "cannot read", io::Error::from(e)))?;
        drop(held);
        let mut remover = Remover::new(&root, &());
        let result = remove_partial(&mut remover, &root, key, view::identity(&written));
        finish(&root, remover, result).map(|_| ())
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
