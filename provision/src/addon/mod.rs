//! The objects of kubeadm's `addon` phases, as the cluster has them afterwards.
//!
//! A test compares them with what the real kubeadm prints. Where ours are other than its, a row of [`DIFFERENCES`] says
//! what and why.

mod dns;
mod proxy;

use serde_json::{Value, json};

use crate::image::Digest;

pub use dns::Dns;
pub use proxy::KubeProxy;

/// A field that is other than kubeadm's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    /// The object, as `Kind/name`.
    pub object: &'static str,
    /// The field, as a JSON pointer.
    pub field: &'static str,
    /// Why.
    pub reason: &'static str,
}

/// All of them.
pub const DIFFERENCES: [Difference; 2] = [
    Difference {
        object: "Deployment/coredns",
        field: "/spec/template/spec/containers/0/readinessProbe/periodSeconds",
        reason: "a cluster is waited for: every second rather than every ten",
    },
    Difference {
        object: "Service/kube-dns",
        field: "/metadata/resourceVersion",
        reason: "kubeadm updates blindly what is there; ours is created, and has none",
    },
];

/// The annotation by which kubeadm tells a component's configuration of its own making from a user's.
const HASH: &str = "kubeadm.kubernetes.io/component-config.hash";

/// Signs a ConfigMap as kubeadm signs a component's configuration that no user supplied, so that `kubeadm upgrade` may
/// replace it (kubeadm's `componentconfigs/checksums.go`).
pub fn sign(config_map: &mut Value) {
    let mut data: Vec<_> = config_map["data"].as_object().into_iter().flatten().collect();
    data.sort_by_key(|(name, _)| name.as_str());
    let text: String = data.into_iter().filter_map(|(_, value)| value.as_str()).collect();
    config_map["metadata"]["annotations"][HASH] = Digest::of(text.as_bytes()).to_string().into();
}

const RBAC: &str = "rbac.authorization.k8s.io";

fn rbac(kind: &str, name: &str, namespace: Option<&str>) -> Value {
    let mut metadata = json!({ "name": name });
    if let Some(namespace) = namespace {
        metadata["namespace"] = namespace.into();
    }
    json!({ "apiVersion": format!("{RBAC}/v1"), "kind": kind, "metadata": metadata })
}

fn role(kind: &str, name: &str) -> Value {
    json!({ "apiGroup": RBAC, "kind": kind, "name": name })
}

fn service_account(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": name, "namespace": "kube-system" } })
}

fn of_service_account(name: &str) -> Value {
    json!([{ "kind": "ServiceAccount", "name": name, "namespace": "kube-system" }])
}
