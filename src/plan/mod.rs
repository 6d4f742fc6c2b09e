//! What to remove and why: pure decisions over a view, a policy and the time.
//!
//! The caller asks a [`Plan`] for one step at a time and reports the result of each. A candidate can
//! vanish, change or be pinned between the scan and the lock, and then the next takes its place; and only
//! the file system knows how much space a removal freed. A dry run uses the same plan and reports that
//! every step succeeded.
//!
//! Here: policies, the order of eviction, what protects an entry, when a limit is met. Nothing here reads the
//! disk or the clock. Not here: carrying out the plan (`removal`, `maintain`), or any text for the user.

mod fate;
mod foresight;
mod free_space;
mod limits;
mod policy;
mod standing;
#[cfg(test)]
mod tests;
mod unnamed;

use std::time::{Duration, SystemTime};

use self::free_space::Reclaim;
use self::limits::Goal;
pub use crate::cache::{Cause, Limit, Limits, Totals};
pub use fate::{Fate, Protection};
pub use foresight::{Foresight, foresee};
pub use free_space::{EndedEarly, Shortage};
pub use limits::{MIN_AGE, MIN_BUDGET, Sweep, Unmet};
pub use policy::{A_FILM, Forced, Policy, Shield, Which, is_hopeless, is_perhaps_watched};

pub use standing::{Standing, standings};
pub use unnamed::{TooFewNamed, UNUSED_FOR, unnamed_first};

use crate::cache::{CacheView, Entry};
use crate::root::Space;
use crate::units::age;

/// The next step of a plan.
#[derive(Debug)]
#[must_use]
pub enum Step<'p, 'a> {
    /// Remove this entry, and [`Candidate::settle`] it.
    Remove(Candidate<'p, 'a>),
    /// Delete the trash of this run, read the free space, and pass it to [`Plan::measured`].
    MeasureSpace,
}

/// The entry to remove next. The plan lends one candidate at a time, and [`Candidate::settle`] consumes it:
/// an entry settled twice would be subtracted twice.
///
/// ```compile_fail,E0382
/// # use hls_cache::plan::{Candidate, Fate};
/// # fn twice(candidate: Candidate<'_, '_>) {
/// candidate.settle(Fate::Absent);
/// candidate.settle(Fate::Absent);
/// # }
/// ```
///
/// ```compile_fail,E0499
/// # use hls_cache::plan::Plan;
/// # fn both(plan: &mut Plan<'_>) {
/// let (one, other) = (plan.next_step(), plan.next_step());
/// drop((one, other));
/// # }
/// ```
#[derive(Debug)]
#[must_use]
pub struct Candidate<'p, 'a> {
    plan: &'p mut Plan<'a>,
    index: usize,
    cause: Cause,
}

impl Candidate<'_, '_> {
    /// Index into the view's entries.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Why it should go.
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// Reports the result to the plan.
    pub fn settle(self, fate: Fate) {
        let Self { plan, index, cause } = self;
        plan.settle(index, cause, fate);
    }
}

/// A [`Step`] that does not yet hold the plan.
enum Next {
    Remove { index: usize, cause: Cause },
    MeasureSpace,
}

/// How far the plan is with its present goal.
#[derive(Clone, Copy, Debug, Default)]
struct Pursuit {
    /// Position in the order of eviction.
    cursor: usize,
    /// Nothing may be evicted for this goal: entries in use alone exceed it.
    is_hopeless: bool,
}

/// What a plan has decided so far, apart from the view that it is about.
#[derive(Clone, Debug)]
pub struct Decided {
    /// The result for each entry that was a candidate.
    fates: Vec<Option<Fate>>,
    /// Indices of these entries, in the order in which they were candidates.
    order: Vec<usize>,
    reclaim: Reclaim,
}

/// The ordered candidates and the targets.
#[derive(Debug)]
pub struct Plan<'a> {
    entries: &'a [Entry],
    order: Vec<usize>,
    protection: Vec<Option<Protection>>,
    ages: Vec<Duration>,
    goals: Vec<Goal>,
    goal: usize,
    /// `None` before the present goal was begun.
    pursuit: Option<Pursuit>,
    /// A goal was hopeless.
    gave_up: bool,
    left: Totals,
    decided: Decided,
}

