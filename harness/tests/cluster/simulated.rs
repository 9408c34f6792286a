//! Simulated nodes on a real control plane: they are ready, the real scheduler's pods run on them and go, and nothing
//! is missed or resurrected when the API server dies in the middle of it.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use nix::sys::signal::Signal;
use seaworthy_simulated::{Behavior, Client, Counts, Fleet, Keep, NodeGroup};
use serde_json::{Value, json};

use super::lab::{Lab, until};

/// The controller-manager notices nodes that are gone after 24 s instead of 50.
const SPEC: &str = "\
durability: fast
zones: [a, b, c]
simulated: {nodes: 36, windows: 4}
kubeadm: |
  apiVersion: kubeadm.k8s.io/v1beta4
  kind: ClusterConfiguration
  controllerManager: {extraArgs: [{name: node-monitor-grace-period, value: 24s}]}
";

fn deployment(name: &str, replicas: u32) -> String {
    let labels = json!({ "app": name });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name },
        "spec": { "replicas": replicas, "selector": { "matchLabels": labels }, "template": {
            "metadata": { "labels": labels },
            "spec": {
                "nodeSelector": { "kubernetes.io/os": "linux" },
                "initContainers": [{ "name": "first", "image": "init" }],
                "containers": [{ "name": "web", "image": "web" }, { "name": "proxy", "image": "proxy" }],
            },
        } },
    })
    .to_string()
}

fn items(lab: &Lab, name: &str, path: &str) -> Result<Vec<Value>, String> {
    let list = lab.try_get(name, "cp1", path)?;
    list["items"].as_array().cloned().ok_or_else(|| format!("no list: {list}"))
}

/// The pods of an application, once so many are ready and there is no other.
fn ready(lab: &Lab, name: &str, app: &str, count: usize) -> Vec<Value> {
    until(&format!("{count} pods of {app} are ready"), || {
        let pods = items(lab, name, &format!("/api/v1/namespaces/default/pods?labelSelector=app%3D{app}"))?;
        let is_ready = |pod: &&Value| {
            let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
            let is = |kind: &str| conditions.clone().any(|one| one["type"] == kind && one["status"] == "True");
            pod["metadata"]["deletionTimestamp"].is_null() && is("Ready") && is("PodScheduled")
        };
        let ready = pods.iter().filter(is_ready).count();
        if ready == count && pods.len() == count { Ok(pods) } else { Err(format!("{ready} of {}", pods.len())) }
    })
}

/// What the simulator counted last, by its log.
fn counts(lab: &Lab, name: &str) -> Value {
    let log = lab.ok(&["logs", "--tail", "1", "cp1", "simulated-nodes", "--name", &lab.name(name)]);
    serde_json::from_str(log.trim()).unwrap_or_else(|_| panic!("{log}"))
}

