//! The node object, its lease, and what the kubelet measures.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::upstream::Covers as _;
use super::{Area, quantity};
use crate::cluster::{Condition, Ctx, Pod, Ref, Stop};
use crate::trial::Trial;

const LEASE: Area = Area {
    id: "node",
    caught_by: "kubelet-stands-still",
    why: "A node whose lease is not renewed is taken for dead, and its pods are evicted.",
    how: "Watches the node's lease and status at the API.",
    fix: "Look whether the kubelet runs and reaches the API server, and into its log for 'lease'.",
    basis: ("Leases", "https://kubernetes.io/docs/concepts/architecture/leases/"),
};

const METRICS: Area = Area {
    id: "metrics",
    caught_by: "runtime-leaves-cgroups",
    why: "Autoscalers, eviction and dashboards rest on what the kubelet measures.",
    how: "Reads the kubelet's endpoint through the API server, and compares the numbers with the node and with a pod.",
    fix: "Look at the kubelet's log for 'cadvisor' and 'stats', and at the API server's rights on \
          nodes/proxy, nodes/stats and nodes/metrics.",
    basis: ("Node metrics data", "https://kubernetes.io/docs/reference/instrumentation/node-metrics/"),
};

/// cAdvisor finds containers in whatever cgroup they are: only one that is not run is not measured.
const UNMEASURED: Area = Area { caught_by: "kubelet-stands-still", ..METRICS };

pub(super) fn trials() -> Vec<Trial> {
    let prefix = "NodeLease NodeLease";
    vec![
        LEASE
            .claim("lease", "The kubelet renews its lease within the lease's duration", lease)
            .covers(&format!("{prefix} the kubelet should create and update a lease in the kube-node-lease namespace"))
            .trial(),
        Area { caught_by: "leases-have-no-owner", ..LEASE }
            .claim("lease-owner", "The lease of a node is owned by the node", |ctx| async move {
                let leases = Ref {
                    namespace: Some("kube-node-lease".to_owned()),
                    ..Ref::all("coordination.k8s.io/v1", "Lease")
                };
                for lease in ctx.list(&leases).await? {
                    let name = lease["metadata"]["name"].as_str().unwrap_or_default();
                    let owners = lease["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
                    let kinds: Vec<_> =
                        owners.iter().map(|one| (one["kind"].as_str(), one["apiVersion"].as_str())).collect();
                    ctx.expect(name, "its owners", &kinds, &vec![(Some("Node"), Some("v1"))]);
                }
                Ok(())
            })
            .covers(&format!("{prefix} should have OwnerReferences set"))
            .trial(),
        LEASE
            .claim(
                "status-infrequent",
                "The kubelet reports an unchanged status less often than it renews \
                                         its lease",
                infrequent,
            )
            .limit(Duration::from_mins(7))
            .covers(&format!("{prefix} the kubelet should report node status infrequently"))
            .trial(),
        Area { caught_by: "kubelet-stands-still", ..LEASE }
            .claim("ready", "The node is Ready, without pressure, and stays so", |ctx| async move {
                let place = Ref::new("v1", "Node", "", &ctx.node().await?);
                let node = ctx.get(&place).await?;
                ctx.expect("the node", "it is Ready", &Condition::is("Ready").test(&node), &Ok(()));
                for kind in ["MemoryPressure", "DiskPressure", "PIDPressure"] {
                    let pressure = Condition::is(kind).test(&node).is_ok();
                    ctx.expect(kind, "it is True", &pressure, &false);
                }
                for what in ["cpu", "memory", "pods", "ephemeral-storage"] {
                    let (all, allocatable) = (&node["status"]["capacity"][what], &node["status"]["allocatable"][what]);
                    let sound = quantity(allocatable) > 0.0 && quantity(allocatable) <= quantity(all);
                    ctx.expect(what, &format!("{allocatable} of {all} can be allocated"), &sound, &true);
                }
                // What is said once may be old: the kubelet says it again.
                lease(ctx).await
            })
            .alias("NodeReady")
            .trial(),
        METRICS
            .claim("summary", "The Summary API has what the node and a pod use, within the bounds of the node", summary)
            .alias(
                "[sig-node] Summary API [NodeConformance] when querying /stats/summary should report \
                    resource usage through the stats api",
            )
            .trial(),
        UNMEASURED
            .claim("cadvisor", "The metrics of containers have a pod that uses CPU and memory", |ctx| async move {
                metrics(
                    ctx,
                    "metrics/cadvisor",
                    &["container_cpu_usage_seconds_total", "container_memory_working_set_bytes"],
                )
                .await
            })
            .alias("ContainerMetrics")
            .trial(),
        UNMEASURED
            .claim("resource", "The resource metrics have a pod that uses CPU and memory", |ctx| async move {
                metrics(
                    ctx,
                    "metrics/resource",
                    &[
                        "container_cpu_usage_seconds_total",
                        "container_memory_working_set_bytes",
                        "pod_memory_working_set_bytes",
                    ],
                )
                .await
            })
            .alias("ResourceMetrics")
            .trial(),
    ]
}

fn place(node: &str) -> Ref {
    Ref::new("coordination.k8s.io/v1", "Lease", "kube-node-lease", node)
}

async fn lease(ctx: Ctx) -> Result<(), Stop> {
    let node = ctx.node().await?;
    let there = Condition::new("exists", |_| Ok(()));
    let lease = ctx.until(&place(&node), &there, Duration::from_mins(2)).await?;
    ctx.expect("the lease", "its holder", &lease["spec"]["holderIdentity"].as_str(), &Some(node.as_str()));
    let seconds = lease["spec"]["leaseDurationSeconds"].as_u64();
    let seconds = seconds.ok_or_else(|| Stop::breach("the lease", "it has no duration"))?;
    let renewed = lease["spec"]["renewTime"].clone();
    let later = Condition::new("is renewed", move |lease: &Value| match lease["spec"]["renewTime"] == renewed {
        true => Err(format!("renewed at {renewed}")),
        false => Ok(()),
    });
    ctx.until(&place(&node), &later, Duration::from_secs(seconds)).await.map(drop)
}

/// The time of the last report, and the status without such times.
fn heartbeat(node: &Value) -> (i64, Value) {
    let mut status = node["status"].clone();
    let mut last = 0;
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        if condition["type"] == "Ready" {
            let time = condition["lastHeartbeatTime"].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
            last = time.map_or(0, jiff::Timestamp::as_second);
        }
        if let Some(fields) = condition.as_object_mut() {
            fields.remove("lastHeartbeatTime");
        }
    }
    (last, status)
}

