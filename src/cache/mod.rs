//! What is on the disk: entries, trash and other names, read and added up, and the event log.
//!
//! Here: the types of what was read, and the code that reads it. Everything is a value once read; only
//! appending to the event log writes. Not here: what to do about it (`plan`), whether an entry is whole
//! (`verify`), or anything that removes (`removal`).

mod cause;
mod entry;
pub mod events;
mod listing;
mod notice;
mod totals;
mod view;

pub use cause::Cause;
pub use entry::{Entry, PinState, State, Trash};
pub(crate) use entry::{StatEntry, identity, scan_entry, stat_entry};
pub(crate) use listing::Listing;
pub use notice::CacheNotice;
pub use totals::Totals;
pub(crate) use view::mount_in_the_way;
pub use view::{CacheView, Unreadable};
