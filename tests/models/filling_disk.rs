//! The protocol where a lockfile may find no room: rule 9.

use std::collections::BTreeSet;

use crate::call::{self, Call};
use crate::disk::{Entry, Rename};
use crate::model::Protocol;
use crate::omission::Omission;
use crate::party::Role::{
    self, FailedWriter, Force, Invalidate, Reader, Repairer, Sweep, Verify, Writer,
};
use crate::promise::Promise;

/// Rule 9 lets an entry leave its name for an instant while it is pinned, so that it cannot promise that a
/// pinned entry keeps its name: only that nothing of it is lost.
const PROMISES: &[Promise] = &[
    Promise::SealedIsWhole,
    Promise::PinnedIsNotDeleted,
    Promise::ChangedIsKept,
    Promise::HealthyIsKept,
    Promise::SweepReachesLimit,
    Promise::OwnTrashGoesFirst,
];

/// The steps that only rule 9 takes.
pub const OF_RULE_9: &[Call] =
    &[call::SETTLE, call::PROBE, call::IS_UNSEALED, call::RENAME_BACK, call::DELETE_LAST];

/// Version 0.1 removed an entry whose pin had no room, and did not probe the pin after the rename. So it
/// removed what a reader with another quota had pinned meanwhile.
const HOLE_OF_0_1: &[&str] = &[
    "reader: locks::pin, open_existing: ENOENT",
    "sweep: maintain::delete_leftover_trash: done",
    "sweep: cache::scan: to be removed",
    "sweep: maintain::check_unused: unused",
    "sweep: locks::lock_for_removal, open_existing: ENOENT",
    "sweep: locks::lock_for_removal, create: no room",
    "sweep: maintain::rescan_unchanged: still to be removed",
    "sweep: removal::unseal: unlinks .complete",
    "sweep: locks::settle, open_existing: ENOENT",
    "sweep: locks::settle, create: no room",
    "reader: locks::pin, create: created",
    "reader: locks::pin, acquire: locked shared",
    "reader: locks::pin, acquire: held",
    "sweep: removal::rename_out: renamed",
    "sweep: removal::is_left_behind: the name is free",
    "sweep: removal::take_out: releases the lock",
    "sweep: removal::empty_trash: deletes the trash",
];

const ENTRIES: &[Option<Entry>] =
    &[None, Some(Entry::PARTIAL), Some(Entry::SEALED), Some(Entry::DAMAGED)];

fn of_sealed(cast: &[Role], rename: Rename) -> Protocol {
    Protocol::new(cast, &[Some(Entry::SEALED)], &[rename]).on_a_disk_that_fills()
}

#[test]
fn every_promise_holds_for_one_remover_without_a_lock() {
    let mut taken = BTreeSet::new();
    for cast in [
        [Reader, Writer, Sweep],
        [Writer, Writer, Sweep],
        [Reader, Writer, Invalidate],
        [Reader, Writer, Force],
        [Writer, Writer, Invalidate],
        [Reader, Writer, Verify],
        [Reader, Writer, Repairer],
        [Reader, Writer, FailedWriter],
    ] {
        let model = Protocol::new(&cast, ENTRIES, &[Rename::Works]).on_a_disk_that_fills();
        taken.extend(model.where_encodes_take_long().assert_holds(PROMISES));
    }
    for call in OF_RULE_9.iter().filter(|call| **call != call::DELETE_LAST) {
        assert!(taken.contains(call), "no cast takes the step {call}");
    }
}

/// Where the entry cannot be renamed either, one file goes at a time, and the lock is tried before each. What that does
/// not promise is in `known_holes`.
#[test]
fn a_deletion_in_place_without_a_lock_keeps_what_changed_and_reaches_the_limit() {
    let renames = [Rename::Fails, Rename::LeavesSource];
    for cast in [[Reader, Writer, Sweep], [Writer, Writer, Sweep], [Reader, Writer, Invalidate]] {
        let model = Protocol::new(&cast, ENTRIES, &renames).on_a_disk_that_fills();
        let taken = model.where_encodes_take_long().assert_holds(&[
            Promise::ChangedIsKept,
            Promise::HealthyIsKept,
            Promise::SweepReachesLimit,
            Promise::OwnTrashGoesFirst,
        ]);
        assert!(taken.contains(&call::DELETE_LAST), "{cast:?}");
    }
}

/// Both were holes while a remover without a lock deleted in place what it found under the name.
#[test]
fn what_a_rename_seems_to_leave_behind_is_not_deleted_without_a_lock() {
    of_sealed(&[Writer, Sweep, Invalidate], Rename::Works)
        .where_encodes_take_long()
        .assert_holds(&[Promise::SealedIsWhole]);
    of_sealed(&[Writer, Sweep], Rename::Works).assert_holds(&[Promise::PinnedIsNotDeleted]);
}

/// Whatever renaming does, and however many removers there are.
#[test]
fn readers_lose_nothing_where_nobody_writes() {
    for cast in [[Reader, Reader, Sweep], [Reader, Sweep, Invalidate], [Reader, Sweep, Verify]] {
        Protocol::new(&cast, ENTRIES, &[Rename::Works, Rename::LeavesSource, Rename::Fails])
            .on_a_disk_that_fills()
            .assert_holds(&[
                Promise::SealedIsWhole,
                Promise::ServedIsThere,
                Promise::ChangedIsKept,
                Promise::HealthyIsKept,
                Promise::SweepReachesLimit,
                Promise::OwnTrashGoesFirst,
            ]);
    }
}

#[test]
fn rule_9_a_full_disk_can_be_swept() {
    of_sealed(&[Sweep], Rename::Works)
        .assert_needs(Omission::NoException, Promise::SweepReachesLimit);
}

#[test]
fn rule_9_own_trash_goes_before_any_entry_is_unsealed_without_a_lock() {
    of_sealed(&[Sweep], Rename::Works)
        .assert_needs(Omission::OwnTrashStays, Promise::OwnTrashGoesFirst);
}

#[test]
fn rule_9_whoever_pins_after_the_unsealing_sees_a_miss() {
    of_sealed(&[Reader, Sweep], Rename::Works)
        .assert_needs(Omission::NotUnsealed, Promise::ServedIsThere);
}

#[test]
fn rule_9_whoever_pinned_before_the_unsealing_keeps_the_entry() {
    of_sealed(&[Reader, Sweep], Rename::Works)
        .assert_needs(Omission::NotTriedAgain, Promise::ServedIsThere);
}

#[test]
fn rule_9_what_was_sealed_anew_before_the_second_lock_is_kept() {
    of_sealed(&[Writer, Sweep], Rename::Works)
        .where_encodes_take_long()
        .assert_needs(Omission::TriedAgainLooksOnce, Promise::ChangedIsKept);
}

#[test]
fn rule_9_whoever_pinned_before_the_rename_gets_the_entry_back() {
    of_sealed(&[Reader, Sweep], Rename::Works)
        .assert_needs(Omission::NotProbed, Promise::PinnedIsNotDeleted);
}

#[test]
fn rule_9_an_entry_that_comes_back_replaces_no_other() {
    of_sealed(&[Writer, Sweep], Rename::Works)
        .where_encodes_take_long()
        .assert_needs(Omission::BackReplaces, Promise::PinnedIsNotDeleted);
}

#[test]
fn the_hole_of_version_0_1_is_found() {
    let trace = of_sealed(&[Reader, Sweep], Rename::Works)
        .assert_needs(Omission::Version01, Promise::PinnedIsNotDeleted);
    assert_eq!(trace, HOLE_OF_0_1);
}
