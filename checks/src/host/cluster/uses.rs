//! Which Secrets are named by what could serve by them: pods, templates of pods, and Gateways. Of each only the names
//! are kept, as soon as its page arrives, so that memory grows with the Secrets that are named and not with the pods.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The lists of what has pods in it.
pub(super) const WORKLOADS: [&str; 7] = [
    "/api/v1/pods",
    "/apis/apps/v1/deployments",
    "/apis/apps/v1/statefulsets",
    "/apis/apps/v1/daemonsets",
    "/apis/apps/v1/replicasets",
    "/apis/batch/v1/jobs",
    "/apis/batch/v1/cronjobs",
];

/// The lists of Gateways, where there are any; those of before Gateway API 1.0, too.
pub(super) const GATEWAYS: [&str; 2] =
    ["/apis/gateway.networking.k8s.io/v1/gateways", "/apis/gateway.networking.k8s.io/v1beta1/gateways"];

/// The flag by which ingress controllers are told of a Secret, as namespace and name (ingress-nginx, HAProxy Ingress).
const DEFAULT_CERTIFICATE: &str = "--default-ssl-certificate=";

/// The names of Secrets by their namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretUses(BTreeMap<String, BTreeSet<String>>);

impl SecretUses {
    /// Is this Secret named?
    #[must_use]
    pub fn has(&self, namespace: &str, name: &str) -> bool {
        self.0.get(namespace).is_some_and(|names| names.contains(name))
    }

    fn insert(&mut self, namespace: &str, name: &str) {
        if !self.has(namespace, name) {
            self.0.entry(namespace.to_owned()).or_default().insert(name.to_owned());
        }
    }

    /// Takes in a pod, or what has a template of one.
    pub(super) fn add(&mut self, Workload { metadata, spec }: &Workload) {
        spec.iter().for_each(|spec| self.spec(&metadata.namespace, spec));
    }

    fn spec(&mut self, namespace: &str, spec: &Spec) {
        for volume in spec.volumes.iter().flatten() {
            let projected = volume.projected.iter().flat_map(|one| one.sources.iter().flatten());
            let sources = projected.filter_map(|source| source.secret.as_ref()).chain(&volume.secret);
            sources.for_each(|secret| self.insert(namespace, &secret.name));
        }
        let containers = [&spec.init_containers, &spec.containers, &spec.ephemeral_containers];
        for container in containers.into_iter().flatten().flatten() {
            let one_by_one = container.env.iter().flatten();
            let one_by_one = one_by_one.filter_map(|one| one.value_from.as_ref()?.secret_key_ref.as_ref());
            let whole = container.env_from.iter().flatten().filter_map(|one| one.secret_ref.as_ref());
            one_by_one.chain(whole).for_each(|secret| self.insert(namespace, &secret.name));
            let words = container.command.iter().chain(&container.args).flatten();
            for named in words.filter_map(|word| word.strip_prefix(DEFAULT_CERTIFICATE)?.split_once('/')) {
                self.insert(named.0, named.1);
            }
        }
        for template in spec.template.iter().chain(&spec.job_template) {
            template.spec.iter().for_each(|spec| self.spec(namespace, spec));
        }
    }

    /// Takes in a Gateway: its listeners' certificates, and the one that it shows to backends.
    pub(super) fn gateway(&mut self, gateway: &Value) {
        let namespace = gateway.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
        self.references(namespace, &gateway["spec"]);
    }

    fn references(&mut self, namespace: &str, part: &Value) {
        let members = part.as_object().into_iter().flatten();
        for (member, value) in members {
            match (member.as_str(), value) {
                ("certificateRefs", Value::Array(all)) => all.iter().for_each(|one| self.reference(namespace, one)),
                ("clientCertificateRef", one) => self.reference(namespace, one),
                (_, inside) => self.references(namespace, inside),
            }
        }
        part.as_array().into_iter().flatten().for_each(|one| self.references(namespace, one));
    }

    fn reference(&mut self, namespace: &str, reference: &Value) {
        // A Secret unless it says otherwise, and of the Gateway's namespace (Gateway API: SecretObjectReference).
        if reference["kind"].as_str().unwrap_or("Secret") == "Secret"
            && let Some(name) = reference["name"].as_str()
        {
            self.insert(reference["namespace"].as_str().unwrap_or(namespace), name);
        }
    }
}

/// A pod, or what has a template of one, as the API has it; the rest is passed over as it is read.
#[derive(Debug, Deserialize)]
pub(super) struct Workload {
    metadata: Metadata,
    spec: Option<Spec>,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    #[serde(default)]
    namespace: String,
}

