//! Addresses of a node's pods, out of what the controller-manager assigned it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The first number that a pod gets: 0 is the network's and 1 the bridge's.
const FIRST: u32 = 2;

/// The networks of a node's pods, one a family, and which numbers in them are taken.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    networks: Box<[IpNet]>,
    /// A bit for each number from [`FIRST`] on.
    taken: Vec<u64>,
    /// Where the search goes on: an address that has just been freed is the last to be given again, as host-local does
    /// it.
    next: u32,
}

impl Addresses {
    pub(crate) fn new(networks: Vec<IpNet>) -> Self {
        Self { networks: networks.into(), taken: Vec::new(), next: 0 }
    }

    pub(crate) fn networks(&self) -> &[IpNet] {
        &self.networks
    }

    /// How many pods have room in the smallest of the networks.
    fn room(&self) -> u32 {
        let room = |network: &IpNet| {
            let bits = u32::from(network.max_prefix_len() - network.prefix_len()).min(16);
            // The last one is IPv4's broadcast address.
            (1_u32 << bits).saturating_sub(FIRST + 1)
        };
        self.networks.iter().map(room).min().unwrap_or(0)
    }

    /// Takes a number that is free.
    pub(crate) fn take(&mut self) -> Option<u32> {
        let room = self.room();
        let number = (0..room).map(|at| (self.next + at) % room).find(|number| !self.is_taken(*number))?;
        self.mark(number, true);
        self.next = (number + 1) % room;
        Some(number)
    }

    /// Takes the number of an address that a pod has already.
    pub(crate) fn take_address(&mut self, address: IpAddr) -> Option<u32> {
        let network = self.networks.iter().find(|network| network.contains(&address))?;
        let number = match (network.network(), address) {
            (IpAddr::V4(first), IpAddr::V4(one)) => u32::from(one) - u32::from(first),
            (IpAddr::V6(first), IpAddr::V6(one)) => u32::try_from(u128::from(one) - u128::from(first)).ok()?,
            _ => return None,
        };
        let number = number.checked_sub(FIRST).filter(|number| *number < self.room() && !self.is_taken(*number))?;
        self.mark(number, true);
        Some(number)
    }

    pub(crate) fn free(&mut self, number: u32) {
        self.mark(number, false);
    }

    /// The addresses of a number, one a family.
    pub(crate) fn of(&self, number: u32) -> impl Iterator<Item = IpAddr> {
        self.networks.iter().map(move |network| nth(network, number + FIRST))
    }

    fn is_taken(&self, number: u32) -> bool {
        self.taken.get(number as usize / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    fn mark(&mut self, number: u32, taken: bool) {
        let at = number as usize / 64;
        if at >= self.taken.len() {
            self.taken.resize(at + 1, 0);
        }
        let bit = 1 << (number % 64);
        self.taken[at] = if taken { self.taken[at] | bit } else { self.taken[at] & !bit };
    }
}

/// The address of a number in a network.
pub(crate) fn nth(network: &IpNet, number: u32) -> IpAddr {
    match network.network() {
        IpAddr::V4(first) => Ipv4Addr::from(u32::from(first).wrapping_add(number)).into(),
        IpAddr::V6(first) => Ipv6Addr::from(u128::from(first).wrapping_add(number.into())).into(),
    }
}

/// The part of a network that a node of a number has: a /24 of IPv4, a /64 of IPv6. `None` where there is none left.
pub(crate) fn part(network: &IpNet, number: u32) -> Option<IpNet> {
    let length = if network.addr().is_ipv4() { 24 } else { 64 }.max(network.prefix_len());
    let room = 1_u64.checked_shl((length - network.prefix_len()).into()).unwrap_or(u64::MAX);
    if u64::from(number) >= room {
        return None;
    }
    let address = match network.network() {
        IpAddr::V4(first) => IpAddr::V4(Ipv4Addr::from(u32::from(first) + (number << (32 - length)))),
        IpAddr::V6(first) => {
            IpAddr::V6(Ipv6Addr::from(u128::from(first) + (u128::from(number) << (128 - u32::from(length)))))
        }
    };
    IpNet::new(address, length).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_are_given_once_and_reused_last() {
        let mut addresses = Addresses::new(vec![net("10.0.1.0/29"), net("fd00:1::/64")]);
        let all: Vec<_> = std::iter::from_fn(|| addresses.take()).collect();
        assert_eq!(all, [0, 1, 2, 3, 4]);
        let of: Vec<_> = addresses.of(4).map(|one| one.to_string()).collect();
        assert_eq!(of, ["10.0.1.6", "fd00:1::6"]);
        addresses.free(3);
        addresses.free(0);
        assert_eq!((addresses.take(), addresses.take(), addresses.take()), (Some(0), Some(3), None));
    }

    #[test]
    fn an_address_that_a_pod_has_is_taken() {
        let mut addresses = Addresses::new(vec![net("10.0.1.0/24")]);
        assert_eq!(addresses.take_address("10.0.1.2".parse().unwrap()), Some(0));
        for foreign in ["10.0.1.2", "10.0.1.1", "10.0.2.9", "10.0.1.255", "fd00::2"] {
            assert_eq!(addresses.take_address(foreign.parse().unwrap()), None, "{foreign}");
        }
        assert_eq!(addresses.take(), Some(1));
    }

    #[test]
    fn each_node_has_a_part_of_its_own() {
        assert_eq!(part(&net("10.128.0.0/11"), 257), Some(net("10.129.1.0/24")));
        assert_eq!(part(&net("10.128.0.0/22"), 4), None);
        assert_eq!(part(&net("fd00:10::/56"), 255), Some(net("fd00:10:0:ff::/64")));
        assert_eq!(part(&net("10.1.2.0/26"), 0), Some(net("10.1.2.0/26")));
    }
}
