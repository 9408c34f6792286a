//! Random pods on random nodes of both OSs: the scheduler's placements against an independent model.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};

use super::{BUILDS, GUIDE, NEWEST, common};
use crate::cluster::{Claim, Ctx, Fleet, NodeSpec, Ref, SIMULATED, Stop};
use crate::fitting::fits;
use crate::random::Random;
use crate::trial::Trial;

/// How many pods of both OSs.
const MIXED: usize = 200;
/// How many Linux pods.
const LINUX: usize = 1_000;
/// How many pods at most ask for 450 CPUs: so many fit on the larger Linux node.
const LARGE: usize = 8;
/// How many requests are under way at once.
const TOGETHER: usize = 4;
/// How long the scheduler may take for all of them.
const PATIENCE: Duration = Duration::from_mins(4);
/// How long pods that do not fit at first may take until the scheduler has tried them again.
const AGAIN: Duration = Duration::from_secs(60);
/// How long reading one pod may take.
const LEAST: Duration = Duration::from_secs(5);

pub(super) fn trials() -> Vec<Trial> {
    let all = |claim: Claim| {
        common(claim)
            .label("placement")
            .basis(GUIDE.0, GUIDE.1)
            .wants_consent()
            .limit(Duration::from_mins(6))
            .alias("kube-scheduler filters")
            .fix(
                "Compare the scheduler's profile with the default plug-ins: NodeAffinity, TaintToleration and \
                 NodeResourcesFit.",
            )
    };
    vec![
        all(Claim::new(
            "windows.random.model",
            "The scheduler places 200 random pods of both OSs as an independent model of its rules does",
            [NEWEST],
            "blind-scheduler",
            |ctx| run(ctx, false),
        ))
        .why("One wrong placement of a pod leaves it in a state that no controller corrects.")
        .how(
            "Makes nodes of both OSs and three builds, and pods with random node selectors, affinities, tolerations \
             and requests; compares where each is bound, or that it is not, with the model. The seed is in the \
             evidence.",
        )
        .trial(),
        all(Claim::new(
            "windows.random.linux",
            "None of 1,000 random Linux pods without a toleration goes to a Windows node",
            [NEWEST],
            "taint-removed",
            |ctx| run(ctx, true),
        ))
        .why(
            "A Linux pod on a Windows node never starts; the taint is what protects manifests without a node selector.",
        )
        .how(
            "Makes Windows nodes much larger than the Linux nodes, and random Linux pods, and reads where each is \
             bound.",
        )
        .trial(),
    ]
}

fn nodes() -> Vec<NodeSpec> {
    let mut nodes = vec![NodeSpec::linux("linux1").sized(400), NodeSpec::linux("linux2").sized(4000)];
    for (release, build) in BUILDS {
        nodes.push(NodeSpec::windows(&format!("w{release}"), build).sized(8000));
    }
    // Two that differ: an untainted one, and one that nobody may use.
    nodes.push(NodeSpec::windows("untainted", BUILDS[0].1).taints(Vec::new()).label("pool", "open").sized(8000));
    nodes.push(NodeSpec::linux("closed").taints(vec![json!({ "key": "closed", "effect": "NoExecute" })]).sized(8000));
    nodes
}