/// The spec of a pod; or that of a workload, with the template of a pod, or of a Job.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    volumes: Option<Vec<Volume>>,
    init_containers: Option<Vec<Container>>,
    containers: Option<Vec<Container>>,
    ephemeral_containers: Option<Vec<Container>>,
    template: Option<Box<Template>>,
    job_template: Option<Box<Template>>,
}

#[derive(Debug, Deserialize)]
struct Template {
    spec: Option<Spec>,
}

#[derive(Debug, Deserialize)]
struct Volume {
    secret: Option<Reference>,
    projected: Option<Projected>,
}

#[derive(Debug, Deserialize)]
struct Projected {
    sources: Option<Vec<Source>>,
}

#[derive(Debug, Deserialize)]
struct Source {
    secret: Option<Reference>,
}

#[derive(Debug, Deserialize)]
struct Reference {
    #[serde(default, alias = "secretName")]
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    command: Option<Vec<String>>,
    args: Option<Vec<String>>,
    env: Option<Vec<Variable>>,
    env_from: Option<Vec<Variables>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Variable {
    value_from: Option<ValueFrom>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ValueFrom {
    secret_key_ref: Option<Reference>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Variables {
    secret_ref: Option<Reference>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(workloads: &[Value]) -> Vec<(String, String)> {
        let mut uses = SecretUses::default();
        for workload in workloads {
            uses.add(&serde_json::from_value(workload.clone()).unwrap());
        }
        flat(uses)
    }

    fn flat(uses: SecretUses) -> Vec<(String, String)> {
        uses.0.into_iter().flat_map(|(space, names)| names.into_iter().map(move |name| (space.clone(), name))).collect()
    }

    fn wanted(names: &[(&str, &str)]) -> Vec<(String, String)> {
        names.iter().map(|(space, name)| ((*space).to_owned(), (*name).to_owned())).collect()
    }

    #[test]
    fn a_pod_names_secrets_in_volumes_and_variables() {
        let spec = json!({
            "volumes": [
                { "name": "a", "secret": { "secretName": "volume" } },
                {
                    "name": "b",
                    "projected": {
                        "sources": [{ "configMap": { "name": "no" } }, { "secret": { "name": "projected" } }],
                    },
                },
                { "name": "c", "emptyDir": {} },
            ],
            "imagePullSecrets": [{ "name": "no" }],
            "containers": [
                { "name": "a", "env": [
                    { "name": "A", "value": "no" },
                    { "name": "B", "valueFrom": { "secretKeyRef": { "name": "key", "key": "tls.crt" } } },
                    { "name": "C", "valueFrom": { "configMapKeyRef": { "name": "no", "key": "no" } } },
                ] },
                {
                    "name": "b",
                    "args": ["/controller", "--default-ssl-certificate=edge/wild", "--default-ssl-certificate=odd"],
                },
            ],
            "initContainers": [
                {
                    "name": "c",
                    "envFrom": [{ "secretRef": { "name": "whole" } }, { "configMapRef": { "name": "no" } }],
                },
            ],
            "ephemeralContainers": null,
        });
        let all = [("edge", "wild"), ("shop", "key"), ("shop", "projected"), ("shop", "volume"), ("shop", "whole")];
        let metadata = json!({ "namespace": "shop", "name": "one" });
        for spec in [
            spec.clone(),
            json!({ "replicas": 0, "template": { "metadata": {}, "spec": spec } }),
            json!({ "schedule": "@daily", "jobTemplate": { "spec": { "template": { "spec": spec } } } }),
        ] {
            assert_eq!(of(&[json!({ "metadata": metadata, "spec": spec })]), wanted(&all));
        }
        assert_eq!(of(&[json!({ "metadata": metadata }), json!({ "metadata": metadata, "spec": {} })]), []);
    }

    #[test]
    fn a_gateway_names_secrets_of_its_own_or_another_namespace() {
        let gateway = json!({ "metadata": { "namespace": "edge" }, "spec": {
            "listeners": [
                { "name": "plain", "port": 80 },
                { "name": "tls", "tls": { "mode": "Terminate", "certificateRefs": [
                    { "name": "own" }, { "kind": "Secret", "group": "", "name": "other", "namespace": "shop" },
                    { "kind": "Other", "name": "no" },
                ] } },
            ],
            "backendTLS": { "clientCertificateRef": { "name": "client" } },
        } });
        let mut uses = SecretUses::default();
        uses.gateway(&gateway);
        assert!(uses.has("shop", "other") && !uses.has("edge", "other"));
        assert_eq!(flat(uses), wanted(&[("edge", "client"), ("edge", "own"), ("shop", "other")]));
    }
}
