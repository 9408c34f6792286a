//! resourceVersions: each names one write, and they grow in the order of writes.

use std::collections::HashMap;

use crate::anomaly::{Anomaly, Kind};
use crate::observed::sights;
use crate::record::{History, Outcome};

/// Checks every resourceVersion of a history.
#[must_use]
pub fn versions(history: &History) -> Vec<Anomaly> {
    let mut anomalies = reused(history);
    anomalies.extend(replaced(history));
    anomalies.extend(in_time(history));
    anomalies
}

/// Versions that two writes have: of one object or of two, since all come from one etcd.
fn reused(history: &History) -> Vec<Anomaly> {
    let mut first: HashMap<u64, (&str, u64)> = HashMap::new();
    let mut anomalies: Vec<Anomaly> = Vec::new();
    for sight in sights(history) {
        let (key, payload) = *first.entry(sight.seen.version).or_insert((sight.key, sight.seen.payload));
        if (key, payload) == (sight.key, sight.seen.payload) {
            continue;
        }
        let detail = format!(
            "{} is that of payload {payload} of {key}, and in {} that of payload {}",
            sight.seen.version, sight.place, sight.seen.payload
        );
        let anomaly = Anomaly::new(Kind::VersionReused, sight.key, detail).of(sight.operation.as_slice());
        if !anomalies.iter().any(|other| other.key == anomaly.key && other.operations == anomaly.operations) {
            anomalies.push(anomaly);
        }
    }
    anomalies
}

/// A write's version is greater than that of what it replaced.
fn replaced(history: &History) -> Vec<Anomaly> {
    let mut anomalies = Vec::new();
    for (index, operation) in history.operations.iter().enumerate() {
        let (Outcome::Done { version: Some(version) }, Some(replaced)) =
            (&operation.outcome, operation.action.replaces())
        else {
            continue;
        };
        if *version <= replaced.version {
            let detail = format!("{version} replaced {}", replaced.version);
            let at = operation.completed.unwrap_or(operation.invoked);
            anomalies.push(Anomaly::new(Kind::VersionWentBack, &operation.key, detail).at(at).of(&[index]));
        }
    }
    anomalies
}

/// Of two acknowledged writes of one object, the one that began after the other was acknowledged has the greater
/// version.
fn in_time(history: &History) -> Vec<Anomaly> {
    let mut writes: HashMap<&str, Vec<(u64, u64, u64, usize)>> = HashMap::new();
    for (index, operation) in history.operations.iter().enumerate() {
        let Outcome::Done { version: Some(version) } = operation.outcome else { continue };
        let completed = operation.completed.unwrap_or(u64::MAX);
        writes.entry(&operation.key).or_default().push((operation.invoked, completed, version, index));
    }
    let mut anomalies = Vec::new();
    for (key, writes) in writes {
        let mut acknowledged: Vec<_> =
            writes.iter().map(|&(_, completed, version, index)| (completed, version, index)).collect();
        acknowledged.sort_unstable();
        let mut greatest: Vec<(u64, u64, usize)> = Vec::new();
        for (completed, version, index) in acknowledged {
            let best = match greatest.last() {
                Some(&(_, known, by)) if known >= version => (completed, known, by),
                _ => (completed, version, index),
            };
            greatest.push(best);
        }
        for (invoked, completed, version, index) in writes {
            let before = greatest.partition_point(|(at, ..)| *at < invoked);
            let Some((_, known, by)) = before.checked_sub(1).map(|at| greatest[at]) else { continue };
            if known >= version {
                let detail = format!("{version} was written after {known} had been acknowledged");
                anomalies.push(Anomaly::new(Kind::VersionWentBack, key, detail).at(completed).of(&[by, index]));
            }
        }
    }
    anomalies
}
