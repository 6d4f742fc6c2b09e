//! The screens of six states, as an operator sees them at 80 columns. `HLS_CACHE_RENEW_DOCS=1 cargo test screens`
//! writes them anew.

use std::fs;
use std::path::Path;

use crate::common::{Age, Size, TestCache, key};

/// Lines of a terminal, but for the command and the next prompt.
const LINES: usize = 22;

/// A cache on a disk of its own, so that the screen says the same of it on every machine.
fn on_disk(size: &str) -> Option<TestCache> {
    TestCache::on_tmpfs(&format!("size={size},mode=755"))
}

fn films(cache: TestCache) -> TestCache {
    let cache = cache
        .sealed("a", 900.mib(), 40.days())
        .sealed("b", 1200.mib(), 9.days())
        .sealed("c", 700.mib(), 2.days())
        .sealed("d", 800.mib(), 7.hours());
    let log = cache.event("hit", "d", 7.hours()).repeat(9)
        + &cache.event("miss", "d", 8.hours())
        + &cache.event("hit", "c", 2.days()).repeat(20)
        + &cache.event("miss", "c", 3.days()).repeat(4);
    cache.events(&log)
}

#[track_caller]
fn assert_screen(name: &str, cache: &TestCache, args: &[&str]) {
    let run = cache.command([&["stats"], args].concat()).run().success();
    let root = cache.root();
    let mut shown = run.stdout().replace(root.to_str().expect("UTF-8"), "/srv/hls");
    while let Some(begin) = shown.find("cat[") {
        // The number of a process is the kernel's choice.
        let end = begin + shown[begin..].find(']').expect("a number") + 1;
        shown.replace_range(begin..end, "player:4711");
    }
    let shown = shown.replace("player:4711", "player[4711]");
    let shown = format!("$ hls-cache --root /srv/hls stats {}\n{shown}", args.join(" "))
        .replace(" \n", "\n");
    assert!(shown.lines().count() <= LINES + 1, "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/people/screens/{name}.txt"));
    if std::env::var_os("HLS_CACHE_RENEW_DOCS").is_some() {
        fs::write(file, shown).expect("a screen");
    } else {
        let known = fs::read_to_string(&file).expect("a screen");
        assert_eq!(
            shown,
            known,
            "to renew {}: HLS_CACHE_RENEW_DOCS=1 cargo test screens",
            file.display()
        );
    }
}

#[test]
fn healthy() {
    let Some(cache) = on_disk("100m") else { return };
    let cache = films(cache).pinned("d");
    assert_screen("healthy", &cache, &["--max-size", "4G"]);
}

#[test]
fn over_budget() {
    let Some(cache) = on_disk("100m") else { return };
    let cache = films(cache).pinned("d").partial("p", 30.mib(), 3.days());
    assert_screen("over-budget", &cache, &["--max-size", "2G"]);
}

#[test]
fn disk_full() {
    let Some(cache) = on_disk("8m") else { return };
    let cache = films(cache)
        .in_entry("a", "video/block", &vec![b'x'; 2 << 20])
        .written("a", 40.days())
        .used("a", 40.days());
    let cache = cache.file("somebody/else", &vec![b'x'; 6_150_000]);
    assert_screen("disk-full", &cache, &[]);
}

#[test]
fn all_in_use() {
    let Some(cache) = on_disk("100m") else { return };
    let cache = films(cache).pinned("a").pinned("b").pinned("c").pinned("d");
    assert_screen("all-in-use", &cache, &["--max-size", "2G"]);
}

#[test]
fn wrong_root() {
    let Some(cache) = on_disk("100m") else { return };
    let cache =
        cache.file(format!("cache/{}/.complete", key("a")), b"").file("Films/film.mkv", b"film");
    assert_screen("wrong-root", &cache, &[]);
}

#[test]
fn empty() {
    let Some(cache) = on_disk("100m") else { return };
    assert_screen("empty", &cache, &[]);
}
