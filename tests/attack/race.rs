//! Daemons, each a process, against maintainers, each a process, and SIGKILL for both.
//!
//! Who watches: every daemon reads back every byte while it holds the pin, as a reader and as the
//! writer, and writes down what it misses. For evictions after a hit: a daemon notes the time that its
//! touch replaced (of the same directory, and with the pin held). No sweep may report that it removed
//! the entry with that time as `last_used`: it planned before the hit and removed after it. (Times are
//! nanoseconds and do not come again.)
//!
//! A second race is of Go daemons, in the reference's order of calls, beside these; and a third, of Go
//! daemons without locks, must lose files, so that the second is known to notice it.
//!
//! [`soak`] is the second for ten minutes: `cargo test --test attack soak -- --ignored --nocapture`.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use hls_cache::Key;
use hls_cache::daemon::{Cache, Lookup, Pin, Start};
use hls_cache::locks::PATIENCE;
use hls_cache::units::rfc3339;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::sizes::{Field, Sizes};
use crate::common::{key, need};
use crate::tools::{self, Dice};

const KEYS: u64 = 48;
const DAEMONS: u64 = 3;
const ROUNDS: u64 = 200;
const SIGKILL: i32 = 9;
/// Of the bytes that all keys would take, about a third.
const BUDGET: &str = "60K";

fn keys() -> Vec<Key> {
    (0..KEYS).map(|n| key(&format!("k{n:02}")).parse().unwrap()).collect()
}

fn segments(key: Key) -> u64 {
    2 + key.as_u64() / 7 % 5
}

fn content(key: Key, file: &str) -> Vec<u8> {
    format!("{key} {file}\n").repeat(50).into_bytes()
}

fn files(key: Key) -> Vec<String> {
    let segments = (0..segments(key)).map(|n| format!("seg-{n}.m4s"));
    ["init.mp4".to_owned()].into_iter().chain(segments).collect()
}

/// What a daemon saw, each line written at once so that a kill loses none.
struct Diary(File);

