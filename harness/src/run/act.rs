//! Runs the trials that act: raises a cluster for each need, or takes the one that the user named, and runs the acts on
//! it.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use nix::unistd::{AccessFlags, access};
use seaworthy_provision::cluster::Clusters;
use seaworthy_reports::{Attachment, Evidence, Outcome, Planned, Subject, Verdict, What};
use seaworthy_suites::cluster::{Access, Act, Acted, ClusterNeed, Defect, Hook, Order, Ours, Target, leave};
use seaworthy_suites::{Trial, suites};
use tokio_util::sync::CancellationToken;

use super::Deck;
use super::fixture::Yard;
use super::loopback::{self, Loopback};
use crate::cli::{FixtureOptions, RunOptions};
use crate::fault::Fault;
use crate::{cluster, signals, waivers};

/// How many acts that share a cluster run at once: they wait for the cluster more than they compute.
const TOGETHER: usize = 8;

impl FixtureOptions {
    /// Has trials be about the node that the user named. It need not be schedulable: pods are put on it.
    fn name_node(&self, target: &mut Target) -> Result<(), Fault> {
        let Some(node) = &self.node else { return Ok(()) };
        if !target.facts.nodes.contains(node) {
            let why = format!("--node {node}: the cluster has no such node");
            return Err(Fault::usage(why).hint(format!("it has {}", target.facts.nodes.join(", "))));
        }
        target.facts.workers = target.facts.workers.max(1);
        target.node = Some(node.clone());
        Ok(())
    }

    /// The defect that is asked for; only the trials that it must catch remain.
    pub(super) fn defect(&self, trials: &mut Vec<Arc<Trial>>) -> Result<Option<Defect>, Fault> {
        let Some(name) = &self.defect else { return Ok(None) };
        let all: Vec<_> = suites().iter().flat_map(|suite| suite.defects.iter().copied()).collect();
        let Some(defect) = all.iter().find(|defect| defect.name == name) else {
            let known: Vec<_> = all.iter().map(|defect| defect.name).collect();
            return Err(Fault::usage(format!("there is no defect '{name}', only {}", known.join(", "))));
        };
        trials.retain(|trial| trial.act().is_some_and(|act| act.caught_by == name));
        Ok(Some(*defect))
    }
}

/// The clusters of a run.
pub(super) enum Subjects {
    /// One that the user named.
    Named(Box<Target>),
    /// The kubelet of this machine, with a control plane beside it.
    Beside(Box<Target>, Box<Loopback>),
    /// One for each need, raised when its turn comes.
    Raised { needs: Vec<ClusterNeed>, defect: Option<Defect> },
}

impl Subjects {
    /// Which clusters the selected acts run on. A named one is connected to, so that a wrong name ends the run before
    /// it begins.
    pub(super) fn find(acts: &[Arc<Trial>], options: &RunOptions, defect: Option<Defect>) -> Result<Self, Fault> {
        let connect = |path: &std::path::Path, context: Option<&str>| {
            let runtime = runtime()?;
            let target = runtime.block_on(Target::connect(path, context));
            target.map_err(|error| Fault::usage(error.to_string()))
        };
        let fixture = &options.cluster;
        if acts.is_empty() {
            return Ok(Self::Raised { needs: Vec::new(), defect });
        }
        if fixture.beside_kubelet {
            let started = runtime()?.block_on(loopback::start(&fixture.engine, fixture.node.as_deref()));
            let (target, loopback) = started?;
            return Ok(Self::Beside(Box::new(target), Box::new(loopback)));
        }
        if let Some(path) = &options.remote.kubeconfig {
            let mut target = connect(path, options.remote.context.as_deref())?;
            if let Some(uid) = &fixture.allow_disruption {
                if *uid != target.facts.uid {
                    let why =
                        format!("--allow-disruption {uid} is not the uid of this cluster's namespace kube-system");
                    return Err(Fault::usage(why).hint(format!("it is {}", target.facts.uid)));
                }
                target.disruption = true;
            }
            if let Some(program) = &fixture.fault_hook {
                target.hook = Some(hook(program, path, &target.facts.uid)?);
                target.balancer_drops = fixture.balancer_drops.unsigned_abs();
            }
            target.image = fixture.image.clone().unwrap_or(target.image);
            fixture.name_node(&mut target)?;
            return Ok(Self::Named(Box::new(target)));
        }
        if let Some(name) = &fixture.cluster {
            let path = cluster::open(Some(name))?.admin_kubeconfig();
            let mut target = connect(&path, None)?;
            let program = std::env::current_exe().map_err(|error| Fault::ours(format!("where am I? {error}")))?;
            target.name.clone_from(name);
            target.disruption = true;
            target.ours = Some(Ours { program, name: name.clone() });
            fixture.name_node(&mut target)?;
            return Ok(Self::Named(Box::new(target)));
        }
        if fixture.node.is_some() {
            let fault = Fault::usage("--node names a node of a cluster that exists, and none is named");
            return Err(fault.hint("add --kubeconfig FILE or --cluster NAME"));
        }
        let mut needs: Vec<ClusterNeed> = Vec::new();
        for need in acts.iter().filter_map(|trial| trial.act()).flat_map(|act| &act.on) {
            if !needs.contains(need) {
                needs.push(need.clone());
            }
        }
        if defect.is_some() {
            needs = fewest(&needs, acts);
        }
        Ok(Self::Raised { needs, defect })
    }

