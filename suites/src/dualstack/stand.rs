//! The pods that the claims about traffic, DNS and addresses share: two servers and two clients on two nodes.

use serde_json::{Value, json};

use super::nodes::internal_addresses;
use crate::cluster::{Ctx, PodSpec, Ref, Stop};

/// The port of the client in the network of its node.
const HOST_PORT: u16 = 18_080;

/// Pods that are there.
pub(super) struct Stand {
    /// In the shared namespace: what dials and looks up goes through it.
    pub(super) ctx: Ctx,
    /// Two nodes; the same one twice where there is only one.
    pub(super) nodes: [String; 2],
    /// The InternalIPs of the two nodes.
    pub(super) node_addresses: [Vec<String>; 2],
    /// A server on each node; both have the label `app: server`.
    pub(super) servers: [Pod; 2],
    /// A client on the first node.
    pub(super) client: Pod,
    /// A client in the network of the first node.
    pub(super) on_host: Pod,
}

/// A pod that is there.
pub(super) struct Pod {
    pub(super) spec: PodSpec,
    pub(super) object: Value,
}

impl Pod {
    /// Its addresses, in order.
    pub(super) fn addresses(&self) -> Vec<String> {
        let all = self.object["status"]["podIPs"].as_array();
        all.into_iter().flatten().filter_map(|one| one["ip"].as_str()).map(str::to_owned).collect()
    }

    /// Its address of a family.
    pub(super) fn address(&self, family: &str) -> Result<String, Stop> {
        let found = self.addresses().into_iter().find(|address| address.contains(':') == (family == "IPv6"));
        let name = &self.spec.name;
        found.ok_or_else(|| Stop::breach(name.as_str(), format!("the pod {name} has no {family} address")))
    }
}

/// `http://` with an address and a port.
pub(super) fn url(address: &str, port: u16, path: &str) -> String {
    format!("http://{}/{path}", socket(address, port))
}

/// An address with a port, as sockets are written.
pub(super) fn socket(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// The shared pods; started by the first claim that asks.
pub(super) async fn stand(ctx: &Ctx) -> Result<std::sync::Arc<Stand>, Stop> {
    ctx.shared(start).await
}

async fn start(ctx: Ctx) -> Result<Stand, Stop> {
    let workers = ctx.workers().await?;
    let Some(first) = workers.first().cloned() else {
        return Err(Stop::Undetermined("no node runs pods".to_owned()));
    };
    let second = workers.get(1).cloned().unwrap_or_else(|| first.clone());
    let downward = |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    let mut environment = vec![downward("POD_IPS", "status.podIPs"), downward("POD_IP", "status.podIP")];
    if ctx.target().facts.minor >= 30 {
        environment.push(downward("HOST_IPS", "status.hostIPs"));
    }
    let server = |name: &str, node: &str| PodSpec::server(name).on(node).label("app", "server");
    let specs = [
        server("server-1", &first),
        server("server-2", &second),
        PodSpec::server("client").on(&first).env(environment.clone()),
        PodSpec::server("on-host").on(&first).host_network(HOST_PORT).env(environment),
    ];
    let objects = ctx.start(&specs).await?;
    let mut pods = specs.into_iter().zip(objects).map(|(spec, object)| Pod { spec, object });
    let mut next = || pods.next().ok_or_else(|| Stop::Undetermined("a pod is missing".to_owned()));
    let (servers, client, on_host) = ([next()?, next()?], next()?, next()?);
    let mut node_addresses = [Vec::new(), Vec::new()];
    for (addresses, name) in node_addresses.iter_mut().zip([&first, &second]) {
        *addresses = internal_addresses(&ctx.get(&Ref::new("v1", "Node", "", name)).await?);
    }
    Ok(Stand { ctx, nodes: [first, second], node_addresses, servers, client, on_host })
}
