//! What a cluster is to be: a YAML document, or the flags of `seaworthy cluster up`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::documents::mismatch;
use crate::host::pod::MANIFESTS;
use crate::kubeadm::{self, BadConfiguration};

/// The most hosts that a cluster may have: their addresses are of one /24.
const MOST_HOSTS: usize = 200;

/// The most simulated nodes: a /10 has networks of pods for as many.
const MOST_SIMULATED: u32 = 16_000;

/// A cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClusterSpec {
    /// Its name: lower-case letters, digits and hyphens, at most 32 of them.
    pub name: String,
    /// Kubernetes' version.
    pub kubernetes: Option<String>,
    /// How many control planes; an odd number keeps etcd's quorum worth its members.
    pub control_planes: usize,
    /// How many workers.
    pub workers: usize,
    /// What the control planes are made of.
    pub control_plane: ControlPlaneSpec,
    /// Where etcd runs.
    pub etcd: EtcdSpec,
    /// Addresses and networks.
    pub network: NetworkSpec,
    /// What stands before the API servers; by default ours where there are several.
    pub load_balancer: Option<LoadBalancer>,
    /// Are writes of etcd on disk before they are acknowledged?
    pub durability: Durability,
    /// What etcd's disks are.
    pub disks: Disks,
    /// How Services become packets.
    pub proxy: ProxyMode,
    /// Zones by name; hosts are spread over them in turn.
    pub zones: Vec<String>,
    /// Nodes without a kubelet, for which one process speaks.
    pub simulated: SimulatedSpec,
    /// What is particular to a host, by its name: `cp1`, `worker2`, `etcd1`.
    pub nodes: BTreeMap<String, NodeSpec>,
    /// A folder like kubeadm's `/etc/kubernetes`: its pki and kubeconfigs are what the first control plane begins with,
    /// and what it lacks is issued. A CA without its key there is external, as kubeadm has it: whoever keeps it has
    /// issued everything.
    pub credentials: Option<PathBuf>,
    /// kubeadm's documents (`ClusterConfiguration`, `KubeletConfiguration`, …), as text. What the rest of this
    /// specification says stands above them.
    pub kubeadm: Option<String>,
    /// Objects that are created with the add-ons, as YAML documents. The fields of one that is an add-on's own, such as
    /// the Deployment coredns, are merged into it.
    pub manifests: Option<String>,
}

/// Nodes that are only simulated: the API server cannot tell, and no container runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SimulatedSpec {
    /// How many Linux nodes.
    pub nodes: u32,
    /// How many Windows nodes.
    pub windows: u32,
    /// The build of Windows: `10.0.20348`.
    pub windows_build: String,
}

impl Default for SimulatedSpec {
    fn default() -> Self {
        Self { nodes: 0, windows: 0, windows_build: "10.0.20348".to_owned() }
    }
}

impl SimulatedSpec {
    /// How many nodes there are.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.nodes.saturating_add(self.windows)
    }
}

/// What control planes are made of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ControlPlaneSpec {
    /// Are the hosts of control planes nodes, with a kubelet? By default where static pods need one.
    pub nodes: Option<bool>,
    /// As what their components run.
    pub run_as: RunAs,
    /// Files of every control plane by their paths below `/etc/kubernetes`, such as an audit policy that a flag names.
    pub files: BTreeMap<String, String>,
}

/// As what the components of a control plane run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RunAs {
    /// Processes of the host, which start in a fraction of the time.
    #[default]
    Processes,
    /// Static pods of the host's kubelet, from images, as kubeadm has it. An external etcd is processes nevertheless.
    StaticPods,
}

/// Where etcd runs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EtcdSpec {
    /// Beside the control planes, or on hosts of its own.
    pub topology: EtcdTopology,
    /// How many members an external etcd has; stacked, there is one beside each control plane.
    pub members: Option<usize>,
    /// etcd's version.
    pub version: Option<String>,
}

/// Where etcd's members are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EtcdTopology {
    /// One beside each control plane.
    #[default]
    Stacked,
    /// On hosts of their own.
    External,
}

