//! The same requests, through LRU caches of other sizes.
//!
//! A request (a hit or a miss in the log) for what is there is a hit, makes it the most recently used and gives it the
//! size of this request. A request for what is not there inserts it. Then the least recently used go until the bytes
//! fit; what is larger than the whole cache is not kept. An invalidation removes. Evictions and orphans in the log do
//! nothing: they come from the size that the cache had.

use std::collections::HashMap;

use super::quantile::quantile;
use crate::cache::Entry;
use crate::cache::events::{Event, EventKind, HitRate};
use crate::key::Key;

/// How many sizes are replayed: three to a doubling, from an eighth of the budget to four times as much.
pub const SIZES: usize = 16;
/// The place of the budget itself among them.
pub const PRESENT: usize = 9;

/// The sizes that are replayed for a budget, smallest first.
pub(super) fn sizes(budget: u64) -> [u64; SIZES] {
    /// Cube roots of 1, 2 and 4, in thousandths.
    const THIRDS: [u64; 3] = [1000, 1260, 1587];
    std::array::from_fn(|place| {
        let share = u128::from(THIRDS[place % 3] << (place / 3));
        u64::try_from(u128::from(budget) * share / 8000).unwrap_or(u64::MAX)
    })
}

/// What a cache of another size would have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WhatIf {
    /// Its size in bytes.
    pub max_size: u64,
    /// Hits and misses of all requests of the log.
    pub requests: HitRate,
}

/// A request whose size the log does not say.
const UNKNOWN: u64 = u64::MAX;
/// In the place of a size: not a request, but an invalidation.
const INVALIDATION: u64 = u64::MAX - 1;
/// Of an entry, and of a cache: larger ones are not told apart.
const LARGEST: u64 = u64::MAX - 2;
/// In the place of a place: there is none.
const NOWHERE: u32 = u32::MAX;

/// Collects what the replay needs, twelve bytes for each request and about forty for each key: two logs of 64 MiB can
/// have six million of both.
#[derive(Default)]
pub(super) struct Requests {
    keys: HashMap<Key, KeyFacts>,
    /// Which key each step is about; beside it in `bytes`, which size it has.
    steps: Vec<u32>,
    bytes: Vec<u64>,
    hit_ages: Vec<u64>,
}

#[derive(Clone, Copy)]
struct KeyFacts {
    /// In the order of the first event.
    number: u32,
    /// The last that the log says.
    bytes: u64,
    /// When it was last requested.
    used: Option<i64>,
}

impl Requests {
    pub(super) fn record(&mut self, event: &Event) {
        let is_request = matches!(event.kind, EventKind::Hit | EventKind::Miss);
        if !is_request && event.bytes.is_none() && event.kind != EventKind::Invalidate {
            return;
        }
        // Keys and steps are counted in 32 bits: more of them are a log of 90 GB, whose end is left out.
        let Ok(number) = u32::try_from(self.keys.len()) else { return };
        if self.steps.len() >= NOWHERE as usize {
            return;
        }
        let new = KeyFacts { number, bytes: UNKNOWN, used: None };
        let key = self.keys.entry(event.key).or_insert(new);
        let bytes = event.bytes.map(|bytes| bytes.min(LARGEST));
        key.bytes = bytes.unwrap_or(key.bytes);
        if is_request {
            let used = key.used.replace(event.time);
            if let (EventKind::Hit, Some(used)) = (event.kind, used) {
                let age = event.time.saturating_sub(used);
                self.hit_ages.push(u64::try_from(age).unwrap_or(0));
            }
            self.steps.push(key.number);
            self.bytes.push(bytes.unwrap_or(UNKNOWN));
        } else if event.kind == EventKind::Invalidate {
            self.steps.push(key.number);
            self.bytes.push(INVALIDATION);
        }
    }

    /// The log with the sizes filled in, and the ages at its hits, in seconds. A size that a request does not say is
    /// its entry's, else the last that the log says of the key, else the median of these.
    pub(super) fn finish(mut self, entries: &[Entry]) -> (Log, Vec<u64>) {
        for entry in entries {
            if let Some(key) = self.keys.get_mut(&entry.key) {
                key.bytes = entry.bytes.min(LARGEST);
            }
        }
        let mut sizes = vec![UNKNOWN; self.keys.len()];
        // From here on the keys are numbers.
        for key in std::mem::take(&mut self.keys).into_values() {
            sizes[key.number as usize] = key.bytes;
        }
        let mut known: Vec<u64> = sizes.iter().copied().filter(|&size| size != UNKNOWN).collect();
        let median = quantile(&mut known, 50).unwrap_or(0);
        let mut is_guessed = vec![false; sizes.len()];
        let mut guessed_requests = 0;
        for (&key, bytes) in self.steps.iter().zip(&mut self.bytes) {
            let key = key as usize;
            if *bytes == UNKNOWN {
                let size = sizes[key];
                let is_unknown = size == UNKNOWN;
                *bytes = if is_unknown { median } else { size };
                guessed_requests += u64::from(is_unknown);
                is_guessed[key] |= is_unknown;
            }
        }
        let guessed_keys = is_guessed.into_iter().filter(|&guessed| guessed).count() as u64;
        let log = Log {
            key_count: sizes.len(),
            steps: self.steps,
            bytes: self.bytes,
            guessed_keys,
            guessed_requests,
        };
        (log, self.hit_ages)
    }
}

