//! Talking to a cluster's API servers, and to its etcd, with the certificates that the engine issued.

use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::blocking::{Client, Response};
use reqwest::{Certificate, Identity, Method, StatusCode};
use serde_json::{Value, json};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long an API server that does not answer yet is tried again.
const AGAIN: Duration = Duration::from_secs(20);

/// Why the API did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The credentials cannot be used.
    #[error("{path}: {why}")]
    Credentials {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nobody answers.
    #[error("{url} does not answer: {why}")]
    Silent {
        /// Where it was asked.
        url: String,
        /// What the system said.
        why: String,
    },
    /// It refuses.
    #[error("{method} {url}: {status}: {why}")]
    Refused {
        /// What was asked.
        method: String,
        /// Where.
        url: String,
        /// The status.
        status: u16,
        /// The API's own words.
        why: String,
    },
    /// What was waited for did not come.
    #[error("{what} did not come within {after:.1?}: {last}")]
    Waited {
        /// What was waited for.
        what: String,
        /// For how long.
        after: Duration,
        /// How it was last.
        last: String,
    },
}

impl ApiError {
    /// Is the object not there?
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Does another Service have the address that this one asks for, or had one that was never made?
    fn is_address_taken(&self) -> bool {
        matches!(self, Self::Refused { status: 422, why, .. } if why.contains("already allocated"))
    }
}

/// An HTTPS server with a client's credentials: an API server, or a member of etcd.
#[derive(Debug, Clone)]
pub struct Api {
    client: Client,
    server: String,
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(one) = cause {
        text = format!("{text}: {one}");
        cause = one.source();
    }
    text
}

impl Api {
    fn new(server: String, ca: &[u8], identity: Option<&[u8]>, path: &Path) -> Result<Self, ApiError> {
        crate::tls::install();
        let credentials = |why: String| ApiError::Credentials { path: path.display().to_string(), why };
        let ca = Certificate::from_pem_bundle(ca).map_err(|error| credentials(chain(&error)))?;
        let mut builder = Client::builder().no_proxy().timeout(PATIENCE).tls_certs_only(ca);
        if let Some(pem) = identity {
            builder = builder.identity(Identity::from_pem(pem).map_err(|error| credentials(chain(&error)))?);
        }
        let client = builder.build().map_err(|error| credentials(chain(&error)))?;
        Ok(Self { client, server })
    }

    /// As whom a kubeconfig says, at `server`, or where the kubeconfig leads.
    ///
    /// # Errors
    /// [`ApiError::Credentials`] names the file.
    pub fn of_kubeconfig(path: &Path, server: Option<&str>) -> Result<Self, ApiError> {
        let bad = |why: String| ApiError::Credentials { path: path.display().to_string(), why };
        let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
        let document: Value = serde_saphyr::from_str(&text).map_err(|_| bad("it is no kubeconfig".to_owned()))?;
        let field = |pointer: &str| {
            let text = document.pointer(pointer).and_then(Value::as_str);
            text.ok_or_else(|| bad(format!("it has no {pointer}")))
        };
        let bytes =
            |pointer: &str| STANDARD.decode(field(pointer)?).map_err(|_| bad(format!("{pointer} is not base64")));
        let ca = bytes("/clusters/0/cluster/certificate-authority-data")?;
        let mut identity = bytes("/users/0/user/client-certificate-data")?;
        identity.push(b'\n');
        identity.extend(bytes("/users/0/user/client-key-data")?);
        let server =
            server.map_or_else(|| field("/clusters/0/cluster/server").map(str::to_owned), |one| Ok(one.to_owned()))?;
        Self::new(server, &ca, Some(&identity), path)
    }

    /// With files of a PKI: the CA, and certificate and key of a client without their endings.
    ///
    /// # Errors
    /// [`ApiError::Credentials`] names the file.
    pub fn of_files(server: String, ca: &Path, client: &Path) -> Result<Self, ApiError> {
        let read = |path: &Path| {
            let bad = |error: std::io::Error| ApiError::Credentials {
                path: path.display().to_string(),
                why: error.to_string(),
            };
            std::fs::read(path).map_err(bad)
        };
        let (certificate, key) = (client.with_extension("crt"), client.with_extension("key"));
        let identity = [read(&certificate)?, read(&key)?].join(&b'\n');
        Self::new(server, &read(ca)?, Some(&identity), &certificate)
    }

    /// As nobody, believing whoever answers: only for what is verified by other means.
    ///
    /// # Errors
    /// [`ApiError::Credentials`] if no client can be made.
    pub fn unverified(server: String) -> Result<Self, ApiError> {
        crate::tls::install();
        let builder = Client::builder().no_proxy().timeout(PATIENCE).tls_danger_accept_invalid_certs(true);
        let why = |error: reqwest::Error| ApiError::Credentials { path: server.clone(), why: chain(&error) };
        Ok(Self { client: builder.build().map_err(why)?, server })
    }

