//! Does the runtime answer, and what does it say of itself?

use serde_json::{Value, json};

use super::socket::SOCKETS;
use super::{CgroupDriver, RUNTIMES, Socket, because, config, cri};
use crate::check::{Check, Judgment, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion, Inconclusive};
use crate::construct::{file, no_stat, refuses, replace, said, stat, value};
use crate::effective::{Origin, containerd, kubelet};
use crate::fact::Fact;
use crate::host::{CriCall, FileKind, Program, Query, RefusalKind};
use crate::node::View;
use crate::profile::{Role, Runtime};

const TROUBLE: &str = "https://github.com/containerd/containerd/issues/8139";
const CRIO: &str = "/run/crio/crio.sock";

/// Writes containerd's defaults, with the cgroup driver of the init system. Releases differ in where the option stands,
/// and not in its name.
pub(super) fn defaults(path: &str, systemd: bool) -> String {
    let sed = if systemd { " | sed 's/SystemdCgroup = false/SystemdCgroup = true/'" } else { "" };
    format!("containerd config default{sed} > {path}.new && mv {path}.new {path}")
}

pub(super) fn is_systemd(view: &View<'_>) -> bool {
    view.facts.machine.init.known().is_some_and(|init| init == "systemd")
}

fn commands(socket: &Socket) -> (&'static str, &'static str) {
    socket.row().map_or((SOCKETS[0].restart, SOCKETS[0].log), |row| (row.restart, row.log))
}

/// No socket is there: what is installed decides what to do.
fn no_socket(view: &View<'_>) -> Judgment {
    let facts = &view.facts.runtime;
    if let Some((endpoint, origin)) = facts.endpoint.as_ref().filter(|_| view.profile.runtime.is_none()) {
        let why = format!("the kubelet is configured with {endpoint}, and there is no such socket");
        let row = SOCKETS.iter().find(|row| row.path == endpoint).unwrap_or(&SOCKETS[0]);
        let remedy = Remedy::new("Start the runtime of that socket, or configure the kubelet with the one that runs.");
        let breach = Breach::new("cri", why).found("missing").wanted(endpoint);
        return Ok(Conclusion::breach(origin.place(breach).remedy(remedy.command(row.restart).command(row.log))));
    }
    let is_of = |runtime| view.profile.runtime.is_none_or(|wanted| wanted == runtime);
    let wanted: Vec<_> = SOCKETS.iter().filter(|row| row.kubeadm && is_of(row.runtime)).map(|row| row.path).collect();
    let breach = |why: &str| Breach::new("cri", why).found("no socket").wanted(wanted.join(" or "));
    let remedy = match view.profile.runtime {
        Some(Runtime::Crio) => Remedy::new("Start CRI-O.").command("systemctl enable --now crio"),
        Some(Runtime::Docker) => Remedy::new("Start Docker Engine and cri-dockerd.")
            .command("systemctl enable --now docker cri-docker.socket"),
        _ if facts.installed.known().is_some() || facts.containerd.known().is_some_and(|it| !it.files.is_empty()) => {
            let remedy = Remedy::new("Start containerd. If it does not stay up, its log says why.");
            let start = "systemctl enable --now containerd";
            let breach = breach("containerd is installed and does not run: its socket is missing");
            return Ok(Conclusion::breach(breach.remedy(remedy.command(start).command(SOCKETS[0].log))));
        }
        _ => {
            let install = |when: &str, command: &str| {
                let remedy = Remedy::new("Install containerd, with the cgroup driver of the init system.").when(when);
                let remedy = remedy.command(command).command("mkdir -p /etc/containerd");
                remedy
                    .command(defaults(containerd::CONFIG, is_systemd(view)))
                    .command("systemctl enable containerd && systemctl restart containerd")
            };
            let breach = breach("there is no container runtime: none of its sockets is there")
                .remedy(install("Debian/Ubuntu", "apt-get install -y containerd"))
                .remedy(install("RHEL/Fedora", "dnf install -y containerd.io || dnf install -y containerd"));
            return Ok(Conclusion::breach(breach));
        }
    };
    Ok(Conclusion::breach(breach("there is no container runtime: none of its sockets is there").remedy(remedy)))
}

