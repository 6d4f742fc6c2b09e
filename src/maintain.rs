//! The one pipeline of the removing commands: look, plan, act, and what came of it.

use std::collections::HashSet;
use std::ffi::CString;
use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use crate::events::{Event, EventKind, Journal};
use crate::evict::{self, Look, Removal};
use crate::holders::{self, Holder};
use crate::key::Key;
use crate::lock;
use crate::plan::{self, Fate, Limit, Plan, Policy, Reason, Settled, Sweep, Totals, Which};
use crate::problem::Problem;
use crate::progress::Progress;
use crate::root::{Root, Space};
use crate::units::{human_size, unix_seconds};
use crate::view::{self, CacheView, Entry, Glance, Pin, State};
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
    pub action: Action,
    /// Why; `None` for an entry that nothing asked to go, and that nothing protects.
    pub reason: Option<Reason>,
    /// Whether it was its turn: removed, or would have been but for the reason.
    pub considered: bool,
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is gone.
    Removed,
    /// A dry run spared it.
    WouldRemove,
    /// It stays.
    Kept,
    /// It was to go, and could not be removed.
    Failed,
    /// There is none.
    Absent,
}

impl Action {
    /// The stable name, as in JSON.
    pub fn code(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::WouldRemove => "would-remove",
            Self::Kept => "kept",
            Self::Failed => "failed",
            Self::Absent => "absent",
        }
    }
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
    /// Whether it was a dry run.
    pub dry_run: bool,
    /// Whether the user named what was to go, instead of a limit or an age.
    pub is_invalidation: bool,
    /// The readable entries before.
    pub before: Totals,
    /// The readable entries after.
    pub after: Totals,
    /// Of those after, the pinned.
    pub pinned: Totals,
    /// Of those after, the ones being written and not pinned.
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
    pub unmet: Vec<Limit>,
    /// Nothing was evicted for `--max-size`, because what cannot go fills it alone.
    pub gave_up: bool,
    /// Leftovers of dead removers, deleted; of a dry run: to be deleted.
    pub reaped: u64,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// What could not be read, locked or removed.
    pub problems: Vec<Problem>,
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
        Self {
            now,
            dry_run: options.dry_run,
            is_invalidation: matches!(policy, Policy::Invalidate { .. }),
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
            warnings: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Whether an entry that was asked for was left because it is pinned.
    pub fn left_pinned(&self) -> bool {
        self.decisions.iter().any(Decision::is_left_pinned)
    }
}

