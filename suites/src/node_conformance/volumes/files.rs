//! Volumes of ConfigMaps and Secrets, by themselves and projected.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::Area;
use super::super::upstream::Covers as _;
use super::{AREA, GROUP, USER, data, file_has};
use crate::cluster::{Ctx, Pod, Ref, Stop, status_of};
use crate::trial::Trial;

/// A change reaches volumes within the kubelet's sync period and the time to live of its cache: two minutes by default.
const UPDATES: Duration = Duration::from_mins(5);

/// Where nothing is mounted, nothing is missed.
const STRIPPED: Area = Area { caught_by: "volumes-are-stripped", ..AREA };

/// What a volume is made of.
#[derive(Debug, Clone, Copy)]
struct Kind {
    id: &'static str,
    title: &'static str,
    /// Of the object.
    kind: &'static str,
    projected: bool,
    /// The first words of upstream's tests.
    upstream: &'static str,
}

const KINDS: [Kind; 4] = [
    Kind { id: "config-map", title: "a ConfigMap", kind: "ConfigMap", projected: false, upstream: "ConfigMap" },
    Kind { id: "secret", title: "a Secret", kind: "Secret", projected: false, upstream: "Secrets" },
    Kind {
        id: "projected-config-map",
        title: "a projected ConfigMap",
        kind: "ConfigMap",
        projected: true,
        upstream: "Projected configMap",
    },
    Kind {
        id: "projected-secret",
        title: "a projected Secret",
        kind: "Secret",
        projected: true,
        upstream: "Projected secret",
    },
];

impl Kind {
    /// The volume's source. `more` has `items` and `optional`; `mode` is the default mode.
    fn source(self, name: &str, mode: Option<u32>, more: Value) -> Value {
        let (field, inner) = match (self.kind, self.projected) {
            ("Secret", false) => ("secret", "secretName"),
            ("Secret", true) => ("secret", "name"),
            _ => ("configMap", "name"),
        };
        let mut source = json!({ field: more });
        source[field][inner] = name.into();
        if self.projected {
            source = json!({ "projected": { "sources": [source] } });
        }
        if let Some(mode) = mode {
            source[if self.projected { "projected" } else { field }]["defaultMode"] = mode.into();
        }
        source
    }
}

/// A row of the matrix: one volume, one user, and what the file is then.
#[derive(Debug, Clone, Copy)]
struct Row {
    id: &'static str,
    title: &'static str,
    /// Behind the kind's words; several where upstream words it in several ways.
    upstream: &'static [&'static str],
    default_mode: Option<u32>,
    item: Option<Option<u32>>,
    user: Option<u32>,
    fs_group: Option<u32>,
    mode: u32,
}

const PLAIN: Row = Row {
    id: "plain",
    title: "has its keys as files with the mode 0644",
    upstream: &["should be consumable from pods in volume"],
    default_mode: None,
    item: None,
    user: None,
    fs_group: None,
    mode: 0o644,
};

