//! A check: a claim about a node with its page, and the judge that concludes whether it holds.
//!
//! A check is a value. Families of alike checks (sysctls, kernel options, modules, …) are tables of rows from which
//! such values are made; the rest are written out one by one. What a claim looks at is the facts of its suite.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::conclusion::{Conclusion, Inconclusive, Verdict};
use crate::construct::Edit;
use crate::profile::{KubernetesVersion, PkiProfile, Profile, Role};

/// How much it matters that a claim does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Severity {
    /// Worth knowing; nothing depends on it.
    Info,
    /// An optional feature is missing.
    Low,
    /// Works today, with a known risk: what kubeadm prints as a warning.
    Medium,
    /// The node will not work or not join: what kubeadm refuses with an error.
    High,
    /// Broken or compromised now.
    Critical,
}

/// The document that a claim rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Basis {
    /// Name and section.
    pub document: String,
    /// Where to read it.
    pub url: Option<String>,
}

/// A configuration file that makes a remedy last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Persist {
    /// File to write.
    pub path: String,
    /// What goes into it.
    pub content: String,
}

/// One way to fix a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remedy {
    /// For which distribution or situation; `None` is for all.
    pub when: Option<String>,
    /// What to do, in a sentence.
    pub text: String,
    /// Commands that do it now.
    pub commands: Vec<String>,
    /// What makes it last.
    pub persist: Option<Persist>,
}

impl Remedy {
    /// A remedy in a sentence, for every distribution.
    pub fn new(text: impl Into<String>) -> Self {
        Self { when: None, text: text.into(), commands: Vec::new(), persist: None }
    }

    /// For which distribution or situation.
    #[must_use]
    pub fn when(mut self, when: impl Into<String>) -> Self {
        self.when = Some(when.into());
        self
    }

    /// A command that does it now.
    #[must_use]
    pub fn command(mut self, command: impl Into<String>) -> Self {
        self.commands.push(command.into());
        self
    }

    /// The file that makes it last.
    #[must_use]
    pub fn persist(mut self, path: impl Into<String>, content: impl Into<String>) -> Self {
        self.persist = Some(Persist { path: path.into(), content: content.into() });
        self
    }
}

/// What a judge returns: a conclusion, or why there is none.
pub type Judgment = Result<Conclusion, Inconclusive>;

type Judge<F> = Box<dyn Fn(&View<'_, F>) -> Judgment + Send + Sync>;

/// What a judge sees: a node, and what it is meant to become.
#[derive(Debug)]
pub struct View<'a, F> {
    /// The node.
    pub facts: &'a F,
    /// What it is meant to become.
    pub profile: &'a Profile,
    /// The other nodes that were given.
    pub peers: &'a [Peer<'a, F>],
}

impl<F> Clone for View<'_, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F> Copy for View<'_, F> {}

impl<'a, F> View<'a, F> {
    /// A node without others to compare it with.
    #[must_use]
    pub fn alone(facts: &'a F, profile: &'a Profile) -> Self {
        Self { facts, profile, peers: &[] }
    }
}

/// Another node of the fleet.
#[derive(Debug)]
pub struct Peer<'a, F> {
    /// Its name in the report.
    pub name: &'a str,
    /// What is known of it.
    pub facts: &'a F,
}

/// The smallest edits of the reference node under which the claim holds, and under which it does not.
///
/// They are part of the check: the registry's tests judge both, so a check that cannot fail does not pass them.
#[derive(Debug, Clone, Default)]
pub struct Example {
    /// Edits under which it holds; mostly none.
    pub good: Vec<Edit>,
    /// Edits under which it does not hold.
    pub bad: Vec<Edit>,
    /// Edits that make another node of the reference node, for a claim about several.
    pub peer: Option<Vec<Edit>>,
    /// The profile to judge the examples by, where the default does not do.
    pub profile: Option<fn(&mut crate::profile::Profile)>,
}

/// A claim about a node, its page, and its judge over the facts `F` of a suite.
pub struct Claim<F> {
    /// Stable id: lower-case segments joined by dots.
    pub id: String,
    /// The claim.
    pub title: String,
    /// How much it matters.
    pub severity: Severity,
    /// Kubernetes minors for which it matters more or less than that.
    pub severities: Vec<(RangeInclusive<u32>, Severity)>,
    /// Labels for `-l`, such as `kernel` or `kubeadm`.
    pub labels: Vec<&'static str>,
    /// Names that people already search for.
    pub aliases: Vec<String>,
    /// Why it matters.
    pub why: String,
    /// How it is checked: what is read, what is compared.
    pub how: String,
    /// How to mend it.
    pub remedy: Vec<Remedy>,
    /// Which documents say so.
    pub basis: Vec<Basis>,
    /// Roles that it is about; empty is all.
    pub roles: Vec<Role>,
    /// Kubernetes minors that it is about.
    pub versions: RangeInclusive<u32>,
    /// Measures of a PKI that it belongs to; empty is all.
    pub measures: &'static [PkiProfile],
    /// Examples, good and bad.
    pub example: Example,
    judge: Judge<F>,
}

impl<F> std::fmt::Debug for Claim<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claim").field("id", &self.id).field("title", &self.title).finish_non_exhaustive()
    }
}

/// A claim about a node, over the facts of the node suite.
pub type Check = Claim<crate::node::Facts>;

