//! The README shows what the program prints: the test runs the commands in the blocks marked `console`, in
//! order, in the cache of the quick start.
//!
//! Renew them with `HLS_CACHE_RENEW_DOCS=1 cargo test docs`.
//!
//! A pipeline that the manual recommends does what the manual says of it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use hls_cache::daemon::Cache;

use crate::cache::DemoCache;
use crate::{need, repository};

/// What the README calls whoever holds the pin.
const VIEWER: &str = "player[4711]";

#[test]
fn the_readme_is_current() {
    let path = repository().join("README.md");
    let readme = fs::read_to_string(&path).expect("README.md");
    let renewed = renew(&readme, &DemoCache::lay_out(SystemTime::now()).expect("a cache"));
    if std::env::var_os("HLS_CACHE_RENEW_DOCS").is_some() {
        fs::write(&path, renewed).expect("cannot renew");
        return;
    }
    for (line, (is, should)) in readme.lines().zip(renewed.lines()).enumerate() {
        let number = line + 1;
        assert_eq!(
            is, should,
            "README.md:{number} is out of date; renew it with: HLS_CACHE_RENEW_DOCS=1 cargo test docs"
        );
    }
    assert_eq!(readme.len(), renewed.len(), "README.md ends too early or too late");
}

/// The README with every block as it should be.
fn renew(readme: &str, cache: &DemoCache) -> String {
    let mut renewed = String::new();
    let mut lines = readme.lines();
    while let Some(line) = lines.next() {
        renewed += &format!("{line}\n");
        let Some(kind) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        renewed += &match kind {
            "console" => session(&block, cache),
            _ => block.iter().flat_map(|line| [*line, "\n"]).collect(),
        };
        renewed += "```\n";
    }
    renewed
}

/// The commands of a block, each with what it says now; in the block's own words where those differ
/// only as they may.
fn session(block: &[&str], cache: &DemoCache) -> String {
    let mut session = String::new();
    for command in block.iter().filter_map(|line| line.strip_prefix("$ ")) {
        session += &format!("$ {command}\n");
        for line in output(command, cache).lines() {
            let known = block.iter().find(|known| steady(known) == steady(line));
            session = session + known.unwrap_or(&line) + "\n";
        }
    }
    session
}

/// A line less what depends on the machine: how full its disk is, how its file system counts blocks,
/// and whether its kernel tells who holds a lock.
fn steady(line: &str) -> String {
    if line.starts_with("disk ") {
        return "disk".into();
    }
    let line = match line.split_once(" files, ") {
        Some((line, on_disk)) if on_disk.ends_with(" on disk") => line,
        _ => line,
    };
    line.replace(&format!(" by {VIEWER}"), "").trim_end().to_owned()
}

/// Both streams of a shell's command, less what differs from run to run.
fn output(command: &str, cache: &DemoCache) -> String {
    let command = command.replace("--library /media", &format!("--library {}", cache.library()));
    let output = shell(&format!("exec 2>&1; {command}"), cache.root())
        .env("HLS_CACHE_ROOT", cache.root())
        .env("LC_ALL", "C")
        .env_remove("COLUMNS")
        .env_remove("HLS_CACHE_MAX_SIZE")
        .env_remove("HLS_CACHE_MIN_FREE")
        .env_remove("HLS_CACHE_KEEP_RECENT")
        .output()
        .expect("sh");
    let (pid, name) = (std::process::id(), fs::read_to_string("/proc/self/comm"));
    let viewer = format!("{}[{pid}]", name.expect("/proc").trim_end());
    let root = cache.root().canonicalize().expect("the cache");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    // Which processes cannot be looked at, and how reads are recorded, is the machine's.
    let lines = text.split_inclusive('\n').filter(|line| {
        !line.starts_with("unseen ") && !line.contains("processes could not be looked at")
    });
    lines
        .collect::<String>()
        .replace(root.to_str().expect("UTF-8"), "/srv/hls")
        .replace(&viewer, VIEWER)
}

