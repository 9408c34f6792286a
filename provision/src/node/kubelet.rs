//! The kubelet: its configuration as kubeadm writes it, what a host of ours needs besides, and its command line.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Configured, Deviation, merge, yaml};
use crate::bootstrap::Token;
use crate::control_plane::Component;
use crate::kubeadm::Taint;

/// The kubelet's folder, which kubeadm does not let anyone choose either.
pub const FOLDER: &str = "/var/lib/kubelet";
/// The port at which it says that it is well.
const HEALTH: u16 = 10248;

/// What all kubelets of a cluster have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster<'a> {
    /// The address of the cluster's DNS ([`dns_address`](super::dns_address)).
    pub dns: IpAddr,
    /// The cluster's DNS domain.
    pub domain: &'a str,
    /// The folder of the PKI.
    pub pki: &'a Path,
    /// The user's `KubeletConfiguration`.
    pub user: Option<&'a Value>,
}

impl Cluster<'_> {
    /// The `KubeletConfiguration` that kubeadm uploads as `kubelet-config`: its defaults
    /// (`componentconfigs/kubelet.go`) under what the user wrote. What kubeadm writes besides are zeros, which mean the
    /// same as nothing.
    #[must_use]
    pub fn configuration(&self) -> Value {
        let mut document = json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "authentication": {
                "anonymous": { "enabled": false },
                "webhook": { "enabled": true },
                "x509": { "clientCAFile": self.pki.join("ca.crt").display().to_string() },
            },
            "authorization": { "mode": "Webhook" },
            "cgroupDriver": "systemd",
            "clusterDNS": [self.dns],
            "clusterDomain": self.domain,
            "healthzBindAddress": "127.0.0.1",
            "healthzPort": HEALTH,
            "kind": "KubeletConfiguration",
            "staticPodPath": "/etc/kubernetes/manifests",
        });
        if let Some(user) = self.user {
            merge(&mut document, user);
        }
        // kubeadm cannot tell false from nothing here, and always sets it.
        document["rotateCertificates"] = true.into();
        document
    }
}

/// What is particular to the host of a kubelet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Kubernetes' minor version.
    pub minor: u32,
    /// containerd's socket.
    pub runtime: PathBuf,
    /// Are the host's controllers those of cgroup v1?
    pub cgroup_v1: bool,
    /// The cgroup under which pods are: `/` where the host has a cgroup namespace of its own.
    pub cgroup_root: String,
    /// Does the machine swap?
    pub swap: bool,
    /// The resolv.conf that pods' DNS falls back to, if it is not `/etc/resolv.conf`.
    pub resolv_conf: Option<PathBuf>,
}

/// First minor version whose kubelet refuses cgroup v1 unless told (KEP-4569).
const REFUSES_CGROUP_V1: u32 = 35;
/// First minor version in which kubeadm names the runtime's socket in the configuration, rather than by a flag (its
/// feature `NodeLocalCRISocket`).
const NAMES_RUNTIME: u32 = 34;
/// First minor version that knows no runtime but those of the CRI, and no flag that chooses.
const ONLY_CRI: u32 = 24;

impl Host {
    fn endpoint(&self) -> String {
        format!("unix://{}", self.runtime.display())
    }

    /// What a host made of namespaces needs.
    fn deviations(&self) -> Vec<Deviation> {
        let row = |field, value, above_user, reason| Deviation { field, value, above_user, reason };
        let mut rows = vec![
            row("cgroupDriver", json!("cgroupfs"), true, "no systemd runs on a host of namespaces"),
            row("cgroupRoot", json!(self.cgroup_root), true, "the host's own part of the machine's cgroups"),
            row(
                "volumePluginDir",
                json!(format!("{FOLDER}/volumeplugins")),
                false,
                "the default is below /usr, which hosts share with the machine",
            ),
            row(
                "evictionHard",
                json!({
                    "imagefs.available": "0%",
                    "memory.available": "100Mi",
                    "nodefs.available": "0%",
                    "nodefs.inodesFree": "0%",
                }),
                false,
                "a nearly full disk of the machine would taint every node",
            ),
            row(
                "imageGCHighThresholdPercent",
                json!(100),
                false,
                "a nearly full disk of the machine would remove images",
            ),
        ];
        if self.cgroup_v1 && self.minor >= REFUSES_CGROUP_V1 {
            rows.push(row(
                "failCgroupV1",
                json!(false),
                true,
                "the machine has cgroup v1, which the kubelet refuses by default",
            ));
        }
        if self.swap {
            rows.push(row(
                "failSwapOn",
                json!(false),
                false,
                "the machine swaps, and a cluster of ours does not turn that off",
            ));
        }
        if let Some(path) = &self.resolv_conf {
            rows.push(row("resolvConf", json!(path), false, "the host's resolv.conf is not /etc/resolv.conf"));
        }
        rows
    }

