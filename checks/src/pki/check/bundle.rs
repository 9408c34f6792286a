//! Bundles: that what is trusted are CAs, of this cluster, and in force.

use std::collections::{BTreeMap, BTreeSet};

use super::chain::verified;
use super::public::is_public;
use super::*;
use crate::pki::discover::Role;
use crate::pki::facts::Bundle;
use crate::pki::store::Held;
use crate::pki::x509::Certificate;
use crate::pki::x509::path::{ProblemKind, Signature};

/// A rotation has two roots, with intermediates a few more CAs; a system's bundle has more than a hundred.
const MOST_ROOTS: usize = 5;

/// What clients are known by.
const OF_CLIENTS: [Role; 5] =
    [Role::ClientCa, Role::FrontProxyCa, Role::EtcdClientCa, Role::EtcdPeerCa, Role::KubeletClientCa];

fn expired(held: &Held, view: &View<'_>) -> bool {
    held.certificate.not_after < view.profile.now
}

/// Trusted CAs that have expired and are missed: the first of a bundle in which all have, and those on which a
/// certificate hangs that no other CA beside them verifies.
fn dead<'f>(view: &View<'f>) -> Vec<(&'f Bundle, &'f Held)> {
    let mut missed = Vec::new();
    for one in verified(view).iter().filter(|one| !one.accepted) {
        let ended = one.refusals(view).filter(|problem| problem.at > 0 && problem.kind == ProblemKind::Expired);
        missed.extend(ended.map(|problem| (one.bundle.file.as_str(), one.at(problem).fingerprint)));
    }
    let mut all = Vec::new();
    for bundle in &view.facts.bundles {
        if bundle.certificates.iter().all(|held| expired(held, view)) {
            // What somebody presents is judged as such.
            let first = bundle.certificates.iter().find(|held| !view.facts.presents(&held.certificate));
            all.extend(first.map(|held| (bundle, held)));
        } else {
            let held = bundle.certificates.iter().filter(|held| {
                expired(held, view) && missed.contains(&(bundle.file.as_str(), held.certificate.fingerprint))
            });
            all.extend(held.map(|held| (bundle, held)));
        }
    }
    all
}

/// Does it trust so many roots that they cannot be the cluster's own? OpenShift has a signer for each purpose.
fn is_crowded(bundle: &Bundle, view: &View<'_>) -> bool {
    let roots = bundle.certificates.iter().filter(|held| held.certificate.is_self_issued()).count();
    roots > MOST_ROOTS && !is_openshift(view)
}

fn is_openshift(view: &View<'_>) -> bool {
    view.facts.discovery.layouts.iter().any(|layout| layout.name == "OpenShift")
}

/// Every file that clients are known by, once, with all that it is for; those aside that trust half the world, which
/// is said of them.
fn of_clients<'f>(view: &View<'f>) -> impl Iterator<Item = (&'f Bundle, Vec<Role>)> {
    let mut files: BTreeMap<&str, (&Bundle, Vec<Role>)> = BTreeMap::new();
    let bundles = view.facts.bundles.iter().filter(|one| OF_CLIENTS.contains(&one.role));
    for bundle in bundles.filter(|one| !is_crowded(one, view)) {
        files.entry(&bundle.file).or_insert_with(|| (bundle, Vec::new())).1.push(bundle.role);
    }
    files.into_values()
}

/// Roots of a bundle that have nothing to do with this node, where others of it have: of another name, and without
/// any certificate here that they have signed, and without a key.
fn strangers<'f>(bundle: &'f Bundle, view: &View<'f>) -> Vec<&'f Held> {
    let is_root = |held: &&Held| held.certificate.is_self_issued() && held.certificate.is_ca() && !expired(held, view);
    let roots: Vec<_> = bundle.certificates.iter().filter(is_root).collect();
    if roots.len() < 2 {
        return Vec::new();
    }
    let all = view.facts.certificates();
    let signs = |root: &Certificate| {
        let of_it = |held: &Held| {
            let one = &held.certificate;
            one.issuer.der == root.subject.der
                && !one.is_self_issued()
                && view.facts.signatures.check(one, &root.public_key) == Signature::Good
        };
        view.facts.has_key_of(root) || all.iter().any(|(_, held)| of_it(held))
    };
    // k3s and OpenShift write the time into the name.
    let name = |held: &Held| held.certificate.subject.to_string().split('@').next().unwrap_or_default().to_owned();
    let (known, unknown): (Vec<_>, Vec<_>) = roots.into_iter().partition(|held| signs(&held.certificate));
    let names: BTreeSet<_> = known.into_iter().map(name).collect();
    let strange = |held: &&Held| !names.contains(&name(held)) && !is_public(&held.certificate.public_key);
    if names.is_empty() { Vec::new() } else { unknown.into_iter().filter(strange).collect() }
}

