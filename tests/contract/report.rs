//! The shape of every report, where it goes, and the exit status that goes with it.

use serde_json::{Value, json};

use crate::common::{Age, Run, Size, TestCache, key, pin_name};

fn cache() -> TestCache {
    TestCache::new().sealed("a", 10.kib(), 5.days()).sealed("b", 10.kib(), 4.days()).partial(
        "p",
        10.kib(),
        5.days(),
    )
}

#[test]
fn every_object_says_what_it_is_about() {
    let a = key("a");
    let commands: [(&str, &[&str]); 6] = [
        ("stats", &[]),
        ("verify", &[]),
        ("sweep", &["--max-size", "1G"]),
        ("gc-orphans", &[]),
        ("invalidate", &[&a]),
        ("invalidate", &["-n", "--all"]),
    ];
    for (command, options) in commands {
        let cache = cache();
        let json = cache.run([&["--json", command], options].concat()).success().json();
        assert_eq!(json["schema_version"], 2);
        assert_eq!(json["command"], command);
        let root = cache.root().canonicalize().unwrap();
        assert_eq!(json["root"], *root.to_str().unwrap());
        assert_eq!((&json["warnings"], &json["errors"]), (&json!([]), &json!([])), "{command}");
    }
}

#[test]
fn the_removing_commands_share_one_shape() {
    let commands: [&[&str]; 3] = [
        &["sweep", "--max-size", "0", "--min-budget", "0"],
        &["gc-orphans"],
        &["invalidate", "--all"],
    ];
    let has = |json: &Value, fields: &[&str]| {
        for field in fields {
            assert!(json.get(field).is_some(), "no {field} in {json}");
        }
    };
    for command in commands {
        let json = cache().run([&["--json"], command].concat()).json();
        has(
            &json,
            &[
                "dry_run",
                "before",
                "after",
                "pinned",
                "writing",
                "removed",
                "freed_bytes",
                "failed",
            ],
        );
        for totals in ["before", "after"] {
            has(&json[totals], &["entries", "bytes", "allocated_bytes"]);
        }
        let fields = [
            "key",
            "action",
            "reason",
            "state",
            "bytes",
            "allocated_bytes",
            "last_used",
            "age_seconds",
        ];
        let entries = json["entries"].as_array().unwrap();
        assert!(!entries.is_empty());
        for entry in entries {
            has(entry, &fields);
            let time = entry["last_used"].as_str().unwrap();
            assert!(time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok(), "{time}");
        }
        if command[0] == "sweep" {
            has(&json, &["limits", "unmet", "target_met"]);
            has(&json["limits"], &["max_size", "max_entries", "min_free", "older_than_seconds"]);
        }
    }
}

#[test]
fn an_entry_is_told_alike_wherever_one_is_told() {
    let cache = cache().partial("w", 10.kib(), 1.minutes()).pinned("b");
    let told = |args: &[&str]| {
        let mut entries = cache.run([&["--json"], args].concat()).json()["entries"].take();
        for entry in entries.as_array_mut().unwrap() {
            let entry = entry.as_object_mut().unwrap();
            entry.retain(|name, _| name != "action" && name != "reason" && name != "age_seconds");
        }
        let mut entries = entries.as_array().unwrap().clone();
        entries.sort_by_key(|entry| entry["key"].to_string());
        entries
    };
    let stats = told(&["stats", "--entries"]);
    assert_eq!(stats.len(), 4);
    for args in
        [&["sweep", "--max-entries", "0"][..], &["gc-orphans"], &["invalidate", "--all", "--force"]]
    {
        assert_eq!(told(&[args, &["-n", "-v"]].concat()), stats, "{args:?}");
    }
}

/// What the user says is not in use is not, and what goes by force was in use.
#[test]
fn in_use_is_what_this_run_takes_for_it() {
    let cache =
        TestCache::new().partial("w", 10.kib(), 1.minutes()).sealed("b", 10.kib(), 1.days());
    let cache = cache.pinned("b");
    let orphans = cache.run(["--json", "gc-orphans", "-n", "--min-age", "0s"]).success().json();
    assert_eq!(orphans["entries"][0]["in_use"], Value::Null, "{orphans}");
    let forced = cache.run(["--json", "invalidate", "--force", &key("b")]).success().json();
    let forced = &forced["entries"][0];
    assert_eq!((&forced["action"], &forced["in_use"]["how"]), (&json!("removed"), &json!("pin")));
    assert_eq!(forced["in_use"]["holders"][0]["command"], "cat");
}

#[test]
fn exit_statuses() {
    let a = key("a");
    let sweep = ["sweep", "--max-size", "0", "--min-budget", "0"];
    let none = key("none");
    let damaged = || cache().without("a", "video/init.mp4");
    let cases: [(&str, TestCache, &[&str], i32); 14] = [
        ("nothing to do", cache(), &["sweep", "--max-size", "1T"], 0),
        ("swept", cache(), &sweep, 0),
        ("limit not met", cache().pinned("a"), &sweep, 3),
        ("no damage", cache(), &["verify"], 0),
        ("damage", damaged(), &["verify"], 3),
        ("damage, fixed", damaged(), &["verify", "--fix"], 3),
        ("key absent", cache(), &["verify", &none], 3),
        ("orphan pinned", cache().pinned("p"), &["gc-orphans"], 0),
        ("invalidated", cache(), &["invalidate", &a], 0),
        ("nothing to invalidate", cache(), &["invalidate", &none], 0),
        ("invalidate pinned", cache().pinned("a"), &["invalidate", &a], 3),
        ("dry, pinned", cache().pinned("a"), &["invalidate", &a, "-n"], 3),
        ("lock is a directory", cache().dir(format!(".{a}.pin")), &["invalidate", &a], 1),
        ("no limit", cache(), &["sweep"], 2),
    ];
    for (what, cache, args, code) in cases {
        println!("{what}");
        cache.run(args).code(code);
    }
}

