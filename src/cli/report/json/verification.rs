//! The JSON of `verify`.

use hls_cache::Fault;
use std::borrow::Cow;

use hls_cache::maintain::Verdict;
use hls_cache::verify::Health;
use serde::Serialize;

use super::Source;
use crate::cli::library::Librarian;
use crate::cli::report::{account, verification};

#[derive(Serialize)]
pub struct Verified<'a> {
    checked: u64,
    healthy: u64,
    damaged: u64,
    unsealed: u64,
    removed: u64,
    entries: Vec<Judged<'a>>,
}

#[derive(Serialize)]
struct Judged<'a> {
    key: String,
    source: Option<Source<'a>>,
    status: &'static str,
    faults: Vec<Found<'a>>,
    action: Option<&'static str>,
    reason: Option<&'static str>,
}

#[derive(Serialize)]
struct Found<'a> {
    code: &'static str,
    /// Always UTF-8: it consists of the layout's names and numbers.
    file: Cow<'a, str>,
    detail: &'a str,
}

impl<'a> Verified<'a> {
    pub fn new(report: &'a verification::Verified<'_>) -> Self {
        let verification = &report.verification;
        let (healthy, damaged) = (verification.healthy(), verification.damaged());
        Self {
            checked: healthy + damaged,
            healthy,
            damaged,
            unsealed: verification.unsealed,
            removed: verification.removed(),
            entries: verification
                .verdicts
                .iter()
                .map(|verdict| Judged::new(verdict, report.librarian))
                .collect(),
        }
    }
}

impl<'a> Judged<'a> {
    fn new(verdict: &'a Verdict, librarian: &'a Librarian) -> Self {
        let faults: &[Fault] = match &verdict.health {
            Health::Damaged(faults) => faults,
            _ => &[],
        };
        let found = faults.iter().map(|fault| Found {
            code: fault.code.code(),
            file: fault.file.to_string_lossy(),
            detail: &fault.detail,
        });
        // Only what is damaged needs the library to be read.
        let is_named = verdict.health != Health::Healthy;
        let source = is_named.then(|| librarian.source(verdict.key)).flatten();
        Self {
            key: verdict.key.to_string(),
            source: source.map(Source::from),
            status: verdict.health.code(),
            faults: found.collect(),
            action: verdict.fate.as_ref().map(account::code),
            reason: verdict.fate.as_ref().and_then(account::reason),
        }
    }
}
