//! What the tests of the path verifier share: certificates built from their parts, and chains of them at random.

pub(crate) mod ask;
pub(crate) mod build;
pub(crate) mod chains;
