//! Claims about a cluster's admission, tried by server-side dry run: it must say what the evaluator says, word for word.

use std::time::Duration;

use http::{Method, Request};
use kube::client::Body;
use seaworthy_objects::Node;
use seaworthy_objects::manifest::Object;
use seaworthy_objects::podsecurity::cases::{Case, cases, linux, wrap};
use seaworthy_objects::podsecurity::{Control, Evaluator, Kind, Level, Policy, Version, Workload, detail, reason};
use serde_json::{Value, json};

use super::{ADMISSION, pages};
use crate::cluster::{Attempt, Claim, ClusterNeed, Ctx, Ref, Rejection, Requirement, Stop};
use crate::trial::Trial;

/// The first Kubernetes with Pod Security admission on by default, and the newest, on which defects are tried: one control
/// plane runs no pod, and admission needs none.
const NEEDS: [ClusterNeed; 2] =
    [ClusterNeed { kubernetes: Some("v1.23.17"), ..ClusterNeed::new("admission-1-23") }, ClusterNeed::new("admission")];
/// So many requests are under way at once.
const TOGETHER: usize = 4;
const PATIENCE: Duration = Duration::from_secs(20);
const OFF: &str = "pod-security-off";

pub(super) fn trials() -> Vec<Trial> {
    let mut trials: Vec<_> = pages::CONTROLS.iter().map(|(control, page)| matrix(*control, page.title)).collect();
    trials.extend(kinds());
    trials.extend(others());
    trials
}

fn claim<F>(
    id: &str,
    title: impl Into<String>,
    caught_by: &'static str,
    body: impl Fn(Ctx) -> F + Send + Sync + 'static,
) -> Claim
where
    F: Future<Output = Result<(), Stop>> + Send + 'static,
{
    Claim::new(format!("podsecurity.admission.{id}"), title, NEEDS, caught_by, body)
        .requires(Requirement::KubernetesFrom(23))
        .requires(Requirement::Permission { verb: "create", group: "", resource: "namespaces" })
        .requires(Requirement::Permission { verb: "create", group: "", resource: "pods" })
        .label("admission")
        .alias(format!("PodSecurity {id}"))
        .fix("Look at --disable-admission-plugins and --admission-control-config-file of every API server.")
        .basis(ADMISSION.0, ADMISSION.1)
}

/// A policy's namespace, with a service account, since pods need one and controllers may be slow to make it.
async fn namespace(ctx: &Ctx, suffix: &str, labels: Value) -> Result<String, Stop> {
    let name = format!("{}-{suffix}", ctx.namespace());
    ctx.create(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } }))
        .await?;
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "case", "namespace": name },
    });
    ctx.create(account).await?;
    Ok(name)
}

fn labels(mode: &str, policy: Policy) -> Value {
    json!({
        format!("pod-security.kubernetes.io/{mode}"): policy.level.name(),
        format!("pod-security.kubernetes.io/{mode}-version"): policy.version.to_string(),
    })
}

/// What the API server said of a dry run: its answer, and its warnings.
struct Said {
    attempt: Attempt,
    warnings: Vec<String>,
}

impl Said {
    /// The warnings of Pod Security; the API server warns of other things, too.
    fn of_policy(&self) -> Vec<&str> {
        let ours = |text: &&str| text.contains("PodSecurity");
        self.warnings.iter().map(String::as_str).filter(ours).collect()
    }
}

/// Sends an object to a namespace by dry run. `user` is impersonated, if there is one.
async fn send(ctx: &Ctx, method: Method, path: &str, object: &Value, user: Option<&str>) -> Result<Said, Stop> {
    let kind = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
    let mut request = Request::builder().method(method).uri(format!("{path}?dryRun=All")).header("content-type", kind);
    if let Some(user) = user {
        request = request.header("impersonate-user", user).header("impersonate-group", "system:masters");
    }
    let silent = |error: String| Stop::Undetermined(format!("the API server does not answer {path}: {error}"));
    let request =
        request.body(Body::from(object.to_string().into_bytes())).map_err(|error| silent(error.to_string()))?;
    let answer = ctx.client().send(request).await.map_err(|error| silent(error.to_string()))?;
    let warnings =
        answer.headers().get_all("warning").iter().filter_map(|value| warning(value.to_str().ok()?)).collect();
    let status = answer.status();
    let body = answer.into_body().collect_bytes().await.map_err(|error| silent(error.to_string()))?;
    let value: Value = serde_json::from_slice(&body).unwrap_or_default();
    if status.is_success() {
        return Ok(Said { attempt: Ok(value), warnings });
    }
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let why = Rejection { code: status.as_u16(), reason: text("reason"), message: text("message") };
    Ok(Said { attempt: Err(why), warnings })
}

