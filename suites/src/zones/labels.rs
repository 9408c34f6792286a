//! Labels of zones: on nodes and volumes of the cluster as it is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{REGION, SPANNING, ZONE, common, zone_of};
use crate::cluster::{Claim, Ctx, Ref, SIMULATED, Stop};
use crate::trial::Trial;

pub(super) fn trials() -> Vec<Trial> {
    let all = |claim: Claim, alias: &str| {
        common(claim)
            .label("labels")
            .alias(alias)
            .how("Lists nodes and volumes of the cluster. Nothing is created.")
            .basis(
                "Well-known labels",
                "https://kubernetes.io/docs/reference/labels-annotations-taints/#topologykubernetesiozone",
            )
    };
    let kubelet =
        "Set the label by the cloud provider, or by the kubelet's --node-labels; a node keeps its zone for life.";
    vec![
        all(Claim::new("zones.labels.zone", "Every node has a zone label", [SPANNING], "labels-wrong", zone), ZONE)
            .why("Pods on a node without one count for no zone, and constraints keep pods from it.")
            .fix(kubelet)
            .trial(),
        all(
            Claim::new(
                "zones.labels.region",
                "Every node with a zone has a region, and a zone is of one region",
                [SPANNING],
                "labels-wrong",
                region,
            ),
            REGION,
        )
        .why("The node lifecycle controller judges outages by region and zone together.")
        .fix(kubelet)
        .trial(),
        all(
            Claim::new(
                "zones.labels.hostname",
                "Every node has a hostname label that no other node has",
                [SPANNING],
                "labels-wrong",
                hostname,
            ),
            "kubernetes.io/hostname",
        )
        .why("Two nodes of one hostname are one domain: constraints and anti-affinity put too few pods there.")
        .fix("Set the kubelet's --hostname-override to a name of its own, and register the node again.")
        .trial(),
        all(
            Claim::new(
                "zones.labels.legacy",
                "Labels of zones from before Kubernetes 1.17 agree with today's",
                [SPANNING],
                "labels-wrong",
                legacy,
            ),
            "failure-domain.beta.kubernetes.io/zone",
        )
        .severity(seaworthy_reports::Severity::Medium)
        .why("Old manifests select by them, and would choose another zone.")
        .fix(
            "kubectl label node NODE failure-domain.beta.kubernetes.io/zone- failure-domain.beta.kubernetes.io/region-",
        )
        .trial(),
        all(
            Claim::new("zones.labels.count", "The cluster spans at least three zones", [SPANNING], "two-zones", count),
            "multiple zones",
        )
        .severity(seaworthy_reports::Severity::Medium)
        .why("etcd and whatever else needs a majority survives the loss of a zone only if there are three.")
        .fix("Add nodes in a third zone.")
        .trial(),
        all(
            Claim::new(
                "zones.labels.volumes",
                "Zones that volumes name have nodes",
                [SPANNING],
                "volume-without-nodes",
                volumes,
            ),
            "PersistentVolume nodeAffinity",
        )
        .why("A pod with a volume of a zone without nodes stays Pending.")
        .fix("Add a node in that zone, or restore the volume's data into another one.")
        .trial(),
    ]
}

/// The nodes that are not simulated.
pub(super) async fn nodes(ctx: &Ctx) -> Result<Vec<Value>, Stop> {
    let mut nodes = ctx.list(&Ref::all("v1", "Node")).await?;
    nodes.retain(|node| node["metadata"]["labels"].get(SIMULATED).is_none());
    if nodes.is_empty() { Err(Stop::NotApplicable("the cluster has no nodes".to_owned())) } else { Ok(nodes) }
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn label<'a>(object: &'a Value, key: &str) -> &'a str {
    object["metadata"]["labels"].get(key).and_then(Value::as_str).unwrap_or_default()
}

async fn zone(ctx: Ctx) -> Result<(), Stop> {
    for node in nodes(&ctx).await? {
        if label(&node, ZONE).is_empty() {
            ctx.breach(format!("Node {}", name(&node)), format!("the node {} has no label {ZONE}", name(&node)));
        }
    }
    Ok(())
}

async fn region(ctx: Ctx) -> Result<(), Stop> {
    let mut regions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for node in nodes(&ctx).await? {
        let (zone, region) = (label(&node, ZONE), label(&node, REGION));
        if !zone.is_empty() && region.is_empty() {
            ctx.breach(
                format!("Node {}", name(&node)),
                format!("the node {} has a zone and no label {REGION}", name(&node)),
            );
        }
        if !zone.is_empty() && !region.is_empty() {
            regions.entry(zone.to_owned()).or_default().insert(region.to_owned());
        }
    }
    for (zone, regions) in regions.into_iter().filter(|(_, regions)| regions.len() > 1) {
        let regions = regions.into_iter().collect::<Vec<_>>().join(" and ");
        ctx.breach(format!("zone {zone}"), format!("nodes of the zone {zone} are of the regions {regions}"));
    }
    Ok(())
}

