//! Compares the command line with other tools on the same synthetic cache, in turn:
//!
//! ```sh
//! cargo bench --bench cache -- --entries 300 --segments 900 --runs 9 --dir /var/tmp
//! ```
//!
//! `--static PATH` names a statically linked build, whose start-up is timed beside that of this one.
//!
//! Prints medians, and ratios of medians (ours / theirs), of wall-clock and of CPU time: on a machine with
//! other work the latter is the steadier. Tools that are not installed are left out. `--dir` chooses the
//! file system; the benchmark removes its files at the end. It asserts nothing.

mod race;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use filetime::{FileTime, set_file_mtime};
use hls_cache::key::{Encode, Key, KeyPrefix, KeySuffix};
use hls_cache::layout;
use sha2::{Digest, Sha256};

use race::{OURS, Race};

/// Argument that makes this program the reference for keys: it computes that many hashes.
const HASH_ONLY: &str = "--hash-only";
/// Argument that makes this program the reference for names: it computes the keys of that many media files.
const NAME_ONLY: &str = "--name-only";
/// What is tried for each media file: the tool's default.
const QUALITIES: [&str; 7] = ["", "1080p", "2160p", "360p", "480p", "720p", "original"];
const TRACKS: std::ops::RangeInclusive<i64> = -1..=15;
const SETTINGS: &str = "videotoolbox|medium|10M||0|false";
/// Argument that makes this program hold that many files open.
const HOLD_FILES: &str = "--hold-files";
const HASH_IN_PYTHON: &str = "import hashlib, sys
write = sys.stdout.write
for line in sys.stdin.buffer:
    write(hashlib.sha256(line[:-1] + b'|1080p|0').hexdigest()[:16] + '\\n')";

struct Options {
    entries: u64,
    segments: u64,
    keys: u64,
    media: u64,
    runs: usize,
    processes: u64,
    files: u64,
    dir: PathBuf,
    linked_statically: Option<PathBuf>,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut options = Self {
            entries: 300,
            segments: 900,
            keys: 1_000_000,
            media: 20_000,
            runs: 9,
            processes: 500,
            files: 1000,
            dir: std::env::temp_dir(),
            linked_statically: None,
        };
        while let Some(arg) = args.next() {
            let name = arg.to_string_lossy().into_owned();
            if name == "--bench" {
                continue;
            }
            let value = args.next().ok_or_else(|| format!("{name}: no value"))?;
            let number = || {
                value
                    .to_str()
                    .and_then(|v| v.parse().ok())
                    .ok_or_else(|| format!("{name}: no number"))
            };
            match &*name {
                "--entries" => options.entries = number()?,
                "--segments" => options.segments = number()?,
                "--keys" => options.keys = number()?,
                "--media" => options.media = number()?,
                "--runs" => options.runs = usize::try_from(number()?).unwrap_or(1).max(1),
                "--processes" => options.processes = number()?,
                "--files" => options.files = number()?,
                "--dir" => options.dir = value.into(),
                "--static" => options.linked_statically = Some(value.into()),
                _ => return Err(format!("{name}: not an option")),
            }
        }
        Ok(options)
    }
}

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1).peekable();
    if args.next_if(|arg| arg == HASH_ONLY).is_some() {
        hash_only(args.next().and_then(|count| count.to_str()?.parse().ok()).unwrap_or(0));
        return ExitCode::SUCCESS;
    }
    if args.next_if(|arg| arg == NAME_ONLY).is_some() {
        let mut number = || args.next()?.to_str()?.parse().ok();
        let (count, burns) = (number().unwrap_or(0), number().unwrap_or(0));
        name_only(count, i64::try_from(burns).unwrap_or(0));
        return ExitCode::SUCCESS;
    }
    if args.next_if(|arg| arg == HOLD_FILES).is_some() {
        let (count, file) = (args.next(), args.next().unwrap_or_default());
        let count = count.and_then(|count| count.to_str()?.parse().ok()).unwrap_or(0);
        return end(hold_files(count, file.as_ref()));
    }
    // `cargo test --benches` runs this too, without the argument that `cargo bench` adds.
    if !std::env::args_os().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS;
    }
    match Options::parse(args) {
        Ok(options) => end(run(&options)),
        Err(message) => end(Err(io::Error::other(message))),
    }
}

