//! The objects of a live cluster, for judges that else look at manifests.

use http::Request;
use seaworthy_objects::Node;
use seaworthy_objects::manifest::{Manifests, Object, Problem, Trouble};
use serde_json::Value;

use super::{Ref, Target};

/// So many objects come in one answer.
const PAGE: usize = 500;

/// What is listed, and of which objects those are left out that another object makes.
const KINDS: [(&str, &str); 13] = [
    ("v1", "Namespace"),
    ("v1", "Pod"),
    ("v1", "PodTemplate"),
    ("v1", "ReplicationController"),
    ("apps/v1", "ReplicaSet"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("batch/v1", "Job"),
    ("batch/v1", "CronJob"),
    ("node.k8s.io/v1", "RuntimeClass"),
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
    ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"),
];

impl Target {
    /// Its namespaces, its workloads, and what shows other policy engines; not what a workload makes.
    ///
    /// What may not be listed is a problem beside what may.
    pub async fn snapshot(&self) -> Manifests {
        let mut manifests = Manifests::default();
        for (api_version, kind) in KINDS {
            if let Err(why) = self.list_into(&mut manifests, api_version, kind).await {
                let why = format!("{kind} objects cannot be listed: {why}");
                let file = self.name.as_str().into();
                manifests.problems.push(Problem { file, line: None, trouble: Trouble::Unreadable, why });
            }
        }
        manifests
    }

    async fn list_into(&self, manifests: &mut Manifests, api_version: &str, kind: &str) -> Result<(), String> {
        let collection = Ref::all(api_version, kind).path();
        let mut more = String::new();
        loop {
            let request = Request::get(format!("{collection}?limit={PAGE}{more}")).body(Vec::new());
            let request = request.map_err(|error| error.to_string())?;
            let mut list: Value = self.client.request(request).await.map_err(|error| error.to_string())?;
            let Value::Array(items) = list["items"].take() else { return Ok(()) };
            manifests.objects.extend(items.into_iter().filter_map(|item| object(item, api_version, kind)));
            match list["metadata"]["continue"].as_str().filter(|token| !token.is_empty()) {
                Some(token) => {
                    let token: String = form_urlencoded::byte_serialize(token.as_bytes()).collect();
                    more = format!("&continue={token}");
                }
                None => return Ok(()),
            }
        }
    }

    /// What creating an object would come to, by dry run; for defects.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn dry_run(&self, object: &Value) -> Result<Value, String> {
        let path = format!("{}?dryRun=All", Ref::of(object, "default").collection());
        let request = Request::post(&path).header("content-type", "application/json");
        let request = request.body(object.to_string().into_bytes()).map_err(|error| error.to_string())?;
        self.client.request(request).await.map_err(|error| format!("{path}: {error}"))
    }

    /// Does the API server say that it is ready?
    ///
    /// # Errors
    /// What it says instead.
    pub async fn ready(&self) -> Result<(), String> {
        let request = Request::get("/readyz").body(Vec::new()).map_err(|error| error.to_string())?;
        self.client.request_text(request).await.map(drop).map_err(|error| error.to_string())
    }
}

/// An object of a list; `None` of one that a controller makes of another that is listed, too.
fn object(mut item: Value, api_version: &str, kind: &str) -> Option<Object> {
    let owners = item["metadata"]["ownerReferences"].as_array();
    let made = owners.into_iter().flatten().any(|owner| {
        let listed = KINDS.iter().any(|(api, kind)| owner["kind"] == *kind && owner["apiVersion"] == *api);
        owner["controller"] == true && listed
    });
    if made {
        return None;
    }
    let text = |name: &str| item["metadata"][name].as_str().map(str::to_owned);
    let (name, namespace) = (text("name").unwrap_or_default(), text("namespace"));
    item["apiVersion"] = api_version.into();
    item["kind"] = kind.into();
    Some(Object {
        file: "".into(),
        line: 0,
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        namespace,
        name,
        template: None,
        node: Node::from(item),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_workload_makes_is_left_out() {
        let pod = |owners: Value| json!({"metadata": {"name": "a", "namespace": "b", "ownerReferences": owners}});
        let of = |kind: &str, api: &str| json!([{"kind": kind, "apiVersion": api, "controller": true}]);
        assert!(object(pod(of("ReplicaSet", "apps/v1")), "v1", "Pod").is_none());
        assert!(object(pod(of("Node", "v1")), "v1", "Pod").is_some());
        assert!(object(pod(of("Rollout", "argoproj.io/v1alpha1")), "v1", "Pod").is_some());
        assert_eq!(object(pod(json!([])), "v1", "Pod").unwrap().to_string(), "Pod b/a");
    }
}
