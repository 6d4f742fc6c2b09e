//! `invalidate`: what the user names goes, and nothing else, unless somebody is watching it.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;

use serde_json::json;

use crate::common::{Age, Size, TestCache, decisions, key, name_of};

fn three() -> TestCache {
    TestCache::new().sealed("a", 10.kib(), 1.minutes()).sealed("b", 20.kib(), 5.days()).partial(
        "p",
        5.kib(),
        5.days(),
    )
}

#[test]
fn the_named_entries_go_whatever_their_age_and_state() {
    let cache = three();
    let run = cache.run(["invalidate", "--json", &key("a"), &key("p")]).success();
    let run = run.removed_only(["a", "p"]);
    let invalidated = |name: &str| (name.to_owned(), "invalidated".to_owned());
    assert_eq!(decisions(&run.json(), "removed"), [invalidated("a"), invalidated("p")]);
    assert_eq!(run.json()["freed_bytes"], 15.kib());
    assert_eq!(run.json()["removed"], 2);
}

#[test]
fn one_invalid_key_and_nothing_is_removed() {
    let seventeen = key("a") + "0";
    for bad in [&*seventeen, ""] {
        for keys in [[&key("a"), bad], [bad, &key("a")]] {
            let cache = three();
            let run = cache.run(["--json", "invalidate", keys[0], keys[1]]);
            run.code(2).no_stdout().untouched().complains_of(bad);
            let stdin = keys.join("\n") + "\n";
            if !bad.is_empty() {
                let run = cache.command(["invalidate", "--stdin"]).stdin(stdin).run();
                run.code(2).no_stdout().untouched().complains_of(bad);
            }
        }
    }
}

