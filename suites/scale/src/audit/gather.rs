//! Reads what the rows judge.

use std::collections::BTreeMap;

use prost::Message;
use seaworthy_simulated::watch::page;
use seaworthy_simulated::{Call, Client, ClientError, Form, Lane};
use serde_json::Value;

use super::{Flags, Nodes, Pods, Server, Sums, Told, Usage};
use crate::prometheus::{Buckets, samples};
use crate::wire;

/// Objects of a page where only sums are kept.
const PAGE: u32 = 500;
/// Objects of a page where each may have a megabyte.
const LARGE: u32 = 50;
/// How many of the largest objects are told.
const LARGEST: usize = 5;
/// Resources that are counted and not looked into.
const COUNTED: [(&str, &str); 20] = [
    ("namespaces", "/api/v1/namespaces"),
    ("secrets", "/api/v1/secrets"),
    ("configmaps", "/api/v1/configmaps"),
    ("events", "/api/v1/events"),
    ("serviceaccounts", "/api/v1/serviceaccounts"),
    ("persistentvolumes", "/api/v1/persistentvolumes"),
    ("persistentvolumeclaims", "/api/v1/persistentvolumeclaims"),
    ("endpoints", "/api/v1/endpoints"),
    ("endpointslices", "/apis/discovery.k8s.io/v1/endpointslices"),
    ("replicasets", "/apis/apps/v1/replicasets"),
    ("statefulsets", "/apis/apps/v1/statefulsets"),
    ("daemonsets", "/apis/apps/v1/daemonsets"),
    ("jobs", "/apis/batch/v1/jobs"),
    ("cronjobs", "/apis/batch/v1/cronjobs"),
    ("ingresses", "/apis/networking.k8s.io/v1/ingresses"),
    ("networkpolicies", "/apis/networking.k8s.io/v1/networkpolicies"),
    ("leases", "/apis/coordination.k8s.io/v1/leases"),
    ("roles", "/apis/rbac.authorization.k8s.io/v1/roles"),
    ("rolebindings", "/apis/rbac.authorization.k8s.io/v1/rolebindings"),
    ("poddisruptionbudgets", "/apis/policy/v1/poddisruptionbudgets"),
];

/// Counts everything. What cannot be read is told as such; nothing ends the whole.
pub async fn gather(client: &Client) -> Usage {
    let mut objects = Sums::new();
    let mut uncounted = BTreeMap::new();
    for (resource, path) in COUNTED {
        match count(client, path, Form::Metadata).await {
            Ok(count) => drop(objects.insert(resource.to_owned(), count)),
            Err(why) => drop(uncounted.insert(resource.to_owned(), why)),
        }
    }
    let definitions = definitions(client, &mut objects, &mut uncounted).await;
    let (pods, flags) = match pods(client).await {
        Ok((pods, flags)) => (Ok(pods), Ok(flags)),
        Err(why) => (Err(why.clone()), Err(why)),
    };
    let metrics = json_or_text(client, "/metrics").await;
    let config = kubeadm_config(client).await;
    Usage {
        nodes: nodes(client).await,
        pods,
        services: by_namespace(client, "/api/v1/services").await,
        deployments: by_namespace(client, "/apis/apps/v1/deployments").await,
        backends: backends(client).await,
        objects,
        uncounted,
        definitions,
        largest: largest(client).await,
        database: metrics.as_ref().map_err(Clone::clone).and_then(|text| database(text)),
        quota: quota(&flags),
        pod_networks: pod_networks(&flags, &config),
        service_networks: service_networks(client, &config).await,
        server: metrics.map(|text| server(&text)),
        flags,
    }
}

/// Reads a list page by page. A token that has become too old begins the list anew, with what was summed forgotten.
async fn each<T: Default>(
    client: &Client,
    path: &str,
    (form, limit): (Form, u32),
    add: impl Fn(&mut T, bytes::Bytes),
) -> Told<T> {
    let (mut sum, mut next, mut begun) = (T::default(), String::new(), 1);
    loop {
        match page(client, path, form, limit, &next).await {
            Ok(page) => {
                page.items.into_iter().for_each(|item| add(&mut sum, item));
                if page.next.is_empty() {
                    return Ok(sum);
                }
                next = page.next;
            }
            Err(error) if error.code() == Some(410) && begun < 3 => {
                (sum, next, begun) = (T::default(), String::new(), begun + 1);
            }
            Err(error) => return Err(told(&error)),
        }
    }
}

