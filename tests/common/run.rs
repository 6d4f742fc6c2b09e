//! One run of the tool, and what may be said about it afterwards.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

use super::snapshot::Snapshot;
use super::{TestCache, json_schema, key, name_of};

/// No run takes this long; one that hangs is killed, and the test fails.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// A run that has not begun.
pub struct Invocation<'a> {
    cache: &'a TestCache,
    argv: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    stdin: Vec<u8>,
    cwd: PathBuf,
}

impl<'a> Invocation<'a> {
    pub(super) fn new(
        cache: &'a TestCache,
        argv: Vec<OsString>,
        env: &[(OsString, OsString)],
    ) -> Self {
        let cwd = cache.base().to_owned();
        Self { cache, argv, env: env.to_vec(), stdin: Vec::new(), cwd }
    }

    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    pub fn cwd(mut self, cwd: impl Into<PathBuf>) -> Self {
        self.cwd = cwd.into();
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Runs the tool as the last arguments of another program.
    pub fn under<A: AsRef<OsStr>>(mut self, wrapper: impl IntoIterator<Item = A>) -> Self {
        let wrapper = wrapper.into_iter().map(|arg| arg.as_ref().to_owned());
        self.argv.splice(0..0, wrapper);
        self
    }

    /// The process, for a test that has to do something while it runs.
    pub fn process(&self) -> Command {
        let mut command = Command::new(&self.argv[0]);
        command.args(&self.argv[1..]).current_dir(&self.cwd).env_clear();
        for name in ["PATH", "HOME"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.envs(self.env.iter().cloned());
        command
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        self.cache.snapshot()
    }

    /// The outcome of a process that was not run by [`Invocation::run`].
    pub(super) fn ended(self, before: Snapshot, mut output: Output) -> Run<'a> {
        let diagnostics = output.stderr.clone();
        without_what_is_the_machines(&mut output);
        Run { cache: self.cache, argv: self.argv, before, output, diagnostics }
    }

    /// Runs it with a standard output whose reader has gone already.
    pub fn with_closed_stdout(&self) -> Output {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut output = self.process().stdout(writer).output().expect("the tool starts");
        without_what_is_the_machines(&mut output);
        output
    }

    pub fn run(mut self) -> Run<'a> {
        let before = self.snapshot();
        let output = assert_cmd::Command::from_std(self.process())
            .write_stdin(std::mem::take(&mut self.stdin))
            .timeout(TIME_LIMIT)
            .output()
            .expect("the tool starts");
        self.ended(before, output)
    }
}

/// Whether a line says that some of the machine's processes could not be looked at: a sandbox has such
/// processes even for root. `attack::namespaces` makes its own and reads the line itself.
fn is_of_processes(line: &str) -> bool {
    line.contains("processes could not be looked at")
}

/// Takes out what depends on the machine's processes and not on the cache.
pub fn without_what_is_the_machines(output: &mut Output) {
    let retain = |bytes: &mut Vec<u8>, is_kept: &dyn Fn(&str) -> bool| {
        let lines = bytes.split_inclusive(|&byte| byte == b'\n');
        *bytes = lines
            .filter(|line| is_kept(&String::from_utf8_lossy(line)))
            .flat_map(<[u8]>::to_vec)
            .collect();
    };
    retain(&mut output.stderr, &|line| !is_of_processes(line));
    retain(&mut output.stdout, &|line| !line.starts_with("unseen "));
}

/// A run that has ended.
pub struct Run<'a> {
    cache: &'a TestCache,
    argv: Vec<OsString>,
    before: Snapshot,
    pub output: Output,
    /// Standard error as it was, with what is said of the machine's processes.
    #[allow(dead_code, reason = "only the tests of namespaces ask for it")]
    pub diagnostics: Vec<u8>,
}

/// # What it said
impl Run<'_> {
    pub fn stdout(&self) -> String {
        String::from_utf8(self.output.stdout.clone()).expect("UTF-8 on stdout")
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// The one object on stdout, as the schema has it.
    #[track_caller]
    pub fn json(&self) -> Value {
        let mut json: Value = serde_json::from_slice(&self.output.stdout)
            .unwrap_or_else(|error| panic!("not one JSON object: {error}\n{self}"));
        let faults = json_schema::faults(&json);
        assert!(faults.is_empty(), "not as the schema says: {}\n{self}", faults.join("\n"));
        if let Some(warnings) = json.get_mut("warnings").and_then(Value::as_array_mut) {
            warnings.retain(|warning| !warning.as_str().is_some_and(is_of_processes));
        }
        json
    }

    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.output.status.code(), Some(code), "exit status\n{self}");
        self
    }

    #[track_caller]
    pub fn success(self) -> Self {
        self.code(0)
    }

    #[track_caller]
    pub fn no_stdout(self) -> Self {
        assert!(self.output.stdout.is_empty(), "nothing was to be on stdout\n{self}");
        self
    }

    #[track_caller]
    pub fn no_stderr(self) -> Self {
        assert!(self.output.stderr.is_empty(), "nothing was to be on stderr\n{self}");
        self
    }

    /// One line on stderr names the thing.
    #[track_caller]
    pub fn complains_of(self, thing: &str) -> Self {
        let stderr = self.stderr();
        assert!(stderr.lines().any(|line| line.contains(thing)), "no line names {thing}\n{self}");
        self
    }
}

