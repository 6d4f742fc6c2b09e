//! The protocol where there is room for every lockfile: rules 1 to 8.
//!
//! With all rules, every promise holds in every state. Each rule that is left out breaks one.

use std::collections::BTreeSet;

use crate::call::{self, Call};
use crate::disk::{Entry, Rename};
use crate::filling_disk::OF_RULE_9;
use crate::model::Protocol;
use crate::omission::Omission;
use crate::party::Role::{
    self, FailedWriter, Force, Invalidate, Reader, Repairer, Stranger, Sweep, Tidier, Unlocked,
    Verify, Writer,
};
use crate::promise::Promise;
use crate::trace::{assert_ends, assert_goes_through};

const PROMISES: &[Promise] = &[
    Promise::PinnedKeepsItsName,
    Promise::SealedIsWhole,
    Promise::ServedIsThere,
    Promise::ChangedIsKept,
    Promise::HealthyIsKept,
    Promise::SweepReachesLimit,
];

const CASTS: &[&[Role]] = &[
    &[Reader, Writer, Sweep],
    &[Reader, Sweep, Sweep],
    &[Reader, Unlocked, Sweep],
    &[Writer, Writer, Sweep],
    &[Writer, Unlocked, Sweep],
    &[Reader, Writer, Verify],
    &[Writer, Verify, Verify],
    &[Writer, Verify, Sweep],
    &[Reader, Force, Sweep],
    &[Reader, Writer, Force],
    &[Reader, Writer, Invalidate],
    &[Repairer, Reader, Sweep],
    &[Repairer, Writer, Verify],
    &[FailedWriter, Reader, Sweep],
    &[FailedWriter, Writer, Force],
    &[Reader, Tidier, Sweep],
    &[Writer, Tidier, Sweep],
];

const ENTRIES: &[Option<Entry>] =
    &[None, Some(Entry::PARTIAL), Some(Entry::SEALED), Some(Entry::DAMAGED)];
const RENAMES: &[Rename] = &[Rename::Works, Rename::LeavesSource, Rename::Fails];

fn of_sealed(cast: &[Role], rename: Rename) -> Protocol {
    Protocol::new(cast, &[Some(Entry::SEALED)], &[rename])
}

#[test]
fn every_promise_holds_and_every_step_is_taken() {
    let mut taken = BTreeSet::<Call>::new();
    for cast in CASTS {
        taken.extend(Protocol::new(cast, ENTRIES, RENAMES).assert_holds(PROMISES));
    }
    taken.extend(OF_RULE_9);
    let never: Vec<_> = call::ALL.iter().filter(|call| !taken.contains(call)).collect();
    assert!(never.is_empty(), "{never:?}");
}

#[test]
fn rule_1_a_pin_ends_with_its_holder() {
    let trace = of_sealed(&[Reader], Rename::Works)
        .assert_needs(Omission::PinnedMeansExists, Promise::SweepReachesLimit);
    assert_goes_through(&trace, &["reader: killed"]);
    assert_ends(&trace, &["the last sweep: locks::lock_for_removal, open_existing: exists"]);
}

#[test]
fn rule_2_a_remover_keeps_out_while_readers_are_in() {
    let trace = of_sealed(&[Reader, Sweep], Rename::Works)
        .assert_needs(Omission::RemoverLocksShared, Promise::ServedIsThere);
    assert_ends(&trace, &["sweep: removal::rename_out: renamed"]);
}

#[test]
fn rule_2_a_failed_upgrade_loses_no_pin() {
    let damaged = [Some(Entry::DAMAGED)];
    let trace = Protocol::new(&[Repairer, Reader, Sweep], &damaged, &[Rename::Works])
        .assert_needs(Omission::LockIsUpgraded, Promise::PinnedKeepsItsName);
    assert_goes_through(&trace, &["repairer: daemon::discard_damaged: the upgrade fails"]);
    assert_ends(&trace, &["sweep: removal::rename_out: renamed"]);
}

#[test]
fn rule_3_a_hit_before_the_lock_is_seen() {
    let trace = of_sealed(&[Reader, Sweep], Rename::Works)
        .assert_needs(Omission::RemoverLooksOnce, Promise::ChangedIsKept);
    assert_goes_through(&trace, &["reader: daemon::touch: sets the mtime"]);
}

#[test]
fn rule_3_an_entry_that_replaced_a_damaged_one_is_not_taken_for_it() {
    let damaged = [Some(Entry::DAMAGED)];
    Protocol::new(&[Writer, Verify, Sweep], &damaged, &[Rename::Works])
        .assert_needs(Omission::RemoverLooksOnce, Promise::HealthyIsKept);
}

