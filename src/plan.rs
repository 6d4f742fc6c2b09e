//! What to remove and why: pure decisions over a view, a policy and the time.
//!
//! A [`Plan`] is asked for one candidate after the other and told what became of each, because a
//! candidate can vanish, change or be pinned between the look and the lock; then the next takes its
//! place. A dry run tells it that every removal went well, and so is the same plan.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::key::Key;
use crate::root::Space;
use crate::units::{FreeSpace, Percent, age};
use crate::view::{CacheView, Entry, Pin, State};

/// A partial entry written to within this time counts as being written, unless the user says
/// otherwise: ffmpeg writes a segment every few seconds, and pauses for minutes when the player does.
pub const MIN_AGE: Duration = Duration::from_secs(10 * 60);

/// Budgets under this are raised to it unless the user says otherwise: a mistyped `--max-size 50`
/// must not empty a cache. 1 GiB holds about one film.
pub const MIN_BUDGET: u64 = 1 << 30;

/// A limit that `sweep` evicts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// Age since the last use.
    OlderThan,
    /// Number of entries.
    MaxEntries,
    /// Bytes of all entries.
    MaxSize,
    /// Free bytes on the file system.
    MinFree,
}

impl Limit {
    /// The stable name, as in JSON.
    pub fn code(self) -> &'static str {
        match self {
            Self::OlderThan => "older_than",
            Self::MaxEntries => "max_entries",
            Self::MaxSize => "max_size",
            Self::MinFree => "min_free",
        }
    }
}

/// Why an entry was removed, or was kept although it was its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Evicted for `--max-size`.
    OverBudget,
    /// Evicted for `--older-than`.
    OlderThan,
    /// Evicted for `--max-entries`.
    MaxEntries,
    /// Evicted for `--min-free`.
    MinFree,
    /// An abandoned partial entry.
    Orphan,
    /// The user asked.
    Invalidated,
    /// It could not be read, locked or removed.
    Error,
    /// Something is mounted on or under it.
    Mounted,
    /// Somebody holds its pin.
    Pinned,
    /// A partial entry that was written to lately.
    Writing,
    /// Used lately (`--keep-recent`).
    Recent,
    /// Not as it was planned any more.
    Changed,
}

impl Reason {
    /// The stable name, as in JSON.
    pub fn code(self) -> &'static str {
        match self {
            Self::OverBudget => "over-budget",
            Self::OlderThan => "older-than",
            Self::MaxEntries => "max-entries",
            Self::MinFree => "min-free",
            Self::Orphan => "orphan",
            Self::Invalidated => "invalidated",
            Self::Error => "error",
            Self::Mounted => "mounted",
            Self::Pinned => "pinned",
            Self::Writing => "writing",
            Self::Recent => "recent",
            Self::Changed => "changed",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OverBudget => "over budget",
            Self::OlderThan => "not used for long",
            Self::MaxEntries => "too many entries",
            Self::MinFree => "disk too full",
            Self::Orphan => "abandoned",
            Self::Invalidated => "invalidated",
            Self::Error => "error",
            Self::Mounted => "something is mounted in it",
            Self::Pinned => "in use",
            Self::Writing => "being written",
            Self::Recent => "used recently",
            Self::Changed => "changed meanwhile",
        })
    }
}

/// What `sweep` keeps to. The default has no limit and evicts nothing.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// Evict what was not used for this long.
    pub older_than: Option<Duration>,
    /// Evict down to this many entries.
    pub max_entries: Option<u64>,
    /// Evict down to this many bytes in all entries.
    pub max_size: Option<u64>,
    /// Once over `max_size`, evict down to this share of it.
    pub low_water: Percent,
    /// Evict until this much of the file system is free.
    pub min_free: Option<FreeSpace>,
    /// Protect what was used more recently than this.
    pub keep_recent: Duration,
    /// Protect partial entries written more recently than this.
    pub min_age: Duration,
    /// Evict for `max_size` even where what cannot go is more than the budget alone.
    pub best_effort: bool,
}

