//! The measured time: pods that come and go, and requests of every kind, each sent when it is due.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use seaworthy_simulated::{Call, Client, Form, Lane};
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::fill::Names;
use super::observer::{Observer, TIMED, lock};
use super::report::Hist;
use super::{Latency, Objective, Plan};

/// Requests on their way at once; one that is due beyond them counts as failed.
const MOST: usize = 500;
/// How long pods may take to become ready after the last one was due.
const LAST: Duration = Duration::from_secs(30);

/// What was measured.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) startup: Latency,
    pub(crate) not_started: u64,
    pub(crate) watch: Latency,
    pub(crate) requests: Vec<Objective>,
    pub(crate) lag: Latency,
}

#[derive(Debug, Default)]
struct Books {
    requests: BTreeMap<String, (f64, Hist, u64)>,
    lag: Hist,
    /// When timed pods were due, and when their creation was acknowledged.
    pods: HashMap<String, (Instant, Option<Instant>)>,
}

/// A kind of request: verb, resource and scope, and the most that its 99th percentile may be.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Create,
    Get,
    Patch,
    Delete,
    GetNode,
    ListNamespace,
    ListNodes,
    ListPods,
}

/// The order in which requests come round: a ConfigMap is created, read, changed and deleted.
const ROUND: [Kind; 6] = [Kind::Create, Kind::Get, Kind::GetNode, Kind::Patch, Kind::GetNode, Kind::Delete];
/// The order of lists: clients begin with one, and then watch.
const LISTS: [Kind; 3] = [Kind::ListPods, Kind::ListNamespace, Kind::ListNodes];

impl Kind {
    fn about(self) -> (&'static str, f64) {
        match self {
            Self::Create => ("POST configmaps resource", 1.0),
            Self::Get => ("GET configmaps resource", 1.0),
            Self::Patch => ("PATCH configmaps resource", 1.0),
            Self::Delete => ("DELETE configmaps resource", 1.0),
            Self::GetNode => ("GET nodes resource", 1.0),
            Self::ListNamespace => ("LIST pods namespace", 30.0),
            Self::ListNodes => ("LIST nodes cluster", 30.0),
            Self::ListPods => ("LIST pods cluster", 30.0),
        }
    }

    fn call(self, namespace: &str, number: u64, node: &str) -> Call {
        let maps = format!("/api/v1/namespaces/{namespace}/configmaps");
        let map = format!("{maps}/probe-{number}");
        match self {
            Self::Create => {
                let object = json!({
                    "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": format!("probe-{number}") },
                    "data": { "text": "x".repeat(1024) },
                });
                Call::post(maps, &object)
            }
            Self::Get => Call::get(map),
            Self::Patch => Call::merge(map, &json!({ "data": { "more": number.to_string() } })),
            Self::Delete => Call::delete(map, &json!({})),
            Self::GetNode => Call::get(format!("/api/v1/nodes/{node}")),
            Self::ListNamespace => Call::get(format!("/api/v1/namespaces/{namespace}/pods?resourceVersion=0")),
            Self::ListNodes => Call::get("/api/v1/nodes?resourceVersion=0"),
            Self::ListPods => Call::get("/api/v1/pods?resourceVersion=0"),
        }
    }
}

