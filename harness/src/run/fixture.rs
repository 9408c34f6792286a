//! Clusters for acts: raised by a child `seaworthy cluster up`, and taken down by `seaworthy cluster down`.
//!
//! The process boundary is there because the engine enters namespaces before a thread starts, and so that a crash of
//! one is not a crash of the other.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use seaworthy_suites::cluster::{ClusterNeed, Defect, Ours, Target};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::cluster::EngineOptions;
use crate::progress::Progress;

/// How many of the last lines of a child's errors are shown.
const LINES: usize = 20;

/// How clusters are raised.
pub(super) struct Yard<'a> {
    pub(super) engine: &'a EngineOptions,
    pub(super) progress: &'a Progress,
    pub(super) cancel: CancellationToken,
    pub(super) defect: Option<Defect>,
}

impl Yard<'_> {
    /// Raises a cluster, connects to it, and breaks it if that is asked for.
    pub(super) async fn raise(&self, need: &ClusterNeed, name: &str) -> Result<Target, String> {
        let program = std::env::current_exe().map_err(|error| format!("where am I? {error}"))?;
        let mut raised = need.clone();
        if let Some(defect) = &self.defect {
            (defect.need)(&mut raised);
        }
        let kubeconfig = self.up(&program, &raised.spec(name).to_string()).await?;
        let mut target = Target::connect(&kubeconfig, None).await.map_err(|error| error.to_string())?;
        need.slug.clone_into(&mut target.name);
        (target.families, target.disruption) = (need.families, true);
        target.ours = Some(Ours { program, name: name.to_owned() });
        if let Some(defect) = &self.defect {
            let target = Arc::new(target);
            (defect.put)(target.clone()).await.map_err(|why| format!("the defect {}: {why}", defect.name))?;
            return Arc::try_unwrap(target).map_err(|_| format!("the defect {} goes on", defect.name));
        }
        Ok(target)
    }

    /// Runs `cluster up` with a specification; the kubeconfig of the cluster.
    async fn up(&self, program: &PathBuf, spec: &str) -> Result<PathBuf, String> {
        let mut command = Command::new(program);
        command.args(["cluster", "up", "/dev/stdin", "--output", "json"]);
        for (flag, value) in [("--bin-dir", &self.engine.bin_dir), ("--cache", &self.engine.cache)] {
            if let Some(path) = value {
                command.arg(flag).arg(path);
            }
        }
        if let Some(mirror) = &self.engine.mirror {
            command.arg("--mirror").arg(mirror);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own: Ctrl-C is for us, and we end the child.
        command.process_group(0).kill_on_drop(true);
        let failed = |error: std::io::Error| format!("{} cluster up: {error}", program.display());
        let mut child = command.spawn().map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(spec.as_bytes()).await.map_err(failed)?;
        }
        let mut errors = child.stderr.take();
        let errors = tokio::spawn(async move {
            let mut text = String::new();
            if let Some(stderr) = &mut errors {
                stderr.read_to_string(&mut text).await.ok();
            }
            text
        });
        let mut kubeconfig = None;
        if let Some(stdout) = child.stdout.take() {
            let mut lines = BufReader::new(stdout).lines();
            loop {
                let line = tokio::select! {
                    line = lines.next_line() => line.map_err(failed)?,
                    () = self.cancel.cancelled() => {
                        child.start_kill().ok();
                        child.wait().await.ok();
                        return Err("interrupted while the cluster came up".to_owned());
                    }
                };
                let Some(line) = line else { break };
                let event: Value = serde_json::from_str(&line).unwrap_or_default();
                match event["event"].as_str() {
                    Some("begins") => {
                        let phase = event["phase"].as_str().unwrap_or_default();
                        self.progress.show_phase(format!("raising a cluster: {phase}"));
                    }
                    Some("up") => kubeconfig = event["kubeconfig"].as_str().map(PathBuf::from),
                    _ => {}
                }
            }
        }
        let status = child.wait().await.map_err(failed)?;
        let errors = errors.await.unwrap_or_default();
        match kubeconfig {
            Some(kubeconfig) if status.success() => Ok(kubeconfig),
            _ => {
                let lines: Vec<_> = errors.lines().collect();
                Err(lines[lines.len().saturating_sub(LINES)..].join("\n"))
            }
        }
    }

    /// Takes a cluster down; why it could not be.
    pub(super) async fn down(&self, name: &str) -> Result<(), String> {
        let program = std::env::current_exe().map_err(|error| format!("where am I? {error}"))?;
        let mut command = Command::new(program);
        command.args(["cluster", "down", name]).stdin(Stdio::null()).process_group(0);
        let output = command.output().await.map_err(|error| error.to_string())?;
        // One of which nothing was begun is gone already.
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() || output.status.code() == Some(2) { Ok(()) } else { Err(errors) }
    }
}
