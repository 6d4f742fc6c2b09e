//! `gc-orphans`: an encode that died is cleared away, one that is alive never is.

use std::fs;

use serde_json::json;

use crate::common::{Age, Size, TestCache, decisions, key};

#[test]
fn an_orphan_is_old_enough_when_its_age_equals_the_limit() {
    let cache = || TestCache::new().partial("p", 10.kib(), 10.minutes());
    cache().run(["gc-orphans"]).success().removed_only(["p"]);
    cache().run(["gc-orphans", "--min-age", "10m"]).success().removed_only(["p"]);
    cache().run(["gc-orphans", "--min-age", "11m"]).success().removed_only([]);
    cache().run(["gc-orphans", "--min-age", "0s"]).success().removed_only(["p"]);
}

#[test]
fn the_default_age_is_ten_minutes() {
    TestCache::new()
        .partial("p", 10.kib(), 9.minutes())
        .partial("q", 10.kib(), 11.minutes())
        .run(["gc-orphans"])
        .success()
        .removed_only(["q"]);
}

#[test]
fn an_entry_whose_segments_are_still_written_is_kept_however_old_its_directory_is() {
    for fresh in ["video/seg-2.m4s", "video/init.mp4", "video", "subs/sub-0.vtt", "video/x/y.tmp"] {
        let cache = TestCache::new()
            .partial("p", 10.kib(), 5.days())
            .in_entry("p", "subs/sub-0.vtt", b"WEBVTT\n")
            .in_entry("p", "video/x/y.tmp", b"half a segment")
            .written("p", 5.days())
            .written_at("p", fresh, 1.minutes())
            .used("p", 5.days());
        println!("{fresh}");
        let run = cache.run(["gc-orphans", "--json", "-v"]).success().removed_only([]);
        assert_eq!(decisions(&run.json(), "kept"), [("p".into(), "writing".into())]);
        assert_eq!(run.json()["writing"], cache.totals(["p"]));
        cache.run(["gc-orphans", "--min-age", "30s"]).success().removed_only(["p"]);
    }
}

#[test]
fn a_directory_that_was_made_a_moment_ago_is_an_encode_about_to_begin() {
    let cache = TestCache::new();
    fs::create_dir(cache.entry_path("p")).unwrap();
    cache.run(["gc-orphans"]).success().removed_only([]);
    cache.used("p", 1.hours()).run(["gc-orphans"]).success().removed_only(["p"]);
}

#[test]
fn a_pinned_orphan_is_kept() {
    let cache = TestCache::new()
        .partial("p", 10.kib(), 5.days())
        .partial("q", 5.kib(), 5.days())
        .pinned("p");
    let run = cache.run(["gc-orphans", "--json"]).success().removed_only(["q"]);
    assert_eq!(decisions(&run.json(), "kept"), [("p".into(), "pinned".into())]);
    assert_eq!(run.json()["pinned"], cache.totals(["p"]));
}

#[test]
fn a_sealed_entry_is_never_an_orphan_whatever_its_marker_is() {
    let cache = TestCache::new()
        .sealed("file", 10.kib(), 500.days())
        .partial("dir", 10.kib(), 500.days())
        .partial("link", 10.kib(), 500.days())
        .partial("orphan", 10.kib(), 500.days())
        .in_entry("dir", ".complete/inside", b"")
        .link(format!("{}/.complete", key("link")), "nowhere");
    let cache = cache.written("dir", 500.days()).written("link", 500.days());
    cache.run(["gc-orphans", "--min-age", "0s"]).success().removed_only(["orphan"]);
}

#[test]
fn the_report_says_what_went_and_why() {
    let cache = TestCache::new().partial("p", 10.kib(), 5.days()).sealed("s", 20.kib(), 5.days());
    let dry = cache.run(["gc-orphans", "--json", "-n"]).success().untouched().json();
    assert_eq!(decisions(&dry, "would-remove"), [("p".into(), "orphan".into())]);
    let json = cache.run(["gc-orphans", "--json"]).success().removed_only(["p"]).json();
    assert_eq!(decisions(&json, "removed"), [("p".into(), "orphan".into())]);
    assert_eq!(json["freed_bytes"], 10.kib());
    assert_eq!(json["removed"], 1);
    assert_eq!((&json["before"]["entries"], &json["after"]["entries"]), (&json!(2), &json!(1)));
    assert_eq!(
        (&json["before"]["bytes"], &json["after"]["bytes"]),
        (&json!(30.kib()), &json!(20.kib()))
    );
    assert_eq!(json["entries"][0]["state"], "partial");
}

#[test]
fn a_symlink_in_an_orphan_is_removed_and_never_followed() {
    let cache = TestCache::new()
        .outside("far")
        .partial("p", 10.kib(), 5.days())
        .link(format!("{}/subs", key("p")), "../../far")
        .written("p", 5.days())
        .used("p", 5.days());
    cache.run(["gc-orphans"]).success().removed_only(["p"]);
}

#[test]
fn leftover_trash_is_cleared() {
    let cache = TestCache::new().trash("t").sealed("s", 10.kib(), 1.days());
    let trash = || cache.run(["--json", "stats"]).success().json()["trash"]["entries"].clone();
    cache.run(["gc-orphans", "-n"]).success().untouched();
    assert_eq!(trash(), 1);
    cache.run(["gc-orphans"]).success().removed_only([]);
    assert_eq!(trash(), 0);
}
