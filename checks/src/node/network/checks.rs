//! Claims about name, routes, resolver and proxies.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::json;

use super::Route;
use crate::check::{Check, Judgment, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion};
use crate::construct::{file, no_dir, no_stat, refuses, value};
use crate::host::{Query, RefusalKind};
use crate::node::View;
use crate::node::kubelet::is_the_node_s_own;

const KUBEADM: &str = "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/install-kubeadm/";
const TROUBLE: &str = "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/troubleshooting-kubeadm/";
const DNS: &str = "https://kubernetes.io/docs/tasks/administer-cluster/dns-debugging-resolution/";

/// How interfaces of network plug-ins are called.
const PLUGINS: [&str; 13] =
    ["cni", "flannel", "cali", "cilium", "kube-", "veth", "lxc", "tunl", "vxlan", "eni", "azv", "gke", "antrea"];

/// What kubeadm and kind give Services and flannel gives pods unless told otherwise.
const CLUSTER_NETWORKS: [(&str, Ipv4Addr, u8); 2] = [
    ("Services (kubeadm's default)", Ipv4Addr::new(10, 96, 0, 0), 12),
    ("pods (flannel's default)", Ipv4Addr::new(10, 244, 0, 0), 16),
];

fn overlap(a: (Ipv4Addr, u8), b: (Ipv4Addr, u8)) -> bool {
    let shift = 32 - u32::from(a.1.min(b.1)).min(32);
    let cut = |address: Ipv4Addr| u64::from(u32::from(address)) >> shift;
    cut(a.0) == cut(b.0)
}

/// Networks that routes must leave alone: those of the cluster that the node is in, else the defaults.
fn judge_overlap(view: &View<'_>) -> Judgment {
    let routes = view.facts.network.routes.need("IPv4 routes")?;
    let pods = view.facts.network.pods.present("CNI configuration")?;
    let joined = view.facts.files.joined()?;
    let networks: Vec<(&str, Ipv4Addr, u8)> = match pods {
        Some(pods) if !pods.ranges.is_empty() => {
            pods.ranges.iter().map(|(address, length)| ("pods of this node", *address, *length)).collect()
        }
        None if !joined => CLUSTER_NETWORKS.to_vec(),
        _ => {
            let why = "the node has joined a cluster, and its network plug-in does not say which addresses pods have";
            return Ok(Conclusion::not_applicable(why));
        }
    };
    let chosen = pods.is_some();
    let own = |interface: &str| {
        PLUGINS.iter().any(|name| interface.starts_with(name))
            || pods.is_some_and(|pods| pods.interfaces.iter().any(|name| name == interface))
    };
    let breach = |route: &Route| {
        let clash = networks.iter().find(|network| overlap((route.network, route.prefix), (network.1, network.2)))?;
        // The cluster's own routers lead to wider networks, of which the longest prefix keeps the node's part apart.
        if own(&route.interface) || (chosen && route.routed && route.prefix < clash.2) {
            return None;
        }
        let Route { network, prefix, interface, .. } = route;
        let message = format!("{network}/{prefix} on {interface} overlaps {}/{}, {}", clash.1, clash.2, clash.0);
        let breach = Breach::new(format!("{network}/{prefix}"), message).found(format!("a route by {interface}"));
        Some(breach.wanted(format!("no route within {}/{}", clash.1, clash.2)).at("/proc/1/net/route", None))
    };
    Ok(Conclusion::from_breaches(routes.iter().filter_map(breach).collect()))
}

