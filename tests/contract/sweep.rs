//! `sweep`: what is evicted, in which order, down to which line, and what is spared.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{Age, Run, Size, TestCache, decisions, key, pin_name, texts};

/// A sweep whose budgets are not raised.
fn sweep<'a>(options: &[&'a str]) -> Vec<&'a str> {
    [&["sweep", "--min-budget", "0"], options].concat()
}

fn sweep_json<'c>(cache: &'c TestCache, options: &[&str]) -> Run<'c> {
    cache.run([&["--json"], &*sweep(options)].concat())
}

/// `a` oldest to `d` youngest, 10 KiB each.
fn four() -> TestCache {
    TestCache::new()
        .sealed("a", 10.kib(), 4.days())
        .sealed("b", 10.kib(), 3.days())
        .sealed("c", 10.kib(), 2.days())
        .sealed("d", 10.kib(), 1.days())
}

#[test]
fn the_oldest_go_until_the_total_is_at_or_below_the_line() {
    let budget = |bytes: u64| bytes.to_string();
    let cases: &[(&str, &[&str], &[&str], i32)] = &[
        ("total below the budget", &["--max-size", &budget(40.kib() + 1)], &[], 0),
        ("total at the budget", &["--max-size", &budget(40.kib())], &[], 0),
        ("one byte over", &["--max-size", &budget(40.kib() - 1)], &["a"], 0),
        ("met exactly", &["--max-size", "30KiB"], &["a"], 0),
        ("one byte more than one entry", &["--max-size", &budget(30.kib() - 1)], &["a", "b"], 0),
        ("nothing fits", &["--max-size", &budget(10.kib() - 1)], &["a", "b", "c", "d"], 0),
        ("a budget of 0", &["--max-size", "0"], &["a", "b", "c", "d"], 0),
        ("the greatest budget", &["--max-size", &budget(u64::MAX)], &[], 0),
        ("low water of a met budget", &["--max-size", "40KiB", "--low-water", "10%"], &[], 0),
        ("low water met exactly", &["--max-size", "39KiB", "--low-water", "100%"], &["a"], 0),
        ("low water", &["--max-size", "39KiB", "--low-water", "75%"], &["a", "b"], 0),
        ("at low water", &["--max-size", "25KiB", "--low-water", "80%"], &["a", "b"], 0),
        (
            "just above low water",
            &["--max-size", "25KiB", "--low-water", "79%"],
            &["a", "b", "c"],
            0,
        ),
        ("count below", &["--max-entries", "5"], &[], 0),
        ("count at the limit", &["--max-entries", "4"], &[], 0),
        ("count over", &["--max-entries", "3"], &["a"], 0),
        ("no entries wanted", &["--max-entries", "0"], &["a", "b", "c", "d"], 0),
        ("age reached", &["--older-than", "3d"], &["a", "b"], 0),
        ("age not reached by a minute", &["--older-than", "3d1m"], &["a"], 0),
        ("every age", &["--older-than", "0s"], &["a", "b", "c", "d"], 0),
        ("recent by a minute", &["--max-entries", "0", "--keep-recent", "2d1m"], &["a", "b"], 3),
        ("no longer recent", &["--max-entries", "0", "--keep-recent", "2d"], &["a", "b", "c"], 3),
        ("a disk that is free enough", &["--min-free", "0"], &[], 0),
        ("no share of the disk", &["--min-free", "0%"], &[], 0),
    ];
    for (what, options, gone, code) in cases {
        println!("{what}");
        four().run(sweep(options)).removed_only(gone.iter().copied()).code(*code);
    }
}

#[test]
fn equal_times_are_ordered_by_key_and_the_recorded_nanoseconds_count() {
    TestCache::new()
        .sealed("b", 1.kib(), 1.days())
        .sealed("a", 1.kib(), 1.days())
        .sealed("c", 1.kib(), 1.days())
        .run(sweep(&["--max-size", "2KiB"]))
        .success()
        .removed_only(["a"]);
    TestCache::new()
        .sealed("a", 1.kib(), 1.days())
        .sealed("b", 1.kib(), 1.days() + Duration::from_nanos(1))
        .run(sweep(&["--max-size", "1KiB"]))
        .success()
        .removed_only(["b"]);
}

