//! The load: for each endpoint and kind of request a stream that a clock sends, whether what it sent before was
//! answered or not.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::Method;
use seaworthy_history::availability::measure;
use seaworthy_history::{Action, Consistency, Operation, Outcome, Probe, ProbeResult, Seen};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::wire::{Broke, Gate, Line};

/// The time between two requests of a stream; a longer one where the machine does not bear the shorter.
pub(super) static INTERVALS: [Duration; 3] =
    [Duration::from_millis(50), Duration::from_millis(100), Duration::from_millis(250)];
/// The time between two connections of their own: each one costs a handshake.
const CONNECTS: Duration = Duration::from_millis(250);
/// The kinds of requests that are answered as asked.
pub(super) const ANSWERED: [&str; 3] = ["write", "read", "list"];
/// What connections of their own are called.
pub(super) const CONNECT: &str = "connect";
/// A connection of which nothing is heard for so long is given up.
const SILENCE: Duration = Duration::from_secs(2);
/// How long a request may take, connecting included.
pub(super) const PATIENCE: Duration = Duration::from_secs(4);
/// How many objects there are. Few enough that writers meet.
const KEYS: u64 = 24;
/// The label of the objects.
pub(super) const LABEL: &str = "seaworthy.dev/history";
/// What stands before a payload in an object, so that it is found in etcd's bytes, too.
pub(super) const MARK: &str = "seaworthy-payload-";

const TIMEOUT: &str = "timeout";

static PAYLOADS: AtomicU64 = AtomicU64::new(1);

/// The kinds of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Creates, updates, deletes.
    Write,
    /// A read of one object, as new as can be.
    Read,
    /// A list from the watch cache, as informers begin with.
    List,
    /// A connection of its own for one request, as people's commands make it.
    Connect,
}

/// What is known of an object, over all streams.
#[derive(Debug, Clone, Copy)]
struct Known {
    version: u64,
    seen: Option<Seen>,
}

#[derive(Debug, Default)]
struct Recorded {
    operations: Vec<Operation>,
    probes: Vec<Probe>,
    known: HashMap<String, Known>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where the objects are.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) namespace: String,
}

impl Place {
    pub(super) fn collection(&self) -> String {
        format!("/api/v1/namespaces/{}/configmaps", self.namespace)
    }

    fn object(&self, key: &str) -> String {
        format!("{}/{key}", self.collection())
    }

    /// The query of all objects.
    pub(super) fn selector() -> String {
        format!("labelSelector={LABEL}")
    }
}

/// The load under way.
pub(super) struct Load {
    recorded: Arc<Mutex<Recorded>>,
    stop: CancellationToken,
    streams: JoinSet<()>,
}

struct Stream {
    kind: Kind,
    number: u32,
    gate: Arc<Gate>,
    place: Place,
    clock: Clock,
    line: tokio::sync::Mutex<Option<Line>>,
    recorded: Arc<Mutex<Recorded>>,
}

impl Load {
    /// Begins.
    pub(super) fn start(gates: &[Arc<Gate>], place: &Place, clock: Clock, interval: Duration) -> Self {
        let recorded: Arc<Mutex<Recorded>> = Arc::default();
        let stop = CancellationToken::new();
        let mut streams = JoinSet::new();
        let kinds = gates.iter().flat_map(|gate| [Kind::Write, Kind::Read, Kind::List].map(|kind| (gate, kind)));
        let kinds = kinds.chain(gates.first().map(|balancer| (balancer, Kind::Connect)));
        for (number, (gate, kind)) in (0..).zip(kinds) {
            let stream = Arc::new(Stream {
                kind,
                number,
                gate: gate.clone(),
                place: place.clone(),
                clock,
                line: tokio::sync::Mutex::default(),
                recorded: recorded.clone(),
            });
            let interval = if kind == Kind::Connect { interval.max(CONNECTS) } else { interval };
            streams.spawn(stream.run(interval, stop.clone()));
        }
        Self { recorded, stop, streams }
    }

    /// How many connections of their own were begun since a moment, answered or not.
    pub(super) fn connects(&self, since: u64) -> usize {
        let recorded = lock(&self.recorded);
        recorded.probes.iter().filter(|one| one.kind == Kind::Connect.name() && one.scheduled >= since).count()
    }

    /// How many requests of each endpoint and kind were answered as asked since a moment.
    pub(super) fn answered(&self, since: u64) -> HashMap<(String, String), usize> {
        let mut all = HashMap::new();
        let recorded = lock(&self.recorded);
        let since = recorded.probes.iter().filter(|probe| probe.scheduled >= since);
        for probe in since.filter(|probe| probe.result == ProbeResult::Ok) {
            *all.entry((probe.endpoint.clone(), probe.kind.clone())).or_default() += 1;
        }
        all
    }

