//! Services of Windows pods: types, session affinity, traffic policies, endpoints.

use std::time::Duration;

use serde_json::{Value, json};

use super::{BOTH, BUILDS, NEWEST, accepted, common, refused};
use crate::cluster::{Claim, Condition, Ctx, NodeSpec, Ref, Stop};
use crate::trial::Trial;

const NETWORK: (&str, &str) =
    ("Networking on Windows", "https://kubernetes.io/docs/concepts/services-networking/windows-networking/");

fn service(more: &Value) -> Value {
    let mut spec = json!({ "selector": { "app": "web" }, "ports": [{ "port": 80 }] });
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web" }, "spec": spec })
}

pub(super) fn trials() -> Vec<Trial> {
    let all = |claim: Claim| common(claim).label("services").basis(NETWORK.0, NETWORK.1);
    let policy = "Look for a webhook or policy that changes or refuses Services.";
    vec![
        all(Claim::new(
            "windows.service.types",
            "The four types of Service that Windows supports are accepted",
            [NEWEST],
            "services-restricted",
            types,
        ))
        .alias("ClusterIP, NodePort, LoadBalancer, ExternalName")
        .why("Windows pods are reached by the same types of Service as Linux pods.")
        .how("Asks the API server by dry run for a Service of each type.")
        .fix(policy)
        .trial(),
        all(Claim::new(
            "windows.service.affinity",
            "A Service with session affinity gets the documented timeout of 10800 s",
            [NEWEST],
            "services-restricted",
            affinity,
        ))
        .alias("sessionAffinityConfig.clientIP.timeoutSeconds")
        .why("kube-proxy on Windows ignores other timeouts; what the API server fills in has to be the default.")
        .how("Asks the API server by dry run for a Service with ClientIP affinity and no timeout.")
        .fix(policy)
        .trial(),
        all(Claim::new(
            "windows.service.affinity-limits",
            "A session affinity timeout is between 1 s and one day",
            [NEWEST],
            "services-restricted",
            affinity_limits,
        ))
        .alias("timeoutSeconds: Invalid value")
        .why("A timeout that the API server accepts and kube-proxy does not breaks affinity on one OS only.")
        .how(
            "Asks the API server by dry run for timeouts of 1 s and one day, which are accepted, and of 0 s and more \
             than a day.",
        )
        .fix(policy)
        .trial(),
        all(Claim::new(
            "windows.service.external-local",
            "externalTrafficPolicy Local, which keeps client addresses, is accepted for NodePort and LoadBalancer",
            [NEWEST],
            "services-restricted",
            external_local,
        ))
        .alias("externalTrafficPolicy: Local")
        .why(
            "The documentation recommends it on overlay networks of Windows Server 2022, whose NodePorts fail \
             otherwise.",
        )
        .how(
            "Asks the API server by dry run for Services of both types with the policy, and reads it and the health \
             check's port.",
        )
        .fix(policy)
        .trial(),
        all(Claim::new(
            "windows.service.internal-local",
            "internalTrafficPolicy Local is accepted, and Cluster is the default",
            [NEWEST],
            "services-restricted",
            internal_local,
        ))
        .alias("internalTrafficPolicy")
        .why("Windows honors the local policy in DSR mode.")
        .how("Asks the API server by dry run for Services with and without the policy.")
        .fix(policy)
        .trial(),
        all(Claim::new(
            "windows.service.endpoints",
            "Ready pods on Windows nodes become endpoints, with the names of their nodes",
            BOTH,
            "no-endpoint-slices",
            endpoints,
        ))
        .wants_consent()
        .alias("[sig-windows] Services should be able to create a functioning NodePort service for Windows")
        .why("kube-proxy of both OSs reads endpoints and their nodes from EndpointSlices.")
        .how(
            "Makes Windows nodes without a kubelet and a pod on each, says that the pods are Ready, and reads the \
             EndpointSlice.",
        )
        .fix("Look into the log of kube-controller-manager: its EndpointSlice controller makes them.")
        .trial(),
    ]
}

async fn types(ctx: Ctx) -> Result<(), Stop> {
    for kind in ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] {
        let mut more = json!({ "type": kind });
        if kind == "ExternalName" {
            more["externalName"] = json!("example.com");
        }
        let attempt = ctx.dry_run(service(&more)).await?;
        let subject = format!("a Service of the type {kind}");
        if let Some(made) = accepted(&ctx, &subject, attempt)? {
            ctx.expect(&subject, "its type", &made["spec"]["type"].as_str(), &Some(kind));
        }
    }
    Ok(())
}

