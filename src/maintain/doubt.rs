//! What a run does before it removes an entry whose size it only remembers.

use super::Order;
use crate::cache::CacheView;
use crate::plan::{Decided, Plan};
use crate::progress::Progress;

/// Measures, of the entries that would go after what is `decided`, those that are only remembered: a file that has
/// grown in place moves nothing that a scan without measuring sees, and who reads shows only in files. If one of them
/// holds anything else than was remembered, nothing that is remembered counts any more, and everything is measured.
///
/// Afterwards every entry that would go is measured, in a dry run too.
pub(super) fn measure_victims(
    order: &Order<'_>,
    view: &mut CacheView,
    decided: &Decided,
    progress: &dyn Progress,
) {
    let Order { root, policy, now, .. } = *order;
    loop {
        let mut due = Vec::new();
        let mut plan = Plan::resume(view, policy, now, decided.clone());
        plan.foresee(|place, _| due.push(place));
        due.retain(|&place| view.entries[place].is_remembered);
        if due.is_empty() {
            return;
        }
        // What is read shows now, and then others would go.
        let was_true = view.measure(root, &due, now, progress);
        if !was_true {
            let all = view.remembered();
            view.measure(root, &all, now, progress);
        }
    }
}
