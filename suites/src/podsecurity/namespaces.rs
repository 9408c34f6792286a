//! Claims about namespaces: their labels, and the workloads in them.

use seaworthy_objects::manifest::Object;
use seaworthy_objects::podsecurity::{
    Defaults, Exemptions, Flaw, Mode, Namespace, Policy, Version, detail, drift, flaws, resolve,
};
use seaworthy_reports::{Finding, Outcome, Remedy, Severity, Verdict};

use super::{ADMISSION, Page, evidence, finding, hidden, offense, root, verdict};
use crate::objects::{Judged, Objects};
use crate::trial::Trial;

const fn page(
    id: &'static str,
    title: &'static str,
    severity: Severity,
    why: &'static str,
    how: &'static str,
    fix: &'static str,
) -> Page {
    Page { id, title, severity, labels: &["namespace"], aliases: &[], why, how, fix, commands: &[], basis: ADMISSION }
}

const LABELED: Page = page(
    "podsecurity.namespace.labels",
    "Every namespace has an enforce label of Pod Security",
    Severity::Medium,
    "Without a label every pod is allowed, privileged ones too, and nobody can tell whether that is meant.",
    "Reads the labels of each namespace; a default level of the API server's configuration counts.",
    "Label the namespace, with `privileged` where that is meant. --label-script writes a script with proposals.",
);
const VALUES: Page = page(
    "podsecurity.namespace.label-values",
    "Every label of Pod Security has a level or a version as its value",
    Severity::High,
    "The API server refuses to create such a namespace. One that has such a label already is held to `restricted` \
     where it is for enforce, and is neither audited nor warned of otherwise.",
    "Resolves each label as admission does.",
    "Use privileged, baseline or restricted, and latest or v1.N for versions.",
);
const NAMES: Page = page(
    "podsecurity.namespace.label-names",
    "Every label with the prefix of Pod Security is one that admission knows",
    Severity::Medium,
    "Admission ignores a misspelled label without a word.",
    "Compares the labels that begin with pod-security.kubernetes.io/ with the six that exist.",
    "Correct the label: enforce, audit and warn, each also with -version.",
);
const MODES: Page = page(
    "podsecurity.namespace.modes",
    "Audit and warn are at least as strict as enforce",
    Severity::Low,
    "Only audit and warn look at Deployments and the like: without them a workload is accepted, and its pods are \
     refused where nobody looks.",
    "Compares the levels and versions of the three modes, with admission's own defaults.",
    "Set audit and warn to the level that is enforced, or to a stricter one.",
);
const LEVEL: Page = page(
    "podsecurity.namespace.level",
    "Every namespace enforces the wanted level",
    Severity::Medium,
    "What is not enforced is allowed.",
    "Compares the enforced level of each labeled namespace, except Kubernetes' own, with --level.",
    "Enforce the level, once the workloads satisfy it.",
);
const PINNED: Page = page(
    "podsecurity.namespace.pinned",
    "A namespace that pins an older version audits and warns by the newest",
    Severity::Low,
    "Controls that newer versions add do not apply to the namespace, and nobody sees what they would refuse.",
    "Compares the pinned version with the newest, and the versions of audit and warn.",
    "Set audit-version and warn-version to latest, and raise enforce-version when nothing is reported.",
);
const FUTURE: Page = page(
    "podsecurity.namespace.future",
    "No label names a version that the cluster does not have yet",
    Severity::Medium,
    "Admission takes such a version for its newest, so that each upgrade changes what is refused, which a pin is to \
     prevent.",
    "Compares the versions of labels with --kubernetes-version.",
    "Pin the version of the cluster, or say latest.",
);
const WORKLOADS: Page = page(
    "podsecurity.namespace.workloads",
    "Every workload satisfies what its namespace enforces",
    Severity::High,
    "Admission refuses the pods of the workload; the workload itself it accepts, so that a rollout looks as if it had \
     worked.",
    "Evaluates each workload by the enforced policy of its namespace, of those that are among the objects.",
    "Change the workload, or the namespace's label.",
);
const NEXT: Page = page(
    "podsecurity.namespace.next-level",
    "Every workload satisfies the level above the one that its namespace enforces",
    Severity::Info,
    "It shows what keeps a namespace from the next level.",
    "Evaluates each workload by the next level, up to --level.",
    "Change the workloads that are named, then enforce the next level.",
);
const DRIFT: Page = page(
    "podsecurity.version.drift",
    "The newest version refuses nothing that the policy's version allows",
    Severity::Low,
    "An upgrade, or a later pin, brings controls that a workload does not satisfy yet.",
    "Evaluates each workload by --policy-version and by the newest version.",
    "Change the workloads before the version is raised.",
);
const EXEMPT: Page = page(
    "podsecurity.exemptions",
    "Exemptions of the API server's configuration are narrow",
    Severity::High,
    "A controller's service account makes the pods of every user: exempting it exempts everybody. An exempt namespace \
     or RuntimeClass is open to all who may create pods in or with it.",
    "Reads AdmissionConfiguration and PodSecurityConfiguration objects.",
    "Remove the exemption, and label the namespace `privileged` where that is meant.",
);

