//! The event log: one event a line, in one of the forms of [`Event`] and [`SweepEvent`], each appended
//! with one write by who opens the log for it, so that a log that is renamed loses none.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

use super::{Cause, Entry, identity};
use crate::key::Key;
use crate::layout::{EVENTS_LOG, OLD_EVENTS_LOG};
use crate::locks::{self, Held};

use crate::error::{Error, Operation, Reason};
use crate::root::Root;
use crate::sys::fd;
use crate::sys::lines::{Line, Lines};
use crate::units::{age, unix_seconds};

/// What happened to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A daemon served it.
    Hit,
    /// A daemon had to transcode it.
    Miss,
    /// `sweep` removed it.
    Evict,
    /// `gc-orphans` removed it.
    Orphan,
    /// `invalidate` or `verify --fix` removed it.
    Invalidate,
}

impl EventKind {
    /// The kinds that removals log.
    pub const REMOVALS: [Self; 3] = [Self::Evict, Self::Orphan, Self::Invalidate];

    /// The word in the log.
    pub fn code(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Evict => "evict",
            Self::Orphan => "orphan",
            Self::Invalidate => "invalidate",
        }
    }
}

/// A line about an entry: `UNIX_SECONDS hit|miss KEY [BYTES]`, a daemon's, or
/// `UNIX_SECONDS evict|orphan|invalidate KEY BYTES [AGE [REASON]]`, a remover's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, in seconds since the epoch.
    pub time: i64,
    /// What.
    pub kind: EventKind,
    /// To which entry.
    pub key: Key,
    /// The entry's size, where the writer knew it.
    pub bytes: Option<u64>,
    /// Of a removal: whole seconds since the last use.
    pub age: Option<u64>,
    /// Of a removal: why.
    pub cause: Option<Cause>,
}

impl Event {
    /// An event of which no more is known.
    pub fn new(time: i64, kind: EventKind, key: Key) -> Self {
        Self { time, kind, key, bytes: None, age: None, cause: None }
    }

    /// The removal of `entry` at `now`.
    pub(crate) fn removal(entry: &Entry, cause: Cause, now: SystemTime) -> Self {
        let kind = match cause {
            Cause::Orphan => EventKind::Orphan,
            Cause::Invalidated | Cause::Damaged => EventKind::Invalidate,
            _ => EventKind::Evict,
        };
        Self {
            bytes: Some(entry.bytes),
            age: Some(age(now, entry.last_used).as_secs()),
            cause: Some(cause),
            ..Self::new(unix_seconds(now), kind, entry.key)
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.time, self.kind.code(), self.key)?;
        // Each stands where it does only behind the one before.
        let Some(bytes) = self.bytes else { return Ok(()) };
        write!(f, " {bytes}")?;
        let Some(age) = self.age else { return Ok(()) };
        write!(f, " {age}")?;
        self.cause.map_or(Ok(()), |cause| write!(f, " {}", cause.code()))
    }
}

/// A line that is no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidEvent;

impl FromStr for Event {
    type Err = InvalidEvent;

    fn from_str(line: &str) -> Result<Self, InvalidEvent> {
        let mut fields = line.split_ascii_whitespace();
        let mut field = || fields.next().ok_or(InvalidEvent);
        let time = field()?.parse().map_err(|_| InvalidEvent)?;
        let kind = match field()? {
            "hit" => EventKind::Hit,
            "miss" => EventKind::Miss,
            "evict" => EventKind::Evict,
            "orphan" => EventKind::Orphan,
            "invalidate" => EventKind::Invalidate,
            _ => return Err(InvalidEvent),
        };
        let key = field()?.parse().map_err(|_| InvalidEvent)?;
        let mut event = Self::new(time, kind, key);
        let mut number =
            || fields.next().map(|number| number.parse().map_err(|_| InvalidEvent)).transpose();
        event.bytes = number()?;
        if EventKind::REMOVALS.contains(&kind) {
            event.age = number()?;
            event.cause =
                fields.next().map(|word| Cause::from_code(word).ok_or(InvalidEvent)).transpose()?;
        }
        if fields.next().is_some() { Err(InvalidEvent) } else { Ok(event) }
    }
}

