//! `hls-cache`: the command line over the `hls_cache` library.

mod cli;
mod commands;
#[cfg(test)]
mod docs;
mod exit;
mod report;

use std::process::ExitCode;
use std::time::SystemTime;

use clap::Parser;
use nix::sys::signal::{SigSet, Signal};

fn main() -> ExitCode {
    block_sigxfsz();
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return report::unparsed(&error).into(),
    };
    #[allow(clippy::disallowed_methods, reason = "the one reading of the clock")]
    let now = SystemTime::now();
    commands::run(cli, now).into()
}

/// Lets a write beyond a limit on the size of files (`ulimit -f`) fail with EFBIG, instead of ending a
/// sweep at its first removal for an event log that has grown to the limit. Blocked, not ignored, since
/// that takes no unsafe code; threads that are started later inherit it. Cannot fail for a signal there is.
fn block_sigxfsz() {
    let _ = SigSet::from(Signal::SIGXFSZ).thread_block();
}
