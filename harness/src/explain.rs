//! `list`, `explain`, shell completions and manual pages: what can be said without a node.

use std::fmt::Write as _;
use std::path::Path;

use clap::CommandFactory as _;
use seaworthy_reports::{Severity, TrialInfo};
use seaworthy_suites::{Trial, suites};

use crate::cli::{Cli, ExplainOptions, ListOptions, Output};
use crate::fault::Fault;
use crate::{answer, select};

pub(crate) fn list(options: &ListOptions) -> Result<i32, Fault> {
    let trials = select::select(&options.selection)?;
    let text = match options.output {
        Output::Json => {
            let infos: Vec<_> = trials.iter().map(|trial| &trial.info).collect();
            serde_json::to_string_pretty(&infos).map_err(|error| Fault::ours(error.to_string()))? + "\n"
        }
        Output::Text => {
            let width = trials.iter().map(|trial| trial.info.id.len()).max().unwrap_or(0);
            trials
                .iter()
                .fold(String::new(), |text, Trial { info, .. }| text + &format!("{:width$}  {}\n", info.id, info.title))
        }
    };
    answer::print(&text);
    Ok(if trials.is_empty() { 4 } else { 0 })
}

pub(crate) fn explain(options: &ExplainOptions) -> Result<i32, Fault> {
    if let Some(component) = &options.effective {
        return crate::effective::explain(component, options);
    }
    let trials: Vec<_> = suites().into_iter().flat_map(|suite| suite.trials).collect();
    if options.all {
        let mut text = format!("# Checks\n\n{} checks; made by `seaworthy explain --all`.\n", trials.len());
        for trial in &trials {
            text += "\n";
            text += &page(&trial.info, true);
        }
        answer::print(&text);
        return Ok(0);
    }
    let wanted = options.id.as_deref().unwrap_or_default();
    let same = |name: &str| name.eq_ignore_ascii_case(wanted);
    let found: Vec<_> = match trials.iter().find(|trial| trial.info.id == wanted) {
        Some(trial) => vec![trial],
        None => trials.iter().filter(|trial| trial.info.aliases.iter().any(|alias| same(alias))).collect(),
    };
    match found[..] {
        [] => {
            let fault = Fault::usage(format!("there is no check '{wanted}'"));
            Err(match select::nearest(wanted, &trials) {
                Some(near) => fault.hint(format!("did you mean '{near}'?")),
                None => fault.hint("`seaworthy list` prints all checks"),
            })
        }
        [trial] => {
            answer::print(&page(&trial.info, false));
            Ok(0)
        }
        _ => {
            let ids: Vec<_> = found.iter().map(|trial| trial.info.id.as_str()).collect();
            Err(Fault::usage(format!("'{wanted}' is an alias of several checks"))
                .hint(format!("name one of them: {}", ids[..ids.len().min(8)].join(", "))))
        }
    }
}

/// A check's page, as Markdown or for a terminal.
fn page(info: &TrialInfo, markdown: bool) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write_page(&mut out, info, markdown);
    out
}

fn write_page(out: &mut String, info: &TrialInfo, markdown: bool) -> std::fmt::Result {
    let severity = match info.severity {
        Severity::Info => "info",
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    };
    let (h1, h2, code) = if markdown { ("## ", "**", "`") } else { ("", "", "") };
    let heading = |text: &str| format!("{h2}{text}{h2}");
    writeln!(out, "{h1}{}\n\n{} (severity {severity})\n", info.id, info.title)?;
    writeln!(out, "{}\n{}\n", heading("Why it matters"), info.why)?;
    writeln!(out, "{}\n{}\n", heading("How it is checked"), info.how)?;
    writeln!(out, "{}", heading("How to mend it"))?;
    for remedy in &info.remedy {
        let when = remedy.when.as_ref().map(|when| format!("{when}: ")).unwrap_or_default();
        writeln!(out, "- {when}{}", remedy.text)?;
        for command in &remedy.commands {
            writeln!(out, "    {code}{command}{code}")?;
        }
        if let Some(persist) = &remedy.persist {
            writeln!(out, "    to keep it, in {}:", persist.path)?;
            for line in persist.content.lines() {
                writeln!(out, "        {code}{line}{code}")?;
            }
        }
    }
    writeln!(out, "\n{}", heading("Basis"))?;
    for basis in &info.basis {
        let url = basis.url.as_ref().map(|url| format!(" <{url}>")).unwrap_or_default();
        writeln!(out, "- {}{url}", basis.document)?;
    }
    let aliases: Vec<_> = info.aliases.iter().map(|alias| format!("{code}{alias}{code}")).collect();
    writeln!(out, "\n{}: {}", heading("Also known as"), aliases.join(", "))?;
    if !markdown {
        writeln!(
            out,
            "\nTo waive it, in waivers.toml:\n    [[waiver]]\n    id = \"{}\"\n    reason = \"…\"\n    expires = \"…\"",
            info.id
        )?;
    }
    Ok(())
}

pub(crate) fn completions(shell: clap_complete::Shell) -> Result<i32, Fault> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "seaworthy", &mut text);
    answer::print(&String::from_utf8_lossy(&text));
    Ok(0)
}

pub(crate) fn man(folder: Option<&Path>) -> Result<i32, Fault> {
    match folder {
        Some(folder) => {
            let made = std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Cli::command(), folder));
            made.map_err(|error| Fault::usage(format!("{}: {error}", folder.display())))?;
        }
        None => {
            let mut text = Vec::new();
            let rendered = clap_mangen::Man::new(Cli::command()).render(&mut text);
            rendered.map_err(|error| Fault::ours(error.to_string()))?;
            answer::print(&String::from_utf8_lossy(&text));
        }
    }
    Ok(0)
}
