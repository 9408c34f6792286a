//! What a watch of the run's pods shows, and when.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use seaworthy_simulated::Client;
use seaworthy_simulated::watch::{self, Item, Source, WatchStats};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::wire;

/// The label of everything that a run creates; its value is the run's name.
pub(crate) const LABEL: &str = "seaworthy.dev/load";
/// What names of pods begin with that are timed one by one.
pub(crate) const TIMED: &str = "timed-";

/// What is known of a pod.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Known {
    bound: bool,
    ready: bool,
    /// The list that had it last.
    list: u64,
}

/// When a pod that is timed was seen first, and ready.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Times {
    pub(crate) seen: Option<Instant>,
    pub(crate) ready: Option<Instant>,
}

#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) total: AtomicU64,
    pub(crate) ready: AtomicU64,
    pub(crate) bound: AtomicU64,
    /// Pods that the scheduler placed: when it was seen.
    pub(crate) placed: Mutex<Vec<Instant>>,
    pub(crate) timed: Mutex<HashMap<String, Times>>,
}

/// A watch of all pods of a run.
#[derive(Debug)]
pub(crate) struct Observer {
    pub(crate) seen: Arc<Seen>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Observer {
    pub(crate) fn start(client: Client, run: &str, ready: mpsc::UnboundedSender<String>) -> Self {
        let (sender, mut items) = mpsc::channel(2048);
        let source = Source::labeled("/api/v1/pods", &format!("{LABEL}={run}"));
        let watching = watch::run::<wire::Pod>(client, source, sender, Arc::<WatchStats>::default(), |_| {});
        let seen = Arc::<Seen>::default();
        let kept = Arc::clone(&seen);
        let reading = async move {
            let mut pods = HashMap::new();
            let mut list = 0;
            while let Some(item) = items.recv().await {
                match item {
                    Item::Begin => list += 1,
                    Item::Object(pod) => kept.object(&mut pods, &pod, list, &ready),
                    Item::Removed(pod) => kept.gone(pods.remove(&key(&pod))),
                    Item::End => {
                        let missed = pods.extract_if(|_, known: &mut Known| known.list != list);
                        missed.for_each(|(_, known)| kept.gone(Some(known)));
                    }
                }
                kept.count(&pods);
            }
        };
        Self { seen, tasks: [tokio::spawn(watching), tokio::spawn(reading)] }
    }
}

fn key(pod: &wire::Pod) -> String {
    pod.metadata.as_ref().map(|meta| format!("{}/{}", meta.namespace, meta.name)).unwrap_or_default()
}

impl Seen {
    fn object(
        &self,
        pods: &mut HashMap<String, Known>,
        pod: &wire::Pod,
        list: u64,
        ready: &mpsc::UnboundedSender<String>,
    ) {
        let now = Instant::now();
        let name = pod.metadata.as_ref().map_or("", |meta| meta.name.as_str());
        let bound = pod.spec.as_ref().is_some_and(|spec| !spec.node_name.is_empty());
        let known = pods.entry(key(pod)).or_default();
        let before = *known;
        *known = Known { bound, ready: pod.is_ready(), list };
        // One that is bound when it is seen first was created so.
        if bound && !before.bound && before.list > 0 {
            lock(&self.placed).push(now);
        }
        if name.starts_with(TIMED) {
            let mut timed = lock(&self.timed);
            let times = timed.entry(name.to_owned()).or_default();
            times.seen.get_or_insert(now);
            if known.ready && times.ready.is_none() {
                times.ready = Some(now);
                ready.send(name.to_owned()).ok();
            }
        }
        let flips = |before: bool, now: bool, count: &AtomicU64| match (before, now) {
            (false, true) => drop(count.fetch_add(1, Ordering::Relaxed)),
            (true, false) => drop(count.fetch_sub(1, Ordering::Relaxed)),
            _ => {}
        };
        flips(before.ready, known.ready, &self.ready);
        flips(before.bound, known.bound, &self.bound);
    }

    fn gone(&self, known: Option<Known>) {
        let known = known.unwrap_or_default();
        self.ready.fetch_sub(known.ready.into(), Ordering::Relaxed);
        self.bound.fetch_sub(known.bound.into(), Ordering::Relaxed);
    }

    fn count(&self, pods: &HashMap<String, Known>) {
        self.total.store(pods.len() as u64, Ordering::Relaxed);
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
