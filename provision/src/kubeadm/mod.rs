//! kubeadm's configuration files: `ClusterConfiguration`, `InitConfiguration` and `JoinConfiguration` of v1beta3 and
//! v1beta4, with the `KubeletConfiguration` and `KubeProxyConfiguration` that stand beside them.
//!
//! A file is decoded as strictly as `kubeadm config validate` does it and then validated by kubeadm's rules; an error
//! names the field and its line. Both versions are read into one form, with kubeadm's defaults. What of it becomes of a
//! cluster of ours is not said here ([`cluster::fields`](crate::cluster::fields)).

mod document;
pub(crate) mod features;
pub mod fields;
mod network;
pub(crate) mod parse;
mod validate;
mod yaml;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use document::{
    ApiServer, BootstrapToken, ClusterConfiguration, Component, Discovery, Dns, Endpoint, EnvVar, Etcd, ExternalEtcd,
    FileDiscovery, HostPathMount, InitConfiguration, JoinConfiguration, JoinControlPlane, LocalEtcd, Networking,
    NodeRegistration, Patches, Proxy, Secret, Taint, Timeouts, TokenDiscovery,
};

use crate::assets::{Release, Version};
use crate::control_plane::{ControlPlane, EtcdServers, ExtraFlags};
use crate::pki::{self, Algorithm, Spec};
use yaml::{Node, Tree};

/// Why a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadConfiguration {
    /// It is not YAML, or not a file of kubeadm's.
    #[error("line {line}: {why}")]
    Syntax {
        /// Line of the file, counted from 1.
        line: u32,
        /// Why.
        why: String,
    },
    /// A value cannot be used.
    #[error("{}{field}: {why}", .line.map(|line| format!("line {line}: ")).unwrap_or_default())]
    Value {
        /// Line of the file, counted from 1; `None` for what no file says.
        line: Option<u32>,
        /// The field, as a dotted path.
        field: String,
        /// Why.
        why: String,
    },
}

fn bad(field: &str, why: impl Into<String>) -> BadConfiguration {
    BadConfiguration::Value { line: None, field: field.to_owned(), why: why.into() }
}

/// What a configuration file says; what it leaves out has kubeadm's defaults.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Configuration {
    /// The cluster.
    pub cluster: ClusterConfiguration,
    /// The first node, if the file is about one.
    pub init: Option<InitConfiguration>,
    /// A node that joins, if the file is about one.
    pub join: Option<JoinConfiguration>,
    /// The kubelet's configuration, as it stands.
    pub kubelet: Option<Value>,
    /// kube-proxy's configuration, as it stands.
    pub kube_proxy: Option<Value>,
    /// The documents with their lines.
    source: Source,
}

/// The documents of a file.
#[derive(Clone, Default, PartialEq)]
struct Source(Vec<Document>);

/// They hold tokens and keys.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({} documents)", self.0.len())
    }
}

#[derive(Clone, PartialEq)]
struct Document {
    api_version: String,
    kind: String,
    root: Node,
}

/// A value that a file gives a field, with the field's path in the form of [`fields`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Kind and path: `InitConfiguration.bootstrapTokens[].token`.
    pub path: String,
    /// The value as text; a truth value or a number as YAML writes it.
    pub value: String,
    /// Where it stands.
    pub line: u32,
}

/// Reads a configuration file of one or more documents, for the version of Kubernetes that it names.
///
/// # Errors
/// [`BadConfiguration`] with the line, and the field and what it ought to be.
pub fn read(text: &str) -> Result<Configuration, BadConfiguration> {
    read_for(text, None)
}

/// The same for a version of Kubernetes, whatever the file names; without one, and with none in the file, for the
/// newest whose kubeadm reads it.
///
/// # Errors
/// [`BadConfiguration`] with the line, and the field and what it ought to be.
pub fn read_for(text: &str, version: Option<&Version>) -> Result<Configuration, BadConfiguration> {
    let source = documents(text)?;
    let minor = match (version, source.version()?) {
        (Some(version), _) => version.minor(),
        (None, Some((_, version))) => version.minor(),
        (None, None) => source.newest(),
    };
    let mut found = Configuration::default();
    for one in &source.0 {
        known(one, minor)?;
        let value = fields::decode(&one.root, &one.api_version, &one.kind, minor)?;
        match one.kind.as_str() {
            "ClusterConfiguration" => found.cluster = typed(one, value)?,
            "InitConfiguration" => found.init = Some(typed(one, value)?),
            "JoinConfiguration" => found.join = Some(typed(one, value)?),
            "KubeletConfiguration" => found.kubelet = Some(value),
            "KubeProxyConfiguration" => found.kube_proxy = Some(value),
            // They say nothing of how a cluster is set up.
            _ => {}
        }
    }
    found.source = source;
    validate::check(&found, minor).map_err(|error| found.located(error))?;
    Ok(found)
}

