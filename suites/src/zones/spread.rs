//! Topology spread constraints: what each field does, held against the model pod by pod.

use serde_json::{Value, json};

use super::{BOTH, NEWEST, PATIENCE, SPREAD, ZONE, common, per_zone, sequence};
use crate::cluster::{Claim, ClusterNeed, Condition, Ctx, NodeSpec, Placed, Ref, Requirement, Stop};
use crate::trial::Trial;

/// A topology key that no other act's nodes have: for constraints that look at every node of the cluster.
const OWN_KEY: &str = "seaworthy.dev/zone";

/// Nodes, pods with one constraint, and how many of them have to be in each zone. The node in zone a is much larger
/// than all others: without the constraint every pod goes there.
#[derive(Debug, Clone, Copy)]
struct Row {
    id: &'static str,
    title: &'static str,
    why: &'static str,
    /// The node's name begins with its zone.
    nodes: &'static [Node],
    /// What the constraints have besides the usual, one object a constraint.
    constraints: &'static str,
    /// The pods that come before, bound to nodes by name, with this label `rev`.
    before: &'static [(&'static str, &'static str, &'static str)],
    /// How many pods are spread.
    pods: usize,
    /// What their spec has besides.
    more: &'static str,
    /// How many of them are in which zone, at least; the rest is Pending.
    wanted: &'static [(&'static str, usize)],
    pending: usize,
    from: u32,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    name: &'static str,
    zoned: bool,
    taint: bool,
    pool: &'static str,
}

const fn node(name: &'static str) -> Node {
    Node { name, zoned: true, taint: false, pool: "main" }
}

const TWO: &[Node] = &[node("a1"), node("b1")];
const THREE: &[Node] = &[node("a1"), node("b1"), node("c1")];
const C_TAINTED: &[Node] = &[node("a1"), node("b1"), Node { taint: true, ..node("c1") }];
const C_OTHER_POOL: &[Node] = &[node("a1"), node("b1"), Node { pool: "other", ..node("c1") }];
const MAIN: &str = r#"{"nodeSelector":{"pool":"main"}}"#;

