//! JUnit XML, as Jenkins, GitLab and the usual readers take it.
//!
//! The document is made by the `junit-report` crate. That crate cannot express `<properties>`, which carry severity,
//! aliases and basis, so one pass over the events of its output adds them. It puts suites and cases out in the order in
//! which they were added, which is how the pass knows whose properties come next.
//!
//! JUnit knows failures, errors and skips. A failed claim that gates is a failure; what broke, and what would gate but
//! could not be determined, is an error; a failed claim below the gate, and all that was not run, is a skip with its
//! reason.

use junit_report::{ReportBuilder, TestCase, TestCaseBuilder, TestSuiteBuilder};
use quick_xml::events::{BytesEnd, BytesStart, Event};
use quick_xml::{Reader, Writer};

use super::{RenderError, word};
use crate::model::{Finding, Outcome, Severity, TrialInfo};
use crate::run::{Run, TrialResult};

type Properties = Vec<(&'static str, String)>;

pub(super) fn render(run: &Run) -> Result<String, RenderError> {
    let mut report = ReportBuilder::new();
    let (mut suite_properties, mut case_properties) = (Vec::new(), Vec::new());
    for subject in &run.info.subjects {
        let mut suites: Vec<&str> = Vec::new();
        for trial in &run.info.trials {
            if !suites.contains(&trial.suite.as_str()) {
                suites.push(&trial.suite);
            }
        }
        for name in suites {
            let of_suite = |result: &&TrialResult| {
                result.subject == subject.name && run.trial(&result.trial).is_some_and(|trial| trial.suite == name)
            };
            // A plan may leave out a suite on a subject.
            if !run.results.iter().any(|result| of_suite(&result)) {
                continue;
            }
            let mut suite = TestSuiteBuilder::new(&clean(&format!("{name} on {}", subject.name)));
            if let Ok(time) = time::OffsetDateTime::from_unix_timestamp(run.started.as_second()) {
                suite.set_timestamp(time);
            }
            let mut properties: Properties = vec![
                ("seaworthy.version", run.info.version.clone()),
                ("seaworthy.run", run.info.id.clone()),
                ("complete", run.complete.to_string()),
            ];
            properties
                .extend(run.info.profile.iter().map(|fact| ("profile", format!("{}: {}", fact.label, fact.value))));
            properties.extend(subject.facts.iter().map(|fact| ("subject", format!("{}: {}", fact.label, fact.value))));
            suite_properties.push(properties);
            for result in run.results.iter().filter(of_suite) {
                let Some(trial) = run.trial(&result.trial) else { continue };
                suite.add_testcase(case(run, trial, result));
                case_properties.push(properties_of(run, trial, result));
            }
            report.add_testsuite(suite.build());
        }
    }
    let mut xml = Vec::new();
    report.build().write_xml(&mut xml).map_err(|error| RenderError::Xml(error.to_string()))?;
    add_properties(&xml, suite_properties, case_properties)
}

fn case(run: &Run, trial: &TrialInfo, result: &TrialResult) -> TestCase {
    let name = clean(&trial.id);
    let time = time::Duration::microseconds(i64::try_from(result.micros).unwrap_or(i64::MAX));
    let verdict = &result.verdict;
    let reason = clean(verdict.reason.as_deref().unwrap_or_default());
    let findings = clean(&verdict.findings.iter().map(Finding::line).collect::<Vec<_>>().join("\n"));
    let gates = run.severity(result) >= run.info.fail_on;
    let mut case = match verdict.outcome {
        Outcome::Pass | Outcome::Flaky => TestCaseBuilder::success(&name, time),
        Outcome::Fail if result.gating => {
            let mut case = TestCaseBuilder::failure(&name, time, severity(run.severity(result)), &findings);
            case.set_trace(&fix(run, result));
            case
        }
        Outcome::Errored => TestCaseBuilder::error(&name, time, "errored", &reason),
        Outcome::Undetermined if gates => TestCaseBuilder::error(&name, time, "undetermined", &reason),
        Outcome::Fail => TestCaseBuilder::skipped_with_cause(&name, "warning", &format!("warning: {findings}")),
        Outcome::Waived => TestCaseBuilder::skipped_with_cause(&name, "waived", &reason),
        Outcome::Undetermined | Outcome::NotApplicable | Outcome::Skipped => {
            TestCaseBuilder::skipped_with_cause(&name, word(result), &format!("{}: {reason}", word(result)))
        }
    };
    let parent = trial.id.rsplit_once('.').map_or(trial.suite.as_str(), |(parent, _)| parent);
    case.set_classname(&clean(parent));
    let mut out = format!("{}\n", trial.title);
    for evidence in &verdict.evidence {
        out += &format!("{}: {}\n", evidence.label, evidence.value);
    }
    // As Jenkins and GitLab read attachments.
    for file in &verdict.attachments {
        out += &format!("[[ATTACHMENT|{}]]\n", file.path);
    }
    if verdict.outcome == Outcome::Fail && !result.gating {
        out += &format!("{findings}\n{}", fix(run, result));
    }
    case.set_system_out(&clean(&out));
    case.build()
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

fn fix(run: &Run, result: &TrialResult) -> String {
    let mut text = String::new();
    for (remedy, show_when) in run.fixes(result) {
        let when = remedy.when.as_ref().filter(|_| show_when).map(|when| format!("{when}: ")).unwrap_or_default();
        text += &format!("{when}{}\n", remedy.text);
        for command in &remedy.commands {
            text += &format!("  {command}\n");
        }
        if let Some(persist) = &remedy.persist {
            text += &format!("  in {}:\n", persist.path);
            text.extend(persist.content.lines().map(|line| format!("    {line}\n")));
        }
    }
    clean(&text)
}

fn properties_of(run: &Run, trial: &TrialInfo, result: &TrialResult) -> Properties {
    let mut properties = vec![
        ("title", trial.title.clone()),
        ("severity", severity(run.severity(result)).to_owned()),
        ("outcome", word(result).to_ascii_lowercase()),
        ("attempts", result.attempts.to_string()),
    ];
    properties.extend(trial.aliases.iter().map(|alias| ("alias", alias.clone())));
    properties.extend(trial.labels.iter().map(|label| ("label", label.clone())));
    properties.extend(trial.basis.iter().map(|basis| ("basis", basis.document.clone())));
    properties
}

fn add_properties(xml: &[u8], suites: Vec<Properties>, cases: Vec<Properties>) -> Result<String, RenderError> {
    let bad = |error: &dyn std::fmt::Display| RenderError::Xml(error.to_string());
    let mut reader = Reader::from_reader(xml);
    let mut writer = Writer::new(Vec::new());
    let (mut suites, mut cases) = (suites.into_iter(), cases.into_iter());
    let mut put = |event: Event<'_>| writer.write_event(event).map_err(|error| bad(&error));
    loop {
        let event = reader.read_event().map_err(|error| bad(&error))?;
        let owner = match &event {
            Event::Start(tag) | Event::Empty(tag) => match tag.name().as_ref() {
                b"testsuite" => suites.next(),
                b"testcase" => cases.next(),
                _ => None,
            },
            _ => None,
        };
        match (event, owner) {
            (Event::Eof, _) => break,
            (Event::Start(tag), Some(properties)) => {
                put(Event::Start(tag))?;
                put_properties(&mut put, properties)?;
            }
            (Event::Empty(tag), Some(properties)) => {
                let end = BytesEnd::new(String::from_utf8_lossy(tag.name().as_ref()).into_owned());
                put(Event::Start(tag))?;
                put_properties(&mut put, properties)?;
                put(Event::End(end))?;
            }
            (event, _) => put(event)?,
        }
    }
    String::from_utf8(writer.into_inner()).map_err(|error| bad(&error))
}

fn put_properties(
    put: &mut impl FnMut(Event<'_>) -> Result<(), RenderError>,
    properties: Properties,
) -> Result<(), RenderError> {
    put(Event::Start(BytesStart::new("properties")))?;
    for (name, value) in properties {
        let mut tag = BytesStart::new("property");
        tag.push_attribute(("name", name));
        tag.push_attribute(("value", clean(&value).as_str()));
        put(Event::Empty(tag))?;
    }
    put(Event::End(BytesEnd::new("properties")))
}

/// Without the characters that XML 1.0 has no way to write (section 2.2: Char), and without the end of a CDATA section,
/// which junit-report puts texts in as they are.
fn clean(text: &str) -> String {
    text.replace("]]>", "]] >")
        .chars()
        .map(|c| match c {
            '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'.. => c,
            _ => '\u{FFFD}',
        })
        .collect()
}
