//! All checkers together.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::anomaly::Anomaly;
use crate::observed::keys;
use crate::record::{Action, Consistency, History, Operation, Outcome};
use crate::register::{BUDGET, linearizable};
use crate::{lease, reads, versions, watch, writes};

/// What a history shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Judgment {
    /// Everything that is wrong.
    pub anomalies: Vec<Anomaly>,
    /// What was not judged, and why.
    pub undetermined: Vec<String>,
    /// How many operations there were.
    pub operations: usize,
    /// How many of them were acknowledged writes.
    pub acknowledged: usize,
    /// How many of them were of unknown outcome.
    pub unknown: usize,
    /// How many events watches sent.
    pub events: usize,
}

impl Judgment {
    /// Is nothing wrong, and was everything judged?
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.anomalies.is_empty() && self.undetermined.is_empty()
    }
}

/// Runs every checker. What was read at the end takes part as reads after everything else.
#[must_use]
pub fn judge(history: &History) -> Judgment {
    let mut operations = history.operations.clone();
    operations.extend(last_reads(history));
    let register = linearizable(&operations, BUDGET);
    let mut anomalies = register.anomalies;
    for anomaly in &mut anomalies {
        anomaly.operations.retain(|&index| index < history.operations.len());
    }
    anomalies.extend(writes::writes(history));
    anomalies.extend(reads::reads(history));
    anomalies.extend(versions::versions(history));
    anomalies.extend(watch::watches(history));
    anomalies.extend(lease::leases(history));
    anomalies.sort_by_key(|anomaly| (anomaly.at.unwrap_or(u64::MAX), anomaly.kind));

    let mut undetermined = register.undetermined;
    if history.finals.is_empty() && !history.operations.is_empty() {
        undetermined.push("nothing was read at the end, so lost writes do not show".to_owned());
    }
    let count = |is: fn(&Operation) -> bool| history.operations.iter().filter(|operation| is(operation)).count();
    Judgment {
        anomalies,
        undetermined,
        operations: history.operations.len(),
        acknowledged: count(|operation| matches!(operation.outcome, Outcome::Done { .. })),
        unknown: count(|operation| matches!(operation.outcome, Outcome::Unknown { .. })),
        events: history.watches.iter().map(|watch| watch.entries.len()).sum(),
    }
}

/// What was held at the end, as reads that begin after everything has ended.
fn last_reads(history: &History) -> Vec<Operation> {
    let last = history.operations.iter().map(|operation| operation.completed.unwrap_or(operation.invoked)).max();
    let end = last.map_or(0, |last| last.saturating_add(1));
    let mut reads = Vec::new();
    for (client, place) in (0_u32..).zip(&history.finals) {
        for key in keys(history) {
            let outcome = place.objects.get(key).map_or(Outcome::NotFound, |seen| Outcome::Found { seen: *seen });
            reads.push(Operation {
                client: u32::MAX - client,
                connection: u32::MAX - client,
                endpoint: place.place.clone(),
                key: key.to_owned(),
                action: Action::Get { consistency: Consistency::Quorum },
                invoked: end,
                completed: Some(end),
                outcome,
            });
        }
    }
    reads
}
