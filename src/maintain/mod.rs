//! The runs: scan, plan, act, and return the outcome.
//!
//! Here: the one pipeline of the commands that remove, the run of `verify`, and their results as facts. Each
//! locks, reads the entry again, removes and reports in the order that the protocol requires. Not here:
//! which entries to remove (`plan`), how to remove them (`removal`), or any text for the user (the report
//! in the binary).

mod act;
mod decisions;
mod doubt;
mod notice;
mod observer;
mod outcome;
mod subset;
mod verification;

use std::ffi::CStr;
use std::time::{Duration, Instant, SystemTime};

use self::act::Actor;
use self::decisions::Told;
use self::doubt::measure_victims;
use crate::cache::events::{self, Journal};
use crate::cache::sizes::Draft;
use crate::cache::{CacheView, Listing, Memory};
use crate::error::Error;
use crate::locks::{self, Holder, OpenFiles, ProcessCount};
use crate::plan::{Plan, Policy, Step, Sweep};
use crate::progress::Progress;
use crate::removal::{self, Remover};
use crate::root::{self, Root, Space};
use crate::sys::walk::Buffer;

pub use self::notice::Notice;
pub use self::observer::Observer;
pub use self::outcome::{Decision, Kind, Outcome};
pub use self::subset::{InvalidSubset, Subset};
pub(crate) use self::verification::remove_if_damaged;
pub use self::verification::{Selection, Verdict, Verification, verify};

/// How a run is carried out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Report the plan and touch nothing.
    pub dry_run: bool,
    /// How long to wait for another maintainer.
    pub wait: Duration,
    /// Measure every entry, whatever is remembered of it.
    pub full_scan: bool,
    /// The user gave `--keep-recent` or `--min-age`, and needs no warning about daemons without locks.
    pub ages_given: bool,
}

/// Why a run did not start.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Another maintainer is at work.
    #[error("another maintainer is at work in this cache")]
    Busy {
        /// The known holders of the maintenance lock.
        holders: Vec<Holder>,
        /// How long the run waited for them.
        waited: Duration,
    },
    /// The root could not be read.
    #[error(transparent)]
    Unreadable(#[from] Error),
}

/// The request that a run carries out.
#[derive(Clone, Copy)]
struct Order<'a> {
    root: &'a Root,
    policy: &'a Policy,
    options: Options,
    now: SystemTime,
}

/// Carries `policy` out in `root`. Ages are counted from `now`.
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
                let holders = locks::of_maintenance_lock(root);
                return Err(Refused::Busy { holders, waited: options.wait });
            }
            Err(error) => outcome.notices.push(Notice::NoMaintenanceLock(error)),
        }
        delete_leftover_trash(root, &mut outcome, observer)?;
    }
    if let (Policy::Sweep(_), Some(held)) = (policy, &maintenance) {
        let rotated = events::rotate(root, events::LARGE_LOG, held);
        outcome.notices.extend(rotated.err().map(Notice::NotLogged));
    }

    // Ages count from the end of the wait for another maintainer.
    outcome.now = now.checked_add(began.elapsed()).unwrap_or(now);
    let order = Order { root, policy, options, now: outcome.now };
    let draft = maintenance.as_ref().filter(|_| outcome.kind == Kind::Sweep);
    let draft = draft.and_then(|held| Draft::begin(root, held));
    let (known, nothing) = (Memory::read(root), Memory::default());
    let memory = if options.full_scan { &nothing } else { &known };
    let mut view = CacheView::scan(root, memory, order.now, observer)?;
    outcome.remembered = view.remembered().len() as u64;
    if has_manners && options.dry_run {
        count_trash(root, &view, &mut outcome);
    }
    let space = space_for(policy, options, root, &view)?;
    if let Policy::Sweep(sweep) = policy {
        outcome.limits = Some(sweep.limits(space.total));
    }
    // Reading the open files of all processes is slow, and a media library may be on a sleeping disk, so skip
    // both if nothing would be removed.
    let mut open = None;
    if Plan::new(&view, policy, order.now, space).has_candidate() {
        let advice = observer.advise(&view.entries)?;
        view.add_advice(&advice);
        if !policy.shield().locks_only {
            let read = OpenFiles::read(root);
            view.add_open(&read);
            open = Some(read);
        }
    }
    let mut plan = Plan::new(&view, policy, order.now, space);
    let mut actor = Actor {
        order,
        open,
        buffer: Buffer::new(),
        remover: Remover::new(root, observer),
        journal: Journal::new(root),
    };
    let mut told = Told { decisions: vec![None; view.entries.len()], count: 0, observer };
    while let Some(step) = plan.next_step() {
        match step {
            Step::Remove(candidate) if view.entries[candidate.index()].is_remembered => {
                let decided = plan.pause();
                measure_victims(&order, &mut view, &decided, observer);
                plan = Plan::resume(&view, policy, order.now, decided);
            }
            Step::Remove(candidate) => {
                let entry = &view.entries[candidate.index()];
                let fate = actor.remove(entry, candidate.cause());
                candidate.settle(fate);
            }
            Step::MeasureSpace => actor.measure_space(&mut plan, &mut outcome),
        }
        told.tell(&order, &view, &plan, actor.open.as_ref(), &outcome);
    }
    told.tell(&order, &view, &plan, actor.open.as_ref(), &outcome);
    if needs_space(policy) && !options.dry_run {
        // Report the free space that the file system has at the end, not the planned one.
        actor.measure_space(&mut plan, &mut outcome);
    }
    let processes = actor.finish(&mut outcome);
    if let Some(draft) = draft {
        let places = (0..view.entries.len()).filter(|&place| !plan.fate(place).has_left());
        draft.save(root, &known, places.filter_map(|place| view.records[place]).collect());
    }
    drop(maintenance);
    outcome.summarise(&order, &view, &plan, told);
    outcome.notices.extend(unseen_processes(outcome.removed, processes));
    if outcome.kind == Kind::Sweep && !options.dry_run {
        outcome.log_sweep(root);
    }
    Ok(outcome)
}

