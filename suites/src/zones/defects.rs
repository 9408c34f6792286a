//! What breaks a cluster so that claims of the zones suite must fail.

use serde_json::json;

use crate::cluster::Defect;
use crate::defects::{About, changing, newest, put, scheduler_without};

/// kubeadm's document with one flag of the controller manager.
macro_rules! controllers {
    ($name:literal, $value:literal) => {
        concat!(
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n\
             controllerManager:\n  extraArgs:\n  - {name: ",
            $name,
            ", value: \"",
            $value,
            "\"}\n"
        )
    };
}

/// kubeadm's Deployment, as it is scheduled where only nodes of zone a have joined.
const DNS_IN_ONE_ZONE: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: coredns, namespace: kube-system}
spec:
  replicas: 2
  template: {spec: {nodeSelector: {topology.kubernetes.io/zone: a}}}
"#;

pub(super) static DEFECTS: [Defect; 14] = [
    Defect {
        name: "no-spread",
        about: "The scheduler's profile lacks PodTopologySpread",
        need: newest,
        put: |target| Box::pin(scheduler_without(target, &["PodTopologySpread"])),
    },
    Defect {
        name: "no-volume-plugins",
        about: "The scheduler's profile lacks VolumeBinding and VolumeZone",
        need: newest,
        put: |target| Box::pin(scheduler_without(target, &["VolumeBinding", "VolumeZone"])),
    },
    Defect::put("constraints-removed", "A policy removes topologySpreadConstraints from pods", |target| {
        Box::pin(async move {
            let condition = "has(object.spec.topologySpreadConstraints)";
            let patch = "[JSONPatch{op: \"remove\", path: \"/spec/topologySpreadConstraints\"}]";
            put(target, changing("constraints-removed", About("", "v1", "pods"), condition, patch)).await
        })
    }),
    Defect::put("traffic-distribution-removed", "A policy removes trafficDistribution from Services", |target| {
        Box::pin(async move {
            let condition = "has(object.spec.trafficDistribution)";
            let patch = "[JSONPatch{op: \"remove\", path: \"/spec/trafficDistribution\"}]";
            put(target, changing("traffic-distribution", About("", "v1", "services"), condition, patch)).await
        })
    }),
    Defect::raised("no-endpoint-slices", "The controller manager runs no EndpointSlice controller", |need| {
        newest(need);
        need.kubeadm = Some(controllers!("controllers", "*,-endpointslice-controller"));
    }),
    Defect::raised("topology-labels-off", "API servers lack the admission plug-in PodTopologyLabels", |need| {
        need.kubeadm = Some(
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n\
             apiServer:\n  extraArgs:\n  - {name: disable-admission-plugins, value: PodTopologyLabels}\n",
        );
    }),
    Defect::raised("no-eviction", "The controller manager evicts no pods: --node-eviction-rate=0", |need| {
        need.kubeadm = Some(controllers!("node-eviction-rate", "0"));
    }),
    Defect::raised(
        "partial-is-normal",
        "The controller manager calls a zone healthy until all of its nodes are lost",
        |need| {
            need.kubeadm = Some(controllers!("unhealthy-zone-threshold", "1"));
        },
    ),
    Defect::raised("two-zones", "The cluster spans two zones", |need| need.zones = &["a", "b"]),
    Defect::raised("one-zone", "The cluster is in one zone", |need| {
        need.zones = &["a"];
        need.manifests = None;
    }),
    Defect::raised(
        "dns-in-one-zone",
        "CoreDNS has no constraint, and its replicas are on the nodes that joined first: in one zone",
        |need| need.manifests = Some(DNS_IN_ONE_ZONE),
    ),
    Defect::put("labels-wrong", "Nodes lack labels, or have those of others", |target| {
        Box::pin(async move {
            let zone = |node: &str, labels: serde_json::Value| {
                json!({
                    "apiVersion": "v1", "kind": "Node", "metadata": { "name": node, "labels": labels },
                })
            };
            // A node without a zone, and two that contradict each other.
            let objects = vec![
                zone("unlabeled", json!({ "kubernetes.io/hostname": "unlabeled" })),
                zone(
                    "elsewhere",
                    json!({
                        "kubernetes.io/hostname": "unlabeled", "topology.kubernetes.io/zone": "a",
                        "topology.kubernetes.io/region": "elsewhere", "failure-domain.beta.kubernetes.io/zone": "b",
                    }),
                ),
            ];
            put(target, objects).await
        })
    }),
    Defect::put("volume-without-nodes", "A volume is of a zone without nodes", |target| {
        Box::pin(async move {
            let term = json!({
                "matchExpressions": [{ "key": "topology.kubernetes.io/zone", "operator": "In", "values": ["z"] }],
            });
            let volume = json!({
                "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": "stranded" },
                "spec": {
                    "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"], "local": { "path": "/mnt" },
                    "nodeAffinity": { "required": { "nodeSelectorTerms": [term] } },
                },
            });
            put(target, vec![volume]).await
        })
    }),
    Defect::put("workload-in-one-zone", "All pods of a workload are in one zone", |target| {
        Box::pin(async move {
            let labels = json!({ "app": "lopsided" });
            let workload = json!({
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": { "name": "lopsided" },
                "spec": {
                    "replicas": 3, "selector": { "matchLabels": labels },
                    "template": { "metadata": { "labels": labels }, "spec": {
                        "nodeSelector": { "topology.kubernetes.io/zone": "a" },
                        "containers": [{ "name": "main", "image": target.image }],
                    } },
                },
            });
            put(target, vec![workload]).await
        })
    }),
];
