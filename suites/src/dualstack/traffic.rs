//! Traffic: packets of every family from pods, nodes and outside to pods and Services.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::stand::{Pod, Stand, socket, stand, url};
use super::{ALL, DOCUMENT};
use crate::cluster::{Claim, Ctx, Families, Ref, Requirement, Stop};
use crate::trial::Trial;

/// How long the rules of a new Service may take to reach the nodes.
const PROGRAMMED: Duration = Duration::from_secs(20);
/// How often session affinity is tried.
const AFFINITY: usize = 8;

/// Who dials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Pod,
    Node,
    Outside,
}

/// Who is dialed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    PodOfSameNode,
    PodOfOtherNode,
    ClusterIp,
    NodePortOfSameNode,
    NodePortOfOtherNode,
}

/// A way that packets take.
#[derive(Debug, Clone, Copy)]
struct Way {
    id: &'static str,
    title: &'static str,
    from: From,
    to: To,
    udp: bool,
}

const fn way(id: &'static str, title: &'static str, from: From, to: To, udp: bool) -> Way {
    Way { id, title, from, to, udp }
}

const WAYS: [Way; 17] = [
    way("pod-to-pod-same-node-tcp", "A pod reaches a pod of its node over TCP", From::Pod, To::PodOfSameNode, false),
    way("pod-to-pod-same-node-udp", "A pod reaches a pod of its node over UDP", From::Pod, To::PodOfSameNode, true),
    way("pod-to-pod-tcp", "A pod reaches a pod of another node over TCP", From::Pod, To::PodOfOtherNode, false),
    way("pod-to-pod-udp", "A pod reaches a pod of another node over UDP", From::Pod, To::PodOfOtherNode, true),
    way("node-to-pod-tcp", "A node reaches a pod of another node over TCP", From::Node, To::PodOfOtherNode, false),
    way("node-to-pod-udp", "A node reaches a pod of another node over UDP", From::Node, To::PodOfOtherNode, true),
    way("node-to-own-pod-tcp", "A node reaches its own pod over TCP", From::Node, To::PodOfSameNode, false),
    way("pod-to-service-tcp", "A pod reaches a Service by its cluster IP over TCP", From::Pod, To::ClusterIp, false),
    way("pod-to-service-udp", "A pod reaches a Service by its cluster IP over UDP", From::Pod, To::ClusterIp, true),
    way("node-to-service-tcp", "A node reaches a Service by its cluster IP over TCP", From::Node, To::ClusterIp, false),
    way("node-to-service-udp", "A node reaches a Service by its cluster IP over UDP", From::Node, To::ClusterIp, true),
    way(
        "pod-to-node-port-tcp",
        "A pod reaches a NodePort of another node over TCP",
        From::Pod,
        To::NodePortOfOtherNode,
        false,
    ),
    way(
        "pod-to-node-port-udp",
        "A pod reaches a NodePort of another node over UDP",
        From::Pod,
        To::NodePortOfOtherNode,
        true,
    ),
    way(
        "pod-to-own-node-port-tcp",
        "A pod reaches a NodePort of its node over TCP",
        From::Pod,
        To::NodePortOfSameNode,
        false,
    ),
    way(
        "node-to-node-port-tcp",
        "A node reaches a NodePort of another node over TCP",
        From::Node,
        To::NodePortOfOtherNode,
        false,
    ),
    way(
        "node-to-own-node-port-tcp",
        "A node reaches its own NodePort over TCP",
        From::Node,
        To::NodePortOfSameNode,
        false,
    ),
    way(
        "outside-to-node-port-tcp",
        "A host outside of the cluster reaches a NodePort over TCP",
        From::Outside,
        To::NodePortOfOtherNode,
        false,
    ),
];

