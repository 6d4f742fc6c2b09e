//! Metrics: what a real parser makes of them, and how the file for a collector is replaced.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::common::{Age, Size, TestCache, need};

/// Prints the samples as `[name, {label: value}, value]`, and each family's type and help.
const PARSE: &str = "
import json, sys
from prometheus_client.parser import text_string_to_metric_families
families = list(text_string_to_metric_families(sys.stdin.read()))
json.dump({
    'samples': [[s.name, s.labels, s.value] for f in families for s in f.samples],
    'families': [[f.name, f.type, f.documentation] for f in families],
}, sys.stdout)
";

/// What Prometheus' own parser makes of the text; `None`, said loudly, where it is not installed.
fn parsed(text: &str) -> Option<Value> {
    let python = |args: &[&str]| {
        Command::new("python3")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
    };
    let is_there = python(&["-c", "import prometheus_client.parser"])
        .and_then(std::process::Child::wait_with_output)
        .is_ok_and(|output| output.status.success());
    if !is_there {
        need::missing("python3 with the package prometheus-client");
        return None;
    }
    let mut child = python(&["-c", PARSE]).expect("python3");
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("python3 reads");
    let output = child.wait_with_output().expect("python3");
    assert!(output.status.success(), "not valid:\n{text}");
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

fn mixed() -> TestCache {
    let cache = TestCache::new()
        .sealed("a", 300.kib(), 5.days())
        .sealed("b", 20.kib(), 1.days())
        .partial("p", 7.kib(), 3.days())
        .partial("w", 9.kib(), 2.minutes())
        .pinned("b")
        .trash("old")
        .file("README", b"foreign");
    let log = cache.event("hit", "a", 30.hours()).repeat(3)
        + &cache.event("miss", "a", 1.hours())
        + &(cache.event("evict", "c", 2.hours()).trim_end().to_owned() + " 4096\n")
        + "torn";
    cache.events(&log)
}

/// The value of a sample with all these labels.
fn value(metrics: &Value, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let samples = metrics["samples"].as_array().expect("samples");
    let mut found = samples.iter().filter(|sample| {
        sample[0] == name && labels.iter().all(|(label, value)| sample[1][label] == *value)
    });
    let value = found.next()?[2].as_f64();
    assert!(found.next().is_none(), "more than one {name}");
    value
}

#[test]
fn a_real_parser_reads_them() {
    let cache = mixed();
    let run = cache.run(["stats", "--prometheus", "--max-size", "2G"]).success().no_stderr();
    let Some(metrics) = parsed(&run.stdout()) else { return };
    let root = cache.root().canonicalize().unwrap();
    let root = root.to_str().unwrap();
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    for (name, label, expected) in [
        ("hls_cache_entries", ("state", "sealed"), 2),
        ("hls_cache_entries", ("state", "partial"), 2),
        ("hls_cache_bytes", ("state", "sealed"), 320.kib()),
        ("hls_cache_bytes", ("state", "partial"), 16.kib()),
        ("hls_cache_files", ("root", root), 22),
        ("hls_cache_pinned_entries", ("root", root), 1),
        ("hls_cache_pinned_bytes", ("root", root), 20.kib()),
        ("hls_cache_open_entries", ("root", root), 0),
        ("hls_cache_read_entries", ("root", root), 0),
        ("hls_cache_writing_entries", ("root", root), 1),
        ("hls_cache_writing_bytes", ("root", root), 9.kib()),
        ("hls_cache_trash_entries", ("root", root), 1),
        ("hls_cache_trash_bytes", ("root", root), 7),
        ("hls_cache_foreign", ("root", root), 1),
        ("hls_cache_limit_bytes", ("root", root), 2 << 30),
        ("hls_cache_hits_total", ("root", root), 3),
        ("hls_cache_misses_total", ("root", root), 1),
        ("hls_cache_removals_total", ("event", "evict"), 1),
        ("hls_cache_removals_total", ("event", "orphan"), 0),
        ("hls_cache_removed_bytes_total", ("event", "evict"), 4096),
        ("hls_cache_events_skipped_total", ("root", root), 1),
        ("hls_cache_scan_errors", ("root", root), 0),
    ] {
        assert_eq!(value(&metrics, name, &[label]), Some(expected as f64), "{name} {label:?}");
    }
    let age = |name: &str| value(&metrics, name, &[]).expect("an age");
    assert!((432_000.0..432_600.0).contains(&age("hls_cache_oldest_use_age_seconds")));
    assert!((120.0..720.0).contains(&age("hls_cache_newest_use_age_seconds")));
    assert!(age("hls_cache_last_removal_timestamp_seconds") > 1.7e9);
    let counters = ["hits", "misses", "removals", "removed_bytes", "events_skipped"];
    for family in metrics["families"].as_array().unwrap() {
        let name = family[0].as_str().unwrap().trim_start_matches("hls_cache_");
        let kind = if counters.contains(&name) { "counter" } else { "gauge" };
        assert_eq!(family[1], kind, "{family}");
        assert!(!family[2].as_str().unwrap().is_empty(), "{family}");
    }
}

#[test]
fn what_is_not_known_is_absent() {
    let text = TestCache::new().run(["stats", "--prometheus"]).success().stdout();
    for name in [
        "limit_bytes",
        "oldest_use",
        "newest_use",
        "hits",
        "misses",
        "last_removal",
        "last_damaged",
    ] {
        assert!(!text.contains(&format!("hls_cache_{name}")), "{name}\n{text}");
    }
    let Some(metrics) = parsed(&text) else { return };
    assert_eq!(value(&metrics, "hls_cache_entries", &[("state", "sealed")]), Some(0.0));
}

/// The alert on a full disk goes by them, and the report in JSON has the same.
#[test]
fn the_disk_is_that_of_the_cache() {
    let Some(cache) = TestCache::on_tmpfs("size=8m") else { return };
    fs::write(cache.root().join("other"), vec![b'x'; 3 << 20]).unwrap();
    let text = cache.run(["stats", "--prometheus"]).success().stdout();
    let Some(metrics) = parsed(&text) else { return };
    let disk = cache.run(["--json", "stats"]).success().json()["disk"].clone();
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    for (name, field, expected) in [
        ("hls_cache_disk_bytes", "total_bytes", 8.mib()),
        ("hls_cache_disk_free_bytes", "free_bytes", 5.mib()),
    ] {
        assert_eq!(value(&metrics, name, &[]), Some(expected as f64), "{name}");
        assert_eq!(disk[field], expected, "{field}");
    }
}

#[test]
fn a_hostile_root_is_one_label() {
    let cache = TestCache::new();
    let root = cache.base().join("a\"b\\c\n\u{1b}d");
    fs::create_dir(&root).unwrap();
    let run = cache.bare(["--root", root.to_str().unwrap(), "stats", "--prometheus"]).run();
    let Some(metrics) = parsed(&run.success().stdout()) else { return };
    let label = metrics["samples"][0][1]["root"].as_str().unwrap();
    assert!(label.ends_with("/a\"b\\c\\n\\x1bd"), "{label}");
}

#[test]
fn what_could_not_be_read_is_a_metric_and_an_error() {
    let cache = mixed().dir(format!(".{}.pin", crate::common::key("a")));
    let run = cache.run(["stats", "--prometheus"]).code(1);
    let text = run.stdout();
    let line = text.lines().find(|line| line.starts_with("hls_cache_scan_errors{"));
    assert!(line.is_some_and(|line| line.ends_with(" 1")), "{run}");
}

fn textfile<'a>(cache: &'a TestCache, file: &Path, more: &[&str]) -> crate::common::Run<'a> {
    let options = [&["stats", "--textfile", file.to_str().unwrap()], more].concat();
    // As strict a umask as root's cron may have.
    cache.command(options).under(["sh", "-c", "umask 077; exec \"$@\"", "sh"]).run()
}

