//! What `sweep`, `gc-orphans` and `invalidate` did or would do: one report for the three.

use std::io::{self, Write};

use hls_cache::Problem;
use hls_cache::holders::by_whom;
use hls_cache::maintain::{Action, Decision, Outcome};
use hls_cache::plan::Reason;
use hls_cache::units::{age, human_size};
use hls_cache::view::Pin;
use serde_json::{Map, Value, json};

use super::draw::name_some;
use super::terminal::Colour;
use super::{Report, Screen, count_entries, human_span, json as js};

impl Report for Outcome {
    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn problems(&self) -> &[Problem] {
        &self.problems
    }

    fn has_finding(&self) -> bool {
        // A sweep says what it left by its limits; only `invalidate` was asked for these entries.
        !self.unmet.is_empty() || (self.is_invalidation && self.left_pinned())
    }

    fn finding(&self) -> Option<String> {
        // Limits that are not met are warned of.
        let left: Vec<String> = self
            .decisions
            .iter()
            .filter(|decision| self.is_invalidation && decision.is_left_pinned())
            .map(|decision| decision.key.to_string())
            .collect();
        let count = left.len() as u64;
        (count > 0).then(|| format!("{} left in use: {}", count_entries(count), name_some(&left)))
    }

    fn json(&self, verbose: bool) -> Map<String, Value> {
        let listed = self.decisions.iter().filter(|decision| verbose || decision.considered);
        let entries = listed.map(|decision| object_of(self, decision));
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| drop(object.insert(name.into(), value));
        put("dry_run", self.dry_run.into());
        put("before", js::totals(self.before));
        put("after", js::totals(self.after));
        put("pinned", js::tally(self.pinned));
        put("writing", js::tally(self.writing));
        put("removed", self.removed.into());
        put("freed_bytes", self.freed_bytes.into());
        put("failed", self.failed.into());
        put("entries", entries.collect());
        if let Some(limits) = self.limits {
            put(
                "limits",
                json!({
                    "max_size": limits.max_size,
                    "max_entries": limits.max_entries,
                    "min_free": limits.min_free,
                    "older_than_seconds": limits.older_than.map(|age| age.as_secs()),
                }),
            );
            put("unmet", self.unmet.iter().map(|limit| limit.code()).collect());
            put("target_met", self.unmet.is_empty().into());
        }
        object
    }

    fn human(&self, out: &mut dyn Write, _: &Screen<'_>) -> io::Result<()> {
        writeln!(out, "{}", summary(self))
    }
}

fn object_of(outcome: &Outcome, decision: &Decision) -> Value {
    let entry = decision.entry.as_ref();
    let mut object = json!({
        "key": decision.key.to_string(),
        "action": decision.action.code(),
        "reason": decision.reason.map(Reason::code),
        "state": entry.map(|entry| entry.state.code()),
        "bytes": entry.map(|entry| entry.bytes),
        "allocated_bytes": entry.map(|entry| entry.allocated_bytes),
        "last_used": js::time(entry.map(|entry| entry.last_used)),
        "age_seconds": entry.map(|entry| age(outcome.now, entry.last_used).as_secs()),
    });
    if decision.reason == Some(Reason::Pinned) {
        object["holders"] = entry.map_or(json!([]), js::holders);
    }
    object
}

/// The line of an entry, of those that have one.
pub fn line(outcome: &Outcome, decision: &Decision, screen: &Screen<'_>) -> Option<String> {
    let is_shown = match decision.action {
        Action::Removed | Action::WouldRemove | Action::Absent => true,
        // Reported as an error.
        Action::Failed => false,
        Action::Kept => screen.verbose || (decision.considered && outcome.is_invalidation),
    };
    is_shown.then(|| sentence(outcome, decision, screen))
}

/// What became of an entry, on one line that says all by itself, as a journal needs:
/// `removed 9cd7e7a0505d91ac     1.5 GiB  used 3d 4h ago  over budget`.
fn sentence(outcome: &Outcome, decision: &Decision, screen: &Screen<'_>) -> String {
    let (removed, kept, verb_width) =
        if outcome.dry_run { ("would remove", "would keep", 12) } else { ("removed", "kept", 7) };
    let (verb, colour) = match decision.action {
        Action::Removed | Action::WouldRemove => (removed, Colour::Good),
        Action::Kept => (kept, Colour::Caution),
        Action::Failed => ("failed", Colour::Bad),
        Action::Absent => ("absent", Colour::Dim),
    };
    let mut line = screen.terminal.paint(colour, &format!("{verb:verb_width$}"));
    line += &format!(" {}", decision.key);
    if let Some(entry) = &decision.entry {
        let ago = human_span(age(outcome.now, entry.last_used));
        line += &format!("  {:>11}  {:17}", human_size(entry.bytes), format!("used {ago} ago"));
    }
    let reason = match decision.reason {
        Some(Reason::Pinned) => match decision.entry.as_ref().map(|entry| &entry.pin) {
            Some(Pin::Held(holders)) => format!("{}{}", Reason::Pinned, by_whom(holders)),
            _ => Reason::Pinned.to_string(),
        },
        Some(reason) => reason.to_string(),
        None if decision.action == Action::Absent => "nothing to remove".into(),
        None if outcome.gave_up => "spared, as --max-size cannot be met".into(),
        None if outcome.limits.is_some() => "within the limits".into(),
        None => "not abandoned".into(),
    };
    line + "  " + &reason
}

/// The last line: what went, what is left, of what budget, and what of it cannot go.
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
    if let Some(budget) = outcome.limits.and_then(|limits| limits.max_size) {
        line += &format!(", budget {}", human_size(budget));
        if after.bytes > budget {
            line += &format!(" exceeded by {}", human_size(after.bytes - budget));
        }
    }
    for (what, totals) in [("in use", outcome.pinned), ("being written", outcome.writing)] {
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
