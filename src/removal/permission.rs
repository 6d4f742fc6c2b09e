//! Checks that this process may delete an entry, before the entry is touched.

use std::path::Path;

use rustix::fs::{Access, AtFlags, FileType, Mode, Stat, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use crate::error::{Error, Operation, Reason};
use crate::layout;
use crate::root::Root;
use crate::sys::fd;

/// Checks that this process may delete the directory `name` of the root and its content, as far as the
/// directories of an entry tell. Without this, a user who can write the root but not the entries would
/// empty the cache and free nothing, and an entry in a read-only snapshot, once renamed to the trash, would
/// make every later run fail. A dry run checks it, too.
pub(crate) fn check_may_delete(root: &Root, name: impl AsRef<Path>) -> Result<(), Error> {
    let name = name.as_ref();
    for place in [Path::new("."), name, &name.join(layout::VIDEO), &name.join(layout::SUBS)] {
        // Anything but a directory is unlinked, which needs no permission on it.
        let Ok(stat) = fd::stat(root.fd(), place) else { continue };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory
            && let Some(errno) = refusal(root, place, &stat)
        {
            let reason = Reason::Denied { errno, owner: stat.st_uid };
            return Err(Error::new(Operation::DeleteIn, root.path().join(place), reason));
        }
    }
    Ok(())
}

/// The error with which the kernel would refuse to delete in this directory, or to delete the directory.
/// The removal itself reports any other error.
fn refusal(root: &Root, place: &Path, stat: &Stat) -> Option<Errno> {
    let access = Access::WRITE_OK | Access::EXEC_OK;
    let asked = rustix::fs::accessat(root.fd(), place, access, AtFlags::EACCESS);
    if let Err(error @ (Errno::ACCESS | Errno::ROFS | Errno::PERM)) = asked {
        return Some(error);
    }
    // access(2) does not report append-only directories, where names can be added but not removed.
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let attributes = rustix::fs::statx(root.fd(), place, flags, StatxFlags::empty());
    if attributes.is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::APPEND)) {
        return Some(Errno::PERM);
    }
    let user = rustix::process::geteuid();
    let is_in_root = place.components().count() == 1 && place != Path::new(".");
    let is_others = |owner: u32| !user.is_root() && user.as_raw() != owner;
    let is_sticky = Mode::from_raw_mode(root.mode).contains(Mode::SVTX);
    (is_sticky && is_in_root && is_others(root.uid) && is_others(stat.st_uid))
        .then_some(Errno::PERM)
}