type Judge = fn(&Objects) -> Verdict;

pub(super) fn trials() -> Vec<Trial> {
    let all: [(&Page, Judge); 11] = [
        (&LABELED, |objects| flawed(objects, |flaw| matches!(flaw, Flaw::Missing { .. }))),
        (&VALUES, |objects| flawed(objects, |flaw| matches!(flaw, Flaw::Invalid(_)))),
        (&NAMES, |objects| flawed(objects, |flaw| matches!(flaw, Flaw::Unknown { .. }))),
        (&MODES, |objects| flawed(objects, |flaw| matches!(flaw, Flaw::Weaker { .. }))),
        (&LEVEL, |objects| flawed(objects, |flaw| matches!(flaw, Flaw::Below { .. }))),
        (&PINNED, |objects| flawed(objects, |flaw| matches!(flaw, Flaw::Pinned { .. }))),
        (&FUTURE, |objects| flawed(objects, |flaw| matches!(flaw, Flaw::Future { .. }))),
        (&WORKLOADS, workloads),
        (&NEXT, next_level),
        (&DRIFT, drifts),
        (&EXEMPT, exemptions),
    ];
    all.into_iter().map(|(page, judge)| page.trial(judge)).collect()
}

/// The configuration of admission among the objects.
fn configuration(objects: &Objects) -> Option<(&Object, Exemptions)> {
    objects.manifests.objects.iter().find_map(|object| Some((object, Exemptions::of(object)?)))
}

fn defaults(objects: &Objects) -> Defaults {
    configuration(objects).map(|(_, configuration)| configuration.defaults).unwrap_or_default()
}

fn no_namespaces(objects: &Objects) -> Verdict {
    hidden(objects)
        .unwrap_or_else(|| Verdict::because(Outcome::NotApplicable, "there is no Namespace among the objects"))
}

fn flawed(objects: &Objects, is: fn(&Flaw) -> bool) -> Verdict {
    let namespaces = objects.namespaces();
    if namespaces.is_empty() {
        return no_namespaces(objects);
    }
    let standard = objects.standard;
    let mut findings = Vec::new();
    for (object, namespace) in &namespaces {
        let all = flaws(namespace, standard.policy.level, defaults(objects), standard.evaluator);
        findings.extend(all.iter().filter(|flaw| is(flaw)).map(|flaw| told(object, namespace, flaw, standard.policy)));
    }
    verdict(objects, findings, vec![evidence("namespaces", namespaces.len().to_string())])
}

fn told(object: &Object, namespace: &Namespace, flaw: &Flaw, wanted: Policy) -> Finding {
    let name = &namespace.name;
    let label = |policy: Policy, mode: Mode| format!("{}={}", mode.level_label(), policy.level);
    let fix = |labels: String| {
        let text = format!("Label the namespace {name}; the dry run shows which pods it concerns.");
        let command = format!("kubectl label --dry-run=server --overwrite namespace {name} {labels}");
        vec![Remedy { when: None, text, commands: vec![command], persist: None }]
    };
    match flaw {
        Flaw::Missing { at } => Finding {
            wanted: Some(label(wanted, Mode::Enforce)),
            remedy: fix(label(wanted, Mode::Enforce)),
            ..finding(object, at, format!("Namespace {name} has no label {}", Mode::Enforce.level_label()))
        },
        Flaw::Invalid(error) => finding(object, &error.value.at, format!("Namespace {name}: {error}")),
        Flaw::Unknown { label, at } => {
            finding(object, at, format!("Namespace {name} has the label {label}, which admission does not know"))
        }
        Flaw::Weaker { mode, policy, enforced, at } => Finding {
            found: Some(policy.to_string()),
            wanted: Some(format!("{enforced} or stricter")),
            remedy: fix(label(*enforced, *mode)),
            ..finding(object, at, format!("Namespace {name}: {} is weaker than enforce", mode.name()))
        },
        Flaw::Below { enforced, wanted, at } => Finding {
            found: Some(enforced.to_string()),
            wanted: Some(wanted.to_string()),
            ..finding(object, at, format!("Namespace {name} enforces less than the wanted level"))
        },
        Flaw::Pinned { enforced, at } => Finding {
            found: Some(enforced.to_string()),
            wanted: Some("audit-version and warn-version latest".to_owned()),
            remedy: fix(format!("{0}=latest {1}=latest", Mode::Audit.version_label(), Mode::Warn.version_label())),
            ..finding(
                object,
                at,
                format!("Namespace {name} pins an older version, and audits or warns by no newer one"),
            )
        },
        Flaw::Future { mode, policy, at } => Finding {
            found: Some(policy.version.to_string()),
            ..finding(
                object,
                at,
                format!("Namespace {name}: {} names a version that is not released", mode.version_label()),
            )
        },
    }
}

