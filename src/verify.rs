//! Whether a sealed entry is whole: every segment there and none empty.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::fmt;
use std::io::{self, BufRead, BufReader};
use std::num::NonZero;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::SystemTime;

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::deep;
use crate::events::{Event, Journal};
use crate::evict::{self, Remover};
use crate::fault::{Fault, FaultCode};
use crate::fd;
use crate::key::Key;
use crate::layout;
use crate::lines::{Line, Lines};
use crate::notice::Notice;
use crate::parallel;
use crate::plan::{Cause, Fate, Protection};
use crate::problem::Problem;
use crate::progress::{Progress, Task};
use crate::root::Root;
use crate::view::{self, Entry, Listing, State};
use crate::walk::{self, Buffer, Step, Visitor};

/// How thoroughly to verify.
#[derive(Clone, Copy, Debug, Default)]
pub struct Checks {
    /// How many segments there must be; else the highest one found or named in a playlist is the last.
    pub segments: Option<u64>,
    /// Also read box headers, the timeline and subtitles.
    pub deep: bool,
}

/// The state of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Sealed and whole.
    Healthy,
    /// Sealed and not whole; at least one fault.
    Damaged(Vec<Fault>),
    /// Not sealed, so not judged.
    Unsealed,
    /// There is no such entry.
    Absent,
}

impl Health {
    /// The stable name, as in JSON.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Damaged(_) => "damaged",
            Self::Unsealed => "unsealed",
            Self::Absent => "absent",
        }
    }
}

/// What was found of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The entry.
    pub key: Key,
    /// Its state.
    pub health: Health,
    /// What became of it; `None` if nothing was asked or needed.
    pub fate: Option<Fate>,
}

/// Which entries to verify.
#[derive(Clone, Debug)]
pub enum Selection {
    /// Every sealed entry.
    All,
    /// These, sealed or not.
    Keys(Vec<Key>),
    /// Of all entries a stable part.
    Subset(Subset),
}

/// Part I of N of the cache, by key, so that N runs with I from 1 to N see every entry. Written `I/N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subset {
    part: u64,
    of: u64,
}

impl Subset {
    /// `None` unless `part` is from 1 to `of`.
    pub fn new(part: u64, of: u64) -> Option<Self> {
        (1..=of).contains(&part).then_some(Self { part, of })
    }

    /// The part whose turn it is when `turns` were before: every one in `of` turns.
    pub fn of_turn(turns: u64, of: NonZero<u64>) -> Self {
        Self { part: turns % of + 1, of: of.get() }
    }

    /// Whether the entry is in this part.
    pub fn contains(self, key: Key) -> bool {
        key.as_u64() % self.of == self.part - 1
    }
}

/// A text that names no part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidSubset;

impl fmt::Display for InvalidSubset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a part: write I/N with I from 1 to N, for instance 3/7")
    }
}

impl std::error::Error for InvalidSubset {}

impl FromStr for Subset {
    type Err = InvalidSubset;

    fn from_str(text: &str) -> Result<Self, InvalidSubset> {
        text.split_once('/')
            .and_then(|(part, of)| Self::new(part.parse().ok()?, of.parse().ok()?))
            .ok_or(InvalidSubset)
    }
}

/// Watches a verification. `()` does not.
pub trait Observer: Progress {
    /// An entry was judged and, where that was asked for, removed just now; each is told once, by key.
    fn judged(&self, _verdict: &Verdict) {}
}

impl Observer for () {}

/// What a verification found.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Verification {
    /// Sealed entries, and those that the user named, by key; unsealed others are only counted.
    pub verdicts: Vec<Verdict>,
    /// Number of entries that are not sealed.
    pub unsealed: u64,
    /// What the user should know.
    pub notices: Vec<Notice>,
    /// What could not be read, locked or removed.
    pub problems: Vec<Problem>,
}

impl Verification {
    /// Number of verdicts that satisfy `is`.
    pub fn count(&self, is: impl Fn(&Verdict) -> bool) -> u64 {
        self.verdicts.iter().filter(|verdict| is(verdict)).count() as u64
    }

    /// Number of entries that were removed.
    pub fn removed(&self) -> u64 {
        self.count(|verdict| matches!(verdict.fate, Some(Fate::Removed(_))))
    }

    /// Whether there is damage, or a named entry that is unsealed or absent.
    pub fn has_finding(&self) -> bool {
        self.verdicts.iter().any(|verdict| verdict.health != Health::Healthy)
    }
}

