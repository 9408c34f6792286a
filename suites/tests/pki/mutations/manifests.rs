//! Static pods: what the kubelet refuses, what it runs instead, what is not mounted; and keys that no flag names.

use super::files::{APISERVER, ETCD, MANAGER, flag, mount, without};
use super::{Row, row};
use crate::forge;
use crate::tree::{PKI, Tree};

/// Names another file for etcd's CA, which is a copy of the one that counts.
fn elsewhere(tree: &Tree, path: &str) {
    tree.write(path, tree.read(&format!("{PKI}/etcd/ca.crt")));
    without(tree, APISERVER, "etcd-cafile");
    flag(tree, APISERVER, &format!("etcd-cafile=/{path}"));
}

fn another_key(tree: &Tree, name: &str) {
    tree.write(&format!("{PKI}/{name}"), forge::key().serialize_pem());
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("a member is there twice", &[], |tree| {
            tree.replace(APISERVER, "kind: Pod\n", "kind: Pods\nkind: Pod\n");
        }),
        row("a manifest has a second document", &[], |tree| {
            tree.write(APISERVER, format!("{}---\nkind: [\n", tree.read(APISERVER)));
        }),
        row("a manifest has a member that no pod has", &[], |tree| {
            tree.replace(APISERVER, "spec:\n", "spec:\n  extra: {a: 1}\n");
        }),
        row("a manifest has a byte order mark", &[], |tree| {
            tree.write(APISERVER, format!("\u{feff}{}", tree.read(APISERVER)));
        }),
        row("a manifest without apiVersion", &["pki.flag.manifest"], |tree| {
            tree.replace(APISERVER, "apiVersion: v1\n", "");
        }),
        row("a flag is a number", &["pki.flag.manifest"], |tree| {
            tree.replace(ETCD, "    - etcd\n", "    - etcd\n    - 5\n");
        }),
        row("a manifest mounts a volume that the pod does not have", &["pki.flag.manifest"], |tree| {
            tree.replace(
                APISERVER,
                "{mountPath: /etc/kubernetes/pki, name: v0",
                "{mountPath: /etc/kubernetes/pki, name: v7",
            );
        }),
        row("a README lies beside the manifests", &["pki.flag.manifest"], |tree| {
            tree.write("etc/kubernetes/manifests/README.md", "Do not edit.\n");
        }),
        row("a hidden file lies beside the manifests", &[], |tree| {
            tree.write("etc/kubernetes/manifests/.kube-apiserver.yaml.swp", "b0VIM");
        }),
        row("a manifest was copied beside itself", &["pki.flag.manifest-twice"], |tree| {
            tree.write("etc/kubernetes/manifests/kube-apiserver.yaml.bak", tree.read(APISERVER));
        }),
        row(
            "the copy that counts names what is not there",
            &["pki.file.extra", "pki.file.present", "pki.flag.manifest-twice"],
            |tree| {
                let text = tree.read(APISERVER).replace("pki/apiserver.crt", "pki/old.crt");
                tree.write("etc/kubernetes/manifests/kube-apiserver.yaml.bak", text);
            },
        ),
        row("the copy that does not count names what is not there", &["pki.flag.manifest-twice"], |tree| {
            let text = tree.read(APISERVER).replace("pki/apiserver.crt", "pki/old.crt");
            tree.write("etc/kubernetes/manifests/apiserver.old", text);
        }),
        row("a flag's file is not mounted", &["pki.flag.mount"], |tree| elsewhere(tree, "etc/etcd-ca.crt")),
        row("a flag's file is neither mounted nor there", &["pki.flag.mount"], |tree| {
            elsewhere(tree, "etc/etcd-ca.crt");
            tree.remove("etc/etcd-ca.crt");
        }),
        row("a kubeconfig is not mounted", &["pki.flag.mount"], |tree| {
            tree.replace(
                MANAGER,
                "{mountPath: /etc/kubernetes/controller-manager.conf",
                "{mountPath: /etc/kubernetes/x.conf",
            );
        }),
        row("a flag's file is mounted by a path of its own", &[], |tree| {
            elsewhere(tree, "etc/etcd-ca.crt");
            mount(tree, APISERVER, "/etc/etcd-ca.crt", "/etc/etcd-ca.crt");
        }),
        row("a flag's file is mounted from below another folder", &[], |tree| {
            elsewhere(tree, "srv/tls/etcd-ca.crt");
            tree.replace(APISERVER, "/srv/tls/etcd-ca.crt", "/tls/etcd-ca.crt");
            mount(tree, APISERVER, "/srv", "/tls, subPath: tls");
        }),
        row("the key of the front proxy's CA is another", &["pki.key.pair"], |tree| {
            another_key(tree, "front-proxy-ca.key")
        }),
        row("the key of etcd's CA is another", &["pki.key.pair"], |tree| another_key(tree, "etcd/ca.key")),
        row("the key of a CA that only kubeadm signs by is another", &["pki.key.pair"], |tree| {
            tree.write(&format!("{PKI}/proxy-bundle.crt"), tree.read(&format!("{PKI}/front-proxy-ca.crt")));
            for manifest in [APISERVER, MANAGER] {
                without(tree, manifest, "requestheader-client-ca-file");
                flag(tree, manifest, "requestheader-client-ca-file=/etc/kubernetes/pki/proxy-bundle.crt");
            }
            another_key(tree, "front-proxy-ca.key");
        }),
    ]
}