async fn infrequent(ctx: Ctx) -> Result<(), Stop> {
    lease(ctx.clone()).await?;
    let node = ctx.node().await?;
    let seconds = ctx.get(&place(&node)).await?["spec"]["leaseDurationSeconds"].as_i64().unwrap_or(40);
    let place = Ref::new("v1", "Node", "", &node);
    let began = tokio::time::Instant::now();
    let (mut last, mut status) = heartbeat(&ctx.get(&place).await?);
    let mut unchanged = tokio::time::Instant::now();
    // As upstream: five minutes without an unwarranted report are enough.
    while began.elapsed() < Duration::from_mins(5) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (now, new) = heartbeat(&ctx.get(&place).await?);
        if now == last {
            if unchanged.elapsed().as_secs() > 2 * seconds.unsigned_abs() {
                break;
            }
            continue;
        }
        if now - last >= seconds {
            break;
        }
        if new == status {
            ctx.breach(
                "the node",
                format!("its status is reported {} s after the last report, and nothing changed", now - last),
            );
            break;
        }
        (last, status, unchanged) = (now, new, tokio::time::Instant::now());
    }
    let ready = Condition::is("Ready").test(&ctx.get(&place).await?);
    ctx.expect("the node", "it is Ready", &ready, &Ok(()));
    Ok(())
}

/// Reads an endpoint of the kubelet through the API server.
async fn read(ctx: &Ctx, path: &str) -> Result<String, Stop> {
    let node = ctx.node().await?;
    ctx.step(format!("read /{path} of the kubelet on {node}"));
    let refused = |why| Stop::breach("the kubelet", format!("/{path} cannot be read: {why}"));
    ctx.text(Method::GET, &format!("/api/v1/nodes/{node}/proxy/{path}")).await?.map_err(refused)
}

