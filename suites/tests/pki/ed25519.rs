//! Keys of Ed25519: what the real kubeadm makes of them, and that the suite says the same.

use std::process::Command;

use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _};

use crate::tree::{Base, PKI, Tree, real_kubeadm};
use crate::{audit_tree, forge};

/// kubeadm's command on the PKI of a tree: does it succeed, and what does it say?
fn kubeadm(tree: &Tree, command: &[&str]) -> Option<(bool, String)> {
    let program = real_kubeadm()?;
    let config = tree.path("kubeadm.yaml");
    let text = format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nkubernetesVersion: v1.37.2\n\
         certificatesDir: {}\n",
        tree.path(PKI).display()
    );
    std::fs::write(&config, text).unwrap();
    let output = Command::new(program).args(command).arg("--config").arg(&config).output().unwrap();
    std::fs::remove_file(config).unwrap();
    Some((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

#[test]
fn kubeadm_takes_leaves_of_ed25519_and_no_cas() {
    const REFUSAL: &str = "neither in RSA nor ECDSA format";
    let key = || KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let leaf = |tree: &Tree| {
        let (key, params) = (key(), forge::parameters(&tree.spec, &forge::planned(&tree.spec, "front-proxy-client")));
        let certificate = tree.authority("front-proxy-ca").sign(&params, &key);
        tree.write("etc/kubernetes/pki/front-proxy-client.crt", certificate);
        tree.write("etc/kubernetes/pki/front-proxy-client.key", key.serialize_pem());
    };
    let ca = |tree: &Tree| {
        let (key, params) = (key(), forge::parameters(&tree.spec, &forge::planned(&tree.spec, "front-proxy-ca")));
        tree.write("etc/kubernetes/pki/front-proxy-ca.crt", params.self_signed(&key).unwrap().pem());
        tree.write("etc/kubernetes/pki/front-proxy-ca.key", key.serialize_pem());
        tree.reissue("front-proxy-client", |_| {});
    };
    let accounts = |tree: &Tree| {
        let key = key();
        tree.write("etc/kubernetes/pki/sa.key", key.serialize_pem());
        tree.write("etc/kubernetes/pki/sa.pub", forge::pem("PUBLIC KEY", &key.subject_public_key_info()));
    };
    type Make<'a> = &'a dyn Fn(&Tree);
    let rows: [(Make<'_>, &[&str], bool, Option<&str>); 3] = [
        (&leaf, &["certs", "renew", "front-proxy-client"], true, None),
        (&ca, &["certs", "renew", "front-proxy-client"], false, Some("pki.key.algorithm")),
        // kubeadm leaves them as they are; it is the components that do not sign with them.
        (&accounts, &["init", "phase", "certs", "sa"], true, Some("pki.file.parses")),
    ];
    for (make, command, succeeds, finds) in rows {
        let tree = Tree::new(Base::Ecdsa).unwrap();
        make(&tree);
        let found: Vec<_> = audit_tree(&tree).breached.into_keys().collect();
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), Vec::from_iter(finds), "{command:?}");
        let Some((done, said)) = kubeadm(&tree, command) else { continue };
        assert_eq!(done, succeeds, "{command:?}: {said}");
        assert!(succeeds || said.contains(REFUSAL), "{command:?}: {said}");
    }
}
