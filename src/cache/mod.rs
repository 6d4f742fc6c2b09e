//! What is on the disk: entries, trash and other names, read and added up, and the event log.
//!
//! Here: the types of entries, trash and events, and the code that reads them. Only the event log and the file of
//! sizes are written to. Not here: deciding what to remove (`plan`), checking entries (`verify`), removing (`removal`).

mod entry;
pub mod events;
mod limits;
mod listing;
mod notice;
pub(crate) mod sizes;
mod totals;
mod view;

pub use entry::{Entry, PinState, State, Trash};
pub(crate) use entry::{StatEntry, identity, scan_entry, stat_entry};
pub use limits::{Cause, Limit, Limits, Unit};
pub(crate) use listing::Listing;
pub use listing::{entries_near, entry_keys};
pub use notice::CacheNotice;
pub use sizes::Memory;
pub use totals::Totals;
pub(crate) use view::mounted_error;
pub use view::{Advice, CacheView, Unreadable};
