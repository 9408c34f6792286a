//! The HA suite: what does a control plane show, and what does it lose, when a part of it dies?
//!
//! Each trial is a drill: load and watchers on every API server and the load balancer, one fault, its end, and the
//! judgment of the recorded history ([`seaworthy_history`]) and of the gaps against bounds that are computed from
//! the cluster's own constants.

mod api;
mod audit;
mod claims;
mod clock;
mod defects;
mod drill;
mod faults;
mod foreign;
mod hands;
mod liar;
mod load;
mod long;
mod past;
mod pulse;
mod row;
mod scene;
mod topology;
mod verdict;
mod watcher;
mod wire;
mod work;

use std::time::Duration;

use crate::cluster::{Claim, ClusterNeed, Ctx, Requirement, Stop};
use crate::trial::{Suite, Trial};
use faults::{DRILLS, Drill};
pub use long::{Long, set_long};
use past::Past;
use row::Table;

const TOPOLOGY: (&str, &str) = (
    "Options for Highly Available Topology",
    "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/ha-topology/",
);
const CLUSTERS: (&str, &str) = (
    "Creating Highly Available Clusters with kubeadm",
    "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/high-availability/",
);
/// How long one drill may take.
const LIMIT: Duration = Duration::from_mins(6);
/// What a whole run must have judged to say anything of the suite.
const KINDS: usize = 12;
const OPERATIONS: usize = 20_000;

/// What users of highly available clusters add to CoreDNS' two replicas.
const BUDGET: &str = r#"
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: coredns, namespace: kube-system}
spec:
  minAvailable: 1
  selector: {matchLabels: {k8s-app: kube-dns}}
"#;

/// Three stacked control planes and two workers for CoreDNS, durable, on disks that can fail.
const STACKED: ClusterNeed = ClusterNeed {
    control_planes: 3,
    workers: 2,
    durable: true,
    faulty_disks: true,
    kubeadm: Some(audit::KUBEADM),
    files: &[(audit::POLICY_FILE, audit::POLICY)],
    manifests: Some(BUDGET),
    any_families: true,
    ..ClusterNeed::new("stacked-3")
};

/// Drills that take long, for a Lease has to run out or a node to be given up: the others have the label `quick`.
const LONG: [&str; 5] =
    ["controller-manager-crash", "scheduler-crash", "control-plane-down", "rolling-restart", "worker-down"];

/// The HA suite.
#[must_use]
pub fn ha_suite() -> Suite {
    let mut trials = topology::trials();
    trials.extend(DRILLS.iter().map(trial));
    trials.extend(claims::trials());
    trials.extend(long::trials());
    trials.push(summary());
    Suite {
        name: "ha",
        title: "Is the control plane highly available, and what does it lose when something dies?",
        trials,
        defects: &defects::DEFECTS,
    }
}

fn trial(drill: &'static Drill) -> Trial {
    let id = format!("ha.fault.{}", drill.name);
    let claim = Claim::new(id, drill.title, [STACKED], drill.caught_by, move |ctx| drill::run(ctx, drill))
        .why(drill.why)
        .how(
            "Clients create, update, delete, read and list objects through the load balancer and each API server, \
             20 requests of each kind a second by the clock; a watcher of each API server resumes where it was cut \
             off. Afterwards every API server and every member of etcd is read, and the history is judged: \
             linearizability of each object, lost and repeated writes, reads that go back, resourceVersions, \
             watches, and who wrote under which Lease.",
        )
        .fix(
            "See docs/ha.md for what each bound is made of: health checks of the load balancer, etcd's election \
             timeout, the Leases' duration",
        )
        .basis(TOPOLOGY.0, TOPOLOGY.1)
        .basis(CLUSTERS.0, CLUSTERS.1)
        .alias(format!("failover: {}", drill.name.replace('-', " ")))
        .label("disruptive")
        .requires(Requirement::Faults)
        .limit(LIMIT)
        .disturbs();
    if LONG.contains(&drill.name) { claim.trial() } else { claim.label("quick").trial() }
}

fn summary() -> Trial {
    Claim::new(
        "ha.summary",
        "The drills judged enough to say that nothing is lost",
        [STACKED],
        "two-schedulers",
        |ctx| async move { summarize(&ctx) },
    )
    .why("A few requests around a few faults show little; what was not judged is not known to be well.")
    .how(
        "Counts the kinds of faults and the operations of this run, and attaches the table of all drills as ha.md and \
         ha.json, with its schema",
    )
    .alias("failover: all")
    .label("quick")
    .fix("Run the whole suite: --suite ha")
    .basis(TOPOLOGY.0, TOPOLOGY.1)
    .requires(Requirement::Faults)
    .disturbs()
    .trial()
}

fn summarize(ctx: &Ctx) -> Result<(), Stop> {
    let constants =
        "Bounds are computed from the cluster's own constants; what the machine shows undisturbed is added twice."
            .to_owned();
    let facts = &ctx.target().facts;
    let (past, kubernetes) = (Past::of(&facts.uid), facts.version.clone());
    let table = Table { version: row::VERSION, kubernetes, constants, rows: past.rows };
    ctx.keep_file("ha.md", table.markdown());
    ctx.keep_file("ha.json", table.json());
    ctx.keep_file("ha.schema.json", Table::schema());
    let operations = past.operations;
    let kinds = table.rows.iter().filter(|row| !row.done.is_empty()).count();
    ctx.evidence("kinds of faults", kinds.to_string());
    ctx.evidence("operations", operations.to_string());
    for row in table.rows.iter().filter(|row| !row.holds) {
        ctx.breach(row.fault.clone(), "it does not hold".to_owned());
    }
    if kinds < KINDS || operations < OPERATIONS {
        let wanted = format!("{KINDS} kinds of faults and {OPERATIONS} operations");
        return Err(Stop::Undetermined(format!("{kinds} kinds of faults and {operations} operations of {wanted}")));
    }
    Ok(())
}
