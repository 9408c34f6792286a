//! What changed between two runs.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::model::Outcome;
use crate::run::{Run, TrialResult};

/// A trial whose result is not the same in two runs; `None` is a trial that a run does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The subject; with one subject in each run they are compared whatever their names are, and this is the later
    /// one's.
    pub subject: String,
    /// The trial's id.
    pub trial: String,
    /// What it was.
    pub before: Option<Outcome>,
    /// What it is.
    pub after: Option<Outcome>,
    /// The findings or evidence that it rests on now, a line each.
    pub details: Vec<String>,
}

/// All that changed between two runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Did not fail and does now.
    pub newly_failing: Vec<Change>,
    /// Failed and does not now.
    pub fixed: Vec<Change>,
    /// Fails for another reason.
    pub fails_otherwise: Vec<Change>,
    /// Any other change of outcome, trials that came or went among them.
    pub other: Vec<Change>,
    /// The same outcome on other evidence.
    pub evidence: Vec<Change>,
    /// How many results are the same.
    pub same: usize,
}

impl Difference {
    /// Compares two runs, subject by subject and trial by trial.
    #[must_use]
    pub fn between(before: &Run, after: &Run) -> Self {
        let one_each = before.info.subjects.len() == 1 && after.info.subjects.len() == 1;
        let key = |result: &TrialResult| {
            (if one_each { String::new() } else { result.subject.clone() }, result.trial.clone())
        };
        let index =
            |run: &Run| run.results.iter().map(|result| (key(result), result.clone())).collect::<BTreeMap<_, _>>();
        let (mut old, new) = (index(before), index(after));
        let mut difference = Self {
            newly_failing: Vec::new(),
            fixed: Vec::new(),
            fails_otherwise: Vec::new(),
            other: Vec::new(),
            evidence: Vec::new(),
            same: 0,
        };
        for (key, result) in new {
            difference.add(old.remove(&key), Some(result));
        }
        for result in old.into_values() {
            difference.add(Some(result), None);
        }
        difference
    }

    fn add(&mut self, before: Option<TrialResult>, after: Option<TrialResult>) {
        let outcome = |result: &Option<TrialResult>| result.as_ref().map(|result| result.verdict.outcome);
        let (old, new) = (outcome(&before), outcome(&after));
        let Some(shown) = after.as_ref().or(before.as_ref()) else { return };
        let mut details: Vec<_> = shown.verdict.findings.iter().map(crate::model::Finding::line).collect();
        if old == new {
            details.extend(
                shown.verdict.evidence.iter().map(|evidence| format!("{}: {}", evidence.label, evidence.value)),
            );
        }
        let change =
            Change { subject: shown.subject.clone(), trial: shown.trial.clone(), before: old, after: new, details };
        let findings = |result: &Option<TrialResult>| result.as_ref().map(|result| result.verdict.findings.clone());
        let evidence = |result: &Option<TrialResult>| result.as_ref().map(|result| result.verdict.evidence.clone());
        match (old, new) {
            (Some(Outcome::Fail), Some(Outcome::Fail)) if findings(&before) != findings(&after) => {
                self.fails_otherwise.push(change);
            }
            (old, new) if old == new && evidence(&before) == evidence(&after) => self.same += 1,
            (old, new) if old == new => self.evidence.push(change),
            (_, Some(Outcome::Fail)) => self.newly_failing.push(change),
            (Some(Outcome::Fail), _) => self.fixed.push(change),
            _ => self.other.push(change),
        }
    }

    /// Is there no change of outcome or finding? Evidence alone is no difference.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.newly_failing.is_empty()
            && self.fixed.is_empty()
            && self.fails_otherwise.is_empty()
            && self.other.is_empty()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |outcome: Option<Outcome>| {
            outcome.map_or_else(|| "absent".to_owned(), |outcome| format!("{outcome:?}").to_lowercase())
        };
        for (heading, changes) in [
            ("newly failing", &self.newly_failing),
            ("fixed", &self.fixed),
            ("failing for another reason", &self.fails_otherwise),
            ("other changes", &self.other),
            ("same outcome, other evidence", &self.evidence),
        ] {
            if changes.is_empty() {
                continue;
            }
            writeln!(f, "{heading}:")?;
            for change in changes {
                writeln!(
                    f,
                    "  {} on {}: {} → {}",
                    change.trial,
                    change.subject,
                    name(change.before),
                    name(change.after)
                )?;
                for detail in &change.details {
                    writeln!(f, "      {detail}")?;
                }
            }
        }
        writeln!(f, "{} the same", self.same)
    }
}
