//! A cluster that is not ours, as its API shows it: where its API servers are, and what they were told of time.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::Method;
use serde_json::Value;

use super::api::Api;
use super::hands::Hands;
use super::scene::{BALANCER, Constants, Scene, broken};
use crate::cluster::{Ctx, Hook, SIMULATED, Stop};

/// The label of nodes with a control plane.
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
const SLICES: &str =
    "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io/service-name=kubernetes";
const PROGRAMS: &str = "/api/v1/namespaces/kube-system/pods?labelSelector=tier=control-plane";

/// Learns the addresses. What an earlier run left broken is mended first.
pub(super) async fn find(ctx: &Ctx, hook: Option<Hook>) -> Result<Scene, Stop> {
    if let Some(hook) = hook.as_ref().filter(|hook| !hook.on().is_empty()) {
        ctx.step(format!("an earlier run left on: {}", hook.on().join(", ")));
        hook.end().await.map_err(|why| broken("faults that an earlier run left", why))?;
    }
    let target = ctx.target();
    let api = Api::of(target).await.map_err(|why| broken("the kubeconfig", why))?;
    let nodes = ask(ctx, "/api/v1/nodes").await?;
    let slices = ask(ctx, SLICES).await?;
    let pods = ask(ctx, PROGRAMS).await?;
    let mut planes = Vec::new();
    let mut servers = BTreeMap::new();
    for address in slices.iter().flat_map(addresses) {
        let name = node_of(&nodes, address.ip()).unwrap_or_else(|| address.ip().to_string());
        planes.push(name.clone());
        let gate = api.at(&name, address);
        match gate.open().await {
            Ok(_) => drop(servers.insert(name, Arc::new(gate))),
            // The load balancer may be all that can be reached from here.
            Err(why) => ctx.step(format!("the API server of {name} is not asked by itself: {address}: {why}")),
        }
    }
    let lines = lines(&pods);
    let mut constants = Constants::of(&lines, target.facts.minor);
    (constants.refused, constants.silent) = (target.balancer_drops, target.balancer_drops);
    let workers = nodes.iter().filter(|node| is_worker(node)).filter_map(|node| node["metadata"]["name"].as_str());
    let workers = workers.map(str::to_owned).collect();
    // External members are all named in one flag; stacked ones are as many as the API servers.
    let external = lines.split_whitespace().find_map(|word| word.strip_prefix("--etcd-servers="));
    let members = external.map_or(1, |list| list.split(',').count()).max(planes.len());
    Ok(Scene {
        hands: hook.map_or(Hands::Others, Hands::Hook),
        balancer: Arc::new(api.named(BALANCER)),
        servers,
        planes,
        member_count: members,
        members: BTreeMap::new(),
        workers,
        constants,
    })
}

async fn ask(ctx: &Ctx, path: &str) -> Result<Vec<Value>, Stop> {
    let answer = ctx.request(Method::GET, path, None).await?;
    let list = answer.map_err(|why| broken(path, why.message))?;
    Ok(items(&list))
}

fn items(list: &Value) -> Vec<Value> {
    list["items"].as_array().cloned().unwrap_or_default()
}

/// The addresses of the API servers in a slice of the Service `kubernetes`.
fn addresses(slice: &Value) -> Vec<SocketAddr> {
    let port = slice["ports"][0]["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(443);
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    let texts = endpoints.filter_map(|endpoint| endpoint["addresses"][0].as_str());
    texts.filter_map(|text| Some(SocketAddr::new(text.parse().ok()?, port))).collect()
}

fn node_of(nodes: &[Value], ip: IpAddr) -> Option<String> {
    let is_there = |node: &&Value| {
        let addresses = node["status"]["addresses"].as_array();
        addresses.into_iter().flatten().any(|one| one["address"] == ip.to_string())
    };
    nodes.iter().find(is_there).and_then(|node| node["metadata"]["name"].as_str()).map(str::to_owned)
}

fn is_worker(node: &Value) -> bool {
    let labels = &node["metadata"]["labels"];
    labels.get(CONTROL_PLANE).is_none() && labels.get(SIMULATED).is_none()
}

/// The command lines of static pods of the control plane, one a line.
fn lines(pods: &[Value]) -> String {
    let words = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let containers = pods.iter().flat_map(|pod| items_of(&pod["spec"]["containers"]));
    let line = |one: &Value| [words(&one["command"]), words(&one["args"])].concat().join(" ");
    containers.map(line).collect::<Vec<_>>().join("\n")
}

fn items_of(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn api_servers_are_named_by_their_nodes() {
        let slice = json!({
            "ports": [{ "name": "https", "port": 6443 }],
            "endpoints": [{ "addresses": ["10.0.0.11"] }, { "addresses": ["fd00::12"] }, { "addresses": ["x"] }],
        });
        let found = addresses(&slice);
        assert_eq!(found, ["10.0.0.11:6443".parse().unwrap(), "[fd00::12]:6443".parse().unwrap()]);
        let node = json!({
            "metadata": { "name": "cp1", "labels": { CONTROL_PLANE: "" } },
            "status": { "addresses": [{ "type": "InternalIP", "address": "10.0.0.11" }] },
        });
        let nodes = [node];
        assert_eq!(node_of(&nodes, found[0].ip()).as_deref(), Some("cp1"));
        assert_eq!(node_of(&nodes, found[1].ip()), None);
        assert!(!is_worker(&nodes[0]) && is_worker(&json!({ "metadata": { "labels": {} } })));
    }

    #[test]
    fn constants_are_read_from_static_pods() {
        let pod = json!({ "spec": { "containers": [
            { "command": ["kube-controller-manager", "--leader-elect-lease-duration=30s"] },
        ] } });
        let found = Constants::of(&lines(&[pod]), 37);
        assert_eq!(found.lease, std::time::Duration::from_secs(30));
    }
}
