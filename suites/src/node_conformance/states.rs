//! How containers end: restart policies, init containers, restart rules, termination messages.

use std::time::Duration;

use serde_json::{Value, json};

use super::upstream::Covers as _;
use super::{Area, merged};
use crate::cluster::{Condition, Ctx, Pod, Requirement, Stop, container, container_is, status_of};
use crate::trial::Trial;

const AREA: Area = Area {
    id: "restarts",
    caught_by: "restarts-are-forced",
    why: "Jobs that run twice, servers that stay down and init containers that are skipped are all failures of this.",
    how: "Runs a pod whose containers end with known exit codes, and compares phase, states, restarts and order.",
    fix: "Look into the kubelet's log for the pod's name, and whether a policy or a webhook changes pods.",
    basis: ("Pod Lifecycle", "https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/"),
};

const INIT: Area = Area { caught_by: "init-containers-are-stripped", ..AREA };
/// What is restarted only by its own rules.
const RULES_OF: Area = Area { caught_by: "restarts-are-forbidden", ..AREA };

const MESSAGES: Area = Area {
    id: "messages",
    caught_by: "runtime-loses-mounts",
    why: "The termination message is what an operator sees of a container that is gone.",
    how: "Runs a container that writes a message and ends, and reads the message in its status.",
    fix: "Look into the kubelet's log for 'termination message'.",
    basis: (
        "Determine the Reason for Pod Failure",
        "https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/",
    ),
};

/// How long crash loops take, with their back-off.
const LOOPS: Duration = Duration::from_mins(6);

pub(super) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        AREA.claim("policies", "Always, OnFailure and Never restart what they say, and no more", policies)
            .limit(LOOPS)
            .covers(
                "Container Runtime blackbox test when starting a container that exits should run with the \
                     expected status",
            )
            .trial(),
    ];
    trials.extend(init());
    trials.extend(rules());
    trials.extend(messages());
    trials
}

async fn policies(ctx: Ctx) -> Result<(), Stop> {
    // The first run ends with 1, the second with 0, the third goes on.
    let rows = [("Always", "Running", 2, true), ("OnFailure", "Succeeded", 1, false), ("Never", "Failed", 0, false)];
    for (policy, ..) in rows {
        let pod = Pod::new(&policy.to_lowercase(), "by-run /runs/list 1 0; sleep 600")
            .spec(json!({ "restartPolicy": policy }))
            .volume("runs", "/runs", json!({ "emptyDir": { "medium": "Memory" } }));
        ctx.put(&pod).await?;
    }
    for (policy, phase, restarts, ready) in rows {
        let name = policy.to_lowercase();
        let right = Condition::field("/status/phase", phase).and(container_is(
            "was restarted as often",
            "main",
            move |status| status["restartCount"] == restarts && status["ready"] == ready,
        ));
        let pod = ctx.until_pod(&name, &right, Duration::from_secs(150)).await?;
        let state = if ready { "running" } else { "terminated" };
        ctx.expect(policy, "its state", &status_of(&pod, "main")["state"][state].is_object(), &true);
        ctx.delete(&ctx.pod(&name), None).await?;
        ctx.until_gone(&ctx.pod(&name), Duration::from_secs(60)).await?;
    }
    Ok(())
}

