//! Evicting first what the media library does not name.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use crate::cache::{Entry, State};
use crate::key::Key;
use crate::units::age;

/// An unnamed entry goes first only if nobody used it for so long: what somebody watched this week is wanted,
/// whether the library names it or not.
pub const UNUSED_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Why unnamed entries do not go first: the library does not name enough of the cache to judge by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFewNamed {
    /// Number of sealed entries that have a name.
    pub named: u64,
    /// Number of sealed entries.
    pub sealed: u64,
}

/// The sealed entries that have no name and go first. Refused if under half of the sealed entries have a
/// name: a wrong library, or a list of qualities without the daemon's, names few or none.
pub fn unnamed_first(
    entries: &[Entry],
    is_named: impl Fn(Key) -> bool,
    now: SystemTime,
) -> Result<HashSet<Key>, TooFewNamed> {
    let sealed = || entries.iter().filter(|entry| entry.state == State::Sealed);
    let (named, all) = (sealed().filter(|e| is_named(e.key)).count(), sealed().count());
    if named * 2 < all {
        return Err(TooFewNamed { named: named as u64, sealed: all as u64 });
    }
    let goes_first =
        |entry: &&Entry| !is_named(entry.key) && age(now, entry.last_used) >= UNUSED_FOR;
    Ok(sealed().filter(goes_first).map(|entry| entry.key).collect())
}
