//! A run with one result of every kind, and the worst of texts in it.
#![allow(clippy::unwrap_used, reason = "test code")]
#![allow(dead_code, reason = "each test binary uses a part")]

use seaworthy_reports::{
    Basis, Event, Evidence, Finding, Location, Outcome, Persist, Picture, Remedy, Run, RunInfo, Severity, Subject,
    TrialInfo, Verdict, What,
};

/// What every renderer must carry or escape.
pub(crate) const HOSTILE: &str = "</script><b onload=x>&amp; ]]> \"q\" 'a' \u{1}\u{1b}[31m | `t` \u{2028} é 🚢";

pub(crate) fn trial(id: &str, severity: Severity) -> TrialInfo {
    TrialInfo {
        id: id.to_owned(),
        suite: "node".to_owned(),
        title: format!("{id} holds"),
        severity,
        labels: vec!["kernel".to_owned()],
        aliases: vec!["NumCPU".to_owned(), HOSTILE.to_owned()],
        basis: vec![Basis { document: "kubeadm preflight".to_owned(), url: Some("https://kubernetes.io/".to_owned()) }],
        why: format!("It matters: {HOSTILE}"),
        how: "Reads a file.".to_owned(),
        remedy: vec![Remedy {
            when: Some("Debian".to_owned()),
            text: "Set it.".to_owned(),
            commands: vec!["sysctl -w a=1".to_owned()],
            persist: Some(Persist { path: "/etc/sysctl.d/1.conf".to_owned(), content: "a = 1\n".to_owned() }),
        }],
    }
}

pub(crate) fn verdict(outcome: Outcome) -> Verdict {
    let findings = match outcome {
        Outcome::Fail | Outcome::Waived => vec![Finding {
            subject: "a".to_owned(),
            message: format!("a is 0: {HOSTILE}"),
            found: Some("0".to_owned()),
            wanted: Some("1".to_owned()),
            at: Some(Location { path: "/proc/sys/a b".to_owned(), line: Some(3) }),
            remedy: Vec::new(),
            severity: None,
        }],
        _ => Vec::new(),
    };
    let reason = (!matches!(outcome, Outcome::Pass | Outcome::Fail)).then(|| format!("because {HOSTILE}"));
    let evidence = vec![Evidence { label: "a".to_owned(), value: HOSTILE.to_owned() }];
    Verdict { reason, findings, evidence, ..Verdict::of(outcome) }
}

pub(crate) const KINDS: [(&str, Severity, Outcome); 9] = [
    ("node.kind.pass", Severity::High, Outcome::Pass),
    ("node.kind.fail", Severity::High, Outcome::Fail),
    ("node.kind.warning", Severity::Medium, Outcome::Fail),
    ("node.kind.errored", Severity::High, Outcome::Errored),
    ("node.kind.undetermined", Severity::High, Outcome::Undetermined),
    ("node.kind.not-applicable", Severity::High, Outcome::NotApplicable),
    ("node.kind.skipped", Severity::High, Outcome::Skipped),
    ("node.kind.waived", Severity::High, Outcome::Waived),
    ("node.kind.flaky", Severity::High, Outcome::Flaky),
];

pub(crate) fn events(kinds: &[(&str, Severity, Outcome)]) -> Vec<Event> {
    let at = |second| jiff::Timestamp::from_second(1_700_000_000 + second).unwrap();
    let info = RunInfo {
        id: "20260101-000000-abcd".to_owned(),
        version: "0.1.0".to_owned(),
        command: vec!["seaworthy".to_owned(), "run".to_owned()],
        profile: vec![Evidence { label: "Kubernetes".to_owned(), value: "1.37".to_owned() }],
        fail_on: Severity::High,
        subjects: vec![Subject {
            name: "n1 <&>".to_owned(),
            facts: vec![],
            pictures: vec![Picture { title: "a <picture>".to_owned(), svg: "<svg/>".to_owned() }],
        }],
        trials: kinds.iter().map(|(id, severity, _)| trial(id, *severity)).collect(),
    };
    let mut events = vec![Event { at: at(0), what: What::RunStarted(info) }];
    for (number, (id, _, outcome)) in kinds.iter().enumerate() {
        let (trial, subject) = ((*id).to_owned(), "n1 <&>".to_owned());
        let begun = What::TrialStarted { trial: trial.clone(), subject: subject.clone(), attempt: 1 };
        let ended = What::TrialFinished { trial, subject, attempt: 1, micros: 1500, verdict: verdict(*outcome) };
        let second = i64::try_from(number).unwrap() + 1;
        events.push(Event { at: at(second), what: begun });
        events.push(Event { at: at(second), what: ended });
    }
    events.push(Event { at: at(99), what: What::RunFinished { exit_code: 1 } });
    events
}

pub(crate) fn run() -> Run {
    Run::fold(&events(&KINDS)).unwrap()
}
