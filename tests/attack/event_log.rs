//! The event log as attackers, accidents and many writers leave it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use hls_cache::daemon::Cache;
use serde_json::Value;

use crate::common::{Age, Size, TestCache, key, need};
use crate::race::go_daemon;
use crate::tools;

const LOG: &str = ".events.log";
const OLD: &str = ".events.log.1";

/// More makes a sweep start a new log.
const LARGE: usize = 64 << 20;

/// Lines with what no clock and no disk has, and how many hits, misses, evictions and unparsable lines they are.
fn hostile(number: u64) -> (String, [u64; 4]) {
    let (key, most) = (format!("{number:016x}"), u64::MAX);
    let lines = [
        format!("{} hit {key} {most}", i64::MAX),
        format!("{} miss {key} {most}", i64::MIN),
        format!("-1 evict {key} {most} {most} over-budget"),
        format!("0 hit {key} 0"),
        format!("4102444800 invalidate {key} {most} 0 damaged"),
        format!("1700000000 miss {key}"),
        format!("1600000000 hit {key} {}", number << 40),
        format!("1700000000 orphan {key} {most}"),
        // One that the next has as well.
        format!("1700000000 hit {:016x}", number / 2),
        format!("9223372036854775808 hit {key}"),
        format!("1700000000 hit {key} 18446744073709551616"),
        format!(
            "1700000000 sweep max_size={most} freed={most} removed={most} left={most} exit={most}"
        ),
        "1700000000 sweep max_size=-1".to_owned(),
        "\0\0\0\u{1b}[31m".to_owned(),
    ];
    (lines.join("\n") + "\n", [4, 2, 1, 4])
}

#[test]
fn a_hostile_log_of_two_generations_is_read_to_its_end_in_little_memory() {
    let cache = TestCache::new().sealed("a", 5.kib(), 2.days());
    let mut counts = [0; 4];
    let mut number = 0;
    let mut log = |bytes: usize| {
        let mut log = String::new();
        while log.len() <= bytes {
            let (lines, more) = hostile(number);
            log += &lines;
            number += 1;
            counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
        }
        log
    };
    let old = log(LARGE);
    // A line that never ends, and one that was torn.
    let present = log(LARGE / 16) + &"x".repeat(LARGE / 16) + "\n17000";
    let cache = cache.file(OLD, old.as_bytes()).events(&present);
    drop((old, present));
    let [hits, misses, evictions, skipped] = counts;
    let mut command = cache.command(["--json", "stats", "--history"]);
    if need::tool("prlimit") {
        // Of address space: both generations hold half a million keys and three million requests.
        command = command.under(["prlimit", "--as=536870912"]);
    }
    let json = command.run().success().no_stderr().json();
    assert_eq!(json["events_skipped"], skipped + 2);
    let history = &json["history"];
    assert_eq!(history["logged"]["requests"], hits + misses);
    assert_eq!(history["logged"]["hits"], hits);
    assert_eq!(history["regret"]["evictions"], evictions);
    assert_eq!(history["regret"]["bytes"], u64::MAX);
    assert_eq!(history["what_if"][9]["max_size"], u64::MAX);
    for size in history["what_if"].as_array().unwrap() {
        assert!(size["hits"].as_u64().unwrap() <= hits + misses, "{size}");
    }
    let days = history["days"].as_array().unwrap();
    assert!(days.len() == 14 && days.iter().all(|day| day["hits"] == 0), "{days:?}");
    let shown = cache.run(["stats", "--history"]).success().no_stderr().stdout();
    assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown}");
    cache.run(["stats", "--prometheus"]).success().no_stderr();
}

#[test]
fn a_log_that_is_no_file_fails_no_report() {
    let history = ["--json", "stats", "--history"];
    let json = TestCache::new().dir(LOG).run(history).code(1).json();
    assert_eq!(json["history"]["advice"]["code"], "unknown");
    let cache = TestCache::new().outside("far").link(LOG, "../far/precious");
    assert_eq!(cache.run(history).code(1).untouched().json()["history"]["logged"]["requests"], 0);
}

#[test]
#[ignore = "a process that appends events, started by a test"]
fn an_appender() {
    let Some(root) = tools::argument("ATTACK_ROOT") else { return };
    let seed: u64 = tools::argument("ATTACK_SEED").unwrap().parse().unwrap();
    let (cache, base) = (Cache::open(&root).unwrap(), Path::new(&root).parent().unwrap());
    let key = appender_key(seed).parse().unwrap();
    let mut appended = 0_u64;
    while !base.join("stop").exists() {
        cache.record_hit(key, SystemTime::now());
        appended += 1;
    }
    fs::write(base.join(format!("diary-{seed}")), format!("appended {appended}\n")).unwrap();
}

fn appender_key(seed: u64) -> String {
    key(&format!("k{seed:02}"))
}

