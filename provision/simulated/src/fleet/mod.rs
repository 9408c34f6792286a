//! A fleet of simulated nodes: what starts it, and the handle by which it is looked at, broken on purpose and ended.

mod core;
mod node;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use self::core::Core;
use self::node::Node;
use crate::client::{Call, Client, ClientError, Lane};
use crate::counts::Counts;
use crate::leases::{self, LeaseStats};
use crate::nodes;
use crate::spec::{Behavior, LABEL, NodeGroup};
use crate::watch::{self as watching, Source, WatchStats};
use crate::{address, wire};

/// How many items of watches wait to be looked at; then the API server has to wait.
const BACKLOG: usize = 2048;

/// Why a fleet does not do what it should.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FleetError {
    /// The API server is not there, or refuses.
    #[error("{what}: {why}")]
    Api {
        /// What was wanted.
        what: String,
        /// Why it is not had.
        why: Box<ClientError>,
    },
    /// It has no node of this name.
    #[error("the fleet has no node '{0}'")]
    NoNode(String),
    /// A specification that cannot be met.
    #[error("{0}")]
    Spec(String),
    /// Something did not come about in time.
    #[error("not so within {patience:?}: {what}; {counts}{}", failure(counts))]
    Late {
        /// What was waited for.
        what: String,
        /// For how long.
        patience: Duration,
        /// What there was instead.
        counts: Box<Counts>,
    },
    /// The fleet has ended.
    #[error("the fleet has ended")]
    Ended,
}

fn failure(counts: &Counts) -> String {
    counts.last_failure.as_ref().map(|why| format!("; the last failure: {why}")).unwrap_or_default()
}

/// What is left when a fleet ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The Node objects and leases are deleted; the control plane's garbage collector then deletes the pods.
    Nothing,
    /// The Node objects stay, and become `Unknown` when their leases run out. A fleet of the same name takes them over.
    Nodes,
}

/// Simulated nodes that are to be.
#[derive(Debug, Clone)]
pub struct Fleet {
    client: Client,
    name: String,
    groups: Vec<NodeGroup>,
    behavior: Behavior,
}

