//! What is asked for and cannot be: a message that names it, and nothing left behind.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Command;

use seaworthy_provision::assets::{Release, Request, find};

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
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(ran.err.contains("no host 'cp9', only switch, cp1"), "{}", ran.err);
    commands_and_logs(lab, &lab.name("taken"));
    let cut = lab.run(&["fault", "--name", &lab.name("taken"), "power-cut", "cp1"]);
    assert!(cut.code == Some(2) && cut.err.contains("a power cut of cp1 would lose nothing"), "{}", cut.err);
    assert_eq!(lab.status("taken").0, Some(0), "nothing was killed");
    lab.down("taken");
    let ran = lab.run(&["status", "nobody"]);
    assert!(ran.code == Some(2) && ran.err.contains("no cluster 'nobody'"), "{}", ran.err);
}

/// A command that there is not, one that is no program, a log that there is not, and one that grows.
fn commands_and_logs(lab: &Lab, name: &str) {
    let missing = lab.exec("taken", "cp1", &["no-such-command", "--flag"]);
    assert_eq!(missing.code, Some(127), "{}", missing.err);
    assert!(
        missing.err.contains("host cp1: there is no program no-such-command in /usr/local/bin:"),
        "{}",
        missing.err
    );
    let missing = lab.exec("taken", "cp1", &["/no/such"]);
    assert!(missing.code == Some(127) && missing.err.contains("there is no program /no/such"), "{}", missing.err);
    let folder = lab.exec("taken", "cp1", &["/etc"]);
    assert!(folder.code == Some(126) && folder.err.contains("/etc cannot be run"), "{}", folder.err);
    let ran = lab.run(&["logs", "--name", name, "cp1", "nosuch"]);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(ran.err.contains("host cp1 has no log of 'nosuch', only of etcd, kube-apiserver"), "{}", ran.err);
    let log = lab.host("taken", "cp1").var().join("log/seaworthy/etcd.log");
    let mut command = lab.command(&["logs", "--name", name, "cp1", "etcd", "--tail", "1", "--follow"]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut file = std::fs::OpenOptions::new().append(true).open(&log).unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    writeln!(file, "a line that came later").unwrap();
    let seen = lines.map_while(Result::ok).any(|line| line == "a line that came later");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(seen);
}

/// kubeadm's fields that only a real cluster shows whole.
pub(super) fn fields(lab: &Lab) {
    let spec = "workers: 1\ndurability: fast\n\
                kubeadm: |\n  apiVersion: kubeadm.k8s.io/v1beta4\n  kind: ClusterConfiguration\n  clusterName: \
                probe\n  controlPlaneEndpoint: api.probe.test\n  dns: {disabled: true}\n  proxy: {disabled: true}\n  \
                encryptionAlgorithm: ECDSA-P256\n  ---\n  apiVersion: kubeadm.k8s.io/v1beta4\n  kind: \
                InitConfiguration\n  localAPIEndpoint: {bindPort: 7443}\n  skipPhases: [upload-certs]\n  \
                bootstrapTokens: [{token: abcdef.0123456789abcdef, ttl: 7h, description: probe}]\n";
    let up = lab.try_up("fields", spec);
    assert_eq!(up.code, Some(0), "{}", up.err);
    assert!(!up.err.contains("upload-certs"), "{}", up.err);
    let export = up.err.lines().find_map(|line| line.strip_prefix("export KUBECONFIG=")).unwrap();
    // The machine does not know the name.
    let kubeconfig = lab.ok(&["kubeconfig", &lab.name("fields")]);
    assert_eq!(kubeconfig, std::fs::read_to_string(export).unwrap());
    for part in [":7443", "tls-server-name: api.probe.test", "name: probe"] {
        assert!(kubeconfig.contains(part), "no '{part}'");
    }
    let request = Request::here(Release::newest(), &["kubectl"]).unwrap();
    let kubectl = find(&request).unwrap().path("kubectl").unwrap().to_owned();
    let ran = ran(Command::new(kubectl).args(["get", "nodes", "--no-headers"]).env("KUBECONFIG", export));
    assert!(
        ran.code == Some(0) && ran.out.contains("worker1") && ran.out.contains(" Ready "),
        "{} {}",
        ran.out,
        ran.err
    );
    let system =
        lab.kubectl("fields", "cp1", &["get", "deployments,configmaps,secrets", "-n", "kube-system", "-o", "name"]);
    assert!(system.contains("secret/bootstrap-token-abcdef"), "{system}");
    for absent in ["coredns", "configmap/kube-proxy", "secret/kubeadm-certs"] {
        assert!(!system.contains(absent), "{absent}: {system}");
    }
    let units = lab.status("fields").1.iter().map(ToString::to_string).collect::<String>();
    assert!(!units.contains("kube-proxy"), "{units}");
    lab.down("fields");
}

pub(super) fn without_programs(lab: &Lab) {
    let empty = tempfile::tempdir().unwrap();
    let mut command = lab.up_command("empty", "durability: fast\n");
    command.arg("--cache").arg(empty.path()).env("PATH", empty.path()).env("HOME", empty.path());
    let up = ran(&mut command);
    assert_eq!(up.code, Some(3), "{}", up.err);
    for part in ["kube-apiserver", "PATH", "cache", "mirror", "go", "pinned with its sums, in v1.37.2, v1.23.17"] {
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
