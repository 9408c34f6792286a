//! The large-scale suite: how much of every documented limit does a cluster use, and does its control plane hold when
//! it is driven there?
//!
//! The claims of [`limits`] read an existing cluster and change nothing. Those of [`load`] share one run on a cluster:
//! simulated nodes, pods, measured requests, deletion; each claim judges what was measured.

mod defects;
mod limits;
mod load;

use std::path::PathBuf;
use std::sync::OnceLock;

use seaworthy_scale::load::Plan;
use seaworthy_simulated::Client;

use crate::cluster::{ClusterNeed, Stop, Target};
use crate::trial::Suite;

/// What the control plane of a large cluster has that others do not: networks of pods for 8,192 nodes, and controllers
/// that may send as much as it takes.
const LARGE: &str = "\
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
networking: {podSubnet: 10.128.0.0/11}
controllerManager: {extraArgs: [{name: kube-api-qps, value: '1000'}, {name: kube-api-burst, value: '2000'}]}
scheduler: {extraArgs: [{name: kube-api-qps, value: '1000'}, {name: kube-api-burst, value: '2000'}]}
";

/// One control plane, whose workers are simulated by the load itself.
const fn cluster() -> ClusterNeed {
    ClusterNeed { kubeadm: Some(LARGE), any_families: true, ..ClusterNeed::new("large") }
}

static PLAN: OnceLock<Plan> = OnceLock::new();

/// Sets what the suite's load is; without, it is what CI runs. Only the first call counts.
pub fn set_load(plan: Plan) {
    // A second plan would be another run.
    let _ = PLAN.set(plan);
}

fn plan() -> Plan {
    PLAN.get().cloned().unwrap_or_else(Plan::ci)
}

/// A client of a target's API for many requests at once.
fn client(target: &Target) -> Result<Client, Stop> {
    let client = Client::open(&target.kubeconfig, target.context.as_deref());
    client.map_err(|error| Stop::Undetermined(error.to_string()))
}

/// A client for simulated nodes: on clusters of ours as a member of system:masters, so that the requests of thousands
/// of kubelets, which have a priority of their own, do not compete with those that are measured.
fn kubelets(target: &Target) -> Result<Client, Stop> {
    let privileged: Option<PathBuf> = target.kubeconfig.parent().map(|folder| folder.join("super-admin.conf"));
    match privileged.filter(|path| target.ours.is_some() && path.exists()) {
        Some(path) => Client::open(&path, None).map_err(|error| Stop::Undetermined(error.to_string())),
        None => client(target),
    }
}

/// The large-scale suite.
#[must_use]
pub fn large_scale_suite() -> Suite {
    let mut trials = limits::trials();
    trials.extend(load::trials());
    Suite {
        name: "large-scale",
        title: "How large is the cluster, and does its control plane hold at that size?",
        trials,
        defects: &defects::DEFECTS,
    }
}
