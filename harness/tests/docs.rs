//! What the documents say of checks is true.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use seaworthy_suites::suites;

/// The folder of the workspace.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

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

/// Runs `git apply` over the diff of CONTRIBUTING.md.
fn apply(folder: &Path, options: &[&str]) {
    let text = std::fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    let diff = text.split_once("```diff\n").unwrap().1.split_once("```\n").unwrap().0;
    let mut command = Command::new("git");
    command.arg("apply").args(options).current_dir(folder).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(diff.as_bytes()).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

#[test]
fn the_example_of_a_check_applies() {
    apply(root(), &["--check"]);
}

#[test]
fn the_example_of_a_check_is_one() {
    if std::env::var_os("SEAWORTHY_NIGHTLY").is_none() {
        println!("skipped: SEAWORTHY_NIGHTLY is not set; it compiles the checks once more");
        return;
    }
    let copy = tempfile::tempdir().unwrap();
    let cloned = Command::new("git").args(["clone", "--quiet"]).arg(root()).arg(copy.path()).status().unwrap();
    assert!(cloned.success());
    apply(copy.path(), &[]);
    let mut test = Command::new(env!("CARGO"));
    test.args(["test", "--quiet", "--locked", "-p", "seaworthy-checks", "--test", "registry"]);
    let ended = test.current_dir(copy.path()).env("CARGO_TARGET_DIR", root().join("target")).output().unwrap();
    let said = [ended.stdout, ended.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(ended.status.success(), "{said}");
}
