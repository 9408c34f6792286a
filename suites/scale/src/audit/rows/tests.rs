use std::collections::BTreeMap;

use super::judges::shown;
use super::*;
use crate::audit::{Nodes, Pods, Server, Sums};

fn sums<const N: usize>(all: [(&str, u64); N]) -> Sums {
    all.into_iter().map(|(name, sum)| (name.to_owned(), sum)).collect()
}

/// A cluster within every limit.
fn good() -> Usage {
    let flags = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    Usage {
        nodes: Ok(Nodes {
            total: 600,
            unready: 0,
            zones: sums([("a", 300), ("b", 300)]),
            control_planes: sums([("a", 1), ("b", 1)]),
            sizes: [("n1".to_owned(), (4, 110)), ("n2".to_owned(), (32, 110))].into(),
            with_network: 600,
        }),
        pods: Ok(Pods {
            total: 3000,
            containers: 6000,
            by_namespace: sums([("web", 2000), ("jobs", 1000)]),
            by_node: sums([("n1", 40), ("n2", 110)]),
            killed: Vec::new(),
        }),
        services: Ok(sums([("web", 100)])),
        deployments: Ok(sums([("web", 100)])),
        backends: Ok(sums([("web/front", 250)])),
        objects: sums([("namespaces", 12), ("events", 4000)]),
        uncounted: BTreeMap::new(),
        definitions: Ok(20),
        largest: Ok(vec![("configmaps web/big".to_owned(), 1 << 20)]),
        database: Ok(100 << 20),
        quota: Ok(0),
        pod_networks: Ok(vec!["10.0.0.0/14".parse().unwrap()]),
        service_networks: Ok(vec![("10.96.0.0/24".parse().unwrap(), 100)]),
        server: Ok(Server { latencies: [("GET pods resource".to_owned(), (0.2, 5000))].into(), ..Server::default() }),
        flags: Ok([
            (
                "kube-apiserver".to_owned(),
                flags(&["kube-apiserver", "--etcd-servers-overrides=/events#https://e:2379"]),
            ),
            ("kube-controller-manager".to_owned(), flags(&["--kube-api-qps=100"])),
            ("kube-scheduler".to_owned(), flags(&["--kube-api-qps=100"])),
            ("etcd".to_owned(), flags(&["etcd"])),
        ]
        .into()),
    }
}

#[test]
fn a_cluster_within_its_limits_is_within_each() {
    for row in rows() {
        let judged = (row.judge)(&good());
        assert_eq!(judged.beyond, [], "{}", row.id);
        assert_eq!((judged.unknown, judged.not_applicable), (None, None), "{}", row.id);
        assert!(!judged.used.is_empty(), "{} says nothing of what is used", row.id);
    }
}

type Edit = fn(&mut Usage);