/// What in containerd's configuration keeps it from serving the CRI: a finding of another claim.
fn unusable(view: &View<'_>) -> Option<Inconclusive> {
    let it = view.facts.runtime.containerd.known()?;
    if let Some(broken) = &it.broken {
        return Some(because(config::VALID, &broken.to_string()));
    }
    if let Some((name, origin)) = it.cri_disabled() {
        return Some(because(config::PLUGIN, &format!("{name} is in disabled_plugins ({origin})")));
    }
    it.cri_refusal().map(|(refusal, origin)| because(config::VALID, &format!("{refusal} ({origin})")))
}

/// Why a socket does not answer CRI v1, from the first cause on. Causes in the configuration are findings of other
/// claims.
fn no_answer(view: &View<'_>, socket: &Socket, why: &str) -> Judgment {
    if socket.runtime == Runtime::Containerd
        && let Some(why) = unusable(view)
    {
        return Err(why);
    }
    let (restart, log) = commands(socket);
    let breach = |why: String| Breach::new("cri", why).at(&socket.path, None);
    Ok(Conclusion::breach(if socket.alpha.known().is_some() {
        breach("the runtime speaks only CRI v1alpha2, which kubelets from 1.26 on do not speak".to_owned())
            .found("v1alpha2")
            .wanted("v1")
            .remedy(
                Remedy::new("Upgrade containerd to 1.7 or later, or CRI-O to the cluster's release. Restarts no pods.")
                    .when("Debian/Ubuntu")
                    .command("apt-get install -y --only-upgrade containerd"),
            )
            .remedy(
                Remedy::new("Upgrade containerd to 1.7 or later, or CRI-O to the cluster's release. Restarts no pods.")
                    .when("RHEL/Fedora")
                    .command("dnf upgrade -y containerd.io"),
            )
    } else if why.contains("is stale") {
        breach(format!("the runtime does not run: {why}"))
            .remedy(Remedy::new("Start it, and read its log if it does not stay up.").command(restart).command(log))
    } else if why.contains("the runtime hangs") {
        breach(format!("the runtime runs and does not answer: {why}")).remedy(
            Remedy::new("Read its log, then restart it. Containers keep running.").command(log).command(restart),
        )
    } else {
        breach(format!("the runtime does not answer: {why}")).remedy(
            Remedy::new("Read its log, then restart it. Containers keep running.").command(log).command(restart),
        )
    }))
}

fn judge_answers(view: &View<'_>) -> Judgment {
    let Some(socket) = view.facts.runtime.socket(view.profile)? else {
        if let Some(broken) = view.facts.runtime.containerd.known().and_then(|it| it.broken.as_ref()) {
            return Err(because(config::VALID, &broken.to_string()));
        }
        return no_socket(view);
    };
    Ok(match &socket.version {
        Fact::Known(version) => {
            let text = |key| version.get(key).and_then(Value::as_str).unwrap_or("?");
            Conclusion::holds().because(&socket.path, format!("{} {}", text("runtimeName"), text("runtimeVersion")))
        }
        Fact::NotGathered(why) => Conclusion::undetermined(why),
        Fact::Unreadable(why) if why.contains("permission denied") => Conclusion::undetermined(why),
        Fact::Unreadable(why) | Fact::Malformed(why) | Fact::Absent(why) => {
            // Before 1.26 a kubelet is content with v1alpha2.
            if view.profile.kubernetes.0 <= 25 && socket.alpha.known().is_some() {
                return Ok(Conclusion::holds().because(&socket.path, "CRI v1alpha2"));
            }
            return no_answer(view, socket, why);
        }
    })
}

