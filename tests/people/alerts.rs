//! The alerts of the package, on metrics that the tool wrote: each fires for the bad state, and not for the good one.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use crate::common::{Age, Size, TestCache, key};
use crate::promtool::{self, HOST, Metrics, Timeline, assert_valid_rules, both_streams};

const SWEEP: [&str; 5] = ["sweep", "--max-size", "10M", "--min-budget", "0"];

fn small() -> TestCache {
    TestCache::new().sealed("a", 1.mib(), 5.days())
}

/// A sweep that meets its limit, and the metrics after it.
fn swept(cache: &TestCache) -> Metrics {
    cache.run(SWEEP).success();
    Metrics::of(cache)
}

/// The daemon logs these lines.
fn log(cache: &TestCache, lines: &str) {
    let log = OpenOptions::new().append(true).create(true).open(cache.root().join(".events.log"));
    log.expect("the log").write_all(lines.as_bytes()).expect("the log");
}

#[test]
fn promtool_finds_no_fault_with_the_rules() {
    if promtool::is_there() {
        assert_valid_rules(&promtool::rules());
    }
}

#[test]
fn promtool_finds_no_fault_with_the_metrics() {
    if !promtool::is_there() {
        return;
    }
    let cache = small().pinned("a").trash("old");
    log(&cache, &cache.event("hit", "a", 1.hours()));
    cache.run(SWEEP).success();
    let text = cache.run(["stats", "--prometheus"]).success().stdout();
    let checked = promtool::promtool(&["check", "metrics"], &text);
    let complaints = both_streams(&checked);
    assert!(checked.status.success() && complaints.is_empty(), "{complaints}");
}

#[test]
fn three_hours_without_a_sweep_raise_an_alert_that_the_next_sweep_ends() {
    if !promtool::is_there() {
        return;
    }
    let cache = small();
    let mut late = Timeline::default();
    late.hourly(4, || swept(&cache)).firing([]);
    // Written every few minutes, without a sweep.
    late.hold([&swept(&cache)], 2.hours() + 55.minutes()).firing([]);
    late.hold_on(15.minutes()).firing(["HlsCacheNotSwept"]);
    late.hold([&swept(&cache)], 5.minutes()).firing([]).check();
}

#[test]
fn metrics_that_vanish_do_not_end_the_watch_over_sweeps() {
    if !promtool::is_there() {
        return;
    }
    let cache = small();
    let mut vanished = Timeline::default();
    vanished.hourly(2, || swept(&cache)).firing([]);
    vanished.hold([], 3.hours()).firing(["HlsCacheNotSwept"]).check();
}

#[test]
fn a_cache_that_was_never_swept_raises_an_alert_after_three_hours() {
    if !promtool::is_there() {
        return;
    }
    let cache = small();
    let mut never = Timeline::default();
    never.hold([&Metrics::of(&cache)], 3.hours()).firing([]);
    never.hold([&Metrics::of(&cache)], 10.minutes()).firing(["HlsCacheNeverSwept"]);
    never.hold([&swept(&cache)], 5.minutes()).firing([]).check();
}

#[test]
fn alerts_are_of_one_cache_of_one_host() {
    if !promtool::is_there() {
        return;
    }
    let (good, bad) = (small(), small());
    let root = bad.root().canonicalize().unwrap();
    let mut hosts = Timeline::default();
    for _ in 0..4 {
        let good = swept(&good);
        let elsewhere = good.clone().of_root(&root).on("other");
        hosts.hold([&good, &elsewhere, &Metrics::of(&bad)], 1.hours());
    }
    hosts.firing_for(&[("HlsCacheNeverSwept", &root, HOST)]).check();
}

#[test]
fn two_sweeps_that_do_not_meet_a_limit_raise_an_alert_and_three_hours_over_budget_another() {
    if !promtool::is_there() {
        return;
    }
    let cache = TestCache::new().sealed("a", 20.mib(), 5.days());
    let viewer = cache.pin("a");
    let unmet = || {
        cache.run(SWEEP).code(3);
        Metrics::of(&cache)
    };
    let mut full = Timeline::default();
    full.hourly(1, unmet).hold([&unmet()], 30.minutes()).firing([]);
    full.hold([&unmet()], 10.minutes()).firing(["HlsCacheLimitNotMet"]);
    full.hourly(2, unmet).firing(["HlsCacheLimitNotMet", "HlsCacheOverBudget"]);
    drop(viewer);
    full.hold([&swept(&cache)], 5.minutes()).firing([]).check();
}

/// The error hides that the limit is not met (1 wins over 3), and the bytes tell.
#[test]
fn sweeps_that_end_with_errors_raise_an_alert() {
    if !promtool::is_there() {
        return;
    }
    let cache = TestCache::new().sealed("a", 20.mib(), 5.days());
    let cache = cache.dir(format!(".{}.pin", key("a")));
    let failing = || {
        cache.run(SWEEP).code(1);
        Metrics::of(&cache)
    };
    let mut errors = Timeline::default();
    errors.hourly(1, failing).firing([]);
    errors.hourly(1, failing).firing(["HlsCacheSweepErrors"]);
    errors.hourly(2, failing).firing(["HlsCacheOverBudget", "HlsCacheSweepErrors"]).check();
}

/// A cache that evicted some entries, and an hour ago some of those were missed.
fn with_regrets(evicted: usize, regretted: usize) -> (TestCache, Timeline) {
    let (cache, mut timeline) = (small(), Timeline::default());
    let events = |event: &str, count: usize, age: Duration| -> String {
        (0..count).map(|number| cache.event(event, &format!("e{number}"), age)).collect()
    };
    timeline.hourly(2, || swept(&cache));
    log(&cache, &events("evict", evicted, 2.hours()).replace('\n', " 4096\n"));
    timeline.hourly(2, || swept(&cache)).firing([]);
    log(&cache, &events("miss", regretted, 1.hours()));
    timeline.hourly(1, || swept(&cache));
    (cache, timeline)
}

