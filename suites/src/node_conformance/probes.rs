//! Probes: liveness, readiness and startup, by exec, HTTP, TCP and gRPC, of containers and of sidecars.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::Area;
use super::upstream::Covers as _;
use crate::cluster::{Condition, Ctx, Pod, Ref, Stop, container_is, status_of};
use crate::trial::Trial;

const AREA: Area = Area {
    id: "probes",
    caught_by: "probes-are-stripped",
    why: "Without working probes the kubelet leaves containers that hang alone, or restarts healthy ones, and \
    Services send \
          clients to pods that cannot answer.",
    how: "Runs a pod whose container becomes unhealthy, or stays healthy while it counts probes, and watches restarts, \
          readiness and events.",
    fix: "Look into the kubelet's log for 'prober', and whether a policy or a webhook changes pods.",
    basis: (
        "Configure Liveness, Readiness and Startup Probes",
        "https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/",
    ),
};

/// The container that has the probes.
const PROBED: &str = "probed";
/// How many probes a container has to survive.
const PROBES: usize = 8;

/// What kind of container has the probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Main,
    Sidecar,
}

impl Place {
    /// The segment of ids, the words of titles and those of upstream.
    fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Main => ("container", "a container", "Probing container"),
            Self::Sidecar => ("sidecar", "a sidecar", "Probing restartable init container"),
        }
    }

    fn pod(self, container: Value, spec: Value) -> Pod {
        let spec = super::merged(json!({ "restartPolicy": "Always" }), spec);
        match self {
            Self::Main => Pod::new("probed", "").main(container).spec(spec),
            Self::Sidecar => {
                let container = super::merged(container, json!({ "restartPolicy": "Always" }));
                Pod::new("probed", "until-term").init(container).spec(spec)
            }
        }
    }
}

/// What is expected of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The kubelet restarts it.
    Restarted,
    /// It becomes Ready, which it does once it has counted its probes, and is not restarted.
    Survives,
    /// It is not Ready and not restarted after probes that it counts in a file.
    Unready,
}

struct Case {
    id: &'static str,
    /// Behind "The kubelet restarts", "does not restart" and so on: about the container.
    title: &'static str,
    upstream: &'static str,
    container: fn() -> Value,
    spec: fn() -> Value,
    fate: Fate,
}

fn run(script: &str) -> Value {
    json!({ "exec": { "command": ["/seaworthy", "workload", "do", script] } })
}

fn get(path: &str) -> Value {
    json!({ "httpGet": { "path": path, "port": 8080 } })
}

/// A probe each second, of which `failures` in a row count.
fn probe(handler: Value, failures: u32) -> Value {
    // A program may take a while to start on a busy node.
    super::merged(handler, json!({ "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": failures }))
}

/// A container that runs a script, with its probes.
fn probed(script: &str, probes: Value) -> Value {
    super::merged(json!({ "name": PROBED, "args": ["do", script] }), probes)
}

fn nothing() -> Value {
    json!({})
}

/// Ready once the server has seen this path so often.
fn seen(path: &str) -> Value {
    probe(get(&format!("/seen?path={path}&least={PROBES}")), 1)
}