fn judge_condition(view: &View<'_>, name: &str) -> Judgment {
    let Some(socket) = view.facts.runtime.socket(view.profile)? else {
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
                .at(&socket.path, None),
        ),
        None => {
            Conclusion::breach(Breach::new(name, format!("the runtime does not report {name}")).at(&socket.path, None))
        }
    })
}

/// kubeadm refuses to choose among the runtimes that it knows and whose sockets accept a connection.
fn judge_one(view: &View<'_>) -> Judgment {
    let facts = &view.facts.runtime;
    let sockets = facts.sockets.need("runtime sockets")?;
    let kubeadm = |socket: &&Socket| socket.row().is_some_and(|row| row.kubeadm) && socket.accepts();
    let mut known: Vec<&Socket> = sockets.iter().filter(kubeadm).collect();
    if view.profile.kubernetes.0 <= 23 && sockets.iter().any(|socket| socket.runtime == Runtime::Docker) {
        // Docker Engine brings a containerd, which kubeadm of that time does not count.
        known.retain(|socket| socket.runtime != Runtime::Containerd);
    }
    let paths: Vec<_> = known.iter().map(|socket| socket.path.as_str()).collect();
    if sockets.is_empty() {
        return Ok(Conclusion::not_applicable("there is no container runtime"));
    }
    if let Some((endpoint, origin)) = &facts.endpoint {
        return Ok(Conclusion::holds().because("runtime endpoint", format!("{endpoint} ({origin})")));
    }
    if known.len() < 2 || view.profile.runtime.is_some() {
        return Ok(Conclusion::holds().because("sockets", paths.join(", ")));
    }
    let why = format!("{} are all there, and none is configured: kubeadm refuses to choose", paths.join(", "));
    let breach = Breach::new("cri", why).found(paths.join(", ")).wanted("one socket, or nodeRegistration.criSocket");
    let name = Remedy::new(
        "Name the runtime of the node when it joins, or as nodeRegistration.criSocket in kubeadm's configuration; for \
         Seaworthy it is --runtime.",
    );
    let docker = known.iter().any(|socket| socket.runtime == Runtime::Docker);
    Ok(Conclusion::breach(if docker {
        // containerd is a part of Docker Engine and stays.
        breach.remedy(name.command("kubeadm join --cri-socket unix:///run/cri-dockerd.sock …"))
    } else {
        breach.remedy(name.command(format!("kubeadm join --cri-socket unix://{} …", paths[0]))).remedy(
            Remedy::new("Disable the other runtime. Its containers stop.").command("systemctl disable --now crio"),
        )
    }))
}

fn judge_runtime_config(view: &View<'_>) -> Judgment {
    let Some(socket) = view.facts.runtime.socket(view.profile)? else {
        return Ok(Conclusion::not_applicable("there is no container runtime"));
    };
    let old = "the runtime does not implement it: the kubelet falls back to its own cgroupDriver, and refuses from \
               1.38 on";
    Ok(match &socket.config {
        Fact::Known(config) => Conclusion::holds()
            .because("cgroupDriver", config.get("cgroupDriver").map(ToString::to_string).unwrap_or_default()),
        Fact::Unreadable(why) if why.contains("not implemented") => {
            Conclusion::breach(Breach::new("RuntimeConfig", old).at(&socket.path, None))
        }
        Fact::Unreadable(why) | Fact::Malformed(why) | Fact::Absent(why) | Fact::NotGathered(why) => {
            Conclusion::undetermined(why)
        }
    })
}