fn told(error: &ClientError) -> String {
    error.to_string()
}

/// How many objects a resource has: one is read, and the API server says how many follow.
async fn count(client: &Client, path: &str, form: Form) -> Told<u64> {
    let first = page(client, path, form, 1, "").await.map_err(|error| told(&error))?;
    let more = match first.remaining {
        Some(more) => more,
        // It need not say so.
        None if !first.next.is_empty() => {
            return each(client, path, (form, PAGE), |sum: &mut u64, _| *sum += 1).await;
        }
        None => 0,
    };
    Ok(first.items.len() as u64 + more)
}

async fn json(client: &Client, path: &str) -> Told<Value> {
    let call = Call::get(path);
    let reply = client.ask(Lane::Watch, &call).await.and_then(|reply| reply.success(&call)?.json(&call));
    reply.map_err(|error| told(&error))
}

async fn json_or_text(client: &Client, path: &str) -> Told<String> {
    let call = Call::get(path);
    let reply = client.ask(Lane::Watch, &call).await.and_then(|reply| reply.success(&call));
    reply.map(|reply| String::from_utf8_lossy(&reply.body).into_owned()).map_err(|error| told(&error))
}

async fn definitions(client: &Client, objects: &mut Sums, uncounted: &mut BTreeMap<String, String>) -> Told<u64> {
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let names: Vec<String> = each(client, path, (Form::Metadata, PAGE), |names: &mut Vec<String>, item| {
        names.extend(wire::Object::decode(item).ok().and_then(|one| one.metadata).map(|meta| meta.name));
    })
    .await?;
    for name in &names {
        // Its own version and scope: the served one that is stored.
        let definition = json(client, &format!("{path}/{name}")).await;
        let counted = match definition {
            Ok(one) => {
                let spec = &one["spec"];
                let versions = spec["versions"].as_array().into_iter().flatten();
                let version = versions.filter(|one| one["served"] == true).find_map(|one| one["name"].as_str());
                let (group, plural) = (spec["group"].as_str(), spec["names"]["plural"].as_str());
                match (group, version, plural) {
                    (Some(group), Some(version), Some(plural)) => {
                        count(client, &format!("/apis/{group}/{version}/{plural}"), Form::Metadata).await
                    }
                    _ => Err("no version of it is served".to_owned()),
                }
            }
            Err(why) => Err(why),
        };
        match counted {
            Ok(count) => drop(objects.insert(name.clone(), count)),
            Err(why) => drop(uncounted.insert(name.clone(), why)),
        }
    }
    Ok(names.len() as u64)
}

async fn by_namespace(client: &Client, path: &str) -> Told<Sums> {
    each(client, path, (Form::Metadata, PAGE), |sums: &mut Sums, item| {
        let meta = wire::Object::decode(item).ok().and_then(|one| one.metadata).unwrap_or_default();
        *sums.entry(meta.namespace).or_default() += 1;
    })
    .await
}

async fn nodes(client: &Client) -> Told<Nodes> {
    each(client, "/api/v1/nodes", (Form::Protobuf, PAGE), |nodes: &mut Nodes, item| {
        let Ok(node) = wire::Node::decode(item) else { return };
        let meta = node.metadata.unwrap_or_default();
        let status = node.status.unwrap_or_default();
        let zone = meta.labels.get("topology.kubernetes.io/zone").cloned().unwrap_or_default();
        let control = ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];
        if control.iter().any(|label| meta.labels.contains_key(*label)) {
            *nodes.control_planes.entry(zone.clone()).or_default() += 1;
        }
        *nodes.zones.entry(zone).or_default() += 1;
        let ready = status.conditions.iter().any(|one| one.r#type == "Ready" && one.status == "True");
        let quantity = |name: &str| status.capacity.get(name).map_or("", |one| one.string.as_str());
        nodes.total += 1;
        nodes.unready += u64::from(!ready);
        let spec = node.spec.unwrap_or_default();
        nodes.with_network += u64::from(!spec.pod_cidr.is_empty() || !spec.pod_cidrs.is_empty());
        nodes.sizes.insert(meta.name, (cores(quantity("cpu")), quantity("pods").parse().unwrap_or(0)));
    })
    .await
}

