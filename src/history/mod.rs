//! What the event log tells over time: days, what evictions cost, and what another size would do.
//!
//! Here: events, entries and a budget in, facts out; all of it pure. Not here: reading the log or the clock
//! (`cache`, the caller), and sentences (the report): an [`Advice`] is a code with figures.
//! Order is that of the log, which appending keeps whatever the clocks say. Times only sort events into days and
//! measure spans, and a span that would be negative is 0.

mod advice;
mod days;
mod quantile;
mod regret;
mod replay;
#[cfg(test)]
mod tests;

use crate::cache::Entry;
use crate::cache::events::{Event, EventKind, HitRate};

pub use self::advice::{Advice, HitShare, MIN_REQUESTS, Unknown};
pub use self::days::{Calendar, Day};
pub use self::regret::{Evictions, EvictionsLog};
pub use self::replay::{PRESENT, SIZES, WhatIf};

use self::advice::advise;
use self::days::DaysLog;
use self::quantile::quantile;
use self::replay::Requests;

/// What the event log tells.
#[derive(Clone, Debug)]
#[must_use]
pub struct History {
    /// The days of the calendar, oldest first.
    pub days: Vec<Day>,
    /// What was evicted, and what of it was wanted again.
    pub evictions: Evictions,
    /// The time since the last use at a hit, where the log has that use; `None` where it has none.
    pub hit_age: Option<HitAge>,
    /// Hits and misses as the daemon logged them.
    pub logged: HitRate,
    /// The same requests replayed through caches of other sizes, smallest first; that at [`PRESENT`] has the budget.
    /// Empty without a budget.
    pub what_if: Vec<WhatIf>,
    /// How many requested keys have no size in the log and no entry; the median of the other sizes stands for theirs.
    pub guessed_sizes: u64,
    /// What follows for the budget.
    pub advice: Advice,
}

/// Seconds from one request of a key to a hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HitAge {
    /// Half of the hits come within so many seconds.
    pub median: u64,
    /// Nine of ten do.
    pub p90: u64,
}

/// Takes the events of a log, one after the other.
pub struct Recorder {
    days: DaysLog,
    evictions: EvictionsLog,
    logged: HitRate,
    requests: Requests,
}

impl Recorder {
    /// Events are sorted into the days of `calendar`.
    pub fn new(calendar: Calendar) -> Self {
        Self {
            days: DaysLog::new(calendar),
            evictions: EvictionsLog::default(),
            logged: HitRate::default(),
            requests: Requests::default(),
        }
    }

    /// Takes the next event of the log.
    pub fn record(&mut self, event: &Event) {
        match event.kind {
            EventKind::Hit => self.logged.hits += 1,
            EventKind::Miss => self.logged.misses += 1,
            EventKind::Evict | EventKind::Orphan | EventKind::Invalidate => {}
        }
        self.days.record(event);
        self.evictions.record(event);
        self.requests.record(event);
    }

    /// The facts. `entries` are what is there now, and `budget` is the size in bytes that the others are compared with;
    /// 0 is none.
    pub fn finish(self, entries: &[Entry], budget: u64) -> History {
        let evictions = self.evictions.finish(entries);
        let (log, mut hit_ages) = self.requests.finish(entries);
        let what_if = if budget == 0 { Vec::new() } else { log.replay(&replay::sizes(budget)) };
        let hit_age = quantile(&mut hit_ages, 50).zip(quantile(&mut hit_ages, 90));
        History {
            days: self.days.finish(),
            evictions,
            hit_age: hit_age.map(|(median, p90)| HitAge { median, p90 }),
            logged: self.logged,
            advice: advise(self.logged, &log, &what_if),
            what_if,
            guessed_sizes: log.guessed_keys,
        }
    }
}
