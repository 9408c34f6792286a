//! Pods that run scripts of our workload, on the node that is under test.

use std::time::Duration;

use http::Method;
use serde_json::{Map, Value, json};

use super::{Attempt, Condition, Ctx, Ref, Stop};

/// How long a pod may take to start, or a short script to end.
const PATIENCE: Duration = Duration::from_secs(120);

/// A pod of scripts. Its first container is called `main`, and it is not restarted, unless that is changed.
#[derive(Debug, Clone)]
pub struct Pod {
    /// Its name.
    pub name: String,
    object: Value,
}

/// A container that runs a script.
#[must_use]
pub fn container(name: &str, script: &str) -> Value {
    json!({ "name": name, "args": ["do", script] })
}

/// A merge patch (RFC 7386), except that null stays.
fn merge(into: &mut Value, patch: Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, patch) => *into = patch,
    }
}

fn push(list: &mut Value, item: Value) {
    match list {
        Value::Array(items) => items.push(item),
        _ => *list = Value::Array(vec![item]),
    }
}

impl Pod {
    /// A pod whose container `main` runs a script.
    #[must_use]
    pub fn new(name: &str, script: &str) -> Self {
        let object = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": { "app": name } },
            "spec": {
                "containers": [container("main", script)],
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 1,
                "automountServiceAccountToken": false,
                "enableServiceLinks": false,
            },
        });
        Self { name: name.to_owned(), object }
    }

    /// With fields of `spec`, merged into it.
    #[must_use]
    pub fn spec(mut self, fields: Value) -> Self {
        merge(&mut self.object["spec"], fields);
        self
    }

    /// With fields of `metadata`, merged into it.
    #[must_use]
    pub fn metadata(mut self, fields: Value) -> Self {
        merge(&mut self.object["metadata"], fields);
        self
    }

    /// With fields of the container `main`, merged into it.
    #[must_use]
    pub fn main(mut self, fields: Value) -> Self {
        merge(&mut self.object["spec"]["containers"][0], fields);
        self
    }

    /// With a further container.
    #[must_use]
    pub fn and(mut self, container: Value) -> Self {
        push(&mut self.object["spec"]["containers"], container);
        self
    }

    /// With a further init container.
    #[must_use]
    pub fn init(mut self, container: Value) -> Self {
        push(&mut self.object["spec"]["initContainers"], container);
        self
    }

    /// With a volume, mounted in `main`.
    #[must_use]
    pub fn volume(self, name: &str, path: &str, source: Value) -> Self {
        let mut one = self.source(name, source);
        push(&mut one.object["spec"]["containers"][0]["volumeMounts"], json!({ "name": name, "mountPath": path }));
        one
    }

    /// With a volume that `main` does not mount.
    #[must_use]
    pub fn source(mut self, name: &str, source: Value) -> Self {
        let mut volume = json!({ "name": name });
        merge(&mut volume, source);
        push(&mut self.object["spec"]["volumes"], volume);
        self
    }

    /// As it is sent: on a node, with the image where a container names none. It tolerates what a node under test may
    /// have.
    #[must_use]
    pub fn object(&self, node: &str, image: &str) -> Value {
        let mut object = self.object.clone();
        let spec = &mut object["spec"];
        if spec.get("nodeName").is_none() && spec.get("nodeSelector").is_none() {
            spec["nodeName"] = node.into();
        }
        if spec.get("tolerations").is_none() {
            spec["tolerations"] = json!([{ "operator": "Exists" }]);
        }
        for list in ["initContainers", "containers"] {
            for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                let fields: &mut Map<_, _> = match container.as_object_mut() {
                    Some(fields) => fields,
                    None => continue,
                };
                fields.entry("image").or_insert_with(|| image.into());
                fields.entry("imagePullPolicy").or_insert_with(|| "IfNotPresent".into());
            }
        }
        object
    }
}

/// The status of a container in a pod, whichever kind it is of.
#[must_use]
pub fn status_of<'a>(pod: &'a Value, container: &str) -> &'a Value {
    const NONE: &Value = &Value::Null;
    ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"]
        .iter()
        .filter_map(|list| pod["status"][*list].as_array())
        .flatten()
        .find(|status| status["name"] == container)
        .unwrap_or(NONE)
}

