//! What the cluster is told of itself, as far as its certificates must agree with it: names, addresses, networks.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::discover::{Component, Discovery};
use super::talos::Cluster;
use crate::effective::yaml;
use crate::fact::Fact;
use crate::host::Host;

/// Where kubeadm's configuration lies on disk, where it does: Kubespray, minikube, kind, and people.
const CONFIGURATIONS: [&str; 5] = [
    "/etc/kubernetes/kubeadm-config.yaml",
    "/etc/kubernetes/kubeadm.yaml",
    "/var/tmp/minikube/kubeadm.yaml",
    "/kind/kubeadm.conf",
    "/root/kubeadm-config.yaml",
];

/// A name or an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A DNS name.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl Place {
    /// Reads either; brackets around an IPv6 address are allowed, and a dot behind a name, which Go takes off before it
    /// compares.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        bare.parse().map_or_else(|_| Self::Name(text.strip_suffix('.').unwrap_or(text).to_lowercase()), Self::Address)
    }

    /// The host of a URL, or of `host:port`.
    #[must_use]
    pub fn of_url(url: &str) -> Option<Self> {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let authority = rest.split(['/', '?', '#']).next()?;
        let host = match authority.rsplit_once(':') {
            // Not the colon inside an address.
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !host.is_empty() => {
                if host.contains(':') && !host.ends_with(']') { authority } else { host }
            }
            _ => authority,
        };
        (!host.is_empty()).then(|| Self::read(host))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

/// What the cluster is told of itself.
#[derive(Debug, Default)]
pub struct Settings {
    /// The networks of Services, the first the one that the API server's own Service is in.
    pub services: Vec<IpNet>,
    /// The cluster's DNS domain.
    pub domain: Option<String>,
    /// What the API server advertises.
    pub advertise: Option<IpAddr>,
    /// The address of all API servers together.
    pub endpoint: Option<Place>,
    /// Names and addresses that the user wants in the API server's certificate.
    pub wanted: Vec<Place>,
    /// Where etcd listens for clients and what it advertises to them.
    pub etcd_clients: BTreeSet<Place>,
    /// What etcd advertises to its peers.
    pub etcd_peers: BTreeSet<Place>,
    /// The node's name.
    pub node: Option<String>,
    /// `encryptionAlgorithm`
    pub algorithm: Option<String>,
}

impl Settings {
    /// Reads them from flags, from the configurations of kubeadm and Talos, and from the node.
    pub(super) fn read(host: &dyn Host, found: &Discovery) -> Self {
        let mut settings = Self::default();
        let flag = |component: Component, flag: &str| found.command(component).and_then(|line| line.get(flag));
        let ranges = [Component::Apiserver, Component::ControllerManager]
            .into_iter()
            .find_map(|component| flag(component, "service-cluster-ip-range"));
        settings.services = ranges.map(networks).unwrap_or_default();
        settings.advertise = flag(Component::Apiserver, "advertise-address").and_then(|text| text.parse().ok());
        let issuer = flag(Component::Apiserver, "service-account-issuer").and_then(Place::of_url);
        settings.domain = match issuer {
            Some(Place::Name(name)) => name.strip_prefix("kubernetes.default.svc.").map(str::to_owned),
            _ => None,
        };
        if settings.domain.is_none() {
            settings.domain = flag(Component::Kubelet, "cluster-domain").map(str::to_owned);
        }
        let urls = |name: &str| flag(Component::Etcd, name).into_iter().flat_map(|list| list.split(','));
        settings.etcd_clients =
            urls("listen-client-urls").chain(urls("advertise-client-urls")).filter_map(reachable).collect();
        settings.etcd_peers = urls("initial-advertise-peer-urls").filter_map(reachable).collect();
        let name = flag(Component::Kubelet, "hostname-override").map(str::to_owned);
        settings.node = name.or_else(|| {
            let own = (!found.bare).then(|| host.text("/etc/hostname"))?;
            own.known().map(|name| name.trim().to_lowercase()).filter(|name| !name.is_empty())
        });
        found.talos.iter().for_each(|(_, talos)| settings.talos(&talos.cluster));
        for path in CONFIGURATIONS {
            if let (Fact::Known(text), false) = (host.text(path), found.bare) {
                settings.kubeadm(&text);
            }
        }
        settings
    }

    /// What a machine configuration of Talos says; what flags say counts before it.
    fn talos(&mut self, cluster: &Cluster) {
        if self.services.is_empty() {
            self.services = networks(&cluster.services.join(","));
        }
        if self.domain.is_none() {
            self.domain.clone_from(&cluster.domain);
        }
        if self.endpoint.is_none() {
            self.endpoint = cluster.endpoint.as_deref().and_then(Place::of_url);
        }
        self.wanted.extend(cluster.names.iter().map(|name| Place::read(name)));
    }

    /// Members of kubeadm's ClusterConfiguration; what flags say counts before them.
    fn kubeadm(&mut self, text: &str) {
        for document in documents(text) {
            let Ok(Some(value)) = yaml::read(&document).map(|node| node.map(|node| node.value())) else { continue };
            let is = |member: &str| value.get(member).and_then(Value::as_str).unwrap_or_default();
            if is("kind") != "ClusterConfiguration" || !is("apiVersion").starts_with("kubeadm.k8s.io/") {
                continue;
            }
            let get =
                |path: &str| path.split('.').try_fold(&value, |value, key| value.get(key)).and_then(Value::as_str);
            if self.services.is_empty() {
                self.services = get("networking.serviceSubnet").map(networks).unwrap_or_default();
            }
            if self.domain.is_none() {
                self.domain = get("networking.dnsDomain").map(str::to_owned);
            }
            self.endpoint = get("controlPlaneEndpoint").and_then(Place::of_url);
            self.algorithm = get("encryptionAlgorithm").map(str::to_owned);
            let sans = value.pointer("/apiServer/certSANs").and_then(Value::as_array);
            self.wanted = sans.into_iter().flatten().filter_map(Value::as_str).map(Place::read).collect();
        }
    }
}

/// The documents of a text, as kubeadm splits it (apimachinery, `yaml.NewYAMLReader`): by lines that begin with `---`
/// and hold nothing else but blanks and a comment. At a line that begins so and goes on kubeadm gives up.
fn documents(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    for line in text.lines() {
        match line.strip_prefix("---").map(str::trim) {
            Some(rest) if rest.is_empty() || rest.starts_with('#') => all.push(String::new()),
            Some(_) => break,
            None => all.last_mut().into_iter().for_each(|document| document.extend([line, "\n"])),
        }
    }
    all.retain(|document| !document.trim().is_empty());
    all
}

fn networks(list: &str) -> Vec<IpNet> {
    list.split(',').filter_map(|network| network.trim().parse().ok()).collect()
}

/// The host of a TLS URL that somebody can dial: not "all addresses", and no socket.
fn reachable(url: &str) -> Option<Place> {
    if !url.trim().starts_with("https://") {
        return None;
    }
    let place = Place::of_url(url.trim())?;
    match &place {
        Place::Address(address) if address.is_unspecified() => None,
        _ => Some(place),
    }
}

/// The first address of a network that a Service can have: the API server's own.
pub(super) fn first(network: &IpNet) -> Option<IpAddr> {
    // Of an IPv6 network hosts() begins with the subnet-router anycast address, which Services do not get.
    network.hosts().find(|address| *address != network.network())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found_in_urls() {
        for (url, host) in [
            ("https://10.0.0.1:6443", "10.0.0.1"),
            ("https://[fd00::1]:6443/x", "fd00::1"),
            ("https://API.test", "api.test"),
            ("api.test:443", "api.test"),
            ("fd00::1", "fd00::1"),
            ("https://kubernetes.default.svc.cluster.local", "kubernetes.default.svc.cluster.local"),
        ] {
            assert_eq!(Place::of_url(url).unwrap().to_string(), host, "{url}");
        }
        assert_eq!(reachable("https://0.0.0.0:2379"), None);
        assert_eq!(reachable("http://127.0.0.1:2381"), None);
    }

    #[test]
    fn documents_are_split_as_kubeadm_splits_them() {
        let cluster = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\ncontrolPlaneEndpoint: ";
        for (text, endpoint) in [
            (format!("{cluster}a:1"), Some("a")),
            (format!("--- # first\nkind: InitConfiguration\n---  \n{cluster}b:1\n---\n"), Some("b")),
            // Within a text `---` is text.
            (format!("kind: Other\ntext: |\n  ---\n  {}\n", cluster.replace('\n', "\n  ")), None),
            (format!("kind: Other\n---\r\n{}c:1\r\n", cluster.replace('\n', "\r\n")), Some("c")),
            (format!("kind: Other\n--- {{}}\n{cluster}d:1\n"), None),
            (format!("kind: Other\n----\n{cluster}e:1\n"), None),
            (format!("{cluster}f:1\nkind: ClusterConfiguration\n"), Some("f")),
            ("apiVersion: v1\nkind: ClusterConfiguration\ncontrolPlaneEndpoint: g:1\n".to_owned(), None),
        ] {
            let mut settings = Settings::default();
            settings.kubeadm(&text);
            assert_eq!(settings.endpoint.map(|place| place.to_string()).as_deref(), endpoint, "{text}");
        }
    }

    #[test]
    fn the_first_address_of_a_network() {
        for (network, address) in [("10.96.0.0/12", "10.96.0.1"), ("fd00:10:96::/112", "fd00:10:96::1")] {
            assert_eq!(first(&network.parse().unwrap()).unwrap().to_string(), address);
        }
    }
}
