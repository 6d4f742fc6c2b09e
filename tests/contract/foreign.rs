//! What is not the cache's own is never touched, whatever the command and its options.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use crate::common::{Age, Size, TestCache, key};

/// A cache with one entry `a`, old enough for everything, and `count` foreign things.
struct Foreign {
    cache: TestCache,
    count: usize,
}

fn foreign() -> Foreign {
    let latin1 = |name: &'static [u8]| OsStr::from_bytes(name);
    let f = key("f");
    let directories = [
        ".trash.old",
        "lost+found",
        ".hidden",
        "6100000000000ABC",
        "ABCDEF0123456789",
        "610000000000000",
        "61000000000000000",
        "g100000000000000",
        " 610000000000000",
        "6100000000000000.bak",
        ".trash",
        ".trash.",
        ".trash.6100000000000000",
        ".trash.6100000000000000.0123456789abcde",
        ".trash.6100000000000000.0123456789ABCDEF",
        ".trash.610000000000000.0123456789abcdef",
        ".trash.6100000000000000.0123456789abcdef.old",
    ];
    let files = [
        "README",
        ".complete",
        &*key("file"),
        "init.mp4",
        ".trash.6100000000000000.fedcba9876543210",
        ".6100000000000000.pin.bak",
        ".61.pin",
        ".events.log.2",
        ".events.log.01",
        "--force",
        "name\nwith\x1b[31m control",
    ];
    let links = [
        (key("link"), "../far"),
        (key("danglin"), "nowhere"),
        (key("self"), "."),
        (".trash.6200000000000000.0123456789abcdef".to_owned(), "../far"),
        ("link".to_owned(), &*f),
    ];
    let mut cache = TestCache::new().outside("far").sealed("a", 10.kib(), 900.days());
    let mut count = directories.len() + files.len() + links.len();
    for directory in directories {
        // What would make it a damaged, sealed entry were its name a key.
        cache = cache.dir(directory).file(format!("{directory}/.complete"), b"");
    }
    for file in files {
        cache = cache.file(file, b"foreign");
    }
    for (link, to) in links {
        cache = cache.link(link, to);
    }
    cache = cache.file(latin1(b"\xe9t\xe9"), b"foreign").dir(latin1(b"61000000000000\xff0"));
    count += 2;
    Foreign { cache, count }
}

#[test]
fn no_command_touches_what_is_foreign() {
    let looking: [&[&str]; 3] =
        [&["stats", "--entries"], &["verify", "--deep"], &["gc-orphans", "--min-age", "0s"]];
    let removing: [&[&str]; 5] = [
        &["sweep", "--max-size", "0", "--min-budget", "0"],
        &["sweep", "--max-entries", "0", "--older-than", "0s", "--min-free", "100%"],
        &["invalidate", "--all"],
        &["invalidate", "--all", "--force"],
        &["verify", "--fix"],
    ];
    let damaged = || foreign().cache.without("a", "video/init.mp4");
    for command in looking {
        damaged().run(command).removed_only([]);
    }
    for command in removing {
        damaged().run(command).removed_only(["a"]);
    }
}

#[test]
fn foreign_things_named_like_keys_are_no_entries_to_be_named() {
    for name in ["file", "link", "danglin", "self"] {
        let Foreign { cache, .. } = foreign();
        cache.run(["invalidate", "--force", &key(name)]).removed_only([]);
        cache.run(["verify", "--fix", &key(name)]).untouched();
    }
}

#[test]
fn what_is_foreign_is_counted_and_not_taken_for_trash_or_an_entry() {
    let Foreign { cache, count } = foreign();
    let json = cache.run(["--json", "stats"]).success().untouched().json();
    assert_eq!(json["foreign"]["count"], count);
    assert_eq!(json["total"]["entries"], 1);
    assert_eq!(json["trash"]["entries"], 0);
    assert_eq!(json["total"]["bytes"], 10.kib());
}

#[test]
fn the_daemons_encoder_settings_are_neither_foreign_nor_touched() {
    let commands: [&[&str]; 10] = [
        &["stats", "--entries"],
        &["verify", "--deep"],
        &["key", "--stamp", "--quality", "q", "/s"],
        &["gc-orphans", "--min-age", "0s"],
        &["sweep", "--max-size", "0", "--min-budget", "0"],
        &["sweep", "--max-entries", "0", "--older-than", "0s", "--min-free", "100%"],
        &["invalidate", "--all"],
        &["invalidate", "--all", "--force"],
        &["invalidate", &key("a")],
        &["verify", "--fix"],
    ];
    let stamp = br#"{"fingerprint":"videotoolbox|medium|10M||0|false"}"#;
    let cache = || TestCache::new().sealed("a", 10.kib(), 900.days()).file(".encode-stamp", stamp);
    for command in commands {
        let cache = cache();
        let path = cache.root().join(".encode-stamp");
        let facts = || {
            let meta = path.symlink_metadata().unwrap();
            (
                meta.ino(),
                meta.mode(),
                meta.mtime(),
                meta.mtime_nsec(),
                meta.ctime(),
                meta.ctime_nsec(),
            )
        };
        let before = facts();
        cache.run(command);
        assert_eq!(facts(), before, "{command:?}");
        assert_eq!(fs::read(&path).unwrap(), stamp, "{command:?}");
    }
    let json = cache().run(["--json", "stats"]).success().untouched().json();
    assert_eq!(json["foreign"]["count"], 0);
    assert_eq!(json["total"]["bytes"], 10.kib());
}

#[test]
fn what_has_the_name_of_the_settings_and_is_no_file_is_foreign() {
    let sweep = ["sweep", "--max-size", "0", "--min-budget", "0"];
    for cache in [
        TestCache::new().dir(".encode-stamp"),
        TestCache::new().outside("far").link(".encode-stamp", "../far/precious"),
    ] {
        let cache = cache.sealed("a", 10.kib(), 900.days());
        let json = cache.run(["--json", "stats"]).success().untouched().json();
        assert_eq!(json["foreign"]["count"], 1);
        cache.run(sweep).removed_only(["a"]);
    }
}

#[test]
fn hostile_names_do_not_reach_the_terminal() {
    let Foreign { cache, .. } = foreign();
    for command in [&["-v", "stats", "--entries"][..], &["-v", "verify"], &["-v", "gc-orphans"]] {
        let run = cache.run(command).success();
        let said = [&run.output.stdout[..], &run.output.stderr].concat();
        assert!(!said.contains(&0x1b), "{run}");
    }
}
