//! The report of `stats`.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

use hls_cache::Escaped;
use hls_cache::cache::events::HitRate;
use hls_cache::cache::{Entry, PinState};
use hls_cache::history::History;
use hls_cache::locks::{Holder, ProcessCount};
use hls_cache::plan::{Shield, Totals, is_hopeless, is_perhaps_watched};
use hls_cache::root::{Atime, Space};
use hls_cache::stats::Stats;
use hls_cache::units::{age, human_size, instant};
use serde::Serialize;

use super::about::Standings;
use super::check::Check;
use super::draw::{Align, Cell, Table, gauge, list_some};
use super::entry_table;
use super::histogram::Histogram;
use super::next::Next;
use super::terminal::{Colour, Terminal};
use super::{
    ErrorLine, Report, Screen, count_entries, history, human_span, json, measured, notice,
};
use crate::cli::args::Sort;
use crate::cli::library::Librarian;

/// The figures, and the views of them that options request.
pub struct StatsReport<'a> {
    pub stats: Stats,
    pub now: SystemTime,
    /// The budget to compare with, in bytes.
    pub limit: Option<u64>,
    /// Whether to list the entries.
    pub list: bool,
    pub histogram: Option<Histogram>,
    /// What the event log tells over time.
    pub history: Option<History>,
    /// Whether the budget is that of the last sweep, because none was given.
    pub is_limit_of_last_sweep: bool,
    pub librarian: &'a Librarian,
    /// Whether the list has only entries without a name.
    pub only_unnamed: bool,
    /// All about the entries that the user named, instead of the whole cache.
    pub standings: Option<Standings>,
    /// What would help; `None` where the summary is not shown.
    pub next: Option<Next>,
    /// Whether the limits are met, if that is all that is asked for.
    pub check: Option<Check>,
    /// What the user should know besides.
    pub warnings: Vec<String>,
}

impl StatsReport<'_> {
    /// The entries to list, in order.
    pub fn listed(&self) -> impl Iterator<Item = &Entry> {
        let is_listed = |entry: &&Entry| !self.only_unnamed || !self.is_named(entry);
        self.stats.entries.iter().filter(is_listed)
    }

    fn is_named(&self, entry: &Entry) -> bool {
        self.librarian.source(entry.key).is_some()
    }

    pub fn sort(&mut self, order: Sort) {
        let entries = &mut self.stats.entries;
        match order {
            Sort::Key => entries.sort_by_key(|entry| entry.key),
            Sort::Used => entries.sort_by_key(|entry| (entry.last_used, entry.key)),
            Sort::Size => entries.sort_by_key(|entry| (Reverse(entry.bytes), entry.key)),
        }
    }
}

impl Report for StatsReport<'_> {
    fn warnings(&self) -> Vec<String> {
        let notices = self.stats.notices.iter().map(notice::of_cache);
        notices.chain(self.warnings.iter().cloned()).chain(self.librarian.warnings()).collect()
    }

    fn errors(&self, _: &Path) -> Vec<ErrorLine> {
        self.stats.errors.iter().map(ErrorLine::from).collect()
    }

    fn has_finding(&self) -> bool {
        self.check.as_ref().is_some_and(|check| !check.is_met())
    }

    fn finding(&self) -> Option<String> {
        let check = self.check.as_ref().filter(|check| !check.is_met());
        check.map(|check| check.line().to_owned())
    }

    fn json(&self, _: bool) -> impl Serialize {
        json::Stats::new(self)
    }

    /// The summary comes last, so that it is on the screen after a long list.
    fn human(&self, out: &mut dyn Write, screen: &Screen<'_>) -> io::Result<()> {
        let terminal = screen.terminal;
        if let Some(check) = &self.check {
            return writeln!(out, "{}", check.line());
        }
        if let Some(standings) = &self.standings {
            return standings.human(out, terminal, self.librarian, self.now);
        }
        let is_empty = self.stats.entries.is_empty();
        if self.list && !is_empty {
            let listed: Vec<&Entry> = self.listed().collect();
            let lines = entry_table::lines(&listed, self.librarian, self.now, terminal);
            lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
            writeln!(out)?;
        }
        if let Some(histogram) = self.histogram.as_ref().filter(|_| !is_empty) {
            histogram.human(out, terminal)?;
            writeln!(out)?;
        }
        if let Some(history) = &self.history {
            history::human(history, self.limit.is_some(), out, terminal)?;
            writeln!(out)?;
        }
        let root = Escaped::new(screen.root).to_string();
        writeln!(out, "{}", terminal.paint(Colour::Bold, &root))?;
        writeln!(out)?;
        print_facts(out, terminal, self.room(screen))?;
        writeln!(out)?;
        let table = self.summary_table(screen);
        table.lines(terminal).try_for_each(|line| writeln!(out, "{line}"))?;
        writeln!(out)?;
        print_facts(out, terminal, self.facts(screen))?;
        let Some(next) = &self.next else { return Ok(()) };
        writeln!(out)?;
        next.human(out, terminal)
    }
}

