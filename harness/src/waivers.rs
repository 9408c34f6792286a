//! Waivers: claims that are known not to hold, each with a reason and, mostly, an end.
//!
//! A waiver that has expired, or that matches no selected trial, is an error: the file says what is accepted today.

use std::path::Path;

use regex::Regex;
use seaworthy_reports::{Outcome, TrialInfo, Verdict};
use serde::Deserialize;

use crate::fault::Fault;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    waiver: Vec<toml::Spanned<Entry>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// The trial's id; `*` stands for any text.
    id: String,
    /// Why it is accepted.
    reason: String,
    /// The host; all by default.
    subject: Option<String>,
    /// The last day on which it holds, UTC: `2027-01-31`.
    expires: Option<String>,
}

/// A waiver that is in force.
#[derive(Debug)]
pub(crate) struct Waiver {
    pattern: Regex,
    id: String,
    reason: String,
    subject: Option<String>,
}

/// Reads a waiver file.
///
/// # Errors
/// With file and line: syntax, an unknown field, an empty reason, an expired entry, one that matches no selected trial.
pub(crate) fn read(
    path: &Path,
    trials: &[&TrialInfo],
    subjects: &[&str],
    now: jiff::Timestamp,
) -> Result<Vec<Waiver>, Fault> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| Fault::usage(format!("{shown}: {error}")))?;
    let file: File = toml::from_str(&text).map_err(|error| {
        let error = error.to_string();
        Fault::usage(format!("{shown}: {}", error.trim_end()))
            .hint("an entry is [[waiver]] with id, reason and, if wanted, subject and expires")
    })?;
    let today = now.to_zoned(jiff::tz::TimeZone::UTC).date();
    let mut waivers = Vec::new();
    for entry in file.waiver {
        let line = text[..entry.span().start.min(text.len())].matches('\n').count() + 1;
        let fault = |why: String| Fault::usage(format!("{shown} line {line}: {why}"));
        let entry = entry.into_inner();
        if entry.reason.trim().is_empty() {
            return Err(fault(format!("the waiver of {} has no reason", entry.id)));
        }
        if let Some(expires) = &entry.expires {
            let last: jiff::civil::Date = expires
                .parse()
                .map_err(|_| fault(format!("expires = \"{expires}\" is no date; write it as 2027-01-31")))?;
            if last < today {
                return Err(fault(format!("the waiver of {} expired on {last}", entry.id))
                    .hint("mend the node, or renew the waiver with a new date"));
            }
        }
        let pattern = entry.id.split('*').map(regex::escape).collect::<Vec<_>>().join(".*");
        let pattern = Regex::new(&format!("^{pattern}$")).map_err(|error| fault(error.to_string()))?;
        if !trials.iter().any(|trial| pattern.is_match(&trial.id)) {
            return Err(fault(format!("the waiver of {} matches no selected trial", entry.id))
                .hint("remove it, or correct its id; `seaworthy list` prints all ids"));
        }
        if let Some(subject) = entry.subject.as_deref().filter(|subject| !subjects.contains(subject)) {
            return Err(fault(format!("the waiver of {} is for {subject}, which is not on trial", entry.id)));
        }
        waivers.push(Waiver { pattern, id: entry.id, reason: entry.reason, subject: entry.subject });
    }
    Ok(waivers)
}

/// Applies waivers to a verdict. A waived claim that holds gives a note.
pub(crate) fn apply(waivers: &[Waiver], trial: &str, subject: &str, mut verdict: Verdict) -> (Verdict, Option<String>) {
    let waiver = waivers.iter().find(|waiver| {
        waiver.pattern.is_match(trial) && waiver.subject.as_deref().is_none_or(|wanted| wanted == subject)
    });
    let mut note = None;
    if let Some(waiver) = waiver {
        match verdict.outcome {
            Outcome::Fail => {
                verdict.outcome = Outcome::Waived;
                verdict.reason = Some(waiver.reason.clone());
            }
            Outcome::Pass if !waiver.id.contains('*') => {
                note = Some(format!("{trial} holds on {subject}: its waiver can go"));
            }
            _ => {}
        }
    }
    (verdict, note)
}
