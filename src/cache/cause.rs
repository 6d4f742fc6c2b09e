//! Why an entry goes, as the event log and every report say it.

/// Why an entry is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// All entries together are larger than `max_size`.
    OverBudget,
    /// It was unused for `older_than`.
    OlderThan,
    /// There are more entries than `max_entries`.
    MaxEntries,
    /// Less of the disk is free than `min_free`.
    MinFree,
    /// It is abandoned: partial, and nobody uses or writes it.
    Orphan,
    /// The user named it.
    Invalidated,
    /// It is sealed and not whole.
    Damaged,
}

impl Cause {
    const ALL: [Self; 7] = [
        Self::OverBudget,
        Self::OlderThan,
        Self::MaxEntries,
        Self::MinFree,
        Self::Orphan,
        Self::Invalidated,
        Self::Damaged,
    ];

    /// The cause of that stable name.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.code() == code)
    }

    /// The stable name, as in JSON and in the event log.
    pub fn code(self) -> &'static str {
        match self {
            Self::OverBudget => "over-budget",
            Self::OlderThan => "older-than",
            Self::MaxEntries => "max-entries",
            Self::MinFree => "min-free",
            Self::Orphan => "orphan",
            Self::Invalidated => "invalidated",
            Self::Damaged => "damaged",
        }
    }
}
