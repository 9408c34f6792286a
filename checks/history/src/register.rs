//! Linearizability of each key, as a register with create, compare-and-swap, delete and read.
//!
//! The search is Lowe's just-in-time linearization ("Testing for linearizability", 2017): requests are looked at in
//! the order in which they were sent and answered, and a set of configurations is kept, each a state of the
//! register together with what was already put into an order. A request is put into order no earlier than its
//! answer forces it. That payloads are unique keeps the set small:
//!
//! - A read, and a refusal, is put into order as soon as the state allows it: that never excludes anything.
//! - A state that was replaced never comes back, so a compare-and-swap of unknown outcome needs no memory.
//! - Payloads that no answer and no compare-and-swap names are one state. The creates of unknown outcome that write
//!   them, and the deletes of unknown outcome, are only counted.
//!
//! A request of unknown outcome may be put into order at any time after it was sent, or never.

use std::collections::{HashMap, HashSet};

use crate::anomaly::{Anomaly, Kind};
use crate::observed::by_key;
use crate::record::{Action, Operation, Outcome};

/// How many configurations a search may visit, unless it is told otherwise. Histories of real clusters need a few
/// per request.
pub const BUDGET: usize = 20_000_000;

/// What the search says.
#[derive(Debug, Default)]
pub struct Linearizability {
    /// The first request of each key that no order explains.
    pub anomalies: Vec<Anomaly>,
    /// Keys that were not judged, and why.
    pub undetermined: Vec<String>,
    /// How many configurations were visited.
    pub visited: usize,
}

/// Checks each key. `budget` bounds how many configurations are visited for one key.
#[must_use]
pub fn linearizable(operations: &[Operation], budget: usize) -> Linearizability {
    let mut result = Linearizability::default();
    let written = crate::observed::writers(operations);
    for (key, indices) in by_key(operations) {
        if let Some(anomaly) = indices.iter().find_map(|&index| from_the_future(operations, index, &written)) {
            result.anomalies.push(anomaly);
            continue;
        }
        let mut search = match Search::new(operations, &indices, budget) {
            Ok(search) => search,
            Err(why) => {
                result.undetermined.push(format!("{key}: {why}"));
                continue;
            }
        };
        match search.run() {
            Ok(()) => {}
            Err(Stop::Budget) => {
                let problem = format!("{key}: the search was given up after {budget} configurations");
                result.undetermined.push(problem);
            }
            Err(Stop::Unexplained { index, states }) => {
                result.anomalies.push(unexplained(&operations[index], index, &states));
            }
        }
        result.visited += search.visited;
    }
    result
}

/// A client cannot replace what was not yet written.
fn from_the_future(operations: &[Operation], index: usize, written: &HashMap<u64, usize>) -> Option<Anomaly> {
    let operation = &operations[index];
    let replaces = operation.action.replaces()?;
    let writer = *written.get(&replaces.payload)?;
    let detail = format!("it replaces payload {}, which was written by a later request", replaces.payload);
    let early = operations[writer].invoked > operation.invoked;
    early
        .then(|| Anomaly::new(Kind::NotLinearizable, &operation.key, detail).at(operation.invoked).of(&[index, writer]))
}

fn unexplained(operation: &Operation, index: usize, states: &[State]) -> Anomaly {
    let answer = match &operation.outcome {
        Outcome::Done { .. } => "was acknowledged".to_owned(),
        Outcome::Found { seen } => format!("returned payload {} (resourceVersion {})", seen.payload, seen.version),
        Outcome::NotFound => "found nothing".to_owned(),
        Outcome::Conflict => "was refused as a conflict".to_owned(),
        Outcome::AlreadyExists => "was refused since the object exists".to_owned(),
        Outcome::Rejected { reason } | Outcome::Unknown { reason } => reason.clone(),
    };
    let asked = match operation.action.replaces() {
        Some(seen) => format!("{} of payload {}", operation.action.verb(), seen.payload),
        None => operation.action.verb().to_owned(),
    };
    let states: Vec<_> = states.iter().map(State::to_string).collect();
    let detail = format!(
        "client {} at {}: {asked} {answer}; before it only {} was possible",
        operation.client,
        operation.endpoint,
        states.join(" or ")
    );
    let at = operation.completed.unwrap_or(operation.invoked);
    Anomaly::new(Kind::NotLinearizable, &operation.key, detail).at(at).of(&[index])
}

/// What the register holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum State {
    Absent,
    /// A payload that an answer or a compare-and-swap names.
    Payload(u64),
    /// Any other one.
    Other,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absent => f.write_str("no object"),
            Self::Payload(payload) => write!(f, "payload {payload}"),
            Self::Other => f.write_str("a payload that nobody saw"),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Condition {
    Absent,
    Present,
    Is(State),
    IsNot(State),
}

impl Condition {
    fn holds(self, state: State) -> bool {
        match self {
            Self::Absent => state == State::Absent,
            Self::Present => state != State::Absent,
            Self::Is(expected) => state == expected,
            Self::IsNot(other) => state != other,
        }
    }
}

