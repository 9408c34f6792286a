//! The kernel: its release, the options that it was built with, and its modules.
//!
//! What a kernel was built with is a hint; what it does is the truth, and the probes ask for that. An option that cannot be
//! read is undetermined, never failed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use crate::check::{Check, Judgement, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion};
use crate::construct::replace;
use crate::fact::Fact;
use crate::host::{Host, System};
use crate::node::View;

const VALIDATORS: &str = "https://github.com/kubernetes/system-validators";
const RUNTIMES: &str = "https://kubernetes.io/docs/setup/production-environment/container-runtimes/";
const K3S: &str = "https://docs.k3s.io/installation/requirements";
const K0S: &str = "https://docs.k0sproject.io/stable/system-requirements/";

/// The most that a compressed configuration may unpack to.
const CONFIG_LIMIT: u64 = 4 << 20;

/// What is known of the kernel.
#[derive(Debug)]
pub struct Facts {
    /// uname, and what we may do.
    pub system: Fact<System>,
    /// The options that it was built with.
    pub config: Fact<Config>,
    /// Modules that are loaded.
    pub loaded: Fact<BTreeSet<String>>,
    /// Modules that are built in.
    pub built_in: Fact<BTreeSet<String>>,
    /// Modules that can be loaded.
    pub loadable: Fact<BTreeSet<String>>,
    /// What seccomp can do.
    pub seccomp: Fact<String>,
    /// Is AppArmor on?
    pub apparmor: Fact<String>,
}

/// The options that a kernel was built with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where that was read.
    pub path: String,
    /// `y`, `m` or a value, by option without `CONFIG_`.
    pub options: BTreeMap<String, String>,
}

impl Facts {
    pub(super) fn read(host: &dyn Host) -> Self {
        let system = host.system();
        let release = system.known().map(|system| system.release.clone()).unwrap_or_default();
        let modules = |file: &str| {
            if release.is_empty() {
                return Fact::NotGathered("the kernel's release is not known".to_owned());
            }
            host.text(&format!("/lib/modules/{release}/{file}")).map(|text| module_names(&text))
        };
        Self {
            config: config(host, &release),
            loaded: host.text("/proc/modules").map(|text| module_names(&text)),
            built_in: modules("modules.builtin"),
            loadable: modules("modules.dep"),
            seccomp: host.text("/proc/sys/kernel/seccomp/actions_avail"),
            apparmor: host.text("/sys/module/apparmor/parameters/enabled").map(|text| text.trim().to_owned()),
            system,
        }
    }
}

/// Reads the configuration from the first place that has it: the order of system-validators.
fn config(host: &dyn Host, release: &str) -> Fact<Config> {
    let mut tried = vec!["/proc/config.gz".to_owned()];
    match host.read("/proc/config.gz").parse(|bytes| unpack(&bytes)) {
        Fact::Absent(_) => {}
        other => return other.map(|text| Config { path: tried.remove(0), options: options(&text) }),
    }
    for place in [
        "/boot/config-{}",
        "/usr/src/linux-{}/.config",
        "/usr/lib/modules/{}/config",
        "/usr/lib/ostree-boot/config-{}",
        "/usr/lib/kernel/config-{}",
        "/usr/src/linux-headers-{}/.config",
        "/lib/modules/{}/build/.config",
    ] {
        let path = place.replace("{}", release);
        match host.text(&path) {
            Fact::Absent(_) => tried.push(path),
            other => return other.map(|text| Config { path, options: options(&text) }),
        }
    }
    Fact::Absent(format!("no kernel configuration at {}", tried.join(", ")))
}

