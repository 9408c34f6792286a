//! The public key infrastructure of a cluster: what its files hold, and whether it fits together.

pub mod x509;
