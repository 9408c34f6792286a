//! Claims about version, start-up files, configuration as a whole, and health.

use serde_json::Value;

use super::{CONFIG, DROP_INS, FLAGS, minor, with_config};
use crate::check::{Check, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion, Inconclusive};
use crate::construct::{file, gone, refuses, replace, said, value};
use crate::fact::Fact;
use crate::host::{Program, Query, RefusalKind};
use crate::profile::Role;

use Severity::{Low, Medium};

const REFERENCE: &str = "https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/";
const SKEW: &str = "https://kubernetes.io/releases/version-skew-policy/";
const INTEGRATION: &str = "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/kubelet-integration/";

fn kubelet_said(version: &str) -> crate::construct::Edit {
    said(Query::Run { program: Program::KubeletVersion }, &format!("Kubernetes {version}\n"))
}

/// Flags that kubelets no longer take, with the minor that took them away.
const REMOVED: &[(&str, u32, &str)] = &[
    ("--network-plugin", 24, "it went with dockershim; the runtime reads the CNI configuration"),
    ("--cni-conf-dir", 24, "it went with dockershim; the runtime reads the CNI configuration"),
    ("--cni-bin-dir", 24, "it went with dockershim; the runtime reads the CNI configuration"),
    ("--docker-endpoint", 24, "it went with dockershim"),
    ("--container-runtime=", 27, "only remote was left, and it is implied"),
    ("--master-service-namespace", 27, "it had no effect"),
    ("--pod-infra-container-image", 35, "the runtime's sandbox image is what counts"),
];

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    let members = [Role::ControlPlane, Role::Worker];
    vec![
        Check::new("node.kubelet.version", "the kubelet's version can be told", |view| {
            Ok(match view.facts.kubelet.version.present("kubelet --version")? {
                Some(version) => Conclusion::holds().because("kubelet", version),
                None => Conclusion::breach(Breach::new("kubelet", "kubelet is not installed: its version cannot be compared with the cluster's")),
            })
        })
        .roles(members)
        .label("kubelet").label("kubeadm")
        .alias("KubeletVersion")
        .alias("SystemVerification")
        .page("kubeadm refuses a node whose kubelet does not say its version.", "Runs kubelet --version on the node.")
        .basis("kubeadm preflight: KubeletVersion, SystemVerification", INTEGRATION)
        .remedy(Remedy::new("Install the kubelet.").when("Debian/Ubuntu").command("apt-get install -y kubelet"))
        .remedy(Remedy::new("Install the kubelet.").when("RHEL/Fedora").command("dnf install -y kubelet --disableexcludes=kubernetes"))
        .bad([refuses(Query::Run { program: Program::KubeletVersion }, RefusalKind::Absent, "kubelet is in no folder of PATH")]),
        Check::new("node.kubelet.version-skew", "the kubelet is no newer than the cluster, and not too old", |view| {
            let Some(version) = view.facts.kubelet.version.present("kubelet --version")? else {
                return Ok(Conclusion::not_applicable("kubelet is not installed"));
            };
            let kubelet = minor(version).ok_or_else(|| Inconclusive::new(format!("'{version}' is no version")))?;
            let cluster = view.profile.kubernetes.0;
            // Three minors since 1.28, two before (version skew policy).
            let reach = if cluster >= 28 { 3 } else { 2 };
            let breach = |why: String| Conclusion::breach(Breach::new("kubelet", why).found(version).wanted(format!("1.{} to 1.{cluster}", cluster.saturating_sub(reach))));
            Ok(if kubelet > cluster {
                breach(format!("kubelet 1.{kubelet} is newer than the cluster, 1.{cluster}"))
            } else if cluster - kubelet > reach {
                breach(format!("kubelet 1.{kubelet} is more than {reach} minors older than the cluster, 1.{cluster}"))
            } else {
                Conclusion::holds().because("kubelet", version)
            })
        })
        .roles(members)
        .label("kubelet").label("kubeadm")
        .alias("KubeletVersion")
        .alias("version skew")
        .page("A kubelet newer than the API server asks for what that does not know.", "Compares kubelet --version with the profile's Kubernetes version.")
        .basis("Version skew policy: kubelet", SKEW)
        .remedy(Remedy::new("Install the cluster's version.").when("Debian/Ubuntu").command("apt-get install -y --allow-downgrades kubelet=1.37.*"))
        .remedy(Remedy::new("Install the cluster's version.").when("RHEL/Fedora").command("dnf install -y kubelet-1.37.* --disableexcludes=kubernetes"))
        .bad([kubelet_said("v1.30.1")]),
        Check::new("node.kubelet.config-valid", "the kubelet's configuration can be read", |view| {
            Ok(match &view.facts.kubelet.config {
                Fact::Known(_) => Conclusion::holds(),
                Fact::Absent(_) => Conclusion::not_applicable(format!("there is no {CONFIG}: the node has not joined a cluster")),
                Fact::NotGathered(why) | Fact::Unreadable(why) => Conclusion::undetermined(why),
                Fact::Malformed(why) => Conclusion::breach(Breach::new(CONFIG, format!("the kubelet cannot start with it: {why}")).at(CONFIG, None)),
            })
        })
        .label("kubelet")
        .alias("KubeletConfiguration")
        .page("A kubelet that cannot read its configuration ends at once, and systemd starts it again for ever.", "Reads and parses the file.")
        .basis("Set kubelet parameters via a configuration file", "https://kubernetes.io/docs/tasks/administer-cluster/kubelet-config-file/")
        .remedy(Remedy::new("Have kubeadm write it again.").command("kubeadm upgrade node phase kubelet-config"))
        .bad([file(CONFIG, "kind: KubeletConfiguration\n  bad: [\n")]),
        Check::new("node.kubelet.fail-swap-on", "a node with swap has a kubelet that is told so", |view| {
            if view.facts.swap.is_off()? {
                return Ok(Conclusion::not_applicable("swap is off"));
            }
            with_config(view, |config| {
                let fails = config.get("failSwapOn").and_then(Value::as_bool).unwrap_or(true);
                Ok(if fails {
                    Conclusion::breach(Breach::new("failSwapOn", "swap is on and failSwapOn is true: the kubelet ends at start").at(config.path(), config.line("failSwapOn")))
                } else {
                    Conclusion::holds()
                })
            })
        })
        .label("kubelet")
        .alias("failSwapOn")
        .page("With failSwapOn, its default, the kubelet refuses to start on a node with swap.", "Compares /proc/swaps with the kubelet's configuration.")
        .basis("KubeletConfiguration: failSwapOn; KEP-2400: node swap", REFERENCE)
        .remedy(Remedy::new("Turn swap off.").command("swapoff -a"))
        .remedy(Remedy::new("Or tell the kubelet.").when("swap stays").persist(CONFIG, "failSwapOn: false\nmemorySwap:\n  swapBehavior: LimitedSwap\n"))
        .good([file("/proc/swaps", "Filename\n/dev/vda2 partition 1 0 -2\n"), replace(CONFIG, "rotateCertificates: true", "failSwapOn: false")])
        .bad([file("/proc/swaps", "Filename\n/dev/vda2 partition 1 0 -2\n")]),
        Check::new("node.kubelet.fail-cgroup-v1", "a node with cgroup version 1 has a kubelet that allows it", |view| {
            if view.facts.cgroup.mode.need("cgroup version")?.version() == 2 {
                return Ok(Conclusion::not_applicable("the node uses cgroup version 2"));
            }
            with_config(view, |config| {
                let fails = config.get("failCgroupV1").and_then(Value::as_bool).unwrap_or(true);
                Ok(if fails {
                    Conclusion::breach(Breach::new("failCgroupV1", "the node uses cgroup version 1 and failCgroupV1 is true: the kubelet ends at start").at(config.path(), config.line("failCgroupV1")))
                } else {
                    Conclusion::holds()
                })
            })
        })
        .versions(35..=u32::MAX)
        .label("kubelet").label("cgroup")
        .alias("failCgroupV1")
        .page("From 1.35 failCgroupV1 is true unless the configuration says otherwise.", "Compares the cgroup mounts with the kubelet's configuration.")
        .basis("KEP-5573: remove cgroup v1 support", REFERENCE)
        .remedy(Remedy::new("Move the node to cgroup version 2, or allow version 1 for now.").persist(CONFIG, "failCgroupV1: false\n"))
        .good([file("/proc/1/mounts", "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n"), replace(CONFIG, "rotateCertificates: true", "failCgroupV1: false")])
        .bad([file("/proc/1/mounts", "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n")]),
        Check::new("node.kubelet.cgroup-driver", "the kubelet's cgroup driver is that of the init system", |view| {
            let init = view.facts.machine.init.need("the first process")?;
            with_config(view, |config| {
                let driver = config.get("cgroupDriver").and_then(Value::as_str).unwrap_or("cgroupfs");
                let wanted = if init == "systemd" { "systemd" } else { "cgroupfs" };
                Ok(if driver == wanted {
                    Conclusion::holds().because("cgroupDriver", driver)
                } else {
                    let why = format!("the kubelet's cgroupDriver is {driver}, and the init system is {init}: two managers of one tree, unstable under load");
                    Conclusion::breach(Breach::new("cgroupDriver", why).found(driver).wanted(wanted).at(config.path(), config.line("cgroupDriver")))
                })
            })
        })
        .severity(Medium)
        .label("kubelet").label("cgroup")
        .alias("IsDockerSystemdCheck")
        .alias("cgroupDriver")
        .page("systemd wants to be the only one that makes cgroups; a second manager has another view of the resources, and nodes become unstable under pressure.", "Compares cgroupDriver with the first process.")
        .basis("Container runtimes: cgroup drivers", "https://kubernetes.io/docs/setup/production-environment/container-runtimes/#cgroup-drivers")
        .remedy(Remedy::new("Set the driver in the kubelet and in the runtime alike.").command("systemctl restart containerd kubelet").persist(CONFIG, "cgroupDriver: systemd\n"))
        .bad([replace(CONFIG, "cgroupDriver: systemd", "cgroupDriver: cgroupfs")]),
        Check::new("node.kubelet.resolv-conf", "the file that resolvConf names is there", |view| {
            with_config(view, |config| {
                let path = view.facts.kubelet.resolv_conf.need("resolvConf")?;
                Ok(match view.facts.kubelet.resolv_conf_file.present(path)? {
                    Some(()) => Conclusion::holds().because("resolvConf", path),
                    None => Conclusion::breach(Breach::new("resolvConf", format!("{path} is not there: no pod sandbox can be made")).at(config.path(), config.line("resolvConf"))),
                })
            })
        })
        .label("kubelet")
        .alias("resolvConf")
        .page("kubeadm names systemd-resolved's list where that runs at the time; a node that loses systemd-resolved then fails every pod.", "Looks for the file that the configuration names.")
        .basis("KubeletConfiguration: resolvConf", REFERENCE)
        .remedy(Remedy::new("Name the file that the node has.").persist(CONFIG, "resolvConf: /etc/resolv.conf\n"))
        .bad([crate::construct::no_stat("/etc/resolv.conf")]),
        Check::new("node.kubelet.removed-flags", "kubeadm-flags.env holds no flag that this kubelet refuses", |view| {
            let Some(flags) = view.facts.kubelet.flags.present(FLAGS)? else {
                return Ok(Conclusion::not_applicable(format!("there is no {FLAGS}: kubeadm has not set this node up")));
            };
            let minor = view.profile.kubernetes.0;
            let removed = REMOVED.iter().filter(|(flag, since, _)| minor >= *since && flags.contains(flag));
            let breach = |(flag, since, why): &(&str, u32, &str)| {
                let flag = flag.trim_end_matches('=');
                Breach::new(flag, format!("kubelets refuse {flag} since 1.{since}: {why}")).at(FLAGS, Some(1))
            };
            Ok(Conclusion::from_breaches(removed.map(breach).collect()))
        })
        .label("kubelet")
        .alias("kubeadm-flags.env")
        .alias("unknown flag")
        .page("The file outlives upgrades; a kubelet that meets a flag it does not know ends at once.", "Compares the file with the flags that were taken away.")
        .basis("Kubernetes CHANGELOG: removed kubelet flags", INTEGRATION)
        .remedy(Remedy::new("Take the flag out, and restart the kubelet.").command("sed -i 's/--network-plugin=cni //' /var/lib/kubelet/kubeadm-flags.env && systemctl restart kubelet"))
        .bad([file(FLAGS, "KUBELET_KUBEADM_ARGS=\"--network-plugin=cni\"\n")]),
        Check::new("node.kubelet.kubeadm-drop-in", "kubeadm's drop-in for the kubelet service is there", |view| {
            if view.facts.kubelet.config.is_absent() {
                return Ok(Conclusion::not_applicable("the node has not joined a cluster"));
            }
            Ok(match view.facts.kubelet.drop_in.present("10-kubeadm.conf")? {
                Some(path) => Conclusion::holds().because("drop-in", path),
                None => Conclusion::breach(Breach::new("10-kubeadm.conf", "the drop-in is not there: the kubelet starts without its kubeconfig and configuration").wanted(DROP_INS[0])),
            })
        })
        .severity(Medium)
        .label("kubelet").label("kubeadm")
        .alias("10-kubeadm.conf")
        .page("It passes the kubelet its configuration, its kubeconfigs and kubeadm-flags.env. Nodes of other installers do without it.", "Looks where the packages put it.")
        .basis("Configuring each kubelet in your cluster using kubeadm: the kubelet drop-in file for systemd", INTEGRATION)
        .remedy(Remedy::new("Install the kubeadm package, which brings it.").when("Debian/Ubuntu").command("apt-get install -y --reinstall kubeadm"))
        .remedy(Remedy::new("Install the kubeadm package, which brings it.").when("RHEL/Fedora").command("dnf reinstall -y kubeadm --disableexcludes=kubernetes"))
        .bad([gone(DROP_INS[0])]),
        Check::new("node.kubelet.healthz", "a kubelet that runs is healthy", |view| {
            if !view.facts.machine.runs("kubelet")? {
                return Ok(Conclusion::not_applicable("the kubelet is not running"));
            }
            Ok(match view.facts.kubelet.healthz.present("the kubelet's health")? {
                Some((200, _)) => Conclusion::holds(),
                Some((status, body)) => Conclusion::breach(Breach::new("kubelet", format!("it answers {status} on /healthz: {}", body.trim())).found(status.to_string()).wanted("200")),
                None => Conclusion::breach(Breach::new("kubelet", "it runs, and nothing answers on 127.0.0.1:10248: it is starting, ending, or told another port")),
            })
        })
        .label("kubelet")
        .alias("KubeletUnhealthy")
        .alias("kubelet healthz")
        .page("kubeadm waits for this answer, and 'connection refused' here is the most common failure of kubeadm init.", "Asks http://127.0.0.1:10248/healthz.")
        .basis("Troubleshooting kubeadm: kubeadm blocks waiting for control plane", "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/troubleshooting-kubeadm/")
        .remedy(Remedy::new("Read what the kubelet says.").command("journalctl -u kubelet -n 50"))
        .bad([value(Query::Get { url: "http://127.0.0.1:10248/healthz".into() }, serde_json::json!({"status": 500, "body": "syncloop: failed"}))]),
        Check::new("node.kubelet.eviction", "the kubelet evicts pods before the disk or memory is full", |view| {
            with_config(view, |config| {
                let Some(hard) = config.get("evictionHard") else {
                    return Ok(Conclusion::holds().because("evictionHard", "not set: the kubelet's defaults"));
                };
                let off: Vec<_> = ["memory.available", "nodefs.available", "imagefs.available"]
                    .into_iter()
                    .filter(|signal| hard.get(signal).and_then(Value::as_str).is_none_or(|limit| limit.trim_end_matches('%') == "0"))
                    .collect();
                let breach = |signal: &&str| Breach::new(*signal, format!("evictionHard is set without {signal}: setting it takes away the defaults of the rest")).at(config.path(), config.line("evictionHard"));
                Ok(Conclusion::from_breaches(off.iter().map(breach).collect()))
            })
        })
        .severity(Low)
        .label("kubelet")
        .alias("evictionHard")
        .page("A node whose disk is full loses its kubelet and runtime.", "Reads evictionHard.")
        .basis("Node-pressure eviction: hard eviction thresholds", "https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/")
        .remedy(Remedy::new("Name all signals, or none.").persist(CONFIG, "evictionHard:\n  memory.available: 100Mi\n  nodefs.available: 10%\n  imagefs.available: 15%\n"))
        .bad([replace(CONFIG, "rotateCertificates: true", "evictionHard:\n  memory.available: 100Mi")]),
        Check::new("node.kubelet.image-gc", "image garbage collection starts above where it ends", |view| {
            with_config(view, |config| {
                let percent = |path, default| config.get(path).and_then(Value::as_u64).unwrap_or(default);
                let (high, low) = (percent("imageGCHighThresholdPercent", 85), percent("imageGCLowThresholdPercent", 80));
                Ok(if low < high && high <= 100 {
                    Conclusion::holds().because("high and low", format!("{high} % and {low} %"))
                } else {
                    Conclusion::breach(Breach::new("imageGCHighThresholdPercent", "the kubelet refuses to start: the low threshold must be below the high one").found(format!("high {high}, low {low}")).at(config.path(), config.line("imageGCHighThresholdPercent")))
                })
            })
        })
        .label("kubelet")
        .alias("imageGCHighThresholdPercent")
        .page("The kubelet validates the pair and ends if it is not in order.", "Reads both thresholds.")
        .basis("KubeletConfiguration: imageGCHighThresholdPercent", REFERENCE)
        .remedy(Remedy::new("Set the pair in order.").persist(CONFIG, "imageGCHighThresholdPercent: 85\nimageGCLowThresholdPercent: 80\n"))
        .bad([replace(CONFIG, "rotateCertificates: true", "imageGCHighThresholdPercent: 70")]),
            Check::new("node.kubelet.kubeadm-version", "kubeadm is of the cluster's minor release", |view| {
            let Some(version) = view.facts.kubelet.kubeadm.present("kubeadm version")? else {
                return Ok(Conclusion::not_applicable("kubeadm is not installed"));
            };
            let kubeadm = minor(version).ok_or_else(|| Inconclusive::new(format!("'{version}' is no version")))?;
            let cluster = view.profile.kubernetes.0;
            // kubeadm sets up its own minor release and the one before it (version skew policy).
            Ok(if kubeadm == cluster || kubeadm == cluster + 1 {
                Conclusion::holds().because("kubeadm", version)
            } else {
                let breach = Breach::new("kubeadm", format!("kubeadm 1.{kubeadm} does not set up Kubernetes 1.{cluster}"));
                Conclusion::breach(breach.found(version).wanted(format!("1.{cluster} or 1.{}", cluster + 1)))
            })
        })
        .severity(Severity::Medium)
        .label("kubelet").label("kubeadm")
        .alias("KubernetesVersion")
        .page("kubeadm sets up its own minor release, and the one before it; it warns of a newer one.", "Runs kubeadm version on the node.")
        .basis("kubeadm preflight: KubernetesVersion; version skew policy: kubeadm", SKEW)
        .remedy(Remedy::new("Install the cluster's version.").when("Debian/Ubuntu").command("apt-get install -y kubeadm=1.37.*"))
        .remedy(Remedy::new("Install the cluster's version.").when("RHEL/Fedora").command("dnf install -y kubeadm-1.37.* --disableexcludes=kubernetes"))
        .good([said(Query::Run { program: Program::KubeadmVersion }, "v1.37.2\n")])
        .bad([said(Query::Run { program: Program::KubeadmVersion }, "v1.30.1\n")]),
    ]
}
