//! Refused input: one line that names the thing, the right exit status, and nothing lost.
//!
//! What is a size, a percentage and a duration is in the tests of `src/units.rs`; here are the options
//! that take one, and what those tests leave out.

use std::fs;

use crate::common::{Age, Size, TestCache, key};

fn cache() -> TestCache {
    TestCache::new().sealed("a", 10.kib(), 5.days()).partial("p", 10.kib(), 5.days())
}

#[track_caller]
fn refused(args: &[&str], thing: &str) {
    cache().run(args).code(2).no_stdout().untouched().complains_of(thing);
    cache().run([&["--json"], args].concat()).code(2).no_stdout().untouched();
}

#[test]
fn sizes_that_are_none() {
    let sizes = [
        "10X",
        "1.2.3M",
        "KiB",
        "10 apples",
        "1e999",
        "inf",
        "0x10",
        "16777216T",
        "1.5.G",
        "10iB",
        "99999999999999999999999",
    ];
    for size in sizes {
        refused(&["sweep", &format!("--max-size={size}")], size);
    }
    for option in ["--max-size", "--min-free", "--min-budget"] {
        refused(&["sweep", "--max-entries", "1", &format!("{option}=12Q")], "12Q");
        refused(&["sweep", "--max-entries", "1", &format!("{option}=")], option);
    }
    refused(&["stats", "--max-size", "12Q"], "12Q");
}

/// Whoever types `--max-size 150` means 150G, and must not find the cache emptied.
#[test]
fn a_bare_number_under_the_least_budget_is_refused_with_what_to_write() {
    let means = |name: &str, number: &str| {
        format!(
            "error: {name} {number} means {number} bytes; write {number}G, or {number}B with --min-budget 0\n"
        )
    };
    for number in ["150", "0", "1073741823"] {
        for more in [&[][..], &["-n"], &["--json"]] {
            let cache = cache();
            let sweep = [&["sweep", "--max-size", number], more].concat();
            let run = cache.run(sweep).code(2).no_stdout().untouched();
            assert!(run.stderr().ends_with(&means("--max-size", number)), "{run}");
        }
        let cache = cache().env("HLS_CACHE_MAX_SIZE", number);
        let run = cache.run(["sweep"]).code(2).no_stdout().untouched();
        assert!(run.stderr().ends_with(&means("HLS_CACHE_MAX_SIZE", number)), "{run}");
        // Not read where the command line names a limit, and no limit to `stats`.
        cache.run(["sweep", "--max-entries", "9"]).success().removed_only([]);
        cache.run(["stats"]).success().no_stderr();
        cache.run(["stats", "--max-size", number]).success().no_stderr();
    }
    let fraction = "--max-size 1.5 means 1 byte; write 1.5G, or 1.5B with --min-budget 0";
    cache().run(["sweep", "--max-size", "1.5"]).code(2).untouched().complains_of(fraction);
    let low = ["sweep", "--max-size", "999", "--min-budget", "1000"];
    cache().run(low).code(2).no_stdout().untouched().complains_of("999 bytes");

    // With a unit it is raised, and from the least budget on a bare number is what it says.
    for meant in ["150B", "150K", "1023MiB"] {
        let cache = cache();
        let run = cache.run(["--json", "sweep", "--max-size", meant]).success().removed_only([]);
        assert_eq!(run.json()["limits"]["max_size"], 1024.mib(), "{meant}");
        assert_eq!(run.json()["warnings"].as_array().unwrap().len(), 1, "{run}");
    }
    for (number, least) in [("1073741824", "1GiB"), ("1000", "1000"), ("150", "0"), ("0", "0")] {
        let sweep = ["--json", "sweep", "-n", "--max-size", number, "--min-budget", least];
        let cache = cache();
        let run = cache.run(sweep).success().no_stderr();
        assert_eq!(run.json()["limits"]["max_size"].to_string(), number);
    }
}

#[test]
fn a_duration_of_nothing_needs_a_unit_too() {
    for bare in ["0", "0.0"] {
        refused(&["sweep", "--older-than", bare], "not a duration");
        for option in ["--keep-recent", "--min-age", "--wait"] {
            refused(&["sweep", "--max-entries", "0", option, bare], "not a duration");
        }
        refused(&["gc-orphans", "--min-age", bare], "not a duration");
        refused(&["gc-orphans", "--wait", bare], "not a duration");
        let cache = cache().env("HLS_CACHE_KEEP_RECENT", bare);
        let sweep = ["sweep", "--max-entries", "0"];
        cache.run(sweep).code(2).untouched().complains_of("HLS_CACHE_KEEP_RECENT");
    }
    cache().run(["sweep", "--older-than", "0s"]).success().removed_only(["a", "p"]);
}

