//! Claims about what servers would speak: versions, cipher suites, signatures, key exchange.

use super::{Endpoint, Facts, Origin, checks_of, claim};
use crate::check::{Remedy, Severity};
use crate::conclusion::Breach;
use crate::host::hello::Version;
use crate::host::suites::{SHA1_SCHEMES, Weakness, X25519MLKEM768, group_name, weakness};
use crate::host::{Survey, Welcome};
use crate::pki::discover::Role;
use crate::pki::live::Server;
use crate::pki::tally::Tally;
use crate::pki::told::Told;
use crate::pki::{Check, View};

const GO_TLS: &str = "https://pkg.go.dev/crypto/tls";
const CIS: &str = "https://www.cisecurity.org/benchmark/kubernetes";
const GODEBUG: &str = "https://go.dev/doc/godebug";
const SECURING: &str = "https://kubernetes.io/docs/tasks/administer-cluster/securing-a-cluster/";

/// What a server accepts, if it speaks TLS at all.
fn survey<'e>(endpoint: &'e Endpoint, tally: &mut Tally) -> Option<&'e Survey> {
    let survey = endpoint.need(&endpoint.survey, tally)?;
    match &survey.cut {
        _ if survey.plain.is_some() => None,
        Some(why) if survey.suites.is_empty() => {
            tally.unknown(format!("{}: {why}", endpoint.title()));
            None
        }
        _ => Some(survey),
    }
}

/// Goes through what every server accepts that speaks TLS at all.
fn surveys(facts: &Facts, tally: &mut Tally, mut judge: impl FnMut(&Endpoint, &Survey, &mut Tally)) {
    for endpoint in &facts.endpoints {
        if let Some(survey) = survey(endpoint, tally) {
            tally.look();
            judge(endpoint, survey, tally);
        }
    }
}

/// Servers of this node that speak what their flags rule out. Versions before TLS 1.2 are nobody's to speak, and said
/// by themselves.
fn ruled_out(view: &View<'_>, tally: &mut Tally) {
    for endpoint in view.facts.live.endpoints.iter().filter(|endpoint| endpoint.origin == Origin::Node) {
        let Some(component) = endpoint.server.serving().map(Role::holder) else { continue };
        let lines = view.facts.discovery.commands.iter().filter(|line| line.component == component);
        let told: Vec<_> = lines.filter_map(|line| Some((line, Told::of(line)?))).collect();
        let mut told = told.into_iter().filter(|(_, told)| told.is_anything() && told.refusals().is_empty());
        // Of several processes it is not known which one listens here.
        let (Some((line, told)), None) = (told.next(), told.next()) else { continue };
        let Some(survey) = survey(endpoint, tally) else { continue };
        tally.look();
        let chosen = told.chosen();
        let mut found = Vec::new();
        for (&version, suites) in survey.suites.iter().filter(|(version, _)| **version >= Version::Tls12) {
            let old = told.oldest().is_some_and(|oldest| version < oldest);
            if old || told.newest().is_some_and(|newest| version > newest) {
                found.push(version.to_string());
            } else if version < Version::Tls13 && !chosen.is_empty() {
                found.extend(suites.iter().filter(|suite| !chosen.contains(&suite.as_str())).cloned());
            }
        }
        if !found.is_empty() {
            let title = endpoint.title();
            let message = format!(
                "{title} speaks what {} rules out: it was not started again since, or something else listens there",
                line.place
            );
            tally.breach(Breach::new(&title, message).found(found.join(", ")).at(&line.place, None));
        }
    }
}

/// The suites with such a weakness, each with the versions that it is accepted in.
fn suites(survey: &Survey, wanted: impl Fn(Weakness) -> Option<&'static str>) -> Vec<String> {
    let mut found = Vec::new();
    for (version, suites) in &survey.suites {
        for suite in suites {
            if let Some(why) = weakness(suite).and_then(&wanted) {
                found.push(format!("{suite} in {version} ({why})"));
            }
        }
    }
    found
}

fn judge_suites(facts: &Facts, tally: &mut Tally, what: &str, wanted: impl Fn(Weakness) -> Option<&'static str>) {
    surveys(facts, tally, |endpoint, survey, tally| {
        let found = suites(survey, &wanted);
        if !found.is_empty() {
            let message = format!("{} accepts {what}: {}", endpoint.title(), found[0]);
            tally.breach(Breach::new(endpoint.title(), message).found(found.join(", ")));
        }
    });
}

