//! The cluster: what must be the same on all of its control-plane nodes, and what must not.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use super::*;
use crate::check::Judgment;
use crate::conclusion::{Conclusion, Inconclusive};
use crate::fact::Fact;
use crate::pki::discover::{Component, Role, member};
use crate::pki::talos::{Pair, Part};
use crate::pki::x509::Fingerprint;

const HA: &str =
    "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/high-availability/#manual-certs";

/// The keys of a role: of CAs, or of service accounts.
fn keys(facts: &Facts, role: Role) -> Vec<Fingerprint> {
    let mut keys: Vec<_> = facts
        .discovery
        .of_role(role)
        .filter_map(|one| facts.store.contents(&one.file))
        .flat_map(|contents| {
            let certificates = contents.certificates.iter().map(|held| held.certificate.public_key.sha256);
            let private = contents.keys.iter().map(|key| key.public.sha256);
            certificates.chain(private).chain(contents.public_keys.iter().map(|key| key.sha256)).collect::<Vec<_>>()
        })
        .collect();
    keys.sort();
    keys.dedup();
    keys
}

/// Why files of a role, which are there, tell nothing.
fn unread(facts: &Facts, role: Role) -> impl Iterator<Item = String> {
    let files = facts.discovery.of_role(role).filter_map(|one| facts.store.get(&one.file));
    files.filter_map(|file| match &file.contents {
        Fact::Unreadable(why) | Fact::Malformed(why) | Fact::NotGathered(why) => Some(why.clone()),
        Fact::Absent(_) => file.stat.known().map(|_| format!("{} cannot be read", file.path)),
        Fact::Known(contents) => {
            contents.is_empty().then(|| format!("{} holds nothing that can be compared", file.path))
        }
    })
}

/// A judge that needs other nodes of the control plane.
fn beside(view: &View<'_>, judge: impl Fn(&Facts, &str, &mut Tally)) -> Judgment {
    beside_and(view, judge, |_| {})
}

/// The same, with something to conclude from all of them.
fn beside_and(
    view: &View<'_>,
    judge: impl Fn(&Facts, &str, &mut Tally),
    conclude: impl FnOnce(&mut Tally),
) -> Judgment {
    if let Some(nothing) = view.facts.there()? {
        return Ok(nothing);
    }
    if view.peers.is_empty() {
        return Ok(Conclusion::not_applicable("one node was given; --host may be given several times"));
    }
    let mut tally = Tally::default();
    for peer in view.peers {
        match peer.facts.there() {
            Ok(None) => judge(peer.facts, peer.name, &mut tally),
            Ok(Some(_)) => {}
            Err(why) => tally.unknown(Inconclusive::to_string(&why)),
        }
    }
    conclude(&mut tally);
    tally.conclude("nodes", "no other node that was given has a part in this")
}

/// A judge of what must agree on all nodes: the node that differs from most others has the finding, and they do not.
/// Without a majority each node has it.
fn agree(
    view: &View<'_>,
    theirs: impl Fn(&Facts, &str, &mut Tally) -> Option<Result<(), String>>,
    breach: impl Fn(&str, &str, String) -> Breach,
) -> Judgment {
    let (differing, agreeing) = (RefCell::new(Vec::new()), Cell::new(1));
    let judge = |facts: &Facts, name: &str, tally: &mut Tally| match theirs(facts, name, tally) {
        None => {}
        Some(agreed) => {
            tally.look();
            match agreed {
                Ok(()) => agreeing.set(agreeing.get() + 1),
                Err(theirs) => differing.borrow_mut().push((name.to_owned(), theirs)),
            }
        }
    };
    beside_and(view, judge, |tally| {
        let differing = differing.borrow();
        let majority = agreeing.get() > differing.len();
        if let (Some((_, theirs)), false) = (differing.first(), majority) {
            let names: Vec<_> = differing.iter().map(|(name, _)| name.as_str()).collect();
            let own = view.facts.settings.node.as_deref().unwrap_or("this node");
            tally.breach(breach(own, &names.join(", "), theirs.clone()));
        }
    })
}

/// What must be the same on all control-plane nodes.
struct Same {
    id: &'static str,
    title: &'static str,
    role: Role,
    what: &'static str,
    alias: &'static str,
    why: &'static str,
}