const ROWS: [Row; 10] = [
    PLAIN,
    Row {
        id: "default-mode",
        title: "has files with its defaultMode",
        upstream: &["should be consumable from pods in volume with defaultMode set"],
        default_mode: Some(0o400),
        mode: 0o400,
        ..PLAIN
    },
    Row {
        id: "non-root",
        title: "is readable by a user other than root",
        upstream: &["should be consumable from pods in volume as non-root"],
        user: Some(USER),
        ..PLAIN
    },
    Row {
        id: "fs-group",
        title: "has files of the pod's fsGroup",
        upstream: &["should be consumable from pods in volume as non-root with FSGroup"],
        user: Some(USER),
        fs_group: Some(GROUP),
        ..PLAIN
    },
    Row {
        id: "default-mode-fs-group",
        title: "with a defaultMode for the group is readable by fsGroup",
        upstream: &["should be consumable from pods in volume as non-root with defaultMode and fsGroup set"],
        default_mode: Some(0o440),
        user: Some(USER),
        fs_group: Some(GROUP),
        mode: 0o440,
        ..PLAIN
    },
    Row {
        id: "items",
        title: "has only its items, at their paths",
        upstream: &["should be consumable from pods in volume with mappings"],
        item: Some(None),
        ..PLAIN
    },
    Row {
        id: "item-mode",
        title: "has items with their own mode",
        upstream: &[
            "should be consumable from pods in volume with mappings and Item mode set",
            "should be consumable from pods in volume with mappings and Item Mode set",
        ],
        item: Some(Some(0o400)),
        mode: 0o400,
        ..PLAIN
    },
    Row {
        id: "items-non-root",
        title: "has items that a user other than root reads",
        upstream: &["should be consumable from pods in volume with mappings as non-root"],
        item: Some(None),
        user: Some(USER),
        ..PLAIN
    },
    Row {
        id: "items-fs-group",
        title: "has items of the pod's fsGroup",
        upstream: &["should be consumable from pods in volume with mappings as non-root with FSGroup"],
        item: Some(None),
        user: Some(USER),
        fs_group: Some(GROUP),
        ..PLAIN
    },
    Row {
        id: "item-mode-fs-group",
        title: "has items with a mode for the group, which fsGroup reads",
        upstream: &[],
        item: Some(Some(0o440)),
        user: Some(USER),
        fs_group: Some(GROUP),
        mode: 0o440,
        ..PLAIN
    },
];

pub(super) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for kind in KINDS {
        for row in ROWS {
            let id = format!("{}.{}", kind.id, row.id);
            let title = format!("A volume of {} {}", kind.title, row.title);
            let claim = AREA.claim(&id, title, move |ctx| one(ctx, kind, row));
            let claim = row
                .upstream
                .iter()
                .fold(claim, |claim, words| claim.covers_if_listed(&format!("{} {words}", kind.upstream)));
            trials.push(claim.trial());
        }
        trials.extend(others(kind));
    }
    trials.push(
        AREA.claim("config-map.binary", "A volume of a ConfigMap has its binary data, byte by byte", binary)
            .covers("ConfigMap binary data should be reflected in volume")
            .trial(),
    );
    trials
}

async fn one(ctx: Ctx, kind: Kind, row: Row) -> Result<(), Stop> {
    ctx.create(data(kind.kind, "source")).await?;
    let mut more = json!({});
    if let Some(mode) = row.item {
        more["items"] = json!([{ "key": "data-2", "path": "path/to/data-2" }]);
        if let Some(mode) = mode {
            more["items"][0]["mode"] = mode.into();
        }
    }
    let (path, content) =
        if row.item.is_some() { ("/vol/files/path/to/data-2", "value-2") } else { ("/vol/files/data-1", "value-1") };
    let script = format!("stat {path}; cat {path}; list /vol/files; stat /vol/files");
    let mut security = json!({});
    if let Some(user) = row.user {
        security["runAsUser"] = user.into();
    }
    if let Some(group) = row.fs_group {
        security["fsGroup"] = group.into();
    }
    let pod = Pod::new("reader", &script).spec(json!({ "securityContext": security })).volume(
        "files",
        "/vol/files",
        kind.source("source", row.default_mode, more),
    );
    let printed = ctx.output(&pod).await?;
    ctx.line("content", &printed, content);
    // Beside them are the folder of this version, `..TIME`, and the link `..data` to it.
    ctx.prints("keys", &printed, if row.item.is_some() { " ..data path\n" } else { " ..data data-1 data-2 data-3\n" });
    let group = row.fs_group.unwrap_or(0);
    file_has(&ctx, &printed, path, &[format!("mode={:04o}", row.mode), "uid=0".to_owned(), format!("gid={group}")])?;
    // Secrets are never written to disk.
    if kind.kind == "Secret" || kind.projected {
        file_has(&ctx, &printed, path, &["on=tmpfs".to_owned()])?;
    }
    Ok(())
}

