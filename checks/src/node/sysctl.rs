//! Kernel parameters under /proc/sys that Kubernetes needs: a table of rows.
//!
//! The value that is in force is judged, a row a claim. What sysctl.d sets otherwise is a claim of its own: the node
//! works until its next boot.

mod boot;

use std::collections::BTreeMap;

use boot::Boot;

use crate::check::{Check, Judgment, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion};
use crate::construct::{dir, file, gone};
use crate::fact::Fact;
use crate::host::Host;
use crate::node::{View, preflight};
use crate::profile::{KubernetesVersion, Profile};

/// Sorts behind 99-sysctl.conf, by which Debian and Ubuntu read /etc/sysctl.conf.
const PERSIST: &str = "/etc/sysctl.d/99-zz-kubernetes.conf";

/// What is known of the parameters.
#[derive(Debug)]
pub struct Facts {
    /// The values in force of the table's parameters, by key.
    live: BTreeMap<&'static str, Fact<String>>,
    /// What sysctl.d sets at the next boot.
    boot: Fact<Boot>,
}

impl Facts {
    pub(super) fn read(host: &dyn Host) -> Self {
        let live = |row: &Row| (row.key, host.text(&path(row.key)).map(|text| text.trim().to_owned()));
        Self { live: ROWS.iter().map(live).collect(), boot: Boot::read(host) }
    }
}

fn path(key: &str) -> String {
    format!("/proc/sys/{}", key.replace('.', "/"))
}

enum Want {
    Exactly(&'static str),
    AtLeast(u64),
}

impl Want {
    fn holds(&self, found: &str) -> bool {
        match self {
            Self::Exactly(value) => found == *value,
            Self::AtLeast(least) => found.parse().is_ok_and(|found: u64| found >= *least),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Exactly(value) => (*value).to_owned(),
            Self::AtLeast(least) => format!("{least} or more"),
        }
    }
}

struct Row {
    key: &'static str,
    want: Want,
    severity: Severity,
    /// Not asked of profiles for which this is false.
    when: fn(&Profile) -> bool,
    /// What must be loaded for the key to exist.
    module: Option<&'static str>,
    why: &'static str,
    basis: (&'static str, &'static str),
    aliases: &'static [&'static str],
    bad: &'static str,
}

const RUNTIMES: &str = "https://kubernetes.io/docs/setup/production-environment/container-runtimes/";
const DUAL_STACK: &str = "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/dual-stack-support/";
const KUBELET: &str = "https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/";
const EVICTION: &str = "https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/";
const K3S: &str = "https://docs.k3s.io/installation/requirements";
const K0S: &str = "https://docs.k0sproject.io/stable/system-requirements/";
const PROC: &str = "https://man7.org/linux/man-pages/man5/proc_sys.5.html";
const USERNS: &str = "https://kubernetes.io/docs/concepts/workloads/pods/user-namespaces/";
const VM: &str = "https://docs.kernel.org/admin-guide/sysctl/vm.html";
const CONNTRACK: &str = "https://docs.kernel.org/networking/nf_conntrack-sysctl.html";

