//! Lifecycle hooks: postStart and preStop, by exec, HTTP, HTTPS and sleep, of containers and of sidecars.

use std::time::Duration;

use serde_json::{Value, json};

use super::upstream::Covers as _;
use super::{Area, merged};
use crate::cluster::{Ctx, Pod, Requirement, Stop, container, container_is, status_of};
use crate::trial::Trial;

const AREA: Area = Area {
    id: "hooks",
    caught_by: "hooks-are-stripped",
    why: "Servers that leave load balancers in their preStop hook drop requests where the kubelet does not run it.",
    how: "Runs a pod with a hook that calls another pod, and looks for the call in that one's log; for sleep, \
    compares the \
          container's end with the pod's deletion.",
    fix: "Look into the kubelet's log for 'lifecycle hook' and at the pod's events FailedPostStartHook and \
          FailedPreStopHook.",
    basis: ("Container Lifecycle Hooks", "https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/"),
};

#[derive(Debug, Clone, Copy)]
struct Hook {
    sidecar: bool,
    /// `postStart` or `preStop`.
    when: &'static str,
    /// `exec`, `http` or `https`.
    how: &'static str,
}

pub(super) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for sidecar in [false, true] {
        let (id, kind, upstream) = match sidecar {
            false => ("container", "a container", "Container Lifecycle Hook"),
            true => ("sidecar", "a sidecar", "Restartable Init Container Lifecycle Hook"),
        };
        for when in ["postStart", "preStop"] {
            for how in ["exec", "http", "https"] {
                let lower = when.to_lowercase();
                let hook = Hook { sidecar, when, how };
                let title = format!("The kubelet runs the {when} hook of {kind} by {how}");
                trials.push(
                    AREA.claim(&format!("{id}.{lower}-{how}"), title, move |ctx| called(ctx, hook))
                        .covers(&format!(
                            "{upstream} when create a pod with lifecycle hook should execute \
                                          {lower} {how} hook properly"
                        ))
                        .trial(),
                );
            }
        }
    }
    let prefix = "Lifecycle Sleep Hook when create a pod with lifecycle hook using sleep action";
    trials.extend([
        AREA.claim("sleep", "A preStop hook that sleeps delays the end of its container", |ctx| sleeps(ctx, 5, None))
            .covers(&format!("{prefix} valid prestop hook using sleep action"))
            .requires(Requirement::KubernetesFrom(30))
            .trial(),
        AREA.claim(
            "sleep-shortened",
            "A grace period given at deletion ends a preStop hook that sleeps longer",
            |ctx| sleeps(ctx, 80, Some(6)),
        )
        .covers(&format!("{prefix} reduce GracePeriodSeconds during runtime"))
        .requires(Requirement::KubernetesFrom(30))
        .trial(),
        Area { caught_by: "restarts-are-forced", ..AREA }
            .claim("sleep-ended", "A preStop hook is not run for a container that has ended by itself", ended)
            .covers(&format!("{prefix} ignore terminated container"))
            .requires(Requirement::KubernetesFrom(30))
            .trial(),
        AREA.claim("sleep-zero", "A preStop hook that sleeps for zero seconds delays nothing", zero)
            .covers(
                "Lifecycle sleep action zero value when create a pod with lifecycle hook using sleep action \
                with a duration \
                 of zero seconds prestop hook using sleep action with zero duration",
            )
            .requires(Requirement::KubernetesFrom(33))
            .trial(),
    ]);
    trials
}

async fn called(ctx: Ctx, hook: Hook) -> Result<(), Stop> {
    let receiver = Pod::new("receiver", "serve --log")
        .main(json!({ "readinessProbe": { "httpGet": { "path": "/readyz", "port": 8080 }, "periodSeconds": 1 } }));
    let receiver = ctx.ready(&receiver).await?;
    let ip = receiver["status"]["podIP"].as_str().unwrap_or_default();
    let ip = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    let url = format!("http://{ip}:8080/echo?msg={}", hook.when);
    let path: String = form_urlencoded::byte_serialize(url.as_bytes()).collect();
    let http =
        |scheme: &str, port: u16, path: &str| json!({ "httpGet": { "scheme": scheme, "port": port, "path": path } });
    let path = format!("/dial?timeout=10000&url={path}");
    let (handler, probe) = match hook.how {
        "exec" => (
            json!({ "exec": { "command": ["/seaworthy", "workload", "do", format!("dial {url}")] } }),
            http("HTTP", 8080, "/healthz"),
        ),
        "http" => (http("HTTP", 8080, &path), http("HTTP", 8080, "/healthz")),
        _ => (http("HTTPS", 8443, &path), http("HTTPS", 8443, "/healthz")),
    };
    // It passes on what the kubelet asks of the pod; it starts before the container with the hook, and ends after it.
    let redirect = merged(
        container("redirect", "serve --https 8443"),
        json!({
            "restartPolicy": "Always", "startupProbe": merged(probe, json!({ "periodSeconds": 1,
                "failureThreshold": 60 })),
        }),
    );
    let hooked = merged(container("hooked", "until-term"), json!({ "lifecycle": { hook.when: handler } }));
    let pod = Pod::new("hooked", "until-term").init(redirect);
    let pod =
        if hook.sidecar { pod.init(merged(hooked, json!({ "restartPolicy": "Always" }))) } else { pod.main(hooked) };
    ctx.ready(&pod.spec(json!({ "terminationGracePeriodSeconds": 30 }))).await?;
    let line = format!("GET /echo?msg={}", hook.when);
    if hook.when == "postStart" {
        ctx.until_printed("receiver", "main", &line).await?;
        return Ok(());
    }
    let early = ctx.logs("receiver", "main").await?;
    ctx.expect("hooked", "preStop ran before the pod was deleted", &early.contains(&line), &false);
    ctx.delete(&ctx.pod("hooked"), Some(20)).await?;
    ctx.until_printed("receiver", "main", &line).await?;
    ctx.until_gone(&ctx.pod("hooked"), Duration::from_secs(60)).await
}

