//! `stats`: what is there, counted against an independent walk.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::time::SystemTime;

use serde_json::{Value, json};
use walkdir::WalkDir;

use crate::common::{Age, Size, TestCache, decisions, key, name_of, pin_name};

fn stats(cache: &TestCache, options: &[&str]) -> Value {
    cache.run([&["--json", "stats"], options].concat()).success().untouched().json()
}

fn mixed() -> TestCache {
    TestCache::new()
        .sealed("a", 10.kib(), 5.days())
        .allocated("b", 300.kib(), 1.days())
        .partial("p", 7.kib(), 3.days())
        .partial("w", 9.kib(), 2.minutes())
        .in_entry("a", "subs/sub-0.vtt", b"WEBVTT\n")
        .in_entry("a", "unknown/deep/file", b"12345")
        .used("a", 5.days())
        .pinned("b")
}

/// Seconds since 1970 of a time in a report.
fn seconds(time: &Value) -> i64 {
    let time = time.as_str().expect("a time");
    assert!(time.ends_with('Z'), "{time} is not UTC");
    time.parse::<jiff::Timestamp>().expect("RFC 3339").as_second()
}

#[test]
fn the_totals_are_those_of_an_independent_walk() {
    let cache = mixed();
    let json = stats(&cache, &[]);
    let entries = ["a", "b", "p", "w"].map(|name| cache.entry_path(name));
    let files = entries
        .iter()
        .flat_map(WalkDir::new)
        .filter(|found| !found.as_ref().unwrap().file_type().is_dir());
    let mut total = cache.totals(["a", "b", "p", "w"]);
    total["files"] = files.count().into();
    assert_eq!(json["total"], total);
    for (name, entries) in [
        ("sealed", &["a", "b"][..]),
        ("partial", &["p", "w"]),
        ("evictable", &["a", "p"]),
        ("pinned", &["b"]),
        ("writing", &["w"]),
        ("abandoned", &["p"]),
        ("trash", &[]),
    ] {
        assert_eq!(json[name], cache.totals(entries.iter().copied()), "{name}");
    }
    let used = |name| fs::metadata(cache.entry_path(name)).unwrap().mtime();
    assert_eq!(seconds(&json["oldest_used"]), used("a"));
    // "w" is as young as its making; its directory is what counts.
    assert_eq!(seconds(&json["newest_used"]), used("w"));
}

#[test]
fn symlinks_count_as_themselves() {
    let cache = TestCache::new().outside("far").sealed("a", 10.kib(), 1.days());
    let cache = cache.link(format!("{}/video/link", key("a")), "../../../far/precious");
    let bytes = &stats(&cache, &[])["total"]["bytes"];
    assert_eq!(*bytes, 10.kib() + "../../../far/precious".len() as u64);
}

#[test]
fn an_empty_cache_has_zeros_and_unknowns() {
    let json = stats(&TestCache::new(), &[]);
    let nothing = json!({"entries": 0, "bytes": 0, "allocated_bytes": 0});
    for zero in ["sealed", "partial", "evictable", "pinned", "writing", "abandoned", "trash"] {
        assert_eq!(json[zero], nothing, "{zero}");
    }
    assert_eq!(json["total"]["entries"], 0);
    assert_eq!(json["total"]["files"], 0);
    assert_eq!(json["foreign"], json!({"count": 0, "names": []}));
    assert_eq!(json["events_skipped"], 0);
    let unknown = [
        "oldest_used",
        "newest_used",
        "hits",
        "misses",
        "hit_rate_percent",
        "limit_bytes",
        "last_sweep",
    ];
    for unknown in unknown {
        assert_eq!(json.get(unknown), Some(&Value::Null), "{unknown}");
    }
}

#[test]
fn the_limit_is_the_one_that_is_asked_about() {
    assert_eq!(stats(&mixed(), &["--max-size", "10GiB"])["limit_bytes"], 10u64 << 30);
}

