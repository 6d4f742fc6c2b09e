//! `verify`: a sealed entry is whole, or the file that is not is named.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::SystemTime;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};

use crate::common::{Age, Run, SEGMENTS, Size, TestCache, decisions, key, name_of, need};

/// `(status, [(code, file)])` of one entry of the report.
fn finding(json: &Value, name: &str) -> (String, Vec<(String, String)>) {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let entries = json["entries"].as_array().expect("entries");
    let entry = entries.iter().find(|entry| entry["key"] == key(name)).expect("reported");
    let faults = entry["faults"].as_array().expect("faults");
    let faults = faults.iter().map(|fault| (text(&fault["code"]), text(&fault["file"])));
    (text(&entry["status"]), faults.collect())
}

fn verify<'c>(cache: &'c TestCache, options: &[&str]) -> Run<'c> {
    cache.run([&["--json", "verify"], options].concat())
}

/// The entry is damaged in exactly these ways.
#[track_caller]
fn assert_damage(run: &Run<'_>, name: &str, faults: &[(&str, &str)]) {
    let faults = faults.iter().map(|(code, file)| ((*code).into(), (*file).into())).collect();
    assert_eq!(finding(&run.json(), name), ("damaged".into(), faults), "{run}");
}

#[test]
fn what_ffmpeg_wrote_is_whole() {
    let cache = TestCache::new().real("a");
    let a = key("a");
    for options in [&[][..], &["--deep"], &[&a], &[&a, "--segments", "5"], &["--deep", &a]] {
        let run = verify(&cache, options).success().untouched();
        let json = run.json();
        assert_eq!((&json["checked"], &json["healthy"]), (&json!(1), &json!(1)), "{options:?}");
        assert_eq!((&json["damaged"], &json["unsealed"]), (&json!(0), &json!(0)), "{options:?}");
    }
}

#[test]
fn each_file_that_is_missing_or_empty_is_damage_and_is_named() {
    let cases = [
        ("video/init.mp4", "missing-init", "empty-init"),
        ("video/seg-0.m4s", "missing-segment", "empty-segment"),
        ("video/seg-2.m4s", "missing-segment", "empty-segment"),
        ("video/seg-4.m4s", "missing-segment", "empty-segment"),
    ];
    for (file, missing, empty) in cases {
        for deep in [&[][..], &["--deep"]] {
            let cache = TestCache::new().real("a").without("a", file).real("b");
            let run = verify(&cache, deep).code(3).untouched();
            assert_damage(&run, "a", &[(missing, file)]);
            assert_eq!(run.json()["damaged"], 1);
            assert_eq!(run.json()["healthy"], 1);

            let cache = TestCache::new().real("a").emptied("a", file);
            let run = verify(&cache, deep).code(3).untouched();
            assert_damage(&run, "a", &[(empty, file)]);
            cache.run(["verify"]).code(3);
            let human = cache.run(["verify"]);
            assert!(human.stdout().contains(&format!("{file} is empty ({empty})")), "{human}");
        }
    }
}

#[test]
fn the_last_segment_is_known_from_any_playlist_or_from_the_user() {
    let last = "video/seg-4.m4s";
    let cache = TestCache::new().real("a").without("a", last).without("a", "video/ffmpeg-0.m3u8");
    verify(&cache, &[]).success();
    let run = verify(&cache, &[&key("a"), "--segments", "5"]).code(3);
    assert_damage(&run, "a", &[("missing-segment", last)]);

    let cache = cache.in_entry("a", "video/ffmpeg-3.m3u8", b"#EXTM3U\n#EXTINF:2.0,\nseg-4.m4s\n");
    assert_damage(&verify(&cache, &[]).code(3), "a", &[("missing-segment", last)]);
}

#[test]
fn a_file_too_large_for_a_playlist_names_no_segment() {
    let cache = TestCache::new().real("a").in_entry("a", "video/ffmpeg-3.m3u8", b"seg-5.m4s\n");
    verify(&cache, &[]).code(3);
    let path = cache.entry_path("a").join("video/ffmpeg-3.m3u8");
    fs::File::options().write(true).open(path).unwrap().set_len((64 << 20) + 1).unwrap();
    verify(&cache, &[]).success();
}

/// A reader that takes lines in pieces of 4096 bytes sees the end of a comment as a segment's name.
#[test]
fn a_comment_of_any_length_names_no_segment_and_fix_keeps_the_entry() {
    for length in [4095, 4096, 4097, 8191, 8192, 3 * 4096 - 1] {
        let comment = format!("#{}seg-999.m4s\n", "x".repeat(length));
        let playlist = format!("#EXTM3U\n{comment}#EXTINF:2.0,\nseg-4.m4s\n{comment}");
        let playlist = playlist.trim_end().as_bytes();
        let cache = TestCache::new().real("a").in_entry("a", "video/ffmpeg-0.m3u8", playlist);
        let run = verify(&cache, &["--fix"]).success().untouched();
        assert_eq!(finding(&run.json(), "a").0, "healthy", "{length}");
        // What follows the comment is still read.
        let cache = cache.without("a", "video/seg-4.m4s");
        let run = verify(&cache, &[]).code(3);
        assert_damage(&run, "a", &[("missing-segment", "video/seg-4.m4s")]);
    }
}

