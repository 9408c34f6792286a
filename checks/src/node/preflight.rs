//! What `kubeadm init` and `kubeadm join` ask of a node before they set it up, by minor release.
//!
//! Generated from the sources of kubeadm and of system-validators, which the module proxy serves:
//! `SEAWORTHY_UPDATE=1 cargo test -p seaworthy-checks --test preflight_table`.

use std::ops::RangeInclusive;

use Level::{Error, Warning};

/// How kubeadm reports what it misses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It goes on.
    Warning,
    /// It refuses the node.
    Error,
}

/// Programs in the PATH.
pub const PROGRAMS: &[(&str, Level, RangeInclusive<u32>)] = &[
    ("conntrack", Error, 23..=31),
    ("cp", Error, 33..=37),
    ("crictl", Warning, 31..=31),
    ("crictl", Error, 23..=30),
    ("ebtables", Warning, 23..=27),
    ("ethtool", Warning, 23..=32),
    ("ip", Error, 23..=32),
    ("iptables", Error, 23..=32),
    ("losetup", Error, 33..=37),
    ("mount", Error, 23..=37),
    ("nsenter", Error, 23..=32),
    ("socat", Warning, 23..=27),
    ("tc", Warning, 23..=32),
    ("touch", Warning, 23..=32),
];

/// Files that must begin with `1`, those of IPv6 only where the cluster uses it.
pub const FILES: &[(&str, RangeInclusive<u32>)] = &[
    ("/proc/sys/net/bridge/bridge-nf-call-ip6tables", 23..=29),
    ("/proc/sys/net/bridge/bridge-nf-call-iptables", 23..=29),
    ("/proc/sys/net/ipv4/ip_forward", 23..=37),
    ("/proc/sys/net/ipv6/conf/default/forwarding", 23..=37),
];

/// Releases of the kernel as regular expressions, of which one must match.
pub const KERNELS: &[(&[&str], Level, RangeInclusive<u32>)] = &[
    (&[r"^5\.4.*$", r"^5\.10.*$", r"^5\.15.*$", r"^([6-9]|[1-9][0-9]+)\.([0-9]+)\.([0-9]+).*$"], Warning, 34..=37),
    (&[r"^3\.[1-9][0-9].*$", r"^([4-9]|[1-9][0-9]+)\.([0-9]+)\.([0-9]+).*$"], Error, 23..=31),
    (&[r"^4\.19.*$", r"^4\.[2-9][0-9].*$", r"^([5-9]|[1-9][0-9]+)\.([0-9]+)\.([0-9]+).*$"], Error, 32..=33),
];

/// Options of the kernel, of which one of several must be set, with the cgroup version that they are for.
pub const OPTIONS: &[(&[&str], Option<u32>, RangeInclusive<u32>)] = &[
    (&["CGROUPS"], None, 23..=34),
    (&["CGROUPS"], Some(1), 35..=37),
    (&["CGROUPS"], Some(2), 35..=37),
    (&["CGROUP_BPF"], Some(2), 35..=37),
    (&["CGROUP_CPUACCT"], None, 23..=31),
    (&["CGROUP_CPUACCT"], Some(1), 35..=37),
    (&["CGROUP_DEVICE"], None, 23..=31),
    (&["CGROUP_DEVICE"], Some(1), 35..=37),
    (&["CGROUP_FREEZER"], None, 23..=31),
    (&["CGROUP_FREEZER"], Some(1), 35..=37),
    (&["CGROUP_PIDS"], None, 23..=31),
    (&["CGROUP_PIDS"], Some(1), 35..=37),
    (&["CGROUP_PIDS"], Some(2), 35..=37),
    (&["CGROUP_SCHED"], None, 23..=31),
    (&["CGROUP_SCHED"], Some(1), 35..=37),
    (&["CGROUP_SCHED"], Some(2), 35..=37),
    (&["CPUSETS"], None, 23..=37),
    (&["EXT4_FS"], None, 23..=37),
    (&["FAIR_GROUP_SCHED"], None, 23..=37),
    (&["INET"], None, 23..=37),
    (&["IPC_NS"], None, 23..=37),
    (&["MEMCG"], None, 23..=37),
    (&["NAMESPACES"], None, 23..=37),
    (&["NETFILTER_XT_MATCH_COMMENT"], None, 23..=37),
    (&["NETFILTER_XT_TARGET_REDIRECT", "IP_NF_TARGET_REDIRECT"], None, 23..=37),
    (&["NET_NS"], None, 23..=37),
    (&["PID_NS"], None, 23..=37),
    (&["PROC_FS"], None, 23..=37),
    (&["UTS_NS"], None, 23..=37),
];
