//! The dual-stack suite: do Services, nodes, pods, DNS and the control plane have the IP families that the cluster is
//! meant to have?
//!
//! Its claims run on clusters of all four kinds: IPv4, IPv6, and both in either order. Services are held against a
//! model of the API's documented rules; the rest is held against what the families imply, and against packets.

pub mod cidr;
mod control_plane;
mod defects;
mod dns;
mod model;
mod nodes;
mod pods;
mod services;
mod stand;
mod traffic;

use crate::cluster::{ClusterNeed, Families};
use crate::trial::Suite;

/// The document that most claims rest on.
const DOCUMENT: (&str, &str) =
    ("IPv4/IPv6 dual-stack", "https://kubernetes.io/docs/concepts/services-networking/dual-stack/");

/// The cluster of a pair of families: one control plane and two workers.
const fn cluster(families: Families) -> ClusterNeed {
    let slug = match families {
        Families::V4 => "v4",
        Families::V6 => "v6",
        Families::V4V6 => "v4-v6",
        Families::V6V4 => "v6-v4",
    };
    ClusterNeed { families, workers: 2, ..ClusterNeed::new(slug) }
}

/// Clusters of all four kinds.
const ALL: [ClusterNeed; 4] =
    [cluster(Families::V4), cluster(Families::V6), cluster(Families::V4V6), cluster(Families::V6V4)];
/// Clusters with both families.
const DUAL: [ClusterNeed; 2] = [cluster(Families::V4V6), cluster(Families::V6V4)];
/// Clusters with one family.
const SINGLE: [ClusterNeed; 2] = [cluster(Families::V4), cluster(Families::V6)];

/// The dual-stack suite.
#[must_use]
pub fn dualstack_suite() -> Suite {
    let themes = [services::trials, nodes::trials, pods::trials, traffic::trials, dns::trials, control_plane::trials];
    Suite {
        name: "dualstack",
        title: "Does the cluster have the IP families that it is meant to have?",
        trials: themes.into_iter().flat_map(|theme| theme()).collect(),
        defects: &defects::DEFECTS,
    }
}
