//! The trials: what each suite claims, over facts and on clusters.
//!
//! A [`Trial`] is a declared value: what is known of it before it runs, and a body that judges a [`Node`] or
//! [`Objects`], or [acts](cluster) on a cluster. The suites and their trials are listed by [`suites`], in the order in
//! which they are run. What trials run in pods is [`workload_main`].

pub mod cluster;
mod convert;
mod defects;
pub mod dualstack;
mod fitting;
mod ha;
mod large_scale;
mod node;
mod node_conformance;
mod objects;
mod pki;
mod podsecurity;
mod random;
mod trial;
mod windows;
mod workload;
mod zones;

pub use dualstack::dualstack_suite;
pub use ha::{Long, ha_suite, set_long};
pub use large_scale::{large_scale_suite, set_load};
pub use node::{Kubeconfig, Node, NodeError, Source, node_suite};
pub use node_conformance::{node_conformance_coverage, node_conformance_suite, upstream_names};
pub use objects::{Judged, Objects, Standard};
pub use pki::pki_suite;
pub use podsecurity::podsecurity_suite;
pub use trial::{Suite, Trial};
pub use windows::windows_suite;
pub use workload::workload_main;
pub use zones::zones_suite;

/// Every suite, in order.
#[must_use]
pub fn suites() -> Vec<Suite> {
    vec![
        node_suite(),
        pki_suite(),
        node_conformance_suite(),
        dualstack_suite(),
        large_scale_suite(),
        ha_suite(),
        windows_suite(),
        zones_suite(),
        podsecurity_suite(),
    ]
}
