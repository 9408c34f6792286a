//! Claims about a cluster's admission beside the matrix: labels, updates, ephemeral containers, audit, exemptions.

use std::time::Duration;

use http::{Method, Request};
use seaworthy_objects::podsecurity::cases::{linux, wrap};
use seaworthy_objects::podsecurity::{Kind, Level, Policy, Version, Workload, reason};
use serde_json::{Value, json};

use super::live::{OFF, Said, claim, create, evaluator, expected, labels, namespace, read, send};
use crate::cluster::{Ctx, Ref, Rejection, Requirement, Stop};
use crate::trial::Trial;

const PATIENCE: Duration = Duration::from_secs(20);

/// A pod that only `privileged` allows.
fn host_pod(name: &str) -> Value {
    let mut pod = linux();
    pod["metadata"]["name"] = name.into();
    pod["spec"]["hostPID"] = true.into();
    pod["spec"]["serviceAccountName"] = "case".into();
    wrap(Kind::Pod, &pod)
}

fn restricted() -> Policy {
    Policy { level: Level::Restricted, version: Version::Latest }
}

pub(super) fn trials() -> Vec<Trial> {
    vec![
        claim("labels.invalid", "A namespace with a bad label of Pod Security is refused", OFF, invalid_labels)
            .why("A misspelled level would otherwise be taken for another one.")
            .how("Asks by dry run for namespaces with bad levels and versions; the refusal must name the label.")
            .trial(),
        claim(
            "labels.existing-pods",
            "Raising a namespace's level warns of the pods that violate it",
            OFF,
            existing_pods,
        )
        .why("It is how a level is raised without a surprise.")
        .how("Creates a pod that violates the restricted level, then changes the label by dry run.")
        .trial(),
        claim("enforce.workloads", "A level that is enforced warns of workloads and accepts them", OFF, workloads)
            .why("Only pods are refused; who creates a Deployment must learn of it by a warning.")
            .how(
                "Creates a Deployment by dry run in a namespace that enforces the restricted level and has no warn \
                 label.",
            )
            .trial(),
        claim(
            "enforce.update",
            "A new image of a pod that violates the level is refused, and a new label is not",
            OFF,
            update,
        )
        .why("A pod that was there before the level must not be exchanged for another under its name.")
        .how("Creates a pod, raises the level of its namespace, then changes the pod by dry run.")
        .trial(),
        claim("enforce.ephemeral", "A privileged ephemeral container is refused", OFF, ephemeral)
            .why("kubectl debug would otherwise be a way around the level.")
            .how("Creates an allowed pod, then adds an ephemeral container to it by dry run.")
            .trial(),
        claim("audit", "Admission counts what is only audited", OFF, audit)
            .requires(Requirement::KubernetesFrom(24))
            .why("Without it nobody can see in metrics and audit logs what a stricter level would refuse.")
            .how(
                "Creates a pod by dry run in a namespace that only audits, and reads pod_security_evaluations_total \
                 before and after.",
            )
            .trial(),
        claim("exempt.users", "No controller's service account is exempt", "controllers-are-exempt", exempt_users)
            .severity(seaworthy_reports::Severity::Critical)
            .why("Controllers create the pods of every user: through an exempt one everybody is exempt.")
            .how("Creates a pod by dry run as each of Kubernetes' controllers, by impersonation.")
            .fix("Remove the user from exemptions.usernames of PodSecurityConfiguration.")
            .requires(Requirement::Permission { verb: "impersonate", group: "", resource: "users" })
            .trial(),
        claim(
            "exempt.runtime-classes",
            "No RuntimeClass that exists is exempt",
            "runtime-class-is-exempt",
            exempt_classes,
        )
        .why("Who may create a pod may name any RuntimeClass.")
        .how("Creates a pod by dry run with each RuntimeClass of the cluster, and with one that is called kata.")
        .fix("Remove the RuntimeClass from exemptions.runtimeClasses of PodSecurityConfiguration.")
        .requires(Requirement::Permission { verb: "create", group: "node.k8s.io", resource: "runtimeclasses" })
        .trial(),
        claim(
            "labels.kept",
            "The labels of a namespace are kept as they are set",
            "labels-are-stripped",
            labels_are_kept,
        )
        .why("A webhook or a policy that changes labels changes what is enforced, unseen.")
        .how("Creates namespaces with each label, and reads them again.")
        .fix("Look for mutating webhooks and policies that match namespaces.")
        .trial(),
    ]
}

