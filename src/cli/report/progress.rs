//! Progress on a terminal.

use std::io::{self, Write};
use std::time::Duration;

use hls_cache::locks::Holder;
use hls_cache::progress::{Progress, Task};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{terminal::Terminal, waiting};

/// A bar on standard error, if somebody watches it and has not asked for quiet. A step costs an atomic
/// addition and a look at the clock; the bar is cleared when the task is over.
pub struct Bar {
    drawn: ProgressBar,
    is_shown: bool,
    /// Whether what is said once, on a line of its own, is shown: any terminal can.
    is_heard: bool,
}

impl Bar {
    pub fn new(quiet: bool) -> Self {
        let terminal = Terminal::of(&io::stderr());
        let template = "{msg:9} {wide_bar} {human_pos} of {human_len} entries, {eta} left";
        // The template is a constant: it parses, or the default is as good.
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let style = if terminal.utf8 { style } else { style.progress_chars("##.") };
        Self {
            drawn: ProgressBar::hidden().with_style(style),
            is_shown: terminal.moves && !quiet,
            is_heard: terminal.is_watched && !quiet,
        }
    }

    /// Takes the bar from the screen while something else is printed.
    pub fn suspend<R>(&self, print: impl FnOnce() -> R) -> R {
        self.drawn.suspend(print)
    }

    /// Says for whom a run waits, and how long.
    pub fn waiting(&self, holders: &[Holder], patience: Duration) {
        if self.is_heard {
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
        // Hidden until it is complete, and drawn with the first step.
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
