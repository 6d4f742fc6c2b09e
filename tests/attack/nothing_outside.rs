//! Directories that lie: whatever stands where a file of the cache should, nothing outside changes,
//! nothing hangs, and one bad entry does not stop the rest.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use filetime::{FileTime, set_symlink_file_times};
use hls_cache::Key;
use hls_cache::daemon::{Cache, Lookup, Start};
use rustix::fs::{
    CWD, FileType, Mode, OFlags, RenameFlags, mkdirat, mknodat, openat, renameat_with,
};
use walkdir::WalkDir;

use crate::common::{
    Age, Invocation, Run, Size, TestCache, decisions, key, need, pin_name, snapshot,
};
use crate::tools;

/// By locks alone: these tests hold files of entries open themselves, and read them.
const SWEEP: [&str; 6] = ["sweep", "--max-size", "0", "--min-budget", "0", "--locks-only"];

/// Mode, owner, inode, time (in seconds and nanoseconds) and content of a file.
type Facts = (u32, u32, u64, i64, i64, Vec<u8>);

/// What is known of everything under `top`.
fn contents(top: &Path) -> BTreeMap<PathBuf, Facts> {
    WalkDir::new(top)
        .into_iter()
        .map(|found| {
            let path = found.unwrap().into_path();
            let meta = path.symlink_metadata().unwrap();
            let mut content = Vec::new();
            if meta.is_file() {
                snapshot::open_unnoticed(&path).unwrap().read_to_end(&mut content).unwrap();
            }
            let facts =
                (meta.mode(), meta.uid(), meta.ino(), meta.mtime(), meta.mtime_nsec(), content);
            (path, facts)
        })
        .collect()
}

/// Nothing here takes long; what hangs is killed.
fn run(invocation: Invocation<'_>) -> Run<'_> {
    let run = invocation.under(["timeout", "--signal=KILL", "60"]).run();
    assert!(run.output.status.code().is_some_and(|code| code < 100), "killed: {run}");
    assert!(!run.stderr().contains("panicked"), "{run}");
    run
}

/// What an attacker puts where something of the cache was.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Plant {
    LinkToDirectory,
    LinkToFile,
    LinkToNothing,
    Fifo,
    Directory,
    Socket,
    HardLink,
}

impl Plant {
    const ALL: [Self; 7] = [
        Self::LinkToDirectory,
        Self::LinkToFile,
        Self::LinkToNothing,
        Self::Fifo,
        Self::Directory,
        Self::Socket,
        Self::HardLink,
    ];

    fn put(self, at: &Path, outside: &Path) {
        if at.is_dir() {
            fs::remove_dir_all(at).unwrap();
        } else if at.symlink_metadata().is_ok() {
            fs::remove_file(at).unwrap();
        }
        // Relative: an absolute link would be refused for crossing a mount already.
        let base = outside.parent().unwrap();
        let up = "../".repeat(at.strip_prefix(base).unwrap().components().count() - 1);
        let far = Path::new(&up).join(outside.file_name().unwrap());
        match self {
            Self::LinkToDirectory => symlink(far, at).unwrap(),
            Self::LinkToFile => symlink(far.join("precious"), at).unwrap(),
            Self::LinkToNothing => symlink(far.join("nothing"), at).unwrap(),
            Self::Fifo => mknodat(CWD, at, FileType::Fifo, Mode::from(0o644), 0).unwrap(),
            Self::Directory => {
                fs::create_dir_all(at.join("deep")).unwrap();
                fs::write(at.join("deep/file"), "inside").unwrap();
            }
            Self::Socket => drop(UnixListener::bind(at).unwrap()),
            Self::HardLink => fs::hard_link(outside.join("precious"), at).unwrap(),
        }
    }
}

