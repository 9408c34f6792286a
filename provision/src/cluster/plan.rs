//! Which hosts a specification asks for, with their names, addresses and versions: a pure function of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::fields;
use super::spec::{BadSpec, ClusterSpec, Family, LoadBalancer, bad};
use crate::assets::{PROGRAMS, Program, Release};

/// The machine's link to the cluster of a slot.
pub(super) fn uplink(slot: u8) -> String {
    format!("sw{slot}")
}

/// What a host is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The bridges between the others.
    Switch,
    /// The load balancer and the registry of images.
    Harbor,
    /// A member of an external etcd.
    Etcd,
    /// A control plane.
    ControlPlane,
    /// A worker.
    Worker,
}

/// A host that is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedHost {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Its addresses with the networks that they are in, one a family.
    pub addresses: Vec<IpNet>,
    /// The number of its zone among [`ClusterSpec::zones`]; 0 where there are none.
    pub zone: usize,
    /// Its versions.
    pub release: Release,
}

impl PlannedHost {
    /// Its first address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.addresses.first().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), IpNet::addr)
    }
}

/// The name of the host of bridges.
pub const SWITCH: &str = "switch";
/// The name of the host of load balancer and registry.
pub const HARBOR: &str = "harbor";
/// The port of the registry.
const REGISTRY: u16 = 5000;
/// The hosts of a cluster, and what they have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What was asked for.
    pub spec: ClusterSpec,
    /// The cluster's number on this machine, which is part of addresses and of a link's name.
    pub slot: u8,
    /// The networks of hosts, one a family.
    pub networks: Vec<IpNet>,
    /// The hosts: switch, harbor, etcd, control planes, workers.
    pub hosts: Vec<PlannedHost>,
}

/// The networks of hosts that a slot has where the specification names none.
#[must_use]
pub(super) fn networks_of(slot: u8, families: &[Family]) -> Vec<IpNet> {
    let network = |family: &Family| match family {
        Family::V4 => IpNet::new(Ipv4Addr::new(10, 211, slot, 0).into(), 24),
        Family::V6 => IpNet::new(Ipv6Addr::new(0xfd5e, 0xa, 0, slot.into(), 0, 0, 0, 0).into(), 64),
    };
    families.iter().filter_map(|family| network(family).ok()).collect()
}

/// The address of a number in a network.
fn address(network: &IpNet, number: u8) -> IpAddr {
    match network.network() {
        IpAddr::V4(first) => Ipv4Addr::from(u32::from(first) + u32::from(number)).into(),
        IpAddr::V6(first) => Ipv6Addr::from(u128::from(first) + u128::from(number)).into(),
    }
}

impl Plan {
    /// The plan of a specification in a slot.
    ///
    /// # Errors
    /// [`BadSpec`] names what cannot be met.
    pub fn new(spec: &ClusterSpec, slot: u8) -> Result<Self, BadSpec> {
        spec.check()?;
        let networks = if spec.network.hosts.is_empty() {
            networks_of(slot, &spec.network.families)
        } else {
            spec.network.hosts.clone()
        };
        let mut hosts: Vec<PlannedHost> = Vec::new();
        let mut add = |name: String, role, number: u8| -> Result<(), BadSpec> {
            let addresses =
                networks.iter().filter_map(|network| IpNet::new(address(network, number), network.prefix_len()).ok());
            let addresses = if role == Role::Switch { Vec::new() } else { addresses.collect() };
            let zones = spec.zones.len().max(1);
            let spread = hosts.iter().filter(|host| host.role == role).count() % zones;
            let named = spec.nodes.get(&name).and_then(|node| node.zone.as_ref());
            let zone = named.and_then(|zone| spec.zones.iter().position(|one| one == zone)).unwrap_or(spread);
            let release = spec.release_of(&name)?;
            hosts.push(PlannedHost { name, role, addresses, zone, release });
            Ok(())
        };
        // Numbers of addresses: the machine has 1, the harbor 2; the rest are ranges of their own, so that one more
        // host of a kind moves no other.
        add(SWITCH.to_owned(), Role::Switch, 0)?;
        let kubelets = spec.workers > 0 || spec.control_planes_are_nodes();
        if spec.balancer() != LoadBalancer::None || kubelets {
            add(HARBOR.to_owned(), Role::Harbor, 2)?;
        }
        let kinds = [
            ("etcd", Role::Etcd, spec.etcd_hosts(), 10, 10),
            ("cp", Role::ControlPlane, spec.control_planes, 20, 20),
            ("worker", Role::Worker, spec.workers, 40, 160),
        ];
        for (prefix, role, count, first, most) in kinds {
            if count > most {
                return Err(bad("nodes", format!("{count} hosts of the kind {prefix} are more than {most}")));
            }
            for (number, at) in (first..).zip(1..=count) {
                add(format!("{prefix}{at}"), role, number)?;
            }
        }
        if let Some(unknown) = spec.nodes.keys().find(|name| !hosts.iter().any(|host| &host.name == *name)) {
            let names: Vec<_> = hosts.iter().map(|host| host.name.as_str()).collect();
            return Err(bad(&format!("nodes.{unknown}"), format!("there is no such host, only {}", names.join(", "))));
        }
        let plan = Self { spec: spec.clone(), slot, networks, hosts };
        fields::check(&plan)?;
        Ok(plan)
    }

    /// The hosts of a role, in order.
    pub fn of(&self, role: Role) -> impl Iterator<Item = &PlannedHost> {
        self.hosts.iter().filter(move |host| host.role == role)
    }

