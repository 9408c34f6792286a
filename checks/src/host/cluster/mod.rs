//! A cluster, asked through its API with the credentials of a kubeconfig that the user named. It is only read.
//!
//! What the API says is reduced as it arrives (see [`ApiCall`]); a Secret never gets further than its public half.

mod call;
mod config_maps;
pub mod jws;
pub mod kubeconfig;
mod secrets;
mod uses;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use call::ApiCall;
pub use config_maps::{ConfigMaps, Exposed, Material, material};
pub use secrets::{Disorder, Leaf, NoPair, Pairing, Reducer, SecretObject, Signature, TlsSecret, TlsSecrets};
pub use uses::SecretUses;

use super::{Answer, Query, Refusal, RefusalKind, Reply};
use crate::pki::api::target;
use crate::pki::live::Target;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the server may keep us waiting for more of an answer.
const READ: Duration = Duration::from_secs(30);
/// The most objects that are read of one list.
const LIST_LIMIT: usize = 1_000_000;

/// A cluster that can be asked.
pub struct Cluster {
    client: kube::Client,
    runtime: tokio::runtime::Runtime,
    kubeconfig: Value,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

impl Cluster {
    /// Reads a kubeconfig; no connection is made yet. Without a context, its current one counts.
    ///
    /// A plug-in that the kubeconfig names for credentials (`exec`) is run, as kubectl runs it. Proxies are not gone
    /// through: those of the environment are passed over.
    ///
    /// # Errors
    /// If the file cannot be read, is no kubeconfig, lacks the context, the cluster or the user, or names a proxy.
    pub fn open(path: &Path, context: Option<&str>) -> Result<Self, Refusal> {
        let failed = |why: String| Refusal::new(RefusalKind::Failed, format!("kubeconfig {}: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        let facts = kubeconfig::Facts::read(&text, context, path.parent().unwrap_or(Path::new("/")))
            .map_err(|why| failed(why.to_string()))?;
        let kubeconfig = serde_json::to_value(&facts).map_err(|error| failed(error.to_string()))?;
        // Fails only if a provider is installed already, which is then this one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| failed(error.to_string()))?;
        let config = Kubeconfig::read_from(path).map_err(|error| failed(error.to_string()))?;
        let proxies: Vec<_> =
            config.clusters.iter().filter_map(|one| one.cluster.as_ref()?.proxy_url.clone()).collect();
        let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
        let config = super::block_on(&runtime, kube::Config::from_custom_kubeconfig(config, &options));
        let mut config = config.map_err(|error| failed(error.to_string()))?;
        // One that the environment names is not gone through: it may be for other servers (NO_PROXY).
        if let Some(proxy) = config.proxy_url.take()
            && proxies.iter().any(|one| one.parse::<http::Uri>().is_ok_and(|one| one == proxy))
        {
            // Its URL is not shown: a password may be in it.
            let why = "the cluster has a proxy-url, and proxies are not gone through: name a kubeconfig that leads to \
                       the server itself";
            return Err(failed(why.to_owned()));
        }
        config.connect_timeout = Some(CONNECT);
        config.read_timeout = Some(READ);
        config.reset_reader_on_write = true;
        let client = super::block_on(&runtime, async { kube::Client::try_from(config) });
        let client = client.map_err(|error| failed(error.to_string()))?;
        Ok(Self { client, runtime, kubeconfig })
    }

    /// The server that the kubeconfig names; `None` where its URL is not one with https.
    pub(super) fn server(&self) -> Option<Target> {
        target(self.kubeconfig.get("server")?.as_str()?)
    }

    /// Answers the queries that are for a cluster.
    pub(super) fn ask(&self, query: &Query) -> Answer {
        match query {
            Query::Kubeconfig => Ok(self.kubeconfig.clone().into()),
            Query::Api { call: ApiCall::TlsSecrets } => {
                let all = super::block_on(&self.runtime, self.tls_secrets())?;
                Ok(Reply::TlsSecrets(Arc::new(all)))
            }
            Query::Api { call: ApiCall::SecretUses } => {
                let all = super::block_on(&self.runtime, self.secret_uses())?;
                Ok(Reply::SecretUses(Arc::new(all)))
            }
            Query::Configz { node } => super::block_on(&self.runtime, self.configz(node)).map(Reply::from),
            Query::Api { call } => super::block_on(&self.runtime, self.answer(*call)).map(Reply::from),
            _ => Err(Refusal::new(RefusalKind::NotAsked, format!("{query}: a cluster cannot be asked that"))),
        }
    }

    async fn answer(&self, call: ApiCall) -> Result<Value, Refusal> {
        match call {
            ApiCall::Tokens => {
                let info = self.object(ApiCall::ClusterInfo).await.unwrap_or_default();
                let mut tokens = Vec::new();
                self.list(call, |secret: Value| tokens.push(secrets::token(&secret, &info))).await?;
                Ok(tokens.into())
            }
            ApiCall::ConfigMaps => {
                let mut all = ConfigMaps::default();
                self.list(call, |object| all.add(object)).await?;
                serde_json::to_value(all).map_err(|error| odd(call, &error))
            }
            ApiCall::SharedCerts => Ok(secrets::shared_certs(&self.object(call).await?)),
            ApiCall::Metrics => Ok(call::weakened(&self.text(call, call.path()).await?)),
            _ if call.is_list() => {
                let mut rows = Vec::new();
                self.list(call, |object: Value| rows.push(call.reduce(&object))).await?;
                Ok(rows.into())
            }
            _ => Ok(call.reduce(&self.object(call).await?)),
        }
    }

    /// What a kubelet runs with, through the API server's proxy.
    async fn configz(&self, node: &str) -> Result<Value, Refusal> {
        let path = format!("/api/v1/nodes/{}/proxy/configz", escaped(node));
        let text = self.text(ApiCall::Nodes, &path).await?;
        let mut said: Value = serde_json::from_str(&text).map_err(|error| odd(ApiCall::Nodes, &error))?;
        let mut config = said.get_mut("kubeletconfig").map(Value::take).unwrap_or_default();
        if let Some(members) = config.as_object_mut() {
            // Headers may hold a token.
            members.remove("staticPodURLHeader");
        }
        Ok(config)
    }

    async fn tls_secrets(&self) -> Result<TlsSecrets, Refusal> {
        let mut reducer = Reducer::default();
        let take = |text: &str| {
            let page: Page<SecretObject<'_>> = serde_json::from_str(text)?;
            page.items.iter().for_each(|secret| reducer.add(secret));
            Ok((page.items.len(), page.metadata))
        };
        self.pages(ApiCall::TlsSecrets, ApiCall::TlsSecrets.path(), take).await?;
        Ok(reducer.finish())
    }

    /// Which Secrets are named; all lists that there are must be read.
    async fn secret_uses(&self) -> Result<SecretUses, Refusal> {
        let mut uses = SecretUses::default();
        for path in uses::WORKLOADS {
            there(self.list_at(ApiCall::SecretUses, path, |one: uses::Workload| uses.add(&one)).await)?;
        }
        for path in uses::GATEWAYS {
            there(self.list_at(ApiCall::SecretUses, path, |gateway: Value| uses.gateway(&gateway)).await)?;
        }
        Ok(uses)
    }

    async fn object(&self, call: ApiCall) -> Result<Value, Refusal> {
        let text = self.text(call, call.path()).await?;
        serde_json::from_str(&text).map_err(|error| odd(call, &error))
    }

    /// Hands over the objects of a list.
    async fn list<T: DeserializeOwned>(&self, call: ApiCall, each: impl FnMut(T)) -> Result<(), Refusal> {
        self.list_at(call, call.path(), each).await
    }

    async fn list_at<T: DeserializeOwned>(
        &self,
        call: ApiCall,
        path: &str,
        mut each: impl FnMut(T),
    ) -> Result<(), Refusal> {
        let take = |text: &str| {
            let page: Page<T> = serde_json::from_str(text)?;
            let count = page.items.len();
            page.items.into_iter().for_each(&mut each);
            Ok((count, page.metadata))
        };
        self.pages(call, path, take).await
    }

    /// Hands over the pages of a list to `take`, which says how many objects were in one, and what came with them.
    async fn pages(
        &self,
        call: ApiCall,
        path: &str,
        mut take: impl FnMut(&str) -> serde_json::Result<(usize, PageMetadata)>,
    ) -> Result<(), Refusal> {
        let joint = if path.contains('?') { '&' } else { '?' };
        let (mut next, mut count) = (String::new(), 0);
        loop {
            let text = self.text(call, &format!("{path}{joint}limit={}{next}", call.page())).await?;
            let (taken, metadata) = take(&text).map_err(|error| odd(call, &error))?;
            count += taken;
            if metadata.next.is_empty() {
                return Ok(());
            }
            if count >= LIST_LIMIT {
                return Err(Refusal::new(RefusalKind::Failed, format!("{call}: more than {LIST_LIMIT} objects")));
            }
            next = format!("&continue={}", escaped(&metadata.next));
        }
    }

    async fn text(&self, call: ApiCall, path: &str) -> Result<String, Refusal> {
        let failed = |why: String| Refusal::new(RefusalKind::Failed, format!("{call}: {why}"));
        let request = http::Request::get(path).body(Vec::new()).map_err(|error| failed(error.to_string()))?;
        self.client.request_text(request).await.map_err(|error| refusal(call, &error))
    }
}

/// A page of a list.
#[derive(Deserialize)]
struct Page<T> {
    #[serde(default)]
    metadata: PageMetadata,
    #[serde(default = "Vec::new")]
    items: Vec<T>,
}

#[derive(Default, Deserialize)]
struct PageMetadata {
    #[serde(default, rename = "continue")]
    next: String,
}

/// What is not there is an empty list.
fn there(outcome: Result<(), Refusal>) -> Result<(), Refusal> {
    outcome.or_else(|refusal| if refusal.kind == RefusalKind::Absent { Ok(()) } else { Err(refusal) })
}

/// A text as it may stand in the value of a query.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn odd(call: ApiCall, error: &serde_json::Error) -> Refusal {
    Refusal::new(RefusalKind::Failed, format!("{call}: the answer is not what the API is documented to say: {error}"))
}

/// Why the server did not answer; the deepest cause is the one that helps.
fn refusal(call: ApiCall, error: &kube::Error) -> Refusal {
    if let kube::Error::Api(status) = error {
        let kind = match status.code {
            404 => RefusalKind::Absent,
            401 | 403 => RefusalKind::Denied,
            _ => RefusalKind::Failed,
        };
        return Refusal::new(kind, format!("{call}: {} ({})", status.message, status.code));
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    Refusal::new(RefusalKind::Failed, format!("{call}: {cause}"))
}
