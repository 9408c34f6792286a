//! Healthy nodes of the distributions that people run, and each with one thing broken at a time.
//!
//! A healthy node has no finding of severity high or above and leaves nothing undetermined that a joined node must
//! tell; a mutation adds exactly the findings that it names. The trees are written after what the installers leave on
//! disk.

#![allow(clippy::unwrap_used, reason = "test code")]

mod kubeadm;
mod managed;
mod rancher;
mod single;
mod tree;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use seaworthy_checks::host::{Host, Recorder};
use seaworthy_checks::node::{Facts, View, checks};
use seaworthy_checks::{KubernetesVersion, Profile, Role, Severity, Verdict};

use tree::Tree;

/// A node of a distribution, and what may break on it.
struct Node {
    name: &'static str,
    role: Role,
    /// The Kubernetes minor that it runs.
    minor: u32,
    tree: Tree,
    mutations: Vec<Mutation>,
}

/// One thing that breaks, and the findings that it causes.
struct Mutation {
    what: &'static str,
    edit: fn(&mut Tree),
    findings: &'static [&'static str],
}

/// A mutation, in the order of its fields.
fn mutation(what: &'static str, findings: &'static [&'static str], edit: fn(&mut Tree)) -> Mutation {
    Mutation { what, edit, findings }
}

fn nodes() -> Vec<Node> {
    [kubeadm::nodes(), rancher::nodes(), single::nodes(), managed::nodes()].into_iter().flatten().collect()
}

/// What is concluded of a node: the findings with their severities and messages, and what could not be determined.
struct Verdicts {
    findings: Vec<(Severity, String, String)>,
    undetermined: Vec<String>,
}

impl Verdicts {
    fn of(node: &Node, host: &dyn Host) -> Self {
        let now = jiff::Timestamp::from_second(1_767_225_600).unwrap();
        let mut profile = Profile::new(now);
        profile.kubernetes = KubernetesVersion(node.minor);
        profile.role = node.role;
        Self::judge(&Facts::read(host), &profile)
    }

    fn judge(facts: &Facts, profile: &Profile) -> Self {
        let view = View::alone(facts, profile);
        let mut all = Self { findings: Vec::new(), undetermined: Vec::new() };
        for check in checks() {
            match check.judge(&view).verdict {
                Verdict::Breached(breaches) => {
                    all.findings.push((check.severity, check.id.clone(), breaches[0].message.clone()));
                }
                Verdict::Undetermined(why) => all.undetermined.push(format!("{}: {why}", check.id)),
                Verdict::Holds | Verdict::NotApplicable(_) => {}
            }
        }
        all
    }

    fn ids(&self) -> BTreeSet<&str> {
        self.findings.iter().map(|(_, id, _)| id.as_str()).collect()
    }

    fn message(&self, wanted: &str) -> &str {
        self.findings.iter().find(|(_, id, _)| id == wanted).map_or("", |(_, _, message)| message)
    }
}

#[test]
fn a_healthy_node_of_each_distribution_has_no_finding_of_high_or_above() {
    let nodes = nodes();
    let names: BTreeSet<_> = nodes.iter().map(|node| node.name).collect();
    assert!(names.len() >= 14 && names.len() == nodes.len(), "{names:?}");
    let mut faults = String::new();
    for node in &nodes {
        let verdicts = Verdicts::of(node, &node.tree);
        for (severity, id, message) in &verdicts.findings {
            if *severity >= Severity::High {
                writeln!(faults, "{}: {severity:?} {id}: {message}", node.name).unwrap();
            }
        }
        for why in &verdicts.undetermined {
            writeln!(faults, "{}: undetermined {why}", node.name).unwrap();
        }
    }
    assert!(faults.is_empty(), "{faults}");
}

#[test]
fn a_mutation_adds_exactly_its_findings() {
    let mut faults = String::new();
    for node in nodes() {
        assert!(node.mutations.len() >= 5, "{} has {} mutations", node.name, node.mutations.len());
        let healthy = Verdicts::of(&node, &node.tree);
        for Mutation { what, edit, findings } in &node.mutations {
            let mut tree = node.tree.clone();
            edit(&mut tree);
            let verdicts = Verdicts::of(&node, &tree);
            let wanted: BTreeSet<_> = findings.iter().copied().collect();
            let added: BTreeSet<_> = verdicts.ids().difference(&healthy.ids()).copied().collect();
            for id in added.difference(&wanted) {
                writeln!(faults, "{}, {what}: unexpected {id}: {}", node.name, verdicts.message(id)).unwrap();
            }
            for id in wanted.difference(&added) {
                writeln!(faults, "{}, {what}: {id} is missing", node.name).unwrap();
            }
        }
    }
    assert!(faults.is_empty(), "{faults}");
}

/// Redaction takes nothing away that a judge needs, whatever the distribution.
#[test]
fn a_recording_is_judged_like_the_node() {
    let mut faults = String::new();
    for node in nodes() {
        let recorder = Recorder::new(&node.tree, false);
        let _ = Facts::read(&recorder);
        let (live, recorded) = (Verdicts::of(&node, &node.tree), Verdicts::of(&node, &recorder.finish()));
        for id in live.ids().symmetric_difference(&recorded.ids()) {
            let messages = (live.message(id), recorded.message(id));
            writeln!(faults, "{}: {id}: live and recorded: {messages:?}", node.name).unwrap();
        }
        for why in recorded.undetermined.iter().filter(|why| !live.undetermined.contains(why)) {
            writeln!(faults, "{}: undetermined in a recording: {why}", node.name).unwrap();
        }
    }
    assert!(faults.is_empty(), "{faults}");
}