/// Loads a cluster for the plan's time and measures.
pub(crate) async fn measure(
    client: &Client,
    plan: &Plan,
    names: &Names,
    nodes: &[String],
    observer: &Observer,
    ready: mpsc::UnboundedReceiver<String>,
) -> Measured {
    let books = Arc::<Mutex<Books>>::default();
    let room = Arc::new(Semaphore::new(MOST));
    let run = |rate: f64, each: &dyn Fn(u64, Instant) -> Option<Job>| {
        // Due times are computed, never derived from answers.
        let count = (plan.steady.as_secs_f64() * rate) as u64;
        let jobs = (0..count).filter_map(|number| each(number, Instant::now()));
        (rate, jobs.collect::<Vec<_>>())
    };
    let namespace = names.namespace(0);
    let requests = run(plan.request_rate, &|number, _| {
        let kind = ROUND[(number % ROUND.len() as u64) as usize];
        let node = &nodes[(number as usize * 7) % nodes.len()];
        Some(Job::Request(kind, kind.call(&namespace, number / ROUND.len() as u64, node)))
    });
    let lists = run(plan.list_rate, &|number, _| {
        let kind = LISTS[(number % LISTS.len() as u64) as usize];
        Some(Job::Request(kind, kind.call(&namespace, number, "")))
    });
    let pods = run(plan.pod_rate, &|number, _| {
        let name = format!("{TIMED}{number:05}");
        let pod = names.pod(&name, "timed", 1, None);
        Some(Job::Pod(name, Call::post(format!("/api/v1/namespaces/{namespace}/pods"), &pod)))
    });
    let deleting = tokio::spawn(delete_ready(client.clone(), namespace.clone(), ready));
    let sending = [requests, lists, pods]
        .map(|(rate, jobs)| tokio::spawn(send(client.clone(), rate, jobs, Arc::clone(&books), Arc::clone(&room))));
    for task in sending {
        task.await.ok();
    }
    let due = lock(&books).pods.len();
    let begun = Instant::now();
    while begun.elapsed() < LAST && lock(&observer.seen.timed).values().filter(|one| one.ready.is_some()).count() < due
    {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    deleting.abort();
    conclude(&books, observer)
}

/// A request that is due at some time.
enum Job {
    Request(Kind, Call),
    Pod(String, Call),
}

async fn send(client: Client, rate: f64, jobs: Vec<Job>, books: Arc<Mutex<Books>>, room: Arc<Semaphore>) {
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for (number, job) in jobs.into_iter().enumerate() {
        let due = begun + Duration::from_secs_f64(number as f64 / rate);
        tokio::time::sleep_until(due.into()).await;
        lock(&books).lag.add(due.elapsed());
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            if let Job::Request(kind, _) = job {
                entry(&mut lock(&books), kind).2 += 1;
            }
            continue;
        };
        let (client, books) = (client.clone(), Arc::clone(&books));
        tasks.spawn(async move {
            one(&client, job, due, &books).await;
            drop(permit);
        });
        while tasks.try_join_next().is_some() {}
    }
    while tasks.join_next().await.is_some() {}
}

fn entry(books: &mut Books, kind: Kind) -> &mut (f64, Hist, u64) {
    let (about, most) = kind.about();
    books.requests.entry(about.to_owned()).or_insert_with(|| (most, Hist::default(), 0))
}

async fn one(client: &Client, job: Job, due: Instant, books: &Mutex<Books>) {
    match job {
        Job::Request(kind, call) => {
            // Clients of Kubernetes' own list in protobuf.
            let form = if matches!(kind, Kind::ListPods | Kind::ListNodes | Kind::ListNamespace) {
                Form::Protobuf
            } else {
                Form::Json
            };
            let answer = client.fetch(Lane::Work, &call, form).await.and_then(|reply| reply.success(&call));
            let mut books = lock(books);
            let (_, hist, failed) = entry(&mut books, kind);
            match answer {
                Ok(_) => hist.add(due.elapsed()),
                // What was to be read is not there yet, or not any more, since the request before it is still on its
                // way.
                Err(error) if error.code() == Some(404) => {}
                Err(_) => *failed += 1,
            }
        }
        Job::Pod(name, call) => {
            lock(books).pods.insert(name.clone(), (due, None));
            let answer = client.ask(Lane::Work, &call).await.and_then(|reply| reply.success(&call));
            if answer.is_ok() {
                lock(books).pods.insert(name, (due, Some(Instant::now())));
            }
        }
    }
}

/// Timed pods are deleted once they are ready: as many go as come.
async fn delete_ready(client: Client, namespace: String, mut ready: mpsc::UnboundedReceiver<String>) {
    while let Some(name) = ready.recv().await {
        let call = Call::delete(format!("/api/v1/namespaces/{namespace}/pods/{name}"), &json!({}));
        // It goes with its namespace, if not now.
        client.ask(Lane::Work, &call).await.ok();
    }
}

fn conclude(books: &Mutex<Books>, observer: &Observer) -> Measured {
    let books = lock(books);
    let timed = lock(&observer.seen.timed);
    let (mut startup, mut watch, mut not_started) = (Hist::default(), Hist::default(), 0);
    for (name, (due, acknowledged)) in &books.pods {
        let times = timed.get(name).copied().unwrap_or_default();
        match times.ready {
            Some(ready) => startup.add(ready.saturating_duration_since(*due)),
            None => not_started += 1,
        }
        if let (Some(seen), Some(acknowledged)) = (times.seen, acknowledged) {
            watch.add(seen.saturating_duration_since(*acknowledged));
        }
    }
    let objective = |(about, (most, hist, failed)): (&String, &(f64, Hist, u64))| Objective {
        about: about.clone(),
        most: *most,
        latency: hist.summary(),
        failed: *failed,
    };
    Measured {
        startup: startup.summary(),
        not_started,
        watch: watch.summary(),
        requests: books.requests.iter().map(objective).collect(),
        lag: books.lag.summary(),
    }
}