/// The requests and invalidations of a log, ready to be replayed.
pub(super) struct Log {
    key_count: usize,
    steps: Vec<u32>,
    bytes: Vec<u64>,
    /// How many keys have a size that had to be guessed.
    pub(super) guessed_keys: u64,
    /// How many requests are for one of them.
    pub(super) guessed_requests: u64,
}

/// One of the caches that are replayed side by side.
///
/// It needs no list of its entries. A key is requested in all caches at once, so its last request stands at the same
/// place of the log for all of them, and the order of these places is the order of use. What a cache has evicted is all
/// that was last requested before some place: its tail. So the key whose last request stands at `place` is there if
/// `place` is not before the tail, and if its size fits the cache at all.
struct Cache {
    capacity: u64,
    used: u64,
    tail: usize,
    hits: u64,
}

impl Cache {
    /// Whether the request at `place`, for so many bytes, is still there, if it is the last one of its key.
    fn holds(&self, place: usize, bytes: u64) -> bool {
        place >= self.tail && bytes <= self.capacity
    }
}

impl Log {
    /// Replays the log through caches of these sizes, which all start empty, in one pass. Takes time in proportion to
    /// requests × sizes: each tail passes each place once.
    pub(super) fn replay(&self, sizes: &[u64]) -> Vec<WhatIf> {
        // So that an invalidation fits none.
        let new = |&size: &u64| Cache { capacity: size.min(LARGEST), used: 0, tail: 0, hits: 0 };
        let mut caches: Vec<Cache> = sizes.iter().map(new).collect();
        let next = self.next();
        // Where the last request of each key stands, and its size: side by side, because each is fetched from far away.
        let mut last = vec![(NOWHERE, 0); self.key_count];
        let mut requests = 0;
        for (place, (&key, &bytes)) in (0_u32..).zip(self.steps.iter().zip(&self.bytes)) {
            let is_request = bytes != INVALIDATION;
            let this = if is_request { (place, bytes) } else { (NOWHERE, 0) };
            let (before, bytes_before) = std::mem::replace(&mut last[key as usize], this);
            if before != NOWHERE {
                for cache in &mut caches {
                    let is_there = cache.holds(before as usize, bytes_before);
                    cache.hits += u64::from(is_there && is_request);
                    cache.used -= if is_there { bytes_before } else { 0 };
                }
            }
            if !is_request {
                continue;
            }
            requests += 1;
            for cache in &mut caches {
                let Some(room) = cache.capacity.checked_sub(bytes) else { continue };
                while cache.used > room {
                    // Its key was not requested since, nor invalidated.
                    let is_last = next[cache.tail] > place;
                    let size = self.bytes[cache.tail];
                    cache.used -= if is_last && size <= cache.capacity { size } else { 0 };
                    cache.tail += 1;
                }
                cache.used += bytes;
            }
        }
        let done = sizes.iter().zip(caches).map(|(&max_size, Cache { hits, .. })| WhatIf {
            max_size,
            requests: HitRate { hits, misses: requests - hits },
        });
        done.collect()
    }

    /// For each place, where the next step of the same key stands. The tails read it from one end to the other, where
    /// asking each key for its last request would jump about in memory.
    fn next(&self) -> Vec<u32> {
        let mut last = vec![NOWHERE; self.key_count];
        let mut next = vec![NOWHERE; self.steps.len()];
        for (place, &key) in (0_u32..).zip(&self.steps) {
            let before = std::mem::replace(&mut last[key as usize], place);
            if let Some(next) = next.get_mut(before as usize) {
                *next = place;
            }
        }
        next
    }

