//! A run: the fold over a journal's events, and what every report is made of.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Event, Outcome, Remedy, RunInfo, Severity, Subject, TrialInfo, Verdict, What};

/// The verdict of one trial on one subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrialResult {
    /// The trial's id.
    pub trial: String,
    /// The subject's name.
    pub subject: String,
    /// The final verdict.
    pub verdict: Verdict,
    /// How often it was attempted; 0 if it never began.
    pub attempts: u32,
    /// How long the attempts took together, in microseconds.
    pub micros: u64,
    /// Does it fail the run? A failed claim of enough severity does.
    pub gating: bool,
}

impl TrialResult {
    /// How to fix what was found: the remedies of the findings, and those of the trial for a finding without its own.
    #[must_use]
    pub fn remedies<'r>(&'r self, trial: &'r TrialInfo) -> Vec<&'r Remedy> {
        let findings = self.verdict.findings.iter().map(|finding| &finding.remedy);
        let mut remedies: Vec<&Remedy> = Vec::new();
        for own in findings.map(|own| if own.is_empty() { &trial.remedy } else { own }) {
            remedies.extend(own.iter().filter(|one| !remedies.contains(one)).collect::<Vec<_>>());
        }
        if self.verdict.findings.is_empty() { trial.remedy.iter().collect() } else { remedies }
    }
}

/// A run, complete or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// Version of this form; grows when a reader must change.
    pub format: u32,
    /// What the run was asked to do.
    pub info: RunInfo,
    /// When it began.
    #[schemars(with = "String")]
    pub started: jiff::Timestamp,
    /// When its last event happened.
    #[schemars(with = "String")]
    pub ended: jiff::Timestamp,
    /// Did it end by itself? Otherwise it was killed, and what never ran is skipped for that reason.
    pub complete: bool,
    /// The signal that interrupted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupted: Option<String>,
    /// What is no trial's verdict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// A result for each trial and subject, in the order of the selection.
    pub results: Vec<TrialResult>,
}

/// The version of [`Run`]'s form.
pub const FORMAT: u32 = 1;

/// Why events are no run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRun {
    /// The first event is not the run's start.
    #[error("the journal does not begin with the run's start: its first lines are missing")]
    NoStart,
    /// A verdict of a trial that was not selected.
    #[error("the journal holds a verdict on {trial} of {subject}, which was not selected")]
    Unselected {
        /// The trial.
        trial: String,
        /// The subject.
        subject: String,
    },
    /// Nothing to merge.
    #[error("there is no run to merge")]
    Nothing,
}

