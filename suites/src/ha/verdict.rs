//! What a drill comes to: anomalies of its history, gaps and takeovers against their bounds, and its row.

use std::collections::BTreeMap;
use std::time::Duration;

use seaworthy_history::availability::{Availability, measure};
use seaworthy_history::{Anomaly, History, Judgment, Kind, Outcome, ProbeResult, lease, watch};

use super::clock::{nanoseconds, seconds};
use super::drill::Times;
use super::faults::{Bound, Drill, Stay};
use super::load::CONNECT;
use super::past::Past;
use super::row::{Row, Takeover};
use super::scene::{BALANCER, Constants};
use crate::cluster::{Ctx, Stop};

/// A machine that shows longer gaps by itself cannot tell those of a fault.
const NOISE: Duration = Duration::from_secs(1);
/// So many anomalies are findings; the others are in the attached history.
const SHOWN: usize = 20;

/// A drill that is over.
pub(super) struct Ended<'a> {
    pub(super) ctx: &'a Ctx,
    pub(super) drill: &'a Drill,
    pub(super) words: Vec<String>,
    pub(super) times: Times,
    pub(super) history: History,
    pub(super) judgment: Judgment,
    pub(super) constants: &'a Constants,
    /// Do audit logs say who wrote what?
    pub(super) acts_known: bool,
    /// The longest gap without a fault.
    pub(super) undisturbed: u64,
    /// The longest time during the fault in which this process itself did not run.
    pub(super) stall: u64,
}

/// Puts anomalies of certain kinds into the findings; of all kinds where none is named.
pub(super) fn breaches<'a>(ctx: &Ctx, anomalies: impl Iterator<Item = &'a Anomaly>, kinds: &[Kind]) -> usize {
    let counted: Vec<_> = anomalies.filter(|one| kinds.is_empty() || kinds.contains(&one.kind)).collect();
    for anomaly in counted.iter().take(SHOWN) {
        ctx.breach(&anomaly.key, anomaly.to_string());
    }
    counted.len()
}

fn gap(all: &[Availability], kind: &str) -> u64 {
    let one = all.iter().find(|one| one.endpoint == BALANCER && one.kind == kind);
    one.map_or(0, |one| one.longest_gap)
}