#[test]
fn last_used_and_not_last_written_orders() {
    TestCache::new()
        .sealed("a", 10.kib(), 5.days())
        .sealed("b", 10.kib(), 1.days())
        .used("a", 1.hours())
        .run(sweep(&["--max-size", "10KiB"]))
        .success()
        .removed(["b"])
        .kept(["a"]);
}

#[test]
fn partial_entries_count_and_are_evicted_as_sealed_ones_are() {
    TestCache::new()
        .partial("a", 10.kib(), 5.days())
        .sealed("b", 10.kib(), 1.days())
        .run(sweep(&["--max-size", "10KiB"]))
        .success()
        .removed_only(["a"]);
}

#[test]
fn what_is_deep_in_an_entry_and_has_no_known_name_counts_too() {
    let cache = TestCache::new()
        .sealed("a", 10.kib(), 5.days())
        .in_entry("a", "x/y/z", &[b'x'; 5 << 10])
        .used("a", 5.days())
        .sealed("b", 10.kib(), 1.days());
    cache.run(sweep(&["--max-size", "25KiB"])).success().removed_only([]);
    cache.run(sweep(&["--max-size", "24KiB"])).success().removed_only(["a"]);
}

#[test]
fn a_small_budget_is_raised_to_the_least_one_with_a_warning() {
    let run = |options: &[&str]| {
        let cache = four();
        let run = cache.run([&["--json", "sweep"], options].concat()).success();
        let json = run.json();
        assert_eq!(texts(&json["warnings"]).len(), 1, "{run}");
        run.removed_only([]);
        json["limits"]["max_size"].clone()
    };
    assert_eq!(run(&["--max-size", "1MiB"]), 1u64 << 30, "the default is 1 GiB");
    assert_eq!(run(&["--max-size", "10KiB", "--min-budget", "41KiB"]), 41.kib());
}

#[test]
fn a_pinned_entry_is_skipped_and_the_next_takes_its_place() {
    let cache = four().pinned("a");
    let run = sweep_json(&cache, &["--max-size", "30KiB"]).success().removed_only(["b"]);
    assert_eq!(decisions(&run.json(), "kept"), [("a".into(), "pinned".into())]);
    assert_eq!(run.json()["pinned"], cache.totals(["a"]));
}

#[test]
fn nothing_is_evicted_where_what_is_held_alone_fills_the_budget() {
    for (budget, held) in [("10KiB", "at"), ("9KiB", "over")] {
        let cache = four().pinned("d");
        let run = sweep_json(&cache, &["--max-size", budget]).code(3).removed_only([]);
        assert_eq!(run.json()["target_met"], false, "{held} the budget");
        assert_ne!(run.json()["unmet"], json!([]), "{held} the budget");
        assert_ne!(run.json()["warnings"], json!([]), "{held} the budget");
    }
    four().pinned("d").run(sweep(&["--max-size", "11KiB"])).success().removed_only(["a", "b", "c"]);

    // Being written counts as held.
    let cache = four().partial("new", 10.kib(), 1.minutes());
    sweep_json(&cache, &["--max-size", "10KiB"]).code(3).removed_only([]);
}

#[test]
fn a_full_budget_of_pinned_bytes_is_met() {
    TestCache::new()
        .sealed("a", 10.kib(), 1.days())
        .pinned("a")
        .run(sweep(&["--max-size", "10KiB"]))
        .success()
        .removed_only([]);
}

#[test]
fn best_effort_evicts_what_it_can_and_still_says_that_the_limit_is_not_met() {
    let cache = four().pinned("d").pinned("a");
    let run = sweep_json(&cache, &["--max-size", "10KiB", "--best-effort"]).code(3);
    let run = run.removed_only(["b", "c"]);
    assert_eq!(run.json()["target_met"], false);
}

#[test]
fn low_water_that_is_out_of_reach_is_met_at_the_budget() {
    let cache = four().pinned("a").pinned("b");
    let run = sweep_json(&cache, &["--max-size", "25KiB", "--low-water", "10%"]).success();
    assert_eq!(run.removed_only(["c", "d"]).json()["target_met"], true);
}

