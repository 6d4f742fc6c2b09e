//! Media libraries that are missing, wrong, hostile or dead: they cost names, and never an entry.

use std::collections::BTreeSet;
use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::common::{Age, Run, Size, TestCache, need};
use crate::tools;

/// What the daemon calls the library, wherever a test has it: so keys are the same in every cache.
const MEDIA: &str = "/media";

const ALL: &[&str] = &["sweep", "--max-size=0", "--min-budget=0"];

fn hash(text: &[u8]) -> String {
    hex::encode(&Sha256::digest(text)[..8])
}

/// The key of three parts.
fn key_of(source: impl AsRef<[u8]>, quality: &str, track: i64) -> String {
    hash(&[source.as_ref(), format!("|{quality}|{track}").as_bytes()].concat())
}

/// Adds a sealed entry of this key.
fn entry(cache: TestCache, key: &str, age: Duration) -> TestCache {
    let cache = cache.sealed("new", 10.kib(), age);
    fs::rename(cache.entry_path("new"), cache.root().join(key)).expect("entry");
    cache
}

/// Adds a sealed entry of the source below [`MEDIA`] in 1080p.
fn film(cache: TestCache, source: impl AsRef<[u8]>, age: Duration) -> TestCache {
    let path = [MEDIA.as_bytes(), b"/", source.as_ref()].concat();
    entry(cache, &key_of(path, "1080p", 0), age)
}

/// Films on two disks, entries that no library names, and an abandoned one.
fn films() -> TestCache {
    let mut cache = TestCache::new().partial("p", 10.kib(), 40.days());
    for n in 0..6 {
        cache = film(cache, format!("disk{}/film {n}.mkv", n % 2), (20 + n).days());
    }
    for n in 0..4 {
        cache = film(cache, format!("elsewhere/{n}.mkv"), (10 + n * 5).days());
    }
    cache
}

/// The library of [`films`], as it should be.
fn fill(library: &Path) {
    for n in 0..6 {
        file(&library.join(format!("disk{}/film {n}.mkv", n % 2)));
    }
}

fn file(path: &Path) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("directory");
    fs::write(path, "").expect("file");
}

fn left(cache: &TestCache) -> BTreeSet<OsString> {
    let entries = tools::entries(&cache.root());
    entries.into_iter().map(|path| path.file_name().expect("a name").to_owned()).collect()
}

/// `--library DIR=/media`.
fn library(dir: &Path) -> OsString {
    let mut option = OsString::from("--library=");
    option.push(dir);
    option.push("=");
    option.push(MEDIA);
    option
}

fn warnings(run: &Run<'_>, of: &str) -> usize {
    run.stderr().lines().filter(|l| l.starts_with("warning: ") && l.contains(of)).count()
}

/// Makes a library at the path.
type Make = fn(&Path);

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from(0o600), 0).expect("FIFO");
}

/// Libraries that name nothing of [`films`], and how many warnings each must give.
const HOSTILE: &[(&str, usize, Make)] = &[
    ("missing", 1, |_| {}),
    ("a file", 1, |at| fs::write(at, "").unwrap()),
    ("a FIFO", 1, fifo),
    ("empty", 1, |at| fs::create_dir(at).unwrap()),
    ("hidden files", 1, |at| {
        file(&at.join(".disk0/film 0.mkv"));
        file(&at.join(".film.mkv"));
    }),
    ("a link to itself", 1, |at| symlink(at, at).unwrap()),
    ("a link that leads nowhere", 1, |at| symlink("/nowhere/at/all", at).unwrap()),
    ("loops and broken links", 0, |at| {
        file(&at.join("a/b/film.mkv"));
        symlink(at, at.join("a/b/up")).unwrap();
        symlink("self", at.join("self")).unwrap();
        symlink("/nowhere/at/all", at.join("film.mkv")).unwrap();
    }),
    ("FIFOs and sockets", 0, |at| {
        fs::create_dir(at).unwrap();
        fifo(&at.join("fifo.mkv"));
        symlink("fifo.mkv", at.join("link.mkv")).unwrap();
        drop(UnixListener::bind(at.join("socket.mkv")).unwrap());
    }),
    ("strange names", 0, |at| {
        for name in [&b"\xff\xfe.mkv"[..], b"two\nlines.mkv", b"\x1b[31mred\x07.mkv", b"="] {
            file(&at.join(OsStr::from_bytes(name)));
        }
    }),
    ("links to each other", 0, mesh),
];

