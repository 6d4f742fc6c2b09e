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

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return report::unparsed(&error).into(),
    };
    #[allow(clippy::disallowed_methods, reason = "the one reading of the clock")]
    let now = SystemTime::now();
    commands::run(cli, now).into()
}
