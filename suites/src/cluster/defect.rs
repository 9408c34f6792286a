//! Defects that are put into clusters on purpose, to see that the acts which name them fail.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{Method, Request};
use serde_json::Value;

use super::{ClusterNeed, Ctx, Ref, Stop, Target};

type Put = fn(Arc<Target>) -> BoxFuture<'static, Result<(), String>>;

/// What breaks a cluster of ours so that certain acts must fail.
#[derive(Clone, Copy)]
pub struct Defect {
    /// The name that acts give in [`super::Act::caught_by`].
    pub name: &'static str,
    /// What it is, in a sentence.
    pub about: &'static str,
    /// Changes the cluster before it is raised.
    pub need: fn(&mut ClusterNeed),
    /// Changes the cluster when it is up.
    pub put: Put,
}

impl std::fmt::Debug for Defect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Defect").field("name", &self.name).field("about", &self.about).finish_non_exhaustive()
    }
}

impl Defect {
    /// A cluster that is raised otherwise than it is asked for.
    #[must_use]
    pub const fn raised(name: &'static str, about: &'static str, need: fn(&mut ClusterNeed)) -> Self {
        Self { name, about, need, put: |_| Box::pin(async { Ok(()) }) }
    }

    /// A cluster that is broken when it is up.
    #[must_use]
    pub const fn put(name: &'static str, about: &'static str, put: Put) -> Self {
        Self { name, about, need: |_| {}, put }
    }
}

impl Target {
    /// Runs a command on each host whose name begins with `hosts`; for defects.
    ///
    /// # Errors
    /// If the cluster is not ours, or a command fails: which one, and what it said.
    pub async fn on_hosts(&self, hosts: &str, command: &[&str]) -> Result<(), String> {
        self.outputs(hosts, command).await.map(drop)
    }

    async fn outputs(&self, hosts: &str, command: &[&str]) -> Result<Vec<(String, String)>, String> {
        let ours = self.ours.as_ref().ok_or("the hosts of this cluster cannot be entered")?;
        let status = ours.status().await.map_err(|error| error.to_string())?;
        let all = status["hosts"].as_array().cloned().unwrap_or_default();
        let mut outputs = Vec::new();
        for host in all.iter().filter_map(|host| host["name"].as_str()).filter(|name| name.starts_with(hosts)) {
            let output = ours.exec(host, command).await.map_err(|error| error.to_string())?;
            if !output.status.success() {
                let why = String::from_utf8_lossy(&output.stderr).into_owned();
                return Err(format!("{} on {host}: {} {why}", command.join(" "), output.status));
            }
            outputs.push((host.to_owned(), String::from_utf8_lossy(&output.stdout).into_owned()));
        }
        if outputs.is_empty() { Err(format!("no host is called {hosts}…")) } else { Ok(outputs) }
    }

    /// Puts a fault on the cluster, by the words of `seaworthy cluster fault`; for defects.
    ///
    /// # Errors
    /// If the cluster is not ours, or the fault is refused.
    pub async fn fault(&self, words: &[&str]) -> Result<(), String> {
        let ours = self.ours.as_ref().ok_or("no fault can be put on this cluster")?;
        let output = ours.fault(words).await.map_err(|error| error.to_string())?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    }

    /// Creates objects; for defects.
    ///
    /// # Errors
    /// If one is refused.
    pub async fn create_objects(&self, objects: Vec<Value>) -> Result<(), String> {
        for object in objects {
            self.send(Method::POST, &Ref::of(&object, "default").collection(), &object).await?;
        }
        Ok(())
    }

    /// Sends an object to a path of the API; for defects.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn post(&self, path: &str, object: &Value) -> Result<Value, String> {
        self.send(Method::POST, path, object).await
    }

    /// Creates objects, given as a JSON array; for defects.
    ///
    /// # Errors
    /// If one is refused.
    pub async fn apply_defect(&self, objects: &str) -> Result<(), String> {
        self.create_objects(serde_json::from_str(objects).map_err(|error| error.to_string())?).await
    }

    /// Changes an object by a merge patch; for defects.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn patch_object(&self, path: &str, patch: &Value) -> Result<(), String> {
        self.send(Method::PATCH, path, patch).await.map(drop)
    }

    /// Reads an object; for defects.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn read_object(&self, path: &str) -> Result<Value, String> {
        self.send(Method::GET, path, &Value::Null).await
    }

    /// Waits until a dry run of an object is refused: a policy takes a moment until it holds. For defects.
    ///
    /// # Errors
    /// If it is still accepted after a minute.
    pub async fn until_refused(&self, path: &str, object: &Value) -> Result<(), String> {
        let end = tokio::time::Instant::now() + Duration::from_mins(1);
        while self.send(Method::POST, &format!("{path}?dryRun=All"), object).await.is_ok() {
            if tokio::time::Instant::now() > end {
                return Err(format!("{path}: what a policy ought to refuse is accepted"));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    /// Waits until a Deployment runs as it is specified; for defects.
    ///
    /// # Errors
    /// If it does not within two minutes.
    pub async fn rolled_out(&self, path: &str) -> Result<(), String> {
        let end = tokio::time::Instant::now() + Duration::from_mins(2);
        loop {
            let object = self.read_object(path).await?;
            let (status, wanted) = (&object["status"], &object["spec"]["replicas"]);
            if status["observedGeneration"] == object["metadata"]["generation"]
                && ["updatedReplicas", "readyReplicas", "replicas"].iter().all(|field| status[*field] == *wanted)
            {
                return Ok(());
            }
            if tokio::time::Instant::now() > end {
                return Err(format!("{path} is not rolled out: {status}"));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn send(&self, method: Method, path: &str, body: &Value) -> Result<Value, String> {
        let kind = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = Request::builder().method(method).uri(path).header("content-type", kind).body(bytes);
        let request = request.map_err(|error| error.to_string())?;
        self.client.request(request).await.map_err(|error| format!("{path}: {error}"))
    }
}

impl Ctx {
    /// Runs a command on each host whose name begins with `hosts`; what it printed, by host.
    ///
    /// # Errors
    /// [`Stop::Undetermined`] if hosts cannot be entered, or the command fails.
    pub async fn run_on_hosts(&self, hosts: &str, command: &[&str]) -> Result<Vec<(String, String)>, Stop> {
        self.step(format!("run on {hosts}*: {}", command.join(" ")));
        self.target().outputs(hosts, command).await.map_err(Stop::Undetermined)
    }

    /// Reads a file on each host whose name begins with `hosts`.
    ///
    /// # Errors
    /// [`Stop::Undetermined`] if hosts cannot be entered, or the file cannot be read.
    pub async fn read_on_hosts(&self, hosts: &str, path: &str) -> Result<Vec<(String, String)>, Stop> {
        self.run_on_hosts(hosts, &["cat", path]).await
    }
}
