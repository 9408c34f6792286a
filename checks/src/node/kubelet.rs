//! The kubelet: version, configuration, start-up files, health.

use serde_json::Value;

use crate::check::{Check, Judgement, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion, Inconclusive};
use crate::construct::{file, gone, refuses, replace, said, value};
use crate::fact::Fact;
use crate::host::{Host, Program, Query, RefusalKind};
use crate::node::View;
use crate::profile::Role;

/// Where kubeadm puts the kubelet's configuration.
pub const CONFIG: &str = "/var/lib/kubelet/config.yaml";
const FLAGS: &str = "/var/lib/kubelet/kubeadm-flags.env";
const DROP_INS: [&str; 3] = [
    "/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf",
    "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf",
    "/lib/systemd/system/kubelet.service.d/10-kubeadm.conf",
];
const REFERENCE: &str = "https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/";
const SKEW: &str = "https://kubernetes.io/releases/version-skew-policy/";
const CIS: &str = "https://www.cisecurity.org/benchmark/kubernetes";
const INTEGRATION: &str = "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/kubelet-integration/";

/// What is known of the kubelet.
#[derive(Debug)]
pub struct Facts {
    /// `1.37.2`, as the program says.
    pub version: Fact<String>,
    /// Its configuration.
    pub config: Fact<KubeletConfig>,
    /// Its resolvConf; the default where the configuration does not name one.
    pub resolv_conf: Fact<String>,
    /// kubeadm's flags for it.
    pub flags: Fact<String>,
    /// Where kubeadm's drop-in is.
    pub drop_in: Fact<String>,
    /// What its health port answers: status and body.
    pub healthz: Fact<(u64, String)>,
    /// Is the file of its resolvConf there?
    pub resolv_conf_file: Fact<()>,
}

/// A kubelet configuration file.
#[derive(Debug, Clone)]
pub struct KubeletConfig {
    text: String,
    value: Value,
}

impl KubeletConfig {
    fn parse(text: String) -> Result<Self, String> {
        let value: Value = serde_saphyr::from_str(&text).map_err(|error| format!("{CONFIG} is no YAML: {error}"))?;
        match value.get("kind").and_then(Value::as_str) {
            Some("KubeletConfiguration") => Ok(Self { text, value }),
            kind => Err(format!("{CONFIG} is of kind {}, not KubeletConfiguration", kind.unwrap_or("none"))),
        }
    }

    /// A member by a dotted path.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Value> {
        path.split('.').try_fold(&self.value, |value, key| value.get(key)).filter(|value| !value.is_null())
    }

    /// The line that sets the last key of a dotted path, if one line does.
    #[must_use]
    pub fn line(&self, path: &str) -> Option<u32> {
        let key = format!("{}:", path.rsplit('.').next()?);
        let number = self.text.lines().position(|line| line.trim_start().starts_with(&key))?;
        u32::try_from(number + 1).ok()
    }
}

impl Facts {
    pub(super) fn read(host: &dyn Host) -> Self {
        let config = host.text(CONFIG).parse(KubeletConfig::parse);
        let resolv_conf = config
            .clone()
            .map(|config| config.get("resolvConf").and_then(Value::as_str).unwrap_or("/etc/resolv.conf").to_owned());
        let resolv_conf_file = match resolv_conf.known() {
            Some(path) if !path.is_empty() => host.stat(path).map(|_| ()),
            Some(_) => Fact::Known(()),
            None => resolv_conf.clone().map(|_| ()),
        };
        let health = Query::Get { url: "http://127.0.0.1:10248/healthz".to_owned() };
        Self {
            version: host.run(Program::KubeletVersion).parse(|text| {
                let version = text.split_whitespace().find_map(|word| word.strip_prefix('v'));
                version.map(str::to_owned).ok_or_else(|| format!("kubelet --version said '{}'", text.trim()))
            }),
            resolv_conf,
            flags: host.text(FLAGS),
            drop_in: drop_in(host),
            healthz: host.value(&health).parse(|answer| {
                let status = answer.get("status").and_then(Value::as_u64).ok_or("the answer has no status")?;
                let body = answer.get("body").and_then(Value::as_str).unwrap_or_default().to_owned();
                Ok::<_, &str>((status, body))
            }),
            resolv_conf_file,
            config,
        }
    }
}

