//! Few descriptors, no threads, little memory: slower, not broken.

use crate::common::{Age, Size, TestCache, need};
use crate::tools::OWNER;

const SWEEP: [&str; 5] = ["sweep", "--max-size", "0", "--min-budget", "0"];

fn cache() -> TestCache {
    (0..32).fold(TestCache::new(), |cache, n| cache.sealed(&format!("e{n}"), 10.kib(), 5.days()))
}

fn every_command(wrapper: &[&str], cache: &TestCache) {
    let run = |args: &[&str]| cache.command(args).under(wrapper).run();
    run(&["stats"]).success().no_stderr().untouched();
    run(&["verify"]).success().no_stderr().untouched();
    run(&["gc-orphans"]).success();
    run(&SWEEP).success().removed(["e0", "e31"]);
    assert!(crate::tools::entries(&cache.root()).is_empty(), "{wrapper:?}");
}

#[test]
fn few_descriptors_are_enough() {
    if !need::tool("prlimit") {
        return;
    }
    for limit in ["--nofile=64", "--nofile=256"] {
        every_command(&["prlimit", limit], &cache());
    }
}

#[test]
fn too_few_descriptors_are_an_error_and_no_panic() {
    if !need::tool("prlimit") {
        return;
    }
    for count in 3..16 {
        let cache = cache();
        let whole = crate::tools::Whole::of(&cache.root());
        let limit = format!("--nofile={count}");
        let run = cache.command(SWEEP).under(["prlimit", &limit]).run();
        assert!(!run.stderr().contains("panicked"), "{run}");
        let root = cache.root();
        let left = crate::tools::entries(&root).len() + crate::tools::trash(&root).len();
        match run.output.status.code() {
            // How many are enough is the machine's to say, whose loader (127) may itself need more;
            // but the status tells whether all is done.
            Some(0) => assert_eq!(left, 0, "{run}"),
            Some(1 | 127) => assert!(left > 0, "{run}"),
            _ => panic!("{run}"),
        }
        whole.assert_still(&cache.root(), &limit);
        cache.run(SWEEP).success();
    }
}

#[test]
fn a_user_without_threads_is_served() {
    if !need::running_as_root() || !need::tool("setpriv") || !need::tool("prlimit") {
        need::missing("root, setpriv and prlimit");
        return;
    }
    let cache = cache();
    let tool = crate::tools::as_user(&cache, OWNER, &["stats"]);
    assert!(tool.status.success(), "{tool:?}");
    crate::tools::give_away(cache.base());
    // The words before the tool's own arguments; it must be the copy, which this user can reach.
    let tool = cache.base().join("tool");
    let user = format!("--reuid={OWNER}");
    for args in [&["stats"][..], &["verify"], &SWEEP] {
        let mut command = std::process::Command::new("setpriv");
        command.args([&user, "--clear-groups", "prlimit", "--nproc=1"]).arg(&tool);
        let output = command.arg("--root").arg(cache.root()).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
    assert!(crate::tools::entries(&cache.root()).is_empty());
}

/// The log is beyond the limit before the run begins, which must cost it the log and nothing else.
#[test]
fn a_limit_on_the_size_of_files_fails_no_removal() {
    for command in [&SWEEP[..], &["gc-orphans"], &["invalidate", "--all"], &["verify", "--fix"]] {
        let cache = TestCache::new()
            .partial("p1", 10.kib(), 5.days())
            .partial("p2", 10.kib(), 5.days())
            .sealed("s1", 10.kib(), 5.days())
            .sealed("s2", 10.kib(), 5.days())
            .without("s1", "video/init.mp4")
            .without("s2", "video/init.mp4");
        let log = cache.event("hit", "s1", 6.days()).repeat(100);
        let cache = cache.events(&log);
        let (removed, code): (&[&str], i32) = match command[0] {
            "gc-orphans" => (&["p1", "p2"], 0),
            "verify" => (&["s1", "s2"], 3),
            _ => (&["p1", "p2", "s1", "s2"], 0),
        };
        let limited = ["sh", "-c", "ulimit -f 1; exec \"$0\" \"$@\""];
        let run = cache.command(command).under(limited).run().code(code);
        let run = run.removed_only(removed.iter().copied());
        let of_log = run.stderr().matches(".events.log: cannot append").count();
        assert_eq!(of_log, 1, "{run}");
        assert_eq!(cache.logged().len(), 100, "{command:?}");
    }
}

#[test]
fn little_memory_is_enough() {
    if !need::tool("prlimit") {
        return;
    }
    // Address space: each thread reserves 2 MiB of it for its stack, and malloc more.
    every_command(&["prlimit", "--as=400000000"], &cache());
}
