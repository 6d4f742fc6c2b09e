//! Acting on a plan: one candidate after the other, each read again under its lock.

use std::time::SystemTime;

use super::{Order, Outcome};
use crate::cache::events::{Event, Journal};
use crate::cache::{Cause, Entry, StatEntry, State, scan_entry, stat_entry};
use crate::locks::{OpenFiles, ProcessCount};
use crate::maintain::Notice;
use crate::plan::{Fate, Forced, Plan, Policy, Protection, Shield};
use crate::removal::{self, Remover};
use crate::root::Root;
use crate::sys::walk::Buffer;

/// Removes candidates, or in a dry run only checks that it could.
pub(super) struct Actor<'a> {
    pub(super) order: Order<'a>,
    /// The last reading of the files that other processes have open; `None` if not read.
    pub(super) open: Option<OpenFiles>,
    pub(super) buffer: Buffer,
    pub(super) remover: Remover<'a>,
    pub(super) journal: Journal<'a>,
}

impl Actor<'_> {
    pub(super) fn remove(&mut self, planned: &Entry, cause: Cause) -> Fate {
        match self.try_remove(planned, cause) {
            Ok(()) => Fate::Removed(cause),
            Err(fate) => fate,
        }
    }

    fn try_remove(&mut self, planned: &Entry, cause: Cause) -> Result<(), Fate> {
        let Order { root, options, .. } = self.order;
        removal::check_may_delete(root, planned.key.to_string())?;
        if options.dry_run {
            return Ok(());
        }
        self.check_unused(planned)?;
        let claim = self.remover.claim(planned.key, self.force())?;
        let entry = self.rescan_locked(planned)?;
        self.remover.take_out(claim, &entry)?;
        self.journal.append(Event::removal(&entry, cause, self.order.now));
        Ok(())
    }

    /// Checks once more whether a process uses the entry without a lock. Called before locking, since it is
    /// slow and a daemon waits only a second for the lock.
    fn check_unused(&mut self, planned: &Entry) -> Result<(), Fate> {
        let Order { root, policy, now, .. } = self.order;
        if self.open.is_none() {
            return Ok(());
        }
        if !OpenFiles::fresh(&mut self.open, root).users(planned.key).is_empty() {
            return Err(Fate::Kept(Protection::Open));
        }
        let entry = scan_entry(root, planned.key, &mut self.buffer)?.ok_or(Fate::Absent)?;
        if policy.shield().is_read(&entry, now) {
            return Err(Fate::Kept(Protection::Read));
        }
        Ok(())
    }

    fn force(&self) -> Option<Forced> {
        match self.order.policy {
            Policy::Invalidate { force, .. } => *force,
            _ => None,
        }
    }

    /// Reads the entry under the lock; an error if it must no longer be removed.
    fn rescan_locked(&mut self, planned: &Entry) -> Result<Entry, Fate> {
        let Order { root, policy, now, .. } = self.order;
        if !matches!(policy, Policy::Invalidate { .. }) {
            let shield = policy.shield();
            return rescan_unchanged(root, planned, &shield, now, &mut self.buffer);
        }
        let entry = scan_entry(root, planned.key, &mut self.buffer)?.ok_or(Fate::Absent)?;
        match policy.shield().protection(&entry, now) {
            Some(protection) => Err(Fate::Kept(protection)),
            None => Ok(entry),
        }
    }

    /// Deletes the trash of this run and tells the plan how much space there is then. A dry run assumes that
    /// every removed byte becomes free.
    pub(super) fn measure_space(&mut self, plan: &mut Plan<'_>, outcome: &mut Outcome) {
        let Order { root, options, .. } = self.order;
        if options.dry_run {
            return plan.measured(plan.expected_space());
        }
        self.remover.empty_trash();
        // Ignore a failure: the reading is then only a little out of date.
        let _ = root.sync();
        let space = root.space().unwrap_or_else(|error| {
            outcome.errors.push(error);
            plan.expected_space()
        });
        plan.measured(space);
    }

    /// Deletes the trash of this run, then retries events that a full disk had no room to log.
    /// Returns how many processes could be examined.
    pub(super) fn finish(self, outcome: &mut Outcome) -> ProcessCount {
        let deleted = self.remover.finish();
        outcome.freed_bytes = deleted.freed_bytes;
        outcome.errors.extend(deleted.errors);
        outcome.notices.extend(self.journal.finish().map(Notice::NotLogged));
        self.open.map(|open| open.processes()).unwrap_or_default()
    }
}

/// Reads the entry again for `sweep` and `gc-orphans`, which remove it only if it has not changed since the
/// plan. Without this, measured, thousands of entries were evicted right after a hit.
fn rescan_unchanged(
    root: &Root,
    planned: &Entry,
    shield: &Shield,
    now: SystemTime,
    buffer: &mut Buffer,
) -> Result<Entry, Fate> {
    let found = stat_entry(root, planned.key)?.ok_or(Fate::Absent)?;
    let as_planned = StatEntry {
        identity: planned.identity,
        last_used: planned.last_used,
        state: planned.state,
    };
    if found != as_planned {
        return Err(Fate::Kept(Protection::Changed));
    }
    if planned.state == State::Sealed && shield.locks_only {
        return Ok(planned.clone());
    }
    // Read the whole entry again: writing segments and reading them do not move its directory's mtime.
    let entry = scan_entry(root, planned.key, buffer)?.ok_or(Fate::Absent)?;
    let has_changed = entry.identity != planned.identity
        || (entry.state == State::Partial && entry.last_written != planned.last_written);
    if has_changed {
        return Err(Fate::Kept(Protection::Changed));
    }
    if shield.is_read(&entry, now) {
        return Err(Fate::Kept(Protection::Read));
    }
    Ok(entry)
}
