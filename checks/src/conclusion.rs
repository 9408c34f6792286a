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
    /// It could not be determined.
    Undetermined(Inconclusive),
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

    /// It could not be determined.
    pub fn undetermined(why: impl Into<Inconclusive>) -> Self {
        Self { verdict: Verdict::Undetermined(why.into()), evidence: Vec::new() }
    }

    /// Adds a fact that the verdict rests on.
    #[must_use]
    pub fn because(mut self, label: impl Into<String>, value: impl Into<String>) -> Self {
        self.evidence.push(Evidence { label: label.into(), value: value.into() });
        self
    }
}

/// How the reason ends of what is not known because the user asked for no more than looking.
pub const DECLINED: &str = "was not tried: --passive";

/// Why a judge could not conclude; becomes [`Verdict::Undetermined`]. It reads as the text that says why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{why}")]
pub struct Inconclusive {
    why: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    because_of: Option<Cause>,
}

/// A file or another answer that could not be read. Every claim that needs it has the same cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The file, or what was asked.
    pub thing: String,
    /// What is wrong with it, in a sentence that begins with it.
    pub why: String,
}

impl Cause {
    /// The cause that a reason names: reasons begin with the path that they are about, or with what was asked and a
    /// colon.
    fn of(why: &str) -> Self {
        let end = if why.starts_with('/') { why.find([':', ' ', ',']) } else { why.find(": ") };
        let (thing, rest) = why.split_at(end.unwrap_or(why.len()));
        let rest = rest.trim_start_matches([':', ' ', ',']);
        let sentence = if rest.is_empty() { thing.to_owned() } else { format!("{thing}: {rest}") };
        Self { thing: thing.to_owned(), why: sentence }
    }
}

impl Inconclusive {
    /// A reason that names the thing and what is missing.
    pub fn new(why: impl Into<String>) -> Self {
        let why = why.into();
        let because_of = why.starts_with('/').then(|| Cause::of(&why));
        Self { why, because_of }
    }

    /// What is not known, and why that is: a reason that begins with the file or the query that failed.
    pub fn because_of(what: &str, why: &str) -> Self {
        let cause = Cause::of(why);
        // Names the thing once, whether or not the reason does so already.
        let text = match &cause.why {
            _ if why.starts_with(what) => why.to_owned(),
            why => format!("{what}: not known because of {why}"),
        };
        Self { why: text, because_of: Some(cause) }
    }

    /// Was it left out because the user asked for that? Then the claim is not about this run.
    pub(crate) fn is_declined(&self) -> bool {
        self.why.ends_with(DECLINED)
    }

    /// What could not be read, if that is known.
    #[must_use]
    pub fn cause(&self) -> Option<&Cause> {
        self.because_of.as_ref()
    }
}

impl From<String> for Inconclusive {
    fn from(why: String) -> Self {
        Self::new(why)
    }
}

impl From<&String> for Inconclusive {
    fn from(why: &String) -> Self {
        Self::new(why)
    }
}

impl From<&str> for Inconclusive {
    fn from(why: &str) -> Self {
        Self::new(why)
    }
}

impl std::ops::Deref for Inconclusive {
    type Target = str;

    fn deref(&self) -> &str {
        &self.why
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_what_its_reason_begins_with() {
        for (why, thing) in [
            ("/etc/x: permission denied; run as root", "/etc/x"),
            ("/var/lib/kubelet/config.yaml is no YAML: at line 3", "/var/lib/kubelet/config.yaml"),
            ("probe Veth: nobody looked", "probe Veth"),
            ("there is none", "there is none"),
        ] {
            assert_eq!(Cause::of(why).thing, thing);
        }
        let one = Inconclusive::because_of("the kubelet's configuration", "/c is no YAML");
        assert_eq!(one.to_string(), "the kubelet's configuration: not known because of /c: is no YAML");
        assert_eq!(one.cause(), Inconclusive::because_of("swap", "/c is no YAML").cause());
        assert_eq!(Inconclusive::because_of("/c", "/c is no YAML").to_string(), "/c is no YAML");
    }
}
