//! Models of the lock protocol: every order in which two or three processes can take their steps on one
//! entry, with a kill before any step. The tests against the program try some of these orders; here the whole
//! space is examined, breadth-first, by stateright.
//!
//! `pins` has rules 1 to 8 of the contract, `filling_disk` has rule 9. With all rules every promise holds.
//! Each rule can be left out (`omission`), and then a promise must break: so the model is tested, too.
//! `known_holes` has what rule 9 does not promise.
//!
//! How a model differs from the program:
//! - A step is one system call, or several that nobody can tell from one. Each stands for a function under
//!   `src/` (`call`); a test fails when that is gone.
//! - There is one key. An entry has two segments, and the limit of a sweep is nothing at all. `gc-orphans`
//!   takes the steps of a sweep.
//! - A refused lock is final. Retries are waits, and any step may come as late as it likes.
//! - `.write` is opened and locked in one step: its lockfile is opened as the pin is.
//! - The maintenance lock is left out, since nothing may depend on it.
//! - A writer resumes a partial entry at its first gap, and deletes what is behind it.
//! - `filling_disk` assumes that no daemon encodes and seals an entry between two steps of a remover without a
//!   lock.
//!
//! `cargo test --test models -- --nocapture` prints the number of states of each model, and the traces.

mod call;
mod daemons;
mod disk;
mod filling_disk;
mod known_holes;
mod locking;
mod model;
mod no_room;
mod omission;
mod party;
mod pins;
mod promise;
mod remover;
mod trace;
mod turn;
