//! Roles: which CAs a cluster must have, and which must not be one.

pub(super) use super::san::{fits, names};
use super::*;
use crate::pki::discover::{Component, KUBELET_SERVING, Role, SIGNERS, SIGNING};
use crate::pki::facts::Bundle;
use crate::pki::store::Held;
use crate::pki::x509::path::Signature;
use crate::pki::x509::{Certificate, Fingerprint};

const AGGREGATION: &str = "https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/";

fn on(bundle: &Bundle, message: String) -> Breach {
    Breach::new(&bundle.file, message).at(&bundle.file, None)
}

/// Is this CA in the bundle, or has one that is in it signed it?
pub(super) fn trusts(bundle: &Bundle, authority: &Certificate, view: &View<'_>) -> bool {
    bundle.certificates.iter().map(|held| &held.certificate).any(|trusted| {
        trusted.public_key.sha256 == authority.public_key.sha256
            || view.facts.signatures.check(authority, &trusted.public_key) == Signature::Good
    })
}

/// The keys of the CAs that sign for kubelets and users: those that the controller manager signs by; all of clients,
/// where that is not known.
fn signers(facts: &Facts, clients: &Bundle) -> Vec<Fingerprint> {
    let signing = facts.bundles.iter().filter(|bundle| bundle.role == Role::SigningCa);
    let keys =
        |bundle: &Bundle| bundle.certificates.iter().map(|held| held.certificate.public_key.sha256).collect::<Vec<_>>();
    let all: Vec<_> = signing.flat_map(keys).collect();
    if all.is_empty() { keys(clients) } else { all }
}

