//! What to type next: the command that would help with what `stats` shows, and what it would do.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime};

use hls_cache::Escaped;
use hls_cache::cache::CacheView;
use hls_cache::plan::{
    A_FILM, EndedEarly, Foresight, Limit, MIN_BUDGET, Policy, Sweep, Unmet, foresee,
};
use hls_cache::stats::Stats;
use hls_cache::units::{FreeSpace, Percent, age, exact_size, human_size};

use super::draw::wrap;
use super::terminal::{Colour, Terminal};
use super::{count_entries, exact_span, human_span};

/// A file system with less than this share free is slow, and soon full.
const NEARLY_FULL: FreeSpace = FreeSpace::Millionths(50_000);

/// The advice at the end of `stats`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// To be typed as it is; `None` where there is nothing to type.
    command: Option<String>,
    /// What it would do, or why there is none.
    effect: String,
}

/// What the advice depends on.
pub struct Situation<'a> {
    pub stats: &'a Stats,
    /// What the next sweep would keep to; without a limit if none is known.
    pub sweep: &'a Sweep,
    /// How the user may name the cache in a command; `None` where a variable names it already.
    pub root: Option<&'a OsStr>,
    /// A directory near the root that has entries, where the root has none.
    pub elsewhere: Option<&'a OsStr>,
    pub now: SystemTime,
}

impl Next {
    pub fn of(situation: &Situation<'_>) -> Self {
        let Situation { stats, .. } = situation;
        if stats.entries.is_empty() && stats.trash.entries == 0 {
            return situation.without_entries();
        }
        situation
            .sweep_to_limits()
            .or_else(|| situation.make_room())
            .or_else(|| situation.clear_up())
            .unwrap_or_else(|| situation.nothing_to_do())
    }

    pub fn human(&self, out: &mut dyn Write, terminal: Terminal) -> io::Result<()> {
        let Self { command, effect } = self;
        let mut label = terminal.paint(Colour::Bold, "Next:") + "      ";
        let indent = " ".repeat(INDENT);
        if let Some(command) = command {
            // Whole, to be copied.
            writeln!(out, "{label}{command}")?;
            label.clone_from(&indent);
        }
        for line in wrap(effect, terminal.width.saturating_sub(INDENT)) {
            writeln!(out, "{label}{line}")?;
            label.clone_from(&indent);
        }
        Ok(())
    }
}

/// Columns before the words, as before those of every other fact.
const INDENT: usize = 11;

