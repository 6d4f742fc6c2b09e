//! `verify --deep` from outside: what it adds to `verify`, and that it accuses nothing healthy.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

const KEY: &str = "0123456789abcdef";

/// A root with the entry of `tests/fixtures`, sealed.
fn root() -> TempDir {
    let root = TempDir::new().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/entry");
    for directory in ["video", "subs"] {
        let target = root.path().join(KEY).join(directory);
        fs::create_dir_all(&target).unwrap();
        for file in fs::read_dir(fixture.join(directory)).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), target.join(file.file_name())).unwrap();
        }
    }
    fs::write(root.path().join(KEY).join(".complete"), "").unwrap();
    root
}

/// The exit code, and the faults of the one entry as (code, file).
fn verify(root: &Path, options: &[&str]) -> (i32, Vec<(String, String)>) {
    let run = Command::new(env!("CARGO_BIN_EXE_hls-cache"))
        .args(["--json", "--root"])
        .arg(root)
        .arg("verify")
        .args(options)
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&run.stdout).unwrap();
    let faults = report["entries"].as_array().unwrap().iter();
    let faults = faults.flat_map(|entry| entry["faults"].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let faults = faults.map(|fault| (text(&fault["code"]), text(&fault["file"]))).collect();
    (run.status.code().unwrap(), faults)
}

#[test]

fn deep_accuses_nothing_healthy() {
    let root = root();
    assert_eq!(verify(root.path(), &["--deep"]), (0, vec![]));
}

#[test]

fn deep_finds_what_a_stat_passes_over() {
    let root = root();
    let video = root.path().join(KEY).join("video");
    let (first, second) = (video.join("seg-1.m4s"), video.join("seg-2.m4s"));
    fs::copy(&first, &second).unwrap();
    let cut = fs::OpenOptions::new().write(true).open(video.join("seg-4.m4s")).unwrap();
    cut.set_len(5000).unwrap();
    fs::write(root.path().join(KEY).join("subs/sub-0.vtt"), "<!DOCTYPE html>\n").unwrap();

    assert_eq!(verify(root.path(), &[]), (0, vec![]));
    let expected = [
        ("timeline-overlap", "video/seg-2.m4s"),
        ("truncated", "video/seg-4.m4s"),
        ("bad-subtitle", "subs/sub-0.vtt"),
    ];
    let expected = expected.map(|(code, file)| (code.to_owned(), file.to_owned()));
    assert_eq!(verify(root.path(), &["--deep"]), (3, expected.to_vec()));
}
