//! Films by name: `--library`, `--source`, `--keep-source`, `--prefer-unnamed` and `stats KEY`.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::common::{Age, Size, TestCache, key};

/// The key that a daemon makes from these parts, with code of its own.
fn key_of(path: &Path, rest: &str) -> String {
    let text = [path.as_os_str().as_bytes(), b"|", rest.as_bytes()].concat();
    hex::encode(&Sha256::digest(&text)[..8])
}

/// A cache beside a library: Alien at two qualities, the first episode of Dark, and an entry of nobody.
struct Shelf {
    cache: TestCache,
    media: PathBuf,
    alien: [String; 2],
    dark: String,
}

const LIMIT: [&str; 5] = ["sweep", "--max-size", "25K", "--min-budget", "0"];

impl Shelf {
    fn new() -> Self {
        Self::seen_as(Path::to_owned)
    }

    /// The daemon sees the library elsewhere.
    fn seen_as(place: impl Fn(&Path) -> PathBuf) -> Self {
        let cache = TestCache::new()
            .sealed("a", 10.kib(), 40.days())
            .sealed("b", 10.kib(), 30.days())
            .sealed("c", 10.kib(), 20.days())
            .sealed("x", 10.kib(), 10.days());
        let media = cache.outside_path("media");
        let films = ["films/Alien (1979).mkv", "shows/Dark/S01E01.mkv"];
        let cache = films.iter().fold(cache, |cache, film| cache.file(media.join(film), b""));
        let seen = films.map(|film| place(&media).join(film));
        let shelf = Self {
            alien: [key_of(&seen[0], "1080p|-1"), key_of(&seen[0], "|15")],
            dark: key_of(&seen[1], "720p|0"),
            cache,
            media,
        };
        for (name, key) in [("a", &shelf.alien[0]), ("b", &shelf.alien[1]), ("c", &shelf.dark)] {
            shelf.rename(name, key);
        }
        shelf
    }

    fn rename(&self, name: &str, key: &str) {
        fs::rename(self.cache.entry_path(name), self.cache.root().join(key)).expect("an entry");
    }

    fn library(self) -> Self {
        let cache = self.cache.env("HLS_CACHE_LIBRARY", &self.media);
        Self { cache, ..self }
    }

    fn json(&self, args: &[&str], code: i32) -> Value {
        self.cache.run([&["--json"], args].concat()).code(code).json()
    }

    fn has(&self, key: &str) -> bool {
        self.cache.root().join(key).is_dir()
    }
}

fn source(path: &Path, quality: &str, audio: i64, burn: Option<i64>) -> Value {
    json!({"path": path, "quality": quality, "audio": audio, "burn": burn})
}

/// The entry `key` in a list of entries.
fn entry<'j>(json: &'j Value, key: &str) -> &'j Value {
    let entries = json["entries"].as_array().expect("entries");
    entries.iter().find(|entry| entry["key"] == key).unwrap_or_else(|| panic!("no {key} in {json}"))
}

#[test]
fn every_command_shows_what_an_entry_was_encoded_from() {
    let shelf = Shelf::new().library();
    let film = shelf.media.join("films/Alien (1979).mkv");
    let [first, second] = &shelf.alien;
    let stats = shelf.json(&["stats", "--entries"], 0);
    assert_eq!(entry(&stats, first)["source"], source(&film, "1080p", -1, None));
    assert_eq!(entry(&stats, second)["source"], source(&film, "", 15, None));
    assert_eq!(entry(&stats, &key("x"))["source"], Value::Null);
    let shown = shelf.cache.run(["stats"]).success().stdout();
    assert!(shown.contains("names      3 of 4 entries have one"), "{shown}");

    let sweep = shelf.json(&[&LIMIT[..], &["-n"]].concat(), 0);
    assert_eq!(entry(&sweep, first)["source"], source(&film, "1080p", -1, None));
    let shown = shelf.cache.run([&LIMIT[..], &["-n"]].concat()).success().stdout();
    assert!(shown.contains("  films/Alien (1979).mkv, 1080p, default track\n"), "{shown}");
    let shown = shelf.cache.run(["invalidate", "-n", second]).success().stdout();
    assert!(shown.contains("  films/Alien (1979).mkv, track 15\n"), "{shown}");

    fs::remove_file(shelf.cache.root().join(first).join("video/init.mp4")).unwrap();
    let verify = shelf.json(&["verify"], 3);
    assert_eq!(entry(&verify, first)["source"], source(&film, "1080p", -1, None));
    let shown = shelf.cache.run(["verify"]).code(3).stdout();
    let last = "To be transcoded again:\n  films/Alien (1979).mkv (1080p, default track)\n";
    assert!(shown.ends_with(last), "{shown}");
}

