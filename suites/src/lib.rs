//! The trials: what each suite claims, over facts.
//!
//! A [`Trial`] is a declared value: what is known of it before it runs, and a body that judges a [`Node`]. The suites and
//! their trials are listed by [`suites`], in the order in which they are run.

mod convert;
mod node;
mod trial;

pub use node::{Node, NodeError, Source, node_suite};
pub use trial::{Suite, Trial};

/// Every suite, in order.
#[must_use]
pub fn suites() -> Vec<Suite> {
    vec![node_suite()]
}
