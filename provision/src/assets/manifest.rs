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
    pub(crate) fn numbers(&self) -> [u32; 3] {
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
    /// containerd and its shim, where they are fetched or built.
    pub containerd: Version,
}

/// What goes together with a minor version of Kubernetes.
struct Minor {
    minor: u32,
    /// Of kubeadm's `DefaultEtcdVersion` the minor, in the newest patch that the Go module proxy had.
    etcd: &'static str,
    /// kubeadm's `CoreDNSVersion`.
    coredns: &'static str,
    /// kubeadm's `PauseVersion`.
    pause: &'static str,
}

const fn minor(minor: u32, etcd: &'static str, coredns: &'static str, pause: &'static str) -> Minor {
    Minor { minor, etcd, coredns, pause }
}

/// Kubernetes 1.x, the newest first: kubeadm's `cmd/kubeadm/app/constants` in the last patch of each.
const MINORS: [Minor; 15] = [
    minor(37, "v3.7.3", "v1.14.6", "3.10.2"),
    minor(36, "v3.6.16", "v1.14.2", "3.10.2"),
    minor(35, "v3.6.16", "v1.13.1", "3.10.1"),
    minor(34, "v3.6.16", "v1.12.1", "3.10.1"),
    minor(33, "v3.5.35", "v1.12.0", "3.10"),
    minor(32, "v3.5.35", "v1.11.3", "3.10"),
    minor(31, "v3.5.35", "v1.11.3", "3.10"),
    minor(30, "v3.5.35", "v1.11.3", "3.9"),
    minor(29, "v3.5.35", "v1.11.1", "3.9"),
    minor(28, "v3.5.35", "v1.10.1", "3.9"),
    minor(27, "v3.5.35", "v1.10.1", "3.9"),
    minor(26, "v3.5.35", "v1.9.3", "3.9"),
    minor(25, "v3.5.35", "v1.9.3", "3.8"),
    minor(24, "v3.5.35", "v1.8.6", "3.7"),
    // Not 3.5.35: its golang.org/x/net refuses requests whose :authority is no host, and so those of the client of etcd
    // 3.5.0.
    minor(23, "v3.5.34", "v1.8.6", "3.6"),
];

/// The releases of Kubernetes whose modules are pinned in this program, the newest first.
const PINNED: [&str; 2] = ["v1.37.2", "v1.23.17"];

/// The containerd that is fetched or built, for every Kubernetes: it speaks the CRI of all of them.
const CONTAINERD: &str = "v2.4.2";

/// A version of Kubernetes of which it is not known what goes together with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "Kubernetes {0} is not known here: 1.{first} to 1.{last} are",
    first = MINORS[MINORS.len() - 1].minor,
    last = MINORS[0].minor
)]
pub struct UnknownRelease(Version);

impl Release {
    /// These versions, with the containerd that is fetched or built for every Kubernetes.
    #[must_use]
    pub fn new(kubernetes: Version, etcd: Version, coredns: Version) -> Self {
        Self { kubernetes, etcd, coredns, containerd: Version(CONTAINERD.to_owned()) }
    }

    /// What goes together with a version of Kubernetes from 1.23 to 1.37.
    ///
    /// # Errors
    /// [`UnknownRelease`] for any other.
    pub fn of(kubernetes: &Version) -> Result<Self, UnknownRelease> {
        let Some(row) = Self::row(kubernetes) else { return Err(UnknownRelease(kubernetes.clone())) };
        let version = |text: &str| Version(text.to_owned());
        Ok(Self::new(kubernetes.clone(), version(row.etcd), version(row.coredns)))
    }

    fn row(kubernetes: &Version) -> Option<&'static Minor> {
        let [major, minor, _] = kubernetes.numbers();
        MINORS.iter().find(|row| major == 1 && row.minor == minor)
    }

    /// The releases whose modules are pinned in this program, the newest first.
    pub fn pinned() -> impl Iterator<Item = Self> {
        PINNED.into_iter().filter_map(|version| Self::of(&Version(version.to_owned())).ok())
    }

    /// The newest pinned release.
    #[must_use]
    pub fn newest() -> Self {
        let version = |text: &str| Version(text.to_owned());
        let Minor { etcd, coredns, .. } = MINORS[0];
        Self::new(version(PINNED[0]), version(etcd), version(coredns))
    }

    /// The tag of the pause image that kubeadm of this version names; `None` for a Kubernetes that is not known here.
    #[must_use]
    pub fn pause(&self) -> Option<&'static str> {
        Self::row(&self.kubernetes).map(|row| row.pause)
    }

    /// The version of a project; `None` for the system's programs, of which any will do.
    #[must_use]
    pub fn version(&self, project: Project) -> Option<&Version> {
        match project {
            Project::Kubernetes => Some(&self.kubernetes),
            Project::Etcd => Some(&self.etcd),
            Project::CoreDns => Some(&self.coredns),
            Project::Containerd => Some(&self.containerd),
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
    fn what_goes_together_is_known_of_every_minor_version() {
        for (index, row) in MINORS.iter().enumerate() {
            assert_eq!(row.minor, 37 - index as u32, "none is left out");
            let release = Release::of(&format!("v1.{}.0", row.minor).parse().unwrap()).unwrap();
            for version in [&release.etcd, &release.coredns] {
                assert_eq!(version.bare().parse::<Version>().as_ref(), Ok(version));
            }
            assert_eq!(release.pause(), Some(row.pause));
        }
        for unknown in ["1.22.17", "1.38.0", "2.30.0"] {
            let why = Release::of(&unknown.parse().unwrap()).unwrap_err().to_string();
            assert_eq!(why, format!("Kubernetes v{unknown} is not known here: 1.23 to 1.37 are"));
        }
    }

    #[test]
    fn what_is_pinned_is_known() {
        assert_eq!(Release::pinned().count(), PINNED.len());
        assert_eq!(Release::pinned().next().unwrap(), Release::newest());
    }
}