/// What a pod is waited for to be, of one container: a test of its status.
#[must_use]
pub fn container_is(
    what: &str,
    container: &'static str,
    test: impl Fn(&Value) -> bool + Send + Sync + 'static,
) -> Condition {
    Condition::new(format!("has a container {container} that {what}"), move |pod| {
        let status = status_of(pod, container);
        if test(status) {
            return Ok(());
        }
        let state = status.get("state").map_or_else(|| pod["status"].to_string(), Value::to_string);
        Err(format!("restarts {}, ready {}, state {state}", status["restartCount"], status["ready"]))
    })
}

impl Ctx {
    /// The node that is under test: the one that the user named, else the first that runs pods.
    ///
    /// # Errors
    /// [`Stop::Undetermined`] if there is none.
    pub async fn node(&self) -> Result<String, Stop> {
        if let Some(node) = &self.target().node {
            return Ok(node.clone());
        }
        let none = || Stop::Undetermined("no node is Ready and runs pods; --node NAME names one".to_owned());
        self.workers().await?.into_iter().next().ok_or_else(none)
    }

    /// The reference of a pod in the act's namespace.
    #[must_use]
    pub fn pod(&self, name: &str) -> Ref {
        Ref::new("v1", "Pod", self.namespace(), name)
    }

    /// Tries to create a pod on the node that is under test.
    ///
    /// # Errors
    /// [`Stop::Undetermined`] if the API does not answer.
    pub async fn try_put(&self, pod: &Pod) -> Result<Attempt, Stop> {
        let account = Ref::new("v1", "ServiceAccount", self.namespace(), "default");
        self.until(&account, &Condition::new("exists", |_| Ok(())), PATIENCE).await?;
        let node = self.node().await?;
        self.try_create(pod.object(&node, &self.target().image)).await
    }

    /// Creates a pod on the node that is under test.
    ///
    /// # Errors
    /// [`Stop::Undetermined`] if it is refused.
    pub async fn put(&self, pod: &Pod) -> Result<Value, Stop> {
        let refused = |why| Stop::Undetermined(super::objects::in_the_way(&format!("create Pod {}", pod.name), &why));
        self.try_put(pod).await?.map_err(refused)
    }

    /// Creates a pod and waits until it is Ready.
    ///
    /// # Errors
    /// [`Stop::Breached`] with what it was last, and its last event.
    pub async fn ready(&self, pod: &Pod) -> Result<Value, Stop> {
        self.put(pod).await?;
        self.until_pod(&pod.name, &Condition::is("Ready"), PATIENCE).await
    }

    /// Creates a pod and waits until all its containers run.
    ///
    /// # Errors
    /// [`Stop::Breached`] with what it was last, and its last event.
    pub async fn running(&self, pod: &Pod) -> Result<Value, Stop> {
        self.put(pod).await?;
        self.until_pod(&pod.name, &Condition::field("/status/phase", "Running"), PATIENCE).await
    }

    /// Waits until a pod meets a condition; what it was last comes with its last event.
    ///
    /// # Errors
    /// [`Stop::Breached`] if it does not in time.
    pub async fn until_pod(&self, name: &str, condition: &Condition, patience: Duration) -> Result<Value, Stop> {
        match self.until(&self.pod(name), condition, patience).await {
            Err(Stop::Breached(mut findings)) => {
                if let Some(finding) = findings.first_mut() {
                    finding.message += &self.last_event(name).await;
                }
                Err(Stop::Breached(findings))
            }
            other => other,
        }
    }

    /// Waits until all containers of a pod have ended for good; the pod as it is then.
    ///
    /// # Errors
    /// [`Stop::Breached`] if they have not in time.
    pub async fn ended(&self, name: &str) -> Result<Value, Stop> {
        let phase = |phase: &'static str| Condition::field("/status/phase", phase);
        self.until_pod(name, &phase("Succeeded").or(phase("Failed")), PATIENCE).await
    }

    /// Creates a pod, waits until it has ended well, and reads what `main` printed.
    ///
    /// # Errors
    /// [`Stop::Breached`] if it fails, with what it printed.
    pub async fn output(&self, pod: &Pod) -> Result<String, Stop> {
        self.put(pod).await?;
        let ended = self.ended(&pod.name).await?;
        let text = self.logs(&pod.name, "main").await?;
        if ended["status"]["phase"] != "Succeeded" {
            let state = &status_of(&ended, "main")["state"];
            let message = format!("the pod {} failed: {state}; it printed: {}", pod.name, text.trim_end());
            return Err(Stop::breach(&pod.name, message));
        }
        Ok(text)
    }