impl<'a> Plan<'a> {
    /// Plans `policy` over the view's entries. `space` is the file system's, with leftover trash
    /// already gone or counted as free; it matters to `min_free` only.
    pub fn new(view: &'a CacheView, policy: &Policy, now: SystemTime, space: Space) -> Self {
        let (fates, order) = (vec![None; view.entries.len()], Vec::new());
        Self::resume(view, policy, now, Decided { fates, order, reclaim: Reclaim::new(space) })
    }

    /// Goes on after [`Plan::pause`], when the view has learned more about the same entries.
    pub fn resume(view: &'a CacheView, policy: &Policy, now: SystemTime, decided: Decided) -> Self {
        let entries = &*view.entries;
        let shield = policy.shield();
        let has_left = |index: usize| decided.fates[index].as_ref().is_some_and(Fate::has_left);
        let left = entries.iter().enumerate().filter(|&(index, _)| !has_left(index));
        Self {
            entries,
            order: order(entries, policy),
            protection: entries.iter().map(|entry| shield.protection(entry, now)).collect(),
            ages: entries.iter().map(|entry| age(now, entry.last_used)).collect(),
            goals: goals(policy, decided.reclaim.space()),
            goal: 0,
            pursuit: None,
            gave_up: false,
            left: Totals::of(left.map(|(_, entry)| entry)),
            decided,
        }
    }

    /// Keeps what was decided while the view learns more. A candidate that is not settled is one again.
    pub fn pause(self) -> Decided {
        self.decided
    }

    /// Takes every step that is left as if it succeeded; calls `visit` for each removal.
    pub fn foresee(&mut self, mut visit: impl FnMut(usize, Cause)) {
        while let Some(step) = self.next_step() {
            match step {
                Step::MeasureSpace => self.measured(self.expected_space()),
                Step::Remove(candidate) => {
                    let (index, cause) = (candidate.index(), candidate.cause());
                    visit(index, cause);
                    candidate.settle(Fate::Removed(cause));
                }
            }
        }
    }

    /// Whether the plan has anything to remove.
    pub fn has_candidate(mut self) -> bool {
        self.next_step().is_some()
    }

    /// The next thing to do; `None` when every goal is reached or out of candidates.
    pub fn next_step(&mut self) -> Option<Step<'_, 'a>> {
        while let Some(&goal) = self.goals.get(self.goal) {
            match self.pursue(goal) {
                Some(Next::Remove { index, cause }) => {
                    return Some(Step::Remove(Candidate { plan: self, index, cause }));
                }
                Some(Next::MeasureSpace) => return Some(Step::MeasureSpace),
                None => {
                    self.goal += 1;
                    self.pursuit = None;
                }
            }
        }
        None
    }

    /// The next step towards `goal`; `None` when it is over.
    fn pursue(&mut self, goal: Goal) -> Option<Next> {
        if self.pursuit.is_none() {
            if self.is_met(goal) {
                return None;
            }
            if matches!(goal, Goal::MinFree { .. }) {
                // Measure first, so that space freed for earlier goals is not counted for this one.
                if self.decided.reclaim.is_outdated() {
                    return Some(Next::MeasureSpace);
                }
                self.decided.reclaim.begin();
            }
            let is_hopeless = self.is_hopeless(goal);
            self.gave_up |= is_hopeless;
            self.pursuit = Some(Pursuit { cursor: 0, is_hopeless });
        }
        loop {
            if self.is_measuring_due(goal) {
                return Some(Next::MeasureSpace);
            }
            let pursuit = self.pursuit.as_mut()?;
            if !pursuit.is_hopeless && goal.is_reached(&self.left, &self.decided.reclaim) {
                return None;
            }
            let &index = self.order.get(pursuit.cursor)?;
            let is_hopeless = pursuit.is_hopeless;
            pursuit.cursor += 1;
            let is_settled = self.decided.fates[index].is_some();
            if is_settled || !goal.concerns(&self.entries[index], self.ages[index]) {
                continue;
            }
            if let Some(protection) = self.protection[index] {
                self.decide(index, Fate::Kept(protection));
            } else if self.is_too_much(goal, index) {
                self.decided.reclaim.end_at_min_budget();
                return None;
            } else if !is_hopeless {
                return Some(Next::Remove { index, cause: goal.cause() });
            }
        }
    }