const SAME: [Same; 5] = [
    Same {
        id: "pki.cluster.ca",
        title: "all nodes have the same CA of the cluster",
        role: Role::ClientCa,
        what: "CA of the cluster",
        alias: "x509: certificate signed by unknown authority",
        why: "A client whose CA one API server knows and another does not works every other time, as the load \
            balancer has it.",
    },
    Same {
        id: "pki.cluster.front-proxy-ca",
        title: "all nodes have the same CA of the front proxy",
        role: Role::FrontProxyCa,
        what: "CA of the front proxy",
        alias: "requestheader-client-ca-file differs",
        why: "The CA is published once for the cluster; requests that another API server passes on are refused.",
    },
    Same {
        id: "pki.cluster.etcd-ca",
        title: "all nodes have the same CA of etcd",
        role: Role::EtcdClientCa,
        what: "CA of etcd",
        alias: "remote error: tls: bad certificate",
        why: "Members with different CAs refuse each other: the cluster loses its quorum as soon as they start again.",
    },
    Same {
        id: "pki.cluster.service-account-key",
        title: "all nodes sign tokens of service accounts with the same key",
        role: Role::ServiceAccountKey,
        what: "key of service accounts",
        alias: "invalid bearer token",
        why: "Tokens of the controller manager that leads now are refused by the API servers of other nodes.",
    },
    Same {
        id: "pki.cluster.service-account-public-key",
        title: "all nodes verify tokens of service accounts by the same keys",
        role: Role::ServiceAccountPublicKeys,
        what: "set of public keys of service accounts",
        alias: "service-account-key-file differs",
        why: "A token that one API server takes is refused by another.",
    },
];

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    let mut all: Vec<_> = SAME
        .iter()
        .map(|row| {
            Check::new(row.id, row.title, move |view| {
                let own = keys(view.facts, row.role);
                let list = |keys: &[Fingerprint]| {
                    keys.iter().map(|key| format!("sha256:{key}")).collect::<Vec<_>>().join(", ")
                };
                let theirs = |peer: &Facts, name: &str, tally: &mut Tally| {
                    let theirs = keys(peer, row.role);
                    if own.is_empty() || theirs.is_empty() {
                        for (node, facts) in [("this node", view.facts), (name, peer)] {
                            unread(facts, row.role).for_each(|why| tally.unknown(format!("{node}: {why}")));
                        }
                        return None;
                    }
                    Some(if own == theirs { Ok(()) } else { Err(list(&theirs)) })
                };
                agree(view, theirs, |node, others, theirs| {
                    let message = format!("{node} does not have the same {} as {others}", row.what);
                    let files = view.facts.discovery.of_role(row.role).map(|one| remedy::quoted(&one.file));
                    let files: BTreeSet<_> = files.collect();
                    let files = files.into_iter().collect::<Vec<_>>().join(" ");
                    let remedy = Remedy::new(format!(
                        "Compare the files on all nodes, copy them from a node that has the right ones and \
                            restart the components: {files}."
                    ))
                    .command(format!("sha256sum {files}"));
                    Breach::new(node, message).found(list(&own)).wanted(theirs).remedy(remedy)
                })
            })
            .severity(Severity::Critical)
            .label("pki")
            .label("cluster")
            .alias("PKI-W01")
            .alias(row.alias)
            .page(row.why, "Compares the SHA-256 of the public keys on all nodes that were given.")
            .basis("Creating highly available clusters with kubeadm: manual certificate distribution", HA)
            .remedy(Remedy::new("Copy the files from a node that has the right ones, then restart the components."))
        })
        .collect();
    all.extend([
        Check::new("pki.cluster.super-admin", "At most one node has super-admin.conf", |view| {
            let has = |facts: &Facts| facts.discovery.kubeconfigs.iter().any(|one| one.role == Role::SuperAdminClient);
            let own = has(view.facts);
            beside(view, |peer, name, tally| {
                tally.look();
                if own && has(peer) {
                    tally.breach(Breach::new(name, format!("{name} has a super-admin.conf, too")));
                }
            })
        })
        .severity(Severity::Medium)
        .label("pki")
        .label("cluster")
        .alias("PKI-R18")
        .page(
            "kubeadm writes it on the first node alone. It goes past RBAC: it belongs into a safe.",
            "Looks for super-admin.conf on all nodes that were given.",
        )
        .basis("Certificate management with kubeadm", KUBEADM)
        .remedy(Remedy::new("Move it off the nodes.").command("rm /etc/kubernetes/super-admin.conf")),
        Check::new("pki.cluster.kubelet-user", "Every kubelet has a user of its own", |view| {
            let user = |facts: &Facts| {
                facts
                    .of_role(Role::KubeletClient)
                    .filter_map(|one| one.leaf().subject.common_name().map(str::to_owned))
                    .next()
            };
            let own = user(view.facts);
            beside(view, |peer, name, tally| {
                let theirs = user(peer);
                tally.look();
                if let (Some(own), Some(theirs)) = (&own, &theirs)
                    && own == theirs
                {
                    tally.breach(
                        Breach::new(name, format!("the kubelet of {name} is the user {theirs}, too")).found(theirs),
                    );
                }
            })
        })
        .severity(Severity::Critical)
        .label("pki")
        .label("cluster")
        .alias("PKI-W02")
        .page(
            "Each takes the other's Node for its own: pods move between them as they write their status.",
            "Compares \
            the common names of the kubelets' client certificates on all nodes that were given.",
        )
        .basis("PKI certificates and requirements: certificates for user accounts", CERTIFICATES)
        .remedy(
            Remedy::new("Give the copy a name of its own, and let it join again.")
                .command("kubeadm reset && kubeadm join"),
        ),
        Check::new("pki.cluster.issuer", "All API servers accept each other's service account tokens", |view| {
            let own = issuers(view.facts);
            let theirs = |peer: &Facts, _: &str, _: &mut Tally| {
                let theirs = issuers(peer);
                let (ours, other) = (own.first()?, theirs.first()?);
                let agreed = own.contains(other) && theirs.contains(ours);
                Some(if agreed { Ok(()) } else { Err(theirs.join(", ")) })
            };
            agree(view, theirs, |node, others, theirs| {
                let message = format!("{node} issues tokens as {}, which {others} reject, or rejects theirs", own[0]);
                Breach::new(node, message).found(own.join(", ")).wanted(theirs)
            })
        })
        .severity(Severity::Critical)
        .label("pki")
        .label("cluster")
        .alias("PKI-R16")
        .alias("service-account-issuer")
        .page(
            "A token names its issuer, and an API server takes those of the issuers that it is told. Pods are \
            refused by every other request then, as the load balancer has it.",
            "Compares \
            --service-account-issuer on all nodes that were given: the first, by which tokens are issued, must \
            be one of those of each other node.",
        )
        .basis(
            "Configure service accounts for pods: service account issuer discovery",
            "https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/",
        )
        .remedy(
            Remedy::new(
                "Name the same issuer first on all nodes; to change it, first add the new one \
            behind the old one everywhere.",
            )
            .command("--service-account-issuer=https://kubernetes.default.svc.cluster.local"),
        ),
        Check::new("pki.cluster.private-keys", "No two nodes share a private key", |view| {
            let own: Vec<_> = leaves(view.facts);
            beside(view, |peer, name, tally| {
                for (key, file) in leaves(peer) {
                    tally.look();
                    if let Some((_, ours)) = own.iter().find(|(known, _)| *known == key) {
                        tally.breach(
                            Breach::new(name, format!("{name} has the key of {ours} in {file}"))
                                .found(format!("sha256:{key}")),
                        );
                    }
                }
            })
        })
        .label("pki")
        .label("cluster")
        .alias("PKI-F07")
        .page(
            "One node that is broken into is all nodes then. Keys of serving, peer and kubelet certificates \
            are made on each node.",
            "Compares the public keys of certificates that each node has of its own.",
        )
        .basis("PKI certificates and requirements", CERTIFICATES)
        .remedy(Remedy::new("Make them again on the copy.").command("kubeadm certs renew all")),
        claim(
            "pki.cluster.machine-configs",
            "Machine configurations accept each other's CAs and keys",
            Of::Certificates,
            "machine configurations with the same CA",
            |view, tally| {
                for (part, what) in PARTS {
                    let mut all: Vec<_> = view.facts.discovery.talos.iter().collect();
                    // Those of the control plane first: they count.
                    all.sort_by_key(|(_, talos)| talos.kind);
                    let pairs =
                        all.into_iter().flat_map(|(file, talos)| talos.pairs.iter().map(move |pair| (file, pair)));
                    let signers =
                        pairs.filter(|(_, pair)| pair.part == part).map(|(file, pair)| signer(view.facts, file, pair));
                    let signers: Vec<_> = signers.filter(|signer| !signer.accepts.is_empty()).collect();
                    let Some((first, others)) = signers.split_first() else { continue };
                    for other in others {
                        tally.look();
                        let refused = |by: &Signer, of: &Signer| of.signs.is_some_and(|key| !by.accepts.contains(&key));
                        if refused(first, other) || refused(other, first) {
                            let list = |signer: &Signer| {
                                signer.accepts.iter().map(|key| format!("sha256:{key}")).collect::<Vec<_>>().join(", ")
                            };
                            let message = format!("{} is not {what} of {}", other.place, first.place);
                            tally.breach(
                                Breach::new(&other.place, message)
                                    .found(list(other))
                                    .wanted(list(first))
                                    .at(&other.place, None),
                            );
                        }
                    }
                }
            },
        )
        .severity(Severity::Critical)
        .label("cluster")
        .alias("PKI-W01")
        .alias("x509: certificate signed by unknown authority")
        .alias("talosctl gen config")
        .page(
            "A node that is given a configuration of another cluster, or of the same one before its CA was \
                rotated, cannot join, or is refused by all others. A secrets bundle that is old makes such \
                configurations.",
            "Compares, in all machine configurations, secrets bundles and talosconfigs of a folder, which is \
                one cluster's, what each signs by with what the others accept: the CA and those in acceptedCAs, \
                the key of service accounts and the public keys beside it.",
        )
        .basis("Talos: CA rotation", "https://docs.siderolabs.com/talos/v1.14/security/ca-rotation")
        .remedy(
            Remedy::new("Generate the configuration again from the secrets that the cluster has now.")
                .command(
                    "talosctl \
            gen secrets --from-controlplane-config controlplane.yaml",
                )
                .command(
                    "talosctl gen config \
            --with-secrets secrets.yaml NAME ENDPOINT",
                ),
        ),
    ]);
    all
}

