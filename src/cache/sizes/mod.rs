//! What sealed entries measured when a sweep last looked: `.sizes` in the root.
//!
//! A sealed entry does not change, so an hourly sweep need not read a million inodes to find that nothing is to
//! do. What decides whether an entry goes (pin, identity, seal, last use) is read live each time; only what its
//! files add up to is remembered, and only while everything that a change to the entry would move is as it was.
//!
//! The file is a memory, never an authority: deleting, truncating or garbling it costs time alone. What an entry
//! holds is measured again before it goes (`maintain`).
//!
//! Here: the record of an entry, when it may be made and believed, and the file that keeps the records. Not here:
//! measuring (`entry`).

mod file;
mod record;
mod text;

pub(crate) use file::Draft;
pub use file::Memory;
pub(super) use record::recall;
pub(crate) use record::{Marks, Record, Stamp};