    fn settle(&mut self, index: usize, cause: Cause, fate: Fate) {
        let entry = &self.entries[index];
        if fate.has_left() {
            self.left.subtract(entry);
        }
        if matches!(fate, Fate::Removed(_)) {
            self.decided.reclaim.removed(entry.allocated_bytes, cause == Cause::MinFree);
        }
        self.decide(index, fate);
    }

    fn decide(&mut self, index: usize, fate: Fate) {
        self.decided.fates[index] = Some(fate);
        self.decided.order.push(index);
    }

    /// Reports the free space, after the trash of this run was deleted.
    pub fn measured(&mut self, space: Space) {
        self.decided.reclaim.measured(space);
    }

    /// The space there should be by now, if every removed byte comes back.
    pub fn expected_space(&self) -> Space {
        self.decided.reclaim.expected()
    }

    fn is_met(&self, goal: Goal) -> bool {
        goal.is_met(&self.left, &self.decided.reclaim)
    }

    fn is_measuring_due(&self, goal: Goal) -> bool {
        matches!(goal, Goal::MinFree { target, .. } if self.decided.reclaim.is_measuring_due(target))
    }

    /// Whether evicting this entry for `min_free` would take the cache below `min_budget`.
    fn is_too_much(&self, goal: Goal, index: usize) -> bool {
        let Goal::MinFree { min_budget, .. } = goal else { return false };
        self.left.bytes.saturating_sub(self.entries[index].bytes) < min_budget
    }

    fn is_hopeless(&self, goal: Goal) -> bool {
        let Goal::MaxSize { budget, best_effort: false, .. } = goal else { return false };
        is_hopeless(self.bytes_in_use(), budget)
    }

    fn bytes_in_use(&self) -> u64 {
        let used = (0..self.entries.len())
            .filter(|&index| self.fate(index).protection().is_some_and(Protection::is_use));
        used.fold(0, |sum, index| sum.saturating_add(self.entries[index].bytes))
    }

    /// The limits that the remaining entries exceed.
    pub fn unmet(&self) -> Vec<Unmet> {
        let unmet =
            self.goals.iter().filter_map(|&goal| goal.unmet(&self.left, &self.decided.reclaim));
        unmet.map(|unmet| self.explain(unmet)).collect()
    }

    /// Adds what stood in the way.
    fn explain(&self, unmet: Unmet) -> Unmet {
        match unmet.limit {
            Limit::MaxSize => Unmet { hopeless: self.gave_up, ..unmet },
            Limit::MinFree => {
                let evictable = (0..self.entries.len())
                    .filter(|&index| self.fate(index) == Fate::Untouched(None))
                    .fold(0_u64, |sum, index| {
                        sum.saturating_add(self.entries[index].allocated_bytes)
                    });
                Unmet {
                    shortage: Some(self.decided.reclaim.shortage(unmet.bound, evictable)),
                    ..unmet
                }
            }
            _ => unmet,
        }
    }

    /// Totals of the remaining entries.
    pub fn left(&self) -> Totals {
        self.left
    }

    /// The result for the entry at this index of the view.
    pub fn fate(&self, index: usize) -> Fate {
        self.decided.fates[index].clone().unwrap_or(Fate::Untouched(self.protection[index]))
    }

    /// Indices into the view of the entries that were candidates, in that order.
    pub fn decided(&self) -> &[usize] {
        &self.decided.order
    }

    /// Indices into the view in eviction order.
    pub fn order(&self) -> &[usize] {
        &self.order
    }
}

/// The order of eviction: least recently used first, by recorded time, or the order in which the user
/// named the entries.
fn order(entries: &[Entry], policy: &Policy) -> Vec<usize> {
    if let Policy::Invalidate { which: Which::Keys(keys), .. } = policy {
        // The view is sorted by key.
        let place = |key| entries.binary_search_by_key(key, |entry| entry.key).ok();
        let mut seen = vec![false; entries.len()];
        let mut order: Vec<usize> = keys.iter().filter_map(place).collect();
        order.retain(|&index| !std::mem::replace(&mut seen[index], true));
        return order;
    }
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_unstable_by_key(|&index| {
        let entry = &entries[index];
        (!entry.goes_first, entry.last_used, entry.key)
    });
    order
}

fn goals(policy: &Policy, space: Space) -> Vec<Goal> {
    match policy {
        Policy::Sweep(sweep) => sweep.goals(space.total),
        Policy::Orphans { .. } => vec![Goal::Orphans],
        Policy::Invalidate { .. } => vec![Goal::Invalidate],
    }
}
