//! Work for the controller-manager and the scheduler: a ReplicaSet that grows and shrinks, and a node without a
//! kubelet that its pods are bound to. So a new leader has something to do at once, and its first act shows.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::wire::Gate;
use crate::cluster::{Ctx, RUN_LABEL, Ref, Stop};

/// Between two changes.
const PACE: Duration = Duration::from_millis(500);
/// How often the node says that it is well, in changes.
const BEATS: u32 = 10;
/// How many pods come and go.
const PODS: u32 = 3;
/// How long the API may take to be there after the drill before.
const SETTLED: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(2);
const TAINT: &str = "seaworthy.dev/simulated";

/// The work under way.
pub(super) struct Work {
    /// Ends it, also where a drill ends early.
    stop: DropGuard,
    task: JoinHandle<()>,
}

impl Work {
    /// Makes the node and the ReplicaSet, and begins to change it.
    pub(super) async fn start(ctx: &Ctx, gate: Arc<Gate>) -> Result<Self, Stop> {
        let node = format!("{}-node", ctx.namespace());
        let object = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": node, "labels": { RUN_LABEL: ctx.run(), "kubernetes.io/hostname": node } },
            "spec": { "taints": [{ "key": TAINT, "effect": "NoSchedule" }] },
        });
        ctx.clean_up(Ref::new("v1", "Node", "", &node));
        make(ctx, "/api/v1/nodes", &object).await?;
        let labels = json!({ "seaworthy.dev/work": "true" });
        let set = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": { "name": "work", "labels": { RUN_LABEL: ctx.run() } },
            "spec": {
                "replicas": 1,
                "selector": { "matchLabels": labels },
                "template": {
                    "metadata": { "labels": labels },
                    "spec": {
                        "terminationGracePeriodSeconds": 0,
                        "automountServiceAccountToken": false,
                        "nodeSelector": { "kubernetes.io/hostname": node },
                        "tolerations": [{ "operator": "Exists" }],
                        "containers": [{ "name": "none", "image": "registry.k8s.io/pause" }],
                    },
                },
            },
        });
        let sets = format!("/apis/apps/v1/namespaces/{}/replicasets", ctx.namespace());
        make(ctx, &sets, &set).await?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(gate, node, format!("{sets}/work/scale"), stop.clone()));
        Ok(Self { stop: stop.drop_guard(), task })
    }

    pub(super) async fn stop(self) {
        drop(self.stop);
        self.task.await.ok();
    }
}

/// Creates an object. The drill before this one may have left connections that are dead.
async fn make(ctx: &Ctx, path: &str, object: &Value) -> Result<(), Stop> {
    let deadline = Instant::now() + SETTLED;
    loop {
        match ctx.request(Method::POST, path, Some(object)).await {
            Ok(Err(why)) if why.code != 409 => return Err(Stop::Undetermined(format!("{path}: {}", why.message))),
            Err(stop) if Instant::now() > deadline => return Err(stop),
            Err(_) => tokio::time::sleep(PACE).await,
            Ok(_) => return Ok(()),
        }
    }
}

async fn run(gate: Arc<Gate>, node: String, scale: String, stop: CancellationToken) {
    let mut line = None;
    let mut count = 0_u32;
    let mut ticks = tokio::time::interval(PACE);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        if line.is_none() {
            line = gate.open().await.ok();
        }
        let Some(open) = &mut line else { continue };
        let beat = count.is_multiple_of(BEATS);
        count = count.wrapping_add(1);
        let change = async {
            if beat {
                let path = format!("/api/v1/nodes/{node}/status");
                open.call(Method::PATCH, &path, Some((PATCH, &status()))).await?;
            }
            let change = json!({ "spec": { "replicas": 1 + count % 2 * PODS } });
            open.call(Method::PATCH, &scale, Some((PATCH, &change))).await
        };
        if !matches!(tokio::time::timeout(PATIENCE, change).await, Ok(Ok(_))) {
            line = None;
        }
    }
}

const PATCH: &str = "application/merge-patch+json";

fn status() -> Value {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let room = json!({ "cpu": "64", "memory": "64Gi", "pods": "500" });
    json!({
        "status": {
            "capacity": room, "allocatable": room,
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "Simulated", "message": "there is no kubelet",
                "lastHeartbeatTime": now, "lastTransitionTime": now,
            }],
        },
    })
}