async fn hostname(ctx: Ctx) -> Result<(), Stop> {
    let mut owners: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for node in nodes(&ctx).await? {
        owners.entry(label(&node, "kubernetes.io/hostname").to_owned()).or_default().push(name(&node).to_owned());
    }
    for (hostname, owners) in owners {
        let all = owners.join(", ");
        if hostname.is_empty() {
            ctx.breach(format!("Node {all}"), format!("no label kubernetes.io/hostname: {all}"));
        } else if owners.len() > 1 {
            ctx.breach(format!("Node {all}"), format!("the hostname {hostname} is that of several nodes: {all}"));
        }
    }
    Ok(())
}

async fn legacy(ctx: Ctx) -> Result<(), Stop> {
    for node in nodes(&ctx).await? {
        for (old, new) in
            [("failure-domain.beta.kubernetes.io/zone", ZONE), ("failure-domain.beta.kubernetes.io/region", REGION)]
        {
            let (was, is) = (label(&node, old), label(&node, new));
            if !was.is_empty() && was != is {
                let name = name(&node);
                ctx.breach(format!("Node {name}"), format!("the node {name} has {old}={was} and {new}={is}"));
            }
        }
    }
    Ok(())
}

async fn count(ctx: Ctx) -> Result<(), Stop> {
    let nodes = nodes(&ctx).await?;
    let zones: BTreeSet<_> = nodes.iter().filter_map(zone_of).collect();
    let all = zones.iter().copied().collect::<Vec<_>>().join(", ");
    ctx.evidence("zones", all.clone());
    if zones.len() < 3 {
        ctx.breach("the cluster", format!("the cluster spans {} zones ({all}); expected three or more", zones.len()));
    }
    Ok(())
}

/// The zones that a volume can be used in: one list a term of its node affinity, or those of its label.
pub(super) fn zones_of_volume(volume: &Value) -> Vec<String> {
    let texts = |values: &Value| {
        values.as_array().into_iter().flatten().filter_map(|one| one.as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let terms = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"].as_array();
    let expressions =
        terms.into_iter().flatten().flat_map(|term| term["matchExpressions"].as_array().into_iter().flatten());
    let named = expressions.filter(|one| {
        let key = one["key"].as_str().unwrap_or_default();
        one["operator"] == "In" && (key == ZONE || key.ends_with("/zone"))
    });
    let zones: Vec<_> = named.flat_map(|one| texts(&one["values"])).collect();
    if zones.is_empty() {
        label(volume, ZONE).split("__").filter(|zone| !zone.is_empty()).map(str::to_owned).collect()
    } else {
        zones
    }
}

async fn volumes(ctx: Ctx) -> Result<(), Stop> {
    let nodes = nodes(&ctx).await?;
    let zones: BTreeSet<_> = nodes.iter().filter_map(zone_of).collect();
    let volumes = ctx.list(&Ref::all("v1", "PersistentVolume")).await?;
    let own = |volume: &&Value| volume["metadata"]["labels"].get(crate::cluster::RUN_LABEL).is_some();
    let zonal: Vec<_> = volumes
        .iter()
        .filter(|one| !own(one))
        .map(|one| (name(one), zones_of_volume(one)))
        .filter(|(_, z)| !z.is_empty())
        .collect();
    if zonal.is_empty() {
        return Err(Stop::NotApplicable("no volume of the cluster is of a zone".to_owned()));
    }
    for (name, named) in zonal {
        if !named.iter().any(|zone| zones.contains(zone.as_str())) {
            let named = named.join(", ");
            ctx.breach(
                format!("PersistentVolume {name}"),
                format!("the volume {name} is of the zone {named}, which has no nodes"),
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn zones_of_volumes_are_read_from_affinity_and_label() {
        let affinity = json!({ "spec": { "nodeAffinity": { "required": { "nodeSelectorTerms": [
            { "matchExpressions": [{ "key": "topology.ebs.csi.aws.com/zone", "operator": "In", "values": ["a"] }] },
            { "matchExpressions": [{ "key": ZONE, "operator": "In", "values": ["b"] }] }] } } } });
        assert_eq!(zones_of_volume(&affinity), ["a", "b"]);
        assert_eq!(zones_of_volume(&json!({ "metadata": { "labels": { ZONE: "a__b" } } })), ["a", "b"]);
        assert!(zones_of_volume(&json!({ "spec": {} })).is_empty());
    }
}
