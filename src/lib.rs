//! Maintenance of an on-disk cache of HLS segments, and the protocol a daemon takes part in.

#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod fault;
mod fd;
pub mod problem;

pub use fault::{Fault, FaultCode};
pub use problem::Problem;
