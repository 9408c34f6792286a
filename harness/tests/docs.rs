//! What the documents say of checks is true.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::Path;
use std::process::Command;

use seaworthy_suites::suites;

fn document(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)).unwrap()
}

#[test]
fn each_row_of_kubeadms_table_is_a_check_with_that_alias() {
    let trials: Vec<_> = suites().into_iter().flat_map(|suite| suite.trials).collect();
    let text = document("kubeadm-preflight.md");
    let rows: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix("` |")?.split_once(" | `")).collect();
    assert!(rows.len() > 40, "{}", rows.len());
    for (name, id) in rows {
        let trial = trials.iter().find(|trial| trial.info.id == id).unwrap_or_else(|| panic!("there is no {id}"));
        assert!(trial.info.aliases.iter().any(|alias| alias == name), "{id} does not have the alias {name}");
    }
}

#[test]
fn the_list_of_checks_is_that_of_the_program() {
    let output = Command::new(env!("CARGO_BIN_EXE_seaworthy")).args(["explain", "--all"]).output().unwrap();
    let now = String::from_utf8(output.stdout).unwrap();
    if std::env::var_os("SEAWORTHY_BLESS").is_some() {
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/checks.md"), &now).unwrap();
    }
    assert!(
        document("checks.md") == now,
        "docs/checks.md is old: SEAWORTHY_BLESS=1 cargo test -p seaworthy-harness --test docs renews it"
    );
}
