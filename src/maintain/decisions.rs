//! The decision on every entry of a run: reported to the observer at once, added up at the end.

use std::collections::HashSet;

use super::{Decision, Kind, Notice, Observer, Order, Outcome};
use crate::cache::events::{self, SweepEvent};
use crate::cache::{CacheNotice, CacheView, Entry, PinState, Totals, mounted_error};
use crate::key::Key;
use crate::locks::{self, OpenFiles};
use crate::plan::{self, Fate, Plan, Policy, Protection, Which};
use crate::root::Root;
use crate::units::unix_seconds;

/// The decisions on candidates, each reported to the observer as soon as it is made.
pub(super) struct Told<'a> {
    /// By the entry's place in the view.
    pub(super) decisions: Vec<Option<Decision>>,
    /// How many of those that the plan has decided.
    pub(super) count: usize,
    pub(super) observer: &'a dyn Observer,
}

impl Told<'_> {
    pub(super) fn tell(
        &mut self,
        order: &Order<'_>,
        view: &CacheView,
        plan: &Plan<'_>,
        open: Option<&OpenFiles>,
        outcome: &Outcome,
    ) {
        for &index in &plan.decided()[self.count..] {
            self.count += 1;
            let fate = plan.fate(index);
            let Some(mut decision) = decide(order, &view.entries[index], fate) else { continue };
            find_late_holders(order.root, open, &mut decision);
            self.observer.decided(outcome, &decision);
            self.decisions[index] = Some(decision);
        }
    }
}

/// The decision to report. `None` if another process removed the entry and the user did not name it.
fn decide(order: &Order<'_>, entry: &Entry, fate: Fate) -> Option<Decision> {
    let is_named = matches!(order.policy, Policy::Invalidate { which: Which::Keys(_), .. });
    let is_absent = fate == Fate::Absent;
    if is_absent && !is_named {
        return None;
    }
    let known = Some(entry.clone()).filter(|_| !is_absent);
    Some(Decision { key: entry.key, entry: known, fate })
}

/// Adds the holders of an entry that was not in use at the scan but is now, if they still use it.
fn find_late_holders(root: &Root, open: Option<&OpenFiles>, decision: &mut Decision) {
    let Some(entry) = &mut decision.entry else { return };
    match decision.fate {
        Fate::Kept(Protection::Pinned) if entry.pin == PinState::Free => {
            let holders = locks::of_pins(root, &[entry.key]);
            entry.pin = PinState::Held(holders.into_iter().flatten().collect());
        }
        Fate::Kept(Protection::Open) => {
            if let Some(open) = open {
                entry.open_in = open.users(entry.key).to_vec();
            }
        }
        _ => {}
    }
}

impl Outcome {
    pub(super) fn summarise(
        &mut self,
        order: &Order<'_>,
        view: &CacheView,
        plan: &Plan<'_>,
        told: Told<'_>,
    ) {
        let Order { root, options, now, .. } = *order;
        self.before = Totals::of(&view.entries);
        self.after = plan.left();
        self.unmet = plan.unmet();
        self.list_decisions(order, view, plan, told);
        self.add_up(view, plan);
        self.errors.extend(view.errors.iter().cloned());
        self.errors.extend(view.unreadable.iter().map(|unreadable| unreadable.error.clone()));
        self.notices.extend(view.notices(root, now).into_iter().map(Notice::Cache));
        if self.kind == Kind::Invalidate {
            self.fail_mounted(root);
        }
        let unseen = self.unseen_uses();
        if unseen > 0 && self.kind != Kind::Invalidate && !options.ages_given {
            self.notices.push(Notice::UnseenUse(unseen));
        }
        self.notices.extend(self.unmet.iter().copied().map(Notice::Unmet));
    }

    /// Lists the decision on every entry, in eviction order, and reports those not reported yet.
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
        let named: Option<&[Key]> = match order.policy {
            Policy::Invalidate { which: Which::Keys(keys), .. } => Some(keys),
            _ => None,
        };
        let of_named: Option<HashSet<&Key>> = named.map(|named| named.iter().collect());
        let is_wanted = |key: &Key| of_named.as_ref().is_none_or(|named| named.contains(key));
        // Unreadable and mounted entries count as kept only if the run had something to remove.
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
        for &key in named.unwrap_or_default() {
            if known.insert(key) {
                tell(self, Decision { key, entry: None, fate: Fate::Absent });
            }
        }
    }

    /// Logs that a sweep has finished.
    pub(super) fn log_sweep(&mut self, root: &Root) {
        let exit = match (self.has_failed(), self.has_finding()) {
            (true, _) => 1,
            (false, true) => 3,
            (false, false) => 0,
        };
        let event = SweepEvent {
            time: unix_seconds(self.now),
            limits: self.limits.unwrap_or_default(),
            removed: Some(self.removed),
            freed: Some(self.freed_bytes),
            left: Some(self.after.bytes),
            exit: Some(exit),
        };
        if let Err(error) = events::append(root, &event) {
            let notice = Notice::NotLogged(error);
            // A removal may have added the same notice.
            if !self.notices.contains(&notice) {
                self.notices.push(notice);
            }
        }
    }

    fn add_up(&mut self, view: &CacheView, plan: &Plan<'_>) {
        let is_invalidation = self.kind == Kind::Invalidate;
        for (index, entry) in view.entries.iter().enumerate() {
            let fate = plan.fate(index);
            if fate.has_left() {
                continue;
            }
            let totals = match fate.protection().or_else(|| self.shield.protection(entry, self.now))
            {
                Some(Protection::Pinned) => &mut self.pinned,
                Some(Protection::Open) => &mut self.open,
                Some(Protection::Writing) => &mut self.writing,
                Some(Protection::Read) => &mut self.read,
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

    /// A mount on or under an entry is an error if the user named the entry; other runs skip such entries.
    fn fail_mounted(&mut self, root: &Root) {
        self.notices.retain(|notice| !matches!(notice, Notice::Cache(CacheNotice::Mounted(_))));
        let mounted = self.decisions.iter().filter(|d| d.fate == Fate::Kept(Protection::Mounted));
        self.errors.extend(mounted.map(|decision| mounted_error(root, decision.key)));
    }

    /// Number of removed entries that somebody may be watching through a daemon that takes no locks.
    fn unseen_uses(&self) -> u64 {
        let removed = self.decisions.iter().filter(|d| matches!(d.fate, Fate::Removed(_)));
        let unseen = removed.filter_map(|decision| decision.entry.as_ref());
        unseen.filter(|entry| plan::is_perhaps_watched(entry, self.now)).count() as u64
    }
}