const ROWS: &[Row] = &[
    Row {
        key: "net.ipv4.ip_forward",
        want: Want::Exactly("1"),
        severity: Severity::High,
        when: |profile| profile.ipv4,
        module: None,
        why: "The node routes packets between pods and the network; without forwarding they are dropped in silence.",
        basis: ("kubeadm preflight: FileContent--proc-sys-net-ipv4-ip_forward", RUNTIMES),
        aliases: &["FileContent--proc-sys-net-ipv4-ip_forward"],
        bad: "0",
    },
    Row {
        key: "net.ipv6.conf.default.forwarding",
        want: Want::Exactly("1"),
        severity: Severity::High,
        when: |profile| profile.ipv6,
        module: None,
        why: "A cluster with IPv6 routes pod traffic through the node; new interfaces take this default.",
        basis: ("kubeadm preflight: FileContent--proc-sys-net-ipv6-conf-default-forwarding", DUAL_STACK),
        aliases: &["FileContent--proc-sys-net-ipv6-conf-default-forwarding"],
        bad: "0",
    },
    Row {
        key: "net.ipv6.conf.all.forwarding",
        want: Want::Exactly("1"),
        severity: Severity::Medium,
        when: |profile| profile.ipv6,
        module: None,
        why: "Interfaces that are there already forward IPv6 only with this; the default is for new ones.",
        basis: ("Dual-stack support with kubeadm: before you begin", DUAL_STACK),
        aliases: &["ipv6-forwarding"],
        bad: "0",
    },
    Row {
        key: "net.ipv6.conf.all.disable_ipv6",
        want: Want::Exactly("0"),
        severity: Severity::High,
        when: |profile| profile.ipv6,
        module: None,
        why: "With IPv6 disabled the node has no address of that family to register.",
        basis: ("Dual-stack support with kubeadm: before you begin", DUAL_STACK),
        aliases: &["disable_ipv6"],
        bad: "1",
    },
    Row {
        key: "net.bridge.bridge-nf-call-iptables",
        want: Want::Exactly("1"),
        severity: Severity::Medium,
        when: |profile| profile.ipv4,
        module: Some("br_netfilter"),
        why: "Bridged pod traffic must pass through iptables, or Services are not translated between pods of one node.",
        basis: ("Installing kubeadm: letting iptables see bridged traffic", RUNTIMES),
        aliases: &["FileContent--proc-sys-net-bridge-bridge-nf-call-iptables"],
        bad: "0",
    },
    Row {
        key: "net.bridge.bridge-nf-call-ip6tables",
        want: Want::Exactly("1"),
        severity: Severity::Medium,
        when: |profile| profile.ipv6,
        module: Some("br_netfilter"),
        why: "The same for IPv6: bridged pod traffic must pass through ip6tables.",
        basis: ("Installing kubeadm: letting iptables see bridged traffic", RUNTIMES),
        aliases: &["FileContent--proc-sys-net-bridge-bridge-nf-call-ip6tables"],
        bad: "0",
    },
    Row {
        key: "vm.overcommit_memory",
        want: Want::Exactly("1"),
        severity: Severity::Low,
        when: |_| true,
        module: None,
        why: "The kubelet sets this at start; with protectKernelDefaults it refuses to start where it differs.",
        basis: ("kubelet: protectKernelDefaults", KUBELET),
        aliases: &["protect-kernel-defaults overcommit"],
        bad: "2",
    },
    Row {
        key: "vm.panic_on_oom",
        want: Want::Exactly("0"),
        severity: Severity::Low,
        when: |_| true,
        module: None,
        why: "The kubelet wants the kernel to kill a process when memory is out, not to panic.",
        basis: ("kubelet: protectKernelDefaults", KUBELET),
        aliases: &["protect-kernel-defaults panic_on_oom"],
        bad: "1",
    },
    Row {
        key: "kernel.panic",
        want: Want::Exactly("10"),
        severity: Severity::Low,
        when: |_| true,
        module: None,
        why: "A node that panicked should reboot; the kubelet sets ten seconds, or refuses to start with \
              protectKernelDefaults.",
        basis: ("kubelet: protectKernelDefaults", KUBELET),
        aliases: &["protect-kernel-defaults panic"],
        bad: "0",
    },
    Row {
        key: "kernel.panic_on_oops",
        want: Want::Exactly("1"),
        severity: Severity::Low,
        when: |_| true,
        module: None,
        why: "A kernel that has oopsed is not to be trusted with workloads; the kubelet sets this at start.",
        basis: ("kubelet: protectKernelDefaults", KUBELET),
        aliases: &["protect-kernel-defaults panic_on_oops"],
        bad: "0",
    },
    Row {
        key: "kernel.keys.root_maxkeys",
        want: Want::AtLeast(10_000),
        severity: Severity::Medium,
        when: |_| true,
        module: None,
        why: "Each container takes kernel keys of root's quota; a small one fails container starts at some hundred \
              pods.",
        basis: ("k3s check-config: root_maxkeys; kubelet: protectKernelDefaults", K3S),
        aliases: &["root_maxkeys"],
        bad: "200",
    },
    Row {
        key: "kernel.keys.root_maxbytes",
        want: Want::AtLeast(250_000),
        severity: Severity::Low,
        when: |_| true,
        module: None,
        why: "The quota in bytes that goes with root_maxkeys: 25 bytes a key.",
        basis: ("kubelet: protectKernelDefaults", KUBELET),
        aliases: &["root_maxbytes"],
        bad: "20000",
    },
    Row {
        key: "fs.inotify.max_user_instances",
        want: Want::AtLeast(128),
        severity: Severity::Medium,
        when: |_| true,
        module: None,
        why: "The kubelet, the runtime and log agents watch files; without instances they fail with 'too many open \
              files'.",
        basis: ("kubelet: fsnotify watches", KUBELET),
        aliases: &["too many open files", "inotify instances"],
        bad: "64",
    },
    Row {
        key: "fs.inotify.max_user_watches",
        want: Want::AtLeast(8_192),
        severity: Severity::Medium,
        when: |_| true,
        module: None,
        why: "Each watched file takes one; config maps and logs of many pods take thousands.",
        basis: ("kubelet: fsnotify watches", KUBELET),
        aliases: &["inotify watches"],
        bad: "1024",
    },
    Row {
        key: "fs.file-max",
        want: Want::AtLeast(65_536),
        severity: Severity::Medium,
        when: |_| true,
        module: None,
        why: "The kernel's limit of open files for the whole node.",
        basis: ("k0s sysinfo: file descriptors", K0S),
        aliases: &["file-max"],
        bad: "4096",
    },
    Row {
        key: "fs.nr_open",
        want: Want::AtLeast(65_536),
        severity: Severity::Medium,
        when: |_| true,
        module: None,
        why: "The most that one process may have open, whatever its unit asks for.",
        basis: ("k0s sysinfo: file descriptors", K0S),
        aliases: &["nr_open", "LimitNOFILE"],
        bad: "1024",
    },
    Row {
        key: "kernel.pid_max",
        want: Want::AtLeast(32_768),
        severity: Severity::Medium,
        when: |_| true,
        module: None,
        why: "Pods share the node's process ids; the kubelet reports PIDPressure near the limit.",
        basis: ("kubelet: pid.available eviction signal", EVICTION),
        aliases: &["PIDPressure", "pid_max"],
        bad: "4096",
    },
    Row {
        key: "kernel.threads-max",
        want: Want::AtLeast(16_384),
        severity: Severity::Low,
        when: |_| true,
        module: None,
        why: "Pods share the node's threads.",
        basis: ("proc(5): threads-max", PROC),
        aliases: &["threads-max"],
        bad: "2048",
    },
    Row {
        key: "user.max_user_namespaces",
        want: Want::AtLeast(1),
        severity: Severity::Low,
        when: |_| true,
        module: None,
        why: "Pods with hostUsers: false, and rootless builds, need user namespaces.",
        basis: ("KEP-127: user namespaces", USERNS),
        aliases: &["user_namespace.enable", "USER_NS"],
        bad: "0",
    },
    Row {
        key: "vm.max_map_count",
        want: Want::AtLeast(65_530),
        severity: Severity::Info,
        when: |_| true,
        module: None,
        why: "Databases in pods map many files and fail below the kernel's default.",
        basis: ("kernel documentation: vm sysctls", VM),
        aliases: &["max_map_count"],
        bad: "1024",
    },
    Row {
        key: "net.netfilter.nf_conntrack_max",
        want: Want::AtLeast(65_536),
        severity: Severity::Low,
        when: |_| true,
        module: Some("nf_conntrack"),
        why: "Every Service connection is tracked; when the table is full, new ones are dropped.",
        basis: ("kube-proxy: conntrack; node-problem-detector: ConntrackFull", CONNTRACK),
        aliases: &["ConntrackFull", "nf_conntrack_max"],
        bad: "4096",
    },
    Row {
        key: "net.core.somaxconn",
        want: Want::AtLeast(128),
        severity: Severity::Info,
        when: |_| true,
        module: None,
        why: "The longest queue of connections that a server in a pod can ask for.",
        basis: ("listen(2): somaxconn", PROC),
        aliases: &["somaxconn"],
        bad: "16",
    },
];