/// Addresses and networks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NetworkSpec {
    /// The IP families, the first one first.
    pub families: Vec<Family>,
    /// Networks of the hosts, one a family; by default one that nothing on this machine has.
    #[schemars(with = "Vec<String>")]
    pub hosts: Vec<IpNet>,
    /// Networks of pods, one a family.
    #[schemars(with = "Vec<String>")]
    pub pods: Vec<IpNet>,
    /// Networks of Services, one a family.
    #[schemars(with = "Vec<String>")]
    pub services: Vec<IpNet>,
    /// How far apart zones are.
    pub delays: Vec<ZoneDelay>,
}

/// An IP family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// That of a network.
    #[must_use]
    pub fn of(network: &IpNet) -> Self {
        if network.addr().is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// What stands before API servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LoadBalancer {
    /// Nothing: clients go to the first control plane.
    None,
    /// Ours.
    Seaworthy,
    /// haproxy, as kubeadm's guide has it.
    Haproxy,
}

/// When writes are on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Before they are acknowledged: etcd waits for fsync.
    #[default]
    Fsync,
    /// Some time later: faster, and lost when the power goes.
    Fast,
}

/// What etcd's disks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Disks {
    /// The machine's own.
    #[default]
    Plain,
    /// Ones that faults can be put on: slow, full, failing, and losing what was not synced when the power goes.
    Faulty,
}

/// How far apart two zones are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ZoneDelay {
    /// The two zones.
    pub between: [String; 2],
    /// How late frames come, one way: `5ms`.
    delay: String,
}

impl ZoneDelay {
    /// How late frames come, one way; none where that is no time, which [`ClusterSpec::check`] refuses.
    #[must_use]
    pub fn delay(&self) -> Duration {
        self.delay.parse::<jiff::SignedDuration>().map_or(Duration::ZERO, jiff::SignedDuration::unsigned_abs)
    }
}

/// kube-proxy's mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProxyMode {
    /// nftables where that is kube-proxy's stable mode (1.33), iptables before.
    #[default]
    Auto,
    /// kubeadm's default.
    Iptables,
    /// The newer one.
    Nftables,
}

/// What is particular to a host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NodeSpec {
    /// Its zone.
    pub zone: Option<String>,
    /// Its Kubernetes version, where it is another than the cluster's.
    pub kubernetes: Option<String>,
    /// Its etcd version, where it is another than the cluster's.
    pub etcd: Option<String>,
}

impl Default for ClusterSpec {
    fn default() -> Self {
        Self {
            name: "sea".to_owned(),
            kubernetes: None,
            control_planes: 1,
            workers: 0,
            control_plane: ControlPlaneSpec::default(),
            etcd: EtcdSpec::default(),
            network: NetworkSpec::default(),
            load_balancer: None,
            durability: Durability::default(),
            disks: Disks::default(),
            proxy: ProxyMode::default(),
            zones: Vec::new(),
            simulated: SimulatedSpec::default(),
            nodes: BTreeMap::new(),
            credentials: None,
            kubeadm: None,
            manifests: None,
        }
    }
}

impl Default for NetworkSpec {
    fn default() -> Self {
        Self {
            families: vec![Family::V4],
            hosts: Vec::new(),
            pods: Vec::new(),
            services: Vec::new(),
            delays: Vec::new(),
        }
    }
}

/// Why a specification cannot be met.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSpec {
    /// It does not parse, or has a field that there is not.
    #[error("line {line}, column {column}: {why}")]
    Syntax {
        /// Line, counted from 1.
        line: u64,
        /// Column, counted from 1.
        column: u64,
        /// Why.
        why: String,
    },
    /// A value cannot be used.
    #[error("{field}: {why}")]
    Value {
        /// The field, as a dotted path.
        field: String,
        /// Why, and what could be used.
        why: String,
    },
    /// kubeadm's documents in it.
    #[error("kubeadm: {0}")]
    Kubeadm(#[from] kubeadm::BadConfiguration),
}