/// A shell's command that finds the program.
fn shell(command: &str, directory: &Path) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_hls-cache"));
    let path = format!(
        "{}:{}",
        program.parent().expect("a directory").display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(directory).env("PATH", path);
    shell
}

/// The one example of the manual in which `word` occurs, as a reader would copy it.
fn example(page: &str, word: &str) -> String {
    let page = fs::read_to_string(repository().join("man").join(page)).expect(page);
    let blocks = page.split(".EX\n").skip(1).filter_map(|rest| rest.split(".EE").next());
    let blocks: Vec<&str> = blocks.filter(|block| block.contains(word)).collect();
    assert_eq!(blocks.len(), 1, "examples with {word}");
    blocks[0].replace("\\-", "-").replace("\\e", "\\")
}

/// What it lists is taken for what may go: an entry whose film is there, in whichever quality and track,
/// must not be listed, nor what is no entry.
#[test]
fn the_manuals_list_of_entries_without_a_file_names_no_other() {
    let base = tempfile::tempdir().expect("tempdir");
    let (media, root) = (base.path().join("media"), base.path().join("cache"));
    let library = media.join("A film, with 'quotes' (1979)");
    fs::create_dir_all(&library).expect("a library");
    fs::create_dir(&root).expect("a cache");
    let kept = ["a film.mkv", "a film.mp4"].map(|name| library.join(name));
    let gone = library.join("gone.mkv");
    let entry = |source: &Path, quality: &str, audio: i64| {
        let key = Cache::key_for(source, quality, audio).expect("a key");
        fs::create_dir(root.join(key.to_string())).expect("an entry");
        key.to_string()
    };
    for file in &kept {
        fs::write(file, "").expect("a film");
        for (quality, audio) in [("1080p", -1), ("1080p", 0), ("720p", -1), ("720p", 0)] {
            entry(file, quality, audio);
        }
    }
    let mut without = [entry(&gone, "1080p", -1), entry(&gone, "720p", 0)];
    without.sort_unstable();
    for foreign in
        ["lost+found", "notes", "0123456789ABCDEF", ".trash.0123456789abcdef.0123456789abcdef"]
    {
        fs::create_dir(root.join(foreign)).expect("something foreign");
    }
    let names = || {
        let found = fs::read_dir(&root).expect("the cache").map(|found| found.expect("a name"));
        let mut names: Vec<_> = found.map(|found| found.file_name()).collect();
        names.sort_unstable();
        names
    };
    let before = names();

    let pipeline = example("hls-cache-key.1", "comm")
        .replace("/media", media.to_str().expect("UTF-8"))
        .replace("/srv/hls", root.to_str().expect("UTF-8"));
    let listed = shell(&format!("set -e; {pipeline}"), base.path()).output().expect("sh");
    let complaints = String::from_utf8_lossy(&listed.stderr);
    assert!(listed.status.success() && complaints.is_empty(), "{complaints}");
    let listed = String::from_utf8(listed.stdout).expect("UTF-8");
    assert_eq!(listed.lines().collect::<Vec<_>>(), without, "{pipeline}");
    assert_eq!(names(), before, "it only shows");
}

/// The service and the timer that write metrics, as a reader would copy them.
#[test]
fn the_manuals_units_are_units_that_systemd_takes() {
    if !need::tool("systemd-analyze") {
        return;
    }
    let directory = tempfile::tempdir().expect("tempdir");
    let units = [("service", "ExecStart="), ("timer", "OnCalendar=")].map(|(kind, word)| {
        let path = directory.path().join(format!("hls-cache-stats@srv-hls.{kind}"));
        let unit = example("hls-cache-stats.1", word);
        let unit = unit.replace("/usr/bin/hls-cache", env!("CARGO_BIN_EXE_hls-cache"));
        fs::write(&path, unit).expect("a unit");
        path
    });
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(units)
        .output()
        .expect("systemd-analyze");
    let complaints = String::from_utf8_lossy(&verified.stderr);
    // It looks at other units of the machine too.
    let ours: Vec<&str> = complaints.lines().filter(|line| line.contains("hls-cache")).collect();
    assert!(ours.is_empty() && verified.status.success(), "{complaints}");
}