/// The notice that entries were removed although some processes, which may use them, could not be examined.
fn unseen_processes(removed: u64, processes: ProcessCount) -> Option<Notice> {
    let is_blind = removed > 0 && processes.unreadable > 0;
    is_blind.then_some(Notice::UnseenProcesses(processes))
}

/// Takes the maintenance lock, and tells the observer which processes it waits for; `None` when another
/// process still holds the lock after `wait`.
fn become_maintainer(
    root: &Root,
    wait: Duration,
    observer: &dyn Observer,
) -> Result<Option<locks::Held>, Error> {
    let held = locks::maintenance(root, Duration::ZERO)?;
    if held.is_some() || wait.is_zero() {
        return Ok(held);
    }
    observer.waiting(&locks::of_maintenance_lock(root), wait);
    locks::maintenance(root, wait)
}

fn needs_space(policy: &Policy) -> bool {
    matches!(policy, Policy::Sweep(Sweep { min_free: Some(_), .. }))
}

/// The file system's space, if a limit depends on it. A dry run counts leftover trash as free, since a real
/// run would have deleted it by now.
fn space_for(
    policy: &Policy,
    options: Options,
    root: &Root,
    view: &CacheView,
) -> Result<Space, Error> {
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

/// Deletes trash that removers left when they died.
fn delete_leftover_trash(
    root: &Root,
    outcome: &mut Outcome,
    progress: &dyn Progress,
) -> Result<(), Refused> {
    let mut trash = Listing::read(root)?.trash;
    trash.retain(|name| may_delete_trash(root, name, outcome));
    for deleted in removal::delete_trash(root, &trash, progress) {
        match deleted {
            Ok(()) => outcome.reaped += 1,
            Err(error) => outcome.errors.push(error),
        }
    }
    Ok(())
}

/// What [`delete_leftover_trash`] would do, for a dry run.
fn count_trash(root: &Root, view: &CacheView, outcome: &mut Outcome) {
    for trash in &view.trash {
        let may_delete = may_delete_trash(root, &trash.name, outcome);
        outcome.reaped += u64::from(may_delete);
    }
}

fn may_delete_trash(root: &Root, name: &CStr, outcome: &mut Outcome) -> bool {
    match removal::check_may_delete(root, root::os_name(name.to_bytes())) {
        Ok(()) => true,
        Err(error) => {
            outcome.denied_trash.push(error);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_that_could_not_be_examined_are_told_only_where_something_went() {
        let told = |removed, unreadable| {
            unseen_processes(removed, ProcessCount { seen: 9, unreadable }).is_some()
        };
        assert_eq!([told(0, 0), told(1, 0), told(0, 1), told(1, 1)], [false, false, false, true]);
    }
}