fn drop_in(host: &dyn Host) -> Fact<String> {
    let mut last = Fact::Absent("no place of it was looked at".to_owned());
    for path in DROP_INS {
        last = host.text(path).map(|_| path.to_owned());
        if !last.is_absent() {
            return last;
        }
    }
    last
}

/// The configuration; not applicable where there is none, since the node has not joined.
fn with_config(view: &View<'_>, judge: impl FnOnce(&KubeletConfig) -> Judgement) -> Judgement {
    match view.facts.kubelet.config.present(CONFIG)? {
        Some(config) => judge(config),
        None => Ok(Conclusion::not_applicable(format!("there is no {CONFIG}: the node has not joined a cluster"))),
    }
}

/// What a member of the configuration must be.
enum Want {
    /// Exactly this; the default of the file, if it leaves the member out, is the second.
    Is(Value, Value),
    /// Not this; with the default.
    Not(Value, Value),
    /// Something that is not empty.
    Set,
}

struct Row {
    name: &'static str,
    path: &'static str,
    want: fn() -> Want,
    severity: Severity,
    why: &'static str,
    alias: &'static str,
    bad: (&'static str, &'static str),
    remedy: &'static str,
}

use Severity::{High, Info, Low, Medium};

const ROWS: &[Row] = &[
    Row {
        name: "anonymous-auth",
        path: "authentication.anonymous.enabled",
        want: || Want::Is(false.into(), true.into()),
        severity: High,
        why: "Anyone who reaches port 10250 could otherwise ask the kubelet.",
        alias: "CIS 4.2.1",
        bad: ("anonymous:\n    enabled: false", "anonymous:\n    enabled: true"),
        remedy: "authentication:\n  anonymous:\n    enabled: false\n",
    },
    Row {
        name: "authorization-mode",
        path: "authorization.mode",
        want: || Want::Not("AlwaysAllow".into(), "Webhook".into()),
        severity: High,
        why: "With AlwaysAllow any client certificate of the cluster commands the kubelet.",
        alias: "CIS 4.2.2",
        bad: ("mode: Webhook", "mode: AlwaysAllow"),
        remedy: "authorization:\n  mode: Webhook\n",
    },
    Row {
        name: "client-ca",
        path: "authentication.x509.clientCAFile",
        want: || Want::Set,
        severity: High,
        why: "The API server shows a client certificate to the kubelet, which must know its CA.",
        alias: "CIS 4.2.3",
        bad: ("clientCAFile: /etc/kubernetes/pki/ca.crt", "clientCAFile: \"\""),
        remedy: "authentication:\n  x509:\n    clientCAFile: /etc/kubernetes/pki/ca.crt\n",
    },
    Row {
        name: "read-only-port",
        path: "readOnlyPort",
        want: || Want::Is(0.into(), 0.into()),
        severity: High,
        why: "Port 10255 gives away pods and metrics to anyone.",
        alias: "CIS 4.2.4",
        bad: ("rotateCertificates: true", "readOnlyPort: 10255"),
        remedy: "readOnlyPort: 0\n",
    },
    Row {
        name: "streaming-idle-timeout",
        path: "streamingConnectionIdleTimeout",
        want: || Want::Not("0s".into(), "4h0m0s".into()),
        severity: Low,
        why: "Idle exec and port-forward streams must end.",
        alias: "CIS 4.2.5",
        bad: ("rotateCertificates: true", "streamingConnectionIdleTimeout: 0s"),
        remedy: "streamingConnectionIdleTimeout: 4h0m0s\n",
    },
    Row {
        name: "iptables-chains",
        path: "makeIPTablesUtilChains",
        want: || Want::Is(true.into(), true.into()),
        severity: Low,
        why: "The kubelet's hint chains tell others how the node's rules are made.",
        alias: "CIS 4.2.6",
        bad: ("rotateCertificates: true", "makeIPTablesUtilChains: false"),
        remedy: "makeIPTablesUtilChains: true\n",
    },
    Row {
        name: "event-rate",
        path: "eventRecordQPS",
        want: || Want::Not(0.into(), 50.into()),
        severity: Info,
        why: "Without a limit one failing pod floods the API server with events.",
        alias: "CIS 4.2.8",
        bad: ("rotateCertificates: true", "eventRecordQPS: 0"),
        remedy: "eventRecordQPS: 50\n",
    },
    Row {
        name: "rotate-certificates",
        path: "rotateCertificates",
        want: || Want::Is(true.into(), false.into()),
        severity: Medium,
        why: "Without rotation the node falls off the cluster when its client certificate expires, after a year.",
        alias: "CIS 4.2.10",
        bad: ("rotateCertificates: true", "rotateCertificates: false"),
        remedy: "rotateCertificates: true\n",
    },
    Row {
        name: "pod-pids-limit",
        path: "podPidsLimit",
        want: || Want::Set,
        severity: Info,
        why: "One pod that forks without end takes all process ids of the node.",
        alias: "CIS 4.2.13",
        bad: ("podPidsLimit: 4096\n", ""),
        remedy: "podPidsLimit: 4096\n",
    },
    Row {
        name: "seccomp-default",
        path: "seccompDefault",
        want: || Want::Is(true.into(), false.into()),
        severity: Info,
        why: "Containers without a profile run with every system call unless this is on.",
        alias: "CIS 4.2.14",
        bad: ("seccompDefault: true", "seccompDefault: false"),
        remedy: "seccompDefault: true\n",
    },
    Row {
        name: "static-pod-path",
        path: "staticPodPath",
        want: || Want::Set,
        severity: Medium,
        why: "kubeadm's control plane runs as static pods; the kubelet must watch their folder.",
        alias: "staticPodPath",
        bad: ("staticPodPath: /etc/kubernetes/manifests\n", ""),
        remedy: "staticPodPath: /etc/kubernetes/manifests\n",
    },
    Row {
        name: "cluster-dns",
        path: "clusterDNS",
        want: || Want::Set,
        severity: Medium,
        why: "Pods get it as their name server; without it they get the node's.",
        alias: "clusterDNS",
        bad: ("clusterDNS:\n- 10.96.0.10\n", ""),
        remedy: "clusterDNS:\n- 10.96.0.10\n",
    },
    Row {
        name: "cluster-domain",
        path: "clusterDomain",
        want: || Want::Set,
        severity: Medium,
        why: "Services are named below it.",
        alias: "clusterDomain",
        bad: ("clusterDomain: cluster.local\n", ""),
        remedy: "clusterDomain: cluster.local\n",
    },
    Row {
        name: "webhook-authentication",
        path: "authentication.webhook.enabled",
        want: || Want::Is(true.into(), true.into()),
        severity: Medium,
        why: "Metrics collectors show a ServiceAccount token, which only the API server can check.",
        alias: "authentication-token-webhook",
        bad: ("webhook:\n    enabled: true", "webhook:\n    enabled: false"),
        remedy: "authentication:\n  webhook:\n    enabled: true\n",
    },
    Row {
        name: "protect-kernel-defaults",
        path: "protectKernelDefaults",
        want: || Want::Is(true.into(), false.into()),
        severity: Info,
        why: "The kubelet then refuses to run on kernel parameters that are not its own, instead of changing them.",
        alias: "protectKernelDefaults",
        bad: ("protectKernelDefaults: true\n", ""),
        remedy: "protectKernelDefaults: true\n",
    },
    Row {
        name: "server-tls-bootstrap",
        path: "serverTLSBootstrap",
        want: || Want::Is(true.into(), false.into()),
        severity: Info,
        why: "Otherwise the kubelet signs its serving certificate itself, and nobody can verify it.",
        alias: "CIS 4.2.11",
        bad: ("serverTLSBootstrap: true\n", ""),
        remedy: "serverTLSBootstrap: true\n",
    },
];

