//! Leases: they go from holder to holder in order, and nobody acts under one that another one holds.

use std::collections::BTreeMap;

use crate::anomaly::{Anomaly, Kind, seconds};
use crate::record::{Act, History, LeaseRecord};

/// A time in which one candidate held a Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenure {
    /// The Lease.
    pub lease: String,
    /// Who held it.
    pub holder: String,
    /// When it was acquired.
    pub acquired: u64,
    /// The last renewal that was seen.
    pub renewed: u64,
    /// How often the Lease had changed its holder.
    pub transitions: u64,
    /// When it was released, if it was.
    pub released: Option<u64>,
    /// What the holder first wrote under it.
    pub first_act: Option<u64>,
}

/// Who held each Lease, one after the other.
#[must_use]
pub fn tenures(history: &History) -> Vec<Tenure> {
    by_lease(history).into_values().flat_map(|(records, acts)| of_lease(&records, &acts)).collect()
}

/// Checks every Lease of a history and what was written under it.
#[must_use]
pub fn leases(history: &History) -> Vec<Anomaly> {
    let mut anomalies = Vec::new();
    for (lease, (records, acts)) in by_lease(history) {
        for pair in records.windows(2) {
            anomalies.extend(handover(lease, pair[0], pair[1]));
        }
        let tenures = of_lease(&records, &acts);
        anomalies.extend(acts.iter().filter_map(|act| without_lease(&tenures, act)));
    }
    anomalies
}

type Records<'a> = (Vec<&'a LeaseRecord>, Vec<&'a Act>);

fn by_lease(history: &History) -> BTreeMap<&str, Records<'_>> {
    let mut all: BTreeMap<&str, Records<'_>> = BTreeMap::new();
    for record in &history.leases {
        all.entry(&record.lease).or_default().0.push(record);
    }
    for act in &history.acts {
        all.entry(&act.lease).or_default().1.push(act);
    }
    for (records, acts) in all.values_mut() {
        records.sort_by_key(|record| record.version);
        acts.sort_by_key(|act| act.at);
    }
    all
}

fn handover(lease: &str, before: &LeaseRecord, after: &LeaseRecord) -> Vec<Anomaly> {
    let (Some(from), Some(to)) = (&before.holder, &after.holder) else { return Vec::new() };
    if from == to {
        return Vec::new();
    }
    let mut anomalies = Vec::new();
    let runs_out = before.renewed.saturating_add(before.duration);
    if after.acquired < runs_out {
        let detail =
            format!("{to} took it at {} s; {from} had it until {} s", seconds(after.acquired), seconds(runs_out));
        anomalies.push(Anomaly::new(Kind::LeaseTakenEarly, lease, detail).at(after.at));
    }
    if after.transitions <= before.transitions {
        let detail = format!("it went from {from} to {to} with leaseTransitions {}", after.transitions);
        anomalies.push(Anomaly::new(Kind::TransitionNotCounted, lease, detail).at(after.at));
    }
    anomalies
}

fn of_lease(records: &[&LeaseRecord], acts: &[&Act]) -> Vec<Tenure> {
    let mut all: Vec<Tenure> = Vec::new();
    for record in records {
        match (all.last_mut(), &record.holder) {
            (Some(last), Some(holder))
                if last.holder == *holder && last.released.is_none() && last.transitions == record.transitions =>
            {
                last.renewed = record.renewed;
            }
            (_, Some(holder)) => all.push(Tenure {
                lease: record.lease.clone(),
                holder: holder.clone(),
                acquired: record.acquired,
                renewed: record.renewed,
                transitions: record.transitions,
                released: None,
                first_act: None,
            }),
            (Some(last), None) => last.released = last.released.or(Some(record.at)),
            (None, None) => {}
        }
    }
    for at in 0..all.len() {
        let until = all.get(at + 1).map_or(u64::MAX, |next| next.acquired);
        let tenure = &mut all[at];
        let first = acts.iter().find(|act| act.author == tenure.holder && (tenure.acquired..until).contains(&act.at));
        tenure.first_act = first.map(|act| act.at);
    }
    all
}

fn without_lease(tenures: &[Tenure], act: &Act) -> Option<Anomaly> {
    let last = tenures.iter().rev().find(|tenure| tenure.acquired <= act.at)?;
    if last.holder == act.author {
        return None;
    }
    let since = seconds(last.acquired);
    let detail = format!("{} wrote ({}), and {} had the Lease since {since} s", act.author, act.what, last.holder);
    Some(Anomaly::new(Kind::ActedWithoutLease, &act.lease, detail).at(act.at))
}
