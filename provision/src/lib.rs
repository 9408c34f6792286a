//! The bootstrap engine: real Kubernetes clusters on this machine, on hosts made of Linux namespaces.
//!
//! Built so far: [`assets`], the programs that a cluster is made of; [`kubeadm`], the configuration files that describe
//! it; [`pki`], its certificates, keys and kubeconfigs; [`control_plane`], the command lines of its components, and
//! [`manifest`], the static pods of them; [`bootstrap`] and [`shared_certs`], how nodes are let in; [`upload`], what it
//! remembers of its configuration; [`patches`], what users change of all that; [`balancer`], what stands before its API
//! servers; [`image`] and [`registry`], its images and where they are pulled from; [`node`], what runs on a node;
//! [`host`] and [`network`], what they run on; [`addon`], CoreDNS and kube-proxy as the cluster's objects; and
//! [`fault`], what breaks them.

pub mod addon;
pub mod assets;
pub mod balancer;
pub mod bootstrap;
pub mod cluster;
pub mod control_plane;
pub mod fault;
pub mod haproxy;
mod hidden;
pub mod host;
pub mod image;
pub mod kubeadm;
pub mod manifest;
pub mod network;
pub mod node;
pub mod patches;
pub mod pki;
pub mod registry;
pub mod shared_certs;
mod tls;
pub mod upload;
mod whole;

pub use hidden::hidden_main;