/// Of each row the smallest edit that is beyond it, and a part of the message.
const BEYOND: [(&str, Edit, &str); 22] = [
    ("nodes", |usage| usage.nodes.as_mut().unwrap().total = 5001, "5,001 nodes; expected at most 5,000"),
    ("pods", |usage| usage.pods.as_mut().unwrap().total = 150_001, "150,001 pods"),
    ("containers", |usage| usage.pods.as_mut().unwrap().containers = 300_001, "300,001 containers"),
    ("pods-per-node", |usage| add(&mut usage.pods.as_mut().unwrap().by_node, "n1", 1), "n1 runs 41 pods on 4 cores"),
    (
        "room-for-pods",
        |usage| usage.nodes.as_mut().unwrap().sizes.extend([("n3".to_owned(), (64, 250))]),
        "n3 has 250 places",
    ),
    ("namespaces", |usage| add(&mut usage.objects, "namespaces", 10_000), "10,012 namespaces"),
    ("pods-per-namespace", |usage| add(&mut usage.pods.as_mut().unwrap().by_namespace, "web", 1001), "web has 3,001"),
    (
        "services",
        |usage| {
            add(usage.services.as_mut().unwrap(), "second", 4_951);
            add(usage.services.as_mut().unwrap(), "third", 4_950);
        },
        "10,001 Services",
    ),
    ("services-per-namespace", |usage| add(usage.services.as_mut().unwrap(), "web", 4_901), "web has 5,001"),
    ("backends-per-service", |usage| add(usage.backends.as_mut().unwrap(), "web/front", 1), "web/front has 251"),
    ("deployments-per-namespace", |usage| add(usage.deployments.as_mut().unwrap(), "web", 1901), "web has 2,001"),
    ("custom-resource-definitions", |usage| usage.definitions = Ok(501), "501"),
    ("object-sizes", |usage| usage.largest.as_mut().unwrap()[0].1 += 1, "configmaps web/big has 1.0 MiB"),
    ("etcd-size", |usage| usage.database = Ok(1_717_986_919), "of a quota of 2048.0 MiB"),
    ("etcd-quota", |usage| usage.quota = Ok((8 << 30) + 1), "expected at most 8 GiB"),
    (
        "events-etcd",
        |usage| usage.flags.as_mut().unwrap().get_mut("kube-apiserver").unwrap().truncate(1),
        "names no etcd of events",
    ),
    ("node-networks", |usage| usage.nodes.as_mut().unwrap().with_network = 973, "a /24 for 1024 nodes, and 973"),
    ("service-addresses", |usage| usage.service_networks.as_mut().unwrap()[0].1 = 229, "229 of the 254"),
    (
        "control-planes-per-zone",
        |usage| usage.nodes.as_mut().unwrap().control_planes.retain(|zone, _| zone == "a"),
        "zone b has 300 nodes and no control plane",
    ),
    (
        "client-rates",
        |usage| usage.flags.as_mut().unwrap().get_mut("kube-scheduler").unwrap().clear(),
        "kube-scheduler sends 50 requests",
    ),
    (
        "refused-requests",
        |usage| add(&mut usage.server.as_mut().unwrap().rejected, "global-default (queue-full)", 7),
        "7 requests of the level global-default",
    ),
    (
        "api-latency",
        |usage| usage.server.as_mut().unwrap().latencies.extend([("POST pods resource".to_owned(), (1.01, 100))]),
        "POST pods resource",
    ),
];

fn add(sums: &mut Sums, name: &str, count: u64) {
    *sums.entry(name.to_owned()).or_default() += count;
}

#[test]
fn each_row_is_caught_by_the_smallest_step_beyond_it() {
    for (id, edit, part) in BEYOND {
        let mut usage = good();
        edit(&mut usage);
        for row in rows() {
            let beyond = (row.judge)(&usage).beyond;
            match row.id == id {
                true => assert!(beyond.len() == 1 && beyond[0].1.contains(part), "{id}: {beyond:?}"),
                false => assert_eq!(beyond, [], "{id} is also {}", row.id),
            }
        }
    }
}

#[test]
fn what_cannot_be_read_is_unknown_and_not_within() {
    let why = || "GET /api/v1/pods: 403 Forbidden: no".to_owned();
    let mut usage = good();
    usage.nodes = Err(why());
    usage.pods = Err(why());
    usage.services = Err(why());
    usage.deployments = Err(why());
    usage.backends = Err(why());
    usage.definitions = Err(why());
    usage.largest = Err(why());
    usage.database = Err(why());
    usage.quota = Err(why());
    usage.pod_networks = Err(why());
    usage.service_networks = Err(why());
    usage.server = Err(why());
    usage.flags = Err(why());
    usage.objects.clear();
    usage.uncounted.insert("namespaces".to_owned(), why());
    for row in rows() {
        let judged = (row.judge)(&usage);
        assert!(judged.unknown.is_some_and(|why| why.contains("403")), "{}", row.id);
    }
    let mut usage = good();
    usage.quota = Err("etcd is no pod".to_owned());
    let size = rows().iter().find(|row| row.id == "etcd-size").unwrap();
    assert_eq!((size.judge)(&usage).unknown, None, "far below the smallest quota that anybody has");
    usage.database = Ok(2 << 30);
    assert!((size.judge)(&usage).unknown.is_some());
}

#[test]
fn numbers_are_grouped() {
    assert_eq!([shown(0), shown(999), shown(1000), shown(1_234_567)].join(" "), "0 999 1,000 1,234,567");
}
