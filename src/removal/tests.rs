//! What deleting an entry where it stands takes, in which order, and what it leaves alone.
#![allow(
    clippy::disallowed_methods,
    reason = "the tests play daemons and users, who rename and delete"
)]

use super::delete::remove_empty;
use super::*;
use crate::cache::scan_entry;
use crate::sys::walk::Buffer;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use walkdir::WalkDir;

struct Cache {
    dir: tempfile::TempDir,
    root: Root,
    key: Key,
}

impl Cache {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        Self { dir, root, key: "0123456789abcdef".parse().unwrap() }
    }

    /// With these files in its entry.
    fn with(files: &[&str]) -> Self {
        let cache = Self::new();
        cache.write(files);
        cache
    }

    fn write(&self, files: &[&str]) {
        for file in files {
            let path = self.root.entry_path(self.key).join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
    }

    fn entry(&self) -> Entry {
        scan_entry(&self.root, self.key, &mut Buffer::new()).unwrap().unwrap()
    }

    /// Another directory gets the name.
    fn replace(&self, files: &[&str]) {
        fs::rename(self.root.entry_path(self.key), self.dir.path().join("elsewhere")).unwrap();
        self.write(files);
    }

    /// Everything in the entry that is not a directory.
    fn files(&self) -> BTreeSet<String> {
        let top = self.root.entry_path(self.key);
        let name = |path: &Path| path.strip_prefix(&top).unwrap().to_str().unwrap().to_owned();
        let found = WalkDir::new(&top).into_iter().flatten();
        found.filter(|it| !it.file_type().is_dir()).map(|it| name(it.path())).collect()
    }

    fn exists(&self) -> bool {
        self.root.entry_path(self.key).exists()
    }
}

/// Whatever a death leaves is then the beginning of a film, which a daemon may resume.
#[test]
fn without_a_lock_one_file_goes_at_a_time_a_playlist_first_then_the_last_segment() {
    let rest = ["subs/seg-0.vtt", "video/init.mp4", "video/deep/er/file", "other"];
    let segments = ["video/seg-10.m4s", "video/seg-9.m4s", "video/seg-0.m4s"];
    let cache = Cache::with(&[&rest[..], &segments, &["video/index.m3u8"]].concat());
    symlink("/nowhere", cache.root.entry_path(cache.key).join("link")).unwrap();
    fs::create_dir(cache.root.entry_path(cache.key).join("empty")).unwrap();
    let entry = cache.entry();
    let mut gone = Vec::new();
    loop {
        let before = cache.files();
        match delete_last(&cache.root, &entry).unwrap() {
            Last::Deleted => {
                let lost: Vec<_> = before.difference(&cache.files()).cloned().collect();
                assert_eq!(lost.len(), 1, "{lost:?}");
                gone.extend(lost);
            }
            Last::Emptied => break,
            Last::Changed => panic!("after {gone:?}"),
        }
    }
    assert_eq!(gone[0], "video/index.m3u8");
    assert_eq!(gone[1..4], segments);
    assert_eq!(gone.len(), 4 + rest.len() + 1, "{gone:?}");
    assert!(!cache.exists());
}

#[test]
fn without_a_lock_only_the_unsealed_entry_that_was_planned_loses_a_file() {
    let unsealed = ["video/seg-0.m4s", "video/seg-1.m4s"];
    let sealed = [&unsealed[..], &[".complete"]].concat();
    let assert_untouched = |cache: &Cache, entry: &Entry| {
        let before = cache.files();
        assert!(!is_unsealed(&cache.root, entry));
        assert!(delete_last(&cache.root, entry).unwrap() == Last::Changed);
        assert_eq!(cache.files(), before);
    };
    let cache = Cache::with(&sealed);
    assert_untouched(&cache, &cache.entry());

    let cache = Cache::with(&unsealed);
    let planned = cache.entry();
    assert!(is_unsealed(&cache.root, &planned));
    cache.replace(&unsealed);
    assert_untouched(&cache, &planned);
    fs::remove_dir_all(cache.root.entry_path(cache.key)).unwrap();
    assert_untouched(&cache, &planned);
}

#[test]
fn directories_go_where_no_file_is_left_and_no_file_goes_with_them() {
    let name = c"0123456789abcdef";
    let cache = Cache::with(&["video/seg-0.m4s"]);
    assert!(!remove_empty(&cache.root, name).unwrap());
    assert_eq!(cache.files().len(), 1);
    fs::remove_file(cache.root.entry_path(cache.key).join("video/seg-0.m4s")).unwrap();
    assert!(remove_empty(&cache.root, name).unwrap());
    assert!(!cache.exists());
    assert!(remove_empty(&cache.root, name).unwrap(), "and where there is nothing");
}

/// mergerfs can leave the source of a rename behind; a daemon that takes no locks can have begun anew.
#[test]
fn what_has_the_name_after_the_rename_is_left_behind_unless_it_is_a_new_entry() {
    let cache = Cache::with(&["video/seg-0.m4s", ".complete"]);
    let removed = cache.entry();
    let is_left_behind = || is_left_behind(&cache.root, &removed).unwrap();
    assert!(is_left_behind());
    fs::remove_file(cache.root.entry_path(cache.key).join(".complete")).unwrap();
    assert!(is_left_behind(), "the same directory, whatever is in it");
    cache.replace(&["video/seg-0.m4s"]);
    assert!(!is_left_behind(), "an encode that has begun");
    cache.write(&[".complete"]);
    assert!(is_left_behind(), "no encode ends so soon");
    fs::remove_dir_all(cache.root.entry_path(cache.key)).unwrap();
    assert!(!is_left_behind());
}
