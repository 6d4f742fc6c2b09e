//! Maintenance of an on-disk cache of HLS segments, and the protocol a daemon takes part in.
//!
//! # What always holds
//!
//! Maintainers delete from the cache while daemons use it, and any of these processes may die at any
//! instruction. These promises make that safe; each names the tests that try to break it. `tests/models`
//! models the lock protocol and examines every order of the steps of two or three processes on one entry;
//! its `known_holes` are what a remover without a lock (promise 7) can still break.
//!
//! 1. **An entry is pinned while a process holds the lock on its pin file.** The file's existence, content
//!    and age mean nothing, and the kernel releases the lock when the process dies.
//!    (`attack::race::no_pinned_file_is_lost_and_nothing_is_evicted_after_a_hit`,
//!    `contract::locks::a_pin_ends_with_its_holder_even_one_that_was_killed`)
//! 2. **Readers lock the pin shared, a remover locks it exclusively, and nobody upgrades a lock.** A remover
//!    retries a refused lock for a while, since another tool's probe also holds it for an instant.
//!    (`locks::tests::a_remover_keeps_readers_and_removers_out`,
//!    `contract::locks::one_of_two_holders_is_enough`)
//! 3. **A remover acts on what it sees under the lock.** It keeps an entry that was hit, written to, sealed
//!    or replaced after the plan was made.
//!    (`attack::race::no_pinned_file_is_lost_and_nothing_is_evicted_after_a_hit`,
//!    `contract::second_look::a_hit_that_moves_the_clock_by_a_nanosecond_is_seen`,
//!    `contract::second_look::an_orphan_that_is_written_to_after_the_plan_is_kept`)
//! 4. **A sealed entry is complete, at every instant and after any crash.** A remover renames the entry to
//!    the trash in one step; where it cannot, it deletes `.complete` first. There are no signal handlers, so
//!    nothing depends on one running.
//!    (`attack::crash::a_sweep_may_die_anywhere`, `attack::crash::a_deletion_in_place_may_die_anywhere`,
//!    `attack::crash::a_daemon_may_die_anywhere_before_and_after_it_seals`,
//!    `attack::failing_daemon::what_may_not_have_reached_the_disk_is_never_sealed`)
//! 5. **The next maintainer deletes the leftovers of one that died.** Anyone may delete trash.
//!    (`attack::crash::a_sweep_may_die_anywhere`, `contract::gc_orphans::leftover_trash_is_cleared`)
//! 6. **A failure on one entry does not stop the run.** The run reports it with its reason, does the rest
//!    and exits with 1.
//!    (`attack::faults::a_sweep_survives_any_failing_call`,
//!    `attack::faults::invalidate_survives_any_failing_call`)
//! 7. **Nothing is removed without a lock, except where the disk is too full to create the lockfile.** Then
//!    nobody else can create it either; the remover unseals the entry before it relies on that.
//!    (`attack::faults::without_locks_nothing_is_removed`,
//!    `attack::full_disk::a_sweep_frees_a_full_disk`,
//!    `attack::full_disk::pins_protect_on_a_full_disk`,
//!    `contract::no_room_for_a_pin::a_reader_who_found_room_for_a_pin_meanwhile_keeps_the_entry`)
//! 8. **Lockfiles and the log belong to the owner of the cache, whoever created them.** Only regular files
//!    are used, and a process never changes owner or mode of a file that it did not create.
//!    (`attack::users::what_root_creates_belongs_to_the_cache_whatever_the_umask`,
//!    `attack::users::a_file_that_was_planted_keeps_owner_mode_and_content`,
//!    `contract::locks::lockfiles_are_never_unlinked_read_or_written`)
//! 9. **Read-only commands create no file**: dry runs, `stats` and `verify` without `--fix`.
//!    (`contract::locks::what_only_looks_creates_no_lockfile`)
//! 10. **No command leaves the cache directory**: it follows no symlink and crosses no mount, even one that
//!     somebody puts there during the run.
//!     (`attack::nothing_outside::a_directory_swapped_for_a_symlink_in_mid_run_leads_nowhere`,
//!     `attack::nothing_outside::a_directory_swapped_for_a_symlink_before_it_is_deleted_leads_nowhere`,
//!     `attack::nothing_outside::a_mount_that_comes_after_the_plan_is_seen`,
//!     `attack::nothing_outside::something_else_in_an_entry_goes_with_it_and_no_further`)
//! 11. **No command touches foreign files**, and one bad entry does not stop the run.
//!     (`attack::nothing_outside::something_else_in_an_entrys_place_is_foreign`,
//!     `contract::foreign::no_command_touches_what_is_foreign`)
//! 12. **What a sweep remembers decides nothing.** An entry is measured before it goes, and if it is not as remembered,
//!     everything is.
//!     (`attack::race::no_pinned_file_is_lost_and_nothing_is_evicted_after_a_hit`,
//!     `contract::memory::an_entry_that_grew_in_place_is_found_before_it_goes_and_then_all_are_measured`,
//!     `contract::memory::forged_sizes_evict_nothing_more_than_there_is_and_stop_no_run`)
//!
//! They hold where every process uses the same mount of the cache and takes the locks. The entries of a
//! daemon that takes no locks are protected by open files, recent reads and ages alone
//! ([`plan::MIN_AGE`], `--keep-recent`).

#![deny(clippy::print_stdout, clippy::print_stderr)]

// The modules are public for the binary, which is another crate; daemons use the re-exports below.
// `tests/packaging/layers.rs` checks which module may use which.
#[doc(hidden)]
pub mod cache;
#[doc(hidden)]
pub mod daemon;
#[doc(hidden)]
pub mod error;
#[doc(hidden)]
pub mod escape;
#[doc(hidden)]
pub mod history;
#[doc(hidden)]
pub mod key;
#[doc(hidden)]
pub mod layout;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod library;
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
pub mod source;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod stamp;
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
pub use key::{Encode, InvalidKey, Key, KeyInputs};
// The enums of causes and reasons may be matched exhaustively: a program that words them should not miss a
// new one. Structs that will gain fields are `#[non_exhaustive]`.
pub use maintain::{Decision, Kind, Outcome, Refused};
pub use plan::{Cause, Fate, Limit, Limits, Protection, Sweep, Unmet};
pub use root::Root;
pub use stats::Stats;
pub use units::{FreeSpace, Percent};
pub use verify::{Checks, Fault, FaultCode, Health};
