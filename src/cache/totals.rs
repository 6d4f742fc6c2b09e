//! Entries counted and added up.

use super::Entry;

/// Entries and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "only what the names do not say")]
pub struct Totals {
    pub entries: u64,
    /// Sum of `st_size` of their files.
    pub bytes: u64,
    /// Sum of `st_blocks × 512` of their files.
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

    /// Counts one more entry, or removed entry, of that size.
    pub(crate) fn add(&mut self, bytes: u64, allocated_bytes: u64) {
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        self.allocated_bytes = self.allocated_bytes.saturating_add(allocated_bytes);
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            entries: self.entries + other.entries,
            bytes: self.bytes.saturating_add(other.bytes),
            allocated_bytes: self.allocated_bytes.saturating_add(other.allocated_bytes),
        }
    }

    pub(crate) fn subtract(&mut self, entry: &Entry) {
        self.entries = self.entries.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(entry.bytes);
        self.allocated_bytes = self.allocated_bytes.saturating_sub(entry.allocated_bytes);
    }
}
