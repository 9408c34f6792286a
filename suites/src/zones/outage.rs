//! The outage of a zone: nodes that fall silent, how fast pods are evicted, and what Services do.

use std::time::Duration;

use serde_json::{Value, json};

use super::{NEWEST, PATIENCE, common};
use crate::cluster::{Claim, Condition, Ctx, Fleet, NodeSpec, Ref, SIMULATED, Stop};
use crate::trial::Trial;

const NODES: (&str, &str) = (
    "Nodes: rate limits on eviction",
    "https://kubernetes.io/docs/concepts/architecture/nodes/#rate-limits-on-eviction",
);
/// How long the controllers may take to call nodes lost (50 s), and to taint them one after the other (10 s each).
const OUTAGE: Duration = Duration::from_mins(4);
const LIMIT: Duration = Duration::from_mins(8);

pub(super) fn trials() -> Vec<Trial> {
    let all = |claim: Claim| {
        common(claim).label("outage").wants_consent().limit(LIMIT).basis(NODES.0, NODES.1).fix(
            "Compare the flags of kube-controller-manager: --node-eviction-rate, --unhealthy-zone-threshold, \
             --large-cluster-size-threshold.",
        )
    };
    vec![
        all(Claim::new(
            "zones.outage.eviction",
            "When all nodes of a zone fall silent, its pods are evicted as their tolerations say, and those of other \
             zones stay",
            [NEWEST],
            "no-eviction",
            eviction,
        ))
        .alias("node.kubernetes.io/unreachable:NoExecute")
        .why("It is how workloads come back in the zones that are left.")
        .how(
            "Makes nodes of two zones without a kubelet and pods on them, stops renewing the leases of one zone, and \
             watches taints and pods of both.",
        )
        .trial(),
        all(Claim::new(
            "zones.outage.partial",
            "When most nodes of a small zone fall silent and some do not, eviction stops",
            [NEWEST],
            "partial-is-normal",
            partial,
        ))
        .alias("unhealthy-zone-threshold")
        .why("A broken network must not evict everything from nodes that still run their pods.")
        .how(
            "Makes two zones without a kubelet, of four nodes each; all nodes of the one fall silent, and three of the \
             other. When the one is tainted with NoExecute, at most one node of the other may be.",
        )
        .trial(),
        all(Claim::new(
            "zones.outage.endpoints",
            "When a zone falls silent, its endpoints are no longer ready, and those of other zones stay",
            [NEWEST],
            "no-endpoint-slices",
            endpoints,
        ))
        .alias("EndpointSlice conditions.ready")
        .why("Clients are sent to pods that cannot answer until their endpoints are taken out.")
        .how(
            "Makes a Service with a ready pod in each of two zones without a kubelet, and stops renewing the leases of \
             one zone.",
        )
        .trial(),
    ]
}

/// Nodes of zones that no other act has: the controllers judge outages by zone.
fn zone(ctx: &Ctx, zone: &str, count: usize) -> Vec<NodeSpec> {
    let name = format!("{}-{zone}", ctx.namespace());
    (1..=count).map(|number| NodeSpec::linux(&format!("{zone}{number}")).zone(&name)).collect()
}

/// The names of the act's nodes that have a taint of this effect, for they are unreachable.
fn unreachable(list: &Value, fleet: &Fleet, effect: &str) -> Vec<String> {
    let nodes = list["items"].as_array().into_iter().flatten();
    let tainted = nodes.filter(|node| {
        let taints = node["spec"]["taints"].as_array().into_iter().flatten();
        taints.clone().any(|taint| taint["key"] == "node.kubernetes.io/unreachable" && taint["effect"] == effect)
    });
    let mut names: Vec<_> =
        tainted.map(|node| fleet.short(node["metadata"]["name"].as_str().unwrap_or_default())).collect();
    names.sort_unstable();
    names
}