fn authorities() -> Vec<Check> {
    vec![
        claim(
            "pki.ca.front-proxy-own",
            "The front-proxy CA does not sign client certificates",
            Of::Roles(&[Role::FrontProxyCa, Role::ClientCa]),
            "front-proxy CAs",
            |view, tally| {
                let Some(proxy) = view.facts.bundle(Role::FrontProxyCa) else { return };
                let Some(clients) = view.facts.bundle(Role::ClientCa) else { return };
                tally.look();
                for held in &proxy.certificates {
                    // A file of clients without the CA that signs for them is another fault, and of another claim.
                    let signers = signers(view.facts, clients);
                    let key = held.certificate.public_key.sha256;
                    let known = |key: &Fingerprint| {
                        clients.certificates.iter().any(|one| one.certificate.public_key.sha256 == *key)
                    };
                    if known(&key) && signers.iter().any(known) {
                        let message = format!(
                            "{} is trusted for the front proxy and, in {}, for clients",
                            held.certificate.subject, clients.file
                        );
                        tally
                            .breach(on(proxy, message).found(format!("sha256:{}", held.certificate.public_key.sha256)));
                    }
                }
            },
        )
        .severity(Severity::Critical)
        .label("role")
        .alias("PKI-R05")
        .alias("PKI-R19")
        .page(
            "A certificate of the front proxy's CA lets its holder say who they are in a header. If that CA \
            signs for clients as well, every client can be anyone, or, where names are listed, no client is let \
            in.",
            "Compares the keys of the CAs in --requestheader-client-ca-file and --client-ca-file.",
        )
        .basis("Configure the aggregation layer: CA reusage and conflicts", AGGREGATION)
        .remedy(Remedy::new(
            "Where it stands in the clients' file beside their own CA, take it out of that. \
            Where both are one, make a CA for the front proxy alone, and its client's certificate of it: what \
            is there kubeadm leaves as it is.",
        )),
        claim(
            "pki.ca.etcd-own",
            "The etcd CA does not sign client certificates of the cluster",
            Of::Roles(&[Role::ClientCa, Role::EtcdClientCa, Role::EtcdServerCa]),
            "CAs of etcd",
            |view, tally| {
                let Some(clients) = view.facts.bundle(Role::ClientCa) else { return };
                // What the API server verifies etcd by tells of etcd's clients only where what etcd trusts is not
                // known.
                let signers = signers(view.facts, clients);
                let etcd =
                    [Role::EtcdClientCa, Role::EtcdServerCa].into_iter().find_map(|role| view.facts.bundle(role));
                if let Some(etcd) = etcd {
                    tally.look();
                    for held in &etcd.certificates {
                        if signers.contains(&held.certificate.public_key.sha256) {
                            let message = format!(
                                "{} signs for etcd's clients and for kubelets and users: any of \
                            them can read and write etcd",
                                held.certificate.subject
                            );
                            tally.breach(
                                on(etcd, message).found(format!("sha256:{}", held.certificate.public_key.sha256)),
                            );
                            return;
                        }
                    }
                }
            },
        )
        .severity(Severity::Critical)
        .label("role")
        .label("CIS")
        .alias("PKI-R11")
        .alias("CIS 2.7")
        .page(
            "etcd lets every client of its CA do everything. If that CA signs for kubelets and users, they \
            all are the cluster's owner.",
            "Compares the keys of the CAs that etcd trusts (--trusted-ca-file; \
            where that is not known, --etcd-cafile) and of --client-ca-file. RKE1 does this by design.",
        )
        .basis("CIS Kubernetes Benchmark 2.7", CIS)
        .remedy(Remedy::new(
            "Where it stands in etcd's file beside etcd's own CA, take it out of that. Where \
            both are one, make a CA for etcd alone, and its certificates of it: what is there kubeadm leaves as \
            it is.",
        )),
        claim(
            "pki.ca.names",
            "CAs for different purposes have different names",
            Of::Roles(&[Role::ClientCa, Role::FrontProxyCa, Role::EtcdClientCa]),
            "CAs",
            |view, tally| {
                let roles = [Role::ClientCa, Role::FrontProxyCa, Role::EtcdClientCa];
                let all: Vec<_> = roles.into_iter().filter_map(|role| view.facts.bundle(role)).collect();
                for (number, one) in all.iter().enumerate() {
                    tally.look();
                    for other in &all[..number] {
                        // One CA for two purposes is another finding; Talos gives that of the front proxy no name at
                        // all.
                        let namesake = |held: &&Held| {
                            let name = held.certificate.subject.to_string();
                            let same = |theirs: &Held| {
                                theirs.certificate.subject.to_string() == name
                                    && theirs.certificate.public_key.sha256 != held.certificate.public_key.sha256
                            };
                            !name.is_empty() && other.certificates.iter().any(same)
                        };
                        if let Some(held) = one.certificates.iter().find(namesake) {
                            let message = format!(
                                "{} and {}, two CAs, are both called {}",
                                one.role, other.role, held.certificate.subject
                            );
                            tally.breach(on(one, message).found(held.certificate.subject.to_string()));
                        }
                    }
                }
            },
        )
        .severity(Severity::Low)
        .label("role")
        .alias("PKI-R05")
        .page(
            "What a certificate says of its issuer is that name: people take one CA for the other, and put it \
            where it must not be. Programs that go by the name alone report a bad signature, and not the wrong \
            CA.",
            "Compares the subjects of the CAs of API clients, of the front proxy and of etcd that have \
            different keys.",
        )
        .basis("PKI certificates and requirements: required CAs", CERTIFICATES)
        .remedy(Remedy::new(
            "Give it a name of its own when it is rotated next: kubeadm's are kubernetes, \
            front-proxy-ca and etcd-ca.",
        )),
        claim(
            "pki.ca.signing-trusted",
            "The API server trusts the CA that the controller manager signs with",
            Of::Roles(&[Role::ClientCa, Role::SigningCa]),
            "signing CAs",
            |view, tally| {
                let Some(clients) = view.facts.bundle(Role::ClientCa) else { return };
                for signing in view.facts.bundles.iter().filter(|bundle| bundle.role == Role::SigningCa) {
                    let Some(first) = signing.certificates.first() else { continue };
                    tally.look();
                    if !trusts(clients, &first.certificate, view) {
                        let message = format!(
                            "{} signs for nodes and users, but {} does not trust it",
                            first.certificate.subject, clients.file
                        );
                        tally.breach(on(signing, message));
                    }
                }
            },
        )
        .severity(Severity::Critical)
        .label("role")
        .alias("PKI-R23")
        .page(
            "Nodes that join or renew get certificates that the API server rejects.",
            "Looks whether a CA in \
            --client-ca-file is, or has signed, that of --cluster-signing-cert-file, or those of the signers \
            kubelet-client and kube-apiserver-client.",
        )
        .basis("PKI certificates and requirements: certificate paths", CERTIFICATES)
        .remedy(Remedy::new("Name the same CA, or add it to --client-ca-file.")),
        claim(
            "pki.ca.kubelet-signer-trusted",
            "The API server trusts the CA that signs kubelet serving certificates",
            Of::Roles(&[Role::KubeletServingCa, Role::SigningCa, Role::OtherSigningCa]),
            "signers of what kubelets serve",
            |view, tally| {
                let discovery = &view.facts.discovery;
                let bootstraps = discovery
                    .command(Component::Kubelet)
                    .is_some_and(|line| line.get("rotate-server-certificates") == Some("true"));
                let Some(manager) = discovery.command(Component::ControllerManager).filter(|_| bootstraps) else {
                    return;
                };
                let Some(servers) = view.facts.bundle(Role::KubeletServingCa) else { return };
                let named = [KUBELET_SERVING, SIGNING]
                    .into_iter()
                    .find_map(|[certificate, _]| manager.paths(certificate).pop());
                let Some(signing) = named.and_then(|file| view.facts.bundles.iter().find(|bundle| bundle.file == file))
                else {
                    return;
                };
                let Some(first) = signing.certificates.first() else { return };
                tally.look();
                if !trusts(servers, &first.certificate, view) {
                    let message = format!(
                        "{} signs the serving certificates of kubelets, but {} does not trust it",
                        first.certificate.subject, servers.file
                    );
                    tally.breach(on(signing, message));
                }
            },
        )
        .label("role")
        .alias("PKI-R14")
        .alias("kubernetes.io/kubelet-serving")
        .page(
            "Once the kubelets have renewed what they serve, `kubectl logs`, `exec` and `port-forward` fail \
            on every node.",
            "Where the kubelet has serverTLSBootstrap and the API server \
            --kubelet-certificate-authority, looks whether a CA in that is, or has signed, the one of \
            --cluster-signing-kubelet-serving-cert-file or --cluster-signing-cert-file.",
        )
        .basis("Certificate management with kubeadm: kubelet serving certificates", KUBEADM)
        .remedy(Remedy::new("Add the signer's CA to the file of --kubelet-certificate-authority.")),
        claim(
            "pki.ca.signing-single",
            "The controller manager's signing file holds one certificate",
            Of::Roles(&[Role::SigningCa, Role::OtherSigningCa]),
            "signing CAs",
            |view, tally| {
                // A cluster CA that is a chain is read by others as a bundle.
                let Some(line) = view.facts.discovery.command(Component::ControllerManager) else { return };
                let flags = || SIGNERS.iter().map(|[certificate, _]| *certificate).chain([SIGNING[0]]);
                for signing in view
                    .facts
                    .bundles
                    .iter()
                    .filter(|bundle| matches!(bundle.role, Role::SigningCa | Role::OtherSigningCa))
                {
                    let Some(flag) = flags().find(|flag| line.paths(flag).contains(&signing.file)) else { continue };
                    tally.look();
                    if signing.certificates.len() > 1 {
                        let message = format!(
                            "{} holds {} certificates, and --{flag} takes one",
                            signing.file,
                            signing.certificates.len()
                        );
                        tally.breach(on(signing, message).found(signing.certificates.len().to_string()).wanted("1"));
                    }
                }
            },
        )
        .label("role")
        .alias("PKI-C13")
        .alias("client-ca.nochain.crt")
        .alias("expected 1 certificate, found 2")
        .page(
            "kube-controller-manager refuses a file of several and does not start; one that runs signs by \
            what it has read before. k3s keeps a file without the chain for this flag.",
            "Counts the \
            certificates in --cluster-signing-cert-file, and in those of single signers.",
        )
        .basis(
            "kube-controller-manager: --cluster-signing-cert-file",
            "https://kubernetes.io/docs/reference/command-line-tools-reference/kube-controller-manager/",
        )
        .remedy(Remedy::new("Put the issuing CA's certificate alone into a file of its own, and name that.")),
    ]
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    authorities()
}
