//! Maintenance of an on-disk cache of HLS segments, and the protocol a daemon takes part in.
//!
//! # What always holds
//!
//! The cache is deleted from while it is used, by processes that may die at any instruction. These are
//! the promises that make it safe, each with the tests that try to break it.
//!
//! 1. **Who holds the lock on a pin keeps the entry.** Nothing else pins: not that the file is there,
//!    not what is in it or how old it is; and a lock dies with its process.
//!    (`attack::race::no_pinned_file_is_lost_and_nothing_is_evicted_after_a_hit`,
//!    `contract::locks::a_pin_ends_with_its_holder_even_one_that_was_killed`)
//! 2. **Readers share, one remover excludes, nobody upgrades.** A refusal has to last before it counts,
//!    since a probe looks like a reader for an instant.
//!    (`locks::tests::a_remover_keeps_readers_and_removers_out`,
//!    `contract::locks::one_of_two_holders_is_enough`)
//! 3. **Only what is seen under the lock counts.** What was hit, written, sealed or replaced after it
//!    was planned stays.
//!    (`attack::race::no_pinned_file_is_lost_and_nothing_is_evicted_after_a_hit`,
//!    `contract::second_look::a_hit_that_moves_the_clock_by_a_nanosecond_is_seen`,
//!    `contract::second_look::an_orphan_that_is_written_to_after_the_plan_is_kept`)
//! 4. **A sealed name is a whole entry, at every instant and after any crash.** An entry leaves its
//!    name by one rename; where that cannot be, its marker goes first. No handler runs at death, so
//!    none can be missed.
//!    (`attack::crash::a_sweep_may_die_anywhere`, `attack::crash::a_deletion_in_place_may_die_anywhere`,
//!    `attack::crash::a_daemon_may_die_anywhere_before_and_after_it_seals`,
//!    `attack::failing_daemon::what_may_not_have_reached_the_disk_is_never_sealed`)
//! 5. **What a dead process leaves, the next one clears away.** Trash is anybody's to delete.
//!    (`attack::crash::a_sweep_may_die_anywhere`, `contract::gc_orphans::leftover_trash_is_cleared`)
//! 6. **One failure is one failure.** It is named with its reason, ends the run with 1, and stops
//!    nothing else.
//!    (`attack::faults::a_sweep_survives_any_failing_call`,
//!    `attack::faults::invalidate_survives_any_failing_call`)
//! 7. **Without a lock nothing is removed, except on a disk too full to have one.** There nobody else
//!    can have one either, and the entry is unsealed before that is believed.
//!    (`attack::faults::without_locks_nothing_is_removed`,
//!    `attack::full_disk::a_sweep_frees_a_full_disk`,
//!    `attack::full_disk::pins_protect_on_a_full_disk`,
//!    `contract::no_room_for_a_pin::a_reader_who_found_room_for_a_pin_meanwhile_keeps_the_entry`)
//! 8. **Lockfiles and log belong to the cache's owner, whoever made them**, and to nobody's harm: only
//!    regular files will do, and none that this process did not create changes hands or mode.
//!    (`attack::users::what_root_creates_belongs_to_the_cache_whatever_the_umask`,
//!    `attack::users::a_file_that_was_planted_keeps_owner_mode_and_content`,
//!    `contract::locks::lockfiles_are_never_unlinked_read_or_written`)
//! 9. **Looking changes nothing**: no dry run, `stats` or `verify` creates a file.
//!    (`contract::locks::what_only_looks_creates_no_lockfile`)
//! 10. **Nothing leads out of the cache**: no symlink is followed and no mount crossed, whatever is
//!     swapped or mounted in mid-run.
//!     (`attack::nothing_outside::a_directory_swapped_for_a_symlink_in_mid_run_leads_nowhere`,
//!     `attack::nothing_outside::a_directory_swapped_for_a_symlink_before_it_is_deleted_leads_nowhere`,
//!     `attack::nothing_outside::a_mount_that_comes_after_the_plan_is_seen`,
//!     `attack::nothing_outside::something_else_in_an_entry_goes_with_it_and_no_further`)
//! 11. **What is not ours is not touched**, and one bad entry does not stop the rest.
//!     (`attack::nothing_outside::something_else_in_an_entrys_place_is_foreign`,
//!     `contract::foreign::no_command_touches_what_is_foreign`)
//!
//! They hold where every party uses the same mount of the cache and takes the locks; from a daemon that
//! takes none, only ages protect ([`plan::MIN_AGE`], `--keep-recent`).

#![deny(clippy::print_stdout, clippy::print_stderr)]

// The rooms are public for the binary, which is another crate; what a daemon needs is re-exported below.
// Which room may use which is held by `tests/packaging/layers.rs`.
#[doc(hidden)]
pub mod cache;
#[doc(hidden)]
pub mod daemon;
#[doc(hidden)]
pub mod error;
#[doc(hidden)]
pub mod escape;
#[doc(hidden)]
pub mod key;
#[doc(hidden)]
pub mod layout;
#[doc(hidden)]
pub mod locks;
#[doc(hidden)]
pub mod maintain;
#[doc(hidden)]
pub mod plan;
#[doc(hidden)]
pub mod progress;
mod removal;
#[doc(hidden)]
pub mod root;
#[doc(hidden)]
pub mod stats;
mod sys;
#[doc(hidden)]
pub mod units;
#[doc(hidden)]
pub mod verify;

pub use daemon::{Busy, Cache, Lookup, Pin, SealError, Start, Writer};
pub use error::{Error, Operation, Reason};
pub use escape::Escaped;
pub use key::{InvalidKey, Key, KeyInputs};
pub use maintain::{Decision, Kind, Limits, Outcome, Refused};
pub use plan::{Cause, Fate, Protection, Sweep, Unmet};
pub use root::Root;
pub use stats::Stats;
pub use units::{FreeSpace, Percent};
pub use verify::{Checks, Fault, FaultCode, Health};
