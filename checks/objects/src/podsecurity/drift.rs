//! What changes for a pod when another version's rules hold.

use super::{Control, Evaluator, Level, Pod, Policy, Version};

/// A control whose judgment of a pod differs between two versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// The control.
    pub control: Control,
    /// The reason and the detail of the version that refuses the pod.
    pub detail: String,
    /// Does the later version refuse what the earlier one allows? Otherwise it allows what the earlier one refuses.
    pub refuses: bool,
}

/// The controls that refuse a pod by the rules of one version, and not by those of the other.
///
/// A control of the baseline and the one of the restricted level that takes its place count as one.
#[must_use]
pub fn drift(evaluator: Evaluator, level: Level, from: Version, to: Version, pod: &Pod) -> Vec<Drift> {
    let [before, after] = [from, to].map(|version| evaluator.evaluate(Policy { level, version }, pod));
    let same = |one: Control, other: Control| {
        one == other || one.overridden_by() == Some(other) || other.overridden_by() == Some(one)
    };
    let mut drifts = Vec::new();
    for (here, there, refuses) in [(&after, &before, true), (&before, &after, false)] {
        for violation in here {
            if !there.iter().any(|other| same(violation.control, other.control)) {
                let detail = super::detail(std::slice::from_ref(violation));
                drifts.push(Drift { control: violation.control, detail, refuses });
            }
        }
    }
    drifts
}
