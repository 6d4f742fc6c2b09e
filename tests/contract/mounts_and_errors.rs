//! Directories that do not behave: mounts, files that cannot be read, calls that fail.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use crate::common::{Age, Size, TestCache, decisions, key, need, trash};

const SWEEP: [&str; 5] = ["sweep", "--max-size", "0", "--min-budget", "0"];

fn pair() -> TestCache {
    TestCache::new().sealed("a", 10.kib(), 5.days()).sealed("b", 10.kib(), 4.days())
}

#[test]
fn nothing_is_removed_across_a_mount() {
    for below in ["", "video", "subs/deep"] {
        let cache = pair().in_entry("a", "subs/deep/x", b"x").used("a", 5.days());
        let Some(cache) = cache.mount_tmpfs(format!("{}/{below}", key("a")), "size=1m") else {
            return;
        };
        let mounted = format!("{}/{below}/mounted", key("a"));
        let cache = cache.file(mounted, b"another file system's");
        for command in [&SWEEP[..], &["invalidate", "--all"], &["invalidate", "--all", "--force"]] {
            let run = cache.run([&["--json", "-v"], command].concat()).kept(["a"]);
            let json = run.json();
            assert!(decisions(&json, "kept").contains(&("a".into(), "mounted".into())), "{run}");
        }
        assert!(!cache.has("b"));
        cache.run(["invalidate", "--force", &key("a")]).kept(["a"]);
        cache.run(["verify", "--fix", &key("a")]).kept(["a"]);
    }
}

#[test]
fn an_orphan_with_a_mount_in_it_is_kept() {
    let cache = TestCache::new().partial("p", 10.kib(), 5.days()).partial("q", 1.kib(), 5.days());
    let Some(cache) = cache.mount_tmpfs(format!("{}/video", key("p")), "size=1m") else { return };
    let cache = cache.in_entry("p", "video/x", b"x").written("p", 5.days()).used("p", 5.days());
    cache.run(["gc-orphans", "--min-age", "0s"]).kept(["p"]).removed(["q"]);
}

#[test]
fn a_mount_elsewhere_in_the_root_is_nobody_s_business() {
    let cache = pair().dir("foreign");
    let Some(cache) = cache.mount_tmpfs("foreign", "size=1m") else { return };
    cache.run(SWEEP).success().removed_only(["a", "b"]);
}

#[test]
fn an_entry_that_cannot_be_read_counts_towards_nothing_and_is_never_evicted() {
    for unreadable in ["", "video"] {
        let locked = format!("{}/{unreadable}", key("a"));
        let cache = pair().partial("p", 5.kib(), 5.days()).mode(&locked, 0o000);
        let Some(cache) = cache.by_ordinary_user() else { return };
        let stats = cache.run(["--json", "stats"]).code(1).json();
        assert_eq!(
            (&stats["total"]["entries"], &stats["total"]["bytes"]),
            (&json!(2), &json!(15.kib()))
        );
        let path = stats["errors"][0]["path"].as_str().unwrap();
        assert!(path.contains(&key("a")), "{path}");

        let json = cache.run([&["--json"], &SWEEP[..]].concat()).code(1).json();
        assert_eq!(json["before"]["entries"], 2);
        assert!(cache.has("a") && !cache.has("b") && !cache.has("p"));
        cache.run(["gc-orphans", "--min-age", "0s"]).code(1).untouched();
        let _readable_again = cache.mode(&locked, 0o755);
    }
}

/// A wrapper in which renames end as `outcome` says, in the words of strace(1).
fn with_renames(outcome: &str) -> Vec<String> {
    let inject = format!("inject=rename,renameat,renameat2:{outcome}");
    let args = ["strace", "-f", "-o", "trace", "-e", "trace=/rename|unlink|rmdir", "-e", &inject];
    args.map(str::to_owned).into()
}

/// A wrapper in which looking at the entry's file `name` fails.
fn with_lookups_failing(name: &str, errno: &str) -> Vec<String> {
    let inject = format!("inject=newfstatat,statx:error={errno}");
    let args = ["strace", "-f", "-o", "/dev/null", "-P", name, "-e", &inject];
    args.map(str::to_owned).into()
}

#[test]
fn a_file_that_is_gone_when_it_is_looked_at_is_not_counted_and_is_no_error() {
    if !need::tool("strace") {
        return;
    }
    let cache = pair();
    let vanished = with_lookups_failing("seg-1.m4s", "ENOENT");
    let run = cache.command(["--json", "stats"]).under(vanished).run().success();
    let gone = ["a", "b"].map(|name| cache.entry_path(name).join("video/seg-1.m4s"));
    let gone: u64 = gone.iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert_eq!(run.json()["total"]["bytes"], 20.kib() - gone);
    assert_eq!(run.json()["total"]["entries"], 2);
}

