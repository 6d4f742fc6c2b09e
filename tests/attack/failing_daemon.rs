//! A daemon whose calls fail, or that may not write: its viewers are served all the same, and nothing is
//! sealed that may not be on the disk.

use std::fs::{self, File};
use std::process::{Command, Output};
use std::time::SystemTime;

use hls_cache::Key;
use hls_cache::daemon::{Cache, Lookup, Start};
use rustix::io::Errno;

use crate::common::{Age, Size, TestCache, key, need, pin_name};
use crate::tools;

fn parse(name: &str) -> Key {
    key(name).parse().unwrap()
}

/// Runs a helper as the last arguments of another program.
fn run_under(
    wrapper: &[String],
    program: &std::ffi::OsStr,
    test: &str,
    cache: &TestCache,
) -> Output {
    let helper = tools::helper(test);
    let words = wrapper.iter().map(std::ffi::OsString::from).chain([program.to_owned()]);
    let words: Vec<_> = words.chain(helper.get_args().map(ToOwned::to_owned)).collect();
    let output = Command::new(&words[0])
        .args(&words[1..])
        .current_dir(cache.base())
        .env("ATTACK_ROOT", cache.root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

/// The words that a helper said after `what`.
#[track_caller]
fn said(output: &Output, what: &str) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let line = stdout.lines().find_map(|line| line.strip_prefix(what));
    line.unwrap_or_else(|| panic!("no {what} in {output:?}")).to_owned()
}

#[test]
#[ignore = "a process whose calls fail, or that is somebody else's"]
fn a_daemon_that_looks() {
    let Some(root) = tools::argument("ATTACK_ROOT") else { return };
    let cache = Cache::open(root).unwrap();
    // After a line of the harness that has no end.
    println!();
    for name in ["a", "b"] {
        println!("lookup {name}: {:?}", cache.lookup(parse(name)));
    }
    println!("start n: {:?}", cache.start(parse("n")));
    cache.record_hit(parse("a"), SystemTime::now());
}

#[test]
fn whatever_keeps_a_lockfile_from_being_made_the_viewer_is_served() {
    if !need::tool("strace") {
        return;
    }
    let errors = ["ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM"].map(|errno| (errno, true));
    for (errno, is_busy) in errors.into_iter().chain([("EIO", false)]) {
        let cache =
            TestCache::new().sealed("a", 10.kib(), 1.days()).sealed("b", 10.kib(), 1.days());
        // The first openat finds no pin, which is so; then one is made in either way.
        let injections = [format!("linkat:error={errno}"), format!("openat:error={errno}:when=2+")];
        let mut strace = tools::strace("linkat,openat", &injections);
        strace.extend(["-P".to_owned(), pin_name("b")]);
        let this = std::env::current_exe().unwrap();
        let output =
            run_under(&strace, this.as_os_str(), "failing_daemon::a_daemon_that_looks", &cache);
        assert!(said(&output, "lookup a: ").starts_with("Ok(Hit("), "{errno}: {output:?}");
        let expected = if is_busy { "Ok(Busy(CannotWrite(" } else { "Err(" };
        assert!(said(&output, "lookup b: ").starts_with(expected), "{errno}: {output:?}");
        assert!(said(&output, "start n: ").starts_with("Ok(Writer("), "{errno}: {output:?}");
    }
}

#[test]
fn who_may_not_write_the_root_plays_what_has_a_pin_and_the_rest_uncached() {
    if !need::running_as_root() {
        need::missing("root, to be somebody else");
        return;
    }
    if !need::tool("setpriv") {
        return;
    }
    let cache = TestCache::new().sealed("a", 10.kib(), 1.days()).sealed("b", 10.kib(), 1.days());
    let cache = cache.mode("..", 0o755);
    File::create(cache.pin_path("a")).unwrap();
    let copy = cache.base().join("daemon");
    // Not by this process: one that another thread forks meanwhile would hold it open for writing.
    let copied = Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&copy).status();
    assert!(copied.is_ok_and(|copied| copied.success()), "copy of this binary");
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"].map(String::from);
    let output =
        run_under(&nobody, copy.as_os_str(), "failing_daemon::a_daemon_that_looks", &cache);
    assert!(said(&output, "lookup a: ").starts_with("Ok(Hit("), "{output:?}");
    for what in ["lookup b: ", "start n: "] {
        let said = said(&output, what);
        assert!(said.starts_with("Ok(Busy(CannotWrite("), "{said}");
        assert!(said.contains("Permission denied"), "{said}");
    }
    assert!(!cache.root().join(".events.log").exists());
}

#[test]
#[ignore = "a process whose disk fails"]
fn a_daemon_that_seals_twice() {
    let Some(root) = tools::argument("ATTACK_ROOT") else { return };
    let cache = Cache::open(root).unwrap();
    let Start::Writer(writer) = cache.start(parse("s")).unwrap() else { panic!("not the writer") };
    fs::write(writer.path().join("video/init.mp4"), "init").unwrap();
    fs::write(writer.path().join("video/seg-0.m4s"), "segment").unwrap();
    let failed = writer.seal().unwrap_err();
    println!("\nfirst: {}", failed.error);
    match failed.writer.seal() {
        Ok(pin) => println!("second: sealed {}", pin.key()),
        Err(failed) => println!("second: {}", failed.error),
    }
}

/// The kernel tells a descriptor once that writing back failed; asked again, it says that all is well.
#[test]
fn what_may_not_have_reached_the_disk_is_never_sealed() {
    if !need::tool("strace") {
        return;
    }
    let cache = TestCache::new();
    let strace = tools::strace("syncfs", &["syncfs:error=EIO:when=1".into()]);
    let this = std::env::current_exe().unwrap();
    let output =
        run_under(&strace, this.as_os_str(), "failing_daemon::a_daemon_that_seals_twice", &cache);
    assert!(said(&output, "first: ").ends_with("Input/output error (os error 5)"), "{output:?}");
    assert_eq!(said(&output, "first: "), said(&output, "second: "));
    assert!(cache.has("s") && !tools::is_sealed(&cache.entry_path("s")));
}

#[test]
fn a_seal_that_had_no_room_is_made_up_for_by_the_writer_it_gives_back() {
    let Some(cache) = TestCache::on_tmpfs("size=2m,nr_inodes=40,mode=755") else { return };
    let daemon = Cache::open(cache.root()).unwrap();
    let Start::Writer(writer) = daemon.start(parse("s")).unwrap() else { panic!("not the writer") };
    fs::write(writer.path().join("video/init.mp4"), "init").unwrap();
    fs::write(writer.path().join("video/seg-0.m4s"), "segment").unwrap();
    tools::fill(&cache.root(), tools::Full::Files);
    let failed = writer.seal().unwrap_err();
    assert_eq!(failed.error.raw_os_error(), Some(Errno::NOSPC.raw_os_error()), "{}", failed.error);
    // What it wrote is still its own: readable, and nobody else's to write or remove.
    assert!(failed.writer.path().join("video/seg-0.m4s").exists());
    assert!(matches!(daemon.start(parse("s")).unwrap(), Start::Busy(_)));
    cache.run(["invalidate", &key("s")]).code(3).kept(["s"]);
    fs::remove_file(cache.root().join("filler/0")).unwrap();
    drop(failed.writer.seal().unwrap());
    assert!(matches!(daemon.lookup(parse("s")).unwrap(), Lookup::Hit(_)));
}