#[test]
fn durations_that_are_none() {
    let durations = ["10x", "ten", "-1h", "h", "1h-", "10 parsecs", "NaNs", "1h 3q"];
    for duration in durations {
        refused(&["sweep", &format!("--older-than={duration}")], duration);
    }
    let options = [
        ("sweep", "--keep-recent"),
        ("sweep", "--min-age"),
        ("sweep", "--wait"),
        ("gc-orphans", "--min-age"),
        ("gc-orphans", "--wait"),
    ];
    for (command, option) in options {
        let limit: &[&str] = if command == "sweep" { &["--max-size", "1G"] } else { &[] };
        let bad = format!("{option}=10x");
        refused(&[&[command], limit, &[&*bad]].concat(), "10x");
        let empty = format!("{option}=");
        refused(&[&[command], limit, &[&*empty]].concat(), option);
    }
}

#[test]
fn percents_that_are_none() {
    for percent in ["0%", "101%", "-1%", "ten%", "256%", "1000000000000%"] {
        let low_water = format!("--low-water={percent}");
        refused(&["sweep", "--max-size", "1G", &low_water], percent);
    }
    refused(&["sweep", "--min-free=ten%"], "ten%");
}

#[test]
fn counts_that_are_none() {
    for count in ["-1", "1.5", "many", "99999999999999999999", ""] {
        refused(&["sweep", &format!("--max-entries={count}")], count);
    }
}

#[test]
fn keys_that_are_none() {
    let seventeen = key("a") + "0";
    for bad in ["610000000000000", &*seventeen, "6A00000000000000", "g100000000000000", "..", "."] {
        refused(&["invalidate", bad], bad);
        refused(&["invalidate", "--force", &key("a"), bad], bad);
        refused(&["verify", bad], bad);
        refused(&["verify", "--fix", &key("a"), bad], bad);
    }
}

#[test]
fn commands_and_options_that_are_none() {
    refused(&[], "");
    refused(&["destroy"], "destroy");
    refused(&["sweep", "--max-sise", "1G"], "--max-sise");
    refused(&["stats", "extra"], "extra");
    refused(&["gc-orphans", "extra"], "extra");
    refused(&["-q", "-v", "stats"], "-v");
}

#[test]
fn a_bad_environment_limit_is_refused_by_name() {
    for (name, bad) in [
        ("HLS_CACHE_MAX_SIZE", "12Q"),
        ("HLS_CACHE_MIN_FREE", "ten%"),
        ("HLS_CACHE_KEEP_RECENT", "10x"),
    ] {
        let cache = cache();
        let run = cache.command(["sweep"]).env("HLS_CACHE_MAX_SIZE", "1G").env(name, bad).run();
        run.code(2).no_stdout().untouched().complains_of(bad);
    }
}

#[test]
fn the_root_has_no_default_and_may_not_be_empty() {
    let a = key("a");
    let commands: [&[&str]; 5] = [
        &["stats"],
        &["verify"],
        &["sweep", "--max-size", "1G"],
        &["gc-orphans"],
        &["invalidate", &a],
    ];
    for command in commands {
        let cache = cache();
        let run = |args: &[&str], env: Option<&str>| {
            let run = cache.bare([args, command].concat()).cwd(cache.root());
            let run = match env {
                Some(root) => run.env("HLS_CACHE_ROOT", root),
                None => run,
            };
            run.run().code(2).no_stdout().untouched();
        };
        run(&[], None);
        run(&[], Some(""));
        run(&["--root", ""], None);
        run(&["--root="], None);
    }
}

#[test]
fn an_empty_root_is_refused_where_none_is_needed_and_an_empty_variable_is_not() {
    let cache = cache();
    for empty in [&["--root", ""][..], &["--root="]] {
        for variable in ["", "/srv"] {
            let key = cache.bare([empty, &["key", "--quality", "q", "/a"]].concat());
            key.env("HLS_CACHE_ROOT", variable).run().code(2).no_stdout().complains_of("--root");
        }
    }
    let key = cache.bare(["key", "--quality", "q", "/a"]).env("HLS_CACHE_ROOT", "");
    key.run().success().no_stderr();
    let dir = cache.bare(["key", "--quality", "q", "/a", "--dir"]).env("HLS_CACHE_ROOT", "");
    dir.run().code(2).no_stdout();
}