/// A line about a finished sweep: `UNIX_SECONDS sweep NAME=VALUE ...`, with the names of these fields.
/// A limit that was not in force has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepEvent {
    /// When, in seconds since the epoch.
    pub time: i64,
    /// `--max-size`, in bytes, as in force.
    pub max_size: Option<u64>,
    /// `--min-free`, in bytes, also where it was given as a percentage.
    pub min_free: Option<u64>,
    /// `--max-entries`.
    pub max_entries: Option<u64>,
    /// `--older-than`, in seconds.
    pub older_than: Option<u64>,
    /// `--keep-recent`, in seconds.
    pub keep_recent: Option<u64>,
    /// `--low-water`, in percent.
    pub low_water: Option<u64>,
    /// Number of entries that went.
    pub removed: Option<u64>,
    /// Bytes of these.
    pub freed: Option<u64>,
    /// Bytes of the entries that are left.
    pub left: Option<u64>,
    /// How `hls-cache sweep` ended: 0, 1 (something failed) or 3 (a limit is not met).
    pub exit: Option<u64>,
}

/// Where a number of a sweep's line is kept.
type Field = fn(&mut SweepEvent) -> &mut Option<u64>;

impl SweepEvent {
    /// The word in the log.
    const CODE: &str = "sweep";

    const FIELDS: [(&str, Field); 10] = [
        ("max_size", |event| &mut event.max_size),
        ("min_free", |event| &mut event.min_free),
        ("max_entries", |event| &mut event.max_entries),
        ("older_than", |event| &mut event.older_than),
        ("keep_recent", |event| &mut event.keep_recent),
        ("low_water", |event| &mut event.low_water),
        ("removed", |event| &mut event.removed),
        ("freed", |event| &mut event.freed),
        ("left", |event| &mut event.left),
        ("exit", |event| &mut event.exit),
    ];
}

impl fmt::Display for SweepEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.time, Self::CODE)?;
        let mut event = *self;
        Self::FIELDS.iter().try_for_each(|(name, field)| match field(&mut event) {
            Some(value) => write!(f, " {name}={value}"),
            None => Ok(()),
        })
    }
}

impl FromStr for SweepEvent {
    type Err = InvalidEvent;

    fn from_str(line: &str) -> Result<Self, InvalidEvent> {
        let mut words = line.split_ascii_whitespace();
        let time = words.next().and_then(|time| time.parse().ok()).ok_or(InvalidEvent)?;
        let mut event = Self { time, ..Self::default() };
        if words.next() != Some(Self::CODE) {
            return Err(InvalidEvent);
        }
        let fields: Vec<&str> = words.collect();
        for field in &fields {
            let (name, value) = field.split_once('=').ok_or(InvalidEvent)?;
            // One that is not known is a later version's, and whatever it may say.
            if let Some((_, known)) = Self::FIELDS.iter().find(|(known, _)| *known == name) {
                *known(&mut event) = Some(value.parse().map_err(|_| InvalidEvent)?);
            }
        }
        if fields.is_empty() { Err(InvalidEvent) } else { Ok(event) }
    }
}

/// Hits and misses over some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HitRate {
    /// Number of hits.
    pub hits: u64,
    /// Number of misses.
    pub misses: u64,
}

impl HitRate {
    /// Hits in percent of both, rounded half up; `None` without either.
    pub fn percent(self) -> Option<u64> {
        let (hits, total) =
            (u128::from(self.hits), u128::from(self.hits) + u128::from(self.misses));
        let percent = (200 * hits + total).checked_div(2 * total)?;
        u64::try_from(percent).ok()
    }
}

/// Removals of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removals {
    /// How many.
    pub count: u64,
    /// Their bytes, where the log has them.
    pub bytes: u64,
}