impl Diary {
    fn note(&mut self, line: &str) {
        self.0.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Reads back all that a pin promises.
    fn read_back(&mut self, who: &str, entry: &Path, key: Key, files: &[String]) {
        for file in files {
            match fs::read(entry.join("video").join(file)) {
                Ok(bytes) if bytes == content(key, file) => {}
                Ok(bytes) => self.note(&format!("LOST {who} {key} {file}: {} bytes", bytes.len())),
                Err(error) => self.note(&format!("LOST {who} {key} {file}: {error}")),
            }
        }
    }

    fn serve(&mut self, pin: &Pin, dice: &mut Dice) {
        for _ in 0..=dice.throw(3) {
            self.read_back("reader", pin.path(), pin.key(), &files(pin.key()));
            // Somebody watches: removers meet the lock, and outwait it or not.
            match dice.throw(40) {
                0 => thread::sleep(PATIENCE + PATIENCE / 4),
                1..=10 => thread::sleep(Duration::from_millis(dice.throw(8))),
                _ => {}
            }
        }
        if !pin.path().join(".complete").exists() {
            self.note(&format!("LOST reader {} .complete", pin.key()));
        }
    }
}

/// Which directory this is, and when it was last used.
fn used(entry: &Path) -> Option<(u64, SystemTime, SystemTime)> {
    let meta = fs::symlink_metadata(entry).ok()?;
    // The inode alone would not do: its number is given to another.
    Some((meta.ino(), meta.created().ok()?, meta.modified().ok()?))
}

/// One request: a hit that is served, or a miss that is written.
fn request(cache: &Cache, key: Key, diary: &mut Diary, dice: &mut Dice) {
    if dice.throw(4) == 0 {
        return peek(cache, key, diary, dice);
    }
    let entry = cache.dir_for(key);
    let before = used(&entry);
    match cache.lookup(key).unwrap() {
        Lookup::Hit(pin) => {
            if let (Some((inode, made, before)), Some((same, made_then, after))) =
                (before, used(&entry))
                && (inode, made) == (same, made_then)
                && before != after
            {
                diary.note(&format!("hit {key} {} {}", rfc3339(before), rfc3339(after)));
            }
            diary.serve(&pin, dice);
        }
        Lookup::Busy(_) => diary.note("busy"),
        Lookup::Miss => {
            diary.note("miss");
            write(cache, key, diary, dice);
        }
    }
}

/// A reader that leaves no trace but its lock.
fn peek(cache: &Cache, key: Key, diary: &mut Diary, dice: &mut Dice) {
    let Some(pin) = cache.pin(key).unwrap() else { return diary.note("busy") };
    if cache.has_complete(key).unwrap() {
        diary.serve(&pin, dice);
    }
}

fn write(cache: &Cache, key: Key, diary: &mut Diary, dice: &mut Dice) {
    let writer = match cache.start(key).unwrap() {
        Start::Busy(_) => return diary.note("busy"),
        Start::Sealed(pin) => return diary.serve(&pin, dice),
        Start::Writer(writer) => writer,
    };
    let files = files(key);
    let fails = dice.throw(8);
    for (n, file) in files.iter().enumerate() {
        let path = writer.path().join("video").join(file);
        if let Err(error) = fs::write(&path, content(key, file)) {
            diary.note(&format!("LOST writer {key} {file}: {error}"));
        }
        diary.read_back("writer", writer.path(), key, &files[..=n]);
        if n == 1 && fails == 0 {
            return diary.note("left partial");
        }
        if n == 1 && fails == 1 {
            writer.discard().unwrap();
            return diary.note("discarded");
        }
    }
    let pin = writer.seal().unwrap();
    diary.note(&format!("sealed {key}"));
    diary.serve(&pin, dice);
}

#[test]
#[ignore = "a process of the race, which starts it"]
fn a_daemon() {
    let Some(root) = tools::argument("ATTACK_ROOT") else { return };
    let seed: u64 = tools::argument("ATTACK_SEED").unwrap().parse().unwrap();
    let (cache, mut dice, keys) = (Cache::open(&root).unwrap(), Dice::new(seed), keys());
    let base = Path::new(&root).parent().unwrap();
    let mut diary = Diary(File::create(base.join(format!("diary-{seed}"))).unwrap());
    while !base.join("stop").exists() {
        // Some are watched all the time, and those at the end so seldom that they are evicted.
        let mut most = KEYS;
        for _ in 0..3 {
            most = dice.throw(most) + 1;
        }
        let key = keys[usize::try_from(most - 1).unwrap()];
        request(&cache, key, &mut diary, &mut dice);
    }
    diary.note("end");
}

/// Which daemons take part.
enum Cast {
    Rust,
    /// Every second one is this Go program.
    RustAndGo(PathBuf),
    /// One of these, which takes no locks.
    GoWithoutLocks(PathBuf),
}

/// How long a race takes.
enum Length {
    Rounds(u64),
    Time(Duration),
}

/// The arena: where daemons and maintainers meet.
struct Arena {
    cast: Cast,
    base: TempDir,
    dice: Dice,
    /// Each with what it is.
    daemons: Vec<(&'static str, Child)>,
    started: u64,
    /// How many died of SIGKILL, by what they were.
    killed: BTreeMap<&'static str, u64>,
    /// The key and the `last_used` of each entry that a sweep said it evicted.
    evicted: Vec<(String, String)>,
    /// What maintainers said that they must not say.
    complaints: String,
}

impl Arena {
    fn new(cast: Cast) -> Self {
        // Memory where there is some: seals wait for the file system, and it is the race that counts.
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let base = tempfile::Builder::new().prefix("hls-cache-race-").tempdir_in(parent).unwrap();
        fs::create_dir(base.path().join("root")).unwrap();
        // A maintenance lock that cannot be had is warned of and done without: the sweeps meet.
        fs::create_dir(base.path().join("root/.maintenance.lock")).unwrap();
        Self {
            cast,
            base,
            dice: Dice::new(1),
            daemons: Vec::new(),
            started: 0,
            killed: BTreeMap::new(),
            evicted: Vec::new(),
            complaints: String::new(),
        }
    }

