//! What was evicted, and what of it was wanted again.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use super::quantile::quantile;
use crate::cache::Entry;
use crate::cache::events::{Event, EventKind};
use crate::key::Key;

/// Evictions, and those of them that were regretted: whose key was missed later, or turned up again in the log or in
/// the cache, so that somebody transcoded it twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evictions {
    /// Number of evictions.
    pub count: u64,
    /// Number of regretted ones.
    pub regretted: u64,
    /// Bytes of the regretted ones, where the log has them.
    pub regretted_bytes: u64,
    /// Seconds from an eviction to the miss that regretted it: the median. `None` if there was no such miss.
    pub median_delay: Option<u64>,
    /// Seconds that an entry was unused when it was evicted; `None` where no eviction says.
    pub age: Option<EvictedAge>,
}

/// Seconds since the last use, at an eviction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvictedAge {
    /// The shortest.
    pub least: u64,
    /// Half of the evictions were within so many.
    pub median: u64,
}

/// Takes the events of a log, one after the other. Remembers only what was evicted and did not turn up since.
#[derive(Default)]
pub struct EvictionsLog {
    evictions: Evictions,
    gone: HashMap<Key, Gone>,
    delays: Vec<u64>,
    ages: Vec<u64>,
}

struct Gone {
    time: i64,
    bytes: u64,
}

impl EvictionsLog {
    /// Takes the next event of the log.
    pub fn record(&mut self, event: &Event) {
        // Most logs have many requests and few evictions: then nothing is hashed.
        if !self.gone.is_empty()
            && let Slot::Occupied(gone) = self.gone.entry(event.key)
        {
            let gone = gone.remove();
            if event.kind == EventKind::Miss {
                let delay = event.time.saturating_sub(gone.time);
                self.delays.push(u64::try_from(delay).unwrap_or(0));
            }
            self.regret(&gone);
        }
        if event.kind == EventKind::Evict {
            self.evictions.count += 1;
            self.ages.extend(event.age);
            let gone = Gone { time: event.time, bytes: event.bytes.unwrap_or(0) };
            self.gone.insert(event.key, gone);
        }
    }

    fn regret(&mut self, gone: &Gone) {
        let evictions = &mut self.evictions;
        evictions.regretted += 1;
        evictions.regretted_bytes = evictions.regretted_bytes.saturating_add(gone.bytes);
    }

    /// The facts; `entries` are what is there now.
    pub fn finish(mut self, entries: &[Entry]) -> Evictions {
        for entry in entries {
            if let Some(gone) = self.gone.remove(&entry.key) {
                self.regret(&gone);
            }
        }
        let age = quantile(&mut self.ages, 0).zip(quantile(&mut self.ages, 50));
        Evictions {
            median_delay: quantile(&mut self.delays, 50),
            age: age.map(|(least, median)| EvictedAge { least, median }),
            ..self.evictions
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::tests::{entry, events};

    fn evictions(log: &str, there: &[&str]) -> Evictions {
        let mut evictions = EvictionsLog::default();
        for event in events(log) {
            evictions.record(&event);
        }
        let there: Vec<Entry> = there.iter().map(|name| entry(name, 1)).collect();
        evictions.finish(&there)
    }

    #[test]
    fn an_eviction_is_regretted_when_its_key_is_missed_or_is_there_again() {
        let evicted = "100 evict a 10 50 over-budget\n";
        for (after, there, regretted, delay) in [
            ("", &[][..], 0, None),
            ("150 miss a\n", &[], 1, Some(50)),
            ("150 miss b\n", &["b"], 0, None),
            // Nobody logs misses.
            ("150 hit a\n", &[], 1, None),
            ("", &["a"], 1, None),
            ("150 orphan a 3\n", &[], 1, None),
            // Once for each eviction, however often it is missed.
            ("150 miss a\n160 miss a\n", &["a"], 1, Some(50)),
            // A clock that was set back.
            ("50 miss a\n", &[], 1, Some(0)),
        ] {
            let found = evictions(&(evicted.to_owned() + after), there);
            let bytes = 10 * regretted;
            let expected = (1, regretted, bytes, delay);
            let found_ = (found.count, found.regretted, found.regretted_bytes, found.median_delay);
            assert_eq!(found_, expected, "{after:?} {there:?}");
        }
    }

    #[test]
    fn a_key_can_be_evicted_and_regretted_again_and_again() {
        let found = evictions(
            "1 miss a\n10 evict a 5 3\n14 miss a\n20 evict a 6 9\n30 evict a 7 1\n90 miss a\n",
            &[],
        );
        assert_eq!((found.count, found.regretted, found.regretted_bytes), (3, 3, 18));
        assert_eq!(found.median_delay, Some(4));
        assert_eq!(found.age, Some(EvictedAge { least: 1, median: 3 }));
    }

    #[test]
    fn only_evictions_are() {
        let found = evictions("1 invalidate a 5 3\n2 orphan b 5 3\n3 miss a\n4 miss b\n", &["a"]);
        assert_eq!(found, Evictions::default());
        assert_eq!(evictions("1 evict a 5\n", &[]).age, None);
    }

    #[test]
    fn no_number_is_too_large() {
        let most = u64::MAX;
        let log = format!(
            "{} evict a {most} {most}\n{} miss a\n1 evict b {most}\n2 miss b\n",
            i64::MIN,
            i64::MAX
        );
        let found = evictions(&log, &[]);
        assert_eq!((found.regretted, found.regretted_bytes), (2, most));
    }
}
