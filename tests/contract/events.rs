//! `.events.log`: what the removing commands write, and what they survive.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use serde_json::json;

use crate::common::{Age, Size, TestCache, key, pin_name};

fn caches() -> TestCache {
    TestCache::new()
        .sealed("a", 10.kib(), 5.days())
        .partial("p", 5.kib(), 5.days())
        .sealed("s", 7.kib(), 1.days())
        .without("s", "video/init.mp4")
}

/// Each line less its time; an age in whole hours, since a test takes some seconds.
fn events(cache: &TestCache) -> Vec<String> {
    cache
        .logged()
        .into_iter()
        .map(|mut words| {
            assert!(words[0].parse::<u64>().is_ok(), "no time in {words:?}");
            if let Some(age) = words.get_mut(4).filter(|word| !word.contains('=')) {
                *age = format!("{}h", age.parse::<u64>().expect("an age") / 3600);
            }
            words[1..].join(" ")
        })
        .collect()
}

#[test]
fn each_removal_is_one_line_after_what_was_there() {
    let cache = caches();
    let hit = cache.event("hit", "a", 1.hours());
    let cache = cache.events(&hit);
    let broken = TestCache::usage(&cache.entry_path("s")).0;
    cache.run(["gc-orphans"]).success();
    cache.run(["verify", "--fix"]).code(3);
    cache.run(["sweep", "--max-size", "0", "--min-budget", "0"]).success();
    let expected = [
        format!("hit {}", key("a")),
        format!("orphan {} {} 120h orphan", key("p"), 5.kib()),
        format!("invalidate {} {broken} 24h damaged", key("s")),
        format!("evict {} {} 120h over-budget", key("a"), 10.kib()),
        format!("sweep max_size=0 removed=1 freed={} left=0 exit=0", 10.kib()),
    ];
    assert_eq!(events(&cache), expected);
}

#[test]
fn a_removal_says_why_and_how_long_after_the_last_use() {
    let with = |options: &[&str]| {
        let cache = TestCache::new().sealed("a", 10.kib(), 30.hours());
        cache.run([&["sweep", "--min-budget", "0"], options].concat());
        events(&cache).swap_remove(0)
    };
    let evicted = |reason| format!("evict {} {} 30h {reason}", key("a"), 10.kib());
    assert_eq!(with(&["--max-size", "1B"]), evicted("over-budget"));
    assert_eq!(with(&["--older-than", "1h"]), evicted("older-than"));
    assert_eq!(with(&["--max-entries", "0"]), evicted("max-entries"));
    assert_eq!(with(&["--min-free", "100%"]), evicted("min-free"));

    let cache = TestCache::new().sealed("a", 10.kib(), 30.hours()).in_future("a", 9.days());
    cache.run(["invalidate", "--all"]).success();
    let now = format!("invalidate {} {} 0h invalidated", key("a"), 10.kib());
    assert_eq!(events(&cache), [now], "never negative");
}

#[test]
fn a_finished_sweep_is_a_line_with_its_limits_and_how_it_ended() {
    let four = || {
        ["a", "b", "c", "d"]
            .into_iter()
            .zip(2..)
            .fold(TestCache::new(), |cache, (name, age)| cache.sealed(name, 10.kib(), age.days()))
    };
    let ended = |cache: &TestCache, options: &[&str]| {
        let run = cache.run([&["sweep", "--min-budget", "0"], options].concat());
        let line = events(cache).pop().expect("a line");
        let code = run.output.status.code().expect("an exit status");
        assert!(line.ends_with(&format!(" exit={code}")), "{line}\n{run}");
        line.rsplit_once(" exit=").expect("an exit").0.to_owned()
    };
    let all = ["--older-than", "10d", "--max-entries", "9", "--max-size", "30KiB", "--min-free"];
    let all = [&all[..], &["1K", "--low-water", "75%", "--keep-recent", "1h"]].concat();
    assert_eq!(
        ended(&four(), &all),
        "sweep max_size=30720 min_free=1024 max_entries=9 older_than=864000 keep_recent=3600 \
         low_water=75 removed=2 freed=20480 left=20480"
    );
    // A limit that is not met, and something that could not be read.
    let unmet = ended(&four().pinned("a"), &["--max-entries", "0"]);
    assert_eq!(unmet, "sweep max_entries=0 removed=3 freed=30720 left=10240");
    let failed = ended(&four().dir(pin_name("a")), &["--older-than", "1d"]);
    assert_eq!(failed, "sweep older_than=86400 removed=3 freed=30720 left=10240");
    // The floor that a budget was raised to, and nothing to do.
    let cache = four().env("HLS_CACHE_MAX_SIZE", "1M").env("HLS_CACHE_KEEP_RECENT", "90m");
    cache.run(["sweep"]).success();
    let raised = "sweep max_size=1073741824 keep_recent=5400 removed=0 freed=0 left=40960 exit=0";
    assert_eq!(events(&cache), [raised]);
}

