//! The cost of single parts: `cargo bench --bench parts`.

#![allow(missing_docs, reason = "a program, not a library")]

use std::time::{Duration, SystemTime};

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use hls_cache::cache::events::{Event, EventKind, Summary};
use hls_cache::cache::{CacheView, Entry, Memory, PinState, State};
use hls_cache::history::{Calendar, Recorder};
use hls_cache::key::{Key, KeySuffix, absolute};
use hls_cache::plan::{Fate, Plan, Policy, Step, Sweep};
use hls_cache::root::Space;
use hls_cache::{Root, layout};
use jiff::tz::TimeZone;

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fn main() {
    divan::main();
}

fn source(number: u64) -> Vec<u8> {
    format!("/srv/media/films/Some Film {number}/Some.Film.{number}.1080p.BluRay.mkv").into_bytes()
}

fn key(number: u64) -> Key {
    KeySuffix::new(b"1080p", 0, None).key(&source(number))
}

fn entry(number: u64) -> Entry {
    Entry {
        key: key(number),
        state: State::Sealed,
        files: 900,
        bytes: 1 << 30,
        allocated_bytes: 1 << 30,
        last_used: NOW - Duration::from_secs(number * 7919 % 1_000_003),
        last_written: NOW - Duration::from_secs(2_000_000),
        identity: (1, number),
        pin: PinState::Free,
        open_in: Vec::new(),
        last_read: None,
        is_remembered: false,
        has_writer_lockfile: true,
        is_kept: false,
        goes_first: false,
    }
}

/// Evicts half of the entries.
#[divan::bench(args = [1_000, 100_000])]
fn plan(bencher: Bencher<'_, '_>, count: u64) {
    let mut view = CacheView::of((0..count).map(entry).collect());
    view.entries.sort_unstable_by_key(|entry| entry.key);
    let mut half = Sweep::default();
    half.max_size = Some((count / 2) << 30);
    let policy = Policy::Sweep(half);
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        let mut plan = Plan::new(&view, &policy, NOW, Space::default());
        while let Some(Step::Remove(candidate)) = plan.next_step() {
            let fate = Fate::Removed(candidate.cause());
            candidate.settle(fate);
        }
        plan.left()
    });
}

#[divan::bench]
fn hash_key(bencher: Bencher<'_, '_>) {
    let (suffix, source) = (KeySuffix::new(b"1080p", 0, None), source(1));
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| suffix.key(black_box(&source)));
}

#[divan::bench]
fn write_key(bencher: Bencher<'_, '_>) {
    let key = key(1);
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| black_box(key).to_hex());
}

#[divan::bench(args = ["/srv/media/films/Some Film/Some.Film.mkv", "/srv/media/./films//x/../Some Film/"])]
fn make_absolute(bencher: Bencher<'_, '_>, path: &str) {
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| {
        let path = absolute(black_box(path.as_bytes()), || Ok("/".into()));
        path.map_or(0, |path| path.len())
    });
}

#[divan::bench]
fn parse_event(bencher: Bencher<'_, '_>) {
    let line = "1700000000 evict 9cd7e7a0505d91ac 1234567890";
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| black_box(line).parse::<Event>());
}

#[divan::bench(args = [100_000])]
fn read_event_log(bencher: Bencher<'_, '_>, lines: u32) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let log = "1700000000 hit 9cd7e7a0505d91ac\n".repeat(lines as usize);
    std::fs::write(dir.path().join(layout::EVENTS_LOG), log).expect("an event log");
    let root = Root::open(dir.path()).expect("a cache");
    bencher.counter(ItemsCount::new(lines)).bench_local(|| Summary::read(&root, NOW));
}

/// A million requests of 100,000 keys, from the event to the advice: what `stats --history` adds to reading the log.
#[divan::bench(args = [1_000_000])]
fn history(bencher: Bencher<'_, '_>, requests: u32) {
    let mut dice = 1_u64;
    let request = |time| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let number = (dice >> 33) % (dice % 100_000 + 1);
        let kind = if number.is_multiple_of(3) { EventKind::Miss } else { EventKind::Hit };
        Event { bytes: Some((1 << 30) + number), ..Event::new(i64::from(time), kind, key(number)) }
    };
    let events: Vec<Event> = (0..requests).map(request).collect();
    bencher.counter(ItemsCount::new(requests)).bench_local(|| {
        let mut recorder = Recorder::new(Calendar::ending(NOW, &TimeZone::UTC));
        for event in &events {
            recorder.record(event);
        }
        recorder.finish(&[], 20 << 40)
    });
}

/// Ten entries of a hundred segments, warm.
#[divan::bench]
fn scan(bencher: Bencher<'_, '_>) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for number in 0..10 {
        let entry = dir.path().join(key(number).to_string());
        std::fs::create_dir_all(entry.join(layout::VIDEO)).expect("an entry");
        std::fs::write(entry.join(layout::COMPLETE), "").expect("a marker");
        for segment in 0..100 {
            let path = entry.join(layout::VIDEO).join(layout::segment(segment));
            std::fs::write(path, "x").expect("a segment");
        }
    }
    let root = Root::open(dir.path()).expect("a cache");
    bencher
        .counter(ItemsCount::new(1_010_u32))
        .bench_local(|| CacheView::scan(&root, &Memory::default(), NOW, &()));
}
