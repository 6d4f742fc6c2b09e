//! What is delivered beside the program agrees with it: the README, and the units.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "the README's cache is made and swept, and its ages count from now"
)]

#[path = "../../examples/quick_start/cache.rs"]
mod cache;
mod docs;
mod layers;
mod package;
mod promises;
mod units;

use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether `program` is installed; where it is not, that is said, or fails the test.
fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok() || missing(program)
}

/// Says what a test needs and does not have; always false.
fn missing(what: &str) -> bool {
    let line = format!("SKIPPED: a test of the packaging needs {what}");
    assert!(std::env::var_os("HLS_CACHE_REQUIRE_ALL").is_none(), "{line}");
    // Not captured, unlike what `eprintln!` says.
    let _ = writeln!(io::stderr(), "{line}");
    false
}
