//! The certificate that the kubelet renews itself: a certificate and its key in one file, behind a link. Both suites
//! judge it under a root and from a recording, and name a remedy that fits it.

use seaworthy_checks::host::{Host, LiveHost, Recorder};
use seaworthy_checks::{Breach, Profile, Verdict, node, pki};
use seaworthy_provision::pki::Usage;

use crate::tree::{Base, Tree};
use crate::{forge, profile, through_a_file};

const FILE: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";

/// A node whose kubelet has a certificate that is valid from one day until another.
fn tree(from: i64, until: i64) -> Tree {
    let tree = Tree::new(Base::Ecdsa).unwrap();
    let mut params = forge::leaf("system:node:cp1", Some("system:nodes"), Some(Usage::Client));
    (params.not_before, params.not_after) = (forge::days(from), forge::days(until));
    let key = forge::key();
    let certificate = tree.authority("ca").sign(&params, &key);
    tree.write(&FILE.replace("current", "2026-01-01-00-00-00")[1..], format!("{certificate}{}", key.serialize_pem()));
    tree
}

/// What the claims of these names find, by both suites.
fn found(host: &dyn Host, profile: &Profile, wanted: [&str; 2]) -> Vec<(String, Vec<Breach>)> {
    let (on_node, of_pki) = (node::Facts::read(host), pki::Facts::read(host));
    let mut all = Vec::new();
    for check in node::checks().iter().filter(|check| wanted.contains(&check.id.as_str())) {
        all.push((check.id.clone(), check.judge(&node::View::alone(&on_node, profile)).verdict));
    }
    for check in pki::checks().iter().filter(|check| wanted.contains(&check.id.as_str())) {
        all.push((check.id.clone(), check.judge(&pki::View::alone(&of_pki, profile)).verdict));
    }
    let breaches = all.into_iter().map(|(id, verdict)| match verdict {
        Verdict::Breached(breaches) => (id, breaches),
        Verdict::Holds => (id, Vec::new()),
        other => panic!("{id}: {other:?}"),
    });
    breaches.collect()
}

#[test]
fn the_certificate_that_the_kubelet_renews_is_judged_under_a_root_and_from_a_recording() {
    for (from, until, wanted, command) in [
        (-1, 300, ["node.certificate.valid", "pki.validity.expired"], None),
        (-1, 300, ["node.certificate.parses", "pki.file.parses"], None),
        (-400, -2, ["node.certificate.parses", "pki.file.parses"], None),
        (-400, -2, ["node.certificate.valid", "pki.validity.expired"], Some("kubeadm kubeconfig user")),
        (-340, 10, ["node.certificate.lasts", "pki.validity.soon"], Some("systemctl restart kubelet")),
    ] {
        let (tree, profile) = (tree(from, until), profile());
        let live = LiveHost::open(tree.root()).unwrap();
        let recorder = Recorder::new(&live, true);
        drop((node::Facts::read(&recorder), pki::Facts::read(&recorder)));
        let (recording, text) = through_a_file(&recorder.finish());
        let key = tree.read(&FILE.replace("current", "2026-01-01-00-00-00")[1..]);
        let secret = key.lines().rev().nth(2).unwrap();
        assert!(secret.len() > 40 && !text.contains(secret), "{secret}");
        for host in [&live as &dyn Host, &recording] {
            let found = found(host, &profile, wanted);
            assert_eq!(found.len(), 2, "{wanted:?}");
            for (id, breaches) in found {
                assert_eq!(!breaches.is_empty(), command.is_some(), "{id} {from} {until}: {breaches:#?}");
                for breach in breaches {
                    assert!(breach.message.contains(FILE), "{id}: {breach:#?}");
                    let commands: Vec<_> = breach.remedy.iter().flat_map(|remedy| &remedy.commands).collect();
                    let fits = commands.iter().any(|one| one.contains(command.unwrap()));
                    assert!(fits && !commands.iter().any(|one| one.contains("certs renew")), "{id}: {commands:?}");
                }
            }
        }
    }
}

#[test]
fn the_kubelet_s_own_certificate_with_a_key_that_is_cut_off_is_refused() {
    let tree = tree(-1, 300);
    let path = FILE.replace("current", "2026-01-01-00-00-00");
    let text = tree.read(&path[1..]);
    tree.write(&path[1..], &text[..text.len() - 60]);
    let audit = crate::audit_tree(&tree);
    assert_eq!(audit.breached.keys().collect::<Vec<_>>(), ["pki.file.parses"], "{audit:#?}");
}