const ROWS: [Row; 13] = [
    Row {
        id: "max-skew",
        title: "DoNotSchedule with maxSkew 1 spreads pods evenly over three zones",
        why: "It is what keeps most replicas alive when a zone fails.",
        nodes: &[node("a1"), node("a2"), node("b1"), node("c1")],
        constraints: "[{}]",
        before: &[],
        pods: 6,
        more: "{}",
        wanted: &[("a", 2), ("b", 2), ("c", 2)],
        pending: 0,
        from: 19,
    },
    Row {
        id: "skew-of-two",
        title: "maxSkew 2 lets one zone be two pods ahead, and no further",
        why: "A skew that is looser than asked for loses more pods with a zone.",
        nodes: TWO,
        constraints: r#"[{"maxSkew":2}]"#,
        before: &[("a1", "1", "x"), ("a1", "1", "x")],
        pods: 1,
        more: "{}",
        wanted: &[("b", 1)],
        pending: 0,
        from: 19,
    },
    Row {
        id: "taints-ignored",
        title: "A zone whose nodes are tainted counts by default, and keeps further pods Pending",
        why: "nodeTaintsPolicy is Ignore by default: a cordoned zone stops a rollout, which surprises many.",
        nodes: C_TAINTED,
        constraints: "[{}]",
        before: &[],
        pods: 3,
        more: "{}",
        wanted: &[("a", 1), ("b", 1)],
        pending: 1,
        from: 19,
    },
    Row {
        id: "taints-honored",
        title: "nodeTaintsPolicy Honor leaves a zone out whose nodes are tainted",
        why: "It is how rollouts go on while a zone is cordoned.",
        nodes: C_TAINTED,
        constraints: r#"[{"nodeTaintsPolicy":"Honor"}]"#,
        before: &[],
        pods: 4,
        more: "{}",
        wanted: &[("a", 2), ("b", 2)],
        pending: 0,
        from: 26,
    },
    Row {
        id: "affinity-honored",
        title: "A zone that the pod's node selector excludes does not count",
        why: "Pods of a node pool that is not in every zone would stay Pending otherwise.",
        nodes: C_OTHER_POOL,
        constraints: "[{}]",
        before: &[],
        pods: 4,
        more: MAIN,
        wanted: &[("a", 2), ("b", 2)],
        pending: 0,
        from: 19,
    },
    Row {
        id: "affinity-ignored",
        title: "nodeAffinityPolicy Ignore counts a zone that the pod's node selector excludes",
        why: "The field changes the global minimum, and so which pods stay Pending.",
        nodes: C_OTHER_POOL,
        constraints: r#"[{"nodeAffinityPolicy":"Ignore","topologyKey":"seaworthy.dev/zone"}]"#,
        before: &[],
        pods: 3,
        more: MAIN,
        wanted: &[("a", 1), ("b", 1)],
        pending: 1,
        from: 26,
    },
    Row {
        id: "min-domains",
        title: "With fewer zones than minDomains, the global minimum is 0",
        why: "It makes autoscalers add nodes in further zones before pods pile up in the first ones.",
        nodes: TWO,
        constraints: r#"[{"minDomains":3}]"#,
        before: &[],
        pods: 3,
        more: "{}",
        wanted: &[("a", 1), ("b", 1)],
        pending: 1,
        from: 27,
    },
    Row {
        id: "match-label-keys",
        title: "matchLabelKeys counts only the pods of the same revision",
        why: "Without it the old pods of a rolling update unbalance the new ones.",
        nodes: TWO,
        constraints: r#"[{"matchLabelKeys":["rev"]}]"#,
        before: &[("b1", "1", "x"), ("b1", "1", "x")],
        pods: 2,
        more: "{}",
        wanted: &[("a", 1), ("b", 1)],
        pending: 0,
        from: 27,
    },
    Row {
        id: "selector",
        title: "Pods that the constraint's label selector does not match do not count",
        why: "Constraints are about one workload; others must not unbalance it.",
        nodes: TWO,
        constraints: "[{}]",
        before: &[("b1", "1", "y"), ("b1", "1", "y"), ("b1", "1", "y")],
        pods: 2,
        more: "{}",
        wanted: &[("a", 1), ("b", 1)],
        pending: 0,
        from: 19,
    },
    Row {
        id: "several",
        title: "Several constraints hold together: zones and nodes",
        why: "Spreading over zones alone still lets pods pile up on one node.",
        nodes: &[node("a1"), node("a2"), node("b1"), node("b2")],
        constraints: r#"[{},{"topologyKey":"kubernetes.io/hostname"}]"#,
        before: &[],
        pods: 4,
        more: "{}",
        wanted: &[("a", 2), ("b", 2)],
        pending: 0,
        from: 19,
    },
    Row {
        id: "no-label",
        title: "A node without the topology key gets no pods",
        why: "A node that lost its zone label must not hide pods from the count.",
        nodes: &[Node { zoned: false, ..node("a0") }, node("b1"), node("c1")],
        constraints: "[{}]",
        before: &[],
        pods: 4,
        more: "{}",
        wanted: &[("b", 2), ("c", 2)],
        pending: 0,
        from: 19,
    },
    Row {
        id: "later-zone",
        title: "An empty zone gets the next pods until it has caught up",
        why: "It is how a zone that has recovered is used again.",
        nodes: THREE,
        constraints: "[{}]",
        before: &[("a1", "1", "x"), ("a1", "1", "x"), ("b1", "1", "x"), ("b1", "1", "x")],
        pods: 2,
        more: "{}",
        wanted: &[("c", 2)],
        pending: 0,
        from: 19,
    },
    Row {
        id: "anyway",
        title: "ScheduleAnyway keeps no pod Pending, and still prefers the emptier zone",
        why: "It is the choice of workloads that rather run in one zone than not at all.",
        nodes: C_TAINTED,
        constraints: r#"[{"whenUnsatisfiable":"ScheduleAnyway"}]"#,
        before: &[],
        pods: 6,
        more: "{}",
        wanted: &[("a", 1), ("b", 1)],
        pending: 0,
        from: 19,
    },
];

