//! The examples with jq(1) on hls-cache-json(5) say what their text promises, of a cache with a known answer.

use std::path::Path;
use std::process::{Command, Output};
use std::time::SystemTime;

use crate::common::{Age, Size, TestCache, key, need};

/// The examples of the page, in its order, as a reader would copy them.
fn examples() -> Vec<String> {
    let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/man/hls-cache-json.5"));
    let blocks = page.split(".EX\n").skip(1).filter_map(|rest| rest.split("\n.EE").next());
    blocks
        .map(|block| block.replace("\\-", "-").replace("\\(aq", "'").replace("\\e", "\\"))
        .collect()
}

/// The one example with these words.
fn example(words: &str) -> String {
    let mut found = examples();
    found.retain(|example| example.contains(words));
    assert_eq!(found.len(), 1, "examples with {words}");
    found.remove(0)
}

fn run(cache: &TestCache, example: &str) -> Output {
    let tool = Path::new(env!("CARGO_BIN_EXE_hls-cache")).parent().expect("a directory");
    let path = std::env::var("PATH").unwrap_or_default();
    let media = cache.outside_path("media");
    let output = Command::new("sh")
        .args(["-c", &example.replace("/media", media.to_str().expect("UTF-8"))])
        .env_clear()
        .env("PATH", format!("{}:{path}", tool.display()))
        .env("HLS_CACHE_ROOT", cache.root())
        .output();
    output.expect("sh")
}

#[track_caller]
fn assert_prints(cache: &TestCache, example: &str, expected: &str) {
    let output = run(cache, example);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{example}\n{output:?}");
    assert_eq!(printed, expected, "{example}");
}

fn sweep_line(hours_ago: u64, exit: u8) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    format!("{} sweep max_size=5 exit={exit}\n", (now - hours_ago.hours()).as_secs())
}

fn gib(number: u64) -> u64 {
    (number << 10).mib()
}

/// Sizes are sparse.
fn cache() -> TestCache {
    let cache = TestCache::new()
        .sealed("oldest", gib(50), 100.days())
        .sealed("old", gib(120), 40.days())
        .sealed("recent", gib(100), 20.days())
        .sealed("held", 10.mib(), 50.days())
        .sealed("bad", 5.mib(), 2.days())
        .without("bad", "video/seg-1.m4s")
        .sealed("film", 20.mib(), 1.days());
    let log = ["hit", "hit", "miss", "hit"].map(|event| cache.event(event, "film", 1.hours()));
    let log = log.concat() + &cache.event("miss", "old", 40.days()) + &sweep_line(1, 0);
    cache.events(&log)
}

#[test]
fn the_manuals_jq_examples_print_what_they_promise() {
    if !need::tool("jq") {
        return;
    }
    let cache = cache().file("../media/film.mkv", b"");
    let film = cache.outside_path("media").join("film.mkv");
    let named = cache.bare(
        ["key", "--quality", "1080p"].map(AsRef::as_ref).into_iter().chain([film.as_os_str()]),
    );
    let named = named.run().success().stdout();
    std::fs::rename(cache.entry_path("film"), cache.root().join(named.trim_end())).expect("rename");
    let holder = cache.pin("held");
    let damaged = 5.mib() - TestCache::usage(&cache.entry_path("bad")).0;
    assert!(damaged > 0);

    let unnamed = gib(50 + 120 + 100) + 15.mib() - damaged;
    let evictable = unnamed - 10.mib() + 20.mib();
    let expected = [
        format!("{evictable}\n"),
        "75\n".to_owned(),
        format!("{}\tpin\t{}\n", key("held"), holder.name()),
        format!("null\t5\t{unnamed}\n1080p\t1\t{}\n", 20.mib()),
        format!("older-than\t1\t{}\nover-budget\t1\t{}\n", gib(50), gib(120)),
        format!("{}\tmissing-segment\tvideo/seg-1.m4s\n", key("bad")),
        "true\n".to_owned(),
    ];
    let mut examples = examples();
    // That one has a test of its own.
    examples.retain(|example| !example.contains("invalidate"));
    assert_eq!(examples.len(), expected.len(), "{examples:#?}");
    for (example, expected) in examples.iter().zip(&expected) {
        assert_prints(&cache, example, expected);
    }
}

#[test]
fn the_manuals_pipeline_into_invalidate_removes_exactly_the_entries_that_it_selects() {
    if !need::tool("jq") {
        return;
    }
    let cache = cache().pinned("held");
    let example = example("xargs");
    let output = run(&cache, &example);
    assert!(output.status.success(), "{example}\n{output:?}");
    let left = ["oldest", "old", "recent", "held", "bad", "film"].map(|name| cache.has(name));
    assert_eq!(left, [false, false, true, true, true, true], "{example}");
    // With nothing to select, nothing runs, and nothing fails.
    assert_prints(&cache, &example, "");
}

#[test]
fn the_manuals_rate_of_no_plays_is_unknown() {
    if need::tool("jq") {
        assert_prints(&TestCache::new(), &example("unknown"), "unknown\n");
    }
}

#[test]
fn the_manuals_check_of_the_last_sweep_fails_when_it_is_late_missing_or_short_of_its_limits() {
    if !need::tool("jq") {
        return;
    }
    let example = example("fromdate");
    for log in [sweep_line(3, 0), sweep_line(1, 3), String::new()] {
        let output = run(&TestCache::new().events(&log), &example);
        assert_eq!(output.status.code(), Some(1), "{log}{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "false\n", "{log}");
    }
}
