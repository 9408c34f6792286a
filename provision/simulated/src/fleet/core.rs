//! The one task that has the state of a fleet: watches, answers, timers and commands come in, requests go out. It never
//! waits for a single one of them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http::Method;
use tokio::sync::{mpsc, oneshot, watch};

use super::node::{Node, State};
use super::{Command, Fleet, FleetError, Keep};
use crate::client::{Call, ClientError, Lane, Reply};
use crate::counts::Counts;
use crate::leases::{LeaseStats, Order};
use crate::nodes;
use crate::pods::{Answer, Millis, Pods, Write};
use crate::spec::LABEL;
use crate::watch::{Item, WatchStats};
use crate::{address, status, wire};

/// Where the leases of nodes are.
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/";
/// How often counts are published at most.
const PUBLISH: Duration = Duration::from_millis(100);
/// How many items are looked at before requests are sent again.
const BATCH: usize = 256;

/// What a request is for.
#[derive(Debug, Clone, Copy)]
enum Job {
    Register(usize),
    Heartbeat(usize),
    Delete(usize),
    Pod(u128, Write),
    Event,
}

type Sent = Pin<Box<dyn Future<Output = (Job, Result<Reply, ClientError>)> + Send>>;

pub(super) struct Core {
    fleet: Fleet,
    begun: Instant,
    nodes: Vec<Node>,
    pods: Pods,
    orders: mpsc::Sender<Order>,
    /// Nodes that have something to be written.
    queue: VecDeque<usize>,
    /// When nodes have something to be written.
    timers: BinaryHeap<Reverse<(Millis, usize)>>,
    sent: FuturesUnordered<Sent>,
    lease_stats: Arc<LeaseStats>,
    watch_stats: Arc<WatchStats>,
    failure: Arc<Mutex<Option<Arc<str>>>>,
    counts: Counts,
    listed: Option<Vec<bool>>,
    ending: Option<(Keep, oneshot::Sender<()>)>,
    removals: Vec<(usize, oneshot::Sender<Result<(), FleetError>>)>,
}

impl Core {
    pub(super) fn new(
        fleet: Fleet,
        nodes: Vec<Node>,
        orders: mpsc::Sender<Order>,
        lease_stats: Arc<LeaseStats>,
        watch_stats: Arc<WatchStats>,
        failure: Arc<Mutex<Option<Arc<str>>>>,
    ) -> Self {
        let mut pods = Pods::new(fleet.behavior.clone());
        for (number, node) in nodes.iter().enumerate() {
            let group = &fleet.groups[node.group];
            pods.add_node(&node.name, group.os.name(), group.capacity.pods);
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            let networks = &fleet.behavior.pod_networks;
            pods.set_networks(number, networks.iter().filter_map(|one| address::part(one, number)).collect(), 0);
        }
        let mut counts = Counts::default();
        counts.nodes.wanted = nodes.len() as u64;
        Self {
            queue: (0..nodes.len()).collect(),
            fleet,
            begun: Instant::now(),
            nodes,
            pods,
            orders,
            timers: BinaryHeap::new(),
            sent: FuturesUnordered::new(),
            lease_stats,
            watch_stats,
            failure,
            counts,
            listed: None,
            ending: None,
            removals: Vec::new(),
        }
    }

    fn now(&self) -> Millis {
        self.begun.elapsed().as_millis().try_into().unwrap_or(Millis::MAX)
    }