#[test]
fn trash_and_foreign_names_are_counted_and_are_no_entries() {
    let cache = mixed()
        .trash("old")
        .file("README", b"foreign")
        .dir(".trash.old")
        .file(format!(".{}.pin", key("a")), b"")
        .file(format!(".{}.write", key("a")), b"")
        .file(".maintenance.lock", b"")
        .events("");
    let json = stats(&cache, &[]);
    let trash = cache.root().join(format!(".trash.{}.0123456789abcdef", key("old")));
    let (bytes, allocated) = TestCache::usage(&trash);
    let trash = json!({"entries": 1, "bytes": bytes, "allocated_bytes": allocated});
    assert_eq!(json["trash"], trash);
    assert_eq!(json["foreign"], json!({"count": 2, "names": [".trash.old", "README"]}));
    assert_eq!(json["total"]["entries"], 4);
}

#[test]
fn entries_lists_each_with_its_two_times() {
    let cache = mixed().used("p", 2.hours());
    let json = stats(&cache, &["--entries"]);
    let list = json["entries"].as_array().unwrap();
    assert_eq!(list.len(), 4);
    let of = |name| list.iter().find(|entry| entry["key"] == key(name)).unwrap();
    let now =
        i64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs())
            .unwrap();
    let p = of("p");
    assert_eq!((&p["state"], &p["in_use"]), (&json!("partial"), &Value::Null));
    assert_eq!(of("b")["state"], "sealed");
    assert_eq!(of("b")["in_use"]["how"], "pin");
    assert_eq!(of("b")["in_use"]["holders"][0]["command"], "cat");
    assert_eq!(of("w")["in_use"], json!({"how": "writing", "holders": []}));
    assert_eq!((&p["bytes"], &p["files"]), (&json!(7.kib()), &json!(5)));
    let allocated = TestCache::usage(&cache.entry_path("b")).1;
    assert_eq!(of("b")["allocated_bytes"], allocated);
    let age = |time: &Value| now - seconds(time);
    assert!((7200..7800).contains(&age(&p["last_used"])), "{p}");
    assert!((7200..7800).contains(&p["age_seconds"].as_u64().unwrap()), "{p}");
    assert!((3 * 86400..3 * 86400 + 600).contains(&age(&p["last_written"])), "{p}");
    assert_eq!(stats(&cache, &[]).get("entries"), None, "only with --entries");
}

#[test]
fn the_list_is_sorted_as_asked() {
    let cache = TestCache::new()
        .sealed("b", 30.kib(), 1.days())
        .sealed("a", 20.kib(), 2.days())
        .sealed("c", 10.kib(), 3.days())
        .sealed("d", 40.kib(), 4.days());
    let order = |sort: &str| {
        let json = stats(&cache, &["--entries", "--sort", sort]);
        let list = json["entries"].as_array().unwrap();
        list.iter().map(|entry| name_of(entry["key"].as_str().unwrap())).collect::<String>()
    };
    assert_eq!(order("key"), "abcd");
    // What would go first, and what would free most.
    assert_eq!((&*order("used"), &*order("size")), ("dcab", "dbac"));
    cache.run(["stats", "--entries", "--sort", "colour"]).code(2).complains_of("colour");
}

#[test]
fn the_hit_rate_is_that_of_the_log() {
    let cache = TestCache::new();
    let log = cache.event("hit", "a", 2.days()) + &cache.event("miss", "a", 2.days()).repeat(7);
    let json = stats(&cache.events(&log), &[]);
    assert_eq!((&json["hits"], &json["misses"]), (&json!(1), &json!(7)));
    assert_eq!(json["hit_rate_percent"], 13);
}

#[test]
fn the_last_day_is_counted_apart() {
    let cache = TestCache::new();
    let log = cache.event("hit", "a", 25.hours()).repeat(3)
        + &cache.event("hit", "a", 23.hours())
        + &cache.event("miss", "b", 1.hours()).repeat(3);
    let json = stats(&cache.events(&log), &[]);
    assert_eq!((&json["hits"], &json["misses"]), (&json!(4), &json!(3)));
    assert_eq!(json["hit_rate_percent"], 57);
    assert_eq!(json["last_24h"], json!({"hits": 1, "misses": 3, "hit_rate_percent": 25}));
}

