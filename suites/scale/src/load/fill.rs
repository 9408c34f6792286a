//! Creates and deletes what a run's plan has: namespaces, Services, Deployments and pods.

use futures_util::stream::{self, StreamExt as _};
use seaworthy_simulated::{Call, Client, ClientError, LABEL as SIMULATED, Lane, TAINT};
use serde_json::{Value, json};

use super::Plan;
use super::observer::LABEL;

/// Requests on their way at once while objects are created.
const TOGETHER: usize = 48;
/// Pods of a Deployment: fewer than a Service may have as backends.
const REPLICAS: u32 = 100;
/// How often a request is sent that the API server could not take.
const TRIES: u32 = 8;

/// A run's names and labels.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(crate) run: String,
}

impl Names {
    pub(crate) fn namespace(&self, number: u32) -> String {
        format!("{}-{number:03}", self.run)
    }

    fn labels(&self, app: &str) -> Value {
        json!({ LABEL: self.run, "app": app })
    }

    /// The spec of every pod: on this run's simulated nodes and nowhere else.
    fn pod_spec(&self, containers: u32) -> Value {
        let container = |number: u32| {
            json!({
                "name": format!("c{number}"),
                "image": "registry.k8s.io/pause:3.10",
                "env": [{ "name": "NUMBER", "value": number.to_string() }],
                "resources": { "requests": { "cpu": "10m", "memory": "16Mi" } },
            })
        };
        json!({
            "nodeSelector": { SIMULATED: self.run },
            "tolerations": [{ "key": TAINT, "operator": "Exists" }],
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": 1,
            "containers": (0..containers).map(container).collect::<Vec<_>>(),
        })
    }

    /// A pod by itself.
    pub(crate) fn pod(&self, name: &str, app: &str, containers: u32, node: Option<&str>) -> Value {
        let mut spec = self.pod_spec(containers);
        if let Some(node) = node {
            spec["nodeName"] = node.into();
        }
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "labels": self.labels(app) }, "spec": spec,
        })
    }

    fn deployment(&self, name: &str, replicas: u32, containers: u32) -> Value {
        let labels = self.labels(name);
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": name, "labels": labels },
            "spec": {
                "replicas": replicas, "selector": { "matchLabels": { "app": name } },
                "template": { "metadata": { "labels": labels }, "spec": self.pod_spec(containers) },
            },
        })
    }

    fn service(&self, name: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "labels": self.labels(name) },
            "spec": { "selector": { "app": name }, "ports": [{ "port": 80 }] },
        })
    }
}

/// Sends a request until it is taken: what is refused for load, or lost, is sent again, and what is there already is
/// done.
pub(crate) async fn create(client: &Client, path: &str, object: &Value) -> Result<(), ClientError> {
    let call = Call::post(path, object);
    for tried in 1.. {
        let answer = client.ask(Lane::Work, &call).await.and_then(|reply| {
            let after = reply.retry_after;
            reply.success(&call).map(|_| after)
        });
        match answer {
            Ok(_) => return Ok(()),
            Err(error) if error.code() == Some(409) => return Ok(()),
            Err(error) if error.is_transient() && tried < TRIES => {
                let wait = std::time::Duration::from_millis(100 << tried.min(6));
                tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64())).await;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Namespaces, each with the Services of the Deployments in it.
pub(crate) async fn namespaces(client: &Client, plan: &Plan, names: &Names) -> Result<(), ClientError> {
    let all = (0..plan.namespaces()).map(|number| async move {
        let name = names.namespace(number);
        let object = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": { LABEL: names.run } },
        });
        create(client, "/api/v1/namespaces", &object).await?;
        account(client, &name).await
    });
    stream::iter(all).buffer_unordered(8).fold(Ok(()), |so_far, one| async { so_far.and(one) }).await
}

/// Pods are refused until the namespace has its default ServiceAccount, which a controller makes.
async fn account(client: &Client, namespace: &str) -> Result<(), ClientError> {
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
    let object = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default" } });
    create(client, &path, &object).await
}

/// Deployments with their Services, for the pods that the scheduler places.
pub(crate) async fn deployments(client: &Client, plan: &Plan, names: &Names) -> Result<(), ClientError> {
    let count = plan.scheduled.div_ceil(REPLICAS);
    let all = (0..count).map(|number| async move {
        let namespace = names.namespace(number % plan.namespaces());
        let name = format!("web-{number:05}");
        let replicas = REPLICAS.min(plan.scheduled - number * REPLICAS);
        create(client, &format!("/api/v1/namespaces/{namespace}/services"), &names.service(&name)).await?;
        let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments");
        create(client, &path, &names.deployment(&name, replicas, plan.containers)).await
    });
    stream::iter(all).buffer_unordered(8).fold(Ok(()), |so_far, one| async { so_far.and(one) }).await
}

/// Pods that are created with their node: spread evenly, the rest of each node's room is the scheduler's.
pub(crate) async fn bound(client: &Client, plan: &Plan, names: &Names, nodes: &[String]) -> Result<(), ClientError> {
    let count = plan.pods.saturating_sub(plan.scheduled);
    let all = (0..count).map(|number| async move {
        let namespace = names.namespace(number % plan.namespaces());
        let node = &nodes[number as usize % nodes.len()];
        let pod = names.pod(&format!("bound-{number:06}"), "bound", plan.containers, Some(node));
        create(client, &format!("/api/v1/namespaces/{namespace}/pods"), &pod).await
    });
    stream::iter(all).buffer_unordered(TOGETHER).fold(Ok(()), |so_far, one| async { so_far.and(one) }).await
}

async fn delete(client: &Client, path: &str) -> Result<(), ClientError> {
    let options = json!({ "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background" });
    let call = Call::delete(path, &options);
    match client.ask(Lane::Work, &call).await.and_then(|reply| reply.success(&call)) {
        Err(error) if error.code() != Some(404) => Err(error),
        _ => Ok(()),
    }
}

/// Deletes Deployments, then pods; kubelets end them.
pub(crate) async fn delete_pods(client: &Client, plan: &Plan, names: &Names) -> Result<(), ClientError> {
    let all = (0..plan.namespaces()).map(|number| async move {
        let namespace = names.namespace(number);
        let selector = format!("labelSelector={}%3D{}", LABEL.replace('/', "%2F"), names.run);
        for path in [
            format!("/apis/apps/v1/namespaces/{namespace}/deployments?{selector}"),
            format!("/api/v1/namespaces/{namespace}/pods?{selector}"),
        ] {
            // A collection of thousands takes longer than a request may: what is left is deleted by the next one.
            let mut tried = 1;
            loop {
                match delete(client, &path).await {
                    Err(error) if error.is_transient() && tried < TRIES => {
                        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                        tried += 1;
                    }
                    other => break other?,
                }
            }
        }
        Ok(())
    });
    stream::iter(all).buffer_unordered(4).fold(Ok(()), |so_far, one| async { so_far.and(one) }).await
}

/// Deletes namespaces with what is left in them. The control plane goes on with it by itself.
pub(crate) async fn delete_namespaces(client: &Client, names: &[String]) -> Result<(), ClientError> {
    for name in names {
        delete(client, &format!("/api/v1/namespaces/{name}")).await?;
    }
    Ok(())
}