fn old_versions(facts: &Facts, tally: &mut Tally) {
    surveys(facts, tally, |endpoint, survey, tally| {
        let old: Vec<_> =
            survey.suites.keys().filter(|version| **version < Version::Tls12).map(ToString::to_string).collect();
        if !old.is_empty() {
            let breach = Breach::new(endpoint.title(), format!("{} accepts {}", endpoint.title(), old.join(", ")));
            tally.breach(breach.found(old.join(", ")).wanted("TLS 1.2 and 1.3 only"));
        }
    });
}

fn tls13(facts: &Facts, tally: &mut Tally) {
    surveys(facts, tally, |endpoint, survey, tally| {
        if !survey.accepts(Version::Tls13) {
            let newest = survey.suites.keys().max().map(ToString::to_string).unwrap_or_default();
            let breach = Breach::new(endpoint.title(), format!("{} does not speak TLS 1.3", endpoint.title()));
            tally.breach(breach.found(format!("at most {newest}")).wanted("TLS 1.3"));
        }
    });
}

fn sha1(facts: &Facts, tally: &mut Tally) {
    surveys(facts, tally, |endpoint, survey, tally| {
        let title = endpoint.title();
        if survey.only_sha1 {
            let message = format!(
                "{title} signs its handshakes with nothing but SHA-1: clients built with Go 1.25 or later refuse it"
            );
            tally.breach(Breach::new(&title, message).wanted("SHA-256 or better"));
        }
        let request = endpoint.presented.known().and_then(|presented| presented.request.as_ref());
        // TLS 1.1 and older have no schemes to offer.
        let schemes = request.map(|request| request.schemes.as_slice()).unwrap_or_default();
        if !schemes.is_empty() && schemes.iter().all(|scheme| SHA1_SCHEMES.contains(scheme)) {
            let message = format!(
                "{title} takes no client signature but by SHA-1: clients built with Go 1.25 or later cannot sign so"
            );
            tally.breach(Breach::new(&title, message).wanted("SHA-256 or better"));
        }
    });
}

fn post_quantum(facts: &Facts, tally: &mut Tally) {
    surveys(facts, tally, |endpoint, survey, tally| {
        if survey.groups.is_empty() && survey.accepts(Version::Tls13) {
            tally.unknown(format!("{} speaks TLS 1.3 and did not say by which key exchange", endpoint.title()));
        } else if !survey.groups.contains(&group_name(X25519MLKEM768)) {
            let message = format!("{} has no key exchange that withstands quantum computers", endpoint.title());
            let found = if survey.groups.is_empty() { "none of TLS 1.3".to_owned() } else { survey.groups.join(", ") };
            tally.breach(Breach::new(endpoint.title(), message).found(found).wanted("X25519MLKEM768"));
        }
    });
}

fn plain_http(facts: &Facts, tally: &mut Tally) {
    for endpoint in &facts.endpoints {
        let Some(survey) = endpoint.need(&endpoint.survey, tally) else { continue };
        tally.look();
        if let Some(line) = &survey.plain {
            let message =
                format!("{} speaks HTTP without TLS: anyone on the way reads and writes along", endpoint.title());
            tally.breach(Breach::new(endpoint.title(), message).found(line).wanted("TLS"));
        }
    }
}

fn anonymous(facts: &Facts, tally: &mut Tally) {
    for endpoint in facts.endpoints.iter().filter(|endpoint| endpoint.server.private_path().is_some()) {
        let path = endpoint.server.private_path().unwrap_or_default();
        let Some(welcome) = endpoint.need(&endpoint.welcome, tally) else { continue };
        tally.look();
        if let Welcome::Status(status @ 200..=299) = welcome {
            let message = format!("{} answers anyone: GET {path} without a certificate and a token", endpoint.title());
            tally.breach(
                Breach::new(endpoint.title(), message).found(status.to_string()).wanted("401, 403, or no connection"),
            );
        }
    }
}

/// Self-signed servers of the control plane and of nodes, where others than the node itself can reach them.
fn exposed(facts: &Facts, tally: &mut Tally) {
    let meant = [Server::Kubelet, Server::Etcd, Server::EtcdPeer, Server::ControllerManager, Server::Scheduler];
    for endpoint in facts.endpoints.iter().filter(|endpoint| meant.contains(&endpoint.server)) {
        let Some(leaf) = endpoint.leaf(tally) else { continue };
        tally.look();
        let reachable = endpoint.everywhere || !endpoint.address.ip().is_loopback();
        if reachable && super::identity::is_made_at_start(leaf) {
            let title = endpoint.title();
            let message = format!(
                "{title} can be reached from elsewhere and serves a certificate that it made itself: nobody can verify \
                 it"
            );
            tally.breach(
                Breach::new(&title, message)
                    .found(leaf.subject.to_string())
                    .wanted("a certificate by a CA, or the loopback address only"),
            );
        }
    }
}