    /// Where it asks.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    fn send(&self, method: &Method, path: &str, content: &str, body: Option<&Value>) -> Result<Response, ApiError> {
        let url = format!("{}{path}", self.server);
        let begun = Instant::now();
        loop {
            let mut request = self.client.request(method.clone(), &url);
            if let Some(body) = body {
                request = request.header("Content-Type", content).body(body.to_string());
            }
            match request.send() {
                Ok(response) => {
                    let status = response.status();
                    // A server that is only just up refuses for a moment: its rules are not all there.
                    let early = matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
                    if early && begun.elapsed() < AGAIN {
                        std::thread::sleep(Duration::from_millis(50));
                        continue;
                    }
                    if status.is_success() {
                        return Ok(response);
                    }
                    let text = response.text().unwrap_or_default();
                    let why = serde_json::from_str::<Value>(&text).ok();
                    let why = why.and_then(|value| Some(value["message"].as_str()?.to_owned())).unwrap_or(text);
                    return Err(ApiError::Refused { method: method.to_string(), url, status: status.as_u16(), why });
                }
                Err(error) if begun.elapsed() < AGAIN && error.is_connect() => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(error) => return Err(ApiError::Silent { url, why: chain(&error) }),
            }
        }
    }

    fn value(&self, method: &Method, path: &str, content: &str, body: Option<&Value>) -> Result<Value, ApiError> {
        let response = self.send(method, path, content, body)?;
        let url = response.url().to_string();
        let text = response.text().map_err(|error| ApiError::Silent { url: url.clone(), why: chain(&error) })?;
        serde_json::from_str(&text).map_err(|_| ApiError::Silent { url, why: "the answer is no JSON".to_owned() })
    }

    /// What is at a path.
    ///
    /// # Errors
    /// [`ApiError`] says who did not answer, or why it was refused.
    pub fn get(&self, path: &str) -> Result<Value, ApiError> {
        self.value(&Method::GET, path, "", None)
    }

    /// Is there something at a path? Who does not answer in time has nothing yet.
    #[must_use]
    pub fn has(&self, path: &str, patience: Duration) -> bool {
        let answer = self.client.get(format!("{}{path}", self.server)).timeout(patience).send();
        answer.is_ok_and(|response| response.status().is_success())
    }

    /// What is at a path, as text.
    ///
    /// # Errors
    /// [`ApiError`] says who did not answer, or why it was refused.
    pub fn text(&self, path: &str) -> Result<String, ApiError> {
        let response = self.send(&Method::GET, path, "", None)?;
        let url = response.url().to_string();
        response.text().map_err(|error| ApiError::Silent { url, why: chain(&error) })
    }

    /// Posts to a path.
    ///
    /// # Errors
    /// [`ApiError`] says who did not answer, or why it was refused.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, ApiError> {
        self.value(&Method::POST, path, "application/json", Some(body))
    }

    /// Merges a patch into what is at a path (RFC 7386).
    ///
    /// # Errors
    /// [`ApiError`] says who did not answer, or why it was refused.
    pub fn merge(&self, path: &str, patch: &Value) -> Result<Value, ApiError> {
        self.value(&Method::PATCH, path, "application/merge-patch+json", Some(patch))
    }

    /// Removes what is at a path; nothing there is fine.
    ///
    /// # Errors
    /// [`ApiError`] says who did not answer, or why it was refused.
    pub fn delete(&self, path: &str) -> Result<(), ApiError> {
        match self.send(&Method::DELETE, path, "", None) {
            Err(error) if !error.is_missing() => Err(error),
            _ => Ok(()),
        }
    }

    /// Makes an object, or changes the one that is there to be so (server-side apply, KEP-555).
    ///
    /// # Errors
    /// [`ApiError`] says who did not answer, or why it was refused.
    pub fn apply(&self, object: &Value) -> Result<Value, ApiError> {
        let path = format!("{}?fieldManager=seaworthy&force=true", path_of(object));
        self.value(&Method::PATCH, &path, "application/apply-patch+yaml", Some(object))
    }

    /// The same, for as long as the address that a Service asks for is taken. Where the making of that Service was cut
    /// off once, nobody has the address, and the API server's repair loop frees it: after a minute where addresses are
    /// objects (KEP-1880), after three where they are a bitmap.
    ///
    /// # Errors
    /// [`ApiError`] says who did not answer, or why it was refused.
    pub fn apply_when_free(&self, object: &Value, patience: Duration) -> Result<Value, ApiError> {
        let begun = Instant::now();
        loop {
            match self.apply(object) {
                Err(error) if error.is_address_taken() && begun.elapsed() < patience => {
                    std::thread::sleep(Duration::from_millis(500));
                }
                ended => return ended,
            }
        }
    }

    /// Waits until `look` finds what it looks for in what is at a path. An error is "not yet" as well.
    ///
    /// # Errors
    /// [`ApiError::Waited`] with what `look` said last.
    pub fn wait<T>(
        &self,
        what: &str,
        path: &str,
        patience: Duration,
        look: impl Fn(&Value) -> Result<T, String>,
    ) -> Result<T, ApiError> {
        let begun = Instant::now();
        let mut pause = Duration::from_millis(20);
        loop {
            let last = match self.get(path).map(|value| look(&value)) {
                Ok(Ok(found)) => return Ok(found),
                Ok(Err(why)) => why,
                Err(error) => error.to_string(),
            };
            if begun.elapsed() > patience {
                return Err(ApiError::Waited { what: what.to_owned(), after: begun.elapsed(), last });
            }
            std::thread::sleep(pause);
            pause = (pause * 5 / 4).min(Duration::from_millis(300));
        }
    }
}

