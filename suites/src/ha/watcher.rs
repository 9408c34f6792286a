//! Watchers: one for each API server, which resumes where it was cut off.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt as _;
use seaworthy_history::{LeaseRecord, Seen, Watch, WatchEntry, WatchItem, WatchKind};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::clock::{Clock, nanoseconds};
use super::load::{Place, seen};
use super::wire::{Broke, Gate, Line};

/// Between two attempts to connect.
const AGAIN: Duration = Duration::from_millis(100);
/// How long a list and the answer to a watch's request may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a watcher notes, of whatever it watches.
pub(super) trait Log: Send + 'static {
    fn listed(&mut self, at: u64, version: u64, items: &[Value]);
    fn opened(&mut self, at: u64, version: u64);
    fn event(&mut self, at: u64, kind: &str, object: &Value);
    fn ended(&mut self, at: u64, expired: bool, why: &str);
}

/// A watch under way.
pub(super) struct Watcher<L> {
    log: Arc<Mutex<L>>,
    position: tokio::sync::watch::Receiver<u64>,
    /// Ends it, also where a drill ends early.
    stop: DropGuard,
    task: JoinHandle<()>,
}

/// Watches the objects of the load.
pub(super) type Objects = Watcher<ObjectLog>;
/// Watches Leases.
pub(super) type Leases = Watcher<LeaseLog>;

pub(super) fn objects(gate: &Arc<Gate>, place: &Place, clock: Clock) -> Objects {
    let log = ObjectLog { watch: Watch { server: gate.name.clone(), entries: Vec::new() } };
    Watcher::start(gate.clone(), place.collection(), Place::selector(), clock, log)
}

pub(super) fn leases(gate: &Arc<Gate>, clock: Clock) -> Leases {
    let path = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases".to_owned();
    Watcher::start(gate.clone(), path, String::new(), clock, LeaseLog { clock, records: Vec::new() })
}

impl<L: Log> Watcher<L> {
    fn start(gate: Arc<Gate>, path: String, query: String, clock: Clock, log: L) -> Self {
        let log = Arc::new(Mutex::new(log));
        let (sender, position) = tokio::sync::watch::channel(0);
        let stop = CancellationToken::new();
        let mut run = Run { gate, path, query, clock, log: log.clone(), position: sender, begun: false };
        let task = tokio::spawn({
            let stop = stop.clone();
            async move {
                while !stop.is_cancelled() {
                    tokio::select! {
                        () = run.once() => tokio::time::sleep(AGAIN).await,
                        () = stop.cancelled() => {}
                    }
                }
            }
        });
        Self { log, position, stop: stop.drop_guard(), task }
    }

    /// Waits until it was sent all up to a resourceVersion.
    pub(super) async fn reached(&self, version: u64, patience: Duration) -> bool {
        let mut position = self.position.clone();
        let reached = position.wait_for(|position| *position >= version);
        tokio::time::timeout(patience, reached).await.is_ok_and(|reached| reached.is_ok())
    }

    /// Looks at what it has noted so far.
    pub(super) fn look<T>(&self, at: impl FnOnce(&L) -> T) -> T {
        at(&self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends it.
    pub(super) async fn stop(self) -> Arc<Mutex<L>> {
        drop(self.stop);
        self.task.await.ok();
        self.log
    }
}

impl Objects {
    pub(super) async fn finish(self) -> Watch {
        self.stop().await.lock().unwrap_or_else(PoisonError::into_inner).watch.clone()
    }
}

impl Leases {
    pub(super) async fn finish(self) -> Vec<LeaseRecord> {
        self.stop().await.lock().unwrap_or_else(PoisonError::into_inner).records.clone()
    }
}

struct Run<L> {
    gate: Arc<Gate>,
    path: String,
    query: String,
    clock: Clock,
    log: Arc<Mutex<L>>,
    position: tokio::sync::watch::Sender<u64>,
    begun: bool,
}

impl<L: Log> Run<L> {
    fn log(&self, note: impl FnOnce(&mut L, u64)) {
        note(&mut self.log.lock().unwrap_or_else(PoisonError::into_inner), self.clock.now());
    }

    /// One connection: a list, if it is the first or the last was expired, and one watch until its end.
    async fn once(&mut self) {
        let Ok(mut line) = self.gate.open().await else { return };
        if !self.begun {
            let listed = tokio::time::timeout(PATIENCE, self.list(&mut line)).await;
            if !matches!(listed, Ok(Ok(()))) {
                return;
            }
        }
        let version = *self.position.borrow();
        let query = format!("watch=1&allowWatchBookmarks=true&resourceVersion={version}&{}", self.query);
        let path = format!("{}?{query}", self.path);
        let answer = tokio::time::timeout(PATIENCE, line.send(Method::GET, &path, None)).await;
        let Ok(Ok(answer)) = answer else { return };
        if answer.status() == 410 {
            self.expired("410");
            return;
        }
        if !answer.status().is_success() {
            return;
        }
        self.log(|log, at| log.opened(at, version));
        let mut body = answer.into_body();
        let mut buffer = Vec::new();
        let why = loop {
            match body.frame().await {
                None => break "ended".to_owned(),
                Some(Err(error)) => break error.to_string(),
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if self.take(&mut buffer, &data) {
                        return;
                    }
                }
            }
        };
        self.log(|log, at| log.ended(at, false, &why));
    }

    fn expired(&mut self, why: &str) {
        self.begun = false;
        self.log(|log, at| log.ended(at, true, why));
    }

    async fn list(&mut self, line: &mut Line) -> Result<(), Broke> {
        let path = format!("{}?{}", self.path, self.query);
        let (status, list) = line.call(Method::GET, &path, None).await?;
        let version = list["metadata"]["resourceVersion"].as_str().and_then(|version| version.parse().ok());
        let (200, Some(version)) = (status, version) else { return Err(Broke::Lost(format!("HTTP {status}"))) };
        let items = list["items"].as_array().cloned().unwrap_or_default();
        self.log(|log, at| log.listed(at, version, &items));
        self.begun = true;
        self.position.send_replace(version);
        Ok(())
    }

    /// Takes what arrived; true if the watch is over.
    fn take(&mut self, buffer: &mut Vec<u8>, data: &Bytes) -> bool {
        buffer.extend_from_slice(data);
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            let event: Value = serde_json::from_slice(&line).unwrap_or_default();
            let (kind, object) = (event["type"].as_str().unwrap_or_default(), &event["object"]);
            if kind == "ERROR" {
                if object["code"] == 410 {
                    self.expired("410");
                } else {
                    let why = object["message"].as_str().unwrap_or_default().to_owned();
                    self.log(|log, at| log.ended(at, false, &why));
                }
                return true;
            }
            self.log(|log, at| log.event(at, kind, object));
            let version = object["metadata"]["resourceVersion"].as_str().and_then(|version| version.parse().ok());
            // What goes back is noted, and not gone back to.
            self.position.send_if_modified(|position| {
                let further = version.is_some_and(|version| version > *position);
                *position = version.filter(|_| further).unwrap_or(*position);
                further
            });
        }
        false
    }
}

