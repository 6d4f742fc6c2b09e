//! What the user should know although nothing failed, as facts; the sentences are the report's.

use std::path::PathBuf;

use crate::plan::Unmet;
use crate::problem::Problem;

/// One thing that the user should know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The run went on without the maintenance lock, which could not be had for this reason.
    NoMaintenanceLock(Problem),
    /// Events could not be logged; the first reason.
    NotLogged(Problem),
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
    /// So many of the removed entries were used within [`crate::plan::A_FILM`] and came from a daemon
    /// that takes no locks.
    UnseenUse(u64),
    /// What the caller wants said with the rest.
    Caller(String),
    /// A limit is still exceeded.
    Unmet(Unmet),
}
