//! One drill: load and watchers, a fault, its end, and the judgment of what was recorded.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use seaworthy_history::{Act, Final, History, Judgment, Kind, Operation, Seen, judge};
use tokio::time::Instant;

use super::audit;
use super::clock::{Clock, nanoseconds, seconds};
use super::faults::{Cast, Drill, Stay};
use super::load::{ANSWERED, Load, Place};
use super::long;
use super::past::Past;
use super::pulse::Pulse;
use super::scene::{BALANCER, Scene};
use super::verdict::Ended;
use super::watcher::{self, LEASES, Leases, Objects};
use super::wire::Gate;
use super::work::Work;
use crate::cluster::{Ctx, Ref, Stop};

/// How many answers of each endpoint and kind say that it serves.
const ANSWERS: usize = 10;
/// How many show what the machine is like without a fault.
const QUIET: usize = 30;
/// A gap that says nothing of the load: a process that starts, a garbage collection.
const BORNE: Duration = Duration::from_millis(500);
/// How many windows a load is given before a slower one is tried: what has just started is busy with itself.
const WINDOWS: usize = 3;
/// How long each may take.
const READY: Duration = Duration::from_secs(30);
/// How long both Leases may take to be held.
const HELD: Duration = Duration::from_secs(60);
/// How long all may take to be well after a fault.
const RECOVERY: Duration = Duration::from_secs(60);
/// How long watches may take to have everything after that.
const FRESH: Duration = Duration::from_secs(30);
/// Without a majority: until requests are seen to fail.
const REFUSED: Duration = Duration::from_secs(30);
/// From when a Lease is taken until its holder has caches and acts.
const FIRST_ACT: Duration = Duration::from_secs(30);
/// So many new connections show that the load balancer has dropped what is dead.
const CONNECTS: usize = 16;
/// So often a successor acts beside a holder that continues, while that one is watched.
const BESIDE: usize = 5;
/// Between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(50);
/// The same where a look is a question to each host.
const ASK: Duration = Duration::from_millis(500);

pub(super) fn undetermined(what: &str, why: impl std::fmt::Display) -> Stop {
    Stop::Undetermined(format!("{what}: {why}"))
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
    pulse: Pulse,
    logs: BTreeMap<String, u64>,
    /// The faults of this drill.
    begun: Arc<Mutex<Vec<String>>>,
    /// What an earlier load did.
    before: Vec<Operation>,
    /// The longest gap that the cluster and the machine showed without a fault.
    undisturbed: u64,
}

/// When what happened.
pub(super) struct Times {
    pub(super) fault: u64,
    pub(super) in_force: u64,
    pub(super) healing: u64,
    pub(super) healed: u64,
    pub(super) recovered: u64,
}

/// Runs a drill. What does not hold is a finding.
pub(super) async fn run(ctx: Ctx, drill: &'static Drill) -> Result<(), Stop> {
    let scene = Scene::find(&ctx).await?;
    if drill.resumes && scene.hands.ours().is_none() {
        let why = "who acts beside its successor shows in audit logs, which are read on hosts of ours only";
        return Err(Stop::NotApplicable(why.to_owned()));
    }
    let clock = Clock::new();
    let place = Place { namespace: ctx.namespace().to_owned() };
    let gates = scene.gates();
    let uid = ctx.target().facts.uid.clone();
    let paces = Past::of(&uid).paces();
    let work = Work::start(&ctx, scene.balancer.clone()).await?;
    let logs = match scene.hands.ours() {
        Some(ours) => audit::sizes(ours, scene.servers.keys()).await,
        None => BTreeMap::new(),
    };
    let watchers = gates.iter().map(|gate| watcher::objects(gate, &place, clock)).collect();
    let leases = watcher::leases(&scene.balancer, clock);
    let load = Load::start(&gates, &place, clock, paces[0]);
    let (pulse, begun, before) = (Pulse::start(clock), Arc::default(), Vec::new());
    let mut run = Run {
        ctx: &ctx,
        scene,
        clock,
        place,
        load,
        watchers,
        leases,
        work,
        pulse,
        logs,
        begun,
        before,
        undisturbed: 0,
    };
    for (number, interval) in (1..).zip(paces) {
        let last = number == paces.len();
        if number > 1 {
            // What was recorded so far happened: the history needs it.
            let slower = Load::start(&gates, &run.place, clock, *interval);
            run.before.extend(std::mem::replace(&mut run.load, slower).stop().await.0);
        }
        let rate = 1000 / interval.as_millis();
        run.ctx.step(format!("load on {} endpoints, {rate} requests of each kind a second", gates.len()));
        match run.calm(if last { 1 } else { WINDOWS }).await {
            Ok(gap) if last || gap <= nanoseconds((*interval * 4).max(BORNE)) => {
                run.undisturbed = Past::change(&uid, |past| past.undisturbed(gap));
                return run.all(drill, *interval).await;
            }
            Ok(gap) => {
                run.ctx.step(format!("{:.2} s without an answer and without a fault: fewer requests", seconds(gap)))
            }
            Err(why) if last => return Err(undetermined("before the fault", why)),
            Err(why) => run.ctx.step(why),
        }
        Past::change(&uid, Past::slow_down);
    }
    Ok(())
}

