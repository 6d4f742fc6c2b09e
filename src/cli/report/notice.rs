//! What the user should know, and what failed, in sentences.

use std::path::Path;

use hls_cache::cache::CacheNotice;
use hls_cache::locks::ProcessCount;
use hls_cache::maintain::{Decision, Notice, Outcome};
use hls_cache::plan::{A_FILM, EndedEarly, Fate, Protection, Shortage, Unmet};
use hls_cache::units::human_size;
use hls_cache::{Error, Escaped, Reason};
use rustix::io::Errno;

use super::{ErrorLine, account};

/// The sentence for a notice that has the same words in every command.
pub fn sentence(notice: &Notice) -> String {
    match notice {
        Notice::NoMaintenanceLock(error) => {
            format!("continuing without the maintenance lock: {error}")
        }
        Notice::NotLogged(error) => error.to_string(),
        Notice::Cache(notice) => of_cache(notice),
        Notice::UnseenUse(count) => unseen_use(*count, ["removed entry", "removed entries"]),
        Notice::UnseenProcesses(ProcessCount { seen, unreadable }) => format!(
            "{unreadable} of {seen} processes could not be looked at, so open files in them do not \
             protect: run as root with CAP_SYS_PTRACE and the host's processes in sight"
        ),
        Notice::NoEntryOf(source) => format!(
            "{}: no entry of this source at any of --qualities and --tracks",
            Escaped::new(source)
        ),
        Notice::Caller(text) => text.clone(),
        Notice::Unmet(unmet) => {
            format!("{} is not met", account::of_limit(unmet.limit, unmet.bound))
        }
    }
}

/// The sentence for what was found of the cache as a whole.
pub fn of_cache(notice: &CacheNotice) -> String {
    match notice {
        CacheNotice::Mounted(path) => {
            format!("{}: skipped: something is mounted on or under it", Escaped::new(path))
        }
        CacheNotice::FutureTimes(1) => {
            "1 entry has a time in the future and counts as used just now; check the clocks".into()
        }
        CacheNotice::FutureTimes(count) => format!(
            "{count} entries have times in the future and count as used just now; check the clocks"
        ),
        CacheNotice::NoEntries { root, name } => format!(
            "{}: no entries, but other names ({}); check that this is the cache and that its disk is mounted",
            Escaped::new(root),
            Escaped::new(name)
        ),
    }
}

/// The sentence for a notice of a run that removes, with what the run knows about it.
pub fn of_outcome(notice: &Notice, outcome: &Outcome) -> String {
    match notice {
        Notice::UnseenUse(count) if outcome.dry_run => {
            unseen_use(*count, ["entry to remove", "entries to remove"])
        }
        Notice::Unmet(unmet) => unmet_sentence(*unmet, outcome),
        notice => sentence(notice),
    }
}

fn unseen_use(count: u64, [one, many]: [&str; 2]) -> String {
    let hours = A_FILM.as_secs() / 3600;
    let (what, daemon, it) = match count {
        1 => (format!("1 {one} was"), "its", "it"),
        _ => (format!("{count} {many} were"), "their", "them"),
    };
    format!(
        "{what} used in the last {hours}h; {daemon} daemon takes no locks, so someone may be watching \
         {it}. Add --keep-recent or --min-age"
    )
}

/// By how much a limit is still exceeded, and what stands in the way.
fn unmet_sentence(unmet: Unmet, outcome: &Outcome) -> String {
    let (is, remain) =
        if outcome.dry_run { ("would not be", "would remain") } else { ("is not", "remain") };
    let found = account::of_number(unmet.limit, unmet.found);
    let mut text = format!("{} {is} met: {found} ", account::of_limit(unmet.limit, unmet.bound));
    match unmet.shortage {
        Some(shortage) => text += &shortage_figures(shortage),
        None => text += remain,
    }
    text += &in_the_way(outcome);
    if unmet.hopeless {
        text += "; entries in use or being encoded already exceed it, so nothing was evicted \
                 (--best-effort evicts what is possible)";
    }
    text += match unmet.shortage.and_then(|shortage| shortage.ended) {
        Some(EndedEarly::NothingComesBack) => {
            "; stopped because less than half of the evicted space became free: snapshots, \
             reflinks or hard links hold the rest"
        }
        Some(EndedEarly::MinBudget) => {
            "; stopped at --min-budget: files outside the cache fill the disk"
        }
        None => "",
    };
    text
}

