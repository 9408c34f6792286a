//! Nodes: the networks of their pods, and their own addresses.

use ipnet::IpNet;
use serde_json::Value;

use super::{ALL, DOCUMENT};
use crate::cluster::{Claim, Ctx, Families, Ref, Stop};
use crate::trial::Trial;

/// What is read of a node.
struct Node {
    name: String,
    pod_cidrs: Vec<String>,
    first: Option<String>,
    addresses: Vec<String>,
}

async fn nodes(ctx: &Ctx) -> Result<Vec<Node>, Stop> {
    let strings = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let node = |node: &Value| Node {
        name: node["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
        pod_cidrs: strings(&node["spec"]["podCIDRs"]),
        first: node["spec"]["podCIDR"].as_str().map(str::to_owned),
        addresses: internal_addresses(node),
    };
    let all: Vec<_> = ctx.list(&Ref::all("v1", "Node")).await?.iter().map(node).collect();
    if all.is_empty() {
        return Err(Stop::Undetermined("the cluster has no nodes".to_owned()));
    }
    Ok(all)
}

/// The addresses of the type InternalIP, in order.
pub(super) fn internal_addresses(node: &Value) -> Vec<String> {
    let all = node["status"]["addresses"].as_array();
    let internal = all.into_iter().flatten().filter(|one| one["type"] == "InternalIP");
    internal.filter_map(|one| one["address"].as_str()).map(str::to_owned).collect()
}

/// The networks of nodes that the controller manager gave any; a network plugin with networks of its own leaves them
/// empty.
async fn with_networks(ctx: &Ctx) -> Result<Vec<(String, Vec<IpNet>)>, Stop> {
    let mut all = Vec::new();
    for node in nodes(ctx).await? {
        let mut networks = Vec::new();
        for text in &node.pod_cidrs {
            match text.parse() {
                Ok(network) => networks.push(network),
                Err(_) => ctx.breach(&node.name, format!("{}: the podCIDR '{text}' is no network", node.name)),
            }
        }
        if !networks.is_empty() {
            all.push((node.name, networks));
        }
    }
    if all.is_empty() {
        return Err(Stop::NotApplicable("no node has podCIDRs: the network plugin has networks of its own".to_owned()));
    }
    Ok(all)
}

fn family(network: &IpNet) -> &'static str {
    if network.addr().is_ipv4() { "IPv4" } else { "IPv6" }
}

pub(super) fn trials() -> Vec<Trial> {
    let common = |claim: Claim| claim.label("nodes").basis(DOCUMENT.0, DOCUMENT.1);
    let cidrs = "Set --cluster-cidr of kube-controller-manager to one network a family, the primary family first, and \
                 recreate the nodes: podCIDRs are immutable.";
    vec![
        common(Claim::new(
            "dualstack.node.pod-cidrs",
            "Each node has one network for pods of each family, the primary family first",
            ALL,
            "families-of-the-api-server",
            pod_cidrs,
        ))
        .alias("spec.podCIDRs")
        .alias("should have ipv4 and ipv6 internal node ip")
        .why("Pods get addresses of the families and in the order of their node's networks.")
        .how("Reads spec.podCIDRs and spec.podCIDR of all nodes.")
        .fix(cidrs)
        .trial(),
        common(Claim::new(
            "dualstack.node.pod-cidr-masks",
            "Networks of one family have the same size on all nodes, that of the documented default or the \
             configuration",
            ALL,
            "wrong-mask",
            masks,
        ))
        .alias("--node-cidr-mask-size-ipv6")
        .why("A smaller network than 110 addresses leaves pods without one; mixed sizes are a changed flag.")
        .how("Compares the prefix lengths of spec.podCIDRs: equal among nodes; on a cluster of seaworthy /24 and /64.")
        .fix("Set --node-cidr-mask-size-ipv4 and --node-cidr-mask-size-ipv6 of kube-controller-manager, alike on all.")
        .trial(),
        common(Claim::new(
            "dualstack.node.pod-cidrs-disjoint",
            "No two nodes share a network for pods",
            ALL,
            "overlapping-pod-cidrs",
            disjoint,
        ))
        .alias("CIDR overlap")
        .why("Two pods with one address receive each other's packets.")
        .how("Compares spec.podCIDRs of all nodes pair by pair.")
        .fix("Delete the node that was created with a given podCIDR, and let kube-controller-manager assign one.")
        .trial(),
        common(Claim::new(
            "dualstack.node.pod-cidrs-apart",
            "Networks for pods hold neither a node's address nor a Service's",
            ALL,
            "overlapping-pod-cidrs",
            apart,
        ))
        .alias("podSubnet overlaps serviceSubnet")
        .why("Packets for a node or a Service that are routed as a pod's never arrive.")
        .how("Looks whether an InternalIP of a node or an address of a Service is in a podCIDR.")
        .fix(
            "Choose --cluster-cidr and --service-cluster-ip-range apart from each other and from the network of the \
             hosts.",
        )
        .trial(),
        common(Claim::new(
            "dualstack.node.internal-ips",
            "Nodes have an InternalIP of each family of the cluster, or the report names those that have not",
            ALL,
            "families-of-the-api-server",
            addresses,
        ))
        .alias("should have ipv4 and ipv6 internal node ip")
        .why("A node without an address of a family is not reached by NodePorts and host-network pods of that family.")
        .how(
            "Reads the InternalIPs of all nodes. At least one node must have all families; a cluster that is mostly \
             IPv6 is legal.",
        )
        .fix(
            "Start the kubelet with --node-ip and one address of each family, such as --node-ip=192.0.2.1,2001:db8::1.",
        )
        .trial(),
        common(Claim::new(
            "dualstack.node.address-order",
            "The first InternalIP of each node is of the primary family",
            ALL,
            "order-of-families",
            address_order,
        ))
        .alias("--node-ip")
        .why("Pods in the host's network have the node's addresses in the node's order.")
        .how("Reads the InternalIPs of all nodes.")
        .fix("Give --node-ip of the kubelet the address of the primary family first.")
        .trial(),
    ]
}

