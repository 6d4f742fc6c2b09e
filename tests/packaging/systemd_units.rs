//! The systemd units are valid, sandboxed, and leave the tool what it needs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::{need, repository};

/// What the units do; of each there is a service and a timer.
const TASKS: [&str; 3] = ["sweep", "gc-orphans", "verify"];
const KEY: &str = "0123456789abcdef";
const NOBODY: u32 = 65534;

fn unit(task: &str, kind: &str) -> String {
    let name = format!("hls-cache-{task}@.{kind}");
    fs::read_to_string(repository().join("packaging").join(&name)).expect(&name)
}

/// The values of `name`, in order.
fn settings(unit: &str, name: &str) -> Vec<String> {
    let values = unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    values.map(str::to_owned).collect()
}

/// The unit of one cache, `/srv/hls`, with a program that exists.
fn instance(directory: &TempDir, task: &str, kind: &str) -> PathBuf {
    let path = directory.path().join(format!("hls-cache-{task}@srv-hls.{kind}"));
    let text = unit(task, kind).replace("/usr/bin/hls-cache", env!("CARGO_BIN_EXE_hls-cache"));
    fs::write(&path, text).expect("a unit");
    path
}

#[test]
fn systemd_finds_no_fault_with_the_units() {
    if !need::tool("systemd-analyze") {
        return;
    }
    let directory = tempfile::tempdir().expect("tempdir");
    let paths = TASKS.iter().flat_map(|task| [(task, "service"), (task, "timer")]);
    let paths = paths.map(|(task, kind)| instance(&directory, task, kind));
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(paths)
        .output()
        .expect("systemd-analyze");
    let complaints = String::from_utf8_lossy(&verified.stderr);
    // It looks at other units of the machine too.
    let ours: Vec<&str> = complaints.lines().filter(|line| line.contains("hls-cache")).collect();
    assert!(ours.is_empty() && verified.status.success(), "{complaints}");
}

#[test]
fn the_services_are_sandboxed() {
    if !need::tool("systemd-analyze") {
        return;
    }
    let directory = tempfile::tempdir().expect("tempdir");
    // In tenths; 20 is "OK", and a new line without a sandbox would be at 96.
    for (task, exposure) in [("sweep", 21), ("gc-orphans", 21), ("verify", 13)] {
        let judged = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager"])
            .arg(format!("--threshold={exposure}"))
            .arg(instance(&directory, task, "service"))
            .output()
            .expect("systemd-analyze");
        let table = String::from_utf8_lossy(&judged.stdout);
        assert!(judged.status.success(), "{task}: {table}");
    }
}

/// One sandbox, written three times: a line that one of the services has and another has not is listed here.
#[test]
fn the_services_differ_only_in_what_their_tasks_need() {
    let [sweep, gc_orphans, verify] = TASKS.map(|task| {
        let service = unit(task, "service");
        let lines = service.split("[Service]").nth(1).expect("[Service]").lines();
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(str::to_owned).collect::<Vec<_>>()
    });
    let only_in = |these: &[String], those: &[String]| -> Vec<String> {
        these.iter().filter(|line| !those.contains(line)).cloned().collect()
    };
    let sweeps = "ExecStart=:/usr/bin/hls-cache --root %f sweep --wait 10m";
    assert_eq!(
        only_in(&gc_orphans, &sweep),
        ["ExecStart=:/usr/bin/hls-cache --root %f gc-orphans --min-age 12h --wait 10m"]
    );
    assert_eq!(only_in(&sweep, &gc_orphans), [sweeps]);
    assert_eq!(
        only_in(&verify, &sweep),
        [
            "ExecStart=:/usr/bin/hls-cache --root %f verify --deep --subset today/30",
            "CapabilityBoundingSet=CAP_DAC_READ_SEARCH",
            "ReadOnlyPaths=%f",
            // Nobody who reads segments has to know who else runs.
            "ProtectProc=invisible",
            "ProcSubset=pid",
        ]
    );
    assert_eq!(
        only_in(&sweep, &verify),
        [
            sweeps,
            "SuccessExitStatus=4",
            "CapabilityBoundingSet=CAP_DAC_OVERRIDE",
            "CapabilityBoundingSet=CAP_FOWNER",
            "CapabilityBoundingSet=CAP_CHOWN",
            "CapabilityBoundingSet=CAP_SYS_PTRACE",
            "ReadWritePaths=%f",
            "SystemCallFilter=@chown",
            "SystemCallFilter=~ptrace process_vm_readv process_vm_writev pidfd_getfd kcmp",
        ]
    );
}

