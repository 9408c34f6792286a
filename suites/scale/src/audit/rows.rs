//! The limits, one row each: what Kubernetes documents, how much of it is used, and how far it is to trouble.

mod judges;

use super::Usage;
use judges::*;

/// Where a limit is documented.
const LARGE_CLUSTERS: (&str, &str) =
    ("Considerations for large clusters", "https://kubernetes.io/docs/setup/best-practices/cluster-large/");
const THRESHOLDS: (&str, &str) = (
    "Kubernetes scalability thresholds",
    "https://github.com/kubernetes/community/blob/master/sig-scalability/configs-and-limits/thresholds.md",
);
const SLOS: (&str, &str) = (
    "Kubernetes scalability SLIs and SLOs",
    "https://github.com/kubernetes/community/blob/master/sig-scalability/slos/slos.md",
);
const ETCD: (&str, &str) = ("etcd: system limits", "https://etcd.io/docs/latest/dev-guide/limit/");
const APF: (&str, &str) =
    ("API Priority and Fairness", "https://kubernetes.io/docs/concepts/cluster-administration/flow-control/");

/// What a judge says of one row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Judged {
    /// How much is used, as label and value.
    pub used: Vec<(String, String)>,
    /// What is beyond its limit, as thing and message.
    pub beyond: Vec<(String, String)>,
    /// Why it cannot be told.
    pub unknown: Option<String>,
    /// Why the row is not about this cluster.
    pub not_applicable: Option<String>,
}

impl Judged {
    fn unknown(why: &str) -> Self {
        Self { unknown: Some(why.to_owned()), ..Self::default() }
    }

    fn used(mut self, label: &str, value: impl Into<String>) -> Self {
        self.used.push((label.to_owned(), value.into()));
        self
    }

    fn beyond(mut self, thing: &str, message: impl Into<String>) -> Self {
        self.beyond.push((thing.to_owned(), message.into()));
        self
    }
}

/// A limit.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The last segment of its id: `pods-per-node`.
    pub id: &'static str,
    /// The claim.
    pub title: &'static str,
    /// Why it matters.
    pub why: &'static str,
    /// What to do beyond it.
    pub fix: &'static str,
    /// Where it is documented.
    pub basis: (&'static str, &'static str),
    /// Judges a cluster.
    pub judge: fn(&Usage) -> Judged,
}

/// All rows, in order.
#[must_use]
pub fn rows() -> &'static [Row] {
    &ROWS
}

