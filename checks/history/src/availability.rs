//! How available the API was, by probes that a clock sends.
//!
//! Latencies count from the moment at which the clock said "send", so that a prober that was held up by a stall
//! shows it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::record::{Probe, ProbeResult};

/// What one endpoint was like for one kind of request. Times are nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Availability {
    /// The endpoint.
    pub endpoint: String,
    /// What was asked.
    pub kind: String,
    /// How many probes were sent.
    pub sent: usize,
    /// How many of them failed, by what happened to them.
    pub failures: BTreeMap<String, usize>,
    /// The longest time without a successful answer.
    pub longest_gap: u64,
    /// When that began.
    pub gap_from: u64,
    /// The median latency. Nothing if half of the probes failed: a failed one counts as one that is never answered.
    pub p50: Option<u64>,
    /// 99 of 100 probes were answered faster.
    pub p99: Option<u64>,
    /// The slowest one.
    pub slowest: Option<u64>,
}

/// Measures each endpoint and kind between two moments: the probes that were to be sent then.
#[must_use]
pub fn measure(probes: &[Probe], from: u64, to: u64) -> Vec<Availability> {
    let mut streams: BTreeMap<(&str, &str), Vec<&Probe>> = BTreeMap::new();
    for probe in probes.iter().filter(|probe| (from..to).contains(&probe.scheduled)) {
        streams.entry((&probe.endpoint, &probe.kind)).or_default().push(probe);
    }
    streams.into_iter().map(|((endpoint, kind), probes)| stream(endpoint, kind, &probes, from, to)).collect()
}

fn stream(endpoint: &str, kind: &str, probes: &[&Probe], from: u64, to: u64) -> Availability {
    let mut failures: BTreeMap<String, usize> = BTreeMap::new();
    let mut latencies = Vec::new();
    let mut answers = vec![from];
    for probe in probes {
        match &probe.result {
            ProbeResult::Ok => {
                latencies.push(probe.completed.saturating_sub(probe.scheduled));
                answers.push(probe.completed);
            }
            ProbeResult::Failed(why) => *failures.entry(why.clone()).or_default() += 1,
        }
    }
    latencies.sort_unstable();
    answers.sort_unstable();
    answers.push(to.max(answers.last().copied().unwrap_or(to)));
    let longest = answers.windows(2).map(|pair| (pair[1] - pair[0], pair[0]));
    let (longest_gap, gap_from) = longest.fold((0, from), |best, gap| if gap.0 > best.0 { gap } else { best });
    let percentile = |percent: usize| {
        let rank = (probes.len() * percent).div_ceil(100);
        latencies.get(rank.max(1) - 1).copied()
    };
    Availability {
        endpoint: endpoint.to_owned(),
        kind: kind.to_owned(),
        sent: probes.len(),
        longest_gap,
        gap_from,
        p50: percentile(50),
        p99: percentile(99),
        slowest: percentile(100),
        failures,
    }
}
