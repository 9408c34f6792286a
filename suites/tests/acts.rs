//! The registry of trials that act: every one is documented, runs somewhere, and names a defect that its suite has.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::{BTreeMap, BTreeSet};

use seaworthy_suites::suites;

/// What limits say whose defects would need a cluster larger than a test: unit tests of their judges catch them.
const BY_UNIT_TESTS: &str = "the-smallest-step-beyond";

#[test]
fn every_act_has_a_page_a_basis_and_a_defect() {
    let mut wrong = Vec::new();
    for suite in suites() {
        let defects: BTreeSet<_> = suite.defects.iter().map(|defect| defect.name).collect();
        for trial in &suite.trials {
            let Some(act) = trial.act() else { continue };
            let info = &trial.info;
            let mut lacks = |what: &str| wrong.push(format!("{} lacks {what}", info.id));
            for (what, missing) in [
                ("why it matters", info.why.is_empty()),
                ("how it is tried", info.how.is_empty()),
                ("a fix", info.remedy.is_empty()),
                ("a basis", info.basis.is_empty()),
                ("a cluster", act.on.is_empty()),
                ("a known defect", !defects.contains(act.caught_by) && act.caught_by != BY_UNIT_TESTS),
                ("an id of its suite", !info.id.starts_with(&format!("{}.", suite.name))),
            ] {
                if missing {
                    lacks(what);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_defect_catches_something() {
    for suite in suites() {
        let caught: BTreeSet<_> = suite.trials.iter().filter_map(|trial| Some(trial.act()?.caught_by)).collect();
        let idle: Vec<_> =
            suite.defects.iter().map(|defect| defect.name).filter(|name| !caught.contains(name)).collect();
        assert!(idle.is_empty(), "{}: no trial is caught by {idle:?}", suite.name);
    }
}

#[test]
fn ids_and_clusters_have_unique_names() {
    let mut ids = BTreeSet::new();
    let mut clusters = BTreeMap::new();
    for suite in suites() {
        for trial in &suite.trials {
            assert!(ids.insert(trial.info.id.clone()), "{} is there twice", trial.info.id);
            for need in trial.act().into_iter().flat_map(|act| &act.on) {
                let plain = need.slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
                assert!(plain && need.slug.len() <= 16, "'{}' is no part of a cluster's name", need.slug);
                let known = clusters.entry(need.slug).or_insert_with(|| need.clone());
                assert!(known == need, "{} names two different clusters", need.slug);
            }
        }
    }
}
