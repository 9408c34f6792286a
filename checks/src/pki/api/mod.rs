//! What a cluster's API says of its PKI: CAs that it hands out, what lets nodes in, by which CAs webhooks are verified,
//! TLS Secrets, certificate requests, the identities of nodes.
//!
//! [`Facts::read`] asks with the credentials of the kubeconfig that the user named. Files are only half of a PKI: what
//! is distributed by the API is copied when a cluster is made, and forgotten when a CA is replaced.

mod bootstrap;
mod bundle;
mod config_map;
mod identity;
mod kubeconfig;
mod request;
mod rights;
mod secret;

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(crate) use kubeconfig::target;
pub use rights::{ClusterRole, ClusterRoleBinding, Rule, Subject};

use super::live::{Endpoint, Lead, Server, Target};
use super::tally::Tally;
use super::x509::{Certificate, pem};
use super::{Check, Issued, View};
use crate::conclusion::Breach;
use crate::fact::Fact;
use crate::host::{ApiCall, ConfigMaps, Host, Query, SecretUses, Signature, TlsSecrets, kubeconfig as config};

/// A name, and where it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct RootCa {
    /// The namespace.
    pub namespace: String,
    /// The bundle, in PEM.
    pub ca: Option<String>,
}

/// The ConfigMap `cluster-info`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ClusterInfo {
    data: BTreeMap<String, Value>,
}

/// A bootstrap token, without its secret.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Token {
    /// The name of its Secret.
    pub name: String,
    /// Its public half.
    pub id: String,
    /// When it ends, as it says.
    pub expiration: Option<String>,
    /// Groups of who shows it, separated by commas.
    pub groups: Option<String>,
    /// May it be shown to log in?
    pub authenticates: bool,
    /// Is `cluster-info` to be signed with it?
    pub signs: bool,
    /// Has it been?
    pub signature: Signature,
}

/// The Secret `kubeadm-certs`.
#[derive(Debug, Clone, Deserialize)]
pub struct SharedCerts {
    /// When it was made.
    pub created: Timestamp,
    /// The Secrets with which it goes away.
    pub owners: Vec<String>,
    /// The names of what is in it.
    pub files: Vec<String>,
}

/// A ConfigMap with all its data.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Data {
    /// The data.
    pub data: BTreeMap<String, String>,
}

/// The ConfigMap `kubeadm-config`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct KubeadmConfig {
    /// kubeadm's ClusterConfiguration, in YAML.
    pub configuration: Option<String>,
}

/// A Service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Service {
    namespace: String,
    name: String,
    addresses: Vec<String>,
}

/// Which hosts an Ingress serves by which Secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Ingress {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Hosts by Secret.
    pub tls: Vec<IngressTls>,
}

/// Hosts, and the Secret that they are served by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct IngressTls {
    /// The hosts.
    pub hosts: Vec<String>,
    /// The Secret's name.
    pub secret_name: String,
}

/// A CertificateSigningRequest.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SigningRequest {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Who is to sign it.
    pub signer: String,
    /// Who asks.
    pub user: String,
    /// The PKCS#10 request, as base64 of PEM.
    pub request: String,
    /// `Approved`, `Denied`, `Failed`.
    pub conditions: Vec<Condition>,
    /// The certificate, as base64 of PEM, if it was issued.
    pub certificate: Option<String>,
}

/// A condition of an object.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Condition {
    /// Its type.
    pub r#type: String,
    /// Its reason.
    pub reason: String,
    /// Since when it holds.
    pub last_transition_time: Option<Timestamp>,
}

impl SigningRequest {
    /// Has it such a condition?
    #[must_use]
    pub fn is(&self, condition: &str) -> bool {
        self.conditions.iter().any(|one| one.r#type == condition)
    }

    /// The certificate that was issued.
    #[must_use]
    pub fn issued(&self) -> Option<Certificate> {
        let pem = STANDARD.decode(self.certificate.as_ref()?).ok()?;
        pem::Document::read(&pem).certificates().next().cloned()
    }
}

/// A Node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its addresses and names.
    pub addresses: Vec<NodeAddress>,
}

/// An address of a Node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NodeAddress {
    /// `InternalIP`, `Hostname` and others.
    pub r#type: String,
    /// The address.
    pub address: String,
}

/// What an API server keeps to say that it is there.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Lease {
    host: String,
}

/// Endpoints of a Service.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct EndpointSlice {
    endpoints: Vec<ServiceEndpoint>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ServiceEndpoint {
    addresses: Vec<String>,
}

/// A public key that service-account tokens are verified by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Jwk {
    /// Its id.
    pub kid: String,
    /// `RSA` or `EC`.
    pub kty: String,
    /// The modulus of an RSA key, in base64url.
    pub n: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Jwks {
    keys: Vec<Jwk>,
}

