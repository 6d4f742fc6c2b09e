//! Colours, block characters and the width: on a terminal, in a pipe, in a bare environment.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::common::{Age, Size, TestCache, need};

fn cache() -> TestCache {
    TestCache::new().sealed("a", 100.mib(), 2.hours()).sealed("b", 10.mib(), 40.days()).pinned("b")
}

/// What `stats` with these options shows on a terminal; `None` where there is no script(1).
fn on_terminal(cache: &TestCache, columns: u32, env: &str, options: &str) -> Option<String> {
    if !need::tool("script") {
        return None;
    }
    let (tool, root) = (env!("CARGO_BIN_EXE_hls-cache"), cache.root());
    let line = format!(
        "stty cols {columns} rows 50; env -i {env} {tool} --root {} stats {options}",
        root.display()
    );
    let output =
        Command::new("script").args(["-qec", &line, "/dev/null"]).output().expect("script");
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).expect("UTF-8").replace('\r', ""))
}

fn longest(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

#[test]
fn a_terminal_gets_colours_and_blocks_in_its_width() {
    let cache = cache();
    for columns in [80, 200] {
        let Some(shown) =
            on_terminal(&cache, columns, "TERM=xterm LANG=en_GB.UTF-8 NO_COLOR=", "--histogram")
        else {
            return;
        };
        assert!(shown.contains("\x1b[") && shown.contains('█'), "{shown}");
        let plain = "NO_COLOR=1 TERM=xterm LANG=C.UTF-8";
        let Some(shown) = on_terminal(&cache, columns, plain, "-q --histogram") else { return };
        assert_eq!(shown, "");
        let Some(shown) = on_terminal(&cache, columns, plain, "--histogram --entries 2>&-") else {
            return;
        };
        assert!(!shown.contains('\x1b') && shown.contains('█'), "{shown}");
        let bars = shown.split_once("\n/").expect("the summary").0;
        let width = (columns as usize).min(100);
        assert_eq!(longest(bars), width, "the longest bar fills the line, or is readable\n{shown}");
    }
}

#[test]
fn a_terminal_that_cannot_is_not_asked_to() {
    let cache = cache();
    for env in ["TERM=dumb LANG=C.UTF-8", "LANG=C.UTF-8"] {
        let Some(shown) = on_terminal(&cache, 80, env, "--histogram") else { return };
        assert!(!shown.contains('\x1b'), "{env}\n{shown}");
    }
    for env in ["TERM=xterm", "TERM=xterm LANG=C", "TERM=xterm LANG=C.UTF-8 LC_ALL=C"] {
        let Some(shown) = on_terminal(&cache, 80, env, "--histogram --max-size 1G") else { return };
        assert!(shown.is_ascii() && shown.contains("[#"), "{env}\n{shown}");
    }
}

#[test]
fn a_pipe_gets_ascii_and_no_colours_whatever_the_environment() {
    let cache = cache()
        .env("TERM", "xterm-256color")
        .env("LANG", "en_GB.UTF-8")
        .env("CLICOLOR_FORCE", "1")
        .env("COLUMNS", "100");
    let run = cache.run(["stats", "--histogram", "--entries", "--max-size", "1G"]).success();
    let shown = run.no_stderr().stdout();
    assert!(shown.is_ascii() && !shown.contains('\x1b'), "{shown}");
    assert_eq!(longest(&shown), 100, "{shown}");
}

#[test]
fn a_width_that_no_terminal_has_is_not_believed() {
    let cache = cache();
    let shown = |columns: &str| {
        let stats = cache.command(["stats", "--histogram", "--entries", "--max-size", "1G"]);
        stats.env("COLUMNS", columns).run().success().no_stderr().stdout()
    };
    for mistaken in ["18446744073709551615", "501", "19"] {
        assert_eq!(longest(&shown(mistaken)), 80, "{mistaken}");
    }
    assert_eq!(longest(&shown("500")), 100, "bars are no wider than can be read");
    // The columns before the bars fill it.
    let narrow = shown("20");
    let buckets: Vec<&str> = narrow.lines().filter(|line| line.starts_with('<')).collect();
    assert!(!buckets.is_empty() && !buckets.concat().contains('#'), "{narrow}");
    for (columns, width) in [(10, 80), (60_000, 80), (120, 100)] {
        let env = "TERM=xterm LANG=C NO_COLOR=1";
        let Some(shown) = on_terminal(&cache, columns, env, "--histogram 2>&-") else { return };
        assert_eq!(longest(&shown), width, "{columns}\n{shown}");
    }
}

#[test]
fn the_history_fits_every_terminal_and_is_never_wider_than_a_hundred_columns() {
    let cache = cache();
    let plays = |n: u64| {
        cache.event(if n.is_multiple_of(3) { "miss" } else { "hit" }, "a", (n % 300).hours())
    };
    let log: String = (0..400).map(plays).collect();
    let cache = cache.events(&log);
    let history = |shown: &str| shown.split_once("\n/").expect("the summary").0.to_owned();
    for (columns, width) in [(80, 80), (100, 100), (200, 100)] {
        let env = "TERM=xterm LANG=C.UTF-8 NO_COLOR=1";
        let Some(shown) = on_terminal(&cache, columns, env, "--history 2>&-") else { return };
        assert_eq!(longest(&history(&shown)), width, "{columns}\n{shown}");
        assert!(shown.contains('█') && shown.contains('░'), "{shown}");
    }
    let colours = "TERM=xterm LANG=C.UTF-8";
    let Some(shown) = on_terminal(&cache, 80, colours, "--history") else { return };
    assert!(shown.contains("\x1b[1m"), "the present size is marked: {shown}");
    for columns in ["80", "500"] {
        let stats = cache.command(["stats", "--history"]).env("COLUMNS", columns);
        let shown = history(&stats.run().success().no_stderr().stdout());
        assert!(shown.is_ascii() && shown.contains("\nnow > "), "{shown}");
        assert_eq!(longest(&shown), columns.parse::<usize>().unwrap().min(100), "{shown}");
    }
    let narrow = cache.command(["stats", "--history"]).env("COLUMNS", "20");
    narrow.run().success().no_stderr();
}

#[test]
fn cron_has_neither_path_nor_home_nor_terminal() {
    let cache = cache();
    let root = cache.root();
    for args in [&["stats", "--entries", "--histogram"][..], &["sweep", "--max-size", "2G"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_hls-cache"))
            .args(args)
            .env_clear()
            .env("HLS_CACHE_ROOT", &root)
            .current_dir("/")
            .output()
            .expect("the tool starts");
        assert!(output.status.success(), "{output:?}");
        assert!(output.stdout.is_ascii() && !output.stdout.is_empty(), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    }
}

#[test]
fn progress_is_seen_on_a_terminal_only_and_not_with_quiet() {
    let cache = cache();
    for (env, options, is_seen) in [
        ("TERM=xterm LANG=C.UTF-8", "", true),
        ("TERM=xterm LANG=C.UTF-8", "-q", false),
        ("TERM=dumb LANG=C.UTF-8", "", false),
    ] {
        let Some(shown) = on_terminal(&cache, 80, env, options) else { return };
        assert_eq!(shown.contains("scanning"), is_seen, "{env} {options}\n{shown:?}");
    }
    cache.run(["stats"]).success().no_stderr();
}

#[test]
fn who_waits_is_told_for_whom_and_how_long_on_a_terminal() {
    if !need::tool("script") {
        return;
    }
    let (cache, tool) = (cache(), env!("CARGO_BIN_EXE_hls-cache"));
    let other = cache.other_maintainer();
    let waiting =
        format!("waiting up to 20s for {}, which holds the maintenance lock", other.name());
    let line = format!("{tool} --root {} sweep --max-entries 5 --wait 20s", cache.root().display());
    let mut script = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script");
    let mut lines = BufReader::new(script.stdout.take().expect("piped")).lines();
    // It is still waiting: nobody has let go of the lock.
    let first = lines.next().expect("a line").expect("UTF-8");
    assert_eq!(first.trim_end(), waiting);
    other.kill();
    let rest: String = lines.map(|line| line.expect("UTF-8")).collect();
    assert!(script.wait().expect("script").success() && rest.contains("left"), "{rest}");
}

#[test]
fn who_waits_with_quiet_or_without_a_terminal_is_told_when_it_was_in_vain() {
    let cache = cache();
    let other = cache.other_maintainer();
    let sweep = ["sweep", "--max-entries", "5", "--wait", "300ms"];
    let in_vain = format!(
        "error: waited 300ms, but another maintainer is still at work in this cache: {}\n",
        other.name()
    );
    assert_eq!(cache.run(sweep).code(4).no_stdout().stderr(), in_vain);
    if !need::tool("script") {
        return;
    }
    let (tool, sweep) = (env!("CARGO_BIN_EXE_hls-cache"), sweep.join(" "));
    let line = format!("{tool} -q --root {} {sweep}; test $? = 4", cache.root().display());
    let output =
        Command::new("script").args(["-qec", &line, "/dev/null"]).output().expect("script");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).expect("UTF-8").replace('\r', ""), in_vain);
}

#[test]
fn a_source_named_after_an_escape_sequence_is_shown_and_not_obeyed() {
    if !need::tool("script") {
        return;
    }
    let cache = TestCache::new();
    let tool = env!("CARGO_BIN_EXE_hls-cache");
    let line = format!("{tool} key --long --quality q \"$(printf '/m/\\033[31m')\"");
    let output =
        Command::new("script").args(["-qec", &line, "/dev/null"]).output().expect("script");
    let shown = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(shown.contains("/m/\\x1b[31m"), "{shown:?}");
    let line = format!("{tool} verify \"$(printf 'x\\033]0;gotcha\\007')\"; test $? = 2");
    let output =
        Command::new("script").args(["-qec", &line, "/dev/null"]).output().expect("script");
    assert!(output.status.success(), "{output:?}");
    let shown = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(!shown.contains(['\x1b', '\x07']) && shown.contains("invalid value"), "{shown:?}");
    // A pipe gets the bytes.
    let run = cache.bare(["key", "--long", "--quality", "q", "/m/\x1b[31m"]).run().success();
    assert!(run.stdout().ends_with("\t/m/\x1b[31m\n"));
}

/// As many columns as a media file's path needs are never there.
#[test]
fn a_long_title_gives_way_to_everything_else() {
    let cache = cache();
    let name = format!("七人の侍 {}.mkv", "long ".repeat(16));
    let media = cache.outside_path("media");
    let cache = cache.file(media.join(&name), b"");
    let key = hls_cache::Cache::key_for(&media.join(&name), "1080p", -1).expect("a key");
    std::fs::rename(cache.entry_path("b"), cache.root().join(key.to_string())).expect("b");
    let library = format!("--library '{}'", media.display());
    for columns in [80, 200] {
        let options = format!("--entries {library} 2>&-");
        let Some(shown) =
            on_terminal(&cache, columns, "NO_COLOR=1 TERM=xterm LANG=C.UTF-8", &options)
        else {
            return;
        };
        let line = shown.lines().find(|line| line.contains("七人の")).expect("the film");
        let widest = shown.lines().map(unicode_width::UnicodeWidthStr::width).max();
        assert!(widest <= Some(columns as usize), "{columns}\n{shown}");
        assert!(line.contains("1080p") && line.contains("10 MiB"), "{line}");
        assert_eq!(line.contains("..."), columns == 80, "{line}");
        assert_eq!(line.contains(&key.to_string()), columns == 200, "{line}");
    }
}

#[test]
fn colours_mean_something_and_can_be_had_or_refused_anywhere() {
    let cache = crate::mixed();
    let sweep = ["sweep", "--max-size", "30M", "--min-budget", "0", "-n", "-v"];
    let coloured = |when: &str| {
        let args = [&["--color", when], &sweep[..]].concat();
        cache.command(args).env("NO_COLOR", "1").run().success().stdout()
    };
    let shown = coloured("always");
    // Red goes, yellow is in use, and nothing else has a colour.
    for line in shown.lines() {
        let colour = match line {
            line if line.contains("would remove \x1b") || line.contains("--max-size") => "\x1b[31m",
            line if line.contains("pinned by") || line.contains("        being encoded") => {
                "\x1b[33m"
            }
            _ => "",
        };
        assert_eq!(line.contains('\x1b'), !colour.is_empty(), "{line:?}");
        assert!(line.starts_with(colour), "{line:?}");
    }
    assert_eq!(shown.matches("\x1b[31m").count(), 2, "{shown:?}");
    assert_eq!(shown.matches("\x1b[33m").count(), 2, "{shown:?}");
    assert!(!coloured("never").contains('\x1b') && !coloured("auto").contains('\x1b'));
    let Some(shown) = on_terminal(&cache, 80, "TERM=xterm", "--color never") else { return };
    assert!(!shown.replace("\x1b[2K", "").contains('\x1b'), "{shown:?}");
    cache.run(["--color", "sometimes", "stats"]).code(2).complains_of("--color");
}
