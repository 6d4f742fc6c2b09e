//! The lock protocol between processes: who protects what, and what a crash leaves behind.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};

use crate::common::{Age, Holder, Lock, Run, Size, TestCache, decisions, key, pin_name};

const SWEEP: [&str; 6] = ["sweep", "--max-size", "0", "--min-budget", "0", "--best-effort"];

fn pair() -> TestCache {
    TestCache::new().sealed("a", 10.kib(), 5.days()).sealed("b", 10.kib(), 4.days())
}

/// Every command that removes, and would remove `a` and `b` were they not pinned.
fn removers() -> Vec<Vec<String>> {
    let all = [
        &SWEEP[..],
        &["gc-orphans"],
        &["invalidate", "--all"],
        &["invalidate", &key("a"), &key("b")],
        &["verify", "--fix"],
    ];
    all.iter().map(|args| args.iter().map(|&arg| arg.to_owned()).collect()).collect()
}

/// `a` and `b` such that this command removes them.
fn removable_by(command: &[String]) -> TestCache {
    match &*command[0] {
        "gc-orphans" => {
            TestCache::new().partial("a", 1.kib(), 5.days()).partial("b", 1.kib(), 4.days())
        }
        "verify" => pair().without("a", "video/init.mp4").without("b", "video/init.mp4"),
        _ => pair(),
    }
}

#[test]
fn what_another_process_has_pinned_no_command_removes() {
    for command in removers() {
        let cache = removable_by(&command).pinned("a");
        cache.run(&command).removed_only(["b"]);
    }
}

#[test]
fn a_pin_ends_with_its_holder_even_one_that_was_killed() {
    for command in removers() {
        let cache = removable_by(&command);
        let holder = cache.pin("a");
        cache.run(&command).removed_only(["b"]);
        holder.kill();
        assert!(cache.pin_path("a").exists(), "what a killed holder leaves");
        cache.run(&command).removed_only(["a"]);
    }
}

#[test]
fn one_of_two_holders_is_enough() {
    let cache = pair();
    let (one, two) = (cache.pin("a"), cache.pin("a"));
    one.kill();
    cache.run(["invalidate", &key("a")]).code(3).untouched();
    two.kill();
    cache.run(["invalidate", &key("a")]).success().removed_only(["a"]);
}

#[test]
fn an_exclusive_holder_is_another_remover_at_work() {
    let cache = pair();
    let _remover = Holder::spawn(&cache.pin_path("a"), Lock::Exclusive);
    cache.run(["invalidate", &key("a")]).code(3).untouched();
    cache.run(SWEEP).removed_only(["b"]);
}

#[test]
fn a_pin_file_that_nobody_holds_means_nothing() {
    for command in removers() {
        let cache = removable_by(&command)
            .file(pin_name("a"), b"4711 held since Monday")
            .file(pin_name("b"), b"");
        cache.run(&command).removed_only(["a", "b"]);
    }
}

#[test]
fn a_writer_lockfile_protects_nothing_by_itself_and_is_left_alone() {
    let write = format!(".{}.write", key("a"));
    let cache = pair().file(&write, b"");
    let inode = |name: &str| fs::metadata(cache.root().join(name)).unwrap().ino();
    let before = inode(&write);
    cache.run(SWEEP).success().removed_only(["a", "b"]);
    assert_eq!(inode(&write), before);
}

#[test]
fn lockfiles_are_never_unlinked_read_or_written() {
    let pins = ["a", "b"].map(pin_name);
    let locks = [&*pins[0], &pins[1], ".maintenance.lock"];
    for command in removers() {
        let cache = locks
            .iter()
            .fold(removable_by(&command), |cache, lock| cache.file(lock, b"not ours to read"));
        let state = || {
            locks.map(|lock| {
                let meta = fs::metadata(cache.root().join(lock)).unwrap();
                (meta.ino(), meta.size(), meta.mtime_nsec(), meta.ctime_nsec(), meta.mode())
            })
        };
        let before = state();
        cache.run(&command).removed_only(["a", "b"]);
        assert_eq!(state(), before, "{command:?}");
    }
}

#[test]
fn what_only_looks_creates_no_lockfile() {
    let a = key("a");
    let looks: [&[&str]; 6] = [
        &["stats", "--entries"],
        &["verify"],
        &["verify", "--deep", &a],
        &["sweep", "-n", "--max-size", "0", "--min-budget", "0"],
        &["gc-orphans", "-n", "--min-age", "0s"],
        &["invalidate", "-n", "--all", "--force"],
    ];
    for look in looks {
        pair().partial("p", 1.kib(), 1.days()).pinned("b").run(look).untouched();
    }
}