    fn root(&self) -> PathBuf {
        self.base.path().join("root")
    }

    fn start_daemon(&mut self) {
        self.started += 1;
        let (name, mut daemon) = match &self.cast {
            Cast::RustAndGo(go) if self.started.is_multiple_of(2) => {
                ("Go daemon", Command::new(go))
            }
            Cast::Rust | Cast::RustAndGo(_) => ("Rust daemon", tools::helper("race::a_daemon")),
            Cast::GoWithoutLocks(go) => ("Go daemon", Command::new(go)),
        };
        if matches!(self.cast, Cast::GoWithoutLocks(_)) {
            daemon.env("ATTACK_WITHOUT_LOCKS", "1");
        }
        let daemon = daemon
            .env("ATTACK_ROOT", self.root())
            .env("ATTACK_SEED", self.started.to_string())
            .stdout(Stdio::null())
            .stderr(
                File::create(self.base.path().join(format!("stderr-{}", self.started))).unwrap(),
            )
            .spawn()
            .unwrap();
        self.daemons.push((name, daemon));
    }

    /// What it runs, and how.
    fn maintainer(&mut self) -> (&'static str, Command) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hls-cache"));
        command.arg("--root").arg(self.root()).arg("--json").env_clear();
        let some: Vec<String> =
            (0..KEYS / 4).map(|_| self.dice.pick(&keys()).to_string()).collect();
        let (name, args): (_, &[&str]) = match self.dice.throw(10) {
            0..=3 => ("sweep", &["--max-size", BUDGET, "--min-budget", "0"]),
            4 => ("sweep", &["--max-entries", "0", "--min-age", "0s"]),
            5 => ("gc-orphans", &["--min-age", "0s"]),
            6 | 7 => ("invalidate", &[]),
            8 => ("invalidate", &["--all"]),
            _ => ("verify", &["--fix"]),
        };
        command.arg(name).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        if name == "invalidate" && args.is_empty() {
            command.args(some);
        }
        (name, command)
    }

    /// Another sweep has remembered all entries, and some of them are old enough to be believed: half of the time
    /// what it remembers is true.
    fn remember(&mut self) {
        let entries = tools::entries(&self.root());
        for entry in &entries {
            if self.dice.throw(3) == 0 {
                let age =
                    Duration::from_nanos(self.dice.throw(1 << 48)) + Duration::from_secs(100_000);
                let time = filetime::FileTime::from_system_time(SystemTime::now() - age);
                // It may have gone meanwhile.
                let _ = filetime::set_file_mtime(entry, time);
            }
        }
        let mut sizes = Sizes::of_old(&entries);
        if self.dice.throw(2) == 0 {
            let lie = self.dice.throw(1 << 20);
            sizes.all_saying(Field::Bytes, lie);
        }
        sizes.replace(&self.root());
    }

    /// Four maintainers at once; now and then one of them, or a daemon, is killed.
    fn round(&mut self) {
        self.remember();
        let mut maintainers: Vec<(&str, Child)> = (0..4)
            .map(|_| {
                let (name, mut command) = self.maintainer();
                (name, command.spawn().unwrap())
            })
            .collect();
        if self.dice.throw(3) == 0 {
            let victim = self.dice.throw(self.daemons.len() as u64);
            let (name, mut victim) = self.daemons.remove(usize::try_from(victim).unwrap());
            victim.kill().unwrap();
            self.bury(name, victim.wait().unwrap());
            self.start_daemon();
        }
        if self.dice.throw(2) == 0 {
            // Anywhere between its start and its end; some end soon.
            let most = self.dice.throw(100) + 1;
            thread::sleep(Duration::from_millis(self.dice.throw(most)));
            maintainers[0].1.kill().unwrap();
        }
        for (name, maintainer) in maintainers {
            let output = maintainer.wait_with_output().unwrap();
            self.bury(name, output.status);
            self.judge(&output);
        }
    }

