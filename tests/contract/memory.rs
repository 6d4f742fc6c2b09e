//! What a sweep remembers of sealed entries saves time and decides nothing.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{Mode, OFlags};
use serde_json::Value;

use crate::common::sizes::{self, CHANGES, Field, Sizes};
use crate::common::{Age, Size, TestCache, decisions, key, need};

/// Five sealed entries of 10 KiB, `a` used least recently.
fn five() -> TestCache {
    let ages =
        [("a", 9.days()), ("b", 8.days()), ("c", 7.days()), ("d", 6.days()), ("e", 5.days())];
    ages.into_iter().fold(TestCache::new(), |cache, (name, age)| cache.sealed(name, 10.kib(), age))
}

const FIVE: [&str; 5] = ["a", "b", "c", "d", "e"];

/// What nobody's entry measures.
const LIE: u64 = 1 << 40;

/// Says of `name` that it holds [`LIE`] bytes: whoever reports them has not measured it.
fn lying(cache: &TestCache, name: &str) -> Sizes {
    cache.sizes(FIVE).saying(name, Field::Bytes, LIE)
}

#[track_caller]
fn total(cache: &TestCache, args: &[&str]) -> u64 {
    let json = cache.run([&["--json"], args].concat()).success().json();
    let total = if args.contains(&"stats") { &json["total"] } else { &json["before"] };
    total["bytes"].as_u64().expect("bytes")
}

#[track_caller]
fn believes(cache: &TestCache) -> bool {
    match total(cache, &["stats"]) {
        bytes if bytes == 40.kib() + LIE => true,
        bytes if bytes == 50.kib() => false,
        bytes => panic!("{bytes} are neither true nor remembered"),
    }
}

#[test]
fn every_command_that_scans_remembers_and_a_full_scan_does_not() {
    let cache = five();
    lying(&cache, "a").write(&cache.root());
    let truth = 50.kib();
    let none = "--older-than=30d";
    for (args, expected) in [
        (&["stats"][..], truth - 10.kib() + LIE),
        (&["stats", "--full-scan"], truth),
        (&["gc-orphans"], truth - 10.kib() + LIE),
        (&["sweep", none, "--dry-run"], truth - 10.kib() + LIE),
        (&["sweep", none, "--dry-run", "--full-scan"], truth),
    ] {
        assert_eq!(total(&cache, args), expected, "{args:?}");
    }
    let told = |args: &[&str]| cache.run(args).success().stdout();
    for (args, counts) in [
        (&["-v", "stats"][..], "measured 0 entries, remembered 5"),
        (&["-v", "sweep", none, "-n"], "measured 0 entries, remembered 5"),
        (&["-v", "stats", "--full-scan"], "measured 5 entries, remembered 0"),
    ] {
        assert!(told(args).contains(counts), "{args:?}: {}", told(args));
    }
    assert!(!told(&["stats"]).contains("remembered"));
}

#[test]
fn an_entry_that_is_asked_about_by_name_is_measured() {
    let cache = five();
    lying(&cache, "a").write(&cache.root());
    let json = cache.run(["--json", "stats", &key("a")]).success().json();
    assert_eq!(json["entries"][0]["bytes"], 10.kib());
}

#[test]
fn every_change_is_seen_at_once() {
    for (what, change) in CHANGES {
        let cache = five();
        lying(&cache, "a").write(&cache.root());
        assert!(believes(&cache), "before: {what}");
        sizes::let_the_clock_move(&cache.root());
        change(&cache.entry_path("a"));
        let json = cache.run(["--json", "stats"]).success().json();
        let (bytes, _) = TestCache::usage(&cache.entry_path("a"));
        assert_eq!(json["total"]["bytes"], bytes + 40.kib(), "{what}");
    }
}

