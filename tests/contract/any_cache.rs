//! Whatever a cache holds, every command ends with a status that the contract has, prints what the schema says, and
//! changes nothing when it is only asked.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::common::sizes::{self, Field};
use crate::common::{Age, Run, Size, TestCache, key};

/// The entries that a cache may have.
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// What is at a path.
#[derive(Clone, Debug)]
enum Thing {
    File(Vec<u8>),
    Directory,
    LinkToNowhere,
    LinkToTheRoot,
    Pipe,
}

#[derive(Clone, Debug)]
struct Entry {
    is_sealed: bool,
    kib: u64,
    hours: u64,
    is_in_future: bool,
    /// Strange things in it, by their path.
    strange: Vec<(&'static str, Thing)>,
}

#[derive(Clone, Debug)]
enum Remembered {
    Nothing,
    Garbage(Vec<u8>),
    Truth,
    /// A field of all records.
    Lie(Field, u64),
    /// The truth with one byte changed.
    Garbled(Index, u8),
}

#[derive(Clone, Debug)]
struct Contents {
    entries: Vec<Entry>,
    foreign: Vec<(Vec<u8>, Thing)>,
    log: Vec<Vec<u8>>,
    remembered: Remembered,
    stamp: Option<Vec<u8>>,
}

impl Contents {
    fn lay_out(&self) -> TestCache {
        let mut cache = TestCache::new();
        let names = &NAMES[..self.entries.len()];
        for (name, entry) in names.iter().zip(&self.entries) {
            let (bytes, age) = (entry.kib.kib(), entry.hours.hours());
            cache = if entry.is_sealed {
                cache.sealed(name, bytes, age)
            } else {
                cache.partial(name, bytes, age)
            };
            for (path, thing) in &entry.strange {
                thing.put(&cache.entry_path(name).join(path));
            }
            // Again: what is put into a directory moves its time.
            cache = cache.used(name, age);
            if entry.is_in_future {
                cache = cache.in_future(name, age);
            }
        }
        let root = cache.root();
        for (name, thing) in &self.foreign {
            thing.put(&root.join(OsStr::from_bytes(name)));
        }
        let sizes = || cache.sizes(names.iter().copied());
        match &self.remembered {
            Remembered::Nothing => {}
            Remembered::Garbage(bytes) => sizes::write(&root, bytes),
            Remembered::Truth => sizes().write(&root),
            Remembered::Lie(field, value) => {
                let mut sizes = sizes();
                sizes.all_saying(*field, *value);
                sizes.write(&root);
            }
            Remembered::Garbled(place, byte) => {
                let mut text = sizes().text().into_bytes();
                let place = place.index(text.len());
                text[place] = *byte;
                sizes::write(&root, &text);
            }
        }
        if let Some(stamp) = &self.stamp {
            fs::write(root.join(".encode-stamp"), stamp).expect("a stamp");
        }
        cache.file(".events.log", &self.log.join(&b'\n'))
    }
}

impl Thing {
    /// Puts it there, where a file of another kind may be; not where a directory is, or below a file.
    fn put(&self, path: &Path) {
        let _ = path.parent().map(fs::create_dir_all);
        let _ = fs::remove_file(path);
        let _ = match self {
            Self::File(bytes) => fs::write(path, bytes),
            Self::Directory => fs::create_dir(path),
            Self::LinkToNowhere => symlink("nowhere", path),
            Self::LinkToTheRoot => symlink("../root", path),
            Self::Pipe => {
                mknodat(CWD, path, FileType::Fifo, Mode::from(0o600), 0).map_err(Into::into)
            }
        };
    }
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..80)
}

fn things() -> impl Strategy<Value = Thing> {
    prop_oneof![
        3 => bytes().prop_map(Thing::File),
        2 => Just(Thing::Directory),
        1 => Just(Thing::LinkToNowhere),
        1 => Just(Thing::LinkToTheRoot),
        1 => Just(Thing::Pipe),
    ]
}

fn entries() -> impl Strategy<Value = Entry> {
    let strange = select(vec![
        ".complete",
        "video/init.mp4",
        "video/seg-0.m4s",
        "video/seg-18446744073709551615.m4s",
        "video/seg-007.m4s",
        "video/ffmpeg-0.m3u8",
        "video/deeper/still/seg-0.m4s",
        "video/\u{1b}[31m\n",
        "subs/sub-0.vtt",
        "subs",
        "-rf",
    ]);
    // An entry of no bytes has an empty `video`.
    let kib = prop_oneof![Just(0), 1..50u64];
    // The last is before 1970.
    let hours = prop_oneof![Just(0), 1..48u64, Just(500_000)];
    let strange = vec((strange, things()), 0..4);
    (any::<bool>(), kib, hours, prop::bool::weighted(0.1), strange).prop_map(
        |(is_sealed, kib, hours, is_in_future, strange)| Entry {
            is_sealed,
            kib,
            hours,
            is_in_future,
            strange,
        },
    )
}

