//! The control plane: where the API server is advertised, what its certificate names, ranges of Services, kubeadm's
//! subnets, and the kernel settings of nodes.

use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};

use super::cidr::{self, NodeMasks};
use super::{ALL, DOCUMENT};
use crate::cluster::{Claim, Condition, Ctx, Ref, Requirement, Stop};
use crate::trial::Trial;

const KUBEADM: (&str, &str) = (
    "Dual-stack support with kubeadm",
    "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/dual-stack-support/",
);
const RANGES: (&str, &str) =
    ("Virtual IPs: IP address allocation tracking", "https://kubernetes.io/docs/reference/networking/virtual-ips/");

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Claim::new(
            "dualstack.api.advertised",
            "API servers are advertised by addresses of the primary family",
            ALL,
            "order-of-families",
            advertised,
        )
        .label("control-plane")
        .alias("--advertise-address")
        .why("The Service kubernetes is of the primary family; endpoints of the other are never used.")
        .how("Reads the EndpointSlices of the Service default/kubernetes.")
        .fix("Set localAPIEndpoint.advertiseAddress (--advertise-address) to an address of the primary family.")
        .basis(KUBEADM.0, KUBEADM.1)
        .trial(),
        Claim::new(
            "dualstack.api.certificate",
            "The API server's certificate names the address of the Service kubernetes and the advertised ones",
            ALL,
            "certificate-without-address",
            certificate,
        )
        .label("control-plane")
        .alias("certSANs")
        .requires(Requirement::Hosts)
        .why("Clients in pods connect by the Service's address; a certificate without it is refused by all of them.")
        .how(
            "Reads apiserver.crt of each control plane, and compares its IP addresses with the Service and its \
             endpoints.",
        )
        .fix("Delete apiserver.crt and apiserver.key, and run `kubeadm init phase certs apiserver --config FILE`.")
        .basis(KUBEADM.0, KUBEADM.1)
        .trial(),
        Claim::new(
            "dualstack.service-cidr.ranges",
            "The ServiceCIDR kubernetes has one range of each family, the primary family first, and is Ready",
            ALL,
            "families-of-the-api-server",
            ranges,
        )
        .label("services")
        .alias("ServiceCIDR")
        .requires(Requirement::KubernetesFrom(33))
        .why("Addresses of Services are given out of ServiceCIDRs; the API server's flag only makes the first one.")
        .how("Reads the ServiceCIDR kubernetes.")
        .fix("Compare --service-cluster-ip-range of all API servers; delete the ServiceCIDR if the flag was changed.")
        .basis(RANGES.0, RANGES.1)
        .trial(),
        Claim::new(
            "dualstack.service-cidr.addresses",
            "Each address of a Service has an IPAddress object, which goes with the Service",
            ALL,
            "families-of-the-api-server",
            ip_addresses,
        )
        .label("services")
        .alias("IPAddress")
        .requires(Requirement::KubernetesFrom(33))
        .why("An IPAddress that is left behind keeps its address from every later Service.")
        .how(
            "Creates a Service of all families, reads its IPAddress objects and their parentRef, deletes it, and \
             waits.",
        )
        .fix("Look into the log of kube-apiserver: its repair loop reports addresses that leak.")
        .basis(RANGES.0, RANGES.1)
        .trial(),
        Claim::new(
            "dualstack.service-cidr.extension",
            "A further ServiceCIDR becomes Ready, gives out addresses, and can be removed",
            ALL,
            "no-further-ranges",
            extension,
        )
        .label("services")
        .alias("range is full")
        .requires(Requirement::KubernetesFrom(33))
        .disturbs()
        .why("A range that is full stops all new Services; adding one is the only way out without a new cluster.")
        .how("Creates a ServiceCIDR of a network that is unused, pins a Service to an address of it, and removes both.")
        .fix("Look at the conditions of the ServiceCIDR and at the log of kube-controller-manager.")
        .basis(RANGES.0, RANGES.1)
        .trial(),
        Claim::new(
            "dualstack.kubeadm.subnets",
            "The subnets of kubeadm's configuration are allowed, apart, and of the cluster's families",
            ALL,
            "bad-subnets",
            subnets,
        )
        .label("kubeadm")
        .alias("podSubnet")
        .alias("pod subnet mask and node-mask difference is greater than 16")
        .why("kubeadm upgrade and kubeadm join read this configuration, and refuse or use what is in it.")
        .how(
            "Reads podSubnet, serviceSubnet and the node masks of the ConfigMap kubeadm-config, and applies kubeadm's \
             rules.",
        )
        .fix("Edit the ConfigMap kubeadm-config in kube-system so that it says what the components run with.")
        .basis(KUBEADM.0, KUBEADM.1)
        .trial(),
        Claim::new(
            "dualstack.node.forwarding",
            "Nodes forward packets of all families of the cluster",
            ALL,
            "forwarding-off",
            forwarding,
        )
        .label("nodes")
        .alias("net.ipv6.conf.all.forwarding")
        .requires(Requirement::Hosts)
        .why("A node that does not forward drops what is for its pods.")
        .how("Reads net.ipv4.ip_forward and net.ipv6.conf.all.forwarding on each worker.")
        .fix("sysctl -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1, and a file in /etc/sysctl.d to keep it.")
        .basis(DOCUMENT.0, DOCUMENT.1)
        .trial(),
        Claim::new(
            "dualstack.node.router-advertisements",
            "Nodes that forward IPv6 keep the routes that routers advertise to them",
            ALL,
            "router-advertisements",
            advertisements,
        )
        .label("nodes")
        .alias("accept_ra")
        .requires(Requirement::Hosts)
        .why(
            "With forwarding on, accept_ra=1 means that advertisements are ignored: the default route expires within \
             minutes.",
        )
        .how("For each interface with a route of the protocol ra, reads accept_ra, which must be 2.")
        .fix("sysctl -w net.ipv6.conf.INTERFACE.accept_ra=2, or a static default route.")
        .basis("Linux: ip-sysctl, accept_ra", "https://docs.kernel.org/networking/ip-sysctl.html")
        .trial(),
    ]
}

