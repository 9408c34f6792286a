//! Selection: which trials `run` runs and `list` prints.

use regex::Regex;
use seaworthy_reports::TrialInfo;
use seaworthy_suites::{Suite, Trial, suites};

use crate::cli::Selection;
use crate::fault::Fault;

/// What node-test's users leave out by habit. It matches nothing here, and that is no mistake of theirs.
const HABITS: [&str; 4] = [r"\[Flaky\]|\[Serial\]", r"\[Flaky\]", r"\[Serial\]", r"\[Slow\]"];

/// The selected trials, in the order in which they are run.
///
/// # Errors
/// A bad regular expression, an unknown suite or label, and a pattern that matches nothing are usage errors.
pub(crate) fn select(selection: &Selection) -> Result<Vec<Trial>, Fault> {
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let with_env = |given: &[String], name: &str| {
        if given.is_empty() { env(name).into_iter().collect() } else { given.to_vec() }
    };
    let focus = with_env(&selection.focus, "FOCUS");
    let skip = with_env(&selection.skip, "SKIP");
    select_from(suites(), &selection.suites, &focus, &skip, &selection.labels)
}

fn select_from(
    suites: Vec<Suite>,
    names: &[String],
    focus: &[String],
    skip: &[String],
    labels: &[String],
) -> Result<Vec<Trial>, Fault> {
    for name in names {
        let known: Vec<_> = suites.iter().map(|suite| suite.name).collect();
        if !known.contains(&name.as_str()) {
            return Err(
                Fault::usage(format!("there is no suite '{name}'")).hint(format!("there are: {}", known.join(", ")))
            );
        }
    }
    // Without a name it is the node suite: a node is ready or not, whatever its PKI is.
    let default = ["node".to_owned()];
    let names = if names.is_empty() { &default[..] } else { names };
    let chosen = suites.into_iter().filter(|suite| names.iter().any(|name| name == suite.name));
    let mut trials: Vec<_> = chosen.flat_map(|suite| suite.trials).collect();
    for label in labels {
        if !trials.iter().any(|trial| trial.info.labels.contains(label)) {
            let mut known: Vec<_> = trials.iter().flat_map(|trial| trial.info.labels.clone()).collect();
            known.sort();
            known.dedup();
            return Err(
                Fault::usage(format!("no trial has the label '{label}'")).hint(format!("labels: {}", known.join(", ")))
            );
        }
    }
    let focus = compile("--focus", focus)?;
    let skip = compile("--skip", skip)?;
    for (flag, patterns) in [("--focus", &focus), ("--skip", &skip)] {
        for pattern in patterns {
            let habit = flag == "--skip" && HABITS.contains(&pattern.as_str());
            if !habit && !trials.iter().any(|trial| matches(pattern, trial)) {
                let fault = Fault::usage(format!("{flag} '{pattern}' matches no trial's id, title or alias"));
                if let Some(suite) = elsewhere(pattern, names) {
                    return Err(fault.hint(format!("it matches trials of the suite {suite}: add --suite {suite}")));
                }
                return Err(match nearest(pattern.as_str(), &trials) {
                    Some(near) => fault.hint(format!("did you mean '{near}'? `seaworthy list` prints all")),
                    None => fault.hint("`seaworthy list` prints all trials"),
                });
            }
        }
    }
    trials.retain(|trial| {
        (focus.is_empty() || focus.iter().any(|pattern| matches(pattern, trial)))
            && !skip.iter().any(|pattern| matches(pattern, trial))
            && (labels.is_empty() || labels.iter().any(|label| trial.info.labels.contains(label)))
    });
    Ok(trials)
}

/// The suite that is not selected and has a trial that matches.
fn elsewhere(pattern: &Regex, names: &[String]) -> Option<&'static str> {
    let others = suites().into_iter().filter(|suite| !names.iter().any(|name| name == suite.name));
    others.into_iter().find(|suite| suite.trials.iter().any(|trial| matches(pattern, trial))).map(|suite| suite.name)
}

fn compile(flag: &str, patterns: &[String]) -> Result<Vec<Regex>, Fault> {
    let compile = |pattern: &String| {
        Regex::new(pattern).map_err(|error| Fault::usage(format!("{flag} is no regular expression: {error}")))
    };
    patterns.iter().map(compile).collect()
}

fn matches(pattern: &Regex, trial: &Trial) -> bool {
    names(pattern, &trial.info)
}

/// Does a regular expression match a trial's id, title or one of its aliases?
pub(crate) fn names(pattern: &Regex, info: &TrialInfo) -> bool {
    pattern.is_match(&info.id)
        || pattern.is_match(&info.title)
        || info.aliases.iter().any(|alias| pattern.is_match(alias))
}

/// The id or alias that is nearest to what the user wrote.
pub(crate) fn nearest<'t>(text: &str, trials: &'t [Trial]) -> Option<&'t str> {
    let names = trials.iter().flat_map(|trial| std::iter::once(&trial.info.id).chain(&trial.info.aliases));
    let lower = text.to_lowercase();
    names
        .map(|name| {
            let score = strsim::jaro_winkler(&lower, &name.to_lowercase());
            // A part of an id is how people remember one.
            let parts = name.split('.').map(|part| strsim::normalized_levenshtein(&lower, &part.to_lowercase()));
            (parts.fold(score, f64::max), name.as_str())
        })
        .filter(|(score, _)| *score > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(focus: &[&str], skip: &[&str], labels: &[&str]) -> Result<Vec<String>, u8> {
        let own = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        select_from(suites(), &[], &own(focus), &own(skip), &own(labels))
            .map(|trials| trials.into_iter().map(|trial| trial.info.id).collect())
            .map_err(|fault| fault.code())
    }

    #[test]
    fn focus_and_skip_look_at_ids_titles_and_aliases() {
        let all = ids(&[], &[], &[]).unwrap();
        assert!(!all.is_empty());
        assert_eq!(ids(&[r"\[NodeConformance\]"], &[r"\[Flaky\]|\[Serial\]"], &[]).unwrap(), all);
        let one = ids(&["FileContent--proc-sys-net-ipv4-ip_forward"], &[], &[]).unwrap();
        assert_eq!(one, ["node.sysctl.net.ipv4.ip-forward"]);
        assert_eq!(ids(&["ip-forward"], &["ipv4"], &[]).unwrap_or_default(), Vec::<String>::new());
        assert!(ids(&[], &[], &["sysctl"]).unwrap().iter().all(|id| id.starts_with("node.")));
    }

    #[test]
    fn what_matches_nothing_is_an_error() {
        for (focus, skip, label) in [("(", "", ""), ("zzzz", "", ""), ("", "zzzz", ""), ("", "", "zzzz")] {
            let list = |text: &'static str| if text.is_empty() { vec![] } else { vec![text] };
            assert_eq!(ids(&list(focus), &list(skip), &list(label)), Err(2), "{focus} {skip} {label}");
        }
        assert_eq!(
            nearest("ip-foward", &select_from(suites(), &[], &[], &[], &[]).unwrap()),
            Some("node.sysctl.net.ipv4.ip-forward")
        );
    }
}