/// What the log says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Hits and misses in all; `None` when the log has neither: unknown, not zero.
    pub all: Option<HitRate>,
    /// The same of the last 24 hours; `None` when `all` is.
    pub last_24h: Option<HitRate>,
    /// Lines that do not parse.
    pub skipped: u64,
    /// Removals, in the order of [`EventKind::REMOVALS`].
    pub removals: [Removals; 3],
    /// When the newest removal was, in seconds since the epoch.
    pub last_removal: Option<i64>,
    /// The last sweep that finished, by its place in the log: sweeps finish one after the other.
    pub last_sweep: Option<SweepEvent>,
}

impl Summary {
    /// Reads the root's log and the one before it; a log that does not exist is an empty one.
    pub fn read(root: &Root, now: SystemTime) -> Result<Self, Error> {
        // The present one is opened first: renamed in between, it is found twice and not missed.
        let present = open_to_read(root, EVENTS_LOG)?;
        let old = open_to_read(root, OLD_EVENTS_LOG)?
            .filter(|old| !present.as_ref().is_some_and(|present| is_same_file(old, present)));
        let mut tally = Tally::new(now);
        for (name, log) in [(OLD_EVENTS_LOG, old), (EVENTS_LOG, present)] {
            if let Some(log) = log {
                tally.add(BufReader::new(log)).map_err(|reason| unreadable(root, name, reason))?;
            }
        }
        Ok(tally.finish())
    }
}

fn unreadable(root: &Root, name: &str, reason: impl Into<Reason>) -> Error {
    Error::new(Operation::ReadEventLog, root.path().join(name), reason)
}

fn open_to_read(root: &Root, name: &str) -> Result<Option<File>, Error> {
    match fd::open_regular(root.fd(), name) {
        Ok(Some((file, _))) => Ok(Some(file)),
        Err(Errno::NOENT) => Ok(None),
        Ok(None) => Err(unreadable(root, name, Reason::NotRegular)),
        Err(error) => Err(unreadable(root, name, error)),
    }
}

fn is_same_file(one: &File, other: &File) -> bool {
    let identity = |file| rustix::fs::fstat(file).map(|stat| identity(&stat));
    identity(one).is_ok_and(|one| identity(other) == Ok(one))
}

/// Adds up the lines of logs, the oldest first.
struct Tally {
    now: i64,
    all: HitRate,
    recent: HitRate,
    summary: Summary,
}

impl Tally {
    fn new(now: SystemTime) -> Self {
        Self {
            now: unix_seconds(now),
            all: HitRate::default(),
            recent: HitRate::default(),
            summary: Summary::default(),
        }
    }

    fn add(&mut self, log: impl BufRead) -> io::Result<()> {
        /// Half again the longest line that is written, a sweep's.
        const LONGEST_LINE: u64 = 512;
        let mut lines = Lines::new(log, LONGEST_LINE);
        while let Some(line) = lines.next_line()? {
            let text = match line {
                Line::Whole(line) => std::str::from_utf8(line).ok(),
                Line::TooLong => None,
            };
            if let Some(event) = text.and_then(|text| text.parse().ok()) {
                self.count(event);
            } else if let Some(sweep) = text.and_then(|text| text.parse().ok()) {
                self.summary.last_sweep = Some(sweep);
            } else {
                self.summary.skipped += 1;
            }
        }
        Ok(())
    }

    fn count(&mut self, event: Event) {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let in_last_24h = self.now.saturating_sub(event.time) < DAY.as_secs().cast_signed();
        match event.kind {
            EventKind::Hit => {
                self.all.hits += 1;
                self.recent.hits += u64::from(in_last_24h);
            }
            EventKind::Miss => {
                self.all.misses += 1;
                self.recent.misses += u64::from(in_last_24h);
            }
            EventKind::Evict | EventKind::Orphan | EventKind::Invalidate => {
                let summary = &mut self.summary;
                let place = EventKind::REMOVALS.iter().position(|&kind| kind == event.kind);
                let removals = &mut summary.removals[place.unwrap_or(0)];
                removals.count += 1;
                removals.bytes = removals.bytes.saturating_add(event.bytes.unwrap_or(0));
                summary.last_removal = summary.last_removal.max(Some(event.time));
            }
        }
    }

    fn finish(self) -> Summary {
        let is_known = self.all != HitRate::default();
        Summary {
            all: is_known.then_some(self.all),
            last_24h: is_known.then_some(self.recent),
            ..self.summary
        }
    }
}