#[test]
fn a_segment_beyond_the_playlist_still_has_to_be_reached_without_a_gap() {
    let cache = TestCache::new().real("a").in_entry("a", "video/seg-7.m4s", b"media");
    let run = verify(&cache, &[]).code(3);
    assert_damage(&run, "a", &[("missing-segment", "video/seg-5.m4s")]);
}

#[test]
fn a_run_of_missing_segments_is_one_fault_from_its_first_to_its_last() {
    let cache = TestCache::new().real("a");
    let run = verify(&cache, &[&key("a"), "--segments", "1234"]).code(3);
    assert_damage(&run, "a", &[("missing-segment", "video/seg-5.m4s")]);
    assert!(run.stdout().contains("1233"), "the end of the run\n{run}");

    let cache = cache.without("a", "video/seg-0.m4s").without("a", "video/seg-1.m4s");
    let cache = cache.without("a", "video/seg-3.m4s");
    let run = verify(&cache, &[]).code(3);
    let runs = [("missing-segment", "video/seg-0.m4s"), ("missing-segment", "video/seg-3.m4s")];
    assert_damage(&run, "a", &runs);
}

#[test]
fn an_entry_without_a_single_segment_is_damaged() {
    let cache = TestCache::new().sealed("a", 10.kib(), 1.days()).without("a", "video");
    let cache = cache.in_entry("a", "video/init.mp4", b"init");
    assert_damage(&verify(&cache, &[]).code(3), "a", &[("no-segments", "video")]);
}

#[test]
fn an_entry_without_its_video_directory_is_damaged() {
    let cache = TestCache::new().sealed("a", 10.kib(), 1.days()).without("a", "video");
    let faults = [("missing-init", "video/init.mp4"), ("no-segments", "video")];
    assert_damage(&verify(&cache, &[]).code(3), "a", &faults);
}

#[test]
fn a_marker_that_is_no_regular_file_is_for_verify_to_say() {
    let marker = |name| TestCache::new().real(name).without(name, ".complete");
    let directory = marker("a").in_entry("a", ".complete/x", b"");
    let dangling = marker("a");
    symlink("nowhere", dangling.entry_path("a").join(".complete")).unwrap();
    let fifo = marker("a");
    let path = fifo.entry_path("a").join(".complete");
    mknodat(CWD, &path, FileType::Fifo, Mode::from(0o600), 0).unwrap();
    for cache in [directory, dangling, fifo] {
        assert_damage(&verify(&cache, &[]).code(3), "a", &[("bad-marker", ".complete")]);
    }
    verify(&marker("a").in_entry("a", ".complete", b"sealed on a Monday"), &[]).success();
}

#[test]
fn what_stands_where_a_file_should_is_damage_and_is_not_waited_for() {
    for (file, missing) in
        [("video/init.mp4", "missing-init"), ("video/seg-2.m4s", "missing-segment")]
    {
        let directory =
            TestCache::new().real("a").without("a", file).in_entry("a", &format!("{file}/x"), b"x");
        let fifo = TestCache::new().real("a").without("a", file);
        let path = fifo.entry_path("a").join(file);
        mknodat(CWD, &path, FileType::Fifo, Mode::from(0o600), 0).unwrap();
        for cache in [directory, fifo] {
            for deep in [&[][..], &["--deep"]] {
                assert_damage(&verify(&cache, deep).code(3).untouched(), "a", &[(missing, file)]);
            }
        }
    }
}

#[test]
fn fix_removes_what_is_damaged_and_nothing_else() {
    let cache = TestCache::new().real("a").real("b").without("b", "video/seg-1.m4s").partial(
        "p",
        10.kib(),
        5.days(),
    );
    let run = verify(&cache, &["--fix"]).code(3).removed_only(["b"]);
    let json = run.json();
    assert_eq!((&json["checked"], &json["damaged"]), (&json!(2), &json!(1)));
    assert_eq!((&json["unsealed"], &json["removed"]), (&json!(1), &json!(1)));
    assert_eq!(json["entries"][0]["action"], Value::Null, "nothing was to be done");
    assert_eq!(decisions(&json, "removed"), [("b".into(), "damaged".into())]);
    verify(&cache, &["--fix"]).success().removed_only([]);
}

