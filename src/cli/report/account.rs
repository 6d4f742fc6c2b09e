//! Why an entry goes or stays, in the words of every report.

use hls_cache::cache::PinState;
use hls_cache::locks::Holder;
use hls_cache::maintain::{Decision, Kind, Outcome};
use hls_cache::plan::{Cause, Fate, Protection};

pub fn of_cause(cause: Cause) -> &'static str {
    match cause {
        Cause::OverBudget => "over budget",
        Cause::OlderThan => "not used for long",
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
        Protection::Mounted => "something is mounted in it",
        Protection::Pinned => "in use",
        Protection::Writing => "being encoded",
        Protection::Recent => "used recently",
        Protection::Changed => "changed meanwhile",
    }
}

/// The stable name of what became of an entry, as in JSON.
pub fn code(fate: &Fate) -> &'static str {
    match fate {
        Fate::Removed(_) => "removed",
        Fate::Absent => "absent",
        Fate::Failed(_) | Fate::Denied(_) => "failed",
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

/// Why, for people, with who holds the pin.
pub fn of_decision(outcome: &Outcome, decision: &Decision) -> String {
    let pin = decision.entry.as_ref().map(|entry| &entry.pin);
    match (&decision.fate, decision.fate.protection()) {
        (Fate::Removed(cause), _) => of_cause(*cause).into(),
        (Fate::Absent, _) => "nothing to remove".into(),
        (_, Some(Protection::Pinned)) => match pin {
            Some(PinState::Held(holders)) => {
                format!("{}{}", of_protection(Protection::Pinned), by_whom(holders))
            }
            _ => of_protection(Protection::Pinned).into(),
        },
        (_, Some(protection)) => of_protection(protection).into(),
        _ if outcome.gave_up => "spared, as --max-size cannot be met".into(),
        _ if outcome.limits.is_some() => "within the limits".into(),
        _ => "not abandoned".into(),
    }
}

/// ` by mpv[12] and sh[34]`, to follow what is in use; nothing where nobody is known.
pub fn by_whom(holders: &[Holder]) -> String {
    let names: Vec<String> = holders.iter().map(ToString::to_string).collect();
    if names.is_empty() { String::new() } else { format!(" by {}", names.join(" and ")) }
}
