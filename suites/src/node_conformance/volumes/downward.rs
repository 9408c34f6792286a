//! Volumes of the downward API, by themselves and projected, and what is projected together.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::quantity;
use super::super::upstream::Covers as _;
use super::{AREA, GROUP, USER, data, file_has};
use crate::cluster::{Condition, Ctx, Pod, Ref, Stop};
use crate::trial::Trial;

const UPDATES: Duration = Duration::from_mins(5);

/// By itself, or projected: the id, the title, the words of upstream.
const KINDS: [(&str, &str, &str); 2] = [
    ("downward", "the downward API", "Downward API volume"),
    ("projected-downward", "the projected downward API", "Projected downwardAPI"),
];

/// The volume's source.
fn source(id: &str, items: Value, mode: Option<u32>) -> Value {
    let mut inner = json!({ "items": items });
    let projected = id.starts_with("projected");
    if let Some(mode) = mode.filter(|_| !projected) {
        inner["defaultMode"] = mode.into();
    }
    if !projected {
        return json!({ "downwardAPI": inner });
    }
    let mut source = json!({ "projected": { "sources": [{ "downwardAPI": inner }] } });
    if let Some(mode) = mode {
        source["projected"]["defaultMode"] = mode.into();
    }
    source
}

fn item(path: &str, field: &str) -> Value {
    json!({ "path": path, "fieldRef": { "fieldPath": field } })
}

/// A row about the file `podname`: id, title, words of upstream, the volume's and the item's mode, user, group, and the
/// file's mode.
struct Row(&'static str, &'static str, &'static str, Option<u32>, Option<u32>, Option<u32>, Option<u32>, u32);

const ROWS: [Row; 5] = [
    Row("pod-name", "has the pod's name", "should provide podname only", None, None, None, None, 0o644),
    Row(
        "default-mode",
        "has files with its defaultMode",
        "should set DefaultMode on files",
        Some(0o400),
        None,
        None,
        None,
        0o400,
    ),
    Row(
        "item-mode",
        "has items with their own mode",
        "should set mode on item file",
        None,
        Some(0o400),
        None,
        None,
        0o400,
    ),
    Row(
        "fs-group",
        "has files of the pod's fsGroup",
        "should provide podname as non-root with fsgroup",
        None,
        None,
        Some(USER),
        Some(GROUP),
        0o644,
    ),
    Row(
        "default-mode-fs-group",
        "with a defaultMode for the group is readable by fsGroup",
        "should provide podname as non-root with fsgroup and defaultMode",
        Some(0o440),
        None,
        Some(USER),
        Some(GROUP),
        0o440,
    ),
];

pub(super) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (kind, title, upstream) in KINDS {
        for row in &ROWS {
            trials.push(
                AREA.claim(&format!("{kind}.{}", row.0), format!("A volume of {title} {}", row.1), move |ctx| {
                    one(ctx, kind, row)
                })
                .covers(&format!("{upstream} {}", row.2))
                .trial(),
            );
        }
        for what in ["labels", "annotations"] {
            trials.push(
                AREA.claim(
                    &format!("{kind}.{what}"),
                    format!("A change of the pod's {what} reaches its volume of {title}"),
                    move |ctx| update(ctx, kind, what),
                )
                .limit(UPDATES + UPDATES)
                .covers(&format!("{upstream} should update {what} on modification"))
                .trial(),
            );
        }
        for (id, words, reference, value) in [
            ("cpu-limit", "should provide container's cpu limit", "limits.cpu", "2"),
            ("memory-limit", "should provide container's memory limit", "limits.memory", "67108864"),
            ("cpu-request", "should provide container's cpu request", "requests.cpu", "1"),
            ("memory-request", "should provide container's memory request", "requests.memory", "33554432"),
        ] {
            trials.push(
                AREA.claim(
                    &format!("{kind}.{id}"),
                    format!("A volume of {title} has the container's {reference}"),
                    move |ctx| resource(ctx, kind, reference, value),
                )
                .covers(&format!("{upstream} {words}"))
                .trial(),
            );
        }
        for what in ["cpu", "memory"] {
            trials.push(
                AREA.claim(
                    &format!("{kind}.{what}-default"),
                    format!("Without a limit of {what} a volume of {title} has what the node can allocate"),
                    move |ctx| default_limit(ctx, kind, what),
                )
                .covers(&format!(
                    "{upstream} should provide node allocatable ({what}) as default {what} limit if the limit \
                     is not set"
                ))
                .trial(),
            );
        }
    }
    trials.push(
        AREA.claim("projected.combined", "ConfigMap, Secret and downward API are projected into one volume", combined)
            .covers("Projected combined should project all components that make up the projection API")
            .trial(),
    );
    trials.push(
        AREA.claim("projected.token", "A projected service account token is one, of its audience and time", token)
            .alias("serviceAccountToken")
            .trial(),
    );
    trials
}

