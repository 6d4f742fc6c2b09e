//! The contract, from outside: the tool is run, and the disk and its JSON are looked at.
#![allow(
    clippy::disallowed_methods,
    reason = "tests build and break caches, and their ages count from now"
)]

#[path = "../common/mod.rs"]
mod common;

mod any_cache;
mod events;
mod foreign;
mod gc_orphans;
mod history;
mod invalidate;
mod jq;
mod key;
mod locks;
mod memory;
mod mounts_and_errors;
mod names;
mod no_room_for_a_pin;
mod report;
mod schema;
mod second_look;
mod stats;
mod sweep;
mod sweep_rule;
mod usage;
mod verify;
mod whole_or_none;