fn end(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<()> {
    let scratch = tempfile::tempdir_in(&options.dir)?;
    let cache = scratch.path().join("cache");
    println!("{} entries of {} segments, {} runs", options.entries, options.segments, options.runs);
    fill(&cache, options.entries, options.segments)?;
    scan(options, scratch.path(), &cache)?;
    history(options, scratch.path())?;
    progress(options, &cache)?;
    evict(options, scratch.path())?;
    evict_beside_processes(options, scratch.path(), &cache)?;
    keys(options, scratch.path())?;
    names(options, scratch.path())?;
    start_up(options, scratch.path())
}

/// Opens a file `count` times, prints `ready`, and ends when standard input is closed.
fn hold_files(count: u64, file: &Path) -> io::Result<()> {
    let _held = (0..count).map(|_| File::open(file)).collect::<io::Result<Vec<_>>>()?;
    println!("ready");
    io::copy(&mut io::stdin(), &mut io::sink()).map(drop)
}

/// Makes a cache of sealed entries with small segments: the benchmark measures names, not data.
fn fill(cache: &Path, entries: u64, segments: u64) -> io::Result<()> {
    for number in 0..entries {
        fill_entry(cache, KeySuffix::new(b"1080p", 0, None).key(&number.to_be_bytes()), segments)?;
    }
    Ok(())
}

fn fill_entry(cache: &Path, key: Key, segments: u64) -> io::Result<()> {
    let entry = cache.join(key.to_string());
    let video = entry.join(layout::VIDEO);
    std::fs::create_dir_all(&video)?;
    std::fs::write(video.join(layout::INIT), "init")?;
    for segment in 0..segments {
        std::fs::write(video.join(layout::segment(segment)), [0; 1000])?;
    }
    std::fs::write(entry.join(layout::COMPLETE), "")
}

fn scan(options: &Options, scratch: &Path, cache: &Path) -> io::Result<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/floor.c");
    let floor = |name: &str, flags: &[&str]| {
        let binary = scratch.join(name);
        let mut compiler = Command::new("cc");
        compiler.args(["-O2", "-pthread"]).args(flags).arg(&source).arg("-o").arg(&binary);
        let built = compiler.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        built.then_some(binary)
    };
    let mut race = Race::new("scan");
    race.add("hls-cache stats", OURS, &["stats", "--root"], Some(cache));
    for (name, flags) in [("floor", &[][..]), ("floor-inline", &["-DINLINE"])] {
        if let Some(binary) = floor(name, flags) {
            for threads in ["1", "2", "4"] {
                race.add(&format!("{name} {threads}"), &binary, &[threads], Some(cache));
            }
        }
    }
    let sweep = ["sweep", "--max-size", "1000TiB", "--root"];
    race.add("hls-cache sweep, nothing to do", OURS, &sweep, Some(cache));
    race.add("du -sb", "du", &["-sb"], Some(cache));
    race.tool("find -printf", "find", &["-printf", "%s\\n"], cache);
    race.add("diskus", "diskus", &[], Some(cache));
    race.add("pdu", "pdu", &["--max-depth", "1"], Some(cache));
    race.add("dua", "dua", &["aggregate"], Some(cache));
    race.run(options.runs, |_| Ok(()))
}

/// What the event log costs, on a cache of no entries: a million requests of 100,000 keys, some of which every sweep of
/// an LRU cache would evict, and then the log at its largest, of 64 MiB.
fn history(options: &Options, scratch: &Path) -> io::Result<()> {
    /// In bytes; a sweep starts a new log when it is larger.
    const LARGEST: u64 = 64 << 20;
    for (title, largest) in [("a million requests", u64::MAX), ("an event log of 64 MiB", LARGEST)]
    {
        let cache = scratch.join(title.replace(' ', "-"));
        std::fs::create_dir(&cache)?;
        let mut out = BufWriter::new(File::create(cache.join(layout::EVENTS_LOG))?);
        let (mut requests, mut written, mut dice) = (0_u64, 0, 1_u64);
        while written < largest && (largest < u64::MAX || requests < 1_000_000) {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Some keys are requested far more often than others.
            let key = KeySuffix::new(b"", 0, None)
                .key(&((dice >> 33) % (dice % 100_000 + 1)).to_be_bytes());
            let (time, bytes) = (1_700_000_000 + requests, (1 << 30) + key.as_u64() % (1 << 32));
            let kind = if requests.is_multiple_of(3) { "miss" } else { "hit" };
            let mut lines = format!("{time} {kind} {key} {bytes}\n");
            if requests.is_multiple_of(7) {
                lines += &format!("{time} evict {key} {bytes} 86400 over-budget\n");
            }
            out.write_all(lines.as_bytes())?;
            written += lines.len() as u64;
            requests += 1;
        }
        out.flush()?;
        let mut race = Race::new(title);
        let budget = ["--max-size", "20TiB", "--root"];
        let mut add = |name, option: &[&str]| {
            race.add(name, OURS, &[&["stats"], option, &budget].concat(), Some(&cache));
        };
        add("hls-cache stats --history", &["--history"]);
        add("hls-cache stats", &[]);
        add("hls-cache stats --prometheus", &["--prometheus"]);
        race.run(options.runs, |_| Ok(()))?;
    }
    Ok(())
}