/// CRI-O's mismatch is a finding of `node.crio.cgroup-manager`, Docker Engine's of `node.docker.cgroup-driver`.
fn judge_driver(view: &View<'_>) -> Judgment {
    let facts = &view.facts.runtime;
    if let Some(runtime) = facts.runtime(view.profile)?.filter(|runtime| *runtime == Runtime::Crio) {
        return Ok(Conclusion::not_applicable(format!("{} is the runtime", runtime.name())));
    }
    let Some(kubelet) = view.facts.kubelet.effective(view.profile)? else {
        return Ok(Conclusion::not_applicable("the node has not joined a cluster"));
    };
    let kubelet = kubelet.in_effect()?;
    let setting = kubelet.get(&["cgroupDriver"]);
    let wanted = setting.and_then(|setting| setting.value.as_str()).unwrap_or_default();
    let socket = facts.socket(view.profile)?;
    let silent = |socket: &&Socket| socket.runtime == Runtime::Containerd && !socket.answers();
    if let Some(why) = socket.filter(silent).and_then(|_| unusable(view)) {
        return Err(why);
    }
    let fact = facts.cgroup_driver(view.profile);
    let (driver, origin) = fact.need("the runtime's cgroup driver")?;
    if matches!(origin, Origin::Answer(_)) && kubelet.driver_from_runtime() {
        let why = format!("{driver}, which the kubelet takes from the runtime ({origin})");
        return Ok(Conclusion::holds().because("both", why));
    }
    if driver.name() == wanted {
        return Ok(Conclusion::holds().because("both", wanted).because("runtime", origin.to_string()));
    }
    if *driver == CgroupDriver::Cgroupfs && facts.runtime(view.profile)? == Some(Runtime::Docker) && is_systemd(view) {
        return Err(because("node.docker.cgroup-driver", "Docker Engine uses cgroupfs under systemd"));
    }
    let of = setting.map_or_else(String::new, |setting| format!(" ({})", setting.origin));
    let why = format!(
        "the runtime uses {driver} ({origin}), and the kubelet {wanted}{of}: pods land in two trees of cgroups"
    );
    let breach = Breach::new("cgroup driver", why).found(driver.name()).wanted(wanted);
    Ok(Conclusion::breach(origin.place(breach)))
}

fn judge_dockershim(view: &View<'_>) -> Judgment {
    let sockets = view.facts.runtime.sockets.need("runtime sockets")?;
    Ok(match sockets.iter().find(|socket| socket.path.contains("dockershim")) {
        Some(socket) => Conclusion::breach(
            Breach::new("dockershim", "dockershim's socket is there: the kubelet has none since 1.24")
                .found(&socket.path)
                .wanted("no such socket")
                .at(&socket.path, None),
        ),
        None => Conclusion::holds(),
    })
}

fn judge_crictl(view: &View<'_>) -> Judgment {
    let Some(text) = view.facts.runtime.crictl.present("/etc/crictl.yaml")? else {
        return Ok(Conclusion::not_applicable("there is no /etc/crictl.yaml: crictl tries the known sockets"));
    };
    let number = text.lines().position(|line| line.starts_with("runtime-endpoint:"));
    let Some(number) = number else { return Ok(Conclusion::holds()) };
    let endpoint = text
        .lines()
        .nth(number)
        .and_then(|line| line.split_once(':'))
        .map_or("", |(_, rest)| rest.trim().trim_matches(['"', '\'']));
    let sockets = view.facts.runtime.sockets.need("runtime sockets")?;
    if endpoint.is_empty() || sockets.iter().any(|socket| socket.is(endpoint)) {
        return Ok(Conclusion::holds().because("runtime-endpoint", endpoint));
    }
    let breach = Breach::new("runtime-endpoint", format!("{endpoint} is no socket of a runtime here"))
        .found(endpoint)
        .at("/etc/crictl.yaml", u32::try_from(number + 1).ok());
    Ok(Conclusion::breach(match view.facts.runtime.socket(view.profile)? {
        Some(socket) => breach.wanted(format!("unix://{}", socket.path)).remedy(
            Remedy::new("Name the socket.")
                .persist("/etc/crictl.yaml", format!("runtime-endpoint: unix://{}\n", socket.path)),
        ),
        None => breach,
    }))
}

fn restart() -> Remedy {
    Remedy::new("Read the log of the runtime, then restart it. Containers keep running.")
        .command("journalctl -u containerd -n 50")
        .command("systemctl restart containerd")
}

