//! What the renderers promise: valid against the schemas, read by real consumers, whole under hostile text.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

mod sample;

use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use sample::{HOSTILE, KINDS, events, run};
use seaworthy_reports::{Cause, Difference, Format, MARKDOWN_LIMIT, Outcome, Run, Severity, run_schema, write_all};

fn validate(schema: &str, instance: &str) {
    let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
    let instance: serde_json::Value = serde_json::from_str(instance).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<_> =
        validator.iter_errors(&instance).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}

#[test]
fn json_is_valid_against_its_published_schema() {
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema/report.schema.json");
    if std::env::var_os("SEAWORTHY_BLESS").is_some() {
        std::fs::write(&published, run_schema()).unwrap();
    }
    let published = std::fs::read_to_string(published).unwrap();
    assert_eq!(published, run_schema(), "docs/schema is stale: run this test with SEAWORTHY_BLESS=1");
    let json = Format::Json.render(&run()).unwrap();
    validate(&published, &json);
    assert_eq!(serde_json::from_str::<Run>(&json).unwrap(), run());
}

#[test]
fn a_picture_is_an_image_of_the_page_and_no_markup() {
    let html = Format::Html.render(&run()).unwrap();
    assert!(
        html.contains("alt=\"a &lt;picture&gt;\" src=\"data:image/svg+xml;base64,PHN2Zy8+\"")
            && !html.contains("<svg/>")
    );
}