#[test]
fn rule_3_a_reader_never_serves_what_left_while_it_waited_for_the_lock() {
    of_sealed(&[Reader, Sweep], Rename::Works)
        .assert_needs(Omission::ReaderLooksFirst, Promise::ServedIsThere);
}

#[test]
fn rule_3_a_writer_never_writes_into_what_another_has_sealed() {
    let trace = Protocol::new(&[Writer, Writer], &[None], &[Rename::Works])
        .assert_needs(Omission::WriterLooksOnce, Promise::SealedIsWhole);
    assert!(trace.last().is_some_and(|last| last.ends_with("encoder: opens a segment")));
}

#[test]
fn rule_4_what_changed_after_the_plan_is_kept() {
    let trace = of_sealed(&[Reader, Sweep], Rename::Works)
        .assert_needs(Omission::NotComparedWithPlan, Promise::ChangedIsKept);
    assert_goes_through(&trace, &["reader: daemon::touch: sets the mtime"]);
    assert_goes_through(&trace, &["sweep: maintain::rescan_unchanged: still to be removed"]);
}

#[test]
fn rule_4_force_never_takes_an_entry_apart_under_its_reader() {
    let trace = of_sealed(&[Reader, Force], Rename::Fails)
        .assert_needs(Omission::ForcedInPlace, Promise::ServedIsThere);
    assert_ends(&trace, &["invalidate --force: removal::delete_in_place: unlinks a segment"]);
}

#[test]
fn rule_5_nobody_sees_half_a_sealed_entry() {
    let trace = of_sealed(&[Sweep], Rename::Works)
        .assert_needs(Omission::DeletedUnderItsName, Promise::SealedIsWhole);
    assert_ends(&trace, &["sweep: removal::delete_in_place: unlinks a segment"]);
}

#[test]
fn rule_5_a_rename_that_left_its_source_is_noticed() {
    let trace = of_sealed(&[Sweep], Rename::LeavesSource)
        .assert_needs(Omission::RenameIsBelieved, Promise::SweepReachesLimit);
    let renamed = "the last sweep: removal::rename_out: 0, but the source stays";
    assert_ends(&trace, &[renamed, "the last sweep: removal::take_out: releases the lock"]);
}

#[test]
fn rule_6_a_deletion_in_place_may_die_anywhere() {
    let trace = of_sealed(&[Sweep], Rename::Fails)
        .assert_needs(Omission::CompleteGoesLast, Promise::SealedIsWhole);
    assert_ends(&trace, &["sweep: removal::delete_in_place: unlinks a segment"]);
}

#[test]
fn rule_6_a_deletion_in_place_keeps_readers_out() {
    let trace = of_sealed(&[Reader, Sweep], Rename::Fails)
        .assert_needs(Omission::InPlaceWithoutLock, Promise::ServedIsThere);
    assert_goes_through(&trace, &["reader: daemon::lookup: hit"]);
}

/// A daemon resumes behind the last segment: what a killed deletion leaves must be the beginning of a film.
#[test]
fn rule_6_a_killed_deletion_in_place_leaves_no_gap_to_be_sealed() {
    let trace = of_sealed(&[Writer, Sweep], Rename::Fails)
        .assert_needs(Omission::FirstSegmentGoesFirst, Promise::SealedIsWhole);
    assert_goes_through(&trace, &["sweep: killed"]);
    assert_ends(&trace, &["writer: daemon::mark_complete: sealed"]);
}

/// The consequence: it takes one remover that follows no rule.
#[test]
fn rule_7_sealed_means_whole_only_where_every_remover_follows_the_rules() {
    let trace = of_sealed(&[Stranger], Rename::Works).assert_breaks(Promise::SealedIsWhole);
    assert_eq!(trace, ["rm -r: removal::delete_in_place: unlinks a segment"]);
    of_sealed(&[Reader, Stranger], Rename::Works).assert_breaks(Promise::ServedIsThere);
}

#[test]
fn rule_8_no_two_processes_hold_the_lock_on_two_files() {
    let trace = of_sealed(&[Reader, Reader, Sweep], Rename::Works)
        .assert_needs(Omission::PinIsUnlinked, Promise::PinnedKeepsItsName);
    assert_ends(&trace, &["sweep: removal::rename_out: renamed"]);
}

/// Not even where another program deletes lockfiles that nobody holds.
#[test]
fn rule_8_a_lock_on_a_file_without_a_name_is_no_lock() {
    let trace = of_sealed(&[Reader, Tidier, Sweep], Rename::Works)
        .assert_needs(Omission::LinkCountIsIgnored, Promise::PinnedKeepsItsName);
    assert_goes_through(&trace, &["tidier: unlinks: the pin file"]);
    assert_ends(&trace, &["sweep: removal::rename_out: renamed"]);
}