#[test]
fn fix_leaves_what_is_damaged_and_pinned() {
    let cache = TestCache::new().real("a").without("a", "video/seg-1.m4s").pinned("a");
    let run = verify(&cache, &["--fix"]).code(3).untouched();
    assert_eq!(run.json()["removed"], 0);
    assert_eq!(run.json()["damaged"], 1);
    assert_eq!(decisions(&run.json(), "kept"), [("a".into(), "pinned".into())]);
    let unasked = &verify(&cache, &[]).code(3).json()["entries"][0];
    assert_eq!((&unasked["action"], &unasked["reason"]), (&Value::Null, &Value::Null));
}

#[test]
fn a_named_entry_that_is_unsealed_or_absent_is_a_finding_and_is_not_fixed() {
    let cache = TestCache::new().real("a").partial("p", 10.kib(), 5.days());
    let run = verify(&cache, &[&key("a"), &key("p"), &key("gone"), "--fix"]).code(3);
    let json = run.untouched().json();
    assert_eq!(finding(&json, "a").0, "healthy");
    assert_eq!(finding(&json, "p").0, "unsealed");
    assert_eq!(finding(&json, "gone").0, "absent");
    assert_eq!((&json["checked"], &json["removed"]), (&json!(1), &json!(0)));

    let all = verify(&cache, &[]).success();
    assert_eq!(all.json()["unsealed"], 1, "counted, not judged");
}

/// Held at the playlist, which is read after the segments, so that the fault is found already.
#[test]
fn faults_are_those_of_the_sealed_entry_that_the_name_has_in_the_end() {
    let a = &key("a");
    let damaged = || TestCache::new().real("a").without("a", "video/seg-1.m4s").real("b");

    let cache = damaged();
    let run = cache.command(["--json", "verify", a]).pause_at("openat", "ffmpeg-0.m3u8");
    let Some(run) = run else { return };
    fs::rename(cache.entry_path("a"), cache.outside_path("old")).unwrap();
    fs::rename(cache.entry_path("b"), cache.entry_path("a")).unwrap();
    assert_eq!(
        finding(&run.resume().success().json(), "a").0,
        "healthy",
        "replaced by a whole one"
    );

    let cache = damaged();
    let run = cache.command(["--json", "verify", a]).pause_at("openat", "ffmpeg-0.m3u8");
    let Some(run) = run else { return };
    fs::remove_file(cache.entry_path("a").join(".complete")).unwrap();
    assert_eq!(finding(&run.resume().code(3).json(), "a").0, "unsealed", "to be encoded anew");
}

#[test]
fn the_subsets_are_a_partition() {
    let mut cache = TestCache::new();
    let names: BTreeSet<String> = (0..8).map(|n| format!("e{n}")).collect();
    for name in &names {
        cache = cache.real(name).without(name, "video/seg-1.m4s");
    }
    let parts: Vec<Vec<String>> = (1..=3)
        .map(|part| verify(&cache, &["--subset", &format!("{part}/3")]))
        .map(|run| {
            let json = run.json();
            let entries = json["entries"].as_array().unwrap();
            assert_eq!(json["checked"], entries.len());
            entries.iter().map(|entry| name_of(entry["key"].as_str().unwrap())).collect()
        })
        .collect();
    assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), names.len(), "{parts:?}");
    assert_eq!(parts.into_iter().flatten().collect::<BTreeSet<_>>(), names);
    for nonsense in ["0/3", "4/3", "1/0", "0/0", "1", "1/", "/3", "-1/3", "a/b"] {
        cache.run(["verify", "--subset", nonsense]).code(2).no_stdout();
    }
}

/// For timers: the days since 1970 count the parts off, and the last day of a round has the last part.
#[test]
fn the_part_of_today_is_counted_by_days() {
    let mut cache = TestCache::new();
    for name in ["a", "b", "c", "d", "e", "f"] {
        cache = cache.real(name);
    }
    let today = || {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        since_1970.as_secs() / (24 * 60 * 60)
    };
    let entries =
        |subset: &str| verify(&cache, &["--subset", subset]).success().json()["entries"].clone();
    let (day, of_today) = loop {
        let day = today();
        let of_today = entries("today/3");
        // Not where midnight came in between.
        if day == today() {
            break (day, of_today);
        }
    };
    for part in 1..=3 {
        let is_todays = part == day % 3 + 1;
        assert_eq!(entries(&format!("{part}/3")) == of_today, is_todays, "{part}/3 on day {day}");
    }
    for nonsense in ["today/0", "today", "today/", "today/-1", "Today/3", "3/today", "tomorrow/3"] {
        cache.run(["verify", "--subset", nonsense]).code(2).no_stdout();
    }
}

