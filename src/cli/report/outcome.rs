//! The report of `sweep`, `gc-orphans` and `invalidate`.

use std::io::{self, Write};
use std::path::Path;

use hls_cache::Key;
use hls_cache::maintain::{Decision, Kind, Outcome};
use hls_cache::plan::{Cause, Fate, Limit, Protection};
use hls_cache::units::{age, human_size};
use serde::Serialize;

use super::draw::{name_some, wrap};
use super::terminal::{Colour, Terminal};
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
        let Terminal { is_watched, width, .. } = screen.terminal;
        for line in summary(&self.outcome, screen.verbose) {
            // A terminal would break a long line anywhere; a pipe gets it whole.
            let lines = if is_watched { wrap(&line, width) } else { vec![line] };
            lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
        }
        Ok(())
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
        Fate::Removed(_) => (removed, Colour::Removal),
        Fate::Kept(protection) | Fate::Untouched(Some(protection)) if protection.is_use() => {
            (kept, Colour::Use)
        }
        Fate::Kept(_) | Fate::Untouched(_) => (kept, Colour::Plain),
        Fate::Failed(_) => ("failed", Colour::Bold),
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

/// The end of the report, at most three lines: what went; what stays, by reason; what else.
fn summary(outcome: &Outcome, verbose: bool) -> Vec<String> {
    [Some(gone(outcome)), kept(outcome), besides(outcome, verbose)].into_iter().flatten().collect()
}

/// `removed 3 entries (225.39 KiB): 501.06 KiB -> 275.66 KiB of 300 KiB`.
fn gone(outcome: &Outcome) -> String {
    let removed = if outcome.dry_run { "would remove" } else { "removed" };
    let what = match outcome.removed {
        0 => "nothing".into(),
        count => format!("{} ({})", count_entries(count), human_size(outcome.freed_bytes)),
    };
    let (before, after) = (human_size(outcome.before.bytes), human_size(outcome.after.bytes));
    let mut line = match outcome.removed {
        0 => format!("{removed} {what}: {after}"),
        _ => format!("{removed} {what}: {before} -> {after}"),
    };
    if let Some(budget) = outcome.limits.and_then(|limits| limits.get(Limit::MaxSize)) {
        line += &format!(" of {}", human_size(budget));
        if outcome.after.bytes > budget {
            line += &format!(", {} over", human_size(outcome.after.bytes - budget));
        }
    }
    line
}

/// `kept 1 pinned (91.89 KiB), 2 used recently`: all entries in use, and what else stood in the way.
fn kept(outcome: &Outcome) -> Option<String> {
    let in_use = [
        (Protection::Pinned, outcome.pinned),
        (Protection::Open, outcome.open),
        (Protection::Writing, outcome.writing),
        (Protection::Read, outcome.read),
    ];
    let in_use =
        in_use.into_iter().filter(|(_, totals)| totals.entries > 0).map(|(why, totals)| {
            let why = account::of_protection(why);
            format!("{} {why} ({})", totals.entries, human_size(totals.bytes))
        });
    let others =
        [Protection::KeepSource, Protection::Recent, Protection::Changed, Protection::Mounted];
    let others = others.into_iter().filter_map(|why| {
        let is_kept = |decision: &&Decision| decision.fate == Fate::Kept(why);
        let count = outcome.decisions.iter().filter(is_kept).count();
        (count > 0).then(|| format!("{count} {}", account::of_protection(why)))
    });
    let kept: Vec<String> = in_use.chain(others).collect();
    (!kept.is_empty()).then(|| format!("kept {}", kept.join(", ")))
}

fn besides(outcome: &Outcome, verbose: bool) -> Option<String> {
    let mut said = Vec::new();
    if outcome.reaped > 0 {
        let deleted = if outcome.dry_run { "would delete" } else { "deleted" };
        said.push(format!("{deleted} the trash of {}", count_entries(outcome.reaped)));
    }
    if outcome.failed > 0 {
        said.push(format!("could not remove {}", count_entries(outcome.failed)));
    }
    if verbose {
        said.push(measured(outcome.before.entries, outcome.remembered));
    }
    let said = said.join(", ");
    match (outcome.dry_run, said.is_empty()) {
        (true, true) => Some("nothing was changed".into()),
        (true, false) => Some(format!("nothing was changed; {said}")),
        (false, true) => None,
        (false, false) => Some(format!("also {said}")),
    }
}
