//! The network: name, routes, resolver, proxies, and the ports that Kubernetes needs.

mod checks;
mod ports;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use crate::fact::Fact;
use crate::host::{Host, Query};

pub use ports::Listener;

/// What is known of the network.
#[derive(Debug)]
pub struct Facts {
    /// The kernel's host name.
    pub hostname: Fact<String>,
    /// The addresses that the host name has for the node.
    pub addresses: Fact<Vec<String>>,
    /// Names and addresses of /etc/hosts.
    pub hosts: Fact<Vec<(IpAddr, Vec<String>)>>,
    /// The resolver's configuration.
    pub resolver: Fact<Resolver>,
    /// Interfaces of the default routes of IPv4, the best first.
    pub default_routes: Fact<Vec<String>>,
    /// Interfaces of the default routes of IPv6, the best first.
    pub default_routes6: Fact<Vec<String>>,
    /// IPv4 routes other than the default routes.
    pub routes: Fact<Vec<Route>>,
    /// What the configuration of the network plug-in says.
    pub pods: Fact<PodNetwork>,
    /// MAC addresses by interface, for interfaces that are hardware or look like it.
    pub macs: Fact<BTreeMap<String, String>>,
    /// Global IPv6 addresses, with their interfaces.
    pub addresses6: Fact<Vec<(String, String)>>,
    /// Lines of the environment that set a proxy: file, line, name.
    pub proxies: Fact<Vec<(String, u32, String)>>,
    /// TCP ports that are listened on.
    pub listeners: Fact<Vec<Listener>>,
}

/// /etc/resolv.conf.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolver {
    /// Name servers with their lines.
    pub servers: Vec<(u32, String)>,
    /// Search domains.
    pub search: Vec<String>,
}

impl Facts {
    pub(super) fn read(host: &dyn Host) -> Self {
        // Of the first process, so that a container that looks sees the node's; ours where that is forbidden.
        let net = |file: &str| match host.text(&format!("/proc/1/net/{file}")) {
            Fact::Known(text) => Fact::Known(text),
            _ => host.text(&format!("/proc/net/{file}")),
        };
        let hostname = host.text("/proc/sys/kernel/hostname").map(|text| text.trim().to_owned());
        let routes = net("route").map(|text| parse_routes(&text));
        Self {
            // The kubelet and kubeadm lower the case of a host name.
            addresses: match hostname.known() {
                Some(name) => host.parsed(&Query::Lookup { name: name.to_lowercase() }),
                None => hostname.clone().map(|_| Vec::new()),
            },
            hostname,
            hosts: host.text("/etc/hosts").map(|text| parse_hosts(&text)),
            resolver: host.text("/etc/resolv.conf").map(|text| parse_resolver(&text)),
            default_routes: routes.clone().map(|routes| default_routes(&routes)),
            default_routes6: net("ipv6_route").map(|text| parse_default_routes6(&text)),
            routes: routes.map(|routes| routes.into_iter().filter(|route| route.prefix > 0).collect()),
            pods: pods(host),
            macs: macs(host),
            addresses6: net("if_inet6").map(|text| parse_addresses6(&text)),
            proxies: proxies(host),
            listeners: ports::listeners(host, net("tcp"), net("tcp6")),
        }
    }
}

fn parse_hosts(text: &str) -> Vec<(IpAddr, Vec<String>)> {
    let line = |line: &str| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address = words.next()?.split('%').next()?.parse().ok()?;
        Some((address, words.map(str::to_lowercase).collect()))
    };
    text.lines().filter_map(line).collect()
}

fn parse_resolver(text: &str) -> Resolver {
    let mut resolver = Resolver::default();
    for (number, line) in text.lines().enumerate() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => {
                let number = u32::try_from(number + 1).unwrap_or(u32::MAX);
                resolver.servers.extend(words.next().map(|server| (number, server.to_owned())));
            }
            // resolv.conf(5): the last domain or search line is the one that counts.
            Some("search" | "domain") => resolver.search = words.map(str::to_owned).collect(),
            _ => {}
        }
    }
    resolver
}

