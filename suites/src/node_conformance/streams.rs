//! What goes over the kubelet's streaming server: commands, attached streams, forwarded ports, logs; and ephemeral
//! containers.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::Area;
use super::upstream::Covers as _;
use crate::cluster::{Condition, Ctx, Pod, Requirement, Stop, container_is};
use crate::trial::Trial;

const AREA: Area = Area {
    id: "streams",
    caught_by: "no-debugging-handlers",
    why: "kubectl exec, attach, port-forward, logs and debug are how people look into pods; tools that copy \
          files use them, too.",
    how: "Runs a pod and uses the subresource over WebSockets, through the API server, as kubectl does.",
    fix: "Look at enableDebuggingHandlers of the kubelet, the API server's --kubelet-preferred-address-types \
    and client \
          certificate, and the firewall between them (port 10250).",
    basis: (
        "Get a Shell to a Running Container",
        "https://kubernetes.io/docs/tasks/debug/debug-application/get-shell-running-container/",
    ),
};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        AREA.claim("exec", "A command runs in a container, and its output and exit code come back", |ctx| async move {
            ctx.running(&sleeping()).await?;
            let done = ctx.exec("pod", "main", "echo remote execution test; complain to the error").await?;
            ctx.expect("exec", "its standard output", &done.out.as_str(), &"remote execution test\n");
            ctx.expect("exec", "its standard error", &done.err.as_str(), &"to the error\n");
            ctx.expect("exec", "its exit code", &done.code, &Some(0));
            let done = ctx.exec("pod", "main", "exit 42").await?;
            ctx.expect("exec", "the exit code of a command that fails", &done.code, &Some(42));
            Ok(())
        })
        .covers("Pods should support remote command execution over websockets")
        .trial(),
        AREA.claim("exec-input", "A command reads what is sent to its standard input, and its end", |ctx| async move {
            ctx.running(&sleeping()).await?;
            let text = "line\n".repeat(20_000);
            let command = ["/seaworthy", "workload", "do", "copy-input"];
            let done = ctx.exec_program("pod", "main", &command, Some(&text)).await?;
            ctx.expect("exec", "how much comes back", &done.out.len(), &text.len());
            ctx.expect("exec", "it is what was sent", &(done.out == text), &true);
            Ok(())
        })
        .alias("kubectl cp")
        .trial(),
        AREA.claim("exec-missing", "A command that is not in the image is an error that says so", |ctx| async move {
            ctx.running(&sleeping()).await?;
            let done = ctx.exec_program("pod", "main", &["/no/such/program"], None).await;
            match done {
                Ok(done) => ctx.expect("exec", "it ends well", &(done.code == Some(0)), &false),
                Err(Stop::Breached(findings)) => {
                    let text: String = findings.iter().map(|finding| finding.message.clone()).collect();
                    ctx.prints("exec", &text, "/no/such/program");
                }
                Err(stop) => return Err(stop),
            }
            // The node does run commands.
            let done = ctx.exec("pod", "main", "echo yes").await?;
            ctx.expect("exec", "its standard output", &done.out.as_str(), &"yes\n");
            Ok(())
        })
        .alias("executable file not found")
        .trial(),
        AREA.claim(
            "attach",
            "An attached client writes to a container's standard input and reads its output",
            |ctx| async move {
                let pod = Pod::new("pod", "copy-input").main(json!({ "stdin": true }));
                ctx.running(&pod).await?;
                ctx.attach("pod", "main", Some("over the wire\n"), |seen| seen.contains("over the wire\n"))
                    .await
                    .map(drop)
            },
        )
        .alias("kubectl attach")
        .trial(),
        AREA.claim("port-forward", "A forwarded port reaches the server in a pod", |ctx| async move {
            ctx.ready(
                &Pod::new("pod", "serve")
                    .main(json!({ "readinessProbe": { "httpGet": { "path": "/readyz", "port": 8080 } } })),
            )
            .await?;
            let request = "GET /echo?msg=forwarded HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n";
            let answer = ctx.forward("pod", 8080, request).await?;
            ctx.expect("port-forward", "the status", &answer.lines().next(), &Some("HTTP/1.1 200 OK"));
            ctx.prints("port-forward", &answer, "forwarded");
            Ok(())
        })
        .alias("kubectl port-forward")
        .trial(),
        AREA.claim("logs-websocket", "The log of a container comes over a WebSocket", |ctx| async move {
            ctx.running(&Pod::new("pod", "echo container is alive; sleep 600")).await?;
            ctx.until_printed("pod", "main", "container is alive").await?;
            let text = ctx.log_by_websocket("pod", "main").await?;
            ctx.expect("the log", "its text", &text.as_str(), &"container is alive\n");
            Ok(())
        })
        .covers("Pods should support retrieving logs from the container over websockets")
        .trial(),
        AREA.claim(
            "logs-options",
            "tailLines, limitBytes and timestamps choose what of a log comes",
            |ctx| async move {
                ctx.put(&Pod::new("pod", "echo one; echo two; echo three")).await?;
                ctx.ended("pod").await?;
                for (query, wanted) in [("tailLines=1", "three\n"), ("limitBytes=5", "one\nt"), ("tailLines=0", "")] {
                    let text = log(&ctx, query).await?;
                    ctx.expect(query, "the log", &text.as_str(), &wanted);
                }
                let text = log(&ctx, "timestamps=true&tailLines=1").await?;
                let time = text.split(' ').next().unwrap_or_default().parse::<jiff::Timestamp>();
                ctx.expect("timestamps", "a line begins with a time", &time.is_ok(), &true);
                Ok(())
            },
        )
        .alias("kubectl logs --tail")
        .trial(),
        AREA.claim("logs-previous", "The log of a container before its restart can be read", |ctx| async move {
            let pod = Pod::new("pod", "by-run /runs/list; lines /runs/list; has-lines /runs/list 2; sleep 600")
                .spec(json!({ "restartPolicy": "Always" }))
                .volume("runs", "/runs", json!({ "emptyDir": {} }));
            ctx.put(&pod).await?;
            let again = container_is("runs again", "main", |status| {
                status["restartCount"] == 1 && status["state"]["running"].is_object()
            });
            ctx.until_pod("pod", &again, Duration::from_secs(120)).await?;
            ctx.until_logged("pod", "previous=true", "1").await?;
            ctx.until_printed("pod", "main", "2").await.map(drop)
        })
        .alias("kubectl logs --previous")
        .trial(),
        AREA.claim("logs-of-each", "Each container of a pod has a log of its own", |ctx| async move {
            let pod = Pod::new("pod", "echo of main").and(crate::cluster::container("other", "echo of other"));
            ctx.put(&pod).await?;
            ctx.ended("pod").await?;
            for name in ["main", "other"] {
                let text = ctx.logs("pod", name).await?;
                ctx.expect(name, "its log", &text, &format!("of {name}\n"));
            }
            Ok(())
        })
        .alias("kubectl logs -c")
        .trial(),
        AREA.claim("ephemeral", "An ephemeral container starts in a pod that runs", |ctx| async move {
            ctx.running(&sleeping()).await?;
            debug(&ctx, "debugger", "echo polo; sleep 600").await?;
            let done = ctx.exec("pod", "debugger", "echo marco").await?;
            ctx.expect("debugger", "what a command in it prints", &done.out.as_str(), &"marco\n");
            ctx.until_printed("pod", "debugger", "polo").await?;
            let pod = ctx.get(&ctx.pod("pod")).await?;
            // Since 1.33 the generation of a pod follows its spec.
            if ctx.target().facts.minor >= 35 {
                ctx.expect("pod", "its generation", &pod["metadata"]["generation"].as_i64(), &Some(2));
            }
            Ok(())
        })
        .covers("Ephemeral Containers will start an ephemeral container in an existing pod")
        .requires(Requirement::KubernetesFrom(25))
        .trial(),
        AREA.claim("ephemeral-second", "A second ephemeral container can be added, and both stay", |ctx| async move {
            ctx.running(&sleeping()).await?;
            debug(&ctx, "debugger", "echo polo; sleep 600").await?;
            ctx.until_printed("pod", "debugger", "polo").await?;
            let done = ctx.exec("pod", "debugger", "echo marco").await?;
            ctx.expect("debugger", "what a command in it prints", &done.out.as_str(), &"marco\n");
            let count = |pod: &Value| pod["spec"]["ephemeralContainers"].as_array().map(Vec::len);
            let pod = ctx.get(&ctx.pod("pod")).await?;
            ctx.expect("pod", "how many ephemeral containers it has", &count(&pod), &Some(1));
            debug(&ctx, "debugger2", "echo again; sleep 600").await?;
            ctx.until_printed("pod", "debugger2", "again").await?;
            let pod = ctx.get(&ctx.pod("pod")).await?;
            ctx.expect("pod", "how many ephemeral containers it has", &count(&pod), &Some(2));
            Ok(())
        })
        .covers("Ephemeral Containers should update the ephemeral containers in an existing pod")
        .requires(Requirement::KubernetesFrom(25))
        .trial(),
    ]
}

