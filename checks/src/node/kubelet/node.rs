//! Claims about the kubelet and its node: swap, cgroups, resolver, thresholds of eviction.

use serde_json::Value;

use super::{CONFIG, REFERENCE, with_kubelet};
use crate::check::{Check, Judgment, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion};
use crate::construct::{file, no_stat, replace};
use crate::effective::kubelet::{Kubelet, quantity};
use crate::effective::{Origin, Setting};
use crate::node::View;

const EVICTION: &str = "https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/";
const DRIVERS: &str = "https://kubernetes.io/docs/setup/production-environment/container-runtimes/#cgroup-drivers";
/// The signals that a node cannot do without.
const SIGNALS: [&str; 3] = ["memory.available", "nodefs.available", "imagefs.available"];

/// A breach of a setting, with its value and its place.
fn breach(name: &str, setting: Option<Setting<'_>>, why: String) -> Breach {
    match setting {
        None => Breach::new(name, why).found("not set"),
        Some(setting) => {
            let shown = setting.value.as_str().map_or_else(|| setting.value.to_string(), str::to_owned);
            setting.origin.place(Breach::new(name, format!("{why} ({})", setting.origin)).found(shown))
        }
    }
}

/// The driver that the kubelet makes cgroups with, and the breach of it that names the place.
fn judge_driver(view: &View<'_>, kubelet: &Kubelet) -> Judgment {
    let init = view.facts.machine.init.need("the first process")?;
    let wanted = if init == "systemd" { "systemd" } else { "cgroupfs" };
    let runtime = view.facts.runtime.cgroup_driver(view.profile);
    let runtime = runtime.known();
    let told = runtime.filter(|(_, origin)| matches!(origin, Origin::Answer(_)) && kubelet.driver_from_runtime());
    let why = |driver: &str| {
        format!("{driver} is the cgroup driver, and {init} is the init system: two managers of one tree")
    };
    if let Some((driver, origin)) = told {
        let driver = driver.name();
        let evidence = format!("{driver}, which the kubelet takes from the runtime ({origin})");
        return Ok(if driver == wanted {
            Conclusion::holds().because("cgroup driver", evidence)
        } else {
            let breach = Breach::new("cgroupDriver", why(driver)).found(driver).wanted(wanted);
            Conclusion::breach(breach).because("cgroup driver", evidence)
        });
    }
    let setting = kubelet.get(&["cgroupDriver"]);
    let driver = setting.and_then(|setting| setting.value.as_str()).unwrap_or_default().to_owned();
    if runtime.is_some_and(|(runtime, _)| runtime.name() != driver) {
        let why = "node.runtime.cgroup-driver: the runtime and the kubelet use different cgroup drivers";
        return Err(crate::Inconclusive::because_of("the node's cgroup driver", why));
    }
    Ok(if driver == wanted {
        Conclusion::holds().because("cgroupDriver", driver)
    } else {
        Conclusion::breach(breach("cgroupDriver", setting, why(&driver)).wanted(wanted))
    })
}

