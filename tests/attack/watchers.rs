//! Daemons that take no locks, and what still shows that they use an entry: files that are open, and files
//! that were read. A control entry of the same age that nobody uses goes in every first round, so that no test
//! here passes by evicting nothing.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use filetime::{FileTime, set_file_times};
use serde_json::Value;
use walkdir::WalkDir;

use crate::common::{Age, Run, Size, TestCache, decisions, key, need};
use crate::tools::{self, Image};

/// More than any cache can meet: everything that nothing protects goes.
const IMPOSSIBLE: [&str; 6] =
    ["--json", "sweep", "--max-size=0B", "--min-budget=0", "--best-effort", "--keep-recent=0s"];

/// An entry that is used, and the control.
fn pair() -> TestCache {
    TestCache::new().sealed("used", 300.kib(), 5.days()).sealed("control", 300.kib(), 5.days())
}

fn sweep<'c>(cache: &'c TestCache, options: &[&str]) -> Run<'c> {
    cache.run([&IMPOSSIBLE[..], options].concat())
}

fn kept(json: &Value) -> Vec<(String, String)> {
    decisions(json, "kept")
}

/// A child process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process that has a file open, or works in a directory, and does nothing else.
fn holding(file: Option<&Path>, directory: &Path) -> Running {
    let stdin = file.map_or_else(Stdio::null, |file| File::open(file).expect("file").into());
    let mut child = Command::new("sh")
        .args(["-c", "exec 3<&0; echo here; exec sleep 1000"])
        .current_dir(directory)
        .stdin(stdin)
        .stdout(Stdio::piped())
        .spawn()
        .expect("sh");
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "here\n");
    Running(child)
}

#[test]
fn an_entry_with_an_open_file_stays_and_its_user_is_named() {
    for place in ["video/seg-1.m4s", ".complete", ""] {
        let cache = pair();
        let path = cache.entry_path("used").join(place);
        let user = holding(Some(&path), Path::new("/"));
        let run = sweep(&cache, &[]).code(3).removed(["control"]).kept(["used"]);
        assert_eq!(kept(&run.json()), [("used".into(), "open".into())], "{place}");
        assert_eq!(run.json()["open"], cache.totals(["used"]), "{place}");
        let dry = sweep(&cache, &["-n"]).code(3).untouched();
        assert_eq!(kept(&dry.json()), [("used".into(), "open".into())], "{place}");
        let pid = user.0.id();
        let said = cache.run([&IMPOSSIBLE[1..], &["-v"]].concat()).stdout();
        assert!(said.contains(&format!("open in sleep[{pid}]")), "{said}");
        drop(user);
        sweep(&cache, &[]).success().removed(["used"]);
    }
}

#[test]
fn an_entry_that_a_process_works_in_stays() {
    let cache = pair();
    let user = holding(None, &cache.entry_path("used").join("video"));
    let run = sweep(&cache, &[]).code(3).removed(["control"]).kept(["used"]);
    assert_eq!(kept(&run.json()), [("used".into(), "open".into())]);
    drop(user);
}

#[test]
fn every_command_that_chooses_entries_keeps_an_open_one_and_locks_only_does_not() {
    let cache = || {
        TestCache::new()
            .partial("used", 300.kib(), 5.days())
            .partial("control", 300.kib(), 5.days())
            .sealed("whole", 300.kib(), 5.days())
            .without("whole", "video/seg-1.m4s")
            .used("whole", 5.days())
    };
    let hold = |cache: &TestCache, name: &str| {
        holding(Some(&cache.entry_path(name).join("video/seg-2.m4s")), Path::new("/"))
    };
    let first = cache();
    let _used = hold(&first, "used");
    first.run(["gc-orphans"]).success().removed(["control"]).kept(["used"]);
    first.run(["gc-orphans", "--locks-only"]).success().removed(["used"]);

    let second = cache();
    let _used = hold(&second, "used");
    let run = second.run(["--json", "invalidate", "--all"]).code(3);
    let run = run.removed(["control", "whole"]).kept(["used"]);
    assert_eq!(kept(&run.json()), [("used".into(), "open".into())]);
    // Whoever names it goes by locks alone.
    second.run(["invalidate", &key("used")]).success().removed(["used"]);

    let third = cache();
    let _whole = hold(&third, "whole");
    third.run(["verify", "--fix"]).code(3).kept(["whole"]);
    third.run(["verify", "--fix", "--locks-only"]).code(3).removed(["whole"]);

    let fourth = cache();
    let _used = hold(&fourth, "used");
    sweep(&fourth, &["--locks-only"]).success().removed(["used", "control", "whole"]);
}

