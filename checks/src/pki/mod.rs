//! The PKI suite: what a node's certificates, keys and kubeconfigs are for, and whether they fit together.
//!
//! [`Facts::read`] discovers the PKI by role and reads it; [`checks`] is the registry. Every tool looks at expiry, file
//! modes or flags; that files, flags, kubeconfigs, running processes and other nodes agree is what is judged here.

pub mod api;
mod check;
pub mod discover;
pub mod expiry;
mod facts;
mod gap;
pub mod graph;
pub mod kubeconfig;
pub mod leak;
pub mod live;
pub mod plan;
mod reader;
pub mod settings;
pub mod store;
mod tally;
pub mod talos;
mod told;
mod trust;
pub mod x509;

pub use check::checks;
pub(crate) use check::renew_kubelet_client;
pub use facts::{Bundle, Client, Credential, Facts, Issued};
pub use gap::{Gap, Part};

/// A claim of the PKI suite.
pub type Check = crate::check::Claim<Facts>;

/// What a judge of the PKI suite sees.
pub type View<'a> = crate::check::View<'a, Facts>;

/// Another node of the fleet.
pub type Peer<'a> = crate::check::Peer<'a, Facts>;
