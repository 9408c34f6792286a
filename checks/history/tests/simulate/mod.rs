//! A cluster that keeps its promises, simulated: what clients, watchers and candidates for a Lease record of it.

#![allow(dead_code, unreachable_pub, reason = "each test uses its part of it")]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use fastrand::Rng;
use seaworthy_history::{
    Act, Action, Consistency, Final, History, LeaseRecord, Operation, Outcome, Seen, Watch, WatchEntry, WatchItem,
    WatchKind,
};

/// How much happens.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub clients: u32,
    pub keys: u32,
    pub operations: usize,
    /// How many of 1,000 requests get no answer.
    pub unknown: u32,
    /// How many of 1,000 requests are refused at once.
    pub rejected: u32,
}

pub const SMALL: Shape = Shape { clients: 4, keys: 3, operations: 120, unknown: 40, rejected: 20 };

const SERVERS: [&str; 3] = ["cp1", "cp2", "cp3"];
/// One step of the clock, in nanoseconds.
const TICK: u64 = 1_000_000;

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Invoke(u32),
    Apply(usize),
    Complete(usize),
}

struct Change {
    at: u64,
    kind: WatchKind,
    key: String,
    seen: Seen,
}

struct Cluster {
    random: Rng,
    shape: Shape,
    queue: BinaryHeap<Reverse<(u64, u64, Event)>>,
    queued: u64,
    objects: BTreeMap<String, Seen>,
    log: Vec<Change>,
    version: u64,
    payload: u64,
    operations: Vec<Operation>,
    answers: HashMap<usize, Outcome>,
    memory: HashMap<(u32, String), Option<Seen>>,
    connections: HashMap<u32, (u32, usize)>,
    connected: u32,
    caches: Vec<usize>,
}

/// A history of a cluster that does as it promises.
pub fn good(seed: u64, shape: Shape) -> History {
    let cluster = Cluster {
        random: Rng::with_seed(seed),
        shape,
        queue: BinaryHeap::new(),
        queued: 0,
        objects: BTreeMap::new(),
        log: Vec::new(),
        version: 100,
        payload: 0,
        operations: Vec::new(),
        answers: HashMap::new(),
        memory: HashMap::new(),
        connections: HashMap::new(),
        connected: 0,
        caches: vec![0; SERVERS.len()],
    };
    cluster.run()
}

impl Cluster {
    fn run(mut self) -> History {
        for client in 0..self.shape.clients {
            let at = self.random.u64(0..20) * TICK;
            self.queue(at, Event::Invoke(client));
        }
        while let Some(Reverse((now, _, event))) = self.queue.pop() {
            match event {
                Event::Invoke(client) if self.operations.len() < self.shape.operations => self.invoke(now, client),
                Event::Invoke(_) => {}
                Event::Apply(index) => self.apply(now, index),
                Event::Complete(index) => self.complete(now, index),
            }
        }
        let mut history = History::new();
        history.watches = SERVERS.map(|server| self.watch(server)).into();
        for place in SERVERS.iter().flat_map(|host| [format!("{host}/kube-apiserver"), format!("{host}/etcd")]) {
            history.finals.push(Final { place, objects: self.objects.clone() });
        }
        (history.leases, history.acts) = self.leases();
        history.operations = self.operations;
        history
    }

    fn queue(&mut self, at: u64, event: Event) {
        self.queued += 1;
        self.queue.push(Reverse((at, self.queued, event)));
    }

