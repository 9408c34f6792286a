//! A control plane of real programs comes up with our PKI and command lines, and lets nodes in as kubeadm's does.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use seaworthy_provision::assets::{Cache, Program, Programs, Release, Request, Source, find};
use seaworthy_provision::bootstrap::{Token, objects};
use seaworthy_provision::control_plane::{ControlPlane, EtcdServers, ExtraFlags};
use seaworthy_provision::pki::{Algorithm, Spec, issue, kubeconfigs};
use serde_json::{Value, json};

fn required(what: &str) {
    assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "this test needs {what}");
    println!("skipped: it needs {what}");
}

/// The programs that `seaworthy assets fetch` left in the cache.
fn programs() -> Option<Programs> {
    let names = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kubeadm"];
    let request = Request {
        release: Release::newest(),
        programs: names.iter().map(|name| Program::named(name).unwrap()).collect(),
        sources: vec![Source::Cache],
        directory: None,
        path: Vec::new(),
        cache: Cache::of_user()?,
        mirror: None,
    };
    let found = find(&request).ok().filter(|_| nix::unistd::geteuid().is_root());
    if found.is_none() {
        required(&format!("root, and `seaworthy assets fetch {}`", names.join(" ")));
    }
    found
}

/// Processes in namespaces of their own; all end with this value.
struct Host(Child);

