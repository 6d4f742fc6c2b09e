//! Checks one entry and returns its faults.
//!
//! Here: the rules by which a sealed entry is healthy or damaged, from the segments that must be there to the
//! boxes, timeline and subtitles of `--deep`. Reads files and changes nothing. Not here: verifying a whole
//! cache, and removing what is damaged (`maintain`).

mod deep;
mod fault;
mod fmp4;
mod playlist;
mod segments;
#[cfg(test)]
mod tests;
mod webvtt;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use rustix::io::Errno;

use self::segments::{Content, Video};
use crate::cache::{State, identity, stat_entry};
use crate::error::{Error, Operation, Reason};
use crate::key::Key;
use crate::layout;
use crate::root::Root;
use crate::sys::fd;
use crate::sys::walk::{self, Buffer};

pub use self::fault::{Fault, FaultCode};

/// How thoroughly to verify.
#[derive(Clone, Copy, Debug, Default)]
pub struct Checks {
    /// Expected number of segments; `None`: the highest one found or named in a playlist is the last.
    pub segments: Option<u64>,
    /// Also read box headers, the timeline and subtitles.
    pub deep: bool,
}

/// The state of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Sealed, without faults.
    Healthy,
    /// Sealed, with at least one fault.
    Damaged(Vec<Fault>),
    /// Not sealed, so not checked.
    Unsealed,
    /// There is no such entry.
    Absent,
}

impl Health {
    /// The stable name, as in JSON.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Damaged(_) => "damaged",
            Self::Unsealed => "unsealed",
            Self::Absent => "absent",
        }
    }
}

/// Verifies one entry.
pub(crate) fn check_entry(
    root: &Root,
    key: Key,
    checks: Checks,
    buffer: &mut Buffer,
) -> Result<Health, Error> {
    /// How often an entry may be replaced while we check it before we report an error.
    const TRIES: u32 = 3;
    let name = key.to_string();
    let path = root.entry_path(key);
    let unreadable = |path: PathBuf, e: Errno| Error::new(Operation::Read, path, e);
    for _ in 0..TRIES {
        let top = match fd::find_dir(root.fd(), &*name) {
            Ok(Some(top)) => top,
            Ok(None) => return Ok(Health::Absent),
            Err(error) => return Err(unreadable(path, error)),
        };
        let identity = match rustix::fs::fstat(&top) {
            Ok(stat) => identity(&stat),
            Err(error) => return Err(unreadable(path, error)),
        };
        match fd::stat(&top, layout::COMPLETE) {
            Ok(_) => {}
            Err(Errno::NOENT) => return Ok(Health::Unsealed),
            Err(error) => return Err(unreadable(path.join(layout::COMPLETE), error)),
        }
        let checked = check(&top, &path, checks, buffer);
        if matches!(&checked, Ok(faults) if faults.is_empty()) {
            return Ok(Health::Healthy);
        }
        // Report faults only if the name still refers to the directory we checked.
        match stat_entry(root, key)? {
            Some(now) if now.identity == identity && now.state == State::Sealed => {
                return checked.map(Health::Damaged);
            }
            _ => {}
        }
    }
    Err(Error::new(Operation::Verify, path, Reason::ReplacedAgainAndAgain))
}

fn check(
    top: &OwnedFd,
    path: &Path,
    checks: Checks,
    buffer: &mut Buffer,
) -> Result<Vec<Fault>, Error> {
    let unreadable = |path: PathBuf, e: Errno| Error::new(Operation::Read, path, e);
    let mut faults = Vec::new();
    let mut found =
        |code, file: &str, detail: String| faults.push(Fault { code, file: file.into(), detail });
    match fd::stat(top, layout::COMPLETE) {
        Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            kind => found(FaultCode::BadMarker, layout::COMPLETE, format!("is {}", describe(kind))),
        },
        Err(Errno::NOENT) => {}
        Err(error) => return Err(unreadable(path.join(layout::COMPLETE), error)),
    }
    let mut video = Video::default();
    let directory = fd::find_dir(top, layout::VIDEO)
        .map_err(|error| unreadable(path.join(layout::VIDEO), error))?;
    if let Some(fd) = directory {
        walk::walk(fd, buffer, &mut video)
            .map_err(|failure| failure.into_error(Operation::Read, &path.join(layout::VIDEO)))?;
        video.read_playlists(top, path)?;
    }
    let init = format!("{}/{}", layout::VIDEO, layout::INIT);
    match video.init {
        Some(Content::Bytes) => {}
        Some(Content::Empty) => found(FaultCode::EmptyInit, &init, "is empty".into()),
        Some(Content::Not(kind)) => {
            found(FaultCode::MissingInit, &init, format!("is {}", describe(kind)));
        }
        None => found(FaultCode::MissingInit, &init, "is missing".into()),
    }
    let last = video.last_segment(checks.segments);
    faults.extend(video.segment_faults(last));
    if checks.deep {
        faults.extend(deep::check(top.as_fd(), path, last.unwrap_or(0))?);
    }
    Ok(faults)
}

/// What stands where a regular file should.
fn describe(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "a directory, not a file",
        FileType::Symlink => "a symlink, not a file",
        _ => "not a regular file",
    }
}