impl<F> Claim<F> {
    /// A check with its claim; severity high, all roles and versions, until told otherwise.
    pub fn new(
        id: impl Into<String>,
        title: impl Into<String>,
        judge: impl Fn(&View<'_, F>) -> Judgment + Send + Sync + 'static,
    ) -> Self {
        Self {
            id: id.into(),
            title: title.into(),
            severity: Severity::High,
            severities: Vec::new(),
            labels: Vec::new(),
            aliases: Vec::new(),
            why: String::new(),
            how: String::new(),
            remedy: Vec::new(),
            basis: Vec::new(),
            roles: Vec::new(),
            versions: 0..=u32::MAX,
            measures: &[],
            example: Example::default(),
            judge: Box::new(judge),
        }
    }

    /// How much it matters.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// How much it matters for these Kubernetes minors, where that is not [`Claim::severity`].
    #[must_use]
    pub fn severity_in(mut self, versions: RangeInclusive<u32>, severity: Severity) -> Self {
        self.severities.push((versions, severity));
        self
    }

    /// How much it matters for a release of Kubernetes.
    #[must_use]
    pub fn severity_at(&self, KubernetesVersion(minor): KubernetesVersion) -> Severity {
        let of_version = self.severities.iter().find(|(versions, _)| versions.contains(&minor));
        of_version.map_or(self.severity, |(_, severity)| *severity)
    }

    /// A label for `-l`.
    #[must_use]
    pub fn label(mut self, label: &'static str) -> Self {
        self.labels.push(label);
        self
    }

    /// A name that people already search for.
    #[must_use]
    pub fn alias(mut self, alias: impl Into<String>) -> Self {
        self.aliases.push(alias.into());
        self
    }

    /// Why it matters, and how it is checked.
    #[must_use]
    pub fn page(mut self, why: impl Into<String>, how: impl Into<String>) -> Self {
        self.why = why.into();
        self.how = how.into();
        self
    }

    /// A way to mend it.
    #[must_use]
    pub fn remedy(mut self, remedy: Remedy) -> Self {
        self.remedy.push(remedy);
        self
    }

    /// A document that says so; an empty `url` is none.
    #[must_use]
    pub fn basis(mut self, document: impl Into<String>, url: &str) -> Self {
        let url = (!url.is_empty()).then(|| url.to_owned());
        self.basis.push(Basis { document: document.into(), url });
        self
    }

    /// Only for these roles.
    #[must_use]
    pub fn roles(mut self, roles: impl IntoIterator<Item = Role>) -> Self {
        self.roles = roles.into_iter().collect();
        self
    }

    /// Only for these Kubernetes minors.
    #[must_use]
    pub fn versions(mut self, versions: RangeInclusive<u32>) -> Self {
        self.versions = versions;
        self
    }

    /// Only by these measures of a PKI.
    #[must_use]
    pub fn only(mut self, measures: &'static [PkiProfile]) -> Self {
        self.measures = measures;
        self
    }

    /// Edits of the reference node under which it does not hold.
    #[must_use]
    pub fn bad(mut self, edits: impl IntoIterator<Item = Edit>) -> Self {
        self.example.bad = edits.into_iter().collect();
        self
    }

    /// Edits of the reference node under which it holds, where the reference node itself does not do.
    #[must_use]
    pub fn good(mut self, edits: impl IntoIterator<Item = Edit>) -> Self {
        self.example.good = edits.into_iter().collect();
        self
    }

    /// Another node beside the examples: the reference node with these edits.
    #[must_use]
    pub fn beside(mut self, edits: impl IntoIterator<Item = Edit>) -> Self {
        self.example.peer = Some(edits.into_iter().collect());
        self
    }

    /// The profile to judge the examples by.
    #[must_use]
    pub fn example_profile(mut self, edit: fn(&mut crate::profile::Profile)) -> Self {
        self.example.profile = Some(edit);
        self
    }

    /// Judges a host: pure, and total over what the host may hold.
    #[must_use]
    pub fn judge(&self, view: &View<'_, F>) -> Conclusion {
        let KubernetesVersion(minor) = view.profile.kubernetes;
        if !self.versions.contains(&minor) {
            let (first, last) = (self.versions.start(), self.versions.end());
            let range =
                if *last == u32::MAX { format!("1.{first} or later") } else { format!("1.{first} to 1.{last}") };
            return Conclusion::not_applicable(format!("about Kubernetes {range}; the profile is 1.{minor}"));
        }
        if !self.roles.is_empty() && !self.roles.contains(&view.profile.role) {
            let roles: Vec<_> = self.roles.iter().map(|role| role.name()).collect();
            return Conclusion::not_applicable(format!(
                "about {}; the profile's role is {}",
                roles.join(" and "),
                view.profile.role.name()
            ));
        }
        if !self.measures.is_empty() && !self.measures.contains(&view.profile.pki) {
            let measures: Vec<_> = self.measures.iter().map(|measure| measure.name()).collect();
            return Conclusion::not_applicable(format!(
                "asked for by the profile {}; the profile is {}",
                measures.join(" and "),
                view.profile.pki.name()
            ));
        }
        let mut conclusion = (self.judge)(view)
            .unwrap_or_else(|why| Conclusion { verdict: Verdict::Undetermined(why), evidence: Vec::new() });
        if let Verdict::Undetermined(why) = &conclusion.verdict
            && why.is_declined()
        {
            return Conclusion::not_applicable(why.to_string());
        }
        let severity = self.severity_at(view.profile.kubernetes);
        if let Verdict::Breached(breaches) = &mut conclusion.verdict
            && severity != self.severity
        {
            for breach in breaches.iter_mut().filter(|breach| breach.severity.is_none()) {
                breach.severity = Some(severity);
            }
        }
        conclusion
    }
}
