//! The pods of all nodes: what a kubelet would do next with each. A pure state machine: events, times and answers go
//! in, writes come out.
//!
//! It is driven by level, not by edge: of each pod the model knows what has been written, what the watch said last, and
//! when something is due; [`Pods::next`] computes from these what is to be written now. So a lost answer, a late event
//! or a relist costs a second look and nothing else. Only the watch (or a list) says whether a pod exists: an answer
//! never adds or removes one.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

mod record;
#[cfg(test)]
mod tests;

use crate::address::Addresses;
use crate::spec::{Behavior, EXIT_CODE, RUNS_FOR, STARTS_AFTER};
use crate::wire;
pub use record::PodCounts;
use record::Seen;
pub(crate) use record::{Answer, Container, Millis, Pod, Refusal, Shape, Stage, Write};

/// A start that takes longer has its containers reported as being created meanwhile.
const CREATING: Millis = 1000;
/// The kubelet's first and longest wait before a container that failed is started again.
const BACK_OFF: (Millis, Millis) = (10_000, 300_000);

/// What the model knows of a node.
#[derive(Debug)]
pub(crate) struct NodeState {
    pub(crate) addresses: Addresses,
    os: &'static str,
    capacity: u32,
    pods: u32,
    /// Does its kubelet work?
    up: bool,
    /// Pods that wait for addresses, or for the kubelet.
    waiting: Vec<u128>,
}

pub(crate) struct Pods {
    behavior: Behavior,
    random: fastrand::Rng,
    nodes: Vec<NodeState>,
    names: HashMap<Box<str>, u32>,
    pods: HashMap<u128, Pod>,
    shapes: HashSet<Arc<Shape>>,
    namespaces: HashSet<Arc<str>>,
    timers: BinaryHeap<Reverse<(Millis, u128)>>,
    queue: VecDeque<u128>,
    listed: Option<HashSet<u128>>,
    counts: PodCounts,
}

/// What is next for a pod.
enum Next {
    Write(Write),
    At(Millis),
    /// Something else must happen first.
    Wait,
    /// Its node must have addresses, or a kubelet, first.
    Node,
}

impl Pods {
    pub(crate) fn new(behavior: Behavior) -> Self {
        Self {
            random: fastrand::Rng::with_seed(behavior.seed),
            behavior,
            nodes: Vec::new(),
            names: HashMap::new(),
            pods: HashMap::new(),
            shapes: HashSet::new(),
            namespaces: HashSet::new(),
            timers: BinaryHeap::new(),
            queue: VecDeque::new(),
            listed: None,
            counts: PodCounts::default(),
        }
    }

    /// Adds a node, whose number is how many there were before.
    pub(crate) fn add_node(&mut self, name: &str, os: &'static str, capacity: u32) {
        let number = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        self.names.insert(name.into(), number);
        let addresses = Addresses::default();
        self.nodes.push(NodeState { addresses, os, capacity, pods: 0, up: true, waiting: Vec::new() });
    }

    pub(crate) fn node_number(&self, name: &str) -> Option<u32> {
        self.names.get(name).copied()
    }

    pub(crate) fn counts(&self) -> PodCounts {
        let without = self.nodes.iter().filter(|node| node.up && node.addresses.networks().is_empty());
        PodCounts { without_network: without.map(|node| node.waiting.len() as u64).sum(), ..self.counts }
    }

    pub(crate) fn has_network(&self, node: u32) -> bool {
        !self.nodes[node as usize].addresses.networks().is_empty()
    }

    /// Gives a node its networks of pods. The first ones stay: a kubelet does not change them either.
    pub(crate) fn set_networks(&mut self, node: u32, networks: Vec<ipnet::IpNet>, now: Millis) {
        let state = &mut self.nodes[node as usize];
        if state.addresses.networks().is_empty() && !networks.is_empty() {
            state.addresses = Addresses::new(networks);
            self.wake(node, now);
        }
    }

    /// Stops or restarts a node's kubelet.
    pub(crate) fn set_up(&mut self, node: u32, up: bool, now: Millis) {
        self.nodes[node as usize].up = up;
        if up {
            self.wake(node, now);
        }
    }

