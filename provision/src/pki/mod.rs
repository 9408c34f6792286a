//! A cluster's PKI, in kubeadm's shape: the same files, names, usages, lifetimes and modes.
//!
//! [`plan`] says which certificates a [`Spec`] asks for, without making any; [`issue()`] makes those that are not
//! there, keys in parallel; [`kubeconfigs`] writes the kubeconfigs whose credentials they are. What is there is kept if
//! it fits, and refused by name if it does not. The model is kubeadm's `phases/certs` and `phases/kubeconfig`.

mod files;
mod issue;
mod key;
mod kubeconfig;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};

pub use issue::{Did, Step, issue, issue_only};
pub use key::{Algorithm, BadAlgorithm};
pub use kubeconfig::{KUBECONFIGS, Kubeconfig, kubeconfigs, user_kubeconfig};

/// How far certificates are backdated, so that clocks that lag a little accept them: five minutes, as kubeadm does.
const BACKDATE: SignedDuration = SignedDuration::from_mins(5);

/// Why a PKI cannot be issued.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the file system said.
        source: std::io::Error,
    },
    /// A file is there and cannot be used.
    #[error("{path} is there and cannot be used: {why}; remove it, or put the right one there")]
    Unfit {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// A CA has no key here, and a certificate that it would have to sign is not there.
    #[error("{missing} is not there, and cannot be issued: {ca} has no key here. Have whoever keeps that CA issue it")]
    ExternalCa {
        /// The certificate that is missing.
        missing: String,
        /// The CA's certificate.
        ca: String,
    },
    /// A certificate cannot be made.
    #[error("the certificate {name} cannot be made: {why}")]
    Certificate {
        /// Its name.
        name: String,
        /// Why.
        why: String,
    },
    /// The specification cannot be met.
    #[error("{0}")]
    Spec(String),
}

/// Where etcd runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Etcd {
    /// Beside the control plane: its certificates are issued too.
    Local,
    /// Elsewhere, with certificates of its own.
    External,
}

/// What a node's PKI is for.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The node's name.
    pub node: String,
    /// The address that the node's API server advertises.
    pub advertise: IpAddr,
    /// The port of the API server.
    pub port: u16,
    /// The networks of Services; the first address of the first one is the API server's.
    pub services: Vec<IpNet>,
    /// The cluster's DNS domain.
    pub domain: String,
    /// The cluster's name, as kubeconfigs have it.
    pub cluster: String,
    /// The address of all API servers together: `host` or `host:port`, a name or an address, IPv6 in brackets.
    pub endpoint: Option<String>,
    /// More names and addresses of the API server.
    pub apiserver_sans: Vec<String>,
    /// More names and addresses of etcd's server certificate.
    pub etcd_server_sans: Vec<String>,
    /// More names and addresses of etcd's peer certificate.
    pub etcd_peer_sans: Vec<String>,
    /// Where etcd runs.
    pub etcd: Etcd,
    /// How keys are made.
    pub algorithm: Algorithm,
    /// How long CAs are valid; kubeadm's default is 10 years of 365 days.
    pub ca_period: SignedDuration,
    /// How long other certificates are valid; kubeadm's default is 365 days.
    pub period: SignedDuration,
    /// The time of issue.
    pub now: Timestamp,
}

impl Spec {
    /// A node with kubeadm's defaults for everything else.
    #[must_use]
    pub fn new(node: impl Into<String>, advertise: IpAddr, now: Timestamp) -> Self {
        let services = IpNet::new(Ipv4Addr::new(10, 96, 0, 0).into(), 12).into_iter().collect();
        Self {
            node: node.into(),
            advertise,
            port: 6443,
            services,
            domain: "cluster.local".to_owned(),
            cluster: "kubernetes".to_owned(),
            endpoint: None,
            apiserver_sans: Vec::new(),
            etcd_server_sans: Vec::new(),
            etcd_peer_sans: Vec::new(),
            etcd: Etcd::Local,
            algorithm: Algorithm::Rsa2048,
            ca_period: SignedDuration::from_hours(24 * 365 * 10),
            period: SignedDuration::from_hours(24 * 365),
            now,
        }
    }

