//! Hosts of a cluster that come and go: their links, their routes, and what they ran.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use super::engine::EngineError;
use super::folder::Cluster;
use super::plan::{PlannedHost, Role, SWITCH};
use crate::host::{Host, HostError, Process};
use crate::network::{self, Link};

/// The way to the pods of a node: its name, its range, its address.
pub(super) type Way = (String, IpNet, IpAddr);

impl Cluster {
    /// Process 1 of a host that is to be alive.
    pub(super) fn process(&self, host: &str) -> Result<Process, EngineError> {
        let down = || HostError::Silent { host: host.to_owned(), why: "it is down".to_owned() };
        Ok(self.host(host)?.process().ok_or_else(down)?)
    }

    /// Joins every host that is alive to the switch, and the machine.
    pub(super) fn connect_all(&self) -> Result<(), EngineError> {
        let switch = self.process(SWITCH)?;
        network::switch(switch)?;
        for planned in self.plan().hosts.iter().filter(|planned| planned.role != Role::Switch) {
            self.connect(planned)?;
        }
        Ok(network::uplink(switch, &self.plan().uplink(), &self.plan().machine())?)
    }

    fn connect(&self, planned: &PlannedHost) -> Result<(), EngineError> {
        let (switch, process) = (self.process(SWITCH)?, self.process(&planned.name)?);
        let gateways: Vec<_> = self.plan().machine().iter().map(IpNet::addr).collect();
        let (port, mac, addresses) = (planned.name.as_str(), self.plan().mac(planned), &planned.addresses);
        network::attach(switch, process, &Link { port, mac, addresses, gateways: &gateways })?;
        let here = self.ways()?.into_iter().filter(|(node, _, _)| node != &planned.name).map(|(_, to, by)| (to, by));
        network::routes(process, &here.collect::<Vec<_>>())?;
        Ok(())
    }

    fn routes_file(&self) -> PathBuf {
        self.folder.join("routes.json")
    }

    /// The ways to the pods of all nodes.
    fn ways(&self) -> Result<Vec<Way>, EngineError> {
        let path = self.routes_file();
        match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            text => {
                let text = text.map_err(super::engine::file(&path))?;
                serde_json::from_slice(&text).map_err(|error| super::engine::file(&path)(error.into()))
            }
        }
    }

    /// Gives every host the ways to the pods of the others, now and whenever it comes back.
    pub(super) fn set_routes(&self, ways: Vec<Way>) -> Result<(), EngineError> {
        let path = self.routes_file();
        let text = serde_json::to_vec(&ways).unwrap_or_default();
        std::fs::write(&path, text).map_err(super::engine::file(&path))?;
        let others = |planned: &&PlannedHost| planned.role != Role::Switch;
        self.plan().hosts.iter().filter(others).try_for_each(|planned| self.connect(planned))
    }

    /// Brings a host back with what it ran when it went. One that is alive is let be.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be started or joined to the others.
    pub fn power_on(&self, name: &str) -> Result<(), EngineError> {
        let host = self.host(name)?;
        if host.process().is_some() {
            return Ok(());
        }
        let units = host.saved_units()?;
        host.start()?;
        if let Some(planned) = self.plan().host(name).filter(|planned| planned.role != Role::Switch) {
            self.connect(planned)?;
        }
        // etcd's folder is not to be seen before what serves it is there.
        if units.iter().any(|unit| unit.name == super::faults::DISK) {
            self.start_disk(&host)?;
        }
        let client = host.client();
        Ok(units.into_iter().try_for_each(|unit| client.start(unit))?)
    }

    /// Ends a host with everything on it.
    ///
    /// # Errors
    /// [`EngineError`] if it does not end.
    pub fn power_off(&self, name: &str) -> Result<(), EngineError> {
        Ok(Host::kill(&self.host(name)?)?)
    }
}
