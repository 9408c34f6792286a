//! Which zone may fail, and what is lost then: a pure judgment, and claims over the cluster as it is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::labels::nodes;
use super::{SPANNING, common, zone_of};
use crate::cluster::{Claim, Ctx, Ref, Stop};
use crate::fitting::quantity;
use crate::trial::Trial;

/// Things by the zones that they are in: a zone for each.
type Places = Vec<(String, String)>;

/// What the loss of a zone does to a group of things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loss {
    pub(super) zone: String,
    pub(super) lost: usize,
    pub(super) left: usize,
}

/// What the loss of each zone does.
pub(super) fn losses(places: &[(String, String)]) -> Vec<Loss> {
    let zones: BTreeSet<_> = places.iter().map(|(_, zone)| zone).collect();
    let of = |zone: &String| {
        let lost = places.iter().filter(|(_, one)| one == zone).count();
        Loss { zone: zone.clone(), lost, left: places.len() - lost }
    };
    zones.into_iter().map(of).collect()
}

impl Loss {
    /// Are those that are left a majority of all?
    pub(super) fn keeps_quorum(&self) -> bool {
        self.left > (self.left + self.lost) / 2
    }
}

/// As a table, for reports.
fn table(losses: &[Loss]) -> String {
    let row = |loss: &Loss| format!("without zone {}: {} of {} left", loss.zone, loss.left, loss.left + loss.lost);
    losses.iter().map(row).collect::<Vec<_>>().join("; ")
}

pub(super) fn trials() -> Vec<Trial> {
    let all = |claim: Claim| common(claim).label("loss");
    let list = "Lists the objects of the cluster, and computes what is left without each zone. Nothing is created.";
    vec![
        all(Claim::new(
            "zones.loss.etcd",
            "etcd keeps its quorum when any one zone fails",
            [SPANNING],
            "two-zones",
            etcd,
        ))
        .alias("etcd quorum")
        .why("Without a quorum nothing of the cluster can be changed, and nodes that fail are not replaced.")
        .how(
            "Reads in which zone each member of etcd runs, from static pods or the engine, and counts what is left \
             without it.",
        )
        .fix("Move members so that no zone has half of them or more: three zones, an odd number of members.")
        .trial(),
        all(Claim::new(
            "zones.loss.control-plane",
            "An API server is left when any one zone fails",
            [SPANNING],
            "one-zone",
            control_plane,
        ))
        .alias("Control plane behavior")
        .why("Pods keep running without one, and nothing repairs what fails.")
        .how("Reads in which zone each control plane runs, from static pods or the engine.")
        .fix("Add control planes in another zone, and put a load balancer in front.")
        .trial(),
        all(Claim::new(
            "zones.loss.dns",
            "A DNS server is left when any one zone fails",
            [SPANNING],
            "dns-in-one-zone",
            dns,
        ))
        .alias("CoreDNS replicas")
        .why("Without DNS most pods of the other zones fail, too.")
        .how(list)
        .fix("Give the Deployment coredns a topology spread constraint over zones, and two replicas or more.")
        .trial(),
        all(Claim::new(
            "zones.loss.capacity",
            "What pods request fits on the nodes that are left when any one zone fails",
            [SPANNING],
            "one-zone",
            capacity,
        ))
        .alias("Node Allocatable")
        .why("Replicas that do not fit stay Pending until the zone is back.")
        .how(list)
        .fix("Add nodes, or lower requests: keep as much room free as the largest zone uses.")
        .trial(),
        all(Claim::new(
            "zones.loss.workloads",
            "Workloads of several replicas run in several zones",
            [SPANNING],
            "workload-in-one-zone",
            workloads,
        ))
        .alias("topologySpreadConstraints")
        .why("Several replicas in one zone are lost together.")
        .how(list)
        .fix("Add a topology spread constraint over topology.kubernetes.io/zone to the template.")
        .trial(),
    ]
}

/// The zones of the hosts that run a component of the control plane: static pods, or what the engine says.
async fn placed(ctx: &Ctx, component: &str) -> Result<Places, Stop> {
    let nodes = nodes(ctx).await?;
    let zones: BTreeMap<_, _> =
        nodes.iter().filter_map(|node| Some((node["metadata"]["name"].as_str()?, zone_of(node)?))).collect();
    let system = Ref { namespace: Some("kube-system".to_owned()), ..Ref::all("v1", "Pod") };
    let mut places = Places::new();
    for pod in ctx.list(&system).await? {
        if pod["metadata"]["labels"].get("component").is_some_and(|one| one == component) {
            let (name, node) = (&pod["metadata"]["name"], pod["spec"]["nodeName"].as_str().unwrap_or_default());
            let Some(zone) = zones.get(node) else {
                return Err(Stop::Undetermined(format!("the node {node}, which runs {component}, has no zone")));
            };
            places.push((name.as_str().unwrap_or_default().to_owned(), (*zone).to_owned()));
        }
    }
    if let (true, Some(ours)) = (places.is_empty(), &ctx.target().ours) {
        let status = ours.status().await.map_err(|error| Stop::Undetermined(error.to_string()))?;
        for host in status["hosts"].as_array().into_iter().flatten() {
            let runs = host["components"].as_array().into_iter().flatten().any(|one| one["name"] == component);
            if let (true, Some(name), Some(zone)) = (runs, host["name"].as_str(), host["zone"].as_str()) {
                places.push((name.to_owned(), zone.to_owned()));
            }
        }
    }
    if places.is_empty() {
        let why = format!("where {component} runs cannot be seen: no static pod of it is on the cluster");
        return Err(Stop::NotApplicable(why));
    }
    Ok(places)
}

