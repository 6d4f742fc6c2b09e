//! Results as text, JSON and metrics: the only code that prints.
#![allow(clippy::print_stderr, reason = "this is where diagnostics are printed")]

pub mod json;
pub mod outcome;
pub mod progress;
pub mod stats;
pub mod verification;

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::time::{Duration, SystemTime};

use hls_cache::{Problem, Root};
use serde_json::{Map, Value};

/// A result that can be shown.
pub trait Report {
    /// What the user should know.
    fn warnings(&self) -> &[String];
    /// What could not be read, locked or removed.
    fn problems(&self) -> &[Problem];
    /// Whether a run without problems still ends with 3.
    fn has_finding(&self) -> bool;
    /// The command's own fields of the JSON object; `verbose` lists what nothing happened to, too.
    fn json(&self, verbose: bool, now: SystemTime) -> Map<String, Value>;
    /// For people.
    fn human(
        &self,
        out: &mut dyn Write,
        root: &Root,
        now: SystemTime,
        verbose: bool,
    ) -> io::Result<()>;
}

/// Says something on standard error, which may be closed.
pub fn complain(kind: &str, what: &impl fmt::Display) {
    let _ = writeln!(io::stderr(), "hls-cache: {kind}: {what}");
}

/// Prints to standard output. That a reader has closed it is no error: the work is done.
pub fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// A time span in its two largest units, as in `3d 4h`; exact spans are JSON's business.
pub fn human_span(span: Duration) -> String {
    let seconds = span.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m"),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// `1 entry`, `2 entries`.
pub fn count_entries(count: u64) -> String {
    format!("{count} {}", if count == 1 { "entry" } else { "entries" })
}
