//! Logs whose history is known, because a simulated daemon with a cache of a known size wrote them.

use std::time::SystemTime;

use jiff::tz::TimeZone;

use super::*;
use crate::cache::{PinState, State};
use crate::key::Key;

/// The key that a test calls `name`, a hexadecimal number.
pub(super) fn key(name: &str) -> Key {
    format!("{name:0>16}").parse().unwrap()
}

/// The events of a log in which keys are called as [`key`] has it.
pub(super) fn events(log: &str) -> Vec<Event> {
    let event = |line: &str| {
        let mut words: Vec<String> = line.split(' ').map(String::from).collect();
        words[2] = key(&words[2]).to_string();
        words.join(" ").parse().unwrap()
    };
    log.lines().map(event).collect()
}

pub(super) fn entry(name: &str, bytes: u64) -> Entry {
    Entry {
        key: key(name),
        state: State::Sealed,
        files: 1,
        bytes,
        allocated_bytes: bytes,
        last_used: SystemTime::UNIX_EPOCH,
        last_written: SystemTime::UNIX_EPOCH,
        last_read: None,
        is_remembered: false,
        identity: (1, 1),
        pin: PinState::Free,
        open_in: Vec::new(),
        has_writer_lockfile: true,
        is_kept: false,
        goes_first: false,
    }
}

fn history(log: &[Event], entries: &[Entry], budget: u64) -> History {
    let calendar = Calendar::ending(SystemTime::UNIX_EPOCH, &TimeZone::UTC);
    let mut recorder = Recorder::new(calendar);
    for event in log {
        recorder.record(event);
    }
    recorder.finish(entries, budget)
}

/// A daemon with an LRU cache of `capacity` bytes, in which every entry has one byte, and its log.
struct Daemon {
    capacity: usize,
    /// The least recently used first.
    kept: Vec<u64>,
    log: Vec<Event>,
    dice: u64,
    new: u64,
}

impl Daemon {
    fn new(capacity: usize) -> Self {
        Self {
            capacity,
            kept: Vec::new(),
            log: Vec::new(),
            dice: 0x9e37_79b9_7f4a_7c15,
            new: 1 << 32,
        }
    }

    /// From 0 to `sides` - 1 (xorshift).
    fn throw(&mut self, sides: u64) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice >> 11) % sides
    }

    fn play(&mut self, film: u64) {
        let time = i64::try_from(self.log.len()).unwrap();
        let mut log = |kind, film: u64| {
            let key = key(&format!("{film:x}"));
            self.log.push(Event { bytes: Some(1), ..Event::new(time, kind, key) });
        };
        let found = self.kept.iter().position(|&kept| kept == film);
        log(if found.is_some() { EventKind::Hit } else { EventKind::Miss }, film);
        found.map(|found| self.kept.remove(found));
        self.kept.push(film);
        if self.kept.len() > self.capacity {
            log(EventKind::Evict, self.kept.remove(0));
        }
    }

    /// A film that nobody played before, nor will again.
    fn play_once(&mut self) {
        self.new += 1;
        self.play(self.new);
    }

    /// One of `favourites` films nine times in ten, and one that is played once the tenth time.
    fn play_favourites(mut self, plays: u64, favourites: u64) -> Self {
        for _ in 0..plays {
            if self.throw(10) == 0 {
                self.play_once();
            } else {
                let film = self.throw(favourites);
                self.play(film);
            }
        }
        self
    }

    /// As a log that began only now.
    fn forget_the_log(mut self) -> Self {
        self.log.clear();
        self
    }

    fn advice(&self, budget: u64) -> Advice {
        history(&self.log, &[], budget).advice
    }
}

#[test]
fn a_cache_that_is_too_small_is_to_grow_to_what_is_played_again_and_no_further() {
    let daemon = Daemon::new(100).play_favourites(20_000, 150);
    let Advice::Larger { max_size, gained, beyond } = daemon.advice(100) else {
        panic!("{:?}", daemon.advice(100));
    };
    // 150 favourites, and what is played once between two plays of one.
    assert!((150..=260).contains(&max_size), "{max_size}");
    assert!((25..=45).contains(&gained.percent()), "{gained:?}");
    assert!(beyond.is_some_and(|beyond| beyond >= max_size && beyond <= 330), "{beyond:?}");
}

#[test]
fn a_cache_that_still_gains_at_the_largest_size_has_no_end_beyond_which_nothing_is_gained() {
    let daemon = Daemon::new(50).play_favourites(20_000, 400);
    let Advice::Larger { max_size, beyond, .. } = daemon.advice(50) else {
        panic!("{:?}", daemon.advice(50));
    };
    assert_eq!((max_size > 150, beyond), (true, None));
}

