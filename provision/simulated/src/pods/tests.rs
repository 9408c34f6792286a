//! The model against an API server of a few lines: random pods, lost answers, answers that come late, refusals,
//! relists, nodes that fail; afterwards everything must be as if nothing of that had happened.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::*;
use crate::spec::Latency;

const NODES: u32 = 3;
const CAPACITY: u32 = 6;

#[derive(Debug, Clone)]
struct Stored {
    name: String,
    node: u32,
    version: u64,
    phase: &'static str,
    ready: bool,
    grace: Option<i64>,
    address: String,
    job: bool,
    finalizer: bool,
}

impl Stored {
    fn object(&self, uid: u128) -> wire::Pod {
        let condition = |name: &str, holds: bool| wire::Condition {
            r#type: name.to_owned(),
            status: if holds { "True" } else { "False" }.to_owned(),
        };
        wire::Pod {
            metadata: Some(wire::ObjectMeta {
                name: self.name.clone(),
                namespace: "default".to_owned(),
                uid: wire::uid_text(uid),
                resource_version: self.version.to_string(),
                deletion_timestamp: self.grace.map(|_| wire::Time::default()),
                deletion_grace_period_seconds: self.grace,
                ..wire::ObjectMeta::default()
            }),
            spec: Some(wire::PodSpec {
                node_name: format!("n{}", self.node),
                restart_policy: if self.job { "Never" } else { "Always" }.to_owned(),
                containers: vec![wire::Container { name: "c".to_owned(), ..wire::Container::default() }],
                ..wire::PodSpec::default()
            }),
            status: Some(wire::PodStatus {
                phase: self.phase.to_owned(),
                conditions: vec![condition("Ready", self.ready)],
                pod_ip: self.address.clone(),
                start_time: None,
            }),
        }
    }
}

enum Told {
    Object(u128, Stored),
    Removed(u128),
}

/// An API server with one watch.
#[derive(Default)]
struct Api {
    pods: BTreeMap<u128, Stored>,
    version: u64,
    /// What the watch has not delivered yet.
    untold: VecDeque<Told>,
    created: u128,
    /// What was ever there and is not any more.
    buried: Vec<u128>,
}

impl Api {
    fn change(&mut self, uid: u128, change: impl FnOnce(&mut Stored)) {
        let Some(pod) = self.pods.get_mut(&uid) else { return };
        self.version += 1;
        pod.version = self.version;
        change(pod);
        self.untold.push_back(Told::Object(uid, pod.clone()));
    }

    fn create(&mut self, node: u32, job: bool, finalizer: bool) {
        self.version += 1;
        self.created += 1;
        let uid = self.created;
        let pod = Stored {
            name: format!("p{uid}"),
            node,
            version: self.version,
            phase: "Pending",
            ready: false,
            grace: None,
            address: String::new(),
            job,
            finalizer,
        };
        self.pods.insert(uid, pod.clone());
        self.untold.push_back(Told::Object(uid, pod));
    }

    fn bury(&mut self, uid: u128) {
        if self.pods.remove(&uid).is_some() {
            self.buried.push(uid);
            self.untold.push_back(Told::Removed(uid));
        }
    }

    fn write(&mut self, uid: u128, write: Write, addresses: &[IpAddr]) -> Answer {
        let Some(pod) = self.pods.get(&uid) else { return Answer::Missing };
        assert!(
            !matches!(pod.phase, "Succeeded" | "Failed")
                || matches!(write, Write::Delete | Write::Ended | Write::Refuse),
            "{pod:?} has ended, and now {write:?}"
        );
        if write == Write::Delete {
            assert!(pod.grace.is_some(), "nobody wanted {pod:?} to be deleted");
            if pod.finalizer {
                self.change(uid, |pod| pod.grace = Some(0));
            } else {
                self.bury(uid);
            }
            return Answer::Done(0);
        }
        let address = addresses.first().map(ToString::to_string);
        self.change(uid, |pod| {
            (pod.phase, pod.ready) = match write {
                Write::Creating => ("Pending", false),
                Write::Running(ready) => ("Running", ready),
                Write::Crashed => ("Running", false),
                Write::Ended => ("Succeeded", false),
                Write::Refuse => ("Failed", false),
                Write::Delete => unreachable!("it was deleted above"),
            };
            pod.address = address.unwrap_or_else(|| pod.address.clone());
        });
        Answer::Done(self.version)
    }
}

