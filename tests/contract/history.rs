//! `stats --history`: days, regret and what other sizes would do, from logs whose history is known.

use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::common::{Age, Size, TestCache, key, need};

fn history(cache: &TestCache, options: &[&str]) -> Value {
    let args = [&["--json", "stats", "--history"], options].concat();
    cache.run(args).success().untouched().json()["history"].take()
}

fn unix_now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_secs()).expect("seconds")
}

/// Twenty rounds of 40 plays, each of 1 MiB: 30 films, five that are played once, and five of the 30 again. At 20 MiB
/// only these five are hits; from 35 MiB on all 30 are.
fn plays(cache: &TestCache) -> String {
    let play = |kind: &str, film: u64, ago| {
        let line = cache.event(kind, &format!("{film:02}"), ago);
        format!("{} {}\n", line.trim_end(), 1.mib())
    };
    let mut log = String::new();
    for round in 0..20_u64 {
        let ago = (21 - round).hours();
        for film in 0..30 {
            log += &play("miss", film, ago);
        }
        let first = 30 + round * 5;
        for once in first..first + 5 {
            log += &play("miss", once, ago);
        }
        for film in 25..30 {
            log += &play("hit", film, ago);
        }
    }
    log
}

#[test]
fn the_replay_counts_hits_of_other_sizes_and_the_advice_follows() {
    let cache = TestCache::new();
    let log = plays(&cache);
    let cache = cache.events(&log);
    let history = history(&cache, &["--max-size", "20M"]);
    let sizes = history["what_if"].as_array().unwrap();
    assert_eq!(sizes.len(), 16);
    let at = |place: usize| (&sizes[place]["max_size"], &sizes[place]["hits"]);
    // The budget: the five that are played again at once are hits, one in eight plays.
    assert_eq!(at(9), (&json!(20.mib()), &json!(100)));
    // The 30 films, and those that were played once in between.
    assert_eq!(at(12), (&json!(40.mib()), &json!(100 + 19 * 30)));
    assert_eq!(sizes[12]["hit_rate_percent"], 84);
    assert_eq!(history["logged"], json!({"requests": 800, "hits": 100, "hit_rate_percent": 13}));
    let advice = &history["advice"];
    assert_eq!(advice["code"], "larger");
    assert_eq!(advice["max_size"], sizes[12]["max_size"]);
    assert_eq!(
        advice["text"],
        "at 40 MiB, 71% more of the plays would have been hits; beyond that, nothing more"
    );
    assert_eq!(history["guessed_sizes"], 0);
}

#[test]
fn the_budget_is_the_one_given_else_the_last_sweeps_else_what_is_there() {
    let cache = TestCache::new().sealed("a", 8.mib(), 5.hours());
    let hit = cache.event("hit", "a", 2.hours());
    let cache = cache.events(&hit);
    let budget = |cache: &TestCache, options: &[&str]| {
        let json =
            cache.run([&["--json", "stats", "--history"], options].concat()).success().json();
        (json["history"]["what_if"][9]["max_size"].clone(), json["limit_bytes"].clone())
    };
    assert_eq!(budget(&cache, &[]), (json!(8.mib()), Value::Null));
    let cache = cache.events(&(hit + "1700000000 sweep max_size=5000 exit=0\n"));
    assert_eq!(budget(&cache, &[]), (json!(5000), json!(5000)));
    let cache = cache.env("HLS_CACHE_MAX_SIZE", "7000");
    assert_eq!(budget(&cache, &[]), (json!(7000), json!(7000)));
    assert_eq!(budget(&cache, &["--max-size", "9000"]), (json!(9000), json!(9000)));
    // A sweep that had no budget says nothing of one.
    let cache = TestCache::new().events("1700000000 sweep older_than=5 exit=0\n");
    assert_eq!(budget(&cache, &[]), (Value::Null, Value::Null));
    assert_eq!(history(&cache, &[])["what_if"], json!([]));
}

