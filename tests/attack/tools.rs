//! What several attacks need.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rustix::fs::{Mode, OFlags};
use walkdir::WalkDir;

use crate::common::{TestCache, names, need};

pub use crate::common::trash;

/// A process that runs one `#[ignore]`d test of this binary: something to be killed or traced.
pub fn helper(test: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("this binary"));
    command.args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    command
}

/// The argument that a helper was started with; `None` when somebody just runs the ignored tests.
pub fn argument(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// A small generator of numbers (xorshift), so that a run can be repeated by its seed.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        // Neighbouring seeds must not give neighbouring throws.
        let mut dice = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            dice.throw(2);
        }
        dice
    }

    /// From 0 to `sides` - 1.
    pub fn throw(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let index = self.throw(of.len() as u64);
        &of[usize::try_from(index).expect("an index")]
    }
}

fn is_key(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.len() == 16 && name.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The live entries (real directories named like a key).
pub fn entries(root: &Path) -> Vec<PathBuf> {
    names(root)
        .into_iter()
        .filter(|path| is_key(path.file_name().expect("a name")))
        .filter(|path| path.symlink_metadata().is_ok_and(|meta| meta.is_dir()))
        .collect()
}

/// The files of every sealed entry, to be held against what is there later.
#[derive(Clone)]
pub struct Whole(BTreeMap<PathBuf, Vec<PathBuf>>);

impl Whole {
    pub fn of(root: &Path) -> Self {
        let sealed = entries(root).into_iter().filter(|entry| is_sealed(entry));
        Self(sealed.map(|entry| (entry.clone(), files(&entry))).collect())
    }

    /// No live name is sealed and incomplete.
    #[track_caller]
    pub fn assert_still(&self, root: &Path, when: &str) {
        for entry in entries(root).into_iter().filter(|entry| is_sealed(entry)) {
            let Some(expected) = self.0.get(&entry) else {
                panic!("{when}: {} was not sealed before", entry.display());
            };
            assert_eq!(
                &files(&entry),
                expected,
                "{when}: {} is sealed, not whole",
                entry.display()
            );
        }
    }
}

pub fn is_sealed(entry: &Path) -> bool {
    entry.join(".complete").symlink_metadata().is_ok()
}

fn files(entry: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        WalkDir::new(entry).into_iter().map(|found| found.expect("entry").into_path()).collect();
    files.sort_unstable();
    files
}

/// Another user, who owns a cache that root maintains.
pub const OWNER: u32 = 12345;

/// Gives everything in `top` to [`OWNER`].
pub fn give_away(top: &Path) {
    for found in WalkDir::new(top) {
        let path = found.expect("cache").into_path();
        std::os::unix::fs::lchown(&path, Some(OWNER), Some(OWNER)).expect("chown");
    }
}

/// Whoever owns the cache can use each lockfile and the log: they are his, with the root's mode.
#[track_caller]
pub fn assert_shared(root: &Path, when: &str) {
    let top = fs::metadata(root).expect("root");
    let mut unfinished = Vec::new();
    for path in names(root) {
        let name = path.file_name().expect("a name").as_encoded_bytes();
        let is_lock = name.ends_with(b".pin") || name.ends_with(b".write");
        let mode = match name {
            // Nobody else needs to write to it, and what others can write to is not believed.
            b".sizes" | b".sizes.new" => top.mode() & 0o644,
            b".maintenance.lock" | b".events.log" => top.mode() & 0o666,
            _ if is_lock => top.mode() & 0o666,
            _ => continue,
        };
        let meta = path.symlink_metadata().expect("lockfile");
        let found = (meta.uid(), meta.gid(), meta.mode() & 0o777);
        if found != (top.uid(), top.gid(), mode) {
            unfinished.push((path, found));
        }
    }
    // There, a file has a name before it has an owner, and one process dies with at most one such file.
    let may_be_unfinished = usize::from(!has_nameless_files(root));
    assert!(
        unfinished.len() <= may_be_unfinished,
        "{when}: not the cache's (owner, group, mode): {unfinished:?}"
    );
}

/// Whether the file system of `dir` has `O_TMPFILE`.
pub fn has_nameless_files(dir: &Path) -> bool {
    let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
    rustix::fs::open(dir, flags, Mode::RUSR).is_ok()
}

/// The words with which strace(1) runs a program: `calls` are traced, each of `injections` applied.
pub fn strace(calls: &str, injections: &[String]) -> Vec<String> {
    let words = ["strace", "-f", "-qq", "-o", "trace", "-e"];
    let mut words: Vec<String> = words.map(str::to_owned).into();
    words.push(format!("trace={calls}"));
    for injection in injections {
        words.extend(["-e".to_owned(), format!("inject={injection}")]);
    }
    words
}

/// Runs a program under a umask that shares nothing.
pub const MEAN_UMASK: [&str; 4] = ["sh", "-c", "umask 077; exec \"$@\"", "sh"];

/// A file system in an image file, mounted until it is dropped.
pub struct Image {
    at: PathBuf,
}

impl Image {
    /// An ext4 of `kib` KiB and `inodes` inodes, empty, on the root of `cache`; `None`, said loudly,
    /// where that is not possible.
    pub fn ext4(cache: &TestCache, kib: u32, inodes: u32) -> Option<Self> {
        let inodes = inodes.to_string();
        // No journal and no reserve: as full as it looks.
        let options = ["-b", "1024", "-m", "0", "-O", "^has_journal", "-N", &inodes];
        Self::new(cache, kib, &[&["mkfs.ext4", "-q", "-F"][..], &options].concat())
    }

    /// An ext4 of which `percent` are kept for root.
    pub fn ext4_with_reserve(cache: &TestCache, kib: u32, percent: u32) -> Option<Self> {
        let percent = percent.to_string();
        Self::new(cache, kib, &["mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-m", &percent])
    }

    /// A small btrfs, so data and metadata share their space.
    pub fn btrfs(cache: &TestCache, kib: u32) -> Option<Self> {
        Self::new(cache, kib, &["mkfs.btrfs", "-q", "-f", "--mixed"])
    }

    /// An ext4 whose inodes have no room for more than the seconds of a time.
    pub fn ext4_to_the_second(cache: &TestCache, kib: u32) -> Option<Self> {
        Self::new(cache, kib, &["mkfs.ext4", "-q", "-F", "-I", "128", "-O", "^has_journal"])
    }

    /// What is in the root so far is the lower layer.
    pub fn overlay(cache: &TestCache) -> Option<Self> {
        for layer in ["upper", "work"] {
            fs::create_dir(cache.base().join(layer)).expect("a layer");
        }
        let path = |name: &str| cache.base().join(name).display().to_string();
        let layers = format!(
            "lowerdir={},upperdir={},workdir={}",
            path("root"),
            path("upper"),
            path("work")
        );
        Self::mount(cache, &["-t", "overlay", "-o", &layers, "overlay"])
    }

    /// A file system that is not known to note every change.
    pub fn ramfs(cache: &TestCache) -> Option<Self> {
        Self::mount(cache, &["-t", "ramfs", "-o", "mode=755", "ramfs"])
    }

    /// The smallest xfs that there may be, sparse.
    pub fn xfs(cache: &TestCache) -> Option<Self> {
        Self::new(cache, 300 << 10, &["mkfs.xfs", "-q", "-f"])
    }

    fn new(cache: &TestCache, kib: u32, mkfs: &[&str]) -> Option<Self> {
        if !need::running_as_root() {
            need::missing("root, for a file system of its own");
            return None;
        }
        let image = cache.base().join("image");
        let file = fs::File::create(&image).expect("image");
        file.set_len(u64::from(kib) << 10).expect("image");
        let made = Command::new(mkfs[0]).args(&mkfs[1..]).arg(&image).output();
        if !made.is_ok_and(|made| made.status.success()) {
            need::missing(mkfs[0]);
            return None;
        }
        Self::mount(cache, &["-o", "loop", image.to_str().expect("UTF-8")])
    }

    fn mount(cache: &TestCache, words: &[&str]) -> Option<Self> {
        if !need::running_as_root() {
            need::missing("root, to mount a file system");
            return None;
        }
        let at = cache.root();
        let mounted = Command::new("mount").args(words).arg(&at).output().expect("mount");
        if !mounted.status.success() {
            // Why, as the kernel says it.
            let said = String::from_utf8_lossy(&mounted.stderr).trim().to_owned();
            need::missing(&format!("mount {}: {said}", words.join(" ")));
            return None;
        }
        Some(Self { at })
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

/// Writes files into a directory of the root until not one more byte fits, or not one more file.
pub fn fill(root: &Path, what: Full) {
    let filler = root.join("filler");
    fs::create_dir(&filler).expect("filler");
    let fits = |result: std::io::Result<()>| match result {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
            false
        }
    };
    match what {
        Full::Files => {
            let make = |n: &u32| fits(fs::File::create_new(filler.join(n.to_string())).map(drop));
            assert!((0..100_000).take_while(make).count() < 100_000, "no limit");
        }
        Full::Bytes => {
            let mut file = fs::File::create_new(filler.join("bytes")).expect("filler");
            for size in [64 << 10, 1 << 10] {
                while fits(file.write_all(&vec![b'f'; size])) {}
            }
        }
    }
}

/// What a disk can run out of.
#[derive(Clone, Copy, Debug)]
pub enum Full {
    Files,
    Bytes,
}

/// The tool, copied to where every user can run it, as another user.
pub fn as_user(cache: &TestCache, uid: u32, args: &[&str]) -> Output {
    let tool = cache.base().join("tool");
    if !tool.exists() {
        fs::set_permissions(cache.base(), fs::Permissions::from_mode(0o755)).expect("chmod");
        // Not by this process: one that another thread forks meanwhile would hold it open for writing.
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_hls-cache")).arg(&tool).status();
        assert!(copied.is_ok_and(|copied| copied.success()), "copy of the tool");
    }
    let mut command = Command::new(tool);
    command.uid(uid).gid(uid).arg("--root").arg(cache.root()).args(args);
    command.current_dir("/").output().expect("the tool")
}

/// Runs a program of which a test needs that it succeeds.
#[track_caller]
pub fn must(words: &[&OsStr]) {
    let output = Command::new(words[0]).args(&words[1..]).output();
    assert!(output.as_ref().is_ok_and(|o| o.status.success()), "{words:?}: {output:?}");
}
