//! Objects of the API, as JSON: how acts make, read, change, watch and delete them.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use http::{Method, Request};
use kube::core::WatchEvent;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::stop::finding;
use super::{Condition, Ctx, RUN_LABEL, Stop};

/// How long one watch lasts, in seconds, before it is begun anew.
const WATCH: u32 = 30;

/// Kinds without a namespace, of those that acts use.
const CLUSTER_SCOPED: [&str; 23] = [
    "Namespace",
    "Node",
    "PersistentVolume",
    "StorageClass",
    "ServiceCIDR",
    "IPAddress",
    "RuntimeClass",
    "PriorityClass",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "APIService",
    "ValidatingWebhookConfiguration",
    "MutatingWebhookConfiguration",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "CSINode",
    "CSIDriver",
    "SelfSubjectAccessReview",
];

/// An object, or all of a kind where it has no name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ref {
    /// `v1`, `apps/v1`.
    pub api_version: String,
    /// `Pod`.
    pub kind: String,
    /// Its namespace, for kinds that have one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: Option<String>,
}

impl Ref {
    /// An object by its kind and name, in a namespace if the kind has one.
    #[must_use]
    pub fn new(api_version: &str, kind: &str, namespace: &str, name: &str) -> Self {
        let scoped = CLUSTER_SCOPED.contains(&kind);
        Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: (!scoped).then(|| namespace.to_owned()),
            name: Some(name.to_owned()),
        }
    }

    /// All objects of a kind in all namespaces.
    #[must_use]
    pub fn all(api_version: &str, kind: &str) -> Self {
        Self { api_version: api_version.to_owned(), kind: kind.to_owned(), namespace: None, name: None }
    }

    /// The object that a document describes; one without a namespace is in `namespace`, if its kind has one.
    pub(crate) fn of(object: &Value, namespace: &str) -> Self {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let namespace = match text("/metadata/namespace") {
            "" => namespace,
            own => own,
        };
        let mut one = Self::new(text("/apiVersion"), text("/kind"), namespace, text("/metadata/name"));
        one.name = one.name.filter(|name| !name.is_empty());
        one
    }

    /// The path of its collection.
    pub(crate) fn collection(&self) -> String {
        let lower = self.kind.to_lowercase();
        // As the API machinery makes plurals (meta.UnsafeGuessKindToResource).
        let plural = match lower.as_str() {
            "endpoints" => lower,
            _ if lower.ends_with('s') || lower.ends_with('x') => lower + "es",
            _ if lower.ends_with('y') && !lower.ends_with("ey") => lower[..lower.len() - 1].to_owned() + "ies",
            _ => lower + "s",
        };
        let group = if self.api_version.contains('/') { "apis" } else { "api" };
        let namespace = self.namespace.as_ref().map(|name| format!("namespaces/{name}/")).unwrap_or_default();
        format!("/{group}/{}/{namespace}{plural}", self.api_version)
    }

    /// The path of the object, or of its collection where it has no name.
    #[must_use]
    pub fn path(&self) -> String {
        let name = self.name.as_ref().map(|name| format!("/{name}")).unwrap_or_default();
        self.collection() + &name
    }
}

impl std::fmt::Display for Ref {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, self.name.as_deref().unwrap_or("list"))
    }
}

/// The API's refusal of a request, as it words it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The HTTP status: 422 is invalid, 403 forbidden, 404 not found, 409 conflict.
    pub code: u16,
    /// The machine-readable reason: `Invalid`, `Forbidden`.
    pub reason: String,
    /// The message.
    pub message: String,
}

impl std::fmt::Display for Rejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.code, self.reason, self.message)
    }
}

/// What an attempt came to: the API's answer or its refusal.
pub type Attempt = Result<Value, Rejection>;