fn documents(text: &str) -> Result<Source, BadConfiguration> {
    let mut documents: Vec<Document> = Vec::new();
    for (first, document) in split(text)? {
        // Empty lines in front keep the lines of errors those of the file.
        let root = yaml::read(&format!("{}{document}", "\n".repeat(first)))?;
        json(&document, first)?;
        let at = line(first) + 1;
        let here = |why: String| BadConfiguration::Syntax { line: at, why };
        let (api_version, kind) = (root.text("apiVersion"), root.text("kind"));
        if api_version.split('/').filter(|part| !part.is_empty()).count() != 2 || kind.is_empty() {
            return Err(here("a document must have an apiVersion, as kubeadm.k8s.io/v1beta4, and a kind".to_owned()));
        }
        if documents.iter().any(|other| other.kind == kind) {
            return Err(here(format!("there are two documents of kind {kind}")));
        }
        documents.push(Document { api_version, kind, root });
    }
    Ok(Source(documents))
}

/// Kubernetes takes a document that begins with a brace for JSON.
fn json(document: &str, first: usize) -> Result<(), BadConfiguration> {
    if !document.trim_start().starts_with('{') {
        return Ok(());
    }
    serde_json::from_str::<serde::de::IgnoredAny>(document).map(drop).map_err(|error| BadConfiguration::Syntax {
        line: line(first) + line(error.line()),
        why: "a document that begins with '{' must be JSON, with its keys and texts in double quotes".to_owned(),
    })
}

/// A version as a file may name it; labels such as stable-1 would have to be asked of the internet.
///
/// # Errors
/// Why it is none.
pub(crate) fn kubernetes_version(text: &str) -> Result<Version, String> {
    let with = if text.starts_with('v') { text.to_owned() } else { format!("v{text}") };
    with.parse().map_err(|_| format!("'{text}' is not a version: name one, as v1.37.2; labels are not resolved"))
}

/// Is it YAML, with each key once?
pub(crate) fn check_yaml(text: &str) -> Result<(), BadConfiguration> {
    yaml::read(text).map(drop)
}

/// The version of Kubernetes that a file names, and its line.
///
/// # Errors
/// [`BadConfiguration`] if the file cannot be read so far.
pub(crate) fn named_version(text: &str) -> Result<Option<(u32, Version)>, BadConfiguration> {
    documents(text)?.version()
}

/// Does kubeadm of this version know the document?
fn known(document: &Document, minor: u32) -> Result<(), BadConfiguration> {
    let Document { api_version, kind, root } = document;
    let at = root.get("apiVersion").map_or(root.line, |node| node.line);
    let refused = |why: String| Err(BadConfiguration::Syntax { line: at, why });
    match fields::versions(api_version, kind) {
        Some((first, last)) => {
            if api_version.starts_with(fields::KUBEADM) && !(first..=last).contains(&minor.min(fields::newest())) {
                let since = if first <= 23 { String::new() } else { format!("1.{first} to ") };
                let since = if since.is_empty() { "up to ".to_owned() } else { since };
                return refused(format!(
                    "{api_version} is read by kubeadm {since}1.{last}, and this is for 1.{minor}: write {}",
                    if minor > last {
                        "kubeadm.k8s.io/v1beta4 (kubeadm config migrate does)"
                    } else {
                        "kubeadm.k8s.io/v1beta3"
                    }
                ));
            }
            Ok(())
        }
        None => {
            let group = api_version.split('/').next().unwrap_or_default();
            let of = fields::all().iter().find(|field| field.path.strip_suffix(".kind") == Some(kind.as_str()));
            match (group, of) {
                (fields::KUBEADM, None) => refused(format!("kubeadm has no kind '{kind}'")),
                (fields::KUBEADM, Some(of)) if of.api_version.starts_with(fields::KUBEADM) => {
                    refused(format!("{api_version} is not read: write kubeadm.k8s.io/v1beta4"))
                }
                (_, Some(of)) => refused(format!("{kind} is of {}, not of {api_version}", of.api_version)),
                _ => refused(format!("apiVersion '{api_version}' and kind '{kind}' are none of kubeadm's")),
            }
        }
    }
}

