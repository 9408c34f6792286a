//! Commands, arguments and working directories of containers.

use serde_json::{Value, json};

use super::Area;
use super::upstream::Covers as _;
use crate::cluster::{Ctx, Pod, Stop};
use crate::trial::Trial;

const AREA: Area = Area {
    id: "containers",
    caught_by: "runtime-loses-arguments",
    why: "A container that runs another command than its pod says does something else than its author tested.",
    how: "Runs pods of an image with an entry point and default arguments, and reads what the process got.",
    fix: "Look for a wrapper around the OCI runtime (containerd's BinaryName, CRI-O's runtime_path) or an NRI plug-in.",
    basis: (
        "Define a Command and Arguments for a Container",
        "https://kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container/",
    ),
};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        AREA.claim("defaults", "A container without command and args runs what its image says", defaults)
            .covers("Containers should use the image defaults if command and args are blank")
            .trial(),
        AREA.claim("args", "args replace the arguments of the image", |ctx| {
            argv(
                ctx,
                json!({ "args": ["do", "argv", ";", "echo", "two words"] }),
                &["/seaworthy", "workload", "do", "argv", ";", "echo", "two words"],
            )
        })
        .covers("Containers should be able to override the image's default arguments (container cmd)")
        .trial(),
        AREA.claim("command", "command replaces the entry point of the image, and its arguments are ignored", |ctx| {
            // The image's default argument is `serve`, which would not end.
            let command = ["//seaworthy", "workload", "do", "argv"];
            argv(ctx, json!({ "command": command, "args": null }), &["//seaworthy", "workload", "do", "argv"])
        })
        .covers("Containers should be able to override the image's default command (container entrypoint)")
        .trial(),
        AREA.claim("command-and-args", "command and args replace entry point and arguments of the image", |ctx| {
            argv(
                ctx,
                json!({ "command": ["//seaworthy", "workload"], "args": ["do", "argv", ";"] }),
                &["//seaworthy", "workload", "do", "argv", ";"],
            )
        })
        .covers("Containers should be able to override the image's default command and arguments")
        .trial(),
        AREA.claim(
            "working-directory",
            "A container starts in its workingDir, which is made where it is missing",
            |ctx| async move {
                let pod = Pod::new("directory", "cwd; argv").main(json!({ "workingDir": "/work/here" }));
                let printed = ctx.output(&pod).await?;
                ctx.line("workingDir", &printed, "/work/here");
                Ok(())
            },
        )
        .alias("workingDir")
        .trial(),
    ]
}

async fn defaults(ctx: Ctx) -> Result<(), Stop> {
    let pod = Pod::new("defaults", "").main(json!({ "args": null }));
    ctx.running(&pod).await?;
    // The image serves HTTP by default, and says so first.
    ctx.until_printed("defaults", "main", "http ").await.map(drop)
}

async fn argv(ctx: Ctx, fields: Value, wanted: &[&'static str]) -> Result<(), Stop> {
    let printed = ctx.output(&Pod::new("argv", "").main(fields)).await?;
    ctx.line("argv", &printed, &json!(wanted).to_string());
    Ok(())
}
