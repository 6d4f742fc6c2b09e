//! A full disk is when eviction matters most: nothing can be created, and yet entries go.

use std::fs;
use std::io::ErrorKind;

use serde_json::json;

use crate::common::{Age, Size, TestCache, decisions, key};

/// A root where not one more file can be made.
fn full() -> Option<TestCache> {
    let cache = TestCache::on_tmpfs("size=16m,nr_inodes=64,mode=755")?
        .allocated("a", 100.kib(), 5.days())
        .allocated("b", 100.kib(), 4.days());
    let filler = cache.root().join("filler");
    fs::create_dir(&filler).unwrap();
    let error = (0..64).find_map(|n| fs::File::create_new(filler.join(n.to_string())).err());
    assert_eq!(error.expect("a limit").kind(), ErrorKind::StorageFull);
    Some(cache)
}

#[test]
fn a_sweep_makes_room() {
    let Some(cache) = full() else { return };
    let run = cache.run(["sweep", "--max-size", "0", "--min-budget", "0"]).success();
    run.removed(["a", "b"]);
}

#[test]
fn invalidate_makes_room() {
    let Some(cache) = full() else { return };
    cache.run(["invalidate", &key("a")]).success().removed(["a"]).kept(["b"]);
}

#[test]
fn a_pin_made_before_the_disk_was_full_protects() {
    let Some(cache) = full() else { return };
    fs::remove_file(cache.root().join("filler/0")).unwrap();
    let cache = cache.pinned("a");
    let run = cache.run(["--json", "sweep", "--max-size", "100KiB", "--min-budget", "0"]);
    let run = run.code(3).kept(["a"]);
    assert_eq!(run.json()["pinned"], json!({"entries": 1, "bytes": 100.kib()}));
}

#[test]
fn a_reader_who_found_room_for_a_pin_meanwhile_keeps_the_entry() {
    let Some(cache) = full() else { return };
    let command = cache.command(["--json", "invalidate", &key("a")]);
    let Some(run) = command.pause_at("unlinkat", ".complete") else { return };
    fs::remove_file(cache.root().join("filler/0")).unwrap();
    let _reader = cache.pin("a");
    let run = run.resume().code(3);
    assert_eq!(decisions(&run.json(), "kept"), [("a".into(), "pinned".into())]);
    assert!(cache.entry_path("a").join("video/init.mp4").exists());
    assert!(!cache.entry_path("a").join(".complete").exists(), "readers were to see a miss");
}

#[test]
fn looking_needs_no_room() {
    let Some(cache) = full() else { return };
    cache.run(["stats"]).success().untouched();
    cache.run(["verify"]).success().untouched();
    cache.run(["sweep", "-n", "--max-size", "0", "--min-budget", "0"]).success().untouched();
}

#[test]
fn force_goes_on_though_a_reader_found_room_for_a_pin_meanwhile() {
    let Some(cache) = full() else { return };
    let command = cache.command(["--json", "invalidate", "--force", &key("a")]);
    let Some(run) = command.pause_at("unlinkat", ".complete") else { return };
    fs::remove_file(cache.root().join("filler/0")).unwrap();
    let _reader = cache.pin("a");
    run.resume().success().removed(["a"]);
}
