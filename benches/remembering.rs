//! What it saves that a sweep remembers: a sweep with nothing to do against tools that look at every file, with warm
//! caches and, as root, with cold ones:
//!
//! ```sh
//! cargo bench --bench remembering -- --entries 300 --segments 900 --runs 9 --dir /mnt/of/its/own
//! ```
//!
//! `--dir` should be on a disk that does nothing else, such as an image on a loop device: what is read of it is
//! counted. The caches are dropped for the whole machine before each cold run. Making a cache takes a minute and more,
//! since only what has been quiet so long is remembered. It asserts nothing.

mod race;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use filetime::{FileTime, set_file_mtime};
use hls_cache::key::KeySuffix;
use hls_cache::layout;
use race::{Disk, OURS, Race};

/// Argument that makes this program list the entries' directories, and nothing in them.
const LIST_ONLY: &str = "--list-only";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let option = |name: &str| {
        let place = words.iter().position(|word| word == name)?;
        words.get(place + 1).cloned()
    };
    // `cargo test --benches` runs this too, without the argument that `cargo bench` adds.
    let is_bench = std::env::args().any(|word| word == "--bench");
    let result = if let Some(root) = option(LIST_ONLY) {
        list(root.as_ref())
    } else if is_bench {
        let number = |name, usual| option(name).and_then(|n| n.parse().ok()).unwrap_or(usual);
        let dir = option("--dir").map_or_else(std::env::temp_dir, PathBuf::from);
        let (entries, segments) = (number("--entries", 300), number("--segments", 900));
        run(entries, segments, number("--runs", 9), &dir)
    } else {
        Ok(())
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(entries: u64, segments: u64, runs: u64, dir: &Path) -> io::Result<()> {
    let runs = usize::try_from(runs).unwrap_or(9);
    let scratch = tempfile::tempdir_in(dir)?;
    let cache = scratch.path().join("cache");
    println!("{entries} entries of {segments} segments, {runs} runs");
    for number in 0..entries {
        fill_entry(&cache, &number.to_be_bytes(), segments)?;
    }
    // With another sweep, once everything has been quiet for long enough.
    let last = format!("hls-cache sizes 1 {entries}\n");
    while !std::fs::read_to_string(cache.join(layout::SIZES))
        .is_ok_and(|text| text.starts_with(&last))
    {
        thread::sleep(Duration::from_secs(5));
        let mut sweep = Command::new(OURS);
        sweep.args(["--quiet", "sweep", "--max-size", "1000TiB", "--root"]).arg(&cache);
        let swept = sweep.status()?;
        if !swept.success() {
            return Err(io::Error::other(format!("sweep: {swept}")));
        }
    }
    race("warm", &cache)?.run(runs, |_| Ok(()))?;
    let drop_caches = || std::fs::write("/proc/sys/vm/drop_caches", "3");
    if let Err(error) = drop_caches() {
        println!("cold: left out: {error}");
        return Ok(());
    }
    let mut cold = race("cold", &cache)?;
    cold.disk = Disk::under(&cache).ok();
    cold.run(runs, |_| {
        rustix::fs::syncfs(File::open(&cache)?)?;
        drop_caches()
    })
}

fn race(title: &str, cache: &Path) -> io::Result<Race> {
    let mut race = Race::new(title);
    let sweep = ["sweep", "--max-size", "1000TiB", "--root"];
    race.add("hls-cache sweep, nothing to do", OURS, &sweep, Some(cache));
    let full = [&["--quiet"][..], &["sweep", "--dry-run", "--full-scan"], &sweep[1..]].concat();
    race.add("the same, --dry-run --full-scan", OURS, &full, Some(cache));
    race.add(
        "listing the entries' directories",
        std::env::current_exe()?,
        &[LIST_ONLY],
        Some(cache),
    );
    race.add("du -sb", "du", &["-sb"], Some(cache));
    race.add("diskus", "diskus", &[], Some(cache));
    Ok(race)
}

/// The least that must be read to see which entries there are and that they are sealed.
fn list(root: &Path) -> io::Result<()> {
    let mut names = 0;
    for entry in std::fs::read_dir(root)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names += std::fs::read_dir(entry.path())?.count();
        }
    }
    println!("{names}");
    Ok(())
}

/// A sealed entry of sparse segments, last used and written days ago.
fn fill_entry(cache: &Path, source: &[u8], segments: u64) -> io::Result<()> {
    let entry = cache.join(KeySuffix::new(b"1080p", 0, None).key(source).to_string());
    let video = entry.join(layout::VIDEO);
    std::fs::create_dir_all(&video)?;
    let long_ago = FileTime::from_unix_time(FileTime::now().unix_seconds() - 3 * 24 * 60 * 60, 0);
    let file = |path: PathBuf, length| {
        File::create(&path)?.set_len(length)?;
        set_file_mtime(path, long_ago)
    };
    file(video.join(layout::INIT), 1000)?;
    for segment in 0..segments {
        file(video.join(layout::segment(segment)), 4 << 20)?;
    }
    file(entry.join(layout::COMPLETE), 0)?;
    set_file_mtime(video, long_ago)?;
    set_file_mtime(entry, long_ago)
}
