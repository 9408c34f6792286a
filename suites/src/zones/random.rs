//! Random pods with random constraints on random nodes: each binding against the model.

use std::time::Duration;

use serde_json::{Value, json};

use super::{NEWEST, SPREAD, common, sequence, spread::constraint};
use crate::cluster::{Claim, Ctx, NodeSpec, Placed, Requirement, Stop};
use crate::random::Random;
use crate::trial::Trial;

/// How many pods.
const PODS: usize = 60;

pub(super) fn trials() -> Vec<Trial> {
    let claim = Claim::new(
        "zones.spread.random",
        "The scheduler binds 60 random pods with random constraints as an independent model allows",
        [NEWEST],
        "no-spread",
        run,
    );
    vec![
        common(claim)
            .label("spread")
            .wants_consent()
            .requires(Requirement::KubernetesFrom(27))
            .limit(Duration::from_mins(8))
            .basis(SPREAD.0, SPREAD.1)
            .alias("topologySpreadConstraints")
            .why("The fields of constraints act on each other in ways that no list of examples covers.")
            .how(
                "Makes nodes of random zones, taints and pools without a kubelet, and pods one after the other with up \
                 to two random constraints; each has to be bound where the model allows it, or stay Pending where it \
                 allows no node. The seed is in the evidence.",
            )
            .fix("Compare the scheduler's profile with the default: PodTopologySpread filters and scores.")
            .trial(),
    ]
}

fn nodes(random: &mut Random) -> Vec<NodeSpec> {
    let mut nodes = Vec::new();
    for number in 0..10 {
        let mut node = NodeSpec::linux(&format!("n{number}"))
            .label("pool", random.pick::<&str>(&["main", "main", "other"]))
            .sized(64);
        // The first three make sure that there are three zones.
        let zone = if number < 3 { ["a", "b", "c"][number] } else { random.pick(&["a", "b", "c", "d"]) };
        if number < 3 || random.below(6) != 0 {
            node = node.zone(zone);
        }
        if number >= 3 && random.below(4) == 0 {
            node = node.taints(vec![json!({ "key": "cordoned", "effect": "NoSchedule" })]);
        }
        nodes.push(node);
    }
    nodes
}

fn random_pod(ctx: &Ctx, random: &mut Random, number: usize) -> Value {
    let app = *random.pick(&["x", "x", "x", "y"]);
    let mut constraints = Vec::new();
    for key in ["topology.kubernetes.io/zone", "kubernetes.io/hostname"] {
        if random.below(5) < 2 {
            continue;
        }
        let mut more = json!({
            "maxSkew": 1 + random.below(2), "topologyKey": key,
            "whenUnsatisfiable": random.pick(&["DoNotSchedule", "DoNotSchedule", "DoNotSchedule", "ScheduleAnyway"]),
            "labelSelector": { "matchLabels": { "app": random.pick(&["x", "x", "y"]) } },
        });
        // Nodes of other acts come and go: no constraint looks at all of them, which nodeAffinityPolicy Ignore would.
        if random.below(3) == 0 {
            more["nodeTaintsPolicy"] = json!(random.pick(&["Honor", "Ignore"]));
        }
        if random.below(4) == 0 {
            more["matchLabelKeys"] = json!(["rev"]);
        }
        if more["whenUnsatisfiable"] == "DoNotSchedule" && random.below(4) == 0 {
            more["minDomains"] = json!(1 + random.below(5));
        }
        constraints.push(constraint(&more));
    }
    let mut more = json!({ "topologySpreadConstraints": constraints });
    if random.below(3) == 0 {
        more["nodeSelector"] = json!({ "pool": random.pick(&["main", "other"]) });
    }
    if random.below(5) == 0 {
        more["tolerations"] = json!([{ "key": "cordoned", "operator": "Exists" }]);
    }
    let rev = *random.pick(&["1", "2"]);
    let mut pod = ctx.bare_pod(&format!("pod{number}"), &[("app", app), ("rev", rev)], &more);
    pod["spec"]["containers"][0]["resources"] = json!({ "requests": { "cpu": "10m", "memory": "1Mi" } });
    pod
}

async fn run(ctx: Ctx) -> Result<(), Stop> {
    let mut random = Random::of(ctx.run());
    ctx.evidence("seed", random.seed().to_string());
    let nodes = nodes(&mut random);
    let fleet = ctx.simulate(&nodes).await?;
    ctx.service_account().await?;
    let pods: Vec<_> = (0..PODS).map(|number| random_pod(&ctx, &mut random, number)).collect();
    let fates = sequence(&ctx, &fleet, pods).await?;
    let bound = fates.iter().filter(|fate| matches!(fate, Placed::On(_))).count();
    ctx.evidence("pods bound", bound.to_string());
    ctx.evidence("pods that no node may have", (fates.len() - bound).to_string());
    if bound == 0 {
        return Err(Stop::Undetermined("the random pods are no sample: none was bound".to_owned()));
    }
    Ok(())
}