fn check(row: &'static Row) -> Check {
    let id = format!("node.sysctl.{}", row.key.replace('_', "-"));
    let (title, value) = match row.want {
        Want::Exactly(value) => (format!("{} is {value}", row.key), value.to_owned()),
        Want::AtLeast(least) => (format!("{} is at least {least}", row.key), least.to_string()),
    };
    let path = path(row.key);
    let mut check = Check::new(id, title, move |view| {
        if !(row.when)(view.profile) {
            return Ok(Conclusion::not_applicable("the profile's cluster does not use this"));
        }
        let path = self::path(row.key);
        let Some(found) = view.facts.sysctl.live[row.key].present(row.key)? else {
            let cause = row.module.map_or_else(
                || format!("{} does not exist on this kernel", row.key),
                |module| format!("{} does not exist: the kernel module {module} is not loaded", row.key),
            );
            return Ok(Conclusion::breach(Breach::new(row.key, cause).at(path, None)));
        };
        if found.parse::<i64>().is_err() {
            return Ok(Conclusion::undetermined(format!("{path} holds no number: '{}'", found.escape_debug())));
        }
        let wanted = row.want.text();
        let conclusion = if row.want.holds(found) {
            Conclusion::holds()
        } else {
            let breach = Breach::new(row.key, format!("{} is {found}, not {wanted}", row.key));
            Conclusion::breach(breach.found(found).wanted(wanted).at(path, None))
        };
        Ok(conclusion.because(row.key, found))
    })
    .severity(row.severity)
    .label("sysctl")
    .label("kernel")
    .alias(row.key)
    .page(row.why, format!("Reads {path}."))
    .basis(row.basis.0, row.basis.1)
    .remedy(
        Remedy::new(format!("Set {} to {value}, now and at boot.", row.key))
            .command(format!("sysctl -w {}={value}", row.key))
            .persist(PERSIST, format!("{} = {value}\n", row.key)),
    )
    .bad([file(&path, format!("{}\n", row.bad))])
    .example_profile(|profile| profile.ipv6 = true);
    for (_, versions) in preflight::FILES.iter().filter(|(file, _)| *file == path) {
        // An open range: the newest kubeadm that is known asks for it.
        let last = if *versions.end() == KubernetesVersion::NEWEST.0 { u32::MAX } else { *versions.end() };
        check = check.severity_in(*versions.start()..=last, Severity::High);
    }
    if let Some(module) = row.module {
        check = check
            .remedy(
                Remedy::new(format!("Load {module}, now and at boot."))
                    .when(format!("{module} is not loaded"))
                    .command(format!("modprobe {module}"))
                    .persist("/etc/modules-load.d/kubernetes.conf", format!("{module}\n")),
            )
            .bad([gone(&path)]);
    }
    row.aliases.iter().fold(check, |check, alias| check.alias(*alias))
}

