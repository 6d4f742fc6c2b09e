//! `invalidate`: remove the entries that the user names.

use std::io;

use hls_cache::cache;
use hls_cache::maintain::{Notice, Options};
use hls_cache::plan::{Policy, Which};
use hls_cache::{Error, Key, Operation};

use super::{Context, maintain};
use crate::cli::args::InvalidateArgs;
use crate::cli::exit::{Exit, UsageError};
use crate::cli::library::Librarian;

pub fn run(context: &Context<'_>, args: InvalidateArgs) -> anyhow::Result<Exit> {
    let mut keys = if args.stdin { read_keys(io::stdin().lock())? } else { args.key };
    let root = context.open_root()?;
    let mut known = keys.clone();
    if !args.source.is_empty() {
        known.extend(cache::entry_keys(&root)?);
    }
    let mut librarian = Librarian::new(&root, &args.names, known, context.now)?;
    let mut notices = Vec::new();
    for source in &args.source {
        let of_source = librarian.find(source)?;
        if of_source.is_empty() {
            notices.push(Notice::NoEntryOf(source.into()));
        }
        keys.extend(of_source);
    }
    let which = if args.all { Which::All } else { Which::Keys(keys) };
    let policy = Policy::invalidate(which, args.force);
    let options = Options { dry_run: args.dry_run, ..Options::default() };
    maintain(context, &root, &librarian, &policy, options, notices)
}

/// Parses all keys before anything is removed: if any is not a valid key, nothing is removed.
fn read_keys(input: impl io::BufRead) -> anyhow::Result<Vec<Key>> {
    let mut keys = Vec::new();
    for line in input.split(b'\n') {
        let line = line.map_err(|e| Error::new(Operation::Read, "standard input", e))?;
        let text = line.trim_ascii();
        if text.is_empty() {
            continue;
        }
        keys.push(Key::from_bytes(text).ok_or_else(|| {
            UsageError::new(format!(
                "invalid key '{}' on standard input: {}",
                text.escape_ascii(),
                hls_cache::key::InvalidKey
            ))
        })?);
    }
    Ok(keys)
}