fn client_ip(timeout: Option<u32>) -> Value {
    let mut more = json!({ "sessionAffinity": "ClientIP" });
    if let Some(timeout) = timeout {
        more["sessionAffinityConfig"] = json!({ "clientIP": { "timeoutSeconds": timeout } });
    }
    service(&more)
}

async fn affinity(ctx: Ctx) -> Result<(), Stop> {
    let attempt = ctx.dry_run(client_ip(None)).await?;
    if let Some(made) = accepted(&ctx, "a Service with ClientIP", attempt)? {
        let timeout = &made["spec"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"];
        ctx.expect("the Service", "timeoutSeconds", timeout, &json!(10800));
    }
    let attempt = ctx.dry_run(service(&json!({}))).await?;
    if let Some(made) = accepted(&ctx, "a Service without affinity", attempt)? {
        ctx.expect("the Service", "sessionAffinity", &made["spec"]["sessionAffinity"], &json!("None"));
    }
    Ok(())
}

async fn affinity_limits(ctx: Ctx) -> Result<(), Stop> {
    for timeout in [1, 86_400] {
        let attempt = ctx.dry_run(client_ip(Some(timeout))).await?;
        accepted(&ctx, &format!("a timeout of {timeout} s"), attempt)?;
    }
    for timeout in [0, 86_401] {
        let attempt = ctx.dry_run(client_ip(Some(timeout))).await?;
        refused(
            &ctx,
            &format!("a timeout of {timeout} s"),
            &attempt,
            &["sessionAffinityConfig.clientIP.timeoutSeconds"],
        );
    }
    Ok(())
}

async fn external_local(ctx: Ctx) -> Result<(), Stop> {
    for kind in ["NodePort", "LoadBalancer"] {
        let attempt = ctx.dry_run(service(&json!({ "type": kind, "externalTrafficPolicy": "Local" }))).await?;
        let subject = format!("a Service of the type {kind}");
        if let Some(made) = accepted(&ctx, &subject, attempt)? {
            ctx.expect(&subject, "externalTrafficPolicy", &made["spec"]["externalTrafficPolicy"], &json!("Local"));
            let port = made["spec"]["healthCheckNodePort"].is_u64();
            ctx.expect(&subject, "it has a healthCheckNodePort", &port, &(kind == "LoadBalancer"));
        }
    }
    Ok(())
}

async fn internal_local(ctx: Ctx) -> Result<(), Stop> {
    for (more, wanted) in [(json!({}), "Cluster"), (json!({ "internalTrafficPolicy": "Local" }), "Local")] {
        let attempt = ctx.dry_run(service(&more)).await?;
        if let Some(made) = accepted(&ctx, &format!("a Service with {more}"), attempt)? {
            ctx.expect("the Service", "internalTrafficPolicy", &made["spec"]["internalTrafficPolicy"], &json!(wanted));
        }
    }
    Ok(())
}

async fn endpoints(ctx: Ctx) -> Result<(), Stop> {
    let nodes: Vec<_> = BUILDS
        .iter()
        .map(|(release, build)| NodeSpec::windows(&format!("w{release}"), build).taints(Vec::new()))
        .collect();
    let fleet = ctx.simulate(&nodes).await?;
    ctx.service_account().await?;
    ctx.create(service(&json!({}))).await?;
    for (number, (release, build)) in BUILDS.iter().enumerate() {
        let name = format!("web{release}");
        let more = json!({ "nodeSelector": { "node.kubernetes.io/windows-build": build } });
        ctx.create(ctx.bare_pod(&name, &[("app", "web")], &more)).await?;
        ctx.bound(&name, Duration::from_secs(60)).await?;
        ctx.run_pod(&name, &format!("203.0.113.{}", number + 1)).await?;
    }
    let wanted: Vec<_> = nodes.iter().map(|node| fleet.full(&node.name)).collect();
    let place = Ref { namespace: Some(ctx.namespace().to_owned()), ..Ref::all("discovery.k8s.io/v1", "EndpointSlice") };
    let condition = Condition::new("has every Windows pod as a ready endpoint", move |list| {
        let slices = list["items"].as_array().into_iter().flatten();
        let ready = slices.flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
        let ready = ready.filter(|endpoint| endpoint["conditions"]["ready"] == true);
        let mut nodes: Vec<_> = ready.filter_map(|endpoint| endpoint["nodeName"].as_str()).collect();
        nodes.sort_unstable();
        if nodes == wanted { Ok(()) } else { Err(format!("endpoints on {nodes:?}")) }
    });
    ctx.until_list(&place, "kubernetes.io/service-name=web", &condition, Duration::from_secs(60)).await?;
    Ok(())
}
