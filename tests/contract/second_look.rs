//! Between the plan and the lock the world goes on: a remover looks again and acts on what it sees.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::common::{Age, Paused, Size, TestCache, decisions, key, pin_name};

const SWEEP: [&str; 6] = ["--json", "sweep", "--max-size", "20KiB", "--min-budget", "0"];

fn three() -> TestCache {
    TestCache::new().sealed("a", 10.kib(), 5.days()).sealed("b", 10.kib(), 4.days()).sealed(
        "c",
        10.kib(),
        3.days(),
    )
}

fn orphan() -> TestCache {
    TestCache::new().partial("a", 10.kib(), 5.days()).partial("b", 10.kib(), 4.days())
}

/// A run that has made its plan and the pin of `a`, and has yet to lock it and look again.
fn about_to_lock<'c>(cache: &'c TestCache, args: &[&str]) -> Option<Paused<'c>> {
    cache.command(args).pause_at("linkat", &pin_name("a"))
}

#[test]
fn an_entry_that_was_hit_after_the_plan_is_kept_and_the_next_takes_its_place() {
    let cache = three();
    let Some(run) = about_to_lock(&cache, &SWEEP) else { return };
    let cache = &cache;
    filetime::set_file_mtime(cache.entry_path("a"), filetime::FileTime::now()).unwrap();
    let run = run.resume().success().removed(["b"]);
    assert!(cache.has("a") && cache.has("c"));
    assert_eq!(decisions(&run.json(), "kept"), [("a".into(), "changed".into())]);
    assert_eq!(run.json()["target_met"], true);
}

#[test]
fn a_hit_that_moves_the_clock_by_a_nanosecond_is_seen() {
    let cache = three();
    let Some(run) = about_to_lock(&cache, &SWEEP) else { return };
    let path = cache.entry_path("a");
    let time = filetime::FileTime::from_last_modification_time(&fs::metadata(&path).unwrap());
    let later = filetime::FileTime::from_unix_time(time.unix_seconds(), time.nanoseconds() ^ 1);
    filetime::set_file_mtime(path, later).unwrap();
    run.resume().success().removed(["b"]);
    assert!(cache.has("a"));
}

#[test]
fn an_entry_that_was_sealed_after_the_plan_is_no_orphan() {
    let cache = orphan();
    let Some(run) = about_to_lock(&cache, &["--json", "gc-orphans"]) else { return };
    let path = cache.entry_path("a");
    let used = filetime::FileTime::from_last_modification_time(&fs::metadata(&path).unwrap());
    fs::write(path.join(".complete"), "").unwrap();
    filetime::set_file_mtime(&path, used).unwrap();
    let run = run.resume().success().removed(["b"]);
    assert!(cache.has("a"));
    assert_eq!(decisions(&run.json(), "kept"), [("a".into(), "changed".into())]);
}

#[test]
fn an_orphan_that_is_written_to_after_the_plan_is_kept() {
    let cache = orphan();
    let Some(run) = about_to_lock(&cache, &["--json", "gc-orphans"]) else { return };
    fs::write(cache.entry_path("a").join("video/seg-2.m4s"), "resumed").unwrap();
    let run = run.resume().success().removed(["b"]);
    assert!(cache.has("a"));
    assert_eq!(decisions(&run.json(), "kept"), [("a".into(), "changed".into())]);
}

#[test]
fn an_entry_that_was_made_anew_under_the_name_is_another_one() {
    let cache = three();
    let Some(run) = about_to_lock(&cache, &SWEEP) else { return };
    let path = cache.entry_path("a");
    let used = filetime::FileTime::from_last_modification_time(&fs::metadata(&path).unwrap());
    fs::rename(&path, cache.outside_path("old")).unwrap();
    fs::create_dir(&path).unwrap();
    fs::write(path.join(".complete"), "").unwrap();
    filetime::set_file_mtime(&path, used).unwrap();
    run.resume().removed(["b"]);
    assert!(cache.has("a"));
}

