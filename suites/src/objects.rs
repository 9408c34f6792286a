//! Objects on trial: those of manifests, and the policy that they are held to.

use std::io::Read;
use std::path::PathBuf;

use seaworthy_objects::manifest::{Manifests, NoManifests, Object, Problem};
use seaworthy_objects::podsecurity::{Evaluator, Level, Namespace, Pod, Policy, Workload, engines};
use seaworthy_reports::{Evidence, Subject};

/// What objects are held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standard {
    /// The level and the version that workloads must satisfy.
    pub policy: Policy,
    /// The admission that evaluates them.
    pub evaluator: Evaluator,
}

/// Objects, read and not yet judged.
#[derive(Debug)]
pub struct Objects {
    /// Where they are from, for people.
    pub name: String,
    /// The objects, and what could not be read.
    pub manifests: Manifests,
    /// What they are held to.
    pub standard: Standard,
    workloads: Vec<Judged>,
}

/// A workload among objects.
#[derive(Debug)]
pub struct Judged {
    /// The index of its object.
    pub object: usize,
    /// The workload.
    pub workload: Workload,
    /// Its pod as admission sees it.
    pub pod: Pod,
}

impl Objects {
    /// Reads files and folders; `-` is standard input.
    ///
    /// # Errors
    /// If a path cannot be read.
    pub fn read(paths: &[PathBuf], stdin: &mut dyn Read, standard: Standard) -> Result<Self, NoManifests> {
        let manifests = Manifests::read(paths, stdin)?;
        let name = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        Ok(Self::of(if name == "-" { "stdin".to_owned() } else { name }, manifests, standard))
    }

    /// Objects that were read.
    #[must_use]
    pub fn of(name: String, manifests: Manifests, standard: Standard) -> Self {
        let mut workloads = Vec::new();
        for (index, object) in manifests.objects.iter().enumerate() {
            if let Some(workload) = Workload::of(object) {
                let pod = standard.evaluator.admitted(&workload);
                workloads.push(Judged { object: index, workload, pod });
            }
        }
        Self { name, manifests, standard, workloads }
    }

    /// The workloads, each with its object.
    pub fn workloads(&self) -> impl ExactSizeIterator<Item = (&Object, &Judged)> {
        self.workloads.iter().map(|judged| (&self.manifests.objects[judged.object], judged))
    }

    /// The namespaces, each with its object.
    #[must_use]
    pub fn namespaces(&self) -> Vec<(&Object, Namespace)> {
        let objects = self.manifests.objects.iter();
        objects.filter_map(|object| Some((object, Namespace::of(object)?))).collect()
    }

    /// The first problem that may hide objects.
    #[must_use]
    pub fn hidden(&self) -> Option<&Problem> {
        self.manifests.problems.iter().find(|problem| problem.trouble.hides_objects())
    }

    /// They as a report's subject.
    #[must_use]
    pub fn subject(&self) -> Subject {
        let mut facts = Vec::new();
        let mut fact = |label: &str, value: String| facts.push(Evidence { label: label.to_owned(), value });
        let Self { manifests, standard, workloads, .. } = self;
        fact("files", manifests.files.to_string());
        fact("objects", manifests.objects.len().to_string());
        fact("workloads", workloads.len().to_string());
        let version = format!("as Kubernetes 1.{} evaluates it", standard.evaluator.server);
        fact("policy", format!("{} ({version})", standard.policy));
        let engines = engines(&manifests.objects);
        if !engines.is_empty() {
            let one = |engine: &seaworthy_objects::podsecurity::Engine| {
                let object = &manifests.objects[engine.object];
                match &*object.file {
                    "" => format!("{} ({object})", engine.name),
                    file => format!("{} ({file}:{})", engine.name, object.line),
                }
            };
            let names: Vec<_> = engines.iter().map(one).collect();
            fact("other policy engines, which may refuse more", names.join(", "));
        }
        for problem in manifests.problems.iter().filter(|problem| !problem.trouble.hides_objects()).take(20) {
            fact("note", problem.to_string());
        }
        Subject { name: self.name.clone(), facts, pictures: Vec::new() }
    }

    /// Labels for the namespaces of the objects, as a script for sh.
    #[must_use]
    pub fn label_script(&self) -> String {
        use std::collections::BTreeMap;

        use seaworthy_objects::podsecurity::{proposals, script, system_namespace};
        let mut all: BTreeMap<String, Vec<(String, &Pod)>> = BTreeMap::new();
        for (_, namespace) in self.namespaces() {
            all.entry(namespace.name).or_default();
        }
        for (object, judged) in self.workloads() {
            if let Some(namespace) = &object.namespace {
                all.entry(namespace.clone()).or_default().push((object.to_string(), &judged.pod));
            }
        }
        all.retain(|name, _| !name.is_empty() && !system_namespace(name));
        script(&proposals(self.standard.evaluator, self.standard.policy, all))
    }
}

impl Standard {
    /// A level by the newest rules.
    #[must_use]
    pub fn newest(level: Level) -> Self {
        let policy = Policy { level, version: seaworthy_objects::podsecurity::Version::Latest };
        Self { policy, evaluator: Evaluator::NEWEST }
    }
}