fn overlap_check() -> Check {
    Check::new("node.network.overlap", "no route overlaps the networks of pods and Services", judge_overlap)
        .severity(Severity::Low)
        .label("network")
        .alias("CIDR overlap")
        .page(
            "Addresses of pods and Services that are also addresses of your network cannot be reached.",
            "Compares the routing table with the ranges of the node's CNI configuration; before the node has joined a \
             cluster, with 10.96.0.0/12 and 10.244.0.0/16. Interfaces of the network plug-in are left out.",
        )
        .basis(
            "Cluster networking; k3s check-config: routes",
            "https://kubernetes.io/docs/concepts/cluster-administration/networking/",
        )
        .remedy(Remedy::new(
            "Choose other networks before the cluster is made: kubeadm's networking.podSubnet and \
             networking.serviceSubnet. Of a cluster that runs, neither can be changed in place: renumber the other \
             network.",
        ))
        .bad([
            file(
                "/proc/1/net/route",
                "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n\
                 eth0 0000600A 00000000 0001 0 0 0 0000FFFF 0 0 0\n",
            ),
            no_dir("/etc/cni/net.d"),
            no_stat("/etc/kubernetes/kubelet.conf"),
        ])
}

/// A label of a DNS subdomain (RFC 1123 section 2.1), in lower case as the API server wants it.
fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= 63
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