    fn invoke(&mut self, now: u64, client: u32) {
        let key = format!("object-{}", self.random.u32(0..self.shape.keys));
        let known = self.memory.get(&(client, key.clone())).copied();
        let action = match (known, self.random.u32(0..10)) {
            (None, 0..2) | (Some(None), 0..7) => Action::Create { payload: self.next_payload() },
            (Some(Some(replaces)), 0..4) => Action::Update { payload: self.next_payload(), replaces },
            (Some(Some(seen)), 4) => Action::Delete { replaces: Some(seen) },
            (_, 5) if self.random.bool() => Action::Delete { replaces: None },
            (_, 9) => Action::Get { consistency: Consistency::Cached },
            _ => Action::Get { consistency: Consistency::Quorum },
        };
        let index = self.operations.len();
        let (connection, server) = self.connection(client);
        self.operations.push(Operation {
            client,
            connection,
            endpoint: SERVERS[server].to_owned(),
            key,
            action,
            invoked: now,
            completed: None,
            outcome: Outcome::Unknown { reason: "still under way".to_owned() },
        });
        let latency = self.random.u64(1..30);
        let fate = self.random.u32(0..1000);
        if fate < self.shape.unknown {
            // It is given up, and takes effect before that, long after it, or never.
            match self.random.u32(0..3) {
                0 => {
                    let at = now + self.random.u64(0..latency) * TICK;
                    self.queue(at, Event::Apply(index));
                }
                1 => {
                    let at = now + self.random.u64(30..200) * TICK;
                    self.queue(at, Event::Apply(index));
                }
                _ => {}
            }
            let gone = now + 30 * TICK;
            self.answers.insert(index, Outcome::Unknown { reason: "timeout".to_owned() });
            self.connections.remove(&client);
            self.queue(gone, Event::Complete(index));
        } else if fate < self.shape.unknown + self.shape.rejected {
            self.answers.insert(index, Outcome::Rejected { reason: "HTTP 429".to_owned() });
            self.queue(now + latency * TICK, Event::Complete(index));
        } else {
            let applied = self.random.u64(0..=latency);
            self.queue(now + applied * TICK, Event::Apply(index));
            self.queue(now + latency * TICK, Event::Complete(index));
        }
    }

    fn connection(&mut self, client: u32) -> (u32, usize) {
        if self.random.u32(0..50) == 0 {
            self.connections.remove(&client);
        }
        if let Some(connection) = self.connections.get(&client) {
            return *connection;
        }
        self.connected += 1;
        let server = self.random.usize(0..SERVERS.len());
        self.connections.insert(client, (self.connected, server));
        (self.connected, server)
    }

    fn next_payload(&mut self) -> u64 {
        self.payload += 1;
        self.payload
    }

    fn apply(&mut self, now: u64, index: usize) {
        let operation = self.operations[index].clone();
        let current = self.objects.get(&operation.key).copied();
        let outcome = match (&operation.action, current) {
            (Action::Create { .. }, Some(_)) => Outcome::AlreadyExists,
            (Action::Create { payload }, None) => self.put(now, WatchKind::Added, &operation.key, *payload),
            (Action::Update { .. } | Action::Delete { .. }, None) => Outcome::NotFound,
            (Action::Update { payload, replaces }, Some(seen)) if *replaces == seen => {
                self.put(now, WatchKind::Modified, &operation.key, *payload)
            }
            (Action::Update { .. }, Some(_)) => Outcome::Conflict,
            (Action::Delete { replaces }, Some(seen)) if replaces.is_none_or(|replaces| replaces == seen) => {
                self.objects.remove(&operation.key);
                self.version += self.random.u64(1..4);
                let seen = Seen { payload: seen.payload, version: self.version };
                self.log.push(Change { at: now, kind: WatchKind::Deleted, key: operation.key.clone(), seen });
                Outcome::Done { version: None }
            }
            (Action::Delete { .. }, Some(_)) => Outcome::Conflict,
            (Action::Get { consistency: Consistency::Cached }, _) => self.cached(&operation),
            (Action::Get { .. }, Some(seen)) => Outcome::Found { seen },
            (Action::Get { .. }, None) => Outcome::NotFound,
        };
        self.answers.entry(index).or_insert(outcome);
    }

    fn cached(&mut self, operation: &Operation) -> Outcome {
        let server = SERVERS.iter().position(|server| *server == operation.endpoint).expect("one of ours");
        let position = self.random.usize(self.caches[server]..=self.log.len());
        self.caches[server] = position;
        let last = self.log[..position].iter().rev().find(|change| change.key == operation.key);
        match last {
            Some(change) if change.kind != WatchKind::Deleted => Outcome::Found { seen: change.seen },
            _ => Outcome::NotFound,
        }
    }