/// Workloads whose namespace is among the objects, with its policy.
fn placed(objects: &Objects) -> Vec<(&Object, &Judged, Policy)> {
    let namespaces = objects.namespaces();
    let policy = |name: &str| {
        let (_, namespace) = namespaces.iter().rev().find(|(_, namespace)| namespace.name == name)?;
        Some(resolve(namespace, defaults(objects)).0.enforce)
    };
    let workloads = objects.workloads();
    workloads.filter_map(|(object, judged)| Some((object, judged, policy(object.namespace.as_deref()?)?))).collect()
}

fn not_placed(objects: &Objects) -> Verdict {
    let why = "no workload names a namespace that is among the objects";
    hidden(objects).unwrap_or_else(|| Verdict::because(Outcome::NotApplicable, why))
}

fn workloads(objects: &Objects) -> Verdict {
    let placed = placed(objects);
    if placed.is_empty() {
        return not_placed(objects);
    }
    let (mut findings, mut said) = (Vec::new(), Vec::new());
    for (object, judged, policy) in &placed {
        let violations = objects.standard.evaluator.evaluate(*policy, &judged.pod);
        if !violations.is_empty() {
            let words = format!("violates PodSecurity \"{policy}\": {}", detail(&violations));
            said.push(evidence(object.to_string(), words));
        }
        findings.extend(violations.iter().flat_map(|one| &one.offenses).map(|field| offense(object, field)));
    }
    verdict(objects, findings, said)
}

fn next_level(objects: &Objects) -> Verdict {
    let (wanted, placed) = (objects.standard.policy.level, placed(objects));
    if placed.is_empty() {
        return not_placed(objects);
    }
    let mut findings = Vec::new();
    for (object, judged, policy) in &placed {
        let Some(level) = policy.level.next().filter(|next| *next <= wanted) else { continue };
        let next = Policy { level, version: policy.version };
        // What the enforced level refuses already is another claim's.
        let already = objects.standard.evaluator.evaluate(*policy, &judged.pod);
        let mut violations = objects.standard.evaluator.evaluate(next, &judged.pod);
        violations.retain(|one| !already.iter().any(|other| other.control == one.control));
        if let Some(first) = violations.first() {
            let at = first.offenses.first().map_or_else(|| root(object), |offense| offense.at.clone());
            let message = format!("{object} would violate PodSecurity \"{next}\": {}", detail(&violations));
            findings.push(finding(object, &at, message));
        }
    }
    verdict(objects, findings, Vec::new())
}

fn drifts(objects: &Objects) -> Verdict {
    let standard = objects.standard;
    let (own, newest) = (standard.evaluator.minor(standard.policy.version), standard.evaluator.server);
    if own == newest {
        return Verdict::because(Outcome::NotApplicable, format!("the policy's version is the newest, v1.{newest}"));
    }
    if objects.workloads().len() == 0 {
        let none = || Verdict::because(Outcome::NotApplicable, "no object holds a pod or a pod's template");
        return hidden(objects).unwrap_or_else(none);
    }
    let mut findings = Vec::new();
    for (object, judged) in objects.workloads() {
        let level = standard.policy.level;
        let all = drift(standard.evaluator, level, standard.policy.version, Version::V1(newest), &judged.pod);
        for one in all.iter().filter(|one| one.refuses) {
            let to = Policy { level, version: Version::V1(newest) };
            let message = format!("{object} would violate PodSecurity \"{to}\": {}", one.detail);
            let first = finding(object, &root(object), message);
            findings.push(Finding { subject: format!("{object}: {}", one.control.id()), ..first });
        }
    }
    verdict(objects, findings, vec![evidence("versions", format!("v1.{own} and v1.{newest}"))])
}

fn exemptions(objects: &Objects) -> Verdict {
    let Some((object, configuration)) = configuration(objects) else {
        let why = "there is no configuration of admission among the objects";
        return hidden(objects).unwrap_or_else(|| Verdict::because(Outcome::NotApplicable, why));
    };
    let wide = configuration.too_wide();
    let findings = wide
        .iter()
        .map(|(field, why)| finding(object, &field.at, format!("{} is exempt from Pod Security: {why}", field.value)));
    verdict(objects, findings.collect(), Vec::new())
}
