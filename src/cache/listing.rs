//! The names in the root, sorted by what they are.

use std::collections::HashSet;
use std::ffi::{CStr, CString, OsString};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::CacheNotice;
use crate::error::{Error, Operation};
use crate::key::Key;
use crate::layout::RootName;
use crate::root::{self, Root};
use crate::sys::fd;
use crate::sys::walk::{self, Buffer, Visit, Visitor};

/// The names in the root, sorted by what they are.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) entries: Vec<Key>,
    pub(crate) mounted: Vec<Key>,
    pub(crate) trash: Vec<CString>,
    pub(super) pins: HashSet<Key>,
    pub(super) writers: HashSet<Key>,
    pub(super) foreign: Vec<CString>,
    /// Files that maintainers create in any directory that they are run on.
    own: Vec<CString>,
    /// A daemon's encoder settings are here.
    has_encode_stamp: bool,
}

impl Listing {
    /// Lists the root. Fails only as a whole.
    pub(crate) fn read(root: &Root) -> Result<Self, Error> {
        let mounted = root.mounted()?;
        let unreadable = |e: Errno| Error::new(Operation::ReadRoot, root.path(), e);
        let top = fd::open_dir(root.fd(), c".").map_err(unreadable)?;
        let mut names = Names { listing: Self::default(), mounted };
        walk::walk(top, &mut Buffer::new(), &mut names)
            .map_err(|failure| failure.into_error(Operation::ReadRoot, root.path()))?;
        Ok(names.listing.sorted())
    }

    /// Sorts and removes duplicates: a name that is removed and created again while the directory is read
    /// can be listed twice.
    fn sorted(mut self) -> Self {
        for keys in [&mut self.entries, &mut self.mounted] {
            keys.sort_unstable();
            keys.dedup();
        }
        for names in [&mut self.trash, &mut self.foreign, &mut self.own] {
            names.sort_unstable();
            names.dedup();
        }
        self
    }

    /// The notice for a root that has names, but none that only a cache has. Lockfiles of entries and trash
    /// stay behind when all entries are gone; the maintenance lock and the log do not count, because the
    /// tool creates them wherever it sweeps.
    pub(crate) fn no_entries(&self, root: &Root) -> Option<CacheNotice> {
        let is_cache = !self.entries.is_empty()
            || !self.mounted.is_empty()
            || !self.trash.is_empty()
            || !self.pins.is_empty()
            || !self.writers.is_empty()
            || self.has_encode_stamp;
        let name = self.foreign.first().or(self.own.first()).filter(|_| !is_cache)?;
        let name = root::os_name(name.to_bytes()).into();
        Some(CacheNotice::NoEntries { root: root.path().into(), name })
    }
}

/// The keys of all entries in the root, those that cannot be read included.
pub fn entry_keys(root: &Root) -> Result<Vec<Key>, Error> {
    let Listing { mut entries, mounted, .. } = Listing::read(root)?;
    entries.extend(mounted);
    Ok(entries)
}

/// A directory near the root that has entries, for one that has none: the root lies in an entry, or the cache lies
/// right below it. Looks at the names in a few directories, and not across a mount.
pub fn entries_near(root: &Root, below: &[CString]) -> Option<PathBuf> {
    /// A directory of more than this is somebody's home, not the parent of a cache.
    const FEW: usize = 50;
    let is_key = |path: &Path| {
        path.file_name().is_some_and(|name| Key::from_bytes(name.as_bytes()).is_some())
    };
    let inside = root.path().ancestors().find(|path| is_key(path));
    if let Some(cache) = inside.and_then(Path::parent) {
        return Some(cache.to_owned());
    }
    let has_entry = |name: &&CString| {
        let Ok(Some(top)) = fd::find_dir(root.fd(), name.as_c_str()) else { return false };
        let Ok(names) = rustix::fs::Dir::new(top) else { return false };
        names.flatten().any(|name| Key::from_bytes(name.file_name().to_bytes()).is_some())
    };
    let name = below.iter().take(FEW).find(has_entry)?;
    Some(root.path().join(root::os_name(name.to_bytes())))
}

struct Names {
    listing: Listing,
    mounted: HashSet<OsString>,
}

impl Visitor for Names {
    fn name(
        &mut self,
        dir: BorrowedFd<'_>,
        _: usize,
        name: &CStr,
        kind: FileType,
    ) -> rustix::io::Result<Visit> {
        let kind = match kind {
            FileType::Unknown => FileType::from_raw_mode(fd::stat(dir, name)?.st_mode),
            kind => kind,
        };
        let mounted = self.mounted.contains(root::os_name(name.to_bytes()));
        let listing = &mut self.listing;
        match (RootName::parse(name.to_bytes()), kind) {
            (RootName::Entry(key), FileType::Directory) if mounted => listing.mounted.push(key),
            (RootName::Entry(key), FileType::Directory) => listing.entries.push(key),
            (RootName::Trash(_), FileType::Directory) if !mounted => {
                listing.trash.push(name.to_owned());
            }
            (RootName::Pin(key), kind) => {
                // Whatever its type: if the pin is not a regular file, the entry cannot be locked.
                listing.pins.insert(key);
                if kind != FileType::RegularFile {
                    listing.foreign.push(name.to_owned());
                }
            }
            (RootName::Write(key), FileType::RegularFile) => drop(listing.writers.insert(key)),
            (RootName::Own, FileType::RegularFile) => listing.own.push(name.to_owned()),
            (RootName::EncodeStamp, FileType::RegularFile) => listing.has_encode_stamp = true,
            _ => listing.foreign.push(name.to_owned()),
        }
        Ok(Visit::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_name_that_is_listed_twice_counts_once() {
        let directory = tempfile::tempdir().unwrap();
        let fd = std::fs::File::open(directory.path()).unwrap();
        let mounted = HashSet::from(["1111111111111111".into()]);
        let mut names = Names { listing: Listing::default(), mounted };
        for _ in 0..2 {
            for name in [
                c"0000000000000000",
                c"1111111111111111",
                c".trash.0000000000000000.0000000000000000",
                c"foreign",
            ] {
                names.name(fd.as_fd(), 0, name, FileType::Directory).unwrap();
            }
        }
        let listing = names.listing.sorted();
        let counts = (listing.entries.len(), listing.mounted.len(), listing.trash.len());
        assert_eq!((counts, listing.foreign.len()), ((1, 1, 1), 1));
    }
}
