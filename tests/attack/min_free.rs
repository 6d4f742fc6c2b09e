//! `sweep --min-free` where the disk does not do what one thinks: others fill it, root's reserve is used
//! up, and what is deleted does not come back.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;

use hls_cache::units::human_size;

use crate::common::{Age, Run, Size, TestCache, decisions, need};
use crate::tools::{self, Full, Image};

/// A cache on a disk of its own, which must go before its directory does.
struct Disk {
    image: Image,
    cache: TestCache,
}

const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// Eight entries of 2 MiB, `a` the least recently used; none, said loudly, where mounting is not
/// possible.
fn disk(make: impl Fn(&TestCache) -> Option<Image>) -> Option<Disk> {
    let cache = TestCache::new();
    let image = make(&cache)?;
    let cache = (9..).zip(NAMES).fold(cache, |cache, (number, name)| {
        let days: u64 = 20 - number;
        cache.allocated(name, 2.mib(), days.days())
    });
    rustix::fs::sync();
    Some(Disk { image, cache })
}

impl Disk {
    fn sweep(&self, args: &[&str]) -> Run<'_> {
        self.cache.run([&["--json", "sweep"], args].concat())
    }

    fn left(&self) -> usize {
        tools::entries(&self.cache.root()).len()
    }

    fn end(self) {
        drop(self.image);
    }
}

#[test]
fn a_snapshot_that_holds_everything_ends_eviction_after_one_entry() {
    let Some(disk) = disk(|cache| Image::btrfs(cache, 96 << 10)) else { return };
    if !need::tool("btrfs") {
        return;
    }
    let root = disk.cache.root();
    let snapshot = root.join("snapshot");
    let words = ["btrfs", "subvolume", "snapshot", "-r"].map(OsStr::new);
    tools::must(&[&words[..], &[root.as_os_str(), snapshot.as_os_str()]].concat());
    for round in 1..=2 {
        let run = disk.sweep(&["--min-free", "95%", "--min-budget", "0"]).code(3);
        assert_eq!(disk.left(), 8 - round, "{run}");
        let run = run.complains_of("less than half of the evicted space became free");
        assert_eq!(decisions(&run.json(), "removed").len(), 1);
    }
    disk.end();
}

#[test]
fn hard_links_that_hold_everything_end_eviction_after_one_entry() {
    let Some(disk) = disk(|cache| Image::ext4(cache, 48 << 10, 400)) else { return };
    let links = disk.cache.root().join("links");
    fs::create_dir(&links).unwrap();
    for entry in tools::entries(&disk.cache.root()) {
        let to = links.join(entry.file_name().unwrap());
        tools::must(&["cp".as_ref(), "-al".as_ref(), entry.as_os_str(), to.as_os_str()]);
    }
    let run = disk.sweep(&["--min-free", "40M", "--min-budget", "0"]).code(3).removed(["a"]);
    assert_eq!(disk.left(), 7, "{run}");
    let run = run.complains_of("less than half of the evicted space became free");
    // What was needed, what came back, and what else could go.
    run.complains_of("needed ")
        .complains_of("freed 1 KiB")
        .complains_of("still evictable 14.02 MiB");
    disk.end();
}

#[test]
fn somebody_elses_files_do_not_push_out_the_least_budget() {
    let Some(disk) = disk(|cache| Image::ext4(cache, 64 << 10, 400)) else { return };
    fs::write(disk.cache.root().join("movie.mkv"), vec![b'x'; 30 << 20]).unwrap();
    let args = ["--min-free", "60M", "--min-budget", "9M"];
    let dry = disk.sweep(&[&["-n"], &args[..]].concat()).code(3).kept(NAMES);
    let run = disk.sweep(&args).code(3).removed(["a", "b", "c"]).kept(["d", "e", "f", "g", "h"]);
    assert_eq!(decisions(&run.json(), "removed"), decisions(&dry.json(), "would-remove"));
    run.complains_of("stopped at --min-budget").complains_of("still evictable 10");
    // Without the user's word it is a gibibyte, which nothing here comes near.
    disk.sweep(&["--min-free", "60M"]).code(3).kept(["d", "e", "f", "g", "h"]);
    disk.end();
}

