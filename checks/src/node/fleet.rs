//! Claims that compare a node with the others that were given: what must be unique is, and what should be alike is.
//!
//! `seaworthy run --host a.tar.zst --host b.tar.zst`; a node alone is not judged by them. Of what should be
//! alike the node that differs from most is named, of two the one with the lesser value.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::kubeadm_config::{SOCKETS, addresses4, addresses6, routes4};
use crate::Inconclusive;
use crate::check::{Check, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion};
use crate::construct::{dir, file, replace, said, value};
use crate::fact::Fact;
use crate::host::{CriCall, Host, Program, Query};
use crate::node::{Facts as NodeFacts, View, reference_system};

const KUBEADM: &str =
    "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/install-kubeadm/#verify-mac-address";
const SKEW: &str = "https://kubernetes.io/releases/version-skew-policy/";
const NETWORKING: &str = "https://kubernetes.io/docs/concepts/cluster-administration/networking/";
const TRIE_11: &str = "Main:\n     |-- 192.0.2.11\n        /32 host LOCAL\n";
const ROUTE_10: &str = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n\
    eth0 00000000 0100000A 0003 0 0 100 00000000 0 0 0\neth0 0000000A 00000000 0001 0 0 0 00FFFFFF 0 0 0\n";
const UUID: &str = "/sys/class/dmi/id/product_uuid";

/// No other node has one of this node's values.
fn unique(
    view: &View<'_>,
    what: &str,
    values: fn(&NodeFacts) -> Fact<Vec<String>>,
) -> Result<Conclusion, Inconclusive> {
    if view.peers.is_empty() {
        return Ok(Conclusion::not_applicable(ALONE));
    }
    let own = values(view.facts);
    let own = own.need(what)?;
    let mut breaches = Vec::new();
    let mut unknown = None;
    for peer in view.peers {
        match values(peer.facts).need(what) {
            Ok(theirs) => {
                let shared = own.iter().filter(|value| theirs.contains(value));
                breaches.extend(shared.map(|value| {
                    Breach::new(peer.name, format!("{} has the same {what}", peer.name))
                        .found(value)
                        .wanted("one of its own")
                }));
            }
            Err(why) => unknown = Some(Inconclusive::new(format!("of {}: {why}", peer.name))),
        }
    }
    match unknown {
        Some(why) if breaches.is_empty() => Err(why),
        _ => Ok(Conclusion::from_breaches(breaches).because(what, own.join(", "))),
    }
}

/// What is known of a node for a comparison with others.
#[derive(Debug)]
pub struct Facts {
    /// The MTU of the interface with the default route.
    pub mtu: Fact<u32>,
    /// Addresses on the networks of that interface.
    pub addresses: Fact<Vec<IpAddr>>,
    /// The networks of that interface.
    pub networks: Fact<Vec<IpNet>>,
    /// Addresses of the names of other nodes, where the user names some.
    pub names: BTreeMap<String, Fact<Vec<IpAddr>>>,
    /// Name and version of the runtime, such as `containerd 2.1.4`.
    pub runtime: Fact<String>,
}

impl Facts {
    pub(super) fn read(host: &dyn Host) -> Self {
        let net = |file: &str| match host.text(&format!("/proc/1/net/{file}")) {
            Fact::Known(text) => Fact::Known(text),
            _ => host.text(&format!("/proc/net/{file}")),
        };
        let routes = net("route");
        let interface = routes.clone().and_then(|text| match default_interface(&text) {
            Some(name) => Fact::Known(name),
            None => Fact::Absent("there is no default route of IPv4".to_owned()),
        });
        let networks: Fact<Vec<IpNet>> = interface.clone().and_then(|name| {
            routes.map(|text| routes4(&text).into_iter().filter(|(_, of)| *of == name).map(|(net, _)| net).collect())
        });
        let v6 = net("if_inet6").known().zip(interface.known()).map(|(text, name)| {
            // The interface is the last field.
            let own: String = text
                .lines()
                .filter(|line| line.split_whitespace().last() == Some(name.as_str()))
                .map(|line| format!("{line}\n"))
                .collect();
            addresses6(&own)
        });
        let addresses = networks.clone().and_then(|networks| {
            let on = |address: &IpAddr| networks.iter().any(|net| net.contains(address));
            net("fib_trie").map(|text| addresses4(&text).into_iter().filter(on).chain(v6.unwrap_or_default()).collect())
        });
        let mtu = interface.and_then(|name| {
            host.text(&format!("/sys/class/net/{name}/mtu"))
                .parse(|text| text.trim().parse().map_err(|_| format!("the MTU of {name} is no number")))
        });
        let lookup = |name: String| {
            let found: Fact<Vec<String>> = host.parsed(&Query::Lookup { name: name.clone() });
            (name.to_lowercase(), found.map(|all| all.iter().filter_map(|address| address.parse().ok()).collect()))
        };
        Self {
            mtu,
            addresses,
            networks,
            names: host.layout().peers.into_iter().map(lookup).collect(),
            runtime: runtime(host),
        }
    }
}

