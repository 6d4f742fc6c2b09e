//! `.events.log`: what the removing commands write, and what they survive.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::common::{Age, Size, TestCache, key};

fn caches() -> TestCache {
    TestCache::new()
        .sealed("a", 10.kib(), 5.days())
        .partial("p", 5.kib(), 5.days())
        .sealed("s", 7.kib(), 1.days())
        .without("s", "video/init.mp4")
}

/// `EVENT KEY BYTES` of each line.
fn events(cache: &TestCache) -> Vec<String> {
    cache
        .logged()
        .iter()
        .map(|words| {
            assert!(words[0].parse::<u64>().is_ok(), "no time in {words:?}");
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
        format!("orphan {} {}", key("p"), 5.kib()),
        format!("invalidate {} {broken}", key("s")),
        format!("evict {} {}", key("a"), 10.kib()),
    ];
    assert_eq!(events(&cache), expected);
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
    for command in [&["invalidate", "--all"][..], &["verify", "--fix"]] {
        let json = damaged().run([&["--json"], command].concat()).json();
        let warnings = json["warnings"].as_array().unwrap();
        let of_log = |text: &&serde_json::Value| text.as_str().unwrap().contains(".events.log");
        assert_eq!(warnings.iter().filter(of_log).count(), 1, "{command:?}: {json}");
    }
}
