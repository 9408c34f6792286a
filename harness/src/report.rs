//! `record`, `report`, `diff`, `schema`: what is done with recordings and journals.

use std::io::Write as _;
use std::path::Path;

use anstream::eprintln;
use seaworthy_checks::host::write_recording;
use seaworthy_reports::{Difference, Format, Run, read_journal, run_schema, write_all};
use seaworthy_suites::suites;

use crate::cli::{DiffOptions, Output, RecordOptions, ReportOptions};
use crate::fault::Fault;
use crate::{answer, sources};

pub(crate) fn record(options: &RecordOptions) -> Result<i32, Fault> {
    let path = &options.output;
    if path.exists() && !options.force {
        return Err(
            Fault::usage(format!("{} is there already", path.display())).hint("name another with -O, or add --force")
        );
    }
    let sources =
        sources::open(options.host.as_slice(), options.kubeadm.add(options.layout.layout())?, &options.remote)?;
    let Some(source) = sources.first() else { return Err(Fault::usage("nothing to record was named")) };
    if !source.is_live() {
        return Err(Fault::usage(format!("{} is a recording already", source.name())));
    }
    let suites: Vec<_> = suites().iter().map(|suite| suite.name).collect();
    let node = source.gather(options.passive, &suites);
    let failed = |error: std::io::Error| Fault::usage(format!("{}: {error}", path.display()));
    let mut bytes = Vec::new();
    write_recording(&node.meta, &node.transcript, &mut bytes).map_err(|error| Fault::ours(error.to_string()))?;
    // Whole or not at all.
    let mut partial = path.clone().into_os_string();
    partial.push(".part");
    let written = std::fs::File::create(&partial)
        .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&partial, path));
    if let Err(error) = written {
        let _ = std::fs::remove_file(&partial);
        return Err(failed(error));
    }
    eprintln!("{}: {} answers, {} KiB, secrets taken out", path.display(), node.transcript.len(), bytes.len() >> 10);
    Ok(0)
}

/// Reads a run from a journal, or from a folder that holds one.
fn read(path: &Path) -> Result<Run, Fault> {
    let events = read_journal(path).map_err(|error| Fault::usage(error.to_string()))?;
    Run::fold(&events).map_err(|error| Fault::usage(format!("{}: {error}", path.display())))
}

pub(crate) fn report(options: &ReportOptions) -> Result<i32, Fault> {
    let runs = options.journals.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    let run = Run::merge(runs).map_err(|error| Fault::usage(error.to_string()))?;
    match (&options.output, &options.formats[..]) {
        (None, [format]) => answer::print(&format.render(&run).map_err(|error| Fault::ours(error.to_string()))?),
        (None, _) => {
            return Err(Fault::usage("without a folder there is room for one report")
                .hint("name one format with --format, or a folder with -O"));
        }
        (Some(folder), formats) => {
            let formats = if formats.is_empty() { &Format::ALL[..] } else { formats };
            let written = write_all(&run, folder, formats);
            let lines: Vec<_> = written.files.iter().map(|path| format!("{}\n", path.display())).collect();
            answer::print(&lines.concat());
            if !written.missing.is_empty() {
                let missing: Vec<_> = written.missing.iter().map(ToString::to_string).collect();
                return Err(Fault::usage(format!("reports are missing: {}", missing.join("; "))));
            }
        }
    }
    Ok(0)
}

pub(crate) fn diff(options: &DiffOptions) -> Result<i32, Fault> {
    let difference = Difference::between(&read(&options.before)?, &read(&options.after)?);
    let text = match options.output {
        Output::Text => difference.to_string(),
        Output::Json => {
            serde_json::to_string_pretty(&difference).map_err(|error| Fault::ours(error.to_string()))? + "\n"
        }
    };
    answer::print(&text);
    Ok(i32::from(!difference.is_empty()))
}

pub(crate) fn schema() -> Result<i32, Fault> {
    answer::print(&run_schema());
    Ok(0)
}
