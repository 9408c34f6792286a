//! DNS: the records that pods find, of both families.

use std::time::Duration;

use serde_json::{Value, json};

use super::stand::{Stand, stand};
use super::{ALL, DUAL};
use crate::cluster::{Claim, Ctx, Requirement, Stop};
use crate::trial::Trial;

/// How long a new Service may take to be known to DNS: CoreDNS watches, and remembers a missing name for 30 s at most.
const KNOWN: Duration = Duration::from_secs(45);
/// The document that these claims rest on.
const SPECIFICATION: (&str, &str) =
    ("Kubernetes DNS specification", "https://github.com/kubernetes/dns/blob/master/docs/specification.md");

pub(super) fn trials() -> Vec<Trial> {
    let common = |claim: Claim| {
        claim
            .label("dns")
            .basis(SPECIFICATION.0, SPECIFICATION.1)
            .requires(Requirement::Workers(1))
            .fix("Look at the Corefile (kubectl -n kube-system get configmap coredns -o yaml) and at CoreDNS' log.")
    };
    vec![
        common(Claim::new(
            "dualstack.dns.service",
            "A Service has an A record, an AAAA record or both, as its families are",
            ALL,
            "dns-without-addresses",
            service,
        ))
        .alias("should provide DNS for services")
        .why("A client of the family whose record is missing finds no server.")
        .how("Looks up A and AAAA of a Service from a pod, and compares them with its cluster IPs.")
        .trial(),
        common(Claim::new(
            "dualstack.dns.single-family",
            "A single-stack Service has records of its family only",
            DUAL,
            "dns-without-addresses",
            single,
        ))
        .alias("NODATA")
        .why("A client that gets an address of the wrong family waits for a time-out before it tries the other.")
        .how("Looks up both types for a SingleStack Service of each family.")
        .trial(),
        common(Claim::new(
            "dualstack.dns.headless",
            "A headless Service has records of all addresses of its ready pods",
            ALL,
            "dns-without-addresses",
            headless,
        ))
        .alias("should provide DNS for pods for Hostname")
        .why("Members of a StatefulSet find each other by these records.")
        .how("Looks up A and AAAA of a headless Service, and compares them with the pods' addresses.")
        .trial(),
        common(Claim::new(
            "dualstack.dns.reverse",
            "The cluster IPs of a Service lead back to its name",
            ALL,
            "dns-without-reverse",
            reverse,
        ))
        .alias("PTR")
        .why("Logs and Kerberos look names up by address, over ip6.arpa as well.")
        .how("Looks up PTR of each cluster IP of a Service.")
        .trial(),
        common(Claim::new(
            "dualstack.dns.kubernetes",
            "kubernetes.default has a record of the primary family, and none of the other",
            ALL,
            "dns-without-addresses",
            kubernetes,
        ))
        .alias("kubernetes.default.svc")
        .why("Every client in a pod finds the API server by this name.")
        .how("Looks up A and AAAA of kubernetes.default.svc from a pod.")
        .trial(),
        common(Claim::new(
            "dualstack.dns.resolver",
            "Pods ask DNS at an address of the primary family",
            ALL,
            "order-of-families",
            resolver,
        ))
        .alias("clusterDNS")
        .why("A resolver of a family that the pod lacks answers nothing.")
        .how("Reads the cluster IP of the Service kube-dns, and its family.")
        .trial(),
    ]
}

/// The absolute name of a Service: a relative one whose record is missing is looked for elsewhere, too.
async fn name(stand: &Stand, service: &str) -> Result<String, Stop> {
    let domain = stand.ctx.dns_domain(&stand.client.spec).await?;
    Ok(format!("{service}.{}.svc.{domain}.", stand.ctx.namespace()))
}

fn families(record: &str) -> &'static str {
    if record == "A" { "IPv4" } else { "IPv6" }
}

/// Waits until a look-up of each type gives exactly the addresses that are wanted.
async fn expect(ctx: &Ctx, stand: &Stand, name: &str, wanted: &[String]) -> Result<(), Stop> {
    for kind in ["A", "AAAA"] {
        let mut wanted: Vec<_> =
            wanted.iter().filter(|address| address.contains(':') == (kind == "AAAA")).cloned().collect();
        wanted.sort();
        let found = ctx.eventually(KNOWN, || async {
            let mut found = match stand.ctx.look_up(&stand.client.spec, name, kind).await? {
                Ok(found) => found,
                Err(why) if why.starts_with("no-records") => Vec::new(),
                Err(why) => return Ok(Err(why)),
            };
            found.sort();
            Ok(if found == wanted { Ok(()) } else { Err(format!("{found:?}; expected {wanted:?}")) })
        });
        if let Err(why) = found.await? {
            ctx.breach(name, format!("{name} {kind} ({}): {why}", families(kind)));
        }
    }
    Ok(())
}