static ROWS: [Row; 23] = [
    Row {
        id: "nodes",
        title: "The cluster has at most 5,000 nodes",
        why: "Kubernetes is tested with up to 5,000 nodes; beyond, its latency objectives are not promised.",
        fix: "Split the workload over several clusters.",
        basis: LARGE_CLUSTERS,
        judge: |usage| total(usage.nodes.as_ref().map(|nodes| nodes.total), "nodes", 5_000),
    },
    Row {
        id: "pods",
        title: "The cluster has at most 150,000 pods",
        why: "Watches, the scheduler and the garbage collector hold every pod in memory.",
        fix: "Split the workload over several clusters; delete Jobs that ended with ttlSecondsAfterFinished.",
        basis: LARGE_CLUSTERS,
        judge: |usage| total(usage.pods.as_ref().map(|pods| pods.total), "pods", 150_000),
    },
    Row {
        id: "containers",
        title: "The cluster has at most 300,000 containers",
        why: "Each container is part of its pod's status, which kubelets write and every watcher reads.",
        fix: "Split the workload over several clusters, or run fewer sidecars.",
        basis: LARGE_CLUSTERS,
        judge: |usage| total(usage.pods.as_ref().map(|pods| pods.containers), "containers", 300_000),
    },
    Row {
        id: "pods-per-node",
        title: "No node runs more pods than min(110, 10 x cores)",
        why: "The kubelet's loops, the container runtime and the node's network are tested up to this density.",
        fix: "Lower maxPods in the kubelet's configuration, or use larger nodes.",
        basis: THRESHOLDS,
        judge: pods_per_node,
    },
    Row {
        id: "room-for-pods",
        title: "No node offers room for more than 110 pods",
        why: "What the scheduler may place, it places sooner or later.",
        fix: "Set maxPods: 110 in the kubelet's configuration.",
        basis: LARGE_CLUSTERS,
        judge: room_for_pods,
    },
    Row {
        id: "namespaces",
        title: "The cluster has at most 10,000 namespaces",
        why: "Controllers keep state by namespace, and every namespace has a ServiceAccount and a ConfigMap of its \
              own.",
        fix: "Delete namespaces that nothing uses.",
        basis: THRESHOLDS,
        judge: |usage| total(counted(usage, "namespaces"), "namespaces", 10_000),
    },
    Row {
        id: "pods-per-namespace",
        title: "No namespace has more than 3,000 pods",
        why: "Several controllers go through all pods of a namespace on each change of one of them.",
        fix: "Spread the workload over several namespaces.",
        basis: THRESHOLDS,
        judge: |usage| by_name(usage.pods.as_ref().map(|pods| &pods.by_namespace), "namespace", "pods", 3_000),
    },
    Row {
        id: "services",
        title: "The cluster has at most 10,000 Services",
        why: "kube-proxy programs the rules of every Service on every node.",
        fix: "Delete Services that nothing uses, or share one among several backends.",
        basis: THRESHOLDS,
        judge: |usage| total(usage.services.as_ref().map(|sums| sums.values().sum()), "Services", 10_000),
    },
    Row {
        id: "services-per-namespace",
        title: "No namespace has more than 5,000 Services",
        why: "Each Service of a namespace is a set of environment variables of its pods: beyond this they do not \
              start.",
        fix: "Spread Services over several namespaces, or set enableServiceLinks: false.",
        basis: THRESHOLDS,
        judge: |usage| by_name(usage.services.as_ref(), "namespace", "Services", 5_000),
    },
    Row {
        id: "backends-per-service",
        title: "No Service has more than 250 backends",
        why: "Each change of a backend is sent to every node.",
        fix: "Split the Service, or make it headless and balance in the client.",
        basis: THRESHOLDS,
        judge: |usage| by_name(usage.backends.as_ref(), "Service", "backends", 250),
    },
    Row {
        id: "deployments-per-namespace",
        title: "No namespace has more than 2,000 Deployments",
        why: "The controller goes through all ReplicaSets of a namespace for each Deployment.",
        fix: "Spread the workload over several namespaces.",
        basis: THRESHOLDS,
        judge: |usage| by_name(usage.deployments.as_ref(), "namespace", "Deployments", 2_000),
    },
    Row {
        id: "custom-resource-definitions",
        title: "The cluster has at most 500 CustomResourceDefinitions",
        why: "Each one is a handler, a schema and a watch cache of the API server, and slows discovery for every \
              client.",
        fix: "Remove operators that nothing uses together with their definitions.",
        basis: THRESHOLDS,
        judge: |usage| total(usage.definitions.as_ref().copied(), "CustomResourceDefinitions", 500),
    },
    Row {
        id: "object-counts",
        title: "Every kind of object can be counted",
        why: "Kubernetes gives no limit for these kinds; etcd's size does, and the trend tells when it is reached.",
        fix: "Let the user of the kubeconfig list the resources that are named.",
        basis: THRESHOLDS,
        judge: object_counts,
    },
    Row {
        id: "object-sizes",
        title: "No object is larger than 1 MiB",
        why: "etcd refuses requests of more than 1.5 MiB, and large objects are sent whole on each change.",
        fix: "Split the object, or keep the data elsewhere and name it.",
        basis: ETCD,
        judge: object_sizes,
    },
    Row {
        id: "etcd-size",
        title: "etcd's database is below 80 % of its quota",
        why: "At its quota etcd refuses every write, deletions included, until it is compacted and defragmented.",
        fix: "Compact and defragment etcd, delete what is not needed, or raise --quota-backend-bytes up to 8 GiB.",
        basis: ETCD,
        judge: etcd_size,
    },
    Row {
        id: "etcd-quota",
        title: "etcd's quota is at most 8 GiB",
        why: "Beyond 8 GiB etcd warns at its start: snapshots and the recovery of members take too long.",
        fix: "Set --quota-backend-bytes to 8589934592 at most.",
        basis: ETCD,
        judge: etcd_quota,
    },
    Row {
        id: "events-etcd",
        title: "Events of a large cluster have an etcd of their own",
        why: "Events are most of the writes of a busy cluster, and their loss is bearable.",
        fix: "Start the API server with --etcd-servers-overrides=/events#https://HOST:2379.",
        basis: LARGE_CLUSTERS,
        judge: events_etcd,
    },
    Row {
        id: "node-networks",
        title: "Networks of pods are left for more nodes",
        why: "A node without a network of pods never becomes ready.",
        fix: "Add a ClusterCIDR, or make the networks of new nodes smaller (--node-cidr-mask-size).",
        basis: LARGE_CLUSTERS,
        judge: node_networks,
    },
    Row {
        id: "service-addresses",
        title: "A tenth of the addresses of Services is free",
        why: "Without a free address no Service can be created.",
        fix: "Add a ServiceCIDR (from Kubernetes 1.33 on), or delete Services that nothing uses.",
        basis: LARGE_CLUSTERS,
        judge: service_addresses,
    },
    Row {
        id: "control-planes-per-zone",
        title: "Every zone with nodes has a control plane of its own",
        why: "Traffic of a zone without one crosses zones, and stops when the other zone fails.",
        fix: "Add a control plane in each zone that is named.",
        basis: LARGE_CLUSTERS,
        judge: control_planes,
    },
    Row {
        id: "client-rates",
        title: "Controllers of a large cluster may send more requests than by default",
        why: "By default the controller-manager sends 20 requests a second and the scheduler 50: thousands of pods \
              wait.",
        fix: "Set --kube-api-qps and --kube-api-burst of kube-controller-manager and kube-scheduler.",
        basis: LARGE_CLUSTERS,
        judge: client_rates,
    },
    Row {
        id: "refused-requests",
        title: "The API server has not refused requests for want of capacity",
        why: "Priority and fairness answers 429 once the queues of a level are full.",
        fix: "Find the client in the audit log, give it a level of its own, or scale the API servers.",
        basis: APF,
        judge: refused,
    },
    Row {
        id: "api-latency",
        title: "The API server answers within the objectives of Kubernetes",
        why: "99 of 100 single requests take at most 1 s, and lists at most 30 s, in a cluster that is not overloaded.",
        fix: "Look at etcd's disk latency first, then at memory and CPU of the API servers.",
        basis: SLOS,
        judge: latency,
    },
];

#[cfg(test)]
mod tests;