async fn etcd(ctx: Ctx) -> Result<(), Stop> {
    let losses = losses(&placed(&ctx, "etcd").await?);
    ctx.evidence("members of etcd", table(&losses));
    for loss in losses.iter().filter(|loss| !loss.keeps_quorum()) {
        let all = loss.left + loss.lost;
        ctx.breach(
            format!("zone {}", loss.zone),
            format!("without the zone {} etcd has {} of {all} members, and no quorum", loss.zone, loss.left),
        );
    }
    Ok(())
}

async fn control_plane(ctx: Ctx) -> Result<(), Stop> {
    none_left(&ctx, "API server", &placed(&ctx, "kube-apiserver").await?);
    Ok(())
}

/// A breach for each zone without which nothing of a group is left.
fn none_left(ctx: &Ctx, what: &str, places: &[(String, String)]) {
    let losses = losses(places);
    ctx.evidence(what, table(&losses));
    for loss in losses.iter().filter(|loss| loss.left == 0) {
        ctx.breach(format!("zone {}", loss.zone), format!("without the zone {} no {what} is left", loss.zone));
    }
}

/// Ready pods and the zones of their nodes; a pod on a node without a zone is in one of its own, by the node's name.
fn places_of(pods: &[Value], nodes: &[Value]) -> Places {
    let zone = |node: &str| {
        let object = nodes.iter().find(|one| one["metadata"]["name"] == node);
        object.and_then(zone_of).map_or_else(|| format!("(none: {node})"), str::to_owned)
    };
    let ready = pods.iter().filter(|pod| {
        let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
        conditions.clone().any(|one| one["type"] == "Ready" && one["status"] == "True")
    });
    ready
        .filter_map(|pod| Some((pod["metadata"]["name"].as_str()?.to_owned(), zone(pod["spec"]["nodeName"].as_str()?))))
        .collect()
}

async fn dns(ctx: Ctx) -> Result<(), Stop> {
    let nodes = nodes(&ctx).await?;
    let system = Ref { namespace: Some("kube-system".to_owned()), ..Ref::all("v1", "Pod") };
    let is_dns = |pod: &Value| pod["metadata"]["labels"].get("k8s-app").is_some_and(|app| app == "kube-dns");
    // CoreDNS may still start where the cluster was raised a moment ago.
    let condition = crate::cluster::Condition::new("has ready pods", |list| {
        let pods = list["items"].as_array().cloned().unwrap_or_default();
        if !pods.is_empty() && places_of(&pods, &[]).len() == pods.len() { Ok(()) } else { Err("not ready".to_owned()) }
    });
    let waited = ctx.until_list(&system, "k8s-app=kube-dns", &condition, std::time::Duration::from_secs(90)).await;
    if let Err(stop @ (Stop::Undetermined(_) | Stop::Interrupted)) = waited {
        return Err(stop);
    }
    let pods: Vec<_> = ctx.list(&system).await?.into_iter().filter(is_dns).collect();
    if pods.is_empty() {
        return Err(Stop::NotApplicable("no pod with the label k8s-app=kube-dns is on the cluster".to_owned()));
    }
    none_left(&ctx, "DNS server", &places_of(&pods, &nodes));
    Ok(())
}

/// What pods request in all, and what nodes have for pods by zone.
fn rooms(nodes: &[Value], pods: &[Value]) -> (u64, BTreeMap<String, u64>) {
    let ended = |pod: &&Value| !["Succeeded", "Failed"].contains(&pod["status"]["phase"].as_str().unwrap_or_default());
    // Pods of DaemonSets go with their nodes.
    let owned = |pod: &&Value| {
        pod["metadata"]["ownerReferences"].as_array().into_iter().flatten().all(|owner| owner["kind"] != "DaemonSet")
    };
    let known: BTreeSet<_> = nodes.iter().filter_map(|node| node["metadata"]["name"].as_str()).collect();
    let here = |pod: &&Value| pod["spec"]["nodeName"].as_str().is_some_and(|node| known.contains(node));
    let containers = pods
        .iter()
        .filter(ended)
        .filter(owned)
        .filter(here)
        .flat_map(|pod| pod["spec"]["containers"].as_array().into_iter().flatten());
    let wanted = containers.map(|one| quantity(&one["resources"]["requests"]["cpu"])).sum();
    let mut rooms: BTreeMap<String, u64> = BTreeMap::new();
    for node in nodes {
        *rooms.entry(zone_of(node).unwrap_or("(none)").to_owned()).or_default() +=
            quantity(&node["status"]["allocatable"]["cpu"]);
    }
    (wanted, rooms)
}

