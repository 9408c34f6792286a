//! Histories of clusters that keep their promises are accepted.

mod simulate;

use proptest::prelude::*;
use seaworthy_history::availability::measure;
use seaworthy_history::register::{BUDGET, linearizable};
use seaworthy_history::{History, HistoryError, Outcome, Probe, ProbeResult, judge, lease, watch};
use simulate::{SMALL, Shape, good};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn small_histories_are_accepted(seed: u64) {
        let judgment = judge(&good(seed, SMALL));
        prop_assert!(judgment.is_clean(), "{:#?}", judgment);
    }

    #[test]
    fn histories_with_many_requests_of_unknown_outcome_are_accepted(seed: u64) {
        let shape = Shape { clients: 8, keys: 2, operations: 200, unknown: 300, rejected: 50 };
        let judgment = judge(&good(seed, shape));
        prop_assert!(judgment.is_clean(), "{:#?}", judgment);
    }

    #[test]
    fn a_history_outlives_json(seed: u64) {
        let history = good(seed, SMALL);
        let mut json = Vec::new();
        history.write(&mut json).unwrap();
        prop_assert_eq!(History::read(&*json).unwrap(), history);
    }
}

/// The bound is on configurations, not on time: a search that explodes visits millions.
#[test]
fn twenty_thousand_operations_need_few_configurations_each() {
    for shape in [
        Shape { clients: 16, keys: 40, operations: 20_000, unknown: 10, rejected: 10 },
        Shape { clients: 16, keys: 1, operations: 20_000, unknown: 10, rejected: 10 },
        Shape { clients: 16, keys: 10, operations: 20_000, unknown: 300, rejected: 10 },
    ] {
        let history = good(7, shape);
        assert!(history.operations.len() >= 20_000);
        let written = history.operations.iter().filter(|one| matches!(one.outcome, Outcome::Done { .. })).count();
        assert!(written > 1000, "only {written} writes");
        let result = linearizable(&history.operations, BUDGET);
        assert_eq!((&*result.anomalies, &*result.undetermined), (&[][..], &[][..]), "{shape:?}");
        assert!(result.visited < 100 * history.operations.len(), "{shape:?}: {} configurations", result.visited);
        let judgment = judge(&history);
        assert!(judgment.is_clean(), "{:#?}", judgment.anomalies.first());
    }
}

#[test]
fn nothing_read_at_the_end_is_undetermined() {
    let mut history = good(1, SMALL);
    history.finals.clear();
    assert_eq!(judge(&history).undetermined, ["nothing was read at the end, so lost writes do not show"]);
}

#[test]
fn a_search_that_is_given_up_is_undetermined() {
    let history = good(3, Shape { clients: 16, keys: 1, operations: 2000, unknown: 300, rejected: 0 });
    let result = linearizable(&history.operations, 10);
    assert_eq!((result.anomalies.len(), result.undetermined.len()), (0, 1));
}

#[test]
fn a_history_of_another_version_is_refused() {
    let mut history = good(1, SMALL);
    history.version = 2;
    let json = serde_json::to_vec(&history).unwrap();
    let error = History::read(&*json).unwrap_err();
    assert_eq!(error.to_string(), "the history has version 2; this program reads version 1");
}

#[test]
fn what_cannot_have_been_recorded_is_refused_by_its_place() {
    let good = good(1, SMALL);
    let broken = |change: fn(&mut History)| {
        let mut history = good.clone();
        change(&mut history);
        match history.validate() {
            Err(HistoryError::Operation { index, problem, .. }) => (index, problem),
            other => panic!("{other:?}"),
        }
    };
    let first = |history: &History| history.operations.iter().position(|one| one.action.payload().is_some()).unwrap();
    let (index, problem) = broken(|history| history.operations[4].completed = Some(0));
    assert_eq!((index, &*problem), (4, "it was answered before it was sent"));
    let (index, _) = broken(|history| history.operations[5].completed = None);
    assert_eq!(index, 5);
    let (index, problem) = broken(|history| {
        let at = history.operations.iter().position(|one| one.action.payload().is_some()).unwrap();
        let mut again = history.operations[at].clone();
        again.key = "another".to_owned();
        history.operations.push(again);
    });
    assert_eq!(index, good.operations.len());
    assert!(problem.ends_with(&format!("is that of operation {}, too", first(&good))), "{problem}");
    let (_, problem) = broken(|history| {
        let at = history.operations.iter().position(|one| one.action.payload().is_some()).unwrap();
        history.operations[at].outcome = Outcome::Done { version: None };
    });
    assert_eq!(problem, "Done { version: None } is no answer to it");
}

