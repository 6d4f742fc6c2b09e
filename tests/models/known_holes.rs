//! What the protocol does not promise where a remover does without a lock (rule 9), each with the shortest
//! trace. A test here fails when its hole is closed: then it belongs to `filling_disk`.

use crate::disk::{Entry, Rename};
use crate::model::Protocol;
use crate::party::Role::{self, Invalidate, Reader, Sweep, Writer};
use crate::promise::Promise;
use crate::trace::assert_goes_through;

fn of_sealed(cast: &[Role], rename: Rename) -> Protocol {
    Protocol::new(cast, &[Some(Entry::SEALED)], &[rename]).on_a_disk_that_fills()
}

/// For the instant between the rename and the rename back; for good if the remover is killed in it.
#[test]
fn an_entry_leaves_its_name_though_it_was_pinned_after_the_second_try() {
    let trace =
        of_sealed(&[Reader, Sweep], Rename::Works).assert_breaks(Promise::PinnedKeepsItsName);
    assert_goes_through(
        &trace,
        &[
            "sweep: locks::settle, create: no room",
            "reader: locks::pin, create: created",
            "reader: locks::pin, acquire: held",
            "sweep: removal::rename_out: renamed",
        ],
    );
}

/// `delete_in_place` is called without the lock that rule 6 asks for: where the entry cannot be renamed
/// either, or where the rename leaves it behind. A writer that finds room meanwhile resumes the entry.
/// `contract::no_room_for_a_pin` has the program do it.
#[test]
fn a_deletion_in_place_without_a_lock_leads_to_a_sealed_entry_with_a_gap() {
    let gap = [
        "sweep: locks::probe: not pinned",
        "writer: locks::pin, acquire: held",
        "writer: daemon::make_directory: EEXIST",
        "writer: daemon::mark_complete: the name is its own",
        "sweep: removal::unseal: unlinks .complete",
        "writer: daemon::mark_complete: sealed",
        "sweep: removal::delete_tree: unlinks a segment",
    ];
    let trace = of_sealed(&[Writer, Sweep], Rename::Fails).assert_breaks(Promise::SealedIsWhole);
    assert_goes_through(&trace, &gap);
    let trace =
        of_sealed(&[Writer, Sweep], Rename::LeavesSource).assert_breaks(Promise::SealedIsWhole);
    assert_goes_through(&trace, &gap);
    for rename in [Rename::Fails, Rename::LeavesSource] {
        let slowly = of_sealed(&[Writer, Sweep], rename).where_encodes_take_long();
        slowly.assert_breaks(Promise::SealedIsWhole);
    }
}

/// One remover finds the name taken, by the entry that the other one gave it back to.
#[test]
fn two_removers_without_locks_lead_to_a_sealed_entry_with_a_gap() {
    let trace = of_sealed(&[Writer, Sweep, Invalidate], Rename::Works)
        .where_encodes_take_long()
        .assert_breaks(Promise::SealedIsWhole);
    assert_goes_through(
        &trace,
        &[
            "sweep: removal::rename_out: renamed",
            "writer: locks::pin, acquire: held",
            "writer: daemon::make_directory: made",
            "invalidate: removal::rename_out: renamed",
            "sweep: removal::rename_back: has its name again",
            "writer: daemon::make_directory: opened",
            "invalidate: removal::rename_back: EEXIST",
            "invalidate: removal::is_left_behind: left behind",
            "invalidate: removal::delete_tree: unlinks a segment",
            "writer: daemon::mark_complete: sealed",
        ],
    );
}

/// Anyone may delete trash, also what is about to get its name back.
#[test]
fn a_sweep_that_starts_deletes_what_another_remover_would_give_back() {
    let trace = of_sealed(&[Reader, Sweep, Invalidate], Rename::Works)
        .assert_breaks(Promise::PinnedIsNotDeleted);
    assert_goes_through(
        &trace,
        &[
            "reader: locks::pin, acquire: held",
            "invalidate: removal::rename_out: renamed",
            "sweep: maintain::delete_leftover_trash: done",
            "invalidate: locks::probe: pinned",
            "invalidate: removal::rename_back: ENOENT",
        ],
    );
}

/// `is_left_behind` takes a sealed entry for the old one, since no daemon seals that fast.
#[test]
fn an_encode_as_fast_as_two_system_calls_is_deleted_while_it_is_served() {
    let trace =
        of_sealed(&[Writer, Sweep], Rename::Works).assert_breaks(Promise::PinnedIsNotDeleted);
    assert_goes_through(
        &trace,
        &[
            "sweep: removal::rename_out: renamed",
            "sweep: locks::probe: not pinned",
            "writer: daemon::make_directory: made",
            "writer: daemon::mark_complete: sealed",
            "sweep: removal::is_left_behind: left behind",
            "sweep: removal::unseal: unlinks .complete",
        ],
    );
}
