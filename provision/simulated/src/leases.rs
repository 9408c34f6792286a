//! The leases of all nodes, renewed by schedule: each node has a moment of its own in every period, kept however late
//! an answer comes, so that what is late shows as late.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http::Method;
use tokio::sync::mpsc::Receiver;

use crate::client::{Call, Client, ClientError, Lane};
use crate::wire::{self, Time, seal};

const NAMESPACE: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
/// How many periods a lease is valid for.
const PERIODS: u32 = 4;
/// One that is sent so much later than it was due is late.
const LATE: Duration = Duration::from_secs(1);

/// What happened to leases.
#[derive(Debug, Default)]
pub(crate) struct LeaseStats {
    pub(crate) renewed: AtomicU64,
    pub(crate) late: AtomicU64,
    pub(crate) missed: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) throttled: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) worst_gap: AtomicU64,
}

/// What leases are told.
#[derive(Debug)]
pub(crate) enum Order {
    /// A node of a number is registered, or came back.
    Start { node: usize, name: Arc<str>, uid: u128 },
    /// Its lease is not renewed any more.
    Stop { node: usize },
}

#[derive(Debug, Default)]
struct Entry {
    name: Arc<str>,
    uid: u128,
    on: bool,
    busy: bool,
    /// Its moment within a period.
    phase: Duration,
    due: Duration,
    /// When it was renewed last, or was to be for the first time.
    renewed: Option<Instant>,
    /// Has it run out, and was that counted?
    missing: bool,
    version: String,
    failures: u32,
}