    /// The file `/var/lib/kubelet/instance-config.yaml` of a node, from which `kubeadm upgrade` takes the runtime's
    /// socket; `None` where kubeadm names that elsewhere.
    #[must_use]
    pub fn instance(&self) -> Option<Value> {
        (self.minor >= NAMES_RUNTIME).then(|| json!({ "containerRuntimeEndpoint": self.endpoint() }))
    }

    /// The file `/var/lib/kubelet/config.yaml` of a node: the cluster's configuration with the node's socket, and what
    /// the host needs. `user` is the user's document, whose fields are spared where the kubelet starts with them.
    #[must_use]
    pub fn configuration(&self, cluster: &Cluster<'_>) -> Configured {
        let mut document = cluster.configuration();
        if self.minor >= NAMES_RUNTIME {
            document["containerRuntimeEndpoint"] = self.endpoint().into();
        }
        Configured::new(document, cluster.user, self.deviations())
    }
}

/// The kubelet of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Kubelet {
    /// The node's name.
    pub node: String,
    /// The host's name.
    pub hostname: String,
    /// The node's addresses, the first one's family first.
    pub addresses: Vec<IpAddr>,
    /// The taints with which it registers the node; kubeadm leaves those of a control plane to `mark-control-plane`.
    pub taints: Vec<Taint>,
    /// The folder of kubeconfigs: `/etc/kubernetes`.
    pub kubeconfigs: PathBuf,
    /// The user's flags.
    pub extra: Vec<(String, String)>,
}

