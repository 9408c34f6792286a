//! How the body of an act ends before its end.

use seaworthy_reports::{Finding, Outcome, Verdict};

/// Why an act ends early. The blame is typed: only [`Stop::Breached`] says that the cluster is at fault.
#[derive(Debug)]
pub enum Stop {
    /// The claim does not hold.
    Breached(Vec<Finding>),
    /// It cannot be known whether it holds: no permission, no answer, something else in the way.
    Undetermined(String),
    /// The claim is not about this cluster.
    NotApplicable(String),
    /// The user or the system asked to stop.
    Interrupted,
}

impl Stop {
    /// The claim does not hold for a thing, in one way.
    #[must_use]
    pub fn breach(subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Breached(vec![finding(subject, message)])
    }

    /// The same as something that cannot be known: for preparations, whose failure says nothing about the claim.
    #[must_use]
    pub fn undetermined(self, doing: &str) -> Self {
        match self {
            Self::Breached(findings) => {
                let why = findings.iter().map(|one| one.message.as_str()).collect::<Vec<_>>().join("; ");
                Self::Undetermined(format!("{doing}: {why}"))
            }
            other => other,
        }
    }

    pub(super) fn verdict(self) -> Verdict {
        match self {
            Self::Breached(findings) => Verdict { outcome: Outcome::Fail, findings, ..Verdict::of(Outcome::Fail) },
            Self::Undetermined(why) => Verdict::because(Outcome::Undetermined, why),
            Self::NotApplicable(why) => Verdict::because(Outcome::NotApplicable, why),
            Self::Interrupted => Verdict::because(Outcome::Skipped, "the run was interrupted"),
        }
    }
}

/// A finding of an act: nothing but a thing and what is wrong with it.
pub(super) fn finding(subject: impl Into<String>, message: impl Into<String>) -> Finding {
    Finding {
        subject: subject.into(),
        message: message.into(),
        found: None,
        wanted: None,
        at: None,
        remedy: Vec::new(),
        severity: None,
    }
}
