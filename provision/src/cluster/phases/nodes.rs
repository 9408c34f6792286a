//! The nodes: images, containerd, kubelets, pod networks, kube-proxy.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use serde_json::{Value, json};

use super::{objects, static_pods};
use crate::bootstrap;
use crate::cluster::api::Api;
use crate::cluster::engine::{Engine, EngineError, await_unit, file, own_unit, unit};
use crate::cluster::plan::{HARBOR, PlannedHost, Role};
use crate::cluster::wait::Wait;
use crate::host::Host;
use crate::host::unit::Ready;
use crate::image::{Part, Store, workload};
use crate::node::containerd::{Containerd, Generation};
use crate::node::kubelet::{self, Kubelet};
use crate::node::{Configured, cni, containerd, proxy};
use crate::pki::user_kubeconfig;
use crate::{registry as images, upload, whole};

const CONTAINERD: &str = "/var/lib/seaworthy/containerd";
const CNI: &str = "/var/lib/seaworthy/cni";
const SOCKET: &str = "/run/containerd/containerd.sock";
/// Where the process of simulated nodes accepts once they are ready.
const SIMULATED: &str = "/run/seaworthy-simulated.sock";
/// The user that `system:node-proxier` is bound to by the API server itself.
const PROXY_USER: &str = "system:kube-proxy";

fn preflight(error: impl ToString) -> EngineError {
    EngineError::Preflight(error.to_string())
}

/// Writes a file of a host, readable for its owner only.
fn write(path: &Path, content: &str) -> Result<(), EngineError> {
    whole::write(path, content, 0o600).map_err(file(path))
}

pub(super) fn registry(engine: &Engine<'_>) -> Result<(), EngineError> {
    let plan = engine.plan();
    let (Some(planned), Some(address)) = (plan.host(HARBOR), plan.registry()) else { return Ok(()) };
    if plan.nodes().next().is_none() {
        return Ok(());
    }
    let store = Store::open(&engine.sources.images)?;
    for host in plan.nodes() {
        let plane = if static_pods::has(engine, host) { &Part::CONTROL_PLANE[..] } else { &[] };
        [Part::Pause].iter().chain(plane).try_for_each(|part| add(engine, &store, *part, host))?;
    }
    // It is of the cluster's version, whichever node it runs on.
    if engine.has_dns() {
        add(engine, &store, Part::CoreDns, plan.first())?;
    }
    store.add(&workload(&engine.sources.seaworthy))?;
    let host = engine.host(planned)?;
    let mut unit = own_unit("registry", &[images::ARGUMENT, "/opt/seaworthy/images"]);
    unit.listen = planned.addresses.iter().map(|one| SocketAddr::new(one.addr(), address.port())).collect();
    unit.ready = Some(Ready::Http(format!("http://{address}/v2/")));
    host.client().start(unit)?;
    await_unit(&host, "registry")
}

/// Makes an image of a host's version.
fn add(engine: &Engine<'_>, store: &Store, part: Part, host: &PlannedHost) -> Result<(), EngineError> {
    let reference = engine.image(part, &host.release)?;
    match part.image(reference, engine.programs(host)?, &engine.sources.seaworthy) {
        Some(image) => Ok(store.add(&image).map(drop)?),
        None => Ok(()),
    }
}

pub(super) fn kubelet_start(engine: &Engine<'_>) -> Result<(), EngineError> {
    let nodes: Vec<_> = engine.plan().nodes().collect();
    if nodes.is_empty() {
        return Ok(());
    }
    let api = engine.api()?;
    engine.each(&nodes, |planned| {
        let host = engine.host(planned)?;
        start(engine, planned, &host)?;
        let wait = Wait::new(&api, format!("node {}", planned.name), format!("/api/v1/nodes/{}", planned.name));
        signer(engine, wait)?.suspect(host.clone(), "kubelet").until(|_| Ok(()))?;
        keep_socket(engine, planned, &host, &api)
    })
}

