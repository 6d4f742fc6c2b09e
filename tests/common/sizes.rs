//! `.sizes`, made without the tool: what a sweep would have written, or somebody who wants to deceive one.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use super::{TestCache, key};

/// A field of a record, by its place in the line.
#[derive(Clone, Copy, Debug)]
pub enum Field {
    Measured = 1,
    DirectoryInode = 2,
    DirectoryCtime = 3,
    CompleteInode = 4,
    CompleteCtime = 5,
    VideoInode = 6,
    VideoCtime = 7,
    Files = 10,
    Bytes = 11,
    Written = 13,
}

/// The records, each a list of fields, by key.
#[derive(Clone)]
pub struct Sizes(BTreeMap<String, Vec<String>>);

impl Sizes {
    /// What is true of the entries `names` in `root`.
    pub fn of<'n>(root: &Path, names: impl IntoIterator<Item = &'n str>) -> Self {
        let records = names.into_iter().map(|name| (key(name), record(&root.join(key(name)))));
        Self(records.map(|(key, record)| (key, record.expect("an entry"))).collect())
    }

    /// What is true of these entries, as far as they are there, while others come and go; but that they were
    /// written long ago.
    pub fn of_old(entries: &[PathBuf]) -> Self {
        let records = entries.iter().filter_map(|entry| {
            let mut fields = record(entry)?;
            fields[Field::Written as usize] = "0".into();
            Some((fields[0].clone(), fields))
        });
        Self(records.collect())
    }

    /// Says something else.
    pub fn saying(mut self, name: &str, field: Field, value: u64) -> Self {
        self.0.get_mut(&key(name)).expect("a record")[field as usize] = value.to_string();
        self
    }

    /// Says something else of all of them.
    pub fn all_saying(&mut self, field: Field, value: u64) {
        self.0.values_mut().for_each(|record| record[field as usize] = value.to_string());
    }

    /// The text of the file.
    pub fn text(&self) -> String {
        let lines: String = self.0.values().map(|fields| fields.join(" ") + "\n").collect();
        signed(&format!("hls-cache sizes 1 {}\n{lines}", self.0.len()))
    }

    /// The text with the times of measuring that the file at `path` has.
    pub fn measured_as(&self, path: &Path) -> String {
        let known = fs::read_to_string(path).expect(".sizes");
        let mut sizes = self.clone();
        for fields in known.lines().map(|line| line.split(' ').collect::<Vec<_>>()) {
            if let Some(record) = sizes.0.get_mut(fields[0]) {
                record[Field::Measured as usize] = (*fields[1]).into();
            }
        }
        sizes.text()
    }

    pub fn write(&self, root: &Path) {
        write(root, self.text().as_bytes());
    }

    /// All at once, as another sweep would, whatever is there.
    pub fn replace(&self, root: &Path) {
        let mode = fs::Permissions::from_mode(0o644);
        let beside = root.parent().expect("a parent");
        let new = tempfile::Builder::new().permissions(mode).tempfile_in(beside).expect("a file");
        fs::write(new.path(), self.text()).expect("a file");
        new.persist(root.join(".sizes")).expect(".sizes");
    }
}

/// With the checksum that it needs.
pub fn signed(text: &str) -> String {
    format!("{text}sha256 {}\n", hex::encode(Sha256::digest(text)))
}

/// As the tool leaves the file.
pub fn write(root: &Path, content: &[u8]) {
    let path = root.join(".sizes");
    fs::write(&path, content).expect(".sizes");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect(".sizes");
    let owner = fs::metadata(root).expect("root");
    chown(path, Some(owner.uid()), Some(owner.gid())).expect(".sizes");
}

fn record(entry: &Path) -> Option<Vec<String>> {
    let stamp = |path: &Path| {
        let known = path.symlink_metadata().ok();
        let known = known.map(|meta| (meta.ino(), nanoseconds(meta.ctime(), meta.ctime_nsec())));
        known.map_or(["-".into(), "-".into()], |(inode, ctime)| {
            [inode.to_string(), ctime.to_string()]
        })
    };
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    let key = entry.file_name().expect("a name").to_str().expect("a key");
    let mut fields = vec![key.to_owned(), now.to_string()];
    let stamped = ["", ".complete", "video", "subs"].map(|inside| stamp(&entry.join(inside)));
    fields.extend(stamped.concat());
    let inside = WalkDir::new(entry).min_depth(1).into_iter();
    let inside: Option<Vec<_>> = inside.map(|found| found.ok()?.metadata().ok()).collect();
    let inside = inside?;
    let newest = inside.iter().map(|meta| nanoseconds(meta.mtime(), meta.mtime_nsec())).max()?;
    let files: Vec<_> = inside.iter().filter(|meta| !meta.is_dir()).collect();
    let bytes: u64 = files.iter().map(|meta| meta.len()).sum();
    let allocated: u64 = files.iter().map(|meta| meta.blocks() * 512).sum();
    fields.extend([files.len().to_string(), bytes.to_string(), allocated.to_string()]);
    fields.push(newest.to_string());
    Some(fields)
}