/// Whole cores: `4`, `3920m`.
fn cores(text: &str) -> u64 {
    match text.strip_suffix('m') {
        Some(millis) => millis.parse::<u64>().map_or(0, |millis| millis.div_ceil(1000)),
        None => text.parse().unwrap_or(0),
    }
}

async fn pods(client: &Client) -> Told<(Pods, Flags)> {
    each(client, "/api/v1/pods", (Form::Protobuf, PAGE), |(pods, flags): &mut (Pods, Flags), item| {
        let Ok(pod) = wire::Pod::decode(item) else { return };
        let meta = pod.metadata.unwrap_or_default();
        let spec = pod.spec.unwrap_or_default();
        let status = pod.status.unwrap_or_default();
        pods.total += 1;
        pods.containers += spec.containers.len() as u64;
        *pods.by_namespace.entry(meta.namespace.clone()).or_default() += 1;
        if !spec.node_name.is_empty() && !matches!(status.phase.as_str(), "Succeeded" | "Failed") {
            *pods.by_node.entry(spec.node_name).or_default() += 1;
        }
        if meta.namespace != "kube-system" {
            return;
        }
        for container in status.container_statuses {
            let ended = [container.state, container.last_state].into_iter().flatten().filter_map(|one| one.terminated);
            if ended.into_iter().any(|one| one.reason == "OOMKilled") {
                pods.killed.push(format!("{}/{}", meta.name, container.name));
            }
        }
        if let (Some(component), Some(container)) = (meta.labels.get("component"), spec.containers.into_iter().next()) {
            flags.insert(component.clone(), [container.command, container.args].concat());
        }
    })
    .await
}

async fn backends(client: &Client) -> Told<Sums> {
    let path = "/apis/discovery.k8s.io/v1/endpointslices";
    let by_family = each(client, path, (Form::Protobuf, LARGE * 2), |sums: &mut BTreeMap<_, Sums>, item| {
        let Ok(slice) = wire::EndpointSlice::decode(item) else { return };
        let meta = slice.metadata.unwrap_or_default();
        if let Some(service) = meta.labels.get("kubernetes.io/service-name") {
            let name = format!("{}/{service}", meta.namespace);
            *sums.entry(slice.address_type).or_default().entry(name).or_default() += slice.endpoints.len() as u64;
        }
    })
    .await?;
    let mut backends = Sums::new();
    for (service, count) in by_family.into_values().flatten() {
        let most = backends.entry(service).or_default();
        *most = count.max(*most);
    }
    Ok(backends)
}

/// The largest ConfigMaps, EndpointSlices and Nodes. Secrets are not read, and pods are small.
async fn largest(client: &Client) -> Told<Vec<(String, u64)>> {
    let mut all: Vec<(String, u64)> = Vec::new();
    for (resource, path) in [
        ("configmaps", "/api/v1/configmaps"),
        ("endpointslices", "/apis/discovery.k8s.io/v1/endpointslices"),
        ("nodes", "/api/v1/nodes"),
    ] {
        let found = each(client, path, (Form::Protobuf, LARGE), |found: &mut Vec<(String, u64)>, item| {
            let size = item.len() as u64;
            let meta = wire::Object::decode(item).ok().and_then(|one| one.metadata).unwrap_or_default();
            let slash = if meta.namespace.is_empty() { "" } else { "/" };
            found.push((format!("{resource} {}{slash}{}", meta.namespace, meta.name), size));
            found.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
            found.truncate(LARGEST);
        });
        all.extend(found.await?);
    }
    all.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    all.truncate(LARGEST);
    Ok(all)
}