impl Decision {
    /// Whether it was its turn and it was left because it is pinned.
    pub fn is_left_pinned(&self) -> bool {
        self.considered && self.action == Action::Kept && self.reason == Some(Reason::Pinned)
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
    let has_manners = !outcome.is_invalidation;
    let began = Instant::now();
    let mut maintenance = None;
    if has_manners && !options.dry_run {
        match become_maintainer(root, options.wait, observer) {
            Ok(Some(held)) => maintenance = Some(held),
            Ok(None) => {
                let holders = holders::of_maintenance_lock(root);
                return Err(Refused::Busy { holders, waited: options.wait });
            }
            Err(problem) => {
                outcome.warnings.push(format!("going on without the maintenance lock: {problem}"));
            }
        }
        reap(root, &mut outcome, observer)?;
    }

    // Ages count from when the wait for another maintainer was over.
    outcome.now = now.checked_add(began.elapsed()).unwrap_or(now);
    let now = outcome.now;
    let view = CacheView::scan(root, observer)?;
    let space = needs_space(policy).then(|| root.space()).transpose()?.map(|space| {
        // What a dry run leaves in the trash, the real run would have deleted by now.
        let trash = view.trash.iter().filter(|_| options.dry_run);
        let trash = trash.fold(0_u64, |sum, trash| sum.saturating_add(trash.allocated_bytes));
        Space { available: space.available.saturating_add(trash), ..space }
    });
    if options.dry_run && has_manners {
        outcome.reaped = view.trash.len() as u64;
    }
    let mut plan = Plan::new(&view, policy, now, space);
    let order = Order { root, policy, options, now };
    let mut actor =
        Actor { order, buffer: Buffer::new(), trash: Vec::new(), journal: Journal::new(root) };
    let mut told = Told { decisions: vec![None; view.entries.len()], count: 0, observer };
    while let Some(candidate) = plan.next_candidate() {
        let planned = &view.entries[candidate.index()];
        let settled = actor.act(planned, candidate.reason(), &mut outcome);
        candidate.settle(settled);
        told.tell(&order, &view, &plan, &mut outcome);
    }
    told.tell(&order, &view, &plan, &mut outcome);
    actor.finish(&mut outcome, observer);
    drop(maintenance);

    outcome.unmet = plan.unmet();
    outcome.gave_up = plan.gave_up();
    if let (Policy::Sweep(sweep), false) = (policy, options.dry_run) {
        reread_free_space(root, sweep, &mut outcome);
    }
    outcome.summarise(&order, &view, &plan, space, told);
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

/// Deletes what dead removers left.
fn reap(root: &Root, outcome: &mut Outcome, progress: &dyn Progress) -> Result<(), Refused> {
    let trash = view::Listing::read(root)?.trash;
    for deleted in evict::delete_trash(root, &trash, progress) {
        match deleted {
            Ok(()) => outcome.reaped += 1,
            Err(problem) => outcome.problems.push(problem),
        }
    }
    Ok(())
}

/// The free space after the deletions is what the file system says, not what was planned.
fn reread_free_space(root: &Root, sweep: &Sweep, outcome: &mut Outcome) {
    let Some(keep) = sweep.min_free else { return };
    // Not a reason to fail: the reading is then a little old.
    let _ = root.sync();
    match root.space() {
        Ok(space) => {
            outcome.unmet.retain(|&limit| limit != Limit::MinFree);
            if space.available < keep.target(space.total) {
                outcome.unmet.push(Limit::MinFree);
            }
        }
        Err(problem) => outcome.problems.push(problem),
    }
}

/// Carries candidates out, or in a dry run says that it would.
struct Actor<'a> {
    order: Order<'a>,
    buffer: Buffer,
    /// What has left its name, with the bytes that deleting it frees.
    trash: Vec<(CString, u64)>,
    journal: Journal<'a>,
}

impl Actor<'_> {
    fn act(&mut self, planned: &Entry, reason: Reason, outcome: &mut Outcome) -> Settled {
        let (Order { root, policy, options, now }, buffer) = (self.order, &mut self.buffer);
        if options.dry_run {
            outcome.removed += 1;
            outcome.freed_bytes = outcome.freed_bytes.saturating_add(planned.bytes);
            return Settled::Removed;
        }
        let force = match policy {
            Policy::Invalidate { force, .. } => *force,
            _ => None,
        };
        let removal = evict::remove(root, planned.key, force, &mut || match policy {
            Policy::Invalidate { which: Which::All, .. } => {
                look_unwritten(root, planned.key, now, buffer)
            }
            Policy::Invalidate { .. } => look_present(root, planned.key, buffer),
            Policy::Sweep(_) | Policy::Orphans { .. } => look_as_planned(root, planned, buffer),
        });
        match removal {
            Removal::Removed { entry, trash } => {
                outcome.removed += 1;
                match trash {
                    Some(name) => self.trash.push((name, entry.bytes)),
                    None => outcome.freed_bytes = outcome.freed_bytes.saturating_add(entry.bytes),
                }
                self.log(reason, &entry);
                Settled::Removed
            }
            Removal::Gone => Settled::Gone,
            Removal::Kept(reason) => Settled::Kept(reason),
            Removal::Failed(problem) => {
                outcome.failed += 1;
                outcome.problems.push(problem);
                Settled::Failed
            }
        }
    }

    fn log(&mut self, reason: Reason, entry: &Entry) {
        let kind = match reason {
            Reason::Orphan => EventKind::Orphan,
            Reason::Invalidated => EventKind::Invalidate,
            _ => EventKind::Evict,
        };
        let event = Event {
            time: unix_seconds(self.order.now),
            kind,
            key: entry.key,
            bytes: Some(entry.bytes),
        };
        self.journal.append(event);
    }

