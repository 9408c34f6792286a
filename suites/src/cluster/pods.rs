//! Pods of our own image: servers that say who they are, and clients that dial from where they run.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::{Condition, Ctx, Ref, Stop};

/// How long a pod may take to become Ready: the kubelet pulls nothing, but it may be busy.
const READY: Duration = Duration::from_secs(90);

/// A pod that runs our workload.
#[derive(Debug, Clone)]
pub struct PodSpec {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Vec<(&'static str, String)>,
    /// The node; `None` leaves it to the scheduler.
    pub node: Option<String>,
    /// Is it in the network of its node? Then its ports must be free there.
    pub host_network: bool,
    /// The port of HTTP and UDP.
    pub port: u16,
    /// Environment variables of the container.
    pub env: Vec<Value>,
    /// Further fields of `spec`, merged into it.
    pub more: Value,
}

impl PodSpec {
    /// A server on port 8080 with a label `app` of its name.
    #[must_use]
    pub fn server(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            labels: vec![("app", name.to_owned())],
            node: None,
            host_network: false,
            port: 8080,
            env: Vec::new(),
            more: json!({}),
        }
    }

    /// On this node.
    #[must_use]
    pub fn on(mut self, node: &str) -> Self {
        self.node = Some(node.to_owned());
        self
    }

    /// With this label.
    #[must_use]
    pub fn label(mut self, key: &'static str, value: &str) -> Self {
        self.labels.retain(|(known, _)| *known != key);
        self.labels.push((key, value.to_owned()));
        self
    }

    /// In the network of its node, on this port.
    #[must_use]
    pub fn host_network(mut self, port: u16) -> Self {
        (self.host_network, self.port) = (true, port);
        self
    }

    /// With further fields of `spec`.
    #[must_use]
    pub fn with(mut self, more: Value) -> Self {
        self.more = more;
        self
    }

    /// With these environment variables, as `env` of the container has them.
    #[must_use]
    pub fn env(mut self, variables: Vec<Value>) -> Self {
        self.env = variables;
        self
    }

    fn object(&self, image: &str) -> Value {
        let port = self.port.to_string();
        let mut spec = json!({
            "containers": [{
                "name": "workload", "image": image,
                "args": ["serve", "--http", port, "--udp", port],
                "env": self.env,
                "readinessProbe": { "httpGet": { "path": "/readyz", "port": self.port }, "periodSeconds": 1 },
            }],
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": false,
            "hostNetwork": self.host_network,
        });
        if let Some(node) = &self.node {
            // By affinity, so that the scheduler still looks whether it fits.
            spec["affinity"] = json!({ "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    { "matchFields": [{ "key": "metadata.name", "operator": "In", "values": [node] }] },
                ],
            } } });
        }
        for (key, value) in self.more.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        let labels: serde_json::Map<_, _> =
            self.labels.iter().map(|(key, value)| ((*key).to_owned(), value.as_str().into())).collect();
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": self.name, "labels": labels }, "spec": spec })
    }
}

/// What a pod got that dialed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialed {
    /// The answer, or how it failed: `refused`, `timed-out`, …, with the reason.
    pub body: Result<String, String>,
    /// The client's own address, as its socket has it.
    pub local: String,
}

impl Ctx {
    /// The nodes that run pods: Ready, schedulable, without taints that keep pods away.
    ///
    /// # Errors
    /// [`Stop::Undetermined`] if nodes cannot be listed.
    pub async fn workers(&self) -> Result<Vec<String>, Stop> {
        let nodes = self.list(&Ref::all("v1", "Node")).await?;
        let able = nodes.iter().filter(|node| super::target::runs_pods(node));
        Ok(able.filter_map(|node| node["metadata"]["name"].as_str().map(str::to_owned)).collect())
    }

    /// Creates pods and waits until all are Ready; returns them as they are then.
    ///
    /// # Errors
    /// [`Stop::Breached`] with what a pod waits for, if it does not become Ready.
    pub async fn start(&self, specs: &[PodSpec]) -> Result<Vec<Value>, Stop> {
        self.until(
            &Ref::new("v1", "ServiceAccount", self.namespace(), "default"),
            &Condition::new("exists", |_| Ok(())),
            READY,
        )
        .await?;
        for spec in specs {
            self.create(spec.object(&self.target().image)).await?;
        }
        let mut pods = Vec::new();
        for spec in specs {
            let place = Ref::new("v1", "Pod", self.namespace(), &spec.name);
            match self.until(&place, &Condition::is("Ready"), READY).await {
                Ok(pod) => pods.push(pod),
                Err(Stop::Breached(mut findings)) => {
                    if let Some(finding) = findings.first_mut() {
                        finding.message += &self.last_event(&spec.name).await;
                    }
                    return Err(Stop::Breached(findings));
                }
                Err(stop) => return Err(stop),
            }
        }
        Ok(pods)
    }