struct World {
    api: Api,
    pods: Pods,
    random: fastrand::Rng,
    now: Millis,
    /// Writes on their way: whether the API server has got them, and what it said.
    underway: Vec<(u128, Write, Option<Answer>, Vec<IpAddr>)>,
    up: [bool; NODES as usize],
}

impl World {
    fn new(seed: u64) -> Self {
        let behavior = Behavior {
            start: Latency::Uniform(Duration::ZERO, Duration::from_secs(3)),
            stop: Latency::Uniform(Duration::ZERO, Duration::from_secs(2)),
            run: Latency::Uniform(Duration::ZERO, Duration::from_secs(5)),
            final_status: seed.is_multiple_of(2),
            failing_starts: if seed.is_multiple_of(3) { 0.2 } else { 0.0 },
            seed,
            ..Behavior::default()
        };
        let mut pods = Pods::new(behavior);
        for node in 0..NODES {
            pods.add_node(&format!("n{node}"), "linux", CAPACITY);
            if node > 0 {
                pods.set_networks(node, vec![format!("10.0.{node}.0/28").parse().unwrap()], 0);
            }
        }
        let random = fastrand::Rng::with_seed(seed);
        Self { api: Api::default(), pods, random, now: 0, underway: Vec::new(), up: [true; NODES as usize] }
    }

    fn deliver(&mut self) {
        match self.api.untold.pop_front() {
            Some(Told::Object(uid, pod)) => self.pods.seen(&pod.object(uid), self.now),
            Some(Told::Removed(uid)) => self.pods.gone(uid),
            None => {}
        }
    }

    /// The watch is lost, with all that it had not delivered; a list comes instead.
    fn relist(&mut self) {
        self.api.untold.clear();
        self.pods.list_begins();
        // A list that is cut off and begun again.
        if self.random.bool() {
            if let Some((uid, pod)) = self.api.pods.iter().next() {
                self.pods.seen(&pod.object(*uid), self.now);
            }
            self.pods.list_begins();
        }
        for (uid, pod) in &self.api.pods {
            self.pods.seen(&pod.object(*uid), self.now);
        }
        self.pods.list_ends();
    }

    fn send(&mut self) {
        self.pods.advance(self.now);
        while self.underway.len() < 4
            && let Some((uid, write)) = self.pods.next(self.now)
        {
            let twice = self.underway.iter().any(|(other, ..)| *other == uid);
            assert!(!twice, "two writes of one pod at once");
            let addresses = self.pods.pod(uid).map(|pod| self.pods.addresses(pod)).unwrap_or_default();
            self.underway.push((uid, write, None, addresses));
        }
    }

    /// A write reaches the API server, is lost, is refused for load, or its answer comes.
    fn progress(&mut self, faulty: bool) {
        if self.underway.is_empty() {
            return;
        }
        let at = self.random.usize(0..self.underway.len());
        let (uid, write, answer, addresses) = self.underway[at].clone();
        let fate = if faulty { self.random.u8(0..10) } else { 9 };
        let answer = match (answer, fate) {
            (None, 0) => Answer::Again(None),
            (None, 1) => Answer::Again(Some(1000)),
            (None, _) => {
                self.underway[at].2 = Some(self.api.write(uid, write, &addresses));
                return;
            }
            // It was done, and nobody heard of it.
            (Some(_), 0..3) => Answer::Again(None),
            (Some(answer), _) => answer,
        };
        self.underway.swap_remove(at);
        self.pods.answered(uid, write, answer, self.now);
    }

    fn any(&mut self) -> Option<u128> {
        let all: Vec<_> = self.api.pods.keys().copied().collect();
        (!all.is_empty()).then(|| all[self.random.usize(0..all.len())])
    }

