//! What a run measured, and what Kubernetes' objectives say of it.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use seaworthy_simulated::Counts;
use serde::Serialize;

use super::{Machine, Spent};

/// Latencies, counted in microseconds up to five minutes with three digits.
#[derive(Debug, Clone)]
pub(crate) struct Hist(Histogram<u64>);

impl Default for Hist {
    fn default() -> Self {
        let made = Histogram::new_with_bounds(1, 300_000_000, 3);
        // The bounds are constants that the library accepts.
        Self(made.unwrap_or_else(|_| Histogram::new_from(&Histogram::<u64>::new(3).expect("three digits are allowed"))))
    }
}

impl Hist {
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.saturating_record(time.as_micros().clamp(1, 300_000_000) as u64);
    }

    pub(crate) fn summary(&self) -> Latency {
        let at = |quantile: f64| self.0.value_at_quantile(quantile) as f64 / 1e6;
        Latency { count: self.0.len(), p50: at(0.5), p90: at(0.9), p99: at(0.99), max: self.0.max() as f64 / 1e6 }
    }
}

/// Latencies in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Latency {
    /// How many.
    pub count: u64,
    /// Half took less.
    pub p50: f64,
    /// Nine of ten took less.
    pub p90: f64,
    /// 99 of 100 took less.
    pub p99: f64,
    /// The slowest one.
    pub max: f64,
}

/// Values over time, one a second.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Series {
    /// Pods that were ready.
    pub ready: Vec<u64>,
    /// Pods that the scheduler had placed.
    pub bound: Vec<u64>,
}

/// A latency objective of Kubernetes, and how it was met.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Objective {
    /// About what: `POST configmaps resource`.
    pub about: String,
    /// What the 99th percentile may be, in seconds.
    pub most: f64,
    /// What it was.
    pub latency: Latency,
    /// Requests that had no answer, or a refusal.
    pub failed: u64,
}

impl Objective {
    /// Is it met?
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.latency.p99 <= self.most && self.failed == 0
    }
}

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The profile.
    pub profile: &'static str,
    /// Nodes that were asked for, and that were ready.
    pub nodes: (u64, u64),
    /// Pods that were asked for, and that were ready at the same time.
    pub pods: (u64, u64),
    /// Containers of pods that were ready at the same time.
    pub containers: u64,
    /// The part of the documented envelope that was reached: the smallest of nodes, pods and containers.
    pub envelope: f64,
    /// Seconds until every node was ready and schedulable.
    pub nodes_seconds: f64,
    /// Seconds from the first pod's creation until the last one was ready.
    pub fill_seconds: f64,
    /// Pods that the scheduler placed each second, the first and last twentieth left out.
    pub scheduled_per_second: f64,
    /// How many pods the scheduler placed while they were counted.
    pub scheduled: u64,
    /// Seconds until every pod was gone; none if some stayed.
    pub deletion_seconds: Option<f64>,
    /// Why the API server refused to delete pods, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_refused: Option<String>,
    /// Times from a pod's due creation to its being ready, as the watch shows it.
    pub startup: Latency,
    /// Pods that were created for that and did not become ready.
    pub not_started: u64,
    /// Times from an acknowledged creation to its event.
    pub watch: Latency,
    /// Requests by verb, resource and scope, timed from when they were due.
    pub requests: Vec<Objective>,
    /// The same by the API server's own histograms, over the measured time: 99th percentile in seconds and count.
    pub server: BTreeMap<String, (f64, u64)>,
    /// How much later than due requests were sent.
    pub lag: Latency,
    /// What the simulated nodes counted, while all was there.
    pub fleet: Counts,
    /// The API server's resident memory in MiB, before and after the pods were created.
    pub server_memory: (u64, u64),
    /// etcd's database in MiB, before and after.
    pub database: (u64, u64),
    /// Over time.
    pub series: Series,
    /// The processor time and memory of this process, which is generator and simulated nodes.
    pub spent: Spent,
    /// Where it ran.
    pub machine: Machine,
}

impl Report {
    /// Was the generator itself so late that what it measured says more of this machine than of the control plane?
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.lag.p99 > 0.5
    }

    /// What perf-dash and other readers of ClusterLoader2's summaries take: `PodStartupLatency` and
    /// `APIResponsiveness`.
    #[must_use]
    pub fn perf_dash(&self) -> serde_json::Value {
        let data = |latency: &Latency| {
            serde_json::json!({
                "Perc50": latency.p50 * 1e3, "Perc90": latency.p90 * 1e3, "Perc99": latency.p99 * 1e3,
            })
        };
        let mut items = vec![serde_json::json!({
            "data": data(&self.startup), "unit": "ms", "labels": { "Metric": "pod_startup" },
        })];
        for one in &self.requests {
            let mut words = one.about.split(' ');
            let mut word = || words.next().unwrap_or_default().to_owned();
            let (verb, resource, scope) = (word(), word(), word());
            items.push(serde_json::json!({
                "data": data(&one.latency), "unit": "ms",
                "labels": {
                    "Verb": verb, "Resource": resource, "Scope": scope, "Count": one.latency.count.to_string(),
                },
            }));
        }
        serde_json::json!({ "version": "v1", "dataItems": items })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_are_quantiles_in_seconds() {
        let mut hist = Hist::default();
        (1..=1000).for_each(|millis| hist.add(Duration::from_millis(millis)));
        let summary = hist.summary();
        assert_eq!(summary.count, 1000);
        for (found, wanted) in [(summary.p50, 0.5), (summary.p99, 0.99), (summary.max, 1.0)] {
            assert!((found - wanted).abs() < 0.002, "{found} is not {wanted}");
        }
        hist.add(Duration::from_secs(3600));
        assert!((hist.summary().max - 300.0).abs() < 1.0, "what is slower counts as the slowest");
        let objective = |most: f64, failed| Objective { about: String::new(), most, latency: summary, failed };
        assert!(objective(1.0, 0).is_met() && !objective(0.9, 0).is_met() && !objective(1.0, 1).is_met());
    }
}