/// Verifies the entries of `selection`, and if `fix` says so removes what is damaged and not pinned.
pub fn run(
    root: &Root,
    selection: &Selection,
    checks: Checks,
    fix: bool,
    now: SystemTime,
    observer: &dyn Observer,
) -> Result<Verification, Problem> {
    let listing = Listing::read(root)?;
    let mut verification = Verification::default();
    verification.notices.extend(listing.no_entries(root));
    let named: BTreeSet<Key> = match selection {
        Selection::Keys(keys) => keys.iter().copied().collect(),
        Selection::All | Selection::Subset { .. } => BTreeSet::new(),
    };
    let is_named = matches!(selection, Selection::Keys(_));
    let is_selected = |key: &Key| match selection {
        Selection::All => true,
        Selection::Keys(_) => named.contains(key),
        Selection::Subset(subset) => subset.contains(*key),
    };
    for &key in listing.mounted.iter().filter(|key| is_selected(key)) {
        if is_named {
            verification.problems.push(view::mount_in_the_way(root, key));
        } else {
            verification.notices.push(Notice::Mounted(root.entry_path(key)));
        }
    }
    let keys: Vec<Key> = if is_named {
        let is_free = |key: &Key| listing.mounted.binary_search(key).is_err();
        named.iter().copied().filter(is_free).collect()
    } else {
        listing.entries.into_iter().filter(is_selected).collect()
    };
    observer.start(Task::Verify, keys.len());
    let results = parallel::map(&keys, Buffer::new, |buffer, &key| {
        let health = entry(root, key, checks, buffer);
        observer.step();
        health
    });
    observer.finish();
    for (key, health) in keys.into_iter().zip(results) {
        match health {
            Ok(Health::Absent) if !is_named => {}
            Ok(health) => {
                let is_unsealed = health == Health::Unsealed;
                verification.unsealed += u64::from(is_unsealed);
                if is_named || !is_unsealed {
                    verification.verdicts.push(Verdict { key, health, fate: None });
                }
            }
            Err(problem) => verification.problems.push(problem),
        }
    }
    if fix {
        remove_damaged(root, checks, now, &mut verification, observer);
    } else {
        verification.verdicts.iter().for_each(|verdict| observer.judged(verdict));
    }
    Ok(verification)
}

fn remove_damaged(
    root: &Root,
    checks: Checks,
    now: SystemTime,
    verification: &mut Verification,
    observer: &dyn Observer,
) {
    let mut buffer = Buffer::new();
    let mut remover = Remover::new(root, observer);
    let mut journal = Journal::new(root);
    for verdict in &mut verification.verdicts {
        if !matches!(verdict.health, Health::Damaged(_)) {
            observer.judged(verdict);
            continue;
        }
        let key = verdict.key;
        let result = remove_if_damaged(&mut remover, root, key, checks, &mut buffer);
        verdict.fate = Some(match result {
            Ok(entry) => {
                journal.append(Event::removal(&entry, Cause::Damaged, now));
                Fate::Removed(Cause::Damaged)
            }
            Err(fate) => fate,
        });
        observer.judged(verdict);
    }
    verification.problems.extend(remover.finish().problems);
    verification.notices.extend(journal.finish().map(Notice::NotLogged));
}

/// Removes `key` if, seen under the lock, it is still damaged; as it was then.
pub(crate) fn remove_if_damaged(
    remover: &mut Remover<'_>,
    root: &Root,
    key: Key,
    checks: Checks,
    buffer: &mut Buffer,
) -> Result<Entry, Fate> {
    evict::check_may_delete(root, key.to_string())?;
    let claim = remover.claim(key, None)?;
    match entry(root, key, checks, buffer)? {
        Health::Damaged(_) => {}
        Health::Healthy | Health::Unsealed => return Err(Fate::Kept(Protection::Changed)),
        Health::Absent => return Err(Fate::Absent),
    }
    let entry = view::look(root, key, buffer)?.ok_or(Fate::Absent)?;
    remover.take_out(claim, &entry)?;
    Ok(entry)
}

