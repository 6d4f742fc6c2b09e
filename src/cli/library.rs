//! The media library on the command line: its options and environment, and the names that it gives to entries.

use std::collections::{BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use clap::{Args, ValueHint};
use hls_cache::cache::{self, Advice, Entry};
use hls_cache::library::{Library, MediaDir, Names, Source, Tracks, Variants, absolute};
use hls_cache::plan::{TooFewNamed, unnamed_first};
use hls_cache::{Error, Key, Root, stamp};

use super::environment;
use super::exit::UsageError;

/// What daemons offer, and the empty quality of one that offers no choice.
const QUALITIES: &str = "2160p,1080p,720p,480p,360p,original,";

/// For every command that shows entries.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Names")]
pub struct LibraryArgs {
    #[arg(
        long,
        hide_short_help = true,
        value_name = "DIR[=AS]",
        value_hint = ValueHint::DirPath,
        help = "Name entries by the media files in DIR, AS to the daemon (repeatable) [env: HLS_CACHE_LIBRARY]"
    )]
    pub library: Vec<OsString>,
    #[arg(
        long,
        hide_short_help = true,
        value_name = "Q,Q",
        help = "Qualities to try for each file [env: HLS_CACHE_QUALITIES]"
    )]
    pub qualities: Option<OsString>,
    #[arg(
        long,
        hide_short_help = true,
        value_name = "N,N..N",
        allow_hyphen_values = true,
        help = "Audio tracks to try [default: -1..15] [env: HLS_CACHE_TRACKS]"
    )]
    pub tracks: Option<Tracks>,
}

impl LibraryArgs {
    /// Every `DIR[=AS]`; the command line's replace those of the environment, which are separated by colons.
    fn dirs(&self) -> Vec<OsString> {
        if !self.library.is_empty() {
            return self.library.clone();
        }
        let dirs = std::env::var_os("HLS_CACHE_LIBRARY").unwrap_or_default();
        let dirs = dirs.as_bytes().split(|&byte| byte == b':').filter(|dir| !dir.is_empty());
        dirs.map(|dir| OsStr::from_bytes(dir).to_owned()).collect()
    }

    fn qualities(&self) -> Vec<OsString> {
        let given = self.qualities.clone();
        let from_environment = || std::env::var_os("HLS_CACHE_QUALITIES").filter(|q| !q.is_empty());
        let list = given.or_else(from_environment).unwrap_or_else(|| QUALITIES.into());
        let qualities = list.as_bytes().split(|&byte| byte == b',');
        let unique: BTreeSet<&[u8]> = qualities.collect();
        unique.into_iter().map(|quality| OsString::from_vec(quality.to_vec())).collect()
    }
}

/// Knows what entries were encoded from. Reads the library once, when the first name is wanted, so that a run
/// with nothing to show wakes no disk.
pub struct Librarian {
    library: Library,
    /// The keys to name.
    wanted: HashSet<Key>,
    names: OnceLock<Names>,
    /// What searches for sources have named.
    found: Names,
    keep: Vec<PathBuf>,
    prefer_unnamed: bool,
    /// Why keys of five parts cannot be computed.
    unread_stamp: Option<Error>,
    warnings: Mutex<Vec<String>>,
    now: SystemTime,
}

impl Librarian {
    /// For the cache at `root`: with a library it names the entries that are there now, and in any case the keys in
    /// `also`.
    pub fn new(
        root: &Root,
        args: &LibraryArgs,
        also: impl IntoIterator<Item = Key>,
        now: SystemTime,
    ) -> anyhow::Result<Self> {
        let mut dirs = Vec::new();
        for dir in args.dirs() {
            if dir.is_empty() || dir.as_bytes().ends_with(b"=") || dir.as_bytes().starts_with(b"=")
            {
                return Err(
                    UsageError::new("--library needs DIR or DIR=AS; neither may be empty").into()
                );
            }
            dirs.push(MediaDir::parse(&dir)?);
        }
        let tracks = match args.tracks.clone() {
            Some(tracks) => tracks,
            None => environment("HLS_CACHE_TRACKS")?.unwrap_or_default(),
        };
        let (settings, unread_stamp) = match stamp::read(root) {
            Ok(settings) => (settings, None),
            Err(error) => (None, Some(error)),
        };
        let variants = Variants::new(args.qualities(), tracks, settings.map(String::into_bytes))
            .map_err(|error| {
                UsageError::new(format!("{error}; shorten --qualities or --tracks"))
            })?;
        let library = Library::new(dirs, variants);
        let mut wanted: HashSet<Key> = also.into_iter().collect();
        if !library.is_empty() {
            // Before anything is removed, since what is removed is shown.
            wanted.extend(cache::entry_keys(root)?);
        }
        let librarian = Self {
            library,
            wanted,
            names: OnceLock::new(),
            found: Names::default(),
            keep: Vec::new(),
            prefer_unnamed: false,
            unread_stamp,
            warnings: Mutex::default(),
            now,
        };
        if librarian.has_library() {
            librarian.warn_of_stamp();
        }
        Ok(librarian)
    }