impl StatsReport<'_> {
    /// The disk and the budget: whether anything must go.
    fn room(&self, screen: &Screen<'_>) -> Vec<(&'static str, String)> {
        let mut facts = Vec::new();
        if let Some(Space { total, available, .. }) = self.stats.space {
            /// In percent. Above this a file system becomes slow, and is soon full.
            const FULL: u64 = 95;
            let used = total.saturating_sub(available);
            let share = share(screen, used, total, percent(used, total) > FULL);
            facts.push(("disk", format!("{share}, {} free", human_size(available))));
        }
        facts.push(("budget", self.budget(screen)));
        if self.is_stuck() {
            let said = "entries in use alone exceed it: sweep would evict nothing";
            facts.push(("", screen.terminal.paint(Colour::Bold, said)));
        }
        facts
    }

    /// The entries by what can happen to them, and what else there is.
    fn summary_table(&self, screen: &Screen<'_>) -> Table<4> {
        let stats = &self.stats;
        let mut table = Table::new([
            ("", Align::Left),
            ("entries", Align::Right),
            ("size", Align::Right),
            ("", Align::Left),
        ]);
        let room = screen.terminal.width.saturating_sub(NOTE_COLUMN);
        table.row(tally("evictable", Colour::Plain, stats.evictable, self.perhaps_watched()));
        if stats.abandoned.entries > 0 {
            let died = "left by encodes that died";
            table.row(tally("  abandoned", Colour::Plain, stats.abandoned, died));
        }
        let in_use = stats.in_use();
        table.row(tally("in use", Colour::Use, in_use, self.users(room)));
        let lately = "written to within 10m";
        table.row(tally("being encoded", Colour::Use, stats.writing, lately));
        if stats.unknown.entries > 0 {
            table.row(tally("unknown", Colour::Bold, stats.unknown, "see the errors"));
        }
        if stats.unreadable > 0 {
            table.row(count("unreadable", Colour::Bold, stats.unreadable, "see the errors"));
        }
        if stats.mounted > 0 {
            table.row(count("mounted", Colour::Bold, stats.mounted, "see the warnings"));
        }
        let files = if stats.files == 1 { "file" } else { "files" };
        let on_disk = human_size(stats.totals.allocated_bytes);
        let on_disk = format!("{} {files}, {on_disk} on disk", stats.files);
        table.row(tally("all", Colour::Bold, stats.totals, on_disk));
        let frees = "removed already; the next sweep deletes it";
        table.row(tally("trash", Colour::Plain, stats.trash, frees));
        let foreign = stats
            .foreign
            .iter()
            .map(|name| Escaped::new(OsStr::from_bytes(name.to_bytes())).to_string());
        let names = list_some(foreign.collect::<Vec<_>>().iter(), Some(room));
        table.row(count("not the cache's", Colour::Plain, stats.foreign.len() as u64, names));
        table
    }

    /// A note on evictable entries that viewers without locks may be watching.
    fn perhaps_watched(&self) -> String {
        let (shield, now) = (Shield::default(), self.now);
        let unseen = self.stats.entries.iter().filter(|entry| {
            shield.protection(entry, now).is_none() && is_perhaps_watched(entry, now)
        });
        match unseen.count() {
            0 => String::new(),
            count => format!("{count} used in the last 4h, may be watched"),
        }
    }

    /// Who uses entries, and how.
    fn users(&self, room: usize) -> String {
        let Stats { pinned, open, read, .. } = &self.stats;
        let entries = &self.stats.entries;
        let holders = entries.iter().flat_map(|entry| match &entry.pin {
            PinState::Held(holders) => &**holders,
            PinState::Free | PinState::Unknown => &[],
        });
        let openers = entries.iter().flat_map(|entry| &entry.open_in);
        let mut ways = Vec::new();
        for (way, totals, by) in [
            ("pinned", pinned, holders.collect::<BTreeSet<&Holder>>()),
            ("open", open, openers.collect()),
        ] {
            if totals.entries > 0 {
                let room = room.saturating_sub(way.len() + " by ".len());
                let by =
                    (!by.is_empty()).then(|| format!(" by {}", list_some(by.iter(), Some(room))));
                ways.push(format!("{way}{}", by.unwrap_or_default()));
            }
        }
        if read.entries > 0 {
            ways.push(format!("{} read within 10m, as by a viewer or a backup", read.entries));
        }
        ways.join(", ")
    }

    fn facts(&self, screen: &Screen<'_>) -> Vec<(&'static str, String)> {
        let (stats, now) = (&self.stats, self.now);
        let mut facts = Vec::new();
        if let (Some(oldest), Some(newest)) = (stats.oldest_used(), stats.newest_used()) {
            let ago = |then| human_span(age(now, then));
            facts.push((
                "last used",
                format!("newest {} ago, oldest {} ago", ago(newest), ago(oldest)),
            ));
        }
        facts.push(("hit rate", self.hit_rates()));
        facts.push(("last sweep", self.last_sweep(screen)));
        if self.librarian.has_library() {
            let entries = &self.stats.entries;
            let named = entries.iter().filter(|entry| self.is_named(entry)).count();
            facts.push((
                "names",
                format!("{named} of {} have one", count_entries(entries.len() as u64)),
            ));
        }
        facts.extend(self.blind_spots().map(|said| ("unseen", said)));
        match stats.events.skipped {
            0 => {}
            1 => facts.push(("event log", "1 unparsable line skipped".into())),
            lines => facts.push(("event log", format!("{lines} unparsable lines skipped"))),
        }
        if screen.verbose {
            facts.push(("sizes", measured(stats.totals.entries, stats.remembered)));
        }
        facts
    }

    /// The kinds of use that this run cannot see, if any.
    fn blind_spots(&self) -> Option<String> {
        let reads = match self.stats.atime {
            Atime::Relatime | Atime::Strictatime => None,
            Atime::Noatime => Some("reads are not recorded here (noatime or read-only)".to_owned()),
            Atime::Unknown => Some("whether reads are recorded here is not known".to_owned()),
        };
        let ProcessCount { seen, unreadable } = self.stats.processes;
        let open = (unreadable > 0).then(|| {
            format!("open files of {unreadable} of {seen} processes cannot be seen; run as root")
        });
        let said: Vec<String> = reads.into_iter().chain(open).collect();
        (!said.is_empty()).then(|| said.join("; "))
    }

    fn budget(&self, screen: &Screen<'_>) -> String {
        let used = self.stats.totals.bytes;
        let Some(limit) = self.limit else {
            return "not given; add --max-size SIZE to compare with one".into();
        };
        let share = share(screen, used, limit, used > limit);
        if used > limit {
            format!("{share}, {} over", human_size(used - limit))
        } else {
            format!("{share}, {} to spare", human_size(limit - used))
        }
    }

    /// When the last sweep ran, what it freed, and whether it met its limits, as far as its line in the log says.
    fn last_sweep(&self, screen: &Screen<'_>) -> String {
        let Some(sweep) = self.stats.events.last_sweep else { return "none logged".into() };
        let ago = human_span(age(self.now, instant(sweep.time, 0)));
        let mut said = format!("{ago} ago");
        if self.is_limit_of_last_sweep {
            said += " with this budget";
        }
        if let (Some(freed), Some(removed)) = (sweep.freed, sweep.removed) {
            said += &format!(", freed {} ({})", human_size(freed), count_entries(removed));
        }
        let bad = |text| format!(", {}", screen.terminal.paint(Colour::Bold, text));
        match sweep.exit {
            Some(0) => said + ", met its limits",
            Some(3) => said + &bad("did not meet its limits"),
            Some(_) => said + &bad("had errors"),
            None => said,
        }
    }

    /// Whether `sweep` would give up rather than empty the cache for nothing.
    fn is_stuck(&self) -> bool {
        let stuck = self.stats.in_use().bytes.saturating_add(self.stats.writing.bytes);
        self.limit.is_some_and(|limit| self.stats.totals.bytes > limit && is_hopeless(stuck, limit))
    }

    fn hit_rates(&self) -> String {
        let events = &self.stats.events;
        let rate = |rate: Option<HitRate>| {
            let known = rate.and_then(|rate| Some((rate, rate.percent()?)));
            known.map_or("unknown".into(), |(HitRate { hits, misses }, percent)| {
                format!("{percent}% ({hits} of {})", hits.saturating_add(misses))
            })
        };
        if events.all.is_none() {
            return "unknown (no hits or misses logged)".into();
        }
        format!("{} overall, {} in the last 24h", rate(events.all), rate(events.last_24h))
    }
}

