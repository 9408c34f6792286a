//! What a user asks for by name: a soak, which is faults at random for a while, and an observation, while somebody
//! else breaks what he likes.

use std::sync::OnceLock;
use std::time::Duration;

use super::faults::{DRILLS, Drill, PLAIN, Stay};
use super::topology::BY_UNIT_TESTS;
use super::{CLUSTERS, LIMIT, STACKED, TOPOLOGY, drill};
use crate::cluster::{Claim, Requirement, Stop};
use crate::trial::Trial;

/// A soak, or an observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Long {
    /// How long faults come at random, and the seed that chooses them.
    pub soak: Option<(Duration, u64)>,
    /// How long to look on.
    pub observe: Option<Duration>,
}

static LONG: OnceLock<Long> = OnceLock::new();

/// Sets what the user asked for; without, neither runs. Only the first call counts.
pub fn set_long(long: Long) {
    let _ = LONG.set(long);
}

fn asked() -> Long {
    LONG.get().copied().unwrap_or_default()
}

static SOAK: Drill = Drill {
    name: "soak",
    title: "Nothing is lost while faults come at random",
    why: "A fault that comes while the last one is being mended meets what no single drill does.",
    stay: Stay::Soak,
    caught_by: BY_UNIT_TESTS,
    ..PLAIN
};

static OBSERVE: Drill = Drill {
    name: "observe",
    title: "Nothing is lost while somebody else breaks the cluster",
    why: "Whoever pulls a plug or upgrades wants to know what clients saw of it.",
    stay: Stay::Observe,
    caught_by: BY_UNIT_TESTS,
    ..PLAIN
};

/// Which faults a soak chooses from: those that undo themselves take no part, nor those that wait for a node.
pub(super) fn choices() -> Vec<&'static Drill> {
    let comes = |drill: &&Drill| matches!(drill.stay, Stay::Bound | Stay::Refused | Stay::Takeover(_));
    DRILLS.iter().filter(comes).filter(|drill| drill.name != PLAIN.name && !drill.resumes).collect()
}

/// How long the drill under way is to last, and the seed.
pub(super) fn span(stay: Stay) -> (Duration, u64) {
    match stay {
        Stay::Soak => asked().soak.unwrap_or_default(),
        _ => (asked().observe.unwrap_or_default(), 0),
    }
}

pub(super) fn trials() -> [Trial; 2] {
    [(&SOAK, asked().soak.map(|(span, _)| span), "--soak 10m"), (&OBSERVE, asked().observe, "--observe 10m")]
        .map(|(drill, span, option)| trial(drill, span, option))
}

fn trial(drill: &'static Drill, span: Option<Duration>, option: &'static str) -> Trial {
    let claim =
        Claim::new(format!("ha.{}", drill.name), drill.title, [STACKED], drill.caught_by, move |ctx| async move {
            if span.is_none() {
                return Err(Stop::NotApplicable(format!("it was not asked for; to do so: {option}")));
            }
            drill::run(ctx, drill).await
        });
    let claim = claim
        .why(drill.why)
        .how(
            "The load, the watchers and the judgment are those of the drills; gaps are told and held against no bound, \
             since faults meet",
        )
        .fix("See history.json and docs/ha.md for what each checker demands")
        .basis(TOPOLOGY.0, TOPOLOGY.1)
        .basis(CLUSTERS.0, CLUSTERS.1)
        .alias(format!("failover: {}", drill.name))
        .label("disruptive")
        .limit(span.unwrap_or_default() + LIMIT)
        .disturbs();
    // Whoever looks on breaks nothing.
    if drill.stay == Stay::Soak { claim.requires(Requirement::Faults).trial() } else { claim.trial() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_soak_chooses_from_crashes_and_silences_that_can_be_undone() {
        let names: Vec<_> = choices().iter().map(|drill| drill.name).collect();
        assert!(names.contains(&"etcd-leader-crash") && names.contains(&"quorum-loss"), "{names:?}");
        assert!(!names.contains(&"rolling-restart") && !names.contains(&"worker-down"), "{names:?}");
        assert!(!names.contains(&"none"), "{names:?}");
    }
}
