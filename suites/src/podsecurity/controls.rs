//! A claim for each control of the Pod Security Standards.

use seaworthy_objects::podsecurity::{Control, Level, detail};
use seaworthy_reports::{Cause, Outcome, Verdict};

use super::{evidence, hidden, offense, pages, verdict};
use crate::objects::Objects;
use crate::trial::Trial;

/// So many objects are quoted in admission's words; the findings name all.
const QUOTED: usize = 20;

pub(super) fn trials() -> Vec<Trial> {
    pages::CONTROLS.iter().map(|(control, page)| page.trial(|objects| judge(*control, objects))).collect()
}

fn judge(control: Control, objects: &Objects) -> Verdict {
    if let Some(why) = inapplicable(control, objects) {
        return Verdict::because(Outcome::NotApplicable, why);
    }
    let standard = objects.standard;
    let (mut findings, mut said, mut misfit) = (Vec::new(), Vec::new(), None);
    for (object, judged) in objects.workloads() {
        if let Some(wrong) = judged.workload.misfits.first() {
            misfit.get_or_insert((object, wrong));
        }
        let violations = standard.evaluator.evaluate(standard.policy, &judged.pod);
        for violation in violations.iter().filter(|violation| violation.control == control) {
            findings.extend(violation.offenses.iter().map(|field| offense(object, field)));
            said.push(evidence(
                object.to_string(),
                format!("violates PodSecurity \"{}\": {}", standard.policy, detail(std::slice::from_ref(violation))),
            ));
        }
    }
    let all = said.len();
    said.truncate(QUOTED);
    if all > QUOTED {
        said.push(evidence("and", format!("{} more objects", all - QUOTED)));
    }
    let workloads = objects.workloads().len();
    said.push(evidence("workloads", workloads.to_string()));
    if findings.is_empty()
        && let Some((object, wrong)) = misfit
    {
        let why = format!("{object} cannot be decoded: {wrong}");
        let cause = Cause { thing: object.file.to_string(), why: why.clone() };
        return Verdict { because_of: Some(cause), ..Verdict::because(Outcome::Undetermined, why) };
    }
    if workloads == 0 {
        return hidden(objects)
            .unwrap_or_else(|| Verdict::because(Outcome::NotApplicable, "no object holds a pod or a pod's template"));
    }
    verdict(objects, findings, said)
}

/// Why a policy does not have a control.
fn inapplicable(control: Control, objects: &Objects) -> Option<String> {
    let (policy, evaluator) = (objects.standard.policy, objects.standard.evaluator);
    if evaluator.controls(policy).contains(&control) {
        return None;
    }
    Some(if control.level() > policy.level {
        format!("the level {} does not have it", policy.level)
    } else if control.since() > evaluator.minor(policy.version) {
        format!("policies have it from v1.{} on", control.since())
    } else {
        let by = control.overridden_by().map_or("another control", Control::id);
        format!("{by} takes its place at the level {}", Level::Restricted)
    })
}
