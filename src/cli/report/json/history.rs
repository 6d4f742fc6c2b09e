//! What `stats --history` adds.

use hls_cache::cache::events::HitRate;
use hls_cache::history;
use serde::Serialize;

use crate::cli::report::history::advice;

#[derive(Serialize)]
pub struct History {
    days: Vec<Day>,
    regret: Regret,
    evicted_age_seconds: EvictedAge,
    hit_age_seconds: HitAge,
    logged: Logged,
    what_if: Vec<WhatIf>,
    guessed_sizes: u64,
    advice: Advice,
}

#[derive(Serialize)]
struct Day {
    date: String,
    hits: u64,
    misses: u64,
    hit_rate_percent: Option<u64>,
    evictions: u64,
    evicted_bytes: u64,
}

#[derive(Serialize)]
struct Regret {
    evictions: u64,
    regretted: u64,
    bytes: u64,
    median_seconds: Option<u64>,
}

#[derive(Serialize)]
struct EvictedAge {
    least: Option<u64>,
    median: Option<u64>,
}

#[derive(Serialize)]
struct HitAge {
    median: Option<u64>,
    p90: Option<u64>,
}

#[derive(Serialize)]
struct Logged {
    requests: u64,
    hits: u64,
    hit_rate_percent: Option<u64>,
}

#[derive(Serialize)]
struct WhatIf {
    max_size: u64,
    hits: u64,
    hit_rate_percent: Option<u64>,
}

#[derive(Serialize)]
struct Advice {
    code: &'static str,
    max_size: Option<u64>,
    text: String,
}

impl From<&history::History> for History {
    fn from(history: &history::History) -> Self {
        let (evictions, hit_age) = (&history.evictions, history.hit_age);
        let HitRate { hits, misses } = history.logged;
        Self {
            days: history.days.iter().map(Day::from).collect(),
            regret: Regret {
                evictions: evictions.count,
                regretted: evictions.regretted,
                bytes: evictions.regretted_bytes,
                median_seconds: evictions.median_delay,
            },
            evicted_age_seconds: EvictedAge {
                least: evictions.age.map(|age| age.least),
                median: evictions.age.map(|age| age.median),
            },
            hit_age_seconds: HitAge {
                median: hit_age.map(|age| age.median),
                p90: hit_age.map(|age| age.p90),
            },
            logged: Logged {
                requests: hits.saturating_add(misses),
                hits,
                hit_rate_percent: history.logged.percent(),
            },
            what_if: history.what_if.iter().map(WhatIf::from).collect(),
            guessed_sizes: history.guessed_sizes,
            advice: Advice {
                code: history.advice.code(),
                max_size: history.advice.max_size(),
                text: advice(history.advice),
            },
        }
    }
}

impl From<&history::Day> for Day {
    fn from(day: &history::Day) -> Self {
        Self {
            date: day.date.to_string(),
            hits: day.requests.hits,
            misses: day.requests.misses,
            hit_rate_percent: day.requests.percent(),
            evictions: day.evictions.count,
            evicted_bytes: day.evictions.bytes,
        }
    }
}

impl From<&history::WhatIf> for WhatIf {
    fn from(what_if: &history::WhatIf) -> Self {
        Self {
            max_size: what_if.max_size,
            hits: what_if.requests.hits,
            hit_rate_percent: what_if.requests.percent(),
        }
    }
}
