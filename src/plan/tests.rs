//! The rules of eviction, with a file system that is a number.

use super::*;
use crate::cache::{PinState, State};
use crate::error::{Error, Operation};
use crate::key::Key;
use crate::locks::Holder;
use crate::units::FreeSpace;
use proptest::prelude::*;
use rustix::io::Errno;

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
        pin: PinState::Free,
        open_in: Vec::new(),
        last_read: None,
        is_remembered: false,
        has_writer_lockfile: true,
        is_kept: false,
        goes_first: false,
    }
}

fn pinned(mut entry: Entry) -> Entry {
    entry.pin = PinState::Held(Vec::new());
    entry
}

fn writing(entry: Entry) -> Entry {
    Entry { state: State::Partial, last_written: now(), ..entry }
}

fn view(entries: Vec<Entry>) -> CacheView {
    CacheView::of(entries)
}

/// The file system of these tests: what an evicted byte gives back, and what is kept for root.
#[derive(Clone, Copy)]
struct Disk {
    free: u64,
    reserve: u64,
    /// In percent.
    comes_back: u64,
}

impl Disk {
    fn space(self) -> Space {
        Space { total: 1000, available: self.free.saturating_sub(self.reserve), free: self.free }
    }
}

const DISK: Disk = Disk { free: 100, reserve: 0, comes_back: 100 };

/// Everything that `policy` removes, in order, and the limits that stay unmet; every removal is
/// settled as `settle` says.
fn carry_out_on(
    mut disk: Disk,
    view: &CacheView,
    policy: &Policy,
    mut settle: impl FnMut(&Candidate<'_, '_>) -> Fate,
) -> (Vec<(usize, Cause)>, Vec<Unmet>) {
    let mut plan = Plan::new(view, policy, now(), disk.space());
    let mut removed = Vec::new();
    let mut in_trash = 0;
    while let Some(step) = plan.next_step() {
        match step {
            Step::Remove(candidate) => {
                let (index, fate) = (candidate.index(), settle(&candidate));
                if let Fate::Removed(cause) = fate {
                    removed.push((index, cause));
                    in_trash += view.entries[index].allocated_bytes;
                }
                candidate.settle(fate);
            }
            Step::MeasureSpace => {
                disk.free += std::mem::take(&mut in_trash) * disk.comes_back / 100;
                plan.measured(disk.space());
            }
        }
    }
    disk.free += in_trash * disk.comes_back / 100;
    plan.measured(disk.space());
    (removed, plan.unmet())
}

fn carry_out(
    view: &CacheView,
    policy: &Policy,
    settle: impl FnMut(&Candidate<'_, '_>) -> Fate,
) -> (Vec<(usize, Cause)>, Vec<Unmet>) {
    carry_out_on(DISK, view, policy, settle)
}

fn goes(candidate: &Candidate<'_, '_>) -> Fate {
    Fate::Removed(candidate.cause())
}

fn swept(entries: Vec<Entry>, sweep: Sweep) -> (Vec<(usize, Cause)>, Vec<Unmet>) {
    carry_out(&view(entries), &Policy::Sweep(sweep), goes)
}

/// No floor, so that small entries do.
fn sweep() -> Sweep {
    Sweep { min_budget: 0, ..Sweep::default() }
}

/// Four entries of 10 bytes, the first the least recently used.
fn four() -> Vec<Entry> {
    (0..4).map(|number| entry(number, 10, (4 - u32::try_from(number).unwrap()) * DAY)).collect()
}