/// The interface of the best default route in /proc/net/route.
fn default_interface(text: &str) -> Option<String> {
    let route = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let default = *fields.get(1)? == "00000000" && *fields.get(7)? == "00000000";
        default.then(|| Some((fields.get(6)?.parse::<u32>().ok()?, fields[0].to_owned()))).flatten()
    };
    text.lines().skip(1).filter_map(route).min().map(|(_, name)| name)
}

fn runtime(host: &dyn Host) -> Fact<String> {
    let version = |socket: &&str| {
        let query = Query::Cri { socket: (*socket).to_owned(), call: CriCall::Version };
        let answer = host.value(&query);
        let word = |name: &str| answer.known()?.get(name).and_then(Value::as_str);
        Some(format!("{} {}", word("runtimeName")?, word("runtimeVersion")?.trim_start_matches('v')))
    };
    match SOCKETS.iter().find_map(version) {
        Some(version) => Fact::Known(version),
        None => Fact::Absent("no runtime answers".to_owned()),
    }
}

const ALONE: &str = "one node was given; --host may be given several times";

/// This node has the value that most of the nodes have; of as many, the greater one.
fn alike<T: Ord + Clone + ToString>(
    view: &View<'_>,
    what: &str,
    value: fn(&NodeFacts) -> Fact<T>,
    place: &str,
) -> Result<Conclusion, Inconclusive> {
    if view.peers.is_empty() {
        return Ok(Conclusion::not_applicable(ALONE));
    }
    let own = value(view.facts);
    let own = own.need(what)?;
    let mut counts: BTreeMap<T, Vec<&str>> = BTreeMap::from([(own.clone(), Vec::new())]);
    for peer in view.peers {
        if let Fact::Known(theirs) = value(peer.facts) {
            counts.entry(theirs).or_default().push(peer.name);
        }
    }
    let most = counts.iter().max_by_key(|(value, names)| (names.len() + usize::from(*value == own), (*value).clone()));
    Ok(match most {
        Some((common, names)) if common != own => {
            let message =
                format!("{what} is {} here and {} on {}", own.to_string(), common.to_string(), names.join(", "));
            Conclusion::breach(
                Breach::new(what, message).found(own.to_string()).wanted(common.to_string()).at(place, None),
            )
        }
        _ => Conclusion::holds().because(what, own.to_string()),
    })
}