/// The text of a Warning header: `299 - "text"`, in which quotes and backslashes are escaped.
fn warning(header: &str) -> Option<String> {
    let quoted = header.split_once('"')?.1.strip_suffix('"')?;
    let (mut text, mut escaped) = (String::new(), false);
    for c in quoted.chars() {
        match c {
            '\\' if !escaped => escaped = true,
            c => {
                text.push(c);
                escaped = false;
            }
        }
    }
    Some(text)
}

async fn create(ctx: &Ctx, namespace: &str, object: &Value) -> Result<Said, Stop> {
    let mut object = object.clone();
    object["metadata"]["namespace"] = namespace.into();
    let path = Ref::of(&object, namespace).collection();
    send(ctx, Method::POST, &path, &object, None).await
}

fn evaluator(ctx: &Ctx) -> Evaluator {
    Evaluator::of(ctx.target().facts.minor)
}

/// What the evaluator says of an object: nothing, or the detail.
fn expected(evaluator: Evaluator, policy: Policy, object: &Value) -> Option<String> {
    let workload = Workload::of(&read(object))?;
    let violations = evaluator.evaluate(policy, &evaluator.admitted(&workload));
    (!violations.is_empty()).then(|| detail(&violations))
}

fn read(object: &Value) -> Object {
    let text = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
    Object {
        file: "".into(),
        line: 0,
        api_version: text("apiVersion"),
        kind: text("kind"),
        namespace: None,
        name: object["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
        template: None,
        node: Node::from(object.clone()),
    }
}

/// A pod of a case, as the API server takes it.
fn pod(case: &Case) -> Value {
    let mut pod = case.pod.clone();
    pod["spec"]["serviceAccountName"] = "case".into();
    pod
}

/// The policies by which a control is tried: each version from which it verifies something else, and the latest.
fn policies(control: Control, server: u32) -> Vec<Policy> {
    let versions = control.revisions().iter().filter(|minor| **minor <= server).map(|minor| Version::V1(*minor));
    let own = versions.chain([Version::Latest]).map(|version| Policy { level: control.level(), version });
    let other = if control.level() == Level::Baseline { Level::Restricted } else { Level::Baseline };
    own.chain([Policy { level: other, version: Version::Latest }]).collect()
}

#[derive(Default)]
struct Tally {
    refused: usize,
    allowed: usize,
    invalid: usize,
}

impl Tally {
    /// Something must have been told apart.
    fn report(&self, ctx: &Ctx) -> Result<(), Stop> {
        let Self { refused, allowed, invalid } = self;
        ctx.evidence("cases", format!("{refused} refused, {allowed} allowed, {invalid} refused by validation before"));
        if refused + allowed == 0 {
            return Err(Stop::NotApplicable("this release refuses every case before admission sees it".to_owned()));
        }
        Ok(())
    }
}

/// For each control one claim about what is enforced.
fn matrix(control: Control, title: &'static str) -> Trial {
    let title = format!("Admission enforces, by each version: {title}");
    let id = pages::CONTROLS.iter().find(|(one, _)| *one == control).map_or("", |(_, page)| page.id);
    let id = id.strip_prefix("podsecurity.").unwrap_or(id).to_owned();
    claim(&format!("enforce.{id}"), title, OFF, move |ctx| enforce(ctx, control))
        .alias(control.id())
        .why("Where admission is off, exempts too much or is of another release, what the standards forbid is allowed.")
        .how(
            "Creates a namespace for each version from which the control verifies something else, and asks the API server \
             by dry run for pods that differ from an allowed one in one field; its refusals must name the fields, word \
             for word.",
        )
        .trial()
}

async fn enforce(ctx: Ctx, control: Control) -> Result<(), Stop> {
    use futures_util::{StreamExt as _, TryStreamExt as _};
    let evaluator = evaluator(&ctx);
    if control.since() > evaluator.server {
        let why =
            format!("policies have it from v1.{} on; the cluster runs {}", control.since(), ctx.target().facts.version);
        return Err(Stop::NotApplicable(why));
    }
    let mut pods: Vec<_> = cases().into_iter().filter(|case| case.control == control).collect();
    if control == Control::ProcMountRestricted {
        pods = cases().into_iter().filter(|case| case.control == Control::ProcMountBaseline).collect();
    }
    let mut tally = Tally::default();
    for (number, policy) in policies(control, evaluator.server).into_iter().enumerate() {
        let place = namespace(&ctx, &number.to_string(), labels("enforce", policy)).await?;
        let mut asked = Vec::new();
        for case in &pods {
            asked.push(ask(&ctx, &place, case, Kind::Pod));
        }
        let said: Vec<_> = futures_util::stream::iter(asked).buffer_unordered(TOGETHER).try_collect().await?;
        for (case, object, said) in said {
            let wanted = expected(evaluator, policy, &object);
            let subject = format!("{} by {policy}", case.name);
            compare(&ctx, &subject, policy, wanted, &said.attempt, &mut tally)?;
        }
    }
    tally.report(&ctx)
}

/// Tries a case as an object of a kind in a namespace, by dry run.
async fn ask<'c>(ctx: &Ctx, place: &str, case: &'c Case, kind: Kind) -> Result<(&'c Case, Value, Said), Stop> {
    let object = wrap(kind, &pod(case));
    let said = create(ctx, place, &object).await?;
    Ok((case, object, said))
}

