//! The container runtime: which one, whether it answers, and how it is set up. The first cause is named.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::check::{Check, Judgement, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion, Inconclusive};
use crate::construct::{dir, file, no_dir, refuses, replace, stat, value};
use crate::fact::Fact;
use crate::host::{CriCall, FileKind, Host, Query, RefusalKind};
use crate::node::View;
use crate::profile::{Role, Runtime};

const RUNTIMES: &str = "https://kubernetes.io/docs/setup/production-environment/container-runtimes/";
const TROUBLE: &str = "https://github.com/containerd/containerd/issues/8139";
const CNI: &str = "https://www.cni.dev/docs/spec/";
const CONTAINERD_CONFIG: &str = "/etc/containerd/config.toml";
const CONTAINERD: &str = "/run/containerd/containerd.sock";
const NET_D: &str = "/etc/cni/net.d";
/// Where CNI plug-ins are: upstream's place, Debian's, and RHEL's.
const PLUGIN_DIRS: [&str; 3] = ["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"];

/// Sockets that kubeadm looks for, and those of other installers.
const SOCKETS: [(&str, Runtime); 5] = [
    (CONTAINERD, Runtime::Containerd),
    ("/run/crio/crio.sock", Runtime::Crio),
    ("/run/cri-dockerd.sock", Runtime::Docker),
    ("/run/k3s/containerd/containerd.sock", Runtime::Containerd),
    ("/run/dockershim.sock", Runtime::Docker),
];

/// A runtime's socket and what it answers.
#[derive(Debug)]
pub struct Socket {
    /// The path.
    pub path: &'static str,
    /// The runtime that it is of.
    pub runtime: Runtime,
    /// Name, version and API version of the runtime, over CRI v1.
    pub version: Fact<Arc<Value>>,
    /// The same over v1alpha2, asked only where v1 is not implemented.
    pub alpha: Fact<Arc<Value>>,
    /// Conditions and verbose information.
    pub status: Fact<Arc<Value>>,
    /// The cgroup driver that it tells the kubelet.
    pub config: Fact<Arc<Value>>,
}

/// What is known of the runtime.
#[derive(Debug)]
pub struct Facts {
    /// The sockets that are there.
    pub sockets: Fact<Vec<Socket>>,
    /// containerd's configuration, with its text for line numbers.
    pub containerd: Fact<(String, toml::Table)>,
    /// CNI configurations by file name: their text.
    pub networks: Fact<BTreeMap<String, Fact<String>>>,
    /// CNI plug-ins that are there.
    pub plugins: Fact<Vec<String>>,
    /// crictl's configuration.
    pub crictl: Fact<String>,
}

impl Facts {
    pub(super) fn read(host: &dyn Host) -> Self {
        Self {
            sockets: sockets(host),
            containerd: host.text(CONTAINERD_CONFIG).parse(|text| match text.parse::<toml::Table>() {
                Ok(table) => Ok((text, table)),
                Err(error) => Err(format!("{CONTAINERD_CONFIG} is no TOML: {}", error.message())),
            }),
            networks: host.list(NET_D).map(|entries| {
                let wanted = |name: &str| [".conf", ".conflist", ".json"].iter().any(|ending| name.ends_with(ending));
                let files = entries.into_iter().filter(|entry| wanted(&entry.name));
                files.map(|entry| (entry.name.clone(), host.text(&format!("{NET_D}/{}", entry.name)))).collect()
            }),
            plugins: plugins(host),
            crictl: host.text("/etc/crictl.yaml"),
        }
    }

    /// The socket of the profile's runtime, or the one that is there.
    fn socket(&self, wanted: Option<Runtime>) -> Result<Option<&Socket>, Inconclusive> {
        let sockets = self.sockets.need("runtime sockets")?;
        Ok(sockets.iter().find(|socket| wanted.is_none_or(|wanted| socket.runtime == wanted)))
    }
}

