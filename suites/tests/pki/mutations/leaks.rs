//! Keys in logs, in copies of etcd's data and in images, and etcd's data open to others.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::files::{APISERVER, flag};
use super::{Row, row};
use crate::forge;
use crate::tree::{PKI, Tree};

pub(crate) const AUDIT: &str = "var/log/kubernetes/audit.log";
pub(crate) const POD: &str = "var/log/pods/default_web_1/web/0.log";
pub(crate) const BACKUP: &str = "etc/kubernetes/tmp/kubeadm-backup-etcd-2026-01-01-00-00-00/etcd/member/snap/db";
pub(crate) const LAYER: &str = "var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/7/fs";

pub(crate) fn key(tree: &Tree, base: &str) -> String {
    tree.read(&format!("{PKI}/{base}.key"))
}

/// The API server's log of requests, in which somebody reads a Secret.
pub(crate) fn audit(tree: &Tree, key: &str) {
    flag(tree, APISERVER, "audit-log-path=/var/log/kubernetes/audit.log");
    let line = |data: &str| {
        format!(
            "{{\"kind\":\"Event\",\"level\":\"RequestResponse\",\
             \"responseObject\":{{\"data\":{{\"tls.key\":\"{data}\"}}}}}}\n"
        )
    };
    tree.write(AUDIT, format!("{}{}", line("bm90aGluZw=="), line(&STANDARD.encode(key))));
}

/// What a container prints, as the CRI has it written, for root's group to read.
pub(crate) fn log(tree: &Tree, text: &str) {
    let lines = text.lines().map(|line| format!("2026-01-01T00:00:00.000000001Z stdout F {line}\n"));
    tree.write(POD, lines.collect::<String>());
    tree.mode(POD, 0o640);
}

/// A page of a database with a Secret in protobuf.
pub(crate) fn database(tree: &Tree, path: &str, key: &str) {
    let mut page = vec![0; 4096];
    page.extend(b"k8s\0\n\x0c\n\x02v1\x12\x06Secret\x12\x07tls.key\x12");
    page.extend(key.as_bytes());
    page.resize(16384, 0);
    tree.write(path, page);
    closed(tree, path);
}

/// The folder of a file is its owner's alone.
fn closed(tree: &Tree, path: &str) {
    tree.mode(path.rsplit_once('/').unwrap().0, 0o700);
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("logs, copies and images hold keys of others", &[], |tree| {
            let other = forge::key().serialize_pem();
            audit(tree, &other);
            log(tree, &other);
            database(tree, BACKUP, &other);
            database(tree, "var/lib/etcd/member/snap/db", &key(tree, "ca"));
            tree.mode("var/lib/etcd", 0o700);
            tree.write(&format!("{LAYER}/etc/ssl/private/snakeoil.key"), &other);
            tree.write(&format!("{LAYER}/etc/kubernetes/pki/ca.crt"), tree.read(&format!("{PKI}/ca.crt")));
        }),
        row("the audit log goes where the API server's output goes, which is kept nowhere", &[], |tree| {
            flag(tree, APISERVER, "audit-log-path=/dev/stdout");
            std::fs::create_dir(tree.path("dev")).unwrap();
            nix::unistd::mkfifo(&tree.path("dev/stdout"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        }),
        row("the audit log holds the key of a CA", &["pki.leak.log"], |tree| audit(tree, &key(tree, "ca"))),
        row("a log that was rotated holds the key of service accounts", &["pki.leak.log"], |tree| {
            flag(tree, APISERVER, "audit-log-path=/srv/audit/audit.log");
            tree.write("srv/audit/audit.log", "{}\n");
            tree.write("srv/audit/audit-2026-01-01T00-00-00.000.log", key(tree, "sa"));
        }),
        row("a container prints the key of the API server", &["pki.leak.log"], |tree| {
            log(tree, &key(tree, "apiserver"))
        }),
        row("a container prints a kubeconfig", &["pki.leak.log"], |tree| {
            log(tree, &tree.read("etc/kubernetes/admin.conf"));
        }),
        row("anyone can read a log with a key", &["pki.leak.log-open"], |tree| {
            audit(tree, &forge::key().serialize_pem());
            tree.mode(AUDIT, 0o644);
        }),
        row("what kubeadm upgrade left behind holds the key of the front proxy", &["pki.leak.snapshot"], |tree| {
            database(tree, BACKUP, &key(tree, "front-proxy-client"));
        }),
        row("a snapshot of k3s holds the key of a CA", &["pki.leak.snapshot"], |tree| {
            database(tree, "var/lib/rancher/k3s/server/db/snapshots/etcd-snapshot-n1-1700000000", &key(tree, "ca"));
        }),
        row("an image holds the key of an administrator", &["pki.leak.image"], |tree| {
            tree.write(&format!("{LAYER}/root/.kube/config"), tree.read("etc/kubernetes/admin.conf"));
        }),
        row("an image of Docker holds the key of etcd's CA", &["pki.leak.image"], |tree| {
            tree.write("var/lib/docker/overlay2/0a1b/diff/certs/etcd.pem", key(tree, "etcd/ca"));
        }),
        row("anyone can read a snapshot", &["pki.leak.etcd-open"], |tree| {
            tree.write("var/backups/etcd-2026-01-01_00:00:00/snapshot.db", "bbolt");
            tree.mode("var/backups/etcd-2026-01-01_00:00:00/snapshot.db", 0o644);
        }),
        row("anyone can read etcd's data", &["pki.leak.etcd-folder", "pki.leak.etcd-open"], |tree| {
            tree.write("var/lib/etcd/member/snap/db", "bbolt");
            tree.mode("var/lib/etcd/member/snap/db", 0o644);
        }),
        row("anyone can enter the folder of etcd's data", &["pki.leak.etcd-folder"], |tree| {
            tree.write("var/lib/etcd/member/snap/db", "bbolt");
        }),
        row("etcd's data lies elsewhere, and anyone can enter it", &["pki.leak.etcd-folder"], |tree| {
            flag(tree, super::files::ETCD, "data-dir=/srv/etcd");
            tree.write("srv/etcd/member/snap/db", "bbolt");
        }),
    ]
}
