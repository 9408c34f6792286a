//! Consistency checkers over recorded histories of a Kubernetes API.
//!
//! A [`History`] holds what clients did and what they were told, what a watcher of each API server was sent, and
//! what every API server and every member of etcd held at the end. The checkers are pure functions over it:
//!
//! | module | what must hold |
//! |---|---|
//! | [`register`] | each key is a linearizable register with compare-and-swap |
//! | [`writes`] | no acknowledged write is lost, none happens twice, no refused one takes effect |
//! | [`reads`] | no read goes back on a connection, and quorum reads see what was acknowledged before them |
//! | [`versions`] | resourceVersions grow, and each names one write |
//! | [`watch`] | a watch log is ordered, complete after a resume, and equal to the history |
//! | [`lease`] | two holders of a lease never act at the same time |
//! | [`topology`] | what the objects of a cluster say of its availability: sizes, single points, spread |
//! | [`availability`] | measures: the longest gap and the latencies of probes that a clock sends |
//!
//! A request that got no answer is neither done nor not done: every checker takes it as "maybe".

pub mod anomaly;
pub mod availability;
pub mod document;
pub mod judge;
pub mod lease;
pub mod reads;
pub mod record;
pub mod register;
pub mod topology;
pub mod versions;
pub mod watch;
pub mod writes;

mod observed;

pub use anomaly::{Anomaly, Kind};
pub use document::{HistoryError, VERSION};
pub use judge::{Judgment, judge};
pub use record::{
    Act, Action, Consistency, Final, History, LeaseRecord, Operation, Outcome, Probe, ProbeResult, Seen, Watch,
    WatchEntry, WatchItem, WatchKind,
};
