//! Refused input: one line that names the thing, the right exit status, and nothing lost.
//!
//! The tests of `src/units.rs` and `src/key.rs` have the tables of valid and invalid sizes, percentages,
//! durations and keys; these tests only prove that each option uses these parsers.

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

/// Runs `args` with the option, and expects the error to name the value, the option and the reason.
#[track_caller]
fn refuses_value(args: &[&str], option: &str, value: &str, reason: &str) {
    let argument = format!("{option}={value}");
    let args = [args, &[&*argument]].concat();
    refused(&args, option);
    let stderr = cache().run(args).code(2).stderr();
    let line = stderr.lines().next().unwrap_or_default();
    let start = format!("error: invalid value '{value}' for '{option} <");
    assert!(line.starts_with(&start) && line.contains(&format!(">': {reason}")), "{stderr}");
}

#[test]
fn every_option_with_a_size_refuses_one_that_is_invalid() {
    let sweep = ["sweep", "--max-entries", "1"];
    for size in ["12Q", ""] {
        for option in ["--max-size", "--min-free", "--min-budget"] {
            refuses_value(&sweep, option, size, "not a size");
        }
        refuses_value(&["stats"], "--max-size", size, "not a size");
    }
    refuses_value(&sweep, "--max-size", "16777216T", "too large");
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
fn every_option_with_a_duration_refuses_one_that_is_invalid() {
    for duration in ["10x", "0", ""] {
        refuses_value(&["sweep"], "--older-than", duration, "not a duration");
        for option in ["--keep-recent", "--min-age", "--wait"] {
            refuses_value(&["sweep", "--max-entries", "0"], option, duration, "not a duration");
        }
        for option in ["--min-age", "--wait"] {
            refuses_value(&["gc-orphans"], option, duration, "not a duration");
        }
    }
    cache().run(["sweep", "--older-than", "0s"]).success().removed_only(["a", "p"]);
}

#[test]
fn every_option_with_a_percentage_refuses_one_that_is_invalid() {
    let whole = "not a whole percentage from 1 to 100";
    refuses_value(&["sweep", "--max-size", "1G"], "--low-water", "101%", whole);
    refuses_value(&["sweep"], "--min-free", "ten%", "not a percentage from 0% to 100%");
}

#[test]
fn counts_that_are_none() {
    for count in ["-1", "1.5", "many", "99999999999999999999", ""] {
        refused(&["sweep", &format!("--max-entries={count}")], count);
    }
}

#[test]
fn an_invalid_key_beside_a_valid_one_is_refused_and_nothing_is_done() {
    let seventeen = key("a") + "0";
    for bad in [&*seventeen, ".."] {
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
    for (name, bad, reason) in [
        ("HLS_CACHE_MAX_SIZE", "12Q", "not a size"),
        ("HLS_CACHE_MIN_FREE", "ten%", "not a percentage"),
        ("HLS_CACHE_KEEP_RECENT", "10x", "not a duration"),
        ("HLS_CACHE_KEEP_RECENT", "0", "not a duration"),
    ] {
        let cache = cache();
        let run = cache.command(["sweep"]).env("HLS_CACHE_MAX_SIZE", "1G").env(name, bad).run();
        let line = format!("error: invalid {name} '{bad}': {reason}");
        run.code(2).no_stdout().untouched().complains_of(&line);
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
fn a_size_and_a_duration_reach_the_limits_as_they_were_given() {
    let cache = TestCache::new();
    let sweep = ["--json", "sweep", "-n", "--max-size", "1.5GB", "--older-than", "1d2h3m4s"];
    let limits = &cache.run(sweep).success().json()["limits"];
    assert_eq!(limits["max_size"], 1_500_000_000);
    assert_eq!(limits["older_than_seconds"], 93_784);
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