#[test]
fn an_error_wins_over_a_finding_and_the_rest_is_still_done() {
    let cache = cache().pinned("a").dir(format!(".{}.pin", key("b")));
    let run = cache.run(["--json", "invalidate", &key("a"), &key("b"), &key("p")]).code(1);
    let json = run.removed_only(["p"]).json();
    assert_eq!(json["errors"].as_array().unwrap().len(), 1);
    assert_eq!(json["removed"], 1);
}

#[test]
fn a_root_that_cannot_be_read_is_an_error_in_the_report() {
    let cache = cache();
    let missing = cache.outside_path("unmounted");
    let missing = missing.to_str().unwrap();
    let run = cache.bare(["--json", "--root", missing, "stats"]).run().code(1);
    let json = run.json();
    assert_eq!((&json["schema_version"], &json["command"]), (&json!(2), &json!("stats")));
    assert_eq!(json["errors"][0]["path"], missing);
    assert!(json["errors"][0]["message"].is_string());
}

#[test]
fn results_are_on_stdout_and_diagnostics_are_not() {
    let warned = |run: Run<'_>| {
        assert!(!run.stderr().is_empty(), "the warning\n{run}");
        run.json();
    };
    warned(cache().run(["--json", "sweep", "--max-size", "1K"]).success());
    let clean = cache();
    clean.run(["--json", "stats"]).success().no_stderr();
    clean.run(["-q", "sweep", "--max-size", "1T"]).success().no_stderr();
}

/// Every command that removes, `a` before `b`, with a cache of both.
fn removers() -> [(TestCache, Vec<String>); 5] {
    let sealed =
        || TestCache::new().sealed("a", 10.kib(), 5.days()).sealed("b", 10.kib(), 4.days());
    let damaged = || sealed().without("a", "video/seg-1.m4s").without("b", "video/seg-1.m4s");
    let partial =
        || TestCache::new().partial("a", 10.kib(), 5.days()).partial("b", 10.kib(), 4.days());
    let (a, b) = (key("a"), key("b"));
    [
        (sealed(), vec!["sweep", "--max-entries", "0"]),
        (partial(), vec!["gc-orphans"]),
        (sealed(), vec!["invalidate", &a, &b]),
        (sealed(), vec!["invalidate", "--all"]),
        (damaged(), vec!["verify", "--fix"]),
    ]
    .map(|(cache, args)| (cache, args.into_iter().map(String::from).collect()))
}

#[test]
fn a_removal_is_said_before_the_next_one_happens_and_only_once() {
    for (cache, command) in removers() {
        let Some(mut run) = cache.command(&command).pause_at("linkat", &pin_name("b")) else {
            return;
        };
        assert!(!cache.has("a") && cache.has("b"), "{command:?}");
        let said = run.said();
        let (a, b) = (key("a"), key("b"));
        assert!(said.contains(&a) && said.contains("removed"), "{command:?} said: {said:?}");
        assert!(said.ends_with('\n') && !said.contains(&b), "{command:?} said: {said:?}");
        let run = run.resume().removed(["a", "b"]);
        let all = run.stdout();
        assert_eq!((all.matches(&a).count(), all.matches(&b).count()), (1, 1), "{run}");
        assert_eq!(all.lines().count(), 3, "{run}");
    }
}

#[test]
fn json_says_nothing_before_the_end() {
    for (cache, command) in removers() {
        let command = [&["--json".into()], &*command].concat();
        let Some(mut run) = cache.command(&command).pause_at("linkat", &pin_name("b")) else {
            return;
        };
        assert_eq!(run.said(), "", "{command:?}");
        run.resume().removed(["a", "b"]).json();
    }
}

#[test]
fn an_output_that_cannot_be_written_stops_no_removal() {
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    for (cache, command) in removers() {
        let mut process = cache.command(&command).process();
        let output = process.stdout(full()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("standard output: cannot write: No space left"), "{stderr}");
        assert!(!cache.has("a") && !cache.has("b"), "{command:?}");
    }
}

#[test]
fn a_closed_stdout_ends_quietly_and_what_was_asked_for_is_done() {
    for form in [&[][..], &["--json", "-v"]] {
        for (cache, command) in removers() {
            // Damage is a finding, mended or not.
            let code = if command[0] == "verify" { 3 } else { 0 };
            let form = form.iter().map(|&word| word.to_owned());
            let command: Vec<String> = form.chain(command).collect();
            let output = cache.command(&command).with_closed_stdout();
            assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{command:?}");
            assert_eq!(output.status.code(), Some(code), "{command:?}");
            assert!(!cache.has("a") && !cache.has("b"), "{command:?}");
        }
    }
}