#[test]
fn a_pin_that_is_no_regular_file_keeps_the_entry_and_is_an_error() {
    let fifo = pair();
    mknodat(CWD, fifo.pin_path("a"), FileType::Fifo, Mode::from(0o600), 0).unwrap();
    let planted = [
        ("a directory", pair().dir(pin_name("a"))),
        ("a symlink", pair().outside("far").link(pin_name("a"), "../far/precious")),
        ("a dangling symlink", pair().link(pin_name("a"), "../precious")),
        ("a FIFO", fifo),
    ];
    for (what, cache) in planted {
        println!("{what}");
        let run = cache.run([&["--json"], &SWEEP[..]].concat()).code(1).removed_only(["b"]);
        let errors = run.json()["errors"].as_array().unwrap().clone();
        let path = cache.root().join(pin_name("a"));
        assert!(errors.iter().any(|error| error["path"] == *path.to_str().unwrap()), "{run}");
        cache.run(["invalidate", &key("a")]).code(1).untouched().complains_of(&pin_name("a"));
    }
}

#[test]
fn a_pin_that_may_only_be_read_still_locks() {
    let Some(cache) = pair().file(pin_name("a"), b"").mode(pin_name("a"), 0o444).by_ordinary_user()
    else {
        return;
    };
    let holder = cache.pin("a");
    cache.run(["invalidate", &key("a")]).code(3).untouched();
    holder.kill();
    cache.run(["invalidate", &key("a")]).success().removed_only(["a"]);
}

#[test]
fn an_entry_whose_pin_cannot_be_created_is_kept() {
    let Some(cache) = pair().mode("", 0o555).by_ordinary_user() else { return };
    let run = cache.run([&["--json"], &SWEEP[..]].concat()).code(1).untouched();
    assert_ne!(run.json()["errors"], json!([]));
    assert_eq!(run.json()["removed"], 0);
    cache.run(["invalidate", &key("a")]).code(1).untouched();
    cache.run(["stats"]).success();
    let _writable_again = cache.mode("", 0o755);
}

#[test]
fn a_lockfile_made_by_root_belongs_to_the_root_s_owner() {
    use crate::common::need;
    if !need::running_as_root() {
        need::missing("to run as root");
        return;
    }
    let cache = pair().file(pin_name("b"), b"");
    std::os::unix::fs::chown(cache.root(), Some(1234), Some(5678)).unwrap();
    cache.run(SWEEP).success().removed_only(["a", "b"]);
    let owner = |name: &str| {
        let meta = fs::metadata(cache.root().join(name)).unwrap();
        (meta.uid(), meta.gid())
    };
    for made in [&*pin_name("a"), ".maintenance.lock", ".events.log"] {
        assert_eq!(owner(made), (1234, 5678), "{made}");
    }
    assert_eq!(owner(&pin_name("b")), (0, 0), "it did not make that one");
}

#[test]
fn two_maintainers_do_not_work_at_once() {
    let commands: [&[&str]; 2] = [&SWEEP, &["gc-orphans", "--min-age", "0s"]];
    for command in commands {
        let cache = pair().partial("p", 1.kib(), 5.days()).trash("old");
        let other = cache.other_maintainer();
        cache.run(command).code(4).no_stdout().untouched();
        cache.run([&["--json"], command].concat()).code(4).no_stdout().untouched();
        other.kill();
        cache.run(command).success().removed(["p"]);
    }
}

#[test]
fn the_maintenance_lock_keeps_no_one_else_out() {
    let cache = pair().partial("p", 1.kib(), 5.days());
    let _other = cache.other_maintainer();
    cache.run(["stats"]).success();
    cache.run(["verify"]).success();
    cache.run(["verify", "--fix"]).success();
    cache.run([&SWEEP[..], &["-n"]].concat()).success().untouched();
    cache.run(["gc-orphans", "-n"]).success().untouched();
    cache.run(["invalidate", &key("a")]).success().removed_only(["a"]);
}

#[test]
fn waiting_for_the_other_maintainer_ends() {
    let cache = pair();
    let other = cache.other_maintainer();
    let began = Instant::now();
    let run = cache.run([&SWEEP[..], &["--wait", "300ms"]].concat()).code(4).no_stdout();
    assert!(began.elapsed() >= Duration::from_millis(300));
    let stderr = run.untouched().stderr();
    assert!(stderr.contains("waited 300ms") && !stderr.contains("--wait"), "{stderr}");
    // Who has not waited is told how to, and for whom.
    cache.run(SWEEP).code(4).complains_of("--wait").complains_of(&other.name());
}

#[test]
fn waiting_for_the_other_maintainer_is_rewarded() {
    let cache = pair();
    let other = cache.other_maintainer();
    let mut waiting = start_waiting(&cache, &[]);
    assert!(cache.has("a") && cache.has("b"));
    other.kill();
    assert!(waiting.wait().unwrap().success());
    assert!(!cache.has("a") && !cache.has("b"));
}

#[test]
fn a_maintainer_does_not_wait_for_itself() {
    let cache = pair();
    cache.run([&SWEEP[..], &["--wait", "100ms"]].concat()).success().removed(["a", "b"]);
}