#[test]
fn a_daemon_may_see_the_library_elsewhere() {
    let shelf = Shelf::seen_as(|_| "/data/media".into());
    let seen = PathBuf::from("/data/media/shows/Dark/S01E01.mkv");
    let mapped = format!("{}=/data//media/", shelf.media.display());
    let stats = shelf.json(&["stats", "--entries", "--library", &mapped], 0);
    assert_eq!(entry(&stats, &shelf.dark)["source"], source(&seen, "720p", 0, None));
    // Without the mapping nothing has a name, and nothing else differs.
    let plain = shelf.media.to_str().unwrap();
    let stats = shelf.json(&["stats", "--entries", "--library", plain], 0);
    assert_eq!(entry(&stats, &shelf.dark)["source"], Value::Null);
    // The user may name a source as either of the two sees it.
    for path in ["/data/media/shows", shelf.media.join("shows").to_str().unwrap()] {
        let args = ["invalidate", "-n", "--source", path, "--library", &mapped];
        let json = shelf.json(&args, 0);
        assert_eq!(json["removed"], 1, "{path}");
        assert_eq!(entry(&json, &shelf.dark)["action"], "would-remove");
    }
}

#[test]
fn only_the_given_qualities_and_tracks_are_tried() {
    let shelf = Shelf::new().library();
    let named = |args: &[&str]| {
        let json = shelf.json(&[&["stats", "--entries"], args].concat(), 0);
        let entries = json["entries"].as_array().unwrap();
        entries.iter().filter(|entry| !entry["source"].is_null()).count()
    };
    assert_eq!(named(&[]), 3);
    assert_eq!(named(&["--qualities", "720p,1080p"]), 2);
    assert_eq!(named(&["--qualities", ""]), 1);
    assert_eq!(named(&["--tracks", "-1..0"]), 2);
    assert_eq!(named(&["--tracks", "15", "--qualities", "1080p"]), 0);
}

