//! Results as text, JSON and metrics: the only code that prints, and every word that a person reads.
//!
//! Here: facts of the library turned into sentences, tables, colours, JSON and Prometheus lines, and the
//! names of options where a sentence needs them. Not here: decisions, and reading the cache.
#![allow(clippy::print_stderr, reason = "this is where diagnostics are printed")]

pub mod about;
mod account;
pub mod check;
mod draw;
mod entry_table;
pub mod histogram;
mod history;
pub mod json;
pub mod live;
pub mod next;
mod notice;
pub mod outcome;
pub mod progress;
pub mod prometheus;
pub mod stats;
pub mod terminal;
mod title;
pub mod verification;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hls_cache::locks::Holder;
use hls_cache::maintain::Refused;
use hls_cache::{Error, Escaped};
use serde::Serialize;

use self::terminal::Terminal;

/// A result that can be shown.
pub trait Report {
    /// The warnings, without `warning: `.
    fn warnings(&self) -> Vec<String>;
    /// What could not be read, locked or removed in the cache at `root`.
    fn errors(&self, root: &Path) -> Vec<ErrorLine>;
    /// Whether a run without errors still ends with 3.
    fn has_finding(&self) -> bool;
    /// The reason for exit status 3, in one line, to print with `--quiet`; `None` if a warning gives it.
    fn finding(&self) -> Option<String>;
    /// The command's own fields of the JSON object; `verbose` also lists the entries that the plan kept.
    fn json(&self, verbose: bool) -> impl Serialize;
    /// Prints the report for people, except for the lines printed [`live`].
    fn human(&self, out: &mut dyn Write, screen: &Screen<'_>) -> io::Result<()>;
}

/// The settings of a report for people.
pub struct Screen<'a> {
    pub root: &'a Path,
    /// Whether to list also the entries that the plan kept.
    pub verbose: bool,
    pub terminal: Terminal,
}

/// An error as a run shows it.
pub struct ErrorLine {
    pub path: PathBuf,
    /// The failed operation and the reason.
    pub message: String,
}

impl ErrorLine {
    /// The line for an error that stopped a command.
    pub fn of(stopped: &anyhow::Error) -> Self {
        let refused = stopped.downcast_ref().and_then(|refused| match refused {
            Refused::Unreadable(error) => Some(error),
            Refused::Busy { .. } => None,
        });
        match stopped.downcast_ref::<Error>().or(refused) {
            Some(error) => error.into(),
            None => Self { path: PathBuf::new(), message: stopped.to_string() },
        }
    }
}

impl From<&Error> for ErrorLine {
    fn from(error: &Error) -> Self {
        Self { path: error.path.clone(), message: error.message() }
    }
}

impl fmt::Display for ErrorLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Escaped::new(&self.path), Escaped::new(&self.message))
    }
}

/// Prints an error on standard error, which may be closed.
pub fn report_error(error: &impl fmt::Display) {
    report_line("error", error);
}

/// Prints a warning on standard error, which may be closed.
pub fn report_warning(warning: &impl fmt::Display) {
    report_line("warning", warning);
}

/// Prints one line, whatever names the message quotes.
fn report_line(kind: &str, what: &impl fmt::Display) {
    let what = what.to_string();
    // In one write: standard error has no buffer, and what others write must not come in between.
    let line = format!("{kind}: {}\n", Escaped::new(&what));
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Prints the requested help or version.
pub fn print_help(help: &clap::Error) -> io::Result<()> {
    quietly_closed(help.print().and_then(|()| io::stdout().flush()))
}

/// Prints clap's usage error. clap quotes arguments verbatim, and `ls | xargs hls-cache verify` passes
/// names that may be hostile.
pub fn print_usage_error(error: &clap::Error) {
    let is_hostile = |arg: OsString| *Escaped::new(&arg).to_string() != *arg;
    if std::env::args_os().any(is_hostile) {
        for line in error.to_string().lines() {
            let _ = writeln!(io::stderr(), "{}", Escaped::new(line));
        }
    } else {
        let _ = error.print();
    }
}

/// Prints to standard output. A closed pipe is not an error: the work is done.
pub fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    quietly_closed(write(&mut out).and_then(|()| out.flush()))
}

fn quietly_closed(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// A time span in its two largest units, as in `3d 4h`; JSON has exact spans.
pub fn human_span(span: Duration) -> String {
    match split(span) {
        [0, 0, 0, seconds] => format!("{seconds}s"),
        [0, 0, minutes, _] => format!("{minutes}m"),
        [0, hours, minutes, _] => format!("{hours}h {minutes}m"),
        [days, hours, ..] => format!("{days}d {hours}h"),
    }
}

/// A time span to the second, as the user writes one: `1h30m`.
pub fn exact_span(span: Duration) -> String {
    let parts = split(span).into_iter().zip(["d", "h", "m", "s"]).filter(|&(count, _)| count > 0);
    let text = parts.fold(String::new(), |text, (count, unit)| text + &count.to_string() + unit);
    if text.is_empty() { "0s".into() } else { text }
}

/// Days, hours, minutes and seconds.
fn split(span: Duration) -> [u64; 4] {
    let seconds = span.as_secs();
    [seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60]
}

/// Why there are no encoder settings to compute keys with.
pub fn no_settings(error: &Error) -> String {
    format!("{error}; give the settings with --encode TEXT")
}

/// The line about the maintainers that a run waits for.
fn waiting(holders: &[Holder], patience: Duration) -> String {
    let patience = humantime::format_duration(patience);
    match name_all(holders) {
        Some(names) => {
            format!("waiting up to {patience} for {names}, which holds the maintenance lock")
        }
        None => format!("waiting up to {patience} for another maintainer"),
    }
}

/// The error of a run that did not start because another maintainer is at work.
pub fn busy(holders: &[Holder], waited: Duration) -> String {
    let whom = name_all(holders).map(|names| format!(": {names}")).unwrap_or_default();
    if waited.is_zero() {
        format!("another maintainer is at work in this cache{whom}; add --wait DUR to wait for it")
    } else {
        let waited = humantime::format_duration(waited);
        format!("waited {waited}, but another maintainer is still at work in this cache{whom}")
    }
}

fn name_all(holders: &[Holder]) -> Option<String> {
    let names: Vec<String> = holders.iter().map(ToString::to_string).collect();
    (!names.is_empty()).then(|| names.join(" and "))
}

/// Of how many entries a scan has looked at the files: `measured 3 entries, remembered 297`.
pub fn measured(entries: u64, remembered: u64) -> String {
    let measured = entries.saturating_sub(remembered);
    format!("measured {}, remembered {remembered}", count_entries(measured))
}

/// `1 entry`, `2 entries`.
pub fn count_entries(count: u64) -> String {
    format!("{count} {}", if count == 1 { "entry" } else { "entries" })
}
