//! The run of `verify`: finding damaged entries, and removing them with `--fix`.

use std::collections::{BTreeSet, HashMap};
use std::time::SystemTime;

use super::{Notice, Observer, Subset};
use crate::cache::events::{Event, Journal};
use crate::cache::{CacheNotice, Cause, Entry, Listing, mounted_error, scan_entry};
use crate::error::Error;
use crate::key::Key;
use crate::locks::OpenFiles;
use crate::plan::{Fate, Protection, Shield};
use crate::progress::Task;
use crate::removal::{self, Remover};
use crate::root::Root;
use crate::sys::parallel;
use crate::sys::walk::Buffer;
use crate::verify::{Checks, Health, check_entry};

/// Result of verifying one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The entry.
    pub key: Key,
    /// Its state.
    pub health: Health,
    /// Result of the removal; `None` without `--fix` or damage.
    pub fate: Option<Fate>,
}

/// Which entries to verify.
#[derive(Clone, Debug)]
pub enum Selection {
    /// Every sealed entry.
    All,
    /// These, sealed or not.
    Keys(Vec<Key>),
    /// A part of all entries, chosen by key.
    Subset(Subset),
}

/// What a verification found.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Verification {
    /// Sealed entries, and those that the user named, by key; unsealed others are only counted.
    pub verdicts: Vec<Verdict>,
    /// Number of entries that are not sealed.
    pub unsealed: u64,
    /// What the user should know.
    pub notices: Vec<Notice>,
    /// What could not be read, locked or removed.
    pub errors: Vec<Error>,
}

impl Verification {
    /// Number of verdicts that satisfy `is`.
    pub fn count(&self, is: impl Fn(&Verdict) -> bool) -> u64 {
        self.verdicts.iter().filter(|verdict| is(verdict)).count() as u64
    }

    /// Number of entries without a fault.
    pub fn healthy(&self) -> u64 {
        self.count(|verdict| verdict.health == Health::Healthy)
    }

    /// Number of entries with a fault.
    pub fn damaged(&self) -> u64 {
        self.count(|verdict| matches!(verdict.health, Health::Damaged(_)))
    }

    /// Number of entries that were removed.
    pub fn removed(&self) -> u64 {
        self.count(|verdict| matches!(verdict.fate, Some(Fate::Removed(_))))
    }

    /// Whether there is damage, or a named entry that is unsealed or absent.
    pub fn has_finding(&self) -> bool {
        self.verdicts.iter().any(|verdict| verdict.health != Health::Healthy)
    }
}

/// Verifies the entries of `selection`. With `fix`, removes the damaged ones that it does not protect.
pub fn verify(
    root: &Root,
    selection: &Selection,
    checks: Checks,
    fix: Option<Shield>,
    now: SystemTime,
    observer: &dyn Observer,
) -> Result<Verification, Error> {
    let listing = Listing::read(root)?;
    let mut verification = Verification::default();
    verification.notices.extend(listing.no_entries(root).map(Notice::Cache));
    let named: BTreeSet<Key> = match selection {
        Selection::Keys(keys) => keys.iter().copied().collect(),
        Selection::All | Selection::Subset { .. } => BTreeSet::new(),
    };
    let is_named = matches!(selection, Selection::Keys(_));
    let is_selected = |key: &Key| match selection {
        Selection::All => true,
        Selection::Keys(_) => named.contains(key),
        Selection::Subset(subset) => subset.contains(*key),
    };
    for &key in listing.mounted.iter().filter(|key| is_selected(key)) {
        if is_named {
            verification.errors.push(mounted_error(root, key));
        } else {
            verification.notices.push(Notice::Cache(CacheNotice::Mounted(root.entry_path(key))));
        }
    }
    let keys: Vec<Key> = if is_named {
        let is_free = |key: &Key| listing.mounted.binary_search(key).is_err();
        named.iter().copied().filter(is_free).collect()
    } else {
        listing.entries.into_iter().filter(is_selected).collect()
    };
    observer.start(Task::Verify, keys.len());
    let results = parallel::map(&keys, Buffer::new, |buffer, &key| {
        // Read the atimes before this run reads files, which changes them unless it is the owner or root.
        let before = fix.and_then(|_| scan_entry(root, key, buffer).ok().flatten());
        let health = check_entry(root, key, checks, buffer);
        observer.step();
        (health, before)
    });
    observer.finish();
    let mut before = HashMap::new();
    for (key, (health, entry)) in keys.into_iter().zip(results) {
        before.extend(entry.map(|entry| (key, entry)));
        match health {
            Ok(Health::Absent) if !is_named => {}
            Ok(health) => {
                let is_unsealed = health == Health::Unsealed;
                verification.unsealed += u64::from(is_unsealed);
                if is_named || !is_unsealed {
                    verification.verdicts.push(Verdict { key, health, fate: None });
                }
            }
            Err(error) => verification.errors.push(error),
        }
    }
    if let Some(shield) = fix {
        let mut repair = Repair::new(root, checks, shield, now, &before, observer);
        repair.remove_damaged(&mut verification, observer);
        repair.finish(&mut verification);
    } else {
        verification.verdicts.iter().for_each(|verdict| observer.judged(verdict));
    }
    Ok(verification)
}

