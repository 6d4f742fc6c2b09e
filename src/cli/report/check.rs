//! The line of `stats --check`: whether the limits are met, for monitoring.

use hls_cache::cache::CacheView;
use hls_cache::plan::{Limit, Plan, Policy, Sweep};
use hls_cache::stats::Stats;
use hls_cache::units::human_size;
use std::time::SystemTime;

use super::account;

/// The limits that were asked about, and which of them are not met.
pub struct Check {
    line: String,
    is_met: bool,
}

impl Check {
    pub fn of(stats: &Stats, sweep: &Sweep, now: SystemTime) -> Self {
        let space = stats.space.unwrap_or_default();
        let limits = sweep.limits(space.total);
        let view = CacheView::of(stats.entries.clone());
        let unmet = Plan::new(&view, &Policy::Sweep(sweep.clone()), now, space).unmet();
        let is_unmet = |limit| unmet.iter().any(|unmet| unmet.limit == limit);
        let found = |limit| match limit {
            Limit::MinFree => format!("{} free", human_size(space.available)),
            _ => format!("{} there", human_size(stats.totals.bytes)),
        };
        let said = [Limit::MaxSize, Limit::MinFree].into_iter().filter_map(|limit| {
            let verdict = if is_unmet(limit) { "not met" } else { "met" };
            let named = account::of_limit(limit, limits.get(limit)?);
            Some(format!("{named} {verdict}: {}", found(limit)))
        });
        Self { line: said.collect::<Vec<_>>().join("; "), is_met: unmet.is_empty() }
    }

    pub fn is_met(&self) -> bool {
        self.is_met
    }

    /// `--max-size 200 GiB not met: 234.80 GiB there; --min-free 50 GiB met: 61 GiB free`.
    pub fn line(&self) -> &str {
        &self.line
    }
}
