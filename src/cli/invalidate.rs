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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_on_standard_input_are_read_among_blanks_and_anything_else_is_wrong_usage(
            lines in proptest::collection::vec(("[ \t]{0,2}", "[0-9a-f]{16}", "[ \r]{0,2}\n{1,3}"), 0..8),
            other in "[^\n]{0,20}",
        ) {
            let text: String = lines.iter().flat_map(|(before, key, after)| [before, key, after]).map(String::as_str).collect();
            let keys: Vec<Key> = lines.iter().map(|(_, key, _)| key.parse().unwrap()).collect();
            prop_assert_eq!(read_keys(text.as_bytes()).unwrap(), keys);

            prop_assume!(!other.trim_ascii().is_empty() && other.trim_ascii().parse::<Key>().is_err());
            let error = read_keys((text + &other).as_bytes()).unwrap_err();
            prop_assert!(error.is::<UsageError>(), "{error}");
        }
    }
}
