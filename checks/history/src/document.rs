//! Histories as JSON.

use std::collections::HashMap;
use std::io::{Read, Write};

use crate::record::{Action, History, Operation, Outcome};

/// The version of the JSON form that this crate writes, and the only one that it reads.
pub const VERSION: u32 = 1;

/// Why a history cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// It is no JSON of this form.
    #[error("this is no recorded history: {0}")]
    Form(#[from] serde_json::Error),
    /// It has another version.
    #[error("the history has version {0}; this program reads version {VERSION}")]
    Version(u32),
    /// An operation cannot have been recorded so.
    #[error("operation {index} ({verb} of {key}): {problem}")]
    Operation {
        /// Which one.
        index: usize,
        /// What it asked.
        verb: &'static str,
        /// Its object.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl History {
    /// An empty history of the current version.
    #[must_use]
    pub fn new() -> Self {
        Self { version: VERSION, ..Self::default() }
    }

    /// Reads a history and [validates](Self::validate) it.
    ///
    /// # Errors
    /// [`HistoryError`] if it is no history, one of another version, or one that cannot have been recorded.
    pub fn read(from: impl Read) -> Result<Self, HistoryError> {
        let history: Self = serde_json::from_reader(from)?;
        if history.version != VERSION {
            return Err(HistoryError::Version(history.version));
        }
        history.validate()?;
        Ok(history)
    }

    /// Writes it as JSON.
    ///
    /// # Errors
    /// If `to` takes it not.
    pub fn write(&self, to: impl Write) -> Result<(), HistoryError> {
        Ok(serde_json::to_writer(to, self)?)
    }

    /// The JSON schema of histories.
    #[must_use]
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }

    /// Are all operations such as clients record them?
    ///
    /// # Errors
    /// [`HistoryError::Operation`] names the first one with an answer that its request cannot have, an end before its
    /// beginning, or a payload that another request writes, too: with such, no judgment would mean anything.
    pub fn validate(&self) -> Result<(), HistoryError> {
        let mut payloads = HashMap::new();
        for (index, operation) in self.operations.iter().enumerate() {
            let problem = operation.problem().or_else(|| {
                let payload = operation.action.payload()?;
                let other = payloads.insert(payload, index)?;
                Some(format!("its payload {payload} is that of operation {other}, too"))
            });
            if let Some(problem) = problem {
                let (verb, key) = (operation.action.verb(), operation.key.clone());
                return Err(HistoryError::Operation { index, verb, key, problem });
            }
        }
        Ok(())
    }
}

impl Operation {
    fn problem(&self) -> Option<String> {
        if self.completed.is_some_and(|completed| completed < self.invoked) {
            return Some("it was answered before it was sent".to_owned());
        }
        if self.completed.is_none() && !matches!(self.outcome, Outcome::Unknown { .. }) {
            return Some("it has an answer, but no time of it".to_owned());
        }
        let fits = match (&self.action, &self.outcome) {
            (_, Outcome::Rejected { .. } | Outcome::Unknown { .. }) => true,
            (Action::Create { .. }, outcome) => {
                matches!(outcome, Outcome::Done { version: Some(_) } | Outcome::AlreadyExists)
            }
            (Action::Update { .. }, outcome) => {
                matches!(outcome, Outcome::Done { version: Some(_) } | Outcome::Conflict | Outcome::NotFound)
            }
            (Action::Delete { replaces }, outcome) => match outcome {
                Outcome::Done { .. } | Outcome::NotFound => true,
                Outcome::Conflict => replaces.is_some(),
                _ => false,
            },
            (Action::Get { .. }, outcome) => matches!(outcome, Outcome::Found { .. } | Outcome::NotFound),
        };
        (!fits).then(|| format!("{:?} is no answer to it", self.outcome))
    }
}
