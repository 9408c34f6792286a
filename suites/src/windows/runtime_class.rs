//! RuntimeClasses: the guide's way to give Windows pods their node selector and toleration.

use std::time::Duration;

use serde_json::{Value, json};

use super::{BOTH, GUIDE, accepted, common};
use crate::cluster::{Attempt, Claim, Condition, Ctx, NodeSpec, Ref, Stop};
use crate::trial::Trial;

const CLASS: (&str, &str) = ("Runtime Class", "https://kubernetes.io/docs/concepts/containers/runtime-class/");

/// A RuntimeClass as the guide has it, under a name of the act's own.
fn class(ctx: &Ctx) -> Value {
    json!({
        "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass",
        "metadata": { "name": name(ctx) }, "handler": "runhcs-wcow-process",
        "overhead": { "podFixed": { "cpu": "100m", "memory": "128Mi" } },
        "scheduling": {
            "nodeSelector": {
                "kubernetes.io/os": "windows", "kubernetes.io/arch": "amd64",
                "node.kubernetes.io/windows-build": "10.0.17763",
            },
            "tolerations": [{ "effect": "NoSchedule", "key": "os", "operator": "Equal", "value": "windows" }],
        },
    })
}

fn name(ctx: &Ctx) -> String {
    format!("{}-windows-2019", ctx.namespace())
}

pub(super) fn trials() -> Vec<Trial> {
    let admission = "kube-apiserver --enable-admission-plugins has RuntimeClass by default: remove it from \
                     --disable-admission-plugins.";
    let all = |id: &str, title: &str, why: &str, how: &str, body: Body| {
        common(Claim::new(format!("windows.runtime-class.{id}"), title, BOTH, "runtime-class-off", move |ctx| {
            body(ctx)
        }))
        .label("runtime-class")
        .alias("runtimeClassName")
        .why(why)
        .how(how)
        .fix(admission)
        .basis(CLASS.0, CLASS.1)
        .basis(GUIDE.0, GUIDE.1)
        .wants_consent()
        .trial()
    };
    let dry = "Creates a RuntimeClass as the guide has it, and asks the API server by dry run for a pod of it.";
    vec![
        all(
            "merge",
            "A RuntimeClass adds its node selector to pods",
            "Without it a Windows pod can go to a Linux node.",
            dry,
            |ctx| Box::pin(merge(ctx)),
        ),
        all(
            "tolerations",
            "A RuntimeClass adds its tolerations to those of pods",
            "Without it a Windows pod stays Pending, since Windows nodes have a taint.",
            dry,
            |ctx| Box::pin(tolerations(ctx)),
        ),
        all("same", "A node selector that repeats the RuntimeClass's is accepted", "Charts give both.", dry, |ctx| {
            Box::pin(same(ctx))
        }),
        all(
            "conflict",
            "A node selector that contradicts the RuntimeClass is refused",
            "A pod for two builds fits on no node.",
            dry,
            |ctx| Box::pin(conflict(ctx)),
        ),
        all(
            "missing",
            "A pod of a RuntimeClass that does not exist is refused",
            "It would wait for a handler that no node has.",
            "Asks the API server by dry run for a pod of a RuntimeClass that does not exist.",
            |ctx| Box::pin(missing(ctx)),
        ),
        all(
            "overhead",
            "A RuntimeClass's overhead becomes the pod's",
            "The sandbox of a Windows pod needs memory that the scheduler otherwise gives to others.",
            dry,
            |ctx| Box::pin(overhead(ctx)),
        ),
        all(
            "other-overhead",
            "A pod with another overhead than its RuntimeClass is refused",
            "Users could otherwise hide from the scheduler what a sandbox needs.",
            dry,
            |ctx| Box::pin(other_overhead(ctx)),
        ),
        all(
            "placement",
            "A pod of a RuntimeClass goes to a node of that Windows build",
            "This is what the guide recommends RuntimeClasses for.",
            "Makes nodes of several builds without a kubelet, and a pod of a RuntimeClass; reads where the scheduler \
             binds it.",
            |ctx| Box::pin(placement(ctx)),
        ),
    ]
}

type Body = fn(Ctx) -> futures_util::future::BoxFuture<'static, Result<(), Stop>>;

/// Creates the class, and waits until admission knows it.
async fn made(ctx: &Ctx) -> Result<(), Stop> {
    ctx.create(class(ctx)).await?;
    ctx.service_account().await
}

fn pod(ctx: &Ctx, more: &Value) -> Value {
    let mut pod = ctx.bare_pod("pod", &[], more);
    pod["spec"]["runtimeClassName"] = name(ctx).into();
    pod
}