/// The cost of the progress bar, on a terminal made by `script`.
fn progress(options: &Options, cache: &Path) -> io::Result<()> {
    let mut race = Race::new("scan on a terminal");
    for (name, quiet) in [("with a progress bar", ""), ("quiet", "--quiet")] {
        let command = format!("'{OURS}' stats {quiet} --root '{}'", cache.display());
        race.add(name, "script", &["-qc", &command, "/dev/null"], None);
    }
    race.run(options.runs, |_| Ok(()))
}

/// On a tenth of the entries, because every run needs a new tree.
fn evict(options: &Options, scratch: &Path) -> io::Result<()> {
    let cache = scratch.join("evicted");
    let mut race = Race::new("eviction");
    let sweep = ["sweep", "--max-entries", "0", "--root"];
    race.add("hls-cache sweep, all of it", OURS, &sweep, Some(&cache));
    race.add("rm -rf", "rm", &["-rf"], Some(&cache));
    race.run(options.runs, |_| {
        fill(&cache, options.entries.div_ceil(10), options.segments)?;
        Command::new("sync").arg("--file-system").arg(&cache).status().map(drop)
    })
}

/// The cost of finding open files where many processes have many open, none of them in the cache. Each
/// sweep removes one entry and keeps the rest of `cache`.
fn evict_beside_processes(options: &Options, scratch: &Path, cache: &Path) -> io::Result<()> {
    let (processes, files) = (options.processes, options.files);
    let file = scratch.join("some/file/of/another/program");
    std::fs::create_dir_all(&file)?;
    let file = file.join("data");
    std::fs::write(&file, "")?;
    let mut held = Vec::new();
    for _ in 0..processes {
        let mut child = Command::new(std::env::current_exe()?)
            .args([HOLD_FILES, &files.to_string()])
            .arg(&file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = [0; 6];
        child.stdout.as_mut().expect("piped").read_exact(&mut said)?;
        held.push(child);
    }
    let few = scratch.join("few");
    for (name, cache) in [("an empty cache", &*few), ("the cache", cache)] {
        let title =
            format!("one entry beside {name}, {processes} processes with {files} open files each");
        let mut race = Race::new(&title);
        let sweep = ["sweep", "--older-than", "1d", "--root"];
        race.add("hls-cache sweep", OURS, &sweep, Some(cache));
        let sweep = ["sweep", "--locks-only", "--older-than", "1d", "--root"];
        race.add("hls-cache sweep --locks-only", OURS, &sweep, Some(cache));
        // Reads `/proc` once; a real sweep reads it again before the removal if the first reading is a
        // second old.
        let sweep = ["sweep", "--dry-run", "--older-than", "1d", "--root"];
        race.add("hls-cache sweep --dry-run", OURS, &sweep, Some(cache));
        race.run(options.runs, |_| add_old_entry(cache, options.segments))?;
    }
    for mut child in held {
        drop(child.stdin.take());
        child.wait()?;
    }
    Ok(())
}

/// Adds an entry that was used two days ago.
fn add_old_entry(cache: &Path, segments: u64) -> io::Result<()> {
    let key = KeySuffix::new(b"old", 0, None).key(b"old");
    fill_entry(cache, key, segments)?;
    let long_ago = FileTime::now().unix_seconds() - 2 * 24 * 60 * 60;
    set_file_mtime(cache.join(key.to_string()), FileTime::from_unix_time(long_ago, 0))
}

fn keys(options: &Options, scratch: &Path) -> io::Result<()> {
    let list = scratch.join("sources");
    let mut out = BufWriter::new(File::create(&list)?);
    for number in 0..options.keys {
        let (film, year) = (number % 7919, 1950 + number % 70);
        writeln!(
            out,
            "/srv/media/films/Some Film {film} ({year})/Some.Film.{number}.1080p.BluRay.mkv"
        )?;
    }
    out.flush()?;
    let itself = std::env::current_exe()?;
    let count = options.keys.to_string();
    // The interpreter itself, not a launcher that chooses among several.
    let python = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    let python = python
        .map_or("python3".into(), |out| String::from_utf8_lossy(&out.stdout).trim_end().to_owned());
    let mut race = Race::new(&format!("{} keys", options.keys));
    race.add("hls-cache key --stdin", OURS, &["key", "--quality", "1080p", "--stdin"], None);
    race.add("hashes alone", &itself, &[HASH_ONLY, &count], None);
    race.add("Python's hashlib", python, &["-c", HASH_IN_PYTHON], None);
    race.stdin = Some(list);
    race.run(options.runs, |_| Ok(()))
}

fn hash_only(count: u64) {
    let mut message =
        *b"/srv/media/films/Some Film 0000 (1950)/Some.Film.000000.1080p.BluRay.mkv|1080p|0";
    for number in 0..count {
        message[27..35].copy_from_slice(&number.to_be_bytes());
        std::hint::black_box(Sha256::digest(std::hint::black_box(message.as_slice())));
    }
}

/// A media file of the library.
fn media_file(number: u64) -> String {
    let (film, year) = (number / 4, 1950 + number % 70);
    format!("films/Some Film {film} ({year})/Some.Film.{number}.1080p.BluRay.mkv")
}

/// The cost of names: a library of empty files, and a cache of 300 entries, half of them from it. With a stamp,
/// keys have five parts, too; and those with burnt-in subtitles are tried where an entry has no name yet.
fn names(options: &Options, scratch: &Path) -> io::Result<()> {
    const ENTRIES: u64 = 300;
    let library = scratch.join("library");
    for number in 0..options.media {
        let file = library.join(media_file(number));
        std::fs::create_dir_all(file.parent().expect("a directory"))?;
        File::create(file)?;
    }
    let count = options.media.to_string();
    let itself = std::env::current_exe()?;
    let variants = QUALITIES.len() as u64 * TRACKS.count() as u64;
    for (title, has_stamp, are_all_named, per_variant, burns) in [
        ("three parts", false, false, 1, "0"),
        ("a stamp, all named", true, true, 2, "1"),
        ("a stamp, half of them named", true, false, 10, "9"),
    ] {
        let cache = scratch.join(title);
        for number in 0..ENTRIES {
            let is_named = are_all_named || number % 2 == 0;
            let known_as = if is_named { "/media" } else { "/elsewhere" };
            let source = format!("{known_as}/{}", media_file(number % options.media.max(1)));
            fill_entry(&cache, KeySuffix::new(b"1080p", 0, None).key(source.as_bytes()), 0)?;
        }
        if has_stamp {
            let stamp = format!("{{\"fingerprint\":\"{SETTINGS}\"}}");
            std::fs::write(cache.join(layout::ENCODE_STAMP), stamp)?;
        }
        let keys = options.media * variants * per_variant;
        let mut race = Race::new(&format!("names of {count} files, {title}: {keys} keys"));
        let argument = format!("--library={}=/media", library.display());
        let ours = ["stats", "--entries", "--json", &argument, "--root"];
        race.add("hls-cache stats --library", OURS, &ours, Some(&cache));
        race.add("hashes alone", &itself, &[NAME_ONLY, &count, burns], None);
        race.add(
            "hls-cache stats",
            OURS,
            &["stats", "--entries", "--json", "--root"],
            Some(&cache),
        );
        race.tool("find, the walk alone", "find", &["-type", "f"], &library);
        race.run(options.runs, |_| Ok(()))?;
    }
    Ok(())
}

/// Computes the keys of a library in memory, with as many threads as there are cores. `burns`: how many
/// keys of five parts besides each of three.
fn name_only(count: u64, burns: i64) {
    let suffixes: Vec<KeySuffix> = (-2..burns - 1)
        .flat_map(|burn| QUALITIES.map(|quality| (burn, quality)))
        .flat_map(|(burn, quality)| TRACKS.map(move |track| (burn, quality, track)))
        .map(|(burn, quality, track)| {
            let encode = (burn > -2).then_some(Encode { burn, settings: SETTINGS.as_bytes() });
            KeySuffix::new(quality.as_bytes(), track, encode)
        })
        .collect();
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let suffixes = &suffixes;
            scope.spawn(move || {
                for number in (thread..count).step_by(usize::try_from(threads).unwrap_or(1)) {
                    let prefix =
                        KeyPrefix::new(format!("/media/{}", media_file(number)).as_bytes());
                    for suffix in suffixes {
                        std::hint::black_box(prefix.key(suffix));
                    }
                }
            });
        }
    });
}

fn start_up(options: &Options, scratch: &Path) -> io::Result<()> {
    let mut race = Race::new("start-up");
    // Copy the program, as an installation does: the linker's own output starts more slowly.
    let mut add = |name: &str, program: &Path| {
        let copy = scratch.join(name);
        std::fs::copy(program, &copy)?;
        race.add(name, copy, &["key", "--quality", "1080p", "/a.mkv"], None);
        io::Result::Ok(())
    };
    add("hls-cache key", OURS.as_ref())?;
    if let Some(program) = &options.linked_statically {
        add("hls-cache key, static", program)?;
    }
    race.add("sha256sum", "sha256sum", &["/dev/null"], None);
    race.add("true", "true", &[], None);
    race.run(options.runs * 30, |_| Ok(()))
}