#[test]
fn what_is_held_still_counts_as_an_entry() {
    four().pinned("a").run(sweep(&["--max-entries", "3"])).success().removed_only(["b"]);
    let cache = four().pinned("a").pinned("b");
    let run = sweep_json(&cache, &["--max-entries", "1"]).code(3).removed_only(["c", "d"]);
    assert_eq!(run.json()["target_met"], false);
}

#[test]
fn older_than_is_never_unmet() {
    let cache = four().pinned("a");
    let run = sweep_json(&cache, &["--older-than", "3d"]).success().removed_only(["b"]);
    assert_eq!(run.json()["target_met"], true);
    assert_eq!(run.json()["unmet"], json!([]));
}

#[test]
fn a_partial_entry_written_to_lately_is_not_evicted_though_last_used_long_ago() {
    let cache = || {
        TestCache::new()
            .partial("a", 10.kib(), 5.days())
            .written_at("a", "video/seg-2.m4s", 9.minutes())
            .used("a", 5.days())
            .sealed("b", 10.kib(), 1.days())
    };
    let writing = cache();
    let run = sweep_json(&writing, &["--max-size", "15KiB"]).success().removed_only(["b"]);
    assert_eq!(decisions(&run.json(), "kept"), [("a".into(), "writing".into())]);
    assert_eq!(run.json()["writing"], writing.totals(["a"]));

    cache().run(sweep(&["--max-size", "15KiB", "--min-age", "9m"])).success().removed_only(["a"]);
}

#[test]
fn a_sealed_entry_is_never_being_written() {
    TestCache::new()
        .sealed("a", 10.kib(), 1.minutes())
        .run(sweep(&["--max-size", "0"]))
        .success()
        .removed_only(["a"]);
}

#[test]
fn recent_entries_are_kept_from_every_limit() {
    for limit in [
        ["--max-size", "0"],
        ["--max-entries", "0"],
        ["--older-than", "0s"],
        ["--min-free", "100%"],
    ] {
        let cache = four();
        let run = sweep_json(&cache, &[limit[0], limit[1], "--keep-recent", "60h"]);
        let run = run.removed_only(["a", "b"]);
        let kept = [("c".into(), "recent".into()), ("d".into(), "recent".into())];
        assert_eq!(decisions(&run.json(), "kept"), kept, "{limit:?}");
    }
}

#[test]
fn the_reasons_to_protect_come_in_their_order() {
    // All three are recent; the partial ones are being written; one of those is pinned.
    let cache = TestCache::new()
        .partial("a", 1.kib(), 3.minutes())
        .pinned("a")
        .partial("b", 1.kib(), 2.minutes())
        .sealed("c", 1.kib(), 1.minutes());
    let run = sweep_json(&cache, &["--max-entries", "0", "--keep-recent", "1h"]).code(3);
    let reasons = [("a", "pinned"), ("b", "writing"), ("c", "recent")];
    let expected = reasons.map(|(name, reason)| (name.to_owned(), reason.to_owned()));
    assert_eq!(decisions(&run.removed_only([]).json(), "kept"), expected);
}

#[test]
fn a_time_in_the_future_is_the_newest_and_no_age_at_all() {
    let cache = || {
        four()
            .sealed("f", 10.kib(), 1.days())
            .in_future("f", 2.days())
            .sealed("e", 10.kib(), 1.days())
            .in_future("e", 1.days())
    };
    // a to d, then e before f.
    cache().run(sweep(&["--max-size", "10KiB"])).success().removed(["a", "e"]).kept(["f"]);
    cache().run(sweep(&["--older-than", "1h"])).success().kept(["e", "f"]);
    cache().run(sweep(&["--max-entries", "0", "--keep-recent", "1s"])).code(3).kept(["e", "f"]);

    let cache = cache();
    let run = sweep_json(&cache, &["-n", "--older-than", "0s", "--min-age", "10m"]).success();
    let json = run.json();
    assert_eq!(texts(&json["warnings"]).len(), 1, "one warning for both\n{run}");
    let ages: Vec<_> = json["entries"].as_array().unwrap().iter().rev().take(2).collect();
    assert_eq!(ages[0]["key"], key("f"));
    assert_eq!((&ages[0]["age_seconds"], &ages[1]["age_seconds"]), (&json!(0), &json!(0)));
}

