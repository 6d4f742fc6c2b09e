//! The eviction rule, said a second time in a few lines, against the tool on random caches.

use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::common::{Age, Size, TestCache, decisions};

#[derive(Debug, Clone)]
struct Entry {
    name: String,
    bytes: u64,
    age: Duration,
    sealed: bool,
    pinned: bool,
}

#[derive(Debug, Clone)]
struct Policy {
    older_than: Option<Duration>,
    max_entries: Option<usize>,
    max_size: Option<u64>,
    low_water: u64,
    keep_recent: Duration,
    best_effort: bool,
}

impl Policy {
    fn args(&self) -> Vec<String> {
        let mut args = vec!["--json".into(), "sweep".into(), "--min-budget".into(), "0".into()];
        let mut option = |name: &str, value: Option<String>| {
            args.extend(value.into_iter().flat_map(|value| [name.to_owned(), value]));
        };
        option("--older-than", self.older_than.map(|d| format!("{}s", d.as_secs())));
        option("--max-entries", self.max_entries.map(|n| n.to_string()));
        option("--max-size", self.max_size.map(|bytes| bytes.to_string()));
        option("--low-water", self.max_size.map(|_| format!("{}%", self.low_water)));
        option("--keep-recent", Some(format!("{}s", self.keep_recent.as_secs())));
        args.extend(self.best_effort.then(|| "--best-effort".to_owned()));
        args
    }

    /// What is evicted, for which reason, and whether every limit is met.
    fn evictions(&self, entries: &[Entry]) -> (Vec<(String, String)>, bool) {
        let mut left: Vec<&Entry> = entries.iter().collect();
        left.sort_by_key(|entry| (std::cmp::Reverse(entry.age), &entry.name));
        let mut evicted = Vec::new();
        let held = |e: &Entry| e.pinned || (!e.sealed && e.age < 10.minutes());
        let spared = |e: &Entry| held(e) || e.age < self.keep_recent;
        let mut evict = |left: &mut Vec<&Entry>, reason: &str, go: &dyn Fn(&[&Entry]) -> bool| {
            for entry in left.clone() {
                if go(left) && !spared(entry) {
                    left.retain(|other| other.name != entry.name);
                    evicted.push((entry.name.clone(), reason.to_owned()));
                }
            }
        };
        let total = |left: &[&Entry]| left.iter().map(|e| e.bytes).sum::<u64>();
        let mut met = true;

        if let Some(limit) = self.older_than {
            let (old, mut young): (Vec<_>, Vec<_>) = left.into_iter().partition(|e| e.age >= limit);
            left = old;
            evict(&mut left, "older-than", &|_| true);
            left.append(&mut young);
        }
        if let Some(limit) = self.max_entries {
            evict(&mut left, "max-entries", &|left| left.len() > limit);
            met &= left.len() <= limit;
        }
        if let Some(budget) = self.max_size {
            let held: u64 = left.iter().filter(|e| held(e)).map(|e| e.bytes).sum();
            let hopeless = held > 0 && held >= budget && !self.best_effort;
            if total(&left) > budget && !hopeless {
                let line = |left: &[&Entry]| total(left) * 100 > budget * self.low_water;
                evict(&mut left, "over-budget", &line);
            }
            met &= total(&left) <= budget;
        }
        (evicted, met)
    }
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    // Few ages, so that many are equal; none so near a limit that the run's own time matters.
    let age = prop_oneof![
        Just(1.minutes()),
        Just(9.minutes()),
        Just(30.minutes()),
        Just(5.hours()),
        Just(2.days()),
    ];
    let entry = (0..9u64, age, prop::bool::weighted(0.7), prop::bool::weighted(0.2));
    vec(entry, 0..8).prop_map(|entries| {
        let named = entries.into_iter().enumerate();
        named
            .map(|(n, (kib, age, sealed, pinned))| Entry {
                name: format!("e{n}"),
                bytes: kib.kib(),
                age,
                sealed,
                pinned,
            })
            .collect()
    })
}

fn policies() -> impl Strategy<Value = Policy> {
    let age = || prop_oneof![Just(2.minutes()), Just(1.hours()), Just(1.days())];
    (
        option::weighted(0.3, age()),
        option::weighted(0.3, 0..6usize),
        option::weighted(0.8, (0..40u64).prop_map(Size::kib)),
        prop_oneof![Just(100), 1..=100u64],
        prop_oneof![Just(Duration::ZERO), age()],
        any::<bool>(),
    )
        .prop_map(|(older_than, max_entries, max_size, low_water, keep_recent, best_effort)| {
            Policy { older_than, max_entries, max_size, low_water, keep_recent, best_effort }
        })
        .prop_filter("a sweep needs a limit", |policy| {
            policy.older_than.is_some() || policy.max_entries.is_some() || policy.max_size.is_some()
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_tool_evicts_what_the_rule_says(entries in entries(), policy in policies()) {
        let mut cache = TestCache::new();
        for Entry { name, bytes, age, sealed, pinned } in &entries {
            cache = match sealed {
                true => cache.sealed(name, *bytes, *age),
                false => cache.partial(name, *bytes, *age),
            };
            if *pinned {
                cache = cache.pinned(name);
            }
        }
        let (evicted, met) = policy.evictions(&entries);
        let code = if met { 0 } else { 3 };

        let dry = cache.run(policy.args().iter().map(String::as_str).chain(["-n"]));
        let dry = dry.code(code).untouched();
        prop_assert_eq!(&decisions(&dry.json(), "would-remove"), &evicted);
        prop_assert_eq!(&dry.json()["target_met"], met);

        let run = cache.run(policy.args()).code(code);
        prop_assert_eq!(&decisions(&run.json(), "removed"), &evicted);
        run.removed_only(evicted.iter().map(|(name, _)| name.as_str()));
    }
}
