//! Volumes of one zone: pods go where their volumes are, and new volumes where pods can go.

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::{BOTH, PATIENCE, ZONE, common};
use crate::cluster::{Claim, Condition, Ctx, Fleet, NodeSpec, Placed, Ref, Stop};
use crate::trial::Trial;

type Body = fn(Ctx) -> BoxFuture<'static, Result<(), Stop>>;

pub(super) fn trials() -> Vec<Trial> {
    let of = |id: &str, title: &str, alias: &str, why: &str, body: Body| {
        common(Claim::new(format!("zones.volume.{id}"), title, BOTH, "no-volume-plugins", body))
            .label("volumes")
            .wants_consent()
            .alias(alias)
            .basis(
                "Persistent Volumes: node affinity",
                "https://kubernetes.io/docs/concepts/storage/persistent-volumes/#node-affinity",
            )
            .why(why)
            .how(
                "Makes nodes of two zones without a kubelet, of which the one without the volume is much larger, a \
                 volume, its claim and a pod; reads where the scheduler binds the pod, or its message.",
            )
            .fix("Compare the scheduler's profile with the default: VolumeBinding and VolumeZone.")
            .trial()
    };
    let wrong = "A pod that is bound to a node of another zone than its volume's never starts.";
    vec![
        of(
            "affinity",
            "A pod goes to the zone of its volume's node affinity",
            "PersistentVolume nodeAffinity",
            wrong,
            |ctx| Box::pin(affinity(ctx)),
        ),
        of("label", "A pod goes to the zone of its volume's label", "NoVolumeZoneConflict", wrong, |ctx| {
            Box::pin(label(ctx, "b"))
        }),
        of(
            "label-several",
            "A pod goes to one of the zones of a volume that several zones have",
            "b__c",
            wrong,
            |ctx| Box::pin(label(ctx, "b__c")),
        ),
        of(
            "conflict",
            "A pod that selects another zone than its volume's stays Pending",
            "node(s) had volume node affinity conflict",
            "It is the most frequent reason of pods that stay Pending after a zone has failed.",
            |ctx| Box::pin(conflict(ctx)),
        ),
        of(
            "two-zones",
            "A pod with volumes of two zones stays Pending",
            "volume node affinity conflict",
            "Volumes that are provisioned at once, before the pod is placed, end up so.",
            |ctx| Box::pin(two_zones(ctx)),
        ),
        of(
            "wait",
            "WaitForFirstConsumer binds a claim to a volume of the zone that the pod goes to",
            "volumeBindingMode: WaitForFirstConsumer",
            "Immediate binding takes a volume of any zone, and the pod cannot follow.",
            |ctx| Box::pin(wait(ctx)),
        ),
        of(
            "allowed-topologies",
            "A StorageClass's allowedTopologies decide for which node a volume is provisioned",
            "allowedTopologies",
            "A provisioner that is asked for a zone which it has not makes no volume.",
            |ctx| Box::pin(allowed_topologies(ctx)),
        ),
    ]
}

/// Small nodes in zones b and c, and a large one in zone a.
async fn nodes(ctx: &Ctx) -> Result<Fleet, Stop> {
    let node = |name: &str, zone: &str| NodeSpec::linux(name).zone(zone);
    ctx.simulate(&[node("a1", "a").sized(64), node("b1", "b"), node("c1", "c")]).await
}

/// The name of an object of the whole cluster.
fn named(ctx: &Ctx, name: &str) -> String {
    format!("{}-{name}", ctx.namespace())
}

fn volume(ctx: &Ctx, name: &str, class: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": named(ctx, name) },
        "spec": {
            "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"], "storageClassName": class,
            "persistentVolumeReclaimPolicy": "Retain",
        },
    })
}

/// A volume that is in a zone by its node affinity.
fn in_zone(ctx: &Ctx, name: &str, class: &str, zone: &str) -> Value {
    let mut volume = volume(ctx, name, class);
    volume["spec"]["local"] = json!({ "path": "/mnt/volume" });
    volume["spec"]["nodeAffinity"] = json!({ "required": { "nodeSelectorTerms": [
        { "matchExpressions": [{ "key": ZONE, "operator": "In", "values": [zone] }] }] } });
    volume
}

fn claim(name: &str, class: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": name },
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": class,
            "resources": { "requests": { "storage": "1Gi" } },
        },
    })
}

/// A volume and a claim that is bound to it.
async fn bound_claim(ctx: &Ctx, name: &str, volume: Value) -> Result<(), Stop> {
    let mut claim = claim(name, "");
    claim["spec"]["volumeName"] = volume["metadata"]["name"].clone();
    ctx.create(volume).await?;
    ctx.create(claim).await?;
    let place = Ref::new("v1", "PersistentVolumeClaim", ctx.namespace(), name);
    let waited = ctx.until(&place, &Condition::field("/status/phase", "Bound"), PATIENCE).await;
    waited.map(drop).map_err(|stop| stop.undetermined("the claim is not bound to its volume"))
}

fn pod(ctx: &Ctx, claims: &[&str], more: &Value) -> Value {
    let mut pod = ctx.bare_pod("pod", &[], more);
    let volume = |name: &&str| json!({ "name": name, "persistentVolumeClaim": { "claimName": name } });
    pod["spec"]["volumes"] = claims.iter().map(volume).collect();
    pod
}

