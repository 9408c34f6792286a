//! What is recorded. All times are nanoseconds of one monotonic clock since the history began.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Everything that was recorded of one run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct History {
    /// The form's version, [`crate::VERSION`].
    pub version: u32,
    /// What clients did.
    pub operations: Vec<Operation>,
    /// What the watcher of each API server was sent.
    pub watches: Vec<Watch>,
    /// What each API server and each member of etcd held at the end, when no request was under way.
    pub finals: Vec<Final>,
    /// What probes were answered.
    pub probes: Vec<Probe>,
    /// The states of Leases, in the order of their versions.
    pub leases: Vec<LeaseRecord>,
    /// What the candidates for Leases wrote, in the order in which an API server took it.
    pub acts: Vec<Act>,
}

/// One request of one client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Operation {
    /// Who asked. A client has one request under way at a time.
    pub client: u32,
    /// The connection it used: a new number for each, over all clients.
    pub connection: u32,
    /// Which address was asked: the load balancer or an API server.
    pub endpoint: String,
    /// The object.
    pub key: String,
    /// What was asked.
    pub action: Action,
    /// When the request was sent.
    pub invoked: u64,
    /// When the answer was there, or when the client gave up; nothing if neither had happened at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed: Option<u64>,
    /// What the client learned.
    pub outcome: Outcome,
}

/// A state of an object: its payload, which is unique to the request that wrote it, and its resourceVersion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Seen {
    /// Which write it is.
    pub payload: u64,
    /// The resourceVersion.
    pub version: u64,
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "verb", rename_all = "camelCase", deny_unknown_fields)]
pub enum Action {
    /// Create the object with this payload.
    Create {
        /// The payload, used by no other request.
        payload: u64,
    },
    /// Replace the object if it still is what the client saw.
    Update {
        /// The payload, used by no other request.
        payload: u64,
        /// What it replaces.
        replaces: Seen,
    },
    /// Delete the object, if a state is given only while it is that.
    Delete {
        /// The only state that may be deleted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<Seen>,
    },
    /// Read the object.
    Get {
        /// What the read may return.
        consistency: Consistency,
    },
}

impl Action {
    /// The payload that the request writes.
    #[must_use]
    pub fn payload(&self) -> Option<u64> {
        match self {
            Self::Create { payload } | Self::Update { payload, .. } => Some(*payload),
            Self::Delete { .. } | Self::Get { .. } => None,
        }
    }

    /// The one state that the request replaces.
    #[must_use]
    pub fn replaces(&self) -> Option<Seen> {
        match self {
            Self::Update { replaces, .. } => Some(*replaces),
            Self::Delete { replaces } => *replaces,
            Self::Create { .. } | Self::Get { .. } => None,
        }
    }

    /// The verb, as Kubernetes names it.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Update { .. } => "update",
            Self::Delete { .. } => "delete",
            Self::Get { .. } => "get",
        }
    }
}

/// What a read may return.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Consistency {
    /// The newest state: no resourceVersion is given.
    Quorum,
    /// Whatever the API server's watch cache has: `resourceVersion=0`.
    Cached,
}

/// What a client learned of its request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "result", rename_all = "camelCase", deny_unknown_fields)]
pub enum Outcome {
    /// A write was acknowledged.
    Done {
        /// The resourceVersion of what was written; an API server need not give one for a delete.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<u64>,
    },
    /// A read found this.
    Found {
        /// What the object was.
        seen: Seen,
    },
    /// There was no such object.
    NotFound,
    /// The object was not what the request replaces.
    Conflict,
    /// There was such an object before.
    AlreadyExists,
    /// The request was certainly not carried out, and that says nothing of the object: 429, or no connection.
    Rejected {
        /// Why.
        reason: String,
    },
    /// The request may have been carried out, or may be yet: a timeout, a connection that was reset, a 5xx.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// What one watcher was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Watch {
    /// Which API server.
    pub server: String,
    /// In the order in which it arrived.
    pub entries: Vec<WatchEntry>,
}

/// One thing that a watcher did or was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WatchEntry {
    /// When.
    pub at: u64,
    /// What.
    pub item: WatchItem,
}

/// What a watcher did or was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase", deny_unknown_fields)]
pub enum WatchItem {
    /// It listed: the first time, or after a 410.
    Listed {
        /// The list's resourceVersion.
        version: u64,
        /// All objects.
        objects: BTreeMap<String, Seen>,
    },
    /// It opened a watch after this resourceVersion.
    Opened {
        /// The resourceVersion of the request.
        version: u64,
    },
    /// An object changed.
    Event {
        /// How.
        kind: WatchKind,
        /// The object.
        key: String,
        /// Its state; of a deletion the last payload and the deletion's resourceVersion.
        seen: Seen,
    },
    /// All up to this resourceVersion was sent.
    Bookmark {
        /// The resourceVersion.
        version: u64,
    },
    /// The API server has the events after the requested resourceVersion no more: 410.
    Expired,
    /// The watch ended otherwise.
    Closed {
        /// Why.
        reason: String,
    },
}

/// How an object changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum WatchKind {
    /// It was not there before.
    Added,
    /// It was there before.
    Modified,
    /// It is gone.
    Deleted,
}

/// What one place held at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Final {
    /// An API server or a member of etcd.
    pub place: String,
    /// All objects.
    pub objects: BTreeMap<String, Seen>,
}

/// One probe of an open loop: it is sent by the clock, whether those before it were answered or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Probe {
    /// Which address was asked.
    pub endpoint: String,
    /// What was asked: `read`, `list`, `write`.
    pub kind: String,
    /// When the clock said that it is to be sent.
    pub scheduled: u64,
    /// When it was answered, or given up.
    pub completed: u64,
    /// How it ended.
    pub result: ProbeResult,
}

/// How a probe ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ProbeResult {
    /// As asked.
    Ok,
    /// Not so, for this reason: `refused`, `reset`, `timeout`, `HTTP 503`.
    Failed(String),
}

/// A state of a Lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LeaseRecord {
    /// When it was seen.
    pub at: u64,
    /// The Lease.
    pub lease: String,
    /// Who holds it; nothing after it was released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// When its holder says it was acquired.
    pub acquired: u64,
    /// When its holder says it was renewed.
    pub renewed: u64,
    /// How long it holds after it was renewed.
    pub duration: u64,
    /// How often it went from one holder to another.
    pub transitions: u64,
    /// Its resourceVersion.
    pub version: u64,
}

/// Something that a candidate for a Lease wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Act {
    /// When an API server answered it.
    pub at: u64,
    /// Which Lease its author must hold.
    pub lease: String,
    /// Who wrote it, named as the Lease's holder is.
    pub author: String,
    /// What it was, as `create pods`.
    pub what: String,
}
