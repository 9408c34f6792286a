//! Templates: the API server checks `spec.os.name` in workloads, before a pod is made of them.

use serde_json::{Value, json};

use super::{BUILDS, NEWEST, accepted, common, refused, set};
use crate::cluster::{Claim, Ctx, NodeSpec, Ref, Requirement, Stop};
use crate::trial::Trial;

/// A kind with a template of pods: its API and where the template's spec is.
#[derive(Debug, Clone, Copy)]
struct Kind {
    kind: &'static str,
    api: &'static str,
    spec: &'static str,
}

const KINDS: [Kind; 8] = [
    Kind { kind: "Deployment", api: "apps/v1", spec: "spec.template.spec" },
    Kind { kind: "ReplicaSet", api: "apps/v1", spec: "spec.template.spec" },
    Kind { kind: "StatefulSet", api: "apps/v1", spec: "spec.template.spec" },
    Kind { kind: "DaemonSet", api: "apps/v1", spec: "spec.template.spec" },
    Kind { kind: "Job", api: "batch/v1", spec: "spec.template.spec" },
    Kind { kind: "CronJob", api: "batch/v1", spec: "spec.jobTemplate.spec.template.spec" },
    Kind { kind: "ReplicationController", api: "v1", spec: "spec.template.spec" },
    Kind { kind: "PodTemplate", api: "v1", spec: "template.spec" },
];

impl Kind {
    fn object(self, spec: Value) -> Value {
        let mut object = json!({ "apiVersion": self.api, "kind": self.kind, "metadata": { "name": "template" } });
        set(&mut object, self.spec, spec);
        let labels = json!({ "app": "template" });
        let template = self.spec.trim_end_matches(".spec");
        match self.kind {
            "Job" | "CronJob" | "PodTemplate" => {}
            "ReplicationController" => object["spec"]["selector"] = labels.clone(),
            _ => object["spec"]["selector"] = json!({ "matchLabels": labels }),
        }
        set(&mut object, &format!("{template}.metadata"), json!({ "labels": labels }));
        match self.kind {
            "Job" | "CronJob" => set(&mut object, &format!("{}.restartPolicy", self.spec), json!("Never")),
            "StatefulSet" => object["spec"]["serviceName"] = json!("template"),
            _ => {}
        }
        if self.kind == "CronJob" {
            object["spec"]["schedule"] = json!("0 0 1 1 *");
        }
        object
    }
}

/// Who gets pods of a DaemonSet.
#[derive(Debug, Clone, Copy)]
struct Daemons {
    id: &'static str,
    title: &'static str,
    os: Option<&'static str>,
    build: Option<&'static str>,
    tolerates: bool,
    nodes: &'static [&'static str],
}

const DAEMONS: [Daemons; 4] = [
    Daemons {
        id: "windows",
        title: "A DaemonSet for Windows has one pod on every Windows node and on no other",
        os: Some("windows"),
        build: None,
        tolerates: true,
        nodes: &["w2019", "w2022", "w2025"],
    },
    Daemons {
        id: "linux",
        title: "A DaemonSet for Linux has no pod on Windows nodes",
        os: Some("linux"),
        build: None,
        tolerates: true,
        nodes: &["linux1", "linux2"],
    },
    Daemons {
        id: "unselected",
        title: "The taint keeps a DaemonSet without a node selector from Windows nodes",
        os: None,
        build: None,
        tolerates: false,
        nodes: &["linux1", "linux2"],
    },
    Daemons {
        id: "build",
        title: "A DaemonSet for one Windows build has pods on nodes of that build only",
        os: Some("windows"),
        build: Some("10.0.20348"),
        tolerates: true,
        nodes: &["w2022"],
    },
];