/// A change of what was remembered, so that it is of another entry.
#[test]
fn a_record_of_anything_else_is_not_believed() {
    for field in [
        Field::DirectoryInode,
        Field::DirectoryCtime,
        Field::CompleteInode,
        Field::CompleteCtime,
        Field::VideoInode,
        Field::VideoCtime,
    ] {
        let cache = five();
        lying(&cache, "a").saying("a", field, 7).write(&cache.root());
        assert!(!believes(&cache), "{field:?}");
    }
    let cache = five();
    let long_ago = 1_000_000_000;
    lying(&cache, "a").saying("a", Field::Measured, long_ago).write(&cache.root());
    assert!(!believes(&cache), "a record is believed for nine days at most");
    let to_come = 100_000_000_000_u64;
    lying(&cache, "a").saying("a", Field::Measured, to_come).write(&cache.root());
    assert!(!believes(&cache), "measured in the future");
}

#[test]
fn what_was_used_or_written_within_a_day_is_measured() {
    let cache = five().used("a", 23.hours());
    lying(&cache, "a").write(&cache.root());
    assert!(!believes(&cache), "used");
    let cache = five().used("a", 25.hours());
    lying(&cache, "a").write(&cache.root());
    assert!(believes(&cache), "used a day before");
    let cache = five().written("a", 23.hours()).used("a", 9.days());
    lying(&cache, "a").write(&cache.root());
    assert!(!believes(&cache), "written");
    let cache = five().in_future("a", 1.days());
    lying(&cache, "a").write(&cache.root());
    let run = cache.run(["--json", "stats"]).success();
    assert_eq!(run.json()["total"]["bytes"], 50.kib(), "in the future");
}

#[test]
fn a_partial_entry_is_never_remembered() {
    let cache = five();
    let sizes = lying(&cache, "a");
    let cache = cache.without("a", ".complete").used("a", 9.days());
    sizes.write(&cache.root());
    assert!(!believes(&cache));
}

/// What became of the file of sizes, and why it is none.
#[test]
fn a_file_that_is_not_right_in_everything_is_no_memory() {
    let cache = five();
    let text = lying(&cache, "a").text();
    let unsigned = text[..text.rfind("sha256").unwrap()].to_owned();
    let signed = |text: String| sizes::signed(&text).into_bytes();
    let (header, records) = unsigned.split_once('\n').unwrap();
    let swapped = {
        let mut lines: Vec<&str> = records.lines().collect();
        lines.swap(0, 1);
        format!("{header}\n{}\n", lines.join("\n"))
    };
    let of_bytes = |what: &str| unsigned.replace(&LIE.to_string(), what);
    for (what, content) in [
        ("empty", Vec::new()),
        ("cut short", text.as_bytes()[..text.len() - 9].to_vec()),
        ("no checksum", unsigned.clone().into_bytes()),
        ("another checksum", text.replace("sha256 ", "sha256 0").into_bytes()),
        ("a byte changed", text.replacen(' ', "\t", 9).into_bytes()),
        ("not text", [&[0xff, 0xfe, 0][..], text.as_bytes()].concat()),
        ("something after", (text.clone() + "\n").into_bytes()),
        ("another version", signed(unsigned.replace("sizes 1 5", "sizes 2 5"))),
        ("another count", signed(unsigned.replace("sizes 1 5", "sizes 1 4"))),
        (
            "a count without end",
            signed(unsigned.replace("sizes 1 5", "sizes 1 99999999999999999999")),
        ),
        ("not in order", signed(swapped)),
        ("negative bytes", signed(of_bytes("-1"))),
        ("too many bytes", signed(of_bytes("18446744073709551616"))),
        ("zeros", vec![0; 4096]),
    ] {
        sizes::write(&cache.root(), &content);
        assert_eq!(total(&cache, &["stats"]), 50.kib(), "{what}");
    }
    sizes::write(&cache.root(), text.as_bytes());
    assert!(believes(&cache), "and whole it is one");
}

