//! Our command lines beside those of the real kubeadm.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::path::{Path, PathBuf};
use std::process::Command;

use seaworthy_provision::control_plane::{ControlPlane, EtcdServers, ExtraFlags};

fn required(what: &str) {
    assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "this test needs {what}");
    println!("skipped: it needs {what}");
}

fn plane() -> ControlPlane {
    ControlPlane {
        node: "cp1".to_owned(),
        advertise: "10.0.0.11".parse().unwrap(),
        port: 6443,
        services: vec!["10.96.0.0/12".parse().unwrap()],
        pods: Vec::new(),
        domain: "cluster.local".to_owned(),
        cluster: "kubernetes".to_owned(),
        pki: "/etc/kubernetes/pki".into(),
        kubeconfigs: "/etc/kubernetes".into(),
        external_ca: false,
        etcd: EtcdServers::Local { joins: Vec::new(), data: "/var/lib/etcd".into() },
        extra: ExtraFlags::default(),
    }
}

/// The command lines of the manifests that kubeadm writes for a configuration.
fn kubeadm(kubeadm: &Path, init: &str, cluster: &str) -> Vec<(String, Vec<String>)> {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.yaml");
    let content = format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nlocalAPIEndpoint: {{advertiseAddress: '{init}'}}\n\
         nodeRegistration: {{name: cp1, criSocket: 'unix:///run/containerd/containerd.sock'}}\n---\n\
         apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nkubernetesVersion: v1.37.2\n{cluster}"
    );
    std::fs::write(&config, content).unwrap();
    let out = dir.path().join("manifests");
    std::fs::create_dir(&out).unwrap();
    let phase = |arguments: &[&str]| {
        let mut command = Command::new(kubeadm);
        command.args(["init", "phase"]).args(arguments).arg("--dry-run").arg("--config").arg(&config);
        let output = command.env("KUBEADM_INIT_DRYRUN_DIR", &out).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        text
    };
    let mut found = Vec::new();
    if !cluster.contains("external:") {
        // This phase prints its manifest.
        found.push(("etcd".to_owned(), command_of(&phase(&["etcd", "local"]))));
    }
    phase(&["control-plane", "all"]);
    for name in ["kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
        let text = std::fs::read_to_string(out.join(format!("{name}.yaml"))).unwrap();
        found.push((name.to_owned(), command_of(&text)));
    }
    found
}

/// The arguments in a manifest: the lines of its one list of flags.
fn command_of(manifest: &str) -> Vec<String> {
    let flags: Vec<_> = manifest.lines().filter_map(|line| line.trim().strip_prefix("- --")).collect();
    assert!(!flags.is_empty(), "{manifest}");
    flags.into_iter().map(|flag| format!("--{}", flag.trim_matches('\''))).collect()
}

#[test]
fn our_flags_are_kubeadms() {
    let Some(program) = std::env::var_os("SEAWORTHY_KUBEADM").map(PathBuf::from) else {
        required("SEAWORTHY_KUBEADM to name kubeadm; `seaworthy assets fetch kubeadm` builds one");
        return;
    };
    let pair = |flag: &str, value: &str| (flag.to_owned(), value.to_owned());
    let v6 = "fd00::11";
    let cases: Vec<(&str, String, ControlPlane)> = vec![
        ("10.0.0.11", String::new(), plane()),
        (
            "10.0.0.11",
            "networking: {serviceSubnet: '10.96.0.0/12,fd00:10:96::/112', podSubnet: '10.244.0.0/16,fd00:10:244::/56', dnsDomain: example.test}\nclusterName: sea\n".to_owned(),
            ControlPlane {
                services: vec!["10.96.0.0/12".parse().unwrap(), "fd00:10:96::/112".parse().unwrap()],
                pods: vec!["10.244.0.0/16".parse().unwrap(), "fd00:10:244::/56".parse().unwrap()],
                domain: "example.test".to_owned(),
                cluster: "sea".to_owned(),
                ..plane()
            },
        ),
        (
            v6,
            "networking: {serviceSubnet: 'fd00:10:96::/112'}\netcd: {local: {dataDir: /data/etcd}}\n".to_owned(),
            ControlPlane {
                advertise: v6.parse().unwrap(),
                services: vec!["fd00:10:96::/112".parse().unwrap()],
                etcd: EtcdServers::Local { joins: Vec::new(), data: "/data/etcd".into() },
                ..plane()
            },
        ),
        (
            "10.0.0.11",
            "etcd: {external: {endpoints: ['https://192.0.2.1:2379', 'https://192.0.2.2:2379'], caFile: /x/ca.crt, certFile: /x/c.crt, keyFile: /x/c.key}}\n".to_owned(),
            ControlPlane {
                etcd: EtcdServers::External {
                    endpoints: ["https://192.0.2.1:2379", "https://192.0.2.2:2379"].map(str::to_owned).into(),
                    ca: "/x/ca.crt".into(),
                    client: ("/x/c.crt".into(), "/x/c.key".into()),
                },
                ..plane()
            },
        ),
        (
            "10.0.0.11",
            "apiServer: {extraArgs: [{name: audit-log-path, value: /a}, {name: allow-privileged, value: 'false'}]}\n\
             controllerManager: {extraArgs: [{name: node-cidr-mask-size, value: '20'}]}\nscheduler: {extraArgs: [{name: v, value: '4'}]}\n\
             etcd: {local: {extraArgs: [{name: snapshot-count, value: '5'}]}}\n"
                .to_owned(),
            ControlPlane {
                extra: ExtraFlags {
                    apiserver: vec![pair("audit-log-path", "/a"), pair("allow-privileged", "false")],
                    controller_manager: vec![pair("node-cidr-mask-size", "20")],
                    scheduler: vec![pair("v", "4")],
                    etcd: vec![pair("snapshot-count", "5")],
                },
                ..plane()
            },
        ),
    ];
    for (advertise, cluster, ours) in cases {
        let theirs = kubeadm(&program, advertise, &cluster);
        let ours = ours.components();
        assert_eq!(ours.len(), theirs.len(), "{cluster}");
        for (one, (name, flags)) in ours.iter().zip(theirs) {
            assert_eq!(one.name, name);
            let mut theirs = flags;
            theirs.sort();
            let mut ours: Vec<_> = one.arguments().collect();
            ours.sort();
            assert_eq!(ours, theirs, "{name} of: {cluster}");
        }
    }
}