    /// How many writes failed at an endpoint since a moment.
    pub(super) fn failed(&self, endpoint: &str, since: u64) -> usize {
        let recorded = lock(&self.recorded);
        let writes = recorded.probes.iter().filter(|one| one.endpoint == endpoint && one.kind == Kind::Write.name());
        writes.filter(|one| one.scheduled >= since && one.result != ProbeResult::Ok).count()
    }

    /// The longest time between two moments without an answer of some kind at an endpoint.
    pub(super) fn longest_gap(&self, endpoint: &str, from: u64, to: u64) -> u64 {
        let all = measure(&lock(&self.recorded).probes, from, to);
        let streams = all.iter().filter(|one| one.endpoint == endpoint && ANSWERED.contains(&one.kind.as_str()));
        streams.map(|one| one.longest_gap).max().unwrap_or_default()
    }

    /// What failed at an endpoint since a moment, and how often.
    pub(super) fn failures(&self, since: u64) -> BTreeMap<String, usize> {
        let mut all = BTreeMap::new();
        for probe in lock(&self.recorded).probes.iter().filter(|probe| probe.scheduled >= since) {
            if let ProbeResult::Failed(why) = &probe.result {
                *all.entry(format!("{} ({}): {why}", probe.endpoint, probe.kind)).or_default() += 1;
            }
        }
        all
    }

    /// Ends it, when everything that was sent is answered or given up.
    pub(super) async fn stop(mut self) -> (Vec<Operation>, Vec<Probe>) {
        self.stop.cancel();
        while self.streams.join_next().await.is_some() {}
        let mut recorded = std::mem::take(&mut *lock(&self.recorded));
        recorded.operations.sort_by_key(|operation| operation.invoked);
        recorded.probes.sort_by_key(|probe| probe.scheduled);
        (recorded.operations, recorded.probes)
    }
}

/// What a stream asks.
struct Asked {
    method: Method,
    path: String,
    body: Option<Value>,
    /// Nothing for a list.
    action: Option<(String, Action)>,
}

impl Stream {
    async fn run(self: Arc<Self>, interval: Duration, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(interval);
        // What was missed is sent at once, under the time at which it was to be sent.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut under_way = JoinSet::new();
        let mut slot = 0;
        loop {
            let scheduled = tokio::select! {
                scheduled = ticks.tick() => scheduled.into_std(),
                () = stop.cancelled() => break,
            };
            while under_way.try_join_next().is_some() {}
            slot = (slot + 1) % 1000;
            under_way.spawn(self.clone().one(scheduled, slot));
        }
        while under_way.join_next().await.is_some() {}
    }

    async fn one(self: Arc<Self>, scheduled: Instant, slot: u32) {
        let end = tokio::time::Instant::from_std(scheduled + PATIENCE);
        let line = match tokio::time::timeout_at(end, self.line()).await {
            Ok(Ok(line)) => line,
            Ok(Err(why)) => return self.not_sent(scheduled, why),
            Err(_) => return self.not_sent(scheduled, "no connection".to_owned()),
        };
        let number = line.number;
        let asked = self.ask();
        let invoked = self.clock.now();
        let mut line = line;
        let body = asked.body.as_ref().map(|body| ("application/json", body));
        let answer = tokio::time::timeout_at(end, line.call(asked.method.clone(), &asked.path, body)).await;
        let answer = answer.unwrap_or_else(|_| Err(Broke::Lost(TIMEOUT.to_owned())));
        let completed = self.clock.now();
        // One request that is late is no reason to leave those behind it; a silent connection is.
        let silent = line.is_silent(SILENCE);
        if answer.as_ref().is_err_and(|broke| *broke != Broke::Lost(TIMEOUT.to_owned()) || silent) {
            let mut held = self.line.lock().await;
            if held.as_ref().is_some_and(|held| held.number == number) {
                *held = None;
            }
        }
        self.record(&asked, scheduled, (invoked, completed), (number, slot), &answer);
    }

    /// The stream's connection, made anew where it broke.
    async fn line(&self) -> Result<Line, String> {
        if self.kind == Kind::Connect {
            return self.gate.open().await;
        }
        let mut held = self.line.lock().await;
        if let Some(line) = &*held {
            return Ok(line.clone());
        }
        let line = self.gate.open().await?;
        *held = Some(line.clone());
        Ok(line)
    }

