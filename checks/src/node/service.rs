//! Services: what the init system starts at boot, and firewalls that it starts too.

use std::collections::BTreeMap;

use crate::Inconclusive;
use crate::check::{Check, Judgment, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion, Verdict};
use crate::construct::{Edit, dir, file, said};
use crate::fact::Fact;
use crate::host::{Host, Query};
use crate::node::View;
use crate::node::units::{Unit, Units};
use crate::profile::{Role, Runtime};

/// Units that run the kubelet: its own, and those of distributions that bring it along.
const KUBELET: &[&str] = &[
    "kubelet",
    "k3s",
    "k3s-agent",
    "rke2-server",
    "rke2-agent",
    "k0scontroller",
    "k0sworker",
    "snap.microk8s.daemon-kubelite",
    "snap.microk8s.daemon-kubelet",
    "snap.k8s.kubelet",
];
/// Units that run containerd, in the same way.
const CONTAINERD: &[&str] = &[
    "containerd",
    "k3s",
    "k3s-agent",
    "rke2-server",
    "rke2-agent",
    "k0scontroller",
    "k0sworker",
    "snap.microk8s.daemon-containerd",
    "snap.k8s.containerd",
];
const CRIO: &[&str] = &["crio", "cri-o"];
const DOCKER: &[&str] = &["docker"];
/// The processes of a kubelet, alone or within another program.
const PROCESSES: [&str; 6] = ["kubelet", "kubelite", "k3s-server", "k3s-agent", "rke2", "k0s"];
const WANTS: &str = "/etc/systemd/system/multi-user.target.wants";
const UFW: &str = "/etc/ufw/ufw.conf";
const KUBEADM: &str = "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/install-kubeadm/";

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
    pub(super) fn read(host: &dyn Host, units: &Units) -> Self {
        Self {
            units: [KUBELET, CONTAINERD, CRIO, DOCKER]
                .concat()
                .into_iter()
                .map(|unit| (unit, find(host, units, unit)))
                .collect(),
            // sd_booted(3) looks for this directory.
            booted: host.stat("/run/systemd/system").map(|_| ()),
            ufw: host.text(UFW).map(|text| {
                let on = text.lines().position(|line| line.trim().eq_ignore_ascii_case("ENABLED=yes"));
                on.and_then(|number| u32::try_from(number + 1).ok())
            }),
        }
    }
}

/// A service, which may also be started by its socket.
fn find(host: &dyn Host, units: &Units, name: &str) -> Fact<Unit> {
    let socket = || units.find(host, &format!("{name}.socket")).known().filter(|socket| !socket.masked).cloned();
    units.find(host, &format!("{name}.service")).map(|unit| Unit {
        started_by: unit.started_by.or_else(|| socket().and_then(|socket| socket.started_by)),
        ..unit
    })
}

/// Is the unit of a job started at boot? Of several that are installed the one that is started counts.
fn judge_unit(view: &View<'_>, job: &[&'static str]) -> Judgment {
    let facts = &view.facts.service;
    if facts.booted.present("/run/systemd/system")?.is_none() {
        return Ok(Conclusion::not_applicable("the node was not booted by systemd"));
    }
    let mut installed = Vec::new();
    for unit in job {
        let fact =
            facts.units.get(unit).ok_or_else(|| Inconclusive::new(format!("{unit}.service was not looked for")))?;
        let name = format!("{unit}.service");
        if let Some(unit) = fact.present(&name)? {
            installed.push((name, unit));
        }
    }
    let started = installed.iter().find(|(_, unit)| !unit.masked && unit.started_by.is_some());
    let Some((name, unit)) = started.or(installed.first()) else {
        let name = format!("{}.service", job[0]);
        let message = format!("there is no {name}, and no other unit that does its job: nothing starts it at boot");
        return Ok(Conclusion::breach(Breach::new(&name, message).found("no unit").wanted("a unit that is enabled")));
    };
    let fix = |word: &str, message: String| {
        let fix = Remedy::new("Enable the unit. It is started at once.").when("systemd");
        let fix = fix.command(format!("systemctl unmask {name} && systemctl enable --now {name}"));
        Conclusion::breach(Breach::new(name, message).found(word).wanted("enabled").at(&unit.path, None).remedy(fix))
    };
    Ok(match &unit.started_by {
        _ if unit.masked => fix("masked", format!("{name} is masked: systemd refuses to start it")),
        None => fix("disabled", format!("{name} is not enabled: it is not started at boot")),
        Some(link) => Conclusion::holds().because(name, format!("{}, started by {link}", unit.path)),
    })
}

impl Facts {
    /// The unit of a distribution that brings its own kubelet.
    pub(super) fn brings_kubelet(&self) -> Option<&'static str> {
        let brings = |unit: &&&'static str| self.units.get(**unit).is_some_and(|fact| fact.known().is_some());
        KUBELET[1..].iter().find(brings).copied()
    }
}