/// # What it did, as the disk shows it
impl Run<'_> {
    /// These entries were there and are not: no live name, no trash.
    #[track_caller]
    pub fn removed<'n>(self, names: impl IntoIterator<Item = &'n str>) -> Self {
        let now = self.cache.snapshot();
        for name in names {
            let entry = entry_in_base(name);
            assert!(self.before.0.contains_key(&entry), "{name} was never there\n{self}");
            assert!(!now.0.contains_key(&entry), "{name} is still there\n{self}");
            let prefix = format!(".trash.{}.", key(name));
            let mut new = now.0.keys().filter(|path| !self.before.0.contains_key(*path));
            let trash = new.find(|path| in_root(path).is_some_and(|n| n.starts_with(&prefix)));
            assert_eq!(trash, None, "{name} left trash\n{self}");
        }
        self
    }

    /// These entries are what they were, to the last file and time.
    #[track_caller]
    pub fn kept<'n>(self, names: impl IntoIterator<Item = &'n str>) -> Self {
        let now = self.cache.snapshot();
        for name in names {
            let entry = entry_in_base(name);
            let before = self.before.only(|path| path.starts_with(&entry));
            assert!(!before.0.is_empty(), "{name} was never there\n{self}");
            self.assert_same(&before, &now.only(|path| path.starts_with(&entry)));
        }
        self
    }

    /// These entries are gone, and nothing else changed but lockfiles, log and leftover trash.
    #[track_caller]
    pub fn removed_only<'n>(self, names: impl IntoIterator<Item = &'n str>) -> Self {
        let names: Vec<&str> = names.into_iter().collect();
        let run = self.removed(names.iter().copied());
        let gone: Vec<PathBuf> = names.into_iter().map(entry_in_base).collect();
        let judged = |path: &Path| {
            path != Path::new("root")
                && !gone.iter().any(|entry| path.starts_with(entry))
                && !in_root(path).is_some_and(|name| is_bookkeeping(&name))
        };
        run.assert_same(&run.before.only(judged), &run.cache.snapshot().only(judged));
        run
    }

    /// Nothing at all changed on the disk.
    #[track_caller]
    pub fn untouched(self) -> Self {
        self.assert_same(&self.before, &self.cache.snapshot());
        self
    }

    #[track_caller]
    fn assert_same(&self, before: &Snapshot, now: &Snapshot) {
        let differences = before.differences(now);
        assert!(differences.is_empty(), "not as it was:\n{}\n{self}", differences.join("\n"));
    }
}

impl fmt::Display for Run<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "--- ran {:?}\n--- {}", self.argv, self.output.status)?;
        writeln!(f, "--- stdout\n{}", String::from_utf8_lossy(&self.output.stdout))?;
        write!(f, "--- stderr\n{}", self.stderr())
    }
}

fn entry_in_base(name: &str) -> PathBuf {
    Path::new("root").join(key(name))
}

/// The name in the root that a path leads to or through.
fn in_root(path: &Path) -> Option<String> {
    let below = path.strip_prefix("root").ok()?;
    Some(below.components().next()?.as_os_str().to_string_lossy().into_owned())
}

/// What a run that removes may add, change or clear away.
fn is_bookkeeping(name: &str) -> bool {
    let hex = |text: &str| {
        text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let pin = name.strip_prefix('.').and_then(|rest| rest.strip_suffix(".pin"));
    let trash = name.strip_prefix(".trash.").and_then(|rest| rest.split_once('.'));
    let own = [".maintenance.lock", ".events.log", ".events.log.1", ".sizes", ".sizes.new"];
    own.contains(&name)
        || pin.is_some_and(hex)
        || trash.is_some_and(|(key, random)| hex(key) && hex(random))
}

/// `(name, reason)` of the entries with this action, in the order of the report.
pub fn decisions(json: &Value, action: &str) -> Vec<(String, String)> {
    let entries = json["entries"].as_array().expect("entries");
    let taken = entries.iter().filter(|entry| entry["action"] == action);
    taken
        .map(|entry| {
            let key = entry["key"].as_str().expect("key");
            (name_of(key), entry["reason"].as_str().unwrap_or("null").to_owned())
        })
        .collect()
}

/// An array of strings, as JSON has it.
pub fn texts(json: &Value) -> Vec<&str> {
    json.as_array().expect("an array").iter().map(|text| text.as_str().expect("text")).collect()
}