struct Appenders {
    base: PathBuf,
    children: Vec<Child>,
}

impl Appenders {
    fn start(root: &Path, programs: Vec<Command>) -> Self {
        let base = root.parent().unwrap().to_owned();
        let mut children = Vec::new();
        for (mut program, seed) in programs.into_iter().zip(1_u64..) {
            fs::create_dir(root.join(appender_key(seed))).unwrap();
            let complaints = File::create(base.join(format!("stderr-{seed}"))).unwrap();
            program.env("ATTACK_ROOT", root).env("ATTACK_SEED", seed.to_string());
            program.env("ATTACK_EVENTS", "1").stdout(Stdio::null()).stderr(complaints);
            children.push(program.spawn().unwrap());
        }
        Self { base, children }
    }

    fn keys(&self) -> Vec<String> {
        (1..=self.children.len() as u64).map(appender_key).collect()
    }

    /// Ends them; how many events each says that it appended.
    fn stop(&mut self) -> Vec<u64> {
        fs::write(self.base.join("stop"), "").unwrap();
        let mut appended = Vec::new();
        for (child, seed) in self.children.iter_mut().zip(1..) {
            assert!(child.wait().unwrap().success());
            let complaints = fs::read_to_string(self.base.join(format!("stderr-{seed}"))).unwrap();
            assert_eq!(complaints, "", "of {seed}");
            let diary = fs::read_to_string(self.base.join(format!("diary-{seed}"))).unwrap();
            let count = diary.lines().find_map(|line| line.strip_prefix("appended "));
            appended.push(count.unwrap().parse().unwrap());
        }
        appended
    }
}

impl Drop for Appenders {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Nobody looks at what an old log had after the next rotation; this test does, through descriptors that it kept.
#[test]
fn no_event_is_lost_to_a_new_log_while_daemons_in_two_languages_append() {
    const ROTATIONS: usize = 4;
    let Some((_directory, go)) = go_daemon() else { return };
    let cache = TestCache::new();
    let root = cache.root();
    let rust = || tools::helper("event_log::an_appender");
    let programs = vec![rust(), Command::new(&go), rust(), Command::new(&go)];
    let mut appenders = Appenders::start(&root, programs);
    let keys = appenders.keys();
    let mut generations = Vec::new();
    for _ in 0..ROTATIONS {
        // Everybody has found the new log.
        let patience = Instant::now() + Duration::from_secs(60);
        while !keys
            .iter()
            .all(|key| fs::read_to_string(root.join(LOG)).is_ok_and(|log| log.contains(key)))
        {
            assert!(Instant::now() < patience, "an appender has stopped");
            thread::yield_now();
        }
        let mut filler = vec![b'#'; LARGE];
        filler.push(b'\n');
        let mut log = File::options().append(true).read(true).open(root.join(LOG)).unwrap();
        log.write_all(&filler).unwrap();
        let swept = Command::new(env!("CARGO_BIN_EXE_hls-cache"))
            .arg("--root")
            .arg(&root)
            .args(["-q", "sweep", "--max-entries", "100"])
            .status()
            .unwrap();
        assert!(swept.success());
        let renamed = fs::metadata(root.join(OLD)).unwrap().ino();
        assert_eq!(renamed, log.metadata().unwrap().ino(), "a new log was started");
        drop(log);
        generations.push(File::open(root.join(OLD)).unwrap());
    }
    let appended = appenders.stop();
    generations.push(File::open(root.join(LOG)).unwrap());
    let mut logged = vec![0; keys.len()];
    let (mut hits, mut skipped) = (0_u64, 0_u64);
    for (place, mut generation) in generations.into_iter().enumerate() {
        let mut text = String::new();
        generation.read_to_string(&mut text).unwrap();
        for line in text.lines().filter(|line| !line.contains(" sweep ")) {
            let is_of_the_last_two = u64::from(place + 2 > ROTATIONS);
            // Whoever comes while the filler is written takes it for a line that was cut short, and ends it.
            if line.is_empty() || line.starts_with('#') {
                skipped += is_of_the_last_two;
                continue;
            }
            let words: Vec<&str> = line.split(' ').collect();
            let [_, "hit", key] = words[..] else { panic!("torn: {line:?}") };
            logged[keys.iter().position(|known| known == key).expect("a key")] += 1;
            hits += is_of_the_last_two;
        }
    }
    assert_eq!(logged, appended);
    let json: Value = cache.run(["--json", "stats", "--history"]).success().json();
    assert_eq!((&json["hits"], &json["events_skipped"]), (&hits.into(), &skipped.into()));
    assert!(logged.iter().sum::<u64>() > 100, "too quiet: {logged:?}");
    assert!(fs::metadata(root.join(OLD)).unwrap().len() > 64_u64.mib());
}
