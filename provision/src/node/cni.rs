//! The pod network of a node: a bridge with addresses of the node's own ranges, of one family or two.

use std::path::PathBuf;

use ipnet::IpNet;
use serde_json::{Value, json};

/// A node's pod network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodNetwork {
    /// The node's ranges, one a family: its `spec.podCIDRs`.
    pub ranges: Vec<IpNet>,
    /// Where given addresses are remembered: a folder that does not outlive the pods' sandboxes.
    pub state: PathBuf,
    /// Do pods speak to the world outside under the node's address? Without it the world needs routes to them.
    pub masquerade: bool,
    /// The largest packet; the node's own where there is none.
    pub mtu: Option<u32>,
}

impl PodNetwork {
    /// `10-seaworthy.conflist` (CNI specification 1.0). The loopback of a sandbox is containerd's own doing.
    #[must_use]
    pub fn configuration(&self) -> String {
        let ranges: Vec<_> = self.ranges.iter().map(|range| json!([{ "subnet": range.to_string() }])).collect();
        let mut bridge = json!({
            "type": "bridge",
            "bridge": "cni0",
            "isDefaultGateway": true,
            // A pod reaches itself through a Service.
            "hairpinMode": true,
            "ipMasq": self.masquerade,
            "ipam": { "type": "host-local", "dataDir": self.state.display().to_string(), "ranges": ranges },
        });
        if let Some(mtu) = self.mtu {
            bridge["mtu"] = mtu.into();
        }
        let list: Value = json!({
            "cniVersion": "1.0.0",
            "name": "seaworthy",
            "plugins": [bridge, { "type": "portmap", "capabilities": { "portMappings": true } }],
        });
        format!("{list:#}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_has_a_range_of_its_own() {
        let network = PodNetwork {
            ranges: vec!["10.244.1.0/24".parse().unwrap(), "fd00:10:244:1::/64".parse().unwrap()],
            state: "/run/cni".into(),
            masquerade: false,
            mtu: Some(1400),
        };
        let list: Value = serde_json::from_str(&network.configuration()).unwrap();
        let bridge = &list["plugins"][0];
        let ranges = json!([[{ "subnet": "10.244.1.0/24" }], [{ "subnet": "fd00:10:244:1::/64" }]]);
        assert_eq!(bridge["ipam"]["ranges"], ranges);
        assert_eq!((&bridge["ipMasq"], &bridge["mtu"]), (&json!(false), &json!(1400)));
    }
}