/// What a random pod has besides its name.
fn random_spec(random: &mut Random, linux: bool) -> Value {
    let mut more = json!({});
    if random.below(3) != 0 {
        more["nodeSelector"]["kubernetes.io/os"] =
            json!(if linux { "linux" } else { *random.pick(&["linux", "windows"]) });
    }
    if !linux && random.below(3) == 0 {
        more["nodeSelector"]["node.kubernetes.io/windows-build"] =
            json!(random.pick(&["10.0.17763", "10.0.20348", "10.0.26100", "10.0.14393"]));
    }
    if random.below(3) == 0 {
        let operator = *random.pick(&["In", "NotIn", "Exists", "DoesNotExist"]);
        let (key, value) =
            *random.pick(&[("pool", "open"), ("kubernetes.io/os", "linux"), ("kubernetes.io/arch", "amd64")]);
        let values = if operator.ends_with("In") { json!([value]) } else { Value::Null };
        let mut expression = json!({ "key": key, "operator": operator });
        if !values.is_null() {
            expression["values"] = values;
        }
        more["affinity"] = json!({ "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{ "matchExpressions": [expression] }] } } });
    }
    let tolerations: &[Value] = &[
        json!({ "key": "os", "operator": "Equal", "value": "windows", "effect": "NoSchedule" }),
        json!({ "key": "os", "operator": "Exists" }),
        json!({ "key": "os", "value": "linux" }),
        json!({ "key": "closed", "operator": "Exists", "effect": "NoExecute" }),
        json!({ "operator": "Exists", "effect": "NoExecute" }),
    ];
    if linux {
        more["tolerations"] = json!([tolerations[2]]);
    } else if random.below(4) != 0 {
        more["tolerations"] = json!([random.pick(tolerations), random.pick(tolerations)]);
    }
    let cpu = *random.pick(&["1m", "100m", "450", "9000"]);
    more["containers"] = json!([{ "name": "main", "resources": { "requests": { "cpu": cpu, "memory": "1Mi" } } }]);
    more
}

async fn run(ctx: Ctx, linux: bool) -> Result<(), Stop> {
    let mut random = Random::of(ctx.run());
    ctx.evidence("seed", random.seed().to_string());
    let mut nodes = nodes();
    if linux {
        nodes.retain(|node| node.name != "untainted");
    }
    let fleet = ctx.simulate(&nodes).await?;
    ctx.service_account().await?;
    let count = if linux { LINUX } else { MIXED };
    let mut made = Vec::new();
    for number in 0..count {
        let mut more = random_spec(&mut random, linux);
        more["containers"][0]["image"] = ctx.target().image.as_str().into();
        // What pods take of nodes must not matter for the model: few requests are large.
        if number % (count / LARGE) != 0 && more["containers"][0]["resources"]["requests"]["cpu"] == "450" {
            more["containers"][0]["resources"]["requests"]["cpu"] = "1m".into();
        }
        made.push(ctx.create(ctx.bare_pod(&format!("pod{number}"), &[], &more)));
    }
    futures_util::stream::iter(made).buffer_unordered(TOGETHER).try_collect::<Vec<_>>().await?;
    let pods = ctx.settled(count, PATIENCE).await?;
    let place = Ref::all("v1", "Node");
    let nodes: Vec<_> = ctx
        .list(&place)
        .await?
        .into_iter()
        .filter(|node| node["metadata"]["labels"][SIMULATED] == ctx.namespace())
        .collect();
    judge(&ctx, &fleet, &nodes, &pods, linux).await
}

async fn judge(ctx: &Ctx, fleet: &Fleet, nodes: &[Value], pods: &[Value], linux: bool) -> Result<(), Stop> {
    let (mut bound, mut pending) = (0, 0);
    let again = tokio::time::Instant::now() + AGAIN;
    for pod in pods {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let fitting: Vec<_> = nodes
            .iter()
            .filter(|node| fits(pod, node))
            .map(|node| fleet.short(node["metadata"]["name"].as_str().unwrap_or_default()))
            .collect();
        let on = match pod["spec"]["nodeName"].as_str() {
            Some(node) => node.to_owned(),
            None if fitting.is_empty() => {
                pending += 1;
                continue;
            }
            // It is tried again when the scheduler has seen every node.
            None => match ctx.bound(name, again.duration_since(tokio::time::Instant::now()).max(LEAST)).await {
                Ok(node) => node,
                Err(Stop::Breached(_)) => {
                    ctx.breach(name, format!("{name} stays Pending, and fits on {}", fitting.join(", ")));
                    continue;
                }
                Err(stop) => return Err(stop),
            },
        };
        bound += 1;
        let on = fleet.short(&on);
        if !fitting.contains(&on) {
            let spec = json!({ "nodeSelector": pod["spec"]["nodeSelector"], "affinity": pod["spec"]["affinity"],
                "tolerations": pod["spec"]["tolerations"] });
            ctx.breach(name, format!("{name} is bound to {on}; expected one of [{}]: {spec}", fitting.join(", ")));
        } else if linux && on.starts_with('w') {
            ctx.breach(name, format!("{name} is a Linux pod, and is bound to the Windows node {on}"));
        }
    }
    ctx.evidence("pods bound", bound.to_string());
    ctx.evidence("pods that fit nowhere", pending.to_string());
    if bound == 0 || (!linux && pending == 0) {
        return Err(Stop::Undetermined(
            "the random pods are no sample: none was bound, or none was refused".to_owned(),
        ));
    }
    Ok(())
}
