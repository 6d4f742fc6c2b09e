//! Commands that are timed in turn, and what they cost.

#![allow(dead_code, reason = "shared by two benchmarks; each uses its part")]
#![allow(clippy::cast_precision_loss, reason = "for medians and ratios")]

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wait4::Wait4;

pub const OURS: &str = env!("CARGO_BIN_EXE_hls-cache");

/// Commands that take turns. The first is ours.
pub struct Race {
    title: String,
    pub stdin: Option<PathBuf>,
    /// Count what is read of the disk with this directory, which should do nothing else.
    pub disk: Option<Disk>,
    runners: Vec<Runner>,
}

pub struct Runner {
    name: String,
    command: Vec<OsString>,
    runs: Vec<Run>,
}

#[derive(Clone, Copy)]
struct Run {
    wall: Duration,
    cpu: Duration,
    /// In bytes; at least this program's own peak, with which a child starts.
    peak: u64,
    /// Requests to the disk, and 512-byte sectors; zero if not asked for.
    reads: u64,
    sectors: u64,
}

/// The disk under a directory, as `/sys` counts what is read of it.
pub struct Disk(PathBuf);

impl Disk {
    pub fn under(directory: &Path) -> io::Result<Self> {
        let device = rustix::fs::stat(directory)?.st_dev;
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let disk = Self(format!("/sys/dev/block/{major}:{minor}/stat").into());
        disk.read().map(|_| disk)
    }

    fn read(&self) -> io::Result<(u64, u64)> {
        let text = std::fs::read_to_string(&self.0)?;
        let mut fields = text.split_ascii_whitespace().map(|field| field.parse().unwrap_or(0));
        let reads = fields.next().unwrap_or(0);
        Ok((reads, fields.nth(1).unwrap_or(0)))
    }
}

impl Race {
    pub fn new(title: &str) -> Self {
        Self { title: title.to_owned(), stdin: None, disk: None, runners: Vec::new() }
    }

    /// Adds a command; `path` is its last argument.
    pub fn add(
        &mut self,
        name: &str,
        program: impl AsRef<Path>,
        args: &[&str],
        path: Option<&Path>,
    ) {
        let mut command = vec![program.as_ref().into()];
        command.extend(args.iter().map(OsString::from));
        command.extend(path.map(OsString::from));
        self.runners.push(Runner { name: name.to_owned(), command, runs: Vec::new() });
    }

    /// Adds a command that wants its path first.
    pub fn tool(&mut self, name: &str, program: &str, args: &[&str], path: &Path) {
        let mut command = vec![program.into(), path.into()];
        command.extend(args.iter().map(OsString::from));
        self.runners.push(Runner { name: name.to_owned(), command, runs: Vec::new() });
    }

    /// Runs the commands in turn, `prepare` before each, and prints the medians. The first turn warms up,
    /// and drops commands that are not installed or fail.
    pub fn run(
        mut self,
        turns: usize,
        prepare: impl Fn(&Runner) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut able = Vec::new();
        for runner in self.runners {
            prepare(&runner)?;
            match runner.once(self.stdin.as_deref(), self.disk.as_ref()) {
                Ok(_) => able.push(runner),
                Err(error) => println!("{}: left out: {error}", runner.name),
            }
        }
        self.runners = able;
        for turn in 0..turns {
            for place in 0..self.runners.len() {
                // Rotate, so that no command always follows the same one or always comes first.
                let runner = (turn + place) % self.runners.len();
                let runner = &mut self.runners[runner];
                prepare(runner)?;
                let run = runner.once(self.stdin.as_deref(), self.disk.as_ref())?;
                runner.runs.push(run);
            }
        }
        self.print();
        Ok(())
    }

    fn print(&self) {
        let (read, rule) = match self.disk {
            Some(_) => (" reads | KiB read |", "--:|--:|"),
            None => ("", ""),
        };
        println!(
            "\n| {} | wall ms | CPU ms | peak MiB | ours / it, wall | ours / it, CPU |{read}",
            self.title
        );
        println!("|---|--:|--:|--:|--:|--:|{rule}");
        let median = |runner: &Runner, of: fn(&Run) -> f64| {
            let mut values: Vec<f64> = runner.runs.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
        };
        let wall = |runner: &Runner| median(runner, |run| run.wall.as_secs_f64());
        let cpu = |runner: &Runner| median(runner, |run| run.cpu.as_secs_f64());
        let Some(ours) = self.runners.first() else { return };
        for runner in &self.runners {
            let peak = runner.runs.iter().map(|run| run.peak).max().unwrap_or(0);
            print!(
                "| {} | {:.2} | {:.2} | {} | {:.2} | {:.2} |",
                runner.name,
                wall(runner) * 1e3,
                cpu(runner) * 1e3,
                human_mib(peak),
                wall(ours) / wall(runner),
                cpu(ours) / cpu(runner),
            );
            if self.disk.is_some() {
                let reads = median(runner, |run| run.reads as f64);
                print!(" {reads} | {} |", median(runner, |run| run.sectors as f64) / 2.0);
            }
            println!();
        }
    }
}

fn human_mib(bytes: u64) -> String {
    format!("{}.{}", bytes >> 20, (bytes >> 10) % 1024 * 10 / 1024)
}

impl Runner {
    fn once(&self, stdin: Option<&Path>, disk: Option<&Disk>) -> io::Result<Run> {
        let before = disk.map(Disk::read).transpose()?.unwrap_or_default();
        let stdin = stdin.map_or(Ok(Stdio::null()), |path| File::open(path).map(Stdio::from))?;
        let start = Instant::now();
        let mut child = Command::new(&self.command[0])
            .args(&self.command[1..])
            .stdin(stdin)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let usage = child.wait4()?;
        let wall = start.elapsed();
        if !usage.status.success() {
            return Err(io::Error::other(format!("{}: {}", self.name, usage.status)));
        }
        let after = disk.map(Disk::read).transpose()?.unwrap_or_default();
        Ok(Run {
            wall,
            cpu: usage.rusage.utime + usage.rusage.stime,
            peak: usage.rusage.maxrss,
            reads: after.0 - before.0,
            sectors: after.1 - before.1,
        })
    }
}
