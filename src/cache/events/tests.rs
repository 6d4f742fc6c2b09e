//! Logs as daemons, crashes and later versions leave them.

use std::time::{Duration, SystemTime};

use super::journal::*;
use super::summary::*;
use super::*;
use crate::cache::Limit;
use crate::layout::{EVENTS_LOG, OLD_EVENTS_LOG};
use crate::locks;
use crate::root::Root;
use crate::sys::mutated::mutated;
use proptest::prelude::*;

fn summary(log: &str) -> Summary {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let mut tally = Tally::new(now);
    tally.add(log.as_bytes(), &mut |_| ()).unwrap();
    tally.finish()
}

#[test]
fn hits_and_misses_in_all_and_of_the_last_day() {
    let key = "0123456789abcdef";
    let log = format!(
        "1 hit {key}\n999999 hit {key}\n999999 miss {key} 5\n913600 hit {key}\n913601 hit {key}\n2000000 hit {key}\n"
    );
    let summary = summary(&log);
    assert_eq!(summary.all, Some(HitRate { hits: 5, misses: 1 }));
    assert_eq!(summary.last_24h, Some(HitRate { hits: 3, misses: 1 }));
    assert_eq!(summary.all.unwrap().percent(), Some(83));
}

#[test]
fn the_rate_rounds_half_up_and_is_unknown_without_lines() {
    for (hits, misses, percent) in [
        (1, 1, 50),
        (2, 1, 67),
        (1, 2, 33),
        (1, 7, 13),
        (1, 199, 1),
        (0, 3, 0),
        (u64::MAX, u64::MAX, 50),
    ] {
        assert_eq!(HitRate { hits, misses }.percent(), Some(percent), "{hits}, {misses}");
    }
    assert_eq!(HitRate::default().percent(), None);
    let only_removals = summary("1 evict 0123456789abcdef 10\n");
    assert_eq!((only_removals.all, only_removals.last_24h), (None, None));
    assert_eq!(only_removals.removals[0], Removals { count: 1, bytes: 10 });
    assert_eq!(only_removals.last_removal, Some(1));
}

#[test]
fn only_a_removal_that_was_logged_as_damaged_counts_as_damage() {
    let key = "0123456789abcdef";
    let others = format!(
        "1 evict {key} 5 6 over-budget\n2 invalidate {key} 5 6 invalidated\n3 invalidate {key} 5\n"
    );
    assert_eq!(summary(&others).last_damaged_removal, None);
    let damaged = format!("8 invalidate {key} 5 6 damaged\n7 invalidate {key} 5 6 damaged\n");
    let summary = summary(&(damaged + &others));
    assert_eq!(
        summary.last_damaged_removal,
        Some(8),
        "the newest, whatever the order of the lines"
    );
}

#[test]
fn lines_that_do_not_parse_are_skipped_and_counted() {
    let key = "0123456789abcdef";
    let bad = [
        "",
        "nonsense",
        "17000",
        "hit",
        "1 hit",
        "1 hit nokey",
        "1 hit 61",
        &format!("soon hit {key}"),
        &format!("1 HIT {key}"),
        &format!("1 hug {key}"),
        &format!("1 hit {key} -5"),
        &format!("1 hit {key} 5 6"),
        &format!("1 miss {key} many"),
        &format!("1 evict {key} 5 -6"),
        &format!("1 evict {key} 5 6 boredom"),
        &format!("1 evict {key} 5 6 over-budget now"),
        "1 sweep",
        "1 sweep max_size",
        "1 sweep max_size=much",
        "soon sweep max_size=5",
        &"x".repeat(100_000),
    ];
    for line in bad {
        let summary = summary(&format!("1 hit {key}\n{line}\n1 hit {key} 12345"));
        assert_eq!(summary.all, Some(HitRate { hits: 2, misses: 0 }), "{line:.80}");
        assert_eq!(summary.skipped, 1, "{line:.80}");
    }
    assert_eq!(summary(&(bad.join("\n") + "\n")).skipped, bad.len() as u64);
}

#[test]
fn the_last_sweep_is_the_last_line_about_one() {
    let key = "0123456789abcdef";
    let log = format!("9 sweep removed=1 exit=0\n7 sweep removed=2 exit=3\n8 hit {key}\n9 sweep\n");
    let last = SweepEvent { time: 7, removed: Some(2), exit: Some(3), ..SweepEvent::default() };
    assert_eq!(summary(&log).last_sweep, Some(last));
    assert_eq!(summary(&format!("8 hit {key}\n")).last_sweep, None);
}

#[test]
fn an_event_is_not_glued_to_a_line_that_was_cut_short() {
    let directory = tempfile::tempdir().unwrap();
    let root = Root::open(directory.path()).unwrap();
    let log = directory.path().join(EVENTS_LOG);
    let event: Event = "7 evict 0123456789abcdef 10".parse().unwrap();
    for (before, after) in [
        (None, ""),
        (Some(""), ""),
        (Some("1 hit 0123456789abcdef\n"), "1 hit 0123456789abcdef\n"),
        (Some("1 hit 01234"), "1 hit 01234\n"),
    ] {
        if let Some(text) = before {
            std::fs::write(&log, text).unwrap();
        }
        let mut journal = Journal::new(&root);
        journal.append(event);
        journal.append(event);
        assert_eq!(journal.finish(), None);
        let logged = std::fs::read_to_string(&log).unwrap();
        assert_eq!(logged, format!("{after}{event}\n{event}\n"), "after {before:?}");
    }
}

