//! The guide's example manifests, as they are, but for the command of win-webserver, which no node runs here.

use std::time::Duration;

use serde_json::{Value, json};

use super::{BOTH, GUIDE, common};
use crate::cluster::{Claim, Condition, Ctx, Fleet, NodeSpec, Ref, Stop};
use crate::trial::Trial;

const WIN_WEBSERVER: &str = include_str!("examples/win-webserver.yaml");
const RUNTIME_CLASSES: &str = include_str!("examples/runtime-classes.yaml");
const IIS: &str = include_str!("examples/iis-2019.yaml");

pub(super) fn trials() -> Vec<Trial> {
    let all = |claim: Claim| {
        common(claim)
            .label("placement")
            .basis(GUIDE.0, GUIDE.1)
            // As they are, they fit on every node of the cluster, and have names of their own.
            .disturbs()
            .fix("Compare labels and taints of the nodes with the guide.")
    };
    vec![
        all(Claim::new(
            "windows.example.win-webserver",
            "The guide's win-webserver goes to Windows nodes, and its NodePort Service is accepted",
            BOTH,
            "blind-scheduler",
            win_webserver,
        ))
        .alias("win-webserver.yaml")
        .why("It is the first thing that people try on a Windows node.")
        .how(
            "Makes a small Windows node and a large Linux node without a kubelet, applies the manifests, and waits for \
             both pods.",
        )
        .trial(),
        all(Claim::new(
            "windows.example.iis-2019",
            "The guide's RuntimeClass windows-2019 and Deployment iis-2019 go to a node of that build",
            BOTH,
            "runtime-class-off",
            iis,
        ))
        .alias("runtimeClasses.yaml")
        .why("Clusters with several Windows builds are run this way.")
        .how("Makes nodes of two Windows builds and a large Linux node, applies the manifests, and waits for the pod.")
        .trial(),
    ]
}

/// The documents of a manifest, in the act's namespace.
fn documents(text: &str) -> Result<Vec<Value>, Stop> {
    let documents = text.split("\n---\n").map(serde_saphyr::from_str::<Value>);
    documents.collect::<Result<_, _>>().map_err(|error| Stop::Undetermined(format!("a manifest of the guide: {error}")))
}

async fn apply(ctx: &Ctx, text: &str) -> Result<(), Stop> {
    for document in documents(text)? {
        let name = document["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if let Err(why) = ctx.try_create(document).await? {
            return Err(Stop::breach(&name, format!("{name} is refused: {why}")));
        }
    }
    Ok(())
}

/// Waits until the pods of an app are bound, and compares their nodes.
async fn bound(ctx: &Ctx, fleet: &Fleet, app: &str, count: usize, node: &str) -> Result<(), Stop> {
    let place = Ref { namespace: Some(ctx.namespace().to_owned()), ..Ref::all("v1", "Pod") };
    let condition = Condition::new(format!("has {count} pods that are bound"), move |list| {
        let pods = list["items"].as_array().into_iter().flatten();
        let bound = pods.clone().filter(|pod| pod["spec"]["nodeName"].is_string()).count();
        let said = pods.filter_map(|pod| pod["status"]["conditions"][0]["message"].as_str()).next().unwrap_or_default();
        if bound == count { Ok(()) } else { Err(format!("{bound} of {count} pods are bound; {said}")) }
    });
    let list = ctx.until_list(&place, &format!("app={app}"), &condition, Duration::from_secs(90)).await;
    for pod in list?["items"].as_array().into_iter().flatten() {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let found = fleet.short(pod["spec"]["nodeName"].as_str().unwrap_or_default());
        ctx.expect(name, "its node", &found.as_str(), &node);
    }
    Ok(())
}

async fn win_webserver(ctx: Ctx) -> Result<(), Stop> {
    let nodes = [
        NodeSpec::linux("linux1").sized(64).open(),
        NodeSpec::windows("w2019", "10.0.17763").taints(Vec::new()).open(),
    ];
    let fleet = ctx.simulate(&nodes).await?;
    ctx.service_account().await?;
    apply(&ctx, WIN_WEBSERVER).await?;
    bound(&ctx, &fleet, "win-webserver", 2, "w2019").await?;
    let service = ctx.get(&Ref::new("v1", "Service", ctx.namespace(), "win-webserver")).await?;
    ctx.expect("the Service", "it has a node port", &service["spec"]["ports"][0]["nodePort"].is_u64(), &true);
    scale_down(&ctx, "win-webserver").await
}

async fn iis(ctx: Ctx) -> Result<(), Stop> {
    let nodes = [
        NodeSpec::linux("linux1").sized(64).open(),
        NodeSpec::windows("w2019", "10.0.17763").open(),
        NodeSpec::windows("w2022", "10.0.20348").sized(64).open(),
    ];
    let fleet = ctx.simulate(&nodes).await?;
    ctx.service_account().await?;
    apply(&ctx, RUNTIME_CLASSES).await?;
    apply(&ctx, IIS).await?;
    bound(&ctx, &fleet, "iis-2019", 1, "w2019").await?;
    scale_down(&ctx, "iis-2019").await
}

/// Ends the Deployment, and its pods without the grace period that no kubelet ends.
async fn scale_down(ctx: &Ctx, name: &str) -> Result<(), Stop> {
    let place = Ref::new("apps/v1", "Deployment", ctx.namespace(), name);
    let zero = json!({ "spec": { "replicas": 0 } });
    let _ = ctx.try_patch(&place, &zero).await?;
    let pods = Ref { namespace: Some(ctx.namespace().to_owned()), ..Ref::all("v1", "Pod") };
    for pod in ctx.list(&pods).await? {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        ctx.delete(&Ref::new("v1", "Pod", ctx.namespace(), name), Some(0)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guides_manifests_are_read() {
        let kinds = |text: &str| {
            let all = documents(text).unwrap();
            all.iter().map(|one| one["kind"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(kinds(WIN_WEBSERVER), ["Service", "Deployment"]);
        assert_eq!(kinds(RUNTIME_CLASSES), ["RuntimeClass"]);
        assert_eq!(kinds(IIS), ["Deployment", "Service"]);
    }
}
