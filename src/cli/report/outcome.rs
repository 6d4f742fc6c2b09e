//! The report of `sweep`, `gc-orphans` and `invalidate`.

use std::io::{self, Write};
use std::path::Path;

use hls_cache::Key;
use hls_cache::maintain::{Decision, Kind, Outcome};
use hls_cache::plan::{Cause, Fate, Limit};
use hls_cache::units::{age, human_size};
use serde::Serialize;

use super::draw::name_some;
use super::terminal::Colour;
use super::{
    ErrorLine, Report, Screen, account, count_entries, human_span, json, measured, notice, title,
};
use crate::cli::library::Librarian;

/// What a run did, and the names of what it did it to.
pub struct Removal<'a> {
    pub outcome: Outcome,
    pub librarian: &'a Librarian,
}

impl Removal<'_> {
    /// Whether JSON lists an entry.
    pub fn lists_any(&self, verbose: bool) -> bool {
        self.outcome.decisions.iter().any(|decision| json::lists(decision, verbose))
    }
}

impl Report for Removal<'_> {
    fn warnings(&self) -> Vec<String> {
        let outcome = &self.outcome;
        let notices = outcome.notices.iter().map(|known| notice::of_outcome(known, outcome));
        notices.chain(self.librarian.warnings()).collect()
    }

    fn errors(&self, root: &Path) -> Vec<ErrorLine> {
        let outcome = &self.outcome;
        let fates = outcome.decisions.iter().map(|decision| &decision.fate);
        let mut errors = notice::failures(root, fates, &outcome.denied_trash);
        errors.extend(outcome.errors.iter().map(ErrorLine::from));
        errors
    }

    fn has_finding(&self) -> bool {
        self.outcome.has_finding()
    }

    fn finding(&self) -> Option<String> {
        // Warnings report limits that are not met.
        let left: Vec<Key> = self.outcome.left_in_use().map(|decision| decision.key).collect();
        let (count, names) = (left.len() as u64, left.iter());
        (count > 0)
            .then(|| format!("{} in use, not removed: {}", count_entries(count), name_some(names)))
    }

    fn json(&self, verbose: bool) -> impl Serialize {
        json::Removing::new(self, verbose)
    }

    fn human(&self, out: &mut dyn Write, screen: &Screen<'_>) -> io::Result<()> {
        let outcome = &self.outcome;
        if screen.verbose {
            writeln!(out, "sizes: {}", measured(outcome.before.entries, outcome.remembered))?;
        }
        writeln!(out, "{}", summary(outcome))
    }
}

/// The line of an entry; `None` if the report does not list it.
pub fn line(
    outcome: &Outcome,
    decision: &Decision,
    screen: &Screen<'_>,
    librarian: &Librarian,
) -> Option<String> {
    let is_shown = match account::action(outcome, &decision.fate) {
        // Reported as an error.
        "failed" => false,
        "kept" => screen.verbose || is_left(outcome, decision),
        _ => true,
    };
    is_shown.then(|| {
        let line = sentence(outcome, decision, screen);
        title::add(line, librarian.source(decision.key), screen.terminal)
    })
}

/// Whether the user asked to remove the entry, and it was kept.
fn is_left(outcome: &Outcome, decision: &Decision) -> bool {
    outcome.kind == Kind::Invalidate && matches!(decision.fate, Fate::Kept(_))
}

/// The result for an entry, on one line that is complete by itself, as a journal needs:
/// `removed 9cd7e7a0505d91ac     1.5 GiB  used 3d 4h ago  --max-size 1 TiB`.
fn sentence(outcome: &Outcome, decision: &Decision, screen: &Screen<'_>) -> String {
    let (removed, kept, verb_width) =
        if outcome.dry_run { ("would remove", "would keep", 12) } else { ("removed", "kept", 7) };
    let (verb, colour) = match &decision.fate {
        Fate::Removed(_) => (removed, Colour::Good),
        Fate::Kept(_) | Fate::Untouched(_) => (kept, Colour::Caution),
        Fate::Failed(_) => ("failed", Colour::Bad),
        Fate::Absent => ("absent", Colour::Dim),
    };
    let mut line = screen.terminal.paint(colour, &format!("{verb:verb_width$}"));
    line += &format!(" {}", decision.key);
    if let Some(entry) = &decision.entry {
        let ago = human_span(age(outcome.now, entry.last_used));
        // For --min-free, the space on disk counts.
        let bytes = match decision.fate {
            Fate::Removed(Cause::MinFree) => entry.allocated_bytes,
            _ => entry.bytes,
        };
        line += &format!("  {:>11}  {:17}", human_size(bytes), format!("used {ago} ago"));
    }
    line + "  " + &account::of_decision(outcome, decision)
}

/// The last line: what was removed and what is left, the budget, and the entries in use.
fn summary(outcome: &Outcome) -> String {
    let (freed, left, deleted) = if outcome.dry_run {
        ("would free", "would leave", "would delete")
    } else {
        ("freed", "left", "deleted")
    };
    let amount = |entries, bytes| format!("{} ({})", human_size(bytes), count_entries(entries));
    let after = outcome.after;
    let mut line = format!(
        "{freed} {}, {left} {}",
        amount(outcome.removed, outcome.freed_bytes),
        amount(after.entries, after.bytes)
    );
    if let Some(budget) = outcome.limits.and_then(|limits| limits.get(Limit::MaxSize)) {
        line += &format!(", budget {}", human_size(budget));
        if after.bytes > budget {
            line += &format!(" exceeded by {}", human_size(after.bytes - budget));
        }
    }
    for (what, totals) in [
        ("pinned", outcome.pinned),
        ("open", outcome.open),
        ("being encoded", outcome.writing),
        ("read lately", outcome.read),
    ] {
        if totals.entries > 0 {
            line += &format!("; {what} {}", amount(totals.entries, totals.bytes));
        }
    }
    if outcome.failed > 0 {
        line += &format!("; failed: {}", count_entries(outcome.failed));
    }
    if outcome.reaped > 0 {
        line += &format!("; {deleted} the trash of {}", count_entries(outcome.reaped));
    }
    line
}