impl Default for Sweep {
    fn default() -> Self {
        Self {
            older_than: None,
            max_entries: None,
            max_size: None,
            low_water: Percent::ALL,
            min_free: None,
            keep_recent: Duration::ZERO,
            min_age: MIN_AGE,
            best_effort: false,
        }
    }
}

/// Permission to remove an entry whose pin somebody holds: `invalidate --force`.
#[derive(Clone, Copy, Debug)]
pub struct Forced(());

impl Forced {
    /// Says that the user asked for it by name.
    pub fn by_the_user() -> Self {
        Self(())
    }
}

/// Which entries `invalidate` removes.
#[derive(Clone, Debug)]
pub enum Which {
    /// These, protected by locks alone.
    Keys(Vec<Key>),
    /// All of them but those being written.
    All,
}

/// What a removing command wants.
#[derive(Clone, Debug)]
pub enum Policy {
    /// Least recently used entries down to limits.
    Sweep(Sweep),
    /// Partial entries that nobody uses or writes.
    Orphans {
        /// Abandoned after this long without a write.
        min_age: Duration,
    },
    /// Entries that the user names.
    Invalidate {
        /// These.
        which: Which,
        /// Even if pinned.
        force: Option<Forced>,
    },
}

impl Policy {
    /// How recently a partial entry must have been written to count as being written.
    pub fn min_age(&self) -> Duration {
        match self {
            Self::Sweep(sweep) => sweep.min_age,
            Self::Orphans { min_age } => *min_age,
            Self::Invalidate { .. } => MIN_AGE,
        }
    }
}

/// Whether a partial entry counts as being written.
pub fn is_writing(entry: &Entry, min_age: Duration, now: SystemTime) -> bool {
    entry.state == State::Partial && age(now, entry.last_written) < min_age
}

/// Whether somebody may be watching the entry unseen: no daemon that takes locks made it (maintainers
/// never create `.write`), and it was used or written lately.
pub fn is_perhaps_watched(entry: &Entry, now: SystemTime) -> bool {
    /// About the longest film with a long pause.
    const A_FILM: Duration = Duration::from_secs(4 * 60 * 60);
    !entry.has_writer_lockfile && age(now, entry.last_used.max(entry.last_written)) < A_FILM
}

/// Whether `--max-size` is given up: what is pinned or being written, `stuck` bytes, is alone as much as
/// the budget, and evicting the rest would empty the cache and still not reach it.
pub fn is_hopeless(stuck: u64, budget: u64) -> bool {
    stuck > 0 && stuck >= budget
}

/// Entries and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Number of entries.
    pub entries: u64,
    /// Sum of their sizes.
    pub bytes: u64,
    /// Sum of what they occupy on disk.
    pub allocated_bytes: u64,
}

impl Totals {
    /// The totals of `entries`.
    pub fn of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        let mut totals = Self::default();
        for entry in entries {
            totals.entries += 1;
            totals.bytes = totals.bytes.saturating_add(entry.bytes);
            totals.allocated_bytes = totals.allocated_bytes.saturating_add(entry.allocated_bytes);
        }
        totals
    }

    fn subtract(&mut self, entry: &Entry) {
        self.entries -= 1;
        self.bytes = self.bytes.saturating_sub(entry.bytes);
        self.allocated_bytes = self.allocated_bytes.saturating_sub(entry.allocated_bytes);
    }
}

/// What became, or would become, of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was never its turn.
    Untouched,
    /// It was its turn, and it stays.
    Kept(Reason),
    /// It goes.
    Removed(Reason),
    /// It was its turn, and somebody else had removed it.
    Gone,
    /// It was its turn, and removing failed.
    Failed,
}

/// What became of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It has left the cache.
    Removed,
    /// It was gone.
    Gone,
    /// It had to stay.
    Kept(Reason),
    /// Removing it failed.
    Failed,
}