pub(super) fn bad(field: &str, why: impl Into<String>) -> BadSpec {
    BadSpec::Value { field: field.to_owned(), why: why.into() }
}

impl ClusterSpec {
    /// The JSON schema of a specification.
    #[must_use]
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }

    /// Reads a specification.
    ///
    /// # Errors
    /// [`BadSpec`] with the line, or the field and what it ought to be.
    pub fn read(text: &str) -> Result<Self, BadSpec> {
        // The library's own words would advise its callers, not users.
        if let Err(BadConfiguration::Syntax { line, why }) = kubeadm::check_yaml(text) {
            return Err(BadSpec::Syntax { line: line.into(), column: 1, why });
        }
        let spec: Self = serde_saphyr::from_str(text).map_err(|error| {
            let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
            let text = error.without_snippet().to_string();
            let why = text.lines().next().unwrap_or_default();
            let why = why.split_once(" at line ").map_or(why, |(why, _)| why).to_owned();
            BadSpec::Syntax { line, column, why }
        })?;
        spec.check()?;
        Ok(spec)
    }

    /// Looks whether it can be met.
    ///
    /// # Errors
    /// [`BadSpec::Value`] names the field and what it ought to be.
    pub fn check(&self) -> Result<(), BadSpec> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let name = &self.name;
        if name.is_empty()
            || name.len() > 32
            || !name.bytes().all(plain)
            || name.starts_with('-')
            || name.ends_with('-')
        {
            return Err(bad(
                "name",
                format!("'{name}' is no name of a cluster: a-z, 0-9 and hyphens within, 32 at most"),
            ));
        }
        if self.control_planes == 0 {
            return Err(bad("controlPlanes", "there must be one at least"));
        }
        if self.hosts() > MOST_HOSTS {
            return Err(bad("workers", format!("{} hosts are more than {MOST_HOSTS}", self.hosts())));
        }
        if self.etcd.topology == EtcdTopology::Stacked && self.etcd.members.is_some_and(|n| n != self.control_planes) {
            return Err(bad("etcd.members", "stacked, etcd has a member beside each control plane: leave it out"));
        }
        if self.etcd.members == Some(0) {
            return Err(bad("etcd.members", "there must be one at least"));
        }
        if self.load_balancer == Some(LoadBalancer::None) && self.control_planes > 1 {
            return Err(bad("loadBalancer", "several control planes need one: seaworthy or haproxy"));
        }
        if let Some(folder) = self.credentials.as_ref().filter(|folder| !folder.is_absolute()) {
            return Err(bad("credentials", format!("{} is no absolute path", folder.display())));
        }
        super::manifests::read(self.manifests.as_deref().unwrap_or_default()).map_err(|why| bad("manifests", why))?;
        self.check_networks()?;
        for zone in &self.zones {
            if zone.is_empty() || zone.len() > 63 || !zone.bytes().all(plain) {
                return Err(bad("zones", format!("'{zone}' is no label's value")));
            }
        }
        for delay in &self.network.delays {
            if let Some(zone) = delay.between.iter().find(|zone| !self.zones.contains(zone)) {
                return Err(bad("network.delays", format!("'{zone}' is none of the zones")));
            }
            if delay.between[0] == delay.between[1] {
                return Err(bad("network.delays", format!("'{}' is not away from itself", delay.between[0])));
            }
            if delay.delay().is_zero() {
                return Err(bad("network.delays", format!("'{}' is no time: write it as 5ms", delay.delay)));
            }
        }
        self.release()?;
        for (name, node) in &self.nodes {
            let field = |part: &str| format!("nodes.{name}.{part}");
            if let Some(zone) = &node.zone
                && !self.zones.contains(zone)
            {
                return Err(bad(&field("zone"), format!("'{zone}' is none of the zones")));
            }
            self.release_of(name)?;
        }
        let configuration = self.configuration()?;
        self.check_simulated(&configuration.pods()?)?;
        if self.has_static_pods() {
            if !self.control_planes_are_nodes() {
                return Err(bad("controlPlane.nodes", "static pods need the kubelet of a node: leave it out"));
            }
            let path = configuration.kubelet.as_ref().and_then(|kubelet| kubelet["staticPodPath"].as_str());
            if let Some(path) = path.filter(|path| Path::new(path) != Path::new(MANIFESTS)) {
                let why = format!("staticPodPath is {path}: kubeadm's manifests are in {MANIFESTS}");
                return Err(bad("kubeadm", why));
            }
        }
        Ok(())
    }

    fn check_simulated(&self, pods: &[IpNet]) -> Result<(), BadSpec> {
        let total = self.simulated.total();
        if total > MOST_SIMULATED {
            return Err(bad("simulated.nodes", format!("{total} simulated nodes are more than {MOST_SIMULATED}")));
        }
        // What the controller-manager gives each node of it.
        let room = |network: &IpNet| {
            let node = if network.addr().is_ipv4() { 24 } else { 64 };
            1_u64 << u32::from(node - network.prefix_len().min(node))
        };
        let all = u64::from(total) + (self.workers + self.control_planes) as u64;
        match pods.iter().find(|network| total > 0 && room(network) < all) {
            Some(small) => {
                let room = room(small);
                Err(bad(
                    "simulated.nodes",
                    format!("{small} has networks of pods for {room} nodes, and there are {all}"),
                ))
            }
            None => Ok(()),
        }
    }

    fn check_networks(&self) -> Result<(), BadSpec> {
        let network = &self.network;
        match network.families[..] {
            [] => return Err(bad("network.families", "there must be one: v4 or v6")),
            [a, b] if a == b => return Err(bad("network.families", "a family stands there twice")),
            [_, _, _, ..] => return Err(bad("network.families", "there are only two: v4 and v6")),
            _ => {}
        }
        let fields = [("hosts", &network.hosts), ("pods", &network.pods), ("services", &network.services)];
        for (field, networks) in fields {
            let families: Vec<_> = networks.iter().map(Family::of).collect();
            if !families.is_empty()
                && let Some(why) = mismatch(&families, &network.families)
            {
                return Err(bad(&format!("network.{field}"), why));
            }
        }
        let all = fields.iter().flat_map(|(field, networks)| networks.iter().map(move |network| (*field, network)));
        let all: Vec<_> = all.collect();
        for (at, (field, a)) in all.iter().enumerate() {
            if let Some((other, b)) = all[..at].iter().find(|(_, b)| a.contains(*b) || b.contains(*a)) {
                return Err(bad(&format!("network.{field}"), format!("{a} overlaps network.{other}, {b}")));
            }
        }
        for hosts in &network.hosts {
            let bits = hosts.max_prefix_len() - hosts.prefix_len();
            if bits < 8 {
                return Err(bad("network.hosts", format!("{hosts} is too small: 256 addresses are needed")));
            }
        }
        for pods in &network.pods {
            let node = if pods.addr().is_ipv4() { 24 } else { 64 };
            if pods.prefix_len() >= node {
                return Err(bad("network.pods", format!("{pods} is too small: each node gets a /{node} of it")));
            }
            if node - pods.prefix_len() > 16 {
                return Err(bad(
                    "network.pods",
                    format!("{pods} is too large: /{} at most, since each node gets a /{node}", node - 16),
                ));
            }
        }
        Ok(())
    }

    fn hosts(&self) -> usize {
        self.control_planes + self.workers + self.etcd_hosts() + 2
    }

    /// How many hosts etcd has for itself.
    #[must_use]
    pub fn etcd_hosts(&self) -> usize {
        match self.etcd.topology {
            EtcdTopology::Stacked => 0,
            EtcdTopology::External => self.etcd.members.unwrap_or(3),
        }
    }

    /// Do control planes have kubelets?
    #[must_use]
    pub fn control_planes_are_nodes(&self) -> bool {
        self.control_plane.nodes.unwrap_or(self.has_static_pods())
    }

    /// Are control planes static pods?
    #[must_use]
    pub fn has_static_pods(&self) -> bool {
        self.control_plane.run_as == RunAs::StaticPods
    }

    /// What stands before the API servers.
    #[must_use]
    pub fn balancer(&self) -> LoadBalancer {
        let default = if self.control_planes > 1 { LoadBalancer::Seaworthy } else { LoadBalancer::None };
        self.load_balancer.unwrap_or(default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_read_and_its_faults_are_placed() {
        let spec =
            ClusterSpec::read("name: bay\ncontrolPlanes: 3\nworkers: 2\nnetwork: {families: [v4, v6]}\n").unwrap();
        assert_eq!((spec.control_planes, spec.balancer()), (3, LoadBalancer::Seaworthy));
        let configuration = spec.configuration().unwrap();
        assert_eq!(configuration.cluster.networking.service_subnet, "10.96.0.0/12,fd00:10:96::/112");
        for (text, part) in [
            ("name: bay\nworker: 2\n", "line 2"),
            ("name: Bay\n", "'Bay' is no name"),
            ("controlPlanes: 0\n", "one at least"),
            ("network: {families: [v4, v4]}\n", "twice"),
            ("network: {pods: [10.0.0.0/16], services: [10.0.1.0/24]}\n", "overlaps"),
            ("network: {families: [v6], services: ['fd00::/64']}\n", "too large"),
            ("network: {pods: [10.244.0.0/24]}\n", "too small"),
            ("simulated: {nodes: 400}\nnetwork: {pods: [10.244.0.0/16]}\n", "for 256 nodes, and there are 401"),
            ("simulated: {nodes: 16001}\n", "more than 16000"),
            (
                "network: {families: [v6]}\n\
                 kubeadm: |\n  apiVersion: kubeadm.k8s.io/v1beta4\n  kind: ClusterConfiguration\n  networking: \
                 {podSubnet: 10.244.0.0/16}\n",
                "kubeadm: line 3: networking.podSubnet: its families are IPv4, and network.families names IPv6",
            ),
            (
                "network: {families: [v4, v6], pods: ['fd00:10:244::/56', 10.244.0.0/16]}\n",
                "network.pods: the order of its families is IPv6, IPv4, and that of network.families IPv4, IPv6",
            ),
            (
                "network: {families: [v4, v6]}\n\
                 kubeadm: |\n  apiVersion: kubeadm.k8s.io/v1beta4\n  kind: ClusterConfiguration\n  networking: \
                 {serviceSubnet: 'fd00:10:96::/112,10.96.0.0/12'}\n",
                "line 3: networking.serviceSubnet: the order of its families",
            ),
            ("name: a\nname: b\n", "line 2, column 1: the key 'name' is given twice"),
            ("kubernetes: v1.99.0\n", "kubernetes: Kubernetes v1.99.0 is not known here: 1.23 to 1.37 are"),
            (
                "kubeadm: |\n  apiVersion: kubeadm.k8s.io/v1beta4\n  kind: ClusterConfiguration\n  kubernetesVersion: \
                 v1.99.0\n",
                "kubeadm: line 3: kubernetesVersion: Kubernetes v1.99.0 is not known here: 1.23 to 1.37 are",
            ),
            ("kubernetes: '1.37'\n", "no version"),
            ("manifests: 'kind: Pod'\n", "manifests: object 1 has no apiVersion"),
            ("zones: [a]\nnodes: {cp1: {zone: b}}\n", "none of the zones"),
            ("controlPlanes: 3\nloadBalancer: none\n", "need one"),
            ("controlPlane: {runAs: pods}\n", "line 1"),
            ("controlPlane: {runAs: static-pods, nodes: false}\n", "need the kubelet"),
            (
                "controlPlane: {runAs: static-pods}\n\
                 kubeadm: |\n  apiVersion: kubelet.config.k8s.io/v1beta1\n  kind: KubeletConfiguration\n  \
                 staticPodPath: /etc/pods\n",
                "staticPodPath is /etc/pods",
            ),
            (
                "kubeadm: |\n  apiVersion: kubeadm.k8s.io/v1beta4\n  kind: ClusterConfiguration\n  certSANs: []\n",
                "line 3",
            ),
        ] {
            let error = ClusterSpec::read(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
