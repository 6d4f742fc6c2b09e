//! What must hold in every state.

use std::fmt;

use crate::disk::Entry;
use crate::model::Protocol;
use crate::party::{Party, Role};
use crate::turn::{PARTIES, State, Step, Turn};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Promise {
    /// No remover takes an entry from its name, or a file from it, while it is pinned. A forced rename may.
    PinnedKeepsItsName,
    /// `.complete` under the name means that no segment is missing, at every instant and after any kill.
    SealedIsWhole,
    /// What a pinned reader serves is whole and under its name.
    ServedIsThere,
    /// A sweep keeps an entry that was hit, written to, sealed or replaced between its plan and its lock.
    ChangedIsKept,
    /// `verify --fix` keeps an entry that is no longer damaged.
    HealthyIsKept,
    /// With all processes gone, a sweep reaches its limit, which is nothing, and leaves no trash.
    SweepReachesLimit,
    /// A remover never deletes what another process had pinned before it left its name.
    PinnedIsNotDeleted,
    /// No run unseals an entry without a lock while deleting its own trash might make room for one.
    OwnTrashGoesFirst,
}

impl Promise {
    pub fn holds(self, model: &Protocol, state: &State) -> bool {
        match self {
            Self::PinnedKeepsItsName => !state.broken.took_pinned,
            Self::SealedIsWhole => {
                state.disk.named().is_none_or(|entry| !entry.complete || entry.is_whole())
            }
            Self::ServedIsThere => (0..PARTIES).filter_map(|n| state.serves(n)).all(|ino| {
                state.disk.name == Some(ino) && state.disk.named().is_some_and(Entry::is_whole)
            }),
            Self::ChangedIsKept => !state.broken.took_changed,
            Self::HealthyIsKept => !state.broken.took_healthy,
            Self::SweepReachesLimit => {
                !state.parties.iter().all(Party::is_gone)
                    || [true, false].iter().all(|&room| sweep_alone(model, state, room).is_none())
            }
            Self::PinnedIsNotDeleted => !state.broken.deleted_pinned,
            Self::OwnTrashGoesFirst => !state.broken.unsealed_needlessly,
        }
    }
}

/// The steps of a sweep with nobody else there, with room or without, that does not reach its limit.
pub fn last_sweep(model: &Protocol, state: &State) -> Vec<String> {
    let failed = [true, false].iter().find_map(|&room| sweep_alone(model, state, room));
    let steps = failed.unwrap_or_default();
    steps.iter().map(|step| format!("the last sweep: {step}")).collect()
}

/// `None` if it reaches its limit.
fn sweep_alone(model: &Protocol, state: &State, has_room: bool) -> Option<Vec<Step>> {
    let mut state = *state;
    state.parties[0] = Party::new(Role::Sweep, false, false);
    let mut steps = Vec::new();
    while !state.parties[0].is_gone() {
        let turn = model.turn(&mut state, 0, Role::Sweep);
        steps.push(Turn { has_room, ..turn }.step());
    }
    let has_reached = state.disk.name.is_none() && state.disk.trash().next().is_none();
    (!has_reached).then_some(steps)
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PinnedKeepsItsName => "a pinned entry keeps its name",
            Self::SealedIsWhole => "a sealed entry is whole",
            Self::ServedIsThere => "what is served is whole and under its name",
            Self::ChangedIsKept => "what changed after the plan is kept",
            Self::HealthyIsKept => "what is no longer damaged is kept",
            Self::SweepReachesLimit => "with all processes gone, a sweep reaches its limit",
            Self::PinnedIsNotDeleted => "what was pinned when it left its name is not deleted",
            Self::OwnTrashGoesFirst => {
                "nothing is unsealed without a lock before own trash is gone"
            }
        })
    }
}