    /// Their names.
    pub(super) fn names(&self) -> Vec<String> {
        match self {
            Self::Named(target) | Self::Beside(target, _) => vec![target.name.clone()],
            Self::Raised { needs, .. } => needs.iter().map(|need| need.slug.to_owned()).collect(),
        }
    }

    /// Which act runs on which cluster.
    pub(super) fn plan(&self, acts: &[Arc<Trial>]) -> Vec<Planned> {
        let mut plan = Vec::new();
        let mut add = |trial: &Trial, subject: &str| {
            plan.push(Planned { trial: trial.info.id.clone(), subject: subject.to_owned() });
        };
        match self {
            Self::Named(target) | Self::Beside(target, _) => {
                acts.iter().for_each(|trial| add(trial, &target.name));
            }
            Self::Raised { needs, .. } => {
                for need in needs {
                    acts.iter().filter(|trial| on(trial, need)).for_each(|trial| add(trial, need.slug));
                }
            }
        }
        plan
    }
}

/// A program of the user that breaks parts of this cluster.
fn hook(program: &Path, kubeconfig: &Path, uid: &str) -> Result<Hook, Fault> {
    let shown = program.display();
    let found = std::fs::canonicalize(program).map_err(|why| Fault::usage(format!("--fault-hook {shown}: {why}")))?;
    if access(&found, AccessFlags::X_OK).is_err() || found.is_dir() {
        return Err(Fault::usage(format!("--fault-hook {shown}: it cannot be executed")));
    }
    let folder = Clusters::of_user().and_then(|clusters| Some(clusters.folder().parent()?.join("faults")));
    let folder = folder.ok_or_else(|| Fault::usage("neither HOME nor XDG_STATE_HOME says where faults are noted"))?;
    let kubeconfig = std::fs::canonicalize(kubeconfig).unwrap_or_else(|_| kubeconfig.to_owned());
    Ok(Hook::new(&found, &kubeconfig, folder.join(uid)))
}

/// As few clusters as all acts run on: the one that most of them run on first.
fn fewest(needs: &[ClusterNeed], acts: &[Arc<Trial>]) -> Vec<ClusterNeed> {
    let mut rest: Vec<_> = acts.to_vec();
    let mut chosen = Vec::new();
    while !rest.is_empty() {
        let covered = |need: &&ClusterNeed| rest.iter().filter(|trial| on(trial, need)).count();
        let Some(best) = needs.iter().max_by_key(covered) else { break };
        rest.retain(|trial| !on(trial, best));
        chosen.push(best.clone());
    }
    chosen
}

fn on(trial: &Trial, need: &ClusterNeed) -> bool {
    trial.act().is_some_and(|act| act.on.contains(need))
}

