//! The zones suite: are pods, volumes and endpoints spread over zones as they ask for, and which zone may die?
//!
//! Spreading is judged by the real scheduler on simulated nodes, against an independent [`model`]; what a zone's loss
//! costs is judged over the objects of a cluster.

mod defects;
mod endpoints;
mod labels;
mod loss;
mod model;
mod outage;
mod random;
mod spread;
mod validation;
mod volumes;

use std::time::Duration;

use serde_json::Value;

use crate::cluster::{Claim, ClusterNeed, Ctx, Fleet, NodeSpec, Placed, Ref, Stop};
use crate::trial::Suite;

/// The documents that most claims rest on.
const MULTIPLE_ZONES: (&str, &str) =
    ("Running in multiple zones", "https://kubernetes.io/docs/setup/best-practices/multiple-zones/");
const SPREAD: (&str, &str) = (
    "Pod Topology Spread Constraints",
    "https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/",
);

/// The label of zones.
const ZONE: &str = "topology.kubernetes.io/zone";
/// The label of regions.
const REGION: &str = "topology.kubernetes.io/region";

/// A cluster of the newest version without workers: its nodes are simulated.
const NEWEST: ClusterNeed = ClusterNeed { any_families: true, ..ClusterNeed::new("zones") };
/// One of the oldest version that the setup guide is about.
const OLDEST: ClusterNeed =
    ClusterNeed { kubernetes: Some("v1.23.17"), any_families: true, ..ClusterNeed::new("zones-1-23") };
/// Both.
const BOTH: [ClusterNeed; 2] = [NEWEST, OLDEST];
/// CoreDNS with a replica in each of two zones. kubeadm's Deployment only prefers different nodes, so both replicas may
/// be on the first node that joins. `minDomains` keeps the second one Pending until a second zone has a node.
const DNS_OVER_ZONES: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: coredns, namespace: kube-system}
spec:
  replicas: 2
  template:
    spec:
      topologySpreadConstraints:
      - topologyKey: topology.kubernetes.io/zone
        maxSkew: 1
        minDomains: 2
        whenUnsatisfiable: DoNotSchedule
        labelSelector: {matchLabels: {k8s-app: kube-dns}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: coredns, namespace: kube-system}
spec:
  minAvailable: 1
  selector: {matchLabels: {k8s-app: kube-dns}}
"#;
/// A cluster that really spans three zones.
const SPANNING: ClusterNeed = ClusterNeed {
    control_planes: 3,
    workers: 3,
    any_families: true,
    zones: &["a", "b", "c"],
    manifests: Some(DNS_OVER_ZONES),
    ..ClusterNeed::new("three-zones")
};

/// How long a pod may take until it is bound.
const PATIENCE: Duration = Duration::from_secs(60);

/// The zones suite.
#[must_use]
pub fn zones_suite() -> Suite {
    let mut trials = labels::trials();
    trials.extend(loss::trials());
    trials.extend(spread::trials());
    trials.extend(random::trials());
    trials.extend(validation::trials());
    trials.extend(volumes::trials());
    trials.extend(endpoints::trials());
    trials.extend(outage::trials());
    Suite {
        name: "zones",
        title: "Are pods, volumes and endpoints spread over zones, and which zone may fail?",
        trials,
        defects: &defects::DEFECTS,
    }
}

/// What claims of this suite have in common.
fn common(claim: Claim) -> Claim {
    claim.label("zones").basis(MULTIPLE_ZONES.0, MULTIPLE_ZONES.1)
}

/// The zone of a node or of another object with labels.
fn zone_of(object: &Value) -> Option<&str> {
    object["metadata"]["labels"].get(ZONE).and_then(Value::as_str)
}

/// Creates pods one after the other, and holds each against the model when the scheduler has decided: it is bound to
/// one of the nodes that the model allows, or there is none. Returns what became of each, by the nodes' names within
/// the act.
async fn sequence(ctx: &Ctx, fleet: &Fleet, pods: Vec<Value>) -> Result<Vec<Placed>, Stop> {
    let mut fates = Vec::new();
    let place = Ref { namespace: Some(ctx.namespace().to_owned()), ..Ref::all("v1", "Pod") };
    for pod in pods {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let there = ctx.list(&place).await?;
        if let Err(why) = ctx.try_create(pod.clone()).await? {
            return Err(Stop::breach(&name, format!("{name} is refused: {why}")));
        }
        let mut fate = ctx.decided(&name).await?;
        let nodes = ctx.list(&Ref::all("v1", "Node")).await?;
        let allowed: Vec<_> = model::feasible(&pod, &nodes, &there)
            .into_iter()
            .map(|node| fleet.short(node["metadata"]["name"].as_str().unwrap_or_default()))
            .collect();
        if matches!(fate, Placed::Nowhere(_)) && !allowed.is_empty() {
            // It is tried again when the scheduler has seen every node and pod.
            fate = match ctx.bound(&name, PATIENCE).await {
                Ok(node) => Placed::On(node),
                Err(Stop::Breached(_)) => fate,
                Err(stop) => return Err(stop),
            };
        }
        let fate = match fate {
            Placed::On(node) => Placed::On(fleet.short(&node)),
            nowhere @ Placed::Nowhere(_) => nowhere,
        };
        match &fate {
            Placed::On(node) if allowed.contains(node) => {}
            Placed::On(node) => {
                ctx.breach(&name, format!("{name} is bound to {node}; the constraints allow [{}]", allowed.join(", ")))
            }
            Placed::Nowhere(_) if allowed.is_empty() => {}
            Placed::Nowhere(message) => ctx.breach(
                &name,
                format!("{name} stays Pending ({message}); the constraints allow [{}]", allowed.join(", ")),
            ),
        }
        fates.push(fate);
    }
    Ok(fates)
}

/// How many pods were bound in each zone, by the nodes' specifications.
fn per_zone(nodes: &[NodeSpec], fates: &[Placed]) -> std::collections::BTreeMap<String, usize> {
    let mut counts = std::collections::BTreeMap::new();
    for fate in fates {
        if let Placed::On(name) = fate {
            let node = nodes.iter().find(|node| node.name == *name);
            let zone = node.and_then(|node| node.labels.get(ZONE)).cloned().unwrap_or_else(|| name.clone());
            *counts.entry(zone).or_default() += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_every_defect_catches_a_claim() {
        let suite = zones_suite();
        let mut ids: Vec<_> = suite.trials.iter().map(|trial| trial.info.id.as_str()).collect();
        let all = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all);
        assert!(all >= 25, "{all} claims");
        let caught: Vec<_> = suite.trials.iter().filter_map(|trial| trial.act().map(|act| act.caught_by)).collect();
        assert_eq!(caught.len(), all);
        for name in &caught {
            assert!(suite.defects.iter().any(|defect| defect.name == *name), "{name} is no defect");
        }
        for defect in suite.defects {
            assert!(caught.contains(&defect.name), "{} catches nothing", defect.name);
        }
    }

    #[test]
    fn pods_are_counted_by_zone() {
        let nodes = [NodeSpec::linux("a1").zone("a"), NodeSpec::linux("b1").zone("b")];
        let on = |name: &str| Placed::On(name.to_owned());
        let counts = per_zone(&nodes, &[on("a1"), on("b1"), on("a1"), Placed::Nowhere(String::new())]);
        assert_eq!(counts.into_iter().collect::<Vec<_>>(), [("a".to_owned(), 2), ("b".to_owned(), 1)]);
    }
}
