//! Times that no clock shows, numbers at their ends, and many entries.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use filetime::{FileTime, set_symlink_file_times};
use serde_json::Value;

use crate::common::{Age, Size, TestCache, decisions, key};

/// Sets the times of everything in the entry.
fn set_times(cache: &TestCache, name: &str, seconds: i64, nanoseconds: u32) {
    let time = FileTime::from_unix_time(seconds, nanoseconds);
    for inside in walkdir::WalkDir::new(cache.entry_path(name)).contents_first(true) {
        set_symlink_file_times(inside.unwrap().path(), time, time).unwrap();
    }
}

/// From the far past to the far future; not every file system keeps each.
const TIMES: [(&str, i64); 9] = [
    ("a", i64::MIN),
    ("b", -100_000_000_000),
    ("c", -1),
    ("d", 0),
    ("e", 1),
    ("f", 4_294_967_296),
    ("g", 253_402_300_800),
    ("h", 9_000_000_000_000_000_000),
    ("i", i64::MAX),
];

fn odd_caches() -> Vec<TestCache> {
    // Memory keeps any 64 bits, a disk may clamp.
    let caches = [Some(TestCache::new()), TestCache::on_tmpfs("size=4m,mode=755")];
    let odd = |mut cache: TestCache| {
        for (name, seconds) in TIMES {
            cache = cache.sealed(name, 10.kib(), 1.days());
            set_times(&cache, name, seconds, 999_999_999);
        }
        cache = cache.partial("p", 10.kib(), 1.days()).partial("q", 10.kib(), 1.days());
        set_times(&cache, "p", i64::MAX, 0);
        set_times(&cache, "q", i64::MIN, 0);
        cache
    };
    caches.into_iter().flatten().map(odd).collect()
}

#[test]
fn any_time_can_be_shown() {
    for cache in odd_caches() {
        for (args, code) in [
            (&["stats", "--entries", "--histogram"][..], 0),
            (&["--json", "stats", "--entries"], 0),
            (&["stats", "--prometheus"], 0),
            (&["--json", "-v", "sweep", "-n", "--older-than", "0s"], 0),
            // Of the future: recent, and no limit evicts it.
            (&["-v", "sweep", "-n", "--max-entries", "0", "--keep-recent", "1s"], 3),
            (&["-v", "gc-orphans", "-n"], 0),
            // The segments are holes in files.
            (&["verify", "--deep"], 3),
        ] {
            let run = cache.run(args).untouched().code(code);
            assert!(!run.stderr().contains("panicked"), "{run}");
            if args.contains(&"--json") {
                run.json();
            }
        }
    }
}

#[test]
fn eviction_follows_the_recorded_time_into_past_and_future() {
    for cache in odd_caches() {
        let run = cache.run([
            "--json",
            "sweep",
            "--max-size",
            "40KiB",
            "--min-budget",
            "0",
            "--min-age",
            "0s",
        ]);
        let run = run.success();
        let removed: Vec<String> =
            decisions(&run.json(), "removed").into_iter().map(|(name, _)| name).collect();
        assert_eq!(removed.len(), 7, "{run}");
        // q is as old as a; where a disk clamps, they tie and go by key.
        let mut order: Vec<&str> = removed.iter().map(String::as_str).collect();
        order.retain(|name| *name != "q" && *name != "p");
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(order, sorted, "{run}");
        assert!(!cache.has("a") && !cache.has("d") && cache.has("i"), "{run}");
    }
}

#[test]
fn a_partial_entry_of_the_future_is_being_written() {
    let cache = TestCache::new().partial("p", 10.kib(), 1.days());
    set_times(&cache, "p", 4_294_967_296, 0);
    cache.run(["gc-orphans"]).success().kept(["p"]).complains_of("future");
    cache.run(["sweep", "--older-than", "1s"]).success().kept(["p"]);
    cache.run(["gc-orphans", "--min-age", "0s"]).success().removed(["p"]);
}

