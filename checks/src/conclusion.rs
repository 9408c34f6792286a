//! What a judge concludes, with the evidence that it rests on.

use serde::{Deserialize, Serialize};

use crate::check::{Remedy, Severity};

/// A place on the host: a path and, where it has lines, the line (from 1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// Absolute path on the host.
    pub path: String,
    /// Line, counted from 1.
    pub line: Option<u32>,
}

/// One way in which a claim does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breach {
    /// The thing at fault.
    pub subject: String,
    /// One sentence that names the first cause.
    pub message: String,
    /// What was found.
    pub found: Option<String>,
    /// What was wanted.
    pub wanted: Option<String>,
    /// Where.
    pub at: Option<Location>,
    /// How to fix this cause; empty where the remedies of the check do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remedy: Vec<Remedy>,
    /// How much this one matters, where that is not the claim's severity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
}

impl Breach {
    /// A breach of one thing, in a sentence.
    pub fn new(subject: impl Into<String>, message: impl Into<String>) -> Self {
        let (subject, message) = (subject.into(), message.into());
        Self { subject, message, found: None, wanted: None, at: None, remedy: Vec::new(), severity: None }
    }

    /// What was found.
    #[must_use]
    pub fn found(mut self, found: impl Into<String>) -> Self {
        self.found = Some(found.into());
        self
    }

    /// What was wanted.
    #[must_use]
    pub fn wanted(mut self, wanted: impl Into<String>) -> Self {
        self.wanted = Some(wanted.into());
        self
    }

    /// Where it was found.
    #[must_use]
    pub fn at(mut self, path: impl Into<String>, line: Option<u32>) -> Self {
        self.at = Some(Location { path: path.into(), line });
        self
    }

    /// A way to fix this cause, in place of the remedies of the check.
    #[must_use]
    pub fn remedy(mut self, remedy: Remedy) -> Self {
        self.remedy.push(remedy);
        self
    }

    /// How much this one matters, where that is not the claim's severity.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = Some(severity);
        self
    }
}

/// A fact that a conclusion rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// What was looked at.
    pub label: String,
    /// What was seen.
    pub value: String,
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It holds.
    Holds,
    /// It does not, in at least one way.
    Breached(Vec<Breach>),
    /// It says nothing about this host; the text says why.
    NotApplicable(String),
    /// It could not be told; the text says why.
    Undetermined(String),
}

/// A verdict and its evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conclusion {
    /// What became of the claim.
    pub verdict: Verdict,
    /// What it rests on.
    pub evidence: Vec<Evidence>,
}

impl Conclusion {
    /// The claim holds.
    #[must_use]
    pub fn holds() -> Self {
        Self { verdict: Verdict::Holds, evidence: Vec::new() }
    }

    /// The claim does not hold, in one way.
    #[must_use]
    pub fn breach(breach: Breach) -> Self {
        Self { verdict: Verdict::Breached(vec![breach]), evidence: Vec::new() }
    }

    /// Holds if there are no breaches.
    #[must_use]
    pub fn from_breaches(breaches: Vec<Breach>) -> Self {
        let verdict = if breaches.is_empty() { Verdict::Holds } else { Verdict::Breached(breaches) };
        Self { verdict, evidence: Vec::new() }
    }

    /// The claim says nothing about this host.
    pub fn not_applicable(why: impl Into<String>) -> Self {
        Self { verdict: Verdict::NotApplicable(why.into()), evidence: Vec::new() }
    }

    /// It could not be told.
    pub fn undetermined(why: impl Into<String>) -> Self {
        Self { verdict: Verdict::Undetermined(why.into()), evidence: Vec::new() }
    }

    /// Adds a fact that the verdict rests on.
    #[must_use]
    pub fn because(mut self, label: impl Into<String>, value: impl Into<String>) -> Self {
        self.evidence.push(Evidence { label: label.into(), value: value.into() });
        self
    }
}

/// Why a judge could not conclude; becomes [`Verdict::Undetermined`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Inconclusive(String);

impl Inconclusive {
    /// A reason that names the thing and what is missing.
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}
