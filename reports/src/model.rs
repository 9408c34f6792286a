//! The run model: what a suite claims, what became of each claim, and the events that say so.
//!
//! A run is a sequence of [`Event`]s. Nothing else is stored: every report is a fold over them
//! (see [`crate::Run`]), so a run that was killed still yields all of its reports.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much it matters that a claim does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing depends on it.
    Info,
    /// An optional feature is missing.
    Low,
    /// Works today, with a known risk: what `kubeadm` prints as a warning.
    Medium,
    /// The node will not work or not join: what `kubeadm` refuses with an error.
    High,
    /// Broken or compromised now.
    Critical,
}

/// What became of a claim. Blame is typed: only [`Outcome::Fail`] says the subject is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The claim holds.
    Pass,
    /// The claim does not hold.
    Fail,
    /// We broke: a panic, an exhausted budget, a defect of ours.
    Errored,
    /// We could not look: the reason names what is missing.
    Undetermined,
    /// The claim says nothing about this subject (another role, version or runtime).
    NotApplicable,
    /// Not run, for the stated reason (interrupted, a requirement not met).
    Skipped,
    /// The claim does not hold, and a waiver accepts that.
    Waived,
    /// Failed first and then held on a retry that the user asked for.
    Flaky,
}

/// Where a fact was read: a path on the subject and, where it has lines, the line (from 1).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Location {
    /// Absolute path on the subject, never on the machine that judges.
    pub path: String,
    /// Line, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.path),
            None => f.write_str(&self.path),
        }
    }
}

/// One way in which a claim does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The thing at fault: a sysctl, a port, a file, a condition.
    pub subject: String,
    /// One sentence that names the first cause.
    pub message: String,
    /// What was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// What was wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<String>,
    /// Where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Location>,
    /// How to fix this cause; empty where the remedies of the trial do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remedy: Vec<Remedy>,
    /// How much this one matters, where that is not the trial's severity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
}

impl Finding {
    /// What was found and what was expected, as far as the message does not say so: `found 0, expected 1`.
    #[must_use]
    pub fn contrast(&self) -> String {
        let said = |value: &str| {
            let edge = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
            self.message.match_indices(value).any(|(at, value)| {
                edge(self.message[..at].chars().next_back()) && edge(self.message[at + value.len()..].chars().next())
            })
        };
        let part = |word: &str, value: &Option<String>| {
            let value = value.as_deref().filter(|value| !value.is_empty() && !said(value))?;
            Some(format!("{word} {value}"))
        };
        [part("found", &self.found), part("expected", &self.wanted)]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// All of it in one line: message, found and expected, place.
    #[must_use]
    pub fn line(&self) -> String {
        let (contrast, place) = (self.contrast(), self.at.as_ref().map(|at| format!(" [{at}]")));
        let contrast = if contrast.is_empty() { contrast } else { format!(" ({contrast})") };
        format!("{}{contrast}{}", self.message, place.unwrap_or_default())
    }
}

/// A fact that a verdict rests on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// What was looked at.
    pub label: String,
    /// What was seen, redacted and bounded.
    pub value: String,
}

/// The document that a claim rests on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Basis {
    /// Name and section, such as `kubeadm preflight: NumCPU`.
    pub document: String,
    /// Where to read it, if it can be read on the web.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// One way to fix a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Remedy {
    /// For which distribution or situation; `None` is for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// What to do, in a sentence.
    pub text: String,
    /// Commands that do it now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
    /// What makes it last over a reboot: file and content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persist: Option<Persist>,
}

/// A configuration file that makes a remedy last.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Persist {
    /// File to write.
    pub path: String,
    /// What goes into it.
    pub content: String,
}

/// What is known of a trial before it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrialInfo {
    /// Stable id, lower-case segments joined by dots: `node.sysctl.net.ipv4.ip-forward`.
    pub id: String,
    /// The suite it belongs to: `node`.
    pub suite: String,
    /// The claim, in a sentence.
    pub title: String,
    /// How much it matters if the claim does not hold.
    pub severity: Severity,
    /// Labels for `-l`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Names that people already search for: kubeadm's, CIS numbers, node-test's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Which documents say so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub basis: Vec<Basis>,
    /// Why it matters.
    pub why: String,
    /// How it is checked.
    pub how: String,
    /// How to fix it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remedy: Vec<Remedy>,
}