/// The kubelet sets these itself whenever it starts (its container manager's setupKernelTunables).
fn set_by_kubelet(row: &Row) -> bool {
    row.basis.1 == KUBELET && row.basis.0.contains("protectKernelDefaults") || row.key == "kernel.keys.root_maxkeys"
}

fn judge_boot(view: &View<'_>) -> Judgment {
    let facts = &view.facts.sysctl;
    let boot = facts.boot.need("sysctl.d")?;
    let breach = |row: &Row| {
        if !(row.when)(view.profile) || set_by_kubelet(row) {
            return None;
        }
        let live = facts.live[row.key].known()?;
        let (value, path, line) = boot.last(row.key).filter(|(value, ..)| value.parse::<i64>().is_ok())?;
        // What is wrong now is the other claim's.
        if !row.want.holds(live) || row.want.holds(value) {
            return None;
        }
        let wanted = row.want.text();
        let message = format!("{} is {live} now and reverts to {value} at the next boot", row.key);
        let fix =
            Remedy::new("Set the value in a file whose name sorts last. It is read at boot: nothing is restarted.");
        let least = wanted.split(' ').next().unwrap_or_default();
        let fix = fix.persist(PERSIST, format!("{} = {least}\n", row.key));
        let breach = Breach::new(row.key, message).found(format!("{} = {value}", row.key)).wanted(&wanted);
        Some(breach.at(path, Some(line)).severity(row.severity.min(Severity::Medium)).remedy(fix))
    };
    Ok(Conclusion::from_breaches(ROWS.iter().filter_map(breach).collect()))
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    let boot = Check::new("node.sysctl.at-boot", "kernel parameters keep their values at the next boot", judge_boot)
        .severity(Severity::Medium)
        .label("sysctl")
        .alias("sysctl.d")
        .alias("sysctl --system")
        .page(
            "A value set by hand lasts until the next boot. Where sysctl.d sets another, the node works today and \
             fails after a reboot.",
            "Reads *.conf in /etc, /run, /usr/local/lib and /usr/lib/sysctl.d as systemd-sysctl merges them, and \
             /etc/sysctl.conf where another init system boots. Values that the kubelet sets itself are left out.",
        )
        .basis("sysctl.d(5)", "https://www.freedesktop.org/software/systemd/man/latest/sysctl.d.html")
        .remedy(
            Remedy::new("Show what is set at boot, and by which file.").command("systemd-analyze cat-config sysctl.d"),
        )
        .bad([
            dir("/etc/sysctl.d", &["99-hardening.conf"]),
            file("/etc/sysctl.d/99-hardening.conf", "# CIS\nnet.ipv4.ip_forward = 0\n"),
        ]);
    ROWS.iter().map(check).chain([boot]).collect()
}