#[test]
fn keys_of_five_parts_are_named_with_the_stamps_settings() {
    let shelf = Shelf::new().library();
    let film = shelf.media.join("films/Alien (1979).mkv");
    let five = |burn: i64| key_of(&film, &format!("1080p|0|{burn}|vt|10M||0"));
    let (plain, burnt) = (five(-1), five(7));
    shelf.rename("x", &plain);
    fs::rename(shelf.cache.root().join(&shelf.dark), shelf.cache.root().join(&burnt)).unwrap();
    let cache = shelf.cache.file(".encode-stamp", br#"{"v":1,"fingerprint":"vt|10M||0"}"#);
    let shelf = Shelf { cache, ..shelf };
    let stats = shelf.json(&["stats", "--entries"], 0);
    assert_eq!(stats["foreign"]["count"], 0);
    assert_eq!(entry(&stats, &plain)["source"], source(&film, "1080p", 0, Some(-1)));
    assert_eq!(entry(&stats, &burnt)["source"], source(&film, "1080p", 0, Some(7)));
    assert_eq!(entry(&stats, &shelf.alien[0])["source"]["burn"], Value::Null);
    let json = shelf.json(&["invalidate", "-n", "--source", film.to_str().unwrap()], 0);
    assert_eq!(json["removed"], 4, "every quality, track and subtitle of it");
}

#[test]
fn invalidating_a_source_removes_all_of_it_and_nothing_else() {
    for place in ["films/Alien (1979).mkv", "films", "films/../films/./"] {
        let shelf = Shelf::new();
        let path = format!("{}/{place}", shelf.media.display());
        shelf.cache.run(["invalidate", "--source", &path]).success();
        assert!(!shelf.alien.iter().any(|key| shelf.has(key)), "{place}");
        assert!(shelf.has(&shelf.dark) && shelf.cache.has("x"), "{place}");
    }
    // The film may be gone from the library; with a KEY, both go.
    let shelf = Shelf::new();
    let film = shelf.media.join("films/Alien (1979).mkv");
    fs::remove_file(&film).unwrap();
    shelf.cache.run(["invalidate", "--source", film.to_str().unwrap(), &shelf.dark]).success();
    assert!(!shelf.has(&shelf.alien[0]) && !shelf.has(&shelf.alien[1]) && !shelf.has(&shelf.dark));
    assert!(shelf.cache.has("x"));
}

/// With a quality that is not in the list, the old film would go on being served.
#[test]
fn a_source_without_an_entry_is_a_finding() {
    let shelf = Shelf::new();
    let film = shelf.media.join("films/Alien (1979).mkv");
    let film = film.to_str().unwrap();
    let none = "no entry of this source";
    for quiet in [&[][..], &["-q"]] {
        let args = [quiet, &["invalidate", "--source", film, "--qualities", "4k"]].concat();
        shelf.cache.run(args).code(3).untouched().complains_of(none).complains_of(film);
    }
    let args = ["invalidate", "--source", "/nowhere", "--source", film];
    shelf.cache.run(args).code(3).complains_of("/nowhere").complains_of(none);
    assert!(!shelf.has(&shelf.alien[0]), "the other source is removed");
}

#[test]
fn a_source_without_an_entry_judges_no_other() {
    let cache = TestCache::new().sealed("a", 10.kib(), 1.days());
    let mount_point = Path::new(&key("a")).join("video");
    let Some(cache) = cache.mount_tmpfs(mount_point, "") else { return };
    cache
        .run(["invalidate", "--source", "/nowhere"])
        .code(3)
        .complains_of("no entry of this source");
}

#[test]
fn a_kept_source_is_never_evicted() {
    let shelf = Shelf::new();
    let films = shelf.media.join("films");
    let keep = ["--keep-source", films.to_str().unwrap()];
    for limit in ["--max-size=0", "--max-entries=0", "--older-than=0s", "--min-free=100%"] {
        let args = ["sweep", limit, "--min-budget", "0", "--best-effort", "-n", "--json"];
        let json: Value = shelf.cache.run([&args[..], &keep].concat()).untouched().json();
        let kept: Vec<_> =
            shelf.alien.iter().map(|key| (key.clone(), "keep-source".to_owned())).collect();
        assert_eq!(decisions_by_key(&json, "kept"), kept, "{limit}");
        assert_eq!(json["removed"], 2, "{limit}");
    }
    let args = ["sweep", "--max-entries", "2", "-v"];
    let run = shelf.cache.run([&args[..], &keep].concat()).success();
    assert!(run.stdout().contains("kept by --keep-source"), "{run}");
    assert!(shelf.alien.iter().all(|key| shelf.has(key)));
    assert!(!shelf.has(&shelf.dark) && !shelf.cache.has("x"));
}

/// In eviction order, which is that of [`Shelf::alien`] here.
fn decisions_by_key(json: &Value, action: &str) -> Vec<(String, String)> {
    let entries = json["entries"].as_array().expect("entries");
    let of_action = entries.iter().filter(|entry| entry["action"] == action);
    of_action
        .map(|entry| ["key", "reason"].map(|name| entry[name].as_str().unwrap().to_owned()))
        .map(|[key, reason]| (key, reason))
        .collect()
}

#[test]
fn what_no_file_names_goes_first_if_nobody_used_it_for_a_week() {
    let prefer = ["--prefer-unnamed"];
    let first = |shelf: &Shelf| {
        let args = ["sweep", "--max-entries", "3", "-n"];
        let json = shelf.json(&[&args[..], &prefer].concat(), 0);
        decisions_by_key(&json, "would-remove")[0].0.clone()
    };
    let shelf = Shelf::new().library();
    assert_eq!(first(&shelf), key("x"));
    let cache = shelf.cache.used("x", 7.days() - 1.minutes());
    let shelf = Shelf { cache, ..shelf };
    assert_eq!(first(&shelf), shelf.alien[0]);
}

#[test]
fn too_few_names_change_no_order() {
    let shelf = Shelf::new().library();
    // Half of the sealed entries have a name, then less.
    shelf.rename("x", "ffffffffffffffff");
    fs::rename(shelf.cache.root().join(&shelf.dark), shelf.cache.root().join("eeeeeeeeeeeeeeee"))
        .unwrap();
    let args = ["--json", "sweep", "--max-entries", "3", "-n", "--prefer-unnamed"];
    let json = shelf.cache.run(args).success().json();
    assert_eq!(decisions_by_key(&json, "would-remove")[0].0, "eeeeeeeeeeeeeeee");
    let args = [&args[..], &["--qualities", "1080p"]].concat();
    let run = shelf.cache.run(args).success();
    assert_eq!(decisions_by_key(&run.json(), "would-remove")[0].0, shelf.alien[0]);
    run.complains_of("--prefer-unnamed has no effect: only 1 of 4 sealed entries have a name");
}

#[test]
fn what_is_known_of_one_entry() {
    let cache = TestCache::new()
        .sealed("a", 10.kib(), 5.days())
        .sealed("b", 10.kib(), 4.days())
        .sealed("c", 10.kib(), 3.days())
        .pinned("b");
    let log = cache.event("hit", "c", 3.days())
        + &cache.event("miss", "a", 6.days())
        + &format!("1700000000 evict {} 4096 90 older-than\n", key("gone"));
    let cache = cache.events(&log);
    let [a, b, c, gone, never] = ["a", "b", "c", "gone", "never"].map(key);
    let args = ["--json", "stats", "--max-size", "25K", &c, &b, &a, &gone, &never];
    let json = cache.run(args).success().untouched().json();
    let about = |key: &str| {
        let entry = entry(&json, key);
        ["state", "rank", "protected_by", "would_go_for"].map(|name| entry[name].clone())
    };
    assert_eq!(about(&a), [json!("sealed"), json!(1), json!(null), json!("max_size")]);
    assert_eq!(about(&b), [json!("sealed"), json!(null), json!("pinned"), json!(null)]);
    assert_eq!(about(&c), [json!("sealed"), json!(2), json!(null), json!(null)]);
    assert_eq!(about(&gone), [json!("absent"), json!(null), json!(null), json!(null)]);
    assert_eq!(about(&never), about(&gone));
    assert_eq!(
        entry(&json, &gone)["log"],
        json!([{
            "time": "2023-11-14T22:13:20Z", "event": "evict", "bytes": 4096, "age_seconds": 90,
            "reason": "older-than"
        }])
    );
    assert_eq!(entry(&json, &never)["log"], json!([]));
    assert_eq!(entry(&json, &c)["log"][0]["event"], "hit");
    let keys: Vec<&Value> =
        json["entries"].as_array().unwrap().iter().map(|entry| &entry["key"]).collect();
    assert_eq!(keys, [&c, &b, &a, &gone, &never], "in the order in which they were named");

    let shown = cache.run(["stats", "--max-size", "25K", &a, &b, &gone]).success().stdout();
    for line in [
        "next to go, 1 of 2 evictable entries: --max-size 25 KiB",
        "kept: pinned by cat[",
        "  absent\n",
        "evict, 4 KiB, 1m after the last use (older-than)",
    ] {
        assert!(shown.contains(line), "{line}\n{shown}");
    }
}

#[test]
fn the_limits_of_the_last_sweep_stand_in_for_those_not_given() {
    let cache = TestCache::new().sealed("a", 10.kib(), 5.days()).sealed("b", 10.kib(), 1.hours());
    let cache = cache.events("1700000000 sweep older_than=86400 keep_recent=7200 exit=0\n");
    let about = |cache: &TestCache, name: &str| {
        let json = cache.run(["--json", "stats", &key(name)]).success().json();
        let entry = entry(&json, &key(name)).clone();
        [entry["protected_by"].clone(), entry["would_go_for"].clone()]
    };
    assert_eq!(about(&cache, "a"), [json!(null), json!("older_than")]);
    assert_eq!(about(&cache, "b"), [json!("recent"), json!(null)]);
    let cache = cache.env("HLS_CACHE_KEEP_RECENT", "1m");
    assert_eq!(about(&cache, "b"), [json!(null), json!(null)]);
}

/// 'Where has it gone?'
#[test]
fn a_source_is_found_in_the_log_when_its_entry_is_gone() {
    let shelf = Shelf::new();
    let film = shelf.media.join("films/Alien (1979).mkv");
    fs::remove_dir_all(shelf.cache.root().join(&shelf.alien[1])).unwrap();
    let log = format!("1700000000 evict {} 4096 90 min-free\n", shelf.alien[1]);
    let shelf = Shelf { cache: shelf.cache.events(&log), ..shelf };
    let json = shelf.json(&["stats", "--source", film.to_str().unwrap()], 0);
    assert_eq!(json["entries"].as_array().unwrap().len(), 2, "{json}");
    let gone = entry(&json, &shelf.alien[1]);
    assert_eq!((&gone["state"], &gone["log"][0]["reason"]), (&json!("absent"), &json!("min-free")));
    assert_eq!(gone["source"], source(&film, "", 15, None));
    assert_eq!(entry(&json, &shelf.alien[0])["state"], "sealed");
    shelf
        .cache
        .run(["stats", "--source", "/nowhere"])
        .success()
        .complains_of("no entry and no event");
}

#[test]
fn only_the_unnamed_are_listed_when_asked_for() {
    let shelf = Shelf::new().library();
    let json = shelf.json(&["stats", "--unnamed"], 0);
    let keys: Vec<&Value> =
        json["entries"].as_array().unwrap().iter().map(|entry| &entry["key"]).collect();
    assert_eq!(keys, [&key("x")]);
    let shown = shelf.cache.run(["stats", "--unnamed"]).success().stdout();
    assert!(shown.contains(&key("x")) && !shown.contains("Alien"), "{shown}");
}

#[test]
fn a_library_that_names_nothing_is_one_warning_and_changes_nothing_else() {
    let shelf = Shelf::new();
    let empty = shelf.cache.outside_path("empty");
    fs::create_dir(&empty).unwrap();
    let file = shelf.media.join("shows/Dark/S01E01.mkv");
    let missing = shelf.cache.outside_path("missing");
    let plain = shelf.json(&[&LIMIT[..], &["-n"]].concat(), 0);
    for library in [empty, file, missing] {
        let library = library.to_str().unwrap();
        let args = [&LIMIT[..], &["-n", "--library", library, "--prefer-unnamed"]].concat();
        let json = shelf.json(&args, 0);
        let removed = |json| decisions_by_key(json, "would-remove");
        assert_eq!(removed(&json), removed(&plain), "{library}");
        let warnings = json["warnings"].as_array().unwrap();
        let of_library = |warning: &&Value| warning.as_str().unwrap().starts_with(library);
        assert_eq!(warnings.iter().filter(of_library).count(), 1, "{library}: {warnings:?}");
    }
}

#[test]
fn usage_of_names() {
    let cache = TestCache::new().sealed("a", 10.kib(), 5.days());
    for (args, reason) in [
        (&["sweep", "--max-size", "1G", "--prefer-unnamed"][..], "add --library DIR"),
        (&["stats", "--unnamed"], "add --library DIR"),
        (&["stats", "--library", ""], "--library needs DIR"),
        (&["stats", "--library", "/m="], "--library needs DIR"),
        (&["stats", "--library", "/m", "--tracks", "0..99999"], "too many tracks"),
        (&["stats", "--library", "/m", "--tracks", "0..5000"], "shorten --qualities or --tracks"),
        (&["invalidate"], "--source"),
        (&["invalidate", "--all", "--source", "/m"], "--source"),
        (&["stats", "--entries", "0123456789abcdef"], "--entries"),
        (&["key", "--quality", "q", "--library", "/m", "/a"], "--library"),
    ] {
        cache.run(args).code(2).no_stdout().untouched().complains_of(reason);
    }
}