#[test]
fn a_sweep_that_did_not_happen_is_no_line() {
    let cache = caches();
    cache.run(["sweep", "--max-entries", "0", "-n"]).untouched();
    cache.run(["sweep"]).code(2).untouched();
    let other = cache.other_maintainer();
    cache.run(["sweep", "--max-entries", "0"]).code(4);
    drop(other);
    cache.run(["gc-orphans"]).success();
    cache.run(["invalidate", "--all"]).success();
    cache.run(["verify", "--fix"]).success();
    assert!(!events(&cache).iter().any(|line| line.starts_with("sweep")), "{:?}", events(&cache));
}

#[test]
fn invalidate_is_logged_and_what_is_not_removed_is_not() {
    let cache = caches().pinned("p");
    cache.run(["invalidate", &key("p"), &key("s"), &key("none")]).code(3);
    let logged = events(&cache);
    assert_eq!(logged.len(), 1);
    assert!(logged[0].starts_with(&format!("invalidate {} ", key("s"))), "{logged:?}");
}

#[test]
fn a_dry_run_logs_nothing() {
    let cache = caches();
    cache.run(["sweep", "--max-size", "0", "--min-budget", "0", "-n"]).untouched();
    cache.run(["gc-orphans", "-n"]).success().untouched();
    cache.run(["invalidate", "--all", "-n"]).untouched();
    assert!(cache.logged().is_empty());
}

#[test]
fn the_log_and_lockfiles_take_the_root_s_mode_whatever_the_umask() {
    for mode in [0o755, 0o775, 0o700, 0o777] {
        let cache = caches().mode("", mode);
        cache
            .command(["sweep", "--max-size", "0", "--min-budget", "0"])
            .under(["sh", "-c", "umask 077; exec \"$0\" \"$@\""])
            .run()
            .success();
        for file in [".events.log", ".maintenance.lock", &format!(".{}.pin", key("a"))] {
            let made = fs::metadata(cache.root().join(file)).unwrap().permissions().mode();
            assert_eq!(made & 0o7777, mode & 0o666, "{file} in a root of mode {mode:o}");
        }
    }
}

#[test]
fn a_log_that_cannot_be_appended_to_fails_no_removal_and_is_not_followed() {
    let sweep = ["sweep", "--max-size", "0", "--min-budget", "0"];
    caches().dir(".events.log").run(sweep).success().removed_only(["a", "p", "s"]);
    let cache = caches().outside("far").link(".events.log", "../far/precious");
    cache.run(sweep).success().removed_only(["a", "p", "s"]);
}

#[test]
fn a_log_that_cannot_be_appended_to_is_warned_of_once() {
    // `s` has no init either.
    let damaged = || caches().dir(".events.log").without("a", "video/init.mp4");
    let sweep = ["sweep", "--max-entries", "0"];
    for command in [&["invalidate", "--all"][..], &["verify", "--fix"], &sweep] {
        let json = damaged().run([&["--json"], command].concat()).json();
        let warnings = json["warnings"].as_array().unwrap();
        let of_log = |text: &&serde_json::Value| text.as_str().unwrap().contains(".events.log");
        assert_eq!(warnings.iter().filter(of_log).count(), 1, "{command:?}: {json}");
    }
}