/// A sweep that waits for another maintainer.
fn start_waiting(cache: &TestCache, options: &[&str]) -> Child {
    let mut waiting = cache
        .command([&SWEEP[..], &["--wait", "1h"], options].concat())
        .process()
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until_open(&mut waiting, ".maintenance.lock");
    waiting
}

/// Returns once the process has a file of this name open.
fn wait_until_open(process: &mut Child, name: &str) {
    let descriptors = format!("/proc/{}/fd", process.id());
    let open = || {
        let links = fs::read_dir(&descriptors).into_iter().flatten().flatten();
        links.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|path| path.ends_with(name))
    };
    while !open() {
        assert!(process.try_wait().unwrap().is_none(), "it ended without {name}");
        thread::yield_now();
    }
}

#[test]
fn a_maintenance_lock_that_cannot_be_had_is_a_warning() {
    let cases = [pair().dir(".maintenance.lock"), pair().link(".maintenance.lock", "elsewhere")];
    for cache in cases {
        let warned = |run: Run<'_>| assert_ne!(run.json()["warnings"], json!([]), "{run}");
        warned(cache.run([&["--json"], &SWEEP[..]].concat()).success().removed_only(["a", "b"]));
        assert!(!cache.root().join("elsewhere").exists());
    }
}

#[test]
fn a_held_entry_is_listed_as_pinned_and_stays_so_under_every_probe() {
    let cache = pair().pinned("a");
    for _ in 0..20 {
        let json = cache.run(["stats", "--json"]).success().json();
        assert_eq!(json["pinned"], cache.totals(["a"]));
    }
    let kept = cache.run([&["--json"], &SWEEP[..]].concat()).code(3).json();
    assert_eq!(decisions(&kept, "kept"), [("a".into(), "pinned".into())]);
}

/// The kernel lists locks by device and inode, and two disks have inodes of the same number.
#[test]
fn who_holds_a_lock_is_not_mixed_up_with_who_holds_one_on_another_disk() {
    let disk = || Some(TestCache::on_tmpfs("mode=755")?.sealed("a", 1.kib(), 5.days()));
    let (Some(one), Some(other)) = (disk(), disk()) else { return };
    let holders = [one.pin("a"), other.pin("a")];
    let inode = |cache: &TestCache| cache.pin_path("a").metadata().unwrap().ino();
    assert_eq!(inode(&one), inode(&other), "else this shows nothing");
    for (cache, holder) in [&one, &other].into_iter().zip(&holders) {
        let json = cache.run(["stats", "--json", "--entries"]).success().json();
        let named = &json["entries"][0]["in_use"]["holders"];
        assert_eq!(*named, json!([{"command": "cat", "pid": holder.pid()}]));
    }
}

#[test]
fn a_holder_s_descriptor_keeps_its_files_readable_after_force() {
    let cache = pair().pinned("a");
    let open = fs::File::open(cache.entry_path("a").join("video/ffmpeg-0.m3u8")).unwrap();
    cache.run(["invalidate", "--force", &key("a")]).success().removed_only(["a"]);
    assert!(std::io::read_to_string(open).unwrap().contains("#EXTM3U"));
}

#[test]
fn a_lock_held_for_an_instant_is_no_pin() {
    let cache = pair();
    let other = Holder::spawn(&cache.pin_path("a"), Lock::Exclusive);
    let release = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        drop(other);
    });
    cache.run(["invalidate", &key("a")]).success().removed(["a"]);
    release.join().unwrap();
}

#[test]
fn ages_and_events_count_from_the_end_of_the_wait() {
    let cache = pair();
    let other = cache.other_maintainer();
    let mut waiting = start_waiting(&cache, &[]);
    thread::sleep(Duration::from_secs(2));
    let released = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    other.kill();
    assert!(waiting.wait().unwrap().success());
    let logged: u64 = cache.logged()[0][0].parse().unwrap();
    assert!(logged >= released, "logged {} s before it happened", released - logged);
}

#[test]
fn ages_in_the_report_count_from_the_end_of_the_wait_too() {
    let age_in = |said: &str| -> u64 {
        if let Ok(json) = serde_json::from_str::<Value>(said) {
            return json["entries"][0]["age_seconds"].as_u64().unwrap();
        }
        said.split_once("used ").unwrap().1.split_once("s ago").unwrap().0.parse().unwrap()
    };
    for form in [&["--json"][..], &[]] {
        let cache = TestCache::new().sealed("a", 10.kib(), 0.seconds());
        let other = cache.other_maintainer();
        let waiting = start_waiting(&cache, form);
        thread::sleep(Duration::from_secs(2));
        other.kill();
        let output = waiting.wait_with_output().unwrap();
        assert!(output.status.success() && !cache.has("a"), "{output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(age_in(&said) >= 2, "{said}");
    }
}