#[test]
fn no_event_is_lost_to_a_new_log_and_the_two_are_read_as_one() {
    let directory = tempfile::tempdir().unwrap();
    let root = Root::open(directory.path()).unwrap();
    let lock = locks::maintenance(&root, Duration::ZERO).unwrap().unwrap();
    let hit: Event = "7 hit 0123456789abcdef".parse().unwrap();
    let size = hit.to_string().len() as u64 + 1;
    let hits =
        |root| Summary::read(root, SystemTime::UNIX_EPOCH).unwrap().all.map_or(0, |all| all.hits);
    let is_there = |name| directory.path().join(name).exists();
    rotate(&root, 0, &lock).unwrap();
    assert!(!is_there(OLD_EVENTS_LOG), "no log");
    for logged in 1..=8 {
        append(&root, &hit).unwrap();
        rotate(&root, 5 * size, &lock).unwrap();
        assert_eq!(is_there(EVENTS_LOG), logged != 6, "a sixth one is more than five");
        assert_eq!(is_there(OLD_EVENTS_LOG), logged >= 6);
        assert_eq!(hits(&root), logged);
    }
    rotate(&root, size, &lock).unwrap();
    assert_eq!(hits(&root), 2, "one generation is kept");
    // As a reader finds it that has opened the log just before it was renamed.
    std::fs::hard_link(directory.path().join(OLD_EVENTS_LOG), directory.path().join(EVENTS_LOG))
        .unwrap();
    assert_eq!(hits(&root), 2, "read once");
}

#[test]
fn what_could_not_be_logged_is_logged_when_the_journal_is_finished() {
    let directory = tempfile::tempdir().unwrap();
    let root = Root::open(directory.path()).unwrap();
    let log = directory.path().join(EVENTS_LOG);
    let in_its_place = tempfile::Builder::new()
        .prefix(EVENTS_LOG)
        .rand_bytes(0)
        .tempdir_in(directory.path())
        .unwrap();
    let events = ["7 evict 0123456789abcdef 10", "7 orphan fedcba9876543210"]
        .map(|event| event.parse::<Event>().unwrap());
    let mut journal = Journal::new(&root);
    for event in events {
        journal.append(event);
    }
    in_its_place.close().unwrap();
    assert_eq!(journal.finish(), None);
    let logged = std::fs::read_to_string(&log).unwrap();
    assert_eq!(logged, events.map(|event| format!("{event}\n")).concat());
}

/// A line of each kind.
const LOG: &str = "1700000000 hit 0123456789abcdef\n\
    1700000001 miss 0123456789abcdef 1073741824\n\
    1700000002 evict fedcba9876543210 1073741824 86400 over-budget\n\
    1700000003 sweep max_size=214748364800 low_water=90 removed=1 freed=1073741824 left=0 exit=0\n\
    1700000004 invalidate fedcba9876543210 0 0 damaged\n";

/// The events of a log, and how many lines were skipped.
fn heard(log: &[u8]) -> (Vec<Event>, u64) {
    let mut tally = Tally::new(SystemTime::UNIX_EPOCH);
    let mut events = Vec::new();
    tally.add(log, &mut |event| events.push(*event)).unwrap();
    (events, tally.finish().skipped)
}

proptest! {
    #[test]
    fn an_event_comes_back(time: i64, bytes: u64, age: u64, which in 0_usize..3, known in 0..4) {
        let mut event =
            Event::new(time, EventKind::REMOVALS[which], "0123456789abcdef".parse().unwrap());
        event.bytes = (known > 0).then_some(bytes);
        event.age = (known > 1).then_some(age);
        event.cause = (known > 2).then_some(Cause::MinFree);
        prop_assert_eq!(event.to_string().parse(), Ok(event));
    }

    #[test]
    fn a_sweep_comes_back(time: i64, values: [Option<u64>; 10]) {
        let [removed, freed, left, exit, limits @ ..] = values;
        let mut event = SweepEvent { time, removed, freed, left, exit, ..SweepEvent::default() };
        for (limit, number) in Limit::ALL.into_iter().zip(limits) {
            event.limits.set(limit, number);
        }
        let line = event.to_string();
        let is_empty = values.iter().all(Option::is_none);
        prop_assert_eq!(line.parse(), if is_empty { Err(InvalidEvent) } else { Ok(event) });
        let newer = format!("{line} colour=blue");
        prop_assert_eq!(newer.parse(), Ok(event));
    }

    #[test]
    fn no_log_makes_the_reader_panic(log: Vec<u8>) {
        let mut tally = Tally::new(SystemTime::UNIX_EPOCH);
        let lines = log.split(|&byte| byte == b'\n').count();
        tally.add(&*log, &mut |_| ()).unwrap();
        prop_assert!(tally.finish().skipped <= lines as u64);
    }

    #[test]
    fn what_is_left_of_a_changed_log_is_read_as_it_would_be_written(log in mutated(LOG)) {
        let (events, skipped) = heard(&log);
        let lines = log.split_inclusive(|&byte| byte == b'\n').count();
        prop_assert!(events.len() as u64 + skipped <= lines as u64);
        for event in events {
            prop_assert_eq!(event.to_string().parse(), Ok(event));
        }
    }

    #[test]
    fn garbage_between_events_costs_none_of_them(
        garbage in prop::collection::vec(prop_oneof![
            "[^\n]{0,40}".prop_map(String::into_bytes),
            prop::collection::vec(128..=255_u8, 0..2000),
        ], 5),
    ) {
        let (valid, _) = heard(LOG.as_bytes());
        let lines = LOG.split_inclusive('\n').zip(&garbage);
        let lines = lines.flat_map(|(line, garbage)| [garbage, &b"\n"[..], line.as_bytes()].concat());
        let (events, skipped) = heard(&lines.collect::<Vec<u8>>());
        prop_assert_eq!(events, valid);
        prop_assert_eq!(skipped, 5);
    }
}
