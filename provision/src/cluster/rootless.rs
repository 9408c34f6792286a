//! Clusters of an ordinary user: in a user namespace of their own, where the user is root.
//!
//! Only root may make the other namespaces, so the [`Keeper`] is born first: a process that leaves the user and the
//! network namespace of whoever starts it. Its network namespace plays the machine's part: the switch's uplink ends
//! there. Its one socket was bound before it left, so it listens on the machine's loopback and hands every connection
//! on to the API servers. Whoever works on the cluster [enters](Keeper::enter) these namespaces, and does from there
//! what root does.
//!
//! The user namespace lasts for as long as anything runs in it: a keeper that was killed is born again into that of its
//! hosts.

use std::fs::File;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;

use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{ForkResult, fork};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::folder::{Cluster, ClusterError, Clusters};
use super::plan::Role;
use crate::host::{HostError, Process, announce, detached};

/// The first argument that makes this program a keeper; the second one is the cluster's folder.
const ARGUMENT: &str = "__keeper";
/// Files of a cluster's folder.
const FILE: &str = "keeper.json";
const LOG: &str = "keeper.log";
const KUBECONFIG: &str = "admin.conf";
/// A name that every API server has a certificate for (kubeadm's `GetAPIServerAltNames`).
pub(super) const SERVER_NAME: &str = "kubernetes";
/// What keeps ordinary users from having user namespaces: each setting, the value that does, and the one that does not.
const SETTINGS: [(&str, &str, &str); 3] = [
    ("user.max_user_namespaces", "0", "10000"),
    ("kernel.unprivileged_userns_clone", "0", "1"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
];

/// Why an ordinary user's cluster has no namespaces to be in.
#[derive(Debug, thiserror::Error)]
pub enum RootlessError {
    /// Something that needs root was asked for.
    #[error("kubelets need root: run this as root, or ask for control planes only, as processes (workers: 0)")]
    Kubelets,
    /// The keeper did not come to life.
    #[error("the namespaces of cluster '{cluster}' cannot be made: {why}")]
    Birth {
        /// The cluster.
        cluster: String,
        /// The last that it said.
        why: String,
    },
    /// Its namespaces cannot be entered.
    #[error("the namespaces that process {pid} keeps cannot be entered: {source}")]
    Enter {
        /// The keeper.
        pid: i32,
        /// What the system said.
        source: io::Error,
    },
    /// A file of it cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the file system said.
        source: io::Error,
    },
}

/// The process that keeps an ordinary user's cluster its namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keeper {
    process: Process,
    /// Where it listens on the machine, for the API servers.
    address: SocketAddr,
}

