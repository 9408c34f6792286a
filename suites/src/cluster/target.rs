//! The cluster that acts run on: one of ours, or one that the user named by kubeconfig.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Request;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::OnceCell;

use super::{Families, Hook, RUN_LABEL};

/// How long one request may take to connect, and how long the server may keep silent.
const CONNECT: Duration = Duration::from_secs(5);
const READ: Duration = Duration::from_secs(60);

/// What is known of a cluster before an act runs on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterFacts {
    /// The uid of the namespace kube-system, which identifies a cluster.
    pub uid: String,
    /// The API server's version, as it says it: `v1.37.2`.
    pub version: String,
    /// Its minor.
    pub minor: u32,
    /// The IP families of its Services.
    pub families: Families,
    /// How many nodes are Ready, schedulable and run pods of their own kubelet.
    pub workers: usize,
    /// The names of all nodes.
    pub nodes: Vec<String>,
}

/// A cluster of our engine: its hosts can be entered, and faults put on them.
#[derive(Debug, Clone)]
pub struct Ours {
    /// The program `seaworthy`.
    pub program: PathBuf,
    /// The cluster's name.
    pub name: String,
}

impl Ours {
    /// Runs a command on a host. Its exit code and output are in the answer.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub async fn exec(&self, host: &str, command: &[&str]) -> std::io::Result<Output> {
        let words = ["exec", "--name", self.name.as_str(), host, "--"];
        self.call(&[&words[..], command].concat()).await
    }

    /// Puts a fault on the cluster, lists or undoes faults: the words of `seaworthy cluster fault`.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub async fn fault(&self, words: &[&str]) -> std::io::Result<Output> {
        self.call(&[&["fault", "--name", self.name.as_str()], words].concat()).await
    }

    /// The last lines of a component's log on a host.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub async fn log(&self, host: &str, component: &str, tail: usize) -> std::io::Result<String> {
        let tail = tail.to_string();
        let output = self.call(&["logs", "--name", &self.name, host, component, "--tail", &tail]).await?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What `seaworthy cluster status` says, as JSON.
    ///
    /// # Errors
    /// If the program cannot be started, or says something else.
    pub async fn status(&self) -> std::io::Result<Value> {
        let output = self.call(&["status", &self.name, "-o", "json"]).await?;
        serde_json::from_slice(&output.stdout).map_err(Into::into)
    }

    async fn call(&self, words: &[&str]) -> std::io::Result<Output> {
        let mut command = Command::new(&self.program);
        command.arg("cluster").args(words).stdin(Stdio::null()).kill_on_drop(true);
        command.output().await
    }
}

/// A cluster that acts run on.
pub struct Target {
    /// The subject's name in reports.
    pub name: String,
    /// The kubeconfig.
    pub kubeconfig: PathBuf,
    /// The context of the kubeconfig; without, its current one.
    pub context: Option<String>,
    /// What is known of it.
    pub facts: ClusterFacts,
    /// The IP families that it is meant to have: of a cluster of ours those that were asked for.
    pub families: Families,
    /// The engine's handle, if the cluster is one of ours.
    pub ours: Option<Ours>,
    /// What breaks parts of a cluster that is not ours.
    pub hook: Option<Hook>,
    /// How long a load balancer that is not ours takes to drop a silent API server.
    pub balancer_drops: Duration,
    /// May acts disturb it?
    pub disruption: bool,
    /// The image of workloads.
    pub image: String,
    /// The node that is under test, where the user names one.
    pub node: Option<String>,
    /// Is that node this machine, so that the kubelet's files are ours?
    pub is_local: bool,
    pub(crate) client: kube::Client,
    pub(super) stands: Stands,
}

/// What acts of one theme share on a cluster, by its type.
pub(super) type Stands = Mutex<HashMap<TypeId, Arc<OnceCell<Stand>>>>;
type Stand = Result<Arc<dyn Any + Send + Sync>, String>;

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("name", &self.name).field("facts", &self.facts).finish_non_exhaustive()
    }
}

/// Why acts cannot run on a cluster at all.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The kubeconfig leads nowhere.
    #[error("kubeconfig {path}: {why}")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The API server does not answer, or refuses what every act needs.
    #[error("{path}: the cluster cannot be asked ({asked}): {why}")]
    Refused {
        /// The kubeconfig.
        path: PathBuf,
        /// What was asked.
        asked: &'static str,
        /// The answer.
        why: String,
    },
}

/// The image of workloads on clusters of ours, whose registry has it.
#[must_use]
pub fn own_image() -> String {
    format!("registry.seaworthy.dev/workload:{}", env!("CARGO_PKG_VERSION"))
}

