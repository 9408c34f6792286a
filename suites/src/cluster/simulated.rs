//! Nodes without a kubelet: objects that the real scheduler places pods on, kept Ready by leases of ours.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::objects::in_the_way;
use super::{Condition, Ctx, Ref, Rejection, Stop};

/// The label of simulated nodes, and the key of the taint that keeps others' pods from them.
pub const SIMULATED: &str = "seaworthy.dev/simulated";
/// The label by which the pods of an act select its own nodes.
const OWN: &str = "seaworthy.dev/act";
/// How often leases are renewed: well below the 40 s (50 s since 1.32) after which a node is no longer Ready.
const RENEW: Duration = Duration::from_secs(6);
/// How long nodes may take until the controllers call them Ready, and pods until the scheduler has decided.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often a list of pods is read.
const POLL: Duration = Duration::from_millis(300);

/// A node that is simulated.
#[derive(Debug, Clone)]
pub struct NodeSpec {
    /// Its name within the act.
    pub name: String,
    /// Its labels, besides those that every node has.
    pub labels: BTreeMap<String, String>,
    /// Its taints, besides the one that keeps others' pods away.
    pub taints: Vec<Value>,
    /// CPUs, capacity and allocatable.
    pub cpus: u32,
    /// Memory in GiB: what pods can have of it.
    pub memory: u32,
    /// Memory in GiB that is reserved for the system: part of the capacity, not of what is allocatable.
    pub reserved: u32,
    /// Is it open to the pods of others, and without the label that an act's own pods select?
    pub open: bool,
}

impl NodeSpec {
    /// A Linux node with 4 CPUs and 16 GiB.
    #[must_use]
    pub fn linux(name: &str) -> Self {
        let labels = [("kubernetes.io/os", "linux"), ("kubernetes.io/arch", "amd64")];
        Self {
            name: name.to_owned(),
            labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            taints: Vec::new(),
            cpus: 4,
            memory: 16,
            reserved: 0,
            open: false,
        }
    }

    /// A Windows node of a build such as `10.0.20348`, with the taint that the scheduling guide recommends.
    #[must_use]
    pub fn windows(name: &str, build: &str) -> Self {
        let taint = json!({ "key": "os", "value": "windows", "effect": "NoSchedule" });
        Self::linux(name)
            .label("kubernetes.io/os", "windows")
            .label("node.kubernetes.io/windows-build", build)
            .taints(vec![taint])
    }

    /// With this label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// In this zone, of the region `sea`.
    #[must_use]
    pub fn zone(self, zone: &str) -> Self {
        self.label("topology.kubernetes.io/zone", zone).label("topology.kubernetes.io/region", "sea")
    }

    /// With these taints and no others.
    #[must_use]
    pub fn taints(mut self, taints: Vec<Value>) -> Self {
        self.taints = taints;
        self
    }

    /// With this many CPUs, and four times as many GiB.
    #[must_use]
    pub fn sized(mut self, cpus: u32) -> Self {
        (self.cpus, self.memory) = (cpus, cpus.saturating_mul(4));
        self
    }

    /// Open to every pod of the cluster; for examples that are used as they are.
    #[must_use]
    pub fn open(mut self) -> Self {
        self.open = true;
        self
    }
}

/// The simulated nodes of an act.
#[derive(Debug, Clone)]
pub struct Fleet {
    namespace: String,
    silent: Arc<Mutex<BTreeSet<String>>>,
}

impl Fleet {
    /// The name of the Node object.
    #[must_use]
    pub fn full(&self, name: &str) -> String {
        format!("{}-{name}", self.namespace)
    }

    /// The name within the act; that of another's node as it is.
    #[must_use]
    pub fn short(&self, full: &str) -> String {
        let own = full.strip_prefix(&self.namespace).and_then(|rest| rest.strip_prefix('-'));
        own.unwrap_or(full).to_owned()
    }

