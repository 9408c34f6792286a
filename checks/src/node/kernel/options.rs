//! Kernel configuration, an option a row.

use std::ops::RangeInclusive;

use crate::check::{Check, Judgment, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion, Inconclusive};
use crate::construct::replace;
use crate::node::{View, preflight};

const VALIDATORS: &str = "https://github.com/kubernetes/system-validators";
pub(super) const K3S: &str = "https://docs.k3s.io/installation/requirements";
const K0S: &str = "https://docs.k0sproject.io/stable/system-requirements/";

/// Which cgroup version an option is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    Any,
    CgroupV1,
    CgroupV2,
}

struct Row {
    option: &'static str,
    /// Options of which one does as well.
    or: &'static [&'static str],
    severity: Severity,
    cgroup: For,
    why: &'static str,
    basis: (&'static str, &'static str),
}

const SV: (&str, &str) = ("system-validators: required kernel configuration", VALIDATORS);
const SVO: (&str, &str) = ("system-validators: optional kernel configuration", VALIDATORS);
const K3: (&str, &str) = ("k3s check-config: required", K3S);
const K3O: (&str, &str) = ("k3s check-config: optional", K3S);
const K0: (&str, &str) = ("k0s sysinfo: kernel configuration", K0S);

const fn row(
    option: &'static str,
    severity: Severity,
    cgroup: For,
    why: &'static str,
    basis: (&'static str, &'static str),
) -> Row {
    Row { option, or: &[], severity, cgroup, why, basis }
}

const fn either(
    option: &'static str,
    or: &'static [&'static str],
    severity: Severity,
    why: &'static str,
    basis: (&'static str, &'static str),
) -> Row {
    Row { option, or, severity, cgroup: For::Any, why, basis }
}

use For::{Any, CgroupV1, CgroupV2};
use Severity::{High, Info, Low, Medium};

