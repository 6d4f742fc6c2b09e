//! The line that a finished sweep leaves.

use std::fmt;
use std::str::FromStr;

use super::InvalidEvent;
use crate::cache::{Limit, Limits};

/// A line about a finished sweep: `UNIX_SECONDS sweep NAME=VALUE ...`, with the names of [`Limit`] and of the
/// last four fields here. What is `None` is not in the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepEvent {
    /// When, in seconds since the epoch.
    pub time: i64,
    /// The limits in force.
    pub limits: Limits,
    /// Number of entries removed.
    pub removed: Option<u64>,
    /// Bytes of these.
    pub freed: Option<u64>,
    /// Bytes of the remaining entries.
    pub left: Option<u64>,
    /// How `hls-cache sweep` ended: 0, 1 (something failed) or 3 (a limit is not met).
    pub exit: Option<u64>,
}

/// Where a number of a sweep's result is kept.
type Field = fn(&mut SweepEvent) -> &mut Option<u64>;

impl SweepEvent {
    /// The word in the log.
    const CODE: &str = "sweep";

    const RESULTS: [(&str, Field); 4] = [
        ("removed", |event| &mut event.removed),
        ("freed", |event| &mut event.freed),
        ("left", |event| &mut event.left),
        ("exit", |event| &mut event.exit),
    ];

    /// Every name with its number.
    fn numbers(mut self) -> impl Iterator<Item = (&'static str, Option<u64>)> {
        let results = Self::RESULTS.map(|(name, field)| (name, *field(&mut self)));
        Limit::ALL.map(|limit| (limit.name(), self.limits.get(limit))).into_iter().chain(results)
    }

    /// Sets the number of that name. A later version's name, which this one does not know, is none.
    fn set(&mut self, name: &str, number: &str) -> Result<(), InvalidEvent> {
        let parse = || number.parse().map(Some).map_err(|_| InvalidEvent);
        if let Some(limit) = Limit::ALL.into_iter().find(|limit| limit.name() == name) {
            self.limits.set(limit, parse()?);
        } else if let Some((_, field)) = Self::RESULTS.iter().find(|(known, _)| *known == name) {
            *field(self) = parse()?;
        }
        Ok(())
    }
}

impl fmt::Display for SweepEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.time, Self::CODE)?;
        self.numbers().try_for_each(|(name, number)| match number {
            Some(number) => write!(f, " {name}={number}"),
            None => Ok(()),
        })
    }
}

impl FromStr for SweepEvent {
    type Err = InvalidEvent;

    fn from_str(line: &str) -> Result<Self, InvalidEvent> {
        let mut words = line.split_ascii_whitespace();
        let time = words.next().and_then(|time| time.parse().ok()).ok_or(InvalidEvent)?;
        if words.next() != Some(Self::CODE) {
            return Err(InvalidEvent);
        }
        let mut event = Self { time, ..Self::default() };
        let mut is_empty = true;
        for word in words {
            let (name, number) = word.split_once('=').ok_or(InvalidEvent)?;
            event.set(name, number)?;
            is_empty = false;
        }
        if is_empty { Err(InvalidEvent) } else { Ok(event) }
    }
}