async fn pod_cidrs(ctx: Ctx) -> Result<(), Stop> {
    let wanted = ctx.target().families.names().to_vec();
    for (name, networks) in with_networks(&ctx).await? {
        let found: Vec<_> = networks.iter().map(family).collect();
        ctx.expect(&name, "the families of spec.podCIDRs", &found, &wanted);
    }
    for node in nodes(&ctx).await? {
        ctx.expect(&node.name, "spec.podCIDR", &node.first.as_ref(), &node.pod_cidrs.first());
    }
    Ok(())
}

async fn masks(ctx: Ctx) -> Result<(), Stop> {
    let all = with_networks(&ctx).await?;
    let first = |name: &str| all.iter().flat_map(|(_, networks)| networks).find(|one| family(one) == name).copied();
    for (of, default) in [("IPv4", 24), ("IPv6", 64)] {
        let Some(first) = first(of) else { continue };
        let wanted = if ctx.target().ours.is_some() { default } else { first.prefix_len() };
        for (name, networks) in &all {
            for network in networks.iter().filter(|network| family(network) == of) {
                ctx.expect(name, &format!("the prefix length of {network}"), &network.prefix_len(), &wanted);
            }
        }
        let addresses = 2f64.powi(i32::from(first.max_prefix_len() - first.prefix_len()));
        if addresses < 112.0 {
            let text = format!("a network of {addresses} {of} addresses is too small for 110 pods");
            ctx.breach("nodes", text);
        }
        ctx.evidence(of, format!("/{}", first.prefix_len()));
    }
    Ok(())
}

async fn disjoint(ctx: Ctx) -> Result<(), Stop> {
    let all = with_networks(&ctx).await?;
    let flat: Vec<_> = all.iter().flat_map(|(name, list)| list.iter().map(move |network| (name, network))).collect();
    for (index, (name, network)) in flat.iter().enumerate() {
        for (other, second) in &flat[index + 1..] {
            if network.contains(*second) || second.contains(*network) {
                ctx.breach(name.as_str(), format!("{network} of {name} overlaps {second} of {other}"));
            }
        }
    }
    Ok(())
}

async fn apart(ctx: Ctx) -> Result<(), Stop> {
    let all = with_networks(&ctx).await?;
    let flat: Vec<_> = all.iter().flat_map(|(name, list)| list.iter().map(move |network| (name, network))).collect();
    let mut others: Vec<(String, String)> = Vec::new();
    for node in nodes(&ctx).await? {
        others.extend(node.addresses.iter().map(|address| (format!("the node {}", node.name), address.clone())));
    }
    for service in ctx.list(&Ref::all("v1", "Service")).await? {
        let name = service["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let addresses = service["spec"]["clusterIPs"].as_array().cloned().unwrap_or_default();
        let addresses = addresses.iter().filter_map(Value::as_str).filter(|address| *address != "None");
        others.extend(addresses.map(|address| (format!("the Service {name}"), address.to_owned())));
    }
    for (what, address) in &others {
        let Ok(parsed) = address.parse::<std::net::IpAddr>() else { continue };
        for (name, network) in flat.iter().filter(|(_, network)| network.contains(&parsed)) {
            ctx.breach(what.as_str(), format!("{address} of {what} is in {network}, the network for pods of {name}"));
        }
    }
    Ok(())
}

/// The families of addresses, each once, in their order.
fn families(addresses: &[String]) -> Vec<&'static str> {
    let mut all: Vec<&str> = Vec::new();
    for address in addresses {
        let family = if address.contains(':') { "IPv6" } else { "IPv4" };
        if !all.contains(&family) {
            all.push(family);
        }
    }
    all
}

async fn addresses(ctx: Ctx) -> Result<(), Stop> {
    let wanted: Families = ctx.target().families;
    let all = nodes(&ctx).await?;
    let lacking: Vec<_> = all
        .iter()
        .filter(|node| wanted.names().iter().any(|name| !families(&node.addresses).contains(name)))
        .map(|node| format!("{} ({})", node.name, node.addresses.join(", ")))
        .collect();
    if lacking.len() == all.len() {
        ctx.breach("nodes", format!("no node has addresses of {wanted}: {}", lacking.join("; ")));
    } else if !lacking.is_empty() {
        ctx.evidence("nodes without all families", lacking.join("; "));
    }
    if !wanted.is_dual() {
        for node in all.iter().filter(|node| families(&node.addresses).len() > 1) {
            ctx.breach(&node.name, format!("{}: a single-stack cluster has {}", node.name, node.addresses.join(", ")));
        }
    }
    Ok(())
}

async fn address_order(ctx: Ctx) -> Result<(), Stop> {
    let primary = ctx.target().families.names()[0];
    for node in nodes(&ctx).await? {
        let found = families(&node.addresses);
        // A node of one family has no order.
        if found.len() > 1 || !ctx.target().families.is_dual() {
            ctx.expect(&node.name, "the family of the first InternalIP", &found.first().copied(), &Some(primary));
        }
    }
    Ok(())
}