#[test]
fn eviction_goes_on_while_the_disk_is_into_roots_reserve() {
    let Some(disk) = disk(|cache| Image::ext4_with_reserve(cache, 64 << 10, 10)) else { return };
    tools::fill(&disk.cache.root(), Full::Bytes);
    let run = disk.sweep(&["--min-free", "3M", "--min-budget", "0"]).success();
    // 6.4 MiB of the reserve, and 3 MiB on top: five entries, with more to spare than lockfiles take.
    assert_eq!(disk.left(), 3, "{run}");
    let stat = rustix::fs::statvfs(disk.cache.root()).unwrap();
    assert!(stat.f_bavail * stat.f_frsize >= 3.mib(), "{run}");
    disk.end();
}

/// What goes for the disk's sake is as large as what it occupied there.
#[test]
fn what_goes_for_free_space_is_shown_as_it_lay_on_the_disk() {
    let Some(disk) = disk(|cache| Image::ext4(cache, 48 << 10, 400)) else { return };
    // Sparse: much longer than what the disk holds of it.
    let segment = disk.cache.entry_path("a").join("video/seg-1.m4s");
    fs::File::options().write(true).open(segment).unwrap().set_len(100.mib()).unwrap();
    // How many blocks it takes to find the others is the file system's to say.
    let on_disk = human_size(TestCache::usage(&disk.cache.entry_path("a")).1);
    assert!(on_disk.starts_with('2') && on_disk.ends_with(" MiB"), "{on_disk}");
    let run = disk.cache.run(["sweep", "--min-free", "31M", "--min-budget", "0"]);
    let line = run.stdout().lines().find(|line| line.starts_with("removed")).unwrap().to_owned();
    assert!(line.contains(&format!(" {on_disk} ")), "{line}\n{run}");
    disk.end();
}

#[test]
fn an_entry_in_a_read_only_snapshot_stays_where_it_is() {
    let Some(disk) = disk(|cache| Image::btrfs(cache, 96 << 10)) else { return };
    let (entry, aside) = (disk.cache.entry_path("a"), disk.cache.root().join("aside"));
    fs::rename(&entry, &aside).unwrap();
    let run = |words: &[&str], paths: &[&OsStr]| {
        let words: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
        tools::must(&[&words[..], paths].concat());
    };
    run(&["btrfs", "subvolume", "create"], &[entry.as_os_str()]);
    run(&["cp", "-aT"], &[aside.as_os_str(), entry.as_os_str()]);
    run(&["btrfs", "property", "set", "-ts"], &[entry.as_os_str(), "ro".as_ref(), "true".as_ref()]);
    for args in [&["-n"][..], &[]] {
        let limit = ["--max-size", "13M", "--min-budget", "0"];
        let run = disk.sweep(&[args, &limit].concat()).code(1);
        let run = run.complains_of("1 entry cannot be deleted").complains_of("read-only");
        assert!(disk.cache.has("a") && tools::trash(&disk.cache.root()).is_empty(), "{run}");
    }
    assert!(!disk.cache.has("b") && !disk.cache.has("c"), "the next takes its place");
    disk.end();
}

/// `chattr +i` keeps even root from deleting in a directory.
#[test]
fn an_entry_with_an_immutable_directory_stays_where_it_is() {
    for attribute in ["i", "a"] {
        let Some(disk) = disk(|cache| Image::ext4(cache, 48 << 10, 400)) else { return };
        let video = disk.cache.entry_path("a").join("video");
        let chattr = |change: String| {
            Command::new("chattr").arg(change).arg(&video).status().unwrap();
        };
        chattr(format!("+{attribute}"));
        for args in [&["-n"][..], &[]] {
            let limit = ["--max-size", "15M", "--min-budget", "0"];
            let run = disk.sweep(&[args, &limit].concat()).code(1);
            let run = run.complains_of("1 entry cannot be deleted").complains_of("immutable");
            assert!(disk.cache.has("a") && tools::trash(&disk.cache.root()).is_empty(), "{run}");
        }
        assert!(!disk.cache.has("b"), "the next takes its place");
        chattr(format!("-{attribute}"));
        disk.end();
    }
}
