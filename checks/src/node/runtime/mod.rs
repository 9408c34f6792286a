//! The container runtime: which one, whether it answers, and how it is set up. The first cause is named.

mod answers;
mod config;
mod driver;
mod network;
mod socket;

use std::collections::BTreeMap;

use crate::check::{Check, Judgment};
use crate::conclusion::{Conclusion, Inconclusive};
use crate::effective::containerd::{self, Containerd, Launch};
use crate::effective::crio::{self, Crio};
use crate::effective::docker::Docker;
use crate::effective::{Cni, Origin};
use crate::fact::Fact;
use crate::host::{CriCall, Host, Query};
use crate::node::View;
use crate::profile::{Profile, Runtime};

pub use driver::CgroupDriver;
pub use socket::Socket;

const RUNTIMES: &str = "https://kubernetes.io/docs/setup/production-environment/container-runtimes/";

/// What is known of the runtime.
#[derive(Debug)]
pub struct Facts {
    /// The sockets that are there.
    pub sockets: Fact<Vec<Socket>>,
    /// The socket that the kubelet is configured with, and who says so. Its default does not count.
    pub endpoint: Option<(String, Origin)>,
    /// What containerd runs with: the one behind the node's socket, else the one that is installed.
    pub containerd: Fact<Containerd>,
    /// How that containerd is started.
    pub launch: Launch,
    /// What CRI-O runs with.
    pub crio: Fact<Crio>,
    /// Where each runtime looks for pod networks, and what is there.
    networks: Vec<(Runtime, Network)>,
    /// Where a program called containerd is.
    installed: Fact<String>,
    /// crictl's configuration.
    pub crictl: Fact<String>,
    surroundings: driver::Surroundings,
}

/// The pod networks of a runtime.
#[derive(Debug)]
struct Network {
    cni: Cni,
    /// Configurations by file name: their text.
    configurations: Fact<BTreeMap<String, Fact<String>>>,
    /// The plug-ins of each folder.
    plugins: Vec<Fact<Vec<String>>>,
}

impl Network {
    fn read(host: &dyn Host, cni: Cni) -> Self {
        let folder = cni.configurations.trim_end_matches('/').to_owned();
        let configurations = host.list(&folder).map(|entries| {
            let wanted = |name: &str| [".conf", ".conflist", ".json"].iter().any(|ending| name.ends_with(ending));
            let files = entries.into_iter().filter(|entry| wanted(&entry.name));
            files.map(|entry| (entry.name.clone(), host.text(&format!("{folder}/{}", entry.name)))).collect()
        });
        let names = |entries: Vec<crate::host::Entry>| entries.into_iter().map(|entry| entry.name).collect();
        let plugins = cni.plugins.iter().map(|folder| host.list(folder).map(names)).collect();
        Self { cni, configurations, plugins }
    }
}

impl Facts {
    pub(super) fn read(host: &dyn Host) -> Self {
        let endpoint = socket::endpoint(host);
        let named = endpoint.as_ref().map(|(path, _)| path.as_str());
        let sockets = socket::read(host, named);
        let known = sockets.known().map(Vec::as_slice).unwrap_or_default();
        let chosen = socket::choose(known, named, None).filter(|socket| socket.runtime == Runtime::Containerd);
        let first = || known.iter().find(|socket| socket.runtime == Runtime::Containerd);
        let path = chosen.or_else(first).map_or(containerd::SOCKET, |socket| socket.path.as_str());
        let launch = Launch::of(host, path);
        let release = containerd::release_of(host, path).unwrap_or_else(|| containerd::assumed(host, &launch));
        let containerd = Containerd::read(host, &launch, release);
        let crio = Crio::read(host, crio::release_of(host).unwrap_or(crio::NEWEST));
        // cri-dockerd's defaults.
        let of_docker = || Cni {
            configurations: "/etc/cni/net.d".to_owned(),
            most: 1,
            plugins: vec!["/opt/cni/bin".to_owned()],
            origin: Origin::Default("cri-dockerd".to_owned()),
        };
        let is_there = |runtime| known.iter().any(|socket| socket.runtime == runtime);
        let mut networks = Vec::new();
        if let Some(it) = containerd.known() {
            networks.push((Runtime::Containerd, Network::read(host, it.cni())));
        }
        if let Some(it) = crio.known().filter(|_| is_there(Runtime::Crio)) {
            networks.push((Runtime::Crio, Network::read(host, it.cni())));
        }
        if is_there(Runtime::Docker) {
            networks.push((Runtime::Docker, Network::read(host, of_docker())));
        }
        let installed = installed(host);
        let crictl = host.text("/etc/crictl.yaml");
        let surroundings = driver::Surroundings::read(host);
        Self { sockets, endpoint, containerd, launch, crio, networks, installed, crictl, surroundings }
    }

    /// The node's socket: that of the profile's runtime, the kubelet's, the first that answers.
    ///
    /// # Errors
    /// If the sockets are not known.
    pub fn socket(&self, profile: &Profile) -> Result<Option<&Socket>, Inconclusive> {
        let sockets = self.sockets.need("runtime sockets")?;
        Ok(socket::choose(sockets, self.endpoint.as_ref().map(|(path, _)| path.as_str()), Some(profile)))
    }

