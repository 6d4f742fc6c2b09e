//! What a sweep remembers, on the file systems where it may be believed and on one where it may not, and what it is
//! for: a sweep that costs entries, not segments.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant, SystemTime};

use crate::common::sizes::{self, CHANGES, Field};
use crate::common::{Age, Size, TestCache, key, need};
use crate::tools::{self, Image};

/// What no entry here measures.
const LIE: u64 = 1 << 40;

fn name(number: usize) -> String {
    format!("c{number:02}")
}

/// An entry for each change.
fn entries(cache: TestCache) -> TestCache {
    (0..CHANGES.len()).fold(cache, |cache, number| cache.sealed(&name(number), 12.kib(), 3.days()))
}

fn total(cache: &TestCache) -> u64 {
    let json = cache.run(["--json", "stats"]).success().json();
    json["total"]["bytes"].as_u64().expect("bytes")
}

fn truth(cache: &TestCache) -> u64 {
    tools::entries(&cache.root()).iter().map(|entry| TestCache::usage(entry).0).sum()
}

#[track_caller]
fn every_change_is_seen(cache: &TestCache) {
    for (number, (what, change)) in CHANGES.into_iter().enumerate() {
        let name = name(number);
        let entry = cache.entry_path(&name);
        let lie = truth(cache) - TestCache::usage(&entry).0 + LIE;
        cache.sizes([&*name]).saying(&name, Field::Bytes, LIE).write(&cache.root());
        assert_eq!(total(cache), lie, "remembered before: {what}");
        sizes::let_the_clock_move(&cache.root());
        change(&entry);
        assert_eq!(total(cache), truth(cache), "{what}");
    }
}

#[test]
fn every_change_is_seen_at_once_on_tmpfs() {
    let Some(cache) = TestCache::on_tmpfs("size=16m,mode=755") else { return };
    every_change_is_seen(&entries(cache));
}

fn on(image: impl FnOnce(&TestCache) -> Option<Image>) {
    let cache = TestCache::new();
    let Some(image) = image(&cache) else { return };
    let cache = entries(cache);
    every_change_is_seen(&cache);
    drop(image);
}

#[test]
fn every_change_is_seen_at_once_on_ext4() {
    on(|cache| Image::ext4(cache, 16 << 10, 1000));
}

/// An ext4 with inodes of 128 bytes notes changes to the second.
#[test]
fn every_change_in_another_second_is_seen_where_changes_are_noted_to_the_second() {
    on(|cache| Image::ext4_to_the_second(cache, 16 << 10));
}

#[test]
fn every_change_is_seen_at_once_on_xfs() {
    on(Image::xfs);
}

#[test]
fn every_change_is_seen_at_once_on_btrfs() {
    on(|cache| Image::btrfs(cache, 128 << 10));
}

#[test]
fn every_change_is_seen_at_once_on_overlayfs() {
    let cache = TestCache::new();
    let Some(image) = Image::overlay(&cache) else { return };
    let cache = entries(cache);
    every_change_is_seen(&cache);
    drop(image);
}

#[test]
fn every_change_to_what_a_lower_layer_holds_is_seen_at_once_on_overlayfs() {
    let cache = entries(TestCache::new());
    let Some(image) = Image::overlay(&cache) else { return };
    every_change_is_seen(&cache);
    drop(image);
}

#[test]
fn where_changes_may_go_unnoticed_nothing_is_remembered() {
    let cache = TestCache::new();
    let Some(image) = Image::ramfs(&cache) else { return };
    let cache = cache.sealed("a", 10.kib(), 9.days()).sealed("b", 10.kib(), 8.days());
    let sizes = cache.sizes(["a", "b"]).saying("a", Field::Bytes, LIE);
    sizes.write(&cache.root());
    assert_eq!(total(&cache), 20.kib());
    cache.run(["sweep", "--max-entries", "1"]).success().removed_only(["a"]);
    let text = fs::read_to_string(cache.root().join(".sizes")).unwrap();
    assert_eq!(text, sizes.measured_as(&cache.root().join(".sizes")), "it is left as it was");
    drop(image);
}