fn sockets(host: &dyn Host) -> Fact<Vec<Socket>> {
    let mut found = Vec::new();
    for (path, runtime) in SOCKETS {
        match host.stat(path) {
            Fact::Known(stat) if stat.kind == FileKind::Socket => {
                let ask = |call| host.value(&Query::Cri { socket: path.to_owned(), call });
                let version = ask(CriCall::Version);
                let alpha = match &version {
                    Fact::Unreadable(why) if why.contains("not implemented") => ask(CriCall::VersionV1alpha2),
                    _ => Fact::NotGathered("CRI v1 answered, or nothing did".to_owned()),
                };
                let answers = version.known().is_some();
                let ask = |call| {
                    if answers { ask(call) } else { Fact::NotGathered(format!("{path} does not answer CRI v1")) }
                };
                let (status, config) = (ask(CriCall::Status), ask(CriCall::RuntimeConfig));
                found.push(Socket { path, runtime, version, alpha, status, config });
            }
            Fact::Known(_) | Fact::Absent(_) => {}
            Fact::Unreadable(why) | Fact::Malformed(why) => return Fact::Unreadable(why),
            Fact::NotGathered(why) => return Fact::NotGathered(why),
        }
    }
    Fact::Known(found)
}

fn plugins(host: &dyn Host) -> Fact<Vec<String>> {
    let mut last = Fact::Absent("no folder of CNI plug-ins was looked at".to_owned());
    let mut all = Vec::new();
    for folder in PLUGIN_DIRS {
        match host.list(folder) {
            Fact::Known(entries) => all.extend(entries.into_iter().map(|entry| entry.name)),
            other => last = other.map(|_| Vec::new()),
        }
    }
    if all.is_empty() { last } else { Fact::Known(all) }
}

/// The line of a configuration in which a key is set.
fn line(text: &str, key: &str) -> Option<u32> {
    let set = |line: &str| line.trim_start().strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='));
    text.lines().position(set).and_then(|number| u32::try_from(number + 1).ok())
}

/// Every value of a key, however deep in the configuration: containerd's versions 1 to 3 nest differently.
fn deep<'t>(table: &'t toml::Table, key: &str, found: &mut Vec<&'t toml::Value>) {
    for (name, value) in table {
        if name == key {
            found.push(value);
        }
        if let toml::Value::Table(inner) = value {
            deep(inner, key, found);
        }
    }
}

/// A plug-in that a configuration of version 2 or later disables by a short name, which containerd refuses.
fn short_name(table: &toml::Table) -> Option<&str> {
    let version = table.get("version").and_then(toml::Value::as_integer).unwrap_or(1);
    let plugins = table.get("disabled_plugins").and_then(toml::Value::as_array).filter(|_| version >= 2)?;
    plugins.iter().filter_map(toml::Value::as_str).find(|name| !name.starts_with("io.containerd."))
}

fn cri_disabled(table: &toml::Table) -> bool {
    let plugins = table.get("disabled_plugins").and_then(toml::Value::as_array);
    let cri = |name: &str| {
        name == "cri" || name.starts_with("io.containerd.grpc.v1.cri") || name.starts_with("io.containerd.cri.v1")
    };
    plugins.is_some_and(|plugins| plugins.iter().filter_map(toml::Value::as_str).any(cri))
}

/// Why a socket does not answer CRI v1, from the first cause on.
fn why_no_cri(view: &View<'_>, socket: &Socket, why: &str) -> Breach {
    if socket.runtime == Runtime::Containerd
        && let Some((text, table)) = view.facts.runtime.containerd.known()
        && cri_disabled(table)
    {
        let line = line(text, "disabled_plugins");
        let place = line.map_or_else(String::new, |line| format!(" line {line}"));
        let message = format!("containerd is up, and its CRI plug-in is disabled in {CONTAINERD_CONFIG}{place}");
        return Breach::new("cri", message)
            .found("disabled_plugins = [\"cri\"]")
            .wanted("disabled_plugins = []")
            .at(CONTAINERD_CONFIG, line);
    }
    if socket.alpha.known().is_some() {
        return Breach::new("cri", "the runtime speaks only CRI v1alpha2, which kubelets from 1.26 on do not")
            .found("v1alpha2")
            .wanted("v1")
            .at(socket.path, None);
    }
    Breach::new("cri", format!("the runtime does not answer: {why}")).at(socket.path, None)
}