/// Three entries that nothing is wrong with, or only damage, around one that is attacked.
fn neighbours() -> TestCache {
    let cache = TestCache::new()
        .outside("far")
        .sealed("a", 10.kib(), 5.days())
        .in_entry("a", "subs/sub-0.vtt", b"WEBVTT\n")
        .used("a", 5.days())
        .sealed("b", 10.kib(), 6.days())
        .sealed("c", 10.kib(), 4.days())
        .partial("p", 10.kib(), 3.days())
        // Damaged, so that a repair has something to do.
        .without("b", "video/seg-1.m4s")
        .used("b", 6.days())
        .without("c", "video/seg-1.m4s")
        .used("c", 4.days());
    // What looks like an entry outside would be missed.
    let far = cache.outside_path("far");
    for name in ["init.mp4", "seg-0.m4s", ".complete"] {
        fs::write(far.join(name), "outside").unwrap();
    }
    cache
}

/// Makes an entry old, and nothing that symlinks or hard links in it lead to.
fn aged(cache: TestCache, name: &str) -> TestCache {
    let old = FileTime::from_unix_time(1_000_000_000, 0);
    for found in WalkDir::new(cache.entry_path(name)).contents_first(true) {
        let found = found.unwrap();
        if found.metadata().unwrap().nlink() == 1 || found.file_type().is_dir() {
            set_symlink_file_times(found.path(), old, old).unwrap();
        }
    }
    cache
}

/// One run of a command on a cache where something is planted.
struct Attacked<'a> {
    cache: &'a TestCache,
    plant: Plant,
    command: &'a str,
    run: &'a Run<'a>,
}

impl Attacked<'_> {
    fn code(&self) -> Option<i32> {
        self.run.output.status.code()
    }

    /// Whether the command removes whatever entry it can.
    fn removes(&self) -> bool {
        matches!(self.command, "sweep" | "invalidate")
    }

    /// The status of a run that nothing went wrong for; `verify` finds the neighbours damaged.
    fn well(&self) -> i32 {
        if self.command == "verify" { 3 } else { 0 }
    }

    #[track_caller]
    fn assert(&self, holds: bool) {
        assert!(holds, "{:?}: {}", self.plant, self.run);
    }
}

