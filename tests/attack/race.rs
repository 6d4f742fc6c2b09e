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

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, SystemTime};

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
        Lookup::Miss => write(cache, key, diary, dice),
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

/// The arena: where daemons and maintainers meet.
struct Arena {
    cast: Cast,
    base: TempDir,
    dice: Dice,
    daemons: Vec<Child>,
    started: u64,
    killed: u64,
    outcomes: Vec<Output>,
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
        let dice = Dice::new(1);
        let (daemons, outcomes) = (Vec::new(), Vec::new());
        Self { cast, base, dice, daemons, started: 0, killed: 0, outcomes }
    }

    fn root(&self) -> PathBuf {
        self.base.path().join("root")
    }

    fn start_daemon(&mut self) {
        self.started += 1;
        let mut daemon = match &self.cast {
            Cast::RustAndGo(go) if self.started.is_multiple_of(2) => Command::new(go),
            Cast::Rust | Cast::RustAndGo(_) => tools::helper("race::a_daemon"),
            Cast::GoWithoutLocks(go) => Command::new(go),
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
        self.daemons.push(daemon);
    }

    fn maintainer(&mut self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hls-cache"));
        command.arg("--root").arg(self.root()).arg("--json").env_clear();
        let some: Vec<String> =
            (0..KEYS / 4).map(|_| self.dice.pick(&keys()).to_string()).collect();
        match self.dice.throw(10) {
            0..=3 => command.args(["sweep", "--max-size", BUDGET, "--min-budget", "0"]),
            4 => command.args(["sweep", "--max-entries", "0", "--min-age", "0s"]),
            5 => command.args(["gc-orphans", "--min-age", "0s"]),
            6 | 7 => command.arg("invalidate").args(some),
            8 => command.args(["invalidate", "--all"]),
            _ => command.args(["verify", "--fix"]),
        };
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
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
        let mut maintainers: Vec<Child> =
            (0..4).map(|_| self.maintainer().spawn().unwrap()).collect();
        if self.dice.throw(3) == 0 {
            let victim = self.dice.throw(self.daemons.len() as u64);
            let mut victim = self.daemons.remove(usize::try_from(victim).unwrap());
            victim.kill().unwrap();
            victim.wait().unwrap();
            self.killed += 1;
            self.start_daemon();
        }
        if self.dice.throw(2) == 0 {
            maintainers[0].kill().unwrap();
        }
        let ended = maintainers.into_iter().map(|child| child.wait_with_output().unwrap());
        self.outcomes.extend(ended);
    }

    fn stop(&mut self) {
        fs::write(self.base.path().join("stop"), "").unwrap();
        for mut daemon in self.daemons.drain(..) {
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
        for daemon in &mut self.daemons {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

/// What the maintainers that lived said: (key, `last_used`) of each eviction, and complaints.
fn judge(outcomes: &[Output]) -> (Vec<(String, String)>, String) {
    let (mut evicted, mut complaints) = (Vec::new(), String::new());
    for output in outcomes.iter().filter(|output| output.status.code().is_some()) {
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let is_error = output.status.code() == Some(1);
        if is_error || json["damaged"].as_u64().is_some_and(|n| n > 0) {
            writeln!(complaints, "{json}").unwrap();
        }
        if json["command"] == "sweep" {
            let entries = json["entries"].as_array().unwrap().iter();
            evicted.extend(entries.filter(|entry| entry["action"] == "removed").map(|entry| {
                let text = |name: &str| entry[name].as_str().unwrap().to_owned();
                (text("key"), text("last_used"))
            }));
        }
    }
    (evicted, complaints)
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
    race(Arena::new(Cast::Rust), DAEMONS, ROUNDS);
}

#[test]
fn the_order_of_the_reference_loses_nothing_beside_other_daemons_and_maintainers() {
    let Some((_directory, go)) = go_daemon() else { return };
    let diaries = race(Arena::new(Cast::RustAndGo(go)), DAEMONS + 1, ROUNDS * 3 / 4);
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
fn race(mut arena: Arena, daemons: u64, rounds: u64) -> Vec<String> {
    for _ in 0..daemons {
        arena.start_daemon();
    }
    for _ in 0..rounds {
        arena.round();
    }
    arena.stop();

    let diaries = arena.diaries();
    let lost: Vec<&String> = diaries.iter().filter(|line| line.starts_with("LOST")).collect();
    let hits: HashSet<(&str, &str)> = diaries
        .iter()
        .filter_map(|line| line.strip_prefix("hit ")?.split_once(' '))
        .filter_map(|(key, times)| Some((key, times.split_once(' ')?.0)))
        .collect();
    let (evicted, complaints) = judge(&arena.outcomes);
    let after_a_hit: Vec<_> =
        evicted.iter().filter(|(key, used)| hits.contains(&(&**key, &**used))).collect();
    let seals = diaries.iter().filter(|line| line.starts_with("sealed")).count();
    let count = format!(
        "{} hits, {seals} seals, {} evictions, {} daemons and some maintainers killed",
        hits.len(),
        evicted.len(),
        arena.killed
    );
    println!("{count}");
    assert!(
        lost.is_empty() && after_a_hit.is_empty() && complaints.is_empty(),
        "{count}\n{} lost: {:#?}\n{} evicted after a hit: {:#?}\n{complaints}",
        lost.len(),
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