/// The entry whose turn it is. While there is one the plan gives no other, and [`Candidate::settle`] uses
/// it up: an entry settled twice would be subtracted twice.
///
/// ```compile_fail,E0382
/// # use hls_cache::plan::{Plan, Settled};
/// # fn twice(plan: &mut Plan<'_>) {
/// let candidate = plan.next_candidate().unwrap();
/// candidate.settle(Settled::Removed);
/// candidate.settle(Settled::Removed);
/// # }
/// ```
///
/// ```compile_fail,E0499
/// # use hls_cache::plan::{Plan, Settled};
/// # fn both(plan: &mut Plan<'_>) {
/// let (one, other) = (plan.next_candidate().unwrap(), plan.next_candidate().unwrap());
/// other.settle(Settled::Removed);
/// one.settle(Settled::Removed);
/// # }
/// ```
#[derive(Debug)]
#[must_use]
pub struct Candidate<'p, 'a> {
    plan: &'p mut Plan<'a>,
    index: usize,
    reason: Reason,
}

impl Candidate<'_, '_> {
    /// Its place in the view's entries.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Why it should go.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Tells the plan what became of it.
    pub fn settle(self, settled: Settled) {
        let Self { plan, index, reason } = self;
        let fate = match settled {
            Settled::Removed => Fate::Removed(reason),
            Settled::Gone => Fate::Gone,
            Settled::Kept(reason) => Fate::Kept(reason),
            Settled::Failed => Fate::Failed,
        };
        plan.decide(index, fate);
        if matches!(settled, Settled::Removed | Settled::Gone) {
            plan.left.subtract(&plan.entries[index]);
        }
    }
}

/// A goal of the plan, reached or not by removing in order.
#[derive(Clone, Copy, Debug)]
enum Goal {
    OlderThan(Duration),
    MaxEntries(u64),
    MaxSize { budget: u64, target: u64, best_effort: bool },
    MinFree { need: u64 },
    Orphans,
    Invalidate,
}

/// The ordered candidates and the targets.
#[derive(Debug)]
pub struct Plan<'a> {
    entries: &'a [Entry],
    order: Vec<usize>,
    protection: Vec<Option<Reason>>,
    ages: Vec<Duration>,
    fates: Vec<Fate>,
    /// Those whose fate is decided, in the order in which it was their turn.
    decided: Vec<usize>,
    goals: Vec<Goal>,
    goal: usize,
    /// Position in `order` within the current goal; `None` before the goal was looked at.
    cursor: Option<usize>,
    /// Nothing may go for this goal: what cannot go is too much alone.
    blocked: bool,
    /// A goal was blocked.
    gave_up: bool,
    left: Totals,
    start: Totals,
}

impl<'a> Plan<'a> {
    /// Plans `policy` over the view's entries. `space` is the file system's, with leftover trash
    /// already gone or counted as free; it matters to `min_free` only.
    pub fn new(
        view: &'a CacheView,
        policy: &Policy,
        now: SystemTime,
        space: Option<Space>,
    ) -> Self {
        let entries = &*view.entries;
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_unstable_by_key(|&index| (entries[index].last_used, entries[index].key));
        if let Policy::Invalidate { which: Which::Keys(keys), .. } = policy {
            // In the user's order; the view is sorted by key.
            let mut seen = vec![false; entries.len()];
            let place = |key| entries.binary_search_by_key(key, |entry| entry.key).ok();
            order = keys.iter().filter_map(place).collect();
            order.retain(|&index| !std::mem::replace(&mut seen[index], true));
        }
        let left = Totals::of(entries);
        Self {
            entries,
            order,
            protection: entries.iter().map(|entry| protection(entry, policy, now)).collect(),
            ages: entries.iter().map(|entry| age(now, entry.last_used)).collect(),
            fates: vec![Fate::Untouched; entries.len()],
            decided: Vec::new(),
            goals: goals(policy, space),
            goal: 0,
            cursor: None,
            blocked: false,
            gave_up: false,
            left,
            start: left,
        }
    }