#[test]
fn evictions_that_were_wanted_again_are_regretted() {
    let cache = TestCache::new().sealed("there", 8.kib(), 5.hours());
    let evict = |name: &str, ago: Duration, more: &str| {
        format!("{} {more}\n", cache.event("evict", name, ago).trim_end())
    };
    let log = evict("missed", 9.hours(), "5000 3600 over-budget")
        + &evict("there", 9.hours(), "7000 7200 over-budget")
        + &evict("gone", 9.hours(), "9000 86400 min-free")
        + &cache.event("miss", "missed", 8.hours())
        + &cache.event("hit", "missed", 6.hours());
    let history = history(&cache.events(&log), &[]);
    assert_eq!(
        history["regret"],
        json!({"evictions": 3, "regretted": 2, "bytes": 12_000, "median_seconds": 3600})
    );
    assert_eq!(history["evicted_age_seconds"], json!({"least": 3600, "median": 7200}));
    assert_eq!(history["hit_age_seconds"], json!({"median": 7200, "p90": 7200}));
    assert_eq!(history["advice"]["code"], "unknown");
}

#[test]
fn without_logged_misses_the_report_says_what_regret_counts() {
    let cache = TestCache::new().sealed("there", 8.kib(), 5.hours());
    let log = cache.event("evict", "there", 9.hours()).trim_end().to_owned() + " 7000 7200\n";
    let log = log + &cache.event("hit", "there", 6.hours());
    let cache = cache.events(&log);
    let shown =
        cache.command(["stats", "--history"]).env("COLUMNS", "100").run().success().stdout();
    let shown = shown.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        shown.contains("no misses are logged, so only entries that are there again"),
        "{shown}"
    );
    assert!(shown.contains("advice none: no misses are logged"), "{shown}");
}

/// `date` of coreutils, which reads time zones in its own way.
fn date(zone: &str, time: i64) -> String {
    let date =
        Command::new("date").args(["-d", &format!("@{time}"), "+%F"]).env("TZ", zone).output();
    String::from_utf8(date.expect("date").stdout).expect("UTF-8").trim_end().to_owned()
}

#[test]
fn days_are_those_of_local_time() {
    if !need::tool("date") {
        return;
    }
    let now = unix_now();
    // The clock of the last is put forward three days ago and back six days ago (J counts from 1, without a leap day).
    let day_of_year = |ago: i64| {
        let time = format!("@{}", now - ago * 86_400);
        let day = Command::new("date").args(["-u", "-d", &time, "+%-j"]).output().expect("date");
        let day = String::from_utf8(day.stdout).expect("UTF-8");
        day.trim_end().parse::<u64>().expect("a day of the year").min(365)
    };
    let changing = format!("AAA0BBB-5,J{}/12,J{}/12", day_of_year(3), day_of_year(6));
    for zone in ["UTC0", "Europe/Berlin", "America/St_Johns", "XXX-14", "XXX12", &changing] {
        let times: Vec<i64> = (1..40).map(|n| now - 86_400 - n * 7 * 3600).collect();
        let lines: Vec<String> =
            times.iter().map(|time| format!("{time} hit {}\n", key("a"))).collect();
        let log = lines.concat();
        let cache = TestCache::new().events(&log).env("TZ", zone);
        let history = history(&cache, &[]);
        let days = history["days"].as_array().unwrap();
        assert_eq!(days.len(), 14, "{zone}");
        for day in days {
            let expected =
                times.iter().filter(|&&time| day["date"] == date(zone, time).as_str()).count();
            assert_eq!(day["hits"], expected, "{zone} {day}");
        }
        let all: u64 = days.iter().map(|day| day["hits"].as_u64().unwrap()).sum();
        assert_eq!(all, 39, "{zone}");
    }
}