fn others(kind: Kind) -> Vec<Trial> {
    let id = |part: &str| format!("{}.{part}", kind.id);
    let mut trials = vec![
        AREA.claim(&id("twice"), format!("A pod may mount {} in several volumes", kind.title), move |ctx| {
            twice(ctx, kind)
        })
        .covers_if_listed(&format!("{} should be consumable in multiple volumes in the same pod", kind.upstream))
        .covers_if_listed(&format!("{} should be consumable in multiple volumes in a pod", kind.upstream))
        .trial(),
        AREA.claim(
            &id("optional"),
            format!("Creation, change and deletion of {} reach optional volumes", kind.title),
            move |ctx| optional(ctx, kind),
        )
        .limit(UPDATES + UPDATES)
        .covers(&format!("{} optional updates should be reflected in volume", kind.upstream))
        .trial(),
        STRIPPED
            .claim(
                &id("missing"),
                format!("A pod does not start without {}, and says which is missing", kind.title),
                move |ctx| missing(ctx, kind, false),
            )
            .covers(&format!(
                "{} Should fail non-optional pod creation due to {} object does not exist",
                kind.upstream,
                if kind.kind == "Secret" { "secret" } else { "configMap" },
            ))
            .trial(),
        STRIPPED
            .claim(
                &id("missing-key"),
                format!("A pod does not start without a key of {}, and says which is missing", kind.title),
                move |ctx| missing(ctx, kind, true),
            )
            .covers(&format!(
                "{} Should fail non-optional pod creation due to the key in the {} object does not exist",
                kind.upstream,
                if kind.kind == "Secret" { "secret" } else { "configMap" },
            ))
            .trial(),
    ];
    if kind.kind == "ConfigMap" {
        trials.push(
            AREA.claim(&id("update"), format!("A change of {} reaches its volume", kind.title), move |ctx| {
                update(ctx, kind)
            })
            .limit(UPDATES + UPDATES)
            .covers(&format!("{} updates should be reflected in volume", kind.upstream))
            .trial(),
        );
    } else {
        trials.push(
            AREA.claim(
                &id("namespace"),
                format!("A volume has {} of its own namespace, not its namesake", kind.title),
                move |ctx| namesake(ctx, kind),
            )
            .covers(&format!(
                "{} should be able to mount in a volume regardless of a different secret existing with same name in \
                 different namespace",
                kind.upstream
            ))
            .trial(),
        );
    }
    trials
}

async fn twice(ctx: Ctx, kind: Kind) -> Result<(), Stop> {
    ctx.create(data(kind.kind, "source")).await?;
    let pod =
        Pod::new("reader", "cat /vol/one/data-1; stat /vol/one/data-1; stat /vol/two/data-1; cat /vol/two/data-2")
            .volume("one", "/vol/one", kind.source("source", None, json!({})))
            .volume("two", "/vol/two", kind.source("source", Some(0o400), json!({})));
    let printed = ctx.output(&pod).await?;
    ctx.line("the first volume", &printed, "value-1");
    ctx.line("the second volume", &printed, "value-2");
    file_has(&ctx, &printed, "/vol/one/data-1", &["mode=0644".to_owned()])?;
    file_has(&ctx, &printed, "/vol/two/data-1", &["mode=0400".to_owned()])
}

fn changed(kind: Kind, key: &str, value: &str) -> Value {
    // A Secret's stringData is merged into its data.
    json!({ if kind.kind == "Secret" { "stringData" } else { "data" }: { key: value } })
}

async fn update(ctx: Ctx, kind: Kind) -> Result<(), Stop> {
    ctx.create(data(kind.kind, "source")).await?;
    let pod =
        Pod::new("reader", "cat /vol/files/data-1; echo began; wait-text /vol/files/data-1 value-new; echo changed")
            .volume("files", "/vol/files", kind.source("source", None, json!({})));
    ctx.put(&pod).await?;
    ctx.until_printed("reader", "main", "began").await?;
    let place = Ref::new("v1", kind.kind, ctx.namespace(), "source");
    change(&ctx, &place, &changed(kind, "data-1", "value-new")).await?;
    finished(&ctx, "changed").await
}

async fn change(ctx: &Ctx, place: &Ref, patch: &Value) -> Result<(), Stop> {
    let patched = ctx.try_patch(place, patch).await?;
    patched.map(drop).map_err(|why| Stop::Undetermined(format!("change {place}: {why}")))
}