/// The checks of what the runtime answers.
#[expect(clippy::too_many_lines, reason = "a list of checks, each with its page")]
pub(super) fn checks() -> Vec<Check> {
    let members = [Role::ControlPlane, Role::Worker];
    let version_of = |version: &str| {
        let answer = json!({"runtimeName": "cri-o", "runtimeVersion": version, "runtimeApiVersion": "v1"});
        value(crate::host::Query::Cri { socket: CRIO.to_owned(), call: CriCall::Version }, answer)
    };
    vec![
        Check::new("node.runtime.answers", "The container runtime answers the CRI", judge_answers)
            .roles(members)
            .label("runtime")
            .label("kubeadm")
            .alias("CRI")
            .alias("ContainerRuntimeVersion")
            .alias("container runtime is not running")
            .page(
                "The kubelet runs every pod through it, and kubeadm refuses a node whose runtime does not answer.",
                "Calls Version over the runtime's socket. Where it does not answer, looks for the cause: no socket, a \
                 stale one, a runtime that hangs, an API that is too old.",
            )
            .basis("kubeadm preflight: CRI; containerd issue 8139", TROUBLE)
            .remedy(restart())
            .bad([no_stat(containerd::SOCKET)]),
        Check::new("node.runtime.one", "One container runtime is there, or one is configured", judge_one)
            .roles(members)
            .label("runtime")
            .label("kubeadm")
            .alias("found multiple CRI endpoints")
            .page(
                "With more than one, kubeadm stops unless nodeRegistration.criSocket names one.",
                "Looks for the sockets of containerd, CRI-O and cri-dockerd that accept connections, for links between \
                 them, and for the kubelet's runtime endpoint.",
            )
            .basis(
                "Installing kubeadm: installing a container runtime",
                "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/install-kubeadm/",
            )
            .remedy(Remedy::new("Name the runtime of the node: kubeadm join --cri-socket, and --runtime here."))
            .bad([
                stat(CRIO, FileKind::Socket, 0o660, 0, 0),
                version_of("1.37.0"),
                replace(kubelet::CONFIG, "containerRuntimeEndpoint: unix:///run/containerd/containerd.sock\n", ""),
            ]),
        Check::new("node.runtime.ready", "The runtime is ready to run containers", |view| {
            judge_condition(view, "RuntimeReady")
        })
        .roles(members)
        .label("runtime")
        .label("kubeadm")
        .alias("RuntimeReady")
        .page(
            "A runtime that answers may still not be able to run containers.",
            "Calls Status and reads the condition RuntimeReady.",
        )
        .basis("CRI: RuntimeStatus; kubeadm preflight: CRI", "https://kubernetes.io/docs/concepts/architecture/cri/")
        .remedy(restart())
        .bad([value(
            cri(CriCall::Status),
            json!({"conditions": [{"type": "RuntimeReady", "status": false, "reason": "ContainerdNotReady",
                                   "message": "shim missing"}]}),
        )]),
        Check::new("node.runtime.network-ready", "The runtime's pod network is ready", |view| {
            judge_condition(view, "NetworkReady")
        })
        .severity(Severity::Medium)
        .roles(members)
        .label("runtime")
        .label("network")
        .alias("NetworkReady")
        .alias("NetworkPluginNotReady")
        .page(
            "Until a pod network is installed the node stays NotReady, and CoreDNS Pending. Before that it is \
             expected.",
            "Calls Status and reads the condition NetworkReady.",
        )
        .basis(
            "Troubleshooting kubeadm: coredns is stuck in the Pending state",
            "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/troubleshooting-kubeadm/",
        )
        .remedy(Remedy::new("Install a pod network; its DaemonSet writes /etc/cni/net.d."))
        .bad([value(
            cri(CriCall::Status),
            json!({"conditions": [{"type": "NetworkReady", "status": false, "reason": "NetworkPluginNotReady",
                                   "message": "cni plugin not initialized"}]}),
        )]),
        Check::new(
            "node.runtime.runtime-config",
            "The runtime reports its cgroup driver to the kubelet",
            judge_runtime_config,
        )
        .severity(Severity::Medium)
        .versions(31..=u32::MAX)
        .roles(members)
        .label("runtime")
        .label("kubeadm")
        .alias("ContainerRuntimeVersion")
        .alias("RuntimeConfig")
        .page(
            "With KubeletCgroupDriverFromCRI the kubelet takes its driver from the runtime: containerd 2.0 and CRI-O \
             1.28 report it.",
            "Calls RuntimeConfig.",
        )
        .basis("KEP-4033: discover cgroup driver from CRI; kubeadm preflight: ContainerRuntimeVersion", RUNTIMES)
        .remedy(Remedy::new("Upgrade containerd to 2.0 or later."))
        .bad([refuses(
            cri(CriCall::RuntimeConfig),
            RefusalKind::Unsupported,
            "RuntimeConfig is not implemented: unknown method",
        )]),
        Check::new(
            "node.runtime.cgroup-driver",
            "The runtime and the kubelet use the same cgroup driver",
            judge_driver,
        )
        .label("runtime")
        .label("cgroup")
        .alias("SystemdCgroup")
        .alias("cgroup driver mismatch")
        .page(
            "The kubelet makes a pod's cgroup, and the runtime the containers' below it. Where their drivers differ, \
             the paths do not meet. From 1.31 the kubelet takes the driver from a runtime that reports it.",
            "Compares what the runtime reports (RuntimeConfig), else SystemdCgroup of the default runtime in \
             containerd's merged configuration, with the kubelet's cgroupDriver.",
        )
        .basis(
            "Container runtimes: cgroup drivers",
            "https://kubernetes.io/docs/setup/production-environment/container-runtimes/#cgroup-drivers",
        )
        .remedy(Remedy::new("Set SystemdCgroup for the default runtime. Running pods must be made anew.").command(
            "sed -i 's/SystemdCgroup = false/SystemdCgroup = true/' /etc/containerd/config.toml && systemctl restart \
             containerd",
        ))
        .example_profile(|profile| profile.kubernetes = crate::KubernetesVersion(30))
        .bad([
            value(cri(CriCall::RuntimeConfig), json!({"cgroupDriver": "cgroupfs"})),
            said(Query::Run { program: Program::KubeletVersion }, "Kubernetes v1.30.1"),
        ]),
        Check::new("node.runtime.dockershim", "No dockershim is left from before 1.24", judge_dockershim)
            .severity(Severity::Medium)
            .versions(24..=u32::MAX)
            .label("runtime")
            .alias("dockershim")
            .page(
                "Docker Engine needs cri-dockerd since 1.24.",
                "Looks for the socket. A link to another runtime's socket is that runtime.",
            )
            .basis("Dockershim removal FAQ", "https://kubernetes.io/blog/2022/02/17/dockershim-faq/")
            .remedy(Remedy::new("Move the node to containerd, or install cri-dockerd."))
            .bad([stat("/run/dockershim.sock", FileKind::Socket, 0o660, 0, 0)]),
        Check::new("node.runtime.crictl-endpoint", "crictl is configured with a runtime that is there", judge_crictl)
            .severity(Severity::Low)
            .label("runtime")
            .alias("crictl.yaml")
            .page(
                "The tool that you reach for when the kubelet is down would ask nothing.",
                "Compares its runtime-endpoint with the sockets.",
            )
            .basis("crictl: configuration", "https://kubernetes.io/docs/tasks/debug/debug-cluster/crictl/")
            .remedy(
                Remedy::new("Name the socket.")
                    .persist("/etc/crictl.yaml", "runtime-endpoint: unix:///run/containerd/containerd.sock\n"),
            )
            .bad([file("/etc/crictl.yaml", "runtime-endpoint: unix:///run/crio/crio.sock\n")]),
    ]
}
