//! The help is read on the smallest terminal.

use crate::common::TestCache;

const COMMANDS: [&str; 6] = ["stats", "sweep", "gc-orphans", "verify", "invalidate", "key"];

fn help(args: &[&str]) -> String {
    let cache = TestCache::new();
    cache.bare(args).run().success().no_stderr().stdout()
}

#[track_caller]
fn assert_fits(help: &str, lines: usize) {
    assert!(help.lines().count() <= lines, "{help}");
    assert!(help.lines().all(|line| line.chars().count() <= 78), "{help}");
}

#[test]
fn the_short_help_is_one_screen_and_the_full_one_no_wider() {
    assert_fits(&help(&["-h"]), 24);
    for command in COMMANDS {
        assert_fits(&help(&[command, "-h"]), 24);
        assert_fits(&help(&[command, "--help"]), 60);
    }
}

#[test]
fn the_help_says_what_to_do_first_and_lists_commands_as_they_are_needed() {
    let help = help(&["--help"]);
    let names =
        ["HLS_CACHE_ROOT", "HLS_CACHE_MAX_SIZE", "HLS_CACHE_MIN_FREE", "HLS_CACHE_KEEP_RECENT"];
    for word in names.into_iter().chain(["First:", "-n ", "3 done with a finding", "--color"]) {
        assert!(help.contains(word), "no {word}\n{help}");
    }
    let places = COMMANDS.map(|command| help.find(&format!("\n  {command} ")).expect(command));
    assert!(places.is_sorted(), "{help}");
}

#[test]
fn the_help_of_a_command_has_examples_and_shows_what_it_needs() {
    for command in COMMANDS {
        let (short, full) = (help(&[command, "-h"]), help(&[command, "--help"]));
        for help in [&short, &full] {
            let examples = help.split_once("Examples:\n").expect(command).1;
            assert!(examples.contains(&format!("  hls-cache {command} ")), "{help}");
        }
        let at = |what: &str| full.find(what).unwrap_or_else(|| panic!("no {what}\n{full}"));
        assert!(at("Options:") < at("\nGlobal options:"), "{full}");
        assert!(at("\nGlobal options:") < at("--root <DIR>"), "{full}");
        // What only the full help has is hidden, not gone.
        assert!(!short.contains("--color") && full.contains("--color"), "{short}");
        assert!(short.contains(&format!("All options: hls-cache {command} --help")), "{short}");
    }
    assert!(help(&["sweep", "-h"]).contains("Usage: hls-cache [--root DIR] sweep LIMIT..."));
    assert!(help(&["sweep", "-h"]).contains("Limits (at least one):"));
}

#[test]
fn help_by_its_name_is_the_full_one() {
    assert_eq!(help(&["help", "sweep"]), help(&["sweep", "--help"]));
}

#[test]
fn every_error_begins_with_the_word() {
    let cache = TestCache::new();
    for args in [
        &["sweep"][..],
        &["no-command"],
        &["sweep", "--max-size"],
        &["sweep", "--max-size", "x"],
        &["stats", "--no-option"],
        &["key", "a"],
        &["verify", "x"],
        &["stats", "--check"],
        &["stats", "--prometheus", "--json"],
        &["invalidate"],
    ] {
        let run = cache.command(args).run().code(2).no_stdout();
        let first = run.stderr().lines().next().expect("a line").to_owned();
        assert!(first.starts_with("error: ") && first.len() > 10, "{args:?}: {first}");
    }
}