#[test]
fn a_root_that_is_missing_or_no_directory_is_not_an_empty_cache() {
    let cache = cache().outside("other").link("loop", "loop");
    let file = cache.outside_path("other").join("precious");
    let roots = [
        cache.outside_path("unmounted"),
        file.clone(),
        file.join("below"),
        cache.root().join("loop"),
    ];
    let a = key("a");
    let commands: [&[&str]; 7] = [
        &["stats"],
        &["verify"],
        &["sweep", "--max-size", "1G"],
        &["sweep", "--max-size", "1G", "-n"],
        &["gc-orphans"],
        &["invalidate", &a],
        &["invalidate", "--all"],
    ];
    for root in roots {
        let root = root.to_str().unwrap();
        for command in commands {
            let run = cache.bare([&["--root", root], command].concat()).run();
            run.code(1).untouched().complains_of(root);
        }
    }
}

#[test]
fn the_root_is_taken_from_the_option_before_the_environment() {
    let cache = cache();
    cache
        .bare(["invalidate", &key("a")])
        .env("HLS_CACHE_ROOT", cache.root())
        .run()
        .success()
        .removed_only(["a"]);
    let cache = cache.outside("other");
    cache
        .command(["invalidate", &key("p")])
        .env("HLS_CACHE_ROOT", cache.outside_path("other"))
        .run()
        .success()
        .removed_only(["p"]);
}

#[test]
fn the_root_may_be_a_symlink_or_relative() {
    let cache = cache();
    std::os::unix::fs::symlink("root", cache.outside_path("link")).unwrap();
    for root in ["link", "link/", "./root", "root/../root"] {
        let run = cache.bare(["--json", "--root", root, "stats"]).run().success().untouched();
        assert_eq!(run.json()["total"]["entries"], 2, "{root}");
        assert!(run.json()["root"].as_str().unwrap().starts_with('/'), "{run}");
    }
    cache.bare(["--root", "link", "invalidate", &key("a")]).run().success().removed_only(["a"]);
    assert!(fs::symlink_metadata(cache.outside_path("link")).unwrap().is_symlink());
}

#[test]
fn sizes_that_the_parsers_own_tests_leave_out() {
    let sizes: [(&str, u64); 9] = [
        ("1KB", 1000),
        ("3M", 3 << 20),
        ("3MiB", 3 << 20),
        ("3MB", 3_000_000),
        ("10G", 10 << 30),
        ("1.5GB", 1_500_000_000),
        ("0.5KiB", 512),
        ("2T", 2 << 40),
        ("16777215T", 16_777_215 << 40),
    ];
    let cache = TestCache::new();
    for (text, bytes) in sizes {
        let args = ["--json", "sweep", "-n", "--min-budget", "0", "--max-size", text];
        let run = cache.run(args).success();
        assert_eq!(run.json()["limits"]["max_size"], bytes, "{text}");
    }
}

#[test]
fn a_duration_is_the_sum_of_its_parts() {
    let cache = TestCache::new();
    let run = cache.run(["--json", "sweep", "-n", "--older-than", "1d2h3m4s"]).success();
    assert_eq!(run.json()["limits"]["older_than_seconds"], 93_784);
}

#[test]
fn common_options_stand_before_or_after_the_command() {
    let cache = cache();
    let root = cache.root();
    let root = root.to_str().unwrap();
    let forms: [&[&str]; 4] = [
        &["--root", root, "--json", "-q", "stats"],
        &["stats", "--root", root, "--json", "-q"],
        &["--json", "stats", "-v", "--root", root],
        &["-v", "--root", root, "stats", "--json"],
    ];
    for form in forms {
        assert_eq!(cache.bare(form).run().success().json()["total"]["entries"], 2, "{form:?}");
    }
}

#[test]
fn help_and_version_are_results() {
    const ALL: [&[&str]; 5] =
        [&["--help"], &["--version"], &["sweep", "--help"], &["help", "key"], &["stats", "-V"]];
    let cache = TestCache::new();
    for args in ALL {
        let run = cache.bare(args).run().success().no_stderr();
        assert!(!run.stdout().is_empty());
        let full = cache.bare(args).under(["sh", "-c", "exec \"$0\" \"$@\" >/dev/full"]);
        full.run().code(1).complains_of("standard output");
        // A reader who has seen enough.
        let closed = cache.bare(args).with_closed_stdout();
        assert_eq!(closed.status.code(), Some(0), "{args:?}: {closed:?}");
        assert!(closed.stderr.is_empty(), "{args:?}: {closed:?}");
    }
}

#[test]
fn options_that_exclude_each_other_do_so_on_both_sides_of_the_command() {
    let cache = cache();
    for form in [
        &["-q", "stats", "-v"][..],
        &["-v", "stats", "-q"],
        &["--json", "stats", "--prometheus"],
        &["stats", "--json", "--prometheus"],
    ] {
        cache.run(form).code(2).no_stdout();
    }
}
