//! What is true of one thing: gathering facts, parsing them, judging them.
//!
//! A [`Host`](host::Host) answers [`Query`](host::Query)s; what it said is a [`Transcript`](host::Transcript). Facts
//! are parsed from a transcript and judged by [`Check`]s, both purely: the same transcript, profile and time always
//! give the same conclusions, on any machine. Nothing here writes to a host.

pub mod check;
pub mod conclusion;
pub mod construct;
pub mod effective;
pub mod fact;
pub mod host;
pub mod node;
pub mod pki;
pub mod profile;

pub use check::{Basis, Check, Claim, Persist, Remedy, Severity};
pub use conclusion::{Breach, Cause, Conclusion, Evidence, Inconclusive, Location, Verdict};
pub use fact::Fact;
pub use profile::{KubernetesVersion, Lifetimes, PkiProfile, Profile, Role, Runtime};
