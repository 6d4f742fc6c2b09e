//! `stats KEY`: all that is known about single entries.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use hls_cache::Key;
use hls_cache::cache::Entry;
use hls_cache::cache::events::Event;
use hls_cache::plan::{Cause, Limit, Limits, Standing};
use hls_cache::units::{age, human_size, instant};

use super::entry_table::describe_use;
use super::terminal::{Colour, Terminal};
use super::{account, human_span, title};
use crate::cli::library::Librarian;

/// What is known about an entry that the user named.
pub struct About {
    pub key: Key,
    /// `None` if it is absent or cannot be read.
    pub entry: Option<Entry>,
    pub is_absent: bool,
    pub standing: Standing,
    /// Events about it, in the order of the log.
    pub log: Vec<Event>,
}

/// What the standings of all of them depend on.
pub struct Standings {
    /// The entries asked for.
    pub about: Vec<About>,
    /// Number of entries that nothing protects.
    pub evictable: u64,
    /// The limits that a sweep would have.
    pub limits: Limits,
}

impl Standings {
    /// A paragraph for each.
    pub fn human(
        &self,
        out: &mut dyn Write,
        terminal: Terminal,
        librarian: &Librarian,
        now: SystemTime,
    ) -> io::Result<()> {
        for (index, about) in self.about.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            let key = terminal.paint(Colour::Bold, &about.key.to_string());
            match librarian.source(about.key) {
                Some(source) => writeln!(out, "{key}  {}", title::describe(source, None))?,
                None => writeln!(out, "{key}")?,
            }
            match &about.entry {
                Some(entry) => self.describe(out, about, entry, now)?,
                None if about.is_absent => writeln!(out, "  absent")?,
                None => writeln!(out, "  cannot be read")?,
            }
            if about.log.is_empty() {
                writeln!(out, "  nothing in the event log")?;
            }
            about.log.iter().try_for_each(|event| writeln!(out, "  {}", line(event, now)))?;
        }
        Ok(())
    }

    fn describe(
        &self,
        out: &mut dyn Write,
        about: &About,
        entry: &Entry,
        now: SystemTime,
    ) -> io::Result<()> {
        let ago = |then| human_span(age(now, then));
        writeln!(
            out,
            "  {}, {} in {} files; used {} ago, written {} ago",
            entry.state.code(),
            human_size(entry.bytes),
            entry.files,
            ago(entry.last_used),
            ago(entry.last_written)
        )?;
        let Standing { rank, protection, cause } = about.standing;
        let rank = rank.map(|rank| format!("{rank} of {} evictable entries", self.evictable));
        match (protection, rank, cause) {
            (Some(protection), ..) => {
                let how = describe_use(entry, now, None);
                let how =
                    if how.is_empty() { account::of_protection(protection).into() } else { how };
                writeln!(out, "  kept: {how}")
            }
            (None, Some(rank), Some(cause)) => {
                writeln!(out, "  next to go, {rank}: {}", account::of_cause(cause, &self.limits))
            }
            (None, Some(rank), None) => {
                let is_limit = |(limit, number): (Limit, Option<u64>)| {
                    number.is_some() && !matches!(limit, Limit::KeepRecent | Limit::LowWater)
                };
                let why = if self.limits.iter().any(is_limit) {
                    "within the limits"
                } else {
                    "no limit is known; add --max-size SIZE or --min-free SIZE"
                };
                writeln!(out, "  number {rank} to go: {why}")
            }
            (None, None, _) => Ok(()),
        }
    }
}

/// `9d 3h ago  evict, 91.89 KiB, 3d 0h after the last use: over-budget`.
fn line(event: &Event, now: SystemTime) -> String {
    let ago = format!("{} ago", human_span(age(now, instant(event.time, 0))));
    let mut line = format!("{ago:>14}  {}", event.kind.code());
    if let Some(bytes) = event.bytes {
        line += &format!(", {}", human_size(bytes));
    }
    if let Some(age) = event.age {
        line += &format!(", {} after the last use", human_span(Duration::from_secs(age)));
    }
    if let Some(cause) = event.cause.map(Cause::code) {
        line += &format!(" ({cause})");
    }
    line
}
