//! The one pipeline of the removing commands: look, plan, act, and what came of it.

use std::collections::HashSet;
use std::ffi::CStr;
use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use crate::events::{self, Event, Journal, SweepEvent};
use crate::evict::{self, Denied, Remover};
use crate::holders;
use crate::key::Key;
use crate::lock;
use crate::notice::Notice;
use crate::plan::{
    self, Cause, Fate, Forced, Plan, Policy, Protection, Shield, Step, Sweep, Totals, Unmet, Which,
};
use crate::problem::Problem;
use crate::progress::Progress;
use crate::root::{self, Root, Space};
use crate::units::{Percent, unix_seconds};
use crate::view::{self, CacheView, Entry, Pin, State};
use crate::walk::Buffer;

/// How a run is carried out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Report the plan and touch nothing.
    pub dry_run: bool,
    /// How long to wait for another maintainer.
    pub wait: Duration,
    /// The user said how recent is in use (`--keep-recent`, `--min-age`), and needs no warning.
    pub ages_given: bool,
}

/// Why a run did not happen.
#[derive(Debug)]
pub enum Refused {
    /// Another maintainer is at work.
    Busy,
    /// The cache itself could not be read.
    Unreadable(Problem),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => {
                f.write_str("another maintainer is at work in this cache; --wait waits for it")
            }
            Self::Unreadable(problem) => problem.fmt(f),
        }
    }
}

impl std::error::Error for Refused {}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Unreadable(problem)
    }
}

/// What became, or in a dry run would become, of one entry.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Its name.
    pub key: Key,
    /// What the view knew of it; `None` where it could not be read, or is not there.
    pub entry: Option<Entry>,
    /// What became of it.
    pub fate: Fate,
}

/// What kind of run it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Down to limits.
    #[default]
    Sweep,
    /// What dead encodes left.
    Orphans,
    /// What the user named.
    Invalidate,
}

/// What a run did, or in a dry run would do.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Outcome {
    /// What it was for.
    pub kind: Kind,
    /// Whether it was a dry run.
    pub dry_run: bool,
    /// The readable entries before.
    pub before: Totals,
    /// The readable entries after.
    pub after: Totals,
    /// Of those after, the pinned.
    pub pinned: Totals,
    /// Of those after, the ones being encoded and not pinned.
    pub writing: Totals,
    /// How many entries were removed.
    pub removed: u64,
    /// Bytes of the removed entries whose files are deleted.
    pub freed_bytes: u64,
    /// How many removals failed.
    pub failed: u64,
    /// Every entry, in eviction order; those that cannot be judged first.
    pub decisions: Vec<Decision>,
    /// The limits in force, of `sweep`.
    pub limits: Option<Limits>,
    /// The limits that are still exceeded.
    pub unmet: Vec<Unmet>,
    /// Nothing was evicted for `max_size`, because what cannot go fills it alone.
    pub gave_up: bool,
    /// Leftovers of dead removers, deleted; of a dry run: to be deleted.
    pub reaped: u64,
    /// What the user should know.
    pub notices: Vec<Notice>,
    /// What could not be read, locked or removed, besides what the decisions say.
    pub problems: Vec<Problem>,
    /// Trash that this process may not delete.
    pub denied_trash: Vec<Denied>,
}

/// The limits of a sweep, as numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// In bytes.
    pub max_size: Option<u64>,
    /// In entries.
    pub max_entries: Option<u64>,
    /// In bytes, also where it was given as a percentage.
    pub min_free: Option<u64>,
    /// Since the last use.
    pub older_than: Option<Duration>,
}

impl Outcome {
    /// The entries that the user asked to go and that stay because somebody uses or changed them; of
    /// other runs none, which say what they left by their limits.
    pub fn left_in_use(&self) -> impl Iterator<Item = &Decision> {
        let is_invalidation = self.kind == Kind::Invalidate;
        self.decisions.iter().filter(move |decision| {
            let Fate::Kept(protection) = decision.fate else { return false };
            is_invalidation && !matches!(protection, Protection::Mounted | Protection::Error)
        })
    }