impl Drop for Host {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn a_control_plane_comes_up_with_our_pki_and_flags() {
    let Some(programs) = programs() else { return };
    let kubeadm = programs.path("kubeadm").unwrap().to_str().unwrap().to_owned();
    let dir = tempfile::tempdir().unwrap();
    let (pki, conf) = (dir.path().join("pki"), dir.path().to_owned());
    let spec = Spec {
        algorithm: Algorithm::EcdsaP256,
        ..Spec::new("cp1", "10.0.0.11".parse().unwrap(), jiff::Timestamp::now())
    };
    issue(&spec, &pki).unwrap();
    kubeconfigs(&spec, &pki, &conf).unwrap();
    let plane = ControlPlane {
        node: "cp1".to_owned(),
        advertise: spec.advertise,
        port: spec.port,
        services: spec.services.clone(),
        pods: Vec::new(),
        domain: spec.domain.clone(),
        cluster: "kubernetes".to_owned(),
        pki: pki.clone(),
        kubeconfigs: conf.clone(),
        external_ca: false,
        etcd: EtcdServers::Local { joins: Vec::new(), data: dir.path().join("etcd") },
        extra: ExtraFlags::default(),
    };
    // A network and a PID namespace: ports clash with nothing, and nothing outlives the shell that is its first process.
    let mut script = "set -e\nip link set lo up\nip address add 10.0.0.11/32 dev lo\n".to_owned();
    let quoted = |word: &str| format!("'{}'", word.replace('\'', "'\\''"));
    for component in plane.components() {
        let words: Vec<_> = component.arguments().map(|word| quoted(&word)).collect();
        let program = quoted(programs.path(component.name).unwrap().to_str().unwrap());
        let log = quoted(conf.join(format!("{}.log", component.name)).to_str().unwrap());
        script += &format!("{program} {} >{log} 2>&1 &\n", words.join(" "));
    }
    let kubectl = |more: &str| {
        format!(
            "{} --kubeconfig {} {more}",
            quoted(programs.path("kubectl").unwrap().to_str().unwrap()),
            quoted(conf.join("super-admin.conf").to_str().unwrap())
        )
    };
    let ready = quoted(conf.join("ready").to_str().unwrap());
    let token = Token::generate();
    let ca = std::fs::read_to_string(pki.join("ca.crt")).unwrap();
    let mut items = objects(&ca, "https://10.0.0.11:6443");
    items.push(token.object(Some("of the test"), None));
    let names: Vec<_> = items
        .iter()
        .map(|item| {
            let text = |path: &str| item.pointer(path).and_then(Value::as_str).unwrap_or("default").to_owned();
            format!("-n {} {}/{}", text("/metadata/namespace"), text("/kind"), text("/metadata/name"))
        })
        .collect();
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
    std::fs::write(conf.join("objects.json"), list.to_string()).unwrap();
    std::fs::write(conf.join("kubeadm.yaml"), kubeadm_config(&token, &pki)).unwrap();
    // The scheduler and the controller-manager show that they work by their leases; the API server by its own word.
    script += &format!(
        "until {} >/dev/null 2>&1; do sleep 0.1; done\n\
         until [ \"$({} 2>/dev/null | wc -l)\" -ge 2 ]; do sleep 0.1; done\n\
         until {} >/dev/null 2>&1; do sleep 0.1; done\n\
         {} >{ready}.part 2>&1\n",
        kubectl("get --raw /readyz"),
        kubectl("get leases -n kube-system -o name | grep -E 'kube-(scheduler|controller-manager)'"),
        kubectl("get serviceaccount default -n default"),
        kubectl("get clusterroles,serviceaccounts -A -o name"),
    );
    // Ours first; then kubeadm's own phase over it, which changes what it finds wrong.
    script += &format!("{}\n", kubectl("create -f $DIR/objects.json >$DIR/created 2>&1"));
    let dump = |to: &str| {
        let one = |name: &String| format!("{}\n", kubectl(&format!("get {name} -o json >>$DIR/{to}")));
        names.iter().map(one).collect::<String>()
    };
    script += &format!(
        "until {} >/dev/null 2>&1; do sleep 0.1; done\n",
        kubectl(&format!("get cm cluster-info -n kube-public -o json | grep jws-kubeconfig-{}", token.id()))
    );
    script += &dump("ours.json");
    script += &format!(
        "{} init phase bootstrap-token --config $DIR/kubeadm.yaml --kubeconfig $DIR/super-admin.conf --skip-token-print >$DIR/kubeadm.log 2>&1\n",
        quoted(&kubeadm)
    );
    script += &dump("theirs.json");
    script += &format!("{} token list --kubeconfig $DIR/super-admin.conf >$DIR/tokens 2>&1\n", quoted(&kubeadm));
    script +=
        &format!("{} >$DIR/admin 2>&1\n", kubectl("auth can-i '*' '*'").replace("super-admin.conf", "admin.conf"));
    script +=
        &format!("{} >$DIR/kubelet 2>&1\n", kubectl("auth can-i get nodes/proxy --as kube-apiserver-kubelet-client"));
    script += &format!("mv {ready}.part {ready}\nwait\n");
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &script]);
    let began = Instant::now();
    let mut host = Host(command.stdin(Stdio::null()).env("DIR", &conf).spawn().unwrap());
    let ready = conf.join("ready");
    while !ready.exists() {
        let ended = host.0.try_wait().unwrap();
        if ended.is_some() || began.elapsed() > Duration::from_mins(5) {
            for name in ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
                let log = std::fs::read_to_string(conf.join(format!("{name}.log"))).unwrap_or_default();
                println!("== {name}\n{}", log.lines().rev().take(8).collect::<Vec<_>>().join("\n"));
            }
            panic!("the control plane did not become ready: {ended:?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("ready after {:.1} s", began.elapsed().as_secs_f64());
    let seen = std::fs::read_to_string(&ready).unwrap();
    assert!(seen.contains("clusterrole.rbac.authorization.k8s.io/cluster-admin"), "RBAC is bootstrapped");
    assert!(seen.contains("serviceaccount/default"), "the controller-manager works");

    let said = |name: &str| std::fs::read_to_string(conf.join(name)).unwrap();
    assert_eq!(
        plain(&said("ours.json")),
        plain(&said("theirs.json")),
        "kubeadm changed what we made: {}",
        said("kubeadm.log")
    );
    let tokens = said("tokens");
    let line = tokens.lines().find(|line| line.contains(&token.reveal())).expect("kubeadm lists our token");
    assert!(line.contains("authentication,signing") && line.contains("of the test"));
    for name in ["admin", "kubelet"] {
        assert_eq!(said(name).lines().last(), Some("yes"), "{name}");
    }
    // The controller-manager's signature is ours.
    let info =
        objects_in(&said("ours.json")).into_iter().find(|one| one["metadata"]["name"] == "cluster-info").unwrap();
    let signature = info["data"][format!("jws-kubeconfig-{}", token.id())].as_str().unwrap();
    let kubeconfig = info["data"]["kubeconfig"].as_str().unwrap();
    assert_eq!(token.sign(kubeconfig), signature);
    assert!(token.signed(kubeconfig, signature));
}

fn kubeadm_config(token: &Token, pki: &Path) -> String {
    format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nlocalAPIEndpoint: {{advertiseAddress: 10.0.0.11}}\n\
         nodeRegistration: {{name: cp1, criSocket: 'unix:///run/containerd/containerd.sock'}}\n\
         bootstrapTokens: [{{token: {}, ttl: 0s, description: of the test, usages: [signing, authentication], groups: ['system:bootstrappers:kubeadm:default-node-token']}}]\n---\n\
         apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nkubernetesVersion: v1.37.2\ncertificatesDir: {}\n",
        token.reveal(),
        pki.display()
    )
}

/// The objects in a file of one JSON text after the other.
fn objects_in(text: &str) -> Vec<Value> {
    serde_json::Deserializer::from_str(text).into_iter().map(Result::unwrap).collect()
}

/// Objects without what the API server adds.
fn plain(text: &str) -> Vec<Value> {
    let mut all = objects_in(text);
    assert!(!all.is_empty());
    for one in &mut all {
        one["metadata"] = json!({ "name": one["metadata"]["name"], "namespace": one["metadata"]["namespace"] });
    }
    all
}
