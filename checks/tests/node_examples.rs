//! Nodes that were judged wrongly once: the reference node with the edit that misled, and what is true of it.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::Path;

use seaworthy_checks::construct::{Edit, apply, dir, file, lay, no_dir, no_stat, replace, said, value};
use seaworthy_checks::host::{Query, Transcript};
use seaworthy_checks::node::{Facts, Peer, View, checks};
use seaworthy_checks::{KubernetesVersion, Profile, Severity, Verdict};

fn node(edits: &[Edit]) -> Facts {
    let mut transcript = Transcript::default();
    lay(&Path::new(env!("CARGO_MANIFEST_DIR")).join("nodes/reference"), &mut transcript).unwrap();
    apply(&mut transcript, edits).unwrap();
    Facts::read(&transcript)
}

fn judge_for(id: &str, minor: u32, edits: &[Edit]) -> Verdict {
    let profile = Profile { kubernetes: KubernetesVersion(minor), ..Profile::new(jiff::Timestamp::UNIX_EPOCH) };
    let check = checks().into_iter().find(|check| check.id == id).unwrap();
    check.judge(&View::alone(&node(edits), &profile)).verdict
}

fn judge(id: &str, edits: &[Edit]) -> Verdict {
    judge_for(id, 37, edits)
}

/// The findings: subject, place and message.
fn found(verdict: Verdict) -> Vec<String> {
    let Verdict::Breached(breaches) = verdict else { panic!("{verdict:?}") };
    let place = |at: &seaworthy_checks::Location| format!("{}:{}", at.path, at.line.unwrap_or(0));
    let text = |breach: &seaworthy_checks::Breach| {
        format!("{} {}", breach.at.as_ref().map(place).unwrap_or_default(), breach.message)
    };
    breaches.iter().map(text).collect()
}

const WANTS: &str = "/etc/systemd/system/multi-user.target.wants";

#[test]
fn units_that_the_vendor_enables_are_enabled() {
    let bare = [dir(WANTS, &[])];
    assert!(matches!(judge("node.service.kubelet", &bare), Verdict::Breached(_)));
    let vendor = "/usr/lib/systemd/system";
    let enabled = [
        dir(WANTS, &[]),
        dir(vendor, &["containerd.service", "kubelet.service", "multi-user.target.wants/"]),
        dir(&format!("{vendor}/multi-user.target.wants"), &["containerd.service@", "kubelet.service@"]),
    ];
    for id in ["node.service.kubelet", "node.service.runtime"] {
        assert_eq!(judge(id, &enabled), Verdict::Holds, "{id}");
    }
}

#[test]
fn a_mask_is_named_and_its_remedy_is_for_that_unit() {
    let etc = "/etc/systemd/system";
    let masked = [
        dir(etc, &["kubelet.service@", "multi-user.target.wants/"]),
        said(Query::Link { path: format!("{etc}/kubelet.service") }, "/dev/null"),
    ];
    let Verdict::Breached(breaches) = judge("node.service.kubelet", &masked) else { panic!() };
    assert!(breaches[0].message.contains("masked"), "{breaches:?}");
    assert!(breaches[0].remedy[0].commands[0].contains("systemctl unmask kubelet.service"), "{breaches:?}");
}

#[test]
fn distributions_start_the_kubelet_by_units_of_their_own() {
    for unit in ["k3s", "rke2-agent", "k0sworker", "snap.microk8s.daemon-kubelite"] {
        let name = format!("{unit}.service");
        let edits = [
            dir("/usr/lib/systemd/system", &[]),
            dir("/etc/systemd/system", &[&name, "multi-user.target.wants/"]),
            dir(WANTS, &[&format!("{name}@")]),
        ];
        assert_eq!(judge("node.service.kubelet", &edits), Verdict::Holds, "{unit}");
        let off = [&edits[..2], &[dir(WANTS, &[])]].concat();
        let findings = found(judge("node.service.kubelet", &off));
        assert!(findings[0].contains(&format!("{name} is not enabled")), "{findings:?}");
    }
    // A kubelet that something unknown starts is no fault.
    let none = [dir("/usr/lib/systemd/system", &[]), dir(WANTS, &[])];
    assert!(matches!(judge("node.service.kubelet", &none), Verdict::Undetermined(_)));
    let nothing = [&none[..], &[file("/proc/20/comm", "bash\n")]].concat();
    assert!(matches!(judge("node.service.kubelet", &nothing), Verdict::Breached(_)));
}

