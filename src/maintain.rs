//! The one pipeline of the removing commands: look, plan, act, and what came of it.

use std::collections::HashSet;
use std::ffi::CStr;
use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use crate::events::{self, Event, Journal, SweepEvent};
use crate::evict::{self, Denied, Remover};
use crate::holders::{self, Holder};
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
    Busy {
        /// The processes that hold the maintenance lock, as far as they are known.
        holders: Vec<Holder>,
        /// How long the run waited for them.
        waited: Duration,
    },
    /// The cache itself could not be read.
    Unreadable(Problem),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy { .. } => f.write_str("another maintainer is at work in this cache"),
            Self::Unreadable(problem) => problem.fmt(f),
        }
    }
}

impl std::error::Error for Refused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Busy { .. } => None,
            Self::Unreadable(problem) => Some(problem),
        }
    }
}

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

/// Watches a run. `()` does not.
pub trait Observer: Progress {
    /// Called once for each decision: right after the removal, or when the entry was passed over, and at
    /// the end for entries that nothing asked to go. `so_far` has what was asked for, and not yet the totals.
    fn decided(&self, _so_far: &Outcome, _decision: &Decision) {}
}

impl Observer for () {}

/// What a run did, or in a dry run would do.
#[derive(Clone, Debug)]
#[must_use]
pub struct Outcome {
    /// What ages count from: the time that was given, plus what the wait for another maintainer took.
    pub now: SystemTime,
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
    fn new(policy: &Policy, options: Options, now: SystemTime) -> Self {
        let kind = match policy {
            Policy::Sweep(_) => Kind::Sweep,
            Policy::Orphans { .. } => Kind::Orphans,
            Policy::Invalidate { .. } => Kind::Invalidate,
        };
        Self {
            now,
            kind,
            dry_run: options.dry_run,
            before: Totals::default(),
            after: Totals::default(),
            pinned: Totals::default(),
            writing: Totals::default(),
            removed: 0,
            freed_bytes: 0,
            failed: 0,
            decisions: Vec::new(),
            limits: None,
            unmet: Vec::new(),
            gave_up: false,
            reaped: 0,
            notices: Vec::new(),
            problems: Vec::new(),
            denied_trash: Vec::new(),
        }
    }

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
    observer: &dyn Observer,
) -> Result<Outcome, Refused> {
    let mut outcome = Outcome::new(policy, options, now);
    let has_manners = outcome.kind != Kind::Invalidate;
    let began = Instant::now();
    let mut maintenance = None;
    if has_manners && !options.dry_run {
        match become_maintainer(root, options.wait, observer) {
            Ok(Some(held)) => maintenance = Some(held),
            Ok(None) => {
                let holders = holders::of_maintenance_lock(root);
                return Err(Refused::Busy { holders, waited: options.wait });
            }
            Err(problem) => outcome.notices.push(Notice::NoMaintenanceLock(problem)),
        }
        reap(root, &mut outcome, observer)?;
    }
    if let (Policy::Sweep(_), Some(held)) = (policy, &maintenance) {
        let rotated = events::rotate(root, events::LARGE_LOG, held);
        outcome.notices.extend(rotated.err().map(Notice::NotLogged));
    }

    // Ages count from when the wait for another maintainer was over.
    outcome.now = now.checked_add(began.elapsed()).unwrap_or(now);
    let order = Order { root, policy, options, now: outcome.now };
    let view = CacheView::scan(root, observer)?;
    if has_manners && options.dry_run {
        foresee_reaping(root, &view, &mut outcome);
    }
    let space = space_for(policy, options, root, &view)?;
    let mut plan = Plan::new(&view, policy, order.now, space);
    let mut actor = Actor {
        order,
        buffer: Buffer::new(),
        remover: Remover::new(root, observer),
        journal: Journal::new(root),
    };
    let mut told = Told { decisions: vec![None; view.entries.len()], count: 0, observer };
    while let Some(step) = plan.next_step() {
        match step {
            Step::Remove(candidate) => {
                let entry = &view.entries[candidate.index()];
                let fate = actor.remove(entry, candidate.cause());
                candidate.settle(fate);
            }
            Step::MeasureSpace => actor.measure_space(&mut plan, &mut outcome),
        }
        told.tell(&order, &view, &plan, &outcome);
    }
    told.tell(&order, &view, &plan, &outcome);
    if needs_space(policy) && !options.dry_run {
        // What the file system says at the end, not what was planned.
        actor.measure_space(&mut plan, &mut outcome);
    }
    actor.finish(&mut outcome);
    drop(maintenance);
    outcome.summarise(&order, &view, &plan, told);
    if let (Policy::Sweep(sweep), false) = (policy, options.dry_run) {
        outcome.log_sweep(root, sweep);
    }
    Ok(outcome)
}

/// Takes the maintenance lock, and says for whom it waits if it has to; `None` when another process
/// still holds it after `wait`.
fn become_maintainer(
    root: &Root,
    wait: Duration,
    progress: &dyn Progress,
) -> Result<Option<lock::Held>, Problem> {
    let held = lock::maintenance(root, Duration::ZERO)?;
    if held.is_some() || wait.is_zero() {
        return Ok(held);
    }
    progress.waiting(&holders::of_maintenance_lock(root), wait);
    lock::maintenance(root, wait)
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

/// The decisions on entries whose turn it was, each told to the observer as soon as it is made.
struct Told<'a> {
    /// By the entry's place in the view.
    decisions: Vec<Option<Decision>>,
    /// How many of those that the plan has decided.
    count: usize,
    observer: &'a dyn Observer,
}

