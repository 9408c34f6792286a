//! The table of upstream's tests that the node-conformance suite covers is that of the registry.

#![allow(clippy::unwrap_used, reason = "test code")]

#[test]
fn the_table_of_coverage_is_that_of_the_registry() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/node-conformance.md");
    let page = seaworthy_suites::node_conformance_coverage();
    if std::env::var_os("SEAWORTHY_BLESS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap();
    assert!(kept == page, "docs/node-conformance.md is stale: run this test with SEAWORTHY_BLESS=1");
    // At least as many as were promised.
    let covered = page.lines().filter(|line| line.starts_with("| [sig") && line.contains("`node-conformance.")).count();
    assert!(covered >= 200, "{covered} tests are covered");
}
