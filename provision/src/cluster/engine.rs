//! The engine: a cluster, the programs of its hosts, and what phases have in common.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::api::Api;
pub(super) use super::error::file;
pub use super::error::{EngineError, NotReady};
use super::folder::Cluster;
use super::phases::{self, PHASES, Phase};
use super::plan::{Plan, PlannedHost, Role};
use super::spec::{Durability, EtcdTopology};
use crate::assets::span::since;
use crate::assets::{self, Programs, Project, Release, Request};
use crate::control_plane::{Component, ControlPlane, EtcdServers};
use crate::host::pod::MANIFESTS;
use crate::host::unit::{Exit, Ready, Restart, State, Unit};
use crate::host::{Host, HostSpec};
use crate::image::{Part, REPOSITORY, Reference};
use crate::kubeadm::{
    Configuration, Endpoint, ExternalEtcd, InitConfiguration, JoinConfiguration, NodeRegistration, parse,
};
use crate::manifest::Additions;
use crate::node::{dns_address, kubelet};
use crate::patches::Patches;
use crate::pki::Spec;

/// How long a component may take until it is ready; kubeadm gives a control plane four minutes.
pub(super) const PATIENCE: Duration = Duration::from_mins(4);
/// Where programs are in a host.
pub(super) const PROGRAMS: &str = "/usr/local/bin";
/// A member that is alone stands for election as early as it may, in milliseconds: there is nobody whose leadership it
/// could overlook. With etcd's own 100 and 1000 it does so after up to a second.
const LONE: [(&str, &str); 2] = [("heartbeat-interval", "10"), ("election-timeout", "100")];
/// etcd's flag for how many members may learn at a time, since 3.6; without, it is one.
pub(super) const MAX_LEARNERS: &str = "max-learners";
/// The API server's flag that sends webhooks and aggregated APIs to the pods of a Service rather than to its address.
/// Control planes without a kubelet need it: kube-proxy waits 30 s for a Node (pkg/proxy/node.go), and they have none.
const AGGREGATOR_ROUTING: &str = "enable-aggregator-routing";
/// The name of this very program in a host.
const SEAWORTHY: &str = "seaworthy";

/// Where the engine gets programs from.
#[derive(Debug, Clone)]
pub struct Sources {
    /// What is asked of each release: its `release` and `programs` are filled in.
    pub request: Request,
    /// This very program, which hosts run parts of.
    pub seaworthy: PathBuf,
    /// Where images are kept.
    pub images: PathBuf,
}

/// What the engine has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// A phase begins.
    Begins(&'static Phase),
    /// A phase is over.
    Ended(&'static Phase, Duration),
    /// Something that a person ought to know.
    Note(&'a str),
}

/// A cluster that is being worked on.
pub struct Engine<'a> {
    pub(super) cluster: Cluster,
    pub(super) configuration: Configuration,
    /// kubeadm's documents of nodes.
    pub(super) init: Option<InitConfiguration>,
    pub(super) join: Option<JoinConfiguration>,
    /// The user's patches.
    pub(super) patches: Patches,
    /// How long a component of the control plane may take to start, as its pod says it.
    pub(super) start_within: SignedDuration,
    /// The programs of each release that a host has.
    programs: Vec<(Release, Programs)>,
    pub(super) sources: Sources,
    report: &'a (dyn Fn(Event<'_>) + Sync),
}