    /// Whether something could not be read, locked or removed.
    pub fn has_failed(&self) -> bool {
        let failed = |decision: &Decision| decision.fate.has_failed();
        !self.problems.is_empty()
            || !self.denied_trash.is_empty()
            || self.decisions.iter().any(failed)
    }

    /// Whether a run without failures still has something to say: a limit that is not met, or an entry
    /// that was asked for and is in use.
    pub fn has_finding(&self) -> bool {
        !self.unmet.is_empty() || self.left_in_use().next().is_some()
    }
}

/// What a run was asked for.
#[derive(Clone, Copy)]
struct Order<'a> {
    root: &'a Root,
    policy: &'a Policy,
    options: Options,
    now: SystemTime,
}

/// Carries `policy` out in `root`. `now` is what ages are counted from.
pub fn run(
    root: &Root,
    policy: &Policy,
    options: Options,
    now: SystemTime,
    progress: &dyn Progress,
) -> Result<Outcome, Refused> {
    let kind = match policy {
        Policy::Sweep(_) => Kind::Sweep,
        Policy::Orphans { .. } => Kind::Orphans,
        Policy::Invalidate { .. } => Kind::Invalidate,
    };
    let mut outcome = Outcome { dry_run: options.dry_run, kind, ..Outcome::default() };
    let has_manners = kind != Kind::Invalidate;
    let began = Instant::now();
    let mut maintenance = None;
    if has_manners && !options.dry_run {
        match lock::maintenance(root, options.wait) {
            Ok(Some(held)) => maintenance = Some(held),
            Ok(None) => return Err(Refused::Busy),
            Err(problem) => outcome.notices.push(Notice::NoMaintenanceLock(problem)),
        }
        reap(root, &mut outcome, progress)?;
    }
    if let (Policy::Sweep(_), Some(held)) = (policy, &maintenance) {
        let rotated = events::rotate(root, events::LARGE_LOG, held);
        outcome.notices.extend(rotated.err().map(Notice::NotLogged));
    }

    // Ages count from when the wait for another maintainer was over.
    let now = now.checked_add(began.elapsed()).unwrap_or(now);
    let view = CacheView::scan(root, progress)?;
    if has_manners && options.dry_run {
        foresee_reaping(root, &view, &mut outcome);
    }
    let mut plan = Plan::new(&view, policy, now, space_for(policy, options, root, &view)?);
    let order = Order { root, policy, options, now };
    let mut actor = Actor {
        order,
        buffer: Buffer::new(),
        remover: Remover::new(root, progress),
        journal: Journal::new(root),
    };
    while let Some(step) = plan.next_step() {
        match step {
            Step::Remove(candidate) => {
                let entry = &view.entries[candidate.index()];
                let fate = actor.remove(entry, candidate.cause());
                plan.settle(candidate, fate);
            }
            Step::MeasureSpace => actor.measure_space(&mut plan, &mut outcome),
        }
    }
    if needs_space(policy) && !options.dry_run {
        // What the file system says at the end, not what was planned.
        actor.measure_space(&mut plan, &mut outcome);
    }
    actor.finish(&mut outcome);
    drop(maintenance);
    outcome.summarise(&order, &view, &plan);
    if let (Policy::Sweep(sweep), false) = (policy, options.dry_run) {
        outcome.log_sweep(root, sweep, now);
    }
    Ok(outcome)
}

fn needs_space(policy: &Policy) -> bool {
    matches!(policy, Policy::Sweep(Sweep { min_free: Some(_), .. }))
}

/// The file system's space, if it matters; a dry run counts as free what a real one would have deleted
/// from the trash by now.
fn space_for(
    policy: &Policy,
    options: Options,
    root: &Root,
    view: &CacheView,
) -> Result<Space, Problem> {
    if !needs_space(policy) {
        return Ok(Space::default());
    }
    let Space { total, available, free } = root.space()?;
    let trash = view.trash.iter().filter(|_| options.dry_run);
    let trash = trash.fold(0_u64, |sum, trash| sum.saturating_add(trash.allocated_bytes));
    Ok(Space {
        total,
        available: available.saturating_add(trash),
        free: free.saturating_add(trash),
    })
}

