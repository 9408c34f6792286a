//! The judges of the rows: pure functions of what was counted.

use super::Judged;
use crate::audit::{Sums, Told, Usage, gather, largest};

/// From how many nodes on a cluster is large: where what is only wise becomes needed.
const LARGE: u64 = 500;
/// How many offenders are named.
const NAMED: usize = 10;

/// A number of objects for people: 12,345.
pub(super) fn shown(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(super) fn share(count: u64, limit: u64) -> String {
    let percent = count as f64 * 100.0 / limit.max(1) as f64;
    format!("{} of {} ({percent:.1} %)", shown(count), shown(limit))
}

pub(super) fn counted<'a>(usage: &'a Usage, resource: &str) -> Result<u64, &'a String> {
    match (usage.objects.get(resource), usage.uncounted.get(resource)) {
        (Some(count), _) => Ok(*count),
        (None, Some(why)) => Err(why),
        (None, None) => Ok(0),
    }
}

pub(super) fn total(count: Result<u64, &String>, what: &str, limit: u64) -> Judged {
    let count = match count {
        Ok(count) => count,
        Err(why) => return Judged::unknown(why),
    };
    let judged = Judged::default().used(what, share(count, limit));
    match count > limit {
        true => judged.beyond("cluster", format!("{} {what}; expected at most {}", shown(count), shown(limit))),
        false => judged.used("left", shown(limit - count)),
    }
}

pub(super) fn by_name(sums: Result<&Sums, &String>, owner: &str, what: &str, limit: u64) -> Judged {
    let sums = match sums {
        Ok(sums) => sums,
        Err(why) => return Judged::unknown(why),
    };
    let mut judged = Judged::default().used("in all", shown(sums.values().sum()));
    for (name, sum) in largest(sums, 3) {
        judged = judged.used(&format!("{owner} {name}"), share(sum, limit));
    }
    let beyond: Vec<_> = largest(sums, usize::MAX).into_iter().filter(|(_, sum)| *sum > limit).collect();
    for (name, sum) in beyond.iter().take(NAMED) {
        let message = format!("{owner} {name} has {} {what}; expected at most {}", shown(*sum), shown(limit));
        judged = judged.beyond(name, message);
    }
    if beyond.len() > NAMED {
        judged = judged.beyond("more", format!("{} more {owner}s are beyond the limit", beyond.len() - NAMED));
    }
    judged
}

pub(super) fn both<'a, A, B>(a: &'a Told<A>, b: &'a Told<B>) -> Result<(&'a A, &'a B), Judged> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (Err(why), _) | (_, Err(why)) => Err(Judged::unknown(why)),
    }
}

pub(super) fn pods_per_node(usage: &Usage) -> Judged {
    let (nodes, pods) = match both(&usage.nodes, &usage.pods) {
        Ok(both) => both,
        Err(judged) => return judged,
    };
    let limit = |name: &str| match nodes.sizes.get(name) {
        // Cores that a node does not tell limit nothing.
        Some((cores @ 1.., _)) => 110.min(10 * cores),
        _ => 110,
    };
    let mut judged = Judged::default();
    for (name, count) in largest(&pods.by_node, 3) {
        judged = judged.used(&format!("node {name}"), share(count, limit(name)));
    }
    let beyond: Vec<_> = pods.by_node.iter().filter(|(name, count)| **count > limit(name)).collect();
    for (name, count) in beyond.iter().take(NAMED) {
        let (cores, most) = (nodes.sizes.get(*name).map_or(0, |(cores, _)| *cores), limit(name));
        let message = format!("{name} runs {count} pods on {cores} cores; expected at most {most}");
        judged = judged.beyond(name, message);
    }
    if beyond.len() > NAMED {
        judged = judged.beyond("more", format!("{} more nodes are beyond the limit", beyond.len() - NAMED));
    }
    judged
}

pub(super) fn room_for_pods(usage: &Usage) -> Judged {
    let nodes = match &usage.nodes {
        Ok(nodes) => nodes,
        Err(why) => return Judged::unknown(why),
    };
    let room: Sums = nodes.sizes.iter().map(|(name, (_, room))| (name.clone(), *room)).collect();
    by_name(Ok(&room), "node", "places for pods", 110)
}

pub(super) fn object_counts(usage: &Usage) -> Judged {
    let mut judged = Judged::default();
    for (resource, count) in largest(&usage.objects, 30) {
        judged = judged.used(resource, shown(count));
    }
    if let Ok(server) = &usage.server {
        let all: u64 = server.watches.values().sum();
        judged = judged.used("watches of the API server that was asked", shown(all));
    }
    let whys: Vec<_> = usage.uncounted.iter().map(|(resource, why)| format!("{resource}: {why}")).collect();
    if !whys.is_empty() {
        judged.unknown = Some(whys.join("; "));
    }
    judged
}

