//! Maintenance of an on-disk cache of HLS segments, and the protocol a daemon takes part in.

#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod daemon;
mod deep;
pub mod escape;
pub mod events;
mod evict;
pub mod fault;
mod fd;
mod fmp4;
pub mod holders;
pub mod key;
pub mod layout;
pub mod lock;
pub mod maintain;
mod parallel;
pub mod plan;
pub mod problem;
pub mod progress;
pub mod root;
pub mod stats;
pub mod units;
pub mod verify;
pub mod view;
mod walk;
mod webvtt;

pub use escape::Escaped;
pub use fault::{Fault, FaultCode};
pub use key::{Key, KeyInputs};
pub use problem::Problem;
pub use root::Root;
pub use view::CacheView;
