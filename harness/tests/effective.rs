//! `explain --effective`, and a run over the same tree: what a kubelet really runs with, and where that is written.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const FILES: &[(&str, &str)] = &[
    ("etc/hostname", "cp1\n"),
    ("usr/lib/systemd/system/kubelet.service", "[Service]\nExecStart=/usr/bin/kubelet\n"),
    (
        "usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf",
        "[Service]\nEnvironmentFile=-/etc/default/kubelet\nExecStart=\n\
         ExecStart=/usr/bin/kubelet --config=/var/lib/kubelet/config.yaml $KUBELET_EXTRA_ARGS\n",
    ),
    (
        "var/lib/kubelet/config.yaml",
        "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n\
         authentication:\n  anonymous:\n    enabled: false\nrotateCertificate: true\n",
    ),
    ("etc/default/kubelet", "KUBELET_EXTRA_ARGS=\"--anonymous-auth=true --node-ip=192.0.2.7\"\n"),
];

fn tree() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in FILES {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    folder
}

fn seaworthy(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seaworthy"));
    for name in ["FOCUS", "SKIP", "REPORT_PATH", "KUBELET_CONFIG", "CONFIG_DIR", "SEAWORTHY_ROOTFS"] {
        command.env_remove(name);
    }
    command.args(arguments).current_dir(folder).output().unwrap()
}

#[test]
fn each_value_is_printed_with_its_source() {
    let tree = tree();
    let root = tree.path().to_str().unwrap();
    let output = seaworthy(tree.path(), &["explain", "--effective", "kubelet", "--host", root]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    assert!(line("authentication.anonymous.enabled").contains("true"), "{text}");
    assert!(line("authentication.anonymous.enabled").ends_with("--anonymous-auth in /etc/default/kubelet:1"), "{text}");
    assert!(line("healthzPort").contains("default of kubelet 1."), "{text}");
    assert!(line("--node-ip").contains("192.0.2.7"), "{text}");
    assert!(line("ignored: ").contains("rotateCertificate") && line("ignored: ").contains("config.yaml:6"), "{text}");

    let output = seaworthy(tree.path(), &["explain", "--effective", "kubelet", "--host", root, "-o", "json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let settings = json["settings"].as_array().unwrap();
    let anonymous =
        settings.iter().find(|one| one["path"] == serde_json::json!(["authentication", "anonymous", "enabled"]));
    assert_eq!(
        (&anonymous.unwrap()["value"], &anonymous.unwrap()["file"]),
        (&true.into(), &"/etc/default/kubelet".into())
    );
}

#[test]
fn a_run_judges_the_flag_and_names_its_place() {
    let tree = tree();
    let root = tree.path().to_str().unwrap();
    let focus = ["--focus", "node.kubelet.anonymous-auth", "--focus", "node.kubelet.unknown-members"];
    let output = seaworthy(tree.path(), &[&["run", "--passive", "--host", root], &focus[..]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    let report = std::fs::read_to_string(tree.path().join("results/report.json")).unwrap();
    for part in ["/etc/default/kubelet", "does not know rotateCertificate", "rules of Kubernetes"] {
        assert!(report.contains(part), "{part}: {report}");
    }
}

#[test]
fn a_component_that_is_not_known_is_refused_by_name() {
    let tree = tree();
    let output = seaworthy(tree.path(), &["explain", "--effective", "etcd"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("kubelet"));
    // Where no kubelet is set up, nothing is claimed.
    let empty = tempfile::tempdir().unwrap();
    std::fs::create_dir(empty.path().join("etc")).unwrap();
    let root = empty.path().to_str().unwrap();
    let output = seaworthy(empty.path(), &["explain", "--effective", "kubelet", "--host", root]);
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
}