impl Run {
    /// Folds events into a run.
    ///
    /// # Errors
    /// [`BadRun`] if the events are not those of one run.
    pub fn fold(events: &[Event]) -> Result<Self, BadRun> {
        let Some((Event { at: started, what: What::RunStarted(info) }, rest)) = events.split_first() else {
            return Err(BadRun::NoStart);
        };
        let mut index = BTreeMap::new();
        for (subject, trial) in planned(info, rest) {
            let place = index.len();
            index.insert((subject, trial), place);
        }
        let mut results: Vec<Option<TrialResult>> = vec![None; index.len()];
        let mut info = info.clone();
        let (mut begun, mut notes) = (BTreeMap::new(), Vec::new());
        let (mut interrupted, mut complete) = (None, false);
        for event in rest {
            match &event.what {
                What::RunStarted(_) => return Err(BadRun::NoStart),
                What::SubjectGathered { subject, .. } => {
                    if let Some(known) = info.subjects.iter_mut().find(|known| known.name == subject.name) {
                        known.clone_from(subject);
                    }
                }
                What::TrialStarted { trial, subject, attempt } => {
                    begun.insert((subject.clone(), trial.clone()), *attempt);
                }
                What::TrialFinished { trial, subject, attempt, micros, verdict } => {
                    let key = (subject.clone(), trial.clone());
                    begun.remove(&key);
                    let slot = index.get(&key).and_then(|&place| results.get_mut(place));
                    let slot = slot.ok_or(BadRun::Unselected { trial: trial.clone(), subject: subject.clone() })?;
                    let earlier: Option<TrialResult> = slot.take();
                    *slot = Some(TrialResult {
                        trial: trial.clone(),
                        subject: subject.clone(),
                        verdict: settle(earlier.as_ref().map(|earlier| &earlier.verdict), verdict),
                        attempts: *attempt,
                        micros: micros + earlier.map_or(0, |earlier| earlier.micros),
                        gating: false,
                    });
                }
                What::Planned { .. } | What::Step { .. } => {}
                What::Note { text } => notes.push(text.clone()),
                What::Interrupted { signal } => interrupted = Some(signal.clone()),
                What::RunFinished { .. } => complete = true,
            }
        }
        let why = match &interrupted {
            Some(signal) => format!("not run: {signal} interrupted the run"),
            None => "not run: the run was killed before its turn came".to_owned(),
        };
        let mut results: Vec<_> = index
            .iter()
            .map(|(key, &place)| {
                let missing = || {
                    let attempts = begun.get(key).copied();
                    let verdict = match attempts {
                        Some(_) => Verdict::because(Outcome::Errored, "the run was killed while this trial ran"),
                        None => Verdict::because(Outcome::Skipped, why.clone()),
                    };
                    TrialResult {
                        subject: key.0.clone(),
                        trial: key.1.clone(),
                        verdict,
                        attempts: attempts.unwrap_or(0),
                        micros: 0,
                        gating: false,
                    }
                };
                (place, results[place].take().unwrap_or_else(missing))
            })
            .collect();
        results.sort_by_key(|&(place, _)| place);
        let mut run = Self {
            format: FORMAT,
            info,
            started: *started,
            ended: events.last().map_or(*started, |event| event.at),
            complete,
            interrupted,
            notes,
            results: results.into_iter().map(|(_, result)| result).collect(),
        };
        let gates =
            |result: &TrialResult| result.verdict.outcome == Outcome::Fail && run.severity(result) >= run.info.fail_on;
        let gating: Vec<_> = run.results.iter().map(gates).collect();
        for (result, gating) in run.results.iter_mut().zip(gating) {
            result.gating = gating;
        }
        Ok(run)
    }

    /// Joins several runs into one, such as those of the nodes of a cluster.
    ///
    /// Subjects of the same name are told apart by the run that they were judged in.
    ///
    /// # Errors
    /// [`BadRun::Nothing`] if there is none.
    pub fn merge(runs: Vec<Self>) -> Result<Self, BadRun> {
        let mut runs = runs.into_iter();
        let mut merged = runs.next().ok_or(BadRun::Nothing)?;
        for (number, mut run) in runs.enumerate() {
            let mut names = BTreeMap::new();
            for subject in run.info.subjects {
                let taken = merged.info.subjects.iter().any(|known| known.name == subject.name);
                let name = if taken { format!("{} ({})", subject.name, number + 2) } else { subject.name.clone() };
                names.insert(subject.name, name.clone());
                merged.info.subjects.push(Subject { name, ..subject });
            }
            for trial in run.info.trials {
                if !merged.info.trials.iter().any(|known| known.id == trial.id) {
                    merged.info.trials.push(trial);
                }
            }
            for result in &mut run.results {
                if let Some(name) = names.get(&result.subject) {
                    result.subject.clone_from(name);
                }
            }
            merged.results.append(&mut run.results);
            merged.notes.append(&mut run.notes);
            merged.complete &= run.complete;
            merged.interrupted = merged.interrupted.or(run.interrupted);
            merged.started = merged.started.min(run.started);
            merged.ended = merged.ended.max(run.ended);
            merged.info.fail_on = merged.info.fail_on.min(run.info.fail_on);
        }
        Ok(merged)
    }

    /// What is known of a trial.
    #[must_use]
    pub fn trial(&self, id: &str) -> Option<&TrialInfo> {
        self.info.trials.iter().find(|trial| trial.id == id)
    }

    /// The severity of a result: that of its gravest finding, and of its trial where no finding has its own.
    #[must_use]
    pub fn severity(&self, result: &TrialResult) -> Severity {
        let trial = self.trial(&result.trial).map_or(Severity::Critical, |trial| trial.severity);
        let findings = result.verdict.findings.iter().map(|finding| finding.severity.unwrap_or(trial));
        findings.max().unwrap_or(trial)
    }

