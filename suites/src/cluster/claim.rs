//! How suites declare trials that act: the claim in words, and the act.

use std::time::Duration;

use seaworthy_reports::{Basis, Remedy, Severity, TrialInfo};

use super::{Access, Act, ClusterNeed, Ctx, Requirement, Stop};
use crate::trial::Trial;

/// How long a body may take, where the claim does not say.
const LIMIT: Duration = Duration::from_mins(3);

/// A trial that acts, being declared. Its suite is the first segment of its id.
#[derive(Debug)]
pub struct Claim {
    info: TrialInfo,
    limit: Duration,
    act: Act,
}

impl Claim {
    /// A claim by its id, its title, the clusters that it is about, the defect that catches it, and the body.
    pub fn new<F>(
        id: impl Into<String>,
        title: impl Into<String>,
        on: impl IntoIterator<Item = ClusterNeed>,
        caught_by: &'static str,
        body: impl Fn(Ctx) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<(), Stop>> + Send + 'static,
    {
        let id = id.into();
        let suite = id.split('.').next().unwrap_or_default().to_owned();
        let info = TrialInfo {
            id,
            suite,
            title: title.into(),
            severity: Severity::High,
            labels: Vec::new(),
            aliases: Vec::new(),
            basis: Vec::new(),
            why: String::new(),
            how: String::new(),
            remedy: Vec::new(),
        };
        Self { info, limit: LIMIT, act: Act::new(on, caught_by, body) }
    }

    /// Why it matters.
    #[must_use]
    pub fn why(mut self, text: impl Into<String>) -> Self {
        self.info.why = text.into();
        self
    }

    /// How it is tried.
    #[must_use]
    pub fn how(mut self, text: impl Into<String>) -> Self {
        self.info.how = text.into();
        self
    }

    /// How to fix a cluster for which it does not hold.
    #[must_use]
    pub fn fix(mut self, text: impl Into<String>) -> Self {
        let text = text.into();
        self.info.remedy.push(Remedy { when: None, text, commands: Vec::new(), persist: None });
        self
    }

    /// Which document says so; an empty `url` is none.
    #[must_use]
    pub fn basis(mut self, document: &str, url: &str) -> Self {
        let url = (!url.is_empty()).then(|| url.to_owned());
        self.info.basis.push(Basis { document: document.to_owned(), url });
        self
    }

    /// How much it matters; high by default.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.info.severity = severity;
        self
    }

    /// A label for `-l`.
    #[must_use]
    pub fn label(mut self, label: &str) -> Self {
        self.info.labels.push(label.to_owned());
        self
    }

    /// A name that people already search for, such as that of upstream's test.
    #[must_use]
    pub fn alias(mut self, alias: impl Into<String>) -> Self {
        self.info.aliases.push(alias.into());
        self
    }

    /// How long the body may take.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// What else it requires of the cluster.
    #[must_use]
    pub fn requires(mut self, requirement: Requirement) -> Self {
        self.act.requires.push(requirement);
        self
    }

    /// It gets no namespace of its own: it only reads, or makes what it needs.
    #[must_use]
    pub fn without_namespace(mut self) -> Self {
        self.act.own_namespace = false;
        self
    }

    /// It runs alone on its cluster.
    #[must_use]
    pub fn exclusive(mut self) -> Self {
        self.act.access = Access::Exclusive;
        self
    }

    /// It makes what others on the cluster can see, such as nodes, and wants consent for that; it runs beside others.
    #[must_use]
    pub fn wants_consent(mut self) -> Self {
        self.act.disturbs = true;
        self
    }

    /// It disturbs what others have on the cluster, and runs alone.
    #[must_use]
    pub fn disturbs(mut self) -> Self {
        self.act.disturbs = true;
        self.exclusive()
    }

    /// The trial.
    #[must_use]
    pub fn trial(self) -> Trial {
        Trial::acting(self.info, self.limit, self.act)
    }
}
