//! Programs that the kubelet, kubeadm and volume plugins call: a table of rows, looked up in the node's usual PATH.

use std::collections::BTreeMap;

use crate::check::{Check, Judgement, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion};
use crate::construct::{Edit, no_stat};
use crate::fact::Fact;
use crate::host::{FileKind, Host};
use crate::node::View;
use crate::profile::Role;

/// Where systemd services look for programs, and where installers put Kubernetes' own.
const PATH: &[&str] = &["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/opt/bin"];

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
    let mut unreadable = None;
    for folder in PATH {
        let path = format!("{folder}/{name}");
        match host.stat(&path) {
            Fact::Known(stat) if stat.kind == FileKind::File && stat.mode & 0o111 != 0 => return Fact::Known(path),
            Fact::Known(_) | Fact::Absent(_) => {}
            Fact::NotGathered(why) => return Fact::NotGathered(why),
            Fact::Unreadable(why) | Fact::Malformed(why) => unreadable = Some(why),
        }
    }
    match unreadable {
        Some(why) => Fact::Unreadable(why),
        None => Fact::Absent(format!("{name} is in none of {}", PATH.join(":"))),
    }
}

/// Is a program there? `why` is what its absence means.
pub(super) fn judge_program(view: &View<'_>, name: &str, why: &str) -> Judgement {
    let Some(fact) = view.facts.programs.0.get(name) else {
        return Ok(Conclusion::undetermined(format!("{name} was not looked for")));
    };
    Ok(match fact.present(name)? {
        Some(path) => Conclusion::holds().because(name, path),
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
    severity: Severity,
    why: &'static str,
    basis: (&'static str, &'static str),
    debian: &'static str,
    fedora: &'static str,
    versions: std::ops::RangeInclusive<u32>,
    roles: &'static [Role],
}

const KUBEADM: &str = "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/install-kubeadm/";
const ANY: std::ops::RangeInclusive<u32> = 0..=u32::MAX;
const MEMBERS: &[Role] = &[Role::ControlPlane, Role::Worker];

const fn row(
    name: &'static str,
    severity: Severity,
    why: &'static str,
    basis: (&'static str, &'static str),
    packages: (&'static str, &'static str),
) -> Row {
    Row { name, severity, why, basis, debian: packages.0, fedora: packages.1, versions: ANY, roles: &[] }
}

use Severity::{High, Info, Low, Medium};

const ROWS: &[Row] = &[
    row(
        "ip",
        High,
        "kubeadm refuses a node without it; networks set links up with it.",
        ("kubeadm preflight: FileExisting-ip", KUBEADM),
        ("iproute2", "iproute"),
    ),
    row(
        "iptables",
        High,
        "kubeadm refuses a node without it; kube-proxy's default mode programs it.",
        ("kubeadm preflight: FileExisting-iptables", KUBEADM),
        ("iptables", "iptables-nft"),
    ),
    row(
        "mount",
        High,
        "kubeadm refuses a node without it; the kubelet mounts volumes with it.",
        ("kubeadm preflight: FileExisting-mount", KUBEADM),
        ("mount", "util-linux-core"),
    ),
    row(
        "nsenter",
        High,
        "kubeadm refuses a node without it; containerized mounts enter the node's namespaces with it.",
        ("kubeadm preflight: FileExisting-nsenter", KUBEADM),
        ("util-linux", "util-linux-core"),
    ),
    Row {
        versions: 0..=31,
        ..row(
            "conntrack",
            High,
            "kubeadm before 1.32 refuses a node without it; kube-proxy clears stale UDP entries with it.",
            ("kubeadm preflight: FileExisting-conntrack (before 1.32)", KUBEADM),
            ("conntrack", "conntrack-tools"),
        )
    },
    row(
        "ebtables",
        Medium,
        "kubeadm warns; the kubelet's bridge networks deduplicate frames with it.",
        ("kubeadm preflight: FileExisting-ebtables", KUBEADM),
        ("ebtables", "iptables-nft"),
    ),
    row(
        "ethtool",
        Medium,
        "kubeadm warns; hairpin set-up finds peers of veth pairs with it.",
        ("kubeadm preflight: FileExisting-ethtool", KUBEADM),
        ("ethtool", "ethtool"),
    ),
    row(
        "socat",
        Medium,
        "kubeadm warns; port-forward of older runtimes runs it.",
        ("kubeadm preflight: FileExisting-socat", KUBEADM),
        ("socat", "socat"),
    ),
    row(
        "tc",
        Medium,
        "kubeadm warns; bandwidth limits are set with it.",
        ("kubeadm preflight: FileExisting-tc", KUBEADM),
        ("iproute2", "iproute-tc"),
    ),
    row(
        "touch",
        Medium,
        "kubeadm warns; a sign of a very small image.",
        ("kubeadm preflight: FileExisting-touch", KUBEADM),
        ("coreutils", "coreutils"),
    ),
    row(
        "modprobe",
        Medium,
        "kube-proxy and networks load kernel modules with it.",
        ("k0s sysinfo: modprobe", "https://docs.k0sproject.io/stable/system-requirements/"),
        ("kmod", "kmod"),
    ),
    row(
        "umount",
        High,
        "The kubelet unmounts volumes with it.",
        ("k0s sysinfo: umount", "https://docs.k0sproject.io/stable/system-requirements/"),
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
        ("kube-proxy: iptables mode", "https://kubernetes.io/docs/reference/networking/virtual-ips/"),
        ("iptables", "iptables-nft"),
    ),
    row(
        "nft",
        Info,
        "kube-proxy's nftables mode calls it on hosts; its image carries its own.",
        ("KEP-3866: nftables kube-proxy", "https://kubernetes.io/docs/reference/networking/virtual-ips/"),
        ("nftables", "nftables"),
    ),
    row(
        "mkfs.ext4",
        Medium,
        "The kubelet formats block volumes with it.",
        ("kubelet: formatAndMount", "https://kubernetes.io/docs/concepts/storage/persistent-volumes/"),
        ("e2fsprogs", "e2fsprogs"),
    ),
    row(
        "mkfs.xfs",
        Info,
        "Volumes with fsType xfs are formatted with it.",
        ("kubelet: formatAndMount", "https://kubernetes.io/docs/concepts/storage/persistent-volumes/"),
        ("xfsprogs", "xfsprogs"),
    ),
    row(
        "fsck",
        Medium,
        "The kubelet checks block volumes with it before it mounts them.",
        ("kubelet: formatAndMount", "https://kubernetes.io/docs/concepts/storage/persistent-volumes/"),
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
        ("kube-proxy: IPVS mode", "https://kubernetes.io/docs/reference/networking/virtual-ips/"),
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
        "The tool to look at a runtime when the kubelet cannot; kubeadm before 1.32 asked for it.",
        ("Debugging Kubernetes nodes with crictl", "https://kubernetes.io/docs/tasks/debug/debug-cluster/crictl/"),
        ("cri-tools", "cri-tools"),
    ),
];

fn check(row: &'static Row) -> Check {
    let name = row.name;
    Check::new(format!("node.program.{}", name.replace(['.', '_'], "-")), format!("{name} is installed"), move |view| {
        judge_program(view, name, &format!("{name} is not installed: {}", row.why))
    })
    .severity(row.severity)
    .label("program")
    .alias(format!("FileExisting-{name}"))
    .alias(name)
    .versions(row.versions.clone())
    .roles(row.roles.iter().copied())
    .page(row.why, format!("Looks for a file that may be run in {}.", PATH.join(", ")))
    .basis(row.basis.0, row.basis.1)
    .remedy(
        Remedy::new(format!("Install {}.", row.debian))
            .when("Debian/Ubuntu")
            .command(format!("apt-get install -y {}", row.debian)),
    )
    .remedy(
        Remedy::new(format!("Install {}.", row.fedora))
            .when("RHEL/Fedora")
            .command(format!("dnf install -y {}", row.fedora)),
    )
    .bad(without(name))
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    ROWS.iter()
        .map(|row| {
            let check = check(row);
            if *row.versions.end() == 31 {
                check.example_profile(|profile| profile.kubernetes = crate::KubernetesVersion(31))
            } else {
                check
            }
        })
        .collect()
}
