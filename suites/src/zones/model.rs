//! Which nodes a pod's topology spread constraints allow, by their documentation: an independent model.
//!
//! Source: "Pod Topology Spread Constraints". Only `DoNotSchedule` forbids nodes. Domains are those of nodes that have
//! every topology key of the pod's constraints and pass the inclusion policies; the skew of a domain is its count, with
//! the pod, less the global minimum, which is 0 where there are fewer domains than `minDomains`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::fitting;

/// The nodes that a pod may go to, where these pods are bound already.
pub(super) fn feasible<'a>(pod: &Value, nodes: &'a [Value], bound: &[Value]) -> Vec<&'a Value> {
    let constraints: Vec<_> = pod["spec"]["topologySpreadConstraints"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|one| one["whenUnsatisfiable"].as_str().unwrap_or("DoNotSchedule") == "DoNotSchedule")
        .collect();
    let with_keys: Vec<_> =
        nodes.iter().filter(|node| constraints.iter().all(|one| label(node, key(one)).is_some())).collect();
    let fits = nodes.iter().filter(|node| fitting::fits(pod, node));
    fits.filter(|node| constraints.iter().all(|one| holds(one, pod, node, &with_keys, bound))).collect()
}

fn key(constraint: &Value) -> &str {
    constraint["topologyKey"].as_str().unwrap_or_default()
}

fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["metadata"]["labels"].get(key).and_then(Value::as_str)
}

/// Does a constraint hold with the pod on a node?
fn holds(constraint: &Value, pod: &Value, node: &Value, nodes: &[&Value], bound: &[Value]) -> bool {
    let Some(own) = label(node, key(constraint)) else { return false };
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for node in nodes.iter().filter(|node| included(constraint, pod, node)) {
        let Some(domain) = label(node, key(constraint)) else { continue };
        let here = bound
            .iter()
            .filter(|one| one["spec"]["nodeName"] == node["metadata"]["name"] && counts_for(constraint, pod, one));
        *counts.entry(domain).or_default() += i64::try_from(here.count()).unwrap_or(i64::MAX);
    }
    let domains = i64::try_from(counts.len()).unwrap_or(i64::MAX);
    let enough = domains >= constraint["minDomains"].as_i64().unwrap_or(1);
    let least = if enough { counts.values().copied().min().unwrap_or_default() } else { 0 };
    let with = counts.get(own).copied().unwrap_or_default() + i64::from(selects(constraint, pod, pod));
    with - least <= constraint["maxSkew"].as_i64().unwrap_or(1)
}

/// Is a node counted at all, by the inclusion policies?
fn included(constraint: &Value, pod: &Value, node: &Value) -> bool {
    let honors = |field: &str, default: &str| constraint[field].as_str().unwrap_or(default) == "Honor";
    (!honors("nodeAffinityPolicy", "Honor") || fitting::is_wanted(pod, node))
        && (!honors("nodeTaintsPolicy", "Ignore") || fitting::is_tolerated(pod, node))
}

/// Is a pod that is bound counted? Pods that are being deleted are not.
fn counts_for(constraint: &Value, pod: &Value, other: &Value) -> bool {
    other["metadata"]["deletionTimestamp"].is_null() && selects(constraint, pod, other)
}

