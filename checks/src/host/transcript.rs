//! What a host said: a map from queries to answers, and the recorder that fills one.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::conclusion::DECLINED;

use super::{Answer, Host, Query, Refusal, RefusalKind, redact};

/// Where, when and by what a transcript was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The host's name at the time.
    pub hostname: String,
    /// When it was recorded.
    pub recorded: jiff::Timestamp,
    /// Version of Seaworthy that recorded it.
    pub version: String,
    /// Was it made by hand or from another recording, rather than on a real host? Then: how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constructed: Option<String>,
}

/// What a host said. Serialisable, redacted, bounded; answers queries as the host did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transcript {
    answers: BTreeMap<Query, Answer>,
}

impl Transcript {
    /// Remembers an answer, in place of an earlier one.
    pub fn insert(&mut self, query: Query, answer: Answer) {
        self.answers.insert(query, answer);
    }

    /// Forgets an answer.
    pub fn remove(&mut self, query: &Query) {
        self.answers.remove(query);
    }

    /// All answers, in the order of their queries.
    pub fn iter(&self) -> impl Iterator<Item = (&Query, &Answer)> {
        self.answers.iter()
    }

    /// How many answers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.answers.len()
    }

    /// Is there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }
}

/// What a recording says of what nobody asked when it was made.
pub const UNRECORDED: &str = "is not in the recording: nobody looked";

impl Host for Transcript {
    fn ask(&self, query: &Query) -> Answer {
        self.answers
            .get(query)
            .cloned()
            .unwrap_or_else(|| Err(Refusal::new(RefusalKind::NotAsked, format!("{query} {UNRECORDED}"))))
    }
}

/// Asks another host, redacts what it says and remembers it. With `passive`, probes are not asked.
pub struct Recorder<'h> {
    host: &'h dyn Host,
    passive: bool,
    transcript: Mutex<Transcript>,
}

impl<'h> Recorder<'h> {
    /// A recorder of `host`; `passive` leaves out every query that does more than look.
    pub fn new(host: &'h dyn Host, passive: bool) -> Self {
        Self { host, passive, transcript: Mutex::default() }
    }

    /// What was said.
    #[must_use]
    pub fn finish(self) -> Transcript {
        self.transcript.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Host for Recorder<'_> {
    fn ask(&self, query: &Query) -> Answer {
        let remembered = || self.transcript.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(answer) = remembered().answers.get(query) {
            return answer.clone();
        }
        let answer = if self.passive && matches!(query, Query::Probe { .. }) {
            Err(Refusal::new(RefusalKind::NotAsked, format!("{query} {DECLINED}")))
        } else {
            redact(query, self.host.ask(query))
        };
        remembered().insert(query.clone(), answer.clone());
        answer
    }
}