#[test]
fn an_entry_that_became_a_symlink_is_foreign() {
    for args in [&SWEEP[..], &["--json", "invalidate", &key("a")]] {
        let cache = three();
        let Some(run) = about_to_lock(&cache, args) else { return };
        let elsewhere = cache.outside_path("elsewhere");
        fs::rename(cache.entry_path("a"), &elsewhere).unwrap();
        symlink("../elsewhere", cache.entry_path("a")).unwrap();
        run.resume();
        assert!(elsewhere.join(".complete").exists() && elsewhere.join("video/init.mp4").exists());
        assert!(cache.entry_path("a").is_symlink());
    }
}

#[test]
fn an_entry_that_somebody_else_removed_counts_for_the_total() {
    let cache = three();
    let Some(run) = about_to_lock(&cache, &SWEEP) else { return };
    fs::rename(cache.entry_path("a"), cache.outside_path("gone")).unwrap();
    let json = run.resume().success().kept(["b", "c"]).json();
    assert_eq!((&json["removed"], &json["target_met"]), (&json!(0), &json!(true)));
    assert_eq!(json["errors"], json!([]));
}

#[test]
fn what_was_mended_before_the_lock_is_not_removed_as_damaged() {
    let cache = three().without("a", "video/seg-1.m4s").without("b", "video/seg-1.m4s");
    let Some(run) = about_to_lock(&cache, &["--json", "verify", "--fix"]) else { return };
    fs::write(cache.entry_path("a").join("video/seg-1.m4s"), "mended").unwrap();
    let run = run.resume().code(3).removed(["b"]);
    assert!(cache.has("a"));
    assert_eq!(run.json()["removed"], 1);
}

#[test]
fn what_was_pinned_after_the_plan_is_kept() {
    for args in [&SWEEP[..], &["--json", "invalidate", &key("a"), &key("b")]] {
        let cache = three();
        let Some(run) = about_to_lock(&cache, args) else { return };
        let holder = cache.pin("a");
        let run = run.resume().removed(["b"]);
        assert_eq!(decisions(&run.json(), "kept"), [("a".into(), "pinned".into())]);
        drop(holder);
        assert!(cache.has("a"));
    }
}

#[test]
fn what_is_being_written_by_now_is_spared_by_invalidate_all() {
    let cache = orphan();
    let Some(run) = about_to_lock(&cache, &["--json", "invalidate", "--all"]) else { return };
    fs::write(cache.entry_path("a").join("video/seg-2.m4s"), "resumed").unwrap();
    let run = run.resume().code(3).removed(["b"]);
    assert!(cache.has("a"), "{run}");
    assert_eq!(decisions(&run.json(), "kept"), [("a".into(), "writing".into())]);
}

#[test]
fn what_is_made_under_the_name_after_the_rename_is_another_entry() {
    for args in [&SWEEP[..], &["--json", "invalidate", &key("a")]] {
        let cache = three();
        let Some(run) = cache.command(args).pause_at("renameat", &key("a")) else { return };
        // A daemon that takes no locks sees a miss and starts to write.
        let segment = cache.entry_path("a").join("video/seg-0.m4s");
        fs::create_dir_all(segment.parent().unwrap()).unwrap();
        fs::write(&segment, "new").unwrap();
        let json = run.resume().success().json();
        assert!(segment.exists());
        assert_eq!(decisions(&json, "removed")[0].0, "a");
    }
}

#[test]
fn a_forced_removal_is_not_said_to_fail_because_the_name_is_used_anew() {
    let cache = three().pinned("a");
    let args = ["--json", "invalidate", "--force", &key("a")];
    let Some(run) = cache.command(args).pause_at("renameat", &key("a")) else { return };
    fs::create_dir(cache.entry_path("a")).unwrap();
    let json = run.resume().success().json();
    assert_eq!((&json["removed"], &json["failed"]), (&json!(1), &json!(0)));
    assert!(cache.has("a"));
}
