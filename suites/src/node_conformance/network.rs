//! Pods reach pods, and the node reaches pods, by HTTP and UDP.

use serde_json::{Value, json};

use super::Area;
use super::upstream::Covers as _;
use crate::cluster::{Ctx, Pod, Stop};
use crate::trial::Trial;

const AREA: Area = Area {
    id: "network",
    caught_by: "pods-are-unreachable",
    why: "Every Service, probe and DNS answer is a packet between pods or between a node and a pod.",
    how: "Runs a server on each node that runs pods, and dials each of them from a pod, or from the network \
          of the node under test.",
    fix: "Look at the CNI plug-in's log and configuration, at net.ipv4.ip_forward, and at rules that drop \
          forwarded packets.",
    basis: ("The Kubernetes network model", "https://kubernetes.io/docs/concepts/services-networking/"),
};

/// A port that nothing else uses.
const PORT: u16 = 8093;

pub(super) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (id, who, words, host) in
        [("pod-to-pod", "A pod", "intra-pod", false), ("node-to-pod", "The node", "node-pod", true)]
    {
        for protocol in ["http", "udp"] {
            trials.push(
                AREA.claim(
                    &format!("{id}-{protocol}"),
                    format!("{who} reaches the pods of each node by {protocol}"),
                    move |ctx| reaches(ctx, host, protocol),
                )
                .covers(&format!(
                    "Networking Granular Checks: Pods should function for {words} communication: {protocol}"
                ))
                .trial(),
            );
        }
    }
    trials
}

fn addresses(pod: &Value) -> Vec<String> {
    let all = pod["status"]["podIPs"].as_array().into_iter().flatten().filter_map(|one| one["ip"].as_str());
    all.map(|ip| if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() }).collect()
}

async fn reaches(ctx: Ctx, host: bool, protocol: &'static str) -> Result<(), Stop> {
    let mut nodes = ctx.workers().await?;
    let own = ctx.node().await?;
    nodes.retain(|node| *node != own);
    nodes.insert(0, own);
    let mut servers = Vec::new();
    for (number, node) in nodes.iter().enumerate() {
        // Its readiness is not asked for by network: that is what is tried.
        let port = PORT.to_string();
        let serve = format!("serve --http {port} --udp {port}");
        let pod = Pod::new(&format!("server-{number}"), &serve).spec(json!({ "nodeName": node }));
        ctx.running(&pod).await?;
        ctx.until_printed(&pod.name, "main", "udp ").await?;
        servers.push((ctx.get(&ctx.pod(&pod.name)).await?, node.clone(), pod.name));
    }
    for (pod, node, name) in &servers {
        for (number, address) in addresses(pod).iter().enumerate() {
            let script = match protocol {
                "http" => format!("dial http://{address}:{PORT}/hostname"),
                _ => format!("dial-udp {address}:{PORT} hostname"),
            };
            let client = Pod::new(&format!("client-{number}-{name}"), &script).spec(json!({ "hostNetwork": host }));
            let printed = ctx.output(&client).await.map_err(|stop| match stop {
                Stop::Breached(mut findings) => {
                    for finding in &mut findings {
                        finding.message = format!("{name} on {node} is not reached at {address}: {}", finding.message);
                    }
                    Stop::Breached(findings)
                }
                other => other,
            })?;
            ctx.line(&format!("{name} on {node} at {address}"), &printed, name);
        }
    }
    Ok(())
}
