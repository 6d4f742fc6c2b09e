//! `hls-cache`: the command line over the `hls_cache` library.

mod cli;
mod commands;
mod exit;
mod report;

use std::process::ExitCode;
use std::time::SystemTime;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::try_parse().unwrap_or_else(|error| report::misunderstood(&error));
    #[allow(clippy::disallowed_methods, reason = "the one reading of the clock")]
    let now = SystemTime::now();
    commands::run(cli, now).into()
}
