//! Claims about a cluster's admission, tried by server-side dry run: it must say what the evaluator says, word for
//! word.

use http::{Method, Request};
use kube::client::Body;
use seaworthy_objects::Node;
use seaworthy_objects::manifest::Object;
use seaworthy_objects::podsecurity::cases::{Case, cases, wrap};
use seaworthy_objects::podsecurity::{Control, Evaluator, Kind, Level, Policy, Version, Workload, detail};
use serde_json::{Value, json};

use super::{ADMISSION, pages, random, special};
use crate::cluster::{Attempt, Claim, ClusterNeed, Ctx, Ref, Rejection, Requirement, Stop};
use crate::trial::Trial;

/// The first Kubernetes with Pod Security admission on by default, and the newest, on which defects are tried: one
/// control plane runs no pod, and admission needs none.
const NEEDS: [ClusterNeed; 2] =
    [ClusterNeed { kubernetes: Some("v1.23.17"), ..ClusterNeed::new("admission-1-23") }, ClusterNeed::new("admission")];
/// So many requests are under way at once.
pub(super) const TOGETHER: usize = 4;
pub(super) const OFF: &str = "pod-security-off";

pub(super) fn trials() -> Vec<Trial> {
    let mut trials: Vec<_> = pages::CONTROLS.iter().map(|(control, page)| matrix(*control, page.title)).collect();
    trials.extend(kinds());
    trials.extend(special::trials());
    trials.push(random::trial());
    trials
}

pub(super) fn claim<F>(
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
pub(super) async fn namespace(ctx: &Ctx, suffix: &str, labels: Value) -> Result<String, Stop> {
    let name = format!("{}-{suffix}", ctx.namespace());
    ctx.create(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } }))
        .await?;
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "case", "namespace": name },
    });
    ctx.create(account).await?;
    Ok(name)
}

pub(super) fn labels(mode: &str, policy: Policy) -> Value {
    json!({
        format!("pod-security.kubernetes.io/{mode}"): policy.level.name(),
        format!("pod-security.kubernetes.io/{mode}-version"): policy.version.to_string(),
    })
}

/// What the API server said of a dry run: its answer, and its warnings.
pub(super) struct Said {
    pub(super) attempt: Attempt,
    pub(super) warnings: Vec<String>,
}

impl Said {
    /// The warnings of Pod Security; the API server warns of other things, too.
    pub(super) fn of_policy(&self) -> Vec<&str> {
        let ours = |text: &&str| text.contains("PodSecurity");
        self.warnings.iter().map(String::as_str).filter(ours).collect()
    }
}

/// Sends an object to a namespace by dry run. `user` is impersonated, if there is one.
pub(super) async fn send(
    ctx: &Ctx,
    method: Method,
    path: &str,
    object: &Value,
    user: Option<&str>,
) -> Result<Said, Stop> {
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

pub(super) async fn create(ctx: &Ctx, namespace: &str, object: &Value) -> Result<Said, Stop> {
    let mut object = object.clone();
    object["metadata"]["namespace"] = namespace.into();
    let path = Ref::of(&object, namespace).collection();
    send(ctx, Method::POST, &path, &object, None).await
}

pub(super) fn evaluator(ctx: &Ctx) -> Evaluator {
    Evaluator::of(ctx.target().facts.minor)
}

/// What the evaluator says of an object: nothing, or the detail.
pub(super) fn expected(evaluator: Evaluator, policy: Policy, object: &Value) -> Option<String> {
    let workload = Workload::of(&read(object))?;
    let violations = evaluator.evaluate(policy, &evaluator.admitted(&workload));
    (!violations.is_empty()).then(|| detail(&violations))
}

pub(super) fn read(object: &Value) -> Object {
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

/// A pod as the API server takes it.
pub(super) fn pod(pod: &Value) -> Value {
    let mut pod = pod.clone();
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
pub(super) struct Tally {
    refused: usize,
    allowed: usize,
    invalid: usize,
}

impl Tally {
    /// Something must have been told apart.
    pub(super) fn report(&self, ctx: &Ctx) -> Result<(), Stop> {
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
            "Creates a namespace for each version from which the control verifies something else, and asks the API \
             server by dry run for pods that differ from an allowed one in one field; its refusals must name the \
             fields, word for word.",
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
    let object = wrap(kind, &pod(&case.pod));
    let said = create(ctx, place, &object).await?;
    Ok((case, object, said))
}

/// Compares a verdict with the evaluator's.
pub(super) fn compare(
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
    let of =
        |kind: Kind| {
            let slug = kind.name().to_lowercase();
            claim(
            &format!("warn.{slug}"),
            format!("Admission warns of each {} that its level would refuse", kind.name()),
            OFF,
            move |ctx| warn(ctx, kind),
        )
        .alias(format!("PodSecurity warn {}", kind.name()))
        .why("The workload is accepted whatever its template says: the warning is all that its author sees.")
        .how("Creates objects by dry run in namespaces that warn of each level and enforce none; the warning must name \
              the fields, word for word, and the object must be accepted.")
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
