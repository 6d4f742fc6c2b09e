//! Progress on a terminal.

use std::io::{self, Write};
use std::time::Duration;

use clap::ColorChoice;
use hls_cache::locks::Holder;
use hls_cache::progress::{Progress, Task};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{terminal::Terminal, waiting};

/// A bar on standard error, if that is a terminal and `--quiet` is not given. A step costs an atomic
/// addition and reading the clock; the bar is cleared when the task is over.
pub struct Bar {
    drawn: ProgressBar,
    is_shown: bool,
    /// Whether to print single lines, which any terminal can show.
    prints_lines: bool,
}

impl Bar {
    pub fn new(quiet: bool) -> Self {
        let terminal = Terminal::of(&io::stderr(), ColorChoice::Never);
        let template = "{msg:9} {wide_bar} {human_pos} of {human_len} entries, {eta} left";
        // The template is a constant: it parses, or the default is as good.
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let style = if terminal.utf8 { style } else { style.progress_chars("##.") };
        Self {
            drawn: ProgressBar::hidden().with_style(style),
            is_shown: terminal.moves && !quiet,
            prints_lines: terminal.is_watched && !quiet,
        }
    }

    /// Hides the bar while `print` runs.
    pub fn suspend<R>(&self, print: impl FnOnce() -> R) -> R {
        self.drawn.suspend(print)
    }

    /// Prints which maintainers a run waits for, and how long.
    pub fn waiting(&self, holders: &[Holder], patience: Duration) {
        if self.prints_lines {
            let _ = writeln!(io::stderr(), "{}", waiting(holders, patience));
        }
    }
}

impl Progress for Bar {
    fn start(&self, task: Task, total: usize) {
        /// Often enough to look alive, seldom enough to cost nothing.
        const REDRAWS_PER_SECOND: u8 = 10;
        self.drawn.reset();
        self.drawn.set_length(total as u64);
        self.drawn.set_message(match task {
            Task::Scan => "scanning",
            Task::Verify => "verifying",
            Task::Delete => "deleting",
        });
        // Hidden until it is set up; the first step draws it.
        if self.is_shown {
            self.drawn.set_draw_target(ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND));
        }
    }

    fn step(&self) {
        self.drawn.inc(1);
    }

    fn finish(&self) {
        self.drawn.finish_and_clear();
        self.drawn.set_draw_target(ProgressDrawTarget::hidden());
    }
}
