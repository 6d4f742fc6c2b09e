//! A full disk is when eviction matters most: no lockfile can be made, no name may fit, and yet
//! entries go, and pins protect.

use std::fs::{self, File};
use std::process::Command;
use std::time::SystemTime;

use hls_cache::Key;
use hls_cache::daemon::{Busy, Cache, Lookup, Start};
use rustix::io::Errno;

use crate::common::{Age, Size, TestCache, key};
use crate::tools::{self, Full, Image};

/// A cache on a disk of its own, not full yet. The disk must go before the directory does.
struct Small {
    image: Option<Image>,
    cache: TestCache,
    full: Full,
    name: &'static str,
}

/// Every kind of small disk; none, said loudly, where mounting is not possible.
fn disks() -> Vec<Small> {
    let tmpfs = |options, full, name| {
        Some(Small { image: None, cache: filled(TestCache::on_tmpfs(options)?), full, name })
    };
    let ext4 = |inodes, full, name| {
        let cache = TestCache::new();
        let image = Some(Image::ext4(&cache, 2048, inodes)?);
        Some(Small { image, cache: filled(cache), full, name })
    };
    let disks = [
        tmpfs("size=2m,nr_inodes=100,mode=755", Full::Files, "a tmpfs out of inodes"),
        tmpfs("size=2m,mode=755", Full::Bytes, "a tmpfs out of blocks"),
        ext4(100, Full::Files, "an ext4 out of inodes"),
        ext4(100, Full::Bytes, "an ext4 out of blocks"),
    ];
    disks.into_iter().flatten().collect()
}

/// Three sealed entries and an orphan.
fn filled(cache: TestCache) -> TestCache {
    cache
        .allocated("a", 100.kib(), 5.days())
        .allocated("b", 100.kib(), 4.days())
        .allocated("c", 100.kib(), 3.days())
        .partial("p", 10.kib(), 6.days())
}

impl Small {
    fn fill(&self) {
        tools::fill(&self.cache.root(), self.full);
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        drop(self.image.take());
    }
}

#[test]
fn a_sweep_frees_a_full_disk() {
    for disk in disks() {
        disk.fill();
        let sweep = ["sweep", "--max-size", "100KiB", "--min-budget", "0"];
        disk.cache.run(sweep).success().removed(["p", "a", "b"]).kept(["c"]);
        assert!(tools::trash(&disk.cache.root()).is_empty(), "{}", disk.name);
        // There is room again, for the log too.
        assert_eq!(disk.cache.logged().len(), 4, "{}", disk.name);
    }
}

#[test]
fn a_sweep_for_free_space_frees_a_full_disk() {
    for disk in disks() {
        let Full::Bytes = disk.full else { continue };
        disk.fill();
        let run = disk
            .cache
            .run(["sweep", "--min-free", "150K", "--min-budget", "0"])
            .success()
            .removed(["p", "a"]);
        assert!(disk.cache.has("c"), "{}: {run}", disk.name);
    }
}

#[test]
fn every_removal_works_on_a_full_disk() {
    for disk in disks() {
        disk.fill();
        disk.cache.run(["gc-orphans"]).success().removed(["p"]).kept(["a", "b", "c"]);
    }
    for disk in disks() {
        disk.fill();
        disk.cache.run(["invalidate", &key("a")]).success().removed(["a"]).kept(["b", "c", "p"]);
    }
    for disk in disks() {
        fs::remove_file(disk.cache.entry_path("a").join("video/seg-1.m4s")).unwrap();
        disk.fill();
        disk.cache.run(["verify", "--fix"]).code(3).removed(["a"]).kept(["b", "c", "p"]);
    }
}

#[test]
fn pins_protect_on_a_full_disk() {
    for disk in disks() {
        // The pin of another entry is there and not held.
        File::create(disk.cache.pin_path("b")).unwrap();
        let holder = disk.cache.pin("a");
        disk.fill();
        let sweep = ["--json", "sweep", "--max-size", "100KiB", "--min-budget", "0"];
        let run = disk.cache.run(sweep).code(3).removed([]).kept(["a", "b", "c", "p"]);
        assert_eq!(run.json()["pinned"], disk.cache.totals(["a"]));
        let sweep = ["sweep", "--max-size", "120KiB", "--min-budget", "0"];
        disk.cache.run(sweep).success().removed(["p", "b", "c"]).kept(["a"]);
        drop(holder);
    }
}

/// A daemon serves the entry uncached, and knows why: no error fails its viewer.
#[track_caller]
fn assert_served_uncached(cache: &Cache, name: &str, reason: Errno) {
    let key: Key = key(name).parse().unwrap();
    let looked = cache.lookup(key);
    let Ok(Lookup::Busy(Busy::CannotWrite(error))) = &looked else { panic!("{name}: {looked:?}") };
    assert_eq!(error.raw_os_error(), Some(reason.raw_os_error()), "{error}");
    let started = cache.start(key);
    let Ok(Start::Busy(Busy::CannotWrite(error))) = &started else { panic!("{name}: {started:?}") };
    assert_eq!(error.raw_os_error(), Some(reason.raw_os_error()), "{error}");
}

