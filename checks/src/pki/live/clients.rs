//! Claims about whose certificates servers take: a CertificateRequest names the CAs, before anyone has shown anything.

use std::collections::BTreeSet;

use x509_parser::prelude::{FromDer as _, X509Name};

use super::{Endpoint, Facts, Server, checks_of};
use crate::check::{Remedy, Severity};
use crate::conclusion::Breach;
use crate::pki::Check;
use crate::pki::tally::Tally;

const ETCD: &str = "https://etcd.io/docs/v3.6/op-guide/security/";
const CERTIFICATES: &str = "https://kubernetes.io/docs/setup/best-practices/certificates/";
const CIS: &str = "https://www.cisecurity.org/benchmark/kubernetes";

/// A distinguished name in words.
pub(crate) fn dn(der: &[u8]) -> String {
    X509Name::from_der(der).map_or_else(|_| "a name that cannot be read".to_owned(), |(_, name)| name.to_string())
}

fn dns<'a>(names: impl IntoIterator<Item = &'a Vec<u8>>) -> String {
    let all: Vec<_> = names.into_iter().map(|name| dn(name)).collect();
    if all.is_empty() { "none".to_owned() } else { all.join("; ") }
}

/// The CAs that an endpoint names; `None` where it asks for no certificate, or could not be asked.
fn authorities(endpoint: &Endpoint) -> Option<BTreeSet<&Vec<u8>>> {
    let presented = endpoint.presented.known()?;
    Some(presented.request.as_ref()?.authorities.iter().collect())
}

/// Does etcd ask for a certificate?
fn etcd_asks(facts: &Facts, tally: &mut Tally) {
    for endpoint in facts.of(Server::Etcd).chain(facts.of(Server::EtcdPeer)) {
        // Only who presented something has had the occasion to ask.
        if endpoint.leaf(tally).is_none() {
            continue;
        }
        tally.look();
        let title = endpoint.title();
        match authorities(endpoint) {
            None => {
                let message = format!(
                    "{title} asks for no client certificate: whoever reaches it reads and writes all of the cluster"
                );
                tally.breach(Breach::new(&title, message).wanted("a request for certificates by etcd's CA"));
            }
            Some(names) if names.is_empty() => {
                let message = format!("{title} asks for a client certificate and names no CA: it takes one by anybody");
                tally.breach(Breach::new(&title, message).wanted("a request for certificates by etcd's CA"));
            }
            Some(_) => {}
        }
    }
}

/// Does etcd take certificates by a CA that also signs for nodes and users?
fn etcd_ca(facts: &Facts, tally: &mut Tally) {
    let of_api: BTreeSet<_> = facts.of(Server::Apiserver).filter_map(authorities).flatten().collect();
    for endpoint in facts.of(Server::Etcd).chain(facts.of(Server::EtcdPeer)) {
        let Some(names) = authorities(endpoint) else { continue };
        if of_api.is_empty() {
            tally.unknown(
                "which CAs sign for nodes and users is not known: no API server was asked, or it names none; name one \
                 by --endpoint",
            );
            return;
        }
        tally.look();
        let shared: Vec<_> = names.intersection(&of_api).copied().collect();
        if !shared.is_empty() {
            let title = endpoint.title();
            let message = format!(
                "{title} takes clients of {}, by which the API server takes nodes and users: each of them can read \
                 every Secret",
                dns(shared)
            );
            tally.breach(Breach::new(&title, message).found(dns(names)).wanted("etcd's own CA only"));
        }
    }
}

/// Would the kubelet take what the API server shows to it?
fn kubelet_ca(facts: &Facts, tally: &mut Tally) {
    let of_api: BTreeSet<_> = facts.of(Server::Apiserver).filter_map(authorities).flatten().collect();
    for endpoint in facts.of(Server::Kubelet) {
        if endpoint.leaf(tally).is_none() {
            continue;
        }
        let title = endpoint.title();
        match authorities(endpoint) {
            None => {
                tally.look();
                let message = format!(
                    "{title} asks for no client certificate: the API server cannot say who it is, and logs and exec \
                     fail"
                );
                tally.breach(Breach::new(&title, message).wanted("a request for certificates by the cluster's CA"));
            }
            // A worker has no API server to compare with.
            Some(_) if facts.of(Server::Apiserver).next().is_none() => {}
            Some(_) if of_api.is_empty() => {
                tally.unknown("which CAs sign for the API server is not known: it does not answer, or names none")
            }
            Some(names) => {
                tally.look();
                if names.is_disjoint(&of_api) {
                    let message = format!(
                        "{title} takes no certificate by a CA that the API server knows: it was set up for another \
                         cluster, or the CA has been replaced"
                    );
                    tally.breach(Breach::new(&title, message).found(dns(names)).wanted(dns(of_api.iter().copied())));
                }
            }
        }
    }
}

