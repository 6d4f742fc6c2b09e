//! The run of `verify`: which entries are damaged, and removing these.

use std::collections::BTreeSet;
use std::time::SystemTime;

use super::{Notice, Observer, Subset};
use crate::cache::events::{Event, Journal};
use crate::cache::{CacheNotice, Cause, Entry, Listing, mount_in_the_way, scan_entry};
use crate::key::Key;
use crate::plan::{Fate, Protection};
use crate::problem::Problem;
use crate::progress::Task;
use crate::removal::{self, Remover};
use crate::root::Root;
use crate::sys::parallel;
use crate::sys::walk::Buffer;
use crate::verify::{Checks, Health, check_entry};

/// What was found of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The entry.
    pub key: Key,
    /// Its state.
    pub health: Health,
    /// What became of it; `None` if nothing was asked or needed.
    pub fate: Option<Fate>,
}

/// Which entries to verify.
#[derive(Clone, Debug)]
pub enum Selection {
    /// Every sealed entry.
    All,
    /// These, sealed or not.
    Keys(Vec<Key>),
    /// Of all entries a stable part.
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
    pub problems: Vec<Problem>,
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

/// Verifies the entries of `selection`, and if `fix` says so removes what is damaged and not pinned.
pub fn verify(
    root: &Root,
    selection: &Selection,
    checks: Checks,
    fix: bool,
    now: SystemTime,
    observer: &dyn Observer,
) -> Result<Verification, Problem> {
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
            verification.problems.push(mount_in_the_way(root, key));
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
        let health = check_entry(root, key, checks, buffer);
        observer.step();
        health
    });
    observer.finish();
    for (key, health) in keys.into_iter().zip(results) {
        match health {
            Ok(Health::Absent) if !is_named => {}
            Ok(health) => {
                let is_unsealed = health == Health::Unsealed;
                verification.unsealed += u64::from(is_unsealed);
                if is_named || !is_unsealed {
                    verification.verdicts.push(Verdict { key, health, fate: None });
                }
            }
            Err(problem) => verification.problems.push(problem),
        }
    }
    if fix {
        remove_damaged(root, checks, now, &mut verification, observer);
    } else {
        verification.verdicts.iter().for_each(|verdict| observer.judged(verdict));
    }
    Ok(verification)
}

fn remove_damaged(
    root: &Root,
    checks: Checks,
    now: SystemTime,
    verification: &mut Verification,
    observer: &dyn Observer,
) {
    let mut buffer = Buffer::new();
    let mut remover = Remover::new(root, observer);
    let mut journal = Journal::new(root);
    for verdict in &mut verification.verdicts {
        if !matches!(verdict.health, Health::Damaged(_)) {
            observer.judged(verdict);
            continue;
        }
        let key = verdict.key;
        let result = remove_if_damaged(&mut remover, root, key, checks, &mut buffer);
        verdict.fate = Some(match result {
            Ok(entry) => {
                journal.append(Event::removal(&entry, Cause::Damaged, now));
                Fate::Removed(Cause::Damaged)
            }
            Err(fate) => fate,
        });
        observer.judged(verdict);
    }
    verification.problems.extend(remover.finish().problems);
    verification.notices.extend(journal.finish().map(Notice::NotLogged));
}

/// Removes `key` if, seen under the lock, it is still damaged; as it was then.
pub(crate) fn remove_if_damaged(
    remover: &mut Remover<'_>,
    root: &Root,
    key: Key,
    checks: Checks,
    buffer: &mut Buffer,
) -> Result<Entry, Fate> {
    removal::check_may_delete(root, key.to_string())?;
    let claim = remover.claim(key, None)?;
    match check_entry(root, key, checks, buffer)? {
        Health::Damaged(_) => {}
        Health::Healthy | Health::Unsealed => return Err(Fate::Kept(Protection::Changed)),
        Health::Absent => return Err(Fate::Absent),
    }
    let entry = scan_entry(root, key, buffer)?.ok_or(Fate::Absent)?;
    remover.take_out(claim, &entry)?;
    Ok(entry)
}
