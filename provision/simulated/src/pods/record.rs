//! What is kept of a pod, and the words in which the model speaks.

use std::sync::Arc;

/// Milliseconds since the fleet began.
pub(crate) type Millis = u64;
/// A container as far as its status goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Container {
    pub(crate) name: Box<str>,
    pub(crate) image: Box<str>,
    /// An init container that goes on running beside the others.
    pub(crate) sidecar: bool,
}

/// What pods of one template have in common; kept once.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    pub(crate) init: Box<[Container]>,
    pub(crate) containers: Box<[Container]>,
    pub(crate) gates: Box<[Box<str>]>,
    pub(crate) host_network: bool,
    /// Containers that end are started again, whatever they ended with.
    pub(crate) always: bool,
    /// They are started again if they ended with another code than 0.
    pub(crate) on_failure: bool,
    /// The longest `initialDelaySeconds` of a readiness probe.
    pub(super) readiness: u32,
}

/// What the API server has been told of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing.
    Bound,
    /// Its containers are being created.
    Creating,
    /// They run, and are not ready.
    Started,
    /// They run and are ready.
    Ready,
    /// They failed and wait to be started again.
    Crashed,
    /// They ended for good.
    Ended,
    /// It was deleted for good; the watch will say so.
    Gone,
}

/// A pod.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Box<str>,
    pub(crate) node: u32,
    pub(crate) shape: Arc<Shape>,
    pub(crate) stage: Stage,
    /// The number of its address on its node.
    pub(crate) address: Option<u32>,
    /// When the kubelet saw it, in seconds of the epoch; 0 as long as nothing was written.
    pub(crate) seen: i64,
    /// When its containers started last, in seconds of the epoch.
    pub(crate) started: i64,
    pub(crate) restarts: u32,
    pub(crate) exit_code: i32,
    /// Why the kubelet refuses it.
    pub(crate) refused: Option<Refusal>,
    pub(super) deleting: bool,
    /// Does it take one of its node's places?
    pub(super) holds: bool,
    /// Does the next start fail?
    pub(super) fails: bool,
    /// Are its readiness gates open?
    pub(super) open: bool,
    /// Did a scheduler bind it, and say so?
    pub(crate) scheduled: bool,
    pub(super) starts_at: Millis,
    pub(super) ready_at: Millis,
    /// How long its containers run; for ever: [`Millis::MAX`].
    pub(super) runs: Millis,
    pub(super) ends_at: Millis,
    pub(super) stops_at: Millis,
    pub(super) not_before: Millis,
    pub(super) timer: Millis,
    /// The version of our last write.
    pub(super) version: u64,
    pub(super) failures: u8,
    pub(super) busy: bool,
    pub(super) queued: bool,
    /// What the watch said while a write was on its way.
    pub(super) unread: Option<Seen>,
}

/// What the API server has of a pod's status, as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) version: u64,
    pub(super) runs: bool,
    pub(super) ended: bool,
    pub(super) ready: bool,
    /// It was deleted for good, and finalizers keep it.
    pub(super) kept: bool,
    pub(super) from_list: bool,
}

/// Why a kubelet refuses a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The node is full.
    Pods,
    /// It is for another operating system.
    Os,
}

impl Pod {
    pub(crate) fn is_deleting(&self) -> bool {
        self.deleting
    }
}

/// What a kubelet writes of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Write {
    /// It is refused.
    Refuse,
    /// Its containers are being created.
    Creating,
    /// Its containers run; are they ready?
    Running(bool),
    /// Its containers failed and wait.
    Crashed,
    /// Its containers ended.
    Ended,
    /// It is deleted for good.
    Delete,
}

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Done; the object's version, 0 if there is no object any more.
    Done(u64),
    /// There is no such pod any more, or one of another uid.
    Missing,
    /// Try again, and not before so many milliseconds from now if the server said so.
    Again(Option<Millis>),
    /// Refused; the same will be refused again unless something changes.
    Refused,
}

/// Pods by what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodCounts {
    /// Bound to a node, and not running yet.
    pub starting: u64,
    /// Running and not ready, failing ones included.
    pub unready: u64,
    /// Running and ready.
    pub ready: u64,
    /// Succeeded, failed or refused.
    pub ended: u64,
    /// Deleted, and not gone yet.
    pub stopping: u64,
    /// Waiting for their node to have a network of pods.
    pub without_network: u64,
}

impl PodCounts {
    /// All pods that are there.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.starting + self.unready + self.ready + self.ended + self.stopping
    }

    pub(super) fn slot(&mut self, pod: &Pod) -> &mut u64 {
        match pod.stage {
            _ if pod.deleting => &mut self.stopping,
            Stage::Bound | Stage::Creating => &mut self.starting,
            Stage::Started | Stage::Crashed => &mut self.unready,
            Stage::Ready => &mut self.ready,
            Stage::Ended => &mut self.ended,
            Stage::Gone => &mut self.stopping,
        }
    }
}
