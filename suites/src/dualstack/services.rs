//! Services: what the API server accepts, refuses and fills in, for each type, policy and list of families.

use std::time::Duration;

use serde_json::{Value, json};

use super::model::{Fate, Policy, Wish, fate};
use super::{ALL, DOCUMENT, DUAL, SINGLE};
use crate::cluster::{Claim, Condition, Ctx, Ref, Stop};
use crate::trial::Trial;

/// The lists of families that a Service may name.
const LISTS: [&[&str]; 5] = [&[], &["IPv4"], &["IPv6"], &["IPv4", "IPv6"], &["IPv6", "IPv4"]];

/// A kind of Service: the part of its id, its name in a title, and what its spec has besides ports and families.
#[derive(Debug, Clone, Copy)]
struct Kind {
    id: &'static str,
    name: &'static str,
    service_type: &'static str,
    headless: bool,
    selector: bool,
}

const KINDS: [Kind; 5] = [
    Kind { id: "cluster-ip", name: "ClusterIP", service_type: "ClusterIP", headless: false, selector: true },
    Kind { id: "node-port", name: "NodePort", service_type: "NodePort", headless: false, selector: true },
    Kind { id: "load-balancer", name: "LoadBalancer", service_type: "LoadBalancer", headless: false, selector: true },
    Kind { id: "headless", name: "headless", service_type: "ClusterIP", headless: true, selector: true },
    Kind {
        id: "headless-without-selector",
        name: "headless (without a selector)",
        service_type: "ClusterIP",
        headless: true,
        selector: false,
    },
];

