//! What `stats` says to type next does what it says.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::common::{Age, Run, Size, TestCache, key, name_of};

/// The command that the screen ends with, and what it would do.
#[track_caller]
fn next(run: &Run<'_>) -> (Option<String>, String) {
    let shown = run.stdout();
    let (_, advice) = shown.split_once("\nNext:").expect("advice");
    let mut lines: Vec<&str> = advice.lines().map(str::trim).collect();
    let command = lines[0].starts_with("hls-cache").then(|| lines.remove(0).to_owned());
    (command, lines.join(" "))
}

/// Types it, in a shell that finds the tool.
fn typed(command: &str, cache: &TestCache) -> Output {
    let tool = Path::new(env!("CARGO_BIN_EXE_hls-cache")).parent().expect("a directory");
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]).env_clear().env("PATH", tool).current_dir(cache.base());
    shell.output().expect("sh")
}

fn names(cache: &TestCache) -> Vec<String> {
    let names =
        fs::read_dir(cache.root()).expect("root").map(|name| name.expect("root").file_name());
    let names = names.map(|name| name.into_string().expect("a name"));
    let mut names: Vec<String> =
        names.filter(|name| name.len() == 16).map(|key| name_of(&key)).collect();
    names.sort();
    names
}

/// Follows the advice of `stats` with `options`, and returns it.
#[track_caller]
fn followed(cache: &TestCache, options: &[&str], left: &[&str]) -> (String, String) {
    let run = cache.run([&["stats"], options].concat()).success();
    let (command, effect) = next(&run);
    let command = command.unwrap_or_else(|| panic!("nothing to type: {effect}"));
    let output = typed(&command, cache);
    assert!(output.status.success(), "{command}: {output:?}");
    assert_eq!(names(cache), left, "{command}");
    (command, effect)
}

fn three() -> TestCache {
    TestCache::new().sealed("a", 10.mib(), 9.days()).sealed("b", 10.mib(), 5.days()).sealed(
        "c",
        10.mib(),
        2.days(),
    )
}

#[test]
fn over_budget_it_is_the_sweep_that_meets_it() {
    let cache = three();
    let (command, effect) = followed(&cache, &["--max-size", "10M"], &["c"]);
    assert!(command.ends_with(" sweep --max-size 10M --min-budget 0"), "{command}");
    assert_eq!(effect, "2 entries (20 MiB) must go; none was used in the last 5d 0h");
    let met = cache.run(["stats", "--max-size", "10M"]).success();
    assert_eq!(next(&met), (None, "nothing to do: the limits are met".into()));
}

#[test]
fn a_root_in_the_environment_need_not_be_typed() {
    let cache = three().env("HLS_CACHE_MAX_SIZE", "2G");
    let run = cache.bare(["stats", "--max-size", "1M"]).env("HLS_CACHE_ROOT", cache.root()).run();
    let command = next(&run.success()).0.expect("a command");
    assert_eq!(command, "hls-cache sweep --max-size 1M --min-budget 0");
}

#[test]
fn a_root_that_a_shell_would_split_is_quoted() {
    for name in ["films & more", "it's", "a$HOME`b`", "*"] {
        let cache = three();
        let root = cache.outside_path(name);
        fs::rename(cache.root(), &root).unwrap();
        let run = cache
            .bare(
                ["stats", "--max-size", "10M", "--root"]
                    .map(Into::into)
                    .into_iter()
                    .chain([root.clone().into_os_string()]),
            )
            .run()
            .success();
        let (command, _) = next(&run);
        let output = typed(&command.expect("a command"), &cache);
        assert!(output.status.success(), "{name}: {output:?}");
        assert!(!root.join(key("a")).exists() && root.join(key("c")).exists(), "{name}");
    }
}

#[test]
fn the_limits_of_the_last_sweep_are_those_of_the_next() {
    let cache = three();
    let sweep = ["sweep", "--max-size", "25M", "--min-budget", "0", "--keep-recent", "6d"];
    cache.run(sweep).success().removed_only(["a"]);
    let cache = cache.sealed("d", 10.mib(), 8.days());
    let (command, effect) = followed(&cache, &[], &["b", "c"]);
    assert!(command.ends_with("--max-size 25M --keep-recent 6d --min-budget 0"), "{command}");
    assert_eq!(effect, "1 entry (10 MiB) must go; it was not used in the last 8d 0h");
}