impl Way {
    /// The defect that breaks it.
    fn caught_by(self) -> &'static str {
        match self.to {
            // Nothing keeps the client from its own node's pods that would not keep the kubelet's probes from them.
            To::PodOfSameNode if self.from == From::Node => "families-of-the-api-server",
            To::PodOfSameNode => "pods-cut-off",
            To::PodOfOtherNode => "routed-packets-dropped",
            To::ClusterIp | To::NodePortOfSameNode | To::NodePortOfOtherNode => "kube-proxy-frozen",
        }
    }

    fn remedy(self) -> &'static str {
        match self.to {
            To::PodOfSameNode | To::PodOfOtherNode => {
                "Look at the routes of the family on both nodes (ip -6 route), at net.ipv4.ip_forward and \
                 net.ipv6.conf.all.forwarding, and at the firewall between the hosts."
            }
            _ => "Look at kube-proxy's log and rules of the family (nft list table ip6 kube-proxy, ip6tables-save).",
        }
    }
}

/// A Service of the shared servers.
fn service(name: &str, service_type: &str, families: Families) -> Value {
    let policy = if families.is_dual() { "RequireDualStack" } else { "SingleStack" };
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
        "spec": {
            "type": service_type, "selector": { "app": "server" },
            "ipFamilyPolicy": policy, "ipFamilies": families.names(),
            "ports": [
                { "name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP" },
                { "name": "udp", "port": 90, "targetPort": 8080, "protocol": "UDP" },
            ],
        },
    })
}

/// An address of a family among several.
fn of(addresses: &[String], family: &str, whose: &str) -> Result<String, Stop> {
    let found = addresses.iter().find(|address| address.contains(':') == (family == "IPv6"));
    found.cloned().ok_or_else(|| Stop::breach(whose, format!("{whose} has no {family} address")))
}

pub(super) fn trials() -> Vec<Trial> {
    let mut trials: Vec<_> = WAYS.into_iter().map(one_way).collect();
    let common = |claim: Claim| claim.label("traffic").basis(DOCUMENT.0, DOCUMENT.1).requires(Requirement::Workers(2));
    let proxy = "Look at kube-proxy's log and rules of the family (nft list table ip6 kube-proxy, ip6tables-save).";
    let path = "Set the MTU of pods at most to that of the hosts' network less the tunnel's headers, and let ICMPv6 \
                through: IPv6 routers do not fragment.";
    trials.extend([
        common(Claim::new(
            "dualstack.traffic.source-address",
            "A pod sees the address of the pod that dials it, of the family that is dialed",
            ALL,
            "routed-packets-dropped",
            source,
        ))
        .alias("masquerade")
        .why("Network policies and logs rest on source addresses; pod traffic must not be translated.")
        .how("Has a pod ask a pod of another node for the client's address, over each family.")
        .fix(
            "Exclude the networks of pods of both families from masquerading (--cluster-cidr of kube-proxy, the \
             plugin's ipMasq).",
        )
        .trial(),
        common(Claim::new(
            "dualstack.traffic.large-udp",
            "Datagrams larger than the MTU pass between pods of different nodes",
            ALL,
            "routed-packets-dropped",
            |ctx| large_udp(ctx, 8_000),
        ))
        .alias("should function for large requests: udp")
        .alias("path MTU")
        .why("DNS answers and QUIC break where fragments are dropped, mostly only over IPv6.")
        .how("Sends a datagram of 8000 bytes to a pod of another node over each family, and compares what comes back.")
        .fix(path)
        .trial(),
        common(Claim::new(
            "dualstack.traffic.large-tcp",
            "A large answer passes between pods of different nodes",
            ALL,
            "routed-packets-dropped",
            large_tcp,
        ))
        .alias("should function for large requests: http")
        .why("A wrong MTU lets the handshake pass and hangs the transfer.")
        .how("Gets 60000 bytes from a pod of another node over each family.")
        .fix(path)
        .trial(),
        common(Claim::new(
            "dualstack.traffic.large-udp-service",
            "Datagrams of 2000 bytes pass through a Service",
            ALL,
            "kube-proxy-frozen",
            large_service,
        ))
        .alias("should function for service endpoints using hostNetwork")
        .why("Translation of fragments needs reassembly on the node, which is a setting of its own for IPv6.")
        .how("Sends a datagram of 2000 bytes to a Service's cluster IP of each family, and compares what comes back.")
        .fix(path)
        .trial(),
        common(Claim::new(
            "dualstack.traffic.session-affinity",
            "Session affinity keeps a client on one pod, over each family",
            ALL,
            "kube-proxy-frozen",
            affinity,
        ))
        .alias("should function for client IP based session affinity: http [LinuxOnly]")
        .why("Sessions in memory get lost where affinity works over one family only.")
        .how("Dials a Service with sessionAffinity ClientIP eight times over each family: one pod answers all.")
        .fix(proxy)
        .trial(),
        common(Claim::new(
            "dualstack.traffic.hairpin",
            "A pod reaches itself through its own Service",
            ALL,
            "kube-proxy-frozen",
            hairpin,
        ))
        .alias("hairpin")
        .why("A server that calls itself by its Service's name hangs at random where hairpin traffic is dropped.")
        .how("Has the only pod behind a Service dial the Service's cluster IP of each family.")
        .fix("Allow hairpin traffic on the pod's port of the bridge (hairpinMode of the CNI plug-in).")
        .trial(),
        common(Claim::new(
            "dualstack.traffic.unready-endpoint",
            "A pod that is not ready gets no traffic of a Service, over each family",
            ALL,
            "kube-proxy-frozen",
            unready,
        ))
        .alias("should update endpoints")
        .why("Endpoints of the two families are kept in two slices, which can differ.")
        .how("Makes one of two pods behind a Service unready, and dials each cluster IP until only the other answers.")
        .fix("Look into the log of kube-controller-manager (EndpointSlice controller) and of kube-proxy.")
        .trial(),
        common(Claim::new(
            "dualstack.traffic.single-family-service",
            "A single-stack Service answers on its one family only",
            ALL,
            "kube-proxy-frozen",
            single_family,
        ))
        .alias("should create service with ipv6 cluster ip")
        .why("A rule of the wrong family sends clients to pods that the Service did not promise.")
        .how("Creates a SingleStack Service for each family, checks its one address, and dials it.")
        .fix(proxy)
        .trial(),
        common(Claim::new(
            "dualstack.traffic.no-endpoints",
            "A Service without endpoints refuses connections at once, over each family",
            ALL,
            "kube-proxy-frozen",
            no_endpoints,
        ))
        .alias("should be rejected when no endpoints exist")
        .why("A client that is refused tries elsewhere; one whose packets vanish waits for minutes.")
        .how("Dials a Service without pods over each family, and expects a refusal rather than a time-out.")
        .fix(proxy)
        .trial(),
    ]);
    trials
}