impl Run<'_> {
    /// Waits until each endpoint serves; then the longest gap of a while without a fault.
    async fn calm(&self, windows: usize) -> Result<u64, String> {
        self.steady(self.clock.now(), ANSWERS, READY).await?;
        let mut gap = 0;
        for _ in 0..windows {
            let from = self.clock.now();
            self.steady(from, QUIET, READY).await?;
            gap = self.load.longest_gap(BALANCER, from, self.clock.now());
            if gap <= nanoseconds(BORNE) {
                break;
            }
        }
        Ok(gap)
    }

    async fn all(self, drill: &Drill, interval: Duration) -> Result<(), Stop> {
        self.ctx.evidence("interval of probes", format!("{} ms", interval.as_millis()));
        let cast = self.cast().await?;
        let mut words = (drill.words)(&cast);
        let fault = self.clock.now();
        self.begin(drill, &words).await?;
        let in_force = self.clock.now();
        match drill.stay {
            Stay::Soak => words = self.soak().await?,
            _ => self.stay(drill, &cast, fault).await,
        }
        let healing = self.clock.now();
        self.undo().await?;
        let healed = self.clock.now();
        if let Err(why) = self.steady(healing, ANSWERS, RECOVERY).await {
            self.ctx.breach(drill.name, format!("{RECOVERY:?} after the fault not all is well: {why}"));
        }
        let recovered = self.clock.now();
        if let (true, Stay::Takeover(leases)) = (drill.resumes, drill.stay) {
            self.beside(leases, healed).await?;
        }
        self.finish(drill, words, Times { fault, in_force, healing, healed, recovered }).await
    }

    /// Faults at random, one after the other. The words of all of them.
    async fn soak(&self) -> Result<Vec<String>, Stop> {
        let (span, seed) = long::span(Stay::Soak);
        self.ctx.step(format!("faults at random for {span:?}; to see the same ones again: --seed {seed}"));
        self.ctx.evidence("seed", seed.to_string());
        let choices = long::choices();
        let mut random = fastrand::Rng::with_seed(seed);
        let (end, mut all) = (Instant::now() + span, Vec::new());
        while Instant::now() < end {
            let drill = choices[random.usize(..choices.len())];
            let cast = self.cast().await?;
            let words = (drill.words)(&cast);
            let fault = self.clock.now();
            self.begin(drill, &words).await?;
            self.stay(drill, &cast, fault).await;
            self.undo().await?;
            if let Err(why) = self.steady(self.clock.now(), ANSWERS, RECOVERY).await {
                self.ctx.breach(drill.name, format!("{RECOVERY:?} after the fault not all is well: {why}"));
            }
            all.extend(words);
        }
        Ok(all)
    }

    /// Waits until each endpoint has answered so many requests of each kind.
    async fn steady(&self, since: u64, answers: usize, patience: Duration) -> Result<(), String> {
        self.served(&self.scene.gates(), since, answers, patience).await
    }

    async fn served(&self, gates: &[Arc<Gate>], since: u64, answers: usize, patience: Duration) -> Result<(), String> {
        let deadline = Instant::now() + patience;
        loop {
            let answered = self.load.answered(since);
            let lacking: Vec<_> = gates
                .iter()
                .flat_map(|gate| ANSWERED.map(|kind| (gate.name.clone(), kind.to_owned())))
                .filter(|stream| answered.get(stream).is_none_or(|count| *count < answers))
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
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until something is so, and says whether it became so.
    async fn until(&self, patience: Duration, mut is_so: impl FnMut() -> bool) -> bool {
        let deadline = Instant::now() + patience;
        while !is_so() {
            if Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(LOOK).await;
        }
        true
    }

    /// Who plays which part now. Waits until both Leases are held and etcd has a leader.
    async fn cast(&self) -> Result<Cast, Stop> {
        let held = |lease| self.leases.look(|log| log.last(lease).and_then(|record| record.holder.clone()));
        self.until(HELD, || LEASES.map(held).iter().all(Option::is_some)).await;
        let [Some(manager), Some(scheduler)] = LEASES.map(held) else {
            return Err(undetermined("before the fault", "a Lease of the control plane is not held"));
        };
        let deadline = Instant::now() + HELD;
        let etcd_leader = loop {
            match self.scene.etcd_leader().await {
                Err(stop) if Instant::now() > deadline => return Err(stop),
                Err(_) => tokio::time::sleep(ASK).await,
                Ok(leader) => break leader,
            }
        };
        let etcd_followers = self.scene.etcd_followers(&etcd_leader);
        let mut planes = self.scene.planes.clone();
        planes.sort_by_key(|host| [&etcd_leader, &manager, &scheduler].into_iter().filter(|one| *one == host).count());
        let (workers, balancer) = (self.scene.workers.clone(), self.scene.hands.balancer());
        Ok(Cast { etcd_leader, etcd_followers, manager, scheduler, planes, workers, balancer })
    }

    async fn begin(&self, drill: &Drill, words: &[String]) -> Result<(), Stop> {
        let (hands, begun) = (self.scene.hands.clone(), self.begun.clone());
        self.ctx.undo("faults", async move { hands.end(&known(&begun)).await });
        for words in words {
            self.ctx.step(format!("fault: {words}"));
            let id = self.scene.hands.begin(words).await?;
            self.begun.lock().unwrap_or_else(PoisonError::into_inner).push(id);
            if drill.stay == Stay::Rolling
                && let Err(why) = self.steady(self.clock.now(), ANSWERS, RECOVERY).await
            {
                self.ctx.breach(drill.name, format!("{RECOVERY:?} after {words} not all is well: {why}"));
            }
        }
        Ok(())
    }

    async fn undo(&self) -> Result<(), Stop> {
        self.ctx.step("the fault ends");
        self.scene.hands.end(&known(&self.begun)).await.map_err(|why| undetermined("undo", why))
    }

    async fn stay(&self, drill: &Drill, cast: &Cast, since: u64) {
        match drill.stay {
            Stay::Bound => {
                let bound = (drill.bound)(&self.scene.constants);
                let bound = bound.write.max(bound.read).max(self.scene.constants.silent)
                    + 2 * Duration::from_nanos(self.undisturbed);
                tokio::time::sleep(bound).await;
                let past = self.clock.now();
                self.until(READY, || !drill.drops || self.load.connects(past) >= CONNECTS).await;
                // Whether it serves again shows in its gaps.
                let balancer = [self.scene.balancer.clone()];
                self.served(&balancer, self.clock.now(), ANSWERS, self.scene.constants.silent).await.ok();
            }
            Stay::Refused => {
                let from = self.clock.now();
                self.until(REFUSED, || self.load.failed(BALANCER, from) >= ANSWERS).await;
            }
            Stay::Takeover(leases) => {
                let taken = |lease: &&str| {
                    self.leases.look(|log| {
                        log.last(lease).is_some_and(|record| record.holder.is_some() && record.acquired > since)
                    })
                };
                let limit = self.scene.constants.takeover() + RECOVERY;
                if self.until(limit, || leases.iter().all(taken)).await && self.scene.hands.ours().is_some() {
                    self.acted(leases, since, 1, FIRST_ACT).await.ok();
                }
            }
            Stay::Rolling => {}
            Stay::NotReady => self.not_ready(drill, cast).await,
            Stay::Observe => tokio::time::sleep(long::span(Stay::Observe).0).await,
            // Its faults stay one by one.
            Stay::Soak => {}
        }
    }

    /// Waits until the holder of each Lease has acted so often since it acquired it, or since a later moment.
    async fn acted(&self, leases: &[&str], since: u64, count: usize, patience: Duration) -> Result<(), Stop> {
        let deadline = Instant::now() + patience;
        loop {
            let acts = acts(&self.scene, &self.logs, self.clock).await?;
            let lacking = leases.iter().find(|lease| {
                let last = self.leases.look(|log| log.last(lease).map(|last| (last.holder.clone(), last.acquired)));
                let Some((Some(holder), acquired)) = last else { return true };
                let from = acquired.max(since);
                let own = acts.iter().filter(|act| act.lease == **lease && act.author == holder && act.at >= from);
                own.count() < count
            });
            let Some(lacking) = lacking else { return Ok(()) };
            if Instant::now() > deadline {
                return Err(undetermined(lacking, format!("its holder acted less than {count} times in {patience:?}")));
            }
            tokio::time::sleep(ASK).await;
        }
    }

    /// Watches holders that continue: past the time by which they must give up, until their successors have acted
    /// often enough that two would have met.
    async fn beside(&self, leases: &[&str], healed: u64) -> Result<(), Stop> {
        self.ctx.step("watching the holder that continues");
        let given_up = healed + nanoseconds(self.scene.constants.gives_up());
        let ahead = Duration::from_nanos(given_up.saturating_sub(self.clock.now()));
        tokio::time::sleep(ahead).await;
        self.acted(leases, given_up, BESIDE, RECOVERY).await
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
            tokio::time::sleep(ASK).await;
            // Whoever does not answer says nothing of the node.
            let Ok(node) = self.ctx.get(&place).await else { continue };
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
        let Self { ctx, scene, clock, place, load, watchers, leases, work, pulse, logs, before, undisturbed, .. } =
            self;
        work.stop().await;
        let (mut operations, probes) = load.stop().await;
        operations.splice(0..0, before);
        let places = scene.places().len() + scene.members.len();
        ctx.step(format!("reading {} operations back from {} places", operations.len(), places));
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
        let judgment = tokio::task::spawn_blocking(move || judge(&judged)).await;
        let mut judgment = judgment.map_err(|error| undetermined("a defect of seaworthy", error))?;
        let stall = pulse.longest(times.fault, times.recovered);
        if drill.resumes {
            let until = times.healed + nanoseconds(scene.constants.gives_up()) + 2 * undisturbed + stall;
            allow_until(until, &mut judgment, times.healing, ctx);
        }
        let (constants, acts_known) = (&scene.constants, scene.hands.ours().is_some());
        let ended = Ended { ctx, drill, words, times, history, judgment, constants, acts_known, undisturbed, stall };
        ended.report()
    }
}

/// Takes out what a holder that continued did before it had to give up, and says how much that was.
fn allow_until(until: u64, judgment: &mut Judgment, from: u64, ctx: &Ctx) {
    let (mut count, mut last) = (0, from);
    judgment.anomalies.retain(|one| {
        let Some(at) = one.at.filter(|at| one.kind == Kind::ActedWithoutLease && *at <= until) else { return true };
        (count, last) = (count + 1, last.max(at));
        false
    });
    let span = format!("{count} writes, the last one {:.1} s after it continued", seconds(last - from));
    ctx.evidence("the former holder beside its successor", span);
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
    for gate in scene.places() {
        let host = &gate.name;
        let deadline = Instant::now() + RECOVERY;
        let (version, objects) = loop {
            match list(&gate, place).await {
                Ok(listed) => break listed,
                Err(why) if Instant::now() > deadline => return Err(undetermined(&format!("reading {host}"), why)),
                Err(_) => tokio::time::sleep(ASK).await,
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
    let Some(ours) = scene.hands.ours() else { return Ok(Vec::new()) };
    audit::acts(ours, logs, &hosts, clock).await.map_err(|why| undetermined("the audit logs", why))
}

/// The faults that were begun so far.
fn known(begun: &Mutex<Vec<String>>) -> Vec<String> {
    begun.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