impl Ctx {
    /// One request; the API's refusal is a value, no answer at all ends the act.
    ///
    /// # Errors
    /// [`Stop::Undetermined`] if the API does not answer.
    pub async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Attempt, Stop> {
        let kind = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = Request::builder().method(method.clone()).uri(path).header("content-type", kind).body(bytes);
        let request = request.map_err(|error| Stop::Undetermined(format!("{method} {path}: {error}")))?;
        match self.client().request::<Value>(request).await {
            Ok(value) => Ok(Ok(value)),
            Err(kube::Error::Api(status)) => {
                Ok(Err(Rejection { code: status.code, reason: status.reason.clone(), message: status.message.clone() }))
            }
            Err(error) => Err(Stop::Undetermined(format!("the API server does not answer {method} {path}: {error}"))),
        }
    }

    /// Asks the API server for a text, such as a subresource that is proxied to a pod. Its refusal is a value.
    ///
    /// # Errors
    /// [`Stop::Undetermined`] if the API does not answer.
    pub async fn text(&self, method: Method, path: &str) -> Result<Result<String, Rejection>, Stop> {
        let request = Request::builder().method(method.clone()).uri(path).body(Vec::new());
        let request = request.map_err(|error| Stop::Undetermined(format!("{method} {path}: {error}")))?;
        match self.client().request_text(request).await {
            Ok(text) => Ok(Ok(text)),
            Err(kube::Error::Api(status)) => {
                Ok(Err(Rejection { code: status.code, reason: status.reason.clone(), message: status.message.clone() }))
            }
            Err(error) => Err(Stop::Undetermined(format!("the API server does not answer {method} {path}: {error}"))),
        }
    }

    /// Tries to create an object. It carries the run's label, and goes when the act ends.
    ///
    /// # Errors
    /// [`Stop::Undetermined`] if the API does not answer.
    pub async fn try_create(&self, object: Value) -> Result<Attempt, Stop> {
        let (place, object) = self.ours(object);
        self.step(format!("create {} {}", place.kind, object["metadata"]["name"]));
        let made = self.request(Method::POST, &place.collection(), Some(&object)).await?;
        if made.is_ok() && place.namespace.as_deref() != Some(self.namespace()) {
            self.clean_up(place);
        }
        Ok(made)
    }

    /// Tries what creating an object would come to: server-side dry run, nothing is kept.
    ///
    /// # Errors
    /// [`Stop::Undetermined`] if the API does not answer.
    pub async fn dry_run(&self, object: Value) -> Result<Attempt, Stop> {
        let (place, object) = self.ours(object);
        self.request(Method::POST, &format!("{}?dryRun=All", place.collection()), Some(&object)).await
    }

    /// Creates an object that has to be accepted.
    ///
    /// # Errors
    /// [`Stop::Undetermined`] if the API refuses it: something is in the way (a permission, a quota, a webhook), which
    /// the message names, or does not answer.
    pub async fn create(&self, object: Value) -> Result<Value, Stop> {
        let what = format!("{} {}", object["kind"], object["metadata"]["name"]).replace('"', "");
        self.try_create(object).await?.map_err(|why| Stop::Undetermined(in_the_way(&format!("create {what}"), &why)))
    }

    fn ours(&self, mut object: Value) -> (Ref, Value) {
        let place = Ref::of(&object, self.namespace());
        object["metadata"]["labels"][RUN_LABEL] = self.run().into();
        if let Some(namespace) = &place.namespace {
            object["metadata"]["namespace"] = namespace.as_str().into();
        }
        (place, object)
    }

    /// Reads an object, or a whole list.
    ///
    /// # Errors
    /// [`Stop::Undetermined`] if it is refused or not answered; a missing object is one, too.
    pub async fn get(&self, place: &Ref) -> Result<Value, Stop> {
        let refused = |why: Rejection| Stop::Undetermined(in_the_way(&format!("read {place}"), &why));
        self.request(Method::GET, &place.path(), None).await?.map_err(refused)
    }

    /// The items of a list, of all namespaces or of the one that `place` names.
    ///
    /// # Errors
    /// [`Stop::Undetermined`] if it is refused or not answered.
    pub async fn list(&self, place: &Ref) -> Result<Vec<Value>, Stop> {
        let mut list = self.get(place).await?;
        Ok(match list["items"].take() {
            Value::Array(items) => items,
            _ => Vec::new(),
        })
    }

