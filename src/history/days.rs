//! Events sorted into days of local time.

use std::time::SystemTime;

use jiff::Span;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::cache::events::{Event, EventKind, HitRate, Removals};
use crate::units::timestamp;

/// The last days of local time, and when each begins.
#[derive(Clone, Debug)]
pub struct Calendar {
    /// Date and first second since the epoch, oldest first.
    days: Vec<(Date, i64)>,
    /// When the last one ends.
    ends: i64,
}

impl Calendar {
    /// Two weeks, so that every day of the week can be compared with the one before.
    pub const DAYS: i64 = 14;

    /// The [`Calendar::DAYS`] days that end with the one of `now` in `zone`. A day is as long as the zone's clock makes
    /// it: where summer time begins, 23 hours.
    pub fn ending(now: SystemTime, zone: &TimeZone) -> Self {
        let today = timestamp(now).to_zoned(zone.clone()).date();
        let begins = |date: Date| {
            let midnight = date.to_zoned(zone.clone());
            midnight.map_or(i64::MAX, |midnight| midnight.timestamp().as_second())
        };
        // At the edges of the calendar there are fewer.
        let days = (0..Self::DAYS).rev().filter_map(|back| {
            let date = today.checked_sub(Span::new().days(back)).ok()?;
            Some((date, begins(date)))
        });
        let days = days.collect();
        Self { days, ends: today.tomorrow().map_or(i64::MAX, begins) }
    }

    /// The place of the day in which `time`, in seconds since the epoch, lies.
    fn place(&self, time: i64) -> Option<usize> {
        let begun = self.days.partition_point(|&(_, begins)| begins <= time);
        begun.checked_sub(1).filter(|_| time < self.ends)
    }
}

/// A day of local time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day {
    /// Which.
    pub date: Date,
    /// Hits and misses.
    pub requests: HitRate,
    /// What `sweep` evicted.
    pub evictions: Removals,
}

pub(super) struct DaysLog {
    calendar: Calendar,
    days: Vec<Day>,
}

impl DaysLog {
    pub(super) fn new(calendar: Calendar) -> Self {
        let day = |&(date, _): &(Date, i64)| Day {
            date,
            requests: HitRate::default(),
            evictions: Removals::default(),
        };
        Self { days: calendar.days.iter().map(day).collect(), calendar }
    }

    pub(super) fn record(&mut self, event: &Event) {
        let Some(place) = self.calendar.place(event.time) else { return };
        let day = &mut self.days[place];
        match event.kind {
            EventKind::Hit => day.requests.hits += 1,
            EventKind::Miss => day.requests.misses += 1,
            EventKind::Evict => day.evictions.add(event),
            EventKind::Orphan | EventKind::Invalidate => {}
        }
    }

    pub(super) fn finish(self) -> Vec<Day> {
        self.days
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{instant, unix_seconds};
    use jiff::Timestamp;

    /// Needs no time zone database.
    fn zone(rule: &str) -> TimeZone {
        TimeZone::posix(rule).unwrap()
    }

    const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

    fn at(time: &str) -> i64 {
        time.parse::<Timestamp>().unwrap().as_second()
    }

    fn date_of(calendar: &Calendar, time: &str) -> Option<String> {
        Some(calendar.days[calendar.place(at(time))?].0.to_string())
    }

    #[test]
    fn a_day_begins_and_ends_at_local_midnight_also_when_the_clock_changes() {
        let spring = Calendar::ending(instant(at("2026-03-31T10:00:00Z"), 0), &zone(BERLIN));
        for (time, date) in [
            ("2026-03-28T22:59:59Z", "2026-03-28"),
            ("2026-03-28T23:00:00Z", "2026-03-29"),
            // 23 hours later.
            ("2026-03-29T21:59:59Z", "2026-03-29"),
            ("2026-03-29T22:00:00Z", "2026-03-30"),
            ("2026-03-31T21:59:59Z", "2026-03-31"),
        ] {
            assert_eq!(date_of(&spring, time).as_deref(), Some(date), "{time}");
        }
        assert_eq!(date_of(&spring, "2026-03-31T22:00:00Z"), None, "tomorrow");
        assert_eq!(date_of(&spring, "2026-03-17T23:00:00Z").as_deref(), Some("2026-03-18"));
        assert_eq!(date_of(&spring, "2026-03-17T22:59:59Z"), None, "too long ago");
        let autumn = Calendar::ending(instant(at("2026-10-26T10:00:00Z"), 0), &zone(BERLIN));
        for (time, date) in [
            ("2026-10-24T21:59:59Z", "2026-10-24"),
            ("2026-10-24T22:00:00Z", "2026-10-25"),
            // 25 hours later.
            ("2026-10-25T22:59:59Z", "2026-10-25"),
            ("2026-10-25T23:00:00Z", "2026-10-26"),
        ] {
            assert_eq!(date_of(&autumn, time).as_deref(), Some(date), "{time}");
        }
    }

    #[test]
    fn there_are_fourteen_days_wherever_one_is() {
        for rule in ["UTC0", BERLIN, "XXX-14", "XXX12", "<-03>3"] {
            let calendar = Calendar::ending(instant(at("2026-01-05T00:30:00Z"), 0), &zone(rule));
            assert_eq!(calendar.days.len(), 14, "{rule}");
            assert!(calendar.days.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1), "{rule}");
        }
    }

    #[test]
    fn no_time_is_too_strange() {
        for now in [i64::MIN, -1, 0, i64::MAX, 253_402_300_799, -377_705_116_800] {
            let now = instant(now, 0);
            let mut log = DaysLog::new(Calendar::ending(now, &zone(BERLIN)));
            for time in [i64::MIN, -1, 0, unix_seconds(now), i64::MAX] {
                let key = "0123456789abcdef".parse().unwrap();
                log.record(&Event::new(time, EventKind::Hit, key));
            }
            assert!(log.finish().len() <= 14);
        }
    }
}
