//! What is asked for follows the release of Kubernetes, and who runs the kubelet.

use super::*;
use crate::construct::{apply, dir};
use crate::host::Transcript;
use crate::profile::Profile;

/// The severity of a missing program for a release; `None` where nothing asks for it.
fn missing(name: &str, minor: u32) -> Option<Severity> {
    let mut transcript = Transcript::default();
    apply(&mut transcript, &without(name)).unwrap();
    let facts = crate::node::Facts::read(&transcript);
    let profile = Profile { kubernetes: KubernetesVersion(minor), ..Profile::new(jiff::Timestamp::UNIX_EPOCH) };
    let check = checks().into_iter().find(|check| check.aliases.contains(&format!("FileExisting-{name}"))).unwrap();
    match check.judge(&View::alone(&facts, &profile)).verdict {
        Verdict::Breached(breaches) => Some(breaches[0].severity.unwrap_or(check.severity)),
        Verdict::NotApplicable(_) => None,
        other => panic!("{name} for 1.{minor}: {other:?}"),
    }
}

#[test]
fn what_kubeadm_refuses_is_high_and_what_it_warns_of_is_medium() {
    for minor in 23..=37 {
        for (name, level, versions) in preflight::PROGRAMS {
            if versions.contains(&minor) {
                let least = if *level == Level::Error { High } else { Medium };
                assert_eq!(missing(name, minor), Some(least), "{name} for 1.{minor}");
            }
        }
    }
}

#[test]
fn kubeadm_of_1_37_asks_for_losetup_mount_and_cp_and_no_longer_for_ip_iptables_and_nsenter() {
    for name in ["losetup", "mount", "cp"] {
        assert_eq!(missing(name, 37), Some(High), "{name}");
    }
    assert_eq!((missing("ip", 37), missing("nsenter", 37), missing("conntrack", 32)), (None, None, None));
    assert_eq!((missing("iptables", 37), missing("iptables", 32)), (Some(Low), Some(High)));
    assert_eq!((missing("losetup", 32), missing("cp", 32)), (Some(Info), None));
    assert_eq!([30, 31, 32].map(|minor| missing("crictl", minor)), [Some(High), Some(Medium), Some(Low)]);
    assert_eq!((missing("touch", 32), missing("touch", 33)), (Some(Medium), None));
}

#[test]
fn pages_say_which_kubeadm_asks() {
    assert_eq!(
        asks("crictl"),
        " kubeadm 1.31 warns of a node without it. kubeadm 1.23 to 1.30 refuses a node without it."
    );
    assert_eq!(asks("cp"), " kubeadm 1.33 and later refuses a node without it.");
    assert_eq!(asks("nft"), "");
}

#[test]
fn a_distribution_may_bring_its_own_kubelet() {
    let judge = |edits: &[Edit]| {
        let mut transcript = Transcript::default();
        apply(
            &mut transcript,
            &[without("kubelet"), vec![dir("/proc", &["1/"]), file("/proc/1/comm", "init\n")]].concat(),
        )
        .unwrap();
        apply(&mut transcript, edits).unwrap();
        let facts = crate::node::Facts::read(&transcript);
        let profile = Profile::new(jiff::Timestamp::UNIX_EPOCH);
        let check = checks().into_iter().find(|check| check.id == "node.program.kubelet").unwrap();
        check.judge(&View::alone(&facts, &profile)).verdict
    };
    assert!(matches!(judge(&[]), Verdict::Breached(_)));
    assert_eq!(judge(&[file("/proc/1/comm", "kubelite\n")]), Verdict::Holds);
    let rke2 = judge(&[dir("/usr/local/lib/systemd/system", &["rke2-server.service"])]);
    assert!(matches!(&rke2, Verdict::NotApplicable(why) if why.contains("rke2-server.service")), "{rke2:?}");
}