fn sleeping() -> Pod {
    Pod::new("pod", "sleep 600")
}

async fn log(ctx: &Ctx, query: &str) -> Result<String, Stop> {
    let path = format!("{}/log?{query}", ctx.pod("pod").path());
    let refused = |why| Stop::breach("pod", format!("the log ({query}) cannot be read: {why}"));
    ctx.text(Method::GET, &path).await?.map_err(refused)
}

/// Adds an ephemeral container and waits until it runs.
async fn debug(ctx: &Ctx, name: &'static str, script: &str) -> Result<(), Stop> {
    ctx.step(format!("add the ephemeral container {name}"));
    let pod = ctx.get(&ctx.pod("pod")).await?;
    let mut all = pod["spec"]["ephemeralContainers"].as_array().cloned().unwrap_or_default();
    let image = ctx.target().image.as_str();
    all.push(json!({ "name": name, "image": image, "args": ["do", script], "stdin": true, "tty": true }));
    let patch = json!({ "spec": { "ephemeralContainers": all } });
    let path = format!("{}/ephemeralcontainers", ctx.pod("pod").path());
    let patched = ctx.request(Method::PATCH, &path, Some(&patch)).await?;
    patched.map_err(|why| Stop::Undetermined(format!("add an ephemeral container: {why}")))?;
    let runs = container_is("runs", name, |status| status["state"]["running"].is_object());
    ctx.until_pod("pod", &runs, Duration::from_secs(120)).await?;
    ctx.until_pod("pod", &Condition::field("/status/phase", "Running"), Duration::from_secs(10)).await.map(drop)
}
