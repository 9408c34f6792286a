//! The kernel's truth by use: what a configuration file promises is tried, in namespaces of our own that are gone
//! afterwards.
//!
//! A feature that we are not permitted to try is undetermined, with the missing capability named; only a kernel that
//! says no has failed.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::check::{Check, Judgment, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion};
use crate::construct::value;
use crate::fact::Fact;
use crate::host::{Host, Probe, Query};
use crate::node::View;

use Severity::{High, Info, Low, Medium};

const NAMESPACES: &str = "https://man7.org/linux/man-pages/man7/namespaces.7.html";
const USER: &str = "https://kubernetes.io/docs/concepts/workloads/pods/user-namespaces/";
const OVERLAY: &str = "https://docs.kernel.org/filesystems/overlayfs.html";
const NETWORK: &str = "https://kubernetes.io/docs/concepts/extend-kubernetes/compute-storage-net/network-plugins/";
const PROXY: &str = "https://kubernetes.io/docs/reference/networking/virtual-ips/";
const SECCOMP: &str = "https://kubernetes.io/docs/tutorials/security/seccomp/";
const CGROUP: &str = "https://docs.kernel.org/admin-guide/cgroup-v2.html";

/// What trying each feature showed.
#[derive(Debug)]
pub struct Facts {
    tried: BTreeMap<Probe, Fact<Arc<Value>>>,
}

impl Facts {
    pub(super) fn read(host: &dyn Host) -> Self {
        let ask = |row: &Row| (row.probe, host.value(&Query::Probe { probe: row.probe }));
        Self { tried: ROWS.iter().map(ask).collect() }
    }
}