#[test]
fn host_names_are_judged_in_lower_case() {
    let named = |name: &str| [file("/proc/sys/kernel/hostname", format!("{name}\n"))];
    for (name, holds) in
        [("Node-1", true), ("NODE1.Example.COM", true), ("node_1", false), ("-a", false), ("a..b", false)]
    {
        assert_eq!(judge("node.network.hostname", &named(name)) == Verdict::Holds, holds, "{name}");
    }
    let lookup = value(Query::Lookup { name: "node-1".to_owned() }, serde_json::json!(["192.0.2.10"]));
    let edits = [&named("Node-1")[..], &[lookup]].concat();
    assert_eq!(judge("node.network.hostname-resolves", &edits), Verdict::Holds);
}

fn routes(rows: &[&str]) -> Edit {
    let head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n";
    file("/proc/1/net/route", format!("{head}{}\n", rows.join("\n")))
}

#[test]
fn routes_of_the_clusters_own_pods_overlap_nothing() {
    // The reference node's pods have 10.244.0.0/24 on cni0; the next node's are behind its address.
    let own = "cni0 0000F40A 00000000 0001 0 0 0 00FFFFFF 0 0 0";
    let next = "eth0 0001F40A 0B0200C0 0003 0 0 0 00FFFFFF 0 0 0";
    let router = "eth0 0000F40A 010200C0 0003 0 0 0 0000FFFF 0 0 0";
    assert_eq!(judge("node.network.overlap", &[routes(&[own, next, router])]), Verdict::Holds);
    // A link with addresses of the pods is one.
    let link = "eth1 0000F40A 00000000 0001 0 0 0 0000FFFF 0 0 0";
    let findings = found(judge("node.network.overlap", &[routes(&[own, link])]));
    assert!(findings[0].contains("10.244.0.0/16 on eth1"), "{findings:?}");
    let inside = "eth0 8000F40A 010200C0 0003 0 0 0 80FFFFFF 0 0 0";
    assert_eq!(found(judge("node.network.overlap", &[routes(&[own, inside])])).len(), 1);
    // Before the node joins, the defaults count.
    let new = [no_dir("/etc/cni/net.d"), no_stat("/etc/kubernetes/kubelet.conf"), routes(&[next])];
    assert_eq!(found(judge("node.network.overlap", &new)).len(), 1);
}

#[test]
fn what_sysctl_d_reverts_is_a_finding_of_its_own() {
    let hardened = [
        dir("/etc/sysctl.d", &["60-cis.conf"]),
        file("/etc/sysctl.d/60-cis.conf", "# CIS 3.1.1\nnet.ipv4.conf.all.forwarding = 0\nvm.panic_on_oom = 1\n"),
    ];
    assert_eq!(judge("node.sysctl.net.ipv4.ip-forward", &hardened), Verdict::Holds, "the value in force is judged");
    let findings = found(judge("node.sysctl.at-boot", &hardened));
    let wanted = "/etc/sysctl.d/60-cis.conf:2 net.ipv4.ip_forward is 1 now and reverts to 0 at the next boot";
    assert_eq!(findings, [wanted], "the kubelet sets the other itself");
    // What is wrong now is one finding, not two.
    let now = [&hardened[..], &[file("/proc/sys/net/ipv4/ip_forward", "0\n")]].concat();
    assert!(matches!(judge("node.sysctl.net.ipv4.ip-forward", &now), Verdict::Breached(_)));
    assert_eq!(judge("node.sysctl.at-boot", &now), Verdict::Holds);
    let fixed = [
        dir("/etc/sysctl.d", &["60-cis.conf", "99-zz-kubernetes.conf"]),
        hardened[1].clone(),
        file("/etc/sysctl.d/99-zz-kubernetes.conf", "net.ipv4.ip_forward = 1\n"),
    ];
    assert_eq!(judge("node.sysctl.at-boot", &fixed), Verdict::Holds, "the remedy works");
}