/// By a clock that is far ahead everything looks unused.
#[test]
fn what_removes_waits_for_the_clock() {
    for task in ["sweep", "gc-orphans"] {
        assert_eq!(settings(&unit(task, "service"), "After"), ["time-sync.target"], "{task}");
    }
}

/// The program with as much of the service's sandbox as setpriv(1) and a `/proc` of its own can build, less
/// `without` and with the lines `more`; `None`, said loudly, where that is not possible.
fn sandboxed(task: &str, without: &str, more: &str) -> Option<Command> {
    if !need::running_as_root() {
        need::missing("root");
        return None;
    }
    if !need::tool("setpriv") || !need::tool("unshare") {
        return None;
    }
    let service = unit(task, "service") + more;
    let capabilities = settings(&service, "CapabilityBoundingSet").join(" ");
    let capabilities = capabilities.split(' ').filter(|&name| name != without);
    let capabilities: Vec<String> =
        capabilities.map(|name| name.to_lowercase().replace("cap_", "+")).collect();
    let proc = [("ProtectProc", "hidepid"), ("ProcSubset", "subset")].map(|(setting, option)| {
        let values = settings(&service, setting);
        values.last().map_or_else(String::new, |value| format!(",{option}={value}"))
    });
    let mounted = |options: &str| {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", "mount -t proc -o \"$0\" proc /proc && exec \"$@\""])
            .arg(format!("nosuid{options}"));
        command
    };
    if !mounted("").arg("true").status().is_ok_and(|status| status.success()) {
        need::missing("to mount a /proc");
        return None;
    }
    let mut command = mounted(&proc.concat());
    command
        .args(["setpriv", "--no-new-privs", "--inh-caps=-all"])
        .arg(format!("--bounding-set=-all,{}", capabilities.join(",")))
        .arg(env!("CARGO_BIN_EXE_hls-cache"));
    Some(command)
}

/// Another user's cache with one entry, in directories that only that user may enter.
fn foreign_cache() -> TempDir {
    let cache = tempfile::tempdir().expect("tempdir");
    let video = cache.path().join(KEY).join("video");
    fs::create_dir_all(&video).expect("an entry");
    let fixture = repository().join("tests/fixtures/entry/video");
    for file in fs::read_dir(fixture).expect("the fixture").map(|file| file.expect("a file")) {
        fs::copy(file.path(), video.join(file.file_name())).expect("a segment");
    }
    fs::write(cache.path().join(KEY).join(".complete"), "").expect("a marker");
    for found in walkdir::WalkDir::new(cache.path()) {
        let found = found.expect("the cache");
        // The root is sticky, so that deleting takes more than being allowed to write.
        let mode = match found.depth() {
            0 => 0o1700,
            _ if found.file_type().is_dir() => 0o500,
            _ => 0o400,
        };
        fs::set_permissions(found.path(), fs::Permissions::from_mode(mode)).expect("chmod");
        chown(found.path(), Some(NOBODY), Some(NOBODY)).expect("chown");
    }
    cache
}

#[test]
fn the_capabilities_suffice_to_remove_what_is_another_users() {
    let Some(mut swept) = sandboxed("sweep", "", "") else { return };
    let cache = foreign_cache();
    let swept = swept.arg("--root").arg(cache.path()).args(["sweep", "--max-entries", "0"]);
    let swept = swept.args(["--min-age", "0s"]).output().expect("setpriv");
    assert!(swept.status.success(), "{}", String::from_utf8_lossy(&swept.stderr));
    assert!(!cache.path().join(KEY).exists());
    let pin = fs::metadata(cache.path().join(format!(".{KEY}.pin"))).expect("a lockfile");
    assert_eq!(pin.uid(), NOBODY, "a daemon could not open it");
}

