//! One drill: load and watchers, a fault, its end, and the judgement of what was recorded.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use seaworthy_history::availability::{Availability, measure};
use seaworthy_history::{Act, Final, History, Judgement, Kind, Operation, Outcome, Seen, judge, lease, watch};
use tokio::time::Instant;

use super::audit;
use super::clock::{Clock, nanoseconds, seconds};
use super::faults::{Bound, Cast, Drill, Stay};
use super::load::{INTERVALS, Load, Place};
use super::row::{Row, Table, Takeover, VERSION};
use super::scene::Scene;
use super::watcher::{self, LEASES, Leases, Objects};
use super::wire::Gate;
use super::work::Work;
use crate::cluster::{Ctx, Ref, Stop};

/// How long the cluster is watched before the fault.
const BEFORE: Duration = Duration::from_secs(2);
/// How many answers of each endpoint and kind say that it serves.
const ANSWERS: usize = 10;
/// How long the cluster may take to be well before the fault.
const READY: [Duration; 2] = [Duration::from_secs(20), Duration::from_secs(60)];
/// How long both Leases may take to be held.
const HELD: Duration = Duration::from_secs(60);
/// A machine that shows longer gaps by itself cannot tell those of a fault.
const NOISE: Duration = Duration::from_millis(500);
/// How long it may take to be well after it.
const RECOVERY: Duration = Duration::from_secs(60);
/// How long watches may take to have everything after that.
const FRESH: Duration = Duration::from_secs(30);
/// How long a holder that continues is watched: longer than its renew deadline.
const RESUMED: Duration = Duration::from_secs(6);

/// The rows so far, by the cluster's uid.
static ROWS: Mutex<BTreeMap<String, Vec<Row>>> = Mutex::new(BTreeMap::new());

fn undetermined(what: &str, why: impl std::fmt::Display) -> Stop {
    Stop::Undetermined(format!("{what}: {why}"))
}

/// The rows of a cluster.
pub(super) fn rows(uid: &str) -> Vec<Row> {
    ROWS.lock().unwrap_or_else(PoisonError::into_inner).get(uid).cloned().unwrap_or_default()
}

/// The table of a cluster.
pub(super) fn table(ctx: &Ctx, constants: String) -> Table {
    let facts = &ctx.target().facts;
    Table { version: VERSION, kubernetes: facts.version.clone(), constants, rows: rows(&facts.uid) }
}

/// What is under way.
struct Run<'a> {
    ctx: &'a Ctx,
    scene: Scene,
    clock: Clock,
    place: Place,
    load: Load,
    watchers: Vec<Objects>,
    leases: Leases,
    work: Work,
    logs: BTreeMap<String, u64>,
    /// What an earlier load did.
    before: Vec<Operation>,
}

/// When what happened.
struct Times {
    begun: u64,
    fault: u64,
    in_force: u64,
    healing: u64,
    healed: u64,
    recovered: u64,
}

/// Runs a drill. What does not hold is a finding.
pub(super) async fn run(ctx: Ctx, drill: &'static Drill) -> Result<(), Stop> {
    let scene = Scene::find(&ctx).await?;
    let clock = Clock::new();
    let place = Place { namespace: ctx.namespace().to_owned() };
    let gates = scene.gates();
    let work = Work::start(&ctx, scene.balancer.clone()).await?;
    let logs = audit::sizes(&scene.ours, scene.servers.keys()).await;
    let watchers = gates.iter().map(|gate| watcher::objects(gate, &place, clock)).collect();
    let leases = watcher::leases(&scene.balancer, clock);
    let load = Load::start(&gates, &place, clock, INTERVALS[0]);
    let mut run = Run { ctx: &ctx, scene, clock, place, load, watchers, leases, work, logs, before: Vec::new() };
    for (interval, patience) in INTERVALS.into_iter().zip(READY) {
        let begun = clock.now();
        if interval != INTERVALS[0] {
            // What was recorded so far happened: the history needs it.
            let slower = Load::start(&gates, &run.place, clock, interval);
            run.before = std::mem::replace(&mut run.load, slower).stop().await.0;
        }
        let rate = 1000 / interval.as_millis();
        run.ctx.step(format!("load on {} endpoints, {rate} requests of each kind a second", gates.len()));
        match run.steady(begun, patience).await {
            Ok(()) => return run.all(drill, interval).await,
            Err(why) if interval == INTERVALS[1] => return Err(undetermined("before the fault", why)),
            Err(why) => run.ctx.step(why),
        }
    }
    Ok(())
}

