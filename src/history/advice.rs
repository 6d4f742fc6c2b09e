//! What follows from a replay for the budget.

use super::replay::{Log, PRESENT, WhatIf};
use crate::cache::events::HitRate;

/// What follows for the budget, or why nothing does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// A larger budget would have had more hits.
    Larger {
        /// The size in bytes with most of the gain.
        max_size: u64,
        /// How many more hits it would have had.
        gained: HitShare,
        /// The size in bytes beyond which nothing more is gained; `None` if the largest that was replayed still gains.
        beyond: Option<u64>,
    },
    /// A smaller budget would have had as many hits.
    Smaller {
        /// Its size in bytes.
        max_size: u64,
    },
    /// Neither: a larger budget gains nothing, and one of half the size would lose hits.
    Enough {
        /// The largest size in bytes that was replayed.
        up_to: u64,
        /// Hardly a request would have been a hit at any size, so that a smaller budget would do as little harm.
        nothing_helps: bool,
    },
    /// The log does not say enough.
    Unknown(Unknown),
}

impl Advice {
    /// The stable name, as in JSON.
    pub fn code(self) -> &'static str {
        match self {
            Self::Larger { .. } => "larger",
            Self::Smaller { .. } => "smaller",
            Self::Enough { .. } => "enough",
            Self::Unknown(_) => "unknown",
        }
    }

    /// The budget in bytes that it recommends.
    pub fn max_size(self) -> Option<u64> {
        match self {
            Self::Larger { max_size, .. } | Self::Smaller { max_size } => Some(max_size),
            Self::Enough { .. } | Self::Unknown(_) => None,
        }
    }
}

/// A number of hits among all requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HitShare {
    /// How many.
    pub hits: u64,
    /// Among so many.
    pub requests: u64,
}

impl HitShare {
    /// In percent, rounded half up.
    pub fn percent(self) -> u64 {
        let misses = self.requests.saturating_sub(self.hits);
        HitRate { hits: self.hits, misses }.percent().unwrap_or(0)
    }
}

/// Why there is no advice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// Neither hits nor misses are logged.
    NoRequests,
    /// Hits are logged and misses are not, so that what was requested and not there is not known.
    NoMisses,
    /// Fewer than [`MIN_REQUESTS`].
    TooFewRequests {
        /// How many.
        requests: u64,
    },
    /// No budget is known, and the cache is empty.
    NoBudget,
    /// For most requests the size had to be guessed.
    GuessedSizes {
        /// How many keys that is.
        keys: u64,
    },
    /// All that the log requests would fit the budget, so that the replay never evicts.
    NeverFull {
        /// Bytes of all that was requested.
        distinct: u64,
        /// In bytes.
        budget: u64,
    },
    /// The replay at the budget has another hit rate than the log.
    Differs {
        /// As logged.
        logged: HitRate,
        /// As replayed.
        replayed: HitRate,
    },
    /// Only sizes that would hold all that the log requests gain something.
    ShortLog {
        /// Bytes of all that was requested.
        distinct: u64,
    },
}

/// With fewer, one request is more than half a percent of them, and what an evening brings would be taken for a rule.
pub const MIN_REQUESTS: u64 = 200;
/// In percent of the requests: further apart, the log is not that of an LRU cache of this size.
const MAX_DIFFERENCE: u64 = 3;
/// In thousandths of the requests: less is not worth another disk.
const WORTHWHILE: u64 = 10;
/// In thousandths of the requests: losing less is losing nothing.
const NEGLIGIBLE: u64 = 5;

/// The advice for the budget, the size at [`PRESENT`]. A size is judged only if the log requests more bytes than it
/// holds: one that never fills shows how long the log is, and not what the size is good for.
pub(super) fn advise(logged: HitRate, log: &Log, what_if: &[WhatIf]) -> Advice {
    judge(logged, log, what_if).unwrap_or_else(Advice::Unknown)
}

fn judge(logged: HitRate, log: &Log, what_if: &[WhatIf]) -> Result<Advice, Unknown> {
    let requests = logged.hits.saturating_add(logged.misses);
    if requests == 0 {
        return Err(Unknown::NoRequests);
    }
    if logged.misses == 0 {
        return Err(Unknown::NoMisses);
    }
    if requests < MIN_REQUESTS {
        return Err(Unknown::TooFewRequests { requests });
    }
    let (Some(present), Some(largest)) = (what_if.get(PRESENT), what_if.last()) else {
        return Err(Unknown::NoBudget);
    };
    if log.guessed_requests > requests / 2 {
        return Err(Unknown::GuessedSizes { keys: log.guessed_keys });
    }
    let distinct = log.distinct_bytes();
    if distinct < present.max_size {
        return Err(Unknown::NeverFull { distinct, budget: present.max_size });
    }
    let (now, most) = (present.requests.hits, largest.requests.hits);
    if logged.hits.abs_diff(now) * 100 > MAX_DIFFERENCE * requests {
        return Err(Unknown::Differs { logged, replayed: present.requests });
    }

    let is_worthwhile = |hits: u64| hits * 1000 >= WORTHWHILE * requests;
    let is_negligible = |hits: u64| hits * 1000 < NEGLIGIBLE * requests;
    let larger = what_if[PRESENT + 1..].iter().filter(|larger| larger.max_size <= distinct);
    let gain = |larger: &WhatIf| larger.requests.hits.saturating_sub(now);
    let best = larger.clone().map(gain).max().unwrap_or(0);
    if is_worthwhile(best) {
        // Four fifths of the gain: the last fifth often takes as much disk as all of these.
        let enough = larger.clone().find(|larger| gain(larger) * 5 >= best * 4);
        let beyond = larger
            .clone()
            .find(|larger| is_negligible(most.saturating_sub(larger.requests.hits)))
            .filter(|beyond| beyond.max_size < largest.max_size);
        return Ok(Advice::Larger {
            max_size: enough.map_or(present.max_size, |enough| enough.max_size),
            gained: HitShare { hits: enough.map_or(0, gain), requests },
            beyond: beyond.map(|beyond| beyond.max_size),
        });
    }
    if is_worthwhile(most.saturating_sub(now)) {
        return Err(Unknown::ShortLog { distinct });
    }
    let nothing_helps = !is_worthwhile(most);
    let smaller = what_if[..PRESENT].iter().rev();
    let smaller =
        smaller.take_while(|smaller| is_negligible(now.saturating_sub(smaller.requests.hits)));
    // At least half: less is soon needed in a busier month.
    match smaller.last().filter(|smaller| smaller.max_size <= present.max_size / 2) {
        Some(smaller) if !nothing_helps => Ok(Advice::Smaller { max_size: smaller.max_size }),
        _ => Ok(Advice::Enough { up_to: largest.max_size, nothing_helps }),
    }
}