    /// Deletes what has left its name, which makes room for what the log had none for.
    fn finish(self, outcome: &mut Outcome, progress: &dyn Progress) {
        let (names, bytes): (Vec<CString>, Vec<u64>) = self.trash.into_iter().unzip();
        for (deleted, bytes) in
            evict::delete_trash(self.order.root, &names, progress).into_iter().zip(bytes)
        {
            match deleted {
                Ok(()) => outcome.freed_bytes = outcome.freed_bytes.saturating_add(bytes),
                Err(problem) => outcome.problems.push(problem),
            }
        }
        outcome.warnings.extend(self.journal.finish().map(|problem| problem.to_string()));
    }
}

/// The second look of `sweep` and `gc-orphans`: removed only if it is as it was planned. Without it,
/// measured, thousands of entries were evicted right after a hit.
fn look_as_planned(root: &Root, planned: &Entry, buffer: &mut Buffer) -> Result<Look, Problem> {
    let Some(glance) = view::glance(root, planned.key)? else { return Ok(Look::Gone) };
    let Glance { identity, last_used, state } = glance;
    if (identity, last_used, state) != (planned.identity, planned.last_used, planned.state) {
        return Ok(Look::Keep(Reason::Changed));
    }
    if state == State::Sealed {
        return Ok(Look::Remove(planned.clone()));
    }
    // The whole entry is read again: segments do not move its directory's mtime.
    Ok(match view::look(root, planned.key, buffer)? {
        None => Look::Gone,
        Some(entry) if (entry.identity, entry.last_written) == (identity, planned.last_written) => {
            Look::Remove(entry)
        }
        Some(_) => Look::Keep(Reason::Changed),
    })
}

/// The second look of `invalidate`: whatever is there goes.
fn look_present(root: &Root, key: Key, buffer: &mut Buffer) -> Result<Look, Problem> {
    Ok(view::look(root, key, buffer)?.map_or(Look::Gone, Look::Remove))
}

/// The second look of `invalidate --all`: what is being written by now stays.
fn look_unwritten(
    root: &Root,
    key: Key,
    now: SystemTime,
    buffer: &mut Buffer,
) -> Result<Look, Problem> {
    Ok(match look_present(root, key, buffer)? {
        Look::Remove(entry) if plan::is_writing(&entry, plan::MIN_AGE, now) => {
            Look::Keep(Reason::Writing)
        }
        look => look,
    })
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
    fn tell(
        &mut self,
        order: &Order<'_>,
        view: &CacheView,
        plan: &Plan<'_>,
        outcome: &mut Outcome,
    ) {
        for &index in &plan.decided()[self.count..] {
            let (entry, fate) = (&view.entries[index], plan.fate(index));
            self.count += 1;
            let Some(mut decision) = decide(order, entry, fate, None) else { continue };
            // The user who named the entry asked in vain: its pin cannot be asked.
            let cannot_tell = fate == Fate::Kept(Reason::Error);
            outcome.failed += u64::from(cannot_tell && decision.action == Action::Failed);
            find_late_holders(order.root, &mut decision);
            self.observer.decided(outcome, &decision);
            self.decisions[index] = Some(decision);
        }
    }
}

/// What is to be said of an entry with this fate; `protection` is what would protect one that it was never
/// the turn of. `None` for somebody else's removal: only a user who named the entry is told.
fn decide(
    order: &Order<'_>,
    entry: &Entry,
    fate: Fate,
    protection: Option<Reason>,
) -> Option<Decision> {
    let is_named = matches!(order.policy, Policy::Invalidate { which: Which::Keys(_), .. });
    let (action, reason) = match fate {
        Fate::Untouched => (Action::Kept, protection),
        Fate::Kept(Reason::Error) if is_named => (Action::Failed, Some(Reason::Error)),
        Fate::Kept(reason) => (Action::Kept, Some(reason)),
        Fate::Removed(reason) if order.options.dry_run => (Action::WouldRemove, Some(reason)),
        Fate::Removed(reason) => (Action::Removed, Some(reason)),
        Fate::Failed => (Action::Failed, Some(Reason::Error)),
        Fate::Gone if !is_named => return None,
        Fate::Gone => (Action::Absent, None),
    };
    let considered = fate != Fate::Untouched;
    let shown = Some(entry.clone()).filter(|_| action != Action::Absent);
    Some(Decision { key: entry.key, entry: shown, action, reason, considered })
}