impl<'a> Engine<'a> {
    /// Looks at what is there: the specification, and the programs that it needs. Nothing is started.
    ///
    /// # Errors
    /// [`EngineError`] names what is missing or cannot be used.
    pub fn new(
        cluster: Cluster,
        sources: Sources,
        report: &'a (dyn Fn(Event<'_>) + Sync),
    ) -> Result<Self, EngineError> {
        let mut engine = Self::draft(cluster, sources, report)?;
        let plan = &engine.cluster.plan;
        let mut programs: Vec<(Release, Programs)> = Vec::new();
        for host in &plan.hosts {
            if programs.iter().any(|(release, _)| release == &host.release) {
                continue;
            }
            let (release, needed) = (host.release.clone(), plan.programs(&host.release));
            let request = Request { release, programs: needed, ..engine.sources.request.clone() };
            programs.push((host.release.clone(), assets::find_known(&request)?));
        }
        engine.programs = programs;
        Ok(engine)
    }

    /// The same without programs: it can say what it would do, and no more.
    ///
    /// # Errors
    /// [`EngineError`] names what cannot be used.
    pub fn draft(
        cluster: Cluster,
        sources: Sources,
        report: &'a (dyn Fn(Event<'_>) + Sync),
    ) -> Result<Self, EngineError> {
        let plan = &cluster.plan;
        if !nix::unistd::geteuid().is_root() && plan.nodes().next().is_some() {
            return Err(EngineError::Preflight(
                "kubelets need root: run this as root, or ask for control planes only (workers: 0)".to_owned(),
            ));
        }
        let mut configuration = plan.spec.configuration()?;
        let port = configuration.bind_port();
        // A name that the user gave stands for the load balancer, or for the first control plane.
        let named = configuration.cluster.control_plane_endpoint.take().filter(|name| !name.is_empty());
        configuration.cluster.control_plane_endpoint = named.or_else(|| plan.endpoint(port));
        configuration.cluster.kubernetes_version = Some(plan.spec.release()?.kubernetes.to_string());
        let start_within = configuration.start_within()?;
        // What a file says of the name and address of one node would be said of each; the port is everybody's.
        let (init, join) = (configuration.init.take(), configuration.join.take());
        let local_api_endpoint = Endpoint { advertise_address: None, bind_port: port };
        configuration.init = Some(InitConfiguration { local_api_endpoint, ..InitConfiguration::default() });
        let folders = [init.as_ref().map(|init| &init.patches), join.as_ref().map(|join| &join.patches)];
        let patches = match folders.into_iter().flatten().find_map(|patches| patches.directory.as_ref()) {
            Some(folder) => Patches::read(Path::new(folder))?,
            None => Patches::default(),
        };
        if plan.spec.etcd.topology == EtcdTopology::External {
            let client = |host: &PlannedHost| format!("https://{}", SocketAddr::new(host.address(), 2379));
            let pki = &configuration.cluster.certificates_dir;
            configuration.cluster.etcd.external = Some(ExternalEtcd {
                endpoints: plan.of(Role::Etcd).map(client).collect(),
                ca_file: format!("{pki}/etcd/ca.crt"),
                cert_file: format!("{pki}/apiserver-etcd-client.crt"),
                key_file: format!("{pki}/apiserver-etcd-client.key"),
                ..ExternalEtcd::default()
            });
        }
        Ok(Self { cluster, configuration, init, join, patches, start_within, programs: Vec::new(), sources, report })
    }

    /// Fetches or builds the programs that a cluster needs and that are not here.
    ///
    /// # Errors
    /// [`EngineError::Missing`] with what each source said.
    pub fn fetch(cluster: &Cluster, request: &Request, report: assets::Report<'_>) -> Result<(), EngineError> {
        let mut done: Vec<&Release> = Vec::new();
        for host in &cluster.plan.hosts {
            if !done.contains(&&host.release) {
                let (release, programs) = (host.release.clone(), cluster.plan.programs(&host.release));
                assets::fetch(&Request { release, programs, ..request.clone() }, report)?;
                done.push(&host.release);
            }
        }
        Ok(())
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.cluster.plan
    }

    pub(super) fn note(&self, text: &str) {
        (self.report)(Event::Note(text));
    }

    /// The phases that are run: neither these nor those that kubeadm's documents leave out.
    ///
    /// # Errors
    /// [`EngineError::Preflight`] if there is no phase of a name.
    pub(super) fn chosen(&self, skipped: &[String]) -> Result<Vec<&'static Phase>, EngineError> {
        if let Some(unknown) = skipped.iter().find(|name| !PHASES.iter().any(|phase| phase.name == **name)) {
            let known: Vec<_> = PHASES.iter().map(|phase| phase.name).collect();
            return Err(EngineError::Preflight(format!("there is no phase '{unknown}', only {}", known.join(", "))));
        }
        let runs = |phase: &&Phase| !skipped.iter().any(|name| name == phase.name) && !self.leaves_out(phase.name);
        Ok(PHASES.iter().filter(runs).collect())
    }

    /// Do kubeadm's documents leave out this phase?
    fn leaves_out(&self, phase: &str) -> bool {
        self.init.as_ref().is_some_and(|init| init.skip_phases.iter().any(|name| name == phase))
    }

    /// Is there to be a CoreDNS?
    pub(super) fn has_dns(&self) -> bool {
        let out = ["addon", "addon/coredns"].iter().any(|phase| self.leaves_out(phase));
        !self.configuration.cluster.dns.disabled && !out
    }

    /// Is there to be a kube-proxy?
    pub(super) fn has_proxy(&self) -> bool {
        let out = ["addon", "addon/kube-proxy"].iter().any(|phase| self.leaves_out(phase));
        !self.configuration.cluster.proxy.disabled && !out
    }

    /// The port at which clients find the API servers.
    pub(super) fn endpoint_port(&self) -> u16 {
        let named = self.configuration.cluster.control_plane_endpoint.as_deref();
        let port = named.and_then(|named| parse::host_port(named).ok()?.1);
        port.unwrap_or(self.configuration.bind_port())
    }

    /// Runs the phases that are not skipped, in order. What is there already is let be.
    ///
    /// # Errors
    /// [`EngineError::Phase`] names the phase that did not get through; those before it did.
    pub fn up(&self, skipped: &[String]) -> Result<(), EngineError> {
        let chosen = self.chosen(skipped)?;
        let _lock = self.cluster.lock()?;
        chosen.into_iter().try_for_each(|phase| self.run(phase))
    }

    /// What `up` would apply, as one value: units with their flags, certificates, kubelets, objects. It holds the
    /// secrets of kubeadm's documents, so it is not to be shown.
    ///
    /// # Errors
    /// [`EngineError`] if the specification cannot be met.
    pub fn applied(&self, skipped: &[String]) -> Result<serde_json::Value, EngineError> {
        phases::applied(self, skipped)
    }

    /// Runs one phase.
    ///
    /// # Errors
    /// [`EngineError::Phase`] if it does not get through.
    pub fn phase(&self, phase: &'static Phase) -> Result<(), EngineError> {
        let _lock = self.cluster.lock()?;
        self.run(phase)
    }

    fn run(&self, phase: &'static Phase) -> Result<(), EngineError> {
        let begun = Instant::now();
        (self.report)(Event::Begins(phase));
        (phase.run)(self).map_err(|error| EngineError::Phase { phase: phase.name, source: Box::new(error) })?;
        (self.report)(Event::Ended(phase, begun.elapsed()));
        Ok(())
    }

    /// The programs of a host.
    pub(super) fn programs(&self, host: &PlannedHost) -> Result<&Programs, EngineError> {
        let found = self.programs.iter().find(|(release, _)| release == &host.release);
        found
            .map(|(_, programs)| programs)
            .ok_or_else(|| EngineError::Preflight(format!("{} has no programs", host.name)))
    }

    /// The name of an image of a release, as kubeadm has it for this configuration.
    pub(super) fn image(&self, part: Part, release: &Release) -> Result<Reference, EngineError> {
        let cluster = &self.configuration.cluster;
        let repository = Some(&cluster.image_repository);
        let (repository, tag) = match (part, &cluster.etcd.local) {
            (Part::Etcd, Some(etcd)) => (etcd.image_repository.as_ref().or(repository), etcd.image_tag.as_ref()),
            (Part::CoreDns, _) => {
                (cluster.dns.image_repository.as_ref().or(repository), cluster.dns.image_tag.as_ref())
            }
            _ => (repository, None),
        };
        let mut reference = part
            .reference(release, repository.map_or(REPOSITORY, String::as_str))
            .map_err(|error| EngineError::Preflight(error.to_string()))?;
        if let Some(tag) = tag {
            reference.tag.clone_from(tag);
        }
        Ok(reference)
    }

    /// What a host is made from.
    pub(super) fn host_spec(&self, host: &PlannedHost) -> Result<HostSpec, EngineError> {
        let ours = |found: &&assets::Found| match found.program.project {
            Project::System | Project::Cni => false,
            // The host has what PATH has.
            Project::Containerd => found.source != assets::Source::Path,
            _ => true,
        };
        let programs =
            self.programs(host)?.iter().filter(ours).map(|found| (found.program.name.to_owned(), found.path.clone()));
        let mut programs: std::collections::BTreeMap<_, _> = programs.collect();
        programs.insert(SEAWORTHY.to_owned(), self.sources.seaworthy.clone());
        let machine = self.plan().machine();
        // Nobody serves DNS there, and says so at once.
        let resolv = machine.first().map_or_else(String::new, |address| format!("nameserver {}\n", address.addr()));
        // Where no kubelet is, nobody pulls images.
        let pulls = self.plan().nodes().next().is_some();
        let images = pulls.then(|| ("/opt/seaworthy/images".to_owned(), self.sources.images.clone()));
        let folders = images.into_iter().chain(self.hidden(host)?).collect();
        Ok(HostSpec {
            name: host.name.clone(),
            cgroup: self.cluster.cgroup(&host.name),
            programs,
            folders,
            hosts: self.hosts_file()?,
            resolv,
            rootless: self.cluster.keeper().is_some(),
        })
    }

    /// Folders with programs of the system's that a host does not see by itself: it has a /run, /tmp and /var of its
    /// own.
    fn hidden(&self, host: &PlannedHost) -> Result<Vec<(String, PathBuf)>, EngineError> {
        const OWN: [&str; 3] = ["/run", "/tmp", "/var"];
        let system =
            self.programs(host)?.iter().filter(|found| matches!(found.program.project, Project::System | Project::Cni));
        // A link that is seen may lead to what is not.
        let paths = system.flat_map(|found| [Some(found.path.clone()), found.path.canonicalize().ok()]).flatten();
        let folders = paths.filter_map(|path| path.parent().map(Path::to_path_buf));
        let folders: std::collections::BTreeSet<_> =
            folders.filter(|folder| OWN.iter().any(|own| folder.starts_with(own))).collect();
        Ok(folders.into_iter().map(|folder| (folder.display().to_string(), folder)).collect())
    }

    /// The hosts' /etc/hosts, with the name of the endpoint where it is one.
    pub(super) fn hosts_file(&self) -> Result<String, EngineError> {
        let mut text = self.plan().hosts_file();
        let (spec, _) = self.control_plane(self.plan().first())?;
        if let Some((name, _)) = spec.endpoint()?.filter(|(name, _)| name.parse::<std::net::IpAddr>().is_err()) {
            let harbor = self.plan().endpoint(spec.port).and_then(|_| self.plan().host(super::plan::HARBOR));
            let at = harbor.unwrap_or(self.plan().first());
            text += &at.addresses.iter().map(|one| format!("{} {name}\n", one.addr())).collect::<String>();
        }
        Ok(text)
    }

    /// A host that phase `hosts` made.
    pub(super) fn host(&self, planned: &PlannedHost) -> Result<Host, EngineError> {
        Ok(self.cluster.host(&planned.name)?)
    }

    /// What a control plane's PKI and components are made from.
    pub(super) fn control_plane(&self, host: &PlannedHost) -> Result<(Spec, ControlPlane), EngineError> {
        let (spec, mut plane) = self.configuration.control_plane(&host.name, host.address(), Timestamp::now())?;
        plane.external_ca = self.host(host).is_ok_and(|host| is_external(&self.outside(&host, &plane.pki)));
        if self.plan().spec.durability == Durability::Fast {
            plane.extra.etcd.push(("unsafe-no-fsync".to_owned(), "true".to_owned()));
        }
        // All members must say the same.
        let planes: Vec<_> = self.plan().of(Role::ControlPlane).collect();
        let stacked = matches!(plane.etcd, EtcdServers::Local { .. });
        let known = planes.iter().all(|one| since(3, 6, 0).has(&one.release.etcd));
        let given = plane.extra.etcd.iter().any(|(flag, _)| flag == MAX_LEARNERS);
        if stacked && planes.len() > 2 && known && !given {
            plane.extra.etcd.push((MAX_LEARNERS.to_owned(), (planes.len() - 1).to_string()));
        }
        let given = plane.extra.etcd.iter().any(|(flag, _)| LONE.iter().any(|(one, _)| one == flag));
        if stacked && planes.len() == 1 && !given && !self.plan().spec.has_static_pods() {
            plane.extra.etcd.extend(LONE.map(|(flag, value)| (flag.to_owned(), value.to_owned())));
        }
        let given = plane.extra.apiserver.iter().any(|(flag, _)| flag == AGGREGATOR_ROUTING);
        if self.plan().without_services().next().is_some() && !given {
            plane.extra.apiserver.push((AGGREGATOR_ROUTING.to_owned(), "true".to_owned()));
        }
        Ok((spec, plane))
    }

    /// What kubeadm's documents say of the nodes of a role: `InitConfiguration` of control planes, `JoinConfiguration`
    /// of workers, or the one that there is of both.
    pub(super) fn registration(&self, role: Role) -> Option<&NodeRegistration> {
        let init = self.init.as_ref().map(|init| &init.node_registration);
        let join = self.join.as_ref().map(|join| &join.node_registration);
        if role == Role::ControlPlane { init.or(join) } else { join.or(init) }
    }

    /// What the kubelets have in common.
    pub(super) fn kubelet_cluster<'p>(&'p self, plane: &'p ControlPlane) -> kubelet::Cluster<'p> {
        kubelet::Cluster {
            dns: dns_address(&plane.services[0]),
            domain: &plane.domain,
            pki: &plane.pki,
            user: self.configuration.kubelet.as_ref(),
        }
    }

    /// The plane of a host of an external etcd, of which only etcd is of use.
    pub(super) fn etcd_member(&self, host: &PlannedHost) -> Result<ControlPlane, EngineError> {
        let peer = |host: &PlannedHost| format!("{}=https://{}", host.name, SocketAddr::new(host.address(), 2380));
        let all = self.plan().of(Role::Etcd).map(peer).collect::<Vec<_>>().join(",");
        let (_, mut plane) = self.control_plane(host)?;
        plane.etcd = EtcdServers::Local { joins: Vec::new(), data: "/var/lib/etcd".into() };
        plane.extra.etcd.push(("initial-cluster".to_owned(), all));
        Ok(plane)
    }

    /// A folder of a host, such as `/etc/kubernetes/pki`, as it is on this machine.
    pub(super) fn outside(&self, host: &Host, path: &Path) -> PathBuf {
        match path.strip_prefix("/etc/kubernetes") {
            Ok(rest) => host.kubernetes().join(rest),
            Err(_) => host.var().join(path.strip_prefix("/var").unwrap_or(path)),
        }
    }

    /// Has a component run on a host.
    pub(super) fn start(&self, host: &Host, component: &Component) -> Result<(), EngineError> {
        Ok(host.client().start(self.process(component))?)
    }

    /// A component as a process, with the environment that kubeadm's documents give it.
    pub(super) fn process(&self, component: &Component) -> Unit {
        let mut argv = vec![format!("{PROGRAMS}/{}", component.name)];
        argv.extend(component.arguments());
        let added = Additions::of(&self.configuration.cluster).remove(component.name).unwrap_or_default();
        let env = added.env.into_iter().map(|one| (one.name, one.value.unwrap_or_default())).collect();
        Unit { env, ..unit_of(component, argv) }
    }

    /// The API server of a control plane, as its own administrator.
    pub(super) fn api_at(&self, host: &PlannedHost) -> Result<Api, EngineError> {
        let (_, plane) = self.control_plane(host)?;
        let server = format!("https://{}", SocketAddr::new(host.address(), plane.port));
        let folder = self.host(self.plan().first())?.kubernetes();
        Ok(Api::of_kubeconfig(&folder.join("super-admin.conf"), Some(&server))?)
    }

    /// The API server of the first control plane that runs one.
    ///
    /// # Errors
    /// [`EngineError::Api`] if its credentials are not there.
    pub fn api(&self) -> Result<Api, EngineError> {
        let runs = |host: &&PlannedHost| {
            let units = self.cluster.host(&host.name).and_then(|one| Ok(one.client().status()?));
            units.is_ok_and(|all| all.iter().any(|one| one.unit.name == "kube-apiserver" && one.state == State::Ready))
        };
        let chosen = self.plan().of(Role::ControlPlane).find(runs);
        self.api_at(chosen.unwrap_or_else(|| self.plan().first()))
    }

    /// Does something for each of these hosts at the same time. The first error is told once all are through.
    pub(super) fn each(
        &self,
        hosts: &[&PlannedHost],
        work: impl Fn(&PlannedHost) -> Result<(), EngineError> + Sync,
    ) -> Result<(), EngineError> {
        std::thread::scope(|scope| {
            let work = &work;
            ended(hosts.iter().map(|host| scope.spawn(move || work(host))).collect())
        })
    }
}

