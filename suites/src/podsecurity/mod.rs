//! The Pod Security suite: would admission allow these workloads, and do namespaces ask it for what they should?
//!
//! Its claims over objects need no cluster: `run --suite podsecurity --manifests DIR`. Each control of the Pod Security
//! Standards is a claim, and each field at fault a finding with its file and line. The same claims judge the objects of
//! a cluster that is named. Claims that act ask a cluster's admission by dry run, and hold it against the evaluator.

mod controls;
mod defects;
mod documents;
mod live;
mod namespaces;
mod pages;
mod random;
mod special;

use seaworthy_objects::manifest::Object;
use seaworthy_objects::podsecurity::Offense;
use seaworthy_objects::{Cursor, Place};
use seaworthy_reports::{Basis, Cause, Evidence, Finding, Location, Outcome, Remedy, Severity, TrialInfo, Verdict};

use crate::objects::Objects;
use crate::trial::{Suite, Trial};

const STANDARDS: (&str, &str) =
    ("Pod Security Standards", "https://kubernetes.io/docs/concepts/security/pod-security-standards/");
const ADMISSION: (&str, &str) =
    ("Pod Security Admission", "https://kubernetes.io/docs/concepts/security/pod-security-admission/");

/// The Pod Security suite.
#[must_use]
pub fn podsecurity_suite() -> Suite {
    let mut trials = controls::trials();
    trials.extend(documents::trials());
    trials.extend(namespaces::trials());
    trials.extend(live::trials());
    Suite {
        name: "podsecurity",
        title: "Do workloads and namespaces hold to the Pod Security Standards?",
        trials,
        defects: &defects::DEFECTS,
    }
}

/// What is known of a claim over objects before it is judged.
struct Page {
    id: &'static str,
    title: &'static str,
    severity: Severity,
    labels: &'static [&'static str],
    aliases: &'static [&'static str],
    why: &'static str,
    how: &'static str,
    fix: &'static str,
    commands: &'static [&'static str],
    basis: (&'static str, &'static str),
}

impl Page {
    fn trial(&self, judge: impl Fn(&Objects) -> Verdict + Send + Sync + 'static) -> Trial {
        let own = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let remedy = Remedy { when: None, text: self.fix.to_owned(), commands: own(self.commands), persist: None };
        let basis = Basis { document: self.basis.0.to_owned(), url: Some(self.basis.1.to_owned()) };
        let info = TrialInfo {
            id: self.id.to_owned(),
            suite: "podsecurity".to_owned(),
            title: self.title.to_owned(),
            severity: self.severity,
            labels: own(self.labels),
            aliases: own(self.aliases),
            basis: vec![basis],
            why: self.why.to_owned(),
            how: self.how.to_owned(),
            remedy: vec![remedy],
        };
        Trial::of_objects(info, std::time::Duration::from_secs(10), judge)
    }
}

/// Where a field is; nowhere of a live object.
fn place(object: &Object, at: &Place) -> Option<Location> {
    let line = at.line.or(Some(object.line).filter(|line| *line > 0));
    (!object.file.is_empty()).then(|| Location { path: object.file.to_string(), line })
}

/// A finding about a field of an object; the subject is unique to both.
fn finding(object: &Object, at: &Place, message: String) -> Finding {
    Finding {
        subject: format!("{object}: {}", at.path),
        message,
        found: None,
        wanted: None,
        at: place(object, at),
        remedy: Vec::new(),
        severity: None,
    }
}

/// A field at fault, in words.
fn offense(object: &Object, offense: &Offense) -> Finding {
    let field = field(&offense.at.path);
    let verb = if offense.found.is_some() || offense.owner.starts_with("volume") { "sets" } else { "does not set" };
    let message = format!("{object}: {} {verb} {field}", offense.owner);
    let finding = finding(object, &offense.at, message);
    Finding { found: offense.found.clone(), wanted: Some(offense.wanted.clone()), ..finding }
}

/// A path without what leads to the pod or to its container: `securityContext.privileged`.
fn field(path: &str) -> &str {
    if let Some(at) = path.find("metadata.annotations[") {
        return &path[at..];
    }
    ["ontainers[", "volumes["]
        .iter()
        .find_map(|list| path.find(list).and_then(|at| path[at..].split_once("].")).map(|(_, rest)| rest))
        .or_else(|| path.rsplit_once("spec.").map(|(_, rest)| rest))
        .unwrap_or(path)
}

fn passes(evidence: Vec<Evidence>) -> Verdict {
    Verdict { evidence, ..Verdict::of(Outcome::Pass) }
}

fn fails(findings: Vec<Finding>, evidence: Vec<Evidence>) -> Verdict {
    Verdict { findings, evidence, ..Verdict::of(Outcome::Fail) }
}

fn evidence(label: impl Into<String>, value: impl Into<String>) -> Evidence {
    Evidence { label: label.into(), value: value.into() }
}

/// Fails by its findings; without any it passes, unless something that could not be read may hide more.
fn verdict(objects: &Objects, findings: Vec<Finding>, evidence: Vec<Evidence>) -> Verdict {
    if !findings.is_empty() {
        return fails(findings, evidence);
    }
    match hidden(objects) {
        Some(undetermined) => Verdict { evidence, ..undetermined },
        None => passes(evidence),
    }
}

/// The verdict where something may hide objects.
fn hidden(objects: &Objects) -> Option<Verdict> {
    let problem = objects.hidden()?;
    let all = objects.manifests.problems.iter().filter(|problem| problem.trouble.hides_objects()).count();
    let more = if all > 1 { format!(" (and {} more)", all - 1) } else { String::new() };
    let why = format!("objects may be hidden: {problem}{more}");
    let cause = Cause { thing: problem.file.to_string(), why: why.clone() };
    Some(Verdict { because_of: Some(cause), ..Verdict::because(Outcome::Undetermined, why) })
}

/// The root of an object.
fn root(object: &Object) -> Place {
    Cursor::root(&object.node).place()
}

#[cfg(test)]
mod tests;