    /// The next entry to remove.
    pub fn next_candidate(&mut self) -> Option<Candidate<'_, 'a>> {
        while let Some(&goal) = self.goals.get(self.goal) {
            if self.cursor.is_none() && self.is_met(goal) {
                self.next_goal();
                continue;
            }
            let cursor = self.cursor.unwrap_or_else(|| {
                self.blocked = self.is_blocked(goal);
                self.gave_up |= self.blocked;
                0
            });
            if self.cursor.is_some() && self.is_reached(goal) {
                self.next_goal();
                continue;
            }
            let Some(&index) = self.order.get(cursor) else {
                self.next_goal();
                continue;
            };
            self.cursor = Some(cursor + 1);
            let undecided = matches!(self.fates[index], Fate::Untouched);
            let Some(reason) = self.applies(goal, index).filter(|_| undecided) else { continue };
            match self.protection[index] {
                Some(protection) => self.decide(index, Fate::Kept(protection)),
                None if self.blocked => {}
                None => return Some(Candidate { plan: self, index, reason }),
            }
        }
        None
    }

    fn next_goal(&mut self) {
        self.goal += 1;
        self.cursor = None;
    }

    fn decide(&mut self, index: usize, fate: Fate) {
        self.fates[index] = fate;
        self.decided.push(index);
    }

    /// Nothing need go for this goal.
    fn is_met(&self, goal: Goal) -> bool {
        match goal {
            Goal::MaxEntries(most) => self.left.entries <= most,
            Goal::MaxSize { budget, .. } => self.left.bytes <= budget,
            Goal::MinFree { need } => self.freed() >= need,
            Goal::OlderThan(_) | Goal::Orphans | Goal::Invalidate => false,
        }
    }

    /// Enough has gone for this goal, which was not met.
    fn is_reached(&self, goal: Goal) -> bool {
        match goal {
            Goal::MaxSize { target, .. } => !self.blocked && self.left.bytes <= target,
            goal => self.is_met(goal),
        }
    }

    fn is_blocked(&self, goal: Goal) -> bool {
        let Goal::MaxSize { budget, best_effort: false, .. } = goal else { return false };
        is_hopeless(self.stuck(), budget)
    }

    /// Whether nothing was evicted for a limit, because it is hopeless.
    pub fn gave_up(&self) -> bool {
        self.gave_up
    }

    /// Bytes of what is pinned or being written.
    fn stuck(&self) -> u64 {
        let of_entry = |index: usize| match (self.fates[index], self.protection[index]) {
            (Fate::Removed(_) | Fate::Gone, _) => None,
            (Fate::Kept(reason), _) | (_, Some(reason)) => Some(reason),
            _ => None,
        };
        (0..self.entries.len())
            .filter(|&index| matches!(of_entry(index), Some(Reason::Pinned | Reason::Writing)))
            .fold(0, |sum, index| sum.saturating_add(self.entries[index].bytes))
    }

    /// Bytes on disk that what has gone occupied.
    fn freed(&self) -> u64 {
        self.start.allocated_bytes.saturating_sub(self.left.allocated_bytes)
    }

    /// Why the entry would go for this goal, if it would.
    fn applies(&self, goal: Goal, index: usize) -> Option<Reason> {
        Some(match goal {
            Goal::OlderThan(limit) if self.ages[index] < limit => return None,
            Goal::OlderThan(_) => Reason::OlderThan,
            Goal::MaxEntries(_) => Reason::MaxEntries,
            Goal::MaxSize { .. } => Reason::OverBudget,
            Goal::MinFree { .. } => Reason::MinFree,
            Goal::Orphans if self.entries[index].state == State::Sealed => return None,
            Goal::Orphans => Reason::Orphan,
            Goal::Invalidate => Reason::Invalidated,
        })
    }

    /// The limits that what is left exceeds. `OlderThan` is never unmet.
    pub fn unmet(&self) -> Vec<Limit> {
        let unmet = |&goal: &Goal| match goal {
            Goal::MaxEntries(_) if !self.is_met(goal) => Some(Limit::MaxEntries),
            Goal::MaxSize { .. } if !self.is_met(goal) => Some(Limit::MaxSize),
            Goal::MinFree { .. } if !self.is_met(goal) => Some(Limit::MinFree),
            _ => None,
        };
        self.goals.iter().filter_map(unmet).collect()
    }

    /// What is left.
    pub fn left(&self) -> Totals {
        self.left
    }

    /// The places in the view of the entries whose fate is decided, in the order in which it was their
    /// turn.
    pub(crate) fn decided(&self) -> &[usize] {
        &self.decided
    }

