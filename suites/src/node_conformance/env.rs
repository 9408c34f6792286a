//! The environment of containers: from ConfigMaps, Secrets, the downward API, Services, and other variables.

use serde_json::{Value, json};

use super::upstream::Covers as _;
use super::{Area, quantity};
use crate::cluster::{Ctx, Pod, Ref, Stop};
use crate::trial::Trial;

const AREA: Area = Area {
    id: "env",
    caught_by: "runtime-loses-environment",
    why: "Programs that read their configuration from the environment start with none, or with that of another place.",
    how: "Runs a pod that prints its environment, and compares the variables with their sources.",
    fix: "Look into the kubelet's log for the container's start, and for a wrapper around the OCI runtime or \
          an NRI plug-in.",
    basis: (
        "Define Environment Variables for a Container",
        "https://kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-container/",
    ),
};

/// What of the environment becomes arguments.
const ARGUMENTS: Area = Area { caught_by: "runtime-loses-arguments", ..AREA };

/// An object with the keys data-1 to data-3, which a Secret takes as text, too.
fn data(kind: &str, name: &str) -> Value {
    let field = if kind == "Secret" { "stringData" } else { "data" };
    let mut object = json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": name } });
    object[field] = json!({ "data-1": "value-1", "data-2": "value-2", "data-3": "value-3" });
    object
}

pub(super) fn trials() -> Vec<Trial> {
    let mut trials = sources();
    trials.extend(downward());
    trials.extend(expansion());
    trials
}

fn sources() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (id, kind, reference, from, group) in [
        ("config-map", "ConfigMap", "configMapKeyRef", "configMapRef", "ConfigMap"),
        ("secret", "Secret", "secretKeyRef", "secretRef", "Secrets"),
    ] {
        let key = move |ctx: Ctx| async move {
            ctx.create(data(kind, "source")).await?;
            let one = |name: &str, key: &str, optional: bool| {
                json!({ "name": name,
                "valueFrom": { reference: { "name": "source", "key": key, "optional": optional } } })
            };
            let env = json!([one("DATA_1", "data-1", false), one("NONE", "no-such-key", true)]);
            let printed = ctx.output(&Pod::new("env", "env").main(json!({ "env": env }))).await?;
            ctx.line(kind, &printed, "DATA_1=value-1");
            if printed.lines().any(|line| line.starts_with("NONE=")) {
                ctx.breach(kind, "an optional key that is missing makes a variable");
            }
            Ok(())
        };
        trials.push(
            AREA.claim(&format!("{id}-key"), format!("A variable has the value of a key of a {kind}"), key)
                .covers_if_listed(&format!("{group} should be consumable via environment variable"))
                .covers_if_listed(&format!("{group} should be consumable from pods in env vars"))
                .trial(),
        );
        let all = move |ctx: Ctx| async move {
            ctx.create(data(kind, "source")).await?;
            let env = json!([{ from: { "name": "source" } }, { "prefix": "p-", from: { "name": "source" } }]);
            let printed = ctx.output(&Pod::new("env", "env").main(json!({ "envFrom": env }))).await?;
            for number in 1..=3 {
                for prefix in ["", "p-"] {
                    ctx.line(kind, &printed, &format!("{prefix}data-{number}=value-{number}"));
                }
            }
            Ok(())
        };
        trials.push(
            AREA.claim(
                &format!("{id}-all"),
                format!("All keys of a {kind} become variables, with a prefix where it is set"),
                all,
            )
            .covers(&format!("{group} should be consumable via the environment"))
            .trial(),
        );
    }
    trials.push(
        AREA.claim(
            "config-map-update",
            "A pod that starts after an update of a ConfigMap has the new values",
            |ctx| async move {
                ctx.create(data("ConfigMap", "source")).await?;
                let place = Ref::new("v1", "ConfigMap", ctx.namespace(), "source");
                let patched = ctx.try_patch(&place, &json!({ "data": { "data-1": "new", "data-2": null } })).await?;
                let patched = patched.map_err(|why| Stop::breach("source", format!("the update is refused: {why}")))?;
                ctx.expect("ConfigMap", "data", &patched["data"], &json!({ "data-1": "new", "data-3": "value-3" }));
                let read = ctx.get(&place).await?;
                ctx.expect("ConfigMap", "data when it is read", &read["data"], &patched["data"]);
                let env = json!([{ "configMapRef": { "name": "source" } }]);
                let printed = ctx.output(&Pod::new("env", "env").main(json!({ "envFrom": env }))).await?;
                ctx.line("ConfigMap", &printed, "data-1=new");
                Ok(())
            },
        )
        .covers("ConfigMap should update ConfigMap successfully")
        .trial(),
    );
    trials.push(
        AREA.claim("services", "A container has the variables of the Services that its namespace has", services)
            .covers("Pods should contain environment variables for services")
            .trial(),
    );
    trials
}