fn breach(bundle: &Bundle, held: &Held, message: &str) -> Breach {
    let message = format!("{}: {} {message}", bundle.file, held.certificate.subject);
    Breach::new(&bundle.file, message).at(&bundle.file, Some(held.line).filter(|line| *line > 0))
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    let trusted = |id, title, judge: fn(&Bundle, &View<'_>, &mut Tally)| {
        claim(id, title, Of::Certificates, "bundles", move |view, tally| {
            for bundle in &view.facts.bundles {
                tally.look();
                judge(bundle, view, tally);
            }
        })
        .label("chain")
    };
    vec![
        claim(
            "pki.chain.ca-expired",
            "No CA that a certificate needs has expired",
            Of::Certificates,
            "CAs",
            |view, tally| {
                view.facts.bundles.iter().for_each(|_| tally.look());
                for (bundle, held) in dead(view) {
                    tally.breach(
                        breach(bundle, held, "has expired, and with it every certificate that it has signed")
                            .found(held.certificate.not_after.to_string()),
                    );
                }
                for one in &view.facts.credentials {
                    for held in one.chain[1..].iter().filter(|held| expired(held, view) && held.certificate.is_ca()) {
                        let message =
                            format!("{}: {} behind the certificate has expired", one.file, held.certificate.subject);
                        tally.breach(
                            Breach::new(&one.file, message)
                                .found(held.certificate.not_after.to_string())
                                .at(&one.file, Some(held.line)),
                        );
                    }
                }
            },
        )
        .severity(Severity::Critical)
        .label("chain")
        .alias("PKI-C09")
        .page(
            "All certificates that the CA has signed are rejected at once.",
            "Compares the end of every CA in \
            bundles and behind certificates with the time of the audit. In a bundle of several it must be one \
            that a certificate needs to be verified; of others see pki.chain.bundle-expired.",
        )
        .basis("RFC 5280 section 6: certification path validation", RFC5280)
        .remedy(Remedy::new(
            "Issue the CA anew with the same key, so that what it has signed is good again, put \
            it into every bundle, then rotate it.",
        )),
        trusted("pki.chain.bundle-not-ca", "CA bundles hold only CAs", |bundle, _, tally| {
            for held in bundle.certificates.iter().filter(|held| !held.certificate.is_ca()) {
                tally.breach(breach(bundle, held, "is not a CA"));
            }
        })
        .alias("PKI-C11")
        .alias("PKI-C04")
        .page(
            "Go takes whatever is trusted for a CA, others do not. A certificate of a server in a bundle of \
            CAs is a mistake of whoever copied it.",
            "Looks at the basic constraints of all that is in the \
            files of CAs.",
        )
        .basis("RFC 5280 section 4.2.1.9: basic constraints", RFC5280)
        .remedy(Remedy::new("Replace it by the certificate of the CA.")),
        trusted("pki.chain.bundle-expired", "No CA bundle holds an expired CA", |bundle, view, tally| {
            let old: Vec<_> = bundle.certificates.iter().filter(|held| expired(held, view)).collect();
            if old.len() < bundle.certificates.len() {
                // Of those that something needs another claim tells.
                let dead: Vec<_> = dead(view)
                    .into_iter()
                    .filter(|(of, _)| of.file == bundle.file)
                    .map(|(_, held)| held.certificate.fingerprint)
                    .collect();
                for held in old.into_iter().filter(|held| !dead.contains(&held.certificate.fingerprint)) {
                    let message = format!("{}: {} has expired", bundle.file, held.certificate.subject);
                    tally.breach(
                        Breach::new(&bundle.file, message)
                            .found(held.certificate.not_after.to_string())
                            .at(&bundle.file, Some(held.line)),
                    );
                }
            }
        })
        .severity(Severity::Medium)
        .alias("PKI-C11")
        .page(
            "It is left over from a rotation. Some clients stop at the first CA of the right name and find \
            that it has expired.",
            "Compares the ends of the CAs in bundles of several, those aside without \
            which something is refused: see pki.chain.ca-expired.",
        )
        .basis(
            "Manual rotation of CA certificates",
            "https://kubernetes.io/docs/tasks/tls/manual-rotation-of-ca-certificates/",
        )
        .remedy(Remedy::new("Remove the expired CA from the file.")),
        trusted(
            "pki.chain.bundle-crowded",
            "CA bundles hold the cluster's CAs, not public roots",
            |bundle, view, tally| {
                if is_crowded(bundle, view) {
                    let roots = bundle.certificates.iter().filter(|held| held.certificate.is_self_issued()).count();
                    let message = format!(
                        "{} holds {roots} roots, which {} trusts as {}",
                        bundle.file, bundle.holder, bundle.role
                    );
                    tally.breach(
                        Breach::new(&bundle.file, message)
                            .found(roots.to_string())
                            .wanted("the cluster's own")
                            .at(&bundle.file, None),
                    );
                }
            },
        )
        .alias("PKI-C11")
        .alias("PKI-R19")
        .page(
            "With a system's bundle for --client-ca-file any company that sells certificates decides who is a \
            client.",
            "Counts the roots in each bundle. OpenShift has a signer for each purpose, and is not judged.",
        )
        .basis("PKI certificates and requirements: required CAs", CERTIFICATES)
        .remedy(Remedy::new("Name a file that holds the cluster's CA alone.")),
        claim(
            "pki.chain.bundle-public",
            "No client CA bundle holds a public CA",
            Of::Roles(&OF_CLIENTS),
            "bundles of clients",
            |view, tally| {
                for (bundle, roles) in of_clients(view) {
                    tally.look();
                    for held in bundle.certificates.iter().filter(|held| is_public(&held.certificate.public_key)) {
                        let roles: Vec<_> = roles.iter().map(|role| role.title()).collect();
                        tally.breach(
                            breach(
                                bundle,
                                held,
                                &format!("is a public CA, and is trusted as {}", roles.join(" and as ")),
                            )
                            .wanted("the cluster's own"),
                        );
                    }
                }
            },
        )
        .label("chain")
        .alias("PKI-C11")
        .page(
            "Whoever buys a certificate of it, or gets one for nothing, is a client here: by the name, and in \
                the groups, that the CA writes into it.",
            "Compares the key of every CA of clients (--client-ca-file, --requestheader-client-ca-file, etcd's \
                --trusted-ca-file and --peer-trusted-ca-file, the kubelet's clientCAFile) with those of the \
                roots of Mozilla's programme. Of a whole system's bundle see pki.chain.bundle-crowded.",
        )
        .basis("PKI certificates and requirements: required CAs", CERTIFICATES)
        .remedy(Remedy::new(
            "Take it out. Where it is there to verify servers by, it belongs into another file: \
            --root-ca-file, --etcd-cafile, --oidc-ca-file.",
        )),
        claim(
            "pki.chain.bundle-stranger",
            "Every root in a client CA bundle has signed a known certificate",
            Of::Certificates,
            "bundles of clients",
            |view, tally| {
                // A node of workers sees too few of the kubelet's clients to tell.
                let sees_clients = view.facts.of_role(Role::ApiserverKubeletClient).next().is_some();
                for (bundle, roles) in of_clients(view) {
                    if is_openshift(view) || (roles == [Role::KubeletClientCa] && !sees_clients) {
                        continue;
                    }
                    tally.look();
                    for held in strangers(bundle, view) {
                        tally.breach(
                            breach(bundle, held, "is trusted, but has signed no certificate of this node")
                                .wanted("a CA with a known purpose"),
                        );
                    }
                }
            },
        )
        .severity(Severity::Low)
        .label("chain")
        .alias("PKI-C11")
        .page(
            "A second root in the bundle makes clients just as the first does, system:masters among them. Where \
                people's certificates are of a company's CA it is meant to be there: then waive this; where \
                nobody knows it, somebody has left a door open.",
            "Looks in each bundle of clients with several roots for those that have signed no certificate of \
                this node, whose key is not here, and that have another name than those that have. So the \
                overlap of a rotation, the old root and the new one of one name (k3s: but for the time in it), \
                is no stranger. Without any root that is known here nothing is said, nor of OpenShift, which \
                has a signer for each purpose.",
        )
        .basis(
            "Manual rotation of CA certificates",
            "https://kubernetes.io/docs/tasks/tls/manual-rotation-of-ca-certificates/",
        )
        .remedy(Remedy::new(
            "Find the owner of the CA; if there is none, remove it from the file and restart \
            the component.",
        )),
    ]
}
