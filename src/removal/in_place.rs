//! Deleting an entry in place where it cannot be renamed: `.complete` first, then the segments from the last one, so
//! that whatever a death leaves is the beginning of a film, which a daemon may resume.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;

use super::delete::{delete_a_file, delete_tree, remove_empty, unlink};
use crate::cache::{Entry, State, stat_entry};
use crate::error::{Error, Operation};
use crate::key::Key;
use crate::layout;
use crate::locks::Exclusive;
use crate::root::Root;
use crate::sys::fd;
use crate::sys::walk::Buffer;

/// Unlinks `.complete`, so that from now on a daemon sees a miss.
pub(super) fn unseal(root: &Root, key: Key) -> Result<(), Error> {
    let path = || root.entry_path(key).join(layout::COMPLETE);
    let failed = |e: Errno| Error::new(Operation::Unseal, path(), e);
    let entry = match fd::open_dir(root.fd(), &*key.to_string()) {
        Err(Errno::NOENT) => return Ok(()),
        other => other.map_err(failed)?,
    };
    match unlink(entry.as_fd(), layout::COMPLETE) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR) => delete_tree(entry.as_fd(), c".complete", &path(), &mut Buffer::new()),
        Err(error) => Err(failed(error)),
    }
}

/// Whether the name still leads to `entry`, now without `.complete`.
pub(super) fn is_unsealed(root: &Root, entry: &Entry) -> bool {
    stat_entry(root, entry.key).is_ok_and(|now| {
        now.is_some_and(|now| now.identity == entry.identity && now.state == State::Partial)
    })
}

/// Requires the exclusive lock: a reader of a pinned entry must not see files vanish one by one.
pub(super) fn delete_in_place(root: &Root, proof: &Exclusive) -> Result<(), Error> {
    let key = proof.key();
    unseal(root, key)?;
    let path = root.entry_path(key);
    let failed = |e: Errno| Error::new(Operation::Delete, path.clone(), e);
    let name = name(key);
    if let Some(video) = open_video(root, key).map_err(failed)? {
        for segment in segments_from_the_last(&video).map_err(failed)? {
            // What cannot go now is reported below, with its name.
            let _ = unlink(video.as_fd(), &*segment);
        }
    }
    delete_tree(root.fd(), &name, &path, &mut Buffer::new())
}

/// What [`delete_last`] found.
#[derive(PartialEq, Eq)]
pub(super) enum Last {
    /// A file, which is gone now.
    Deleted,
    /// No file any more: the directories are gone, too.
    Emptied,
    /// Another entry, or a file that came meanwhile.
    Changed,
}

/// Deletes one file of the partial entry `entry`: a playlist, which nobody serves, and which makes room enough for a
/// lockfile; then the last segment; then another. Needs no lock, because the caller tries to get it before each: nobody
/// holds a pin that does not exist. What remains is the instant between the two (`tests/models`, `known_holes`).
pub(super) fn delete_last(root: &Root, entry: &Entry) -> Result<Last, Error> {
    let path = root.entry_path(entry.key);
    try_delete_last(root, entry).map_err(|e| Error::new(Operation::Delete, path, e))
}

fn try_delete_last(root: &Root, entry: &Entry) -> rustix::io::Result<Last> {
    if !is_unsealed(root, entry) {
        return Ok(Last::Changed);
    }
    if let Some(video) = open_video(root, entry.key)? {
        let playlists = names(&video, |name| layout::is_playlist(name).then_some(()))?;
        let segments = || segments_from_the_last(&video);
        let last = match playlists.into_iter().next() {
            Some(((), playlist)) => Some(playlist),
            None => segments()?.into_iter().next(),
        };
        if let Some(last) = last {
            unlink(video.as_fd(), &*last)?;
            return Ok(Last::Deleted);
        }
    }
    let Some(top) = fd::find_dir(root.fd(), &*entry.key.to_string())? else {
        return Ok(Last::Changed);
    };
    Ok(match delete_a_file(top)? {
        true => Last::Deleted,
        false if remove_empty(root, &name(entry.key))? => Last::Emptied,
        false => Last::Changed,
    })
}

fn name(key: Key) -> CString {
    CString::new(key.to_hex()).unwrap_or_default()
}

fn open_video(root: &Root, key: Key) -> rustix::io::Result<Option<OwnedFd>> {
    match fd::find_dir(root.fd(), &*key.to_string())? {
        Some(top) => fd::find_dir(&top, layout::VIDEO),
        None => Ok(None),
    }
}

/// The names of the segments in the directory, the last one first.
fn segments_from_the_last(video: &OwnedFd) -> rustix::io::Result<Vec<CString>> {
    let mut segments = names(video, layout::segment_number)?;
    segments.sort_unstable_by(|one, other| other.cmp(one));
    Ok(segments.into_iter().map(|(_, name)| name).collect())
}

/// The names in a directory that `about` knows something of.
fn names<T>(
    directory: &OwnedFd,
    about: impl Fn(&[u8]) -> Option<T>,
) -> rustix::io::Result<Vec<(T, CString)>> {
    let mut known = Vec::new();
    for name in rustix::fs::Dir::read_from(directory)? {
        let name = name?.file_name().to_owned();
        known.extend(about(name.to_bytes()).map(|about| (about, name)));
    }
    Ok(known)
}