async fn expect_node(ctx: &Ctx, fleet: &Fleet, wanted: &[&str]) -> Result<(), Stop> {
    let node = fleet.short(&ctx.bound("pod", PATIENCE).await?);
    if !wanted.contains(&node.as_str()) {
        ctx.breach(
            "the pod",
            format!("the pod is bound to {node}; its volume is of the zone of {}", wanted.join(" and ")),
        );
    }
    Ok(())
}

/// The pod stays Pending because of its volumes.
async fn expect_pending(ctx: &Ctx) -> Result<(), Stop> {
    match ctx.decided("pod").await? {
        // "volume node affinity conflict" until 1.33, "didn't match PersistentVolume's node affinity" since.
        Placed::Nowhere(said)
            if said.contains("volume node affinity") || said.contains("PersistentVolume's node affinity") =>
        {
            Ok(())
        }
        Placed::Nowhere(said) => {
            ctx.breach(
                "the pod",
                format!("the scheduler says '{said}'; expected a message about the volume's node affinity"),
            );
            Ok(())
        }
        Placed::On(node) => {
            ctx.breach("the pod", format!("the pod is bound to {node}; expected that no node fits"));
            Ok(())
        }
    }
}

async fn affinity(ctx: Ctx) -> Result<(), Stop> {
    let fleet = nodes(&ctx).await?;
    ctx.service_account().await?;
    bound_claim(&ctx, "data", in_zone(&ctx, "data", "", "b")).await?;
    ctx.create(pod(&ctx, &["data"], &json!({}))).await?;
    expect_node(&ctx, &fleet, &["b1"]).await
}

async fn label(ctx: Ctx, zones: &'static str) -> Result<(), Stop> {
    let fleet = nodes(&ctx).await?;
    ctx.service_account().await?;
    let mut labeled = volume(&ctx, "data", "");
    labeled["metadata"]["labels"] = json!({ ZONE: zones });
    labeled["spec"]["hostPath"] = json!({ "path": "/mnt/volume" });
    bound_claim(&ctx, "data", labeled).await?;
    ctx.create(pod(&ctx, &["data"], &json!({}))).await?;
    let wanted: Vec<_> = zones.split("__").map(|zone| format!("{zone}1")).collect();
    expect_node(&ctx, &fleet, &wanted.iter().map(String::as_str).collect::<Vec<_>>()).await
}

async fn conflict(ctx: Ctx) -> Result<(), Stop> {
    nodes(&ctx).await?;
    ctx.service_account().await?;
    bound_claim(&ctx, "data", in_zone(&ctx, "data", "", "b")).await?;
    ctx.create(pod(&ctx, &["data"], &json!({ "nodeSelector": { ZONE: "a" } }))).await?;
    expect_pending(&ctx).await
}

async fn two_zones(ctx: Ctx) -> Result<(), Stop> {
    nodes(&ctx).await?;
    ctx.service_account().await?;
    for zone in ["a", "b"] {
        bound_claim(&ctx, zone, in_zone(&ctx, zone, "", zone)).await?;
    }
    ctx.create(pod(&ctx, &["a", "b"], &json!({}))).await?;
    expect_pending(&ctx).await
}

fn class(ctx: &Ctx, provisioner: &str) -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": { "name": named(ctx, "class") },
        "provisioner": provisioner, "volumeBindingMode": "WaitForFirstConsumer",
    })
}

async fn wait(ctx: Ctx) -> Result<(), Stop> {
    let fleet = nodes(&ctx).await?;
    ctx.service_account().await?;
    ctx.create(class(&ctx, "kubernetes.io/no-provisioner")).await?;
    for zone in ["a", "b", "c"] {
        ctx.create(in_zone(&ctx, zone, &named(&ctx, "class"), zone)).await?;
    }
    ctx.create(claim("data", &named(&ctx, "class"))).await?;
    ctx.create(pod(&ctx, &["data"], &json!({ "nodeSelector": { ZONE: "b" } }))).await?;
    expect_node(&ctx, &fleet, &["b1"]).await?;
    let place = Ref::new("v1", "PersistentVolumeClaim", ctx.namespace(), "data");
    let condition = Condition::field("/spec/volumeName", named(&ctx, "b"));
    ctx.until(&place, &condition, Duration::from_secs(30)).await?;
    Ok(())
}

async fn allowed_topologies(ctx: Ctx) -> Result<(), Stop> {
    let fleet = nodes(&ctx).await?;
    ctx.service_account().await?;
    // Nobody provisions: what counts is for which node the scheduler asks for a volume.
    let mut class = class(&ctx, "seaworthy.dev/none");
    class["allowedTopologies"] = json!([{ "matchLabelExpressions": [{ "key": ZONE, "values": ["b"] }] }]);
    ctx.create(class).await?;
    ctx.create(claim("data", &named(&ctx, "class"))).await?;
    ctx.create(pod(&ctx, &["data"], &json!({}))).await?;
    let place = Ref::new("v1", "PersistentVolumeClaim", ctx.namespace(), "data");
    let wanted = fleet.full("b1");
    let condition = Condition::new("names a node of zone b", move |claim| {
        match claim["metadata"]["annotations"].get("volume.kubernetes.io/selected-node").and_then(Value::as_str) {
            Some(node) if node == wanted => Ok(()),
            other => Err(format!("selected-node is {other:?}")),
        }
    });
    ctx.until(&place, &condition, Duration::from_secs(40)).await?;
    Ok(())
}