    fn put(&mut self, now: u64, kind: WatchKind, key: &str, payload: u64) -> Outcome {
        self.version += self.random.u64(1..4);
        let seen = Seen { payload, version: self.version };
        self.objects.insert(key.to_owned(), seen);
        self.log.push(Change { at: now, kind, key: key.to_owned(), seen });
        Outcome::Done { version: Some(self.version) }
    }

    fn complete(&mut self, now: u64, index: usize) {
        let Some(outcome) = self.answers.get(&index).cloned() else { unreachable!("it was applied") };
        let operation = &mut self.operations[index];
        operation.completed = Some(now);
        operation.outcome = outcome;
        let known = match (&operation.outcome, &operation.action) {
            (Outcome::Found { seen }, _) => Some(Some(*seen)),
            (Outcome::NotFound, Action::Get { .. }) | (Outcome::Done { .. }, Action::Delete { .. }) => Some(None),
            (Outcome::Done { version: Some(version) }, action) => {
                action.payload().map(|payload| Some(Seen { payload, version: *version }))
            }
            _ => None,
        };
        let client = operation.client;
        if let Some(known) = known {
            self.memory.insert((client, operation.key.clone()), known);
        }
        let pause = self.random.u64(1..10);
        self.queue(now + pause * TICK, Event::Invoke(client));
    }

    fn watch(&mut self, server: &str) -> Watch {
        let mut entries = Vec::new();
        let mut at = 0;
        let mut position = 100;
        let mut objects: BTreeMap<String, Seen> = BTreeMap::new();
        let mut say = |at, item| entries.push(WatchEntry { at, item });
        say(0, WatchItem::Listed { version: 100, objects: objects.clone() });
        say(0, WatchItem::Opened { version: 100 });
        let mut lost = false;
        for change in &self.log {
            at = (change.at + self.random.u64(0..10) * TICK).max(at);
            let (key, seen) = (change.key.clone(), change.seen);
            if change.kind == WatchKind::Deleted {
                objects.remove(&key);
            } else {
                objects.insert(key.clone(), seen);
            }
            if lost {
                // Nothing arrives until it lists again.
                if self.random.u32(0..4) == 0 {
                    lost = false;
                    position = seen.version;
                    say(at, WatchItem::Listed { version: position, objects: objects.clone() });
                    say(at, WatchItem::Opened { version: position });
                }
                continue;
            }
            say(at, WatchItem::Event { kind: change.kind, key, seen });
            position = seen.version;
            match self.random.u32(0..60) {
                0..4 => say(at, WatchItem::Bookmark { version: position }),
                4..6 => {
                    say(at, WatchItem::Closed { reason: "timeout".to_owned() });
                    say(at, WatchItem::Opened { version: position });
                }
                6 => {
                    say(at, WatchItem::Expired);
                    lost = true;
                }
                _ => {}
            }
        }
        if lost {
            say(at, WatchItem::Listed { version: self.version, objects });
        }
        say(at, WatchItem::Bookmark { version: self.version.max(position) + 5 });
        Watch { server: server.to_owned(), entries }
    }

    fn leases(&mut self) -> (Vec<LeaseRecord>, Vec<Act>) {
        let (mut records, mut acts) = (Vec::new(), Vec::new());
        let second = 1000 * TICK;
        for lease in ["kube-scheduler", "kube-controller-manager"] {
            let mut now = self.random.u64(0..100) * TICK;
            let mut version = 50;
            for (transitions, holder) in (0..).zip(["cp2", "cp1", "cp3", "cp1"]) {
                let acquired = now;
                let mut last = now;
                for _ in 0..self.random.u32(2..6) {
                    version += 3;
                    last = now;
                    let duration = 15 * second;
                    let at = now + TICK;
                    records.push(LeaseRecord {
                        at,
                        lease: lease.to_owned(),
                        holder: Some(holder.to_owned()),
                        acquired,
                        renewed: now,
                        duration,
                        transitions,
                        version,
                    });
                    now += self.random.u64(500..1500) * TICK;
                    acts.push(Act {
                        at: now,
                        lease: lease.to_owned(),
                        author: holder.to_owned(),
                        what: "create pods".to_owned(),
                    });
                    now += self.random.u64(500..1500) * TICK;
                }
                now = last + 15 * second + self.random.u64(0..4000) * TICK;
            }
        }
        (records, acts)
    }
}