    /// Counts it if it was killed.
    fn bury(&mut self, name: &'static str, status: ExitStatus) {
        if status.signal() == Some(SIGKILL) {
            *self.killed.entry(name).or_default() += 1;
        }
    }

    /// Writes down what a maintainer that lived said: each eviction, and complaints.
    fn judge(&mut self, output: &Output) {
        let Some(code) = output.status.code() else { return };
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        if code == 1 || json["damaged"].as_u64().is_some_and(|n| n > 0) {
            writeln!(self.complaints, "{json}").unwrap();
        }
        if json["command"] == "sweep" {
            let entries = json["entries"].as_array().unwrap().iter();
            self.evicted.extend(entries.filter(|entry| entry["action"] == "removed").map(
                |entry| {
                    let text = |name: &str| entry[name].as_str().unwrap().to_owned();
                    (text("key"), text("last_used"))
                },
            ));
        }
    }

    fn stop(&mut self) {
        fs::write(self.base.path().join("stop"), "").unwrap();
        for (_, mut daemon) in self.daemons.drain(..) {
            assert!(daemon.wait().unwrap().success(), "a daemon failed");
        }
    }

    fn diaries(&self) -> Vec<String> {
        (1..=self.started)
            .map(|n| fs::read_to_string(self.base.path().join(format!("diary-{n}"))))
            // One killed before it could begin has none.
            .filter_map(Result::ok)
            .flat_map(|diary| diary.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect()
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        for (_, daemon) in &mut self.daemons {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

/// The Go daemon of the race, built into a directory that is deleted with it; `None`, said loudly,
/// where there is no Go.
pub fn go_daemon() -> Option<(TempDir, PathBuf)> {
    if !need::tool("go") {
        return None;
    }
    let directory = tempfile::Builder::new().prefix("hls-cache-go-").tempdir().unwrap();
    let program = directory.path().join("go-race-daemon");
    let mut go = Command::new("go");
    go.args(["build", "-buildvcs=false", "-o"])
        .arg(&program)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/attack/go_daemon"))
        // The standard library is all it needs: no network, and no C compiler.
        .envs([
            ("GOFLAGS", ""),
            ("GOPROXY", "off"),
            ("GOTOOLCHAIN", "local"),
            ("CGO_ENABLED", "0"),
        ]);
    if std::env::var_os("HOME").is_none() {
        go.env("GOCACHE", directory.path().join("cache"));
    }
    let built = go.output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Some((directory, program))
}

#[test]
fn no_pinned_file_is_lost_and_nothing_is_evicted_after_a_hit() {
    race(Arena::new(Cast::Rust), DAEMONS, &Length::Rounds(ROUNDS));
}

#[test]
fn the_order_of_the_reference_loses_nothing_beside_other_daemons_and_maintainers() {
    race_with_go(&Length::Rounds(ROUNDS * 3 / 4));
}

#[test]
#[ignore = "takes ten minutes, or HLS_CACHE_SOAK_SECONDS"]
fn soak() {
    let seconds = std::env::var("HLS_CACHE_SOAK_SECONDS").unwrap_or_else(|_| "600".into());
    let seconds = seconds.parse().expect("HLS_CACHE_SOAK_SECONDS is not a number of seconds");
    race_with_go(&Length::Time(Duration::from_secs(seconds)));
}

fn race_with_go(length: &Length) {
    let Some((_directory, go)) = go_daemon() else { return };
    let diaries = race(Arena::new(Cast::RustAndGo(go)), DAEMONS + 1, length);
    let by_go = diaries.iter().filter(|line| line.ends_with(" by go")).count();
    assert!(by_go > 30, "too quiet: {by_go} seals by Go daemons");
}

#[test]
fn the_same_order_without_locks_does_lose_files() {
    let Some((_directory, go)) = go_daemon() else { return };
    let mut arena = Arena::new(Cast::GoWithoutLocks(go));
    arena.start_daemon();
    let lost_under_a_reader = |arena: &Arena| {
        arena.diaries().iter().filter(|line| line.starts_with("LOST go reader")).count()
    };
    // The first few rounds are enough.
    let rounds = (1..=ROUNDS).find(|_| {
        arena.round();
        lost_under_a_reader(&arena) > 0
    });
    arena.stop();
    assert!(rounds.is_some(), "nothing was lost in {ROUNDS} rounds: the race sees nothing");
}

/// Runs a race in which nothing may be lost, and returns what the daemons saw.
fn race(mut arena: Arena, daemons: u64, length: &Length) -> Vec<String> {
    let (begun, mut rounds) = (Instant::now(), 0);
    for _ in 0..daemons {
        arena.start_daemon();
    }
    while match length {
        Length::Rounds(all) => rounds < *all,
        Length::Time(time) => begun.elapsed() < *time,
    } {
        arena.round();
        rounds += 1;
    }
    arena.stop();
    let seconds = begun.elapsed().as_secs();

    let diaries = arena.diaries();
    let lost: Vec<&String> = diaries.iter().filter(|line| line.starts_with("LOST")).collect();
    let hits: HashSet<(&str, &str)> = diaries
        .iter()
        .filter_map(|line| line.strip_prefix("hit ")?.split_once(' '))
        .filter_map(|(key, times)| Some((key, times.split_once(' ')?.0)))
        .collect();
    let (evicted, complaints) = (&arena.evicted, &arena.complaints);
    let after_a_hit: Vec<_> =
        evicted.iter().filter(|(key, used)| hits.contains(&(&**key, &**used))).collect();
    let noted = |what: &str| diaries.iter().filter(|line| line.starts_with(what)).count();
    let seals = noted("sealed");
    let killed: Vec<String> =
        arena.killed.iter().map(|(name, count)| format!("{name} {count}")).collect();
    let count = format!(
        "{rounds} rounds in {seconds} s: {} hits, {} misses, {seals} seals, {} evictions, {} losses; killed: {}",
        hits.len(),
        noted("miss"),
        evicted.len(),
        lost.len(),
        killed.join(", ")
    );
    println!("{count}");
    assert!(
        lost.is_empty() && after_a_hit.is_empty() && complaints.is_empty(),
        "{count}\nlost: {:#?}\n{} evicted after a hit: {:#?}\n{complaints}",
        &lost[..lost.len().min(10)],
        after_a_hit.len(),
        &after_a_hit[..after_a_hit.len().min(10)],
    );
    assert!(hits.len() > 500 && seals > 100 && evicted.len() > 50, "too quiet: {count}");

    // The dust has settled: what is sealed is whole, whoever died on the way.
    for entry in tools::entries(&arena.root()).iter().filter(|entry| tools::is_sealed(entry)) {
        let key: Key = entry.file_name().unwrap().to_str().unwrap().parse().unwrap();
        for file in files(key) {
            let read = fs::read(entry.join("video").join(&file)).unwrap();
            assert_eq!(read, content(key, &file), "{key} {file}");
        }
    }
    let final_sweep = Command::new(env!("CARGO_BIN_EXE_hls-cache"))
        .arg("--root")
        .arg(arena.root())
        .args(["-q", "sweep", "--max-size", "0", "--min-budget", "0", "--min-age", "0s"])
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(final_sweep.code(), Some(0));
    assert_eq!(tools::trash(&arena.root()), Vec::<PathBuf>::new());
    assert_eq!(tools::entries(&arena.root()), Vec::<PathBuf>::new());
    diaries
}
