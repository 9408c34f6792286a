//! An act: a trial whose body is an async function over a cluster.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Method;
use seaworthy_reports::{Outcome, Verdict};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::artifacts::{self, Artifact};
use super::ctx::{StepSink, shared_namespace};
use super::objects::{Attempt, in_the_way};
use super::{ClusterNeed, Ctx, RUN_LABEL, Ref, Step, Stop, Target};

/// How long cleaning up may take.
const TEARDOWN: Duration = Duration::from_secs(60);

type Body = Box<dyn Fn(Ctx) -> BoxFuture<'static, Result<(), Stop>> + Send + Sync>;

/// Beside which others an act runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Beside others, each in a namespace of its own.
    Shared,
    /// Alone on the cluster, after those that share it.
    Exclusive,
}

/// What an act requires of a cluster besides its [`ClusterNeed`]. Unmet, the act does not run, and says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirement {
    /// This minor of Kubernetes 1 or a later one.
    KubernetesFrom(u32),
    /// This minor of Kubernetes 1 or an earlier one.
    KubernetesUntil(u32),
    /// This many nodes that run pods of a real kubelet.
    Workers(usize),
    /// The hosts can be entered: the cluster is one of our engine.
    Hosts,
    /// Parts can be broken: the cluster is one of our engine, or the user has a hook.
    Faults,
    /// The kubelet's files can be written: the hosts can be entered, or the node is this machine.
    KubeletFiles,
    /// A permission of the kubeconfig's user, in all namespaces.
    Permission {
        /// `create`, `list`, …
        verb: &'static str,
        /// The API group; empty is the core group.
        group: &'static str,
        /// The resource, in plural: `nodes`.
        resource: &'static str,
    },
}

/// The part of a trial that acts on clusters.
pub struct Act {
    /// The clusters that it runs on, each one a subject; an existing cluster is taken where it meets one of them.
    pub on: Vec<ClusterNeed>,
    /// Beside which others.
    pub access: Access,
    /// Does it disturb what others have on the cluster? Then it wants consent, except on clusters of ours.
    pub disturbs: bool,
    /// Does it get a namespace of its own? One that only reads, or makes its own, does not.
    pub own_namespace: bool,
    /// What else it requires.
    pub requires: Vec<Requirement>,
    /// The defect that catches it: a name of the suite's list of defects.
    pub caught_by: &'static str,
    body: Body,
}

impl std::fmt::Debug for Act {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Act").field("on", &self.on).field("caught_by", &self.caught_by).finish_non_exhaustive()
    }
}

/// What an act came to.
#[derive(Debug)]
pub struct Acted {
    /// The verdict.
    pub verdict: Verdict,
    /// What the act attached, and what a failing one leaves to read.
    pub artifacts: Vec<Artifact>,
    /// What could not be cleaned up.
    pub left: Vec<String>,
}

impl Acted {
    /// One of which nothing is left.
    #[must_use]
    pub fn of(verdict: Verdict) -> Self {
        Self { verdict, artifacts: Vec::new(), left: Vec::new() }
    }
}

/// Who runs an act: which run, which act of it, and until when.
pub struct Order<'a> {
    /// The run's id.
    pub run: &'a str,
    /// A number that no other act of the run has.
    pub number: usize,
    /// How long the body may take.
    pub limit: Duration,
    /// Ends the body early.
    pub cancel: CancellationToken,
    /// Is told of each step.
    pub sink: Arc<dyn Fn(&Step) + Send + Sync>,
}

impl std::fmt::Debug for Order<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Order").field("run", &self.run).field("number", &self.number).finish_non_exhaustive()
    }
}

