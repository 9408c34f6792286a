//! Pods: the addresses that they have, and what they are told of them.

use super::stand::{Pod, Stand, stand, url};
use super::{ALL, DOCUMENT};
use crate::cluster::{Claim, Ctx, Ref, Requirement, Stop};
use crate::trial::Trial;

pub(super) fn trials() -> Vec<Trial> {
    let common = |claim: Claim| claim.label("pods").basis(DOCUMENT.0, DOCUMENT.1).requires(Requirement::Workers(1));
    let network = "Configure the network plugin for both families: an IPAM range of each, in the order of the node's \
                   podCIDRs.";
    vec![
        common(Claim::new(
            "dualstack.pod.addresses",
            "A pod has one address of each family, the primary family first",
            ALL,
            "families-of-the-api-server",
            addresses,
        ))
        .alias("should create pod, add ipv6 and ipv4 ip to pod ips")
        .why("Services select a pod for a family only if it has an address of that family.")
        .how("Starts pods on two nodes and reads status.podIPs and status.podIP.")
        .fix(network)
        .trial(),
        common(Claim::new(
            "dualstack.pod.in-node-network",
            "A pod's addresses are in the networks of its node",
            ALL,
            "overlapping-pod-cidrs",
            in_network,
        ))
        .alias("podCIDRs")
        .why("Routes between nodes follow spec.podCIDRs; an address elsewhere is not reached from other nodes.")
        .how(
            "Compares status.podIPs of pods on two nodes with spec.podCIDRs of all nodes: exactly one node has the \
             address.",
        )
        .fix(network)
        .trial(),
        common(Claim::new(
            "dualstack.pod.host-ips",
            "status.hostIPs of a pod are the addresses of its node, in the node's order",
            ALL,
            "order-of-families",
            host_ips,
        ))
        .alias("PodHostIPs")
        .requires(Requirement::KubernetesFrom(30))
        .why("Agents find their node by these addresses, through the downward API.")
        .how("Compares status.hostIPs with the InternalIPs of the node, and the first family with the primary one.")
        .fix("Give --node-ip of the kubelet one address of each family, the primary family first.")
        .trial(),
        common(Claim::new(
            "dualstack.pod.downward-pod-ips",
            "A pod learns all its addresses from the downward API",
            ALL,
            "families-of-the-api-server",
            downward,
        ))
        .alias("status.podIPs")
        .why("Programs that announce themselves announce what the downward API says.")
        .how(
            "Reads the environment of a pod with status.podIPs and status.podIP, and compares it with the pod's \
             status.",
        )
        .fix(network)
        .trial(),
        common(Claim::new(
            "dualstack.pod.downward-host-ips",
            "A pod learns the addresses of its node from the downward API",
            ALL,
            "order-of-families",
            downward_hosts,
        ))
        .alias("status.hostIPs")
        .requires(Requirement::KubernetesFrom(30))
        .why("Agents that talk to their node use these addresses.")
        .how("Reads the environment of a pod with status.hostIPs, and compares it with the node's InternalIPs.")
        .fix("Give --node-ip of the kubelet one address of each family, the primary family first.")
        .trial(),
        common(Claim::new(
            "dualstack.pod.host-network",
            "A pod in the host's network has the addresses of its node",
            ALL,
            "order-of-families",
            host_network,
        ))
        .alias("hostNetwork")
        .why("Ingress controllers and agents run in the host's network, and are reached by the node's addresses.")
        .how(
            "Starts a pod with hostNetwork and compares status.podIPs with the node's InternalIPs and the primary \
             family.",
        )
        .fix("Give --node-ip of the kubelet one address of each family, the primary family first.")
        .trial(),
        common(Claim::new(
            "dualstack.pod.listens",
            "A server in a pod is reached by the pod's own addresses of all families",
            ALL,
            "families-of-the-api-server",
            listens,
        ))
        .alias("IPV6_V6ONLY")
        .why(
            "A pod whose interface lacks IPv6 (disable_ipv6, a failed duplicate address detection) binds, and never \
             answers.",
        )
        .how("Has a pod dial itself by each of its addresses.")
        .fix("Look at net.ipv6.conf.all.disable_ipv6 in the pod's network namespace, and at the network plugin's log.")
        .trial(),
    ]
}

fn every(stand: &Stand) -> [&Pod; 3] {
    [&stand.servers[0], &stand.servers[1], &stand.client]
}

fn families(addresses: &[String]) -> Vec<&'static str> {
    addresses.iter().map(|address| if address.contains(':') { "IPv6" } else { "IPv4" }).collect()
}

