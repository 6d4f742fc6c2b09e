//! The system: descriptors, directory walks, mounts, threads, lines of text.
//!
//! Here: what any program that handles other people's directories needs, in terms of the kernel. Not
//! here: anything that knows what a cache, an entry or a lockfile of one is.

pub(crate) mod fd;
pub(crate) mod lines;
pub(crate) mod mounts;
pub(crate) mod parallel;
pub(crate) mod processes;
pub(crate) mod walk;