/// One for all: a client lives as long as the runtime in which it was made.
pub(super) fn runtime() -> Result<&'static tokio::runtime::Runtime, Fault> {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let made = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let made = made.map_err(|error| Fault::ours(error.to_string()))?;
    Ok(RUNTIME.get_or_init(|| made))
}

/// What all acts of a run share.
struct Voyage<'a, 'd> {
    deck: &'a Deck<'d>,
    options: &'a RunOptions,
    run: &'a str,
    cancel: CancellationToken,
    number: AtomicUsize,
}

/// Runs all acts on all their clusters.
pub(super) fn run(
    deck: &Deck<'_>,
    acts: &[Arc<Trial>],
    subjects: Subjects,
    options: &RunOptions,
    run: &str,
) -> Result<(), Fault> {
    runtime()?.block_on(async {
        let cancel = CancellationToken::new();
        let watcher = tokio::spawn({
            let cancel = cancel.clone();
            async move {
                while signals::seen().is_none() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                cancel.cancel();
            }
        });
        let voyage = Voyage { deck, options, run, cancel: cancel.clone(), number: AtomicUsize::new(0) };
        match subjects {
            Subjects::Named(target) => voyage.on_target(&Arc::new(*target), acts).await,
            Subjects::Beside(target, mut loopback) => {
                voyage.on_target(&Arc::new(*target), acts).await;
                loopback.stop().await;
            }
            Subjects::Raised { needs, defect } => {
                let yard = Yard { engine: &options.cluster.engine, progress: deck.progress, cancel, defect };
                for need in &needs {
                    if signals::seen().is_some() {
                        break;
                    }
                    let acts: Vec<_> = acts.iter().filter(|trial| on(trial, need)).cloned().collect();
                    voyage.on_need(&yard, need, &acts).await;
                }
            }
        }
        watcher.abort();
        Ok(())
    })
}

impl Voyage<'_, '_> {
    /// Raises the cluster of a need, runs the acts on it, and takes it down.
    async fn on_need(&self, yard: &Yard<'_>, need: &ClusterNeed, acts: &[Arc<Trial>]) {
        let keep = self.options.cluster.keep;
        let tail = self.run.rsplit('-').next().unwrap_or(self.run);
        let name = if keep { format!("kept-{}", need.slug) } else { format!("trial-{tail}-{}", need.slug) };
        self.deck.progress.phase(format!("raising the cluster {}", need.slug));
        signals::has_clusters(true);
        match yard.raise(need, &name).await {
            Ok(target) => self.on_target(&Arc::new(target), acts).await,
            // What was interrupted did not run.
            Err(_) if signals::seen().is_some() => {}
            Err(why) => {
                for trial in acts {
                    let why = format!("the cluster {} could not be raised: {why}", need.slug);
                    let acted = Acted::of(Verdict::because(Outcome::Errored, why));
                    self.deck.progress.begin(&trial.info.id);
                    self.finished(trial, need.slug, 1, Instant::now(), acted);
                }
            }
        }
        if keep {
            self.note(format!("the cluster {name} is left up; to remove it: seaworthy cluster down {name}"));
        } else if let Err(why) = yard.down(&name).await {
            self.note(format!("the cluster {name} could not be taken down: {why}"));
        }
        signals::has_clusters(false);
    }

    fn note(&self, text: String) {
        self.deck.log.write(What::Note { text });
    }

    /// Runs acts on a cluster: those that share it together, the others one after the other.
    async fn on_target(&self, target: &Arc<Target>, acts: &[Arc<Trial>]) {
        self.deck.log.write(What::SubjectGathered { subject: subject(target), micros: 0 });
        let shared = |trial: &&Arc<Trial>| trial.act().is_some_and(|act| act.access == Access::Shared);
        let together = self.options.parallelism.map_or(TOGETHER, usize::from);
        let running = acts.iter().filter(shared).map(|trial| self.attempts(trial, target));
        futures_util::stream::iter(running).buffer_unordered(together).collect::<Vec<()>>().await;
        for trial in acts.iter().filter(|trial| !shared(trial)) {
            self.attempts(trial, target).await;
        }
        for one in leave(target, self.run).await {
            self.note(format!("{}: not cleaned up: {one}", target.name));
        }
    }

