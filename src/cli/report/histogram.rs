//! Entries counted by time since the last use and by size, for people and for JSON.

use std::io::{self, Write};
use std::time::SystemTime;

use hls_cache::cache::Entry;
use hls_cache::plan::Totals;
use hls_cache::units::{age, human_size};

use super::draw::{Align, Cell, Table, bar};
use super::terminal::{Colour, Terminal};

const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;

/// Likely values of `--older-than`.
const AGES: [(&str, u64); 8] = [
    ("< 1h", HOUR),
    ("< 6h", 6 * HOUR),
    ("< 1d", DAY),
    ("< 3d", 3 * DAY),
    ("< 7d", 7 * DAY),
    ("< 30d", 30 * DAY),
    ("< 90d", 90 * DAY),
    ("< 1y", 365 * DAY),
];

/// From a failed encode to a long film in 4K.
const SIZES: [(&str, u64); 7] = [
    ("< 1 MiB", 1 << 20),
    ("< 64 MiB", 64 << 20),
    ("< 256 MiB", 256 << 20),
    ("< 1 GiB", 1 << 30),
    ("< 4 GiB", 4 << 30),
    ("< 16 GiB", 16 << 30),
    ("< 64 GiB", 64 << 30),
];

/// The entries by age and by size.
pub struct Histogram {
    pub used: Vec<Bucket>,
    pub sizes: Vec<Bucket>,
}

pub struct Bucket {
    label: &'static str,
    /// Exclusive; the last bucket has no end.
    pub under: Option<u64>,
    pub totals: Totals,
}

impl Histogram {
    pub fn of(entries: &[Entry], now: SystemTime) -> Self {
        Self {
            used: count(entries, &AGES, "older", |entry| age(now, entry.last_used).as_secs()),
            sizes: count(entries, &SIZES, "larger", |entry| entry.bytes),
        }
    }

    pub fn human(&self, out: &mut dyn Write, terminal: Terminal) -> io::Result<()> {
        let by_bytes = |totals: Totals| totals.bytes;
        let by_count = |totals: Totals| totals.entries;
        draw(out, ("last used", "by size"), &self.used, by_bytes, terminal)?;
        writeln!(out)?;
        draw(out, ("entry size", "by number of entries"), &self.sizes, by_count, terminal)
    }
}

/// `limits` ascend; the last bucket, `beyond`, counts entries that reach the last limit.
fn count(
    entries: &[Entry],
    limits: &[(&'static str, u64)],
    beyond: &'static str,
    measure: impl Fn(&Entry) -> u64,
) -> Vec<Bucket> {
    let mut groups: Vec<Vec<&Entry>> = vec![Vec::new(); limits.len() + 1];
    for entry in entries {
        groups[limits.partition_point(|&(_, under)| under <= measure(entry))].push(entry);
    }
    let ends = limits.iter().map(|&(label, under)| (label, Some(under))).chain([(beyond, None)]);
    ends.zip(groups)
        .map(|((label, under), group)| Bucket { label, under, totals: Totals::of(group) })
        .collect()
}

/// What lies between the first and the last bucket with an entry.
fn without_empty_ends(buckets: &[Bucket]) -> &[Bucket] {
    let is_full = |bucket: &Bucket| bucket.totals.entries > 0;
    let first = buckets.iter().position(is_full).unwrap_or(0);
    let end = buckets.iter().rposition(is_full).map_or(0, |last| last + 1);
    &buckets[first.min(end)..end]
}

/// In columns: longer bars are harder to compare with the numbers, not easier.
const WIDEST: usize = 100;

fn draw(
    out: &mut dyn Write,
    (title, heading): (&str, &str),
    buckets: &[Bucket],
    measure: impl Fn(Totals) -> u64,
    terminal: Terminal,
) -> io::Result<()> {
    let mut table = Table::new([
        (title, Align::Left),
        ("entries", Align::Right),
        ("size", Align::Right),
        (heading, Align::Left),
    ]);
    let buckets = without_empty_ends(buckets);
    for Bucket { label, totals, .. } in buckets {
        let colour = if totals.entries == 0 { Colour::Dim } else { Colour::Plain };
        table.row([
            (*label).into(),
            Cell::painted(colour, totals.entries.to_string()),
            Cell::painted(colour, human_size(totals.bytes)),
            Cell::default(),
        ]);
    }
    let most = buckets.iter().map(|bucket| measure(bucket.totals)).max().unwrap_or(0);
    table.fill_last(terminal.width.min(WIDEST), buckets, |bucket, room| {
        bar(measure(bucket.totals), most, room, terminal.utf8).into()
    });
    table.lines(terminal).try_for_each(|line| writeln!(out, "{line}"))
}
