//! Death at every step: whatever a process has done so far, what is sealed is whole, what it created
//! is usable by the cache's owner, and the next sweep clears up.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use hls_cache::Key;
use hls_cache::daemon::{Cache, Start};

use crate::common::{Age, Size, TestCache, key, need};
use crate::tools::{self, MEAN_UMASK, Whole};

const SIGKILL: i32 = 9;
const BUDGET: u64 = 10 << 10;
/// By locks alone: how many calls reading `/proc` takes is the machine's, and this dies at each call.
const SWEEP: [&str; 6] = ["sweep", "--max-size", "10KiB", "--min-budget", "0", "--locks-only"];

/// More calls than any run here makes; one that makes more is in a loop.
const ENDLESS: u32 = 200;

/// Something for every command to remove, something to keep, and what a dead remover left.
fn cache() -> TestCache {
    let cache = TestCache::new()
        .sealed("a", 10.kib(), 5.days())
        .partial("p", 10.kib(), 4.days())
        .sealed("damaged", 10.kib(), 3.days())
        .without("damaged", "video/seg-1.m4s")
        .used("damaged", 3.days())
        .sealed("b", 10.kib(), 2.days())
        .trash("t");
    if need::running_as_root() {
        tools::give_away(&cache.root());
    }
    // With what a sweep remembers, which the death of one must not spoil.
    cache.remembering(["a", "b", "damaged"])
}

fn used(root: &Path) -> u64 {
    tools::entries(root).iter().map(|entry| TestCache::usage(entry).0).sum()
}

/// Kills a run of `args` at its first `call`, its second, and so on until one lives. `injections` are
/// what else goes wrong for it. Returns how often it was killed.
fn kill_at_each(
    call: &str,
    injections: &[&str],
    make: impl Fn() -> Option<TestCache>,
    args: &[&str],
) -> u32 {
    for when in 1..ENDLESS {
        let Some(cache) = make() else { return ENDLESS };
        let (root, whole) = (cache.root(), Whole::of(&cache.root()));
        let mut injections: Vec<String> = injections.iter().map(|&i| i.to_owned()).collect();
        injections.push(format!("{call}:signal=KILL:when={when}"));
        let traced: Vec<&str> =
            injections.iter().filter_map(|injection| injection.split(':').next()).collect();
        let strace = tools::strace(&traced.join(","), &injections);
        let run = cache.command(args).under(MEAN_UMASK).under(strace).run();
        let killed = run.output.status.signal() == Some(SIGKILL);
        let label = format!("{args:?} killed at {call} {when}");

        whole.assert_still(&root, &label);
        tools::assert_shared(&root, &label);
        let next = cache.command(SWEEP).under(MEAN_UMASK).run();
        assert!(next.output.status.success(), "after {label}: {next}");
        assert_eq!(tools::trash(&root), Vec::<PathBuf>::new(), "after {label}");
        assert!(used(&root) <= BUDGET, "after {label}: {next}");
        whole.assert_still(&root, &label);
        tools::assert_shared(&root, &label);
        if !killed {
            return when - 1;
        }
    }
    panic!("{args:?} never ends");
}

/// Every call that changes the disk or the locks.
const CALLS: [&str; 9] =
    ["openat", "linkat", "fchmod", "fchown", "renameat", "unlinkat", "mkdirat", "write", "flock"];

fn kill_everywhere(args: &[&str]) {
    if !need::tool("strace") {
        return;
    }
    let killed: Vec<(&str, u32)> =
        CALLS.map(|call| (call, kill_at_each(call, &[], || Some(cache()), args))).into();
    println!("{args:?} killed: {killed:?}");
    for (call, times) in killed {
        let is_used = match call {
            "mkdirat" => false,
            "linkat" => tools::has_nameless_files(&std::env::temp_dir()),
            "fchown" => need::running_as_root(),
            _ => true,
        };
        assert_eq!(times > 0, is_used, "{call} was interrupted {times} times");
    }
}

#[test]
fn a_sweep_may_die_anywhere() {
    kill_everywhere(&SWEEP);
}

#[test]
fn gc_orphans_may_die_anywhere() {
    kill_everywhere(&["gc-orphans", "--locks-only"]);
}

#[test]
fn invalidate_may_die_anywhere() {
    kill_everywhere(&["invalidate", &key("a"), &key("p"), &key("b")]);
}

#[test]
fn a_repair_may_die_anywhere() {
    kill_everywhere(&["verify", "--fix"]);
}

