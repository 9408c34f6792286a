//! What a checker finds.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is wrong with a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// No order of the requests explains an answer.
    NotLinearizable,
    /// An acknowledged write is gone, and nothing replaced it.
    LostWrite,
    /// One request was carried out twice.
    WrittenTwice,
    /// Two writes replaced the same state.
    Fork,
    /// A state that no request wrote.
    Phantom,
    /// A request that was refused was carried out.
    RefusedWriteTookEffect,
    /// A read returned an older state than the read before it on the same connection.
    ReadWentBack,
    /// A quorum read returned an older state than one that was acknowledged or read before it began.
    StaleRead,
    /// A later write has a smaller resourceVersion.
    VersionWentBack,
    /// Two writes have the same resourceVersion.
    VersionReused,
    /// API servers and members of etcd hold different states at the end.
    PlacesDisagree,
    /// A watch sent an event whose resourceVersion is not greater than what it had sent.
    WatchOutOfOrder,
    /// A watch sent one event twice.
    WatchRepeated,
    /// A watch left out an event.
    WatchGap,
    /// A watch sent what nobody wrote, or a write otherwise than it was made.
    WatchPhantom,
    /// A watch said Added of an object that it knew, or Modified or Deleted of one that it did not.
    WatchKindWrong,
    /// A watch did not reach the last write until the end.
    WatchBehind,
    /// A Lease went to another holder before it ran out.
    LeaseTakenEarly,
    /// Somebody acted under a Lease that another one held.
    ActedWithoutLease,
    /// A Lease went to another holder, and its count of transitions did not grow.
    TransitionNotCounted,
}

impl Kind {
    /// What it is, in a few words.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::NotLinearizable => "no order of the requests explains the answer",
            Self::LostWrite => "an acknowledged write is lost",
            Self::WrittenTwice => "one request was carried out twice",
            Self::Fork => "two writes replaced the same state",
            Self::Phantom => "a state that no request wrote",
            Self::RefusedWriteTookEffect => "a refused write took effect",
            Self::ReadWentBack => "a read went back on one connection",
            Self::StaleRead => "a quorum read returned an old state",
            Self::VersionWentBack => "a later write has a smaller resourceVersion",
            Self::VersionReused => "two writes have the same resourceVersion",
            Self::PlacesDisagree => "API servers or members of etcd disagree",
            Self::WatchOutOfOrder => "a watch sent events out of order",
            Self::WatchRepeated => "a watch sent an event twice",
            Self::WatchGap => "a watch left out an event",
            Self::WatchPhantom => "a watch sent an event that no write explains",
            Self::WatchKindWrong => "a watch sent an event of the wrong type",
            Self::WatchBehind => "a watch stayed behind",
            Self::LeaseTakenEarly => "a Lease was taken before it ran out",
            Self::ActedWithoutLease => "a former holder acted after another one",
            Self::TransitionNotCounted => "a Lease changed its holder without counting it",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Anomaly {
    /// What kind of thing.
    pub kind: Kind,
    /// The object or the Lease.
    pub key: String,
    /// What was found and what was expected, with names, versions and times.
    pub detail: String,
    /// When it showed, in nanoseconds since the history began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// The operations that show it, by their place in the history.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<usize>,
}

impl Anomaly {
    pub(crate) fn new(kind: Kind, key: &str, detail: String) -> Self {
        Self { kind, key: key.to_owned(), detail, at: None, operations: Vec::new() }
    }

    pub(crate) fn at(mut self, at: u64) -> Self {
        self.at = Some(at);
        self
    }

    pub(crate) fn of(mut self, operations: &[usize]) -> Self {
        self.operations.extend_from_slice(operations);
        self
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.kind.title())?;
        if let Some(at) = self.at {
            write!(f, " at {} s", seconds(at))?;
        }
        write!(f, ": {}", self.detail)
    }
}

/// Nanoseconds as seconds with three places.
pub(crate) fn seconds(nanoseconds: u64) -> String {
    let milliseconds = nanoseconds / 1_000_000;
    format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000)
}