fn family(address: &str) -> &'static str {
    if address.contains(':') { "IPv6" } else { "IPv4" }
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The addresses of the API servers, as the Service kubernetes has them.
async fn api_servers(ctx: &Ctx) -> Result<Vec<(String, Vec<String>)>, Stop> {
    let place = Ref { namespace: Some("default".to_owned()), ..Ref::all("discovery.k8s.io/v1", "EndpointSlice") };
    let slices = ctx.list(&place).await?;
    let own = slices.iter().filter(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == "kubernetes");
    let addresses = |slice: &Value| {
        slice["endpoints"].as_array().into_iter().flatten().flat_map(|one| texts(&one["addresses"])).collect()
    };
    Ok(own.map(|slice| (slice["addressType"].as_str().unwrap_or_default().to_owned(), addresses(slice))).collect())
}

async fn advertised(ctx: Ctx) -> Result<(), Stop> {
    let primary = ctx.target().families.names()[0];
    let slices = api_servers(&ctx).await?;
    if slices.is_empty() {
        return Err(Stop::breach("kubernetes", "the Service default/kubernetes has no EndpointSlice"));
    }
    for (kind, addresses) in slices {
        ctx.evidence("advertised", addresses.join(", "));
        ctx.expect("kubernetes", "the address type of its EndpointSlice", &kind.as_str(), &primary);
        for address in addresses.iter().filter(|address| family(address) != primary) {
            ctx.breach(
                "kubernetes",
                format!("the API server is advertised by {address}; expected an {primary} address"),
            );
        }
    }
    Ok(())
}

async fn certificate(ctx: Ctx) -> Result<(), Stop> {
    let service = ctx.get(&Ref::new("v1", "Service", "default", "kubernetes")).await?;
    let shared = texts(&service["spec"]["clusterIPs"]);
    let mut all_advertised: Vec<_> =
        api_servers(&ctx).await?.into_iter().flat_map(|(_, addresses)| addresses).collect();
    let mut named_by_all: Vec<String> = Vec::new();
    for (host, pem) in ctx.read_on_hosts("cp", "/etc/kubernetes/pki/apiserver.crt").await? {
        let body: String = pem
            .lines()
            .skip_while(|line| !line.starts_with("-----BEGIN"))
            .skip(1)
            .take_while(|line| !line.starts_with("-----END"))
            .collect();
        let der = base64::engine::general_purpose::STANDARD.decode(body.trim());
        let parsed = der.ok().and_then(|der| seaworthy_checks::pki::x509::Certificate::parse(&der).ok());
        let Some(certificate) = parsed else {
            ctx.breach(&host, format!("{host}: /etc/kubernetes/pki/apiserver.crt is no certificate"));
            continue;
        };
        let names = certificate.extensions.subject_alt_names.as_ref();
        let addresses: Vec<_> =
            names.map(|names| names.ips.iter().map(ToString::to_string).collect()).unwrap_or_default();
        for address in shared.iter().filter(|address| !addresses.contains(address)) {
            let what = "the address of the Service kubernetes";
            ctx.breach(&host, format!("{host}: apiserver.crt does not name {address}, {what}"));
        }
        named_by_all.extend(addresses);
    }
    // Which control plane has which address is not known here; one of their certificates names each.
    all_advertised.retain(|address| !named_by_all.contains(address));
    for address in all_advertised {
        ctx.breach("kubernetes", format!("no API server's certificate names {address}, which is advertised"));
    }
    Ok(())
}

