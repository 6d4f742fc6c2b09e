//! What is in the cache.

use std::cmp::Reverse;
use std::io::{self, Write};
use std::time::SystemTime;

use hls_cache::events::HitRate;
use hls_cache::stats::Stats;
use hls_cache::units::{age, human_size};
use hls_cache::view::{Entry, Pin};
use hls_cache::{Problem, Root};
use serde_json::{Map, Value, json};

use super::{Report, count_entries, human_span, json as js};
use crate::cli::Sort;

/// The cache, the budget it is compared with, and whether its entries are listed.
pub struct StatsReport {
    stats: Stats,
    limit: Option<u64>,
    list: bool,
}

impl StatsReport {
    pub fn new(mut stats: Stats, limit: Option<u64>, sort: Option<Sort>) -> Self {
        match sort {
            None | Some(Sort::Key) => {}
            Some(Sort::Used) => stats.entries.sort_by_key(|entry| (entry.last_used, entry.key)),
            Some(Sort::Size) => {
                stats.entries.sort_by_key(|entry| (Reverse(entry.bytes), entry.key));
            }
        }
        Self { stats, limit, list: sort.is_some() }
    }
}

impl Report for StatsReport {
    fn warnings(&self) -> &[String] {
        &self.stats.warnings
    }

    fn problems(&self) -> &[Problem] {
        &self.stats.problems
    }

    fn has_finding(&self) -> bool {
        false
    }

    fn json(&self, _: bool, _: SystemTime) -> Map<String, Value> {
        let stats = &self.stats;
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| drop(object.insert(name.into(), value));
        put("entries", stats.totals.entries.into());
        put("sealed", stats.sealed.entries.into());
        put("partial", stats.partial.entries.into());
        put("files", stats.files.into());
        put("bytes", stats.totals.bytes.into());
        put("allocated_bytes", stats.totals.allocated_bytes.into());
        put("pinned", js::tally(stats.pinned));
        put("writing", js::tally(stats.writing));
        put("limit_bytes", self.limit.into());
        put("trash", js::tally(stats.trash));
        put("foreign", stats.foreign.into());
        put("oldest_used", js::time(stats.oldest_used()));
        put("newest_used", js::time(stats.newest_used()));
        let all = stats.events.all;
        put("hits", all.map(|rate| rate.hits).into());
        put("misses", all.map(|rate| rate.misses).into());
        put("hit_rate_percent", all.and_then(HitRate::percent).into());
        let recent = stats.events.last_24h;
        put(
            "last_24h",
            json!({
                "hits": recent.map(|rate| rate.hits),
                "misses": recent.map(|rate| rate.misses),
                "hit_rate_percent": recent.and_then(HitRate::percent),
            }),
        );
        put("events_skipped", stats.events.skipped.into());
        if self.list {
            put("list", stats.entries.iter().map(list_item).collect());
        }
        object
    }

    fn human(&self, out: &mut dyn Write, root: &Root, now: SystemTime, _: bool) -> io::Result<()> {
        let stats = &self.stats;
        writeln!(out, "{}", root.path().display())?;
        writeln!(
            out,
            "{} ({})",
            count_entries(stats.totals.entries),
            human_size(stats.totals.bytes)
        )?;
        for entry in stats.entries.iter().filter(|_| self.list) {
            writeln!(
                out,
                "{}  {:7}  {:>10}  {}",
                entry.key,
                entry.state.code(),
                human_size(entry.bytes),
                human_span(age(now, entry.last_used))
            )?;
        }
        Ok(())
    }
}

fn list_item(entry: &Entry) -> Value {
    json!({
        "key": entry.key.to_string(),
        "state": entry.state.code(),
        "bytes": entry.bytes,
        "allocated_bytes": entry.allocated_bytes,
        "files": entry.files,
        "last_used": js::time(Some(entry.last_used)),
        "last_written": js::time(Some(entry.last_written)),
        "pinned": match entry.pin {
            Pin::Free => Some(false),
            Pin::Held(_) => Some(true),
            Pin::Unknown => None,
        },
        "holders": js::holders(entry),
    })
}
