//! A cache in a temporary directory, set up and judged in sentences:
//!
//! ```ignore
//! TestCache::new().sealed("a", 10.mib(), 5.days()).sealed("b", 10.mib(), 1.days())
//!     .run(["sweep", "--max-size", "10MiB", "--min-budget", "0"]).success().removed(["a"]).kept(["b"]);
//! ```
//!
//! What a run did is read from the disk, with code that shares nothing with the implementation.

mod holder;
pub mod json_schema;
mod mount;
pub mod need;
mod paused;
mod run;
#[allow(dead_code, reason = "some of it only the attacks need")]
pub mod sizes;
pub mod snapshot;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use filetime::{FileTime, set_symlink_file_times};
use serde_json::{Value, json};
use tempfile::TempDir;
use walkdir::WalkDir;

pub use holder::{Holder, Lock};
use mount::Mount;
pub use paused::Paused;
pub use run::{Invocation, Run, decisions, texts};
use snapshot::Snapshot;

/// Everything in a directory, sorted.
pub fn names(root: &Path) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> =
        fs::read_dir(root).expect("root").map(|entry| entry.expect("root").path()).collect();
    names.sort_unstable();
    names
}

/// Everything in the root that is named like trash.
pub fn trash(root: &Path) -> Vec<PathBuf> {
    let is_trash = |path: &PathBuf| {
        path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b".trash."))
    };
    names(root).into_iter().filter(is_trash).collect()
}

/// Media segments in an entry that `sealed` and `partial` make.
pub const SEGMENTS: u64 = 3;
const INIT_BYTES: u64 = 64;
const NOBODY: u32 = 65534;

/// Sizes in bytes.
pub trait Size {
    fn kib(self) -> u64;
    fn mib(self) -> u64;
}

impl Size for u64 {
    fn kib(self) -> u64 {
        self << 10
    }
    fn mib(self) -> u64 {
        self << 20
    }
}

/// Ages, and distances into the future.
pub trait Age {
    fn seconds(self) -> Duration;
    fn minutes(self) -> Duration;
    fn hours(self) -> Duration;
    fn days(self) -> Duration;
}

impl Age for u64 {
    fn seconds(self) -> Duration {
        Duration::from_secs(self)
    }
    fn minutes(self) -> Duration {
        (self * 60).seconds()
    }
    fn hours(self) -> Duration {
        (self * 60).minutes()
    }
    fn days(self) -> Duration {
        (self * 24).hours()
    }
}

/// The key that a test calls `name` (at most 8 bytes); keys sort as their names do.
pub fn key(name: &str) -> String {
    assert!(name.len() <= 8, "{name} does not fit a key");
    format!("{:0<16}", hex::encode(name))
}

/// The name of a key that [`key`] made.
pub fn name_of(key: &str) -> String {
    let bytes = hex::decode(key).expect("a key");
    String::from_utf8(bytes).expect("a key made by a test").trim_end_matches('\0').to_owned()
}

/// The name of the pin lockfile of the entry `name`.
pub fn pin_name(name: &str) -> String {
    format!(".{}.pin", key(name))
}

/// A cache directory under test, and who holds, mounts and owns what in it.
pub struct TestCache {
    // Dropped in this order: holders let go, mounts go, then the directory can.
    holders: Vec<Holder>,
    mounts: Vec<Mount>,
    base: TempDir,
    /// All ages count from here, so that two equal ages are equal to the nanosecond.
    now: SystemTime,
    env: Vec<(OsString, OsString)>,
    as_nobody: bool,
}

/// # Setting up
impl TestCache {
    pub fn new() -> Self {
        let base = tempfile::Builder::new().prefix("hls-cache-test-").tempdir().expect("tempdir");
        fs::create_dir(base.path().join("root")).expect("root");
        Self {
            holders: Vec::new(),
            mounts: Vec::new(),
            base,
            now: SystemTime::now(),
            env: Vec::new(),
            as_nobody: false,
        }
    }

    /// A cache on a file system of its own; `None`, said loudly, where mounting is not possible.
    pub fn on_tmpfs(options: &str) -> Option<Self> {
        Self::new().mount_tmpfs("", options)
    }

    /// An entry sealed and last used `age` ago, its files as old, `bytes` in all, sparse.
    pub fn sealed(self, name: &str, bytes: u64, age: Duration) -> Self {
        self.partial(name, bytes, age).in_entry(name, ".complete", b"").aged(name, age)
    }

    /// The same without `.complete`.
    pub fn partial(self, name: &str, bytes: u64, age: Duration) -> Self {
        self.entry(name, bytes, |path, len| {
            fs::File::create(path).and_then(|file| file.set_len(len)).expect("segment");
        })
        .aged(name, age)
    }

    /// A sealed entry whose bytes are really on the disk.
    pub fn allocated(self, name: &str, bytes: u64, age: Duration) -> Self {
        self.entry(name, bytes, |path, len| {
            fs::write(path, vec![b'x'; usize::try_from(len).expect("len")]).expect("segment");
        })
        .in_entry(name, ".complete", b"")
        .aged(name, age)
    }

