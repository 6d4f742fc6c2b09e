//! Where each entry stands in the order of eviction: the answer to "why is it still here?".

use std::time::SystemTime;

use super::{Cause, Plan, Policy, Protection};
use crate::cache::CacheView;
use crate::root::Space;

/// Where an entry stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Its place among the entries that nothing protects; 1 goes first.
    pub rank: Option<u64>,
    /// What protects it.
    pub protection: Option<Protection>,
    /// Why it would go, if the policy were carried out now.
    pub cause: Option<Cause>,
}

/// The standing of each of the view's entries, in their order.
pub fn standings(
    view: &CacheView,
    policy: &Policy,
    now: SystemTime,
    space: Space,
) -> Vec<Standing> {
    let mut plan = Plan::new(view, policy, now, space);
    let mut standings = vec![Standing::default(); view.entries.len()];
    let mut rank = 0;
    for &index in plan.order() {
        let protection = plan.fate(index).protection();
        standings[index].protection = protection;
        if protection.is_none() {
            rank += 1;
            standings[index].rank = Some(rank);
        }
    }
    plan.foresee(|index, cause| standings[index].cause = Some(cause));
    standings
}