/// The path of an object by its kind, name and namespace.
#[must_use]
pub fn path_of(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
    let group = if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
    // The plural that the API's own kinds have: Ingress and NetworkPolicy are not plain ones.
    let lower = kind.to_ascii_lowercase();
    let plural = match lower.as_str() {
        one if one.ends_with('s') => format!("{one}es"),
        one if one.ends_with('y') => format!("{}ies", &one[..one.len() - 1]),
        one => format!("{one}s"),
    };
    match text("/metadata/namespace") {
        "" => format!("{group}/{plural}/{name}"),
        namespace => format!("{group}/namespaces/{namespace}/{plural}/{name}"),
    }
}

/// A member of an etcd cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub id: String,
    /// Its name; empty until it has started.
    pub name: String,
    /// Where its peers find it.
    pub peer: String,
    /// Does it only learn so far?
    pub learner: bool,
}

/// etcd's members, through the gRPC gateway of one of them.
impl Api {
    /// All members.
    ///
    /// # Errors
    /// [`ApiError`] says who did not answer, or why it was refused.
    pub fn etcd_members(&self) -> Result<Vec<Member>, ApiError> {
        let answer = self.post("/v3/cluster/member/list", &json!({ "linearizable": true }))?;
        let member = |value: &Value| Member {
            id: value["ID"].as_str().unwrap_or_default().to_owned(),
            name: value["name"].as_str().unwrap_or_default().to_owned(),
            peer: value["peerURLs"][0].as_str().unwrap_or_default().to_owned(),
            learner: value["isLearner"].as_bool().unwrap_or(false),
        };
        Ok(answer["members"].as_array().into_iter().flatten().map(member).collect())
    }

    /// Adds a member that learns.
    ///
    /// # Errors
    /// [`ApiError`] says who did not answer, or why it was refused.
    pub fn etcd_add_learner(&self, peer: &str) -> Result<(), ApiError> {
        self.post("/v3/cluster/member/add", &json!({ "peerURLs": [peer], "isLearner": true })).map(drop)
    }

    /// Has a member that has caught up vote from now on.
    ///
    /// # Errors
    /// [`ApiError::Refused`] with etcd's words, if it has not caught up.
    pub fn etcd_promote(&self, id: &str) -> Result<(), ApiError> {
        self.post("/v3/cluster/member/promote", &json!({ "ID": id })).map(drop)
    }

    /// Removes a member.
    ///
    /// # Errors
    /// [`ApiError`] says who did not answer, or why it was refused.
    pub fn etcd_remove(&self, id: &str) -> Result<(), ApiError> {
        self.post("/v3/cluster/member/remove", &json!({ "ID": id })).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_have_the_paths_of_their_kinds() {
        for (object, path) in [
            (json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}}), "/api/v1/nodes/a"),
            (
                json!({
                    "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
                    "metadata": {"name": "a:b", "namespace": "c"},
                }),
                "/apis/rbac.authorization.k8s.io/v1/namespaces/c/roles/a:b",
            ),
            (
                json!({
                    "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                    "metadata": {"name": "a", "namespace": "c"},
                }),
                "/apis/networking.k8s.io/v1/namespaces/c/networkpolicies/a",
            ),
            (
                json!({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "a"}}),
                "/apis/networking.k8s.io/v1/ingressclasses/a",
            ),
        ] {
            assert_eq!(path_of(&object), path);
        }
    }
}