    /// The entry that a real ffmpeg made.
    pub fn real(self, name: &str) -> Self {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/entry");
        for from in WalkDir::new(&fixture) {
            let from = from.expect("fixture");
            let to =
                self.entry_path(name).join(from.path().strip_prefix(&fixture).expect("inside"));
            if from.file_type().is_dir() {
                fs::create_dir(to).expect("directory");
            } else {
                fs::copy(from.path(), to).expect("copy");
            }
        }
        self.aged(name, 1.hours())
    }

    /// `init.mp4`, [`SEGMENTS`] segments and a playlist that names them; nothing at all for 0 bytes.
    fn entry(self, name: &str, bytes: u64, make: impl Fn(&Path, u64)) -> Self {
        let video = self.entry_path(name).join("video");
        fs::create_dir_all(&video).expect("entry");
        if bytes == 0 {
            return self;
        }
        let segments: String = (0..SEGMENTS)
            .flat_map(|n| ["#EXTINF:4.0,\n".into(), segment(n), "\n".into()])
            .collect();
        let playlist = format!("#EXTM3U\n#EXT-X-MAP:URI=\"init.mp4\"\n{segments}#EXT-X-ENDLIST\n");
        let media = bytes
            .checked_sub(INIT_BYTES + playlist.len() as u64)
            .filter(|&media| media >= SEGMENTS)
            .expect("an entry this small has no room for its files");
        fs::write(video.join("ffmpeg-0.m3u8"), playlist).expect("playlist");
        make(&video.join("init.mp4"), INIT_BYTES);
        let each = media / SEGMENTS;
        for n in 0..SEGMENTS {
            let len = if n == 0 { media - each * (SEGMENTS - 1) } else { each };
            make(&video.join(segment(n)), len);
        }
        self
    }

    fn aged(self, name: &str, age: Duration) -> Self {
        self.written(name, age).used(name, age)
    }

    /// Sets `last_used` alone, as a hit does.
    pub fn used(self, name: &str, age: Duration) -> Self {
        set_time(&self.entry_path(name), self.now - age);
        self
    }

    /// Sets the times of everything in the entry, and not `last_used`.
    pub fn written(self, name: &str, age: Duration) -> Self {
        for inside in WalkDir::new(self.entry_path(name)).min_depth(1).contents_first(true) {
            set_time(inside.expect("entry").path(), self.now - age);
        }
        self
    }

    /// Sets the time of one file or directory of the entry.
    pub fn written_at(self, name: &str, file: &str, age: Duration) -> Self {
        set_time(&self.entry_path(name).join(file), self.now - age);
        self
    }

    /// Moves the entry, and all in it, into the future.
    pub fn in_future(self, name: &str, ahead: Duration) -> Self {
        for inside in WalkDir::new(self.entry_path(name)).contents_first(true) {
            set_time(inside.expect("entry").path(), self.now + ahead);
        }
        self
    }

    /// A file in the entry; its parents too. The entry's own times move, as they do in life.
    pub fn in_entry(self, name: &str, file: &str, content: &[u8]) -> Self {
        let path = format!("{}/{file}", key(name));
        self.file(path, content)
    }

    /// Removes one file, or a directory with all in it, of the entry.
    pub fn without(self, name: &str, file: &str) -> Self {
        let path = self.entry_path(name).join(file);
        if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self
    }

    /// Cuts one file of the entry down to nothing.
    pub fn emptied(self, name: &str, file: &str) -> Self {
        self.without(name, file).in_entry(name, file, b"")
    }

