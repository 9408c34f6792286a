//! Directories: emptyDir in memory and on disk, and hostPath.

use serde_json::{Value, json};

use super::super::upstream::Covers as _;
use super::{AREA, GROUP, USER, file_has};
use crate::cluster::{Ctx, Pod, Stop, container};
use crate::trial::Trial;

/// The media of emptyDir: the id, as upstream names it, and the value of `medium`.
const MEDIA: [(&str, &str, &str); 2] = [("disk", "default", ""), ("memory", "tmpfs", "Memory")];

fn empty(medium: &str) -> Value {
    json!({ "emptyDir": { "medium": medium } })
}

fn on(medium: &str) -> String {
    format!("on={}", if medium == "Memory" { "tmpfs" } else { "disk" })
}

pub(super) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (id, name, medium) in MEDIA {
        for (user_id, user_name, user) in [("root", "root", 0), ("non-root", "non-root", USER)] {
            for mode in [0o644, 0o666, 0o777] {
                let title = format!("An emptyDir ({name}) keeps a file with the mode {mode:04o} of the user {user}");
                trials.push(
                    AREA.claim(&format!("empty-dir.{id}.{user_id}-{mode:04o}"), title, move |ctx| {
                        file(ctx, medium, user, mode, None)
                    })
                    .covers(&format!("EmptyDir volumes should support ({user_name},{mode:04o},{name})"))
                    .trial(),
                );
            }
        }
        trials.push(
            AREA.claim(
                &format!("empty-dir.{id}.mode"),
                format!("An emptyDir ({name}) has the mode 0777"),
                move |ctx| directory(ctx, medium, None),
            )
            .covers(&format!(
                "EmptyDir volumes volume on {} should have the correct mode",
                if medium.is_empty() { "default medium" } else { "tmpfs" }
            ))
            .trial(),
        );
        trials.push(
            AREA.claim(
                &format!("empty-dir.{id}.fs-group"),
                format!("An emptyDir ({name}) is of the pod's fsGroup"),
                move |ctx| directory(ctx, medium, Some(GROUP)),
            )
            .covers(&format!(
                "EmptyDir volumes when FSGroup is specified volume on {} should have the correct mode using FSGroup",
                if medium.is_empty() { "default medium" } else { "tmpfs" }
            ))
            .trial(),
        );
    }
    for (id, words, user) in [("root", "root", 0), ("non-root", "non-root", USER)] {
        trials.push(
            AREA.claim(
                &format!("empty-dir.new-files-{id}"),
                format!("New files in an emptyDir are of fsGroup, made by the user {user}"),
                move |ctx| file(ctx, "Memory", user, 0o666, Some(GROUP)),
            )
            .covers(&format!(
                "EmptyDir volumes when FSGroup is specified new files should be created with FSGroup ownership when \
                 container is {words}"
            ))
            .trial(),
        );
    }
    trials.push(
        AREA.claim("empty-dir.fs-group-0644", "A file of fsGroup keeps the mode 0644 in an emptyDir (tmpfs)", |ctx| {
            file(ctx, "Memory", 0, 0o644, Some(GROUP))
        })
        .covers(
            "EmptyDir volumes when FSGroup is specified files with FSGroup ownership should support (root,0644,tmpfs)",
        )
        .trial(),
    );
    trials.push(
        AREA.claim(
            "empty-dir.sub-path",
            "A subPath that is missing is made, with the volume's mode and \
                                          fsGroup",
            sub_path,
        )
        .covers(
            "EmptyDir volumes when FSGroup is specified nonexistent volume subPath should have the \
                     correct mode and owner using FSGroup",
        )
        .trial(),
    );
    trials.push(
        AREA.claim("empty-dir.size", "An emptyDir in memory has its sizeLimit", size)
            .covers("EmptyDir volumes pod should support memory backed volumes of specified size")
            .trial(),
    );
    trials.push(
        AREA.claim("empty-dir.shared", "Containers of a pod share an emptyDir", shared)
            .alias("EmptyDir shared volumes")
            .trial(),
    );
    trials.extend([
        AREA.claim("host-path.mode", "A hostPath of /tmp has that folder's mode", |ctx| async move {
            let pod = Pod::new("reader", "stat /vol/host").volume(
                "host",
                "/vol/host",
                json!({ "hostPath": { "path": "/tmp" } }),
            );
            let printed = ctx.output(&pod).await?;
            file_has(&ctx, &printed, "/vol/host", &["mode=1777".to_owned(), "kind=directory".to_owned()])
        })
        .covers("HostPath should give a volume the correct mode")
        .trial(),
        AREA.claim("host-path.read-write", "What a container writes to a hostPath another one reads", |ctx| {
            host(ctx, false)
        })
        .covers("HostPath should support r/w")
        .trial(),
        AREA.claim("host-path.sub-path", "A subPath of a hostPath is that folder of the node", |ctx| host(ctx, true))
            .covers("HostPath should support subPath")
            .trial(),
    ]);
    trials
}

