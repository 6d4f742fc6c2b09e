//! What people, their terminals, journald and Prometheus get to read.
#![allow(
    clippy::disallowed_methods,
    reason = "tests build and break caches, and their ages count from now"
)]

#[path = "../common/mod.rs"]
#[allow(dead_code, unused_imports, reason = "it serves several test binaries")]
mod common;

mod help;
mod hostile;
mod metrics;
mod removals;
mod stats;
mod terminals;