    /// Tries to change an object by a merge patch.
    ///
    /// # Errors
    /// [`Stop::Undetermined`] if the API does not answer.
    pub async fn try_patch(&self, place: &Ref, patch: &Value) -> Result<Attempt, Stop> {
        self.step(format!("patch {place}: {patch}"));
        self.request(Method::PATCH, &place.path(), Some(patch)).await
    }

    /// Deletes an object; one that is gone already is no error.
    ///
    /// # Errors
    /// [`Stop::Undetermined`] if it is refused or not answered.
    pub async fn delete(&self, place: &Ref, grace: Option<u32>) -> Result<(), Stop> {
        self.step(format!("delete {place}"));
        let mut body = json!({ "propagationPolicy": "Background" });
        if let Some(seconds) = grace {
            body["gracePeriodSeconds"] = seconds.into();
        }
        match self.request(Method::DELETE, &place.path(), Some(&body)).await? {
            Err(why) if why.code != 404 => Err(Stop::Undetermined(in_the_way(&format!("delete {place}"), &why))),
            _ => Ok(()),
        }
    }

    /// Waits until an object meets a condition, by watching it.
    ///
    /// # Errors
    /// [`Stop::Breached`] with what was last seen, if it does not within `patience`; [`Stop::Undetermined`] if the API
    /// refuses.
    pub async fn until(&self, place: &Ref, condition: &Condition, patience: Duration) -> Result<Value, Stop> {
        self.step(format!("wait until {place} {}", condition.what));
        let begun = Instant::now();
        let mut seen = "it does not exist".to_owned();
        let waited = tokio::time::timeout(
            patience,
            self.watch(place, |object| match object {
                Some(object) => condition.test(object).map_err(|what| seen = what).is_ok(),
                None => {
                    "it does not exist".clone_into(&mut seen);
                    false
                }
            }),
        );
        match waited.await {
            Ok(found) => found.map(Option::unwrap_or_default),
            Err(_) => Err(Stop::Breached(vec![finding(
                place.to_string(),
                format!("{place}: not within {} s: {}; last seen: {seen}", begun.elapsed().as_secs(), condition.what),
            )])),
        }
    }

    /// Waits until a list, by a label selector, meets a condition. It is listed anew after each change of one of its
    /// objects.
    ///
    /// # Errors
    /// [`Stop::Breached`] with what was last seen; [`Stop::Undetermined`] if the API refuses.
    pub async fn until_list(
        &self,
        place: &Ref,
        selector: &str,
        condition: &Condition,
        patience: Duration,
    ) -> Result<Value, Stop> {
        self.step(format!("wait until {place} of {selector} {}", condition.what));
        let mut seen = "nothing".to_owned();
        let waited = tokio::time::timeout(patience, async {
            let selector: String = form_urlencoded::byte_serialize(selector.as_bytes()).collect();
            let path = format!("{}?labelSelector={selector}", place.collection());
            loop {
                let refused = |why: Rejection| Stop::Undetermined(in_the_way(&format!("list {place}"), &why));
                let list = self.request(Method::GET, &path, None).await?.map_err(refused)?;
                match condition.test(&list) {
                    Ok(()) => return Ok(list),
                    Err(what) => seen = what,
                }
                let version = list["metadata"]["resourceVersion"].as_str().unwrap_or_default();
                let path = format!("{path}&watch=true&resourceVersion={version}&timeoutSeconds={WATCH}");
                let request = Request::get(path).body(Vec::new());
                let request = request.map_err(|error| Stop::Undetermined(format!("watch {place}: {error}")))?;
                let Ok(events) = self.client().request_events::<Value>(request).await else {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                };
                std::pin::pin!(events).try_next().await.ok();
            }
        });
        match waited.await {
            Ok(found) => found,
            Err(_) => Err(Stop::breach(
                place.to_string(),
                format!("{place}: not within {} s: {}; last seen: {seen}", patience.as_secs(), condition.what),
            )),
        }
    }