    fn wake(&mut self, node: u32, now: Millis) {
        for uid in std::mem::take(&mut self.nodes[node as usize].waiting) {
            self.poke(uid, now);
        }
    }

    /// A list begins: what it does not have is not there.
    pub(crate) fn list_begins(&mut self) {
        self.listed = Some(HashSet::with_capacity(self.pods.len()));
    }

    /// The list has ended.
    pub(crate) fn list_ends(&mut self) {
        let Some(listed) = self.listed.take() else { return };
        let missed: Vec<_> = self.pods.keys().filter(|uid| !listed.contains(uid)).copied().collect();
        missed.into_iter().for_each(|uid| self.gone(uid));
    }

    /// A pod as a list or the watch has it.
    pub(crate) fn seen(&mut self, object: &wire::Pod, now: Millis) {
        let (Some(meta), Some(spec)) = (&object.metadata, &object.spec) else { return };
        let (Some(node), Some(uid)) = (self.node_number(&spec.node_name), wire::uid(&meta.uid)) else { return };
        let from_list = self.listed.as_mut().map(|listed| listed.insert(uid)).is_some();
        if !self.pods.contains_key(&uid) {
            self.adopt(uid, node, object, now);
        }
        let stop = self.behavior.stop.draw(&mut self.random);
        let Some(pod) = self.pods.get_mut(&uid) else { return };
        *self.counts.slot(pod) -= 1;
        if meta.deletion_timestamp.is_some() && !pod.deleting {
            pod.deleting = true;
            let grace = u64::try_from(meta.deletion_grace_period_seconds.unwrap_or(30)).unwrap_or(0) * 1000;
            // Containers that never ran have nothing to stop.
            let runs = !matches!(pod.stage, Stage::Bound | Stage::Creating | Stage::Ended);
            pod.stops_at = if runs { now + grace.min(millis(stop)) } else { now };
        }
        let conditions = object.status.iter().flat_map(|status| &status.conditions);
        let is_true = |name: &str| conditions.clone().any(|one| one.r#type == name && one.status == "True");
        let phase = object.status.as_ref().map_or("", |status| status.phase.as_str());
        pod.open = pod.shape.gates.iter().all(|gate| is_true(gate));
        let seen = Seen {
            version: meta.resource_version.parse().unwrap_or(0),
            runs: phase == "Running",
            ended: matches!(phase, "Succeeded" | "Failed"),
            ready: is_true("Ready"),
            kept: meta.deletion_grace_period_seconds == Some(0),
            from_list,
        };
        if pod.busy {
            pod.unread = Some(seen);
        } else {
            reconcile(pod, &mut self.nodes, seen, now);
        }
        *self.counts.slot(pod) += 1;
        self.poke(uid, now);
    }

    /// A pod that has not been seen before: what it has been, it is; so a fleet can be started anew.
    fn adopt(&mut self, uid: u128, node: u32, object: &wire::Pod, now: Millis) {
        let (Some(meta), Some(spec)) = (&object.metadata, &object.spec) else { return };
        let seconds = |key| meta.annotations.get(key).and_then(|text| text.parse::<f64>().ok());
        let after = |seconds: f64| (seconds.clamp(0.0, 31_536_000.0) * 1000.0) as Millis;
        let start = seconds(STARTS_AFTER).map_or_else(|| millis(self.behavior.start.draw(&mut self.random)), after);
        let shape = self.shape(spec);
        let runs = seconds(RUNS_FOR).map(after);
        let runs = runs.or_else(|| (!shape.always).then(|| millis(self.behavior.run.draw(&mut self.random))));
        let fails = self.random.f64() < self.behavior.failing_ends;
        let exit_code = meta.annotations.get(EXIT_CODE).and_then(|text| text.parse().ok());
        let state = &mut self.nodes[node as usize];
        let mut pod = Pod {
            namespace: intern(&mut self.namespaces, &meta.namespace),
            name: meta.name.as_str().into(),
            node,
            stage: Stage::Bound,
            address: None,
            seen: 0,
            started: 0,
            restarts: 0,
            exit_code: exit_code.unwrap_or(i32::from(fails)),
            refused: None,
            deleting: false,
            holds: false,
            fails: self.random.f64() < self.behavior.failing_starts,
            open: true,
            scheduled: false,
            starts_at: now + start,
            ready_at: now + start + Millis::from(shape.readiness) * 1000,
            runs: runs.unwrap_or(Millis::MAX),
            ends_at: runs.map_or(Millis::MAX, |runs| now + start + runs),
            stops_at: 0,
            not_before: 0,
            timer: Millis::MAX,
            version: 0,
            failures: 0,
            busy: false,
            queued: false,
            unread: None,
            shape,
        };
        if let Some(status) = &object.status {
            pod.scheduled = status.conditions.iter().any(|one| one.r#type == "PodScheduled");
            let time = status.start_time.map_or(0, |time| time.seconds);
            let is_ready = status.conditions.iter().any(|one| one.r#type == "Ready" && one.status == "True");
            let stage = match status.phase.as_str() {
                "Running" if is_ready => Stage::Ready,
                "Running" => Stage::Started,
                "Succeeded" | "Failed" => Stage::Ended,
                _ => Stage::Bound,
            };
            if stage != Stage::Bound {
                (pod.stage, pod.seen, pod.started) = (stage, time, time);
                pod.address = status.pod_ip.parse().ok().and_then(|address| state.addresses.take_address(address));
            }
        }
        if pod.stage == Stage::Bound {
            let os = spec.os.as_ref().map_or(state.os, |os| os.name.as_str());
            pod.refused = match () {
                () if os != state.os => Some(Refusal::Os),
                () if state.pods >= state.capacity => Some(Refusal::Pods),
                () => None,
            };
        }
        pod.holds = pod.refused.is_none() && pod.stage != Stage::Ended;
        state.pods += u32::from(pod.holds);
        *self.counts.slot(&pod) += 1;
        self.pods.insert(uid, pod);
    }

    /// A pod is not there any more.
    pub(crate) fn gone(&mut self, uid: u128) {
        let Some(mut pod) = self.pods.remove(&uid) else { return };
        *self.counts.slot(&pod) -= 1;
        release(&mut pod, &mut self.nodes);
        if self.shapes.len() > 1000 && self.shapes.len() > 2 * self.pods.len() {
            self.shapes.retain(|shape| Arc::strong_count(shape) > 1);
        }
    }

    /// What is due by now gets into the queue.
    pub(crate) fn advance(&mut self, now: Millis) {
        while let Some(Reverse((at, uid))) = self.timers.peek().copied() {
            if at > now {
                break;
            }
            self.timers.pop();
            if let Some(pod) = self.pods.get_mut(&uid).filter(|pod| pod.timer == at) {
                pod.timer = Millis::MAX;
                self.poke(uid, now);
            }
        }
    }

    /// When something is due that is not due yet.
    pub(crate) fn next_due(&self) -> Option<Millis> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// How many pods wait to be written.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// The next write. The caller sends it and brings the answer to [`Pods::answered`].
    pub(crate) fn next(&mut self, now: Millis) -> Option<(u128, Write)> {
        while let Some(uid) = self.queue.pop_front() {
            let Some(pod) = self.pods.get_mut(&uid) else { continue };
            pod.queued = false;
            if pod.busy {
                continue;
            }
            match wish(pod, &mut self.nodes, &self.behavior, now) {
                Next::Write(write) => {
                    let now = jiff::Timestamp::now().as_second();
                    if pod.seen == 0 {
                        pod.seen = now;
                    }
                    if matches!(write, Write::Running(_)) && !matches!(pod.stage, Stage::Started | Stage::Ready) {
                        pod.started = now;
                    }
                    pod.busy = true;
                    return Some((uid, write));
                }
                // It changed meanwhile.
                _ => self.poke(uid, now),
            }
        }
        None
    }

    pub(crate) fn pod(&self, uid: u128) -> Option<&Pod> {
        self.pods.get(&uid)
    }

    /// The addresses of a pod.
    pub(crate) fn addresses(&self, pod: &Pod) -> Vec<std::net::IpAddr> {
        let addresses = &self.nodes[pod.node as usize].addresses;
        pod.address.map(|number| addresses.of(number).collect()).unwrap_or_default()
    }

    /// How a write ended.
    pub(crate) fn answered(&mut self, uid: u128, write: Write, answer: Answer, now: Millis) {
        let Some(pod) = self.pods.get_mut(&uid) else { return };
        *self.counts.slot(pod) -= 1;
        pod.busy = false;
        match answer {
            Answer::Done(version) => {
                pod.failures = 0;
                pod.version = pod.version.max(version);
                pod.stage = match write {
                    Write::Creating => Stage::Creating,
                    Write::Running(true) => Stage::Ready,
                    Write::Running(false) => Stage::Started,
                    Write::Crashed => Stage::Crashed,
                    Write::Ended | Write::Refuse => Stage::Ended,
                    Write::Delete => Stage::Gone,
                };
                if pod.stage == Stage::Ended {
                    release(pod, &mut self.nodes);
                }
                if write == Write::Crashed {
                    let wait = BACK_OFF.0.saturating_mul(1 << pod.restarts.min(5)).min(BACK_OFF.1);
                    pod.restarts += 1;
                    pod.fails = self.random.f64() < self.behavior.failing_starts;
                    pod.starts_at = now + wait;
                    pod.ready_at = pod.starts_at + Millis::from(pod.shape.readiness) * 1000;
                    pod.ends_at = pod.starts_at.saturating_add(pod.runs);
                }
            }
            // The watch has yet to say so.
            Answer::Missing => pod.stage = Stage::Gone,
            Answer::Again(after) => {
                pod.failures = pod.failures.saturating_add(1);
                let wait = after.unwrap_or(50 << pod.failures.min(7));
                // Those that were sent away at once do not come back at once.
                pod.not_before = now + wait + self.random.u64(0..=wait / 2);
            }
            Answer::Refused => {
                pod.failures = pod.failures.saturating_add(1);
                pod.not_before = now + (1000 << pod.failures.min(8));
            }
        }
        if let Some(seen) = pod.unread.take() {
            reconcile(pod, &mut self.nodes, seen, now);
        }
        *self.counts.slot(pod) += 1;
        self.poke(uid, now);
    }

    /// Looks what is next for a pod.
    fn poke(&mut self, uid: u128, now: Millis) {
        let Some(pod) = self.pods.get_mut(&uid) else { return };
        if pod.busy || pod.queued {
            return;
        }
        match wish(pod, &mut self.nodes, &self.behavior, now) {
            Next::Write(_) => {
                pod.queued = true;
                self.queue.push_back(uid);
            }
            Next::At(at) => {
                if at < pod.timer {
                    pod.timer = at;
                    self.timers.push(Reverse((at, uid)));
                }
            }
            Next::Wait => {}
            Next::Node => {
                let waiting = &mut self.nodes[pod.node as usize].waiting;
                if !waiting.contains(&uid) {
                    waiting.push(uid);
                }
            }
        }
    }

    fn shape(&mut self, spec: &wire::PodSpec) -> Arc<Shape> {
        let container = |one: &wire::Container| Container {
            name: one.name.as_str().into(),
            image: one.image.as_str().into(),
            sidecar: one.restart_policy == "Always",
        };
        let delay = |one: &wire::Container| one.readiness_probe.as_ref().map_or(0, |probe| probe.initial_delay_seconds);
        let shape = Shape {
            init: spec.init_containers.iter().map(container).collect(),
            containers: spec.containers.iter().map(container).collect(),
            gates: spec.readiness_gates.iter().map(|gate| gate.condition_type.as_str().into()).collect(),
            host_network: spec.host_network,
            always: !matches!(spec.restart_policy.as_str(), "Never" | "OnFailure"),
            on_failure: spec.restart_policy == "OnFailure",
            readiness: spec.containers.iter().map(delay).max().and_then(|delay| delay.try_into().ok()).unwrap_or(0),
        };
        if let Some(known) = self.shapes.get(&shape) {
            return Arc::clone(known);
        }
        let shape = Arc::new(shape);
        self.shapes.insert(Arc::clone(&shape));
        shape
    }
}

fn millis(time: std::time::Duration) -> Millis {
    time.as_millis().try_into().unwrap_or(Millis::MAX / 4)
}

fn intern(set: &mut HashSet<Arc<str>>, text: &str) -> Arc<str> {
    if let Some(known) = set.get(text) {
        return Arc::clone(known);
    }
    let new: Arc<str> = text.into();
    set.insert(Arc::clone(&new));
    new
}

/// What the API server has is held against what it was told: others write statuses, too (the node lifecycle controller
/// marks pods of a lost node as not ready, the garbage collector of pods ends them).
fn reconcile(pod: &mut Pod, nodes: &mut [NodeState], seen: Seen, now: Millis) {
    if seen.version < pod.version {
        return;
    }
    match pod.stage {
        // It was deleted for good, and a list has it nevertheless: once more.
        Stage::Gone if seen.from_list && !seen.kept => pod.stage = Stage::Ended,
        Stage::Ended | Stage::Gone => {}
        _ if seen.ended => {
            pod.stage = Stage::Ended;
            release(pod, nodes);
        }
        Stage::Ready if !seen.runs || !seen.ready => {
            pod.stage = Stage::Started;
            pod.ready_at = now;
        }
        _ => {}
    }
}

/// Gives back what a pod holds of its node.
fn release(pod: &mut Pod, nodes: &mut [NodeState]) {
    let node = &mut nodes[pod.node as usize];
    if std::mem::take(&mut pod.holds) {
        node.pods -= 1;
    }
    if let Some(number) = pod.address.take() {
        node.addresses.free(number);
    }
}

/// What is next for a pod, by what is known of it.
fn wish(pod: &mut Pod, nodes: &mut [NodeState], behavior: &Behavior, now: Millis) -> Next {
    let node = &mut nodes[pod.node as usize];
    if pod.stage == Stage::Gone {
        return Next::Wait;
    }
    if !node.up {
        return Next::Node;
    }
    let due = |at: Millis, write: Write| {
        let at = at.max(pod.not_before);
        if at <= now { Next::Write(write) } else { Next::At(at) }
    };
    if pod.deleting {
        let ran = matches!(pod.stage, Stage::Started | Stage::Ready | Stage::Crashed);
        let wanted = behavior.final_status || !pod.shape.always;
        return due(pod.stops_at, if ran && wanted { Write::Ended } else { Write::Delete });
    }
    match pod.stage {
        Stage::Bound if pod.refused.is_some() => due(0, Write::Refuse),
        Stage::Bound | Stage::Creating | Stage::Crashed => {
            if pod.stage == Stage::Bound && pod.starts_at > now + CREATING {
                return due(0, Write::Creating);
            }
            let at = pod.starts_at.max(pod.not_before);
            if at > now {
                return Next::At(at);
            }
            if !pod.shape.host_network && pod.address.is_none() {
                pod.address = node.addresses.take();
                if pod.address.is_none() {
                    return Next::Node;
                }
            }
            let write = if pod.fails { Write::Crashed } else { Write::Running(pod.ready_at <= now && pod.open) };
            due(pod.starts_at, write)
        }
        Stage::Ready if !pod.open => due(0, Write::Running(false)),
        Stage::Started if pod.open && pod.ready_at < pod.ends_at => due(pod.ready_at, Write::Running(true)),
        Stage::Started | Stage::Ready if pod.ends_at == Millis::MAX => Next::Wait,
        Stage::Started | Stage::Ready => {
            let again = pod.shape.always || pod.shape.on_failure && pod.exit_code != 0;
            due(pod.ends_at, if again { Write::Crashed } else { Write::Ended })
        }
        Stage::Ended | Stage::Gone => Next::Wait,
    }
}