/// Names the holders of what was found pinned only when it was its turn, if they still hold it.
fn find_late_holders(root: &Root, decision: &mut Decision) {
    if decision.reason != Some(Reason::Pinned) {
        return;
    }
    if let Some(entry) = decision.entry.as_mut().filter(|entry| entry.pin == Pin::Free) {
        let holders = holders::of_pins(root, &[entry.key]);
        entry.pin = Pin::Held(holders.into_iter().flatten().collect());
    }
}

impl Outcome {
    fn summarise(
        &mut self,
        order: &Order<'_>,
        view: &CacheView,
        plan: &Plan<'_>,
        space: Option<Space>,
        told: Told<'_>,
    ) {
        let Order { root, policy, options, now } = *order;
        let entries = &view.entries;
        self.before = Totals::of(entries);
        self.after = plan.left();
        let is_left = |&index: &usize| !matches!(plan.fate(index), Fate::Removed(_) | Fate::Gone);
        let (pinned, free): (Vec<usize>, Vec<usize>) =
            (0..entries.len()).filter(is_left).partition(|&index| {
                matches!(entries[index].pin, Pin::Held(_))
                    || plan.fate(index) == Fate::Kept(Reason::Pinned)
            });
        self.pinned = Totals::of(pinned.iter().map(|&index| &entries[index]));
        self.writing = Totals::of(
            free.iter()
                .map(|&index| &entries[index])
                .filter(|entry| plan::is_writing(entry, policy.min_age(), now)),
        );
        if let Policy::Sweep(sweep) = policy {
            self.limits = Some(Limits {
                max_size: sweep.max_size,
                max_entries: sweep.max_entries,
                min_free: sweep.min_free.zip(space).map(|(keep, space)| keep.target(space.total)),
                older_than: sweep.older_than,
            });
        }
        self.list_decisions(order, view, plan, told);
        self.problems.extend(view.problems.iter().cloned());
        self.problems.extend(view.unreadable.iter().map(|unreadable| unreadable.problem.clone()));
        self.warnings.extend(view.warnings(root, now));
        if !self.is_invalidation && !options.ages_given {
            self.warnings.extend(self.blind_removals(now));
        }
        self.warn_unmet();
    }

    /// Lists what became of every entry, in eviction order, and tells what was not told as it happened.
    fn list_decisions(
        &mut self,
        order: &Order<'_>,
        view: &CacheView,
        plan: &Plan<'_>,
        told: Told<'_>,
    ) {
        let named: Option<&[Key]> = match order.policy {
            Policy::Invalidate { which: Which::Keys(keys), .. } => Some(keys),
            _ => None,
        };
        // Whether it would have been the turn of what cannot be judged: not if nothing had to go.
        let considered = named.is_some() || !plan.decided().is_empty();
        let unjudged = |key: Key, action, reason| Decision {
            key,
            entry: None,
            action,
            reason: Some(reason),
            considered,
        };
        let Told { decisions: mut told, observer, .. } = told;
        let tell = |outcome: &mut Self, decision: Decision| {
            observer.decided(outcome, &decision);
            outcome.decisions.push(decision);
        };
        let wanted = |key: &Key| named.is_none_or(|keys| keys.contains(key));
        for unreadable in view.unreadable.iter().filter(|u| wanted(&u.key)) {
            let action = if named.is_some() { Action::Failed } else { Action::Kept };
            self.failed += u64::from(action == Action::Failed);
            tell(self, unjudged(unreadable.key, action, Reason::Error));
        }
        for &key in view.mounted.iter().filter(|key| wanted(key)) {
            tell(self, unjudged(key, Action::Kept, Reason::Mounted));
            if named.is_some() {
                self.problems.push(view::mount_in_the_way(order.root, key));
            }
        }
        for (index, fate, protection) in plan.fates() {
            if fate != Fate::Untouched {
                self.decisions.extend(told[index].take());
            } else if let Some(decision) = decide(order, &view.entries[index], fate, protection) {
                tell(self, decision);
            }
        }
        let mut known: HashSet<Key> = self.decisions.iter().map(|decision| decision.key).collect();
        for &key in named.unwrap_or_default() {
            if known.insert(key) {
                let absent = Decision {
                    key,
                    entry: None,
                    action: Action::Absent,
                    reason: None,
                    considered: true,
                };
                tell(self, absent);
            }
        }
    }

