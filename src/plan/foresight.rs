//! What a run would come to, without running it: the answer to "what would help?".

use std::time::SystemTime;

use super::{Plan, Policy, Totals, Unmet, is_perhaps_watched};
use crate::cache::CacheView;
use crate::root::Space;

/// What a run would do now, were nothing to happen meanwhile.
#[derive(Clone, Debug, Default)]
pub struct Foresight {
    /// The entries that would go.
    pub removed: Totals,
    /// When the last of them was used.
    pub last_used: Option<SystemTime>,
    /// How many of them somebody may be watching through a daemon that takes no locks.
    pub perhaps_watched: u64,
    /// The limits that would still be exceeded.
    pub unmet: Vec<Unmet>,
}

/// Takes every step of `policy` as if it succeeded.
pub fn foresee(view: &CacheView, policy: &Policy, now: SystemTime, space: Space) -> Foresight {
    let mut plan = Plan::new(view, policy, now, space);
    let mut foresight = Foresight::default();
    plan.foresee(|place, _| {
        let entry = &view.entries[place];
        foresight.removed.add(entry.bytes, entry.allocated_bytes);
        foresight.last_used = foresight.last_used.max(Some(entry.last_used));
        foresight.perhaps_watched += u64::from(is_perhaps_watched(entry, now));
    });
    foresight.unmet = plan.unmet();
    foresight
}
