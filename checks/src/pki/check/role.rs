//! Roles: which CAs a cluster must have, which must not be one, and which names each server must answer to.

use std::net::IpAddr;

use super::*;
use crate::pki::discover::{Component, KUBELET_SERVING, Role, SIGNERS, SIGNING, Sni};
use crate::pki::facts::{Bundle, Credential};
use crate::pki::live::matches;
use crate::pki::settings::{self, Place};
use crate::pki::store::Held;
use crate::pki::x509::Certificate;
use crate::pki::x509::path::Signature;

const SANS: &str = "PKI certificates and requirements: all certificates";
const AGGREGATION: &str = "https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/";

fn on(bundle: &Bundle, message: String) -> Breach {
    Breach::new(&bundle.file, message).at(&bundle.file, None)
}

/// Does the certificate name the place? A name may be matched by a star in its first label.
pub(super) fn names(one: &Credential, place: &Place) -> bool {
    let Some(sans) = &one.leaf().extensions.subject_alt_names else { return false };
    match place {
        Place::Address(address) => sans.ips.contains(address),
        Place::Name(name) => sans.dns.iter().any(|san| {
            let san = san.to_lowercase();
            let star = || Some(san.strip_prefix("*.")? == name.split_once('.')?.1);
            san == *name || star() == Some(true)
        }),
    }
}

/// What the certificate names, for a report.
fn named(one: &Credential) -> String {
    let Some(sans) = &one.leaf().extensions.subject_alt_names else { return "nothing".to_owned() };
    let all: Vec<_> = sans.dns.iter().cloned().chain(sans.ips.iter().map(IpAddr::to_string)).collect();
    all.join(", ")
}

