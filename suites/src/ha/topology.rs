//! Claims about a cluster's topology, by its objects and without disturbance.

use seaworthy_history::topology::{self, Judged, Objects, Unknown};
use seaworthy_reports::Severity;
use serde_json::Value;

use super::{CLUSTERS, STACKED, TOPOLOGY};
use crate::cluster::{Claim, Ctx, Ref, Stop};
use crate::trial::Trial;

/// What needs control planes that are nodes, which the suite's own are not: unit tests of the judges catch it.
pub(super) const BY_UNIT_TESTS: &str = "the-smallest-step-beyond";

struct Judge {
    name: &'static str,
    title: &'static str,
    why: &'static str,
    fix: &'static str,
    judge: fn(&Objects) -> Judged,
    caught_by: &'static str,
}

const JUDGES: [Judge; 7] = [
    Judge {
        name: "etcd-size",
        title: "etcd has an odd number of members, three or more",
        why: "Writes need a majority: two members outlive none, four no more than three.",
        fix: "Add or remove a member: kubeadm join --control-plane, or kubeadm reset on the host that leaves",
        judge: topology::etcd_size,
        caught_by: BY_UNIT_TESTS,
    },
    Judge {
        name: "etcd-endpoints",
        title: "Each API server has every external member of etcd",
        why: "An API server with one endpoint is gone with that member.",
        fix: "List all members in --etcd-servers (etcd.external.endpoints in kubeadm's ClusterConfiguration)",
        judge: topology::etcd_endpoints,
        caught_by: BY_UNIT_TESTS,
    },
    Judge {
        name: "control-planes",
        title: "The control planes outlive the loss of a host and of a zone",
        why: "A zone with most control planes takes the majority of etcd with it.",
        fix: "Spread control planes over three zones",
        judge: topology::control_planes,
        caught_by: BY_UNIT_TESTS,
    },
    Judge {
        name: "dns",
        title: "CoreDNS outlives the loss of a node and a drain",
        why: "Without DNS most workloads fail, whatever the control plane does.",
        fix: "kubectl -n kube-system scale deployment coredns --replicas=2, over nodes, with a PodDisruptionBudget",
        judge: topology::dns,
        caught_by: "one-dns",
    },
    Judge {
        name: "leases",
        title: "The Leases of controller-manager and scheduler are held and hold for a sane time",
        why: "A successor waits for as long as the Lease holds; one that is too short is lost by a slow request.",
        fix: "Set --leader-elect-lease-duration, or leave the default of 15 s",
        judge: topology::leases,
        caught_by: "endless-lease",
    },
    Judge {
        name: "replicas",
        title: "Controller-manager and scheduler run more than once and elect a leader",
        why: "One that runs alone has no successor; one that does not elect acts beside the others.",
        fix: "Run both on each control plane with --leader-elect=true",
        judge: topology::replicas,
        caught_by: BY_UNIT_TESTS,
    },
    Judge {
        name: "endpoint",
        title: "The API's common address is not that of one control plane",
        why: "Nodes and users go to it: with that host the API is gone for all of them.",
        fix: "Put a load balancer or a virtual IP in front, and name it in controlPlaneEndpoint",
        judge: topology::endpoint,
        caught_by: BY_UNIT_TESTS,
    },
];

pub(super) fn trials() -> Vec<Trial> {
    JUDGES.iter().map(trial).collect()
}

fn trial(judge: &'static Judge) -> Trial {
    let id = format!("ha.topology.{}", judge.name);
    Claim::new(id, judge.title, [STACKED], judge.caught_by, move |ctx| run(ctx, judge.judge))
        .why(judge.why)
        .how("Reads Nodes, and Pods, Leases and PodDisruptionBudgets of kube-system; changes nothing")
        .fix(judge.fix)
        .alias(format!("high availability: {}", judge.name.replace('-', " ")))
        .severity(Severity::Medium)
        .label("quick")
        .basis(TOPOLOGY.0, TOPOLOGY.1)
        .basis(CLUSTERS.0, CLUSTERS.1)
        .trial()
}

async fn run(ctx: Ctx, judge: fn(&Objects) -> Judged) -> Result<(), Stop> {
    let list = async |version: &str, kind: &str| {
        ctx.list(&Ref { namespace: Some("kube-system".to_owned()), ..Ref::all(version, kind) }).await
    };
    let config = Ref::new("v1", "ConfigMap", "kube-system", "kubeadm-config");
    let config = ctx.get(&config).await.unwrap_or_default();
    let objects = Objects {
        nodes: ctx.list(&Ref::all("v1", "Node")).await?,
        pods: list("v1", "Pod").await?,
        leases: list("coordination.k8s.io/v1", "Lease").await?,
        budgets: list("policy/v1", "PodDisruptionBudget").await?,
        endpoint: endpoint(&config),
    };
    match judge(&objects) {
        Ok(faults) => {
            faults.into_iter().for_each(|(thing, why)| ctx.breach(thing.clone(), format!("{thing}: {why}")));
            Ok(())
        }
        Err(Unknown(why)) => Err(Stop::NotApplicable(why)),
    }
}

/// Of kubeadm's ClusterConfiguration in its ConfigMap.
fn endpoint(config: &Value) -> Option<String> {
    let text = config["data"]["ClusterConfiguration"].as_str()?;
    let document: Value = serde_saphyr::from_str(text).ok()?;
    document["controlPlaneEndpoint"].as_str().filter(|endpoint| !endpoint.is_empty()).map(str::to_owned)
}