const CASES: &[Case] = &[
    Case {
        id: "exec-fails",
        title: "The kubelet restarts KIND whose liveness command fails",
        upstream: "should be restarted with a exec \"cat /tmp/health\" liveness probe",
        container: || {
            let live = super::merged(probe(run("test /health"), 1), json!({ "initialDelaySeconds": 2 }));
            probed("write /health ok; sleep 4; rm /health; sleep 600", json!({ "livenessProbe": live }))
        },
        spec: nothing,
        fate: Fate::Restarted,
    },
    Case {
        id: "exec-succeeds",
        title: "The kubelet does not restart KIND whose liveness command succeeds",
        upstream: "should *not* be restarted with a exec \"cat /tmp/health\" liveness probe",
        container: || {
            let live =
                super::merged(probe(run("append /seen x; test /health"), 1), json!({ "initialDelaySeconds": 2 }));
            let ready = probe(run(&format!("has-lines /seen {PROBES}")), 1);
            probed("write /health ok; sleep 600", json!({ "livenessProbe": live, "readinessProbe": ready }))
        },
        spec: nothing,
        fate: Fate::Survives,
    },
    Case {
        id: "http-fails",
        title: "The kubelet restarts KIND whose HTTP liveness probe fails",
        upstream: "should be restarted with a /healthz http liveness probe",
        container: || probed("serve --unhealthy-after 3", json!({ "livenessProbe": probe(get("/healthz"), 2) })),
        spec: nothing,
        fate: Fate::Restarted,
    },
    Case {
        id: "http-succeeds",
        title: "The kubelet does not restart KIND whose HTTP liveness probe succeeds",
        upstream: "should *not* be restarted with a /healthz http liveness probe",
        container: || {
            probed("serve", json!({ "livenessProbe": probe(get("/healthz"), 5), "readinessProbe": seen("/healthz") }))
        },
        spec: nothing,
        fate: Fate::Survives,
    },
    Case {
        id: "tcp-succeeds",
        title: "The kubelet does not restart KIND whose port accepts connections, whatever it says by HTTP",
        upstream: "should *not* be restarted with a tcp:8080 liveness probe",
        container: || {
            let live = probe(json!({ "tcpSocket": { "port": 8443 } }), 5);
            let probes = json!({ "livenessProbe": live, "readinessProbe": seen("https-connection") });
            probed("serve --https 8443 --unhealthy-after 1", probes)
        },
        spec: nothing,
        fate: Fate::Survives,
    },
    Case {
        id: "tcp-fails",
        title: "The kubelet restarts KIND whose port accepts no connections",
        upstream: "",
        container: || probed("sleep 600", json!({ "livenessProbe": probe(json!({ "tcpSocket": { "port": 9 } }), 2) })),
        spec: nothing,
        fate: Fate::Restarted,
    },
    Case {
        id: "exec-timeout",
        title: "The kubelet restarts KIND whose liveness command takes longer than timeoutSeconds",
        upstream: "should be restarted with an exec liveness probe with timeout",
        container: || {
            let live = super::merged(probe(run("sleep 20"), 1), json!({ "timeoutSeconds": 1 }));
            probed("sleep 600", json!({ "livenessProbe": live }))
        },
        spec: nothing,
        fate: Fate::Restarted,
    },
    Case {
        id: "exec-fails-late",
        title: "The kubelet restarts KIND whose liveness command fails and leaves a process behind",
        upstream: "should be restarted with a failing exec liveness probe that took longer than the timeout",
        container: || {
            let live = super::merged(probe(run("background sleep 20; exit 1"), 1), json!({ "timeoutSeconds": 1 }));
            probed("sleep 600", json!({ "livenessProbe": live }))
        },
        spec: nothing,
        fate: Fate::Restarted,
    },
    Case {
        id: "readiness-timeout",
        title: "KIND whose readiness command takes longer than timeoutSeconds is not Ready",
        upstream: "should not be ready with an exec readiness probe timeout",
        container: || {
            let ready = super::merged(probe(run("append /seen x; sleep 20"), 1), json!({ "timeoutSeconds": 1 }));
            probed("sleep 600", json!({ "readinessProbe": ready }))
        },
        spec: nothing,
        fate: Fate::Unready,
    },
    Case {
        id: "readiness-fails",
        title: "KIND whose readiness probe fails is never Ready, and not restarted",
        upstream: "with readiness probe that fails should never be ready and never restart",
        container: || probed("sleep 600", json!({ "readinessProbe": probe(run("append /seen x; exit 1"), 1) })),
        spec: nothing,
        fate: Fate::Unready,
    },
    Case {
        id: "local-redirect",
        title: "The kubelet follows redirects to the pod itself: it restarts KIND that is unhealthy behind one",
        upstream: "should be restarted with a local redirect http liveness probe",
        container: || {
            let live = probe(get("/redirect?loc=%2Fhealthz"), 2);
            probed("serve --unhealthy-after 3", json!({ "livenessProbe": live }))
        },
        spec: nothing,
        fate: Fate::Restarted,
    },
    Case {
        id: "startup-fails",
        title: "The kubelet restarts KIND whose startup probe fails too often",
        upstream: "should be restarted startup probe fails",
        container: || {
            let probes = json!({ "livenessProbe": probe(run("echo ok"), 1), "startupProbe": probe(run("exit 1"), 3) });
            probed("sleep 600", probes)
        },
        spec: nothing,
        fate: Fate::Restarted,
    },
    Case {
        id: "startup-delays",
        title: "Liveness probes do not begin before KIND has started: it is not restarted",
        upstream: "should *not* be restarted by liveness probe because startup probe delays it",
        container: || {
            let probes = json!({ "livenessProbe": probe(run("exit 1"), 1),
                "startupProbe": probe(run("append /seen x; exit 1"), 300) });
            probed("sleep 600", probes)
        },
        spec: nothing,
        fate: Fate::Unready,
    },
    Case {
        id: "startup-enables",
        title: "Liveness probes begin when KIND has started: it is restarted",
        upstream: "should be restarted by liveness probe after startup probe enables it",
        container: || {
            let probes =
                json!({ "livenessProbe": probe(run("exit 1"), 1), "startupProbe": probe(run("test /startup"), 60) });
            probed("sleep 2; write /startup ok; sleep 600", probes)
        },
        spec: nothing,
        fate: Fate::Restarted,
    },
    Case {
        id: "liveness-grace",
        title: "The grace period of a liveness probe is that with which KIND is ended",
        upstream: "should override timeoutGracePeriodSeconds when LivenessProbe field is set",
        container: || {
            let live = super::merged(probe(get("/healthz"), 1), json!({ "terminationGracePeriodSeconds": 2 }));
            probed("sleep 1000", json!({ "livenessProbe": live }))
        },
        // The first process of a container ignores SIGTERM by default.
        spec: || json!({ "terminationGracePeriodSeconds": 500 }),
        fate: Fate::Restarted,
    },
    Case {
        id: "startup-grace",
        title: "The grace period of a startup probe is that with which KIND is ended",
        upstream: "should override timeoutGracePeriodSeconds when StartupProbe field is set",
        container: || {
            let start = super::merged(probe(run("test /startup"), 1), json!({ "terminationGracePeriodSeconds": 2 }));
            probed("sleep 1000", json!({ "startupProbe": start, "livenessProbe": probe(run("echo ok"), 1) }))
        },
        spec: || json!({ "terminationGracePeriodSeconds": 500 }),
        fate: Fate::Restarted,
    },
    Case {
        id: "grpc-succeeds",
        title: "The kubelet does not restart KIND whose gRPC liveness probe succeeds",
        upstream: "should *not* be restarted with a GRPC liveness probe",
        container: || {
            let probes = json!({ "livenessProbe": probe(json!({ "grpc": { "port": 5000 } }), 5),
                "readinessProbe": seen("grpc") });
            probed("serve --grpc 5000", probes)
        },
        spec: nothing,
        fate: Fate::Survives,
    },
    Case {
        id: "grpc-fails",
        title: "The kubelet restarts KIND whose gRPC liveness probe finds no server",
        upstream: "should be restarted with a GRPC liveness probe",
        container: || {
            let live = probe(json!({ "grpc": { "port": 2333 } }), 1);
            probed("serve --grpc 5000", json!({ "livenessProbe": live }))
        },
        spec: nothing,
        fate: Fate::Restarted,
    },
    Case {
        id: "grpc-not-serving",
        title: "The kubelet restarts KIND whose gRPC liveness probe is answered NOT_SERVING",
        upstream: "",
        container: || {
            let live = probe(json!({ "grpc": { "port": 5000 } }), 2);
            probed("serve --grpc 5000 --unhealthy-after 3", json!({ "livenessProbe": live }))
        },
        spec: nothing,
        fate: Fate::Restarted,
    },
];