async fn services(ctx: Ctx) -> Result<(), Stop> {
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "fooservice" },
        "spec": { "ports": [{ "port": 8765, "targetPort": 8080 }], "selector": { "app": "server" } },
    });
    let made = ctx.create(service).await?;
    let ip = made["spec"]["clusterIP"].as_str().unwrap_or_default();
    let address = if ip.contains(':') { format!("[{ip}]:8765") } else { format!("{ip}:8765") };
    let wanted = [
        format!("FOOSERVICE_SERVICE_HOST={ip}"),
        "FOOSERVICE_SERVICE_PORT=8765".to_owned(),
        format!("FOOSERVICE_PORT=tcp://{address}"),
        "FOOSERVICE_PORT_8765_TCP_PORT=8765".to_owned(),
        "FOOSERVICE_PORT_8765_TCP_PROTO=tcp".to_owned(),
        format!("FOOSERVICE_PORT_8765_TCP=tcp://{address}"),
        format!("FOOSERVICE_PORT_8765_TCP_ADDR={ip}"),
    ];
    // The kubelet learns of Services by a watch: a pod that starts before has none of them.
    let mut printed = String::new();
    for attempt in 0..5 {
        let pod = Pod::new(&format!("env-{attempt}"), "env").spec(json!({ "enableServiceLinks": true }));
        printed = ctx.output(&pod).await?;
        if printed.contains("FOOSERVICE_") {
            break;
        }
    }
    wanted.iter().for_each(|line| ctx.line("fooservice", &printed, line));
    Ok(())
}

fn field(name: &str, path: &str) -> Value {
    json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } })
}

fn resource(name: &str, resource: &str) -> Value {
    json!({ "name": name, "valueFrom": { "resourceFieldRef": { "resource": resource } } })
}