    fn ask(&self) -> Asked {
        let key = format!("object-{}", fastrand::u64(0..KEYS));
        let path = self.place.object(&key);
        let get = |consistency| Some((key.clone(), Action::Get { consistency }));
        match self.kind {
            Kind::Read => Asked { method: Method::GET, path, body: None, action: get(Consistency::Quorum) },
            Kind::List => {
                // One object of the list: the cache is asked, and the answer stays small.
                let field = format!("fieldSelector=metadata.name%3D{key}");
                let query = format!("{}&{field}&resourceVersion=0", Place::selector());
                let path = format!("{}?{query}", self.place.collection());
                Asked { method: Method::GET, path, body: None, action: get(Consistency::Cached) }
            }
            Kind::Write => self.write(key),
            Kind::Connect => Asked { method: Method::GET, path: "/version".to_owned(), body: None, action: None },
        }
    }

    fn write(&self, key: String) -> Asked {
        let known = lock(&self.recorded).known.get(&key).copied();
        let object = |payload: u64, version: Option<u64>| {
            json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {
                    "name": key, "labels": { LABEL: "true" }, "resourceVersion": version.map(|one| one.to_string()),
                },
                "data": { "payload": format!("{MARK}{payload}-") },
            })
        };
        let payload = PAYLOADS.fetch_add(1, Ordering::Relaxed);
        let path = self.place.object(&key);
        match (known.and_then(|known| known.seen), fastrand::u32(0..100)) {
            (None, _) => {
                let action = Some((key.clone(), Action::Create { payload }));
                let (path, body) = (self.place.collection(), Some(object(payload, None)));
                Asked { method: Method::POST, path, body, action }
            }
            (Some(seen), 0..9) => {
                let replaces = Some(seen);
                let body = json!({
                    "apiVersion": "v1", "kind": "DeleteOptions",
                    "preconditions": { "resourceVersion": seen.version.to_string() },
                });
                let action = Some((key, Action::Delete { replaces }));
                Asked { method: Method::DELETE, path, body: Some(body), action }
            }
            (Some(_), 9) => {
                let action = Some((key, Action::Delete { replaces: None }));
                Asked { method: Method::DELETE, path, body: None, action }
            }
            (Some(replaces), _) => {
                let body = Some(object(payload, Some(replaces.version)));
                let action = Some((key.clone(), Action::Update { payload, replaces }));
                Asked { method: Method::PUT, path, body, action }
            }
        }
    }

    fn not_sent(&self, scheduled: Instant, why: String) {
        let completed = self.clock.now();
        let scheduled = self.clock.at(scheduled);
        let (endpoint, kind) = (self.gate.name.clone(), self.kind.name().to_owned());
        let result = ProbeResult::Failed(why);
        lock(&self.recorded).probes.push(Probe { endpoint, kind, scheduled, completed, result });
    }

    fn record(
        &self,
        asked: &Asked,
        scheduled: Instant,
        (invoked, completed): (u64, u64),
        (connection, slot): (u32, u32),
        answer: &Result<(u16, Value), Broke>,
    ) {
        let endpoint = self.gate.name.clone();
        let scheduled = self.clock.at(scheduled);
        let mut recorded = lock(&self.recorded);
        let mut kind = self.kind.name();
        let result = match answer {
            Err(broke) => ProbeResult::Failed(broke.why().to_owned()),
            Ok((200..300 | 404, _)) => ProbeResult::Ok,
            // An answer, but no write.
            Ok((409, _)) => {
                kind = "conflict";
                ProbeResult::Ok
            }
            Ok((status, _)) => ProbeResult::Failed(format!("HTTP {status}")),
        };
        recorded.probes.push(Probe { endpoint: endpoint.clone(), kind: kind.to_owned(), scheduled, completed, result });
        let Some((key, action)) = &asked.action else { return };
        let outcome = outcome(action, key, answer);
        recorded.learn(key, action, &outcome);
        recorded.operations.push(Operation {
            client: self.number * 1000 + slot,
            connection,
            endpoint,
            key: key.clone(),
            action: action.clone(),
            invoked,
            completed: Some(completed),
            outcome,
        });
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
            Self::List => "list",
            Self::Connect => CONNECT,
        }
    }
}

