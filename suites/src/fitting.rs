//! Which nodes a pod fits on, by the documented rules of labels, taints and resources: an independent model of the
//! scheduler's filters.
//!
//! Sources: "Assigning Pods to Nodes", "Taints and Tolerations", "Resource Management for Pods and Containers".

use serde_json::Value;

/// Does a pod fit on a node, besides what others already took of it?
pub(crate) fn fits(pod: &Value, node: &Value) -> bool {
    is_wanted(pod, node) && is_tolerated(pod, node) && has_room(&pod["spec"], node)
}

/// Does a node have the labels that a pod's node selector and required node affinity ask for?
pub(crate) fn is_wanted(pod: &Value, node: &Value) -> bool {
    let spec = &pod["spec"];
    selected(&spec["nodeSelector"], node) && affine(spec, node)
}

/// Does a pod tolerate every taint of a node that keeps pods away?
pub(crate) fn is_tolerated(pod: &Value, node: &Value) -> bool {
    tolerated(&pod["spec"], node)
}

fn label<'a>(node: &'a Value, key: &str) -> Option<&'a str> {
    node["metadata"]["labels"].get(key).and_then(Value::as_str)
}

/// All pairs of the node selector are labels of the node.
fn selected(selector: &Value, node: &Value) -> bool {
    selector.as_object().into_iter().flatten().all(|(key, value)| label(node, key) == value.as_str())
}

/// One term of the required node affinity matches; a term without expressions matches nothing.
fn affine(spec: &Value, node: &Value) -> bool {
    let required = &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let Some(terms) = required["nodeSelectorTerms"].as_array() else { return true };
    terms.iter().any(|term| {
        let expressions = term["matchExpressions"].as_array();
        expressions.is_some_and(|all| !all.is_empty() && all.iter().all(|one| expressed(one, node)))
    })
}

fn expressed(expression: &Value, node: &Value) -> bool {
    let found = label(node, expression["key"].as_str().unwrap_or_default());
    let named =
        expression["values"].as_array().into_iter().flatten().any(|value| value.as_str() == found && found.is_some());
    match expression["operator"].as_str() {
        Some("In") => named,
        Some("NotIn") => !named,
        Some("Exists") => found.is_some(),
        Some("DoesNotExist") => found.is_none(),
        _ => false,
    }
}

/// Every taint that keeps pods away is tolerated.
fn tolerated(spec: &Value, node: &Value) -> bool {
    let taints = node["spec"]["taints"].as_array();
    let mut hard = taints.into_iter().flatten().filter(|taint| taint["effect"] != "PreferNoSchedule");
    hard.all(|taint| spec["tolerations"].as_array().into_iter().flatten().any(|one| tolerates(one, taint)))
}

fn tolerates(toleration: &Value, taint: &Value) -> bool {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let effect = text(&toleration["effect"]);
    if !effect.is_empty() && effect != text(&taint["effect"]) {
        return false;
    }
    let key = text(&toleration["key"]);
    let exists = toleration["operator"] == "Exists";
    // An empty key with Exists tolerates everything.
    let same_key = if key.is_empty() { exists } else { key == text(&taint["key"]) };
    same_key && (exists || text(&toleration["value"]) == text(&taint["value"]))
}

/// What containers request is not more than what the node has for pods.
fn has_room(spec: &Value, node: &Value) -> bool {
    ["cpu", "memory"].iter().all(|resource| {
        let containers = spec["containers"].as_array().into_iter().flatten();
        let wanted: u64 = containers.map(|one| quantity(&one["resources"]["requests"][*resource])).sum();
        wanted <= quantity(&node["status"]["allocatable"][*resource])
    })
}

/// A quantity of whole numbers in thousandths. The API server writes 9000 as `9k`.
pub(crate) fn quantity(value: &Value) -> u64 {
    let text = value.as_str().unwrap_or("0");
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits.parse().unwrap_or_default();
    let factor = match &text[digits.len()..] {
        "m" => 1,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "Ki" => 1000 << 10,
        "Mi" => 1000 << 20,
        "Gi" => 1000 << 30,
        "Ti" => 1000 << 40,
        _ => 1000,
    };
    number.saturating_mul(factor)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node() -> Value {
        json!({
            "metadata": {
                "labels": { "kubernetes.io/os": "windows", "node.kubernetes.io/windows-build": "10.0.17763" },
            },
            "spec": { "taints": [{ "key": "os", "value": "windows", "effect": "NoSchedule" }] },
            "status": { "allocatable": { "cpu": "4", "memory": "16Gi" } },
        })
    }

    fn fit(spec: Value) -> bool {
        fits(&json!({ "spec": spec }), &node())
    }

    #[test]
    fn the_guides_example_fits() {
        let tolerations = json!([{ "key": "os", "operator": "Equal", "value": "windows", "effect": "NoSchedule" }]);
        let selector = json!({ "kubernetes.io/os": "windows", "node.kubernetes.io/windows-build": "10.0.17763" });
        assert!(fit(json!({ "nodeSelector": selector, "tolerations": tolerations })));
        assert!(!fit(json!({ "nodeSelector": selector })), "the taint");
        assert!(!fit(json!({ "nodeSelector": { "kubernetes.io/os": "linux" }, "tolerations": tolerations })));
    }

    #[test]
    fn tolerations_are_those_of_the_document() {
        assert!(fit(json!({ "tolerations": [{ "operator": "Exists" }] })), "everything");
        assert!(fit(json!({ "tolerations": [{ "key": "os", "operator": "Exists" }] })));
        assert!(!fit(json!({ "tolerations": [{ "key": "os", "value": "Windows" }] })), "another value");
        assert!(!fit(json!({ "tolerations": [{ "key": "os", "operator": "Exists", "effect": "NoExecute" }] })));
    }

    #[test]
    fn affinity_and_resources_count() {
        let all = json!([{ "operator": "Exists" }]);
        let affinity = |operator: &str, values: Value| {
            json!({ "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [
                { "matchExpressions": [{ "key": "kubernetes.io/os", "operator": operator, "values": values }] }] } } })
        };
        assert!(fit(json!({ "affinity": affinity("In", json!(["windows"])), "tolerations": all })));
        assert!(!fit(json!({ "affinity": affinity("NotIn", json!(["windows"])), "tolerations": all })));
        assert!(!fit(json!({ "affinity": affinity("DoesNotExist", json!([])), "tolerations": all })));
        let request = |cpu: &str| json!([{ "resources": { "requests": { "cpu": cpu, "memory": "1Gi" } } }]);
        assert!(fit(json!({ "containers": request("4000m"), "tolerations": all })));
        assert!(!fit(json!({ "containers": request("4001m"), "tolerations": all })));
        assert!(!fit(json!({ "containers": request("9k"), "tolerations": all })), "as the API server writes 9000");
        assert_eq!(["2", "250m", "1Ki"].map(|text| quantity(&json!(text))), [2000, 250, 1_024_000]);
    }
}
