//! The registry's lint: every check has a page, a basis, a remedy and an alias, and is seen to hold and to fail.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeSet;
use std::path::Path;

use seaworthy_checks::construct::{Edit, apply, lay};
use seaworthy_checks::host::Transcript;
use seaworthy_checks::node::{Facts, Peer, View, checks};
use seaworthy_checks::{Check, Conclusion, Profile, Verdict};

fn reference() -> Transcript {
    let mut transcript = Transcript::default();
    lay(&Path::new(env!("CARGO_MANIFEST_DIR")).join("nodes/reference"), &mut transcript).unwrap();
    transcript
}

fn judge(check: &Check, edits: &[Edit]) -> Conclusion {
    let mut transcript = reference();
    apply(&mut transcript, edits).unwrap_or_else(|error| panic!("{}: {error}", check.id));
    let mut profile = Profile::new(jiff::Timestamp::UNIX_EPOCH);
    if let Some(edit) = check.example.profile {
        edit(&mut profile);
    }
    let facts = Facts::read(&transcript);
    let Some(edits) = &check.example.peer else { return check.judge(&View::alone(&facts, &profile)) };
    let mut transcript = reference();
    apply(&mut transcript, edits).unwrap_or_else(|error| panic!("{}: {error}", check.id));
    let peer = Facts::read(&transcript);
    check.judge(&View { facts: &facts, profile: &profile, peers: &[Peer { name: "peer", facts: &peer }] })
}

#[test]
fn every_check_has_a_page_a_basis_a_remedy_and_an_alias() {
    let mut faults = Vec::new();
    for check in checks() {
        let mut fault = |what: &str| faults.push(format!("{}: {what}", check.id));
        let segments: Vec<_> = check.id.split('.').collect();
        let plain = |segment: &&str| {
            !segment.is_empty() && segment.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        };
        if segments.len() < 3 || segments[0] != "node" || !segments.iter().all(plain) {
            fault("the id is not node.family.name in lower case");
        }
        for (what, text) in [("title", &check.title), ("why", &check.why), ("how", &check.how)] {
            if text.trim().is_empty() {
                fault(&format!("no {what}"));
            }
        }
        if check.title.ends_with('.') || check.title.len() > 90 {
            fault("the title is no short claim without a full stop");
        }
        if check.basis.is_empty() {
            fault("no basis");
        }
        if check.remedy.is_empty() {
            fault("no remedy");
        }
        if check.aliases.is_empty() {
            fault("no alias");
        }
        if check.labels.is_empty() {
            fault("no label");
        }
        if check.example.bad.is_empty() {
            fault("no bad example");
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn ids_are_unique() {
    let mut seen = BTreeSet::new();
    for check in checks() {
        assert!(seen.insert(check.id.clone()), "{} is registered twice", check.id);
    }
}

#[test]
fn every_check_holds_on_its_good_node_and_fails_on_its_bad_one() {
    let mut faults = Vec::new();
    for check in checks() {
        let good = judge(&check, &check.example.good);
        if good.verdict != Verdict::Holds {
            faults.push(format!("{}: on the good node: {:?}", check.id, good.verdict));
        }
        let bad = judge(&check, &check.example.bad);
        match bad.verdict {
            Verdict::Breached(breaches) if breaches.iter().all(|b| !b.subject.is_empty() && !b.message.is_empty()) => {}
            other => faults.push(format!("{}: on the bad node: {other:?}", check.id)),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn nothing_is_concluded_of_a_node_that_nobody_looked_at() {
    let profile = Profile::new(jiff::Timestamp::UNIX_EPOCH);
    let facts = Facts::read(&Transcript::default());
    let view = View::alone(&facts, &profile);
    for check in checks() {
        let verdict = check.judge(&view).verdict;
        assert!(
            matches!(verdict, Verdict::Undetermined(_) | Verdict::NotApplicable(_)),
            "{}: {verdict:?} of an empty transcript",
            check.id
        );
    }
}