/// Plants everything at `place`, runs every command, and then asks `holds`.
fn attack(place: &dyn Fn(&TestCache) -> PathBuf, holds: &dyn Fn(&Attacked<'_>)) {
    let commands: [(&[&str], &[&str]); 7] = [
        (&SWEEP, &["b", "c", "p"]),
        (&["gc-orphans"], &["p"]),
        (&["invalidate", "--all"], &["b", "c", "p"]),
        (&["invalidate", "--all", "--force"], &["b", "c", "p"]),
        (&["verify", "--fix"], &["b", "c"]),
        (&["verify", "--deep"], &[]),
        (&["stats", "--entries"], &[]),
    ];
    for plant in Plant::ALL {
        for (args, others) in commands {
            let cache = neighbours();
            plant.put(&place(&cache), &cache.outside_path("far"));
            let is_entry = cache.entry_path("a").symlink_metadata().is_ok_and(|meta| meta.is_dir());
            let cache = if is_entry { aged(cache, "a") } else { cache };
            let outside = contents(&cache.outside_path("far"));
            let run = run(cache.command(args));
            assert_eq!(contents(&cache.outside_path("far")), outside, "{plant:?}: {run}");
            for name in others {
                assert!(!cache.has(name), "{plant:?} saved {name}: {run}");
            }
            holds(&Attacked { cache: &cache, plant, command: args[0], run: &run });
        }
    }
}

#[test]
fn something_else_in_an_entrys_place_is_foreign() {
    attack(&|cache| cache.entry_path("a"), &|after| {
        // A directory is an entry, a partial one.
        let is_orphan = after.plant == Plant::Directory;
        let goes = is_orphan && (after.removes() || after.command == "gc-orphans");
        after.assert(after.cache.has("a") != goes);
        after.assert(after.code() == Some(after.well()));
    });
}

#[test]
fn something_else_in_an_entry_goes_with_it_and_no_further() {
    for file in ["video", "subs", ".complete", "video/init.mp4", "video/seg-1.m4s"] {
        attack(&|cache| cache.entry_path("a").join(file), &|after| {
            // What of it is damage, and so goes with `verify --fix`, the tests of verify say.
            after.assert(after.command == "verify" || after.cache.has("a") != after.removes());
            after.assert(after.code() == Some(after.well()));
        });
    }
}

#[test]
fn something_else_in_a_pins_place_keeps_its_entry_and_is_an_error() {
    attack(&|cache| cache.pin_path("a"), &|after| {
        // A hard link locks as well as any file.
        let locks = after.plant == Plant::HardLink;
        after.assert(after.cache.has("a") != (locks && after.removes()));
        // Nothing is wrong with the entry, so `verify` has no need of its pin.
        let is_well = locks || after.command == "verify";
        after.assert(after.code() == Some(if is_well { after.well() } else { 1 }));
    });
}

#[test]
fn something_else_in_the_other_lockfiles_places_stops_nothing() {
    for name in [format!(".{}.write", key("a")), ".maintenance.lock".into()] {
        attack(&|cache| cache.root().join(&name), &|after| {
            after.assert(after.cache.has("a") != after.removes());
            after.assert(after.code() == Some(after.well()));
        });
    }
}

#[test]
fn something_else_in_the_event_logs_place_stops_nothing() {
    for name in [".events.log", ".events.log.1"] {
        attack(&|cache| cache.root().join(name), &|after| {
            after.assert(after.cache.has("a") != after.removes());
            // Only who asks for the numbers in it is failed; a hard link is a file like any other.
            let is_well = after.command != "stats" || after.plant == Plant::HardLink;
            after.assert(after.code() == Some(if is_well { after.well() } else { 1 }));
        });
    }
}

#[test]
fn something_else_in_the_trashs_place_is_foreign() {
    let name = format!(".trash.{}.0123456789abcdef", key("a"));
    attack(&|cache| cache.root().join(&name), &|after| {
        let is_there = after.cache.root().join(&name).symlink_metadata().is_ok();
        let clears = matches!(after.command, "sweep" | "gc-orphans");
        after.assert(is_there != (clears && after.plant == Plant::Directory));
        after.assert(after.code() == Some(after.well()));
    });
}

#[test]
fn a_daemon_takes_no_symlink_for_an_entry() {
    let cache = neighbours();
    Plant::LinkToDirectory.put(&cache.entry_path("a"), &cache.outside_path("far"));
    let outside = contents(&cache.outside_path("far"));
    let daemon = Cache::open(cache.root()).unwrap();
    let key: Key = key("a").parse().unwrap();
    assert!(!daemon.has_complete(key).unwrap());
    assert!(matches!(daemon.lookup(key).unwrap(), Lookup::Miss));
    daemon.start(key).unwrap_err();
    assert_eq!(contents(&cache.outside_path("far")), outside);
}

#[test]
fn a_daemon_writes_and_seals_in_its_entry_or_not_at_all() {
    for plant in Plant::ALL {
        for place in ["video", ".complete"] {
            let cache = neighbours();
            let outside = contents(&cache.outside_path("far"));
            let daemon = Cache::open(cache.root()).unwrap();
            let key: Key = key("new").parse().unwrap();
            if place == "video" {
                fs::create_dir(cache.entry_path("new")).unwrap();
                plant.put(&cache.entry_path("new").join(place), &cache.outside_path("far"));
            }
            let started = daemon.start(key);
            let Ok(Start::Writer(writer)) = started else {
                assert!(place == "video" && started.is_err(), "{plant:?}: {started:?}");
                continue;
            };
            assert!(place != "video" || plant == Plant::Directory, "{plant:?} to write into");
            if place == ".complete" {
                plant.put(&writer.path().join(place), &cache.outside_path("far"));
                // A regular file is a marker, whatever its other names; no FIFO's reader is waited for.
                let sealed = writer.seal();
                assert_eq!(sealed.is_ok(), plant == Plant::HardLink, "{plant:?}: {sealed:?}");
            }
            assert_eq!(contents(&cache.outside_path("far")), outside, "{plant:?}");
        }
    }
}

/// `depth` directories, each in the one before, with a file in the last.
fn dig(top: &Path, depth: usize) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let mut at: OwnedFd = File::open(top).unwrap().into();
    for _ in 0..depth {
        mkdirat(&at, "directory", Mode::from(0o755)).unwrap();
        at = openat(&at, "directory", flags, Mode::empty()).unwrap();
    }
    openat(&at, "file", OFlags::WRONLY | OFlags::CREATE, Mode::from(0o644)).unwrap();
}