impl Act {
    /// An act that shares its cluster and disturbs nobody.
    pub fn new<F>(
        on: impl IntoIterator<Item = ClusterNeed>,
        caught_by: &'static str,
        body: impl Fn(Ctx) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<(), Stop>> + Send + 'static,
    {
        Self {
            on: on.into_iter().collect(),
            access: Access::Shared,
            disturbs: false,
            own_namespace: true,
            requires: Vec::new(),
            caught_by,
            body: Box::new(move |ctx| Box::pin(body(ctx))),
        }
    }

    /// Why it cannot run on this cluster; `None` if it can.
    async fn unmet(&self, ctx: &Ctx) -> Option<Verdict> {
        let target = ctx.target();
        let reasons: Vec<_> = self.on.iter().map(|need| need.unmet(&target.facts)).collect();
        // One of ours was raised for its need.
        if target.ours.is_none() && reasons.iter().all(Option::is_some) {
            let why = reasons.into_iter().flatten().next().unwrap_or_default();
            return Some(Verdict::because(Outcome::NotApplicable, why));
        }
        if self.disturbs && !target.disruption {
            let uid = &target.facts.uid;
            let why = format!("it disturbs the cluster; to consent: --allow-disruption={uid}");
            return Some(Verdict::because(Outcome::Skipped, why));
        }
        for one in &self.requires {
            if let Some(verdict) = requirement(*one, ctx).await {
                return Some(verdict);
            }
        }
        None
    }

    /// Runs it: looks at what it requires, makes its namespace, runs the body within its limit, gathers what a failure
    /// leaves to read, and cleans up, whatever the body does.
    pub async fn run(&self, target: &Arc<Target>, order: Order<'_>) -> Acted {
        let tail = order.run.rsplit('-').next().unwrap_or(order.run);
        let namespace = format!("seaworthy-{tail}-{}", order.number);
        let sink: StepSink = order.sink.clone();
        let ctx = Ctx::new(target.clone(), order.run, namespace, sink);
        if let Some(verdict) = self.unmet(&ctx).await {
            return Acted::of(verdict);
        }
        let made = if self.own_namespace { make_namespace(&ctx).await } else { Ok(()) };
        let mut verdict = match made {
            Ok(()) => self.body(&ctx, &order).await,
            Err(stop) => stop.verdict(),
        };
        let (findings, evidence) = ctx.take_findings();
        // What was seen holds, whatever else could not be known.
        if !findings.is_empty() && matches!(verdict.outcome, Outcome::Pass | Outcome::Fail | Outcome::Undetermined) {
            verdict.outcome = Outcome::Fail;
            verdict.findings.splice(0..0, findings);
        }
        verdict.evidence.splice(0..0, evidence);
        let failed = matches!(verdict.outcome, Outcome::Fail | Outcome::Errored | Outcome::Undetermined);
        let mut artifacts = ctx.take_attached();
        if failed {
            artifacts.extend(artifacts::gather(&ctx).await);
        }
        let left = clean_up(&ctx).await;
        Acted { verdict, artifacts, left }
    }

    async fn body(&self, ctx: &Ctx, order: &Order<'_>) -> Verdict {
        // A task of its own: a panic is this act's and nobody else's.
        let mut task = tokio::spawn((self.body)(ctx.clone()));
        let ended = tokio::select! {
            ended = &mut task => Some(ended),
            () = order.cancel.cancelled() => None,
            () = tokio::time::sleep(order.limit) => {
                task.abort();
                let last = ctx.steps().last().map(|step| step.text.clone()).unwrap_or_default();
                let why = format!("no verdict within {:?}; the last step was: {last}", order.limit);
                return Verdict::because(Outcome::Errored, why);
            }
        };
        match ended {
            Some(Ok(Ok(()))) => Verdict::of(Outcome::Pass),
            Some(Ok(Err(stop))) => stop.verdict(),
            Some(Err(panic)) => {
                Verdict::because(Outcome::Errored, format!("a defect of seaworthy: the trial panicked: {panic}"))
            }
            None => {
                task.abort();
                Stop::Interrupted.verdict()
            }
        }
    }
}

/// Why a requirement is not met; `None` if it is.
async fn requirement(one: Requirement, ctx: &Ctx) -> Option<Verdict> {
    let facts = &ctx.target().facts;
    let not = |why: String| Some(Verdict::because(Outcome::NotApplicable, why));
    match one {
        Requirement::KubernetesFrom(minor) if facts.minor < minor => {
            not(format!("about Kubernetes 1.{minor} or later; the cluster runs {}", facts.version))
        }
        Requirement::KubernetesUntil(minor) if facts.minor > minor => {
            not(format!("about Kubernetes 1.{minor} or earlier; the cluster runs {}", facts.version))
        }
        Requirement::Workers(count) if facts.workers < count => Some(Verdict::because(
            Outcome::Skipped,
            format!("it needs {count} nodes that run pods; the cluster has {}", facts.workers),
        )),
        Requirement::Hosts if ctx.target().ours.is_none() => Some(Verdict::because(
            Outcome::Skipped,
            "it enters the cluster's hosts, which only a cluster of ours allows",
        )),
        Requirement::Faults if ctx.target().ours.is_none() && ctx.target().hook.is_none() => Some(Verdict::because(
            Outcome::Skipped,
            "it breaks parts of the cluster, which takes a cluster of ours or --fault-hook",
        )),
        Requirement::KubeletFiles if ctx.target().ours.is_none() && !ctx.target().is_local => Some(Verdict::because(
            Outcome::Skipped,
            "it writes files of the kubelet, which a cluster of ours or --beside-kubelet allows",
        )),
        Requirement::Permission { verb, group, resource } => {
            let review = json!({
                "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                "spec": { "resourceAttributes": { "verb": verb, "group": group, "resource": resource } },
            });
            let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
            match ctx.request(Method::POST, path, Some(&review)).await {
                Ok(Ok(answer)) if answer["status"]["allowed"] == true => None,
                Ok(Ok(_)) => {
                    let group = if group.is_empty() { String::new() } else { format!(" of {group}") };
                    let why = format!("the kubeconfig's user may not {verb} {resource}{group}");
                    Some(Verdict::because(Outcome::Undetermined, why))
                }
                Ok(Err(why)) => Some(Verdict::because(Outcome::Undetermined, in_the_way("review access", &why))),
                Err(stop) => Some(stop.verdict()),
            }
        }
        _ => None,
    }
}

/// The namespace that the acts of a run share; several themes may make it.
pub(super) async fn make_shared_namespace(ctx: &Ctx) -> Result<(), Stop> {
    match namespace(ctx).await? {
        Err(why) if why.code != 409 => Err(Stop::Undetermined(in_the_way("create Namespace", &why))),
        _ => Ok(()),
    }
}

/// Removes what the acts of a run share on a cluster, when all of them have ended. What is left is named.
pub async fn leave(target: &Arc<Target>, run: &str) -> Vec<String> {
    if target.is_bare() {
        return Vec::new();
    }
    let ctx = Ctx::new(target.clone(), run, shared_namespace(run), Arc::new(|_| {}));
    ctx.clean_up(Ref::new("v1", "Namespace", "", ctx.namespace()));
    clean_up(&ctx).await
}

async fn make_namespace(ctx: &Ctx) -> Result<(), Stop> {
    namespace(ctx).await?.map_err(|why| Stop::Undetermined(in_the_way("create Namespace", &why)))?;
    ctx.clean_up(Ref::new("v1", "Namespace", "", ctx.namespace()));
    Ok(())
}

async fn namespace(ctx: &Ctx) -> Result<Attempt, Stop> {
    let object = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": ctx.namespace(), "labels": { RUN_LABEL: ctx.run() } },
    });
    ctx.request(Method::POST, "/api/v1/namespaces", Some(&object)).await
}

/// Undoes and deletes, the last thing first, within [`TEARDOWN`]. What is left is named.
async fn clean_up(ctx: &Ctx) -> Vec<String> {
    let mut left = Vec::new();
    let end = tokio::time::Instant::now() + TEARDOWN;
    while let Some((what, work)) = ctx.take_undo() {
        match tokio::time::timeout_at(end, work).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => left.push(format!("{what}: {why}")),
            Err(_) => left.push(format!("{what}: not within {TEARDOWN:?}")),
        }
    }
    while let Some(place) = ctx.take_object() {
        match tokio::time::timeout_at(end, ctx.delete(&place, Some(0))).await {
            Ok(Ok(())) => {}
            Ok(Err(stop)) => left.push(format!("{place}: {}", stop.verdict().reason.unwrap_or_default())),
            Err(_) => left.push(format!("{place}: not deleted within {TEARDOWN:?}")),
        }
    }
    left
}