    fn step(&mut self) {
        match self.random.u8(0..20) {
            0 | 1 => {
                let node = self.random.u32(0..NODES);
                let (job, finalizer) = (self.random.u8(0..4) == 0, self.random.u8(0..8) == 0);
                self.api.create(node, job, finalizer);
            }
            2 => {
                if let Some(uid) = self.any() {
                    let grace = self.random.i64(0..3);
                    self.api.change(uid, |pod| pod.grace = Some(pod.grace.map_or(grace, |old| old.min(grace))));
                }
            }
            // Somebody deletes it by force, so that the kubelet has no part in it.
            3 => {
                if let Some(uid) = self.any().filter(|_| self.random.bool()) {
                    self.api.bury(uid);
                }
            }
            // The node lifecycle controller has lost sight of its node, or the garbage collector ends it.
            4 => {
                if let Some(uid) = self.any() {
                    self.api.change(uid, |pod| pod.ready = false);
                }
            }
            5 if self.random.u8(0..5) == 0 => self.relist(),
            6 if self.random.u8(0..5) == 0 => {
                let node = self.random.usize(0..NODES as usize);
                self.up[node] = !self.up[node];
                self.pods.set_up(node as u32, self.up[node], self.now);
            }
            7 => self.now += self.random.u64(0..4000),
            8..12 => self.send(),
            12..15 => self.progress(true),
            _ => self.deliver(),
        }
    }

    /// Everything works again, and all the time that is needed goes by.
    fn settle(&mut self) {
        for node in 0..NODES {
            self.up[node as usize] = true;
            self.pods.set_up(node, true, self.now);
        }
        self.pods.set_networks(0, vec!["10.0.0.0/28".parse().unwrap()], self.now);
        for _ in 0..20_000 {
            self.send();
            while !self.underway.is_empty() {
                self.progress(false);
            }
            while !self.api.untold.is_empty() {
                self.deliver();
            }
            self.now += 500;
            if self.pods.next_due().is_none() && self.pods.queued() == 0 {
                return;
            }
        }
        panic!("it does not come to rest: {:?}", self.pods.counts());
    }

    fn check(&self) {
        let mut addresses: HashMap<&str, u128> = HashMap::new();
        for (uid, pod) in &self.api.pods {
            assert!(self.pods.pod(*uid).is_some(), "missed: {pod:?}");
            if pod.grace.is_some() {
                assert!(pod.finalizer && pod.grace == Some(0), "not deleted: {pod:?}");
                continue;
            }
            match pod.phase {
                "Running" => assert!(pod.ready && !pod.address.is_empty() && !pod.job, "{pod:?}"),
                "Succeeded" => assert!(pod.job, "{pod:?}"),
                "Failed" => {}
                _ => panic!("never started: {pod:?}"),
            }
            if pod.phase == "Running" {
                assert!(pod.address.starts_with(&format!("10.0.{}.", pod.node)), "{pod:?}");
                let other = addresses.insert(&pod.address, *uid);
                assert_eq!(other, None, "two pods have {}", pod.address);
            }
        }
        assert!(self.api.buried.iter().all(|uid| self.pods.pod(*uid).is_none()), "resurrected");
        assert_eq!(self.pods.counts().total(), self.api.pods.len() as u64);
        let ready = self.api.pods.values().filter(|pod| pod.ready && pod.grace.is_none()).count() as u64;
        assert_eq!(self.pods.counts().ready, ready);
        for (number, node) in self.pods.nodes.iter().enumerate() {
            let held = self.pods.pods.values().filter(|pod| pod.node as usize == number && pod.holds).count();
            assert_eq!(node.pods as usize, held, "places of node {number}");
            assert!(node.pods <= CAPACITY, "node {number} has more pods than room");
        }
    }
}

#[test]
fn nothing_is_missed_and_nothing_resurrected() {
    for seed in 0..400 {
        let mut world = World::new(seed);
        let steps = 100 + seed as usize * 2;
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..steps {
                world.step();
            }
            world.settle();
            world.check();
        }));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}

#[test]
fn a_fleet_that_is_started_anew_takes_pods_as_they_are() {
    let mut world = World::new(4);
    for node in 1..NODES {
        world.api.create(node, false, false);
    }
    world.settle();
    let before: Vec<_> = world.api.pods.values().map(|pod| (pod.version, pod.address.clone())).collect();
    let mut anew = World::new(5);
    anew.api = std::mem::take(&mut world.api);
    anew.relist();
    anew.settle();
    anew.check();
    let after: Vec<_> = anew.api.pods.values().map(|pod| (pod.version, pod.address.clone())).collect();
    assert_eq!(before, after, "a pod was written again");
}

#[test]
fn what_a_node_has_no_room_for_is_refused() {
    let mut world = World::new(2);
    (0..CAPACITY + 2).for_each(|_| world.api.create(1, false, false));
    world.settle();
    let failed = world.api.pods.values().filter(|pod| pod.phase == "Failed").count();
    assert_eq!((failed, world.pods.counts().ready), (2, CAPACITY.into()));
    world.check();
}