/// Deletes what dead removers left.
fn reap(root: &Root, outcome: &mut Outcome, progress: &dyn Progress) -> Result<(), Refused> {
    let mut trash = view::Listing::read(root)?.trash;
    trash.retain(|name| may_delete_trash(root, name, outcome));
    for deleted in evict::delete_trash(root, &trash, progress) {
        match deleted {
            Ok(()) => outcome.reaped += 1,
            Err(problem) => outcome.problems.push(problem),
        }
    }
    Ok(())
}

/// What [`reap`] would come to.
fn foresee_reaping(root: &Root, view: &CacheView, outcome: &mut Outcome) {
    for trash in &view.trash {
        let may_delete = may_delete_trash(root, &trash.name, outcome);
        outcome.reaped += u64::from(may_delete);
    }
}

fn may_delete_trash(root: &Root, name: &CStr, outcome: &mut Outcome) -> bool {
    match evict::check_may_delete(root, root::os_name(name.to_bytes())) {
        Err(Fate::Denied(denied)) => {
            outcome.denied_trash.push(denied);
            false
        }
        _ => true,
    }
}

/// Carries candidates out, or in a dry run says that it would.
struct Actor<'a> {
    order: Order<'a>,
    buffer: Buffer,
    remover: Remover<'a>,
    journal: Journal<'a>,
}

impl Actor<'_> {
    fn remove(&mut self, planned: &Entry, cause: Cause) -> Fate {
        match self.try_remove(planned, cause) {
            Ok(()) => Fate::Removed(cause),
            Err(fate) => fate,
        }
    }

    fn try_remove(&mut self, planned: &Entry, cause: Cause) -> Result<(), Fate> {
        let Order { root, options, .. } = self.order;
        evict::check_may_delete(root, planned.key.to_string())?;
        if options.dry_run {
            return Ok(());
        }
        let claim = self.remover.claim(planned.key, self.force())?;
        let entry = self.look_again(planned)?;
        self.remover.take_out(claim, &entry)?;
        self.journal.append(Event::removal(&entry, cause, self.order.now));
        Ok(())
    }

    fn force(&self) -> Option<Forced> {
        match self.order.policy {
            Policy::Invalidate { force, .. } => *force,
            _ => None,
        }
    }

    /// The entry as it is under the lock, if it is still to go.
    fn look_again(&mut self, planned: &Entry) -> Result<Entry, Fate> {
        let Order { root, policy, now, .. } = self.order;
        if !matches!(policy, Policy::Invalidate { .. }) {
            return look_as_planned(root, planned, &mut self.buffer);
        }
        let entry = view::look(root, planned.key, &mut self.buffer)?.ok_or(Fate::Absent)?;
        match policy.shield().protection(&entry, now) {
            Some(protection) => Err(Fate::Kept(protection)),
            None => Ok(entry),
        }
    }

    /// Frees what was removed, and tells the plan how much space there is then. A dry run believes that
    /// everything comes back.
    fn measure_space(&mut self, plan: &mut Plan<'_>, outcome: &mut Outcome) {
        let Order { root, options, .. } = self.order;
        if options.dry_run {
            return plan.measured(plan.expected_space());
        }
        self.remover.empty_trash();
        // Failing is no reason to stop: the reading is then a little old.
        let _ = root.sync();
        let space = root.space().unwrap_or_else(|problem| {
            outcome.problems.push(problem);
            plan.expected_space()
        });
        plan.measured(space);
    }

    /// Deletes what has left its name, which makes room for what the log had none for.
    fn finish(self, outcome: &mut Outcome) {
        let deleted = self.remover.finish();
        outcome.freed_bytes = deleted.freed_bytes;
        outcome.problems.extend(deleted.problems);
        outcome.notices.extend(self.journal.finish().map(Notice::NotLogged));
    }
}

