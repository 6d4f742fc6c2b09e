//! Maintenance of an on-disk cache of HLS segments, and the protocol a daemon takes part in.

#![deny(clippy::print_stdout, clippy::print_stderr)]

// Until `verify` calls it.
#[allow(dead_code)]
mod deep;
pub mod fault;
mod fd;
#[allow(dead_code)]
mod fmp4;
pub mod problem;
#[allow(dead_code)]
mod webvtt;

pub use fault::{Fault, FaultCode};
pub use problem::Problem;
