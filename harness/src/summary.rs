//! The summary, last: each failure once with its remedy, what could not be told by reason, where the reports are, what next.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anstyle::{AnsiColor, Style};
use seaworthy_reports::{Outcome, Remedy, Run, Severity, TrialResult, because_of};

const RED: Style = Style::new().bold().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)));
const YELLOW: Style = Style::new().bold().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Yellow)));
const GREEN: Style = Style::new().bold().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Green)));
const BLUE: Style = Style::new().bold().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Blue)));
const DIM: Style = Style::new().dimmed();

/// The summary of a run, with colours that `anstream` takes out where nobody sees them.
pub(crate) fn summary(run: &Run, folder: &Path, reports: &[PathBuf]) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut out, run, folder, reports);
    out
}

fn write(out: &mut String, run: &Run, folder: &Path, reports: &[PathBuf]) -> std::fmt::Result {
    for subject in &run.info.subjects {
        let facts: Vec<_> = subject.facts.iter().map(|fact| format!("{} {}", fact.label, fact.value)).collect();
        writeln!(out, "{}  {DIM}{}{DIM:#}", subject.name, facts.join(" · "))?;
    }
    let failures = run.failures();
    for result in &failures {
        failure(out, run, result)?;
    }
    for (outcome, word, style) in [(Outcome::Errored, "ERROR", RED), (Outcome::Undetermined, "undetermined", BLUE)] {
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for result in run.results.iter().filter(|result| result.verdict.outcome == outcome) {
            reasons.entry(result.verdict.shared_reason()).or_default().push(&result.trial);
        }
        for (reason, ids) in reasons {
            let reason =
                if outcome == Outcome::Undetermined { because_of(ids.len(), reason) } else { reason.to_owned() };
            let shown = if ids.len() > 3 {
                format!("{} and {} more", ids[..3].join(", "), ids.len() - 3)
            } else {
                ids.join(", ")
            };
            writeln!(out, "\n{style}{word:>12}{style:#} {shown}\n             {reason}")?;
        }
    }
    for note in &run.notes {
        writeln!(out, "\n        note {note}")?;
    }
    let gating = failures.iter().filter(|result| result.gating).count();
    let counts = [
        (run.count(Outcome::Pass) + run.count(Outcome::Flaky), "passed"),
        (gating, "failed"),
        (failures.len() - gating, "warnings"),
        (run.count(Outcome::Undetermined), "undetermined"),
        (run.count(Outcome::Errored), "errors"),
        (run.count(Outcome::Waived), "waived"),
        (run.count(Outcome::Flaky), "of the passed flaky"),
        (run.count(Outcome::Skipped), "not run"),
        (run.count(Outcome::NotApplicable), "not applicable"),
    ];
    let counts: Vec<_> =
        counts.iter().filter(|(n, word)| *n > 0 || *word == "failed").map(|(n, word)| format!("{n} {word}")).collect();
    let (style, verdict) = match (&run.interrupted, run.exit_code()) {
        (Some(signal), _) => (YELLOW, format!("Interrupted by {signal}")),
        (None, 0) => (GREEN, "Seaworthy".to_owned()),
        (None, 1) => (RED, "Not seaworthy".to_owned()),
        (None, 4) => (YELLOW, "Nothing was run".to_owned()),
        (None, _) => (BLUE, "Could not be told".to_owned()),
    };
    writeln!(out, "\n{style}{verdict}{style:#}: {}", counts.join(", "))?;
    let names: Vec<_> = reports.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy()).collect();
    writeln!(out, "Reports in {}: {}", folder.display(), names.join(", "))?;
    match failures.first() {
        Some(result) => writeln!(out, "Next: seaworthy explain {}", result.trial),
        None => Ok(()),
    }
}

fn failure(out: &mut String, run: &Run, result: &TrialResult) -> std::fmt::Result {
    let Some(trial) = run.trial(&result.trial) else { return Ok(()) };
    let severity = match run.severity(result) {
        Severity::Critical => "critical",
        Severity::High => "high",
        Severity::Medium => "medium",
        Severity::Low => "low",
        Severity::Info => "info",
    };
    let (style, word) = if result.gating { (RED, "FAIL") } else { (YELLOW, "warning") };
    let subject = if run.info.subjects.len() > 1 { format!(" on {}", result.subject) } else { String::new() };
    writeln!(out, "\n{style}{word:>12}{style:#} {} ({severity}){subject}", trial.id)?;
    for finding in &result.verdict.findings {
        let at = finding.at.as_ref().map(|at| match at.line {
            Some(line) => format!("  [{}:{line}]", at.path),
            None => format!("  [{}]", at.path),
        });
        writeln!(out, "             {}{DIM}{}{DIM:#}", finding.message, at.unwrap_or_default())?;
    }
    // One remedy is a start; `explain` has all.
    let system = run.info.subjects.iter().find(|subject| subject.name == result.subject);
    let system = system.and_then(|subject| subject.facts.iter().find(|fact| fact.label == "system"));
    if let Some(remedy) = fitting(&result.remedies(trial), system.map(|fact| fact.value.as_str())) {
        match remedy.commands.first() {
            Some(command) => writeln!(out, "        mend {command}")?,
            None => writeln!(out, "        mend {}", remedy.text)?,
        }
    }
    Ok(())
}

/// Families of distributions as remedies name them, and how their members call themselves in /etc/os-release.
const FAMILIES: [(&str, &[&str]); 2] = [
    ("Debian/Ubuntu", &["Debian", "Ubuntu", "Mint", "Raspbian"]),
    ("RHEL/Fedora", &["Red Hat", "Fedora", "CentOS", "Rocky", "AlmaLinux", "Oracle Linux", "Amazon Linux"]),
];

/// The first remedy that is for the node's distribution, or else the first of all.
fn fitting<'r>(remedies: &[&'r Remedy], system: Option<&str>) -> Option<&'r Remedy> {
    let is_for = |remedy: &&&Remedy| {
        let family = FAMILIES.iter().find(|(name, _)| remedy.when.as_deref() == Some(name));
        family.is_some_and(|(_, members)| system.is_some_and(|system| members.iter().any(|name| system.contains(name))))
    };
    remedies.iter().find(is_for).or(remedies.first()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_is_for_the_nodes_distribution() {
        let remedy = |when: Option<&str>, text: &str| Remedy {
            when: when.map(str::to_owned),
            text: text.to_owned(),
            commands: Vec::new(),
            persist: None,
        };
        let remedies = [remedy(Some("Debian/Ubuntu"), "apt"), remedy(Some("RHEL/Fedora"), "dnf"), remedy(None, "any")];
        let chosen = |system| fitting(&remedies.iter().collect::<Vec<_>>(), system).unwrap().text.clone();
        assert_eq!(chosen(Some("Ubuntu 24.04.1 LTS")), "apt");
        assert_eq!(chosen(Some("Rocky Linux 9.4 (Blue Onyx)")), "dnf");
        assert_eq!(chosen(Some("Flatcar Container Linux")), "apt");
        assert_eq!(chosen(None), "apt");
        assert!(fitting(&[], None).is_none());
    }
}
