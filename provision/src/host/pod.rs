//! Static pods of a host, by the files that its kubelet and its containerd leave: where the manifest is, which
//! container runs, how one ended, what it said. No API server is asked, since it may be the one that does not come up.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::unit::Exit;
use crate::whole;

/// Where a kubelet looks for manifests (kubeadm's `staticPodPath`).
pub const MANIFESTS: &str = "/etc/kubernetes/manifests";
/// Where containerd's CRI plug-in keeps what is known of each container, in all versions from 1.6 to 2.x.
const CONTAINERS: &str = "lib/containerd/io.containerd.grpc.v1.cri/containers";

/// A pod that is in a file of the host rather than in the API, and is run by the host's kubelet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaticPod {
    /// The file.
    pub manifest: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name as the API has it: with the node's behind it.
    pub name: String,
    /// The container that is looked at.
    pub container: String,
}

/// A container, alive or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Container {
    /// Its number at containerd.
    pub(super) id: String,
    /// How many there were of this pod before it.
    pub(super) attempt: u32,
    /// Its process, numbered as in the host, while it runs.
    pub(super) pid: Option<i32>,
    /// How it ended.
    pub(super) exit: Option<Exit>,
}

/// What containerd writes down of a container (`internal/cri/store/container`, `Status`).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Written {
    pid: i32,
    created_at: i64,
    started_at: i64,
    finished_at: i64,
    exit_code: i32,
}

/// The file of a manifest.
fn file(unit: &str) -> PathBuf {
    Path::new(MANIFESTS).join(format!("{unit}.yaml"))
}

/// Takes a manifest away from the kubelet, which then ends the pod.
pub(super) fn withdraw(unit: &str) -> io::Result<()> {
    match std::fs::remove_file(file(unit)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl StaticPod {
    /// Gives the manifest to the kubelet. One that is there is let be: it may be a later one, as `kubeadm upgrade`
    /// writes it, or one of a member of etcd that joined others, which its flags name.
    pub(super) fn place(&self, unit: &str) -> io::Result<()> {
        let file = file(unit);
        if file.exists() {
            return Ok(());
        }
        // Written elsewhere: the kubelet would read half of it.
        let part = Path::new("/etc/kubernetes").join(format!(".{unit}.yaml"));
        std::fs::create_dir_all(MANIFESTS)?;
        whole::write(&part, &self.manifest, 0o600)?;
        std::fs::rename(part, file)
    }

    /// The newest container. `var` is the host's /var.
    pub(super) fn newest(&self, var: &Path) -> Option<Container> {
        let prefix = format!("{}_{}_{}-", self.name, self.namespace, self.container);
        let links = std::fs::read_dir(var.join("log/containers")).ok()?.flatten();
        let read = |link: std::fs::DirEntry| {
            let name = link.file_name().into_string().ok()?;
            let id = name.strip_prefix(&prefix)?.strip_suffix(".log")?.to_owned();
            let text = std::fs::read(var.join(CONTAINERS).join(&id).join("status")).ok()?;
            let written: Written = serde_json::from_slice(&text).ok()?;
            let attempt = std::fs::read_link(link.path()).ok()?.file_stem()?.to_str()?.parse().ok()?;
            // As a shell has it: what is beyond 128 was a signal.
            let exit = match written.exit_code {
                code @ 129..=192 => Exit::Signal(code - 128),
                code => Exit::Code(code),
            };
            let (ended, began) = (written.finished_at != 0, written.started_at != 0);
            let container = Container {
                attempt,
                pid: (began && !ended).then_some(written.pid).filter(|pid| runs(*pid, &id)),
                exit: ended.then_some(exit),
                id,
            };
            Some((written.created_at, container))
        };
        links.filter_map(read).max_by_key(|(created, _)| *created).map(|(_, container)| container)
    }

    /// What its containers said, the oldest first, without the times that containerd puts in front. `var` is the host's
    /// /var.
    ///
    /// # Errors
    /// If there is no log of it, or one cannot be read.
    pub fn log(&self, var: &Path) -> io::Result<String> {
        let prefix = format!("{}_{}_", self.namespace, self.name);
        let mut files = Vec::new();
        for folder in std::fs::read_dir(var.join("log/pods"))?.flatten() {
            if folder.file_name().to_string_lossy().starts_with(&prefix) {
                let logs = std::fs::read_dir(folder.path().join(&self.container)).into_iter().flatten().flatten();
                files.extend(logs.filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()))));
            }
        }
        files.retain(|(_, path)| path.extension().is_some_and(|extension| extension == "log"));
        files.sort();
        if files.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the kubelet has started no container of it yet"));
        }
        let mut text = String::new();
        for (_, path) in files {
            let bytes = std::fs::read(path)?;
            text.extend(String::from_utf8_lossy(&bytes).lines().map(|line| said(line) + "\n"));
        }
        Ok(text)
    }
}

/// Is this the process of this container? Numbers of processes that are gone are given anew.
fn runs(pid: i32, id: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| text.contains(id))
}

/// What a container said: behind time, stream and tag (Kubernetes' design of CRI logging).
fn said(line: &str) -> String {
    line.splitn(4, ' ').nth(3).unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_container_and_its_log_are_found() {
        let (folder, id) = (tempfile::tempdir().unwrap(), ["a".repeat(64), "b".repeat(64)]);
        let var = folder.path();
        let pod = StaticPod {
            manifest: String::new(),
            namespace: "kube-system".into(),
            name: "etcd-cp1".into(),
            container: "etcd".into(),
        };
        assert_eq!(pod.newest(var), None);
        assert_eq!(pod.log(var).unwrap_err().kind(), io::ErrorKind::NotFound);
        let logs = "log/pods/kube-system_etcd-cp1_0123/etcd";
        for path in [logs, "log/containers"] {
            std::fs::create_dir_all(var.join(path)).unwrap();
        }
        for (attempt, (id, code)) in id.iter().zip([137, 2]).enumerate() {
            let link = var.join(format!("log/containers/etcd-cp1_kube-system_etcd-{id}.log"));
            std::os::unix::fs::symlink(format!("/var/{logs}/{attempt}.log"), link).unwrap();
            let line = format!("2026-11-26T10:47:52.448195643Z stderr F line of {attempt}\n");
            std::fs::write(var.join(logs).join(format!("{attempt}.log")), line).unwrap();
            let status = format!(
                r#"{{"Version":"v1","Pid":1,"CreatedAt":1{attempt},"StartedAt":1,"FinishedAt":2,
"ExitCode":{code},"Reason":""}}"#
            );
            std::fs::create_dir_all(var.join(CONTAINERS).join(id)).unwrap();
            std::fs::write(var.join(CONTAINERS).join(id).join("status"), status).unwrap();
            let exit = Some(if code == 137 { Exit::Signal(9) } else { Exit::Code(code) });
            let container = Container { id: id.clone(), attempt: u32::try_from(attempt).unwrap(), pid: None, exit };
            assert_eq!(pod.newest(var), Some(container));
        }
        assert_eq!(pod.log(var).unwrap(), "line of 0\nline of 1\n");
    }
}
