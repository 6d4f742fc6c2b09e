//! The report of `verify`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use hls_cache::maintain::{Verdict, Verification};
use hls_cache::plan::Fate;
use hls_cache::verify::Health;
use hls_cache::{Escaped, Fault};
use serde::Serialize;

use super::draw::name_some;
use super::{ErrorLine, Report, Screen, account, count_entries, json, notice, title};
use crate::cli::library::Librarian;

/// What a verification found, and the names of the entries.
pub struct Verified<'a> {
    pub verification: Verification,
    pub librarian: &'a Librarian,
}

impl Report for Verified<'_> {
    fn warnings(&self) -> Vec<String> {
        let notices = self.verification.notices.iter().map(notice::sentence);
        notices.chain(self.librarian.warnings()).collect()
    }

    fn errors(&self, root: &Path) -> Vec<ErrorLine> {
        let fates = self.verification.verdicts.iter().filter_map(|verdict| verdict.fate.as_ref());
        let mut errors: Vec<ErrorLine> =
            self.verification.errors.iter().map(ErrorLine::from).collect();
        errors.extend(notice::failures(root, fates, &[]));
        errors
    }

    fn has_finding(&self) -> bool {
        self.verification.has_finding()
    }

    fn finding(&self) -> Option<String> {
        let unhealthy =
            self.verification.verdicts.iter().filter(|verdict| verdict.health != Health::Healthy);
        let unhealthy: Vec<&Verdict> = unhealthy.collect();
        let count = unhealthy.len();
        let what = match (self.verification.damaged(), count as u64) {
            (damaged, unhealthy) if damaged == unhealthy => "damaged",
            _ => "damaged, unsealed or absent",
        };
        let entries = if count == 1 { "entry" } else { "entries" };
        let removed = match self.verification.removed() {
            0 => String::new(),
            removed => format!(" ({removed} removed)"),
        };
        let names = unhealthy.iter().map(|verdict| verdict.key);
        (count > 0).then(|| format!("{count} {what} {entries}{removed}: {}", name_some(names)))
    }

    fn json(&self, _: bool) -> impl Serialize {
        json::Verified::new(self)
    }

    fn human(&self, out: &mut dyn Write, _: &Screen<'_>) -> io::Result<()> {
        let (healthy, damaged) = (self.verification.healthy(), self.verification.damaged());
        write!(
            out,
            "{} verified: {healthy} healthy, {damaged} damaged",
            count_entries(healthy + damaged)
        )?;
        if self.verification.removed() > 0 {
            write!(out, " ({} removed)", self.verification.removed())?;
        }
        if self.verification.unsealed > 0 {
            write!(out, "; {} partial, not verified", self.verification.unsealed)?;
        }
        writeln!(out)?;
        self.list_films(out)
    }
}

impl Verified<'_> {
    /// The films of the damaged entries: daemons will transcode them again.
    fn list_films(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut films: BTreeMap<&Path, Vec<String>> = BTreeMap::new();
        let is_damaged = |verdict: &&Verdict| matches!(verdict.health, Health::Damaged(_));
        // Only what is damaged needs the library to be read.
        for verdict in self.verification.verdicts.iter().filter(is_damaged) {
            if let Some(source) = self.librarian.source(verdict.key) {
                films.entry(source.title()).or_default().push(title::variant(source));
            }
        }
        if !films.is_empty() {
            writeln!(out, "To be transcoded again:")?;
        }
        films.iter().try_for_each(|(film, variants)| {
            writeln!(out, "  {} ({})", Escaped::new(film), variants.join("; "))
        })
    }
}

fn faults(verdict: &Verdict) -> &[Fault] {
    match &verdict.health {
        Health::Damaged(faults) => faults,
        _ => &[],
    }
}

/// The line of an entry; `None` if the report does not list it.
pub fn line(verdict: &Verdict, screen: &Screen<'_>, librarian: &Librarian) -> Option<String> {
    let is_shown = screen.verbose || verdict.health != Health::Healthy;
    is_shown.then(|| title::add(sentence(verdict), librarian.source(verdict.key), screen.terminal))
}

/// One line: the first faults, and the number of the others.
fn sentence(verdict: &Verdict) -> String {
    /// More would hide the next entry; `--json` has them all.
    const SHOWN: usize = 3;
    let faults = faults(verdict);
    let mut line = format!("{}  {}", verdict.key, verdict.health.code());
    for (index, fault) in faults.iter().take(SHOWN).enumerate() {
        let separator = if index == 0 { ": " } else { "; " };
        let (file, detail) = (Escaped::new(&fault.file), Escaped::new(&fault.detail));
        line += &format!("{separator}{file} {detail} ({})", fault.code);
    }
    if faults.len() > SHOWN {
        line += &format!("; and {} more", faults.len() - SHOWN);
    }
    match &verdict.fate {
        None | Some(Fate::Untouched(_)) => {}
        Some(Fate::Removed(_)) => line += " - removed",
        Some(Fate::Absent) => line += " - already gone",
        Some(Fate::Kept(reason)) => {
            line += &format!(" - kept: {}", account::of_protection(*reason));
        }
        Some(Fate::Failed(_)) => line += " - could not be removed",
    }
    line
}
