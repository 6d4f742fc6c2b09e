//! The line that a finished sweep leaves.

use std::fmt;
use std::str::FromStr;

use super::InvalidEvent;

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
pub(super) type Field = fn(&mut SweepEvent) -> &mut Option<u64>;

impl SweepEvent {
    /// The word in the log.
    const CODE: &str = "sweep";

    pub(super) const FIELDS: [(&str, Field); 10] = [
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