async fn ranges(ctx: Ctx) -> Result<(), Stop> {
    let object = ctx.get(&Ref::new("networking.k8s.io/v1", "ServiceCIDR", "", "kubernetes")).await?;
    let found: Vec<_> = texts(&object["spec"]["cidrs"]).iter().map(|cidr| family(cidr)).collect();
    ctx.evidence("cidrs", texts(&object["spec"]["cidrs"]).join(", "));
    ctx.expect("kubernetes", "the families of spec.cidrs", &found, &ctx.target().families.names().to_vec());
    if let Err(seen) = Condition::is("Ready").test(&object) {
        ctx.breach("kubernetes", format!("the ServiceCIDR kubernetes is not Ready: {seen}"));
    }
    Ok(())
}

async fn ip_addresses(ctx: Ctx) -> Result<(), Stop> {
    let families = ctx.target().families;
    let policy = if families.is_dual() { "RequireDualStack" } else { "SingleStack" };
    let object = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "tracked" },
        "spec": { "ipFamilyPolicy": policy, "ipFamilies": families.names(), "ports": [{ "port": 80 }] },
    });
    let service = match ctx.try_create(object).await? {
        Ok(service) => service,
        Err(why) => return Err(Stop::breach("tracked", format!("a Service of {families} is refused: {why}"))),
    };
    let addresses = texts(&service["spec"]["clusterIPs"]);
    ctx.expect("tracked", "the number of clusterIPs", &addresses.len(), &families.names().len());
    let place = |address: &str| {
        let parsed = address.parse::<std::net::IpAddr>().map_or_else(|_| address.to_owned(), |ip| ip.to_string());
        Ref::new("networking.k8s.io/v1", "IPAddress", "", &parsed)
    };
    for address in &addresses {
        let found = ctx.get(&place(address)).await?;
        let parent = &found["spec"]["parentRef"];
        let parent = (parent["resource"].as_str(), parent["namespace"].as_str(), parent["name"].as_str());
        ctx.expect(address, "its parentRef", &parent, &(Some("services"), Some(ctx.namespace()), Some("tracked")));
    }
    ctx.delete(&Ref::new("v1", "Service", ctx.namespace(), "tracked"), None).await?;
    for address in &addresses {
        ctx.until_gone(&place(address), Duration::from_secs(30)).await?;
    }
    Ok(())
}

async fn extension(ctx: Ctx) -> Result<(), Stop> {
    // Of networks for documentation (RFC 5737, RFC 3849), which no cluster uses.
    let networks = ctx.target().families.names().iter();
    let cidrs: Vec<_> =
        networks.map(|name| if *name == "IPv4" { "198.51.100.0/28" } else { "2001:db8:5ea::/124" }).collect();
    let name = format!("{}-range", ctx.namespace());
    let place = Ref::new("networking.k8s.io/v1", "ServiceCIDR", "", &name);
    let made = ctx.try_create(json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": { "name": name },
        "spec": { "cidrs": cidrs },
    }));
    if let Err(why) = made.await? {
        return Err(Stop::breach(name.as_str(), format!("a ServiceCIDR of {cidrs:?} is refused: {why}")));
    }
    ctx.until(&place, &Condition::is("Ready"), Duration::from_secs(30)).await?;
    let address = if family(cidrs[0]) == "IPv4" { "198.51.100.5" } else { "2001:db8:5ea::5" };
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "pinned" },
        "spec": { "clusterIP": address, "ports": [{ "port": 80 }] },
    });
    // API servers learn of the range by a watch.
    let pinned = ctx.eventually(Duration::from_secs(20), || async {
        Ok(ctx.try_create(service.clone()).await?.map(drop).map_err(|why| why.to_string()))
    });
    if let Err(why) = pinned.await? {
        ctx.breach(address, format!("a Service with {address} of the new range is refused: {why}"));
    }
    ctx.delete(&Ref::new("v1", "Service", ctx.namespace(), "pinned"), None).await?;
    ctx.delete(&place, None).await?;
    ctx.until_gone(&place, Duration::from_secs(60)).await
}

