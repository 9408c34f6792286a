//! The command lines of a control plane, as kubeadm 1.23 to 1.37 writes them into its static pods.
//!
//! A test has the real kubeadm of several versions write its manifests and compares flag by flag; every deliberate
//! difference is one of [`DIFFERENCES`]. The model is kubeadm's `phases/controlplane` and `phases/etcd`.

mod versions;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use crate::assets::Release;

pub use versions::{DIFFERENCES, Difference, VERSIONED, Versioned};

/// Port of etcd's clients.
const ETCD_CLIENT: u16 = 2379;
/// Port of etcd's peers.
const ETCD_PEER: u16 = 2380;
/// Port of etcd's metrics and health, without TLS.
const ETCD_METRICS: u16 = 2381;
const CONTROLLER_MANAGER: u16 = 10257;
const SCHEDULER: u16 = 10259;

/// The etcd that an API server uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EtcdServers {
    /// A member beside it.
    Local {
        /// The members that are there already, by name and peer URL, this one among them; empty for the first member of
        /// all.
        joins: Vec<(String, String)>,
        /// Where the member keeps its data.
        data: PathBuf,
    },
    /// A cluster elsewhere.
    External {
        /// Its client URLs.
        endpoints: Vec<String>,
        /// The CA of its servers.
        ca: PathBuf,
        /// Certificate and key of a client.
        client: (PathBuf, PathBuf),
    },
}

/// Flags that a user adds, or sets in place of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtraFlags {
    /// Of etcd.
    pub etcd: Vec<(String, String)>,
    /// Of the API server.
    pub apiserver: Vec<(String, String)>,
    /// Of the controller-manager.
    pub controller_manager: Vec<(String, String)>,
    /// Of the scheduler.
    pub scheduler: Vec<(String, String)>,
}

/// One node's control plane.
#[derive(Debug, Clone)]
pub struct ControlPlane {
    /// The node's name.
    pub node: String,
    /// The address that its API server advertises.
    pub advertise: IpAddr,
    /// The port of its API server.
    pub port: u16,
    /// The networks of Services.
    pub services: Vec<IpNet>,
    /// The networks of pods; empty where a network plug-in gives nodes their ranges by itself.
    pub pods: Vec<IpNet>,
    /// The cluster's DNS domain.
    pub domain: String,
    /// The cluster's name.
    pub cluster: String,
    /// The folder of the PKI: kubeadm's `/etc/kubernetes/pki`.
    pub pki: PathBuf,
    /// The folder of the kubeconfigs: kubeadm's `/etc/kubernetes`.
    pub kubeconfigs: PathBuf,
    /// Is the cluster's CA without a key here? Then the controller-manager signs nothing.
    pub external_ca: bool,
    /// The etcd that it uses.
    pub etcd: EtcdServers,
    /// The user's flags.
    pub extra: ExtraFlags,
}

/// A program with its arguments, and how it is asked whether it is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// The program's name.
    pub name: &'static str,
    /// Its flags, sorted by name.
    pub flags: Vec<(String, String)>,
    /// The URL that answers 200 once it is ready.
    pub ready: String,
}

impl Component {
    /// Ours, with the user's in their place or beside them.
    pub(crate) fn new(
        name: &'static str,
        ours: Vec<(&str, String)>,
        extra: &[(String, String)],
        ready: String,
    ) -> Self {
        let kept = ours.into_iter().filter(|(flag, _)| !extra.iter().any(|(theirs, _)| theirs == flag));
        let mut flags: Vec<_> = kept.map(|(flag, value)| (flag.to_owned(), value)).collect();
        flags.extend_from_slice(extra);
        flags.sort_by(|a, b| a.0.cmp(&b.0));
        Self { name, flags, ready }
    }