/// Compares a verdict with the evaluator's.
fn compare(
    ctx: &Ctx,
    subject: &str,
    policy: Policy,
    wanted: Option<String>,
    attempt: &Attempt,
    tally: &mut Tally,
) -> Result<(), Stop> {
    match (attempt, wanted) {
        (Err(why), _) if matches!(why.code, 400 | 422) => tally.invalid += 1,
        (Ok(_), None) => tally.allowed += 1,
        (Ok(_), Some(wanted)) => {
            tally.allowed += 1;
            ctx.breach(subject, format!("{subject}: allowed; expected the refusal '{wanted}'"));
        }
        (Err(why), Some(wanted)) if why.code == 403 && why.message.contains("violates PodSecurity") => {
            tally.refused += 1;
            let wanted = format!("violates PodSecurity \"{policy}\": {wanted}");
            let found = why.message.split_once("is forbidden: ").map_or(why.message.as_str(), |(_, rest)| rest);
            ctx.expect(subject, "the refusal", &found, &wanted.as_str());
        }
        (Err(why), None) if why.message.contains("violates PodSecurity") => {
            tally.refused += 1;
            ctx.breach(subject, format!("{subject}: refused ({why}); expected to be allowed"));
        }
        (Err(why), _) => {
            return Err(Stop::Undetermined(crate::cluster::in_the_way(&format!("try {subject}"), why)));
        }
    }
    Ok(())
}

/// For each kind one claim about warnings.
fn kinds() -> Vec<Trial> {
    let of = |kind: Kind| {
        let slug = kind.name().to_lowercase();
        claim(&format!("warn.{slug}"), format!("Admission warns of each {} that its level would refuse", kind.name()), OFF, move |ctx| {
            warn(ctx, kind)
        })
        .alias(format!("PodSecurity warn {}", kind.name()))
        .why("The workload is accepted whatever its template says: the warning is all that its author sees.")
        .how(
            "Creates objects by dry run in namespaces that warn of each level and enforce none; the warning must name the \
             fields, word for word, and the object must be accepted.",
        )
        .trial()
    };
    Kind::ALL.into_iter().map(of).collect()
}

