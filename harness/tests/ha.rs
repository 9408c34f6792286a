//! The HA suite end to end: drills on three control planes lose nothing, and a drill sees what it must see. Needs
//! root and the programs of a cluster; of gaps nothing is asserted, since a slow machine has its own.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::path::Path;
use std::process::Command;

use seaworthy_provision::assets::{Release, Request, find};
use serde_json::Value;

const PROGRAMS: [&str; 12] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "coredns",
    "containerd",
    "containerd-shim-runc-v2",
    "runc",
    "host-local",
    "loopback",
];

fn is_possible() -> bool {
    // Of the nightly tier: all drills take several minutes.
    if std::env::var_os("SEAWORTHY_NIGHTLY").is_none() {
        println!("skipped: SEAWORTHY_NIGHTLY is not set");
        return false;
    }
    let missing = match Request::here(Release::newest(), &PROGRAMS).map(|request| find(&request)) {
        Some(Ok(_)) if nix::unistd::geteuid().is_root() => return true,
        Some(Err(missing)) => missing.to_string(),
        _ => "root and a HOME".to_owned(),
    };
    assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "this test needs {missing}");
    println!("skipped: it needs {missing}");
    false
}

/// Runs the suite; the verdicts by trial.
fn run(output: &Path, arguments: &[&str]) -> Vec<(String, Value)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seaworthy"));
    command.args(["run", "--suite", "ha", "--output"]).arg(output).args(arguments);
    let ended = command.output().unwrap();
    let shown = [ended.stdout, ended.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    let journal = std::fs::read_to_string(output.join("journal.jsonl")).unwrap_or_else(|_| panic!("{shown}"));
    let events = journal.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let finished = events.filter(|event| event["event"] == "trial-finished");
    let verdict = |event: Value| (event["trial"].as_str().unwrap().to_owned(), event["verdict"].clone());
    let verdicts: Vec<_> = finished.map(verdict).collect();
    assert!(!verdicts.is_empty(), "{shown}");
    verdicts
}

#[test]
fn three_control_planes_lose_nothing_in_any_drill() {
    if !is_possible() {
        return;
    }
    let output = tempfile::tempdir().unwrap();
    let verdicts = run(output.path(), &[]);
    for (trial, verdict) in &verdicts {
        assert_ne!(verdict["outcome"], "errored", "{trial}: {verdict}");
    }
    let table = output.path().join("artifacts/stacked-3/ha.summary/ha.json");
    let table: Value = serde_json::from_slice(&std::fs::read(table).unwrap()).unwrap();
    let rows = table["rows"].as_array().unwrap();
    for row in rows {
        assert_eq!(row["lost"], 0, "{row:#}");
        // A scheduler that continues may have sent something before it looks at its Lease.
        assert!(row["anomalies"] == 0 || row["fault"] == "scheduler-stopped-and-continued", "{row:#} {verdicts:#?}");
    }
    // A drill that does not find the cluster well within its time has no row.
    assert!(rows.len() >= 12, "only {} drills were judged: {verdicts:#?}", rows.len());
    let operations: u64 = rows.iter().filter_map(|row| row["operations"].as_u64()).sum();
    assert!(operations >= 20_000, "only {operations} operations were judged");
    println!("{}", std::fs::read_to_string(output.path().join("artifacts/stacked-3/ha.summary/ha.md")).unwrap());
}

#[test]
fn two_schedulers_are_seen() {
    if !is_possible() {
        return;
    }
    let output = tempfile::tempdir().unwrap();
    let verdicts = run(output.path(), &["--defect", "two-schedulers", "--focus", "ha.fault.none"]);
    let [(_, verdict)] = &verdicts[..] else { panic!("{verdicts:#?}") };
    assert_eq!(verdict["outcome"], "fail", "{verdict:#}");
    let findings = verdict["findings"].as_array().unwrap();
    let says = |finding: &Value| finding["message"].as_str().is_some_and(|text| text.contains("a former holder acted"));
    assert!(findings.iter().any(says), "{findings:#?}");
}
