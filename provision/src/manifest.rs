//! Static pods of a control plane, as kubeadm 1.23 to 1.37 writes them to `/etc/kubernetes/manifests`.
//!
//! The command lines are those of [`ControlPlane::components_of`]; what stands around them is here. A test compares
//! whole documents with those of the real kubeadm of several versions, and every deliberate difference is one of
//! [`DIFFERENCES`]. The model is kubeadm's `phases/controlplane`, `phases/etcd` and `util/staticpod`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use serde_json::{Map, Value, json};

use crate::assets::span::{ALL, between, since, until};
use crate::assets::{Release, Span};
use crate::control_plane::{Component, ControlPlane, EtcdServers};
use crate::kubeadm::{self, ClusterConfiguration, EnvVar, HostPathMount};

/// A folder or a file of the host that a component sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name, unique in a pod; one of the same name takes the place of kubeadm's.
    pub name: String,
    /// Where it is on the host.
    pub host: PathBuf,
    /// Where the component sees it.
    pub mount: PathBuf,
    /// May the component only read it?
    pub read_only: bool,
    /// What is there, as `DirectoryOrCreate`; empty for whatever is.
    pub kind: String,
}

impl Volume {
    fn folder(name: &str, path: &Path, read_only: bool) -> Self {
        let kind = "DirectoryOrCreate".to_owned();
        Self { name: name.to_owned(), host: path.to_owned(), mount: path.to_owned(), read_only, kind }
    }

    fn file(name: &str, path: &Path) -> Self {
        Self { kind: "FileOrCreate".to_owned(), ..Self::folder(name, path, true) }
    }

    fn of(mount: &HostPathMount) -> Self {
        Self {
            name: mount.name.clone(),
            host: mount.host_path.clone().into(),
            mount: mount.mount_path.clone().into(),
            read_only: mount.read_only,
            kind: mount.path_type.clone().unwrap_or_default(),
        }
    }
}

/// What a user adds to the pod of a component.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Additions {
    /// Volumes.
    pub volumes: Vec<Volume>,
    /// Environment variables.
    pub env: Vec<EnvVar>,
}

impl Additions {
    /// What kubeadm's configuration adds, by component.
    #[must_use]
    pub fn of(cluster: &ClusterConfiguration) -> BTreeMap<&'static str, Self> {
        let of = |component: &kubeadm::Component| Self {
            volumes: component.extra_volumes.iter().map(Volume::of).collect(),
            env: component.extra_envs.clone(),
        };
        let etcd = cluster.etcd.local.as_ref().map(|local| local.extra_envs.clone()).unwrap_or_default();
        [
            ("etcd", Self { volumes: Vec::new(), env: etcd }),
            ("kube-apiserver", of(&cluster.api_server.component)),
            ("kube-controller-manager", of(&cluster.controller_manager)),
            ("kube-scheduler", of(&cluster.scheduler)),
        ]
        .into()
    }
}

/// One node's static pods.
pub struct StaticPods<'a> {
    /// Its control plane.
    pub plane: &'a ControlPlane,
    /// The versions of its components.
    pub release: &'a Release,
    /// The image of a component: `registry.k8s.io/kube-apiserver:v1.37.2`.
    pub image: &'a dyn Fn(&str) -> String,
    /// Additions by component.
    pub additions: BTreeMap<&'static str, Additions>,
    /// Which of [`ca_folders`] the host has: links in `/etc/ssl/certs` lead there.
    pub ca_folders: Vec<PathBuf>,
    /// How long a component may take to start: kubeadm's `timeouts.controlPlaneComponentHealthCheck`, by default four
    /// minutes.
    pub start_within: SignedDuration,
}

