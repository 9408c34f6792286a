//! The program as a whole on a tree full of secrets: none is in a recording, a journal, a report or what it prints;
//! and nothing of this machine is said of the tree.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::path::Path;
use std::process::{Command, Output};

const SECRET: &str = "S3CRETcanary4711";

/// Files of a node, each with secrets that nothing must repeat.
#[rustfmt::skip]
const FILES: &[(&str, &str)] = &[
    ("/etc/hostname", "tree-1\n"),
    ("/etc/os-release", "ID=debian\nPRETTY_NAME=\"Debian 13\"\nSUPPORT_TOKEN={}\n"),
    ("/etc/environment", "HTTPS_PROXY=http://user:{}@proxy:3128\nDB_PASS={}\n"),
    ("/etc/fstab", "# {}\n//s/x /mnt cifs username=u,password={} 0 0\n/dev/sda2 none swap sw 0 0\n"),
    ("/etc/hosts", "127.0.0.1 localhost # {}\n"),
    ("/etc/containerd/config.toml", "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry.configs.'r'.auth]\n\
                                     password = '{}'\n"),
    ("/etc/containerd/certs.d/r/hosts.toml", "[host.'https://r'.header]\nAuthorization = 'Basic {}'\n"),
    ("/etc/cni/net.d/10-calico.conflist", "{\"cniVersion\": \"1.0.0\", \"name\": \"n\", \"plugins\": [{\"type\": \
                                           \"calico\", \"etcd_password\": \"{}\", \"etcd_endpoints\": \
                                           \"https://u:{}@h:2379\"}]}"),
    ("/etc/docker/daemon.json", "{\"proxies\": {\"http-proxy\": \"http://u:{}@p\"}, \"hosts\": [\"tcp://u:{}@h\"]}"),
    ("/etc/systemd/system/kubelet.service", "[Service]\nEnvironment=TOKEN={}\n\
                                             Environment=\"KUBELET_EXTRA_ARGS=--config=/var/lib/kubelet/config.yaml \
                                             --bootstrap-token={}\"\nEnvironmentFile=-/etc/default/kubelet\n\
                                             ExecStart=/usr/bin/kubelet $KUBELET_EXTRA_ARGS --token={}\n"),
    ("/etc/systemd/system/kubelet.service.d/20.conf", "[Service]\nEnvironment=HTTP_PROXY=http://u:{}@p\n"),
    ("/etc/default/kubelet", "KUBELET_EXTRA_ARGS=\"--node-ip=10.0.0.1 --manifest-url-header=X:{}\"\nSECRET={}\n"),
    ("/var/lib/kubelet/config.yaml", "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n\
                                      staticPodURLHeader:\n  Authorization: [\"Bearer {}\"]\n\
                                      staticPodURL: https://u:{}@h/\nunknownMember: {} # {}\n"),
    ("/etc/kubernetes/manifests/kube-apiserver.yaml", "apiVersion: v1\nkind: Pod\n\
                                                       metadata: {name: kube-apiserver, annotations: {a: {}}}\n\
                                                       spec:\n  containers:\n  - name: kube-apiserver\n    command: \
                                                       [kube-apiserver, --client-ca-file=/etc/kubernetes/pki/ca.crt, \
                                                       \"--oidc-client-secret={}\"]\n    env: [{name: A, value: \
                                                       {}}]\n"),
    ("/etc/kubernetes/admin.conf", "apiVersion: v1\nkind: Config\n\
                                    clusters: [{name: c, cluster: {server: 'https://u:{}@10.0.0.1:6443'}}]\n\
                                    contexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n\
                                    users: [{name: u, user: {token: {}, password: {}, username: u}}]\n"),
    ("/etc/kubernetes/kubeadm-config.yaml", "kind: ClusterConfiguration\nkubernetesVersion: v1.37.2\n---\n\
                                             kind: InitConfiguration\nbootstrapTokens: [{token: {}}]\n\
                                             certificateKey: {}\n"),
    ("/etc/kubernetes/pki/ca.key", "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----\n"),
    ("/etc/kubernetes/pki/ca.crt", "{}\n-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"),
    ("/etc/rancher/k3s/config.yaml", "token: {}\nserver: https://u:{}@h:6443\n\
                                      datastore-endpoint: postgres://u:{}@db/k3s\n"),
    ("/var/lib/kubelet/pki/kubelet-client-current.pem", "-----BEGIN EC PRIVATE KEY-----\n{}\n\
                                                         -----END EC PRIVATE KEY-----\n"),
];

fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, content) in FILES {
        let path = dir.path().join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content.replace("{}", SECRET)).unwrap();
    }
    dir
}

