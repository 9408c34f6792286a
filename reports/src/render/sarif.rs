//! SARIF 2.1.0, for code-scanning views: a rule for each trial, a result for each claim that does not hold or could not
//! be told.

use serde_json::{Value, json};

use crate::model::{Outcome, Severity, TrialInfo};
use crate::run::{Run, TrialResult};

pub(super) fn render(run: &Run) -> Value {
    let rules: Vec<_> = run.info.trials.iter().map(rule).collect();
    let results: Vec<_> = run.results.iter().flat_map(|result| results(run, result)).collect();
    let signal = run.interrupted.as_ref().map(|signal| json!({ "interrupted": signal }));
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "seaworthy",
                "version": run.info.version,
                "semanticVersion": run.info.version,
                "informationUri": "https://github.com/seaworthy-dev/seaworthy",
                "rules": rules,
            }},
            "automationDetails": { "id": format!("seaworthy/{}", run.info.id) },
            "invocations": [{
                "executionSuccessful": run.complete,
                "startTimeUtc": run.started.to_string(),
                "endTimeUtc": run.ended.to_string(),
                "exitCode": run.exit_code(),
                "properties": signal.unwrap_or_else(|| json!({})),
            }],
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn rule(trial: &TrialInfo) -> Value {
    let mut help = format!("**Why** {}\n\n**How it is checked** {}\n", trial.why, trial.how);
    for remedy in &trial.remedy {
        let when = remedy.when.as_ref().map(|when| format!("{when}: ")).unwrap_or_default();
        help += &format!("\n- {when}{}\n", remedy.text);
        for command in &remedy.commands {
            help += &format!("  - `{command}`\n");
        }
        if let Some(persist) = &remedy.persist {
            help += &format!("  - in `{}`: `{}`\n", persist.path, persist.content.trim().replace('\n', "`, `"));
        }
    }
    let mut tags = trial.labels.clone();
    tags.push(trial.suite.clone());
    tags.sort();
    tags.dedup();
    let mut rule = json!({
        "id": trial.id,
        "name": trial.id,
        "shortDescription": { "text": trial.title },
        "fullDescription": { "text": trial.why },
        "help": { "text": help, "markdown": help },
        "defaultConfiguration": { "level": level(trial.severity) },
        "properties": { "tags": tags, "aliases": trial.aliases, "severity": trial.severity },
    });
    if let Some(url) = trial.basis.iter().find_map(|basis| basis.url.clone()) {
        rule["helpUri"] = url.into();
    }
    rule
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Info => "note",
    }
}

fn results(run: &Run, result: &TrialResult) -> Vec<Value> {
    let rule_index = run.info.trials.iter().position(|trial| trial.id == result.trial);
    let base = |kind: &str, level: &str, text: &str, place: &str| {
        let mut value = json!({
            "ruleId": result.trial,
            "kind": kind,
            "level": level,
            "message": { "text": if text.is_empty() { "no reason was given" } else { text } },
            "partialFingerprints": { "seaworthy/v1": format!("{}:{}:{place}", result.subject, result.trial) },
            "locations": [{
                "logicalLocations": [{ "name": result.subject, "kind": "resource" }],
            }],
        });
        if let Some(index) = rule_index {
            value["ruleIndex"] = index.into();
        }
        value
    };
    let reason = result.verdict.reason.as_deref().unwrap_or_default();
    match result.verdict.outcome {
        Outcome::Fail | Outcome::Waived => result
            .verdict
            .findings
            .iter()
            .map(|finding| {
                let mut value = base("fail", level(run.severity(result)), &finding.line(), &finding.subject);
                if let Some(at) = &finding.at {
                    let mut place = json!({ "artifactLocation": { "uri": uri(&at.path) } });
                    if let Some(line) = at.line {
                        place["region"] = json!({ "startLine": line.max(1) });
                    }
                    value["locations"][0]["physicalLocation"] = place;
                }
                if result.verdict.outcome == Outcome::Waived {
                    value["suppressions"] = json!([{ "kind": "external", "justification": reason }]);
                }
                value
            })
            .collect(),
        Outcome::Undetermined | Outcome::Errored => vec![base("review", "none", reason, "")],
        _ => Vec::new(),
    }
}

/// A path as a relative URI reference, percent-encoded (RFC 3986 section 2.1).
fn uri(path: &str) -> String {
    let mut uri = String::new();
    for byte in path.trim_start_matches('/').bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(byte as char);
        } else {
            uri += &format!("%{byte:02X}");
        }
    }
    uri
}