pub(super) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for place in [Place::Main, Place::Sidecar] {
        let (id, kind, upstream) = place.names();
        let sentence = |title: &str| {
            let title = title.replace("KIND", kind);
            title[..1].to_uppercase() + &title[1..]
        };
        for case in CASES {
            let claim =
                AREA.claim(&format!("{id}.{}", case.id), sentence(case.title), move |ctx| one(ctx, place, case));
            let claim =
                if case.upstream.is_empty() { claim } else { claim.covers(&format!("{upstream} {}", case.upstream)) };
            trials.push(claim.trial());
        }
        let more = |part: &str, title: &str, words: &[&str], claim: fn(Ctx, Place) -> super::Body| {
            let claim = AREA.claim(&format!("{id}.{part}"), sentence(title), move |ctx| claim(ctx, place));
            words.iter().fold(claim, |claim, words| claim.covers(&format!("{upstream} {words}")))
        };
        trials.extend([
            more(
                "non-local-redirect",
                "The kubelet does not follow redirects to elsewhere, says so, and does not restart KIND",
                &["should *not* be restarted with a non-local redirect http liveness probe"],
                |ctx, place| Box::pin(elsewhere(ctx, place)),
            )
            .trial(),
            more(
                "restart-count",
                "The restart count of KIND only grows",
                &["should have monotonically increasing restart count"],
                |ctx, place| Box::pin(counted(ctx, place)),
            )
            .limit(Duration::from_mins(12))
            .trial(),
            more(
                "initial-delay",
                "KIND is not Ready before the initial delay of its readiness probe",
                &["with readiness probe should not be ready before initial delay and never restart"],
                |ctx, place| Box::pin(delayed(ctx, place)),
            )
            .trial(),
            more(
                "ready-after-startup",
                "The first readiness probe of KIND comes right after it has started, not a period later",
                &["should be ready immediately after startupProbe succeeds"],
                |ctx, place| Box::pin(at_once(ctx, place)),
            )
            .trial(),
            more(
                "terminating-unready",
                "KIND that ends becomes unready by its readiness probe while it ends",
                &["should mark readiness on pods to false while pod is in progress of terminating when a pod \
                   has a readiness probe"],
                |ctx, place| Box::pin(terminating(ctx, place, false)),
            )
            .trial(),
            more(
                "terminating-without-liveness",
                "The kubelet stops liveness probes of KIND that ends, and keeps readiness probes",
                &["should mark readiness on pods to false and disable liveness probes while pod is in \
                   progress of terminating"],
                |ctx, place| Box::pin(terminating(ctx, place, true)),
            )
            .trial(),
        ]);
    }
    trials
}