#[test]
fn an_entry_with_a_file_that_cannot_be_looked_at_is_never_evicted() {
    if !need::tool("strace") {
        return;
    }
    let cache = pair().in_entry("a", "video/broken", b"x").used("a", 5.days());
    let broken = || with_lookups_failing("broken", "EIO");
    let json = cache.command(["--json", "stats"]).under(broken()).run().code(1).json();
    assert_eq!((&json["total"]["entries"], &json["total"]["bytes"]), (&json!(1), &json!(10.kib())));
    let run = cache.command(SWEEP).under(broken()).run().code(1);
    run.removed(["b"]).kept(["a"]).complains_of(&key("a"));
}

#[test]
fn where_renaming_finds_no_room_the_marker_goes_first() {
    if !need::tool("strace") {
        return;
    }
    for errno in ["ENOSPC", "EDQUOT", "EXDEV"] {
        // So many that the directory's own order would hardly put the marker first.
        let cache = (0..50).fold(pair(), |cache, n| cache.in_entry("a", &format!("x{n}"), b"x"));
        let run = cache
            .command(["invalidate", &key("a")])
            .under(with_renames(&format!("error={errno}")))
            .run()
            .success();
        run.removed(["a"]).kept(["b"]);
        let trace = fs::read_to_string(cache.base().join("trace")).unwrap();
        let first = trace.lines().find(|line| line.contains("unlink")).unwrap();
        assert!(first.contains("\".complete\""), "{errno}: {first}");
    }
}

/// So what a death leaves is the beginning of a film, behind which a daemon may go on.
#[test]
fn where_renaming_finds_no_room_segments_go_from_the_last_one() {
    let cache = (3..20)
        .fold(pair(), |cache, n| cache.in_entry("a", &format!("video/seg-{n}.m4s"), b"segment"));
    let no_rename = ["renameat:error=EXDEV"];
    let command = cache.command(["invalidate", &key("a")]);
    let Some(run) = command.pause_among("unlinkat", &["seg-5.m4s", &key("a")], &no_rename) else {
        return;
    };
    let segment = |n: u32| cache.entry_path("a").join(format!("video/seg-{n}.m4s"));
    let left: Vec<u32> = (0..20).filter(|&n| segment(n).exists()).collect();
    assert!(left == [0, 1, 2, 3, 4] || left == [0, 1, 2, 3, 4, 5], "{left:?}");
    assert!(!cache.entry_path("a").join(".complete").exists());
    run.resume().success().removed(["a"]);
}

#[test]
fn a_rename_that_succeeds_and_leaves_the_source_is_not_believed() {
    if !need::tool("strace") {
        return;
    }
    // As mergerfs does it.
    let cache = pair();
    let believed = with_renames("retval=0");
    cache.command(["invalidate", &key("a")]).under(believed.clone()).run().success().removed(["a"]);

    // Somebody reads it, so it must not be deleted in place; then it is not gone either.
    let cache = pair().pinned("a");
    let run = cache.command(["--json", "invalidate", "--force", &key("a")]).under(believed).run();
    assert_eq!(run.kept(["a"]).code(1).json()["removed"], 0);
}

#[test]
fn any_other_failure_to_rename_leaves_the_entry_and_goes_on() {
    if !need::tool("strace") {
        return;
    }
    for errno in ["EACCES", "EIO", "EROFS", "EBUSY"] {
        let cache = pair();
        let run = cache
            .command([&["--json"], &SWEEP[..]].concat())
            .under(with_renames(&format!("error={errno}:when=1")))
            .run()
            .code(1);
        let json = run.removed(["b"]).kept(["a"]).json();
        assert_eq!((&json["removed"], &json["failed"]), (&json!(1), &json!(1)), "{errno}");
        assert_eq!(decisions(&json, "failed").len(), 1, "{errno}");
        assert_ne!(json["errors"], json!([]), "{errno}");
    }
}

/// As where a daemon without locks writes one more segment into what is being deleted.
#[test]
fn a_directory_that_is_not_empty_after_all_is_emptied_again() {
    if !need::tool("strace") {
        return;
    }
    let inject = "inject=unlinkat:error=ENOTEMPTY:when=1";
    let strace = ["strace", "-f", "-o", "/dev/null", "-e", inject];
    let cache = pair();
    cache.command(SWEEP).under(strace).run().success().removed(["a", "b"]);
    assert_eq!(trash(&cache.root()), Vec::<PathBuf>::new());
}

#[test]
fn a_tool_killed_at_any_rename_or_deletion_leaves_whole_entries_only() {
    if !need::tool("strace") {
        return;
    }
    let mut killed = 0;
    for when in 1..=12 {
        let cache = pair();
        let kill = format!("inject=renameat,renameat2,unlinkat:signal=KILL:when={when}");
        let run =
            cache.command(SWEEP).under(["strace", "-f", "-o", "/dev/null", "-e", &kill]).run();
        killed += u32::from(!run.output.status.success());
        // Whoever is left with its marker is whole.
        cache.run(["verify"]).success();
        cache.run(SWEEP).success();
        assert!(!cache.has("a") && !cache.has("b"));
        let json = cache.run(["--json", "stats"]).success().json();
        assert_eq!(json["trash"]["entries"], 0, "killed at call {when}");
    }
    assert!(killed > 4, "only {killed} runs were killed");
}

