//! The node suite finds nothing grave on nodes of the engine: a worker and a control plane that work are called so.

use seaworthy_reports::{Run, Severity};

use super::lab::Lab;

/// What is true of this test's box and not of the engine: the machine may have cgroup version 1, and the box keeps
/// /var/lib in memory.
const BOX: [&str; 3] = ["node.cgroup.", "node.kernel.config.cgroup", "node.disk.etcd-type"];

/// A control plane of processes has no kubelet, and is no node: static pods have one.
pub(super) fn healthy(lab: &Lab) {
    let name = "nodes";
    lab.up(name, "workers: 1\ncontrolPlane: {runAs: static-pods}\ndurability: fast\n");
    assert_eq!(lab.status(name).0, Some(0));
    for (host, role) in [("cp1", "control-plane"), ("worker1", "worker")] {
        let words = ["seaworthy", "run", "--suite", "node", "--role", role, "--host", "/", "-O", "/var/node"];
        let ran = lab.exec(name, host, &words);
        let report = lab.host(name, host).var().join("node/report.json");
        let report = std::fs::read(report).unwrap_or_else(|_| panic!("{host}: {}\n{}", ran.out, ran.err));
        let run: Run = serde_json::from_slice(&report).unwrap();
        let grave: Vec<_> = run
            .failures()
            .into_iter()
            .filter(|result| run.severity(result) >= Severity::High)
            .filter(|result| !BOX.iter().any(|part| result.trial.starts_with(part)))
            .map(|result| format!("{}: {}", result.trial, result.verdict.findings[0].message))
            .collect();
        assert!(grave.is_empty(), "{host}: {grave:#?}");
        let overlap = run.results.iter().find(|result| result.trial == "node.network.overlap").unwrap();
        assert!(overlap.verdict.findings.is_empty(), "{host}: {:?}", overlap.verdict);
        println!("{host}: {} trials, exit code {:?}", run.results.len(), ran.code);
    }
}
