//! Command lines: of flags those values stay that are listed here by the flag's name; of other words, programs and
//! paths.

use super::members::is_name;
use super::scrub::{MARK, scrub, url};
use crate::effective::kubelet::tables;

/// Flags whose values stay, whatever they are, beside those of kubelets (`effective::kubelet::tables`). A star at an
/// end stands for anything.
const FLAGS: &[&str] = &[
    // Logging and what all components share.
    "v",
    "vmodule",
    "config",
    "config-file",
    "config-dir",
    "feature-gates",
    "leader-elect*",
    "profiling",
    "contention-profiling",
    "node-ip",
    "node-name",
    "hostname-override",
    "cloud-provider",
    "log-level",
    // Addresses, networks, ports.
    "*-address",
    "address",
    "*-port",
    "port",
    "*-cidr",
    "*-cidrs",
    "*-cidr-mask-size",
    "*-cidr-mask-size-ipv?",
    "service-cluster-ip-range",
    "service-node-port-range",
    "cluster-dns",
    "cluster-domain",
    "cluster-name",
    "allocate-node-cidrs",
    "tls-san",
    "hostname-override",
    "healthz-*",
    "metrics-*",
    "bind-*",
    "advertise-*",
    "nodeport-addresses",
    "proxy-mode",
    "ipvs-*",
    "iptables-*",
    "conntrack-*",
    "masquerade-all",
    "detect-local-mode",
    // Authentication and authorization, without anything to log in by.
    "anonymous-auth",
    "authorization-mode",
    "authentication-skip-lookup",
    "authentication-token-webhook*",
    "authorization-webhook-*",
    "client-cert-auth",
    "peer-client-cert-auth",
    "auto-tls",
    "peer-auto-tls",
    "enable-bootstrap-token-auth",
    "enable-admission-plugins",
    "disable-admission-plugins",
    "admission-control",
    "requestheader-*",
    "service-account-issuer",
    "service-account-jwks-uri",
    "service-account-lookup",
    "service-account-max-token-expiration",
    "service-account-extend-token-expiration",
    "api-audiences",
    "kubelet-insecure-tls",
    "kubelet-https",
    "kubelet-preferred-address-types",
    "use-service-account-credentials",
    "tls-cipher-suites",
    "tls-min-version",
    "tls-max-version",
    "cipher-suites",
    "tls-sni-cert-key",
    "allow-privileged",
    "insecure-bind-address",
    "runtime-config",
    "enable-aggregator-routing",
    "controllers",
    "oidc-issuer-url",
    "oidc-username-claim",
    "oidc-groups-claim",
    "encryption-provider-config*",
    "audit-log-maxage",
    "audit-log-maxbackup",
    "audit-log-maxsize",
    "event-ttl",
    "max-requests-inflight",
    "max-mutating-requests-inflight",
    "rotate-certificates",
    "rotate-server-certificates",
    "cluster-signing-duration",
    "experimental-cluster-signing-duration",
    "terminated-pod-gc-threshold",
    "profiling",
    // Files and folders; what is in them is another question.
    "*-file",
    "*-files",
    "*-dir",
    "*-dirs",
    "*-path",
    "*-cafile",
    "*-certfile",
    "*-keyfile",
    "cafile",
    "certfile",
    "keyfile",
    "kubeconfig",
    "*-kubeconfig",
    "bootstrap-kubeconfig",
    "*-certificate",
    "*-certificate-authority",
    "certificate-authority",
    "*-client-key",
    "pod-manifest-path",
    "root",
    "state",
    "data-root",
    "root-dir",
    "kubelet-client-*",
    // The kubelet.
    "container-runtime",
    "container-runtime-endpoint",
    "image-service-endpoint",
    "pod-infra-container-image",
    "cgroup-driver",
    "cgroups-per-qos",
    "cgroup-root",
    "*-cgroups",
    "*-cgroup",
    "fail-swap-on",
    "fail-cgroupv1",
    "read-only-port",
    "max-pods",
    "pods-per-core",
    "pod-max-pids",
    "register-*",
    "node-labels",
    "protect-kernel-defaults",
    "seccomp-default",
    "serialize-image-pulls",
    "streaming-connection-idle-timeout",
    "make-iptables-util-chains",
    "event-qps",
    "event-burst",
    "eviction-*",
    "system-reserved",
    "kube-reserved",
    "reserved-cpus",
    "reserved-memory",
    "resolv-conf",
    "network-plugin",
    "non-masquerade-cidr",
    "runtime-cgroups",
    "runtime-request-timeout",
    "cpu-manager-policy*",
    "memory-manager-policy",
    "topology-manager-*",
    "image-gc-*",
    "container-log-*",
    "node-status-*",
    "cert-dir",
    "enforce-node-allocatable",
    "allowed-unsafe-sysctls",
    "enable-server",
    "enable-debugging-handlers",
    "kernel-memcg-notification",
    "local-storage-capacity-isolation",
    "exit-on-lock-contention",
    "experimental-*",
    "maximum-dead-containers*",
    "minimum-*",
    "volume-*",
    "sync-frequency",
    "file-check-frequency",
    "http-check-frequency",
    "hairpin-mode",
    "keep-terminated-pod-volumes",
    "lock-file",
    "housekeeping-interval",
    "kube-api-qps",
    "kube-api-burst",
    "kube-api-content-type",
    "provider-id",
    // etcd.
    "name",
    "initial-cluster",
    "initial-cluster-state",
    "listen-*",
    "snapshot-count",
    "heartbeat-interval",
    "election-timeout",
    "quota-backend-bytes",
    "auto-compaction-*",
    "max-txn-ops",
    "max-request-bytes",
    "strict-reconfig-check",
    "logger",
    "log-outputs",
    "enable-v2",
    "experimental-initial-corrupt-check",
    // Runtimes.
    "exec-opt",
    "storage-driver",
    "cgroup-manager",
    "conmon-cgroup",
    "default-runtime",
    "selinux",
    "H",
    "host",
    "containerd",
    "cri-socket",
    "default-address-pool",
    "bip",
    "iptables",
    "log-driver",
    "snapshotter",
    "pause-image",
    "default-ulimit",
    // k3s, RKE2, k0s, kubeadm.
    "disable",
    "disable-*",
    "docker",
    "flannel-*",
    "cni",
    "egress-selector-mode",
    "embedded-registry",
    "write-kubeconfig",
    "write-kubeconfig-mode",
    "data-dir",
    "cluster-init",
    "cluster-reset",
    "rootless",
    "profile",
    "secrets-encryption",
    "role",
    "enable-worker",
    "single",
    "no-taints",
    "system-default-registry",
    "kube-apiserver-arg",
    "kubelet-arg",
    "kube-controller-manager-arg",
    "kube-scheduler-arg",
    "kube-proxy-arg",
    "etcd-arg",
    "labels",
    "taints",
    "control-plane-endpoint",
    "apiserver-advertise-address",
    "apiserver-bind-port",
    "apiserver-cert-extra-sans",
    "pod-network-cidr",
    "service-cidr",
    "service-dns-domain",
    "kubernetes-version",
    "image-repository",
    "ignore-preflight-errors",
    "skip-phases",
    "upload-certs",
    "control-plane",
    "discovery-token-unsafe-skip-ca-verification",
];