/// Keeps the runtime's socket where kubeadm of this version looks for it: at the node, or on its host.
fn keep_socket(engine: &Engine<'_>, planned: &PlannedHost, host: &Host, api: &Api) -> Result<(), EngineError> {
    let socket = format!("unix://{SOCKET}");
    if let Some(patch) = upload::cri_socket(&socket, &planned.release) {
        api.merge(&format!("/api/v1/nodes/{}", planned.name), &patch)?;
        return Ok(());
    }
    let Some(instance) = kubelet_host(planned).instance() else { return Ok(()) };
    let path = engine.outside(host, Path::new("/var/lib/kubelet/instance-config.yaml"));
    write(&path, &crate::node::yaml(&instance))
}

/// Starts what a node is made of; where that runs, nothing is changed.
pub(super) fn start(engine: &Engine<'_>, planned: &PlannedHost, host: &Host) -> Result<(), EngineError> {
    start_containerd(engine, planned, host)?;
    start_kubelet(engine, planned, host)
}

/// What a node that joins learns: where the API servers are, and their CA.
struct Found {
    server: String,
    ca: String,
}

/// Discovery by token and CA hash, as `kubeadm join` does: `cluster-info` is read from a server that nobody vouches
/// for, and believed because the token signed it and the CA in it is the one that is pinned.
fn discover(engine: &Engine<'_>) -> Result<Found, EngineError> {
    let token = objects::token(engine)?;
    let pin = bootstrap::pin(&objects::ca(engine)?);
    // This machine need not know the name that nodes know.
    let first = engine.plan().first();
    let port = engine.endpoint_port();
    let at = engine.plan().endpoint(port).unwrap_or_else(|| SocketAddr::new(first.address(), port).to_string());
    let api = Api::unverified(format!("https://{at}"))?;
    let path = "/api/v1/namespaces/kube-public/configmaps/cluster-info";
    let found = signer(engine, Wait::new(&api, "a signed cluster-info", path))?.until(|info| {
        let text = |key: &str| info["data"][key].as_str().ok_or_else(|| format!("it has no {key}"));
        let kubeconfig = text("kubeconfig")?;
        if !token.signed(kubeconfig, text(&format!("jws-kubeconfig-{}", token.id()))?) {
            return Err("the signature is not our token's".to_owned());
        }
        let kubeconfig: Value = serde_saphyr::from_str(kubeconfig).map_err(|_| "it holds no kubeconfig".to_owned())?;
        let cluster = &kubeconfig["clusters"][0]["cluster"];
        let server = cluster["server"].as_str().unwrap_or_default().to_owned();
        let ca = STANDARD.decode(cluster["certificate-authority-data"].as_str().unwrap_or_default());
        let ca = ca.ok().and_then(|ca| String::from_utf8(ca).ok()).unwrap_or_default();
        if bootstrap::pin(&ca) != pin {
            Err("its CA is not the pinned one".to_owned())
        } else {
            Ok(Found { server, ca })
        }
    })?;
    Ok(found)
}

fn start_containerd(engine: &Engine<'_>, planned: &PlannedHost, host: &Host) -> Result<(), EngineError> {
    let programs = engine.programs(planned)?;
    let path = |name: &str| programs.path(name).ok_or_else(|| preflight(format!("{name} is missing")));
    let program = path("containerd")?;
    let said = Command::new(program).arg("--version").output().map_err(file(program))?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let generation =
        Generation::of(&said).ok_or_else(|| preflight(format!("{} says no version: {said}", program.display())))?;
    let sandbox = engine.image(Part::Pause, &planned.release)?;
    let config = Containerd {
        generation,
        root: "/var/lib/containerd".into(),
        state: "/run/containerd".into(),
        socket: SOCKET.into(),
        sandbox,
        registries: format!("{CONTAINERD}/certs.d").into(),
        cni_configuration: CNI.into(),
        cni_plugins: path("bridge")?.parent().map(Path::to_path_buf).unwrap_or_default(),
        shim: path("containerd-shim-runc-v2").ok().map(Path::to_path_buf),
        runc: path("runc").ok().map(Path::to_path_buf),
        sys_resource: has_sys_resource(),
    };
    let at = |path: &str| engine.outside(host, Path::new(path));
    write(&at(&format!("{CONTAINERD}/config.toml")), &config.config())?;
    if let Some(registry) = engine.plan().registry() {
        write(
            &at(&format!("{CONTAINERD}/certs.d/_default/hosts.toml")),
            &containerd::hosts(&format!("{HARBOR}:{}", registry.port())),
        )?;
    }
    std::fs::create_dir_all(at(CNI)).map_err(file(&at(CNI)))?;
    let argv = vec![program.display().to_string(), "--config".into(), format!("{CONTAINERD}/config.toml")];
    let mut unit = unit("containerd", argv);
    unit.ready = Some(Ready::Socket(SOCKET.into()));
    host.client().start(unit)?;
    await_unit(host, "containerd")
}

