//! Every trial as a test of its own, for `cargo test` and `cargo nextest run`.
//!
//! `cargo test --test trials` puts every trial to every recorded and constructed node, and holds the outcome against
//! that node's snapshot. `SEAWORTHY_HOST=/ cargo test --test trials -- 'host::'` puts them to a live node, where a
//! claim that does not hold fails its test.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial as Test};
use seaworthy_checks::construct::{lay, lay_file};
use seaworthy_checks::host::{Layout, Meta, Transcript, read_recording};
use seaworthy_checks::{KubernetesVersion, Profile};
use seaworthy_reports::Outcome;
use seaworthy_suites::{Node, Source, suites};

fn checks(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../checks").join(path)
}

fn constructed(path: &Path) -> Node {
    let mut transcript = Transcript::default();
    lay(&checks("nodes/reference"), &mut transcript).unwrap();
    let about = lay_file(path, &mut transcript).unwrap();
    let hostname = path.file_stem().unwrap().to_str().unwrap().to_owned();
    let recorded = jiff::Timestamp::from_second(1_767_225_600).unwrap();
    Node::of(Meta { hostname, recorded, version: String::new(), constructed: Some(about) }, transcript)
}

/// The nodes of the repository, by the names of their files.
fn nodes() -> BTreeMap<String, Node> {
    let mut nodes = BTreeMap::new();
    for folder in ["nodes/constructed", "nodes/recorded"] {
        for entry in std::fs::read_dir(checks(folder)).unwrap() {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap().to_str().unwrap();
            if let Some(name) = file.strip_suffix(".toml") {
                nodes.insert(name.to_owned(), constructed(&path));
            } else if let Some(name) = file.strip_suffix(".tar.zst") {
                let (meta, transcript) = read_recording(std::fs::File::open(&path).unwrap()).unwrap();
                nodes.insert(name.to_owned(), Node::of(meta, transcript));
            }
        }
    }
    nodes
}

/// What the snapshot of a node says of a trial: it names those that do not hold.
fn expected(snapshot: &str, id: &str) -> Option<Outcome> {
    snapshot.lines().find_map(|line| {
        let (words, _) = line.split_once(": ")?;
        let mut words = words.split(' ');
        match (words.next()?, words.next_back()?) {
            ("FAIL", named) if named == id => Some(Outcome::Fail),
            ("undetermined", named) if named == id => Some(Outcome::Undetermined),
            _ => None,
        }
    })
}

fn main() {
    let arguments = Arguments::from_args();
    let mut tests = Vec::new();
    for (name, node) in nodes() {
        let path = checks(&format!("tests/snapshots/nodes__{name}.snap"));
        let snapshot: Arc<str> = std::fs::read_to_string(&path).unwrap().into();
        let mut profile = Profile::new(node.meta.recorded);
        if name.ends_with("-1-23") {
            profile.kubernetes = KubernetesVersion::OLDEST;
        }
        let (node, profile) = (Arc::new(node), Arc::new(profile));
        for trial in suites().into_iter().filter(|suite| suite.name == "node").flat_map(|suite| suite.trials) {
            let (node, profile, snapshot) = (node.clone(), profile.clone(), snapshot.clone());
            tests.push(Test::test(format!("{name}::{}", trial.info.id), move || {
                let verdict = trial.run(&node, &[], &profile);
                let as_expected = match expected(&snapshot, &trial.info.id) {
                    Some(outcome) => verdict.outcome == outcome,
                    None => matches!(verdict.outcome, Outcome::Pass | Outcome::NotApplicable),
                };
                if as_expected { Ok(()) } else { Err(Failed::from(format!("{verdict:#?}"))) }
            }));
        }
    }
    if let Some(root) = std::env::var_os("SEAWORTHY_HOST") {
        let source = Source::open(Path::new(&root), &Layout::default()).unwrap();
        // No probes: they start the program seaworthy, which this is not.
        let node = Arc::new(source.gather(true, &["node"]));
        let profile = Arc::new(Profile::new(jiff::Timestamp::now()));
        for trial in suites().into_iter().filter(|suite| suite.name == "node").flat_map(|suite| suite.trials) {
            let (node, profile) = (node.clone(), profile.clone());
            tests.push(Test::test(format!("host::{}", trial.info.id), move || {
                let verdict = trial.run(&node, &[], &profile);
                match verdict.outcome {
                    Outcome::Fail | Outcome::Errored => Err(Failed::from(format!("{verdict:#?}"))),
                    _ => Ok(()),
                }
            }));
        }
    }
    libtest_mimic::run(&arguments, tests).exit();
}
