//! Trials that act on a cluster: what they are made of.
//!
//! An [`Act`] is a trial whose body is an async function over a [`Ctx`]: one cluster, one API client, a namespace of
//! its own, the steps that it took, and a stack of what to clean up. The harness raises the cluster that an act
//! [needs](ClusterNeed), or is given one by kubeconfig, and calls [`Act::run`]; whatever the body does, `run` cleans
//! up, and says what is left.

mod act;
mod artifacts;
mod claim;
mod condition;
mod ctx;
mod defect;
mod exec;
mod hook;
mod need;
mod objects;
mod pods;
mod script;
mod simulated;
mod snapshot;
mod stop;
mod sweep;
mod target;

pub use act::{Access, Act, Acted, Order, Requirement, leave};
pub use artifacts::Artifact;
pub use claim::Claim;
pub use condition::Condition;
pub use ctx::{Ctx, Step};
pub use defect::Defect;
pub use exec::Executed;
pub use hook::{Hook, HookError};
pub use need::{ClusterNeed, Families};
pub(crate) use objects::in_the_way;
pub use objects::{Attempt, Ref, Rejection};
pub use pods::{Dialed, PodSpec};
pub use script::{Pod, container, container_is, status_of};
pub use simulated::{Fleet, NodeSpec, Placed, SIMULATED};
pub use stop::Stop;
pub use sweep::{Swept, sweep};
pub use target::{ClusterFacts, Ours, Target, TargetError, own_image};

/// The label of everything that a run makes: its value is the run's id, which `seaworthy cluster sweep` looks for.
pub const RUN_LABEL: &str = "seaworthy.dev/run";
