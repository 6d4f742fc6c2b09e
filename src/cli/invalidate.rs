//! `invalidate`: remove the entries that the user names.

use std::io;

use hls_cache::maintain::Options;
use hls_cache::plan::{Policy, Which};
use hls_cache::{Error, Key, Operation};

use super::{Context, maintain};
use crate::cli::args::InvalidateArgs;
use crate::cli::exit::{Exit, UsageError};

pub fn run(context: &Context<'_>, args: InvalidateArgs) -> anyhow::Result<Exit> {
    let which = if args.all {
        Which::All
    } else if args.stdin {
        Which::Keys(read_keys(io::stdin().lock())?)
    } else {
        Which::Keys(args.key)
    };
    let policy = Policy::invalidate(which, args.force);
    let options = Options { dry_run: args.dry_run, ..Options::default() };
    maintain(context, &policy, options, Vec::new())
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