fn nanoseconds(seconds: i64, fraction: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(fraction)
}

impl TestCache {
    /// What a sweep could remember of these entries.
    pub fn sizes<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Sizes {
        Sizes::of(&self.root(), names)
    }

    /// As if a sweep had measured these entries, a minute or more after the last change to them.
    pub fn remembering<'n>(self, names: impl IntoIterator<Item = &'n str>) -> Self {
        self.sizes(names).write(&self.root());
        self
    }
}

/// Waits until the file system tells the time of a change from that of what was changed before: a tick.
pub fn let_the_clock_move(root: &Path) {
    /// In nanoseconds. Measured: up to 20 ms.
    const TICK: i128 = 40_000_000;
    let probe = root.join("probe");
    let time = || {
        fs::write(&probe, "").expect("probe");
        let meta = fs::metadata(&probe).expect("probe");
        fs::remove_file(&probe).expect("probe");
        nanoseconds(meta.ctime(), meta.ctime_nsec())
    };
    let began = time();
    while time() < began + TICK {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// A change to an entry, as a daemon or a person makes it, with what it is.
pub type Change = (&'static str, fn(&Path));

/// Every kind of change that is seen at once.
pub const CHANGES: [Change; 19] = [
    ("a segment comes", |entry| fs::write(entry.join("video/seg-9.m4s"), "x").unwrap()),
    ("a segment goes", |entry| fs::remove_file(entry.join("video/seg-2.m4s")).unwrap()),
    ("a segment is renamed", |entry| {
        fs::rename(entry.join("video/seg-2.m4s"), entry.join("video/seg-3.m4s")).unwrap();
    }),
    ("a segment is replaced", |entry| {
        fs::write(entry.join("video/new"), "x").unwrap();
        fs::rename(entry.join("video/new"), entry.join("video/seg-2.m4s")).unwrap();
    }),
    ("a file is moved in", |entry| {
        fs::write(entry.with_file_name("outside"), "x").unwrap();
        fs::rename(entry.with_file_name("outside"), entry.join("video/seg-9.m4s")).unwrap();
    }),
    ("a file is moved out", |entry| {
        fs::rename(entry.join("video/seg-2.m4s"), entry.with_file_name("outside")).unwrap();
    }),
    ("a hard link comes", |entry| {
        fs::hard_link(entry.join("video/seg-2.m4s"), entry.join("video/link")).unwrap();
    }),
    ("a symlink comes", |entry| symlink("seg-2.m4s", entry.join("video/link")).unwrap()),
    ("a directory comes in video", |entry| fs::create_dir(entry.join("video/deep")).unwrap()),
    ("a file comes beside video", |entry| fs::write(entry.join("poster.jpg"), "x").unwrap()),
    ("a directory comes beside video", |entry| fs::create_dir(entry.join("extras")).unwrap()),
    ("subs come", |entry| {
        fs::create_dir(entry.join("subs")).unwrap();
        fs::write(entry.join("subs/sub-0.vtt"), "x").unwrap();
    }),
    ("video goes", |entry| fs::remove_dir_all(entry.join("video")).unwrap()),
    ("video is another one", |entry| {
        fs::create_dir(entry.join("new")).unwrap();
        fs::remove_dir_all(entry.join("video")).unwrap();
        fs::rename(entry.join("new"), entry.join("video")).unwrap();
    }),
    ("the entry is another one", |entry| {
        let other = entry.with_file_name("other");
        fs::create_dir_all(other.join("video")).unwrap();
        fs::write(other.join(".complete"), "").unwrap();
        fs::remove_dir_all(entry).unwrap();
        fs::rename(other, entry).unwrap();
    }),
    ("the entry is unsealed", |entry| fs::remove_file(entry.join(".complete")).unwrap()),
    ("the entry is sealed anew", |entry| {
        fs::remove_file(entry.join(".complete")).unwrap();
        fs::write(entry.join("video/seg-2.m4s"), "overwritten in place").unwrap();
        fs::write(entry.join(".complete"), "").unwrap();
    }),
    ("the marker is written to", |entry| fs::write(entry.join(".complete"), "x").unwrap()),
    ("the entry is used", |entry| {
        filetime::set_file_mtime(entry, filetime::FileTime::now()).unwrap();
    }),
];