async fn summary(ctx: Ctx) -> Result<(), Stop> {
    let script = "alloc 24; burn 1; write /file text; wait-file /never";
    ctx.running(&Pod::new("measured", script).main(json!({ "resources": { "limits": { "memory": "512Mi" } } })))
        .await?;
    let node = ctx.get(&Ref::new("v1", "Node", "", &ctx.node().await?)).await?;
    let memory = quantity(&node["status"]["capacity"]["memory"]);
    // What is measured comes every ten seconds or so.
    let end = tokio::time::Instant::now() + Duration::from_secs(90);
    loop {
        let text = read(&ctx, "stats/summary").await?;
        let all: Value = serde_json::from_str(&text).unwrap_or_default();
        let pods = all["pods"].as_array().cloned().unwrap_or_default();
        let ours = |pod: &&Value| pod["podRef"]["namespace"] == ctx.namespace() && pod["podRef"]["name"] == "measured";
        let pod = pods.iter().find(ours).cloned().unwrap_or_default();
        let number = |value: &Value| value.as_f64().unwrap_or(-1.0);
        let container = pod["containers"][0].clone();
        let rows = [
            ("node.cpu.usageNanoCores", number(&all["node"]["cpu"]["usageNanoCores"]), 1e5, 1e12),
            ("node.memory.workingSetBytes", number(&all["node"]["memory"]["workingSetBytes"]), 1e6, memory),
            ("node.fs.capacityBytes", number(&all["node"]["fs"]["capacityBytes"]), 1e8, 1e18),
            (
                "node.fs.availableBytes",
                number(&all["node"]["fs"]["availableBytes"]),
                0.0,
                number(&all["node"]["fs"]["capacityBytes"]),
            ),
            ("pod.cpu.usageCoreNanoSeconds", number(&pod["cpu"]["usageCoreNanoSeconds"]), 1e8, 1e13),
            (
                "container.memory.workingSetBytes",
                number(&container["memory"]["workingSetBytes"]),
                2e7,
                512.0 * 1024.0 * 1024.0,
            ),
            ("container.rootfs.usedBytes", number(&container["rootfs"]["usedBytes"]), 0.0, 1e12),
        ];
        let outside: Vec<_> = rows.iter().filter(|(_, found, least, most)| !(least..=most).contains(&found)).collect();
        if outside.is_empty() {
            return Ok(());
        }
        if tokio::time::Instant::now() > end {
            for (name, found, least, most) in outside {
                ctx.breach(*name, format!("{name} is {found}; expected {least} to {most}"));
            }
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// Does an endpoint of the kubelet have numbers above zero of a pod that uses something?
async fn metrics(ctx: Ctx, path: &'static str, names: &'static [&'static str]) -> Result<(), Stop> {
    ctx.running(&Pod::new("measured", "alloc 24; burn 1; wait-file /never")).await?;
    let end = tokio::time::Instant::now() + Duration::from_secs(90);
    loop {
        let text = read(&ctx, path).await?;
        let missing: Vec<_> = names.iter().filter(|name| !text.lines().any(|line| sample(&ctx, line, name))).collect();
        if missing.is_empty() {
            return Ok(());
        }
        if tokio::time::Instant::now() > end {
            for name in missing {
                ctx.breach(*name, format!("/{path} has no {name} above zero of the pod measured"));
            }
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// Is a line a sample of this metric, of our pod, above zero?
fn sample(ctx: &Ctx, line: &str, name: &str) -> bool {
    let ours = line.starts_with(&format!("{name}{{")) && line.contains("pod=\"measured\"");
    let ours = ours && line.contains(&format!("namespace=\"{}\"", ctx.namespace()));
    // Not the pod's sandbox, nor its cgroup as a whole.
    let ours = ours && (name.starts_with("pod_") || line.contains("container=\"main\""));
    // Behind the labels: the value, and a time perhaps.
    let value = line.rsplit_once('}').and_then(|(_, rest)| rest.split_whitespace().next()?.parse::<f64>().ok());
    ours && value > Some(0.0)
}