impl Keeper {
    /// That of a cluster, alive or not; `None` for a cluster of root's.
    #[must_use]
    pub(super) fn of(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(folder.join(FILE)).ok()?).ok()
    }

    /// That of a cluster, brought to life if it is not alive.
    fn start(cluster: &Cluster) -> Result<Self, ClusterError> {
        let _lock = cluster.lock()?;
        let alive = || Self::of(&cluster.folder).filter(|keeper| keeper.process.is_alive());
        if let Some(keeper) = alive() {
            return Ok(keeper);
        }
        let path = cluster.folder.join(LOG);
        let birth = |why: String| RootlessError::Birth { cluster: cluster.name().to_owned(), why };
        let log =
            File::create(&path).map_err(|source| RootlessError::File { path: path.display().to_string(), source })?;
        let lives = detached(ARGUMENT, &cluster.folder, log).map_err(|error| birth(error.to_string()))?;
        Ok(alive().filter(|_| lives).ok_or_else(|| {
            let log = std::fs::read_to_string(&path).unwrap_or_default();
            birth(log.lines().last().unwrap_or("it ended at once").to_owned())
        })?)
    }

    /// Where the API servers are reached from the machine.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes this process root in the user namespace of a cluster, whose keeper is brought to life if it is not alive.
    /// No thread may have been started yet (setns(2)).
    ///
    /// # Errors
    /// [`RootlessError`] with what keeps it from living, or from being entered; [`ClusterError::Busy`] if somebody is
    /// at work on the cluster.
    pub fn enter(cluster: &Cluster) -> Result<Self, ClusterError> {
        loop {
            let keeper = Self::start(cluster)?;
            match keeper.join("user", CloneFlags::CLONE_NEWUSER) {
                Ok(()) => return Ok(keeper),
                // One that was killed is there for a moment without its namespaces.
                Err(RootlessError::Enter { source, .. }) if source.kind() == io::ErrorKind::NotFound => keeper.end()?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Has this thread, and those that it starts from now on, see the cluster's network. Comes after
    /// [`enter`](Self::enter).
    ///
    /// # Errors
    /// [`RootlessError::Enter`] with what the system said.
    pub fn enter_network(&self) -> Result<(), RootlessError> {
        self.join("net", CloneFlags::CLONE_NEWNET)
    }

    fn join(&self, name: &str, kind: CloneFlags) -> Result<(), RootlessError> {
        join(self.process, name, kind).map_err(|source| RootlessError::Enter { pid: self.process.pid, source })
    }

    /// Ends it.
    pub(super) fn end(self) -> Result<(), HostError> {
        let pid = self.process.pid;
        self.process.end().then_some(()).ok_or_else(|| HostError::Undead { host: "of namespaces".to_owned(), pid })
    }
}

impl Cluster {
    /// Its keeper, alive or not; `None` if it is a cluster of root's.
    #[must_use]
    pub fn keeper(&self) -> Option<Keeper> {
        Keeper::of(&self.folder)
    }

    /// The kubeconfig of its administrator, for use on this machine.
    #[must_use]
    pub fn admin_kubeconfig(&self) -> std::path::PathBuf {
        let own = self.folder.join(KUBECONFIG);
        if self.keeper().is_some() || own.exists() {
            return own;
        }
        self.host_folder(&self.plan.first().name).join("kubernetes/admin.conf")
    }

    /// Writes the kubeconfig for the machine: that of the cluster's administrator, who finds the API servers at this
    /// address and wants a certificate for this name.
    pub(super) fn write_kubeconfig(&self, address: SocketAddr, name: &str) -> Result<(), RootlessError> {
        let inside = self.host_folder(&self.plan.first().name).join("kubernetes/admin.conf");
        let file = |path: &Path| {
            let path = path.display().to_string();
            move |source| RootlessError::File { path, source }
        };
        let text = std::fs::read_to_string(&inside).map_err(file(&inside))?;
        let mut document: Value =
            serde_saphyr::from_str(&text).map_err(|_| file(&inside)(io::Error::other("it is no kubeconfig")))?;
        if let Some(server) = document.pointer_mut("/clusters/0/cluster").and_then(Value::as_object_mut) {
            server.insert("server".to_owned(), format!("https://{address}").into());
            server.insert("tls-server-name".to_owned(), name.into());
        }
        let path = self.folder.join(KUBECONFIG);
        crate::whole::write(&path, crate::node::yaml(&document), 0o600).map_err(file(&path))
    }
}

fn join(process: Process, name: &str, kind: CloneFlags) -> io::Result<()> {
    let namespace = File::open(format!("/proc/{}/ns/{name}", process.pid))?;
    if !process.is_alive() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "it has ended"));
    }
    Ok(setns(namespace, kind)?)
}

/// If the arguments make this program a keeper: is it until it is killed. Must be called before the program starts a
/// thread.
#[must_use]
pub(crate) fn keeper_main(arguments: &[std::ffi::OsString]) -> Option<ExitCode> {
    let [_, argument, folder] = arguments else { return None };
    if argument != ARGUMENT {
        return None;
    }
    let ended = keep(Path::new(folder));
    if let Err(why) = &ended {
        // Standard error is its log.
        writeln!(io::stderr(), "{why}").ok();
    }
    Some(ExitCode::from(u8::from(ended.is_err())))
}

