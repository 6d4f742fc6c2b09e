//! The rules that can be switched off, by their numbers in the contract's list "Pins and removal".

/// What a model leaves out. Each of them breaks a promise, or the model could not see that rule at work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Omission {
    /// Rule 1: a pin file that exists counts as a pin; its holder deletes it when done.
    PinnedMeansExists,
    /// Rule 2: a remover takes the lock shared.
    RemoverLocksShared,
    /// Rule 2: who wants to remove what it has pinned upgrades its lock.
    LockIsUpgraded,
    /// Rule 3: a remover acts on what it saw before it locked.
    RemoverLooksOnce,
    /// Rule 3: a reader looks for `.complete` and then locks.
    ReaderLooksFirst,
    /// Rule 3: a writer that has the locks does not look for `.complete` again.
    WriterLooksOnce,
    /// Rule 4: a sweep removes whatever now has the name.
    NotComparedWithPlan,
    /// Rule 4: a forced removal that cannot rename deletes in place.
    ForcedInPlace,
    /// Rule 5: an entry is deleted under its name, in the directory's order.
    DeletedUnderItsName,
    /// Rule 5: a rename that returned 0 is believed.
    RenameIsBelieved,
    /// Rule 6: in place, `.complete` goes last.
    CompleteGoesLast,
    /// Rule 6: the lock is released before the entry is deleted in place.
    InPlaceWithoutLock,
    /// Rule 6: in place, the segments go in the directory's order, not from the last one.
    FirstSegmentGoesFirst,
    /// Rule 8: who is done with a pin file deletes it.
    PinIsUnlinked,
    /// Rule 8: a lock on a file without a name is taken for the lock.
    LinkCountIsIgnored,
    /// Rule 9: there is no exception.
    NoException,
    /// Rule 9: this run's trash stays while an entry is unsealed without a lock.
    OwnTrashStays,
    /// Rule 9: `.complete` stays.
    NotUnsealed,
    /// Rule 9: the lock is not tried once more.
    NotTriedAgain,
    /// Rules 3 and 9: a lock that was got at the second try needs no second look.
    TriedAgainLooksOnce,
    /// Rule 9: the pin is not probed after the rename.
    NotProbed,
    /// Rule 9: renaming back may replace what has the name by now.
    BackReplaces,
    /// Version 0.1: `OwnTrashStays` and `NotProbed`.
    Version01,
}

impl Omission {
    pub fn keeps_own_trash(self) -> bool {
        matches!(self, Self::OwnTrashStays | Self::Version01)
    }

    pub fn probes_not(self) -> bool {
        matches!(self, Self::NotProbed | Self::Version01)
    }
}