/// Verifies one entry.
pub(crate) fn entry(
    root: &Root,
    key: Key,
    checks: Checks,
    buffer: &mut Buffer,
) -> Result<Health, Problem> {
    /// Times an entry may be replaced under us before that is called an error.
    const TRIES: u32 = 3;
    let name = key.to_string();
    let path = root.entry_path(key);
    let unreadable =
        |path: PathBuf, e: Errno| Problem::new(path, "cannot read", io::Error::from(e));
    for _ in 0..TRIES {
        let top = match fd::find_dir(root.fd(), &*name) {
            Ok(Some(top)) => top,
            Ok(None) => return Ok(Health::Absent),
            Err(error) => return Err(unreadable(path, error)),
        };
        let identity = match rustix::fs::fstat(&top) {
            Ok(stat) => view::identity(&stat),
            Err(error) => return Err(unreadable(path, error)),
        };
        match fd::stat(&top, layout::COMPLETE) {
            Ok(_) => {}
            Err(Errno::NOENT) => return Ok(Health::Unsealed),
            Err(error) => return Err(unreadable(path.join(layout::COMPLETE), error)),
        }
        let checked = check(&top, &path, checks, buffer);
        if matches!(&checked, Ok(faults) if faults.is_empty()) {
            return Ok(Health::Healthy);
        }
        // A fault of an entry that is on its way out, or replaced, is none of the entry of this name.
        match view::glance(root, key)? {
            Some(now) if now.identity == identity && now.state == State::Sealed => {
                return checked.map(Health::Damaged);
            }
            _ => {}
        }
    }
    Err(Problem::new(path, "cannot verify", "it is replaced again and again"))
}

fn check(
    top: &OwnedFd,
    path: &Path,
    checks: Checks,
    buffer: &mut Buffer,
) -> Result<Vec<Fault>, Problem> {
    let unreadable =
        |path: PathBuf, e: Errno| Problem::new(path, "cannot read", io::Error::from(e));
    let mut faults = Vec::new();
    let mut found =
        |code, file: &str, detail: String| faults.push(Fault { code, file: file.into(), detail });
    match fd::stat(top, layout::COMPLETE) {
        Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            kind => found(FaultCode::BadMarker, layout::COMPLETE, format!("is {}", describe(kind))),
        },
        Err(Errno::NOENT) => {}
        Err(error) => return Err(unreadable(path.join(layout::COMPLETE), error)),
    }
    let mut video = Video::default();
    let directory = fd::find_dir(top, layout::VIDEO)
        .map_err(|error| unreadable(path.join(layout::VIDEO), error))?;
    if let Some(fd) = directory {
        walk::walk(fd, buffer, &mut video)
            .map_err(|failure| failure.problem(&path.join(layout::VIDEO), "cannot read"))?;
        video.read_playlists(top, path)?;
    }
    let init = format!("{}/{}", layout::VIDEO, layout::INIT);
    match video.init {
        Some(Content::Bytes) => {}
        Some(Content::Empty) => found(FaultCode::EmptyInit, &init, "is empty".into()),
        Some(Content::Not(kind)) => {
            found(FaultCode::MissingInit, &init, format!("is {}", describe(kind)));
        }
        None => found(FaultCode::MissingInit, &init, "is not there".into()),
    }
    let last = video.last_segment(checks.segments);
    faults.extend(video.segment_faults(last));
    if checks.deep {
        faults.extend(deep::check(top.as_fd(), path, last.unwrap_or(0))?);
    }
    Ok(faults)
}

fn describe(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "a directory, not a file",
        FileType::Symlink => "a symlink, not a file",
        FileType::RegularFile => "a file",
        _ => "not a regular file",
    }
}

/// What stands under a file's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Bytes,
    Empty,
    Not(FileType),
}

/// What `video/` holds.
#[derive(Default)]
struct Video {
    init: Option<Content>,
    segments: Vec<(u64, Content)>,
    playlists: Vec<CString>,
    /// The highest segment that a playlist names.
    highest_named: Option<u64>,
}

impl Visitor for Video {
    fn name(
        &mut self,
        dir: BorrowedFd<'_>,
        _: usize,
        name: &CStr,
        _: FileType,
    ) -> rustix::io::Result<Step> {
        let bytes = name.to_bytes();
        let number = layout::segment_number(bytes);
        if layout::is_playlist(bytes) {
            self.playlists.push(name.to_owned());
        } else if number.is_some() || bytes == layout::INIT.as_bytes() {
            let stat = fd::stat(dir, name)?;
            let content = match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile if fd::size(&stat) == 0 => Content::Empty,
                FileType::RegularFile => Content::Bytes,
                kind => Content::Not(kind),
            };
            match number {
                Some(number) => self.segments.push((number, content)),
                None => self.init = Some(content),
            }
        }
        Ok(Step::Next)
    }
}

