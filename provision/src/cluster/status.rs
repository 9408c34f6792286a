//! How a cluster is: each host, each component, and what stands before the API servers.

use std::collections::BTreeMap;

use serde::Serialize;

use super::folder::Cluster;
use super::plan::Role;
use crate::host::Host;
use crate::host::unit::State;

/// How a cluster is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// Kubernetes' version.
    pub kubernetes: String,
    /// Where the API servers are found, if anywhere but at the first.
    pub endpoint: Option<String>,
    /// Its hosts.
    pub hosts: Vec<HostStatus>,
}

/// How a host is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostStatus {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Its addresses.
    pub addresses: Vec<std::net::IpAddr>,
    /// Its zone, where there are any.
    pub zone: Option<String>,
    /// Its process 1 on this machine; `None` if it is down.
    pub pid: Option<i32>,
    /// Its components.
    pub components: Vec<ComponentStatus>,
}

/// How a component is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ComponentStatus {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: State,
    /// How often it was started again.
    pub restarts: u32,
    /// What it answers instead of being ready, or how it ended.
    pub why: Option<String>,
    /// Connections that the load balancer carries, by backend.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub backends: BTreeMap<String, crate::balancer::Count>,
}

impl Status {
    /// Is everything up and ready?
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.hosts.iter().all(|host| host.pid.is_some() && host.components.iter().all(|one| one.state == State::Ready))
    }
}

impl Cluster {
    /// How it is, by its hosts' own words. A host that does not answer is down.
    #[must_use]
    pub fn status(&self) -> Status {
        let plan = self.plan();
        let host = |planned: &super::plan::PlannedHost| {
            let host = Host::open(&self.host_folder(&planned.name)).ok();
            let pid = host.as_ref().and_then(Host::process).map(|process| process.pid);
            let units = host.filter(|_| pid.is_some()).map(|host| host.client().status().unwrap_or_default());
            let component = |status: crate::host::unit::Status| {
                let ended =
                    status.exit.filter(|_| status.state != State::Ready).map(|exit| format!("it ended with {exit}"));
                let balancer = status.unit.name == "load-balancer" && status.state == State::Ready;
                let backends = if balancer { self.backends(&planned.name) } else { BTreeMap::new() };
                ComponentStatus {
                    name: status.unit.name,
                    state: status.state,
                    restarts: status.restarts,
                    // Of one that does not run, what it answered last is no reason.
                    why: if status.pid.is_none() { ended.or(status.doubt) } else { status.doubt.or(ended) },
                    backends,
                }
            };
            HostStatus {
                name: planned.name.clone(),
                role: planned.role,
                addresses: planned.addresses.iter().map(ipnet::IpNet::addr).collect(),
                zone: plan.spec.zones.get(planned.zone).filter(|_| planned.role != Role::Switch).cloned(),
                pid,
                components: units.unwrap_or_default().into_iter().map(component).collect(),
            }
        };
        let keeper = self.keeper().map(|keeper| keeper.address().to_string());
        Status {
            name: self.name().to_owned(),
            kubernetes: plan.first().release.kubernetes.to_string(),
            endpoint: keeper.or_else(|| self.endpoint()),
            hosts: plan.hosts.iter().map(host).collect(),
        }
    }

    /// Where clients find the API servers, if anywhere but at the first.
    fn endpoint(&self) -> Option<String> {
        let configuration = self.plan().spec.configuration().ok()?;
        let port = configuration.bind_port();
        let named = configuration.cluster.control_plane_endpoint.filter(|named| !named.is_empty());
        match named {
            Some(named) if crate::kubeadm::parse::host_port(&named).is_ok_and(|(_, port)| port.is_none()) => {
                Some(format!("{named}:{port}"))
            }
            Some(named) => Some(named),
            None => self.plan().endpoint(port),
        }
    }

    /// What the load balancer of a host says of its backends; nothing where it is not ours.
    fn backends(&self, host: &str) -> BTreeMap<String, crate::balancer::Count> {
        let asked = self.host(host).ok().and_then(|host| {
            host.client().output(&["/usr/local/bin/seaworthy", crate::balancer::ARGUMENT, "status"]).ok()
        });
        asked.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    }
}