/// Removes what is damaged.
struct Repair<'a> {
    root: &'a Root,
    checks: Checks,
    shield: Shield,
    now: SystemTime,
    /// Each entry as it was before this run read its files.
    before: &'a HashMap<Key, Entry>,
    open: Option<OpenFiles>,
    buffer: Buffer,
    remover: Remover<'a>,
    journal: Journal<'a>,
}

impl<'a> Repair<'a> {
    fn new(
        root: &'a Root,
        checks: Checks,
        shield: Shield,
        now: SystemTime,
        before: &'a HashMap<Key, Entry>,
        observer: &'a dyn Observer,
    ) -> Self {
        Self {
            root,
            checks,
            shield,
            now,
            before,
            open: None,
            buffer: Buffer::new(),
            remover: Remover::new(root, observer),
            journal: Journal::new(root),
        }
    }

    fn remove_damaged(&mut self, verification: &mut Verification, observer: &dyn Observer) {
        for verdict in &mut verification.verdicts {
            if matches!(verdict.health, Health::Damaged(_)) {
                verdict.fate = Some(match self.remove(verdict.key) {
                    Ok(entry) => {
                        self.journal.append(Event::removal(&entry, Cause::Damaged, self.now));
                        Fate::Removed(Cause::Damaged)
                    }
                    Err(fate) => fate,
                });
            }
            observer.judged(verdict);
        }
    }

    fn remove(&mut self, key: Key) -> Result<Entry, Fate> {
        removal::check_may_delete(self.root, key.to_string())?;
        self.check_unused(key)?;
        let claim = self.remover.claim(key, None)?;
        self.check_unread(key)?;
        let entry = check_damaged(self.root, key, self.checks, &mut self.buffer)?;
        self.remover.take_out(claim, &entry)?;
        Ok(entry)
    }

    /// Checks that no process uses the entry without a lock. Called before locking, since it is slow.
    fn check_unused(&mut self, key: Key) -> Result<(), Fate> {
        if self.shield.locks_only {
            return Ok(());
        }
        if !OpenFiles::fresh(&mut self.open, self.root).users(key).is_empty() {
            return Err(Fate::Kept(Protection::Open));
        }
        let is_read = |entry| self.shield.is_read(entry, self.now);
        if self.before.get(&key).is_some_and(is_read) {
            Err(Fate::Kept(Protection::Read))
        } else {
            Ok(())
        }
    }

    /// Checks that nobody has read the entry since. Skipped where this run's own reads change the atime.
    fn check_unread(&mut self, key: Key) -> Result<(), Fate> {
        let user = rustix::process::geteuid();
        if self.shield.locks_only || !(user.is_root() || user.as_raw() == self.root.uid) {
            return Ok(());
        }
        let entry = scan_entry(self.root, key, &mut self.buffer)?.ok_or(Fate::Absent)?;
        if self.shield.is_read(&entry, self.now) {
            Err(Fate::Kept(Protection::Read))
        } else {
            Ok(())
        }
    }

    fn finish(self, verification: &mut Verification) {
        let processes = self.open.map(|open| open.processes()).unwrap_or_default();
        verification.notices.extend(super::unseen_processes(verification.removed(), processes));
        verification.errors.extend(self.remover.finish().errors);
        verification.notices.extend(self.journal.finish().map(Notice::NotLogged));
    }
}

/// Reads the entry under the lock; an error if it is no longer damaged.
fn check_damaged(
    root: &Root,
    key: Key,
    checks: Checks,
    buffer: &mut Buffer,
) -> Result<Entry, Fate> {
    match check_entry(root, key, checks, buffer)? {
        Health::Damaged(_) => {}
        Health::Healthy | Health::Unsealed => return Err(Fate::Kept(Protection::Changed)),
        Health::Absent => return Err(Fate::Absent),
    }
    scan_entry(root, key, buffer)?.ok_or(Fate::Absent)
}

/// Removes `key` for a daemon if it is still damaged under the lock. Only a pin protects it.
pub(crate) fn remove_if_damaged(
    remover: &mut Remover<'_>,
    root: &Root,
    key: Key,
    checks: Checks,
    buffer: &mut Buffer,
) -> Result<(), Fate> {
    removal::check_may_delete(root, key.to_string())?;
    let claim = remover.claim(key, None)?;
    let entry = check_damaged(root, key, checks, buffer)?;
    remover.take_out(claim, &entry)
}
