//! `hls-cache`: the command line over the `hls_cache` library.

mod cli;

use std::process::ExitCode;
use std::time::SystemTime;

use nix::sys::signal::{SigSet, Signal};

fn main() -> ExitCode {
    block_sigxfsz();
    #[allow(clippy::disallowed_methods, reason = "the only place that reads the clock")]
    let now = SystemTime::now();
    cli::main(now).into()
}

/// Makes a write beyond the file size limit (`ulimit -f`) fail with EFBIG. The signal would kill a sweep at
/// its first removal once the event log has grown to the limit. Blocks the signal because ignoring it would
/// need unsafe code; later threads inherit the mask. Cannot fail for a valid signal.
fn block_sigxfsz() {
    let _ = SigSet::from(Signal::SIGXFSZ).thread_block();
}