fn time(value: &Value) -> Result<jiff::Timestamp, Stop> {
    let text = value.as_str().unwrap_or_default();
    text.parse().map_err(|_| Stop::breach("sleeper", format!("'{text}' is no time")))
}

fn sleeper(script: &str, seconds: u32, grace: u32) -> Pod {
    Pod::new("sleeper", script)
        .main(json!({ "lifecycle": { "preStop": { "sleep": { "seconds": seconds } } } }))
        .spec(json!({ "terminationGracePeriodSeconds": grace }))
}

/// Deletes a pod whose hook sleeps, and holds the end of its container against the time of the deletion.
async fn sleeps(ctx: Ctx, seconds: u32, grace: Option<u32>) -> Result<(), Stop> {
    ctx.running(&sleeper("until-term", seconds, 100)).await?;
    ctx.delete(&ctx.pod("sleeper"), grace).await?;
    let over = container_is("has ended", "main", |status| status["state"]["terminated"].is_object());
    let pod = ctx.until_pod("sleeper", &over, Duration::from_secs(110)).await?;
    let end = time(&status_of(&pod, "main")["state"]["terminated"]["finishedAt"])?;
    // The time of deletion is that of the request and the grace period together.
    let kept = pod.pointer("/spec/containers/0/lifecycle/preStop/sleep/seconds").and_then(Value::as_u64);
    ctx.expect("sleeper", "the seconds of its hook", &kept, &Some(seconds.into()));
    let grace = i64::from(grace.unwrap_or(100));
    let asked = time(&pod["metadata"]["deletionTimestamp"])?.as_second() - grace;
    let waited = end.as_second() - asked;
    let (least, most) = (grace.min(seconds.into()), i64::from(seconds).max(grace));
    // Times are of whole seconds.
    if waited + 1 < least || waited >= most {
        ctx.breach(
            "sleeper",
            format!("it ended {waited} s after its deletion; expected {least} s or more, and less than {most} s"),
        );
    }
    ctx.evidence("from deletion to end", format!("{waited} s"));
    Ok(())
}

async fn ended(ctx: Ctx) -> Result<(), Stop> {
    ctx.put(&sleeper("sleep 2", 60, 100)).await?;
    let pod = ctx.ended("sleeper").await?;
    let state = &status_of(&pod, "main")["state"]["terminated"];
    let ran = time(&state["finishedAt"])?.as_second() - time(&state["startedAt"])?.as_second();
    if ran >= 60 {
        ctx.breach("sleeper", format!("the container ended after {ran} s, though its script takes 2 s"));
    }
    ctx.expect("sleeper", "its restart count", &status_of(&pod, "main")["restartCount"].as_u64(), &Some(0));
    ctx.expect("sleeper", "its phase", &pod["status"]["phase"].as_str(), &Some("Succeeded"));
    Ok(())
}

async fn zero(ctx: Ctx) -> Result<(), Stop> {
    let pod = sleeper("until-term; exit 0", 0, 600);
    ctx.running(&pod).await?;
    // The hook is kept: a policy that strips it would hide that zero is refused.
    let kept = ctx.get(&ctx.pod("sleeper")).await?;
    let seconds = kept.pointer("/spec/containers/0/lifecycle/preStop/sleep/seconds").and_then(Value::as_u64);
    ctx.expect("sleeper", "the seconds of its hook", &seconds, &Some(0));
    ctx.delete(&ctx.pod("sleeper"), None).await?;
    // Its grace period would be ten minutes.
    ctx.until_gone(&ctx.pod("sleeper"), Duration::from_secs(90)).await
}