impl Video {
    fn read_playlists(&mut self, top: &OwnedFd, path: &Path) -> Result<(), Problem> {
        for name in std::mem::take(&mut self.playlists) {
            let file = fd::open_dir(top, layout::VIDEO)
                .and_then(|video| fd::open_regular(video.as_fd(), &*name));
            let highest = match file {
                Ok(Some((file, size))) if size <= LONGEST_PLAYLIST => {
                    highest_in_playlist(BufReader::new(file))
                }
                // Somebody's link or pipe of that name says nothing about segments.
                Ok(_) | Err(Errno::NOENT) => Ok(None),
                Err(error) => Err(error.into()),
            };
            let highest = highest.map_err(|reason| {
                let name = crate::root::os_name(name.to_bytes());
                Problem::new(path.join(layout::VIDEO).join(name), "cannot read", reason)
            })?;
            self.highest_named = self.highest_named.max(highest);
        }
        Ok(())
    }

    /// The number that the last segment has, or should have.
    fn last_segment(&self, expected: Option<u64>) -> Option<u64> {
        let highest_found = self.segments.iter().map(|&(number, _)| number).max();
        match expected {
            Some(count) => count.checked_sub(1),
            None => highest_found.max(self.highest_named),
        }
    }

    fn segment_faults(&mut self, last: Option<u64>) -> Vec<Fault> {
        self.segments.sort_unstable_by_key(|&(number, _)| number);
        let Some(last) = last else {
            let file = layout::VIDEO.into();
            return vec![Fault {
                code: FaultCode::NoSegments,
                file,
                detail: "holds no segment".into(),
            }];
        };
        if self.segments.is_empty() {
            let detail = format!("holds no segment, of {}", u128::from(last) + 1);
            return vec![Fault { code: FaultCode::NoSegments, file: layout::VIDEO.into(), detail }];
        }
        let mut faults = Vec::new();
        let mut next = Some(0);
        for &(number, content) in self.segments.iter().filter(|&&(number, _)| number <= last) {
            if let Some(first) = next.filter(|&first| first < number) {
                faults.push(missing(first, number - 1));
            }
            next = number.checked_add(1);
            let file = segment_path(number);
            match content {
                Content::Bytes => {}
                Content::Empty => {
                    faults.push(Fault {
                        code: FaultCode::EmptySegment,
                        file,
                        detail: "is empty".into(),
                    });
                }
                Content::Not(kind) => {
                    let detail = format!("is {}", describe(kind));
                    faults.push(Fault { code: FaultCode::MissingSegment, file, detail });
                }
            }
        }
        if let Some(first) = next.filter(|&first| first <= last) {
            faults.push(missing(first, last));
        }
        faults
    }
}

fn segment_path(number: u64) -> PathBuf {
    Path::new(layout::VIDEO).join(layout::segment(number))
}

fn missing(first: u64, last: u64) -> Fault {
    let detail = if first == last {
        "is not there".into()
    } else {
        format!("segments {first} to {last} are not there ({} of them)", last - first + 1)
    };
    Fault { code: FaultCode::MissingSegment, file: segment_path(first), detail }
}

/// A day of one-second segments is 4 MB; what is larger is no playlist.
const LONGEST_PLAYLIST: u64 = 64 << 20;

/// The highest segment that a playlist names.
fn highest_in_playlist(playlist: impl BufRead) -> io::Result<Option<u64>> {
    /// Longer than a segment's name with any path; what is longer is no segment's line.
    const LONGEST_LINE: u64 = 4096;
    let mut lines = Lines::new(playlist.take(LONGEST_PLAYLIST), LONGEST_LINE);
    let mut highest = None;
    while let Some(line) = lines.next_line()? {
        if let Line::Whole(line) = line {
            highest = highest.max(segment_in_line(line));
        }
    }
    Ok(highest)
}