fn typed<T: DeserializeOwned>(document: &Document, value: Value) -> Result<T, BadConfiguration> {
    // What is decoded fits; this would be a field of the list that our types lack.
    serde_json::from_value(value).map_err(|error| BadConfiguration::Syntax {
        line: document.root.line,
        why: format!("{}: {error}", document.kind),
    })
}

/// The documents of a file, each with the number of lines before it (apimachinery's `YAMLReader`).
fn split(text: &str) -> Result<Vec<(usize, String)>, BadConfiguration> {
    let mut all = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, text) in text.lines().enumerate() {
        if let Some(rest) = text.strip_prefix("---") {
            let rest = rest.trim();
            if !rest.is_empty() && !rest.starts_with('#') {
                let why = format!("nothing but a comment may follow '---', and '{rest}' does");
                return Err(BadConfiguration::Syntax { line: line(number) + 1, why });
            }
            // One that ends no document begins one, be it empty.
            match open.take() {
                Some(document) => all.push(document),
                None => open = Some((number + 1, String::new())),
            }
        } else {
            let (_, document) = open.get_or_insert((number, String::new()));
            document.push_str(text);
            document.push('\n');
        }
    }
    all.extend(open);
    Ok(all)
}

fn line(lines_before: usize) -> u32 {
    u32::try_from(lines_before).unwrap_or(u32::MAX)
}

impl Source {
    /// The version that the cluster is to have, and its line.
    fn version(&self) -> Result<Option<(u32, Version)>, BadConfiguration> {
        let cluster = self.0.iter().find(|one| one.kind == "ClusterConfiguration");
        let Some(node) = cluster.and_then(|cluster| cluster.root.get("kubernetesVersion")) else { return Ok(None) };
        let text = match &node.value {
            Tree::Text(text) if !text.is_empty() => text,
            _ => return Ok(None),
        };
        let field = "kubernetesVersion".to_owned();
        let version =
            kubernetes_version(text).map_err(|why| BadConfiguration::Value { line: Some(node.line), field, why })?;
        Ok(Some((node.line, version)))
    }

    /// The newest minor version whose kubeadm reads all of it.
    fn newest(&self) -> u32 {
        let newest = Release::newest().kubernetes.minor();
        let last = |one: &Document| fields::versions(&one.api_version, &one.kind).map(|(_, last)| last);
        let own = self.0.iter().filter(|one| one.api_version.starts_with(fields::KUBEADM));
        own.filter_map(last).fold(newest, u32::min)
    }

    /// The line of a field, or of the innermost part of its path that is there.
    fn line_of(&self, path: &str) -> Option<u32> {
        let place = |one: &Document| {
            let path = path.strip_prefix(&one.kind).and_then(|rest| rest.strip_prefix('.')).unwrap_or(path);
            let (mut node, mut line, mut depth) = (&one.root, one.root.line, 0);
            for part in path.split('.') {
                let (name, rest) = part.split_once('[').map_or((part, None), |(name, rest)| (name, Some(rest)));
                let Tree::Map(members) = &node.value else { break };
                let Some((key, found)) = members.iter().find(|(key, _)| key.name == name) else { break };
                (node, line, depth) = (found, key.line, depth + 1);
                let item = rest.and_then(|rest| rest.trim_end_matches(']').parse::<usize>().ok());
                if let (Some(at), Tree::List(items)) = (item, &node.value)
                    && let Some(item) = items.get(at)
                {
                    (node, line) = (item, item.line);
                }
            }
            (depth, line)
        };
        // Of several documents the one that has most of it; the first one of those.
        let all = self.0.iter().map(place);
        all.fold(
            None,
            |best: Option<(u32, u32)>, one| if best.is_none_or(|best| one.0 > best.0) { Some(one) } else { best },
        )
        .filter(|(depth, _)| *depth > 0)
        .map(|(_, line)| line)
    }
}

impl Configuration {
    /// Looks whether it can be used with this version of Kubernetes, after something of it was changed.
    ///
    /// # Errors
    /// [`BadConfiguration::Value`] names the field that cannot.
    pub fn check(&self, version: &Version) -> Result<(), BadConfiguration> {
        validate::check(self, version.minor()).map_err(|error| self.located(error))
    }

    /// The same error with the line of its field, if the file has it.
    fn located(&self, error: BadConfiguration) -> BadConfiguration {
        match error {
            BadConfiguration::Value { line: None, field, why } => {
                BadConfiguration::Value { line: self.source.line_of(&field), field, why }
            }
            other => other,
        }
    }