#[test]
fn an_absent_entry_is_a_success_and_is_said() {
    let cache = three();
    let run = cache.run(["invalidate", "--json", &key("nothing"), &key("b")]).success();
    let json = run.removed_only(["b"]).json();
    let absent: Vec<_> = json["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["action"] == "absent")
        .map(|entry| name_of(entry["key"].as_str().unwrap()))
        .collect();
    assert_eq!(absent, ["nothing"]);
    assert_eq!(json["removed"], 1);
}

#[test]
fn a_pinned_entry_is_left_and_that_is_a_finding() {
    let cache = three().pinned("a");
    let run = cache.run(["invalidate", "--json", &key("a"), &key("b")]).code(3);
    let run = run.removed_only(["b"]);
    assert_eq!(decisions(&run.json(), "kept"), [("a".into(), "pinned".into())]);
}

/// In time that grows with the keys times the entries, this many take longer than any run may.
#[test]
fn fifty_thousand_entries_that_cannot_be_read_are_found_among_a_million_keys() {
    const COUNT: usize = 50_000;
    const KEYS: usize = 1_000_000;
    let Some(cache) = TestCache::on_tmpfs("mode=755") else { return };
    let Some(cache) = cache.by_ordinary_user() else { return };
    let unreadable: String = (0..COUNT)
        .map(|n| {
            let name = format!("{n:016x}");
            DirBuilder::new().mode(0o0).create(cache.root().join(&name)).unwrap();
            name + "\n"
        })
        .collect();
    let keys = (key("nothing") + "\n").repeat(KEYS - COUNT) + &unreadable;
    let json = cache.command(["--json", "invalidate", "--stdin"]).stdin(keys).run().code(1).json();
    assert_eq!(json["failed"], COUNT);
    let absent = json["entries"].as_array().unwrap().iter().filter(|e| e["action"] == "absent");
    assert_eq!(absent.count(), 1);
}

#[test]
fn force_removes_a_pinned_entry() {
    let cache = three().pinned("a");
    let run = cache.run(["invalidate", "--force", "--json", &key("a")]).success();
    let run = run.removed_only(["a"]);
    assert_eq!(decisions(&run.json(), "removed"), [("a".into(), "invalidated".into())]);
}

#[test]
fn a_named_entry_is_protected_by_locks_alone_and_all_spares_what_is_being_written() {
    let cache = three().partial("w", 5.kib(), 1.minutes());
    let run = cache.run(["invalidate", "--all", "--json", "-v"]).code(3);
    let run = run.removed_only(["a", "b", "p"]);
    assert_eq!(decisions(&run.json(), "kept"), [("w".into(), "writing".into())]);
    cache.run(["invalidate", &key("w")]).success().removed_only(["w"]);
}

#[test]
fn all_leaves_what_is_pinned_and_that_is_a_finding() {
    three().pinned("a").run(["invalidate", "--all"]).code(3).removed_only(["b", "p"]);
    three()
        .pinned("a")
        .run(["invalidate", "--all", "--force"])
        .success()
        .removed_only(["a", "b", "p"]);
    TestCache::new().run(["invalidate", "--all"]).success();
}

#[test]
fn keys_come_from_stdin_one_a_line() {
    let cache = three();
    let stdin = format!("{}\n{}", key("a"), key("b"));
    cache.command(["invalidate", "--stdin"]).stdin(stdin).run().success().removed_only(["a", "b"]);
}

#[test]
fn a_key_given_twice_is_removed_once() {
    let cache = three();
    let json = cache.run(["invalidate", "--json", &key("a"), &key("a")]).success();
    assert_eq!(json.removed_only(["a"]).json()["freed_bytes"], 10.kib());
}

#[test]
fn a_dry_run_says_what_would_go_exits_alike_and_changes_nothing() {
    let cache = three().pinned("a");
    let run = cache.run(["invalidate", "--json", "-n", &key("a"), &key("b")]).code(3).untouched();
    assert_eq!(decisions(&run.json(), "would-remove"), [("b".into(), "invalidated".into())]);
    assert_eq!(decisions(&run.json(), "kept"), [("a".into(), "pinned".into())]);
    assert_eq!(run.json()["dry_run"], true);

    cache.run(["invalidate", "-n", "--all", "--force"]).success().untouched();
    cache.run(["invalidate", "-n", &key("absent")]).success().untouched();
}

#[test]
fn without_a_key_stdin_or_all_nothing_is_meant() {
    three().run(["invalidate"]).code(2).no_stdout().untouched();
    three().run(["invalidate", "--force"]).code(2).no_stdout().untouched();
}

#[test]
fn keys_stdin_and_all_exclude_each_other() {
    let a = key("a");
    let conflicts: [&[&str]; 3] = [&["--all", &a], &["--stdin", &a], &["--all", "--stdin"]];
    for conflict in conflicts {
        three().run([&["invalidate"], conflict].concat()).code(2).no_stdout().untouched();
    }
}

#[test]
fn no_environment_variable_forces_or_widens() {
    let cache = three()
        .pinned("a")
        .env("HLS_CACHE_FORCE", "1")
        .env("HLS_CACHE_ALL", "1")
        .env("HLS_CACHE_FIX", "1")
        .without("b", "video/init.mp4");
    cache.run(["invalidate", &key("a")]).code(3).removed_only([]);
    cache.run(["invalidate"]).code(2).untouched();
    cache.run(["verify"]).code(3).untouched();
}

#[test]
fn an_entry_that_leads_outside_is_removed_and_outside_is_not() {
    let cache = three()
        .outside("far")
        .link(format!("{}/link", key("a")), "../../far")
        .without("a", "video")
        .link(format!("{}/video", key("a")), "../../far");
    cache.run(["invalidate", &key("a")]).success().removed_only(["a"]);
}

#[test]
fn bytes_before_and_after_are_the_disk_s() {
    let cache = three();
    let json = cache.run(["invalidate", "--json", &key("b")]).success().json();
    assert_eq!(json["before"]["bytes"], 35.kib());
    assert_eq!(json["after"]["bytes"], TestCache::usage(&cache.entry_path("a")).0 + 5.kib());
    assert_eq!(json["before"]["entries"], json!(3));
    assert_eq!(json["after"]["entries"], json!(2));
}

#[test]
fn a_named_entry_whose_pin_cannot_be_asked_has_failed() {
    let cache = TestCache::new().sealed("a", 10.kib(), 5.days()).sealed("b", 10.kib(), 5.days());
    let cache = cache.dir(crate::common::pin_name("a"));
    for dry in [&["-n"][..], &[]] {
        let run = cache.run([&["--json", "invalidate", &key("a")], dry].concat()).code(1);
        assert_eq!(run.json()["failed"], 1, "{run}");
        assert_eq!(run.json()["entries"][0]["action"], "failed", "{run}");
        assert_eq!(run.json()["entries"][0]["reason"], "error", "{run}");
    }
}