/// The second look of `sweep` and `gc-orphans`: removed only if it is as it was planned. Without it,
/// measured, thousands of entries were evicted right after a hit.
fn look_as_planned(root: &Root, planned: &Entry, buffer: &mut Buffer) -> Result<Entry, Fate> {
    let now = view::glance(root, planned.key)?.ok_or(Fate::Absent)?;
    let as_planned = view::Glance {
        identity: planned.identity,
        last_used: planned.last_used,
        state: planned.state,
    };
    if now != as_planned {
        return Err(Fate::Kept(Protection::Changed));
    }
    if planned.state == State::Sealed {
        return Ok(planned.clone());
    }
    // The whole entry is read again: segments do not move its directory's mtime.
    let entry = view::look(root, planned.key, buffer)?.ok_or(Fate::Absent)?;
    if (entry.identity, entry.last_written) != (planned.identity, planned.last_written) {
        return Err(Fate::Kept(Protection::Changed));
    }
    Ok(entry)
}

impl Outcome {
    fn summarise(&mut self, order: &Order<'_>, view: &CacheView, plan: &Plan<'_>) {
        let Order { root, policy, options, now } = *order;
        self.before = Totals::of(&view.entries);
        self.after = plan.left();
        self.gave_up = plan.gave_up();
        self.unmet = plan.unmet();
        if let Policy::Sweep(sweep) = policy {
            self.limits = Some(Limits {
                max_size: sweep.max_size,
                max_entries: sweep.max_entries,
                min_free: plan.min_free_target(),
                older_than: sweep.older_than,
            });
        }
        self.decide(view, plan, policy);
        self.find_late_holders(root);
        self.add_up(view, plan, policy, now);
        self.problems.extend(view.problems.iter().cloned());
        self.problems.extend(view.unreadable.iter().map(|unreadable| unreadable.problem.clone()));
        self.notices.extend(view.notices(root, now));
        if self.kind == Kind::Invalidate {
            self.fail_mounted(root);
        }
        let unseen = self.unseen_uses(now);
        if unseen > 0 && self.kind != Kind::Invalidate && !options.ages_given {
            self.notices.push(Notice::UnseenUse(unseen));
        }
        self.notices.extend(self.unmet.iter().copied().map(Notice::Unmet));
    }

    /// Logs that a sweep has finished.
    fn log_sweep(&mut self, root: &Root, sweep: &Sweep, now: SystemTime) {
        let Limits { max_size, max_entries, min_free, older_than } =
            self.limits.unwrap_or_default();
        let low_water = max_size.and(Some(sweep.low_water)).filter(|&share| share != Percent::ALL);
        let keep_recent = Some(sweep.keep_recent).filter(|recent| !recent.is_zero());
        let exit = match (self.has_failed(), self.has_finding()) {
            (true, _) => 1,
            (false, true) => 3,
            (false, false) => 0,
        };
        let event = SweepEvent {
            time: unix_seconds(now),
            max_size,
            min_free,
            max_entries,
            older_than: older_than.map(|age| age.as_secs()),
            keep_recent: keep_recent.map(|age| age.as_secs()),
            low_water: low_water.map(|share| share.get().into()),
            removed: Some(self.removed),
            freed: Some(self.freed_bytes),
            left: Some(self.after.bytes),
            exit: Some(exit),
        };
        if let Err(problem) = events::append(root, &event) {
            let notice = Notice::NotLogged(problem);
            // The removals may have said it.
            if !self.notices.contains(&notice) {
                self.notices.push(notice);
            }
        }
    }

