//! What a runtime's configuration says of pod networks.

use super::Origin;

/// Where a runtime looks for CNI configurations and plug-ins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cni {
    /// The folder of configurations.
    pub configurations: String,
    /// How many of them are used, in the order of their names; 0 is all.
    pub most: usize,
    /// The folders of plug-ins, the first first.
    pub plugins: Vec<String>,
    /// Who says where the plug-ins are.
    pub origin: Origin,
}
