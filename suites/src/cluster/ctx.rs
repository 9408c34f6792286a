//! What the body of an act works with.

use std::any::{Any, TypeId};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::BoxFuture;
use seaworthy_reports::{Evidence, Finding};

use super::stop::finding;
use super::{Artifact, Ref, Stop, Target};

/// How often what is polled is asked.
const POLL: Duration = Duration::from_millis(200);

/// A step that an act took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// When it began.
    pub at: jiff::Timestamp,
    /// What is done, in words.
    pub text: String,
}

/// Where steps go as they happen.
pub(super) type StepSink = Arc<dyn Fn(&Step) + Send + Sync>;

/// An undoing: in words, and the work.
type Undo = (String, BoxFuture<'static, Result<(), String>>);

/// One act under way: the cluster, a namespace of its own, what it found, and what is to be cleaned up. Clones are the
/// same act.
#[derive(Clone)]
pub struct Ctx(Arc<Inner>);

struct Inner {
    target: Arc<Target>,
    run: String,
    namespace: String,
    begun: jiff::Timestamp,
    sink: StepSink,
    steps: Mutex<Vec<Step>>,
    findings: Mutex<Vec<Finding>>,
    evidence: Mutex<Vec<Evidence>>,
    attached: Mutex<Vec<Artifact>>,
    objects: Mutex<Vec<Ref>>,
    undo: Mutex<Vec<Undo>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Ctx {
    pub(super) fn new(target: Arc<Target>, run: &str, namespace: String, sink: StepSink) -> Self {
        Self(Arc::new(Inner {
            target,
            run: run.to_owned(),
            namespace,
            begun: jiff::Timestamp::now(),
            sink,
            steps: Mutex::default(),
            findings: Mutex::default(),
            evidence: Mutex::default(),
            attached: Mutex::default(),
            objects: Mutex::default(),
            undo: Mutex::default(),
        }))
    }

    /// The cluster.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.0.target
    }

    /// A client of its API.
    #[must_use]
    pub fn client(&self) -> &kube::Client {
        &self.0.target.client
    }

    /// The act's own namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.0.namespace
    }

    /// The run's id, the value of [`super::RUN_LABEL`].
    #[must_use]
    pub fn run(&self) -> &str {
        &self.0.run
    }

    pub(super) fn begun(&self) -> jiff::Timestamp {
        self.0.begun
    }

    /// Notes a step; a failing act shows its last ones.
    pub fn step(&self, text: impl Into<String>) {
        let step = Step { at: jiff::Timestamp::now(), text: text.into() };
        (self.0.sink)(&step);
        lock(&self.0.steps).push(step);
    }

    pub(super) fn steps(&self) -> Vec<Step> {
        lock(&self.0.steps).clone()
    }

    /// The claim does not hold for a thing; the act goes on.
    pub fn breach(&self, subject: impl Into<String>, message: impl Into<String>) {
        lock(&self.0.findings).push(finding(subject, message));
    }

    /// The claim does not hold for a thing unless `found` is what is `wanted`; the act goes on.
    pub fn expect<T: PartialEq + std::fmt::Debug>(&self, subject: &str, what: &str, found: &T, wanted: &T) {
        if found != wanted {
            let finding = Finding {
                found: Some(format!("{found:?}")),
                wanted: Some(format!("{wanted:?}")),
                ..finding(subject, format!("{subject}: {what}"))
            };
            lock(&self.0.findings).push(finding);
        }
    }

    /// What the verdict rests on, for reports.
    pub fn evidence(&self, label: &str, value: impl Into<String>) {
        lock(&self.0.evidence).push(Evidence { label: label.to_owned(), value: value.into() });
    }

    /// A file beside the report, whatever the verdict is.
    pub fn keep_file(&self, name: &str, content: impl Into<String>) {
        lock(&self.0.attached).push(Artifact { name: name.to_owned(), content: content.into() });
    }

    pub(super) fn take_attached(&self) -> Vec<Artifact> {
        std::mem::take(&mut lock(&self.0.attached))
    }

    /// An object outside of the act's namespace that is deleted when the act ends. What `create` makes is noted
    /// already.
    pub fn clean_up(&self, place: Ref) {
        lock(&self.0.objects).push(place);
    }

    /// Work that undoes what the act did to hosts or to objects that are not its own; the last one is run first.
    pub fn undo(&self, what: impl Into<String>, work: impl Future<Output = Result<(), String>> + Send + 'static) {
        lock(&self.0.undo).push((what.into(), Box::pin(work)));
    }

    /// What the acts of a theme share on a cluster, such as pods that all of them dial: made by the first act that asks
    /// for it, in the run's shared namespace, which goes when the run leaves the cluster.
    ///
    /// # Errors
    /// [`Stop::Undetermined`] for every act, if it could not be made.
    pub async fn shared<T: Any + Send + Sync, F>(&self, make: impl FnOnce(Self) -> F) -> Result<Arc<T>, Stop>
    where
        F: Future<Output = Result<T, Stop>>,
    {
        let cell = lock(&self.0.target.stands).entry(TypeId::of::<T>()).or_default().clone();
        let stand = cell.get_or_init(|| async {
            // What is shared outlives the act that makes it, and so its steps are no act's.
            let sink: StepSink = Arc::new(|_| {});
            let ctx = Self::new(self.0.target.clone(), self.run(), shared_namespace(self.run()), sink);
            self.step("make what the claims of this theme share");
            let made = match super::act::make_shared_namespace(&ctx).await {
                Ok(()) => make(ctx).await,
                Err(stop) => Err(stop),
            };
            let told = |stop: Stop| {
                let verdict = stop.undetermined("what the claims share could not be made").verdict();
                verdict.reason.unwrap_or_default()
            };
            made.map(|made| Arc::new(made) as Arc<dyn Any + Send + Sync>).map_err(told)
        });
        let made = stand.await.clone().map_err(Stop::Undetermined)?;
        made.downcast().map_err(|_| Stop::Undetermined("what the claims share is of another type".to_owned()))
    }

    /// Tries until it works, at most for `patience`: for what no watch tells, such as packets.
    ///
    /// # Errors
    /// Why it did not work last, where it never did; or what ends the act.
    pub async fn eventually<T, F>(
        &self,
        patience: Duration,
        mut attempt: impl FnMut() -> F,
    ) -> Result<Result<T, String>, Stop>
    where
        F: Future<Output = Result<Result<T, String>, Stop>>,
    {
        let end = tokio::time::Instant::now() + patience;
        loop {
            match attempt().await? {
                Err(_) if tokio::time::Instant::now() < end => tokio::time::sleep(POLL).await,
                ended => return Ok(ended),
            }
        }
    }

    pub(super) fn take_findings(&self) -> (Vec<Finding>, Vec<Evidence>) {
        (std::mem::take(&mut lock(&self.0.findings)), std::mem::take(&mut lock(&self.0.evidence)))
    }

    pub(super) fn take_undo(&self) -> Option<Undo> {
        lock(&self.0.undo).pop()
    }

    pub(super) fn take_object(&self) -> Option<Ref> {
        lock(&self.0.objects).pop()
    }
}

/// The namespace that the acts of a run share.
pub(super) fn shared_namespace(run: &str) -> String {
    format!("seaworthy-{}-shared", run.rsplit('-').next().unwrap_or(run))
}