fn init() -> Vec<Trial> {
    vec![
        INIT.claim(
            "init-never",
            "Init containers run in order, to their end, before the containers of a pod \
                                  that is not restarted",
            |ctx| initialized(ctx, "Never"),
        )
        .covers("InitContainer should invoke init containers on a RestartNever pod")
        .trial(),
        INIT.claim(
            "init-always",
            "Init containers run in order, to their end, before the containers of a pod \
                                   that is restarted",
            |ctx| initialized(ctx, "Always"),
        )
        .covers("InitContainer should invoke init containers on a RestartAlways pod")
        .trial(),
        INIT.claim(
            "init-fails-never",
            "A failing init container fails a pod that is not restarted, and its \
                                        containers do not start",
            |ctx| async move {
                let pod = Pod::new("init", "echo started")
                    .init(container("first", "exit 0"))
                    .init(container("second", "exit 3"));
                ctx.put(&pod.init(container("third", "exit 0"))).await?;
                let pod = ctx.ended("init").await?;
                ctx.expect("init", "its phase", &pod["status"]["phase"].as_str(), &Some("Failed"));
                let code = &status_of(&pod, "second")["state"]["terminated"]["exitCode"];
                ctx.expect("second", "its exit code", &code.as_i64(), &Some(3));
                for name in ["third", "main"] {
                    let waiting = status_of(&pod, name)["state"]["waiting"]["reason"].as_str();
                    ctx.expect(name, "it waits for", &waiting, &Some("PodInitializing"));
                }
                Ok(())
            },
        )
        .covers(
            "InitContainer should not start app containers and fail the pod if init containers fail on a \
                 RestartNever pod",
        )
        .trial(),
        INIT.claim(
            "init-fails-always",
            "A failing init container is tried again, and the pod's containers \
                                         wait for it",
            |ctx| async move {
                let pod = Pod::new("init", "sleep 600").spec(json!({ "restartPolicy": "Always" }));
                ctx.put(&pod.init(container("first", "exit 1")).init(container("second", "exit 0"))).await?;
                let again =
                    container_is("was tried three times", "first", |status| status["restartCount"].as_u64() >= Some(2));
                let pod = ctx.until_pod("init", &again, Duration::from_secs(150)).await?;
                ctx.expect("init", "its phase", &pod["status"]["phase"].as_str(), &Some("Pending"));
                for name in ["second", "main"] {
                    let status = status_of(&pod, name);
                    ctx.expect(
                        name,
                        "it waits for",
                        &status["state"]["waiting"]["reason"].as_str(),
                        &Some("PodInitializing"),
                    );
                    ctx.expect(name, "its restart count", &status["restartCount"].as_u64(), &Some(0));
                }
                ctx.expect("init", "it is Initialized", &Condition::is("Initialized").test(&pod).is_ok(), &false);
                Ok(())
            },
        )
        .limit(LOOPS)
        .covers("InitContainer should not start app containers if init containers fail on a RestartAlways pod")
        .trial(),
        INIT.claim(
            "sidecar-order",
            "A sidecar starts before the containers and ends after them, and does not \
                                     keep the pod",
            |ctx| async move {
                let sidecar = merged(
                    container(
                        "sidecar",
                        "append /log/list sidecar-started; write /log/up yes; \
                                                       until-term; append /log/list sidecar-ended",
                    ),
                    json!({
                        "restartPolicy": "Always",
                        "volumeMounts": [{ "name": "log", "mountPath": "/log" }],
                        "startupProbe": { "exec": { "command": ["/seaworthy", "workload", "do", "test /log/up"] },
                            "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 60 },
                    }),
                );
                let pod = Pod::new(
                    "order",
                    "append /log/list main-started; append /log/list main-ended; cat \
                                         /log/list",
                )
                .init(sidecar);
                let pod = pod
                    .volume("log", "/log", json!({ "emptyDir": {} }))
                    .spec(json!({ "terminationGracePeriodSeconds": 30 }));
                let printed = ctx.output(&pod).await?;
                let lines: Vec<_> = printed.lines().collect();
                ctx.expect("order", "the order", &lines, &vec!["sidecar-started", "main-started", "main-ended"]);
                let pod = ctx.get(&ctx.pod("order")).await?;
                let code = status_of(&pod, "sidecar")["state"]["terminated"]["exitCode"].as_i64();
                ctx.expect("sidecar", "its exit code", &code, &Some(0));
                Ok(())
            },
        )
        .requires(Requirement::KubernetesFrom(29))
        .alias("SidecarContainers")
        .trial(),
    ]
}

async fn initialized(ctx: Ctx, policy: &'static str) -> Result<(), Stop> {
    let with = |name: &str, script: &str| {
        merged(container(name, script), json!({ "volumeMounts": [{ "name": "log", "mountPath": "/log" }] }))
    };
    let last = if policy == "Always" { "sleep 600" } else { "exit 0" };
    let pod = Pod::new("init", &format!("append /log/list main; cat /log/list; {last}"))
        .init(with("first", "append /log/list first"))
        .init(with("second", "append /log/list second"))
        .volume("log", "/log", json!({ "emptyDir": {} }))
        .spec(json!({ "restartPolicy": policy }));
    ctx.put(&pod).await?;
    let pod = if policy == "Always" {
        ctx.until_pod("init", &Condition::is("Ready"), Duration::from_secs(120)).await?
    } else {
        ctx.ended("init").await?
    };
    let printed = ctx.logs("init", "main").await?;
    let lines: Vec<_> = printed.lines().collect();
    ctx.expect("init", "the order", &lines, &vec!["first", "second", "main"]);
    let phase = if policy == "Always" { "Running" } else { "Succeeded" };
    ctx.expect("init", "its phase", &pod["status"]["phase"].as_str(), &Some(phase));
    ctx.expect("init", "it is Initialized", &Condition::is("Initialized").test(&pod).is_ok(), &true);
    for name in ["first", "second"] {
        let status = status_of(&pod, name);
        ctx.expect(name, "its exit code", &status["state"]["terminated"]["exitCode"].as_i64(), &Some(0));
        ctx.expect(name, "it is ready", &status["ready"].as_bool(), &Some(true));
    }
    // Upstream watches that it is never restarted under Never.
    ctx.expect("main", "its restart count", &status_of(&pod, "main")["restartCount"].as_u64(), &Some(0));
    Ok(())
}

/// A row about restart rules: id, title, words of upstream, the pod's policy, fields of the container, is it restarted?
struct Rule(&'static str, &'static str, &'static str, &'static str, fn() -> Value, &'static str, bool);

fn on_42(action: &str) -> Value {
    let codes = json!({ "operator": "In", "values": [42] });
    json!({ "restartPolicy": "Never", "restartPolicyRules": [{ "action": action, "exitCodes": codes }] })
}

const RULES: [Rule; 5] = [
    Rule(
        "rule-matches",
        "A restart rule that matches the exit code restarts a container that is never restarted otherwise",
        "should restart container on rule match",
        "Never",
        || on_42("Restart"),
        "exit 42",
        true,
    ),
    Rule(
        "rule-does-not-match",
        "A restart rule that does not match the exit code restarts nothing",
        "should not restart container on rule mismatch, container restart policy Never",
        "Never",
        || on_42("Restart"),
        "exit 1",
        false,
    ),
    Rule(
        "container-never",
        "The restart policy Never of a container prevails over Always of its pod",
        "should restart container on container-level restart policy Never",
        "Always",
        || json!({ "restartPolicy": "Never" }),
        "exit 1",
        false,
    ),
    Rule(
        "container-always",
        "The restart policy Always of a container prevails over Never of its pod",
        "should restart container on container-level restart policy Always",
        "Never",
        || json!({ "restartPolicy": "Always" }),
        "exit 1",
        true,
    ),
    Rule(
        "pod-always",
        "The restart policy of the pod holds for a container without one",
        "should restart container on pod-level restart policy Always when no container-level restart policy",
        "Always",
        || json!({}),
        "exit 1",
        true,
    ),
];

fn rules() -> Vec<Trial> {
    let prefix = "Pod Extended (container restart policy) Container Restart Rules";
    let mut trials: Vec<_> = RULES
        .iter()
        .map(|rule| {
            let area = if rule.6 { RULES_OF } else { AREA };
            area.claim(rule.0, rule.1, move |ctx| async move {
                ctx.put(&Pod::new("ruled", rule.5).spec(json!({ "restartPolicy": rule.3 })).main((rule.4)())).await?;
                if rule.6 {
                    let again =
                        container_is("was restarted", "main", |status| status["restartCount"].as_u64() >= Some(1));
                    return ctx.until_pod("ruled", &again, Duration::from_secs(150)).await.map(drop);
                }
                let pod = ctx.ended("ruled").await?;
                ctx.expect("ruled", "its phase", &pod["status"]["phase"].as_str(), &Some("Failed"));
                ctx.expect("ruled", "its restart count", &status_of(&pod, "main")["restartCount"].as_u64(), &Some(0));
                Ok(())
            })
            .limit(LOOPS)
            .requires(Requirement::KubernetesFrom(35))
            .covers(&format!("{prefix} {}", rule.2))
            .trial()
        })
        .collect();
    let prefix = "Pod Extended (RestartAllContainers) RestartAllContainers";
    for (id, title, words, source) in [
        (
            "all-by-container",
            "A container may have all containers of its pod restarted",
            "should restart all containers on regular container exit",
            Source::Container,
        ),
        (
            "all-by-sidecar",
            "A sidecar may have all containers of its pod restarted",
            "should restart all containers on sidecar container exit",
            Source::Sidecar,
        ),
        (
            "all-by-init",
            "An init container may have itself and those before it restarted",
            "should restart init and sidecar containers on init container exit",
            Source::Init,
        ),
        (
            "all-after-restart",
            "A container that was restarted may have all containers of its pod restarted",
            "should restart all containers on a previously restarted regular container exit",
            Source::Restarted,
        ),
    ] {
        trials.push(
            RULES_OF
                .claim(id, title, move |ctx| all(ctx, source))
                .limit(LOOPS)
                .requires(Requirement::KubernetesFrom(36))
                .covers(&format!("{prefix} {words}"))
                .trial(),
        );
    }
    trials
}

/// Which container has all the others restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Container,
    Sidecar,
    Init,
    Restarted,
}

async fn all(ctx: Ctx, source: Source) -> Result<(), Stop> {
    let always = |object: Value| merged(object, json!({ "restartPolicy": "Always" }));
    let cause = |script: &str| {
        let mounts = json!({ "volumeMounts": [{ "name": "work", "mountPath": "/work" }] });
        merged(merged(container("cause", script), mounts), on_42("RestartAllContainers"))
    };
    let pod = Pod::new("all", "write /work/up yes; sleep 600").volume("work", "/work", json!({ "emptyDir": {} }));
    let pod = pod.init(container("init", "exit 0")).init(always(container("sidecar", "sleep 600")));
    let pod = match source {
        Source::Container => pod.and(cause("by-run /work/runs 42; sleep 600")),
        // Restarted by itself first, and then the cause.
        Source::Restarted => {
            let rules = json!([
                { "action": "Restart", "exitCodes": { "operator": "In", "values": [41] } },
                { "action": "RestartAllContainers", "exitCodes": { "operator": "In", "values": [42] } },
            ]);
            pod.and(merged(cause("by-run /work/runs 41 42; sleep 600"), json!({ "restartPolicyRules": rules })))
        }
        // Once the other container is up, so that there is something to restart.
        Source::Sidecar => pod.init(always(cause("wait-file /work/up; by-run /work/runs 42; sleep 600"))),
        Source::Init => pod.init(cause("by-run /work/runs 42; exit 0")),
    };
    ctx.put(&pod.spec(json!({ "restartPolicy": "Never" }))).await?;
    let mut names = vec!["init", "sidecar", "cause"];
    if source != Source::Init {
        names.push("main");
    }
    let often = if source == Source::Restarted { 2 } else { 1 };
    for name in names {
        let least = if name == "cause" { often } else { 1 };
        let again = container_is("was restarted", name, move |status| status["restartCount"].as_u64() >= Some(least));
        ctx.until_pod("all", &again, Duration::from_secs(150)).await?;
    }
    let runs = container_is("runs", "main", |status| status["state"]["running"].is_object());
    ctx.until_pod("all", &runs, Duration::from_secs(120)).await.map(drop)
}

/// A row about termination messages: id, title, words of upstream, script, fields, phase, message.
struct Message(&'static str, &'static str, &'static str, &'static str, fn() -> Value, &'static str, &'static str);

const ROWS: [Message; 5] = [
    Message(
        "file",
        "What a container writes to terminationMessagePath is its message",
        "should report termination message if TerminationMessagePath is set",
        "write /dev/termination-log DONE",
        || json!({ "terminationMessagePath": "/dev/termination-log", "securityContext": { "runAsUser": 0 } }),
        "Succeeded",
        "DONE",
    ),
    Message(
        "file-non-root",
        "A user other than root writes its message, at another path",
        "should report termination message if TerminationMessagePath is set as non-root user and at a non-default path",
        "write /dev/termination-custom-log DONE",
        || {
            let path = "/dev/termination-custom-log";
            json!({ "terminationMessagePath": path, "securityContext": { "runAsUser": 10000 } })
        },
        "Succeeded",
        "DONE",
    ),
    Message(
        "log-on-error",
        "With FallbackToLogsOnError the log of a failing container is its message",
        "should report termination message from log output if TerminationMessagePolicy FallbackToLogsOnError is set",
        "print DONE; exit 1",
        || json!({ "terminationMessagePolicy": "FallbackToLogsOnError" }),
        "Failed",
        "DONE",
    ),
    Message(
        "empty-on-success",
        "With FallbackToLogsOnError a container that succeeds has no message",
        "should report termination message as empty when pod succeeds and TerminationMessagePolicy \
         FallbackToLogsOnError is set",
        "print DONE; try cat /dev/termination-log",
        || json!({ "terminationMessagePolicy": "FallbackToLogsOnError" }),
        "Succeeded",
        "",
    ),
    Message(
        "file-before-log",
        "With FallbackToLogsOnError a message in the file is preferred to the log",
        "should report termination message from file when pod succeeds and TerminationMessagePolicy \
         FallbackToLogsOnError is set",
        "write /dev/termination-log OK; echo DONE",
        || json!({ "terminationMessagePolicy": "FallbackToLogsOnError" }),
        "Succeeded",
        "OK",
    ),
];

fn messages() -> Vec<Trial> {
    let prefix = "Container Runtime blackbox test on terminated container";
    let trial = |row: &'static Message| {
        // These do not depend on the file.
        let caught_by = match row.0 {
            "log-on-error" => "messages-are-of-files",
            "empty-on-success" => "restarts-are-forced",
            _ => MESSAGES.caught_by,
        };
        let area = Area { caught_by, ..MESSAGES };
        area.claim(row.0, row.1, move |ctx| async move {
            ctx.put(&Pod::new("message", row.3).main((row.4)())).await?;
            let pod = ctx.ended("message").await?;
            ctx.expect("message", "its phase", &pod["status"]["phase"].as_str(), &Some(row.5));
            let state = &status_of(&pod, "main")["state"]["terminated"];
            ctx.expect("message", "its message", &state["message"].as_str().unwrap_or_default(), &row.6);
            Ok(())
        })
        .covers(&format!("{prefix} {}", row.2))
        .trial()
    };
    ROWS.iter().map(trial).collect()
}