/// What a watcher of the load's objects was sent.
pub(super) struct ObjectLog {
    watch: Watch,
}

impl ObjectLog {
    fn note(&mut self, at: u64, item: WatchItem) {
        self.watch.entries.push(WatchEntry { at, item });
    }
}

/// The objects of a list.
pub(super) fn states(items: &[Value]) -> BTreeMap<String, Seen> {
    let state = |item: &Value| Some((item["metadata"]["name"].as_str()?.to_owned(), seen(item)?));
    items.iter().filter_map(state).collect()
}

impl Log for ObjectLog {
    fn listed(&mut self, at: u64, version: u64, items: &[Value]) {
        self.note(at, WatchItem::Listed { version, objects: states(items) });
    }

    fn opened(&mut self, at: u64, version: u64) {
        self.note(at, WatchItem::Opened { version });
    }

    fn event(&mut self, at: u64, kind: &str, object: &Value) {
        let Some(seen) = seen(object) else { return };
        let kind = match kind {
            "ADDED" => WatchKind::Added,
            "MODIFIED" => WatchKind::Modified,
            "DELETED" => WatchKind::Deleted,
            _ => return self.note(at, WatchItem::Bookmark { version: seen.version }),
        };
        let key = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        self.note(at, WatchItem::Event { kind, key, seen });
    }

    fn ended(&mut self, at: u64, expired: bool, why: &str) {
        let item = if expired { WatchItem::Expired } else { WatchItem::Closed { reason: why.to_owned() } };
        self.note(at, item);
    }
}

/// The states of the Leases of the control plane.
pub(super) struct LeaseLog {
    clock: Clock,
    records: Vec<LeaseRecord>,
}

/// The Leases whose holders act.
pub(super) const LEASES: [&str; 2] = ["kube-controller-manager", "kube-scheduler"];

impl LeaseLog {
    fn note(&mut self, at: u64, object: &Value) {
        let Some(record) = lease(object, at, self.clock) else { return };
        if self.records.iter().all(|known| known.version != record.version) {
            self.records.push(record);
        }
    }

    /// The newest state of a Lease.
    pub(super) fn last(&self, lease: &str) -> Option<&LeaseRecord> {
        self.records.iter().rev().find(|record| record.lease == lease)
    }
}

impl Log for LeaseLog {
    fn listed(&mut self, at: u64, _: u64, items: &[Value]) {
        items.iter().for_each(|item| self.note(at, item));
    }

    fn opened(&mut self, _: u64, _: u64) {}

    fn event(&mut self, at: u64, kind: &str, object: &Value) {
        if kind != "BOOKMARK" {
            self.note(at, object);
        }
    }

    fn ended(&mut self, _: u64, _: bool, _: &str) {}
}

/// A Lease of the control plane. Its holder is `HOST_UID`: the host is who acts.
fn lease(object: &Value, at: u64, clock: Clock) -> Option<LeaseRecord> {
    let name = object["metadata"]["name"].as_str().filter(|name| LEASES.contains(name))?;
    let spec = &object["spec"];
    let holder = spec["holderIdentity"].as_str().filter(|holder| !holder.is_empty());
    let time = |name: &str| Some(clock.wall(spec[name].as_str()?.parse().ok()?));
    Some(LeaseRecord {
        at,
        lease: name.to_owned(),
        holder: holder.map(|holder| holder.split('_').next().unwrap_or(holder).to_owned()),
        acquired: time("acquireTime")?,
        renewed: time("renewTime")?,
        duration: nanoseconds(Duration::from_secs(spec["leaseDurationSeconds"].as_u64()?)),
        transitions: spec["leaseTransitions"].as_u64().unwrap_or_default(),
        version: object["metadata"]["resourceVersion"].as_str()?.parse().ok()?,
    })
}
