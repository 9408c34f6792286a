//! Revocation lists that etcd is told, and one that nobody is.

use rcgen::SerialNumber;
use seaworthy_checks::pki::x509::pem::Document;

use super::files::{ETCD, flag};
use super::{Row, row};
use crate::forge;
use crate::tree::{PKI, Tree};

/// The serial number of a certificate of the PKI.
fn serial(tree: &Tree, base: &str) -> SerialNumber {
    let document = Document::read(tree.read(&format!("{PKI}/{base}.crt")).as_bytes());
    SerialNumber::from_slice(&document.certificates().next().unwrap().serial.0)
}

/// A list of etcd's CA that revokes these, and is good for so many days.
fn list(tree: &Tree, serials: &[SerialNumber], days: i64) -> Vec<u8> {
    tree.authority("etcd/ca").revoke("etcd-ca", serials, days)
}

/// etcd is told these bytes as the list of `client` or `peer`.
fn told(tree: &Tree, whom: &str, list: impl AsRef<[u8]>) {
    tree.write(&format!("{PKI}/etcd/{whom}.crl"), list);
    flag(tree, ETCD, &format!("{whom}-crl-file=/etc/kubernetes/pki/etcd/{whom}.crl"));
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("etcd's lists revoke what is gone", &[], |tree| {
            told(tree, "client", list(tree, &[SerialNumber::from(7)], 30));
            told(tree, "peer", list(tree, &[], 30));
        }),
        row("the API server's certificate for etcd is revoked", &["pki.revocation.in-use"], |tree| {
            told(tree, "client", list(tree, &[serial(tree, "apiserver-etcd-client")], 30));
        }),
        row("the certificate of etcd's own gateway is revoked", &["pki.revocation.in-use"], |tree| {
            told(tree, "client", list(tree, &[serial(tree, "etcd/server")], 30));
        }),
        row("a peer is revoked", &["pki.revocation.in-use"], |tree| {
            told(tree, "peer", list(tree, &[serial(tree, "etcd/peer")], 30));
        }),
        row("a peer is revoked as a client, which it is not", &[], |tree| {
            told(tree, "client", list(tree, &[serial(tree, "etcd/peer")], 30));
        }),
        row("a list is in PEM", &["pki.revocation.form"], |tree| {
            told(tree, "client", forge::pem("X509 CRL", &list(tree, &[], 30)));
        }),
        row("a list in PEM stands behind its CA", &["pki.revocation.form"], |tree| {
            let ca = tree.read(&format!("{PKI}/etcd/ca.crt"));
            told(tree, "client", format!("{ca}{}", forge::pem("X509 CRL", &list(tree, &[], 30))));
        }),
        row("a list is of version 1", &["pki.revocation.form"], |tree| {
            told(tree, "client", tree.authority("etcd/ca").of_version_1(&list(tree, &[], 30)));
        }),
        row("two lists are in one file", &["pki.revocation.form"], |tree| {
            let one = forge::pem("X509 CRL", &list(tree, &[], 30));
            told(tree, "peer", one.repeat(2));
        }),
        row("a list is of the cluster's CA", &["pki.revocation.signer"], |tree| {
            told(tree, "client", tree.authority("ca").revoke("kubernetes", &[], 30));
        }),
        row("a list is of a CA of the same name", &["pki.revocation.signer"], |tree| {
            told(tree, "peer", tree.authority("ca").revoke("etcd-ca", &[], 30));
        }),
        row("a list should have been replaced", &["pki.revocation.stale"], |tree| {
            told(tree, "client", list(tree, &[], -1));
        }),
        row("a list is missing", &["pki.file.present"], |tree| {
            told(tree, "client", list(tree, &[], 30));
            tree.remove(&format!("{PKI}/etcd/client.crl"));
        }),
        row("a list is cut off", &["pki.file.parses"], |tree| {
            let whole = list(tree, &[SerialNumber::from(7)], 30);
            told(tree, "client", &whole[..whole.len() / 2]);
        }),
        row("a list in PEM is cut off inside", &["pki.file.parses"], |tree| {
            let whole = list(tree, &[SerialNumber::from(7)], 30);
            told(tree, "client", forge::pem("X509 CRL", &whole[..whole.len() / 2]));
        }),
        row("a certificate stands where a list should", &["pki.file.parses"], |tree| {
            told(tree, "client", tree.read(&format!("{PKI}/etcd/ca.crt")));
        }),
        row("nobody is told a list", &["pki.revocation.unused"], |tree| {
            tree.write(&format!("{PKI}/revoked.crl"), list(tree, &[serial(tree, "etcd/peer")], -1));
        }),
        row("a list that is told has a copy in PEM", &[], |tree| {
            let one = list(tree, &[], 30);
            tree.write(&format!("{PKI}/etcd/client.pem"), forge::pem("X509 CRL", &one));
            told(tree, "client", one);
        }),
    ]
}
