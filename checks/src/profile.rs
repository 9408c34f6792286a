//! What the node is meant to become: Kubernetes version, role, runtime. Rules change with it.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};

/// A minor release of Kubernetes 1.x.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KubernetesVersion(pub u32);

impl KubernetesVersion {
    /// The oldest release that the rules know: that of the setup guide.
    pub const OLDEST: Self = Self(23);
    /// The newest release that the rules know.
    pub const NEWEST: Self = Self(37);
}

impl fmt::Display for KubernetesVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}", self.0)
    }
}

/// Why a text is no Kubernetes version that the rules know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadVersion {
    /// Not of the form `1.N`, `v1.N` or `v1.N.P`.
    #[error("'{0}' is no Kubernetes version: write it as 1.37 or v1.37.2")]
    Form(String),
    /// Outside the range that the rules cover.
    #[error("Kubernetes {0} is outside the versions that the rules cover, 1.23 to 1.37")]
    Range(KubernetesVersion),
}

impl FromStr for KubernetesVersion {
    type Err = BadVersion;

    fn from_str(text: &str) -> Result<Self, BadVersion> {
        let bad = || BadVersion::Form(text.to_owned());
        let mut parts = text.strip_prefix('v').unwrap_or(text).splitn(3, '.');
        let (major, minor) = (parts.next(), parts.next().ok_or_else(bad)?);
        if major != Some("1") {
            return Err(bad());
        }
        if let Some(patch) = parts.next()
            && !patch.starts_with(|c: char| c.is_ascii_digit())
        {
            return Err(bad());
        }
        let version = Self(minor.parse().map_err(|_| bad())?);
        if version < Self::OLDEST || version > Self::NEWEST {
            return Err(BadVersion::Range(version));
        }
        Ok(version)
    }
}

/// What the node does in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Runs the control plane, with stacked etcd unless the facts say otherwise.
    ControlPlane,
    /// Runs workloads.
    Worker,
    /// Runs external etcd and nothing of Kubernetes but, perhaps, a kubelet.
    Etcd,
}

impl Role {
    /// All roles, in the order of `--role`'s help.
    pub const ALL: [Self; 3] = [Self::ControlPlane, Self::Worker, Self::Etcd];

    /// The name as `--role` takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ControlPlane => "control-plane",
            Self::Worker => "worker",
            Self::Etcd => "etcd",
        }
    }
}

/// The container runtime that the node is meant to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Runtime {
    /// containerd.
    Containerd,
    /// CRI-O.
    Crio,
    /// Docker Engine: by dockershim until 1.23, by cri-dockerd after it.
    Docker,
}

impl Runtime {
    /// All runtimes, in the order of `--runtime`'s help.
    pub const ALL: [Self; 3] = [Self::Containerd, Self::Crio, Self::Docker];

    /// The name as `--runtime` takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::Crio => "cri-o",
            Self::Docker => "docker",
        }
    }
}

/// By whose measure a PKI is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PkiProfile {
    /// What kubeadm makes is right.
    Kubeadm,
    /// The CIS benchmark: certificates are for their owner alone, too.
    Cis,
    /// BSI TR-02102: RSA keys of 3000 bits or more.
    Bsi,
    /// All of that.
    Strict,
}

impl PkiProfile {
    /// All, in the order of `--pki-profile`'s help.
    pub const ALL: [Self; 4] = [Self::Kubeadm, Self::Cis, Self::Bsi, Self::Strict];

    /// The name as `--pki-profile` takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kubeadm => "kubeadm",
            Self::Cis => "cis",
            Self::Bsi => "bsi",
            Self::Strict => "strict",
        }
    }
}

/// How long certificates may live, and how much of that must be left, in days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// A certificate must not end sooner.
    pub warn: u16,
    /// A CA must not end sooner: what takes every node is planned for longer.
    pub ca_warn: u16,
    /// What only a restart of its component renews must not end sooner.
    pub restart_warn: u16,
    /// A certificate must not live longer.
    pub longest: u16,
    /// A CA must not live longer.
    pub ca_longest: u16,
}

