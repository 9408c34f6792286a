//! Remedies: they name the files of their own finding, and commands of the tool that made the PKI alone.

use rcgen::DnType;
use seaworthy_checks::host::LiveHost;
use seaworthy_checks::pki::{Facts, View, checks};
use seaworthy_checks::{Breach, Verdict};

use crate::tree::{Base, Tree};
use crate::{forge, profile};

/// What is found of a node, by claim.
fn found(tree: &Tree) -> Vec<(String, Breach)> {
    let facts = Facts::read(&crate::record(&LiveHost::open(tree.root()).unwrap()));
    let profile = profile();
    let judged = checks().into_iter().map(|check| {
        let verdict = check.judge(&View::alone(&facts, &profile)).verdict;
        let Verdict::Breached(breaches) = verdict else { return Vec::new() };
        breaches.into_iter().map(|breach| (check.id.clone(), breach)).collect()
    });
    judged.flatten().collect()
}

fn commands(breach: &Breach) -> Vec<&str> {
    breach.remedy.iter().flat_map(|remedy| &remedy.commands).map(String::as_str).collect()
}

fn expired(tree: &Tree, base: &str, name: Option<&str>) {
    tree.reissue(base, |params| {
        (params.not_before, params.not_after) = (forge::days(-365), forge::days(-1));
        if let Some(name) = name {
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, name);
        }
    });
}

#[test]
fn what_kubeadm_made_it_renews_by_its_own_name() {
    let tree = Tree::new(Base::Ecdsa).unwrap();
    expired(&tree, "etcd/peer", None);
    let all = found(&tree);
    let [(id, breach)] = &all[..] else { panic!("{all:#?}") };
    assert_eq!(id, "pki.validity.expired");
    let wanted = ["kubeadm certs renew etcd-peer", "crictl pods --name etcd -q | xargs -r crictl stopp"];
    assert_eq!(commands(breach), wanted, "{breach:#?}");
}

#[test]
fn what_must_be_made_again_is_removed_and_nothing_else() {
    for (base, phase) in
        [("apiserver", "certs apiserver"), ("etcd/server", "certs etcd-server"), ("etcd/peer", "certs etcd-peer")]
    {
        let tree = Tree::new(Base::Ecdsa).unwrap();
        tree.reissue(base, |params| params.subject_alt_names.clear());
        let all = found(&tree);
        let [(id, breach)] = &all[..] else { panic!("{all:#?}") };
        assert_eq!(id, "pki.san.present");
        let wanted = [
            format!("rm /etc/kubernetes/pki/{base}.crt /etc/kubernetes/pki/{base}.key"),
            format!("kubeadm init phase {phase} --config kubeadm.yaml"),
        ];
        assert_eq!(commands(breach)[..2], wanted, "{breach:#?}");
    }
}

#[test]
fn modes_and_owners_are_changed_where_they_are_wrong() {
    let tree = Tree::new(Base::Ecdsa).unwrap();
    tree.mode("etc/kubernetes/pki/sa.key", 0o644);
    let all = found(&tree);
    assert_eq!(
        all.iter().flat_map(|(_, breach)| commands(breach)).collect::<Vec<_>>(),
        ["chmod 600 /etc/kubernetes/pki/sa.key"]
    );
}

#[test]
fn what_kubeadm_did_not_make_gets_none_of_its_commands() {
    // Made by cfssl or openssl, in kubeadm's folder.
    let tree = Tree::new(Base::Ecdsa).unwrap();
    for (base, name) in [
        ("apiserver", "kubernetes"),
        ("apiserver-kubelet-client", "kubelet-client"),
        ("apiserver-etcd-client", "etcd-client"),
    ] {
        expired(&tree, base, Some(name));
    }
    tree.identity("admin", "admin", Some("system:masters"), |_| {});
    let all = found(&tree);
    let expired: Vec<_> = all.iter().filter(|(id, _)| id == "pki.validity.expired").collect();
    assert_eq!(expired.len(), 3, "{all:#?}");
    for (id, breach) in &all {
        assert!(!commands(breach).iter().any(|command| command.contains("kubeadm")), "{id}: {breach:#?}");
    }
    let verify = "openssl verify -CAfile /etc/kubernetes/pki/ca.crt /etc/kubernetes/pki/apiserver.crt";
    assert!(expired.iter().any(|(_, breach)| commands(breach) == [verify]), "{expired:#?}");
    // What every PKI is told says for which it is.
    for check in checks() {
        for remedy in
            check.remedy.iter().filter(|one| one.commands.iter().any(|command| command.starts_with("kubeadm ")))
        {
            assert!(remedy.when.is_some(), "{}: {remedy:?}", check.id);
        }
    }
}