/// Is the cluster's CA in this folder external: has it no key there?
pub(super) fn is_external(pki: &Path) -> bool {
    pki.join("ca.crt").exists() && !pki.join("ca.key").exists()
}

/// Waits until all are through, and tells the first error.
pub(super) fn ended(all: Vec<ScopedJoinHandle<'_, Result<(), EngineError>>>) -> Result<(), EngineError> {
    let ended: Vec<_> = all.into_iter().map(ScopedJoinHandle::join).collect();
    ended.into_iter().try_for_each(|one| {
        one.unwrap_or_else(|_| Err(EngineError::Preflight("a defect of seaworthy: it panicked".to_owned())))
    })
}

/// Waits until a unit of a host is ready.
pub(super) fn await_unit(host: &Host, unit: &str) -> Result<(), EngineError> {
    await_within(host, unit, PATIENCE)
}

/// The same for no longer than this.
pub(super) fn await_within(host: &Host, unit: &str, patience: Duration) -> Result<(), EngineError> {
    let begun = Instant::now();
    let Some((status, log)) = host.client().wait(unit, patience)? else { return Ok(()) };
    let after = Duration::from_secs(begun.elapsed().as_secs().max(1));
    let mut how = match (status.state, status.exit) {
        (State::Waiting, Some(exit)) => format!("it ended with {exit}, {} times", status.restarts + 1),
        (_, Some(exit)) if status.restarts > 0 => format!("it ended with {exit}, {} times", status.restarts),
        (State::Stopped, _) => "it is stopped".to_owned(),
        (State::Waiting, None) => format!("it did not start within {after:?}"),
        _ => format!("it runs, for {after:?}"),
    };
    if let Some(doubt) = status.doubt {
        how = format!("{how}; {doubt}");
    }
    if let Some(Exit::Signal(9)) = status.exit {
        how += " (SIGKILL: is there memory enough?)";
    }
    let log = log.iter().map(|line| format!("  {line:.300}")).collect::<Vec<_>>().join("\n");
    let argv = status.unit.argv.join(" ");
    let began = match status.unit.pod {
        Some(_) => format!("the kubelet starts it by {MANIFESTS}/{unit}.yaml"),
        None => "it was started as".to_owned(),
    };
    let (component, host) = (unit.to_owned(), host.name().to_owned());
    Err(EngineError::Component(Box::new(NotReady { component, host, how, began, argv, log })))
}

/// The unit of a component. What needs the rules that an API server makes for itself is started after it.
pub(super) fn unit_of(component: &Component, argv: Vec<String>) -> Unit {
    let needs = matches!(component.name, "kube-controller-manager" | "kube-scheduler");
    let after = needs.then(|| "kube-apiserver".to_owned());
    Unit { after, ready: Some(Ready::Http(component.ready.clone())), ..unit(component.name, argv) }
}

/// A unit that is always started again.
pub(super) fn unit(name: &str, argv: Vec<String>) -> Unit {
    Unit {
        name: name.to_owned(),
        argv,
        env: std::collections::BTreeMap::new(),
        restart: Restart::Always,
        after: None,
        ready: None,
        listen: Vec::new(),
        cgroup: None,
        pod: None,
    }
}

/// A unit of a hidden command of this very program.
pub(super) fn own_unit(name: &str, arguments: &[&str]) -> Unit {
    let words = std::iter::once(format!("{PROGRAMS}/{SEAWORTHY}")).chain(arguments.iter().map(|&word| word.to_owned()));
    unit(name, words.collect())
}
