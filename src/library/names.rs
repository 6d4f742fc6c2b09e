//! Which files keys come from.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::files::Files;
use super::variants::{Variant, Variants};
use crate::error::{Error, Reason};
use crate::key::{Key, KeyPrefix, KeySuffix};
use crate::sys::parallel;

/// What an entry was encoded from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The media file, as the daemon sees it.
    pub path: PathBuf,
    /// The quality, used verbatim.
    pub quality: OsString,
    /// The audio track; -1 is the default one.
    pub audio: i64,
    /// The burnt-in subtitle, -1 for none; `None` if the key has three parts.
    pub burn: Option<i64>,
    /// Length of the media directory that `path` begins with.
    above: usize,
}

impl Source {
    /// The path below the media directory.
    pub fn title(&self) -> &Path {
        let path = self.path.as_os_str().as_bytes();
        let title = path.get(self.above..).unwrap_or(path);
        let title = title.strip_prefix(b"/").unwrap_or(title);
        Path::new(OsStr::from_bytes(title))
    }
}

/// The sources of keys.
#[derive(Clone, Debug, Default)]
pub struct Names {
    by_key: HashMap<Key, Source>,
    /// Directories of the library that name nothing: missing, empty, unreadable.
    pub unusable: Vec<Error>,
    /// The first place below them where files may have been missed.
    pub unreadable: Option<Error>,
}

impl Names {
    pub(super) fn new(unusable: Vec<Error>, unreadable: Option<Error>) -> Self {
        Self { by_key: HashMap::new(), unusable, unreadable }
    }

    /// The source of `key`, if the library has it.
    pub fn get(&self, key: Key) -> Option<&Source> {
        self.by_key.get(&key)
    }

    /// The named keys.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = Key> {
        self.by_key.keys().copied()
    }

    /// Takes over the names that another search found.
    pub fn extend(&mut self, other: Self) {
        for (key, source) in other.by_key {
            self.by_key.entry(key).or_insert(source);
        }
    }

    /// Why files of the library may have been missed, if any may.
    pub fn gap(&self) -> Option<&Error> {
        self.unusable.first().or(self.unreadable.as_ref())
    }

    /// What kept the walk from seeing all files, if anything did; an empty directory did not.
    pub fn unread(&self) -> Option<&Error> {
        let errors = self.unusable.iter().chain(&self.unreadable);
        errors.into_iter().find(|error| error.reason != Reason::EmptyDirectory)
    }

    /// Names what can be named; burnt-in subtitles are tried only for what has no name without.
    pub(super) fn find(&mut self, files: &Files, variants: &Variants, wanted: &HashSet<Key>) {
        self.try_variants(files, variants.usual(), wanted);
        let unnamed = wanted.iter().filter(|key| !self.by_key.contains_key(key)).copied();
        let unnamed: HashSet<Key> = unnamed.collect();
        if !unnamed.is_empty() {
            self.try_variants(files, variants.burnt(), &unnamed);
        }
    }

    /// The same with every variant at once.
    pub(super) fn find_all(&mut self, files: &Files, variants: &Variants, wanted: &HashSet<Key>) {
        let mut all = variants.usual();
        all.extend(variants.burnt());
        self.try_variants(files, all, wanted);
    }

    fn try_variants(
        &mut self,
        files: &Files,
        variants: Vec<(Variant, KeySuffix)>,
        wanted: &HashSet<Key>,
    ) {
        /// Files that a thread takes at a time: thousands of keys, some of 0.1 ms.
        const CHUNK: usize = 16;
        let (variants, suffixes): (Vec<_>, Vec<_>) = variants.into_iter().unzip();
        if suffixes.is_empty() {
            return;
        }
        let chunks: Vec<Range<usize>> = (0..files.len())
            .step_by(CHUNK)
            .map(|begin| begin..files.len().min(begin + CHUNK))
            .collect();
        let found = parallel::map(
            &chunks,
            || (),
            |(), chunk| {
                let mut found = Vec::new();
                for file in chunk.clone() {
                    let prefix = KeyPrefix::new(files.get(file).0);
                    for (variant, suffix) in suffixes.iter().enumerate() {
                        let key = prefix.key(suffix);
                        if wanted.contains(&key) {
                            found.push((key, file, variant));
                        }
                    }
                }
                found
            },
        );
        for (key, file, variant) in found.into_iter().flatten() {
            let (path, above) = files.get(file);
            let Variant { quality, audio, burn } = variants[variant].clone();
            let path = OsStr::from_bytes(path).into();
            self.by_key.entry(key).or_insert(Source { path, quality, audio, burn, above });
        }
    }
}
