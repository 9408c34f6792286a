//! Programs that the kubelet, kubeadm and volume plugins call: a table of rows, looked up in the node's usual PATH.

use std::collections::BTreeMap;

use crate::check::{Check, Judgment, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion, Verdict};
use crate::construct::{Edit, file, no_stat};
use crate::fact::Fact;
use crate::host::{FileKind, Host};
use crate::node::preflight::{self, Level};
use crate::node::{View, service};
use crate::profile::{KubernetesVersion, Role};

/// Where systemd services look for programs, and where installers put Kubernetes' own.
pub(super) const PATH: &[&str] =
    &["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/opt/bin", NIXOS];
/// The profile of NixOS, the PATH of its services.
const NIXOS: &str = "/run/current-system/sw/bin";

/// Where each program of the table is.
#[derive(Debug)]
pub struct Facts(BTreeMap<&'static str, Fact<String>>);

impl Facts {
    pub(super) fn read(host: &dyn Host) -> Self {
        let names = ROWS.iter().map(|row| row.name).chain(["apparmor_parser"]);
        Self(names.map(|name| (name, find(host, name))).collect())
    }
}

/// The first place that has the program and lets it be run.
fn find(host: &dyn Host, name: &str) -> Fact<String> {
    let (mut unreadable, mut unseen) = (None, Vec::new());
    for folder in PATH {
        let path = format!("{folder}/{name}");
        match host.stat(&path) {
            Fact::Known(stat) if stat.kind == FileKind::File && stat.mode & 0o111 != 0 => return Fact::Known(path),
            Fact::Known(_) | Fact::Absent(_) => {}
            // Of a tree that does not run nobody looks at /run.
            Fact::NotGathered(why) => unseen.push(why),
            Fact::Unreadable(why) | Fact::Malformed(why) => unreadable = Some(why),
        }
    }
    match (unreadable, unseen.pop()) {
        (Some(why), _) => Fact::Unreadable(why),
        (None, Some(why)) if unseen.len() + 1 == PATH.len() => Fact::NotGathered(why),
        (None, _) => Fact::Absent(format!("{name} is in none of {}", PATH.join(":"))),
    }
}

/// Is a program there? `why` is what its absence means.
pub(super) fn judge_program(view: &View<'_>, name: &str, why: &str) -> Judgment {
    let Some(fact) = view.facts.programs.0.get(name) else {
        return Ok(Conclusion::undetermined(format!("{name} was not looked for")));
    };
    Ok(match fact.present(name)? {
        Some(path) => Conclusion::holds().because(name, path),
        None if let Some(runner) = view.facts.kubelet.distribution() => Conclusion::not_applicable(format!(
            "{name} is not in the node's PATH; {runner} runs the kubelet, with programs of its own"
        )),
        None => Conclusion::breach(
            Breach::new(name, why).found("not found").wanted(format!("{name} in {}", PATH.join(":"))),
        ),
    })
}

/// The edits that take a program from the reference node.
pub(super) fn without(name: &str) -> Vec<Edit> {
    PATH.iter().map(|folder| no_stat(&format!("{folder}/{name}"))).collect()
}

struct Row {
    name: &'static str,
    /// How much it matters to others than kubeadm; `None` where nothing but kubeadm asks for it.
    severity: Option<Severity>,
    why: &'static str,
    basis: Option<(&'static str, &'static str)>,
    debian: &'static str,
    fedora: &'static str,
    roles: &'static [Role],
}

const KUBEADM: &str = "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/install-kubeadm/";
const K0S: &str = "https://docs.k0sproject.io/stable/system-requirements/";
const PROXY: &str = "https://kubernetes.io/docs/reference/networking/virtual-ips/";
const VOLUMES: &str = "https://kubernetes.io/docs/concepts/storage/persistent-volumes/";
const MEMBERS: &[Role] = &[Role::ControlPlane, Role::Worker];

use Severity::{High, Info, Low, Medium};

/// What only kubeadm asks for.
const fn asked(name: &'static str, why: &'static str, packages: (&'static str, &'static str)) -> Row {
    Row { name, severity: None, why, basis: None, debian: packages.0, fedora: packages.1, roles: &[] }
}

const fn row(
    name: &'static str,
    severity: Severity,
    why: &'static str,
    basis: (&'static str, &'static str),
    packages: (&'static str, &'static str),
) -> Row {
    Row { severity: Some(severity), basis: Some(basis), ..asked(name, why, packages) }
}

const ROWS: &[Row] = &[
    asked("ip", "Networks and people set links up with it.", ("iproute2", "iproute")),
    row(
        "iptables",
        Low,
        "The kubelet keeps chains of its own with it, and the portmap plug-in maps host ports with it.",
        ("kube-proxy: iptables mode", PROXY),
        ("iptables", "iptables-nft"),
    ),
    row(
        "mount",
        High,
        "The kubelet mounts volumes with it.",
        ("k0s sysinfo: mount", K0S),
        ("mount", "util-linux-core"),
    ),
    asked("cp", "kubeadm copies etcd's data with it before an upgrade.", ("coreutils", "coreutils")),
    asked("nsenter", "Runtimes of that time entered a pod's namespaces with it.", ("util-linux", "util-linux-core")),
    asked("conntrack", "kube-proxy clears stale UDP entries with it.", ("conntrack", "conntrack-tools")),
    asked("ebtables", "The kubelet's own bridge network deduplicated frames with it.", ("ebtables", "iptables-nft")),
    asked("ethtool", "The kubelet's own bridge network found peers of veth pairs with it.", ("ethtool", "ethtool")),
    row(
        "socat",
        Info,
        "cri-dockerd, and containerd before 1.4, forward ports with it.",
        ("cri-dockerd: port forwarding", "https://github.com/Mirantis/cri-dockerd"),
        ("socat", "socat"),
    ),
    asked("tc", "The bandwidth limits of the kubelet's own network were set with it.", ("iproute2", "iproute-tc")),
    asked("touch", "An image without it lacks the basic programs.", ("coreutils", "coreutils")),
    row(
        "modprobe",
        Medium,
        "kube-proxy and networks load kernel modules with it.",
        ("k0s sysinfo: modprobe", K0S),
        ("kmod", "kmod"),
    ),
    row(
        "umount",
        High,
        "The kubelet unmounts volumes with it.",
        ("k0s sysinfo: umount", K0S),
        ("mount", "util-linux-core"),
    ),
    row(
        "ip6tables",
        Low,
        "kube-proxy's iptables mode programs IPv6 with it.",
        ("kube-proxy: dual-stack", "https://kubernetes.io/docs/concepts/services-networking/dual-stack/"),
        ("iptables", "iptables-nft"),
    ),
    row(
        "iptables-restore",
        Medium,
        "kube-proxy's iptables mode loads its rules with it.",
        ("kube-proxy: iptables mode", PROXY),
        ("iptables", "iptables-nft"),
    ),
    row(
        "nft",
        Info,
        "kube-proxy's nftables mode calls it on hosts; its image carries its own.",
        ("KEP-3866: nftables kube-proxy", PROXY),
        ("nftables", "nftables"),
    ),
    row(
        "mkfs.ext4",
        Medium,
        "The kubelet formats block volumes with it.",
        ("kubelet: formatAndMount", VOLUMES),
        ("e2fsprogs", "e2fsprogs"),
    ),
    row(
        "mkfs.xfs",
        Info,
        "Volumes with fsType xfs are formatted with it.",
        ("kubelet: formatAndMount", VOLUMES),
        ("xfsprogs", "xfsprogs"),
    ),
    row(
        "fsck",
        Medium,
        "The kubelet checks block volumes with it before it mounts them.",
        ("kubelet: formatAndMount", VOLUMES),
        ("util-linux", "util-linux"),
    ),
    row(
        "losetup",
        Info,
        "Block volumes on local files use it.",
        (
            "kubelet: block volumes",
            "https://kubernetes.io/docs/concepts/storage/persistent-volumes/#raw-block-volume-support",
        ),
        ("mount", "util-linux-core"),
    ),
    row(
        "mount.nfs",
        Info,
        "NFS volumes are mounted with it.",
        ("Kubernetes: NFS volumes", "https://kubernetes.io/docs/concepts/storage/volumes/#nfs"),
        ("nfs-common", "nfs-utils"),
    ),
    row(
        "ipset",
        Info,
        "kube-proxy's IPVS mode and some network policies call it.",
        ("kube-proxy: IPVS mode", PROXY),
        ("ipset", "ipset"),
    ),
    row(
        "runc",
        Low,
        "containerd runs containers with it, unless it brings another.",
        ("containerd: getting started", "https://github.com/containerd/containerd/blob/main/docs/getting-started.md"),
        ("runc", "runc"),
    ),
    Row {
        roles: MEMBERS,
        ..row(
            "kubelet",
            High,
            "Without it there is no node.",
            ("Installing kubeadm, kubelet and kubectl", KUBEADM),
            ("kubelet", "kubelet"),
        )
    },
    Row {
        roles: MEMBERS,
        ..row(
            "kubeadm",
            Low,
            "Only nodes that kubeadm sets up need it.",
            ("Installing kubeadm, kubelet and kubectl", KUBEADM),
            ("kubeadm", "kubeadm"),
        )
    },
    row(
        "crictl",
        Low,
        "It shows what a runtime does when the kubelet cannot.",
        ("Debugging Kubernetes nodes with crictl", "https://kubernetes.io/docs/tasks/debug/debug-cluster/crictl/"),
        ("cri-tools", "cri-tools"),
    ),
];

/// What kubeadm asks for, as text: `kubeadm 1.23 to 1.32 refuses a node without it.`
fn asks(name: &str) -> String {
    let rows = preflight::PROGRAMS.iter().filter(|row| row.0 == name);
    let text = rows.map(|(_, level, versions)| {
        let word = match level {
            Level::Error => "refuses a node without it",
            Level::Warning => "warns of a node without it",
        };
        let newest = *versions.end() == KubernetesVersion::NEWEST.0;
        match (*versions.start(), *versions.end()) {
            (first, last) if first == last => format!(" kubeadm 1.{first} {word}."),
            (23, _) if newest => format!(" kubeadm {word}."),
            (first, _) if newest => format!(" kubeadm 1.{first} and later {word}."),
            (first, last) => format!(" kubeadm 1.{first} to 1.{last} {word}."),
        }
    });
    text.collect()
}

fn severity_of(level: Level) -> Severity {
    match level {
        Level::Error => High,
        Level::Warning => Medium,
    }
}

fn check(row: &'static Row) -> Check {
    let name = row.name;
    let asked = || preflight::PROGRAMS.iter().filter(move |asked| asked.0 == name);
    let newest = asked().max_by_key(|asked| *asked.2.end()).map_or(High, |asked| severity_of(asked.1));
    let why = format!("{}{}", row.why, asks(name));
    let message = format!("{name} is not installed. {why}");
    let mut check = Check::new(
        format!("node.program.{}", name.replace(['.', '_'], "-")),
        format!("{name} is installed"),
        move |view| match name {
            "kubelet" | "kubeadm" => judge_kubernetes(view, name, &message),
            _ => judge_program(view, name, &message),
        },
    )
    .severity(row.severity.unwrap_or(newest))
    .label("program")
    .alias(format!("FileExisting-{name}"))
    .alias(name)
    .roles(row.roles.iter().copied())
    .page(why, format!("Looks for a file that may be run in {}.", PATH.join(", ")))
    .remedy(package(row.debian, "apt-get install -y").when("Debian/Ubuntu"))
    .remedy(package(row.fedora, "dnf install -y").when("RHEL/Fedora"))
    .bad(without(name));
    for (_, level, versions) in asked() {
        let severity = severity_of(*level);
        check = check.severity_in(versions.clone(), severity.max(row.severity.unwrap_or(severity)));
    }
    if let Some((document, url)) = row.basis {
        check = check.basis(document, url);
    }
    if asked().next().is_some() {
        check = check.label("kubeadm").basis(format!("kubeadm preflight: FileExisting-{name}"), KUBEADM);
    }
    if row.severity.is_none() {
        let first = asked().map(|asked| *asked.2.start()).min().unwrap_or(0);
        let last = asked().map(|asked| *asked.2.end()).max().unwrap_or(0);
        let last = if last == KubernetesVersion::NEWEST.0 { u32::MAX } else { last };
        check = check.versions(first..=last);
        // The newest release that asks for it.
        check = match last {
            27 => check.example_profile(|profile| profile.kubernetes = KubernetesVersion(27)),
            31 => check.example_profile(|profile| profile.kubernetes = KubernetesVersion(31)),
            32 => check.example_profile(|profile| profile.kubernetes = KubernetesVersion(32)),
            _ => check,
        };
    }
    check
}

/// Kubernetes' own packages come from a repository of each minor release, which must be set up first.
fn package(name: &str, install: &str) -> Remedy {
    let remedy = Remedy::new(format!("Install {name}.")).command(format!("{install} {name}"));
    if ["kubelet", "kubeadm", "cri-tools"].contains(&name) {
        Remedy {
            text: format!("Add the repository of your minor release (pkgs.k8s.io), and install {name}."),
            ..remedy
        }
    } else {
        remedy
    }
}

/// The kubelet and kubeadm of a node: a distribution may bring the former along and do without the latter.
fn judge_kubernetes(view: &View<'_>, name: &str, message: &str) -> Judgment {
    let conclusion = judge_program(view, name, message)?;
    if conclusion.verdict == Verdict::Holds {
        return Ok(conclusion);
    }
    if let Some(unit) = view.facts.service.brings_kubelet() {
        return Ok(Conclusion::not_applicable(format!("{unit}.service brings its own kubelet")));
    }
    if let Some(runner) = view.facts.kubelet.other_runner() {
        return Ok(Conclusion::not_applicable(format!("{runner} runs the kubelet")));
    }
    match service::kubelet_process(view)? {
        Some(process) if name == "kubelet" => Ok(Conclusion::holds().because("running process", process)),
        _ => Ok(conclusion),
    }
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    let check = |row| {
        let check = check(row);
        // A kubelet that runs is somewhere.
        if row.name == "kubelet" {
            check.bad([without("kubelet"), vec![file("/proc/20/comm", "bash\n")]].concat())
        } else {
            check
        }
    };
    ROWS.iter().map(check).collect()
}

#[cfg(test)]
mod tests;