struct Row {
    name: &'static str,
    probe: Probe,
    severity: Severity,
    title: &'static str,
    why: &'static str,
    how: &'static str,
    alias: &'static str,
    /// What to enable in the kernel.
    option: &'static str,
    basis: (&'static str, &'static str),
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row {
        name: "mount-namespace", probe: Probe::MountNamespace, severity: High, title: "a mount namespace can be made",
        why: "Each container has its own tree of mounts.", how: "Calls unshare(CLONE_NEWNS).", alias: "CLONE_NEWNS",
        option: "CONFIG_NAMESPACES", basis: ("namespaces(7)", NAMESPACES),
    },
    Row {
        name: "pid-namespace", probe: Probe::PidNamespace, severity: High, title: "a PID namespace can be made",
        why: "Each pod counts its processes from 1, and they end with the first.",
        how: "Calls unshare(CLONE_NEWPID) and forks into it.", alias: "CLONE_NEWPID", option: "CONFIG_PID_NS",
        basis: ("namespaces(7)", NAMESPACES),
    },
    Row {
        name: "net-namespace", probe: Probe::NetNamespace, severity: High, title: "a network namespace can be made",
        why: "Each pod has an address of its own.", how: "Calls unshare(CLONE_NEWNET).", alias: "CLONE_NEWNET",
        option: "CONFIG_NET_NS", basis: ("namespaces(7)", NAMESPACES),
    },
    Row {
        name: "ipc-namespace", probe: Probe::IpcNamespace, severity: High, title: "an IPC namespace can be made",
        why: "Pods must not see each other's shared memory.", how: "Calls unshare(CLONE_NEWIPC).",
        alias: "CLONE_NEWIPC", option: "CONFIG_IPC_NS", basis: ("namespaces(7)", NAMESPACES),
    },
    Row {
        name: "uts-namespace", probe: Probe::UtsNamespace, severity: High, title: "a UTS namespace can be made",
        why: "Each pod has a host name of its own.", how: "Calls unshare(CLONE_NEWUTS).", alias: "CLONE_NEWUTS",
        option: "CONFIG_UTS_NS", basis: ("namespaces(7)", NAMESPACES),
    },
    Row {
        name: "user-namespace", probe: Probe::UserNamespace, severity: Low, title: "a user namespace can be made",
        why: "Pods with hostUsers: false, on by default since 1.33, need it.", how: "Calls unshare(CLONE_NEWUSER).",
        alias: "CLONE_NEWUSER", option: "CONFIG_USER_NS and user.max_user_namespaces above 0",
        basis: ("Kubernetes: User Namespaces", USER),
    },
    Row {
        name: "cgroup-namespace", probe: Probe::CgroupNamespace, severity: Medium,
        title: "a cgroup namespace can be made", why: "On cgroup version 2, runtimes give each container one.",
        how: "Calls unshare(CLONE_NEWCGROUP).", alias: "CLONE_NEWCGROUP", option: "CONFIG_CGROUPS",
        basis: ("cgroup v2: namespace", CGROUP),
    },
    Row {
        name: "time-namespace", probe: Probe::TimeNamespace, severity: Info, title: "a time namespace can be made",
        why: "The OCI runtime specification knows it; nothing in Kubernetes asks for it yet.",
        how: "Calls unshare(CLONE_NEWTIME).", alias: "CLONE_NEWTIME", option: "CONFIG_TIME_NS",
        basis: ("namespaces(7)", NAMESPACES),
    },
    Row {
        name: "overlay", probe: Probe::Overlay, severity: High, title: "an overlay can be mounted and written through",
        why: "containerd and CRI-O make every container's root of overlays.",
        how: "Mounts an overlay over directories of a tmpfs in a mount namespace of our own, and changes a file of the \
              lower layer.",
        alias: "overlayfs", option: "CONFIG_OVERLAY_FS", basis: ("Kernel: overlayfs", OVERLAY),
    },
    Row {
        name: "veth", probe: Probe::Veth, severity: High, title: "a veth pair can be made",
        why: "A veth pair is how a pod is joined to its node's network.",
        how: "Makes one in a network namespace of our own.", alias: "CONFIG_VETH", option: "CONFIG_VETH",
        basis: ("Kubernetes: network plug-ins", NETWORK),
    },
    Row {
        name: "bridge", probe: Probe::Bridge, severity: Medium, title: "a bridge can be made, with a link in it",
        why: "The bridge plug-in, flannel and most small networks join pods by a bridge.",
        how: "Makes one in a network namespace of our own and enslaves a veth.", alias: "CONFIG_BRIDGE",
        option: "CONFIG_BRIDGE", basis: ("Kubernetes: network plug-ins", NETWORK),
    },
    Row {
        name: "vxlan", probe: Probe::Vxlan, severity: Low, title: "a VXLAN link can be made",
        why: "flannel, Calico and Cilium carry pods' packets between nodes in VXLAN, unless told otherwise.",
        how: "Makes one in a network namespace of our own.", alias: "CONFIG_VXLAN", option: "CONFIG_VXLAN",
        basis: ("Kubernetes: network plug-ins", NETWORK),
    },
    Row {
        name: "dummy", probe: Probe::Dummy, severity: Info, title: "a dummy link can be made",
        why: "kube-proxy in ipvs mode and NodeLocal DNSCache put their addresses on one.",
        how: "Makes one in a network namespace of our own.", alias: "CONFIG_DUMMY", option: "CONFIG_DUMMY",
        basis: ("Kubernetes: virtual IPs, ipvs mode", PROXY),
    },
    Row {
        name: "nftables", probe: Probe::Nftables, severity: Medium, title: "an nftables rule can be added",
        why: "kube-proxy's nftables mode, and every iptables-nft, ends there.",
        how: "Commits a table, a chain and a rule in a network namespace of our own.", alias: "CONFIG_NF_TABLES",
        option: "CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET", basis: ("Kubernetes: virtual IPs, nftables mode", PROXY),
    },
    Row {
        name: "iptables", probe: Probe::Iptables, severity: High, title: "an iptables rule can be added",
        why: "kube-proxy's iptables mode, the kubelet's own chains and the portmap plug-in use it.",
        how: "Asks for the filter table as iptables-legacy does, and adds a chain with a match as iptables-nft does, \
              in a network namespace of our own.",
        alias: "CONFIG_IP_NF_IPTABLES", option: "CONFIG_IP_NF_IPTABLES, or CONFIG_NFT_COMPAT for iptables-nft",
        basis: ("Kubernetes: virtual IPs, iptables mode", PROXY),
    },
    Row {
        name: "ip6tables", probe: Probe::Ip6tables, severity: Low, title: "an ip6tables rule can be added",
        why: "Services with IPv6 addresses need it in kube-proxy's iptables mode.", how: "As for iptables, for IPv6.",
        alias: "CONFIG_IP6_NF_IPTABLES", option: "CONFIG_IP6_NF_IPTABLES, or CONFIG_NFT_COMPAT for ip6tables-nft",
        basis: ("Kubernetes: virtual IPs, iptables mode", PROXY),
    },
    Row {
        name: "ipvs", probe: Probe::Ipvs, severity: Info, title: "the kernel has IPVS",
        why: "Only kube-proxy's ipvs mode needs it, which is deprecated since 1.35.",
        how: "Asks the kernel for IPVS over generic netlink in a network namespace of our own.", alias: "CONFIG_IP_VS",
        option: "CONFIG_IP_VS", basis: ("Kubernetes: virtual IPs, ipvs mode", PROXY),
    },
    Row {
        name: "cgroup-device", probe: Probe::CgroupDevice, severity: High,
        title: "a cgroup device program can be attached",
        why: "On cgroup version 2 runtimes restrict devices by a BPF program: without it no container starts.",
        how: "Loads a program that allows all and attaches it to a cgroup of our own, which is removed again.",
        alias: "CONFIG_CGROUP_BPF", option: "CONFIG_CGROUP_BPF and CONFIG_BPF_SYSCALL",
        basis: ("cgroup v2: device controller", CGROUP),
    },
    Row {
        name: "cgroup-freezer", probe: Probe::CgroupFreezer, severity: Medium,
        title: "a cgroup can be frozen and thawed",
        why: "Runtimes freeze a container to pause it, and to kill it without a race.",
        how: "Freezes and thaws a cgroup of our own without processes, which is removed again.",
        alias: "CGROUPS_FREEZER", option: "CONFIG_CGROUP_FREEZER on version 1; version 2 has it since Linux 5.2",
        basis: ("cgroup v2: cgroup.freeze", CGROUP),
    },
    Row {
        name: "seccomp", probe: Probe::Seccomp, severity: Medium, title: "a seccomp filter can be installed",
        why: "The runtime's default profile, which seccompDefault turns on for all pods, is one.",
        how: "Installs a filter that allows all, in a child process.", alias: "CONFIG_SECCOMP_FILTER",
        option: "CONFIG_SECCOMP and CONFIG_SECCOMP_FILTER", basis: ("Kubernetes: seccomp", SECCOMP),
    },
];

