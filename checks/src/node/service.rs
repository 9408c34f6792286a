//! Services: what the init system starts at boot, and firewalls that it starts too.

use std::collections::BTreeMap;

use crate::Inconclusive;
use crate::check::{Check, Judgement, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion};
use crate::construct::{dir, file, no_stat, stat};
use crate::fact::Fact;
use crate::host::{FileKind, Host};
use crate::node::View;
use crate::profile::{Role, Runtime};

/// Where systemd looks for units, the first first (systemd.unit(5)).
const PLACES: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
const WANTS: &str = "/etc/systemd/system/multi-user.target.wants";
const UNITS: [&str; 4] = ["kubelet", "containerd", "crio", "docker"];
const UFW: &str = "/etc/ufw/ufw.conf";
const KUBEADM: &str = "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/install-kubeadm/";

/// What systemd knows of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// The file that counts.
    pub path: String,
    /// Is it a link to /dev/null, so that nothing can start it?
    pub masked: bool,
    /// Is it started at boot?
    pub enabled: bool,
}

/// What is known of services.
#[derive(Debug)]
pub struct Facts {
    /// Units by name; absent where no place of units has it.
    units: BTreeMap<&'static str, Fact<Unit>>,
    /// Was the node booted by systemd?
    booted: Fact<()>,
    /// The line that turns ufw on, if it is on.
    ufw: Fact<Option<u32>>,
}

impl Facts {
    pub(super) fn read(host: &dyn Host) -> Self {
        let wanted = host.list(WANTS).map(|entries| entries.into_iter().map(|entry| entry.name).collect::<Vec<_>>());
        Self {
            units: UNITS.map(|unit| (unit, find(host, unit, &wanted))).into(),
            // sd_booted(3) looks for this directory.
            booted: host.stat("/run/systemd/system").map(|_| ()),
            ufw: host.text(UFW).map(|text| {
                let on = text.lines().position(|line| line.trim().eq_ignore_ascii_case("ENABLED=yes"));
                on.and_then(|number| u32::try_from(number + 1).ok())
            }),
        }
    }
}

fn find(host: &dyn Host, unit: &str, wanted: &Fact<Vec<String>>) -> Fact<Unit> {
    let name = format!("{unit}.service");
    let mut nowhere = Fact::Absent(format!("{name} is in none of {}", PLACES.join(", ")));
    for place in PLACES {
        let path = format!("{place}/{name}");
        match host.stat(&path) {
            Fact::Known(stat) => {
                let masked = stat.kind == FileKind::Device;
                let enabled = match wanted {
                    Fact::Known(names) => names.contains(&name),
                    Fact::Absent(_) => false,
                    other => return other.clone().map(|_| Unit { path, masked, enabled: false }),
                };
                return Fact::Known(Unit { path, masked, enabled });
            }
            Fact::Absent(_) => {}
            other => nowhere = other.map(|_| Unit { path, masked: false, enabled: false }),
        }
    }
    nowhere
}

fn judge_unit(view: &View<'_>, unit: &'static str) -> Judgement {
    let facts = &view.facts.service;
    if facts.booted.present("/run/systemd/system")?.is_none() {
        return Ok(Conclusion::not_applicable("the node was not booted by systemd"));
    }
    let fact = facts.units.get(unit).ok_or_else(|| Inconclusive::new(format!("{unit}.service was not looked for")))?;
    let name = format!("{unit}.service");
    Ok(match fact.present(&name)? {
        None => Conclusion::breach(
            Breach::new(&name, format!("there is no {name}: nothing starts it")).wanted("a unit that is enabled"),
        ),
        Some(Unit { masked: true, path, .. }) => Conclusion::breach(
            Breach::new(&name, format!("{name} is masked: systemd refuses to start it"))
                .found("masked")
                .wanted("enabled")
                .at(path, None),
        ),
        Some(Unit { enabled: false, path, .. }) => Conclusion::breach(
            Breach::new(&name, format!("{name} is not enabled: it is not started at boot"))
                .found("disabled")
                .wanted("enabled")
                .at(path, None),
        ),
        Some(unit) => Conclusion::holds().because(name, format!("{}, enabled", unit.path)),
    })
}