pub(super) fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

pub(super) fn object_sizes(usage: &Usage) -> Judged {
    let all = match &usage.largest {
        Ok(all) => all,
        Err(why) => return Judged::unknown(why),
    };
    let mut judged = Judged::default();
    for (name, size) in all {
        judged = judged.used(name, format!("{} bytes", shown(*size)));
        if *size > 1 << 20 {
            judged = judged.beyond(name, format!("{name} has {}; expected at most 1 MiB", mib(*size)));
        }
    }
    judged
}

/// etcd's quota where none is given.
const QUOTA: u64 = 2 << 30;

pub(super) fn etcd_size(usage: &Usage) -> Judged {
    let size = match &usage.database {
        Ok(size) => *size,
        Err(why) => return Judged::unknown(why),
    };
    let (quota, given) = match &usage.quota {
        Ok(0) => (QUOTA, "etcd's default".to_owned()),
        Ok(quota) => (*quota, "given".to_owned()),
        // Whoever has set another one has set a larger one.
        Err(why) if size * 5 < QUOTA * 4 => (QUOTA, format!("etcd's default, since {why}")),
        Err(why) => {
            let judged = Judged::unknown(&format!("etcd's database has {}, and {why}", mib(size)));
            return judged.used("database", mib(size));
        }
    };
    let judged = Judged::default()
        .used("database", format!("{} of {} ({:.1} %)", mib(size), mib(quota), size as f64 * 100.0 / quota as f64))
        .used("quota", given);
    match size * 5 >= quota * 4 {
        true => judged.beyond("etcd", format!("etcd's database has {} of a quota of {}", mib(size), mib(quota))),
        false => judged,
    }
}

pub(super) fn etcd_quota(usage: &Usage) -> Judged {
    match &usage.quota {
        Err(why) => Judged::unknown(why),
        Ok(0) => Judged::default().used("quota", "etcd's default, 2 GiB"),
        Ok(quota) if *quota > 8 << 30 => {
            Judged::default().beyond("etcd", format!("etcd's quota is {}; expected at most 8 GiB", mib(*quota)))
        }
        Ok(quota) => Judged::default().used("quota", mib(*quota)),
    }
}

/// How many nodes there are, if these make a cluster large.
pub(super) fn large(usage: &Usage) -> Result<u64, Judged> {
    match &usage.nodes {
        Err(why) => Err(Judged::unknown(why)),
        Ok(nodes) if nodes.total < LARGE => {
            let why = format!("about clusters of {LARGE} nodes or more; this one has {}", nodes.total);
            Err(Judged { not_applicable: Some(why), ..Judged::default() })
        }
        Ok(nodes) => Ok(nodes.total),
    }
}

pub(super) fn events_etcd(usage: &Usage) -> Judged {
    let nodes = match large(usage) {
        Ok(nodes) => nodes,
        Err(judged) => return judged,
    };
    let flags = match &usage.flags {
        Ok(flags) if flags.contains_key("kube-apiserver") => flags,
        _ => return Judged::unknown("the API server is no pod of this cluster, so its flags are not known"),
    };
    let events = counted(usage, "events").map_or_else(|_| "unknown".to_owned(), shown);
    let judged = Judged::default().used("events", events);
    match gather::flag(flags, "kube-apiserver", "--etcd-servers-overrides") {
        Some(text) if text.contains("/events#") => judged.used("--etcd-servers-overrides", text),
        _ => judged
            .beyond("kube-apiserver", format!("{nodes} nodes, and --etcd-servers-overrides names no etcd of events")),
    }
}

