//! One system call fails, each in turn: nothing panics, nothing half done looks whole, what is left
//! undone is named with its reason and ends the run with 1, and the rest is done.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use crate::common::{Age, Run, Size, TestCache, key, need};
use crate::tools::{self, Whole};

/// Errors, with the words that the user must see.
const ERRORS: [(&str, &str); 8] = [
    ("EIO", "Input/output error"),
    ("EACCES", "Permission denied"),
    ("ENOSPC", "No space left"),
    ("EXDEV", "Invalid cross-device link"),
    ("EROFS", "Read-only file system"),
    ("ENOLCK", "No locks available"),
    ("EINTR", "Interrupted system call"),
    ("EDQUOT", "uota exceeded"),
];

/// Calls that every run makes dozens of: the errors take turns. The others get every one.
const MANY: [&str; 9] = [
    "openat",
    "openat2",
    "getdents64",
    "newfstatat",
    "statx",
    "fstat",
    "unlinkat",
    "write",
    "linkat",
];
const FEW: [&str; 2] = ["flock", "renameat"];

const ENDLESS: usize = 200;

fn cache() -> TestCache {
    TestCache::new()
        .sealed("a", 10.kib(), 5.days())
        .partial("p", 10.kib(), 4.days())
        .sealed("damaged", 10.kib(), 3.days())
        .without("damaged", "video/seg-1.m4s")
        .used("damaged", 3.days())
        .trash("t")
        .remembering(["a", "damaged"])
}

/// What a command has to remove.
struct Case {
    args: Vec<String>,
    targets: &'static [&'static str],
    /// How a run ends that nothing goes wrong for.
    well: i32,
}

fn case(args: &[&str], targets: &'static [&'static str], well: i32) -> Case {
    Case { args: args.iter().map(|&arg| arg.to_owned()).collect(), targets, well }
}

fn cases() -> [Case; 5] {
    let (a, p, damaged) = (key("a"), key("p"), key("damaged"));
    [
        // By locks alone: how many calls reading `/proc` takes is the machine's, and each of these fails once.
        case(
            &["sweep", "--max-size=0", "--min-budget=0", "--locks-only"],
            &["a", "p", "damaged"],
            0,
        ),
        case(&["gc-orphans", "--locks-only"], &["p"], 0),
        case(&["invalidate", &a, &p, &damaged], &["a", "p", "damaged"], 0),
        case(&["verify", "--fix"], &["damaged"], 3),
        case(&["stats"], &[], 0),
    ]
}

/// Failures of the whole, after which a run does nothing.
const GLOBAL: [&str; 6] = [
    "cannot open the cache root",
    "cannot read the cache root",
    "cannot read the mount table",
    "cannot read the free space",
    "error while loading shared libraries",
    "another maintainer is at work",
];

fn judge(case: &Case, run: &Run<'_>, cache: &TestCache, whole: &Whole, reason: &str, label: &str) {
    let trace = fs::read_to_string(cache.base().join("trace")).unwrap();
    let failures = trace.matches("(INJECTED)").count();
    let stderr = run.stderr();
    let status = run.output.status;
    assert!(!stderr.contains("panicked") && status.signal().is_none(), "{label}: {run}");
    whole.assert_still(&cache.root(), label);
    let code = status.code().unwrap_or(-1);
    if stderr.contains("error while loading shared libraries") {
        return;
    }
    // Which call of the run this was is not known here. Some it can do without, as an event in the
    // log, or makes in another way, as a lockfile without linkat.
    assert!(code == 1 || code == case.well, "{label}: {run}");

    let left: Vec<_> = case.targets.iter().filter(|name| cache.has(name)).collect();
    let is_removal = !case.targets.is_empty();
    let reaps = case.args[0] == "sweep" || case.args[0] == "gc-orphans";
    // Of the trash only its own: invalidate and verify leave what others left.
    let trash = tools::trash(&cache.root()).len() - usize::from(is_removal && !reaps);
    let undone = is_removal && (!left.is_empty() || trash > 0);
    if undone {
        assert_eq!(code, 1, "{label}: {left:?} and {trash} trash left: {run}");
    }
    if code == 1 {
        let lines = stderr
            .lines()
            .filter(|line| line.starts_with("error: ") || line.starts_with("warning: "));
        let named = lines.clone().any(|line| {
            line.contains(reason) && (line.contains(": /") || line.contains("standard output"))
        });
        assert!(named, "{label}: no line with a path and '{reason}': {run}");
    }
    if !GLOBAL.iter().any(|global| stderr.contains(global)) {
        // strace(1) counts the calls of each thread for itself: more than one can fail.
        let undone = if is_removal { left.len() + trash } else { 0 };
        assert!(undone <= failures, "{label}: {failures} left {left:?}: {run}");
    }
}

