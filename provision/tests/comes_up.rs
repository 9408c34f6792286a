//! A control plane of real programs comes up with our PKI and command lines, and lets nodes in as kubeadm's does.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

mod zeros;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use seaworthy_provision::assets::{Programs, Release, Request, find};
use seaworthy_provision::bootstrap::{Token, objects};
use seaworthy_provision::control_plane::{ControlPlane, EtcdServers, ExtraFlags};
use seaworthy_provision::kubeadm;
use seaworthy_provision::node::{dns_address, kubelet::Cluster};
use seaworthy_provision::pki::{Algorithm, Etcd, Spec, issue, kubeconfigs};
use seaworthy_provision::shared_certs::{self, CertificateKey};
use seaworthy_provision::upload;
use serde_json::{Value, json};
use zeros::without_zeros;

fn required(what: &str) {
    assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "this test needs {what}");
    println!("skipped: it needs {what}");
}

/// The programs that `seaworthy assets fetch` left in the cache.
fn programs() -> Option<Programs> {
    let names = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kubeadm"];
    let found = find(&Request::here(Release::newest(), &names)?).ok().filter(|_| nix::unistd::geteuid().is_root());
    if found.is_none() {
        required(&format!("root, and `seaworthy assets fetch {}`", names.join(" ")));
    }
    found
}

/// The shell of comes_up.sh, and with it everything that it started; ends with this value.
struct Host(Child);

impl Drop for Host {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Host {
    /// Starts the components in namespaces of their own, and waits until the script is through.
    fn run(programs: &Programs, plane: &ControlPlane, env: &[(&str, String)], dir: &Path) -> Self {
        let quoted = |word: String| format!("'{}'", word.replace('\'', "'\\''"));
        let mut start = String::new();
        for component in plane.components() {
            let words: Vec<_> = component.arguments().map(quoted).collect();
            let program = programs.path(component.name).unwrap().display();
            start += &format!("{program} {} >\"$DIR/{}.log\" 2>&1 &\n", words.join(" "), component.name);
        }
        std::fs::write(dir.join("start.sh"), start).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]);
        command.arg(include_str!("comes_up.sh")).env("DIR", dir).envs(env.iter().cloned());
        command.env("KUBECTL", programs.path("kubectl").unwrap()).env("KUBEADM", programs.path("kubeadm").unwrap());
        let mut host = Self(command.stdin(Stdio::null()).spawn().unwrap());
        let began = Instant::now();
        while !dir.join("done").exists() {
            let ended = host.0.try_wait().unwrap();
            if ended.is_some() || began.elapsed() > Duration::from_mins(5) {
                for name in ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubeadm"] {
                    let log = std::fs::read_to_string(dir.join(format!("{name}.log"))).unwrap_or_default();
                    println!("== {name}\n{}", log.lines().rev().take(8).collect::<Vec<_>>().join("\n"));
                }
                panic!("the control plane did not come up: {ended:?}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        host
    }
}

#[test]
fn a_control_plane_comes_up_and_lets_nodes_in_as_kubeadms_does() {
    let Some(programs) = programs() else { return };
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let spec = Spec {
        algorithm: Algorithm::EcdsaP256,
        ..Spec::new("cp1", "10.0.0.11".parse().unwrap(), jiff::Timestamp::now())
    };
    issue(&spec, &dir.join("pki")).unwrap();
    kubeconfigs(&spec, &dir.join("pki"), dir).unwrap();
    let plane = ControlPlane {
        node: spec.node.clone(),
        advertise: spec.advertise,
        port: spec.port,
        services: spec.services.clone(),
        pods: Vec::new(),
        domain: spec.domain.clone(),
        cluster: "kubernetes".to_owned(),
        pki: dir.join("pki"),
        kubeconfigs: dir.to_owned(),
        external_ca: false,
        etcd: EtcdServers::Local { joins: Vec::new(), data: dir.join("etcd") },
        extra: ExtraFlags::default(),
    };
    let (token, key) = (Token::generate(), CertificateKey::generate().unwrap());
    let ca = std::fs::read_to_string(dir.join("pki/ca.crt")).unwrap();
    let mut items = objects(&ca, "https://10.0.0.11:6443");
    items.push(token.object(Some("of the test"), None));
    let config = kubeadm_config(&token, &key, &dir.join("pki"));
    let cluster = kubeadm::read(&config).unwrap().cluster;
    items.extend(upload::kubeadm_config(&cluster, &Release::newest()).unwrap());
    let kubelet =
        Cluster { dns: dns_address(&spec.services[0]), domain: &spec.domain, pki: &dir.join("pki"), user: None };
    items.extend(upload::kubelet_config(&kubelet.configuration(), false, &Release::newest()));
    let mut node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "cp1" } });
    let mark = upload::mark_control_plane(&node, None, &Release::newest());
    json_patch::merge(&mut node, &mark);
    items.push(node);
    let name = |item: &Value| {
        let text = |path: &str| item.pointer(path).and_then(Value::as_str).unwrap_or("default").to_owned();
        format!("{}:{}/{}", text("/metadata/namespace"), text("/kind"), text("/metadata/name"))
    };
    // Names with a colon of their own are fine: the first one divides.
    let names = items.iter().map(name).collect::<Vec<_>>().join(" ");
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
    std::fs::write(dir.join("objects.json"), list.to_string()).unwrap();
    std::fs::write(dir.join("kubeadm.yaml"), config).unwrap();

    let env = [("TOKEN_ID", token.id().to_owned()), ("NAMES", names)];
    let _host = Host::run(&programs, &plane, &env, dir);
    let said = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    assert!(said("bootstrapped").contains("cluster-admin"));
    let (ours, theirs) = (plain(&said("ours.json")), plain(&said("theirs.json")));
    assert_eq!(ours.len(), items.len());
    for (ours, theirs) in ours.iter().zip(&theirs).filter(|(ours, _)| ours["kind"] != "Secret") {
        assert_eq!(ours, theirs);
    }
    assert!(ours == theirs, "kubeadm changed what we made: {}", said("kubeadm.log"));
    let tokens = said("tokens");
    let line = tokens.lines().find(|line| line.contains(&token.reveal())).expect("kubeadm lists our token");
    assert!(line.contains("authentication,signing") && line.contains("of the test"));
    assert_eq!((said("admin").trim(), said("kubelet").trim()), ("yes", "yes"));
    // What kubeadm encrypted we decrypt, and the rules for it are ours, as is how it ends.
    let secret = objects_in(&said("kubeadm-certs.json")).remove(0);
    let owner = objects_in(&said("owner.json")).remove(0);
    let mut owned = json!({});
    shared_certs::own(&mut owned, &owner);
    assert_eq!(owned["metadata"]["ownerReferences"], secret["metadata"]["ownerReferences"]);
    let our_owner = shared_certs::owner(&token, jiff::Timestamp::now());
    let keys = |secret: &Value| secret["data"].as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(keys(&our_owner), keys(&owner));
    assert_eq!(our_owner["data"]["description"], owner["data"]["description"]);
    let files = shared_certs::open(&secret, Etcd::Local, &key).unwrap();
    assert_eq!(files.len(), 8);
    for (name, content) in files {
        assert!(content == std::fs::read(dir.join("pki").join(name)).unwrap(), "{name} is another");
    }
    let rules = objects_in(&said("kubeadm-certs-rules.json")).remove(0);
    let rules: Vec<_> = rules["items"].as_array().unwrap().iter().map(Value::to_string).collect();
    let ours_too: Vec<_> = shared_certs::objects().iter().map(Value::to_string).collect();
    assert_eq!(plain(&rules.concat()), plain(&ours_too.concat()));
    // The controller-manager signs as we do.
    let info = ours.iter().find(|one| one["metadata"]["name"] == "cluster-info").unwrap();
    let signature = info["data"][format!("jws-kubeconfig-{}", token.id())].as_str().unwrap();
    let kubeconfig = info["data"]["kubeconfig"].as_str().unwrap();
    assert_eq!(token.sign(kubeconfig), signature);
    assert!(token.signed(kubeconfig, signature));
}

