//! kubeadm's configuration files: `ClusterConfiguration`, `InitConfiguration` and `JoinConfiguration` of v1beta3 and v1beta4,
//! with the `KubeletConfiguration` and `KubeProxyConfiguration` that stand beside them.
//!
//! Both versions are read into one form, with kubeadm's defaults. A field that the version does not have is an error with its
//! line, never passed over.

mod document;
mod network;

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;

pub use document::{
    ApiServer, BootstrapToken, ClusterConfiguration, Component, Discovery, Dns, Endpoint, EnvVar, Etcd, ExternalEtcd,
    FileDiscovery, HostPathMount, InitConfiguration, JoinConfiguration, JoinControlPlane, LocalEtcd, Networking,
    NodeRegistration, Patches, Proxy, Secret, Taint, Timeouts, TokenDiscovery,
};

use crate::control_plane::{ControlPlane, EtcdServers, ExtraFlags};
use crate::pki::{self, Algorithm, Spec};

/// Why a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadConfiguration {
    /// It does not parse, or has a field that its version does not have.
    #[error("line {line}: {why}")]
    Syntax {
        /// Line of the file, counted from 1.
        line: u32,
        /// Why.
        why: String,
    },
    /// A value cannot be used.
    #[error("{field}: {why}")]
    Value {
        /// The field, as a dotted path.
        field: String,
        /// Why.
        why: String,
    },
}

fn bad(field: &str, why: impl Into<String>) -> BadConfiguration {
    BadConfiguration::Value { field: field.to_owned(), why: why.into() }
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
}

/// The head of a document.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
}

/// Reads a configuration file of one or more documents.
///
/// # Errors
/// [`BadConfiguration`] with the line, or the field and what it ought to be.
pub fn read(text: &str) -> Result<Configuration, BadConfiguration> {
    let mut found = Configuration::default();
    let mut kinds: Vec<String> = Vec::new();
    for (first, document) in documents(text) {
        if document.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            continue;
        }
        // Empty lines in front keep the lines of errors those of the file.
        let document = format!("{}{document}", "\n".repeat(first));
        let head: Head = parse(&document, first)?;
        let here = |why: String| BadConfiguration::Syntax { line: line(first) + 1, why };
        if kinds.contains(&head.kind) {
            return Err(here(format!("there are two documents of kind {}", head.kind)));
        }
        let group = head.api_version.split('/').next().unwrap_or_default();
        match (group, head.kind.as_str()) {
            ("kubeadm.k8s.io", kind) => {
                let version = document::version(&head.api_version)
                    .ok_or_else(|| here(format!("{} is not read: v1beta4 or v1beta3 is wanted", head.api_version)))?;
                match kind {
                    "ClusterConfiguration" => found.cluster = document::cluster(&document, first, version)?,
                    "InitConfiguration" => found.init = Some(document::init(&document, first, version)?),
                    "JoinConfiguration" => found.join = Some(document::join(&document, first, version)?),
                    // They say nothing of how a cluster is set up.
                    "ResetConfiguration" | "UpgradeConfiguration" => {}
                    _ => return Err(here(format!("kubeadm has no kind '{kind}'"))),
                }
            }
            ("kubelet.config.k8s.io", "KubeletConfiguration") => found.kubelet = Some(parse(&document, first)?),
            ("kubeproxy.config.k8s.io", "KubeProxyConfiguration") => found.kube_proxy = Some(parse(&document, first)?),
            _ => {
                return Err(here(format!(
                    "apiVersion '{}' and kind '{}' are none of kubeadm's",
                    head.api_version, head.kind
                )));
            }
        }
        kinds.push(head.kind);
    }
    found.check()?;
    Ok(found)
}

/// The documents of a file, each with the number of lines before it.
fn documents(text: &str) -> Vec<(usize, String)> {
    let mut all = vec![(0, String::new())];
    for (number, line) in text.lines().enumerate() {
        if line == "---" || line.starts_with("--- ") {
            all.push((number + 1, String::new()));
        } else if let Some((_, document)) = all.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    all
}

fn line(lines_before: usize) -> u32 {
    u32::try_from(lines_before).unwrap_or(u32::MAX)
}

/// Parses a document; the error has its line, and the first line of what the library says of it.
fn parse<'d, T: Deserialize<'d>>(document: &'d str, first: usize) -> Result<T, BadConfiguration> {
    serde_saphyr::from_str(document).map_err(|error| {
        let at =
            error.location().map_or(line(first) + 1, |location| u32::try_from(location.line()).unwrap_or(u32::MAX));
        let text = error.without_snippet().to_string();
        let why = text.lines().next().unwrap_or_default();
        // The place stands in front of our own message.
        let why = why.split_once(" at line ").map_or(why, |(why, _)| why);
        BadConfiguration::Syntax { line: at, why: why.to_owned() }
    })
}

impl Configuration {
    /// Looks whether it can be used.
    ///
    /// # Errors
    /// [`BadConfiguration::Value`] names the field that cannot.
    pub fn check(&self) -> Result<(), BadConfiguration> {
        let cluster = &self.cluster;
        network::check(&self.services()?, &self.pods()?)?;
        self.algorithm()?;
        if cluster.etcd.local.is_some() && cluster.etcd.external.is_some() {
            return Err(bad("etcd", "local and external are both set: etcd runs in one place"));
        }
        if let Some(external) = &cluster.etcd.external
            && external.endpoints.is_empty()
        {
            return Err(bad("etcd.external.endpoints", "there is none"));
        }
        if let Some(init) = &self.init {
            let field = "localAPIEndpoint.advertiseAddress";
            init.local_api_endpoint.advertise_address.as_deref().map(|text| address(field, text)).transpose()?;
        }
        Ok(())
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
        text.parse().map_err(|error: pki::BadAlgorithm| bad("encryptionAlgorithm", error.to_string()))
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
        let parse = |text: &String| {
            text.parse().map_err(|error| bad(field, format!("'{text}' is no duration as 4m0s is one: {error}")))
        };
        said.map_or(Ok(SignedDuration::from_mins(4)), parse)
    }

    fn endpoint(&self) -> Option<&Endpoint> {
        let init = self.init.as_ref().map(|init| &init.local_api_endpoint);
        init.or_else(|| Some(&self.join.as_ref()?.control_plane.as_ref()?.local_api_endpoint))
    }

    /// What a control-plane node's PKI and components are made from. `node` and `advertise` are what the machine says of
    /// itself, for a file that does not name them.
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
        let port = endpoint.map_or(6443, |endpoint| endpoint.bind_port);
        let local = cluster.etcd.local.clone().unwrap_or_default();
        let period = |field: &str, text: &str| {
            text.parse::<SignedDuration>().map_err(|error| bad(field, format!("'{text}' is no duration: {error}")))
        };
        let spec = Spec {
            port,
            services: self.services()?,
            domain: cluster.networking.dns_domain.clone(),
            endpoint: cluster.control_plane_endpoint.clone().filter(|endpoint| !endpoint.is_empty()),
            apiserver_sans: cluster.api_server.cert_sans.clone(),
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
    text.parse().map_err(|_| bad(field, format!("'{text}' is no IP address")))
}
