//! Waivers: claims that are known not to hold, each with a reason and, mostly, an end.
//!
//! A waiver that has expired, or that matches no selected trial, is an error: the file says what is accepted today.

use std::collections::BTreeSet;
use std::path::Path;

use regex::Regex;
use seaworthy_reports::{Outcome, TrialInfo, Verdict};
use serde::Deserialize;

use crate::fault::Fault;
use crate::select;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    waiver: Vec<toml::Spanned<Entry>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// What `--focus` takes: a trial's id, title or alias, or a regular expression that one of them matches. An id with
    /// `*` for any text is taken as well.
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
    /// The ids of the selected trials that it is for.
    trials: BTreeSet<String>,
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
                    .hint("fix the node, or renew the waiver with a new date"));
            }
        }
        let named = named(&entry.id, trials).map_err(|error| fault(format!("id = \"{}\": {error}", entry.id)))?;
        if named.is_empty() {
            return Err(fault(format!("the waiver of {} matches no selected trial", entry.id))
                .hint("remove it, or correct its id; `seaworthy list` prints all ids"));
        }
        if let Some(subject) = entry.subject.as_deref().filter(|subject| !subjects.contains(subject)) {
            return Err(fault(format!("the waiver of {} is for {subject}, which is not on trial", entry.id)));
        }
        waivers.push(Waiver { trials: named, reason: entry.reason, subject: entry.subject });
    }
    Ok(waivers)
}

/// The trials that a name is for. The whole of an id, a title or an alias names its trials and no others, whatever it
/// holds; an id with `*` is a glob; all else is the regular expression that `--focus` takes.
fn named(name: &str, trials: &[&TrialInfo]) -> Result<BTreeSet<String>, String> {
    let ids = |is: &dyn Fn(&TrialInfo) -> bool| {
        trials.iter().filter(|trial| is(trial)).map(|trial| trial.id.clone()).collect::<BTreeSet<_>>()
    };
    let whole = ids(&|trial| {
        trial.id == name || trial.title == name || trial.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name))
    });
    if !whole.is_empty() {
        return Ok(whole);
    }
    let glob = name.split('*').map(regex::escape).collect::<Vec<_>>().join(".*");
    let glob = Regex::new(&format!("^{glob}$")).map_err(|error| error.to_string())?;
    let globbed = ids(&|trial| glob.is_match(&trial.id));
    if !globbed.is_empty() {
        return Ok(globbed);
    }
    let pattern = Regex::new(name).map_err(|error| format!("it is no regular expression: {error}"))?;
    Ok(ids(&|trial| select::names(&pattern, trial)))
}

/// Applies waivers to a verdict. A waived claim that holds gives a note.
pub(crate) fn apply(waivers: &[Waiver], trial: &str, subject: &str, mut verdict: Verdict) -> (Verdict, Option<String>) {
    let waiver = waivers.iter().find(|waiver| {
        waiver.trials.contains(trial) && waiver.subject.as_deref().is_none_or(|wanted| wanted == subject)
    });
    let mut note = None;
    if let Some(waiver) = waiver {
        match verdict.outcome {
            Outcome::Fail => {
                verdict.outcome = Outcome::Waived;
                verdict.reason = Some(waiver.reason.clone());
            }
            Outcome::Pass if waiver.trials.len() == 1 => {
                note = Some(format!("{trial} holds on {subject}: its waiver can go"));
            }
            _ => {}
        }
    }
    (verdict, note)
}
