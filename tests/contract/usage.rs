//! Refused input: one line that names the thing, the right exit status, and nothing lost.

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
        "ten",
        "-1",
        "1.2.3M",
        "KiB",
        "10 apples",
        "1e999",
        "NaN",
        "inf",
        "0x10",
        "18446744073709551616",
        "16777216T",
        "1.5.G",
        "1GG",
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

#[test]
fn durations_that_are_none() {
    let durations =
        ["10x", "ten", "-1h", "h", "1h-", "10 parsecs", "99999999999999999999d", "NaNs", "1h 3q"];
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
        let limit: &[&str] = if command == "sweep" { &["--max-size", "0"] } else { &[] };
        let bad = format!("{option}=10x");
        refused(&[&[command], limit, &[&*bad]].concat(), "10x");
        let empty = format!("{option}=");
        refused(&[&[command], limit, &[&*empty]].concat(), option);
    }
}

#[test]
fn percents_that_are_none() {
    for percent in ["0%", "101%", "-1%", "%", "ten%", "256%", "1000000000000%"] {
        let low_water = format!("--low-water={percent}");
        refused(&["sweep", "--max-size", "1G", &low_water], percent);
    }
    for percent in ["%", "ten%", "-1%", "101%"] {
        refused(&["sweep", &format!("--min-free={percent}")], percent);
    }
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
    refused(&["sweep", "--max-sise", "0"], "--max-sise");
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
        &["sweep", "--max-size", "0"],
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
        &["sweep", "--max-size", "0"],
        &["sweep", "--max-size", "0", "-n"],
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
        assert_eq!(run.json()["entries"], 2, "{root}");
        assert!(run.json()["root"].as_str().unwrap().starts_with('/'), "{run}");
    }
    cache.bare(["--root", "link", "invalidate", &key("a")]).run().success().removed_only(["a"]);
    assert!(fs::symlink_metadata(cache.outside_path("link")).unwrap().is_symlink());
}

#[test]
fn sizes_in_every_form() {
    let sizes: [(&str, u64); 17] = [
        ("0", 0),
        ("1", 1),
        ("4096", 4096),
        ("1K", 1 << 10),
        ("1KiB", 1 << 10),
        ("1KB", 1000),
        ("3M", 3 << 20),
        ("3MiB", 3 << 20),
        ("3MB", 3_000_000),
        ("10G", 10 << 30),
        ("1.5G", 3 << 29),
        ("1.5GB", 1_500_000_000),
        ("0.5KiB", 512),
        ("2T", 2 << 40),
        ("2TB", 2_000_000_000_000),
        ("16777215T", 16_777_215 << 40),
        ("18446744073709551615", u64::MAX),
    ];
    let cache = TestCache::new();
    for (text, bytes) in sizes {
        let args = ["--json", "sweep", "-n", "--min-budget", "0", "--max-size", text];
        let run = cache.run(args).success();
        assert_eq!(run.json()["limits"]["max_size"], bytes, "{text}");
    }
}

#[test]
fn durations_in_every_form() {
    let durations = [
        ("90s", 90),
        ("10m", 600),
        ("24h", 86400),
        ("7d", 604_800),
        ("1h30m", 5400),
        ("1d2h3m4s", 93_784),
    ];
    let cache = TestCache::new();
    for (text, seconds) in durations {
        let run = cache.run(["--json", "sweep", "-n", "--older-than", text]).success();
        assert_eq!(run.json()["limits"]["older_than_seconds"], seconds, "{text}");
    }
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
        assert_eq!(cache.bare(form).run().success().json()["entries"], 2, "{form:?}");
    }
}

#[test]
fn help_and_version_are_results() {
    let cache = TestCache::new();
    for args in [&["--help"][..], &["--version"], &["sweep", "--help"], &["help", "key"]] {
        let run = cache.bare(args).run().success().no_stderr();
        assert!(!run.stdout().is_empty());
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
