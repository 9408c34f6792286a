//! One self-contained page: no network, readable without JavaScript, which only filters, copies and opens permalinks.

use std::fmt::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::word;
use crate::model::{Evidence, Finding, Outcome, Remedy, TrialInfo};
use crate::run::{Run, TrialResult, because_of};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The groups of the page, in order: class, heading, and what belongs in it.
const GROUPS: [(&str, &str); 6] = [
    ("fail", "Failed"),
    ("error", "Errors of the harness"),
    ("warning", "Warnings: failed below --fail-on"),
    ("undetermined", "Undetermined"),
    ("pass", "Passed"),
    ("other", "Waived, skipped, not applicable"),
];

fn group(result: &TrialResult) -> &'static str {
    match result.verdict.outcome {
        Outcome::Pass | Outcome::Flaky => "pass",
        Outcome::Fail if result.gating => "fail",
        Outcome::Fail => "warning",
        Outcome::Errored => "error",
        Outcome::Undetermined => "undetermined",
        Outcome::Waived | Outcome::Skipped | Outcome::NotApplicable => "other",
    }
}

/// Renders the page.
pub(super) fn render(run: &Run) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = page(&mut out, run);
    out
}

fn page(out: &mut String, run: &Run) -> fmt::Result {
    let names: Vec<_> = run.info.subjects.iter().map(|subject| subject.name.as_str()).collect();
    let (class, verdict) = match run.exit_code() {
        0 => ("pass", "✓ Seaworthy"),
        1 => ("fail", "✗ Not seaworthy"),
        _ => ("undetermined", "? Undetermined"),
    };
    write!(
        out,
        "<!doctype html>\n\
         <html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\"><title>{verdict}: {}</title><style>{STYLE}</style></head>\n\
         <body><header><h1>Sea trials of {}</h1><p class=\"{class}\"><span class=\"verdict word\">{verdict}</span></p>",
        esc(&names.join(", ")),
        esc(&names.join(", ")),
    )?;
    if !run.complete {
        *out += "<p class=\"banner\"><strong>Incomplete.</strong> The run was cut off; what never ran is listed as \
                 skipped.</p>";
    }
    for note in &run.notes {
        write!(out, "<p class=\"banner\">{}</p>", esc(note))?;
    }
    facts(out, "Profile", &run.info.profile)?;
    for subject in &run.info.subjects {
        facts(out, &subject.name, &subject.facts)?;
        for picture in &subject.pictures {
            // As an image, not as markup: whatever a journal holds, no script of it runs.
            let (title, data) = (esc(&picture.title), STANDARD.encode(&picture.svg));
            write!(
                out,
                "<details class=\"picture\"><summary>{title}</summary><img alt=\"{title}\" \
                 src=\"data:image/svg+xml;base64,{data}\"></details>"
            )?;
        }
    }
    *out += "</header><main><div class=\"bar\" role=\"search\" hidden><input type=\"search\" id=\"search\" \
             placeholder=\"Filter by id, title, alias or finding (press /)\" aria-label=\"Filter checks\">";
    for (class, _) in GROUPS {
        let count = run.results.iter().filter(|result| group(result) == class).count();
        if count > 0 {
            write!(out, "<label><input type=\"checkbox\" value=\"{class}\"> {class} {count}</label>")?;
        }
    }
    *out += "<span id=\"shown\" role=\"status\"></span></div><span id=\"said\" class=\"offscreen\" \
             role=\"status\"></span><p class=\"none\" id=\"none\" hidden>Nothing matches the filter.</p>\n";
    for (class, heading) in GROUPS {
        let mut results: Vec<_> = run.results.iter().filter(|result| group(result) == class).collect();
        if results.is_empty() {
            continue;
        }
        results.sort_by_key(|result| std::cmp::Reverse(run.severity(result)));
        writeln!(out, "<section class=\"group\"><h2>{heading} ({})</h2>", results.len())?;
        let mut folds: Vec<(&str, &str, Vec<&TrialResult>)> = Vec::new();
        for result in results {
            // Of several claims with the same cause one is as good as all.
            let shared = result.verdict.because_of.as_ref().map_or("", |cause| &cause.why);
            let subject = result.subject.as_str();
            match folds.iter_mut().find(|(why, of, _)| !shared.is_empty() && (*why, *of) == (shared, subject)) {
                Some((.., all)) => all.push(result),
                None => folds.push((shared, subject, vec![result])),
            }
        }
        for (why, _, results) in folds {
            let fold = results.len() > 1;
            if fold {
                let summary = esc(&because_of(results.len(), why));
                write!(out, "<details class=\"cause\"><summary>{summary}</summary>")?;
            }
            for result in results {
                if let Some(trial) = run.trial(&result.trial) {
                    check(out, run, trial, result, class)?;
                }
            }
            if fold {
                *out += "</details>\n";
            }
        }
        *out += "</section>\n";
    }
    write!(
        out,
        "</main><footer>seaworthy {} · run {} · {} to {} · exit code \
         {}</footer><script>{SCRIPT}</script></body></html>",
        esc(&run.info.version),
        esc(&run.info.id),
        run.started,
        run.ended,
        run.exit_code()
    )?;
    Ok(())
}

