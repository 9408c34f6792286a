//! Where the real scheduler places Windows and Linux pods.

use std::time::Duration;

use serde_json::{Value, json};

use super::{BOTH, BUILDS, GUIDE, NEWEST, common};
use crate::cluster::{Claim, Ctx, NodeSpec, Placed, Requirement, Stop};
use crate::trial::Trial;

/// How long a pod may take until it is bound.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a pod has to go.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    /// To one of these nodes.
    On(&'static [&'static str]),
    /// Nowhere, and the scheduler says why.
    Nowhere(&'static str),
}

/// A pod and the nodes that it finds: two Linux nodes, and one Windows node of each build; those that it must not take
/// are much larger, and so what a scheduler takes that does not look at labels and taints.
#[derive(Debug, Clone, Copy)]
struct Row {
    id: &'static str,
    title: &'static str,
    why: &'static str,
    more: &'static str,
    wanted: Wanted,
    /// Is it about taints, which a defect takes from nodes?
    taint: bool,
}

const TOLERATION: &str = r#"[{"key":"os","operator":"Equal","value":"windows","effect":"NoSchedule"}]"#;
const LINUX: &[&str] = &["linux1", "linux2"];
const WRONG_IMAGE: &str = "A container of one OS or build does not start on a node of another.";

const ROWS: [Row; 11] = [
    Row {
        id: "selector",
        title: "A Windows pod with the guide's node selector and toleration goes to a Windows node",
        why: WRONG_IMAGE,
        more: r#"{"nodeSelector":{"kubernetes.io/os":"windows"},"tolerations":TOLERATION}"#,
        wanted: Wanted::On(&["w2019", "w2022", "w2025"]),
        taint: false,
    },
    Row {
        id: "linux-selector",
        title: "A Linux pod with the guide's node selector goes to a Linux node",
        why: WRONG_IMAGE,
        more: r#"{"nodeSelector":{"kubernetes.io/os":"linux"}}"#,
        wanted: Wanted::On(LINUX),
        taint: false,
    },
    Row {
        id: "taint",
        title: "The taint keeps a Linux pod without a node selector from Windows nodes",
        why: "Existing manifests have no node selector; the guide recommends the taint for them.",
        more: "{}",
        wanted: Wanted::On(LINUX),
        taint: true,
    },
    Row {
        id: "no-toleration",
        title: "A Windows pod without the toleration stays Pending, and the scheduler names the taint",
        why: "The message is what people find when they forget the toleration.",
        more: r#"{"nodeSelector":{"kubernetes.io/os":"windows"}}"#,
        wanted: Wanted::Nowhere("taint"),
        taint: true,
    },
    Row {
        id: "other-value",
        title: "A toleration of another value than windows does not let a pod on Windows nodes",
        why: "A toleration that is misspelled has no effect, and no error names it.",
        more: r#"{"nodeSelector":{"kubernetes.io/os":"windows"},
            "tolerations":[{"key":"os","operator":"Equal","value":"Windows"}]}"#,
        wanted: Wanted::Nowhere("taint"),
        taint: true,
    },
    Row {
        id: "exists",
        title: "A toleration of the key os with the operator Exists lets a pod on Windows nodes",
        why: "Charts of both OSs use the operator Exists.",
        more: r#"{"nodeSelector":{"kubernetes.io/os":"windows"},
            "tolerations":[{"key":"os","operator":"Exists"}]}"#,
        wanted: Wanted::On(&["w2019", "w2022", "w2025"]),
        taint: false,
    },
    Row {
        id: "build-unknown",
        title: "A pod for a Windows build that no node has stays Pending",
        why: "The build of a container has to match that of its node.",
        more: r#"{"nodeSelector":{"kubernetes.io/os":"windows","node.kubernetes.io/windows-build":"10.0.14393"},
            "tolerations":TOLERATION}"#,
        wanted: Wanted::Nowhere("didn't match Pod's node affinity/selector"),
        taint: false,
    },
    Row {
        id: "affinity",
        title: "Required node affinity with several builds is honored",
        why: "Multi-platform images fit on several builds.",
        more: r#"{"affinity":{"nodeAffinity":{
            "requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":
            [{"key":"node.kubernetes.io/windows-build","operator":"In","values":["10.0.17763","10.0.20348"]}]}]}}},
            "tolerations":TOLERATION}"#,
        wanted: Wanted::On(&["w2019", "w2022"]),
        taint: false,
    },
    Row {
        id: "no-build",
        title: "A pod that requires a node without a Windows build goes to Linux",
        why: "DoesNotExist on the build label is how charts exclude Windows.",
        more: r#"{"affinity":{"nodeAffinity":{
            "requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":
            [{"key":"node.kubernetes.io/windows-build","operator":"DoesNotExist"}]}]}}},"tolerations":TOLERATION}"#,
        wanted: Wanted::On(LINUX),
        taint: false,
    },
    Row {
        id: "arm64",
        title: "A pod for Windows on arm64 stays Pending where all nodes are amd64",
        why: "Windows containers of another architecture do not start.",
        more: r#"{"nodeSelector":{"kubernetes.io/os":"windows","kubernetes.io/arch":"arm64"},
            "tolerations":TOLERATION}"#,
        wanted: Wanted::Nowhere("didn't match Pod's node affinity/selector"),
        taint: false,
    },
    Row {
        id: "contradiction",
        title: "A pod that selects Linux and a Windows build stays Pending",
        why: "The labels of a node never contradict each other; a pod's selector can.",
        more: r#"{"nodeSelector":{"kubernetes.io/os":"linux","node.kubernetes.io/windows-build":"10.0.17763"},
            "tolerations":TOLERATION}"#,
        wanted: Wanted::Nowhere("didn't match Pod's node affinity/selector"),
        taint: false,
    },
];

