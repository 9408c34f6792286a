//! The proof of the PKI suite: PKIs that are right audit clean, and each of many defects, one at a time, is found by
//! its own name and by no other.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "test code")]

mod bad_input;
mod distributions;
mod ed25519;
mod forge;
mod kubelet;
mod kubelet_client;
mod leaks;
mod mutations;
mod readers;
mod remedies;
mod talos;
mod tree;

use std::collections::{BTreeMap, BTreeSet};

use seaworthy_checks::host::{Host, LiveHost, Meta, Recorder, Transcript, read_recording, write_recording};
use seaworthy_checks::pki::{Facts, Peer, View, checks};
use seaworthy_checks::{Profile, Verdict};
use seaworthy_provision::pki::Usage;

use tree::{Base, Tree};

/// What an audit found: breaches by the claim's id, and what could not be told.
#[derive(Debug, Default)]
struct Audit {
    breached: BTreeMap<String, Vec<String>>,
    undetermined: BTreeMap<String, String>,
    held: BTreeSet<String>,
}

fn profile() -> Profile {
    Profile::new(jiff::Timestamp::now())
}

/// What a host says to an audit.
fn record(host: &dyn Host) -> Transcript {
    let recorder = Recorder::new(host, true);
    drop(Facts::read(&recorder));
    recorder.finish()
}

/// What is left of it when it was written to a file and read again, and that as text, an answer a line.
fn through_a_file(transcript: &Transcript) -> (Transcript, String) {
    let meta =
        Meta { hostname: "n".into(), recorded: jiff::Timestamp::UNIX_EPOCH, version: "0".into(), constructed: None };
    let mut bytes = Vec::new();
    write_recording(&meta, transcript, &mut bytes).unwrap();
    let (_, transcript) = read_recording(&bytes[..]).unwrap();
    let text = transcript.iter().map(|answer| serde_json::to_string(&answer).unwrap() + "\n").collect();
    (transcript, text)
}

/// Audits a host as a run does: what it says is recorded, and the recording is judged.
fn audit(host: &dyn Host, peer: Option<&dyn Host>, profile: &Profile) -> Audit {
    let facts = Facts::read(&record(host));
    let peer = peer.map(|peer| Facts::read(&record(peer)));
    let peers: Vec<_> = peer.iter().map(|facts| Peer { name: "other", facts }).collect();
    let mut audit = Audit::default();
    for check in checks() {
        match check.judge(&View { facts: &facts, profile, peers: &peers }).verdict {
            Verdict::Breached(breaches) => {
                audit.breached.insert(check.id, breaches.into_iter().map(|breach| breach.message).collect());
            }
            Verdict::Undetermined(why) => {
                audit.undetermined.insert(check.id, why.to_string());
            }
            Verdict::Holds => {
                audit.held.insert(check.id);
            }
            Verdict::NotApplicable(_) => {}
        }
    }
    audit
}

fn audit_tree(tree: &Tree) -> Audit {
    audit(&LiveHost::open(tree.root()).unwrap(), None, &profile())
}

/// What is right audits clean, and is looked at.
fn clean(base: Base) {
    let Some(tree) = Tree::new(base) else { return };
    let audit = audit_tree(&tree);
    assert!(audit.breached.is_empty() && audit.undetermined.is_empty(), "{base:?}: {audit:#?}");
    assert!(audit.held.len() > 50, "{base:?}: only {} claims were judged: {:?}", audit.held.len(), audit.held);
}

#[test]
fn our_pki_audits_clean() {
    [Base::Rsa, Base::Ecdsa, Base::ExternalCa, Base::Intermediate].into_iter().for_each(clean);
}

#[test]
fn the_pki_of_the_real_kubeadm_audits_clean() {
    [Base::Kubeadm, Base::KubeadmEcdsa, Base::KubeadmExternalCa].into_iter().for_each(clean);
}