/// The names of the others resolve here to addresses that they have.
fn names(view: &View<'_>) -> Result<Conclusion, Inconclusive> {
    if view.peers.is_empty() {
        return Ok(Conclusion::not_applicable(ALONE));
    }
    let hosts = view.facts.network.hosts.present("/etc/hosts")?;
    let (mut breaches, mut unknown) = (Vec::new(), None);
    for peer in view.peers {
        let name = match peer.facts.network.hostname.need("host name") {
            Ok(name) => name.trim().to_lowercase(),
            Err(why) => {
                unknown = Some(Inconclusive::new(format!("of {}: {why}", peer.name)));
                continue;
            }
        };
        let in_hosts =
            hosts.into_iter().flatten().filter(|(_, names)| names.contains(&name)).map(|(address, _)| *address);
        let mut found: Vec<IpAddr> = in_hosts.collect();
        if found.is_empty() {
            let asked = view.facts.fleet.names.get(&name).map(|found| found.present(&name));
            match asked {
                Some(Ok(addresses)) => found.extend(addresses.into_iter().flatten()),
                Some(Err(why)) => {
                    unknown = Some(why);
                    continue;
                }
                None => {
                    let why = format!("{name} is not in /etc/hosts, and DNS was not asked: add --peer {name}");
                    unknown = Some(Inconclusive::new(why));
                    continue;
                }
            }
        }
        if found.is_empty() {
            let breach = Breach::new(&name, format!("{name}, the name of {}, does not resolve here", peer.name));
            breaches.push(breach.at("/etc/hosts", None));
            continue;
        }
        match peer.facts.fleet.addresses.need("addresses") {
            Ok(theirs) if !found.iter().any(|address| theirs.contains(address)) => {
                let list = |all: &[IpAddr]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                let message = format!("{name} is {} here, and {} has {}", list(&found), peer.name, list(theirs));
                breaches
                    .push(Breach::new(&name, message).found(list(&found)).wanted(list(theirs)).at("/etc/hosts", None));
            }
            Ok(_) => {}
            Err(why) => unknown = Some(Inconclusive::new(format!("of {}: {why}", peer.name))),
        }
    }
    match unknown {
        Some(why) if breaches.is_empty() => Err(why),
        _ => Ok(Conclusion::from_breaches(breaches)),
    }
}

fn subnet(view: &View<'_>) -> Result<Conclusion, Inconclusive> {
    if view.peers.is_empty() {
        return Ok(Conclusion::not_applicable(ALONE));
    }
    let own = view.facts.fleet.networks.need("networks")?;
    let shared = |peer: &&super::Peer<'_>| match &peer.facts.fleet.networks {
        Fact::Known(theirs) => theirs.iter().any(|net| own.contains(net)),
        _ => true,
    };
    // The node that shares with nobody is the odd one out.
    if view.peers.iter().any(|peer| shared(&peer)) {
        return Ok(Conclusion::holds());
    }
    let list = |all: &[IpNet]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let message = format!("this node is in {}, and no other node is", list(own));
    Ok(Conclusion::breach(Breach::new("subnet", message).found(list(own)).at("/proc/1/net/route", None)))
}

