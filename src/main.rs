//! `hls-cache`: the command line over the `hls_cache` library.

mod cli;

use std::process::ExitCode;
use std::time::SystemTime;

use nix::sys::signal::{SigSet, Signal};

fn main() -> ExitCode {
    block_sigxfsz();
    #[allow(clippy::disallowed_methods, reason = "the one reading of the clock")]
    let now = SystemTime::now();
    cli::main(now).into()
}

/// Lets a write beyond a limit on the size of files (`ulimit -f`) fail with EFBIG, instead of ending a
/// sweep at its first removal for an event log that has grown to the limit. Blocked, not ignored, since
/// that takes no unsafe code; threads that are started later inherit it. Cannot fail for a signal there is.
fn block_sigxfsz() {
    let _ = SigSet::from(Signal::SIGXFSZ).thread_block();
}
