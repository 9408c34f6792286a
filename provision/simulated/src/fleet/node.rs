//! A node of a fleet: what it is to be, and what became of it.

use std::net::IpAddr;
use std::sync::Arc;

use crate::nodes::{self, Identity};
use crate::spec::NodeGroup;
use crate::wire;

/// A node of the fleet.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: Arc<str>,
    pub(super) group: usize,
    pub(super) index: u32,
    pub(super) address: IpAddr,
    pub(super) kubelet: Arc<str>,
    pub(super) state: State,
    pub(super) uid: u128,
    /// Does its kubelet work?
    pub(super) up: bool,
    pub(super) leases: bool,
    pub(super) ready: bool,
    pub(super) schedulable: bool,
    pub(super) failures: u32,
    pub(super) queued: bool,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It is to be registered.
    New,
    Registered,
    /// Somebody else deleted it, or has its name.
    Lost,
    /// It is to be deleted.
    Leaving,
    Removed,
}

impl Node {
    pub(super) fn new(name: Arc<str>, group: usize, index: u32, address: IpAddr, kubelet: Arc<str>) -> Self {
        let (state, uid, failures) = (State::New, 0, 0);
        let (ready, schedulable, queued) = (false, false, false);
        Self {
            name,
            group,
            index,
            address,
            kubelet,
            state,
            uid,
            up: true,
            leases: true,
            ready,
            schedulable,
            failures,
            queued,
        }
    }
}

impl Node {
    /// The object that registers it.
    pub(super) fn object(&self, groups: &[NodeGroup], fleet: &str) -> wire::Node {
        let (name, address, kubelet) = (&*self.name, self.address, &*self.kubelet);
        nodes::object(&groups[self.group], &Identity { fleet, name, index: self.index, address, kubelet })
    }

    /// Where it is in the API.
    pub(super) fn path(&self) -> String {
        format!("/api/v1/nodes/{}", self.name)
    }
}
