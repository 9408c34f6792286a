//! Which versions go together.

use std::fmt;
use std::str::FromStr;

use super::Project;

/// A version as its project tags it: `v1.37.2`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(String);

impl Version {
    /// Without the `v`, as programs say it.
    #[must_use]
    pub fn bare(&self) -> &str {
        &self.0[1..]
    }

    /// The minor version: 37 of v1.37.2.
    #[must_use]
    pub fn minor(&self) -> u32 {
        self.numbers()[1]
    }

    /// Major, minor and patch, as far as they are numbers.
    pub(super) fn numbers(&self) -> [u32; 3] {
        let mut parts = self.bare().split(['.', '-', '+']).map(|part| part.parse().unwrap_or(0));
        std::array::from_fn(|_| parts.next().unwrap_or(0))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no version: write it whole, as v1.37.2")]
pub struct BadVersion(String);

impl FromStr for Version {
    type Err = BadVersion;

    fn from_str(text: &str) -> Result<Self, BadVersion> {
        let bad = || BadVersion(text.to_owned());
        let bare = text.strip_prefix('v').unwrap_or(text);
        let (core, rest) = bare.split_at(bare.find(['-', '+']).unwrap_or(bare.len()));
        let mut parts = core.split('.');
        let number = |part: Option<&str>| {
            part.is_some_and(|part| {
                !part.is_empty() && part.len() < 6 && part.bytes().all(|byte| byte.is_ascii_digit())
            })
        };
        let whole = number(parts.next()) && number(parts.next()) && number(parts.next()) && parts.next().is_none();
        // The version becomes part of paths and of a command line.
        let plain = rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.'));
        if whole && plain { Ok(Self(format!("v{bare}"))) } else { Err(bad()) }
    }
}

/// Versions that go together: Kubernetes, and the etcd and CoreDNS that kubeadm of that version installs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Kubernetes.
    pub kubernetes: Version,
    /// etcd, etcdctl and etcdutl.
    pub etcd: Version,
    /// CoreDNS.
    pub coredns: Version,
}

/// Kubernetes, etcd, CoreDNS; the newest first. kubeadm names etcd and CoreDNS in `cmd/kubeadm/app/constants`; of etcd the
/// newest patch is taken.
const RELEASES: [[&str; 3]; 1] = [["v1.37.2", "v3.7.3", "v1.14.6"]];

impl Release {
    /// The releases whose modules are pinned in this program, the newest first.
    pub fn pinned() -> impl Iterator<Item = Self> {
        let version = |text: &str| Version(text.to_owned());
        RELEASES.into_iter().map(move |[kubernetes, etcd, coredns]| Self {
            kubernetes: version(kubernetes),
            etcd: version(etcd),
            coredns: version(coredns),
        })
    }

    /// The newest pinned release.
    #[must_use]
    pub fn newest() -> Self {
        let [kubernetes, etcd, coredns] = RELEASES[0].map(|text| Version(text.to_owned()));
        Self { kubernetes, etcd, coredns }
    }

    /// The versions that go with a version of Kubernetes: what is pinned with it, else what the newest pinned release has.
    #[must_use]
    pub fn of(kubernetes: &Version) -> Self {
        let pinned = Self::pinned().find(|release| &release.kubernetes == kubernetes);
        pinned.unwrap_or_else(|| Self { kubernetes: kubernetes.clone(), ..Self::newest() })
    }

    /// The version of a project; `None` for the system's programs, of which any will do.
    #[must_use]
    pub fn version(&self, project: Project) -> Option<&Version> {
        match project {
            Project::Kubernetes => Some(&self.kubernetes),
            Project::Etcd => Some(&self.etcd),
            Project::CoreDns => Some(&self.coredns),
            Project::System | Project::Cni => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_whole_and_plain() {
        for (text, shown) in [("1.37.2", "v1.37.2"), ("v3.7.3", "v3.7.3"), ("v1.38.0-rc.1", "v1.38.0-rc.1")] {
            assert_eq!(text.parse::<Version>().unwrap().to_string(), shown);
        }
        for text in ["", "1.37", "v1", "latest", "1.37.2/../..", "1.37.2 -x", "1..2", "v1.2.3.4", "1.37.x"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
        assert_eq!("v1.23.17".parse::<Version>().unwrap().numbers(), [1, 23, 17]);
    }

    #[test]
    fn what_is_pinned_is_a_version() {
        for text in RELEASES.into_iter().flatten() {
            assert_eq!(text.parse::<Version>().unwrap().to_string(), text);
        }
        assert_eq!(Release::pinned().next().unwrap(), Release::newest());
    }
}
