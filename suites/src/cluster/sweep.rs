//! What a killed run left on a cluster, found by its label and removed.

use http::Request;
use serde_json::Value;

use super::{RUN_LABEL, Ref, Target};

/// Kinds of which runs make objects outside of their own namespaces. A namespace takes what is in it along.
const KINDS: [(&str, &str); 14] = [
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
    ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding"),
    ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ("v1", "Namespace"),
    ("v1", "Node"),
    ("v1", "PersistentVolume"),
    ("storage.k8s.io/v1", "StorageClass"),
    ("node.k8s.io/v1", "RuntimeClass"),
    ("scheduling.k8s.io/v1", "PriorityClass"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("networking.k8s.io/v1", "ServiceCIDR"),
];

/// An object that was found, and what became of it.
#[derive(Debug)]
pub struct Swept {
    /// The object.
    pub place: Ref,
    /// The run that made it.
    pub run: String,
    /// Why it could not be deleted.
    pub failed: Option<String>,
}

/// Deletes what runs left on a cluster: of one run, or of all.
///
/// # Errors
/// If a kind cannot be listed for another reason than that the cluster does not have it.
pub async fn sweep(target: &Target, run: Option<&str>) -> Result<Vec<Swept>, String> {
    let selector = run.map_or_else(|| RUN_LABEL.to_owned(), |run| format!("{RUN_LABEL}={run}"));
    let selector: String = form_urlencoded::byte_serialize(selector.as_bytes()).collect();
    let mut swept = Vec::new();
    for (version, kind) in KINDS {
        let all = Ref::all(version, kind);
        let list = match call(target, "GET", &format!("{}?labelSelector={selector}", all.path())).await {
            Err(kube::Error::Api(status)) if status.code == 404 => continue,
            list => list.map_err(|error| format!("list {kind}: {error}"))?,
        };
        for item in list["items"].as_array().into_iter().flatten() {
            let name = item["metadata"]["name"].as_str().unwrap_or_default();
            let place = Ref { name: Some(name.to_owned()), ..all.clone() };
            let run = item["metadata"]["labels"][RUN_LABEL].as_str().unwrap_or_default().to_owned();
            let failed = match call(target, "DELETE", &place.path()).await {
                Ok(_) => None,
                Err(kube::Error::Api(status)) if status.code == 404 => None,
                Err(error) => Some(error.to_string()),
            };
            swept.push(Swept { place, run, failed });
        }
    }
    Ok(swept)
}

async fn call(target: &Target, method: &str, path: &str) -> Result<Value, kube::Error> {
    let request = Request::builder().method(method).uri(path).body(Vec::new()).map_err(kube::Error::HttpError)?;
    target.client.request(request).await
}