/// Calls that a run makes on a cache of `entries` entries of `segments` segments, all remembered.
fn calls(entries: u64, segments: u64, are_pinned_once: bool) -> u64 {
    let names: Vec<String> = (0..entries).map(|number| format!("k{number:04}")).collect();
    let mut cache = TestCache::new();
    for name in &names {
        for segment in 0..segments {
            cache = cache.in_entry(name, &format!("video/seg-{segment}.m4s"), b"x");
        }
        cache = cache.in_entry(name, ".complete", b"").written(name, 3.days()).used(name, 3.days());
        if are_pinned_once {
            cache = cache.file(crate::common::pin_name(name), b"");
        }
    }
    let cache = cache.remembering(names.iter().map(|name| &**name));
    let strace = ["strace", "-f", "-qq", "-o", "trace"];
    let run = cache.command(["--json", "sweep", "--max-size", "1T"]).under(strace).run().success();
    assert_eq!(run.json()["before"]["entries"], entries);
    let trace = fs::read_to_string(cache.base().join("trace")).unwrap();
    // A call that another thread interrupts is written on two lines; and a build for tests asks of each descriptor
    // whether it is open before it closes it.
    let is_call = |line: &&str| !line.contains("resumed>") && !line.contains("F_GETFD");
    trace.lines().filter(is_call).count() as u64
}

#[test]
fn a_sweep_with_nothing_to_do_makes_a_few_calls_an_entry_whatever_its_segments() {
    if !need::tool("strace") {
        return;
    }
    let (few, many) = (20, 220);
    // Three stats; and where a daemon takes locks, four calls to see whether one is held.
    for (segments, are_pinned_once, most) in [(3, false, 3), (60, false, 3), (60, true, 7)] {
        let base = calls(few, segments, are_pinned_once);
        let more = calls(many, segments, are_pinned_once) - base;
        println!("{segments} segments, pin files {are_pinned_once}: {more} for {}", many - few);
        // A handful more for memory and threads.
        let is_few = more >= most * (many - few) && more <= most * (many - few) + 20;
        assert!(is_few, "{segments} segments: {more} calls for {} entries", many - few);
    }
}

/// The rule as it is in life: what changed less than a minute before a scan is not remembered, then it is.
#[test]
fn a_sweep_remembers_what_has_been_quiet_for_a_minute() {
    let cache = TestCache::new().sealed("a", 10.kib(), 9.days()).sealed("b", 10.kib(), 8.days());
    let path = cache.root().join(".sizes");
    let last_change = ["a", "b"].map(|name| {
        let meta = fs::metadata(cache.entry_path(name)).unwrap();
        Duration::new(meta.ctime().try_into().unwrap(), meta.ctime_nsec().try_into().unwrap())
    });
    let last_change = SystemTime::UNIX_EPOCH + *last_change.iter().max().unwrap();
    let began = Instant::now();
    while !path.exists() {
        assert!(began.elapsed() < Duration::from_secs(120), "nothing is remembered");
        cache.run(["sweep", "--max-size", "1T"]).success();
        std::thread::sleep(Duration::from_secs(1));
    }
    assert!(last_change.elapsed().unwrap() >= Duration::from_secs(60));
    // What it says is true, and used.
    let text = fs::read_to_string(&path).unwrap();
    let records =
        text.lines().filter(|line| line.starts_with(&key("a")) || line.starts_with(&key("b")));
    let all = cache.sizes(["a", "b"]).measured_as(&path);
    assert!(
        records.clone().count() > 0 && records.clone().all(|line| all.contains(line)),
        "{text}\n{all}"
    );
    let remembered = records.count();
    let told = cache.run(["-v", "sweep", "--max-size", "1T"]).success().stdout();
    assert!(told.contains(&format!(", remembered {remembered}")), "{told}");
}
