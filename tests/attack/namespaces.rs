//! What crosses the border of a container. A container here is what unshare(1) and chroot(1) make: mount, PID and
//! user namespaces, and a root in which the cache has one path, another than outside. `.ci/container` does some
//! of the same in real ones. As in `watchers`, a control entry goes in every first round.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::common::{Age, Run, Size, TestCache, decisions, key, need, pin_name};
use crate::tools::{self, OWNER};

/// More than any cache can meet: everything that nothing protects goes.
const IMPOSSIBLE: [&str; 6] =
    ["--json", "sweep", "--max-size=0B", "--min-budget=0", "--best-effort", "--keep-recent=0s"];
/// Where containers have the cache.
const INSIDE: &str = "/mnt";

/// What makes the root of a container, and starts the rest of its arguments there.
const ENTER: &str = r#"
    base=$1 options=$2 has_own_processes=$3
    shift 3
    mount --rbind / "$base/view"
    mount --bind "$base/root" "$base/view/mnt"
    [ -z "$options" ] || mount -o "remount,bind,$options" "$base/view/mnt"
    # From here on, that is its only path.
    mount -t tmpfs none "$base/view$base"
    [ "$has_own_processes" = false ] || mount -t proc proc "$base/view/proc"
    exec chroot "$base/view" "$@"
"#;

#[derive(Clone, Copy, Debug)]
struct Container {
    /// In a user namespace of its own, as rootless ones are.
    is_rootless: bool,
    /// In a PID namespace of its own, with its own `/proc`; not so with `pid: host`.
    has_own_processes: bool,
    /// How it mounts the cache, if otherwise than the host.
    options: &'static str,
}

const ROOTLESS: Container = Container { is_rootless: true, has_own_processes: true, options: "" };
const USUAL: Container = Container { is_rootless: false, ..ROOTLESS };
const WITH_PROCESSES_OF_HOST: Container = Container { has_own_processes: false, ..USUAL };

impl Container {
    const fn mounted(self, options: &'static str) -> Self {
        Self { options, ..self }
    }

    /// The words before a command that make it run inside; `None`, said loudly, where that is not possible.
    fn words(self, cache: &TestCache) -> Option<Vec<OsString>> {
        fs::create_dir_all(cache.outside_path("view")).unwrap();
        let mut words: Vec<OsString> =
            ["unshare", "--mount", "--kill-child"].map(Into::into).into();
        if self.is_rootless {
            words.push("--map-root-user".into());
        }
        if self.has_own_processes {
            words.push("--pid".into());
        }
        words.extend(["sh", "-ec", ENTER, "sh"].map(OsString::from));
        words.push(cache.base().into());
        words.extend([self.options, &self.has_own_processes.to_string()].map(OsString::from));
        let tried = Command::new(&words[0]).args(&words[1..]).arg("true").output();
        if tried.as_ref().is_ok_and(|tried| tried.status.success()) {
            return Some(words);
        }
        let reason = tried.map_or_else(
            |error| format!("unshare: {error}"),
            |tried| String::from_utf8_lossy(&tried.stderr).trim_end().to_owned(),
        );
        need::missing(&format!("{self:?} ({reason})"));
        None
    }

    fn sweep<'c>(self, cache: &'c TestCache, options: &[&str]) -> Option<Run<'c>> {
        let words = self.words(cache)?;
        Some(
            cache.bare([&["--root", INSIDE][..], &IMPOSSIBLE, options].concat()).under(words).run(),
        )
    }

    /// Runs a shell's script inside, whose `$1` is a file of the cache, until it says that it is ready.
    fn start(self, cache: &TestCache, script: &str, file: &str) -> Option<Running> {
        let mut words = self.words(cache)?;
        words.extend(["sh", "-c", script, "sh"].map(OsString::from));
        words.push(Path::new(INSIDE).join(file).into());
        Some(Running::start(Command::new(&words[0]).args(&words[1..])))
    }
}

/// Both have what they hold as descriptor 0, which is closed before standard output when they die.
const LOCKS: &str = r#"exec <"$1"; flock --shared 0 && echo ready && exec sleep 1000"#;
const OPENS: &str = r#"exec <"$1"; echo ready && exec sleep 1000"#;
const READS: &str = r#"cat "$1" >/dev/null && echo ready"#;

/// A process, or a container of them, that ends with the test.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let running = Self(child);
        assert_eq!(line, "ready\n");
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        // Until nobody in the container has the other end any more.
        let _ = self.0.stdout.as_mut().unwrap().read_to_end(&mut Vec::new());
        let _ = self.0.wait();
    }
}

fn outside(script: &str, file: &Path) -> Running {
    Running::start(Command::new("sh").args(["-c", script, "sh"]).arg(file))
}

fn segment() -> String {
    format!("{}/video/seg-1.m4s", key("used"))
}