/// May this process raise what limits it (capabilities(7), `CAP_SYS_RESOURCE`)?
fn has_sys_resource() -> bool {
    const CAP_SYS_RESOURCE: u32 = 24;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    effective.is_some_and(|set| set & (1 << CAP_SYS_RESOURCE) != 0)
}

/// What is particular to the host of a kubelet.
fn kubelet_host(planned: &PlannedHost) -> kubelet::Host {
    let lines = |path: &str| std::fs::read_to_string(path).unwrap_or_default().lines().count();
    kubelet::Host {
        minor: planned.release.kubernetes.minor(),
        runtime: SOCKET.into(),
        // Where version 2 has all controllers, its root lists them.
        cgroup_v1: !Path::new("/sys/fs/cgroup/cgroup.controllers").exists(),
        cgroup_root: "/".to_owned(),
        // Below its heading.
        swap: lines("/proc/swaps") > 1,
        resolv_conf: None,
    }
}

/// A node's kubelet, its configuration, and the host that it is on.
pub(super) fn kubelet(
    engine: &Engine<'_>,
    planned: &PlannedHost,
) -> Result<(Kubelet, Configured, kubelet::Host), EngineError> {
    let (_, plane) = engine.control_plane(planned)?;
    let machine = kubelet_host(planned);
    let mut configured = machine.configuration(&engine.kubelet_cluster(&plane));
    configured.document = engine.patches.apply("kubeletconfiguration", configured.document)?;
    let (registration, worker) = (engine.registration(planned.role), planned.role == Role::Worker);
    let addresses = planned.addresses.iter().map(IpNet::addr).collect();
    let node = Kubelet {
        node: planned.name.clone(),
        hostname: planned.name.clone(),
        addresses,
        // Those of a control plane come later, when it is marked.
        taints: registration.and_then(|one| one.taints.clone()).filter(|_| worker).unwrap_or_default(),
        kubeconfigs: "/etc/kubernetes".into(),
        extra: registration.map(|one| one.kubelet_extra_args.clone()).unwrap_or_default(),
    };
    Ok((node, configured, machine))
}

fn start_kubelet(engine: &Engine<'_>, planned: &PlannedHost, host: &Host) -> Result<(), EngineError> {
    let (_, plane) = engine.control_plane(planned)?;
    let (node, configured, machine) = kubelet(engine, planned)?;
    let at = |path: &str| engine.outside(host, Path::new(path));
    write(&at("/var/lib/kubelet/config.yaml"), &configured.yaml())?;
    write(&at("/var/lib/kubelet/kubeadm-flags.env"), &node.flags_file(&machine))?;
    std::fs::create_dir_all(host.kubernetes().join("manifests")).map_err(file(&host.kubernetes()))?;
    let ca = engine.outside(host, &plane.pki).join("ca.crt");
    let (kubeconfig, asking) =
        (host.kubernetes().join("kubelet.conf"), host.kubernetes().join("bootstrap-kubelet.conf"));
    // The first control plane's has a certificate of its own; there may be no API server yet to ask for one.
    if !kubeconfig.exists() {
        let found = discover(engine)?;
        if !ca.exists() {
            write(&ca, &found.ca)?;
        }
        write(&asking, &kubelet::bootstrap_kubeconfig(&found.server, &found.ca, &objects::token(engine)?))?;
    }
    engine.start(host, &node.component(&machine, &configured))?;
    await_unit(host, "kubelet")?;
    // It holds a token that lets nodes in, and is of no more use.
    if kubeconfig.exists() && asking.exists() {
        std::fs::remove_file(&asking).map_err(file(&asking))?;
    }
    Ok(())
}

