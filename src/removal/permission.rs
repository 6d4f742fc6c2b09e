//! Whether this process might delete an entry at all, asked before it is touched.

use std::path::Path;

use rustix::fs::{Access, AtFlags, FileType, Mode, Stat, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use crate::error::{Error, Operation, Reason};
use crate::layout;
use crate::root::Root;
use crate::sys::fd;

/// Whether this process might delete the directory `name` of the root and what is in it, as far as the
/// directories of an entry tell: whoever can write the root but not the entries would otherwise empty
/// the cache and free nothing, and an entry in a read-only snapshot would fail every later run from the
/// trash. A dry run asks, too.
pub(crate) fn check_may_delete(root: &Root, name: impl AsRef<Path>) -> Result<(), Error> {
    let name = name.as_ref();
    for place in [Path::new("."), name, &name.join(layout::VIDEO), &name.join(layout::SUBS)] {
        // What is no directory is unlinked, which asks nothing of it.
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

/// Why the kernel would refuse to delete in this directory, or the directory itself. Any answer but
/// these is the removal's to find out.
fn refusal(root: &Root, place: &Path, stat: &Stat) -> Option<Errno> {
    let access = Access::WRITE_OK | Access::EXEC_OK;
    let asked = rustix::fs::accessat(root.fd(), place, access, AtFlags::EACCESS);
    if let Err(error @ (Errno::ACCESS | Errno::ROFS | Errno::PERM)) = asked {
        return Some(error);
    }
    // What access(2) does not tell: names can be added there, and none taken away.
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
