//! What the user should know although nothing failed, as facts; the sentences are the report's.

use crate::cache::CacheNotice;
use crate::error::Error;
use crate::locks::ProcessCount;
use crate::plan::Unmet;

/// One thing that the user should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The run went on without the maintenance lock, which could not be had for this reason.
    NoMaintenanceLock(Error),
    /// Events could not be logged; the first reason.
    NotLogged(Error),
    /// Of the cache as it was found.
    Cache(CacheNotice),
    /// So many of the removed entries were used within [`crate::plan::A_FILM`] and came from a daemon
    /// that takes no locks.
    UnseenUse(u64),
    /// What the caller wants said with the rest.
    Caller(String),
    /// Something was removed, and some processes could not be looked at.
    UnseenProcesses(ProcessCount),
    /// A limit is still exceeded.
    Unmet(Unmet),
}

impl From<CacheNotice> for Notice {
    fn from(notice: CacheNotice) -> Self {
        Self::Cache(notice)
    }
}