#[test]
fn a_file_that_somebody_else_may_have_written_is_no_memory() {
    let cache = five();
    let path = cache.root().join(".sizes");
    lying(&cache, "a").write(&cache.root());
    assert!(believes(&cache));
    for mode in [0o664, 0o646, 0o666] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert!(!believes(&cache), "mode {mode:o}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::hard_link(&path, cache.base().join("link")).unwrap();
    assert!(!believes(&cache), "two names");
    fs::remove_file(&path).unwrap();
    symlink(cache.base().join("link"), &path).unwrap();
    assert!(!believes(&cache), "a symlink");
    fs::remove_file(&path).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
    assert!(!believes(&cache), "a FIFO, which does not hang the run either");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let json = cache.run(["--json", "stats"]).success().json();
    assert_eq!(json["foreign"]["names"], serde_json::json!([".sizes"]), "a directory is foreign");
}

#[test]
fn a_file_of_another_user_is_no_memory_and_one_of_the_caches_owner_is() {
    if !need::running_as_root() {
        need::missing("root, to give a file away");
        return;
    }
    let cache = five();
    lying(&cache, "a").write(&cache.root());
    let path = cache.root().join(".sizes");
    std::os::unix::fs::chown(&path, Some(65534), Some(65534)).unwrap();
    assert!(!believes(&cache));
    std::os::unix::fs::chown(cache.root(), Some(65534), Some(65534)).unwrap();
    assert!(believes(&cache), "the cache is the same user's");
}

#[test]
fn forged_sizes_evict_nothing_more_than_there_is_and_stop_no_run() {
    // Five entries of 10 KiB and room for three; the file is right in everything but what it says.
    for lie in [0, LIE, 1 << 63, u64::MAX] {
        let cache = five();
        let sizes = FIVE.into_iter().fold(cache.sizes(FIVE), |sizes, name| {
            sizes.saying(name, Field::Bytes, lie).saying(name, Field::Files, lie)
        });
        sizes.write(&cache.root());
        let run = cache.run(["stats"]).success();
        assert!(run.output.stderr.is_empty(), "{run}");
        let sweep = ["--json", "sweep", "--max-size", "30KiB", "--min-budget", "0"];
        let run = cache.run(sweep).success();
        // Where nothing seems to be there, nothing goes, as if the cache had been smaller for a while.
        let expected: &[&str] = if lie == 0 { &[] } else { &["a", "b"] };
        run.removed_only(expected.iter().copied());
        cache.run([&sweep[..], &["--full-scan"]].concat()).success();
        assert_eq!(FIVE.map(|name| cache.has(name)), [false, false, true, true, true], "{lie}");
    }
}

/// `(removed, kept with reason)`.
fn swept(json: &Value) -> [Vec<(String, String)>; 2] {
    ["removed", "kept"].map(|action| decisions(json, action))
}

/// By locks alone: for an instant, a process that another test starts has open what this one reads to compare it.
const SWEEP: [&str; 7] =
    ["--json", "sweep", "--max-size", "30KiB", "--min-budget", "0", "--locks-only"];

#[test]
fn an_entry_that_grew_in_place_is_found_before_it_goes_and_then_all_are_measured() {
    // `a` has grown; so has `e`, which is no victim. By what is remembered, `a` and `b` would do.
    let cache = five().remembering(FIVE);
    for name in ["a", "e"] {
        let segment =
            fs::OpenOptions::new().write(true).open(cache.entry_path(name).join("video/seg-0.m4s"));
        segment.unwrap().set_len(10.kib()).unwrap();
    }
    let (bytes, _) = TestCache::usage(&cache.entry_path("e"));
    assert!(bytes > 12.kib());
    for args in [&["--dry-run"][..], &[]] {
        let json = cache.run([&SWEEP[..], args].concat()).success().json();
        let action = if args.is_empty() { "removed" } else { "would-remove" };
        let going = decisions(&json, action);
        assert_eq!(going.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(json["target_met"], true);
        assert_eq!(json["after"]["bytes"], bytes + 10.kib(), "{args:?}");
    }
    assert_eq!(FIVE.map(|name| cache.has(name)), [false, false, false, true, true]);
}

#[test]
fn an_entry_that_shrank_in_place_does_not_let_others_go() {
    // By what is remembered 50 KiB are there, and `a` to `b` must go; truly `a` holds next to nothing.
    let cache = five().remembering(FIVE);
    for n in 0..3 {
        let segment = format!("video/seg-{n}.m4s");
        let segment = fs::OpenOptions::new().write(true).open(cache.entry_path("a").join(segment));
        segment.unwrap().set_len(1).unwrap();
    }
    let sweep = ["--json", "sweep", "--max-size", "41KiB", "--min-budget", "0"];
    let json = cache.run(sweep).success().removed_only([]).json();
    assert_eq!(swept(&json), [vec![], vec![]]);
    assert!(json["before"]["bytes"].as_u64() < Some(41.kib()));
}

#[test]
fn whoever_reads_an_entry_is_seen_before_it_goes() {
    let Some(cache) = TestCache::on_tmpfs("mode=755,size=8m") else { return };
    let ages = [("a", 9.days()), ("b", 8.days()), ("c", 7.days())];
    let cache =
        ages.into_iter().fold(cache, |cache, (name, age)| cache.sealed(name, 10.kib(), age));
    let cache = cache.remembering(["a", "b", "c"]);
    fs::read(cache.entry_path("a").join("video/seg-0.m4s")).unwrap();
    let sweep = ["--json", "sweep", "--max-size", "20KiB", "--min-budget", "0"];
    let dry = cache.run([&sweep[..], &["--dry-run"]].concat()).success().json();
    assert_eq!(decisions(&dry, "would-remove"), [("b".into(), "over-budget".into())]);
    let json = cache.run(sweep).success().removed_only(["b"]).json();
    assert_eq!(swept(&json)[1], [("a".into(), "read".into())]);
}

#[test]
fn one_that_takes_anothers_place_is_measured_too() {
    // `a` is pinned after the plan, so `b` goes, which has grown: `c` need not go then.
    let cache = five().remembering(FIVE);
    let sweep = ["--json", "sweep", "--max-size", "40KiB", "--min-budget", "0"];
    let grown =
        fs::OpenOptions::new().write(true).open(cache.entry_path("b").join("video/seg-0.m4s"));
    grown.unwrap().set_len(30.kib()).unwrap();
    let Some(run) = cache.command(sweep).pause_at("linkat", &crate::common::pin_name("a")) else {
        return;
    };
    let _viewer = cache.pin("a");
    let run = run.resume().success().removed(["b"]);
    let json = run.json();
    assert_eq!(swept(&json)[1], [("a".into(), "pinned".into())]);
    assert_eq!(json["after"]["bytes"], 40.kib(), "as measured, not as remembered");
    assert!(["a", "c", "d", "e"].into_iter().all(|name| cache.has(name)));
}

#[test]
fn what_the_disk_holds_may_differ() {
    // xfs gives back what it allocated ahead, unseen; the sizes are what counts.
    let cache = five();
    let sizes = cache.sizes(FIVE);
    let text = sizes
        .text()
        .replace(&format!(" {} ", TestCache::usage(&cache.entry_path("a")).1), " 1048576 ");
    sizes::write(&cache.root(), sizes::signed(&text[..text.rfind("sha256").unwrap()]).as_bytes());
    let sweep = ["--json", "-v", "sweep", "--max-size", "40KiB", "--min-budget", "0"];
    let json = cache.run(sweep).success().removed_only(["a"]).json();
    assert_eq!(json["before"]["bytes"], 50.kib());
    assert!(
        json["before"]["allocated_bytes"].as_u64() > Some(1 << 20),
        "the others are remembered"
    );
}

#[test]
fn only_a_sweep_that_may_delete_writes_and_only_what_has_been_quiet() {
    let cache = five();
    let path = cache.root().join(".sizes");
    for args in [
        &["stats"][..],
        &["verify"],
        &["gc-orphans"],
        &["sweep", "--older-than", "30d", "--dry-run"],
        &["invalidate", "0000000000000000"],
        // The entries were made just now.
        &["sweep", "--older-than", "30d"],
    ] {
        cache.run(args);
        assert!(!path.exists(), "{args:?}");
    }
    // What is remembered stays; of what has gone nothing does.
    let cache = cache.remembering(FIVE);
    cache.run(["sweep", "--max-entries", "2"]).success().removed_only(["a", "b", "c"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), cache.sizes(["d", "e"]).measured_as(&path));
    // What is measured anew, a moment after a change, is not.
    let yesterday = SystemTime::UNIX_EPOCH.elapsed().unwrap() - 1.days();
    let sizes = cache.sizes(["d", "e"]).saying("d", Field::Measured, yesterday.as_secs());
    sizes.saying("e", Field::Measured, yesterday.as_secs()).write(&cache.root());
    cache.run(["sweep", "--max-entries", "2", "--full-scan"]).success();
    let kept = fs::read_to_string(&path).unwrap();
    assert!(kept.starts_with("hls-cache sizes 1 0\n"), "{kept}");
}

#[test]
fn a_sweep_with_nothing_new_to_remember_leaves_the_file_alone() {
    let cache = five().remembering(FIVE);
    let inode = || fs::metadata(cache.root().join(".sizes")).unwrap().ino();
    let before = inode();
    cache.run(["sweep", "--older-than", "30d"]).success();
    assert_eq!(inode(), before);
    cache.run(["sweep", "--max-entries", "4"]).success().removed_only(["a"]);
    assert_ne!(inode(), before);
}

#[test]
fn the_file_belongs_to_the_caches_owner_and_nobody_else_may_write_it() {
    let cache = five();
    fs::set_permissions(cache.root(), fs::Permissions::from_mode(0o775)).unwrap();
    if need::running_as_root() {
        std::os::unix::fs::chown(cache.root(), Some(65534), Some(65533)).unwrap();
    }
    let cache = cache.remembering(FIVE);
    cache.run(["sweep", "--max-entries", "4"]).success().removed_only(["a"]);
    let (file, root) =
        (fs::metadata(cache.root().join(".sizes")).unwrap(), fs::metadata(cache.root()).unwrap());
    assert_eq!(file.mode() & 0o7777, 0o644);
    assert_eq!((file.uid(), file.gid()), (root.uid(), root.gid()));
}

#[test]
fn what_is_not_a_file_in_its_place_stays_and_the_sweep_works() {
    for name in [".sizes", ".sizes.new"] {
        let cache = five().remembering(FIVE).file("precious", b"precious");
        let _ = fs::remove_file(cache.root().join(name));
        let cache = cache.link(name, "precious");
        let run = cache.run(["sweep", "--max-entries", "3"]).success().no_stderr();
        run.removed_only(["a", "b"]);
        assert_eq!(fs::read_link(cache.root().join(name)).unwrap(), Path::new("precious"));
        assert_eq!(fs::read(cache.root().join("precious")).unwrap(), b"precious");
    }
}

#[test]
fn a_file_that_a_dead_sweep_did_not_rename_is_no_obstacle() {
    let cache = five().remembering(FIVE);
    fs::rename(cache.root().join(".sizes"), cache.root().join(".sizes.new")).unwrap();
    let json = cache.run(["--json", "stats"]).success().json();
    assert_eq!(json["foreign"]["count"], 0);
    let cache = cache.remembering(FIVE);
    cache.run(["sweep", "--max-entries", "4"]).success().removed_only(["a"]);
    assert!(!cache.root().join(".sizes.new").exists());
    let text = fs::read_to_string(cache.root().join(".sizes")).unwrap();
    assert!(text.starts_with("hls-cache sizes 1 4\n"), "{text}");
}

#[test]
fn without_room_for_the_file_a_sweep_works_without_a_word() {
    let Some(cache) = TestCache::on_tmpfs("mode=755,size=2m,nr_inodes=64") else { return };
    let cache = cache.sealed("a", 10.kib(), 9.days()).sealed("b", 10.kib(), 8.days());
    let cache = cache.events("").file(".maintenance.lock", b"").remembering(["a", "b"]);
    for n in 0.. {
        let path = cache.root().join(format!("filler-{n}"));
        if rustix::fs::open(&path, OFlags::CREATE | OFlags::WRONLY, Mode::RWXU).is_err() {
            break;
        }
    }
    cache.run(["sweep", "--older-than", "30d"]).success().no_stderr();
}