/// Flags of which it is the URL, or several, that stays.
const URLS: &[&str] =
    &["server", "master", "*-servers", "*-urls", "*-endpoint", "*-endpoints", "*-url", "endpoints", "etcd-servers*"];

/// Flags that sound like a family above and hold a secret.
const NEVER: &[&str] = &["datastore-endpoint", "manifest-url-header", "etcd-s3-*", "*-token", "*-password", "*-secret"];

/// Words that are no flags and are no secret.
const PLAIN: &[&str] = &[
    "exec",
    "env",
    "sh",
    "bash",
    "server",
    "agent",
    "controller",
    "worker",
    "start",
    "apiserver",
    "kubelet",
    "etcd",
    "controller-manager",
    "scheduler",
    "proxy",
    "init",
    "join",
    "kubelite",
    "hyperkube",
    "true",
    "false",
    "&&",
    ";",
    "\\",
    "#",
    "daemon",
    "api",
    "install",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "containerd",
    "crio",
    "dockerd",
    "k3s",
    "rke2",
    "k0s",
    "cri-dockerd",
];

/// Folders that a path on a node begins with.
const ROOTS: &[&str] = &[
    "bin",
    "boot",
    "dev",
    "etc",
    "home",
    "lib",
    "lib64",
    "media",
    "mnt",
    "nix",
    "opt",
    "pki",
    "proc",
    "root",
    "run",
    "sbin",
    "snap",
    "srv",
    "sys",
    "system",
    "tmp",
    "usr",
    "var",
    "x86_64-bottlerocket-linux-gnu",
    "kind",
    "data",
];

pub(super) fn listed(patterns: &[&str], name: &str) -> bool {
    patterns.iter().any(|pattern| match (pattern.strip_prefix('*'), pattern.strip_suffix(['*', '?'])) {
        (Some(end), _) => name.ends_with(end.trim_end_matches(['*', '?'])) && name.len() > end.len(),
        (None, Some(begin)) => name.starts_with(begin),
        (None, None) => *pattern == name,
    })
}

/// Is a text the path of something on a node?
pub(super) fn is_path(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/_.:@%${}-+~".contains(c);
    let rooted =
        text.strip_prefix('/').and_then(|rest| rest.split('/').next()).is_some_and(|root| ROOTS.contains(&root));
    (rooted || text == "/") && text.chars().all(plain)
}

