//! Networks of Services and pods: what Kubernetes can use.

use ipnet::IpNet;

use super::{BadConfiguration, bad, parse};

/// The API server allots Service addresses in a bitmap, and takes no range of more than 20 bits.
const SERVICE_BITS: u8 = 20;

/// One network, or two of different families, separated by a comma and nothing else.
pub(super) fn networks(field: &str, text: &str) -> Result<Vec<IpNet>, BadConfiguration> {
    let mut all: Vec<IpNet> = Vec::new();
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let network = parse::network(part).ok_or_else(|| {
            let why = if part.trim() != part { "blanks are not allowed" } else { "write it as 10.96.0.0/12" };
            bad(field, format!("'{part}' is not a network: {why}"))
        })?;
        all.push(network);
    }
    match all[..] {
        [a, b] if a.addr().is_ipv4() == b.addr().is_ipv4() => Err(bad(field, format!("{a} and {b} are of one family"))),
        [_, _, _, ..] => Err(bad(field, format!("{text} has more than two networks"))),
        _ => Ok(all),
    }
}

/// Each has the 14 addresses that kubeadm asks for.
pub(super) fn large_enough(field: &str, networks: &[IpNet]) -> Result<(), BadConfiguration> {
    match networks.iter().find(|network| network.max_prefix_len() - network.prefix_len() < 4) {
        Some(network) => Err(bad(field, format!("{network} is too small: 14 addresses or more are needed"))),
        None => Ok(()),
    }
}

/// The two do not meet, and Services have a range that the API server takes.
pub(super) fn check(services: &[IpNet], pods: &[IpNet]) -> Result<(), BadConfiguration> {
    let field = "networking.serviceSubnet";
    if services.is_empty() {
        return Err(bad(field, "Services need a network"));
    }
    for network in services {
        let bits = network.max_prefix_len() - network.prefix_len();
        if bits > SERVICE_BITS {
            let least = network.max_prefix_len() - SERVICE_BITS;
            return Err(bad(
                field,
                format!("{network} is too large for Services: the prefix must be /{least} or longer"),
            ));
        }
        if bits < 4 {
            return Err(bad(field, format!("{network} is too small: Services need 10 addresses or more")));
        }
        if let Some(met) = pods.iter().find(|pods| pods.contains(network) || network.contains(*pods)) {
            return Err(bad(field, format!("{network} and the pods' {met} overlap")));
        }
    }
    Ok(())
}
