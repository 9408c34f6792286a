//! Configuration files: read as kubeadm reads them, refused as kubeadm refuses them.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::process::Command;

use seaworthy_provision::kubeadm::{Configuration, read};

const HEAD: &str = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nkubernetesVersion: v1.37.2\n";

/// Files that both must take, and files that both must refuse, with what our refusal names.
fn cases() -> Vec<(String, Option<&'static str>)> {
    let cluster = |rest: &str| format!("{HEAD}{rest}");
    vec![
        (cluster(""), None),
        (cluster("apiServer: {certSANs: [a.test], extraArgs: [{name: v, value: '2'}]}\n"), None),
        (
            cluster(
                "networking: {serviceSubnet: '10.96.0.0/12,fd00:10:96::/112', podSubnet: '10.244.0.0/16,fd00:10:244::/56'}\n",
            ),
            None,
        ),
        (
            cluster(
                "etcd: {external: {endpoints: ['https://192.0.2.1:2379'], caFile: /a, certFile: /b, keyFile: /c}}\n",
            ),
            None,
        ),
        (
            cluster(
                "dns: {disabled: true}\nproxy: {disabled: true}\nencryptionAlgorithm: ECDSA-P384\ncertificateValidityPeriod: 100h30m\n",
            ),
            None,
        ),
        (
            format!(
                "{HEAD}---\napiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\ncgroupDriver: cgroupfs\n"
            ),
            None,
        ),
        (cluster("apiServer:\n  certSAN: [a.test]\n"), Some("line 5: unknown field `certSAN`")),
        (
            cluster("apiServer:\n  extraArgs: {v: '2'}\n"),
            Some("line 5: extraArgs is a list of name and value in v1beta4"),
        ),
        (
            cluster("apiServer:\n  timeoutForControlPlane: 4m\n"),
            Some("line 5: v1beta4 has no field 'timeoutForControlPlane': it is of v1beta3"),
        ),
        (
            cluster("networking: {serviceSubnet: nonsense}\n"),
            Some("networking.serviceSubnet: 'nonsense' is no network"),
        ),
        (
            cluster("networking: {serviceSubnet: 'fd00::/64'}\n"),
            Some("fd00::/64 is too large for Services: the prefix must be /108"),
        ),
        (cluster("networking: {serviceSubnet: '10.96.0.0/30'}\n"), Some("10.96.0.0/30 is too small")),
        (cluster("networking: {serviceSubnet: '10.0.0.0/16,10.1.0.0/16'}\n"), Some("are of one family")),
        (cluster("encryptionAlgorithm: RSA-1024\n"), Some("encryptionAlgorithm: 'RSA-1024' is no algorithm")),
        (
            cluster("etcd: {local: {dataDir: /d}, external: {endpoints: ['https://192.0.2.1:2379']}}\n"),
            Some("etcd: local and external are both set"),
        ),
        (
            format!("{HEAD}---\napiVersion: kubeadm.k8s.io/v1beta9\nkind: InitConfiguration\n"),
            Some("line 5: kubeadm.k8s.io/v1beta9 is not read"),
        ),
        (
            format!(
                "{HEAD}---\napiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nnodeRegistration:\n  tains: []\n"
            ),
            Some("line 8: unknown field `tains`"),
        ),
        (format!("{HEAD}---\n{HEAD}"), Some("line 5: there are two documents of kind ClusterConfiguration")),
        ("apiVersion: kubeadm.k8s.io/v1beta4\nkind: [\n".to_owned(), Some("line ")),
    ]
}

#[test]
fn what_cannot_be_used_is_named_with_its_place() {
    for (text, refused) in cases() {
        match (read(&text), refused) {
            (Ok(_), None) => {}
            (Err(why), Some(named)) => assert!(why.to_string().contains(named), "{why}\n{text}"),
            (other, _) => panic!("{other:?}\n{text}"),
        }
    }
    // kubeadm does not look whether they meet; then no Service works.
    let text = format!("{HEAD}networking: {{serviceSubnet: 10.96.0.0/16, podSubnet: 10.96.0.0/12}}\n");
    assert!(read(&text).unwrap_err().to_string().contains("overlap"));
}

#[test]
fn kubeadm_takes_and_refuses_the_same() {
    let Some(kubeadm) = std::env::var_os("SEAWORTHY_KUBEADM") else {
        assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "SEAWORTHY_KUBEADM must name kubeadm");
        println!("skipped: SEAWORTHY_KUBEADM does not name a kubeadm; `seaworthy assets fetch kubeadm` builds one");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.yaml");
    for (text, refused) in cases() {
        std::fs::write(&file, &text).unwrap();
        let output = Command::new(&kubeadm).args(["config", "validate", "--config"]).arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), refused.is_none(), "{said}\n{text}");
    }
    // What kubeadm prints as its defaults is what a file that says nothing means.
    let printed = |what: &str| {
        let output = Command::new(&kubeadm).args(["config", "print", what]).output().unwrap();
        read(&String::from_utf8(output.stdout).unwrap()).unwrap()
    };
    let theirs = printed("init-defaults");
    let ours = read(HEAD).unwrap();
    let plain = |mut one: Configuration| {
        one.cluster.kubernetes_version = None;
        // kubeadm writes the local etcd out.
        one.cluster.etcd.local.get_or_insert_default();
        one.cluster
    };
    assert_eq!(plain(theirs.clone()), plain(ours));
    let init = theirs.init.unwrap();
    assert_eq!(init.local_api_endpoint.bind_port, 6443);
    assert_eq!(init.bootstrap_tokens[0].token.as_ref().unwrap().reveal(), "abcdef.0123456789abcdef");
    let join = printed("join-defaults").join.unwrap();
    assert!(join.discovery.bootstrap_token.unwrap().unsafe_skip_ca_verification);
}

#[test]
fn v1beta3_is_read_into_the_same_form() {
    let text = "apiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\napiServer:\n  extraArgs: {audit-log-path: /a, v: '2'}\n  timeoutForControlPlane: 4m0s\n\
                ---\napiVersion: kubeadm.k8s.io/v1beta3\nkind: InitConfiguration\nnodeRegistration:\n  name: cp1\n  kubeletExtraArgs: {node-ip: 192.0.2.1}\n\
                localAPIEndpoint: {advertiseAddress: 192.0.2.1, bindPort: 7443}\n";
    let read_it = read(text).unwrap();
    let now = jiff::Timestamp::UNIX_EPOCH;
    let (spec, plane) = read_it.control_plane("other", "10.0.0.1".parse().unwrap(), now).unwrap();
    assert_eq!((spec.node.as_str(), spec.advertise.to_string(), spec.port), ("cp1", "192.0.2.1".to_owned(), 7443));
    let arguments: Vec<_> = plane.components()[1].arguments().collect();
    for flag in ["--audit-log-path=/a", "--v=2", "--secure-port=7443", "--advertise-address=192.0.2.1"] {
        assert!(arguments.iter().any(|argument| argument == flag), "{flag}: {arguments:?}");
    }
    for field in ["timeouts: {discovery: 1m}", "encryptionAlgorithm: RSA-2048", "proxy: {disabled: true}"] {
        let text = format!("apiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\n{field}\n");
        assert!(read(&text).is_err(), "{field}");
    }
}

#[test]
fn secrets_are_not_shown() {
    let text = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nbootstrapTokens:\n- token: abcdef.0123456789abcdef\ncertificateKey: 00112233\n";
    let shown = format!("{:?}", read(text).unwrap());
    assert!(!shown.contains("0123456789abcdef") && !shown.contains("00112233"), "a secret is shown");
}