fn judge_answers(view: &View<'_>) -> Judgement {
    let Some(socket) = view.facts.runtime.socket(view.profile.runtime)? else {
        let wanted: Vec<_> = SOCKETS
            .iter()
            .filter(|(_, runtime)| view.profile.runtime.is_none_or(|wanted| wanted == *runtime))
            .map(|(path, _)| *path)
            .collect();
        let breach = Breach::new("cri", "there is no container runtime: none of its sockets is there")
            .wanted(wanted.join(" or "));
        return Ok(Conclusion::breach(match view.facts.runtime.containerd.known() {
            Some(_) => {
                Breach { message: "containerd is set up and not running: its socket is not there".to_owned(), ..breach }
            }
            None => breach,
        }));
    };
    Ok(match &socket.version {
        Fact::Known(version) => {
            let text = |key| version.get(key).and_then(Value::as_str).unwrap_or("?");
            Conclusion::holds().because(socket.path, format!("{} {}", text("runtimeName"), text("runtimeVersion")))
        }
        Fact::NotGathered(why) => Conclusion::undetermined(why),
        Fact::Unreadable(why) if why.contains("permission denied") => Conclusion::undetermined(why),
        Fact::Unreadable(why) | Fact::Malformed(why) | Fact::Absent(why) => {
            // Before 1.26 a kubelet is content with v1alpha2.
            if view.profile.kubernetes.0 <= 25 && socket.alpha.known().is_some() {
                return Ok(Conclusion::holds().because(socket.path, "CRI v1alpha2"));
            }
            Conclusion::breach(why_no_cri(view, socket, why))
        }
    })
}

fn judge_condition(view: &View<'_>, name: &str) -> Judgement {
    let Some(socket) = view.facts.runtime.socket(view.profile.runtime)? else {
        return Ok(Conclusion::not_applicable("there is no container runtime"));
    };
    let status = socket.status.need("the runtime's status")?;
    let conditions = status.get("conditions").and_then(Value::as_array);
    let condition = conditions
        .and_then(|all| all.iter().find(|condition| condition.get("type").and_then(Value::as_str) == Some(name)));
    let text = |key| condition.and_then(|condition| condition.get(key)).and_then(Value::as_str).unwrap_or_default();
    Ok(match condition.and_then(|condition| condition.get("status")).and_then(Value::as_bool) {
        Some(true) => Conclusion::holds(),
        Some(false) => Conclusion::breach(
            Breach::new(name, format!("{}: {}", text("reason"), text("message")))
                .found("false")
                .wanted("true")
                .at(socket.path, None),
        ),
        None => {
            Conclusion::breach(Breach::new(name, format!("the runtime does not report {name}")).at(socket.path, None))
        }
    })
}

fn with_containerd(view: &View<'_>, judge: impl FnOnce(&str, &toml::Table) -> Judgement) -> Judgement {
    match view.facts.runtime.containerd.present(CONTAINERD_CONFIG)? {
        Some((text, table)) => judge(text, table),
        None => Ok(Conclusion::not_applicable(format!(
            "there is no {CONTAINERD_CONFIG}: containerd's defaults, or another runtime"
        ))),
    }
}

fn containerd_version(view: &View<'_>) -> Result<Option<(u32, u32)>, Inconclusive> {
    let Some(socket) = view.facts.runtime.socket(Some(Runtime::Containerd))? else { return Ok(None) };
    let version = socket.version.need("containerd's version")?;
    let text = version.get("runtimeVersion").and_then(Value::as_str).unwrap_or_default().trim_start_matches('v');
    let mut parts = text.split('.');
    let mut next = || parts.next().and_then(|part| part.parse().ok());
    match (next(), next()) {
        (Some(major), Some(minor)) => Ok(Some((major, minor))),
        _ => Err(Inconclusive::new(format!("containerd says that its version is '{text}'"))),
    }
}

/// A CNI configuration: its path, and its content or why that is no JSON.
type Network = (String, Result<Value, String>);

/// The first CNI configuration in the order of names, which is the one that runtimes use.
fn first_network(view: &View<'_>) -> Result<Option<Network>, Inconclusive> {
    let Some(networks) = view.facts.runtime.networks.present(NET_D)? else { return Ok(None) };
    let Some((name, text)) = networks.iter().next() else { return Ok(None) };
    let path = format!("{NET_D}/{name}");
    let parsed = serde_json::from_str::<Value>(text.need(&path)?).map_err(|error| error.to_string());
    Ok(Some((path, parsed)))
}

