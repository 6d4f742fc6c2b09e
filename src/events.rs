//! The event log: `UNIX_SECONDS EVENT KEY [BYTES]`, one event a line, appended with one write.

use std::fmt;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::fd;
use crate::key::Key;
use crate::layout::EVENTS_LOG;
use crate::lines::{Line, Lines};
use crate::lock;
use crate::problem::Problem;
use crate::root::Root;
use crate::units::unix_seconds;

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

/// One line of the log.
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
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.time, self.kind.code(), self.key)?;
        self.bytes.map_or(Ok(()), |bytes| write!(f, " {bytes}"))
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
        let bytes = fields.next().map(str::parse).transpose().map_err(|_| InvalidEvent)?;
        if fields.next().is_some() {
            return Err(InvalidEvent);
        }
        Ok(Self { time, kind, key, bytes })
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
}

impl Summary {
    /// Reads the root's log; a log that does not exist is an empty one.
    pub fn read(root: &Root, now: SystemTime) -> Result<Self, Problem> {
        let unreadable = |reason: io::Error| {
            Problem::new(root.path().join(EVENTS_LOG), "cannot read the event log", reason)
        };
        match fd::open_regular(root.fd(), EVENTS_LOG) {
            Ok(Some((file, _))) => Self::from_lines(BufReader::new(file), now).map_err(unreadable),
            Err(Errno::NOENT) => Ok(Self::default()),
            Ok(None) => Err(unreadable(io::Error::other("it is not a regular file"))),
            Err(error) => Err(unreadable(error.into())),
        }
    }

    fn from_lines(log: impl BufRead, now: SystemTime) -> io::Result<Self> {
        /// Six times the longest line that parses: what is longer is skipped without being held.
        const LONGEST_LINE: u64 = 512;
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let now = unix_seconds(now);
        let mut summary = Self::default();
        let (mut all, mut recent) = (HitRate::default(), HitRate::default());
        let mut lines = Lines::new(log, LONGEST_LINE);
        while let Some(line) = lines.next_line()? {
            let event = match line {
                Line::Whole(line) => std::str::from_utf8(line).ok().map(Event::from_str),
                Line::TooLong => None,
            };
            let Some(Ok(event)) = event else {
                summary.skipped += 1;
                continue;
            };
            let in_last_24h = now.saturating_sub(event.time) < DAY.as_secs().cast_signed();
            match event.kind {
                EventKind::Hit => {
                    all.hits += 1;
                    recent.hits += u64::from(in_last_24h);
                }
                EventKind::Miss => {
                    all.misses += 1;
                    recent.misses += u64::from(in_last_24h);
                }
                EventKind::Evict | EventKind::Orphan | EventKind::Invalidate => {
                    let place = EventKind::REMOVALS.iter().position(|&kind| kind == event.kind);
                    let removals = &mut summary.removals[place.unwrap_or(0)];
                    removals.count += 1;
                    removals.bytes = removals.bytes.saturating_add(event.bytes.unwrap_or(0));
                    summary.last_removal = summary.last_removal.max(Some(event.time));
                }
            }
        }
        if all != HitRate::default() {
            (summary.all, summary.last_24h) = (Some(all), Some(recent));
        }
        Ok(summary)
    }
}

/// The log as one run writes it. What a full disk had no room for is kept, and tried once more when the
/// run has made room; so a log that cannot be written to is one problem, however many events it misses.
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
        if self.try_append(event).is_err() {
            self.unlogged.push(event);
        }
    }

    /// Tries once more to log what could not be logged; the first problem with it.
    pub(crate) fn finish(mut self) -> Option<Problem> {
        let unlogged = std::mem::take(&mut self.unlogged);
        let failed: Vec<io::Error> =
            unlogged.into_iter().filter_map(|event| self.try_append(event).err()).collect();
        failed.into_iter().next().map(|reason| cannot_append(self.root, reason))
    }

    /// Creates the log like a lockfile if need be, so that a daemon of another user can append after
    /// root's cron has.
    fn try_append(&mut self, event: Event) -> io::Result<()> {
        let log = open_to_append(self.root)?;
        let stat = rustix::fs::fstat(&log)?;
        // One name: a hard link planted here would have us write into somebody else's file.
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink > 1 {
            return Err(io::Error::other("it is not a regular file with one name"));
        }
        let line = format!("{}{event}\n", if self.torn { "\n" } else { "" });
        let written = retry_on_intr(|| rustix::io::write(&log, line.as_bytes()))?;
        self.torn = line.as_bytes()[..written].last().map_or(self.torn, |&byte| byte != b'\n');
        if written < line.len() { Err(Errno::NOSPC.into()) } else { Ok(()) }
    }
}

/// Appends one event, of which there are no more to come.
pub(crate) fn append(root: &Root, event: Event) -> Result<(), Problem> {
    Journal::new(root).try_append(event).map_err(|reason| cannot_append(root, reason))
}

fn cannot_append(root: &Root, reason: io::Error) -> Problem {
    Problem::new(root.path().join(EVENTS_LOG), "cannot append to the event log", reason)
}

/// Whether somebody's last line was cut short, as by a full disk. Not knowing is no reason to fail.
fn ends_in_mid_line(root: &Root) -> bool {
    let mut last = [b'\n'];
    if let Ok(Some((log, size))) = fd::open_regular(root.fd(), EVENTS_LOG) {
        let _ = log.read_at(&mut last, size.saturating_sub(1));
    }
    last != [b'\n']
}

fn open_to_append(root: &Root) -> rustix::io::Result<rustix::fd::OwnedFd> {
    let flags =
        OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let open = || retry_on_intr(|| rustix::fs::openat(root.fd(), EVENTS_LOG, flags, Mode::empty()));
    match open() {
        Err(Errno::NOENT) => match lock::create(root, EVENTS_LOG) {
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
        Summary::from_lines(log.as_bytes(), now).unwrap()
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
        fn an_event_comes_back(time: i64, bytes: Option<u64>, which in 0_usize..3) {
            let key = "0123456789abcdef".parse().unwrap();
            let event = Event { time, kind: EventKind::REMOVALS[which], key, bytes };
            prop_assert_eq!(event.to_string().parse(), Ok(event));
        }

        #[test]
        fn no_log_makes_the_reader_panic(log: Vec<u8>) {
            let now = SystemTime::UNIX_EPOCH;
            let lines = log.split(|&byte| byte == b'\n').count();
            let summary = Summary::from_lines(&*log, now).unwrap();
            prop_assert!(summary.skipped <= lines as u64);
        }
    }
}