const ROWS: &[Row] = &[
    row("NAMESPACES", High, Any, "Containers are made of namespaces.", SV),
    row("NET_NS", High, Any, "Each pod has a network namespace.", SV),
    row("PID_NS", High, Any, "Each container has a PID namespace.", SV),
    row("IPC_NS", High, Any, "Each pod has an IPC namespace.", SV),
    row("UTS_NS", High, Any, "Each pod has its own host name.", SV),
    row("USER_NS", Low, Any, "Pods with hostUsers: false need user namespaces.", K3O),
    row("CGROUPS", High, Any, "Resources are limited by control groups.", SV),
    row("CGROUP_CPUACCT", High, CgroupV1, "CPU use is counted with it in cgroup version 1.", SV),
    row("CGROUP_DEVICE", High, CgroupV1, "Devices are kept from containers with it in cgroup version 1.", SV),
    row("CGROUP_FREEZER", High, CgroupV1, "Containers are paused with it in cgroup version 1.", SV),
    row("CGROUP_PIDS", High, Any, "podPidsLimit is set with it.", SV),
    row("CGROUP_SCHED", High, Any, "CPU shares are set with it.", SV),
    row("CGROUP_BPF", High, CgroupV2, "Devices are kept from containers by BPF programs in cgroup version 2.", SV),
    row("CPUSETS", High, Any, "Containers are pinned to CPUs with it.", SV),
    row("MEMCG", High, Any, "Memory limits are set with it.", SV),
    row("FAIR_GROUP_SCHED", High, Any, "CPU requests become shares of the fair scheduler.", SV),
    row("CFS_BANDWIDTH", Medium, Any, "CPU limits are set with it; without it they have no effect.", SVO),
    row("BLK_CGROUP", Low, Any, "Disk bandwidth is limited with it.", K0),
    row("BLK_DEV_THROTTLING", Low, Any, "Disk bandwidth is limited with it.", K3O),
    row("CGROUP_HUGETLB", Low, Any, "Huge pages are limited with it.", K3O),
    row("CGROUP_PERF", Info, Any, "Pods can be profiled one by one with it.", K3O),
    row("RT_GROUP_SCHED", Info, CgroupV1, "Real-time budgets of cgroup version 1 need it.", K3O),
    row("NET_CLS_CGROUP", Info, CgroupV1, "Traffic is marked by cgroup with it in version 1.", K3O),
    row("CGROUP_NET_PRIO", Info, CgroupV1, "Traffic priorities by cgroup need it in version 1.", K3O),
    row("INET", High, Any, "TCP/IP.", SV),
    row("IPV6", Low, Any, "Dual-stack clusters need it.", K0),
    row("EXT4_FS", Medium, Any, "Volumes are formatted with ext4 unless told otherwise.", SV),
    row("PROC_FS", High, Any, "The kubelet and the runtime read /proc.", SV),
    either("OVERLAY_FS", &["OVERLAYFS_FS"], Medium, "Runtimes lay image layers over each other with overlayfs.", SVO),
    row("BLK_DEV_DM", Low, Any, "LVM volumes and encrypted disks need the device mapper.", SVO),
    row("SECCOMP", Medium, Any, "The default seccomp profile needs it.", SVO),
    row("SECCOMP_FILTER", Medium, Any, "The default seccomp profile is a filter.", SVO),
    row("KEYS", Medium, Any, "Runtimes give each container a session keyring.", K3),
    row("POSIX_MQUEUE", Medium, Any, "Runtimes mount /dev/mqueue in each container.", K3),
    row("VETH", High, Any, "Pods are joined to the node by veth pairs.", K3),
    row("BRIDGE", Medium, Any, "The bridge CNI plugin and many networks use it.", K3),
    row("BRIDGE_NETFILTER", Medium, Any, "Bridged pod traffic passes through iptables with it.", K3),
    row("LLC", Info, Any, "Bridges need it for spanning tree.", K0),
    row("STP", Info, Any, "Bridges need it for spanning tree.", K0),
    row("VXLAN", Low, Any, "flannel, Calico and Cilium join nodes by VXLAN.", K3O),
    row("DUMMY", Low, Any, "NodeLocal DNSCache and IPVS bind addresses to a dummy link.", K3O),
    row("NETFILTER_ADVANCED", Low, Any, "Many netfilter matches are only built with it.", K0),
    row("NF_CONNTRACK", High, Any, "Services are translated per connection.", K0),
    row("NF_NAT", High, Any, "Service addresses are translated to pod addresses.", K3),
    either("NETFILTER_XTABLES", &["NF_TABLES"], High, "kube-proxy programs iptables or nftables.", K0),
    either(
        "NETFILTER_XT_TARGET_REDIRECT",
        &["IP_NF_TARGET_REDIRECT", "NFT_REDIR"],
        Medium,
        "kubeadm's system verification asks for it; local redirects use it.",
        SV,
    ),
    either(
        "NETFILTER_XT_MATCH_COMMENT",
        &["NF_TABLES"],
        High,
        "Every rule of kube-proxy's iptables mode carries a comment.",
        SV,
    ),
    either("NETFILTER_XT_MATCH_ADDRTYPE", &["NFT_FIB_INET"], High, "NodePorts are found by the type of address.", K3),
    either(
        "NETFILTER_XT_MATCH_CONNTRACK",
        &["NFT_CT", "NF_TABLES"],
        High,
        "Rules match the state of a connection.",
        K3,
    ),
    either("NETFILTER_XT_MATCH_MULTIPORT", &["NF_TABLES"], Medium, "NetworkPolicy rules match several ports.", K3),
    either(
        "NETFILTER_XT_MATCH_STATISTIC",
        &["NFT_NUMGEN"],
        High,
        "kube-proxy's iptables mode spreads connections with it.",
        K3,
    ),
    either("NETFILTER_XT_MATCH_RECENT", &["NFT_DYNSET", "NF_TABLES"], Low, "ClientIP session affinity uses it.", K0),
    either(
        "NETFILTER_XT_MARK",
        &["NETFILTER_XT_TARGET_MARK", "NF_TABLES"],
        Medium,
        "Packets to be masqueraded are marked.",
        K0,
    ),
    either("NETFILTER_XT_SET", &["NF_TABLES"], Low, "kube-proxy's IPVS mode and network policies match sets.", K0),
    either("IP_NF_FILTER", &["NFT_COMPAT", "NF_TABLES"], High, "Filter rules.", K3),
    either(
        "IP_NF_TARGET_MASQUERADE",
        &["NETFILTER_XT_TARGET_MASQUERADE", "NFT_MASQ"],
        High,
        "Pods reach the outside under the node's address.",
        K3,
    ),
    either(
        "IP_NF_TARGET_REJECT",
        &["NFT_REJECT", "NFT_REJECT_INET"],
        Medium,
        "Services without endpoints reject connections.",
        K3,
    ),
    either("IP_NF_NAT", &["NFT_NAT"], High, "Service addresses are translated.", K3),
    either("IP_NF_MANGLE", &["NF_TABLES"], Low, "kube-proxy asks for its chains in the mangle table.", K0),
    either("IP6_NF_FILTER", &["NFT_COMPAT", "NF_TABLES"], Low, "Filter rules for IPv6.", K0),
    either("IP6_NF_NAT", &["NFT_NAT"], Low, "IPv6 Service addresses are translated.", K0),
    row(
        "NF_TABLES",
        Low,
        Any,
        "kube-proxy's nftables mode, and iptables-nft, program nftables.",
        ("KEP-3866: nftables kube-proxy", "https://kubernetes.io/docs/reference/networking/virtual-ips/"),
    ),
    row("IP_SET", Low, Any, "kube-proxy's IPVS mode and network policies use sets.", K3O),
    row("IP_VS", Info, Any, "Only kube-proxy's IPVS mode, which is deprecated, needs it.", K3O),
    row("XFRM_USER", Info, Any, "Encrypted pod networks use IPsec.", K3O),
    row(
        "NET_SCH_INGRESS",
        Info,
        Any,
        "eBPF networks and the bandwidth plugin attach to it.",
        ("Cilium: required kernel options", "https://docs.cilium.io/en/stable/operations/system_requirements/"),
    ),
    row(
        "BPF_SYSCALL",
        Medium,
        Any,
        "runc limits devices in cgroup version 2, and eBPF networks work, through it.",
        ("runc: cgroup v2 device filter", "https://github.com/opencontainers/runc/blob/main/docs/cgroup-v2.md"),
    ),
    row(
        "PSI",
        Info,
        Any,
        "The kubelet reports pressure stall information (KEP-4205).",
        ("KEP-4205: PSI metrics", "https://kubernetes.io/docs/reference/instrumentation/understand-psi-metrics/"),
    ),
    row(
        "INOTIFY_USER",
        High,
        Any,
        "The kubelet watches its manifests and certificates.",
        ("kubelet: static pods", "https://kubernetes.io/docs/tasks/configure-pod-container/static-pod/"),
    ),
    row(
        "EPOLL",
        High,
        Any,
        "Every Go program waits with epoll.",
        ("Go runtime: netpoll_epoll.go", "https://go.dev/src/runtime/netpoll_epoll.go"),
    ),
    row("TUN", Info, Any, "VPN-based pod networks use tun devices.", K3O),
    row("FUSE_FS", Info, Any, "Some CSI drivers and rootless overlays use FUSE.", K3O),
    row(
        "NFS_FS",
        Info,
        Any,
        "NFS volumes are mounted by the kernel.",
        ("Kubernetes: NFS volumes", "https://kubernetes.io/docs/concepts/storage/volumes/#nfs"),
    ),
    row("XFS_FS", Info, Any, "Many images keep /var on XFS.", K0),
];

