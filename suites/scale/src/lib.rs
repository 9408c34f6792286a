//! How large a cluster is, and how it behaves when it is: the use that a cluster makes of every limit that Kubernetes
//! documents, and load that drives a cluster towards these limits with simulated nodes.
//!
//! [`audit`] reads and judges; it changes nothing. [`load`] creates nodes, pods and requests, measures what the control
//! plane makes of them, and deletes what it created.

pub mod audit;
pub mod load;
mod prometheus;
mod wire;
