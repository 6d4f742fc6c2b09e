//! The JSON of `stats`.

use std::borrow::Cow;
use std::ffi::CString;

use hls_cache::Key;
use hls_cache::cache;
use hls_cache::cache::events::{HitRate, SweepEvent};
use hls_cache::plan::{Cause, Limit, Protection, Shield, Standing};
use hls_cache::root::Space;
use hls_cache::units::{instant, rfc3339};
use serde::Serialize;

use super::history::History;
use super::{Entry, Limits, Totals, hex_unless_utf8};
use crate::cli::report::about::About;
use crate::cli::report::histogram;
use crate::cli::report::stats::StatsReport;

#[derive(Serialize)]
pub struct Stats<'a> {
    total: TotalsAndFiles,
    sealed: Totals,
    partial: Totals,
    evictable: Totals,
    pinned: Totals,
    open: Totals,
    writing: Totals,
    read: Totals,
    abandoned: Totals,
    trash: Totals,
    foreign: Foreign<'a>,
    disk: Option<Disk>,
    limit_bytes: Option<u64>,
    last_sweep: Option<LastSweep>,
    oldest_used: Option<String>,
    newest_used: Option<String>,
    #[serde(flatten)]
    all: Requests,
    last_24h: Requests,
    events_skipped: u64,
    atime: &'static str,
    processes: Processes,
    #[serde(skip_serializing_if = "Option::is_none")]
    histogram: Option<Histogram>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<Vec<Listed<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<History>,
}

#[derive(Serialize)]
struct Listed<'a> {
    #[serde(flatten)]
    entry: Entry<'a>,
    /// Of an entry that the user named.
    #[serde(flatten)]
    about: Option<Known>,
}

/// What is known about an entry besides.
#[derive(Serialize)]
struct Known {
    rank: Option<u64>,
    protected_by: Option<&'static str>,
    would_go_for: Option<&'static str>,
    log: Vec<Logged>,
}

#[derive(Serialize)]
struct Logged {
    time: String,
    event: &'static str,
    bytes: Option<u64>,
    age_seconds: Option<u64>,
    reason: Option<&'static str>,
}

impl From<&About> for Known {
    fn from(about: &About) -> Self {
        let Standing { rank, protection, cause } = about.standing;
        let log = about.log.iter().map(|event| Logged {
            time: rfc3339(instant(event.time, 0)),
            event: event.kind.code(),
            bytes: event.bytes,
            age_seconds: event.age,
            reason: event.cause.map(Cause::code),
        });
        Self {
            rank,
            protected_by: protection.map(Protection::code),
            would_go_for: cause.and_then(Cause::limit).map(Limit::name),
            log: log.collect(),
        }
    }
}

#[derive(Serialize)]
struct Processes {
    seen: u64,
    unreadable: u64,
}

#[derive(Serialize)]
struct TotalsAndFiles {
    #[serde(flatten)]
    totals: Totals,
    files: u64,
}

#[derive(Serialize)]
struct Foreign<'a> {
    count: usize,
    names: Vec<Cow<'a, str>>,
    /// In the order of `names`; null for a UTF-8 name, and absent if all are UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    names_hex: Option<Vec<Option<String>>>,
}

#[derive(Serialize)]
struct Disk {
    total_bytes: u64,
    free_bytes: u64,
}

#[derive(Serialize)]
struct LastSweep {
    time: String,
    limits: Limits,
    removed: Option<u64>,
    freed_bytes: Option<u64>,
    left_bytes: Option<u64>,
    exit: Option<u64>,
}

#[derive(Serialize)]
struct Requests {
    hits: Option<u64>,
    misses: Option<u64>,
    hit_rate_percent: Option<u64>,
}

#[derive(Serialize)]
struct Histogram {
    last_used: Vec<AgeBucket>,
    size: Vec<SizeBucket>,
}

#[derive(Serialize)]
struct AgeBucket {
    under_seconds: Option<u64>,
    #[serde(flatten)]
    totals: Totals,
}