    /// Host and port of the endpoint.
    pub(crate) fn endpoint(&self) -> Result<Option<(String, u16)>, PkiError> {
        let Some(endpoint) = &self.endpoint else { return Ok(None) };
        let bad = || PkiError::Spec(format!("the control-plane endpoint '{endpoint}' is neither host nor host:port"));
        if let Ok(address) = endpoint.parse::<Ipv6Addr>() {
            return Ok(Some((address.to_string(), self.port)));
        }
        let (host, port) = match endpoint.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| bad())?),
            None => (endpoint.as_str(), self.port),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() { Err(bad()) } else { Ok(Some((host.to_owned(), port))) }
    }
}

/// What a certificate is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// Serving.
    Server,
    /// Being a client.
    Client,
    /// Both, as etcd wants it.
    Both,
}

/// The DNS names and addresses of a certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sans {
    /// DNS names, sorted, each once.
    pub names: Vec<String>,
    /// Addresses, each once.
    pub addresses: Vec<IpAddr>,
}

impl Sans {
    fn new(names: &[&str], addresses: &[IpAddr], more: &[String], of: &str) -> Result<Self, PkiError> {
        let mut sans = Self { names: names.iter().map(|&name| name.to_owned()).collect(), addresses: Vec::new() };
        addresses.iter().for_each(|&address| sans.push(address));
        for san in more {
            match san.parse() {
                Ok(address) => sans.push(address),
                Err(_) if is_name(san) => sans.names.push(san.clone()),
                Err(_) => {
                    return Err(PkiError::Spec(format!(
                        "'{san}', a SAN of {of}, is neither an address nor a DNS name"
                    )));
                }
            }
        }
        sans.names.sort();
        sans.names.dedup();
        Ok(sans)
    }

    fn push(&mut self, address: IpAddr) {
        if !self.addresses.contains(&address) {
            self.addresses.push(address);
        }
    }
}

/// A DNS name (RFC 1123 section 2.1) whose first label may be a star.
fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        let plain = label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        plain && !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-')
    };
    text.len() <= 253 && text.strip_prefix("*.").unwrap_or(text).split('.').all(label)
}

/// A certificate that is to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// kubeadm's name of it: `apiserver-etcd-client`.
    pub name: &'static str,
    /// Its files below the PKI's folder, without `.crt` and `.key`: `etcd/healthcheck-client`.
    pub base: &'static str,
    /// The CA that signs it, by name; `None` for a CA that signs itself.
    pub ca: Option<&'static str>,
    /// The subject's common name.
    pub common_name: String,
    /// The subject's organization.
    pub organization: Option<&'static str>,
    /// What it is good for; `None` for a CA.
    pub usage: Option<Usage>,
    /// Its names and addresses.
    pub sans: Sans,
}

