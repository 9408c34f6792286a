//! What became of writes: lost, carried out twice, refused and yet carried out, made up.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::anomaly::{Anomaly, Kind};
use crate::observed::{by_key, keys, sights, writers};
use crate::record::{Action, History, Operation, Outcome};

/// Checks every write of a history.
#[must_use]
pub fn writes(history: &History) -> Vec<Anomaly> {
    let mut anomalies = seen_states(history);
    for (key, indices) in by_key(&history.operations) {
        anomalies.extend(forks(history, key, &indices));
        anomalies.extend(lost(history, key, &indices));
    }
    anomalies.extend(disagreements(history));
    anomalies
}

/// Phantoms, refused writes that took effect, and writes that have two resourceVersions.
fn seen_states(history: &History) -> Vec<Anomaly> {
    let writers = writers(&history.operations);
    let mut anomalies = Vec::new();
    let mut versions: HashMap<u64, u64> = HashMap::new();
    let mut said = HashSet::new();
    for sight in sights(history) {
        let (payload, version) = (sight.seen.payload, sight.seen.version);
        let found = match writers.get(&payload).map(|&index| (index, &history.operations[index])) {
            Some((index, writer)) if writer.key == sight.key => match &writer.outcome {
                Outcome::Rejected { reason } => Some((Kind::RefusedWriteTookEffect, reason.clone(), index)),
                Outcome::Conflict => Some((Kind::RefusedWriteTookEffect, "a conflict".to_owned(), index)),
                Outcome::NotFound => Some((Kind::RefusedWriteTookEffect, "not found".to_owned(), index)),
                Outcome::AlreadyExists => Some((Kind::RefusedWriteTookEffect, "already exists".to_owned(), index)),
                Outcome::Done { .. } | Outcome::Found { .. } | Outcome::Unknown { .. } => None,
            },
            _ => {
                if said.insert((Kind::Phantom, sight.key, payload)) {
                    let detail = format!("{} has payload {payload} (resourceVersion {version})", sight.place);
                    anomalies.push(located(Anomaly::new(Kind::Phantom, sight.key, detail), &sight));
                }
                continue;
            }
        };
        if let Some((kind, reason, index)) = found
            && said.insert((kind, sight.key, payload))
        {
            let detail = format!("payload {payload} was refused ({reason}), and {} has it", sight.place);
            anomalies.push(located(Anomaly::new(kind, sight.key, detail), &sight).of(&[index]));
        }
        let first = *versions.entry(payload).or_insert(version);
        if first != version && said.insert((Kind::WrittenTwice, sight.key, payload)) {
            let detail = format!("payload {payload} has resourceVersion {first}, and {version} in {}", sight.place);
            anomalies.push(located(Anomaly::new(Kind::WrittenTwice, sight.key, detail), &sight));
        }
    }
    anomalies
}

fn located(anomaly: Anomaly, sight: &crate::observed::Sight<'_>) -> Anomaly {
    let anomaly = match sight.at {
        Some(at) => anomaly.at(at),
        None => anomaly,
    };
    anomaly.of(sight.operation.as_slice())
}

/// Acknowledged writes that replaced the same state.
fn forks(history: &History, key: &str, indices: &[usize]) -> Vec<Anomaly> {
    let mut first: HashMap<u64, usize> = HashMap::new();
    let mut anomalies = Vec::new();
    for &index in indices {
        let operation = &history.operations[index];
        let (Outcome::Done { .. }, Some(replaced)) = (&operation.outcome, operation.action.replaces()) else {
            continue;
        };
        let Some(&other) = first.get(&replaced.payload) else {
            first.insert(replaced.payload, index);
            continue;
        };
        let verbs = [other, index].map(|index| history.operations[index].action.verb());
        let detail = format!(
            "{} (client {}) and {} (client {}) of payload {} were both acknowledged",
            verbs[0], history.operations[other].client, verbs[1], operation.client, replaced.payload
        );
        let at = operation.completed.unwrap_or(operation.invoked);
        anomalies.push(Anomaly::new(Kind::Fork, key, detail).at(at).of(&[other, index]));
    }
    anomalies
}

/// What may have replaced a state of one object.
struct Replacements {
    payloads: HashSet<u64>,
    /// When the last delete that replaces any state was answered; a delete without an answer may be carried out at
    /// any time.
    any_until: Option<u64>,
}

