//! Objects of manifests: reading them, and which trials are about them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use seaworthy_objects::podsecurity::{Evaluator, Policy};
use seaworthy_reports::{Planned, What};
use seaworthy_suites::cluster::Target;
use seaworthy_suites::{Objects, Standard, Trial};

use super::{Deck, Ship, Timings, judge};
use crate::cli::RunOptions;
use crate::fault::Fault;

/// The trials about objects, and the objects, where manifests are named.
#[derive(Default)]
pub(super) struct Papers {
    trials: Vec<Arc<Trial>>,
    objects: Option<Arc<Objects>>,
    read: std::time::Duration,
}

impl Papers {
    /// Takes the trials about objects out of all that are selected, and reads the manifests.
    ///
    /// With manifests, nothing acts on a cluster unless one is named. Without them, the objects of a cluster that is
    /// named are judged, and nothing judges objects where none is.
    pub(super) fn find(all: &mut Vec<Arc<Trial>>, options: &RunOptions) -> Result<Self, Fault> {
        let (trials, others): (Vec<_>, Vec<_>) = all.iter().cloned().partition(|trial| trial.judges_objects());
        let paths = &options.manifests.paths;
        let cluster = cluster(options)?;
        if paths.is_empty()
            && let Some((path, context)) = &cluster
            && !trials.is_empty()
        {
            let began = Instant::now();
            let objects = live(path, context.as_deref(), options)?;
            return Ok(Self { trials, objects: Some(Arc::new(objects)), read: began.elapsed() });
        }
        if paths.is_empty() {
            if others.is_empty() && !trials.is_empty() {
                let fault = Fault::usage("the selected checks judge manifests, and none are named");
                return Err(fault.hint("name a file, a folder or - for standard input: --manifests PATH"));
            }
            *all = others;
            return Ok(Self::default());
        }
        if trials.is_empty() {
            let fault = Fault::usage("--manifests is for suites that judge objects");
            return Err(fault.hint("add --suite podsecurity"));
        }
        all.retain(|trial| trial.act().is_none() || cluster.is_some());
        let began = Instant::now();
        let objects = Objects::read(paths, &mut std::io::stdin().lock(), standard(options, None));
        let objects = objects.map_err(|error| Fault::usage(format!("--manifests {error}")))?;
        if objects.manifests.objects.is_empty() && objects.manifests.problems.is_empty() {
            let fault = Fault::usage(format!("there is no object in {}", objects.name));
            return Err(fault.hint("of a folder, files that end in .yaml, .yml or .json are read"));
        }
        write_script(&objects, options)?;
        Ok(Self { trials, objects: Some(Arc::new(objects)), read: began.elapsed() })
    }

    /// The name of the objects.
    pub(super) fn name(&self) -> Option<String> {
        self.objects.as_ref().map(|objects| objects.name.clone())
    }

    /// How many trials there are.
    pub(super) fn len(&self) -> usize {
        self.trials.len()
    }

    /// Which trials judge the objects.
    pub(super) fn plan(&self) -> impl Iterator<Item = Planned> {
        let names = self.name().into_iter();
        names.flat_map(|subject| {
            let of = move |trial: &Arc<Trial>| Planned { trial: trial.info.id.clone(), subject: subject.clone() };
            self.trials.iter().map(of)
        })
    }

    /// Judges the objects.
    pub(super) fn judge(&self, deck: &Deck<'_>, timings: &mut Timings) {
        let Some(objects) = &self.objects else { return };
        let micros = u64::try_from(self.read.as_micros()).unwrap_or(u64::MAX);
        deck.log.write(What::SubjectGathered { subject: objects.subject(), micros });
        let began = Instant::now();
        let deck = Deck {
            trials: &self.trials,
            profile: deck.profile.clone(),
            waivers: deck.waivers,
            log: deck.log,
            progress: deck.progress,
            workers: deck.workers,
        };
        judge(&deck, &Ship::Objects(objects.clone()), &(0..self.trials.len()).collect(), 1);
        timings.gather += self.read;
        timings.judge += began.elapsed();
    }
}

/// What objects are held to; `minor` is the release of the cluster that they are of.
fn standard(options: &RunOptions, minor: Option<u32>) -> Standard {
    let policy = Policy { level: options.manifests.level, version: options.manifests.policy_version };
    let minor = options.profile.kubernetes_version.map(|version| version.0).or(minor);
    Standard { policy, evaluator: minor.map_or(Evaluator::NEWEST, Evaluator::of) }
}

/// The kubeconfig and the context of the cluster that is named.
fn cluster(options: &RunOptions) -> Result<Option<(PathBuf, Option<String>)>, Fault> {
    if let Some(path) = &options.remote.kubeconfig {
        return Ok(Some((path.clone(), options.remote.context.clone())));
    }
    let Some(name) = &options.cluster.cluster else { return Ok(None) };
    Ok(Some((crate::cluster::open(Some(name))?.admin_kubeconfig(), None)))
}

/// Reads the objects of a cluster.
fn live(path: &Path, context: Option<&str>, options: &RunOptions) -> Result<Objects, Fault> {
    super::act::runtime()?.block_on(async {
        let target = Target::connect(path, context).await.map_err(|error| Fault::usage(error.to_string()))?;
        let name = format!("objects of {}", options.cluster.cluster.as_ref().unwrap_or(&target.name));
        let objects = Objects::of(name, target.snapshot().await, standard(options, Some(target.facts.minor)));
        write_script(&objects, options)?;
        Ok(objects)
    })
}

fn write_script(objects: &Objects, options: &RunOptions) -> Result<(), Fault> {
    let Some(path) = &options.manifests.label_script else { return Ok(()) };
    let written = std::fs::write(path, objects.label_script());
    written.map_err(|error| Fault::usage(format!("--label-script {}: {error}", path.display())))
}
