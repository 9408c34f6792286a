//! Where clusters are kept: `/var/lib/seaworthy/clusters/NAME`, or below an ordinary user's state folder.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};

use super::plan::{Plan, networks_of, uplink};
use super::rootless::{Keeper, RootlessError};
use super::spec::{BadSpec, ClusterSpec};
use crate::host::{Host, HostError, remove_cgroups, remove_empty_cgroup, remove_folder};
use crate::{network, whole};

/// The cgroup below which those of all clusters are.
const CGROUP: &str = "seaworthy";
/// Files of a cluster's folder.
const SPEC: &str = "cluster.yaml";
const SLOT: &str = "slot";
const HOSTS: &str = "hosts";

/// Why a cluster cannot be made, found or removed.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Its folder cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the file system said.
        source: io::Error,
    },
    /// There is none of this name.
    #[error("there is no cluster '{name}' in {folder}; `seaworthy cluster list` shows those that there are")]
    Missing {
        /// The name.
        name: String,
        /// Where it was looked for.
        folder: String,
    },
    /// It has no host of this name.
    #[error("cluster '{cluster}' has no host '{host}', only {known}")]
    NoHost {
        /// The cluster.
        cluster: String,
        /// The name.
        host: String,
        /// Those that it has.
        known: String,
    },
    /// There is one of this name that is another.
    #[error(
        "there is a cluster '{name}' that differs from what is asked for: take it down first (`seaworthy cluster down \
         {name}`), or give this one another name"
    )]
    Differs {
        /// The name.
        name: String,
    },
    /// Somebody is at work on it.
    #[error("cluster '{name}' is in use: another seaworthy is at work on it")]
    Busy {
        /// The name.
        name: String,
    },
    /// Its specification cannot be met.
    #[error(transparent)]
    Spec(#[from] BadSpec),
    /// A network is not free.
    #[error("{network}, wanted for the hosts, is taken: {by}. Name another one in network.hosts")]
    Taken {
        /// The network.
        network: String,
        /// By what.
        by: String,
    },
    /// All numbers are taken.
    #[error("there are 256 clusters on this machine already")]
    Full,
    /// A host of it.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Its link to the machine.
    #[error(transparent)]
    Network(#[from] network::NetworkError),
    /// Its namespaces, where it is an ordinary user's.
    #[error(transparent)]
    Rootless(#[from] RootlessError),
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> ClusterError {
    let path = path.display().to_string();
    move |source| ClusterError::File { path, source }
}

/// Where clusters are kept.
#[derive(Debug, Clone)]
pub struct Clusters(PathBuf);

impl Clusters {
    /// In this folder, which is made with the first cluster.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// Root's in `/var/lib/seaworthy/clusters`; anybody else's in `$XDG_STATE_HOME/seaworthy/clusters`, or below
    /// `~/.local/state`. `None` where the environment says neither.
    #[must_use]
    pub fn of_user() -> Option<Self> {
        if nix::unistd::geteuid().is_root() {
            return Some(Self("/var/lib/seaworthy/clusters".into()));
        }
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let base = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")))?;
        Some(Self(base.join("seaworthy/clusters")))
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// The names of all clusters, sorted.
    ///
    /// # Errors
    /// [`ClusterError::File`] if the folder cannot be read.
    pub fn names(&self) -> Result<Vec<String>, ClusterError> {
        let entries = match std::fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(file(&self.0))?,
        };
        let folders = entries.flatten().filter(|entry| entry.path().is_dir());
        let mut names: Vec<_> = folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        Ok(names)
    }

    /// Makes a cluster's folder, or opens the one that is there and is asked for with the same specification.
    ///
    /// # Errors
    /// [`ClusterError`] names what is in the way.
    pub fn create(&self, spec: &ClusterSpec) -> Result<Cluster, ClusterError> {
        // What cannot be leaves nothing behind.
        self.draft(spec)?;
        std::fs::create_dir_all(&self.0).map_err(file(&self.0))?;
        // Whoever looks for a free number holds this.
        let lock = self.0.join(".lock");
        let all = File::create(&lock).map_err(file(&lock))?;
        let _all = Flock::lock(all, FlockArg::LockExclusive).map_err(|(_, errno)| file(&lock)(errno.into()))?;
        let folder = self.0.join(&spec.name);
        if folder.join(SPEC).exists() {
            return self.same(spec);
        }
        let slot = self.free_slot(spec)?;
        Plan::new(spec, slot)?;
        std::fs::create_dir_all(folder.join(HOSTS)).map_err(file(&folder))?;
        // What is in it is for its owner only: keys are.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&folder, mode).map_err(file(&folder))?;
        let write =
            |name: &str, text: String| whole::write(&folder.join(name), text, 0o600).map_err(file(&folder.join(name)));
        write(SLOT, slot.to_string())?;
        write(SPEC, crate::node::yaml(&serde_json::to_value(spec).unwrap_or_default()))?;
        self.open(&spec.name)
    }

    /// The cluster that is there, if it is the one that is asked for.
    fn same(&self, spec: &ClusterSpec) -> Result<Cluster, ClusterError> {
        let there = self.open(&spec.name)?;
        if &there.plan.spec == spec { Ok(there) } else { Err(ClusterError::Differs { name: spec.name.clone() }) }
    }

    /// What [`create`](Self::create) would make, without making it.
    ///
    /// # Errors
    /// [`ClusterError`] names what is in the way.
    pub fn draft(&self, spec: &ClusterSpec) -> Result<Cluster, ClusterError> {
        if !nix::unistd::geteuid().is_root() && Plan::new(spec, 0)?.nodes().next().is_some() {
            return Err(RootlessError::Kubelets.into());
        }
        spec.check()?;
        if self.0.join(&spec.name).join(SPEC).exists() {
            return self.same(spec);
        }
        let plan = Plan::new(spec, self.free_slot(spec)?)?;
        Ok(Cluster { folder: self.0.join(&spec.name), plan })
    }

    /// A number that no cluster has, and whose networks nothing on this machine has.
    fn free_slot(&self, spec: &ClusterSpec) -> Result<u8, ClusterError> {
        let used: Vec<u8> = self.names()?.iter().filter_map(|name| slot(&self.0.join(name))).collect();
        let taken = network::taken();
        let meets = |networks: &[ipnet::IpNet]| {
            let meet = |a: &ipnet::IpNet, b: &ipnet::IpNet| a.contains(b) || b.contains(a);
            networks.iter().find_map(|one| Some((*one, *taken.iter().find(|other| meet(one, other))?)))
        };
        if let Some((network, other)) = meets(&spec.network.hosts) {
            return Err(ClusterError::Taken {
                network: network.to_string(),
                by: format!("this machine has a route to {other}"),
            });
        }
        let link = |slot: &u8| Path::new("/sys/class/net").join(uplink(*slot)).exists();
        let free = |slot: &u8| {
            let named = !spec.network.hosts.is_empty();
            !used.contains(slot)
                && !link(slot)
                && (named || meets(&networks_of(*slot, &spec.network.families)).is_none())
        };
        (0..=255).find(free).ok_or(ClusterError::Full)
    }

    /// A cluster that is there.
    ///
    /// # Errors
    /// [`ClusterError::Missing`] if there is none.
    pub fn open(&self, name: &str) -> Result<Cluster, ClusterError> {
        let folder = self.0.join(name);
        let path = folder.join(SPEC);
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ClusterError::Missing { name: name.to_owned(), folder: self.0.display().to_string() });
            }
            text => text.map_err(file(&path))?,
        };
        let spec = ClusterSpec::read(&text)?;
        let slot = slot(&folder).ok_or(ClusterError::Full)?;
        Ok(Cluster { folder, plan: Plan::new(&spec, slot)? })
    }

    /// Removes a cluster by its name, whatever is left of it: also one that was cut off while it was made.
    ///
    /// # Errors
    /// [`ClusterError`] says what is left.
    pub fn remove(&self, name: &str) -> Result<(), ClusterError> {
        let folder = self.0.join(name);
        if !folder.is_dir() {
            return Err(ClusterError::Missing { name: name.to_owned(), folder: self.0.display().to_string() });
        }
        let _lock = lock(&folder, name)?;
        Cluster::stop_timer(&folder);
        let hosts = folder.join(HOSTS);
        let entries = std::fs::read_dir(&hosts).into_iter().flatten().flatten();
        // All at once: none is to be busy with the end of another.
        let found: Vec<Host> = entries.filter_map(|entry| Host::open(&entry.path()).ok()).collect();
        std::thread::scope(|scope| {
            let ends: Vec<_> = found.iter().map(|host| scope.spawn(|| host.kill())).collect();
            ends.into_iter().try_for_each(|end| end.join().unwrap_or(Ok(())))
        })?;
        match Keeper::of(&folder) {
            None => {
                if let Some(slot) = slot(&folder) {
                    network::detach(&uplink(slot))?;
                }
                remove_cgroups(&format!("{CGROUP}/{name}")).map_err(|(path, source)| file(&path)(source))?;
            }
            Some(keeper) => keeper.end()?,
        }
        remove_folder(&folder)?;
        self.tidy()
    }

    /// Removes what all clusters were in, once none is there: the last one's end does, and whoever finds none, since
    /// one may have been cut off before it had a folder of its own.
    ///
    /// # Errors
    /// [`ClusterError::File`] if the folder cannot be read.
    pub fn tidy(&self) -> Result<(), ClusterError> {
        if self.names()?.is_empty() {
            super::limits::lower(&self.0);
            std::fs::remove_file(self.0.join(".lock")).ok();
            std::fs::remove_dir(&self.0).ok();
            self.0.parent().map(std::fs::remove_dir);
            remove_empty_cgroup(CGROUP);
        }
        Ok(())
    }
}

