//! What `sweep`, `gc-orphans` and `invalidate` did or would do: one report for the three.

use std::io::{self, Write};
use std::time::SystemTime;

use hls_cache::maintain::{Action, Decision, Outcome};
use hls_cache::plan::Reason;
use hls_cache::units::{age, human_size};
use hls_cache::view::{Entry, Pin};
use hls_cache::{Problem, Root};
use serde_json::{Map, Value, json};

use super::{Report, count_entries, human_span, json as js};

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

    fn json(&self, verbose: bool, now: SystemTime) -> Map<String, Value> {
        let entries =
            self.decisions.iter().filter(|d| verbose || d.considered).map(|d| decision(d, now));
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

    fn human(
        &self,
        out: &mut dyn Write,
        _: &Root,
        now: SystemTime,
        verbose: bool,
    ) -> io::Result<()> {
        for decision in &self.decisions {
            let is_shown = match decision.action {
                Action::Removed | Action::WouldRemove | Action::Absent => true,
                // Reported as an error.
                Action::Failed => false,
                Action::Kept => verbose || (decision.considered && self.is_invalidation),
            };
            if is_shown {
                writeln!(out, "{}", sentence(decision, now))?;
            }
        }
        let verb = if self.dry_run { "would remove" } else { "removed" };
        write!(out, "{verb} {} ({})", count_entries(self.removed), human_size(self.freed_bytes))?;
        let (left, is) = (self.after, if self.dry_run { "would be left" } else { "left" });
        write!(out, "; {} ({}) {is}", count_entries(left.entries), human_size(left.bytes))?;
        if let Some(budget) = self.limits.and_then(|limits| limits.max_size) {
            write!(out, " of {}", human_size(budget))?;
        }
        if self.pinned.entries > 0 {
            write!(out, "; {} in use ({})", self.pinned.entries, human_size(self.pinned.bytes))?;
        }
        if self.writing.entries > 0 {
            write!(
                out,
                "; {} being written ({})",
                self.writing.entries,
                human_size(self.writing.bytes)
            )?;
        }
        if self.reaped > 0 {
            let verb = if self.dry_run { "would be deleted" } else { "deleted" };
            write!(out, "; leftovers of {} {verb}", count_entries(self.reaped))?;
        }
        writeln!(out)
    }
}

fn decision(decision: &Decision, now: SystemTime) -> Value {
    let entry = decision.entry.as_ref();
    let mut object = json!({
        "key": decision.key.to_string(),
        "action": decision.action.code(),
        "reason": decision.reason.map(Reason::code),
        "state": entry.map(|entry| entry.state.code()),
        "bytes": entry.map(|entry| entry.bytes),
        "allocated_bytes": entry.map(|entry| entry.allocated_bytes),
        "last_used": js::time(entry.map(|entry| entry.last_used)),
        "age_seconds": entry.map(|entry| age(now, entry.last_used).as_secs()),
    });
    if decision.reason == Some(Reason::Pinned) {
        object["holders"] = entry.map_or(json!([]), js::holders);
    }
    object
}

/// `9cd7e7a0505d91ac  removed  1.5 GiB, last used 3d 4h ago: over budget`.
fn sentence(decision: &Decision, now: SystemTime) -> String {
    let action = match decision.action {
        Action::Removed => "removed",
        Action::WouldRemove => "would remove",
        Action::Kept => "kept",
        Action::Failed => "failed",
        Action::Absent => return format!("{}  absent: nothing to remove", decision.key),
    };
    let facts = decision.entry.as_ref().map(|entry| {
        format!(
            "  {}, last used {} ago",
            human_size(entry.bytes),
            human_span(age(now, entry.last_used))
        )
    });
    let reason = decision
        .reason
        .map(|reason| format!(": {reason}{}", by_whom(reason, decision.entry.as_ref())));
    format!("{}  {action}{}{}", decision.key, facts.unwrap_or_default(), reason.unwrap_or_default())
}

fn by_whom(reason: Reason, entry: Option<&Entry>) -> String {
    match (reason, entry.map(|entry| &entry.pin)) {
        (Reason::Pinned, Some(Pin::Held(holders))) if !holders.is_empty() => {
            let holders: Vec<String> = holders.iter().map(ToString::to_string).collect();
            format!(" by {}", holders.join(", "))
        }
        _ => String::new(),
    }
}
