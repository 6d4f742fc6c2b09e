//! Root maintains somebody else's cache; strangers try; files are planted.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use crate::common::{Age, Size, TestCache, key, need};
use crate::tools::{self, OWNER};

const SWEEP: [&str; 5] = ["sweep", "--max-size", "10KiB", "--min-budget", "0"];
const STRANGER: u32 = 23456;

/// A cache of an ordinary user; `None`, said loudly, where this process is not root.
fn owned() -> Option<TestCache> {
    if !need::running_as_root() {
        need::missing("root, to be several users");
        return None;
    }
    let cache = TestCache::new()
        .sealed("a", 10.kib(), 5.days())
        .partial("p", 10.kib(), 4.days())
        .sealed("b", 10.kib(), 3.days())
        .trash("t");
    tools::give_away(&cache.root());
    Some(cache)
}

/// What must not change about a file that the run did not make.
fn facts(path: &Path) -> (u64, u32, u32, u32, Vec<u8>) {
    let meta = path.symlink_metadata().unwrap();
    (meta.ino(), meta.uid(), meta.gid(), meta.mode(), fs::read(path).unwrap())
}

#[test]
fn what_root_creates_belongs_to_the_cache_whatever_the_umask() {
    for umask in ["077", "022", "000"] {
        for mode in [0o755, 0o700, 0o775, 0o777] {
            let Some(cache) = owned() else { return };
            let cache = cache.mode("", mode);
            let umask = format!("umask {umask}; exec \"$@\"");
            for command in [&SWEEP[..], &["gc-orphans"], &["invalidate", &key("b")]] {
                let run = cache.command(command).under(["sh", "-c", &umask, "sh"]).run();
                run.success();
                tools::assert_shared(&cache.root(), &format!("{umask} {mode:o}"));
            }
            assert_eq!(tools::entries(&cache.root()).len(), 0);
            assert!(cache.root().join(".events.log").exists());
        }
    }
}

#[test]
fn the_owner_goes_on_where_root_left_off() {
    let Some(cache) = owned() else { return };
    let mean = tools::MEAN_UMASK;
    cache.command(["invalidate", &key("a")]).under(mean).run().success();
    cache.command(["gc-orphans"]).under(mean).run().success();
    let before = cache.logged().len();
    let cache = cache.sealed("a", 10.kib(), 5.days());
    tools::give_away(&cache.entry_path("a"));
    let output = tools::as_user(&cache, OWNER, &[&SWEEP[..], &["--locks-only"]].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(!cache.has("a"));
    assert_eq!(cache.logged().len(), before + 2, "the owner could not append");
}

#[test]
fn a_file_that_was_planted_keeps_owner_mode_and_content() {
    for name in [format!(".{}.pin", key("a")), ".maintenance.lock".into(), ".events.log".into()] {
        for command in [&SWEEP[..], &["gc-orphans"], &["invalidate", "--all"], &["verify", "--fix"]]
        {
            let Some(cache) = owned() else { return };
            let cache = cache
                .sealed("damaged", 10.kib(), 6.days())
                .without("damaged", "video/seg-1.m4s")
                .outside("roots");
            let secret = cache.outside_path("roots").join("precious");
            let cache = cache.mode("../roots/precious", 0o600);
            fs::hard_link(&secret, cache.root().join(&name)).unwrap();
            let before = facts(&secret);
            let run = cache.command(command).under(tools::MEAN_UMASK).run();
            // Damage is a finding, mended or not.
            let run = run.code(if command[0] == "verify" { 3 } else { 0 });
            assert_eq!(facts(&secret), before, "{name}: {run}");
        }
    }
}

#[test]
fn a_lockfile_that_was_there_keeps_owner_and_mode() {
    let Some(cache) = owned() else { return };
    for name in [format!(".{}.pin", key("a")), ".maintenance.lock".into(), ".events.log".into()] {
        let path = cache.root().join(name);
        fs::write(&path, "").unwrap();
        std::os::unix::fs::lchown(&path, Some(STRANGER), Some(OWNER)).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    }
    cache.run(SWEEP).success();
    for name in [format!(".{}.pin", key("a")), ".maintenance.lock".into(), ".events.log".into()] {
        let meta = cache.root().join(name).metadata().unwrap();
        assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o777), (STRANGER, OWNER, 0o640));
    }
}

#[test]
fn the_event_log_is_never_followed_out_of_the_cache() {
    for target in ["roots/precious", "roots/not-there"] {
        let Some(cache) = owned() else { return };
        let cache = cache.outside("roots");
        let path = cache.outside_path(target);
        symlink(&path, cache.root().join(".events.log")).unwrap();
        // That a removal cannot be logged is said, and is no failure.
        cache.run(SWEEP).success().complains_of(".events.log");
        cache.run(["stats"]).code(1).complains_of(".events.log");
        let content = fs::read_to_string(&path).ok();
        assert_eq!(content.as_deref(), target.ends_with("precious").then_some("precious"));
    }
}

#[test]
fn a_stranger_is_refused_and_does_nothing_by_halves() {
    for mode in [0o755, 0o700] {
        for with_lockfiles in [false, true] {
            let Some(cache) = owned() else { return };
            if with_lockfiles {
                cache.run(["invalidate", &key("p")]).success();
                cache.run(["gc-orphans"]).success();
                for name in ["a", "b"] {
                    fs::copy(cache.pin_path("p"), cache.pin_path(name)).unwrap();
                }
            }
            let cache = cache.mode("", mode);
            let listing = || -> Vec<_> {
                walkdir::WalkDir::new(cache.root())
                    .sort_by_file_name()
                    .into_iter()
                    .map(|found| found.unwrap())
                    .map(|found| (found.path().to_owned(), found.metadata().unwrap().ctime_nsec()))
                    .collect()
            };
            let before = listing();
            for command in [&SWEEP[..], &["gc-orphans"], &["invalidate", "--all"]] {
                let output = tools::as_user(&cache, STRANGER, command);
                let stderr = String::from_utf8_lossy(&output.stderr);
                let has_work = mode == 0o700 || command[0] != "gc-orphans" || !with_lockfiles;
                assert_eq!(output.status.code(), Some(i32::from(has_work)), "{output:?}");
                assert_eq!(stderr.contains("Permission denied"), has_work, "{stderr}");
                assert!(!stderr.contains("panicked"), "{stderr}");
                assert_eq!(listing(), before);
            }
        }
    }
}

#[test]
fn of_a_sticky_root_everybody_clears_his_own() {
    let Some(cache) = owned() else { return };
    // Now a is root's and b is the owner's, in a directory like /tmp.
    let cache = cache.mode("", 0o1777);
    for found in walkdir::WalkDir::new(cache.entry_path("a")) {
        let path = found.unwrap().into_path();
        std::os::unix::fs::lchown(&path, Some(0), Some(0)).unwrap();
        // All may write to it; only what sticks in the root stands in the way.
        fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
    }
    std::os::unix::fs::lchown(cache.root(), Some(0), Some(0)).unwrap();
    // Known before anything is touched: a dry run says it, too.
    for dry in [&["-n"][..], &[]] {
        assert!(cache.has("a") && cache.has("b") && cache.has("p"));
        let sweep = [&["sweep", "--max-size", "0", "--min-budget", "0"], dry].concat();
        let output = tools::as_user(&cache, OWNER, &sweep);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(&key("a")) && !stderr.contains(&key("b")), "{stderr}");
    }
    assert!(cache.has("a") && !cache.has("b") && !cache.has("p"));
}