/// Does the constraint of a pod select another, or itself? `matchLabelKeys` adds the pod's own values of these labels.
fn selects(constraint: &Value, pod: &Value, other: &Value) -> bool {
    let selector = &constraint["labelSelector"];
    if selector.is_null() {
        // No selector selects nothing.
        return false;
    }
    let same = |(key, value): (&String, &Value)| label(other, key) == value.as_str();
    let labels = selector["matchLabels"].as_object().into_iter().flatten().all(same);
    let keys = constraint["matchLabelKeys"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut keys = keys.filter_map(|key| label(pod, key).map(|value| (key, value)));
    labels && keys.all(|(key, value)| label(other, key) == Some(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(name: &str, zone: &str) -> Value {
        json!({
            "metadata": { "name": name, "labels": { "zone": zone, "name": name } },
            "status": { "allocatable": { "cpu": "4", "memory": "4Gi" } },
        })
    }

    fn bound(node: &str, app: &str) -> Value {
        json!({ "metadata": { "labels": { "app": app } }, "spec": { "nodeName": node } })
    }

    fn pod(more: Value) -> Value {
        let mut constraint = json!({
            "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": { "matchLabels": { "app": "x" } },
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            constraint[key] = value.clone();
        }
        json!({ "metadata": { "labels": { "app": "x" } }, "spec": { "topologySpreadConstraints": [constraint] } })
    }

    fn names(pod: &Value, nodes: &[Value], pods: &[Value]) -> Vec<String> {
        let names =
            feasible(pod, nodes, pods).into_iter().map(|node| node["metadata"]["name"].as_str().unwrap().to_owned());
        names.collect()
    }

    #[test]
    fn the_documents_first_example() {
        // Three pods on node1, node2 (zoneA) and node3 (zoneB): the fourth has to go to zoneB.
        let nodes = [node("node1", "a"), node("node2", "a"), node("node3", "b"), node("node4", "b")];
        let pods = [bound("node1", "x"), bound("node2", "x"), bound("node3", "x")];
        assert_eq!(names(&pod(json!({})), &nodes, &pods), ["node3", "node4"]);
        assert_eq!(names(&pod(json!({ "maxSkew": 2 })), &nodes, &pods).len(), 4);
        assert_eq!(names(&pod(json!({ "whenUnsatisfiable": "ScheduleAnyway" })), &nodes, &pods).len(), 4);
    }

    #[test]
    fn other_pods_and_too_few_domains_count_as_documented() {
        let nodes = [node("a1", "a"), node("b1", "b")];
        assert_eq!(names(&pod(json!({})), &nodes, &[bound("a1", "y")]).len(), 2, "another app");
        let pods = [bound("a1", "x"), bound("b1", "x")];
        assert!(names(&pod(json!({ "minDomains": 3 })), &nodes, &pods).is_empty(), "the minimum is 0");
        assert_eq!(names(&pod(json!({ "minDomains": 2 })), &nodes, &pods).len(), 2);
        let mut leaving = bound("a1", "x");
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(names(&pod(json!({})), &nodes, &[leaving]).len(), 2, "a pod that is being deleted");
    }

    #[test]
    fn policies_include_nodes() {
        let mut tainted = node("c1", "c");
        tainted["spec"]["taints"] = json!([{ "key": "k", "effect": "NoSchedule" }]);
        let nodes = [node("a1", "a"), node("b1", "b"), tainted];
        let pods = [bound("a1", "x"), bound("b1", "x")];
        assert!(names(&pod(json!({})), &nodes, &pods).is_empty(), "the tainted zone is the minimum");
        assert_eq!(names(&pod(json!({ "nodeTaintsPolicy": "Honor" })), &nodes, &pods), ["a1", "b1"]);
        let mut selecting = pod(json!({ "nodeAffinityPolicy": "Ignore" }));
        selecting["spec"]["nodeSelector"] = json!({ "name": "a1" });
        assert!(names(&selecting, &nodes, &[bound("a1", "x")]).is_empty());
        selecting["spec"]["topologySpreadConstraints"][0]["nodeAffinityPolicy"] = json!("Honor");
        assert_eq!(names(&selecting, &nodes, &[bound("a1", "x")]), ["a1"]);
    }

    #[test]
    fn nodes_without_the_key_are_left_out_and_label_keys_narrow() {
        let mut bare = node("bare", "a");
        bare["metadata"]["labels"] = json!({});
        let nodes = [node("a1", "a"), node("b1", "b"), bare];
        assert_eq!(names(&pod(json!({})), &nodes, &[]), ["a1", "b1"]);
        let mut second = pod(json!({ "matchLabelKeys": ["rev"] }));
        second["metadata"]["labels"]["rev"] = json!("2");
        let pods = [bound("a1", "x"), bound("a1", "x")];
        assert_eq!(names(&second, &nodes, &pods), ["a1", "b1"], "pods of another revision");
        assert_eq!(names(&pod(json!({})), &nodes, &pods), ["b1"]);
    }
}