/// Do all API servers take the same clients?
fn same_clients(facts: &Facts, tally: &mut Tally) {
    let all: Vec<_> = facts.of(Server::Apiserver).filter_map(|one| Some((one, authorities(one)?))).collect();
    let Some((first, expected)) = all.first() else { return };
    for (endpoint, names) in &all {
        tally.look();
        if names != expected {
            let message = format!("{} takes clients of other CAs than {}", endpoint.title(), first.title());
            let breach = Breach::new(endpoint.title(), message);
            tally.breach(breach.found(dns(names.iter().copied())).wanted(dns(expected.iter().copied())));
        }
    }
}

/// The claims about whose certificates servers take.
pub(super) fn checks() -> Vec<Check> {
    vec![
        checks_of("pki.live.etcd-asks", "etcd asks every client and peer for a certificate", |facts, _, tally| {
            etcd_asks(facts, tally)
        })
        .severity(Severity::Critical)
        .alias("PKI-L05")
        .alias("client-cert-auth")
        .alias("2.2")
        .page(
            "Everything that the cluster knows is in etcd, every Secret included.",
            "Shakes hands and looks for a CertificateRequest; no certificate is sent.",
        )
        .basis("etcd: transport security model", ETCD)
        .basis("CIS Kubernetes Benchmark 2.2, 2.5", CIS)
        .remedy(Remedy::new(
            "Set --client-cert-auth=true and --trusted-ca-file, for peers --peer-client-cert-auth=true and \
             --peer-trusted-ca-file.",
        )),
        checks_of("pki.live.etcd-ca", "etcd takes no client of the cluster's CA", |facts, _, tally| {
            etcd_ca(facts, tally)
        })
        .severity(Severity::Critical)
        .alias("PKI-R11")
        .alias("PKI-L05")
        .alias("2.7")
        .page(
            "Every node and every user has a certificate by the cluster's CA; with it etcd lets them read and write \
             everything, past the API server and its rules.",
            "Compares the CAs that etcd names in its CertificateRequest with those that the API server names.",
        )
        .basis("CIS Kubernetes Benchmark 2.7: a unique certificate authority is used for etcd", CIS)
        .remedy(
            Remedy::new(
                "Make a CA for etcd, have it sign the certificates of etcd and of the API server's client, and set it \
                 as --trusted-ca-file.",
            )
            .command("rm /etc/kubernetes/pki/etcd/* /etc/kubernetes/pki/apiserver-etcd-client.*")
            .command(
                "for name in etcd-ca etcd-server etcd-peer etcd-healthcheck-client apiserver-etcd-client; do kubeadm \
                 init phase certs $name; done",
            ),
        ),
        checks_of("pki.live.kubelet-ca", "every kubelet takes the API server's certificate", |facts, _, tally| {
            kubelet_ca(facts, tally)
        })
        .alias("PKI-L05")
        .alias("clientCAFile")
        .page(
            "`kubectl logs`, `exec` and port-forward go from the API server to the kubelet by a client certificate.",
            "Compares the CAs in the kubelet's CertificateRequest with those in the API server's.",
        )
        .basis("Kubelet authentication", "https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/")
        .remedy(Remedy::new(
            "Set authentication.x509.clientCAFile to the cluster's CA, copy the current one to the node, and restart \
             the kubelet.",
        )),
        checks_of("pki.live.same-clients", "all API servers take clients of the same CAs", |facts, _, tally| {
            same_clients(facts, tally)
        })
        .severity(Severity::Critical)
        .alias("PKI-W01")
        .page(
            "A client that one API server knows is nobody to another; behind a balancer it fails now and then.",
            "Compares the CAs that the API servers name in their CertificateRequests.",
        )
        .basis("PKI certificates and requirements", CERTIFICATES)
        .remedy(Remedy::new(
            "Copy ca.crt and front-proxy-ca.crt from one node of the control plane to the others, and restart their \
             API servers.",
        )),
    ]
}
