//! Names after escape sequences: shown, never obeyed.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

use crate::common::{Age, Run, Size, TestCache, key, need};

#[track_caller]
fn is_plain(run: &Run<'_>) {
    for bytes in [&run.output.stdout, &run.output.stderr] {
        let text = str::from_utf8(bytes).unwrap_or_else(|_| panic!("not UTF-8\n{run}"));
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    }
}

#[test]
fn a_hostile_root_is_escaped_in_results_and_errors() {
    let cache = TestCache::new();
    for name in [&b"\x1b]0;gotcha\x07"[..], b"two\nlines", b"\xff\xfe", b"\xc2\x9b31m"] {
        let root = cache.base().join(OsStr::from_bytes(name));
        let absent =
            cache.bare([OsStr::new("--root"), root.as_os_str(), OsStr::new("stats")]).run();
        is_plain(&absent.code(1));
        fs::create_dir(&root).unwrap();
        let run = cache.bare([OsStr::new("--root"), root.as_os_str(), OsStr::new("stats")]).run();
        is_plain(&run.success());
    }
}

#[test]
fn a_hostile_name_in_an_entry_is_escaped_in_problems() {
    let cache = TestCache::new().sealed("a", 10.mib(), 1.days());
    let name = OsStr::from_bytes(b"\x1b[31m\xff\n");
    let inside = cache.entry_path("a").join("video").join(name);
    fs::create_dir(&inside).unwrap();
    let Some(cache) = cache.by_ordinary_user() else { return };
    let cache = cache.mode(format!("{}/video", key("a")), 0o755);
    fs::set_permissions(&inside, std::os::unix::fs::PermissionsExt::from_mode(0o0)).unwrap();
    let run = cache.run(["stats"]).code(1);
    assert!(run.stderr().contains("\\x1b[31m\\xff\\n"), "{run}");
    is_plain(&run);
}

#[test]
fn a_hostile_argument_is_escaped() {
    let cache = TestCache::new();
    is_plain(&cache.command(["invalidate", "--stdin"]).stdin("\x1b[31m\n").run().code(2));
    let run = cache.command(["sweep"]).env("HLS_CACHE_MAX_SIZE", "\x1b[31m").run();
    is_plain(&run.code(2));
}

#[test]
fn a_process_names_itself_and_is_escaped() {
    /// Locks as a daemon does, under a name of its choice.
    const HOLD: &str = "
import fcntl, sys
open('/proc/self/comm', 'w').write('\x1b[31mevil')
pin = open(sys.argv[1], 'a')
fcntl.flock(pin, fcntl.LOCK_SH)
print('held', flush=True)
sys.stdin.read()
";
    if !need::tool("python3") {
        return;
    }
    let cache = TestCache::new().sealed("a", 10.mib(), 1.days());
    let mut child = Command::new("python3")
        .args(["-c", HOLD])
        .arg(cache.pin_path("a"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    let mut held = [0; 5];
    child.stdout.as_mut().unwrap().read_exact(&mut held).expect("held");
    for args in [&["stats", "--entries"][..], &["invalidate", "--all"]] {
        let run = cache.run(args);
        is_plain(&run);
        assert!(run.stdout().contains("\\x1b[31mevil["), "{run}");
    }
    drop(child.stdin.take());
    child.wait().unwrap();
}
