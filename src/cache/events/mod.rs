//! The event log: one event a line, in one of the forms of [`Event`] and [`SweepEvent`]. A process opens the
//! log for each event and appends it with one write, so that renaming the log loses none.

mod journal;
mod summary;
mod sweep;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use super::{Cause, Entry};
use crate::key::Key;
use crate::units::{age, unix_seconds};

pub(crate) use self::journal::{Journal, LARGE_LOG, append, rotate};
pub use self::summary::{HitRate, Removals, Summary};
pub use self::sweep::SweepEvent;

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
#[allow(missing_docs, reason = "only what the names do not say")]
pub struct Event {
    /// Seconds since the epoch.
    pub time: i64,
    pub kind: EventKind,
    pub key: Key,
    /// The entry's size; `None` if the writer of the line did not know it.
    pub bytes: Option<u64>,
    /// Of a removal: whole seconds since the last use.
    pub age: Option<u64>,
    /// Of a removal: why.
    pub cause: Option<Cause>,
}

impl Event {
    /// An event without the optional fields.
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
        // The fields are positional: each can be written only after the one before.
        let Some(bytes) = self.bytes else { return Ok(()) };
        write!(f, " {bytes}")?;
        let Some(age) = self.age else { return Ok(()) };
        write!(f, " {age}")?;
        self.cause.map_or(Ok(()), |cause| write!(f, " {}", cause.code()))
    }
}

/// A line that is not an event.
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