async fn invalid_labels(ctx: Ctx) -> Result<(), Stop> {
    for (label, value, wanted) in [
        ("enforce", "strict", "must be one of privileged, baseline, restricted"),
        ("audit", "Baseline", "must be one of privileged, baseline, restricted"),
        ("warn", "", "must be one of privileged, baseline, restricted"),
        ("enforce-version", "1.30", "must be \"latest\" or \"v1.x\""),
        ("warn-version", "v1.01", "must be \"latest\" or \"v1.x\""),
        ("enforce", "restricted", ""),
        ("audit-version", "v1.99", ""),
    ] {
        let label = format!("pod-security.kubernetes.io/{label}");
        let name = format!("{}-labels", ctx.namespace());
        let labels = json!({ label.as_str(): value });
        let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } });
        let subject = format!("{label}={value}");
        match (ctx.dry_run(object).await?, wanted) {
            (Ok(_), "") => {}
            (Err(why), "") => ctx.breach(&subject, format!("{subject}: refused ({why})")),
            (Ok(_), wanted) => ctx.breach(&subject, format!("{subject}: accepted; expected '{wanted}'")),
            (Err(why), wanted) => {
                let told = why.code == 422 && why.message.contains(&label) && why.message.contains(wanted);
                if !told {
                    ctx.breach(&subject, format!("{subject}: {why}; expected '{wanted}'"));
                }
            }
        }
    }
    Ok(())
}

async fn existing_pods(ctx: Ctx) -> Result<(), Stop> {
    let place = namespace(&ctx, "pods", json!({})).await?;
    let mut first = host_pod("first");
    first["metadata"]["namespace"] = place.as_str().into();
    ctx.create(first.clone()).await?;
    let path = Ref::new("v1", "Namespace", "", &place).path();
    let patch = json!({ "metadata": { "labels": labels("enforce", restricted()) } });
    let said = send(&ctx, Method::PATCH, &path, &patch, None).await?;
    said.attempt.as_ref().map_err(|why| Stop::Undetermined(format!("label the namespace: {why}")))?;
    let evaluator = evaluator(&ctx);
    let workload = Workload::of(&read(&first)).ok_or_else(|| Stop::Undetermined("no pod".to_owned()))?;
    let why = reason(&evaluator.evaluate(restricted(), &evaluator.admitted(&workload)));
    // Kubernetes 1.23 lists the pods alone.
    let head = format!(
        "existing pods in namespace \"{place}\" violate the new PodSecurity enforce level \"restricted:latest\""
    );
    let pod = format!("first: {why}");
    if !said.warnings.contains(&pod) {
        ctx.breach("warnings", format!("no warning '{pod}', but {:?}", said.warnings));
    }
    if evaluator.server >= 24 && !said.warnings.contains(&head) {
        ctx.breach("warnings", format!("no warning '{head}', but {:?}", said.warnings));
    }
    Ok(())
}

async fn workloads(ctx: Ctx) -> Result<(), Stop> {
    let place = namespace(&ctx, "enforce", labels("enforce", restricted())).await?;
    let mut pod = linux();
    pod["spec"]["hostPID"] = true.into();
    for kind in [Kind::Deployment, Kind::Job, Kind::DaemonSet] {
        let object = wrap(kind, &pod);
        let said = create(&ctx, &place, &object).await?;
        if let Err(why) = &said.attempt {
            ctx.breach(kind.name(), format!("{} is refused: {why}", kind.name()));
            continue;
        }
        // Before 1.24 a namespace without a warn label does not warn.
        let wanted = expected(evaluator(&ctx), restricted(), &object).filter(|_| evaluator(&ctx).server >= 24);
        let wanted = wanted.map(|detail| format!("would violate PodSecurity \"restricted:latest\": {detail}"));
        ctx.expect(kind.name(), "the warning", &said.of_policy(), &wanted.as_deref().into_iter().collect());
    }
    Ok(())
}