impl Kubelet {
    /// The flags of `kubeadm-flags.env` (kubeadm's `phases/kubelet/flags.go`), without the user's. That before 1.35 the
    /// sandbox's image is named, so that it is not collected, is left out: no image of a host is.
    fn own(&self, host: &Host) -> Vec<(&'static str, String)> {
        let mut flags = Vec::new();
        if self.node != self.hostname {
            flags.push(("hostname-override", self.node.clone()));
        }
        if !self.taints.is_empty() {
            flags.push(("register-with-taints", self.taints.iter().map(taint).collect::<Vec<_>>().join(",")));
        }
        // Other than kubeadm's: the kubelet itself finds one address, so a node of two families has to be told both.
        if !self.addresses.is_empty() {
            flags.push(("node-ip", self.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")));
        }
        if host.minor < NAMES_RUNTIME {
            flags.push(("container-runtime-endpoint", host.endpoint()));
        }
        if host.minor < ONLY_CRI {
            flags.push(("container-runtime", "remote".to_owned()));
        }
        flags
    }

    /// The file `/var/lib/kubelet/kubeadm-flags.env`.
    #[must_use]
    pub fn flags_file(&self, host: &Host) -> String {
        let flags = Component::new("kubelet", self.own(host), &self.extra, String::new());
        format!("KUBELET_KUBEADM_ARGS=\"{}\"\n", flags.arguments().collect::<Vec<_>>().join(" "))
    }

    /// Its command line: what kubeadm's systemd unit has, and the flags of `kubeadm-flags.env`.
    #[must_use]
    pub fn component(&self, host: &Host, configuration: &Configured) -> Component {
        let file = |name: &str| self.kubeconfigs.join(name).display().to_string();
        let mut flags = self.own(host);
        flags.extend([
            ("bootstrap-kubeconfig", file("bootstrap-kubelet.conf")),
            ("kubeconfig", file("kubelet.conf")),
            ("config", format!("{FOLDER}/config.yaml")),
        ]);
        let port = &configuration.document["healthzPort"];
        Component::new("kubelet", flags, &self.extra, format!("http://127.0.0.1:{port}/healthz"))
    }
}

fn taint(taint: &Taint) -> String {
    match taint.value.as_deref().unwrap_or_default() {
        "" => format!("{}:{}", taint.key, taint.effect),
        value => format!("{}={value}:{}", taint.key, taint.effect),
    }
}

/// The file `bootstrap-kubelet.conf`, with which a kubelet asks for its certificate. It holds the token: for its owner
/// only.
#[must_use]
pub fn bootstrap_kubeconfig(server: &str, ca: &str, token: &Token) -> String {
    let user = "tls-bootstrap-token-user";
    let context = format!("{user}@kubernetes");
    yaml(&json!({
        "apiVersion": "v1",
        "clusters": [{
            "cluster": { "certificate-authority-data": STANDARD.encode(ca), "server": server },
            "name": "kubernetes",
        }],
        "contexts": [{ "context": { "cluster": "kubernetes", "user": user }, "name": context }],
        "current-context": context,
        "kind": "Config",
        "users": [{ "name": user, "user": { "token": token.reveal() } }],
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        Host {
            minor: 37,
            runtime: "/run/containerd/containerd.sock".into(),
            cgroup_v1: true,
            cgroup_root: "/".to_owned(),
            swap: false,
            resolv_conf: None,
        }
    }

    fn kubelet() -> Kubelet {
        Kubelet {
            node: "w1".to_owned(),
            hostname: "w1".to_owned(),
            addresses: vec!["10.0.0.21".parse().unwrap(), "fd00::21".parse().unwrap()],
            taints: Vec::new(),
            kubeconfigs: "/etc/kubernetes".into(),
            extra: Vec::new(),
        }
    }

    #[test]
    fn deviations_follow_the_host_and_its_version() {
        let fields = |host: &Host| host.deviations().iter().map(|one| one.field).collect::<Vec<_>>();
        assert!(fields(&host()).contains(&"failCgroupV1"));
        assert!(!fields(&Host { minor: 34, ..host() }).contains(&"failCgroupV1"));
        assert!(!fields(&Host { cgroup_v1: false, ..host() }).contains(&"failCgroupV1"));
        assert!(fields(&Host { swap: true, ..host() }).contains(&"failSwapOn"));
    }

    #[test]
    fn older_kubelets_are_told_the_runtime_by_flags() {
        let old = Host { minor: 23, ..host() };
        let pki = Path::new("/etc/kubernetes/pki");
        let cluster = Cluster { dns: "10.96.0.10".parse().unwrap(), domain: "cluster.local", pki, user: None };
        let configured = old.configuration(&cluster);
        assert!(configured.document.get("containerRuntimeEndpoint").is_none());
        let component = kubelet().component(&old, &configured);
        let arguments: Vec<_> = component.arguments().collect();
        assert!(arguments.contains(&"--container-runtime=remote".to_owned()), "{arguments:?}");
        assert!(arguments.contains(&"--container-runtime-endpoint=unix:///run/containerd/containerd.sock".to_owned()));
        assert_eq!(component.ready, "http://127.0.0.1:10248/healthz");
    }

    #[test]
    fn flags_are_quoted_as_kubeadm_does() {
        let taint = |value: Option<&str>| Taint {
            key: "dedicated".to_owned(),
            value: value.map(str::to_owned),
            effect: "NoSchedule".to_owned(),
            time_added: None,
        };
        let kubelet = Kubelet {
            hostname: "host".to_owned(),
            taints: vec![taint(None), taint(Some("x"))],
            extra: vec![("v".to_owned(), "4".to_owned())],
            ..kubelet()
        };
        assert_eq!(
            kubelet.flags_file(&host()),
            "KUBELET_KUBEADM_ARGS=\"--hostname-override=w1 --node-ip=10.0.0.21,fd00::21 \
             --register-with-taints=dedicated:NoSchedule,dedicated=x:NoSchedule --v=4\"\n"
        );
    }
}
