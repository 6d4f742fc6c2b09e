//! What a machine may not have. A test that lacks something says so loudly, and fails where
//! `HLS_CACHE_REQUIRE_ALL` is set, as on CI.

use std::env;
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::thread;

/// Whether `tool` can be run here.
pub fn tool(tool: &str) -> bool {
    let trial: &[&str] = match tool {
        // It may be there and not be allowed to trace.
        "strace" => &["-o", "/dev/null", "true"],
        "ffmpeg" => &["-version"],
        "go" => &["version"],
        _ => &["--version"],
    };
    let tried = Command::new(tool).args(trial).stdout(Stdio::null()).stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success()) || missing(tool)
}

pub fn running_as_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Reports what the running test needs and does not have; always false.
pub fn missing(what: &str) -> bool {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("SKIPPED: {test} needs {what}");
    assert!(env::var_os("HLS_CACHE_REQUIRE_ALL").is_none(), "{line}");
    // Past the capture of the test harness, unlike what `eprintln!` says.
    let _ = writeln!(io::stderr(), "{line}");
    false
}