    /// The last event of a pod, in words; empty if there is none.
    pub(super) async fn last_event(&self, pod: &str) -> String {
        let place = Ref { namespace: Some(self.namespace().to_owned()), ..Ref::all("v1", "Event") };
        let events = self.list(&place).await.unwrap_or_default();
        let last = events.iter().rev().find(|event| event["involvedObject"]["name"] == pod);
        last.map(|event| {
            let part = |name: &str| event[name].as_str().unwrap_or_default();
            format!("; last event: {} {}", part("reason"), part("message"))
        })
        .unwrap_or_default()
    }

    /// Has a pod of ours get a URL.
    ///
    /// # Errors
    /// [`Stop::Undetermined`] if the pod cannot be asked through the API server.
    pub async fn dial(&self, client: &PodSpec, url: &str) -> Result<Dialed, Stop> {
        self.ask(client, "dial", &[("url", url)]).await.map(dialed)
    }

    /// Has a pod of ours send a datagram, and wait for the one that comes back.
    ///
    /// # Errors
    /// [`Stop::Undetermined`] if the pod cannot be asked through the API server.
    pub async fn dial_udp(&self, client: &PodSpec, to: &str, text: &str) -> Result<Dialed, Stop> {
        self.ask(client, "dial", &[("udp", to), ("text", text)]).await.map(dialed)
    }

    /// Makes a pod of ours ready or not, as its readiness probe sees it.
    ///
    /// # Errors
    /// [`Stop::Undetermined`] if the pod cannot be asked through the API server.
    pub async fn make_ready(&self, pod: &PodSpec, ready: bool) -> Result<(), Stop> {
        let (namespace, name, port) = (self.namespace(), &pod.name, pod.port);
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy/readyz?ready={ready}");
        let answer = self.text(Method::POST, &path).await?;
        answer
            .map(drop)
            .map_err(|why| Stop::Undetermined(format!("the API server does not reach the pod {name}: {why}")))
    }

    /// The environment of a pod of ours.
    ///
    /// # Errors
    /// [`Stop::Undetermined`] if the pod cannot be asked through the API server.
    pub async fn environment(&self, client: &PodSpec) -> Result<Value, Stop> {
        self.ask(client, "env", &[]).await
    }

    /// Has a pod of ours look up a name; the data of the records, or how it failed.
    ///
    /// # Errors
    /// [`Stop::Undetermined`] if the pod cannot be asked through the API server.
    pub async fn look_up(&self, client: &PodSpec, name: &str, kind: &str) -> Result<Result<Vec<String>, String>, Stop> {
        let answer = self.ask(client, "dns", &[("name", name), ("type", kind)]).await?;
        Ok(match answer["error"].as_str() {
            Some(how) => Err(format!("{how}: {}", answer["why"].as_str().unwrap_or_default())),
            None => {
                let records = answer["records"].as_array().cloned().unwrap_or_default();
                let data = records.iter().filter(|one| one["type"] == kind).filter_map(|one| one["data"].as_str());
                Ok(data.map(str::to_owned).collect())
            }
        })
    }

    /// The domain of the cluster's DNS, such as `cluster.local`, as a pod finds it by its search list.
    ///
    /// # Errors
    /// [`Stop::Breached`] if kubernetes.default.svc is not found.
    pub async fn dns_domain(&self, client: &PodSpec) -> Result<String, Stop> {
        let name = "kubernetes.default.svc";
        let kind = if self.target().families.names()[0] == "IPv4" { "A" } else { "AAAA" };
        let found = self.eventually(READY, || async {
            let answer = self.ask(client, "dns", &[("name", name), ("type", kind)]).await?;
            let record = answer["records"][0]["name"].as_str().unwrap_or_default();
            let domain = record.trim_end_matches('.').strip_prefix(name);
            Ok(domain.map(|rest| rest.trim_start_matches('.').to_owned()).ok_or_else(|| answer.to_string()))
        });
        found.await?.map_err(|why| Stop::breach(name, format!("{name} is not found: {why}")))
    }

    /// Asks the server in a pod, by the API server's proxy, and reads JSON.
    async fn ask(&self, client: &PodSpec, what: &str, query: &[(&str, &str)]) -> Result<Value, Stop> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let (namespace, name, port) = (self.namespace(), &client.name, client.port);
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy/{what}?{query}");
        let refused = |why| Stop::Undetermined(format!("the API server does not reach the pod {name}: {why}"));
        let text = self.text(Method::GET, &path).await?.map_err(|why| refused(why.to_string()))?;
        serde_json::from_str(&text).map_err(|error| refused(format!("{error}: {text}")))
    }
}

fn dialed(answer: Value) -> Dialed {
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    let body = match answer["error"].as_str() {
        Some(how) => Err(format!("{how}: {}", text("why"))),
        None => Ok(text("body")),
    };
    Dialed { body, local: text("local") }
}
