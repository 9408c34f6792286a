//! Is a kubeadm configuration file right for this node? `seaworthy run --kubeadm-config FILE`.
//!
//! kubeadm validates a file by itself; these claims compare it with the node: addresses, routes, names, versions,
//! sockets, folders. Without the flag none of them applies.

mod document;
mod network;
mod node;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde_json::Value;

use crate::Inconclusive;
use crate::check::{Check, Judgment};
use crate::conclusion::{Breach, Conclusion};
use crate::construct::Edit;
use crate::fact::Fact;
use crate::host::{CriCall, FileKind, Host, Layout, Program, Query, Reply, TlsCall};
use crate::node::View;

pub use document::{Document, KubeadmConfig, Leaf};

/// The kind of document that describes the cluster.
const CLUSTER: &str = "ClusterConfiguration";

/// Sockets that kubeadm looks for where the file names none.
pub(super) const SOCKETS: [&str; 3] =
    ["/run/containerd/containerd.sock", "/run/crio/crio.sock", "/run/cri-dockerd.sock"];

/// Names that are looked up at most.
const NAMES: usize = 20;

/// What is known of the file, and of what it names on the node.
#[derive(Debug)]
pub struct Facts {
    /// The file; `None` if the user names none.
    pub config: Option<KubeadmConfig>,
    /// The node's addresses, loopback and link-local ones left out.
    pub addresses: Fact<Vec<IpAddr>>,
    /// Networks that are routed, the default routes left out, with their interfaces.
    pub routes: Fact<Vec<(IpNet, String)>>,
    /// Addresses of the names in the file.
    pub names: BTreeMap<String, Fact<Vec<IpAddr>>>,
    /// The socket of the runtime that kubeadm would use, and its type.
    pub socket: Option<(String, Fact<FileKind>)>,
    /// Images of Kubernetes that the runtime has.
    pub images: Fact<Vec<String>>,
    /// Does the registry of the images answer? Only asked if the user wants it.
    pub registry: Option<Fact<()>>,
    /// What is in the folders that the file names, by path.
    pub folders: BTreeMap<String, Fact<Vec<String>>>,
    /// Minors of the node's kubelet and kubeadm.
    pub versions: BTreeMap<&'static str, Fact<u32>>,
}

impl Facts {
    pub(super) fn read(host: &dyn Host) -> Self {
        let layout = host.layout();
        let Some(config) = layout.kubeadm_config else { return Self::none() };
        let net = |file: &str| match host.text(&format!("/proc/1/net/{file}")) {
            Fact::Known(text) => Fact::Known(text),
            _ => host.text(&format!("/proc/net/{file}")),
        };
        let v6 = net("if_inet6").known().map(|text| addresses6(text)).unwrap_or_default();
        let routes6 = net("ipv6_route").known().map(|text| routes6(text)).unwrap_or_default();
        let lookup = |name: String| {
            let found: Fact<Vec<String>> = host.parsed(&Query::Lookup { name: name.clone() });
            (name, found.map(|all| all.iter().filter_map(|address| address.parse().ok()).collect()))
        };
        let names: BTreeMap<_, _> = names(&config, layout.ask_registry).into_iter().take(NAMES).map(lookup).collect();
        let socket = socket(host, &config);
        let images = match &socket {
            Some((path, Fact::Known(_))) => host.parsed(&Query::Cri { socket: path.clone(), call: CriCall::Images }),
            _ => Fact::Absent("no runtime answers on this node".to_owned()),
        };
        let folders = [data_dir(&config), certificates_dir(&config)].map(|folder| {
            let names = host.list(&folder).map(|entries| entries.into_iter().map(|entry| entry.name).collect());
            (folder, names)
        });
        let version = |program, text: Fact<String>| {
            let minor = text.parse(|text| minor(&text).ok_or_else(|| format!("{program} says '{}'", text.trim())));
            (program, minor)
        };
        Self {
            addresses: net("fib_trie").map(|text| addresses4(&text).into_iter().chain(v6).collect()),
            routes: net("route").map(|text| routes4(&text).into_iter().chain(routes6).collect()),
            registry: layout.ask_registry.then(|| registry(host, &repository(&config), &names)),
            names,
            socket,
            images,
            folders: folders.into(),
            versions: BTreeMap::from([
                version("kubelet", host.run(Program::KubeletVersion)),
                version("kubeadm", host.run(Program::KubeadmVersion)),
            ]),
            config: Some(config),
        }
    }

    fn none() -> Self {
        let not_asked = || "no --kubeadm-config is given".to_owned();
        Self {
            config: None,
            addresses: Fact::NotGathered(not_asked()),
            routes: Fact::NotGathered(not_asked()),
            names: BTreeMap::new(),
            socket: None,
            images: Fact::NotGathered(not_asked()),
            registry: None,
            folders: BTreeMap::new(),
            versions: BTreeMap::new(),
        }
    }

