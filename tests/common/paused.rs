//! A run held at one system call, so that a test can change the world between two steps of it.

use std::fs;
use std::io::Read;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::need;
use super::run::{Invocation, Run};
use super::snapshot::Snapshot;

const TIME_LIMIT: Duration = Duration::from_secs(60);

/// A run that strace(1) has stopped.
pub struct Paused<'a> {
    invocation: Invocation<'a>,
    before: Snapshot,
    stopped: Stopped,
    /// What was read of its standard output before it was resumed.
    stdout: Vec<u8>,
    _trace: TempDir,
}

/// Ends the stopped tool where a test does not get to resuming it.
struct Stopped {
    tool: Pid,
    strace: Option<Child>,
}

impl Drop for Stopped {
    fn drop(&mut self) {
        if let Some(mut strace) = self.strace.take() {
            let _ = kill_process(self.tool, Signal::KILL);
            let _ = strace.wait();
        }
    }
}

impl<'a> Invocation<'a> {
    /// Runs the tool until it has first made this system call on `path`, written as the tool writes
    /// it. `None`, said loudly, where processes cannot be traced.
    pub fn pause_at(self, call: &str, path: &str) -> Option<Paused<'a>> {
        self.pause_among(call, &[path], &[])
    }

    /// The same, with other injections into the calls on these paths.
    pub fn pause_among(
        self,
        call: &str,
        paths: &[&str],
        injections: &[&str],
    ) -> Option<Paused<'a>> {
        if !need::tool("strace") {
            return None;
        }
        let directory = tempfile::tempdir().expect("tempdir");
        let trace = directory.path().join("trace");
        let inject = format!("inject={call}:signal=STOP:when=1");
        let output = trace.to_str().expect("UTF-8");
        let before = self.snapshot();
        let injections: Vec<String> =
            injections.iter().map(|injection| format!("inject={injection}")).collect();
        let mut words = vec!["strace", "-f", "-o", output, "-e", &inject];
        words.extend(paths.iter().flat_map(|path| ["-P", path]));
        words.extend(injections.iter().flat_map(|injection| ["-e", injection]));
        let invocation = self.under(words);
        let mut strace = invocation
            .process()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace");
        let began = Instant::now();
        let tool = loop {
            let log = fs::read_to_string(&trace).unwrap_or_default();
            if let Some(line) = log.lines().find(|line| line.contains("stopped by SIGSTOP")) {
                let pid = line.split(' ').next().expect("a pid").parse().expect("a pid");
                break Pid::from_raw(pid).expect("a pid");
            }
            let ended = strace.try_wait().expect("wait").is_some();
            assert!(!ended && began.elapsed() < TIME_LIMIT, "no {call} on {paths:?}:\n{log}");
            thread::yield_now();
        };
        let stopped = Stopped { tool, strace: Some(strace) };
        Some(Paused { invocation, before, stopped, stdout: Vec::new(), _trace: directory })
    }
}

impl<'a> Paused<'a> {
    /// What the tool has written to standard output by now.
    pub fn said(&mut self) -> String {
        let strace = self.stopped.strace.as_mut().expect("not resumed");
        let pipe = strace.stdout.as_mut().expect("piped");
        let flags = fcntl_getfl(&*pipe).expect("flags");
        // It is stopped: what is not there now will not come.
        fcntl_setfl(&*pipe, flags | OFlags::NONBLOCK).expect("flags");
        let _ = pipe.read_to_end(&mut self.stdout);
        fcntl_setfl(&*pipe, flags).expect("flags");
        String::from_utf8(self.stdout.clone()).expect("UTF-8 on stdout")
    }

    /// Lets the tool go on to its end. What the test did meanwhile counts as done by the run.
    pub fn resume(mut self) -> Run<'a> {
        kill_process(self.stopped.tool, Signal::CONT).expect("SIGCONT");
        let strace = self.stopped.strace.take().expect("resumed once");
        let mut output = strace.wait_with_output().expect("wait");
        output.stdout.splice(0..0, self.stdout);
        self.invocation.ended(self.before, output)
    }
}