#[test]
fn a_tree_as_deep_as_paths_allow_is_measured_and_removed() {
    let deep = vec!["directory-with-a-long-name"; 60].join("/");
    let cache = pair().in_entry("a", &format!("{deep}/file"), b"12345").used("a", 5.days());
    let json = cache.run(["--json", "stats"]).success().json();
    assert_eq!(json["total"]["bytes"], 20.kib() + 5);
    cache.run(SWEEP).success().removed_only(["a", "b"]);
}

#[test]
fn a_socket_a_fifo_and_a_hard_link_in_an_entry_stop_nothing() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let cache = pair().outside("far");
    let entry = cache.entry_path("a");
    mknodat(CWD, entry.join("fifo"), FileType::Fifo, Mode::from(0o600), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(entry.join("socket")).unwrap();
    let precious = cache.outside_path("far").join("precious");
    fs::hard_link(&precious, entry.join("hard")).unwrap();
    cache.run(["verify", "--deep"]);
    cache.run(SWEEP).success().removed(["a", "b"]);
    assert_eq!(fs::read_to_string(precious).unwrap(), "precious");
}

#[test]
fn an_entry_that_cannot_be_read_is_not_taken_for_damaged_and_fixed() {
    if !need::tool("strace") {
        return;
    }
    // A disk that stutters: `video` cannot be opened, nor the entry looked at, for six tries.
    let cache = TestCache::new().real("a");
    let key = key("a");
    let stutter = ["strace", "-f", "-o", "/dev/null", "-P", "video", "-P", &key];
    let stutter = stutter.into_iter().chain([
        "-e",
        "inject=openat2:error=EIO:when=2..12+2",
        "-e",
        "inject=newfstatat,statx:error=EIO:when=1..6",
    ]);
    let run = cache.command(["--json", "verify", "--fix", &key]).under(stutter).run();
    let json = run.code(1).kept(["a"]).json();
    assert_eq!((&json["damaged"], &json["removed"]), (&json!(0), &json!(0)));
}

#[test]
fn what_could_not_be_deleted_does_not_leave_its_name() {
    // The root is the user's, what is in the entries is not: a rename would succeed, and free nothing.
    let Some(cache) = pair().by_ordinary_user() else { return };
    if !need::running_as_root() {
        need::missing("root, to give entries away");
        return;
    }
    for inside in walkdir::WalkDir::new(cache.entry_path("a")) {
        std::os::unix::fs::lchown(inside.unwrap().path(), Some(0), Some(0)).unwrap();
    }
    let run = cache.run([&["--json"], &SWEEP[..]].concat()).code(1).removed(["b"]).kept(["a"]);
    let json = run.json();
    assert_eq!((&json["removed"], &json["failed"]), (&json!(1), &json!(1)));
    assert_eq!((&json["after"]["entries"], &json["target_met"]), (&json!(1), &json!(false)));
}

/// 57 lines with one reason are one line with the remedy, and a dry run says what the real one would.
#[test]
fn a_user_who_may_not_delete_is_told_once_and_by_a_dry_run_too() {
    let Some(cache) = five().by_ordinary_user() else { return };
    if !need::running_as_root() {
        need::missing("root, to give entries away");
        return;
    }
    for name in FIVE {
        let video = cache.entry_path(name).join("video");
        std::os::unix::fs::lchown(video, Some(0), Some(0)).unwrap();
    }
    let sweep = ["sweep", "--max-size", "0", "--min-budget", "0"];
    let dry = [&sweep[..], &["-n"]].concat();
    for args in [&dry[..], &sweep, &["invalidate", "-n", "--all"], &["invalidate", "--all"]] {
        let run = cache.run(args).code(1).kept(FIVE);
        let stderr = run.stderr();
        let errors: Vec<&str> = stderr.lines().filter(|line| line.contains("error: ")).collect();
        let [error] = errors[..] else { panic!("not one line: {run}") };
        assert!(error.contains("5 entries cannot be deleted (first: "), "{run}");
        let remedy = "You are nobody, the cache is root's: run as root or as the daemon's user";
        assert!(error.contains(remedy), "{run}");
    }
}

#[test]
fn trash_that_may_not_be_deleted_is_told_by_a_dry_run_too() {
    let Some(cache) = five().trash("t").by_ordinary_user() else { return };
    if !need::running_as_root() {
        need::missing("root, to give trash away");
        return;
    }
    let trash = cache.root().join(format!(".trash.{}.0123456789abcdef", key("t")));
    std::os::unix::fs::lchown(&trash, Some(0), Some(0)).unwrap();
    for args in [&["gc-orphans", "-n"][..], &["gc-orphans"]] {
        cache.run(args).code(1).complains_of("1 leftover cannot be deleted");
        assert!(trash.join("content").exists());
    }
}

const FIVE: [&str; 5] = ["a", "b", "c", "d", "e"];

fn five() -> TestCache {
    FIVE.into_iter().fold(TestCache::new(), |cache, name| cache.sealed(name, 5.kib(), 5.days()))
}