pub(super) fn trials() -> Vec<Trial> {
    let mut trials: Vec<_> = ROWS
        .into_iter()
        .map(|row| {
            let on: Vec<ClusterNeed> = if row.from > 23 { vec![NEWEST] } else { BOTH.to_vec() };
            let claim =
                Claim::new(format!("zones.spread.{}", row.id), row.title, on, "no-spread", move |ctx| run(ctx, row));
            spreading(claim).requires(Requirement::KubernetesFrom(row.from)).why(row.why).trial()
        })
        .collect();
    trials.push(
        spreading(Claim::new(
            "zones.spread.message",
            "The scheduler says of a pod that constraints keep Pending which rule no node meets",
            BOTH,
            "no-spread",
            message,
        ))
        .alias("node(s) didn't match pod topology spread constraints")
        .why("The message is what people search for.")
        .trial(),
    );
    trials.push(
        spreading(Claim::new(
            "zones.spread.default",
            "A workload without constraints is spread over zones by the scheduler's defaults",
            [NEWEST],
            "no-spread",
            defaults,
        ))
        .alias(
            "[sig-scheduling] Multi-AZ Clusters should spread the pods of a replication controller across zones \
             [Serial]",
        )
        .alias("[sig-scheduling] Multi-AZ Clusters should spread the pods of a service across zones [Serial]")
        .requires(Requirement::KubernetesFrom(24))
        .why("Most workloads have no constraints, and lose everything with a zone that has all of their pods.")
        .trial(),
    );
    trials
}

fn spreading(claim: Claim) -> Claim {
    common(claim)
        .label("spread")
        .wants_consent()
        .basis(SPREAD.0, SPREAD.1)
        .how(
            "Makes nodes of several zones without a kubelet, of which the first is much larger, creates pods one after \
             the other, and holds each binding against a model of the documented rules.",
        )
        .fix("Compare the scheduler's profile with the default: PodTopologySpread filters and scores.")
}

fn specs(nodes: &[Node]) -> Vec<NodeSpec> {
    let spec = |(number, node): (usize, &Node)| {
        let zone = &node.name[..1];
        let mut spec = NodeSpec::linux(node.name).label("pool", node.pool).sized(if number == 0 { 64 } else { 8 });
        if node.zoned {
            spec = spec.zone(zone).label(OWN_KEY, zone);
        }
        if node.taint {
            spec = spec.taints(vec![json!({ "key": "cordoned", "effect": "NoSchedule" })]);
        }
        spec
    };
    nodes.iter().enumerate().map(spec).collect()
}