/// Waits until these nodes of the act have a taint of this effect; the nodes as they are then.
async fn tainted(ctx: &Ctx, fleet: &Fleet, effect: &'static str, names: &[&str]) -> Result<Value, Stop> {
    let (own, wanted) = (fleet.clone(), names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
    let condition = Condition::new(format!("has unreachable:{effect} on {}", names.join(", ")), move |list| {
        let found = unreachable(list, &own, effect);
        if wanted.iter().all(|name| found.contains(name)) {
            Ok(())
        } else {
            Err(format!("it is on [{}]", found.join(", ")))
        }
    });
    let selector = format!("{SIMULATED}={}", ctx.namespace());
    ctx.until_list(&Ref::all("v1", "Node"), &selector, &condition, OUTAGE).await
}

async fn pinned(ctx: &Ctx, fleet: &Fleet, name: &str, node: &str, seconds: Option<u32>) -> Result<(), Stop> {
    let mut more = json!({ "nodeSelector": { "kubernetes.io/hostname": fleet.full(node) } });
    if let Some(seconds) = seconds {
        let toleration = |key: &str| {
            json!({
                "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds,
            })
        };
        more["tolerations"] =
            json!([toleration("node.kubernetes.io/unreachable"), toleration("node.kubernetes.io/not-ready")]);
    }
    ctx.create(ctx.bare_pod(name, &[("app", "web")], &more)).await?;
    ctx.bound(name, PATIENCE).await.map(drop)
}

async fn eviction(ctx: Ctx) -> Result<(), Stop> {
    let fleet = ctx.simulate(&[zone(&ctx, "x", 2), zone(&ctx, "y", 2)].concat()).await?;
    ctx.service_account().await?;
    pinned(&ctx, &fleet, "quick", "x1", Some(0)).await?;
    pinned(&ctx, &fleet, "patient", "x2", None).await?;
    pinned(&ctx, &fleet, "elsewhere", "y1", Some(0)).await?;
    fleet.silence(&["x1", "x2"]);
    let nodes = tainted(&ctx, &fleet, "NoExecute", &["x1", "x2"]).await?;
    ctx.expect(
        "the nodes",
        "which are unreachable",
        &unreachable(&nodes, &fleet, "NoExecute"),
        &vec!["x1".to_owned(), "x2".to_owned()],
    );
    ctx.until_gone(&Ref::new("v1", "Pod", ctx.namespace(), "quick"), PATIENCE).await?;
    for (name, why) in [("patient", "it tolerates the taint for 300 s"), ("elsewhere", "its zone is healthy")] {
        let pod = ctx.get(&Ref::new("v1", "Pod", ctx.namespace(), name)).await;
        let leaving = pod.as_ref().is_ok_and(|pod| !pod["metadata"]["deletionTimestamp"].is_null());
        if pod.is_err() || leaving {
            ctx.breach(name, format!("the pod {name} is evicted, though {why}"));
        }
    }
    Ok(())
}

async fn partial(ctx: Ctx) -> Result<(), Stop> {
    let fleet = ctx.simulate(&[zone(&ctx, "x", 4), zone(&ctx, "y", 4)].concat()).await?;
    fleet.silence(&["x1", "x2", "x3", "x4", "y1", "y2", "y3"]);
    tainted(&ctx, &fleet, "NoSchedule", &["y1", "y2", "y3"]).await?;
    // A node each ten seconds: thrice the time that the three nodes of the other zone would take.
    let nodes = tainted(&ctx, &fleet, "NoExecute", &["x1", "x2", "x3", "x4"]).await?;
    let found: Vec<_> =
        unreachable(&nodes, &fleet, "NoExecute").into_iter().filter(|name| name.starts_with('y')).collect();
    ctx.evidence("nodes of the partial zone that are to be emptied", found.join(", "));
    if found.len() > 1 {
        ctx.breach("zone y", format!("{} of a zone that still has a healthy node are to be emptied", found.join(", ")));
    }
    Ok(())
}

async fn endpoints(ctx: Ctx) -> Result<(), Stop> {
    let fleet = ctx.simulate(&[zone(&ctx, "x", 1), zone(&ctx, "y", 1)].concat()).await?;
    ctx.service_account().await?;
    ctx.create(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web" },
        "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80 }] },
    }))
    .await?;
    for (number, node) in ["x1", "y1"].into_iter().enumerate() {
        let name = format!("web-{node}");
        pinned(&ctx, &fleet, &name, node, None).await?;
        ctx.run_pod(&name, &format!("203.0.113.{}", number + 1)).await?;
    }
    ready(&ctx, &fleet, &["x1", "y1"], PATIENCE).await?;
    fleet.silence(&["x1"]);
    ready(&ctx, &fleet, &["y1"], OUTAGE).await
}

/// Waits until the ready endpoints are those on these nodes.
async fn ready(ctx: &Ctx, fleet: &Fleet, nodes: &[&str], patience: Duration) -> Result<(), Stop> {
    let wanted: Vec<_> = nodes.iter().map(|node| fleet.full(node)).collect();
    let place = Ref { namespace: Some(ctx.namespace().to_owned()), ..Ref::all("discovery.k8s.io/v1", "EndpointSlice") };
    let condition = Condition::new(format!("has ready endpoints on {}", nodes.join(" and ")), move |list| {
        let slices = list["items"].as_array().into_iter().flatten();
        let endpoints = slices.flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
        let ready = endpoints.filter(|one| one["conditions"]["ready"] == true);
        let mut found: Vec<_> = ready.filter_map(|one| one["nodeName"].as_str()).collect();
        found.sort_unstable();
        if found == wanted { Ok(()) } else { Err(format!("ready endpoints on {found:?}")) }
    });
    ctx.until_list(&place, "kubernetes.io/service-name=web", &condition, patience).await.map(drop)
}
