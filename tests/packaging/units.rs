//! The systemd units are valid, sandboxed, and leave the tool what it needs.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::{has, missing, repository};

const SERVICE: &str = "hls-cache-sweep@.service";
const TIMER: &str = "hls-cache-sweep@.timer";
const NOBODY: u32 = 65534;

fn unit(name: &str) -> String {
    fs::read_to_string(repository().join("packaging").join(name)).expect(name)
}

/// The values of `name`, in order.
fn settings(unit: &str, name: &str) -> Vec<String> {
    let values = unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    values.map(str::to_owned).collect()
}

/// The units of one cache, `/srv/hls`, with a program that exists.
fn instance() -> (TempDir, Vec<PathBuf>) {
    let directory = tempfile::tempdir().expect("tempdir");
    let paths = [SERVICE, TIMER].map(|name| {
        let path = directory.path().join(name.replace('@', "@srv-hls"));
        let text = unit(name).replace("/usr/bin/hls-cache", env!("CARGO_BIN_EXE_hls-cache"));
        fs::write(&path, text).expect("a unit");
        path
    });
    (directory, paths.into())
}

#[test]
fn systemd_finds_no_fault_with_the_units() {
    if !has("systemd-analyze") {
        return;
    }
    let (_directory, paths) = instance();
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(&paths)
        .output()
        .expect("systemd-analyze");
    let complaints = String::from_utf8_lossy(&verified.stderr);
    // It looks at other units of the machine too.
    let ours: Vec<&str> = complaints.lines().filter(|line| line.contains("hls-cache")).collect();
    assert!(ours.is_empty() && verified.status.success(), "{complaints}");
}

#[test]
fn the_service_is_sandboxed() {
    if !has("systemd-analyze") {
        return;
    }
    let (_directory, paths) = instance();
    let judged = Command::new("systemd-analyze")
        // In tenths; 20 is "OK", and a new line without a sandbox would be at 96.
        .args(["security", "--offline=true", "--no-pager", "--threshold=20"])
        .arg(&paths[0])
        .output()
        .expect("systemd-analyze");
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
}

/// Files of another user, in directories that only that user may enter, with no more power than the
/// service has.
#[test]
fn the_capabilities_of_the_service_suffice() {
    if !rustix::process::geteuid().is_root() {
        missing("root");
        return;
    }
    if !has("setpriv") {
        return;
    }
    let base = tempfile::tempdir().expect("tempdir");
    let root = base.path().join("cache");
    let video = root.join("0123456789abcdef/video");
    fs::create_dir_all(&video).expect("an entry");
    fs::write(video.join("seg-0.m4s"), "x").expect("a segment");
    // Sticky, so that deleting takes more than being allowed to write.
    for (path, mode) in [(&video, 0o500), (&root, 0o1700)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    }
    for path in [&video.join("seg-0.m4s"), &video, video.parent().expect("an entry"), &root] {
        chown(path, Some(NOBODY), Some(NOBODY)).expect("chown");
    }

    let service = unit(SERVICE);
    let kept = settings(&service, "CapabilityBoundingSet").concat().to_lowercase();
    let kept: Vec<String> = kept.split(' ').map(|name| name.replace("cap_", "+")).collect();
    let swept = Command::new("setpriv")
        .args(["--no-new-privs", "--inh-caps=-all"])
        .arg(format!("--bounding-set=-all,{}", kept.join(",")))
        .arg(env!("CARGO_BIN_EXE_hls-cache"))
        .args(["--root", root.to_str().expect("UTF-8"), "sweep"])
        .args(["--max-entries", "0", "--min-age", "0s"])
        .output()
        .expect("setpriv");
    assert!(swept.status.success(), "{}", String::from_utf8_lossy(&swept.stderr));
    assert!(!root.join("0123456789abcdef").exists());
    let pin = fs::metadata(root.join(".0123456789abcdef.pin")).expect("a lockfile");
    assert_eq!(pin.uid(), NOBODY, "a daemon could not open it");
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
    assert_eq!(names.len(), 3, "{names:?}");
    for name in names {
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
