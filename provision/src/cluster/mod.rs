//! Clusters on this machine: from a specification to running components, and away again.
//!
//! A cluster is a folder: its specification, its number on this machine, and a folder for each
//! [`Host`](crate::host::Host). [`up`](Engine::up) runs [`PHASES`] in order. Each phase looks at what is there and does
//! what is missing, so that going on after a kill at any point, and bringing up once more what is up, are the same
//! thing. [`remove`](Clusters::remove) needs nothing but the folder.

pub mod api;
mod documents;
mod engine;
mod error;
mod faults;
pub mod fields;
mod folder;
mod limits;
mod manifests;
pub mod phases;
mod plan;
mod power;
mod rootless;
mod script;
pub mod spec;
mod status;
mod wait;

pub use engine::{Engine, EngineError, Event, NotReady, Sources};
pub use faults::{FaultError, fault_timer_main};
pub use folder::{Cluster, ClusterError, Clusters};
pub use phases::{PHASES, Phase};
pub use plan::{HARBOR, Plan, PlannedHost, Role, SWITCH};
pub(crate) use rootless::keeper_main;
pub use rootless::{Keeper, RootlessError};
pub use spec::{BadSpec, ClusterSpec};
pub use status::{ComponentStatus, HostStatus, Status};