    /// One act with as many attempts as the user allows.
    async fn attempts(&self, trial: &Arc<Trial>, target: &Arc<Target>) {
        let Some(act) = trial.act() else { return };
        for attempt in 1..=u32::from(self.options.flake_attempts) {
            if signals::seen().is_some() {
                return;
            }
            let outcome = self.one(trial, act, target, attempt).await;
            if !matches!(outcome, Outcome::Fail | Outcome::Errored | Outcome::Undetermined) {
                return;
            }
        }
    }

    async fn one(&self, trial: &Arc<Trial>, act: &Act, target: &Arc<Target>, attempt: u32) -> Outcome {
        let (id, subject) = (&trial.info.id, &target.name);
        self.deck.progress.begin(id);
        self.deck.log.write(What::TrialStarted { trial: id.clone(), subject: subject.clone(), attempt });
        let began = Instant::now();
        let (sender, mut steps) = tokio::sync::mpsc::unbounded_channel();
        let order = Order {
            run: self.run,
            number: self.number.fetch_add(1, Ordering::SeqCst),
            limit: trial.budget,
            cancel: self.cancel.clone(),
            sink: Arc::new(move |step| drop(sender.send(step.text.clone()))),
        };
        let note = |text| self.deck.log.write(What::Step { trial: id.clone(), subject: subject.clone(), text });
        let mut acting = std::pin::pin!(act.run(target, order));
        let acted = loop {
            tokio::select! {
                acted = &mut acting => break acted,
                Some(text) = steps.recv() => note(text),
            }
        };
        while let Ok(text) = steps.try_recv() {
            note(text);
        }
        self.finished(trial, subject, attempt, began, acted)
    }

    /// Notes a verdict, its files, and what could not be cleaned up.
    fn finished(&self, trial: &Trial, subject: &str, attempt: u32, began: Instant, acted: Acted) -> Outcome {
        let id = &trial.info.id;
        let Acted { mut verdict, artifacts, left } = acted;
        for one in &left {
            self.note(format!("{id} on {subject}: not cleaned up: {one}"));
        }
        if !left.is_empty() && verdict.outcome == Outcome::Pass {
            verdict =
                Verdict::because(Outcome::Errored, format!("the claim holds, and the trial left {}", left.join(", ")));
        }
        for artifact in artifacts {
            let folder = format!("artifacts/{subject}/{id}");
            let path = format!("{folder}/{}", artifact.name);
            let written = std::fs::create_dir_all(self.options.output.join(&folder))
                .and_then(|()| std::fs::write(self.options.output.join(&path), artifact.content));
            match written {
                Ok(()) => verdict.attachments.push(Attachment { name: artifact.name, path }),
                Err(error) => self.note(format!("{path}: {error}")),
            }
        }
        let (verdict, note) = waivers::apply(self.deck.waivers, id, subject, verdict);
        note.into_iter().for_each(|text| self.note(text));
        let outcome = verdict.outcome;
        let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let (trial, subject) = (id.clone(), subject.to_owned());
        self.deck.log.write(What::TrialFinished { trial, subject, attempt, micros, verdict });
        self.deck.progress.end(id);
        outcome
    }
}

/// A cluster as a report's subject.
fn subject(target: &Target) -> Subject {
    let facts = &target.facts;
    let fact = |label: &str, value: String| Evidence { label: label.to_owned(), value };
    let by = if target.ours.is_some() { "seaworthy" } else { "somebody else" };
    let facts = vec![
        fact("Kubernetes", facts.version.clone()),
        fact("IP families", facts.families.to_string()),
        fact("nodes", facts.nodes.len().to_string()),
        fact("uid", facts.uid.clone()),
        fact("made by", by.to_owned()),
    ];
    Subject { name: target.name.clone(), facts, pictures: Vec::new() }
}
