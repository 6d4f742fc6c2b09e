//! JSON: bytes and counts as integers, times as RFC 3339 UTC, text that is not UTF-8 lossy with its
//! exact bytes beside it.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

use hls_cache::cache::{Entry, PinState};
use hls_cache::key::to_hex;
use hls_cache::locks::Holder;
use hls_cache::plan::Totals;
use hls_cache::units::rfc3339;
use hls_cache::{Key, Root};
use serde_json::{Map, Value, json};

use super::{ErrorLine, Report};

/// Raised when a field changes its meaning or goes; not when one is added.
const SCHEMA_VERSION: u32 = 1;

/// One object for one run.
pub fn object(
    out: &mut dyn Write,
    command: &str,
    root: &Root,
    report: &impl Report,
    verbose: bool,
) -> io::Result<()> {
    let mut object =
        envelope(command, root.path(), &report.warnings(), &report.errors(root.path()));
    object.extend(report.json(verbose));
    line(out, &Value::Object(object))
}

/// The object of a run that could not begin.
pub fn failure(
    out: &mut dyn Write,
    command: &str,
    root: &Path,
    error: &ErrorLine,
) -> io::Result<()> {
    let root = std::path::absolute(root).unwrap_or_else(|_| root.to_path_buf());
    line(out, &Value::Object(envelope(command, &root, &[], std::slice::from_ref(error))))
}

/// The object of one key.
pub fn key(
    out: &mut dyn Write,
    key: Key,
    source: &[u8],
    quality: &[u8],
    audio: i64,
    root: Option<&Path>,
) -> io::Result<()> {
    let mut object = Map::new();
    object.insert("key".into(), key.to_string().into());
    text(&mut object, "source", source);
    text(&mut object, "quality", quality);
    object.insert("audio".into(), audio.into());
    if let Some(root) = root {
        text(&mut object, "dir", root.join(key.to_string()).as_os_str().as_bytes());
    }
    line(out, &Value::Object(object))
}

fn envelope(
    command: &str,
    root: &Path,
    warnings: &[String],
    errors: &[ErrorLine],
) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("schema_version".into(), SCHEMA_VERSION.into());
    object.insert("command".into(), command.into());
    text(&mut object, "root", root.as_os_str().as_bytes());
    object.insert("warnings".into(), warnings.into());
    let errors = errors.iter().map(|line| {
        let mut error = Map::new();
        text(&mut error, "path", line.path.as_os_str().as_bytes());
        error.insert("message".into(), line.message.as_str().into());
        Value::Object(error)
    });
    object.insert("errors".into(), errors.collect());
    object
}

fn line(out: &mut dyn Write, value: &Value) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// A text of whatever bytes.
pub fn text(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    object.insert(name.into(), String::from_utf8_lossy(bytes).into());
    if std::str::from_utf8(bytes).is_err() {
        object.insert(format!("{name}_hex"), to_hex(bytes).into());
    }
}

/// An instant, or null.
pub fn time(time: Option<SystemTime>) -> Value {
    time.map(rfc3339).into()
}

/// Entries and both their sizes.
pub fn totals(totals: Totals) -> Value {
    json!({ "entries": totals.entries, "bytes": totals.bytes, "allocated_bytes": totals.allocated_bytes })
}

/// Entries and their bytes.
pub fn tally(totals: Totals) -> Value {
    json!({ "entries": totals.entries, "bytes": totals.bytes })
}

/// The known holders of an entry's pin.
pub fn holders(entry: &Entry) -> Value {
    let holders: &[Holder] = match &entry.pin {
        PinState::Held(holders) => holders,
        PinState::Free | PinState::Unknown => &[],
    };
    holders.iter().map(|holder| json!({ "pid": holder.pid, "command": holder.command })).collect()
}
