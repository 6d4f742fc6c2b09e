//! Facts that the user should know although nothing failed. The report words them.

use std::path::PathBuf;

use crate::cache::CacheNotice;
use crate::error::Error;
use crate::locks::ProcessCount;
use crate::plan::Unmet;

/// One thing that the user should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The run went on without the maintenance lock, which it could not take for this reason.
    NoMaintenanceLock(Error),
    /// Events could not be logged; the first reason.
    NotLogged(Error),
    /// A notice about the cache, from the scan.
    Cache(CacheNotice),
    /// Number of removed entries that were used within [`crate::plan::A_FILM`] and come from a daemon that
    /// takes no locks.
    UnseenUse(u64),
    /// A source that the user wants removed has no entry: a finding, since with another quality the old film would
    /// go on being served.
    NoEntryOf(PathBuf),
    /// A notice of the caller, reported with the others.
    Caller(String),
    /// Entries were removed although some processes could not be examined.
    UnseenProcesses(ProcessCount),
    /// A limit is still exceeded.
    Unmet(Unmet),
}

impl From<CacheNotice> for Notice {
    fn from(notice: CacheNotice) -> Self {
        Self::Cache(notice)
    }
}
