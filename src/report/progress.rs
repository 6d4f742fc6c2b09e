//! Progress on a terminal.

use std::io;

use hls_cache::progress::{Progress, Task};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::terminal::Terminal;

/// A bar on standard error, if somebody watches it and has not asked for quiet. A step costs an atomic
/// addition and a look at the clock; the bar is cleared when the task is over.
pub struct Bar {
    bar: ProgressBar,
    is_shown: bool,
}

impl Bar {
    pub fn new(quiet: bool) -> Self {
        let terminal = Terminal::of(&io::stderr());
        let template = "{msg:9} {wide_bar} {human_pos} of {human_len} entries, {eta} left";
        // The template is a constant: it parses, or the default is as good.
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let style = if terminal.utf8 { style } else { style.progress_chars("##.") };
        Self { bar: ProgressBar::hidden().with_style(style), is_shown: terminal.moves && !quiet }
    }
}

impl Progress for Bar {
    fn start(&self, task: Task, total: usize) {
        /// Often enough to look alive, seldom enough to cost nothing.
        const REDRAWS_PER_SECOND: u8 = 10;
        self.bar.reset();
        self.bar.set_length(total as u64);
        self.bar.set_message(match task {
            Task::Scan => "looking",
            Task::Verify => "verifying",
            Task::Delete => "deleting",
        });
        // Hidden until it is complete, and drawn with the first step.
        if self.is_shown {
            self.bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND));
        }
    }

    fn step(&self) {
        self.bar.inc(1);
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
        self.bar.set_draw_target(ProgressDrawTarget::hidden());
    }
}