    /// The addresses of a name in the file; an address is its own.
    fn addresses_of(&self, name: &str) -> Fact<Vec<IpAddr>> {
        match name.parse() {
            Ok(address) => Fact::Known(vec![address]),
            Err(_) => {
                self.names.get(name).cloned().unwrap_or_else(|| Fact::NotGathered(format!("{name} was not looked up")))
            }
        }
    }
}

/// The names in the file that must resolve.
fn names(config: &KubeadmConfig, registry: bool) -> Vec<String> {
    let endpoint = config.get(CLUSTER, "controlPlaneEndpoint");
    let join = config.get("JoinConfiguration", "discovery.bootstrapToken.apiServerEndpoint");
    let endpoints = endpoint.into_iter().chain(join).map(|leaf| host_of(&leaf.value).to_owned());
    let sans = config.list(CLUSTER, "apiServer.certSANs").into_iter().map(|leaf| leaf.value.clone());
    let repository = registry.then(|| registry_host(&repository(config)).0.to_owned());
    let mut names: Vec<_> = endpoints.chain(sans).chain(repository).collect();
    names.retain(|name| name.parse::<IpAddr>().is_err() && !name.starts_with("*.") && !name.is_empty());
    names.sort();
    names.dedup();
    names
}

/// The host of `host:port`, `[address]:port`, or without a port.
fn host_of(endpoint: &str) -> &str {
    if let Some(rest) = endpoint.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    match endpoint.rsplit_once(':') {
        Some((host, _)) if !host.contains(':') => host,
        _ => endpoint,
    }
}

/// Where images come from: kubeadm's default of the version.
fn repository(config: &KubeadmConfig) -> String {
    config.get(CLUSTER, "imageRepository").map_or("registry.k8s.io", |leaf| &leaf.value).to_owned()
}

/// Host and port of the registry of a repository.
fn registry_host(repository: &str) -> (&str, u16) {
    let host = repository.split('/').next().unwrap_or(repository);
    match host.rsplit_once(':').map(|(name, port)| (name, port.parse())) {
        Some((name, Ok(port))) => (name, port),
        _ => (host, 443),
    }
}

fn registry(host: &dyn Host, repository: &str, names: &BTreeMap<String, Fact<Vec<IpAddr>>>) -> Fact<()> {
    let (name, port) = registry_host(repository);
    let found = match name.parse() {
        Ok(address) => Fact::Known(vec![address]),
        Err(_) => names.get(name).cloned().unwrap_or_else(|| Fact::NotGathered(format!("{name} was not looked up"))),
    };
    found.and_then(|addresses: Vec<IpAddr>| {
        let Some(address) = addresses.first() else { return Fact::Absent(format!("{name} has no address")) };
        let address = std::net::SocketAddr::new(*address, port).to_string();
        let call = TlsCall::Served { name: Some(name.to_owned()) };
        host.value(&Query::Tls { address, call }).map(|_: std::sync::Arc<Value>| ())
    })
}

fn socket(host: &dyn Host, config: &KubeadmConfig) -> Option<(String, Fact<FileKind>)> {
    let kind = |path: &str| host.stat(path).map(|stat| stat.kind);
    match config.node("nodeRegistration.criSocket") {
        Some(leaf) => {
            let path = leaf.value.strip_prefix("unix://").unwrap_or(&leaf.value).to_owned();
            let kind = kind(&path);
            Some((path, kind))
        }
        None => SOCKETS.iter().map(|path| ((*path).to_owned(), kind(path))).find(|(_, kind)| kind.known().is_some()),
    }
}

fn data_dir(config: &KubeadmConfig) -> String {
    config.get(CLUSTER, "etcd.local.dataDir").map_or("/var/lib/etcd", |leaf| &leaf.value).to_owned()
}

fn certificates_dir(config: &KubeadmConfig) -> String {
    config.get(CLUSTER, "certificatesDir").map_or("/etc/kubernetes/pki", |leaf| &leaf.value).to_owned()
}

/// The minor of a version of Kubernetes: 37 of `Kubernetes v1.37.2`.
fn minor(text: &str) -> Option<u32> {
    let version = text.split_whitespace().last()?.trim_start_matches('v');
    let mut parts = version.split('.');
    (parts.next() == Some("1")).then(|| parts.next()?.parse().ok()).flatten()
}

/// /proc/net/fib_trie: an address stands before the line that calls it local.
pub(super) fn addresses4(text: &str) -> Vec<IpAddr> {
    let (mut last, mut found) = (None, Vec::new());
    for line in text.lines() {
        let line = line.trim_start_matches([' ', '|', '+']);
        if let Some(address) = line.strip_prefix("-- ") {
            last = address.trim().parse::<Ipv4Addr>().ok();
        } else if line.starts_with("/32 host LOCAL") {
            found.extend(last.filter(|address| !address.is_loopback()).map(IpAddr::V4));
        }
    }
    found.sort();
    found.dedup();
    found
}