    /// Waits until an object is gone.
    ///
    /// # Errors
    /// [`Stop::Breached`] if it is still there after `patience`; [`Stop::Undetermined`] if the API refuses.
    pub async fn until_gone(&self, place: &Ref, patience: Duration) -> Result<(), Stop> {
        self.step(format!("wait until {place} is gone"));
        match tokio::time::timeout(patience, self.watch(place, |object| object.is_none())).await {
            Ok(found) => found.map(drop),
            Err(_) => Err(Stop::breach(place.to_string(), format!("{place} is still there after {patience:?}"))),
        }
    }

    /// Watches one object until `enough`, which sees each state of it; none is an object that is not there.
    async fn watch(&self, place: &Ref, mut enough: impl FnMut(Option<&Value>) -> bool) -> Result<Option<Value>, Stop> {
        let name = place.name.as_deref().unwrap_or_default();
        loop {
            // A list, since it has a version to watch from even where the object is not there.
            let listed = format!("{}?fieldSelector=metadata.name%3D{name}", place.collection());
            let refused = |why: Rejection| Stop::Undetermined(in_the_way(&format!("watch {place}"), &why));
            let list = self.request(Method::GET, &listed, None).await?.map_err(refused)?;
            let mut last = list["items"].get(0).cloned();
            if enough(last.as_ref()) {
                return Ok(last);
            }
            let version = list["metadata"]["resourceVersion"].as_str().unwrap_or_default();
            let path = format!("{listed}&watch=true&resourceVersion={version}&timeoutSeconds={WATCH}");
            let request = Request::get(path).body(Vec::new());
            let request = request.map_err(|error| Stop::Undetermined(format!("watch {place}: {error}")))?;
            // A watch that breaks, or is too old, is begun anew with a list.
            let Ok(events) = self.client().request_events::<Value>(request).await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let mut events = std::pin::pin!(events);
            while let Ok(Some(event)) = events.try_next().await {
                last = match event {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) => Some(object),
                    WatchEvent::Deleted(_) => None,
                    WatchEvent::Bookmark(_) => continue,
                    WatchEvent::Error(_) => break,
                };
                if enough(last.as_ref()) {
                    return Ok(last);
                }
            }
        }
    }
}

/// What is in the way of a request, so that the user can remove it.
pub(crate) fn in_the_way(doing: &str, why: &Rejection) -> String {
    let hint = match why.code {
        401 => " (the kubeconfig's credentials are not accepted)",
        403 if why.message.contains("exceeded quota") => " (a ResourceQuota is in the way)",
        403 if why.message.contains("cannot") => " (the kubeconfig's user lacks this permission)",
        _ if why.message.contains("admission webhook") => " (an admission webhook is in the way)",
        _ => "",
    };
    format!("{doing}: {why}{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_api() {
        let path = |api: &str, kind: &str| Ref::new(api, kind, "ns", "x").path();
        assert_eq!(path("v1", "Pod"), "/api/v1/namespaces/ns/pods/x");
        assert_eq!(path("v1", "Node"), "/api/v1/nodes/x");
        assert_eq!(path("v1", "Endpoints"), "/api/v1/namespaces/ns/endpoints/x");
        assert_eq!(path("networking.k8s.io/v1", "IPAddress"), "/apis/networking.k8s.io/v1/ipaddresses/x");
        assert_eq!(
            path("networking.k8s.io/v1", "NetworkPolicy"),
            "/apis/networking.k8s.io/v1/namespaces/ns/networkpolicies/x"
        );
        assert_eq!(Ref::all("discovery.k8s.io/v1", "EndpointSlice").path(), "/apis/discovery.k8s.io/v1/endpointslices");
    }

    #[test]
    fn what_is_in_the_way_is_named() {
        let why = |code, message: &str| Rejection { code, reason: "x".to_owned(), message: message.to_owned() };
        assert!(in_the_way("create Pod a", &why(403, "exceeded quota: small")).contains("ResourceQuota"));
        assert!(
            in_the_way("create Pod a", &why(400, "admission webhook \"w\" denied")).contains("webhook is in the way")
        );
        assert!(
            in_the_way("read Node a", &why(403, "User \"u\" cannot get resource")).contains("lacks this permission")
        );
    }
}
