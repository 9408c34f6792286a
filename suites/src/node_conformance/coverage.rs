//! Which of upstream's tests is covered by which of our trials, and why the others are not: `docs/node-conformance.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::upstream::upstream_names;

/// Why tests of upstream are not covered, by what their names contain.
const REASONS: &[(&str, &str)] = &[
    (" InPlace Resize ", "not yet: resizing pods in place"),
    ("Pods should cap back-off at MaxContainerBackOff", "takes more than twenty minutes"),
    ("Pods should have their auto-restart back-off timer reset", "wants a second image, and minutes of back-off"),
    ("private registry with", "our registry serves everybody"),
    ("should run with an image specified user ID", "wants an image with a user; ours has none"),
    ("Job containers restarted by container restart policy", "about the Job controller rather than the node"),
    ("should allow multiple RestartAllContainers actions", "not yet"),
];

const INTRODUCTION: &str = "\
# Coverage of upstream's [NodeConformance] tests

The suite `node-conformance` does the work of these tests of Kubernetes 1.37 (`test/e2e`). Each trial carries the
names of the tests that it covers as aliases, so `FOCUS` and `SKIP` select by either. This page is generated from the
registry of trials by `SEAWORTHY_BLESS=1 cargo test --workspace --test node_conformance`, and a test compares it.

";

/// The page.
#[must_use]
pub fn node_conformance_coverage() -> String {
    let mut by_name: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for trial in super::node_conformance_suite().trials {
        for name in upstream_names().filter(|name| trial.info.aliases.iter().any(|alias| alias == name)) {
            by_name.entry(name).or_default().push(trial.info.id.clone());
        }
    }
    let all = upstream_names().count();
    let mut page = INTRODUCTION.to_owned();
    let _ = writeln!(page, "{} of {all} tests are covered.\n", by_name.len());
    page += "| upstream's test | our trial, or why there is none |\n|---|---|\n";
    for name in upstream_names() {
        let cell = match by_name.get(name) {
            Some(trials) => trials.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", "),
            None => reason(name).unwrap_or("**no reason**").to_owned(),
        };
        let name = name.replace('|', "\\|").replace('*', "\\*");
        let _ = writeln!(page, "| {name} | {cell} |");
    }
    page
}

/// Why a test is not covered.
fn reason(name: &str) -> Option<&'static str> {
    REASONS.iter().find(|(part, _)| name.contains(part)).map(|(_, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_is_covered_or_has_a_reason() {
        let page = node_conformance_coverage();
        assert!(
            !page.contains("**no reason**"),
            "{}",
            page.lines().filter(|line| line.contains("**no")).collect::<Vec<_>>().join("\n")
        );
        // A reason for a test that is covered is stale.
        for (part, reason) in REASONS {
            assert!(
                page.lines().any(|line| line.contains(part) && line.ends_with(&format!("| {reason} |"))),
                "stale: {part}"
            );
        }
    }

    #[test]
    fn every_trial_names_a_defect_and_every_defect_catches_a_trial() {
        let suite = super::super::node_conformance_suite();
        let known: Vec<_> = suite.defects.iter().map(|defect| defect.name).collect();
        let used: Vec<_> = suite.trials.iter().filter_map(|trial| trial.act()).map(|act| act.caught_by).collect();
        for name in &used {
            assert!(known.contains(name), "there is no defect {name}");
        }
        for name in known {
            assert!(used.contains(&name), "no trial is caught by {name}");
        }
    }
}
