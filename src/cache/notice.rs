//! Notices about a cache: facts that the user should know although nothing failed.

use std::path::PathBuf;

/// One thing that the user should know about the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheNotice {
    /// An entry was skipped because something is mounted on or under it.
    Mounted(PathBuf),
    /// The number of entries with times in the future, which count as used just now.
    FutureTimes(u64),
    /// The root has names, but no entry: it may not be the cache, or its disk may not be mounted.
    #[allow(missing_docs, reason = "only what the names do not say")]
    NoEntries {
        root: PathBuf,
        /// The first name in it.
        name: PathBuf,
    },
}