fn names_in(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap().map(|name| name.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).collect()
}

#[test]
fn the_textfile_is_new_readable_and_alone_and_a_timer_hears_nothing() {
    let cache = mixed().outside("collector");
    let directory = cache.outside_path("collector");
    fs::remove_file(directory.join("precious")).unwrap();
    let file = directory.join("hls.prom");
    fs::write(&file, "old\n").unwrap();
    let old = fs::File::open(&file).unwrap();
    let run = textfile(&cache, &file, &[]).success().no_stdout().no_stderr();
    run.kept(["a", "b", "p", "w"]);
    let metrics = fs::read_to_string(&file).unwrap();
    assert!(metrics.starts_with("# HELP hls_cache_entries ") && metrics.ends_with('\n'));
    let families = |text: &str| text.lines().filter(|line| line.starts_with("# TYPE ")).count();
    let printed = cache.run(["stats", "--prometheus"]).success().stdout();
    assert_eq!(families(&metrics), families(&printed), "{metrics}");
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o644);
    assert_eq!(names_in(&directory), ["hls.prom"]);
    // Not written over: who has it open still reads the old one.
    assert_eq!(std::io::read_to_string(old).unwrap(), "old\n");

    let json = textfile(&cache, &file, &["--json"]).success().json();
    assert_eq!(json["total"]["entries"], 4);
    assert!(textfile(&cache, &file, &["--entries"]).success().stdout().starts_with("key"));
    assert!(textfile(&cache, &file, &["--prometheus"]).success().stdout().starts_with("# HELP"));
}