fn judge_row(row: &Row, config: &KubeletConfig) -> Conclusion {
    let found = config.get(row.path);
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let shown = found.map_or_else(|| "not set".to_owned(), text);
    let (holds, wanted) = match (row.want)() {
        Want::Is(want, default) => (*found.unwrap_or(&default) == want, text(&want)),
        Want::Not(unwanted, default) => {
            (*found.unwrap_or(&default) != unwanted, format!("anything but {}", text(&unwanted)))
        }
        Want::Set => {
            let empty = |value: &Value| {
                value.as_str().is_some_and(str::is_empty) || value.as_array().is_some_and(Vec::is_empty)
            };
            (found.is_some_and(|value| !empty(value)), "a value".to_owned())
        }
    };
    let conclusion = if holds {
        Conclusion::holds()
    } else {
        let breach = Breach::new(row.path, format!("{} is {shown} in the kubelet's configuration", row.path));
        Conclusion::breach(breach.found(shown.clone()).wanted(wanted).at(CONFIG, config.line(row.path)))
    };
    conclusion.because(row.path, shown)
}

fn check_row(row: &'static Row) -> Check {
    Check::new(format!("node.kubelet.{}", row.name), format!("the kubelet's {} is set well", row.path), move |view| {
        with_config(view, |config| Ok(judge_row(row, config)))
    })
    .severity(row.severity)
    .label("kubelet")
    .alias(row.alias)
    .alias(row.path)
    .page(row.why, format!("Reads {} in {CONFIG}.", row.path))
    .basis(
        if row.alias.starts_with("CIS") {
            format!("CIS Kubernetes Benchmark {}", &row.alias[4..])
        } else {
            format!("KubeletConfiguration: {}", row.path)
        },
        if row.alias.starts_with("CIS") { CIS } else { REFERENCE },
    )
    .remedy(
        Remedy::new("Set it, and restart the kubelet.")
            .command("systemctl restart kubelet")
            .persist(CONFIG, row.remedy),
    )
    .bad([replace(CONFIG, row.bad.0, row.bad.1)])
}

