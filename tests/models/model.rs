//! A cast of processes on one key, for the model checker.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use stateright::{Checker, Model, Property};

use crate::call::Call;
use crate::disk::{Disk, Entry, Rename};
use crate::omission::Omission;
use crate::party::{Party, Role};
use crate::promise::Promise;
use crate::turn::{Broken, PARTIES, State, Step, Turn};

/// Who is there, what is on the disk at first, which rule is left out, and what must hold.
#[derive(Clone, Debug)]
pub struct Protocol {
    cast: [Role; PARTIES],
    starts: Vec<State>,
    fills: bool,
    omission: Option<Omission>,
    promises: Vec<Promise>,
    taken: Arc<Mutex<BTreeSet<Call>>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// A process takes its next step.
    Step(usize),
    /// A process is killed, and the kernel releases its locks.
    Kill(usize),
    /// A process takes its next step, which needs room, and finds none for its user.
    StepWithoutRoom(usize),
}

/// A violation, by the fewest steps.
#[derive(Debug)]
pub struct Trace {
    pub promise: Promise,
    pub lines: Vec<String>,
}

/// Every state that can be reached was examined, unless there is a trace.
#[derive(Debug)]
pub struct Examined {
    pub states: usize,
    pub trace: Option<Trace>,
    pub taken: BTreeSet<Call>,
}

impl Protocol {
    /// The cast on every kind of disk: without and with lockfiles, and with each of `entries`.
    pub fn new(cast: &[Role], entries: &[Option<Entry>], renames: &[Rename]) -> Self {
        let mut all = [Role::Nobody; PARTIES];
        all[..cast.len()].copy_from_slice(cast);
        let mut starts = Vec::new();
        for &rename in renames {
            for &entry in entries {
                for has_lockfiles in [false, true] {
                    starts.push(State {
                        disk: Disk::new(rename, entry, has_lockfiles),
                        parties: [Party::GONE; PARTIES],
                        broken: Broken::default(),
                    });
                }
            }
        }
        let taken = Arc::default();
        Self { cast: all, starts, fills: false, omission: None, promises: Vec::new(), taken }
    }

    /// Every file that is created may find no room, whatever the others find: the disk fills and empties at any
    /// time, and users have quotas. A run may have trash of its own.
    pub fn on_a_disk_that_fills(mut self) -> Self {
        self.fills = true;
        self
    }

    /// Leaves a rule out.
    pub fn without(mut self, omission: Omission) -> Self {
        self.omission = Some(omission);
        self
    }

    /// Examines every state; stops at the first in which a promise does not hold.
    pub fn examine(mut self, promises: &[Promise]) -> Examined {
        self.promises = promises.to_vec();
        let taken = Arc::clone(&self.taken);
        // One thread, so that the search is breadth-first and a trace the shortest.
        let checker = self.checker().threads(1).spawn_bfs().join();
        let trace = checker.discovery(PROMISES).map(|path| checker.model().trace(path.into_vec()));
        let taken = taken.lock().expect("no test panicked in it").clone();
        Examined { states: checker.unique_state_count(), trace, taken }
    }

    pub fn turn<'a>(&self, state: &'a mut State, me: usize, role: Role) -> Turn<'a> {
        Turn { state, me, role, has_room: true, omission: self.omission }
    }

    fn is_remover(&self, n: usize) -> bool {
        matches!(self.cast[n], Role::Sweep | Role::Invalidate | Role::Force)
    }

    fn take(&self, state: &mut State, action: Action) -> Option<Step> {
        match action {
            Action::Step(n) => Some(self.turn(state, n, self.cast[n]).step()),
            Action::Kill(n) => {
                state.parties[n] = Party::GONE;
                None
            }
            Action::StepWithoutRoom(n) => {
                let turn = self.turn(state, n, self.cast[n]);
                Some(Turn { has_room: false, ..turn }.step())
            }
        }
    }

    fn trace(&self, path: Vec<(State, Option<Action>)>) -> Trace {
        let (last, _) = path.last().expect("a path has an end");
        let broken = self.promises.iter().find(|promise| !promise.holds(self, last));
        let promise = *broken.expect("the path leads to a violation");
        let line = |(mut state, action): (State, Option<Action>)| {
            let action = action?;
            let step = self.take(&mut state, action);
            let (Action::Step(n) | Action::StepWithoutRoom(n) | Action::Kill(n)) = action;
            Some(match step {
                Some(step) => format!("{}: {step}", self.name(n)),
                None => format!("{}: killed", self.name(n)),
            })
        };
        Trace { promise, lines: path.into_iter().filter_map(line).collect() }
    }

    /// With a number if the cast has more of that role.
    fn name(&self, n: usize) -> String {
        let role = self.cast[n];
        let before = self.cast[..n].iter().filter(|&&other| other == role).count();
        let is_only = self.cast.iter().filter(|&&other| other == role).count() == 1;
        if is_only { role.to_string() } else { format!("{role} {}", before + 1) }
    }
}

/// One property for the checker: with several, it does not keep the shortest trace of each.
const PROMISES: &str = "every promise holds";

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let looks_first = self.omission == Some(Omission::ReaderLooksFirst);
        let own_trash: &[bool] = if self.fills { &[false, true] } else { &[false] };
        let mut states = Vec::new();
        for start in &self.starts {
            for &has_own_trash in own_trash {
                let mut state = *start;
                for (n, party) in state.parties.iter_mut().enumerate() {
                    let has_own_trash = has_own_trash && self.is_remover(n);
                    *party = Party::new(self.cast[n], has_own_trash, looks_first);
                }
                states.push(state);
            }
        }
        states
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let alive = (0..PARTIES).filter(|&n| !state.parties[n].is_gone());
        for n in alive {
            actions.push(Action::Step(n));
            actions.push(Action::Kill(n));
            if self.fills && state.parties[n].needs_room(&state.disk) {
                actions.push(Action::StepWithoutRoom(n));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = *last;
        if let Some(step) = self.take(&mut state, action) {
            self.taken.lock().expect("no test panicked in it").extend(
                [Some(step.call), step.within].into_iter().flatten(),
            );
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always(PROMISES, |model: &Self, state| {
            model.promises.iter().all(|promise| promise.holds(model, state))
        })]
    }
}