/// The first control plane's kubelet.conf holds a certificate that is never renewed: it is to lead to the one that is
/// (kubeadm's phase of the same name).
pub(super) fn kubelet_finalize(engine: &Engine<'_>) -> Result<(), EngineError> {
    let first = engine.plan().first();
    if !engine.plan().spec.control_planes_are_nodes() {
        return Ok(());
    }
    let host = engine.host(first)?;
    let path = host.kubernetes().join("kubelet.conf");
    let text = std::fs::read_to_string(&path).map_err(file(&path))?;
    let mut document: Value =
        serde_saphyr::from_str(&text).map_err(|_| file(&path)(std::io::Error::other("it is no kubeconfig")))?;
    let current = PathBuf::from(kubelet::FOLDER).join("pki/kubelet-client-current.pem");
    let there = engine.outside(&host, &current).is_symlink();
    let user = &mut document["users"][0]["user"];
    if !there || user.get("client-certificate").is_some() {
        return Ok(());
    }
    *user = json!({ "client-certificate": current, "client-key": current });
    write(&path, &crate::node::yaml(&document))?;
    host.client().restart("kubelet")?;
    await_unit(&host, "kubelet")
}

/// The controller-managers are suspects where certificates, tokens or ranges of pods do not come.
fn signer<'a>(engine: &Engine<'_>, wait: Wait<'a>) -> Result<Wait<'a>, EngineError> {
    engine
        .plan()
        .of(Role::ControlPlane)
        .try_fold(wait, |wait, planned| Ok(wait.suspect(engine.host(planned)?, "kube-controller-manager")))
}

/// The ranges that the controller-manager gave a node.
fn pod_ranges(engine: &Engine<'_>, api: &Api, planned: &PlannedHost) -> Result<Vec<IpNet>, EngineError> {
    let path = format!("/api/v1/nodes/{}", planned.name);
    let wait = Wait::new(api, format!("the pod CIDR of node {}", planned.name), path);
    signer(engine, wait)?.until(|node| {
        let ranges = node["spec"]["podCIDRs"].as_array().ok_or("it has none yet")?;
        let parse =
            |range: &Value| range.as_str().and_then(|text| text.parse().ok()).ok_or_else(|| format!("{range} is none"));
        ranges.iter().map(parse).collect()
    })
}

pub(super) fn network(engine: &Engine<'_>) -> Result<(), EngineError> {
    let nodes: Vec<_> = engine.plan().nodes().collect();
    if nodes.is_empty() {
        return Ok(());
    }
    let api = engine.api()?;
    let mut ways = Vec::new();
    for planned in &nodes {
        let ranges = pod_ranges(engine, &api, planned)?;
        for range in &ranges {
            let gateway = planned.addresses.iter().map(IpNet::addr).find(|one| one.is_ipv4() == range.addr().is_ipv4());
            ways.extend(gateway.map(|gateway| (planned.name.clone(), *range, gateway)));
        }
        let host = engine.host(planned)?;
        let pods = cni::PodNetwork { ranges, state: "/run/cni/networks".into(), masquerade: false, mtu: None };
        // Whole or not at all: containerd reads it as it appears.
        let folder = engine.outside(&host, Path::new(CNI));
        let (whole, part) = (folder.join("10-seaworthy.conflist"), folder.join(".10-seaworthy.part"));
        write(&part, &pods.configuration())?;
        std::fs::rename(&part, &whole).map_err(file(&whole))?;
        if let Some(zone) = engine.plan().spec.zones.get(planned.zone) {
            let labels = json!({ "topology.kubernetes.io/zone": zone, "topology.kubernetes.io/region": "sea" });
            api.merge(&format!("/api/v1/nodes/{}", planned.name), &json!({ "metadata": { "labels": labels } }))?;
        }
    }
    // API servers reach pods, too: webhooks, aggregated APIs.
    engine.cluster().set_routes(ways)?;
    if engine.has_proxy() { start_proxies(engine, &nodes) } else { Ok(()) }
}

