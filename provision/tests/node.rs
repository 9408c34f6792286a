//! What nodes and add-ons are configured with, beside what the real kubeadm writes.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

mod zeros;

use std::path::{Path, PathBuf};
use std::process::Command;

use ipnet::IpNet;
use seaworthy_provision::addon::{self, DIFFERENCES, Dns, KubeProxy};
use seaworthy_provision::assets::Release;
use seaworthy_provision::image::{Part, REPOSITORY};
use seaworthy_provision::node::kubelet::{Cluster, Host, Kubelet};
use seaworthy_provision::node::proxy::{Mode, Proxy};
use seaworthy_provision::node::{Deviation, dns_address};
use serde_json::{Value, json};
use zeros::without_zeros;

const CLUSTER: &str = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nkubernetesVersion: v1.37.2\n";
const USERS_KUBELET: &str = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: 50\n\
                             rotateCertificates: false\nevictionHard: {memory.available: 1Gi}\n\
                             authentication: {anonymous: {enabled: true}}\ncgroupDriver: systemd\n";
const USERS_PROXY: &str =
    "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: nftables\nconntrack: {min: 5}\n";

/// A real kubeadm and the configuration that it is given.
struct Kubeadm {
    program: PathBuf,
    dir: tempfile::TempDir,
}

impl Kubeadm {
    /// `more` goes behind the `ClusterConfiguration`.
    fn with(more: &str) -> Option<Self> {
        let Some(program) = std::env::var_os("SEAWORTHY_KUBEADM").map(PathBuf::from) else {
            assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "this test needs SEAWORTHY_KUBEADM");
            println!(
                "skipped: it needs SEAWORTHY_KUBEADM to name kubeadm; `seaworthy assets fetch kubeadm` builds one"
            );
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let init = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n\
                    localAPIEndpoint: {advertiseAddress: 10.0.0.11}\n\
                    nodeRegistration: {name: cp1, criSocket: 'unix:///run/containerd/containerd.sock'}\n";
        std::fs::write(dir.path().join("config.yaml"), format!("{init}---\n{CLUSTER}{more}")).unwrap();
        Some(Self { program, dir })
    }