#[test]
fn rates_are_unknown_and_not_zero_without_a_hit_or_miss() {
    let cache = TestCache::new();
    let log = cache.event("evict", "a", 1.hours()) + &cache.event("invalidate", "a", 1.hours());
    let json = stats(&cache.events(&log), &[]);
    for unknown in ["hits", "misses", "hit_rate_percent"] {
        assert_eq!(json.get(unknown), Some(&Value::Null), "{unknown}");
    }
    let unknown = json!({"hits": null, "misses": null, "hit_rate_percent": null});
    assert_eq!(json["last_24h"], unknown);
    assert_eq!(json["events_skipped"], 0);
}

#[test]
fn lines_that_do_not_parse_are_skipped_and_counted() {
    let cache = TestCache::new();
    let good = cache.event("hit", "a", 1.hours());
    let sized = good.trim_end().to_owned() + " 12345\n";
    // The last is a write that was cut short.
    let bad = ["nonsense\n", "17000"];
    let log = good + &sized + &bad.concat();
    let json = stats(&cache.events(&log), &[]);
    assert_eq!(json["hits"], 2);
    assert_eq!(json["events_skipped"], bad.len());
}

#[test]
fn every_form_of_a_line_is_read_and_so_is_what_a_later_version_says_of_a_sweep() {
    let cache = TestCache::new();
    let log = "1700000000 evict 6100000000000000 5\n\
        1700000000 evict 6100000000000000 5 600\n\
        1700000000 evict 6100000000000000 5 600 over-budget\n\
        1700000000 invalidate 6100000000000000 5 600 damaged\n\
        1700000000 sweep max_size=5 low_water=90 removed=2 freed=10 left=0 exit=0\n\
        1700000000 sweep older_than=5 colour=blue removed=2 new= exit=0\n";
    let cache = cache.events(log);
    assert_eq!(stats(&cache, &[])["events_skipped"], 0);
    let metrics = cache.run(["stats", "--prometheus"]).success().stdout();
    assert!(metrics.contains("event=\"evict\"} 3\n"), "{metrics}");
    assert!(metrics.contains("event=\"invalidate\"} 1\n"), "{metrics}");
}

#[test]
fn a_log_that_is_not_text_is_skipped_too() {
    let cache = TestCache::new();
    let log = [cache.event("miss", "a", 1.hours()).as_bytes(), b"\xff\xfe\0\n"].concat();
    let json = stats(&cache.file(".events.log", &log), &[]);
    assert_eq!((&json["misses"], &json["events_skipped"]), (&json!(1), &json!(1)));
}

#[test]
fn people_get_something_to_read_in_every_form() {
    let cache = mixed();
    for options in [&[][..], &["--entries"], &["--histogram"], &["--prometheus"]] {
        let run = cache.run([&["stats"], options].concat()).success().untouched();
        assert!(!run.stdout().is_empty(), "{options:?}");
    }
}

#[test]
fn the_last_sweep_is_told_as_the_log_has_it() {
    let cache = TestCache::new()
        .sealed("a", 10.kib(), 5.days())
        .sealed("b", 10.kib(), 4.days())
        .pinned("b");
    let sweep = ["--json", "sweep", "--max-size", "9K", "--min-budget", "0", "--best-effort"];
    let sweep = [&sweep[..], &["--keep-recent", "1h", "--low-water", "90"]].concat();
    let swept = cache.run(sweep).code(3).removed_only(["a"]).json();
    let told = &stats(&cache, &[])["last_sweep"];
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let ago = now.cast_signed() - seconds(&told["time"]);
    assert!((0..600).contains(&ago), "{told}");
    assert_eq!(told["limits"], swept["limits"]);
    assert_eq!(
        swept["limits"],
        json!({
            "max_size": 9.kib(), "max_entries": null, "min_free": null, "older_than_seconds": null,
            "keep_recent_seconds": 3600, "low_water_percent": 90,
        })
    );
    assert_eq!(told["removed"], 1);
    assert_eq!(told["freed_bytes"], swept["freed_bytes"]);
    assert_eq!(told["left_bytes"], swept["after"]["bytes"]);
    assert_eq!(told["exit"], 3);
}