async fn addresses(ctx: Ctx) -> Result<(), Stop> {
    let stand = stand(&ctx).await?;
    for pod in every(&stand) {
        let (name, addresses) = (&pod.spec.name, pod.addresses());
        ctx.expect(name, "the families of podIPs", &families(&addresses), &ctx.target().families.names().to_vec());
        ctx.expect(name, "podIP", &pod.object["status"]["podIP"].as_str(), &addresses.first().map(String::as_str));
    }
    Ok(())
}

async fn in_network(ctx: Ctx) -> Result<(), Stop> {
    let stand = stand(&ctx).await?;
    let mut networks: Vec<(String, ipnet::IpNet)> = Vec::new();
    for node in ctx.list(&Ref::all("v1", "Node")).await? {
        let name = node["metadata"]["name"].as_str().unwrap_or_default();
        let cidrs = node["spec"]["podCIDRs"].as_array().cloned().unwrap_or_default();
        let parsed = cidrs.iter().filter_map(|cidr| cidr.as_str()?.parse().ok());
        networks.extend(parsed.map(|network| (name.to_owned(), network)));
    }
    if networks.is_empty() {
        return Err(Stop::NotApplicable("no node has podCIDRs: the network plugin has networks of its own".to_owned()));
    }
    for pod in every(&stand) {
        let node = pod.object["spec"]["nodeName"].as_str().unwrap_or_default();
        for address in pod.addresses() {
            let Ok(parsed) = address.parse::<std::net::IpAddr>() else { continue };
            let of = networks.iter().filter(|(_, network)| network.contains(&parsed)).map(|(name, _)| name.as_str());
            let of: Vec<_> = of.collect();
            ctx.expect(&pod.spec.name, &format!("the nodes whose networks have {address}"), &of, &vec![node]);
        }
    }
    Ok(())
}

/// The node's addresses in status.hostIPs, and the primary family first.
fn compare(ctx: &Ctx, subject: &str, what: &str, found: &[String], node: &[String]) {
    ctx.expect(subject, what, &found, &node);
    let primary = ctx.target().families.names()[0];
    ctx.expect(subject, &format!("the first family of {what}"), &families(found).first().copied(), &Some(primary));
}

async fn host_ips(ctx: Ctx) -> Result<(), Stop> {
    let stand = stand(&ctx).await?;
    for (pod, node) in stand.servers.iter().zip(&stand.node_addresses) {
        let all = pod.object["status"]["hostIPs"].as_array().cloned().unwrap_or_default();
        let found: Vec<_> = all.iter().filter_map(|one| one["ip"].as_str()).map(str::to_owned).collect();
        compare(&ctx, &pod.spec.name, "status.hostIPs", &found, node);
    }
    Ok(())
}

async fn downward(ctx: Ctx) -> Result<(), Stop> {
    let stand = stand(&ctx).await?;
    let environment = stand.ctx.environment(&stand.client.spec).await?;
    let (name, addresses) = (&stand.client.spec.name, stand.client.addresses());
    ctx.expect(name, "POD_IPS", &environment["POD_IPS"].as_str(), &Some(addresses.join(",").as_str()));
    ctx.expect(name, "POD_IP", &environment["POD_IP"].as_str(), &addresses.first().map(String::as_str));
    let of = families(
        &environment["POD_IPS"].as_str().unwrap_or_default().split(',').map(str::to_owned).collect::<Vec<_>>(),
    );
    ctx.expect(name, "the families of POD_IPS", &of, &ctx.target().families.names().to_vec());
    Ok(())
}

async fn downward_hosts(ctx: Ctx) -> Result<(), Stop> {
    let stand = stand(&ctx).await?;
    let environment = stand.ctx.environment(&stand.client.spec).await?;
    let found: Vec<_> = environment["HOST_IPS"].as_str().unwrap_or_default().split(',').map(str::to_owned).collect();
    compare(&ctx, &stand.client.spec.name, "HOST_IPS", &found, &stand.node_addresses[0]);
    Ok(())
}

async fn host_network(ctx: Ctx) -> Result<(), Stop> {
    let stand = stand(&ctx).await?;
    compare(&ctx, &stand.on_host.spec.name, "status.podIPs", &stand.on_host.addresses(), &stand.node_addresses[0]);
    Ok(())
}

async fn listens(ctx: Ctx) -> Result<(), Stop> {
    let stand = stand(&ctx).await?;
    for &family in ctx.target().families.names() {
        let address = stand.client.address(family)?;
        let dialed = stand.ctx.dial(&stand.client.spec, &url(&address, stand.client.spec.port, "hostname")).await?;
        if let Err(why) = dialed.body {
            ctx.breach(&stand.client.spec.name, format!("it does not reach its own address {address}: {why}"));
        }
    }
    Ok(())
}
