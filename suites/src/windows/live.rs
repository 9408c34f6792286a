//! What is on the cluster already: its Windows nodes, and the objects that are for Windows.

use serde_json::{Value, json};

use super::audit::{self, Hit};
use super::{BUILDS, GUIDE, NEWEST, common};
use crate::cluster::{Claim, Ctx, Ref, SIMULATED, Stop};
use crate::trial::Trial;

const GIB: u64 = 1 << 30;

pub(super) fn trials() -> Vec<Trial> {
    let all = |claim: Claim| common(claim).label("live").basis(GUIDE.0, GUIDE.1);
    let defect = "windows-node-misconfigured";
    let list = |what: &str| format!("Lists {what} of the cluster. Nothing is created.");
    vec![
        all(Claim::new(
            "windows.live.taint",
            "Every Windows node has the taint os=windows:NoSchedule",
            [NEWEST],
            defect,
            taint,
        ))
        .alias("--register-with-taints=os=windows:NoSchedule")
        .why("Without it Linux pods without a node selector go to Windows nodes, and never start there.")
        .how(list("the nodes"))
        .fix(
            "Set registerWithTaints in the kubelet's configuration, and kubectl taint node NODE os=windows:NoSchedule \
             now.",
        )
        .trial(),
        all(Claim::new(
            "windows.live.build",
            "Every Windows node has the label of a Windows build that Kubernetes supports",
            [NEWEST],
            defect,
            build,
        ))
        .alias("node.kubernetes.io/windows-build")
        .why("Containers of another build than the node's do not start; the label is how pods select it.")
        .how(list("the nodes"))
        .fix("Upgrade the node to Windows Server 2022 or 2025; its kubelet sets the label.")
        .trial(),
        all(Claim::new(
            "windows.live.reserved",
            "Every Windows node reserves at least 2 GiB for the system",
            [NEWEST],
            defect,
            reserved,
        ))
        .alias("--system-reserved")
        .why("Windows has no out-of-memory killer: a node without a reservation pages until nothing responds.")
        .how(list("the nodes"))
        .fix("Set systemReserved.memory to 2Gi or more in the kubelet's configuration, and restart the kubelet.")
        .trial(),
        all(Claim::new("windows.live.os", "Every pod on a Windows node says so in spec.os.name", [NEWEST], defect, os))
            .severity(seaworthy_reports::Severity::Low)
            .why("The API server checks a pod's fields, and the kubelet its own OS, only where the field is set.")
            .how(list("pods and nodes"))
            .fix("Set spec.os.name to windows in the template.")
            .trial(),
        all(Claim::new(
            "windows.live.fields",
            "Windows pods use no field or volume that Windows does not support",
            [NEWEST],
            defect,
            fields,
        ))
        .alias("Field compatibility for container specifications")
        .why("A field that is ignored, such as runAsUser, gives less protection than the manifest says.")
        .how(list("pods, workloads and nodes"))
        .fix("Remove the field; runAsUserName replaces runAsUser, and SMB volumes replace NFS.")
        .trial(),
        all(Claim::new(
            "windows.live.services",
            "Services of Windows pods use no feature that Windows does not support",
            [NEWEST],
            defect,
            services,
        ))
        .alias("More than 64 backend pods for a single Service")
        .why("A Service of more than 64 pods, or a timeout of affinity, works for Linux clients and not on Windows.")
        .how(list("Services, EndpointSlices and nodes"))
        .fix("Split the Service; remove sessionAffinityConfig.")
        .trial(),
        all(Claim::new(
            "windows.live.tolerations",
            "Workloads that tolerate the Windows taint select an OS",
            [NEWEST],
            defect,
            tolerations,
        ))
        .alias("tolerations: os=windows")
        .why("A toleration alone lets a pod on nodes of either OS, and it starts on one of them only.")
        .how(list("workloads"))
        .fix("Add the node selector kubernetes.io/os to the template.")
        .trial(),
    ]
}