#[test]
fn of_a_pair_that_is_none_the_half_that_was_replaced_is_named() {
    let pair = ["etcd/peer.crt", "etcd/peer.key"];
    let hour = std::time::Duration::from_hours(1);
    for (crt, key, said) in [
        (0, 1, Some(": the key was replaced at 1970-01-01T01:00:00Z, and the certificate is of 1970-01-01T00:00:00Z")),
        (2, 1, Some(": the certificate was replaced at 1970-01-01T02:00:00Z, and the key is of 1970-01-01T01:00:00Z")),
        (1, 1, None),
    ] {
        let tree = Tree::new(Base::Ecdsa).unwrap();
        std::fs::copy(tree.pki("etcd/server.key"), tree.pki("etcd/peer.key")).unwrap();
        for (name, hours) in pair.into_iter().zip([crt, key]) {
            let file = std::fs::File::options().write(true).open(tree.pki(name)).unwrap();
            file.set_modified(std::time::UNIX_EPOCH + hour * hours).unwrap();
        }
        let found = audit_tree(&tree).breached;
        let [message] = &found["pki.key.pair"][..] else { panic!("{found:#?}") };
        assert_eq!(message.contains("replaced"), said.is_some(), "{message}");
        assert!(message.ends_with(said.unwrap_or("(CN=cp1)")), "{message}");
    }
}

#[test]
fn an_external_etcd_whose_ca_lies_where_kubeadm_s_does_audits_clean() {
    let tree = Tree::new(Base::Ecdsa).unwrap();
    for name in ["ca.key", "server.crt", "server.key", "peer.crt", "peer.key"] {
        tree.remove(&format!("{}/etcd/{name}", tree::PKI));
    }
    for name in ["healthcheck-client.crt", "healthcheck-client.key"] {
        tree.remove(&format!("{}/etcd/{name}", tree::PKI));
    }
    tree.remove("etc/kubernetes/manifests/etcd.yaml");
    tree.replace(
        mutations::files::APISERVER,
        "=https://127.0.0.1:2379",
        "=https://10.9.0.1:2379,https://10.9.0.2:2379",
    );
    let audit = audit_tree(&tree);
    assert!(audit.breached.is_empty() && audit.undetermined.is_empty(), "{audit:#?}");
    assert!(audit.held.contains("pki.file.present") && audit.held.contains("pki.ca.etcd-own"), "{:?}", audit.held);
}

#[test]
fn what_the_kubelet_serves_is_what_it_is_told_to_serve() {
    const CURRENT: &str = "var/lib/kubelet/pki/kubelet-server-current.pem";
    let made = |tree: &Tree, ended: bool| {
        let mut params = forge::leaf("system:node:cp1", Some("system:nodes"), Some(Usage::Server));
        params.subject_alt_names = vec![rcgen::SanType::DnsName("cp1".try_into().unwrap())];
        if ended {
            (params.not_before, params.not_after) = (forge::days(-300), forge::days(-3));
        }
        let key = forge::key();
        (tree.authority("ca").sign(&params, &key), key.serialize_pem())
    };
    for (bootstraps, current_ended, made_ended, expected) in [
        (true, false, true, None),
        (true, true, false, Some(CURRENT)),
        (false, true, false, None),
        (false, false, true, Some("var/lib/kubelet/pki/kubelet.crt")),
    ] {
        let tree = Tree::new(Base::Ecdsa).unwrap();
        let (certificate, key) = made(&tree, current_ended);
        tree.write(CURRENT, format!("{certificate}{key}"));
        let (certificate, key) = made(&tree, made_ended);
        tree.write("var/lib/kubelet/pki/kubelet.crt", certificate);
        tree.write("var/lib/kubelet/pki/kubelet.key", key);
        if bootstraps {
            tree.replace("var/lib/kubelet/config.yaml", "rotateCert", "serverTLSBootstrap: true\nrotateCert");
        }
        let found = audit_tree(&tree).breached;
        let message = found.get("pki.validity.expired").map(|messages| messages.concat());
        assert_eq!(message.is_some(), expected.is_some(), "{bootstraps} {found:#?}");
        assert!(message.unwrap_or_default().contains(expected.unwrap_or_default()), "{bootstraps} {found:#?}");
        assert_eq!(found.len(), usize::from(expected.is_some()), "{bootstraps} {found:#?}");
    }
}

