//! Everything `lstat` and `read` can tell about a directory tree, to be compared later.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use walkdir::WalkDir;

/// Of larger files only the beginning is kept; their ctime would tell of any write.
const CONTENT_BYTES: u64 = 64 << 10;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub inode: u64,
    mode: u32,
    owner: (u32, u32),
    size: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
    content: Option<Vec<u8>>,
}

/// Paths relative to the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot(pub BTreeMap<PathBuf, Node>);

impl Snapshot {
    pub fn of(top: &Path) -> Self {
        let walk = WalkDir::new(top).min_depth(1).into_iter();
        // What this process may not read is compared by what its parent says of it.
        Self(
            walk.filter_map(Result::ok)
                .map(|found| (relative(top, found.path()), node(found.path())))
                .collect(),
        )
    }

    /// The part that `wanted` says yes to.
    pub fn only(&self, wanted: impl Fn(&Path) -> bool) -> Self {
        Self(
            self.0
                .iter()
                .filter(|(path, _)| wanted(path))
                .map(|(p, n)| (p.clone(), n.clone()))
                .collect(),
        )
    }

    /// One line for each path that differs.
    pub fn differences(&self, later: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (path, node) in &self.0 {
            match later.0.get(path) {
                None => lines.push(format!("gone: {}", path.display())),
                Some(now) if now != node => lines.push(format!("changed: {}", path.display())),
                Some(_) => {}
            }
        }
        let new = later.0.keys().filter(|path| !self.0.contains_key(*path));
        lines.extend(new.map(|path| format!("new: {}", path.display())));
        lines
    }
}

fn relative(top: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(top).expect("below the top").to_owned()
}

fn node(path: &Path) -> Node {
    let meta =
        path.symlink_metadata().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let content = if meta.is_symlink() {
        fs::read_link(path).ok().map(|to| to.into_os_string().into_encoded_bytes())
    } else if meta.is_file() {
        open_unnoticed(path).map(|file| {
            let mut content = Vec::new();
            file.take(CONTENT_BYTES).read_to_end(&mut content).expect("read");
            content
        })
    } else {
        None
    };
    Node {
        inode: meta.ino(),
        mode: meta.mode(),
        owner: (meta.uid(), meta.gid()),
        size: meta.size(),
        mtime: (meta.mtime(), meta.mtime_nsec()),
        ctime: (meta.ctime(), meta.ctime_nsec()),
        content,
    }
}

/// Opens a file so that it does not look as if somebody watched it, where that is allowed.
pub fn open_unnoticed(path: &Path) -> Option<fs::File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let open = |flags| rustix::fs::open(path, flags, Mode::empty());
    open(flags | OFlags::NOATIME).or_else(|_| open(flags)).ok().map(fs::File::from)
}
