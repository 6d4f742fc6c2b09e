//! Progress on a terminal.

use std::io;

use hls_cache::progress::{Progress, Task};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::terminal::Terminal;

/// A bar on standard error, if somebody watches it and has not asked for quiet. A step costs an atomic
/// addition and a look at the clock; the bar is cleared when the task is over.
pub struct Bar(ProgressBar);

impl Bar {
    pub fn new(quiet: bool) -> Self {
        /// Often enough to look alive, seldom enough to cost nothing.
        const REDRAWS_PER_SECOND: u8 = 10;
        let terminal = Terminal::of(&io::stderr());
        if quiet || !terminal.moves {
            return Self(ProgressBar::hidden());
        }
        let target = ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND);
        let template = "{msg:9} {wide_bar} {human_pos} of {human_len} entries, {eta} left";
        // The template is a constant: it parses, or the default is as good.
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let style = if terminal.utf8 { style } else { style.progress_chars("##.") };
        Self(ProgressBar::with_draw_target(None, target).with_style(style))
    }
}

impl Progress for Bar {
    fn start(&self, task: Task, total: usize) {
        let Self(bar) = self;
        bar.reset();
        bar.set_length(total as u64);
        bar.set_message(match task {
            Task::Scan => "looking",
            Task::Verify => "verifying",
            Task::Delete => "deleting",
        });
    }

    fn step(&self) {
        self.0.inc(1);
    }

    fn finish(&self) {
        self.0.finish_and_clear();
    }
}
