//! Clusters of every shape come up, do what a cluster does, and outlive the loss of a host.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use seaworthy_provision::assets::Release;
use serde_json::Value;

use super::lab::{Lab, ran, until};

/// A server on every worker, and a Service before it; `FAMILIES` stands for the policy and families of its addresses.
const WEB: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule,
         labelSelector: {matchLabels: {app: web}}}
      containers:
      - {name: web, image: 'registry.seaworthy.dev/workload:VERSION', args: [serve],
         readinessProbe: {httpGet: {path: /readyz, port: 8080}}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {FAMILIES, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
";

/// A version of Kubernetes that is older than the newest, as far as .ci/test fetches the programs of a worker.
const OLDER: &str = "v1.36.3";

fn web(families: &str) -> String {
    WEB.replace("VERSION", env!("CARGO_PKG_VERSION")).replace("FAMILIES", families)
}

/// The ready pods of `web`: name and node.
fn pods(lab: &Lab, name: &str, host: &str, count: usize) -> Vec<(String, String)> {
    until("the pods are ready", || {
        let pods = lab.get(name, host, "/api/v1/namespaces/default/pods?labelSelector=app%3Dweb");
        let is_ready = |pod: &&Value| {
            let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
            let ready = conditions.filter(|one| one["type"] == "Ready").any(|one| one["status"] == "True");
            ready && pod["metadata"]["deletionTimestamp"].is_null()
        };
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let place = |pod: &Value| (text(&pod["metadata"]["name"]), text(&pod["spec"]["nodeName"]));
        let ready: Vec<_> = pods["items"].as_array().unwrap().iter().filter(is_ready).map(place).collect();
        if ready.len() == count { Ok(ready) } else { Err(pods["items"].to_string()) }
    })
}

/// Every pod finds the Service by DNS on each family, and reaches every pod by each of its addresses.
fn services_answer(lab: &Lab, name: &str, host: &str, pods: &[(String, String)], families: &[&str]) {
    let service = lab.get(name, host, "/api/v1/namespaces/default/services/web");
    let addresses: Vec<_> =
        service["spec"]["clusterIPs"].as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect();
    assert_eq!(addresses.len(), families.len());
    let names: BTreeSet<_> = pods.iter().map(|(pod, _)| pod.clone()).collect();
    for (pod, node) in pods {
        // The API server may take a pod for ready that its kubelet, come back, is about to start anew.
        let ask =
            |query: &str| lab.try_get(name, host, &format!("/api/v1/namespaces/default/pods/{pod}:8080/proxy/{query}"));
        for (address, family) in addresses.iter().zip(families) {
            let found = until("DNS answers", || {
                let answer = ask(&format!("dns?name=web.default.svc.cluster.local&type={family}"))?;
                let data = answer["records"][0]["data"].as_str().map(str::to_owned);
                data.ok_or_else(|| format!("{family} asked on {node}: {answer}"))
            });
            assert_eq!(&found, address, "{family} asked on {node}");
            let url = if address.contains(':') {
                format!("http://[{address}]/hostname")
            } else {
                format!("http://{address}/hostname")
            };
            let mut seen = BTreeSet::new();
            until("the Service leads to every pod", || {
                let answer = ask(&format!("dial?url={url}"))?;
                match answer["body"].as_str() {
                    Some(pod) if names.contains(pod) => drop(seen.insert(pod.to_owned())),
                    // For a moment after a restart another pod may have the address of one of ours: it starts again.
                    _ => seen.clear(),
                }
                if seen == names { Ok(()) } else { Err(format!("{url} dialed on {node}: {answer}, seen {seen:?}")) }
            });
        }
    }
}

/// etcd's members that vote, and those that only learn.
pub(super) fn members(lab: &Lab, name: &str, host: &str) -> (usize, usize) {
    let pki = "/etc/kubernetes/pki/etcd";
    let (ca, client, key) = (
        format!("--cacert={pki}/ca.crt"),
        format!("--cert={pki}/healthcheck-client.crt"),
        format!("--key={pki}/healthcheck-client.key"),
    );
    let said = lab.said(name, host, &["etcdctl", &ca, &client, &key, "member", "list", "-w", "json"]);
    let list: Value = serde_json::from_str(&said).unwrap();
    let all = list["members"].as_array().unwrap();
    let learners = all.iter().filter(|one| one["isLearner"] == true).count();
    (all.len() - learners, learners)
}

/// What the real kubeadm says of a host that is no node and would become one: it finds the cluster by a token, and
/// trusts it by the hash of its CA.
pub(super) fn would_join(lab: &Lab, name: &str, more: &[&str]) -> String {
    let join = lab.said(name, "cp1", &["kubeadm", "token", "create", "--print-join-command"]);
    assert!(join.contains("--discovery-token-ca-cert-hash sha256:"), "kubeadm prints how to join");
    let words =
        join.split_whitespace().chain(["--dry-run", "--ignore-preflight-errors=all"]).chain(more.iter().copied());
    lab.said(name, "harbor", &words.collect::<Vec<_>>())
}

pub(super) fn one(lab: &Lab) {
    let name = "one";
    lab.up(name, "workers: 1\n");
    let (code, hosts) = lab.status(name);
    assert_eq!(code, Some(0), "{hosts:#?}");
    assert_eq!(lab.kubectl(name, "cp1", &["get", "--raw", "/readyz"]), "ok");
    let listed = lab.ok(&["list"]);
    assert!(listed.contains(&lab.name(name)) && listed.contains("4 of 4 hosts up"), "{listed}");
    // The kubeconfig leads there from the machine, too.
    let kubeconfig = lab.ok(&["kubeconfig", &lab.name(name)]);
    assert!(kubeconfig.contains("server: https://"), "it names the API server");

    let pki = lab.said(name, "cp1", &["kubeadm", "certs", "check-expiration"]);
    for certificate in
        ["admin.conf", "super-admin.conf", "apiserver", "apiserver-kubelet-client", "etcd-peer", "front-proxy-client"]
    {
        let row = pki.lines().find(|line| line.split_whitespace().next() == Some(certificate));
        assert!(row.is_some_and(|row| row.contains("364d")), "{certificate}: {pki}");
    }
    assert!(!pki.contains("MISSING") && !pki.contains("invalid"), "{pki}");
    let tokens = lab.said(name, "cp1", &["kubeadm", "token", "list"]);
    assert!(tokens.contains("authentication,signing") && tokens.contains("for the nodes of this cluster"));
    let said = would_join(lab, name, &[]);
    assert!(said.contains("This node has joined the cluster:"), "kubeadm joins a worker");

    // Bringing up what is up changes nothing.
    let before: Vec<_> = lab.alive(name).iter().map(|host| host.pid).collect();
    lab.up(name, "workers: 1\n");
    assert_eq!(lab.alive(name).iter().map(|host| host.pid).collect::<Vec<_>>(), before);
    // What is paused does not answer; what is resumed does.
    lab.ok(&["pause", &lab.name(name)]);
    assert_eq!(lab.status(name).0, Some(1));
    lab.ok(&["resume", &lab.name(name)]);
    lab.until_ready(name);
}

const THREE: &str = "controlPlanes: 3\nworkers: 2\nnetwork: {families: [v4, v6]}\ndurability: fast\n";

pub(super) fn three(lab: &Lab) {
    let name = "three";
    lab.up(name, THREE);
    assert_eq!(lab.status(name).0, Some(0));
    lab.apply(name, "cp1", &web("ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv4, IPv6]"));
    let running = pods(lab, name, "cp1", 2);
    let nodes: BTreeSet<_> = running.iter().map(|(_, node)| node.as_str()).collect();
    assert_eq!(nodes, BTreeSet::from(["worker1", "worker2"]), "a pod on each worker");
    services_answer(lab, name, "cp1", &running, &["A", "AAAA"]);
    assert_eq!(members(lab, name, "cp2"), (3, 0));
    balancer_restarts(lab, name);

    // The first control plane, which the others joined by, loses its power.
    lab.host(name, "cp1").kill().unwrap();
    let (code, hosts) = lab.status(name);
    assert_eq!(code, Some(1));
    assert_eq!(
        hosts.iter().filter(|host| host["pid"].is_null()).map(|host| &host["name"]).collect::<Vec<_>>(),
        ["cp1"]
    );
    until("the API answers through the load balancer", || {
        let ran = lab.exec(name, "cp2", &["kubectl", "get", "--raw", "/readyz"]);
        if ran.code == Some(0) { Ok(()) } else { Err(ran.err) }
    });
    lab.up(name, THREE);
    lab.until_ready(name);
    assert_eq!(members(lab, name, "cp1"), (3, 0));

    // All of them at once: none has a quorum alone.
    for host in lab.alive(name) {
        lab.host(name, &host.name).kill().unwrap();
    }
    lab.up(name, THREE);
    lab.until_ready(name);
    assert_eq!(members(lab, name, "cp3"), (3, 0));
    let running = pods(lab, name, "cp1", 2);
    services_answer(lab, name, "cp1", &running, &["A", "AAAA"]);
}

/// The load balancer is killed, and whoever connects before it is back is not refused.
fn balancer_restarts(lab: &Lab, name: &str) {
    let endpoint: SocketAddr = lab.cluster(name).plan().endpoint(6443).unwrap().parse().unwrap();
    let harbor = lab.host(name, "harbor").client();
    harbor.signal(Some("load-balancer"), Signal::SIGKILL).unwrap();
    let connections = until("the load balancer is back", || {
        let connection = TcpStream::connect(endpoint).expect("a connection is not refused");
        let all = harbor.status().unwrap();
        let balancer = all.iter().find(|one| one.unit.name == "load-balancer").unwrap();
        let back = balancer.restarts == 1 && balancer.state == seaworthy_provision::host::unit::State::Ready;
        if back { Ok(connection) } else { Err(format!("{balancer:?}")) }
    });
    drop(connections);
    assert_eq!(lab.kubectl(name, "cp1", &["get", "--raw", "/readyz"]), "ok");
}

pub(super) fn external_etcd(lab: &Lab) {
    let name = "outside";
    lab.up(name, "etcd: {topology: external, members: 3}\ndurability: fast\n");
    let (code, hosts) = lab.status(name);
    assert_eq!(code, Some(0), "{hosts:#?}");
    let of = |role: &str| hosts.iter().filter(|host| host["role"] == role).count();
    assert_eq!((of("etcd"), of("control-plane")), (3, 1));
    assert_eq!(members(lab, name, "etcd1"), (3, 0));
    let etcd =
        |host: &str| lab.ok(&["logs", "--name", &lab.name(name), host]).lines().any(|component| component == "etcd");
    assert!(etcd("etcd2") && !etcd("cp1"), "etcd runs where it is to run");
    // One of three is lost, and the API writes on, perhaps once there is another leader.
    lab.host(name, "etcd1").kill().unwrap();
    until("the API writes", || match lab.exec(name, "cp1", &["kubectl", "create", "namespace", "written"]) {
        ran if ran.code == Some(0) || ran.err.contains("AlreadyExists") => Ok(()),
        ran => Err(ran.err),
    });
}

pub(super) fn ipv6(lab: &Lab) {
    let name = "six";
    let spec = "workers: 1\ncontrolPlane: {nodes: true}\nnetwork: {families: [v6]}\nloadBalancer: haproxy\n\
                zones: [east, west]\nnodes: {worker1: {zone: west}}\ndurability: fast\n";
    lab.up(name, spec);
    let (code, hosts) = lab.status(name);
    assert_eq!(code, Some(0), "{hosts:#?}");
    let zones = lab.kubectl(name, "cp1", &["get", "nodes", "-L", "topology.kubernetes.io/zone", "--no-headers"]);
    for (node, zone) in [("cp1", "east"), ("worker1", "west")] {
        let row = zones.lines().find(|line| line.starts_with(node)).unwrap_or_else(|| panic!("no {node}: {zones}"));
        assert!(row.contains(" Ready ") && row.trim_end().ends_with(zone), "{zones}");
    }
    let cp1 = lab.get(name, "cp1", "/api/v1/nodes/cp1");
    assert_eq!(cp1["spec"]["taints"][0]["key"], "node-role.kubernetes.io/control-plane");
    assert_eq!(cp1["metadata"]["labels"]["node-role.kubernetes.io/control-plane"], "");
    // It leads through haproxy.
    let kubeconfig = lab.ok(&["kubeconfig", &lab.name(name)]);
    let endpoint = lab.cluster(name).plan().endpoint(6443).unwrap();
    assert!(endpoint.starts_with('[') && kubeconfig.contains(&format!("https://{endpoint}")));
    assert_eq!(lab.kubectl(name, "cp1", &["get", "--raw", "/readyz"]), "ok");

    lab.apply(name, "cp1", &web("ipFamilies: [IPv6]").replace("replicas: 2", "replicas: 1"));
    let running = pods(lab, name, "cp1", 1);
    assert_eq!(running[0].1, "worker1", "the control plane is tainted");
    services_answer(lab, name, "cp1", &running, &["AAAA"]);
}

/// The version that the setup guide, whose claims the suites check, is of.
pub(super) fn guide_release() -> Release {
    Release::pinned().find(|release| release.kubernetes.minor() == 23).unwrap()
}

pub(super) fn guide(lab: &Lab) {
    let (name, version) = ("guide", guide_release().kubernetes);
    lab.up(
        name,
        &format!("kubernetes: {version}\nworkers: 1\ncontrolPlane: {{runAs: static-pods}}\ndurability: fast\n"),
    );
    assert_eq!(lab.status(name).0, Some(0));
    for node in ["cp1", "worker1"] {
        let object = lab.get(name, "cp1", &format!("/api/v1/nodes/{node}"));
        let info = &object["status"]["nodeInfo"];
        let socket = &object["metadata"]["annotations"]["kubeadm.alpha.kubernetes.io/cri-socket"];
        assert_eq!(socket, "unix:///run/containerd/containerd.sock", "{node}");
        assert_eq!(info["kubeletVersion"], version.to_string(), "{node}");
        assert_eq!(info["kubeProxyVersion"], version.to_string(), "{node}");
    }
    // kubeadm of that version reads the cluster's configuration, and needs no other.
    let pki = lab.exec(name, "cp1", &["kubeadm", "certs", "check-expiration"]);
    assert!(pki.code == Some(0) && pki.out.contains("front-proxy-client"), "{}{}", pki.out, pki.err);
    assert!(!(pki.out.clone() + &pki.err).contains("Falling back"), "{}{}", pki.out, pki.err);
    lab.apply(name, "cp1", &web("ipFamilies: [IPv4]").replace("replicas: 2", "replicas: 1"));
    let running = pods(lab, name, "cp1", 1);
    services_answer(lab, name, "cp1", &running, &["A"]);
}

/// The version of a node that is older than its cluster, as a kubelet may be (Kubernetes' version skew policy).
pub(super) fn older_release() -> Release {
    Release::of(&OLDER.parse().unwrap()).unwrap()
}

pub(super) fn older(lab: &Lab) {
    let name = "older";
    lab.up(name, &format!("workers: 2\nnodes: {{worker2: {{kubernetes: {OLDER}}}}}\ndurability: fast\n"));
    assert_eq!(lab.status(name).0, Some(0));
    let newest = Release::newest().kubernetes.to_string();
    for (node, version) in [("worker1", &*newest), ("worker2", OLDER)] {
        let info = &lab.get(name, "cp1", &format!("/api/v1/nodes/{node}"))["status"]["nodeInfo"];
        assert_eq!(info["kubeletVersion"], version, "{node}");
    }
    // A Service leads from either node to both.
    lab.apply(name, "cp1", &web("ipFamilies: [IPv4]"));
    let running = pods(lab, name, "cp1", 2);
    let nodes: BTreeSet<_> = running.iter().map(|(_, node)| &**node).collect();
    assert_eq!(nodes, BTreeSet::from(["worker1", "worker2"]));
    services_answer(lab, name, "cp1", &running, &["A"]);
}

/// What whoever keeps the CA has issued is what the cluster has, and nothing in it signs.
pub(super) fn external_ca(lab: &Lab) {
    let (name, spec) = ("own", "network: {hosts: [10.222.0.0/24]}\ndurability: fast\n");
    lab.up(name, spec);
    let given = Path::new("/mnt/given");
    let copied = ran(Command::new("cp").arg("-r").arg(lab.host(name, "cp1").kubernetes()).arg(given));
    assert_eq!(copied.code, Some(0), "{}", copied.err);
    lab.down(name);
    for name in ["ca.key", "front-proxy-ca.key"] {
        std::fs::remove_file(given.join("pki").join(name)).unwrap();
    }
    let up = lab.try_up(name, &format!("{spec}credentials: {}\n", given.join("pki").display()));
    assert!(up.code == Some(3) && up.err.contains("/mnt/given/pki has no folder pki"), "{}", up.err);
    let spec = format!("{spec}credentials: {}\n", given.display());
    let up = lab.try_up(name, &format!("{spec}workers: 1\n"));
    // Nothing was begun, so nothing is there to take down.
    assert!(up.code == Some(3) && up.err.contains("pki/ca.crt has no key"), "{}", up.err);
    lab.up(name, &spec);
    assert_eq!(lab.status(name).0, Some(0));
    let kubernetes = lab.host(name, "cp1").kubernetes();
    assert!(!kubernetes.join("pki/ca.key").exists());
    for file in ["pki/apiserver.crt", "pki/etcd/server.key", "pki/sa.pub", "admin.conf"] {
        assert_eq!(std::fs::read(kubernetes.join(file)).unwrap(), std::fs::read(given.join(file)).unwrap(), "{file}");
    }
    let units = lab.host(name, "cp1").client().status().unwrap();
    let manager = units.iter().find(|one| one.unit.name == "kube-controller-manager").unwrap();
    for flag in ["--cluster-signing-cert-file=", "--cluster-signing-key-file="] {
        assert!(manager.unit.argv.iter().any(|word| word == flag), "{:?}", manager.unit.argv);
    }
    let expiration = lab.said(name, "cp1", &["kubeadm", "certs", "check-expiration", "-o", "json"]);
    let expiration: Value = serde_json::from_str(&expiration).unwrap();
    let external: Vec<_> = expiration["certificateAuthorities"].as_array().unwrap().iter().collect();
    let external: Vec<_> = external.iter().filter(|ca| ca["externallyManaged"] == true).map(|ca| &ca["name"]).collect();
    assert_eq!(external, ["ca", "front-proxy-ca"]);
}

pub(super) fn two(lab: &Lab) {
    let names = ["east", "west"];
    std::thread::scope(|scope| {
        let ups: Vec<_> = names.map(|name| scope.spawn(move || lab.up(name, "durability: fast\n"))).into();
        ups.into_iter().for_each(|up| drop(up.join().unwrap()));
    });
    let plans = names.map(|name| lab.cluster(name).plan().clone());
    assert_ne!(plans[0].networks, plans[1].networks);
    for name in names {
        lab.kubectl(name, "cp1", &["create", "namespace", name]);
    }
    let ran = lab.exec("east", "cp1", &["kubectl", "get", "namespace", "west"]);
    assert!(ran.err.contains("NotFound"), "they are two: {}", ran.err);
    // Which one is meant must be said.
    let ran = lab.run(&["status"]);
    assert!(ran.code == Some(2) && ran.err.contains("several clusters"), "{}", ran.err);
    lab.down("east");
    assert_eq!(lab.status("west").0, Some(0));
}