/// Names that the metric of etcd's size has had, the newest first.
const DATABASE: [&str; 3] =
    ["apiserver_storage_size_bytes", "apiserver_storage_db_total_size_in_bytes", "etcd_db_total_size_in_bytes"];

fn database(metrics: &str) -> Told<u64> {
    let largest = samples(metrics, &DATABASE).map(|sample| sample.value as u64).max();
    largest.ok_or_else(|| "the API server's /metrics do not say how large etcd's database is".to_owned())
}

/// The value of a flag of a component, `None` if it is not given.
pub(super) fn flag<'a>(flags: &'a Flags, component: &str, name: &str) -> Option<&'a str> {
    let words = flags.get(component)?;
    words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

pub(super) fn quota(flags: &Told<Flags>) -> Told<u64> {
    let flags = flags.as_ref().map_err(Clone::clone)?;
    if !flags.contains_key("etcd") {
        return Err("etcd is no pod of this cluster, so its --quota-backend-bytes is not known".to_owned());
    }
    match flag(flags, "etcd", "--quota-backend-bytes") {
        Some(text) => text.parse().map_err(|_| format!("--quota-backend-bytes={text} is no number")),
        // 0 is etcd's word for its default, 2 GiB.
        None => Ok(0),
    }
}

/// `ClusterConfiguration.networking` of kubeadm's ConfigMap: pod networks and networks of Services, as they are
/// written.
async fn kubeadm_config(client: &Client) -> Told<(String, String)> {
    let map = json(client, "/api/v1/namespaces/kube-system/configmaps/kubeadm-config").await?;
    let text = map["data"]["ClusterConfiguration"].as_str().unwrap_or_default();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
        line.map(|value| value.trim().trim_matches('"').to_owned()).unwrap_or_default()
    };
    Ok((value("podSubnet:"), value("serviceSubnet:")))
}

fn networks(text: &str) -> Vec<ipnet::IpNet> {
    text.split(',').filter_map(|one| one.trim().parse().ok()).collect()
}

pub(super) fn pod_networks(flags: &Told<Flags>, config: &Told<(String, String)>) -> Told<Vec<ipnet::IpNet>> {
    let flag = flags.as_ref().ok().and_then(|flags| flag(flags, "kube-controller-manager", "--cluster-cidr"));
    let text = flag.or_else(|| config.as_ref().ok().map(|(pods, _)| pods.as_str())).unwrap_or_default();
    match networks(text) {
        none if none.is_empty() => {
            Err("neither kube-controller-manager's pod nor kubeadm's ConfigMap tells the networks of pods".to_owned())
        }
        networks => Ok(networks),
    }
}

async fn service_networks(client: &Client, config: &Told<(String, String)>) -> Told<Vec<(ipnet::IpNet, u64)>> {
    let listed = json(client, "/apis/networking.k8s.io/v1/servicecidrs").await;
    let all = match listed {
        Ok(list) => {
            let items = list["items"].as_array().into_iter().flatten();
            let cidrs = items.flat_map(|item| item["spec"]["cidrs"].as_array().into_iter().flatten());
            cidrs.filter_map(|cidr| cidr.as_str()?.parse().ok()).collect()
        }
        Err(_) => networks(&config.as_ref().map_err(Clone::clone)?.1),
    };
    let services = addresses(client).await?;
    let taken = |network: &ipnet::IpNet| services.iter().filter(|address| network.contains(*address)).count() as u64;
    Ok(all.into_iter().map(|network: ipnet::IpNet| (network, taken(&network))).collect())
}