/// Nobody keeps an entry from going by a file of the same name elsewhere.
#[test]
fn a_file_of_the_same_name_elsewhere_keeps_nothing() {
    let cache = pair().outside("elsewhere");
    let elsewhere = cache.outside_path("elsewhere").join(key("used")).join("video");
    fs::create_dir_all(&elsewhere).unwrap();
    fs::write(elsewhere.join("seg-1.m4s"), "another file").unwrap();
    let _other = holding(Some(&elsewhere.join("seg-1.m4s")), &elsewhere);
    sweep(&cache, &[]).success().removed(["used", "control"]);
}

/// What another mount namespace calls the cache does not matter.
#[test]
fn a_user_in_another_mount_namespace_is_seen() {
    if !need::running_as_root() || !need::tool("unshare") {
        return;
    }
    let cache = pair();
    fs::create_dir(cache.outside_path("inside")).unwrap();
    let script = "mount --bind \"$1\" \"$2\" && exec 3<\"$2/$3/video/seg-1.m4s\" && echo here && exec sleep 1000";
    let mut child = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .args([cache.root(), cache.outside_path("inside")])
        .arg(key("used"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let _user = Running(child);
    assert_eq!(line, "here\n");
    sweep(&cache, &[]).code(3).removed(["control"]).kept(["used"]);
}

/// A file is opened between the plan and the lock.
#[test]
fn a_file_that_is_opened_after_the_plan_keeps_the_entry() {
    let cache = pair().used("used", 4.days());
    let Some(paused) = cache.command(IMPOSSIBLE).pause_at("renameat", &key("control")) else {
        return;
    };
    let path = cache.entry_path("used").join("video/seg-1.m4s");
    let user = holding(Some(&path), Path::new("/"));
    // The last reading of /proc has to be old before it is made again.
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1100) {
        std::thread::yield_now();
    }
    let run = paused.resume().code(3).removed(["control"]);
    assert_eq!(kept(&run.json()), [("used".into(), "open".into())], "{run}");
    assert!(cache.has("used"));
    let json = run.json();
    let kept = json["entries"].as_array().unwrap().iter().find(|it| it["key"] == key("used"));
    assert_eq!(kept.unwrap()["in_use"]["holders"][0]["pid"], user.0.id(), "{run}");
    drop(user);
}

/// A file is read between the second look's check and the lock: its atime is seen under the lock.
#[test]
fn a_file_that_is_read_after_the_plan_keeps_the_entry() {
    let cache = pair().used("used", 4.days());
    let Some(paused) = cache.command(IMPOSSIBLE).pause_at("renameat", &key("control")) else {
        return;
    };
    touch_as_read(&cache, "used", Duration::ZERO);
    let run = paused.resume().code(3).removed(["control"]);
    assert_eq!(kept(&run.json()), [("used".into(), "read".into())], "{run}");
    assert!(cache.has("used"));
}

#[test]
fn a_file_that_is_read_while_others_are_repaired_keeps_the_entry() {
    let cache = pair().without("control", "video/init.mp4").without("used", "video/init.mp4");
    let cache = cache.used("control", 4.days()).used("used", 4.days());
    let repair = cache.command(["--json", "verify", "--fix"]);
    let Some(paused) = repair.pause_at("renameat", &key("control")) else { return };
    touch_as_read(&cache, "used", Duration::ZERO);
    let run = paused.resume().code(3).removed(["control"]);
    assert!(cache.has("used"), "{run}");
}

/// Sets the time of the last read of one segment, as a reader would have.
fn touch_as_read(cache: &TestCache, name: &str, ago: Duration) {
    let path = cache.entry_path(name).join("video/seg-1.m4s");
    let written = FileTime::from_last_modification_time(&path.metadata().unwrap());
    set_file_times(path, FileTime::from_system_time(SystemTime::now() - ago), written).unwrap();
}

#[test]
fn a_read_protects_for_the_minimum_age_and_no_longer() {
    let cache = pair();
    touch_as_read(&cache, "used", 9.minutes());
    let run = sweep(&cache, &[]).code(3).removed(["control"]).kept(["used"]);
    assert_eq!(kept(&run.json()), [("used".into(), "read".into())]);
    assert_eq!(run.json()["read"], cache.totals(["used"]));
    let said = cache.run([&IMPOSSIBLE[1..], &["-v"]].concat()).stdout();
    assert!(said.contains("read 9m ago"), "{said}");
    sweep(&cache, &["--min-age", "5m", "-n"]).success();
    touch_as_read(&cache, "used", 10.minutes());
    sweep(&cache, &[]).success().removed(["used"]);
}

/// What the tool itself reads does not look watched, as its owner and as root.
#[test]
fn verifying_everything_does_not_look_like_watching_it() {
    let cache = pair().real("real");
    for args in [&["verify", "--deep"][..], &["stats"], &["verify", "--fix"]] {
        cache.run(args);
    }
    sweep(&cache, &[]).success().removed(["used", "control", "real"]);
}

/// A backup reads all and looks like a viewer for ten minutes; --locks-only is the way out.
#[test]
fn a_backup_that_reads_everything_looks_like_a_viewer() {
    let cache = pair();
    if !need::tool("tar") {
        return;
    }
    let archive = cache.outside_path("archive");
    // Not to /dev/null, for which tar reads nothing.
    tools::must(&[
        OsStr::new("tar"),
        "-cf".as_ref(),
        archive.as_ref(),
        "-C".as_ref(),
        cache.root().as_ref(),
        ".".as_ref(),
    ]);
    let run = sweep(&cache, &[]).code(3).kept(["used", "control"]);
    assert!(kept(&run.json()).iter().all(|(_, reason)| reason == "read"), "{run}");
    sweep(&cache, &["--locks-only"]).success().removed(["used", "control"]);
}

/// A web server, and a client that plays.
struct Server {
    _process: Running,
    port: u16,
}

impl Server {
    fn start(root: &Path) -> Option<Self> {
        if !need::tool("python3") {
            return None;
        }
        let mut child = Command::new("python3")
            .args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "0", "--directory"])
            .arg(root)
            .current_dir("/")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        // Serving HTTP on 127.0.0.1 port 43210 (http://127.0.0.1:43210/) ...
        let port = line.split_whitespace().skip_while(|word| *word != "port").nth(1);
        let port = port.and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("{line}"));
        Some(Self { _process: Running(child), port })
    }

    fn get(&self, path: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.0 200"), "{path}: {}", answer.escape_ascii());
        answer
    }
}