/// The value of a flag, as it stays.
pub(super) fn value_of_flag(name: &str, value: &str) -> String {
    // `name+` adds to a list in files of k3s.
    let name = name.trim_start_matches('-').trim_end_matches('+').to_ascii_lowercase().replace('_', "-");
    if value.is_empty() || matches!(value, "true" | "false") {
        return value.to_owned();
    }
    if listed(NEVER, &name) && !listed(&["*-file", "*-dir"], &name) {
        return MARK.to_owned();
    }
    if name.ends_with("-arg") {
        // `max-pods=110`: a flag of the component that is named.
        let (flag, of) = value.split_once('=').unwrap_or((value, ""));
        let kept = value_of_flag(flag, of);
        return if value.contains('=') { format!("{flag}={kept}") } else { name_or_mark(flag) };
    }
    if name.ends_with("extra-args") {
        return line(value);
    }
    if listed(URLS, &name) {
        return url(value);
    }
    if listed(FLAGS, &name) || !tables::releases_of_flag(&name).is_empty() {
        scrub(value).into_owned()
    } else {
        MARK.to_owned()
    }
}

fn name_or_mark(text: &str) -> String {
    if is_name(text) && !text.contains([' ', '@']) { text.to_owned() } else { MARK.to_owned() }
}

/// The words of a command line, one after the other.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// The flag whose value comes next.
    pending: Option<String>,
}

impl Words {
    /// A word, as it stays.
    pub(super) fn word(&mut self, word: &str) -> String {
        let pending = self.pending.take();
        // A command line in quotes. Where a quote opens in it and does not close, it is a word for itself.
        if word.contains(" -") && !word.starts_with('-') && end_of_word(word) < word.len() {
            return line(word);
        }
        if let Some(flag) = word.strip_prefix('-') {
            return match word.split_once('=') {
                Some((flag, value)) => {
                    format!("{}={}", name_or_mark(flag), quoted(value, |value| value_of_flag(flag, value)))
                }
                None if flag.is_empty() => word.to_owned(),
                None => {
                    self.pending = Some(flag.to_owned());
                    name_or_mark(word)
                }
            };
        }
        if let Some(flag) = pending {
            let kept = value_of_flag(&flag, word);
            if kept != MARK {
                return kept;
            }
        }
        let variable = word.starts_with('$') && word.chars().all(|c| c.is_ascii_alphanumeric() || "${}_".contains(c));
        let program = word.rsplit('/').next().unwrap_or(word);
        let path = is_path(word.trim_start_matches(['-', '@', '+', '!', ':', '~']));
        if word.is_empty() || variable || path || PLAIN.contains(&program) {
            scrub(word).into_owned()
        } else if let Some((name, value)) =
            word.split_once('=').filter(|(name, _)| is_name(name) && !name.contains([' ', '/']))
        {
            format!("{name}={}", super::unit::variable(name, value))
        } else {
            MARK.to_owned()
        }
    }
}

/// Applies a function to what is in quotes.
pub(super) fn quoted(text: &str, f: impl FnOnce(&str) -> String) -> String {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote)) {
            return format!("{quote}{}{quote}", f(inner));
        }
    }
    // What opens and does not close.
    let inner = text.trim_start_matches(['"', '\'']);
    format!("{}{}", &text[..text.len() - inner.len()], f(inner))
}

/// A command line as it stands in a file: blanks and quotes stay where they are.
pub(super) fn line(text: &str) -> String {
    let mut words = Words::default();
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() {
            kept.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (word, behind) = rest.split_at(end_of_word(rest));
        kept += &quoted(word, |word| words.word(word));
        rest = behind;
    }
    kept
}

/// Where the first word ends: at a blank outside quotes, or at the end of the line.
fn end_of_word(text: &str) -> usize {
    let mut quote = None;
    let end = text.char_indices().find(|&(_, c)| {
        match quote {
            Some(open) if c == open => quote = None,
            None if matches!(c, '"' | '\'') => quote = Some(c),
            _ => {}
        }
        (quote.is_none() && c.is_whitespace()) || c == '\n'
    });
    end.map_or(text.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_stay_by_their_names() {
        for (from, to) in [
            ("--token: a=\"b --c   -- d", "--token: a=[redacted]"),
            ("kubelet --config=/etc/k.yaml --token=abc -v 2", "kubelet --config=/etc/k.yaml --token=[redacted] -v 2"),
            (
                "k3s agent --token abc --server https://u:p@h:6443",
                "k3s agent --token [redacted] --server https://h:6443",
            ),
            (
                "/bin/sh -c 'exec etcd --name a --initial-cluster-token t'",
                "/bin/sh -c 'exec etcd --name a --initial-cluster-token [redacted]'",
            ),
            (
                "k3s --kubelet-arg=max-pods=5 --kubelet-arg=odd=s",
                "k3s --kubelet-arg=max-pods=5 --kubelet-arg=odd=[redacted]",
            ),
            ("kubelet $KUBELET_ARGS hunter2 \\\n  --v=4", "kubelet $KUBELET_ARGS [redacted] \\\n  --v=4"),
            ("--etcd-servers=https://a:1,https://u:p@b:1?x=y", "--etcd-servers=https://a:1,https://b:1"),
            ("\"--cluster-domain=c.local\" --x='a b'", "\"--cluster-domain=c.local\" --x='[redacted]'"),
        ] {
            assert_eq!(line(from), to);
            assert_eq!(line(to), to, "again");
        }
    }
}
