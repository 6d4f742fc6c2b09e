//! What `stats` says to people.

use crate::common::{Age, Size, TestCache, key};
use crate::mixed;

/// Process numbers are the kernel's choice, and the disk is the machine's.
fn golden(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let mut line = line.to_owned();
        if let Some((before, rest)) = line.split_once("cat[") {
            let (pid, after) = rest.split_once(']').expect("a process number");
            assert!(pid.parse::<u32>().is_ok(), "{line}");
            line = format!("{before}cat[PID]{after}");
        }
        // How much of a sparse file is allocated is the file system's choice.
        if let Some((before, _)) = line.split_once(" files, ") {
            line = format!("{before} files");
        }
        if !line.starts_with("disk") && !line.starts_with('/') {
            lines.push(line);
        }
    }
    lines.join("\n")
}

#[test]
fn the_summary_says_what_is_there_what_can_go_and_what_cannot() {
    let cache = mixed().trash("old").file("README", b"foreign");
    let log = cache.event("hit", "a", 30.hours()).repeat(8)
        + &cache.event("hit", "a", 1.hours()).repeat(3)
        + &cache.event("miss", "a", 1.hours())
        + "torn";
    let cache = cache.events(&log);
    let run = cache.bare(["stats", "--max-size", "2G"]).env("HLS_CACHE_ROOT", cache.root()).run();
    let shown = run.success().stdout();
    assert_eq!(
        golden(&shown),
        "
budget     [##################......]   76% of 2 GiB, 476 MiB to spare

                 entries      size
evictable              2  1.51 GiB
  abandoned            1     7 MiB  left by encodes that died
in use                 1    20 MiB  pinned by cat[PID]
being encoded          1     9 MiB  written to within 10m
all                    4  1.54 GiB  22 files
trash                  1       7 B  removed already; the next sweep deletes it
not the cache's        1            README

last used  newest 2m ago, oldest 3d 7h ago
hit rate   92% (11 of 12) overall, 75% (3 of 4) in the last 24h
last sweep none logged
event log  1 unparsable line skipped

Next:      hls-cache gc-orphans
           removes 1 entry (7 MiB) of dead encodes, and frees the trash of 1
           entry (7 B)"
    );
}

#[test]
fn entries_are_listed_with_what_keeps_them() {
    let cache = mixed();
    let shown = cache.run(["stats", "--entries"]).success().stdout();
    let list = golden(&shown).split("\n\n").next().expect("a list").to_owned();
    assert_eq!(
        list,
        "\
key               state        size  unused for  files  in use
6100000000000000  sealed   1.50 GiB       3d 7h      6
7000000000000000  partial     7 MiB       2d 1h      5
6200000000000000  sealed     20 MiB       1d 2h      6  pinned by cat[PID]
7700000000000000  partial     9 MiB          2m      5  being encoded"
    );
    let shown = cache.run(["stats", "--sort", "size"]).success().stdout();
    let keys: Vec<&str> = shown.lines().skip(1).take(4).map(|line| &line[..2]).collect();
    assert_eq!(keys, ["61", "62", "77", "70"]);
}

#[test]
fn the_histograms_show_where_to_set_a_limit() {
    let shown = mixed().run(["stats", "--histogram"]).success().stdout();
    let rows: Vec<&str> = shown.lines().collect();
    let row = |label: &str| *rows.iter().find(|row| row.starts_with(label)).expect("a row");
    assert_eq!(row("< 7d"), format!("< 7d             1  1.50 GiB  {}", "#".repeat(80 - 30)));
    assert!(row("< 3d").starts_with("< 3d             2    27 MiB  #"), "{shown}");
    assert!(row("< 1h").ends_with("9 MiB  #"), "not nothing, and seen: {shown}");
    assert_eq!(row("< 6h"), "< 6h             0       0 B", "between others");
    assert!(!rows.iter().any(|row| row.starts_with("older")), "beyond all: {shown}");
    assert!(!rows.iter().any(|row| row.starts_with("< 1 MiB")), "below all: {shown}");
    assert!(row("< 64 MiB").starts_with("< 64 MiB          3    36 MiB  ###"), "{shown}");
}

#[test]
fn the_histograms_are_in_json_too() {
    let json = mixed().run(["--json", "stats", "--histogram"]).success().no_stderr().json();
    let week = &json["histogram"]["last_used"][4];
    assert_eq!((&week["under_seconds"], &week["entries"]), (&(7 * 86400).into(), &1.into()));
    let last = json["histogram"]["size"].as_array().unwrap().last().unwrap();
    assert!(last["under_bytes"].is_null() && last["entries"] == 0, "{last}");
}

/// Twenty rounds of 35 films and 5 of them again, an hour apart and a month ago, and two days of which all is known.
fn with_history() -> TestCache {
    let cache = TestCache::new();
    let play = |kind: &str, film: u64, ago| {
        format!("{} {}\n", cache.event(kind, &format!("{film:02}"), ago).trim_end(), 1.mib())
    };
    let mut log = String::new();
    for round in 0..20_u64 {
        let ago = (800 - round).hours();
        (0..30).for_each(|film| log += &play("miss", film, ago));
        (0..5).for_each(|once| log += &play("miss", 30 + round * 5 + once, ago));
        (25..30).for_each(|film| log += &play("hit", film, ago));
    }
    let evict = cache.event("evict", "00", 799.hours()).trim_end().to_owned();
    log += &format!("{evict} {} 7200 over-budget\n", 1.mib());
    log += &play("miss", 0, 798.hours());
    cache.events(&log)
}

#[test]
fn the_history_shows_days_regret_the_curve_and_one_advice() {
    let shown = with_history().run(["stats", "--history", "--max-size", "20M"]).success().stdout();
    let (history, _) = shown.split_once("\n/").expect("the summary");
    let lines: Vec<&str> = history.lines().collect();
    assert_eq!(lines[0], "day         hits  misses  hit rate  evicted  size  hits # misses .");
    assert_eq!(
        lines[1..15]
            .iter()
            .filter(|line| line.ends_with("     0       0                  0   0 B"))
            .count(),
        14
    );
    assert_eq!(
        lines[15..].join("\n"),
        "
unused for    least  median  90% within
when evicted  2h 0m   2h 0m
when hit                 0s          0s

evicted    1 entry, 1 (100%) of them wanted again, half of these within 1h 0m: 1
           MiB transcoded twice

          cache size  hit rate  change  hits of the same plays
     1/8    2.50 MiB        0%    -12%
            3.15 MiB        0%    -12%
            3.97 MiB        0%    -12%
     1/4       5 MiB        0%    -12%
            6.30 MiB        0%    -12%
            7.93 MiB        0%    -12%
     1/2      10 MiB       12%          #####
            12.6 MiB       12%          #####
            15.9 MiB       12%          #####
budget >      20 MiB       12%          #####
            25.2 MiB       12%          #####
            31.7 MiB       24%    +12%  ###########
     2 x      40 MiB       84%    +71%  ########################################
            50.4 MiB       84%    +71%  ########################################
            63.5 MiB       84%    +71%  ########################################
     4 x      80 MiB       84%    +71%  ########################################

logged     12% hits (100 of 801 plays); the replay, which starts empty, has 12%
           at the budget
advice     at 40 MiB, 71% more of the plays would have been hits; beyond that,
           nothing more"
    );
}

#[test]
fn a_log_without_plays_or_evictions_has_no_history() {
    let cache = TestCache::new().events("1700000000 sweep max_size=5 exit=0\n");
    let shown = cache.run(["stats", "--history"]).success().stdout();
    assert!(shown.starts_with("history    unknown (no plays or evictions logged)\n\n/"), "{shown}");
}

#[test]
fn an_empty_cache_says_what_an_entry_looks_like() {
    let cache = TestCache::new().file("README", b"foreign");
    for options in [&[][..], &["--entries"], &["--histogram"]] {
        let shown = cache.run([&["stats"], options].concat()).success().stdout();
        assert!(shown.contains("0-9 and a-f") && shown.contains("README"), "{shown}");
        assert!(shown.contains("hit rate   unknown"), "{shown}");
    }
}

#[test]
fn a_budget_says_when_it_cannot_be_met() {
    let cache = mixed();
    let shown = cache.run(["stats", "--max-size", "1G"]).success().stdout();
    assert!(shown.contains("153% of 1 GiB, 548 MiB over"), "{shown}");
    let cache = cache.env("HLS_CACHE_MAX_SIZE", "15M");
    let shown = cache.run(["stats"]).success().stdout();
    assert!(shown.contains("sweep would evict nothing"), "{shown}");
    let shown = TestCache::new().run(["stats"]).success().stdout();
    assert!(shown.contains("budget     not given"), "{shown}");
}

#[test]
fn a_holder_that_cannot_be_named_is_not_made_up() {
    // The process that took the lock is gone; its child holds it on.
    let cache = TestCache::new().sealed("a", 10.mib(), 5.hours());
    let pin = cache.pin_path("a");
    std::fs::write(&pin, "").unwrap();
    let mut child = std::process::Command::new("flock")
        .args(["--shared"])
        .arg(&pin)
        .args(["sh", "-c", "(sleep 30 >/dev/null) & echo $!"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("flock(1)");
    child.wait().unwrap();
    let mut pid = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut pid).unwrap();
    let shown = cache.run(["stats", "--entries"]).success().stdout();
    std::process::Command::new("kill").arg(pid.trim()).status().unwrap();
    let row = shown.lines().find(|line| line.starts_with(&key("a"))).unwrap();
    assert!(row.ends_with("  pinned"), "{shown}");
}

#[test]
fn quiet_is_quiet() {
    mixed().run(["-q", "stats", "--entries", "--histogram"]).success().no_stdout().no_stderr();
}
