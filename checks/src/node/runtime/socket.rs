//! The sockets of runtimes: which are there, what they answer, and which is the one of the kubelet.

use std::sync::Arc;

use serde_json::Value;

use crate::effective::{Origin, containerd, kubelet};
use crate::fact::Fact;
use crate::host::{CriCall, FileKind, Host, Query};
use crate::profile::{Profile, Runtime};

/// A socket that is known, and how the runtime behind it is restarted.
pub(super) struct Row {
    pub path: &'static str,
    pub runtime: Runtime,
    /// Does kubeadm look for it (`defaultKnownCRISockets`)?
    pub kubeadm: bool,
    pub restart: &'static str,
    pub log: &'static str,
}

const fn row(path: &'static str, runtime: Runtime, kubeadm: bool, restart: &'static str, log: &'static str) -> Row {
    Row { path, runtime, kubeadm, restart, log }
}

const CONTAINERD: [&str; 2] = ["systemctl restart containerd", "journalctl -u containerd -n 50"];

/// The sockets that kubeadm looks for, and those of other installers.
pub(super) const SOCKETS: [Row; 8] = [
    row(containerd::SOCKET, Runtime::Containerd, true, CONTAINERD[0], CONTAINERD[1]),
    row("/run/crio/crio.sock", Runtime::Crio, true, "systemctl restart crio", "journalctl -u crio -n 50"),
    row(
        "/run/cri-dockerd.sock",
        Runtime::Docker,
        true,
        "systemctl restart docker cri-docker",
        "journalctl -u docker -u cri-docker -n 50",
    ),
    row(
        "/run/k3s/containerd/containerd.sock",
        Runtime::Containerd,
        false,
        "systemctl restart 'k3s*' 'rke2*'",
        "tail -n 50 /var/lib/rancher/*/agent/containerd/containerd.log",
    ),
    row(
        "/var/snap/microk8s/common/run/containerd.sock",
        Runtime::Containerd,
        false,
        "snap restart microk8s.daemon-containerd",
        "journalctl -u snap.microk8s.daemon-containerd -n 50",
    ),
    row(
        "/run/k0s/containerd.sock",
        Runtime::Containerd,
        false,
        "systemctl restart 'k0s*'",
        "journalctl -u 'k0s*' -n 50",
    ),
    row(
        "/run/docker/containerd/containerd.sock",
        Runtime::Docker,
        false,
        "systemctl restart docker",
        "journalctl -u docker -n 50",
    ),
    row("/run/dockershim.sock", Runtime::Docker, false, "systemctl restart docker", "journalctl -u docker -n 50"),
];

/// A runtime's socket and what it answers.
#[derive(Debug)]
pub struct Socket {
    /// The path.
    pub path: String,
    /// Links that lead to it.
    pub aliases: Vec<String>,
    /// The runtime that it is of.
    pub runtime: Runtime,
    /// Name, version and API version of the runtime, over CRI v1.
    pub version: Fact<Arc<Value>>,
    /// The same over v1alpha2, asked only where v1 is not implemented.
    pub alpha: Fact<Arc<Value>>,
    /// Conditions and verbose information.
    pub status: Fact<Arc<Value>>,
    /// The cgroup driver that it tells the kubelet.
    pub config: Fact<Arc<Value>>,
}

impl Socket {
    /// Is this the socket, or a link to it?
    #[must_use]
    pub fn is(&self, path: &str) -> bool {
        let path = containerd::plain(path);
        self.path == path || self.aliases.contains(&path)
    }

    /// Does it answer the CRI?
    #[must_use]
    pub fn answers(&self) -> bool {
        self.version.known().is_some() || self.alpha.known().is_some()
    }

    /// Does a process accept connections on it? kubeadm counts no other.
    #[must_use]
    pub fn accepts(&self) -> bool {
        !matches!(&self.version, Fact::Unreadable(why) if why.contains("the socket is stale"))
    }