pub(super) fn trials() -> Vec<Trial> {
    let mut trials: Vec<_> = ROWS
        .into_iter()
        .map(|row| {
            let defect = if row.taint { "taint-removed" } else { "blind-scheduler" };
            let claim = Claim::new(format!("windows.placement.{}", row.id), row.title, BOTH, defect, move |ctx| {
                place(ctx, row)
            });
            placed(claim).why(row.why).trial()
        })
        .collect();
    trials.extend(BUILDS.map(|(release, build)| {
        let claim = Claim::new(
            format!("windows.placement.build-{release}"),
            format!("A pod for Windows Server {release} goes to a node of the build {build}"),
            BOTH,
            "blind-scheduler",
            move |ctx| of_build(ctx, release, build),
        );
        placed(claim).alias(format!("node.kubernetes.io/windows-build: {build}")).why(WRONG_IMAGE).trial()
    }));
    trials.push(
        placed(Claim::new(
            "windows.placement.os-name",
            "The scheduler does not look at spec.os.name",
            [NEWEST],
            "os-removed",
            os_name,
        ))
        .requires(Requirement::KubernetesFrom(24))
        .why(
            "A Windows pod with the field and without a node selector goes to Linux nodes, where the kubelet rejects \
             it.",
        )
        .trial(),
    );
    trials.push(
        placed(Claim::new(
            "windows.placement.allocatable",
            "A Windows pod that needs the memory reserved for the system stays Pending",
            BOTH,
            "blind-resources",
            allocatable,
        ))
        .alias(
            "[sig-windows] [Feature:Windows] Memory Limits [Serial] [Slow] attempt to deploy past allocatable memory \
             limits should fail deployments of pods once there isn't enough memory",
        )
        .why(
            "Windows has no out-of-memory killer: a node whose reservation is given to pods pages until nothing \
             responds.",
        )
        .trial(),
    );
    trials.push(
        placed(Claim::new(
            "windows.placement.cpu",
            "A Windows pod that requests more CPUs than a node has stays Pending",
            BOTH,
            "blind-resources",
            cpu,
        ))
        .alias("[sig-windows] [Feature:Windows] Cpu Resources [Serial] Container limits")
        .why("Overcommitted Windows nodes starve their kubelet.")
        .trial(),
    );
    trials
}

fn placed(claim: Claim) -> Claim {
    common(claim)
        .label("placement")
        .wants_consent()
        .basis(GUIDE.0, GUIDE.1)
        .how(
            "Makes Linux and Windows nodes without a kubelet, creates the pod, and reads where the scheduler binds it, \
             or its message.",
        )
        .fix(
            "Compare labels and taints of the nodes with the guide, and the scheduler's profile with the default \
             plug-ins.",
        )
}