async fn merge(ctx: Ctx) -> Result<(), Stop> {
    made(&ctx).await?;
    let attempt = ctx.dry_run(pod(&ctx, &json!({}))).await?;
    if let Some(pod) = accepted(&ctx, "the pod", attempt)? {
        let selector = &pod["spec"]["nodeSelector"];
        for (key, wanted) in class(&ctx)["scheduling"]["nodeSelector"].as_object().into_iter().flatten() {
            ctx.expect("the pod", &format!("nodeSelector[{key}]"), &selector.get(key), &Some(wanted));
        }
        ctx.expect("the pod", "its own node selector", &selector["seaworthy.dev/act"], &json!(ctx.namespace()));
    }
    Ok(())
}

async fn tolerations(ctx: Ctx) -> Result<(), Stop> {
    made(&ctx).await?;
    let own = json!({ "key": "dedicated", "operator": "Exists" });
    let attempt = ctx.dry_run(pod(&ctx, &json!({ "tolerations": [own] }))).await?;
    if let Some(pod) = accepted(&ctx, "the pod", attempt)? {
        let all = pod["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
        for key in ["dedicated", "os"] {
            let there = all.iter().any(|toleration| toleration["key"] == key);
            ctx.expect("the pod", &format!("a toleration of {key}"), &there, &true);
        }
    }
    Ok(())
}

async fn same(ctx: Ctx) -> Result<(), Stop> {
    made(&ctx).await?;
    let attempt = ctx.dry_run(pod(&ctx, &json!({ "nodeSelector": { "kubernetes.io/os": "windows" } }))).await?;
    if let Some(pod) = accepted(&ctx, "the pod", attempt)? {
        let build = &pod["spec"]["nodeSelector"]["node.kubernetes.io/windows-build"];
        ctx.expect("the pod", "the build of its node selector", build, &json!("10.0.17763"));
    }
    Ok(())
}

/// Admission has to refuse a pod, with this message.
fn forbidden(ctx: &Ctx, attempt: Attempt, wanted: &str) {
    match attempt {
        Err(why) if why.code == 403 && why.message.contains(wanted) => {}
        Err(why) => ctx.breach("the pod", format!("refused for another reason: {why}; expected '{wanted}'")),
        Ok(_) => ctx.breach("the pod", format!("the pod is accepted; expected the refusal '{wanted}'")),
    }
}

async fn conflict(ctx: Ctx) -> Result<(), Stop> {
    made(&ctx).await?;
    let selector = json!({ "node.kubernetes.io/windows-build": "10.0.20348" });
    let attempt = ctx.dry_run(pod(&ctx, &json!({ "nodeSelector": selector }))).await?;
    forbidden(
        &ctx,
        attempt,
        "conflict: runtimeClass.scheduling.nodeSelector[node.kubernetes.io/windows-build] = 10.0.17763",
    );
    Ok(())
}

async fn missing(ctx: Ctx) -> Result<(), Stop> {
    ctx.service_account().await?;
    let attempt = ctx.dry_run(pod(&ctx, &json!({}))).await?;
    forbidden(&ctx, attempt, "not found");
    Ok(())
}

async fn overhead(ctx: Ctx) -> Result<(), Stop> {
    made(&ctx).await?;
    let attempt = ctx.dry_run(pod(&ctx, &json!({}))).await?;
    if let Some(pod) = accepted(&ctx, "the pod", attempt)? {
        let wanted = json!({ "cpu": "100m", "memory": "128Mi" });
        ctx.expect("the pod", "spec.overhead", &pod["spec"]["overhead"], &wanted);
    }
    Ok(())
}

async fn other_overhead(ctx: Ctx) -> Result<(), Stop> {
    made(&ctx).await?;
    let attempt = ctx.dry_run(pod(&ctx, &json!({ "overhead": { "cpu": "1m", "memory": "1Mi" } }))).await?;
    forbidden(&ctx, attempt, "Overhead doesn't match RuntimeClass's defined Overhead");
    Ok(())
}

async fn placement(ctx: Ctx) -> Result<(), Stop> {
    made(&ctx).await?;
    let nodes = [
        NodeSpec::linux("linux1").sized(64),
        NodeSpec::windows("w2019", "10.0.17763"),
        NodeSpec::windows("w2022", "10.0.20348").sized(64),
    ];
    let fleet = ctx.simulate(&nodes).await?;
    ctx.create(pod(&ctx, &json!({}))).await?;
    let place = Ref::new("v1", "Pod", ctx.namespace(), "pod");
    let condition = Condition::new("is bound to a node", |pod| {
        pod["spec"]["nodeName"].as_str().map(drop).ok_or_else(|| pod["status"]["conditions"].to_string())
    });
    let pod = ctx.until(&place, &condition, Duration::from_secs(60)).await?;
    let node = fleet.short(pod["spec"]["nodeName"].as_str().unwrap_or_default());
    ctx.expect("the pod", "its node", &node.as_str(), &"w2019");
    Ok(())
}
