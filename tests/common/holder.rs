//! A lock held by another process, as a shell script would hold it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// How a lockfile is held.
#[derive(Clone, Copy)]
pub enum Lock {
    Shared,
    Exclusive,
}

/// A process that holds a lock until it is killed.
pub struct Holder(Child);

impl Holder {
    /// Returns when the lock is held.
    pub fn spawn(path: &Path, lock: Lock) -> Self {
        let mode = match lock {
            Lock::Shared => "--shared",
            Lock::Exclusive => "--exclusive",
        };
        // --no-fork: the one process that holds the lock is the one that is killed.
        let mut child = Command::new("flock")
            .args([mode, "--no-fork"])
            .arg(path)
            .args(["sh", "-c", "echo held; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("flock(1) of util-linux");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("flock's answer");
        assert_eq!(line, "held\n", "flock(1) did not get {}", path.display());
        Self(child)
    }

    /// What the tool calls it.
    pub fn name(&self) -> String {
        format!("cat[{}]", self.pid())
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// SIGKILL, as when a daemon crashes.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
