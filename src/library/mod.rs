//! The media library: files, and the keys that a daemon would give them.
//!
//! Here: walking the directories of a library, the keys of every file at every quality and track, and which of
//! them the cache holds. Media files are never opened. Not here: what a name means for eviction (`plan`), or how it is
//! shown (the report).

mod files;
mod names;
mod variants;

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use self::files::{Files, Walked};
use crate::error::{Error, Operation, Reason};
use crate::key::Key;
use crate::source;

pub use self::names::{Names, Source};
pub use self::variants::{InvalidTracks, MOST_VARIANTS, TooManyVariants, Tracks, Variants};

/// A directory of media files. Both paths are absolute, as [`crate::key::absolute`] makes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaDir {
    /// Where it is for this process.
    pub dir: PathBuf,
    /// Where it is for the daemon, whose keys are made from the paths that it sees.
    pub known_as: PathBuf,
}

impl MediaDir {
    /// Reads `DIR[=AS]`, split at the last `=`.
    pub fn parse(text: &OsStr) -> Result<Self, Error> {
        let absolute = |path| absolute(OsStr::from_bytes(path));
        let text = text.as_bytes();
        let (dir, known_as) = match text.iter().rposition(|&byte| byte == b'=') {
            Some(at) => (&text[..at], &text[at + 1..]),
            None => (text, text),
        };
        Ok(Self { dir: absolute(dir)?, known_as: absolute(known_as)? })
    }
}

/// The media library.
#[derive(Clone, Debug)]
pub struct Library {
    dirs: Vec<MediaDir>,
    variants: Variants,
}

impl Library {
    /// The library in these directories, whose files may have been encoded as `variants`. Reads nothing yet.
    pub fn new(dirs: Vec<MediaDir>, variants: Variants) -> Self {
        Self { dirs, variants }
    }

    /// Whether it has no directory.
    pub fn is_empty(&self) -> bool {
        self.dirs.is_empty()
    }

    /// Walks the library and finds which of its files the `wanted` keys come from.
    pub fn name(&self, wanted: &HashSet<Key>) -> Names {
        if self.dirs.is_empty() || wanted.is_empty() {
            return Names::default();
        }
        let dirs = self.dirs.iter().map(|dir| (dir.dir.clone(), dir.known_as.clone()));
        let Walked { files, unusable, unreadable } = files::walk(dirs);
        let mut names = Names::new(unusable, unreadable);
        names.find(&files, &self.variants, wanted);
        names
    }

    /// Which of the `wanted` keys come from the source `path`, an absolute one: at any quality and track, of every
    /// file below it if it is a directory. `path` is as this process or as the daemon sees it, and may be gone.
    pub fn find(&self, path: &Path, wanted: &HashSet<Key>) -> Names {
        let places = self.places(path);
        let mut files = Files::default();
        let mut dirs = Vec::new();
        for (local, known_as) in places {
            files.push(&known_as, known_as.parent().unwrap_or(&known_as));
            dirs.push((local, known_as));
        }
        // The walk finds out whether there is a directory: asking a dead mount here would hang the run.
        let Walked { files: below, mut unusable, unreadable } = files::walk(dirs.into_iter());
        let is_no_directory = [Errno::NOTDIR, Errno::NOENT].map(Reason::System);
        unusable.retain(|error| !is_no_directory.contains(&error.reason));
        files.extend(&below);
        let mut names = Names::new(unusable, unreadable);
        // A file is named with every subtitle that may be burnt in, unlike a whole library: there are few.
        names.find_all(&files, &self.variants, wanted);
        names
    }

    /// Whether there is anything at `path`, as this process or as the daemon sees it. A link that leads nowhere is
    /// nothing: the disk that it led to is perhaps not mounted.
    pub fn exists(&self, path: &Path) -> bool {
        self.places(path).iter().any(|(local, _)| local.exists())
    }

    /// Where `path` may be for this process, and for the daemon: it is one or the other that the user gave.
    fn places(&self, path: &Path) -> Vec<(PathBuf, PathBuf)> {
        let mut places = vec![(path.to_owned(), path.to_owned())];
        for MediaDir { dir, known_as } in &self.dirs {
            // `join("")` would add a slash.
            let join = |base: &Path, rest: &Path| {
                if rest.as_os_str().is_empty() { base.to_owned() } else { base.join(rest) }
            };
            if let Ok(rest) = path.strip_prefix(dir) {
                places.push((path.to_owned(), join(known_as, rest)));
            }
            if let Ok(rest) = path.strip_prefix(known_as) {
                places.push((join(dir, rest), path.to_owned()));
            }
        }
        places.sort();
        places.dedup();
        places
    }
}

/// The path of a source, or of a directory of sources, as keys are made from it.
pub fn absolute(path: &OsStr) -> Result<PathBuf, Error> {
    let path = source::absolute(Path::new(path))?;
    Ok(PathBuf::from(OsStr::from_bytes(&path)))
}

/// Why a directory of the library names nothing.
fn unusable(dir: &Path, reason: impl Into<Reason>) -> Error {
    Error::new(Operation::ReadLibrary, dir, reason)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sys::mutated::mutated;

    proptest! {
        #[test]
        fn a_directory_and_its_other_name_are_split_at_the_last_equals_sign(
            dir in "/[a-z= ]{1,20}", known_as in "/[a-z ]{1,20}",
        ) {
            let both = MediaDir::parse(OsStr::new(&format!("{dir}={known_as}"))).unwrap();
            prop_assert_eq!(both, MediaDir { dir: dir.into(), known_as: known_as.clone().into() });
            let one = MediaDir::parse(OsStr::new(&known_as)).unwrap();
            prop_assert_eq!(&one.dir, &one.known_as);
            prop_assert_eq!(one.dir, PathBuf::from(known_as));
        }

        #[test]
        fn any_directory_is_absolute_or_refused(
            text in prop_oneof![mutated("/srv//films/../media/=/media"), any::<Vec<u8>>()],
        ) {
            if let Ok(MediaDir { dir, known_as }) = MediaDir::parse(OsStr::from_bytes(&text)) {
                prop_assert!(dir.is_absolute() && known_as.is_absolute());
            }
        }
    }
}