/// What a request does, if its answer is known.
#[derive(Debug, Clone, Copy)]
struct Effect {
    when: Condition,
    /// Nothing for a read or a refusal.
    then: Option<State>,
}

/// What a request of unknown outcome may do.
#[derive(Debug, Clone, Copy)]
enum Maybe {
    /// Payloads that are named need to be remembered one by one: this is the create's number among them.
    Create(u32, State),
    CreateOther,
    Delete,
    Swap {
        from: State,
        to: State,
    },
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Sent(usize),
    Answered(usize),
    Maybe(Maybe),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Configuration {
    state: State,
    /// The slots of requests under way that are already in order.
    ordered: u128,
    /// The named creates of unknown outcome that took effect.
    creates: u128,
    other_creates: u32,
    deletes: u32,
}

enum Stop {
    Budget,
    Unexplained { index: usize, states: Vec<State> },
}

struct Search {
    events: Vec<Event>,
    effects: HashMap<usize, Effect>,
    /// Requests under way, by slot.
    slots: Vec<Option<usize>>,
    slot_of: HashMap<usize, usize>,
    creates: Vec<(u32, State)>,
    other_creates: u32,
    deletes: u32,
    swaps: HashMap<State, Vec<State>>,
    configurations: HashSet<Configuration>,
    visited: usize,
    budget: usize,
}

impl Search {
    fn new(operations: &[Operation], indices: &[usize], budget: usize) -> Result<Self, String> {
        let named: HashSet<u64> = indices
            .iter()
            .flat_map(|&index| {
                let found = match &operations[index].outcome {
                    Outcome::Found { seen } => Some(seen.payload),
                    _ => None,
                };
                [found, operations[index].action.replaces().map(|seen| seen.payload)]
            })
            .flatten()
            .collect();
        let state = |payload: u64| if named.contains(&payload) { State::Payload(payload) } else { State::Other };

        let mut effects = HashMap::new();
        let mut events = Vec::new();
        let mut numbered = 0;
        for &index in indices {
            let operation = &operations[index];
            if let Some(effect) = effect(operation, state) {
                effects.insert(index, effect);
                events.push(((operation.invoked, false), Event::Sent(index)));
                let completed = operation.completed.unwrap_or(u64::MAX);
                events.push(((completed, true), Event::Answered(index)));
            } else if matches!(operation.outcome, Outcome::Unknown { .. }) {
                let maybe = match &operation.action {
                    Action::Create { payload } if state(*payload) == State::Other => Maybe::CreateOther,
                    Action::Create { payload } => {
                        numbered += 1;
                        Maybe::Create(numbered - 1, state(*payload))
                    }
                    Action::Update { payload, replaces } => {
                        Maybe::Swap { from: state(replaces.payload), to: state(*payload) }
                    }
                    Action::Delete { replaces: Some(seen) } => {
                        Maybe::Swap { from: state(seen.payload), to: State::Absent }
                    }
                    Action::Delete { replaces: None } => Maybe::Delete,
                    Action::Get { .. } => continue,
                };
                events.push(((operation.invoked, false), Event::Maybe(maybe)));
            }
        }
        if numbered > u128::BITS {
            return Err(format!("{numbered} creates of unknown outcome were seen; {} can be followed", u128::BITS));
        }
        // What touches in time is taken as concurrent: sendings stand before answers of the same moment.
        events.sort_by_key(|(when, _)| *when);
        let start = Configuration { state: State::Absent, ordered: 0, creates: 0, other_creates: 0, deletes: 0 };
        Ok(Self {
            events: events.into_iter().map(|(_, event)| event).collect(),
            effects,
            slots: Vec::new(),
            slot_of: HashMap::new(),
            creates: Vec::new(),
            other_creates: 0,
            deletes: 0,
            swaps: HashMap::new(),
            configurations: HashSet::from([start]),
            visited: 0,
            budget,
        })
    }

    fn run(&mut self) -> Result<(), Stop> {
        for event in std::mem::take(&mut self.events) {
            match event {
                Event::Sent(index) => self.sent(index)?,
                Event::Answered(index) => self.answered(index)?,
                Event::Maybe(Maybe::Create(number, state)) => self.creates.push((number, state)),
                Event::Maybe(Maybe::CreateOther) => self.other_creates += 1,
                Event::Maybe(Maybe::Delete) => self.deletes += 1,
                Event::Maybe(Maybe::Swap { from, to }) => self.swaps.entry(from).or_default().push(to),
            }
        }
        Ok(())
    }

    fn sent(&mut self, index: usize) -> Result<(), Stop> {
        let slot = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        if slot == u128::BITS as usize {
            return Err(Stop::Budget);
        }
        if slot == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[slot] = Some(index);
        self.slot_of.insert(index, slot);
        let effect = self.effects[&index];
        if effect.then.is_none() {
            let all = std::mem::take(&mut self.configurations);
            self.configurations = all
                .into_iter()
                .map(|mut one| {
                    one.ordered |= u128::from(effect.when.holds(one.state)) << slot;
                    one
                })
                .collect();
        }
        Ok(())
    }