/// Somebody who verifies a server by a bundle that is written in an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumer {
    /// The object: `ValidatingWebhookConfiguration/policy, webhook check.example.com`.
    pub object: String,
    /// The bundle, in PEM; `None` where the object has none, and the API server's own roots count.
    pub bundle: Option<String>,
    /// The name that the server is verified for.
    pub name: String,
    /// Where it is, if that can be told.
    pub place: Option<Target>,
    /// Is the server's certificate not verified at all?
    pub insecure: bool,
    /// Is it called by a URL, rather than by a Service?
    pub url: bool,
}

/// All who verify servers by a bundle in an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Consumers {
    /// Those that are known.
    pub all: Vec<Consumer>,
    /// Why there may be more.
    pub unread: Vec<String>,
}

/// What the API says.
#[derive(Debug)]
pub struct Facts {
    /// The kubeconfig that the user named.
    pub kubeconfig: Fact<config::Facts>,
    /// Names of namespaces that are not being deleted.
    pub namespaces: Fact<Vec<String>>,
    /// The CAs that pods get.
    pub root_cas: Fact<Vec<RootCa>>,
    /// Where keys and tokens lie in ConfigMaps.
    pub config_maps: Fact<ConfigMaps>,
    /// What nodes are told before they join.
    pub cluster_info: Fact<ClusterInfo>,
    /// What lets nodes in.
    pub tokens: Fact<Vec<Token>>,
    /// Certificates that are shared with new nodes of the control plane.
    pub shared_certs: Fact<SharedCerts>,
    /// What extension API servers verify clients by.
    pub authentication: Fact<Data>,
    /// kubeadm's configuration of the cluster.
    pub kubeadm: Fact<KubeadmConfig>,
    /// Who verifies servers by a bundle in an object.
    pub consumers: Consumers,
    /// TLS Secrets.
    pub tls_secrets: Fact<Arc<TlsSecrets>>,
    /// Which Secrets pods, templates and Gateways name.
    pub secret_uses: Fact<Arc<SecretUses>>,
    /// Ingresses.
    pub ingresses: Fact<Vec<Ingress>>,
    /// Certificate requests.
    pub requests: Fact<Vec<SigningRequest>>,
    /// Who is given which ClusterRole.
    pub cluster_role_bindings: Fact<Vec<ClusterRoleBinding>>,
    /// What ClusterRoles allow.
    pub cluster_roles: Fact<Vec<ClusterRole>>,
    /// Keys of service-account tokens.
    pub jwks: Fact<Vec<Jwk>>,
    /// Nodes.
    pub nodes: Fact<Vec<Node>>,
    /// Names of the hosts that API servers run on; none where they do not say, before Kubernetes 1.26.
    pub api_servers: Fact<Vec<String>>,
    /// The addresses that API servers advertise.
    pub api_server_addresses: Fact<Vec<String>>,
    /// Weakened settings of Go that were used, with how often.
    pub weakened: Fact<BTreeMap<String, f64>>,
}

fn ask<T: DeserializeOwned>(host: &dyn Host, call: ApiCall) -> Fact<T> {
    host.parsed(&Query::Api { call })
}

impl Facts {
    /// Asks the API for everything.
    #[must_use]
    pub fn read(host: &dyn Host) -> Self {
        #[derive(Deserialize)]
        struct Namespace {
            name: String,
            phase: Option<String>,
        }
        let namespaces: Fact<Vec<Namespace>> = ask(host, ApiCall::Namespaces);
        let tls_secrets = host.tls_secrets();
        // All pods are a long list, and only for these.
        let secret_uses = match tls_secrets.known() {
            Some(all) if all.secrets.is_empty() => Fact::Absent("there are no TLS Secrets".to_owned()),
            _ => host.secret_uses(),
        };
        Self {
            kubeconfig: host.parsed(&Query::Kubeconfig),
            namespaces: namespaces.map(|all| {
                let living = all.into_iter().filter(|one| one.phase.as_deref() != Some("Terminating"));
                living.map(|one| one.name).collect()
            }),
            root_cas: ask(host, ApiCall::RootCas),
            config_maps: ask(host, ApiCall::ConfigMaps),
            cluster_info: ask(host, ApiCall::ClusterInfo),
            tokens: ask(host, ApiCall::Tokens),
            shared_certs: ask(host, ApiCall::SharedCerts),
            authentication: ask(host, ApiCall::Authentication),
            kubeadm: ask(host, ApiCall::KubeadmConfig),
            consumers: bundle::consumers(host),
            tls_secrets,
            secret_uses,
            ingresses: ask(host, ApiCall::Ingresses),
            requests: ask(host, ApiCall::SigningRequests),
            cluster_role_bindings: ask(host, ApiCall::ClusterRoleBindings),
            cluster_roles: ask(host, ApiCall::ClusterRoles),
            jwks: ask::<Jwks>(host, ApiCall::Jwks).map(|jwks| jwks.keys),
            nodes: ask(host, ApiCall::Nodes),
            api_servers: ask::<Vec<Lease>>(host, ApiCall::ApiServers)
                .map(|all| all.into_iter().map(|lease| lease.host).collect()),
            api_server_addresses: ask::<Vec<EndpointSlice>>(host, ApiCall::ApiServerAddresses)
                .map(|all| all.into_iter().flat_map(|slice| slice.endpoints).flat_map(|one| one.addresses).collect()),
            weakened: ask(host, ApiCall::Metrics),
        }
    }

