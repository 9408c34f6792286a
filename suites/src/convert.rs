//! From what `checks` says to what `reports` holds: the one place that knows both.

use seaworthy_checks as checks;
use seaworthy_reports as reports;

pub(crate) fn severity(severity: checks::Severity) -> reports::Severity {
    match severity {
        checks::Severity::Info => reports::Severity::Info,
        checks::Severity::Low => reports::Severity::Low,
        checks::Severity::Medium => reports::Severity::Medium,
        checks::Severity::High => reports::Severity::High,
        checks::Severity::Critical => reports::Severity::Critical,
    }
}

fn remedy(remedy: &checks::Remedy) -> reports::Remedy {
    let persist = remedy.persist.as_ref();
    reports::Remedy {
        when: remedy.when.clone(),
        text: remedy.text.clone(),
        commands: remedy.commands.clone(),
        persist: persist.map(|one| reports::Persist { path: one.path.clone(), content: one.content.clone() }),
    }
}

/// What is known of a check before it runs.
pub(crate) fn info<F>(check: &checks::Claim<F>, suite: &str) -> reports::TrialInfo {
    reports::TrialInfo {
        id: check.id.clone(),
        suite: suite.to_owned(),
        title: check.title.clone(),
        severity: severity(check.severity),
        labels: check.labels.iter().map(|&label| label.to_owned()).collect(),
        aliases: check.aliases.clone(),
        basis: check
            .basis
            .iter()
            .map(|basis| reports::Basis { document: basis.document.clone(), url: basis.url.clone() })
            .collect(),
        why: check.why.clone(),
        how: check.how.clone(),
        remedy: check.remedy.iter().map(remedy).collect(),
    }
}

/// What a judge concluded, as a verdict.
pub(crate) fn verdict(conclusion: checks::Conclusion) -> reports::Verdict {
    let finding = |breach: checks::Breach| reports::Finding {
        subject: breach.subject,
        message: breach.message,
        found: breach.found,
        wanted: breach.wanted,
        at: breach.at.map(|at| reports::Location { path: at.path, line: at.line }),
        remedy: breach.remedy.iter().map(remedy).collect(),
        severity: breach.severity.map(severity),
    };
    let mut because_of = None;
    let (outcome, reason, findings) = match conclusion.verdict {
        checks::Verdict::Holds => (reports::Outcome::Pass, None, Vec::new()),
        checks::Verdict::Breached(breaches) => {
            (reports::Outcome::Fail, None, breaches.into_iter().map(finding).collect())
        }
        checks::Verdict::NotApplicable(why) => (reports::Outcome::NotApplicable, Some(why), Vec::new()),
        checks::Verdict::Undetermined(why) => {
            because_of = why.cause().map(|cause| reports::Cause { thing: cause.thing.clone(), why: cause.why.clone() });
            (reports::Outcome::Undetermined, Some(why.to_string()), Vec::new())
        }
    };
    let evidence = conclusion
        .evidence
        .into_iter()
        .map(|evidence| reports::Evidence { label: evidence.label, value: evidence.value })
        .collect();
    reports::Verdict { reason, because_of, findings, evidence, ..reports::Verdict::of(outcome) }
}