    /// How many results have this outcome.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> usize {
        self.results.iter().filter(|result| result.verdict.outcome == outcome).count()
    }

    /// Results with their trials, the failed ones first: the most severe before the others, then by order of selection.
    #[must_use]
    pub fn failures(&self) -> Vec<&TrialResult> {
        let mut failures: Vec<_> =
            self.results.iter().filter(|result| result.verdict.outcome == Outcome::Fail).collect();
        failures.sort_by_key(|result| std::cmp::Reverse((result.gating, self.severity(result))));
        failures
    }

    /// The exit code that the run's results ask for; signals have their own.
    ///
    /// 0: all verified. 1: a gating claim failed. 3: none failed, but one that would gate could not be determined, or
    /// we broke, or the run was cut off. 4: nothing was run.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        let executed =
            |result: &&TrialResult| !matches!(result.verdict.outcome, Outcome::Skipped | Outcome::NotApplicable);
        if self.results.iter().any(|result| result.gating) {
            1
        } else if !self.results.iter().any(|result| executed(&result)) {
            if self.complete { 4 } else { 3 }
        } else if !self.complete
            || self.results.iter().any(|result| match result.verdict.outcome {
                Outcome::Errored => true,
                Outcome::Undetermined => self.severity(result) >= self.info.fail_on,
                _ => false,
            })
        {
            3
        } else {
            0
        }
    }
}

/// Pairs of subject and trial: as planned, else every trial on every subject.
fn planned(info: &RunInfo, rest: &[Event]) -> Vec<(String, String)> {
    if let Some(What::Planned { plan }) = rest.first().map(|event| &event.what) {
        return plan.iter().map(|one| (one.subject.clone(), one.trial.clone())).collect();
    }
    let pair = |subject: &Subject, trial: &TrialInfo| (subject.name.clone(), trial.id.clone());
    info.subjects.iter().flat_map(|subject| info.trials.iter().map(move |trial| pair(subject, trial))).collect()
}

/// What is said once of claims that could not be determined for the same reason.
#[must_use]
pub fn because_of(claims: usize, reason: &str) -> String {
    if claims > 1 { format!("{claims} claims could not be determined because of {reason}") } else { reason.to_owned() }
}

/// The verdict of a further attempt: a claim that failed first and holds now is flaky.
fn settle(earlier: Option<&Verdict>, now: &Verdict) -> Verdict {
    match earlier {
        Some(earlier) if now.outcome == Outcome::Pass && earlier.outcome != Outcome::Pass => Verdict {
            outcome: Outcome::Flaky,
            reason: Some("an earlier attempt did not pass".to_owned()),
            because_of: None,
            findings: earlier.findings.clone(),
            evidence: now.evidence.clone(),
            attachments: earlier.attachments.clone(),
        },
        _ => now.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Finding;

    #[test]
    fn a_finding_of_its_own_cause_has_its_own_remedy() {
        let remedy = |text: &str| Remedy { when: None, text: text.into(), commands: Vec::new(), persist: None };
        let finding = |remedy: Vec<Remedy>| Finding {
            subject: "a".into(),
            message: "b".into(),
            found: None,
            wanted: None,
            at: None,
            remedy,
            severity: None,
        };
        let trial: TrialInfo = serde_json::from_value(serde_json::json!({
            "id": "a.b.c", "suite": "a", "title": "t", "severity": "high", "why": "w", "how": "h",
            "remedy": [{"text": "general"}],
        }))
        .unwrap();
        let result = |findings: Vec<Finding>| TrialResult {
            trial: trial.id.clone(),
            subject: "node".into(),
            verdict: Verdict { findings, ..Verdict::of(Outcome::Fail) },
            attempts: 1,
            micros: 0,
            gating: true,
        };
        let texts = |result: TrialResult| -> Vec<String> {
            result.remedies(&trial).iter().map(|remedy| remedy.text.clone()).collect()
        };
        assert_eq!(texts(result(Vec::new())), ["general"]);
        assert_eq!(texts(result(vec![finding(vec![remedy("own")])])), ["own"]);
        let mixed = vec![finding(vec![remedy("own")]), finding(Vec::new()), finding(vec![remedy("own")])];
        assert_eq!(texts(result(mixed)), ["own", "general"]);
    }
}