pub(super) fn trials() -> Vec<Trial> {
    let templates = KINDS.into_iter().map(|kind| {
        let claim = Claim::new(
            format!("windows.template.{}", kind.kind.to_lowercase()),
            format!("A {} whose template is a Windows pod with runAsUser is refused", kind.kind),
            [NEWEST],
            "os-removed",
            move |ctx| template(ctx, kind),
        );
        common(claim)
            .label("validation")
            .requires(Requirement::KubernetesFrom(24))
            .alias(format!("{}.securityContext.runAsUser: Forbidden", kind.spec))
            .why(
                "A workload that is accepted with a template that is not makes no pods, and says so only in its \
                 events.",
            )
            .how(
                "Asks the API server by dry run for the workload with runAsUser for Windows, and for the same for \
                 Linux.",
            )
            .fix("Look for a mutating webhook or policy that changes templates.")
            .trial()
    });
    let daemons = DAEMONS.into_iter().map(|row| {
        let defect = if row.os.is_none() { "taint-removed" } else { "selectors-removed" };
        let claim = Claim::new(format!("windows.daemonset.{}", row.id), row.title, [NEWEST], defect, move |ctx| {
            daemon_set(ctx, row)
        });
        common(claim)
            .label("placement")
            .alias("desiredNumberScheduled")
            .wants_consent()
            .why("A DaemonSet of one OS on nodes of the other leaves pods that never start, on every node.")
            .how(
                "Makes two Linux nodes and three Windows nodes without a kubelet, and waits for the pods of a \
                 DaemonSet on them.",
            )
            .fix(
                "Give DaemonSets the node selector kubernetes.io/os, and Windows nodes the taint \
                 os=windows:NoSchedule.",
            )
            .trial()
    });
    templates.chain(daemons).collect()
}

async fn template(ctx: Ctx, kind: Kind) -> Result<(), Stop> {
    let with = |os: &str| {
        let more = json!({ "os": { "name": os }, "securityContext": { "runAsUser": 1000 } });
        kind.object(ctx.bare_spec(&more))
    };
    let attempt = ctx.dry_run(with("windows")).await?;
    let path = format!("{}.securityContext.runAsUser: Forbidden", kind.spec);
    refused(&ctx, &format!("a Windows {}", kind.kind), &attempt, &[&path, "cannot be set for a windows pod"]);
    let attempt = ctx.dry_run(with("linux")).await?;
    accepted(&ctx, &format!("a Linux {}", kind.kind), attempt)?;
    Ok(())
}

async fn daemon_set(ctx: Ctx, row: Daemons) -> Result<(), Stop> {
    let mut nodes = vec![NodeSpec::linux("linux1"), NodeSpec::linux("linux2")];
    nodes.extend(BUILDS.iter().map(|(release, build)| NodeSpec::windows(&format!("w{release}"), build)));
    let fleet = ctx.simulate(&nodes).await?;
    let mut more = json!({});
    if row.tolerates {
        more["tolerations"] = json!([{ "key": "os", "operator": "Equal", "value": "windows", "effect": "NoSchedule" }]);
    }
    if let Some(os) = row.os {
        more["nodeSelector"]["kubernetes.io/os"] = os.into();
    }
    if let Some(build) = row.build {
        more["nodeSelector"]["node.kubernetes.io/windows-build"] = build.into();
    }
    let kind = KINDS[3];
    ctx.create(kind.object(ctx.bare_spec(&more))).await?;
    let place = Ref::new("apps/v1", "DaemonSet", ctx.namespace(), "template");
    let condition = crate::cluster::Condition::new("has scheduled its pods", |object| {
        let status = &object["status"];
        if status["observedGeneration"] == object["metadata"]["generation"]
            && status["desiredNumberScheduled"] == status["currentNumberScheduled"]
            && status["desiredNumberScheduled"] != 0
        {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });
    let object = ctx.until(&place, &condition, std::time::Duration::from_secs(60)).await?;
    let desired = object["status"]["desiredNumberScheduled"].as_u64().unwrap_or_default();
    ctx.expect("the DaemonSet", "desiredNumberScheduled", &desired, &(row.nodes.len() as u64));
    let pods = ctx.settled(row.nodes.len(), std::time::Duration::from_secs(60)).await?;
    let mut found: Vec<_> =
        pods.iter().map(|pod| fleet.short(pod["spec"]["nodeName"].as_str().unwrap_or_default())).collect();
    found.sort_unstable();
    ctx.expect("the DaemonSet", "the nodes of its pods", &found, &row.nodes.iter().map(|&n| n.to_owned()).collect());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_where_the_kinds_have_them() {
        for kind in KINDS {
            let object = kind.object(json!({ "marker": true }));
            let pointer = format!("/{}/marker", kind.spec.replace('.', "/"));
            assert_eq!(object.pointer(&pointer), Some(&json!(true)), "{}", kind.kind);
        }
        assert_eq!(KINDS[3].object(json!({}))["spec"]["selector"]["matchLabels"]["app"], "template");
    }
}