impl Situation<'_> {
    /// A command of these words on this cache, and what it would do.
    fn advise(&self, words: &[String], effect: String) -> Next {
        let root = self.root.map(|root| format!(" --root {}", quoted(root))).unwrap_or_default();
        let command = format!("hls-cache{root} {}", words.join(" "));
        Next { command: Some(command), effect }
    }

    fn without_entries(&self) -> Next {
        let effect = match (self.elsewhere, self.stats.foreign.len()) {
            (Some(elsewhere), _) => {
                let command = format!("hls-cache --root {} stats", quoted(elsewhere));
                let effect = "there are entries in that directory, and none in this one".into();
                return Next { command: Some(command), effect };
            }
            (None, 0) => "nothing to do: the cache is empty".into(),
            (None, _) => {
                "give --root the directory that holds the entries: directories whose names are 16 \
                 characters of 0-9 and a-f, as 'hls-cache key' prints them"
                    .into()
            }
        };
        Next { command: None, effect }
    }

    fn foresee(&self, sweep: &Sweep) -> Foresight {
        let view = CacheView::of(self.stats.entries.clone());
        let space = self.stats.space.unwrap_or_default();
        foresee(&view, &Policy::Sweep(sweep.clone()), self.now, space)
    }

    /// A sweep to limits that are exceeded.
    fn sweep_to_limits(&self) -> Option<Next> {
        self.sweep_to(self.sweep.clone())
    }

    /// A sweep that makes room on a disk that is nearly full, whatever fills it.
    fn make_room(&self) -> Option<Next> {
        let mut sweep = Sweep::default();
        sweep.min_free = Some(NEARLY_FULL);
        sweep.keep_recent = self.sweep.keep_recent;
        self.sweep_to(sweep)
    }

    fn sweep_to(&self, mut sweep: Sweep) -> Option<Next> {
        if sweep.max_size.is_some_and(|budget| budget < MIN_BUDGET) {
            // Else it would be raised.
            sweep.min_budget = 0;
        }
        let mut foresight = self.foresee(&sweep);
        if foresight.perhaps_watched > 0 && sweep.keep_recent.is_zero() {
            // Nobody should be told to evict what may be watched.
            sweep.keep_recent = A_FILM;
            foresight = self.foresee(&sweep);
        }
        if foresight.removed.entries == 0 && foresight.unmet.is_empty() {
            return None;
        }
        let is_hopeless = foresight.unmet.iter().any(|unmet| unmet.hopeless);
        if is_hopeless && foresight.removed.entries == 0 {
            sweep.best_effort = true;
            let more = self.foresee(&sweep);
            if more.removed.entries > 0 {
                foresight = more;
            }
        }
        let missing = foresight.unmet.first().map(still_missing);
        if foresight.removed.entries == 0 {
            let effect = missing.unwrap_or_default() + &self.what_stays(&foresight.unmet);
            return Some(Next { command: None, effect });
        }
        let entries = count_entries(foresight.removed.entries);
        let is_for_space = sweep.min_free.is_some() && sweep.max_size.is_none();
        let bytes =
            if is_for_space { foresight.removed.allocated_bytes } else { foresight.removed.bytes };
        let mut effect = format!("{entries} ({}) must go", human_size(bytes));
        if let Some(last_used) = foresight.last_used {
            let unused = human_span(age(self.now, last_used));
            let none = if foresight.removed.entries == 1 { "it was not" } else { "none was" };
            effect += &format!("; {none} used in the last {unused}");
        }
        if let Some(missing) = missing {
            effect += &format!("; even then {missing}");
        }
        Some(self.advise(&words(&sweep), effect))
    }

    /// Why nothing more can go.
    fn what_stays(&self, unmet: &[Unmet]) -> String {
        let ended = unmet.iter().find_map(|unmet| unmet.shortage?.ended);
        if ended == Some(EndedEarly::MinBudget) {
            let least = human_size(MIN_BUDGET);
            return format!("; other files fill the disk, and the last {least} of entries stays");
        }
        let in_use = self.stats.in_use().bytes.saturating_add(self.stats.writing.bytes);
        if in_use > 0 {
            format!(", and no entry may go: {} are in use", human_size(in_use))
        } else {
            ", and no entry may go".into()
        }
    }

    /// What encodes and removers that died have left.
    fn clear_up(&self) -> Option<Next> {
        let Stats { abandoned, trash, .. } = self.stats;
        let amount = |entries, bytes| format!("{} ({})", count_entries(entries), human_size(bytes));
        let effect = match (abandoned.entries, trash.entries) {
            (0, 0) => return None,
            (0, left) => format!("frees the trash of {}", amount(left, trash.bytes)),
            (left, 0) => format!("removes {} of dead encodes", amount(left, abandoned.bytes)),
            (left, trashed) => format!(
                "removes {} of dead encodes, and frees the trash of {}",
                amount(left, abandoned.bytes),
                amount(trashed, trash.bytes)
            ),
        };
        Some(self.advise(&["gc-orphans".into()], effect))
    }

    fn nothing_to_do(&self) -> Next {
        if self.sweep.has_limit() {
            let effect = "nothing to do: the limits are met".into();
            return Next { command: None, effect };
        }
        let option = if self.stats.events.all.is_some() { "--history" } else { "--histogram" };
        let effect = "helps to choose a limit: none is known, and nothing needs one yet";
        self.advise(&["stats".into(), option.into()], effect.into())
    }
}

/// By how much a limit would still be exceeded.
fn still_missing(unmet: &Unmet) -> String {
    match unmet.limit {
        Limit::MinFree => {
            let short = unmet.bound.saturating_sub(unmet.found);
            format!("{} are missing to --min-free", human_size(short))
        }
        Limit::MaxEntries => {
            format!("{} too many", count_entries(unmet.found.saturating_sub(unmet.bound)))
        }
        _ => format!("{} are over", human_size(unmet.found.saturating_sub(unmet.bound))),
    }
}

/// The words of a sweep with these limits.
fn words(sweep: &Sweep) -> Vec<String> {
    let mut words = vec!["sweep".to_owned()];
    let mut add = |name: &str, value: Option<String>| {
        words.extend(value.map(|value| format!("{name} {value}")));
    };
    add("--older-than", sweep.older_than.map(exact_span));
    add("--max-entries", sweep.max_entries.map(|count| count.to_string()));
    add("--max-size", sweep.max_size.map(exact_size));
    add("--min-free", sweep.min_free.map(|free| free.to_string()));
    let low_water = Some(sweep.low_water).filter(|share| *share != Percent::ALL);
    add("--low-water", low_water.map(|share| share.get().to_string()));
    let keep_recent = Some(sweep.keep_recent).filter(|age| *age > Duration::ZERO);
    add("--keep-recent", keep_recent.map(exact_span));
    add("--min-budget", (sweep.min_budget == 0).then(|| "0".into()));
    if sweep.best_effort {
        words.push("--best-effort".into());
    }
    words
}

/// A path as a POSIX shell reads it. One with control characters or bytes that are not text is shown escaped: nobody
/// could type it, and a terminal must not get it.
fn quoted(path: &OsStr) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+:@%,=".contains(byte);
    let shown = Escaped::new(path).to_string();
    if !path.is_empty() && path.as_bytes().iter().all(plain) {
        shown
    } else {
        format!("'{}'", shown.replace('\'', r"'\''"))
    }
}
