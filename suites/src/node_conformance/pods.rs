//! Pods from their creation to their end: conditions, updates, deadlines, deletion, rejection.

use std::time::Duration;

use serde_json::{Value, json};

use super::Area;
use super::upstream::Covers as _;
use crate::cluster::{Condition, Ctx, Pod, Ref, Requirement, Stop, container_is, status_of};
use crate::trial::Trial;

const AREA: Area = Area {
    id: "pods",
    caught_by: "kubelet-stands-still",
    why: "Controllers, Services and people act on what the kubelet reports of pods, and wait for it to end \
          what is deleted.",
    how: "Creates, changes and deletes a pod, and compares the conditions, phases and times that the kubelet reports.",
    fix: "Look whether the kubelet runs and reaches the API server, and into its log for the pod's name.",
    basis: ("Pod Lifecycle", "https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/"),
};

/// How long the kubelet may take to end a pod.
const END: Duration = Duration::from_secs(60);

pub(super) fn trials() -> Vec<Trial> {
    vec![
        AREA.claim(
            "submitted-and-removed",
            "A pod is seen when it is created, runs, and is gone when it is deleted",
            removed,
        )
        .covers("Pods should be submitted and removed")
        .trial(),
        AREA.claim("updated", "A label of a pod may be changed while it runs, and selects it", updated)
            .covers("Pods should be updated")
            .trial(),
        AREA.claim(
            "deadline",
            "A pod fails with DeadlineExceeded when its activeDeadlineSeconds are over, also if they are set later",
            |ctx| async move {
                ctx.running(&Pod::new("deadline", "sleep 600")).await?;
                let patched =
                    ctx.try_patch(&ctx.pod("deadline"), &json!({ "spec": { "activeDeadlineSeconds": 3 } })).await?;
                patched
                    .map_err(|why| Stop::breach("deadline", format!("activeDeadlineSeconds cannot be set: {why}")))?;
                let pod = ctx.ended("deadline").await?;
                ctx.expect("deadline", "its phase", &pod["status"]["phase"].as_str(), &Some("Failed"));
                ctx.expect("deadline", "its reason", &pod["status"]["reason"].as_str(), &Some("DeadlineExceeded"));
                Ok(())
            },
        )
        .covers("Pods should allow activeDeadlineSeconds to be updated")
        .trial(),
        AREA.claim(
            "readiness-gates",
            "A pod is Ready only while the conditions of its readiness gates are True",
            gates,
        )
        .covers("Pods should support pod readiness gates")
        .trial(),
        AREA.claim(
            "conditions",
            "A pod goes through PodScheduled, Initialized, ContainersReady and Ready",
            |ctx| async move {
                let pod = ctx.ready(&Pod::new("conditions", "sleep 600")).await?;
                for kind in ["PodScheduled", "Initialized", "ContainersReady", "Ready"] {
                    ctx.expect(kind, "it is True", &Condition::is(kind).test(&pod), &Ok(()));
                }
                Ok(())
            },
        )
        .alias("PodReadyToStartContainers")
        .trial(),
        AREA.claim(
            "succeeded-is-not-ready",
            "A pod that has ended is not Ready, because it has completed",
            |ctx| async move {
                ctx.put(&Pod::new("over", "exit 0")).await?;
                let pod = ctx.ended("over").await?;
                let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
                for kind in ["Ready", "ContainersReady"] {
                    let one = conditions.iter().find(|one| one["type"] == kind).cloned().unwrap_or_default();
                    ctx.expect(
                        kind,
                        "status and reason",
                        &(one["status"].as_str(), one["reason"].as_str()),
                        &(Some("False"), Some("PodCompleted")),
                    );
                }
                Ok(())
            },
        )
        .alias("PodCompleted")
        .trial(),
        AREA.claim("logs", "What a container prints is in its log", |ctx| async move {
            let printed = ctx.output(&Pod::new("printer", "echo Hello World; complain and the error")).await?;
            ctx.line("the log", &printed, "Hello World");
            ctx.line("the log", &printed, "and the error");
            Ok(())
        })
        .covers("Kubelet when scheduling a busybox command in a pod should print the output to logs")
        .trial(),
        AREA.claim(
            "failure-reason",
            "A container that fails is reported with its reason and exit code",
            |ctx| async move {
                ctx.put(&Pod::new("failing", "exit 1").spec(json!({ "restartPolicy": "Always" }))).await?;
                let failed = container_is("has ended with an error", "main", |status| {
                    ["state", "lastState"].iter().any(|state| status[*state]["terminated"]["reason"] == "Error")
                });
                let pod = ctx.until_pod("failing", &failed, Duration::from_secs(120)).await?;
                let status = status_of(&pod, "main");
                let code =
                    ["state", "lastState"].iter().find_map(|state| status[*state]["terminated"]["exitCode"].as_i64());
                ctx.expect("failing", "its exit code", &code, &Some(1));
                Ok(())
            },
        )
        .covers("Kubelet when scheduling a busybox command that always fails in a pod should have an terminated reason")
        .trial(),
        AREA.claim("failing-is-deleted", "A pod whose container always fails can be deleted", |ctx| async move {
            ctx.put(&Pod::new("failing", "exit 1").spec(json!({ "restartPolicy": "Always" }))).await?;
            let again = container_is("was restarted", "main", |status| status["restartCount"].as_u64() >= Some(1));
            ctx.until_pod("failing", &again, Duration::from_secs(120)).await?;
            ctx.delete(&ctx.pod("failing"), None).await?;
            ctx.until_gone(&ctx.pod("failing"), END).await
        })
        .covers("Kubelet when scheduling a busybox command that always fails in a pod should be possible to delete")
        .trial(),
        AREA.claim("other-system", "The kubelet rejects a pod for another operating system", |ctx| async move {
            ctx.put(&Pod::new("windows", "exit 0").spec(json!({ "os": { "name": "windows" } }))).await?;
            let failed = Condition::field("/status/reason", "PodOSNotSupported");
            ctx.until_pod("windows", &failed, END).await.map(drop)
        })
        .covers("PodOSRejection Kubelet should reject pod when the node OS doesn't match pod's OS")
        .requires(Requirement::KubernetesFrom(25))
        .trial(),
        AREA.claim("too-large", "The kubelet rejects a pod that requests more than the node has", |ctx| async move {
            let resources = json!({ "resources": { "requests": { "cpu": "10000" } } });
            ctx.put(&Pod::new("large", "exit 0").main(resources)).await?;
            let pod = ctx.ended("large").await?;
            ctx.expect("large", "its phase", &pod["status"]["phase"].as_str(), &Some("Failed"));
            ctx.expect("large", "its reason", &pod["status"]["reason"].as_str(), &Some("OutOfcpu"));
            Ok(())
        })
        .alias("OutOfcpu")
        .trial(),
        AREA.claim(
            "wrong-node",
            "The kubelet rejects a pod whose node selector its node does not meet",
            |ctx| async move {
                let node = ctx.node().await?;
                let spec = json!({ "nodeName": node, "nodeSelector": { "seaworthy.dev/no-such": "label" } });
                ctx.put(&Pod::new("astray", "exit 0").spec(spec)).await?;
                let pod = ctx.ended("astray").await?;
                ctx.expect("astray", "its phase", &pod["status"]["phase"].as_str(), &Some("Failed"));
                ctx.expect("astray", "its reason", &pod["status"]["reason"].as_str(), &Some("NodeAffinity"));
                Ok(())
            },
        )
        .alias("NodeAffinity")
        .trial(),
        AREA.claim(
            "grace",
            "A container that ignores SIGTERM is killed when its grace period is over",
            |ctx| async move {
                ctx.running(&Pod::new("stubborn", "sleep 900").spec(json!({ "terminationGracePeriodSeconds": 4 })))
                    .await?;
                ctx.delete(&ctx.pod("stubborn"), None).await?;
                let over = container_is("has ended", "main", |status| status["state"]["terminated"].is_object());
                let pod = ctx.until_pod("stubborn", &over, END).await?;
                let state = &status_of(&pod, "main")["state"]["terminated"];
                ctx.expect("stubborn", "its exit code", &state["exitCode"].as_i64(), &Some(137));
                ctx.until_gone(&ctx.pod("stubborn"), END).await
            },
        )
        .alias("terminationGracePeriodSeconds")
        .trial(),
        AREA.claim(
            "sigterm",
            "A container gets SIGTERM when its pod is deleted, and may end by itself",
            |ctx| async move {
                ctx.running(
                    &Pod::new("polite", "until-term; exit 7").spec(json!({ "terminationGracePeriodSeconds": 120 })),
                )
                .await?;
                ctx.delete(&ctx.pod("polite"), None).await?;
                let over = container_is("has ended", "main", |status| status["state"]["terminated"].is_object());
                let pod = ctx.until_pod("polite", &over, END).await?;
                let state = &status_of(&pod, "main")["state"]["terminated"];
                ctx.expect("polite", "its exit code", &state["exitCode"].as_i64(), &Some(7));
                ctx.until_gone(&ctx.pod("polite"), END).await
            },
        )
        .alias("SIGTERM")
        .trial(),
        AREA.claim(
            "recreated",
            "A pod of the name of one that was deleted is another one, with another address or none of its files",
            |ctx| async move {
                let pod = Pod::new("again", "try cat /file; write /file old; sleep 600");
                let first = ctx.running(&pod).await?;
                ctx.until_exec("again", "main", "test /file").await?;
                ctx.delete(&ctx.pod("again"), Some(0)).await?;
                ctx.until_gone(&ctx.pod("again"), END).await?;
                let second = ctx.running(&pod).await?;
                ctx.expect(
                    "again",
                    "its UID is the old one",
                    &(first["metadata"]["uid"] == second["metadata"]["uid"]),
                    &false,
                );
                ctx.until_printed("again", "main", "failed ENOENT").await.map(drop)
            },
        )
        .alias("force delete")
        .trial(),
    ]
}