impl Kind {
    fn object(self, name: &str, policy: Option<Policy>, families: &[&str]) -> Value {
        let mut spec =
            json!({ "type": self.service_type, "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] });
        if self.headless {
            spec["clusterIP"] = "None".into();
        }
        if self.selector {
            spec["selector"] = json!({ "app": name });
        }
        if let Some(policy) = policy {
            spec["ipFamilyPolicy"] = policy.name().into();
        }
        if !families.is_empty() {
            spec["ipFamilies"] = json!(families);
        }
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": name }, "spec": spec })
    }
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The family of an address, as Services name it.
fn family(address: &str) -> &'static str {
    if address.contains(':') { "IPv6" } else { "IPv4" }
}

pub(super) fn trials() -> Vec<Trial> {
    let mut trials: Vec<_> = KINDS.into_iter().flat_map(matrix).collect();
    trials.extend(transitions());
    trials.extend(others());
    trials
}

/// For each policy one claim about a kind of Service.
fn matrix(kind: Kind) -> impl Iterator<Item = Trial> {
    std::iter::once(None).chain(Policy::ALL.map(Some)).map(move |policy| {
        let (id, name) = match policy {
            None => ("default", "without a policy"),
            Some(Policy::SingleStack) => ("single", "with SingleStack"),
            Some(Policy::PreferDualStack) => ("prefer", "with PreferDualStack"),
            Some(Policy::RequireDualStack) => ("require", "with RequireDualStack"),
        };
        Claim::new(
            format!("dualstack.service.{}.{id}", kind.id),
            format!("A {} Service {name} has the families that its policy grants", kind.name),
            ALL,
            // What has no selector may have families that the cluster lacks; only their order is the cluster's.
            if kind.selector { "families-of-the-api-server" } else { "order-of-families" },
            move |ctx| row(ctx, kind, policy),
        )
        .label("services")
        .alias(format!("ipFamilyPolicy {}", policy.map_or("unset", Policy::name)))
        .why("A client of the other family has no address to connect to, or an address that leads nowhere.")
        .how(
            "Asks the API server by dry run for the Service with each list of ipFamilies, and compares policy, \
             families, cluster IPs and their order, or the refusal and its reason, with the documented rules.",
        )
        .fix("Compare --service-cluster-ip-range of all API servers: one range a family, the primary family first.")
        .basis(DOCUMENT.0, DOCUMENT.1)
        .trial()
    })
}

async fn row(ctx: Ctx, kind: Kind, policy: Option<Policy>) -> Result<(), Stop> {
    for families in LISTS {
        let wish = Wish { policy, families, headless_without_selector: kind.headless && !kind.selector };
        let wanted = fate(ctx.target().families, wish);
        let subject = format!("{} with ipFamilies {families:?}", kind.name);
        match (ctx.dry_run(kind.object("matrix", policy, families)).await?, wanted) {
            (Ok(made), Fate::Accepted(policy, families)) => {
                let spec = &made["spec"];
                ctx.expect(&subject, "ipFamilyPolicy", &spec["ipFamilyPolicy"].as_str(), &Some(policy.name()));
                ctx.expect(&subject, "ipFamilies", &strings(&spec["ipFamilies"]), &families);
                let addresses = strings(&spec["clusterIPs"]);
                if kind.headless {
                    ctx.expect(&subject, "clusterIPs", &addresses, &vec!["None"]);
                } else {
                    let of: Vec<_> = addresses.iter().map(|address| family(address)).collect();
                    ctx.expect(&subject, "the families of clusterIPs", &of, &families);
                    ctx.expect(&subject, "clusterIP", &spec["clusterIP"].as_str(), &addresses.first().copied());
                }
            }
            (Ok(made), Fate::Refused(reason)) => ctx.breach(
                &subject,
                format!("{subject}: accepted with {}; expected the refusal '{reason}'", made["spec"]["ipFamilies"]),
            ),
            (Err(why), Fate::Refused(reason)) if why.code == 422 && why.message.contains(reason) => {}
            (Err(why), wanted) => ctx.breach(&subject, format!("{subject}: refused ({why}); expected {wanted:?}")),
        }
    }
    Ok(())
}

/// One change of a Service that exists.
#[derive(Debug, Clone, Copy)]
struct Change {
    id: &'static str,
    title: &'static str,
    from: Policy,
    patch: fn(&Value) -> Value,
    /// The families behind it, by the Service's first family; none is a refusal, with a message that has this in it.
    wanted: Result<usize, &'static str>,
}

const CHANGES: [Change; 7] = [
    Change {
        id: "single-to-prefer",
        title: "Changing SingleStack to PreferDualStack adds the second family",
        from: Policy::SingleStack,
        patch: |_| json!({ "spec": { "ipFamilyPolicy": "PreferDualStack" } }),
        wanted: Ok(2),
    },
    Change {
        id: "single-to-require",
        title: "Changing SingleStack to RequireDualStack adds the second family",
        from: Policy::SingleStack,
        patch: |_| json!({ "spec": { "ipFamilyPolicy": "RequireDualStack" } }),
        wanted: Ok(2),
    },
    Change {
        id: "require-to-single",
        title: "Changing RequireDualStack to SingleStack keeps the first address and frees the second",
        from: Policy::RequireDualStack,
        patch: |_| json!({ "spec": { "ipFamilyPolicy": "SingleStack" } }),
        wanted: Ok(1),
    },
    Change {
        id: "prefer-to-single",
        title: "Changing PreferDualStack to SingleStack keeps the first address and frees the second",
        from: Policy::PreferDualStack,
        patch: |_| json!({ "spec": { "ipFamilyPolicy": "SingleStack" } }),
        wanted: Ok(1),
    },
    Change {
        id: "release-without-single",
        title: "Removing the second family of a RequireDualStack Service is refused",
        from: Policy::RequireDualStack,
        patch: |service| json!({ "spec": { "ipFamilies": [service["spec"]["ipFamilies"][0]] } }),
        wanted: Err("must be 'SingleStack' to release the secondary IP family"),
    },
    Change {
        id: "primary-is-immutable",
        title: "Swapping the families of a Service is refused",
        from: Policy::RequireDualStack,
        patch: |service| {
            let families = strings(&service["spec"]["ipFamilies"]);
            json!({ "spec": { "ipFamilies": families.iter().rev().collect::<Vec<_>>() } })
        },
        wanted: Err("ipFamilies"),
    },
    Change {
        id: "address-is-immutable",
        title: "Swapping the cluster IPs of a Service is refused",
        from: Policy::RequireDualStack,
        patch: |service| {
            let reversed = |field: &str| strings(&service["spec"][field]).into_iter().rev().collect::<Vec<_>>();
            let (addresses, families) = (reversed("clusterIPs"), reversed("ipFamilies"));
            json!({ "spec": { "clusterIPs": addresses, "clusterIP": addresses.first(), "ipFamilies": families } })
        },
        wanted: Err("may not change once set"),
    },
];

fn transitions() -> impl Iterator<Item = Trial> {
    CHANGES.into_iter().map(|change| {
        Claim::new(
            format!("dualstack.service.change.{}", change.id),
            change.title,
            DUAL,
            "families-of-the-api-server",
            move |ctx| transition(ctx, change),
        )
        .label("services")
        .alias("Switching Services between single-stack and dual-stack")
        .why("Services that exist when a cluster becomes dual-stack stay single-stack until their policy is changed.")
        .how("Creates a Service, changes it by a patch, and compares families, addresses and the refusal.")
        .fix("Compare --service-cluster-ip-range of all API servers: one range a family, the primary family first.")
        .basis(DOCUMENT.0, DOCUMENT.1)
        .trial()
    })
}

async fn transition(ctx: Ctx, change: Change) -> Result<(), Stop> {
    let service = match ctx.try_create(KINDS[0].object("change", Some(change.from), &[])).await? {
        Ok(service) => service,
        Err(why) if why.code == 422 => {
            return Err(Stop::breach("change", format!("a Service with {} is refused: {why}", change.from.name())));
        }
        Err(why) => return Err(Stop::Undetermined(format!("create Service change: {why}"))),
    };
    let place = Ref::new("v1", "Service", ctx.namespace(), "change");
    let before = strings(&service["spec"]["clusterIPs"]);
    let first = if change.from == Policy::SingleStack { 1 } else { 2 };
    ctx.expect("change", "the number of clusterIPs before", &before.len(), &first);
    match (ctx.try_patch(&place, &(change.patch)(&service)).await?, change.wanted) {
        (Ok(changed), Ok(count)) => {
            let after = strings(&changed["spec"]["clusterIPs"]);
            ctx.expect("change", "the number of clusterIPs", &after.len(), &count);
            ctx.expect("change", "the number of ipFamilies", &strings(&changed["spec"]["ipFamilies"]).len(), &count);
            ctx.expect("change", "the first address", &after.first(), &before.first());
            let mut families: Vec<_> = after.iter().map(|address| family(address)).collect();
            families.dedup();
            ctx.expect("change", "one address a family", &families.len(), &after.len());
        }
        (Err(why), Err(reason)) if why.code == 422 && why.message.contains(reason) => {}
        (Ok(changed), Err(reason)) => ctx.breach(
            "change",
            format!("accepted, with clusterIPs {}; expected the refusal '{reason}'", changed["spec"]["clusterIPs"]),
        ),
        (Err(why), wanted) => ctx.breach("change", format!("refused ({why}); expected {wanted:?}")),
    }
    Ok(())
}

fn others() -> Vec<Trial> {
    let common = |claim: Claim| claim.label("services").basis(DOCUMENT.0, DOCUMENT.1);
    let ranges = "Compare --service-cluster-ip-range of all API servers: one range a family, the primary family first.";
    vec![
        common(Claim::new(
            "dualstack.service.kubernetes",
            "The Service kubernetes has one address, of the primary family",
            ALL,
            "order-of-families",
            kubernetes,
        ))
        .alias("kubernetes.default")
        .why("Clients in pods find the API server by this address; its family is that of the API server's certificate.")
        .how("Reads the Service default/kubernetes, and whether its address is in the range of the primary family.")
        .fix(ranges)
        .trial(),
        common(Claim::new(
            "dualstack.service.external-name",
            "A Service of the type ExternalName has no families",
            ALL,
            "no-external-names",
            external_name,
        ))
        .alias("ExternalName")
        .why("Families without addresses mislead controllers that make records or rules of them.")
        .how("Asks the API server by dry run for an ExternalName Service, with and without ipFamilies.")
        .fix("Remove the webhook or the policy that adds families to Services.")
        .trial(),
        common(Claim::new(
            "dualstack.service.explicit-address",
            "A Service of a given address has that address's family",
            ALL,
            "families-of-the-api-server",
            explicit_address,
        ))
        .alias("clusterIP")
        .why("Manifests pin addresses, such as that of DNS; the families have to follow them.")
        .how("Takes an address that the API server gave a Service, deletes that, and asks by dry run for one with it.")
        .fix(ranges)
        .trial(),
        common(Claim::new(
            "dualstack.service.wrong-family-address",
            "An address of another family than ipFamilies says is refused",
            DUAL,
            "families-of-the-api-server",
            wrong_family_address,
        ))
        .alias("expected an IPv4 value as indicated by `ipFamilies[0]`")
        .why("A Service whose address and family differ gets rules of neither.")
        .how("Asks the API server by dry run for a Service with an address of one family and ipFamilies of the other.")
        .fix(ranges)
        .trial(),
        common(Claim::new(
            "dualstack.service.endpoint-slices",
            "A Service without ready pods has an EndpointSlice for each of its families",
            ALL,
            "families-of-the-api-server",
            endpoint_slices,
        ))
        .alias("EndpointSlice addressType")
        .why("kube-proxy and DNS read endpoints of one family from slices of that address type.")
        .how("Creates a Service with PreferDualStack, and waits for one EndpointSlice a family with its addressType.")
        .fix("Look into the log of kube-controller-manager: its EndpointSlice controller makes them.")
        .trial(),
        common(Claim::new(
            "dualstack.service.single-refuses",
            "A single-stack cluster refuses Services that require two families",
            SINGLE,
            "families-of-the-api-server",
            single_refuses,
        ))
        .alias("this cluster is not configured for dual-stack services")
        .why("A Service that is accepted with half of what it requires fails for half of its clients.")
        .how("Creates a Service with RequireDualStack, and reads the refusal.")
        .fix(ranges)
        .trial(),
    ]
}

async fn kubernetes(ctx: Ctx) -> Result<(), Stop> {
    let service = ctx.get(&Ref::new("v1", "Service", "default", "kubernetes")).await?;
    let primary = ctx.target().families.names()[0];
    let addresses = strings(&service["spec"]["clusterIPs"]);
    ctx.evidence("clusterIPs", addresses.join(", "));
    ctx.expect(
        "kubernetes",
        "the families of clusterIPs",
        &addresses.iter().map(|a| family(a)).collect(),
        &vec![primary],
    );
    ctx.expect("kubernetes", "ipFamilies", &strings(&service["spec"]["ipFamilies"]), &vec![primary]);
    ctx.expect("kubernetes", "ipFamilyPolicy", &service["spec"]["ipFamilyPolicy"].as_str(), &Some("SingleStack"));
    Ok(())
}

async fn external_name(ctx: Ctx) -> Result<(), Stop> {
    let mut object = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "external" },
        "spec": { "type": "ExternalName", "externalName": "example.com" },
    });
    match ctx.dry_run(object.clone()).await? {
        Ok(made) => {
            for field in ["ipFamilies", "ipFamilyPolicy", "clusterIPs"] {
                ctx.expect("external", field, &made["spec"].get(field), &None);
            }
        }
        Err(why) => return Err(Stop::breach("external", format!("an ExternalName Service is refused: {why}"))),
    }
    object["spec"]["ipFamilies"] = json!(["IPv4"]);
    match ctx.dry_run(object).await? {
        Err(why) if why.message.contains("ipFamilies") => {}
        Err(why) => ctx.breach("external", format!("refused for another reason than ipFamilies: {why}")),
        Ok(_) => ctx.breach("external", "an ExternalName Service with ipFamilies is accepted"),
    }
    Ok(())
}

