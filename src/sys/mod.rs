//! The system: descriptors, directory walks, mounts, threads, lines of text.
//!
//! Here: what any program needs that handles untrusted directories. Not here: anything that knows about
//! caches, entries or lockfiles.

pub(crate) mod fd;
pub(crate) mod lines;
pub(crate) mod mounts;
#[cfg(test)]
pub(crate) mod mutated;
pub(crate) mod parallel;
pub(crate) mod processes;
pub(crate) mod walk;
