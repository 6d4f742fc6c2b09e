//! The daemon's side of the protocol, as guards: dropping a guard releases its lock, and so does the death
//! of the process.
//!
//! Here: hit, miss, seal and discard, each a guard or made from one. Not here: rules of the protocol that
//! maintainers follow, too (`locks`, `removal`).
//!
//! Every call blocks its thread, if only for a system call: an async daemon uses `spawn_blocking`. Each
//! call's documentation says for how long. All types here are [`Send`] and [`Sync`].
//!
//! ```no_run
//! use std::time::SystemTime;
//! use hls_cache::daemon::{Cache, Lookup, Start};
//!
//! # fn transcode(_: &std::path::Path) -> bool { true }
//! # fn main() -> Result<(), hls_cache::Error> {
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

mod discard;
mod pin;
mod writer;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustix::fs::{Access, AtFlags, Mode};
use rustix::io::{Errno, retry_on_intr};

use crate::cache::events::{self, Event, EventKind};
use crate::cache::{State, stat_entry};
use crate::error::{Error, Operation};
use crate::key::{Key, KeyInputs};
use crate::layout;
use crate::locks::{self, READER_PATIENCE};
use crate::maintain::{self, Options, Outcome, Refused};
use crate::plan::{Policy, Sweep, Which};
use crate::root::Root;
use crate::source;
use crate::stats::Stats;
use crate::sys::fd;
use crate::sys::walk::Buffer;
use crate::units::unix_seconds;
use crate::verify::{Checks, Health, check_entry};

pub use self::pin::Pin;
pub use self::writer::{SealError, Writer};
pub use crate::locks::Busy;

/// A daemon's handle of a cache. Cheap to clone; clones share the open root.
#[derive(Clone, Debug)]
pub struct Cache {
    root: Arc<Root>,
}

/// Result of [`Cache::lookup`].
#[derive(Debug)]
#[must_use]
pub enum Lookup {
    /// The entry is sealed: serve it for as long as the pin lives.
    Hit(Pin),
    /// There is no sealed entry: call [`Cache::start`].
    Miss,
    /// The entry cannot be pinned, because a remover held it for [`READER_PATIENCE`], or because there is
    /// no lockfile and none can be created: serve uncached.
    Busy(Busy),
}

/// Result of [`Cache::start`].
#[derive(Debug)]
#[must_use]
pub enum Start {
    /// Write the entry, then call [`Writer::seal`].
    Writer(Writer),
    /// Another process has sealed the entry meanwhile.
    Sealed(Pin),
    /// Another process writes the entry, a remover holds it, or the cache cannot be written to: transcode
    /// elsewhere, uncached.
    Busy(Busy),
}