impl Ended<'_> {
    /// What the machine adds to each bound: what it shows by itself, twice, and what it withheld from this process.
    fn noise(&self) -> u64 {
        2 * self.undisturbed + self.stall
    }

    /// How long the fault stayed.
    fn stayed(&self) -> u64 {
        self.times.healed - self.times.fault
    }

    /// Says what was found, and notes the row.
    pub(super) fn report(self) -> Result<(), Stop> {
        let during = measure(&self.history.probes, self.times.fault, self.times.recovered);
        let bound = (self.drill.bound)(self.constants);
        let mut sound = breaches(self.ctx, self.judgment.anomalies.iter(), self.drill.kinds) == 0;
        let mut untold = self.judgment.undetermined.first().cloned();
        // A drill about certain anomalies is about nothing else.
        let mut takeovers = Vec::new();
        if self.drill.kinds.is_empty() && self.drill.stay.is_bounded() {
            let mut slow = Vec::new();
            sound &= self.gaps(&during, bound, &mut slow) & self.outage() & self.drops(bound);
            takeovers = self.takeovers(bound, &mut sound);
            if !slow.is_empty() {
                let (shown, slow) = (seconds(self.undisturbed.max(self.stall)), slow.join(", "));
                untold.get_or_insert(format!(
                    "the history is as it should be; of the gaps this machine cannot tell, on which {shown:.2} s \
                     passed without an answer and without a fault: {slow}"
                ));
            }
        }
        let row = self.row(&during, bound, takeovers, sound && untold.is_none());
        self.evidence(&row, &during);
        if !self.judgment.is_clean() {
            let mut text = Vec::new();
            if self.history.write(&mut text).is_ok() {
                self.ctx.keep_file("history.json", String::from_utf8_lossy(&text).into_owned());
            }
        }
        let fault = self.drill.name.to_owned();
        Past::change(&self.ctx.target().facts.uid, |past| {
            past.operations += self.judgment.operations;
            past.events += self.judgment.events;
            past.anomalies.extend(self.judgment.anomalies.into_iter().map(|one| (fault.clone(), one)));
            if self.drill.kinds.is_empty() {
                past.put(row);
            }
        });
        match untold {
            // What was found says enough.
            Some(why) if sound => Err(Stop::Undetermined(why)),
            _ => Ok(()),
        }
    }

    /// Holds each gap at the load balancer against its bound. What a noisy machine cannot tell goes to `slow`.
    fn gaps(&self, during: &[Availability], bound: Bound, slow: &mut Vec<String>) -> bool {
        let outage = if self.drill.outage { self.stayed() } else { 0 };
        let noisy = self.undisturbed.max(self.stall) > nanoseconds(NOISE);
        let mut hold = true;
        for (kind, most) in [("write", bound.write), ("read", bound.read)] {
            let most = nanoseconds(most) + self.noise() + outage;
            let found = gap(during, kind);
            let (found, most, over) = (seconds(found), seconds(most), found > most);
            if noisy && over {
                slow.push(format!("no {kind} was answered for {found:.2} s; at most {most:.2} s"));
            } else if over {
                hold = false;
                let why = format!("no {kind} was answered for {found:.2} s; at most {most:.2} s ({})", bound.because);
                self.ctx.breach(BALANCER, why);
            }
        }
        hold
    }

    /// Was every new connection served, once the load balancer had had its time to drop what is dead?
    fn drops(&self, bound: Bound) -> bool {
        if !self.drill.drops {
            return true;
        }
        // A crash is dropped by then, too: what refuses is found as soon as what is silent, or sooner.
        let dropped = bound.read.max(self.constants.silent);
        let from = self.times.fault + nanoseconds(dropped) + self.noise();
        let tried = self.history.probes.iter().filter(|one| one.kind == CONNECT);
        let tried = tried.filter(|one| (from..self.times.healing).contains(&one.scheduled));
        let (served, unserved): (Vec<_>, Vec<_>) = tried.partition(|one| one.result == ProbeResult::Ok);
        let all = served.len() + unserved.len();
        self.ctx.evidence("new connections after the bound", format!("{} of {all} served", served.len()));
        if !unserved.is_empty() {
            let why =
                format!("{} of {all} new connections were not served, {dropped:?} after the fault", unserved.len());
            self.ctx.breach(BALANCER, why);
        }
        unserved.is_empty()
    }

    /// Was nothing acknowledged without a majority?
    fn outage(&self) -> bool {
        if !self.drill.outage {
            return true;
        }
        let acknowledged = self.history.operations.iter().filter(|one| {
            let done = matches!(one.outcome, Outcome::Done { .. });
            let until = self.times.healing;
            done && one.invoked > self.times.in_force && one.completed.is_some_and(|at| at < until)
        });
        let count = acknowledged.count();
        self.ctx.evidence("writes acknowledged during the outage", count.to_string());
        if count > 0 {
            self.ctx.breach("etcd", format!("{count} writes were acknowledged without a majority"));
        }
        count == 0
    }

    /// Leases that were acquired after the fault.
    fn takeovers(&self, bound: Bound, sound: &mut bool) -> Vec<Takeover> {
        // A candidate's look at the Lease and its update are requests: what these may take comes on top.
        let most = self.constants.takeover() + bound.write + Duration::from_nanos(2 * self.noise());
        let times = &self.times;
        let tenures = lease::tenures(&self.history);
        let mut found = Vec::new();
        for tenure in tenures.iter().filter(|tenure| (times.fault..times.recovered).contains(&tenure.acquired)) {
            let after = |at: u64| seconds(at.saturating_sub(times.fault));
            found.push(Takeover {
                lease: tenure.lease.clone(),
                acquired: after(tenure.acquired),
                acted: tenure.first_act.map(after),
                bound: most.as_secs_f64(),
            });
        }
        let Stay::Takeover(leases) = self.drill.stay else { return found };
        for lease in leases {
            let why = match found.iter().find(|takeover| takeover.lease == *lease) {
                None => format!("nobody took the Lease within {:.1} s", seconds(self.stayed())),
                Some(one) if one.acquired > one.bound => {
                    let (acquired, bound) = (one.acquired, one.bound);
                    format!(
                        "it was taken after {acquired:.1} s; at most {bound:.1} s (lease + 2 × 2.2 × retry + requests)"
                    )
                }
                Some(one) if one.acted.is_none() && self.acts_known => "its new holder did nothing".to_owned(),
                Some(_) => continue,
            };
            *sound = false;
            self.ctx.breach(*lease, why);
        }
        found
    }

    fn row(&self, during: &[Availability], bound: Bound, takeovers: Vec<Takeover>, holds: bool) -> Row {
        let Self { history, judgment, times, .. } = self;
        let lags = watch::lags(history);
        let late = lags.iter().filter(|lag| lag.acknowledged < times.healed).filter_map(|lag| {
            let arrived = lag.acknowledged + lag.lag?;
            arrived.checked_sub(times.healed)
        });
        let mut failures: BTreeMap<String, usize> = BTreeMap::new();
        for (why, count) in during.iter().filter(|one| one.endpoint == BALANCER).flat_map(|one| &one.failures) {
            *failures.entry(why.clone()).or_default() += count;
        }
        let lost = judgment.anomalies.iter().filter(|anomaly| anomaly.kind == Kind::LostWrite).count();
        let outage = if self.drill.outage { self.stayed() } else { 0 };
        Row {
            fault: self.drill.name.to_owned(),
            done: self.words.clone(),
            stayed: seconds(self.stayed()),
            write_gap: seconds(gap(during, "write")),
            read_gap: seconds(gap(during, "read")),
            list_gap: seconds(gap(during, "list")),
            bound: if self.drill.stay.is_bounded() {
                seconds(nanoseconds(bound.write) + self.noise() + outage)
            } else {
                0.0
            },
            undisturbed: seconds(self.undisturbed),
            because: bound.because.to_owned(),
            failures,
            takeovers,
            recovery: seconds(times.recovered - times.healed),
            watch_lag: seconds(late.max().unwrap_or_default()),
            operations: judgment.operations,
            acknowledged: judgment.acknowledged,
            unknown: judgment.unknown,
            events: judgment.events,
            lost,
            anomalies: judgment.anomalies.len() - lost,
            holds,
        }
    }

    fn evidence(&self, row: &Row, during: &[Availability]) {
        let say = |label: &str, text: String| self.ctx.evidence(label, text);
        let at_most = format!(" (at most {:.2} s: {})", row.bound, row.because);
        let at_most = if self.drill.stay.is_bounded() { at_most } else { String::new() };
        say("longest gap of writes", format!("{:.2} s{at_most}", row.write_gap));
        say("longest gap of reads", format!("{:.2} s", row.read_gap));
        say("longest gap of lists", format!("{:.2} s", row.list_gap));
        say("longest gap without a fault", format!("{:.2} s", row.undisturbed));
        say("longest stall of this process", format!("{:.2} s", seconds(self.stall)));
        say("all answers again after", format!("{:.2} s", row.recovery));
        for takeover in &row.takeovers {
            let acted = takeover.acted.map_or("never".to_owned(), |acted| format!("{acted:.1} s"));
            say(&takeover.lease, format!("acquired after {:.1} s, first act after {acted}", takeover.acquired));
        }
        let history = format!(
            "{} operations, {} acknowledged writes, {} of unknown outcome, {} events of watches",
            row.operations, row.acknowledged, row.unknown, row.events
        );
        say("history", history);
        let each: Vec<_> = during
            .iter()
            .filter(|one| one.kind == "write")
            .map(|one| {
                let p99 = one.p99.map_or("none".to_owned(), |p99| format!("{:.0} ms", seconds(p99) * 1000.0));
                format!("{}: gap {:.2} s, p99 {p99}", one.endpoint, seconds(one.longest_gap))
            })
            .collect();
        say("writes at each endpoint", each.join("; "));
    }
}