    pub(super) async fn run(
        mut self,
        mut pods: mpsc::Receiver<Item<wire::Pod>>,
        mut nodes: mpsc::Receiver<Item<wire::Node>>,
        mut commands: mpsc::Receiver<Command>,
        published: watch::Sender<Counts>,
    ) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut publish = tokio::time::interval(PUBLISH);
        publish.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.advance();
            self.send_what_is_due();
            if self.has_ended() {
                self.publish(&published);
                if let Some((_, done)) = self.ending.take() {
                    done.send(()).ok();
                }
                return;
            }
            let due = self.next_due();
            tokio::select! {
                count = pods.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    let now = self.now();
                    batch.drain(..).for_each(|item| self.pod(item, now));
                }
                Some(item) = nodes.recv() => self.node(item).await,
                Some((job, answer)) = self.sent.next() => self.answered(job, answer).await,
                Some(command) = commands.recv() => self.command(command).await,
                () = tokio::time::sleep(due) => {}
                _ = publish.tick() => self.publish(&published),
            }
        }
    }

    fn publish(&mut self, published: &watch::Sender<Counts>) {
        let counts = &mut self.counts;
        counts.pods = self.pods.counts();
        counts.requests.queued = (self.queue.len() + self.pods.queued()) as u64;
        counts.requests.underway = self.sent.len() as u64;
        counts.requests.lists = self.watch_stats.lists.load(Ordering::Relaxed);
        counts.requests.broken_watches = self.watch_stats.broken.load(Ordering::Relaxed);
        let stats = &self.lease_stats;
        counts.leases.renewed = stats.renewed.load(Ordering::Relaxed);
        counts.leases.late = stats.late.load(Ordering::Relaxed);
        counts.leases.missed = stats.missed.load(Ordering::Relaxed);
        counts.leases.failed = stats.failed.load(Ordering::Relaxed);
        counts.leases.refused = stats.refused.load(Ordering::Relaxed);
        counts.leases.worst_gap_millis = stats.worst_gap.load(Ordering::Relaxed);
        let mut nodes = crate::counts::NodeCounts { wanted: self.nodes.len() as u64, ..Default::default() };
        for (number, node) in self.nodes.iter().enumerate() {
            let network = self.pods.has_network(u32::try_from(number).unwrap_or(u32::MAX));
            nodes.registered += u64::from(matches!(node.state, State::Registered | State::Leaving));
            nodes.ready += u64::from(node.ready);
            nodes.schedulable += u64::from(node.schedulable);
            nodes.with_network += u64::from(network);
            nodes.failed += u64::from(!node.up && node.state == State::Registered);
            nodes.lost += u64::from(node.state == State::Lost);
            nodes.wanted -= u64::from(node.state == State::Removed);
        }
        counts.nodes = nodes;
        counts.last_failure = self.failure.lock().ok().and_then(|held| held.clone());
        let throttled = stats.throttled.load(Ordering::Relaxed);
        let mut shown = counts.clone();
        shown.requests.throttled += throttled;
        published.send_replace(shown);
    }

    fn has_ended(&self) -> bool {
        match self.ending {
            None => false,
            Some((Keep::Nodes, _)) => true,
            Some((Keep::Nothing, _)) => {
                self.nodes.iter().all(|node| matches!(node.state, State::Removed | State::Lost)) && self.sent.is_empty()
            }
        }
    }

    fn next_due(&self) -> Duration {
        let now = self.now();
        let node = self.timers.peek().map(|Reverse((at, _))| *at);
        let at = node.into_iter().chain(self.pods.next_due()).min().unwrap_or(now + 60_000);
        Duration::from_millis(at.saturating_sub(now))
    }

    fn advance(&mut self) {
        let now = self.now();
        self.pods.advance(now);
        while let Some(Reverse((at, number))) = self.timers.peek().copied().filter(|Reverse((at, _))| *at <= now) {
            let _ = at;
            self.timers.pop();
            self.enqueue(number);
        }
    }

    fn enqueue(&mut self, number: usize) {
        if !std::mem::replace(&mut self.nodes[number].queued, true) {
            self.queue.push_back(number);
        }
    }

    fn send_what_is_due(&mut self) {
        let most = self.fleet.behavior.requests;
        while self.sent.len() < most {
            let Some(number) = self.queue.pop_front() else { break };
            let node = &mut self.nodes[number];
            node.queued = false;
            let (job, call) = match node.state {
                State::New => {
                    let object = node.object(&self.fleet.groups, &self.fleet.name);
                    (Job::Register(number), nodes::register(&object, false))
                }
                State::Registered if node.up => (Job::Heartbeat(number), nodes::heartbeat(&node.name)),
                State::Leaving => (Job::Delete(number), Call::sealed(Method::DELETE, node.path(), Default::default())),
                _ => continue,
            };
            self.send(job, call);
        }
        let now = self.now();
        while self.sent.len() < most && self.ending.is_none() {
            let Some((uid, write)) = self.pods.next(now) else { break };
            let Some(pod) = self.pods.pod(uid) else { continue };
            let node = &self.nodes[pod.node as usize];
            let call = status::call(uid, pod, write, &node.name, node.address, &self.pods.addresses(pod));
            self.send(Job::Pod(uid, write), call);
        }
    }

    fn send(&self, job: Job, call: Call) {
        let client = self.fleet.client.clone();
        let name = match job {
            Job::Register(number) => Some(Arc::clone(&self.nodes[number].name)),
            _ => None,
        };
        let lane = if matches!(job, Job::Heartbeat(_)) { Lane::Lease } else { Lane::Work };
        self.sent.push(Box::pin(async move {
            let mut answer = client.send(lane, &call).await;
            // One that is there already: whose it is, its labels say.
            if let (Some(name), Ok(reply)) = (name, &answer)
                && reply.status.as_u16() == 409
            {
                answer = client.send(lane, &Call::get(format!("/api/v1/nodes/{name}"))).await;
            }
            if let (Job::Delete(_), Ok(_)) = (job, &answer) {
                let lease = call.path.replace("/api/v1/nodes/", LEASES);
                client.send(Lane::Lease, &Call::sealed(Method::DELETE, lease, Default::default())).await.ok();
            }
            (job, answer)
        }));
    }

    fn pod(&mut self, item: Item<wire::Pod>, now: Millis) {
        match item {
            Item::Begin => self.pods.list_begins(),
            Item::Object(pod) => self.pods.seen(&pod, now),
            Item::End => self.pods.list_ends(),
            Item::Removed(pod) => {
                let uid = pod.metadata.as_ref().and_then(|meta| wire::uid(&meta.uid));
                if let Some(uid) = uid.filter(|uid| self.pods.pod(*uid).is_some()) {
                    self.counts.pods_deleted += 1;
                    self.pods.gone(uid);
                }
            }
        }
    }

    async fn node(&mut self, item: Item<wire::Node>) {
        match item {
            Item::Begin => self.listed = Some(vec![false; self.nodes.len()]),
            Item::Object(object) => {
                let Some(number) = self.number_of(&object) else { return };
                if let Some(listed) = &mut self.listed {
                    listed[number] = true;
                }
                self.node_seen(number, &object).await;
            }
            Item::End => {
                let listed = self.listed.take().unwrap_or_default();
                for number in (0..self.nodes.len()).filter(|number| !listed.get(*number).copied().unwrap_or(true)) {
                    self.node_gone(number).await;
                }
            }
            Item::Removed(object) => {
                let uid = object.metadata.as_ref().and_then(|meta| wire::uid(&meta.uid));
                if let Some(number) = self.number_of(&object).filter(|one| Some(self.nodes[*one].uid) == uid) {
                    self.node_gone(number).await;
                }
            }
        }
    }

    fn number_of(&self, object: &wire::Node) -> Option<usize> {
        self.pods.node_number(&object.metadata.as_ref()?.name).map(|number| number as usize)
    }

    /// A node is not there. What was not registered yet, or was deleted by us, is not lost.
    async fn node_gone(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        (node.ready, node.schedulable) = (false, false);
        match node.state {
            State::Registered => node.state = State::Lost,
            State::Leaving => {
                node.state = State::Removed;
                self.answer_removals(number, Ok(()));
            }
            _ => return,
        }
        self.orders.send(Order::Stop { node: number }).await.ok();
        let now = self.now();
        self.pods.set_up(u32::try_from(number).unwrap_or(u32::MAX), false, now);
    }

    async fn node_seen(&mut self, number: usize, object: &wire::Node) {
        let now = self.now();
        let spec = object.spec.as_ref();
        let networks = spec.map(|spec| match &spec.pod_cidrs[..] {
            [] => vec![spec.pod_cidr.clone()],
            many => many.to_vec(),
        });
        let networks = networks.into_iter().flatten().filter_map(|text| text.parse().ok()).collect();
        self.pods.set_networks(u32::try_from(number).unwrap_or(u32::MAX), networks, now);
        let conditions = object.status.iter().flat_map(|status| &status.conditions);
        let ready = conditions.filter(|one| one.r#type == "Ready").any(|one| one.status == "True");
        let barred = |taint: &wire::Taint| taint.key.starts_with("node.kubernetes.io/");
        let node = &mut self.nodes[number];
        if matches!(node.state, State::Lost | State::Removed) {
            return;
        }
        node.ready = ready;
        node.schedulable = ready && !spec.is_some_and(|spec| spec.taints.iter().any(barred));
        // The node lifecycle controller has given it up, and here it is.
        if !ready && node.up && node.leases && node.state == State::Registered {
            self.enqueue(number);
        }
    }

    async fn answered(&mut self, job: Job, answer: Result<Reply, ClientError>) {
        let now = self.now();
        if let Ok(reply) = &answer {
            self.counts.requests.throttled += u64::from(reply.status.as_u16() == 429);
            self.counts.requests.done += u64::from(reply.status.is_success());
        }
        match job {
            Job::Pod(uid, write) => {
                let answer = self.pod_answer(write, answer);
                if matches!(answer, Answer::Done(_)) && write == Write::Running(true) {
                    self.counts.pods_started += 1;
                    self.note_start(uid);
                }
                self.pods.answered(uid, write, answer, now);
            }
            Job::Event => {}
            Job::Register(number) | Job::Heartbeat(number) | Job::Delete(number) => {
                self.node_answer(job, number, answer, now).await;
            }
        }
    }

    /// Events are told once, and lost under load: kubelets drop them, too.
    fn note_start(&mut self, uid: u128) {
        if !self.fleet.behavior.events || self.sent.len() >= self.fleet.behavior.requests {
            return;
        }
        if let Some(pod) = self.pods.pod(uid) {
            let node = &self.nodes[pod.node as usize];
            self.send(Job::Event, status::event(uid, pod, &node.name, self.counts.pods_started));
        }
    }

    fn pod_answer(&mut self, write: Write, answer: Result<Reply, ClientError>) -> Answer {
        let reply = match answer {
            Ok(reply) => reply,
            Err(error) => {
                self.note(&error);
                self.counts.requests.retried += 1;
                return Answer::Again(None);
            }
        };
        match reply.status.as_u16() {
            200..300 => {
                let meta = wire::open::<wire::Written>(reply.body).and_then(|one| one.metadata);
                let version = meta.and_then(|meta| meta.resource_version.parse().ok()).unwrap_or(0);
                Answer::Done(version)
            }
            404 => Answer::Missing,
            // A patch of another pod's uid, or a deletion of it. A patch that lost a race says the same, and is tried
            // again.
            409 if write == Write::Delete => Answer::Missing,
            409 => Answer::Again(None),
            429 | 500..600 => {
                self.counts.requests.retried += 1;
                Answer::Again(reply.retry_after.and_then(|after| after.as_millis().try_into().ok()))
            }
            _ => {
                self.counts.requests.refused += 1;
                if let Err(error) = reply.success(&Call::get("a pod's status")) {
                    self.note(&error);
                }
                Answer::Refused
            }
        }
    }

    fn note(&self, error: &ClientError) {
        if let Ok(mut held) = self.failure.lock() {
            *held = Some(error.to_string().into());
        }
    }

    async fn node_answer(&mut self, job: Job, number: usize, answer: Result<Reply, ClientError>, now: Millis) {
        let path = self.nodes[number].path();
        let after = answer.as_ref().ok().and_then(|reply| reply.retry_after);
        let done = answer.and_then(|reply| match (job, reply.status.as_u16()) {
            (Job::Delete(_), 404) => Ok(reply),
            _ => reply.success(&Call::get(path)),
        });
        let node = &mut self.nodes[number];
        let reply = match done {
            Ok(reply) => reply,
            Err(error) => {
                node.failures += 1;
                let wait = after.unwrap_or(Duration::from_millis(100 << node.failures.min(7)));
                let wait = wait.mul_f64(1.0 + fastrand::f64() / 2.0);
                let heartbeat = matches!(job, Job::Heartbeat(_));
                // A heartbeat of a node that somebody deleted: the watch says so, or has said so.
                let moot = heartbeat && error.code() == Some(404);
                // A patch has no version: one that lost the race against a controller's too often is sent again.
                let again = error.is_transient() || (heartbeat && error.code() == Some(409));
                self.counts.requests.retried += u64::from(again);
                self.counts.requests.refused += u64::from(!again && !moot);
                self.note(&error);
                if !moot {
                    self.timers.push(Reverse((now + wait.as_millis() as Millis, number)));
                }
                return;
            }
        };
        node.failures = 0;
        match job {
            Job::Register(_) => self.registered(number, reply, now).await,
            Job::Heartbeat(_) => self.plan_heartbeat(number, now, false),
            Job::Delete(_) => self.node_gone(number).await,
            Job::Pod(..) | Job::Event => {}
        }
    }

    async fn registered(&mut self, number: usize, reply: Reply, now: Millis) {
        let Some(object) = wire::open::<wire::Node>(reply.body) else { return };
        let meta = object.metadata.clone().unwrap_or_default();
        let node = &mut self.nodes[number];
        if meta.labels.get(LABEL) != Some(&self.fleet.name) {
            node.state = State::Lost;
            let path = node.path();
            let why = format!("there is a node of this name that is not of the fleet '{}'", self.fleet.name);
            self.note(&ClientError::Broken { method: "POST".to_owned(), path, why });
            return;
        }
        if node.state != State::New {
            return;
        }
        node.state = State::Registered;
        node.uid = wire::uid(&meta.uid).unwrap_or(0);
        self.node_seen(number, &object).await;
        self.start_leases(number).await;
        self.plan_heartbeat(number, now, true);
    }

    async fn start_leases(&mut self, number: usize) {
        let node = &self.nodes[number];
        let order = Order::Start { node: number, name: Arc::clone(&node.name), uid: node.uid };
        self.orders.send(order).await.ok();
    }

    /// Heartbeats of nodes that were registered at once are spread over the whole time.
    fn plan_heartbeat(&mut self, number: usize, now: Millis, first: bool) {
        let every = self.fleet.behavior.heartbeat.as_millis().try_into().unwrap_or(Millis::MAX / 4);
        let wait = if first { fastrand::u64(every / 10..=every) } else { every };
        self.timers.push(Reverse((now + wait, number)));
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Leases { node, on, done } => {
                let found = self.named(&node);
                if let Ok(number) = found {
                    self.nodes[number].leases = on;
                    self.set_leases(number).await;
                }
                done.send(found.map(drop)).ok();
            }
            Command::Kubelet { node, up, done } => {
                let found = self.named(&node);
                if let Ok(number) = found {
                    self.nodes[number].up = up;
                    self.set_leases(number).await;
                    let now = self.now();
                    self.pods.set_up(u32::try_from(number).unwrap_or(u32::MAX), up, now);
                    self.enqueue(number);
                }
                done.send(found.map(drop)).ok();
            }
            Command::Remove { node, done } => match self.named(&node) {
                Ok(number) => {
                    self.leave(number).await;
                    self.removals.push((number, done));
                    if self.nodes[number].state != State::Leaving {
                        self.answer_removals(number, Ok(()));
                    }
                }
                Err(error) => drop(done.send(Err(error))),
            },
            Command::End { keep, done } => {
                if keep == Keep::Nothing {
                    for number in 0..self.nodes.len() {
                        self.leave(number).await;
                    }
                }
                self.ending = Some((keep, done));
            }
        }
    }

    fn named(&self, name: &str) -> Result<usize, FleetError> {
        let number = self.pods.node_number(name).map(|number| number as usize);
        number.ok_or_else(|| FleetError::NoNode(name.to_owned()))
    }

    async fn set_leases(&mut self, number: usize) {
        let node = &self.nodes[number];
        if node.state != State::Registered {
            return;
        }
        if node.up && node.leases {
            self.start_leases(number).await;
            self.enqueue(number);
        } else {
            self.orders.send(Order::Stop { node: number }).await.ok();
        }
    }

    /// Has a node leave: its kubelet ends at once, its object is deleted when its turn comes.
    async fn leave(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        if matches!(node.state, State::Lost | State::Removed) {
            return;
        }
        // One that is just being registered is deleted as well: the deletion comes after the registration.
        node.state = State::Leaving;
        (node.up, node.failures) = (false, 0);
        self.orders.send(Order::Stop { node: number }).await.ok();
        let now = self.now();
        self.pods.set_up(u32::try_from(number).unwrap_or(u32::MAX), false, now);
        self.enqueue(number);
    }

    fn answer_removals(&mut self, number: usize, answer: Result<(), FleetError>) {
        for (_, done) in self.removals.extract_if(.., |(one, _)| *one == number) {
            done.send(answer.clone()).ok();
        }
    }
}
