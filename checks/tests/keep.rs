//! What is recorded is judged as the host is: a host that is recorded, and so reduced to what judges read, gets the
//! same conclusions, word for word.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use seaworthy_checks::construct::{Edit, apply, lay, lay_file};
use seaworthy_checks::host::{Query, Recorder, Transcript, is_listed, read_recording, redact};
use seaworthy_checks::node::{Facts, Peer, View, checks};
use seaworthy_checks::{Profile, pki};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("nodes").join(name)
}

fn reference() -> Transcript {
    let mut transcript = Transcript::default();
    lay(&folder("reference"), &mut transcript).unwrap();
    transcript
}

/// Constructed and recorded nodes, by name.
fn nodes() -> Vec<(String, Transcript)> {
    let mut nodes = vec![("reference".to_owned(), reference())];
    for kind in ["constructed", "recorded"] {
        let mut paths: Vec<_> = std::fs::read_dir(folder(kind)).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let transcript = if name.ends_with(".toml") {
                let mut transcript = reference();
                lay_file(&path, &mut transcript).unwrap();
                transcript
            } else if name.ends_with(".tar.zst") {
                read_recording(std::fs::File::open(&path).unwrap()).unwrap().1
            } else {
                continue;
            };
            nodes.push((name, transcript));
        }
    }
    nodes
}

/// What a recorder leaves of a host after both suites have asked.
fn recorded(transcript: &Transcript) -> Transcript {
    let recorder = Recorder::new(transcript, false);
    drop(Facts::read(&recorder));
    drop(pki::Facts::read(&recorder));
    recorder.finish()
}

#[test]
fn every_file_that_is_gathered_has_a_keeper() {
    let mut unlisted = BTreeSet::new();
    for (name, transcript) in nodes() {
        for (query, _) in recorded(&transcript).iter() {
            if let Query::Read { path } = query
                && !is_listed(path)
            {
                unlisted.insert(format!("{path}, gathered from {name}"));
            }
        }
    }
    assert!(unlisted.is_empty(), "add these to checks/src/host/keep/paths.rs:\n{unlisted:#?}");
}

#[test]
fn nodes_are_judged_the_same_before_and_after() {
    let mut wrong = Vec::new();
    let profile = Profile::new(jiff::Timestamp::from_second(1_767_225_600).unwrap());
    for (name, transcript) in nodes() {
        let reduced = recorded(&transcript);
        let (before, after) = (Facts::read(&transcript), Facts::read(&reduced));
        for check in checks() {
            let (before, after) =
                (check.judge(&View::alone(&before, &profile)), check.judge(&View::alone(&after, &profile)));
            if before != after {
                wrong.push(format!("{name} {}: {before:?}\n    is recorded as {after:?}", check.id));
            }
        }
        let (before, after) = (pki::Facts::read(&transcript), pki::Facts::read(&reduced));
        for check in pki::checks() {
            let (before, after) =
                (check.judge(&pki::View::alone(&before, &profile)), check.judge(&pki::View::alone(&after, &profile)));
            if before != after {
                wrong.push(format!("{name} {}: {before:?}\n    is recorded as {after:?}", check.id));
            }
        }
    }
    assert!(wrong.is_empty(), "a value that a judge reads is not kept:\n{}", wrong.join("\n"));
}

/// What is left of a host that differs from another, of which it is known already, in a few answers.
fn reduced(transcript: &Transcript, base: &Transcript, base_reduced: &Transcript) -> Transcript {
    let mut reduced = base_reduced.clone();
    let answers: BTreeMap<_, _> = base.iter().collect();
    for (query, answer) in transcript.iter().filter(|(query, answer)| answers.get(query) != Some(answer)) {
        reduced.insert(query.clone(), redact(query, answer.clone()));
    }
    let there: BTreeSet<_> = transcript.iter().map(|(query, _)| query).collect();
    answers.keys().filter(|query| !there.contains(*query)).for_each(|query| reduced.remove(query));
    reduced
}

#[test]
fn examples_are_judged_the_same_before_and_after() {
    let mut wrong = Vec::new();
    let base = reference();
    let base_reduced = reduced(&base, &Transcript::default(), &Transcript::default());
    for check in checks() {
        let mut profile = Profile::new(jiff::Timestamp::UNIX_EPOCH);
        if let Some(edit) = check.example.profile {
            edit(&mut profile);
        }
        for edits in [&check.example.good, &check.example.bad] {
            let read = |edits: &[Edit]| {
                let mut transcript = base.clone();
                apply(&mut transcript, edits).unwrap();
                [Facts::read(&transcript), Facts::read(&reduced(&transcript, &base, &base_reduced))]
            };
            let (facts, peers) = (read(edits), check.example.peer.as_deref().map(read));
            let [before, after] = [0, 1].map(|which| {
                let peers: Vec<_> = peers.iter().map(|peers| Peer { name: "peer", facts: &peers[which] }).collect();
                check.judge(&View { facts: &facts[which], profile: &profile, peers: &peers })
            });
            if before != after {
                wrong.push(format!("{}: {before:?}\n    is recorded as {after:?}", check.id));
            }
        }
    }
    assert!(wrong.is_empty(), "a value that a judge reads is not kept:\n{}", wrong.join("\n"));
}