    /// Without lockfiles nobody can tell who is watching.
    fn blind_removals(&self, now: SystemTime) -> Option<String> {
        let blind = self.decisions.iter().filter(|decision| {
            matches!(decision.action, Action::Removed | Action::WouldRemove)
                && decision.entry.as_ref().is_some_and(|entry| plan::is_perhaps_watched(entry, now))
        });
        let count = blind.count();
        (count > 0).then(|| {
            format!(
                "{count} {entries} to remove, used or written in the last 4 h, came from a daemon that takes no \
                 locks, so it cannot be seen who is watching; protect recent entries with --keep-recent or --min-age",
                entries = if count == 1 { "entry" } else { "entries" }
            )
        })
    }

    /// Says of each limit that is still exceeded by how much, and what stands in the way.
    fn warn_unmet(&mut self) {
        let (would, stay) =
            if self.dry_run { ("would not be", "would stay") } else { ("is not", "stay") };
        let limits = self.limits.unwrap_or_default();
        let in_the_way = self.in_the_way();
        for limit in &self.unmet {
            let what = match limit {
                Limit::MaxSize => format!(
                    "--max-size {} {would} met: {} {stay}",
                    human_size(limits.max_size.unwrap_or(0)),
                    human_size(self.after.bytes)
                ),
                Limit::MaxEntries => format!(
                    "--max-entries {} {would} met: {} {stay}",
                    limits.max_entries.unwrap_or(0),
                    self.after.entries
                ),
                Limit::MinFree => {
                    format!("--min-free {} {would} met", human_size(limits.min_free.unwrap_or(0)))
                }
                Limit::OlderThan => continue,
            };
            let way_out = if *limit == Limit::MaxSize && self.gave_up {
                "; what is in use or being written fills it alone, so nothing is evicted for it: \
                 --best-effort evicts what can go"
            } else {
                ""
            };
            self.warnings.push(format!("{what}{in_the_way}{way_out}"));
        }
    }

    fn in_the_way(&self) -> String {
        let mut parts = Vec::new();
        for reason in [
            Reason::Error,
            Reason::Mounted,
            Reason::Pinned,
            Reason::Writing,
            Reason::Recent,
            Reason::Changed,
        ] {
            let kept: Vec<&Decision> = self
                .decisions
                .iter()
                .filter(|d| d.considered && d.reason == Some(reason) && d.action != Action::Absent)
                .collect();
            if !kept.is_empty() {
                parts.push(format!("{} {reason} ({})", kept.len(), name_some(&kept)));
            }
        }
        if parts.is_empty() { String::new() } else { format!("; kept: {}", parts.join(", ")) }
    }
}

/// The first few keys, with who holds them.
fn name_some(decisions: &[&Decision]) -> String {
    /// As many as fit a line of a terminal with the rest of the warning.
    const NAMED: usize = 3;
    let mut names: Vec<String> = decisions
        .iter()
        .take(NAMED)
        .map(|decision| match decision.entry.as_ref().map(|entry| &entry.pin) {
            Some(Pin::Held(holders)) => format!("{}{}", decision.key, holders::by_whom(holders)),
            _ => decision.key.to_string(),
        })
        .collect();
    if decisions.len() > NAMED {
        names.push(format!("{} more", decisions.len() - NAMED));
    }
    names.join(", ")
}