impl Cache {
    /// Opens the cache at `path`, which must be the same mount of it that maintainers use. Blocks for a few
    /// system calls.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Ok(Self { root: Arc::new(Root::open(path)?) })
    }

    /// The root, for the library's other functions.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The key of a source, made absolute by text alone; `audio` is -1 for the default track. Reads the
    /// working directory only if the path is relative.
    pub fn key_for(source: &Path, quality: &str, audio: i64) -> Result<Key, Error> {
        let source = source::absolute(source)?;
        Ok(KeyInputs { source: &source, quality: quality.as_bytes(), audio, encode: None }.key())
    }

    /// Where the entry `key` is, or would be.
    pub fn dir_for(&self, key: Key) -> PathBuf {
        self.root.entry_path(key)
    }

    /// Whether the entry is sealed right now. Only a hint: another process may remove it at once, unless a
    /// [`Pin`] is held. Blocks for a few system calls.
    pub fn has_complete(&self, key: Key) -> Result<bool, Error> {
        Ok(stat_entry(&self.root, key)?.is_some_and(|entry| entry.state == State::Sealed))
    }

    /// Pins the entry and, if it is sealed, marks it as used now. Blocks for as long as a remover holds
    /// the entry, at most for [`READER_PATIENCE`]; else for a few system calls.
    ///
    /// Where the disk is full or read-only, or this user may not write to the root, an entry whose pin
    /// exists is a hit, and one without is [`Lookup::Busy`].
    pub fn lookup(&self, key: Key) -> Result<Lookup, Error> {
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
    pub fn pin(&self, key: Key) -> Result<Option<Pin>, Error> {
        Ok(self.try_pin(key)?.ok())
    }

    fn try_pin(&self, key: Key) -> Result<Result<Pin, Busy>, Error> {
        let held = locks::pin(&self.root, key, READER_PATIENCE)?;
        Ok(held.map(|held| Pin { root: self.root.clone(), key, path: self.dir_for(key), held }))
    }

    /// Becomes the writer of the entry, and creates its directory and `video/`. Blocks as [`Cache::lookup`]
    /// does; does not wait for another writer.
    pub fn start(&self, key: Key) -> Result<Start, Error> {
        let lock = match locks::writer(&self.root, key)? {
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
                let reason = Error::new(Operation::MakeEntry, self.dir_for(key), error);
                return if locks::is_unwritable(error) {
                    Ok(Start::Busy(Busy::CannotWrite(reason)))
                } else {
                    Err(reason)
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
        // A symlink of that name would lead the segments elsewhere.
        let video = fd::open_dir(&directory, layout::VIDEO)?;
        // The directories of an earlier session exist on a read-only disk, too.
        let access = Access::WRITE_OK | Access::EXEC_OK;
        match rustix::fs::accessat(&video, c".", access, AtFlags::EACCESS) {
            Err(error @ (Errno::ROFS | Errno::ACCESS)) => Err(error),
            // Any other error shows when the first segment is written.
            _ => Ok(directory),
        }
    }

    /// Logs that the entry was served from the cache. Ignores failures: the statistics miss a line. Blocks
    /// for a few system calls.
    pub fn record_hit(&self, key: Key, now: SystemTime) {
        self.record(EventKind::Hit, key, now);
    }

    /// Logs that the entry had to be transcoded. Ignores failures and blocks as [`Cache::record_hit`] does.
    pub fn record_miss(&self, key: Key, now: SystemTime) {
        self.record(EventKind::Miss, key, now);
    }

    fn record(&self, kind: EventKind, key: Key, now: SystemTime) {
        let _ = events::append(&self.root, &Event::new(unix_seconds(now), kind, key));
    }

    /// Verifies one entry. Blocks for as long as it takes to list it and, with `deep`, to read a few
    /// kilobytes of each of its files.
    pub fn verify(&self, key: Key, checks: Checks) -> Result<Health, Error> {
        check_entry(&self.root, key, checks, &mut Buffer::new())
    }

    /// Computes the totals of the cache. Blocks for as long as it takes to stat every file of
    /// the entries that no sweep remembers, and then 100 ms
    /// ([`locks::PATIENCE`]) if anything is pinned.
    pub fn stats(&self, now: SystemTime) -> Result<Stats, Error> {
        Stats::gather(&self.root, now, &())
    }

    /// Evicts least recently used entries down to the limits of `sweep`. Blocks as [`Cache::stats`] does,
    /// 100 ms for each entry that is pinned in between, and for as long as it takes to delete the evicted
    /// entries and, with `min_free`, to sync the file system. Does not wait for another maintainer.
    pub fn sweep(&self, sweep: Sweep, now: SystemTime) -> Result<Outcome, Refused> {
        // No warnings about daemons without locks: the calling daemon takes them.
        let options = Options { ages_given: true, ..Options::default() };
        maintain::run(&self.root, &Policy::Sweep(sweep), options, now, &())
    }

    /// Removes entries whatever their age, unless they are pinned. Blocks as [`Cache::sweep`] does without
    /// `min_free`.
    pub fn invalidate(&self, keys: Vec<Key>, now: SystemTime) -> Result<Outcome, Refused> {
        let policy = Policy::Invalidate { which: Which::Keys(keys), force: None };
        maintain::run(&self.root, &policy, Options::default(), now, &())
    }
}
