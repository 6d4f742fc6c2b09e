//! The limits of a sweep and the other causes of a removal, under the names that the event log, JSON and the
//! options share.

/// A limit of a sweep, or a setting that changes what the limits may evict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// All entries together are at most this large.
    MaxSize,
    /// At least this much of the disk is available.
    MinFree,
    /// At most this many entries are left.
    MaxEntries,
    /// No entry is unused for this long.
    OlderThan,
    /// Protects an entry that was used within this time.
    KeepRecent,
    /// The share of `max_size` to evict down to.
    LowWater,
}

/// What the number of a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Bytes,
    Entries,
    Seconds,
    Percent,
}

impl Limit {
    /// All of them, each at the place of its discriminant.
    pub const ALL: [Self; 6] = [
        Self::MaxSize,
        Self::MinFree,
        Self::MaxEntries,
        Self::OlderThan,
        Self::KeepRecent,
        Self::LowWater,
    ];

    /// The stable name, as in the event log. JSON adds the unit where it is a time or a share; the option has
    /// hyphens.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// What its number counts.
    pub fn unit(self) -> Unit {
        self.row().1
    }

    fn row(self) -> (&'static str, Unit) {
        match self {
            Self::MaxSize => ("max_size", Unit::Bytes),
            Self::MinFree => ("min_free", Unit::Bytes),
            Self::MaxEntries => ("max_entries", Unit::Entries),
            Self::OlderThan => ("older_than", Unit::Seconds),
            Self::KeepRecent => ("keep_recent", Unit::Seconds),
            Self::LowWater => ("low_water", Unit::Percent),
        }
    }
}

/// The limits in force, as numbers in their [`Unit`]s. `min_free` is in bytes even where it was given as a
/// percentage; `low_water` is set only where it is less than all of `max_size`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits([Option<u64>; Limit::ALL.len()]);

impl Limits {
    /// The number of a limit; `None` if it is not in force.
    pub fn get(&self, limit: Limit) -> Option<u64> {
        self.0[limit as usize]
    }

    /// Sets or drops a limit.
    pub fn set(&mut self, limit: Limit, number: Option<u64>) {
        self.0[limit as usize] = number;
    }

    /// Every limit with its number.
    pub fn iter(&self) -> impl Iterator<Item = (Limit, Option<u64>)> {
        Limit::ALL.into_iter().zip(self.0)
    }
}

/// Why an entry is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Of [`Limit::MaxSize`].
    OverBudget,
    /// Of [`Limit::OlderThan`].
    OlderThan,
    /// Of [`Limit::MaxEntries`].
    MaxEntries,
    /// Of [`Limit::MinFree`].
    MinFree,
    /// It is abandoned: partial, and nobody uses or writes it.
    Orphan,
    /// The user named it.
    Invalidated,
    /// It is sealed and damaged.
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
        self.row().0
    }

    /// The limit that asks for it, of an eviction.
    pub fn limit(self) -> Option<Limit> {
        self.row().1
    }

    fn row(self) -> (&'static str, Option<Limit>) {
        match self {
            Self::OverBudget => ("over-budget", Some(Limit::MaxSize)),
            Self::OlderThan => ("older-than", Some(Limit::OlderThan)),
            Self::MaxEntries => ("max-entries", Some(Limit::MaxEntries)),
            Self::MinFree => ("min-free", Some(Limit::MinFree)),
            Self::Orphan => ("orphan", None),
            Self::Invalidated => ("invalidated", None),
            Self::Damaged => ("damaged", None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_and_cause_has_its_own_place_and_name() {
        for (place, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, place);
            let mut limits = Limits::default();
            limits.set(limit, Some(7));
            let set: Vec<_> = limits.iter().filter(|(_, number)| number.is_some()).collect();
            assert_eq!(set, [(limit, Some(7))]);
            assert_eq!(
                Limit::ALL.map(Limit::name).iter().filter(|n| **n == limit.name()).count(),
                1
            );
        }
        for cause in Cause::ALL {
            assert_eq!(Cause::from_code(cause.code()), Some(cause));
        }
    }
}