/// The Windows nodes that are not simulated.
async fn windows_nodes(ctx: &Ctx) -> Result<Vec<Value>, Stop> {
    let nodes = ctx.list(&Ref::all("v1", "Node")).await?.into_iter().filter(|node| {
        let labels = &node["metadata"]["labels"];
        labels.get("kubernetes.io/os").is_some_and(|os| os == "windows") && labels.get(SIMULATED).is_none()
    });
    let nodes: Vec<_> = nodes.collect();
    if nodes.is_empty() { Err(Stop::NotApplicable("the cluster has no Windows node".to_owned())) } else { Ok(nodes) }
}

fn name(object: &Value) -> String {
    let part = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    let (kind, name) = (object["kind"].as_str().unwrap_or("Node"), part("name"));
    match part("namespace") {
        "" => format!("{kind} {name}"),
        namespace => format!("{kind} {namespace}/{name}"),
    }
}

async fn taint(ctx: Ctx) -> Result<(), Stop> {
    for node in windows_nodes(&ctx).await? {
        let taints = node["spec"]["taints"].as_array();
        let found = taints
            .into_iter()
            .flatten()
            .any(|taint| taint["key"] == "os" && taint["value"] == "windows" && taint["effect"] != "PreferNoSchedule");
        if !found {
            let name = name(&node);
            ctx.breach(&name, format!("{name} has no taint os=windows:NoSchedule"));
        }
    }
    Ok(())
}

/// Is a build supported by this minor of Kubernetes? Windows Server 2019 is until 1.35, 2025 from 1.32 on.
fn is_supported(build: &str, minor: u32) -> bool {
    match BUILDS.iter().find(|(_, known)| *known == build).map(|(release, _)| *release) {
        Some("2019") => minor < 36,
        Some("2022") => minor >= 23,
        Some("2025") => minor >= 32,
        _ => build == "10.0.19042" && minor < 25,
    }
}

async fn build(ctx: Ctx) -> Result<(), Stop> {
    let facts = &ctx.target().facts;
    for node in windows_nodes(&ctx).await? {
        let name = name(&node);
        match node["metadata"]["labels"].get("node.kubernetes.io/windows-build").and_then(Value::as_str) {
            Some(build) if is_supported(build, facts.minor) => {}
            Some(build) => {
                ctx.breach(
                    &name,
                    format!("{name} has the build {build}, which Kubernetes {} does not support", facts.version),
                );
            }
            None => ctx.breach(&name, format!("{name} has no label node.kubernetes.io/windows-build")),
        }
    }
    Ok(())
}

/// A quantity of memory as nodes have it, in bytes.
fn bytes(value: &Value) -> u64 {
    let text = value.as_str().unwrap_or("0");
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => 1,
    };
    digits.parse::<u64>().unwrap_or_default().saturating_mul(factor)
}

async fn reserved(ctx: Ctx) -> Result<(), Stop> {
    for node in windows_nodes(&ctx).await? {
        let of = |field: &str| bytes(&node["status"][field]["memory"]);
        let reserved = of("capacity").saturating_sub(of("allocatable"));
        if reserved < 2 * GIB {
            let name = name(&node);
            ctx.breach(&name, format!("{name} reserves {} MiB of memory; expected 2048 or more", reserved >> 20));
        }
    }
    Ok(())
}

/// The names of Windows nodes, without a verdict where there are none.
async fn node_names(ctx: &Ctx) -> Result<Vec<String>, Stop> {
    let nodes = windows_nodes(ctx).await?;
    Ok(nodes.iter().filter_map(|node| node["metadata"]["name"].as_str().map(str::to_owned)).collect())
}

async fn pods_on(ctx: &Ctx, nodes: &[String]) -> Result<Vec<Value>, Stop> {
    let mut pods = ctx.list(&Ref::all("v1", "Pod")).await?;
    pods.retain(|pod| pod["spec"]["nodeName"].as_str().is_some_and(|node| nodes.iter().any(|one| one == node)));
    for pod in &mut pods {
        pod["kind"] = json!("Pod");
    }
    Ok(pods)
}

async fn os(ctx: Ctx) -> Result<(), Stop> {
    let nodes = node_names(&ctx).await?;
    for pod in pods_on(&ctx, &nodes).await? {
        if pod["spec"]["os"]["name"] != "windows" {
            let name = name(&pod);
            ctx.breach(
                &name,
                format!("{name} runs on a Windows node, and has spec.os.name {}", pod["spec"]["os"]["name"]),
            );
        }
    }
    Ok(())
}