/// Runs `case` with its `when`th `call` failing; whether there was such a call.
fn fail(case: &Case, call: &str, when: usize, (errno, reason): (&str, &str)) -> bool {
    let cache = cache();
    let whole = Whole::of(&cache.root());
    let inject = format!("{call}:error={errno}:when={when}");
    let run = cache.command(&case.args).under(tools::strace(call, &[inject])).run();
    let label = format!("{:?}, {call} {when} = {errno}", case.args);
    let trace = fs::read_to_string(cache.base().join("trace")).unwrap();
    judge(case, &run, &cache, &whole, reason, &label);
    trace.contains("(INJECTED)")
}

/// Returns how many runs had a call fail.
fn fail_each(case: &Case, call: &str, per_call: usize) -> usize {
    let mut failed = 0;
    for when in 1..ENDLESS {
        let mut any = false;
        for n in 0..per_call {
            any |= fail(case, call, when, ERRORS[(when * per_call + n) % ERRORS.len()]);
        }
        if !any {
            return failed;
        }
        failed += per_call;
    }
    panic!("{:?} never ends", case.args);
}

fn fail_everywhere(which: usize) {
    if !need::tool("strace") {
        return;
    }
    let case = &cases()[which];
    let many: Vec<_> = MANY.iter().map(|call| (call, fail_each(case, call, 1))).collect();
    let few: Vec<_> = FEW.iter().map(|call| (call, fail_each(case, call, ERRORS.len()))).collect();
    println!("{:?}: {many:?} {few:?}", case.args);
    assert!(many.iter().map(|(_, failed)| failed).sum::<usize>() > 30, "{many:?}");
}

#[test]
fn a_sweep_survives_any_failing_call() {
    fail_everywhere(0);
}

#[test]
fn gc_orphans_survives_any_failing_call() {
    fail_everywhere(1);
}

#[test]
fn invalidate_survives_any_failing_call() {
    fail_everywhere(2);
}

#[test]
fn a_repair_survives_any_failing_call() {
    fail_everywhere(3);
}

#[test]
fn stats_survives_any_failing_call() {
    fail_everywhere(4);
}

#[test]
fn a_sweep_for_free_space_survives_that_it_cannot_be_told() {
    if !need::tool("strace") {
        return;
    }
    let case = case(&["sweep", "--min-free=100%", "--min-budget=0"], &["a", "p", "damaged"], 3);
    assert!(fail_each(&case, "fstatfs", ERRORS.len()) > 0);
    assert!(fail_each(&case, "syncfs", 2) > 0);
}

/// Every call of a kind fails, as on a system that does not have it.
fn always(failing: &str, args: &[&str], judge: impl Fn(&TestCache, Run<'_>)) {
    if !need::tool("strace") {
        return;
    }
    let cache = cache();
    let call = failing.split(':').next().unwrap();
    let strace = tools::strace(call, &[failing.to_owned()]);
    judge(&cache, cache.command(args).under(strace).run());
}

#[test]
fn without_locks_nothing_is_removed() {
    let all = [&["sweep", "--max-size=0", "--min-budget=0"][..], &["invalidate", "--all"]];
    for args in all {
        for errno in ["ENOLCK", "EOPNOTSUPP", "EIO"] {
            always(&format!("flock:error={errno}"), args, |cache, run| {
                let run = run.code(1).complains_of("cannot lock").kept(["a", "p", "damaged"]);
                assert!(cache.has("a"), "{run}");
            });
        }
    }
}

#[test]
fn where_files_need_a_name_lockfiles_are_the_caches_all_the_same() {
    let give = |cache: &TestCache| {
        if need::running_as_root() {
            tools::give_away(&cache.root());
        }
    };
    if !need::tool("strace") {
        return;
    }
    for errno in ["EOPNOTSUPP", "EPERM", "ENOENT"] {
        let cache = cache();
        give(&cache);
        let strace = tools::strace("linkat", &[format!("linkat:error={errno}")]);
        let sweep = cache.command(["sweep", "--max-size=0", "--min-budget=0"]);
        sweep.under(tools::MEAN_UMASK).under(strace).run().success().removed(["a", "p"]);
        assert!(cache.pin_path("a").exists() && cache.root().join(".events.log").exists());
        tools::assert_shared(&cache.root(), errno);
    }
}

#[test]
fn kernels_and_sandboxes_without_openat2_are_served_and_mounts_kept() {
    if !need::tool("strace") {
        return;
    }
    for errno in ["ENOSYS", "EPERM"] {
        let cache = cache().sealed("m", 10.kib(), 5.days());
        let at = format!("{}/subs", key("m"));
        let Some(cache) = cache.dir(&at).mount_tmpfs(&at, "size=1m") else { return };
        let cache = cache.file(format!("{at}/mounted"), b"another file system's");
        let strace = tools::strace("openat2", &[format!("openat2:error={errno}")]);
        let sweep = cache.command(["sweep", "--max-size=0", "--min-budget=0"]);
        let run = sweep.under(strace).run().removed(["a", "p", "damaged"]).kept(["m"]);
        assert_eq!(run.output.status.code(), Some(0), "{run}");
        assert!(tools::trash(&cache.root()).is_empty());
    }
}
