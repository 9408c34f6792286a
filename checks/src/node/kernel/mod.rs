//! The kernel: its release, the options that it was built with, and its modules.
//!
//! What a kernel was built with is a hint; what it does is the truth, and the probes ask for that. An option that
//! cannot be read is undetermined, never failed.

mod config;
mod options;

use std::collections::BTreeSet;

use crate::check::{Check, Judgment, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion};
use crate::construct::{file, gone, replace, stat};
use crate::fact::Fact;
use crate::host::{FileKind, Host, System};
use crate::node::View;
use crate::node::preflight::{self, Level};
use crate::profile::KubernetesVersion;
pub use config::Config;
use options::{K3S, REFERENCE_CONFIG};
use regex::Regex;

use Severity::{High, Info, Low, Medium};

type Range = std::ops::RangeInclusive<u32>;

const VALIDATORS: &str = "https://github.com/kubernetes/system-validators";
const RUNTIMES: &str = "https://kubernetes.io/docs/setup/production-environment/container-runtimes/";

const SELINUX: &str = "/sys/fs/selinux/enforce";
/// The module as it is loaded, and as the package container-selinux brings it on RHEL and on Fedora.
const SELINUX_CONTAINERS: [&str; 3] = [
    "/var/lib/selinux/targeted/active/modules/200/container",
    "/usr/share/selinux/packages/container.pp.bz2",
    "/usr/share/selinux/packages/targeted/container.pp.bz2",
];

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
    /// Does SELinux enforce its policy?
    pub selinux: Fact<bool>,
    /// The file or folder that shows that SELinux has a policy for containers.
    pub selinux_containers: Fact<String>,
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
            config: config::read(host, &release),
            loaded: host.text("/proc/modules").map(|text| module_names(&text)),
            built_in: modules("modules.builtin"),
            loadable: modules("modules.dep"),
            seccomp: host.text("/proc/sys/kernel/seccomp/actions_avail"),
            selinux: host.text(SELINUX).map(|text| text.trim() == "1"),
            selinux_containers: selinux_containers(host),
            apparmor: host.text("/sys/module/apparmor/parameters/enabled").map(|text| text.trim().to_owned()),
            system,
        }
    }
}

fn selinux_containers(host: &dyn Host) -> Fact<String> {
    let mut last = Fact::Absent("no place of it was looked at".to_owned());
    for path in SELINUX_CONTAINERS {
        last = host.stat(path).map(|_| path.to_owned());
        if last.known().is_some() {
            break;
        }
    }
    last
}

/// Names of modules, from /proc/modules, modules.builtin or modules.dep: the first word of a line, its path and ending
/// taken off.
fn module_names(text: &str) -> BTreeSet<String> {
    let name = |line: &str| {
        let word = line.split([' ', ':']).next()?;
        let file = word.rsplit('/').next()?;
        let name = file.split(".ko").next()?;
        (!name.is_empty()).then(|| name.replace('-', "_"))
    };
    text.lines().filter_map(name).collect()
}

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