    /// The same, with the flags of its version. `base` is the URL of what it serves.
    fn of(
        release: &Release,
        name: &'static str,
        mut ours: Vec<(&'static str, String)>,
        extra: &[(String, String)],
        base: &str,
    ) -> Self {
        ours.extend(versions::flags(name, release));
        Self::new(name, ours, extra, format!("{base}{}", versions::ready(name, release)))
    }

    /// The arguments behind the program's name.
    pub fn arguments(&self) -> impl Iterator<Item = String> {
        self.flags.iter().map(|(flag, value)| format!("--{flag}={value}"))
    }
}

fn url(scheme: &str, address: IpAddr, port: u16) -> String {
    format!("{scheme}://{}", SocketAddr::new(address, port))
}

fn list(networks: &[IpNet]) -> String {
    networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

impl ControlPlane {
    /// Its components of the newest release, in the order in which they start: each needs the ones before it.
    #[must_use]
    pub fn components(&self) -> Vec<Component> {
        self.components_of(&Release::newest())
    }

    /// Its components of a release, in the order in which they start: each needs the ones before it.
    #[must_use]
    pub fn components_of(&self, release: &Release) -> Vec<Component> {
        let mut all: Vec<_> = self.etcd(release).into_iter().collect();
        all.extend([self.apiserver(release), self.controller_manager(release), self.scheduler(release)]);
        all
    }

    fn file(&self, name: &str) -> String {
        shown(&self.pki.join(name))
    }

    /// The loopback address of the advertised address's family.
    fn localhost(&self) -> IpAddr {
        if self.advertise.is_ipv6() { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() }
    }

    fn etcd(&self, release: &Release) -> Option<Component> {
        let EtcdServers::Local { joins, data } = &self.etcd else { return None };
        let (client, peer) = (url("https", self.advertise, ETCD_CLIENT), url("https", self.advertise, ETCD_PEER));
        let metrics = url("http", self.localhost(), ETCD_METRICS);
        let mut flags = vec![
            ("name", self.node.clone()),
            ("listen-client-urls", format!("{},{client}", url("https", self.localhost(), ETCD_CLIENT))),
            ("advertise-client-urls", client),
            ("listen-peer-urls", peer.clone()),
            ("initial-advertise-peer-urls", peer.clone()),
            ("data-dir", shown(data)),
            ("cert-file", self.file("etcd/server.crt")),
            ("key-file", self.file("etcd/server.key")),
            ("trusted-ca-file", self.file("etcd/ca.crt")),
            ("client-cert-auth", "true".to_owned()),
            ("peer-cert-file", self.file("etcd/peer.crt")),
            ("peer-key-file", self.file("etcd/peer.key")),
            ("peer-trusted-ca-file", self.file("etcd/ca.crt")),
            ("peer-client-cert-auth", "true".to_owned()),
            ("snapshot-count", "10000".to_owned()),
            ("listen-metrics-urls", metrics.clone()),
        ];
        if joins.is_empty() {
            flags.push(("initial-cluster", format!("{}={peer}", self.node)));
        } else {
            let members: Vec<_> = joins.iter().map(|(name, url)| format!("{name}={url}")).collect();
            flags.push(("initial-cluster", members.join(",")));
            flags.push(("initial-cluster-state", "existing".to_owned()));
        }
        Some(Component::of(release, "etcd", flags, &self.extra.etcd, &metrics))
    }

    fn apiserver(&self, release: &Release) -> Component {
        let own = |flag: &'static str, name: &str| (flag, self.file(name));
        let set = |flag: &'static str, value: &str| (flag, value.to_owned());
        let mut flags = vec![
            ("advertise-address", self.advertise.to_string()),
            set("enable-admission-plugins", "NodeRestriction"),
            ("service-cluster-ip-range", list(&self.services)),
            own("service-account-key-file", "sa.pub"),
            own("service-account-signing-key-file", "sa.key"),
            ("service-account-issuer", format!("https://kubernetes.default.svc.{}", self.domain)),
            own("client-ca-file", "ca.crt"),
            own("tls-cert-file", "apiserver.crt"),
            own("tls-private-key-file", "apiserver.key"),
            own("kubelet-client-certificate", "apiserver-kubelet-client.crt"),
            own("kubelet-client-key", "apiserver-kubelet-client.key"),
            set("enable-bootstrap-token-auth", "true"),
            ("secure-port", self.port.to_string()),
            set("allow-privileged", "true"),
            set("kubelet-preferred-address-types", "InternalIP,ExternalIP,Hostname"),
            set("requestheader-username-headers", "X-Remote-User"),
            set("requestheader-group-headers", "X-Remote-Group"),
            set("requestheader-extra-headers-prefix", "X-Remote-Extra-"),
            own("requestheader-client-ca-file", "front-proxy-ca.crt"),
            set("requestheader-allowed-names", "front-proxy-client"),
            own("proxy-client-cert-file", "front-proxy-client.crt"),
            own("proxy-client-key-file", "front-proxy-client.key"),
        ];
        // Structured authorization takes the place of the modes (KEP-3221): the two together are refused.
        if !self.extra.apiserver.iter().any(|(flag, _)| flag == "authorization-config") {
            flags.push(set("authorization-mode", "Node,RBAC"));
        }
        let advertised = self.extra.etcd.iter().rfind(|(flag, _)| flag == "advertise-client-urls");
        let advertised = advertised.map(|(_, value)| value.clone());
        match &self.etcd {
            EtcdServers::Local { .. } => flags.extend([
                // A member that a user has advertise another address may not be reached at this one.
                ("etcd-servers", advertised.unwrap_or_else(|| url("https", self.localhost(), ETCD_CLIENT))),
                own("etcd-cafile", "etcd/ca.crt"),
                own("etcd-certfile", "apiserver-etcd-client.crt"),
                own("etcd-keyfile", "apiserver-etcd-client.key"),
            ]),
            EtcdServers::External { endpoints, ca, client } => flags.extend([
                ("etcd-servers", endpoints.join(",")),
                ("etcd-cafile", shown(ca)),
                ("etcd-certfile", shown(&client.0)),
                ("etcd-keyfile", shown(&client.1)),
            ]),
        }
        let base = url("https", self.advertise, self.port);
        Component::of(release, "kube-apiserver", flags, &self.extra.apiserver, &base)
    }

    fn controller_manager(&self, release: &Release) -> Component {
        let kubeconfig = shown(&self.kubeconfigs.join("controller-manager.conf"));
        let set = |flag: &'static str, value: &str| (flag, value.to_owned());
        // An empty value keeps the signing controllers from starting.
        let signing = |name: &str| if self.external_ca { String::new() } else { self.file(name) };
        let mut flags = vec![
            set("bind-address", "127.0.0.1"),
            set("leader-elect", "true"),
            set("kubeconfig", &kubeconfig),
            set("authentication-kubeconfig", &kubeconfig),
            set("authorization-kubeconfig", &kubeconfig),
            ("client-ca-file", self.file("ca.crt")),
            ("requestheader-client-ca-file", self.file("front-proxy-ca.crt")),
            ("root-ca-file", self.file("ca.crt")),
            ("service-account-private-key-file", self.file("sa.key")),
            ("cluster-signing-cert-file", signing("ca.crt")),
            ("cluster-signing-key-file", signing("ca.key")),
            set("use-service-account-credentials", "true"),
            set("controllers", "*,bootstrapsigner,tokencleaner"),
            ("cluster-name", self.cluster.clone()),
        ];
        if !self.pods.is_empty() {
            flags.push(set("allocate-node-cidrs", "true"));
            flags.push(("cluster-cidr", list(&self.pods)));
            flags.push(("service-cluster-ip-range", list(&self.services)));
        }
        let base = url("https", Ipv4Addr::LOCALHOST.into(), CONTROLLER_MANAGER);
        Component::of(release, "kube-controller-manager", flags, &self.extra.controller_manager, &base)
    }

    fn scheduler(&self, release: &Release) -> Component {
        let kubeconfig = shown(&self.kubeconfigs.join("scheduler.conf"));
        let set = |flag: &'static str, value: &str| (flag, value.to_owned());
        let flags = vec![
            set("bind-address", "127.0.0.1"),
            set("leader-elect", "true"),
            set("kubeconfig", &kubeconfig),
            set("authentication-kubeconfig", &kubeconfig),
            set("authorization-kubeconfig", &kubeconfig),
        ];
        let base = url("https", Ipv4Addr::LOCALHOST.into(), SCHEDULER);
        Component::of(release, "kube-scheduler", flags, &self.extra.scheduler, &base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_flag_takes_the_place_of_ours() {
        let ours = vec![("b", "1".to_owned()), ("a", "2".to_owned())];
        let extra =
            [("b".to_owned(), "x".to_owned()), ("b".to_owned(), "y".to_owned()), ("c".to_owned(), String::new())];
        let component = Component::new("etcd", ours, &extra, String::new());
        assert_eq!(component.arguments().collect::<Vec<_>>(), ["--a=2", "--b=x", "--b=y", "--c="]);
    }
}
