//! Images: pulled, present, missing, misnamed.

use std::time::Duration;

use serde_json::json;

use super::Area;
use super::upstream::Covers as _;
use crate::cluster::{Ctx, Pod, Stop, container_is, status_of};
use crate::trial::Trial;

const AREA: Area = Area {
    id: "images",
    caught_by: "images-are-not-pulled",
    why: "A node that cannot pull starts nothing new; one that hides why costs hours.",
    how: "Runs a pod with the image and the pull policy, and reads whether it runs, or which reason its \
          container waits with.",
    fix: "Look at the registry configuration of the runtime (containerd: config_path and hosts.toml) and at \
          proxies and names.",
    basis: ("Images", "https://kubernetes.io/docs/concepts/containers/images/"),
};

pub(super) fn trials() -> Vec<Trial> {
    let prefix = "Container Runtime blackbox test when running a container with a new image";
    let waits = |id: &'static str,
                 title: &'static str,
                 image: Option<&'static str>,
                 policy: &'static str,
                 reasons: &'static [&'static str]| {
        let area = Area { caught_by: "images-are-replaced", ..AREA };
        area.claim(id, title, move |ctx| waiting(ctx, image, policy, reasons))
    };
    vec![
        AREA.claim("pulled", "The runtime pulls the image of workloads, and the container runs", |ctx| async move {
            let pod =
                ctx.running(&Pod::new("puller", "sleep 600").main(json!({ "imagePullPolicy": "Always" }))).await?;
            let id = status_of(&pod, "main")["imageID"].as_str().unwrap_or_default().to_owned();
            ctx.expect("puller", "its image has an ID", &id.contains("sha256:"), &true);
            ctx.until_event("puller", "Pulled", "Successfully pulled image").await.map(drop)
        })
        .covers(&format!("{prefix} should be able to pull image"))
        .trial(),
        AREA.claim("present", "An image that is present is not pulled again with IfNotPresent", |ctx| async move {
            ctx.output(&Pod::new("first", "exit 0")).await?;
            ctx.running(&Pod::new("second", "sleep 600")).await?;
            ctx.until_event("second", "Pulled", "already present on machine").await.map(drop)
        })
        .alias("IfNotPresent")
        .trial(),
        waits(
            "invalid-registry",
            "An image of a registry that does not exist is not pulled, and the container says so",
            Some("invalid.registry.k8s.io/invalid/alpine:3.1"),
            "Always",
            &["ErrImagePull", "ImagePullBackOff"],
        )
        .covers(&format!("{prefix} should not be able to pull image from invalid registry"))
        .trial(),
        waits(
            "never",
            "An image that is not present is not pulled with Never, and the container says so",
            Some("registry.seaworthy.dev/no-such-image:1"),
            "Never",
            &["ErrImageNeverPull"],
        )
        .alias("ErrImageNeverPull")
        .trial(),
        waits(
            "invalid-name",
            "An image whose name is none is not pulled, and the container says so",
            Some("Not/A/Valid/Name"),
            "IfNotPresent",
            &["InvalidImageName"],
        )
        .alias("InvalidImageName")
        .trial(),
    ]
}

async fn waiting(ctx: Ctx, image: Option<&str>, policy: &str, reasons: &'static [&'static str]) -> Result<(), Stop> {
    let pod = Pod::new("puller", "sleep 600").main(json!({ "image": image, "imagePullPolicy": policy }));
    ctx.put(&pod).await?;
    let waits = container_is(&format!("waits with {}", reasons.join(" or ")), "main", move |status| {
        status["state"]["waiting"]["reason"].as_str().is_some_and(|reason| reasons.contains(&reason))
    });
    let pod = ctx.until_pod("puller", &waits, Duration::from_secs(120)).await?;
    ctx.expect("puller", "its phase", &pod["status"]["phase"].as_str(), &Some("Pending"));
    Ok(())
}
