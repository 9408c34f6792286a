//! What is recorded is judged as the host is: a host that is recorded, and so reduced to what judges read, gets the same
//! conclusions, word for word.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use seaworthy_checks::construct::{apply, lay, lay_file};
use seaworthy_checks::host::{Query, Recorder, Transcript, is_listed, read_recording};
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

#[test]
fn examples_are_judged_the_same_before_and_after() {
    let mut wrong = Vec::new();
    for check in checks() {
        let mut profile = Profile::new(jiff::Timestamp::UNIX_EPOCH);
        if let Some(edit) = check.example.profile {
            edit(&mut profile);
        }
        for edits in [&check.example.good, &check.example.bad] {
            let mut transcript = reference();
            apply(&mut transcript, edits).unwrap();
            let reduced = recorded(&transcript);
            let facts = [Facts::read(&transcript), Facts::read(&reduced)];
            let mut peer = reference();
            apply(&mut peer, check.example.peer.as_deref().unwrap_or_default()).unwrap();
            let peers = [Facts::read(&peer), Facts::read(&recorded(&peer))];
            let [before, after] = [0, 1].map(|which| {
                let peers = [Peer { name: "peer", facts: &peers[which] }];
                let peers = if check.example.peer.is_some() { &peers[..] } else { &[] };
                check.judge(&View { facts: &facts[which], profile: &profile, peers })
            });
            if before != after {
                wrong.push(format!("{}: {before:?}\n    is recorded as {after:?}", check.id));
            }
        }
    }
    assert!(wrong.is_empty(), "a value that a judge reads is not kept:\n{}", wrong.join("\n"));
}
