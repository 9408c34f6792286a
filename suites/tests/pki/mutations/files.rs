//! Files: missing, open, odd.

use std::os::unix::fs::symlink;

use seaworthy_checks::PkiProfile;
use seaworthy_checks::pki::discover::SIGNING;

use super::{Row, row};
use crate::forge::{self, Authority};
use crate::tree::{Base, PKI, Tree};

pub(crate) const APISERVER: &str = "etc/kubernetes/manifests/kube-apiserver.yaml";
pub(super) const MANAGER: &str = "etc/kubernetes/manifests/kube-controller-manager.yaml";
pub(super) const ETCD: &str = "etc/kubernetes/manifests/etcd.yaml";

fn append(tree: &Tree, path: &str, text: &str) {
    tree.write(path, format!("{}{text}", tree.read(path)));
}

/// Takes a flag out of a manifest.
pub(super) fn without(tree: &Tree, manifest: &str, flag: &str) {
    let text = tree.read(manifest);
    let lines: Vec<_> = text.lines().filter(|line| !line.contains(&format!("- --{flag}="))).collect();
    assert!(lines.len() < text.lines().count(), "{manifest} has no --{flag}");
    tree.write(manifest, lines.join("\n") + "\n");
}

/// Gives a component of a manifest one flag more.
pub(crate) fn flag(tree: &Tree, manifest: &str, flag: &str) {
    let text = tree.read(manifest);
    let program = text.lines().find(|line| line.starts_with("    - ")).unwrap_or_else(|| panic!("{manifest}: {text}"));
    tree.replace(manifest, &format!("{program}\n"), &format!("{program}\n    - --{flag}\n"));
}

/// etcd is told all of it in a file, with `change`; the flags beside it say otherwise, and count for nothing.
pub(crate) fn by_file(tree: &Tree, change: impl FnOnce(String) -> String) {
    let config = "advertise-client-urls: https://10.0.0.11:2379\n\
                  listen-client-urls: https://127.0.0.1:2379,https://10.0.0.11:2379\n\
                  initial-advertise-peer-urls: https://10.0.0.11:2380\n\
                  client-transport-security:\n  cert-file: /etc/kubernetes/pki/etcd/server.crt\n  key-file: \
                  /etc/kubernetes/pki/etcd/server.key\n  client-cert-auth: true\n  trusted-ca-file: \
                  /etc/kubernetes/pki/etcd/ca.crt\n\
                  peer-transport-security:\n  cert-file: /etc/kubernetes/pki/etcd/peer.crt\n  key-file: \
                  /etc/kubernetes/pki/etcd/peer.key\n  client-cert-auth: true\n  trusted-ca-file: \
                  /etc/kubernetes/pki/etcd/ca.crt\n";
    tree.write("etc/etcd/etcd.yaml", change(config.to_owned()));
    let text = tree.read(ETCD);
    let flags = text.lines().filter(|line| !line.contains("- --"));
    let flags = flags.map(|line| {
        if line.ends_with("- etcd") {
            "    - etcd\n    - --config-file=/etc/etcd/etcd.yaml\n    - --auto-tls=true"
        } else {
            line
        }
    });
    tree.write(ETCD, flags.collect::<Vec<_>>().join("\n") + "\n");
    mount(tree, ETCD, "/etc/etcd", "/etc/etcd");
}

/// Mounts a path of the node into a static pod.
pub(crate) fn mount(tree: &Tree, manifest: &str, host: &str, inside: &str) {
    let name = format!("m{}", host.len());
    tree.replace(
        manifest,
        "    volumeMounts:\n",
        &format!("    volumeMounts:\n    - {{mountPath: {inside}, name: {name}}}\n"),
    );
    tree.replace(manifest, "  volumes:\n", &format!("  volumes:\n  - {{hostPath: {{path: {host}}}, name: {name}}}\n"));
}

/// Gives the only block of a file of the PKI another label.
fn relabel(tree: &Tree, name: &str, label: &str) {
    let text = tree.read(&format!("{PKI}/{name}"));
    let (_, rest) = text.split_once("-----BEGIN ").unwrap();
    let (old, _) = rest.split_once("-----").unwrap();
    let old = old.to_owned();
    let text = text.replace(&format!("BEGIN {old}"), &format!("BEGIN {label}"));
    tree.write(&format!("{PKI}/{name}"), text.replace(&format!("END {old}"), &format!("END {label}")));
}