const WORKLOADS: [(&str, &str); 6] = [
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("batch/v1", "Job"),
    ("batch/v1", "CronJob"),
    ("v1", "ReplicationController"),
];

/// The workloads of the cluster, without those that others own.
async fn workloads(ctx: &Ctx) -> Result<Vec<Value>, Stop> {
    let mut all = Vec::new();
    for (api, kind) in WORKLOADS {
        for mut one in ctx.list(&Ref::all(api, kind)).await? {
            let own = one["metadata"]["labels"].get(crate::cluster::RUN_LABEL).is_some();
            if one["metadata"]["ownerReferences"].is_null() && !own {
                one["kind"] = kind.into();
                all.push(one);
            }
        }
    }
    Ok(all)
}

fn report(ctx: &Ctx, name: &str, hits: Vec<Hit>) {
    for hit in hits {
        ctx.breach(name, format!("{name}: spec.{}: {} on Windows; {}", hit.path, hit.why, hit.becomes));
    }
}

async fn fields(ctx: Ctx) -> Result<(), Stop> {
    let nodes = node_names(&ctx).await?;
    let mut judged = 0;
    for object in pods_on(&ctx, &nodes).await?.into_iter().chain(workloads(&ctx).await?) {
        let Some(spec) = audit::pod_spec(&object) else { continue };
        if audit::is_windows(spec, object["kind"] == "Pod") {
            judged += 1;
            report(&ctx, &name(&object), audit::of_pod(spec));
        }
    }
    ctx.evidence("objects for Windows", judged.to_string());
    Ok(())
}

async fn services(ctx: Ctx) -> Result<(), Stop> {
    let nodes = node_names(&ctx).await?;
    let slices = ctx.list(&Ref::all("discovery.k8s.io/v1", "EndpointSlice")).await?;
    for mut service in ctx.list(&Ref::all("v1", "Service")).await? {
        let of = |slice: &&Value| {
            slice["metadata"]["namespace"] == service["metadata"]["namespace"]
                && slice["metadata"]["labels"]["kubernetes.io/service-name"] == service["metadata"]["name"]
        };
        let own: Vec<_> = slices.iter().filter(of).collect();
        let endpoints = own.iter().flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
        let on_windows =
            endpoints.clone().any(|one| one["nodeName"].as_str().is_some_and(|n| nodes.iter().any(|o| o == n)));
        if on_windows {
            let backends = endpoints.filter(|one| one["conditions"]["ready"] != false).count();
            let hits = audit::of_service(&service["spec"], backends);
            service["kind"] = json!("Service");
            report(&ctx, &name(&service), hits);
        }
    }
    Ok(())
}

async fn tolerations(ctx: Ctx) -> Result<(), Stop> {
    node_names(&ctx).await?;
    for object in workloads(&ctx).await? {
        let Some(spec) = audit::pod_spec(&object) else { continue };
        let tolerates = spec["tolerations"].as_array().into_iter().flatten().any(|one| one["key"] == "os");
        let selector = &spec["nodeSelector"];
        let selects =
            selector.get("kubernetes.io/os").is_some() || selector.get("node.kubernetes.io/windows-build").is_some();
        if tolerates && !selects && spec["affinity"]["nodeAffinity"].is_null() && spec["runtimeClassName"].is_null() {
            let name = name(&object);
            ctx.breach(&name, format!("{name} tolerates the taint of Windows nodes, and selects no OS"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_are_supported_by_versions() {
        assert!(is_supported("10.0.17763", 23) && !is_supported("10.0.17763", 36));
        assert!(is_supported("10.0.20348", 37) && is_supported("10.0.26100", 37) && !is_supported("10.0.26100", 30));
        assert!(!is_supported("10.0.14393", 37));
    }

    #[test]
    fn memory_is_read_as_nodes_have_it() {
        assert_eq!((bytes(&json!("2Gi")), bytes(&json!("2097152Ki")), bytes(&json!("7"))), (2 * GIB, 2 * GIB, 7));
    }
}