#[test]
fn a_time_zone_that_does_not_exist_is_utc() {
    for zone in ["Nowhere/Land", "", "\u{1b}[31m", ":", "/dev/null", "../../etc/passwd"] {
        let cache = TestCache::new().env("TZ", zone);
        let log = cache.event("hit", "a", 2.days());
        let days = history(&cache.events(&log), &[])["days"].take();
        let hits = |day: &Value| day["hits"].as_u64().unwrap();
        assert_eq!(days.as_array().unwrap().iter().map(hits).sum::<u64>(), 1, "{zone:?}");
    }
}

#[test]
fn only_history_replays() {
    let cache = TestCache::new();
    let log = plays(&cache);
    let json = cache.events(&log).run(["--json", "stats"]).success().json();
    assert_eq!(json.get("history"), None);
    TestCache::new().run(["stats", "--history", "--prometheus"]).code(2).complains_of("--history");
}

#[test]
fn the_metrics_tell_of_evictions_and_of_the_last_sweep() {
    let cache = TestCache::new().sealed("there", 8.kib(), 5.hours());
    let samples = |cache: &TestCache| -> Vec<String> {
        let text = cache.run(["stats", "--prometheus"]).success().stdout();
        let root = cache.root().canonicalize().unwrap();
        let label = format!("root=\"{}\"", root.display());
        let lines = text.lines().filter(|line| {
            ["evictions_", "evicted_", "last_sweep", "limit"]
                .iter()
                .any(|name| line.starts_with(&format!("hls_cache_{name}")))
        });
        lines.map(|line| line.replace(&label, "")).collect()
    };
    assert_eq!(samples(&cache), ["hls_cache_evictions_regretted{} 0"], "the rest is not known");
    let evict = cache.event("evict", "there", 9.hours()).trim_end().to_owned() + " 7000 7200\n";
    let cache = cache.events(&(evict + "1700000000 sweep max_size=5000 exit=3\n"));
    assert_eq!(
        samples(&cache),
        [
            "hls_cache_limit_bytes{} 5000",
            "hls_cache_evictions_regretted{} 1",
            "hls_cache_evicted_age_seconds{,statistic=\"least\"} 7200",
            "hls_cache_evicted_age_seconds{,statistic=\"median\"} 7200",
            "hls_cache_last_sweep_timestamp_seconds{} 1700000000",
            "hls_cache_last_sweep_exit_status{} 3",
        ]
    );
}

#[test]
fn stats_says_when_the_last_sweep_ran_what_it_freed_and_whether_it_met_its_limits() {
    let said = |fields: &str, options: &[&str]| {
        let cache = TestCache::new().sealed("a", 5.kib(), 9.hours());
        let sweep = cache.event("sweep", "a", 2.hours());
        let time = sweep.split(' ').next().unwrap();
        let cache = cache.events(&format!("{time} sweep {fields}\n"));
        let shown = cache.run([&["stats"], options].concat()).success().stdout();
        let line = shown.lines().find(|line| line.starts_with("last sweep ")).expect("a line");
        line.replace("2h 0m ago", "AGO").split_once(' ').unwrap().1.trim_start().to_owned()
    };
    let sweep = "max_size=5000 removed=2 freed=3072 left=0";
    assert_eq!(
        said(&format!("{sweep} exit=0"), &[]),
        "sweep AGO with this budget, freed 3 KiB (2 entries), met its limits"
    );
    assert_eq!(
        said(&format!("{sweep} exit=3"), &["--max-size", "1G"]),
        "sweep AGO, freed 3 KiB (2 entries), did not meet its limits"
    );
    assert_eq!(
        said("max_entries=5 removed=1 freed=0 left=0 exit=1", &[]),
        "sweep AGO, freed 0 B (1 entry), had errors"
    );
    assert_eq!(said("max_entries=5", &[]), "sweep AGO");
    let none = TestCache::new().run(["stats"]).success().stdout();
    assert!(none.contains("\nlast sweep none logged\n"), "{none}");
}
