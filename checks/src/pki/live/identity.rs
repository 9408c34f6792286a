//! Claims about the certificates that servers present: whose they are, for how long, for which names, and by which CA.

use jiff::{SignedDuration, Timestamp};

use super::{Endpoint, Facts, IN_CLUSTER, LOOPBACK, Origin, Presented, Server, checks_of, claim};
use crate::check::{Remedy, Severity};
use crate::conclusion::Breach;
use crate::fact::Fact;
use crate::pki::discover::Role;
use crate::pki::tally::Tally;
use crate::pki::x509::Certificate;
use crate::pki::{Check, View, trust};
use crate::profile::{Lifetimes, Profile};

const KUBEADM: &str = "https://kubernetes.io/docs/tasks/administer-cluster/kubeadm/kubeadm-certs/";
const CERTIFICATES: &str = "https://kubernetes.io/docs/setup/best-practices/certificates/";
const LOOPBACK_ISSUE: &str = "https://github.com/kubernetes/kubernetes/issues/86552";

pub(crate) fn day(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}

/// When a certificate was made that a component makes for itself when it starts: client-go's
/// `GenerateSelfSignedCertKey` names it `<host>@<unix time>`, by `<host>-ca@<unix time>`, and makes a key in between,
/// which takes time. `None` for any other.
pub(crate) fn made_at(certificate: &Certificate) -> Option<Timestamp> {
    let (host, time) = certificate.subject.common_name()?.rsplit_once('@')?;
    let (issuer, issued) = certificate.issuer.common_name()?.rsplit_once('@')?;
    let (made, issued): (i64, i64) = (time.parse().ok()?, issued.parse().ok()?);
    let at_once = (0..=BETWEEN).contains(&made.checked_sub(issued)?);
    (at_once && issuer.strip_suffix("-ca") == Some(host)).then(|| Timestamp::from_second(made).ok()).flatten()
}

/// The most seconds between a CA that is made on the spot and the certificate by it: a key of RSA, on a machine that is
/// busy.
const BETWEEN: i64 = 60;

/// Did the component make it for itself, so that nobody else can verify it?
pub(super) fn is_made_at_start(certificate: &Certificate) -> bool {
    made_at(certificate).is_some() || certificate.is_self_issued()
}

/// Is a certificate for this name or address?
pub(crate) fn covers(certificate: &Certificate, host: &str) -> bool {
    let Some(names) = &certificate.extensions.subject_alt_names else { return false };
    host.parse().map_or_else(|_| matches(&names.dns, host), |address| names.ips.contains(&address))
}

/// Is one of these names that of a host? As Go compares: without case, a star for the first label.
pub(crate) fn matches(names: &[String], host: &str) -> bool {
    let host = host.trim_end_matches('.');
    names.iter().any(|name| match name.strip_prefix("*.") {
        Some(parent) => {
            host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent))
        }
        None => name.eq_ignore_ascii_case(host),
    })
}

/// What a certificate is for, in words.
pub(crate) fn names(certificate: &Certificate) -> String {
    let Some(names) = &certificate.extensions.subject_alt_names else { return "no names".to_owned() };
    let all: Vec<_> = names.dns.iter().cloned().chain(names.ips.iter().map(ToString::to_string)).collect();
    if all.is_empty() { "no names".to_owned() } else { all.join(", ") }
}

fn answers(facts: &Facts, tally: &mut Tally) {
    for (target, why) in &facts.unresolved {
        tally.look();
        let subject = format!("{} {}:{}", target.server, target.host, target.port);
        tally.breach(Breach::new(&subject, format!("{} has no address: {why}", target.host)));
    }
    for endpoint in &facts.endpoints {
        tally.look();
        match (&endpoint.presented, endpoint.origin) {
            (Fact::Known(_), _) => {}
            // A node's own servers were seen to listen; what only the API leads to may be out of reach from here.
            (Fact::Absent(why) | Fact::Unreadable(why), Origin::User | Origin::Node) => {
                tally.breach(Breach::new(endpoint.title(), format!("{} does not answer: {why}", endpoint.title())));
            }
            (Fact::Absent(why) | Fact::Unreadable(why) | Fact::Malformed(why) | Fact::NotGathered(why), _) => {
                tally.unknown(why);
            }
        }
    }
}

