//! The use that a cluster makes of the limits of its size: counted in pages with bounded memory, then judged by pure
//! functions.
//!
//! What costs one request is counted with one: `limit=1` and the API server's `remainingItemCount`. What must be summed
//! by namespace, node or Service is read page by page, and only the sums are kept. No content of a Secret is read.

mod gather;
mod rows;

use std::collections::BTreeMap;

use ipnet::IpNet;

pub use gather::gather;
pub(crate) use gather::slo_key;
pub use rows::{Judged, Row, rows};

/// What is known of a thing, or why it is not.
pub type Told<T> = Result<T, String>;

/// Sums by name, of which there may be thousands.
pub type Sums = BTreeMap<String, u64>;

/// Command lines of a control plane's components, by component: `kube-apiserver`, `etcd`.
pub type Flags = BTreeMap<String, Vec<String>>;

/// What a cluster has of everything that is limited.
#[derive(Debug, Clone, PartialEq)]
pub struct Usage {
    /// Nodes.
    pub nodes: Told<Nodes>,
    /// Pods and containers.
    pub pods: Told<Pods>,
    /// Services by namespace.
    pub services: Told<Sums>,
    /// Deployments by namespace.
    pub deployments: Told<Sums>,
    /// Backends by Service (`namespace/name`), the addresses of each family counted apart and the larger number taken.
    pub backends: Told<Sums>,
    /// The number of objects by resource: `configmaps`, `events`, a CustomResourceDefinition's `plural.group`.
    pub objects: Sums,
    /// Which resources could not be counted, and why.
    pub uncounted: BTreeMap<String, String>,
    /// CustomResourceDefinitions.
    pub definitions: Told<u64>,
    /// The largest objects, as bytes in protobuf, with resource and name.
    pub largest: Told<Vec<(String, u64)>>,
    /// etcd's database in bytes.
    pub database: Told<u64>,
    /// etcd's quota in bytes.
    pub quota: Told<u64>,
    /// Networks of pods.
    pub pod_networks: Told<Vec<IpNet>>,
    /// Networks of Services, with how many addresses of each are taken.
    pub service_networks: Told<Vec<(IpNet, u64)>>,
    /// What the API server says of itself.
    pub server: Told<Server>,
    /// Command lines of the control plane's static pods, by component.
    pub flags: Told<Flags>,
}

impl Usage {
    /// The same with what is known of the control plane from elsewhere than its pods.
    #[must_use]
    pub fn with_flags(mut self, flags: Flags) -> Self {
        self.flags = Ok(flags);
        self.quota = gather::quota(&self.flags);
        self.pod_networks = gather::pod_networks(&self.flags, &Err(String::new())).or(self.pod_networks);
        self
    }
}

/// Nodes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Nodes {
    /// How many.
    pub total: u64,
    /// How many are not ready.
    pub unready: u64,
    /// How many there are by zone; those without a zone are under the empty name.
    pub zones: Sums,
    /// How many of them are control planes, by zone.
    pub control_planes: Sums,
    /// Cores and room for pods of each node, by name.
    pub sizes: BTreeMap<String, (u64, u64)>,
    /// How many have a network of pods.
    pub with_network: u64,
}

/// Pods and containers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pods {
    /// How many there are.
    pub total: u64,
    /// Their containers.
    pub containers: u64,
    /// Pods by namespace.
    pub by_namespace: Sums,
    /// Pods that are not ended, by node.
    pub by_node: Sums,
    /// Containers of kube-system that the kernel killed for want of memory: `pod/container`.
    pub killed: Vec<String>,
}

/// What the API server's /metrics say.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Server {
    /// Requests that priority and fairness refused, by level and reason.
    pub rejected: Sums,
    /// Requests that wait in its queues now.
    pub waiting: u64,
    /// Watches by resource.
    pub watches: Sums,
    /// The 99th percentile in seconds and the count of requests since the API server began, by `verb resource scope`.
    pub latencies: BTreeMap<String, (f64, u64)>,
}

/// The largest of sums, the largest first.
pub(crate) fn largest(sums: &Sums, count: usize) -> Vec<(&str, u64)> {
    let mut all: Vec<_> = sums.iter().map(|(name, sum)| (name.as_str(), *sum)).collect();
    all.sort_by_key(|(name, sum)| (std::cmp::Reverse(*sum), *name));
    all.truncate(count);
    all
}