/// Hand-made lines say less.
#[test]
fn what_the_line_of_the_last_sweep_does_not_say_is_null() {
    let cache = TestCache::new().events("1700000000 sweep max_entries=5\n");
    let told = &stats(&cache, &[])["last_sweep"];
    assert_eq!(told["time"], "2023-11-14T22:13:20Z");
    assert_eq!(told["limits"]["max_entries"], 5);
    for unknown in ["removed", "freed_bytes", "left_bytes", "exit"] {
        assert_eq!(told[unknown], Value::Null, "{unknown}");
    }
}

#[test]
fn of_many_foreign_names_ten_are_told_each_to_the_last_byte() {
    let mut cache = TestCache::new().file(OsStr::from_bytes(b"\xc3\x28"), b"");
    for n in 0..12 {
        cache = cache.file(format!("f{n:02}"), b"");
    }
    cache = cache.file("\u{e9}", b"").file(OsStr::from_bytes(b"a\xff"), b"");
    let json = cache.run(["--json", "stats"]).success().untouched().json();
    let names = ["a\u{fffd}", "f00", "f01", "f02", "f03", "f04", "f05", "f06", "f07", "f08"];
    let mut hex = vec![Value::Null; 10];
    hex[0] = json!("61ff");
    assert_eq!(json["foreign"], json!({"count": 15, "names": names, "names_hex": hex}));
}

#[test]
fn the_disk_is_that_of_the_cache() {
    let Some(cache) = TestCache::on_tmpfs("size=1m,mode=755") else { return };
    let cache = cache.allocated("a", 100.kib(), 1.days());
    let disk = &stats(&cache, &[])["disk"];
    let used = TestCache::usage(&cache.root()).1;
    assert_eq!(*disk, json!({"total_bytes": 1.mib(), "free_bytes": 1.mib() - used}));
}

/// Whether it is pinned comes before whether it is being encoded, in every command.
#[test]
fn an_entry_whose_pin_cannot_be_asked_is_an_error_and_not_being_encoded() {
    let cache = TestCache::new()
        .partial("p", 5.kib(), 1.minutes())
        .sealed("a", 5.kib(), 5.days())
        .dir(pin_name("p"));
    let stats = cache.run(["--json", "stats"]).code(1).json();
    for unknown in ["pinned", "writing", "abandoned"] {
        assert_eq!(stats[unknown]["entries"], 0, "{unknown}");
    }
    assert_eq!(stats["evictable"], cache.totals(["a"]));
    let sweep = ["--json", "sweep", "-n", "--max-entries", "0"];
    let json = cache.run(sweep).code(1).json();
    assert_eq!(decisions(&json, "kept"), [("p".into(), "error".into())]);
    assert_eq!(json["writing"]["entries"], 0);
}

/// A wrong path, or a disk that is not mounted, must not look healthy for ever.
#[test]
fn a_root_with_names_but_no_entry_is_warned_about() {
    let sweep = ["sweep", "--max-size", "1G"];
    let cache = TestCache::new().dir("photos");
    for command in [&["stats"][..], &sweep, &["gc-orphans"], &["verify"], &["invalidate", "--all"]]
    {
        cache.run(command).success().complains_of("that its disk is mounted");
    }
    // The tool's own files prove nothing: it made them here itself.
    let unmounted = TestCache::new();
    unmounted.run(sweep).success().complains_of("that its disk is mounted");
    // What only a cache has, when its last entry has gone.
    TestCache::new().file(pin_name("a"), b"").run(["stats"]).success().no_stderr();
    TestCache::new().run(["stats"]).success().no_stderr();
}
