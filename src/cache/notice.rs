//! What the user should know about a cache although nothing failed, as facts.

use std::path::PathBuf;

/// One thing that the user should know about the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheNotice {
    /// An entry was skipped because something is mounted on or under it.
    Mounted(PathBuf),
    /// So many entries have times in the future, and count as used just now.
    FutureTimes(u64),
    /// The root has names, but no entry: it may not be the cache, or its disk may not be mounted.
    NoEntries {
        /// The root.
        root: PathBuf,
        /// The first name in it.
        name: PathBuf,
    },
}
