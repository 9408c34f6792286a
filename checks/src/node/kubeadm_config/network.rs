//! Claims about the addresses, networks and names in a kubeadm configuration.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::json;

use super::{CLUSTER, KubeadmConfig, Leaf, at, claim, cluster, host_of, init, settle, with};
use crate::Inconclusive;
use crate::check::{Check, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion};
use crate::construct::{file, refuses, value};
use crate::host::{Query, RefusalKind};
use crate::node::View;

const REFERENCE: &str = "https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/";
const INIT: &str = "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/create-cluster-kubeadm/";
const DUAL: &str = "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/dual-stack-support/";

/// Interfaces of a cluster's own networks: their routes are no conflict.
const OURS: [&str; 10] = ["cni", "flannel", "cali", "cilium", "kube-", "veth", "lxc", "tunl", "vxlan", "weave"];

/// kubeadm's default.
const SERVICES: &str = "10.96.0.0/12";

/// A network in the file: its member, the network, and where it stands.
struct Net<'c> {
    member: &'static str,
    net: Result<IpNet, String>,
    leaf: Option<&'c Leaf>,
}

/// The networks of the cluster; none where the file describes no cluster.
fn nets(config: &KubeadmConfig) -> Vec<Net<'_>> {
    if config.kind(CLUSTER).is_none() && config.kind("InitConfiguration").is_none() {
        return Vec::new();
    }
    let mut nets = Vec::new();
    for (member, path, default) in
        [("podSubnet", "networking.podSubnet", None), ("serviceSubnet", "networking.serviceSubnet", Some(SERVICES))]
    {
        let leaf = config.get(CLUSTER, path);
        let text = leaf.map(|leaf| leaf.value.as_str()).or(default);
        for part in text.into_iter().flat_map(|text| text.split(',')) {
            let net = part.trim().parse::<IpNet>().map(|net| net.trunc()).map_err(|_| part.to_owned());
            nets.push(Net { member, net, leaf });
        }
    }
    nets
}

