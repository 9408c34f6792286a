//! Faults as people put them on a cluster: felt, listed, undone by themselves, by hand, and with the cluster.

use super::lab::{Lab, Ran, until};

const NAME: &str = "broken";

pub(super) fn faults(lab: &Lab) {
    lab.up(NAME, "controlPlanes: 3\ndisks: faulty\n");
    partition(lab);
    components(lab);
    power_cut(lab);
    let ran = lab.run(&["fault", "--name", &lab.name(NAME), "kill", "cp9"]);
    assert!(ran.code == Some(2) && ran.err.contains("cp9"), "{ran:?}");
    // What is in force when the cluster goes, goes with it: the inventory says so.
    fault(lab, &["isolate", "cp1"]);
    fault(lab, &["stop", "cp3/etcd"]);
    lab.down(NAME);
}

/// `seaworthy cluster fault` with these words.
fn fault(lab: &Lab, words: &[&str]) -> String {
    lab.ok(&[&["fault", "--name", &lab.name(NAME)], words].concat())
}

/// etcdctl, of a host's own member.
fn etcdctl(lab: &Lab, host: &str, words: &[&str]) -> Ran {
    let pki = "/etc/kubernetes/pki/etcd";
    let flags = [
        format!("--cacert={pki}/ca.crt"),
        format!("--cert={pki}/healthcheck-client.crt"),
        format!("--key={pki}/healthcheck-client.key"),
        "--command-timeout=3s".to_owned(),
    ];
    let flags = flags.each_ref().map(String::as_str);
    lab.exec(NAME, host, &[&["etcdctl"], &flags[..], words].concat())
}

/// Waits until a host's member takes a write.
fn writes(lab: &Lab, host: &str, value: &str) {
    until("etcd takes a write", || {
        let ran = etcdctl(lab, host, &["put", "trial", value]);
        if ran.code == Some(0) { Ok(()) } else { Err(format!("{host}: {}", ran.err)) }
    });
}

/// The side without a quorum takes nothing; the other does, and what it took is on both afterwards.
fn partition(lab: &Lab) {
    let words = ["partition", "cp1", "/", "cp2,cp3"];
    let begun = fault(lab, &words);
    assert!(begun.contains("partition cp1 / cp2,cp3"), "{begun}");
    assert_eq!(fault(lab, &["list"]), begun);
    writes(lab, "cp2", "majority");
    assert_ne!(etcdctl(lab, "cp1", &["put", "trial", "minority"]).code, Some(0), "cp1 has no quorum");
    let id = begun.split_whitespace().next().unwrap();
    fault(lab, &["undo", id]);
    assert_eq!(fault(lab, &["list"]), "");
    until("cp1 has what the others took", || {
        let ran = etcdctl(lab, "cp1", &["get", "trial", "--print-value-only"]);
        if ran.out.trim() == "majority" { Ok(()) } else { Err(format!("{ran:?}")) }
    });

    let timed = fault(lab, &[&words[..], &["--for", "2s"]].concat());
    assert!(timed.contains("  until "), "{timed}");
    until("the fault ends by itself", || match fault(lab, &["list"]) {
        none if none.is_empty() => Ok(()),
        listed => Err(listed),
    });
    writes(lab, "cp1", "healed");
    lab.until_ready(NAME);
}

/// One that is killed is down, and one that is stopped silent, until that is undone.
fn components(lab: &Lab) {
    fault(lab, &["kill", "cp3/kube-scheduler"]);
    fault(lab, &["stop", "cp2/etcd"]);
    let (code, hosts) = lab.status(NAME);
    assert_eq!(code, Some(1));
    let state = |host: &str, component: &str| {
        let host = hosts.iter().find(|one| one["name"] == host).unwrap();
        let components = host["components"].as_array().unwrap();
        components.iter().find(|one| one["name"] == component).unwrap()["state"].clone()
    };
    assert_eq!((state("cp3", "kube-scheduler"), state("cp2", "etcd")), ("stopped".into(), "frozen".into()));
    assert_eq!(state("cp1", "etcd"), "ready");
    assert_ne!(etcdctl(lab, "cp2", &["put", "trial", "silent"]).code, Some(0));
    writes(lab, "cp1", "two of three");
    fault(lab, &["undo", "--all"]);
    lab.until_ready(NAME);
}

/// A host without power is off; with it, it has what it acknowledged.
fn power_cut(lab: &Lab) {
    writes(lab, "cp2", "acknowledged");
    fault(lab, &["power-cut", "cp2"]);
    assert_eq!(lab.status(NAME).0, Some(1));
    assert_ne!(etcdctl(lab, "cp2", &["get", "trial"]).code, Some(0));
    fault(lab, &["undo", "--all"]);
    lab.until_ready(NAME);
    let ran = etcdctl(lab, "cp2", &["get", "trial", "--consistency=s", "--print-value-only"]);
    assert_eq!(ran.out.trim(), "acknowledged", "{ran:?}");
}
