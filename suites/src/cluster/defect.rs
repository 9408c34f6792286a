//! Defects that are put into clusters on purpose, to see that the acts which name them fail.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::Request;
use serde_json::Value;

use super::{ClusterNeed, Ref, Target};

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
        let ours = self.ours.as_ref().ok_or("the hosts of this cluster cannot be entered")?;
        let status = ours.status().await.map_err(|error| error.to_string())?;
        let all = status["hosts"].as_array().cloned().unwrap_or_default();
        for host in all.iter().filter_map(|host| host["name"].as_str()).filter(|name| name.starts_with(hosts)) {
            let output = ours.exec(host, command).await.map_err(|error| error.to_string())?;
            if !output.status.success() {
                let why = String::from_utf8_lossy(&output.stderr).into_owned();
                return Err(format!("{} on {host}: {} {why}", command.join(" "), output.status));
            }
        }
        Ok(())
    }

    /// Sends an object to a path of the API; for defects.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn post(&self, path: &str, object: &Value) -> Result<Value, String> {
        let request = Request::post(path).header("content-type", "application/json");
        let request = request.body(object.to_string().into_bytes()).map_err(|error| error.to_string())?;
        self.client.request::<Value>(request).await.map_err(|error| format!("{path}: {error}"))
    }

    /// Creates objects, given as a JSON array; for defects.
    ///
    /// # Errors
    /// If one is refused.
    pub async fn apply_defect(&self, objects: &str) -> Result<(), String> {
        let objects: Vec<Value> = serde_json::from_str(objects).map_err(|error| error.to_string())?;
        for object in objects {
            let path = Ref::of(&object, "default").collection();
            self.post(&path, &object).await?;
        }
        Ok(())
    }
}
