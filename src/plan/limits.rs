//! What a sweep keeps to, and the goals of a plan: when each is met, and which entries go for it.

use std::time::Duration;

use super::free_space::{Reclaim, Shortage};
use crate::cache::{Cause, Entry, Limit, Limits, State, Totals};
use crate::units::{FreeSpace, Percent};

/// A partial entry written to within this time counts as being encoded, unless the user says
/// otherwise: ffmpeg writes a segment every few seconds, and pauses for minutes when the player does.
pub const MIN_AGE: Duration = Duration::from_secs(10 * 60);

/// Budgets under this need `--min-budget`: a mistyped `--max-size 50` must not empty a cache. 1 GiB holds
/// about one film.
pub const MIN_BUDGET: u64 = 1 << 30;

/// What `sweep` keeps to. The default has no limit and evicts nothing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Sweep {
    /// Evict what was not used for this long.
    pub older_than: Option<Duration>,
    /// Evict down to this many entries.
    pub max_entries: Option<u64>,
    /// Evict down to this many bytes in all entries.
    pub max_size: Option<u64>,
    /// When over `max_size`, evict down to this share of it.
    pub low_water: Percent,
    /// Evict until this much of the file system is free.
    pub min_free: Option<FreeSpace>,
    /// Never evict below this many bytes of entries for `min_free`: other files on the disk cannot push the
    /// cache below it.
    pub min_budget: u64,
    /// Protect what was used more recently than this.
    pub keep_recent: Duration,
    /// Protect partial entries written more recently than this.
    pub min_age: Duration,
    /// Evict for `max_size` even where the entries in use alone exceed it.
    pub best_effort: bool,
    /// Only locks and writes protect: neither open files nor recent reads do.
    pub locks_only: bool,
}

impl Default for Sweep {
    fn default() -> Self {
        Self {
            older_than: None,
            max_entries: None,
            max_size: None,
            low_water: Percent::ALL,
            min_free: None,
            min_budget: MIN_BUDGET,
            keep_recent: Duration::ZERO,
            min_age: MIN_AGE,
            best_effort: false,
            locks_only: false,
        }
    }
}

impl Sweep {
    /// Whether anything may go for it.
    pub fn has_limit(&self) -> bool {
        !self.goals(0).is_empty()
    }

    /// The limits in force, as numbers, on a file system of `total` bytes.
    pub fn limits(&self, total: u64) -> Limits {
        let recent = Some(self.keep_recent.as_secs()).filter(|_| !self.keep_recent.is_zero());
        let share = Some(self.low_water).filter(|share| *share != Percent::ALL);
        let mut limits = Limits::default();
        limits.set(Limit::OlderThan, self.older_than.map(|age| age.as_secs()));
        limits.set(Limit::MaxEntries, self.max_entries);
        limits.set(Limit::MaxSize, self.max_size);
        limits.set(Limit::MinFree, self.min_free.map(|keep| keep.target(total)));
        limits.set(Limit::KeepRecent, recent);
        limits.set(Limit::LowWater, self.max_size.and(share).map(|share| share.get().into()));
        limits
    }

    /// In the order in which limits are taken: each sees what the earlier ones left.
    pub(super) fn goals(&self, total: u64) -> Vec<Goal> {
        let goals = [
            self.older_than.map(Goal::OlderThan),
            self.max_entries.map(Goal::MaxEntries),
            self.max_size.map(|budget| Goal::MaxSize {
                budget,
                target: self.low_water.of(budget),
                best_effort: self.best_effort,
            }),
            self.min_free.map(|keep| Goal::MinFree {
                target: keep.target(total),
                min_budget: self.min_budget,
            }),
        ];
        goals.into_iter().flatten().collect()
    }
}

/// A goal of the plan, reached or not by removing in order.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goal {
    OlderThan(Duration),
    MaxEntries(u64),
    MaxSize { budget: u64, target: u64, best_effort: bool },
    MinFree { target: u64, min_budget: u64 },
    Orphans,
    Invalidate,
}

impl Goal {
    /// Why an entry goes for it.
    pub(super) fn cause(self) -> Cause {
        match self {
            Self::OlderThan(_) => Cause::OlderThan,
            Self::MaxEntries(_) => Cause::MaxEntries,
            Self::MaxSize { .. } => Cause::OverBudget,
            Self::MinFree { .. } => Cause::MinFree,
            Self::Orphans => Cause::Orphan,
            Self::Invalidate => Cause::Invalidated,
        }
    }

    /// Whether the entry, unused for `age`, may go for it.
    pub(super) fn concerns(self, entry: &Entry, age: Duration) -> bool {
        match self {
            Self::OlderThan(limit) => age >= limit,
            Self::Orphans => entry.state == State::Partial,
            Self::MaxEntries(_)
            | Self::MaxSize { .. }
            | Self::MinFree { .. }
            | Self::Invalidate => true,
        }
    }

    /// Whether it is met with these entries left.
    pub(super) fn is_met(self, left: &Totals, reclaim: &Reclaim) -> bool {
        match self {
            Self::MaxEntries(most) => left.entries <= most,
            Self::MaxSize { budget, .. } => left.bytes <= budget,
            Self::MinFree { target, .. } => reclaim.is_met(target),
            Self::OlderThan(_) | Self::Orphans | Self::Invalidate => false,
        }
    }

    /// Whether to stop evicting for it, where it was not met at its start.
    pub(super) fn is_reached(self, left: &Totals, reclaim: &Reclaim) -> bool {
        match self {
            Self::MaxSize { target, .. } => left.bytes <= target,
            Self::MinFree { .. } => reclaim.has_ended() || self.is_met(left, reclaim),
            goal => goal.is_met(left, reclaim),
        }
    }

    /// What it lacks; `None` if it is met, or is no limit. `older_than` is never unmet: it names no state
    /// that a sweep could fail to reach.
    pub(super) fn unmet(self, left: &Totals, reclaim: &Reclaim) -> Option<Unmet> {
        if self.is_met(left, reclaim) {
            return None;
        }
        let unmet =
            |limit, bound, found| Unmet { limit, bound, found, hopeless: false, shortage: None };
        match self {
            Self::MaxEntries(most) => Some(unmet(Limit::MaxEntries, most, left.entries)),
            Self::MaxSize { budget, .. } => Some(unmet(Limit::MaxSize, budget, left.bytes)),
            Self::MinFree { target, .. } => {
                Some(unmet(Limit::MinFree, target, reclaim.expected().available))
            }
            Self::OlderThan(_) | Self::Orphans | Self::Invalidate => None,
        }
    }
}

/// A limit that is still exceeded, with the figures, in the limit's [`Unit`](crate::cache::Unit).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unmet {
    /// Which one.
    pub limit: Limit,
    /// The limit's own number.
    pub bound: u64,
    /// What there is instead.
    pub found: u64,
    /// Nothing was evicted for it, because the entries in use alone exceed it.
    pub hopeless: bool,
    /// Of `min_free`: what eviction gave back.
    pub shortage: Option<Shortage>,
}