/// The unit of the runtime whose socket is there, or that the profile names.
fn runtime_unit(view: &View<'_>) -> Result<Option<&'static str>, Inconclusive> {
    let sockets = view.facts.runtime.sockets.need("runtime sockets")?;
    let runtime = view.profile.runtime.or_else(|| sockets.first().map(|socket| socket.runtime));
    Ok(runtime.map(|runtime| match runtime {
        Runtime::Containerd => "containerd",
        Runtime::Crio => "crio",
        Runtime::Docker => "docker",
    }))
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    let members = [Role::ControlPlane, Role::Worker];
    vec![
        Check::new("node.service.kubelet", "the kubelet is started at boot", |view| judge_unit(view, "kubelet"))
            .severity(Severity::Medium)
            .roles(members)
            .label("service")
            .label("kubeadm")
            .alias("Service-Kubelet")
            .page("A node whose kubelet is not started at boot is lost to the cluster at its next reboot.", "Looks for the unit where systemd does, for a mask, and for the link of multi-user.target.")
            .basis("kubeadm preflight: Service-Kubelet", KUBEADM)
            .remedy(Remedy::new("Enable it.").command("systemctl unmask kubelet && systemctl enable --now kubelet"))
            .bad([dir(WANTS, &["containerd.service@"])]),
        Check::new("node.service.runtime", "the container runtime is started at boot", |view| match runtime_unit(view)? {
            Some(unit) => judge_unit(view, unit),
            None => Ok(Conclusion::not_applicable("there is no container runtime")),
        })
        .severity(Severity::Medium)
        .roles(members)
        .label("service")
        .alias("Service-ContainerRuntime")
        .page("The kubelet waits for it in vain after a reboot.", "As for the kubelet, with the unit of the runtime that is there.")
        .basis("Container runtimes", "https://kubernetes.io/docs/setup/production-environment/container-runtimes/")
        .remedy(Remedy::new("Enable it.").command("systemctl unmask containerd && systemctl enable --now containerd"))
        .bad([stat("/etc/systemd/system/containerd.service", FileKind::Device, 0o666, 0, 0)]),
        Check::new("node.service.ufw", "ufw does not shut the ports that Kubernetes needs", |view| {
            Ok(match view.facts.service.ufw.present(UFW)? {
                Some(Some(line)) => Conclusion::breach(
                    Breach::new("ufw", "ufw is on: unless rules allow them, ports 6443, 2379-2380, 10250 and those of the pod network are shut")
                        .found("ENABLED=yes")
                        .wanted("off, or rules for the ports")
                        .at(UFW, Some(*line)),
                ),
                Some(None) => Conclusion::holds().because(UFW, "ENABLED=no"),
                None => Conclusion::holds().because(UFW, "not there"),
            })
        })
        .severity(Severity::Medium)
        .label("service")
        .label("network")
        .alias("ufw")
        .page("Nodes that cannot reach the API server, or each other's kubelets and pods, are Ready and do not work.", "Reads ENABLED in /etc/ufw/ufw.conf.")
        .basis("k3s check-config: ufw; Kubernetes: ports and protocols", "https://kubernetes.io/docs/reference/networking/ports-and-protocols/")
        .remedy(Remedy::new("Allow what Kubernetes needs, or turn it off.").command("ufw allow 6443/tcp && ufw allow 2379:2380/tcp && ufw allow 10250/tcp && ufw default allow routed").command("ufw disable"))
        .bad([file(UFW, "LOGLEVEL=low\nENABLED=yes\n"), no_stat("/etc/systemd/system/ufw.service")]),
    ]
}
