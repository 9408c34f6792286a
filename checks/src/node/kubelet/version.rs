//! Claims about versions: of the kubelet, of kubeadm, and of the cluster.

use super::{INTEGRATION, minor};
use crate::Inconclusive;
use crate::check::{Check, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion};
use crate::construct::{Edit, refuses, said};
use crate::host::{Program, Query, RefusalKind};
use crate::profile::{KubernetesVersion, Role};

const SKEW: &str = "https://kubernetes.io/releases/version-skew-policy/";

fn kubelet_said(version: &str) -> Edit {
    said(Query::Run { program: Program::KubeletVersion }, &format!("Kubernetes {version}\n"))
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    let members = [Role::ControlPlane, Role::Worker];
    vec![
        Check::new("node.kubelet.version", "The version of the kubelet is known", |view| {
            Ok(match view.facts.kubelet.version.present("kubelet --version")? {
                Some(version) => Conclusion::holds().because("kubelet", version),
                None => match view.facts.kubelet.other_runner() {
                    Some(runner) => {
                        Conclusion::undetermined(format!("{runner} runs the kubelet, and does not say its version"))
                    }
                    None => Conclusion::breach(
                        Breach::new(
                            "kubelet",
                            "kubelet is not installed: its version cannot be compared with the cluster's",
                        )
                        .found("not found")
                        .wanted("a kubelet that prints its version"),
                    ),
                },
            })
        })
        .roles(members)
        .label("kubelet")
        .label("kubeadm")
        .alias("KubeletVersion")
        .alias("SystemVerification")
        .page(
            "kubeadm refuses a node whose kubelet does not say its version.",
            "Runs kubelet --version on the node, or asks the distribution that runs the kubelet.",
        )
        .basis("kubeadm preflight: KubeletVersion, SystemVerification", INTEGRATION)
        .remedy(Remedy::new("Install the kubelet.").when("Debian/Ubuntu").command("apt-get install -y kubelet"))
        .remedy(
            Remedy::new("Install the kubelet.")
                .when("RHEL/Fedora")
                .command("dnf install -y kubelet --disableexcludes=kubernetes"),
        )
        .bad([refuses(
            Query::Run { program: Program::KubeletVersion },
            RefusalKind::Absent,
            "kubelet is in no folder of PATH",
        )]),
        Check::new("node.kubelet.version-skew", "The kubelet is no newer than the cluster, and not too old", |view| {
            let Some(version) = view.facts.kubelet.version.present("kubelet --version")? else {
                return Ok(Conclusion::not_applicable("kubelet is not installed"));
            };
            let kubelet = minor(version).ok_or_else(|| Inconclusive::new(format!("'{version}' is no version")))?;
            let Some((KubernetesVersion(cluster), told_by)) = view.facts.kubelet.cluster_release(view.profile) else {
                let why = "the version of the cluster is not known; --kubernetes-version names it";
                return Ok(Conclusion::not_applicable(why).because("kubelet", version));
            };
            // Three minors since 1.28, two before (version skew policy).
            let reach = if cluster >= 28 { 3 } else { 2 };
            let breach = |why: String| {
                let wanted = format!("1.{} to 1.{cluster}", cluster.saturating_sub(reach));
                Conclusion::breach(Breach::new("kubelet", why).found(version).wanted(wanted))
            };
            let conclusion = if kubelet > cluster {
                breach(format!("kubelet 1.{kubelet} is newer than the cluster, 1.{cluster}"))
            } else if cluster - kubelet > reach {
                breach(format!("kubelet 1.{kubelet} is more than {reach} minors older than the cluster, 1.{cluster}"))
            } else {
                Conclusion::holds().because("kubelet", version)
            };
            Ok(conclusion.because("cluster", format!("1.{cluster} ({told_by})")))
        })
        .roles(members)
        .label("kubelet")
        .label("kubeadm")
        .alias("KubeletVersion")
        .alias("version skew")
        .page(
            "A kubelet newer than the API server uses API fields that the server does not know.",
            "Compares the kubelet's version with that of the cluster: --kubernetes-version, else what the API server \
             says.",
        )
        .basis("Version skew policy: kubelet", SKEW)
        .remedy(
            Remedy::new("Install the cluster's version.")
                .when("Debian/Ubuntu")
                .command("apt-get install -y --allow-downgrades kubelet=1.37.*"),
        )
        .remedy(
            Remedy::new("Install the cluster's version.")
                .when("RHEL/Fedora")
                .command("dnf install -y kubelet-1.37.* --disableexcludes=kubernetes"),
        )
        .example_profile(|profile| profile.cluster = Some(KubernetesVersion::NEWEST))
        .bad([kubelet_said("v1.30.1")]),
        Check::new("node.kubelet.kubeadm-version", "kubeadm is of the cluster's minor release", |view| {
            let Some(version) = view.facts.kubelet.kubeadm.present("kubeadm version")? else {
                return Ok(Conclusion::not_applicable("kubeadm is not installed"));
            };
            let kubeadm = minor(version).ok_or_else(|| Inconclusive::new(format!("'{version}' is no version")))?;
            let Some((KubernetesVersion(cluster), told_by)) = view.facts.kubelet.cluster_release(view.profile) else {
                let why = "the version of the cluster is not known; --kubernetes-version names it";
                return Ok(Conclusion::not_applicable(why).because("kubeadm", version));
            };
            // kubeadm sets up its own minor release and the one before it (version skew policy).
            let conclusion = if kubeadm == cluster || kubeadm == cluster + 1 {
                Conclusion::holds().because("kubeadm", version)
            } else {
                let why = format!("kubeadm 1.{kubeadm} does not set up Kubernetes 1.{cluster}");
                let wanted = format!("1.{cluster} or 1.{}", cluster + 1);
                Conclusion::breach(Breach::new("kubeadm", why).found(version).wanted(wanted))
            };
            Ok(conclusion.because("cluster", format!("1.{cluster} ({told_by})")))
        })
        .severity(Severity::Medium)
        .label("kubelet")
        .label("kubeadm")
        .alias("KubernetesVersion")
        .page(
            "kubeadm sets up its own minor release, and the one before it; it warns of a newer one.",
            "Runs kubeadm version on the node, and compares it with the cluster's version as for the kubelet.",
        )
        .basis("kubeadm preflight: KubernetesVersion; version skew policy: kubeadm", SKEW)
        .remedy(
            Remedy::new("Install the cluster's version.")
                .when("Debian/Ubuntu")
                .command("apt-get install -y kubeadm=1.37.*"),
        )
        .remedy(
            Remedy::new("Install the cluster's version.")
                .when("RHEL/Fedora")
                .command("dnf install -y kubeadm-1.37.* --disableexcludes=kubernetes"),
        )
        .example_profile(|profile| profile.cluster = Some(KubernetesVersion::NEWEST))
        .good([said(Query::Run { program: Program::KubeadmVersion }, "v1.37.2\n")])
        .bad([said(Query::Run { program: Program::KubeadmVersion }, "v1.30.1\n")]),
    ]
}