/// An IPv4 route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The interface that packets leave by.
    pub interface: String,
    /// The network.
    pub network: Ipv4Addr,
    /// The length of its prefix.
    pub prefix: u8,
    /// Does a router stand between, or is the network on the link itself?
    pub routed: bool,
    metric: u32,
}

/// What the network plug-in is configured with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodNetwork {
    /// IPv4 ranges that the node gives to its pods.
    pub ranges: Vec<(Ipv4Addr, u8)>,
    /// Interfaces that the plug-in makes.
    pub interfaces: Vec<String>,
}

const NET_D: &str = "/etc/cni/net.d";

/// Reads ranges and bridges from the configurations of CNI; absent where there is none.
fn pods(host: &dyn Host) -> Fact<PodNetwork> {
    host.list(NET_D).and_then(|entries| {
        let wanted = |name: &str| [".conf", ".conflist", ".json"].iter().any(|ending| name.ends_with(ending));
        let mut names: Vec<_> = entries.into_iter().map(|entry| entry.name).filter(|name| wanted(name)).collect();
        names.sort();
        let Some(name) = names.first() else { return Fact::Absent(format!("{NET_D} holds no configuration")) };
        host.text(&format!("{NET_D}/{name}")).map(|text| {
            let mut pods = PodNetwork::default();
            // What does not parse is the claim of the runtime's family.
            if let Ok(value) = serde_json::from_str(&text) {
                collect(&value, &mut pods);
            }
            pods
        })
    })
}

fn collect(value: &serde_json::Value, pods: &mut PodNetwork) {
    match value {
        serde_json::Value::Object(members) => {
            for (name, member) in members {
                match (name.as_str(), member.as_str()) {
                    ("subnet", Some(text)) => pods.ranges.extend(range(text)),
                    ("bridge" | "master", Some(name)) => pods.interfaces.push(name.to_owned()),
                    _ => collect(member, pods),
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, pods)),
        _ => {}
    }
}

fn range(text: &str) -> Option<(Ipv4Addr, u8)> {
    let (address, length) = text.split_once('/')?;
    Some((address.parse().ok()?, length.parse().ok().filter(|length| *length <= 32)?))
}

/// /proc/net/route: interface, destination, gateway, flags, …, metric, mask; addresses as the machine has them in
/// memory.
fn parse_routes(text: &str) -> Vec<Route> {
    let address = |field: &str| u32::from_str_radix(field, 16).ok().map(|value| Ipv4Addr::from(value.to_ne_bytes()));
    let line = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let up = u32::from_str_radix(fields.get(3)?, 16).ok()? & 1 == 1;
        let mask = address(fields.get(7)?)?;
        up.then_some(Route {
            interface: (*fields.first()?).to_owned(),
            network: address(fields.get(1)?)?,
            prefix: u8::try_from(u32::from(mask).count_ones()).ok()?,
            routed: !address(fields.get(2)?)?.is_unspecified(),
            metric: fields.get(6)?.parse().ok()?,
        })
    };
    text.lines().skip(1).filter_map(line).collect()
}

fn default_routes(routes: &[Route]) -> Vec<String> {
    let mut defaults: Vec<_> =
        routes.iter().filter(|route| route.prefix == 0 && route.network.is_unspecified()).collect();
    defaults.sort_by_key(|route| route.metric);
    defaults.into_iter().map(|route| route.interface.clone()).collect()
}

/// /proc/net/ipv6_route: destination, prefix, source, prefix, next hop, metric, …, flags, interface. `lo` holds the
/// reject route.
fn parse_default_routes6(text: &str) -> Vec<String> {
    let line = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let default = fields.first()?.bytes().all(|byte| byte == b'0') && *fields.get(1)? == "00";
        let interface = *fields.get(9)?;
        let metric = u32::from_str_radix(fields.get(5)?, 16).ok()?;
        (default && interface != "lo").then(|| (metric, interface.to_owned()))
    };
    let mut defaults: Vec<_> = text.lines().filter_map(line).collect();
    defaults.sort();
    defaults.into_iter().map(|(_, interface)| interface).collect()
}

