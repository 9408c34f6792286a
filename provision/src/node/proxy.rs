//! kube-proxy: its configuration as kubeadm writes it, what a host of ours needs besides, and its command line.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use ipnet::IpNet;
use serde_json::{Value, json};

use super::{Configured, Deviation, merge};
use crate::control_plane::Component;

/// The folder of its configuration and kubeconfig.
pub const FOLDER: &str = "/var/lib/kube-proxy";

/// How Services become packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// kubeadm's default.
    Iptables,
    /// Ready for use since 1.33.
    Nftables,
}

/// kube-proxy of a cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Proxy<'a> {
    /// The address that the API server advertises, which chooses the family that is listened on.
    pub advertise: IpAddr,
    /// The networks of pods.
    pub pods: &'a [IpNet],
    /// The mode, where the user's document says none; kubeadm's is iptables.
    pub mode: Mode,
    /// The user's `KubeProxyConfiguration`.
    pub user: Option<&'a Value>,
}

impl Proxy<'_> {
    /// The `KubeProxyConfiguration` that kubeadm puts into the ConfigMap `kube-proxy`: its defaults
    /// (`componentconfigs/kubeproxy.go`) under what the user wrote. What kubeadm writes besides are zeros, which mean
    /// the same as nothing.
    #[must_use]
    pub fn cluster_configuration(&self) -> Value {
        let any = if self.advertise.is_ipv4() { Ipv4Addr::UNSPECIFIED.to_string() } else { "::".to_owned() };
        let mut document = json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "bindAddress": any,
            "clientConnection": { "kubeconfig": format!("{FOLDER}/kubeconfig.conf") },
            "kind": "KubeProxyConfiguration",
            "mode": match self.mode { Mode::Iptables => "iptables", Mode::Nftables => "nftables" },
        });
        if !self.pods.is_empty() {
            let pods = self.pods.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            document["clusterCIDR"] = pods.into();
        }
        if let Some(user) = self.user {
            merge(&mut document, user);
        }
        document
    }

    /// The file `/var/lib/kube-proxy/config.conf` of a node.
    #[must_use]
    pub fn configuration(&self) -> Configured {
        let row = |field, value, reason| Deviation { field, value, above_user: true, reason };
        let reason = "the size of the connection table is the machine's: a network namespace cannot set it";
        let deviations = vec![row("conntrack.maxPerCore", json!(0), reason), row("conntrack.min", json!(0), reason)];
        Configured::new(self.cluster_configuration(), self.user, deviations)
    }
}

/// The command line of a node's kube-proxy, as kubeadm's DaemonSet has it. `folder` is [`FOLDER`] unless a test has
/// another.
#[must_use]
pub fn component(node: &str, folder: &Path) -> Component {
    let config = folder.join("config.conf").display().to_string();
    let flags = vec![("config", config), ("hostname-override", node.to_owned())];
    Component::new("kube-proxy", flags, &[], "http://127.0.0.1:10256/healthz".to_owned())
}
