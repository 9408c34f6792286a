//! Markdown for people: a table of counts, what failed once with its remedy, then the rest, folded.

use std::collections::BTreeMap;

use super::word;
use crate::model::Outcome;
use crate::run::{Run, TrialResult, because_of};

/// The most that a report is long, in bytes: what GITHUB_STEP_SUMMARY takes of one step (1 MiB), less a margin.
pub const LIMIT: usize = (1 << 20) - 4096;

pub(super) fn render(run: &Run) -> String {
    let mut text = head(run);
    let mut left_out = 0;
    let mut add = |text: &mut String, part: String| {
        if text.len() + part.len() <= LIMIT {
            *text += &part;
        } else {
            left_out += 1;
        }
    };
    for result in run.failures() {
        add(&mut text, failure(run, result));
    }
    for outcome in [Outcome::Errored, Outcome::Undetermined, Outcome::Waived, Outcome::Skipped, Outcome::NotApplicable]
    {
        let results: Vec<_> = run.results.iter().filter(|result| result.verdict.outcome == outcome).collect();
        let Some(first) = results.first() else { continue };
        let mut by_reason: BTreeMap<&str, Vec<&TrialResult>> = BTreeMap::new();
        for result in &results {
            by_reason.entry(result.verdict.shared_reason()).or_default().push(result);
        }
        let mut part = format!("\n<details><summary>{} {}</summary>\n\n", results.len(), word(first));
        for (reason, results) in by_reason {
            let ids: Vec<_> = results.iter().map(|result| code(&result.trial)).collect();
            let shared =
                if outcome == Outcome::Undetermined { because_of(ids.len(), reason) } else { reason.to_owned() };
            part += &format!("- {}: {}\n", escape(&shared), ids.join(", "));
        }
        part += "\n</details>\n";
        add(&mut text, part);
    }
    let passed: Vec<_> =
        run.results.iter().filter(|result| result.verdict.outcome == Outcome::Pass).map(|r| code(&r.trial)).collect();
    if !passed.is_empty() {
        let part =
            format!("\n<details><summary>{} passed</summary>\n\n{}\n\n</details>\n", passed.len(), passed.join(", "));
        add(&mut text, part);
    }
    if left_out > 0 {
        text += &format!(
            "\n_{left_out} parts are left out: the report would be longer than 1 MiB. The JSON report has all._\n"
        );
    }
    text
}

fn head(run: &Run) -> String {
    let mut text =
        format!("# Seaworthy: {}\n\n", if run.exit_code() == 0 { "seaworthy" } else { "not seaworthy as it is" });
    if !run.complete {
        text += "> **Incomplete**: the run was cut off; what never ran is listed as skipped.\n\n";
    }
    text += "| subject | pass | fail | warning | undetermined | error | waived | other |\n\
             |---|---|---|---|---|---|---|---|\n";
    for subject in &run.info.subjects {
        let count = |wanted: &[&str]| {
            let of_subject = run.results.iter().filter(|result| result.subject == subject.name);
            of_subject.filter(|result| wanted.contains(&word(result))).count()
        };
        text += &format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} |\n",
            escape(&subject.name),
            count(&["pass", "flaky"]),
            count(&["FAIL"]),
            count(&["warning"]),
            count(&["undetermined"]),
            count(&["ERROR"]),
            count(&["waived"]),
            count(&["skipped", "not applicable"]),
        );
    }
    let facts = run.info.profile.iter().map(|fact| format!("{} {}", escape(&fact.label), escape(&fact.value)));
    let facts: Vec<_> = facts.collect();
    if !facts.is_empty() {
        text += &format!("\nProfile: {}\n", facts.join(" · "));
    }
    for note in &run.notes {
        text += &format!("\n> {}\n", escape(note));
    }
    text
}

fn failure(run: &Run, result: &TrialResult) -> String {
    let Some(trial) = run.trial(&result.trial) else { return String::new() };
    let severity = format!("{:?}", run.severity(result)).to_lowercase();
    let mut text = format!(
        "\n## {}: {} ({severity})\n\n{} on {}\n\n",
        word(result),
        escape(&trial.title),
        code(&trial.id),
        escape(&result.subject)
    );
    for finding in &result.verdict.findings {
        text += &format!("- {}\n", escape(&finding.line()));
    }
    for (remedy, show_when) in run.fixes(result) {
        let when = remedy.when.as_ref().filter(|_| show_when);
        let when = when.map(|when| format!("**{}** ", escape(when))).unwrap_or_default();
        text += &format!("\n{when}{}\n", escape(&remedy.text));
        let mut lines = remedy.commands.clone();
        if let Some(persist) = &remedy.persist {
            lines.push(format!("# {}", persist.path));
            lines.extend(persist.content.lines().map(str::to_owned));
        }
        if !lines.is_empty() {
            text += &format!("\n```sh\n{}\n```\n", lines.join("\n").replace("```", "'''"));
        }
    }
    text
}

/// Text that Markdown, its tables and HTML leave as it is.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '\n' | '\r' => escaped.push(' '),
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '&' => escaped += "&amp;",
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' => escaped.extend(['\\', c]),
            c => escaped.push(c),
        }
    }
    escaped
}

fn code(text: &str) -> String {
    format!("`{}`", text.replace(['`', '\n'], "'"))
}
