//! Lays out a small cache, and runs `hls-cache` on it to show, verify and sweep it:
//!
//! ```text
//! cargo run --example quick_start
//! ```
#![allow(clippy::disallowed_methods, reason = "makes a cache, whose ages count from now")]

mod cache;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use cache::DemoCache;

/// The steps: an explanation, the command line, and the exit status that it must end with.
const STEPS: [(&str, &str, i32); 7] = [
    ("What is in the cache, next to a budget of 400 KiB?", "stats --entries --max-size 400K", 0),
    (
        "The key of a film is the name of its entry.",
        "key --quality 1080p --audio -1 /media/alien.mkv",
        0,
    ),
    (
        "Which sealed entries have missing or damaged segments? A finding exits with 3.",
        "verify --deep",
        3,
    ),
    ("Remove the leftover of an encode that died.", "gc-orphans", 0),
    (
        "Which entries would a sweep evict, and why? This very process has the oldest entry pinned. \
         (Budgets under 1 GiB need --min-budget.)",
        "sweep --max-size 300K --min-budget 0 --dry-run --verbose",
        0,
    ),
    ("Evict these entries.", "sweep --max-size 300K --min-budget 0", 0),
    ("Which films are left? A media library names them.", "stats --entries", 0),
];

fn main() -> Result<(), Box<dyn Error>> {
    let program = build()?;
    let cache = DemoCache::lay_out(SystemTime::now())?;
    println!("A cache of six entries is in {}.", cache.root().display());
    println!("All commands below run with HLS_CACHE_ROOT set to this directory.");
    for (explanation, command, expected) in STEPS {
        println!("\n# {explanation}\n$ hls-cache {command}");
        let status = Command::new(&program)
            .args(command.split(' '))
            .env("HLS_CACHE_ROOT", cache.root())
            .env("HLS_CACHE_LIBRARY", cache.library())
            .status()?;
        if status.code() != Some(expected) {
            return Err(format!("expected exit status {expected}: {status}").into());
        }
    }
    println!("\nThis example deletes its cache again, and touched nothing else.");
    Ok(())
}

/// Builds the program beside this example, which `cargo run --example` alone does not.
fn build() -> Result<PathBuf, Box<dyn Error>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // target/PROFILE/examples/quick_start
    let this = std::env::current_exe()?;
    let profile =
        this.ancestors().nth(2).ok_or("this program is not an example that cargo built")?;
    let name = match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let status = Command::new(cargo)
        .args(["build", "--bin", "hls-cache", "--profile", name])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .status()?;
    if !status.success() {
        return Err("cannot build hls-cache".into());
    }
    Ok(profile.join("hls-cache"))
}
