//! The bootstrap engine: real Kubernetes clusters on this machine, on hosts made of Linux namespaces.
