//! Endpoints and their zones: what kube-proxy needs to keep traffic within a zone.

use serde_json::{Value, json};

use super::{BOTH, NEWEST, PATIENCE, REGION, ZONE, common};
use crate::cluster::{Claim, Condition, Ctx, Fleet, NodeSpec, Placed, Ref, Requirement, Stop};
use crate::trial::Trial;

const TRAFFIC: (&str, &str) = (
    "Service: traffic distribution",
    "https://kubernetes.io/docs/reference/networking/virtual-ips/#traffic-distribution",
);
const ZONES: [&str; 3] = ["a", "b", "c"];

/// What hints endpoints have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hints {
    None,
    OwnZone,
    OwnNode,
}

pub(super) fn trials() -> Vec<Trial> {
    let all =
        |claim: Claim| {
            common(claim)
            .label("endpoints")
            .wants_consent()
            .how("Makes a node in each of three zones without a kubelet, a pod on each that is said to be Ready, and a \
                  Service; reads the EndpointSlices.")
            .fix("Look into the log of kube-controller-manager: its EndpointSlice controller makes them from nodes' \
                  labels.")
        };
    let distributed = |value: &'static str, from: u32, hints: Hints, title: &str| {
        let id = match value {
            "PreferClose" => "zones.endpoints.prefer-close",
            "PreferSameZone" => "zones.endpoints.prefer-same-zone",
            _ => "zones.endpoints.prefer-same-node",
        };
        all(Claim::new(id, title, [NEWEST], "traffic-distribution-removed", move |ctx| {
            run(ctx, json!({ "trafficDistribution": value }), hints)
        }))
        .requires(Requirement::KubernetesFrom(from))
        .alias(format!("trafficDistribution: {value}"))
        .basis(TRAFFIC.0, TRAFFIC.1)
        .why("Traffic between zones costs money and time, and fails with either zone.")
        .trial()
    };
    vec![
        all(Claim::new(
            "zones.endpoints.zone",
            "Each endpoint has the zone and the node of its pod",
            BOTH,
            "no-endpoint-slices",
            |ctx| run(ctx, json!({}), Hints::None),
        ))
        .alias("EndpointSlice endpoints[].zone")
        .why("Without it nothing can keep traffic within a zone.")
        .trial(),
        distributed(
            "PreferClose",
            31,
            Hints::OwnZone,
            "trafficDistribution PreferClose gives each endpoint the hint of its own zone",
        ),
        distributed(
            "PreferSameZone",
            34,
            Hints::OwnZone,
            "trafficDistribution PreferSameZone gives each endpoint the hint of its own zone",
        ),
        distributed(
            "PreferSameNode",
            34,
            Hints::OwnNode,
            "trafficDistribution PreferSameNode gives each endpoint the hint of its own node",
        ),
        all(Claim::new(
            "zones.endpoints.topology-mode",
            "Topology-aware routing gives hints where every zone has its share of endpoints",
            [NEWEST],
            "no-endpoint-slices",
            topology_mode,
        ))
        .requires(Requirement::KubernetesFrom(27))
        // It looks at the CPUs of all nodes of the cluster.
        .exclusive()
        .alias("service.kubernetes.io/topology-mode: Auto")
        .basis(
            "Topology Aware Routing",
            "https://kubernetes.io/docs/concepts/services-networking/topology-aware-routing/",
        )
        .why("It is what clusters used before trafficDistribution, and many still do.")
        .trial(),
        common(Claim::new(
            "zones.endpoints.unknown",
            "An unknown trafficDistribution is refused",
            [NEWEST],
            "traffic-distribution-removed",
            unknown,
        ))
        .label("endpoints")
        .requires(Requirement::KubernetesFrom(31))
        .alias("spec.trafficDistribution: Unsupported value")
        .why("A misspelled value would send traffic everywhere, and say nothing.")
        .how("Asks the API server by dry run for Services with an unknown value, and with PreferClose.")
        .fix("Look for a mutating webhook or policy that changes Services.")
        .basis(TRAFFIC.0, TRAFFIC.1)
        .trial(),
        all(Claim::new(
            "zones.pods.labels",
            "A pod that is bound gets the zone and region of its node as labels",
            [NEWEST],
            "topology-labels-off",
            pod_labels,
        ))
        .requires(Requirement::KubernetesFrom(35))
        .alias("PodTopologyLabelsAdmission")
        .why("Programs read the zone that they run in by the downward API.")
        .trial(),
    ]
}