fn judge_module(row: &Module, view: &View<'_>) -> Judgment {
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

fn release_at_least(view: &View<'_>, least: (u32, u32), why: &str) -> Judgment {
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

/// What kubeadm of a release asks of the kernel's release.
fn asked(KubernetesVersion(minor): KubernetesVersion) -> Option<&'static (&'static [&'static str], Level, Range)> {
    preflight::KERNELS.iter().find(|row| row.2.contains(&minor))
}

fn judge_version(view: &View<'_>) -> Judgment {
    let release = &view.facts.kernel.system.need("kernel release")?.release;
    let kubernetes = view.profile.kubernetes;
    let Some((patterns, level, _)) = asked(kubernetes) else {
        return Ok(Conclusion::not_applicable(format!("kubeadm {kubernetes} does not ask for it")));
    };
    if patterns.iter().any(|pattern| Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(release))) {
        return Ok(Conclusion::holds().because("release", release.clone()));
    }
    let word = match level {
        Level::Error => "refuses",
        Level::Warning => "warns of",
    };
    let wanted = match kubernetes.0 {
        ..=31 => "3.10 or later",
        32..=33 => "4.19 or later",
        _ => "5.4, 5.10 or 5.15, or 6.0 or later",
    };
    let breach = Breach::new("kernel", format!("kubeadm {kubernetes} {word} Linux {release}"));
    Ok(Conclusion::breach(breach.found(release.clone()).wanted(wanted).at("/proc/sys/kernel/osrelease", None)))
}

fn version() -> Check {
    let check = Check::new("node.kernel.version", "kubeadm accepts the kernel's release", judge_version)
        .severity(Medium)
        .label("kernel")
        .label("kubeadm")
        .alias("KERNEL_VERSION")
        .alias("SystemVerification")
        .page(
            "kubeadm refused kernels before 3.10 up to Kubernetes 1.31, and those before 4.19 in 1.32 and 1.33. From \
             1.34 on it warns of every release but the long-term ones 5.4, 5.10, 5.15, and 6.0 or later.",
            "Compares uname -r with the releases that system-validators of that kubeadm knows.",
        )
        .basis("system-validators: kernel version", VALIDATORS)
        .basis(
            "Kubernetes: Linux kernel version requirements",
            "https://kubernetes.io/docs/reference/node/kernel-version-requirements/",
        )
        .remedy(
            Remedy::new("Nothing, if the vendor still maintains the kernel: kubeadm goes on. Waive the claim.")
                .when("RHEL 9 and its rebuilds (5.14), Kubernetes 1.34 or later"),
        )
        .remedy(
            Remedy::new("Upgrade to RHEL 9 or later, or stay with Kubernetes 1.31.")
                .when("RHEL 8 and its rebuilds (4.18), Kubernetes 1.32 and 1.33"),
        )
        .remedy(
            Remedy::new("Install the kernel of the newest hardware enablement stack. The node reboots.")
                .when("Ubuntu LTS")
                .command("apt-get install -y linux-generic-hwe-$(. /etc/os-release && echo $VERSION_ID) && reboot"),
        )
        .remedy(Remedy::new("Upgrade to a release of the distribution with a newer long-term kernel."))
        .bad([kernel("3.10.0-1160.el7.x86_64")]);
    let errors = preflight::KERNELS.iter().filter(|row| row.1 == Level::Error);
    errors.fold(check, |check, row| check.severity_in(row.2.clone(), High))
}

fn config_is_there() -> Check {
    Check::new("node.kernel.config", "the kernel's configuration can be read", |view| {
        Ok(match view.facts.kernel.config.present("kernel configuration")? {
            Some(config) => Conclusion::holds().because("configuration", config.path.clone()),
            None if view.facts.kernel.loadable.known().is_some_and(|names| names.contains("configs")) => {
                Conclusion::holds().because("module", "configs, which kubeadm loads")
            }
            None => Conclusion::breach(
                Breach::new(
                    "kernel configuration",
                    "kubeadm ends with 'failed to parse kernel config': no file has it",
                )
                .found("none")
                .wanted("/proc/config.gz, or /boot/config-RELEASE")
                .at("/proc/config.gz", None),
            ),
        })
    })
    .severity(Medium)
    .label("kernel")
    .label("kubeadm")
    .alias("unable to load kernel module: configs")
    .alias("SystemVerification")
    .page(
        "kubeadm looks options up in the kernel's configuration, and refuses a node without one. Kubernetes itself \
         does not read it: what the kernel can do, the probes try.",
        "Looks where system-validators looks: /proc/config.gz, /boot, /usr/src and /usr/lib/modules.",
    )
    .basis("system-validators: kernel configuration", VALIDATORS)
    .remedy(
        Remedy::new("Install the running kernel's configuration with its package.")
            .when("Debian/Ubuntu")
            .command("apt-get install --reinstall -y linux-image-$(uname -r)"),
    )
    .remedy(
        Remedy::new("Install the running kernel's configuration with its package.")
            .when("RHEL/Fedora")
            .command("dnf reinstall -y kernel-core-$(uname -r)"),
    )
    .remedy(
        Remedy::new("Let kubeadm go on without it.")
            .when("a container, or a kernel without a configuration")
            .command("kubeadm init --ignore-preflight-errors=SystemVerification"),
    )
    .bad([gone(REFERENCE_CONFIG)])
}

fn kernel(release: &str) -> crate::construct::Edit {
    super::reference_system(|system| system.release = release.to_owned())
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    let upgrade = || Remedy::new("Upgrade to a distribution release with a newer long-term kernel.");
    let mut checks = vec![
        version(),
        config_is_there(),
        Check::new(
            "node.kernel.version-cgroup-v2",
            "the kernel is 5.8 or later, where cgroup version 2 is whole",
            |view| {
                if view.facts.cgroup.mode.need("cgroup version")?.version() == 1 {
                    return Ok(Conclusion::not_applicable("the node uses cgroup version 1"));
                }
                release_at_least(view, (5, 8), "cgroup version 2 lacks features that the kubelet uses")
            },
        )
        .severity(Medium)
        .label("kernel")
        .label("cgroup")
        .alias("kernel-5.8")
        .page(
            "The kubelet asks for 5.8 with cgroup version 2; the freezer came with 5.2 and the root's cpu.stat with \
             5.8.",
            "Compares the number of uname -r.",
        )
        .basis(
            "About cgroup v2: requirements",
            "https://kubernetes.io/docs/concepts/architecture/cgroups/#requirements",
        )
        .remedy(upgrade())
        .bad([kernel("5.4.0-150-generic")]),
        Check::new(
            "node.kernel.version-nftables-proxy",
            "the kernel is 5.13 or later, as kube-proxy's nftables mode wants",
            |view| release_at_least(view, (5, 13), "kube-proxy --proxy-mode=nftables refuses to start"),
        )
        .severity(Info)
        .versions(29..=u32::MAX)
        .label("kernel")
        .alias("kernel-5.13")
        .page("Only kube-proxy's nftables mode needs it; RHEL's 5.14 has it.", "Compares the number of uname -r.")
        .basis(
            "KEP-3866: nftables kube-proxy",
            "https://kubernetes.io/docs/reference/networking/virtual-ips/#proxy-mode-nftables",
        )
        .remedy(upgrade())
        .bad([kernel("5.10.0-30-amd64")]),
        Check::new(
            "node.kernel.version-user-namespaces",
            "the kernel is 6.3 or later, as pods in user namespaces want",
            |view| release_at_least(view, (6, 3), "tmpfs, and so every Secret volume, has no idmap mounts"),
        )
        .severity(Info)
        .versions(25..=u32::MAX)
        .label("kernel")
        .alias("kernel-6.3")
        .page(
            "hostUsers: false needs idmap mounts of every file system that a pod uses; tmpfs has them from 6.3.",
            "Compares the number of uname -r.",
        )
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
        .page(
            "The RuntimeDefault profile answers forbidden calls with an error.",
            "Reads /proc/sys/kernel/seccomp/actions_avail.",
        )
        .basis("Restrict a container's syscalls with seccomp", "https://kubernetes.io/docs/tutorials/security/seccomp/")
        .remedy(Remedy::new("Use a kernel with CONFIG_SECCOMP_FILTER."))
        .bad([crate::construct::file("/proc/sys/kernel/seccomp/actions_avail", "kill_thread\n")]),
        Check::new("node.kernel.selinux", "where SELinux enforces, it has a policy for containers", |view| {
            let enforces = view.facts.kernel.selinux.present(SELINUX)?;
            if enforces.is_none_or(|enforces| !enforces) {
                return Ok(Conclusion::not_applicable("SELinux is off, or permissive"));
            }
            Ok(match view.facts.kernel.selinux_containers.present("SELinux's policy for containers")? {
                Some(path) => Conclusion::holds().because("policy", path),
                None => {
                    let why = "SELinux enforces, and has no policy for containers: pods such as CoreDNS may not start";
                    Conclusion::breach(
                        Breach::new("container-selinux", why)
                            .wanted(SELINUX_CONTAINERS.join(" or "))
                            .at(SELINUX, Some(1)),
                    )
                }
            })
        })
        .severity(Severity::Medium)
        .label("kernel")
        .label("security")
        .alias("SELinux")
        .alias("coredns pods have CrashLoopBackOff or Error state")
        .page(
            "Without the package container-selinux a container's processes have labels to which the policy allows next \
             to nothing.",
            "Reads /sys/fs/selinux/enforce, and looks for the policy where container-selinux puts it.",
        )
        .basis(
            "Troubleshooting kubeadm: coredns pods have CrashLoopBackOff or Error state",
            "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/troubleshooting-kubeadm/",
        )
        .remedy(Remedy::new("Install the policy.").when("RHEL/Fedora").command("dnf install -y container-selinux"))
        .remedy(
            Remedy::new("Let SELinux only warn, at the cost of what it protects.")
                .when("there is no such package")
                .command("setenforce 0 && sed -i 's/^SELINUX=.*/SELINUX=permissive/' /etc/selinux/config"),
        )
        .good([file(SELINUX, "1"), stat(SELINUX_CONTAINERS[0], FileKind::Directory, 0o700, 0, 0)])
        .bad([file(SELINUX, "1")]),
        Check::new("node.kernel.apparmor-parser", "where AppArmor is on, apparmor_parser is there", |view| {
            let on = view.facts.kernel.apparmor.present("AppArmor")?;
            if on.is_none_or(|on| on != "Y") {
                return Ok(Conclusion::not_applicable("AppArmor is off"));
            }
            super::programs::judge_program(
                view,
                "apparmor_parser",
                "AppArmor is on, and the runtime cannot load its profile without apparmor_parser",
            )
        })
        .label("kernel")
        .label("security")
        .alias("apparmor_parser")
        .page(
            "With AppArmor on, containerd loads its default profile with apparmor_parser before the first container, \
             and fails without it.",
            "Reads /sys/module/apparmor/parameters/enabled and looks for the program.",
        )
        .basis("k3s check-config: apparmor", K3S)
        .remedy(Remedy::new("Install it.").when("Debian/Ubuntu").command("apt-get install apparmor"))
        .bad(super::programs::without("apparmor_parser")),
    ];
    checks.extend(MODULES.iter().map(module));
    checks.extend(options::checks());
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

    /// What is said of a kernel for a release: its severity, or nothing where it holds.
    fn said(release: &str, minor: u32) -> Option<Severity> {
        let mut transcript = crate::host::Transcript::default();
        crate::construct::apply(&mut transcript, &[kernel(release)]).unwrap();
        let facts = crate::node::Facts::read(&transcript);
        let now = jiff::Timestamp::UNIX_EPOCH;
        let profile = crate::Profile { kubernetes: KubernetesVersion(minor), ..crate::Profile::new(now) };
        let check = version();
        match check.judge(&View::alone(&facts, &profile)).verdict {
            crate::Verdict::Holds => None,
            crate::Verdict::Breached(breaches) => Some(breaches[0].severity.unwrap_or(check.severity)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_release_has_kernels_that_it_refuses_or_warns_of() {
        let rhel8 = "4.18.0-553.el8_10.x86_64";
        for (release, minor, wanted) in [
            (rhel8, 31, None),
            (rhel8, 32, Some(High)),
            (rhel8, 33, Some(High)),
            (rhel8, 34, Some(Medium)),
            ("3.10.0-1160.el7.x86_64", 23, None),
            ("3.2.0-4-amd64", 31, Some(High)),
            ("2.6.32", 23, Some(High)),
            ("4.19.0-27-amd64", 33, None),
            ("5.14.0-427.el9.x86_64", 33, None),
            ("5.14.0-427.el9.x86_64", 37, Some(Medium)),
            ("5.4.0-150-generic", 37, None),
            ("5.15.0-1063-aws", 34, None),
            ("6.1-rc3", 37, Some(Medium)),
            ("6.12.0-1-amd64", 37, None),
            ("10.0.1", 37, None),
        ] {
            assert_eq!(said(release, minor), wanted, "{release} for 1.{minor}");
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
}