/// Gives the first block of a file of the PKI a header line.
fn header(tree: &Tree, name: &str) {
    let text = tree.read(&format!("{PKI}/{name}"));
    tree.write(&format!("{PKI}/{name}"), text.replacen("-----\n", "-----\nfriendlyName: kubernetes\n\n", 1));
}

/// A running component that started long before its files were written.
fn running(tree: &Tree, component: &str, flag: &str) {
    tree.write("proc/stat", "cpu 0\nbtime 1000000000\n");
    tree.write("proc/77/cmdline", format!("{component}\0{flag}\0"));
    tree.write("proc/77/stat", format!("77 ({component}) {}", vec!["0"; 50].join(" ")));
}

/// A node that runs pods and nothing of the control plane.
fn worker(tree: &Tree) {
    std::fs::remove_dir_all(tree.path("etc/kubernetes/manifests")).unwrap();
    for name in ["admin", "super-admin", "controller-manager", "scheduler"] {
        tree.remove(&format!("etc/kubernetes/{name}.conf"));
    }
    let (ca, key) = (tree.read(&format!("{PKI}/ca.crt")), tree.read(&format!("{PKI}/ca.key")));
    std::fs::remove_dir_all(tree.path(PKI)).unwrap();
    tree.write(&format!("{PKI}/ca.crt"), ca);
    tree.write(&format!("{PKI}/ca.key"), key);
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("a certificate is missing", &["pki.file.present"], |tree| tree.remove("etc/kubernetes/pki/apiserver.crt")),
        row("a key is missing", &["pki.file.present"], |tree| tree.remove("etc/kubernetes/pki/front-proxy-client.key")),
        row("etcd's CA is missing", &["pki.file.present"], |tree| tree.remove("etc/kubernetes/pki/etcd/ca.crt")),
        row("a component's kubeconfig is missing", &["pki.file.present"], |tree| {
            tree.remove("etc/kubernetes/scheduler.conf")
        }),
        row("a folder stands where a certificate should", &["pki.file.readable"], |tree| {
            tree.remove("etc/kubernetes/pki/apiserver.crt");
            std::fs::create_dir(tree.pki("apiserver.crt")).unwrap();
        }),
        row("a certificate is cut off", &["pki.file.parses"], |tree| {
            let text = tree.read("etc/kubernetes/pki/apiserver.crt");
            tree.write("etc/kubernetes/pki/apiserver.crt", &text[..text.len() / 2]);
        }),
        row("a certificate is garbage", &["pki.file.parses"], |tree| {
            tree.write("etc/kubernetes/pki/apiserver.crt", "garbage\n")
        }),
        row("a certificate is in DER", &["pki.file.parses"], |tree| {
            use base64::Engine as _;
            let text = tree.read("etc/kubernetes/pki/front-proxy-ca.crt");
            let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
            let der = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
            tree.write("etc/kubernetes/pki/front-proxy-ca.crt", der);
        }),
        row("a key stands where a certificate should", &["pki.file.key-in-certificate", "pki.file.parses"], |tree| {
            let key = tree.read("etc/kubernetes/pki/apiserver.key");
            tree.write("etc/kubernetes/pki/apiserver.crt", key);
            tree.mode("etc/kubernetes/pki/apiserver.crt", 0o600);
        }),
        row("the kubelet's link leads nowhere", &["pki.file.link"], |tree| {
            tree.remove("var/lib/kubelet/pki/kubelet-client-2026-01-01-00-00-00.pem");
        }),
        row("the kubelet's link leads to itself", &["pki.file.link"], |tree| {
            tree.remove("var/lib/kubelet/pki/kubelet-client-current.pem");
            symlink("kubelet-client-current.pem", tree.path("var/lib/kubelet/pki/kubelet-client-current.pem")).unwrap();
        }),
        row("a link that has no role leads nowhere", &["pki.file.link"], |tree| {
            symlink("/etc/ssl/certs/gone", tree.pki("company")).unwrap();
        }),
        row("two links that have no role lead to each other", &["pki.file.link"], |tree| {
            symlink("b.crt", tree.pki("a.crt")).unwrap();
            symlink("a.crt", tree.pki("b.crt")).unwrap();
        }),
        row("a link in a copy that was put aside leads nowhere", &[], |tree| {
            std::fs::create_dir(tree.pki("expired")).unwrap();
            symlink("/nowhere", tree.pki("expired/ca.crt")).unwrap();
        }),
        row("anyone can read a CA's key", &["pki.file.key-mode"], |tree| tree.mode("etc/kubernetes/pki/ca.key", 0o644)),
        row("the group can read a key", &["pki.file.key-mode"], |tree| {
            tree.mode("etc/kubernetes/pki/etcd/peer.key", 0o640)
        }),
        row("nobody reaches a key that is open", &[], |tree| {
            tree.mode("etc/kubernetes/pki/etcd/ca.key", 0o644);
            tree.mode("etc/kubernetes/pki/etcd", 0o700);
        }),
        row("a key belongs to a user", &["pki.file.key-owner"], |tree| {
            nix::unistd::chown(&tree.pki("sa.key"), Some(1234.into()), None).unwrap();
        }),
        row("anyone can change a CA bundle", &["pki.file.certificate-mode"], |tree| {
            tree.mode("etc/kubernetes/pki/ca.crt", 0o666)
        }),
        row(
            "certificates are open to read, by CIS",
            &["pki.file.certificate-mode-cis", "pki.flag.apiserver-kubelet-ca", "pki.usage.self-signed-kubelet"],
            |_| {},
        )
        .by(|profile| profile.pki = PkiProfile::Cis),
        row("anyone can read admin.conf", &["pki.file.kubeconfig-mode"], |tree| {
            tree.mode("etc/kubernetes/admin.conf", 0o644)
        }),
        row("anyone can write the PKI's folder", &["pki.file.folder-mode"], |tree| tree.mode(PKI, 0o777)),
        row("the PKI's folder belongs to a user", &["pki.file.folder-owner"], |tree| {
            nix::unistd::chown(&tree.path(PKI), Some(1234.into()), None).unwrap();
        }),
        row("the CA's key lies on a worker", &["pki.file.ca-key-on-worker"], worker),
        row("an old copy holds a key", &["pki.file.backup"], |tree| {
            let key = tree.read("etc/kubernetes/pki/apiserver.key");
            tree.write("etc/kubernetes/pki/expired/apiserver.key", key);
        }),
        row("a copy beside the original holds a key", &["pki.file.backup"], |tree| {
            let key = tree.read("etc/kubernetes/pki/ca.key");
            tree.write("etc/kubernetes/pki/ca.key.bak", key);
        }),
        row("a copy of the PKI beside it holds a key", &["pki.file.backup"], |tree| {
            let key = tree.read("etc/kubernetes/pki/ca.key");
            tree.write("etc/kubernetes/pki.bak/ca.key", key);
        }),
        row("a copy of a kubeconfig beside it holds a key", &["pki.file.backup"], |tree| {
            tree.write("etc/kubernetes/admin.conf.old", tree.read("etc/kubernetes/admin.conf"));
        }),
        row("an unknown certificate lies in the PKI", &["pki.file.extra"], |tree| {
            let (authority, _) = Authority::new(&forge::leaf("unknown", None, None));
            tree.write("etc/kubernetes/pki/unknown.crt", authority.pem);
        }),
        row("the API server runs with older keys", &["pki.file.process-older"], |tree| {
            running(tree, "kube-apiserver", "--advertise-address=10.0.0.11");
        }),
        row("the scheduler runs with an older kubeconfig", &["pki.file.process-older"], |tree| {
            running(tree, "kube-scheduler", "--kubeconfig=/etc/kubernetes/scheduler.conf");
        }),
        row("a certificate has CR LF", &["pki.file.text"], |tree| {
            let text = tree.read("etc/kubernetes/pki/apiserver.crt");
            tree.write("etc/kubernetes/pki/apiserver.crt", text.replace('\n', "\r\n"));
        }),
        row("text stands behind a CA", &["pki.file.text"], |tree| {
            append(tree, "etc/kubernetes/pki/ca.crt", "# the end\n")
        }),
        row("a public key has the label of kops", &["pki.file.label"], |tree| {
            tree.replace("etc/kubernetes/pki/sa.pub", "BEGIN PUBLIC KEY", "BEGIN RSA PUBLIC KEY");
            tree.replace("etc/kubernetes/pki/sa.pub", "END PUBLIC KEY", "END RSA PUBLIC KEY");
        }),
        row("a CA's file holds its key", &["pki.file.key-in-certificate"], |tree| {
            append(tree, "etc/kubernetes/pki/front-proxy-ca.crt", &tree.read("etc/kubernetes/pki/front-proxy-ca.key"));
            tree.mode("etc/kubernetes/pki/front-proxy-ca.crt", 0o600);
        }),
        row("a CA stands twice in its file", &["pki.file.repeated"], |tree| {
            append(tree, "etc/kubernetes/pki/front-proxy-ca.crt", &tree.read("etc/kubernetes/pki/front-proxy-ca.crt"));
        }),
        row("a key is encrypted", &["pki.file.encrypted"], |tree| {
            let encrypted = include_str!("../keys/encrypted.txt");
            tree.write("etc/kubernetes/pki/apiserver.key", encrypted);
        }),
        row("two keys were swapped", &["pki.key.pair"], |tree| {
            let (one, other) =
                (tree.read("etc/kubernetes/pki/apiserver.key"), tree.read("etc/kubernetes/pki/etcd/server.key"));
            tree.write("etc/kubernetes/pki/apiserver.key", other);
            tree.write("etc/kubernetes/pki/etcd/server.key", one);
        }),
        row("a key serves two certificates", &["pki.key.shared"], |tree| {
            let key = rcgen::KeyPair::from_pem(&tree.read("etc/kubernetes/pki/apiserver.key")).unwrap();
            let params = forge::parameters(&tree.spec, &forge::planned(&tree.spec, "front-proxy-client"));
            tree.write(
                "etc/kubernetes/pki/front-proxy-client.crt",
                tree.authority("front-proxy-ca").sign(&params, &key),
            );
            tree.write("etc/kubernetes/pki/front-proxy-client.key", tree.read("etc/kubernetes/pki/apiserver.key"));
        }),
        row("sa.pub is of another key", &["pki.key.service-account-pair"], |tree| {
            use rcgen::PublicKeyData as _;
            let public = forge::pem("PUBLIC KEY", &forge::key().subject_public_key_info());
            tree.write("etc/kubernetes/pki/sa.pub", public);
        }),
        row("tokens are signed with the API server's key", &["pki.key.service-account-own"], |tree| {
            use rcgen::PublicKeyData as _;
            let key = rcgen::KeyPair::from_pem(&tree.read("etc/kubernetes/pki/apiserver.key")).unwrap();
            tree.write("etc/kubernetes/pki/sa.key", tree.read("etc/kubernetes/pki/apiserver.key"));
            tree.write("etc/kubernetes/pki/sa.pub", forge::pem("PUBLIC KEY", &key.subject_public_key_info()));
        }),
        row("keys are of another algorithm than configured", &["pki.key.mixed"], |tree| {
            tree.write(
                "etc/kubernetes/kubeadm-config.yaml",
                "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nencryptionAlgorithm: RSA-2048\n",
            );
        }),
        row("a key of 512 bits", &["pki.key.rsa-refused"], |tree| {
            append(tree, "etc/kubernetes/pki/sa.pub", include_str!("../keys/rsa-512.pub"))
        }),
        row("a key of 1024 bits", &["pki.key.rsa-short"], |tree| {
            append(tree, "etc/kubernetes/pki/sa.pub", include_str!("../keys/rsa-1024.pub"))
        }),
        row("a key of 8704 bits", &["pki.key.rsa-long"], |tree| {
            append(tree, "etc/kubernetes/pki/sa.pub", include_str!("../keys/rsa-8704.pub"))
        }),
        row("keys of 2048 bits, by the BSI", &["pki.key.rsa-bsi"], |_| {})
            .of(Base::Rsa)
            .by(|profile| profile.pki = PkiProfile::Bsi),
        row("a key with the exponent 3", &["pki.key.rsa-exponent"], |tree| {
            append(tree, "etc/kubernetes/pki/sa.pub", include_str!("../keys/rsa-exponent-3.pub"))
        }),
        row("a key that 521 divides", &["pki.key.small-factor"], |tree| {
            append(tree, "etc/kubernetes/pki/sa.pub", include_str!("../keys/small-factor.pub"))
        }),
        // Its primes are k·M + 65537^a mod M, M the product of the primes up to 167, as the flawed generator makes
        // them.
        row("a key of a token with the ROCA flaw", &["pki.key.roca"], |tree| {
            append(tree, "etc/kubernetes/pki/sa.pub", include_str!("../keys/roca.pub"))
        }),
        row("two keys share a prime", &["pki.key.common-factor"], |tree| {
            append(tree, "etc/kubernetes/pki/sa.pub", include_str!("../keys/shared-factor.pub"))
        }),
        row("a key on P-224", &["pki.key.curve"], |tree| {
            append(tree, "etc/kubernetes/pki/sa.pub", include_str!("../keys/p-224.pub"))
        }),
        row("a key of Ed25519 among those of service accounts", &["pki.file.passed-over"], |tree| {
            append(tree, "etc/kubernetes/pki/sa.pub", include_str!("../keys/ed25519.pub"))
        }),
        row("the API server is told no CA of clients", &["pki.flag.apiserver"], |tree| {
            without(tree, APISERVER, "client-ca-file")
        }),
        row("the controller manager is told no root CA", &["pki.flag.controller-manager"], |tree| {
            without(tree, MANAGER, "root-ca-file")
        }),
        row("the controller manager is told nothing to sign with", &["pki.flag.controller-manager"], |tree| {
            SIGNING.iter().for_each(|flag| without(tree, MANAGER, flag));
        }),
        row("the CA is elsewhere, and its key is here", &["pki.file.ca-key-external"], |tree| {
            SIGNING.iter().for_each(|name| {
                without(tree, MANAGER, name);
                flag(tree, MANAGER, &format!("{name}="));
            });
        }),
        row("the controller manager is told no key to sign with", &["pki.flag.controller-manager"], |tree| {
            without(tree, MANAGER, "cluster-signing-key-file");
        }),
        row(
            "the CA's key is elsewhere, and the signer is told half of a pair",
            &["pki.flag.controller-manager"],
            |tree| {
                flag(tree, MANAGER, "cluster-signing-cert-file=/etc/kubernetes/pki/ca.crt");
            },
        )
        .of(Base::ExternalCa),
        row("the controller manager is told no CA of its clients", &["pki.flag.controller-manager-clients"], |tree| {
            without(tree, MANAGER, "client-ca-file");
            without(tree, MANAGER, "requestheader-client-ca-file");
        }),
        row("a signer has a certificate and no key", &["pki.flag.signers"], |tree| {
            SIGNING.iter().for_each(|flag| without(tree, MANAGER, flag));
            flag(tree, MANAGER, "cluster-signing-kubelet-client-cert-file=/etc/kubernetes/pki/ca.crt");
        }),
        row("one signer has a pair, and all have one", &["pki.flag.signers"], |tree| {
            flag(tree, MANAGER, "cluster-signing-kubelet-client-cert-file=/etc/kubernetes/pki/ca.crt");
            flag(tree, MANAGER, "cluster-signing-kubelet-client-key-file=/etc/kubernetes/pki/ca.key");
        }),
        row("each signer has a pair", &[], |tree| {
            SIGNING.iter().for_each(|flag| without(tree, MANAGER, flag));
            for signer in ["kubelet-client", "kube-apiserver-client", "kubelet-serving", "legacy-unknown"] {
                flag(tree, MANAGER, &format!("cluster-signing-{signer}-cert-file=/etc/kubernetes/pki/ca.crt"));
                flag(tree, MANAGER, &format!("cluster-signing-{signer}-key-file=/etc/kubernetes/pki/ca.key"));
            }
        }),
        row("etcd is told no peer CA", &["pki.flag.etcd"], |tree| without(tree, ETCD, "peer-trusted-ca-file")),
        row("the API server does not verify etcd", &["pki.flag.apiserver-etcd"], |tree| {
            without(tree, APISERVER, "etcd-cafile")
        }),
        row("one of several etcds is spoken to in the clear", &["pki.flag.etcd-plain"], |tree| {
            let servers = "https://127.0.0.1:2379";
            tree.replace(APISERVER, servers, &format!("{servers},http://10.0.0.12:2379"));
        }),
        row("an etcd elsewhere is spoken to in the clear", &["pki.flag.apiserver-etcd"], |tree| {
            tree.remove(ETCD);
            tree.replace(APISERVER, "=https://127.0.0.1:2379", "=https://127.0.0.1:2379,http://10.0.0.12:2379");
        }),
        row("etcd listens for clients in the clear", &["pki.flag.etcd-plain"], |tree| {
            tree.replace(ETCD, "--listen-client-urls=", "--listen-client-urls=http://10.0.0.11:2378,");
        }),
        row("etcd listens for peers in the clear", &["pki.flag.etcd-plain"], |tree| {
            flag(tree, ETCD, "listen-peer-urls=HTTP://10.0.0.11:2380");
        }),
        row("etcd's configuration file has it listen in the clear", &["pki.flag.etcd-plain"], |tree| {
            by_file(tree, |config| config + "listen-peer-urls: http://10.0.0.11:2380\n")
        }),
        row("etcd tells its metrics in the clear", &[], |tree| {
            flag(tree, ETCD, "listen-metrics-urls=http://0.0.0.0:2381");
        }),
        row("the API server speaks to an etcd with TLS in the clear", &["pki.flag.etcd-plain"], |tree| {
            tree.replace(APISERVER, "=https://127.0.0.1:2379", "=http://127.0.0.1:2379");
        }),
        row("a CA has the label of OpenSSL's own form", &["pki.file.parses"], |tree| {
            relabel(tree, "front-proxy-ca.crt", "TRUSTED CERTIFICATE");
        }),
        row("a serving certificate has another label", &["pki.file.parses"], |tree| {
            relabel(tree, "apiserver.crt", "X509 CERTIFICATE");
        }),
        row("a CA of etcd has another label, which etcd does not look at", &["pki.file.label"], |tree| {
            relabel(tree, "etcd/ca.crt", "TRUSTED CERTIFICATE");
        }),
        row("a CA has header lines", &["pki.file.parses"], |tree| {
            header(tree, "front-proxy-ca.crt");
        }),
        row("a serving certificate has header lines, which TLS reads over", &[], |tree| {
            header(tree, "apiserver.crt");
        }),
        row("the second CA of a bundle has another label", &["pki.file.passed-over"], |tree| {
            let (other, _) = Authority::new(&{
                let mut params = forge::leaf("front-proxy-ca", None, None);
                params.not_after = forge::days(3000);
                params
            });
            append(
                tree,
                "etc/kubernetes/pki/front-proxy-ca.crt",
                &other.pem.replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
            );
        }),
        row("the second CA of a bundle is cut off", &["pki.file.passed-over"], |tree| {
            let text = tree.read("etc/kubernetes/pki/front-proxy-ca.crt");
            append(tree, "etc/kubernetes/pki/front-proxy-ca.crt", &text[..text.len() / 2]);
        }),
        row("a key has a label that Go does not look for", &["pki.file.parses"], |tree| {
            relabel(tree, "apiserver.key", "PRIVATE KEY FILE");
        }),
        row("the key of service accounts has the label of another form", &["pki.file.parses"], |tree| {
            relabel(tree, "sa.key", "RSA PRIVATE KEY");
        }),
        row(
            "the key of the API server has the label of another form, which TLS does not look at",
            &["pki.file.label"],
            |tree| {
                relabel(tree, "apiserver.key", "RSA PRIVATE KEY");
            },
        ),
        row("tokens are to be signed with Ed25519", &["pki.file.parses"], |tree| {
            let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
            tree.write("etc/kubernetes/pki/sa.key", key.serialize_pem());
            tree.write(
                "etc/kubernetes/pki/sa.pub",
                forge::pem("PUBLIC KEY", &rcgen::PublicKeyData::subject_public_key_info(&key)),
            );
        }),
        row("the keys of service accounts are in PKCS#1", &["pki.file.parses"], |tree| {
            let der = forge::der(&tree.read("etc/kubernetes/pki/sa.pub"));
            let bits = forge::children(&der)[1].clone();
            // What the bit string holds behind its count of unused bits.
            let inner = &bits[bits.len() - 270..];
            tree.write("etc/kubernetes/pki/sa.pub", forge::pem("RSA PUBLIC KEY", inner));
        })
        .of(Base::Rsa),
        row("a CA of Ed25519", &["pki.key.algorithm"], |tree| {
            let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
            let params = forge::parameters(&tree.spec, &forge::planned(&tree.spec, "front-proxy-ca"));
            tree.write("etc/kubernetes/pki/front-proxy-ca.crt", params.self_signed(&key).unwrap().pem());
            tree.write("etc/kubernetes/pki/front-proxy-ca.key", key.serialize_pem());
            tree.reissue("front-proxy-client", |_| {});
        }),
        row("a leaf of Ed25519", &[], |tree| {
            let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
            let params = forge::parameters(&tree.spec, &forge::planned(&tree.spec, "front-proxy-client"));
            let certificate = tree.authority("front-proxy-ca").sign(&params, &key);
            tree.write("etc/kubernetes/pki/front-proxy-client.crt", certificate);
            tree.write("etc/kubernetes/pki/front-proxy-client.key", key.serialize_pem());
        }),
        row("etcd asks clients for nothing", &["pki.flag.etcd-clients"], |tree| {
            tree.replace(ETCD, "--client-cert-auth=true", "--client-cert-auth=false")
        }),
        row("etcd makes its own certificates", &["pki.flag.etcd-auto-tls"], |tree| {
            tree.replace(ETCD, "- --client-cert-auth=true", "- --client-cert-auth=true\n    - --peer-auto-tls=true")
        }),
        row("etcd's configuration file names no CA of clients", &["pki.flag.etcd"], |tree| {
            by_file(tree, |config| config.replace("  trusted-ca-file: /etc/kubernetes/pki/etcd/ca.crt\n", ""))
        }),
        row("etcd's configuration file has it make its own certificates", &["pki.flag.etcd-auto-tls"], |tree| {
            by_file(tree, |config| {
                config.replace("  client-cert-auth: true\n", "  client-cert-auth: true\n  auto-tls: true\n")
            })
        }),
        row("etcd's configuration file names another key", &["pki.key.pair"], |tree| {
            by_file(tree, |config| config.replace("pki/etcd/peer.key", "pki/etcd/server.key"))
        }),
        row("etcd's certificate lacks an address of its configuration file", &["pki.san.etcd-server"], |tree| {
            by_file(tree, |config| {
                config.replace("advertise-client-urls: https://10.0.0.11", "advertise-client-urls: https://10.0.0.99")
            })
        }),
        row("the API server takes tokens from a file", &["pki.flag.token-file"], |tree| {
            tree.replace(
                APISERVER,
                "- --advertise-address",
                "- --token-auth-file=/etc/kubernetes/pki/tokens.csv\n    - --advertise-address",
            );
        }),
        row("any certificate may be the front proxy", &["pki.flag.requestheader-names"], |tree| {
            without(tree, APISERVER, "requestheader-allowed-names")
        }),
        row("the kubelet does not rotate", &["pki.flag.kubelet-rotation"], |tree| {
            tree.replace("var/lib/kubelet/config.yaml", "rotateCertificates: true", "rotateCertificates: false")
        }),
        row("the signer is told a chain", &["pki.ca.signing-single"], |tree| {
            tree.replace(
                MANAGER,
                "--cluster-signing-cert-file=/etc/kubernetes/pki/signing-ca.crt",
                "--cluster-signing-cert-file=/etc/kubernetes/pki/ca.crt",
            );
            tree.remove("etc/kubernetes/pki/signing-ca.crt");
        })
        .of(Base::Intermediate),
    ]
}