#[test]
fn a_deletion_in_place_may_die_anywhere() {
    if !need::tool("strace") {
        return;
    }
    for errno in ["ENOSPC", "EXDEV"] {
        let no_rename = format!("renameat,renameat2:error={errno}");
        let killed =
            kill_at_each("unlinkat", &[&no_rename], || Some(cache()), &["invalidate", "--all"]);
        // Two sealed entries and a damaged one, five files and two directories each.
        assert!(killed > 15, "killed only {killed} times");
    }
}

#[test]
fn a_sweep_of_a_disk_without_room_for_a_pin_may_die_anywhere() {
    if !need::tool("strace") {
        return;
    }
    let full = || {
        let cache = TestCache::on_tmpfs("size=16m,nr_inodes=64,mode=755")?
            .sealed("a", 10.kib(), 5.days())
            .sealed("b", 10.kib(), 2.days())
            .sealed("c", 10.kib(), 1.days());
        let filler = cache.root().join("filler");
        fs::create_dir(&filler).unwrap();
        (0..64).find_map(|n| fs::File::create_new(filler.join(n.to_string())).err())?;
        Some(cache)
    };
    for call in ["unlinkat", "renameat", "openat"] {
        assert!(kill_at_each(call, &[], full, &SWEEP) > 1, "{call}");
    }
}

fn segment(n: u32) -> String {
    format!("seg-{n}.m4s")
}

#[test]
#[ignore = "a process that is killed by the test below"]
fn a_daemon_that_seals() {
    let Some(root) = tools::argument("ATTACK_ROOT") else { return };
    let cache = Cache::open(root).unwrap();
    let key: Key = key("s").parse().unwrap();
    let Start::Writer(writer) = cache.start(key).unwrap() else { panic!("not the writer") };
    cache.record_miss(key, std::time::SystemTime::now());
    for file in ["init.mp4".into(), segment(0), segment(1), segment(2)] {
        fs::write(writer.path().join("video").join(&file), &file).unwrap();
    }
    drop(writer.seal().unwrap());
}

#[test]
fn a_daemon_may_die_anywhere_before_and_after_it_seals() {
    if !need::tool("strace") {
        return;
    }
    let calls = ["openat", "mkdirat", "linkat", "fchmod", "fchown", "write", "syncfs", "flock"];
    let (mut killed, mut partial, mut sealed) = (0, 0, 0);
    for call in calls {
        for when in 1..ENDLESS {
            let Some(cache) = TestCache::on_tmpfs("size=16m,mode=755") else { return };
            tools::give_away(&cache.root());
            let inject = format!("{call}:signal=KILL:when={when}");
            let mut words = tools::strace(call, &[inject]);
            words.extend(MEAN_UMASK.map(str::to_owned));
            let mut command = tools::helper("crash::a_daemon_that_seals");
            let mut traced = std::process::Command::new(&words[0]);
            traced.args(&words[1..]).arg(command.get_program()).args(command.get_args());
            command = traced;
            let output = command
                .current_dir(cache.base())
                .env("ATTACK_ROOT", cache.root())
                .output()
                .unwrap();
            let (label, entry) = (format!("{call} {when}"), cache.entry_path("s"));
            if tools::is_sealed(&entry) {
                sealed += 1;
                for n in 0..3 {
                    let read = fs::read_to_string(entry.join("video").join(segment(n)));
                    assert_eq!(read.unwrap(), segment(n), "{label}");
                }
            } else {
                partial += 1;
            }
            tools::assert_shared(&cache.root(), &label);
            let run = cache.command(["verify"]).run();
            assert!(run.output.status.success(), "{label}: {run}");
            if output.status.signal() != Some(SIGKILL) {
                assert!(output.status.success(), "{label}: {output:?}");
                break;
            }
            killed += 1;
            // Nobody holds anything any more: the next daemon writes it, unless there is nothing to write.
            let was_sealed = tools::is_sealed(&entry);
            let again = tools::helper("crash::a_daemon_that_seals")
                .env("ATTACK_ROOT", cache.root())
                .output()
                .unwrap();
            assert_eq!(again.status.success(), !was_sealed, "{label}: {again:?}");
            assert!(tools::is_sealed(&entry), "{label}: {again:?}");
            // By locks alone: this test has just read it.
            let sweep = ["sweep", "--max-size", "0", "--min-budget", "0", "--locks-only"];
            cache.run(sweep).success().removed(["s"]);
        }
    }
    println!("killed {killed} times: {partial} partial, {sealed} sealed");
    assert!(partial > calls.len() && sealed > calls.len(), "{partial} partial, {sealed} sealed");
}