/// The certificates that a node of a control plane has, CAs before what they sign.
///
/// # Errors
/// [`PkiError::Spec`] if a SAN, a Service network or the endpoint is none.
pub fn plan(spec: &Spec) -> Result<Vec<Certificate>, PkiError> {
    let ca = |name, base, common_name: &str| Certificate {
        name,
        base,
        ca: None,
        common_name: common_name.to_owned(),
        organization: None,
        usage: None,
        sans: Sans { names: vec![common_name.to_owned()], addresses: Vec::new() },
    };
    let leaf = |name, base, ca, common_name: &str, usage, sans| Certificate {
        name,
        base,
        ca: Some(ca),
        common_name: common_name.to_owned(),
        organization: None,
        usage: Some(usage),
        sans,
    };
    let none = Sans::default;
    let mut all = vec![
        ca("ca", "ca", "kubernetes"),
        leaf("apiserver", "apiserver", "ca", "kube-apiserver", Usage::Server, apiserver_sans(spec)?),
        leaf(
            "apiserver-kubelet-client",
            "apiserver-kubelet-client",
            "ca",
            "kube-apiserver-kubelet-client",
            Usage::Client,
            none(),
        ),
        ca("front-proxy-ca", "front-proxy-ca", "front-proxy-ca"),
        leaf("front-proxy-client", "front-proxy-client", "front-proxy-ca", "front-proxy-client", Usage::Client, none()),
    ];
    if spec.etcd == Etcd::Local {
        let here = [spec.advertise, Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let sans = |more, of| Sans::new(&[&spec.node, "localhost"], &here, more, of);
        let server = sans(&spec.etcd_server_sans, "etcd-server")?;
        let peer = sans(&spec.etcd_peer_sans, "etcd-peer")?;
        all.extend([
            ca("etcd-ca", "etcd/ca", "etcd-ca"),
            leaf("etcd-server", "etcd/server", "etcd-ca", &spec.node, Usage::Both, server),
            leaf("etcd-peer", "etcd/peer", "etcd-ca", &spec.node, Usage::Both, peer),
            leaf(
                "etcd-healthcheck-client",
                "etcd/healthcheck-client",
                "etcd-ca",
                "kube-etcd-healthcheck-client",
                Usage::Client,
                none(),
            ),
            leaf(
                "apiserver-etcd-client",
                "apiserver-etcd-client",
                "etcd-ca",
                "kube-apiserver-etcd-client",
                Usage::Client,
                none(),
            ),
        ]);
    }
    Ok(all)
}

fn apiserver_sans(spec: &Spec) -> Result<Sans, PkiError> {
    let in_domain = format!("kubernetes.default.svc.{}", spec.domain);
    let names = [spec.node.as_str(), "kubernetes", "kubernetes.default", "kubernetes.default.svc", &in_domain];
    let services = spec.services.first().ok_or_else(|| PkiError::Spec("there is no network of Services".to_owned()))?;
    let service = services.hosts().next().filter(|_| services.prefix_len() < services.max_prefix_len());
    let service = service.ok_or_else(|| PkiError::Spec(format!("the Service network {services} has no address")))?;
    // An IPv6 network's first address is the subnet-router anycast address (RFC 4291 section 2.6.1), which Services do
    // not get.
    let service = if service == services.network() { next(service) } else { service };
    let mut more: Vec<String> = spec.endpoint()?.map(|(host, _)| host).into_iter().collect();
    more.extend(spec.apiserver_sans.iter().cloned());
    Sans::new(&names, &[service, spec.advertise], &more, "apiserver")
}

fn next(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from(u32::from(address).wrapping_add(1)).into(),
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address).wrapping_add(1)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Spec {
        Spec::new("cp1", "10.0.0.11".parse().unwrap(), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn the_api_server_has_the_first_address_of_the_first_network() {
        for (network, address) in
            [("10.96.0.0/12", "10.96.0.1"), ("fd00:10:96::/112", "fd00:10:96::1"), ("10.9.8.0/30", "10.9.8.1")]
        {
            let spec = Spec { services: vec![network.parse().unwrap()], ..spec() };
            assert_eq!(apiserver_sans(&spec).unwrap().addresses[0], address.parse::<IpAddr>().unwrap(), "{network}");
        }
        let narrow = Spec { services: vec!["10.9.8.7/32".parse().unwrap()], ..spec() };
        assert!(apiserver_sans(&narrow).unwrap_err().to_string().contains("10.9.8.7/32 has no address"));
    }

    #[test]
    fn endpoints_are_read_in_every_form() {
        for (text, host, port) in [
            ("api.test", "api.test", 6443),
            ("api.test:443", "api.test", 443),
            ("192.0.2.1:8443", "192.0.2.1", 8443),
            ("[fd00::1]:443", "fd00::1", 443),
            ("fd00::1", "fd00::1", 6443),
        ] {
            let spec = Spec { endpoint: Some(text.to_owned()), ..spec() };
            assert_eq!(spec.endpoint().unwrap(), Some((host.to_owned(), port)), "{text}");
        }
        for text in ["", ":443", "api.test:port"] {
            assert!(Spec { endpoint: Some(text.to_owned()), ..spec() }.endpoint().is_err(), "{text}");
        }
    }

    #[test]
    fn a_san_that_is_none_is_named() {
        let spec = Spec { apiserver_sans: vec!["not a name".to_owned()], ..spec() };
        assert!(plan(&spec).unwrap_err().to_string().contains("'not a name', a SAN of apiserver"));
    }

    #[test]
    fn an_external_etcd_needs_no_certificates_of_ours() {
        let names = |etcd| plan(&Spec { etcd, ..spec() }).unwrap().len();
        assert_eq!((names(Etcd::Local), names(Etcd::External)), (10, 5));
    }
}
