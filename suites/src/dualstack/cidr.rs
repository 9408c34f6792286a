//! Networks for pods and Services: how many nodes and addresses they hold, and what kubeadm and the controller manager
//! refuse.
//!
//! Sources: kubeadm's validation (cmd/kubeadm/app/apis/kubeadm/validation), the controller manager's node masks of /24
//! and /64, and kube-apiserver's limit of 20 bits for a range of Services.

use ipnet::IpNet;

/// The most bits between a network for pods and the network of one node.
const MOST_DIFFERENCE: u8 = 16;
/// The most bits of a range of Services.
const SERVICE_BITS: u8 = 20;
/// The fewest addresses of a range of Services, and of a network for pods.
const FEWEST: [u128; 2] = [10, 14];
/// What the kubelet runs at most, by default.
const PODS_PER_NODE: u128 = 110;

/// A network for pods, and what fits into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodNetwork {
    /// The network.
    pub network: IpNet,
    /// The prefix length of each node's part.
    pub node_mask: u8,
    /// How many nodes it has networks for.
    pub nodes: u128,
    /// How many addresses a node's part has.
    pub addresses: u128,
    /// What is wrong with it, in sentences.
    pub problems: Vec<String>,
}

/// Prefix lengths of the nodes' parts, by family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeMasks {
    /// `--node-cidr-mask-size-ipv4`.
    pub ipv4: u8,
    /// `--node-cidr-mask-size-ipv6`.
    pub ipv6: u8,
}

impl Default for NodeMasks {
    fn default() -> Self {
        Self { ipv4: 24, ipv6: 64 }
    }
}

fn bits(network: &IpNet) -> u8 {
    network.max_prefix_len()
}

/// Networks that are separated by commas: one, or one of each family.
///
/// # Errors
/// Which one is no network, or that they are too many or of one family.
pub fn parse(text: &str) -> Result<Vec<IpNet>, String> {
    let one = |part: &str| {
        part.trim()
            .parse::<IpNet>()
            .map_err(|_| format!("'{part}' is no network, such as 10.244.0.0/16 or 2001:db8::/56"))
    };
    let networks = text.split(',').map(one).collect::<Result<Vec<_>, _>>()?;
    match &networks[..] {
        [_] => Ok(networks),
        [first, second] if bits(first) != bits(second) => Ok(networks),
        [_, _] => Err(format!("{text}: two networks must be one of IPv4 and one of IPv6")),
        _ => Err(format!("{text}: one network, or one of each family")),
    }
}

/// What fits into networks for pods; `wanted` is how many nodes should.
#[must_use]
pub fn pods(networks: &[IpNet], masks: NodeMasks, wanted: Option<u128>) -> Vec<PodNetwork> {
    let one = |network: &IpNet| {
        let mask = if network.addr().is_ipv4() { masks.ipv4 } else { masks.ipv6 };
        let prefix = network.prefix_len();
        let mut problems = Vec::new();
        let difference = mask.checked_sub(prefix);
        let nodes = difference.map_or(0, |difference| 1u128.checked_shl(difference.into()).unwrap_or(u128::MAX));
        let addresses = 1u128.checked_shl((bits(network).saturating_sub(mask)).into()).unwrap_or(u128::MAX);
        match difference {
            None => problems.push(format!("{network} is smaller than the /{mask} of one node")),
            Some(difference) if difference > MOST_DIFFERENCE => problems.push(format!(
                "/{prefix} and the /{mask} of a node differ by {difference} bits; at most {MOST_DIFFERENCE} are \
                 allowed"
            )),
            Some(_) => {}
        }
        if let Some(wanted) = wanted
            && nodes < wanted
        {
            let needed = mask.saturating_sub(bits_for(wanted));
            problems.push(format!("it holds {nodes} nodes; {wanted} need /{needed} at a node's /{mask}"));
        }
        if size(network) < FEWEST[1] {
            problems.push(format!(
                "{network} has {} addresses; a network for pods has {} at least",
                size(network),
                FEWEST[1]
            ));
        }
        // Two addresses of a node's part are no pod's: the network's and the bridge's; of IPv4 a third, the
        // broadcast's.
        let usable = addresses.saturating_sub(if network.addr().is_ipv4() { 3 } else { 2 });
        if usable < PODS_PER_NODE {
            problems
                .push(format!("a node has {usable} addresses for pods; the kubelet runs {PODS_PER_NODE} by default"));
        }
        PodNetwork { network: network.trunc(), node_mask: mask, nodes, addresses, problems }
    };
    networks.iter().map(one).collect()
}

