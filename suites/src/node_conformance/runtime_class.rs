//! RuntimeClasses: which handler runs a pod, and what it costs besides.

use std::time::Duration;

use serde_json::{Value, json};

use super::Area;
use super::upstream::Covers as _;
use crate::cluster::{Condition, Ctx, Pod, Ref, Requirement, Stop};
use crate::trial::Trial;

const AREA: Area = Area {
    id: "runtime-class",
    caught_by: "no-runtime-class-admission",
    why: "A pod that asks for a sandboxed runtime and gets another one, or none of its overhead, is isolated \
          less than it says.",
    how: "Creates RuntimeClasses of its own and pods that name them, and reads what is admitted, scheduled and run.",
    fix: "Look at the admission plug-ins of the API server (RuntimeClass is on by default) and the handlers \
          of the runtime.",
    basis: ("Runtime Class", "https://kubernetes.io/docs/concepts/containers/runtime-class/"),
};

const CREATE: Requirement =
    Requirement::Permission { verb: "create", group: "node.k8s.io", resource: "runtimeclasses" };

/// Creates a RuntimeClass of a name that no other has.
async fn class(ctx: &Ctx, handler: &str, overhead: Option<Value>) -> Result<String, Stop> {
    let name = format!("{}-class", ctx.namespace());
    let mut object = json!({
        "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": { "name": name }, "handler": handler,
    });
    if let Some(overhead) = overhead {
        object["overhead"] = json!({ "podFixed": overhead });
    }
    ctx.create(object).await?;
    Ok(name)
}

/// A pod that the scheduler places.
fn scheduled(class: &str) -> Pod {
    Pod::new("classed", "sleep 600")
        .spec(json!({ "runtimeClassName": class, "nodeSelector": { "kubernetes.io/os": "linux" } }))
}

pub(super) fn trials() -> Vec<Trial> {
    vec![
        AREA.claim("missing", "A pod with a RuntimeClass that does not exist is rejected", |ctx| async move {
            let name = format!("{}-no-such", ctx.namespace());
            rejected(&ctx, &name).await
        })
        .covers("RuntimeClass should reject a Pod requesting a non-existent RuntimeClass")
        .trial(),
        AREA.claim("deleted", "A pod with a RuntimeClass that was deleted is rejected", |ctx| async move {
            let name = class(&ctx, "runc", None).await?;
            let place = Ref::new("node.k8s.io/v1", "RuntimeClass", "", &name);
            ctx.delete(&place, None).await?;
            ctx.until_gone(&place, Duration::from_secs(60)).await?;
            // Admission reads a cache: what is deleted is rejected soon.
            for _ in 0..20 {
                let attempt = ctx.try_put(&scheduled(&name)).await?;
                if attempt.is_err() {
                    break;
                }
                ctx.delete(&ctx.pod("classed"), Some(0)).await?;
                ctx.until_gone(&ctx.pod("classed"), Duration::from_secs(60)).await?;
            }
            rejected(&ctx, &name).await
        })
        .covers("RuntimeClass should reject a Pod requesting a deleted RuntimeClass")
        .requires(CREATE)
        .trial(),
        AREA.claim(
            "overhead",
            "A pod with a RuntimeClass has that class's overhead, and is scheduled",
            |ctx| async move {
                let name = class(&ctx, "preconfigured-handler", Some(json!({ "cpu": "10m", "memory": "1Mi" }))).await?;
                put(&ctx, &scheduled(&name)).await?;
                let pod = ctx.until_pod("classed", &Condition::is("PodScheduled"), Duration::from_secs(60)).await?;
                ctx.expect(
                    "classed",
                    "its overhead",
                    &pod["spec"]["overhead"],
                    &json!({ "cpu": "10m", "memory": "1Mi" }),
                );
                Ok(())
            },
        )
        .covers("RuntimeClass should schedule a Pod requesting a RuntimeClass and initialize its Overhead")
        .requires(CREATE)
        .trial(),
        Area { caught_by: "runtime-class-has-overhead", ..AREA }
            .claim(
                "no-overhead",
                "A pod with a RuntimeClass without overhead has none, and is scheduled",
                |ctx| async move {
                    let name = class(&ctx, "preconfigured-handler", None).await?;
                    put(&ctx, &scheduled(&name)).await?;
                    let pod = ctx.until_pod("classed", &Condition::is("PodScheduled"), Duration::from_secs(60)).await?;
                    ctx.expect("classed", "its overhead", &pod["spec"]["overhead"], &Value::Null);
                    Ok(())
                },
            )
            .covers("RuntimeClass should schedule a Pod requesting a RuntimeClass without PodOverhead")
            .requires(CREATE)
            .trial(),
        Area { caught_by: "runtime-classes-are-stripped", ..AREA }
            .claim(
                "unconfigured",
                "A pod whose handler the runtime does not have is not run, and says so",
                |ctx| async move {
                    let name = class(&ctx, "no-such-handler", None).await?;
                    put(&ctx, &Pod::new("classed", "sleep 600").spec(json!({ "runtimeClassName": name }))).await?;
                    ctx.until_event("classed", "FailedCreatePodSandBox", "no-such-handler").await?;
                    let pod = ctx.get(&ctx.pod("classed")).await?;
                    ctx.expect("classed", "its phase", &pod["status"]["phase"].as_str(), &Some("Pending"));
                    Ok(())
                },
            )
            .alias("unconfigured RuntimeClass handler")
            .requires(CREATE)
            .trial(),
    ]
}

/// Creates a pod once the admission plug-in has seen its class.
async fn put(ctx: &Ctx, pod: &Pod) -> Result<(), Stop> {
    let mut last = String::new();
    for _ in 0..20 {
        match ctx.try_put(pod).await? {
            Ok(_) => return Ok(()),
            Err(why) => last = why.to_string(),
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Err(Stop::breach("classed", format!("the pod is rejected though its RuntimeClass exists: {last}")))
}

async fn rejected(ctx: &Ctx, class: &str) -> Result<(), Stop> {
    match ctx.try_put(&scheduled(class)).await? {
        Ok(_) => ctx.breach("classed", format!("the pod is accepted though there is no RuntimeClass {class}")),
        Err(why) => {
            ctx.expect("classed", "the status of the refusal", &why.code, &403);
            ctx.prints("the refusal", &why.message, "RuntimeClass");
        }
    }
    Ok(())
}
