//! The bootstrap engine: real Kubernetes clusters on this machine, on hosts made of Linux namespaces.
//!
//! Built so far: [`assets`], the programs that a cluster is made of, and [`pki`], its certificates, keys and kubeconfigs.

pub mod assets;
pub mod pki;
