//! The bootstrap engine: real Kubernetes clusters on this machine, on hosts made of Linux namespaces.
//!
//! Built so far: [`assets`], the programs that a cluster is made of; [`kubeadm`], the configuration files that
//! describe it; [`pki`], its certificates, keys and kubeconfigs; and [`control_plane`], the command lines of its components.

pub mod assets;
pub mod control_plane;
pub mod kubeadm;
pub mod pki;
