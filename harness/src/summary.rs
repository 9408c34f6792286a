//! The summary, last: each failure once with its fix, what is undetermined by reason, where the reports are, what next.

use std::collections::BTreeMap;
use std::path::Path;

use anstyle::{AnsiColor, Style};
use seaworthy_reports::{Finding, Outcome, Remedy, Run, Severity, TrialResult, Written, because_of};

use crate::text::{Page, verbatim};

const RED: Style = Style::new().bold().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)));
const YELLOW: Style = Style::new().bold().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Yellow)));
const GREEN: Style = Style::new().bold().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Green)));
const BLUE: Style = Style::new().bold().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Blue)));
const DIM: Style = Style::new().dimmed();

/// Where the text begins, behind the word in front of it.
const INDENT: usize = 13;

/// The longest file that the summary shows whole; `explain` shows longer ones.
const FILE_LINES: usize = 12;

/// What became of the files of a run.
pub(crate) struct Files<'a> {
    /// Their folder.
    pub(crate) folder: &'a Path,
    /// The reports.
    pub(crate) written: &'a Written,
    /// Why the journal is not there or not whole.
    pub(crate) broken: Option<&'a str>,
    /// Why the folder will not be found afterwards.
    pub(crate) lost: Option<String>,
}

/// The summary of a run, with colors that `anstream` takes out where nobody sees them.
pub(crate) fn summary(run: &Run, files: &Files<'_>, page: Page) -> String {
    let mut out = String::new();
    for subject in &run.info.subjects {
        let facts: Vec<_> = subject.facts.iter().map(|fact| format!("{} {}", fact.label, fact.value)).collect();
        out += &page.wrap("", 2, &format!("{}  {DIM}{}{DIM:#}", subject.name, facts.join(" · ")));
    }
    let failures = run.failures();
    for result in &failures {
        out += &failure(run, result, page);
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
            out += "\n";
            out += &entry(page, word, style, &shown);
            out += &item(page, "", &reason);
        }
    }
    for note in &run.notes {
        out += "\n";
        out += &item(page, "note", note);
    }
    out += "\n";
    out += &verdict(run, &failures, page);
    out += &reports(files, page);
    if let Some(result) = failures.first() {
        out += &format!("Next: seaworthy explain {}\n", result.trial);
    }
    out
}

fn verdict(run: &Run, failures: &[&TrialResult], page: Page) -> String {
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
        (None, _) => (BLUE, "Undetermined".to_owned()),
    };
    page.wrap("", 2, &format!("{style}{verdict}{style:#}: {}", counts.join(", ")))
}

/// Which reports there are, and which are missing.
fn reports(files: &Files<'_>, page: Page) -> String {
    let mut out = String::new();
    let names: Vec<_> =
        files.written.files.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy()).collect();
    if !names.is_empty() {
        out += &page.wrap("", 2, &format!("Reports in {}: {}", files.folder.display(), names.join(", ")));
    }
    if let Some(why) = files.broken.filter(|_| files.lost.is_none()) {
        out += &page.wrap("", 2, &format!("{RED}Incomplete{RED:#}: {why}"));
    }
    for error in &files.written.missing {
        out += &page.wrap("", 2, &format!("{RED}Missing{RED:#}: {error}"));
    }
    if let Some(why) = &files.lost {
        out += &page.wrap("", 2, &format!("{RED}Reports are lost{RED:#}: {why}"));
    }
    out
}

/// The first line of an entry: a word in color, and what it is about.
fn entry(page: Page, word: &str, style: Style, text: &str) -> String {
    let indent = page.indent(INDENT);
    let width = indent.saturating_sub(1).max(word.len());
    page.wrap(&format!("{style}{word:>width$}{style:#} "), indent, text)
}

/// A further line of an entry, with a word in front of it or none.
fn item(page: Page, word: &str, text: &str) -> String {
    let indent = page.indent(INDENT);
    page.wrap(&lead(indent, word), indent, text)
}

fn lead(indent: usize, word: &str) -> String {
    let width = indent.saturating_sub(1);
    if word.is_empty() { " ".repeat(indent) } else { format!("{word:>width$} ") }
}

fn failure(run: &Run, result: &TrialResult, page: Page) -> String {
    let Some(trial) = run.trial(&result.trial) else { return String::new() };
    let severity = match run.severity(result) {
        Severity::Critical => "critical",
        Severity::High => "high",
        Severity::Medium => "medium",
        Severity::Low => "low",
        Severity::Info => "info",
    };
    let (style, word) = if result.gating { (RED, "FAIL") } else { (YELLOW, "warning") };
    let subject = if run.info.subjects.len() > 1 { format!(" on {}", result.subject) } else { String::new() };
    let mut out = "\n".to_owned() + &entry(page, word, style, &format!("{} ({severity}){subject}", trial.id));
    for finding in &result.verdict.findings {
        out += &item(page, "", &told(finding));
    }
    for (remedy, show_when) in run.fixes(result) {
        out += &fix(remedy, show_when, page);
    }
    out
}