#[test]
fn deep_trees_in_many_entries_need_few_descriptors() {
    const ENTRIES: u64 = 24;
    if !need::tool("prlimit") {
        return;
    }
    let name = |n: u64| format!("d{n:02}");
    for args in [&SWEEP[..], &["invalidate", "--all"]] {
        let cache = (0..ENTRIES)
            .fold(TestCache::new(), |cache, n| cache.sealed(&name(n), 10.kib(), 5.days()));
        for n in 0..ENTRIES {
            dig(&cache.entry_path(&name(n)), 300);
        }
        let few = ["prlimit", "--nofile=64"];
        let stats = run(cache.command(["--json", "stats"]).under(few)).success().json();
        assert_eq!(stats["total"]["files"], ENTRIES * 7);
        run(cache.command(args).under(few)).success();
        assert!(tools::entries(&cache.root()).is_empty());
        assert!(tools::trash(&cache.root()).is_empty());
    }
}

#[test]
fn a_path_that_no_system_call_would_take_is_removed() {
    let cache = neighbours();
    // Three times PATH_MAX; the test's own snapshots could not read it.
    dig(&cache.entry_path("a"), 1200);
    let mut command = cache.command(SWEEP).process();
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(!cache.has("a") && tools::trash(&cache.root()).is_empty());
}

