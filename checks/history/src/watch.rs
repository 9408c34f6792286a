//! Watches: what each API server sent is ordered, complete, and equal to the history.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::anomaly::{Anomaly, Kind};
use crate::observed::writers;
use crate::record::{Action, History, Outcome, Seen, Watch, WatchItem, WatchKind};

/// A change of an object, by its resourceVersion. Nothing for the payload of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change<'a> {
    key: &'a str,
    payload: Option<u64>,
}

/// What is known to have happened, from answers and from all watches together.
struct Reference<'a> {
    changes: BTreeMap<u64, Change<'a>>,
    /// The greatest resourceVersion that a client was told of.
    told: u64,
    writers: HashMap<u64, usize>,
    deleted: HashSet<&'a str>,
}

impl<'a> Reference<'a> {
    fn of(history: &'a History) -> Self {
        let writers = writers(&history.operations);
        let mut all = Self { changes: BTreeMap::new(), told: 0, writers, deleted: HashSet::new() };
        for operation in &history.operations {
            if matches!(operation.action, Action::Delete { .. })
                && matches!(operation.outcome, Outcome::Done { .. } | Outcome::Unknown { .. })
            {
                all.deleted.insert(&operation.key);
            }
            let seen = match (&operation.outcome, operation.action.payload()) {
                (Outcome::Found { seen }, _) => *seen,
                (Outcome::Done { version: Some(version) }, Some(payload)) => Seen { payload, version: *version },
                _ => continue,
            };
            all.put(history, &operation.key, seen);
        }
        for last in &history.finals {
            for (key, seen) in &last.objects {
                all.put(history, key, *seen);
            }
        }
        for entry in history.watches.iter().flat_map(|watch| &watch.entries) {
            let WatchItem::Event { kind, key, seen } = &entry.item else { continue };
            if !all.explained(history, key, *kind, *seen) {
                continue;
            }
            let payload = (*kind != WatchKind::Deleted).then_some(seen.payload);
            all.changes.entry(seen.version).or_insert(Change { key, payload });
        }
        all
    }

    fn put(&mut self, history: &History, key: &'a str, seen: Seen) {
        if self.writes(history, key, seen.payload) {
            self.told = self.told.max(seen.version);
            self.changes.entry(seen.version).or_insert(Change { key, payload: Some(seen.payload) });
        }
    }

    fn writes(&self, history: &History, key: &str, payload: u64) -> bool {
        self.writers.get(&payload).is_some_and(|&index| history.operations[index].key == key)
    }

    fn explained(&self, history: &History, key: &str, kind: WatchKind, seen: Seen) -> bool {
        self.writes(history, key, seen.payload) && (kind != WatchKind::Deleted || self.deleted.contains(key))
    }
}

/// Checks every watch of a history.
#[must_use]
pub fn watches(history: &History) -> Vec<Anomaly> {
    let reference = Reference::of(history);
    history.watches.iter().flat_map(|watch| Log::new(history, &reference, watch).check()).collect()
}

struct Log<'a> {
    history: &'a History,
    reference: &'a Reference<'a>,
    watch: &'a Watch,
    /// All up to this resourceVersion was sent.
    position: u64,
    known: HashMap<&'a str, Seen>,
    /// Does `known` hold what the watcher knows?
    complete: bool,
    sent: HashSet<(u64, &'a str)>,
    /// From where to where the watch says it is complete.
    covered: Vec<(u64, u64)>,
    anomalies: Vec<Anomaly>,
}

impl<'a> Log<'a> {
    fn new(history: &'a History, reference: &'a Reference<'a>, watch: &'a Watch) -> Self {
        Self {
            history,
            reference,
            watch,
            position: 0,
            known: HashMap::new(),
            complete: false,
            sent: HashSet::new(),
            covered: Vec::new(),
            anomalies: Vec::new(),
        }
    }

    fn check(mut self) -> Vec<Anomaly> {
        for entry in &self.watch.entries {
            match &entry.item {
                WatchItem::Listed { version, objects } => self.listed(entry.at, *version, objects),
                WatchItem::Opened { version } => self.opened(*version),
                WatchItem::Event { kind, key, seen } => self.event(entry.at, *kind, key, *seen),
                WatchItem::Bookmark { version } => self.bookmark(entry.at, *version),
                WatchItem::Expired | WatchItem::Closed { .. } => {}
            }
        }
        self.gaps();
        if self.position < self.reference.told {
            let detail = format!("it ended at resourceVersion {}; clients saw {}", self.position, self.reference.told);
            let key = self.watch.server.clone();
            self.anomalies.push(Anomaly::new(Kind::WatchBehind, &key, detail));
        }
        self.anomalies
    }

    fn found(&mut self, kind: Kind, key: &str, at: u64, detail: &str) {
        let detail = format!("the watch of {} {detail}", self.watch.server);
        self.anomalies.push(Anomaly::new(kind, key, detail).at(at));
    }

    fn advance(&mut self, version: u64) {
        self.position = self.position.max(version);
        if let Some(last) = self.covered.last_mut() {
            last.1 = self.position;
        }
    }