/// Runs a pod with these variables; what it printed, and the pod.
async fn printed(ctx: &Ctx, env: Value, spec: Value) -> Result<(String, Value), Stop> {
    let printed = ctx.output(&Pod::new("env", "env").main(json!({ "env": env })).spec(spec)).await?;
    Ok((printed, ctx.get(&ctx.pod("env")).await?))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn addresses(list: &Value) -> String {
    let all: Vec<_> = list.as_array().into_iter().flatten().filter_map(|one| one["ip"].as_str()).collect();
    all.join(",")
}

fn downward() -> Vec<Trial> {
    vec![
        AREA.claim("pod-identity", "A container learns its pod's name, namespace and IP address", |ctx| async move {
            let env =
                json!([field("NAME", "metadata.name"), field("NS", "metadata.namespace"), field("IP", "status.podIP")]);
            let (printed, pod) = printed(&ctx, env, json!({})).await?;
            ctx.line("fieldRef", &printed, "NAME=env");
            ctx.line("fieldRef", &printed, &format!("NS={}", ctx.namespace()));
            ctx.line("fieldRef", &printed, &format!("IP={}", text(&pod["status"]["podIP"])));
            Ok(())
        })
        .covers("Downward API should provide pod name, namespace and IP address as env vars")
        .trial(),
        AREA.claim("host-ip", "A container learns its node's IP address", |ctx| async move {
            let (printed, pod) = printed(&ctx, json!([field("IP", "status.hostIP")]), json!({})).await?;
            ctx.line("fieldRef", &printed, &format!("IP={}", text(&pod["status"]["hostIP"])));
            let node = ctx.get(&Ref::new("v1", "Node", "", &ctx.node().await?)).await?;
            let addresses = node["status"]["addresses"].as_array().cloned().unwrap_or_default();
            let own =
                addresses.iter().any(|one| one["type"] == "InternalIP" && one["address"] == pod["status"]["hostIP"]);
            ctx.expect("status.hostIP", "it is an InternalIP of the node", &own, &true);
            Ok(())
        })
        .covers("Downward API should provide host IP as an env var")
        .covers("Pods should get a host IP")
        .trial(),
        AREA.claim("host-ips", "A container learns its node's IP addresses, of all families", |ctx| async move {
            let env = json!([field("IP", "status.hostIP"), field("IPS", "status.hostIPs")]);
            let (printed, pod) = printed(&ctx, env, json!({})).await?;
            let all = addresses(&pod["status"]["hostIPs"]);
            ctx.line("fieldRef", &printed, &format!("IPS={all}"));
            ctx.expect(
                "status.hostIPs",
                "the first one is status.hostIP",
                &all.split(',').next(),
                &pod["status"]["hostIP"].as_str(),
            );
            Ok(())
        })
        .covers("Downward API should provide hostIPs as an env var")
        .requires(crate::cluster::Requirement::KubernetesFrom(29))
        .trial(),
        AREA.claim("host-network", "In the network of the node, pod IP and host IP are the same", |ctx| async move {
            let env = json!([field("HOST", "status.hostIP"), field("POD", "status.podIP")]);
            let (printed, pod) = printed(&ctx, env, json!({ "hostNetwork": true })).await?;
            let host = text(&pod["status"]["hostIP"]);
            ctx.line("fieldRef", &printed, &format!("HOST={host}"));
            ctx.line("fieldRef", &printed, &format!("POD={host}"));
            Ok(())
        })
        .covers("Downward API should provide host IP and pod IP as an env var if pod uses host network")
        .trial(),
        AREA.claim("uid", "A container learns its pod's UID", |ctx| async move {
            let (printed, pod) = printed(&ctx, json!([field("UID", "metadata.uid")]), json!({})).await?;
            ctx.line("fieldRef", &printed, &format!("UID={}", text(&pod["metadata"]["uid"])));
            Ok(())
        })
        .covers("Downward API should provide pod UID as env vars")
        .trial(),
        AREA.claim(
            "labels-and-annotations",
            "A container learns a label and an annotation of \
                                              its pod",
            |ctx| async move {
                let env = json!([field("L", "metadata.labels['color']"), field("A", "metadata.annotations['note']")]);
                let pod = Pod::new("env", "env")
                    .metadata(json!({ "labels": { "color": "red" }, "annotations": { "note": "a b" } }));
                let printed = ctx.output(&pod.main(json!({ "env": env }))).await?;
                ctx.line("fieldRef", &printed, "L=red");
                ctx.line("fieldRef", &printed, "A=a b");
                Ok(())
            },
        )
        .alias("metadata.labels['KEY']")
        .trial(),
        AREA.claim("resources", "A container learns its requests and limits of CPU and memory", |ctx| async move {
            let env = json!([
                resource("CL", "limits.cpu"),
                resource("ML", "limits.memory"),
                resource("CR", "requests.cpu"),
                resource("MR", "requests.memory"),
            ]);
            let resources = json!({ "requests": { "cpu": "100m", "memory": "32Mi" }, "limits": { "cpu": "1250m",
                "memory": "64Mi" } });
            let pod = Pod::new("env", "env").main(json!({ "env": env, "resources": resources }));
            let printed = ctx.output(&pod).await?;
            // Of the divisor 1, rounded up.
            ["CL=2", "ML=67108864", "CR=1", "MR=33554432"]
                .iter()
                .for_each(|line| ctx.line("resourceFieldRef", &printed, line));
            Ok(())
        })
        .covers("Downward API should provide container's limits.cpu/memory and requests.cpu/memory as env vars")
        .trial(),
        AREA.claim(
            "default-resources",
            "Without limits a container learns what the node can \
                                         allocate",
            |ctx| async move {
                let env = json!([resource("CL", "limits.cpu"), resource("ML", "limits.memory")]);
                let (printed, _) = printed(&ctx, env, json!({})).await?;
                let node = ctx.get(&Ref::new("v1", "Node", "", &ctx.node().await?)).await?;
                let allocatable = |what: &str| quantity(&node["status"]["allocatable"][what]);
                ctx.line("resourceFieldRef", &printed, &format!("CL={}", allocatable("cpu").ceil()));
                ctx.line("resourceFieldRef", &printed, &format!("ML={}", allocatable("memory")));
                Ok(())
            },
        )
        .covers("Downward API should provide default limits.cpu/memory from node allocatable")
        .trial(),
    ]
}

fn expansion() -> Vec<Trial> {
    let values = json!([{ "name": "FOO", "value": "foo-value" }, { "name": "BAR", "value": "bar-value" }]);
    let both = values.clone();
    vec![
        AREA.claim("composed", "A variable is composed of others; a double dollar sign is none", move |ctx| {
            let mut env = both.clone();
            for (name, value) in [("FOOBAR", "$(FOO);;$(BAR)"), ("RAW", "$$(FOO)"), ("NONE", "$(NO_SUCH)")] {
                env.as_array_mut().into_iter().for_each(|all| all.push(json!({ "name": name, "value": value })));
            }
            async move {
                let (printed, _) = printed(&ctx, env, json!({})).await?;
                let wanted = ["FOOBAR=foo-value;;bar-value", "RAW=$(FOO)", "NONE=$(NO_SUCH)"];
                wanted.iter().for_each(|line| ctx.line("$(NAME)", &printed, line));
                Ok(())
            }
        })
        .covers("Variable Expansion should allow composing env vars into new env vars")
        .trial(),
        ARGUMENTS
            .claim("in-args", "Variables are expanded in the arguments of a container", {
                let env = values.clone();
                move |ctx| {
                    let main = json!({ "env": env, "args": ["do", "echo said $(FOO) $$(FOO)"] });
                    async move {
                        let printed = ctx.output(&Pod::new("args", "").main(main)).await?;
                        ctx.line("args", &printed, "said foo-value $(FOO)");
                        Ok(())
                    }
                }
            })
            .covers("Variable Expansion should allow substituting values in a container's args")
            .trial(),
        ARGUMENTS
            .claim("in-command", "Variables are expanded in the command of a container", move |ctx| {
                let command = ["/seaworthy", "workload", "do", "echo", "said", "$(FOO)"];
                let main = json!({ "env": values, "command": command, "args": null });
                async move {
                    let printed = ctx.output(&Pod::new("command", "").main(main)).await?;
                    ctx.line("command", &printed, "said foo-value");
                    Ok(())
                }
            })
            .covers("Variable Expansion should allow substituting values in a container's command")
            .trial(),
    ]
}
