//! What people, their terminals, journald and Prometheus get to read.
#![allow(
    clippy::disallowed_methods,
    reason = "tests build and break caches, and their ages count from now"
)]

#[path = "../common/mod.rs"]
#[allow(dead_code, unused_imports, reason = "it serves several test binaries")]
mod common;

mod alerts;
mod completions;
mod dashboard;
mod escaping;
mod help;
mod metrics;
mod next;
mod promtool;
mod removals;
mod screens;
mod stats_text;
mod terminals;

use common::{Age, Size, TestCache};

/// One entry that can go, one that is in use, one that was abandoned and one that is being written.
fn mixed() -> TestCache {
    TestCache::new()
        .sealed("a", 1536.mib(), 79.hours())
        .sealed("b", 20.mib(), 26.hours())
        .partial("p", 7.mib(), 49.hours())
        .partial("w", 9.mib(), 2.minutes())
        .pinned("b")
}
