//! Entries counted and added up.

use super::Entry;

/// Entries and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Number of entries.
    pub entries: u64,
    /// Sum of their sizes.
    pub bytes: u64,
    /// Sum of what they occupy on disk.
    pub allocated_bytes: u64,
}

impl Totals {
    /// The totals of `entries`.
    pub fn of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        let mut totals = Self::default();
        for entry in entries {
            totals.add(entry.bytes, entry.allocated_bytes);
        }
        totals
    }

    /// One more entry, or one more removed entry, of that size.
    pub(crate) fn add(&mut self, bytes: u64, allocated_bytes: u64) {
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        self.allocated_bytes = self.allocated_bytes.saturating_add(allocated_bytes);
    }

    pub(crate) fn subtract(&mut self, entry: &Entry) {
        self.entries = self.entries.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(entry.bytes);
        self.allocated_bytes = self.allocated_bytes.saturating_sub(entry.allocated_bytes);
    }
}