#[test]
fn of_a_member_of_the_kubelet_s_configuration_the_file_is_named() {
    let tree = Tree::new(Base::Ecdsa).unwrap();
    let config = tree.read("var/lib/kubelet/config.yaml");
    tree.write(
        "var/lib/kubelet/config.yaml",
        format!("{config}tlsCertFile: /etc/a.crt\ntlsPrivateKeyFile: /etc/a.key\n"),
    );
    let found = audit_tree(&tree).breached;
    let [certificate, key] = &found["pki.file.present"][..] else { panic!("{found:#?}") };
    let place = "(--tls-cert-file in /var/lib/kubelet/config.yaml)";
    assert!(certificate.ends_with(place) && key.ends_with(place), "{found:#?}");
}

#[test]
fn components_that_are_told_good_suites_audit_clean() {
    let tree = Tree::new(Base::Ecdsa).unwrap();
    // Those of k3s and of the CIS profile of RKE2; of EKS Anywhere for etcd.
    let suites = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,\
        TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305";
    let manifest = |component: &str| format!("etc/kubernetes/manifests/{component}.yaml");
    for component in ["kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
        mutations::files::flag(&tree, &manifest(component), &format!("tls-cipher-suites={suites}"));
        mutations::files::flag(&tree, &manifest(component), "tls-min-version=VersionTLS12");
    }
    for flag in [&format!("cipher-suites={suites}"), "tls-min-version=TLS1.2", "tls-max-version=TLS1.3"] {
        mutations::files::flag(&tree, &manifest("etcd"), flag);
    }
    let audit = audit_tree(&tree);
    assert!(audit.breached.is_empty() && audit.undetermined.is_empty(), "{audit:#?}");
    assert!(audit.held.contains("pki.flag.tls-refused"), "{:?}", audit.held);
}

#[test]
fn a_root_of_the_same_name_is_a_rotation() {
    for (name, finds) in [("kubernetes", false), ("kubernetes@1790000000", false), ("kubernetes-2", true)] {
        let tree = Tree::new(Base::Ecdsa).unwrap();
        mutations::chains::stranger(&tree, name);
        let found = audit_tree(&tree).breached;
        assert_eq!(found.contains_key("pki.chain.bundle-stranger"), finds, "{name}: {found:#?}");
        assert_eq!(found.len(), usize::from(finds), "{name}: {found:#?}");
    }
}

#[test]
fn an_etcd_that_is_told_by_a_file_audits_clean() {
    let tree = Tree::new(Base::Ecdsa).unwrap();
    mutations::files::by_file(&tree, |config| config);
    let audit = audit_tree(&tree);
    assert!(audit.breached.is_empty() && audit.undetermined.is_empty(), "{audit:#?}");
    assert!(audit.held.contains("pki.flag.etcd") && audit.held.contains("pki.san.etcd-peer"), "{:?}", audit.held);
    tree.remove("etc/etcd/etcd.yaml");
    assert!(audit_tree(&tree).undetermined["pki.file.readable"].contains("/etc/etcd/etcd.yaml"));
}

#[test]
fn a_scheduler_that_is_told_by_a_file_audits_clean() {
    let tree = Tree::new(Base::Ecdsa).unwrap();
    mutations::discovery::scheduler(&tree, "/etc/kubernetes/scheduler.conf");
    let audit = audit_tree(&tree);
    assert!(audit.breached.is_empty() && audit.undetermined.is_empty(), "{audit:#?}");
    tree.remove("etc/kubernetes/scheduler-config.yaml");
    assert!(audit_tree(&tree).undetermined["pki.file.readable"].contains("/etc/kubernetes/scheduler-config.yaml"));
}

#[test]
fn each_defect_is_found_by_its_name_and_by_no_other() {
    let rows = mutations::all();
    assert!(rows.len() >= 80, "{} mutations", rows.len());
    let (next, faults) = (std::sync::atomic::AtomicUsize::new(0), std::sync::Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(row) = rows.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    let found = mutations::run(row);
                    let ids: BTreeSet<_> = found.breached.keys().map(String::as_str).collect();
                    let wanted: BTreeSet<_> = row.finds.iter().copied().collect();
                    if ids != wanted {
                        faults
                            .lock()
                            .unwrap()
                            .push(format!("{}: wanted {wanted:?}, found {:#?}", row.name, found.breached));
                    }
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), rows.len(), faults.join("\n"));
}

