//! The README shows what is so: the blocks marked `console` are run, in order, in the cache of the
//! quick start, and a block below `<!-- from FILE -->` is that file.
//!
//! Renew them with `HLS_CACHE_RENEW_DOCS=1 cargo test docs`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use crate::cache::DemoCache;
use crate::repository;

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
    let mut source = None;
    let mut lines = readme.lines();
    while let Some(line) = lines.next() {
        renewed += &format!("{line}\n");
        let Some(kind) = line.strip_prefix("```") else {
            source = line.strip_prefix("<!-- from ").and_then(|rest| rest.strip_suffix(" -->"));
            continue;
        };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        renewed += &match (source.take(), kind) {
            (Some(file), _) => excerpt(file),
            (None, "console") => session(&block, cache),
            (None, _) => block.iter().flat_map(|line| [*line, "\n"]).collect(),
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
    line.replace(&format!("used by {VIEWER}"), "in use")
        .replace(&format!(" by {VIEWER}"), "")
        .trim_end()
        .to_owned()
}

/// Both streams of a shell's command, less what differs from run to run.
fn output(command: &str, cache: &DemoCache) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_hls-cache"));
    let path = format!(
        "{}:{}",
        program.parent().expect("a directory").display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1; {command}")])
        .current_dir(cache.root())
        .env("PATH", path)
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
    String::from_utf8(output.stdout)
        .expect("UTF-8")
        .replace(root.to_str().expect("UTF-8"), "/srv/hls")
        .replace(&viewer, VIEWER)
}

/// A file of the repository; of Rust source, the first example of its documentation.
fn excerpt(file: &str) -> String {
    let text = fs::read_to_string(repository().join(file)).expect(file);
    if Path::new(file).extension().is_none_or(|extension| extension != "rs") {
        return text;
    }
    text.lines()
        .skip_while(|line| !line.starts_with("//! ```"))
        .skip(1)
        .take_while(|line| !line.starts_with("//! ```"))
        .map(|line| line.trim_start_matches("//!").strip_prefix(' ').unwrap_or_default())
        .filter(|line| !line.starts_with("# "))
        .flat_map(|line| [line, "\n"])
        .collect()
}