/// Every certificate that a server presents, to whatever name, once.
fn presented(endpoint: &Endpoint) -> Vec<(String, &Presented)> {
    let title = endpoint.title();
    let mut all: Vec<(String, &Presented)> =
        endpoint.presented.known().map(|one| (title.clone(), one)).into_iter().collect();
    for (name, presented) in &endpoint.named {
        if let Some(presented) = presented.known() {
            let known = |leaf: &Certificate| {
                all.iter().any(|(_, one)| one.leaf().is_some_and(|other| other.fingerprint == leaf.fingerprint))
            };
            if presented.leaf().is_some_and(|leaf| !known(leaf)) {
                all.push((format!("{title} for {name}"), presented));
            }
        }
    }
    all
}

fn valid(facts: &Facts, profile: &Profile, tally: &mut Tally) {
    let now = profile.now;
    for endpoint in &facts.endpoints {
        endpoint.leaf(tally);
        for (title, presented) in presented(endpoint) {
            tally.look();
            let skew = SignedDuration::from_mins(5);
            for certificate in &presented.chain {
                let subject = &certificate.subject;
                if certificate.not_after < now {
                    let message = format!("{title} serves a certificate of {subject} that has expired");
                    tally
                        .breach(Breach::new(&title, message).found(day(certificate.not_after)).wanted("a day to come"));
                } else if certificate.not_before > now + skew {
                    let message =
                        format!("{title} serves a certificate of {subject} that is not valid yet: is a clock wrong?");
                    tally.breach(Breach::new(&title, message).found(day(certificate.not_before)));
                }
            }
        }
    }
}

fn lasts(facts: &Facts, profile: &Profile, tally: &mut Tally) {
    let Profile { lifetimes, now, .. } = profile;
    for endpoint in &facts.endpoints {
        endpoint.leaf(tally);
        for (title, presented) in presented(endpoint) {
            let Some(leaf) = presented.leaf().filter(|leaf| made_at(leaf).is_none()) else { continue };
            tally.look();
            if lifetimes.is_due(leaf.not_before, leaf.not_after, *now) {
                let left = leaf.not_after.duration_since(*now);
                let message = format!("{title} serves a certificate that expires in {} days", left.as_hours() / 24);
                let spare = lifetimes.spare(leaf.not_after.duration_since(leaf.not_before));
                let wanted = format!("more than {} days", spare.as_hours() / 24);
                tally.breach(Breach::new(&title, message).found(day(leaf.not_after)).wanted(wanted));
            }
        }
    }
}

/// The certificate that the API server shows to itself.
fn loopback(facts: &Facts, profile: &Profile, tally: &mut Tally) {
    let limit = profile.lifetimes.restart_warn;
    for endpoint in facts.of(Server::Apiserver) {
        let Some(fact) = endpoint.named.get(LOOPBACK) else { continue };
        let Some(presented) = endpoint.need(fact, tally) else { continue };
        // A balancer that ends TLS, and other servers, do not have one: they serve to all names alike.
        let Some(leaf) = presented.leaf().filter(|leaf| covers(leaf, LOOPBACK)) else { continue };
        tally.look();
        let left = leaf.not_after.duration_since(profile.now);
        if left < Lifetimes::days(limit) {
            let title = endpoint.title();
            let state = if left.is_negative() {
                "has expired".to_owned()
            } else {
                format!("expires in {} days", left.as_hours() / 24)
            };
            let message = format!(
                "the certificate that {title} shows to itself {state}: the process needs a restart, nothing else \
                 renews it"
            );
            let made = made_at(leaf).map_or_else(|| day(leaf.not_before), day);
            tally.breach(
                Breach::new(&title, message)
                    .found(format!("{}, made {made}", day(leaf.not_after)))
                    .wanted(format!("more than {limit} days")),
            );
        }
    }
}

/// Certificates of the controller manager and the scheduler that they made when they started.
fn in_memory(facts: &Facts, profile: &Profile, tally: &mut Tally) {
    let limit = profile.lifetimes.restart_warn;
    for endpoint in facts.endpoints.iter().filter(|one| one.server != Server::Apiserver) {
        let Some(leaf) = endpoint.leaf(tally) else { continue };
        let Some(made) = made_at(leaf) else { continue };
        tally.look();
        let left = leaf.not_after.duration_since(profile.now);
        if left < Lifetimes::days(limit) {
            let title = endpoint.title();
            let message = format!(
                "{title} started on {} and serves the certificate that it made then: it is over on {}, and only a \
                 restart makes another",
                day(made),
                day(leaf.not_after)
            );
            tally.breach(
                Breach::new(&title, message).found(day(leaf.not_after)).wanted(format!("more than {limit} days")),
            );
        }
    }
}