fn one_way(way: Way) -> Trial {
    let claim = Claim::new(
        format!("dualstack.traffic.{}", way.id),
        format!("{}, over each family", way.title),
        ALL,
        way.caught_by(),
        move |ctx| travel(ctx, way),
    )
    .label("traffic")
    .alias(if way.udp { "pod-Service: udp" } else { "should be able to reach pod on ipv4 and ipv6 ip" })
    .why("One family that fails on one way fails for a part of the clients only, which is hard to find.")
    .how("Starts servers and clients on two nodes, and dials over each family of the cluster until it answers.")
    .fix(way.remedy())
    .basis(DOCUMENT.0, DOCUMENT.1)
    .requires(Requirement::Workers(2));
    if way.from == From::Outside { claim.requires(Requirement::Hosts).trial() } else { claim.trial() }
}

/// A Service of the shared servers that is there, with the name of its claim.
async fn serve(stand: &Stand, ctx: &Ctx, name: &str, service_type: &str) -> Result<Value, Stop> {
    stand.ctx.create(service(name, service_type, ctx.target().families)).await
}

async fn travel(ctx: Ctx, way: Way) -> Result<(), Stop> {
    let stand = stand(&ctx).await?;
    let service = match way.to {
        To::PodOfSameNode | To::PodOfOtherNode => Value::Null,
        To::ClusterIp => serve(&stand, &ctx, way.id, "ClusterIP").await?,
        To::NodePortOfSameNode | To::NodePortOfOtherNode => serve(&stand, &ctx, way.id, "NodePort").await?,
    };
    let spec = &service["spec"];
    let port = usize::from(way.udp);
    let node_port = spec["ports"][port]["nodePort"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(0);
    let addresses: Vec<String> =
        spec["clusterIPs"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    for &family in ctx.target().families.names() {
        let (address, port) = match way.to {
            To::PodOfSameNode => (stand.servers[0].address(family)?, 8080),
            To::PodOfOtherNode => (stand.servers[1].address(family)?, 8080),
            To::ClusterIp => (of(&addresses, family, "the Service")?, if way.udp { 90 } else { 80 }),
            To::NodePortOfSameNode => (of(&stand.node_addresses[0], family, &stand.nodes[0])?, node_port),
            To::NodePortOfOtherNode => (of(&stand.node_addresses[1], family, &stand.nodes[1])?, node_port),
        };
        let place = socket(&address, port);
        let came = ctx.eventually(PROGRAMMED, || reach(&stand, way, &address, port)).await?;
        if let Err(why) = came {
            ctx.breach(place.as_str(), format!("{} over {family}: {place} is not reached: {why}", way.title));
        }
    }
    Ok(())
}

/// One dial; an answer of one of the servers counts.
async fn reach(stand: &Stand, way: Way, address: &str, port: u16) -> Result<Result<(), String>, Stop> {
    let client: &Pod = if way.from == From::Node { &stand.on_host } else { &stand.client };
    let body = match (way.from, way.udp) {
        (From::Outside, _) => from_outside(address, port).await,
        (_, true) => stand.ctx.dial_udp(&client.spec, &socket(address, port), "hostname").await?.body,
        (_, false) => stand.ctx.dial(&client.spec, &url(address, port, "hostname")).await?.body,
    };
    Ok(body.and_then(|body| {
        let known = stand.servers.iter().any(|server| server.spec.name == body.trim());
        if known { Ok(()) } else { Err(format!("'{body}' answers, which is none of the servers")) }
    }))
}

/// Dials from where this program runs.
async fn from_outside(address: &str, port: u16) -> Result<String, String> {
    let place = socket(address, port);
    let work = async {
        let mut stream = tokio::net::TcpStream::connect(&place).await?;
        stream.write_all(b"GET /hostname HTTP/1.0\r\n\r\n").await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok::<_, std::io::Error>(text.rsplit("\r\n").next().unwrap_or_default().to_owned())
    };
    match tokio::time::timeout(Duration::from_secs(3), work).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err("no answer within 3 s".to_owned()),
    }
}

async fn source(ctx: Ctx) -> Result<(), Stop> {
    let stand = stand(&ctx).await?;
    for &family in ctx.target().families.names() {
        let (own, peer) = (stand.client.address(family)?, stand.servers[1].address(family)?);
        let dialed = stand.ctx.dial(&stand.client.spec, &url(&peer, 8080, "clientip")).await?;
        match dialed.body.as_deref().map(|body| body.parse::<std::net::SocketAddr>()) {
            Ok(Ok(seen)) => ctx.expect(&peer, "the client's address", &seen.ip().to_string(), &own),
            Ok(Err(_)) => ctx.breach(&peer, format!("{peer} answers no address: {:?}", dialed.body)),
            Err(why) => ctx.breach(&peer, format!("{peer} is not reached over {family}: {why}")),
        }
    }
    Ok(())
}

async fn large_udp(ctx: Ctx, size: usize) -> Result<(), Stop> {
    let stand = stand(&ctx).await?;
    let text = "x".repeat(size);
    for &family in ctx.target().families.names() {
        let place = socket(&stand.servers[1].address(family)?, 8080);
        let sent = ctx.eventually(PROGRAMMED, || async {
            let dialed = stand.ctx.dial_udp(&stand.client.spec, &place, &text).await?;
            Ok(dialed.body.and_then(|body| same(&body, size)))
        });
        if let Err(why) = sent.await? {
            ctx.breach(&place, format!("a datagram of {size} bytes to {place}: {why}"));
        }
    }
    Ok(())
}

fn same(body: &str, size: usize) -> Result<(), String> {
    if body.len() == size { Ok(()) } else { Err(format!("{} bytes came back", body.len())) }
}

async fn large_tcp(ctx: Ctx) -> Result<(), Stop> {
    let stand = stand(&ctx).await?;
    for &family in ctx.target().families.names() {
        let url = url(&stand.servers[1].address(family)?, 8080, "bytes?count=60000");
        let dialed = stand.ctx.dial(&stand.client.spec, &url).await?;
        if let Err(why) = dialed.body.and_then(|body| same(&body, 60_000)) {
            ctx.breach(&url, format!("60000 bytes from {url}: {why}"));
        }
    }
    Ok(())
}

/// Cluster IPs of a Service by family, of the cluster's families.
fn cluster_ips(ctx: &Ctx, service: &Value) -> Result<Vec<(&'static str, String)>, Stop> {
    let addresses = service["spec"]["clusterIPs"].as_array().cloned().unwrap_or_default();
    let addresses: Vec<_> = addresses.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let of = |&family: &&'static str| of(&addresses, family, "the Service").map(|address| (family, address));
    ctx.target().families.names().iter().map(of).collect()
}

async fn large_service(ctx: Ctx) -> Result<(), Stop> {
    let stand = stand(&ctx).await?;
    let service = serve(&stand, &ctx, "large", "ClusterIP").await?;
    let text = "x".repeat(2_000);
    for (_, address) in cluster_ips(&ctx, &service)? {
        let place = socket(&address, 90);
        let sent = ctx.eventually(PROGRAMMED, || async {
            let dialed = stand.ctx.dial_udp(&stand.client.spec, &place, &text).await?;
            Ok(dialed.body.and_then(|body| same(&body, 2_000)))
        });
        if let Err(why) = sent.await? {
            ctx.breach(&place, format!("a datagram of 2000 bytes to {place}: {why}"));
        }
    }
    Ok(())
}

async fn affinity(ctx: Ctx) -> Result<(), Stop> {
    let stand = stand(&ctx).await?;
    let mut object = service("affinity", "ClusterIP", ctx.target().families);
    object["spec"]["sessionAffinity"] = "ClientIP".into();
    let service = stand.ctx.create(object).await?;
    for (family, address) in cluster_ips(&ctx, &service)? {
        let url = url(&address, 80, "hostname");
        let answers = || async { Ok(stand.ctx.dial(&stand.client.spec, &url).await?.body.map(drop)) };
        if let Err(why) = ctx.eventually(PROGRAMMED, answers).await? {
            ctx.breach(&address, format!("the Service does not answer over {family}: {why}"));
            continue;
        }
        let mut names = Vec::new();
        for _ in 0..AFFINITY {
            names.push(stand.ctx.dial(&stand.client.spec, &url).await?.body.unwrap_or_else(|why| why));
        }
        names.sort();
        names.dedup();
        ctx.expect(&address, "the number of pods that answer one client", &names.len(), &1);
    }
    Ok(())
}

async fn hairpin(ctx: Ctx) -> Result<(), Stop> {
    let stand = stand(&ctx).await?;
    let mut object = service("hairpin", "ClusterIP", ctx.target().families);
    object["spec"]["selector"] = json!({ "app": "client" });
    let service = stand.ctx.create(object).await?;
    for (family, address) in cluster_ips(&ctx, &service)? {
        let url = url(&address, 80, "hostname");
        let answers = || async { Ok(stand.ctx.dial(&stand.client.spec, &url).await?.body.map(drop)) };
        if let Err(why) = ctx.eventually(PROGRAMMED, answers).await? {
            ctx.breach(&address, format!("the pod does not reach itself through its Service over {family}: {why}"));
        }
    }
    Ok(())
}

async fn unready(ctx: Ctx) -> Result<(), Stop> {
    use crate::cluster::PodSpec;
    // Pods of its own: others rest on the shared ones being ready.
    let spec = |name: &str| PodSpec::server(name).label("app", "flips");
    let client = PodSpec::server("dials");
    ctx.start(&[spec("stays"), spec("goes"), client.clone()]).await?;
    let mut object = service("flips", "ClusterIP", ctx.target().families);
    object["spec"]["selector"] = json!({ "app": "flips" });
    let service = ctx.create(object).await?;
    let addresses = cluster_ips(&ctx, &service)?;
    for (family, address) in &addresses {
        let url = url(address, 80, "hostname");
        let both = || async {
            for _ in 0..20 {
                if ctx.dial(&client, &url).await?.body.is_ok_and(|name| name == "goes") {
                    return Ok(Ok(()));
                }
            }
            Ok(Err("the second pod never answered".to_owned()))
        };
        if let Err(why) = ctx.eventually(PROGRAMMED, both).await? {
            ctx.breach(address.as_str(), format!("over {family}, while both pods are ready: {why}"));
        }
    }
    ctx.make_ready(&spec("goes"), false).await?;
    for (family, address) in &addresses {
        let url = url(address, 80, "hostname");
        let one = || async {
            for _ in 0..10 {
                match ctx.dial(&client, &url).await?.body {
                    Ok(name) if name == "stays" => {}
                    Ok(name) => return Ok(Err(format!("{name} answers although it is not ready"))),
                    Err(why) => return Ok(Err(why)),
                }
            }
            Ok(Ok(()))
        };
        if let Err(why) = ctx.eventually(Duration::from_secs(30), one).await? {
            ctx.breach(address.as_str(), format!("over {family}, after one pod became unready: {why}"));
        }
    }
    Ok(())
}

async fn single_family(ctx: Ctx) -> Result<(), Stop> {
    let stand = stand(&ctx).await?;
    for &family in ctx.target().families.names() {
        let one = if family == "IPv4" { Families::V4 } else { Families::V6 };
        let name = format!("only-{}", family.to_lowercase());
        let service = stand.ctx.create(service(&name, "ClusterIP", one)).await?;
        let addresses = service["spec"]["clusterIPs"].as_array().cloned().unwrap_or_default();
        ctx.expect(&name, "the number of clusterIPs", &addresses.len(), &1);
        let address = addresses.first().and_then(Value::as_str).unwrap_or_default().to_owned();
        ctx.expect(&name, "the address is of IPv6", &address.contains(':'), &(family == "IPv6"));
        let url = url(&address, 80, "hostname");
        let answers = || async { Ok(stand.ctx.dial(&stand.client.spec, &url).await?.body.map(drop)) };
        if let Err(why) = ctx.eventually(PROGRAMMED, answers).await? {
            ctx.breach(&name, format!("the Service does not answer at {address}: {why}"));
        }
        let place = Ref {
            namespace: Some(stand.ctx.namespace().to_owned()),
            ..Ref::all("discovery.k8s.io/v1", "EndpointSlice")
        };
        let slices = ctx.list(&place).await?;
        let own =
            slices.iter().filter(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == name.as_str());
        let types: Vec<_> = own.filter_map(|slice| slice["addressType"].as_str()).collect();
        ctx.expect(&name, "the address types of its EndpointSlices", &types, &vec![family]);
    }
    Ok(())
}

async fn no_endpoints(ctx: Ctx) -> Result<(), Stop> {
    let stand = stand(&ctx).await?;
    let mut object = service("nobody", "ClusterIP", ctx.target().families);
    object["spec"]["selector"] = json!({ "app": "nobody" });
    let service = stand.ctx.create(object).await?;
    for (family, address) in cluster_ips(&ctx, &service)? {
        let url = url(&address, 80, "hostname");
        let refused = || async {
            Ok(match stand.ctx.dial(&stand.client.spec, &url).await?.body {
                Err(why) if why.starts_with("refused") => Ok(()),
                Err(why) => Err(why),
                Ok(body) => Err(format!("'{body}' answers")),
            })
        };
        if let Err(why) = ctx.eventually(PROGRAMMED, refused).await? {
            ctx.breach(&address, format!("{address} does not refuse connections over {family}: {why}"));
        }
    }
    Ok(())
}
