//! `list`, `explain`, shell completions and manual pages: what can be said without a node.

use std::path::Path;

use clap::CommandFactory as _;
use seaworthy_reports::{Severity, TrialInfo};
use seaworthy_suites::{Trial, suites};

use crate::cli::{Cli, ExplainOptions, ListOptions, Output};
use crate::fault::Fault;
use crate::text::{self, Page};
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
    if let Some(cidrs) = &options.cidrs {
        return crate::cidr::explain(cidrs, options);
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

/// A check's page: Markdown, in which nothing is wrapped, or text for a terminal.
fn page(info: &TrialInfo, markdown: bool) -> String {
    let severity = match info.severity {
        Severity::Info => "info",
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    };
    let (h1, h2, code) = if markdown { ("## ", "**", "`") } else { ("", "", "") };
    let page = if markdown { Page::endless() } else { Page::stdout() };
    let heading = |text: &str| format!("{h2}{text}{h2}\n");
    let verbatim = |indent: usize, lines: &str| text::verbatim(indent, &code_lines(lines, code));
    let mut out = format!("{h1}{}\n\n", info.id);
    out += &page.wrap("", 0, &format!("{} (severity {severity})", info.title));
    out += &format!("\n{}{}\n", heading("Why it matters"), page.wrap("", 0, &info.why));
    out += &format!("{}{}\n", heading("How it is checked"), page.wrap("", 0, &info.how));
    out += &heading("How to fix it");
    for remedy in &info.remedy {
        let when = remedy.when.as_ref().map(|when| format!("{when}: ")).unwrap_or_default();
        out += &page.wrap("- ", 2, &format!("{when}{}", remedy.text));
        // The file first: a command such as update-grub applies it.
        if let Some(persist) = &remedy.persist {
            out += &page.wrap("    ", 4, &format!("in {}:", persist.path));
            out += &verbatim(8, &persist.content);
        }
        for command in &remedy.commands {
            out += &verbatim(4, command);
        }
    }
    out += &format!("\n{}", heading("Basis"));
    for basis in &info.basis {
        let url = basis.url.as_ref().map(|url| format!(" <{url}>")).unwrap_or_default();
        out += &page.wrap("- ", 2, &format!("{}{url}", basis.document));
    }
    let aliases: Vec<_> = info.aliases.iter().map(|alias| format!("{code}{alias}{code}")).collect();
    out += "\n";
    out += &page.wrap("", 2, &format!("{h2}Also known as{h2}: {}", aliases.join(", ")));
    if !markdown {
        let waiver = format!("[[waiver]]\nid = \"{}\"\nreason = \"…\"\nexpires = \"…\"", info.id);
        out += &format!("\nTo waive it, in waivers.toml:\n{}", verbatim(4, &waiver));
    }
    out
}

/// Lines as code of Markdown, if `code` is not empty.
fn code_lines(lines: &str, code: &str) -> String {
    lines.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("{code}{line}{code}\n") }).collect()
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
