//! The node-conformance suite on nodes that are broken on purpose: the trials that name a defect must fail where it is.
//!
//! Needs root and the programs that `seaworthy assets fetch` leaves in the cache; without them it says so and does nothing,
//! unless `SEAWORTHY_REQUIRE` is set. `SEAWORTHY_DEFECTS=all` tries every defect, a list of names those.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::path::Path;
use std::process::{Command, Stdio};

use seaworthy_suites::node_conformance_suite;
use serde_json::Value;

/// One of each way to break a node, among those that take a minute or two.
const SOME: [&str; 4] =
    ["runtime-loses-arguments", "runtime-grants-everything", "unsafe-sysctls-are-allowed", "images-are-replaced"];

fn program() -> Command {
    let binary = std::env::var_os("SEAWORTHY_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_seaworthy").into());
    let mut command = Command::new(binary);
    command.stdin(Stdio::null());
    command
}

/// Can clusters be raised here?
fn is_possible() -> bool {
    let mut command = program();
    command.args(["assets", "fetch", "--source", "cache", "-o", "path", "kubelet", "kube-apiserver", "etcd"]);
    let there = nix::unistd::Uid::effective().is_root() && command.output().unwrap().status.success();
    assert!(
        there || std::env::var_os("SEAWORTHY_REQUIRE").is_none(),
        "SEAWORTHY_REQUIRE is set: root and programs are wanted"
    );
    there
}

/// Runs the suite with some more words; its report.
fn run(words: &[&str], folder: &Path) -> Value {
    let mut command = program();
    command.args(["run", "--suite", "node-conformance", "--format", "json", "-O"]).arg(folder).args(words);
    let output = command.output().unwrap();
    let report = std::fs::read_to_string(folder.join("report.json"));
    let report =
        report.unwrap_or_else(|error| panic!("{words:?}: {error}: {}", String::from_utf8_lossy(&output.stderr)));
    serde_json::from_str(&report).unwrap()
}

/// The outcome of each trial of a report.
fn outcomes(report: &Value) -> Vec<(String, String, String)> {
    let results = report["results"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let one = |result: &Value| {
        let verdict = &result["verdict"];
        (text(&result["trial"]), text(&verdict["outcome"]), verdict.to_string())
    };
    results.iter().map(one).collect()
}

#[test]
fn trials_fail_on_nodes_that_are_broken_on_purpose() {
    // Of the nightly tier: each defect takes a minute or two.
    if std::env::var_os("SEAWORTHY_NIGHTLY").is_none() {
        println!("skipped: SEAWORTHY_NIGHTLY is not set");
        return;
    }
    if !is_possible() {
        println!("skipped: clusters cannot be raised here");
        return;
    }
    let suite = node_conformance_suite();
    let chosen = std::env::var("SEAWORTHY_DEFECTS").unwrap_or_else(|_| SOME.join(","));
    let wanted: Vec<_> = suite
        .defects
        .iter()
        .map(|defect| defect.name)
        .filter(|name| chosen == "all" || chosen.split(',').any(|one| one == *name))
        .collect();
    assert!(!wanted.is_empty(), "SEAWORTHY_DEFECTS={chosen} names no defect");
    let mut survived = Vec::new();
    for name in wanted {
        let folder = tempfile::tempdir().unwrap();
        let report = run(&["--defect", name], folder.path());
        let caught = suite.trials.iter().filter(|trial| trial.act().is_some_and(|act| act.caught_by == name)).count();
        let outcomes = outcomes(&report);
        assert_eq!(outcomes.len(), caught, "{name}: every trial that names it runs");
        survived.extend(
            outcomes
                .into_iter()
                .filter(|(_, outcome, _)| outcome != "fail")
                .map(|(trial, outcome, verdict)| format!("{name}: {trial}: {outcome} {verdict}")),
        );
    }
    assert!(survived.is_empty(), "{}", survived.join("\n"));
}

#[test]
fn trials_pass_on_a_healthy_node() {
    if !is_possible() {
        println!("skipped: clusters cannot be raised here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // A part of each area that takes seconds; the whole suite takes minutes.
    let focus = r"node-conformance\.(containers|env|messages|identity|security|resources|runtime-class|static-pods\.created|streams)";
    let report = run(&["--focus", focus], folder.path());
    let outcomes = outcomes(&report);
    assert!(outcomes.len() > 80, "{} trials ran", outcomes.len());
    let bad: Vec<_> = outcomes.into_iter().filter(|(_, outcome, _)| outcome != "pass").collect();
    assert!(bad.is_empty(), "{bad:#?}");
}