    fn run(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(&self.program);
        command.args(arguments).arg("--config").arg(self.dir.path().join("config.yaml"));
        let output = command.env("KUBEADM_INIT_DRYRUN_DIR", self.dir.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a phase writes into a file.
    fn wrote(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(name)).unwrap()
    }
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

fn services() -> IpNet {
    "10.96.0.0/12".parse().unwrap()
}

/// A host on which nothing is other than kubeadm takes it to be, but that there is no systemd.
fn host() -> Host {
    Host {
        minor: 37,
        runtime: "/run/containerd/containerd.sock".into(),
        cgroup_v1: true,
        cgroup_root: "/".to_owned(),
        swap: true,
        resolv_conf: None,
    }
}

#[test]
fn the_kubelets_configuration_is_kubeadms() {
    for user in [None, Some(USERS_KUBELET)] {
        let more = user.map(|text| format!("---\n{text}")).unwrap_or_default();
        let Some(kubeadm) = Kubeadm::with(&more) else { return };
        kubeadm.run(&["init", "phase", "kubelet-start", "--dry-run"]);
        let mut theirs = without_zeros(yaml(&kubeadm.wrote("config.yaml")));
        let user = user.map(yaml);
        let pki = Path::new("/etc/kubernetes/pki");
        let cluster = Cluster { dns: dns_address(&services()), domain: "cluster.local", pki, user: user.as_ref() };
        let ours = host().configuration(&cluster);
        // A resolv.conf of systemd's is of the machine on which kubeadm runs.
        theirs.as_object_mut().unwrap().remove("resolvConf");
        for row in &ours.deviations {
            assert!(!row.reason.is_empty() && ours.document[row.field] == row.value && theirs[row.field] != row.value);
            theirs[row.field] = row.value.clone();
        }
        assert_eq!(ours.document, theirs);
        assert_eq!(yaml(&ours.yaml()), ours.document);
        let fields: Vec<_> = ours.deviations.iter().map(|row| row.field).collect();
        assert_eq!(fields.contains(&"evictionHard"), user.is_none(), "the user's own is spared");
        assert!(fields.contains(&"cgroupDriver") && fields.contains(&"failCgroupV1"));
        assert_eq!(ours.document["rotateCertificates"], true);

        let kubelet = Kubelet {
            node: "cp1".to_owned(),
            hostname: "the-machine".to_owned(),
            addresses: Vec::new(),
            taints: Vec::new(),
            kubeconfigs: "/etc/kubernetes".into(),
            extra: Vec::new(),
        };
        assert_eq!(kubelet.flags_file(&host()), kubeadm.wrote("kubeadm-flags.env"));
        assert_eq!(host().instance(), Some(yaml(&kubeadm.wrote("instance-config.yaml"))));
    }
}

#[test]
fn images_have_kubeadms_names() {
    let Some(kubeadm) = Kubeadm::with("") else { return };
    let release = Release::newest();
    let listed = kubeadm.run(&["config", "images", "list"]);
    let parts = Part::CONTROL_PLANE.into_iter().chain([Part::Proxy, Part::CoreDns, Part::Pause]);
    let mut ours: Vec<_> = parts.map(|part| part.reference(&release, REPOSITORY).unwrap().to_string()).collect();
    let mut theirs: Vec<_> = listed.lines().map(str::to_owned).collect();
    ours.sort();
    theirs.sort();
    assert_eq!(ours, theirs);
    let Some(kubeadm) = Kubeadm::with("imageRepository: example.test/mirror\n") else { return };
    let coredns = Part::CoreDns.reference(&release, "example.test/mirror").unwrap().to_string();
    assert!(kubeadm.run(&["config", "images", "list"]).lines().any(|line| line == coredns), "{coredns}");
}

#[test]
fn the_document_has_every_deviation() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/nodes.md")).unwrap();
    let pki = Path::new("/etc/kubernetes/pki");
    let cluster = Cluster { dns: dns_address(&services()), domain: "cluster.local", pki, user: None };
    let proxy = Proxy { advertise: "10.0.0.11".parse().unwrap(), pods: &[], mode: Mode::Iptables, user: None };
    let rows = [("kubelet", host().configuration(&cluster)), ("kube-proxy", proxy.configuration())];
    let line = |of: &str, row: &Deviation| {
        let when = if row.above_user { "always" } else { "unless set" };
        format!("| {of} | `{}` | `{}` | {when} | {} |", row.field, row.value, row.reason)
    };
    let lines: Vec<_> = rows.iter().flat_map(|(of, all)| all.deviations.iter().map(|row| line(of, row))).collect();
    let said: Vec<_> = text.lines().filter(|line| line.starts_with("| kube")).collect();
    assert_eq!(said, lines, "docs/nodes.md says something else");
}

fn key(object: &Value) -> String {
    format!("{}/{}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap())
}

/// Compares objects with those of a manifest, but for the rows of [`DIFFERENCES`], which must be differences.
fn compare(ours: Vec<Value>, manifest: &str) {
    let mut theirs: Vec<_> = manifest.split("---\n").filter(|text| !text.trim().is_empty()).map(yaml).collect();
    let mut ours = ours;
    for row in DIFFERENCES {
        let Some(one) = ours.iter_mut().find(|one| key(one) == row.object) else { continue };
        let other = theirs.iter_mut().find(|other| key(other) == row.object).unwrap();
        assert!(one.pointer(row.field) != other.pointer(row.field) && !row.reason.is_empty(), "{row:?} is stale");
        let (parent, field) = row.field.rsplit_once('/').unwrap();
        for object in [one, other] {
            object.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(field);
        }
    }
    ours.sort_by_key(key);
    theirs.sort_by_key(key);
    assert_eq!(ours.iter().map(key).collect::<Vec<_>>(), theirs.iter().map(key).collect::<Vec<_>>());
    for (one, other) in ours.into_iter().zip(theirs) {
        assert_eq!(sorted(one), sorted(other));
    }
}

/// What says the same in another order: the data of kube-proxy is YAML in text.
fn sorted(mut object: Value) -> Value {
    if key(&object) == "ConfigMap/kube-proxy" {
        object["metadata"].as_object_mut().unwrap().remove("annotations");
        for text in object["data"].as_object_mut().unwrap().values_mut() {
            *text = without_zeros(yaml(text.as_str().unwrap()));
        }
    }
    let mut modes = object.pointer_mut("/spec/template/spec/containers/0/volumeMounts");
    for mount in modes.iter_mut().flat_map(|mounts| mounts.as_array_mut().unwrap()) {
        if mount["readOnly"] == false {
            mount.as_object_mut().unwrap().remove("readOnly");
        }
    }
    object
}

#[test]
fn coredns_is_kubeadms() {
    let Some(kubeadm) = Kubeadm::with("networking: {dnsDomain: example.test}\n") else { return };
    let image = Part::CoreDns.reference(&Release::newest(), REPOSITORY).unwrap();
    let dns = Dns { minor: 37, services: &services(), domain: "example.test", image: &image, replicas: 2 };
    compare(dns.objects(), &kubeadm.run(&["init", "phase", "addon", "coredns", "--print-manifest"]));
}

#[test]
fn kube_proxy_is_kubeadms() {
    for user in [None, Some(USERS_PROXY)] {
        let more = user.map(|text| format!("---\n{text}")).unwrap_or_default();
        let Some(kubeadm) = Kubeadm::with(&format!("networking: {{podSubnet: 10.244.0.0/16}}\n{more}")) else { return };
        let manifest = kubeadm.run(&["init", "phase", "addon", "kube-proxy", "--print-manifest"]);
        let (user, pods) = (user.map(yaml), ["10.244.0.0/16".parse().unwrap()]);
        let advertise = "10.0.0.11".parse().unwrap();
        let proxy = Proxy { advertise, pods: &pods, mode: Mode::Iptables, user: user.as_ref() };
        let mut objects = KubeProxy { proxy: &proxy, server: "https://10.0.0.11:6443" }.objects();
        let image = Part::Proxy.reference(&Release::newest(), REPOSITORY).unwrap();
        objects.push(KubeProxy::daemon_set(&image));
        compare(objects, &manifest);
        // A node's own is the cluster's, but that it leaves the connection table alone.
        let own = proxy.configuration();
        assert_eq!(own.document["conntrack"]["maxPerCore"], 0);
        assert_eq!(own.document["mode"], if user.is_some() { "nftables" } else { "iptables" });
    }
}

#[test]
fn a_signature_is_of_the_data_in_the_order_of_its_keys() {
    let mut map = json!({ "metadata": { "name": "x" }, "data": { "b": "2", "a": "1" } });
    addon::sign(&mut map);
    // printf 12 | sha256sum
    assert_eq!(
        map["metadata"]["annotations"]["kubeadm.kubernetes.io/component-config.hash"],
        "sha256:6b51d431df5d7f141cbececcf79edf3dd861c3b4069f0b11661a3eefacbba918"
    );
}