/// Breaches for the places that a certificate does not name.
fn lacking(one: &Credential, wanted: impl IntoIterator<Item = (Place, &'static str)>, tally: &mut Tally) {
    for (place, why) in wanted {
        tally.look();
        if !names(one, &place) {
            let message = format!("{} does not name {place}, {why}", one.file);
            tally.breach(
                Breach::new(&one.file, message).found(named(one)).wanted(place.to_string()).at(&one.file, one.line()),
            );
        }
    }
}

/// What the API server serves by default: certificates for one name each (SNI) are judged by those who dial it.
fn serving(facts: &Facts) -> Vec<&Credential> {
    let all: Vec<_> = facts.of_role(Role::ApiserverServing).collect();
    // OpenShift serves several, each for names of its own.
    if all.len() > 1 { Vec::new() } else { all }
}

fn renew(name: &str) -> Remedy {
    Remedy::new("Add the name to kubeadm's configuration (certSANs), and have the certificate made again: renewing copies the old names.")
        .command(format!("rm /etc/kubernetes/pki/{name}.crt /etc/kubernetes/pki/{name}.key"))
        .command(format!("kubeadm init phase certs {} --config kubeadm.yaml", name.replace('/', "-")))
}

/// Is this CA in the bundle, or has one that is in it signed it?
fn trusts(bundle: &Bundle, authority: &Certificate, view: &View<'_>) -> bool {
    bundle.certificates.iter().map(|held| &held.certificate).any(|trusted| {
        trusted.public_key.sha256 == authority.public_key.sha256
            || view.facts.signatures.check(authority, &trusted.public_key) == Signature::Good
    })
}

fn authorities() -> Vec<Check> {
    vec![
        claim("pki.ca.front-proxy-own", "the front proxy's CA is not a CA of clients", Of::Roles(&[Role::FrontProxyCa, Role::ClientCa]), "front-proxy CAs", |view, tally| {
            let Some(proxy) = view.facts.bundle(Role::FrontProxyCa) else { return };
            let Some(clients) = view.facts.bundle(Role::ClientCa) else { return };
            tally.look();
            for held in &proxy.certificates {
                let same = clients.certificates.iter().find(|client| client.certificate.public_key.sha256 == held.certificate.public_key.sha256);
                if same.is_some() {
                    let message = format!("{} is trusted for the front proxy and, in {}, for clients", held.certificate.subject, clients.file);
                    tally.breach(on(proxy, message).found(format!("sha256:{}", held.certificate.public_key.sha256)));
                }
            }
        })
        .severity(Severity::Critical)
        .label("role")
        .alias("PKI-R05")
        .alias("PKI-R19")
        .page("A certificate of the front proxy's CA lets its holder say who they are in a header. If that CA signs for clients as well, every client can be anyone, or, where names are listed, no client is let in.", "Compares the keys of the CAs in --requestheader-client-ca-file and --client-ca-file.")
        .basis("Configure the aggregation layer: CA reusage and conflicts", AGGREGATION)
        .remedy(Remedy::new("Where it stands in the clients' file beside their own CA, take it out of that. Where both are one, make a CA for the front proxy alone, and its client's certificate of it: what is there kubeadm leaves as it is.").command("rm /etc/kubernetes/pki/front-proxy-*").command("kubeadm init phase certs front-proxy-ca").command("kubeadm init phase certs front-proxy-client")),
        claim("pki.ca.etcd-own", "etcd's clients are of another CA than the cluster's", Of::Roles(&[Role::ClientCa, Role::EtcdClientCa, Role::EtcdServerCa]), "CAs of etcd", |view, tally| {
            let Some(clients) = view.facts.bundle(Role::ClientCa) else { return };
            for role in [Role::EtcdClientCa, Role::EtcdServerCa] {
                let Some(etcd) = view.facts.bundle(role) else { continue };
                tally.look();
                for held in &etcd.certificates {
                    if clients.certificates.iter().any(|client| client.certificate.public_key.sha256 == held.certificate.public_key.sha256) {
                        let message = format!("{} is the CA of etcd's clients and of the cluster's: any kubelet may read and write etcd", held.certificate.subject);
                        tally.breach(on(etcd, message).found(format!("sha256:{}", held.certificate.public_key.sha256)));
                        return;
                    }
                }
            }
        })
        .severity(Severity::Critical)
        .label("role")
        .label("CIS")
        .alias("PKI-R11")
        .alias("CIS 2.7")
        .page("etcd lets every client of its CA do everything. If that CA signs for kubelets and users, they all are the cluster's owner.", "Compares the keys of the CAs that etcd trusts (--trusted-ca-file; where that is not known, --etcd-cafile) and of --client-ca-file. RKE1 does this by design.")
        .basis("CIS Kubernetes Benchmark 2.7", CIS)
        .remedy(Remedy::new("Where it stands in etcd's file beside etcd's own CA, take it out of that. Where both are one, make a CA for etcd alone, and its certificates of it: what is there kubeadm leaves as it is.").command("rm /etc/kubernetes/pki/etcd/* /etc/kubernetes/pki/apiserver-etcd-client.*").command("for name in etcd-ca etcd-server etcd-peer etcd-healthcheck-client apiserver-etcd-client; do kubeadm init phase certs $name; done")),
        claim("pki.ca.names", "CAs for different purposes have different names", Of::Roles(&[Role::ClientCa, Role::FrontProxyCa, Role::EtcdClientCa]), "CAs", |view, tally| {
            let roles = [Role::ClientCa, Role::FrontProxyCa, Role::EtcdClientCa];
            let all: Vec<_> = roles.into_iter().filter_map(|role| view.facts.bundle(role)).collect();
            for (number, one) in all.iter().enumerate() {
                tally.look();
                for other in &all[..number] {
                    // One CA for two purposes is another finding; Talos gives that of the front proxy no name at all.
                    let namesake = |held: &&Held| {
                        let name = held.certificate.subject.to_string();
                        let same = |theirs: &Held| theirs.certificate.subject.to_string() == name && theirs.certificate.public_key.sha256 != held.certificate.public_key.sha256;
                        !name.is_empty() && other.certificates.iter().any(same)
                    };
                    if let Some(held) = one.certificates.iter().find(namesake) {
                        let message = format!("{} and {}, two CAs, are both called {}", one.role, other.role, held.certificate.subject);
                        tally.breach(on(one, message).found(held.certificate.subject.to_string()));
                    }
                }
            }
        })
        .severity(Severity::Low)
        .label("role")
        .alias("PKI-R05")
        .page("What a certificate says of its issuer is that name: people take one CA for the other, and put it where it must not be. Programs that go by the name alone report a bad signature, and not the wrong CA.", "Compares the subjects of the CAs of API clients, of the front proxy and of etcd that have different keys.")
        .basis("PKI certificates and requirements: required CAs", CERTIFICATES)
        .remedy(Remedy::new("Give it a name of its own when it is rotated next: kubeadm's are kubernetes, front-proxy-ca and etcd-ca.")),
        claim("pki.ca.signing-trusted", "what the controller manager signs is accepted by the API server", Of::Roles(&[Role::ClientCa, Role::SigningCa]), "signing CAs", |view, tally| {
            let Some(clients) = view.facts.bundle(Role::ClientCa) else { return };
            for signing in view.facts.bundles.iter().filter(|bundle| bundle.role == Role::SigningCa) {
                let Some(first) = signing.certificates.first() else { continue };
                tally.look();
                if !trusts(clients, &first.certificate, view) {
                    let message = format!("{} signs for nodes, and {} does not trust it", first.certificate.subject, clients.file);
                    tally.breach(on(signing, message));
                }
            }
        })
        .severity(Severity::Critical)
        .label("role")
        .alias("PKI-R23")
        .page("Nodes that join get certificates that nobody accepts, and those that renew theirs fall off.", "Looks whether a CA in --client-ca-file is, or has signed, that of --cluster-signing-cert-file, or those of the signers kubelet-client and kube-apiserver-client.")
        .basis("PKI certificates and requirements: certificate paths", CERTIFICATES)
        .remedy(Remedy::new("Name the same CA, or add it to --client-ca-file.")),
        claim("pki.ca.kubelet-signer-trusted", "what the controller manager signs for kubelets to serve is accepted by the API server", Of::Roles(&[Role::KubeletServingCa, Role::SigningCa, Role::OtherSigningCa]), "signers of what kubelets serve", |view, tally| {
            let discovery = &view.facts.discovery;
            let bootstraps = discovery.command(Component::Kubelet).is_some_and(|line| line.get("rotate-server-certificates") == Some("true"));
            let Some(manager) = discovery.command(Component::ControllerManager).filter(|_| bootstraps) else { return };
            let Some(servers) = view.facts.bundle(Role::KubeletServingCa) else { return };
            let named = [KUBELET_SERVING, SIGNING].into_iter().find_map(|[certificate, _]| manager.paths(certificate).pop());
            let Some(signing) = named.and_then(|file| view.facts.bundles.iter().find(|bundle| bundle.file == file)) else { return };
            let Some(first) = signing.certificates.first() else { return };
            tally.look();
            if !trusts(servers, &first.certificate, view) {
                let message = format!("{} signs what kubelets serve, and {} does not trust it", first.certificate.subject, servers.file);
                tally.breach(on(signing, message));
            }
        })
        .label("role")
        .alias("PKI-R14")
        .alias("kubernetes.io/kubelet-serving")
        .page("Once the kubelets have renewed what they serve, `kubectl logs`, `exec` and `port-forward` fail on every node.", "Where the kubelet has serverTLSBootstrap and the API server --kubelet-certificate-authority, looks whether a CA in that is, or has signed, the one of --cluster-signing-kubelet-serving-cert-file or --cluster-signing-cert-file.")
        .basis("Certificate management with kubeadm: kubelet serving certificates", KUBEADM)
        .remedy(Remedy::new("Add the signer's CA to the file of --kubelet-certificate-authority.")),
        claim("pki.ca.signing-single", "the controller manager signs with one certificate, not a chain", Of::Roles(&[Role::SigningCa, Role::OtherSigningCa]), "signing CAs", |view, tally| {
            // A cluster CA that is a chain is read by others as a bundle.
            let Some(line) = view.facts.discovery.command(Component::ControllerManager) else { return };
            let flags = || SIGNERS.iter().map(|[certificate, _]| *certificate).chain([SIGNING[0]]);
            for signing in view.facts.bundles.iter().filter(|bundle| matches!(bundle.role, Role::SigningCa | Role::OtherSigningCa)) {
                let Some(flag) = flags().find(|flag| line.paths(flag).contains(&signing.file)) else { continue };
                tally.look();
                if signing.certificates.len() > 1 {
                    let message = format!("{} holds {} certificates, and --{flag} takes one", signing.file, signing.certificates.len());
                    tally.breach(on(signing, message).found(signing.certificates.len().to_string()).wanted("1"));
                }
            }
        })
        .label("role")
        .alias("PKI-C13")
        .alias("client-ca.nochain.crt")
        .alias("expected 1 certificate, found 2")
        .page("kube-controller-manager refuses a file of several and does not start; one that runs signs by what it has read before. k3s keeps a file without the chain for this flag.", "Counts the certificates in --cluster-signing-cert-file, and in those of single signers.")
        .basis("kube-controller-manager: --cluster-signing-cert-file", "https://kubernetes.io/docs/reference/command-line-tools-reference/kube-controller-manager/")
        .remedy(Remedy::new("Put the issuing CA's certificate alone into a file of its own, and name that.")),
    ]
}

/// Who serves a certificate.
const SERVERS: &[Role] = &[
    Role::ApiserverServing,
    Role::NamedServing,
    Role::EtcdServer,
    Role::EtcdPeer,
    Role::KubeletServing,
    Role::ControllerManagerServing,
    Role::SchedulerServing,
];

fn sans() -> Vec<Check> {
    vec![
        claim("pki.san.present", "every certificate that is served names who serves it", Of::Roles(SERVERS), "served certificates", |view, tally| {
            for one in view.facts.credentials.iter().filter(|one| SERVERS.contains(&one.role)) {
                tally.look();
                let sans = one.leaf().extensions.subject_alt_names.as_ref();
                if sans.is_none_or(|sans| sans.dns.is_empty() && sans.ips.is_empty()) {
                    let message = format!("{} names no host in its SANs, and nobody reads the common name any more", one.file);
                    let found = one.leaf().subject.common_name().map_or("nothing".to_owned(), |name| format!("CN={name}"));
                    tally.breach(Breach::new(&one.file, message).found(found).at(&one.file, one.line()));
                }
            }
        })
        .severity(Severity::Critical)
        .label("san")
        .alias("PKI-R01")
        .alias("x509: certificate relies on legacy Common Name field, use SANs instead")
        .page("Go has not looked at the common name since 1.17: every client refuses the certificate.", "Looks at the SANs of whatever is served.")
        .basis("Go 1.17 release notes: crypto/x509", "https://go.dev/doc/go1.17")
        .remedy(renew("apiserver")),
        claim("pki.san.service-address", "the API server's certificate names the address of its own Service", Of::Roles(&[Role::ApiserverServing]), "Service networks", |view, tally| {
            // The Service kubernetes is of the first family alone.
            let Some(address) = view.facts.settings.services.first().and_then(settings::first) else { return };
            for one in serving(view.facts).into_iter().filter(|one| has_names(one)) {
                lacking(one, [(Place::Address(address), "the address that pods reach the API server at")], tally);
            }
        })
        .severity(Severity::Critical)
        .label("san")
        .alias("PKI-R02")
        .alias("x509: certificate is valid for")
        .page("Every pod that speaks to the API server dials this address: CoreDNS, the network plug-in, every operator.", "Takes the first address of --service-cluster-ip-range, or of kubeadm's serviceSubnet, and looks for it among the SANs. Where neither is known nothing is said.")
        .basis(SANS, CERTIFICATES)
        .remedy(renew("apiserver")),
        claim("pki.san.service-name", "the API server's certificate names its own Service", Of::Roles(&[Role::ApiserverServing]), "API servers", |view, tally| {
            for one in serving(view.facts).into_iter().filter(|one| has_names(one)) {
                let wanted = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"];
                lacking(one, wanted.map(|name| (Place::read(name), "a name of its Service")), tally);
            }
        })
        .severity(Severity::Critical)
        .label("san")
        .alias("PKI-R02")
        .page("Programs in pods dial kubernetes.default.svc.", "Looks for kubernetes, kubernetes.default and kubernetes.default.svc among the SANs.")
        .basis(SANS, CERTIFICATES)
        .remedy(renew("apiserver")),
        claim("pki.san.service-domain", "the API server's certificate names its Service in the cluster's domain", Of::Roles(&[Role::ApiserverServing]), "API servers", |view, tally| {
            for one in serving(view.facts).into_iter().filter(|one| has_names(one)) {
                let domain = view.facts.settings.domain.as_deref().unwrap_or("cluster.local");
                lacking(one, [(Place::read(&format!("kubernetes.default.svc.{domain}")), "the full name of its Service")], tally);
            }
        })
        .severity(Severity::Medium)
        .label("san")
        .alias("PKI-R02")
        .page("Few programs dial the full name; k0s leaves it out.", "Takes the domain from --service-account-issuer, from the kubelet's clusterDomain or from kubeadm's dnsDomain; cluster.local where none is known.")
        .basis(SANS, CERTIFICATES)
        .remedy(renew("apiserver")),
        claim("pki.san.advertise", "the API server's certificate names the address that it advertises", Of::Roles(&[Role::ApiserverServing]), "advertised addresses", |view, tally| {
            let Some(address) = view.facts.settings.advertise else { return };
            for one in serving(view.facts).into_iter().filter(|one| has_names(one)) {
                lacking(one, [(Place::Address(address), "which --advertise-address says")], tally);
            }
        })
        .severity(Severity::Critical)
        .label("san")
        .alias("PKI-R02")
        .page("The endpoints of the Service kubernetes are these addresses; components of the node dial it, too.", "Compares --advertise-address with the SANs.")
        .basis(SANS, CERTIFICATES)
        .remedy(renew("apiserver")),
        claim("pki.san.endpoint", "the API server's certificate names the cluster's endpoint and what kubeadm was told", Of::Roles(&[Role::ApiserverServing]), "endpoints", |view, tally| {
            let settings = &view.facts.settings;
            for one in serving(view.facts).into_iter().filter(|one| has_names(one)) {
                lacking(one, settings.endpoint.clone().map(|place| (place, "which is controlPlaneEndpoint")), tally);
                lacking(one, settings.wanted.iter().map(|place| (place.clone(), "which certSANs lists")), tally);
            }
        })
        .severity(Severity::Critical)
        .label("san")
        .alias("PKI-R02")
        .alias("PKI-K12")
        .page("Everybody outside of the node comes by the endpoint. A name that was added to kubeadm's configuration later is not in the certificate until it is made again.", "Compares controlPlaneEndpoint and certSANs of kubeadm's ClusterConfiguration, where it lies on the node, with the SANs.")
        .basis(SANS, CERTIFICATES)
        .remedy(renew("apiserver")),
        claim("pki.san.etcd-server", "etcd's serving certificate names the addresses that clients use", Of::Roles(&[Role::EtcdServer]), "etcd servers", |view, tally| {
            for one in view.facts.of_role(Role::EtcdServer).filter(|one| has_names(one)) {
                let wanted = view.facts.settings.etcd_clients.iter().map(|place| (place.clone(), "where etcd serves clients"));
                lacking(one, wanted, tally);
                let local = [(Place::read("127.0.0.1"), "which its own gateway and health checks dial")];
                lacking(one, local.into_iter().filter(|_| view.facts.discovery.layouts.iter().any(|layout| layout.name == "kubeadm")), tally);
            }
        })
        .label("san")
        .alias("PKI-R10")
        .page("The API server and etcdctl refuse a server that they dial by another name or address than it has.", "Takes the addresses from --listen-client-urls and --advertise-client-urls, and on kubeadm's clusters 127.0.0.1.")
        .basis(SANS, CERTIFICATES)
        .remedy(renew("etcd/server")),
        claim("pki.san.etcd-peer", "etcd's peer certificate names the address that peers use", Of::Roles(&[Role::EtcdPeer]), "advertised peers", |view, tally| {
            for one in view.facts.of_role(Role::EtcdPeer).filter(|one| has_names(one)) {
                let wanted = view.facts.settings.etcd_peers.iter().map(|place| (place.clone(), "which etcd advertises to its peers"));
                lacking(one, wanted, tally);
            }
        })
        .severity(Severity::Critical)
        .label("san")
        .alias("PKI-R09")
        .page("Members verify each other by this address: without it one cannot join.", "Takes it from --initial-advertise-peer-urls.")
        .basis(SANS, CERTIFICATES)
        .remedy(renew("etcd/peer")),
        claim("pki.san.node", "the certificates of the API server and of etcd name their node", Of::Roles(&[Role::ApiserverServing, Role::EtcdServer, Role::EtcdPeer]), "certificates that kubeadm has served", |view, tally| {
            if !view.facts.discovery.is_kubeadm() {
                return;
            }
            let node = || view.facts.settings.node.as_deref().map(|name| (Place::read(name), "which is the node's name"));
            for one in serving(view.facts).into_iter().filter(|one| has_names(one)) {
                lacking(one, node(), tally);
            }
            for one in view.facts.of_role(Role::EtcdServer).chain(view.facts.of_role(Role::EtcdPeer)).filter(|one| has_names(one)) {
                // Whether the server's names the loopback address is a claim of its own.
                let local = ["localhost", "127.0.0.1"].into_iter().filter(|name| one.role == Role::EtcdPeer || *name == "localhost");
                let local = local.map(|name| (Place::read(name), "by which programs of the node dial it"));
                lacking(one, node().into_iter().chain(local), tally);
            }
        })
        .severity(Severity::Low)
        .label("san")
        .alias("PKI-R02")
        .alias("PKI-R09")
        .alias("PKI-R10")
        .page("The documentation lists the host's name and, for etcd, localhost and 127.0.0.1. Nothing of Kubernetes dials them; scripts, backups and people do, and are refused.", "Looks, where the PKI is kubeadm's, for the node's name (--hostname-override, or the host name) among the SANs of the API server and of etcd, and for localhost and 127.0.0.1 among those of etcd.")
        .basis(SANS, CERTIFICATES)
        .remedy(renew("apiserver")),
        claim("pki.san.sni", "what is served for certain names is for these names", Of::Roles(&[Role::NamedServing]), "names that a certificate is served for", |view, tally| {
            for line in &view.facts.discovery.commands {
                for Sni { certificate: file, names, .. } in line.sni() {
                    let held = view.facts.store.contents(&file).and_then(|contents| contents.certificates.first());
                    let sans = held.and_then(|held| held.certificate.extensions.subject_alt_names.as_ref());
                    // One without is judged by pki.san.present.
                    let Some(sans) = sans.filter(|sans| !sans.dns.is_empty() || !sans.ips.is_empty()) else { continue };
                    for name in &names {
                        tally.look();
                        let address: Option<IpAddr> = name.parse().ok();
                        let covered = match address {
                            Some(address) => sans.ips.contains(&address),
                            None => matches(&sans.dns, name) || sans.dns.iter().any(|san| fits(name, san)),
                        };
                        if !covered {
                            let message = format!("{file}: {} serves it for {name}, which it does not name", line.component);
                            let found = sans.dns.iter().cloned().chain(sans.ips.iter().map(ToString::to_string)).collect::<Vec<_>>().join(", ");
                            tally.breach(Breach::new(&file, message).found(found).wanted(name).at(&line.place, None));
                        }
                    }
                }
            }
        })
        .label("san")
        .alias("tls-sni-cert-key")
        .alias("x509: certificate is valid for")
        .page(
            "Names behind the colon of --tls-sni-cert-key count before the certificate's own: it is served for them whatever it says, and those that ask for them refuse it, while the certificate of --tls-cert-file might have done.",
            "Compares each name that a value of --tls-sni-cert-key lists with the SANs of its certificate: an address must be there, of a pattern with * at least one name that it stands for. Values without names serve the certificate's own.",
        )
        .basis("kube-apiserver: --tls-sni-cert-key", "https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/")
        .remedy(Remedy::new("Take the name out of the flag, or have the certificate made for it, too.")),
        claim("pki.san.kubelet", "the kubelet's serving certificate names its node", Of::Roles(&[Role::KubeletServing]), "kubelets", |view, tally| {
            let Some(node) = view.facts.settings.node.as_deref() else { return };
            for one in view.facts.of_role(Role::KubeletServing).filter(|one| has_names(one)) {
                lacking(one, [(Place::read(node), "which is the node's name")], tally);
            }
        })
        .label("san")
        .alias("PKI-R14")
        .page("The API server and metrics-server dial kubelets by what the Node object lists first, and verify that if they are told a CA.", "Compares the node's name (--hostname-override, or the host name) with the SANs.")
        .basis("Certificate management with kubeadm: kubelet serving certificates", KUBEADM)
        .remedy(Remedy::new("Remove it: the kubelet makes another when it starts.").command("rm /var/lib/kubelet/pki/kubelet.crt /var/lib/kubelet/pki/kubelet.key && systemctl restart kubelet")),
    ]
}

/// Does a pattern, a star in place of some labels, stand for this name?
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    let (labels, own) = (pattern.split('.'), name.split('.'));
    labels.clone().count() == own.clone().count()
        && labels.zip(own).all(|(label, own)| label == "*" || label.eq_ignore_ascii_case(own))
}

/// Has it any SAN? One without is judged by `pki.san.present` alone.
fn has_names(one: &Credential) -> bool {
    one.leaf().extensions.subject_alt_names.as_ref().is_some_and(|sans| !sans.dns.is_empty() || !sans.ips.is_empty())
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    [authorities(), sans()].into_iter().flatten().collect()
}
