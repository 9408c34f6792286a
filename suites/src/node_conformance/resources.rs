//! Resources: quality of service, cgroups, limits, out of memory, process counts.

use serde_json::{Value, json};

use super::{Area, kubelet_configuration};
use crate::cluster::{Ctx, Pod, Requirement, Stop, status_of};
use crate::trial::Trial;

const AREA: Area = Area {
    id: "resources",
    caught_by: "runtime-leaves-cgroups",
    why: "Without working limits one pod takes the memory, the processors or the processes of all others on its node.",
    how: "Runs a pod with requests and limits, and reads its cgroup, or uses more than the limit.",
    fix: "Compare cgroupDriver of the kubelet with SystemdCgroup of the runtime, and look at cgroupsPerQOS \
          and podPidsLimit.",
    basis: (
        "Resource Management for Pods and Containers",
        "https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/",
    ),
};

pub(super) fn trials() -> Vec<Trial> {
    let limits = json!({ "cpu": "100m", "memory": "64Mi" });
    let rows = [
        ("guaranteed", "Guaranteed", json!({ "limits": limits, "requests": limits })),
        ("burstable", "Burstable", json!({ "requests": { "cpu": "100m", "memory": "64Mi" } })),
        ("best-effort", "BestEffort", json!({})),
    ];
    let mut trials: Vec<_> = rows
        .into_iter()
        .map(|(id, class, resources)| {
            AREA.claim(
                &format!("cgroup-{id}"),
                format!("A {class} pod is in the cgroup of its class, by the kubelet's driver"),
                move |ctx| placed(ctx, class, resources.clone()),
            )
            .label("qos")
            .alias(format!("Pods of the class {class} under the cgroup hierarchy"))
            .requires(Requirement::KubernetesFrom(23))
            .trial()
        })
        .collect();
    trials.extend([
        AREA.claim("memory-limit", "A limit of memory is the limit of the container's cgroup", |ctx| async move {
            let script = "try cat /sys/fs/cgroup/memory/memory.limit_in_bytes; try cat /sys/fs/cgroup/memory.max";
            let resources = json!({ "resources": { "limits": { "memory": "64Mi" } } });
            let printed = ctx.output(&Pod::new("limited", script).main(resources)).await?;
            ctx.line("the limit", &printed, "67108864");
            Ok(())
        })
        .alias("memory.max")
        .trial(),
        AREA.claim("cpu-limit", "A limit of CPU is the quota of the container's cgroup", |ctx| async move {
            let script = "try cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us; try cat /sys/fs/cgroup/cpu.max";
            let resources = json!({ "resources": { "limits": { "cpu": "250m" } } });
            let printed = ctx.output(&Pod::new("limited", script).main(resources)).await?;
            let quota = printed.lines().any(|line| line == "25000" || line == "25000 100000");
            if !quota {
                ctx.breach(
                    "the quota",
                    format!("expected 25000 of 100000 microseconds; it printed: {}", printed.trim_end()),
                );
            }
            Ok(())
        })
        .alias("cpu.max")
        .trial(),
        AREA.claim("cpu-request", "A request of CPU is the weight of the container's cgroup", |ctx| async move {
            let script = "try cat /sys/fs/cgroup/cpu/cpu.shares; try cat /sys/fs/cgroup/cpu.weight";
            let printed = |name: &'static str, cpu: &'static str| {
                let pod = Pod::new(name, script).main(json!({ "resources": { "requests": { "cpu": cpu } } }));
                let ctx = ctx.clone();
                async move {
                    let printed = ctx.output(&pod).await?;
                    let weight = printed.lines().find_map(|line| line.parse::<u64>().ok());
                    weight.ok_or_else(|| {
                        Stop::breach(name, format!("no weight in what it printed: {}", printed.trim_end()))
                    })
                }
            };
            let (small, large) = (printed("small", "50m").await?, printed("large", "400m").await?);
            // Shares are in proportion to the request; weights of cgroup v2 grow with it.
            if large <= small {
                ctx.breach("the weights", format!("50m has {small}, 400m has {large}"));
            }
            ctx.evidence("weights of 50m and 400m", format!("{small} and {large}"));
            Ok(())
        })
        .alias("cpu.shares")
        .trial(),
        AREA.claim(
            "out-of-memory",
            "A container that uses more memory than its limit is killed, and says OOMKilled",
            |ctx| async move {
                let resources = json!({ "resources": { "limits": { "memory": "32Mi" } } });
                ctx.put(&Pod::new("hungry", "alloc 256; exit 0").main(resources)).await?;
                let pod = ctx.ended("hungry").await?;
                let state = &status_of(&pod, "main")["state"]["terminated"];
                ctx.expect("hungry", "its reason", &state["reason"].as_str(), &Some("OOMKilled"));
                ctx.expect("hungry", "its exit code", &state["exitCode"].as_i64(), &Some(137));
                Ok(())
            },
        )
        .alias("OOMKiller [LinuxOnly] [NodeConformance]")
        .trial(),
        Area { caught_by: "processes-are-unlimited", ..AREA }
            .claim("pids", "A pod cannot start more processes than podPidsLimit", |ctx| async move {
                let configuration = kubelet_configuration(&ctx).await?;
                let limit = configuration["podPidsLimit"].as_i64().unwrap_or(-1);
                if !(1..=1024).contains(&limit) {
                    // On a node of ours the limit is set: there it is a breach, elsewhere nothing is promised.
                    let why = format!("podPidsLimit is {limit}: the kubelet limits no processes");
                    return Err(if ctx.target().ours.is_some() {
                        Stop::breach("podPidsLimit", why)
                    } else {
                        Stop::NotApplicable(why)
                    });
                }
                let printed = ctx.output(&Pod::new("many", &format!("spawn {}", limit + 8))).await?;
                ctx.prints("starting processes", &printed, ", then EAGAIN");
                Ok(())
            })
            .alias("PodPidsLimit")
            .trial(),
    ]);
    trials
}

