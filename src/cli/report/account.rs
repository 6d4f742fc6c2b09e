//! Why an entry goes or stays, in the words of every report.

use std::time::Duration;

use hls_cache::cache::PinState;
use hls_cache::locks::Holder;
use hls_cache::maintain::{Decision, Kind, Outcome};
use hls_cache::plan::{Cause, Fate, Protection};
use hls_cache::units::age;

use super::human_span;

pub fn of_cause(cause: Cause) -> &'static str {
    match cause {
        Cause::OverBudget => "over budget",
        Cause::OlderThan => "unused for too long",
        Cause::MaxEntries => "too many entries",
        Cause::MinFree => "disk too full",
        Cause::Orphan => "abandoned",
        Cause::Invalidated => "invalidated",
        Cause::Damaged => "damaged",
    }
}

pub fn of_protection(protection: Protection) -> &'static str {
    match protection {
        Protection::Error => "error",
        Protection::Mounted => "something is mounted on or under it",
        Protection::Pinned => "pinned",
        Protection::Open => "open",
        Protection::Writing => "being encoded",
        Protection::Read => "read lately",
        Protection::Recent => "used recently",
        Protection::Changed => "changed during the run",
    }
}

/// The stable name of what became of an entry, as in JSON.
pub fn code(fate: &Fate) -> &'static str {
    match fate {
        Fate::Removed(_) => "removed",
        Fate::Absent => "absent",
        Fate::Failed(_) => "failed",
        Fate::Kept(_) | Fate::Untouched(_) => "kept",
    }
}

/// The same in a run that removes.
pub fn action(outcome: &Outcome, fate: &Fate) -> &'static str {
    match fate {
        Fate::Removed(_) if outcome.dry_run => "would-remove",
        // The user asked for it, and it could not even be found out whether it may go.
        Fate::Kept(Protection::Error) if outcome.kind == Kind::Invalidate => "failed",
        fate => code(fate),
    }
}

/// The stable name of why, as in JSON.
pub fn reason(fate: &Fate) -> Option<&'static str> {
    match fate {
        Fate::Removed(cause) => Some(cause.code()),
        fate => fate.protection().map(Protection::code),
    }
}

/// Why, for people, with who uses it.
pub fn of_decision(outcome: &Outcome, decision: &Decision) -> String {
    match (&decision.fate, decision.fate.protection()) {
        (Fate::Removed(cause), _) => of_cause(*cause).into(),
        (Fate::Absent, _) => "no such entry".into(),
        (_, Some(Protection::Read)) => {
            let read = decision.entry.as_ref().and_then(|entry| entry.last_read);
            read.map_or_else(|| "read just now".into(), |read| read_ago(age(outcome.now, read)))
        }
        (_, Some(protection)) => format!("{}{}", of_protection(protection), users(decision)),
        _ if outcome.gave_up => "kept because --max-size cannot be met".into(),
        _ if outcome.limits.is_some() => "within the limits".into(),
        _ => "not abandoned".into(),
    }
}

/// `read 40s ago`.
pub fn read_ago(age: Duration) -> String {
    format!("read {} ago", human_span(age))
}

/// The known users of an entry that is kept because it is pinned or open, to follow these words.
pub fn users(decision: &Decision) -> String {
    let Some(entry) = &decision.entry else { return String::new() };
    match (decision.fate.protection(), &entry.pin) {
        (Some(Protection::Pinned), PinState::Held(holders)) => by_whom(holders),
        (Some(Protection::Open), _) => {
            let names: Vec<String> = entry.open_in.iter().map(ToString::to_string).collect();
            format!(" in {}", names.join(" and "))
        }
        _ => String::new(),
    }
}

/// ` by mpv[12] and sh[34]`, to follow what is in use; nothing where nobody is known.
pub fn by_whom(holders: &[Holder]) -> String {
    let names: Vec<String> = holders.iter().map(ToString::to_string).collect();
    if names.is_empty() { String::new() } else { format!(" by {}", names.join(" and ")) }
}
