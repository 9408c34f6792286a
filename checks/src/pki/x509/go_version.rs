//! Versions of Go, and which of them each minor version of Kubernetes is built with: what a certificate must be to be
//! taken by a component depends on it.

use std::fmt;
use std::str::FromStr;

use crate::profile::KubernetesVersion;

/// A version `1.x` of Go: the one whose rules a program follows.
///
/// For a program built by Go 1.21 or later that is the `godebug default=` (or else the `go`) line of its go.mod, which
/// for every Kubernetes release is also the Go that built its `.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoVersion(u8);

/// Kubernetes minor and the Go that built its `.0`. For 1.29 and later: the `go` and `godebug` lines of
/// k8s.io/kubernetes' go.mod; before: `golang: upstream version` in its build/dependencies.yaml.
const KUBERNETES: [(u32, u8); 15] = [
    (23, 17),
    (24, 18),
    (25, 19),
    (26, 19),
    (27, 20),
    (28, 20),
    (29, 21),
    (30, 22),
    (31, 22),
    (32, 23),
    (33, 24),
    (34, 24),
    (35, 25),
    (36, 26),
    (37, 26),
];

impl GoVersion {
    /// Go `1.minor`.
    pub const fn new(minor: u8) -> Self {
        Self(minor)
    }

    /// The newest whose rules are known here.
    pub const NEWEST: Self = Self(26);

    /// The Go of the components of a Kubernetes version; of an unknown one, that of the nearest known.
    pub fn of_kubernetes(version: KubernetesVersion) -> Self {
        let known = KUBERNETES.iter().rev().find(|(minor, _)| *minor <= version.0);
        Self(known.unwrap_or(&KUBERNETES[0]).1)
    }
}

impl fmt::Display for GoVersion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Go 1.{}", self.0)
    }
}

/// This is no version of Go.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no version of Go: write it as 1.26")]
pub struct NoGoVersion(String);

impl FromStr for GoVersion {
    type Err = NoGoVersion;

    /// `1.26`, `1.26.8`, `go1.26.8`, `go1.27rc1`.
    fn from_str(text: &str) -> Result<Self, NoGoVersion> {
        let minor = text.strip_prefix("go").unwrap_or(text).strip_prefix("1.").unwrap_or_default();
        let digits = minor.split(|sign: char| !sign.is_ascii_digit()).next().unwrap_or_default();
        digits.parse().map(Self).map_err(|_| NoGoVersion(text.to_owned()))
    }
}

/// In which versions of Go something leads to a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// In none.
    Never,
    /// In all.
    Always,
    /// In this one and later ones.
    Since(GoVersion),
    /// In those before this one.
    Before(GoVersion),
    /// From the first one on, but not from the second one on.
    Between(GoVersion, GoVersion),
}

impl Refusal {
    /// Whether this version refuses.
    pub fn by(self, version: GoVersion) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::Since(first) => version >= first,
            Self::Before(first) => version < first,
            Self::Between(first, end) => (first..end).contains(&version),
        }
    }

    pub(super) const fn since(minor: u8) -> Self {
        Self::Since(GoVersion::new(minor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_ordered() {
        assert_eq!("go1.26.8".parse(), Ok(GoVersion::new(26)));
        assert_eq!("1.27rc1".parse(), Ok(GoVersion::new(27)));
        assert!("2.0".parse::<GoVersion>().is_err());
        assert!("1.".parse::<GoVersion>().is_err());
        assert!(Refusal::since(23).by(GoVersion::new(23)) && !Refusal::since(23).by(GoVersion::new(22)));
    }
}