    /// These nodes fall silent: their leases are not renewed any more, as when they lost power.
    pub fn silence(&self, names: &[&str]) {
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        silent.extend(names.iter().map(|name| self.full(name)));
    }

    fn is_silent(&self, full: &str) -> bool {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner).contains(full)
    }
}

/// What the scheduler made of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// It is bound to this node.
    On(String),
    /// No node fits, with the scheduler's message.
    Nowhere(String),
}

/// What the scheduler made of a pod, so far.
fn placed(pod: &Value) -> Option<Placed> {
    if let Some(node) = pod["spec"]["nodeName"].as_str() {
        return Some(Placed::On(node.to_owned()));
    }
    let all = pod["status"]["conditions"].as_array();
    let one = all.into_iter().flatten().find(|one| one["type"] == "PodScheduled" && one["status"] == "False")?;
    let message = one["message"].as_str().unwrap_or_default();
    (one["reason"] == "Unschedulable").then(|| Placed::Nowhere(message.to_owned()))
}

impl Ctx {
    /// Makes nodes without a kubelet, waits until the controllers call them Ready, and keeps them so until the act
    /// ends.
    ///
    /// # Errors
    /// [`Stop::Undetermined`] if they cannot be made, or no controller calls them Ready.
    pub async fn simulate(&self, nodes: &[NodeSpec]) -> Result<Fleet, Stop> {
        let fleet = Fleet { namespace: self.namespace().to_owned(), silent: Arc::default() };
        let names: Vec<_> = nodes.iter().map(|node| fleet.full(&node.name)).collect();
        for (node, full) in nodes.iter().zip(&names) {
            self.create(node_object(node, full, self.namespace())).await?;
            let status = status(node);
            let path = format!("/api/v1/nodes/{full}/status");
            let refused = |why: Rejection| Stop::Undetermined(in_the_way(&format!("patch the status of {full}"), &why));
            self.request(Method::PATCH, &path, Some(&status)).await?.map_err(refused)?;
            self.create(lease(full)).await?;
        }
        let (ctx, own) = (self.clone(), fleet.clone());
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(RENEW).await;
                for full in names.iter().filter(|full| !own.is_silent(full)) {
                    let spec = json!({ "spec": { "renewTime": micro_time() } });
                    let path = Ref::new("coordination.k8s.io/v1", "Lease", "kube-node-lease", full).path();
                    // One that fails is made up for by the next.
                    let _ = ctx.request(Method::PATCH, &path, Some(&spec)).await;
                }
            }
        });
        self.undo("stop renewing leases", async move {
            task.abort();
            Ok(())
        });
        let ready = Condition::new("is Ready on every node", |list| {
            let taints = |node: &Value| node["spec"]["taints"].as_array().cloned().unwrap_or_default();
            let items = list["items"].as_array().into_iter().flatten();
            let tainted = items.filter(|node| {
                taints(node)
                    .iter()
                    .any(|taint| taint["key"].as_str().is_some_and(|key| key.starts_with("node.kubernetes.io/")))
            });
            match tainted.count() {
                0 => Ok(()),
                count => Err(format!("{count} nodes have the taint not-ready")),
            }
        });
        let selector = format!("{SIMULATED}={}", self.namespace());
        let waited = self.until_list(&Ref::all("v1", "Node"), &selector, &ready, PATIENCE).await;
        waited.map_err(|stop| stop.undetermined("simulated nodes do not become Ready"))?;
        Ok(fleet)
    }

    /// Waits for the service account that pods of the act's namespace have: without it no pod is admitted, not even by
    /// dry run.
    ///
    /// # Errors
    /// [`Stop::Undetermined`] if it is not made.
    pub async fn service_account(&self) -> Result<(), Stop> {
        let place = Ref::new("v1", "ServiceAccount", self.namespace(), "default");
        let waited = self.until(&place, &Condition::new("exists", |_| Ok(())), PATIENCE).await;
        waited.map(drop).map_err(|stop| stop.undetermined("pods need the service account default"))
    }

    /// A pod for the act's own simulated nodes: it runs nothing, tolerates what keeps others away, and goes at once
    /// when it is deleted. Fields of `more` are merged into its spec; tolerations and node selectors are added.
    #[must_use]
    pub fn bare_pod(&self, name: &str, labels: &[(&str, &str)], more: &Value) -> Value {
        let labels: BTreeMap<_, _> = labels.iter().copied().collect();
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": labels },
            "spec": self.bare_spec(more),
        })
    }

    /// The spec of such a pod, for templates.
    #[must_use]
    pub fn bare_spec(&self, more: &Value) -> Value {
        let request = json!({ "cpu": "500m", "memory": "1Gi" });
        let mut spec = json!({
            "containers": [{
                "name": "main", "image": self.target().image, "resources": { "requests": request },
            }],
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": false,
            "nodeSelector": { OWN: self.namespace() },
            "tolerations": [{ "key": SIMULATED, "operator": "Exists" }],
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            match (key.as_str(), value) {
                ("nodeSelector", Value::Object(pairs)) => {
                    for (label, value) in pairs {
                        spec["nodeSelector"][label] = value.clone();
                    }
                }
                ("tolerations", Value::Array(more)) => {
                    if let Some(own) = spec["tolerations"].as_array_mut() {
                        own.extend(more.iter().cloned());
                    }
                }
                _ => spec[key] = value.clone(),
            }
        }
        spec
    }

    /// Waits until the scheduler has decided about a pod.
    ///
    /// # Errors
    /// [`Stop::Undetermined`] if it does not: no scheduler runs.
    pub async fn decided(&self, pod: &str) -> Result<Placed, Stop> {
        let place = Ref::new("v1", "Pod", self.namespace(), pod);
        let condition = Condition::new("is placed by the scheduler, or found not to fit", |pod| {
            placed(pod).map(drop).ok_or_else(|| "the scheduler says nothing".to_owned())
        });
        let pod = self.until(&place, &condition, PATIENCE).await;
        let pod = pod.map_err(|stop| stop.undetermined("the scheduler does not decide"))?;
        placed(&pod).ok_or_else(|| Stop::Undetermined("the scheduler does not decide".to_owned()))
    }

    /// Waits until a pod is bound, and returns the node's full name. A pod that does not fit at first may fit when the
    /// scheduler has seen every node.
    ///
    /// # Errors
    /// [`Stop::Breached`] with the scheduler's last message.
    pub async fn bound(&self, pod: &str, patience: Duration) -> Result<String, Stop> {
        let place = Ref::new("v1", "Pod", self.namespace(), pod);
        let condition = Condition::new("is bound to a node", |pod| match placed(pod) {
            Some(Placed::On(_)) => Ok(()),
            Some(Placed::Nowhere(message)) => Err(message),
            None => Err("the scheduler says nothing".to_owned()),
        });
        let pod = self.until(&place, &condition, patience).await?;
        Ok(pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits until the scheduler has decided about this many pods of the act's namespace; they as they are then.
    ///
    /// # Errors
    /// [`Stop::Undetermined`] if it does not within `patience`.
    pub async fn settled(&self, count: usize, patience: Duration) -> Result<Vec<Value>, Stop> {
        self.step(format!("wait until the scheduler has decided about {count} pods"));
        let end = tokio::time::Instant::now() + patience;
        let place = Ref { namespace: Some(self.namespace().to_owned()), ..Ref::all("v1", "Pod") };
        loop {
            let pods = self.list(&place).await?;
            let decided = pods.iter().filter(|pod| placed(pod).is_some()).count();
            if decided >= count {
                return Ok(pods);
            }
            if tokio::time::Instant::now() > end {
                return Err(Stop::Undetermined(format!(
                    "the scheduler has decided about {decided} of {count} pods within {} s",
                    patience.as_secs()
                )));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Says of a pod that runs on a simulated node what a kubelet would: it is Running and Ready, with this address.
    ///
    /// # Errors
    /// [`Stop::Undetermined`] if its status cannot be changed.
    pub async fn run_pod(&self, pod: &str, address: &str) -> Result<(), Stop> {
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let conditions: Vec<_> = ["PodScheduled", "Initialized", "ContainersReady", "Ready"]
            .iter()
            .map(|kind| json!({ "type": kind, "status": "True", "lastTransitionTime": now }))
            .collect();
        let status = json!({ "status": {
            "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }], "startTime": now,
            "conditions": conditions,
        } });
        let path = format!("{}/status", Ref::new("v1", "Pod", self.namespace(), pod).path());
        let refused =
            |why: Rejection| Stop::Undetermined(in_the_way(&format!("patch the status of the pod {pod}"), &why));
        self.request(Method::PATCH, &path, Some(&status)).await?.map(drop).map_err(refused)
    }
}

fn node_object(node: &NodeSpec, full: &str, namespace: &str) -> Value {
    let mut labels = json!({ "kubernetes.io/hostname": full, SIMULATED: namespace });
    let mut taints = node.taints.clone();
    if !node.open {
        labels[OWN] = namespace.into();
        taints.push(json!({ "key": SIMULATED, "value": namespace, "effect": "NoSchedule" }));
    }
    for (key, value) in &node.labels {
        labels[key] = value.as_str().into();
    }
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": full, "labels": labels }, "spec": { "taints": taints },
    })
}

fn status(node: &NodeSpec) -> Value {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let condition = |kind: &str, status: &str| {
        json!({
            "type": kind, "status": status, "reason": "Simulated", "message": "no kubelet",
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        })
    };
    let resources =
        |memory: u32| json!({ "cpu": node.cpus.to_string(), "memory": format!("{memory}Gi"), "pods": "1000" });
    let os = node.labels.get("kubernetes.io/os").map_or("linux", String::as_str);
    json!({ "status": {
        "capacity": resources(node.memory.saturating_add(node.reserved)),
        "allocatable": resources(node.memory),
        "conditions": [
            condition("Ready", "True"), condition("MemoryPressure", "False"),
            condition("DiskPressure", "False"), condition("PIDPressure", "False"),
        ],
        "nodeInfo": { "operatingSystem": os, "architecture": "amd64", "osImage": "simulated" },
    } })
}

fn lease(full: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": full, "namespace": "kube-node-lease" },
        "spec": { "holderIdentity": full, "leaseDurationSeconds": 40, "renewTime": micro_time() },
    })
}

fn micro_time() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_act() {
        let fleet = Fleet { namespace: "seaworthy-1".to_owned(), silent: Arc::default() };
        assert_eq!(fleet.full("a"), "seaworthy-1-a");
        assert_eq!(fleet.short("seaworthy-1-a"), "a");
        assert_eq!(fleet.short("worker1"), "worker1");
        fleet.silence(&["a"]);
        assert!(fleet.is_silent("seaworthy-1-a") && !fleet.is_silent("seaworthy-1-b"));
    }

    #[test]
    fn a_pod_is_placed_when_the_scheduler_says_so() {
        assert_eq!(placed(&json!({ "spec": { "nodeName": "n" } })), Some(Placed::On("n".to_owned())));
        let pending = json!({ "status": { "conditions": [
            { "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1" }] } });
        assert_eq!(placed(&pending), Some(Placed::Nowhere("0/1".to_owned())));
        // A gate is no decision of the scheduler's.
        let gated = json!({
            "status": { "conditions": [{ "type": "PodScheduled", "status": "False", "reason": "SchedulingGated" }] },
        });
        assert_eq!(placed(&gated), None);
    }

    #[test]
    fn times_are_those_of_leases() {
        let text = micro_time();
        assert!(text.parse::<jiff::Timestamp>().is_ok() && text.len() == "2026-11-30T13:00:00.000000Z".len(), "{text}");
    }
}
