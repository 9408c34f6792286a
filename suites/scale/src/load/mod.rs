//! Load on a control plane: a plan of nodes, pods and requests, the run of it, and what was measured.
//!
//! Requests are sent by schedule and timed from when they were due, so that a control plane that stalls is seen to
//! stall: a generator that waits for one answer before it sends the next would measure only the good moments.

mod driver;
mod fill;
mod machine;
mod observer;
mod report;
mod steady;

use std::time::Duration;

pub use driver::{LoadError, clean_up, drive};
pub use machine::{Machine, Spent};
pub use report::{Latency, Objective, Report, Series};

/// What a run loads a control plane with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// The whole envelope: nodes, pods, containers and Services, most pods bound in advance.
    Envelope,
    /// 30 pods a node, all of them placed by the scheduler.
    Density,
    /// Few pods that stay, and as many that come and go as the objectives allow: 20 changes a second.
    Churn,
    /// 30 pods a node, all of them at once.
    Burst,
    /// Many pods, and clients that list all of them.
    ListStorm,
}

impl Profile {
    /// All profiles, with their names.
    pub const ALL: [(&'static str, Self); 5] = [
        ("envelope", Self::Envelope),
        ("density", Self::Density),
        ("churn", Self::Churn),
        ("burst", Self::Burst),
        ("list-storm", Self::ListStorm),
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, one)| *one == self).map_or("", |(name, _)| name)
    }
}

/// The limits that a scale of 1 means.
pub const ENVELOPE: (u32, u32, u32) = (5_000, 150_000, 300_000);

/// What is to be created, and how long it is measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The profile.
    pub profile: Profile,
    /// The part of the envelope.
    pub scale: f64,
    /// Nodes.
    pub nodes: u32,
    /// Pods that stay.
    pub pods: u32,
    /// Containers of each pod.
    pub containers: u32,
    /// Pods that the scheduler places; the rest is created with their node.
    pub scheduled: u32,
    /// How long requests are measured once all pods are ready.
    pub steady: Duration,
    /// Pods a second that are created, timed and deleted meanwhile.
    pub pod_rate: f64,
    /// Requests of single objects a second meanwhile.
    pub request_rate: f64,
    /// Lists a second meanwhile: of all pods, of those of a namespace, of all nodes.
    pub list_rate: f64,
    /// The longest wait for progress before the run goes on with what it has reached.
    pub patience: Duration,
}

/// Why there is no such plan.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BadPlan {
    /// A scale that is no part of the envelope.
    #[error("a scale of {0} is no part of the envelope: expected more than 0 and at most 1")]
    Scale(f64),
    /// The machine has not enough memory.
    #[error(
        "{profile} at scale {scale} needs {needed} MiB of memory, and {left} MiB are left; scale {fits:.3} would fit"
    )]
    Memory {
        /// The profile.
        profile: &'static str,
        /// The scale.
        scale: f64,
        /// What it needs, in MiB.
        needed: u64,
        /// What is left, in MiB.
        left: u64,
        /// What would fit.
        fits: f64,
    },
}

impl Plan {
    /// The plan of a profile at a part of the envelope.
    ///
    /// # Errors
    /// [`BadPlan::Scale`].
    pub fn new(profile: Profile, scale: f64) -> Result<Self, BadPlan> {
        if !(scale > 0.0 && scale <= 1.0) {
            return Err(BadPlan::Scale(scale));
        }
        let part = |whole: u32| ((f64::from(whole) * scale).round() as u32).max(1);
        let (nodes, pods) = (part(ENVELOPE.0), part(ENVELOPE.1));
        let base = Self {
            profile,
            scale,
            nodes,
            pods,
            containers: 2,
            scheduled: pods / 10,
            steady: Duration::from_secs(60),
            pod_rate: 5.0,
            request_rate: 20.0,
            list_rate: 0.3,
            patience: Duration::from_secs(60),
        };
        Ok(match profile {
            Profile::Envelope => base,
            Profile::Density => Self { scheduled: pods, containers: 1, ..base },
            Profile::Churn => Self { pods: pods / 5, scheduled: pods / 50, pod_rate: 10.0, ..base },
            Profile::Burst => Self { scheduled: pods, containers: 1, pod_rate: 1.0, ..base },
            Profile::ListStorm => Self { list_rate: 5.0, ..base },
        })
    }

    /// What CI runs: 500 nodes and 10,000 pods with 20,000 containers, a third of them placed by the scheduler.
    #[must_use]
    pub fn ci() -> Self {
        Self {
            profile: Profile::Envelope,
            scale: 0.1,
            nodes: 500,
            pods: 10_000,
            containers: 2,
            scheduled: 3_000,
            steady: Duration::from_secs(30),
            pod_rate: 4.0,
            request_rate: 20.0,
            list_rate: 0.3,
            patience: Duration::from_secs(60),
        }
    }

    /// The memory that control plane and load take at most, in MiB: an estimate (docs/scale.md). Of two runs one
    /// with 100 nodes and 600 pods took 783 MiB, one with 500 nodes and 9,846 pods 1,752 MiB.
    #[must_use]
    pub fn memory(&self) -> u64 {
        800 + (u64::from(self.nodes) * 150 + u64::from(self.pods) * 100) / 1024
    }

    /// Is there memory enough?
    ///
    /// # Errors
    /// [`BadPlan::Memory`] with what would fit.
    pub fn fits(&self, left: u64) -> Result<(), BadPlan> {
        let needed = self.memory();
        if needed <= left {
            return Ok(());
        }
        let fits = self.scale * left.saturating_sub(800) as f64 / (needed - 800).max(1) as f64;
        Err(BadPlan::Memory { profile: self.profile.name(), scale: self.scale, needed, left, fits })
    }

    /// How long pods may take to be ready before the run goes on with those that are: as long as 50 a second take, and
    /// a minute.
    #[must_use]
    pub fn fill_limit(&self) -> Duration {
        Duration::from_secs(60 + u64::from(self.pods) / 50)
    }

    /// How many namespaces the pods are spread over: half of what a namespace may have.
    #[must_use]
    pub fn namespaces(&self) -> u32 {
        self.pods.div_ceil(1_500).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_of_one_is_the_envelope() {
        let plan = Plan::new(Profile::Envelope, 1.0).unwrap();
        assert_eq!((plan.nodes, plan.pods, plan.pods * plan.containers), ENVELOPE);
        assert!(u64::from(plan.pods) / u64::from(plan.namespaces()) <= 3_000);
        for bad in [0.0, -1.0, 1.01, f64::NAN] {
            assert!(Plan::new(Profile::Envelope, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_does_not_fit_names_what_would() {
        let plan = Plan::new(Profile::Envelope, 1.0).unwrap();
        assert_eq!(plan.fits(plan.memory()), Ok(()));
        let Err(BadPlan::Memory { fits, .. }) = plan.fits(4_000) else { panic!("it fits") };
        let smaller = Plan::new(Profile::Envelope, (fits * 1000.0).floor() / 1000.0).unwrap();
        assert_eq!(smaller.fits(4_000), Ok(()), "{fits}");
    }
}
