//! What is asked for and cannot be: a message that names it, and nothing left behind.

use std::process::Command;

use super::lab::{Lab, ran};

pub(super) fn refused(lab: &Lab) {
    // A specification, and what the message must say.
    for (spec, parts) in [
        ("controlPlanes: 1\nworker: 2\n", &["line 2", "worker"][..]),
        ("network: {pods: [10.0.0.0/16], services: [10.0.1.0/24]}\n", &["network.services", "10.0.0.0/16"]),
        ("network: {families: [v6], services: ['fd00::/64']}\n", &["fd00::/64", "too large"]),
        ("network: {hosts: [198.51.100.0/24]}\n", &["198.51.100.0/24", "taken", "route", "network.hosts"]),
        (
            "kubeadm: |\n  apiVersion: kubeadm.k8s.io/v1beta4\n  kind: ClusterConfiguration\n  certSANs: []\n",
            &["line 3", "certSANs"],
        ),
        ("nodes: {worker7: {}}\n", &["nodes.worker7", "no such host"]),
    ] {
        let route = ran(Command::new("ip").args(["route", "replace", "unreachable", "198.51.100.0/25"]));
        assert_eq!(route.code, Some(0), "{}", route.err);
        let up = lab.try_up("bad", spec);
        ran(Command::new("ip").args(["route", "del", "unreachable", "198.51.100.0/25"]));
        assert_eq!(up.code, Some(2), "{spec}: {}", up.err);
        for part in parts {
            assert!(up.err.contains(part), "{spec}: no '{part}': {}", up.err);
        }
        assert_eq!(lab.ok(&["list"]), "", "nothing was begun");
    }

    lab.up("taken", "durability: fast\n");
    let up = lab.try_up("taken", "durability: fast\nworkers: 1\n");
    assert_eq!(up.code, Some(2), "{}", up.err);
    assert!(
        up.err.contains("differs") && up.err.contains(&format!("cluster down {}", lab.name("taken"))),
        "{}",
        up.err
    );
    assert_eq!(lab.status("taken").0, Some(0), "the one that is there is let be");
    let ran = lab.exec("taken", "cp9", &["true"]);
    assert!(ran.err.contains("no host 'cp9', only switch, cp1"), "{}", ran.err);
    lab.down("taken");
    let ran = lab.run(&["status", "nobody"]);
    assert!(ran.code == Some(2) && ran.err.contains("no cluster 'nobody'"), "{}", ran.err);
}

pub(super) fn without_programs(lab: &Lab) {
    let empty = tempfile::tempdir().unwrap();
    let mut command = lab.up_command("empty", "durability: fast\n");
    command.arg("--cache").arg(empty.path()).env("PATH", empty.path()).env("HOME", empty.path());
    let up = ran(&mut command);
    assert_eq!(up.code, Some(3), "{}", up.err);
    for part in ["kube-apiserver", "PATH", "cache", "mirror", "go"] {
        assert!(up.err.contains(part), "no '{part}': {}", up.err);
    }
    assert_eq!(lab.ok(&["list"]), "", "nothing was begun");

    // Somebody without root, who wants a kubelet.
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(folder.path(), Some(65534), Some(65534)).unwrap();
    let binary = folder.path().join("seaworthy");
    std::fs::copy(lab.command(&[]).get_program(), &binary).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(binary);
    command.args(["cluster", "up", "--workers", "1"]).env("HOME", folder.path()).env_remove("SEAWORTHY_STATE");
    let up = ran(&mut command);
    assert_eq!(up.code, Some(2), "{}", up.err);
    assert!(up.err.contains("need root") && up.err.contains("workers: 0"), "{}", up.err);
}
