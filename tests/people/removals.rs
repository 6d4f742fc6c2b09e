//! What the removing commands say to people and to journald.

use crate::common::{Age, Size, TestCache, key, pin_name};
use crate::mixed;

/// Process numbers are the kernel's choice.
fn without_pids(text: &str) -> String {
    let mut parts = text.split("cat[");
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        masked += "cat[PID";
        masked += part.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    masked
}

const SWEEP: [&str; 5] = ["sweep", "--max-size", "30M", "--min-budget", "0"];

#[test]
fn a_dry_sweep_says_would_everywhere_and_what_would_be_freed() {
    let run = mixed();
    let run = run.run([&SWEEP[..], &["-n", "-v"]].concat()).success().untouched().no_stderr();
    assert_eq!(
        without_pids(&run.stdout()),
        "\
would remove 6100000000000000     1.50 GiB  used 3d 7h ago     --max-size 30 MiB
would remove 7000000000000000        7 MiB  used 2d 1h ago     --max-size 30 MiB
would keep   6200000000000000       20 MiB  used 1d 2h ago     pinned by cat[PID]
would keep   7700000000000000        9 MiB  used 2m ago        being encoded
would remove 2 entries (1.51 GiB): 1.54 GiB -> 29 MiB of 30 MiB
kept 1 pinned (20 MiB), 1 being encoded (9 MiB)
nothing was changed; measured 4 entries, remembered 0
"
    );
}

#[test]
fn a_removal_quotes_the_rule_it_goes_by() {
    let cache = mixed();
    for (limit, rule) in [
        (["--older-than", "50h"], "  unused for 2d2h\n"),
        (["--max-entries", "3"], "  --max-entries 3\n"),
        (["--min-free", "99999T"], "  --min-free 97.66 PiB\n"),
    ] {
        let options = ["sweep", "-n", "--min-budget", "0"];
        let stdout = cache.run([&options[..], &limit].concat()).untouched().stdout();
        let removal = format!("would remove {}", key("a"));
        let line = stdout.lines().find(|line| line.starts_with(&removal)).expect("a goes");
        assert!(format!("{line}\n").ends_with(rule), "{rule}: {line}");
    }
}

#[test]
fn a_sweep_says_one_line_an_eviction_and_then_what_it_came_to() {
    let cache = mixed().trash("old");
    let run = cache.run(SWEEP).success().removed(["a", "p"]).no_stderr();
    assert_eq!(
        run.stdout(),
        "\
removed 6100000000000000     1.50 GiB  used 3d 7h ago     --max-size 30 MiB
removed 7000000000000000        7 MiB  used 2d 1h ago     --max-size 30 MiB
removed 2 entries (1.51 GiB): 1.54 GiB -> 29 MiB of 30 MiB
kept 1 pinned (20 MiB), 1 being encoded (9 MiB)
also deleted the trash of 1 entry
"
    );
}

#[test]
fn a_limit_that_is_not_met_says_by_how_much_and_what_stands_in_the_way() {
    let cache = mixed();
    let run = cache.run(["sweep", "--max-size", "10M", "--min-budget", "0", "--best-effort"]);
    let run = run.code(3).removed(["a", "p"]).kept(["b", "w"]);
    assert!(
        run.stdout().contains(" -> 29 MiB of 10 MiB, 19 MiB over\nkept 1 pinned (20 MiB), "),
        "{run}"
    );
    let stderr = without_pids(&run.stderr());
    assert!(stderr.contains("kept: 1 pinned (6200000000000000 by cat[PID])"), "{run}");
}

#[test]
fn quiet_says_warnings_and_errors_only() {
    mixed().run([&["-q"], &SWEEP[..]].concat()).success().no_stdout().no_stderr();
    let run = mixed();
    let run =
        run.run(["-q", "sweep", "--max-size", "10M", "--min-budget", "0"]).code(3).no_stdout();
    assert_eq!(run.stderr().lines().count(), 1, "{run}");
}

#[test]
fn quiet_says_in_a_line_what_a_finding_is() {
    let cache = mixed();
    let b = crate::common::key("b");
    let run = cache.run(["-q", "invalidate", &b, &crate::common::key("no")]).code(3).no_stdout();
    assert_eq!(run.stderr(), format!("warning: 1 entry in use, not removed: {b}\n"));
    cache.run(["-q", "--json", "invalidate", &b]).code(3).no_stderr();
    let cache = cache.without("a", "video/init.mp4");
    let run = cache.run(["-q", "verify"]).code(3).no_stdout();
    let a = crate::common::key("a");
    assert_eq!(run.stderr(), format!("warning: 1 damaged entry: {a}\n"));
    cache.run(["verify"]).code(3).no_stderr();
}

#[test]
fn orphans_say_what_they_were() {
    let run = mixed();
    let run = run.run(["gc-orphans", "-v"]).success().removed_only(["p"]).no_stderr();
    let said = run.stdout();
    let removed = "removed 7000000000000000        7 MiB  used 2d 1h ago     abandoned\n";
    assert!(said.starts_with(removed), "{said}");
    assert!(said.contains("\nkept    6100000000000000"), "{said}");
    assert!(said.contains("  not abandoned\n"), "{said}");
    assert!(
        said.contains("\nremoved 1 entry (7 MiB): 1.54 GiB -> 1.53 GiB\nkept 1 pinned"),
        "{said}"
    );
}

#[test]
fn the_summary_describes_what_is_left() {
    let cache = mixed();
    let run = cache.run(["invalidate", "--all", "--force"]).code(3);
    let left = ": 1.54 GiB -> 9 MiB\nkept 1 being encoded (9 MiB)\n";
    assert!(run.stdout().ends_with(left), "{run}");
}

#[test]
fn an_entry_left_because_it_is_in_use_says_by_whom() {
    let cache = mixed();
    let run =
        cache.run(["invalidate", &crate::common::key("b"), &crate::common::key("no")]).code(3);
    assert_eq!(
        without_pids(&run.stdout()),
        "\
kept    6200000000000000       20 MiB  used 1d 2h ago     pinned by cat[PID]
absent  6e6f000000000000  no such entry
removed nothing: 1.54 GiB
kept 1 pinned (20 MiB), 1 being encoded (9 MiB)
"
    );
}

#[test]
fn who_pinned_an_entry_only_after_the_plan_is_named_too() {
    let cache = TestCache::new().sealed("a", 10.kib(), 5.days()).sealed("b", 10.kib(), 4.days());
    let run = cache.command(["--json", "sweep", "--max-size", "10K", "--min-budget", "0"]);
    let Some(run) = run.pause_at("linkat", &pin_name("a")) else { return };
    let _reader = cache.pin("a");
    let json = run.resume().success().removed(["b"]).json();
    let kept = json["entries"].as_array().unwrap().iter().find(|entry| entry["action"] == "kept");
    assert_eq!(kept.unwrap()["in_use"]["holders"][0]["command"], "cat", "{json}");
    assert_eq!(json["pinned"]["entries"], 1, "{json}");
}

#[test]
fn what_is_spared_because_a_limit_cannot_be_met_is_not_said_to_be_within_it() {
    let cache = mixed();
    let run = cache.run(["sweep", "-v", "--max-size", "10M", "--min-budget", "0"]);
    let run = run.code(3).kept(["a", "b", "w", "p"]);
    assert!(!run.stdout().contains("within the limits"), "{run}");
    assert!(run.stderr().contains("--best-effort"), "the way out is not named\n{run}");
}
