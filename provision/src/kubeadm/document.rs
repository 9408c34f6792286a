//! The documents, field by field, as kubeadm's API reference has them.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A token or key. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The secret itself, for the one who needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(not shown)")
    }
}

/// Flags by name and value: a map in v1beta3, a list of `name` and `value` in v1beta4.
fn flags<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Vec<(String, String)>, D::Error> {
    struct Flags;
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Flag {
        #[serde(default)]
        name: String,
        #[serde(default)]
        value: String,
    }
    impl<'d> Visitor<'d> for Flags {
        type Value = Vec<(String, String)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("flags: a list of name and value, or a map")
        }

        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: SeqAccess<'d>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut all = Vec::new();
            while let Some(Flag { name, value }) = list.next_element()? {
                all.push((name, value));
            }
            Ok(all)
        }

        fn visit_map<A: MapAccess<'d>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut all = Vec::new();
            while let Some(pair) = map.next_entry()? {
                all.push(pair);
            }
            Ok(all)
        }
    }
    deserializer.deserialize_any(Flags)
}

macro_rules! documents {
    ($($(#[$about:meta])* $name:ident { $($(#[$field_about:meta])* $field:ident: $kind:ty,)* })*) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields, default)]
        pub struct $name { $($(#[$field_about])* pub $field: $kind,)* }
    )*};
}

documents! {
    /// The cluster.
    ClusterConfiguration {
        /// Of the document.
        api_version: String,
        /// Of the document.
        kind: String,
        /// Where etcd runs.
        etcd: Etcd,
        /// Networks and names.
        networking: Networking,
        /// The version of the control plane.
        kubernetes_version: Option<String>,
        /// The address of all API servers together.
        control_plane_endpoint: Option<String>,
        /// The API server.
        api_server: ApiServer,
        /// The controller-manager.
        controller_manager: Component,
        /// The scheduler.
        scheduler: Component,
        /// CoreDNS.
        dns: Dns,
        /// kube-proxy.
        proxy: Proxy,
        /// The folder of the PKI.
        certificates_dir: String,
        /// Where images come from.
        image_repository: String,
        /// kubeadm's own feature gates.
        feature_gates: BTreeMap<String, bool>,
        /// The cluster's name.
        cluster_name: String,
        /// How keys are made.
        encryption_algorithm: String,
        /// How long certificates are valid, as Go writes durations.
        certificate_validity_period: String,
        /// How long CAs are valid, as Go writes durations.
        ca_certificate_validity_period: String,
    }
    /// The first node.
    #[derive(Default)]
    InitConfiguration {
        /// Of the document.
        api_version: String,
        /// Of the document.
        kind: String,
        /// Tokens with which nodes may join.
        bootstrap_tokens: Vec<BootstrapToken>,
        /// Only say what would be done?
        dry_run: bool,
        /// The node.
        node_registration: NodeRegistration,
        /// Its API server.
        #[serde(rename = "localAPIEndpoint")]
        local_api_endpoint: Endpoint,
        /// What the certificates in the Secret kubeadm-certs are encrypted with.
        certificate_key: Option<Secret>,
        /// Phases that are left out.
        skip_phases: Vec<String>,
        /// Patches of manifests.
        patches: Patches,
        /// How long each thing may take.
        timeouts: Timeouts,
    }
    /// A node that joins.
    JoinConfiguration {
        /// Of the document.
        api_version: String,
        /// Of the document.
        kind: String,
        /// Only say what would be done?
        dry_run: bool,
        /// The node.
        node_registration: NodeRegistration,
        /// Where the cluster's CA is put.
        ca_cert_path: String,
        /// How the cluster is found and trusted.
        discovery: Discovery,
        /// What a control-plane node has besides; `None` for a worker.
        control_plane: Option<JoinControlPlane>,
        /// Phases that are left out.
        skip_phases: Vec<String>,
        /// Patches of manifests.
        patches: Patches,
        /// How long each thing may take.
        timeouts: Timeouts,
    }
    /// Networks and names.
    Networking {
        /// Networks of Services, one a family.
        service_subnet: String,
        /// Networks of pods, one a family.
        pod_subnet: String,
        /// The cluster's DNS domain.
        dns_domain: String,
    }
    /// Where etcd runs; beside the control plane unless `external` is set.
    #[derive(Default)]
    Etcd {
        /// Beside the control plane.
        local: Option<LocalEtcd>,
        /// Elsewhere.
        external: Option<ExternalEtcd>,
    }
    /// An etcd beside the control plane.
    LocalEtcd {
        /// Where its image comes from.
        image_repository: Option<String>,
        /// Its image's tag.
        image_tag: Option<String>,
        /// Where it keeps its data.
        data_dir: String,
        /// The user's flags.
        #[serde(deserialize_with = "flags")]
        extra_args: Vec<(String, String)>,
        /// The user's environment.
        extra_envs: Vec<EnvVar>,
        /// More SANs of its server certificate.
        #[serde(rename = "serverCertSANs")]
        server_cert_sans: Vec<String>,
        /// More SANs of its peer certificate.
        #[serde(rename = "peerCertSANs")]
        peer_cert_sans: Vec<String>,
    }
    /// An etcd elsewhere.
    #[derive(Default)]
    ExternalEtcd {
        /// Its client URLs.
        endpoints: Vec<String>,
        /// Its URLs of health and metrics, where they are others.
        http_endpoints: Vec<String>,
        /// The CA of its servers.
        ca_file: String,
        /// A client's certificate.
        cert_file: String,
        /// A client's key.
        key_file: String,
    }
    /// A component of the control plane.
    #[derive(Default)]
    Component {
        /// The user's flags.
        #[serde(deserialize_with = "flags")]
        extra_args: Vec<(String, String)>,
        /// Folders of the node that it sees.
        extra_volumes: Vec<HostPathMount>,
        /// The user's environment.
        extra_envs: Vec<EnvVar>,
    }
    /// A folder or file of the node that a component sees.
    #[derive(Default)]
    HostPathMount {
        /// The volume's name.
        name: String,
        /// Where it is on the node.
        host_path: String,
        /// Where the component sees it.
        mount_path: String,
        /// May it not be written?
        read_only: bool,
        /// What must be there.
        path_type: Option<String>,
    }
    /// A variable of the environment.
    #[derive(Default)]
    EnvVar {
        /// Its name.
        name: String,
        /// Its value.
        value: Option<String>,
        /// Where its value comes from.
        value_from: Option<Value>,
    }
    /// CoreDNS.
    #[derive(Default)]
    Dns {
        /// Where its image comes from.
        image_repository: Option<String>,
        /// Its image's tag.
        image_tag: Option<String>,
        /// Is it left out?
        disabled: bool,
    }
    /// kube-proxy.
    #[derive(Default)]
    Proxy {
        /// Is it left out?
        disabled: bool,
    }
    /// A node's API server.
    Endpoint {
        /// The address that it advertises; the machine's own, if there is none.
        advertise_address: Option<String>,
        /// Its port.
        bind_port: u16,
    }
    /// How a node is registered.
    NodeRegistration {
        /// Its name; the machine's own, if there is none.
        name: Option<String>,
        /// The runtime's socket.
        cri_socket: Option<String>,
        /// Its taints; `None` for kubeadm's, an empty list for none.
        taints: Option<Vec<Taint>>,
        /// The kubelet's flags.
        #[serde(deserialize_with = "flags")]
        kubelet_extra_args: Vec<(String, String)>,
        /// Preflight checks whose errors are warnings.
        ignore_preflight_errors: Vec<String>,
        /// When images are pulled.
        image_pull_policy: String,
        /// One after the other?
        image_pull_serial: Option<bool>,
    }
    /// A taint.
    #[derive(Default)]
    Taint {
        /// Its key.
        key: String,
        /// Its value.
        value: Option<String>,
        /// What it does to pods.
        effect: String,
        /// Since when.
        time_added: Option<String>,
    }
    /// How a cluster is found and trusted.
    #[derive(Default)]
    Discovery {
        /// By a bootstrap token and the CA's hash.
        bootstrap_token: Option<TokenDiscovery>,
        /// By a kubeconfig.
        file: Option<FileDiscovery>,
        /// The token with which the kubelet asks for its certificate.
        tls_bootstrap_token: Option<Secret>,
        /// v1beta3: how long it may take.
        timeout: Option<String>,
    }
    /// Discovery by a bootstrap token.
    #[derive(Default)]
    TokenDiscovery {
        /// The token.
        token: Option<Secret>,
        /// An API server.
        api_server_endpoint: Option<String>,
        /// Hashes of the CA's public key: `sha256:` and hex.
        ca_cert_hashes: Vec<String>,
        /// Trust whatever CA is there?
        #[serde(rename = "unsafeSkipCAVerification")]
        unsafe_skip_ca_verification: bool,
    }
    /// Discovery by a kubeconfig.
    #[derive(Default)]
    FileDiscovery {
        /// Its path or URL.
        kube_config_path: String,
    }
    /// What a control-plane node has that joins.
    #[derive(Default)]
    JoinControlPlane {
        /// Its API server.
        #[serde(rename = "localAPIEndpoint")]
        local_api_endpoint: Endpoint,
        /// What the certificates in the Secret kubeadm-certs are encrypted with.
        certificate_key: Option<Secret>,
    }
    /// A token with which nodes may join.
    #[derive(Default)]
    BootstrapToken {
        /// The token.
        token: Option<Secret>,
        /// What it is for.
        description: Option<String>,
        /// How long it lives.
        ttl: Option<String>,
        /// When it ends.
        expires: Option<String>,
        /// What it may do.
        usages: Vec<String>,
        /// The groups of who shows it.
        groups: Vec<String>,
    }
    /// Patches of manifests.
    #[derive(Default)]
    Patches {
        /// Their folder.
        directory: Option<String>,
    }
    /// How long each thing may take, as Go writes durations.
    #[derive(Default)]
    Timeouts {
        /// A component of the control plane.
        control_plane_component_health_check: Option<String>,
        /// The kubelet.
        kubelet_health_check: Option<String>,
        /// A call of the API.
        #[serde(rename = "kubernetesAPICall")]
        kubernetes_api_call: Option<String>,
        /// A call of etcd.
        #[serde(rename = "etcdAPICall")]
        etcd_api_call: Option<String>,
        /// The kubelet's certificate.
        tls_bootstrap: Option<String>,
        /// Discovery.
        discovery: Option<String>,
        /// The upgrade of a manifest.
        upgrade_manifests: Option<String>,
    }
}

/// The API server.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(from = "FlatApiServer")]
pub struct ApiServer {
    /// What it has in common with the others.
    pub component: Component,
    /// More SANs of its certificate.
    pub cert_sans: Vec<String>,
    /// v1beta3: how long the control plane may take.
    pub timeout_for_control_plane: Option<String>,
}

/// As it stands in the document: serde cannot both flatten and refuse unknown fields.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct FlatApiServer {
    #[serde(deserialize_with = "flags")]
    extra_args: Vec<(String, String)>,
    extra_volumes: Vec<HostPathMount>,
    extra_envs: Vec<EnvVar>,
    #[serde(rename = "certSANs")]
    cert_sans: Vec<String>,
    timeout_for_control_plane: Option<String>,
}

impl From<FlatApiServer> for ApiServer {
    fn from(flat: FlatApiServer) -> Self {
        let FlatApiServer { extra_args, extra_volumes, extra_envs, cert_sans, timeout_for_control_plane } = flat;
        Self { component: Component { extra_args, extra_volumes, extra_envs }, cert_sans, timeout_for_control_plane }
    }
}

impl Default for ClusterConfiguration {
    fn default() -> Self {
        Self {
            api_version: String::new(),
            kind: String::new(),
            etcd: Etcd::default(),
            networking: Networking::default(),
            kubernetes_version: None,
            control_plane_endpoint: None,
            api_server: ApiServer::default(),
            controller_manager: Component::default(),
            scheduler: Component::default(),
            dns: Dns::default(),
            proxy: Proxy::default(),
            certificates_dir: "/etc/kubernetes/pki".to_owned(),
            image_repository: "registry.k8s.io".to_owned(),
            feature_gates: BTreeMap::new(),
            cluster_name: "kubernetes".to_owned(),
            encryption_algorithm: "RSA-2048".to_owned(),
            certificate_validity_period: "8760h0m0s".to_owned(),
            ca_certificate_validity_period: "87600h0m0s".to_owned(),
        }
    }
}

impl Default for JoinConfiguration {
    fn default() -> Self {
        Self {
            api_version: String::new(),
            kind: String::new(),
            dry_run: false,
            node_registration: NodeRegistration::default(),
            ca_cert_path: "/etc/kubernetes/pki/ca.crt".to_owned(),
            discovery: Discovery::default(),
            control_plane: None,
            skip_phases: Vec::new(),
            patches: Patches::default(),
            timeouts: Timeouts::default(),
        }
    }
}

impl Default for Networking {
    fn default() -> Self {
        let (service_subnet, dns_domain) = ("10.96.0.0/12".to_owned(), "cluster.local".to_owned());
        Self { service_subnet, pod_subnet: String::new(), dns_domain }
    }
}

impl Default for LocalEtcd {
    fn default() -> Self {
        Self {
            image_repository: None,
            image_tag: None,
            data_dir: "/var/lib/etcd".to_owned(),
            extra_args: Vec::new(),
            extra_envs: Vec::new(),
            server_cert_sans: Vec::new(),
            peer_cert_sans: Vec::new(),
        }
    }
}

impl Default for Endpoint {
    fn default() -> Self {
        Self { advertise_address: None, bind_port: 6443 }
    }
}

impl Default for NodeRegistration {
    fn default() -> Self {
        Self {
            name: None,
            cri_socket: None,
            taints: None,
            kubelet_extra_args: Vec::new(),
            ignore_preflight_errors: Vec::new(),
            image_pull_policy: "IfNotPresent".to_owned(),
            image_pull_serial: None,
        }
    }
}