#[test]
fn each_limit_evicts_to_its_boundary_and_not_past_it() {
    let cases: [(&str, Sweep, usize, Cause); 11] = [
        ("at budget", Sweep { max_size: Some(40), ..sweep() }, 0, Cause::OverBudget),
        ("a byte over", Sweep { max_size: Some(39), ..sweep() }, 1, Cause::OverBudget),
        ("exactly one", Sweep { max_size: Some(30), ..sweep() }, 1, Cause::OverBudget),
        ("nothing left", Sweep { max_size: Some(0), ..sweep() }, 4, Cause::OverBudget),
        ("no budget", Sweep { max_size: Some(u64::MAX), ..sweep() }, 0, Cause::OverBudget),
        (
            "low water",
            Sweep { max_size: Some(39), low_water: "50%".parse().unwrap(), ..sweep() },
            3,
            Cause::OverBudget,
        ),
        (
            "low water, not over",
            Sweep { max_size: Some(40), low_water: "1%".parse().unwrap(), ..sweep() },
            0,
            Cause::OverBudget,
        ),
        ("age equal", Sweep { older_than: Some(3 * DAY), ..sweep() }, 2, Cause::OlderThan),
        ("count", Sweep { max_entries: Some(3), ..sweep() }, 1, Cause::MaxEntries),
        (
            "free space there is",
            Sweep { min_free: Some(FreeSpace::Bytes(100)), ..sweep() },
            0,
            Cause::MinFree,
        ),
        (
            "free space there is not",
            Sweep { min_free: Some(FreeSpace::Millionths(111_000)), ..sweep() },
            2,
            Cause::MinFree,
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
    let (removed, _) = swept(entries, Sweep { max_entries: Some(1), ..sweep() });
    assert_eq!(removed, [(1, Cause::MaxEntries), (2, Cause::MaxEntries)]);
}

#[test]
fn limits_are_taken_in_order_and_each_sees_what_the_earlier_left() {
    let sweep = Sweep {
        older_than: Some(4 * DAY),
        max_entries: Some(2),
        max_size: Some(19),
        min_free: Some(FreeSpace::Bytes(135)),
        ..sweep()
    };
    let (removed, unmet) = swept(four(), sweep);
    let causes: Vec<Cause> = removed.iter().map(|&(_, cause)| cause).collect();
    assert_eq!(causes, [Cause::OlderThan, Cause::MaxEntries, Cause::OverBudget, Cause::MinFree]);
    assert_eq!(unmet, []);
}

#[test]
fn what_is_kept_lets_the_next_take_its_place_and_what_is_gone_counts() {
    let budget = Policy::Sweep(Sweep { max_size: Some(30), ..sweep() });
    let kept = carry_out(&view(four()), &budget, |candidate| match candidate.index() {
        0 => Fate::Kept(Protection::Changed),
        1 => Fate::Failed(Error::new(Operation::Read, "/", Errno::IO)),
        _ => goes(candidate),
    });
    assert_eq!(kept, (vec![(2, Cause::OverBudget)], vec![]));
    let gone = carry_out(&view(four()), &budget, |_| Fate::Absent);
    assert_eq!(gone, (vec![], vec![]));
}

#[test]
fn pinned_bytes_that_reach_the_budget_alone_block_it_unless_told_otherwise() {
    let entries =
        || vec![entry(0, 10, 2 * DAY), pinned(entry(1, 20, DAY)), writing(entry(2, 5, DAY))];
    let sweep =
        |budget, best_effort| Sweep { max_size: Some(budget), best_effort, ..Sweep::default() };
    let unmet = |bound, found, hopeless| {
        vec![Unmet { limit: Limit::MaxSize, bound, found, hopeless, shortage: None }]
    };
    assert_eq!(swept(entries(), sweep(25, false)), (vec![], unmet(25, 35, true)));
    assert_eq!(swept(entries(), sweep(26, false)), (vec![(0, Cause::OverBudget)], vec![]));
    assert_eq!(
        swept(entries(), sweep(24, true)),
        (vec![(0, Cause::OverBudget)], unmet(24, 25, false))
    );
    assert_eq!(swept(entries(), sweep(25, true)), (vec![(0, Cause::OverBudget)], vec![]));
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
    let policy = Policy::Orphans { min_age: MIN_AGE, locks_only: false };
    let (removed, _) = carry_out(&view(entries), &policy, goes);
    assert_eq!(removed, [(0, Cause::Orphan)]);
}

#[test]
fn a_named_key_is_protected_by_locks_alone_and_force_overrides_these_alone() {
    let entries = || vec![writing(entry(0, 1, DAY)), pinned(entry(1, 1, DAY)), entry(2, 1, DAY)];
    let invalidate = |which, force: bool| {
        let policy = Policy::invalidate(which, force);
        let (removed, _) = carry_out(&view(entries()), &policy, goes);
        removed.into_iter().map(|(index, _)| index).collect::<Vec<_>>()
    };
    let named = || Which::Keys(vec![key(2), key(1), key(0), key(2), key(9)]);
    assert_eq!(invalidate(named(), false), [2, 0]);
    assert_eq!(invalidate(named(), true), [2, 1, 0]);
    assert_eq!(invalidate(Which::All, false), [2]);
    assert_eq!(invalidate(Which::All, true), [1, 2]);
}

/// By locks alone, what is open or was read does not keep an entry; else it does.
#[test]
fn each_run_looks_beyond_the_locks_unless_told_not_to_or_named_an_entry() {
    let mut open = entry(0, 1, 2 * DAY);
    open.open_in = vec![Holder { pid: 1, command: "player".into() }];
    let open = Entry { state: State::Partial, ..open };
    let view = view(vec![open]);
    let removes = |policy| carry_out(&view, &policy, goes).0.len();
    let sweep = |locks_only| Policy::Sweep(Sweep { max_entries: Some(0), locks_only, ..sweep() });
    let orphans = |locks_only| Policy::Orphans { min_age: DAY, locks_only };
    let named = Policy::invalidate(Which::Keys(vec![key(0)]), false);
    assert_eq!([false, true].map(|locks_only| removes(sweep(locks_only))), [0, 1]);
    assert_eq!([false, true].map(|locks_only| removes(orphans(locks_only))), [0, 1]);
    assert_eq!([Policy::invalidate(Which::All, false), named].map(removes), [0, 1]);
}

const MIB: u64 = 1 << 20;

fn free(mib: u64) -> Sweep {
    Sweep { min_free: Some(FreeSpace::Bytes(mib * MIB)), ..sweep() }
}

/// Ten entries of 10 MiB, the first the least recently used.
fn ten() -> Vec<Entry> {
    let age = |number| (10 - u32::try_from(number).unwrap()) * DAY;
    (0..10).map(|number| entry(number, 10 * MIB, age(number))).collect()
}

/// 100 MiB free.
const LARGE: Disk = Disk { free: 100 * MIB, ..DISK };

#[track_caller]
fn assert_frees(disk: Disk, sweep: Sweep, count: usize, unmet: Option<(u64, u64, u64, u64)>) {
    let (removed, found) = carry_out_on(disk, &view(ten()), &Policy::Sweep(sweep), goes);
    let expected: Vec<_> = (0..count).map(|index| (index, Cause::MinFree)).collect();
    assert_eq!(removed, expected);
    let figures = found.first().map(|unmet| match unmet {
        Unmet { limit: Limit::MinFree, found, shortage: Some(s), .. } => {
            (found / MIB, s.needed / MIB, s.freed / MIB, s.evictable / MIB)
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(figures, unmet, "available, needed, freed, evictable in MiB");
}

#[test]
fn what_does_not_come_back_ends_eviction_for_free_space() {
    // Nothing comes back: seen after the first entry.
    assert_frees(Disk { comes_back: 0, ..LARGE }, free(150), 1, Some((100, 50, 0, 90)));
    // Less than half.
    assert_frees(Disk { comes_back: 40, ..LARGE }, free(150), 1, Some((104, 50, 4, 90)));
    // Half: the need is taken anew at 10, 20 and 40 evicted bytes, of which half came back, and what
    // was evicted after the last reading is believed until the end.
    assert_frees(Disk { comes_back: 50, ..LARGE }, free(150), 7, Some((135, 50, 35, 30)));
    assert_frees(LARGE, free(150), 5, None);
}

#[test]
fn what_is_kept_for_root_is_filled_before_anything_counts_as_free() {
    let disk = |mib| Disk { free: 0, reserve: mib * MIB, comes_back: 100 };
    assert_frees(disk(25), free(20), 5, None);
    assert_frees(disk(50), free(50), 10, None);
    assert_frees(disk(95), free(50), 10, Some((5, 50, 100, 0)));
}

#[test]
fn free_space_never_takes_the_cache_below_the_least_budget() {
    let sweep = |mib| Sweep { min_budget: mib * MIB, ..free(1000) };
    assert_frees(LARGE, sweep(70), 3, Some((130, 900, 30, 70)));
    assert_frees(LARGE, sweep(71), 2, Some((120, 900, 20, 80)));
    assert_frees(LARGE, sweep(101), 0, Some((100, 900, 0, 100)));
    assert_frees(LARGE, sweep(0), 10, Some((200, 900, 100, 0)));
    let ended = |mib| shortage(0, &Policy::Sweep(sweep(mib))).ended;
    assert_eq!([ended(70), ended(0)], [Some(EndedEarly::MinBudget), None]);
}

/// What stops eviction for free space on the large disk, where others free so many bytes meanwhile.
fn shortage(by_others: u64, policy: &Policy) -> Shortage {
    let view = view(ten());
    let mut plan = Plan::new(&view, policy, now(), LARGE.space());
    plan.foresee(|_, _| {});
    let free = plan.expected_space().free + by_others;
    plan.measured(Disk { free, ..LARGE }.space());
    match plan.unmet()[..] {
        [Unmet { limit: Limit::MinFree, shortage: Some(shortage), .. }] => shortage,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn only_what_was_evicted_for_free_space_is_told_as_freed_for_it() {
    // The budget takes two entries first.
    let policy = Policy::Sweep(Sweep { max_size: Some(80 * MIB), ..free(1000) });
    let told = shortage(0, &policy);
    assert_eq!((told.needed / MIB, told.freed / MIB), (880, 80));
    // Nothing may go, and somebody else makes room.
    let policy = Policy::Sweep(Sweep { min_budget: 1000 * MIB, ..free(1000) });
    let told = shortage(5 * MIB, &policy);
    assert_eq!((told.needed / MIB, told.freed / MIB), (900, 0));
}

/// What other limits evicted is not taken for freed by this one, which would hide that nothing comes
/// back.
#[test]
fn free_space_is_read_before_anything_goes_for_it() {
    let policy = Policy::Sweep(Sweep { max_size: Some(90 * MIB), ..free(150) });
    let disk = Disk { comes_back: 0, ..LARGE };
    let (removed, unmet) = carry_out_on(disk, &view(ten()), &policy, goes);
    assert_eq!(removed, [(0, Cause::OverBudget), (1, Cause::MinFree)]);
    let [Unmet { shortage: Some(shortage), .. }] = unmet[..] else { panic!("{unmet:?}") };
    assert_eq!(shortage.ended, Some(EndedEarly::NothingComesBack));
}

/// An entry smaller than what others write meanwhile says nothing about what comes back.
#[test]
fn an_entry_too_small_to_measure_does_not_end_eviction() {
    let mut entries = ten();
    entries[0].allocated_bytes = MIB - 1;
    let disk = Disk { comes_back: 0, ..LARGE };
    let (removed, _) = carry_out_on(disk, &view(entries), &Policy::Sweep(free(150)), goes);
    assert_eq!(removed, [(0, Cause::MinFree), (1, Cause::MinFree)]);
}

#[test]
fn a_run_that_is_foreseen_is_told_whole() {
    let mut entries = four();
    entries[0].has_writer_lockfile = false;
    for entry in &mut entries[1..] {
        entry.has_writer_lockfile = false;
        entry.last_used = now() - A_FILM / 2;
    }
    let view = view(entries);
    let policy = Policy::Sweep(Sweep { max_entries: Some(1), ..sweep() });
    let told = foresee(&view, &policy, now(), DISK.space());
    assert_eq!((told.removed.entries, told.removed.bytes), (3, 30));
    assert_eq!((told.last_used, told.perhaps_watched), (Some(now() - A_FILM / 2), 2));
    assert_eq!(told.unmet, vec![]);
}

#[test]
fn a_film_that_may_be_watched_is_one_that_was_used_within_a_film() {
    let unseen = |age| Entry { has_writer_lockfile: false, ..entry(0, 1, age) };
    let nearly = A_FILM - Duration::from_secs(1);
    assert!(is_perhaps_watched(&unseen(nearly), now()));
    assert!(!is_perhaps_watched(&unseen(A_FILM), now()));
    assert!(!is_perhaps_watched(&Entry { has_writer_lockfile: true, ..unseen(nearly) }, now()));
    assert!(is_perhaps_watched(&Entry { last_written: now(), ..unseen(A_FILM) }, now()));
}

/// A library that names half of the cache is believed; of an odd number, half is the larger one.
#[test]
fn unnamed_entries_go_first_where_half_of_all_have_a_name() {
    let entries = |count| (0..count).map(|n| entry(n, 1, 30 * DAY)).collect::<Vec<_>>();
    let named = |named: usize| move |of: Key| (0..named).any(|n| key(n) == of);
    let refused = |named, sealed| Err(TooFewNamed { named, sealed });
    let first = |count, of| unnamed_first(&entries(count), named(of), now()).map(|keys| keys.len());
    assert_eq!(first(6, 3), Ok(3));
    assert_eq!(first(7, 3), refused(3, 7));
    assert_eq!(first(7, 4), Ok(3));
    assert_eq!(first(2, 0), refused(0, 2));
    assert_eq!(first(0, 0), Ok(0));
}

#[test]
fn reasons_for_keeping_an_entry_come_in_one_order() {
    let (mut unknown, shield) = (writing(entry(0, 1, DAY)), Shield::default());
    unknown.pin = PinState::Unknown;
    assert_eq!(shield.protection(&unknown, now()), Some(Protection::Error));
    let open = |entry| Entry { open_in: vec![Holder { pid: 1, command: "x".into() }], ..entry };
    let read = |entry| Entry { last_read: Some(now()), ..entry };
    let all = open(read(writing(entry(0, 1, DAY))));
    assert_eq!(shield.protection(&pinned(all.clone()), now()), Some(Protection::Pinned));
    assert_eq!(shield.protection(&all, now()), Some(Protection::Open));
    let written_and_read = read(writing(entry(0, 1, DAY)));
    assert_eq!(shield.protection(&written_and_read, now()), Some(Protection::Writing));
    assert_eq!(shield.protection(&read(entry(0, 1, DAY)), now()), Some(Protection::Read));
    let locks_only = Shield { locks_only: true, ..shield };
    assert_eq!(locks_only.protection(&all, now()), Some(Protection::Writing));
    assert_eq!(locks_only.protection(&open(read(entry(0, 1, DAY))), now()), None);
    let read_at = |age| Entry { last_read: Some(now() - age), ..entry(0, 1, DAY) };
    assert_eq!(shield.protection(&read_at(MIN_AGE), now()), None);
    let almost = MIN_AGE - Duration::from_nanos(1);
    assert_eq!(shield.protection(&read_at(almost), now()), Some(Protection::Read));
    let shield = Shield { keep_recent: 2 * DAY, ..shield };
    assert_eq!(shield.protection(&writing(entry(0, 1, DAY)), now()), Some(Protection::Writing));
    assert_eq!(shield.protection(&entry(0, 1, DAY), now()), Some(Protection::Recent));
    assert_eq!(shield.protection(&entry(0, 1, 2 * DAY), now()), None);
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
                    expected.push((number, Cause::OverBudget));
                }
            }
        }
        let (removed, _) = swept(entries, Sweep { max_size: Some(budget), ..sweep() });
        prop_assert_eq!(removed, expected);
    }
}