    /// Says of every entry that the run was about what became of it.
    fn decide(&mut self, view: &CacheView, plan: &Plan<'_>, policy: &Policy) {
        let named: Option<HashSet<Key>> = match policy {
            Policy::Invalidate { which: Which::Keys(keys), .. } => {
                Some(keys.iter().copied().collect())
            }
            _ => None,
        };
        let is_invalidation = self.kind == Kind::Invalidate;
        let is_wanted = |key: &Key| named.as_ref().is_none_or(|keys| keys.contains(key));
        // Whether it would have been the turn of what cannot be judged: not if nothing had to go.
        let is_turn =
            is_invalidation || plan.order().iter().any(|&index| plan.fate(index).is_turn());
        let unjudged = |protection| {
            if is_turn { Fate::Kept(protection) } else { Fate::Untouched(Some(protection)) }
        };
        for unreadable in view.unreadable.iter().filter(|u| is_wanted(&u.key)) {
            self.decisions.push(Decision {
                key: unreadable.key,
                entry: None,
                fate: unjudged(Protection::Error),
            });
        }
        for &key in view.mounted.iter().filter(|key| is_wanted(key)) {
            self.decisions.push(Decision { key, entry: None, fate: unjudged(Protection::Mounted) });
        }
        for &index in plan.order() {
            let (entry, fate) = (&view.entries[index], plan.fate(index));
            let is_absent = fate == Fate::Absent;
            // Somebody else's removal; only a user who named the entry is told.
            if is_absent && named.is_none() {
                continue;
            }
            let known = Some(entry.clone()).filter(|_| !is_absent);
            self.decisions.push(Decision { key: entry.key, entry: known, fate });
        }
        let mut known: HashSet<Key> = self.decisions.iter().map(|decision| decision.key).collect();
        if let Policy::Invalidate { which: Which::Keys(keys), .. } = policy {
            for &key in keys.iter().filter(|&&key| known.insert(key)) {
                self.decisions.push(Decision { key, entry: None, fate: Fate::Absent });
            }
        }
    }

    fn add_up(&mut self, view: &CacheView, plan: &Plan<'_>, policy: &Policy, now: SystemTime) {
        let is_invalidation = self.kind == Kind::Invalidate;
        // That the user named an entry, or forced it, does not make it any less used.
        let shield = if is_invalidation { Shield::default() } else { policy.shield() };
        for (index, entry) in view.entries.iter().enumerate() {
            let fate = plan.fate(index);
            if fate.has_left() {
                continue;
            }
            let totals = match fate.protection().or_else(|| shield.protection(entry, now)) {
                Some(Protection::Pinned) => &mut self.pinned,
                Some(Protection::Writing) => &mut self.writing,
                _ => continue,
            };
            totals.add(entry.bytes, entry.allocated_bytes);
        }
        let count = |is: &dyn Fn(&Fate) -> bool| {
            self.decisions.iter().filter(|decision| is(&decision.fate)).count() as u64
        };
        self.removed = count(&|fate| matches!(fate, Fate::Removed(_)));
        self.failed = count(&|fate| {
            fate.has_failed() || (is_invalidation && *fate == Fate::Kept(Protection::Error))
        });
        if self.dry_run {
            self.freed_bytes = self.before.bytes.saturating_sub(self.after.bytes);
        }
    }

    /// What is mounted in an entry is a failure for the user who asked for the entry to go, whenever it
    /// was mounted; other runs skip it.
    fn fail_mounted(&mut self, root: &Root) {
        self.notices.retain(|notice| !matches!(notice, Notice::Mounted(_)));
        let mounted = self.decisions.iter().filter(|d| d.fate == Fate::Kept(Protection::Mounted));
        self.problems.extend(mounted.map(|decision| view::mount_in_the_way(root, decision.key)));
    }

    /// Names the holders of what was found pinned only when it was its turn, if they still hold it.
    fn find_late_holders(&mut self, root: &Root) {
        let is_pinned = |d: &&mut Decision| d.fate == Fate::Kept(Protection::Pinned);
        let pinned = self.decisions.iter_mut().filter(is_pinned);
        let late: Vec<&mut Entry> =
            pinned.filter_map(|d| d.entry.as_mut()).filter(|e| e.pin == Pin::Free).collect();
        let keys: Vec<Key> = late.iter().map(|entry| entry.key).collect();
        for (entry, holders) in late.into_iter().zip(holders::of_pins(root, &keys)) {
            entry.pin = Pin::Held(holders);
        }
    }

    /// Of the removed entries, those that somebody may be watching: without lockfiles nobody can tell.
    fn unseen_uses(&self, now: SystemTime) -> u64 {
        let removed = self.decisions.iter().filter(|d| matches!(d.fate, Fate::Removed(_)));
        let unseen = removed.filter_map(|decision| decision.entry.as_ref());
        unseen.filter(|entry| plan::is_perhaps_watched(entry, now)).count() as u64
    }
}