    /// An error of a field, with its line if the file has it.
    #[must_use]
    pub fn refuse(&self, field: &str, why: impl Into<String>) -> BadConfiguration {
        self.located(bad(field, why))
    }

    /// What the file gives of kubeadm's own fields. Empty values, which mean that nothing is given, are left out.
    #[must_use]
    pub fn given(&self) -> Vec<Given> {
        let mut all = Vec::new();
        for one in self.source.0.iter().filter(|one| one.api_version.starts_with(fields::KUBEADM)) {
            given(&one.root, &one.kind, &one.api_version, &mut all);
        }
        all
    }

    /// The secrets that the file holds.
    #[must_use]
    pub fn secrets(&self) -> Vec<&str> {
        let init = self.init.iter().flat_map(|init| {
            let tokens = init.bootstrap_tokens.iter().filter_map(|one| one.token.as_ref());
            tokens.chain(&init.certificate_key)
        });
        let join = self.join.iter().flat_map(|join| {
            let found = join.discovery.bootstrap_token.iter().filter_map(|one| one.token.as_ref());
            let plane = join.control_plane.iter().filter_map(|plane| plane.certificate_key.as_ref());
            found.chain(&join.discovery.tls_bootstrap_token).chain(plane)
        });
        init.chain(join).map(Secret::reveal).collect()
    }

    /// The networks of Services, of one family or two.
    ///
    /// # Errors
    /// [`BadConfiguration::Value`] if `networking.serviceSubnet` holds something else.
    pub fn services(&self) -> Result<Vec<IpNet>, BadConfiguration> {
        network::networks("networking.serviceSubnet", &self.cluster.networking.service_subnet)
    }

    /// The networks of pods; none where a network plug-in gives nodes their ranges.
    ///
    /// # Errors
    /// [`BadConfiguration::Value`] if `networking.podSubnet` holds something else.
    pub fn pods(&self) -> Result<Vec<IpNet>, BadConfiguration> {
        network::networks("networking.podSubnet", &self.cluster.networking.pod_subnet)
    }

    fn algorithm(&self) -> Result<Algorithm, BadConfiguration> {
        let text = &self.cluster.encryption_algorithm;
        let algorithm =
            text.parse().map_err(|error: pki::BadAlgorithm| bad("encryptionAlgorithm", error.to_string()))?;
        // Where v1beta3 has no field for it, kubeadm has a feature gate.
        let ecdsa = self.cluster.feature_gates.get(features::ECDSA) == Some(&true);
        Ok(if ecdsa && algorithm == Algorithm::Rsa2048 { Algorithm::EcdsaP256 } else { algorithm })
    }

    /// How long a component of the control plane may take to start: `timeouts.controlPlaneComponentHealthCheck`, or
    /// `timeoutForControlPlane` in v1beta3; four minutes where neither is said.
    ///
    /// # Errors
    /// [`BadConfiguration::Value`] if it is no duration.
    pub fn start_within(&self) -> Result<SignedDuration, BadConfiguration> {
        let timeouts = self.init.as_ref().map(|init| &init.timeouts);
        let timeouts = timeouts.or_else(|| Some(&self.join.as_ref()?.timeouts));
        let said = timeouts.and_then(|timeouts| timeouts.control_plane_component_health_check.as_ref());
        let (field, said) = match said {
            Some(said) => ("timeouts.controlPlaneComponentHealthCheck", Some(said)),
            None => ("apiServer.timeoutForControlPlane", self.cluster.api_server.timeout_for_control_plane.as_ref()),
        };
        said.map_or(Ok(SignedDuration::from_mins(4)), |text| parse::duration(text).map_err(|why| bad(field, why)))
    }

    /// The port of API servers.
    #[must_use]
    pub fn bind_port(&self) -> u16 {
        self.endpoint().map_or(6443, |endpoint| endpoint.bind_port)
    }

    fn endpoint(&self) -> Option<&Endpoint> {
        let init = self.init.as_ref().map(|init| &init.local_api_endpoint);
        init.or_else(|| Some(&self.join.as_ref()?.control_plane.as_ref()?.local_api_endpoint))
    }

