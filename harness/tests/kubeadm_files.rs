//! kubeadm's files on the command line: `up` and `up --dry-run` refuse the same, and a dry run changes and fetches
//! nothing.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::Path;
use std::process::Command;

const HEAD: &str = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n";
const INIT: &str = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n";
const KUBELET: &str = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";
const PROXY: &str = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";

/// How `seaworthy cluster up` ended in a folder where nothing is, and what it said.
fn up(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command =
        Command::new(std::env::var_os("SEAWORTHY_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_seaworthy").into()));
    command.args(["cluster", "up", "--cache"]).arg(folder.join("cache")).args(arguments);
    command.env_clear().env("PATH", folder).env("HOME", folder).env("SEAWORTHY_STATE", folder.join("state"));
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Files that are there.
fn left(folder: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut rest = vec![folder.to_owned()];
    while let Some(next) = rest.pop() {
        for entry in std::fs::read_dir(&next).unwrap().flatten() {
            all.push(entry.path().display().to_string());
            if entry.path().is_dir() {
                rest.push(entry.path());
            }
        }
    }
    all
}

#[test]
fn a_dry_run_and_up_refuse_the_same_and_name_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kubeadm.yaml");
    let config = file.to_str().unwrap();
    for (text, named) in [
        (format!("{HEAD}apiServer: {{certSANs: [a_b]}}\n"), "line 3: apiServer.certSANs[0]: 'a_b' is neither"),
        (format!("{HEAD}controlPlaneEndpoint: API.test:6443\n"), "line 3: controlPlaneEndpoint: 'API.test' is neither"),
        (
            format!("{HEAD}networking:\n  podSubnet: '10.244.0.0/16, 10.245.0.0/16'\n"),
            "line 4: networking.podSubnet: ' 10.245.0.0/16' is not a network: blanks are not allowed",
        ),
        (
            format!("{HEAD}---\n{KUBELET}maxPodz: 5\n"),
            "line 6: KubeletConfiguration.maxPodz: v1beta1 has no such field",
        ),
        (
            format!("{HEAD}---\n{KUBELET}maxPods: many\n"),
            "line 6: KubeletConfiguration.maxPods: it must be a whole number",
        ),
        (
            format!("{HEAD}---\n{PROXY}mod: iptables\n"),
            "line 6: KubeProxyConfiguration.mod: v1alpha1 has no such field",
        ),
        (
            format!("{HEAD}kubernetesVersion: v1.99.0\n"),
            "line 3: kubernetesVersion: Kubernetes v1.99.0 is not known here: 1.23 to 1.37",
        ),
        (format!("{HEAD}kubernetesVersion: stable-1\n"), "line 3: kubernetesVersion: 'stable-1' is not a version"),
        (
            format!("{HEAD}featureGates: {{NoSuch: true}}\n"),
            "line 3: featureGates.NoSuch: kubeadm 1.37 has no such feature gate",
        ),
        (format!("{HEAD}clusterName: a\nclusterName: b\n"), "line 4: the key 'clusterName' is given twice"),
        (format!("{HEAD}---\n{HEAD}"), "line 4: there are two documents of kind ClusterConfiguration"),
        (
            format!("{INIT}nodeRegistration: {{name: other}}\n"),
            "line 3: nodeRegistration.name: the first control plane is cp1",
        ),
        (format!("{INIT}nodeRegistration: {{taints: [{{key: a}}]}}\n"), "line 3: nodeRegistration.taints[0].effect"),
        (
            format!("{INIT}localAPIEndpoint: {{advertiseAddress: 192.0.2.1}}\n"),
            "line 3: localAPIEndpoint.advertiseAddress: cp1 has the address",
        ),
        (
            format!("{INIT}localAPIEndpoint: {{bindPort: 2379}}\n"),
            "line 3: localAPIEndpoint.bindPort: 2379 is the port of etcd",
        ),
        (format!("{INIT}skipPhases: [nosuch]\n"), "line 3: skipPhases[]: 'nosuch' cannot be left out"),
        (
            format!("{INIT}bootstrapTokens: [{{token: short}}]\n"),
            "line 3: bootstrapTokens[0].token: this is no bootstrap token",
        ),
        (format!("{INIT}timeouts: {{discovery: 1m}}\n"), "line 3: timeouts.discovery: only 5m0s can be met"),
        (format!("{INIT}timeouts: {{discovery: 1d}}\n"), "line 3: timeouts.discovery: '1d' is not a duration"),
        (
            "apiVersion: kubeadm.k8s.io/v1beta3\nkind: InitConfiguration\n".to_owned(),
            "line 1: kubeadm.k8s.io/v1beta3 is read by kubeadm up to 1.36",
        ),
    ] {
        std::fs::write(&file, &text).unwrap();
        let (code, out, dry) = up(folder.path(), &["--kubeadm-config", config, "--dry-run"]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{text}: {dry}");
        assert!(dry.contains(named), "{text}: {dry}");
        assert!(!dry.contains("short") && !dry.contains("Options"), "{dry}");
        let (code, _, wet) = up(folder.path(), &["--kubeadm-config", config]);
        assert_eq!((code, &wet), (Some(2), &dry), "{text}");
    }
    for arguments in [&["--skip-phases", "nosuch", "--dry-run"][..], &["--skip-phases", "nosuch"]] {
        let (code, _, said) = up(folder.path(), arguments);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("there is no phase 'nosuch', only preflight, hosts"), "{said}");
    }
    let there = left(folder.path());
    assert!(there.iter().all(|path| path == config), "{there:?}");
}

#[test]
fn a_dry_run_changes_and_fetches_nothing_and_shows_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kubeadm.yaml");
    let key = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    let text = format!(
        "{HEAD}kubernetesVersion: v1.35.4\nclusterName: probe\n---\n{INIT}certificateKey: {key}\nskipPhases: [addon]\n\
         bootstrapTokens: [{{token: abcdef.0123456789abcdef}}]\n"
    );
    std::fs::write(&file, text).unwrap();
    // No program is here, and none is looked for.
    let (code, out, said) = up(folder.path(), &["--kubeadm-config", file.to_str().unwrap(), "--dry-run"]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert!(out.contains("--cluster-name=probe") && !out.contains("cluster phase addon"), "{out}");
    assert!(!out.contains("0123456789abcdef") && !out.contains(key) && out.contains("NOT-SHOWN"), "{out}");
    let there = left(folder.path());
    assert_eq!(there, [file.to_str().unwrap()]);
}