    /// What is known of sockets of this path.
    pub(super) fn row(&self) -> Option<&'static Row> {
        SOCKETS.iter().find(|row| row.path == self.path)
    }

    fn ask(host: &dyn Host, path: &str, runtime: Runtime) -> Self {
        let ask = |call| host.value(&Query::Cri { socket: path.to_owned(), call });
        let version = ask(CriCall::Version);
        let alpha = match &version {
            Fact::Unreadable(why) if why.contains("not implemented") => ask(CriCall::VersionV1alpha2),
            _ => Fact::NotGathered("CRI v1 answered, or nothing did".to_owned()),
        };
        let answers = version.known().is_some();
        let ask = |call| {
            if answers { ask(call) } else { Fact::NotGathered(format!("{path} does not answer CRI v1")) }
        };
        let (status, config) = (ask(CriCall::Status), ask(CriCall::RuntimeConfig));
        Self { path: path.to_owned(), aliases: Vec::new(), runtime, version, alpha, status, config }
    }
}

/// The socket that the kubelet's flags or its file name, and who names it. A default of the kubelet names none.
pub(super) fn endpoint(host: &dyn Host) -> Option<(String, Origin)> {
    let sources = kubelet::Sources::read(host);
    let kubelet = sources.known()?.settle(*kubelet::tables::RELEASES.end());
    if let Some(flag) = kubelet.flag("container-runtime-endpoint") {
        return Some((containerd::plain(&flag.value), flag.origin()));
    }
    let setting = kubelet.get(&["containerRuntimeEndpoint"])?;
    let path = setting.value.as_str().filter(|path| !path.is_empty())?;
    (!matches!(setting.origin, Origin::Default(_))).then(|| (containerd::plain(path), setting.origin.clone()))
}

/// The sockets that are there, those that kubeadm looks for first.
pub(super) fn read(host: &dyn Host, endpoint: Option<&str>) -> Fact<Vec<Socket>> {
    let mut found: Vec<Socket> = Vec::new();
    let mut links = Vec::new();
    let mut blind = None;
    let unlisted = endpoint.filter(|path| SOCKETS.iter().all(|row| row.path != *path)).map(|path| {
        let runtime = match path {
            path if path.contains("crio") => Runtime::Crio,
            path if path.contains("docker") => Runtime::Docker,
            _ => Runtime::Containerd,
        };
        (path, runtime)
    });
    for (path, runtime) in SOCKETS.iter().map(|row| (row.path, row.runtime)).chain(unlisted) {
        match host.stat(path) {
            Fact::Known(stat) if stat.kind == FileKind::Socket => match host.link(path) {
                Fact::Known(target) => links.push((path, runtime, target)),
                _ => found.push(Socket::ask(host, path, runtime)),
            },
            Fact::Known(_) | Fact::Absent(_) => {}
            Fact::Unreadable(why) | Fact::Malformed(why) => return Fact::Unreadable(why),
            // An older recording has only those that kubeadm looks for.
            Fact::NotGathered(why) if SOCKETS.iter().any(|row| row.kubeadm && row.path == path) => {
                blind = blind.or(Some(why));
            }
            Fact::NotGathered(_) => {}
        }
    }
    for (path, runtime, target) in links {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let target = if target.starts_with('/') { target } else { format!("{folder}/{target}") };
        match found.iter_mut().find(|socket| socket.is(&target)) {
            Some(socket) => socket.aliases.push(path.to_owned()),
            None => found.push(Socket::ask(host, path, runtime)),
        }
    }
    match blind {
        Some(why) if found.is_empty() => Fact::NotGathered(why),
        _ => Fact::Known(found),
    }
}

/// The socket that a node is judged by: that of the profile's runtime, the one that the kubelet is configured with, the
/// first that answers, the first.
pub(super) fn choose<'s>(
    sockets: &'s [Socket],
    endpoint: Option<&str>,
    profile: Option<&Profile>,
) -> Option<&'s Socket> {
    let wanted = profile.and_then(|profile| profile.runtime);
    let candidates = || sockets.iter().filter(|socket| wanted.is_none_or(|wanted| socket.runtime == wanted));
    if let Some(endpoint) = endpoint {
        if let Some(socket) = candidates().find(|socket| socket.is(endpoint)) {
            return Some(socket);
        }
        // Another runtime than the kubelet's is of no use, unless the profile asks for it.
        wanted?;
    }
    candidates().find(|socket| socket.answers()).or_else(|| candidates().next())
}