    /// The runtime of the node, where one is there.
    ///
    /// # Errors
    /// If the sockets are not known.
    pub fn runtime(&self, profile: &Profile) -> Result<Option<Runtime>, Inconclusive> {
        Ok(profile.runtime.or(self.socket(profile)?.map(|socket| socket.runtime)))
    }

    /// The cgroup driver of the node's runtime, and who says so: its answer to RuntimeConfig, else its configuration.
    #[must_use]
    pub fn cgroup_driver(&self, profile: &Profile) -> Fact<(CgroupDriver, Origin)> {
        match self.socket(profile) {
            Ok(Some(socket)) => driver::of(self, socket),
            Ok(None) => Fact::Absent("there is no container runtime".to_owned()),
            Err(why) => Fact::Unreadable(why.to_string()),
        }
    }

    /// Where the node's runtime keeps images and containers.
    #[must_use]
    pub fn image_store(&self, profile: &Profile) -> String {
        let runtime = self.runtime(profile).ok().flatten().unwrap_or(Runtime::Containerd);
        self.store_of(runtime)
    }

    /// Where each runtime keeps images and containers.
    pub(super) fn image_stores(&self) -> Vec<String> {
        Runtime::ALL.iter().map(|runtime| self.store_of(*runtime)).collect()
    }

    fn store_of(&self, runtime: Runtime) -> String {
        let of_containerd = || Some(self.containerd.known()?.settings.get(&["root"])?.value.as_str()?.to_owned());
        let of_docker = || Some(self.docker().daemon.known()?.get("data-root")?.as_str()?.to_owned());
        match runtime {
            Runtime::Containerd => of_containerd().unwrap_or_else(|| "/var/lib/containerd".to_owned()),
            Runtime::Crio => self.crio.known().map_or("/var/lib/containers/storage", |it| it.storage().0).to_owned(),
            Runtime::Docker => of_docker().unwrap_or_else(|| "/var/lib/docker".to_owned()),
        }
    }

    /// What dockerd is configured with.
    #[must_use]
    pub fn docker(&self) -> &Docker {
        self.surroundings.docker()
    }

    /// The pod networks of the node's runtime.
    fn network(&self, profile: &Profile) -> Result<(Runtime, &Network), Inconclusive> {
        let runtime = self.runtime(profile)?.unwrap_or(Runtime::Containerd);
        let network = self.networks.iter().find(|(of, _)| *of == runtime);
        let unknown = || match runtime {
            Runtime::Containerd => self.containerd.need("containerd's configuration").map(|_| ()),
            _ => self.crio.need("CRI-O's configuration").map(|_| ()),
        };
        match network {
            Some((runtime, network)) => Ok((*runtime, network)),
            None => match unknown() {
                Err(why) => Err(why),
                Ok(()) => {
                    Err(Inconclusive::new(format!("{} is not there: its pod networks are not known", runtime.name())))
                }
            },
        }
    }
}

/// Where containerd is installed, if it is.
fn installed(host: &dyn Host) -> Fact<String> {
    let places = ["/usr/local/bin/containerd", "/usr/bin/containerd"];
    let mut last = Fact::Absent("containerd is not installed".to_owned());
    for place in places {
        match host.stat(place) {
            Fact::Known(_) => return Fact::Known(place.to_owned()),
            Fact::Absent(_) => {}
            other => last = other.map(|_| String::new()),
        }
    }
    last
}

/// Judges containerd's configuration where containerd is the node's runtime.
fn with_containerd(view: &View<'_>, judge: impl FnOnce(&Containerd) -> Judgment) -> Judgment {
    let facts = &view.facts.runtime;
    if let Some(runtime) = facts.runtime(view.profile)?.filter(|runtime| *runtime != Runtime::Containerd) {
        return Ok(Conclusion::not_applicable(format!("{} is the runtime", runtime.name())));
    }
    let it = facts.containerd.need("containerd's configuration")?;
    if facts.socket(view.profile)?.is_none() && it.files.is_empty() && it.broken.is_none() {
        return Ok(Conclusion::not_applicable("there is no containerd"));
    }
    judge(it)
}

/// The same for what needs a configuration that containerd starts with.
fn with_valid(view: &View<'_>, judge: impl FnOnce(&Containerd) -> Judgment) -> Judgment {
    with_containerd(view, |it| match &it.broken {
        Some(broken) => Err(because(config::VALID, &broken.to_string())),
        None => judge(it),
    })
}

/// What another claim finds keeps this one from being judged.
fn because(id: &str, why: &str) -> Inconclusive {
    Inconclusive::new(format!("because of {id}: {why}"))
}

fn cri(call: CriCall) -> Query {
    Query::Cri { socket: containerd::SOCKET.to_owned(), call }
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    let mut all = answers::checks();
    all.extend(config::checks());
    all.extend(network::checks());
    all
}
