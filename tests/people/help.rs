//! The help is read on the smallest terminal.

use crate::common::TestCache;

#[test]
fn the_help_fits_one_screen_and_says_what_to_do_first() {
    let cache = TestCache::new();
    let help = cache.bare(["--help"]).run().success().no_stderr().stdout();
    assert!(help.lines().count() <= 24, "{help}");
    assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
    let names =
        ["HLS_CACHE_ROOT", "HLS_CACHE_MAX_SIZE", "HLS_CACHE_MIN_FREE", "HLS_CACHE_KEEP_RECENT"];
    for word in names.into_iter().chain(["First:", "--dry-run", "3 done with a finding"]) {
        assert!(help.contains(word), "no {word}\n{help}");
    }
}

#[test]
fn the_help_of_a_command_begins_with_its_own_options() {
    let cache = TestCache::new();
    for command in ["key", "verify", "sweep", "stats", "gc-orphans", "invalidate"] {
        let help = cache.bare([command, "--help"]).run().success().no_stderr().stdout();
        let at = |what: &str| help.find(what).unwrap_or_else(|| panic!("no {what}\n{help}"));
        assert!(at("Options:") < at("Global options:"), "{help}");
        assert!(at("Global options:") < at("--root"), "{help}");
    }
}

#[test]
fn the_help_of_key_is_one_screen() {
    let cache = TestCache::new();
    let help = cache.bare(["key", "--help"]).env("COLUMNS", "80").run().success().stdout();
    assert!(help.lines().count() <= 28, "{help}");
    assert!(help.lines().all(|line| line.chars().count() <= 78), "{help}");
}