/// Directories with a link to each other: as many paths as there are orders of them.
fn mesh(at: &Path) {
    let dirs = (0..12).map(|n| at.join(n.to_string()));
    dirs.clone().for_each(|dir| file(&dir.join("film.mkv")));
    for (from, to) in dirs.clone().flat_map(|from| dirs.clone().map(move |to| (from.clone(), to))) {
        symlink(&to, from.join(to.file_name().unwrap())).unwrap();
    }
}

#[test]
fn a_hostile_library_gives_one_warning_at_most_and_changes_nothing_else() {
    let invalidate: &[&str] = &["invalidate", "--all"];
    let stats: &[&str] = &["stats", "--entries"];
    let commands = [
        ALL,
        &["sweep", "--max-entries=4", "--min-budget=0"],
        &["sweep", "--older-than=23d"],
        &["sweep", "--max-entries=3", "-n"],
        &["gc-orphans"],
        invalidate,
        stats,
        &["verify"],
    ];
    for command in commands {
        let plain = films();
        let code = plain.run(command).output.status.code().unwrap();
        for &(label, count, make) in HOSTILE {
            let cache = films();
            let dir = cache.outside_path("library");
            make(&dir);
            let began = Instant::now();
            let run = cache.command(command).env("HLS_CACHE_LIBRARY", &dir).run().code(code);
            assert_eq!(left(&cache), left(&plain), "{label}: {run}");
            let expected = if command[0] == "verify" { 0 } else { count };
            assert_eq!(warnings(&run, "library"), expected, "{label}: {run}");
            assert!(!run.stderr().contains("panicked"), "{label}: {run}");
            assert!(began.elapsed() < 20.seconds(), "{label}: took {:?}", began.elapsed());
        }
    }
}

#[test]
fn with_a_hostile_library_unnamed_entries_are_not_preferred() {
    let command = ["sweep", "--max-entries=4", "--min-budget=0"];
    let plain = films();
    plain.run(command).success();
    for &(label, _, make) in HOSTILE {
        let cache = films();
        let dir = cache.outside_path("library");
        make(&dir);
        let args = command.map(OsString::from);
        let args = args.into_iter().chain([library(&dir), "--prefer-unnamed".into()]);
        let run = cache.run(args).success().complains_of("--prefer-unnamed has no effect");
        assert_eq!(left(&cache), left(&plain), "{label}: {run}");
    }
}

