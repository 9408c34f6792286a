//! What a fault showed: one row of the table, for people and as JSON.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// The table as JSON.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Table {
    /// The version of this form.
    pub(super) version: u32,
    /// Kubernetes' version.
    pub(super) kubernetes: String,
    /// What the bounds are computed from, in words.
    pub(super) constants: String,
    /// One for each fault.
    pub(super) rows: Vec<Row>,
}

/// What one fault showed. Times are seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    /// The fault.
    pub(super) fault: String,
    /// What was done: the words of `seaworthy cluster fault`.
    pub(super) done: Vec<String>,
    /// How long the fault was there.
    pub(super) stayed: f64,
    /// The longest time without an acknowledged write at the load balancer.
    pub(super) write_gap: f64,
    /// The longest time without an answered read.
    pub(super) read_gap: f64,
    /// The longest time without a list.
    pub(super) list_gap: f64,
    /// The greatest write gap that the cluster's constants allow; 0 where faults meet that nobody planned.
    pub(super) bound: f64,
    /// The longest write gap before the fault: what the machine itself shows.
    pub(super) undisturbed: f64,
    /// How the bound is computed.
    pub(super) because: String,
    /// Failed requests at the load balancer, by what happened to them.
    pub(super) failures: std::collections::BTreeMap<String, usize>,
    /// Leases that went to another holder.
    pub(super) takeovers: Vec<Takeover>,
    /// From the end of the fault until everything was answered again.
    pub(super) recovery: f64,
    /// How long after the end of the fault the slowest watch had all that was written before.
    pub(super) watch_lag: f64,
    /// Requests whose answers were judged.
    pub(super) operations: usize,
    /// Acknowledged writes.
    pub(super) acknowledged: usize,
    /// Requests of unknown outcome.
    pub(super) unknown: usize,
    /// Events of watches.
    pub(super) events: usize,
    /// Acknowledged writes that are lost.
    pub(super) lost: usize,
    /// Everything else that is wrong with the history.
    pub(super) anomalies: usize,
    /// Did all hold?
    pub(super) holds: bool,
}

/// A Lease that went to another holder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Takeover {
    pub(super) lease: String,
    /// From the fault until it was acquired.
    pub(super) acquired: f64,
    /// From the fault until its new holder first wrote something.
    pub(super) acted: Option<f64>,
    /// The greatest time that the Lease's constants allow.
    pub(super) bound: f64,
}

/// The version of the JSON form.
pub(super) const VERSION: u32 = 1;

impl Table {
    pub(super) fn schema() -> String {
        let schema = schemars::schema_for!(Self);
        serde_json::to_string_pretty(&schema).unwrap_or_default()
    }

    pub(super) fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// As Markdown.
    pub(super) fn markdown(&self) -> String {
        let mut text = format!("Kubernetes {}. {}\n\n", self.kubernetes, self.constants);
        text += "| fault | write gap | read gap | bound | takeover: acquired, acted | lost | operations | verdict |\n";
        text += "|---|---|---|---|---|---|---|---|\n";
        for row in &self.rows {
            let takeovers: Vec<_> = row.takeovers.iter().map(Takeover::words).collect();
            let takeovers = if takeovers.is_empty() { "-".to_owned() } else { takeovers.join("; ") };
            let verdict = if row.holds { "holds" } else { "**fails**" };
            let _ = writeln!(
                text,
                "| {} | {:.2} s | {:.2} s | {:.1} s | {takeovers} | {} | {} | {verdict} |",
                row.fault, row.write_gap, row.read_gap, row.bound, row.lost, row.operations
            );
        }
        text
    }
}

impl Takeover {
    fn words(&self) -> String {
        let short = self.lease.trim_start_matches("kube-");
        let acted = self.acted.map_or("never".to_owned(), |acted| format!("{acted:.1} s"));
        format!("{short} {:.1} s, {acted} (at most {:.1} s)", self.acquired, self.bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row {
            fault: "api-server-crash".to_owned(),
            done: vec!["kill cp1/kube-apiserver".to_owned()],
            stayed: 4.0,
            write_gap: 0.123,
            read_gap: 0.1,
            list_gap: 0.1,
            bound: 0.3,
            undisturbed: 0.05,
            because: "reset".to_owned(),
            failures: std::collections::BTreeMap::new(),
            takeovers: vec![Takeover {
                lease: "kube-scheduler".to_owned(),
                acquired: 15.2,
                acted: Some(15.4),
                bound: 23.8,
            }],
            recovery: 3.0,
            watch_lag: 0.2,
            operations: 1200,
            acknowledged: 300,
            unknown: 4,
            events: 1000,
            lost: 0,
            anomalies: 0,
            holds: true,
        }
    }

    #[test]
    fn a_table_is_read_by_people_and_matches_its_schema() {
        let kubernetes = "v1.37.2".to_owned();
        let table =
            Table { version: VERSION, kubernetes, constants: "Leases hold 15 s.".to_owned(), rows: vec![row()] };
        let line = "| api-server-crash | 0.12 s | 0.10 s | 0.3 s | scheduler 15.2 s, 15.4 s (at most 23.8 s) | 0 | \
                    1200 | holds |";
        assert!(table.markdown().contains(line), "{}", table.markdown());
        let back: Table = serde_json::from_str(&table.json()).unwrap();
        assert_eq!(back.rows, table.rows);
        let schema: serde_json::Value = serde_json::from_str(&Table::schema()).unwrap();
        let known = schema["$defs"]["Row"]["properties"].as_object().unwrap();
        let written: serde_json::Value = serde_json::from_str(&table.json()).unwrap();
        for field in written["rows"][0].as_object().unwrap().keys() {
            assert!(known.contains_key(field), "{field}");
        }
    }
}