    /// What a control-plane node's PKI and components are made from. `node` and `advertise` are what the machine says
    /// of itself, for a file that does not name them.
    ///
    /// # Errors
    /// [`BadConfiguration::Value`] names the field that cannot be used.
    pub fn control_plane(
        &self,
        node: &str,
        advertise: IpAddr,
        now: Timestamp,
    ) -> Result<(Spec, ControlPlane), BadConfiguration> {
        let cluster = &self.cluster;
        let registration = self.init.as_ref().map(|init| &init.node_registration);
        let registration = registration.or_else(|| Some(&self.join.as_ref()?.node_registration));
        let node = registration.and_then(|one| one.name.clone()).unwrap_or_else(|| node.to_owned());
        let endpoint = self.endpoint();
        let named = endpoint.and_then(|endpoint| endpoint.advertise_address.as_deref());
        let advertise =
            named.map(|text| address("localAPIEndpoint.advertiseAddress", text)).transpose()?.unwrap_or(advertise);
        let port = self.bind_port();
        let local = cluster.etcd.local.clone().unwrap_or_default();
        let period = |field: &str, text: &str| parse::duration(text).map_err(|why| bad(field, why));
        let spec = Spec {
            port,
            services: self.services()?,
            domain: cluster.networking.dns_domain.clone(),
            cluster: cluster.cluster_name.clone(),
            endpoint: cluster.control_plane_endpoint.clone().filter(|endpoint| !endpoint.is_empty()),
            // As kubeadm does it, and only with these.
            apiserver_sans: cluster.api_server.cert_sans.iter().map(|san| san.to_lowercase()).collect(),
            etcd_server_sans: local.server_cert_sans.clone(),
            etcd_peer_sans: local.peer_cert_sans.clone(),
            etcd: if cluster.etcd.external.is_some() { pki::Etcd::External } else { pki::Etcd::Local },
            algorithm: self.algorithm()?,
            ca_period: period("caCertificateValidityPeriod", &cluster.ca_certificate_validity_period)?,
            period: period("certificateValidityPeriod", &cluster.certificate_validity_period)?,
            ..Spec::new(node.clone(), advertise, now)
        };
        let etcd = match &cluster.etcd.external {
            Some(external) => EtcdServers::External {
                endpoints: external.endpoints.clone(),
                ca: external.ca_file.clone().into(),
                client: (external.cert_file.clone().into(), external.key_file.clone().into()),
            },
            None => EtcdServers::Local { joins: Vec::new(), data: local.data_dir.clone().into() },
        };
        let plane = ControlPlane {
            node,
            advertise,
            port,
            services: self.services()?,
            pods: self.pods()?,
            domain: cluster.networking.dns_domain.clone(),
            cluster: cluster.cluster_name.clone(),
            pki: PathBuf::from(&cluster.certificates_dir),
            kubeconfigs: "/etc/kubernetes".into(),
            // Whoever knows the folder says otherwise.
            external_ca: false,
            etcd,
            extra: ExtraFlags {
                etcd: local.extra_args,
                apiserver: cluster.api_server.component.extra_args.clone(),
                controller_manager: cluster.controller_manager.extra_args.clone(),
                scheduler: cluster.scheduler.extra_args.clone(),
            },
        };
        Ok((spec, plane))
    }
}

fn address(field: &str, text: &str) -> Result<IpAddr, BadConfiguration> {
    parse::address(text).ok_or_else(|| bad(field, format!("'{text}' is not an IP address")))
}

fn given(node: &Node, path: &str, api_version: &str, all: &mut Vec<Given>) {
    let text = match &node.value {
        Tree::Map(members) => {
            let is_map = fields::is_map(api_version, path);
            for (key, node) in members {
                let path = if is_map { format!("{path}{{}}") } else { format!("{path}.{}", key.name) };
                // Of a map the names are what is given, too.
                if is_map && !matches!(node.value, Tree::Map(_)) {
                    let value = format!("{}={}", key.name, shown(&node.value));
                    all.push(Given { path, value, line: key.line });
                } else {
                    given(node, &path, api_version, all);
                }
            }
            return;
        }
        Tree::List(items) => return items.iter().for_each(|item| given(item, &format!("{path}[]"), api_version, all)),
        value => shown(value),
    };
    if !text.is_empty() && text != "0" {
        all.push(Given { path: path.to_owned(), value: text, line: node.line });
    }
}

fn shown(value: &Tree) -> String {
    match value {
        Tree::Text(text) => text.clone(),
        Tree::Bool(value) => value.to_string(),
        Tree::Int(value) => value.to_string(),
        Tree::Float(value) => value.to_string(),
        Tree::Null | Tree::List(_) | Tree::Map(_) => String::new(),
    }
}