#[test]
fn the_capabilities_suffice_to_verify_what_is_another_users() {
    let Some(mut verified) = sandboxed("verify", "", "") else { return };
    let cache = foreign_cache();
    let verified = verified.arg("--root").arg(cache.path()).args(["--json", "verify", "--deep"]);
    let verified = verified.output().expect("setpriv");
    let complaints = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && complaints.is_empty(), "{complaints}");
    let report: Value = serde_json::from_slice(&verified.stdout).expect("JSON");
    assert_eq!((&report["checked"], &report["healthy"]), (&1.into(), &1.into()), "{report}");
}

/// A process of another user that has the pin locked, until it is dropped.
struct Viewer(Child);

impl Viewer {
    fn watch(cache: &Path) -> Self {
        let mut child = Command::new("setpriv")
            .args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")])
            .args(["--clear-groups", "flock", "--shared", "--no-fork"])
            .arg(cache.join(format!(".{KEY}.pin")))
            .args(["sh", "-c", "echo held; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("setpriv");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("a line");
        assert_eq!(line, "held\n");
        Self(child)
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Each line of the unit that has to do with it is needed: without it, nobody is named.
#[test]
fn the_sandbox_lets_a_sweep_say_who_holds_a_lock() {
    let none = Value::Array(Vec::new());
    for (without, more, are_named) in
        [("", "", true), ("CAP_SYS_PTRACE", "", false), ("", "\nProcSubset=pid\n", false)]
    {
        let Some(mut swept) = sandboxed("sweep", without, more) else { return };
        let cache = foreign_cache();
        let viewer = Viewer::watch(cache.path());
        let swept = swept.arg("--root").arg(cache.path()).args(["--json", "sweep"]);
        let swept = swept.args(["--max-entries", "0"]).output().expect("setpriv");
        let report: Value = serde_json::from_slice(&swept.stdout).expect("JSON");
        let entry = &report["entries"][0];
        assert_eq!(
            (&entry["action"], &entry["reason"]),
            (&"kept".into(), &"pinned".into()),
            "{report}"
        );
        let holder = serde_json::json!([{ "pid": viewer.0.id(), "command": "cat" }]);
        let expected = if are_named { &holder } else { &none };
        assert_eq!(&entry["in_use"]["holders"], expected, "without '{without}', with '{more}'");
    }
}

/// What the package's file of defaults offers is what the program reads.
#[test]
fn the_defaults_name_variables_that_exist() {
    let defaults = fs::read_to_string(repository().join("packaging/hls-cache.default"));
    let defaults = defaults.expect("the defaults");
    let names: Vec<&str> = defaults
        .lines()
        .filter_map(|line| Some(line.strip_prefix('#')?.split_once('=')?.0))
        .filter(|name| name.starts_with("HLS_CACHE_"))
        .collect();
    assert_eq!(names.len(), 6, "{names:?}");
    // Every text is a path and a quality, so the program can refuse none: its help must know them.
    let free = ["HLS_CACHE_LIBRARY", "HLS_CACHE_QUALITIES"];
    let help = Command::new(env!("CARGO_BIN_EXE_hls-cache")).args(["help", "sweep"]).output();
    let help = String::from_utf8(help.expect("hls-cache").stdout).expect("UTF-8");
    let is_known = |name: &str| help.split_whitespace().any(|word| word == format!("{name}]"));
    assert!(free.into_iter().all(is_known), "{help}");
    for name in names.into_iter().filter(|name| !free.contains(name)) {
        let refused = Command::new(env!("CARGO_BIN_EXE_hls-cache"))
            .args(["--root", "/", "sweep", "--dry-run"])
            .env("HLS_CACHE_MAX_SIZE", "1G")
            .env(name, "nonsense")
            .output()
            .expect("hls-cache");
        let complaint = String::from_utf8_lossy(&refused.stderr);
        assert!(refused.status.code() == Some(2) && complaint.contains(name), "{complaint}");
    }
}