/// What is wrong with ranges of Services, in sentences.
#[must_use]
pub fn services(networks: &[IpNet]) -> Vec<String> {
    let mut problems = Vec::new();
    for network in networks {
        let most = bits(network) - SERVICE_BITS;
        if network.prefix_len() < most {
            problems.push(format!("{network} is too large a range of Services: /{most} at most"));
        }
        if size(network) < FEWEST[0] {
            problems.push(format!(
                "{network} has {} addresses; a range of Services has {} at least",
                size(network),
                FEWEST[0]
            ));
        }
    }
    problems
}

/// What is wrong between networks for pods and ranges of Services, in sentences.
#[must_use]
pub fn together(pods: &[IpNet], services: &[IpNet]) -> Vec<String> {
    let families = |networks: &[IpNet]| networks.iter().map(bits).collect::<Vec<_>>();
    let mut problems = Vec::new();
    if families(pods) != families(services) {
        let shown = |networks: &[IpNet]| networks.iter().map(IpNet::to_string).collect::<Vec<_>>().join(",");
        problems.push(format!(
            "the families of pods ({}) and of Services ({}) differ, or their order does",
            shown(pods),
            shown(services)
        ));
    }
    for pod in pods {
        for service in services.iter().filter(|service| pod.contains(*service) || service.contains(pod)) {
            problems.push(format!("{pod} of pods overlaps {service} of Services"));
        }
    }
    problems
}

/// How many bits count so many things.
fn bits_for(count: u128) -> u8 {
    u8::try_from(count.next_power_of_two().trailing_zeros()).unwrap_or(u8::MAX)
}

fn size(network: &IpNet) -> u128 {
    1u128.checked_shl((bits(network) - network.prefix_len()).into()).unwrap_or(u128::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(pods_text: &str, wanted: Option<u128>) -> Vec<String> {
        let networks = parse(pods_text).unwrap();
        pods(&networks, NodeMasks::default(), wanted).into_iter().flat_map(|one| one.problems).collect()
    }

    #[test]
    fn what_fits_is_what_the_controller_manager_assigns() {
        let nodes = |text: &str| pods(&parse(text).unwrap(), NodeMasks::default(), None)[0].nodes;
        assert_eq!(nodes("10.244.0.0/16"), 256);
        assert_eq!(nodes("10.96.0.0/12"), 4096);
        assert_eq!(nodes("2001:db8::/56"), 256);
        assert_eq!(nodes("10.0.0.0/25"), 0);
        let shown = problems("10.244.0.0/16,2001:db8::/56", Some(5000));
        assert_eq!(shown[0], "it holds 256 nodes; 5000 need /11 at a node's /24");
        assert_eq!(shown[1], "it holds 256 nodes; 5000 need /51 at a node's /64");
        assert_eq!(problems("10.0.0.0/11,2001:db8::/51", Some(5000)), Vec::<String>::new());
    }

    #[test]
    fn what_kubeadm_refuses_is_named() {
        assert!(problems("10.0.0.0/25", None)[0].contains("smaller than the /24"));
        assert!(problems("2001:db8::/47", None)[0].contains("differ by 17 bits"));
        assert_eq!(problems("2001:db8::/48", None), Vec::<String>::new());
        assert!(parse("10.0.0.0/8,11.0.0.0/8").unwrap_err().contains("one of IPv4"));
        assert!(parse("10.0.0.0").unwrap_err().contains("is no network"));
        let of = |text: &str| services(&parse(text).unwrap());
        assert_eq!(of("10.96.0.0/12,fd00::/108"), Vec::<String>::new());
        assert_eq!(of("10.0.0.0/8,fd00::/64").len(), 2);
        assert!(of("10.0.0.0/29")[0].contains("8 addresses"));
        let both = |a: &str, b: &str| together(&parse(a).unwrap(), &parse(b).unwrap());
        assert!(both("10.0.0.0/8", "10.96.0.0/12")[0].contains("overlaps"));
        assert!(both("10.0.0.0/9,fd00::/64", "fd01::/112,10.128.0.0/16")[0].contains("differ"));
    }
}