#[test]
fn bridged_traffic_is_refused_by_kubeadm_before_1_30_only() {
    let off = [file("/proc/sys/net/bridge/bridge-nf-call-iptables", "0\n")];
    let severity = |minor| match judge_for("node.sysctl.net.bridge.bridge-nf-call-iptables", minor, &off) {
        Verdict::Breached(breaches) => breaches[0].severity,
        other => panic!("{other:?}"),
    };
    assert_eq!((severity(29), severity(30)), (Some(Severity::High), None));
}

#[test]
fn options_are_asked_for_by_release_and_by_cgroup_version() {
    let config = "/boot/config-6.12.0-1-amd64";
    let without = |option: &str| [replace(config, &format!("CONFIG_{option}=y\n"), "")];
    let accounting = "node.kernel.config.cgroup-cpuacct";
    // system-validators before 1.9 asked for it with either cgroup version.
    assert!(matches!(judge_for(accounting, 31, &without("CGROUP_CPUACCT")), Verdict::Breached(_)));
    for minor in [32, 37] {
        assert!(
            matches!(judge_for(accounting, minor, &without("CGROUP_CPUACCT")), Verdict::NotApplicable(_)),
            "{minor}"
        );
    }
    let Verdict::Breached(breaches) = judge("node.kernel.config.ext4-fs", &without("EXT4_FS")) else { panic!() };
    assert_eq!(breaches[0].severity, Some(Severity::High), "kubeadm refuses the node");
}

#[test]
fn without_a_kernel_configuration_one_claim_says_so() {
    let gone = [seaworthy_checks::construct::gone("/boot/config-6.12.0-1-amd64")];
    let (facts, profile) = (node(&gone), Profile::new(jiff::Timestamp::UNIX_EPOCH));
    let view = View::alone(&facts, &profile);
    let family = checks().into_iter().filter(|check| check.id.starts_with("node.kernel.config"));
    let breached: Vec<_> = family
        .filter(|check| !matches!(check.judge(&view).verdict, Verdict::NotApplicable(_)))
        .map(|check| check.id)
        .collect();
    assert_eq!(breached, ["node.kernel.config"]);
}

#[test]
fn of_three_nodes_the_old_one_is_named() {
    let version = |minor: u32| {
        node(&[said(
            Query::Run { program: seaworthy_checks::host::Program::KubeletVersion },
            &format!("Kubernetes v1.{minor}.1\n"),
        )])
    };
    let (old, new) = (version(30), version(37));
    let profile = Profile::new(jiff::Timestamp::UNIX_EPOCH);
    let check = checks().into_iter().find(|check| check.id == "node.fleet.kubelet-skew").unwrap();
    let judge = |facts: &Facts, peers: [(&str, &Facts); 2]| {
        let peers = peers.map(|(name, facts)| Peer { name, facts });
        check.judge(&View { facts, profile: &profile, peers: &peers }).verdict
    };
    assert!(matches!(judge(&old, [("b", &new), ("c", &new)]), Verdict::Breached(_)));
    assert_eq!(judge(&new, [("a", &old), ("c", &new)]), Verdict::Holds);
}

#[test]
fn memory_is_counted_as_kubeadm_counts_it() {
    let memory = |mib: u64| {
        let system = serde_json::json!({
            "sysname": "Linux", "release": "6.12.0-1-amd64", "machine": "x86_64", "nodename": "reference", "cpus": 4,
            "memory": mib << 20, "euid": 0, "capabilities": 0, "time": 0, "uptime": 0, "root": "/",
        });
        let answer = seaworthy_checks::host::Reply::System(serde_json::from_value(system).unwrap());
        judge("node.machine.memory", &[Edit::Answer(Query::System, Ok(answer))])
    };
    assert_eq!(memory(1700), Verdict::Holds);
    assert!(matches!(memory(1699), Verdict::Breached(_)));
}