#[test]
fn a_cache_that_is_large_enough_is_to_stay() {
    let daemon = Daemon::new(330).play_favourites(20_000, 150);
    assert_eq!(daemon.advice(330), Advice::Enough { up_to: 1320, nothing_helps: false });
}

#[test]
fn a_cache_that_is_far_too_large_is_to_shrink_and_keep_its_hits() {
    let daemon = Daemon::new(1600).play_favourites(40_000, 150);
    let Advice::Smaller { max_size } = daemon.advice(1600) else {
        panic!("{:?}", daemon.advice(1600));
    };
    assert!((220..=410).contains(&max_size), "{max_size}");
    let hits = |size| history(&daemon.log, &[], size).what_if[PRESENT].requests.hits;
    assert!(hits(1600) - hits(max_size) < 200, "half a percent of 40000");
}

#[test]
fn no_size_helps_a_scan() {
    let mut daemon = Daemon::new(100);
    (0..5000).for_each(|_| daemon.play_once());
    assert_eq!(daemon.advice(100), Advice::Enough { up_to: 400, nothing_helps: true });
}

#[test]
fn too_little_gives_no_advice() {
    assert_eq!(Daemon::new(10).advice(10), Advice::Unknown(Unknown::NoRequests));
    let few = Daemon::new(100).play_favourites(MIN_REQUESTS - 1, 150);
    let requests = MIN_REQUESTS - 1;
    assert_eq!(few.advice(100), Advice::Unknown(Unknown::TooFewRequests { requests }));
    let mut looped = Daemon::new(100);
    (0..5000).for_each(|n| looped.play(n % 150));
    // Only a cache that holds all of them has a hit.
    assert_eq!(looped.advice(100), Advice::Unknown(Unknown::ShortLog { distinct: 150 }));
    assert_eq!(looped.advice(0), Advice::Unknown(Unknown::NoBudget));
}

#[test]
fn a_cold_start_gives_no_advice() {
    // A new cache, which has never been full: log and replay agree.
    let new = Daemon::new(1000).play_favourites(3000, 150);
    let advice = new.advice(1000);
    assert!(
        matches!(advice, Advice::Unknown(Unknown::NeverFull { budget: 1000, .. })),
        "{advice:?}"
    );
    // An old cache with a new log: the replay misses what the cache had.
    let old = Daemon::new(200).play_favourites(5000, 250).forget_the_log();
    let old = old.play_favourites(1000, 250);
    let advice = old.advice(200);
    assert!(matches!(advice, Advice::Unknown(Unknown::Differs { .. })), "{advice:?}");
    // The same log, when it has become long.
    let old = old.play_favourites(20_000, 250);
    assert_eq!(old.advice(200).code(), "larger");
}

#[test]
fn a_log_of_another_size_gives_no_advice() {
    let daemon = Daemon::new(50).play_favourites(20_000, 150);
    let advice = daemon.advice(200);
    assert!(matches!(advice, Advice::Unknown(Unknown::Differs { .. })), "{advice:?}");
}

#[test]
fn misses_that_nobody_logs_give_no_advice() {
    let mut daemon = Daemon::new(100).play_favourites(20_000, 150);
    daemon.log.retain(|event| event.kind != EventKind::Miss);
    assert_eq!(daemon.advice(100), Advice::Unknown(Unknown::NoMisses));
}

#[test]
fn sizes_that_nobody_knows_give_no_advice_and_those_of_the_entries_do() {
    let mut daemon = Daemon::new(100).play_favourites(20_000, 150);
    daemon.log.retain(|event| event.kind != EventKind::Evict);
    daemon.log.iter_mut().for_each(|event| event.bytes = None);
    let advice = daemon.advice(100);
    assert!(matches!(advice, Advice::Unknown(Unknown::GuessedSizes { .. })), "{advice:?}");
    let entries: Vec<Entry> = (0..150).map(|film| entry(&format!("{film:x}"), 1)).collect();
    let history = history(&daemon.log, &entries, 100);
    assert_eq!(history.advice.code(), "larger");
    assert!(history.guessed_sizes > 1500, "what was played once: {}", history.guessed_sizes);
}

#[test]
fn the_replay_of_the_present_size_is_what_the_daemon_logged_from_its_start() {
    let daemon = Daemon::new(100).play_favourites(5000, 150);
    let history = history(&daemon.log, &[], 100);
    assert_eq!(history.what_if[PRESENT].requests, history.logged);
    assert_eq!(history.what_if.len(), SIZES);
    let hit_age = history.hit_age.unwrap();
    assert!(hit_age.median > 0 && hit_age.p90 > hit_age.median, "{hit_age:?}");
}
