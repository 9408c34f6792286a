//! Policy engines beside Pod Security admission, told by their objects.

use crate::manifest::Object;
use crate::node::Tree;

/// A policy engine, and the object that shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    /// Its name.
    pub name: &'static str,
    /// The index of the first object that shows it.
    pub object: usize,
}

/// An engine: its API groups (their ends), and the names of its webhooks' Services (their beginnings).
const ENGINES: [(&str, &[&str], &[&str]); 8] = [
    ("Kubewarden", &["policies.kubewarden.io"], &["policy-server", "kubewarden"]),
    ("Kyverno", &["kyverno.io"], &["kyverno"]),
    ("OPA Gatekeeper", &["gatekeeper.sh"], &["gatekeeper"]),
    ("jsPolicy", &["policy.jspolicy.com"], &["jspolicy"]),
    ("Polaris", &[], &["polaris"]),
    ("OpenShift security context constraints", &["security.openshift.io"], &[]),
    ("NeuVector", &["neuvector.com"], &["neuvector-svc-admission"]),
    ("StackRox", &["platform.stackrox.io"], &["sensor"]),
];

/// The engines of a set of objects, each once.
#[must_use]
pub fn engines(objects: &[Object]) -> Vec<Engine> {
    let mut found: Vec<Engine> = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        let name = of_group(object).or_else(|| of_webhook(object)).or_else(|| built_in(object));
        if let Some(name) = name.filter(|name| !found.iter().any(|engine| engine.name == *name)) {
            found.push(Engine { name, object: index });
        }
    }
    found
}

fn of_group(object: &Object) -> Option<&'static str> {
    let group = object.group();
    let within = |end: &&str| group == *end || group.strip_suffix(end).is_some_and(|rest| rest.ends_with('.'));
    ENGINES.iter().find(|(_, groups, _)| groups.iter().any(within)).map(|(name, ..)| *name)
}

fn of_webhook(object: &Object) -> Option<&'static str> {
    let webhooks = matches!(&*object.kind, "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration");
    let webhooks = object.node.get("webhooks").filter(|_| webhooks)?;
    let Tree::List(items) = &webhooks.node.tree else { return None };
    items.iter().find_map(|item| {
        let service = &item.get("clientConfig")?.node.get("service")?.node;
        let service = service.text("name")?;
        let by = |names: &&[&str]| names.iter().any(|name| service.starts_with(name));
        ENGINES.iter().find(|(.., services)| by(services)).map(|(name, ..)| *name)
    })
}

/// Of the API server itself, beside Pod Security.
fn built_in(object: &Object) -> Option<&'static str> {
    match (object.group(), object.kind.as_str()) {
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => Some("ValidatingAdmissionPolicy"),
        ("policy", "PodSecurityPolicy") => Some("PodSecurityPolicy (removed in Kubernetes 1.25)"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifests;

    #[test]
    fn engines_are_told_by_their_groups_and_webhooks() {
        let text = "apiVersion: v1\nkind: Pod\n---\n\
                    apiVersion: constraints.gatekeeper.sh/v1beta1\nkind: K8sPSPPrivileged\n---\n\
                    apiVersion: kyverno.io/v1\nkind: ClusterPolicy\n---\n\
                    apiVersion: notkyverno.io/v1\nkind: X\n---\n\
                    apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nwebhooks:\n\
                    - clientConfig: {url: https://x}\n\
                    - clientConfig: {service: {name: kubewarden-controller-webhook}}\n";
        let objects = Manifests::of_text("f", text).objects;
        let names: Vec<_> = engines(&objects).into_iter().map(|engine| (engine.name, engine.object)).collect();
        assert_eq!(names, [("OPA Gatekeeper", 1), ("Kyverno", 2), ("Kubewarden", 4)]);
    }
}