fn shortage_figures(shortage: Shortage) -> String {
    let Shortage { needed, freed, evictable, .. } = shortage;
    format!(
        "free; needed {}, freed {}, still evictable {}",
        human_size(needed),
        human_size(freed),
        human_size(evictable)
    )
}

fn in_the_way(outcome: &Outcome) -> String {
    let mut parts = Vec::new();
    for protection in Protection::ALL {
        let kept: Vec<&Decision> = outcome
            .decisions
            .iter()
            .filter(|d| d.fate.is_turn() && d.fate.protection() == Some(protection))
            .collect();
        if !kept.is_empty() {
            parts.push(format!(
                "{} {} ({})",
                kept.len(),
                account::of_protection(protection),
                name_some(&kept)
            ));
        }
    }
    if parts.is_empty() { String::new() } else { format!("; kept: {}", parts.join(", ")) }
}

/// The first few keys, with who holds them.
fn name_some(decisions: &[&Decision]) -> String {
    /// As many as fit a line of a terminal with the rest of the warning.
    const NAMED: usize = 3;
    let mut names: Vec<String> = decisions
        .iter()
        .take(NAMED)
        .map(|decision| format!("{}{}", decision.key, account::users(decision)))
        .collect();
    if decisions.len() > NAMED {
        names.push(format!("{} more", decisions.len() - NAMED));
    }
    names.join(", ")
}

/// What failed for entries, each failure once; that this user may not delete is one line for all, with
/// the remedy.
pub fn failures<'a>(
    root: &Path,
    fates: impl Iterator<Item = &'a Fate>,
    trash: &[Error],
) -> Vec<ErrorLine> {
    let failed = fates.filter_map(|fate| match fate {
        Fate::Failed(error) => Some(error),
        _ => None,
    });
    let (denied, failed): (Vec<&Error>, Vec<&Error>) =
        failed.partition(|error| matches!(error.reason, Reason::Denied { .. }));
    let mut lines: Vec<ErrorLine> = failed.into_iter().map(ErrorLine::from).collect();
    lines.extend(denials(root, denied, ["entry", "entries"]));
    lines.extend(denials(root, trash.iter().collect(), ["leftover", "leftovers"]));
    lines
}

/// `57 entries cannot be deleted (first: …). You are nobody, the cache is root's: …`; a line for each
/// errno, since each has its own remedy.
fn denials(root: &Path, mut denied: Vec<&Error>, what: [&str; 2]) -> Vec<ErrorLine> {
    let mut lines = Vec::new();
    while let Some(first) = denied.first().copied() {
        let (same, others): (Vec<_>, Vec<_>) =
            denied.into_iter().partition(|other| other.raw_os_error() == first.raw_os_error());
        let reason = &first.reason;
        // The root itself is `.`.
        let place = first.path.strip_prefix(root).unwrap_or(&first.path);
        let is_root = place.as_os_str().is_empty();
        let place = Escaped::new(if is_root { Path::new(".") } else { place });
        let count = match same.len() {
            1 => format!("1 {} cannot be deleted ({place}: {reason})", what[0]),
            count => format!("{count} {} cannot be deleted (first: {place}: {reason})", what[1]),
        };
        let message = format!("{count}. {}", remedy(reason));
        lines.push(ErrorLine { path: root.to_owned(), message });
        denied = others;
    }
    lines
}

fn remedy(denied: &Reason) -> String {
    match *denied {
        Reason::Denied { errno: Errno::ACCESS, owner } => {
            let you = user_name(rustix::process::geteuid().as_raw());
            let owner = user_name(owner);
            format!("You are {you}, the cache is {owner}'s: run as root or as the daemon's user")
        }
        Reason::Denied { errno: Errno::ROFS, .. } => {
            "Its disk or snapshot is read-only: remount it, or delete the snapshot".into()
        }
        _ => "It is immutable, append-only or in a sticky directory: see lsattr and ls -ld".into(),
    }
}

/// The name of a user as /etc/passwd has it, else the number.
fn user_name(uid: u32) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("uid {uid}"))
}