/// Is the certificate for the name by which the server is called?
fn named(facts: &Facts, tally: &mut Tally) {
    for endpoint in &facts.endpoints {
        let Some(host) = &endpoint.host else { continue };
        let fact = endpoint.named.get(host).unwrap_or(&endpoint.presented);
        let Some(presented) = endpoint.need(fact, tally) else { continue };
        // What a component made for itself is verified by nobody, whatever names are in it.
        let Some(leaf) = presented.leaf().filter(|leaf| made_at(leaf).is_none()) else { continue };
        tally.look();
        if !covers(leaf, host) {
            let message = format!("{} is called {host}, and its certificate is not for that name", endpoint.title());
            tally.breach(Breach::new(endpoint.title(), message).found(names(leaf)).wanted(host));
        }
    }
}

/// Does the API server serve to `kubernetes.default.svc` what it serves to all?
fn alike(facts: &Facts, tally: &mut Tally) {
    for endpoint in facts.of(Server::Apiserver) {
        let Some(leaf) = endpoint.leaf(tally) else { continue };
        let Some(other) = endpoint.named.get(IN_CLUSTER).and_then(Fact::known).and_then(Presented::leaf) else {
            continue;
        };
        tally.look();
        if leaf.fingerprint != other.fingerprint && leaf.issuer.der != other.issuer.der {
            let message = format!(
                "{} serves pods, who call it {IN_CLUSTER}, a certificate of another CA than to those who call it by \
                 address",
                endpoint.title()
            );
            tally.breach(
                Breach::new(endpoint.title(), message).found(other.issuer.to_string()).wanted(leaf.issuer.to_string()),
            );
        }
    }
}

/// Does a server send a root whose file no other claim is about?
fn roots(view: &View<'_>, tally: &mut Tally) {
    let known = |leaf: &Certificate| view.facts.presents(leaf);
    for endpoint in &view.facts.live.endpoints {
        let Some(leaf) = endpoint.leaf(tally).filter(|leaf| !known(leaf) && made_at(leaf).is_none()) else { continue };
        tally.look();
        let mut behind = endpoint.presented.known().map(|presented| &presented.chain[1..]).unwrap_or_default().iter();
        if let Some(root) = behind.find(|one| view.facts.signatures.is_root(one)) {
            let title = endpoint.title();
            let message = format!("{title} presents the root {} behind {}", root.subject, leaf.subject);
            tally.breach(Breach::new(&title, message).found(root.subject.to_string()).wanted("no root"));
        }
    }
}

/// Do all servers of a kind have certificates by one CA?
fn one_issuer(facts: &Facts, tally: &mut Tally) {
    for server in [Server::Apiserver, Server::Etcd, Server::EtcdPeer] {
        let all: Vec<_> =
            facts.of(server).filter_map(|endpoint| Some((endpoint, endpoint.presented.known()?.leaf()?))).collect();
        let Some((first, expected)) = all.first() else { continue };
        for (endpoint, leaf) in &all {
            tally.look();
            let key = |certificate: &Certificate| {
                certificate.extensions.authority_key_id.as_ref().and_then(|id| id.key_id.clone())
            };
            let same_key = match (key(leaf), key(expected)) {
                (Some(one), Some(other)) => one == other,
                _ => true,
            };
            if leaf.issuer.der != expected.issuer.der || !same_key {
                let message =
                    format!("{} has its certificate from another CA than {}", endpoint.title(), first.title());
                tally.breach(Breach::new(endpoint.title(), message).found(issuer(leaf)).wanted(issuer(expected)));
            }
        }
    }
}

/// Servers of this node whose certificate is in a file, with the role of that file.
fn with_files<'a>(view: &View<'a>) -> impl Iterator<Item = (&'a Endpoint, Role)> {
    let of_node = view.facts.live.endpoints.iter().filter(|endpoint| endpoint.origin == Origin::Node);
    of_node.filter_map(|endpoint| Some((endpoint, endpoint.server.serving()?)))
}

/// Does a server serve what is in its file?
fn served_is_file(view: &View<'_>, tally: &mut Tally) {
    for (endpoint, role) in with_files(view) {
        let files: Vec<_> = view.facts.of_role(role).collect();
        let Some(leaf) = endpoint.leaf(tally).filter(|_| !files.is_empty()) else { continue };
        tally.look();
        if !files.iter().any(|one| one.leaf().fingerprint == leaf.fingerprint) {
            let title = endpoint.title();
            let file = &files[0];
            let message = format!(
                "{title} does not serve the certificate in {}: the process was not restarted since the file was \
                 replaced",
                file.file
            );
            let of = |certificate: &Certificate| {
                format!("SHA-256 {}, valid until {}", certificate.fingerprint, day(certificate.not_after))
            };
            tally.breach(
                Breach::new(&title, message).found(of(leaf)).wanted(of(file.leaf())).at(&file.file, file.line()),
            );
        }
    }
}

