//! Reads: none goes back on one connection, and quorum reads see what was acknowledged before they began.

use std::collections::HashMap;

use crate::anomaly::{Anomaly, Kind, seconds};
use crate::observed::by_key;
use crate::record::{Action, Consistency, History, Operation, Outcome, Seen};

/// Checks every read of a history.
#[must_use]
pub fn reads(history: &History) -> Vec<Anomaly> {
    let mut anomalies = went_back(&history.operations);
    for (key, indices) in by_key(&history.operations) {
        anomalies.extend(stale(&history.operations, key, &indices));
    }
    anomalies
}

/// The newest state of the object that the answer of an operation proves to exist, and when that is known.
fn known(operation: &Operation) -> Option<(Seen, u64)> {
    let completed = operation.completed?;
    match (&operation.outcome, &operation.action) {
        (Outcome::Found { seen }, _) => Some((*seen, completed)),
        (Outcome::Done { version: Some(version) }, action) => {
            Some((Seen { payload: action.payload()?, version: *version }, completed))
        }
        _ => None,
    }
}

/// Reads that returned an older state than an answer before them on the same connection, which leads to one API
/// server. A read of the watch cache may be older than a write or a quorum read before it, but not than another
/// read of the cache.
fn went_back(operations: &[Operation]) -> Vec<Anomaly> {
    let mut last: HashMap<(u32, &str, bool), (Seen, usize)> = HashMap::new();
    let mut order: Vec<_> = (0..operations.len()).collect();
    order.sort_by_key(|&index| operations[index].completed);
    let mut anomalies = Vec::new();
    for index in order {
        let operation = &operations[index];
        let Some((seen, completed)) = known(operation) else { continue };
        let cached = is_cached(operation);
        if matches!(operation.action, Action::Get { .. })
            && let Some(&(before, by)) = last.get(&(operation.connection, &*operation.key, cached))
            && operations[by].completed.is_some_and(|completed| completed <= operation.invoked)
            && seen.version < before.version
        {
            let detail = format!(
                "on connection {} to {}, resourceVersion {} was followed by {}",
                operation.connection, operation.endpoint, before.version, seen.version
            );
            anomalies.push(Anomaly::new(Kind::ReadWentBack, &operation.key, detail).at(completed).of(&[by, index]));
        }
        // What the cache showed, a quorum read must not be behind, either.
        for cached in if cached { &[false, true][..] } else { &[false][..] } {
            let entry = last.entry((operation.connection, &operation.key, *cached)).or_insert((seen, index));
            if seen.version >= entry.0.version {
                *entry = (seen, index);
            }
        }
    }
    anomalies
}

/// Quorum reads that returned an older state than one that somebody had been told of before they began.
fn stale(operations: &[Operation], key: &str, indices: &[usize]) -> Vec<Anomaly> {
    let mut proofs: Vec<(u64, Seen, usize)> = indices
        .iter()
        .filter(|&&index| !is_cached(&operations[index]))
        .filter_map(|&index| known(&operations[index]).map(|(seen, at)| (at, seen, index)))
        .collect();
    proofs.sort_unstable();
    // The newest state that is known at each of these moments.
    let mut newest: Vec<(u64, Seen, usize)> = Vec::with_capacity(proofs.len());
    for proof in proofs {
        let best = match newest.last() {
            Some(last) if last.1.version >= proof.1.version => (proof.0, last.1, last.2),
            _ => proof,
        };
        newest.push(best);
    }
    let mut anomalies = Vec::new();
    for &index in indices {
        let operation = &operations[index];
        let (Outcome::Found { seen }, false) = (&operation.outcome, is_cached(operation)) else { continue };
        let before = newest.partition_point(|(at, ..)| *at < operation.invoked);
        let Some((_, known, proof)) = before.checked_sub(1).map(|at| newest[at]) else { continue };
        if known.version > seen.version {
            let detail = format!(
                "client {} at {} read resourceVersion {}; {} was known {} s before it asked",
                operation.client,
                operation.endpoint,
                seen.version,
                known.version,
                seconds(operation.invoked - operations[proof].completed.unwrap_or(operation.invoked)),
            );
            let at = operation.completed.unwrap_or(operation.invoked);
            anomalies.push(Anomaly::new(Kind::StaleRead, key, detail).at(at).of(&[proof, index]));
        }
    }
    anomalies
}

fn is_cached(operation: &Operation) -> bool {
    matches!(operation.action, Action::Get { consistency: Consistency::Cached })
}
