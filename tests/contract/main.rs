//! The contract, from outside: the tool is run, and the disk and its JSON are looked at.
#![allow(
    clippy::disallowed_methods,
    reason = "tests build and break caches, and their ages count from now"
)]

#[path = "../common/mod.rs"]
mod common;

mod events;
mod foreign;
mod full_disk;
mod gc_orphans;
mod hostile;
mod invalidate;
mod key;
mod locks;
mod race;
mod report;
mod schema;
mod second_look;
mod stats;
mod sweep;
mod sweep_rule;
mod usage;
mod verify;