#[test]
fn equal_times_go_by_key() {
    let names = ["d", "b", "e", "a", "c"];
    let cache =
        names.iter().fold(TestCache::new(), |cache, name| cache.sealed(name, 10.kib(), 3.days()));
    let run = cache.run(["--json", "sweep", "--max-size", "20KiB", "--min-budget", "0"]).success();
    let removed: Vec<String> =
        decisions(&run.json(), "removed").into_iter().map(|(name, _)| name).collect();
    assert_eq!(removed, ["a", "b", "c"]);
}

#[test]
fn numbers_at_their_ends() {
    const MOST: &str = "18446744073709551615";
    const LONGEST: &str = "18446744073709551615s";
    let cache = || TestCache::new().sealed("a", 10.kib(), 5.days()).partial("p", 1.kib(), 5.days());
    let (all, none): (&[&str], &[&str]) = (&["a", "p"], &[]);
    for (args, removed, code) in [
        (&["sweep", "--max-size", "0", "--min-budget", "0"][..], all, 0),
        (&["sweep", "--max-size", "0B"], none, 0),
        (&["sweep", "--max-size", MOST], none, 0),
        (&["sweep", "--max-size", "0B", "--min-budget", MOST], none, 0),
        (&["sweep", "--max-size", MOST, "--low-water", "1"], none, 0),
        (&["sweep", "--max-entries", MOST], none, 0),
        (&["sweep", "--max-entries", "0"], all, 0),
        (&["sweep", "--older-than", "0s"], all, 0),
        (&["sweep", "--older-than", LONGEST], none, 0),
        (&["sweep", "--older-than", "0s", "--keep-recent", LONGEST], none, 0),
        (&["sweep", "--older-than", "0s", "--min-age", LONGEST], &["a"], 0),
        (&["sweep", "--min-free", "0"], none, 0),
        (&["sweep", "--min-free", "0%"], none, 0),
        (&["sweep", "--min-free", MOST], none, 3),
        (&["sweep", "--min-free", MOST, "--min-budget", "0"], all, 3),
        (&["sweep", "--min-free", "100%", "--min-budget", "0"], all, 3),
        (&["gc-orphans", "--min-age", "0s"], &["p"], 0),
        (&["gc-orphans", "--min-age", LONGEST], none, 0),
        (&["gc-orphans", "--wait", LONGEST], &["p"], 0),
    ] {
        let cache = cache();
        cache.run(args).removed_only(removed.iter().copied()).code(code);
    }
}

/// Makes `count` small sealed entries, quickly.
fn many(root: &Path, count: u32) -> Vec<PathBuf> {
    let entry = |n: u32| root.join(format!("{n:016x}"));
    for n in 0..count {
        let entry = entry(n);
        fs::create_dir(&entry).unwrap();
        fs::File::create(entry.join(".complete")).unwrap();
        let time = FileTime::from_unix_time(1_000_000_000 + i64::from(n), 0);
        filetime::set_file_mtime(&entry, time).unwrap();
    }
    (0..count).map(entry).collect()
}

#[test]
fn a_hundred_thousand_entries_are_counted_and_swept() {
    /// A loaded machine needs a minute; a quadratic loop needs hours.
    const LIMIT: Duration = Duration::from_secs(300);
    const COUNT: u32 = 100_000;
    const GONE: usize = 10_000;
    let Some(cache) = TestCache::on_tmpfs("size=1g,nr_inodes=0,mode=755") else { return };
    let entries = many(&cache.root(), COUNT);
    // Not through TestCache::run, which would look at every file before and after.
    let timed = |args: &[&str]| -> Value {
        let begun = Instant::now();
        let output = cache.command(args).process().output().unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        println!("{args:?}: {:?}", begun.elapsed());
        assert!(begun.elapsed() < LIMIT, "{args:?} took {:?}", begun.elapsed());
        serde_json::from_slice(&output.stdout).unwrap()
    };
    assert_eq!(timed(&["--json", "stats"])["total"]["entries"], COUNT);
    let keep = (entries.len() - GONE).to_string();
    assert_eq!(timed(&["--json", "sweep", "--max-entries", &keep])["removed"], GONE);
    assert!(!entries[GONE - 1].exists() && entries[GONE].exists());
    assert_eq!(timed(&["--json", "invalidate", &key("none")])["removed"], 0);
    assert_eq!(timed(&["--json", "sweep", "-n", "--older-than", "0s"])["removed"], 90_000);
}