async fn subnets(ctx: Ctx) -> Result<(), Stop> {
    let place = Ref::new("v1", "ConfigMap", "kube-system", "kubeadm-config");
    let config = match ctx.request(http::Method::GET, &place.path(), None).await? {
        Ok(config) => config,
        Err(why) if why.code == 404 => {
            let why = "there is no ConfigMap kubeadm-config: the cluster was not made by kubeadm";
            return Err(Stop::NotApplicable(why.to_owned()));
        }
        Err(why) => return Err(Stop::Undetermined(format!("read the ConfigMap kubeadm-config: {why}"))),
    };
    let text = config["data"]["ClusterConfiguration"].as_str().unwrap_or_default();
    let cluster: Value = serde_saphyr::from_str(text)
        .map_err(|error| Stop::breach("kubeadm-config", format!("ClusterConfiguration is no YAML: {error}")))?;
    let subnet = |name: &str| cluster["networking"][name].as_str().filter(|text| !text.is_empty());
    let mut parsed = Vec::new();
    for name in ["podSubnet", "serviceSubnet"] {
        let Some(text) = subnet(name) else { continue };
        match cidr::parse(text) {
            Ok(networks) => {
                let found: Vec<_> = networks.iter().map(|network| family(&network.to_string())).collect();
                ctx.expect(name, "its families", &found, &ctx.target().families.names().to_vec());
                parsed.push((name, networks));
            }
            Err(why) => ctx.breach(name, format!("{name}: {why}")),
        }
    }
    let of = |name: &str| parsed.iter().find(|(known, _)| *known == name).map(|(_, networks)| networks.as_slice());
    let nodes = u128::try_from(ctx.target().facts.nodes.len()).ok();
    let pods = of("podSubnet").unwrap_or_default();
    let mut problems: Vec<_> =
        cidr::pods(pods, masks(&cluster), nodes).into_iter().flat_map(|one| one.problems).collect();
    problems.extend(cidr::services(of("serviceSubnet").unwrap_or_default()));
    if let (Some(pods), Some(services)) = (of("podSubnet"), of("serviceSubnet")) {
        problems.extend(cidr::together(pods, services));
    }
    problems.into_iter().for_each(|problem| ctx.breach("kubeadm-config", problem));
    Ok(())
}

/// The node masks of a ClusterConfiguration, whose extraArgs are a map up to v1beta3 and a list since.
fn masks(cluster: &Value) -> NodeMasks {
    let arguments = &cluster["controllerManager"]["extraArgs"];
    let argument = |name: &str| match arguments {
        Value::Array(list) => list.iter().find(|one| one["name"] == name).and_then(|one| one["value"].as_str()),
        other => other[name].as_str(),
    };
    let mask = |name: &str, default| argument(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let default = NodeMasks::default();
    NodeMasks {
        ipv4: mask("node-cidr-mask-size-ipv4", mask("node-cidr-mask-size", default.ipv4)),
        ipv6: mask("node-cidr-mask-size-ipv6", mask("node-cidr-mask-size", default.ipv6)),
    }
}

async fn forwarding(ctx: Ctx) -> Result<(), Stop> {
    for (name, path) in [("IPv4", "/proc/sys/net/ipv4/ip_forward"), ("IPv6", "/proc/sys/net/ipv6/conf/all/forwarding")]
    {
        if !ctx.target().families.names().contains(&name) {
            continue;
        }
        for (host, text) in ctx.read_on_hosts("worker", path).await? {
            ctx.expect(&host, path, &text.trim(), &"1");
        }
    }
    Ok(())
}

async fn advertisements(ctx: Ctx) -> Result<(), Stop> {
    if !ctx.target().families.names().contains(&"IPv6") {
        return Err(Stop::NotApplicable("the cluster has no IPv6".to_owned()));
    }
    let command = ["ip", "-6", "route", "show", "proto", "ra"];
    let mut routes = 0;
    for (host, text) in ctx.run_on_hosts("worker", &command).await? {
        let interfaces =
            text.lines().filter_map(|line| line.split_once(" dev ")?.1.split(' ').next().map(str::to_owned));
        for interface in interfaces {
            routes += 1;
            let path = format!("/proc/sys/net/ipv6/conf/{interface}/accept_ra");
            for (_, value) in ctx.read_on_hosts(&host, &path).await? {
                ctx.expect(&host, &path, &value.trim(), &"2");
            }
        }
    }
    ctx.evidence("routes by router advertisements", routes.to_string());
    Ok(())
}