/// An entry that is used, and the control.
fn pair() -> TestCache {
    add_pair(TestCache::new())
}

fn add_pair(cache: TestCache) -> TestCache {
    cache.sealed("used", 300.kib(), 5.days()).sealed("control", 300.kib(), 5.days())
}

#[track_caller]
fn assert_only_used_is_kept(run: Run<'_>, reason: &str) {
    let run = run.code(3).removed(["control"]).kept(["used"]);
    assert_eq!(decisions(&run.json(), "kept"), [("used".into(), reason.into())], "{run}");
}

#[track_caller]
fn assert_both_are_gone(run: Run<'_>) {
    run.success().removed(["used", "control"]);
}

#[test]
fn a_lock_inside_protects_from_a_sweep_outside() {
    for container in [ROOTLESS, USUAL] {
        let cache = pair().file(pin_name("used"), b"");
        let Some(reader) = container.start(&cache, LOCKS, &pin_name("used")) else { return };
        assert_only_used_is_kept(cache.run(IMPOSSIBLE), "pinned");
        drop(reader);
        cache.run(IMPOSSIBLE).success().removed(["used"]);
    }
}

#[test]
fn a_lock_outside_protects_from_a_sweep_inside() {
    for container in [ROOTLESS, USUAL] {
        let cache = pair();
        let reader = cache.pin("used");
        let Some(run) = container.sweep(&cache, &[]) else { return };
        assert_only_used_is_kept(run, "pinned");
        reader.kill();
        container.sweep(&cache, &[]).unwrap().success().removed(["used"]);
    }
}

#[test]
fn a_lock_in_one_container_protects_from_a_sweep_in_another() {
    for (theirs, ours) in [(ROOTLESS, USUAL), (USUAL, ROOTLESS), (ROOTLESS, ROOTLESS)] {
        let cache = pair().file(pin_name("used"), b"");
        let Some(reader) = theirs.start(&cache, LOCKS, &pin_name("used")) else { return };
        let Some(run) = ours.sweep(&cache, &["--locks-only"]) else { return };
        assert_only_used_is_kept(run, "pinned");
        drop(reader);
        ours.sweep(&cache, &["--locks-only"]).unwrap().success().removed(["used"]);
    }
}

/// A sweep in a container of its own and one outside are not at work at once.
#[test]
fn one_maintainer_at_a_time_whichever_container_it_is_in() {
    let cache = pair().file(".maintenance.lock", b"");
    let _other = cache.other_maintainer();
    let Some(run) = ROOTLESS.sweep(&cache, &[]) else { return };
    run.code(4).untouched();
}

/// On a mount that keeps access times, whatever the machine's temporary directory does.
fn on_relatime() -> Option<TestCache> {
    TestCache::on_tmpfs("size=8m,mode=755").map(add_pair)
}

fn atime(cache: &TestCache) -> (i64, i64) {
    let meta = cache.root().join(segment()).metadata().unwrap();
    (meta.atime(), meta.atime_nsec())
}

#[test]
fn a_read_inside_protects_whether_the_sweep_is_inside_or_outside() {
    for container in [ROOTLESS, USUAL] {
        for swept_in in [None, Some(ROOTLESS), Some(USUAL)] {
            let Some(cache) = on_relatime() else { return };
            if container.start(&cache, READS, &segment()).is_none() {
                return;
            }
            let run = match swept_in {
                None => cache.run(IMPOSSIBLE),
                Some(container) => container.sweep(&cache, &[]).unwrap(),
            };
            assert_only_used_is_kept(run, "read");
        }
    }
}

#[test]
fn a_read_through_a_mount_that_hides_it_protects_nothing() {
    for options in ["noatime", "ro"] {
        let Some(cache) = on_relatime() else { return };
        let before = atime(&cache);
        if USUAL.mounted(options).start(&cache, READS, &segment()).is_none() {
            return;
        }
        assert_eq!(atime(&cache), before, "{options}");
        assert_both_are_gone(cache.run(IMPOSSIBLE));
    }
}

/// It is the reader's mount that counts.
#[test]
fn a_sweep_through_a_noatime_mount_sees_what_was_read_through_another() {
    let Some(cache) = on_relatime() else { return };
    if USUAL.start(&cache, READS, &segment()).is_none() {
        return;
    }
    let run = USUAL.mounted("noatime").sweep(&cache, &[]).unwrap();
    assert_only_used_is_kept(run, "read");
}