#[derive(Serialize)]
struct SizeBucket {
    under_bytes: Option<u64>,
    #[serde(flatten)]
    totals: Totals,
}

impl<'a> Stats<'a> {
    pub fn new(report: &'a StatsReport<'_>) -> Self {
        let (stats, now) = (&report.stats, report.now);
        let librarian = report.librarian;
        let show = |key: Key, entry: Option<&'a cache::Entry>| {
            let uses = [entry.and_then(|entry| Shield::default().protection(entry, now))];
            Entry::new(key, librarian.source(key), entry, uses, now)
        };
        let listed = || {
            let entries = report.listed().map(|entry| (entry.key, Some(entry)));
            entries.map(|(key, entry)| Listed { entry: show(key, entry), about: None }).collect()
        };
        let about = |about: &'a About| {
            let mut entry = show(about.key, about.entry.as_ref());
            if about.is_absent {
                entry.state = Some("absent");
            }
            Listed { entry, about: Some(about.into()) }
        };
        let entries = match &report.standings {
            Some(standings) => Some(standings.about.iter().map(about).collect()),
            None => report.list.then(listed),
        };
        Self {
            total: TotalsAndFiles { totals: stats.totals.into(), files: stats.files },
            sealed: stats.sealed.into(),
            partial: stats.partial.into(),
            evictable: stats.evictable.into(),
            pinned: stats.pinned.into(),
            open: stats.open.into(),
            writing: stats.writing.into(),
            read: stats.read.into(),
            abandoned: stats.abandoned.into(),
            trash: stats.trash.into(),
            foreign: Foreign::new(&stats.foreign),
            disk: stats.space.map(|Space { total, available, .. }| Disk {
                total_bytes: total,
                free_bytes: available,
            }),
            limit_bytes: report.limit,
            last_sweep: stats.events.last_sweep.map(LastSweep::from),
            oldest_used: stats.oldest_used().map(rfc3339),
            newest_used: stats.newest_used().map(rfc3339),
            all: stats.events.all.into(),
            last_24h: stats.events.last_24h.into(),
            events_skipped: stats.events.skipped,
            atime: stats.atime.code(),
            processes: Processes {
                seen: stats.processes.seen,
                unreadable: stats.processes.unreadable,
            },
            histogram: report.histogram.as_ref().map(Histogram::from),
            entries,
            history: report.history.as_ref().map(History::from),
        }
    }
}

impl<'a> Foreign<'a> {
    fn new(foreign: &'a [CString]) -> Self {
        /// Enough to recognize them; a root that is not a cache may have a million.
        const NAMED: usize = 10;
        let named = || foreign.iter().take(NAMED).map(|name| name.to_bytes());
        let hex: Vec<Option<String>> = named().map(hex_unless_utf8).collect();
        Self {
            count: foreign.len(),
            names: named().map(String::from_utf8_lossy).collect(),
            names_hex: hex.iter().any(Option::is_some).then_some(hex),
        }
    }
}

impl From<SweepEvent> for LastSweep {
    fn from(event: SweepEvent) -> Self {
        Self {
            time: rfc3339(instant(event.time, 0)),
            limits: Limits(event.limits),
            removed: event.removed,
            freed_bytes: event.freed,
            left_bytes: event.left,
            exit: event.exit,
        }
    }
}

impl From<Option<HitRate>> for Requests {
    fn from(rate: Option<HitRate>) -> Self {
        Self {
            hits: rate.map(|rate| rate.hits),
            misses: rate.map(|rate| rate.misses),
            hit_rate_percent: rate.and_then(HitRate::percent),
        }
    }
}

impl From<&histogram::Histogram> for Histogram {
    fn from(histogram: &histogram::Histogram) -> Self {
        let by_age = histogram
            .used
            .iter()
            .map(|bucket| AgeBucket { under_seconds: bucket.under, totals: bucket.totals.into() });
        let by_size = histogram
            .sizes
            .iter()
            .map(|bucket| SizeBucket { under_bytes: bucket.under, totals: bucket.totals.into() });
        Self { last_used: by_age.collect(), size: by_size.collect() }
    }
}
