//! What differs from version to version, as rows: flags, where a component says that it is ready, and where we leave
//! kubeadm.
//!
//! Whatever is in no row is of all versions from Kubernetes 1.23 on. A test goes through the rows with the kubeadm of
//! several versions: one that is wrong, or of no use any more, fails it.

use crate::assets::span::{ALL, since, until};
use crate::assets::{Release, Span};

/// A flag with its value, of some versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versioned {
    /// The component.
    pub component: &'static str,
    /// The flag.
    pub flag: &'static str,
    /// Its value.
    pub value: &'static str,
    /// The versions of Kubernetes whose kubeadm sets it.
    pub kubernetes: Span,
    /// The versions of etcd that take it.
    pub etcd: Span,
    /// Why it is not of all versions.
    pub why: &'static str,
}

/// The flags that not every version has.
pub const VERSIONED: [Versioned; 4] = [
    Versioned {
        component: "etcd",
        flag: "experimental-initial-corrupt-check",
        value: "true",
        kubernetes: ALL,
        etcd: until(3, 6),
        why: "etcd 3.6 made it a feature gate",
    },
    Versioned {
        component: "etcd",
        flag: "feature-gates",
        value: "InitialCorruptCheck=true",
        kubernetes: ALL,
        etcd: since(3, 6, 0),
        why: "what experimental-initial-corrupt-check was before",
    },
    Versioned {
        component: "etcd",
        flag: "experimental-watch-progress-notify-interval",
        value: "5s",
        kubernetes: since(1, 25, 0),
        etcd: until(3, 6),
        why: "of use since the API server's watch cache asks for progress; etcd 3.6 renamed it",
    },
    Versioned {
        component: "etcd",
        flag: "watch-progress-notify-interval",
        value: "5s",
        kubernetes: since(1, 25, 0),
        etcd: since(3, 6, 0),
        why: "what experimental-watch-progress-notify-interval was before",
    },
];

/// The flags of a component that not every version has.
pub(super) fn flags(component: &str, release: &Release) -> impl Iterator<Item = (&'static str, String)> {
    let rows = VERSIONED.iter().filter(move |row| row.component == component);
    let rows = rows.filter(|row| row.kubernetes.has(&release.kubernetes) && row.etcd.has(&release.etcd));
    rows.map(|row| (row.flag, row.value.to_owned()))
}

/// The path at which a component says whether it is ready, by the versions that answer there; the first row that fits
/// counts.
const READY: [(&str, Span, Span, &str); 6] = [
    ("etcd", ALL, since(3, 5, 11), "/readyz"),
    ("etcd", ALL, ALL, "/health"),
    ("kube-apiserver", ALL, ALL, "/readyz"),
    ("kube-controller-manager", ALL, ALL, "/healthz"),
    ("kube-scheduler", since(1, 32, 0), ALL, "/readyz"),
    ("kube-scheduler", ALL, ALL, "/healthz"),
];

/// Where a component says whether it is ready.
pub(super) fn ready(component: &str, release: &Release) -> &'static str {
    let row = READY.iter().find(|(name, kubernetes, etcd, _)| {
        *name == component && kubernetes.has(&release.kubernetes) && etcd.has(&release.etcd)
    });
    row.map_or("/healthz", |(.., path)| path)
}

/// A flag that we deliberately do not set as kubeadm does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    /// The component.
    pub component: &'static str,
    /// The flag.
    pub flag: &'static str,
    /// The versions of kubeadm that differ from us.
    pub kubernetes: Span,
    /// Why.
    pub why: &'static str,
}

/// All differences from kubeadm.
pub const DIFFERENCES: [Difference; 1] = [Difference {
    component: "kube-apiserver",
    flag: "authorization-mode",
    kubernetes: until(1, 30),
    why: "kubeadm set it beside a user's authorization-config, with which kube-apiserver does not start, and dropped \
          modes that it did not know, which kube-apiserver names",
}];