impl Run<'_> {
    async fn all(self, drill: &Drill, interval: Duration) -> Result<(), Stop> {
        self.ctx.evidence("interval of probes", format!("{} ms", interval.as_millis()));
        let begun = self.clock.now();
        tokio::time::sleep(BEFORE).await;
        let cast = self.cast().await?;
        let words = (drill.words)(&cast);
        let fault = self.clock.now();
        self.begin(drill, &words).await?;
        let in_force = self.clock.now();
        self.stay(drill, &cast, fault).await;
        let healing = self.clock.now();
        self.undo().await?;
        let healed = self.clock.now();
        let recovered = self.steady(healing, RECOVERY).await;
        if let Err(why) = &recovered {
            self.ctx.breach(drill.name, format!("{RECOVERY:?} after the fault not all is well: {why}"));
        }
        if drill.resumes {
            self.ctx.step("watching the holder that continues");
            tokio::time::sleep(RESUMED).await;
        }
        let times = Times { begun, fault, in_force, healing, healed, recovered: self.clock.now() };
        self.finish(drill, words, times).await
    }

    /// Waits until each endpoint answers requests of each kind.
    async fn steady(&self, since: u64, patience: Duration) -> Result<(), String> {
        let deadline = Instant::now() + patience;
        loop {
            let answered = self.load.answered(since);
            let lacking: Vec<_> = self
                .scene
                .gates()
                .iter()
                .flat_map(|gate| ["write", "read", "list"].map(|kind| (gate.name.clone(), kind.to_owned())))
                .filter(|stream| answered.get(stream).is_none_or(|count| *count < ANSWERS))
                .map(|(endpoint, kind)| format!("{endpoint} ({kind})"))
                .collect();
            if lacking.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                let failures = self.load.failures(since);
                let failures: Vec<_> = failures.iter().map(|(what, count)| format!("{count} × {what}")).collect();
                return Err(format!("too few answers of {}: {}", lacking.join(", "), failures.join(", ")));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Who plays which part now. Waits until both Leases are held and etcd has a leader.
    async fn cast(&self) -> Result<Cast, Stop> {
        let deadline = Instant::now() + HELD;
        let holders = loop {
            let held = |lease| self.leases.look(|log| log.last(lease).and_then(|record| record.holder.clone()));
            if let [Some(manager), Some(scheduler)] = LEASES.map(held) {
                break (manager, scheduler);
            }
            if Instant::now() > deadline {
                return Err(undetermined("before the fault", "a Lease of the control plane is not held"));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        let (manager, scheduler) = holders;
        let etcd_leader = loop {
            match self.scene.etcd_leader().await {
                Err(stop) if Instant::now() > deadline => return Err(stop),
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
                Ok(leader) => break leader,
            }
        };
        let followers = self.scene.members.keys().filter(|host| **host != etcd_leader).cloned();
        let mut planes: Vec<_> = self.scene.servers.keys().cloned().collect();
        planes.sort_by_key(|host| [&etcd_leader, &manager, &scheduler].into_iter().filter(|one| *one == host).count());
        let etcd_followers = followers.collect();
        let workers = self.scene.workers.clone();
        Ok(Cast { etcd_leader, etcd_followers, manager, scheduler, planes, workers })
    }

    async fn begin(&self, drill: &Drill, words: &[String]) -> Result<(), Stop> {
        let ours = self.scene.ours.clone();
        self.ctx.undo("faults", async move { undo_all(&ours).await });
        for words in words {
            self.ctx.step(format!("fault: {words}"));
            let words: Vec<_> = words.split(' ').collect();
            let output = self.scene.ours.fault(&words).await.map_err(|error| undetermined("fault", error))?;
            if !output.status.success() {
                let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                return Err(undetermined(&words.join(" "), why));
            }
            if drill.stay == Stay::Rolling
                && let Err(why) = self.steady(self.clock.now(), RECOVERY).await
            {
                self.ctx.breach(drill.name, format!("{RECOVERY:?} after {} not all is well: {why}", words.join(" ")));
            }
        }
        Ok(())
    }

    async fn undo(&self) -> Result<(), Stop> {
        self.ctx.step("the fault ends");
        undo_all(&self.scene.ours).await.map_err(|why| undetermined("undo", why))
    }

    async fn stay(&self, drill: &Drill, cast: &Cast, since: u64) {
        match drill.stay {
            Stay::For(time) => tokio::time::sleep(time).await,
            Stay::Takeover(leases) => {
                let limit = Instant::now() + self.scene.constants.takeover() + Duration::from_secs(6);
                while Instant::now() < limit {
                    let taken = |lease: &&str| {
                        self.leases.look(|log| {
                            log.last(lease).is_some_and(|record| record.holder.is_some() && record.acquired > since)
                        })
                    };
                    if leases.iter().all(taken) {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                // Its first act.
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            Stay::Rolling => {}
            Stay::NotReady => self.not_ready(drill, cast).await,
        }
    }

    async fn not_ready(&self, drill: &Drill, cast: &Cast) {
        let Some(worker) = cast.workers.first() else { return };
        let place = Ref::new("v1", "Node", "", worker);
        let constants = &self.scene.constants;
        // The last sign of life may be as fresh as the fault; it is looked at once a period.
        let bound = constants.grace + constants.monitor * 2;
        let begun = Instant::now();
        let mut ready = true;
        while ready && begun.elapsed() < bound + Duration::from_secs(10) {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let node = self.ctx.get(&place).await.ok().unwrap_or_default();
            let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
            ready = conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True");
        }
        let took = begun.elapsed();
        self.ctx.evidence(
            "not Ready after",
            format!("{:.1} s of at most {:.1} s", took.as_secs_f64(), bound.as_secs_f64()),
        );
        if took > bound {
            let why =
                format!("{worker} counts as Ready {:.1} s after it was gone; at most {bound:?}", took.as_secs_f64());
            self.ctx.breach(drill.name, why);
        }
    }

    async fn finish(self, drill: &Drill, words: Vec<String>, times: Times) -> Result<(), Stop> {
        let Self { ctx, scene, clock, place, load, watchers, leases, work, logs, before } = self;
        work.stop().await;
        let (mut operations, probes) = load.stop().await;
        operations.splice(0..0, before);
        ctx.step(format!("reading {} operations back from {} places", operations.len(), 2 * scene.servers.len()));
        let mut history = History::new();
        (history.operations, history.probes) = (operations, probes);
        let ends = finals(&scene, &place).await?;
        history.finals = ends.finals;
        for last in scene.etcd_finals(&place, ends.list).await {
            match last {
                Ok(last) => history.finals.push(last),
                Err(why) => ctx.breach(drill.name, why),
            }
        }
        for one in &watchers {
            one.reached(ends.object, FRESH).await;
        }
        for one in watchers {
            history.watches.push(one.finish().await);
        }
        history.leases = leases.finish().await;
        history.acts = acts(&scene, &logs, clock).await?;
        history.validate().map_err(|error| undetermined("a defect of seaworthy", error))?;
        let judged = history.clone();
        let judgement = tokio::task::spawn_blocking(move || judge(&judged)).await;
        let judgement = judgement.map_err(|error| undetermined("a defect of seaworthy", error))?;
        let bound = (drill.bound)(&scene.constants);
        report(ctx, drill, words, &times, &history, &judgement, bound, &scene)
    }
}

/// What the API servers have at the end.
struct Ends {
    finals: Vec<Final>,
    /// The newest object's resourceVersion.
    object: u64,
    /// The newest list's.
    list: u64,
}

/// Lists every API server, as new as can be, after everything was sent.
async fn finals(scene: &Scene, place: &Place) -> Result<Ends, Stop> {
    let mut ends = Ends { finals: Vec::new(), object: 0, list: 0 };
    for (host, gate) in &scene.servers {
        let deadline = Instant::now() + RECOVERY;
        let (version, objects) = loop {
            match list(gate, place).await {
                Ok(listed) => break listed,
                Err(why) if Instant::now() > deadline => return Err(undetermined(&format!("reading {host}"), why)),
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        };
        ends.list = ends.list.max(version);
        ends.object = objects.values().map(|seen| seen.version).max().unwrap_or_default().max(ends.object);
        ends.finals.push(Final { place: format!("{host}/kube-apiserver"), objects });
    }
    Ok(ends)
}

type Listed = (u64, BTreeMap<String, Seen>);

async fn list(gate: &Arc<Gate>, place: &Place) -> Result<Listed, String> {
    let path = format!("{}?{}", place.collection(), Place::selector());
    let ask = async {
        let mut line = gate.open().await?;
        line.call(http::Method::GET, &path, None).await.map_err(|broke| broke.why().to_owned())
    };
    match tokio::time::timeout(Duration::from_secs(5), ask).await {
        Ok(Ok((200, list))) => {
            let version = list["metadata"]["resourceVersion"].as_str().and_then(|version| version.parse().ok());
            let items = list["items"].as_array().cloned().unwrap_or_default();
            Ok((version.unwrap_or_default(), watcher::states(&items)))
        }
        Ok(Ok((status, _))) => Err(format!("HTTP {status}")),
        Ok(Err(why)) => Err(why),
        Err(_) => Err("no answer".to_owned()),
    }
}

async fn acts(scene: &Scene, logs: &BTreeMap<String, u64>, clock: Clock) -> Result<Vec<Act>, Stop> {
    let hosts = scene.servers.iter().map(|(host, gate)| (gate.address.ip(), host.clone())).collect();
    audit::acts(&scene.ours, logs, &hosts, clock).await.map_err(|why| undetermined("the audit logs", why))
}

async fn undo_all(ours: &crate::cluster::Ours) -> Result<(), String> {
    let output = ours.fault(&["undo", "--all"]).await.map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}

/// Says what was found, and notes the row.
#[expect(clippy::too_many_arguments, reason = "it is the end of a drill: all of it is needed once")]
fn report(
    ctx: &Ctx,
    drill: &Drill,
    words: Vec<String>,
    times: &Times,
    history: &History,
    judgement: &Judgement,
    bound: Bound,
    scene: &Scene,
) -> Result<(), Stop> {
    let before = measure(&history.probes, times.begun, times.fault);
    let during = measure(&history.probes, times.fault, times.recovered);
    let gap = |all: &[Availability], kind: &str| {
        let one = all.iter().find(|one| one.endpoint == "load-balancer" && one.kind == kind);
        one.map_or(0, |one| one.longest_gap)
    };
    let undisturbed = ["write", "read"].map(|kind| gap(&before, kind)).into_iter().max().unwrap_or_default();
    let noisy = undisturbed > nanoseconds(NOISE);
    let mut slow = Vec::new();
    let mut sound = judgement.is_clean();
    for anomaly in judgement.anomalies.iter().take(20) {
        ctx.breach(&anomaly.key, anomaly.to_string());
    }
    let stayed = times.healed - times.fault;
    let outage = if drill.outage { stayed } else { 0 };
    for (kind, most) in [("write", bound.write), ("read", bound.read)] {
        // What the machine shows by itself stands on top.
        let most = nanoseconds(most) + 2 * undisturbed + outage;
        let found = gap(&during, kind);
        if noisy {
            slow.push(format!("no {kind} was answered for {:.2} s after it", seconds(found)));
        } else if found > most {
            sound = false;
            let (found, most) = (seconds(found), seconds(most));
            let why = format!("no {kind} was answered for {found:.2} s; at most {most:.2} s ({})", bound.because);
            ctx.breach("load-balancer", why);
        }
    }
    if drill.outage {
        let acknowledged = history.operations.iter().filter(|one| {
            let done = matches!(one.outcome, Outcome::Done { .. });
            done && one.invoked > times.in_force && one.completed.is_some_and(|at| at < times.healing)
        });
        let count = acknowledged.count();
        ctx.evidence("writes acknowledged during the outage", count.to_string());
        if count > 0 {
            sound = false;
            ctx.breach("etcd", format!("{count} writes were acknowledged without a majority"));
        }
    }
    let takeovers = takeovers(ctx, drill, times, history, scene, &mut sound);
    let lags = watch::lags(history);
    let late = lags.iter().filter(|lag| lag.acknowledged < times.healed).filter_map(|lag| {
        let arrived = lag.acknowledged + lag.lag?;
        arrived.checked_sub(times.healed)
    });
    let failures = during.iter().filter(|one| one.endpoint == "load-balancer").flat_map(|one| &one.failures);
    let failures = failures.fold(BTreeMap::new(), |mut all: BTreeMap<String, usize>, (why, count)| {
        *all.entry(why.clone()).or_default() += count;
        all
    });
    let lost = judgement.anomalies.iter().filter(|anomaly| anomaly.kind == Kind::LostWrite).count();
    let row = Row {
        fault: drill.name.to_owned(),
        done: words,
        stayed: seconds(stayed),
        write_gap: seconds(gap(&during, "write")),
        read_gap: seconds(gap(&during, "read")),
        list_gap: seconds(gap(&during, "list")),
        bound: seconds(nanoseconds(bound.write) + 2 * undisturbed + outage),
        undisturbed: seconds(undisturbed),
        because: bound.because.to_owned(),
        failures,
        takeovers,
        recovery: seconds(times.recovered - times.healed),
        watch_lag: seconds(late.max().unwrap_or_default()),
        operations: judgement.operations,
        acknowledged: judgement.acknowledged,
        unknown: judgement.unknown,
        events: judgement.events,
        lost,
        anomalies: judgement.anomalies.len() - lost,
        holds: sound,
    };
    evidence(ctx, &row, &during);
    let uid = ctx.target().facts.uid.clone();
    let mut rows = ROWS.lock().unwrap_or_else(PoisonError::into_inner);
    let rows = rows.entry(uid).or_default();
    rows.retain(|other| other.fault != row.fault);
    rows.push(row);
    if !judgement.is_clean() {
        let mut text = Vec::new();
        if history.write(&mut text).is_ok() {
            ctx.keep_file("history.json", String::from_utf8_lossy(&text).into_owned());
        }
    }
    match (judgement.undetermined.first(), slow.is_empty()) {
        (Some(why), _) => Err(Stop::Undetermined(why.clone())),
        // What was found says enough: noise excuses only the gaps.
        (None, _) if !sound => Ok(()),
        (None, true) => Ok(()),
        (None, false) => Err(Stop::Undetermined(format!(
            "the history is as it should be; of the gaps this machine cannot tell, on which {:.2} s passed without an \
             answer before the fault: {}",
            seconds(undisturbed),
            slow.join(", ")
        ))),
    }
}

fn evidence(ctx: &Ctx, row: &Row, during: &[Availability]) {
    ctx.evidence(
        "longest gap of writes",
        format!("{:.2} s (at most {:.2} s: {})", row.write_gap, row.bound, row.because),
    );
    ctx.evidence("longest gap of reads", format!("{:.2} s", row.read_gap));
    ctx.evidence("longest gap of lists", format!("{:.2} s", row.list_gap));
    ctx.evidence("longest gap of writes before the fault", format!("{:.2} s", row.undisturbed));
    for takeover in &row.takeovers {
        let acted = takeover.acted.map_or("never".to_owned(), |acted| format!("{acted:.1} s"));
        let text = format!("acquired after {:.1} s, first act after {acted}", takeover.acquired);
        ctx.evidence(&takeover.lease, text);
    }
    let history = format!(
        "{} operations, {} acknowledged writes, {} of unknown outcome, {} events of watches",
        row.operations, row.acknowledged, row.unknown, row.events
    );
    ctx.evidence("history", history);
    let each: Vec<_> = during
        .iter()
        .filter(|one| one.kind == "write")
        .map(|one| {
            let p99 = one.p99.map_or("none".to_owned(), |p99| format!("{:.0} ms", seconds(p99) * 1000.0));
            format!("{}: gap {:.2} s, p99 {p99}", one.endpoint, seconds(one.longest_gap))
        })
        .collect();
    ctx.evidence("writes at each endpoint", each.join("; "));
}

/// Leases that were acquired after the fault.
fn takeovers(
    ctx: &Ctx,
    drill: &Drill,
    times: &Times,
    history: &History,
    scene: &Scene,
    sound: &mut bool,
) -> Vec<Takeover> {
    let most = scene.constants.takeover();
    let tenures = lease::tenures(history);
    let mut found = Vec::new();
    for tenure in tenures.iter().filter(|tenure| tenure.acquired > times.fault && tenure.acquired < times.recovered) {
        let after = |at: u64| seconds(at.saturating_sub(times.fault));
        found.push(Takeover {
            lease: tenure.lease.clone(),
            acquired: after(tenure.acquired),
            acted: tenure.first_act.map(after),
            bound: most.as_secs_f64(),
        });
    }
    let Stay::Takeover(leases) = drill.stay else { return found };
    for lease in leases {
        let why = match found.iter().find(|takeover| takeover.lease == *lease) {
            None => format!("nobody took the Lease within {:.1} s", seconds(times.healed - times.fault)),
            Some(one) if one.acquired > one.bound => {
                format!(
                    "it was taken after {:.1} s; at most {:.1} s (lease + 2 × 2.2 × retry)",
                    one.acquired, one.bound
                )
            }
            Some(one) if one.acted.is_none() => "its new holder did nothing".to_owned(),
            Some(_) => continue,
        };
        *sound = false;
        ctx.breach(*lease, why);
    }
    found
}
