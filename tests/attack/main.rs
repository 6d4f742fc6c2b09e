//! Attacks: what must hold when processes die, disks fill, calls fail, users are strangers and
//! directories lie. The worst thing the tool can do is a wrong delete; every test here tries for one.
#![allow(
    clippy::disallowed_methods,
    reason = "tests build and break caches, and their ages count from now"
)]

#[path = "../common/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with another test binary; each uses its part")]
mod common;

mod clocks;
mod crash;
mod event_log;
mod failing_daemon;
mod faults;
mod full_disk;
mod library;
mod limits;
mod min_free;
mod namespaces;
mod nothing_outside;
mod race;
mod remembering;
mod subvolumes;
mod tools;
mod users;
mod watchers;