fn foreign() -> impl Strategy<Value = (Vec<u8>, Thing)> {
    let nearly = select(vec![
        format!(".{}.pin", key("a")),
        format!(".{}.write", key("b")),
        format!(".trash.{}.0123456789abcdef", key("c")),
        format!(".trash.{}", key("c")),
        ".trash.old".to_owned(),
        ".maintenance.lock".to_owned(),
        ".events.log.1".to_owned(),
        ".sizes.new".to_owned(),
        key("z"),
        key("a").to_uppercase(),
        "-rf".to_owned(),
    ]);
    let is_name = |name: &Vec<u8>| ![&b"."[..], b".."].contains(&&**name);
    let any = vec(any::<u8>().prop_filter("a name", |b| ![0, b'/'].contains(b)), 1..40);
    let name = prop_oneof![nearly.prop_map(String::into_bytes), any.prop_filter("a name", is_name)];
    (name, things())
}

/// Lines that are events, or nearly.
fn lines() -> impl Strategy<Value = Vec<u8>> {
    let time = prop_oneof![any::<i64>(), 1_600_000_000..2_000_000_000_i64];
    let kind = select(vec!["hit", "miss", "evict", "orphan", "invalidate", "sweep", "other"]);
    let number = || prop_oneof![Just(u64::MAX), any::<u64>(), 0..1_000_000_000_u64];
    let reason = select(vec!["min-free", "over-budget", "damaged", "orphan", "none"]);
    let name = select(vec!["max_size", "min_free", "removed", "freed", "left", "exit", "colour"]);
    let event = (time, kind, select(NAMES.to_vec()), vec(number(), 0..3), reason, name);
    let event = event.prop_map(|(time, kind, entry, numbers, reason, name)| {
        let key = if kind == "sweep" { String::new() } else { key(entry) };
        let mut line = format!("{time} {kind} {key}");
        for number in &numbers {
            line += &match kind {
                "sweep" => format!(" {name}={number}"),
                _ => format!(" {number}"),
            };
        }
        if numbers.len() == 2 && kind != "sweep" {
            line = line + " " + reason;
        }
        line.into_bytes()
    });
    prop_oneof![8 => event, 1 => bytes()]
}

fn remembered() -> impl Strategy<Value = Remembered> {
    let field = select(vec![
        Field::Measured,
        Field::DirectoryInode,
        Field::CompleteCtime,
        Field::VideoCtime,
        Field::Files,
        Field::Bytes,
        Field::Written,
    ]);
    let value = prop_oneof![Just(0), Just(u64::MAX), Just(i64::MAX.cast_unsigned()), any::<u64>()];
    prop_oneof![
        Just(Remembered::Nothing),
        Just(Remembered::Truth),
        bytes().prop_map(Remembered::Garbage),
        (field, value).prop_map(|(field, value)| Remembered::Lie(field, value)),
        (any::<Index>(), any::<u8>()).prop_map(|(place, byte)| Remembered::Garbled(place, byte)),
    ]
}

fn contents() -> impl Strategy<Value = Contents> {
    let settings = Just(br#"{"fingerprint":"a|b"}"#.to_vec());
    let stamp = prop::option::of(prop_oneof![settings, bytes()]);
    let entries = vec(entries(), 0..=NAMES.len());
    (entries, vec(foreign(), 0..6), vec(lines(), 0..30), remembered(), stamp).prop_map(
        |(entries, foreign, log, remembered, stamp)| Contents {
            entries,
            foreign,
            log,
            remembered,
            stamp,
        },
    )
}

/// That it printed what the schema has, and ended as the contract says: how.
fn sound(run: &Run<'_>) -> Option<i32> {
    let code = run.output.status.code();
    assert!([0, 1, 3].map(Some).contains(&code), "{run}");
    run.json();
    code
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_command_reports_any_cache_as_the_schema_says_and_no_dry_run_changes_it(contents in contents()) {
        let cache = contents.lay_out();
        let media: PathBuf = cache.outside_path("media");
        fs::create_dir(&media).expect("media");
        fs::write(media.join(OsStr::from_bytes(b"film \xff.mkv")), "").expect("a film");
        let library = format!("--library={}", media.display());
        let (a, none) = (key("a"), key("none"));
        let sweep = ["-v", "sweep", "--max-size", "20K", "--min-budget", "0", "--low-water", "50"];
        let looking: [&[&str]; 13] = [
            &["stats"],
            &["stats", "--entries", "--histogram", "--max-size", "20K", "--full-scan"],
            &["stats", "--entries", "--sort", "size", "--qualities=1080p", &library],
            &["stats", "--unnamed", "--qualities=1080p", &library],
            &["stats", "--history", "--max-size", "20K"],
            &["stats", "--check", "--max-size", "20K", "--min-free", "5%"],
            &["stats", &a, &none, "--max-size", "20K"],
            &["-v", "sweep", "-n", "--max-entries", "1", "--older-than", "1d", "--min-free", "1"],
            &["-v", "gc-orphans", "-n"],
            &["invalidate", "-n", "--all"],
            &["invalidate", "-n", &a, &none],
            &["verify"],
            &["verify", "--deep", &a, &none],
        ];
        let run = |args: &[&str]| cache.run([&["--json"], args].concat());
        for args in looking {
            sound(&run(args).untouched());
        }
        let planned = sound(&run(&[&sweep[..], &["-n"]].concat()).untouched());
        prop_assert_eq!(sound(&run(&sweep)), planned, "a dry run ends as the real one");
        for args in [&["gc-orphans", "--min-age", "0s"][..], &["verify", "--fix"], &["invalidate", "--all"]] {
            sound(&run(args));
        }
    }
}
