//! Output during a run: each line of the report as soon as it is known, on standard output, and progress on
//! a terminal.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::time::Duration;

use hls_cache::Error;
use hls_cache::cache::{Advice, Entry};
use hls_cache::locks::Holder;
use hls_cache::maintain::{Decision, Observer, Outcome, Verdict};
use hls_cache::progress::{Progress, Task};

use super::progress::Bar;
use super::{Screen, outcome, verification};
use crate::cli::library::Librarian;

/// Prints the lines, with the bar of a task between them.
pub struct Live<'a> {
    bar: Bar,
    /// `None` if nothing is printed before the end.
    screen: Option<Screen<'a>>,
    librarian: &'a Librarian,
    /// The first failure to print. No more lines are printed after it, but the run continues: its work does
    /// not depend on a reader.
    failure: OnceLock<io::Error>,
}

impl<'a> Live<'a> {
    pub fn new(bar: Bar, screen: Option<Screen<'a>>, librarian: &'a Librarian) -> Self {
        Self { bar, screen, librarian, failure: OnceLock::new() }
    }

    /// Fails if a line could not be printed; a closed pipe is not an error.
    pub fn into_result(self) -> io::Result<()> {
        match self.failure.into_inner() {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }

    fn print(&self, line: impl FnOnce(&Screen<'_>) -> Option<String>) {
        let screen = self.screen.as_ref().filter(|_| self.failure.get().is_none());
        let Some(line) = screen.and_then(line) else { return };
        let print = || {
            let mut out = io::stdout().lock();
            writeln!(out, "{line}").and_then(|()| out.flush())
        };
        if let Err(error) = self.bar.suspend(print) {
            let _ = self.failure.set(error);
        }
    }
}

impl Progress for Live<'_> {
    fn start(&self, task: Task, total: usize) {
        self.bar.start(task, total);
    }

    fn step(&self) {
        self.bar.step();
    }

    fn finish(&self) {
        self.bar.finish();
    }
}

impl Observer for Live<'_> {
    fn waiting(&self, holders: &[Holder], patience: Duration) {
        self.bar.waiting(holders, patience);
    }

    fn advise(&self, entries: &[Entry]) -> Result<Advice, Error> {
        self.librarian.advise(entries)
    }

    fn decided(&self, so_far: &Outcome, decision: &Decision) {
        self.print(|screen| outcome::line(so_far, decision, screen, self.librarian));
    }

    fn judged(&self, verdict: &Verdict) {
        self.print(|screen| verification::line(verdict, screen, self.librarian));
    }
}