fn restarted() -> Condition {
    container_is("was restarted", PROBED, |status| status["restartCount"].as_u64() >= Some(1))
}

async fn one(ctx: Ctx, place: Place, case: &Case) -> Result<(), Stop> {
    let pod = place.pod((case.container)(), (case.spec)());
    ctx.put(&pod).await?;
    match case.fate {
        Fate::Restarted => {
            let pod = ctx.until_pod("probed", &restarted(), Duration::from_secs(150)).await?;
            let last = &status_of(&pod, PROBED)["lastState"]["terminated"];
            ctx.expect("probed", "its last state is terminated", &last.is_object(), &true);
            ctx.until_event("probed", "Unhealthy", "").await?;
        }
        Fate::Survives => {
            let ready = container_is("is ready", PROBED, |status| status["ready"] == true);
            let pod = ctx.until_pod("probed", &ready, Duration::from_secs(150)).await?;
            counted_probes(&ctx, &pod).await?;
            ctx.expect("probed", "its restart count", &status_of(&pod, PROBED)["restartCount"].as_u64(), &Some(0));
        }
        Fate::Unready => {
            let runs = container_is("runs", PROBED, |status| status["state"]["running"].is_object());
            ctx.until_pod("probed", &runs, Duration::from_secs(120)).await?;
            ctx.until_exec("probed", PROBED, &format!("has-lines /seen {}", PROBES / 2)).await?;
            let pod = ctx.get(&ctx.pod("probed")).await?;
            let status = status_of(&pod, PROBED);
            ctx.expect("probed", "it is ready", &status["ready"].as_bool(), &Some(false));
            ctx.expect("probed", "its restart count", &status["restartCount"].as_u64(), &Some(0));
            let ready = Condition::is("Ready").test(&pod).is_ok();
            ctx.expect("probed", "the pod is Ready", &ready, &false);
        }
    }
    Ok(())
}