/// The log as one run writes it. What a full disk had no room for is kept, and tried once more when the
/// run has made room; so a log that cannot be written to is one error, however many events it misses.
#[derive(Debug)]
#[must_use]
pub(crate) struct Journal<'a> {
    root: &'a Root,
    unlogged: Vec<Event>,
    /// The log ends in mid-line, and what is appended next would be glued to that.
    torn: bool,
}

impl<'a> Journal<'a> {
    pub(crate) fn new(root: &'a Root) -> Self {
        Self { root, unlogged: Vec::new(), torn: ends_in_mid_line(root) }
    }

    /// Logs `event` now, or when the journal is finished.
    pub(crate) fn append(&mut self, event: Event) {
        if self.try_append(&event).is_err() {
            self.unlogged.push(event);
        }
    }

    /// Tries once more to log what could not be logged; the first error of it.
    pub(crate) fn finish(mut self) -> Option<Error> {
        let unlogged = std::mem::take(&mut self.unlogged);
        let failed: Vec<Reason> =
            unlogged.iter().filter_map(|event| self.try_append(event).err()).collect();
        failed.into_iter().next().map(|reason| cannot_append(self.root, reason))
    }

    /// Creates the log like a lockfile if need be, so that a daemon of another user can append after
    /// root's cron has.
    fn try_append(&mut self, event: &impl fmt::Display) -> Result<(), Reason> {
        let log = open_to_append(self.root)?;
        let stat = rustix::fs::fstat(&log)?;
        // One name: a hard link planted here would have us write into somebody else's file.
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink > 1 {
            return Err(Reason::NotRegularWithOneName);
        }
        let line = format!("{}{event}\n", if self.torn { "\n" } else { "" });
        let written = retry_on_intr(|| rustix::io::write(&log, line.as_bytes()))?;
        self.torn = line.as_bytes()[..written].last().map_or(self.torn, |&byte| byte != b'\n');
        if written < line.len() { Err(Errno::NOSPC.into()) } else { Ok(()) }
    }
}

/// Appends one event, an [`Event`] or a [`SweepEvent`], of which there are no more to come.
pub(crate) fn append(root: &Root, event: &impl fmt::Display) -> Result<(), Error> {
    Journal::new(root).try_append(event).map_err(|reason| cannot_append(root, reason))
}

fn cannot_append(root: &Root, reason: Reason) -> Error {
    Error::new(Operation::AppendEvent, root.path().join(EVENTS_LOG), reason)
}

/// Whether somebody's last line was cut short, as by a full disk. Not knowing is no reason to fail.
fn ends_in_mid_line(root: &Root) -> bool {
    let mut last = [b'\n'];
    if let Ok(Some((log, size))) = fd::open_regular(root.fd(), EVENTS_LOG) {
        let _ = log.read_at(&mut last, size.saturating_sub(1));
    }
    last != [b'\n']
}

/// A new log begins above this: a million events, which `stats` reads in a fifth of a second.
pub(crate) const LARGE_LOG: u64 = 64 << 20;

/// Renames a log of more than `large` bytes, which replaces the one renamed before it. Takes the lock as
/// proof that nobody else is doing the same, and would replace the log with an empty one.
pub(crate) fn rotate(root: &Root, large: u64, _maintenance: &Held) -> Result<(), Error> {
    try_rotate(root, large).map_err(|reason| {
        Error::new(Operation::RotateEventLog, root.path().join(OLD_EVENTS_LOG), reason)
    })
}

#[allow(clippy::disallowed_methods, reason = "a log is no entry: renaming it takes nothing away")]
fn try_rotate(root: &Root, large: u64) -> Result<(), Reason> {
    let stat = |name| match fd::stat(root.fd(), name) {
        Err(Errno::NOENT) => Ok(None),
        found => found.map(Some),
    };
    let is_regular = |stat: &Stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    let is_due = |log: &Stat| is_regular(log) && log.st_nlink == 1 && fd::size(log) > large;
    if !stat(EVENTS_LOG)?.is_some_and(|log| is_due(&log)) {
        return Ok(());
    }
    if stat(OLD_EVENTS_LOG)?.is_some_and(|old| !is_regular(&old)) {
        return Err(Reason::NotRegular);
    }
    retry_on_intr(|| rustix::fs::renameat(root.fd(), EVENTS_LOG, root.fd(), OLD_EVENTS_LOG))?;
    Ok(())
}