async fn capacity(ctx: Ctx) -> Result<(), Stop> {
    let nodes = nodes(&ctx).await?;
    let pods = ctx.list(&Ref::all("v1", "Pod")).await?;
    let (wanted, rooms) = rooms(&nodes, &pods);
    let total: u64 = rooms.values().sum();
    ctx.evidence("requests", format!("{wanted}m CPU"));
    for (zone, room) in &rooms {
        let left = total - room;
        ctx.evidence(&format!("without zone {zone}"), format!("{left}m CPU"));
        if left < wanted {
            ctx.breach(
                format!("zone {zone}"),
                format!("without the zone {zone} {left}m CPU are left; pods request {wanted}m"),
            );
        }
    }
    Ok(())
}

async fn workloads(ctx: Ctx) -> Result<(), Stop> {
    let nodes = nodes(&ctx).await?;
    let zones: BTreeSet<_> = nodes.iter().filter_map(zone_of).collect();
    if zones.len() < 2 {
        return Err(Stop::NotApplicable("the cluster has one zone".to_owned()));
    }
    let pods = ctx.list(&Ref::all("v1", "Pod")).await?;
    let mut groups: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for pod in pods {
        let own = pod["metadata"]["labels"].get(crate::cluster::RUN_LABEL).is_some();
        let owner = &pod["metadata"]["ownerReferences"][0];
        if own
            || pod["spec"]["nodeName"].is_null()
            || !["ReplicaSet", "StatefulSet"].contains(&owner["kind"].as_str().unwrap_or_default())
        {
            continue;
        }
        let part = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let group =
            format!("{} {}/{}", part(&owner["kind"]), part(&pod["metadata"]["namespace"]), part(&owner["name"]));
        groups.entry(group).or_default().push(pod);
    }
    groups.retain(|_, pods| pods.len() > 1);
    if groups.is_empty() {
        return Err(Stop::NotApplicable("no workload of the cluster has several replicas".to_owned()));
    }
    ctx.evidence("workloads of several replicas", groups.len().to_string());
    for (group, pods) in groups {
        let on: BTreeSet<_> = pods
            .iter()
            .filter_map(|pod| {
                nodes.iter().find(|node| node["metadata"]["name"] == pod["spec"]["nodeName"]).and_then(zone_of)
            })
            .collect();
        if on.len() == 1 {
            let zone = on.into_iter().next().unwrap_or_default();
            ctx.breach(&group, format!("all {} pods of {group} are in the zone {zone}", pods.len()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::ZONE;
    use super::*;

    fn places(zones: &[&str]) -> Places {
        zones.iter().enumerate().map(|(number, zone)| (format!("m{number}"), (*zone).to_owned())).collect()
    }

    #[test]
    fn three_zones_survive_and_two_do_not() {
        assert!(losses(&places(&["a", "b", "c"])).iter().all(Loss::keeps_quorum));
        let two = losses(&places(&["a", "a", "b"]));
        assert_eq!((two[0].keeps_quorum(), two[1].keeps_quorum()), (false, true));
        assert!(!losses(&places(&["a", "b"])).iter().any(Loss::keeps_quorum), "half is no majority");
        assert!(losses(&places(&["a", "a", "b", "b", "c"])).iter().all(Loss::keeps_quorum));
        assert_eq!(table(&two), "without zone a: 1 of 3 left; without zone b: 2 of 3 left");
    }

    #[test]
    fn requests_and_rooms_are_added_up() {
        let node = |name: &str, zone: &str| {
            let metadata = json!({ "name": name, "labels": { ZONE: zone } });
            json!({ "metadata": metadata, "status": { "allocatable": { "cpu": "2" } } })
        };
        let pod = |node: &str, kind: &str| {
            json!({
                "metadata": { "ownerReferences": [{ "kind": kind }] },
                "spec": { "nodeName": node, "containers": [{ "resources": { "requests": { "cpu": "1500m" } } }] },
            })
        };
        let nodes = [node("n1", "a"), node("n2", "b")];
        let (wanted, rooms) =
            rooms(&nodes, &[pod("n1", "ReplicaSet"), pod("n2", "DaemonSet"), pod("gone", "ReplicaSet")]);
        assert_eq!((wanted, rooms.values().sum::<u64>()), (1500, 4000));
    }
}