/// An address that the API server gave a Service of a family, and that is free again. A dry run would not do: what it
/// gives is no address of the range.
async fn address_of(ctx: &Ctx, family: &'static str) -> Result<String, Stop> {
    let name = format!("address-{}", family.to_lowercase());
    match ctx.try_create(KINDS[0].object(&name, Some(Policy::SingleStack), &[family])).await? {
        Ok(made) => {
            let place = Ref::new("v1", "Service", ctx.namespace(), &name);
            ctx.delete(&place, None).await?;
            ctx.until_gone(&place, Duration::from_secs(30)).await?;
            Ok(made["spec"]["clusterIP"].as_str().unwrap_or_default().to_owned())
        }
        Err(why) => Err(Stop::breach("address", format!("a Service of the family {family} is refused: {why}"))),
    }
}

async fn explicit_address(ctx: Ctx) -> Result<(), Stop> {
    for &wanted in ctx.target().families.names() {
        let address = address_of(&ctx, wanted).await?;
        let mut object = KINDS[0].object("explicit", None, &[]);
        object["spec"]["clusterIP"] = address.as_str().into();
        match ctx.dry_run(object).await? {
            Ok(made) => {
                ctx.expect(&address, "ipFamilies", &strings(&made["spec"]["ipFamilies"]), &vec![wanted]);
                ctx.expect(&address, "clusterIPs", &strings(&made["spec"]["clusterIPs"]), &vec![address.as_str()]);
            }
            Err(why) => ctx.breach(&address, format!("a Service with the free address {address} is refused: {why}")),
        }
    }
    Ok(())
}

