//! What components are told of TLS: what they refuse, what is weak, what has no effect.

use super::files::{APISERVER, ETCD, MANAGER, by_file, flag};
use super::{Row, row};
use crate::tree::Tree;

const SCHEDULER: &str = "etc/kubernetes/manifests/kube-scheduler.yaml";

/// A cipher suite that HTTP/2 needs.
const GOOD: &str = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";

fn kubelet(tree: &Tree, member: &str) {
    tree.replace("var/lib/kubelet/config.yaml", "rotateCertificates:", &format!("{member}\nrotateCertificates:"));
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("a list of suites with a space in it", &["pki.flag.tls-refused"], |tree| {
            flag(tree, APISERVER, &format!("tls-cipher-suites={GOOD}, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"));
        }),
        row("a suite that Go has not", &["pki.flag.tls-refused"], |tree| {
            flag(tree, SCHEDULER, &format!("tls-cipher-suites={GOOD},TLS_DHE_RSA_WITH_AES_128_GCM_SHA256"));
        }),
        row("a list of suites without those of HTTP/2", &["pki.flag.tls-refused"], |tree| {
            flag(tree, MANAGER, "tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384");
        }),
        row("a version that nobody knows", &["pki.flag.tls-refused"], |tree| {
            flag(tree, APISERVER, "tls-min-version=TLS1.2");
        }),
        row("the kubelet is told nothing but suites of TLS 1.3", &["pki.flag.tls-refused"], |tree| {
            kubelet(tree, "tlsCipherSuites: [TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384]");
        }),
        row("etcd takes no suites with TLS 1.3 alone", &["pki.flag.tls-refused"], |tree| {
            flag(tree, ETCD, "tls-min-version=TLS1.3");
            flag(tree, ETCD, &format!("cipher-suites={GOOD}"));
        }),
        row("etcd's newest version is older than its oldest", &["pki.flag.tls-refused"], |tree| {
            by_file(tree, |config| config + "tls-min-version: TLS1.3\ntls-max-version: TLS1.2\n");
        }),
        row("the API server speaks TLS 1.0", &["pki.flag.tls-version"], |tree| {
            flag(tree, APISERVER, "tls-min-version=VersionTLS10");
        }),
        row("the kubelet speaks TLS 1.1", &["pki.flag.tls-version"], |tree| {
            kubelet(tree, "tlsMinVersion: VersionTLS11");
        }),
        row("the API server speaks RC4", &["pki.flag.tls-broken-suite"], |tree| {
            flag(tree, APISERVER, &format!("tls-cipher-suites={GOOD}"));
            flag(tree, APISERVER, "tls-cipher-suites=TLS_RSA_WITH_RC4_128_SHA");
        }),
        row("etcd's configuration file has 3DES", &["pki.flag.tls-weak-suite"], |tree| {
            by_file(tree, |config| config + &format!("cipher-suites:\n- {GOOD}\n- TLS_RSA_WITH_3DES_EDE_CBC_SHA\n"));
        }),
        row(
            "the kubelet has RSA key exchange, as Talos's API server and the CIS Benchmark have",
            &["pki.flag.tls-weak-suite"],
            |tree| {
                kubelet(tree, &format!("tlsCipherSuites: [{GOOD}, TLS_RSA_WITH_AES_128_GCM_SHA256]"));
            },
        ),
        row("suites of TLS 1.3 in a list", &["pki.flag.tls-without-effect"], |tree| {
            flag(tree, APISERVER, &format!("tls-cipher-suites=TLS_AES_128_GCM_SHA256,{GOOD}"));
        }),
        row("a list of suites beside TLS 1.3, weak ones, too", &["pki.flag.tls-without-effect"], |tree| {
            flag(tree, APISERVER, "tls-min-version=VersionTLS13");
            flag(tree, APISERVER, "tls-cipher-suites=TLS_RSA_WITH_RC4_128_SHA");
        }),
    ]
}