pub(super) fn in_a_cluster(lab: &Lab) {
    let name = "simulated";
    lab.up(name, SPEC);
    let nodes = items(lab, name, "/api/v1/nodes").unwrap();
    assert_eq!(nodes.len(), 40);
    let mut networks: BTreeMap<String, IpNet> = BTreeMap::new();
    let mut zones: BTreeMap<String, u32> = BTreeMap::new();
    for node in &nodes {
        let conditions = node["status"]["conditions"].as_array().unwrap();
        assert!(conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"), "{node}");
        let (labels, node_name) = (&node["metadata"]["labels"], node["metadata"]["name"].as_str().unwrap());
        let windows = node_name.starts_with("sim-win-");
        assert_eq!(labels["kubernetes.io/os"], if windows { "windows" } else { "linux" });
        assert_eq!(node["status"]["nodeInfo"]["operatingSystem"], labels["kubernetes.io/os"]);
        assert_eq!(labels["node.kubernetes.io/windows-build"].is_string(), windows);
        *zones.entry(labels["topology.kubernetes.io/zone"].as_str().unwrap().to_owned()).or_default() += 1;
        networks.insert(node_name.to_owned(), node["spec"]["podCIDR"].as_str().unwrap().parse().unwrap());
    }
    assert!(zones.len() == 3 && zones.values().all(|count| *count >= 13), "{zones:?}");
    // One lease a node, valid for as long as a kubelet's.
    let leases = items(lab, name, "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases").unwrap();
    assert_eq!(leases.len(), 40);
    assert!(leases.iter().all(|lease| lease["spec"]["leaseDurationSeconds"] == 40
        && lease["metadata"]["ownerReferences"][0]["kind"] == "Node"));

    lab.apply(name, "cp1", &deployment("web", 200));
    let pods = ready(lab, name, "web", 200);
    let mut addresses = HashSet::new();
    for pod in &pods {
        let node = pod["spec"]["nodeName"].as_str().unwrap();
        assert!(!node.contains("win"), "a Linux pod is on {node}");
        let address: IpAddr = pod["status"]["podIP"].as_str().unwrap().parse().unwrap();
        assert!(networks[node].contains(&address) && addresses.insert(address), "{address} on {node}");
        let statuses = pod["status"]["containerStatuses"].as_array().unwrap();
        let names: Vec<_> = statuses.iter().map(|one| one["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["web", "proxy"]);
        assert!(statuses.iter().all(|one| one["ready"] == true && one["state"]["running"]["startedAt"].is_string()));
        assert_eq!(pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"], 0);
    }
    lab.apply(name, "cp1", JOB);
    until("the Job completes", || {
        let job = lab.try_get(name, "cp1", "/apis/batch/v1/namespaces/default/jobs/work")?;
        if job["status"]["succeeded"] == 12 { Ok(()) } else { Err(job["status"].to_string()) }
    });
    failing_job(lab, name);
    restarted(lab, name);
    as_a_library(lab, name);
    lab.down(name);
}

/// Twelve pods, four at once, that end by themselves.
const JOB: &str = r#"{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"work"},
"spec":{"completions":12,"parallelism":4,
    "template":{"spec":{"restartPolicy":"Never","containers":[{"name":"work","image":"work"}]}}}}"#;

/// What the annotations of a pod say of its end, its Job sees.
fn failing_job(lab: &Lab, name: &str) {
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "fails" },
        "spec": { "backoffLimit": 0, "template": {
            "metadata": { "annotations": {
                seaworthy_simulated::EXIT_CODE: "3", seaworthy_simulated::RUNS_FOR: "0.5",
            } },
            "spec": { "restartPolicy": "Never", "containers": [{ "name": "work", "image": "work" }] },
        } },
    });
    lab.apply(name, "cp1", &job.to_string());
    until("the Job fails", || {
        let job = lab.try_get(name, "cp1", "/apis/batch/v1/namespaces/default/jobs/fails")?;
        if job["status"]["failed"] == 1 { Ok(()) } else { Err(job["status"].to_string()) }
    });
    let pods = items(lab, name, "/api/v1/namespaces/default/pods?labelSelector=job-name%3Dfails").unwrap();
    assert_eq!(pods[0]["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"], 3);
    assert_eq!(pods[0]["status"]["phase"], "Failed");
}

/// The API server is killed while one application grows, another goes, and a third is new.
fn restarted(lab: &Lab, name: &str) {
    lab.apply(name, "cp1", &deployment("goes", 150));
    ready(lab, name, "goes", 150);
    lab.kubectl(name, "cp1", &["scale", "deployment", "web", "--replicas=400"]);
    lab.kubectl(name, "cp1", &["delete", "deployment", "goes", "--wait=false"]);
    until("some of it is done", || {
        let pods = items(lab, name, "/api/v1/namespaces/default/pods?labelSelector=app%3Dgoes")?;
        if pods.len() < 140 { Ok(()) } else { Err(format!("{} pods", pods.len())) }
    });
    let (host, killed) = (lab.host(name, "cp1"), Instant::now());
    host.client().signal(Some("kube-apiserver"), Signal::SIGKILL).unwrap();
    lab.until_ready(name);
    let away = killed.elapsed();
    ready(lab, name, "web", 400);
    ready(lab, name, "goes", 0);
    lab.kubectl(name, "cp1", &["delete", "deployment", "web", "--wait=false"]);
    ready(lab, name, "web", 0);
    // What is ready or stopping now is nothing; ended pods of Jobs stay.
    let counts = until("the simulator agrees", || {
        let counts = counts(lab, name);
        let pods = &counts["pods"];
        let rest = ["starting", "unready", "ready", "stopping"].map(|kind| pods[kind].as_u64().unwrap());
        if rest == [0; 4] { Ok(counts) } else { Err(counts.to_string()) }
    });
    // Where the API server was away for as long as a lease is valid, leases ran out for want of it.
    if away < Duration::from_secs(20) {
        assert_eq!(counts["leases"]["missed"], 0, "{counts}");
        assert_eq!(counts["nodes"]["ready"], 40, "{counts}");
    }
    assert_eq!(counts["requests"]["refused"], 0, "{counts}");
    let pods = items(lab, name, "/api/v1/namespaces/default/pods").unwrap();
    assert_eq!(pods.len(), 13, "the pods of two Jobs");
}

