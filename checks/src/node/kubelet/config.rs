//! Members of the kubelet's configuration, a row each.

use serde_json::Value;

use super::{CONFIG, KubeletConfig, with_config};
use crate::check::{Check, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion};
use crate::construct::replace;

const REFERENCE: &str = "https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/";
const CIS: &str = "https://www.cisecurity.org/benchmark/kubernetes";

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
        Conclusion::breach(breach.found(shown.clone()).wanted(wanted).at(config.path(), config.line(row.path)))
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

/// The table's checks.
pub(super) fn checks() -> impl Iterator<Item = Check> {
    ROWS.iter().map(check_row)
}
