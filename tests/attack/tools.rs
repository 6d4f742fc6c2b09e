//! What several attacks need.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use walkdir::WalkDir;

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

/// Everything in the root that is named like trash.
pub fn trash(root: &Path) -> Vec<PathBuf> {
    let is_trash = |path: &PathBuf| {
        path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b".trash."))
    };
    names(root).into_iter().filter(is_trash).collect()
}

fn names(root: &Path) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> =
        fs::read_dir(root).expect("root").map(|entry| entry.expect("root").path()).collect();
    names.sort_unstable();
    names
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
    for path in names(root) {
        let name = path.file_name().expect("a name").as_encoded_bytes();
        let is_lock = name.ends_with(b".pin") || name.ends_with(b".write");
        if !is_lock && name != b".maintenance.lock" && name != b".events.log" {
            continue;
        }
        let meta = path.symlink_metadata().expect("lockfile");
        assert_eq!(
            (meta.uid(), meta.gid(), meta.mode() & 0o777),
            (top.uid(), top.gid(), top.mode() & 0o666),
            "{when}: {} is not the cache's",
            path.display()
        );
    }
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