    /// What a container printed.
    ///
    /// # Errors
    /// [`Stop::Breached`] if the node does not give the log.
    pub async fn logs(&self, pod: &str, container: &str) -> Result<String, Stop> {
        let path = format!("{}/log?container={container}", self.pod(pod).path());
        let refused = |why| Stop::breach(pod, format!("the log of {container} in {pod} cannot be read: {why}"));
        self.text(Method::GET, &path).await?.map_err(refused)
    }

    /// Waits until a container has printed a line that begins so.
    ///
    /// # Errors
    /// [`Stop::Breached`] with what it printed, if it does not in time.
    pub async fn until_printed(&self, pod: &str, container: &str, start: &str) -> Result<String, Stop> {
        self.until_logged(pod, &format!("container={container}"), start).await
    }

    /// Waits until a log has a line that begins so; `query` says which log. The runtime writes what a container printed
    /// a moment after the container printed it, or ended.
    ///
    /// # Errors
    /// [`Stop::Breached`] with what is in it, if it does not have it in time.
    pub async fn until_logged(&self, pod: &str, query: &str, start: &str) -> Result<String, Stop> {
        self.step(format!("wait until the log of {pod} ({query}) has '{start}'"));
        let end = tokio::time::Instant::now() + PATIENCE;
        let mut seen = String::new();
        while tokio::time::Instant::now() < end {
            // A log that is not there yet is none.
            let path = format!("{}/log?{query}", self.pod(pod).path());
            match self.text(Method::GET, &path).await? {
                Ok(text) => seen = text,
                Err(why) => seen = why.to_string(),
            }
            if let Some(line) = seen.lines().find(|line| line.starts_with(start)) {
                return Ok(line.to_owned());
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        Err(Stop::breach(pod, format!("{pod}: no line '{start}' within {PATIENCE:?}; it printed: {}", seen.trim_end())))
    }

    /// The claim does not hold for a thing unless what it printed has this line.
    pub fn line(&self, subject: &str, printed: &str, wanted: &str) {
        if !printed.lines().any(|line| line == wanted) {
            self.breach(subject, format!("{subject}: no line '{wanted}' in what it printed: {}", printed.trim_end()));
        }
    }

    /// The claim does not hold for a thing unless what it printed has this text.
    pub fn prints(&self, subject: &str, printed: &str, wanted: &str) {
        if !printed.contains(wanted) {
            self.breach(subject, format!("{subject}: no '{wanted}' in what it printed: {}", printed.trim_end()));
        }
    }

    /// Waits until there is an event of a pod with a reason and a part of its message; the message.
    ///
    /// # Errors
    /// [`Stop::Breached`] with the events that there are.
    pub async fn until_event(&self, pod: &str, reason: &str, part: &str) -> Result<String, Stop> {
        self.step(format!("wait for an event {reason} of {pod}"));
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let place = Ref { namespace: Some(self.namespace().to_owned()), ..Ref::all("v1", "Event") };
            let events = self.list(&place).await?;
            let of = || events.iter().filter(|event| event["involvedObject"]["name"] == pod);
            let text = |event: &Value, name: &str| event[name].as_str().unwrap_or_default().to_owned();
            let found = of().find(|event| event["reason"] == reason && text(event, "message").contains(part));
            if let Some(event) = found {
                return Ok(text(event, "message"));
            }
            if tokio::time::Instant::now() > end {
                let seen: Vec<_> = of().map(|event| text(event, "reason") + ": " + &text(event, "message")).collect();
                let why = format!("{pod}: no event {reason} with '{part}'; there are: {}", seen.join("; "));
                return Err(Stop::breach(pod, why));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_built_from_parts() {
        let pod = Pod::new("a", "id").spec(json!({ "hostNetwork": true })).main(json!({ "tty": true }));
        let pod = pod.volume("v", "/v", json!({ "emptyDir": {} })).init(json!({ "name": "i", "image": "other" }));
        let object = pod.object("n", "ours");
        let spec = &object["spec"];
        assert_eq!((&spec["nodeName"], &spec["containers"][0]["image"]), (&json!("n"), &json!("ours")));
        assert_eq!(spec["initContainers"][0]["image"], "other");
        assert_eq!(spec["containers"][0]["volumeMounts"], json!([{ "name": "v", "mountPath": "/v" }]));
        assert_eq!(spec["volumes"], json!([{ "name": "v", "emptyDir": {} }]));
        assert_eq!(spec["hostNetwork"], true);
    }
}
