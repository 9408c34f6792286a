//! Simulated nodes: thousands of kubelets in one process, as far as the API server can tell.
//!
//! A [`Fleet`] registers Node objects, renews their leases at the kubelet's rate and by schedule, and takes the pods
//! that are bound to its nodes through their phases: containers are created, run and are ready with an address of the
//! node's own network, end, and are deleted for good once their grace period is over. No container runs and no address
//! answers.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use seaworthy_simulated::{Client, Fleet, Keep, NodeGroup};
//!
//! let client = Client::open("admin.conf".as_ref(), None)?;
//! let fleet = Fleet::new(client)
//!     .nodes(NodeGroup::linux(500).zones(["a", "b", "c"]))
//!     .nodes(NodeGroup::windows(20, "10.0.20348").taint("os", "windows", "NoSchedule"))
//!     .start()
//!     .await?;
//! let minute = std::time::Duration::from_secs(60);
//! fleet.until("520 nodes are ready", minute, |counts| counts.nodes.schedulable == 520).await?;
//! fleet.stop_leases("sim-00007").await?;
//! println!("{}", fleet.counts());
//! fleet.shutdown(Keep::Nothing).await?;
//! # Ok(())
//! # }
//! ```
//!
//! What makes it cheap: few HTTP/2 connections, protobuf, one watch for all pods, of each pod a record of some 200
//! bytes, and no polling. What makes it correct: only the watch says what exists, every write is conditional on the
//! pod's uid, and what is to be written is computed from the state, not from events (the module `pods`).

mod address;
mod client;
mod counts;
mod fleet;
mod kubeconfig;
mod leases;
mod nodes;
mod pods;
mod spec;
mod status;
pub mod watch;
mod wire;

pub use client::{Call, Client, ClientError, Form, Lane, Reply};
pub use counts::{Counts, LeaseCounts, NodeCounts, PodCounts, RequestCounts};
pub use fleet::{Fleet, FleetError, Keep, Running};
pub use kubeconfig::BadKubeconfig;
pub use spec::{
    BadTaint, Behavior, Capacity, EXIT_CODE, LABEL, Latency, NodeGroup, NodeTaint, Os, RUNS_FOR, STARTS_AFTER, TAINT,
};