fn unpack(bytes: &[u8]) -> Result<String, String> {
    let mut text = Vec::new();
    let unpacked = flate2::read::GzDecoder::new(bytes).take(CONFIG_LIMIT + 1).read_to_end(&mut text);
    unpacked.map_err(|error| format!("/proc/config.gz does not unpack: {error}"))?;
    if text.len() as u64 > CONFIG_LIMIT {
        return Err(format!("/proc/config.gz unpacks to more than {} MiB", CONFIG_LIMIT >> 20));
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// `CONFIG_X=y` lines.
fn options(text: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let (name, value) = line.trim().strip_prefix("CONFIG_")?.split_once('=')?;
        Some((name.to_owned(), value.trim_matches('"').to_owned()))
    };
    text.lines().filter_map(line).collect()
}

/// Names of modules, from /proc/modules, modules.builtin or modules.dep: the first word of a line, its path and ending taken off.
fn module_names(text: &str) -> BTreeSet<String> {
    let name = |line: &str| {
        let word = line.split([' ', ':']).next()?;
        let file = word.rsplit('/').next()?;
        let name = file.split(".ko").next()?;
        (!name.is_empty()).then(|| name.replace('-', "_"))
    };
    text.lines().filter_map(name).collect()
}

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

fn judge_option(row: &Row, view: &View<'_>) -> Judgement {
    let cgroup = || view.facts.cgroup.mode.need("cgroup version").map(|mode| mode.version());
    let config = view.facts.kernel.config.need("kernel configuration")?;
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
    let check = Check::new(format!("node.kernel.config.{name}"), format!("the kernel has CONFIG_{}", row.option), |view| {
        judge_option(row, view)
    })
    .severity(row.severity)
    .label("kernel")
    .label("kernel-config")
    .alias(format!("CONFIG_{}", row.option))
    .page(row.why, "Reads the kernel's configuration: /proc/config.gz, else the file of this release under /boot, /usr/lib/modules or /usr/src. Built in and as a module are both well.")
    .basis(row.basis.0, row.basis.1)
    .remedy(Remedy::new(format!("Use a distribution's general-purpose kernel, or build yours with CONFIG_{}.", row.option)));
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
const REFERENCE_CONFIG: &str = "/boot/config-6.12.0-1-amd64";

struct Module {
    name: &'static str,
    severity: Severity,
    why: &'static str,
    /// The option that builds it in.
    option: &'static str,
    basis: (&'static str, &'static str),
}

const MODULES: &[Module] = &[
    Module {
        name: "overlay",
        severity: Medium,
        why: "containerd and CRI-O lay image layers over each other with it.",
        option: "OVERLAY_FS",
        basis: ("Container runtimes: forwarding IPv4 and letting iptables see bridged traffic", RUNTIMES),
    },
    Module {
        name: "br_netfilter",
        severity: Medium,
        why: "Bridged pod traffic passes through iptables only with it.",
        option: "BRIDGE_NETFILTER",
        basis: ("Container runtimes: letting iptables see bridged traffic", RUNTIMES),
    },
    Module {
        name: "nf_conntrack",
        severity: High,
        why: "Services are translated per connection.",
        option: "NF_CONNTRACK",
        basis: ("kube-proxy: conntrack", "https://kubernetes.io/docs/reference/networking/virtual-ips/"),
    },
    Module {
        name: "veth",
        severity: High,
        why: "Pods are joined to the node by veth pairs.",
        option: "VETH",
        basis: ("CNI plugins: bridge, ptp", "https://www.cni.dev/plugins/current/main/bridge/"),
    },
    Module {
        name: "nf_tables",
        severity: Low,
        why: "kube-proxy's nftables mode and iptables-nft use it.",
        option: "NF_TABLES",
        basis: ("system-validators: nftables", VALIDATORS),
    },
    Module {
        name: "vxlan",
        severity: Low,
        why: "flannel, Calico and Cilium join nodes by VXLAN.",
        option: "VXLAN",
        basis: ("flannel: backends", "https://github.com/flannel-io/flannel/blob/master/Documentation/backends.md"),
    },
];

fn judge_module(row: &Module, view: &View<'_>) -> Judgement {
    let facts = &view.facts.kernel;
    let has = |set: &Fact<BTreeSet<String>>| set.known().is_some_and(|names| names.contains(row.name));
    let built_in =
        facts.config.known().and_then(|config| config.options.get(row.option)).is_some_and(|value| value == "y");
    let state = if has(&facts.loaded) {
        "loaded"
    } else if has(&facts.built_in) || built_in {
        "built in"
    } else {
        let loaded = facts.loaded.present("loaded modules")?;
        let breach = if has(&facts.loadable) {
            Breach::new(row.name, format!("{} is there and not loaded; nothing loads it at boot", row.name))
                .found("loadable")
        } else if loaded.is_some() && facts.config.known().is_some() {
            Breach::new(
                row.name,
                format!("this kernel has no {}: neither loaded, nor built in, nor under /lib/modules", row.name),
            )
        } else {
            return Ok(Conclusion::undetermined(format!(
                "{} is not loaded, and the kernel's configuration does not say whether it is built in",
                row.name
            )));
        };
        return Ok(Conclusion::breach(breach.wanted("loaded or built in").at("/proc/modules", None)));
    };
    Ok(Conclusion::holds().because(row.name, state))
}

fn module(row: &'static Module) -> Check {
    let id = format!("node.kernel.module.{}", row.name.replace('_', "-"));
    Check::new(id, format!("the kernel module {} is loaded or built in", row.name), |view| judge_module(row, view))
        .severity(row.severity)
        .label("kernel")
        .label("module")
        .alias(row.name)
        .alias(format!("modprobe {}", row.name))
        .page(row.why, "Looks in /proc/modules, modules.builtin and the kernel's configuration.")
        .basis(row.basis.0, row.basis.1)
        .remedy(
            Remedy::new(format!("Load {}, now and at boot.", row.name))
                .command(format!("modprobe {}", row.name))
                .persist("/etc/modules-load.d/kubernetes.conf", format!("{}\n", row.name)),
        )
        .bad([
            replace("/proc/modules", &format!("{} ", row.name), "other "),
            replace(REFERENCE_CONFIG, &format!("CONFIG_{}=y\n", row.option), ""),
        ])
}

/// Major and minor of a release such as `5.14.0-427.el9.x86_64`.
fn release_number(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(['.', '-', '+']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn release_at_least(view: &View<'_>, least: (u32, u32), why: &str) -> Judgement {
    let system = view.facts.kernel.system.need("kernel release")?;
    let Some(number) = release_number(&system.release) else {
        return Ok(Conclusion::undetermined(format!("the kernel's release '{}' has no number", system.release)));
    };
    Ok(if number >= least {
        Conclusion::holds()
    } else {
        let breach =
            Breach::new("kernel", format!("Linux {} is older than {}.{}: {why}", system.release, least.0, least.1));
        Conclusion::breach(breach.found(system.release.clone()).wanted(format!("{}.{} or later", least.0, least.1)))
    }
    .because("release", system.release.clone()))
}

fn kernel(release: &str) -> crate::construct::Edit {
    super::reference_system(|system| system.release = release.to_owned())
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    let upgrade = || Remedy::new("Upgrade to a distribution release with a newer long-term kernel.");
    let mut checks = vec![
        Check::new("node.kernel.version", "the kernel is no older than 4.19, the oldest that Kubernetes is tried on", |view| {
            release_at_least(view, (4, 19), "Kubernetes is not tried on it")
        })
        .label("kernel")
        .alias("KERNEL_VERSION")
        .alias("SystemVerification")
        .page("Kubernetes is tried on long-term kernels from 4.19 on; older ones lack what runtimes use.", "Compares the number of uname -r.")
        .basis("Kubernetes: Linux kernel version requirements", "https://kubernetes.io/docs/reference/node/kernel-version-requirements/")
        .remedy(upgrade())
        .bad([kernel("3.10.0-1160.el7.x86_64")]),
        Check::new("node.kernel.version-cgroup-v2", "the kernel is 5.8 or later, where cgroup version 2 is whole", |view| {
            if view.facts.cgroup.mode.need("cgroup version")?.version() == 1 {
                return Ok(Conclusion::not_applicable("the node uses cgroup version 1"));
            }
            release_at_least(view, (5, 8), "cgroup version 2 lacks features that the kubelet uses")
        })
        .severity(Medium)
        .label("kernel")
        .label("cgroup")
        .alias("kernel-5.8")
        .page("The kubelet asks for 5.8 with cgroup version 2; the freezer came with 5.2 and the root's cpu.stat with 5.8.", "Compares the number of uname -r.")
        .basis("About cgroup v2: requirements", "https://kubernetes.io/docs/concepts/architecture/cgroups/#requirements")
        .remedy(upgrade())
        .bad([kernel("5.4.0-150-generic")]),
        Check::new("node.kernel.version-nftables-proxy", "the kernel is 5.13 or later, as kube-proxy's nftables mode wants", |view| {
            release_at_least(view, (5, 13), "kube-proxy --proxy-mode=nftables refuses to start")
        })
        .severity(Info)
        .versions(29..=u32::MAX)
        .label("kernel")
        .alias("kernel-5.13")
        .page("Only kube-proxy's nftables mode needs it; RHEL's 5.14 has it.", "Compares the number of uname -r.")
        .basis("KEP-3866: nftables kube-proxy", "https://kubernetes.io/docs/reference/networking/virtual-ips/#proxy-mode-nftables")
        .remedy(upgrade())
        .bad([kernel("5.10.0-30-amd64")]),
        Check::new("node.kernel.version-user-namespaces", "the kernel is 6.3 or later, as pods in user namespaces want", |view| {
            release_at_least(view, (6, 3), "tmpfs, and so every Secret volume, has no idmap mounts")
        })
        .severity(Info)
        .versions(25..=u32::MAX)
        .label("kernel")
        .alias("kernel-6.3")
        .page("hostUsers: false needs idmap mounts of every file system that a pod uses; tmpfs has them from 6.3.", "Compares the number of uname -r.")
        .basis("KEP-127: user namespaces", "https://kubernetes.io/docs/concepts/workloads/pods/user-namespaces/")
        .remedy(upgrade())
        .bad([kernel("6.1.0-40-amd64")]),
        Check::new("node.kernel.seccomp-actions", "seccomp can return errors and kill", |view| {
            let actions = view.facts.kernel.seccomp.need("seccomp actions")?;
            let has = |wanted: &str| actions.split_whitespace().any(|action| action == wanted);
            let missing: Vec<_> = ["errno", "allow"].into_iter().filter(|action| !has(action)).collect();
            let breach = |action: &&str| Breach::new(*action, format!("seccomp has no action {action}"));
            Ok(Conclusion::from_breaches(missing.iter().map(breach).collect()).because("actions", actions.trim()))
        })
        .severity(Medium)
        .label("kernel")
        .label("security")
        .alias("seccompDefault")
        .page("The RuntimeDefault profile answers forbidden calls with an error.", "Reads /proc/sys/kernel/seccomp/actions_avail.")
        .basis("Restrict a container's syscalls with seccomp", "https://kubernetes.io/docs/tutorials/security/seccomp/")
        .remedy(Remedy::new("Use a kernel with CONFIG_SECCOMP_FILTER."))
        .bad([crate::construct::file("/proc/sys/kernel/seccomp/actions_avail", "kill_thread\n")]),
        Check::new("node.kernel.apparmor-parser", "where AppArmor is on, apparmor_parser is there", |view| {
            let on = view.facts.kernel.apparmor.present("AppArmor")?;
            if on.is_none_or(|on| on != "Y") {
                return Ok(Conclusion::not_applicable("AppArmor is off"));
            }
            super::programs::judge_program(view, "apparmor_parser", "AppArmor is on, and the runtime cannot load its profile without apparmor_parser")
        })
        .label("kernel")
        .label("security")
        .alias("apparmor_parser")
        .page("With AppArmor on, containerd loads its default profile with apparmor_parser before the first container, and fails without it.", "Reads /sys/module/apparmor/parameters/enabled and looks for the program.")
        .basis("k3s check-config: apparmor", K3S)
        .remedy(Remedy::new("Install it.").when("Debian/Ubuntu").command("apt-get install apparmor"))
        .bad(super::programs::without("apparmor_parser")),
    ];
    checks.extend(MODULES.iter().map(module));
    checks.extend(ROWS.iter().map(option));
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_have_numbers() {
        for (text, number) in [
            ("5.14.0-427.el9.x86_64", Some((5, 14))),
            ("6.1-rc3", Some((6, 1))),
            ("6.18.44-fc-v669", Some((6, 18))),
            ("", None),
            ("linux", None),
        ] {
            assert_eq!(release_number(text), number, "{text}");
        }
    }

    #[test]
    fn modules_are_named_alike_in_every_file() {
        let expected = BTreeSet::from(["br_netfilter".to_owned()]);
        for text in [
            "br_netfilter 32768 0 - Live 0x0\n",
            "kernel/net/bridge/br_netfilter.ko\n",
            "kernel/net/bridge/br-netfilter.ko.zst: kernel/net/bridge/bridge.ko.zst\n",
        ] {
            assert_eq!(module_names(text), expected, "{text}");
        }
    }

    #[test]
    fn a_damaged_configuration_is_unreadable() {
        assert!(unpack(b"garbage").is_err());
        assert!(unpack(&[]).is_err() || unpack(&[]).is_ok_and(|text| text.is_empty()));
    }
}