impl Fleet {
    /// A fleet without nodes.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, name: "seaworthy".to_owned(), groups: Vec::new(), behavior: Behavior::default() }
    }

    /// Names it: fleets of other names on the same cluster are let be. Node names must not collide.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Adds nodes.
    #[must_use]
    pub fn nodes(mut self, group: NodeGroup) -> Self {
        self.groups.push(group);
        self
    }

    /// Says how kubelets and pods behave.
    #[must_use]
    pub fn behavior(mut self, behavior: Behavior) -> Self {
        self.behavior = behavior;
        self
    }

    /// Registers the nodes and goes on in tasks of the current runtime. Returns once the API server has agreed to the
    /// first node; [`Running::until`] waits for the rest.
    ///
    /// # Errors
    /// [`FleetError`]: the API server is not there or refuses nodes, or there are fewer addresses than nodes.
    pub async fn start(self) -> Result<Running, FleetError> {
        let version = self.version().await?;
        let nodes = self.plan(&version)?;
        if let Some(first) = nodes.first() {
            let call = nodes::register(&first.object(&self.groups, &self.name), true);
            let api = |why| FleetError::Api { what: "registering nodes".to_owned(), why: Box::new(why) };
            let reply = self.client.send(Lane::Work, &call).await.map_err(api)?;
            // One that is there is taken over, or refused, when its turn comes.
            if reply.status.as_u16() != 409 {
                reply.success(&call).map_err(api)?;
            }
        }
        Ok(self.run(nodes))
    }

    async fn version(&self) -> Result<String, FleetError> {
        let call = Call::get("/version");
        let api = |why| FleetError::Api { what: "the API server's version".to_owned(), why: Box::new(why) };
        let reply = self.client.ask(Lane::Work, &call).await.and_then(|reply| reply.success(&call)).map_err(api)?;
        let version = reply.json(&call).map_err(api)?;
        Ok(version["gitVersion"].as_str().unwrap_or("v0.0.0").to_owned())
    }

    fn plan(&self, version: &str) -> Result<Vec<Node>, FleetError> {
        let network = self.behavior.node_network;
        let bits = u32::from(network.max_prefix_len() - network.prefix_len()).min(31);
        let count: u64 = self.groups.iter().map(|group| u64::from(group.count)).sum();
        if count + 1 >= 1 << bits {
            return Err(FleetError::Spec(format!("{network} has fewer addresses than {count} nodes need")));
        }
        if !is_label(&self.name) {
            return Err(FleetError::Spec(format!("'{}' is no label's value, so no name of a fleet", self.name)));
        }
        let mut nodes = Vec::new();
        let mut names = std::collections::HashSet::new();
        for (group_number, group) in self.groups.iter().enumerate() {
            for index in 0..group.count {
                let name: Arc<str> = group.name(index).into();
                if !names.insert(Arc::clone(&name)) {
                    let why = format!("two groups have a node {name}: give one of them another prefix");
                    return Err(FleetError::Spec(why));
                }
                let number = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
                let address = address::nth(&network, number + 1);
                let kubelet = group.kubelet.as_deref().unwrap_or(version).into();
                nodes.push(Node::new(name, group_number, index, address, kubelet));
            }
        }
        let last = u32::try_from(nodes.len()).unwrap_or(u32::MAX).saturating_sub(1);
        if let Some(small) = self.behavior.pod_networks.iter().find(|one| address::part(one, last).is_none()) {
            return Err(FleetError::Spec(format!("{small} has no network of pods left for node {}", last + 1)));
        }
        Ok(nodes)
    }

    fn run(self, nodes: Vec<Node>) -> Running {
        let (commands, received) = mpsc::channel(64);
        let (published, counts) = watch::channel(Counts::default());
        let (pod_items, pods) = mpsc::channel(BACKLOG);
        let (node_items, node_events) = mpsc::channel(BACKLOG);
        let (orders, ordered) = mpsc::channel(BACKLOG);
        let lease_stats = Arc::new(LeaseStats::default());
        let watch_stats = Arc::new(WatchStats::default());
        let failure = Arc::new(std::sync::Mutex::new(None::<Arc<str>>));
        let note = |failure: &Arc<std::sync::Mutex<Option<Arc<str>>>>| {
            let failure = Arc::clone(failure);
            move |error: &ClientError| {
                if let Ok(mut held) = failure.lock() {
                    *held = Some(error.to_string().into());
                }
            }
        };
        let selector = form_urlencoded::Serializer::new(String::new())
            .append_pair("labelSelector", &format!("{LABEL}={}", self.name))
            .finish();
        let bound =
            form_urlencoded::Serializer::new(String::new()).append_pair("fieldSelector", "spec.nodeName!=").finish();
        let pod_source = Source { path: "/api/v1/pods", selector: bound };
        let node_source = Source { path: "/api/v1/nodes", selector };
        let tasks = vec![
            tokio::spawn(watching::run::<wire::Pod>(
                self.client.clone(),
                pod_source,
                pod_items,
                Arc::clone(&watch_stats),
                note(&failure),
            )),
            tokio::spawn(watching::run::<wire::Node>(
                self.client.clone(),
                node_source,
                node_items,
                Arc::clone(&watch_stats),
                note(&failure),
            )),
            tokio::spawn(leases::run(
                self.client.clone(),
                self.behavior.lease,
                self.behavior.requests,
                ordered,
                Arc::clone(&lease_stats),
                note(&failure),
            )),
        ];
        let core = Core::new(self, nodes, orders, lease_stats, watch_stats, failure);
        let task = tokio::spawn(core.run(pods, node_events, received, published));
        Running { commands, counts, task: Some(task), tasks }
    }
}