/// /proc/net/if_inet6: address, index, prefix, scope (00 is global), flags, interface.
fn parse_addresses6(text: &str) -> Vec<(String, String)> {
    let line = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let address = u128::from_str_radix(fields.first()?, 16).ok()?;
        let global = *fields.get(3)? == "00";
        global
            .then(|| (std::net::Ipv6Addr::from(address).to_string(), fields.get(5).copied().unwrap_or("?").to_owned()))
    };
    text.lines().filter_map(line).collect()
}

fn macs(host: &dyn Host) -> Fact<BTreeMap<String, String>> {
    host.list("/sys/class/net").map(|entries| {
        let mut macs = BTreeMap::new();
        for entry in entries {
            // Pods' ends, bridges and tunnels have addresses of no meaning outside.
            let ours = [
                "lo", "veth", "cni", "docker", "br-", "flannel", "cali", "cilium", "lxc", "tun", "tap", "dummy",
                "kube-",
            ];
            if ours.iter().any(|prefix| entry.name.starts_with(prefix)) {
                continue;
            }
            if let Fact::Known(mac) = host.text(&format!("/sys/class/net/{}/address", entry.name)) {
                let mac = mac.trim().to_lowercase();
                if !mac.is_empty() && mac != "00:00:00:00:00:00" {
                    macs.insert(entry.name, mac);
                }
            }
        }
        macs
    })
}

/// Where proxies for services are set. Only the names are kept: the values hold credentials.
fn proxies(host: &dyn Host) -> Fact<Vec<(String, u32, String)>> {
    let mut files = vec!["/etc/environment".to_owned()];
    for unit in ["kubelet", "containerd", "crio", "docker"] {
        let folder = format!("/etc/systemd/system/{unit}.service.d");
        if let Fact::Known(entries) = host.list(&folder) {
            let drop_ins = entries.into_iter().filter(|entry| entry.name.ends_with(".conf"));
            files.extend(drop_ins.map(|entry| format!("{folder}/{}", entry.name)));
        }
    }
    let (mut found, mut known) = (Vec::new(), false);
    for file in files {
        let text = match host.text(&file) {
            Fact::Known(text) => text,
            Fact::Absent(_) => {
                known = true;
                continue;
            }
            Fact::Unreadable(why) | Fact::Malformed(why) => return Fact::Unreadable(why),
            Fact::NotGathered(why) => return Fact::NotGathered(why),
        };
        known = true;
        for (number, line) in text.lines().enumerate() {
            let upper = line.trim().to_uppercase();
            for name in ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"] {
                let starts = upper.starts_with(&format!("{name}=")) || upper.contains(&format!("\"{name}="));
                let unit = upper.strip_prefix("ENVIRONMENT=").is_some_and(|rest| rest.contains(&format!("{name}=")));
                if (starts || unit) && !upper.starts_with('#') {
                    found.push((file.clone(), u32::try_from(number + 1).unwrap_or(u32::MAX), name.to_owned()));
                }
            }
        }
    }
    if known { Fact::Known(found) } else { Fact::NotGathered("no place that sets proxies was looked at".to_owned()) }
}

/// The family's checks.
pub(super) fn checks() -> Vec<crate::Check> {
    let mut all = checks::checks();
    all.extend(ports::checks());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_read() {
        let text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                    eth1\t00000000\t0101A8C0\t0003\t0\t0\t200\t00000000\t0\t0\t0\n\
                    eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
                    eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\ngarbage\n";
        let routes = parse_routes(text);
        assert_eq!(default_routes(&routes), ["eth0", "eth1"]);
        assert_eq!((routes[2].network, routes[2].prefix), (Ipv4Addr::new(10, 0, 0, 0), 24));
    }

    #[test]
    fn the_last_search_line_counts() {
        let resolver = parse_resolver("search a b\nnameserver 127.0.0.53 # x\ndomain c\n");
        assert_eq!(resolver, Resolver { servers: vec![(2, "127.0.0.53".into())], search: vec!["c".into()] });
    }

    proptest::proptest! {
        #[test]
        fn parsers_take_anything(text in "\\PC{0,400}") {
            parse_routes(&text);
            parse_default_routes6(&text);
            parse_addresses6(&text);
            parse_resolver(&text);
            parse_hosts(&text);
            ports::parse(&text);
        }
    }
}