fn overlaps(a: &IpNet, b: &IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// The endpoint of the node's own API server: the value, if the node is to have one.
fn advertise(config: &KubeadmConfig) -> Option<&Leaf> {
    let init = config.get("InitConfiguration", "localAPIEndpoint.advertiseAddress");
    init.or_else(|| config.get("JoinConfiguration", "controlPlane.localAPIEndpoint.advertiseAddress"))
}

fn advertise_address(view: &View<'_>, config: &KubeadmConfig) -> Result<Conclusion, Inconclusive> {
    let Some(leaf) = advertise(config) else {
        return Ok(Conclusion::holds().because("advertiseAddress", "that of the default route"));
    };
    let wrong = |message: String| {
        let breach = Breach::new("advertiseAddress", message).found(&leaf.value);
        Ok(Conclusion::breach(at(config, Some(leaf), breach.wanted("an address of this node"))))
    };
    let Ok(address) = leaf.value.parse::<IpAddr>() else {
        return wrong(format!("advertiseAddress is {}, which is no IP address", leaf.value));
    };
    if address.is_unspecified() || address.is_multicast() {
        return wrong(format!("advertiseAddress is {address}, which no other node can connect to"));
    }
    // kubeadm translates a loopback address to one of the loopback interface, for nodes without others (RFC 5549).
    if address.is_loopback() {
        return wrong(format!("advertiseAddress is {address}: other nodes would connect to themselves"));
    }
    let own = view.facts.kubeadm_config.addresses.need("the node's addresses")?;
    if own.contains(&address) {
        return Ok(Conclusion::holds().because("advertiseAddress", address.to_string()));
    }
    let own: Vec<_> = own.iter().map(ToString::to_string).collect();
    wrong(format!("advertiseAddress {address} is not an address of this node, which has {}", own.join(", ")))
}

fn apart(view: &View<'_>, config: &KubeadmConfig) -> Result<Conclusion, Inconclusive> {
    let nets = nets(config);
    if nets.is_empty() {
        return Ok(Conclusion::not_applicable("the file describes no cluster"));
    }
    let (mut breaches, mut known) = (Vec::new(), Vec::new());
    for Net { member, net, leaf } in &nets {
        match net {
            Ok(net) => known.push((*member, *net, *leaf)),
            Err(text) => {
                let breach = Breach::new(*member, format!("{member} holds '{text}', which is no network")).found(text);
                breaches.push(at(config, *leaf, breach.wanted("a network such as 10.244.0.0/16")));
            }
        }
    }
    for (number, (member, net, leaf)) in known.iter().enumerate() {
        for (other, second, _) in &known[..number] {
            if overlaps(net, second) {
                let breach = Breach::new(*member, format!("{member} {net} overlaps {other} {second}"));
                breaches.push(at(config, *leaf, breach));
            }
        }
    }
    let facts = &view.facts.kubeadm_config;
    let routes = match facts.routes.need("the node's routes") {
        Ok(routes) => routes,
        Err(why) => return settle(breaches, Some(why)),
    };
    let servers = view.facts.network.resolver.known().map(|resolver| &resolver.servers[..]).unwrap_or_default();
    for (member, net, leaf) in &known {
        for (route, interface) in routes {
            if overlaps(net, route) && !OURS.iter().any(|ours| interface.starts_with(ours)) {
                let message = format!("{member} {net} overlaps {route}, which this node reaches by {interface}");
                breaches.push(at(config, *leaf, Breach::new(*member, message)));
            }
        }
        for (_, server) in servers {
            if server.parse().is_ok_and(|server: IpAddr| net.contains(&server)) {
                let message = format!("{member} {net} contains {server}, a name server of this node");
                breaches.push(at(config, *leaf, Breach::new(*member, message)));
            }
        }
    }
    Ok(Conclusion::from_breaches(breaches))
}

/// kubeadm's own limits: ValidateIPNetFromString, ValidateServiceSubnetSize, ValidatePodSubnetNodeMask.
fn sizes(_: &View<'_>, config: &KubeadmConfig) -> Result<Conclusion, Inconclusive> {
    let mut breaches = Vec::new();
    let nets = nets(config);
    if nets.is_empty() {
        return Ok(Conclusion::not_applicable("the file describes no cluster"));
    }
    let argument = |name: &str| config.get(CLUSTER, &format!("controllerManager.extraArgs.{name}"));
    for Net { member, net, leaf } in nets {
        let Ok(net) = net else { continue };
        let (bits, prefix) = (net.max_prefix_len(), net.prefix_len());
        let mut wrong = |message: String, wanted: String| {
            breaches.push(at(config, leaf, Breach::new(member, message).found(format!("/{prefix}")).wanted(wanted)));
        };
        if member == "serviceSubnet" {
            if bits - prefix > 20 {
                let least = bits - 20;
                wrong(
                    format!("serviceSubnet {net} is larger than the API server takes"),
                    format!("/{least} or smaller"),
                );
            } else if bits - prefix < 4 {
                wrong(
                    format!("serviceSubnet {net} has room for fewer than ten Services"),
                    format!("/{} or larger", bits - 4),
                );
            }
            continue;
        }
        let (family, default) = if bits == 32 { ("ipv4", 24) } else { ("ipv6", 64) };
        let named = argument(&format!("node-cidr-mask-size-{family}")).or_else(|| argument("node-cidr-mask-size"));
        let mask = named.and_then(|leaf| leaf.value.parse().ok()).unwrap_or(default);
        if prefix > mask {
            let message = format!("podSubnet {net} is smaller than the /{mask} that each node gets: no node gets one");
            wrong(message, format!("/{mask} or larger, or a longer node-cidr-mask-size-{family}"));
        } else if mask - prefix > 16 {
            let message = format!("podSubnet {net} and the /{mask} that each node gets are more than 16 bits apart");
            wrong(message, format!("/{} or smaller", mask - 16));
        }
    }
    Ok(Conclusion::from_breaches(breaches))
}

fn families(view: &View<'_>, config: &KubeadmConfig) -> Result<Conclusion, Inconclusive> {
    let nets = nets(config);
    if nets.is_empty() {
        return Ok(Conclusion::not_applicable("the file describes no cluster"));
    }
    let families = |member: &str| {
        let of = nets.iter().filter(|net| net.member == member).filter_map(|net| net.net.as_ref().ok());
        let v6: Vec<_> = of.map(|net| net.addr().is_ipv6()).collect();
        (v6.contains(&false), v6.contains(&true), v6.len())
    };
    let (services, pods) = (families("serviceSubnet"), families("podSubnet"));
    let leaf = |path: &str| config.get(CLUSTER, path);
    let mut breaches = Vec::new();
    for (member, (v4, v6, count)) in [("serviceSubnet", services), ("podSubnet", pods)] {
        if count > 2 || (count == 2 && !(v4 && v6)) {
            let message = format!("{member} has {count} networks, which are not one of each family");
            let breach = Breach::new(member, message).wanted("one network, or one of IPv4 and one of IPv6");
            breaches.push(at(config, leaf(&format!("networking.{member}")), breach));
        }
    }
    if pods.2 > 0 && (services.0, services.1) != (pods.0, pods.1) {
        let name = |(v4, v6, _): (bool, bool, usize)| match (v4, v6) {
            (true, true) => "IPv4 and IPv6",
            (false, true) => "IPv6",
            _ => "IPv4",
        };
        let message = format!("Services are {}, and pods are {}", name(services), name(pods));
        breaches.push(at(
            config,
            leaf("networking.serviceSubnet").or(leaf("networking.podSubnet")),
            Breach::new("networking", message),
        ));
    }
    let own = match view.facts.kubeadm_config.addresses.need("the node's addresses") {
        Ok(own) => own,
        Err(why) => return settle(breaches, Some(why)),
    };
    for (wanted, name, has) in
        [(services.0, "IPv4", own.iter().any(IpAddr::is_ipv4)), (services.1, "IPv6", own.iter().any(IpAddr::is_ipv6))]
    {
        if wanted && !has {
            let message = format!("the cluster's Services are {name}, and this node has no address of {name}");
            breaches.push(at(config, leaf("networking.serviceSubnet"), Breach::new(name, message)));
        }
    }
    Ok(Conclusion::from_breaches(breaches))
}

fn endpoint(view: &View<'_>, config: &KubeadmConfig) -> Result<Conclusion, Inconclusive> {
    let control = config.get(CLUSTER, "controlPlaneEndpoint").map(|leaf| ("controlPlaneEndpoint", leaf));
    let join = config.get("JoinConfiguration", "discovery.bootstrapToken.apiServerEndpoint");
    let endpoints: Vec<_> = control.into_iter().chain(join.map(|leaf| ("apiServerEndpoint", leaf))).collect();
    if endpoints.is_empty() {
        return Ok(Conclusion::not_applicable("the file names no endpoint"));
    }
    let (mut breaches, mut unknown) = (Vec::new(), None);
    for (member, leaf) in endpoints {
        let host = host_of(&leaf.value);
        let found = view.facts.kubeadm_config.addresses_of(host);
        let message = match found.present(&format!("the addresses of {host}")) {
            Ok(Some(found)) if found.iter().any(IpAddr::is_loopback) => {
                format!("{member} {host} is a loopback address on this node: it would connect to itself")
            }
            Ok(Some(found)) if found.iter().any(IpAddr::is_unspecified) => {
                format!("{member} {host} is no address to connect to")
            }
            Ok(Some(found)) if !found.is_empty() => continue,
            Ok(_) => format!("{member} {host} does not resolve on this node"),
            Err(why) => {
                unknown = Some(why);
                continue;
            }
        };
        let breach = Breach::new(member, message).found(&leaf.value).wanted("an address that every node reaches");
        breaches.push(at(config, Some(leaf), breach));
    }
    settle(breaches, unknown)
}

fn sans(view: &View<'_>, config: &KubeadmConfig) -> Result<Conclusion, Inconclusive> {
    let sans = config.list(CLUSTER, "apiServer.certSANs");
    if sans.is_empty() {
        return Ok(Conclusion::not_applicable("the file has no certSANs: kubeadm adds names and addresses itself"));
    }
    let (mut breaches, mut unknown) = (Vec::new(), None);
    for leaf in sans.into_iter().filter(|leaf| !leaf.value.starts_with("*.")) {
        match view.facts.kubeadm_config.addresses_of(&leaf.value).present(&format!("the addresses of {}", leaf.value)) {
            Ok(Some(found)) if !found.is_empty() => {}
            Ok(_) => {
                let message = format!("certSANs has {}, which does not resolve on this node", leaf.value);
                breaches.push(at(config, Some(leaf), Breach::new(&leaf.value, message)));
            }
            Err(why) => unknown = Some(why),
        }
    }
    settle(breaches, unknown)
}

fn port(view: &View<'_>, config: &KubeadmConfig) -> Result<Conclusion, Inconclusive> {
    let init = config.get("InitConfiguration", "localAPIEndpoint.bindPort");
    let Some(leaf) = init.or_else(|| config.get("JoinConfiguration", "controlPlane.localAPIEndpoint.bindPort")) else {
        return Ok(Conclusion::not_applicable("the file names no bindPort: node.port.6443 is about the default"));
    };
    let Some(port) = leaf.value.parse::<u16>().ok().filter(|port| *port > 0) else {
        let breach =
            Breach::new("bindPort", format!("bindPort is {}, which is no port", leaf.value)).wanted("1 to 65535");
        return Ok(Conclusion::breach(at(config, Some(leaf), breach)));
    };
    let listeners = view.facts.network.listeners.need("ports in use")?;
    let Some(listener) = listeners.iter().find(|listener| listener.port == port) else {
        return Ok(Conclusion::holds().because("bindPort", format!("{port} is free")));
    };
    Ok(match listener.holder.as_deref() {
        Some("kube-apiserver") => Conclusion::holds().because("bindPort", format!("{port} is held by kube-apiserver")),
        holder => {
            let who = holder.unwrap_or("another process");
            let breach = Breach::new("bindPort", format!("{who} listens on bindPort {port}")).wanted("a free port");
            Conclusion::breach(at(config, Some(leaf), breach))
        }
    })
}

const TRIE: &str = "Main:\n     |-- 192.0.2.10\n        /32 host LOCAL\n";

pub(super) fn checks() -> Vec<Check> {
    let node = || file("/proc/1/net/fib_trie", TRIE);
    let lookup = |name: &str| Query::Lookup { name: name.to_owned() };
    let endpoint_file = || with(&cluster("controlPlaneEndpoint: api.example:6443"));
    vec![
        claim("advertise-address", "kubeadm's advertiseAddress is an address of this node", advertise_address)
            .alias("advertiseAddress")
            .alias("localAPIEndpoint")
            .page(
                "Other nodes connect to the API server and etcd by it, and both certificates name it.",
                "Compares the file with the node's addresses.",
            )
            .basis("kubeadm configuration: localAPIEndpoint", REFERENCE)
            .remedy(
                Remedy::new("Set localAPIEndpoint.advertiseAddress to an address of this node.")
                    .command("ip -br address"),
            )
            .good([node(), with(&init("localAPIEndpoint: {advertiseAddress: 192.0.2.10}"))])
            .bad([node(), with(&init("localAPIEndpoint: {advertiseAddress: 192.0.2.99}"))]),
        claim("subnets-apart", "kubeadm's subnets overlap neither each other nor this node's routes", apart)
            .alias("podSubnet")
            .alias("serviceSubnet")
            .page(
                "Addresses of pods and Services that are addresses of your network as well cannot be \
                 reached.",
                "Compares networking.podSubnet and networking.serviceSubnet with each other, with the \
                 routing table and with the name servers; routes of the cluster's own interfaces are left \
                 out.",
            )
            .basis("Creating a cluster with kubeadm: installing a Pod network add-on", INIT)
            .remedy(
                Remedy::new("Choose other networks for networking.podSubnet and networking.serviceSubnet.")
                    .command("ip route"),
            )
            .good([with(&cluster("networking: {podSubnet: 10.244.0.0/16}"))])
            .bad([with(&cluster("networking: {podSubnet: 192.0.0.0/16}"))]),
        claim("subnet-size", "kubeadm's subnets have the sizes that Kubernetes takes", sizes)
            .alias("node-cidr-mask-size")
            .page(
                "kubeadm refuses subnets that the API server or the controller manager cannot divide.",
                "Applies kubeadm's limits: a serviceSubnet of at most 20 bits and at least ten addresses, \
                 and a podSubnet that holds the subnet of a node and is at most 16 bits larger.",
            )
            .basis("kubeadm: ValidateServiceSubnetSize and ValidatePodSubnetNodeMask", REFERENCE)
            .remedy(Remedy::new(
                "Change networking.podSubnet, networking.serviceSubnet or the controller manager's \
                 node-cidr-mask-size.",
            ))
            .good([with(&cluster("networking: {podSubnet: 10.244.0.0/16, serviceSubnet: 10.96.0.0/12}"))])
            .bad([with(&cluster("networking: {podSubnet: 10.244.0.0/25}"))]),
        claim("ip-families", "kubeadm's subnets are of the IP families that this node has", families)
            .alias("dual-stack")
            .page(
                "Services and pods need the same families, and a node an address of each.",
                "Compares the families of podSubnet and serviceSubnet with each other and with the node's \
                 addresses.",
            )
            .basis("Dual-stack support with kubeadm", DUAL)
            .remedy(Remedy::new("Give the node an address of each family, or name subnets of one family only."))
            .good([node(), with(&cluster("networking: {podSubnet: 10.244.0.0/16}"))])
            .bad([
                node(),
                file("/proc/1/net/if_inet6", ""),
                with(&cluster(
                    "networking:\n  podSubnet: 10.244.0.0/16,fd00:1::/48\n  serviceSubnet: 10.96.0.0/16,fd00:2::/112",
                )),
            ]),
        claim("endpoint", "kubeadm's endpoint resolves on this node and is not a loopback address", endpoint)
            .alias("controlPlaneEndpoint")
            .alias("apiServerEndpoint")
            .page(
                "Every kubelet and every kubeconfig uses the endpoint; where it does not resolve, kubeadm \
                 waits and fails.",
                "Looks up the host of controlPlaneEndpoint and of \
                 discovery.bootstrapToken.apiServerEndpoint as the node does.",
            )
            .basis("Creating highly available clusters with kubeadm: load balancer", INIT)
            .remedy(
                Remedy::new("Add the endpoint to DNS, or to /etc/hosts of every node.")
                    .persist("/etc/hosts", "192.0.2.100 api.example\n"),
            )
            .good([endpoint_file(), value(lookup("api.example"), json!(["192.0.2.100"]))])
            .bad([endpoint_file(), refuses(lookup("api.example"), RefusalKind::Absent, "api.example has no address")]),
        claim("sans", "every name in kubeadm's certSANs resolves on this node", sans)
            .severity(Severity::Low)
            .alias("certSANs")
            .page(
                "A name with a typing error is in the certificate, and the right one is not: clients then \
                 reject the API server.",
                "Looks up each name of apiServer.certSANs. kubeadm adds the node's name, the advertise \
                 address and the endpoint itself.",
            )
            .basis("kubeadm configuration: APIServer.certSANs", REFERENCE)
            .remedy(Remedy::new("Correct the name, or add it to DNS or /etc/hosts."))
            .good([
                with(&cluster("apiServer: {certSANs: [lb.example]}")),
                value(lookup("lb.example"), json!(["192.0.2.100"])),
            ])
            .bad([
                with(&cluster("apiServer: {certSANs: [lb.exmaple]}")),
                refuses(lookup("lb.exmaple"), RefusalKind::Absent, "lb.exmaple has no address"),
            ]),
        claim("bind-port", "kubeadm's bindPort is free on this node", port)
            .alias("bindPort")
            .page("The API server cannot start on a port that another process uses.", "Reads the listening sockets.")
            .basis("kubeadm preflight: Port-6443", INIT)
            .remedy(
                Remedy::new("Stop what listens there, or choose another localAPIEndpoint.bindPort.")
                    .command("ss -ltnp"),
            )
            .good([with(&init("localAPIEndpoint: {bindPort: 8443}"))])
            .bad([with(&init("localAPIEndpoint: {bindPort: 22}"))]),
    ]
}
