//! Who watches a run, from outside the library.

use std::time::Duration;

use super::{Decision, Outcome, Verdict};
use crate::locks::Holder;
use crate::progress::Progress;

/// Watches a run. `()` does not.
pub trait Observer: Progress {
    /// The run waits up to `patience` for another maintainer: for these processes, as far as they are
    /// known.
    fn waiting(&self, _holders: &[Holder], _patience: Duration) {}

    /// Called once for each decision: right after the removal, or when the entry was passed over, and at
    /// the end for entries that nothing asked to go. `so_far` has what was asked for, and not yet the totals.
    fn decided(&self, _so_far: &Outcome, _decision: &Decision) {}

    /// An entry was verified and, where that was asked for, removed just now; each is told once, by key.
    fn judged(&self, _verdict: &Verdict) {}
}

impl Observer for () {}