async fn removed(ctx: Ctx) -> Result<(), Stop> {
    let selector = "time=now";
    let list = Ref { namespace: Some(ctx.namespace().to_owned()), ..Ref::all("v1", "Pod") };
    let count = |wanted: usize| {
        Condition::new(format!("has {wanted} items"), move |list: &Value| {
            let found = list["items"].as_array().map_or(0, Vec::len);
            if found == wanted { Ok(()) } else { Err(format!("{found} items")) }
        })
    };
    ctx.until_list(&list, selector, &count(0), END).await?;
    let pod = Pod::new("removed", "until-term").metadata(json!({ "labels": { "time": "now" } }));
    let pod = pod.spec(json!({ "terminationGracePeriodSeconds": 30 }));
    ctx.running(&pod).await?;
    ctx.until_list(&list, selector, &count(1), END).await?;
    ctx.delete(&ctx.pod("removed"), Some(30)).await?;
    let going =
        Condition::new("is being deleted", |pod: &Value| match pod["metadata"]["deletionTimestamp"].is_string() {
            true => Ok(()),
            false => Err("there is no time of deletion".to_owned()),
        });
    let last = ctx.until(&ctx.pod("removed"), &going, END).await?;
    let grace = last["spec"]["terminationGracePeriodSeconds"].as_u64();
    ctx.expect("removed", "its grace period", &grace, &Some(30));
    ctx.until_gone(&ctx.pod("removed"), END).await?;
    ctx.until_list(&list, selector, &count(0), END).await.map(drop)
}