/// The most that the log may hold before a sweep starts a new one.
const MOST: u64 = 64 << 20;

/// A log of three hits and a miss, grown to `bytes` without taking as many on the disk.
fn large_log(bytes: u64) -> TestCache {
    let cache = caches();
    let log = cache.event("hit", "a", 2.hours()).repeat(3) + &cache.event("miss", "a", 1.hours());
    let cache = cache.events(&log);
    let file = fs::File::options().write(true).open(cache.root().join(LOG)).unwrap();
    file.set_len(bytes).unwrap();
    cache
}

const LOG: &str = ".events.log";
const OLD: &str = ".events.log.1";
const SWEEP: [&str; 3] = ["sweep", "--max-entries", "2"];

#[test]
fn a_sweep_starts_a_new_log_when_the_old_one_is_large_and_both_are_read() {
    let cache = large_log(MOST + 1).file(OLD, b"1 hit 6100000000000000\n");
    let inode = |name: &str| fs::metadata(cache.root().join(name)).unwrap().ino();
    let large = inode(LOG);
    cache.run(SWEEP).success().removed_only(["a"]);
    assert_eq!(inode(OLD), large, "renamed, and the one before is gone");
    assert_eq!(cache.logged().len(), 2, "the eviction and the sweep");
    let later = cache.event("hit", "s", 1.minutes());
    let mut log = fs::File::options().append(true).open(cache.root().join(LOG)).unwrap();
    log.write_all(later.as_bytes()).unwrap();
    let json = cache.run(["--json", "stats"]).success().untouched().json();
    assert_eq!((&json["hits"], &json["misses"]), (&json!(4), &json!(1)));
    assert_eq!(json["events_skipped"], 1, "the filling");
    assert_eq!(json["foreign"]["count"], 0);
    // Nobody starts the next before this one is large.
    cache.run(SWEEP).success();
    assert_eq!(inode(OLD), large);
}

#[test]
fn a_log_is_left_where_it_is_unless_it_is_large_and_a_sweep_may_move_it() {
    let stays = |cache: TestCache, args: &[&str]| {
        cache.run(args);
        assert!(fs::metadata(cache.root().join(LOG)).unwrap().len() >= MOST, "{args:?}");
        assert!(!cache.root().join(OLD).is_file(), "{args:?}");
        cache
    };
    stays(large_log(MOST), &SWEEP);
    stays(large_log(MOST + 1), &["sweep", "-n", "--max-entries", "2"]);
    for command in [&["gc-orphans"][..], &["invalidate", "--all"], &["verify", "--fix"], &["stats"]]
    {
        stays(large_log(MOST + 1), command);
    }
    // Nobody else may be in the middle of the same.
    let unlocked = large_log(MOST + 1).dir(".maintenance.lock");
    assert!(!stays(unlocked, &SWEEP).has("a"));
    // Another name for it, and something in the place of the old one, are not ours.
    let linked = large_log(MOST + 1);
    fs::hard_link(linked.root().join(LOG), linked.root().join("other")).unwrap();
    stays(linked, &SWEEP);
    let foreign = stays(large_log(MOST + 1).dir(OLD), &SWEEP);
    assert!(!foreign.has("a") && foreign.root().join(OLD).join("content").exists());
    let run = foreign.run(SWEEP).success().complains_of(OLD);
    assert_eq!(run.stderr().lines().count(), 1, "{run}");
    let link = stays(large_log(MOST + 1).link(OLD, "nowhere"), &SWEEP);
    assert!(link.root().join(OLD).is_symlink());
}

#[test]
fn a_log_that_leads_elsewhere_is_not_moved() {
    let cache = caches().outside("far").link(LOG, "../far/precious");
    let far = cache.outside_path("far").join("precious");
    fs::File::options().write(true).open(&far).unwrap().set_len(MOST + 1).unwrap();
    cache.run(SWEEP).success().removed_only(["a"]);
    assert!(cache.root().join(LOG).is_symlink() && !cache.root().join(OLD).is_symlink());
    assert_eq!(fs::metadata(&far).unwrap().len(), MOST + 1);
}