    /// Never evict what was encoded from these sources.
    pub fn keep(mut self, sources: &[OsString]) -> Result<Self, Error> {
        self.keep = sources.iter().map(|source| absolute(source)).collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// Evict first what the library does not name.
    pub fn prefer_unnamed(mut self, prefer: bool) -> Result<Self, UsageError> {
        if prefer && self.library.is_empty() {
            return Err(UsageError::new(
                "--prefer-unnamed needs a media library; add --library DIR",
            ));
        }
        self.prefer_unnamed = prefer;
        Ok(self)
    }

    /// Whether there is a library to name entries by.
    pub fn has_library(&self) -> bool {
        !self.library.is_empty()
    }

    /// The names of the wanted keys.
    pub fn names(&self) -> &Names {
        self.names.get_or_init(|| {
            let names = self.library.name(&self.wanted);
            names.unusable.iter().for_each(|error| self.warn(error.to_string()));
            names
        })
    }

    /// What `key` was encoded from, if the library or a search has it.
    pub fn source(&self, key: Key) -> Option<&Source> {
        let in_library = || self.has_library().then(|| self.names().get(key)).flatten();
        self.found.get(key).or_else(in_library)
    }

    /// The wanted keys that come from `source`, in order; they have names from now on. Fails if the source cannot be
    /// read in full, since some of its entries would be missed and the others look like all of them.
    pub fn find(&mut self, source: &OsStr) -> Result<Vec<Key>, Error> {
        self.warn_of_stamp();
        let found = self.library.find(&absolute(source)?, &self.wanted);
        if let Some(gap) = found.unread() {
            return Err(gap.clone());
        }
        let mut keys: Vec<Key> = found.keys().collect();
        keys.sort_unstable();
        self.found.extend(found);
        Ok(keys)
    }

    /// What the user should know of the library, as far as it was read.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds a warning, once.
    fn warn(&self, warning: String) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }

    fn warn_of_stamp(&self) {
        if let Some(error) = &self.unread_stamp {
            self.warn(format!("{error}; only keys of three parts are tried"));
        }
    }

    /// What the options say about `entries`. Fails if a source that the user keeps cannot be read in full, or the
    /// settings that its keys are made with, since its entries would go.
    pub fn advise(&self, entries: &[Entry]) -> Result<Advice, Error> {
        let mut advice = Advice::default();
        if let Some(error) = self.unread_stamp.as_ref().filter(|_| !self.keep.is_empty()) {
            return Err(error.clone());
        }
        // Not those that were there when the run began: it may have waited for hours for another maintainer.
        let wanted = entries.iter().map(|entry| entry.key).collect();
        for source in &self.keep {
            let found = self.library.find(source, &wanted);
            // A disk that is not mounted leaves an empty directory.
            if let Some(gap) = found.unusable.first().or(found.unread()) {
                return Err(gap.clone());
            }
            if !self.library.exists(source) {
                self.warn(format!(
                    "--keep-source {}: nothing is there; only entries made from this very path are kept",
                    hls_cache::Escaped::new(source)
                ));
            }
            advice.keep.extend(found.keys());
        }
        if self.prefer_unnamed {
            advice.first = self.unnamed_first(entries);
        }
        Ok(advice)
    }

    fn unnamed_first(&self, entries: &[Entry]) -> HashSet<Key> {
        let names = self.names();
        let refused = match names.gap() {
            Some(gap) => gap.to_string(),
            None => match unnamed_first(entries, |key| names.get(key).is_some(), self.now) {
                Ok(first) => return first,
                Err(TooFewNamed { named, sealed }) => format!(
                    "only {named} of {sealed} sealed entries have a name; check --library and --qualities"
                ),
            },
        };
        self.warn(format!("--prefer-unnamed has no effect: {refused}"));
        HashSet::new()
    }
}