async fn updated(ctx: Ctx) -> Result<(), Stop> {
    ctx.running(&Pod::new("updated", "sleep 600").metadata(json!({ "labels": { "time": "old" } }))).await?;
    let patched = ctx.try_patch(&ctx.pod("updated"), &json!({ "metadata": { "labels": { "time": "new" } } })).await?;
    patched.map_err(|why| Stop::breach("updated", format!("a label cannot be changed: {why}")))?;
    ctx.until_pod("updated", &Condition::field("/status/phase", "Running"), END).await?;
    let list = Ref { namespace: Some(ctx.namespace().to_owned()), ..Ref::all("v1", "Pod") };
    for (selector, wanted) in [("time=new", 1), ("time=old", 0)] {
        let path = format!("{}?labelSelector={}", list.path(), selector.replace('=', "%3D"));
        let found = ctx.request(http::Method::GET, &path, None).await?;
        let found = found.map_err(|why| Stop::Undetermined(format!("list pods: {why}")))?;
        ctx.expect(selector, "how many pods it selects", &found["items"].as_array().map(Vec::len), &Some(wanted));
    }
    Ok(())
}

async fn gates(ctx: Ctx) -> Result<(), Stop> {
    let gates = ["k8s.io/test-condition1", "k8s.io/test-condition2"];
    let list: Vec<_> = gates.iter().map(|gate| json!({ "conditionType": gate })).collect();
    ctx.put(&Pod::new("gated", "sleep 600").spec(json!({ "readinessGates": list }))).await?;
    ctx.until_pod("gated", &Condition::is("ContainersReady"), Duration::from_secs(120)).await?;
    let unready = || {
        Condition::new("is not Ready", |pod: &Value| match Condition::is("Ready").test(pod) {
            Ok(()) => Err("it is Ready".to_owned()),
            Err(_) => Ok(()),
        })
    };
    let unready_now = unready().test(&ctx.get(&ctx.pod("gated")).await?);
    ctx.expect("gated", "it is unready without its gates", &unready_now, &Ok(()));
    set(&ctx, &[(gates[0], "True")]).await?;
    let unready_now = unready().test(&ctx.get(&ctx.pod("gated")).await?);
    ctx.expect("gated", "it is unready with one of two gates", &unready_now, &Ok(()));
    set(&ctx, &[(gates[0], "True"), (gates[1], "True")]).await?;
    ctx.until_pod("gated", &Condition::is("Ready"), END).await?;
    set(&ctx, &[(gates[0], "False"), (gates[1], "True")]).await?;
    ctx.until_pod("gated", &unready(), END).await.map(drop)
}

/// Sets conditions of the pod, as a controller does.
async fn set(ctx: &Ctx, conditions: &[(&str, &str)]) -> Result<(), Stop> {
    let place = format!("{}/status", ctx.pod("gated").path());
    let pod = ctx.get(&ctx.pod("gated")).await?;
    // A merge patch replaces the list: the others are kept.
    let mut all: Vec<_> = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    all.retain(|one| conditions.iter().all(|(kind, _)| one["type"] != *kind));
    all.extend(conditions.iter().map(|(kind, status)| json!({ "type": kind, "status": status })));
    let patch = json!({ "status": { "conditions": all } });
    let patched = ctx.request(http::Method::PATCH, &place, Some(&patch)).await?;
    patched.map(drop).map_err(|why| Stop::Undetermined(format!("set conditions of the pod gated: {why}")))
}