    fn answered(&mut self, index: usize) -> Result<(), Stop> {
        let Some(slot) = self.slot_of.remove(&index) else { return Ok(()) };
        let bit = 1_u128 << slot;
        let mut done = HashSet::new();
        let mut seen: HashSet<Configuration> = HashSet::new();
        let mut open: Vec<Configuration> = Vec::new();
        let before: HashSet<State> = self.configurations.iter().map(|one| one.state).collect();
        for one in std::mem::take(&mut self.configurations) {
            if one.ordered & bit != 0 {
                done.insert(Configuration { ordered: one.ordered & !bit, ..one });
            } else if seen.insert(one.clone()) {
                open.push(one);
            }
        }
        while let Some(one) = open.pop() {
            self.visited += 1;
            if self.visited > self.budget {
                return Err(Stop::Budget);
            }
            for next in self.successors(&one) {
                if next.ordered & bit != 0 {
                    done.insert(Configuration { ordered: next.ordered & !bit, ..next });
                } else if seen.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
        self.slots[slot] = None;
        if done.is_empty() {
            let mut states: Vec<_> = before.into_iter().collect();
            states.sort_unstable();
            return Err(Stop::Unexplained { index, states });
        }
        self.configurations = undominated(done);
        self.visited += self.configurations.len();
        Ok(())
    }

    /// What may happen next.
    fn successors(&self, one: &Configuration) -> Vec<Configuration> {
        let mut next = Vec::new();
        for (slot, index) in self.slots.iter().enumerate() {
            let Some(index) = index else { continue };
            let Effect { when, then: Some(then) } = self.effects[index] else { continue };
            let bit = 1_u128 << slot;
            if one.ordered & bit == 0 && when.holds(one.state) {
                next.push(self.settled(Configuration { state: then, ordered: one.ordered | bit, ..one.clone() }));
            }
        }
        if one.state == State::Absent {
            for &(number, state) in &self.creates {
                let bit = 1_u128 << number;
                if one.creates & bit == 0 {
                    let creates = one.creates | bit;
                    next.push(self.settled(Configuration { state, creates, ..one.clone() }));
                }
            }
            if one.other_creates < self.other_creates {
                let other_creates = one.other_creates + 1;
                next.push(self.settled(Configuration { state: State::Other, other_creates, ..one.clone() }));
            }
        } else if one.deletes < self.deletes {
            let deletes = one.deletes + 1;
            next.push(self.settled(Configuration { state: State::Absent, deletes, ..one.clone() }));
        }
        for &state in self.swaps.get(&one.state).into_iter().flatten() {
            next.push(self.settled(Configuration { state, ..one.clone() }));
        }
        next
    }

    /// Puts everything into order that changes nothing and that the state explains.
    fn settled(&self, mut one: Configuration) -> Configuration {
        for (slot, index) in self.slots.iter().enumerate() {
            let Some(index) = index else { continue };
            let effect = self.effects[index];
            if effect.then.is_none() && effect.when.holds(one.state) {
                one.ordered |= 1_u128 << slot;
            }
        }
        one
    }
}

/// Leaves out what has used up more of the requests of unknown outcome than another configuration that is otherwise
/// alike.
fn undominated(all: HashSet<Configuration>) -> HashSet<Configuration> {
    let mut alike: HashMap<(State, u128), Vec<Configuration>> = HashMap::new();
    for one in all {
        let group = alike.entry((one.state, one.ordered)).or_default();
        let better = |a: &Configuration, b: &Configuration| {
            a.creates & !b.creates == 0 && a.other_creates <= b.other_creates && a.deletes <= b.deletes
        };
        if !group.iter().any(|other| better(other, &one)) {
            group.retain(|other| !better(&one, other));
            group.push(one);
        }
    }
    alike.into_values().flatten().collect()
}

fn effect(operation: &Operation, state: impl Fn(u64) -> State) -> Option<Effect> {
    let replaces = operation.action.replaces().map(|seen| state(seen.payload));
    Some(match (&operation.action, &operation.outcome) {
        (_, Outcome::Rejected { .. } | Outcome::Unknown { .. }) => return None,
        // A read of the watch cache may be old: `reads` judges it.
        (Action::Get { consistency: crate::Consistency::Cached }, _) => return None,
        (Action::Create { payload }, Outcome::Done { .. }) => {
            Effect { when: Condition::Absent, then: Some(state(*payload)) }
        }
        (Action::Update { payload, replaces }, Outcome::Done { .. }) => {
            Effect { when: Condition::Is(state(replaces.payload)), then: Some(state(*payload)) }
        }
        (Action::Delete { .. }, Outcome::Done { .. }) => {
            Effect { when: replaces.map_or(Condition::Present, Condition::Is), then: Some(State::Absent) }
        }
        (_, Outcome::Found { seen }) => Effect { when: Condition::Is(state(seen.payload)), then: None },
        (_, Outcome::NotFound) => Effect { when: Condition::Absent, then: None },
        (_, Outcome::AlreadyExists) => Effect { when: Condition::Present, then: None },
        (_, Outcome::Conflict) => Effect { when: replaces.map_or(Condition::Present, Condition::IsNot), then: None },
        (Action::Get { .. }, Outcome::Done { .. }) => return None,
    })
}