fn start_proxies(engine: &Engine<'_>, nodes: &[&PlannedHost]) -> Result<(), EngineError> {
    let first = engine.plan().first();
    let (spec, plane) = engine.control_plane(first)?;
    let pki = engine.outside(&engine.host(first)?, &plane.pki);
    let (server, configured) = (objects::server(engine)?, objects::proxy(engine, |proxy| proxy.configuration())?);
    engine.each(nodes, |planned| {
        let host = engine.host(planned)?;
        let folder = engine.outside(&host, Path::new(proxy::FOLDER));
        write(&folder.join("config.conf"), &configured.yaml())?;
        let kubeconfig = folder.join("kubeconfig.conf");
        if !kubeconfig.exists() {
            write(&kubeconfig, &user_kubeconfig(&spec, &pki, PROXY_USER, &server)?)?;
        }
        engine.start(&host, &proxy::component(&planned.name, Path::new(proxy::FOLDER)))
    })?;
    engine.each(nodes, |planned| await_unit(&engine.host(planned)?, "kube-proxy"))
}

/// Simulated nodes are a process of the first control plane: `seaworthy simulate`, as anybody could run it.
pub(super) fn simulated(engine: &Engine<'_>) -> Result<(), EngineError> {
    let (spec, first) = (&engine.plan().spec, engine.plan().first());
    if spec.simulated.total() == 0 {
        return Ok(());
    }
    let host = engine.host(first)?;
    let (linux, windows) = (spec.simulated.nodes.to_string(), spec.simulated.windows.to_string());
    let zones = spec.zones.join(",");
    let mut words = vec!["simulate", "--kubeconfig", "/etc/kubernetes/super-admin.conf", "--fleet", "engine"];
    words.extend(["--nodes", &linux, "--windows", &windows, "--windows-build", &spec.simulated.windows_build]);
    words.extend(["--on-end", "keep", "--output", "json", "--ready-socket", SIMULATED]);
    if !zones.is_empty() {
        words.extend(["--zones", &zones, "--region", "sea"]);
    }
    let mut unit = own_unit("simulated-nodes", &words);
    unit.after = Some("kube-apiserver".to_owned());
    unit.ready = Some(Ready::Socket(SIMULATED.into()));
    host.client().start(unit)?;
    await_unit(&host, "simulated-nodes")
}

pub(super) fn ready(engine: &Engine<'_>) -> Result<(), EngineError> {
    let plan = engine.plan();
    if plan.nodes().next().is_none() {
        return Ok(());
    }
    let api = engine.api()?;
    for planned in plan.nodes() {
        let path = format!("/api/v1/nodes/{}", planned.name);
        let host = engine.host(planned)?;
        let wait = Wait::new(&api, format!("node {} to become ready", planned.name), path);
        let result = wait.suspect(host.clone(), "kubelet").suspect(host, "containerd").until(|node| {
            let conditions = node["status"]["conditions"].as_array().ok_or("it says nothing of itself yet")?;
            let ready = conditions.iter().find(|one| one["type"] == "Ready").ok_or("it says nothing of itself yet")?;
            if ready["status"] == "True" {
                Ok(())
            } else {
                Err(ready["message"].as_str().unwrap_or("no reason").to_owned())
            }
        });
        result?;
    }
    // Without kube-proxy it finds no API server: whoever leaves that out brings something else.
    if !engine.has_dns() || !engine.has_proxy() {
        return static_pods::mirrored(engine);
    }
    let wait = Wait::new(&api, "CoreDNS", "/apis/apps/v1/namespaces/kube-system/deployments/coredns");
    let wait = wait.pods("/api/v1/namespaces/kube-system/pods?labelSelector=k8s-app%3Dkube-dns");
    let suspects = engine.plan().of(Role::ControlPlane);
    let wait = suspects
        .into_iter()
        .try_fold(wait, |wait, planned| Ok::<_, EngineError>(wait.suspect(engine.host(planned)?, "kube-scheduler")))?;
    wait.until(|one| {
        let available = one["status"]["availableReplicas"].as_u64().unwrap_or(0);
        if available > 0 { Ok(()) } else { Err("no pod of it is available".to_owned()) }
    })?;
    static_pods::mirrored(engine)
}