/// The options of which kubeadm's system verification wants one, where it asks for the row's.
fn required(name: &str, view: &View<'_>) -> Result<Option<&'static [&'static str]>, Inconclusive> {
    let asks = |row: &&(&[&str], Option<u32>, RangeInclusive<u32>)| {
        row.0[0] == name && row.2.contains(&view.profile.kubernetes.0)
    };
    let rows: Vec<_> = preflight::OPTIONS.iter().filter(asks).collect();
    Ok(match rows[..] {
        [] => None,
        [(names, Some(cgroup), _)] => {
            let version = view.facts.cgroup.mode.need("cgroup version")?.version();
            (u32::from(version) == *cgroup).then_some(*names)
        }
        // Of either cgroup version, or of both.
        [(names, ..), ..] => Some(*names),
    })
}

fn judge_option(row: &Row, view: &View<'_>) -> Judgment {
    let cgroup = || view.facts.cgroup.mode.need("cgroup version").map(|mode| mode.version());
    let Some(config) = view.facts.kernel.config.present("kernel configuration")? else {
        return Ok(Conclusion::not_applicable(
            "no file has the kernel's configuration (node.kernel.config): probes decide",
        ));
    };
    if let Some(names) = required(row.option, view)? {
        let found = names.iter().find(|name| matches!(config.options.get(**name).map(String::as_str), Some("y" | "m")));
        let wanted: Vec<_> = names.iter().map(|name| format!("CONFIG_{name}")).collect();
        return Ok(match found {
            Some(name) => Conclusion::holds().because(config.path.clone(), format!("CONFIG_{name}")),
            None => {
                let kubernetes = view.profile.kubernetes;
                let wanted = wanted.join(" or ");
                let message = format!("kubeadm {kubernetes} refuses a kernel that was built without {wanted}");
                let breach = Breach::new(format!("CONFIG_{}", row.option), message).found("not set").wanted("y or m");
                Conclusion::breach(breach.at(config.path.clone(), None).severity(High))
            }
        });
    }
    match row.cgroup {
        CgroupV1 if cgroup()? == 2 => return Ok(Conclusion::not_applicable("only cgroup version 1 needs it")),
        CgroupV2 if cgroup()? == 1 => return Ok(Conclusion::not_applicable("only cgroup version 2 needs it")),
        _ => {}
    }
    let names = std::iter::once(row.option).chain(row.or.iter().copied());
    for name in names {
        if let Some(value) = config.options.get(name).filter(|value| *value == "y" || *value == "m") {
            return Ok(Conclusion::holds().because(config.path.clone(), format!("CONFIG_{name}={value}")));
        }
    }
    let wanted: Vec<_> = std::iter::once(&row.option).chain(row.or).map(|name| format!("CONFIG_{name}")).collect();
    let breach =
        Breach::new(format!("CONFIG_{}", row.option), format!("the kernel was built without {}", wanted.join(" or ")));
    Ok(Conclusion::breach(breach.found("not set").wanted("y or m").at(config.path.clone(), None)))
}

fn option(row: &'static Row) -> Check {
    let name = row.option.to_lowercase().replace('_', "-");
    let check =
        Check::new(format!("node.kernel.config.{name}"), format!("the kernel has CONFIG_{}", row.option), |view| {
            judge_option(row, view)
        })
        .severity(row.severity)
        .label("kernel")
        .label("kernel-config")
        .alias(format!("CONFIG_{}", row.option))
        .page(
            row.why,
            "Reads the kernel's configuration: /proc/config.gz, else the file of this release under /boot, \
             /usr/lib/modules or /usr/src. Built in and as a module are both well.",
        )
        .basis(row.basis.0, row.basis.1)
        .remedy(Remedy::new(format!(
            "Use a distribution's general-purpose kernel, or build yours with CONFIG_{}.",
            row.option
        )));
    let check = row.or.iter().fold(check, |check, other| check.alias(format!("CONFIG_{other}")));
    let names = std::iter::once(&row.option).chain(row.or);
    let bad = names.map(|name| replace(REFERENCE_CONFIG, &format!("CONFIG_{name}=y\n"), ""));
    match row.cgroup {
        Any | CgroupV2 => check.bad(bad),
        CgroupV1 => check.good(v1_mounts()).bad(v1_mounts().into_iter().chain(bad)),
    }
}

fn v1_mounts() -> Vec<crate::construct::Edit> {
    vec![crate::construct::file("/proc/1/mounts", "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n")]
}

/// Where the reference node has its configuration.
pub(super) const REFERENCE_CONFIG: &str = "/boot/config-6.12.0-1-amd64";

/// The table's checks.
pub(super) fn checks() -> impl Iterator<Item = Check> {
    ROWS.iter().map(option)
}