#[test]
fn an_unreadable_library_gives_one_warning_and_changes_nothing_else() {
    for (path, mode, count) in [("", 0o000, 1), ("", 0o100, 1), ("disk0", 0o000, 0)] {
        let plain = films();
        plain.run(["sweep", "--max-entries=4"]).success();
        let cache = films();
        let dir = cache.outside_path("library");
        fill(&dir);
        let Some(cache) = cache.by_ordinary_user() else { return };
        let unreadable = dir.join(path);
        fs::set_permissions(&unreadable, fs::Permissions::from_mode(mode)).unwrap();
        let sweep = ["sweep".into(), "--max-entries=4".into(), library(&dir)];
        let keep = ["--keep-source".into(), unreadable.clone().into()];
        let keeping = cache.run(sweep.iter().chain(&keep)).code(1).removed_only([]);
        let keeping = keeping.complains_of("Permission denied");
        assert_eq!(warnings(&keeping, "library"), 0, "{keeping}");
        let run = cache.run(sweep.iter().chain(&["--prefer-unnamed".into()])).success();
        let run = run.complains_of("--prefer-unnamed has no effect");
        let off = warnings(&run, "--prefer-unnamed");
        assert_eq!((warnings(&run, "library") - off, off), (count, 1), "{run}");
        assert_eq!(left(&cache), left(&plain), "{run}");
        fs::set_permissions(&unreadable, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// The parent of a kept directory cannot be searched: it is not gone, and its entries must not go.
#[test]
fn a_kept_source_that_cannot_be_reached_ends_the_run() {
    let cache = TestCache::new();
    let (parent, kept) = (cache.outside_path("disk"), cache.outside_path("disk/films"));
    file(&kept.join("a.mkv"));
    let cache =
        entry(cache, &key_of(kept.join("a.mkv").as_os_str().as_bytes(), "1080p", 0), 9.days());
    let Some(cache) = cache.by_ordinary_user() else { return };
    let sweep = || {
        cache.run(ALL.iter().map(OsStr::new).chain(["--keep-source".as_ref(), kept.as_os_str()]))
    };
    fs::set_permissions(&parent, fs::Permissions::from_mode(0o000)).unwrap();
    sweep().code(1).complains_of("Permission denied").removed_only([]);
    fs::set_permissions(&parent, fs::Permissions::from_mode(0o755)).unwrap();
    sweep().code(3).removed_only([]);
}

/// A FUSE file system whose server takes requests and never answers one, or has died.
struct DeadMount {
    dir: TempDir,
    server: Option<OwnedFd>,
}

impl DeadMount {
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().expect("tempdir");
        fs::create_dir(dir.path().join("at")).expect("mount point");
        let server = rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        let Ok(server) = server else {
            need::missing("/dev/fuse");
            return None;
        };
        let fd = server.as_raw_fd();
        let options = format!("fd={fd},rootmode=40000,user_id=0,group_id=0");
        let options = CString::new(options).expect("options");
        let at = dir.path().join("at");
        match mount("hls-cache-test", &at, "fuse", MountFlags::empty(), options.as_c_str()) {
            Ok(()) => Some(Self { dir, server: Some(server) }),
            Err(error) => {
                need::missing(&format!("to mount a FUSE ({error})"));
                None
            }
        }
    }

    fn at(&self) -> PathBuf {
        self.dir.path().join("at")
    }

    fn kill_server(&mut self) {
        self.server = None;
    }
}

impl Drop for DeadMount {
    fn drop(&mut self) {
        let _ = unmount(self.at(), UnmountFlags::DETACH);
    }
}

#[test]
fn a_library_whose_server_died_is_one_warning_and_no_kept_source() {
    let Some(mut dead) = DeadMount::new() else { return };
    dead.kill_server();
    for keep in [dead.at(), dead.at().join("films")] {
        let cache = films();
        let args = ALL.iter().map(OsString::from);
        let args = args.chain([library(&dead.at()), "--keep-source".into(), keep.into()]);
        cache.run(args).code(1).complains_of("cannot read the media library").removed_only([]);
    }
    let plain = films();
    plain.run(["sweep", "--max-entries=4"]).success();
    let cache = films();
    let args = ["sweep".into(), "--max-entries=4".into(), library(&dead.at())];
    let run = cache.run(args).success();
    assert_eq!(left(&cache), left(&plain), "{run}");
    assert_eq!(warnings(&run, "library"), 1, "{run}");
}

/// Waits a minute, for that is how long a directory may take to answer.
#[test]
fn a_library_that_never_answers_is_given_up() {
    let Some(dead) = DeadMount::new() else { return };
    let (keeping, named, plain) = (films(), films(), films());
    let began = Instant::now();
    let start = |cache: &TestCache, keep: bool| {
        let mut args = vec!["sweep".into(), "--max-entries=4".into(), library(&dead.at())];
        if keep {
            args.extend(["--keep-source".into(), dead.at().into_os_string()]);
        }
        let mut command = cache.command(args).process();
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the tool")
    };
    let (keeper, other) = (start(&keeping, true), start(&named, false));
    let ended = |child: std::process::Child| -> (Output, String) {
        let output = child.wait_with_output().expect("wait");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        (output, stderr)
    };
    let (output, stderr) = ended(keeper);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("timed out"), "{stderr}");
    assert_eq!(left(&keeping), left(&plain));
    let (output, stderr) = ended(other);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert_eq!(stderr.matches("timed out").count(), 1, "{stderr}");
    plain.run(["sweep", "--max-entries=4"]).success();
    assert_eq!(left(&named), left(&plain));
    assert!(began.elapsed() < 90.seconds(), "{:?}", began.elapsed());
}

#[test]
fn a_directory_that_goes_during_the_walk_is_no_error() {
    let plain = films();
    plain.run(["sweep", "--max-entries=4"]).success();
    let cache = films();
    let dir = cache.outside_path("library");
    fill(&dir);
    let gone = dir.join("disk0");
    let invocation = cache.command(["sweep".into(), "--max-entries=4".into(), library(&dir)]);
    let Some(paused) = invocation.pause_at("openat", gone.to_str().unwrap()) else { return };
    fs::remove_dir_all(&gone).unwrap();
    let run = paused.resume().success();
    assert!(warnings(&run, "library") <= 1, "{run}");
    assert_eq!(left(&cache), left(&plain), "{run}");
}

#[test]
fn links_out_of_the_library_are_followed_and_hidden_files_are_not_named() {
    let cache = ["linked/a.mkv", "linked.mkv", ".hidden.mkv", "gone.mkv"]
        .into_iter()
        .fold(TestCache::new(), |cache, source| film(cache, source, 9.days()));
    let (dir, outside) = (cache.outside_path("library"), cache.outside_path("outside"));
    file(&outside.join("a.mkv"));
    file(&dir.join(".hidden.mkv"));
    symlink(&outside, dir.join("linked")).unwrap();
    symlink(outside.join("a.mkv"), dir.join("linked.mkv")).unwrap();
    symlink("/nowhere", dir.join("gone.mkv")).unwrap();
    let run = cache.run(["stats".into(), "--entries".into(), "--json".into(), library(&dir)]);
    let json = run.success().untouched().json();
    let entries = json["entries"].as_array().unwrap();
    let named: BTreeSet<&str> =
        entries.iter().filter_map(|entry| entry["source"]["path"].as_str()).collect();
    let expected = ["/media/linked/a.mkv", "/media/linked.mkv", "/media/gone.mkv"];
    assert_eq!(named, BTreeSet::from(expected));
}

#[test]
fn strange_names_are_escaped_for_people_and_exact_in_json() {
    let names = [&b"\xff\xfe.mkv"[..], b"two\nlines.mkv", b"\x1b[31mred\x07.mkv"];
    let cache = || names.iter().fold(TestCache::new(), |cache, name| film(cache, name, 9.days()));
    let commands: [&[&str]; 4] = [
        &["stats", "--entries"],
        &["sweep", "--max-entries=0", "-n"],
        ALL,
        &["invalidate", "--source=/media"],
    ];
    for command in commands {
        for json in [false, true] {
            let cache = cache();
            let dir = cache.outside_path("library");
            for name in names {
                file(&dir.join(OsStr::from_bytes(name)));
            }
            let args = command.iter().map(OsString::from).chain([library(&dir)]);
            let run = cache.run(args.chain(json.then(|| "--json".into()))).success().no_stderr();
            if json {
                let json = run.json();
                let mut paths: Vec<Vec<u8>> = json["entries"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|entry| {
                        let source = &entry["source"];
                        match source["path_hex"].as_str() {
                            Some(exact) => hex::decode(exact).unwrap(),
                            None => source["path"].as_str().unwrap().into(),
                        }
                    })
                    .collect();
                paths.sort();
                let mut expected: Vec<Vec<u8>> =
                    names.iter().map(|name| [b"/media/", *name].concat()).collect();
                expected.sort();
                assert_eq!(paths, expected);
                continue;
            }
            let stdout = run.stdout();
            assert!(stdout.chars().all(|c| c == '\n' || !c.is_control()), "{run}");
            for name in [r"\xff\xfe.mkv", r"two\nlines.mkv", r"\x1b[31mred\x07.mkv"] {
                assert!(stdout.contains(name), "{name}: {run}");
            }
        }
    }
}

/// What may stand where the daemon keeps its settings, and whether the run warns of it.
const STAMPS: &[(&str, Make)] = &[
    ("no JSON", |at| fs::write(at, "{").unwrap()),
    ("huge", |at| fs::File::create(at).unwrap().set_len(1 << 30).unwrap()),
    ("a FIFO", fifo),
    ("a symlink", |at| symlink("/dev/zero", at).unwrap()),
    ("a directory", |at| fs::create_dir(at).unwrap()),
    ("too deep", |at| fs::write(at, "[".repeat(60_000)).unwrap()),
];

#[test]
fn an_unreadable_stamp_costs_names_of_five_parts_and_no_others() {
    for &(label, make) in STAMPS {
        let cache = film(TestCache::new(), "a.mkv", 9.days());
        let dir = cache.outside_path("library");
        file(&dir.join("a.mkv"));
        make(&cache.root().join(".encode-stamp"));
        let stats = ["stats".into(), "--entries".into(), library(&dir)];
        let run = cache.run(stats).success().untouched();
        assert_eq!(warnings(&run, ".encode-stamp"), 1, "{label}: {run}");
        assert!(run.stdout().contains("a.mkv"), "{label}: {run}");
        // Without names nobody asks for it.
        cache.run(["sweep", "--max-entries=1"]).success().no_stderr();
        let run = cache.run(["invalidate", "--source", "/media/a.mkv"]).success();
        assert_eq!(warnings(&run, ".encode-stamp"), 1, "{label}: {run}");
        assert!(left(&cache).is_empty(), "{label}: {run}");
        if label == "a directory" {
            let json = cache.run(["stats", "--json"]).success().json();
            assert_eq!(json["foreign"]["names"][0], ".encode-stamp");
        }
    }
}

/// The entries of a kept source may have keys of five parts, and with an unreadable stamp nobody knows them.
#[test]
fn a_kept_source_under_an_unreadable_stamp_ends_the_run() {
    for &(label, make) in STAMPS {
        let cache = entry(TestCache::new(), &hash(b"/media/a.mkv|1080p|0|-1|fast"), 9.days());
        let stamp = cache.root().join(".encode-stamp");
        make(&stamp);
        let sweep = || cache.run(ALL.iter().chain(&["--keep-source=/media/a.mkv"]));
        let run = sweep().code(1).complains_of(".encode-stamp");
        assert_eq!(left(&cache).len(), 1, "{label}: {run}");
        let _ = fs::remove_file(&stamp).or_else(|_| fs::remove_dir(&stamp));
        fs::write(&stamp, r#"{"fingerprint":"fast"}"#).unwrap();
        let run = sweep().code(3);
        assert_eq!(left(&cache).len(), 1, "{label}: {run}");
    }
}

/// Libraries that name some or none of [`films`].
const LIBRARIES: &[(&str, Make)] = &[
    ("right", fill),
    ("another", |at| (0..6).for_each(|n| file(&at.join(format!("other/{n}.mkv"))))),
    ("one disk is not mounted", |at| {
        fill(at);
        fs::remove_dir_all(at.join("disk0")).unwrap();
        fs::create_dir(at.join("disk0")).unwrap();
    }),
    ("nothing is mounted", |at| fs::create_dir(at).unwrap()),
    ("missing", |_| {}),
    ("a file", |at| fs::write(at, "").unwrap()),
];

#[test]
fn a_wrong_library_removes_nothing_that_would_have_stayed() {
    for seed in 0..3 {
        let mut dice = tools::Dice::new(seed);
        let ages: Vec<Duration> = (0..6).map(|_| (dice.throw(60) + 1).days()).collect();
        let cache = || {
            ages.iter().enumerate().fold(films(), |cache, (n, &age)| {
                film(cache, format!("disk{}/more {n}.mkv", n % 3), age)
            })
        };
        let limit = [
            format!("--max-entries={}", dice.throw(16)),
            format!("--max-size={}KiB", dice.throw(160)),
            format!("--older-than={}d", dice.throw(60) + 1),
        ];
        let mut policies: Vec<Vec<&str>> =
            limit.iter().map(|limit| vec!["sweep", "--min-budget=0", limit]).collect();
        policies.push(vec!["sweep", "--min-budget=0", &limit[0], &limit[1], "--low-water=50"]);
        policies.push(vec!["gc-orphans"]);
        for policy in policies {
            let plain = cache();
            let code = plain.run(&policy).output.status.code().unwrap();
            for &(label, make) in LIBRARIES {
                let cache = cache();
                let dir = cache.outside_path("library");
                make(&dir);
                let args = policy.iter().map(OsString::from).chain([library(&dir)]);
                let run = cache.run(args).code(code);
                assert_eq!(left(&cache), left(&plain), "seed {seed}, {label}: {run}");
            }
        }
    }
}

/// Whether each way to point at the library leaves what plain LRU leaves.
#[test]
fn with_a_disk_missing_unnamed_entries_are_not_preferred() {
    let sweep = ["sweep", "--max-entries=5"];
    let plain = films();
    plain.run(sweep).success();
    for &(label, make) in LIBRARIES {
        let cache = films();
        let dir = cache.outside_path("library");
        make(&dir);
        let args = sweep.iter().map(OsString::from);
        let run = cache.run(args.chain([library(&dir), "--prefer-unnamed".into()])).success();
        if label == "right" {
            // 6 of 10 have a name: this is what the option is for.
            assert_ne!(left(&cache), left(&plain), "{label}: {run}");
        } else {
            let run = run.complains_of("--prefer-unnamed has no effect");
            assert_eq!(left(&cache), left(&plain), "{label}: {run}");
        }
    }
    // Each disk a library of its own; the second is not there.
    for is_empty in [true, false] {
        let cache = films();
        let dir = cache.outside_path("library");
        fill(&dir);
        fs::remove_dir_all(dir.join("disk0")).unwrap();
        if is_empty {
            fs::create_dir(dir.join("disk0")).unwrap();
        }
        let disks = ["disk0", "disk1"].map(|disk| {
            let mut option = library(&dir.join(disk));
            option.push("/");
            option.push(disk);
            option
        });
        let args = sweep.iter().map(OsString::from).chain(disks);
        let run = cache.run(args.chain(["--prefer-unnamed".into()])).success();
        assert_eq!(left(&cache), left(&plain), "{run}");
    }
}

/// Under half of the entries have a name: the list of qualities may lack the daemon's. Where only a minority has
/// none, nobody can tell a quality that is not in the list from a film that is gone.
#[test]
fn with_a_quality_missing_from_the_list_unnamed_entries_are_not_preferred() {
    let sweep = ["sweep", "--max-entries=5"];
    for odd in 0..=10 {
        let cache = || {
            (0..10).fold(TestCache::new(), |cache, n| {
                let quality = if n < odd { "4k" } else { "1080p" };
                let key = key_of(format!("/media/{n}.mkv"), quality, 0);
                // The odd ones were used last.
                entry(cache, &key, (40 - n - if n < odd { 20 } else { 0 }).days())
            })
        };
        let plain = cache();
        plain.run(sweep).success();
        let cache = cache();
        let dir = cache.outside_path("library");
        (0..10).for_each(|n| file(&dir.join(format!("{n}.mkv"))));
        let args = sweep.iter().map(OsString::from);
        let run = cache.run(args.chain([library(&dir), "--prefer-unnamed".into()])).success();
        let is_off = warnings(&run, "--prefer-unnamed has no effect") == 1;
        assert_eq!(is_off, odd > 5, "{odd}: {run}");
        if is_off {
            assert_eq!(left(&cache), left(&plain), "{odd}: {run}");
        }
    }
}

#[test]
fn a_kept_source_is_evicted_by_no_limit() {
    let limits: [&[&str]; 6] = [
        &["--max-size=0"],
        &["--max-size=0", "--best-effort"],
        &["--max-entries=0"],
        &["--older-than=1s"],
        &["--min-free=100%", "--best-effort"],
        &["--max-size=0", "--max-entries=0", "--older-than=1s", "--low-water=1"],
    ];
    for limit in limits {
        for keep in ["/media/disk1", "/media/disk1/film 1.mkv"] {
            let cache = films();
            let dir = cache.outside_path("library");
            fill(&dir);
            let mut args: Vec<OsString> = vec!["sweep".into(), "--min-budget=0".into()];
            args.extend(limit.iter().map(OsString::from));
            args.extend(["--keep-source".into(), keep.into(), "--prefer-unnamed".into()]);
            args.push(library(&dir));
            let run = cache.run(args);
            let numbers: &[u32] = if keep == "/media/disk1" { &[1, 3, 5] } else { &[1] };
            let kept = numbers
                .iter()
                .map(|n| OsString::from(key_of(format!("/media/disk1/film {n}.mkv"), "1080p", 0)));
            assert_eq!(left(&cache), kept.collect(), "{run}");
        }
    }
}

#[test]
fn a_kept_directory_that_is_empty_or_unreadable_ends_the_run_before_anything_goes() {
    let cache = films();
    let dir = cache.outside_path("library");
    fill(&dir);
    for name in ["empty", "hidden", "broken"] {
        fs::create_dir(dir.join(name)).unwrap();
    }
    file(&dir.join("hidden/.nothing"));
    symlink("/nowhere/at/all", dir.join("broken/link")).unwrap();
    for keep in ["empty", "hidden", "broken"] {
        for known_as in [dir.join(keep), Path::new(MEDIA).join(keep)] {
            let keep = ["--keep-source".into(), known_as.into_os_string(), library(&dir)];
            let args = ALL.iter().map(OsString::from).chain(keep);
            let run = cache.run(args).code(1).removed_only([]);
            run.complains_of("cannot read the media library");
        }
    }
    // Gone, or a link to a disk that is gone: said, and no more can be known.
    symlink("/nowhere/at/all", dir.join("link")).unwrap();
    for keep in ["gone", "link"] {
        let keep = ["--keep-source".into(), dir.join(keep).into_os_string()];
        let args = ["sweep".into(), "--max-entries=4".into(), "-n".into()];
        cache.run(args.iter().chain(&keep)).success().complains_of("nothing is there").untouched();
    }
}

/// A run may wait for hours for another maintainer, while entries of the kept source are made.
#[test]
fn a_kept_entry_that_is_made_while_the_run_waits_is_kept() {
    let cache = films();
    let invocation = cache.command(ALL.iter().chain(&["--keep-source=/media/new.mkv"]));
    let lock = cache.root().join(".maintenance.lock");
    fs::write(&lock, "").unwrap();
    let Some(paused) = invocation.pause_at("flock", lock.to_str().unwrap()) else { return };
    let key = key_of("/media/new.mkv", "1080p", 0);
    let new = film(TestCache::new(), "new.mkv", 50.days());
    let copied = [OsStr::new("cp"), OsStr::new("-a")];
    let (from, to) = (new.root().join(&key), cache.root().join(&key));
    tools::must(&[copied[0], copied[1], from.as_os_str(), to.as_os_str()]);
    let run = paused.resume();
    assert_eq!(left(&cache), BTreeSet::from([key.into()]), "{run}");
}

#[test]
fn a_run_that_finds_nothing_to_do_makes_no_call_that_names_the_library() {
    if !need::tool("strace") {
        return;
    }
    let cache = films();
    let dir = cache.outside_path("the-media-library");
    fill(&dir);
    let calls = |args: &[&str]| {
        let keep = ["--keep-source".into(), dir.clone().into_os_string()];
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        let keep = if args[0] == "sweep" { &keep[..] } else { &[] };
        let invocation = cache.command(args.iter().chain(keep));
        let invocation = invocation.env("HLS_CACHE_LIBRARY", &dir);
        let run = invocation.under(tools::strace("all", &[])).run().success();
        let trace = fs::read_to_string(cache.base().join("trace")).unwrap();
        assert!(trace.contains("getdents64"), "nothing was traced: {run}");
        let names_it = |line: &&str| line.contains("the-media-library");
        // Its own arguments, before it begins.
        trace.lines().filter(names_it).filter(|line| !line.contains("execve(")).count()
    };
    assert_eq!(calls(&["sweep", "--max-size=1G", "--max-entries=100", "--older-than=90d"]), 0);
    assert_eq!(calls(&["sweep", "--max-size=1G", "--json"]), 0);
    assert_eq!(calls(&["gc-orphans", "--min-age=90d"]), 0);
    assert_eq!(calls(&["stats", "--quiet"]), 0);
    assert_eq!(calls(&["stats", "--json"]), 0);
    assert_eq!(calls(&["stats", "--prometheus"]), 0);
    assert_eq!(calls(&["verify"]), 0);
    assert!(calls(&["sweep", "--max-entries=8", "-n"]) > 0, "the counter counts");
    assert!(calls(&["gc-orphans", "-n"]) > 0, "the counter counts");
}

#[test]
fn too_many_qualities_and_tracks_are_refused_in_one_line() {
    let cache = films();
    let dir = cache.outside_path("library");
    fill(&dir);
    let qualities = (0..3000).map(|n| format!("q{n},")).collect::<Vec<_>>().concat();
    let ranges = (0..5000).map(|n| format!("{0}..{1},", n * 9999, n * 9999 + 9998));
    let ranges = ranges.collect::<Vec<_>>().concat() + "0";
    for (qualities, tracks) in [
        (qualities.as_str(), "-1..15"),
        ("1080p", "0..10000"),
        ("1080p,720p", "0..9999"),
        ("1080p", ranges.trim_end_matches(',')),
    ] {
        let options = ["--qualities".into(), qualities.into(), "--tracks".into(), tracks.into()];
        for command in [&["stats", "--entries"][..], ALL, &["invalidate", "--all"]] {
            let args = command.iter().map(OsString::from).chain([library(&dir)]);
            let limited = ["prlimit", "--as=400000000"];
            let run = cache.command(args.chain(options.clone()));
            let run = if need::tool("prlimit") { run.under(limited) } else { run };
            let run = run.run().code(2).no_stdout().untouched();
            let errors = run.stderr().lines().filter(|line| line.starts_with("error: ")).count();
            assert_eq!(errors, 1, "{run}");
            assert!(run.stderr().lines().count() <= 3, "{run}");
        }
        if qualities.len() > 10_000 {
            continue;
        }
        let run = cache.command(["stats", "--entries"]).env("HLS_CACHE_QUALITIES", qualities);
        let run = run.env("HLS_CACHE_TRACKS", tracks).env("HLS_CACHE_LIBRARY", &dir).run();
        assert_eq!(run.code(2).stderr().lines().count(), 1);
    }
}

/// Not UTF-8, as an argument and in the environment.
#[test]
fn a_library_whose_own_name_is_strange_is_read() {
    let dir = OsString::from_vec(b"lib\xff\n\x1b[31m".to_vec());
    let cache = TestCache::new();
    let dir = cache.base().join(dir);
    file(&dir.join("a.mkv"));
    let source = [dir.as_os_str().as_bytes(), b"/a.mkv"].concat();
    let cache = entry(cache, &key_of(&source, "1080p", 0), 9.days());
    let run = cache.command(["stats", "--entries"]).env("HLS_CACHE_LIBRARY", &dir).run();
    assert!(run.stdout().contains("a.mkv"), "{run}");
    fs::remove_dir_all(&dir).unwrap();
    let run = cache.command(["stats", "--entries"]).env("HLS_CACHE_LIBRARY", &dir).run().success();
    assert_eq!(run.stderr().lines().count(), 1, "{run}");
    assert!(!run.stderr().contains('\x1b'), "{run}");
}