pub(super) fn checks() -> Vec<Check> {
    let lookup = || Query::Lookup { name: "reference".to_owned() };
    vec![
        Check::new("node.network.hostname-resolves", "the host name has an address", |view| {
            let name = &view.facts.network.hostname.need("host name")?.to_lowercase();
            Ok(match view.facts.network.addresses.present("the host name's addresses")? {
                Some(addresses) if !addresses.is_empty() => Conclusion::holds().because(name, addresses.join(", ")),
                _ => Conclusion::breach(
                    Breach::new("hostname", format!("{name} is neither in /etc/hosts nor known to a name server"))
                        .at("/etc/hosts", None),
                ),
            })
        })
        .severity(Severity::Medium)
        .label("network")
        .label("kubeadm")
        .alias("Hostname")
        .alias("hostname could not be reached")
        .page(
            "kubeadm warns of it; the kubelet takes its address from it where no --node-ip is given.",
            "Looks in /etc/hosts, then asks the name servers of /etc/resolv.conf.",
        )
        .basis("kubeadm preflight: Hostname", KUBEADM)
        .remedy(Remedy::new("Add it to /etc/hosts with the node's address.").command(
            "echo \"$(ip -4 -o addr show scope global | awk '{print $4}' | cut -d/ -f1 | head -n1) $(hostname)\" >> \
             /etc/hosts",
        ))
        .good([value(lookup(), json!(["10.0.0.11"]))])
        .bad([refuses(lookup(), RefusalKind::Absent, "reference has no address")]),
        Check::new("node.network.hostname", "the host name is a DNS name", |view| {
            let hostname = view.facts.network.hostname.need("host name")?;
            let name = hostname.to_lowercase();
            Ok(if name.len() <= 253 && name.split('.').all(is_label) {
                Conclusion::holds().because("node name", name)
            } else {
                let message = "a node cannot be registered under this name, which is no DNS subdomain";
                let breach = Breach::new("hostname", message).found(hostname).wanted("letters, digits, '-' and '.'");
                Conclusion::breach(breach.at("/proc/sys/kernel/hostname", Some(1)))
            })
        })
        .label("network")
        .label("kubeadm")
        .alias("Hostname")
        .page(
            "The kubelet registers the node under its host name in lower case, and the API server takes only DNS \
             subdomains.",
            "Reads /proc/sys/kernel/hostname, and lowers its case as the kubelet and kubeadm do.",
        )
        .basis("kubeadm preflight: Hostname; RFC 1123 section 2.1", KUBEADM)
        .remedy(
            Remedy::new("Give the node another name before it joins; a name in use cannot be changed.")
                .when("systemd")
                .command("hostnamectl set-hostname node-1"),
        )
        .bad([file("/proc/sys/kernel/hostname", "Node_1\n")]),
        Check::new("node.network.hostname-not-localhost", "the host name is the node's own, not localhost", |view| {
            let name = view.facts.network.hostname.need("host name")?;
            Ok(if name == "localhost" || name.starts_with("localhost.") {
                Conclusion::breach(
                    Breach::new("hostname", "every node named localhost is the same node to Kubernetes").found(name),
                )
            } else {
                Conclusion::holds().because("hostname", name)
            })
        })
        .label("network")
        .alias("unique hostname")
        .page(
            "Node names are unique in a cluster. Give several --host to compare nodes.",
            "Reads /proc/sys/kernel/hostname.",
        )
        .basis("Installing kubeadm: unique hostname, MAC address, and product_uuid", KUBEADM)
        .remedy(Remedy::new("Give the node a name of its own.").command("hostnamectl set-hostname node-1"))
        .bad([file("/proc/sys/kernel/hostname", "localhost\n")]),
        Check::new("node.network.localhost", "localhost is a loopback address in /etc/hosts", |view| {
            let hosts = view.facts.network.hosts.need("/etc/hosts")?;
            let addresses: Vec<_> = hosts
                .iter()
                .filter(|(_, names)| names.iter().any(|name| name == "localhost"))
                .map(|(address, _)| *address)
                .collect();
            let outside: Vec<_> = addresses.iter().filter(|address| !address.is_loopback()).collect();
            Ok(if let Some(address) = outside.first() {
                Conclusion::breach(
                    Breach::new("localhost", format!("localhost is {address}, which is no loopback address"))
                        .at("/etc/hosts", None),
                )
            } else if addresses.is_empty() {
                Conclusion::breach(
                    Breach::new(
                        "localhost",
                        "localhost is not in /etc/hosts: probes and clients that use the name depend on DNS",
                    )
                    .at("/etc/hosts", None),
                )
            } else {
                Conclusion::holds()
            })
        })
        .severity(Severity::Medium)
        .label("network")
        .alias("NameResolution-localhost")
        .page("Health checks and local clients use the name.", "Reads /etc/hosts.")
        .basis("k0s sysinfo: name resolution of localhost", "https://docs.k0sproject.io/stable/system-requirements/")
        .remedy(Remedy::new("Add it.").persist("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"))
        .bad([file("/etc/hosts", "10.0.0.5 localhost\n")]),
        Check::new("node.network.hostname-in-hosts", "the host name is not a loopback address in /etc/hosts", |view| {
            let name = view.facts.network.hostname.need("host name")?.to_lowercase();
            let hosts = view.facts.network.hosts.need("/etc/hosts")?;
            let loopback = hosts.iter().find(|(address, names)| address.is_loopback() && names.contains(&name));
            let outside = hosts.iter().any(|(address, names)| !address.is_loopback() && names.contains(&name));
            Ok(match loopback {
                Some((address, _)) if !outside => Conclusion::breach(
                    Breach::new(
                        name,
                        format!(
                            "/etc/hosts says that the node is {address}: the kubelet and etcd may take it for the \
                             node's address"
                        ),
                    )
                    .found(address.to_string())
                    .at("/etc/hosts", None),
                ),
                _ => Conclusion::holds(),
            })
        })
        .severity(Severity::Low)
        .label("network")
        .alias("hostname-loopback")
        .page(
            "The kubelet falls back to the address that the host name has; Debian's installer writes 127.0.1.1 and \
             Vagrant 127.0.0.1.",
            "Reads /etc/hosts.",
        )
        .basis("Troubleshooting kubeadm: non-public IP used for containers", TROUBLE)
        .remedy(
            Remedy::new("Give the name the node's address, or set the kubelet's --node-ip.")
                .persist("/etc/hosts", "192.0.2.10 node-1\n"),
        )
        .bad([file("/etc/hosts", "127.0.0.1 localhost\n127.0.1.1 reference\n")]),
        Check::new("node.network.default-route", "there is a default route of IPv4", |view| {
            if !view.profile.ipv4 {
                return Ok(Conclusion::not_applicable("the profile's cluster has no IPv4"));
            }
            let routes = view.facts.network.default_routes.need("IPv4 routes")?;
            Ok(match routes.first() {
                Some(interface) => Conclusion::holds().because("by", interface),
                None => Conclusion::breach(
                    Breach::new(
                        "default route",
                        "there is none: kubeadm and the kubelet cannot tell which address is the node's",
                    )
                    .at("/proc/1/net/route", None),
                ),
            })
        })
        .label("network")
        .alias("default-route")
        .alias("NICs")
        .page(
            "The advertise address, and the node's, is that of the interface with the default route unless told \
             otherwise.",
            "Reads the routing table.",
        )
        .basis("Installing kubeadm: check network adapters", KUBEADM)
        .remedy(
            Remedy::new(
                "Add a default route, or name the address: kubeadm's localAPIEndpoint.advertiseAddress and the \
                 kubelet's --node-ip.",
            )
            .command("ip route add default via GATEWAY"),
        )
        .bad([file("/proc/1/net/route", "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n")]),
        Check::new("node.network.default-route6", "there is a default route of IPv6", |view| {
            if !view.profile.ipv6 {
                return Ok(Conclusion::not_applicable("the profile's cluster has no IPv6"));
            }
            let routes = view.facts.network.default_routes6.need("IPv6 routes")?;
            Ok(match routes.first() {
                Some(interface) => Conclusion::holds().because("by", interface),
                None => Conclusion::breach(
                    Breach::new("default route", "there is none of IPv6").at("/proc/1/net/ipv6_route", None),
                ),
            })
        })
        .label("network")
        .alias("default-route-v6")
        .page("A node of a cluster with IPv6 needs a route of that family.", "Reads the routing table.")
        .basis(
            "Dual-stack support with kubeadm: before you begin",
            "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/dual-stack-support/",
        )
        .remedy(Remedy::new("Add one.").command("ip -6 route add default via GATEWAY"))
        .bad([file("/proc/1/net/ipv6_route", "")])
        .example_profile(|profile| profile.ipv6 = true),
        Check::new("node.network.address6", "the node has a global IPv6 address", |view| {
            if !view.profile.ipv6 {
                return Ok(Conclusion::not_applicable("the profile's cluster has no IPv6"));
            }
            let addresses = view.facts.network.addresses6.need("IPv6 addresses")?;
            Ok(match addresses.first() {
                Some((address, interface)) => Conclusion::holds().because(interface, address),
                None => Conclusion::breach(
                    Breach::new("addresses", "the node has no global IPv6 address: link-local ones cannot be a node's")
                        .at("/proc/1/net/if_inet6", None),
                ),
            })
        })
        .label("network")
        .alias("IPv6 address")
        .page("A node registers an address of each family of its cluster.", "Reads if_inet6.")
        .basis(
            "Dual-stack support with kubeadm: before you begin",
            "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/dual-stack-support/",
        )
        .remedy(
            Remedy::new("Assign one, by router advertisement, DHCPv6 or by hand.")
                .command("ip -6 address add ADDRESS/64 dev eth0"),
        )
        .bad([file("/proc/1/net/if_inet6", "fe80000000000000021122fffe334455 02 40 20 80 eth0\n")])
        .example_profile(|profile| profile.ipv6 = true),
        Check::new("node.network.several-default-routes", "one interface carries the default route", |view| {
            let mut routes = view.facts.network.default_routes.need("IPv4 routes")?.clone();
            routes.dedup();
            Ok(if routes.len() > 1 {
                Conclusion::breach(
                    Breach::new(
                        "default route",
                        format!(
                            "{} all carry one: name the node's address, or a change of metric moves it",
                            routes.join(", ")
                        ),
                    )
                    .found(routes.join(", ")),
                )
            } else {
                Conclusion::holds()
            })
        })
        .severity(Severity::Low)
        .label("network")
        .alias("several NICs")
        .page("With more than one the node's address depends on metrics.", "Reads the routing table.")
        .basis("Installing kubeadm: check network adapters", KUBEADM)
        .remedy(
            Remedy::new("Name the node's address. The kubelet restarts; pods keep running.")
                .when("Debian/Ubuntu, packages of pkgs.k8s.io")
                .command("systemctl restart kubelet")
                .persist("/etc/default/kubelet", "KUBELET_EXTRA_ARGS=--node-ip=192.0.2.10\n"),
        )
        .remedy(
            Remedy::new("Name the node's address. The kubelet restarts; pods keep running.")
                .when("RHEL/Fedora, packages of pkgs.k8s.io")
                .command("systemctl restart kubelet")
                .persist("/etc/sysconfig/kubelet", "KUBELET_EXTRA_ARGS=--node-ip=192.0.2.10\n"),
        )
        .bad([file(
            "/proc/1/net/route",
            "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n\
             eth0 00000000 0100000A 0003 0 0 100 00000000 0 0 0\neth1 00000000 0101A8C0 0003 0 0 200 00000000 0 0 0\n",
        )]),
        overlap_check(),
        Check::new("node.network.mac-unique", "no two interfaces share a MAC address", |view| {
            let macs = view.facts.network.macs.need("MAC addresses")?;
            let mut by_mac: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            for (interface, mac) in macs {
                by_mac.entry(mac).or_default().push(interface);
            }
            // A bond and its members, and a bridge and its port, share one on purpose.
            let stacked = |name: &str| {
                ["bond", "team", "br", "vlan", "macvlan", "ovs"].iter().any(|prefix| name.starts_with(prefix))
                    || name.contains('.')
            };
            let shared = by_mac.iter().filter(|(_, names)| names.len() > 1 && !names.iter().any(|name| stacked(name)));
            Ok(Conclusion::from_breaches(
                shared.map(|(mac, names)| Breach::new(*mac, format!("{} share {mac}", names.join(" and ")))).collect(),
            ))
        })
        .severity(Severity::Medium)
        .label("network")
        .alias("MAC address")
        .page(
            "Networks, DHCP and IPv6 tell interfaces apart by it. Give several --host to compare nodes.",
            "Reads /sys/class/net.",
        )
        .basis("Installing kubeadm: verify the MAC address and product_uuid are unique for every node", KUBEADM)
        .remedy(
            Remedy::new("Give one of them another address.").command("ip link set dev eth1 address 02:00:00:00:00:02"),
        )
        .bad([file("/sys/class/net/eth1/address", "52:54:00:12:34:56\n")]),
        Check::new("node.network.resolver", "the node has one to three name servers", |view| {
            let Some(resolver) = view.facts.network.resolver.present("/etc/resolv.conf")? else {
                return Ok(Conclusion::breach(
                    Breach::new("/etc/resolv.conf", "it is not there: images cannot be pulled by name")
                        .at("/etc/resolv.conf", None),
                ));
            };
            let count = resolver.servers.len();
            Ok(match count {
                0 => Conclusion::breach(
                    Breach::new("/etc/resolv.conf", "it names no name server").at("/etc/resolv.conf", None),
                ),
                1..=3 => Conclusion::holds().because("name servers", count.to_string()),
                _ => Conclusion::breach(
                    Breach::new(
                        "/etc/resolv.conf",
                        "the C library and the kubelet use the first three name servers only",
                    )
                    .found(count.to_string())
                    .wanted("3 or fewer")
                    .at("/etc/resolv.conf", Some(resolver.servers[3].0)),
                ),
            })
        })
        .severity(Severity::Medium)
        .label("network")
        .alias("DNSUnreachable")
        .alias("resolv.conf")
        .page("Pods with dnsPolicy Default, CoreDNS among them, get the node's.", "Reads /etc/resolv.conf.")
        .basis("Debugging DNS resolution: known issues", DNS)
        .remedy(
            Remedy::new("Name one to three servers. Names resolve by them at once.")
                .when("systemd-resolved")
                .command(
                    "systemctl restart systemd-resolved && ln -sf /run/systemd/resolve/resolv.conf /etc/resolv.conf",
                )
                .persist("/etc/systemd/resolved.conf.d/dns.conf", "[Resolve]\nDNS=192.0.2.53\n"),
        )
        .remedy(
            Remedy::new("Name one to three servers for the connection.")
                .when("NetworkManager")
                .command("nmcli connection modify CONNECTION ipv4.dns 192.0.2.53 && nmcli connection up CONNECTION"),
        )
        .remedy(
            Remedy::new("Name one to three servers.")
                .when("no service writes /etc/resolv.conf")
                .persist("/etc/resolv.conf", "nameserver 192.0.2.53\n"),
        )
        .bad([file("/etc/resolv.conf", "# none\n")]),
        Check::new(
            "node.network.search-domains",
            "there are no more search domains than the kubelet passes on",
            |view| {
                let resolver = view.facts.network.resolver.need("/etc/resolv.conf")?;
                // KEP-2595: 32 domains and 2048 characters; three are the cluster's own.
                let length: usize = resolver.search.iter().map(|domain| domain.len() + 1).sum();
                Ok(if resolver.search.len() <= 29 && length <= 1900 {
                    Conclusion::holds().because("search domains", resolver.search.len().to_string())
                } else {
                    Conclusion::breach(
                        Breach::new(
                            "search",
                            "pods get 32 domains and 2048 characters at most, three of them the cluster's: the rest is \
                             cut",
                        )
                        .found(format!("{} domains, {length} characters", resolver.search.len()))
                        .at("/etc/resolv.conf", None),
                    )
                })
            },
        )
        .severity(Severity::Low)
        .label("network")
        .alias("DNSConfigForming")
        .page("The kubelet cuts longer lists and warns with every pod.", "Reads /etc/resolv.conf.")
        .basis("KEP-2595: expanded DNS configuration", DNS)
        .remedy(Remedy::new("Shorten the list."))
        .bad([file("/etc/resolv.conf", format!("nameserver 192.0.2.53\nsearch {}\n", "a.example ".repeat(40)))]),
        Check::new("node.network.no-proxy", "where a proxy is set, NO_PROXY is set too", |view| {
            let proxies = view.facts.network.proxies.need("proxies")?;
            let lacks = |(file, ..): &&(String, u32, String)| {
                !proxies.iter().any(|(other, _, name)| other == file && name == "NO_PROXY")
            };
            let set = proxies.iter().filter(|(_, _, name)| name != "NO_PROXY").filter(lacks);
            Ok(Conclusion::from_breaches(
                set.map(|(file, line, name)| {
                    Breach::new(
                        name,
                        format!(
                            "{name} is set without NO_PROXY: connections to the API server, pods and Services would go \
                             through the proxy"
                        ),
                    )
                    .at(file, Some(*line))
                })
                .collect(),
            ))
        })
        .severity(Severity::Medium)
        .label("network")
        .label("kubeadm")
        .alias("HTTPProxy")
        .alias("HTTPProxyCIDR")
        .page(
            "kubeadm warns if the API server, or the networks of pods and Services, would be reached through a proxy.",
            "Reads /etc/environment and the drop-ins of the kubelet's and the runtime's services; only the names of \
             the variables are kept.",
        )
        .basis("kubeadm preflight: HTTPProxy, HTTPProxyCIDR", KUBEADM)
        .remedy(Remedy::new("Except the cluster's addresses.").persist(
            "/etc/systemd/system/containerd.service.d/proxy.conf",
            "[Service]\nEnvironment=NO_PROXY=127.0.0.1,localhost,10.96.0.0/12,10.244.0.0/16,.svc,.cluster.local\n",
        ))
        .bad([file("/etc/environment", "HTTPS_PROXY=http://proxy:3128\n")]),
        Check::new("node.network.firewalld", "no firewall service that closes Kubernetes' ports is running", |view| {
            let mut breaches = Vec::new();
            for (service, what) in [("firewalld", "firewalld")] {
                if view.facts.machine.runs(service)? {
                    breaches.push(Breach::new(
                        what,
                        format!("{what} is active: ports 6443, 10250 and those of the pod network must be open in it"),
                    ));
                }
            }
            Ok(Conclusion::from_breaches(breaches))
        })
        .severity(Severity::Medium)
        .label("network")
        .label("kubeadm")
        .alias("Firewalld")
        .page(
            "firewalld drops what it does not know, and its reloads flush the rules of kube-proxy and of the network.",
            "Looks for firewalld among the processes.",
        )
        .basis("kubeadm preflight: Firewalld", KUBEADM)
        .remedy(
            Remedy::new("Open the ports.")
                .when("firewalld stays")
                .command("firewall-cmd --permanent --add-port={6443,10250}/tcp && firewall-cmd --reload"),
        )
        .remedy(
            Remedy::new("Turn it off where another firewall stands before the node.")
                .command("systemctl disable --now firewalld"),
        )
        .bad([file("/proc/30/comm", "firewalld\n")]),
        Check::new("node.network.resolver-stub", "pods do not get a loopback name server", |view| {
            let (path, servers) = match view.facts.kubelet.resolv_conf.path.present("the kubelet's resolvConf")? {
                // Pods get none of the node's servers.
                Some(path) if path.is_empty() => {
                    return Ok(Conclusion::holds().because("resolvConf", "empty: pods get no file of the node"));
                }
                Some(path) => (path.as_str(), view.facts.kubelet.resolv_conf.servers.need(path)?),
                None => {
                    let resolver = view.facts.network.resolver.need("/etc/resolv.conf")?;
                    ("/etc/resolv.conf", &resolver.servers)
                }
            };
            let own = servers.iter().filter(|(_, server)| is_the_node_s_own(server));
            let breach = |(line, server): &(u32, String)| {
                let why = format!(
                    "{server} is reachable on the node alone: in a pod it is the pod itself, and CoreDNS forwards to \
                     itself in a loop"
                );
                Breach::new(path, why).found(server).wanted("a server that pods reach").at(path, Some(*line))
            };
            Ok(Conclusion::from_breaches(own.map(breach).collect()).because("resolvConf", path))
        })
        .severity(Severity::Medium)
        .label("network")
        .alias("CoreDNS loop")
        .alias("systemd-resolved")
        .page(
            "systemd-resolved and dnsmasq listen on a loopback address; pods that are given it cannot resolve, and \
             CoreDNS ends with 'Loop detected'.",
            "Reads the file that the kubelet hands to pods, whatever its path: its resolvConf, by default \
             /etc/resolv.conf.",
        )
        .basis(
            "Troubleshooting kubeadm: coredns pods have CrashLoopBackOff; CoreDNS plugin loop",
            "https://coredns.io/plugins/loop/#troubleshooting",
        )
        .remedy(
            Remedy::new("Name the list of real servers. The kubelet restarts; pods keep running.")
                .when("systemd-resolved, a node that has joined")
                .command("sed -i '/^resolvConf:/d' /var/lib/kubelet/config.yaml")
                .command("echo 'resolvConf: /run/systemd/resolve/resolv.conf' >> /var/lib/kubelet/config.yaml")
                .command("systemctl restart kubelet"),
        )
        .remedy(
            Remedy::new("kubeadm names that list itself where systemd-resolved runs: start it before you join.")
                .when("systemd-resolved, a node that has not joined")
                .command("systemctl enable --now systemd-resolved"),
        )
        .bad([
            file("/etc/resolv.conf", "nameserver 127.0.0.53\n"),
            file(
                "/var/lib/kubelet/config.yaml",
                "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n",
            ),
        ]),
    ]
}