/// Lets so much time pass for an entry: everything about it is so much older.
fn pass(entry: &Path, time: Duration) {
    for found in WalkDir::new(entry).contents_first(true) {
        let found = found.unwrap();
        let meta = found.metadata().unwrap();
        let earlier = |time_of: FileTime| {
            let nanos = time_of.nanoseconds();
            FileTime::from_unix_time(time_of.unix_seconds() - time.as_secs().cast_signed(), nanos)
        };
        let accessed = earlier(FileTime::from_last_access_time(&meta));
        let modified = earlier(FileTime::from_last_modification_time(&meta));
        set_file_times(found.path(), accessed, modified).unwrap();
    }
}

/// Twenty minutes of film, a segment a minute, swept after each; then the viewer is gone.
fn watch_a_film(cache: &TestCache) {
    const SEGMENTS: u64 = 20;
    for n in 0..SEGMENTS {
        let segment = cache.entry_path("used").join(format!("video/seg-{n}.m4s"));
        fs::write(segment, "a minute of film").unwrap();
    }
    let long_ago = FileTime::from_system_time(SystemTime::now() - 5.days());
    for found in WalkDir::new(cache.entry_path("used")).contents_first(true) {
        set_file_times(found.unwrap().path(), long_ago, long_ago).unwrap();
    }
    let Some(server) = Server::start(&cache.root()) else { return };
    for n in 0..SEGMENTS {
        server.get(&format!("/{}/video/seg-{n}.m4s", key("used")));
        let run = sweep(cache, &[]).code(3).kept(["used"]);
        assert_eq!(kept(&run.json()), [("used".into(), "read".into())], "{run}");
        assert!(n > 0 || !cache.has("control"), "the control goes in the first round: {run}");
        pass(&cache.entry_path("used"), 1.minutes());
    }
    pass(&cache.entry_path("used"), 9.minutes());
    sweep(cache, &[]).success().removed(["used"]);
}