    /// A file in the root.
    pub fn file(self, path: impl AsRef<Path>, content: &[u8]) -> Self {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().expect("in the root")).expect("parents");
        fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self
    }

    /// A directory in the root, with a file in it.
    pub fn dir(self, path: impl AsRef<Path>) -> Self {
        self.file(path.as_ref().join("content"), b"content")
    }

    /// A symlink in the root.
    pub fn link(self, path: impl AsRef<Path>, to: impl AsRef<Path>) -> Self {
        symlink(to, self.root().join(path)).expect("symlink");
        self
    }

    /// A directory beside the root with a file in it, for symlinks to lead to.
    pub fn outside(self, name: &str) -> Self {
        let path = self.outside_path(name);
        fs::create_dir(&path).expect("outside");
        fs::write(path.join("precious"), "precious").expect("outside");
        self
    }

    pub fn mode(self, path: impl AsRef<Path>, mode: u32) -> Self {
        let path = self.root().join(path);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
        self
    }

    /// What a removal that was cut short leaves behind.
    pub fn trash(self, name: &str) -> Self {
        self.dir(format!(".trash.{}.0123456789abcdef", key(name)))
    }

    pub fn events(self, log: &str) -> Self {
        self.file(".events.log", log.as_bytes())
    }

    /// An event as it stands in the log, `age` ago.
    pub fn event(&self, event: &str, name: &str, age: Duration) -> String {
        let at = (self.now - age).duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        format!("{} {event} {}\n", at.as_secs(), key(name))
    }

    /// An environment variable for every run.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Another process pins the entry, as a reader does, for as long as this cache lives.
    pub fn pinned(mut self, name: &str) -> Self {
        let holder = self.pin(name);
        self.holders.push(holder);
        self
    }

    /// Another process pins the entry until the holder is dropped.
    pub fn pin(&self, name: &str) -> Holder {
        Holder::spawn(&self.root().join(pin_name(name)), Lock::Shared)
    }

    /// Another process is the maintainer until the holder is dropped.
    pub fn other_maintainer(&self) -> Holder {
        Holder::spawn(&self.root().join(".maintenance.lock"), Lock::Exclusive)
    }

    /// Mounts a tmpfs in the root; `None`, said loudly, where mounting is not possible.
    pub fn mount_tmpfs(mut self, path: impl AsRef<Path>, options: &str) -> Option<Self> {
        let mount = Mount::tmpfs(&self.root().join(path), options)?;
        self.mounts.push(mount);
        Some(self)
    }

    /// The runs are an ordinary user's, who owns what is there so far: file modes mean something.
    /// `None`, said loudly, where root cannot become one.
    pub fn by_ordinary_user(mut self) -> Option<Self> {
        if !need::running_as_root() {
            return Some(self);
        }
        if !need::tool("setpriv") {
            return None;
        }
        // The user may not be able to reach the directory the tool was built in.
        // Not copied by this process: one that another thread forks meanwhile would hold the copy open
        // for writing, and it could not be run.
        let copied = std::process::Command::new("cp")
            .arg(env!("CARGO_BIN_EXE_hls-cache"))
            .arg(self.own_tool())
            .status();
        assert!(copied.is_ok_and(|copied| copied.success()), "copy of the tool");
        for path in WalkDir::new(self.base.path()) {
            std::os::unix::fs::lchown(path.expect("base").path(), Some(NOBODY), Some(NOBODY))
                .expect("chown");
        }
        self.as_nobody = true;
        Some(self)
    }

    fn own_tool(&self) -> PathBuf {
        self.base.path().join("hls-cache")
    }
}

/// # Running
impl TestCache {
    /// Runs the tool on this cache.
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run<'_> {
        self.command(args).run()
    }

    /// The tool with `--root` and these arguments, to be run otherwise than plainly.
    pub fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Invocation<'_> {
        let root = [OsString::from("--root"), self.root().into()];
        self.bare(root.into_iter().chain(args.into_iter().map(|arg| arg.as_ref().to_owned())))
    }

    /// The tool with these arguments only.
    pub fn bare<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Invocation<'_> {
        let mut words: Vec<OsString> = Vec::new();
        if self.as_nobody {
            let to_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
            words.extend(to_nobody.map(OsString::from));
            words.push(self.own_tool().into());
        } else {
            words.push(env!("CARGO_BIN_EXE_hls-cache").into());
        }
        words.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        Invocation::new(self, words, &self.env)
    }
}

/// # Looking
impl TestCache {
    /// The directory with all of this test's files: the root and what is beside it.
    pub fn base(&self) -> &Path {
        self.base.path()
    }

    pub fn root(&self) -> PathBuf {
        self.base.path().join("root")
    }

    pub fn outside_path(&self, name: &str) -> PathBuf {
        self.base.path().join(name)
    }

    pub fn entry_path(&self, name: &str) -> PathBuf {
        self.root().join(key(name))
    }

    pub fn pin_path(&self, name: &str) -> PathBuf {
        self.root().join(pin_name(name))
    }

    /// Whether anything has the entry's name.
    pub fn has(&self, name: &str) -> bool {
        self.entry_path(name).symlink_metadata().is_ok()
    }

    /// `st_size` of everything but directories under `path`, and what the disk holds for it.
    pub fn usage(path: &Path) -> (u64, u64) {
        WalkDir::new(path)
            .into_iter()
            .map(|entry| entry.expect("walk").path().symlink_metadata().expect("lstat"))
            .filter(|meta| !meta.is_dir())
            .fold((0, 0), |(size, disk), meta| (size + meta.len(), disk + meta.blocks() * 512))
    }

    /// What a report says of these entries in all, by a walk of its own.
    pub fn totals<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Value {
        let paths = names.into_iter().map(|name| self.entry_path(name));
        let totals = paths.fold((0, 0, 0), |(count, bytes, allocated), path| {
            let usage = Self::usage(&path);
            (count + 1, bytes + usage.0, allocated + usage.1)
        });
        json!({"entries": totals.0, "bytes": totals.1, "allocated_bytes": totals.2})
    }

    /// The words of each line of the event log.
    pub fn logged(&self) -> Vec<Vec<String>> {
        let log = fs::read_to_string(self.root().join(".events.log")).unwrap_or_default();
        log.lines().map(|line| line.split(' ').map(String::from).collect()).collect()
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::of(self.base.path())
    }
}

fn segment(n: u64) -> String {
    format!("seg-{n}.m4s")
}

fn set_time(path: &Path, time: SystemTime) {
    let time = FileTime::from_system_time(time);
    set_symlink_file_times(path, time, time)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