#[test]
fn sarif_is_valid_against_the_schema_of_oasis() {
    let sarif = Format::Sarif.render(&run()).unwrap();
    // The schema's own pattern for languages has a bracket too many, which a strict reader of schemas refuses.
    let schema = include_str!("schemas/sarif-2.1.0.json").replace("[a-zA-Z]{2}]?$", "[a-zA-Z]{2}?$");
    validate(&schema, &sarif);
    let value: serde_json::Value = serde_json::from_str(&sarif).unwrap();
    let results = value["runs"][0]["results"].as_array().unwrap();
    let kinds: Vec<_> = results.iter().map(|result| result["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["fail", "fail", "review", "review", "fail"]);
    assert_eq!(results[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], "proc/sys/a%20b");
    assert_eq!(results[4]["suppressions"][0]["kind"], "external");
}

/// Runs a script with the packages of `.ci/python`; `None`, with the reason printed, where they are not there.
fn python(script: &str, file: &Path) -> Option<String> {
    let Some(python) = std::env::var_os("SEAWORTHY_PYTHON") else {
        assert!(
            std::env::var_os("SEAWORTHY_REQUIRE").is_none(),
            "SEAWORTHY_PYTHON must name a Python; .ci/python makes one"
        );
        println!(
            "skipped: SEAWORTHY_PYTHON does not name a Python with junitparser and xmlschema; .ci/python makes one"
        );
        return None;
    };
    let xsd = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemas/junit.xsd");
    let output = Command::new(python).arg("-c").arg(script).arg(file).arg(xsd).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn junit_is_valid_and_real_consumers_read_it() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(write_all(&run(), dir.path(), &[Format::Junit]).files.len(), 1);
    let file = dir.path().join(Format::Junit.file());
    let script = "import sys, xmlschema, junitparser\nxmlschema.XMLSchema(sys.argv[2]).validate(sys.argv[1])\n\
                  for suite in junitparser.JUnitXml.fromfile(sys.argv[1]):\n\
                  \x20 print(suite.tests, suite.failures, suite.errors, suite.skipped)\n\x20 for case in suite:\n\
                  \x20   print(case.name, ','.join(type(r).__name__ for r in case.result))\n\
                  import junit2htmlreport.parser\n\
                  print(len(junit2htmlreport.parser.Junit(sys.argv[1]).html()) > 1000)\n";
    let Some(seen) = python(script, &file) else { return };
    let expected = "9 1 2 4\nnode.kind.pass \nnode.kind.fail Failure\nnode.kind.warning Skipped\n\
                    node.kind.errored Error\nnode.kind.undetermined Error\nnode.kind.not-applicable Skipped\n\
                    node.kind.skipped Skipped\nnode.kind.waived Skipped\nnode.kind.flaky \nTrue\n";
    assert_eq!(seen, expected);
}

#[test]
fn junit_carries_severity_aliases_and_basis() {
    let xml = Format::Junit.render(&run()).unwrap();
    for property in [
        r#"<property name="severity" value="high"/>"#,
        r#"<property name="alias" value="NumCPU"/>"#,
        r#"<property name="basis" value="kubeadm preflight"/>"#,
        r#"<property name="outcome" value="warning"/>"#,
    ] {
        assert!(xml.contains(property), "{property} is not in\n{xml}");
    }
    assert!(!xml.contains('\u{1}') && !xml.contains('\u{1b}'), "characters that XML cannot have");
}

#[test]
fn markdown_is_bounded_and_escapes() {
    let text = Format::Markdown.render(&run()).unwrap();
    assert!(!text.contains("<b onload") && !text.contains("</script>"), "{text}");
    let ids: Vec<_> = (0..4000).map(|number| format!("node.many.n{number}")).collect();
    let many: Vec<_> = ids.iter().map(|id| (id.as_str(), Severity::High, Outcome::Fail)).collect();
    let text = Format::Markdown.render(&Run::fold(&events(&many)).unwrap()).unwrap();
    assert!(text.len() < 1 << 20 && text.len() > MARKDOWN_LIMIT / 2, "{} bytes", text.len());
    assert!(text.contains("are left out"));
}

/// A run in which one broken file leaves three claims undetermined, and another reason one.
fn one_cause() -> Run {
    let kinds: Vec<_> = ["node.a", "node.b", "node.c", "node.d"]
        .map(|id| (id, Severity::High, Outcome::Undetermined))
        .into_iter()
        .chain([("node.e", Severity::High, Outcome::Pass)])
        .collect();
    let mut run = Run::fold(&events(&kinds)).unwrap();
    for (number, result) in run.results.iter_mut().enumerate().take(3) {
        let (thing, why) = ("/etc/x.yaml".to_owned(), "/etc/x.yaml: is no YAML".to_owned());
        result.verdict.reason = Some(format!("setting {number}: not known because of {why}"));
        result.verdict.because_of = Some(Cause { thing, why });
    }
    run
}

#[test]
fn claims_with_one_cause_are_folded() {
    let run = one_cause();
    let sentence = "3 claims could not be determined because of /etc/x.yaml: is no YAML";
    for format in [Format::Html, Format::Markdown] {
        let text = format.render(&run).unwrap();
        assert_eq!(text.matches(sentence).count(), 1, "{text}");
        for id in ["node.a", "node.b", "node.c", "node.d"] {
            assert!(text.contains(id), "{id}");
        }
    }
    let html = Format::Html.render(&run).unwrap();
    assert_eq!(html.matches("<details class=\"cause\">").count(), 1);
    let json: serde_json::Value = serde_json::from_str(&Format::Json.render(&run).unwrap()).unwrap();
    let causes =
        json["results"].as_array().unwrap().iter().filter(|one| one["verdict"]["because_of"]["thing"] == "/etc/x.yaml");
    assert_eq!(causes.count(), 3, "JSON keeps all");
}

#[test]
fn html_holds_no_text_that_a_browser_would_run() {
    let html = Format::Html.render(&run()).unwrap();
    assert_eq!(html.matches("</script>").count(), 1, "only our own script ends");
    assert!(!html.contains("<b onload"));
    let pictures = html.matches("src=\"data:image/svg+xml;base64,").count();
    assert!(html.matches("src=").count() == pictures && !html.contains("@import"), "the page is self-contained");
}

#[test]
fn a_difference_says_what_failed_newly_and_what_is_fixed() {
    let before = run();
    let mut after = run();
    after.results[0].verdict = sample::verdict(Outcome::Fail);
    after.results[1].verdict = sample::verdict(Outcome::Pass);
    after.results.pop();
    let difference = Difference::between(&before, &after);
    let names =
        |changes: &[seaworthy_reports::Change]| changes.iter().map(|change| change.trial.clone()).collect::<Vec<_>>();
    assert_eq!(names(&difference.newly_failing), ["node.kind.pass"]);
    assert_eq!(names(&difference.fixed), ["node.kind.fail"]);
    assert_eq!(names(&difference.other), ["node.kind.flaky"]);
    assert_eq!(difference.same, KINDS.len() - 3);
    assert!(!difference.is_empty() && Difference::between(&before, &before).is_empty());
}

#[test]
fn a_report_appears_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let written = write_all(&run(), &file.join("sub"), &Format::ALL);
    assert!(written.files.is_empty() && written.missing[0].to_string().contains("sub"), "{written:?}");
    // One that cannot be written keeps none of the others from being written.
    std::fs::create_dir_all(dir.path().join(Format::Json.file()).join("taken")).unwrap();
    let written = write_all(&run(), dir.path(), &Format::ALL);
    assert_eq!((written.files.len(), written.missing.len()), (Format::ALL.len() - 1, 1), "{written:?}");
    assert!(written.missing[0].to_string().contains(Format::Json.file()), "{written:?}");
    let hidden = std::fs::read_dir(dir.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".part"));
    assert_eq!(hidden.count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_text_leaves_every_report_well_formed(text in any::<String>()) {
        let mut run = run();
        for result in &mut run.results {
            result.verdict.reason = Some(format!("{text}{HOSTILE}"));
            for finding in &mut result.verdict.findings {
                finding.message.clone_from(&text);
            }
        }
        run.info.trials[0].title.clone_from(&text);
        let xml = Format::Junit.render(&run).unwrap();
        let mut reader = quick_xml::Reader::from_str(&xml);
        while !matches!(reader.read_event().unwrap(), quick_xml::events::Event::Eof) {}
        serde_json::from_str::<serde_json::Value>(&Format::Sarif.render(&run).unwrap()).unwrap();
        Format::Html.render(&run).unwrap();
        Format::Markdown.render(&run).unwrap();
    }
}
