//! A run from its first node to its last deletion.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use prost::Message as _;
use seaworthy_simulated::watch::page;
use seaworthy_simulated::{
    Behavior, Call, Client, ClientError, Fleet, FleetError, Form, Keep, LABEL as SIMULATED, Lane, NodeGroup, Running,
    TAINT,
};
use tokio::sync::mpsc;

use super::fill::{self, Names};
use super::machine::cpu;
use super::observer::{LABEL, Observer, lock};
use super::steady::{self, Measured};
use super::{ENVELOPE, Machine, Plan, Report, Series, Spent};
use crate::prometheus::{Buckets, samples};
use crate::wire;

/// How long nodes may take to be ready.
const NODES: Duration = Duration::from_mins(5);

/// Why a run did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The simulated nodes.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// The API server.
    #[error("{what}: {why}")]
    Api {
        /// What was wanted.
        what: &'static str,
        /// Why it is not had.
        why: Box<ClientError>,
    },
    /// Another run is on this cluster.
    #[error("there is a run '{0}' on this cluster: end it, or delete what it left with `seaworthy cluster sweep`")]
    Busy(String),
}

fn api(what: &'static str) -> impl Fn(ClientError) -> LoadError {
    move |why| LoadError::Api { what, why: Box::new(why) }
}

/// Runs a plan on a cluster. Simulated nodes have a client of their own, so that their requests and those that are
/// measured do not share connections. `run` is the run's name: a-z, 0-9 and hyphens, at most 40; `step` is told what is
/// done. Everything that was created is deleted again; after an error [`clean_up`] does the same.
///
/// # Errors
/// [`LoadError`]. What is merely slow is no error but part of the report.
pub async fn drive(
    client: &Client,
    kubelets: &Client,
    plan: &Plan,
    run: &str,
    step: impl Fn(String),
) -> Result<Report, LoadError> {
    if let Some(other) =
        labeled(client, "/api/v1/namespaces", LABEL).await.map_err(api("other runs"))?.into_iter().next()
    {
        return Err(LoadError::Busy(other));
    }
    let (machine, begun, spent) = (Machine::read(), Instant::now(), cpu());
    let names = Names { run: run.to_owned() };
    step(format!("{} simulated nodes are registered", plan.nodes));
    let fleet = start(kubelets, plan, run).await?;
    let wanted = u64::from(plan.nodes);
    let all = fleet.until("all nodes are ready", NODES, |counts| {
        counts.nodes.schedulable >= wanted && counts.nodes.with_network >= wanted
    });
    // What is missing is in the report.
    let ready_nodes = match all.await {
        Ok(counts) => counts.nodes.schedulable,
        Err(FleetError::Late { counts, .. }) => counts.nodes.schedulable,
        Err(error) => return Err(error.into()),
    };
    let nodes_seconds = begun.elapsed().as_secs_f64();
    let (sender, ready) = mpsc::unbounded_channel();
    let observer = Observer::start(client.clone(), run, sender);
    let before = metrics(client).await;
    fill::namespaces(client, plan, &names).await.map_err(api("creating namespaces"))?;
    let group = group(plan);
    let nodes: Vec<String> = (0..plan.nodes).map(|index| group.name(index)).collect();
    step(format!("{} pods are created, {} of them for the scheduler", plan.pods, plan.scheduled));
    let filling = Instant::now();
    let (placed, bound) =
        tokio::join!(fill::deployments(client, plan, &names), fill::bound(client, plan, &names, &nodes),);
    placed.and(bound).map_err(api("creating pods"))?;
    let (series, peak) = until_full(plan, &observer).await;
    let fill_seconds = filling.elapsed().as_secs_f64();
    // Those that are timed one by one come later, at a rate of their own.
    let (scheduled, scheduled_per_second) = throughput(&observer);
    step(format!("{peak} pods are ready; requests are measured for {:?}", plan.steady));
    let full = metrics(client).await;
    let measured = steady::measure(client, plan, &names, &nodes, &observer, ready).await;
    let after = metrics(client).await;
    let counts = fleet.counts();
    step("everything is deleted".to_owned());
    let (deletion_seconds, deletion_refused) = match empty(client, plan, &names, &observer).await {
        Ok(seconds) => (seconds, None),
        // That is what the cluster is like, and part of the report.
        Err(error) if error.code().is_some() && !error.is_transient() => (None, Some(error.to_string())),
        Err(error) => return Err(api("deleting pods")(error)),
    };
    let namespaces: Vec<_> = (0..plan.namespaces()).map(|number| names.namespace(number)).collect();
    fill::delete_namespaces(client, &namespaces).await.map_err(api("deleting namespaces"))?;
    fleet.shutdown(Keep::Nothing).await?;
    let Measured { startup, not_started, watch, requests, lag } = measured;
    let part = |reached: u64, whole: u32| reached as f64 / f64::from(whole);
    let containers = peak * u64::from(plan.containers);
    Ok(Report {
        profile: plan.profile.name(),
        nodes: (wanted, ready_nodes),
        pods: (u64::from(plan.pods), peak),
        containers,
        envelope: part(ready_nodes, ENVELOPE.0).min(part(peak, ENVELOPE.1)).min(part(containers, ENVELOPE.2)),
        nodes_seconds,
        fill_seconds,
        scheduled_per_second,
        scheduled,
        deletion_seconds,
        deletion_refused,
        startup,
        not_started,
        watch,
        requests,
        server: after.latencies_since(&full),
        lag,
        fleet: counts,
        server_memory: (before.memory, full.memory),
        database: (before.database, full.database),
        series,
        spent: Spent::since(spent, begun.elapsed().as_secs_f64()),
        machine,
    })
}

