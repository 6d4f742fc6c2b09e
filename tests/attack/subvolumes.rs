//! Where the cache is on a btrfs, an entry or a directory in it may be a subvolume: another device number, and no
//! mount. It is part of the cache like any other.

use std::path::Path;
use std::process::Command;

use crate::common::{Age, Size, TestCache};
use crate::tools::Image;

fn make_subvolume(path: &Path) {
    let made = Command::new("btrfs").args(["-q", "subvolume", "create"]).arg(path).output();
    let made = made.expect("btrfs");
    assert!(made.status.success(), "{made:?}");
}

#[test]
fn entries_with_subvolumes_are_measured_and_removed_whole() {
    let cache = TestCache::new();
    let Some(image) = Image::btrfs(&cache, 128 << 10) else { return };
    make_subvolume(&cache.entry_path("a"));
    std::fs::create_dir(cache.entry_path("b")).unwrap();
    make_subvolume(&cache.entry_path("b").join("video"));
    let cache = cache
        .allocated("a", 100.kib(), 9.days())
        .allocated("b", 100.kib(), 8.days())
        .allocated("c", 100.kib(), 7.days());
    let json = cache.run(["--json", "stats"]).success().json();
    assert_eq!(json["total"]["bytes"], 300.kib());
    cache.run(["verify"]).success();
    let sweep = ["sweep", "--max-size", "100KiB", "--min-budget", "0"];
    cache.run(sweep).success().no_stderr().removed_only(["a", "b"]);
    drop(image);
}
