//! The node suite finds nothing grave on nodes of the engine: a worker and a control plane that work are called so.

use seaworthy_reports::{Run, Severity};

use super::lab::Lab;

/// The engine runs where the machine has cgroup version 1 alone, which kubelets of 1.35 and later refuse unless told.
const CGROUP: [&str; 2] = ["node.cgroup.", "node.kernel.config.cgroup"];

pub(super) fn healthy(lab: &Lab) {
    let name = "nodes";
    lab.up(name, "workers: 1\ndurability: fast\n");
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
            .filter(|result| !CGROUP.iter().any(|part| result.trial.starts_with(part)))
            .map(|result| format!("{}: {}", result.trial, result.verdict.findings[0].message))
            .collect();
        assert!(grave.is_empty(), "{host}: {grave:#?}");
        let overlap = run.results.iter().find(|result| result.trial == "node.network.overlap").unwrap();
        assert!(overlap.verdict.findings.is_empty(), "{host}: {:?}", overlap.verdict);
        println!("{host}: {} trials, exit code {:?}", run.results.len(), ran.code);
    }
}
