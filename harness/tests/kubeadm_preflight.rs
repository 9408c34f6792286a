//! Every problem that the real `kubeadm init phase preflight` reports on this host, we report too.
//!
//! kubeadm is built from its released Go module by `seaworthy assets fetch kubeadm`; `SEAWORTHY_KUBEADM` names it.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::process::Command;

use seaworthy_checks::Profile;
use seaworthy_checks::host::Layout;
use seaworthy_reports::Outcome;
use seaworthy_suites::{Source, node_suite};

/// What kubeadm reports and no check of a node can: the name, and why.
const NOT_OURS: &[(&str, &str)] = &[
    ("ImagePull", "pulls images: it tells of the registry and the way there, not of the node"),
    ("KubernetesVersion", "compares kubeadm's own version with the one that was asked for"),
];

/// The names in `[ERROR Name]` and `[WARNING Name]`.
fn reported(output: &str) -> Vec<String> {
    let name = |line: &str| {
        let line = line.trim_start();
        let rest = line.strip_prefix("[ERROR ").or_else(|| line.strip_prefix("[WARNING "))?;
        Some(rest.split_once(']')?.0.to_owned())
    };
    let mut names: Vec<_> = output.lines().filter_map(name).collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn names_are_read_from_kubeadms_output() {
    let output =
        "[preflight] Some fatal errors:\n\t[ERROR Port-6443]: in use\n\t[WARNING Swap]: on\n\t[ERROR Port-6443]: x\n";
    assert_eq!(reported(output), ["Port-6443", "Swap"]);
}

#[test]
fn what_kubeadm_reports_we_report() {
    let Some(kubeadm) = std::env::var_os("SEAWORTHY_KUBEADM") else {
        assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "SEAWORTHY_KUBEADM must name kubeadm");
        println!("skipped: SEAWORTHY_KUBEADM does not name a kubeadm; `seaworthy assets fetch kubeadm` builds one");
        return;
    };
    // A configuration of its own, so that kubeadm asks no server for the newest version.
    let config = tempfile::NamedTempFile::new().unwrap();
    let content = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nkubernetesVersion: v1.37.2\n";
    std::fs::write(config.path(), content).unwrap();
    // What there is to report depends on the machine; a port in use is added to it, so that there is something.
    let taken = std::net::TcpListener::bind("127.0.0.1:10259").unwrap();
    let output = Command::new(kubeadm)
        .args(["init", "phase", "preflight", "--ignore-preflight-errors=ImagePull", "--config"])
        .arg(config.path())
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("Running pre-flight checks"), "kubeadm did not get as far as its checks: {text}");

    let node = Source::open("/".as_ref(), &Layout::default()).unwrap().gather(true, &["node"]);
    drop(taken);
    let profile = Profile::new(jiff::Timestamp::now());
    let failed: Vec<_> = node_suite()
        .trials
        .into_iter()
        .filter(|trial| trial.run(&node, &[], &profile).outcome == Outcome::Fail)
        .map(|trial| trial.info)
        .collect();
    let names = reported(&text);
    assert!(names.iter().any(|name| name == "Port-10259"), "kubeadm did not see the port that is in use: {text}");
    for name in names.iter().filter(|name| !NOT_OURS.iter().any(|(known, _)| known == name)) {
        // Releases differ in case: Service-kubelet, Service-Kubelet.
        let ours = failed.iter().find(|info| info.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name)));
        assert!(ours.is_some(), "kubeadm reports {name}, and no check of ours with that alias fails:\n{text}");
    }
    println!("kubeadm reports {}", names.join(", "));
}