async fn warn(ctx: Ctx, kind: Kind) -> Result<(), Stop> {
    use futures_util::{StreamExt as _, TryStreamExt as _};
    let evaluator = evaluator(&ctx);
    let (mut tally, all) = (Tally::default(), cases());
    for (number, level) in [Level::Baseline, Level::Restricted].into_iter().enumerate() {
        let policy = Policy { level, version: Version::Latest };
        let place = namespace(&ctx, &number.to_string(), labels("warn", policy)).await?;
        // Every case is a pod's in the claims about enforcement; here every fourth is of each kind.
        let mut asked = Vec::new();
        for case in all.iter().skip(kind as usize % 4).step_by(4) {
            asked.push(ask(&ctx, &place, case, kind));
        }
        let said: Vec<_> = futures_util::stream::iter(asked).buffer_unordered(TOGETHER).try_collect().await?;
        for (case, object, said) in said {
            let subject = format!("{} {} by {policy}", kind.name(), case.name);
            match &said.attempt {
                Err(why) if matches!(why.code, 400 | 422) => tally.invalid += 1,
                Err(why) if why.message.contains("violates PodSecurity") => {
                    ctx.breach(&subject, format!("{subject}: refused ({why}), where only a warning is asked for"));
                }
                Err(why) => {
                    return Err(Stop::Undetermined(crate::cluster::in_the_way(&format!("try {subject}"), why)));
                }
                Ok(_) => {
                    let wanted = expected(evaluator, policy, &object)
                        .map(|detail| format!("would violate PodSecurity \"{policy}\": {detail}"));
                    let counted = if wanted.is_some() { &mut tally.refused } else { &mut tally.allowed };
                    *counted += 1;
                    ctx.expect(&subject, "the warning", &said.of_policy(), &wanted.as_deref().into_iter().collect());
                }
            }
        }
    }
    tally.report(&ctx)
}

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

fn others() -> Vec<Trial> {
    vec![
        claim("labels.invalid", "A namespace with a bad label of Pod Security is refused", OFF, invalid_labels)
            .why("A misspelled level would otherwise be taken for another one.")
            .how("Asks by dry run for namespaces with bad levels and versions; the refusal must name the label.")
            .trial(),
        claim("labels.existing-pods", "Raising a namespace's level warns of the pods that violate it", OFF, existing_pods)
            .why("It is how a level is raised without a surprise.")
            .how("Creates a pod that violates the restricted level, then changes the label by dry run.")
            .trial(),
        claim("enforce.workloads", "A level that is enforced warns of workloads and accepts them", OFF, workloads)
            .why("Only pods are refused; who creates a Deployment must learn of it by a warning.")
            .how("Creates a Deployment by dry run in a namespace that enforces the restricted level and has no warn label.")
            .trial(),
        claim("enforce.update", "A new image of a pod that violates the level is refused, and a new label is not", OFF, update)
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
                "Creates a pod by dry run in a namespace that only audits, and reads pod_security_evaluations_total before \
                 and after.",
            )
            .trial(),
        claim("exempt.users", "No controller's service account is exempt", "controllers-are-exempt", exempt_users)
            .severity(seaworthy_reports::Severity::Critical)
            .why("Controllers create the pods of every user: through an exempt one everybody is exempt.")
            .how("Creates a pod by dry run as each of Kubernetes' controllers, by impersonation.")
            .fix("Remove the user from exemptions.usernames of PodSecurityConfiguration.")
            .requires(Requirement::Permission { verb: "impersonate", group: "", resource: "users" })
            .trial(),
        claim("exempt.runtime-classes", "No RuntimeClass that exists is exempt", "runtime-class-is-exempt", exempt_classes)
            .why("Who may create a pod may name any RuntimeClass.")
            .how("Creates a pod by dry run with each RuntimeClass of the cluster, and with one that is called kata.")
            .fix("Remove the RuntimeClass from exemptions.runtimeClasses of PodSecurityConfiguration.")
            .requires(Requirement::Permission { verb: "create", group: "node.k8s.io", resource: "runtimeclasses" })
            .trial(),
        claim("labels.kept", "The labels of a namespace are kept as they are set", "labels-are-stripped", labels_are_kept)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_unquoted() {
        let header = r#"299 - "would violate PodSecurity \"baseline:latest\": a \\ b""#;
        assert_eq!(warning(header).unwrap(), r#"would violate PodSecurity "baseline:latest": a \ b"#);
    }

    #[test]
    fn there_are_more_than_500_cases() {
        let count = |control: Control| {
            let own = if control == Control::ProcMountRestricted { Control::ProcMountBaseline } else { control };
            cases().iter().filter(|case| case.control == own).count() * policies(control, 37).len()
        };
        let enforced: usize = Control::ALL.into_iter().map(count).sum();
        let warned = cases().len() / 4 * 2 * Kind::ALL.len();
        assert!(enforced >= 500 && warned >= 500, "{enforced} {warned}");
    }
}
