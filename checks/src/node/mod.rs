//! The node suite's facts and checks, a folder or file a family.
//!
//! [`Facts::read`] asks a host everything that the judges need, and nothing else: reading facts from a [`Recorder`]
//! gathers a node, reading them from the [`Transcript`] that it leaves parses it. [`checks`] is the registry.
//!
//! [`Recorder`]: crate::host::Recorder
//! [`Transcript`]: crate::host::Transcript

mod boot_loader;
pub mod certificate;
pub mod cgroup;
pub mod crio;
pub mod disk;
pub mod docker;
pub mod files;
pub mod fleet;
pub mod kernel;
pub mod kubeadm_config;
pub mod kubelet;
pub mod machine;
pub mod network;
pub mod preflight;
pub mod probe;
pub mod programs;
pub mod runtime;
pub mod service;
pub mod swap;
pub mod sysctl;
mod units;

use crate::check::Check;
use crate::construct::Edit;
use crate::host::{Host, Query, Reply, System};

/// All that is known of a node.
#[derive(Debug)]
pub struct Facts {
    /// Certificates.
    pub certificate: certificate::Facts,
    /// Control groups.
    pub cgroup: cgroup::Facts,
    /// Disks and mounts.
    pub disk: disk::Facts,
    /// Docker Engine.
    pub docker: docker::Facts,
    /// What is compared with other nodes.
    pub fleet: fleet::Facts,
    /// Files of Kubernetes.
    pub files: files::Facts,
    /// The kernel.
    pub kernel: kernel::Facts,
    /// The kubeadm configuration that the user names.
    pub kubeadm_config: kubeadm_config::Facts,
    /// The kubelet.
    pub kubelet: kubelet::Facts,
    /// The machine.
    pub machine: machine::Facts,
    /// The network.
    pub network: network::Facts,
    /// Kernel features, tried.
    pub probe: probe::Facts,
    /// Programs.
    pub programs: programs::Facts,
    /// The container runtime.
    pub runtime: runtime::Facts,
    /// Services.
    pub service: service::Facts,
    /// Swap.
    pub swap: swap::Facts,
    /// Kernel parameters.
    pub sysctl: sysctl::Facts,
}

impl Facts {
    /// Asks a host for all facts.
    #[must_use]
    pub fn read(host: &dyn Host) -> Self {
        let runtime = runtime::Facts::read(host);
        let units = units::Units::read(host);
        Self {
            certificate: certificate::Facts::read(host),
            cgroup: cgroup::Facts::read(host),
            disk: disk::Facts::read(host, &runtime.image_stores()),
            docker: docker::Facts::read(host),
            files: files::Facts::read(host),
            fleet: fleet::Facts::read(host),
            kernel: kernel::Facts::read(host),
            kubeadm_config: kubeadm_config::Facts::read(host),
            kubelet: kubelet::Facts::read(host),
            machine: machine::Facts::read(host),
            network: network::Facts::read(host),
            probe: probe::Facts::read(host),
            programs: programs::Facts::read(host),
            runtime,
            service: service::Facts::read(host, &units),
            swap: swap::Facts::read(host, &units),
            sysctl: sysctl::Facts::read(host),
        }
    }
}

/// What a judge of the node suite sees.
pub type View<'a> = crate::check::View<'a, Facts>;

/// Another node of the fleet.
pub type Peer<'a> = crate::check::Peer<'a, Facts>;

/// The registry: every check of the node suite, in the order in which they are listed and run.
#[must_use]
pub fn checks() -> Vec<Check> {
    let families = [
        machine::checks,
        swap::checks,
        kernel::checks,
        probe::checks,
        cgroup::checks,
        disk::checks,
        sysctl::checks,
        programs::checks,
        network::checks,
        runtime::checks,
        crio::checks,
        docker::checks,
        service::checks,
        kubelet::checks,
        files::checks,
        certificate::checks,
        kubeadm_config::checks,
        fleet::checks,
    ];
    families.into_iter().flat_map(|family| family()).collect()
}

/// An edit of what the reference node says of itself.
fn reference_system(edit: impl FnOnce(&mut System)) -> Edit {
    let mut system = System {
        sysname: "Linux".to_owned(),
        release: "6.12.0-1-amd64".to_owned(),
        machine: "x86_64".to_owned(),
        nodename: "reference".to_owned(),
        cpus: 4,
        memory: 8 << 30,
        euid: 0,
        capabilities: u64::MAX >> 23,
        time: 1_767_225_600,
        uptime: 86_400,
        root: "/".to_owned(),
    };
    edit(&mut system);
    Edit::Answer(Query::System, Ok(Reply::System(system)))
}
