//! Which cluster an act needs.

use serde_json::{Value, json};

use super::ClusterFacts;

/// The IP families of a cluster, the primary one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Families {
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
    /// Both, IPv4 first.
    V4V6,
    /// Both, IPv6 first.
    V6V4,
}

impl Families {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::V4, Self::V6, Self::V4V6, Self::V6V4];

    /// As Services have them in `spec.ipFamilies`.
    #[must_use]
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Self::V4 => &["IPv4"],
            Self::V6 => &["IPv6"],
            Self::V4V6 => &["IPv4", "IPv6"],
            Self::V6V4 => &["IPv6", "IPv4"],
        }
    }

    /// Of the names in `spec.ipFamilies`.
    #[must_use]
    pub fn of(names: &[&str]) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.names() == names)
    }

    /// Are there two?
    #[must_use]
    pub fn is_dual(self) -> bool {
        self.names().len() == 2
    }

    /// As part of a cluster's name.
    #[must_use]
    pub fn slug(self) -> &'static str {
        match self {
            Self::V4 => "v4",
            Self::V6 => "v6",
            Self::V4V6 => "v4-v6",
            Self::V6V4 => "v6-v4",
        }
    }
}

impl std::fmt::Display for Families {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.names().join(", then "))
    }
}

/// A cluster that an act needs. Acts with equal needs share one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClusterNeed {
    /// What the subject is called in reports, and part of the cluster's name: a-z, 0-9, hyphens, at most 16.
    pub slug: &'static str,
    /// Its IP families.
    pub families: Families,
    /// Does a cluster that exists with other families do as well?
    pub any_families: bool,
    /// How many control planes.
    pub control_planes: usize,
    /// How many workers with a real kubelet.
    pub workers: usize,
    /// How many members an external etcd has; 0 is stacked.
    pub external_etcd: usize,
    /// Zones that hosts are spread over.
    pub zones: &'static [&'static str],
    /// The Kubernetes version; `None` is the newest that is pinned.
    pub kubernetes: Option<&'static str>,
    /// Is etcd on disks that faults can be put on?
    pub faulty_disks: bool,
    /// Must writes be on disk before they are acknowledged? Without, the cluster starts and runs faster.
    pub durable: bool,
    /// Documents of kubeadm, as YAML, for what is particular to the components.
    pub kubeadm: Option<&'static str>,
    /// Files of control planes, by their paths below `/etc/kubernetes`.
    pub files: &'static [(&'static str, &'static str)],
    /// Objects that are created with the add-ons, as YAML documents; fields of an add-on's own object are merged into
    /// it.
    pub manifests: Option<&'static str>,
}

impl ClusterNeed {
    /// One control plane without workers, IPv4, as fast as can be.
    #[must_use]
    pub const fn new(slug: &'static str) -> Self {
        Self {
            slug,
            families: Families::V4,
            any_families: false,
            control_planes: 1,
            workers: 0,
            external_etcd: 0,
            zones: &[],
            kubernetes: None,
            faulty_disks: false,
            durable: false,
            kubeadm: None,
            files: &[],
            manifests: None,
        }
    }

    /// As a specification of the engine, under this name.
    #[must_use]
    pub fn spec(&self, name: &str) -> Value {
        let families: Vec<_> = self.families.names().iter().map(|family| family.replace("IP", "")).collect();
        let mut spec = json!({
            "name": name,
            "controlPlanes": self.control_planes,
            "workers": self.workers,
            "network": { "families": families },
            "zones": self.zones,
            "durability": if self.durable { "fsync" } else { "fast" },
            "disks": if self.faulty_disks { "faulty" } else { "plain" },
        });
        if self.external_etcd > 0 {
            spec["etcd"] = json!({ "topology": "external", "members": self.external_etcd });
        }
        if let Some(version) = self.kubernetes {
            spec["kubernetes"] = version.into();
        }
        if !self.files.is_empty() {
            spec["controlPlane"]["files"] =
                self.files.iter().map(|(path, text)| ((*path).to_owned(), json!(text))).collect();
        }
        if let Some(documents) = self.kubeadm {
            spec["kubeadm"] = documents.into();
        }
        if let Some(objects) = self.manifests {
            spec["manifests"] = objects.into();
        }
        spec
    }

    /// Why a cluster that exists does not meet the need; `None` if it does.
    #[must_use]
    pub fn unmet(&self, facts: &ClusterFacts) -> Option<String> {
        if facts.families != self.families && !self.any_families {
            return Some(format!(
                "the claim is about clusters with {}; this one has {}",
                self.families, facts.families
            ));
        }
        if facts.workers < self.workers {
            return Some(format!("the claim needs {} nodes that run pods; there are {}", self.workers, facts.workers));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_need_is_a_specification_of_the_engine() {
        let need = ClusterNeed { families: Families::V6V4, workers: 2, ..ClusterNeed::new("v6-v4") };
        let text = need.spec("trial-1").to_string();
        let spec = seaworthy_provision::cluster::ClusterSpec::read(&text).unwrap();
        assert_eq!((spec.workers, spec.network.families.len()), (2, 2));
        assert_eq!(Families::of(&["IPv6", "IPv4"]), Some(Families::V6V4));
        assert_eq!(Families::of(&["IPv6", "IPv6"]), None);
    }
}
