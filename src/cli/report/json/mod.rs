//! JSON, schema 2. `packaging/hls-cache.schema.json` is the contract: tests hold the output of every command
//! against it, and a field that it does not describe fails them.
//!
//! Bytes and counts are integers, times RFC 3339 in UTC. A text that is not UTF-8 is lossy, with its exact
//! bytes in hexadecimal digits beside it.

mod history;
mod removal;
mod stats;
mod verification;

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

use hls_cache::cache::{self, PinState, Unit};
use hls_cache::library;
use hls_cache::plan::{self, Protection};
use hls_cache::units::{age, rfc3339};
use hls_cache::{Encode, Key, Root};
use serde::ser::{Serialize, SerializeMap, Serializer};

pub use self::removal::{Removing, lists};
pub use self::stats::Stats;
pub use self::verification::Verified;
use super::{ErrorLine, Report};

/// Raised when a field changes its meaning or goes; not when one is added.
const SCHEMA_VERSION: u32 = 2;

/// What one run prints; `result` is the command's own.
#[derive(serde::Serialize)]
struct Run<'a, R> {
    schema_version: u32,
    command: &'a str,
    #[serde(flatten)]
    root: Text<'a>,
    warnings: Vec<String>,
    errors: Vec<Error<'a>>,
    #[serde(flatten)]
    result: R,
}

impl<'a, R> Run<'a, R> {
    fn new(
        command: &'a str,
        root: &'a Path,
        warnings: Vec<String>,
        errors: &'a [ErrorLine],
        result: R,
    ) -> Self {
        let errors = errors
            .iter()
            .map(|error| Error { path: Text::new("path", &error.path), message: &error.message });
        Self {
            schema_version: SCHEMA_VERSION,
            command,
            root: Text::new("root", root),
            warnings,
            errors: errors.collect(),
            result,
        }
    }
}

#[derive(serde::Serialize)]
struct Error<'a> {
    #[serde(flatten)]
    path: Text<'a>,
    message: &'a str,
}

/// One line of `key`.
#[derive(serde::Serialize)]
pub struct KeyLine<'a> {
    key: String,
    #[serde(flatten)]
    source: Text<'a>,
    #[serde(flatten)]
    quality: Text<'a>,
    audio: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    burn: Option<i64>,
    #[serde(flatten)]
    encode: Option<Text<'a>>,
    #[serde(flatten)]
    dir: Option<Text<'a>>,
}

/// The same of every set of entries.
#[derive(serde::Serialize)]
struct Totals {
    entries: u64,
    bytes: u64,
    allocated_bytes: u64,
}

impl From<plan::Totals> for Totals {
    fn from(plan::Totals { entries, bytes, allocated_bytes }: plan::Totals) -> Self {
        Self { entries, bytes, allocated_bytes }
    }
}

/// The same wherever an entry is shown. Null is what is not known of one that is absent, unreadable or
/// mounted on.
#[derive(serde::Serialize)]
struct Entry<'a> {
    key: String,
    source: Option<Source<'a>>,
    state: Option<&'static str>,
    bytes: Option<u64>,
    allocated_bytes: Option<u64>,
    files: Option<u64>,
    last_used: Option<String>,
    last_written: Option<String>,
    age_seconds: Option<u64>,
    in_use: Option<InUse<'a>>,
}

impl<'a> Entry<'a> {
    /// `uses` are what may show that it is in use: the first that does counts.
    fn new(
        key: Key,
        source: Option<&'a library::Source>,
        entry: Option<&'a cache::Entry>,
        uses: impl IntoIterator<Item = Option<Protection>>,
        now: SystemTime,
    ) -> Self {
        Self {
            key: key.to_string(),
            source: source.map(Source::from),
            state: entry.map(|entry| entry.state.code()),
            bytes: entry.map(|entry| entry.bytes),
            allocated_bytes: entry.map(|entry| entry.allocated_bytes),
            files: entry.map(|entry| entry.files),
            last_used: entry.map(|entry| rfc3339(entry.last_used)),
            last_written: entry.map(|entry| rfc3339(entry.last_written)),
            age_seconds: entry.map(|entry| age(now, entry.last_used).as_secs()),
            in_use: entry.and_then(|entry| InUse::of(entry, uses)),
        }
    }
}

/// What an entry was encoded from; null where no media library names it.
#[derive(serde::Serialize)]
struct Source<'a> {
    #[serde(flatten)]
    path: Text<'a>,
    #[serde(flatten)]
    quality: Text<'a>,
    audio: i64,
    /// Null in a key of three parts.
    burn: Option<i64>,
}

