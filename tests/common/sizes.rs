//! `.sizes`, made without the tool: what a sweep would have written, or somebody who wants to deceive one.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

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
}

/// The records, each a list of fields, by key.
#[derive(Clone)]
pub struct Sizes(BTreeMap<String, Vec<String>>);

impl Sizes {
    /// What is true of the entries `names` in `root`.
    pub fn of<'n>(root: &Path, names: impl IntoIterator<Item = &'n str>) -> Self {
        let records = names.into_iter().map(|name| (key(name), record(&root.join(key(name)))));
        Self(records.map(|(key, fields)| (key.clone(), [vec![key], fields].concat())).collect())
    }

    /// Says something else.
    pub fn saying(mut self, name: &str, field: Field, value: u64) -> Self {
        self.0.get_mut(&key(name)).expect("a record")[field as usize] = value.to_string();
        self
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
}

fn record(entry: &Path) -> Vec<String> {
    let stamp = |path: &Path| {
        let known =
            path.symlink_metadata().ok().map(|m| (m.ino(), nanoseconds(m.ctime(), m.ctime_nsec())));
        known.map_or(["-".into(), "-".into()], |(inode, ctime)| {
            [inode.to_string(), ctime.to_string()]
        })
    };
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    let mut fields = vec![now.to_string()];
    fields.extend(
        ["", ".complete", "video", "subs"].map(|inside| stamp(&entry.join(inside))).concat(),
    );
    let inside: Vec<_> =
        WalkDir::new(entry).min_depth(1).into_iter().map(|found| found.expect("walk")).collect();
    let files = inside.iter().filter(|found| !found.file_type().is_dir()).count();
    let newest = inside.iter().map(|found| found.metadata().expect("lstat"));
    let newest =
        newest.map(|meta| nanoseconds(meta.mtime(), meta.mtime_nsec())).max().expect("a file");
    let (bytes, allocated) = TestCache::usage(entry);
    fields.extend([
        files.to_string(),
        bytes.to_string(),
        allocated.to_string(),
        newest.to_string(),
    ]);
    fields
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
