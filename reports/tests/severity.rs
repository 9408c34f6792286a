//! A finding may matter more or less than its trial: gates and reports follow the finding.

#![allow(clippy::unwrap_used, reason = "test code")]

mod sample;

use seaworthy_reports::{Outcome, Run, Severity, What};

#[test]
fn the_gravest_finding_decides() {
    let kinds = [("node.kind.fail", Severity::Medium, Outcome::Fail)];
    for (own, severity, code) in [
        (None, Severity::Medium, 0),
        (Some(Severity::High), Severity::High, 1),
        (Some(Severity::Low), Severity::Low, 0),
    ] {
        let mut events = sample::events(&kinds);
        for event in &mut events {
            if let What::TrialFinished { verdict, .. } = &mut event.what {
                verdict.findings[0].severity = own;
            }
        }
        let run = Run::fold(&events).unwrap();
        assert_eq!((run.severity(&run.results[0]), run.exit_code()), (severity, code), "{own:?}");
    }
}