#[test]
fn limits_are_taken_in_order_each_sees_what_is_left_and_each_eviction_has_one_reason() {
    let cache = four().sealed("e", 10.kib(), 12.hours()).sealed("f", 10.kib(), 6.hours());
    let run = sweep_json(
        &cache,
        // Against the order, which is not that of the command line.
        &["--max-size", "25KiB", "--max-entries", "4", "--older-than", "4d"],
    );
    let run = run.success().removed_only(["a", "b", "c", "d"]);
    let expected =
        [("a", "older-than"), ("b", "max-entries"), ("c", "over-budget"), ("d", "over-budget")];
    let expected = expected.map(|(name, reason)| (name.to_owned(), reason.to_owned()));
    assert_eq!(decisions(&run.json(), "removed"), expected);
    assert_eq!(
        run.json()["limits"],
        json!({
            "max_size": 25.kib(), "max_entries": 4, "min_free": null,
            "older_than_seconds": 4.days().as_secs(), "keep_recent_seconds": null,
            "low_water_percent": null,
        })
    );
}

#[test]
fn a_disk_that_cannot_be_freed_enough_is_a_finding() {
    let cache = four().pinned("b");
    let run = sweep_json(&cache, &["--min-free", "100%"]).code(3).removed_only(["a", "c", "d"]);
    let json = run.json();
    assert_eq!(json["target_met"], false);
    assert!(decisions(&json, "removed").iter().all(|(_, reason)| reason == "min-free"));
}

#[test]
fn what_is_reported_is_what_the_disk_gained() {
    let cache = four().allocated("e", 100.kib(), 5.days()).partial("p", 3.kib(), 6.days());
    let (before, before_disk) = TestCache::usage(&cache.root());
    let (gone, gone_disk) = TestCache::usage(&cache.entry_path("e"));
    let (partial, partial_disk) = TestCache::usage(&cache.entry_path("p"));

    let run = sweep_json(&cache, &["--max-size", "40KiB"]).success().removed_only(["e", "p"]);
    let json = run.json();
    let (after, after_disk) = ["a", "b", "c", "d"]
        .iter()
        .map(|name| TestCache::usage(&cache.entry_path(name)))
        .fold((0, 0), |(size, disk), usage| (size + usage.0, disk + usage.1));
    let total = |entries: u64, bytes: u64, allocated: u64| json!({"entries": entries, "bytes": bytes, "allocated_bytes": allocated});
    assert_eq!(json["before"], total(6, before, before_disk));
    assert_eq!(json["after"], total(4, after, after_disk));
    assert_eq!(json["freed_bytes"], gone + partial);
    assert_eq!(json["removed"], 2);
    assert_eq!(json["failed"], 0);
    let entry = &json["entries"][1];
    assert_eq!(entry["key"], key("e"));
    assert_eq!(entry["state"], "sealed");
    assert_eq!(entry["bytes"], gone);
    assert_eq!(entry["allocated_bytes"], gone_disk);
    let age = entry["age_seconds"].as_u64().unwrap();
    assert!((5.days().as_secs()..5.days().as_secs() + 600).contains(&age), "{age}");
    assert_eq!(json["entries"][0]["state"], "partial");
    assert_eq!(json["entries"][0]["allocated_bytes"], partial_disk);
}

#[test]
fn a_dry_run_decides_what_the_real_run_does_and_changes_nothing() {
    let cache = four()
        .partial("w", 10.kib(), 2.minutes())
        .partial("p", 10.kib(), 5.days())
        .pinned("b")
        .trash("gone");
    let policies: [&[&str]; 4] = [
        &["--max-size", "40KiB"],
        &["--max-size", "35KiB", "--low-water", "75%", "--keep-recent", "30h"],
        &["--max-entries", "1"],
        &["--max-size", "1KiB", "--best-effort", "--older-than", "4d"],
    ];
    // Each policy goes on from what the one before has left.
    for policy in policies {
        let dry = sweep_json(&cache, &[policy, &["--dry-run"]].concat()).untouched();
        let real = sweep_json(&cache, policy);
        assert_eq!(dry.output.status, real.output.status, "{policy:?}");
        assert_eq!(dry.json()["dry_run"], true);
        assert_eq!(real.json()["dry_run"], false);
        assert_eq!(decided(&dry.json()), decided(&real.json()), "{policy:?}");
    }
    assert!(cache.has("b") && cache.has("w"));
}