    /// The host of this name.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<&PlannedHost> {
        self.hosts.iter().find(|host| host.name == name)
    }

    /// The first control plane.
    ///
    /// # Panics
    /// Never: [`ClusterSpec::check`] wants one.
    #[must_use]
    pub fn first(&self) -> &PlannedHost {
        self.of(Role::ControlPlane).next().expect("there is a control plane")
    }

    /// Hosts with a kubelet, in order.
    pub fn nodes(&self) -> impl Iterator<Item = &PlannedHost> {
        let planes = self.spec.control_planes_are_nodes();
        self.hosts.iter().filter(move |host| match host.role {
            Role::Worker => true,
            Role::ControlPlane => planes,
            _ => false,
        })
    }

    /// Control planes without a kubelet in a cluster that has nodes: nothing there makes Services reachable.
    pub fn without_services(&self) -> impl Iterator<Item = &PlannedHost> {
        let without = self.nodes().next().is_some() && !self.spec.control_planes_are_nodes();
        self.of(Role::ControlPlane).filter(move |_| without)
    }

    /// The programs that the hosts of a release need.
    #[must_use]
    pub fn programs(&self, release: &Release) -> Vec<&'static Program> {
        let nodes: Vec<_> = self.nodes().collect();
        let of = |host: &PlannedHost| {
            let mut names = match host.role {
                Role::Etcd => vec!["etcd", "etcdctl"],
                Role::ControlPlane => vec![
                    "etcd",
                    "etcdctl",
                    "kube-apiserver",
                    "kube-controller-manager",
                    "kube-scheduler",
                    "kubectl",
                    "kubeadm",
                ],
                Role::Harbor if self.spec.balancer() == LoadBalancer::Haproxy => vec!["haproxy"],
                Role::Switch | Role::Harbor | Role::Worker => Vec::new(),
            };
            if nodes.contains(&host) {
                names.extend(["kubelet", "kube-proxy", "containerd", "containerd-shim-runc-v2", "runc"]);
                names.extend(["bridge", "host-local", "loopback", "portmap"]);
            }
            // It is of the cluster's version, whichever node it runs on.
            if host == self.first() && !nodes.is_empty() {
                names.push("coredns");
            }
            names
        };
        let names: Vec<_> = self.hosts.iter().filter(|host| &host.release == release).flat_map(of).collect();
        PROGRAMS.iter().filter(|program| names.contains(&program.name)).collect()
    }

    /// The machine's addresses in the networks of hosts.
    #[must_use]
    pub fn machine(&self) -> Vec<IpNet> {
        let own = |network: &IpNet| IpNet::new(address(network, 1), network.prefix_len()).ok();
        self.networks.iter().filter_map(own).collect()
    }

    /// The machine's end of its link.
    #[must_use]
    pub fn uplink(&self) -> String {
        uplink(self.slot)
    }

    /// Where clients find the API servers, if not at one of them.
    #[must_use]
    pub fn endpoint(&self, port: u16) -> Option<String> {
        let harbor = self.host(HARBOR).filter(|_| self.spec.balancer() != LoadBalancer::None)?;
        Some(SocketAddr::new(harbor.address(), port).to_string())
    }

    /// Where nodes pull images from.
    #[must_use]
    pub fn registry(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.host(HARBOR)?.address(), REGISTRY))
    }

    /// A host's address on the wire: administered here, and told from every other of this machine's clusters.
    #[must_use]
    pub fn mac(&self, host: &PlannedHost) -> [u8; 6] {
        let number = match host.addresses.first().map(IpNet::addr) {
            Some(IpAddr::V4(address)) => address.octets()[3],
            Some(IpAddr::V6(address)) => address.octets()[15],
            None => 0,
        };
        [0x02, 0x5e, 0xa0, self.slot, 0, number]
    }

    /// A host's /etc/hosts.
    #[must_use]
    pub fn hosts_file(&self) -> String {
        let mut text = "127.0.0.1 localhost\n::1 localhost ip6-localhost\n".to_owned();
        for host in &self.hosts {
            for address in &host.addresses {
                text += &format!("{} {}\n", address.addr(), host.name);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_keep_their_addresses_when_others_are_added() {
        let spec = ClusterSpec { control_planes: 1, workers: 1, ..ClusterSpec::default() };
        let small = Plan::new(&spec, 3).unwrap();
        let large = Plan::new(&ClusterSpec { control_planes: 3, workers: 4, ..spec }, 3).unwrap();
        for host in &small.hosts {
            assert_eq!(large.host(&host.name).unwrap().addresses, host.addresses);
        }
        assert_eq!(small.host("cp1").unwrap().address().to_string(), "10.211.3.20");
        assert_eq!(large.endpoint(6443).unwrap(), "10.211.3.2:6443");
        assert_eq!(small.endpoint(6443), None);
    }

    #[test]
    fn zones_are_filled_in_turn_unless_named() {
        let spec = ClusterSpec::read("controlPlanes: 3\nzones: [a, b, c]\nnodes: {cp3: {zone: a}}\n").unwrap();
        let plan = Plan::new(&spec, 0).unwrap();
        assert_eq!(plan.of(Role::ControlPlane).map(|host| host.zone).collect::<Vec<_>>(), [0, 1, 0]);
        let unknown = ClusterSpec::read("nodes: {cp2: {}}\n").unwrap();
        assert!(Plan::new(&unknown, 0).unwrap_err().to_string().contains("no such host"));
    }
}
