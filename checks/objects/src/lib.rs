//! Kubernetes objects: reading them from manifests and judging them.
//!
//! [`manifest`] reads what `kubectl apply` would be given, and knows the file and the line of every field.
//! [`podsecurity`] is Pod Security admission without a cluster. Both work on [`Node`]s, which come from manifests
//! and from live objects alike. Nothing here asks a host or a cluster: every judge is a pure function.

mod cursor;
mod json;
pub mod manifest;
mod node;
pub mod podsecurity;
mod yaml;

pub use cursor::{Cursor, Field, Misfit, Place};
pub use node::{BadText, Member, Node, Tree};
