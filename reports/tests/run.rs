//! The fold: exit codes, retries, kills, merges.

#![allow(clippy::unwrap_used, reason = "test code")]

mod sample;

use sample::{KINDS, events, run, verdict};
use seaworthy_reports::{BadRun, Outcome, Run, Severity, What};

fn code(kinds: &[(&str, Severity, Outcome)]) -> i32 {
    Run::fold(&events(kinds)).unwrap().exit_code()
}

#[test]
fn exit_codes_say_who_is_to_blame() {
    let (a, b) = ("node.kind.a", "node.kind.b");
    let pass = (a, Severity::High, Outcome::Pass);
    assert_eq!(code(&[pass]), 0);
    assert_eq!(code(&[pass, (b, Severity::High, Outcome::Fail)]), 1);
    assert_eq!(code(&[pass, (b, Severity::Medium, Outcome::Fail)]), 0, "below --fail-on");
    assert_eq!(code(&[pass, (b, Severity::High, Outcome::Undetermined)]), 3);
    assert_eq!(code(&[pass, (b, Severity::Low, Outcome::Undetermined)]), 0);
    assert_eq!(code(&[pass, (b, Severity::Info, Outcome::Errored)]), 3);
    assert_eq!(code(&[pass, (b, Severity::High, Outcome::Waived)]), 0);
    assert_eq!(code(&[pass, (b, Severity::High, Outcome::Skipped)]), 0);
    assert_eq!(code(&[(b, Severity::High, Outcome::Skipped)]), 4, "nothing was run");
    assert_eq!(code(&[(b, Severity::High, Outcome::NotApplicable)]), 4);
    assert_eq!(code(&[]), 4);
}

#[test]
fn a_killed_run_is_incomplete_and_says_what_never_ran() {
    let mut events = events(&KINDS);
    events.truncate(4); // the first trial ended, the second began
    let run = Run::fold(&events).unwrap();
    assert!(!run.complete);
    assert_eq!(run.results.len(), KINDS.len());
    assert_eq!(run.results[0].verdict.outcome, Outcome::Pass);
    assert_eq!(run.results[1].verdict.outcome, Outcome::Errored);
    assert!(run.results[1].verdict.reason.as_ref().unwrap().contains("killed while"));
    assert!(run.results[2..].iter().all(|result| result.verdict.outcome == Outcome::Skipped));
    assert_eq!(run.exit_code(), 3);
    assert_eq!(Run::fold(&events[1..]), Err(BadRun::NoStart));
    assert_eq!(Run::fold(&[]), Err(BadRun::NoStart));
}

#[test]
fn a_claim_that_holds_on_a_retry_is_flaky() {
    let mut events = events(&[("node.kind.a", Severity::High, Outcome::Fail)]);
    let mut again = events[2].clone();
    if let What::TrialFinished { attempt, verdict: result, .. } = &mut again.what {
        (*attempt, *result) = (2, verdict(Outcome::Pass));
    }
    events.insert(3, again);
    let run = Run::fold(&events).unwrap();
    assert_eq!((run.results[0].verdict.outcome, run.results[0].attempts), (Outcome::Flaky, 2));
    assert_eq!(run.results[0].micros, 3000);
    assert_eq!(run.exit_code(), 0);
}

#[test]
fn runs_merge_and_keep_their_subjects_apart() {
    let merged = Run::merge(vec![run(), run()]).unwrap();
    assert_eq!(merged.results.len(), 2 * KINDS.len());
    let names: Vec<_> = merged.info.subjects.iter().map(|subject| subject.name.as_str()).collect();
    assert_eq!(names, ["n1 <&>", "n1 <&> (2)"]);
    assert_eq!(merged.info.trials.len(), KINDS.len());
    assert_eq!(Run::merge(vec![]), Err(BadRun::Nothing));
}
