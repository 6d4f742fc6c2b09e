//! The files of media directories, as the daemon would call them.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use walkdir::{DirEntry, WalkDir};

use super::unusable;
use crate::error::{Error, Reason};

/// How long a directory may yield nothing before it is given up: longer than a sleeping disk takes to
/// start, about 15 s, and no reason to hang where a dead NFS server never answers.
const PATIENCE: Duration = Duration::from_secs(60);

/// Paths in one piece of memory: a library has hundreds of thousands.
#[derive(Clone, Debug, Default)]
pub(super) struct Files {
    text: Vec<u8>,
    /// Of each path: where it ends in `text`, and the length of its beginning that is the media directory.
    ends: Vec<(usize, usize)>,
}

impl Files {
    /// Adds a path and the directory above it that a title need not repeat.
    pub(super) fn push(&mut self, path: &Path, above: &Path) {
        self.text.extend_from_slice(path.as_os_str().as_bytes());
        self.ends.push((self.text.len(), above.as_os_str().len()));
    }

    pub(super) fn extend(&mut self, more: &Self) {
        for index in 0..more.len() {
            let (path, above) = more.get(index);
            self.text.extend_from_slice(path);
            self.ends.push((self.text.len(), above));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The path, and the length of the directory above it.
    pub(super) fn get(&self, index: usize) -> (&[u8], usize) {
        let begin = if index == 0 { 0 } else { self.ends[index - 1].0 };
        let (end, above) = self.ends[index];
        (&self.text[begin..end], above)
    }
}

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Walked {
    pub(super) files: Files,
    /// Media directories that yield nothing, with the reason.
    pub(super) unusable: Vec<Error>,
    /// Files may be missing from the list: the first directory below that is unreadable or suspect.
    pub(super) unreadable: Option<Error>,
}

impl Walked {
    fn merge(&mut self, other: Self) {
        self.files.extend(&other.files);
        self.unusable.extend(other.unusable);
        self.unreadable = self.unreadable.take().or(other.unreadable);
    }
}

/// Walks directories, each `(dir, known_as)` in a thread of its own: they are often different disks, and one that
/// never answers holds up no other.
pub(super) fn walk(dirs: impl Iterator<Item = (PathBuf, PathBuf)>) -> Walked {
    let walks: Vec<_> = dirs
        .map(|(dir, known_as)| {
            let (sender, receiver) = mpsc::sync_channel(1);
            let walked_dir = dir.clone();
            let spawned = thread::Builder::new()
                .spawn(move || walk_dir(&walked_dir, &known_as, &sender))
                .map(drop);
            (dir, receiver, spawned)
        })
        .collect();
    let began = Instant::now();
    let mut all = Walked::default();
    for (dir, receiver, spawned) in walks {
        match spawned {
            // What the others have waited for counts for this one, too.
            Ok(()) => all.merge(collect(&dir, &receiver, began, PATIENCE)),
            Err(reason) => all.unusable.push(unusable(&dir, reason)),
        }
    }
    all
}

/// What the thread of one directory has found since it was last heard.
struct Batch(Walked);

/// Everything that a walk of `dir` sends, which began at `heard`; the thread is left to itself if nothing comes for
/// `patience`.
fn collect(
    dir: &Path,
    receiver: &mpsc::Receiver<Batch>,
    mut heard: Instant,
    patience: Duration,
) -> Walked {
    let mut all = Walked::default();
    loop {
        match receiver.recv_timeout(patience.saturating_sub(heard.elapsed())) {
            Ok(Batch(walked)) => {
                all.merge(walked);
                heard = Instant::now();
            }
            Err(RecvTimeoutError::Disconnected) => return all,
            Err(RecvTimeoutError::Timeout) => {
                all.unusable.push(unusable(dir, Errno::TIMEDOUT));
                return all;
            }
        }
    }
}

/// Walks one media directory: symlinks are followed, hidden names skipped.
fn walk_dir(dir: &Path, known_as: &Path, sender: &SyncSender<Batch>) {
    /// Names that are sent at once.
    const BATCH: usize = 1024;
    /// A walk that finds fewer names in this time, as over a slow network, is alive all the same.
    const SIGN_OF_LIFE: Duration = Duration::from_secs(1);
    /// How often one directory is entered under different names: links to each other would take forever.
    const MOST_VISITS: u32 = 16;
    let is_shown = |entry: &DirEntry| entry.depth() == 0 || !is_hidden(entry.file_name());
    let mut walked = Walked::default();
    let mut visits: HashMap<(u64, u64), u32> = HashMap::new();
    let (mut seen, mut sent) = (0_usize, Instant::now());
    // The directory that was entered last, while nothing in it was seen.
    let mut entered: Option<DirEntry> = None;
    let mut walk = WalkDir::new(dir).follow_links(true).into_iter().filter_entry(is_shown);
    while let Some(found) = walk.next() {
        let depth = found.as_ref().map_or_else(walkdir::Error::depth, DirEntry::depth);
        if let Some(left) = entered.take().filter(|left| depth <= left.depth()) {
            // An error of the directory itself has its depth and says why nothing was seen.
            if found.as_ref().err().and_then(walkdir::Error::path) != Some(left.path()) {
                walked.note_empty(&left);
            }
        }
        match found {
            Ok(entry) if entry.file_type().is_dir() => {
                if let Ok(metadata) = entry.metadata() {
                    let visits = visits.entry((metadata.dev(), metadata.ino())).or_default();
                    *visits += 1;
                    if *visits > MOST_VISITS {
                        walked.note_unreadable(entry.path(), Errno::LOOP);
                        walk.skip_current_dir();
                        continue;
                    }
                }
                entered = Some(entry);
            }
            Ok(entry) if entry.depth() == 0 => walked.unusable.push(unusable(dir, Errno::NOTDIR)),
            Ok(entry) if entry.file_type().is_file() => walked.push(dir, known_as, entry.path()),
            Ok(_) => {}
            Err(error) => walked.note_error(dir, known_as, error),
        }
        seen += 1;
        if seen.is_multiple_of(BATCH) || sent.elapsed() > SIGN_OF_LIFE {
            if sender.send(Batch(std::mem::take(&mut walked))).is_err() {
                return;
            }
            sent = Instant::now();
        }
    }
    if let Some(left) = entered {
        walked.note_empty(&left);
    }
    let _ = sender.send(Batch(walked));
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}

impl Walked {
    fn push(&mut self, dir: &Path, known_as: &Path, path: &Path) {
        if let Ok(below) = path.strip_prefix(dir) {
            self.files.push(&known_as.join(below), known_as);
        }
    }

    /// A media directory without a visible name, or such a directory right in one, is where a disk is usually
    /// mounted, and is perhaps not now. Deeper ones are nothing unusual.
    fn note_empty(&mut self, dir: &DirEntry) {
        let error = || unusable(dir.path(), Reason::EmptyDirectory);
        match dir.depth() {
            0 => self.unusable.push(error()),
            1 if self.unreadable.is_none() => self.unreadable = Some(error()),
            _ => {}
        }
    }

    fn note_error(&mut self, dir: &Path, known_as: &Path, error: walkdir::Error) {
        let (path, depth) = (error.path().unwrap_or(dir).to_owned(), error.depth());
        // Without a system error it is a link back to a directory above: everything in it is found there.
        let Some(reason) = error.into_io_error() else { return };
        if depth == 0 {
            self.unusable.push(unusable(dir, reason));
            return;
        }
        // A link that leads nowhere is still what a daemon may have been given; but a directory may be missing.
        if path.is_symlink() {
            self.push(dir, known_as, &path);
        }
        self.note_unreadable(&path, reason);
    }

    fn note_unreadable(&mut self, path: &Path, reason: impl Into<Reason>) {
        self.unreadable.get_or_insert_with(|| unusable(path, reason));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_never_answers_is_given_up() {
        let (sender, receiver) = mpsc::sync_channel(1);
        let mut part = Walked::default();
        part.files.push(Path::new("/m/a.mkv"), Path::new("/m"));
        sender.send(Batch(part)).unwrap();
        let walked = collect(Path::new("/m"), &receiver, Instant::now(), Duration::from_millis(1));
        assert_eq!(walked.files.len(), 1);
        assert_eq!(walked.unusable, [unusable(Path::new("/m"), Errno::TIMEDOUT)]);
        drop(sender);
    }

    #[test]
    fn an_empty_directory_beside_a_link_to_itself_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let disk = dir.path().join("disk");
        std::fs::create_dir(&disk).unwrap();
        // Unless it is read last, one of them comes next.
        for name in ["a", "disk2", "z"] {
            std::os::unix::fs::symlink(dir.path(), dir.path().join(name)).unwrap();
        }
        let walked = walk([(dir.path().to_owned(), "/m".into())].into_iter());
        assert_eq!(walked.unreadable, Some(unusable(&disk, Reason::EmptyDirectory)));
    }

    #[test]
    fn paths_come_back_as_they_were() {
        let mut files = Files::default();
        for (path, above) in [("/m/a", "/m"), ("/", "/"), ("/m/dir/ü", "/m")] {
            files.push(Path::new(path), Path::new(above));
        }
        let mut twice = files.clone();
        twice.extend(&files);
        assert_eq!(twice.len(), 6);
        assert_eq!((twice.get(0), twice.get(4)), ((&b"/m/a"[..], 2), (&b"/"[..], 1)));
        assert_eq!(twice.get(5), ("/m/dir/ü".as_bytes(), 2));
    }
}