#[test]
fn a_film_that_is_watched_over_http_is_kept_on_relatime() {
    let cache = TestCache::new();
    let Some(image) = Image::ext4(&cache, 8 << 10, 400) else { return };
    let cache = cache.sealed("used", 300.kib(), 5.days()).sealed("control", 300.kib(), 5.days());
    watch_a_film(&cache);
    drop(image);
}

#[test]
fn a_film_that_is_watched_over_http_is_kept_on_strictatime() {
    let Some(cache) = TestCache::on_tmpfs("size=8m,mode=755") else { return };
    tools::must(&[
        "mount".as_ref(),
        "-o".as_ref(),
        "remount,strictatime".as_ref(),
        cache.root().as_ref(),
    ]);
    let cache = cache.sealed("used", 300.kib(), 5.days()).sealed("control", 300.kib(), 5.days());
    watch_a_film(&cache);
}

/// An ffmpeg that encodes in real time, into an entry whose directory's time is hours old. Not even that it
/// writes counts here, only that it has files open or works in the entry.
#[test]
fn an_encode_is_kept_while_sweeps_run_in_a_loop() {
    if !need::tool("ffmpeg") {
        return;
    }
    let cache = TestCache::new().sealed("control", 300.kib(), 5.days());
    let video = cache.entry_path("used").join("video");
    fs::create_dir_all(&video).unwrap();
    let mut encoder = Command::new("ffmpeg")
        .args(["-v", "error", "-re", "-f", "lavfi", "-i", "testsrc=size=320x180:rate=25"])
        .args(["-t", "6", "-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-f", "hls"])
        .args(["-hls_time", "1", "-hls_segment_type", "fmp4", "-hls_list_size", "0"])
        .args(["-hls_fmp4_init_filename", "init.mp4", "-hls_segment_filename", "seg-%d.m4s"])
        .arg("ffmpeg-0.m3u8")
        .current_dir(&video)
        .stdin(Stdio::null())
        .spawn()
        .expect("ffmpeg");
    let mut rounds = 0;
    let status = loop {
        let hours_ago = FileTime::from_system_time(SystemTime::now() - 5.hours());
        set_file_times(cache.entry_path("used"), hours_ago, hours_ago).unwrap();
        // Not as a `Run`, which looks at all files before, and they come and go.
        let sweep = cache.command([&IMPOSSIBLE[..], &["--min-age", "0s"]].concat());
        let run = sweep.process().output().unwrap();
        if let Some(status) = encoder.try_wait().unwrap() {
            break status;
        }
        if !cache.has("used") {
            // A process that ends closes its files a moment before it is gone; one that encodes goes on.
            let began = Instant::now();
            let status = loop {
                let status = encoder.try_wait().unwrap();
                if status.is_some() || began.elapsed() > Duration::from_millis(500) {
                    break status;
                }
                std::thread::yield_now();
            };
            break status.unwrap_or_else(|| panic!("an entry was lost under its encoder: {run:?}"));
        }
        assert!(!cache.has("control"), "the control goes in the first round: {run:?}");
        rounds += 1;
    };
    assert!(status.success() && rounds > 10, "{status}, {rounds} sweeps");
    let _ = sweep(&cache, &["--min-age", "0s"]);
    assert!(!cache.has("used"), "nobody encodes any more");
}