/// All that a dry run can know of the real run.
fn decided(json: &Value) -> Value {
    let mut entries = json["entries"].clone();
    for entry in entries.as_array_mut().unwrap() {
        if entry["action"] == "would-remove" {
            entry["action"] = json!("removed");
        }
        entry.as_object_mut().unwrap().remove("age_seconds");
    }
    let same = ["limits", "unmet", "target_met", "before", "pinned", "writing"];
    json!([entries, same.map(|field| &json[field])])
}

#[test]
fn a_run_with_nothing_to_do_leaves_the_entries_alone() {
    for limits in [["--max-size", "1TiB"], ["--max-entries", "9"], ["--older-than", "365d"]] {
        four().run(sweep(&limits)).success().removed_only([]);
    }
    TestCache::new().run(sweep(&["--max-size", "0"])).success();
}

#[test]
fn verbose_reports_every_entry() {
    let cache = four();
    let quiet = sweep_json(&cache, &["-n", "--max-size", "30KiB"]).success().json();
    assert_eq!(quiet["entries"].as_array().unwrap().len(), 1);
    let all = sweep_json(&cache, &["-n", "-v", "--max-size", "30KiB"]).success().json();
    assert_eq!(decisions(&all, "would-remove").len(), 1);
    assert_eq!(decisions(&all, "kept").len(), 3);
}

#[test]
fn leftover_trash_is_cleared_and_a_dry_run_leaves_it() {
    let trash = format!(".trash.{}.0123456789abcdef", key("gone"));
    let cache =
        four().outside("outside").trash("gone").link(format!("{trash}/link"), "../../outside");
    let dry = cache.run(sweep(&["-n", "--max-size", "1G"])).success().untouched();
    let run = cache.run(sweep(&["--max-size", "1G"])).success().removed_only([]);
    assert!(!cache.root().join(trash).exists());
    for said in [dry.stdout(), run.stdout()] {
        assert!(said.contains("the trash of 1 entry"), "{said}");
    }
    assert!(cache.outside_path("outside").join("precious").exists());
}

#[test]
fn a_sweep_needs_a_limit() {
    four().run(["sweep"]).code(2).no_stdout().untouched();
    four().run(["sweep", "--keep-recent", "1h"]).code(2).no_stdout().untouched();
}

#[test]
fn environment_limits_apply_where_the_command_line_names_none() {
    four().env("HLS_CACHE_MAX_SIZE", "30KiB").run(sweep(&[])).success().removed_only(["a"]);
    four()
        .env("HLS_CACHE_MAX_SIZE", "0")
        .env("HLS_CACHE_KEEP_RECENT", "60h")
        .run(sweep(&["--best-effort"]))
        .code(3)
        .removed_only(["a", "b"]);
    four()
        .env("HLS_CACHE_MIN_FREE", "100%")
        .run(sweep(&[]))
        .code(3)
        .removed_only(["a", "b", "c", "d"]);
}

#[test]
fn environment_limits_do_not_apply_where_the_command_line_names_one() {
    four()
        .env("HLS_CACHE_MAX_SIZE", "0")
        .env("HLS_CACHE_MIN_FREE", "100%")
        .run(sweep(&["--max-entries", "3"]))
        .success()
        .removed_only(["a"]);
}

/// A protection that is dropped unseen costs somebody a film; a limit that is added, too.
#[test]
fn the_protection_of_the_environment_applies_whatever_names_the_limit() {
    let cache = || four().env("HLS_CACHE_KEEP_RECENT", "60h");
    for limit in [
        ["--max-size", "0"],
        ["--max-entries", "0"],
        ["--older-than", "0s"],
        ["--min-free", "100%"],
    ] {
        let cache = cache();
        let run = sweep_json(&cache, &limit).removed_only(["a", "b"]);
        let kept = [("c".into(), "recent".into()), ("d".into(), "recent".into())];
        assert_eq!(decisions(&run.json(), "kept"), kept, "{limit:?}");
        assert!(!run.stderr().contains("HLS_CACHE_KEEP_RECENT"), "{run}");
    }
    // The command line has the last word, whichever way.
    let sweep = |recent| sweep(&["--max-entries", "0", "--keep-recent", recent]);
    cache().run(sweep("84h")).code(3).removed_only(["a"]);
    cache().run(sweep("0s")).success().removed_only(["a", "b", "c", "d"]);
}

