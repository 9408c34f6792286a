//! What becomes of each field of kubeadm's own documents in a cluster of ours: it is applied, or refused by name. None
//! is passed over.
//!
//! [`ROWS`] is data; a test holds it against the list of kubeadm's fields
//! ([`kubeadm::fields`](crate::kubeadm::fields)), sets each field, and looks for it in what would be applied.
//! `docs/kubeadm-fields.md` is made from it.

use std::net::IpAddr;

use crate::kubeadm::{BadConfiguration, Configuration, Given, features, parse};

use super::phases::PHASES;
use super::plan::{HARBOR, Plan};
use super::spec::{BadSpec, Disks, LoadBalancer};

/// A cluster that a file is for.
#[derive(Debug)]
pub struct For<'a> {
    plan: &'a Plan,
    configuration: &'a Configuration,
}

type Refuses = fn(&For<'_>, &str) -> Option<String>;

/// What becomes of a field.
#[derive(Debug, Clone, Copy)]
pub enum Becomes {
    /// It is applied; where it is seen.
    Applied(&'static str),
    /// These values are what a cluster of ours does anyway; others are refused, for this reason.
    Only(&'static [&'static str], &'static str),
    /// It is applied, unless this has a reason against a value; what is accepted.
    Unless(Refuses, &'static str),
    /// It is refused, for this reason.
    Refused(&'static str),
}

/// A field with all that is below it, unless a longer path has a row of its own.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Kind and path.
    pub field: &'static str,
    /// What becomes of it.
    pub becomes: Becomes,
}

use Becomes::{Applied, Only, Refused, Unless};

const fn row(field: &'static str, becomes: Becomes) -> Row {
    Row { field, becomes }
}

const FLAGS: Becomes = Applied("flags of the component");
const VOLUMES: Becomes =
    Unless(volumes, "volumes of the static pod; processes see their whole host: refused without static pods");
const ENVS: Becomes = Applied("environment of the component");
const FROM: Becomes = Unless(value_from, "environment of the static pod; refused without static pods");
const WAIT: &str = "the engine waits four minutes for everything but components of the control plane";
const PULL: &str = "no image is pulled before the kubelet asks for it";
const HOSTS: &str = "hosts have names and addresses of the cluster's own";

/// All of them.
pub static ROWS: &[Row] = &[
    row("ClusterConfiguration", Refused("the engine does not know this field")),
    row("ClusterConfiguration.apiVersion", Applied("the form of the document")),
    row("ClusterConfiguration.kind", Applied("the form of the document")),
    row("ClusterConfiguration.apiServer.certSANs", Applied("SANs of the API server's certificate")),
    row("ClusterConfiguration.apiServer.extraArgs", FLAGS),
    row("ClusterConfiguration.apiServer.extraEnvs", ENVS),
    row("ClusterConfiguration.apiServer.extraEnvs[].valueFrom", FROM),
    row("ClusterConfiguration.apiServer.extraVolumes", VOLUMES),
    row(
        "ClusterConfiguration.apiServer.timeoutForControlPlane",
        Applied("how long a component of the control plane may take"),
    ),
    row("ClusterConfiguration.caCertificateValidityPeriod", Applied("validity of CAs")),
    row("ClusterConfiguration.certificateValidityPeriod", Applied("validity of certificates")),
    row("ClusterConfiguration.certificatesDir", Unless(nothing, "folder of the PKI, below /etc/kubernetes")),
    row("ClusterConfiguration.clusterName", Applied("kubeconfigs and --cluster-name")),
    row(
        "ClusterConfiguration.controlPlaneEndpoint",
        Unless(
            endpoint,
            "kubeconfigs, /etc/hosts of hosts, SANs; an address must be the load balancer's or the first host's",
        ),
    ),
    row("ClusterConfiguration.controllerManager.extraArgs", FLAGS),
    row("ClusterConfiguration.controllerManager.extraEnvs", ENVS),
    row("ClusterConfiguration.controllerManager.extraEnvs[].valueFrom", FROM),
    row("ClusterConfiguration.controllerManager.extraVolumes", VOLUMES),
    row("ClusterConfiguration.dns.disabled", Applied("no CoreDNS")),
    row("ClusterConfiguration.dns.imageRepository", Applied("image of CoreDNS")),
    row("ClusterConfiguration.dns.imageTag", Applied("image of CoreDNS; what is in it is of the cluster's version")),
    row("ClusterConfiguration.encryptionAlgorithm", Applied("keys")),
    row(
        "ClusterConfiguration.etcd.external",
        Refused("the engine brings up etcd itself: name etcd.topology: external in the cluster's specification"),
    ),
    row("ClusterConfiguration.etcd.local.dataDir", Unless(data_dir, "folder of etcd's data, below /var")),
    row("ClusterConfiguration.etcd.local.extraArgs", FLAGS),
    row("ClusterConfiguration.etcd.local.extraEnvs", ENVS),
    row("ClusterConfiguration.etcd.local.extraEnvs[].valueFrom", FROM),
    row("ClusterConfiguration.etcd.local.imageRepository", Unless(image, "image of etcd; refused without static pods")),
    row(
        "ClusterConfiguration.etcd.local.imageTag",
        Unless(image, "image of etcd; what is in it is of the cluster's version; refused without static pods"),
    ),
    row("ClusterConfiguration.etcd.local.peerCertSANs", Applied("SANs of etcd's peer certificate")),
    row("ClusterConfiguration.etcd.local.serverCertSANs", Applied("SANs of etcd's server certificate")),
    row("ClusterConfiguration.featureGates", Unless(gate, "the default of the version; PublicKeysECDSA also true")),
    row("ClusterConfiguration.imageRepository", Applied("images")),
    row(
        "ClusterConfiguration.kubernetesVersion",
        Applied("version of the cluster, unless the specification names one"),
    ),
    row(
        "ClusterConfiguration.networking.dnsDomain",
        Applied("kubelets, CoreDNS, certificates, service-account issuer"),
    ),
    row("ClusterConfiguration.networking.podSubnet", Applied("networks of pods")),
    row("ClusterConfiguration.networking.serviceSubnet", Applied("networks of Services")),
    row("ClusterConfiguration.proxy.disabled", Applied("no kube-proxy")),
    row("ClusterConfiguration.scheduler.extraArgs", FLAGS),
    row("ClusterConfiguration.scheduler.extraEnvs", ENVS),
    row("ClusterConfiguration.scheduler.extraEnvs[].valueFrom", FROM),
    row("ClusterConfiguration.scheduler.extraVolumes", VOLUMES),
    row("InitConfiguration", Refused("the engine does not know this field")),
    row("InitConfiguration.apiVersion", Applied("the form of the document")),
    row("InitConfiguration.kind", Applied("the form of the document")),
    row("InitConfiguration.bootstrapTokens", Applied("Secrets; nodes of the cluster join by one of its own")),
    row(
        "InitConfiguration.bootstrapTokens[].expires",
        Refused("kubeadm gives every token a ttl, and refuses the two together: give a ttl"),
    ),
    row("InitConfiguration.certificateKey", Applied("the Secret kubeadm-certs")),
    row("InitConfiguration.dryRun", Only(&["false"], "--dry-run is a flag of `seaworthy cluster up`")),
    row(
        "InitConfiguration.localAPIEndpoint.advertiseAddress",
        Unless(advertised, "the address that the first control plane has, or an unspecified one"),
    ),
    row(
        "InitConfiguration.localAPIEndpoint.bindPort",
        Unless(port, "port of every API server and of the load balancer"),
    ),
    row(
        "InitConfiguration.nodeRegistration.criSocket",
        Unless(socket, "containerd's socket: /run/containerd/containerd.sock"),
    ),
    row(
        "InitConfiguration.nodeRegistration.ignorePreflightErrors",
        Applied("none of kubeadm's preflight checks is run, so each is ignored"),
    ),
    row("InitConfiguration.nodeRegistration.imagePullPolicy", Only(&["IfNotPresent"], PULL)),
    row("InitConfiguration.nodeRegistration.imagePullSerial", Only(&["true"], PULL)),
    row(
        "InitConfiguration.nodeRegistration.kubeletExtraArgs",
        Unless(kubelet_flag, "flags of control planes' kubelets"),
    ),
    row(
        "InitConfiguration.nodeRegistration.name",
        Unless(first_name, "the name of the first control plane's host: cp1"),
    ),
    row("InitConfiguration.nodeRegistration.taints", Applied("taints of control planes")),
    row(
        "InitConfiguration.patches.directory",
        Unless(folder, "patches of static pods and of the kubelet's configuration"),
    ),
    row("InitConfiguration.skipPhases", Unless(phase, "phases that `up` leaves out")),
    row("InitConfiguration.timeouts", Refused(WAIT)),
    row(
        "InitConfiguration.timeouts.controlPlaneComponentHealthCheck",
        Applied("how long a component of the control plane may take"),
    ),
    row("InitConfiguration.timeouts.discovery", Only(&["5m0s"], WAIT)),
    row("InitConfiguration.timeouts.etcdAPICall", Only(&["2m0s"], WAIT)),
    row("InitConfiguration.timeouts.kubeletHealthCheck", Only(&["4m0s"], WAIT)),
    row("InitConfiguration.timeouts.kubernetesAPICall", Only(&["1m0s"], WAIT)),
    row("InitConfiguration.timeouts.tlsBootstrap", Only(&["5m0s"], WAIT)),
    row("InitConfiguration.timeouts.upgradeManifests", Only(&["5m0s"], WAIT)),
    row("JoinConfiguration", Refused("the engine does not know this field")),
    row("JoinConfiguration.apiVersion", Applied("the form of the document")),
    row("JoinConfiguration.kind", Applied("the form of the document")),
    row(
        "JoinConfiguration.caCertPath",
        Only(&["/etc/kubernetes/pki/ca.crt"], "nodes keep the CA in the folder of the PKI"),
    ),
    row("JoinConfiguration.controlPlane.certificateKey", Unless(same_key, "the Secret kubeadm-certs; one for all")),
    row("JoinConfiguration.controlPlane.localAPIEndpoint.advertiseAddress", Only(&["0.0.0.0", "::"], HOSTS)),
    row(
        "JoinConfiguration.controlPlane.localAPIEndpoint.bindPort",
        Unless(same_port, "port of every API server: that of the InitConfiguration, if there is one"),
    ),
    row(
        "JoinConfiguration.discovery.bootstrapToken.apiServerEndpoint",
        Unless(server, "where nodes find the API servers: the endpoint of the cluster"),
    ),
    row(
        "JoinConfiguration.discovery.bootstrapToken.caCertHashes",
        Refused("the CA is issued by `up`, which pins it itself: set unsafeSkipCAVerification instead"),
    ),
    row("JoinConfiguration.discovery.bootstrapToken.token", Applied("the token by which nodes of the cluster join")),
    row(
        "JoinConfiguration.discovery.bootstrapToken.unsafeSkipCAVerification",
        Applied("the engine pins the CA itself, whatever stands here"),
    ),
    row(
        "JoinConfiguration.discovery.file",
        Refused("nodes find the cluster by a token: name discovery.bootstrapToken"),
    ),
    row("JoinConfiguration.discovery.timeout", Only(&["5m0s"], WAIT)),
    row("JoinConfiguration.discovery.tlsBootstrapToken", Unless(same_token, "that of discovery.bootstrapToken")),
    row("JoinConfiguration.dryRun", Only(&["false"], "--dry-run is a flag of `seaworthy cluster up`")),
    row(
        "JoinConfiguration.nodeRegistration.criSocket",
        Unless(socket, "containerd's socket: /run/containerd/containerd.sock"),
    ),
    row(
        "JoinConfiguration.nodeRegistration.ignorePreflightErrors",
        Applied("none of kubeadm's preflight checks is run, so each is ignored"),
    ),
    row("JoinConfiguration.nodeRegistration.imagePullPolicy", Only(&["IfNotPresent"], PULL)),
    row("JoinConfiguration.nodeRegistration.imagePullSerial", Only(&["true"], PULL)),
    row("JoinConfiguration.nodeRegistration.kubeletExtraArgs", Unless(kubelet_flag, "flags of workers' kubelets")),
    row("JoinConfiguration.nodeRegistration.name", Refused(HOSTS)),
    row("JoinConfiguration.nodeRegistration.taints", Applied("taints of workers")),
    row(
        "JoinConfiguration.nodeRegistration.taints[].timeAdded",
        Refused("a kubelet registers its taints by a flag, which has no times"),
    ),
    row(
        "JoinConfiguration.patches.directory",
        Unless(folder, "patches of static pods and of the kubelet's configuration"),
    ),
    row("JoinConfiguration.skipPhases", Refused("name the phases in the InitConfiguration, or by --skip-phases")),
    row("JoinConfiguration.timeouts", Refused(WAIT)),
    row(
        "JoinConfiguration.timeouts.controlPlaneComponentHealthCheck",
        Applied("how long a component of the control plane may take"),
    ),
    row("JoinConfiguration.timeouts.discovery", Only(&["5m0s"], WAIT)),
    row("JoinConfiguration.timeouts.etcdAPICall", Only(&["2m0s"], WAIT)),
    row("JoinConfiguration.timeouts.kubeletHealthCheck", Only(&["4m0s"], WAIT)),
    row("JoinConfiguration.timeouts.kubernetesAPICall", Only(&["1m0s"], WAIT)),
    row("JoinConfiguration.timeouts.tlsBootstrap", Only(&["5m0s"], WAIT)),
    row("JoinConfiguration.timeouts.upgradeManifests", Only(&["5m0s"], WAIT)),
    row("ResetConfiguration", Refused("it does not say how a cluster is set up")),
    row("UpgradeConfiguration", Refused("it does not say how a cluster is set up")),
];

/// The row of a field: that of the longest path.
#[must_use]
pub fn row_of(path: &str) -> Option<&'static Row> {
    let covers = |row: &&Row| {
        path.strip_prefix(row.field).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[', '{']))
    };
    ROWS.iter().filter(covers).max_by_key(|row| row.field.len())
}

/// Refuses what a file gives and a cluster of ours does not do.
pub(super) fn check(plan: &Plan) -> Result<(), BadSpec> {
    if plan.spec.kubeadm.is_none() {
        return Ok(());
    }
    let configuration = plan.spec.configuration()?;
    let cluster = For { plan, configuration: &configuration };
    configuration.given().iter().try_for_each(|given| cluster.allows(given))
}

impl For<'_> {
    fn allows(&self, given: &Given) -> Result<(), BadSpec> {
        let Given { path, value, line } = given;
        let why = match row_of(path).map(|row| row.becomes) {
            Some(Applied(_)) => None,
            Some(Only(values, why)) => {
                let same = |one: &&str| {
                    *one == value || matches!((parse::duration(one), parse::duration(value)), (Ok(a), Ok(b)) if a == b)
                };
                let only = values.join(" or ");
                (!values.iter().any(same)).then(|| format!("only {only} can be met: {why}"))
            }
            Some(Unless(refuses, _)) => refuses(self, value),
            Some(Refused(why)) => Some(why.to_owned()),
            None => Some("the engine does not know this field".to_owned()),
        };
        let Some(why) = why else { return Ok(()) };
        let (kind, field) = path.split_once('.').unwrap_or(("", path));
        let whole = matches!(row_of(path), Some(row) if row.field == kind) && matches!(field, "kind" | "apiVersion");
        let field = if whole { kind } else { field.trim_end_matches("{}") };
        Err(BadConfiguration::Value { line: Some(*line), field: field.to_owned(), why }.into())
    }

    /// The port of the API servers.
    fn port(&self) -> u16 {
        self.configuration.bind_port()
    }

    fn balanced(&self) -> bool {
        self.plan.spec.balancer() != LoadBalancer::None
    }

    /// The host at which clients find the API servers.
    fn entrance(&self) -> Vec<IpAddr> {
        let harbor = self.plan.host(HARBOR).filter(|_| self.balanced());
        harbor.unwrap_or(self.plan.first()).addresses.iter().map(ipnet::IpNet::addr).collect()
    }
}

fn nothing(_: &For<'_>, _: &str) -> Option<String> {
    None
}

fn volumes(cluster: &For<'_>, _: &str) -> Option<String> {
    let why = "processes have no volumes: run the control plane as static pods (controlPlane.runAs, --static-pods)";
    (!cluster.plan.spec.has_static_pods()).then(|| why.to_owned())
}

fn value_from(cluster: &For<'_>, _: &str) -> Option<String> {
    let why = "only pods have such values: run the control plane as static pods (controlPlane.runAs, --static-pods)";
    (!cluster.plan.spec.has_static_pods()).then(|| why.to_owned())
}

fn image(cluster: &For<'_>, _: &str) -> Option<String> {
    let why = "processes have no image: run the control plane as static pods (controlPlane.runAs, --static-pods)";
    (!cluster.plan.spec.has_static_pods()).then(|| why.to_owned())
}

fn endpoint(cluster: &For<'_>, value: &str) -> Option<String> {
    let (host, port) = parse::host_port(value).ok()?;
    let entrance = cluster.entrance();
    if let Some(address) = parse::address(host).filter(|address| !entrance.contains(address)) {
        let there = entrance.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
        return Some(format!("nothing answers at {address}: name a host, or the address {there}"));
    }
    match port {
        Some(port) if !cluster.balanced() && port != cluster.port() => {
            Some(format!("without a load balancer the port is that of the API server, {}", cluster.port()))
        }
        Some(port) => occupied(port),
        None => None,
    }
}

fn data_dir(cluster: &For<'_>, value: &str) -> Option<String> {
    if cluster.plan.spec.disks == Disks::Faulty && value != "/var/lib/etcd" {
        return Some("a disk that faults are put on is at /var/lib/etcd".to_owned());
    }
    let own =
        value.strip_prefix("/var/").is_some_and(|rest| !rest.is_empty() && !rest.split('/').any(|part| part == ".."));
    (!own).then(|| "it must be below /var, which a host has for itself".to_owned())
}

fn gate(cluster: &For<'_>, value: &str) -> Option<String> {
    let (name, value) = value.split_once('=')?;
    let minor = cluster.plan.first().release.kubernetes.minor();
    let default = features::default(name, minor)?;
    let other = value != default.to_string() && name != features::ECDSA;
    other.then(|| format!("{name} can only be {default}, its default in 1.{minor}"))
}

fn advertised(cluster: &For<'_>, value: &str) -> Option<String> {
    let first = cluster.plan.first();
    let address = parse::address(value)?;
    (!address.is_unspecified() && address != first.address())
        .then(|| format!("{} has the address {}: leave it out", first.name, first.address()))
}

/// The ports that a host's components have.
const PORTS: [(u16, &str); 9] = [
    (2379, "etcd"),
    (2380, "etcd"),
    (2381, "etcd"),
    (5000, "the registry"),
    (10248, "the kubelet"),
    (10250, "the kubelet"),
    (10256, "kube-proxy"),
    (10257, "the controller-manager"),
    (10259, "the scheduler"),
];

fn occupied(port: u16) -> Option<String> {
    PORTS.iter().find(|(taken, _)| *taken == port).map(|(_, by)| format!("{port} is the port of {by}"))
}

fn port(_: &For<'_>, value: &str) -> Option<String> {
    occupied(value.parse().ok()?)
}

fn same_port(cluster: &For<'_>, value: &str) -> Option<String> {
    (value != cluster.port().to_string()).then(|| format!("all API servers have one port, {}", cluster.port()))
}

fn socket(_: &For<'_>, value: &str) -> Option<String> {
    let path = value.strip_prefix("unix://").unwrap_or(value);
    let ours = matches!(path, "/run/containerd/containerd.sock" | "/var/run/containerd/containerd.sock");
    (!ours).then(|| "the runtime of every node is containerd at unix:///run/containerd/containerd.sock".to_owned())
}

fn kubelet_flag(_: &For<'_>, value: &str) -> Option<String> {
    let name = value.split('=').next().unwrap_or_default();
    (name == "hostname-override").then(|| HOSTS.to_owned())
}

fn first_name(cluster: &For<'_>, value: &str) -> Option<String> {
    let first = &cluster.plan.first().name;
    (value.trim().to_lowercase() != *first).then(|| format!("the first control plane is {first}: leave it out"))
}

fn folder(cluster: &For<'_>, value: &str) -> Option<String> {
    if !value.starts_with('/') {
        return Some("it must be an absolute path, since `up` may go on from another folder".to_owned());
    }
    let init = cluster.configuration.init.as_ref().and_then(|init| init.patches.directory.as_deref());
    init.filter(|init| *init != value).map(|init| format!("the InitConfiguration names {init}: one folder is for all"))
}

/// Phases of kubeadm that do nothing which a cluster of ours would show, and parts of ours.
const PARTS: [&str; 3] = ["addon/coredns", "addon/kube-proxy", "show-join-command"];

fn phase(_: &For<'_>, value: &str) -> Option<String> {
    // What kubeadm has no phase of cannot be meant.
    let kubeadms = |name: &&str| {
        let ours = ["hosts", "load-balancer", "registry", "network", "ready", "control-plane-join", "simulated-nodes"];
        !ours.contains(name)
    };
    let known: Vec<_> = PHASES.iter().map(|phase| phase.name).filter(kubeadms).chain(PARTS).collect();
    (!known.contains(&value)).then(|| format!("'{value}' cannot be left out, only {}", known.join(", ")))
}

fn same_key(cluster: &For<'_>, value: &str) -> Option<String> {
    let init = cluster.configuration.init.as_ref().and_then(|init| init.certificate_key.as_ref());
    init.filter(|init| init.reveal() != value).map(|_| "the InitConfiguration has another one".to_owned())
}

fn server(cluster: &For<'_>, value: &str) -> Option<String> {
    let named =
        cluster.configuration.cluster.control_plane_endpoint.as_deref().and_then(|one| parse::host_port(one).ok());
    let port = named.and_then(|(_, port)| port).unwrap_or(cluster.port());
    let entrance = cluster.entrance();
    let (host, given) = parse::split(value)?;
    let fits =
        named.is_some_and(|(name, _)| name == host) || parse::address(host).is_some_and(|one| entrance.contains(&one));
    let wanted = named
        .map_or_else(|| entrance.first().map(ToString::to_string).unwrap_or_default(), |(name, _)| name.to_owned());
    let wanted = if wanted.contains(':') { format!("[{wanted}]") } else { wanted };
    (!fits || given != port.to_string()).then(|| format!("the API servers are at {wanted}:{port}"))
}

fn same_token(cluster: &For<'_>, value: &str) -> Option<String> {
    let join = cluster.configuration.join.as_ref();
    let token = join.and_then(|join| join.discovery.bootstrap_token.as_ref()?.token.as_ref());
    (token.is_none_or(|token| token.reveal() != value))
        .then(|| "nodes join by the token of discovery.bootstrapToken".to_owned())
}

/// The table for the manual.
#[must_use]
pub fn table() -> String {
    let mut text = String::from("| field | what becomes of it |\n|---|---|\n");
    for Row { field, becomes } in ROWS {
        let becomes = match becomes {
            Applied(what) => format!("applied: {what}"),
            Only(values, why) => format!("`{}` only: {why}", values.join("` or `")),
            Unless(_, what) => format!("applied: {what}"),
            Refused(why) => format!("refused: {why}"),
        };
        text += &format!("| `{field}` | {becomes} |\n");
    }
    text
}