impl Target {
    /// Connects to a cluster and learns what acts need to know of it. Without a context, the current one counts.
    ///
    /// # Errors
    /// [`TargetError`] with the file, what was asked, and the answer.
    pub async fn connect(path: &Path, context: Option<&str>) -> Result<Self, TargetError> {
        let bad = |why: String| TargetError::Kubeconfig { path: path.to_owned(), why };
        // Fails only if a provider is installed already, which is then this one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let config = Kubeconfig::read_from(path).map_err(|error| bad(error.to_string()))?;
        let shown = context.map(str::to_owned).or_else(|| config.current_context.clone());
        let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
        let config = kube::Config::from_custom_kubeconfig(config, &options).await;
        let mut config = config.map_err(|error| bad(error.to_string()))?;
        config.proxy_url = None;
        config.connect_timeout = Some(CONNECT);
        config.read_timeout = Some(READ);
        config.reset_reader_on_write = true;
        let client = kube::Client::try_from(config).map_err(|error| bad(error.to_string()))?;
        let facts =
            facts(&client).await.map_err(|(asked, why)| TargetError::Refused { path: path.to_owned(), asked, why })?;
        Ok(Self {
            name: shown.unwrap_or_else(|| "cluster".to_owned()),
            kubeconfig: path.to_owned(),
            context: context.map(str::to_owned),
            families: facts.families,
            facts,
            ours: None,
            hook: None,
            balancer_drops: Duration::ZERO,
            disruption: false,
            image: own_image(),
            node: None,
            is_local: false,
            client,
            stands: Mutex::default(),
        })
    }
}

impl Target {
    /// Do its acts share nothing so far?
    pub(super) fn is_bare(&self) -> bool {
        self.stands.lock().unwrap_or_else(std::sync::PoisonError::into_inner).is_empty()
    }
}

type Refused = (&'static str, String);

async fn facts(client: &kube::Client) -> Result<ClusterFacts, Refused> {
    let version = get(client, "its version", "/version").await?;
    let system = get(client, "the namespace kube-system", "/api/v1/namespaces/kube-system").await?;
    let nodes = get(client, "its nodes", "/api/v1/nodes?limit=5000").await?;
    let nodes = nodes["items"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let minor = text(&version["minor"]);
    let digits: String = minor.chars().take_while(char::is_ascii_digit).collect();
    Ok(ClusterFacts {
        uid: text(&system["metadata"]["uid"]),
        version: text(&version["gitVersion"]),
        minor: digits.parse().map_err(|_| ("its version", format!("the minor '{minor}' is no number")))?,
        families: families(client).await?,
        workers: nodes.iter().filter(|node| runs_pods(node)).count(),
        nodes: nodes.iter().map(|node| text(&node["metadata"]["name"])).collect(),
    })
}

async fn get(client: &kube::Client, asked: &'static str, path: &str) -> Result<Value, Refused> {
    let request = Request::get(path).body(Vec::new()).map_err(|error| (asked, error.to_string()))?;
    client.request(request).await.map_err(|error| (asked, error.to_string()))
}

/// Those that a Service gets which prefers two: the API server knows them best.
async fn families(client: &kube::Client) -> Result<Families, Refused> {
    let asked = "its IP families: a server-side dry run of a Service";
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "generateName": "seaworthy-", "labels": { RUN_LABEL: "families" } },
        "spec": { "ipFamilyPolicy": "PreferDualStack", "ports": [{ "port": 80 }] },
    });
    let request = Request::post("/api/v1/namespaces/default/services?dryRun=All");
    let request = request.header("content-type", "application/json").body(service.to_string().into_bytes());
    let request = request.map_err(|error| (asked, error.to_string()))?;
    let made: Value = client.request(request).await.map_err(|error| (asked, error.to_string()))?;
    let names: Vec<_> = made["spec"]["ipFamilies"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    // Before 1.20 a Service has no such field: it is of one family, that of its address.
    let names = match names[..] {
        [] if made["spec"]["clusterIP"].as_str().is_some_and(|ip| ip.contains(':')) => vec!["IPv6"],
        [] => vec!["IPv4"],
        _ => names,
    };
    Families::of(&names).ok_or_else(|| (asked, format!("ipFamilies is {names:?}")))
}

/// Is a node Ready and schedulable, without a taint that keeps ordinary pods away, and real?
pub(super) fn runs_pods(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array();
    let ready = conditions.into_iter().flatten().any(|one| one["type"] == "Ready" && one["status"] == "True");
    let taints = node["spec"]["taints"].as_array();
    let tainted = taints.into_iter().flatten().any(|one| one["effect"] != "PreferNoSchedule");
    let simulated = node["metadata"]["labels"].get("seaworthy.dev/simulated").is_some()
        || node["metadata"]["annotations"].get("kwok.x-k8s.io/node").is_some();
    ready && !tainted && !simulated && node["spec"]["unschedulable"] != true
}