fn keep(folder: &Path) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let (all, name) = (folder.parent(), folder.file_name().and_then(|name| name.to_str()));
    let (Some(all), Some(name)) = (all, name) else { return Err("the folder of a cluster is wanted".to_owned()) };
    let cluster = Clusters::at(all).open(name).map_err(|error| text(&error))?;
    // The address that kubeconfigs have, if there was a keeper before.
    let address = cluster.keeper().map_or((Ipv4Addr::LOCALHOST, 0).into(), |before| before.address);
    let listener = TcpListener::bind(address).map_err(|error| format!("listening on {address}: {error}"))?;
    let address = listener.local_addr().map_err(|error| text(&error))?;
    // SAFETY: this process has one thread, so the child may do anything.
    if let ForkResult::Parent { .. } = unsafe { fork() }.map_err(|error| text(&error))? {
        return Ok(());
    }
    leave(&cluster).map_err(|error| refused(&error, |name| std::fs::read_to_string(name).ok()))?;
    let process = Process::of(std::process::id().cast_signed()).ok_or("this process is not there")?;
    let keeper = serde_json::to_vec(&Keeper { process, address }).map_err(|error| text(&error))?;
    std::fs::write(folder.join(FILE), keeper).map_err(|error| text(&error))?;
    announce().map_err(|error| text(&error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let served = runtime.and_then(|runtime| runtime.block_on(forward(listener, servers(&cluster)?)));
    served.map_err(|error| text(&error))
}

/// Leaves the machine's user and network namespaces.
fn leave(cluster: &Cluster) -> io::Result<()> {
    let hosts = cluster.plan.hosts.iter().filter_map(|host| cluster.host(&host.name).ok()?.process());
    match hosts.into_iter().next() {
        Some(host) => join(host, "user", CloneFlags::CLONE_NEWUSER)?,
        None => {
            let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
            unshare(CloneFlags::CLONE_NEWUSER)?;
            // In this order: who could drop groups could read what is kept from them (user_namespaces(7)).
            std::fs::write("/proc/self/setgroups", "deny")?;
            std::fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
            std::fs::write("/proc/self/gid_map", format!("0 {group} 1"))?;
        }
    }
    Ok(unshare(CloneFlags::CLONE_NEWNET)?)
}

/// Why there is no user namespace, with the setting that has it so.
fn refused(error: &io::Error, read: impl Fn(&str) -> Option<String>) -> String {
    let bars = |(name, bad, _): &&(&str, &str, &str)| {
        read(&format!("/proc/sys/{}", name.replace('.', "/"))).is_some_and(|value| value.trim() == *bad)
    };
    match SETTINGS.iter().find(bars) {
        Some((name, bad, good)) => {
            format!(
                "{error}: ordinary users may have no user namespaces here, because {name} is {bad}; as root: sysctl -w \
                 {name}={good}"
            )
        }
        None => {
            format!("{error}: this process may have no user namespace; in a container, its seccomp profile says so")
        }
    }
}

/// Where the API servers are in the cluster's network: behind one address, or each by itself.
fn servers(cluster: &Cluster) -> io::Result<Vec<SocketAddr>> {
    let configuration = cluster.plan.spec.configuration().map_err(io::Error::other)?;
    let port = configuration.bind_port();
    let named = configuration.cluster.control_plane_endpoint.as_deref();
    let entrance = named.and_then(|named| crate::kubeadm::parse::host_port(named).ok()?.1).unwrap_or(port);
    Ok(match cluster.plan.endpoint(entrance).and_then(|one| one.parse().ok()) {
        Some(endpoint) => vec![endpoint],
        None => cluster.plan.of(Role::ControlPlane).map(|host| SocketAddr::new(host.address(), port)).collect(),
    })
}

/// Hands every connection on to the first of the servers that takes it.
async fn forward(listener: TcpListener, servers: Vec<SocketAddr>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let Ok((mut near, _)) = listener.accept().await else {
            // Out of descriptors, mostly: some connection has to end first.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let servers = servers.clone();
        tokio::spawn(async move {
            if let Ok(mut far) = tokio::net::TcpStream::connect(&servers[..]).await {
                // Whichever side breaks off, both ends are closed.
                tokio::io::copy_bidirectional(&mut near, &mut far).await.ok();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_that_bars_user_namespaces_is_named() {
        let error = io::Error::from(nix::errno::Errno::EPERM);
        for (name, bad, good) in SETTINGS {
            let path = format!("/proc/sys/{}", name.replace('.', "/"));
            let why = refused(&error, |asked| (asked == path).then(|| format!("{bad}\n")));
            assert!(
                why.contains(&format!("{name} is {bad}")) && why.ends_with(&format!("sysctl -w {name}={good}")),
                "{why}"
            );
            let fine = refused(&error, |asked| (asked == path).then(|| format!("{good}\n")));
            assert!(!fine.contains("sysctl"), "{fine}");
        }
    }
}