pub(super) fn addresses6(text: &str) -> Vec<IpAddr> {
    let line = |line: &str| {
        let address = Ipv6Addr::from(u128::from_str_radix(line.split_whitespace().next()?, 16).ok()?);
        (!address.is_loopback() && !address.is_unicast_link_local()).then_some(IpAddr::V6(address))
    };
    text.lines().filter_map(line).collect()
}

pub(super) fn routes4(text: &str) -> Vec<(IpNet, String)> {
    let address = |field: &str| Some(Ipv4Addr::from(u32::from_str_radix(field, 16).ok()?.to_ne_bytes()));
    let line = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let net = Ipv4Net::with_netmask(address(fields.get(1)?)?, address(fields.get(7)?)?).ok()?;
        (net.prefix_len() > 0).then(|| (IpNet::V4(net.trunc()), fields[0].to_owned()))
    };
    text.lines().skip(1).filter_map(line).collect()
}

fn routes6(text: &str) -> Vec<(IpNet, String)> {
    let line = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let address = Ipv6Addr::from(u128::from_str_radix(fields.first()?, 16).ok()?);
        let prefix = u8::from_str_radix(fields.get(1)?, 16).ok()?;
        // Link-local and multicast routes are on every interface, and /128 are the node's own addresses.
        let plain = prefix > 0 && prefix < 128 && !address.is_unicast_link_local() && !address.is_multicast();
        plain
            .then(|| Some((IpNet::V6(Ipv6Net::new(address, prefix).ok()?.trunc()), (*fields.get(9)?).to_owned())))
            .flatten()
    };
    text.lines().filter_map(line).collect()
}

/// A claim over the file: not applicable where there is none.
fn claim(
    name: &str,
    title: &str,
    judge: impl Fn(&View<'_>, &KubeadmConfig) -> Judgment + Send + Sync + 'static,
) -> Check {
    Check::new(format!("node.kubeadm-config.{name}"), title, move |view: &View<'_>| {
        match &view.facts.kubeadm_config.config {
            Some(config) => judge(view, config),
            None => Ok(Conclusion::not_applicable("about a kubeadm configuration, and no --kubeadm-config is given")),
        }
    })
    .label("kubeadm")
    .label("kubeadm-config")
}

/// A breach at a value of the file.
fn at(config: &KubeadmConfig, leaf: Option<&Leaf>, breach: Breach) -> Breach {
    breach.at(&config.path, leaf.map(|leaf| leaf.line))
}

/// Breaches, or why some things could not be judged, if nothing else is wrong.
fn settle(breaches: Vec<Breach>, unknown: Option<Inconclusive>) -> Judgment {
    match unknown {
        Some(why) if breaches.is_empty() => Err(why),
        _ => Ok(Conclusion::from_breaches(breaches)),
    }
}

/// The node with a file, for examples.
fn with(documents: &str) -> Edit {
    layout(documents, false)
}

fn layout(documents: &str, ask_registry: bool) -> Edit {
    let kubeadm_config = KubeadmConfig::read("/root/kubeadm.yaml", documents).ok();
    let layout = Layout { kubeadm_config, ask_registry, ..Layout::default() };
    let value = serde_json::to_value(layout).unwrap_or_default();
    Edit::Answer(Query::Layout, Ok(Reply::from(value)))
}

/// A document for the first node, and one for its cluster.
fn init(members: &str) -> String {
    format!("apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n{members}\n")
}

fn cluster(members: &str) -> String {
    format!("apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n{members}\n")
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    network::checks().into_iter().chain(node::checks()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_and_repositories_are_taken_apart() {
        for (endpoint, host) in [
            ("api.example:6443", "api.example"),
            ("api.example", "api.example"),
            ("[2001:db8::1]:6443", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("192.0.2.1:6443", "192.0.2.1"),
        ] {
            assert_eq!(host_of(endpoint), host);
        }
        assert_eq!(registry_host("registry.k8s.io"), ("registry.k8s.io", 443));
        assert_eq!(registry_host("harbor.example:5000/k8s"), ("harbor.example", 5000));
        assert_eq!(minor("Kubernetes v1.37.2\n"), Some(37));
        assert_eq!(minor("v1.23.0-alpha.1"), Some(23));
        assert_eq!(minor("stable-1"), None);
    }

    #[test]
    fn local_addresses_are_found_in_the_trie() {
        let text = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n\
                    \x20    |-- 192.0.2.10\n        /32 host LOCAL\n\
                    Local:\n     |-- 127.0.0.1\n        /32 host LOCAL\n\
                    \x20    |-- 192.0.2.255\n        /32 link BROADCAST\n";
        assert_eq!(addresses4(text), ["192.0.2.10".parse::<IpAddr>().unwrap()]);
        let own = addresses4(&std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default());
        assert!(own.iter().all(|address| !address.is_loopback()));
    }

    proptest::proptest! {
        #[test]
        fn parsers_take_anything(text in "\\PC{0,400}") {
            addresses4(&text);
            addresses6(&text);
            routes4(&text);
            routes6(&text);
            host_of(&text);
            registry_host(&text);
            let _ = KubeadmConfig::read("f", &text);
        }
    }
}
