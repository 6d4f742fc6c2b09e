//! A cast of processes on one key, for the model checker.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use stateright::{Checker, Model, Property};

use crate::call::Call;
use crate::disk::{Disk, Entry, Rename};
use crate::omission::Omission;
use crate::party::{At, Party, Role, Warrant};
use crate::promise::{self, Promise};
use crate::turn::{Broken, PARTIES, State, Step, Turn};

/// Who is there, what is on the disk at first, which rule is left out, and what must hold.
#[derive(Clone, Debug)]
pub struct Protocol {
    cast: [Role; PARTIES],
    starts: Vec<State>,
    fills: bool,
    encodes_take_long: bool,
    omission: Option<Omission>,
    promises: Vec<Promise>,
    /// The calls that the processes made, in any order that was examined.
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
struct Trace {
    promise: Promise,
    lines: Vec<String>,
}

/// Every state that can be reached was examined, unless there is a trace.
#[derive(Debug)]
struct Examined {
    states: usize,
    trace: Option<Trace>,
    taken: BTreeSet<Call>,
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
        Self {
            cast: all,
            starts,
            fills: false,
            encodes_take_long: false,
            omission: None,
            promises: Vec::new(),
            taken,
        }
    }

    /// Every file that is created may find no room, whatever others find: the disk fills and empties at any
    /// time, and users have quotas. A run may have trash of its own.
    pub fn on_a_disk_that_fills(mut self) -> Self {
        self.fills = true;
        self
    }

    /// Assumes that no daemon seals an entry between two steps of a remover that does without a lock: an
    /// encode takes minutes, and those take microseconds.
    pub fn where_encodes_take_long(mut self) -> Self {
        self.encodes_take_long = true;
        self
    }

    fn without(mut self, omission: Omission) -> Self {
        self.omission = Some(omission);
        self
    }

    /// Asserts that the promises hold in every state, and returns the calls that the processes made.
    pub fn assert_holds(self, promises: &[Promise]) -> BTreeSet<Call> {
        let cast = self.title();
        let examined = self.examine(promises);
        println!("{cast}: {} states", examined.states);
        if let Some(Trace { promise, lines }) = &examined.trace {
            panic!("{cast}: broken: {promise}\n{}", lines.join("\n"));
        }
        examined.taken
    }

    /// Asserts that the promise can be broken, and returns the shortest trace of it.
    pub fn assert_breaks(self, promise: Promise) -> Vec<String> {
        let title = self.title();
        let Examined { states, trace, .. } = self.examine(&[promise]);
        let trace = trace.unwrap_or_else(|| panic!("{title}: {promise}, in all {states} states"));
        println!("{title}, broken: {promise}\n  {}", trace.lines.join("\n  "));
        trace.lines
    }

    /// Asserts that the promise holds in every state, and that `omission` breaks it. Returns the trace.
    pub fn assert_needs(self, omission: Omission, promise: Promise) -> Vec<String> {
        let omitted = self.clone().without(omission);
        self.assert_holds(&[promise]);
        omitted.assert_breaks(promise)
    }

    fn title(&self) -> String {
        let is_there = |role: &&Role| **role != Role::Nobody;
        let names: Vec<_> = self.cast.iter().filter(is_there).map(Role::to_string).collect();
        match self.omission {
            None => names.join(", "),
            Some(omission) => format!("{} ({omission:?})", names.join(", ")),
        }
    }

    /// Examines every state; stops at the first in which a promise does not hold.
    fn examine(mut self, promises: &[Promise]) -> Examined {
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
        let last = *last;
        let mut lines: Vec<_> = path.into_iter().filter_map(line).collect();
        if promise == Promise::SweepReachesLimit {
            lines.extend(promise::last_sweep(self, &last));
        }
        Trace { promise, lines }
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
        let is_unheld = |party: &Party| party.warrant == Warrant::Unheld;
        let is_too_fast = self.encodes_take_long && state.parties.iter().any(is_unheld);
        for n in alive {
            actions.push(Action::Kill(n));
            if is_too_fast && state.parties[n].at == At::Seal {
                continue;
            }
            actions.push(Action::Step(n));
            if self.fills && state.parties[n].needs_room(&state.disk) {
                actions.push(Action::StepWithoutRoom(n));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = *last;
        if let Some(step) = self.take(&mut state, action) {
            self.taken
                .lock()
                .expect("no test panicked in it")
                .extend([Some(step.call), step.within].into_iter().flatten());
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always(PROMISES, |model: &Self, state| {
            model.promises.iter().all(|promise| promise.holds(model, state))
        })]
    }
}