fn told(finding: &Finding) -> String {
    let contrast = finding.contrast();
    let contrast = if contrast.is_empty() { contrast } else { format!(" ({contrast})") };
    let at = finding.at.as_ref().map(|at| format!("  [{at}]")).unwrap_or_default();
    format!("{}{contrast}{DIM}{at}{DIM:#}", finding.message)
}

/// One remedy is a start, and `explain` has all: its commands, or what to do, and the file that makes it last.
fn fix(remedy: &Remedy, show_when: bool, page: Page) -> String {
    let indent = page.indent(INDENT);
    let mut out = String::new();
    let when = remedy.when.as_ref().filter(|_| show_when).map(|when| format!("{when}: ")).unwrap_or_default();
    let mut word = "fix";
    // A command without its file, or for some situation only, needs the sentence too.
    if remedy.commands.is_empty() || remedy.persist.is_some() || !when.is_empty() {
        out += &item(page, word, &format!("{when}{}", remedy.text));
        word = "";
    }
    // The file first: a command such as update-grub applies it.
    if let Some(persist) = &remedy.persist {
        out += &item(page, word, &format!("in {}:", persist.path));
        let lines: Vec<_> = persist.content.lines().collect();
        out += &verbatim(indent + 2, &lines[..lines.len().min(FILE_LINES)].join("\n"));
        if let Some(more @ 1..) = lines.len().checked_sub(FILE_LINES) {
            out += &item(page, "", &format!("  … and {more} more lines: seaworthy explain shows them"));
        }
        word = "";
    }
    for command in &remedy.commands {
        out += &(lead(indent, word) + command + "\n");
        word = "";
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use seaworthy_reports::Persist;

    fn remedy() -> Remedy {
        Remedy {
            when: Some("GRUB".to_owned()),
            text: "Boot with the unified hierarchy.".to_owned(),
            commands: vec!["update-grub".to_owned(), "reboot".to_owned()],
            persist: Some(Persist {
                path: "/etc/default/grub".to_owned(),
                content: "GRUB_CMDLINE_LINUX=\"systemd.unified_cgroup_hierarchy=1\"\n".to_owned(),
            }),
        }
    }

    #[test]
    fn a_fix_shows_every_command_and_the_file_that_they_need() {
        let shown = fix(&remedy(), true, Page::wide(100));
        let expected = "         fix GRUB: Boot with the unified hierarchy.\n             in \
                        /etc/default/grub:\n               \
                        GRUB_CMDLINE_LINUX=\"systemd.unified_cgroup_hierarchy=1\"\n             \
                        update-grub\n             reboot\n";
        assert_eq!(shown, expected);
        let plain = Remedy { when: None, persist: None, ..remedy() };
        assert_eq!(fix(&plain, true, Page::wide(100)), "         fix update-grub\n             reboot\n");
    }

    #[test]
    fn a_long_file_is_cut_and_says_so() {
        let persist = Some(Persist { path: "/etc/x".to_owned(), content: "line\n".repeat(20) });
        let shown = fix(&Remedy { persist, ..remedy() }, false, Page::wide(80));
        assert!(shown.matches("  line\n").count() == FILE_LINES && shown.contains("and 8 more lines"), "{shown}");
    }

    #[test]
    fn a_finding_has_its_four_parts() {
        let finding = |message: &str| Finding {
            subject: "kernel.panic".to_owned(),
            message: message.to_owned(),
            found: Some("1".to_owned()),
            wanted: Some("10".to_owned()),
            at: Some(seaworthy_reports::Location { path: "/etc/sysctl.conf".to_owned(), line: Some(3) }),
            remedy: Vec::new(),
            severity: None,
        };
        let plain = |message: &str| anstream::adapter::strip_str(&told(&finding(message))).to_string();
        assert_eq!(plain("kernel.panic differs"), "kernel.panic differs (found 1, expected 10)  [/etc/sysctl.conf:3]");
        assert_eq!(plain("kernel.panic is 1, not 10"), "kernel.panic is 1, not 10  [/etc/sysctl.conf:3]");
        assert_eq!(plain("kernel.panic is 1"), "kernel.panic is 1 (expected 10)  [/etc/sysctl.conf:3]");
    }
}