pub(super) fn node_networks(usage: &Usage) -> Judged {
    let (nodes, networks) = match both(&usage.nodes, &usage.pod_networks) {
        Ok(both) => both,
        Err(judged) => return judged,
    };
    if nodes.with_network == 0 {
        let why = "no node has a network of pods from the controller-manager".to_owned();
        return Judged { not_applicable: Some(why), ..Judged::default() };
    }
    let flags = usage.flags.as_ref().ok();
    let mask = |flag: &str, default: u8| {
        let given = flags.and_then(|flags| gather::flag(flags, "kube-controller-manager", flag));
        given.and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let mut judged = Judged::default();
    for network in networks {
        let node = match network.addr().is_ipv4() {
            true => mask("--node-cidr-mask-size-ipv4", mask("--node-cidr-mask-size", 24)),
            false => mask("--node-cidr-mask-size-ipv6", mask("--node-cidr-mask-size", 64)),
        };
        let room = 1_u64.checked_shl(u32::from(node.saturating_sub(network.prefix_len()))).unwrap_or(u64::MAX);
        judged = judged.used(&network.to_string(), share(nodes.with_network, room));
        if nodes.with_network * 20 >= room * 19 {
            let message = format!("{network} has a /{node} for {room} nodes, and {} have one", nodes.with_network);
            judged = judged.beyond(&network.to_string(), message);
        }
    }
    judged
}

pub(super) fn service_addresses(usage: &Usage) -> Judged {
    let networks = match &usage.service_networks {
        Ok(networks) => networks,
        Err(why) => return Judged::unknown(why),
    };
    let mut judged = Judged::default();
    for (network, taken) in networks {
        let bits = u32::from(network.max_prefix_len() - network.prefix_len());
        let room = 1_u64.checked_shl(bits).unwrap_or(u64::MAX).saturating_sub(2).max(1);
        judged = judged.used(&network.to_string(), share(*taken, room));
        if u128::from(*taken) * 10 > u128::from(room) * 9 {
            let message = format!("{taken} of the {room} addresses of {network} are taken");
            judged = judged.beyond(&network.to_string(), message);
        }
    }
    judged
}

pub(super) fn control_planes(usage: &Usage) -> Judged {
    let nodes = match &usage.nodes {
        Ok(nodes) => nodes,
        Err(why) => return Judged::unknown(why),
    };
    let zones: Vec<_> = nodes.zones.keys().filter(|zone| !zone.is_empty()).collect();
    if zones.len() < 2 {
        let why = "about clusters whose nodes are in several zones".to_owned();
        return Judged { not_applicable: Some(why), ..Judged::default() };
    }
    if nodes.control_planes.is_empty() {
        return Judged::unknown("no node has the label of control planes: they are managed, or no nodes");
    }
    let mut judged = Judged::default();
    for zone in zones {
        let planes = nodes.control_planes.get(zone).copied().unwrap_or(0);
        judged = judged.used(zone, format!("{} nodes, {planes} control planes", nodes.zones[zone]));
        if planes == 0 {
            judged = judged.beyond(zone, format!("zone {zone} has {} nodes and no control plane", nodes.zones[zone]));
        }
    }
    judged
}

pub(super) fn client_rates(usage: &Usage) -> Judged {
    if let Err(judged) = large(usage) {
        return judged;
    }
    let mut judged = Judged::default();
    for (component, default) in [("kube-controller-manager", 20.0), ("kube-scheduler", 50.0)] {
        let flags = match &usage.flags {
            Ok(flags) if flags.contains_key(component) => flags,
            _ => return Judged::unknown(&format!("{component} is no pod of this cluster, so its flags are not known")),
        };
        let given = gather::flag(flags, component, "--kube-api-qps").and_then(|text| text.parse::<f64>().ok());
        judged = judged.used(component, format!("{} requests a second", given.unwrap_or(default)));
        if given.unwrap_or(default) <= default {
            let message = format!("{component} sends {} requests a second at most", given.unwrap_or(default));
            judged = judged.beyond(component, message);
        }
    }
    judged
}

pub(super) fn refused(usage: &Usage) -> Judged {
    let server = match &usage.server {
        Ok(server) => server,
        Err(why) => return Judged::unknown(why),
    };
    let mut judged = Judged::default().used("requests in queues", shown(server.waiting));
    if let Ok(pods) = &usage.pods {
        judged = judged.used("add-ons killed for want of memory", shown(pods.killed.len() as u64));
    }
    for (level, count) in &server.rejected {
        judged = judged.beyond(level, format!("{} requests of the level {level} were refused", shown(*count)));
    }
    judged
}

/// The most that the 99th percentile may be, in seconds, by the scope of a request.
pub(super) fn objective(key: &str) -> Option<f64> {
    let mut words = key.split(' ');
    let (verb, _, scope) = (words.next()?, words.next()?, words.next()?);
    match (verb, scope) {
        ("POST" | "PUT" | "PATCH" | "DELETE" | "APPLY", "resource") | ("GET", "resource") => Some(1.0),
        ("LIST" | "GET", "namespace" | "cluster") => Some(30.0),
        _ => None,
    }
}

pub(super) fn latency(usage: &Usage) -> Judged {
    let server = match &usage.server {
        Ok(server) => server,
        Err(why) => return Judged::unknown(why),
    };
    let mut judged = Judged::default();
    let mut worst: Vec<_> = server.latencies.iter().collect();
    worst.sort_by(|a, b| b.1.0.total_cmp(&a.1.0));
    for (key, (seconds, count)) in &worst {
        // Of fewer requests the 99th percentile is the slowest one.
        let Some(most) = objective(key).filter(|_| *count >= 100) else { continue };
        if judged.used.len() < NAMED {
            judged = judged.used(key, format!("{seconds:.3} s of {most} s, {} requests", shown(*count)));
        }
        if *seconds > most {
            let message = format!("{key}: 99 of 100 requests took up to {seconds:.2} s; expected at most {most} s");
            judged = judged.beyond(key, message);
        }
    }
    judged
}
