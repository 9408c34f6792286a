//! Members of the kubelet's configuration, a row each.

use serde_json::Value;

use super::node::shown;
use super::{CONFIG, REFERENCE, with_kubelet};
use crate::check::{Check, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion};
use crate::construct::{Edit, file, replace};
use crate::effective::kubelet::{FLAGS, Kubelet};

const CIS: &str = "https://www.cisecurity.org/benchmark/kubernetes";

/// What a member of the configuration must be.
enum Want {
    /// Exactly this.
    Is(Value),
    /// Not this.
    Not(Value),
    /// Something that is not empty.
    Set,
}

/// How the reference node is made a bad example.
enum Bad {
    /// A text of its configuration, and what stands there instead.
    File(&'static str, &'static str),
    /// A flag in kubeadm's file of flags.
    Flag(&'static str),
}

use Bad::{File, Flag};

struct Row {
    name: &'static str,
    path: &'static str,
    want: fn() -> Want,
    severity: Severity,
    why: &'static str,
    alias: &'static str,
    bad: Bad,
    remedy: &'static str,
}

use Severity::{High, Info, Low, Medium};

const ROWS: &[Row] = &[
    Row {
        name: "anonymous-auth",
        path: "authentication.anonymous.enabled",
        want: || Want::Is(false.into()),
        severity: High,
        why: "With it on, anyone who reaches port 10250 asks the kubelet without a credential.",
        alias: "CIS 4.2.1",
        bad: File("anonymous:\n    enabled: false", "anonymous:\n    enabled: true"),
        remedy: "authentication:\n  anonymous:\n    enabled: false\n",
    },
    Row {
        name: "authorization-mode",
        path: "authorization.mode",
        want: || Want::Not("AlwaysAllow".into()),
        severity: High,
        why: "With AlwaysAllow every request that is authenticated, an anonymous one too, may run commands in every \
              pod.",
        alias: "CIS 4.2.2",
        bad: File("mode: Webhook", "mode: AlwaysAllow"),
        remedy: "authorization:\n  mode: Webhook\n",
    },
    Row {
        name: "client-ca",
        path: "authentication.x509.clientCAFile",
        want: || Want::Set,
        severity: High,
        why: "The API server shows a client certificate to the kubelet, which must know its CA.",
        alias: "CIS 4.2.3",
        bad: File("clientCAFile: /etc/kubernetes/pki/ca.crt", "clientCAFile: \"\""),
        remedy: "authentication:\n  x509:\n    clientCAFile: /etc/kubernetes/pki/ca.crt\n",
    },
    Row {
        name: "read-only-port",
        path: "readOnlyPort",
        want: || Want::Is(0.into()),
        severity: High,
        why: "Port 10255 gives away pods and metrics to anyone.",
        alias: "CIS 4.2.4",
        bad: File("rotateCertificates: true", "readOnlyPort: 10255"),
        remedy: "readOnlyPort: 0\n",
    },
    Row {
        name: "streaming-idle-timeout",
        path: "streamingConnectionIdleTimeout",
        want: || Want::Not("0s".into()),
        severity: Low,
        why: "Idle exec and port-forward streams must end.",
        alias: "CIS 4.2.5",
        bad: Flag("--streaming-connection-idle-timeout=0s"),
        remedy: "streamingConnectionIdleTimeout: 4h0m0s\n",
    },
    Row {
        name: "iptables-chains",
        path: "makeIPTablesUtilChains",
        want: || Want::Is(true.into()),
        severity: Low,
        why: "The kubelet's hint chains tell others how the node's rules are made.",
        alias: "CIS 4.2.6",
        bad: File("rotateCertificates: true", "makeIPTablesUtilChains: false"),
        remedy: "makeIPTablesUtilChains: true\n",
    },
    Row {
        name: "event-rate",
        path: "eventRecordQPS",
        want: || Want::Not(0.into()),
        severity: Info,
        why: "Without a limit one failing pod floods the API server with events.",
        alias: "CIS 4.2.8",
        bad: File("rotateCertificates: true", "eventRecordQPS: 0"),
        remedy: "eventRecordQPS: 50\n",
    },
    Row {
        name: "rotate-certificates",
        path: "rotateCertificates",
        want: || Want::Is(true.into()),
        severity: Medium,
        why: "Without rotation the node falls off the cluster when its client certificate expires, after a year.",
        alias: "CIS 4.2.10",
        bad: File("rotateCertificates: true", "rotateCertificates: false"),
        remedy: "rotateCertificates: true\n",
    },
    Row {
        name: "pod-pids-limit",
        path: "podPidsLimit",
        want: || Want::Not((-1).into()),
        severity: Info,
        why: "One pod that forks without end takes all process ids of the node.",
        alias: "CIS 4.2.13",
        bad: File("podPidsLimit: 4096\n", ""),
        remedy: "podPidsLimit: 4096\n",
    },
    Row {
        name: "seccomp-default",
        path: "seccompDefault",
        want: || Want::Is(true.into()),
        severity: Info,
        why: "Containers without a profile run with every system call unless this is on.",
        alias: "CIS 4.2.14",
        bad: File("seccompDefault: true", "seccompDefault: false"),
        remedy: "seccompDefault: true\n",
    },
    Row {
        name: "static-pod-path",
        path: "staticPodPath",
        want: || Want::Set,
        severity: Medium,
        why: "kubeadm's control plane runs as static pods; the kubelet must watch their folder.",
        alias: "staticPodPath",
        bad: File("staticPodPath: /etc/kubernetes/manifests\n", ""),
        remedy: "staticPodPath: /etc/kubernetes/manifests\n",
    },
    Row {
        name: "cluster-dns",
        path: "clusterDNS",
        want: || Want::Set,
        severity: Medium,
        why: "Pods get it as their name server; without it they get the node's.",
        alias: "clusterDNS",
        bad: File("clusterDNS:\n- 10.96.0.10\n", ""),
        remedy: "clusterDNS:\n- 10.96.0.10\n",
    },
    Row {
        name: "cluster-domain",
        path: "clusterDomain",
        want: || Want::Set,
        severity: Medium,
        why: "Services are named below it.",
        alias: "clusterDomain",
        bad: File("clusterDomain: cluster.local\n", ""),
        remedy: "clusterDomain: cluster.local\n",
    },
    Row {
        name: "webhook-authentication",
        path: "authentication.webhook.enabled",
        want: || Want::Is(true.into()),
        severity: Medium,
        why: "Metrics collectors show a ServiceAccount token, which only the API server can check.",
        alias: "authentication-token-webhook",
        bad: File("webhook:\n    enabled: true", "webhook:\n    enabled: false"),
        remedy: "authentication:\n  webhook:\n    enabled: true\n",
    },
    Row {
        name: "protect-kernel-defaults",
        path: "protectKernelDefaults",
        want: || Want::Is(true.into()),
        severity: Info,
        why: "The kubelet then refuses to run on kernel parameters that are not its own, instead of changing them.",
        alias: "protectKernelDefaults",
        bad: File("protectKernelDefaults: true\n", ""),
        remedy: "protectKernelDefaults: true\n",
    },
    Row {
        name: "server-tls-bootstrap",
        path: "serverTLSBootstrap",
        want: || Want::Is(true.into()),
        severity: Info,
        why: "Without it the kubelet signs its serving certificate itself, and no client can verify it.",
        alias: "CIS 4.2.11",
        bad: File("serverTLSBootstrap: true\n", ""),
        remedy: "serverTLSBootstrap: true\n",
    },
];

/// Judges what the kubelet runs with, wherever that comes from.
fn judge_row(row: &Row, kubelet: &Kubelet) -> Conclusion {
    let path: Vec<&str> = row.path.split('.').collect();
    let setting = kubelet.get(&path);
    let found = setting.map_or_else(|| "not set".to_owned(), |setting| shown(setting.value));
    let value = setting.map_or(&Value::Null, |setting| setting.value);
    let (holds, wanted) = match (row.want)() {
        Want::Is(want) => (*value == want, shown(&want)),
        Want::Not(unwanted) => (*value != unwanted, format!("anything but {}", shown(&unwanted))),
        Want::Set => {
            let empty = value.as_str().is_some_and(str::is_empty) || value.as_array().is_some_and(Vec::is_empty);
            (!value.is_null() && !empty, "a value".to_owned())
        }
    };
    let source = setting.map_or_else(|| "not set".to_owned(), |setting| setting.origin.to_string());
    let conclusion = if holds {
        Conclusion::holds()
    } else {
        let breach = Breach::new(row.path, format!("the kubelet runs with {} {found} ({source})", row.path));
        let breach = breach.found(found.clone()).wanted(wanted);
        Conclusion::breach(match setting.and_then(|setting| setting.origin.location()) {
            Some(at) => breach.at(&at.path, at.line),
            // A default stands nowhere: the file is where it is changed.
            None => breach.at(kubelet.config.as_deref().unwrap_or(CONFIG), None),
        })
    };
    conclusion.because(row.path, format!("{found} ({source})"))
}

fn check_row(row: &'static Row) -> Check {
    let bad: Edit = match row.bad {
        File(from, to) => replace(CONFIG, from, to),
        Flag(flag) => file(FLAGS, format!("KUBELET_KUBEADM_ARGS=\"{flag}\"\n")),
    };
    Check::new(format!("node.kubelet.{}", row.name), format!("the kubelet's {} is set well", row.path), move |view| {
        with_kubelet(view, |kubelet| Ok(judge_row(row, kubelet)))
    })
    .severity(row.severity)
    .label("kubelet")
    .alias(row.alias)
    .alias(row.path)
    .page(
        row.why,
        format!(
            "Reads {} as the kubelet runs with it: defaults of its release, its file, its drop-ins, its flags.",
            row.path
        ),
    )
    .basis(
        if row.alias.starts_with("CIS") {
            format!("CIS Kubernetes Benchmark {}", &row.alias[4..])
        } else {
            format!("KubeletConfiguration: {}", row.path)
        },
        if row.alias.starts_with("CIS") { CIS } else { REFERENCE },
    )
    .remedy(
        Remedy::new(
            "Set it in the file that the finding names, remove a flag that overrides it, and restart the kubelet.",
        )
        .command("systemctl restart kubelet")
        .persist(CONFIG, row.remedy),
    )
    .bad([bad])
}

/// The table's checks.
pub(super) fn checks() -> impl Iterator<Item = Check> {
    ROWS.iter().map(check_row)
}