/// The issuers whose tokens the API server takes; by the first it issues them.
fn issuers(facts: &Facts) -> Vec<&str> {
    let line = facts.discovery.command(Component::Apiserver);
    line.into_iter().flat_map(|line| line.all("service-account-issuer")).collect()
}

const PARTS: [(Part, &str); 5] = [
    (Part::Talos, "the CA of Talos's API"),
    (Part::Cluster, "the CA of the cluster"),
    (Part::FrontProxy, "the CA of the front proxy"),
    (Part::Etcd, "the CA of etcd"),
    (Part::ServiceAccounts, "the key of service accounts"),
];

/// What a file of Talos signs by, and what it accepts.
struct Signer {
    place: String,
    signs: Option<Fingerprint>,
    accepts: Vec<Fingerprint>,
}

fn signer(facts: &Facts, file: &str, pair: &Pair<()>) -> Signer {
    let contents = |name: &str| facts.store.contents(&member(file, name));
    let (public, key) = (contents(&pair.name), contents(&pair.key_name).and_then(|contents| contents.key()));
    let public = public.into_iter().flat_map(|contents| {
        let certificates = contents.certificates.iter().map(|held| held.certificate.public_key.sha256);
        certificates.chain(contents.public_keys.iter().map(|key| key.sha256))
    });
    let mut accepts: Vec<_> = public.collect();
    // That a key is not that of its certificate is another finding.
    let signs = key.map(|key| {
        if pair.part == Part::ServiceAccounts { key.sha256 } else { accepts.first().copied().unwrap_or(key.sha256) }
    });
    if pair.part == Part::ServiceAccounts {
        accepts.extend(signs);
    }
    let name = if pair.part == Part::ServiceAccounts { &pair.key_name } else { &pair.name };
    Signer { place: member(file, name), signs, accepts }
}

/// Keys that a node has of its own: not those of CAs and service accounts, and not those that some distributions share.
fn leaves(facts: &Facts) -> Vec<(Fingerprint, String)> {
    let own = |one: &&crate::pki::facts::Credential| {
        matches!(
            one.role,
            Role::ApiserverServing | Role::EtcdServer | Role::EtcdPeer | Role::KubeletClient | Role::KubeletServing
        ) && one.holder != Component::People
    };
    facts.credentials.iter().filter(own).map(|one| (one.leaf().public_key.sha256, one.file.clone())).collect()
}