/// Waits, as long as a change may take, until the reader has printed its last line.
async fn finished(ctx: &Ctx, last: &str) -> Result<(), Stop> {
    let phase = crate::cluster::Condition::field("/status/phase", "Succeeded");
    let ended = ctx.until_pod("reader", &phase, UPDATES).await?;
    let printed = ctx.logs("reader", "main").await?;
    ctx.line("reader", &printed, last);
    ctx.expect(
        "reader",
        "its exit code",
        &status_of(&ended, "main")["state"]["terminated"]["exitCode"].as_i64(),
        &Some(0),
    );
    Ok(())
}

async fn optional(ctx: Ctx, kind: Kind) -> Result<(), Stop> {
    ctx.create(data(kind.kind, "deleted")).await?;
    ctx.create(data(kind.kind, "updated")).await?;
    let script = "test /vol/deleted/data-1; cat /vol/updated/data-1; try test /vol/created/data-1; echo began; \
                  wait-gone /vol/deleted/data-1; echo deleted; wait-text /vol/updated/data-3 value-new; echo updated; \
                  wait-text /vol/created/data-1 value-1; echo created";
    let optional = json!({ "optional": true });
    let pod = ["deleted", "updated", "created"].iter().fold(Pod::new("reader", script), |pod, name| {
        pod.volume(name, &format!("/vol/{name}"), kind.source(name, None, optional.clone()))
    });
    ctx.put(&pod).await?;
    ctx.until_printed("reader", "main", "began").await?;
    let printed = ctx.logs("reader", "main").await?;
    ctx.line("an optional volume without its object", &printed, "failed ENOENT");
    let place = |name: &str| Ref::new("v1", kind.kind, ctx.namespace(), name);
    ctx.delete(&place("deleted"), None).await?;
    change(&ctx, &place("updated"), &changed(kind, "data-3", "value-new")).await?;
    ctx.create(data(kind.kind, "created")).await?;
    finished(&ctx, "created").await
}

async fn missing(ctx: Ctx, kind: Kind, key: bool) -> Result<(), Stop> {
    let mut more = json!({});
    if key {
        ctx.create(data(kind.kind, "source")).await?;
        more["items"] = json!([{ "key": "no-such-key", "path": "file" }]);
    }
    let pod = Pod::new("reader", "list /vol/files").volume("files", "/vol/files", kind.source("source", None, more));
    ctx.put(&pod).await?;
    let part = if key { "non-existent" } else { "not found" };
    let message = ctx.until_event("reader", "FailedMount", part).await?;
    ctx.prints("the event", &message, if key { "no-such-key" } else { "source" });
    let pod = ctx.get(&ctx.pod("reader")).await?;
    ctx.expect("reader", "its phase", &pod["status"]["phase"].as_str(), &Some("Pending"));
    Ok(())
}

async fn namesake(ctx: Ctx, kind: Kind) -> Result<(), Stop> {
    let other = format!("{}-other", ctx.namespace());
    ctx.create(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": other } })).await?;
    let mut namesake = data(kind.kind, "source");
    namesake["metadata"]["namespace"] = other.into();
    namesake["stringData"]["data-1"] = "of-the-other".into();
    ctx.create(namesake).await?;
    ctx.create(data(kind.kind, "source")).await?;
    let pod = Pod::new("reader", "cat /vol/files/data-1").volume(
        "files",
        "/vol/files",
        kind.source("source", None, json!({})),
    );
    let printed = ctx.output(&pod).await?;
    ctx.line("content", &printed, "value-1");
    Ok(())
}

async fn binary(ctx: Ctx) -> Result<(), Stop> {
    // The bytes 0xde 0xca 0xfe 0xba 0xd0 0xfe 0xff, which are no UTF-8.
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "source" },
        "data": { "text": "value-1" }, "binaryData": { "bytes": "3sr+utD+/w==" },
    });
    ctx.create(object).await?;
    let pod = Pod::new("reader", "hex /vol/files/bytes; cat /vol/files/text").volume(
        "files",
        "/vol/files",
        json!({ "configMap": { "name": "source" } }),
    );
    let printed = ctx.output(&pod).await?;
    ctx.line("binaryData", &printed, "decafebad0feff");
    ctx.line("data", &printed, "value-1");
    Ok(())
}