    fn listed(&mut self, at: u64, version: u64, objects: &'a BTreeMap<String, Seen>) {
        if version < self.position {
            let detail = format!("listed at {version} after it had been at {}", self.position);
            self.found(Kind::WatchOutOfOrder, "", at, &detail);
        }
        let mut newest: HashMap<&str, (u64, Option<u64>)> = HashMap::new();
        for (&changed, change) in self.reference.changes.range(..=version) {
            newest.insert(change.key, (changed, change.payload));
        }
        for (key, (changed, payload)) in newest {
            let listed = objects.get(key);
            let old = listed.is_some_and(|seen| seen.version < changed);
            let gone = listed.is_none() && payload.is_some() && !self.reference.deleted.contains(key);
            if old || gone {
                let has = listed.map_or("lacks it".to_owned(), |seen| format!("has it at {}", seen.version));
                let detail = format!("listed at {version} and {has}; it changed at {changed}");
                self.found(Kind::WatchGap, key, at, &detail);
            }
        }
        for (key, seen) in objects {
            if !self.reference.writes(self.history, key, seen.payload) {
                let detail = format!("listed payload {}, which nobody wrote", seen.payload);
                self.found(Kind::WatchPhantom, key, at, &detail);
            }
        }
        self.known = objects.iter().map(|(key, seen)| (key.as_str(), *seen)).collect();
        self.complete = true;
        self.position = version;
        self.covered.push((version, version));
    }

    fn opened(&mut self, version: u64) {
        if version == self.position && !self.covered.is_empty() {
            return;
        }
        // What stands between is not the server's to send.
        self.complete = false;
        self.position = version;
        self.sent.clear();
        self.covered.push((version, version));
    }

    fn event(&mut self, at: u64, kind: WatchKind, key: &'a str, seen: Seen) {
        let version = seen.version;
        if version <= self.position {
            let repeated = self.sent.contains(&(version, key));
            let what = if repeated { Kind::WatchRepeated } else { Kind::WatchOutOfOrder };
            let detail = format!("sent {kind:?} at {version} after it had been at {}", self.position);
            self.found(what, key, at, &detail);
            self.sent.insert((version, key));
            return;
        }
        self.sent.insert((version, key));
        self.explain(at, kind, key, seen);
        let before = self.known.get(key).copied();
        if let (WatchKind::Deleted, Some(before)) = (kind, before)
            && before.payload != seen.payload
        {
            let detail = format!("deleted payload {} at {version}; the object had {}", seen.payload, before.payload);
            self.found(Kind::WatchPhantom, key, at, &detail);
        }
        if self.complete && (kind == WatchKind::Added) == before.is_some() {
            let state = if before.is_some() { "was there" } else { "was not there" };
            let detail = format!("sent {kind:?} at {version} of an object that {state}");
            self.found(Kind::WatchKindWrong, key, at, &detail);
        }
        if kind == WatchKind::Deleted {
            self.known.remove(key);
        } else {
            self.known.insert(key, seen);
        }
        self.advance(version);
    }

    fn explain(&mut self, at: u64, kind: WatchKind, key: &'a str, seen: Seen) {
        let version = seen.version;
        if !self.reference.explained(self.history, key, kind, seen) {
            let detail = format!("sent {kind:?} of payload {} at {version}; no request explains it", seen.payload);
            self.found(Kind::WatchPhantom, key, at, &detail);
            return;
        }
        let sent = Change { key, payload: (kind != WatchKind::Deleted).then_some(seen.payload) };
        if let Some(known) = self.reference.changes.get(&version).copied()
            && known != sent
        {
            let what = known.payload.map_or("a deletion".to_owned(), |payload| format!("payload {payload}"));
            let detail =
                format!("sent {kind:?} of payload {} at {version}, which is {what} of {}", seen.payload, known.key);
            self.found(Kind::WatchPhantom, key, at, &detail);
        }
    }

    fn bookmark(&mut self, at: u64, version: u64) {
        if version < self.position {
            let detail = format!("sent a bookmark of {version} after it had been at {}", self.position);
            self.found(Kind::WatchOutOfOrder, "", at, &detail);
        }
        self.advance(version);
    }

    fn gaps(&mut self) {
        for (from, to) in std::mem::take(&mut self.covered) {
            for (&version, change) in
                self.reference.changes.range(from + 1..).take_while(|(version, _)| **version <= to)
            {
                if self.sent.contains(&(version, change.key)) {
                    continue;
                }
                let what = change.payload.map_or("the deletion".to_owned(), |payload| format!("payload {payload}"));
                let detail =
                    format!("the watch of {} went from {from} to {to} without {what} at {version}", self.watch.server);
                self.anomalies.push(Anomaly::new(Kind::WatchGap, change.key, detail));
            }
        }
    }
}

/// How long after its acknowledgement a write arrived at a watcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    /// Whose watch.
    pub server: String,
    /// The write.
    pub version: u64,
    /// When it was acknowledged.
    pub acknowledged: u64,
    /// How long it took, in nanoseconds; 0 if it was there earlier than the acknowledgement; nothing if it never
    /// came.
    pub lag: Option<u64>,
}

/// The lag of each acknowledged write at each watcher. A list that has the write counts as its arrival.
#[must_use]
pub fn lags(history: &History) -> Vec<Lag> {
    let mut all = Vec::new();
    for watch in &history.watches {
        let mut arrived: Vec<(u64, u64)> = Vec::new();
        for entry in &watch.entries {
            let version = match &entry.item {
                WatchItem::Listed { version, .. } | WatchItem::Bookmark { version } => *version,
                WatchItem::Event { seen, .. } => seen.version,
                _ => continue,
            };
            if arrived.last().is_none_or(|(last, _)| *last < version) {
                arrived.push((version, entry.at));
            }
        }
        for operation in &history.operations {
            let (Outcome::Done { version: Some(version) }, Some(acknowledged)) =
                (&operation.outcome, operation.completed)
            else {
                continue;
            };
            let next = arrived.partition_point(|(sent, _)| sent < version);
            let lag = arrived.get(next).map(|(_, at)| at.saturating_sub(acknowledged));
            all.push(Lag { server: watch.server.clone(), version: *version, acknowledged, lag });
        }
    }
    all
}
