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

/// Is this the nightly tier? All drills take ten minutes.
fn is_nightly() -> bool {
    let nightly = std::env::var_os("SEAWORTHY_NIGHTLY").is_some();
    if !nightly {
        println!("skipped: SEAWORTHY_NIGHTLY is not set");
    }
    nightly
}

fn is_possible() -> bool {
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
    let verdicts = outcomes(output);
    assert!(!verdicts.is_empty(), "{shown}");
    verdicts
}

/// The verdicts of a run, by trial.
fn outcomes(output: &Path) -> Vec<(String, Value)> {
    let journal = std::fs::read_to_string(output.join("journal.jsonl")).unwrap_or_default();
    let events = journal.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let finished = events.filter(|event| event["event"] == "trial-finished");
    let verdict = |event: Value| (event["trial"].as_str().unwrap().to_owned(), event["verdict"].clone());
    finished.map(verdict).collect()
}

#[test]
fn three_control_planes_lose_nothing_in_quick_drills() {
    if is_possible() {
        drills(&["--label", "quick"]);
    }
}

#[test]
fn three_control_planes_lose_nothing_in_any_drill() {
    if is_nightly() && is_possible() {
        drills(&[]);
    }
}

fn drills(options: &[&str]) {
    let output = tempfile::tempdir().unwrap();
    let verdicts = run(output.path(), options);
    for (trial, verdict) in &verdicts {
        assert_ne!(verdict["outcome"], "errored", "{trial}: {verdict}");
    }
    let table = output.path().join("artifacts/stacked-3/ha.summary/ha.json");
    let table: Value = serde_json::from_slice(&std::fs::read(table).unwrap()).unwrap();
    let rows = table["rows"].as_array().unwrap();
    for row in rows {
        assert_eq!(row["lost"], 0, "{row:#}");
        assert_eq!(row["anomalies"], 0, "{row:#} {verdicts:#?}");
    }
    // A drill that does not find the cluster well within its time has no row.
    assert!(rows.len() >= 12, "only {} drills were judged: {verdicts:#?}", rows.len());
    let operations: u64 = rows.iter().filter_map(|row| row["operations"].as_u64()).sum();
    // A machine that does not bear 20 requests of each kind a second is asked less often.
    let interval = |verdict: &Value| {
        let evidence = verdict["evidence"].as_array()?;
        evidence.iter().find(|one| one["label"] == "interval of probes").map(|one| one["value"] == "50 ms")
    };
    let is_brisk = verdicts.iter().filter_map(|(_, verdict)| interval(verdict)).all(|fast| fast);
    assert!(operations >= 20_000 || !is_brisk, "only {operations} operations were judged");
    println!("{}", std::fs::read_to_string(output.path().join("artifacts/stacked-3/ha.summary/ha.md")).unwrap());
}

#[test]
fn two_schedulers_are_seen() {
    if !is_nightly() || !is_possible() {
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

/// A cluster of ours, which goes with the test.
struct Cluster(&'static str);

impl Cluster {
    fn up(name: &'static str, options: &[&str]) -> Self {
        let cluster = Self(name);
        cluster.run(&[&["up", "--name", name], options].concat());
        cluster
    }

    fn run(&self, words: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_seaworthy")).arg("cluster").args(words).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{}: {words:?}: {}", self.0, text(&output.stderr));
        text(&output.stdout)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        Command::new(env!("CARGO_BIN_EXE_seaworthy")).args(["cluster", "down", self.0]).output().ok();
    }
}

#[test]
fn a_hook_breaks_a_cluster_that_is_not_ours() {
    if !is_nightly() || !is_possible() {
        return;
    }
    let cluster = Cluster::up("ha-hook", &["--control-planes", "3", "--workers", "2"]);
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, cluster.run(&["kubeconfig", cluster.0])).unwrap();
    let hook = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/hooks/seaworthy.sh");
    let uid = ["exec", "--name", cluster.0, "cp1", "--", "kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf"];
    let uid = [&uid[..], &["get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"]].concat();
    let uid = cluster.run(&uid);
    let faults = "ha.fault.(api-server-crash|etcd-leader-crash|load-balancer-restart|scheduler-stopped)";
    let run = |consent: &[&str], focus: &str| {
        let output = folder.path().join(format!("run-{}", consent.len()));
        let mut command = Command::new(env!("CARGO_BIN_EXE_seaworthy"));
        command.args(["run", "--suite", "ha", "--focus", focus, "--kubeconfig"]).arg(&kubeconfig);
        command.arg("--fault-hook").arg(&hook).arg("--output").arg(&output).args(consent);
        command.env("CLUSTER", cluster.0).env("SEAWORTHY", env!("CARGO_BIN_EXE_seaworthy"));
        let ended = command.output().unwrap();
        let shown = [ended.stdout, ended.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        println!("{shown}");
        outcomes(&output)
    };
    let of = |all: &[(String, Value)], trial: &str| {
        let found = all.iter().find(|(id, _)| id == trial).unwrap_or_else(|| panic!("{trial}: {all:#?}"));
        found.1["outcome"].as_str().unwrap().to_owned()
    };
    // Without consent nothing is broken.
    let refused = run(&[], faults);
    assert!(refused.iter().all(|(_, verdict)| verdict["outcome"] == "skipped"), "{refused:#?}");
    let broken = run(&["--allow-disruption", &uid], faults);
    // A slow machine has gaps of its own: what it cannot tell is undetermined, and says that the history is sound.
    for told in ["ha.fault.api-server-crash", "ha.fault.load-balancer-restart"] {
        let (_, verdict) = broken.iter().find(|(id, _)| id == told).unwrap();
        let is_judged = verdict["reason"].as_str().is_none_or(|why| why.starts_with("the history is as it should be"));
        assert!(is_judged && ["pass", "undetermined"].contains(&of(&broken, told).as_str()), "{told}: {verdict:#}");
    }
    // Who leads etcd is not known to this hook, and who acts shows in audit logs alone.
    for untold in ["ha.fault.etcd-leader-crash", "ha.fault.scheduler-stopped-and-continued"] {
        assert_eq!(of(&broken, untold), "not-applicable", "{untold}: {broken:#?}");
    }
    assert_eq!(cluster.run(&["fault", "--name", cluster.0, "list"]).trim(), "", "a fault was left on");
}