    /// What became of the entry at that place in the view.
    pub(crate) fn fate(&self, index: usize) -> Fate {
        self.fates[index]
    }

    /// The entries' places in the view in eviction order, each with its fate and, for one that it
    /// was never the turn of, what would protect it.
    pub(crate) fn fates(&self) -> impl Iterator<Item = (usize, Fate, Option<Reason>)> {
        self.order.iter().map(|&index| (index, self.fates[index], self.protection[index]))
    }
}

fn goals(policy: &Policy, space: Option<Space>) -> Vec<Goal> {
    let sweep = match policy {
        Policy::Sweep(sweep) => sweep,
        Policy::Orphans { .. } => return vec![Goal::Orphans],
        Policy::Invalidate { .. } => return vec![Goal::Invalidate],
    };
    let mut goals = Vec::new();
    goals.extend(sweep.older_than.map(Goal::OlderThan));
    goals.extend(sweep.max_entries.map(Goal::MaxEntries));
    goals.extend(sweep.max_size.map(|budget| Goal::MaxSize {
        budget,
        target: sweep.low_water.of(budget),
        best_effort: sweep.best_effort,
    }));
    goals.extend(sweep.min_free.zip(space).map(|(keep, space)| Goal::MinFree {
        need: keep.target(space.total).saturating_sub(space.available),
    }));
    goals
}