#[test]
fn an_empty_environment_limit_is_none() {
    four().env("HLS_CACHE_MAX_SIZE", "").run(["sweep"]).code(2).untouched();
    four()
        .env("HLS_CACHE_MAX_SIZE", "30KiB")
        .env("HLS_CACHE_MIN_FREE", "")
        .env("HLS_CACHE_KEEP_RECENT", "")
        .run(sweep(&[]))
        .success()
        .removed_only(["a"]);
}

#[test]
fn evicting_what_a_lockless_daemon_may_be_serving_is_warned_of_once() {
    let recent =
        || TestCache::new().sealed("a", 1.kib(), 3.hours()).sealed("b", 1.kib(), 2.hours());
    let warnings = |cache: &TestCache, options: &[&str]| {
        let dry = sweep_json(cache, &[options, &["-n"]].concat()).success().json();
        let real = sweep_json(cache, options).success().json();
        assert_eq!(texts(&dry["warnings"]).len(), texts(&real["warnings"]).len());
        texts(&real["warnings"]).len()
    };
    assert_eq!(warnings(&recent(), &["--max-size", "0"]), 1);
    assert_eq!(warnings(&recent(), &["--max-size", "0", "--keep-recent", "1h"]), 0);
    assert_eq!(warnings(&recent(), &["--max-size", "0", "--min-age", "10m"]), 0);
    assert_eq!(warnings(&recent(), &["--max-size", "1G"]), 0, "nothing is evicted");
    assert_eq!(warnings(&four(), &["--max-size", "0"]), 0, "nobody watches for a day");

    // A daemon that takes locks has left its writer lockfile.
    let locking = recent()
        .file(format!(".{}.write", key("a")), b"")
        .file(format!(".{}.write", key("b")), b"");
    assert_eq!(warnings(&locking, &["--max-size", "0"]), 0);
    assert!(locking.root().join(format!(".{}.write", key("a"))).exists());
}

#[test]
fn min_free_evicts_until_the_allocated_bytes_cover_the_need() {
    let Some(cache) = TestCache::on_tmpfs("size=64m,mode=755") else { return };
    let cache = cache
        .sealed("sparse", 40.mib(), 9.days())
        .allocated("a", 8.mib(), 4.days())
        .allocated("b", 8.mib(), 3.days())
        .allocated("c", 8.mib(), 2.days());
    let free = || rustix::fs::statvfs(cache.root()).map(|fs| fs.f_bavail * fs.f_frsize).unwrap();
    let want = (free() + 12.mib()).to_string();
    let dry = sweep_json(&cache, &["-n", "--min-free", &want]).success().untouched();
    let run = sweep_json(&cache, &["--min-free", &want]).success();
    let run = run.removed_only(["sparse", "a", "b"]);
    assert_eq!(decided(&dry.json()), decided(&run.json()));
    assert!(free() >= want.parse().unwrap());
}

#[test]
fn min_free_counts_leftover_trash_as_free() {
    let Some(cache) = TestCache::on_tmpfs("size=64m,mode=755") else { return };
    let trash = format!(".trash.{}.0123456789abcdef/video/seg-0.m4s", key("gone"));
    let cache = cache
        .allocated("a", 8.mib(), 4.days())
        .file(trash, &vec![b'x'; usize::try_from(16.mib()).unwrap()]);
    let stat = rustix::fs::statvfs(cache.root()).unwrap();
    let want = (stat.f_bavail * stat.f_frsize + 12.mib()).to_string();
    let dry = sweep_json(&cache, &["-n", "--min-free", &want]).success().untouched();
    assert_eq!(decisions(&dry.json(), "would-remove"), []);
    sweep_json(&cache, &["--min-free", &want]).success().removed_only([]);
}

#[test]
fn the_lockfiles_that_a_removal_made_stay() {
    let cache = four();
    cache.run(sweep(&["--max-size", "30KiB"])).success().removed_only(["a"]);
    assert!(fs::metadata(cache.root().join(pin_name("a"))).unwrap().is_file());
}