/// Nodes in three zones, a ready pod on each, and a Service.
async fn stage(ctx: &Ctx, service: &Value, annotations: Value) -> Result<Fleet, Stop> {
    let nodes: Vec<_> = ZONES.iter().map(|zone| NodeSpec::linux(&format!("{zone}1")).zone(zone)).collect();
    let fleet = ctx.simulate(&nodes).await?;
    ctx.service_account().await?;
    let mut spec = json!({ "selector": { "app": "web" }, "ports": [{ "port": 80 }] });
    for (key, value) in service.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    let metadata = json!({ "name": "web", "annotations": annotations });
    ctx.create(json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec })).await?;
    for (number, zone) in ZONES.iter().enumerate() {
        let name = format!("web-{zone}");
        ctx.create(ctx.bare_pod(&name, &[("app", "web")], &json!({ "nodeSelector": { ZONE: zone } }))).await?;
        ctx.bound(&name, PATIENCE).await?;
        ctx.run_pod(&name, &format!("203.0.113.{}", number + 1)).await?;
    }
    Ok(fleet)
}

/// Waits until the slices have an endpoint a zone, with these hints.
async fn expect(ctx: &Ctx, fleet: &Fleet, hints: Hints) -> Result<(), Stop> {
    let wanted: Vec<_> = ZONES
        .iter()
        .map(|zone| {
            let node = fleet.full(&format!("{zone}1"));
            match hints {
                Hints::None => json!([zone, node, null, null]),
                Hints::OwnZone => json!([zone, node, [{ "name": zone }], null]),
                Hints::OwnNode => json!([zone, node, [{ "name": zone }], [{ "name": node }]]),
            }
        })
        .collect();
    let place = Ref { namespace: Some(ctx.namespace().to_owned()), ..Ref::all("discovery.k8s.io/v1", "EndpointSlice") };
    let condition = Condition::new(format!("has an endpoint in each zone, with hints: {hints:?}"), move |list| {
        let slices = list["items"].as_array().into_iter().flatten();
        let endpoints = slices.flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
        let ready = endpoints.filter(|one| one["conditions"]["ready"] == true);
        let mut found: Vec<_> = ready
            .map(|one| json!([one["zone"], one["nodeName"], one["hints"]["forZones"], one["hints"]["forNodes"]]))
            .collect();
        found.sort_by_key(ToString::to_string);
        if found == wanted { Ok(()) } else { Err(format!("[zone, node, forZones, forNodes]: {}", Value::Array(found))) }
    });
    ctx.until_list(&place, "kubernetes.io/service-name=web", &condition, PATIENCE).await?;
    Ok(())
}

async fn run(ctx: Ctx, service: Value, hints: Hints) -> Result<(), Stop> {
    let fleet = stage(&ctx, &service, json!({})).await?;
    expect(&ctx, &fleet, hints).await
}

async fn topology_mode(ctx: Ctx) -> Result<(), Stop> {
    let fleet = stage(&ctx, &json!({}), json!({ "service.kubernetes.io/topology-mode": "Auto" })).await?;
    expect(&ctx, &fleet, Hints::OwnZone).await
}

async fn unknown(ctx: Ctx) -> Result<(), Stop> {
    let with = |value: &str| {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web" },
            "spec": { "ports": [{ "port": 80 }], "trafficDistribution": value },
        })
    };
    match ctx.dry_run(with("PreferClosest")).await? {
        Err(why) if why.code == 422 && why.message.contains("trafficDistribution") => {}
        Err(why) => ctx.breach("PreferClosest", format!("refused for another reason: {why}")),
        Ok(_) => ctx.breach("PreferClosest", "the unknown trafficDistribution PreferClosest is accepted"),
    }
    match ctx.dry_run(with("PreferClose")).await? {
        Ok(made) => {
            ctx.expect("PreferClose", "it is kept", &made["spec"]["trafficDistribution"], &json!("PreferClose"))
        }
        Err(why) => ctx.breach("PreferClose", format!("the trafficDistribution PreferClose is refused: {why}")),
    }
    Ok(())
}

async fn pod_labels(ctx: Ctx) -> Result<(), Stop> {
    ctx.simulate(&[NodeSpec::linux("b1").zone("b")]).await?;
    ctx.service_account().await?;
    ctx.create(ctx.bare_pod("pod", &[], &json!({}))).await?;
    if let Placed::Nowhere(why) = ctx.decided("pod").await? {
        return Err(Stop::Undetermined(format!("the pod is not bound: {why}")));
    }
    let pod = ctx.get(&Ref::new("v1", "Pod", ctx.namespace(), "pod")).await?;
    for (key, wanted) in [(ZONE, "b"), (REGION, "sea")] {
        let found = pod["metadata"]["labels"].get(key).and_then(Value::as_str);
        ctx.expect("the pod", &format!("its label {key}"), &found, &Some(wanted));
    }
    Ok(())
}
