//! Recorded and constructed nodes, and what is concluded of each: one snapshot a node.
//!
//! `INSTA_UPDATE=always cargo test -p seaworthy-checks --test nodes` renews the snapshots; their diff is part of a
//! review.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use seaworthy_checks::construct::{lay, lay_file};
use seaworthy_checks::host::{Meta, Transcript, read_recording, write_recording};
use seaworthy_checks::node::{Facts, View, checks};
use seaworthy_checks::{KubernetesVersion, Profile, Verdict};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("nodes").join(name)
}

/// A constructed node as a recording that says so.
fn construct(path: &Path) -> (Meta, Transcript) {
    let mut transcript = Transcript::default();
    lay(&folder("reference"), &mut transcript).unwrap();
    let about = lay_file(path, &mut transcript).unwrap();
    let hostname = path.file_stem().unwrap().to_str().unwrap().to_owned();
    let recorded = jiff::Timestamp::from_second(1_767_225_600).unwrap();
    (Meta { hostname, recorded, version: env!("CARGO_PKG_VERSION").to_owned(), constructed: Some(about) }, transcript)
}

fn nodes() -> Vec<(String, Meta, Transcript)> {
    let mut nodes = Vec::new();
    for (kind, ending) in [("constructed", ".toml"), ("recorded", ".tar.zst")] {
        let mut files: Vec<_> = std::fs::read_dir(folder(kind)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for path in files {
            let file = path.file_name().unwrap().to_str().unwrap();
            let Some(name) = file.strip_suffix(ending) else { continue };
            let (meta, transcript) = match kind {
                "constructed" => construct(&path),
                _ => read_recording(std::fs::File::open(&path).unwrap()).unwrap(),
            };
            nodes.push((name.to_owned(), meta, transcript));
        }
    }
    nodes
}

/// Everything that does not hold, a line each, and how much does.
fn verdicts(meta: &Meta, transcript: &Transcript) -> String {
    let facts = Facts::read(transcript);
    let mut profile = Profile::new(meta.recorded);
    if meta.hostname.ends_with("-1-23") {
        profile.kubernetes = KubernetesVersion::OLDEST;
    }
    let view = View::alone(&facts, &profile);
    let (mut text, mut holds, mut not_applicable) = (String::new(), 0, 0);
    for check in checks() {
        match check.judge(&view).verdict {
            Verdict::Holds => holds += 1,
            Verdict::NotApplicable(_) => not_applicable += 1,
            Verdict::Breached(breaches) => {
                writeln!(text, "FAIL {:?} {}: {}", check.severity, check.id, breaches[0].message).unwrap();
            }
            Verdict::Undetermined(why) => writeln!(text, "undetermined {}: {why}", check.id).unwrap(),
        }
    }
    writeln!(text, "{holds} hold, {not_applicable} not applicable").unwrap();
    text
}

#[test]
fn each_node_is_judged_as_its_snapshot_says() {
    let nodes = nodes();
    assert!(nodes.len() >= 8, "{} nodes", nodes.len());
    for (name, meta, transcript) in nodes {
        insta::assert_snapshot!(
            name.as_str(),
            verdicts(&meta, &transcript),
            meta.constructed.as_deref().unwrap_or("recorded")
        );
    }
}

#[test]
fn a_constructed_node_is_the_same_through_a_recording() {
    for (name, meta, transcript) in nodes() {
        let mut file = Vec::new();
        write_recording(&meta, &transcript, &mut file).unwrap();
        assert_eq!(read_recording(&file[..]).unwrap(), (meta, transcript), "{name}");
    }
}

#[test]
fn the_nodes_that_tell_the_most_are_there() {
    let names: Vec<_> = nodes().into_iter().map(|(name, ..)| name).collect();
    for name in [
        "cgroup-v1",
        "cgroup-v2",
        "cgroup-hybrid",
        "swap-on",
        "no-br-netfilter",
        "two-runtimes",
        "cri-disabled",
        "truncated",
    ] {
        assert!(names.iter().any(|known| known == name), "{name}");
    }
}
