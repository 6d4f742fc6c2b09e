//! Why an entry goes or stays, in the words of every report.

use std::time::Duration;

use hls_cache::cache::{PinState, Unit};
use hls_cache::locks::Holder;
use hls_cache::maintain::{Decision, Kind, Outcome};
use hls_cache::plan::{Cause, Fate, Limit, Limits, Protection};
use hls_cache::units::{age, human_size};

use super::{exact_span, human_span};

/// Why the entry goes; for a limit, the rule as the user gave it.
pub fn of_cause(cause: Cause, limits: &Limits) -> String {
    match (cause, cause.limit()) {
        (_, Some(limit)) => of_limit(limit, limits.get(limit).unwrap_or_default()),
        (Cause::Orphan, _) => "abandoned".into(),
        (Cause::Damaged, _) => "damaged".into(),
        (_, None) => "invalidated".into(),
    }
}

/// `--max-size 300 GiB`, and `unused for 5d` for the limit that each entry exceeds by itself.
pub fn of_limit(limit: Limit, number: u64) -> String {
    let value = of_number(limit, number);
    match limit {
        Limit::OlderThan => format!("unused for {value}"),
        _ => format!("--{} {value}", limit.name().replace('_', "-")),
    }
}

/// The number of a limit, in its unit.
pub fn of_number(limit: Limit, number: u64) -> String {
    match limit.unit() {
        Unit::Bytes => human_size(number),
        Unit::Entries => number.to_string(),
        Unit::Seconds => exact_span(Duration::from_secs(number)),
        Unit::Percent => format!("{number}%"),
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
        Protection::KeepSource => "kept by --keep-source",
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
        (Fate::Removed(cause), _) => of_cause(*cause, &outcome.limits.unwrap_or_default()),
        (Fate::Absent, _) => "no such entry".into(),
        (_, Some(Protection::Read)) => {
            let read = decision.entry.as_ref().and_then(|entry| entry.last_read);
            read.map_or_else(|| "read just now".into(), |read| read_ago(age(outcome.now, read)))
        }
        (_, Some(protection)) => format!("{}{}", of_protection(protection), users(decision)),
        _ if outcome.unmet.iter().any(|unmet| unmet.hopeless) => {
            "kept because --max-size cannot be met".into()
        }
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