async fn update(ctx: Ctx) -> Result<(), Stop> {
    let place = namespace(&ctx, "update", json!({})).await?;
    let mut object = host_pod("old");
    object["metadata"]["namespace"] = place.as_str().into();
    ctx.create(object).await?;
    let of = Ref::new("v1", "Namespace", "", &place);
    let patch = json!({ "metadata": { "labels": labels("enforce", restricted()) } });
    ctx.try_patch(&of, &patch).await?.map_err(|why| Stop::Undetermined(format!("label the namespace: {why}")))?;
    let path = Ref::new("v1", "Pod", &place, "old").path();
    let image = json!({ "spec": { "containers": [
        { "name": "main", "image": "registry.invalid/other:1",
          "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } } },
    ] } });
    let label = json!({ "metadata": { "labels": { "a": "b" } } });
    // Admission reads namespaces from a cache, which may lag behind the change of the label.
    let end = tokio::time::Instant::now() + PATIENCE;
    let refused = loop {
        let said = strategic(&ctx, &path, &image).await?;
        if said.attempt.is_err() || tokio::time::Instant::now() > end {
            break said.attempt.err();
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    match refused {
        Some(why) if why.message.contains("violates PodSecurity \"restricted:latest\"") => {}
        Some(why) => return Err(Stop::Undetermined(format!("change the image: {why}"))),
        None => ctx.breach("Pod old", "another image is accepted for a pod that violates the level"),
    }
    if let Err(why) = strategic(&ctx, &path, &label).await?.attempt {
        ctx.breach("Pod old", format!("a label cannot be set: {why}"));
    }
    Ok(())
}

/// A strategic merge patch by dry run.
async fn strategic(ctx: &Ctx, path: &str, patch: &Value) -> Result<Said, Stop> {
    let silent = |error: String| Stop::Undetermined(format!("the API server does not answer {path}: {error}"));
    let request =
        Request::patch(format!("{path}?dryRun=All")).header("content-type", "application/strategic-merge-patch+json");
    let request = request.body(patch.to_string().into_bytes()).map_err(|error| silent(error.to_string()))?;
    let attempt = match ctx.client().request::<Value>(request).await {
        Ok(value) => Ok(value),
        Err(kube::Error::Api(status)) => {
            Err(Rejection { code: status.code, reason: status.reason.clone(), message: status.message.clone() })
        }
        Err(error) => return Err(silent(error.to_string())),
    };
    Ok(Said { attempt, warnings: Vec::new() })
}

async fn ephemeral(ctx: Ctx) -> Result<(), Stop> {
    let place =
        namespace(&ctx, "debug", labels("enforce", Policy { level: Level::Baseline, version: Version::Latest }))
            .await?;
    let mut pod = linux();
    pod["spec"]["serviceAccountName"] = "case".into();
    let mut object = wrap(Kind::Pod, &pod);
    object["metadata"]["namespace"] = place.as_str().into();
    ctx.create(object).await?;
    let path = format!("{}/ephemeralcontainers", Ref::new("v1", "Pod", &place, "case").path());
    for (privileged, wanted) in [(false, None), (true, Some("privileged (container \"debug\" must not set"))] {
        let debug = json!({ "spec": { "ephemeralContainers": [
            { "name": "debug", "image": "registry.invalid/none:1", "securityContext": { "privileged": privileged } },
        ] } });
        match (strategic(&ctx, &path, &debug).await?.attempt, wanted) {
            (Ok(_), None) => {}
            (Err(why), Some(wanted)) if why.code == 403 && why.message.contains(wanted) => {}
            (Ok(_), Some(_)) => ctx.breach("debug", "a privileged ephemeral container is accepted"),
            (Err(why), None) => ctx.breach("debug", format!("an unprivileged ephemeral container is refused: {why}")),
            (Err(why), Some(_)) => return Err(Stop::Undetermined(format!("add an ephemeral container: {why}"))),
        }
    }
    Ok(())
}

/// The number of refusals that only audit counts, by a version that nothing else here audits by.
async fn audited(ctx: &Ctx) -> Result<u64, Stop> {
    let text = ctx.text(Method::GET, "/metrics").await?;
    let text = text.map_err(|why| Stop::Undetermined(crate::cluster::in_the_way("read /metrics", &why)))?;
    let wanted = ["mode=\"audit\"", "decision=\"deny\"", "policy_level=\"baseline\"", "policy_version=\"v1.11\""];
    let lines = text.lines().filter(|line| line.starts_with("pod_security_evaluations_total{"));
    let lines = lines.filter(|line| wanted.iter().all(|part| line.contains(part)));
    Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
}

async fn audit(ctx: Ctx) -> Result<(), Stop> {
    let policy = Policy { level: Level::Baseline, version: Version::V1(11) };
    let place = namespace(&ctx, "audit", labels("audit", policy)).await?;
    let before = audited(&ctx).await?;
    let said = create(&ctx, &place, &host_pod("case")).await?;
    if let Err(why) = &said.attempt {
        return Err(Stop::breach("audit", format!("a pod is refused where it is only audited: {why}")));
    }
    ctx.expect("audit", "warnings", &said.of_policy(), &Vec::new());
    let after = audited(&ctx).await?;
    // With several API servers the metrics may be another's.
    if after <= before {
        ctx.breach("audit", format!("pod_security_evaluations_total of audit was {before} and is {after}"));
    }
    Ok(())
}

const CONTROLLERS: [&str; 5] = [
    "replicaset-controller",
    "statefulset-controller",
    "daemon-set-controller",
    "job-controller",
    "replication-controller",
];

async fn exempt_users(ctx: Ctx) -> Result<(), Stop> {
    let place = namespace(&ctx, "users", labels("enforce", restricted())).await?;
    let path = Ref::new("v1", "Pod", &place, "case").collection();
    for name in CONTROLLERS {
        let user = format!("system:serviceaccount:kube-system:{name}");
        match send(&ctx, Method::POST, &path, &host_pod("case"), Some(&user)).await?.attempt {
            Err(why) if why.message.contains("violates PodSecurity") => {}
            Err(why) => return Err(Stop::Undetermined(format!("create a pod as {user}: {why}"))),
            Ok(_) => ctx.breach(&user, format!("{user} may create a pod that violates the level")),
        }
    }
    Ok(())
}

async fn exempt_classes(ctx: Ctx) -> Result<(), Stop> {
    let place = namespace(&ctx, "classes", labels("enforce", restricted())).await?;
    let listed = ctx.list(&Ref::all("node.k8s.io/v1", "RuntimeClass")).await?;
    let mut names: Vec<_> =
        listed.iter().filter_map(|one| one["metadata"]["name"].as_str().map(str::to_owned)).collect();
    if !names.iter().any(|name| name == "kata") {
        let class = json!({
            "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": { "name": "kata" }, "handler": "kata",
        });
        ctx.create(class).await?;
        names.push("kata".to_owned());
    }
    for name in names {
        let mut object = host_pod("case");
        object["spec"]["runtimeClassName"] = name.as_str().into();
        match create(&ctx, &place, &object).await?.attempt {
            Err(why) if why.message.contains("violates PodSecurity") => {}
            Err(why) => return Err(Stop::Undetermined(format!("create a pod of the RuntimeClass {name}: {why}"))),
            Ok(_) => ctx.breach(&name, format!("a pod of the RuntimeClass {name} may violate the level")),
        }
    }
    Ok(())
}

async fn labels_are_kept(ctx: Ctx) -> Result<(), Stop> {
    for mode in ["enforce", "audit", "warn"] {
        let labels = labels(mode, restricted());
        let place = namespace(&ctx, mode, labels.clone()).await?;
        let found = ctx.get(&Ref::new("v1", "Namespace", "", &place)).await?;
        for (label, value) in labels.as_object().into_iter().flatten() {
            ctx.expect(label, "the label's value", &found["metadata"]["labels"].get(label), &Some(value));
        }
    }
    Ok(())
}