/// Does what a server presents lead to the CA by which its clients on this node verify it?
fn trusted(view: &View<'_>, tally: &mut Tally) {
    for (endpoint, role) in with_files(view) {
        let Some(bundle) = view.facts.verifier(role) else { continue };
        if endpoint.leaf(tally).is_none() {
            continue;
        }
        let Some(presented) = endpoint.presented.known() else { continue };
        tally.look();
        let roots: Vec<_> = bundle.certificates.iter().map(|held| held.certificate.clone()).collect();
        if let Err(why) = trust::verify(&presented.chain, &roots, view) {
            let title = endpoint.title();
            let message = format!("what {title} presents is not verified by {}, {}: {why}", bundle.file, bundle.role);
            let found = presented.leaf().map(|leaf| issuer(leaf)).unwrap_or_default();
            let wanted = roots.iter().map(|root| root.subject.to_string()).collect::<Vec<_>>().join("; ");
            tally.breach(Breach::new(&title, message).found(found).wanted(wanted).at(&bundle.file, None));
        }
    }
}

/// The issuer, and the key that it says it has.
fn issuer(certificate: &Certificate) -> String {
    let key = certificate.extensions.authority_key_id.as_ref().and_then(|id| id.key_id.as_ref());
    let key = key.map(|id| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    key.map_or_else(|| certificate.issuer.to_string(), |key| format!("{}, key {key}", certificate.issuer))
}

/// The claims about what servers present.
pub(super) fn checks() -> Vec<Check> {
    let renew = || Remedy::new("Renew it, and restart the component.").command("kubeadm certs renew all");
    vec![
        checks_of("pki.live.answers", "every server that was named answers", |facts, _, tally| answers(facts, tally))
            .alias("connection refused")
            .page(
                "A server that is not there cannot be judged, and nobody else can reach it either.",
                "Connects to each address that its name has.",
            )
            .basis("Ports and protocols", "https://kubernetes.io/docs/reference/networking/ports-and-protocols/")
            .remedy(Remedy::new("Start it, or open the port; if it has moved, mend the name or --endpoint.")),
        checks_of("pki.live.valid", "no server presents a certificate that is expired or not valid yet", valid)
            .severity(Severity::Critical)
            .alias("PKI-V01")
            .alias("certificate has expired or is not yet valid")
            .page(
                "Clients refuse the connection.",
                "Compares the validity of every certificate that is presented, with and without a server name, with \
                 the time.",
            )
            .basis("Certificate management with kubeadm", KUBEADM)
            .remedy(renew()),
        checks_of(
            "pki.live.lasts",
            "no server presents a certificate that expires within the days that --expiry-warn says",
            lasts,
        )
        .severity(Severity::Medium)
        .alias("PKI-V02")
        .alias("check-expiration")
        .page(
            "What the process serves counts, not what lies on disk: a renewed file that was not loaded is of no use.",
            "Compares the end of what is presented with the time and --expiry-warn, as pki.validity.soon does; \
             certificates made at start have a claim of their own.",
        )
        .basis("Certificate management with kubeadm", KUBEADM)
        .remedy(renew()),
        checks_of(
            "pki.live.loopback",
            "the API server's certificate for itself lasts longer than --restart-warn says",
            loopback,
        )
        .alias("PKI-V07")
        .alias("apiserver-loopback-client")
        .page(
            "kube-apiserver makes it when it starts and never again. When it ends, the process goes on, and fails in \
             its own calls to itself: controllers and admission stop.",
            "Asks for the certificate of the server name apiserver-loopback-client, which it is served by, and \
             compares its end with the time and --restart-warn, 60 days.",
        )
        .basis("kubernetes/kubernetes#86552: loopback certificate expires after a year of uptime", LOOPBACK_ISSUE)
        .remedy(
            Remedy::new("Restart kube-apiserver: move its manifest away and back, or delete its container.")
                .command("crictl rm -f $(crictl ps -q --name kube-apiserver)"),
        ),
        checks_of(
            "pki.live.in-memory",
            "no certificate that a component made at its start ends within --restart-warn",
            in_memory,
        )
        .severity(Severity::Low)
        .alias("PKI-V08")
        .alias("self-signed")
        .page(
            "Without --tls-cert-file the controller manager and the scheduler, and without tlsCertFile the kubelet, \
             make a certificate for a year when they start; it tells when that was.",
            "Recognizes `<host>@<time>` by `<host>-ca@<time>`, and compares its end with the time and --restart-warn.",
        )
        .basis(
            "kube-controller-manager: --cert-dir, --tls-cert-file",
            "https://kubernetes.io/docs/reference/command-line-tools-reference/kube-controller-manager/",
        )
        .remedy(Remedy::new("Restart the component.")),
        checks_of(
            "pki.live.name",
            "every server's certificate is for the name that it is called by",
            |facts, _, tally| named(facts, tally),
        )
        .severity(Severity::Critical)
        .alias("PKI-L02")
        .alias("x509: certificate is valid for")
        .page(
            "Clients refuse a certificate for another name.",
            "Compares the names in the certificate with the host that the user, a kubeconfig or a webhook calls it by.",
        )
        .basis("PKI certificates and requirements: all certificates", CERTIFICATES)
        .remedy(
            Remedy::new("Add the name to apiServer.certSANs, have the certificate made again, and restart.").command(
                "rm /etc/kubernetes/pki/apiserver.{crt,key} && kubeadm init phase certs apiserver --config FILE",
            ),
        ),
        claim(
            "pki.live.served-is-file",
            "every server of the node serves the certificate that is in its file",
            served_is_file,
        )
        .alias("PKI-L01")
        .alias("PKI-F13")
        .alias("certs renew")
        .page(
            "`kubeadm certs renew` writes files; a process that does not load them goes on with the old ones until \
             they have expired.",
            "Compares the fingerprint of what is presented on this node's ports with that of the file that the \
             component's flag names.",
        )
        .basis("Certificate management with kubeadm: manual certificate renewal", KUBEADM)
        .remedy(
            Remedy::new("Restart the component: move its manifest away and back.")
                .command("crictl rm -f $(crictl ps -q --name kube-apiserver)"),
        ),
        claim(
            "pki.live.trusted",
            "what every server of the node presents leads to the CA that its clients trust",
            trusted,
        )
        .severity(Severity::Critical)
        .alias("PKI-L02")
        .alias("PKI-C01")
        .alias("x509: certificate signed by unknown authority")
        .page(
            "Clients on the node, the API server towards etcd among them, refuse the connection.",
            "Builds a path, by Go's rules, from what is presented to the bundle that the clients' flags name.",
        )
        .basis("PKI certificates and requirements", CERTIFICATES)
        .remedy(Remedy::new(
            "Have the certificate signed by the CA that is in the bundle; where the CA was replaced, keep the old one \
             in the bundle until all certificates are new.",
        )),
        checks_of("pki.live.sni", "pods are served by the same CA as everyone else", |facts, _, tally| {
            alike(facts, tally)
        })
        .severity(Severity::Low)
        .alias("PKI-L10")
        .alias("tls-sni-cert-key")
        .page(
            "A certificate that is served to one name only is forgotten when others are renewed.",
            "Compares what is presented to kubernetes.default.svc with what is presented without a name.",
        )
        .basis(
            "kube-apiserver: --tls-sni-cert-key",
            "https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/",
        )
        .remedy(Remedy::new(
            "Remove kubernetes.default.svc from --tls-sni-cert-key, or have the cluster's CA sign that certificate.",
        )),
        claim("pki.live.root", "no server presents the root behind its certificate", roots)
            .severity(Severity::Info)
            .alias("PKI-C08")
            .alias("self-signed certificate in certificate chain")
            .page(
                "It goes over the wire with every handshake and helps nobody: who trusts the root has it, who has it \
                 not does not trust it. k3s, RKE2, Talos, kops and OpenShift do it by design, and IAM of AWS takes the \
                 fingerprint of an issuer of tokens from there.",
                "Looks behind what each server presents for a certificate that is signed by its own key. What is in a \
                 file of this node is said of the file (pki.chain.root); what a component made when it started is not \
                 judged.",
            )
            .basis(
                "RFC 5246 section 7.4.2: the root may be omitted from the chain",
                "https://www.rfc-editor.org/rfc/rfc5246#section-7.4.2",
            )
            .remedy(Remedy::new("Take the root out of the file that the server presents.")),
        checks_of(
            "pki.live.one-issuer",
            "all servers of a kind have their certificates from one CA",
            |facts, _, tally| one_issuer(facts, tally),
        )
        .alias("PKI-L01")
        .alias("PKI-W01")
        .alias("possibly because of \"crypto/rsa: verification error\"")
        .page(
            "A client that trusts one CA reaches some of the replicas and not the others; behind a balancer it fails \
             now and then.",
            "Compares issuer and authority key identifier of what the API servers, and the members of etcd, present.",
        )
        .basis("PKI certificates and requirements", CERTIFICATES)
        .remedy(Remedy::new(
            "Have one CA sign them all; copy it to every node of the control plane before certificates are made there.",
        )),
    ]
}