async fn wrong_family_address(ctx: Ctx) -> Result<(), Stop> {
    let names = ctx.target().families.names();
    for (of, said) in [(names[0], names[1]), (names[1], names[0])] {
        let address = address_of(&ctx, of).await?;
        let mut object = KINDS[0].object("wrong", Some(Policy::SingleStack), &[said]);
        object["spec"]["clusterIP"] = address.as_str().into();
        match ctx.dry_run(object).await? {
            Err(why) if why.message.contains(&format!("expected an {said} value")) => {}
            Err(why) => ctx.breach(&address, format!("refused for another reason: {why}")),
            Ok(_) => ctx.breach(&address, format!("{address} is accepted for a Service of the family {said}")),
        }
    }
    Ok(())
}

async fn endpoint_slices(ctx: Ctx) -> Result<(), Stop> {
    ctx.create(KINDS[0].object("slices", Some(Policy::PreferDualStack), &[])).await?;
    let names = ctx.target().families.names();
    let place = Ref { namespace: Some(ctx.namespace().to_owned()), ..Ref::all("discovery.k8s.io/v1", "EndpointSlice") };
    let condition = Condition::new(format!("has address types {}", names.join(" and ")), move |list| {
        let types = list["items"].as_array().into_iter().flatten().filter_map(|slice| slice["addressType"].as_str());
        let mut types: Vec<_> = types.collect();
        types.sort_unstable();
        let mut wanted = names.to_vec();
        wanted.sort_unstable();
        if types == wanted { Ok(()) } else { Err(format!("address types {types:?}")) }
    });
    ctx.until_list(&place, "kubernetes.io/service-name=slices", &condition, Duration::from_secs(30)).await?;
    Ok(())
}

async fn single_refuses(ctx: Ctx) -> Result<(), Stop> {
    for policy in [Policy::RequireDualStack, Policy::PreferDualStack] {
        let made = ctx.try_create(KINDS[0].object(&policy.name().to_lowercase(), Some(policy), &[])).await?;
        match (policy, made) {
            (Policy::RequireDualStack, Err(why)) if why.message.contains("not configured for dual-stack") => {}
            (Policy::RequireDualStack, Err(why)) => ctx.breach("require", format!("refused for another reason: {why}")),
            (Policy::RequireDualStack, Ok(made)) => {
                ctx.breach("require", format!("accepted with clusterIPs {}", made["spec"]["clusterIPs"]));
            }
            (_, Err(why)) => ctx.breach("prefer", format!("a Service with PreferDualStack is refused: {why}")),
            (_, Ok(made)) => {
                let families = strings(&made["spec"]["ipFamilies"]).len();
                ctx.expect("prefer", "the number of ipFamilies", &families, &1);
            }
        }
    }
    Ok(())
}