fn open_to_append(root: &Root) -> rustix::io::Result<rustix::fd::OwnedFd> {
    let flags =
        OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let open = || retry_on_intr(|| rustix::fs::openat(root.fd(), EVENTS_LOG, flags, Mode::empty()));
    match open() {
        Err(Errno::NOENT) => match locks::create(root, EVENTS_LOG) {
            // Opened again for its flags: the created descriptor does not append.
            Ok(_) | Err(Errno::EXIST) => open(),
            Err(error) => Err(error),
        },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn summary(log: &str) -> Summary {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let mut tally = Tally::new(now);
        tally.add(log.as_bytes()).unwrap();
        tally.finish()
    }

    #[test]
    fn hits_and_misses_in_all_and_of_the_last_day() {
        let key = "0123456789abcdef";
        let log = format!(
            "1 hit {key}\n999999 hit {key}\n999999 miss {key} 5\n913600 hit {key}\n913601 hit {key}\n2000000 hit {key}\n"
        );
        let summary = summary(&log);
        assert_eq!(summary.all, Some(HitRate { hits: 5, misses: 1 }));
        assert_eq!(summary.last_24h, Some(HitRate { hits: 3, misses: 1 }));
        assert_eq!(summary.all.unwrap().percent(), Some(83));
    }

    #[test]
    fn the_rate_rounds_half_up_and_is_unknown_without_lines() {
        assert_eq!(HitRate { hits: 1, misses: 7 }.percent(), Some(13));
        assert_eq!(HitRate { hits: 1, misses: 199 }.percent(), Some(1));
        assert_eq!(HitRate { hits: u64::MAX, misses: u64::MAX }.percent(), Some(50));
        assert_eq!(HitRate::default().percent(), None);
        let only_removals = summary("1 evict 0123456789abcdef 10\n");
        assert_eq!((only_removals.all, only_removals.last_24h), (None, None));
        assert_eq!(only_removals.removals[0], Removals { count: 1, bytes: 10 });
        assert_eq!(only_removals.last_removal, Some(1));
    }

    #[test]
    fn what_does_not_parse_is_skipped_and_counted() {
        let key = "0123456789abcdef";
        let endless = "x".repeat(100_000);
        let log = format!(
            "1 hit {key}\nhit\n1 hit nokey\n1 hug {key}\n1 hit {key} 5 6\n1 hit {key} -5\n{endless}\n\n1 hit {key}"
        );
        let summary = summary(&log);
        assert_eq!(summary.all, Some(HitRate { hits: 2, misses: 0 }));
        assert_eq!(summary.skipped, 7);
    }

    #[test]
    fn the_last_sweep_is_the_last_line_about_one() {
        let key = "0123456789abcdef";
        let log =
            format!("9 sweep removed=1 exit=0\n7 sweep removed=2 exit=3\n8 hit {key}\n9 sweep\n");
        let last = SweepEvent { time: 7, removed: Some(2), exit: Some(3), ..SweepEvent::default() };
        assert_eq!(summary(&log).last_sweep, Some(last));
        assert_eq!(summary(&format!("8 hit {key}\n")).last_sweep, None);
    }

    #[test]
    fn an_event_is_not_glued_to_a_line_that_was_cut_short() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path()).unwrap();
        let log = directory.path().join(EVENTS_LOG);
        let event: Event = "7 evict 0123456789abcdef 10".parse().unwrap();
        for (before, after) in [
            (None, ""),
            (Some(""), ""),
            (Some("1 hit 0123456789abcdef\n"), "1 hit 0123456789abcdef\n"),
            (Some("1 hit 01234"), "1 hit 01234\n"),
        ] {
            if let Some(text) = before {
                std::fs::write(&log, text).unwrap();
            }
            let mut journal = Journal::new(&root);
            journal.append(event);
            journal.append(event);
            assert_eq!(journal.finish(), None);
            let logged = std::fs::read_to_string(&log).unwrap();
            assert_eq!(logged, format!("{after}{event}\n{event}\n"), "after {before:?}");
        }
    }

    #[test]
    fn no_event_is_lost_to_a_new_log_and_the_two_are_read_as_one() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path()).unwrap();
        let lock = locks::maintenance(&root, Duration::ZERO).unwrap().unwrap();
        let hit: Event = "7 hit 0123456789abcdef".parse().unwrap();
        let size = hit.to_string().len() as u64 + 1;
        let hits = |root| {
            Summary::read(root, SystemTime::UNIX_EPOCH).unwrap().all.map_or(0, |all| all.hits)
        };
        let is_there = |name| directory.path().join(name).exists();
        rotate(&root, 0, &lock).unwrap();
        assert!(!is_there(OLD_EVENTS_LOG), "no log");
        for logged in 1..=8 {
            append(&root, &hit).unwrap();
            rotate(&root, 5 * size, &lock).unwrap();
            assert_eq!(is_there(EVENTS_LOG), logged != 6, "a sixth one is more than five");
            assert_eq!(is_there(OLD_EVENTS_LOG), logged >= 6);
            assert_eq!(hits(&root), logged);
        }
        rotate(&root, size, &lock).unwrap();
        assert_eq!(hits(&root), 2, "one generation is kept");
        // As a reader finds it that has opened the log just before it was renamed.
        std::fs::hard_link(
            directory.path().join(OLD_EVENTS_LOG),
            directory.path().join(EVENTS_LOG),
        )
        .unwrap();
        assert_eq!(hits(&root), 2, "read once");
    }

    #[test]
    fn what_could_not_be_logged_is_logged_when_the_journal_is_finished() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path()).unwrap();
        let log = directory.path().join(EVENTS_LOG);
        let in_its_place = tempfile::Builder::new()
            .prefix(EVENTS_LOG)
            .rand_bytes(0)
            .tempdir_in(directory.path())
            .unwrap();
        let events = ["7 evict 0123456789abcdef 10", "7 orphan fedcba9876543210"]
            .map(|event| event.parse::<Event>().unwrap());
        let mut journal = Journal::new(&root);
        for event in events {
            journal.append(event);
        }
        in_its_place.close().unwrap();
        assert_eq!(journal.finish(), None);
        let logged = std::fs::read_to_string(&log).unwrap();
        assert_eq!(logged, events.map(|event| format!("{event}\n")).concat());
    }

    proptest! {
        #[test]
        fn an_event_comes_back(time: i64, bytes: u64, age: u64, which in 0_usize..3, known in 0..4) {
            let mut event =
                Event::new(time, EventKind::REMOVALS[which], "0123456789abcdef".parse().unwrap());
            event.bytes = (known > 0).then_some(bytes);
            event.age = (known > 1).then_some(age);
            event.cause = (known > 2).then_some(Cause::MinFree);
            prop_assert_eq!(event.to_string().parse(), Ok(event));
        }

        #[test]
        fn a_sweep_comes_back(time: i64, values: [Option<u64>; 10]) {
            let mut event = SweepEvent { time, ..SweepEvent::default() };
            for ((_, field), value) in SweepEvent::FIELDS.iter().zip(values) {
                *field(&mut event) = value;
            }
            let line = event.to_string();
            let is_empty = values.iter().all(Option::is_none);
            prop_assert_eq!(line.parse(), if is_empty { Err(InvalidEvent) } else { Ok(event) });
            let newer = format!("{line} colour=blue");
            prop_assert_eq!(newer.parse(), Ok(event));
        }

        #[test]
        fn no_log_makes_the_reader_panic(log: Vec<u8>) {
            let mut tally = Tally::new(SystemTime::UNIX_EPOCH);
            let lines = log.split(|&byte| byte == b'\n').count();
            tally.add(&*log).unwrap();
            prop_assert!(tally.finish().skipped <= lines as u64);
        }
    }
}
