//! Topologies that outlive a loss are accepted; each way not to is named.

use seaworthy_history::topology::{
    Faults, Judged, Objects, Unknown, control_planes, dns, endpoint, etcd_endpoints, etcd_size, leases, replicas,
};
use serde_json::{Value, json};

fn plane(name: &str, zone: &str, address: &str) -> Value {
    json!({
        "metadata": { "name": name, "labels": {
            "node-role.kubernetes.io/control-plane": "", "topology.kubernetes.io/zone": zone,
        } },
        "status": { "addresses": [{ "type": "InternalIP", "address": address }] },
    })
}

fn pod(component: &str, node: &str, flags: &[&str]) -> Value {
    let label = if component == "kube-dns" { "k8s-app" } else { "component" };
    let command = [[component].as_slice(), flags].concat();
    json!({
        "metadata": { "name": format!("{component}-{node}"), "labels": { label: component } },
        "spec": { "nodeName": node, "containers": [{ "command": command }] },
    })
}

fn lease(name: &str, seconds: u64) -> Value {
    json!({ "metadata": { "name": name }, "spec": { "holderIdentity": "cp1_x", "leaseDurationSeconds": seconds } })
}

fn good() -> Objects {
    let hosts = ["cp1", "cp2", "cp3"];
    let mut pods = Vec::new();
    for host in hosts {
        pods.push(pod("etcd", host, &[]));
        pods.push(pod("kube-apiserver", host, &["--etcd-servers=https://127.0.0.1:2379"]));
        pods.push(pod("kube-controller-manager", host, &["--leader-elect=true"]));
        pods.push(pod("kube-scheduler", host, &["--leader-elect=true"]));
    }
    pods.extend(["worker1", "worker2"].map(|host| pod("kube-dns", host, &[])));
    Objects {
        nodes: vec![plane("cp1", "a", "10.0.0.11"), plane("cp2", "b", "10.0.0.12"), plane("cp3", "c", "10.0.0.13")],
        pods,
        leases: vec![lease("kube-controller-manager", 15), lease("kube-scheduler", 15)],
        budgets: vec![json!({ "spec": { "selector": { "matchLabels": { "k8s-app": "kube-dns" } } } })],
        endpoint: Some("10.0.0.2:6443".to_owned()),
    }
}

fn faults(judged: Judged) -> Faults {
    judged.unwrap_or_else(|Unknown(why)| panic!("unknown: {why}"))
}

type Judge = fn(&Objects) -> Judged;

#[test]
fn a_topology_that_outlives_a_loss_is_accepted() {
    let judges: [Judge; 7] = [etcd_size, etcd_endpoints, control_planes, dns, leases, replicas, endpoint];
    for judge in judges {
        assert_eq!(judge(&good()), Ok(Vec::new()));
    }
}

#[test]
fn each_way_not_to_outlive_one_is_named() {
    let with = |judge: Judge, change: &dyn Fn(&mut Objects), wanted: &str| {
        let mut objects = good();
        change(&mut objects);
        let found = faults(judge(&objects));
        assert!(found.iter().any(|(thing, why)| format!("{thing}: {why}").contains(wanted)), "{wanted}: {found:?}");
    };
    let drop_pod = |objects: &mut Objects, name: &str| objects.pods.retain(|pod| pod["metadata"]["name"] != name);
    with(etcd_size, &|all| drop_pod(all, "etcd-cp3"), "it has 2 members");
    with(etcd_size, &|all| all.pods.push(pod("etcd", "cp4", &[])), "it has 4 members");
    let external = |all: &mut Objects, flag: &str| {
        all.pods.retain(|pod| pod["metadata"]["labels"]["component"] != "etcd");
        for pod in all.pods.iter_mut().filter(|pod| pod["metadata"]["labels"]["component"] == "kube-apiserver") {
            pod["spec"]["containers"][0]["command"][1] = flag.into();
        }
    };
    with(etcd_size, &|all| external(all, "--etcd-servers=https://e1:2379"), "it has 1 member");
    with(etcd_endpoints, &|all| external(all, "--etcd-servers=https://e1:2379"), "no other to go to");
    with(
        etcd_endpoints,
        &|all| {
            external(all, "--etcd-servers=https://e1:2379,https://e2:2379,https://e3:2379");
            all.pods.push(pod("kube-apiserver", "cp4", &["--etcd-servers=https://e1:2379,https://e2:2379"]));
        },
        "kube-apiserver-cp4: it lacks the endpoints https://e3:2379",
    );
    with(control_planes, &|all| all.nodes.truncate(1), "the only control plane");
    with(control_planes, &|all| all.nodes[1] = plane("cp2", "a", "10.0.0.12"), "a: 2 of 3 control planes are in it");
    with(dns, &|all| drop_pod(all, "kube-dns-worker2"), "it has 1 replica");
    with(dns, &|all| all.pods.iter_mut().for_each(|pod| pod["spec"]["nodeName"] = "worker1".into()), "are on worker1");
    with(dns, &|all| all.budgets.clear(), "no PodDisruptionBudget");
    with(leases, &|all| all.leases[1] = lease("kube-scheduler", 600), "kube-scheduler: it holds 600 s");
    with(leases, &|all| all.leases[0]["spec"]["holderIdentity"] = "".into(), "nobody holds it");
    with(
        replicas,
        &|all| all.pods.push(pod("kube-scheduler", "cp4", &["--leader-elect=false"])),
        "kube-scheduler-cp4: --leader-elect=false",
    );
    with(endpoint, &|all| all.endpoint = Some("10.0.0.12:6443".to_owned()), "with that node the API is gone");
}

#[test]
fn what_the_objects_do_not_show_is_unknown() {
    let empty = Objects::default();
    let judges: [Judge; 7] = [etcd_size, etcd_endpoints, control_planes, dns, leases, replicas, endpoint];
    for judge in judges {
        assert!(judge(&empty).is_err());
    }
}