fn judge_eviction(kubelet: &Kubelet) -> Conclusion {
    let off = |signal: &&str| {
        let limit = kubelet.get(&["evictionHard", signal]).and_then(|setting| setting.value.as_str());
        limit.is_none_or(quantity::is_nothing)
    };
    let breach = |signal: &str| {
        let own = kubelet.get(&["evictionHard", signal]);
        let why = match own {
            Some(_) => format!("the threshold of {signal} is off"),
            None => format!(
                "evictionHard has no threshold of {signal}: with one threshold set, the defaults of the others do not \
                 apply"
            ),
        };
        let place = own.or_else(|| kubelet.settings.below(&["evictionHard"]).next().map(|(_, setting)| setting));
        let found =
            Breach::new(signal, why).found(own.map_or_else(|| "not set".to_owned(), |own| own.value.to_string()));
        let found = found.wanted("a threshold");
        place.map_or(found.clone(), |place| place.origin.place(found))
    };
    let shown = |signal: &str| {
        let limit = kubelet.get(&["evictionHard", signal]).and_then(|setting| setting.value.as_str());
        format!("{signal} {}", limit.unwrap_or("none"))
    };
    let all = SIGNALS.map(shown).join(", ");
    Conclusion::from_breaches(SIGNALS.iter().copied().filter(|signal| off(signal)).map(breach).collect())
        .because("evictionHard", all)
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    let swap = || file("/proc/swaps", "Filename\n/dev/vda2 partition 1 0 -2\n");
    let v1 = || file("/proc/1/mounts", "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n");
    vec![
        Check::new("node.kubelet.fail-swap-on", "a node with swap has a kubelet that is told so", |view| {
            if view.facts.swap.is_off()? {
                return Ok(Conclusion::not_applicable("swap is off"));
            }
            with_kubelet(view, |kubelet| {
                let setting = kubelet.get(&["failSwapOn"]);
                Ok(if kubelet.truth(&["failSwapOn"]) == Some(false) {
                    Conclusion::holds().because("failSwapOn", "false")
                } else {
                    let why = "swap is on and failSwapOn is true: the kubelet ends at start".to_owned();
                    Conclusion::breach(breach("failSwapOn", setting, why).wanted("false, or swap off"))
                })
            })
        })
        .label("kubelet")
        .alias("failSwapOn")
        .page(
            "With failSwapOn, its default, the kubelet refuses to start on a node with swap.",
            "Compares /proc/swaps with what the kubelet runs with.",
        )
        .basis("KubeletConfiguration: failSwapOn; KEP-2400: node swap", REFERENCE)
        .remedy(Remedy::new("Turn swap off.").command("swapoff -a"))
        .remedy(
            Remedy::new("Configure the kubelet to run with swap, and restart it.")
                .when("swap stays")
                .command("systemctl restart kubelet")
                .persist(CONFIG, "failSwapOn: false\nmemorySwap:\n  swapBehavior: LimitedSwap\n"),
        )
        .good([swap(), replace(CONFIG, "rotateCertificates: true", "failSwapOn: false")])
        .bad([swap()]),
        Check::new(
            "node.kubelet.fail-cgroup-v1",
            "a node with cgroup version 1 has a kubelet that allows it",
            |view| {
                if view.facts.cgroup.mode.need("cgroup version")?.version() == 2 {
                    return Ok(Conclusion::not_applicable("the node uses cgroup version 2"));
                }
                with_kubelet(view, |kubelet| {
                    let setting = kubelet.get(&["failCgroupV1"]);
                    Ok(if kubelet.truth(&["failCgroupV1"]) == Some(true) {
                        let why = "the node uses cgroup version 1 and failCgroupV1 is true: the kubelet ends at start";
                        Conclusion::breach(
                            breach("failCgroupV1", setting, why.to_owned()).wanted("false, or cgroup version 2"),
                        )
                    } else {
                        Conclusion::holds().because("failCgroupV1", "false")
                    })
                })
            },
        )
        .label("kubelet")
        .label("cgroup")
        .alias("failCgroupV1")
        .page(
            "From 1.35 failCgroupV1 is true unless the configuration says otherwise; from 1.31 it may be set.",
            "Compares the cgroup mounts with what the kubelet runs with.",
        )
        .basis("KEP-5573: remove cgroup v1 support", REFERENCE)
        .remedy(
            Remedy::new("Move the node to cgroup version 2, or allow version 1 for now.")
                .command("systemctl restart kubelet")
                .persist(CONFIG, "failCgroupV1: false\n"),
        )
        .good([v1(), replace(CONFIG, "rotateCertificates: true", "failCgroupV1: false")])
        .bad([v1()]),
        Check::new("node.kubelet.cgroup-driver", "the kubelet's cgroup driver is that of the init system", |view| {
            with_kubelet(view, |kubelet| judge_driver(view, kubelet))
        })
        .severity(Severity::Medium)
        .label("kubelet")
        .label("cgroup")
        .alias("IsDockerSystemdCheck")
        .alias("cgroupDriver")
        .page(
            "systemd is meant to be the only manager of cgroups; a second one has another view of the resources, and \
             nodes become unstable under pressure. From 1.31 the kubelet takes the driver from a runtime that reports \
             it, and its own setting does not matter.",
            "Compares the driver that the runtime reports, else the kubelet's cgroupDriver, with the first process.",
        )
        .basis("Container runtimes: cgroup drivers; KEP-4033: discover cgroup driver from CRI", DRIVERS)
        .remedy(
            Remedy::new("Set systemd in the kubelet and in the runtime, drain the node, and restart both.")
                .command("systemctl restart containerd kubelet")
                .persist(CONFIG, "cgroupDriver: systemd\n"),
        )
        .bad([
            replace(CONFIG, "cgroupDriver: systemd", "cgroupDriver: cgroupfs"),
            replace("/etc/containerd/config.toml", "SystemdCgroup = true", "SystemdCgroup = false"),
            crate::construct::refuses(
                crate::host::Query::Cri {
                    socket: "/run/containerd/containerd.sock".to_owned(),
                    call: crate::host::CriCall::RuntimeConfig,
                },
                crate::host::RefusalKind::Unsupported,
                "RuntimeConfig is not implemented: unknown method",
            ),
        ]),
        Check::new("node.kubelet.resolv-conf", "the file that resolvConf names is there", |view| {
            with_kubelet(view, |kubelet| {
                let facts = &view.facts.kubelet.resolv_conf;
                let path = facts.path.need("resolvConf")?;
                Ok(match facts.there.present(path)? {
                    Some(()) => Conclusion::holds().because("resolvConf", path),
                    None => {
                        let why = format!("{path} is missing: no pod sandbox can be made");
                        let setting = kubelet.get(&["resolvConf"]);
                        Conclusion::breach(breach("resolvConf", setting, why).wanted("a file that is there"))
                    }
                })
            })
        })
        .label("kubelet")
        .alias("resolvConf")
        .page(
            "kubeadm names systemd-resolved's list where that runs at the time; a node that loses systemd-resolved \
             then fails every pod.",
            "Looks for the file that the kubelet's files and flags name.",
        )
        .basis("KubeletConfiguration: resolvConf", REFERENCE)
        .remedy(
            Remedy::new("Name the file that the node has, and restart the kubelet.")
                .command("systemctl restart kubelet")
                .persist(CONFIG, "resolvConf: /etc/resolv.conf\n"),
        )
        .bad([no_stat("/etc/resolv.conf")]),
        Check::new("node.kubelet.eviction", "the kubelet evicts pods before the disk or memory is full", |view| {
            with_kubelet(view, |kubelet| Ok(judge_eviction(kubelet)))
        })
        .severity(Severity::Low)
        .label("kubelet")
        .alias("evictionHard")
        .page(
            "A node whose disk is full loses its kubelet and runtime.",
            "Reads evictionHard as the kubelet merges it from its release's defaults, its files and its flags.",
        )
        .basis("Node-pressure eviction: hard eviction thresholds", EVICTION)
        .remedy(
            Remedy::new("Name all signals, or none, and restart the kubelet.")
                .command("systemctl restart kubelet")
                .persist(
                    CONFIG,
                    "evictionHard:\n  memory.available: 100Mi\n  nodefs.available: 10%\n  imagefs.available: 15%\n",
                ),
        )
        .bad([replace(CONFIG, "rotateCertificates: true", "evictionHard:\n  memory.available: 100Mi")]),
    ]
}

/// A value as a finding prints it.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "empty".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "empty".to_owned(),
        other => other.to_string(),
    }
}