impl<'a> From<&'a library::Source> for Source<'a> {
    fn from(source: &'a library::Source) -> Self {
        Self {
            path: Text::new("path", &source.path),
            quality: Text::new("quality", &source.quality),
            audio: source.audio,
            burn: source.burn,
        }
    }
}

#[derive(serde::Serialize)]
struct InUse<'a> {
    how: &'static str,
    holders: Vec<Holder<'a>>,
}

#[derive(serde::Serialize)]
struct Holder<'a> {
    pid: u32,
    command: &'a str,
}

impl<'a> InUse<'a> {
    fn of(
        entry: &'a cache::Entry,
        uses: impl IntoIterator<Item = Option<Protection>>,
    ) -> Option<Self> {
        let (how, holders) = uses.into_iter().flatten().find_map(|protection| {
            let holders = match (&entry.pin, protection) {
                (PinState::Held(holders), Protection::Pinned) => &**holders,
                (_, Protection::Open) => &*entry.open_in,
                _ => &[],
            };
            match protection {
                Protection::Pinned => Some(("pin", holders)),
                use_of_it if use_of_it.is_use() => Some((protection.code(), holders)),
                _ => None,
            }
        })?;
        let holders =
            holders.iter().map(|holder| Holder { pid: holder.pid, command: &holder.command });
        Some(Self { how, holders: holders.collect() })
    }
}

/// The limits of a sweep; null is none. A field's name says its unit where that is not bytes or a count.
struct Limits(plan::Limits);

impl Serialize for Limits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(limit, number)| {
            let name = limit.name();
            let name = match limit.unit() {
                Unit::Bytes | Unit::Entries => name.to_owned(),
                Unit::Seconds => format!("{name}_seconds"),
                Unit::Percent => format!("{name}_percent"),
            };
            (name, number)
        }))
    }
}

/// A text of whatever bytes, as the fields `{name}` and, if it is not UTF-8, `{name}_hex`.
struct Text<'a> {
    name: &'static str,
    bytes: &'a [u8],
}

impl<'a> Text<'a> {
    fn new(name: &'static str, text: &'a (impl AsRef<OsStr> + ?Sized)) -> Self {
        Self { name, bytes: text.as_ref().as_bytes() }
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_map(None)?;
        fields.serialize_entry(self.name, &String::from_utf8_lossy(self.bytes))?;
        if let Some(hex) = hex_unless_utf8(self.bytes) {
            fields.serialize_entry(&format!("{}_hex", self.name), &hex)?;
        }
        fields.end()
    }
}

/// The bytes, where a text does not say them all.
fn hex_unless_utf8(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).is_err().then(|| hex::encode(bytes))
}

/// Prints the object of a run.
pub fn object(
    out: &mut dyn Write,
    command: &str,
    root: &Root,
    report: &impl Report,
    verbose: bool,
) -> io::Result<()> {
    let errors = report.errors(root.path());
    let result = report.json(verbose);
    line(out, &Run::new(command, root.path(), report.warnings(), &errors, result))
}

/// Prints the object of a run that could not begin.
pub fn failure(
    out: &mut dyn Write,
    command: &str,
    root: &Path,
    error: &ErrorLine,
) -> io::Result<()> {
    /// It has no fields of its own.
    #[derive(serde::Serialize)]
    struct NoResult {}

    let root = std::path::absolute(root).unwrap_or_else(|_| root.to_path_buf());
    let errors = std::slice::from_ref(error);
    line(out, &Run::new(command, &root, Vec::new(), errors, NoResult {}))
}

/// Prints the object of one key.
pub fn key(
    out: &mut dyn Write,
    key: Key,
    source: &[u8],
    quality: &[u8],
    audio: i64,
    encode: Option<Encode<'_>>,
    root: Option<&Path>,
) -> io::Result<()> {
    let key = key.to_string();
    let dir = root.map(|root| root.join(&key));
    let text = |name, bytes| Text { name, bytes };
    let dir = dir.as_ref().map(|dir| Text::new("dir", dir));
    let (source, quality) = (text("source", source), text("quality", quality));
    let burn = encode.map(|encode| encode.burn);
    let encode = encode.map(|encode| text("encode", encode.settings));
    line(out, &KeyLine { key, source, quality, audio, burn, encode, dir })
}

fn line(out: &mut dyn Write, object: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, object)?;
    out.write_all(b"\n")
}
