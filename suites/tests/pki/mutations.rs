//! Defects, one a row, and the claims that must find each: mostly one.

mod certificates;
pub(crate) mod chains;
mod cluster;
pub(crate) mod discovery;
pub(crate) mod files;
mod kubeconfigs;
pub(crate) mod leaks;
mod manifests;
mod revocations;
mod tls;

use seaworthy_checks::Profile;
use seaworthy_checks::host::{Host, LiveHost};

use crate::tree::{Base, Tree};
use crate::{Audit, audit};

/// One defect.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) finds: &'static [&'static str],
    base: Base,
    make: fn(&Tree),
    /// Another node of the control plane, with the defect; the node itself is right.
    peer: bool,
    profile: fn(&mut Profile),
}

/// A defect of a node whose PKI is of ECDSA keys, judged by the default profile.
const fn row(name: &'static str, finds: &'static [&'static str], make: fn(&Tree)) -> Row {
    Row { name, finds, base: Base::Ecdsa, make, peer: false, profile: |_| {} }
}

impl Row {
    const fn of(mut self, base: Base) -> Self {
        self.base = base;
        self
    }

    const fn peer(mut self) -> Self {
        self.peer = true;
        self
    }

    const fn by(mut self, profile: fn(&mut Profile)) -> Self {
        self.profile = profile;
        self
    }
}

/// Every defect.
pub(crate) fn all() -> Vec<Row> {
    [
        files::rows(),
        tls::rows(),
        discovery::rows(),
        manifests::rows(),
        certificates::rows(),
        chains::rows(),
        kubeconfigs::rows(),
        revocations::rows(),
        leaks::rows(),
        cluster::rows(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Makes the defect and audits.
pub(crate) fn run(row: &Row) -> Audit {
    let mut profile = crate::profile();
    (row.profile)(&mut profile);
    let tree = Tree::new(row.base).unwrap();
    if !row.peer {
        (row.make)(&tree);
        return audit(&LiveHost::open(tree.root()).unwrap(), None, &profile);
    }
    let other = cluster::other(row.base);
    (row.make)(&other);
    let (host, peer) = (LiveHost::open(tree.root()).unwrap(), LiveHost::open(other.root()).unwrap());
    audit(&host, Some(&peer as &dyn Host), &profile)
}
