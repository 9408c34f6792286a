//! What is known of each payload and of each resourceVersion, from whatever told it.

use std::collections::{BTreeSet, HashMap};

use crate::record::{History, Operation, Outcome, Seen, WatchItem, WatchKind};

/// Who wrote each payload.
pub(crate) fn writers(operations: &[Operation]) -> HashMap<u64, usize> {
    let payload = |(index, operation): (usize, &Operation)| Some((operation.action.payload()?, index));
    operations.iter().enumerate().filter_map(payload).collect()
}

/// A state of an object, where it was seen.
pub(crate) struct Sight<'a> {
    pub(crate) key: &'a str,
    pub(crate) seen: Seen,
    pub(crate) place: String,
    pub(crate) at: Option<u64>,
    pub(crate) operation: Option<usize>,
}

/// All states that anybody saw: in answers, in watches (deletions excepted, whose version is not the state's), at
/// the end.
pub(crate) fn sights(history: &History) -> Vec<Sight<'_>> {
    let mut all = Vec::new();
    for (index, operation) in history.operations.iter().enumerate() {
        let seen = match (&operation.outcome, operation.action.payload()) {
            (Outcome::Found { seen }, _) => *seen,
            (Outcome::Done { version: Some(version) }, Some(payload)) => Seen { payload, version: *version },
            _ => continue,
        };
        let place = format!("the answer of {} to client {}", operation.endpoint, operation.client);
        all.push(Sight { key: &operation.key, seen, place, at: operation.completed, operation: Some(index) });
    }
    for watch in &history.watches {
        for entry in &watch.entries {
            let mut sight = |key, seen| {
                let place = format!("the watch of {}", watch.server);
                all.push(Sight { key, seen, place, at: Some(entry.at), operation: None });
            };
            match &entry.item {
                WatchItem::Event { kind: WatchKind::Added | WatchKind::Modified, key, seen } => sight(key, *seen),
                WatchItem::Listed { objects, .. } => objects.iter().for_each(|(key, seen)| sight(key, *seen)),
                _ => {}
            }
        }
    }
    for last in &history.finals {
        for (key, seen) in &last.objects {
            all.push(Sight { key, seen: *seen, place: last.place.clone(), at: None, operation: None });
        }
    }
    all
}

/// Which operations each key has, by name.
pub(crate) fn by_key(operations: &[Operation]) -> Vec<(&str, Vec<usize>)> {
    let mut keys: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, operation) in operations.iter().enumerate() {
        keys.entry(&operation.key).or_default().push(index);
    }
    let mut keys: Vec<_> = keys.into_iter().collect();
    keys.sort_unstable();
    keys
}

/// All keys of a history.
pub(crate) fn keys(history: &History) -> BTreeSet<&str> {
    let of_finals = history.finals.iter().flat_map(|last| last.objects.keys().map(String::as_str));
    history.operations.iter().map(|operation| operation.key.as_str()).chain(of_finals).collect()
}