#[test]
fn names_of_any_bytes_are_removed_and_never_shown_raw() {
    let names: [&[u8]; 5] =
        [b"a\nSTRAY", b"\x1b]0;title\x07\x1b[2J", b"\xff\xfe\x80", b" ", b"\r\x08\x7f\xc2\x9b31m"];
    for name in names {
        let name = OsStr::from_bytes(name);
        let cache = neighbours();
        for parent in [cache.entry_path("a").join("video"), cache.root()] {
            fs::create_dir(parent.join(name)).unwrap();
            fs::write(parent.join(name).join(name), "x").unwrap();
        }
        // Nothing may be read or removed below it, so that there is something to say.
        let stuck = cache.entry_path("b").join("video").join(name);
        fs::create_dir(&stuck).unwrap();
        let cache = cache.used("a", 5.days()).used("b", 6.days());
        fs::set_permissions(&stuck, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
        let Some(cache) = cache.by_ordinary_user() else { return };
        for args in [&["stats", "--entries"][..], &["verify", "--deep"], &SWEEP] {
            let run = run(cache.command(args));
            for output in [&run.output.stdout, &run.output.stderr] {
                let text = String::from_utf8_lossy(output);
                let is_raw = |c: char| c.is_control() && c != '\n';
                assert!(!text.contains(is_raw), "{text:?}");
                let stray = text.lines().find(|line| line.starts_with("STRAY"));
                assert_eq!(stray, None, "a name broke a line: {text:?}");
            }
        }
        assert!(!cache.has("a") && !cache.has("c") && cache.has("b"), "{name:?}");
        assert!(cache.root().join(name).join(name).exists(), "{name:?}");
        fs::set_permissions(&stuck, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
}

/// A bind mount, until it is dropped.
struct Bind(PathBuf);

impl Bind {
    fn mount(from: &Path, at: &Path) -> Option<Self> {
        let mounted = Command::new("mount").arg("--bind").arg(from).arg(at).output();
        if !mounted.is_ok_and(|mounted| mounted.status.success()) {
            need::missing("root and bind mounts");
            return None;
        }
        Some(Self(at.to_owned()))
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_bind_mount_on_or_in_an_entry_keeps_it() {
    let places: [(&str, bool); 5] = [
        ("", true),
        ("video", true),
        ("subs", true),
        ("video/seg-0.m4s", false),
        (".complete", false),
    ];
    for (place, is_dir) in places {
        for args in
            [&SWEEP[..], &["invalidate", "--all", "--force"], &["verify", "--fix"], &["gc-orphans"]]
        {
            let cache = neighbours();
            let far = cache.outside_path("far");
            let from = if is_dir { far.clone() } else { far.join("precious") };
            let Some(_bind) = Bind::mount(&from, &cache.entry_path("a").join(place)) else {
                return;
            };
            let outside = contents(&far);
            let run = run(cache.command(args)).kept(["a"]).complains_of("mounted");
            assert_eq!(contents(&far), outside, "{run}");
            assert!(args[0] != "sweep" || !cache.has("b"), "{run}");
        }
    }
}

#[test]
fn a_mount_under_trash_is_left_and_what_is_mounted_is_kept() {
    let name = format!(".trash.{}.0123456789abcdef", key("t"));
    for place in ["", "video"] {
        let cache = neighbours().file(format!("{name}/video/seg-0.m4s"), b"old");
        let far = cache.outside_path("far");
        let at = cache.root().join(&name).join(place);
        let Some(_bind) = Bind::mount(&far, &at) else { return };
        let outside = contents(&far);
        let run = run(cache.command(SWEEP));
        assert_eq!(contents(&far), outside, "{run}");
        assert!(!cache.has("a") && at.exists(), "{run}");
    }
}

#[test]
fn a_mount_that_comes_after_the_plan_is_seen() {
    for args in [&SWEEP[..], &["invalidate", "--all"]] {
        let cache = neighbours();
        let far = cache.outside_path("far");
        let command = cache.command([&["--json"], args].concat());
        let Some(paused) = command.pause_at("openat", &pin_name("a")) else { return };
        let Some(bind) = Bind::mount(&far, &cache.entry_path("a").join("video")) else { return };
        let outside = contents(&far);
        let run = paused.resume();
        assert_eq!(contents(&far), outside, "{run}");
        assert!(decisions(&run.json(), "kept").contains(&("a".into(), "mounted".into())), "{run}");
        assert!(cache.has("a") && !cache.has("b"));
        drop(bind);
    }
}

/// Whoever names the entry is told that it could not go, whenever the mount came.
#[test]
fn invalidating_an_entry_with_a_mount_in_it_is_a_failure_whenever_the_mount_came() {
    let cache = neighbours();
    let far = cache.outside_path("far");
    let args = ["--json", "invalidate", &key("a")];
    let Some(paused) = cache.command(args).pause_at("openat", &pin_name("a")) else { return };
    let Some(bind) = Bind::mount(&far, &cache.entry_path("a").join("video")) else { return };
    for run in [paused.resume(), cache.run(args)] {
        let run = run.code(1).complains_of("something is mounted on or under it");
        assert_eq!(decisions(&run.json(), "kept"), [("a".into(), "mounted".into())]);
        assert!(cache.has("a"));
    }
    drop(bind);
}

/// The mount is made on the same directory, reached by another path, and is at no path in the root.
#[test]
fn a_mount_made_through_another_mount_of_the_cache_is_seen() {
    for place in ["", "video"] {
        let cache = neighbours().outside("other");
        let (far, other) = (cache.outside_path("far"), cache.outside_path("other"));
        let Some(_other) = Bind::mount(&cache.root(), &other) else { return };
        // Else the mount would appear under the root as well.
        let private = Command::new("mount").arg("--make-private").arg(&other).status();
        assert!(private.is_ok_and(|private| private.success()));
        let Some(_bind) = Bind::mount(&far, &other.join(key("a")).join(place)) else { return };
        let outside = contents(&far);
        let run = run(cache.command([&["--json"], &SWEEP[..]].concat())).kept(["a"]);
        assert_eq!(contents(&far), outside, "{run}");
        assert!(decisions(&run.json(), "kept").contains(&("a".into(), "mounted".into())), "{run}");
        assert!(!cache.has("b"));
    }
}

#[test]
fn a_hard_link_in_an_entry_is_only_a_name() {
    let cache = neighbours();
    let far = cache.outside_path("far");
    let path = cache.entry_path("a").join("video/seg-3.m4s");
    fs::hard_link(far.join("precious"), &path).unwrap();
    let cache = cache.used("a", 5.days());
    let outside = contents(&far);
    run(cache.command(SWEEP)).success().removed(["a"]);
    assert_eq!(contents(&far), outside);
}

/// The tool has read that `video` is a directory, and deletes other names first.
#[test]
fn a_directory_swapped_for_a_symlink_before_it_is_deleted_leads_nowhere() {
    let trash = format!(".trash.{}.0123456789abcdef", key("a"));
    for args in [&["invalidate", &key("a")][..], &["gc-orphans"]] {
        let cache = neighbours().in_entry("a", "before", b"x");
        let far = cache.outside_path("far");
        if args[0] == "gc-orphans" {
            fs::rename(cache.entry_path("a"), cache.root().join(&trash)).unwrap();
        }
        let outside = contents(&far);
        let link = cache.outside_path("link");
        // Relative to the entry; an absolute one would be refused for crossing a mount already.
        symlink("../../far", &link).unwrap();
        let Some(paused) = cache.command(args).pause_at("unlinkat", "before") else { return };
        let [entry] = &tools::trash(&cache.root())[..] else { panic!("no trash, or more") };
        renameat_with(CWD, entry.join("video"), CWD, &link, RenameFlags::EXCHANGE).unwrap();
        let run = paused.resume();
        assert_eq!(contents(&far), outside, "{run}");
        assert!(link.is_dir() && !cache.has("a"), "{run}");
        cache.run(SWEEP).success();
        assert!(tools::trash(&cache.root()).is_empty());
    }
}

/// While the tool works, directories become symlinks that lead outside, and back, all the time.
#[test]
fn a_directory_swapped_for_a_symlink_in_mid_run_leads_nowhere() {
    const VICTIMS: [&str; 4] = ["v0", "v1", "v2", "v3"];
    const RUNS: usize = 60;
    let commands: [&[&str]; 5] =
        [&["stats"], &["verify", "--deep"], &["verify", "--fix"], &SWEEP, &["invalidate", "--all"]];
    let swaps = AtomicU64::new(0);
    for round in 0..RUNS {
        let cache =
            VICTIMS.iter().fold(neighbours(), |cache, name| cache.sealed(name, 10.kib(), 5.days()));
        let far = cache.outside_path("far");
        for n in 0..50 {
            fs::write(far.join(format!("seg-{n}.m4s")), "outside").unwrap();
        }
        let outside = contents(&far);
        let stash = cache.outside_path("stash");
        fs::create_dir(&stash).unwrap();
        // By descriptor, so that it goes on in the trash, and with what no remover can reach.
        let stash = File::open(stash).unwrap();
        let entries: Vec<(File, &str)> = VICTIMS
            .iter()
            .map(|name| {
                symlink("../../far", cache.outside_path("stash").join(name)).unwrap();
                // Names to be dealt with between that of the directory and the directory.
                for n in 0..50 {
                    File::create(cache.entry_path(name).join(n.to_string())).unwrap();
                }
                (File::open(cache.entry_path(name)).unwrap(), *name)
            })
            .collect();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    for (entry, name) in &entries {
                        let swapped =
                            renameat_with(entry, "video", &stash, *name, RenameFlags::EXCHANGE);
                        swaps.fetch_add(u64::from(swapped.is_ok()), Ordering::Relaxed);
                    }
                }
            });
            let args = commands[round % commands.len()];
            let run = cache.command(args).process().output().unwrap();
            stop.store(true, Ordering::Relaxed);
            // Whether a look meets the directory or the symlink is chance: an entry may be whole or
            // damaged, go, or be an error.
            let code = run.status.code().unwrap();
            assert!(matches!(code, 0 | 1) || code == 3 && args[0] != "stats", "{run:?}");
            assert!(!String::from_utf8_lossy(&run.stderr).contains("panicked"), "{run:?}");
            let removes = args[0] == "sweep" || args[0] == "invalidate";
            assert!(!removes || !cache.has("b") && !cache.has("c"), "{run:?}");
        });
        assert_eq!(contents(&far), outside, "{:?}", commands[round % commands.len()]);
        let next = run(cache.command(SWEEP));
        assert!(tools::trash(&cache.root()).is_empty(), "{next}");
    }
    let swaps = swaps.into_inner();
    assert!(swaps > 1000, "only {swaps} swaps");
}