/// Two Linux nodes and a Windows node of each build; those in `small` are small.
fn nodes(small: &[&str]) -> Vec<NodeSpec> {
    let mut nodes = vec![NodeSpec::linux("linux1"), NodeSpec::linux("linux2")];
    nodes.extend(BUILDS.iter().map(|(release, build)| NodeSpec::windows(&format!("w{release}"), build)));
    nodes.into_iter().map(|node| if small.contains(&node.name.as_str()) { node } else { node.sized(64) }).collect()
}

async fn place(ctx: Ctx, row: Row) -> Result<(), Stop> {
    let small = match row.wanted {
        Wanted::On(names) => names,
        Wanted::Nowhere(_) => &[],
    };
    let fleet = ctx.simulate(&nodes(small)).await?;
    ctx.service_account().await?;
    let more: Value = serde_json::from_str(&row.more.replace("TOLERATION", TOLERATION)).unwrap_or_default();
    ctx.create(ctx.bare_pod("pod", &[], &more)).await?;
    match row.wanted {
        Wanted::On(names) => {
            let node = fleet.short(&ctx.bound("pod", PATIENCE).await?);
            if !names.contains(&node.as_str()) {
                ctx.breach("the pod", format!("the pod is bound to {node}; expected one of {}", names.join(", ")));
            }
        }
        Wanted::Nowhere(message) => pending(&ctx, message).await?,
    }
    Ok(())
}

/// The pod has to stay Pending, for this reason.
async fn pending(ctx: &Ctx, message: &str) -> Result<(), Stop> {
    match ctx.decided("pod").await? {
        Placed::Nowhere(said) if said.contains(message) => {}
        Placed::Nowhere(said) => {
            ctx.breach("the pod", format!("the scheduler says '{said}'; expected a message with '{message}'"));
        }
        Placed::On(node) => ctx.breach("the pod", format!("the pod is bound to {node}; expected that no node fits")),
    }
    Ok(())
}

async fn of_build(ctx: Ctx, release: &'static str, build: &'static str) -> Result<(), Stop> {
    let name = format!("w{release}");
    let fleet = ctx.simulate(&nodes(&[name.as_str()])).await?;
    ctx.service_account().await?;
    let tolerations: Value = serde_json::from_str(TOLERATION).unwrap_or_default();
    let selector = json!({ "kubernetes.io/os": "windows", "node.kubernetes.io/windows-build": build });
    ctx.create(ctx.bare_pod("pod", &[], &json!({ "nodeSelector": selector, "tolerations": tolerations }))).await?;
    let node = fleet.short(&ctx.bound("pod", PATIENCE).await?);
    ctx.expect("the pod", "its node", &node, &name);
    Ok(())
}

async fn os_name(ctx: Ctx) -> Result<(), Stop> {
    let fleet = ctx.simulate(&[NodeSpec::linux("linux1")]).await?;
    ctx.service_account().await?;
    let made = ctx.create(ctx.bare_pod("pod", &[], &json!({ "os": { "name": "windows" } }))).await?;
    ctx.expect("the pod", "spec.os.name", &made["spec"]["os"]["name"].as_str(), &Some("windows"));
    let node = fleet.short(&ctx.bound("pod", PATIENCE).await?);
    ctx.expect("the pod", "its node", &node.as_str(), &"linux1");
    Ok(())
}

/// A Windows node with 16 GiB for pods and 4 GiB for the system.
async fn windows_node(ctx: &Ctx, request: &Value) -> Result<(), Stop> {
    let mut node = NodeSpec::windows("w2022", "10.0.20348");
    node.reserved = 4;
    ctx.simulate(&[node]).await?;
    ctx.service_account().await?;
    let tolerations: Value = serde_json::from_str(TOLERATION).unwrap_or_default();
    let mut pod = ctx.bare_pod("pod", &[], &json!({ "tolerations": tolerations }));
    pod["spec"]["containers"][0]["resources"] = json!({ "requests": request });
    ctx.create(pod).await.map(drop)
}

async fn allocatable(ctx: Ctx) -> Result<(), Stop> {
    windows_node(&ctx, &json!({ "memory": "17Gi" })).await?;
    pending(&ctx, "Insufficient memory").await
}

async fn cpu(ctx: Ctx) -> Result<(), Stop> {
    windows_node(&ctx, &json!({ "cpu": "5" })).await?;
    pending(&ctx, "Insufficient cpu").await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_json() {
        for row in ROWS {
            let text = row.more.replace("TOLERATION", TOLERATION);
            assert!(serde_json::from_str::<Value>(&text).is_ok(), "{}", row.id);
        }
    }
}