    /// Bytes of all requested keys, each with the size of its last request: what a cache would need to keep them all.
    pub(super) fn distinct_bytes(&self) -> u64 {
        let mut last = vec![0; self.key_count];
        for (&key, &bytes) in self.steps.iter().zip(&self.bytes) {
            if bytes != INVALIDATION {
                last[key as usize] = bytes;
            }
        }
        last.into_iter().fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::tests::{entry, events, key};
    use proptest::prelude::*;

    /// The rules at the head of this file, word by word, for one cache.
    struct PlainLru {
        capacity: u64,
        /// The least recently used first.
        kept: Vec<(Key, u64)>,
        hits: u64,
    }

    impl PlainLru {
        fn take(&mut self, event: &Event, bytes: u64) {
            let found = self.kept.iter().position(|(key, _)| *key == event.key);
            match event.kind {
                EventKind::Hit | EventKind::Miss => {
                    if let Some(found) = found {
                        self.hits += 1;
                        self.kept.remove(found);
                    }
                    if bytes > self.capacity {
                        return;
                    }
                    self.kept.push((event.key, bytes));
                    let used = |kept: &[(Key, u64)]| -> u128 {
                        kept.iter().map(|&(_, bytes)| u128::from(bytes)).sum()
                    };
                    while used(&self.kept) > u128::from(self.capacity) {
                        self.kept.remove(0);
                    }
                }
                EventKind::Invalidate => {
                    found.map(|found| self.kept.remove(found));
                }
                EventKind::Evict | EventKind::Orphan => {}
            }
        }
    }

    fn log(events: &[Event], entries: &[Entry]) -> Log {
        let mut requests = Requests::default();
        for event in events {
            requests.record(event);
        }
        requests.finish(entries).0
    }

    fn hits(log: &Log, sizes: &[u64]) -> Vec<u64> {
        log.replay(sizes).iter().map(|what_if| what_if.requests.hits).collect()
    }

    /// A log of few keys, most of them requested again and again, some never; each request with a size of its own.
    fn any_log() -> impl Strategy<Value = Vec<Event>> {
        let kind = prop_oneof![
            6 => Just(EventKind::Hit),
            6 => Just(EventKind::Miss),
            1 => Just(EventKind::Evict),
            1 => Just(EventKind::Orphan),
            1 => Just(EventKind::Invalidate),
        ];
        let number = prop_oneof![3 => 0_u64..6, 2 => 0_u64..40, 1 => 1000_u64..2000];
        let bytes = prop_oneof![8 => 0_u64..12, 1 => 0_u64..80, 1 => Just(u64::MAX)];
        let event = (kind, number, bytes, any::<i64>());
        let event = event.prop_map(|(kind, number, bytes, time)| Event {
            bytes: Some(bytes),
            ..Event::new(time, kind, format!("{number:016x}").parse().unwrap())
        });
        proptest::collection::vec(event, 0..300)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn every_size_does_what_a_plain_lru_of_it_does(events in any_log(), budget in 0_u64..120) {
            let mut capacities = sizes(budget).to_vec();
            capacities.extend([0, 1, u64::MAX]);
            let log = log(&events, &[]);
            let replayed = log.replay(&capacities);
            for what_if in replayed {
                // As the log and the sizes are taken: see LARGEST.
                let mut plain = PlainLru { capacity: what_if.max_size.min(LARGEST), kept: Vec::new(), hits: 0 };
                for event in &events {
                    plain.take(event, event.bytes.unwrap().min(LARGEST));
                }
                prop_assert_eq!(what_if.requests.hits, plain.hits, "of {} bytes", what_if.max_size);
            }
        }
    }

    #[test]
    fn sixteen_sizes_go_from_an_eighth_to_four_times_the_budget() {
        let of = sizes(8000);
        assert_eq!((of[0], of[3], of[6]), (1000, 2000, 4000));
        assert_eq!((of[PRESENT], of[12], of[SIZES - 1]), (8000, 16_000, 32_000));
        assert!(of.is_sorted() && of[10] == 10_080 && of[11] == 12_696, "{of:?}");
        assert_eq!(sizes(u64::MAX)[PRESENT..], [u64::MAX; SIZES - PRESENT]);
        assert_eq!(sizes(0), [0; SIZES]);
    }

    #[test]
    fn a_key_that_grows_or_shrinks_keeps_its_place() {
        let events = events("1 miss a 4\n1 miss b 4\n1 hit a 6\n1 hit b 1\n1 hit a 5\n");
        // In 10, a grows to 6 and b shrinks to 1, so both stay. In 9, the growth of a evicts b. In 5 it fits no more.
        assert_eq!(hits(&log(&events, &[]), &[5, 9, 10, 100]), [1, 2, 3, 3]);
    }

    #[test]
    fn what_outgrows_the_cache_leaves_it_alone() {
        let events = events("1 miss a 4\n1 miss b 4\n1 hit a 20\n1 hit b\n1 hit a 4\n");
        assert_eq!(hits(&log(&events, &[]), &[8]), [2]);
    }

    #[test]
    fn a_size_is_the_events_then_the_entrys_then_the_last_one_logged_then_the_median() {
        let events = events("1 hit a 5\n1 hit a\n1 hit b\n1 hit c\n1 evict b 8\n1 evict a 9\n");
        let log = log(&events, &[entry("a", 7)]);
        assert_eq!(log.bytes, [5, 7, 8, 7]);
        assert_eq!((log.guessed_keys, log.guessed_requests), (1, 1));
        assert_eq!(log.distinct_bytes(), 7 + 8 + 7);
    }

    #[test]
    fn ages_at_hits_count_from_the_last_request_of_the_key() {
        let mut requests = Requests::default();
        let log = "10 hit a\n20 miss b\n25 hit b\n26 evict b 9\n30 hit a\n40 miss a\n5 hit b\n";
        for event in events(log) {
            requests.record(&event);
        }
        assert_eq!(requests.finish(&[]).1, [5, 20, 0]);
    }

    #[test]
    fn an_event_that_says_nothing_costs_nothing() {
        let mut requests = Requests::default();
        requests.record(&Event::new(1, EventKind::Evict, key("a")));
        assert!(requests.keys.is_empty() && requests.steps.is_empty());
    }
}