/// In time that grows with the square of their number, this many take longer than any run may.
#[test]
fn fifty_thousand_damaged_entries_are_found_in_one_run() {
    const COUNT: usize = 50_000;
    let Some(cache) = TestCache::on_tmpfs("mode=755") else { return };
    for n in 0..COUNT {
        let entry = cache.root().join(format!("{n:016x}"));
        fs::create_dir(&entry).unwrap();
        symlink("nowhere", entry.join(".complete")).unwrap();
    }
    let run = verify(&cache, &[]).code(3);
    assert_eq!(run.json()["damaged"], COUNT);
    let quiet = cache.run(["-q", "verify"]).code(3).no_stdout();
    quiet.complains_of(&format!("{COUNT} damaged entries: 0000000000000000, "));
}

#[test]
fn segments_needs_exactly_one_key() {
    let cache = TestCache::new().real("a").real("b");
    cache.run(["verify", "--segments", "5"]).code(2).no_stdout();
    cache.run(["verify", "--segments", "5", &key("a"), &key("b")]).code(2).no_stdout();
    cache.run(["verify", "--segments", "many", &key("a")]).code(2).no_stdout();
}

/// The entry `a` with this file cut down to `keep` bytes.
fn cut(cache: TestCache, file: &str, keep: u64) -> TestCache {
    let path = cache.entry_path("a").join(file);
    fs::File::options().write(true).open(path).unwrap().set_len(keep).unwrap();
    cache
}

/// `src/verify/deep/tests.rs` has the table of damages.
#[test]
fn deep_finds_damage_that_a_stat_does_not_show() {
    let (file, subtitle) = ("video/seg-2.m4s", "subs/sub-0.vtt");
    let real = || TestCache::new().real("a");
    let later = fs::read(real().entry_path("a").join("video/seg-3.m4s")).unwrap();
    let noise = vec![b'x'; 20_000];
    let cases = [
        ("cut short", cut(real(), file, 10_000), &[("truncated", file)][..]),
        ("not media at all", real().in_entry("a", file, &noise), &[("bad-box", file)]),
        ("a later segment", real().in_entry("a", file, &later), &[("timeline-gap", file)]),
        ("no subtitles", real().in_entry("a", subtitle, b"<html>"), &[("bad-subtitle", subtitle)]),
    ];
    for (what, cache, faults) in cases {
        println!("{what}");
        verify(&cache, &[]).success();
        assert_damage(&verify(&cache, &["--deep"]).code(3).untouched(), "a", faults);
        verify(&cache, &["--deep", "--fix"]).code(3).removed_only(["a"]);
    }
}

#[test]
fn deep_names_every_damage_of_an_entry_in_the_order_of_its_files() {
    let cache = TestCache::new().real("a");
    let segment = fs::read(cache.entry_path("a").join("video/seg-1.m4s")).unwrap();
    let cache = cut(cache, "video/seg-4.m4s", 5000)
        .in_entry("a", "video/seg-2.m4s", &segment)
        .in_entry("a", "subs/sub-0.vtt", b"<!DOCTYPE html>\n");
    verify(&cache, &[]).success();
    let faults = [
        ("timeline-overlap", "video/seg-2.m4s"),
        ("truncated", "video/seg-4.m4s"),
        ("bad-subtitle", "subs/sub-0.vtt"),
    ];
    assert_damage(&verify(&cache, &["--deep"]).code(3), "a", &faults);
}

#[test]
fn an_entry_made_by_ffmpeg_here_and_now_is_whole_until_it_is_not() {
    if !need::tool("ffmpeg") {
        return;
    }
    let cache = TestCache::new();
    let video = cache.entry_path("a").join("video");
    fs::create_dir_all(&video).unwrap();
    let output = Command::new("ffmpeg")
        .args("-v error -f lavfi -i testsrc2=size=160x90:rate=25:duration=9".split(' '))
        .args("-f lavfi -i sine=duration=9 -c:v libx264 -preset ultrafast -g 50".split(' '))
        .args("-c:a aac -f hls -hls_time 2 -hls_playlist_type vod".split(' '))
        .args("-hls_segment_type fmp4 -hls_fmp4_init_filename init.mp4".split(' '))
        .args("-hls_segment_filename seg-%d.m4s ffmpeg-0.m3u8".split(' '))
        .current_dir(&video)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    verify(&cache, &[]).success();
    verify(&cache, &[&key("a")]).code(3);
    let cache = cache.in_entry("a", ".complete", b"");
    verify(&cache, &["--deep", "--segments", "5", &key("a")]).success().untouched();

    let cache = cache.without("a", "video/seg-3.m4s");
    let run = verify(&cache, &["--fix"]).code(3).removed_only(["a"]);
    assert_damage(&run, "a", &[("missing-segment", "video/seg-3.m4s")]);
}

#[test]
fn verify_and_its_fix_read_sparse_media_without_judging_it() {
    let cache = TestCache::new().sealed("a", 10.mib(), 1.days());
    let segments = SEGMENTS.to_string();
    verify(&cache, &[&key("a"), "--segments", &segments]).success().untouched();
}