/// A container that is Ready has counted its probes: the condition of its readiness probe is asked for once more.
async fn counted_probes(ctx: &Ctx, pod: &Value) -> Result<(), Stop> {
    let lists = ["containers", "initContainers"].map(|list| pod["spec"][list].as_array().cloned().unwrap_or_default());
    let container = lists.into_iter().flatten().find(|one| one["name"] == PROBED).unwrap_or_default();
    let ready = &container["readinessProbe"];
    let script = match (ready["httpGet"]["path"].as_str(), ready["exec"]["command"].as_array()) {
        (Some(path), _) => format!("dial http://127.0.0.1:8080{path}"),
        (_, Some(command)) => command.last().and_then(Value::as_str).unwrap_or_default().to_owned(),
        _ => return Err(Stop::breach("probed", "the pod's readiness probe is gone")),
    };
    let done = ctx.exec("probed", PROBED, &script).await?;
    ctx.expect("probed", "the exit code of counting its probes", &done.code, &Some(0));
    Ok(())
}

async fn elsewhere(ctx: Ctx, place: Place) -> Result<(), Stop> {
    let live = probe(get("/redirect?loc=http%3A%2F%2F0.0.0.0%2F"), 1);
    let container = probed(
        "serve",
        json!({ "livenessProbe": super::merged(live, json!({ "initialDelaySeconds": 2 })),
            "readinessProbe": seen("/redirect") }),
    );
    let pod = ctx.ready(&place.pod(container, json!({}))).await?;
    ctx.expect("probed", "its restart count", &status_of(&pod, PROBED)["restartCount"].as_u64(), &Some(0));
    let message = ctx.until_event("probed", "ProbeWarning", "Probe terminated redirects").await?;
    ctx.prints("the event", &message, "Response body: <a href=\"http://0.0.0.0/\">Found</a>.");
    Ok(())
}

async fn counted(ctx: Ctx, place: Place) -> Result<(), Stop> {
    let container = probed("serve --unhealthy-after 2", json!({ "livenessProbe": probe(get("/healthz"), 1) }));
    ctx.put(&place.pod(container, json!({}))).await?;
    ctx.until_pod("probed", &restarted(), Duration::from_secs(150)).await?;
    let counts = Arc::new(Mutex::new(Vec::new()));
    let seen = counts.clone();
    let often = container_is("was restarted five times", PROBED, move |status| {
        let count = status["restartCount"].as_u64().unwrap_or_default();
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(count);
        count >= 5
    });
    ctx.until_pod("probed", &often, Duration::from_mins(11)).await?;
    let counts = counts.lock().unwrap_or_else(PoisonError::into_inner).clone();
    ctx.expect("probed", "its restart counts only grow", &counts.is_sorted(), &true);
    ctx.evidence("restart counts", format!("{counts:?}"));
    Ok(())
}

fn time(value: &Value) -> Result<jiff::Timestamp, Stop> {
    let text = value.as_str().unwrap_or_default();
    text.parse().map_err(|_| Stop::breach("probed", format!("'{text}' is no time")))
}

