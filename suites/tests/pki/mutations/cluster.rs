//! Two nodes of a control plane, of which one differs.

use rcgen::PublicKeyData as _;
use seaworthy_provision::pki::Spec;

use super::files::APISERVER;
use super::{Row, row};
use crate::forge;
use crate::tree::{Base, PKI, Tree};

/// Another node of the same control plane: its own certificates are its own.
pub(super) fn other(base: Base) -> Tree {
    let mut tree = Tree::new(base).unwrap();
    tree.spec = Spec { node: "cp2".to_owned(), ..tree.spec.clone() };
    for base in ["apiserver", "etcd/server", "etcd/peer"] {
        tree.reissue(base, |_| {});
    }
    tree.write("etc/hostname", "cp2\n");
    tree.kubelet("system:node:cp2", &["system:nodes"]);
    for name in ["kubelet.crt", "kubelet.key"] {
        tree.remove(&format!("var/lib/kubelet/pki/{name}"));
    }
    tree.remove("etc/kubernetes/super-admin.conf");
    tree
}

pub(super) fn rows() -> Vec<Row> {
    let rows = vec![
        row("two nodes that fit together", &[], |_| {}),
        row("another CA of the cluster", &["pki.cluster.ca"], |tree| {
            tree.new_ca("ca", |_| {});
        }),
        row("another CA of the front proxy", &["pki.cluster.front-proxy-ca"], |tree| {
            tree.new_ca("front-proxy-ca", |_| {});
        }),
        row("another CA of etcd", &["pki.cluster.etcd-ca"], |tree| {
            tree.new_ca("etcd/ca", |_| {});
        }),
        row("another key of service accounts", &["pki.cluster.service-account-key"], |tree| {
            tree.write(&format!("{PKI}/sa.key"), forge::key().serialize_pem());
        }),
        row("another public key of service accounts", &["pki.cluster.service-account-public-key"], |tree| {
            tree.write(&format!("{PKI}/sa.pub"), forge::pem("PUBLIC KEY", &forge::key().subject_public_key_info()));
        }),
        row("another issuer of tokens", &["pki.cluster.issuer"], |tree| {
            tree.replace(APISERVER, "=https://kubernetes.default.svc.cluster.local", "=https://tokens.example.test");
        }),
        row("two issuers that all nodes take, another first", &["pki.cluster.issuer"], |tree| {
            let old = "--service-account-issuer=https://kubernetes.default.svc.cluster.local";
            tree.replace(APISERVER, old, &format!("--service-account-issuer=https://tokens.example.test\n    - {old}"));
        }),
        row("a second super-administrator", &["pki.cluster.super-admin"], |tree| {
            tree.write("etc/kubernetes/super-admin.conf", tree.read("etc/kubernetes/admin.conf"));
        }),
        row("a second node of the same name", &["pki.cluster.kubelet-user"], |tree| {
            tree.kubelet("system:node:cp1", &["system:nodes"])
        }),
        row("a copied node", &["pki.cluster.private-keys"], |tree| {
            let copy = Tree::new(Base::Ecdsa).unwrap();
            for end in ["crt", "key"] {
                tree.write(&format!("{PKI}/apiserver.{end}"), copy.read(&format!("{PKI}/apiserver.{end}")));
            }
        }),
    ];
    rows.into_iter().map(Row::peer).collect()
}
