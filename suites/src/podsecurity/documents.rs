//! Claims about manifests themselves: can they be read, and would the API server decode them?

use seaworthy_objects::manifest::{Problem, Trouble};
use seaworthy_reports::{Finding, Location, Outcome, Severity, Verdict};

use super::{ADMISSION, Page, evidence, finding, hidden, passes};
use crate::objects::Objects;
use crate::trial::Trial;

const READABLE: Page = Page {
    id: "podsecurity.manifest.readable",
    title: "Every manifest is YAML or JSON, with each field once",
    severity: Severity::High,
    labels: &["manifest"],
    aliases: &[],
    why: "What cannot be read cannot be judged, and kubectl refuses it. Of a field that is there twice, strict \
          validation refuses both, and without it the last one counts, whatever the reader believes.",
    how: "Reads each document as kubectl does. Templates are named and leave the claims about objects undetermined.",
    fix: "Fix the document, or render the template first.",
    commands: &["helm template CHART | seaworthy run --suite podsecurity --manifests -"],
    basis: ("kubectl apply", "https://kubernetes.io/docs/reference/kubectl/generated/kubectl_apply/"),
};

const DECODES: Page = Page {
    id: "podsecurity.manifest.decodes",
    title: "The API server decodes every workload",
    severity: Severity::High,
    labels: &["manifest"],
    aliases: &[],
    why: "A field of the wrong type, such as `privileged: \"false\"`, makes the API server refuse the object.",
    how: "Compares the type of each field that Pod Security reads with the API's.",
    fix: "Write the value in the type that the API has.",
    commands: &["kubectl apply --dry-run=server -f FILE"],
    basis: ADMISSION,
};

pub(super) fn trials() -> Vec<Trial> {
    vec![READABLE.trial(readable), DECODES.trial(decodes)]
}

fn readable(objects: &Objects) -> Verdict {
    let broken = |problem: &&Problem| matches!(problem.trouble, Trouble::Syntax | Trouble::Repeated);
    let of = |problem: &Problem| Finding {
        subject: format!("{}:{}", problem.file, problem.line.unwrap_or_default()),
        message: problem.why.clone(),
        found: None,
        wanted: None,
        at: Some(Location { path: problem.file.to_string(), line: problem.line }),
        remedy: Vec::new(),
        severity: (problem.trouble == Trouble::Repeated).then_some(Severity::Medium),
    };
    let findings: Vec<_> = objects.manifests.problems.iter().filter(broken).map(of).collect();
    if !findings.is_empty() {
        return super::fails(findings, Vec::new());
    }
    hidden(objects).unwrap_or_else(|| passes(vec![evidence("files", objects.manifests.files.to_string())]))
}

fn decodes(objects: &Objects) -> Verdict {
    let mut findings = Vec::new();
    for (object, judged) in objects.workloads() {
        for misfit in &judged.workload.misfits {
            findings.push(finding(object, &misfit.at, format!("{object}: {misfit}")));
        }
    }
    if findings.is_empty() && objects.workloads().len() == 0 && objects.hidden().is_none() {
        return Verdict::because(Outcome::NotApplicable, "no object holds a pod or a pod's template");
    }
    super::verdict(objects, findings, Vec::new())
}