async fn one(ctx: Ctx, kind: &str, row: &Row) -> Result<(), Stop> {
    let mut name = item("podname", "metadata.name");
    if let Some(mode) = row.4 {
        name["mode"] = mode.into();
    }
    let mut security = json!({});
    if let (Some(user), Some(group)) = (row.5, row.6) {
        security = json!({ "runAsUser": user, "fsGroup": group });
    }
    let pod = Pod::new("reader", "cat /vol/info/podname; stat /vol/info/podname")
        .spec(json!({ "securityContext": security }))
        .volume("info", "/vol/info", source(kind, json!([name]), row.3));
    let printed = ctx.output(&pod).await?;
    ctx.line("podname", &printed, "reader");
    let group = row.6.unwrap_or(0);
    file_has(&ctx, &printed, "/vol/info/podname", &[format!("mode={:04o}", row.7), format!("gid={group}")])
}

async fn update(ctx: Ctx, kind: &str, what: &'static str) -> Result<(), Stop> {
    let script = format!(
        "wait-text /vol/info/{what} color=\"red\"; echo began; wait-text /vol/info/{what} color=\"blue\"; echo changed"
    );
    let pod = Pod::new("reader", &script).metadata(json!({ what: { "color": "red" } })).volume(
        "info",
        "/vol/info",
        source(kind, json!([item(what, &format!("metadata.{what}"))]), None),
    );
    ctx.put(&pod).await?;
    ctx.until_printed("reader", "main", "began").await?;
    let patched = ctx.try_patch(&ctx.pod("reader"), &json!({ "metadata": { what: { "color": "blue" } } })).await?;
    patched.map_err(|why| Stop::Undetermined(format!("change the pod's {what}: {why}")))?;
    ctx.until_pod("reader", &Condition::field("/status/phase", "Succeeded"), UPDATES).await?;
    let printed = ctx.logs("reader", "main").await?;
    ctx.line("reader", &printed, "changed");
    Ok(())
}

fn of_container(path: &str, resource: &str) -> Value {
    json!({ "path": path, "resourceFieldRef": { "containerName": "main", "resource": resource } })
}

async fn resource(ctx: Ctx, kind: &str, reference: &str, value: &str) -> Result<(), Stop> {
    let resources =
        json!({ "requests": { "cpu": "100m", "memory": "32Mi" }, "limits": { "cpu": "1250m", "memory": "64Mi" } });
    let pod = Pod::new("reader", "cat /vol/info/value").main(json!({ "resources": resources })).volume(
        "info",
        "/vol/info",
        source(kind, json!([of_container("value", reference)]), None),
    );
    let printed = ctx.output(&pod).await?;
    ctx.line(reference, &printed, value);
    Ok(())
}

async fn default_limit(ctx: Ctx, kind: &str, what: &str) -> Result<(), Stop> {
    let pod = Pod::new("reader", "cat /vol/info/value").volume(
        "info",
        "/vol/info",
        source(kind, json!([of_container("value", &format!("limits.{what}"))]), None),
    );
    let printed = ctx.output(&pod).await?;
    let node = ctx.get(&Ref::new("v1", "Node", "", &ctx.node().await?)).await?;
    ctx.line(what, &printed, &format!("{}", quantity(&node["status"]["allocatable"][what]).ceil()));
    Ok(())
}

async fn combined(ctx: Ctx) -> Result<(), Stop> {
    ctx.create(data("ConfigMap", "map")).await?;
    ctx.create(data("Secret", "secret")).await?;
    let sources = json!([
        { "configMap": { "name": "map", "items": [{ "key": "data-1", "path": "map/data" }] } },
        { "secret": { "name": "secret", "items": [{ "key": "data-2", "path": "secret/data" }] } },
        { "downwardAPI": { "items": [item("podname", "metadata.name")] } },
    ]);
    let pod = Pod::new("reader", "cat /vol/all/map/data; cat /vol/all/secret/data; cat /vol/all/podname").volume(
        "all",
        "/vol/all",
        json!({ "projected": { "sources": sources } }),
    );
    let printed = ctx.output(&pod).await?;
    ["value-1", "value-2", "reader"].iter().for_each(|line| ctx.line("projected", &printed, line));
    Ok(())
}

async fn token(ctx: Ctx) -> Result<(), Stop> {
    let source =
        json!({ "serviceAccountToken": { "path": "token", "audience": "seaworthy", "expirationSeconds": 3600 } });
    // The token itself is not printed.
    let pod = Pod::new("reader", "stat /vol/token/token; has-lines /vol/token/token 1; echo there")
        .spec(json!({ "securityContext": { "runAsUser": USER, "fsGroup": GROUP } }))
        .volume("token", "/vol/token", json!({ "projected": { "sources": [source] } }));
    let printed = ctx.output(&pod).await?;
    ctx.line("token", &printed, "there");
    // Tokens are of the group alone where there is an fsGroup.
    file_has(&ctx, &printed, "/vol/token/token", &[format!("gid={GROUP}"), "on=tmpfs".to_owned()])
}