/// Folders that hold CA certificates of the system on some distributions, as kubeadm of this version knows them.
#[must_use]
pub fn ca_folders(release: &Release) -> &'static [&'static str] {
    if until(1, 31).has(&release.kubernetes) {
        return &["/etc/pki", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates", "/etc/ca-certificates"];
    }
    &[
        "/etc/pki/ca-trust",
        "/etc/pki/tls/certs",
        "/etc/ca-certificates",
        "/usr/share/ca-certificates",
        "/usr/local/share/ca-certificates",
    ]
}

/// The paths that the kubelet asks of a component: is it alive, ready, started?
struct Probes {
    component: &'static str,
    kubernetes: Span,
    alive: &'static str,
    ready: Option<&'static str>,
    started: &'static str,
}

const fn probes(
    component: &'static str,
    kubernetes: Span,
    alive: &'static str,
    ready: Option<&'static str>,
    started: &'static str,
) -> Probes {
    Probes { component, kubernetes, alive, ready, started }
}

const PROBES: [Probes; 7] = [
    probes("etcd", until(1, 25), "/health", None, "/health"),
    probes(
        "etcd",
        between([1, 25], [1, 31]),
        "/health?exclude=NOSPACE&serializable=true",
        None,
        "/health?serializable=false",
    ),
    probes("etcd", since(1, 31, 0), "/livez", Some("/readyz"), "/readyz"),
    probes("kube-apiserver", ALL, "/livez", Some("/readyz"), "/livez"),
    probes("kube-controller-manager", ALL, "/healthz", None, "/healthz"),
    probes("kube-scheduler", until(1, 32), "/healthz", None, "/healthz"),
    probes("kube-scheduler", since(1, 32, 0), "/livez", Some("/readyz"), "/livez"),
];

/// Versions of Kubernetes whose kubeadm names the probed port, rather than repeating its number.
const NAMED_PORT: Span = since(1, 34, 0);
/// Versions of Kubernetes whose kubeadm writes the priority's number, too.
const PRIORITY: Span = since(1, 25, 0);
/// Versions of Kubernetes whose controller-manager sees the folder of flexible volumes.
const FLEX_VOLUMES: Span = until(1, 36);

/// What is deliberately not as kubeadm has it.
pub const DIFFERENCES: [(&str, &str); 2] = [
    ("metadata.creationTimestamp", "until 1.33 kubeadm writes null, which says nothing"),
    (
        "spec.containers[0].command",
        "flags are sorted by name, also those of a user, which kubeadm puts behind since 1.30",
    ),
];

/// Where a component is probed.
struct Endpoint {
    host: String,
    port: u16,
    scheme: &'static str,
}

impl StaticPods<'_> {
    /// The pods by component, in the order in which components start.
    #[must_use]
    pub fn pods(&self) -> Vec<(&'static str, Value)> {
        self.plane.components_of(self.release).iter().map(|component| (component.name, self.pod(component))).collect()
    }

    fn has(&self, span: Span) -> bool {
        span.has(&self.release.kubernetes)
    }

    fn pod(&self, component: &Component) -> Value {
        let name = component.name;
        let added = self.additions.get(name).cloned().unwrap_or_default();
        let mut command = vec![Value::from(name)];
        command.extend(component.arguments().map(Value::from));
        let mut container = Map::new();
        let mut set = |field: &str, value: Value| container.insert(field.to_owned(), value);
        set("command", command.into());
        if !added.env.is_empty() {
            set("env", added.env.iter().map(env).collect());
        }
        set("image", (self.image)(name).into());
        set("imagePullPolicy", "IfNotPresent".into());
        let endpoint = self.endpoint(component);
        let probe =
            |path: &str, delay: u32, failures: i64, period: u32| self.probe(&endpoint, path, delay, failures, period);
        let probes = PROBES.iter().find(|row| row.component == name && self.has(row.kubernetes));
        if let Some(probes) = probes {
            set("livenessProbe", probe(probes.alive, 10, 8, 10));
        }
        set("name", name.into());
        if self.has(NAMED_PORT) {
            set("ports", json!([{ "containerPort": endpoint.port, "name": "probe-port", "protocol": "TCP" }]));
        }
        if let Some(ready) = probes.and_then(|probes| probes.ready) {
            set("readinessProbe", probe(ready, 0, 3, 1));
        }
        let requests = match name {
            "etcd" => json!({ "cpu": "100m", "memory": "100Mi" }),
            "kube-apiserver" => json!({ "cpu": "250m" }),
            "kube-controller-manager" => json!({ "cpu": "200m" }),
            _ => json!({ "cpu": "100m" }),
        };
        set("resources", json!({ "requests": requests }));
        if let Some(probes) = probes {
            let failures = (self.start_within.as_secs() + 9) / 10;
            set("startupProbe", probe(probes.started, 10, failures, 10));
        }
        let mut volumes = self.volumes(name);
        set("volumeMounts", self.mounts(name, &mut volumes, added.volumes));
        let volumes: Vec<_> = volumes
            .into_values()
            .map(|volume| {
                let mut path = json!({ "path": volume.host });
                if !volume.kind.is_empty() {
                    path["type"] = volume.kind.into();
                }
                json!({ "hostPath": path, "name": volume.name })
            })
            .collect();
        let mut spec = json!({ "containers": [container], "hostNetwork": true });
        if self.has(PRIORITY) {
            spec["priority"] = 2_000_001_000.into();
        }
        spec["priorityClassName"] = "system-node-critical".into();
        spec["securityContext"] = json!({ "seccompProfile": { "type": "RuntimeDefault" } });
        spec["volumes"] = volumes.into();
        let mut metadata = Map::new();
        if let Some((key, value)) = self.annotation(name) {
            metadata.insert("annotations".to_owned(), json!({ key: value }));
        }
        metadata.insert("labels".to_owned(), json!({ "component": name, "tier": "control-plane" }));
        metadata.insert("name".to_owned(), name.into());
        metadata.insert("namespace".to_owned(), "kube-system".into());
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {} })
    }

    /// What tells other nodes where this one's etcd and API server are.
    fn annotation(&self, name: &str) -> Option<(&'static str, String)> {
        let socket = |port| std::net::SocketAddr::new(self.plane.advertise, port).to_string();
        match name {
            "etcd" => Some(("kubeadm.kubernetes.io/etcd.advertise-client-urls", format!("https://{}", socket(2379)))),
            "kube-apiserver" => {
                Some(("kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint", socket(self.plane.port)))
            }
            _ => None,
        }
    }

    fn probe(&self, endpoint: &Endpoint, path: &str, delay: u32, failures: i64, period: u32) -> Value {
        let mut get = Map::new();
        if !endpoint.host.is_empty() {
            get.insert("host".to_owned(), endpoint.host.clone().into());
        }
        get.insert("path".to_owned(), path.into());
        let port = if self.has(NAMED_PORT) { Value::from("probe-port") } else { endpoint.port.into() };
        get.insert("port".to_owned(), port);
        get.insert("scheme".to_owned(), endpoint.scheme.into());
        let mut probe = json!({ "failureThreshold": failures, "httpGet": get });
        if delay != 0 {
            probe["initialDelaySeconds"] = delay.into();
        }
        probe["periodSeconds"] = period.into();
        probe["timeoutSeconds"] = 15.into();
        probe
    }

    /// A component is probed where it listens; an address that stands for all of them leaves the choice to the kubelet.
    fn endpoint(&self, component: &Component) -> Endpoint {
        let flag = |name: &str| component.flags.iter().rfind(|(flag, _)| flag == name).map(|(_, value)| value.as_str());
        let host = |text: &str| match text.parse::<IpAddr>() {
            Ok(address) if address.is_unspecified() => String::new(),
            _ => text.to_owned(),
        };
        let at = |host: String, port| Endpoint { host, port, scheme: "HTTPS" };
        match component.name {
            "etcd" => metrics(flag("listen-metrics-urls").unwrap_or_default(), self.plane.advertise.is_ipv6()),
            "kube-apiserver" => at(host(&self.plane.advertise.to_string()), self.plane.port),
            "kube-controller-manager" => at(host(flag("bind-address").unwrap_or("127.0.0.1")), 10257),
            _ => at(host(flag("bind-address").unwrap_or("127.0.0.1")), 10259),
        }
    }

    /// The volumes of a component, by name.
    fn volumes(&self, name: &str) -> BTreeMap<String, Volume> {
        let plane = self.plane;
        let mut all = Vec::new();
        if matches!(name, "kube-apiserver" | "kube-controller-manager") {
            all.push(Volume::folder("k8s-certs", &plane.pki, true));
            all.push(Volume::folder("ca-certs", Path::new("/etc/ssl/certs"), true));
            all.extend(self.ca_folders.iter().map(|path| {
                Volume::folder(&path.to_string_lossy().trim_start_matches('/').replace('/', "-"), path, true)
            }));
        }
        match (name, &plane.etcd) {
            ("etcd", EtcdServers::Local { data, .. }) => {
                all.push(Volume::folder("etcd-data", data, false));
                all.push(Volume::folder("etcd-certs", &plane.pki.join("etcd"), false));
            }
            ("kube-apiserver", EtcdServers::External { ca, client, .. }) => {
                let folders = self.folders_of_etcd([ca, &client.0, &client.1]);
                all.extend(
                    folders
                        .iter()
                        .enumerate()
                        .map(|(index, path)| Volume::folder(&format!("etcd-certs-{index}"), path, true)),
                );
            }
            ("kube-controller-manager", _) => {
                all.push(Volume::file("kubeconfig", &plane.kubeconfigs.join("controller-manager.conf")));
                if self.has(FLEX_VOLUMES) {
                    let theirs =
                        plane.extra.controller_manager.iter().rfind(|(flag, _)| flag == "flex-volume-plugin-dir");
                    let path = theirs.map_or("/usr/libexec/kubernetes/kubelet-plugins/volume/exec", |(_, path)| path);
                    all.push(Volume::folder("flexvolume-dir", Path::new(path), false));
                }
            }
            ("kube-scheduler", _) => all.push(Volume::file("kubeconfig", &plane.kubeconfigs.join("scheduler.conf"))),
            _ => {}
        }
        all.into_iter().map(|volume| (volume.name.clone(), volume)).collect()
    }

    /// Adds a user's volumes, and gives the mounts of all.
    fn mounts(&self, name: &str, volumes: &mut BTreeMap<String, Volume>, added: Vec<Volume>) -> Value {
        volumes.extend(added.into_iter().map(|volume| (volume.name.clone(), volume)));
        let mount = |volume: &Volume| {
            let mut mount = json!({ "mountPath": volume.mount, "name": volume.name });
            if volume.read_only {
                mount["readOnly"] = true.into();
            }
            mount
        };
        let mut mounts: Vec<_> = volumes.values().map(mount).collect();
        if name == "etcd" {
            // The one list that kubeadm does not sort.
            mounts.reverse();
        }
        mounts.into()
    }

    /// The folders of an external etcd's certificates that are not within what is mounted anyway, none within another.
    fn folders_of_etcd(&self, files: [&PathBuf; 3]) -> Vec<PathBuf> {
        let mounted: Vec<_> = ca_folders(self.release).iter().map(Path::new).collect();
        let mut folders: Vec<PathBuf> = Vec::new();
        for folder in files.into_iter().filter_map(|file| file.parent()) {
            let within = |other: &Path| folder.starts_with(other);
            let covered = mounted.iter().any(|path| within(path))
                || within(Path::new("/etc/ssl/certs"))
                || within(&self.plane.pki);
            if !covered && !folders.iter().any(|other| within(other)) {
                folders.retain(|other| !other.starts_with(folder));
                folders.push(folder.to_owned());
            }
        }
        folders.sort();
        folders
    }
}

/// A variable as a container has it.
fn env(variable: &EnvVar) -> Value {
    let mut one = json!({ "name": variable.name });
    if let Some(value) = &variable.value {
        one["value"] = value.clone().into();
    }
    if let Some(from) = &variable.value_from {
        one["valueFrom"] = from.clone();
    }
    one
}

/// The first URL at which etcd serves its metrics and its health.
fn metrics(urls: &str, v6: bool) -> Endpoint {
    let localhost = || if v6 { "::1" } else { "127.0.0.1" }.to_owned();
    let (scheme, rest) = urls.split(',').next().and_then(|url| url.split_once("://")).unwrap_or(("http", ""));
    let authority = rest.split('/').next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().unwrap_or(2381)),
        _ => (authority, 2381),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = if host.is_empty() { localhost() } else { host.to_owned() };
    Endpoint { host, port, scheme: if scheme == "https" { "HTTPS" } else { "HTTP" } }
}