/// The claims about what servers would speak.
pub(super) fn checks() -> Vec<Check> {
    let flags = |text: &str| Remedy::new(text);
    vec![
        checks_of("pki.live.version", "no server accepts a version of TLS before 1.2", |facts, _, tally| {
            old_versions(facts, tally)
        })
        .alias("PKI-L03")
        .alias("tls-min-version")
        .page(
            "SSL 3.0, TLS 1.0 and TLS 1.1 have known attacks, and no client of Kubernetes needs them.",
            "Offers each version alone in a ClientHello and looks whether the server takes it.",
        )
        .basis("RFC 8996: deprecating TLS 1.0 and TLS 1.1", "https://www.rfc-editor.org/rfc/rfc8996")
        .remedy(flags(
            "Set --tls-min-version=VersionTLS12 (kubelet: tlsMinVersion), or leave it out: it is the default.",
        )),
        checks_of("pki.live.tls13", "every server speaks TLS 1.3", |facts, _, tally| tls13(facts, tally))
            .severity(Severity::Info)
            .alias("PKI-L03")
            .page(
                "TLS 1.2 hides neither certificates nor the names of clients. etcd before 3.6 speaks no later one.",
                "Offers TLS 1.3 alone in a ClientHello and looks whether the server takes it.",
            )
            .basis("Go: crypto/tls, Config.MaxVersion", GO_TLS)
            .remedy(flags("Update the component; of etcd remove --tls-max-version.")),
        checks_of("pki.live.broken-suite", "no server accepts a cipher suite that is broken", |facts, _, tally| {
            judge_suites(facts, tally, "a broken cipher suite", |weakness| match weakness {
                Weakness::Broken(why) => Some(why),
                _ => None,
            });
        })
        .alias("PKI-L04")
        .page(
            "With NULL, EXPORT, RC4, DES or anonymous suites whoever is on the way reads along, and writes.",
            "Offers all suites, leaves out what the server picks, and so on until it picks none.",
        )
        .basis("RFC 9325: recommendations for secure use of TLS, section 4.1", "https://www.rfc-editor.org/rfc/rfc9325")
        .remedy(flags("Remove them from --tls-cipher-suites (kubelet: tlsCipherSuites; etcd: --cipher-suites).")),
        checks_of("pki.live.weak-suite", "no server accepts a weak cipher suite", |facts, _, tally| {
            judge_suites(facts, tally, "a weak cipher suite", |weakness| match weakness {
                Weakness::Weak(why) => Some(why),
                _ => None,
            });
        })
        .severity(Severity::Medium)
        .alias("PKI-L04")
        .alias("1.2.29")
        .alias("4.2.12")
        .page(
            "A session by RSA key exchange is read by whoever gets the server's key later; 3DES leaks what is sent for \
             long. Go has left both out by default since 1.22 and 1.23.",
            "Offers all suites, leaves out what the server picks, and so on until it picks none.",
        )
        .basis("Go: GODEBUG tlsrsakex and tls3des", GODEBUG)
        .basis("CIS Kubernetes Benchmark 1.2.29, 4.2.12", CIS)
        .remedy(flags("Remove them from --tls-cipher-suites (kubelet: tlsCipherSuites; etcd: --cipher-suites).")),
        checks_of("pki.live.cbc-suite", "no server accepts a cipher suite with CBC", |facts, _, tally| {
            judge_suites(facts, tally, "a cipher suite with CBC", |weakness| match weakness {
                Weakness::Cbc => Some("CBC"),
                _ => None,
            });
        })
        .severity(Severity::Info)
        .alias("PKI-L04")
        .page(
            "CBC in TLS has been attacked again and again (Lucky Thirteen). Go's defaults still have it for old \
             clients; scanners report it.",
            "Offers all suites, leaves out what the server picks, and so on until it picks none.",
        )
        .basis("RFC 9325: recommendations for secure use of TLS, section 4.2", "https://www.rfc-editor.org/rfc/rfc9325")
        .remedy(flags(
            "Name only suites with GCM and CHACHA20 in --tls-cipher-suites; those of TLS 1.3 cannot be chosen.",
        )),
        claim("pki.live.ruled-out", "no server of the node speaks what its flags rule out", ruled_out)
            .alias("PKI-L04")
            .alias("PKI-L03")
            .alias("tls-cipher-suites")
            .page(
                "Who has set --tls-cipher-suites or --tls-min-version believes that it is so. The process may be older \
                 than its manifest, or be told by another file; or it is another one that has the port.",
                "Compares the versions from TLS 1.2 on and the cipher suites of TLS 1.2 that a server of this node \
                 accepts with the flags of its component, or the configuration that stands for them. What is told \
                 nothing is not judged, nor a component that two command lines are known of; versions before TLS 1.2 \
                 are for pki.live.version.",
            )
            .basis(
                "kube-apiserver: --tls-cipher-suites, --tls-min-version",
                "https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/",
            )
            .remedy(flags(
                "Start the component again: move its manifest away and back. If that does not help, see what listens \
                 on the port (ss -ltnp).",
            )),
        checks_of("pki.live.sha1", "no server insists on signatures with SHA-1", |facts, _, tally| sha1(facts, tally))
            .alias("PKI-L08")
            .alias("tlssha1")
            .page(
                "Go refuses SHA-1 in the handshake of TLS 1.2 since 1.25: clients of a newer Kubernetes cannot \
                 connect.",
                "Offers TLS 1.2 once with SHA-1 alone and once without it; reads the schemes of the \
                 CertificateRequest.",
            )
            .basis("Go: GODEBUG tlssha1", GODEBUG)
            .remedy(flags("Update the server, or the TLS library that it is built with.")),
        checks_of(
            "pki.live.post-quantum",
            "every server has a key exchange for after quantum computers",
            |facts, _, tally| post_quantum(facts, tally),
        )
        .severity(Severity::Info)
        .alias("PKI-L09")
        .alias("X25519MLKEM768")
        .page(
            "What is recorded today can be read when there are quantum computers. Go offers X25519MLKEM768 since 1.24.",
            "Offers the groups of TLS 1.3 without a key share and looks which ones the server asks for.",
        )
        .basis("Go 1.24 release notes: crypto/tls", "https://go.dev/doc/go1.24")
        .remedy(flags("Update the component to one that is built with Go 1.24 or later.")),
        checks_of("pki.live.plain-http", "no server speaks HTTP without TLS", |facts, _, tally| {
            plain_http(facts, tally)
        })
        .severity(Severity::Critical)
        .alias("PKI-L06")
        .alias("insecure-port")
        .page(
            "Tokens, Secrets and commands go over the network for anyone to read and change.",
            "Sends a ClientHello and looks whether the answer is HTTP.",
        )
        .basis("Securing a cluster: use TLS for all API traffic", SECURING)
        .remedy(flags(
            "Give the server a certificate: etcd needs https:// in --listen-client-urls and --listen-peer-urls.",
        )),
        checks_of("pki.live.anonymous", "no server answers private questions of anyone", |facts, _, tally| {
            anonymous(facts, tally)
        })
        .severity(Severity::Critical)
        .alias("PKI-L06")
        .alias("anonymous-auth")
        .alias("client-cert-auth")
        .page(
            "etcd without client certificates gives every Secret of the cluster to anyone; a kubelet with anonymous \
             access runs commands in every pod of its node.",
            "Asks without a certificate and a token: kubelet /pods, etcd /version, controller manager and scheduler \
             /metrics.",
        )
        .basis("CIS Kubernetes Benchmark 2.2, 4.2.1", CIS)
        .remedy(flags(
            "etcd: --client-cert-auth=true with --trusted-ca-file; kubelet: authentication.anonymous.enabled: false, \
             authorization.mode: Webhook.",
        )),
        checks_of(
            "pki.live.exposed",
            "no server with a certificate of its own making is reachable from elsewhere",
            |facts, _, tally| exposed(facts, tally),
        )
        .severity(Severity::Medium)
        .alias("PKI-L07")
        .alias("kubelet-insecure-tls")
        .page(
            "Who connects to it cannot verify it, so that anyone between the two can be it: metrics-server then wants \
             --kubelet-insecure-tls.",
            "Looks which of the node's addresses it listens on, and whether its certificate is one that Kubernetes \
             makes when a component starts without one.",
        )
        .basis("CIS Kubernetes Benchmark 1.3.7, 1.4.2", CIS)
        .basis(
            "TLS bootstrapping: kubelet serving certificates",
            "https://kubernetes.io/docs/reference/access-authn-authz/kubelet-tls-bootstrapping/",
        )
        .remedy(flags(
            "kubelet: serverTLSBootstrap: true, and approve its requests; controller manager and scheduler: \
             --bind-address=127.0.0.1.",
        )),
    ]
}