/// The cluster addresses of Services.
async fn addresses(client: &Client) -> Told<Vec<std::net::IpAddr>> {
    #[derive(Clone, PartialEq, Message)]
    struct Service {
        #[prost(message, optional, tag = "2")]
        spec: Option<Spec>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct Spec {
        #[prost(string, tag = "3")]
        cluster_ip: String,
        #[prost(string, repeated, tag = "18")]
        cluster_ips: Vec<String>,
    }
    each(client, "/api/v1/services", (Form::Protobuf, PAGE), |all: &mut Vec<std::net::IpAddr>, item| {
        let spec = Service::decode(item).ok().and_then(|one| one.spec).unwrap_or_default();
        let written = if spec.cluster_ips.is_empty() { vec![spec.cluster_ip] } else { spec.cluster_ips };
        all.extend(written.iter().filter_map(|address| address.parse::<std::net::IpAddr>().ok()));
    })
    .await
}

fn server(metrics: &str) -> Server {
    let names = [
        "apiserver_flowcontrol_rejected_requests_total",
        "apiserver_flowcontrol_current_inqueue_requests",
        "apiserver_longrunning_requests",
        "apiserver_request_duration_seconds_bucket",
    ];
    let mut server = Server::default();
    let mut buckets: BTreeMap<String, Buckets> = BTreeMap::new();
    for sample in samples(metrics, &names) {
        let count = sample.value.max(0.0) as u64;
        match sample.name {
            "apiserver_flowcontrol_rejected_requests_total" if count > 0 => {
                let key = format!("{} ({})", sample.label("priority_level"), sample.label("reason"));
                *server.rejected.entry(key).or_default() += count;
            }
            "apiserver_flowcontrol_current_inqueue_requests" => server.waiting += count,
            "apiserver_longrunning_requests" if sample.label("verb") == "WATCH" && count > 0 => {
                *server.watches.entry(sample.label("resource").to_owned()).or_default() += count;
            }
            "apiserver_request_duration_seconds_bucket" => {
                if let Some(key) = slo_key(&sample) {
                    buckets.entry(key).or_default().add(sample.label("le"), sample.value);
                }
            }
            _ => {}
        }
    }
    let latency = |(key, buckets): (String, Buckets)| Some((key, (buckets.quantile(0.99)?, buckets.count() as u64)));
    server.latencies = buckets.into_iter().filter_map(latency).collect();
    server
}

/// The key of a sample by which Kubernetes' objectives are about it; `None` for what they leave out: what streams, and
/// subresources that reach further than the API server.
pub(crate) fn slo_key(sample: &crate::prometheus::Sample<'_>) -> Option<String> {
    let (verb, resource) = (sample.label("verb"), sample.label("resource"));
    let (scope, subresource) = (sample.label("scope"), sample.label("subresource"));
    let left_out = matches!(verb, "WATCH" | "CONNECT" | "WATCHLIST")
        || resource.is_empty()
        || matches!(subresource, "proxy" | "exec" | "log" | "attach" | "portforward");
    let custom = sample.label("group").contains('.') && !sample.label("group").ends_with(".k8s.io");
    if left_out || custom {
        return None;
    }
    let subresource = if subresource.is_empty() { String::new() } else { format!("/{subresource}") };
    Some(format!("{verb} {resource}{subresource} {scope}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_counted_whole() {
        assert_eq!((cores("4"), cores("3920m"), cores("500m"), cores("")), (4, 4, 1, 0));
    }

    #[test]
    fn the_server_is_read_from_its_metrics() {
        let text = [
            r#"apiserver_storage_size_bytes{storage_cluster_id="etcd-0"} 2.1e+08"#,
            r#"apiserver_flowcontrol_rejected_requests_total{priority_level="global-default",reason="queue-full"} 7"#,
            r#"apiserver_longrunning_requests{resource="pods",verb="WATCH"} 12"#,
            r#"apiserver_request_duration_seconds_bucket{resource="pods",scope="resource",verb="POST",le="1"} 99"#,
            r#"apiserver_request_duration_seconds_bucket{resource="pods",scope="resource",verb="POST",le="+Inf"} 100"#,
            r#"apiserver_request_duration_seconds_bucket{resource="pods",subresource="log",verb="GET",le="+Inf"} 9"#,
        ];
        let text = &text.map(|line| format!("{line}\n")).concat();
        assert_eq!(database(text), Ok(210_000_000));
        let server = server(text);
        assert_eq!(server.rejected["global-default (queue-full)"], 7);
        assert_eq!(server.watches["pods"], 12);
        assert_eq!(server.latencies.len(), 1);
        assert_eq!(server.latencies["POST pods resource"], (1.0, 100));
    }
}