#[test]
fn a_symlink_is_replaced_and_not_followed() {
    let cache = mixed().outside("far");
    let precious = cache.outside_path("far").join("precious");
    let link = cache.base().join("hls.prom");
    symlink(&precious, &link).unwrap();
    textfile(&cache, &link, &[]).success();
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    assert!(fs::symlink_metadata(&link).unwrap().is_file());
}

#[test]
fn devices_and_directories_are_not_replaced() {
    let cache = mixed().outside("far");
    let nowhere = cache.outside_path("far/missing/hls.prom");
    textfile(&cache, &nowhere, &[]).code(1).untouched().complains_of(nowhere.to_str().unwrap());
    let fifo = cache.base().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for file in
        [Path::new("/dev/null"), Path::new("/dev/stdout"), &fifo, &cache.outside_path("far")]
    {
        let before = fs::symlink_metadata(file).unwrap().file_type();
        textfile(&cache, file, &[]).code(1).no_stdout().complains_of(file.to_str().unwrap());
        assert_eq!(fs::symlink_metadata(file).unwrap().file_type(), before, "{}", file.display());
    }
    assert_eq!(names_in(&cache.outside_path("far")), ["precious"]);
}

#[test]
fn a_limit_on_the_size_of_files_leaves_the_old_file_whole_and_no_litter() {
    let cache = mixed().outside("collector");
    let directory = cache.outside_path("collector");
    let file = directory.join("precious");
    let stats = cache.command(["stats", "--textfile", file.to_str().unwrap()]);
    let limited = stats.under(["sh", "-c", "ulimit -f 1; exec \"$0\" \"$@\""]);
    limited.run().code(1).no_stdout().complains_of("precious: cannot write the metrics");
    assert_eq!(names_in(&directory), ["precious"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
fn failing_leaves_the_old_file_whole_and_no_litter() {
    let Some(cache) = TestCache::on_tmpfs("size=64k") else { return };
    let file = cache.root().join("hls.prom");
    fs::write(&file, "the last run's\n").unwrap();
    let mut filler = fs::File::create(cache.root().join("filler")).unwrap();
    while filler.write_all(&[0; 4096]).is_ok() {}
    let before = names_in(&cache.root());
    let run = textfile(&cache, &file, &["--json"]).code(1).complains_of("hls.prom");
    assert_eq!(run.json()["errors"].as_array().unwrap().len(), 1, "{run}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "the last run's\n");
    assert_eq!(names_in(&cache.root()), before);
}
