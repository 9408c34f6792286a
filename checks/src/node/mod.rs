//! The node suite's facts and checks, a folder or file a family.
//!
//! [`Facts::read`] asks a host everything that the judges need, and nothing else: reading facts from a [`Recorder`]
//! gathers a node, reading them from the [`Transcript`] that it leaves parses it. [`checks`] is the registry.
//!
//! [`Recorder`]: crate::host::Recorder
//! [`Transcript`]: crate::host::Transcript

pub mod sysctl;

use crate::check::Check;
use crate::host::Host;
use crate::profile::Profile;

/// All that is known of a node.
#[derive(Debug)]
pub struct Facts {
    /// Kernel parameters.
    pub sysctl: sysctl::Facts,
}

impl Facts {
    /// Asks a host for all facts.
    #[must_use]
    pub fn read(host: &dyn Host) -> Self {
        Self { sysctl: sysctl::Facts::read(host) }
    }
}

/// What a judge sees: the node, and what it is meant to become.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The node.
    pub facts: &'a Facts,
    /// What it is meant to become.
    pub profile: &'a Profile,
}

/// The registry: every check of the node suite, in the order in which they are listed and run.
#[must_use]
pub fn checks() -> Vec<Check> {
    let families = [sysctl::checks];
    families.into_iter().flat_map(|family| family()).collect()
}