async fn delayed(ctx: Ctx, place: Place) -> Result<(), Stop> {
    let ready = super::merged(probe(get("/readyz"), 5), json!({ "initialDelaySeconds": 6 }));
    let pod = ctx.ready(&place.pod(probed("serve", json!({ "readinessProbe": ready })), json!({}))).await?;
    let status = status_of(&pod, PROBED);
    let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let condition = conditions.iter().find(|one| one["type"] == "Ready").cloned().unwrap_or_default();
    let waited = time(&condition["lastTransitionTime"])? - time(&status["state"]["running"]["startedAt"])?;
    if waited.get_seconds() < 6 {
        ctx.breach("probed", format!("it became Ready {waited:#} after its start; its initial delay is 6 s"));
    }
    // A pod may be late for other reasons: its probe was asked, too.
    let asked = ctx.exec("probed", PROBED, "dial http://127.0.0.1:8080/seen?path=/readyz").await?;
    ctx.expect("probed", "the exit code of counting its readiness probes", &asked.code, &Some(0));
    ctx.expect("probed", "its restart count", &status["restartCount"].as_u64(), &Some(0));
    Ok(())
}

async fn at_once(ctx: Ctx, place: Place) -> Result<(), Stop> {
    let ready = super::merged(probe(run("test /health"), 3), json!({ "periodSeconds": 40 }));
    let probes = json!({ "startupProbe": probe(run("test /startup"), 120), "readinessProbe": ready });
    let container = probed("write /health ok; wait-file /go; write /startup ok; sleep 600", probes);
    ctx.put(&place.pod(container, json!({}))).await?;
    let runs = container_is("runs", PROBED, |status| status["state"]["running"].is_object());
    let pod = ctx.until_pod("probed", &runs, Duration::from_secs(120)).await?;
    ctx.expect("probed", "it has started", &status_of(&pod, PROBED)["started"].as_bool(), &Some(false));
    ctx.until_exec("probed", PROBED, "write /go yes").await?;
    let started = container_is("has started", PROBED, |status| status["started"] == true);
    ctx.until_pod("probed", &started, Duration::from_secs(120)).await?;
    // A probe a period later would come after 40 s.
    ctx.until_pod("probed", &Condition::is("Ready"), Duration::from_secs(35)).await.map(drop)
}

async fn terminating(ctx: Ctx, place: Place, liveness: bool) -> Result<(), Stop> {
    let mut probes = json!({ "readinessProbe": probe(run("test /ready"), 1) });
    if liveness {
        probes["livenessProbe"] = probe(run("test /ready"), 1);
        probes["startupProbe"] = probe(run("test /ready"), 60);
    }
    let container = probed("write /ready ok; until-term; rm /ready; sleep 12; echo ended", probes);
    let pod = place.pod(container, json!({ "terminationGracePeriodSeconds": 40 }));
    ctx.ready(&pod).await?;
    ctx.delete(&ctx.pod("probed"), None).await?;
    let unready = Condition::new("ends, runs still and is not Ready", |pod: &Value| {
        let ready = Condition::is("Ready").test(pod).is_ok();
        let runs = status_of(pod, PROBED)["state"]["running"].is_object();
        match pod["metadata"]["deletionTimestamp"].is_string() && runs && !ready {
            true => Ok(()),
            false => Err(format!("Ready is {ready}; it runs: {runs}")),
        }
    });
    ctx.until_pod("probed", &unready, Duration::from_secs(60)).await?;
    ctx.until_gone(&ctx.pod("probed"), Duration::from_secs(90)).await?;
    let events = Ref { namespace: Some(ctx.namespace().to_owned()), ..Ref::all("v1", "Event") };
    let events = ctx.list(&events).await?;
    let about = |start: &str| {
        let all = events.iter().filter(|event| event["message"].as_str().is_some_and(|text| text.contains(start)));
        all.map(|event| event["count"].as_u64().unwrap_or(1)).sum::<u64>()
    };
    ctx.expect("probed", "it was restarted for a liveness probe", &(about("failed liveness probe") > 0), &false);
    // One may be under way when the pod is deleted; in twelve seconds there would be a dozen.
    if about("Liveness probe failed") > 2 {
        ctx.breach("probed", format!("{} liveness probes failed while it ended", about("Liveness probe failed")));
    }
    Ok(())
}