#[test]
fn a_file_open_inside_protects_from_a_sweep_that_sees_the_hosts_processes() {
    for container in [ROOTLESS, USUAL] {
        for swept_in in [None, Some(WITH_PROCESSES_OF_HOST)] {
            let cache = pair();
            let Some(user) = container.start(&cache, OPENS, &segment()) else { return };
            // Only root may look into another user namespace.
            if !need::running_as_root() {
                need::missing("root, to look into a container");
                return;
            }
            let run = match swept_in {
                None => cache.run(IMPOSSIBLE),
                Some(container) => container.sweep(&cache, &[]).unwrap(),
            };
            assert_only_used_is_kept(run, "open");
            let children = format!("/proc/{0}/task/{0}/children", user.0.id());
            let pid = fs::read_to_string(children).unwrap();
            let said = cache.run([&IMPOSSIBLE[1..], &["-v"]].concat()).stdout();
            assert!(said.contains(&format!("open in sleep[{}]", pid.trim())), "{said}");
            drop(user);
            cache.run(IMPOSSIBLE).success().removed(["used"]);
        }
    }
}

#[test]
fn a_file_open_outside_protects_from_a_sweep_inside_only_with_the_hosts_processes() {
    let cache = pair();
    let user = outside(OPENS, &cache.root().join(segment()));
    let Some(run) = WITH_PROCESSES_OF_HOST.sweep(&cache, &[]) else { return };
    assert_only_used_is_kept(run, "open");
    drop(user);

    for container in [USUAL, ROOTLESS] {
        let cache = pair();
        let _user = outside(OPENS, &cache.root().join(segment()));
        let Some(run) = container.sweep(&cache, &[]) else { return };
        assert_both_are_gone(run);
    }
}

#[test]
fn a_file_open_in_another_container_is_not_seen_from_a_pid_namespace() {
    let cache = pair();
    let Some(_user) = USUAL.start(&cache, OPENS, &segment()) else { return };
    let Some(run) = USUAL.sweep(&cache, &[]) else { return };
    assert_both_are_gone(run);
}

/// Of how many processes a run that removed something says that it could not look at them; it says so once.
#[track_caller]
fn unseen(stderr: &str) -> u64 {
    let lines: Vec<&str> =
        stderr.lines().filter(|line| line.contains("could not be looked at")).collect();
    assert_eq!(lines.len(), 1, "{stderr}");
    let count = lines[0].strip_prefix("warning: ").unwrap().split(' ').next().unwrap();
    count.parse().unwrap()
}

#[test]
fn a_sweep_in_a_user_namespace_says_of_how_many_processes_it_knows_nothing() {
    let cache = pair();
    let _user = outside(OPENS, &cache.root().join(segment()));
    let container = Container { has_own_processes: false, ..ROOTLESS };
    let Some(run) = container.sweep(&cache, &[]) else { return };
    assert!(unseen(&String::from_utf8_lossy(&run.diagnostics)) >= 1, "{run}");
    assert_both_are_gone(run);
}

/// An ordinary user's cache, an ordinary user's sweep.
fn swept_by_its_owner(cache: &TestCache) -> Output {
    tools::give_away(&cache.root());
    tools::as_user(cache, OWNER, &IMPOSSIBLE)
}

fn as_owner(more: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={OWNER}"), format!("--regid={OWNER}")]);
    command.arg("--clear-groups").args(more);
    command
}

fn holding(command: &mut Command, cache: &TestCache) -> Running {
    Running::start(command.args(["sh", "-c", OPENS, "sh"]).arg(cache.root().join(segment())))
}

#[track_caller]
fn kept_by_owner(output: &Output) -> Vec<(String, String)> {
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    decisions(&json, "kept")
}

#[test]
fn an_ordinary_user_sees_its_own_processes_and_is_told_of_how_many_others_it_knows_nothing() {
    if !need::running_as_root() {
        need::missing("root, to be several users");
        return;
    }
    if !need::tool("setpriv") {
        return;
    }
    // Root's.
    let cache = pair();
    let user = outside(OPENS, &cache.root().join(segment()));
    let output = swept_by_its_owner(&cache);
    assert_eq!(kept_by_owner(&output), []);
    assert!(!cache.has("used") && !cache.has("control"), "{output:?}");
    assert!(unseen(&String::from_utf8_lossy(&output.stderr)) >= 1);
    drop(user);

    // Its own, without any capability on either side: what compose.yaml relies on.
    let cache = pair();
    let user = holding(&mut as_owner(&["--bounding-set=-all"]), &cache);
    let output = swept_by_its_owner(&cache);
    assert_eq!(kept_by_owner(&output), [("used".into(), "open".into())]);
    assert!(cache.has("used") && !cache.has("control"), "{output:?}");
    drop(user);

    // Its own, but with a capability that the sweep has not.
    let cache = pair();
    let capable = ["--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service"];
    let _user = holding(&mut as_owner(&capable), &cache);
    let output = swept_by_its_owner(&cache);
    assert_eq!(kept_by_owner(&output), []);
    assert!(!cache.has("used") && !cache.has("control"), "{output:?}");
    assert!(unseen(&String::from_utf8_lossy(&output.stderr)) >= 1);
}
