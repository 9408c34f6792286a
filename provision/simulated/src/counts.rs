//! What a fleet counts: one plain value, published while it runs.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

pub use crate::pods::PodCounts;

/// Nodes by what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeCounts {
    /// How many there are to be.
    pub wanted: u64,
    /// How many have been registered and are there.
    pub registered: u64,
    /// How many the API has as `Ready`.
    pub ready: u64,
    /// How many are ready and free of the taints of nodes that are not.
    pub schedulable: u64,
    /// How many have a network of pods.
    pub with_network: u64,
    /// How many are made to fail.
    pub failed: u64,
    /// How many somebody else deleted, or are not ours.
    pub lost: u64,
}

/// Renewals of leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LeaseCounts {
    /// Renewals that the API server acknowledged.
    pub renewed: u64,
    /// Renewals that were sent more than a second after they were due.
    pub late: u64,
    /// Gaps between two renewals that were longer than a lease is valid.
    pub missed: u64,
    /// Renewals that were refused or not answered; each is tried again.
    pub failed: u64,
    /// Those of them that were refused for another reason than load.
    pub refused: u64,
    /// The longest gap between two renewals of a lease, in milliseconds.
    pub worst_gap_millis: u64,
}

/// Requests other than leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestCounts {
    /// Writes that the API server acknowledged.
    pub done: u64,
    /// Writes that are on their way.
    pub underway: u64,
    /// Writes that wait their turn.
    pub queued: u64,
    /// Answers 429, leases included.
    pub throttled: u64,
    /// Writes that were sent again after a failure.
    pub retried: u64,
    /// Writes that were refused for another reason than load.
    pub refused: u64,
    /// Lists of pods and nodes, the two first ones included.
    pub lists: u64,
    /// Watches that ended otherwise than by their time.
    pub broken_watches: u64,
}

/// What a fleet is and has done.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Nodes.
    pub nodes: NodeCounts,
    /// Leases.
    pub leases: LeaseCounts,
    /// Pods.
    pub pods: PodCounts,
    /// Pods that were deleted for good since the fleet began.
    pub pods_deleted: u64,
    /// Pods that became ready since the fleet began.
    pub pods_started: u64,
    /// Requests.
    pub requests: RequestCounts,
    /// The last failure, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<Arc<str>>,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (nodes, pods, leases) = (&self.nodes, &self.pods, &self.leases);
        write!(f, "nodes {}/{} ready", nodes.ready, nodes.wanted)?;
        if nodes.schedulable != nodes.ready {
            write!(f, " ({} schedulable)", nodes.schedulable)?;
        }
        for (count, what) in [(nodes.failed, "failed"), (nodes.lost, "lost")] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        write!(f, "; pods {} ready", pods.ready)?;
        let more = [
            (pods.starting, "starting"),
            (pods.unready, "not ready"),
            (pods.ended, "ended"),
            (pods.stopping, "terminating"),
            (pods.without_network, "without podCIDR"),
        ];
        for (count, what) in more {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        write!(f, "; leases {} renewed, {} late, {} missed", leases.renewed, leases.late, leases.missed)?;
        let requests = &self.requests;
        for (count, what) in [(requests.throttled, "throttled"), (requests.refused, "refused")] {
            if count > 0 {
                write!(f, "; {count} {what}")?;
            }
        }
        Ok(())
    }
}
