//! The totals of the event log.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::time::{Duration, SystemTime};

use rustix::io::Errno;

use super::{Event, EventKind, SweepEvent};
use crate::cache::{Cause, identity};
use crate::error::{Error, Operation, Reason};
use crate::layout::{EVENTS_LOG, OLD_EVENTS_LOG};
use crate::root::Root;
use crate::sys::fd;
use crate::sys::lines::{Line, Lines};
use crate::units::unix_seconds;

/// Hits and misses over some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct HitRate {
    pub hits: u64,
    pub misses: u64,
}

impl HitRate {
    /// Hits in percent of hits and misses, rounded half up; `None` if there are neither.
    pub fn percent(self) -> Option<u64> {
        let (hits, total) =
            (u128::from(self.hits), u128::from(self.hits) + u128::from(self.misses));
        let percent = (200 * hits + total).checked_div(2 * total)?;
        u64::try_from(percent).ok()
    }
}

/// Removals of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "only what the names do not say")]
pub struct Removals {
    pub count: u64,
    /// Sum of the sizes that the log gives.
    pub bytes: u64,
}

impl Removals {
    /// Counts one more.
    pub(crate) fn add(&mut self, removal: &Event) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(removal.bytes.unwrap_or(0));
    }
}

/// The totals of the event log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Of the whole log; `None` if it has neither hits nor misses: unknown, not zero.
    pub all: Option<HitRate>,
    /// Of the last 24 hours; `None` if `all` is.
    pub last_24h: Option<HitRate>,
    /// Lines that do not parse.
    pub skipped: u64,
    /// Removals, in the order of [`EventKind::REMOVALS`].
    pub removals: [Removals; 3],
    /// Time of the newest removal, in seconds since the epoch.
    pub last_removal: Option<i64>,
    /// Time of the newest removal of a damaged entry, in seconds since the epoch.
    pub last_damaged_removal: Option<i64>,
    /// The last sweep in the log.
    pub last_sweep: Option<SweepEvent>,
}

impl Summary {
    /// Reads the root's log and the one before it; a missing log counts as empty.
    pub fn read(root: &Root, now: SystemTime) -> Result<Self, Error> {
        Self::read_with(root, now, &mut |_| ())
    }

    /// The same, and hands each event about an entry to `listen`, in the order of the log, so that whoever needs
    /// more than the sums does not read it a second time.
    pub fn read_with(
        root: &Root,
        now: SystemTime,
        listen: &mut dyn FnMut(&Event),
    ) -> Result<Self, Error> {
        // Open the present log first: if it is renamed in between, it is found twice instead of missed.
        let present = open_to_read(root, EVENTS_LOG)?;
        let old = open_to_read(root, OLD_EVENTS_LOG)?
            .filter(|old| !present.as_ref().is_some_and(|present| is_same_file(old, present)));
        let mut tally = Tally::new(now);
        for (name, log) in [(OLD_EVENTS_LOG, old), (EVENTS_LOG, present)] {
            if let Some(log) = log {
                tally
                    .add(BufReader::new(log), listen)
                    .map_err(|reason| unreadable(root, name, reason))?;
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
pub(super) struct Tally {
    now: i64,
    all: HitRate,
    recent: HitRate,
    summary: Summary,
}

impl Tally {
    pub(super) fn new(now: SystemTime) -> Self {
        Self {
            now: unix_seconds(now),
            all: HitRate::default(),
            recent: HitRate::default(),
            summary: Summary::default(),
        }
    }

    pub(super) fn add(
        &mut self,
        log: impl BufRead,
        listen: &mut dyn FnMut(&Event),
    ) -> io::Result<()> {
        /// One and a half times the longest line written, a sweep's.
        const LONGEST_LINE: u64 = 512;
        let mut lines = Lines::new(log, LONGEST_LINE);
        while let Some(line) = lines.next_line()? {
            let text = match line {
                Line::Whole(line) => std::str::from_utf8(line).ok(),
                Line::TooLong => None,
            };
            if let Some(event) = text.and_then(|text| text.parse::<Event>().ok()) {
                self.count(event);
                listen(&event);
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
                removals.add(&event);
                summary.last_removal = summary.last_removal.max(Some(event.time));
                if event.cause == Some(Cause::Damaged) {
                    summary.last_damaged_removal =
                        summary.last_damaged_removal.max(Some(event.time));
                }
            }
        }
    }

    pub(super) fn finish(self) -> Summary {
        let is_known = self.all != HitRate::default();
        Summary {
            all: is_known.then_some(self.all),
            last_24h: is_known.then_some(self.recent),
            ..self.summary
        }
    }
}
