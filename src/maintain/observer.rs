//! The interface through which a caller follows a run.

use std::time::Duration;

use super::{Decision, Outcome, Verdict};
use crate::cache::{Advice, Entry};
use crate::error::Error;
use crate::locks::Holder;
use crate::progress::Progress;

/// Follows a run. `()` ignores everything.
pub trait Observer: Progress {
    /// The run waits up to `patience` for another maintainer; `_holders` are its known processes.
    fn waiting(&self, _holders: &[Holder], _patience: Duration) {}

    /// Called once, and only if there is something to remove, before the first removal: what the caller knows of
    /// `_entries`. An error ends the run before anything is removed.
    fn advise(&self, _entries: &[Entry]) -> Result<Advice, Error> {
        Ok(Advice::default())
    }

    /// Called once for each decision: right after the entry was removed or kept, and at the end for entries
    /// that were no candidates. `so_far` has the request but not yet the totals.
    fn decided(&self, _so_far: &Outcome, _decision: &Decision) {}

    /// Called once for each entry, in order of keys, after it was verified and, with `fix`, removed.
    fn judged(&self, _verdict: &Verdict) {}
}

impl Observer for () {}