fn minor(version: &str) -> Option<u32> {
    version.split('.').nth(1)?.parse().ok()
}

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
    let mut checks = vec![
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
            if view.facts.machine.swaps.need("/proc/swaps")?.is_empty() {
                return Ok(Conclusion::not_applicable("swap is off"));
            }
            with_config(view, |config| {
                let fails = config.get("failSwapOn").and_then(Value::as_bool).unwrap_or(true);
                Ok(if fails {
                    Conclusion::breach(Breach::new("failSwapOn", "swap is on and failSwapOn is true: the kubelet ends at start").at(CONFIG, config.line("failSwapOn")))
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
                    Conclusion::breach(Breach::new("failCgroupV1", "the node uses cgroup version 1 and failCgroupV1 is true: the kubelet ends at start").at(CONFIG, config.line("failCgroupV1")))
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
                    Conclusion::breach(Breach::new("cgroupDriver", why).found(driver).wanted(wanted).at(CONFIG, config.line("cgroupDriver")))
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
                    None => Conclusion::breach(Breach::new("resolvConf", format!("{path} is not there: no pod sandbox can be made")).at(CONFIG, config.line("resolvConf"))),
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
                let breach = |signal: &&str| Breach::new(*signal, format!("evictionHard is set without {signal}: setting it takes away the defaults of the rest")).at(CONFIG, config.line("evictionHard"));
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
                    Conclusion::breach(Breach::new("imageGCHighThresholdPercent", "the kubelet refuses to start: the low threshold must be below the high one").found(format!("high {high}, low {low}")).at(CONFIG, config.line("imageGCHighThresholdPercent")))
                })
            })
        })
        .label("kubelet")
        .alias("imageGCHighThresholdPercent")
        .page("The kubelet validates the pair and ends if it is not in order.", "Reads both thresholds.")
        .basis("KubeletConfiguration: imageGCHighThresholdPercent", REFERENCE)
        .remedy(Remedy::new("Set the pair in order.").persist(CONFIG, "imageGCHighThresholdPercent: 85\nimageGCLowThresholdPercent: 80\n"))
        .bad([replace(CONFIG, "rotateCertificates: true", "imageGCHighThresholdPercent: 70")]),
    ];
    checks.extend(ROWS.iter().map(check_row));
    checks
}