#[test]
fn of_three_nodes_the_odd_one_out_is_named() {
    let nodes: Vec<_> = ["cp1", "cp2", "cp3"]
        .iter()
        .map(|name| {
            let tree = Tree::new(Base::Ecdsa).unwrap();
            tree.write("etc/hostname", format!("{name}\n"));
            if *name == "cp3" {
                tree.write(&format!("{}/sa.key", tree::PKI), forge::key().serialize_pem());
                tree.replace(
                    mutations::files::APISERVER,
                    "=https://kubernetes.default.svc.cluster.local",
                    "=https://cp3.test",
                );
            }
            (*name, Facts::read(&record(&LiveHost::open(tree.root()).unwrap())))
        })
        .collect();
    let profile = profile();
    let found = |own: usize, others: &[usize], id: &str| {
        let peers: Vec<_> = others.iter().map(|&at| Peer { name: nodes[at].0, facts: &nodes[at].1 }).collect();
        let check = checks().into_iter().find(|check| check.id == id).unwrap();
        match check.judge(&View { facts: &nodes[own].1, profile: &profile, peers: &peers }).verdict {
            Verdict::Breached(breaches) => {
                breaches.into_iter().map(|breach| (breach.subject, breach.message)).collect()
            }
            verdict => {
                assert!(matches!(verdict, Verdict::Holds), "{id}: {verdict:?}");
                Vec::new()
            }
        }
    };
    for id in ["pki.cluster.service-account-key", "pki.cluster.issuer"] {
        assert!(found(0, &[1, 2], id).is_empty() && found(1, &[0, 2], id).is_empty(), "{id}");
        let odd: Vec<(String, String)> = found(2, &[0, 1], id);
        assert!(
            matches!(&odd[..], [(subject, message)] if subject == "cp3" && message.contains("cp1, cp2")),
            "{id}: {odd:?}"
        );
        // Of two nobody knows which one is wrong: both are named.
        for (own, other) in [(0, 2), (2, 0)] {
            let [(subject, message)] = &found(own, &[other], id)[..] else { panic!("{id}") };
            assert!(subject == nodes[own].0 && message.contains(nodes[other].0), "{id}: {message}");
        }
    }
}

#[test]
fn every_claim_is_seen_to_fail_and_to_hold() {
    let rows = mutations::all();
    let caught: BTreeSet<_> = rows.iter().flat_map(|row| row.finds).copied().chain(talos::finds()).collect();
    let all: BTreeSet<_> = checks().into_iter().map(|check| check.id).collect();
    // What servers and the API say is no file: `checks/tests/cluster` breaks those, one at a time.
    let of_files = |id: &&String| !id.starts_with("pki.live.") && !id.starts_with("pki.api.");
    let never: Vec<_> = all.iter().filter(of_files).filter(|id| !caught.contains(id.as_str())).collect();
    assert!(never.is_empty(), "no mutation makes these fail: {never:#?}");
}

#[test]
fn claims_have_pages() {
    let mut seen = BTreeSet::new();
    let mut faults = Vec::new();
    for check in checks() {
        let mut fault = |what: &str| faults.push(format!("{}: {what}", check.id));
        let segments: Vec<_> = check.id.split('.').collect();
        let plain = |segment: &&str| {
            !segment.is_empty() && segment.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        };
        if segments.len() != 3 || segments[0] != "pki" || !segments.iter().all(plain) {
            fault("the id is not pki.family.name in lower case");
        }
        if check.title.ends_with('.') || check.title.len() > 95 {
            fault("the title is no short claim without a full stop");
        }
        for (what, empty) in [
            ("page", check.why.is_empty() || check.how.is_empty()),
            ("basis", check.basis.is_empty()),
            ("remedy", check.remedy.is_empty()),
            ("alias", check.aliases.is_empty()),
            ("label", check.labels.len() < 2),
        ] {
            if empty {
                fault(&format!("no {what}"));
            }
        }
        if !seen.insert(check.id.clone()) {
            fault("registered twice");
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn nothing_is_concluded_of_a_recording_in_which_nobody_looked() {
    let facts = Facts::read(&Transcript::default());
    let profile = profile();
    for check in checks() {
        let verdict = check.judge(&View::alone(&facts, &profile)).verdict;
        assert!(matches!(verdict, Verdict::Undetermined(_) | Verdict::NotApplicable(_)), "{}: {verdict:?}", check.id);
    }
}