impl Default for Lifetimes {
    /// What kubeadm makes passes: a year for certificates (13 months, as the CA/Browser Forum had it), ten for CAs.
    fn default() -> Self {
        Self { warn: 30, ca_warn: 365, restart_warn: 60, longest: 398, ca_longest: 3_660 }
    }
}

impl Lifetimes {
    /// What lives for less is meant to be short-lived, and renewed when a share of its life is left.
    const SHORT: SignedDuration = SignedDuration::from_hours(150 * 24);

    /// So many days.
    #[must_use]
    pub fn days(days: u16) -> SignedDuration {
        SignedDuration::from_hours(i64::from(days) * 24)
    }

    /// How much of a certificate's life must be left, by how long it lives: [`Lifetimes::warn`], and a fifth of what
    /// lives for less than 150 days.
    #[must_use]
    pub fn spare(&self, lives: SignedDuration) -> SignedDuration {
        let warn = Self::days(self.warn);
        if lives < Self::SHORT { warn.min(lives / 5) } else { warn }
    }

    /// Is so little left of a certificate that it is time to renew it? Not of one that is over.
    #[must_use]
    pub fn is_due(&self, from: Timestamp, until: Timestamp, now: Timestamp) -> bool {
        let left = until.duration_since(now);
        !left.is_negative() && left < self.spare(until.duration_since(from))
    }
}

/// The profile that a node is judged by.
#[derive(Debug, Clone)]
pub struct Profile {
    /// The Kubernetes minor release whose rules the node is judged by.
    pub kubernetes: KubernetesVersion,
    /// The release of the cluster that it is in or is to join, if the user names it.
    pub cluster: Option<KubernetesVersion>,
    /// What it is to do. The guide's strictest role is the default: control plane.
    pub role: Role,
    /// The runtime, if the user named one; otherwise whatever the node has.
    pub runtime: Option<Runtime>,
    /// Does the cluster use IPv4 addresses?
    pub ipv4: bool,
    /// Does the cluster use IPv6 addresses? With [`Profile::ipv4`]: dual-stack.
    pub ipv6: bool,
    /// By whose measure its PKI is judged.
    pub pki: PkiProfile,
    /// How long its certificates may live, and how much of that must be left.
    pub lifetimes: Lifetimes,
    /// The time to judge by.
    pub now: jiff::Timestamp,
}

impl Profile {
    /// A control-plane node of the newest release, IPv4, any runtime.
    #[must_use]
    pub fn new(now: jiff::Timestamp) -> Self {
        Self {
            kubernetes: KubernetesVersion::NEWEST,
            cluster: None,
            role: Role::ControlPlane,
            runtime: None,
            ipv4: true,
            ipv6: false,
            pki: PkiProfile::Kubeadm,
            lifetimes: Lifetimes::default(),
            now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_a_short_life_must_be_left() {
        let (now, lifetimes) = (Timestamp::from_second(1_800_000_000).unwrap(), Lifetimes::default());
        let due = |lives, left| {
            let until = now + Lifetimes::days(left);
            lifetimes.is_due(until - Lifetimes::days(lives), until, now)
        };
        for (lives, left, is_due) in
            [(365, 30, false), (365, 29, true), (90, 18, false), (90, 17, true), (5, 1, false), (365, 0, true)]
        {
            assert_eq!(due(lives, left), is_due, "{left} days of {lives}");
        }
        let over = now - Lifetimes::days(1);
        assert!(!lifetimes.is_due(over - Lifetimes::days(365), over, now));
    }

    #[test]
    fn versions_are_read_in_every_usual_form() {
        for (text, minor) in [("1.23", 23), ("v1.37", 37), ("v1.31.4", 31), ("1.30.0-rc.1", 30)] {
            assert_eq!(text.parse(), Ok(KubernetesVersion(minor)), "{text}");
        }
        for text in ["", "2.0", "1", "1.x", "v1.30.x", "latest"] {
            assert!(matches!(text.parse::<KubernetesVersion>(), Err(BadVersion::Form(_))), "{text}");
        }
        assert_eq!("1.22".parse::<KubernetesVersion>(), Err(BadVersion::Range(KubernetesVersion(22))));
    }
}