#[test]
fn the_schema_accepts_what_is_written() {
    let schema = History::schema();
    assert_eq!(schema["title"], "History");
    for field in ["operations", "watches", "finals", "probes", "leases", "acts"] {
        assert!(schema["properties"][field].is_object(), "{field}");
    }
}

fn probe(scheduled: u64, completed: u64, result: ProbeResult) -> Probe {
    Probe { endpoint: "lb".to_owned(), kind: "read".to_owned(), scheduled, completed, result }
}

#[test]
fn a_gap_is_the_time_between_successful_answers() {
    let failed = || ProbeResult::Failed("refused".to_owned());
    let mut probes: Vec<_> = (0..10).map(|at| probe(at * 50, at * 50 + 5, ProbeResult::Ok)).collect();
    probes.extend((10..16).map(|at| probe(at * 50, at * 50 + 1, failed())));
    probes.extend((16..20).map(|at| probe(at * 50, at * 50 + 15, ProbeResult::Ok)));
    let measured = measure(&probes, 0, 1000);
    let [one] = &*measured else { panic!("{measured:?}") };
    assert_eq!((one.sent, one.longest_gap, one.gap_from), (20, 815 - 455, 455));
    assert_eq!(one.failures["refused"], 6);
    assert_eq!((one.p50, one.p99), (Some(5), None), "6 of 20 were never answered");
}

#[test]
fn a_stall_shows_in_latencies_since_the_clock_sends() {
    // All that was to be sent in a stall of 400 is answered at its end.
    let answered = |at: u64| if (100..500).contains(&at) { 500 } else { at + 5 };
    let probes: Vec<_> = (0..20).map(|at| probe(at * 50, answered(at * 50), ProbeResult::Ok)).collect();
    let measured = measure(&probes, 0, 1000);
    assert_eq!((measured[0].slowest, measured[0].longest_gap), (Some(400), 500 - 55));
}

#[test]
fn no_answer_at_all_is_a_gap_of_the_whole_time() {
    let probes = [probe(10, 20, ProbeResult::Failed("timeout".to_owned()))];
    assert_eq!(measure(&probes, 0, 1000)[0].longest_gap, 1000);
}

#[test]
fn a_takeover_is_the_next_tenure_and_its_first_act() {
    let history = good(5, SMALL);
    let tenures = lease::tenures(&history);
    let holders: Vec<_> = tenures.iter().map(|tenure| (&*tenure.lease, &*tenure.holder)).collect();
    assert_eq!(holders[..2], [("kube-controller-manager", "cp2"), ("kube-controller-manager", "cp1")]);
    assert_eq!(tenures.len(), 8);
    for pair in tenures[..4].windows(2) {
        assert!(pair[1].acquired >= pair[0].renewed + 15_000_000_000);
        assert!(pair[1].first_act.is_some_and(|act| act >= pair[1].acquired));
    }
}

#[test]
fn every_acknowledged_write_has_a_lag_at_every_watcher() {
    let history = good(9, SMALL);
    let versions = |outcome: &Outcome| matches!(outcome, Outcome::Done { version: Some(_) });
    let written = history.operations.iter().filter(|one| versions(&one.outcome)).count();
    let lags = watch::lags(&history);
    assert_eq!(lags.len(), 3 * written);
    assert!(lags.iter().all(|lag| lag.lag.is_some()));
}