#[test]
fn a_daemon_serves_uncached_what_it_cannot_pin_on_a_full_disk() {
    for disk in disks() {
        disk.fill();
        let cache = Cache::open(disk.cache.root()).unwrap();
        match disk.full {
            Full::Files => {
                assert_served_uncached(&cache, "a", Errno::NOSPC);
                assert_served_uncached(&cache, "new", Errno::NOSPC);
            }
            // There is room for a lockfile still, which takes no block.
            Full::Bytes => {
                let found = cache.lookup(key("a").parse().unwrap());
                assert!(matches!(found, Ok(Lookup::Hit(_))), "{}: {found:?}", disk.name);
                // A directory takes one on ext4, and none on tmpfs.
                let started = cache.start(key("new").parse().unwrap());
                let is_as_expected = match disk.image {
                    Some(_) => matches!(started, Ok(Start::Busy(Busy::CannotWrite(_)))),
                    None => matches!(started, Ok(Start::Writer(_))),
                };
                assert!(is_as_expected, "{}: {started:?}", disk.name);
            }
        }
        cache.record_hit(key("a").parse().unwrap(), SystemTime::now());
        assert!(disk.cache.has("a"));
    }
}

#[test]
fn a_daemon_on_a_read_only_disk_serves_what_has_a_pin_and_the_rest_uncached() {
    let Some(cache) = TestCache::on_tmpfs("size=2m,mode=755") else { return };
    let cache = filled(cache);
    File::create(cache.pin_path("a")).unwrap();
    // What a daemon left when the disk went read-only under it.
    let cache = cache.partial("left", 10.kib(), 1.days());
    File::create(cache.pin_path("left")).unwrap();
    File::create(cache.root().join(format!(".{}.write", key("left")))).unwrap();
    let remounted =
        Command::new("mount").args(["-o", "remount,ro"]).arg(cache.root()).status().unwrap();
    assert!(remounted.success());
    let daemon = Cache::open(cache.root()).unwrap();
    let found = daemon.lookup(key("a").parse().unwrap());
    let Ok(Lookup::Hit(pin)) = &found else { panic!("{found:?}") };
    assert!(pin.path().join(".complete").exists());
    daemon.record_hit(key("a").parse().unwrap(), SystemTime::now());
    let left: Key = key("left").parse().unwrap();
    assert!(matches!(daemon.lookup(left), Ok(Lookup::Miss)));
    let started = daemon.start(left);
    assert!(matches!(started, Ok(Start::Busy(Busy::CannotWrite(_)))), "{started:?}");
    for name in ["b", "p", "new"] {
        assert_served_uncached(&daemon, name, Errno::ROFS);
    }
}

/// Where not even a name fits into the directory, an entry is deleted in place.
#[test]
fn a_directory_without_room_for_one_more_name_is_swept() {
    let cache = TestCache::new();
    let image = Image::ext4(&cache, 2048, 200);
    if image.is_none() {
        return;
    }
    // Unmounted before its directory goes.
    let disk =
        Small { image, cache: filled(cache), full: Full::Bytes, name: "an ext4 without names" };
    let cache = &disk.cache;
    tools::fill(&cache.root(), Full::Bytes);
    let filler = cache.root().join("filler/bytes");
    // Links cost a name and nothing else; when no long one fits any more, shorter ones may.
    for length in [200, 60, 30, 12] {
        let name = |n: u32| cache.root().join(format!("{n:0length$}"));
        let full = (0..10_000).find(|&n| fs::hard_link(&filler, name(n)).is_err());
        assert!(full.is_some(), "no limit");
    }
    let as_long_as_trash = format!(".trash.{}.0123456789abcdef", key("c"));
    fs::rename(cache.entry_path("c"), cache.root().join(as_long_as_trash)).unwrap_err();
    let run = cache.run(["sweep", "--max-size", "100KiB", "--min-budget", "0"]).success();
    run.removed(["p", "a", "b"]).kept(["c"]);
}

#[test]
fn a_read_only_cache_can_be_looked_at_and_is_not_changed() {
    let Some(cache) = TestCache::on_tmpfs("size=2m,mode=755") else { return };
    let cache = filled(cache).trash("t");
    let remounted =
        Command::new("mount").args(["-o", "remount,ro"]).arg(cache.root()).status().unwrap();
    assert!(remounted.success());
    cache.run(["stats"]).success().untouched();
    cache.run(["verify"]).success().untouched();
    for command in [
        &["sweep", "-n", "--max-size", "0", "--min-budget", "0"][..],
        &["sweep", "--max-size", "0", "--min-budget", "0"],
        &["gc-orphans"],
        &["invalidate", "--all"],
    ] {
        cache.run(command).code(1).complains_of("Read-only file system").untouched();
    }
}