    /// The certificates that were issued by request, of each signer and subject the one that lasts longest.
    #[must_use]
    pub(super) fn newest_issued(&self) -> Vec<Issued> {
        let mut newest: BTreeMap<_, (&str, Certificate)> = BTreeMap::new();
        for request in self.requests.known().into_iter().flatten() {
            let Some(certificate) = request.issued() else { continue };
            let owner = (request.signer.as_str(), certificate.subject.der.clone());
            if newest.get(&owner).is_none_or(|(_, other)| other.not_after < certificate.not_after) {
                newest.insert(owner, (&request.name, certificate));
            }
        }
        let issued = |(name, certificate): (&str, Certificate)| Issued {
            place: format!("csr/{name}"),
            certificate: Arc::new(certificate),
        };
        newest.into_values().map(issued).collect()
    }

    /// Servers that the API leads to: its own, the kubelets, webhooks and aggregated API servers.
    #[must_use]
    pub fn leads(&self) -> Vec<Lead> {
        let mut leads = Vec::new();
        if let Some(config) = self.kubeconfig.known()
            && let Some(target) = target(&config.server)
        {
            leads.push(Lead { target, name: config.server_name.clone() });
        }
        for node in self.nodes.known().into_iter().flatten() {
            let internal = node.addresses.iter().filter(|address| address.r#type == "InternalIP");
            leads.extend(internal.map(|address| Lead {
                target: Target { host: address.address.clone(), port: 10250, server: Server::Kubelet },
                name: None,
            }));
        }
        for consumer in &self.consumers.all {
            let lead = consumer.place.clone().map(|target| Lead { target, name: Some(consumer.name.clone()) });
            leads.extend(lead);
        }
        leads
    }
}

/// The certificates of a bundle.
fn certificates(pem: &str) -> Vec<Arc<Certificate>> {
    pem::Document::read(pem.as_bytes()).certificates().cloned().map(Arc::new).collect()
}

/// The claims about what the API says, in the order in which they are listed.
pub(super) fn checks() -> Vec<Check> {
    let families = [
        kubeconfig::checks,
        bundle::checks,
        bootstrap::checks,
        config_map::checks,
        secret::checks,
        request::checks,
        rights::checks,
        identity::checks,
    ];
    families.into_iter().flat_map(|family| family()).collect()
}

/// A claim about what the API says, whose judge goes through `what` and counts.
fn claim(
    id: &str,
    title: &str,
    what: &'static str,
    judge: impl Fn(&View<'_>, &mut Tally) + Send + Sync + 'static,
) -> Check {
    Check::new(id, title, move |view| {
        if let Fact::NotGathered(why) = &view.facts.api.kubeconfig {
            return Ok(crate::conclusion::Conclusion::not_applicable(why.clone()));
        }
        let mut tally = Tally::default();
        judge(view, &mut tally);
        tally.conclude(what, &format!("the cluster has no {what}"))
    })
    .label("pki")
    .label("api")
}

/// What is known; what is not, and should be, is counted as unknown. What is not there is no unknown.
fn need<'a, T>(fact: &'a Fact<T>, tally: &mut Tally) -> Option<&'a T> {
    match fact {
        Fact::Known(value) => return Some(value),
        Fact::Absent(_) => {}
        Fact::Unreadable(why) | Fact::Malformed(why) | Fact::NotGathered(why) => tally.unknown(why),
    }
    None
}

/// So many things were looked at, and this does not hold of them; only the first hundred are told one by one.
fn tell(things: &str, count: usize, breaches: impl Iterator<Item = Breach>, tally: &mut Tally) {
    const TOLD: usize = 100;
    (0..count).for_each(|_| tally.look());
    let mut breaches = breaches.fuse();
    breaches.by_ref().take(TOLD).for_each(|breach| tally.breach(breach));
    let more = breaches.count();
    if more > 0 {
        tally.breach(Breach::new(things, format!("the same is so of {more} more")));
    }
}