/// Where the cgroup of a container is, seen by a process that sees all of the node.
async fn placed(ctx: Ctx, class: &'static str, resources: Value) -> Result<(), Stop> {
    let mark = format!("mark-{}", ctx.namespace());
    let pod = Pod::new("placed", &format!("sleep 600; echo {mark}")).main(json!({ "resources": resources }));
    let pod = ctx.running(&pod).await?;
    ctx.expect("placed", "its class", &pod["status"]["qosClass"].as_str(), &Some(class));
    let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
    let configuration = kubelet_configuration(&ctx).await?;
    let driver = configuration["cgroupDriver"].as_str().unwrap_or("cgroupfs").to_owned();
    let parent = match (driver.as_str(), class) {
        ("systemd", "Guaranteed") => format!("kubepods.slice/kubepods-pod{}.slice/", uid.replace('-', "_")),
        ("systemd", _) => {
            let class = class.to_lowercase();
            format!("kubepods-{class}.slice/kubepods-{class}-pod{}.slice/", uid.replace('-', "_"))
        }
        (_, "Guaranteed") => format!("/kubepods/pod{uid}/"),
        _ => format!("/kubepods/{}/pod{uid}/", class.to_lowercase()),
    };
    let watcher = Pod::new("watcher", &format!("cgroups-of {mark}"))
        .spec(json!({ "hostPID": true }))
        .main(json!({ "securityContext": { "privileged": true } }));
    let printed = ctx.output(&watcher).await?;
    // With cgroup v1 a process is in one of each controller.
    let lines: Vec<_> = printed
        .lines()
        .filter(|line| line.contains(":memory:") || line.starts_with("0::/") && line.len() > 5)
        .collect();
    if lines.is_empty() {
        return Err(Stop::Undetermined(format!("the cgroup of the container is not seen: {}", printed.trim_end())));
    }
    if !lines.iter().any(|line| line.contains(&parent)) {
        ctx.breach("placed", format!("its cgroup is not under {parent} ({driver}): {}", lines.join(", ")));
    }
    Ok(())
}