/// The segment that a line of a playlist names; a line that starts with `#` is a tag.
fn segment_in_line(line: &[u8]) -> Option<u64> {
    let line = line.trim_ascii();
    let name = line.rsplit(|&byte| byte == b'/').next()?;
    if line.starts_with(b"#") { None } else { layout::segment_number(name) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn faults(
        segments: &[(u64, Content)],
        highest_named: Option<u64>,
        expected: Option<u64>,
    ) -> Vec<(FaultCode, String)> {
        let mut video = Video { segments: segments.to_vec(), highest_named, ..Video::default() };
        let faults = video.segment_faults(video.last_segment(expected));
        faults.into_iter().map(|fault| (fault.code, fault.file.display().to_string())).collect()
    }

    fn at(code: FaultCode, file: &str) -> (FaultCode, String) {
        (code, file.into())
    }

    #[test]
    fn what_is_missing_is_found_at_either_end_and_in_the_middle() {
        use Content::{Bytes, Empty};
        use FaultCode::{EmptySegment, MissingSegment, NoSegments};
        let all = [(0, Bytes), (1, Bytes), (2, Bytes)];
        assert_eq!(faults(&all, None, None), []);
        assert_eq!(faults(&all, Some(2), Some(3)), []);
        assert_eq!(faults(&all, Some(2), Some(2)), [], "more than expected is no fault");
        assert_eq!(faults(&all, Some(3), None), [at(MissingSegment, "video/seg-3.m4s")]);
        assert_eq!(faults(&all, None, Some(9)), [at(MissingSegment, "video/seg-3.m4s")]);
        assert_eq!(faults(&[(2, Bytes)], None, None), [at(MissingSegment, "video/seg-0.m4s")]);
        assert_eq!(
            faults(&[(0, Bytes), (5, Empty)], None, None),
            [at(MissingSegment, "video/seg-1.m4s"), at(EmptySegment, "video/seg-5.m4s"),]
        );
        assert_eq!(faults(&[], None, None), [at(NoSegments, "video")]);
        assert_eq!(faults(&[], Some(5), None), [at(NoSegments, "video")]);
        assert_eq!(
            faults(&[(0, Content::Not(FileType::Symlink))], None, None),
            [at(MissingSegment, "video/seg-0.m4s")]
        );
    }

    #[test]
    fn the_highest_number_there_is_costs_nothing_and_overflows_nothing() {
        let found = faults(&[(0, Content::Bytes), (u64::MAX, Content::Bytes)], None, None);
        assert_eq!(found, [at(FaultCode::MissingSegment, "video/seg-1.m4s")]);
        let named = faults(&[(0, Content::Bytes)], Some(u64::MAX), None);
        assert_eq!(named, [at(FaultCode::MissingSegment, "video/seg-1.m4s")]);
    }

    #[test]
    fn a_playlist_names_segments_in_any_directory_and_tags_name_none() {
        let playlist = b"#EXTM3U\r\n#EXT-X-MAP:URI=\"init.mp4\"\r\nseg-0.m4s\r\nvideo/seg-12.m4s\r\n#seg-99.m4s\nseg-x.m4s\nseg-3.m4s";
        assert_eq!(highest_in_playlist(&playlist[..]).unwrap(), Some(12));
        assert_eq!(highest_in_playlist(&b"#EXTM3U\n"[..]).unwrap(), None);
    }

    #[test]
    fn a_part_is_one_of_the_parts_there_are() {
        for (part, of) in [(0, 0), (0, 1), (1, 0), (2, 1), (u64::MAX, 1), (0, u64::MAX)] {
            assert_eq!(Subset::new(part, of), None, "{part}/{of}");
            assert_eq!(format!("{part}/{of}").parse::<Subset>(), Err(InvalidSubset));
        }
        for text in ["", "/", "1", "1/", "/1", "1/2/3", "-1/2", "1/18446744073709551616"] {
            assert_eq!(text.parse::<Subset>(), Err(InvalidSubset), "{text:?}");
        }
        let key: Key = "ffffffffffffffff".parse().unwrap();
        for of in [1, 2, 7, u64::MAX] {
            let parts =
                (1..=of.min(10)).filter(|&part| Subset::new(part, of).unwrap().contains(key));
            assert_eq!(parts.count(), 1, "{of}");
        }
        assert!(format!("{0}/{0}", u64::MAX).parse::<Subset>().is_ok());
    }

    proptest! {
        #[test]
        fn no_playlist_makes_the_reader_panic(playlist: Vec<u8>) {
            highest_in_playlist(&*playlist).unwrap();
        }

        #[test]
        fn every_segment_named_counts(numbers in prop::collection::vec(any::<u64>(), 1..20)) {
            let lines: Vec<String> = numbers.iter().map(|n| format!("#EXTINF:4.0,\nseg-{n}.m4s\n")).collect();
            let playlist = lines.concat();
            prop_assert_eq!(highest_in_playlist(playlist.as_bytes()).unwrap(), numbers.iter().copied().max());
        }
    }
}