impl Recorded {
    /// What writers begin with. Whatever it is, the history judges what they are told.
    fn learn(&mut self, key: &str, action: &Action, outcome: &Outcome) {
        if matches!(action, Action::Get { consistency: Consistency::Cached }) {
            return;
        }
        let before = self.known.get(key).map_or(0, |known| known.version);
        // Whoever answered that there is this state, it is there no more, or never was.
        if *outcome == Outcome::Conflict && action.replaces().is_some_and(|replaced| replaced.version == before) {
            self.known.remove(key);
            return;
        }
        let known = match (outcome, action) {
            (Outcome::Found { seen }, _) => Known { version: seen.version, seen: Some(*seen) },
            (Outcome::Done { version: Some(version) }, action) => {
                let Some(payload) = action.payload() else { return };
                Known { version: *version, seen: Some(Seen { payload, version: *version }) }
            }
            (Outcome::NotFound, _) | (Outcome::Done { version: None }, _) => Known { version: before, seen: None },
            _ => return,
        };
        if known.version >= before {
            self.known.insert(key.to_owned(), known);
        }
    }
}

/// An object's state; payload 0 if it has none of ours.
pub(super) fn seen(object: &Value) -> Option<Seen> {
    let version = object["metadata"]["resourceVersion"].as_str()?.parse().ok()?;
    let text = object["data"]["payload"].as_str().unwrap_or_default();
    let payload = text.strip_prefix(MARK).and_then(|text| text.strip_suffix('-'));
    Some(Seen { payload: payload.and_then(|payload| payload.parse().ok()).unwrap_or_default(), version })
}

fn outcome(action: &Action, key: &str, answer: &Result<(u16, Value), Broke>) -> Outcome {
    let unknown = |reason: String| Outcome::Unknown { reason };
    let (status, object) = match answer {
        Ok((status, object)) => (*status, object),
        Err(Broke::NotSent(reason)) => return Outcome::Rejected { reason: reason.clone() },
        Err(Broke::Lost(reason)) => return unknown(reason.clone()),
    };
    match (status, action) {
        (200, Action::Get { consistency: Consistency::Cached }) => {
            let mut items = object["items"].as_array().into_iter().flatten();
            let item = items.find(|item| item["metadata"]["name"] == key);
            item.map_or(Outcome::NotFound, |item| match seen(item) {
                Some(seen) => Outcome::Found { seen },
                None => unknown("an object without resourceVersion".to_owned()),
            })
        }
        (200, Action::Get { .. }) => match seen(object) {
            Some(seen) => Outcome::Found { seen },
            None => unknown("an object without resourceVersion".to_owned()),
        },
        (200 | 201, Action::Create { .. } | Action::Update { .. }) => match seen(object) {
            Some(seen) => Outcome::Done { version: Some(seen.version) },
            None => unknown("an object without resourceVersion".to_owned()),
        },
        (200 | 202, Action::Delete { .. }) => Outcome::Done { version: None },
        (404, Action::Get { .. } | Action::Update { .. } | Action::Delete { .. }) => Outcome::NotFound,
        (409, Action::Create { .. }) => Outcome::AlreadyExists,
        (409, Action::Update { .. } | Action::Delete { replaces: Some(_) }) => Outcome::Conflict,
        (400 | 401 | 403 | 422 | 429, _) => Outcome::Rejected { reason: format!("HTTP {status}") },
        _ => {
            let message = object["message"].as_str().unwrap_or_default();
            unknown(format!("HTTP {status} {message}").trim().to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_a_connection_is_maybe_and_a_refusal_is_not() {
        let action = Action::Create { payload: 7 };
        let of = |answer| outcome(&action, "object-1", &answer);
        assert!(matches!(of(Err(Broke::Lost("timeout".to_owned()))), Outcome::Unknown { .. }));
        assert!(matches!(of(Err(Broke::NotSent("refused".to_owned()))), Outcome::Rejected { .. }));
        assert!(matches!(of(Ok((503, Value::Null))), Outcome::Unknown { .. }));
        assert!(matches!(of(Ok((429, Value::Null))), Outcome::Rejected { .. }));
        assert_eq!(of(Ok((409, Value::Null))), Outcome::AlreadyExists);
        let made = json!({ "metadata": { "resourceVersion": "12" } });
        assert_eq!(of(Ok((201, made))), Outcome::Done { version: Some(12) });
    }

    #[test]
    fn a_payload_is_read_back() {
        let object = json!({ "metadata": { "resourceVersion": "5" }, "data": { "payload": format!("{MARK}17-") } });
        assert_eq!(seen(&object), Some(Seen { payload: 17, version: 5 }));
        assert_eq!(seen(&json!({ "metadata": { "resourceVersion": "5" } })), Some(Seen { payload: 0, version: 5 }));
    }
}