/// Is it what a label's value may be?
fn is_label(text: &str) -> bool {
    let ends = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.len() <= 63
        && ends(text.bytes().next())
        && ends(text.bytes().last())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// What a fleet is told while it runs.
#[derive(Debug)]
enum Command {
    Leases { node: String, on: bool, done: oneshot::Sender<Result<(), FleetError>> },
    Kubelet { node: String, up: bool, done: oneshot::Sender<Result<(), FleetError>> },
    Remove { node: String, done: oneshot::Sender<Result<(), FleetError>> },
    End { keep: Keep, done: oneshot::Sender<()> },
}

/// A fleet that runs. Dropping it ends the simulation and leaves the Node objects, as [`Keep::Nodes`] does.
#[derive(Debug)]
pub struct Running {
    commands: mpsc::Sender<Command>,
    counts: watch::Receiver<Counts>,
    task: Option<JoinHandle<()>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Running {
    /// What there is now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts.borrow().clone()
    }

    /// Waits until the counts are as they should be.
    ///
    /// # Errors
    /// [`FleetError::Late`] with the last counts, [`FleetError::Ended`].
    pub async fn until(
        &self,
        what: &str,
        patience: Duration,
        is_so: impl Fn(&Counts) -> bool,
    ) -> Result<Counts, FleetError> {
        let mut counts = self.counts.clone();
        let found = tokio::time::timeout(patience, counts.wait_for(|counts| is_so(counts))).await;
        match found {
            Ok(Ok(counts)) => Ok(counts.clone()),
            Ok(Err(_)) => Err(FleetError::Ended),
            Err(_) => {
                let counts = Box::new(self.counts());
                Err(FleetError::Late { what: what.to_owned(), patience, counts })
            }
        }
    }

    /// Stops renewing a node's lease; its kubelet goes on otherwise.
    ///
    /// # Errors
    /// [`FleetError::NoNode`], [`FleetError::Ended`].
    pub async fn stop_leases(&self, node: &str) -> Result<(), FleetError> {
        self.tell(|done| Command::Leases { node: node.to_owned(), on: false, done }).await
    }

    /// Renews a node's lease again.
    ///
    /// # Errors
    /// [`FleetError::NoNode`], [`FleetError::Ended`].
    pub async fn resume_leases(&self, node: &str) -> Result<(), FleetError> {
        self.tell(|done| Command::Leases { node: node.to_owned(), on: true, done }).await
    }

    /// Ends a node's kubelet: no lease, no heartbeat, and its pods stay as they are.
    ///
    /// # Errors
    /// [`FleetError::NoNode`], [`FleetError::Ended`].
    pub async fn fail(&self, node: &str) -> Result<(), FleetError> {
        self.tell(|done| Command::Kubelet { node: node.to_owned(), up: false, done }).await
    }

    /// Starts a node's kubelet again.
    ///
    /// # Errors
    /// [`FleetError::NoNode`], [`FleetError::Ended`].
    pub async fn recover(&self, node: &str) -> Result<(), FleetError> {
        self.tell(|done| Command::Kubelet { node: node.to_owned(), up: true, done }).await
    }

    /// Ends a node's kubelet and deletes its Node object.
    ///
    /// # Errors
    /// [`FleetError::NoNode`], [`FleetError::Ended`].
    pub async fn remove(&self, node: &str) -> Result<(), FleetError> {
        self.tell(|done| Command::Remove { node: node.to_owned(), done }).await
    }

    async fn tell(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<(), FleetError>>) -> Command,
    ) -> Result<(), FleetError> {
        let (done, answered) = oneshot::channel();
        self.commands.send(command(done)).await.map_err(|_| FleetError::Ended)?;
        answered.await.map_err(|_| FleetError::Ended)?
    }

    /// Ends the fleet, and says what it counted. With [`Keep::Nothing`] it returns once every Node object is deleted.
    ///
    /// # Errors
    /// [`FleetError::Late`] if Node objects are still there after five minutes.
    pub async fn shutdown(mut self, keep: Keep) -> Result<Counts, FleetError> {
        let (done, ended) = oneshot::channel();
        let patience = Duration::from_mins(5);
        if self.commands.send(Command::End { keep, done }).await.is_ok()
            && tokio::time::timeout(patience, ended).await.is_err()
        {
            let counts = Box::new(self.counts());
            return Err(FleetError::Late { what: "every Node object is deleted".to_owned(), patience, counts });
        }
        if let Some(task) = self.task.take() {
            task.await.map_err(|_| FleetError::Ended)?;
        }
        Ok(self.counts())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.iter().chain(&self.task).for_each(JoinHandle::abort);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_of_fleets_are_values_of_labels() {
        for good in ["a", "seaworthy", "A.b_c-9"] {
            assert!(super::is_label(good), "{good}");
        }
        for bad in ["", "-a", "a b", "a/b", "a-"] {
            assert!(!super::is_label(bad), "{bad}");
        }
    }
}