/// Other suites use the library: nodes lose their leases, fail, come back, and are deleted.
fn as_a_library(lab: &Lab, name: &str) {
    let kubeconfig = lab.cluster(name).admin_kubeconfig();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let patience = Duration::from_mins(2);
    runtime.block_on(async {
        let client = Client::open(&kubeconfig, None).unwrap();
        let behavior = Behavior { lease: Duration::from_secs(2), ..Behavior::default() };
        let group = NodeGroup::linux(10).prefix("lib-").taint("own", "lib", "NoSchedule");
        let fleet = Fleet::new(client.clone()).name("library").nodes(group.clone()).behavior(behavior.clone());
        let fleet = fleet.start().await.unwrap();
        let all = |count: u64| move |counts: &Counts| counts.nodes.ready == count;
        fleet.until("10 nodes are ready", patience, all(10)).await.unwrap();
        fleet.stop_leases("lib-00003").await.unwrap();
        fleet.fail("lib-00004").await.unwrap();
        fleet.until("two nodes are lost", patience, all(8)).await.unwrap();
        fleet.resume_leases("lib-00003").await.unwrap();
        fleet.recover("lib-00004").await.unwrap();
        fleet.until("they are back", patience, all(10)).await.unwrap();
        fleet.remove("lib-00010").await.unwrap();
        assert!(fleet.stop_leases("sim-00001").await.is_err(), "that is another fleet's");
        let counts = fleet.shutdown(Keep::Nodes).await.unwrap();
        assert_eq!((counts.nodes.registered, counts.nodes.lost), (9, 0), "{counts}");
        // Another one takes over what it left, and another fleet does not.
        let group = NodeGroup { count: 9, ..group };
        let other = Fleet::new(client.clone()).name("other").nodes(group.clone()).start().await.unwrap();
        other.until("none is its own", patience, |counts| counts.nodes.lost == 9).await.unwrap();
        other.shutdown(Keep::Nothing).await.unwrap();
        let fleet = Fleet::new(client).name("library").nodes(group).behavior(behavior).start().await.unwrap();
        fleet.until("9 nodes are ready", patience, all(9)).await.unwrap();
        fleet.shutdown(Keep::Nothing).await.unwrap();
    });
    let left = items(lab, name, "/api/v1/nodes").unwrap();
    assert_eq!(left.len(), 40, "only the engine's own are left");
}

pub(super) fn as_a_command(lab: &Lab) {
    let name = "simulate";
    lab.up(name, "durability: fast\n");
    let kubeconfig = lab.cluster(name).admin_kubeconfig();
    let kubeconfig = kubeconfig.to_str().unwrap();
    let simulate = |words: &[&str]| {
        let mut command = lab.program();
        command.args(["simulate", "--kubeconfig", kubeconfig]).args(words);
        super::lab::ran(&mut command)
    };
    let ran = simulate(&["--nodes", "5", "--for", "4s", "-o", "json", "--prefix", "a-", "--fleet", "one"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let lines: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["nodes"]["ready"] == 5), "{}", ran.out);
    assert_eq!(lines.last().unwrap()["nodes"]["wanted"], 0);
    assert_eq!(items(lab, name, "/api/v1/nodes").unwrap().len(), 0);
    for (words, code, part) in [
        (&["--nodes", "0"][..], 2, "there is no node to simulate"),
        (&["--nodes", "1", "--taint", "a"], 2, "is no taint"),
        (&["--nodes", "1", "--label", "a"], 2, "expected KEY=VALUE"),
        (&["--nodes", "1", "--fleet", "a b"], 2, "no label's value"),
        (&["--nodes", "1", "--prefix", "A_"], 3, "422"),
        (&["--nodes", "200", "--pod-cidr", "10.0.0.0/23"], 2, "no network of pods left"),
        (&["--nodes", "1", "--context", "none"], 2, "there is no context 'none'"),
    ] {
        let ran = simulate(words);
        assert_eq!(ran.code, Some(code), "{words:?}: {}", ran.err);
        assert!(ran.err.contains(part), "{words:?}: {}", ran.err);
    }
    lab.down(name);
}