/// What keeps the entry from going, in the order in which reasons are named.
fn protection(entry: &Entry, policy: &Policy, now: SystemTime) -> Option<Reason> {
    let (forced, named) = match policy {
        Policy::Invalidate { which, force } => (force.is_some(), matches!(which, Which::Keys(_))),
        _ => (false, false),
    };
    let keep_recent = match policy {
        Policy::Sweep(sweep) => sweep.keep_recent,
        _ => Duration::ZERO,
    };
    match entry.pin {
        Pin::Unknown => Some(Reason::Error),
        Pin::Held(_) if !forced => Some(Reason::Pinned),
        _ if !named && is_writing(entry, policy.min_age(), now) => Some(Reason::Writing),
        _ if age(now, entry.last_used) < keep_recent => Some(Reason::Recent),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + 1000 * DAY
    }

    fn key(number: usize) -> Key {
        format!("{number:016x}").parse().unwrap()
    }

    /// Entry `number`, sealed, of so many bytes, last used so long ago.
    fn entry(number: usize, bytes: u64, age: Duration) -> Entry {
        Entry {
            key: key(number),
            state: State::Sealed,
            files: 1,
            bytes,
            allocated_bytes: bytes,
            last_used: now() - age,
            last_written: now() - age,
            identity: (0, number as u64),
            pin: Pin::Free,
            has_writer_lockfile: true,
        }
    }

    fn pinned(mut entry: Entry) -> Entry {
        entry.pin = Pin::Held(Vec::new());
        entry
    }

    fn writing(entry: Entry) -> Entry {
        Entry { state: State::Partial, last_written: now(), ..entry }
    }

    fn view(entries: Vec<Entry>) -> CacheView {
        CacheView { entries, ..CacheView::default() }
    }

    /// Everything that `policy` removes, in order, and the limits that stay unmet; every removal is
    /// settled as `settle` says.
    fn carry_out(
        view: &CacheView,
        policy: &Policy,
        mut settle: impl FnMut(usize) -> Settled,
    ) -> (Vec<(usize, Reason)>, Vec<Limit>) {
        let space = Space { total: 1000, available: 100 };
        let mut plan = Plan::new(view, policy, now(), Some(space));
        let mut removed = Vec::new();
        while let Some(candidate) = plan.next_candidate() {
            let settled = settle(candidate.index());
            if settled == Settled::Removed {
                removed.push((candidate.index(), candidate.reason()));
            }
            candidate.settle(settled);
        }
        (removed, plan.unmet())
    }

    fn swept(entries: Vec<Entry>, sweep: Sweep) -> (Vec<(usize, Reason)>, Vec<Limit>) {
        carry_out(&view(entries), &Policy::Sweep(sweep), |_| Settled::Removed)
    }

    /// Four entries of 10 bytes, the first the least recently used.
    fn four() -> Vec<Entry> {
        (0..4).map(|number| entry(number, 10, (4 - u32::try_from(number).unwrap()) * DAY)).collect()
    }

    #[test]
    fn each_limit_evicts_to_its_boundary_and_not_past_it() {
        let sweep = Sweep::default;
        let cases: [(&str, Sweep, usize, Reason); 11] = [
            ("at budget", Sweep { max_size: Some(40), ..sweep() }, 0, Reason::OverBudget),
            ("a byte over", Sweep { max_size: Some(39), ..sweep() }, 1, Reason::OverBudget),
            ("exactly one", Sweep { max_size: Some(30), ..sweep() }, 1, Reason::OverBudget),
            ("nothing left", Sweep { max_size: Some(0), ..sweep() }, 4, Reason::OverBudget),
            ("no budget", Sweep { max_size: Some(u64::MAX), ..sweep() }, 0, Reason::OverBudget),
            (
                "low water",
                Sweep { max_size: Some(39), low_water: "50%".parse().unwrap(), ..sweep() },
                3,
                Reason::OverBudget,
            ),
            (
                "low water, not over",
                Sweep { max_size: Some(40), low_water: "1%".parse().unwrap(), ..sweep() },
                0,
                Reason::OverBudget,
            ),
            ("age equal", Sweep { older_than: Some(3 * DAY), ..sweep() }, 2, Reason::OlderThan),
            ("count", Sweep { max_entries: Some(3), ..sweep() }, 1, Reason::MaxEntries),
            (
                "free space there is",
                Sweep { min_free: Some(FreeSpace::Bytes(100)), ..sweep() },
                0,
                Reason::MinFree,
            ),
            (
                "free space there is not",
                Sweep { min_free: Some(FreeSpace::Millionths(111_000)), ..sweep() },
                2,
                Reason::MinFree,
            ),
        ];
        for (name, sweep, count, reason) in cases {
            let (removed, unmet) = swept(four(), sweep);
            let expected: Vec<_> = (0..count).map(|index| (index, reason)).collect();
            assert_eq!((removed, unmet), (expected, vec![]), "{name}");
        }
    }

    #[test]
    fn ties_go_by_key_and_recorded_time_orders_even_in_the_future() {
        let mut entries: Vec<Entry> = (0..3).map(|number| entry(number, 10, DAY)).collect();
        entries[0].last_used = now() + 2 * DAY;
        entries[2].last_used = now() + DAY;
        let (removed, _) = swept(entries, Sweep { max_entries: Some(1), ..Sweep::default() });
        assert_eq!(removed, [(1, Reason::MaxEntries), (2, Reason::MaxEntries)]);
    }

    #[test]
    fn limits_are_taken_in_order_and_each_sees_what_the_earlier_left() {
        let sweep = Sweep {
            older_than: Some(4 * DAY),
            max_entries: Some(2),
            max_size: Some(19),
            min_free: Some(FreeSpace::Bytes(135)),
            ..Sweep::default()
        };
        let (removed, unmet) = swept(four(), sweep);
        let reasons: Vec<Reason> = removed.iter().map(|&(_, reason)| reason).collect();
        assert_eq!(
            reasons,
            [Reason::OlderThan, Reason::MaxEntries, Reason::OverBudget, Reason::MinFree]
        );
        assert_eq!(unmet, []);
    }

    #[test]
    fn what_is_kept_lets_the_next_take_its_place_and_what_is_gone_counts() {
        let budget = Policy::Sweep(Sweep { max_size: Some(30), ..Sweep::default() });
        let kept = carry_out(&view(four()), &budget, |index| match index {
            0 => Settled::Kept(Reason::Changed),
            1 => Settled::Failed,
            _ => Settled::Removed,
        });
        assert_eq!(kept, (vec![(2, Reason::OverBudget)], vec![]));
        let gone = carry_out(&view(four()), &budget, |_| Settled::Gone);
        assert_eq!(gone, (vec![], vec![]));
    }

    #[test]
    fn pinned_bytes_that_reach_the_budget_alone_block_it_unless_told_otherwise() {
        let entries =
            || vec![entry(0, 10, 2 * DAY), pinned(entry(1, 20, DAY)), writing(entry(2, 5, DAY))];
        let sweep =
            |budget, best_effort| Sweep { max_size: Some(budget), best_effort, ..Sweep::default() };
        assert_eq!(swept(entries(), sweep(25, false)), (vec![], vec![Limit::MaxSize]));
        assert_eq!(swept(entries(), sweep(26, false)), (vec![(0, Reason::OverBudget)], vec![]));
        assert_eq!(
            swept(entries(), sweep(24, true)),
            (vec![(0, Reason::OverBudget)], vec![Limit::MaxSize])
        );
        assert_eq!(swept(entries(), sweep(25, true)), (vec![(0, Reason::OverBudget)], vec![]));
    }

    #[test]
    fn orphans_are_partial_unpinned_and_long_unwritten() {
        let partial = |number, age| Entry { state: State::Partial, ..entry(number, 1, age) };
        let second = Duration::from_secs(1);
        let entries = vec![
            partial(0, MIN_AGE),
            partial(1, MIN_AGE - second),
            pinned(partial(2, DAY)),
            entry(3, 1, DAY),
            Entry { last_written: now(), ..partial(4, DAY) },
        ];
        let policy = Policy::Orphans { min_age: MIN_AGE };
        let (removed, _) = carry_out(&view(entries), &policy, |_| Settled::Removed);
        assert_eq!(removed, [(0, Reason::Orphan)]);
    }

    #[test]
    fn a_named_key_is_protected_by_locks_alone_and_force_overrides_these_alone() {
        let entries =
            || vec![writing(entry(0, 1, DAY)), pinned(entry(1, 1, DAY)), entry(2, 1, DAY)];
        let invalidate = |which, force: bool| {
            let policy = Policy::Invalidate { which, force: force.then(Forced::by_the_user) };
            let (removed, _) = carry_out(&view(entries()), &policy, |_| Settled::Removed);
            removed.into_iter().map(|(index, _)| index).collect::<Vec<_>>()
        };
        let named = || Which::Keys(vec![key(2), key(1), key(0), key(2), key(9)]);
        assert_eq!(invalidate(named(), false), [2, 0]);
        assert_eq!(invalidate(named(), true), [2, 1, 0]);
        assert_eq!(invalidate(Which::All, false), [2]);
        assert_eq!(invalidate(Which::All, true), [1, 2]);
    }

    fn any_entry() -> impl Strategy<Value = (u64, u32, u8)> {
        (0_u64..50, 0_u32..5, 0_u8..4)
    }

    proptest! {
        /// The rule of `--max-size`, said once more: at or below the budget nothing; what cannot go
        /// alone at or above it, nothing; else the oldest first until it fits.
        #[test]
        fn a_budget_evicts_what_the_rule_says(cache in prop::collection::vec(any_entry(), 0..12), budget in 0_u64..400) {
            let entries: Vec<Entry> = cache.iter().enumerate().map(|(number, &(bytes, days, kind))| {
                let entry = entry(number, bytes, days * DAY);
                match kind {
                    0 => pinned(entry),
                    1 => writing(entry),
                    _ => entry,
                }
            }).collect();
            let total: u64 = cache.iter().map(|&(bytes, ..)| bytes).sum();
            let stuck: u64 = cache.iter().filter(|&&(.., kind)| kind < 2).map(|&(bytes, ..)| bytes).sum();
            let mut expected = Vec::new();
            if total > budget && (stuck == 0 || stuck < budget) {
                let mut oldest: Vec<usize> = (0..cache.len()).filter(|&number| cache[number].2 >= 2).collect();
                oldest.sort_by_key(|&number| (std::cmp::Reverse(cache[number].1), number));
                let mut left = total;
                for number in oldest {
                    if left > budget {
                        left -= cache[number].0;
                        expected.push((number, Reason::OverBudget));
                    }
                }
            }
            let (removed, _) = swept(entries, Sweep { max_size: Some(budget), ..Sweep::default() });
            prop_assert_eq!(removed, expected);
        }
    }
}