/// A constraint over zones of pods with the label `app: x`, but for the fields of `more`.
pub(super) fn constraint(more: &Value) -> Value {
    let mut constraint = json!({
        "maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": { "matchLabels": { "app": "x" } },
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        constraint[key] = value.clone();
    }
    constraint
}

async fn run(ctx: Ctx, row: Row) -> Result<(), Stop> {
    let nodes = specs(row.nodes);
    let fleet = ctx.simulate(&nodes).await?;
    ctx.service_account().await?;
    for (number, (node, rev, app)) in row.before.iter().enumerate() {
        let more = json!({ "nodeSelector": { "kubernetes.io/hostname": fleet.full(node) } });
        let name = format!("before{number}");
        ctx.create(ctx.bare_pod(&name, &[("app", app), ("rev", rev)], &more)).await?;
        ctx.bound(&name, PATIENCE).await?;
    }
    let constraints: Vec<Value> = serde_json::from_str(row.constraints).unwrap_or_default();
    let mut more: Value = serde_json::from_str(row.more).unwrap_or_default();
    more["topologySpreadConstraints"] = constraints.iter().map(constraint).collect();
    let pods = (0..row.pods).map(|number| ctx.bare_pod(&format!("pod{number}"), &[("app", "x"), ("rev", "2")], &more));
    let fates = sequence(&ctx, &fleet, pods.collect()).await?;
    let counts = per_zone(&nodes, &fates);
    ctx.evidence("pods by zone", format!("{counts:?}"));
    for (zone, wanted) in row.wanted {
        let found = counts.get(*zone).copied().unwrap_or_default();
        if found < *wanted {
            ctx.breach(
                format!("zone {zone}"),
                format!("zone {zone} has {found} of the pods; expected {wanted} or more: {counts:?}"),
            );
        }
    }
    let pending = fates.iter().filter(|fate| matches!(fate, Placed::Nowhere(_))).count();
    ctx.expect("the pods", "how many stay Pending", &pending, &row.pending);
    Ok(())
}

async fn message(ctx: Ctx) -> Result<(), Stop> {
    let nodes = specs(C_TAINTED);
    ctx.simulate(&nodes).await?;
    ctx.service_account().await?;
    let more = json!({ "topologySpreadConstraints": [constraint(&json!({}))] });
    for number in 0..3 {
        ctx.create(ctx.bare_pod(&format!("pod{number}"), &[("app", "x")], &more)).await?;
    }
    let place = Ref { namespace: Some(ctx.namespace().to_owned()), ..Ref::all("v1", "Pod") };
    let wanted = "didn't match pod topology spread constraints";
    let condition =
        Condition::new("has two pods that are bound, and one that is not, for the constraints", move |list| {
            let items = || list["items"].as_array().into_iter().flatten();
            let bound = items().filter(|pod| pod["spec"]["nodeName"].is_string()).count();
            let conditions = items().flat_map(|pod| pod["status"]["conditions"].as_array().into_iter().flatten());
            let said: Vec<_> = conditions.filter_map(|one| one["message"].as_str()).collect();
            if bound == 2 && said.iter().any(|text| text.contains(wanted)) {
                Ok(())
            } else {
                Err(format!("{bound} are bound; {}", said.join("; ")))
            }
        });
    ctx.until_list(&place, "app=x", &condition, PATIENCE).await?;
    Ok(())
}

/// Twelve pods of a ReplicaSet on a large node and two small ones: resources alone would put all on the large one.
async fn defaults(ctx: Ctx) -> Result<(), Stop> {
    let nodes = specs(THREE);
    let fleet = ctx.simulate(&nodes).await?;
    let mut spec = ctx.bare_spec(&json!({}));
    spec["containers"][0]["resources"]["requests"] = json!({ "cpu": "250m", "memory": "512Mi" });
    let labels = json!({ "app": "x" });
    let replicas = 9;
    ctx.create(json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": { "name": "default" },
        "spec": {
            "replicas": replicas, "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": spec },
        },
    }))
    .await?;
    let pods = ctx.settled(replicas, PATIENCE).await?;
    let fates: Vec<_> = pods
        .iter()
        .filter_map(|pod| pod["spec"]["nodeName"].as_str().map(|node| Placed::On(fleet.short(node))))
        .collect();
    let counts = per_zone(&nodes, &fates);
    ctx.evidence("pods by zone", format!("{counts:?}"));
    for zone in ["a", "b", "c"] {
        let found = counts.get(zone).copied().unwrap_or_default();
        if found < 2 {
            ctx.breach(
                format!("zone {zone}"),
                format!("zone {zone} has {found} of {replicas} pods; expected about a third: {counts:?}"),
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_json_and_add_up() {
        for row in ROWS {
            assert!(serde_json::from_str::<Vec<Value>>(row.constraints).is_ok(), "{}", row.id);
            assert!(serde_json::from_str::<Value>(row.more).is_ok(), "{}", row.id);
            let least: usize = row.wanted.iter().map(|(_, count)| count).sum();
            assert!(least + row.pending <= row.pods, "{}", row.id);
        }
    }
}