fn judge(row: &Row, view: &View<'_>) -> Judgment {
    if row.probe == Probe::CgroupDevice && view.facts.cgroup.mode.known().is_some_and(|mode| mode.version() == 1) {
        return Ok(Conclusion::not_applicable("on cgroup version 1 the devices controller does it"));
    }
    if row.probe == Probe::Ip6tables && !view.profile.ipv6 {
        return Ok(Conclusion::not_applicable("the profile has no IPv6"));
    }
    let fact = view.facts.probe.tried.get(&row.probe);
    let Some(seen) = fact.map(|fact| fact.need(row.name)).transpose()? else {
        return Ok(Conclusion::undetermined(format!("{} was not tried", row.name)));
    };
    let text = |key: &str| seen.get(key).and_then(Value::as_str).unwrap_or("?");
    Ok(match seen.get("works").and_then(Value::as_bool) {
        Some(true) => {
            let conclusion = Conclusion::holds().because("tried", "works");
            match seen.get("detail").filter(|detail| !detail.is_null()) {
                Some(detail) => conclusion.because("seen", detail.to_string()),
                None => conclusion,
            }
        }
        Some(false) => {
            let message = format!("the kernel refuses it: {} gives {}", text("stage"), text("errno"));
            Conclusion::breach(Breach::new(row.name, message).found(text("errno")).wanted("it works"))
        }
        None => Conclusion::undetermined("the answer of the probe has no member 'works'"),
    })
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    let check = |row: &'static Row| {
        let check = Check::new(format!("node.probe.{}", row.name), row.title, move |view| judge(row, view));
        let said = |works: bool| {
            let (stage, errno) = if works { ("", "") } else { ("the call", "ENOSYS") };
            let answer = json!({ "works": works, "stage": stage, "errno": errno, "detail": null });
            value(Query::Probe { probe: row.probe }, answer)
        };
        // The reference node has cgroup version 2, and no IPv6 in its profile.
        let check =
            if row.probe == Probe::Ip6tables { check.example_profile(|profile| profile.ipv6 = true) } else { check };
        check
            .severity(row.severity)
            .label("kernel")
            .label("probe")
            .alias(row.alias)
            .page(row.why, format!("{} Nothing is left behind; --passive turns it off.", row.how))
            .basis(row.basis.0, row.basis.1)
            .remedy(Remedy::new(format!(
                "Use a kernel with {}. In a virtual machine or a container, let its host allow it (seccomp, LSM, \
                 sysctls).",
                row.option
            )))
            .good([said(true)])
            .bad([said(false)])
    };
    ROWS.iter().map(check).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Verdict;
    use crate::construct::{apply, file, refuses};
    use crate::host::{RefusalKind, Transcript};
    use crate::profile::Profile;

    #[test]
    fn what_may_not_be_tried_is_undetermined_and_names_the_capability() {
        let mut transcript = Transcript::default();
        let query = Query::Probe { probe: Probe::Veth };
        apply(
            &mut transcript,
            &[refuses(query, RefusalKind::Denied, "unshare is not permitted: it needs CAP_SYS_ADMIN")],
        )
        .unwrap();
        let facts = crate::node::Facts::read(&transcript);
        let profile = Profile::new(jiff::Timestamp::UNIX_EPOCH);
        let check = checks().into_iter().find(|check| check.id == "node.probe.veth").unwrap();
        let verdict = check.judge(&View::alone(&facts, &profile)).verdict;
        assert!(matches!(&verdict, Verdict::Undetermined(why) if why.contains("CAP_SYS_ADMIN")), "{verdict:?}");
    }

    #[test]
    fn device_programs_are_of_version_2_only() {
        let mut transcript = Transcript::default();
        apply(&mut transcript, &[file("/proc/1/mounts", "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n")]).unwrap();
        let facts = crate::node::Facts::read(&transcript);
        let profile = Profile::new(jiff::Timestamp::UNIX_EPOCH);
        let check = checks().into_iter().find(|check| check.id == "node.probe.cgroup-device").unwrap();
        let verdict = check.judge(&View::alone(&facts, &profile)).verdict;
        assert!(matches!(verdict, Verdict::NotApplicable(_)), "{verdict:?}");
    }
}