fn group(plan: &Plan) -> NodeGroup {
    NodeGroup::linux(plan.nodes).prefix("load-").zones(["a", "b", "c"]).taint(TAINT, "", "NoSchedule")
}

async fn start(client: &Client, plan: &Plan, run: &str) -> Result<Running, FleetError> {
    let behavior = Behavior { final_status: false, ..Behavior::default() };
    Fleet::new(client.clone()).name(run).nodes(group(plan)).behavior(behavior).start().await
}

/// Waits until every pod is ready, or nothing happens any more for the plan's patience. The counts of each second, and
/// the most pods that were ready.
async fn until_full(plan: &Plan, observer: &Observer) -> (Series, u64) {
    let (mut series, mut peak, mut moved) = (Series::default(), 0, Instant::now());
    let begun = Instant::now();
    loop {
        let ready = observer.seen.ready.load(Ordering::Relaxed);
        if ready > peak {
            (peak, moved) = (ready, Instant::now());
        }
        if begun.elapsed().as_secs() >= series.ready.len() as u64 {
            series.ready.push(ready);
            series.bound.push(observer.seen.bound.load(Ordering::Relaxed));
        }
        let late = moved.elapsed() > plan.patience || begun.elapsed() > plan.fill_limit();
        if ready >= u64::from(plan.pods) || late {
            return (series, peak);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// How many pods the scheduler placed, and how many a second: between the first and the last twentieth.
fn throughput(observer: &Observer) -> (u64, f64) {
    let placed = lock(&observer.seen.placed);
    let count = placed.len();
    let cut = count / 20;
    let rate = match placed.get(cut..count - cut) {
        Some([first, .., last]) => (count - 2 * cut - 1) as f64 / (*last - *first).as_secs_f64().max(1e-3),
        _ => 0.0,
    };
    (count as u64, rate)
}

/// Deletes all pods, and waits until they are gone or nothing happens any more. How long it took, if they are gone.
async fn empty(client: &Client, plan: &Plan, names: &Names, observer: &Observer) -> Result<Option<f64>, ClientError> {
    let begun = Instant::now();
    fill::delete_pods(client, plan, names).await?;
    let (mut least, mut moved) = (u64::MAX, Instant::now());
    loop {
        let left = observer.seen.total.load(Ordering::Relaxed);
        if left == 0 {
            return Ok(Some(begun.elapsed().as_secs_f64()));
        }
        if left < least {
            (least, moved) = (left, Instant::now());
        }
        if moved.elapsed() > plan.patience {
            return Ok(None);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Deletes everything that runs left on a cluster: namespaces, then nodes. Their pods go with them.
///
/// # Errors
/// [`ClientError`] of the first request that failed.
pub async fn clean_up(client: &Client, run: &str) -> Result<(), ClientError> {
    let namespaces = labeled(client, "/api/v1/namespaces", &format!("{LABEL}={run}")).await?;
    fill::delete_namespaces(client, &namespaces).await?;
    let call = Call::delete(
        format!("/api/v1/nodes?labelSelector={}%3D{run}", SIMULATED.replace('/', "%2F")),
        &serde_json::json!({}),
    );
    client.ask(Lane::Work, &call).await?.success(&call).map(drop)
}

/// The names of objects by a label.
async fn labeled(client: &Client, path: &str, selector: &str) -> Result<Vec<String>, ClientError> {
    let selector = selector.replace('/', "%2F").replace('=', "%3D");
    let page = page(client, &format!("{path}?labelSelector={selector}"), Form::Metadata, 500, "").await?;
    let name = |item: bytes::Bytes| {
        let object = wire::Object::decode(item).ok();
        object?.metadata.map(|meta| meta.name)
    };
    Ok(page.items.into_iter().filter_map(name).collect())
}

/// What the API server's /metrics say at a moment; nothing where they are not to be had.
#[derive(Debug, Default)]
struct Metrics {
    memory: u64,
    database: u64,
    latencies: BTreeMap<String, Buckets>,
}

impl Metrics {
    fn latencies_since(&self, earlier: &Self) -> BTreeMap<String, (f64, u64)> {
        let none = Buckets::default();
        let since = |(key, buckets): (&String, &Buckets)| {
            let since = buckets.since(earlier.latencies.get(key).unwrap_or(&none));
            Some((key.clone(), (since.quantile(0.99)?, since.count() as u64)))
        };
        self.latencies.iter().filter_map(since).collect()
    }
}

async fn metrics(client: &Client) -> Metrics {
    let call = Call::get("/metrics");
    let reply = client.ask(Lane::Watch, &call).await.and_then(|reply| reply.success(&call));
    let text = reply.map(|reply| String::from_utf8_lossy(&reply.body).into_owned()).unwrap_or_default();
    let mut metrics = Metrics::default();
    let names =
        ["process_resident_memory_bytes", "apiserver_storage_size_bytes", "apiserver_request_duration_seconds_bucket"];
    for sample in samples(&text, &names) {
        let mib = (sample.value / f64::from(1 << 20)) as u64;
        match sample.name {
            "process_resident_memory_bytes" => metrics.memory = mib,
            "apiserver_storage_size_bytes" => metrics.database = metrics.database.max(mib),
            _ => {
                if let Some(key) = crate::audit::slo_key(&sample) {
                    metrics.latencies.entry(key).or_default().add(sample.label("le"), sample.value);
                }
            }
        }
    }
    metrics
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_send<T: Send>(_: &T) {}

    #[tokio::test]
    async fn runs_can_be_spawned() {
        let error = Client::open("/no/such/kubeconfig".as_ref(), None).unwrap_err();
        assert!(error.to_string().contains("/no/such/kubeconfig"));
        if let Ok(client) = Client::open("/no/such/kubeconfig".as_ref(), None) {
            let plan = Plan::ci();
            is_send(&drive(&client, &client, &plan, "run", |_| {}));
            is_send(&clean_up(&client, "run"));
            is_send(&crate::audit::gather(&client));
        }
    }
}