fn seaworthy(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seaworthy"));
    for name in ["FOCUS", "SKIP", "REPORT_PATH", "GITHUB_STEP_SUMMARY", "SEAWORTHY_ROOTFS"] {
        command.env_remove(name);
    }
    command.args(arguments).current_dir(folder).output().unwrap()
}

#[test]
fn no_secret_of_a_tree_is_recorded_journalled_reported_or_printed() {
    let (tree, dir) = (tree(), tempfile::tempdir().unwrap());
    let root = tree.path().to_str().unwrap();
    let mut said = vec![
        seaworthy(dir.path(), &["record", "--host", root, "-O", "node.tar.zst"]),
        seaworthy(dir.path(), &["run", "--suite", "node", "--suite", "pki", "--host", root, "-O", "live"]),
    ];
    said.push(seaworthy(
        dir.path(),
        &["run", "--suite", "node", "--suite", "pki", "--host", "node.tar.zst", "-O", "recorded"],
    ));
    let recording = zstd::decode_all(&std::fs::read(dir.path().join("node.tar.zst")).unwrap()[..]).unwrap();
    let mut texts = vec![("node.tar.zst".to_owned(), String::from_utf8_lossy(&recording).into_owned())];
    for folder in ["live", "recorded"] {
        let entries: Vec<_> =
            std::fs::read_dir(dir.path().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(entries.len() > 4, "{entries:?}");
        for path in entries.iter().filter(|path| path.is_file()) {
            texts.push((
                path.display().to_string(),
                String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned(),
            ));
        }
    }
    for output in said {
        texts.push(("standard output".into(), String::from_utf8_lossy(&output.stdout).into_owned()));
        texts.push(("standard error".into(), String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    for (place, text) in &texts {
        let at = text.find(SECRET);
        assert!(
            at.is_none(),
            "{place}: …{}…",
            &text[at.unwrap().saturating_sub(200)..].chars().take(300).collect::<String>()
        );
    }
    assert!(recording.windows(14).any(|window| window == b"PRETTY_NAME=\\\""), "the recording holds what judges read");
}

#[test]
fn a_tree_is_named_by_itself_and_shows_no_kernel() {
    let (tree, dir) = (tree(), tempfile::tempdir().unwrap());
    let said =
        seaworthy(dir.path(), &["run", "--suite", "node", "--host", tree.path().to_str().unwrap(), "-O", "results"]);
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("results/report.json")).unwrap()).unwrap();
    let subject = &report["info"]["subjects"][0];
    assert_eq!(subject["name"], "tree-1");
    let facts: Vec<_> =
        subject["facts"].as_array().unwrap().iter().map(|fact| fact["label"].as_str().unwrap()).collect();
    assert!(!facts.iter().any(|label| ["kernel", "CPUs", "memory"].contains(label)), "{facts:?}");
    let release = nix::sys::utsname::uname().unwrap().release().to_string_lossy().into_owned();
    let text = String::from_utf8_lossy(&std::fs::read(dir.path().join("results/report.json")).unwrap()).into_owned();
    assert!(!text.contains(&release), "the report names this machine's kernel");
    // One reason for all that only a running node could tell, said once.
    let out = String::from_utf8_lossy(&said.stdout).into_owned();
    let sentence = format!("claims could not be determined because of {}:", tree.path().display());
    assert_eq!(out.split_whitespace().collect::<Vec<_>>().join(" ").matches(&sentence).count(), 1, "{out}");
}

#[test]
fn a_tree_with_our_proc_mounted_into_it_is_still_a_tree() {
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "this test needs root");
        println!("skipped: mounting needs root");
        return;
    }
    let (tree, dir) = (tree(), tempfile::tempdir().unwrap());
    std::fs::create_dir_all(tree.path().join("proc")).unwrap();
    let script = "mount -t proc proc \"$1/proc\" && exec \"$2\" run --suite node --host \"$1\" -O \"$3\"";
    let arguments = [tree.path(), Path::new(env!("CARGO_BIN_EXE_seaworthy")), &dir.path().join("results")];
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).args(arguments).env_remove("SEAWORTHY_ROOTFS");
    let output = command.output().unwrap();
    let report = std::fs::read_to_string(dir.path().join("results/report.json"))
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let release = nix::sys::utsname::uname().unwrap().release().to_string_lossy().into_owned();
    assert!(!report.contains(&release) && report.contains("is not a running node"));
}

#[test]
fn a_passive_run_leaves_nothing_undetermined_that_nobody_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    seaworthy(dir.path(), &["run", "--suite", "node", "--passive", "-l", "probe", "-O", "results"]);
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("results/report.json")).unwrap()).unwrap();
    let results = report["results"].as_array().unwrap();
    assert!(results.len() > 15);
    for result in results {
        assert_eq!(result["verdict"]["outcome"], "not-applicable", "{result}");
    }
}