fn print_facts(
    out: &mut dyn Write,
    terminal: Terminal,
    facts: Vec<(&str, String)>,
) -> io::Result<()> {
    facts.into_iter().try_for_each(|(name, fact)| {
        writeln!(out, "{}{fact}", terminal.paint(Colour::Dim, &format!("{name:<11}")))
    })
}

/// A bar with its percentage.
fn share(screen: &Screen<'_>, used: u64, whole: u64, is_bad: bool) -> String {
    let colour = if is_bad { Colour::Bold } else { Colour::Plain };
    let bar = gauge(used, whole, GAUGE, screen.terminal.utf8);
    let (bar, percent) = (screen.terminal.paint(colour, &bar), percent(used, whole));
    format!("{bar}  {percent:>3}% of {}", human_size(whole))
}

/// The column where the notes of the widest summary begin; a list of holders gets the rest of the line.
const NOTE_COLUMN: usize = 42;

/// Columns of a bar in the summary: with its numbers it fits 80.
const GAUGE: usize = 24;

fn tally(name: &str, colour: Colour, totals: Totals, note: impl Into<String>) -> [Cell; 4] {
    let mut row = count(name, colour, totals.entries, note);
    let colour = if totals.entries == 0 { Colour::Dim } else { colour };
    row[2] = Cell::painted(colour, human_size(totals.bytes));
    row
}

/// A count of 0 is dimmed and has no note.
fn count(name: &str, colour: Colour, count: u64, note: impl Into<String>) -> [Cell; 4] {
    let (name_colour, colour, note) = match count {
        0 => (Colour::Dim, Colour::Dim, String::new()),
        _ => (Colour::Plain, colour, note.into()),
    };
    [
        Cell::painted(name_colour, name),
        Cell::painted(colour, count.to_string()),
        Cell::default(),
        note.into(),
    ]
}

/// Rounded down, so that only a full one is 100%.
fn percent(part: u64, whole: u64) -> u64 {
    let percent = u128::from(part) * 100 / u128::from(whole.max(1));
    u64::try_from(percent).unwrap_or(u64::MAX)
}