fn cluster_ips(service: &Value) -> Vec<String> {
    let all = service["spec"]["clusterIPs"].as_array();
    all.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn object(name: &str, families: &[&str], headless: bool) -> Value {
    let policy = if families.len() == 2 { "RequireDualStack" } else { "SingleStack" };
    let mut spec = json!({
        "selector": { "app": "server" }, "ipFamilyPolicy": policy, "ipFamilies": families,
        "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }],
    });
    if headless {
        spec["clusterIP"] = "None".into();
    }
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": name }, "spec": spec })
}

async fn service(ctx: Ctx) -> Result<(), Stop> {
    let stand = stand(&ctx).await?;
    let service = stand.ctx.create(object("named", ctx.target().families.names(), false)).await?;
    expect(&ctx, &stand, &name(&stand, "named").await?, &cluster_ips(&service)).await
}

async fn single(ctx: Ctx) -> Result<(), Stop> {
    let stand = stand(&ctx).await?;
    for &family in ctx.target().families.names() {
        let own = format!("named-{}", family.to_lowercase());
        let service = stand.ctx.create(object(&own, &[family], false)).await?;
        expect(&ctx, &stand, &name(&stand, &own).await?, &cluster_ips(&service)).await?;
    }
    Ok(())
}

async fn headless(ctx: Ctx) -> Result<(), Stop> {
    let stand = stand(&ctx).await?;
    stand.ctx.create(object("headless", ctx.target().families.names(), true)).await?;
    let addresses: Vec<_> = stand.servers.iter().flat_map(super::stand::Pod::addresses).collect();
    expect(&ctx, &stand, &name(&stand, "headless").await?, &addresses).await
}

/// The name under which an address is looked up in reverse (RFC 1035 section 3.5, RFC 3596 section 2.5).
fn reverse_name(address: std::net::IpAddr) -> String {
    match address {
        std::net::IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        std::net::IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().rev().flat_map(|byte| [byte & 0xf, byte >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa"
        }
    }
}

async fn reverse(ctx: Ctx) -> Result<(), Stop> {
    let stand = stand(&ctx).await?;
    let service = stand.ctx.create(object("reverse", ctx.target().families.names(), false)).await?;
    let wanted = name(&stand, "reverse").await?;
    for address in cluster_ips(&service) {
        let Ok(parsed) = address.parse() else { continue };
        let back = reverse_name(parsed);
        let found = ctx.eventually(KNOWN, || async {
            Ok(stand.ctx.look_up(&stand.client.spec, &back, "PTR").await?.and_then(|names| match &names[..] {
                [one] if *one == wanted => Ok(()),
                other => Err(format!("{other:?}; expected {wanted}")),
            }))
        });
        if let Err(why) = found.await? {
            ctx.breach(&address, format!("the reverse name of {address}: {why}"));
        }
    }
    Ok(())
}

async fn kubernetes(ctx: Ctx) -> Result<(), Stop> {
    let stand = stand(&ctx).await?;
    let service = ctx.get(&crate::cluster::Ref::new("v1", "Service", "default", "kubernetes")).await?;
    let addresses = cluster_ips(&service);
    let primary = ctx.target().families.names()[0];
    let of: Vec<_> = addresses.iter().map(|address| if address.contains(':') { "IPv6" } else { "IPv4" }).collect();
    ctx.expect("kubernetes", "the families of its clusterIPs", &of, &vec![primary]);
    let domain = stand.ctx.dns_domain(&stand.client.spec).await?;
    expect(&ctx, &stand, &format!("kubernetes.default.svc.{domain}."), &addresses).await
}

async fn resolver(ctx: Ctx) -> Result<(), Stop> {
    let service = ctx.get(&crate::cluster::Ref::new("v1", "Service", "kube-system", "kube-dns")).await?;
    let addresses = cluster_ips(&service);
    ctx.evidence("clusterIPs of kube-dns", addresses.join(", "));
    let first = addresses.first().map(|address| if address.contains(':') { "IPv6" } else { "IPv4" });
    ctx.expect("kube-dns", "the family of its first address", &first, &Some(ctx.target().families.names()[0]));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reverse_names_are_those_of_the_rfcs() {
        assert_eq!(reverse_name("192.0.2.1".parse().unwrap()), "1.2.0.192.in-addr.arpa");
        // The example of RFC 3596 section 2.5.
        assert_eq!(
            reverse_name("4321:0:1:2:3:4:567:89ab".parse().unwrap()),
            "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.ip6.arpa"
        );
    }
}