impl Replacements {
    fn of(operations: &[Operation], indices: &[usize]) -> Self {
        let mut all = Self { payloads: HashSet::new(), any_until: None };
        for operation in indices.iter().map(|&index| &operations[index]) {
            let until = match operation.outcome {
                Outcome::Done { .. } => operation.completed,
                Outcome::Unknown { .. } => Some(u64::MAX),
                _ => continue,
            };
            match (operation.action.replaces(), &operation.action) {
                (Some(seen), _) => drop(all.payloads.insert(seen.payload)),
                (None, Action::Delete { .. }) => all.any_until = all.any_until.max(until),
                (None, _) => {}
            }
        }
        all
    }
}

/// Acknowledged writes that are not there at the end, though nothing can have replaced them.
fn lost(history: &History, key: &str, indices: &[usize]) -> Vec<Anomaly> {
    let all = Replacements::of(&history.operations, indices);
    let mut anomalies = Vec::new();
    for &index in indices {
        let write = &history.operations[index];
        let (Outcome::Done { .. }, Some(payload)) = (&write.outcome, write.action.payload()) else { continue };
        if all.payloads.contains(&payload) || all.any_until.is_some_and(|until| until >= write.invoked) {
            continue;
        }
        let without: Vec<_> = history
            .finals
            .iter()
            .filter_map(|last| match last.objects.get(key) {
                Some(seen) if seen.payload == payload => None,
                Some(seen) => Some(format!("{} has payload {}", last.place, seen.payload)),
                None => Some(format!("{} has no object", last.place)),
            })
            .collect();
        if !without.is_empty() {
            let detail = format!(
                "{} of payload {payload} by client {} was acknowledged by {}, and at the end {}",
                write.action.verb(),
                write.client,
                write.endpoint,
                without.join(", ")
            );
            let at = write.completed.unwrap_or(write.invoked);
            anomalies.push(Anomaly::new(Kind::LostWrite, key, detail).at(at).of(&[index]));
        }
    }
    // A delete is lost if the object that it deleted is there at the end.
    for &index in indices {
        let delete = &history.operations[index];
        let (Outcome::Done { .. }, Action::Delete { replaces: Some(gone) }) = (&delete.outcome, &delete.action) else {
            continue;
        };
        let still =
            |last: &&crate::record::Final| last.objects.get(key).is_some_and(|seen| seen.payload == gone.payload);
        let still: Vec<_> = history.finals.iter().filter(still).map(|last| last.place.as_str()).collect();
        if !still.is_empty() {
            let detail = format!(
                "delete of payload {} was acknowledged by {}, and at the end {} has it",
                gone.payload,
                delete.endpoint,
                still.join(", ")
            );
            let at = delete.completed.unwrap_or(delete.invoked);
            anomalies.push(Anomaly::new(Kind::LostWrite, key, detail).at(at).of(&[index]));
        }
    }
    anomalies
}

/// Places that hold different states at the end, unless a request of unknown outcome may still have been carried
/// out between the two readings.
fn disagreements(history: &History) -> Vec<Anomaly> {
    let mut anomalies = Vec::new();
    let by_key: HashMap<_, _> = by_key(&history.operations).into_iter().collect();
    for key in keys(history) {
        let states: BTreeSet<_> = history.finals.iter().map(|last| last.objects.get(key)).collect();
        if states.len() < 2 {
            continue;
        }
        let may_change = by_key.get(key).into_iter().flatten().any(|&index| {
            let operation = &history.operations[index];
            let late = match &operation.action {
                Action::Create { payload } | Action::Update { payload, .. } => {
                    states.iter().flatten().any(|seen| seen.payload == *payload)
                }
                Action::Delete { .. } => states.contains(&None),
                Action::Get { .. } => false,
            };
            late && matches!(operation.outcome, Outcome::Unknown { .. })
        });
        if may_change {
            continue;
        }
        let each: Vec<_> = history
            .finals
            .iter()
            .map(|last| match last.objects.get(key) {
                Some(seen) => {
                    format!("{} has payload {} (resourceVersion {})", last.place, seen.payload, seen.version)
                }
                None => format!("{} has no object", last.place),
            })
            .collect();
        anomalies.push(Anomaly::new(Kind::PlacesDisagree, key, each.join(", ")));
    }
    anomalies
}