#[test]
fn evictions_that_are_regretted_raise_an_alert_for_a_day() {
    if !promtool::is_there() {
        return;
    }
    // Few; and more, but few of all.
    for (evicted, regretted) in [(20, 8), (400, 20)] {
        with_regrets(evicted, regretted).1.firing([]).check();
    }
    let (cache, mut many) = with_regrets(100, 20);
    many.firing(["HlsCacheEvictionsRegretted"]);
    many.hourly(24, || swept(&cache)).firing([]).check();
}

#[test]
fn a_removal_of_a_damaged_entry_raises_an_alert_for_a_day() {
    if !promtool::is_there() {
        return;
    }
    let cache = small().real("d").emptied("d", "video/seg-1.m4s").sealed("i", 1.mib(), 5.days());
    let mut damage = Timeline::default();
    cache.run(["invalidate", &key("i")]).success().removed(["i"]);
    damage.hourly(1, || swept(&cache)).firing([]);
    cache.run(["verify", "--fix"]).code(3).removed(["d"]);
    let removed = swept(&cache);
    damage.hold([&removed], 5.minutes()).firing(["HlsCacheDamageRemoved"]);
    damage.hold_on(23.hours() + 55.minutes());
    damage.firing(["HlsCacheDamageRemoved", "HlsCacheNotSwept"]);
    damage.hold_on(5.minutes()).firing(["HlsCacheNotSwept"]).check();
}

/// systemd's collector tells of the units, so these metrics are not the tool's; their names are the package's.
#[test]
fn a_verification_that_failed_raises_an_alert_and_other_units_do_not() {
    if !promtool::is_there() {
        return;
    }
    let units = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging")).unwrap();
    let units = units.map(|unit| unit.unwrap().file_name().into_string().unwrap());
    let states = units.filter(|unit| unit.ends_with("@.service")).flat_map(|unit| {
        let name = unit.replace('@', "@srv-hls");
        ["active", "failed"].map(|state| (name.clone(), state))
    });
    let states: Vec<(String, &str)> = states.collect();
    assert_eq!(states.len(), 6, "{states:?}");
    let failing = |task: &str| {
        let lines = states.iter().map(|(name, state)| {
            let is_so = (*state == "failed") == name.starts_with(task);
            format!("node_systemd_unit_state{{name=\"{name}\",state=\"{state}\",type=\"oneshot\"}} {}\n", u8::from(is_so))
        });
        Metrics::from_text(lines.collect())
    };
    let mut units = Timeline::default();
    for task in ["none", "hls-cache-sweep", "hls-cache-gc-orphans"] {
        units.hold([&failing(task)], 10.minutes()).firing([]);
    }
    units.hold([&failing("hls-cache-verify")], 5.minutes()).firing(["HlsCacheVerifyFailed"]);
    units.hold([&failing("none")], 5.minutes()).firing([]).check();
}

#[test]
fn a_disk_that_will_be_full_in_four_hours_raises_an_alert_and_one_that_stays_nearly_full_does_not()
{
    if !promtool::is_there() {
        return;
    }
    let Some(cache) = TestCache::on_tmpfs("size=64m") else { return };
    let mut written = 0;
    // What another program writes to the disk.
    let mut growing = |mib: usize| {
        written += 1;
        fs::write(cache.root().join(format!("other-{written}")), vec![b'x'; mib << 20]).unwrap();
        swept(&cache)
    };
    let mut filling = Timeline::default();
    // 64 MiB free, less 6 an hour: enough for more than four hours until 24 are left.
    filling.hold([&growing(0)], 1.hours());
    for _ in 0..6 {
        filling.hold([&growing(3)], 30.minutes()).hold([&growing(3)], 30.minutes());
    }
    filling.firing([]);
    for _ in 0..2 {
        filling.hold([&growing(3)], 30.minutes()).hold([&growing(3)], 30.minutes());
    }
    filling.firing(["HlsCacheDiskFullSoon"]);
    filling.hourly(5, || growing(0)).firing([]).check();
}

#[test]
fn the_manual_lists_every_alert() {
    let rules = fs::read_to_string(promtool::rules()).unwrap();
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/hls-cache-stats.1");
    let manual = fs::read_to_string(manual).unwrap();
    let alerts = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let listed = manual.lines().filter_map(|line| line.strip_prefix(".B HlsCache"));
    let listed: Vec<String> = listed.map(|rest| format!("HlsCache{rest}")).collect();
    assert_eq!(listed, alerts.collect::<Vec<_>>());
}

/// Each alert recommends one at least, and this version takes it.
#[test]
fn the_commands_in_the_alerts_are_commands_of_the_tool() {
    let rules = fs::read_to_string(promtool::rules()).unwrap();
    let cache = TestCache::new().real("a");
    let root = cache.root();
    for alert in rules.split("- alert: ").skip(1) {
        let lines = alert.lines().map(str::trim);
        let commands: Vec<&str> = lines.filter(|line| line.starts_with("hls-cache ")).collect();
        assert!(!commands.is_empty(), "{alert}");
        for command in commands {
            let command = command
                .replace("'{{ $labels.root }}'", root.to_str().unwrap())
                .replace("\"$root\"", root.to_str().unwrap())
                .replace("KEY", &key("a"));
            cache.bare(command.split(' ').skip(1)).run().success();
        }
    }
}
