//! What components are told of TLS by their flags: that they start with it, and speak nothing weak.
//!
//! What they do speak is for the live claims to say; what they speak when they are told nothing is Go's affair.

use super::*;
use crate::host::hello::Version;
use crate::host::suites::{Weakness, weakness};
use crate::pki::discover::CommandLine;
use crate::pki::told::Told;

const SUITES: &str = "https://pkg.go.dev/crypto/tls#CipherSuites";
const APISERVER: &str = "https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/";

/// A claim about what each component is told.
fn told(id: &str, title: &str, judge: impl Fn(&Told<'_>) -> Vec<String> + Send + Sync + 'static) -> Check {
    let breach = |line: &CommandLine, why: &str| {
        Breach::new(line.component.name(), format!("{}: {}: {why}", line.place, line.component)).at(&line.place, None)
    };
    claim(id, title, Of::Other, "command lines of components that serve", move |view, tally| {
        for line in &view.facts.discovery.commands {
            let Some(told) = Told::of(line) else { continue };
            tally.look();
            judge(&told).iter().for_each(|why| tally.breach(breach(line, why)));
        }
    })
    .label("flag")
    .alias("PKI-L04")
}

/// The suites with such a weakness, each with what it is.
fn suites(told: &Told<'_>, wanted: fn(Weakness) -> Option<&'static str>) -> Vec<String> {
    let weak = told.chosen().into_iter().filter_map(|name| Some((name, weakness(name).and_then(wanted)?)));
    weak.map(|(name, why)| format!("--{} enables {name} ({why})", told.flag)).collect()
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    vec![
        told("pki.flag.tls-refused", "Every component accepts its TLS flags", |told| told.refusals())
            .severity(Severity::Critical)
            .alias("not supported or doesn't exist")
            .alias("unexpected TLS cipher suite")
            .alias("TLSConfig.CipherSuites is missing an HTTP/2-required AES_128_GCM_SHA256 cipher")
            .alias("cipher suites cannot be configured when only TLS1.3 is enabled")
            .page(
                "The component does not start. A space behind a comma is enough, or a suite that OpenSSL has \
                    and Go has not; without a suite of AES_128_GCM there is no HTTP/2; etcd takes no list of \
                    suites beside TLS 1.3 alone, where Kubernetes takes it and ignores it.",
                "Reads --tls-cipher-suites and --tls-min-version of kube-apiserver, kube-controller-manager, \
                    kube-scheduler and the kubelet (tlsCipherSuites, tlsMinVersion), --cipher-suites, \
                    --tls-min-version and --tls-max-version of etcd and of its configuration file, as they do.",
            )
            .basis("kube-apiserver: --tls-cipher-suites, --tls-min-version", APISERVER)
            .basis("etcd: transport security", "https://etcd.io/docs/latest/op-guide/security/")
            .remedy(Remedy::new(
                "Name only suites that Go knows, separated by commas alone, \
                TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 or TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 among them; or \
                leave the flag out.",
            )),
        told("pki.flag.tls-version", "No component allows TLS before 1.2", |told| {
            let old = told.oldest().filter(|version| *version < Version::Tls12);
            old.map(|version| format!("--tls-min-version allows {version}")).into_iter().collect()
        })
        .alias("PKI-L03")
        .alias("tls-min-version")
        .page(
            "TLS 1.0 and TLS 1.1 have known attacks, and no client of Kubernetes needs them. It is off by \
                default, so that somebody has turned it on.",
            "Reads --tls-min-version, or tlsMinVersion of the kubelet's configuration.",
        )
        .basis("RFC 8996: deprecating TLS 1.0 and TLS 1.1", "https://www.rfc-editor.org/rfc/rfc8996")
        .remedy(Remedy::new("Leave the flag out, or set --tls-min-version=VersionTLS12.")),
        told("pki.flag.tls-broken-suite", "No component enables a broken cipher suite", |told| {
            suites(told, |weakness| match weakness {
                Weakness::Broken(why) => Some(why),
                _ => None,
            })
        })
        .page(
            "An attacker on the network can decrypt the traffic.",
            "Looks at each suite of the list, where it \
            counts: with --tls-min-version=VersionTLS13 none does.",
        )
        .basis("RFC 9325: recommendations for secure use of TLS, section 4.1", "https://www.rfc-editor.org/rfc/rfc9325")
        .remedy(Remedy::new("Remove the cipher suite from the list.")),
        told("pki.flag.tls-weak-suite", "No component enables a weak cipher suite", |told| {
            suites(told, |weakness| match weakness {
                Weakness::Weak(why) => Some(why),
                _ => None,
            })
        })
        .severity(Severity::Low)
        .alias("CIS 1.2.29")
        .alias("CIS 4.2.12")
        .page(
            "RSA key exchange and 3DES are off in Go since 1.22 and 1.23; a list that names them turns them on \
                again. Talos and the list of the CIS Benchmark itself name TLS_RSA_WITH_AES_128_GCM_SHA256 and \
                its like; suites with CBC, which Go has on, are not counted here.",
            "Looks at each suite of the list, where it counts: with --tls-min-version=VersionTLS13 none does.",
        )
        .basis("Go: GODEBUG tlsrsakex and tls3des", "https://go.dev/doc/godebug")
        .remedy(Remedy::new("Remove the cipher suite from the list.")),
        told("pki.flag.tls-without-effect", "All TLS flags have an effect", |told| {
            let why = told.without_effect().filter(|_| told.refusals().is_empty());
            why.map(|why| format!("{why} has no effect: the suites of TLS 1.3 cannot be chosen")).into_iter().collect()
        })
        .severity(Severity::Info)
        .page(
            "Go takes all its suites of TLS 1.3 whatever a list says, and with TLS 1.3 alone no list counts. \
                Nothing is weak for that; but who reads the flag believes something else. The list of the CIS \
                Benchmark names them, too.",
            "Looks for the suites of TLS 1.3 in lists, and for lists beside --tls-min-version=VersionTLS13.",
        )
        .basis("Go: crypto/tls, Config.CipherSuites", SUITES)
        .remedy(Remedy::new("Remove them from the list; Go uses them in any case.")),
    ]
}