/// An hourly run that finds nothing to do looks at no process.
#[test]
fn processes_are_looked_at_only_where_something_would_go() {
    if !need::tool("strace") {
        return;
    }
    let cache = pair();
    let links_read = |args: &[&str]| {
        let strace = tools::strace("readlink,readlinkat", &[]);
        cache.command(args).under(strace).run().success();
        let trace = fs::read_to_string(cache.base().join("trace")).unwrap();
        trace.lines().filter(|line| line.contains("/proc/") || line.contains("\"0\"")).count()
    };
    assert_eq!(links_read(&["sweep", "--max-size", "1G", "--older-than", "30d"]), 0);
    assert_eq!(links_read(&["gc-orphans"]), 0);
    assert_eq!(links_read(&["verify"]), 0);
    assert_eq!(links_read(&["sweep", "-n", "--older-than", "1d", "--locks-only"]), 0);
    assert!(links_read(&["sweep", "-n", "--older-than", "1d"]) > 0, "the counter counts");
}

/// How the mount keeps the times of reads is said, so that nobody relies on what is not recorded.
#[test]
fn stats_says_how_the_mount_keeps_the_times_of_reads() {
    let Some(cache) = TestCache::on_tmpfs("size=8m,mode=755") else { return };
    let cache = cache.sealed("a", 300.kib(), 5.days()).outside("bound");
    let remount = |options: &str| {
        let options = format!("remount,{options}");
        let words = ["mount", "-o", &options].map(OsStr::new);
        tools::must(&[&words[..], &[cache.root().as_os_str()]].concat());
    };
    let said = |root: &Path| {
        let stats = |args: &[&str]| {
            let root = ["--root", root.to_str().unwrap()];
            // Not as a `Run`, which leaves this line out.
            let output = cache.bare([&root[..], args].concat()).process().output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        let json: Value = serde_json::from_str(&stats(&["--json", "stats"])).unwrap();
        let text = stats(&["stats"]);
        let atime = json["atime"].as_str().unwrap().to_owned();
        (atime, text.contains("reads are not recorded here"))
    };
    for (options, atime, is_blind) in [
        ("relatime", "relatime", false),
        ("strictatime", "strictatime", false),
        ("noatime", "noatime", true),
    ] {
        remount(options);
        assert_eq!(said(&cache.root()), (atime.to_owned(), is_blind));
    }
    remount("relatime");
    let bound = cache.outside_path("bound");
    let bind = |words: &[&str], paths: &[&Path]| {
        let words: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
        let paths: Vec<&OsStr> = paths.iter().map(|path| path.as_os_str()).collect();
        tools::must(&[words, paths].concat());
    };
    bind(&["mount", "--bind"], &[&cache.root(), &bound]);
    bind(&["mount", "-o", "remount,bind,ro"], &[&bound]);
    let through_read_only = said(&bound);
    bind(&["umount"], &[&bound]);
    assert_eq!(through_read_only, ("noatime".to_owned(), true));
}