fn facts(out: &mut String, heading: &str, facts: &[Evidence]) -> fmt::Result {
    if facts.is_empty() {
        return Ok(());
    }
    write!(out, "<h2>{}</h2><dl class=\"facts\">", esc(heading))?;
    for fact in facts {
        write!(out, "<div><dt>{}</dt><dd>{}</dd></div>", esc(&fact.label), esc(&fact.value))?;
    }
    out.write_str("</dl>")
}

fn check(out: &mut String, run: &Run, trial: &TrialInfo, result: &TrialResult, class: &str) -> fmt::Result {
    let several = run.info.subjects.len() > 1;
    // With one subject the permalink is the trial's id itself.
    let anchor = if several { format!("{}@{}", trial.id, result.subject) } else { trial.id.clone() };
    let mut text = format!("{} {} {} {}", trial.id, trial.title, trial.aliases.join(" "), result.subject);
    for finding in &result.verdict.findings {
        text += &format!(" {} {}", finding.subject, finding.message);
    }
    let open = if class == "fail" { " open" } else { "" };
    let severity = format!("{:?}", run.severity(result)).to_lowercase();
    let subject = if several { format!(" on {}", esc(&result.subject)) } else { String::new() };
    write!(
        out,
        "<details class=\"check {class}\" id=\"{}\" data-kind=\"{class}\" data-text=\"{}\"{open}><summary><span \
         class=\"word\">{}</span><span class=\"title\">{}{subject}</span><span class=\"sev\">{severity}</span><span \
         class=\"id\">{}</span></summary><div class=\"body\">",
        esc(&anchor),
        esc(&text.to_lowercase()),
        word(result),
        esc(&trial.title),
        esc(&trial.id),
    )?;
    if let Some(reason) = &result.verdict.reason {
        write!(out, "<p>{}</p>", esc(reason))?;
    }
    for finding in &result.verdict.findings {
        self::finding(out, finding)?;
    }
    section(out, "Why it matters", &trial.why)?;
    section(out, "How it is checked", &trial.how)?;
    if !result.verdict.attachments.is_empty() {
        *out += "<h3>Files</h3><ul>";
        for file in &result.verdict.attachments {
            write!(out, "<li><a href=\"{}\">{}</a></li>", esc(&file.path), esc(&file.name))?;
        }
        *out += "</ul>";
    }
    if !result.verdict.evidence.is_empty() {
        out.write_str("<h3>Evidence</h3><ul>")?;
        for evidence in &result.verdict.evidence {
            write!(out, "<li>{}: <code>{}</code></li>", esc(&evidence.label), esc(&evidence.value))?;
        }
        out.write_str("</ul>")?;
    }
    let remedies = result.remedies(trial);
    if !remedies.is_empty() {
        out.write_str("<h3>How to fix it</h3>")?;
        for remedy in remedies {
            self::remedy(out, remedy)?;
        }
    }
    out.write_str("<h3>Basis</h3><ul>")?;
    for basis in &trial.basis {
        match &basis.url {
            Some(url) if url.starts_with("https://") => {
                write!(out, "<li><a href=\"{}\" rel=\"noreferrer\">{}</a></li>", esc(url), esc(&basis.document))?;
            }
            _ => write!(out, "<li>{}</li>", esc(&basis.document))?,
        }
    }
    out.write_str("</ul>")?;
    if !trial.aliases.is_empty() {
        section(out, "Also known as", &trial.aliases.join(", "))?;
    }
    if matches!(result.verdict.outcome, Outcome::Fail) {
        write!(
            out,
            "<h3>To accept it</h3><pre class=\"commands\">[[waiver]]\nid = \"{}\"\nreason = \"…\"\n\
             expires = \"…\"</pre>",
            esc(&trial.id)
        )?;
    }
    write!(out, "<p><a href=\"#{0}\">Permalink</a></p></div></details>", esc(&anchor))
}

fn section(out: &mut String, heading: &str, text: &str) -> fmt::Result {
    write!(out, "<h3>{heading}</h3><p>{}</p>", esc(text))
}

fn finding(out: &mut String, finding: &Finding) -> fmt::Result {
    write!(out, "<div class=\"finding\"><p><strong>{}</strong></p><p>", esc(&finding.message))?;
    let at = finding.at.as_ref().map(ToString::to_string);
    for (label, value) in [("Found", &finding.found), ("Expected", &finding.wanted), ("At", &at)] {
        if let Some(value) = value {
            write!(out, "{label} <code>{}</code> ", esc(value))?;
        }
    }
    out.write_str("</p></div>")
}

fn remedy(out: &mut String, remedy: &Remedy) -> fmt::Result {
    out.write_str("<p>")?;
    if let Some(when) = &remedy.when {
        write!(out, "<strong>{}.</strong> ", esc(when))?;
    }
    write!(out, "{}</p>", esc(&remedy.text))?;
    if let Some(persist) = &remedy.persist {
        write!(
            out,
            "<p>In <code>{}</code>:</p><pre class=\"commands\">{}</pre>",
            esc(&persist.path),
            esc(&persist.content)
        )?;
    }
    if !remedy.commands.is_empty() {
        write!(out, "<pre class=\"commands\">{}</pre>", esc(&remedy.commands.join("\n")))?;
    }
    Ok(())
}

/// Text that HTML, in content and in quoted attributes, leaves as it is.
fn esc(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '&' => escaped += "&amp;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            '\0' => escaped.push('\u{FFFD}'),
            c => escaped.push(c),
        }
    }
    escaped
}