/// The result of one attempt at a trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// What became of the claim.
    pub outcome: Outcome,
    /// Why, for every outcome but pass and fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What could not be read, of a claim that could not be determined for that reason; others may wait for the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because_of: Option<Cause>,
    /// In which ways it does not hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// What the verdict rests on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
    /// Files beside the report that show what happened: steps, objects, logs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
}

impl Verdict {
    /// A verdict of nothing but an outcome.
    #[must_use]
    pub fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            reason: None,
            because_of: None,
            findings: Vec::new(),
            evidence: Vec::new(),
            attachments: Vec::new(),
        }
    }

    /// A verdict of nothing but an outcome and a reason.
    #[must_use]
    pub fn because(outcome: Outcome, reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..Self::of(outcome) }
    }

    /// Why, in the words that claims with the same cause share.
    #[must_use]
    pub fn shared_reason(&self) -> &str {
        let cause = self.because_of.as_ref().map(|cause| cause.why.as_str());
        cause.or(self.reason.as_deref()).unwrap_or("no reason given")
    }
}

/// A file beside the report.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Attachment {
    /// What is in it: `objects.yaml`.
    pub name: String,
    /// Its path, relative to the folder of the report.
    pub path: String,
}

/// A file or another answer of a subject that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Cause {
    /// The file, or what was asked.
    pub thing: String,
    /// What is wrong with it, in a sentence that names it.
    pub why: String,
}

/// The thing on trial: a node, live or recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Subject {
    /// Unique within the run: the host name, or the recording's file name.
    pub name: String,
    /// What is known of it, for the head of a report: operating system, kernel, cgroup mode, ….
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<Evidence>,
    /// Pictures of it, for reports that can show some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pictures: Vec<Picture>,
}

/// A picture of a subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Picture {
    /// What it shows.
    pub title: String,
    /// The picture, in SVG.
    pub svg: String,
}

/// What the run was asked to do, for the head of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunInfo {
    /// Unique id of the run: start time and a random part.
    pub id: String,
    /// Version of Seaworthy.
    pub version: String,
    /// The command line, secrets never among it.
    pub command: Vec<String>,
    /// The profile: Kubernetes version, role, runtime.
    pub profile: Vec<Evidence>,
    /// A failed claim below this severity is reported and does not fail the run.
    pub fail_on: Severity,
    /// What is on trial.
    pub subjects: Vec<Subject>,
    /// All that was selected, in order.
    pub trials: Vec<TrialInfo>,
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// When it happened, UTC, RFC 3339.
    #[schemars(with = "String")]
    pub at: jiff::Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// A trial and a subject that it runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Planned {
    /// The trial's id.
    pub trial: String,
    /// The subject's name.
    pub subject: String,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// The run began; always the first event.
    RunStarted(RunInfo),
    /// Which trial runs on which subject, where that is not every trial on every subject; the second event, if at all.
    Planned {
        /// The pairs, in the order of the report.
        plan: Vec<Planned>,
    },
    /// A trial that acts took a step.
    Step {
        /// The trial's id.
        trial: String,
        /// The subject's name.
        subject: String,
        /// What it does, in words.
        text: String,
    },
    /// All that is asked of a subject was asked; what is known of it now.
    SubjectGathered {
        /// The subject, in place of the one that the run's start names.
        subject: Subject,
        /// How long it took, in microseconds.
        micros: u64,
    },
    /// A trial began on a subject.
    TrialStarted {
        /// The trial's id.
        trial: String,
        /// The subject's name.
        subject: String,
        /// Counted from 1; above 1 only where retries were asked for.
        attempt: u32,
    },
    /// A trial came to its verdict on a subject.
    TrialFinished {
        /// The trial's id.
        trial: String,
        /// The subject's name.
        subject: String,
        /// Counted from 1.
        attempt: u32,
        /// How long it took, in microseconds.
        micros: u64,
        /// What became of it.
        verdict: Verdict,
    },
    /// Something that is no trial's verdict: an unused waiver, a slow phase.
    Note {
        /// The text.
        text: String,
    },
    /// The user or the system asked to stop.
    Interrupted {
        /// The signal's name.
        signal: String,
    },
    /// The run ended by itself; a journal without it is of a run that was killed.
    RunFinished {
        /// The exit code that the program left with.
        exit_code: i32,
    },
}