fn cri(call: CriCall) -> Query {
    Query::Cri { socket: CONTAINERD.to_owned(), call }
}

fn restart() -> Remedy {
    Remedy::new("Start it, and read what it says.")
        .command("systemctl enable --now containerd")
        .command("journalctl -u containerd -n 50")
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    let members = [Role::ControlPlane, Role::Worker];
    vec![
        Check::new("node.runtime.answers", "the container runtime answers the CRI", judge_answers)
            .roles(members)
            .label("runtime").label("kubeadm")
            .alias("CRI")
            .alias("ContainerRuntimeVersion")
            .alias("container runtime is not running")
            .page("The kubelet runs every pod through it, and kubeadm refuses a node whose runtime does not answer.", "Calls Version over the runtime's socket. Where it does not answer, looks for the cause: no socket, a stale one, a plug-in that is disabled, an API that is too old.")
            .basis("kubeadm preflight: CRI; containerd issue 8139", TROUBLE)
            .remedy(restart())
            .remedy(Remedy::new("Enable the CRI plug-in: packages of Docker's disable it.").when("the CRI plug-in is disabled").command("containerd config default > /etc/containerd/config.toml && systemctl restart containerd"))
            .remedy(restart())
            .bad([
                file(CONTAINERD_CONFIG, "version = 2\n\ndisabled_plugins = [\"cri\"]\n"),
                refuses(cri(CriCall::Version), RefusalKind::Unsupported, "Version is not implemented: unknown service runtime.v1.RuntimeService"),
                refuses(cri(CriCall::VersionV1alpha2), RefusalKind::Unsupported, "not implemented"),
            ]),
        Check::new("node.runtime.cri-plugin", "containerd's CRI plug-in is not disabled", |view| {
            with_containerd(view, |text, table| {
                Ok(if cri_disabled(table) {
                    Conclusion::breach(Breach::new("disabled_plugins", "the CRI plug-in is disabled: the kubelet cannot use this containerd").at(CONTAINERD_CONFIG, line(text, "disabled_plugins")))
                } else {
                    Conclusion::holds()
                })
            })
        })
        .label("runtime")
        .alias("disabled_plugins")
        .alias("ContainerRuntimeVersion")
        .page("Docker's containerd.io package ships with it disabled.", "Reads disabled_plugins in containerd's configuration.")
        .basis("Container runtimes: containerd", RUNTIMES)
        .remedy(Remedy::new("Take cri out of the list.").command("sed -i '/^disabled_plugins/d' /etc/containerd/config.toml && systemctl restart containerd"))
        .bad([file(CONTAINERD_CONFIG, "disabled_plugins = [\"cri\"]\n")]),
        Check::new("node.runtime.config-valid", "containerd's configuration can be read", |view| {
            Ok(match &view.facts.runtime.containerd {
                Fact::Known((text, table)) => match short_name(table) {
                    Some(name) => Conclusion::breach(
                        Breach::new("disabled_plugins", format!("containerd cannot start with it: from version 2 on, plug-ins have whole names, and {name} is none"))
                            .found(name)
                            .wanted("io.containerd.grpc.v1.cri")
                            .at(CONTAINERD_CONFIG, line(text, "disabled_plugins")),
                    ),
                    None => Conclusion::holds(),
                },
                Fact::Absent(_) => Conclusion::not_applicable(format!("there is no {CONTAINERD_CONFIG}")),
                Fact::NotGathered(why) | Fact::Unreadable(why) => Conclusion::undetermined(why),
                Fact::Malformed(why) => Conclusion::breach(Breach::new(CONTAINERD_CONFIG, format!("containerd cannot start with it: {why}")).at(CONTAINERD_CONFIG, None)),
            })
        })
        .label("runtime")
        .alias("containerd config")
        .page("containerd ends at start where its configuration is damaged.", "Reads and parses the file.")
        .basis("containerd: configuration", "https://github.com/containerd/containerd/blob/main/docs/man/containerd-config.toml.5.md")
        .remedy(Remedy::new("Write the defaults, and make your changes again.").command("containerd config default > /etc/containerd/config.toml"))
        .bad([file(CONTAINERD_CONFIG, "version = [\n")]),
        Check::new("node.runtime.one", "one container runtime is there", |view| {
            let sockets = view.facts.runtime.sockets.need("runtime sockets")?;
            let paths: Vec<_> = sockets.iter().map(|socket| socket.path).collect();
            Ok(if sockets.len() > 1 && view.profile.runtime.is_none() {
                Conclusion::breach(Breach::new("cri", format!("{} are all there: kubeadm refuses to choose", paths.join(", "))).found(paths.join(", ")).wanted("one, or criSocket named"))
            } else if sockets.is_empty() {
                Conclusion::not_applicable("there is no container runtime")
            } else {
                Conclusion::holds().because("sockets", paths.join(", "))
            })
        })
        .severity(Severity::Medium)
        .roles(members)
        .label("runtime").label("kubeadm")
        .alias("found multiple CRI endpoints")
        .page("With more than one kubeadm stops unless nodeRegistration.criSocket names one, and images lie in the store of the other.", "Looks for the sockets of containerd, CRI-O, cri-dockerd and k3s.")
        .basis("Installing kubeadm: installing a container runtime", "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/install-kubeadm/")
        .remedy(Remedy::new("Remove the other, or name the one: kubeadm init --cri-socket, and --runtime here.").command("systemctl disable --now crio"))
        .bad([stat("/run/crio/crio.sock", FileKind::Socket, 0o660, 0, 0)]),
        Check::new("node.runtime.ready", "the runtime says that it is ready", |view| judge_condition(view, "RuntimeReady"))
            .roles(members)
            .label("runtime").label("kubeadm")
            .alias("RuntimeReady")
            .page("A runtime that answers may still not be able to run containers.", "Calls Status and reads the condition RuntimeReady.")
            .basis("CRI: RuntimeStatus; kubeadm preflight: CRI", "https://kubernetes.io/docs/concepts/architecture/cri/")
            .remedy(restart())
        .bad([value(cri(CriCall::Status), json!({"conditions": [{"type": "RuntimeReady", "status": false, "reason": "ContainerdNotReady", "message": "shim missing"}]}))]),
        Check::new("node.runtime.network-ready", "the runtime says that its network is ready", |view| judge_condition(view, "NetworkReady"))
            .severity(Severity::Medium)
            .roles(members)
            .label("runtime").label("network")
            .alias("NetworkReady")
            .alias("NetworkPluginNotReady")
            .page("Until a pod network is installed the node stays NotReady, and CoreDNS Pending. Before that it is what one expects.", "Calls Status and reads the condition NetworkReady.")
            .basis("Troubleshooting kubeadm: coredns is stuck in the Pending state", "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/troubleshooting-kubeadm/")
            .remedy(Remedy::new("Install a pod network; its DaemonSet writes /etc/cni/net.d."))
            .bad([value(cri(CriCall::Status), json!({"conditions": [{"type": "NetworkReady", "status": false, "reason": "NetworkPluginNotReady", "message": "cni plugin not initialized"}]}))]),
        Check::new("node.runtime.runtime-config", "the runtime tells the kubelet its cgroup driver", |view| {
            let Some(socket) = view.facts.runtime.socket(view.profile.runtime)? else {
                return Ok(Conclusion::not_applicable("there is no container runtime"));
            };
            Ok(match &socket.config {
                Fact::Known(config) => Conclusion::holds().because("cgroupDriver", config.get("cgroupDriver").map(ToString::to_string).unwrap_or_default()),
                Fact::Unreadable(why) if why.contains("not implemented") => Conclusion::breach(Breach::new("RuntimeConfig", "the runtime does not implement it: the kubelet falls back to its own cgroupDriver, and from 1.38 refuses").at(socket.path, None)),
                Fact::Unreadable(why) | Fact::Malformed(why) | Fact::Absent(why) | Fact::NotGathered(why) => {
                    Conclusion::undetermined(why)
                },
            })
        })
        .severity(Severity::Medium)
        .versions(31..=u32::MAX)
        .roles(members)
        .label("runtime").label("kubeadm")
        .alias("ContainerRuntimeVersion")
        .alias("RuntimeConfig")
        .page("With KubeletCgroupDriverFromCRI the kubelet takes its driver from the runtime: containerd 2.0 and CRI-O 1.28 have it.", "Calls RuntimeConfig.")
        .basis("KEP-4033: discover cgroup driver from CRI; kubeadm preflight: ContainerRuntimeVersion", RUNTIMES)
        .remedy(Remedy::new("Upgrade containerd to 2.0 or later."))
        .bad([refuses(cri(CriCall::RuntimeConfig), RefusalKind::Unsupported, "RuntimeConfig is not implemented: unknown method")]),
        Check::new("node.runtime.cgroup-driver", "runtime and kubelet use the same cgroup driver", |view| {
            let Some(kubelet) = view.facts.kubelet.config.present("the kubelet's configuration")? else {
                return Ok(Conclusion::not_applicable("the node has not joined a cluster"));
            };
            let kubelet_driver = kubelet.get("cgroupDriver").and_then(Value::as_str).unwrap_or("cgroupfs");
            let told = view.facts.runtime.socket(view.profile.runtime)?.and_then(|socket| socket.config.known());
            let told = told.and_then(|config| config.get("cgroupDriver")).and_then(Value::as_str);
            let set = view.facts.runtime.containerd.known().map(|(text, table)| {
                let mut found = Vec::new();
                deep(table, "SystemdCgroup", &mut found);
                let systemd = found.iter().any(|value| value.as_bool() == Some(true));
                (if systemd { "systemd" } else { "cgroupfs" }, line(text, "SystemdCgroup"))
            });
            let (driver, at) = match (told, set) {
                (Some(told), set) => (told, set.and_then(|(_, line)| line)),
                (None, Some((driver, line))) => (driver, line),
                (None, None) => return Ok(Conclusion::undetermined("neither the runtime nor its configuration says which cgroup driver it uses")),
            };
            Ok(if driver == kubelet_driver {
                Conclusion::holds().because("both", driver)
            } else {
                let kubelet_at = kubelet.line("cgroupDriver").map_or_else(String::new, |line| format!(" line {line}"));
                let why = format!("the runtime uses {driver}, and the kubelet {kubelet_driver} ({}{kubelet_at}): pods land in two trees, and the kubelet fails", crate::node::kubelet::CONFIG);
                let breach = Breach::new("cgroup driver", why).found(driver).wanted(kubelet_driver);
                Conclusion::breach(match at {
                    Some(line) => breach.at(CONTAINERD_CONFIG, Some(line)),
                    None => breach,
                })
            })
        })
        .label("runtime").label("cgroup")
        .alias("SystemdCgroup")
        .alias("cgroup driver mismatch")
        .page("The kubelet makes a pod's cgroup, and the runtime the containers' below it. Where their drivers differ the paths do not meet.", "Compares what the runtime tells (RuntimeConfig), else SystemdCgroup in containerd's configuration, with the kubelet's cgroupDriver.")
        .basis("Container runtimes: cgroup drivers", "https://kubernetes.io/docs/setup/production-environment/container-runtimes/#cgroup-drivers")
        .remedy(Remedy::new("Set systemd in both.").command("sed -i 's/SystemdCgroup = false/SystemdCgroup = true/' /etc/containerd/config.toml && systemctl restart containerd"))
        .bad([value(cri(CriCall::RuntimeConfig), json!({"cgroupDriver": "cgroupfs"}))]),
        Check::new("node.runtime.containerd-version", "containerd is of a series that is still mended", |view| {
            let Some((major, minor)) = containerd_version(view)? else {
                return Ok(Conclusion::not_applicable("containerd is not the runtime"));
            };
            Ok(if (major, minor) >= (1, 7) {
                Conclusion::holds().because("containerd", format!("{major}.{minor}"))
            } else {
                Conclusion::breach(Breach::new("containerd", "this series gets no mends any more").found(format!("{major}.{minor}")).wanted("1.7 or later"))
            })
        })
        .severity(Severity::Medium)
        .label("runtime")
        .alias("containerd version")
        .page("Series before 1.7 have reached their end.", "Calls Version.")
        .basis("containerd: releases", "https://containerd.io/releases/")
        .remedy(Remedy::new("Install a current series."))
        .bad([value(cri(CriCall::Version), json!({"runtimeName": "containerd", "runtimeVersion": "1.5.9", "runtimeApiVersion": "v1"}))]),
        Check::new("node.runtime.dockershim", "no dockershim is left from before 1.24", |view| {
            let sockets = view.facts.runtime.sockets.need("runtime sockets")?;
            Ok(match sockets.iter().find(|socket| socket.path.contains("dockershim")) {
                Some(socket) => Conclusion::breach(Breach::new("dockershim", "the socket of dockershim is there: it was taken out of the kubelet with 1.24").at(socket.path, None)),
                None => Conclusion::holds(),
            })
        })
        .severity(Severity::Medium)
        .versions(24..=u32::MAX)
        .label("runtime")
        .alias("dockershim")
        .page("Docker Engine needs cri-dockerd since 1.24.", "Looks for the socket.")
        .basis("Dockershim removal FAQ", "https://kubernetes.io/blog/2022/02/17/dockershim-faq/")
        .remedy(Remedy::new("Move the node to containerd, or install cri-dockerd."))
        .bad([stat("/run/dockershim.sock", FileKind::Socket, 0o660, 0, 0)]),
        Check::new("node.runtime.crictl-endpoint", "crictl asks the runtime that is there", |view| {
            let Some(text) = view.facts.runtime.crictl.present("/etc/crictl.yaml")? else {
                return Ok(Conclusion::not_applicable("there is no /etc/crictl.yaml: crictl tries the known sockets"));
            };
            let number = text.lines().position(|line| line.starts_with("runtime-endpoint:"));
            let Some(number) = number else { return Ok(Conclusion::holds()) };
            let endpoint = text.lines().nth(number).and_then(|line| line.split_once(':')).map_or("", |(_, rest)| rest.trim().trim_matches(['"', '\'']));
            let path = endpoint.trim_start_matches("unix://").replace("/var/run/", "/run/");
            let sockets = view.facts.runtime.sockets.need("runtime sockets")?;
            Ok(if sockets.iter().any(|socket| socket.path == path) {
                Conclusion::holds().because("runtime-endpoint", endpoint)
            } else {
                Conclusion::breach(Breach::new("runtime-endpoint", format!("{endpoint} is no socket of a runtime here")).at("/etc/crictl.yaml", u32::try_from(number + 1).ok()))
            })
        })
        .severity(Severity::Low)
        .label("runtime")
        .alias("crictl.yaml")
        .page("The tool that you reach for when the kubelet is down would look at nothing.", "Compares its runtime-endpoint with the sockets.")
        .basis("crictl: configuration", "https://kubernetes.io/docs/tasks/debug/debug-cluster/crictl/")
        .remedy(Remedy::new("Name the socket.").persist("/etc/crictl.yaml", "runtime-endpoint: unix:///run/containerd/containerd.sock\n"))
        .bad([file("/etc/crictl.yaml", "runtime-endpoint: unix:///run/crio/crio.sock\n")]),
        Check::new("node.runtime.cni-config", "the first CNI configuration is valid", |view| {
            Ok(match first_network(view)? {
                None => Conclusion::breach(Breach::new(NET_D, "there is no CNI configuration: the node stays NotReady until a pod network is installed").at(NET_D, None)),
                Some((path, Err(why))) => Conclusion::breach(Breach::new(&path, format!("it is no JSON: {why}")).at(path, None)),
                Some((path, Ok(config))) => {
                    let list = config.get("plugins").and_then(Value::as_array).is_some_and(|plugins| !plugins.is_empty());
                    if config.get("name").is_some() && (list || config.get("type").is_some()) {
                        Conclusion::holds().because("used", path)
                    } else {
                        Conclusion::breach(Breach::new(&path, "it names no network and no plug-in").at(path, None))
                    }
                }
            })
        })
        .severity(Severity::Medium)
        .roles(members)
        .label("runtime").label("network")
        .alias("cni plugin not initialized")
        .page("Runtimes use the first file in the order of names; one that is damaged hides the good one behind it.", "Reads /etc/cni/net.d.")
        .basis("CNI specification: network configuration", CNI)
        .remedy(Remedy::new("Install a pod network, or remove the damaged file."))
        .bad([no_dir(NET_D)]),
        Check::new("node.runtime.cni-plugins", "the plug-ins of the first CNI configuration are there", |view| {
            let Some((path, Ok(config))) = first_network(view)? else {
                return Ok(Conclusion::not_applicable("there is no valid CNI configuration"));
            };
            let list = config.get("plugins").and_then(Value::as_array).cloned().unwrap_or_else(|| vec![config.clone()]);
            let types = list.iter().filter_map(|plugin| plugin.get("type").and_then(Value::as_str));
            let there = view.facts.runtime.plugins.present("CNI plug-ins")?;
            let has = |name: &str| there.is_some_and(|all| all.iter().any(|plugin| plugin == name));
            let missing = types.chain(["loopback"]).filter(|name| !has(name));
            let breach = |name: &str| Breach::new(name, format!("the CNI plug-in {name} is in none of {}", PLUGIN_DIRS.join(", "))).at(path.clone(), None);
            Ok(Conclusion::from_breaches(missing.map(breach).collect()))
        })
        .severity(Severity::Medium)
        .roles(members)
        .label("runtime").label("network")
        .alias("failed to find plugin")
        .page("Each pod sandbox runs them; where one is missing every pod fails with 'failed to find plugin'.", "Compares the configuration's types, and loopback, with the folders of plug-ins.")
        .basis("CNI specification: network configuration", CNI)
        .remedy(Remedy::new("Install the CNI plug-ins.").when("Debian/Ubuntu").command("apt-get install -y containernetworking-plugins"))
        .remedy(Remedy::new("Install the CNI plug-ins.").when("RHEL/Fedora").command("dnf install -y containernetworking-plugins"))
        .bad([dir("/opt/cni/bin", &["loopback"])]),
        Check::new("node.runtime.one-network", "there is one CNI configuration", |view| {
            let Some(networks) = view.facts.runtime.networks.present(NET_D)? else {
                return Ok(Conclusion::not_applicable("there is no CNI configuration"));
            };
            let names: Vec<_> = networks.keys().map(String::as_str).collect();
            Ok(match names[..] {
                [first, _, ..] => Conclusion::breach(Breach::new(NET_D, format!("{} are there, and only {first} is used", names.join(", "))).at(NET_D, None)),
                _ => Conclusion::holds().because(NET_D, names.join(", ")),
            })
        })
        .severity(Severity::Low)
        .label("runtime").label("network")
        .alias("several CNI configurations")
        .page("What a removed network leaves behind sorts before the new one and wins.", "Lists /etc/cni/net.d.")
        .basis("containerd: CNI configuration", "https://github.com/containerd/containerd/blob/main/docs/cri/installation.md")
        .remedy(Remedy::new("Remove what is left of the old network."))
        .bad([dir(NET_D, &["00-old.conf", "10-net.conflist"]), file("/etc/cni/net.d/00-old.conf", "{}")]),
        Check::new("node.runtime.sandbox-image", "containerd's sandbox image is named", |view| {
            with_containerd(view, |text, table| {
                let mut found = Vec::new();
                deep(table, "sandbox_image", &mut found);
                deep(table, "sandbox", &mut found);
                let image = found.iter().find_map(|value| value.as_str());
                Ok(match image {
                    Some("") => Conclusion::breach(Breach::new("sandbox_image", "it is empty: no pod sandbox can be made").at(CONTAINERD_CONFIG, line(text, "sandbox_image"))),
                    Some(image) => Conclusion::holds().because("sandbox image", image),
                    None => Conclusion::holds().because("sandbox image", "not set: containerd's default"),
                })
            })
        })
        .label("runtime")
        .alias("sandbox_image")
        .alias("pause image")
        .page("Every pod begins with it; behind a firewall the default cannot be pulled.", "Reads containerd's configuration.")
        .basis("Container runtimes: overriding the sandbox (pause) image", RUNTIMES)
        .remedy(Remedy::new("Name the image that your registry has.").command("systemctl restart containerd"))
        .bad([replace(CONTAINERD_CONFIG, "registry.k8s.io/pause:3.10.1", "")]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_deep_keys_are_found() {
        let text = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]\n  SystemdCgroup = true\n";
        assert_eq!(line(text, "SystemdCgroup"), Some(3));
        let table = text.parse().unwrap();
        let mut found = Vec::new();
        deep(&table, "SystemdCgroup", &mut found);
        assert_eq!(found, [&toml::Value::Boolean(true)]);
    }
}