impl Told<'_> {
    fn tell(&mut self, order: &Order<'_>, view: &CacheView, plan: &Plan<'_>, outcome: &Outcome) {
        for &index in &plan.decided()[self.count..] {
            self.count += 1;
            let fate = plan.fate(index);
            let Some(mut decision) = decide(order, &view.entries[index], fate) else { continue };
            find_late_holders(order.root, &mut decision);
            self.observer.decided(outcome, &decision);
            self.decisions[index] = Some(decision);
        }
    }
}

/// What is to be said of an entry with this fate. `None` for somebody else's removal: only a user who
/// named the entry is told.
fn decide(order: &Order<'_>, entry: &Entry, fate: Fate) -> Option<Decision> {
    let is_named = matches!(order.policy, Policy::Invalidate { which: Which::Keys(_), .. });
    let is_absent = fate == Fate::Absent;
    if is_absent && !is_named {
        return None;
    }
    let known = Some(entry.clone()).filter(|_| !is_absent);
    Some(Decision { key: entry.key, entry: known, fate })
}

/// Names the holders of what was found pinned only when it was its turn, if they still hold it.
fn find_late_holders(root: &Root, decision: &mut Decision) {
    if decision.fate != Fate::Kept(Protection::Pinned) {
        return;
    }
    if let Some(entry) = decision.entry.as_mut().filter(|entry| entry.pin == Pin::Free) {
        let holders = holders::of_pins(root, &[entry.key]);
        entry.pin = Pin::Held(holders.into_iter().flatten().collect());
    }
}

impl Outcome {
    fn summarise(&mut self, order: &Order<'_>, view: &CacheView, plan: &Plan<'_>, told: Told<'_>) {
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
        self.list_decisions(order, view, plan, told);
        self.add_up(view, plan, policy);
        self.problems.extend(view.problems.iter().cloned());
        self.problems.extend(view.unreadable.iter().map(|unreadable| unreadable.problem.clone()));
        self.notices.extend(view.notices(root, now));
        if self.kind == Kind::Invalidate {
            self.fail_mounted(root);
        }
        let unseen = self.unseen_uses();
        if unseen > 0 && self.kind != Kind::Invalidate && !options.ages_given {
            self.notices.push(Notice::UnseenUse(unseen));
        }
        self.notices.extend(self.unmet.iter().copied().map(Notice::Unmet));
    }

    /// Lists what became of every entry, in eviction order, and tells what was not told as it happened.
    fn list_decisions(
        &mut self,
        order: &Order<'_>,
        view: &CacheView,
        plan: &Plan<'_>,
        told: Told<'_>,
    ) {
        let Told { decisions: mut told, observer, .. } = told;
        let tell = |outcome: &mut Self, decision: Decision| {
            observer.decided(outcome, &decision);
            outcome.decisions.push(decision);
        };
        let named: &[Key] = match order.policy {
            Policy::Invalidate { which: Which::Keys(keys), .. } => keys,
            _ => &[],
        };
        let of_named: HashSet<&Key> = named.iter().collect();
        let is_wanted = |key: &Key| named.is_empty() || of_named.contains(key);
        // Whether it would have been the turn of what cannot be judged: not if nothing had to go.
        let is_turn = self.kind == Kind::Invalidate || !plan.decided().is_empty();
        let unjudged = |key, protection| {
            let fate =
                if is_turn { Fate::Kept(protection) } else { Fate::Untouched(Some(protection)) };
            Decision { key, entry: None, fate }
        };
        for unreadable in view.unreadable.iter().filter(|u| is_wanted(&u.key)) {
            tell(self, unjudged(unreadable.key, Protection::Error));
        }
        for &key in view.mounted.iter().filter(|key| is_wanted(key)) {
            tell(self, unjudged(key, Protection::Mounted));
        }
        for &index in plan.order() {
            let fate = plan.fate(index);
            if fate.is_turn() {
                self.decisions.extend(told[index].take());
            } else if let Some(decision) = decide(order, &view.entries[index], fate) {
                tell(self, decision);
            }
        }
        let mut known: HashSet<Key> = self.decisions.iter().map(|decision| decision.key).collect();
        for &key in named {
            if known.insert(key) {
                tell(self, Decision { key, entry: None, fate: Fate::Absent });
            }
        }
    }

    /// Logs that a sweep has finished.
    fn log_sweep(&mut self, root: &Root, sweep: &Sweep) {
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
            time: unix_seconds(self.now),
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

    fn add_up(&mut self, view: &CacheView, plan: &Plan<'_>, policy: &Policy) {
        let is_invalidation = self.kind == Kind::Invalidate;
        // That the user named an entry, or forced it, does not make it any less used.
        let shield = if is_invalidation { Shield::default() } else { policy.shield() };
        for (index, entry) in view.entries.iter().enumerate() {
            let fate = plan.fate(index);
            if fate.has_left() {
                continue;
            }
            let totals = match fate.protection().or_else(|| shield.protection(entry, self.now)) {
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

    /// Of the removed entries, those that somebody may be watching: without lockfiles nobody can tell.
    fn unseen_uses(&self) -> u64 {
        let removed = self.decisions.iter().filter(|d| matches!(d.fate, Fate::Removed(_)));
        let unseen = removed.filter_map(|decision| decision.entry.as_ref());
        unseen.filter(|entry| plan::is_perhaps_watched(entry, self.now)).count() as u64
    }
}
