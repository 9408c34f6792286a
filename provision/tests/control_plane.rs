//! Our command lines beside those of the real kubeadm, and a control plane that comes up with them.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use seaworthy_provision::assets::{Cache, Program, Programs, Release, Request, Source, find};
use seaworthy_provision::control_plane::{ControlPlane, EtcdServers, ExtraFlags};
use seaworthy_provision::pki::{Algorithm, Spec, issue, kubeconfigs};

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

/// The programs that `seaworthy assets fetch` left in the cache.
fn programs() -> Option<Programs> {
    let names = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"];
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
    let dir = tempfile::tempdir().unwrap();
    let (pki, conf) = (dir.path().join("pki"), dir.path().to_owned());
    let spec = Spec {
        algorithm: Algorithm::EcdsaP256,
        ..Spec::new("cp1", "10.0.0.11".parse().unwrap(), jiff::Timestamp::now())
    };
    issue(&spec, &pki).unwrap();
    kubeconfigs(&spec, &pki, &conf).unwrap();
    let plane = ControlPlane {
        pki: pki.clone(),
        kubeconfigs: conf.clone(),
        etcd: EtcdServers::Local { joins: Vec::new(), data: dir.path().join("etcd") },
        ..plane()
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
    // The scheduler and the controller-manager show that they work by their leases; the API server by its own word.
    script += &format!(
        "until {} >/dev/null 2>&1; do sleep 0.1; done\n\
         until [ \"$({} 2>/dev/null | wc -l)\" -ge 2 ]; do sleep 0.1; done\n\
         until {} >/dev/null 2>&1; do sleep 0.1; done\n\
         {} >{ready}.part 2>&1\nmv {ready}.part {ready}\nwait\n",
        kubectl("get --raw /readyz"),
        kubectl("get leases -n kube-system -o name | grep -E 'kube-(scheduler|controller-manager)'"),
        kubectl("get serviceaccount default -n default"),
        kubectl("get clusterroles,serviceaccounts -A -o name"),
    );
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &script]);
    let began = Instant::now();
    let mut host = Host(command.stdin(Stdio::null()).spawn().unwrap());
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
}
