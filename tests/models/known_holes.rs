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

/// A writer that finds room between the remover's last try and the file that goes then, and has looked by that time
/// at what it resumes, seals a gap. One file is the most that goes so, and playlists go first.
#[test]
fn a_segment_may_go_in_the_instant_after_the_lock_was_tried() {
    for rename in [Rename::Fails, Rename::LeavesSource] {
        let trace = of_sealed(&[Writer, Sweep], rename)
            .where_encodes_take_long()
            .assert_breaks(Promise::SealedIsWhole);
        assert_goes_through(
            &trace,
            &[
                "sweep: locks::lock_for_removal, create: no room",
                "writer: locks::pin, acquire: held",
                "writer: daemon::make_directory: opened",
                "sweep: removal::delete_last: unlinks the last segment",
                "writer: daemon::mark_complete: sealed",
            ],
        );
    }
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