fn one(fact: &Fact<String>) -> Fact<Vec<String>> {
    fact.clone().map(|value| vec![value.to_lowercase()])
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    vec![
        Check::new("node.fleet.hostname", "no other node has this node's host name", |view| {
            unique(view, "host name", |facts| one(&facts.network.hostname))
        })
        .label("fleet")
        .alias("unique hostname")
        .page(
            "Nodes are known by their names: the second node of a name takes the first one's place.",
            "Compares the host names of all nodes that were given.",
        )
        .basis("Installing kubeadm: before you begin", KUBEADM)
        .remedy(Remedy::new("Give it a name of its own, before it joins.").command("hostnamectl set-hostname node-2"))
        .beside([file("/proc/sys/kernel/hostname", "other\n")])
        .bad([file("/proc/sys/kernel/hostname", "Other\n")]),
        Check::new("node.fleet.mac", "no other node has one of this node's MAC addresses", |view| {
            unique(view, "MAC address", |facts| facts.network.macs.clone().map(|macs| macs.into_values().collect()))
        })
        .label("fleet")
        .alias("MAC address")
        .page(
            "Clones of a virtual machine keep its MAC address: frames go to the wrong one, now and \
                 then.",
            "Compares the MAC addresses of all nodes that were given, those of pods' links left out.",
        )
        .basis("Installing kubeadm: verify the MAC address and product_uuid are unique", KUBEADM)
        .remedy(Remedy::new("Have the hypervisor give each machine an address of its own."))
        .beside([dir("/sys/class/net", &["lo/", "eth7/"]), file("/sys/class/net/eth7/address", "52:54:00:aa:bb:cc\n")])
        .bad([dir("/sys/class/net", &["lo/", "eth0/"]), file("/sys/class/net/eth0/address", "52:54:00:AA:BB:CC\n")]),
        Check::new("node.fleet.product-uuid", "no other node has this node's product_uuid", |view| {
            unique(view, "product_uuid", |facts| one(&facts.machine.product_uuid))
        })
        .label("fleet")
        .alias("product_uuid")
        .page(
            "Some installers and network plug-ins identify nodes by it.",
            "Compares /sys/class/dmi/id/product_uuid of all nodes that were given.",
        )
        .basis("Installing kubeadm: verify the MAC address and product_uuid are unique", KUBEADM)
        .remedy(Remedy::new("Have the hypervisor give each machine a UUID of its own."))
        .beside([file(UUID, "aaaaaaaa-0000-4000-8000-000000000001\n")])
        .bad([file(UUID, "AAAAAAAA-0000-4000-8000-000000000001\n")]),
        Check::new("node.fleet.machine-id", "no other node has this node's machine-id", |view| {
            unique(view, "machine-id", |facts| one(&facts.machine.machine_id))
        })
        .label("fleet")
        .alias("unique machine-id")
        .page(
            "DHCP clients of systemd ask by it: clones get one address. Container metrics are told \
                 apart by it, too.",
            "Compares /etc/machine-id of all nodes that were given.",
        )
        .basis("machine-id(5)", "https://www.freedesktop.org/software/systemd/man/latest/machine-id.html")
        .remedy(
            Remedy::new("Make a new one, and empty the file in the image that machines are cloned from.")
                .command("rm -f /etc/machine-id && systemd-machine-id-setup"),
        )
        .beside([file("/etc/machine-id", "00000000000000000000000000000001\n")])
        .bad([file("/etc/machine-id", "00000000000000000000000000000001\n")]),
        Check::new("node.fleet.kubelet-skew", "kubelets of the fleet are at most three minors apart", |view| {
            if view.peers.is_empty() {
                return Ok(Conclusion::not_applicable(ALONE));
            }
            let minor = |facts: &NodeFacts| {
                let version = facts.kubelet.version.need("kubelet --version")?;
                let minor = version.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
                minor.ok_or_else(|| Inconclusive::new(format!("'{version}' is no version")))
            };
            let own = minor(view.facts)?;
            // The older nodes are the ones to upgrade: a newer one is no fault of its own.
            let mut newest: Option<(u32, &str)> = None;
            for peer in view.peers {
                let theirs = minor(peer.facts)?;
                if newest.is_none_or(|(known, _)| theirs > known) {
                    newest = Some((theirs, peer.name));
                }
            }
            Ok(match newest.filter(|(newest, _)| *newest > own + 3) {
                None => Conclusion::holds().because("kubelet", format!("1.{own}")),
                Some((newest, name)) => {
                    let message =
                        format!("no API server is close enough to kubelet 1.{own} here and 1.{newest} on {name}");
                    let breach = Breach::new("kubelet", message).found(format!("1.{own}"));
                    Conclusion::breach(breach.wanted(format!("1.{} or later", newest - 3)))
                }
            })
        })
        .severity(Severity::Medium)
        .label("fleet")
        .alias("kubelet version skew of nodes")
        .page(
            "A kubelet may be three minors older than the API server, and never newer: nodes further \
                 apart have no API server in common.",
            "Compares kubelet --version of all nodes that were given.",
        )
        .basis("Version skew policy: kubelet", SKEW)
        .remedy(Remedy::new("Upgrade the older nodes."))
        .beside([])
        .bad([said(Query::Run { program: Program::KubeletVersion }, "Kubernetes v1.30.1\n")]),
        Check::new("node.fleet.address", "no other node has one of this node's IP addresses", |view| {
            unique(view, "IP address", |facts| {
                facts.fleet.addresses.clone().map(|all| all.iter().map(ToString::to_string).collect())
            })
        })
        .label("fleet")
        .alias("duplicate IP")
        .page(
            "Connections to either node end at one of them, now and then at the other.",
            "Compares the addresses on the networks of the default route's interface of all nodes \
                 that were given.",
        )
        .basis("Installing kubeadm: before you begin", KUBEADM)
        .remedy(Remedy::new("Give one of the nodes another address.").command("ip -br address"))
        .beside([file("/proc/1/net/fib_trie", TRIE_11), file("/proc/1/net/if_inet6", "")])
        .bad([file("/proc/1/net/fib_trie", TRIE_11)]),
        Check::new("node.fleet.mtu", "this node's MTU is that of the other nodes", |view| {
            alike(view, "the MTU", |facts| facts.fleet.mtu.clone(), "/sys/class/net")
        })
        .severity(Severity::Medium)
        .label("fleet")
        .alias("MTU mismatch")
        .page(
            "Where MTUs differ, small packets pass and large ones are lost: connections open and \
                 hang.",
            "Compares the MTU of the default route's interface of all nodes that were given. \
                 `seaworthy reach` measures the path.",
        )
        .basis("Cluster networking", NETWORKING)
        .remedy(Remedy::new("Give all interfaces of the network one MTU.").command("ip link set dev eth0 mtu 1500"))
        .beside([])
        .bad([file("/sys/class/net/eth0/mtu", "1400\n")]),
        Check::new("node.fleet.names", "the names of the other nodes resolve here to their addresses", names)
            .severity(Severity::Medium)
            .label("fleet")
            .alias("name resolution between nodes")
            .page(
                "etcd, kubectl exec and monitoring connect to nodes by their names.",
                "Looks for the host names of the other nodes in /etc/hosts, then in DNS where --peer \
                 names them, and compares the addresses with theirs.",
            )
            .basis("Installing kubeadm: before you begin", KUBEADM)
            .remedy(
                Remedy::new("Add the other nodes to DNS, or to /etc/hosts.")
                    .persist("/etc/hosts", "192.0.2.11 node-2\n"),
            )
            .beside([file("/proc/sys/kernel/hostname", "other\n"), file("/proc/1/net/fib_trie", TRIE_11)])
            .good([replace("/etc/hosts", "192.0.2.10 reference", "192.0.2.11 other")])
            .bad([replace("/etc/hosts", "192.0.2.10 reference", "192.0.2.99 other")]),
        Check::new("node.fleet.subnet", "this node is in a subnet with another node", subnet)
            .severity(Severity::Info)
            .label("fleet")
            .alias("same subnet")
            .page(
                "Nodes of different subnets need routes, and network plug-ins an encapsulation between \
                 them.",
                "Compares the networks of the default route's interface of all nodes that were given.",
            )
            .basis("Cluster networking", NETWORKING)
            .remedy(Remedy::new("Choose a network plug-in with encapsulation between subnets, such as VXLAN."))
            .beside([])
            .bad([file("/proc/1/net/route", ROUTE_10)]),
        Check::new("node.fleet.kernel", "this node's kernel is that of the other nodes", |view| {
            alike(
                view,
                "the kernel",
                |facts| facts.machine.system.clone().map(|system| system.release),
                "/proc/version",
            )
        })
        .severity(Severity::Low)
        .label("fleet")
        .alias("kernel drift")
        .page(
            "Nodes of one image behave alike; what differs is found late.",
            "Compares the kernels of all nodes that were given.",
        )
        .basis("kernel documentation: stable releases", "https://www.kernel.org/category/releases.html")
        .remedy(Remedy::new("Upgrade the node and boot it anew."))
        .beside([])
        .bad([reference_system(|system| system.release = "6.1.0-13-amd64".to_owned())]),
        Check::new("node.fleet.runtime", "this node's container runtime is that of the other nodes", |view| {
            alike(view, "the runtime", |facts| facts.fleet.runtime.clone(), "/run")
        })
        .severity(Severity::Low)
        .label("fleet")
        .alias("runtime drift")
        .page(
            "Nodes of one image behave alike; what differs is found late.",
            "Compares what the runtimes of all nodes that were given say.",
        )
        .basis("Container runtimes", "https://kubernetes.io/docs/setup/production-environment/container-runtimes/")
        .remedy(Remedy::new("Upgrade the runtime of the node."))
        .beside([])
        .bad([value(
            Query::Cri { socket: SOCKETS[0].to_owned(), call: CriCall::Version },
            serde_json::json!({"runtimeName": "containerd", "runtimeVersion": "v1.7.1", "runtimeApiVersion": "v1"}),
        )]),
    ]
}