fn security(user: u32, group: Option<u32>) -> Value {
    let mut security = json!({ "runAsUser": user });
    if let Some(group) = group {
        security["fsGroup"] = group.into();
    }
    json!({ "securityContext": security })
}

async fn file(ctx: Ctx, medium: &str, user: u32, mode: u32, group: Option<u32>) -> Result<(), Stop> {
    let script =
        format!("create {mode:04o} /vol/dir/file some text; stat /vol/dir/file; cat /vol/dir/file; stat /vol/dir");
    let pod = Pod::new("writer", &script).spec(security(user, group)).volume("dir", "/vol/dir", empty(medium));
    let printed = ctx.output(&pod).await?;
    ctx.line("content", &printed, "some text");
    let mut wanted = vec![format!("mode={mode:04o}"), format!("uid={user}"), on(medium)];
    // The folder's set-group-ID bit gives new files its group.
    wanted.extend(group.map(|group| format!("gid={group}")));
    file_has(&ctx, &printed, "/vol/dir/file", &wanted)
}

async fn directory(ctx: Ctx, medium: &str, group: Option<u32>) -> Result<(), Stop> {
    let pod = Pod::new("reader", "stat /vol/dir").spec(security(0, group)).volume("dir", "/vol/dir", empty(medium));
    let printed = ctx.output(&pod).await?;
    // Beyond the permissions there are the sticky bit of tmpfs and the set-group-ID bit of fsGroup.
    let wanted =
        ["perm=0777".to_owned(), on(medium), format!("gid={}", group.unwrap_or(0)), "kind=directory".to_owned()];
    file_has(&ctx, &printed, "/vol/dir", &wanted)
}

async fn sub_path(ctx: Ctx) -> Result<(), Stop> {
    let pod = Pod::new("writer", "create 0644 /vol/sub/file text; stat /vol/sub; stat /vol/sub/file")
        .spec(security(USER, Some(GROUP)))
        .source("dir", empty("Memory"))
        .main(json!({ "volumeMounts": [{ "name": "dir", "mountPath": "/vol/sub", "subPath": "no/such/folder" }] }));
    let printed = ctx.output(&pod).await?;
    let owned = [format!("gid={GROUP}"), "on=tmpfs".to_owned()];
    file_has(&ctx, &printed, "/vol/sub", &[&["perm=0777".to_owned()], &owned[..]].concat())?;
    file_has(&ctx, &printed, "/vol/sub/file", &owned)
}

async fn size(ctx: Ctx) -> Result<(), Stop> {
    let source = json!({ "emptyDir": { "medium": "Memory", "sizeLimit": "16Mi" } });
    let printed = ctx.output(&Pod::new("reader", "stat /vol/dir").volume("dir", "/vol/dir", source)).await?;
    file_has(&ctx, &printed, "/vol/dir", &["on=tmpfs".to_owned(), format!("capacity={}", 16 << 20)])
}

async fn shared(ctx: Ctx) -> Result<(), Stop> {
    let mut writer = container("writer", "write /vol/other/file from the writer");
    writer["volumeMounts"] = json!([{ "name": "dir", "mountPath": "/vol/other" }]);
    let pod = Pod::new("shared", "wait-text /vol/dir/file from the writer; cat /vol/dir/file").and(writer);
    let printed = ctx.output(&pod.volume("dir", "/vol/dir", empty(""))).await?;
    ctx.line("the reader", &printed, "from the writer");
    Ok(())
}

async fn host(ctx: Ctx, sub_path: bool) -> Result<(), Stop> {
    // The namespace is unique on the node; what is made there is removed by the pod itself.
    let name = ctx.namespace().to_owned();
    let file = if sub_path { format!("/vol/host/{name}/file") } else { format!("/vol/host/{name}") };
    let mut writer = if sub_path {
        container("writer", "write /vol/sub/file of the node")
    } else {
        container("writer", &format!("write /vol/sub/{name} of the node"))
    };
    let mut mount = json!({ "name": "host", "mountPath": "/vol/sub" });
    if sub_path {
        mount["subPath"] = name.clone().into();
    }
    writer["volumeMounts"] = json!([mount]);
    let script = format!("wait-text {file} of the node; cat {file}; rm /vol/host/{name}; echo removed");
    let source = json!({ "hostPath": { "path": "/tmp" } });
    let printed = ctx.output(&Pod::new("host", &script).and(writer).volume("host", "/vol/host", source)).await?;
    ctx.line("the reader", &printed, "of the node");
    ctx.line("the reader", &printed, "removed");
    Ok(())
}