#[test]
fn nobody_is_told_to_evict_what_may_be_watched() {
    let cache = three().sealed("w", 10.mib(), 2.hours());
    let (command, effect) = next(&cache.run(["stats", "--max-size", "1M"]).success());
    let command = command.expect("a command");
    assert!(command.contains(" --keep-recent 4h "), "{command}");
    assert_eq!(typed(&command, &cache).status.code(), Some(3));
    assert_eq!(names(&cache), ["w"]);
    assert!(effect.ends_with("; even then 9 MiB are over"), "{effect}");
}

#[test]
fn what_only_best_effort_evicts_is_said() {
    let cache = three().pinned("c");
    let run = cache.run(["stats", "--max-size", "5M"]).success();
    let (command, effect) = next(&run);
    let command = command.expect("a command");
    assert!(command.ends_with(" --best-effort"), "{command}");
    assert_eq!(typed(&command, &cache).status.code(), Some(3), "{command}");
    assert_eq!(names(&cache), ["c"]);
    assert_eq!(
        effect,
        "2 entries (20 MiB) must go; none was used in the last 5d 0h; even then 5 MiB are over"
    );
}

#[test]
fn a_full_disk_needs_no_limit_to_be_seen() {
    // Sparse, so that there are films enough; what they occupy is little, and the disk is less.
    let Some(cache) = TestCache::on_tmpfs("size=8m,mode=755") else { return };
    let block = vec![b'x'; 1 << 20];
    let cache = cache
        .sealed("a", 1024.mib(), 9.days())
        .in_entry("a", "video/block", &block)
        .sealed("b", 1024.mib(), 5.days())
        .in_entry("b", "video/block", &block)
        .file("somebody/else", &vec![b'x'; 6_100_000]);
    let cache = cache.written("a", 9.days()).used("a", 9.days());
    let cache = cache.written("b", 5.days()).used("b", 5.days());
    let (command, effect) = followed(&cache, &[], &["b"]);
    assert!(command.ends_with(" sweep --min-free 5%"), "{command}");
    assert!(effect.starts_with("1 entry (1.0"), "{effect}");
    let run = cache.run(["stats"]).success();
    assert_eq!(next(&run), (None, "nothing to do: the limits are met".into()));
}

#[test]
fn what_died_is_cleared_up() {
    let cache = three().partial("p", 4.mib(), 3.days()).trash("t");
    let (command, effect) = followed(&cache, &["--max-size", "1G"], &["a", "b", "c"]);
    assert!(command.ends_with(" gc-orphans"), "{command}");
    assert!(effect.starts_with("removes 1 entry (4 MiB) of dead encodes, and frees"), "{effect}");
    assert!(!cache.root().join(".trash").exists());
}

#[test]
fn the_cache_is_found_above_and_below() {
    let cache = three();
    for wrong in
        [cache.base().to_owned(), cache.entry_path("a"), cache.entry_path("a").join("video")]
    {
        let args = ["stats".into(), "--root".into(), wrong.clone().into_os_string()];
        let run = cache.bare(args).run().success();
        let command = next(&run).0.expect("a command");
        let found = typed(&command, &cache);
        let shown = String::from_utf8(found.stdout).unwrap();
        assert!(
            shown.contains("\nall                    3  30 MiB"),
            "{}: {shown}",
            wrong.display()
        );
    }
}

#[test]
fn without_limits_it_helps_to_choose_one() {
    let cache = three();
    let (command, _) = followed(&cache, &[], &["a", "b", "c"]);
    assert!(command.ends_with(" stats --histogram"), "{command}");
    let log = cache.event("hit", "a", 1.days());
    let (command, _) = followed(&cache.events(&log), &[], &["a", "b", "c"]);
    assert!(command.ends_with(" stats --history"), "{command}");
}

#[test]
fn checking_says_in_a_line_what_is_met_and_what_is_not() {
    let cache = three();
    let met = cache.run(["stats", "--check", "--max-size", "30M"]).success().no_stderr();
    assert_eq!(met.stdout(), "--max-size 30 MiB met: 30 MiB there\n");
    let unmet = cache.run(["stats", "--check", "--max-size", "29M", "--min-free", "0%"]).code(3);
    let said = unmet.no_stderr().stdout();
    assert!(
        said.starts_with("--max-size 29 MiB not met: 30 MiB there; --min-free 0 B met: "),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1);
    let unmet = cache.run(["-q", "stats", "--check", "--min-free", "100%"]).code(3).no_stdout();
    assert_eq!(unmet.stderr().lines().count(), 1);
    cache.run(["--json", "stats", "--check", "--max-size", "29M"]).code(3).json();
    let cache = cache.env("HLS_CACHE_MAX_SIZE", "2G");
    cache.run(["stats", "--check"]).success().untouched();
}
