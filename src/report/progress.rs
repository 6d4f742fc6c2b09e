//! Progress on a terminal.

use std::io::{self, IsTerminal};
use std::sync::Mutex;

use hls_cache::progress::{Progress, Task};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar on standard error, if that is a terminal and the user has not asked for quiet.
pub struct Bar {
    shown: bool,
    bar: Mutex<ProgressBar>,
}

impl Bar {
    pub fn new(quiet: bool) -> Self {
        Self { shown: !quiet && io::stderr().is_terminal(), bar: Mutex::new(ProgressBar::hidden()) }
    }

    fn with(&self, act: impl FnOnce(&mut ProgressBar)) {
        if self.shown
            && let Ok(mut bar) = self.bar.lock()
        {
            act(&mut bar);
        }
    }
}

impl Progress for Bar {
    fn start(&self, task: Task, total: usize) {
        /// Often enough to look alive, seldom enough to cost nothing.
        const REDRAWS_PER_SECOND: u8 = 10;
        let verb = match task {
            Task::Scan => "looking",
            Task::Verify => "verifying",
            Task::Delete => "deleting",
        };
        self.with(|bar| {
            let target = ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND);
            *bar = ProgressBar::with_draw_target(Some(total as u64), target).with_message(verb);
            if let Ok(style) =
                ProgressStyle::with_template("{msg:9} {wide_bar} {pos}/{len} entries {eta}")
            {
                bar.set_style(style);
            }
        });
    }

    fn step(&self) {
        self.with(|bar| bar.inc(1));
    }

    fn finish(&self) {
        self.with(|bar| bar.finish_and_clear());
    }
}
