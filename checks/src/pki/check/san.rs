//! SANs: which names and addresses each server must answer to.

use std::net::IpAddr;

use super::*;
use crate::pki::discover::{Role, Sni};
use crate::pki::facts::Credential;
use crate::pki::live::matches;
use crate::pki::settings::{self, Place};

const SANS: &str = "PKI certificates and requirements: all certificates";

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
fn lacking(
    one: &Credential,
    wanted: impl IntoIterator<Item = (Place, &'static str)>,
    view: &View<'_>,
    tally: &mut Tally,
) {
    for (place, why) in wanted {
        tally.look();
        if !names(one, &place) {
            let message = format!("{} does not have the SAN {place}, {why}", one.file);
            tally.breach(
                Breach::new(&one.file, message)
                    .found(named(one))
                    .wanted(place.to_string())
                    .at(&one.file, one.line())
                    .remedy(remedy::remake(one, view, &format!("with the SAN {place}"))),
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

fn again() -> Remedy {
    Remedy::new(
        "Add the name to the configuration that the certificate is made by (certSANs of kubeadm), and create the \
         certificate again: renewing it copies the old names.",
    )
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
        claim(
            "pki.san.present",
            "Every serving certificate has SANs",
            Of::Roles(SERVERS),
            "served certificates",
            |view, tally| {
                for one in view.facts.credentials.iter().filter(|one| SERVERS.contains(&one.role)) {
                    tally.look();
                    let sans = one.leaf().extensions.subject_alt_names.as_ref();
                    if sans.is_none_or(|sans| sans.dns.is_empty() && sans.ips.is_empty()) {
                        let message = format!("{} has no SANs, and Go ignores the common name", one.file);
                        let found =
                            one.leaf().subject.common_name().map_or("nothing".to_owned(), |name| format!("CN={name}"));
                        let breach = Breach::new(&one.file, message).found(found).at(&one.file, one.line());
                        tally.breach(breach.remedy(remedy::remake(one, view, "with the SANs of its server")));
                    }
                }
            },
        )
        .severity(Severity::Critical)
        .label("san")
        .alias("PKI-R01")
        .alias("x509: certificate relies on legacy Common Name field, use SANs instead")
        .page(
            "Go has not looked at the common name since 1.17: every client refuses the certificate.",
            "Looks at the SANs of whatever is served.",
        )
        .basis("Go 1.17 release notes: crypto/x509", "https://go.dev/doc/go1.17")
        .remedy(again()),
        claim(
            "pki.san.service-address",
            "The API server's certificate has the IP of the kubernetes Service",
            Of::Roles(&[Role::ApiserverServing]),
            "Service networks",
            |view, tally| {
                // The Service kubernetes is of the first family alone.
                let Some(address) = view.facts.settings.services.first().and_then(settings::first) else { return };
                for one in serving(view.facts).into_iter().filter(|one| has_names(one)) {
                    lacking(
                        one,
                        [(Place::Address(address), "the address that pods reach the API server at")],
                        view,
                        tally,
                    );
                }
            },
        )
        .severity(Severity::Critical)
        .label("san")
        .alias("PKI-R02")
        .alias("x509: certificate is valid for")
        .page(
            "Every pod that speaks to the API server dials this address: CoreDNS, the network plug-in, every \
            operator.",
            "Takes the first address of --service-cluster-ip-range, or of kubeadm's serviceSubnet, \
            and looks for it among the SANs. Where neither is known nothing is said.",
        )
        .basis(SANS, CERTIFICATES)
        .remedy(again()),
        claim(
            "pki.san.service-name",
            "The API server's certificate has the names of the kubernetes Service",
            Of::Roles(&[Role::ApiserverServing]),
            "API servers",
            |view, tally| {
                for one in serving(view.facts).into_iter().filter(|one| has_names(one)) {
                    let wanted = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"];
                    lacking(one, wanted.map(|name| (Place::read(name), "a name of its Service")), view, tally);
                }
            },
        )
        .severity(Severity::Critical)
        .label("san")
        .alias("PKI-R02")
        .page(
            "Programs in pods dial kubernetes.default.svc.",
            "Looks for kubernetes, kubernetes.default and \
            kubernetes.default.svc among the SANs.",
        )
        .basis(SANS, CERTIFICATES)
        .remedy(again()),
        claim(
            "pki.san.service-domain",
            "The API server's certificate has the full name of the kubernetes Service",
            Of::Roles(&[Role::ApiserverServing]),
            "API servers",
            |view, tally| {
                for one in serving(view.facts).into_iter().filter(|one| has_names(one)) {
                    let domain = view.facts.settings.domain.as_deref().unwrap_or("cluster.local");
                    lacking(
                        one,
                        [(Place::read(&format!("kubernetes.default.svc.{domain}")), "the full name of its Service")],
                        view,
                        tally,
                    );
                }
            },
        )
        .severity(Severity::Medium)
        .label("san")
        .alias("PKI-R02")
        .page(
            "Few programs dial the full name; k0s leaves it out.",
            "Takes the domain from \
            --service-account-issuer, from the kubelet's clusterDomain or from kubeadm's dnsDomain; \
            cluster.local where none is known.",
        )
        .basis(SANS, CERTIFICATES)
        .remedy(again()),
        claim(
            "pki.san.advertise",
            "The API server's certificate has the advertised address",
            Of::Roles(&[Role::ApiserverServing]),
            "advertised addresses",
            |view, tally| {
                let Some(address) = view.facts.settings.advertise else { return };
                for one in serving(view.facts).into_iter().filter(|one| has_names(one)) {
                    lacking(one, [(Place::Address(address), "which --advertise-address says")], view, tally);
                }
            },
        )
        .severity(Severity::Critical)
        .label("san")
        .alias("PKI-R02")
        .page(
            "The endpoints of the Service kubernetes are these addresses; components of the node dial it, too.",
            "Compares --advertise-address with the SANs.",
        )
        .basis(SANS, CERTIFICATES)
        .remedy(again()),
        claim(
            "pki.san.endpoint",
            "The API server's certificate has controlPlaneEndpoint and certSANs",
            Of::Roles(&[Role::ApiserverServing]),
            "endpoints",
            |view, tally| {
                let settings = &view.facts.settings;
                for one in serving(view.facts).into_iter().filter(|one| has_names(one)) {
                    lacking(
                        one,
                        settings.endpoint.clone().map(|place| (place, "which is controlPlaneEndpoint")),
                        view,
                        tally,
                    );
                    lacking(
                        one,
                        settings.wanted.iter().map(|place| (place.clone(), "which certSANs lists")),
                        view,
                        tally,
                    );
                }
            },
        )
        .severity(Severity::Critical)
        .label("san")
        .alias("PKI-R02")
        .alias("PKI-K12")
        .page(
            "Everybody outside of the node comes by the endpoint. A name that was added to kubeadm's \
            configuration later is not in the certificate until it is made again.",
            "Compares \
            controlPlaneEndpoint and certSANs of kubeadm's ClusterConfiguration, where it lies on the node, \
            with the SANs.",
        )
        .basis(SANS, CERTIFICATES)
        .remedy(again()),
        claim(
            "pki.san.etcd-server",
            "etcd's serving certificate has the addresses that clients use",
            Of::Roles(&[Role::EtcdServer]),
            "etcd servers",
            |view, tally| {
                for one in view.facts.of_role(Role::EtcdServer).filter(|one| has_names(one)) {
                    let wanted = view
                        .facts
                        .settings
                        .etcd_clients
                        .iter()
                        .map(|place| (place.clone(), "where etcd serves clients"));
                    lacking(one, wanted, view, tally);
                    let local = [(Place::read("127.0.0.1"), "which its own gateway and health checks dial")];
                    lacking(
                        one,
                        local
                            .into_iter()
                            .filter(|_| view.facts.discovery.layouts.iter().any(|layout| layout.name == "kubeadm")),
                        view,
                        tally,
                    );
                }
            },
        )
        .label("san")
        .alias("PKI-R10")
        .page(
            "The API server and etcdctl refuse a server that they dial by another name or address than it has.",
            "Takes \
            the addresses from --listen-client-urls and --advertise-client-urls, and on kubeadm's clusters \
            127.0.0.1.",
        )
        .basis(SANS, CERTIFICATES)
        .remedy(again()),
        claim(
            "pki.san.etcd-peer",
            "etcd's peer certificate has the address that peers use",
            Of::Roles(&[Role::EtcdPeer]),
            "advertised peers",
            |view, tally| {
                for one in view.facts.of_role(Role::EtcdPeer).filter(|one| has_names(one)) {
                    let wanted = view
                        .facts
                        .settings
                        .etcd_peers
                        .iter()
                        .map(|place| (place.clone(), "which etcd advertises to its peers"));
                    lacking(one, wanted, view, tally);
                }
            },
        )
        .severity(Severity::Critical)
        .label("san")
        .alias("PKI-R09")
        .page(
            "Members verify each other by this address: without it one cannot join.",
            "Takes it from --initial-advertise-peer-urls.",
        )
        .basis(SANS, CERTIFICATES)
        .remedy(again()),
        claim(
            "pki.san.node",
            "The certificates of the API server and etcd have the name of the node",
            Of::Roles(&[Role::ApiserverServing, Role::EtcdServer, Role::EtcdPeer]),
            "certificates that kubeadm has served",
            |view, tally| {
                if !view.facts.discovery.is_kubeadm() {
                    return;
                }
                let node =
                    || view.facts.settings.node.as_deref().map(|name| (Place::read(name), "which is the node's name"));
                for one in serving(view.facts).into_iter().filter(|one| has_names(one)) {
                    lacking(one, node(), view, tally);
                }
                for one in view
                    .facts
                    .of_role(Role::EtcdServer)
                    .chain(view.facts.of_role(Role::EtcdPeer))
                    .filter(|one| has_names(one))
                {
                    // Whether the server's names the loopback address is a claim of its own.
                    let local = ["localhost", "127.0.0.1"]
                        .into_iter()
                        .filter(|name| one.role == Role::EtcdPeer || *name == "localhost");
                    let local = local.map(|name| (Place::read(name), "by which programs of the node dial it"));
                    lacking(one, node().into_iter().chain(local), view, tally);
                }
            },
        )
        .severity(Severity::Low)
        .label("san")
        .alias("PKI-R02")
        .alias("PKI-R09")
        .alias("PKI-R10")
        .page(
            "The documentation lists the host's name and, for etcd, localhost and 127.0.0.1. Nothing of \
            Kubernetes dials them; scripts, backups and people do, and are refused.",
            "Looks, where the PKI is \
            kubeadm's, for the node's name (--hostname-override, or the host name) among the SANs of the API \
            server and of etcd, and for localhost and 127.0.0.1 among those of etcd.",
        )
        .basis(SANS, CERTIFICATES)
        .remedy(again()),
        claim(
            "pki.san.sni",
            "SNI certificates have the names that they are served for",
            Of::Roles(&[Role::NamedServing]),
            "names that a certificate is served for",
            |view, tally| {
                for line in &view.facts.discovery.commands {
                    for Sni { certificate: file, names, .. } in line.sni() {
                        let held = view.facts.store.contents(&file).and_then(|contents| contents.certificates.first());
                        let sans = held.and_then(|held| held.certificate.extensions.subject_alt_names.as_ref());
                        // One without is judged by pki.san.present.
                        let Some(sans) = sans.filter(|sans| !sans.dns.is_empty() || !sans.ips.is_empty()) else {
                            continue;
                        };
                        for name in &names {
                            tally.look();
                            let address: Option<IpAddr> = name.parse().ok();
                            let covered = match address {
                                Some(address) => sans.ips.contains(&address),
                                None => matches(&sans.dns, name) || sans.dns.iter().any(|san| fits(name, san)),
                            };
                            if !covered {
                                let message =
                                    format!("{file}: {} serves it for {name}, which it does not name", line.component);
                                let found = sans
                                    .dns
                                    .iter()
                                    .cloned()
                                    .chain(sans.ips.iter().map(ToString::to_string))
                                    .collect::<Vec<_>>()
                                    .join(", ");
                                tally.breach(
                                    Breach::new(&file, message).found(found).wanted(name).at(&line.place, None),
                                );
                            }
                        }
                    }
                }
            },
        )
        .label("san")
        .alias("tls-sni-cert-key")
        .alias("x509: certificate is valid for")
        .page(
            "Names behind the colon of --tls-sni-cert-key count before the certificate's own: it is served for \
                them whatever it says, and those that ask for them refuse it, while the certificate of \
                --tls-cert-file might have done.",
            "Compares each name that a value of --tls-sni-cert-key lists with the SANs of its certificate: an \
                address must be there, of a pattern with * at least one name that it stands for. Values without \
                names serve the certificate's own.",
        )
        .basis(
            "kube-apiserver: --tls-sni-cert-key",
            "https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/",
        )
        .remedy(Remedy::new("Take the name out of the flag, or have the certificate made for it, too.")),
        claim(
            "pki.san.kubelet",
            "The kubelet's serving certificate has the name of the node",
            Of::Roles(&[Role::KubeletServing]),
            "kubelets",
            |view, tally| {
                let Some(node) = view.facts.settings.node.as_deref() else { return };
                for one in view.facts.of_role(Role::KubeletServing).filter(|one| has_names(one)) {
                    lacking(one, [(Place::read(node), "which is the node's name")], view, tally);
                }
            },
        )
        .label("san")
        .alias("PKI-R14")
        .page(
            "The API server and metrics-server dial kubelets by what the Node object lists first, and verify \
            that if they are told a CA.",
            "Compares the node's name (--hostname-override, or the host name) \
            with the SANs.",
        )
        .basis("Certificate management with kubeadm: kubelet serving certificates", KUBEADM)
        .remedy(Remedy::new("Remove it: the kubelet creates another one when it starts.")),
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
    sans()
}