/// A process that is a kubelet, or has one within it.
pub(super) fn kubelet_process(view: &View<'_>) -> Result<Option<&'static str>, Inconclusive> {
    for name in PROCESSES {
        if view.facts.machine.runs(name)? {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

fn judge_kubelet(view: &View<'_>) -> Judgment {
    let conclusion = judge_unit(view, KUBELET)?;
    let none = matches!(&conclusion.verdict, Verdict::Breached(all) if all[0].found.as_deref() == Some("no unit"));
    if let Some(name) = view.facts.kubelet.distribution().filter(|_| none) {
        return Ok(Conclusion::not_applicable(format!("{name} starts the kubelet, without a unit of systemd")));
    }
    match kubelet_process(view)? {
        Some(process) if none => Ok(Conclusion::undetermined(format!(
            "{process} runs, and no unit that is known to run a kubelet is installed: what starts it is not known"
        ))),
        _ => Ok(conclusion),
    }
}

/// The units of the node's runtime.
fn runtime_unit(view: &View<'_>) -> Result<Option<&'static [&'static str]>, Inconclusive> {
    Ok(view.facts.runtime.runtime(view.profile)?.map(|runtime| match runtime {
        Runtime::Containerd => CONTAINERD,
        Runtime::Crio => CRIO,
        Runtime::Docker => DOCKER,
    }))
}

/// The reference node with a unit that nothing starts.
fn disabled(unit: &str) -> [Edit; 1] {
    let others: Vec<_> = ["containerd", "kubelet"].into_iter().filter(|other| *other != unit).collect();
    let links: Vec<_> = others.iter().map(|other| format!("{other}.service@")).collect();
    [dir(WANTS, &links.iter().map(String::as_str).collect::<Vec<_>>())]
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    let members = [Role::ControlPlane, Role::Worker];
    vec![
        Check::new("node.service.kubelet", "the kubelet is started at boot", judge_kubelet)
            .severity(Severity::Medium)
            .roles(members)
            .label("service")
            .label("kubeadm")
            .alias("Service-Kubelet")
            .page(
                "A node whose kubelet is not started at boot is lost to the cluster at its next reboot.",
                "Looks for kubelet.service, or the unit of k3s, RKE2, k0s or MicroK8s, for a mask, and for a link in \
                 any wants, requires or upholds folder of systemd, those of the vendor and of generators among them.",
            )
            .basis("kubeadm preflight: Service-Kubelet", KUBEADM)
            .remedy(
                Remedy::new("Install the kubelet with its unit.")
                    .when("Debian/Ubuntu with the packages of pkgs.k8s.io")
                    .command("apt-get install -y kubelet && systemctl enable --now kubelet"),
            )
            .bad(disabled("kubelet")),
        Check::new("node.service.runtime", "the container runtime is started at boot", |view| {
            match runtime_unit(view)? {
                Some(job) => judge_unit(view, job),
                None => Ok(Conclusion::not_applicable("there is no container runtime")),
            }
        })
        .severity(Severity::Medium)
        .roles(members)
        .label("service")
        .alias("Service-ContainerRuntime")
        .page(
            "Without a runtime the kubelet starts no pod after a reboot.",
            "As for the kubelet, with the unit of the runtime that is there.",
        )
        .basis("Container runtimes", "https://kubernetes.io/docs/setup/production-environment/container-runtimes/")
        .remedy(
            Remedy::new("Install the runtime with its unit.")
                .when("Debian/Ubuntu")
                .command("apt-get install -y containerd && systemctl enable --now containerd"),
        )
        .bad([
            dir("/etc/systemd/system", &["containerd.service@", "multi-user.target.wants/"]),
            said(Query::Link { path: "/etc/systemd/system/containerd.service".to_owned() }, "/dev/null"),
        ]),
        Check::new("node.service.ufw", "ufw does not close the ports that Kubernetes needs", |view| {
            Ok(match view.facts.service.ufw.present(UFW)? {
                Some(Some(line)) => {
                    let message = "ufw is on: unless rules allow them, ports 6443, 2379-2380 and 10250 and those of \
                                   the pod network are closed";
                    let breach = Breach::new("ufw", message).found("ENABLED=yes");
                    Conclusion::breach(breach.wanted("off, or rules for the ports").at(UFW, Some(*line)))
                }
                Some(None) => Conclusion::holds().because(UFW, "ENABLED=no"),
                None => Conclusion::holds().because(UFW, "not there"),
            })
        })
        .severity(Severity::Medium)
        .label("service")
        .label("network")
        .alias("ufw")
        .page(
            "Nodes that cannot reach the API server, or each other's kubelets and pods, are Ready and do not work.",
            "Reads ENABLED in /etc/ufw/ufw.conf.",
        )
        .basis(
            "k3s check-config: ufw; Kubernetes: ports and protocols",
            "https://kubernetes.io/docs/reference/networking/ports-and-protocols/",
        )
        .remedy(Remedy::new("Allow what Kubernetes needs, and waive this claim.").when("ufw stays").command(
            "ufw allow 6443/tcp && ufw allow 2379:2380/tcp && ufw allow 10250/tcp && ufw default allow routed",
        ))
        .remedy(Remedy::new("Turn ufw off where another firewall protects the node.").command("ufw disable"))
        .bad([file(UFW, "LOGLEVEL=low\nENABLED=yes\n")]),
    ]
}
