//! The large-scale suite as people run it: on a cluster that it raises, sound or with one defect.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::lab::{Lab, Ran, ran};

/// A load that two cores carry beside whatever else they do and that has something to schedule: 100 nodes and 3,000
/// pods.
const SMALL: [&str; 4] = ["--profile", "envelope", "--scale", "0.02"];

/// The same with few pods, for defects that need no more.
const FEW: [&str; 4] = ["--profile", "churn", "--scale", "0.02"];

/// Runs the suite with these words; its report's verdicts by id, as outcome and the texts of the findings.
fn run(lab: &Lab, name: &str, words: &[&str]) -> (Ran, BTreeMap<String, (String, String)>) {
    let folder = Path::new("/mnt").join(name);
    let mut command = lab.program();
    command.args(["run", "--suite", "large-scale", "--format", "json", "-O"]).arg(&folder).args(words);
    let ran = ran(&mut command);
    let text = std::fs::read_to_string(folder.join("report.json"));
    let text = text.unwrap_or_else(|error| panic!("{name}: {error}\n{}{}", ran.out, ran.err));
    let report: Value = serde_json::from_str(&text).unwrap();
    let results = report["results"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let verdict = |one: &Value| (text(&one["trial"]), (text(&one["verdict"]["outcome"]), one["verdict"].to_string()));
    let verdicts: BTreeMap<_, _> = results.iter().map(verdict).collect();
    assert!(!verdicts.is_empty(), "{name}: {report:#}");
    (ran, verdicts)
}

/// What CI runs: 500 nodes and 10,000 pods, with verdicts.
pub(super) fn healthy(lab: &Lab) {
    let (ran, verdicts) = run(lab, "healthy", &[]);
    let load = |name: &str| &verdicts[&format!("large-scale.load.{name}")];
    let summary = &load("filled").1;
    // What a slow machine is too slow for is no failure of this test; one that is in time has to reach the plan.
    let late = summary.split("requests were sent late by").nth(1).and_then(|rest| rest.split('"').nth(4));
    let late: f64 = late.and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("{summary}"));
    println!("    requests were sent {late} s late (p99)");
    let timed = ["limits.api-latency", "load.pod-startup", "load.scheduler", "load.api-writes", "load.api-reads"];
    let bears = |id: &str| timed.iter().any(|name| id.ends_with(name)) || (late > 0.5 && id.ends_with("load.filled"));
    let failed: Vec<_> = verdicts.iter().filter(|(id, (outcome, _))| outcome == "fail" && !bears(id)).collect();
    assert!(failed.is_empty(), "{failed:#?}\n{}", ran.err);
    for name in ["pod-startup", "scheduler", "api-writes", "api-reads"] {
        let (outcome, text) = load(name);
        assert!(["pass", "fail", "undetermined"].contains(&outcome.as_str()), "{name}: {text}");
        println!("    {name}: {outcome}");
    }
    let passed =
        |part: &str| verdicts.iter().filter(|(id, (outcome, _))| id.contains(part) && outcome == "pass").count();
    // Rows about clusters that are larger, or in zones, are not about this one.
    assert!(passed(".limits.") >= 17, "{verdicts:#?}");
    for id in ["leases", "deletion"] {
        let (outcome, text) = load(id);
        assert_eq!(outcome, "pass", "{text}");
    }
    assert_eq!(verdicts.keys().filter(|id| id.contains(".load.")).count(), 7);
    assert!(summary.contains("500 of 500"), "{summary}");
    // 10,000 of 150,000 pods.
    let whole = summary.contains("10000 of 10000") && summary.contains("6.7 %");
    assert!(whole || late > 0.5, "{summary}");
}

pub(super) fn defects(lab: &Lab) {
    for (defect, caught) in [
        ("too-many-backends", &["limits.backends-per-service"][..]),
        ("namespace-over-its-limits", &["limits.pods-per-namespace"]),
        ("etcd-near-its-quota", &["limits.etcd-size"]),
        (
            "crowded",
            &["limits.room-for-pods", "limits.pods-per-node", "limits.control-planes-per-zone", "limits.object-sizes"],
        ),
        ("slow-scheduler", &["load.filled", "load.pod-startup", "load.scheduler"]),
        ("slow-api-server", &["load.api-writes", "load.api-reads"]),
        ("leases-refused", &["load.leases"]),
        ("deletions-refused", &["load.deletion"]),
    ] {
        // A slow scheduler is seen where it has much to place.
        let load = if defect == "slow-scheduler" { &SMALL } else { &FEW };
        let (ran, verdicts) = run(lab, defect, &[&load[..], &["--defect", defect]].concat());
        let ids: Vec<_> = verdicts.keys().map(|id| id.trim_start_matches("large-scale.")).collect();
        let mut caught = caught.to_vec();
        caught.sort_unstable();
        assert_eq!(ids, caught, "{defect}");
        for (id, (outcome, text)) in &verdicts {
            assert!(outcome == "fail", "{defect}: {id} is {outcome}: {text}\n{}", ran.err);
        }
        println!("    {defect} is caught");
    }
}