/// Renews leases until nobody gives orders any more and nothing is on its way.
pub(crate) async fn run(
    client: Client,
    period: Duration,
    most: usize,
    mut orders: Receiver<Order>,
    stats: Arc<LeaseStats>,
    failed: impl Fn(&ClientError),
) {
    let begun = Instant::now();
    let mut entries: Vec<Entry> = Vec::new();
    let mut timers: BinaryHeap<Reverse<(Duration, usize)>> = BinaryHeap::new();
    let mut ready: std::collections::VecDeque<usize> = std::collections::VecDeque::new();
    let mut sent = FuturesUnordered::new();
    loop {
        let now = begun.elapsed();
        while let Some(Reverse((at, node))) = timers.peek().copied().filter(|Reverse((at, _))| *at <= now) {
            timers.pop();
            let entry = &mut entries[node];
            if entry.due != at || !entry.on {
                continue;
            }
            overdue(entry, period, &stats);
            if !entry.busy {
                entry.busy = true;
                ready.push_back(node);
            }
        }
        while sent.len() < most
            && let Some(node) = ready.pop_front()
        {
            let entry = &entries[node];
            if now.saturating_sub(entry.due) > LATE {
                stats.late.fetch_add(1, Ordering::Relaxed);
            }
            let (name, uid, version) = (Arc::clone(&entry.name), entry.uid, entry.version.clone());
            let client = client.clone();
            let work = async move { renew(&client, &name, uid, version, period).await };
            sent.push(async move { (node, work.await) });
        }
        let wait = timers.peek().map_or(Duration::from_secs(3600), |Reverse((at, _))| at.saturating_sub(now));
        tokio::select! {
            order = orders.recv() => match order {
                None => return,
                Some(Order::Start { node, name, uid }) => {
                    if entries.len() <= node {
                        entries.resize_with(node + 1, Entry::default);
                    }
                    // Multiples of the golden ratio spread any number of nodes evenly.
                    let phase = period.mul_f64(((node + 1) as f64 * 0.618_033_988_749_894_9).fract());
                    let entry = &mut entries[node];
                    (entry.name, entry.uid, entry.on, entry.phase) = (name, uid, true, phase);
                    (entry.renewed, entry.missing) = (Some(Instant::now()), false);
                    entry.due = begun.elapsed();
                    timers.push(Reverse((entry.due, node)));
                }
                Some(Order::Stop { node }) => {
                    if let Some(entry) = entries.get_mut(node) {
                        entry.on = false;
                    }
                }
            },
            Some((node, answer)) = sent.next() => {
                let entry = &mut entries[node];
                entry.busy = false;
                let after = match answer {
                    Ok(version) => {
                        entry.failures = 0;
                        entry.version = version;
                        account(entry, period, &stats);
                        None
                    }
                    Err((error, after)) => {
                        entry.failures += 1;
                        stats.failed.fetch_add(1, Ordering::Relaxed);
                        if !error.is_transient() {
                            stats.refused.fetch_add(1, Ordering::Relaxed);
                        }
                        if error.code() == Some(429) {
                            stats.throttled.fetch_add(1, Ordering::Relaxed);
                        }
                        failed(&error);
                        let wait = Duration::from_millis(200 << entry.failures.min(5));
                        Some(after.unwrap_or(wait).mul_f64(1.0 + fastrand::f64() / 2.0))
                    }
                };
                let now = begun.elapsed();
                let next = next_moment(entry.phase, period, now);
                entry.due = after.map_or(next, |after| (now + after).min(next));
                timers.push(Reverse((entry.due, node)));
            },
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// The first moment of a phase after now.
fn next_moment(phase: Duration, period: Duration, now: Duration) -> Duration {
    let periods = now.as_nanos() / period.as_nanos().max(1);
    let at = |periods: u128| period * u32::try_from(periods).unwrap_or(u32::MAX) + phase;
    if at(periods) > now { at(periods) } else { at(periods + 1) }
}

fn account(entry: &mut Entry, period: Duration, stats: &LeaseStats) {
    stats.renewed.fetch_add(1, Ordering::Relaxed);
    let now = Instant::now();
    if let Some(before) = entry.renewed.replace(now) {
        let gap = now - before;
        stats.worst_gap.fetch_max(gap.as_millis().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
        if gap > period * PERIODS && !entry.missing {
            stats.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
    entry.missing = false;
}

/// Counts a lease that has run out, once, though nobody knows yet whether it is ever renewed again.
fn overdue(entry: &mut Entry, period: Duration, stats: &LeaseStats) {
    let gap = entry.renewed.map_or(Duration::ZERO, |renewed| renewed.elapsed());
    if gap > period * PERIODS && !std::mem::replace(&mut entry.missing, true) {
        stats.missed.fetch_add(1, Ordering::Relaxed);
        stats.worst_gap.fetch_max(gap.as_millis().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// Renews one lease: by its version, anew by the version that is there, or as a new one. The next version comes back,
/// or why not and after how long to try again.
async fn renew(
    client: &Client,
    name: &str,
    uid: u128,
    mut version: String,
    period: Duration,
) -> Result<String, (ClientError, Option<Duration>)> {
    let path = format!("{NAMESPACE}/{name}");
    for _ in 0..3 {
        let lease = lease(name, uid, version.clone(), period);
        let body = seal("coordination.k8s.io/v1", "Lease", &lease);
        let call = match version.is_empty() {
            true => Call::sealed(Method::POST, NAMESPACE, body),
            false => Call::sealed(Method::PUT, path.as_str(), body),
        };
        let reply = client.send(Lane::Lease, &call).await.map_err(|error| (error, None))?;
        match reply.status.as_u16() {
            404 if !version.is_empty() => version = String::new(),
            409 => {
                let call = Call::get(path.as_str());
                let reply = client.send(Lane::Lease, &call).await.map_err(|error| (error, None))?;
                version = match reply.status.as_u16() {
                    404 => String::new(),
                    _ => version_of(reply.success(&call).map_err(|error| (error, None))?.body),
                };
            }
            _ => {
                let after = reply.retry_after;
                return reply.success(&call).map(|reply| version_of(reply.body)).map_err(|error| (error, after));
            }
        }
    }
    let (method, why) = ("PUT".to_owned(), "the lease changes with every try: is there another node of this name?");
    Err((ClientError::Broken { method, path, why: why.to_owned() }, None))
}

fn version_of(body: bytes::Bytes) -> String {
    wire::open::<wire::Written>(body).and_then(|one| one.metadata).unwrap_or_default().resource_version
}

fn lease(name: &str, uid: u128, version: String, period: Duration) -> wire::Lease {
    let owner = wire::OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: name.to_owned(),
        uid: wire::uid_text(uid),
    };
    let metadata = wire::ObjectMeta {
        name: name.to_owned(),
        namespace: "kube-node-lease".to_owned(),
        resource_version: version,
        owner_references: vec![owner],
        ..wire::ObjectMeta::default()
    };
    let spec = wire::LeaseSpec {
        holder_identity: name.to_owned(),
        lease_duration_seconds: (period * PERIODS).as_secs().max(1).try_into().unwrap_or(i32::MAX),
        renew_time: Some(Time::now()),
    };
    wire::Lease { metadata: Some(metadata), spec: Some(spec) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_come_once_a_period() {
        let (phase, period) = (Duration::from_secs(3), Duration::from_secs(10));
        for (now, next) in [(0, 3), (2, 3), (3, 13), (12, 13), (13, 23), (25, 33)] {
            assert_eq!(next_moment(phase, period, Duration::from_secs(now)), Duration::from_secs(next), "{now}");
        }
    }

    #[test]
    fn a_gap_longer_than_the_lease_is_a_miss() {
        let (stats, period) = (LeaseStats::default(), Duration::from_millis(1));
        let mut entry = Entry::default();
        account(&mut entry, period, &stats);
        assert_eq!(stats.missed.load(Ordering::Relaxed), 0);
        entry.renewed = Some(Instant::now() - Duration::from_millis(5));
        account(&mut entry, period, &stats);
        assert_eq!((stats.missed.load(Ordering::Relaxed), stats.renewed.load(Ordering::Relaxed)), (1, 2));
        assert!(stats.worst_gap.load(Ordering::Relaxed) >= 5);
        // One that is not renewed at all counts as soon as it has run out, and once.
        entry.renewed = Some(Instant::now() - Duration::from_millis(5));
        overdue(&mut entry, period, &stats);
        overdue(&mut entry, period, &stats);
        assert_eq!(stats.missed.load(Ordering::Relaxed), 2);
        account(&mut entry, period, &stats);
        assert_eq!(stats.missed.load(Ordering::Relaxed), 2, "the gap that ends was counted");
    }
}