fn slot(folder: &Path) -> Option<u8> {
    std::fs::read_to_string(folder.join(SLOT)).ok()?.trim().parse().ok()
}

/// How long somebody else may hold a cluster before that is an error. Whoever was killed while a host was born holds it
/// through the child that was just forked, until that one executes or sees that it is alone.
const HELD: Duration = Duration::from_secs(3);

fn lock(folder: &Path, name: &str) -> Result<Flock<File>, ClusterError> {
    let path = folder.join("lock");
    let mut unlocked = File::create(&path).map_err(file(&path))?;
    let begun = Instant::now();
    loop {
        match Flock::lock(unlocked, FlockArg::LockExclusiveNonblock) {
            Ok(held) => return Ok(held),
            Err(_) if begun.elapsed() >= HELD => return Err(ClusterError::Busy { name: name.to_owned() }),
            Err((back, _)) => unlocked = back,
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A cluster, up or not.
#[derive(Debug, Clone)]
pub struct Cluster {
    pub(super) folder: PathBuf,
    pub(super) plan: Plan,
}

impl Cluster {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.plan.spec.name
    }

    /// What it is to be.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Has no host of it been made yet?
    #[must_use]
    pub fn is_bare(&self) -> bool {
        std::fs::read_dir(self.folder.join(HOSTS)).is_ok_and(|mut hosts| hosts.next().is_none())
    }

    /// The folder of a host.
    #[must_use]
    pub fn host_folder(&self, host: &str) -> PathBuf {
        self.folder.join(HOSTS).join(host)
    }

    /// The cgroup of a host.
    pub(super) fn cgroup(&self, host: &str) -> String {
        format!("{CGROUP}/{}/{host}", self.name())
    }

    /// A host of it.
    ///
    /// # Errors
    /// [`ClusterError::Host`] if it was not made yet, or there is none of this name.
    pub fn host(&self, name: &str) -> Result<Host, ClusterError> {
        if self.plan.host(name).is_none() {
            let names: Vec<_> = self.plan.hosts.iter().map(|host| host.name.as_str()).collect();
            let (cluster, host) = (self.name().to_owned(), name.to_owned());
            return Err(ClusterError::NoHost { cluster, host, known: names.join(", ") });
        }
        Ok(Host::open(&self.host_folder(name))?)
    }

    /// Holds it for as long as the value lives, so that nobody else changes it.
    ///
    /// # Errors
    /// [`ClusterError::Busy`] if somebody does.
    pub fn lock(&self) -> Result<Flock<File>, ClusterError> {
        lock(&self.folder, self.name())
    }
}