fn kubeadm_config(token: &Token, key: &CertificateKey, pki: &Path) -> String {
    format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\ncertificateKey: {}\n\
         localAPIEndpoint: {{advertiseAddress: 10.0.0.11}}\n\
         nodeRegistration: {{name: cp1, criSocket: 'unix:///run/containerd/containerd.sock'}}\n\
         bootstrapTokens: [{{token: {}, ttl: 0s, description: of the test, usages: [signing, authentication], groups: \
         ['system:bootstrappers:kubeadm:default-node-token']}}]\n---\napiVersion: kubeadm.k8s.io/v1beta4\n\
         kind: ClusterConfiguration\nkubernetesVersion: v1.37.2\ncertificatesDir: {}\n",
        key.reveal(),
        token.reveal(),
        pki.display()
    )
}

/// The objects in a file of one JSON text after the other.
fn objects_in(text: &str) -> Vec<Value> {
    serde_json::Deserializer::from_str(text).into_iter().map(Result::unwrap).collect()
}

/// Objects without what the API server and its controllers add; YAML in them as what it says.
fn plain(text: &str) -> Vec<Value> {
    let mut all = objects_in(text);
    assert!(!all.is_empty());
    for one in &mut all {
        let metadata = &one["metadata"];
        one["metadata"] =
            json!({ "name": metadata["name"], "namespace": metadata["namespace"], "labels": metadata["labels"] });
        if one["kind"] == "Node" {
            let taints = one["spec"]["taints"].as_array().unwrap();
            let kept = taints.iter().filter(|taint| !taint["key"].as_str().unwrap().starts_with("node.kubernetes.io/"));
            one["spec"] = kept.cloned().collect();
            one["status"] = Value::Null;
        }
        for key in ["ClusterConfiguration", "kubelet"] {
            if let Some(text) = one["data"][key].as_str() {
                one["data"][key] = without_zeros(serde_saphyr::from_str(text).unwrap());
            }
        }
    }
    all
}
