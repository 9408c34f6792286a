//! The phases of a cluster, named as kubeadm's where kubeadm has them, in the order in which they are run.

mod applied;
mod control_plane;
mod hosts;
mod join;
mod nodes;
mod objects;
mod static_pods;

pub(super) use applied::applied;
pub(super) use hosts::refusals;

use super::engine::{Engine, EngineError};

/// A phase.
#[derive(Debug)]
pub struct Phase {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    pub(super) run: fn(&Engine<'_>) -> Result<(), EngineError>,
}

impl PartialEq for Phase {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Phase {}

const fn phase(name: &'static str, about: &'static str, run: fn(&Engine<'_>) -> Result<(), EngineError>) -> Phase {
    Phase { name, about, run }
}

/// All phases, in order.
pub static PHASES: [Phase; 20] = [
    phase("preflight", "see that the machine can carry the cluster", hosts::preflight),
    phase("hosts", "make the hosts and the links between them", hosts::hosts),
    phase("certs", "issue the PKI of the first control plane", control_plane::certs),
    phase("kubeconfig", "write the kubeconfigs of the first control plane", control_plane::kubeconfig),
    phase("load-balancer", "start what stands before the API servers", hosts::load_balancer),
    phase("registry", "make the images, and serve them", nodes::registry),
    phase("etcd", "start etcd, the first member or all external ones", control_plane::etcd),
    phase("control-plane", "start the first control plane", control_plane::control_plane),
    phase("upload-config", "keep kubeadm's and the kubelets' configuration in the cluster", objects::upload_config),
    phase("bootstrap-token", "let nodes in: token, cluster-info and rules", objects::bootstrap_token),
    phase("upload-certs", "share the certificates, encrypted", objects::upload_certs),
    phase("control-plane-join", "join the other control planes: certificates, etcd, components", join::control_planes),
    phase("wait-control-plane", "wait until every control plane is ready", control_plane::wait_control_plane),
    phase("kubelet-start", "start containerd and the kubelets, which join by TLS bootstrap", nodes::kubelet_start),
    phase("mark-control-plane", "label and taint the control planes that are nodes", objects::mark_control_plane),
    phase("kubelet-finalize", "let kubelets use the certificates that they rotate", nodes::kubelet_finalize),
    phase("addon", "create CoreDNS and the objects of kube-proxy", objects::addon),
    phase("network", "give nodes their pod networks, routes to the others, and kube-proxy", nodes::network),
    phase("ready", "wait until every node is ready and DNS is there", nodes::ready),
    phase(
        "simulated-nodes",
        "start the nodes that are only simulated, and wait until they are ready",
        nodes::simulated,
    ),
];
