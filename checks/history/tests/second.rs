//! The linearizability checker against two others: every order tried in turn, and porcupine, which etcd's
//! robustness tests use.

mod simulate;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use fastrand::Rng;
use proptest::prelude::*;
use seaworthy_history::register::{BUDGET, linearizable};
use seaworthy_history::{Action, Consistency, Operation, Outcome, Seen};
use simulate::{Shape, good};

/// Tries every order of the requests of one key.
fn any_order(operations: &[Operation], taken: &mut Vec<bool>, state: Option<u64>) -> bool {
    let unknown = |one: &Operation| matches!(one.outcome, Outcome::Unknown { .. });
    let end = |one: &Operation| if unknown(one) { u64::MAX } else { one.completed.expect("an answer") };
    if operations.iter().zip(&*taken).all(|(one, taken)| *taken || unknown(one)) {
        return true;
    }
    for index in 0..operations.len() {
        let one = &operations[index];
        let before = |other: usize| !taken[other] && end(&operations[other]) < one.invoked;
        if taken[index] || (0..operations.len()).any(before) {
            continue;
        }
        let (real, next) = carry_out(&one.action, state);
        let explained = match &one.outcome {
            Outcome::Unknown { .. } => true,
            Outcome::Done { .. } => matches!(real, Outcome::Done { .. }),
            Outcome::Found { seen } => state == Some(seen.payload),
            // An API server may call it either way where the object is gone.
            Outcome::Conflict => matches!(real, Outcome::Conflict | Outcome::NotFound),
            other => *other == real,
        };
        if explained {
            taken[index] = true;
            if any_order(operations, taken, next) {
                return true;
            }
            taken[index] = false;
        }
    }
    false
}

fn carry_out(action: &Action, state: Option<u64>) -> (Outcome, Option<u64>) {
    let done = Outcome::Done { version: None };
    match (action, state) {
        (Action::Create { payload }, None) => (done, Some(*payload)),
        (Action::Create { .. }, Some(_)) => (Outcome::AlreadyExists, state),
        (_, None) => (Outcome::NotFound, None),
        (Action::Update { payload, replaces }, Some(old)) if replaces.payload == old => (done, Some(*payload)),
        (Action::Delete { replaces }, Some(old)) if replaces.is_none_or(|seen| seen.payload == old) => (done, None),
        (Action::Update { .. } | Action::Delete { .. }, Some(_)) => (Outcome::Conflict, state),
        (Action::Get { .. }, Some(payload)) => (Outcome::Found { seen: Seen { payload, version: 0 } }, state),
    }
}

/// The requests of one key, of which some answers were changed so that about half of the histories are wrong.
fn maybe_wrong(seed: u64, shape: Shape) -> Vec<Operation> {
    let mut random = Rng::with_seed(seed ^ 1);
    let mut operations = good(seed, shape).operations;
    operations.retain(|one| one.action != Action::Get { consistency: Consistency::Cached });
    operations.retain(|one| !matches!(one.outcome, Outcome::Rejected { .. }));
    let seen: Vec<Seen> = operations
        .iter()
        .filter_map(|one| match one.outcome {
            Outcome::Done { version: Some(version) } => Some(Seen { payload: one.action.payload()?, version }),
            _ => None,
        })
        .collect();
    if operations.is_empty() || seen.is_empty() {
        return operations;
    }
    for _ in 0..random.u32(0..3) {
        let at = random.usize(0..operations.len());
        let one = &mut operations[at];
        one.outcome = match (&one.action, random.u32(0..3)) {
            (_, 0) => Outcome::Unknown { reason: "timeout".to_owned() },
            (Action::Get { .. }, 1) => Outcome::NotFound,
            (Action::Get { .. }, _) => Outcome::Found { seen: seen[random.usize(0..seen.len())] },
            (Action::Create { .. }, 1) => Outcome::AlreadyExists,
            (Action::Update { .. } | Action::Delete { .. }, 1) => Outcome::NotFound,
            (Action::Create { .. } | Action::Update { .. }, _) => Outcome::Done { version: Some(100_000 + at as u64) },
            (Action::Delete { .. }, _) => Outcome::Done { version: None },
        };
    }
    operations
}

fn accepted(operations: &[Operation]) -> bool {
    let result = linearizable(operations, BUDGET);
    assert_eq!(result.undetermined, [""; 0]);
    result.anomalies.is_empty()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn every_order_tried_in_turn_says_the_same(seed: u64, unknown in 0_u32..500) {
        let shape = Shape { clients: 3, keys: 1, operations: 9, unknown, rejected: 0 };
        let operations = maybe_wrong(seed, shape);
        let expected = any_order(&operations, &mut vec![false; operations.len()], None);
        prop_assert_eq!(accepted(&operations), expected, "{:#?}", operations);
    }
}

/// The same register as a model of porcupine, asked about histories of up to 150 requests.
#[test]
fn porcupine_says_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let oracle = directory.path().join("oracle");
    let mut go = Command::new("go");
    go.env("GOTOOLCHAIN", "local").env("GOFLAGS", "-mod=readonly -buildvcs=false");
    go.args(["build", "-o"]).arg(&oracle).arg(".");
    match go.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/porcupine")).output() {
        Ok(output) if output.status.success() => {}
        other => {
            let why =
                other.map_or_else(|error| error.to_string(), |output| String::from_utf8_lossy(&output.stderr).into());
            assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "this test needs Go and its modules: {why}");
            println!("skipped: it needs Go and its modules: {why}");
            return;
        }
    }

    let mut histories = Vec::new();
    for seed in 0..400 {
        let (operations, unknown) = [(40, 40), (80, 10), (150, 0)][usize::try_from(seed).unwrap() % 3];
        let history = maybe_wrong(seed, Shape { clients: 5, keys: 1, operations, unknown, rejected: 0 });
        // What porcupine visits doubles with each request that never ends.
        let endless = history.iter().filter(|one| matches!(one.outcome, Outcome::Unknown { .. })).count();
        if endless <= 4 {
            histories.push(history);
        }
    }
    assert!(histories.len() > 300);
    let mut child = Command::new(&oracle).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let lines: Vec<_> = histories.iter().map(|one| serde_json::to_string(one).unwrap()).collect();
    let writer = std::thread::spawn(move || lines.iter().for_each(|line| writeln!(input, "{line}").unwrap()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    let verdicts: Vec<bool> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(verdicts.len(), histories.len());
    let both: BTreeSet<_> = verdicts.iter().collect();
    assert_eq!(both.len(), 2, "all histories are alike");
    for (seed, (operations, expected)) in histories.iter().zip(verdicts).enumerate() {
        assert_eq!(accepted(operations), expected, "the history of seed {seed}");
    }
}
